//! Which masks are older than the points they should follow.
//!
//! A prompted or accepted mask follows the prompts of its frame. A propagated one follows those
//! of its span: from the accepted frame before it to the one behind it, both included, since
//! accepted frames are barriers. Each mask is remembered with the prompts it was made from, by
//! fingerprint, so that undoing a point also makes the masks valid again that it had outdated,
//! and that accepting a frame outdates nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::domain::{
    Agreement, FrameIndex, Mask, MaskSource, Signature, Track, TrackId, frame_signature,
    mask_fingerprint,
};

/// What a mask was made from.
#[derive(Clone, Debug, PartialEq)]
enum Made {
    /// The prompts of its own frame.
    Frame(u64),
    /// The prompts of the whole track.
    Track(Signature),
}

/// Which masks are out of date, by track.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    tracks: BTreeMap<TrackId, TrackMarks>,
}

#[derive(Clone, Debug, Default)]
struct TrackMarks {
    /// All prompts, and the frames whose mask a person accepted, when the whole track was looked at.
    whole: Signature,
    barriers: Vec<FrameIndex>,
    /// Frame and mask -> the prompts for which it is right.
    right_for: HashMap<(FrameIndex, u64), Vec<Made>>,
    stale: BTreeSet<FrameIndex>,
    looks: usize,
}

impl Marks {
    /// Looks at every frame of a track again: prompts or accepted frames changed, or it is new. Masks
    /// never seen before count as right.
    pub fn learn(&mut self, id: TrackId, track: &Track) {
        let marks = self.tracks.entry(id).or_default();
        (marks.whole, marks.barriers) = (Signature::of(track), track.barriers());
        marks.stale.clear();
        let whole = marks.whole.clone();
        let mut agreement = Agreement::with(&whole);
        for &frame in track.masks.keys() {
            marks.look(track, frame, &mut agreement);
        }
    }

    /// Looks at one frame again whose mask changed, and nothing else since [`learn`](Self::learn).
    pub fn learn_frame(&mut self, id: TrackId, track: &Track, frame: FrameIndex) {
        let marks = self.tracks.entry(id).or_default();
        let whole = marks.whole.clone();
        marks.look(track, frame, &mut Agreement::with(&whole));
    }

    /// How many masks of a track were looked at so far, each as often as it was: what tests count.
    #[must_use]
    pub fn looks(&self, id: TrackId) -> usize {
        self.tracks.get(&id).map_or(0, |marks| marks.looks)
    }

    /// Notes that `mask` on `frame` was made from prompts of its frame with this signature.
    pub fn made_from_frame(&mut self, id: TrackId, frame: FrameIndex, mask: &Mask, of: u64) {
        self.made(id, frame, mask, Made::Frame(of));
    }

    /// Notes that `mask` on `frame` was propagated from prompts with this signature.
    pub fn made_from_track(&mut self, id: TrackId, frame: FrameIndex, mask: &Mask, of: &Signature) {
        self.made(id, frame, mask, Made::Track(of.clone()));
    }

    fn made(&mut self, id: TrackId, frame: FrameIndex, mask: &Mask, from: Made) {
        let key = (frame, mask_fingerprint(mask));
        let known = self.tracks.entry(id).or_default().right_for.entry(key).or_default();
        if !known.contains(&from) {
            known.push(from);
        }
    }

    /// Notes what the mask of a frame was made from in an earlier session.
    pub fn was_made(&mut self, id: TrackId, track: &Track, frame: FrameIndex, of: &Signature) {
        let Some(held) = track.masks.get(&frame) else { return };
        match held.source {
            MaskSource::Tracked => self.made_from_track(id, frame, &held.mask, of),
            MaskSource::Prompted | MaskSource::Accepted => {
                self.made_from_frame(id, frame, &held.mask, of.at(frame));
            }
        }
    }

    /// Forgets a track that is gone.
    pub fn forget(&mut self, id: TrackId) {
        if let Some(marks) = self.tracks.get_mut(&id) {
            marks.stale.clear();
        }
    }

    /// Whether the mask of a frame is older than the points.
    #[must_use]
    pub fn is_stale(&self, id: TrackId, frame: FrameIndex) -> bool {
        self.stale(id).is_some_and(|stale| stale.contains(&frame))
    }

    /// All stale frames of a track.
    #[must_use]
    pub fn stale(&self, id: TrackId) -> Option<&BTreeSet<FrameIndex>> {
        self.tracks.get(&id).map(|marks| &marks.stale)
    }
}

impl TrackMarks {
    /// Looks at one frame; `agreement` is with all prompts as they are now.
    fn look(&mut self, track: &Track, frame: FrameIndex, agreement: &mut Agreement<'_>) {
        self.looks += 1;
        let Some(held) = track.masks.get(&frame) else {
            self.stale.remove(&frame);
            return;
        };
        let now = match held.source {
            MaskSource::Tracked => Made::Track(self.whole.clone()),
            MaskSource::Prompted | MaskSource::Accepted => {
                Made::Frame(frame_signature(track, frame))
            }
        };
        let span = Track::span_between(&self.barriers, frame);
        let known = self.right_for.entry((frame, mask_fingerprint(&held.mask))).or_default();
        if known.is_empty() {
            known.push(now.clone());
        }
        let right = known.iter().any(|made| match (made, &now) {
            (Made::Frame(a), Made::Frame(b)) => a == b,
            (Made::Track(made), Made::Track(_)) => agreement.holds(made, span),
            // A propagated mask that was accepted as it is, or the other way round.
            (Made::Track(a), Made::Frame(b)) => a.at(frame) == *b,
            (Made::Frame(_), Made::Track(_)) => false,
        });
        if right {
            self.stale.remove(&frame);
        } else {
            self.stale.insert(frame);
        }
    }
}
