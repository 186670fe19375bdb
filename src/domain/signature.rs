//! Which prompts a mask was made from, by fingerprint: what tells whether it is older than the points it should follow.
//!
//! What decides whether this file is right: a mask is of the prompts that its track had when it was set, whatever came
//! later, and the work grows with the masks and not with their square.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::{FrameIndex, Mask, PlacedPrompt, PointPx, Prompt, Track, Window};

mod origins;

pub use origins::{MaskOrigins, TrackOrigins};

/// Fingerprints of all prompts that a track had at one moment, by frame. They hold for one build of
/// the program: what is kept for longer is looked for among those of the same prompts, and may not be found.
#[derive(Clone, Debug, Default)]
pub struct Signature {
    log: Arc<Log>,
    /// Only the changes before this one count.
    moment: usize,
}

/// What the prompts of every frame were: by frame the number of each change, in order, and the
/// fingerprint since; `None` where there were no prompts any more. All moments share one log, so that
/// it is held once however many masks were made from it.
type Log = BTreeMap<FrameIndex, Vec<(usize, Option<u64>)>>;

impl Signature {
    /// Of the prompts that the track has now.
    #[must_use]
    pub fn of(track: &Track) -> Self {
        let frames = track.prompts.iter();
        let log = frames.map(|(&frame, placed)| (frame, vec![(0, Some(of_prompts(placed)))]));
        Self { log: Arc::new(log.collect()), moment: 1 }
    }

    /// Of the prompts of one frame.
    #[must_use]
    pub fn at(&self, frame: FrameIndex) -> u64 {
        self.print(frame).unwrap_or_else(|| of_prompts(&[]))
    }

    /// Of the prompts of all frames in one number, by which [`MaskOrigins::note`] finds them again.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let prints = self.log.iter().filter_map(|(frame, of)| Some((*frame, self.then(of)?)));
        prints.fold(0, |all, (frame, print)| all ^ of_frame(frame, print))
    }

    /// Whether both are of the same prompts on the frames of `span`.
    #[must_use]
    pub fn agrees(&self, other: &Self, span: Window) -> bool {
        self.is(other) || self.difference(other, span, &mut 0).is_none()
    }

    /// Whether both are the same moment of the same log.
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.log, &other.log) && self.moment == other.moment
    }

    /// The fingerprint of a frame; `None` where it had no prompts.
    fn print(&self, frame: FrameIndex) -> Option<u64> {
        self.log.get(&frame).and_then(|changes| self.then(changes))
    }

    /// The last frame of `span` whose prompts were others than in `other`; `looked` counts the frames on the way.
    fn difference(&self, other: &Self, span: Window, looked: &mut usize) -> Option<FrameIndex> {
        let mut mine = self.log.range(span.first..=span.last).rev().peekable();
        let mut theirs = other.log.range(span.first..=span.last).rev().peekable();
        loop {
            let next = [mine.peek(), theirs.peek()];
            let next = next.into_iter().flatten().map(|(frame, _)| **frame).max()?;
            *looked += 1;
            let one = mine.next_if(|(frame, _)| **frame == next);
            let two = theirs.next_if(|(frame, _)| **frame == next);
            let one = one.and_then(|(_, changes)| self.then(changes));
            if one != two.and_then(|(_, changes)| other.then(changes)) {
                return Some(next);
            }
        }
    }

    /// The fingerprint that one frame had at the moment.
    fn then(&self, changes: &[(usize, Option<u64>)]) -> Option<u64> {
        let past = changes.partition_point(|(number, _)| *number < self.moment);
        past.checked_sub(1).and_then(|last| changes[last].1)
    }
}

/// Compares many signatures with one. What was made at one moment is compared once for each span; what was made at many
/// mostly differs where the one before did, so that the work grows with the masks and not with their square.
#[derive(Debug)]
pub struct Agreement<'a> {
    with: &'a Signature,
    /// What was found, by log, moment and span; the signature keeps the log in its place.
    known: BTreeMap<(usize, usize, Window), (bool, Signature)>,
    /// Where the one before differed.
    differed: Option<FrameIndex>,
    /// Frames looked at so far.
    looked: usize,
}

impl<'a> Agreement<'a> {
    /// Begins comparing with this one.
    #[must_use]
    pub fn with(with: &'a Signature) -> Self {
        Self { with, known: BTreeMap::new(), differed: None, looked: 0 }
    }

    /// Whether `made` is of the same prompts on the frames of `span`.
    pub fn holds(&mut self, made: &Signature, span: Window) -> bool {
        if made.is(self.with) {
            return true;
        }
        if let Some(frame) = self.differed.filter(|frame| span.contains(*frame)) {
            self.looked += 1;
            if made.print(frame) != self.with.print(frame) {
                return false;
            }
        }
        let key = (Arc::as_ptr(&made.log).addr(), made.moment, span);
        if let Some((known, _)) = self.known.get(&key) {
            return *known;
        }
        let difference = made.difference(self.with, span, &mut self.looked);
        self.known.insert(key, (difference.is_none(), made.clone()));
        self.differed = difference.or(self.differed);
        difference.is_none()
    }
}

impl PartialEq for Signature {
    fn eq(&self, other: &Self) -> bool {
        self.agrees(other, Window { first: 0, last: FrameIndex::MAX })
    }
}

impl Eq for Signature {}

/// Fingerprint of the prompts of one frame of a track.
#[must_use]
pub fn frame_signature(track: &Track, frame: FrameIndex) -> u64 {
    of_prompts(track.prompts.get(&frame).map_or(&[], Vec::as_slice))
}

/// Fingerprint of a mask.
#[must_use]
pub fn mask_fingerprint(mask: &Mask) -> u64 {
    let mut hasher = DefaultHasher::new();
    mask.runs().hash(&mut hasher);
    hasher.finish()
}

/// What one frame is in the fingerprint of all.
fn of_frame(frame: FrameIndex, print: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (frame, print).hash(&mut hasher);
    hasher.finish()
}

fn of_prompts(placed: &[PlacedPrompt]) -> u64 {
    let mut hasher = DefaultHasher::new();
    let point = |at: &PointPx, hasher: &mut DefaultHasher| {
        (at.x.to_bits(), at.y.to_bits()).hash(hasher);
    };
    for each in placed {
        each.id.hash(&mut hasher);
        match &each.prompt {
            Prompt::Point { kind, at } => {
                kind.hash(&mut hasher);
                point(at, &mut hasher);
            }
            Prompt::Box(corners) => {
                point(&corners.min, &mut hasher);
                point(&corners.max, &mut hasher);
            }
            Prompt::Mask(mask) => mask_fingerprint(mask).hash(&mut hasher),
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::domain::{Bitmap, Edit, FrameMask, Mark, MaskSource, PointKind, PromptId, TrackId};

    const TRACK: TrackId = TrackId(1);

    fn mask() -> FrameMask {
        let mask = Bitmap::from_fn(8, 8, |x, y| x < 3 && y < 3).to_mask();
        FrameMask { mask, source: MaskSource::Tracked, score: 0.9 }
    }

    fn set_mask(frame: FrameIndex, after: Option<FrameMask>) -> Edit {
        Edit::SetMask { track: TRACK, frame, before: None, after }
    }

    fn point(id: u64) -> PlacedPrompt {
        let prompt = Prompt::Point { kind: PointKind::Boundary, at: PointPx::new(id as f32, 3.0) };
        PlacedPrompt { id: PromptId(id), prompt }
    }

    fn add(frame: FrameIndex, id: u64) -> Edit {
        Edit::AddPrompt { track: TRACK, frame, at: 0, placed: point(id) }
    }

    /// Entries of all logs, each counted once however often it is shared.
    fn held(made: &BTreeMap<FrameIndex, Signature>) -> usize {
        let logs = made.values();
        let sizes = logs.map(|of| (Arc::as_ptr(&of.log), of.log.values().map(Vec::len).sum()));
        sizes.collect::<HashMap<_, usize>>().values().sum()
    }

    /// Notes steps of one edit each.
    fn note(origins: &mut MaskOrigins, edits: &[Edit]) {
        edits.chunks(1).for_each(|edit| origins.note(Mark::Do, None, edit));
    }

    /// What [`mask`] was made from on those of so many frames on which it is older than the prompts.
    fn older(origins: &MaskOrigins, frames: usize) -> BTreeMap<FrameIndex, Signature> {
        let of = |frame| Some((frame, origins.older(TRACK, frame, &mask().mask)?));
        (0..frames).filter_map(of).collect()
    }

    #[test]
    fn what_is_held_grows_with_the_edits_and_not_with_their_square() {
        let frames = 3000;
        let mut origins = MaskOrigins::default();
        for frame in 0..frames {
            note(&mut origins, &[add(frame, frame as u64), set_mask(frame, Some(mask()))]);
        }
        let made = older(&origins, frames);
        assert_eq!(made.len(), frames - 1, "the newest mask is as new as its points");
        assert_eq!(held(&made), frames);
    }

    #[test]
    fn a_mask_that_comes_back_is_as_old_as_it_was() {
        let whole = Window { first: 0, last: FrameIndex::MAX };
        let drawn = Bitmap::from_fn(8, 8, |x, y| x > 3 && y < 3).to_mask();
        let other = || Some(FrameMask { mask: drawn.clone(), ..mask() });
        let mut track = Track::new("t", 0);
        let made = |frame, then: &[Edit], back: &[Edit]| {
            let mut origins = MaskOrigins::default();
            note(&mut origins, &[add(0, 1), set_mask(frame, Some(mask()))]);
            note(&mut origins, then);
            origins.note(Mark::Undo, None, back);
            origins.older(TRACK, frame, &mask().mask)
        };
        // A second point and its mask are taken back, the mask first.
        let (second, first) = (add(0, 2), set_mask(0, Some(mask())));
        let then = [second.clone(), set_mask(0, other())];
        let found = made(0, &then, &[first, second.inverse()]).expect("an older mask");
        track.prompts.insert(0, vec![point(1)]);
        assert!(found.agrees(&Signature::of(&track), whole));
        // A mask was carried anew from the second point, and that is taken back.
        let then = [second, set_mask(3, other())];
        let found = made(3, &then, &[set_mask(3, Some(mask()))]).expect("an older mask");
        assert!(found.agrees(&Signature::of(&track), whole));
        track.prompts.insert(0, vec![point(2), point(1)]);
        assert!(!found.agrees(&Signature::of(&track), whole));
    }

    #[test]
    fn a_mask_that_is_accepted_is_as_old_as_it_was() {
        let whole = Window { first: 0, last: FrameIndex::MAX };
        let after = FrameMask { source: MaskSource::Accepted, ..mask() };
        let accept =
            Edit::SetMask { track: TRACK, frame: 3, before: Some(mask()), after: Some(after) };
        let mut track = Track::new("t", 0);
        track.prompts.insert(0, vec![point(1)]);
        for taken_back in [false, true] {
            let mut origins = MaskOrigins::default();
            let edits = [add(0, 1), set_mask(3, Some(mask())), add(0, 2), accept.clone()];
            note(&mut origins, &edits);
            if taken_back {
                origins.note(Mark::Undo, None, &[accept.inverse()]);
            }
            let made = origins.older(TRACK, 3, &mask().mask).expect("older than the second point");
            assert!(made.agrees(&Signature::of(&track), whole));
        }
    }

    #[test]
    fn a_mask_that_is_made_again_is_right_for_either_points() {
        let whole = Window { first: 0, last: FrameIndex::MAX };
        let held = mask();
        let again =
            Edit::SetMask { track: TRACK, frame: 3, before: Some(mask()), after: Some(mask()) };
        let mut origins = MaskOrigins::default();
        let is_older = |origins: &MaskOrigins| {
            let known = origins.of(TRACK).expect("noted");
            let now = known.now();
            known.is_older(3, &held, whole, &mut Agreement::with(&now))
        };
        note(&mut origins, &[add(0, 1), set_mask(3, Some(mask())), add(0, 2)]);
        assert!(is_older(&origins));
        note(&mut origins, &[again]);
        assert!(!is_older(&origins));
        origins.note(Mark::Undo, None, &[add(0, 2).inverse()]);
        assert!(!is_older(&origins), "it was right for the first point, too");
        note(&mut origins, &[add(5, 3)]);
        assert!(is_older(&origins));
    }

    #[test]
    fn an_equal_mask_that_points_or_a_person_make_is_new_and_one_that_is_accepted_is_not() {
        use MaskSource::{Accepted, Prompted, Tracked};
        let whole = Window { first: 0, last: FrameIndex::MAX };
        let held = |source| FrameMask { source, ..mask() };
        let set = |before, after| {
            let (before, after) = (Some(held(before)), Some(held(after)));
            Edit::SetMask { track: TRACK, frame: 3, before, after }
        };
        for (steps, source, older) in [
            (vec![vec![add(3, 2)], vec![set(Accepted, Prompted)]], Prompted, false),
            // A mask that is pasted is a prompt, too.
            (vec![vec![add(3, 2), set(Tracked, Accepted)]], Accepted, false),
            (vec![vec![add(3, 2)], vec![set(Tracked, Accepted)]], Accepted, true),
        ] {
            let mut origins = MaskOrigins::default();
            note(&mut origins, &[add(0, 1), set_mask(3, Some(mask()))]);
            steps.iter().for_each(|step| origins.note(Mark::Do, None, step));
            let known = origins.of(TRACK).expect("noted");
            let now = known.now();
            let found = known.is_older(3, &held(source), whole, &mut Agreement::with(&now));
            assert_eq!(found, older, "{steps:?}");
        }
    }

    #[test]
    fn who_made_a_mask_is_known_when_points_changed_it() {
        let other = Bitmap::from_fn(8, 8, |x, y| x > 3 && y < 3).to_mask();
        let from_points = FrameMask { mask: other, source: MaskSource::Prompted, score: 0.7 };
        let drawn = FrameMask { source: MaskSource::Accepted, score: 1.0, ..mask() };
        for (made, by) in [(mask(), MaskSource::Tracked), (drawn, MaskSource::Accepted)] {
            let mut origins = MaskOrigins::default();
            let points = Edit::SetMask {
                track: TRACK,
                frame: 3,
                before: Some(made.clone()),
                after: Some(from_points.clone()),
            };
            note(&mut origins, &[set_mask(3, Some(made.clone())), add(3, 1), points]);
            let known = origins.of(TRACK).expect("noted");
            assert_eq!(known.made_by(3, &made.mask), Some((by, made.score)));
            assert_eq!(known.made_by(3, &from_points.mask), None);
        }
        // Who accepts a mask did not make it.
        let accepted = FrameMask { source: MaskSource::Accepted, score: 1.0, ..mask() };
        let accept =
            Edit::SetMask { track: TRACK, frame: 3, before: Some(mask()), after: Some(accepted) };
        let mut origins = MaskOrigins::default();
        note(&mut origins, &[set_mask(3, Some(mask())), accept]);
        let known = origins.of(TRACK).expect("noted");
        assert_eq!(known.made_by(3, &mask().mask), Some((MaskSource::Tracked, mask().score)));
    }

    #[test]
    fn a_late_mask_is_of_the_points_that_it_tells() {
        let whole = Window { first: 0, last: FrameIndex::MAX };
        let mut track = Track::new("t", 0);
        track.prompts.insert(0, vec![point(1)]);
        let first = Signature::of(&track);
        track.prompts.insert(5, vec![point(2)]);
        let both = Signature::of(&track);
        let unknown = first.fingerprint() ^ both.fingerprint() ^ 1;
        for (of, wanted) in [
            (first.fingerprint(), Some(&first)),
            (both.fingerprint(), None),
            (unknown, Some(&Signature::default())),
        ] {
            let mut origins = MaskOrigins::default();
            note(&mut origins, &[add(0, 1), add(5, 2)]);
            origins.note(Mark::Do, Some(of), &[set_mask(3, Some(mask()))]);
            let made = origins.older(TRACK, 3, &mask().mask);
            assert_eq!(made.is_some(), wanted.is_some(), "older than both");
            assert!(made.zip(wanted).is_none_or(|(made, wanted)| made.agrees(wanted, whole)));
        }
    }

    #[test]
    fn many_moments_are_compared_in_steps_that_grow_with_the_frames() {
        let frames = 400;
        let whole = Window { first: 0, last: FrameIndex::MAX };
        for backwards in [false, true] {
            let (mut origins, mut track) = (MaskOrigins::default(), Track::new("t", 0));
            for id in 0..frames {
                let frame = if backwards { frames - 1 - id } else { id };
                track.prompts.insert(frame, vec![point(id as u64)]);
                note(&mut origins, &[add(frame, id as u64), set_mask(frame, Some(mask()))]);
            }
            let made = older(&origins, frames);
            assert_eq!(made.len(), frames - 1);
            let now = Signature::of(&track);
            let mut agreement = Agreement::with(&now);
            for of in made.values() {
                assert_eq!(agreement.holds(of, whole), of.agrees(&now, whole));
            }
            assert!(agreement.looked <= 3 * frames, "{} looks", agreement.looked);
            // One moment of many masks.
            let (same, mut agreement) = (Signature::of(&track), Agreement::with(&now));
            assert!((0..frames).all(|_| agreement.holds(&same, whole)));
            assert!(agreement.looked <= 2 * frames, "{} looks", agreement.looked);
        }
    }

    /// What [`Signature`] says of one moment, kept the plain way.
    type Plain = BTreeMap<FrameIndex, u64>;

    fn plain(track: &Track) -> Plain {
        track.prompts.iter().map(|(&frame, placed)| (frame, of_prompts(placed))).collect()
    }

    fn agree(a: &Plain, b: &Plain, span: Window) -> bool {
        a.range(span.first..=span.last).eq(b.range(span.first..=span.last))
    }

    #[test]
    fn moments_of_one_log_are_what_the_prompts_were_then() {
        let frames = 9;
        let mut number = 0_u64;
        let mut below = |most: usize| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            (number >> 33) as usize % most
        };
        for _ in 0..60 {
            let mut origins = MaskOrigins::default();
            let mut track = Track::new("t", 0);
            let mut set: BTreeMap<FrameIndex, Plain> = BTreeMap::new();
            for id in 0..80 {
                let (frame, what) = (below(frames), below(6));
                let first = track.prompts.get(&frame).and_then(|placed| placed.first().cloned());
                let edit = match (what, first) {
                    (0..=1, _) => {
                        track.prompts.entry(frame).or_default().insert(0, point(id));
                        add(frame, id)
                    }
                    (2, Some(placed)) => {
                        let list = track.prompts.entry(frame).or_default();
                        list.remove(0);
                        if list.is_empty() {
                            track.prompts.remove(&frame);
                        }
                        Edit::RemovePrompt { track: TRACK, frame, at: 0, placed }
                    }
                    (3, Some(placed)) => {
                        let (before, after) = (placed.prompt, point(id).prompt);
                        track.prompts.entry(frame).or_default()[0].prompt = after.clone();
                        Edit::MovePrompt { track: TRACK, frame, id: placed.id, before, after }
                    }
                    (4, _) => {
                        set.remove(&frame);
                        set_mask(frame, None)
                    }
                    _ => {
                        set.insert(frame, plain(&track));
                        set_mask(frame, Some(mask()))
                    }
                };
                note(&mut origins, &[edit]);
            }
            let mut made = older(&origins, frames);
            made.retain(|frame, _| set.contains_key(frame));
            let now = Signature::of(&track);
            let mut agreement = Agreement::with(&now);
            for (frame, then) in &set {
                // Those that are not older were made from what there is now.
                let found = made.get(frame).unwrap_or(&now);
                for at in 0..frames {
                    let expected = then.get(&at).copied().unwrap_or_else(|| of_prompts(&[]));
                    assert_eq!(found.at(at), expected);
                }
                let first = below(frames);
                let span = Window { first, last: first + below(frames) };
                let agreed = agree(then, &plain(&track), span);
                assert_eq!(
                    (found.agrees(&now, span), agreement.holds(found, span)),
                    (agreed, agreed)
                );
                assert_eq!(*found == now, *then == plain(&track));
                for (other, of_other) in &made {
                    assert_eq!(found.agrees(of_other, span), agree(then, &set[other], span));
                }
            }
        }
    }
}
