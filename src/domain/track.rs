//! One structure followed through a clip.
//!
//! What decides whether this file is right: windows are sorted and disjoint, both ends belong to them, and none means that
//! nobody has said where the structure is visible.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Annotation, FrameIndex, FramePrompts, Mask, PlacedPrompt, Refused};

/// What is said of a structure: attribute to value, as a schema names them.
pub type Attributes = BTreeMap<String, String>;

/// Identity of a track: unique across sessions and annotators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TrackId(pub u64);

/// Gives new structures their identities, so that they follow each other as they were made, in every session: lists,
/// numbers in label maps and which of two overlapping ones lies above keep their order when a clip is opened again.
///
/// The upper half is a place in the order, the lower one the session's own: what two sessions make at the same time has
/// one place and two identities.
#[derive(Clone, Copy, Debug, Default)]
pub struct TrackOrder {
    /// Place of the last one; not given again when its structure is gone, for that may come back.
    last: u32,
}

impl TrackOrder {
    /// The identity after all that `held` has; `unique` is a number that only this session gives, its upper half the
    /// session's own.
    pub fn next(&mut self, held: &Annotation, unique: u64) -> TrackId {
        let newest = held.tracks.keys().next_back().map_or(0, |id| (id.0 >> 32) as u32);
        match newest.max(self.last).checked_add(1) {
            Some(place) => {
                self.last = place;
                TrackId(u64::from(place) << 32 | unique >> 32)
            }
            // Places once were random; behind the very last one there is no order.
            None => TrackId(unique),
        }
    }
}

/// The frames, both ends included, in which a structure is visible (the paper's temporal points).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Window {
    /// First visible frame, from 0.
    pub first: FrameIndex,
    /// Last visible frame, inclusive.
    pub last: FrameIndex,
}

impl Window {
    /// True when `frame` lies inside.
    #[must_use]
    pub fn contains(self, frame: FrameIndex) -> bool {
        (self.first..=self.last).contains(&frame)
    }
}

/// `windows` with `window` added: sorted, and whatever touches or overlaps becomes one.
#[must_use]
pub fn insert_window(windows: &[Window], window: Window) -> Vec<Window> {
    let mut all = windows.to_vec();
    all.push(Window { first: window.first.min(window.last), last: window.first.max(window.last) });
    all.sort_unstable();
    let mut merged: Vec<Window> = Vec::with_capacity(all.len());
    for next in all {
        match merged.last_mut() {
            Some(last) if next.first <= last.last.saturating_add(1) => {
                last.last = last.last.max(next.last);
            }
            _ => merged.push(next),
        }
    }
    merged
}

/// `windows` without the frames of `window`.
#[must_use]
pub fn remove_from_windows(windows: &[Window], window: Window) -> Vec<Window> {
    let mut left = Vec::with_capacity(windows.len() + 1);
    for each in windows {
        if each.last < window.first || each.first > window.last {
            left.push(*each);
            continue;
        }
        if each.first < window.first {
            left.push(Window { first: each.first, last: window.first - 1 });
        }
        if each.last > window.last {
            left.push(Window { first: window.last + 1, last: each.last });
        }
    }
    left
}

/// Who decided a mask. The order is the order of authority: a later one is never replaced by an
/// earlier one without a person asking for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskSource {
    /// Propagated by the network from other frames.
    Tracked,
    /// Computed from this frame's own prompts.
    Prompted,
    /// Accepted or drawn by a person.
    Accepted,
}

/// The mask of a track on a frame and where it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameMask {
    /// The pixels.
    pub mask: Mask,
    /// Who decided it.
    pub source: MaskSource,
    /// The network's own estimate of the IoU, 0..=1; 1 for an accepted mask, 0 where no network judged it.
    pub score: f32,
}

/// What a track is called and how it is drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackInfo {
    /// Label, as exported.
    pub label: String,
    /// Index into the theme's track colours.
    pub colour: u8,
}

/// One structure: label, prompts, windows and masks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// Label and colour.
    pub info: TrackInfo,
    /// Windows of visibility, sorted and disjoint; none means "the whole clip, unknown".
    #[serde(default)]
    pub windows: Vec<Window>,
    /// Prompts by frame, in the order of placing.
    #[serde(default)]
    pub prompts: BTreeMap<FrameIndex, Vec<PlacedPrompt>>,
    /// Masks by frame.
    #[serde(default)]
    pub masks: BTreeMap<FrameIndex, FrameMask>,
    /// What is said of the structure as a whole.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes,
    /// What is said of it on single frames; no frame holds an empty map.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub frame_attributes: BTreeMap<FrameIndex, Attributes>,
    /// Frames that a person flagged for a look.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub flags: BTreeSet<FrameIndex>,
}

impl Track {
    /// A track without prompts or masks.
    #[must_use]
    pub fn new(label: impl Into<String>, colour: u8) -> Self {
        Self {
            info: TrackInfo { label: label.into(), colour },
            windows: Vec::new(),
            prompts: BTreeMap::new(),
            masks: BTreeMap::new(),
            attributes: Attributes::new(),
            frame_attributes: BTreeMap::new(),
            flags: BTreeSet::new(),
        }
    }

    /// The value of an attribute of the whole structure, or of it on one frame.
    #[must_use]
    pub fn attribute(&self, frame: Option<FrameIndex>, name: &str) -> Option<&str> {
        let held = match frame {
            None => Some(&self.attributes),
            Some(frame) => self.frame_attributes.get(&frame),
        };
        held?.get(name).map(String::as_str)
    }

    /// Everything that is said of the structure on `frame`; what is said of the frame itself
    /// stands before what is said of the whole.
    #[must_use]
    pub fn attributes_on(&self, frame: FrameIndex) -> Attributes {
        let mut all = self.attributes.clone();
        all.extend(self.frame_attributes.get(&frame).cloned().unwrap_or_default());
        all
    }

    /// Sets, changes or takes away an attribute that is `before` now.
    ///
    /// # Errors
    /// When it is something else.
    pub(super) fn set_attribute(
        &mut self,
        frame: Option<FrameIndex>,
        name: &str,
        before: Option<&str>,
        after: Option<&str>,
    ) -> Result<(), Refused> {
        if self.attribute(frame, name) != before {
            return Err(Refused::Stale);
        }
        let held = match frame {
            None => &mut self.attributes,
            Some(frame) => self.frame_attributes.entry(frame).or_default(),
        };
        match after {
            Some(value) => held.insert(name.to_owned(), value.to_owned()),
            None => held.remove(name),
        };
        if let Some(frame) = frame.filter(|_| after.is_none()) {
            let empty = self.frame_attributes.get(&frame).is_some_and(Attributes::is_empty);
            if empty {
                self.frame_attributes.remove(&frame);
            }
        }
        Ok(())
    }

    /// The prompts of `frame`, gathered for the network.
    #[must_use]
    pub fn frame_prompts(&self, frame: FrameIndex) -> FramePrompts {
        FramePrompts::gather(self.prompts.get(&frame).map_or(&[], Vec::as_slice))
    }

    /// Anchors: frames with a prompt or an accepted mask, in order. They condition the others
    /// (SAM 2's conditioning frames).
    #[must_use]
    pub fn anchors(&self) -> Vec<FrameIndex> {
        let accepted = self.masks.iter().filter(|(_, m)| m.source == MaskSource::Accepted);
        let mut frames: Vec<FrameIndex> =
            self.prompts.keys().chain(accepted.map(|(frame, _)| frame)).copied().collect();
        frames.sort_unstable();
        frames.dedup();
        frames
    }

    /// Barriers: frames whose mask a person accepted. What happens on one side of a barrier does
    /// not concern the masks on the other.
    #[must_use]
    pub fn barriers(&self) -> Vec<FrameIndex> {
        let accepted = self.masks.iter().filter(|(_, m)| m.source == MaskSource::Accepted);
        accepted.map(|(frame, _)| *frame).collect()
    }

    /// The frames from the barrier before `frame` to the one behind it, both included; a barrier
    /// is a span of its own. `barriers` are sorted.
    #[must_use]
    pub fn span_between(barriers: &[FrameIndex], frame: FrameIndex) -> Window {
        let behind = barriers.partition_point(|&barrier| barrier < frame);
        let last = barriers.get(behind).copied().unwrap_or(FrameIndex::MAX);
        let before = behind.checked_sub(1).map_or(0, |at| barriers[at]);
        Window { first: if last == frame { frame } else { before }, last }
    }

    /// Whether the structure may be visible on `frame`: inside a window, or no window is set.
    #[must_use]
    pub fn visible(&self, frame: FrameIndex) -> bool {
        self.windows.is_empty() || self.windows.iter().any(|w| w.contains(frame))
    }

    /// The frames of a clip of `frames` frames on which a mask is missing, in order. Without windows one is missing only
    /// where masks were carried through the clip. A window of another hand may reach behind the clip.
    pub fn without_mask(&self, frames: usize) -> impl Iterator<Item = FrameIndex> {
        let carried = || self.masks.values().any(|held| held.source == MaskSource::Tracked);
        let windows = match self.windows.is_empty() && !carried() {
            true => Vec::new(),
            false => self.windows_or_all(frames),
        };
        let within = move |w: Window| w.first..w.last.saturating_add(1).min(frames);
        windows.into_iter().flat_map(within).filter(move |frame| !self.masks.contains_key(frame))
    }

    /// The windows, or the whole clip of `frames` frames when none is set.
    #[must_use]
    pub fn windows_or_all(&self, frames: usize) -> Vec<Window> {
        if self.windows.is_empty() {
            vec![Window { first: 0, last: frames.saturating_sub(1) }]
        } else {
            self.windows.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn w(first: usize, last: usize) -> Window {
        Window { first, last }
    }

    #[test]
    fn structures_follow_each_other_as_they_were_made_in_every_session() {
        let mut held = Annotation::default();
        let mut made = Vec::new();
        // Seeds of sessions are random; the second one is below the first.
        for seed in [0xdead_beef_u64, 7, 0xffff_0000] {
            let mut order = TrackOrder::default();
            for _ in 0..2 {
                let id = order.next(&held, seed << 32 | 5);
                held.tracks.insert(id, Track::new("a", 0));
                made.push(id);
            }
            // Taken back, and another one made: the first may come back.
            let gone = made.pop().expect("just made");
            held.tracks.remove(&gone);
            let id = order.next(&held, seed << 32 | 5);
            assert_ne!(id, gone);
            held.tracks.insert(id, Track::new("b", 0));
            made.push(id);
        }
        assert!(held.tracks.keys().eq(&made));
        // At the same time, from the same state: two identities.
        let next = |held: &_, seed: u64| TrackOrder::default().next(held, seed << 32);
        assert_ne!(next(&held, 1), next(&held, 2));
        // Behind an identity of older versions, whose upper half was random.
        held.tracks.insert(TrackId(u64::from(u32::MAX) << 32 | 1), Track::new("c", 0));
        assert_eq!(next(&held, 9), TrackId(9 << 32));
    }

    #[test]
    fn windows_that_touch_become_one() {
        assert_eq!(insert_window(&[w(0, 3), w(10, 12)], w(4, 8)), [w(0, 8), w(10, 12)]);
        assert_eq!(insert_window(&[], w(5, 2)), [w(2, 5)]);
        // As a journal may say, and a structure does that never goes.
        assert_eq!(insert_window(&[w(3, usize::MAX)], w(9, 12)), [w(3, usize::MAX)]);
    }

    #[test]
    fn masks_are_missing_in_windows_and_where_they_were_carried_through_the_clip() {
        let missing = |track: &Track| track.without_mask(8).collect::<Vec<_>>();
        let mut track = Track::new("nerve", 0);
        let mask = crate::domain::Bitmap::from_fn(4, 4, |x, _| x > 1).to_mask();
        let held = |source| FrameMask { mask: mask.clone(), source, score: 1.0 };
        track.masks.insert(2, held(MaskSource::Prompted));
        assert!(missing(&track).is_empty(), "nobody says where it is visible");
        track.masks.insert(3, held(MaskSource::Tracked));
        assert_eq!(missing(&track), [0, 1, 4, 5, 6, 7]);
        // As a journal may say; counting to its end would take for ever.
        track.windows = vec![w(1, 3), w(6, usize::MAX)];
        assert_eq!(missing(&track), [1, 6, 7]);
    }

    #[test]
    fn spans_lie_between_accepted_frames() {
        let span = |frame| Track::span_between(&[4, 9], frame);
        assert_eq!((span(2), span(4), span(6)), (w(0, 4), w(4, 4), w(4, 9)));
        assert_eq!((span(9), span(12)), (w(9, 9), w(9, usize::MAX)));
    }

    #[test]
    fn removing_frames_may_split_a_window() {
        assert_eq!(remove_from_windows(&[w(0, 9)], w(3, 5)), [w(0, 2), w(6, 9)]);
        assert_eq!(remove_from_windows(&[w(0, 9), w(20, 30)], w(5, 20)), [w(0, 4), w(21, 30)]);
    }
}
