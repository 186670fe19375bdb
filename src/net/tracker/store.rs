//! What one object's frames left behind, and how little of it may be kept.
//!
//! What decides whether this file is right: a frame is never both conditioning and recent, conditioning frames keep the
//! order in which they were added, and [`Store::trim`] drops only what `memory_bank::retention` calls unreadable.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use super::conditioning::{MaskMemory, PointerMemory};
use crate::net::memory_bank::{BankRules, Direction, Recall, Retention, recall, retention};

/// One decided frame.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Mask memory; `None` once trimmed, or before the memory encoder has run.
    pub(super) features: Option<Tensor<4>>,
    /// Gated logits `[1, 1, s, s]`; `None` once trimmed.
    pub(super) low_res: Option<Tensor<4>>,
    /// `[1, d_model]`, already mixed with `no_obj_ptr`.
    pub(super) obj_ptr: Tensor<2>,
    /// The network's estimate of its IoU.
    pub(super) iou: f32,
    /// Raw object score.
    pub(super) object_score: f32,
}

impl Entry {
    /// Bytes of its maps; the pointer is too small to count.
    pub(super) fn bytes(&self) -> usize {
        let size = |t: &Tensor<4>| t.shape().num_elements() * t.dtype().size();
        self.features.as_ref().map_or(0, size) + self.low_res.as_ref().map_or(0, size)
    }
}

/// A frame with new input whose memory has not been made yet.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) entry: Entry,
    /// Becomes a conditioning frame.
    pub(super) conditioning: bool,
    /// Unconditioned features `[1, d_model, h, w]` for the memory encoder.
    pub(super) pix_feat: Tensor<4>,
    /// `[1, 1]`: 1 where the object counts as present, else 0.
    pub(super) present: Tensor<2>,
}

/// Everything remembered of one object.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    cond: Vec<(usize, Entry)>,
    recent: BTreeMap<usize, Entry>,
    pub(super) pending: BTreeMap<usize, Pending>,
}

impl Store {
    /// The newest result of `frame`, whether or not its memory has been made.
    pub(super) fn newest(&self, frame: usize) -> Option<&Entry> {
        let pending = self.pending.get(&frame).map(|p| &p.entry);
        pending.or_else(|| self.cond(frame)).or_else(|| self.recent.get(&frame))
    }

    /// The conditioning result of `frame`.
    pub(super) fn cond(&self, frame: usize) -> Option<&Entry> {
        self.cond.iter().find(|(f, _)| *f == frame).map(|(_, e)| e)
    }

    /// Conditioning frames in the order they were added.
    pub(super) fn cond_frames(&self) -> Vec<usize> {
        self.cond.iter().map(|(f, _)| *f).collect()
    }

    /// Other frames that left a memory or a pointer, in order.
    pub(super) fn recent_frames(&self) -> Vec<usize> {
        self.recent.keys().copied().collect()
    }

    /// Puts `entry` in the bank; a conditioning frame replaces a recent one of the same number.
    pub(super) fn insert(&mut self, frame: usize, entry: Entry, conditioning: bool) {
        if !conditioning {
            self.recent.insert(frame, entry);
            return;
        }
        self.recent.remove(&frame);
        match self.cond.iter_mut().find(|(f, _)| *f == frame) {
            Some((_, old)) => *old = entry,
            None => self.cond.push((frame, entry)),
        }
    }

    /// Keeps only frames for which `keep` holds.
    pub(super) fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        self.cond.retain(|(f, _)| keep(*f));
        self.recent.retain(|f, _| keep(*f));
        self.pending.retain(|f, _| keep(*f));
    }

    /// Drops recent frames for which `stale` holds; conditioning frames stay.
    pub(super) fn drop_recent(&mut self, stale: impl Fn(usize) -> bool) {
        self.recent.retain(|f, _| !stale(*f));
    }

    /// The tensors `frame` attends to in a walk in `direction`.
    pub(super) fn recall(
        &self,
        rules: &BankRules,
        frame: usize,
        direction: Direction,
        num_frames: usize,
    ) -> (Vec<MaskMemory>, Vec<PointerMemory>) {
        let has = |f| self.recent.contains_key(&f);
        let Recall { spatial, pointers } =
            recall(rules, &self.cond_frames(), has, frame, direction, num_frames);
        let entry = |f| self.cond(f).or_else(|| self.recent.get(&f));
        let masks = spatial.iter().filter_map(|s| {
            let features = entry(s.frame)?.features.clone()?;
            Some(MaskMemory { features, t_pos: s.t_pos })
        });
        let pointers = pointers.iter().filter_map(|p| {
            let obj_ptr = entry(p.frame)?.obj_ptr.clone();
            Some(PointerMemory { obj_ptr, distance: p.distance })
        });
        (masks.collect(), pointers.collect())
    }

    /// Brings the recent memories down to `most`, dropping the ones farthest behind first and only such as a walk in
    /// `direction` whose next frame is `next` can no longer read.
    pub(super) fn trim(
        &mut self,
        rules: &BankRules,
        most: usize,
        next: usize,
        direction: Direction,
        num_frames: usize,
    ) {
        let left = |f: usize| retention(rules, f, next, direction, num_frames);
        let mut whole: Vec<_> =
            self.recent.iter().filter(|(_, e)| e.features.is_some()).map(|(f, _)| *f).collect();
        whole.sort_by_key(|f| std::cmp::Reverse(direction.distance(next, *f)));
        let surplus = whole.len().saturating_sub(most);
        for frame in whole.into_iter().filter(|f| left(*f) < Retention::Whole).take(surplus) {
            if let Some(entry) = self.recent.get_mut(&frame) {
                (entry.features, entry.low_res) = (None, None);
            }
        }
        self.recent.retain(|f, e| e.features.is_some() || left(*f) > Retention::Nothing);
    }
}
