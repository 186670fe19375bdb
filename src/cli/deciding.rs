//! Every structure of a clip decided without a screen, as many of them side by side as walk together.
//!
//! What decides whether this file is right: each frame is handed on as soon as it is decided; a structure that has nothing
//! to go by is refused before the others begin, and one whose anchors cannot be decoded does not hold them up.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::codec::Clip;
use crate::domain::{FrameIndex, Track, shown};
use crate::engine::{
    Asker, Decided, Ended, Frames, Image, Plan, PlanError, Role, Segmenter, Span, TOGETHER_MAX,
    WalkError, WalkId, Walking, plan, walk_together,
};

use super::headless::{FrameReport, Outcome, TrackReport};
use super::{Failure, interrupted};

/// Takes a frame of the track of that number as it comes, and how many of how many of all are done; a failure ends the
/// work.
pub(super) type OnFrame<'a> =
    dyn FnMut(usize, FrameIndex, &Result<Decided, String>, [usize; 2]) -> Result<(), Failure> + 'a;

/// Decides every frame of the windows of `tracks`: prompted ones from their prompts, the others by the shared walk.
/// `on_frame` sees each as it comes. One report per track, in their order.
///
/// # Errors
/// When there is nothing to go by, the network fails or `on_frame` does; frames that it took stay.
pub(super) fn decide_tracks(
    segmenter: &mut dyn Segmenter,
    clip: &Arc<Clip>,
    tracks: &[Track],
    cancel: &AtomicBool,
    on_frame: &mut OnFrame<'_>,
) -> Result<Vec<TrackReport>, Failure> {
    let frames = Frames::of(clip);
    let tasks: Vec<Task> =
        tracks.iter().map(|track| Task::of(track, frames.count())).collect::<Result<_, _>>()?;
    let reports = tasks.iter().map(|_| TrackReport { frames: Vec::new(), ended: Ended::Cancelled });
    let mut work = Work {
        reports: reports.collect(),
        walked: tasks.iter().map(Task::walked).collect(),
        progress: [0, tasks.iter().map(|task| task.walked() + task.alone.len()).sum()],
        since: Instant::now(),
        refused: None,
        cancel,
        on_frame,
    };
    let numbered: Vec<(WalkId, &Task)> = tasks.iter().enumerate().collect();
    for some in numbered.chunks(TOGETHER_MAX) {
        let mut walking = Walking::default();
        for (nth, task) in some {
            walking.join(*nth, Arc::clone(&task.plan));
        }
        walk_together(segmenter, &frames, walking, &mut work).map_err(Failure::ours)?;
    }
    let mut alone: Vec<(FrameIndex, usize)> = numbered
        .iter()
        .flat_map(|(nth, task)| task.alone.iter().map(|frame| (*frame, *nth)))
        .collect();
    alone.sort_unstable();
    for (frame, nth) in alone {
        if work.stops() {
            work.reports[nth].ended = Ended::Cancelled;
            continue;
        }
        let decided = match frames.get(frame) {
            Ok(pixels) => {
                let image = Image { frame, pixels: &pixels };
                let prompts = tracks[nth].frame_prompts(frame);
                Ok(segmenter.refresh(image, &prompts).map_err(Failure::ours)?)
            }
            Err(why) => Err(why),
        };
        work.on_frame(nth, frame, Role::Anchor, decided);
    }
    match work.refused {
        Some(failure) => Err(failure),
        None => Ok(work.reports),
    }
}

/// What is to be done for a track.
struct Task {
    plan: Arc<Plan>,
    /// Prompted frames beside it: a long list of anchors conditions a walk only in part.
    alone: Vec<FrameIndex>,
}

impl Task {
    fn of(track: &Track, clip_frames: usize) -> Result<Self, Failure> {
        let plan = match plan(track, clip_frames, 0, Span::Both) {
            // Every frame has prompts of its own (a still, for one).
            Err(PlanError::Nothing) => Plan::of_anchors(track, clip_frames),
            other => other.map_err(|error| {
                Failure::Input(format!("\"{}\": {error}", shown(&track.info.label)))
            })?,
        };
        let walked: Vec<FrameIndex> = anchors(&plan).collect();
        let prompted = track.prompts.keys().copied();
        let alone = prompted.filter(|f| track.visible(*f) && !walked.contains(f)).collect();
        Ok(Self { plan: Arc::new(plan), alone })
    }

    /// How many frames its walk visits.
    fn walked(&self) -> usize {
        self.plan.len() + anchors(&self.plan).count()
    }
}

fn anchors(plan: &Plan) -> impl Iterator<Item = FrameIndex> {
    plan.walks.iter().flat_map(|walk| walk.anchors.iter().map(|(frame, _)| *frame))
}

/// The work so far.
struct Work<'a, 'b> {
    reports: Vec<TrackReport>,
    /// How many frames the walk of each visits.
    walked: Vec<usize>,
    /// Frames done, and how many there are.
    progress: [usize; 2],
    /// When the last one was done.
    since: Instant,
    /// Why a frame was not taken, or not decided.
    refused: Option<Failure>,
    cancel: &'a AtomicBool,
    on_frame: &'a mut OnFrame<'b>,
}

impl Work<'_, '_> {
    fn stops(&self) -> bool {
        interrupted(self.cancel) || self.refused.is_some()
    }
}

impl Asker for Work<'_, '_> {
    fn between(&mut self, _: &mut dyn Segmenter, _: &mut Walking) -> ControlFlow<()> {
        if self.stops() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn on_frame(
        &mut self,
        walk: WalkId,
        frame: FrameIndex,
        role: Role,
        decided: Result<Decided, String>,
    ) {
        let ms = self.since.elapsed().as_secs_f64() * 1e3;
        self.since = Instant::now();
        self.progress[0] += 1;
        if self.refused.is_none() {
            self.refused = (self.on_frame)(walk, frame, &decided, self.progress).err();
        }
        let outcome = decided.map(|decided| Outcome::of(&decided));
        self.reports[walk].frames.push(FrameReport { frame, role, outcome, ms });
    }

    fn on_end(&mut self, walk: WalkId, ended: Result<(), WalkError>) {
        let report = &mut self.reports[walk];
        match ended {
            Ok(()) => report.ended = Ended::Complete,
            // What the network refuses ends the work: whoever corrects it runs it again.
            Err(error @ WalkError::Segment(_)) => self.refused = Some(Failure::ours(error)),
            Err(WalkError::NoAnchorLeft { .. }) => {
                report.ended = Ended::Complete;
                // Nobody comes to the frames that it would have visited.
                self.progress[1] -= self.walked[walk].saturating_sub(report.frames.len());
                if let Some(Err(why)) = report.frames.last_mut().map(|last| &mut last.outcome) {
                    // Told with the frame: the other structures go on.
                    why.push_str("; no other anchor is left: put boundary points on another frame");
                }
            }
        }
    }
}
