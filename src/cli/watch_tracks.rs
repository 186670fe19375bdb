//! What the tracks of a prompts file become in the project: `watch --headless`.
//!
//! What decides whether this file is right: no prompt, window or mask that a person decided is
//! ever replaced. A held track is filled where its prompts are those of the file, and replaced
//! only where it is as this watcher saw it come from a file.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::Path;

use crate::codec::Clip;
use crate::domain::{
    Annotation, ContentHash, Mark, MaskSource, PlacedPrompt, Prompt, PromptId, Step, Track,
    TrackId, TrackOrder,
};
use crate::project::{ClipStore, difference, now_ms};

use super::Failure;
use super::headless::{TrackReport, with_masks};

/// What the project holds of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Nothing.
    Absent,
    /// A track with the prompts and windows of the file.
    Same(TrackId),
    /// A track of an earlier state of the file.
    Earlier(TrackId),
    /// A track that a person made or changed, as far as is known here.
    Foreign,
}

/// The tracks that came from prompts files alone, as they were when last seen.
#[derive(Default)]
pub(super) struct Desk(HashMap<(ContentHash, TrackId), u64>);

impl Desk {
    /// What `now` holds of the label of `track`.
    pub(super) fn held(&self, clip: &ContentHash, now: &Annotation, track: &Track) -> Held {
        let named = || now.tracks.iter().filter(|(_, held)| held.info.label == track.info.label);
        if let Some((id, _)) = named().find(|(_, held)| same_prompts(held, track)) {
            return Held::Same(*id);
        }
        let from_file = |id: TrackId, held: &Track| {
            self.0.get(&(clip.clone(), id)).is_some_and(|seen| *seen == fingerprint(held))
        };
        match named().find(|(id, held)| from_file(**id, held)) {
            Some((id, _)) => Held::Earlier(*id),
            None if named().next().is_none() => Held::Absent,
            None => Held::Foreign,
        }
    }

    /// Remembers which tracks of `now` hold nothing but what `tracks` of a file led to.
    pub(super) fn remember(&mut self, clip: &ContentHash, now: &Annotation, tracks: &[Track]) {
        for track in tracks {
            let Held::Same(id) = self.held(clip, now, track) else { continue };
            let held = &now.tracks[&id];
            if held.masks.values().all(|mask| mask.source != MaskSource::Accepted) {
                self.0.insert((clip.clone(), id), fingerprint(held));
            }
        }
    }

    /// Brings the masks of `reports` into the project. Labels that became [`Held::Foreign`]
    /// meanwhile are passed over.
    ///
    /// # Errors
    /// When the project cannot be written.
    pub(super) fn journal(
        &mut self,
        root: &Path,
        clip: &Clip,
        reports: &[(Track, TrackReport)],
    ) -> Result<(), Failure> {
        let hash = &clip.info().content_hash;
        let (mut store, loaded) =
            ClipStore::open(root, clip.info(), now_ms()).map_err(Failure::input)?;
        let mut last = u64::from(loaded.session_seed) << 32;
        let mut order = TrackOrder::default();
        let mut fresh = || {
            last += 1;
            last
        };
        for (track, report) in reports {
            let group = fresh();
            let (id, before) = match self.held(hash, store.annotation(), track) {
                Held::Absent => (order.next(store.annotation(), group), None),
                Held::Same(id) | Held::Earlier(id) => {
                    (id, store.annotation().tracks.get(&id).cloned())
                }
                Held::Foreign => continue,
            };
            let info = &track.info;
            let held = before.clone();
            let held = held.unwrap_or_else(|| Track::new(info.label.clone(), info.colour));
            let found = with_masks(track, report);
            let after = match same_prompts(&held, track) {
                true => filled(held, found),
                false => replaced(held, found, &mut fresh),
            };
            let edits = difference(&only(id, before), &only(id, Some(after)));
            if !edits.is_empty() {
                let step = Step { group, mark: Mark::Do, edits, made_from: None };
                store.append(&step, now_ms()).map_err(Failure::input)?;
            }
        }
        store.sync().map_err(Failure::input)?;
        let tracks: Vec<Track> = reports.iter().map(|(track, _)| track.clone()).collect();
        self.remember(hash, store.annotation(), &tracks);
        Ok(())
    }
}

/// Whether `held` lacks masks that its prompts lead to in a clip of `frames` frames.
pub(super) fn has_gaps(held: &Track, frames: usize) -> bool {
    (0..frames).any(|frame| held.visible(frame) && !held.masks.contains_key(&frame))
}

/// `held` with the masks of `found` where it has none.
fn filled(mut held: Track, found: Track) -> Track {
    for (frame, mask) in found.masks {
        held.masks.entry(frame).or_insert(mask);
    }
    held
}

/// `held` with the windows, prompts and masks of `found` in the place of its own; what is said of
/// it stays.
fn replaced(mut held: Track, mut found: Track, fresh: &mut dyn FnMut() -> u64) -> Track {
    for placed in found.prompts.values_mut().flatten() {
        placed.id = PromptId(fresh());
    }
    (held.windows, held.prompts, held.masks) = (found.windows, found.prompts, found.masks);
    held
}

fn only(id: TrackId, track: Option<Track>) -> Annotation {
    let tracks = track.map(|track| (id, track)).into_iter().collect();
    Annotation { tracks, ..Annotation::default() }
}

/// Whether two tracks ask the network for the same; identities of prompts do not matter.
fn same_prompts(a: &Track, b: &Track) -> bool {
    let bare = |list: &[PlacedPrompt]| -> Vec<Prompt> {
        list.iter().map(|placed| placed.prompt.clone()).collect()
    };
    let all = |track: &Track| -> Vec<_> {
        track.prompts.iter().map(|(frame, list)| (*frame, bare(list))).collect()
    };
    a.windows == b.windows && all(a) == all(b)
}

fn fingerprint(track: &Track) -> u64 {
    let decided = (&track.windows, &track.prompts, &track.masks);
    let mut hasher = DefaultHasher::new();
    serde_json::to_vec(&decided).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Bitmap, FrameMask, PointKind, PointPx};

    fn nerve(x: f32, source: Option<MaskSource>) -> Track {
        let mut track = Track::new("nerve", 0);
        let prompt = Prompt::Point { kind: PointKind::Boundary, at: PointPx::new(x, 1.0) };
        track.prompts.insert(0, vec![PlacedPrompt { id: PromptId(x as u64), prompt }]);
        let mask = Bitmap::from_fn(4, 4, |x, _| x > 1).to_mask();
        track.masks =
            source.map(|source| (0, FrameMask { mask, source, score: 0.5 })).into_iter().collect();
        track
    }

    #[test]
    fn a_track_is_replaced_only_while_it_holds_nothing_but_what_a_file_led_to() {
        let (clip, id) = (ContentHash("aaaaaaaa".into()), TrackId(7));
        let (old, new) = (nerve(1.0, None), nerve(2.0, None));
        let holds = |track: Track| only(id, Some(track));
        let mut desk = Desk::default();
        let from_file = holds(nerve(1.0, Some(MaskSource::Prompted)));
        assert_eq!(desk.held(&clip, &Annotation::default(), &old), Held::Absent);
        assert_eq!(desk.held(&clip, &from_file, &old), Held::Same(id));
        assert_eq!(
            desk.held(&clip, &from_file, &new),
            Held::Foreign,
            "nobody saw where it is from"
        );
        desk.remember(&clip, &from_file, std::slice::from_ref(&old));
        assert_eq!(desk.held(&clip, &from_file, &new), Held::Earlier(id));
        let corrected = holds(nerve(3.0, Some(MaskSource::Prompted)));
        assert_eq!(desk.held(&clip, &corrected, &new), Held::Foreign, "a person moved the point");
        let accepted = holds(nerve(1.0, Some(MaskSource::Accepted)));
        desk.remember(&clip, &accepted, std::slice::from_ref(&old));
        assert_eq!(desk.held(&clip, &accepted, &new), Held::Foreign, "a person accepted the mask");
    }

    #[test]
    fn gaps_are_filled_and_masks_that_are_there_stay() {
        let mut held = nerve(1.0, Some(MaskSource::Accepted));
        held.windows = vec![crate::domain::Window { first: 0, last: 1 }];
        assert!(has_gaps(&held, 4));
        let mut found = nerve(1.0, Some(MaskSource::Prompted));
        found.masks.insert(1, found.masks[&0].clone());
        let full = filled(held.clone(), found);
        assert_eq!(full.masks[&0], held.masks[&0]);
        assert!(full.masks.contains_key(&1) && !has_gaps(&full, 4));
    }
}
