//! Undo and redo without limit, rebuilt from the journal.
//!
//! What decides whether this file is right: a point and the mask that followed it come off together, however late the mask
//! was; what somebody decided since is never taken away from below; the journal alone gives the same stacks again.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{Annotation, Edit, FrameMask, MaskSource, Track, TrackId};

/// What a step is to the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Something new.
    Do,
    /// An earlier group taken back.
    Undo,
    /// An undone group done again.
    Redo,
}

/// Edits that belong together and are journaled as one line. Steps of the same group (a point
/// and the mask that followed it) are undone together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Which group, unique within its session.
    pub group: u64,
    /// New, undone or redone.
    pub mark: Mark,
    /// The edits, in the order of applying.
    pub edits: Vec<Edit>,
    /// [Fingerprint](super::Signature::fingerprint) of all prompts of the structure that the masks of `edits` were made
    /// from. None where they were made from the prompts that it has when the step is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_from: Option<u64>,
}

/// One session's undo and redo stacks.
#[derive(Clone, Debug, Default)]
pub struct History {
    done: Vec<(u64, Vec<Edit>)>,
    undone: Vec<(u64, Vec<Edit>)>,
    /// The groups in `done`, so that a new one is not searched for among 200,000.
    done_groups: HashSet<u64>,
    /// Groups that wait for another session, see [`hold`](Self::hold).
    held: HashSet<u64>,
}

impl History {
    /// Notes a step that was applied (and journaled). Replaying a journal through this rebuilds
    /// the stacks.
    pub fn note(&mut self, step: &Step) {
        match step.mark {
            // A mask that was computed again and is the same: there is nothing to take back.
            Mark::Do if !step.edits.is_empty() && step.edits.iter().all(changes_nothing) => {}
            Mark::Do => {
                // Only something new throws the redo stack away: neither the late mask of an
                // older edit nor that of an undone one does.
                let known = !self.done_groups.insert(step.group);
                if known
                    && let Some((_, edits)) =
                        self.done.iter_mut().rev().find(|(group, _)| *group == step.group)
                {
                    edits.extend(step.edits.iter().cloned());
                    return;
                }
                self.done.push((step.group, step.edits.clone()));
                if self.undone.iter().all(|(group, _)| *group != step.group) {
                    self.undone.clear();
                }
            }
            Mark::Undo => {
                self.take_done(step.group);
                self.undone.push((step.group, step.edits.clone()));
            }
            Mark::Redo => {
                // Newest first, where it nearly always is; what of the group was undone apart from it stays.
                let at = self.undone.iter().rposition(|(group, _)| *group == step.group);
                if let Some(at) = at {
                    self.undone.remove(at);
                }
                // A late mask of the group may stand there already: it stays part of it.
                let mut edits = self.take_done(step.group);
                edits.extend(step.edits.iter().cloned());
                self.done.push((step.group, edits));
                self.done_groups.insert(step.group);
            }
        }
    }

    /// The group that would be undone next.
    #[must_use]
    pub fn newest(&self) -> Option<u64> {
        self.done.last().map(|(group, _)| *group)
    }

    /// Takes a group off the done ones; newest first, where it nearly always is.
    fn take_done(&mut self, wanted: u64) -> Vec<Edit> {
        if !self.done_groups.remove(&wanted) {
            return Vec::new();
        }
        let at = self.done.iter().rposition(|(group, _)| *group == wanted);
        at.map_or_else(Vec::new, |at| self.done.remove(at).1)
    }

    /// How many groups can be taken back.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.done.len()
    }

    /// Holds the groups back on which another session of the same person built: by track the
    /// [`depth`](Self::depth) at which it last changed that. Its steps are not in this history, and
    /// what lies under them must not be taken away from below.
    pub fn hold(&mut self, built_on: &HashMap<TrackId, usize>) {
        for (at, (group, edits)) in self.done.iter().enumerate() {
            let mut tracks = edits.iter().filter_map(Edit::track);
            if tracks.any(|track| built_on.get(&track).is_some_and(|depth| at < *depth)) {
                self.held.insert(*group);
            }
        }
    }

    /// Whether the newest group is held back.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.newest().is_some_and(|group| self.held.contains(&group))
    }

    /// The step that takes the newest group back, against the state `now`; `None` when there is
    /// nothing to undo, or it is [held back](Self::is_held). Apply it, journal it, then [`note`](Self::note) it.
    #[must_use]
    pub fn undo(&self, now: &Annotation) -> Option<Step> {
        let (group, edits) = self.done.last().filter(|_| !self.is_held())?;
        Some(Step {
            group: *group,
            mark: Mark::Undo,
            edits: taken_back(edits, now),
            made_from: None,
        })
    }

    /// The step that does the newest undone group again; `None` when there is none.
    #[must_use]
    pub fn redo(&self, now: &Annotation) -> Option<Step> {
        let (group, edits) = self.undone.last()?;
        Some(Step {
            group: *group,
            mark: Mark::Redo,
            edits: taken_back(edits, now),
            made_from: None,
        })
    }
}

/// Whether the edit sets a mask that is there.
fn changes_nothing(edit: &Edit) -> bool {
    matches!(edit, Edit::SetMask { before, after, .. } if before == after)
}

/// Inverses in reverse order, each fitted to the state it meets; what others removed or built on meanwhile is
/// left out.
fn taken_back(edits: &[Edit], now: &Annotation) -> Vec<Edit> {
    let mut state = looked_at(edits, now);
    let mut back = Vec::with_capacity(edits.len());
    for edit in edits.iter().rev() {
        if !is_built_on(edit, &state)
            && let Some(inverse) = edit.inverse().rebased(&state)
            && state.apply(&inverse).is_ok()
        {
            back.push(inverse);
        }
    }
    back
}

/// Whether taking `edit` back would take away what somebody decided since: a mask drawn in the place of its mask, points
/// and drawn masks in the structure that it made. One's own came off before.
fn is_built_on(edit: &Edit, now: &Annotation) -> bool {
    let Some(held) = edit.track().and_then(|track| now.tracks.get(&track)) else { return false };
    let drawn = |mask: &FrameMask| mask.source == MaskSource::Accepted;
    match edit {
        Edit::SetMask { frame, after, .. } => {
            held.masks.get(frame).is_some_and(|mask| drawn(mask) && after.as_ref() != Some(mask))
        }
        Edit::AddTrack { content, .. } => {
            let (mut masks, mut prompts) = (held.masks.iter(), held.prompts.iter());
            masks.any(|(frame, mask)| drawn(mask) && content.masks.get(frame) != Some(mask))
                || prompts.any(|(frame, placed)| content.prompts.get(frame) != Some(placed))
        }
        _ => false,
    }
}

/// What of `now` these edits look at, taken back or not: the frames that they change, and a structure whole where it comes
/// or goes. A copy of everything would take the longer the longer the clip is.
fn looked_at(edits: &[Edit], now: &Annotation) -> Annotation {
    let comes_or_goes =
        |edit: &&Edit| matches!(edit, Edit::AddTrack { .. } | Edit::RemoveTrack { .. });
    let whole: HashSet<TrackId> =
        edits.iter().filter(comes_or_goes).filter_map(Edit::track).collect();
    let mut part = Annotation { places: now.places.clone(), ..Annotation::default() };
    for edit in edits {
        let Some(id) = edit.track() else { continue };
        let Some(held) = now.tracks.get(&id) else { continue };
        if whole.contains(&id) {
            part.tracks.entry(id).or_insert_with(|| held.clone());
        } else {
            let kept = part.tracks.entry(id).or_insert_with(|| without_frames(held));
            take_frame(edit, held, kept);
        }
    }
    part
}

/// What is said of a structure as a whole.
fn without_frames(track: &Track) -> Track {
    Track {
        windows: track.windows.clone(),
        attributes: track.attributes.clone(),
        ..Track::new(track.info.label.clone(), track.info.colour)
    }
}

/// Copies what `edit` changes of a frame.
fn take_frame(edit: &Edit, from: &Track, to: &mut Track) {
    match edit {
        Edit::AddPrompt { frame, .. }
        | Edit::RemovePrompt { frame, .. }
        | Edit::MovePrompt { frame, .. } => {
            let placed = from.prompts.get(frame);
            to.prompts.extend(placed.map(|placed| (*frame, placed.clone())));
        }
        Edit::SetMask { frame, .. } => {
            let mask = from.masks.get(frame);
            to.masks.extend(mask.map(|mask| (*frame, mask.clone())));
        }
        Edit::SetAttribute { frame: Some(frame), .. } => {
            let said = from.frame_attributes.get(frame);
            to.frame_attributes.extend(said.map(|said| (*frame, said.clone())));
        }
        Edit::SetFlag { frame, .. } => to.flags.extend(from.flags.get(frame)),
        Edit::AddTrack { .. }
        | Edit::RemoveTrack { .. }
        | Edit::SetTrackInfo { .. }
        | Edit::SetWindows { .. }
        | Edit::SetAttribute { frame: None, .. }
        | Edit::SetPlace { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Bitmap, PlacedPrompt, PointKind, PointPx, Prompt, PromptId, Window};

    fn step(group: u64, mark: Mark, edits: Vec<Edit>) -> Step {
        Step { group, mark, edits, made_from: None }
    }

    #[test]
    fn a_group_is_undone_and_redone_whole() {
        let (mut now, mut history) = (Annotation::default(), History::default());
        let id = TrackId(1);
        let add = Edit::AddTrack { track: id, content: Track::new("nerve", 0) };
        let windows = Edit::SetWindows {
            track: id,
            before: vec![],
            after: vec![Window { first: 1, last: 4 }],
        };
        for edit in [add, windows] {
            let done = step(7, Mark::Do, vec![edit]);
            now.apply_all(&done.edits).expect("applies");
            history.note(&done);
        }
        let full = now.clone();
        let undo = history.undo(&now).expect("something to undo");
        now.apply_all(&undo.edits).expect("undo applies");
        history.note(&undo);
        assert_eq!(now, Annotation::default());
        assert!(history.undo(&now).is_none());
        let redo = history.redo(&now).expect("something to redo");
        now.apply_all(&redo.edits).expect("redo applies");
        history.note(&redo);
        assert_eq!(now, full);
    }

    /// Takes everything back, or does everything again.
    fn travel(now: &mut Annotation, history: &mut History, back: bool) {
        loop {
            let step = if back { history.undo(now) } else { history.redo(now) };
            let Some(step) = step else { return };
            now.apply_all(&step.edits).expect("applies");
            history.note(&step);
        }
    }

    #[test]
    fn what_others_decided_since_is_not_taken_away_from_below() {
        let id = TrackId(1);
        let drawn = |columns: u32| {
            let mask = Bitmap::from_fn(8, 8, |x, _| x < columns).to_mask();
            Some(FrameMask { mask, source: MaskSource::Accepted, score: 1.0 })
        };
        let set = |frame, before, after| Edit::SetMask { track: id, frame, before, after };
        let (mut now, mut history) = (Annotation::default(), History::default());
        let add = Edit::AddTrack { track: id, content: Track::new("nerve", 0) };
        for (group, edit) in
            [add, set(4, None, drawn(2)), set(5, None, drawn(3))].into_iter().enumerate()
        {
            let done = step(group as u64, Mark::Do, vec![edit]);
            now.apply_all(&done.edits).expect("applies");
            history.note(&done);
        }
        let alone = now.clone();
        travel(&mut now, &mut history, true);
        assert!(now.tracks.is_empty(), "one's own comes off whole");
        travel(&mut now, &mut history, false);
        assert_eq!(now, alone);
        // Somebody else draws frame 4 anew.
        now.apply(&set(4, drawn(2), drawn(6))).expect("applies");
        let both = now.clone();
        travel(&mut now, &mut history, true);
        assert_eq!(
            now.tracks[&id].masks.iter().collect::<Vec<_>>(),
            [(&4, &drawn(6).expect("a mask"))]
        );
        travel(&mut now, &mut history, false);
        assert_eq!(now, both);
        // A point of theirs keeps the structure, too.
        travel(&mut now, &mut history, true);
        now.apply(&set(4, drawn(6), None)).expect("applies");
        let prompt = Prompt::Point { kind: PointKind::Inside, at: PointPx::new(1.0, 1.0) };
        let placed = PlacedPrompt { id: PromptId(9), prompt };
        let mut content = Track::new("vein", 0);
        let vein = TrackId(2);
        let mut history = History::default();
        let made =
            step(7, Mark::Do, vec![Edit::AddTrack { track: vein, content: content.clone() }]);
        now.apply_all(&made.edits).expect("applies");
        history.note(&made);
        let point = Edit::AddPrompt { track: vein, frame: 2, at: 0, placed: placed.clone() };
        now.apply(&point).expect("applies");
        travel(&mut now, &mut history, true);
        content.prompts.insert(2, vec![placed]);
        assert_eq!(now.tracks.get(&vein), Some(&content));
    }

    #[test]
    fn what_of_a_group_was_undone_apart_is_done_again_apart() {
        let (mut now, mut history) = (Annotation::default(), History::default());
        let add = |id: u64| Edit::AddTrack { track: TrackId(id), content: Track::new("nerve", 0) };
        let put = |now: &mut Annotation, history: &mut History, done: Step| {
            now.apply_all(&done.edits).expect("applies");
            history.note(&done);
        };
        put(&mut now, &mut history, step(3, Mark::Do, vec![add(1)]));
        let undo = history.undo(&now).expect("something to undo");
        put(&mut now, &mut history, undo);
        // What comes late for it, as a mask does.
        put(&mut now, &mut history, step(3, Mark::Do, vec![add(2)]));
        let full = {
            let mut full = now.clone();
            full.apply(&add(1)).expect("applies");
            full
        };
        travel(&mut now, &mut history, true);
        assert!(now.tracks.is_empty());
        travel(&mut now, &mut history, false);
        assert_eq!(now, full);
    }

    #[test]
    fn taking_back_looks_at_what_was_changed_alone() {
        let id = TrackId(1);
        let mask = |columns: u32| {
            let mask = Bitmap::from_fn(8, 8, |x, _| x < columns).to_mask();
            Some(FrameMask { mask, source: MaskSource::Tracked, score: 0.5 })
        };
        let mut track = Track::new("nerve", 0);
        track.masks = (0..50).zip(std::iter::repeat_with(|| mask(3)).flatten()).collect();
        track.flags.extend([4, 5]);
        track.frame_attributes.insert(6, [("quality".to_owned(), "good".to_owned())].into());
        let mut now = Annotation::default();
        now.tracks.insert(id, track);
        let before = now.clone();
        let said = |value: &str| Some(value.to_owned());
        let (name, good, poor) = ("quality".to_owned(), said("good"), said("poor"));
        let edits = [
            Edit::SetMask { track: id, frame: 7, before: mask(3), after: mask(5) },
            Edit::SetMask { track: id, frame: 60, before: None, after: mask(2) },
            Edit::SetFlag { track: id, frame: 5, before: true, after: false },
            Edit::SetAttribute { track: id, frame: Some(6), name, before: good, after: poor },
        ];
        now.apply_all(&edits).expect("applies");
        let seen = looked_at(&edits, &now);
        assert_eq!(seen.tracks[&id].masks.keys().copied().collect::<Vec<_>>(), [7, 60]);
        now.apply_all(&taken_back(&edits, &now)).expect("undo applies");
        assert_eq!(now, before);
        // A structure that goes is looked at whole, and comes back whole.
        let gone = [Edit::RemoveTrack { track: id, content: before.tracks[&id].clone() }];
        now.apply_all(&gone).expect("applies");
        let back = taken_back(&gone, &now);
        now.apply_all(&back).expect("undo applies");
        assert_eq!(now, before);
        now.apply_all(&taken_back(&back, &now)).expect("redo applies");
        assert!(now.tracks.is_empty());
    }
}
