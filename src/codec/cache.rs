//! Decoded frames, least recently used first out, bounded in bytes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::domain::{FrameIndex, GrayFrame};

/// A bounded store of decoded frames. The newest frame always fits, however small the bound.
pub(super) struct FrameCache {
    limit_bytes: usize,
    held_bytes: usize,
    tick: u64,
    frames: HashMap<FrameIndex, (u64, Arc<GrayFrame>)>,
    by_age: BTreeMap<u64, FrameIndex>,
}

impl FrameCache {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            held_bytes: 0,
            tick: 0,
            frames: HashMap::new(),
            by_age: BTreeMap::new(),
        }
    }

    /// The frame, which becomes the newest.
    pub(super) fn get(&mut self, index: FrameIndex) -> Option<Arc<GrayFrame>> {
        self.tick += 1;
        let (age, frame) = self.frames.get_mut(&index)?;
        self.by_age.remove(age);
        *age = self.tick;
        self.by_age.insert(self.tick, index);
        Some(Arc::clone(frame))
    }

    /// Keeps a frame and lets the oldest go until the bound holds.
    pub(super) fn put(&mut self, index: FrameIndex, frame: Arc<GrayFrame>) {
        self.tick += 1;
        self.held_bytes += frame.bytes();
        if let Some((age, old)) = self.frames.insert(index, (self.tick, frame)) {
            self.by_age.remove(&age);
            self.held_bytes -= old.bytes();
        }
        self.by_age.insert(self.tick, index);
        while self.held_bytes > self.limit_bytes && self.frames.len() > 1 {
            let Some((_, oldest)) = self.by_age.pop_first() else {
                break;
            };
            if let Some((_, gone)) = self.frames.remove(&oldest) {
                self.held_bytes -= gone.bytes();
            }
        }
    }

    /// The bound, bytes.
    pub(super) fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Bytes of pixels held now.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(value: u8) -> Arc<GrayFrame> {
        Arc::new(GrayFrame::new(10, 10, vec![value; 100]).expect("it fits"))
    }

    #[test]
    fn the_least_recently_used_frame_goes_first() {
        let mut cache = FrameCache::new(300);
        for i in 0..3 {
            cache.put(i, frame(i as u8));
        }
        assert!(cache.get(0).is_some());
        cache.put(3, frame(3));
        assert!(cache.get(1).is_none() && cache.get(0).is_some() && cache.get(3).is_some());
        cache.put(3, frame(9));
        assert_eq!(cache.held_bytes(), 300);
    }

    #[test]
    fn one_frame_fits_into_any_bound() {
        let mut cache = FrameCache::new(0);
        cache.put(7, frame(1));
        cache.put(8, frame(2));
        assert!(cache.get(8).is_some() && cache.get(7).is_none());
        assert_eq!(cache.held_bytes(), 100);
    }
}
