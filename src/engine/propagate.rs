//! Which frames a propagation decides, in which order and from what: pure. `walking` goes by it.
//!
//! Rules (NETWORK.md 10 and 13.2). Nothing outside the windows is looked at. Anchors, that is
//! frames with prompts or with a mask that a person prompted or accepted, condition everything
//! and are never decided again. Every other frame is walked to from the nearest anchor of its
//! window; a window without an anchor is entered at the end that is nearer in time to an anchor.

use std::collections::BTreeMap;

use crate::domain::{FrameIndex, MaskSource, Track, Window};
use crate::net::tracker::ANCHORS_MAX;

use super::{Anchor, Direction};

/// Which frames to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Span {
    /// Later than the frame at hand.
    Forward,
    /// Earlier than the frame at hand.
    Backward,
    /// Every frame of every window.
    Both,
    /// Every frame of the window that holds the frame at hand.
    ThisWindow,
}

/// Frames decided with one memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Walk {
    /// What conditions the others, in time order.
    pub anchors: Vec<(FrameIndex, Anchor)>,
    /// The frames to decide, in walking order.
    pub frames: Vec<(FrameIndex, Direction)>,
    /// Whether a person set windows: inside them the object score is not obeyed.
    pub windowed: bool,
}

/// What a propagation will do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// One after the other.
    pub walks: Vec<Walk>,
}

impl Plan {
    /// Every frame that will be decided, in walking order.
    pub fn frames(&self) -> impl Iterator<Item = FrameIndex> + '_ {
        self.walks.iter().flat_map(|walk| walk.frames.iter().map(|(frame, _)| *frame))
    }

    /// How many frames will be decided.
    #[must_use]
    pub fn len(&self) -> usize {
        self.walks.iter().map(|walk| walk.frames.len()).sum()
    }

    /// True when no frame will be decided.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The anchors alone: for a clip in which every frame has prompts of its own.
    #[must_use]
    pub fn of_anchors(track: &Track, clip_frames: usize) -> Self {
        let windows = windows_of(track, clip_frames);
        let anchors: Vec<_> = anchors_of(track, &windows).into_iter().collect();
        if anchors.is_empty() {
            return Self::default();
        }
        let windowed = !track.windows.is_empty();
        Self { walks: vec![Walk { anchors, frames: Vec::new(), windowed }] }
    }
}

/// Why there is nothing to propagate, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Neither prompts nor a person's mask anywhere.
    #[error("nothing to start from: put boundary points on one frame of the window first")]
    NoAnchor,
    /// There are anchors, all outside the windows.
    #[error("the points of frame {} lie in no window: widen one, or put points inside one", .frame + 1)]
    AnchorsOutside {
        /// The first of them.
        frame: FrameIndex,
    },
    /// The frame at hand is in no window.
    #[error("frame {} is in no window; go inside one, or propagate through all windows", .frame + 1)]
    OutsideWindows {
        /// The frame at hand.
        frame: FrameIndex,
    },
    /// No two anchors with frames between them.
    #[error("nothing to compare yet: put points on a second frame, with frames between them")]
    NothingBetween,
    /// Only frames that a person decided, or none at all.
    #[error("nothing to propagate: frames there are accepted, have points or lie in no window")]
    Nothing,
}

/// Plans the propagation of `track` through a clip of `clip_frames` frames. `from` is the frame
/// at hand; with [`Span::Forward`] and [`Span::Backward`] its mask conditions the walk even when
/// it was itself tracked, because it is the mask that the person is looking at.
///
/// # Errors
/// When no frame can be decided; the sentence says what to do.
pub fn plan(
    track: &Track,
    clip_frames: usize,
    from: FrameIndex,
    span: Span,
) -> Result<Plan, PlanError> {
    plan_where(track, clip_frames, Some(from), span, &|_| true)
}

/// As [`plan`], with only the frames that `wanted` names and those passed on the way to them. Without a frame at
/// hand a walk begins at the end of the clip.
///
/// # Errors
/// When no frame can be decided; the sentence says what to do.
pub fn plan_where(
    track: &Track,
    clip_frames: usize,
    from: Option<FrameIndex>,
    span: Span,
    wanted: &dyn Fn(FrameIndex) -> bool,
) -> Result<Plan, PlanError> {
    let windows = windows_of(track, clip_frames);
    let mut anchors = anchors_of(track, &windows);
    if anchors.is_empty() {
        let first = track.anchors().first().copied();
        return Err(first.map_or(PlanError::NoAnchor, |frame| PlanError::AnchorsOutside { frame }));
    }
    let inside = from.and_then(|from| windows.iter().find(|w| w.contains(from)));
    if span == Span::ThisWindow && inside.is_none() {
        return Err(PlanError::OutsideWindows { frame: from.unwrap_or(0) });
    }
    if matches!(span, Span::Forward | Span::Backward)
        && inside.is_some()
        && let Some(from) = from
        && let Some(held) = track.masks.get(&from)
        && !held.mask.is_empty()
    {
        anchors.entry(from).or_insert_with(|| Anchor::Mask(held.mask.clone()));
    }
    let at: Vec<FrameIndex> = anchors.keys().copied().collect();
    let in_span = |frame: &(FrameIndex, Direction)| match span {
        Span::Forward => from.is_none_or(|from| frame.0 > from),
        Span::Backward => from.is_none_or(|from| frame.0 < from),
        Span::Both => true,
        Span::ThisWindow => inside.is_some_and(|w| w.contains(frame.0)),
    };
    // Windows with anchors come first: what they decide is the memory the others start from.
    let (held, bare): (Vec<Window>, Vec<Window>) =
        windows.iter().partition(|w| at.iter().any(|&a| w.contains(a)));
    let mut frames: Vec<(FrameIndex, Direction)> = Vec::new();
    let mut add = |way: Vec<(FrameIndex, Direction)>| {
        let way: Vec<_> = way.into_iter().filter(in_span).collect();
        let end = way.iter().rposition(|(frame, _)| wanted(*frame)).map_or(0, |last| last + 1);
        frames.extend(way.into_iter().take(end));
    };
    for gap in held.into_iter().flat_map(|window| gaps(window, &at)) {
        let (forward, backward): (Vec<_>, Vec<_>) =
            gap.frames(span).into_iter().partition(|(_, way)| *way == Direction::Forward);
        add(forward);
        add(backward);
    }
    for window in in_order_of_nearness(bare, &at) {
        add(enter(window, &at));
    }
    if frames.is_empty() {
        return Err(PlanError::Nothing);
    }
    let anchors = nearest_anchors(anchors, &frames);
    Ok(Plan { walks: vec![Walk { anchors, frames, windowed: !track.windows.is_empty() }] })
}

/// Plans both passes through every gap between two anchors: first all forward, then all backward,
/// each with a memory of its own, so that every frame is decided twice. Where the two agree, the
/// mask is probably right.
///
/// # Errors
/// When no frame lies between two anchors of one window.
pub fn plan_both_passes(track: &Track, clip_frames: usize) -> Result<Plan, PlanError> {
    plan_both_passes_where(track, clip_frames, &|_| true)
}

/// As [`plan_both_passes`], with only the gaps that hold a frame which `wanted` names.
///
/// # Errors
/// When there is no such gap.
pub fn plan_both_passes_where(
    track: &Track,
    clip_frames: usize,
    wanted: &dyn Fn(FrameIndex) -> bool,
) -> Result<Plan, PlanError> {
    let windows = windows_of(track, clip_frames);
    let anchors = anchors_of(track, &windows);
    let at: Vec<FrameIndex> = anchors.keys().copied().collect();
    let between: Vec<Gap> = windows
        .iter()
        .flat_map(|window| gaps(*window, &at))
        .filter(|gap| gap.before.is_some() && gap.after.is_some())
        .filter(|gap| gap.frames(Span::Forward).iter().any(|(frame, _)| wanted(*frame)))
        .collect();
    let walks: Vec<Walk> = [Span::Forward, Span::Backward]
        .into_iter()
        .map(|span| {
            let frames: Vec<_> = between.iter().flat_map(|gap| gap.frames(span)).collect();
            let anchors = nearest_anchors(anchors.clone(), &frames);
            Walk { anchors, frames, windowed: !track.windows.is_empty() }
        })
        .collect();
    let plan = Plan { walks };
    if plan.is_empty() { Err(PlanError::NothingBetween) } else { Ok(plan) }
}

/// The windows cut to the clip.
fn windows_of(track: &Track, clip_frames: usize) -> Vec<Window> {
    let last_frame = clip_frames.saturating_sub(1);
    track
        .windows_or_all(clip_frames)
        .into_iter()
        .filter(|w| w.first < clip_frames)
        .map(|w| Window { first: w.first, last: w.last.min(last_frame) })
        .collect()
}

/// Frames inside the windows that a person decided. An accepted mask says more than the prompts
/// below it; a prompted mask is computed again from its prompts, which also gives its pointer.
fn anchors_of(track: &Track, windows: &[Window]) -> BTreeMap<FrameIndex, Anchor> {
    let inside = |frame: FrameIndex| windows.iter().any(|w| w.contains(frame));
    let mut found = BTreeMap::new();
    for &frame in track.prompts.keys().filter(|&&frame| inside(frame)) {
        let prompts = track.frame_prompts(frame);
        if !prompts.is_empty() {
            found.insert(frame, Anchor::Prompts(prompts));
        }
    }
    for (&frame, held) in track.masks.iter().filter(|&(&frame, _)| inside(frame)) {
        match held.source {
            MaskSource::Accepted => {
                found.insert(frame, Anchor::Mask(held.mask.clone()));
            }
            MaskSource::Prompted => {
                found.entry(frame).or_insert_with(|| Anchor::Mask(held.mask.clone()));
            }
            MaskSource::Tracked => {}
        }
    }
    found
}

/// A run of frames of one window without an anchor among them.
#[derive(Clone, Copy)]
struct Gap {
    before: Option<FrameIndex>,
    after: Option<FrameIndex>,
    window: Window,
}

impl Gap {
    /// Its frames in walking order: from the anchor before and from the anchor after to where
    /// they are equally far, or one way all through when the person said which way.
    fn frames(&self, span: Span) -> Vec<(FrameIndex, Direction)> {
        // `first` is the first frame to decide, `end` the one behind the last.
        let first = self.before.map_or(self.window.first, |a| a + 1);
        let end = self.after.unwrap_or(self.window.last + 1);
        let turn = match (self.before, self.after, span) {
            (Some(_), None, _) | (Some(_), Some(_), Span::Forward) => end,
            (None, _, _) | (Some(_), Some(_), Span::Backward) => first,
            (Some(a), Some(b), _) => (a + b) / 2 + 1,
        };
        let forward = (first..turn).map(|f| (f, Direction::Forward));
        forward.chain((turn..end).rev().map(|f| (f, Direction::Backward))).collect()
    }
}

/// The gaps of `window` before, between and after its anchors.
fn gaps(window: Window, anchors: &[FrameIndex]) -> Vec<Gap> {
    let inside = anchors.iter().copied().filter(|&a| window.contains(a));
    let mut found = Vec::new();
    let mut before = None;
    for after in inside.map(Some).chain([None]) {
        found.push(Gap { before, after, window });
        before = after;
    }
    found
}

/// Frames between `frame` and the nearest anchor.
fn distance_to(frame: FrameIndex, anchors: &[FrameIndex]) -> usize {
    anchors.iter().map(|a| a.abs_diff(frame)).min().unwrap_or(usize::MAX)
}

/// A window without anchors, from its end nearer in time to an anchor (ties: from the start).
fn enter(window: Window, anchors: &[FrameIndex]) -> Vec<(FrameIndex, Direction)> {
    let frames = window.first..=window.last;
    if distance_to(window.first, anchors) <= distance_to(window.last, anchors) {
        frames.map(|f| (f, Direction::Forward)).collect()
    } else {
        frames.rev().map(|f| (f, Direction::Backward)).collect()
    }
}

fn in_order_of_nearness(mut windows: Vec<Window>, anchors: &[FrameIndex]) -> Vec<Window> {
    windows.sort_by_key(|w| distance_to(w.first, anchors).min(distance_to(w.last, anchors)));
    windows
}

/// All anchors that border a frame to be decided, and the nearest others up to as many as a frame attends to: each costs
/// an encoding.
fn nearest_anchors(
    anchors: BTreeMap<FrameIndex, Anchor>,
    frames: &[(FrameIndex, Direction)],
) -> Vec<(FrameIndex, Anchor)> {
    let decided: Vec<FrameIndex> = frames.iter().map(|(frame, _)| *frame).collect();
    let mut by_distance: Vec<_> =
        anchors.into_iter().map(|(at, anchor)| (distance_to(at, &decided), at, anchor)).collect();
    by_distance.sort_by_key(|(distance, at, _)| (*distance, *at));
    let mut kept: Vec<_> = by_distance
        .into_iter()
        .enumerate()
        .filter(|(rank, (distance, _, _))| *rank < ANCHORS_MAX || *distance <= 1)
        .map(|(_, (_, at, anchor))| (at, anchor))
        .collect();
    kept.sort_by_key(|(at, _)| *at);
    kept
}

#[cfg(test)]
#[path = "propagate_tests.rs"]
mod tests;
