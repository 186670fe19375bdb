//! Which prompts a track had when each of its masks was made, gathered from the edits of a journal.
//!
//! What decides whether this file is right: it says of every mask what the session said that set it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{Log, Signature, mask_fingerprint, of_frame, of_prompts};
use crate::domain::{Edit, FrameIndex, FrameMask, Mask, MaskSource, PlacedPrompt, TrackId};

/// What masks were made from, by track and frame.
pub type MadeFrom = BTreeMap<TrackId, BTreeMap<FrameIndex, Signature>>;

/// Gathers from edits, in their order, which prompts a track had when each of its masks was set.
#[derive(Debug, Default)]
pub struct MaskOrigins(BTreeMap<TrackId, Origins>);

/// When the masks of an edit were made.
#[derive(Clone, Copy)]
enum When {
    /// As it was done.
    Now,
    /// When they were there before, where they were.
    Before,
    /// When all prompts had this fingerprint.
    From(u64),
}

#[derive(Debug, Default)]
struct Origins {
    prompts: BTreeMap<FrameIndex, Vec<PlacedPrompt>>,
    log: Log,
    /// How many changes of prompts there were.
    changes: usize,
    /// Fingerprint of all prompts as they are now.
    whole: u64,
    /// How many changes there were when all prompts had a fingerprint, the last time.
    moments: HashMap<u64, usize>,
    /// How many there were when the mask of a frame was made.
    set_after: HashMap<FrameIndex, usize>,
    /// The same of every mask that was ever there, by frame and fingerprint: an undo may bring it back.
    made: HashMap<(FrameIndex, u64), usize>,
}

impl MaskOrigins {
    /// Notes an edit that took effect.
    pub fn note(&mut self, edit: &Edit) {
        self.take(edit, When::Now);
    }

    /// Notes an edit that took effect, of masks that were made from prompts of before, with this
    /// [fingerprint](Signature::fingerprint): points changed while they were computed.
    pub fn note_late(&mut self, edit: &Edit, of: u64) {
        self.take(edit, When::From(of));
    }

    /// Notes an edit of an undo or a redo: a mask that comes back is as old as it was. Those of one step come in any order, so
    /// that the prompts of this moment tell nothing.
    pub fn note_back(&mut self, edit: &Edit) {
        self.take(edit, When::Before);
    }

    fn take(&mut self, edit: &Edit, when: When) {
        match edit {
            Edit::AddTrack { track, content } => {
                let held = self.0.entry(*track).or_default();
                let mut frames: BTreeSet<_> = held.prompts.keys().copied().collect();
                frames.extend(content.prompts.keys());
                held.prompts.clone_from(&content.prompts);
                frames.into_iter().for_each(|frame| held.changed(frame));
                let now = held.changes;
                for (frame, mask) in &content.masks {
                    // A track that comes back brings masks of before.
                    held.set_after.entry(*frame).or_insert(now);
                    held.made.entry((*frame, mask_fingerprint(&mask.mask))).or_insert(now);
                }
            }
            Edit::AddPrompt { track, frame, at, placed } => {
                let held = self.0.entry(*track).or_default();
                let list = held.prompts.entry(*frame).or_default();
                list.insert((*at).min(list.len()), placed.clone());
                held.changed(*frame);
            }
            Edit::RemovePrompt { track, frame, placed, .. } => {
                let held = self.0.entry(*track).or_default();
                held.prompts.entry(*frame).or_default().retain(|each| each.id != placed.id);
                held.changed(*frame);
            }
            Edit::MovePrompt { track, frame, id, after, .. } => {
                let held = self.0.entry(*track).or_default();
                let list = held.prompts.entry(*frame).or_default();
                if let Some(each) = list.iter_mut().find(|each| each.id == *id) {
                    each.prompt = after.clone();
                }
                held.changed(*frame);
            }
            Edit::SetMask { track, frame, before, after } => {
                let held = self.0.entry(*track).or_default();
                match after {
                    // It was not made anew.
                    Some(after) if is_acceptance(before.as_ref(), after) => {
                        held.set(*frame, &after.mask, When::Before);
                    }
                    Some(after) => held.set(*frame, &after.mask, when),
                    None => drop(held.set_after.remove(frame)),
                }
            }
            _ => {}
        }
    }

    /// What the masks were made from that were set before the last change of their track's prompts.
    #[must_use]
    pub fn older(self) -> MadeFrom {
        self.0.into_iter().map(|(track, held)| (track, held.older())).collect()
    }
}

/// Whether the mask stays, and somebody accepts it or does not any more.
fn is_acceptance(before: Option<&FrameMask>, after: &FrameMask) -> bool {
    let accepted = |held: &FrameMask| held.source == MaskSource::Accepted;
    before.is_some_and(|held| held.mask == after.mask && accepted(held) != accepted(after))
}

impl Origins {
    fn changed(&mut self, frame: FrameIndex) {
        let placed = self.prompts.get(&frame).map_or(&[][..], Vec::as_slice);
        // No prompts are no entry, as in a track.
        let print = (!placed.is_empty()).then(|| of_prompts(placed));
        let changes = self.log.entry(frame).or_default();
        let before = changes.last().and_then(|(_, before)| *before);
        for each in before.into_iter().chain(print) {
            self.whole ^= of_frame(frame, each);
        }
        changes.push((self.changes, print));
        self.changes += 1;
        self.moments.insert(self.whole, self.changes);
    }

    /// The frame has this mask.
    fn set(&mut self, frame: FrameIndex, mask: &Mask, when: When) {
        let of = match when {
            // What no prompts of this journal have was another's, or of another build: older than any of them.
            When::From(of) => self.moments.get(&of).copied().unwrap_or(0),
            When::Now | When::Before => self.changes,
        };
        let made = self.made.entry((frame, mask_fingerprint(mask))).or_insert(of);
        if !matches!(when, When::Before) {
            *made = of;
        }
        self.set_after.insert(frame, *made);
    }

    fn older(self) -> BTreeMap<FrameIndex, Signature> {
        let (last, log) = (self.changes, Arc::new(self.log));
        let older = self.set_after.into_iter().filter(|(_, moment)| *moment < last);
        older.map(|(frame, moment)| (frame, Signature { log: Arc::clone(&log), moment })).collect()
    }
}
