//! Which masks are older than the points they should follow.
//!
//! A prompted or accepted mask follows the prompts of its frame. A propagated one follows those
//! of its span: from the accepted frame before it to the one behind it, both included, since
//! accepted frames are barriers. Each mask is remembered with the prompts it was made from, by
//! fingerprint, so that undoing a point also makes the masks valid again that it had outdated,
//! and that accepting a frame outdates nothing.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::domain::{
    FrameIndex, Mask, MaskSource, PlacedPrompt, PointPx, Prompt, Track, TrackId, Window,
};

/// Fingerprints of all prompts of a track, by frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature(Arc<BTreeMap<FrameIndex, u64>>);

impl Signature {
    /// Of the prompts that the track has now.
    #[must_use]
    pub fn of(track: &Track) -> Self {
        let frames = track.prompts.keys().map(|&frame| (frame, frame_signature(track, frame)));
        Self(Arc::new(frames.collect()))
    }

    fn agrees(&self, other: &Self, span: Window) -> bool {
        let range = span.first..=span.last;
        Arc::ptr_eq(&self.0, &other.0) || self.0.range(range.clone()).eq(other.0.range(range))
    }
}

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
    /// Frame and mask -> the prompts for which it is right.
    right_for: HashMap<(FrameIndex, u64), Vec<Made>>,
    stale: BTreeSet<FrameIndex>,
}

impl Marks {
    /// Looks at every frame of a track again. Masks never seen before count as right.
    pub fn learn(&mut self, id: TrackId, track: &Track) {
        let marks = self.tracks.entry(id).or_default();
        marks.stale.clear();
        let (whole, barriers) = (Signature::of(track), track.barriers());
        for &frame in track.masks.keys() {
            marks.look(track, frame, &whole, &barriers);
        }
    }

    /// Looks at one frame again.
    pub fn learn_frame(&mut self, id: TrackId, track: &Track, frame: FrameIndex) {
        let (whole, barriers) = (Signature::of(track), track.barriers());
        self.tracks.entry(id).or_default().look(track, frame, &whole, &barriers);
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
        let key = (frame, fingerprint(mask));
        let known = self.tracks.entry(id).or_default().right_for.entry(key).or_default();
        if !known.contains(&from) {
            known.push(from);
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
    fn look(
        &mut self,
        track: &Track,
        frame: FrameIndex,
        whole: &Signature,
        barriers: &[FrameIndex],
    ) {
        let Some(held) = track.masks.get(&frame) else {
            self.stale.remove(&frame);
            return;
        };
        let now = match held.source {
            MaskSource::Tracked => Made::Track(whole.clone()),
            MaskSource::Prompted | MaskSource::Accepted => {
                Made::Frame(frame_signature(track, frame))
            }
        };
        let span = Track::span_between(barriers, frame);
        let known = self.right_for.entry((frame, fingerprint(&held.mask))).or_default();
        if known.is_empty() {
            known.push(now.clone());
        }
        let right = known.iter().any(|made| match (made, &now) {
            (Made::Frame(a), Made::Frame(b)) => a == b,
            (Made::Track(a), Made::Track(b)) => a.agrees(b, span),
            // A propagated mask that was accepted as it is, or the other way round.
            (Made::Track(a), Made::Frame(b)) => {
                a.0.get(&frame).copied().unwrap_or_else(no_prompts) == *b
            }
            (Made::Frame(_), Made::Track(_)) => false,
        });
        if right {
            self.stale.remove(&frame);
        } else {
            self.stale.insert(frame);
        }
    }
}

/// Fingerprint of the prompts of one frame.
#[must_use]
pub fn frame_signature(track: &Track, frame: FrameIndex) -> u64 {
    let mut hasher = DefaultHasher::new();
    hash_prompts(track.prompts.get(&frame).map_or(&[], Vec::as_slice), &mut hasher);
    hasher.finish()
}

fn no_prompts() -> u64 {
    DefaultHasher::new().finish()
}

fn hash_prompts(placed: &[PlacedPrompt], hasher: &mut DefaultHasher) {
    let point = |at: &PointPx, hasher: &mut DefaultHasher| {
        (at.x.to_bits(), at.y.to_bits()).hash(hasher);
    };
    for each in placed {
        each.id.hash(hasher);
        match &each.prompt {
            Prompt::Point { kind, at } => {
                kind.hash(hasher);
                point(at, hasher);
            }
            Prompt::Box(corners) => {
                point(&corners.min, hasher);
                point(&corners.max, hasher);
            }
            Prompt::Mask(mask) => fingerprint(mask).hash(hasher),
        }
    }
}

fn fingerprint(mask: &Mask) -> u64 {
    let mut hasher = DefaultHasher::new();
    mask.runs().hash(&mut hasher);
    hasher.finish()
}
