//! The one walk that the screen and the batch commands share: a propagation alone, or several side by side.
//!
//! Propagations of several structures go through the clip together, so that a frame is read and encoded once for all that
//! need it: each by itself would do so again as soon as the clip is longer than what is kept of it. What decides whether
//! this file is right: each propagation meets its frames in the order of its plan, in a memory of its own, so it decides
//! what it would decide alone; the one that is behind goes on first, so that they meet; and one that ends, fails or is
//! taken away leaves the others as they are.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::domain::{FrameIndex, GrayFrame};
use crate::net::device::caught;

use super::failing::device_gave_up;
use super::read_ahead::{Coming, read_ahead};
use super::{Decided, Direction, Frames, Image, Plan, SegmentError, Segmenter, WalkId};

/// Propagations that walk together at most: each has a memory of its own, which `net::budget` leaves room for.
pub const TOGETHER_MAX: usize = 8;

/// What a frame was to a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It conditions the others.
    Anchor,
    /// It was decided from them.
    Tracked,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every frame was visited.
    Complete,
    /// Stopped on request; what was decided before stays.
    Cancelled,
}

/// Why a walk cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// The network.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// No anchor could be decoded, so nothing conditions the walk.
    #[error("frame {} cannot be decoded ({why}) and no other anchor is left; put boundary points on another frame", .frame + 1)]
    NoAnchorLeft {
        /// The last anchor that was tried.
        frame: FrameIndex,
        /// Why it cannot be decoded.
        why: String,
    },
}

/// Who asked for propagations, and takes what comes of them.
pub trait Asker {
    /// Between two frames, with the segmenter free for another question: the place to let propagations join
    /// [`Walking::join`] and leave [`Walking::leave`]. A break ends them all.
    fn between(&mut self, segmenter: &mut dyn Segmenter, walking: &mut Walking) -> ControlFlow<()>;

    /// A frame that was decided, or the sentence why its pixels cannot be decoded.
    fn on_frame(
        &mut self,
        walk: WalkId,
        frame: FrameIndex,
        role: Role,
        decided: Result<Decided, String>,
    );

    /// A propagation is through, or cannot go on; the others do.
    fn on_end(&mut self, walk: WalkId, ended: Result<(), WalkError>);
}

/// Called between two frames, with the segmenter free for another question; a break cancels.
type Between<'a> = dyn FnMut(&mut dyn Segmenter) -> ControlFlow<()> + 'a;
/// Takes each frame as it is decided, or the sentence why its pixels cannot be decoded.
type OnFrame<'a> = dyn FnMut(FrameIndex, Role, Result<Decided, String>) + 'a;

/// Where a propagation is in its plan.
#[derive(Clone, Copy, Default)]
struct Place {
    /// Of the plan's walks.
    walk: usize,
    /// Of that walk's anchors, then of its frames.
    step: usize,
}

/// What a propagation does next.
#[derive(Clone, Copy)]
struct Step {
    frame: FrameIndex,
    /// `None` for an anchor.
    way: Option<Direction>,
}

impl Step {
    /// The lowest goes first, after those on the frame at hand: anchors, then who is behind on the way back, then on the way
    /// forward. Around an anchor a plan goes back first, so that all are through with that when they go forward.
    fn rank(self, at_hand: Option<FrameIndex>) -> (bool, u8, usize) {
        let elsewhere = at_hand != Some(self.frame);
        match self.way {
            None => (elsewhere, 0, self.frame),
            Some(Direction::Backward) => (elsewhere, 1, usize::MAX - self.frame),
            Some(Direction::Forward) => (elsewhere, 2, self.frame),
        }
    }
}

impl Place {
    /// What is to be done here; nothing is left behind the end of the plan.
    fn step(self, plan: &Plan) -> Option<Step> {
        let walk = plan.walks.get(self.walk)?;
        match walk.anchors.get(self.step) {
            Some((frame, _)) => Some(Step { frame: *frame, way: None }),
            None => {
                let (frame, way) = walk.frames.get(self.step - walk.anchors.len())?;
                Some(Step { frame: *frame, way: Some(*way) })
            }
        }
    }

    /// The place after this one.
    fn next(self, plan: &Plan) -> Self {
        let on = Self { step: self.step + 1, ..self };
        if on.step(plan).is_some() { on } else { Self { walk: self.walk + 1, step: 0 } }
    }
}

/// A propagation under way.
struct Lane {
    id: WalkId,
    plan: Arc<Plan>,
    place: Place,
    /// An anchor of the walk at hand was seen.
    conditioned: bool,
    /// An anchor of it could not be.
    missing: Option<WalkError>,
}

/// The propagations that are under way.
#[derive(Default)]
pub struct Walking {
    lanes: Vec<Lane>,
    /// The frame that was looked at last.
    at_hand: Option<FrameIndex>,
    /// Frames come in another order now.
    changed: bool,
}

impl Walking {
    /// Another propagation goes along from its beginning. `walk` is a number that none of the others has.
    pub fn join(&mut self, walk: WalkId, plan: Arc<Plan>) {
        let lane =
            Lane { id: walk, plan, place: Place::default(), conditioned: false, missing: None };
        self.lanes.push(lane);
        self.changed = true;
    }

    /// A propagation goes no further; it is not told to have ended.
    pub fn leave(&mut self, walk: WalkId, segmenter: &mut dyn Segmenter) {
        self.lanes.retain(|lane| lane.id != walk);
        self.changed = true;
        segmenter.end_walk(walk);
    }

    /// Whose turn it is, and with what.
    fn turn(&self) -> Option<(usize, Step)> {
        turn(self.lanes.iter().map(|lane| lane.place.step(&lane.plan)), self.at_hand)
    }

    /// Every frame whose pixels will be asked for, in that order; one that several look at in turn is asked for once.
    fn order(&self) -> Vec<FrameIndex> {
        let mut places: Vec<Place> = self.lanes.iter().map(|lane| lane.place).collect();
        let (mut order, mut at_hand) = (Vec::new(), self.at_hand);
        loop {
            let steps = self.lanes.iter().zip(&places).map(|(lane, place)| place.step(&lane.plan));
            let Some((at, step)) = turn(steps, at_hand) else { return order };
            if order.last() != Some(&step.frame) {
                order.push(step.frame);
            }
            at_hand = Some(step.frame);
            places[at] = places[at].next(&self.lanes[at].plan);
        }
    }
}

/// Which of several goes next.
fn turn(
    steps: impl Iterator<Item = Option<Step>>,
    at_hand: Option<FrameIndex>,
) -> Option<(usize, Step)> {
    let there = steps.enumerate().filter_map(|(at, step)| Some((at, step?)));
    there.min_by_key(|(_, step)| step.rank(at_hand))
}

/// Walks `plan`: anchors first, then every frame in order. Frames are read a little ahead, on another thread; one that
/// cannot be decoded is told to `on_frame` and left out.
///
/// # Errors
/// When the network fails or no anchor can be decoded.
pub fn walk(
    segmenter: &mut dyn Segmenter,
    frames: &Frames,
    plan: &Plan,
    between: &mut Between<'_>,
    on_frame: &mut OnFrame<'_>,
) -> Result<Ended, WalkError> {
    let mut walking = Walking::default();
    walking.join(0, Arc::new(plan.clone()));
    let mut alone = Alone { between, on_frame, ended: Ok(()) };
    let ended = walk_together(segmenter, frames, walking, &mut alone)?;
    alone.ended.map(|()| ended)
}

/// Who asks for one propagation.
struct Alone<'a, 'b, 'c> {
    between: &'a mut Between<'b>,
    on_frame: &'a mut OnFrame<'c>,
    ended: Result<(), WalkError>,
}

impl Asker for Alone<'_, '_, '_> {
    fn between(&mut self, segmenter: &mut dyn Segmenter, _: &mut Walking) -> ControlFlow<()> {
        (self.between)(segmenter)
    }

    fn on_frame(
        &mut self,
        _: WalkId,
        frame: FrameIndex,
        role: Role,
        decided: Result<Decided, String>,
    ) {
        (self.on_frame)(frame, role, decided);
    }

    fn on_end(&mut self, _: WalkId, ended: Result<(), WalkError>) {
        self.ended = ended;
    }
}

/// Walks until every propagation has ended, those that join on the way among them. One that the network refuses ends, and
/// the others go on.
///
/// # Errors
/// When the device of the network gives up; whoever had not ended by then has not ended.
pub fn walk_together(
    segmenter: &mut dyn Segmenter,
    frames: &Frames,
    mut walking: Walking,
    asker: &mut dyn Asker,
) -> Result<Ended, SegmentError> {
    let ended = loop {
        walking.changed = false;
        let order = walking.order();
        let stretch = read_ahead(frames, order.into_iter(), |coming| {
            stretch(segmenter, coming, &mut walking, asker)
        });
        if let Some(ended) = stretch.transpose() {
            break ended;
        }
    };
    for lane in &walking.lanes {
        // A device that is lost may panic at that, and why it was lost must not be lost with it.
        let _ = caught(|| segmenter.end_walk(lane.id));
    }
    ended
}

type Pixels = Result<Arc<GrayFrame>, String>;

/// The pixels of the frame at hand, and of the one after it where they had to be known.
#[derive(Default)]
struct AtHand {
    here: Option<(FrameIndex, Pixels)>,
    next: Option<(FrameIndex, Pixels)>,
}

impl AtHand {
    fn take(&mut self, frame: FrameIndex, coming: &Coming<'_>) -> Pixels {
        if self.here.as_ref().is_none_or(|(held, _)| *held != frame) {
            let next = self.next.take().filter(|(held, _)| *held == frame);
            self.here = Some(next.unwrap_or_else(|| (frame, coming.take(frame))));
        }
        self.here.as_ref().map_or_else(|| Err(String::new()), |(_, pixels)| pixels.clone())
    }

    fn look_at(&mut self, frame: FrameIndex, coming: &Coming<'_>) -> Option<Image<'_>> {
        let (frame, pixels) = self.next.get_or_insert_with(|| (frame, coming.take(frame)));
        pixels.as_deref().ok().map(|pixels| Image { frame: *frame, pixels })
    }
}

/// Goes on until frames have to come in another order (`None`) or all is done.
fn stretch(
    segmenter: &mut dyn Segmenter,
    coming: &Coming<'_>,
    walking: &mut Walking,
    asker: &mut dyn Asker,
) -> Result<Option<Ended>, SegmentError> {
    let mut at_hand = AtHand::default();
    while let Some((at, step)) = walking.turn() {
        if asker.between(segmenter, walking).is_break() {
            return Ok(Some(Ended::Cancelled));
        }
        if walking.changed {
            return Ok(None);
        }
        let pixels = at_hand.take(step.frame, coming);
        let lane = &mut walking.lanes[at];
        let place = lane.place;
        lane.place = place.next(&lane.plan);
        walking.at_hand = Some(step.frame);
        segmenter.turn_to(lane.id);
        lane.begin_where_due(place, segmenter);
        let visited = match step.way {
            None => lane.condition(place, pixels, segmenter, asker),
            Some(way) => {
                let (id, next) = (lane.id, walking.turn());
                // What the next one needs is made beside this one, unless it is there.
                let next = next.filter(|(_, next)| next.way.is_some() && next.frame != step.frame);
                let next = next.and_then(|(_, next)| at_hand.look_at(next.frame, coming));
                let decided = match pixels {
                    Ok(pixels) => {
                        let image = Image { frame: step.frame, pixels: &pixels };
                        segmenter.follow(image, way, next).map(Ok)
                    }
                    Err(why) => Ok(Err(why)),
                };
                decided.map(|decided| asker.on_frame(id, step.frame, Role::Tracked, decided))
            }
        };
        let ended = match visited {
            Ok(()) => walking.lanes[at].ended(),
            // Such a device answers none of them.
            Err(error) if device_gave_up(&error.to_string()) => return Err(error),
            Err(error) => Some(Err(error.into())),
        };
        if let Some(ended) = ended {
            walking.settle(at, ended, segmenter, asker);
        }
    }
    Ok(Some(Ended::Complete))
}

impl Lane {
    fn begin_where_due(&mut self, place: Place, segmenter: &mut dyn Segmenter) {
        let walk = &self.plan.walks[place.walk];
        if place.step == 0 {
            (self.conditioned, self.missing) = (false, None);
        }
        // Nobody reads what anchors alone leave: a thousand prompted stills need no more memory than one.
        if place.step == 0 || walk.frames.is_empty() {
            segmenter.begin_walk(walk.windowed);
        }
    }

    /// Visits an anchor.
    fn condition(
        &mut self,
        place: Place,
        pixels: Pixels,
        segmenter: &mut dyn Segmenter,
        asker: &mut dyn Asker,
    ) -> Result<(), SegmentError> {
        let (frame, anchor) = &self.plan.walks[place.walk].anchors[place.step];
        let decided = match pixels {
            Ok(pixels) => {
                let image = Image { frame: *frame, pixels: &pixels };
                let decided = segmenter.anchor(image, anchor)?;
                self.conditioned = true;
                Ok(decided)
            }
            Err(why) => {
                self.missing = Some(WalkError::NoAnchorLeft { frame: *frame, why: why.clone() });
                Err(why)
            }
        };
        asker.on_frame(self.id, *frame, Role::Anchor, decided);
        Ok(())
    }

    /// Whether it has ended, and how: nothing is left to do, or nothing to go by.
    fn ended(&mut self) -> Option<Result<(), WalkError>> {
        let step = self.place.step(&self.plan);
        let among_anchors = step.is_some_and(|step| step.way.is_none()) && self.place.step > 0;
        if let Some(missing) = self.missing.take_if(|_| !self.conditioned && !among_anchors) {
            return Some(Err(missing));
        }
        step.is_none().then_some(Ok(()))
    }
}

impl Walking {
    /// Lets go of a propagation that has ended and tells how.
    fn settle(
        &mut self,
        at: usize,
        ended: Result<(), WalkError>,
        segmenter: &mut dyn Segmenter,
        asker: &mut dyn Asker,
    ) {
        let lane = self.lanes.remove(at);
        // Its frames are not wanted any more.
        self.changed |= ended.is_err();
        segmenter.end_walk(lane.id);
        asker.on_end(lane.id, ended);
    }
}

#[cfg(test)]
#[path = "walking_tests.rs"]
mod tests;
