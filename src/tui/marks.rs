//! Which masks are older than the points they should follow.
//!
//! A propagated mask follows all prompts of its track, a prompted or accepted one those of its
//! frame. Each mask is remembered with the prompts it was made from, by fingerprint, so that
//! undoing a point also makes the masks valid again that it had outdated.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};

use crate::domain::{FrameIndex, Mask, MaskSource, PlacedPrompt, PointPx, Prompt, Track, TrackId};

/// Which masks are out of date, by track.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    tracks: BTreeMap<TrackId, TrackMarks>,
}

#[derive(Clone, Debug, Default)]
struct TrackMarks {
    /// Frame and mask -> the prompts for which it is right.
    right_for: HashMap<(FrameIndex, u64), Vec<u64>>,
    stale: BTreeSet<FrameIndex>,
}

impl Marks {
    /// Looks at every frame of a track again. Masks never seen before count as right.
    pub fn learn(&mut self, id: TrackId, track: &Track) {
        let marks = self.tracks.entry(id).or_default();
        marks.stale.clear();
        let whole = signature(track);
        for &frame in track.masks.keys() {
            marks.look(track, frame, whole);
        }
    }

    /// Looks at one frame again.
    pub fn learn_frame(&mut self, id: TrackId, track: &Track, frame: FrameIndex) {
        self.tracks.entry(id).or_default().look(track, frame, signature(track));
    }

    /// Notes that `mask` on `frame` was made from prompts of this signature.
    pub fn made_from(&mut self, id: TrackId, frame: FrameIndex, mask: &Mask, signature: u64) {
        let key = (frame, fingerprint(mask));
        let known = self.tracks.entry(id).or_default().right_for.entry(key).or_default();
        if !known.contains(&signature) {
            known.push(signature);
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
    fn look(&mut self, track: &Track, frame: FrameIndex, whole: u64) {
        let Some(held) = track.masks.get(&frame) else {
            self.stale.remove(&frame);
            return;
        };
        let now = match held.source {
            MaskSource::Tracked => whole,
            MaskSource::Prompted | MaskSource::Accepted => frame_signature(track, frame),
        };
        let key = (frame, fingerprint(&held.mask));
        if self.right_for.entry(key).or_insert_with(|| vec![now]).contains(&now) {
            self.stale.remove(&frame);
        } else {
            self.stale.insert(frame);
        }
    }
}

/// Fingerprint of all prompts of a track.
#[must_use]
pub fn signature(track: &Track) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (frame, placed) in &track.prompts {
        frame.hash(&mut hasher);
        hash_prompts(placed, &mut hasher);
    }
    hasher.finish()
}

/// Fingerprint of the prompts of one frame.
#[must_use]
pub fn frame_signature(track: &Track, frame: FrameIndex) -> u64 {
    let mut hasher = DefaultHasher::new();
    hash_prompts(track.prompts.get(&frame).map_or(&[], Vec::as_slice), &mut hasher);
    hasher.finish()
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
