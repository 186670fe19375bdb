//! Which prompts a mask was made from, by fingerprint: what tells whether it is older than the points it should follow.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::{Edit, FrameIndex, Mask, PlacedPrompt, PointPx, Prompt, Track, TrackId, Window};

/// Fingerprints of all prompts of a track, by frame. They hold for one run of the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature(Arc<BTreeMap<FrameIndex, u64>>);

impl Signature {
    /// Of the prompts that the track has now.
    #[must_use]
    pub fn of(track: &Track) -> Self {
        let frames = track.prompts.iter().map(|(&frame, placed)| (frame, of_prompts(placed)));
        Self(Arc::new(frames.collect()))
    }

    /// Of the prompts of one frame.
    #[must_use]
    pub fn at(&self, frame: FrameIndex) -> u64 {
        self.0.get(&frame).copied().unwrap_or_else(|| of_prompts(&[]))
    }

    /// Whether both are of the same prompts on the frames of `span`.
    #[must_use]
    pub fn agrees(&self, other: &Self, span: Window) -> bool {
        let range = span.first..=span.last;
        Arc::ptr_eq(&self.0, &other.0) || self.0.range(range.clone()).eq(other.0.range(range))
    }
}

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

/// What masks were made from, by track and frame.
pub type MadeFrom = BTreeMap<TrackId, BTreeMap<FrameIndex, Signature>>;

/// Gathers from edits, in their order, which prompts a track had when each of its masks was set.
#[derive(Debug, Default)]
pub struct MaskOrigins(BTreeMap<TrackId, Origins>);

#[derive(Debug, Default)]
struct Origins {
    prompts: BTreeMap<FrameIndex, Vec<PlacedPrompt>>,
    /// Every change of prompts: the frame, and the fingerprint of its prompts since.
    changes: Vec<(FrameIndex, u64)>,
    /// How many changes there were when the mask of a frame was set.
    set_after: HashMap<FrameIndex, usize>,
}

impl MaskOrigins {
    /// Notes an edit that took effect.
    pub fn note(&mut self, edit: &Edit) {
        match edit {
            Edit::AddTrack { track, content } => {
                let held = self.0.entry(*track).or_default();
                held.prompts.clone_from(&content.prompts);
                content.prompts.keys().for_each(|frame| held.changed(*frame));
                for frame in content.masks.keys() {
                    // A track that comes back brings masks of before.
                    held.set_after.entry(*frame).or_insert(held.changes.len());
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
            Edit::SetMask { track, frame, after, .. } => {
                let held = self.0.entry(*track).or_default();
                let now = held.changes.len();
                match after {
                    Some(_) => drop(held.set_after.insert(*frame, now)),
                    None => drop(held.set_after.remove(frame)),
                }
            }
            _ => {}
        }
    }

    /// What the masks were made from that were set before the last change of their track's prompts.
    #[must_use]
    pub fn older(&self) -> MadeFrom {
        self.0.iter().map(|(track, held)| (*track, held.older())).collect()
    }
}

impl Origins {
    fn changed(&mut self, frame: FrameIndex) {
        let placed = self.prompts.get(&frame).map_or(&[][..], Vec::as_slice);
        // No prompts are no entry, as in a track.
        self.changes.push((frame, of_prompts(placed)));
    }

    fn older(&self) -> BTreeMap<FrameIndex, Signature> {
        let last = self.changes.len();
        let moments: BTreeSet<usize> =
            self.set_after.values().copied().filter(|&at| at < last).collect();
        let (mut state, mut done) = (BTreeMap::new(), 0);
        let mut then: HashMap<usize, Signature> = HashMap::new();
        let none = of_prompts(&[]);
        for moment in moments {
            for (frame, print) in &self.changes[done..moment] {
                if *print == none {
                    state.remove(frame);
                } else {
                    state.insert(*frame, *print);
                }
            }
            done = moment;
            then.insert(moment, Signature(Arc::new(state.clone())));
        }
        let known = |(&frame, at): (&FrameIndex, &usize)| Some((frame, then.get(at)?.clone()));
        self.set_after.iter().filter_map(known).collect()
    }
}
