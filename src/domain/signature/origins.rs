//! Which prompts a track had when each of its masks was made, gathered from the steps of a journal.
//!
//! What decides whether this file is right: it alone says which masks are older than their points, so that the session that
//! runs, one that follows it and one that reads the journal again say the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{Agreement, Log, Signature, mask_fingerprint, of_frame, of_prompts};
use crate::domain::{
    Edit, FrameIndex, FrameMask, Mark, Mask, MaskSource, PlacedPrompt, Track, TrackId, Window,
    prompted,
};

/// Gathers from steps, in their order, which prompts each track had when its masks were made. A copy costs little until one
/// of the two changes.
#[derive(Clone, Debug, Default)]
pub struct MaskOrigins(BTreeMap<TrackId, Arc<TrackOrigins>>);

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

/// The same of one track.
#[derive(Clone, Debug, Default)]
pub struct TrackOrigins {
    prompts: BTreeMap<FrameIndex, Vec<PlacedPrompt>>,
    log: Arc<Log>,
    /// How many changes of prompts there were.
    changes: usize,
    /// Fingerprint of all prompts as they are now.
    whole: u64,
    /// How many changes there were when all prompts had a fingerprint, the last time.
    moments: HashMap<u64, usize>,
    /// Every mask that was ever there, by frame and fingerprint: an undo may bring it back.
    made: HashMap<(FrameIndex, u64), Made>,
}

/// What is known of a mask.
#[derive(Clone, Debug, Default)]
struct Made {
    /// How many changes of prompts there were when it was made, each time; the last time is the last.
    moments: Vec<usize>,
    /// Who made it and how sure they were, before points changed it.
    by: Option<(MaskSource, f32)>,
}

impl MaskOrigins {
    /// Notes a step of which `effect` took effect. `made_from` is what [`Step::made_from`](crate::domain::Step::made_from)
    /// says. A mask that an undo or a redo brings back is as old as it was.
    pub fn note(&mut self, mark: Mark, made_from: Option<u64>, effect: &[Edit]) {
        let when = match (mark, made_from) {
            (Mark::Do, None) => When::Now,
            (Mark::Do, Some(of)) => When::From(of),
            (Mark::Undo | Mark::Redo, _) => When::Before,
        };
        // The masks of a step are of the prompts that it leaves, in whatever order it tells them.
        let is_mask = |edit: &&Edit| matches!(edit, Edit::SetMask { .. });
        let (others, prompted) = (effect.iter().filter(|edit| !is_mask(edit)), prompted(effect));
        let all = others.chain(effect.iter().filter(is_mask));
        all.for_each(|edit| self.take(edit, when, &prompted));
    }

    /// Takes the masks of a track of which nothing was noted to be as new as its prompts.
    pub fn know(&mut self, id: TrackId, track: &Track) {
        if !self.0.contains_key(&id) {
            self.held(id).added(track);
        }
    }

    /// What is known of a track.
    #[must_use]
    pub fn of(&self, id: TrackId) -> Option<&TrackOrigins> {
        self.0.get(&id).map(|held| &**held)
    }

    /// What is known of these tracks alone.
    #[must_use]
    pub fn only(&self, ids: impl IntoIterator<Item = TrackId>) -> Self {
        let held = |id: TrackId| Some((id, Arc::clone(self.0.get(&id)?)));
        Self(ids.into_iter().filter_map(held).collect())
    }

    /// The tracks of which something is known.
    pub fn tracks(&self) -> impl Iterator<Item = TrackId> {
        self.0.keys().copied()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Of the tracks that `others` knows what it knows counts.
    pub fn replace(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    fn held(&mut self, id: TrackId) -> &mut TrackOrigins {
        Arc::make_mut(self.0.entry(id).or_default())
    }

    /// Takes one of the edits of a step that changes the prompts of the frames `prompted`.
    fn take(&mut self, edit: &Edit, when: When, prompted: &BTreeSet<(TrackId, FrameIndex)>) {
        match edit {
            Edit::AddTrack { track, content } => self.held(*track).added(content),
            Edit::AddPrompt { track, frame, at, placed } => {
                let held = self.held(*track);
                let list = held.prompts.entry(*frame).or_default();
                list.insert((*at).min(list.len()), placed.clone());
                held.changed(*frame);
            }
            Edit::RemovePrompt { track, frame, placed, .. } => {
                let held = self.held(*track);
                held.prompts.entry(*frame).or_default().retain(|each| each.id != placed.id);
                held.changed(*frame);
            }
            Edit::MovePrompt { track, frame, id, after, .. } => {
                let held = self.held(*track);
                let list = held.prompts.entry(*frame).or_default();
                if let Some(each) = list.iter_mut().find(|each| each.id == *id) {
                    each.prompt = after.clone();
                }
                held.changed(*frame);
            }
            Edit::SetMask { track, frame, before, after: Some(after) } => {
                let prompted = prompted.contains(&(*track, *frame));
                let anew = is_made_anew(before.as_ref(), after, prompted);
                let when = if anew { when } else { When::Before };
                self.held(*track).set(*frame, after, when);
            }
            _ => {}
        }
    }

    /// What a mask was made from the last time, where prompts changed since.
    #[cfg(test)]
    pub(super) fn older(&self, id: TrackId, frame: FrameIndex, mask: &Mask) -> Option<Signature> {
        let held = self.of(id)?;
        let moment = *held.made.get(&(frame, mask_fingerprint(mask)))?.moments.last()?;
        (moment < held.changes).then(|| Signature { log: Arc::clone(&held.log), moment })
    }
}

/// Whether the mask was made, and does not only stay where somebody accepts it, or deletes the points that had changed it.
/// Who draws the mask that is there, as by pasting it, makes it: it is a prompt of its frame, which is `prompted` by that.
fn is_made_anew(before: Option<&FrameMask>, after: &FrameMask, prompted: bool) -> bool {
    let Some(before) = before else { return true };
    let accepted = |held: &FrameMask| held.source == MaskSource::Accepted;
    let accepts = before.mask == after.mask && !accepted(before) && accepted(after) && !prompted;
    let gives_back = before.source == MaskSource::Prompted && after.source == MaskSource::Tracked;
    !accepts && !gives_back
}

impl TrackOrigins {
    /// The prompts that the track has now.
    #[must_use]
    pub fn now(&self) -> Signature {
        Signature { log: Arc::clone(&self.log), moment: self.changes }
    }

    /// Whether the mask `held` of a frame is older than the prompts that it should follow: those of the frame, or of `span`
    /// where it was propagated. `agreement` is with the prompts of [`now`](Self::now). A mask never seen is not.
    #[must_use]
    pub fn is_older(
        &self,
        frame: FrameIndex,
        held: &FrameMask,
        span: Window,
        agreement: &mut Agreement<'_>,
    ) -> bool {
        let Some(made) = self.made.get(&(frame, mask_fingerprint(&held.mask))) else {
            return false;
        };
        !made.moments.iter().rev().any(|&moment| {
            let of = Signature { log: Arc::clone(&self.log), moment };
            match held.source {
                MaskSource::Tracked => agreement.holds(&of, span),
                MaskSource::Prompted | MaskSource::Accepted => {
                    of.at(frame) == agreement.with.at(frame)
                }
            }
        })
    }

    /// Who made a mask, and its score then; `None` where only points of its frame did, or nothing is known of it.
    #[must_use]
    pub fn made_by(&self, frame: FrameIndex, mask: &Mask) -> Option<(MaskSource, f32)> {
        self.made.get(&(frame, mask_fingerprint(mask)))?.by
    }

    /// The track comes, or comes back.
    fn added(&mut self, content: &Track) {
        let mut frames: BTreeSet<_> = self.prompts.keys().copied().collect();
        frames.extend(content.prompts.keys());
        self.prompts.clone_from(&content.prompts);
        frames.into_iter().for_each(|frame| self.changed(frame));
        // A track that comes back brings masks of before.
        content.masks.iter().for_each(|(&frame, held)| self.set(frame, held, When::Before));
    }

    fn changed(&mut self, frame: FrameIndex) {
        let placed = self.prompts.get(&frame).map_or(&[][..], Vec::as_slice);
        // No prompts are no entry, as in a track.
        let print = (!placed.is_empty()).then(|| of_prompts(placed));
        let changes = Arc::make_mut(&mut self.log).entry(frame).or_default();
        let before = changes.last().and_then(|(_, before)| *before);
        for each in before.into_iter().chain(print) {
            self.whole ^= of_frame(frame, each);
        }
        changes.push((self.changes, print));
        self.changes += 1;
        self.moments.insert(self.whole, self.changes);
    }

    /// The frame has this mask.
    fn set(&mut self, frame: FrameIndex, held: &FrameMask, when: When) {
        let of = match when {
            // What no prompts of this journal have was another's, or of another build: older than any of them.
            When::From(of) => self.moments.get(&of).copied().unwrap_or(0),
            When::Now | When::Before => self.changes,
        };
        let made = self.made.entry((frame, mask_fingerprint(&held.mask))).or_default();
        if matches!(when, When::Before) && !made.moments.is_empty() {
            return;
        }
        made.moments.retain(|moment| *moment != of);
        made.moments.push(of);
        if held.source != MaskSource::Prompted {
            made.by = Some((held.source, held.score));
        }
    }
}
