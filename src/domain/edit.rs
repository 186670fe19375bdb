//! The one way to change an annotation.
//!
//! An [`Edit`] carries what it replaces as well as what it writes, so its inverse needs no
//! context, a log of edits is a save file, and an edit computed against an older state is
//! refused instead of silently overwriting a newer one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    FrameIndex, FrameMask, MaskSource, PlacedPrompt, Prompt, PromptId, Track, TrackId, TrackInfo,
    Window, insert_window, remove_from_windows,
};

/// A change of an annotation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "every field is named by what it is")]
pub enum Edit {
    /// A structure appears, with whatever it already holds.
    AddTrack { track: TrackId, content: Track },
    /// A structure goes, with everything it holds.
    RemoveTrack { track: TrackId, content: Track },
    /// Label or colour change.
    SetTrackInfo { track: TrackId, before: TrackInfo, after: TrackInfo },
    /// A prompt is placed at position `at` of the frame's list.
    AddPrompt { track: TrackId, frame: FrameIndex, at: usize, placed: PlacedPrompt },
    /// A prompt is taken away.
    RemovePrompt { track: TrackId, frame: FrameIndex, at: usize, placed: PlacedPrompt },
    /// A prompt is moved or replaced, keeping its identity.
    MovePrompt { track: TrackId, frame: FrameIndex, id: PromptId, before: Prompt, after: Prompt },
    /// The windows change.
    SetWindows { track: TrackId, before: Vec<Window>, after: Vec<Window> },
    /// A frame's mask changes.
    SetMask {
        track: TrackId,
        frame: FrameIndex,
        before: Option<FrameMask>,
        after: Option<FrameMask>,
    },
    /// An attribute of the structure, or of it on one frame, is set, changed or taken away.
    SetAttribute {
        track: TrackId,
        frame: Option<FrameIndex>,
        name: String,
        before: Option<String>,
        after: Option<String>,
    },
    /// A frame of the structure is flagged for a look, or not any more.
    SetFlag { track: TrackId, frame: FrameIndex, before: bool, after: bool },
    /// A frame of the clip is called by a letter.
    SetPlace { letter: char, before: Option<FrameIndex>, after: Option<FrameIndex> },
}

/// Why an edit was not applied. The annotation is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The track is not there (any more).
    #[error("this structure no longer exists")]
    NoSuchTrack,
    /// A track of that identity is already there.
    #[error("this structure already exists")]
    TrackExists,
    /// The edit was computed against a state that is no longer current.
    #[error("the annotation changed in the meantime")]
    Stale,
}

/// The tracks of a clip, and the frames that have a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Annotation {
    /// Tracks by identity.
    pub tracks: BTreeMap<TrackId, Track>,
    /// Frames by letter.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub places: BTreeMap<char, FrameIndex>,
}

impl Annotation {
    /// What it says: without masks outside the windows of their structure, which is absent there
    /// whatever was drawn before the windows were. They come back when a window does.
    #[must_use]
    pub fn visible(&self) -> Self {
        let mut said = self.clone();
        for track in said.tracks.values_mut() {
            let mut masks = std::mem::take(&mut track.masks);
            masks.retain(|frame, _| track.visible(*frame));
            track.masks = masks;
        }
        said
    }

    /// Takes away the masks that no person accepted or drew; how many.
    pub fn leave_accepted(&mut self) -> usize {
        let all = self.masks();
        for track in self.tracks.values_mut() {
            track.masks.retain(|_, held| held.source == MaskSource::Accepted);
        }
        all - self.masks()
    }

    /// Masks of all structures.
    #[must_use]
    pub fn masks(&self) -> usize {
        self.tracks.values().map(|track| track.masks.len()).sum()
    }
}

impl Edit {
    /// The edit that takes this one back.
    #[must_use]
    pub fn inverse(&self) -> Edit {
        match self.clone() {
            Edit::AddTrack { track, content } => Edit::RemoveTrack { track, content },
            Edit::RemoveTrack { track, content } => Edit::AddTrack { track, content },
            Edit::SetTrackInfo { track, before, after } => {
                Edit::SetTrackInfo { track, before: after, after: before }
            }
            Edit::AddPrompt { track, frame, at, placed } => {
                Edit::RemovePrompt { track, frame, at, placed }
            }
            Edit::RemovePrompt { track, frame, at, placed } => {
                Edit::AddPrompt { track, frame, at, placed }
            }
            Edit::MovePrompt { track, frame, id, before, after } => {
                Edit::MovePrompt { track, frame, id, before: after, after: before }
            }
            Edit::SetWindows { track, before, after } => {
                Edit::SetWindows { track, before: after, after: before }
            }
            Edit::SetMask { track, frame, before, after } => {
                Edit::SetMask { track, frame, before: after, after: before }
            }
            Edit::SetAttribute { track, frame, name, before, after } => {
                Edit::SetAttribute { track, frame, name, before: after, after: before }
            }
            Edit::SetFlag { track, frame, before, after } => {
                Edit::SetFlag { track, frame, before: after, after: before }
            }
            Edit::SetPlace { letter, before, after } => {
                Edit::SetPlace { letter, before: after, after: before }
            }
        }
    }

    /// The track it concerns; none where it says something of the clip.
    #[must_use]
    pub fn track(&self) -> Option<TrackId> {
        match self {
            Edit::SetPlace { .. } => None,
            Edit::AddTrack { track, .. }
            | Edit::RemoveTrack { track, .. }
            | Edit::SetTrackInfo { track, .. }
            | Edit::AddPrompt { track, .. }
            | Edit::RemovePrompt { track, .. }
            | Edit::MovePrompt { track, .. }
            | Edit::SetWindows { track, .. }
            | Edit::SetMask { track, .. }
            | Edit::SetAttribute { track, .. }
            | Edit::SetFlag { track, .. } => Some(*track),
        }
    }

    /// The same intention against another state: what it says it replaces is taken from `now`.
    /// Used where edits of several writers are merged and where an older step is undone.
    /// A mask of the network does not replace a mask that a person prompted or accepted, and who
    /// takes one of the network away does not take away the person's that came meanwhile: such
    /// edits become `None`, as do those whose track or prompt is gone.
    #[must_use]
    pub fn rebased(&self, now: &Annotation) -> Option<Edit> {
        let held = self.track().and_then(|track| now.tracks.get(&track));
        let mut edit = self.clone();
        match &mut edit {
            Edit::AddTrack { .. } => return held.is_none().then_some(edit),
            Edit::RemoveTrack { content, .. } => *content = held?.clone(),
            Edit::SetTrackInfo { before, .. } => *before = held?.info.clone(),
            Edit::AddPrompt { frame, at, placed, .. } => {
                let list = held?.prompts.get(frame).map_or(&[][..], Vec::as_slice);
                if list.iter().any(|each| each.id == placed.id) {
                    return None;
                }
                *at = (*at).min(list.len());
            }
            Edit::RemovePrompt { frame, at, placed, .. } => {
                let list = held?.prompts.get(frame)?;
                *at = list.iter().position(|each| each.id == placed.id)?;
                *placed = list[*at].clone();
            }
            Edit::MovePrompt { frame, id, before, .. } => {
                let list = held?.prompts.get(frame)?;
                *before = list.iter().find(|each| each.id == *id)?.prompt.clone();
            }
            Edit::SetWindows { before, after, .. } => {
                let current = &held?.windows;
                if before != current {
                    *after = windows_rebased(before, after, current);
                    *before = current.clone();
                }
            }
            Edit::SetMask { frame, before, after, .. } => {
                let current = held?.masks.get(frame).cloned();
                let tracked = |m: &FrameMask| m.source == MaskSource::Tracked;
                let person_decided = current.as_ref().is_some_and(|m| !tracked(m));
                let person_knew = before.as_ref().is_some_and(|m| !tracked(m));
                if person_decided && !person_knew && after.as_ref().is_none_or(tracked) {
                    return None;
                }
                *before = current;
            }
            Edit::SetAttribute { frame, name, before, .. } => {
                *before = held?.attribute(*frame, name).map(str::to_owned);
            }
            Edit::SetFlag { frame, before, .. } => *before = held?.flags.contains(frame),
            Edit::SetPlace { letter, before, .. } => *before = now.places.get(letter).copied(),
        }
        Some(edit)
    }
}

/// On which frames of which tracks `edits` change prompts.
#[must_use]
pub fn prompted(edits: &[Edit]) -> BTreeSet<(TrackId, FrameIndex)> {
    let of = |edit: &Edit| match edit {
        Edit::AddPrompt { track, frame, .. }
        | Edit::RemovePrompt { track, frame, .. }
        | Edit::MovePrompt { track, frame, .. } => Some((*track, *frame)),
        _ => None,
    };
    edits.iter().filter_map(of).collect()
}

/// The frames that the change from `before` to `after` added and took away, added to and taken from `current`: who sets
/// one window does not take away that of another person who sets one at the same time.
fn windows_rebased(before: &[Window], after: &[Window], current: &[Window]) -> Vec<Window> {
    let without = |from: &[Window], these: &[Window]| {
        these.iter().fold(from.to_vec(), |left, window| remove_from_windows(&left, *window))
    };
    let (added, removed) = (without(after, before), without(before, after));
    added.iter().fold(without(current, &removed), |all, window| insert_window(&all, *window))
}

impl Annotation {
    /// Applies `edit`, or refuses it and changes nothing.
    ///
    /// # Errors
    /// When the track is missing (or already there), or the edit was computed against another
    /// state.
    pub fn apply(&mut self, edit: &Edit) -> Result<(), Refused> {
        match edit {
            Edit::AddTrack { track, content } => {
                if self.tracks.contains_key(track) {
                    return Err(Refused::TrackExists);
                }
                self.tracks.insert(*track, content.clone());
            }
            Edit::RemoveTrack { track, content } => {
                if self.held(*track)? != content {
                    return Err(Refused::Stale);
                }
                self.tracks.remove(track);
            }
            Edit::SetTrackInfo { track, before, after } => {
                replace(&mut self.held(*track)?.info, before, after)?;
            }
            Edit::AddPrompt { track, frame, at, placed } => {
                let held = self.held(*track)?;
                if *at > held.prompts.get(frame).map_or(0, Vec::len) {
                    return Err(Refused::Stale);
                }
                held.prompts.entry(*frame).or_default().insert(*at, placed.clone());
            }
            Edit::RemovePrompt { track, frame, at, placed } => {
                let held = self.held(*track)?;
                let list = held.prompts.get_mut(frame).ok_or(Refused::Stale)?;
                if list.get(*at) != Some(placed) {
                    return Err(Refused::Stale);
                }
                list.remove(*at);
                if list.is_empty() {
                    held.prompts.remove(frame);
                }
            }
            Edit::MovePrompt { track, frame, id, before, after } => {
                let list = self.held(*track)?.prompts.get_mut(frame).ok_or(Refused::Stale)?;
                let placed = list.iter_mut().find(|each| each.id == *id).ok_or(Refused::Stale)?;
                replace(&mut placed.prompt, before, after)?;
            }
            Edit::SetWindows { track, before, after } => {
                replace(&mut self.held(*track)?.windows, before, after)?;
            }
            Edit::SetMask { track, frame, before, after } => {
                let masks = &mut self.held(*track)?.masks;
                if masks.get(frame) != before.as_ref() {
                    return Err(Refused::Stale);
                }
                match after {
                    Some(mask) => masks.insert(*frame, mask.clone()),
                    None => masks.remove(frame),
                };
            }
            Edit::SetAttribute { track, frame, name, before, after } => {
                let held = self.held(*track)?;
                held.set_attribute(*frame, name, before.as_deref(), after.as_deref())?;
            }
            Edit::SetFlag { track, frame, before, after } => {
                let flags = &mut self.held(*track)?.flags;
                if flags.contains(frame) != *before {
                    return Err(Refused::Stale);
                }
                if *after {
                    flags.insert(*frame);
                } else {
                    flags.remove(frame);
                }
            }
            Edit::SetPlace { letter, before, after } => {
                if self.places.get(letter) != before.as_ref() {
                    return Err(Refused::Stale);
                }
                match after {
                    Some(frame) => self.places.insert(*letter, *frame),
                    None => self.places.remove(letter),
                };
            }
        }
        Ok(())
    }

    /// Applies all of `edits` in order, or refuses them all and changes nothing.
    ///
    /// # Errors
    /// The first refusal.
    pub fn apply_all(&mut self, edits: &[Edit]) -> Result<(), Refused> {
        for (done, edit) in edits.iter().enumerate() {
            if let Err(refused) = self.apply(edit) {
                for earlier in edits[..done].iter().rev() {
                    self.apply(&earlier.inverse()).expect("an edit just applied can be taken back");
                }
                return Err(refused);
            }
        }
        Ok(())
    }

    fn held(&mut self, id: TrackId) -> Result<&mut Track, Refused> {
        self.tracks.get_mut(&id).ok_or(Refused::NoSuchTrack)
    }
}

fn replace<T: PartialEq + Clone>(slot: &mut T, before: &T, after: &T) -> Result<(), Refused> {
    if slot != before {
        return Err(Refused::Stale);
    }
    *slot = after.clone();
    Ok(())
}
