//! Clips: a structure from its first point to masks on every frame on which it is visible.
//!
//! The reader puts points on a frame in the middle of each window, answers the questions by which
//! a window is found, propagates, and then, as long as the clip is not good enough, plays it, goes
//! to the worst frame and puts points there.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::config::Settings;
use crate::domain::{Bisection, Bitmap, FrameIndex, Track, Window, overlap};
use crate::learn::dataset::{ClipObject, LabelledClip, load_clips};
use crate::tui::action::Action;
use crate::tui::keymap::KeyMode;

use super::super::headless::{make_folder, write_gray};
use super::super::{Failure, tell};
use super::reader::{Reader, Sight};
use super::{GOALS, KEY_S, THOUGHT_S, judge, statistics};

/// Points on one frame, and rounds of correction, before the reader gives up.
const POINTS_MAX: usize = 6;
const ROUNDS_MAX: usize = 8;
/// A frame this good needs no further point.
const FRAME_GOOD: f64 = 0.88;
/// A propagation takes no longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// What one structure of a clip cost.
struct Cost {
    frames: usize,
    points: usize,
    rounds: usize,
    bytes: usize,
    iou: f64,
    /// Keys and seconds until the mean IoU of its frames met each goal.
    goals: [Option<(usize, f64)>; 2],
}

/// The first structure of each of the first `limit` clips below `dir`.
pub(super) fn run(
    settings: &Settings,
    dir: &Path,
    limit: usize,
    scratch: &Path,
) -> Result<Value, Failure> {
    let (clips, _) = load_clips(dir).map_err(Failure::input)?;
    let (mut costs, mut log) = (Vec::new(), Vec::new());
    for clip in clips.iter().take(limit) {
        let Some(object) = clip.objects.first() else { continue };
        let folder = scratch.join(format!("clip-{}", clip.name));
        let cost = annotate(settings, &folder, clip, object)?;
        tell(&format!(
            "clip {}: {} frames, {} points, keys to .85 {:?}, IoU {:.3}",
            clip.name, cost.frames, cost.points, cost.goals[0], cost.iou
        ));
        log.push(json!({
            "clip": clip.name, "frames": cost.frames, "points": cost.points,
            "rounds": cost.rounds, "bytes": cost.bytes, "iou": cost.iou,
            "keys_085": cost.goals[0].map(|g| g.0), "keys_090": cost.goals[1].map(|g| g.0),
        }));
        costs.push(cost);
    }
    let mut out = json!({ "clips": costs.len(), "log": log });
    for (i, (name, _)) in GOALS.iter().enumerate() {
        let goal = |cost: &Cost| cost.goals[i];
        let per_frame: Vec<_> = costs
            .iter()
            .map(|cost| goal(cost).map(|g| g.0 as f64 / cost.frames.max(1) as f64))
            .collect();
        let keys: Vec<_> = costs.iter().map(|cost| goal(cost).map(|g| g.0 as f64)).collect();
        let seconds: Vec<_> = costs.iter().map(|cost| goal(cost).map(|g| g.1)).collect();
        out[*name] = statistics(&keys);
        out[name.replace("keys", "keys_per_frame")] = statistics(&per_frame);
        out[name.replace("keys", "seconds")] = statistics(&seconds);
    }
    Ok(out)
}

fn annotate(
    settings: &Settings,
    folder: &Path,
    clip: &LabelledClip,
    object: &ClipObject,
) -> Result<Cost, Failure> {
    let frames = folder.join("frames");
    make_folder(&frames)?;
    for (i, frame) in clip.frames.iter().enumerate() {
        let path = frames.join(format!("{i:05}.png"));
        write_gray(&path, frame.width_px, frame.height_px, frame.pixels.clone())?;
    }
    let truth: Vec<Bitmap> = object.masks.iter().map(|mask| mask.to_bitmap()).collect();
    let windows = &object.windows;
    let reader = Reader::start(settings, folder, &frames, "default")?;
    let mut work = Work { reader, clip, truth, windows, thoughts: 0, at: 0 };
    let count = |window: &Window| window.last + 1 - window.first;
    let mut cost = Cost {
        frames: windows.iter().map(count).sum(),
        points: 0,
        rounds: 0,
        bytes: 0,
        iou: 0.0,
        goals: [None; 2],
    };
    for window in windows {
        work.go_to(window.first + (window.last - window.first) / 2)?;
        cost.points += work.points()?;
        work.window()?;
    }
    loop {
        let mut masks = work.propagate()?;
        cost.iou = masks.iter().map(|(_, iou)| iou).sum::<f64>() / masks.len().max(1) as f64;
        let reader = &work.reader;
        let seconds = reader.keys as f64 * KEY_S
            + work.thoughts as f64 * THOUGHT_S
            + reader.waited.as_secs_f64();
        for (goal, (_, wanted)) in cost.goals.iter_mut().zip(GOALS) {
            if goal.is_none() && cost.iou >= wanted {
                *goal = Some((reader.keys, seconds));
            }
        }
        if cost.goals[1].is_some() || cost.rounds >= ROUNDS_MAX {
            break;
        }
        cost.rounds += 1;
        masks.sort_by(|a, b| a.1.total_cmp(&b.1));
        let Some(&(worst, _)) = masks.first() else { break };
        // Played once to see where it is worst: start and stop.
        work.reader.act(Action::PlayPause, None)?;
        work.reader.act(Action::PlayPause, None)?;
        work.go_to(worst)?;
        cost.points += work.points()?;
    }
    cost.bytes = work.reader.bytes();
    Ok(cost)
}

/// A clip at hand.
struct Work<'a> {
    reader: Reader,
    clip: &'a LabelledClip,
    truth: Vec<Bitmap>,
    windows: &'a [Window],
    thoughts: usize,
    at: FrameIndex,
}

impl Work<'_> {
    fn visible(&self, frame: FrameIndex) -> bool {
        self.windows.iter().any(|window| window.contains(frame))
    }

    /// Goes to a frame by its number.
    fn go_to(&mut self, frame: FrameIndex) -> Result<(), Failure> {
        self.reader.leave_rays()?;
        self.reader.act(Action::LastFrame, Some(frame + 1))?;
        // The rays need the pixels of the frame.
        std::thread::sleep(Duration::from_millis(400));
        self.at = frame;
        Ok(())
    }

    /// Points on the frame at hand until its mask is good; how many.
    fn points(&mut self) -> Result<usize, Failure> {
        let truth = self.truth[self.at].clone();
        let sight = Sight { frame: self.at, pixels: &self.clip.frames[self.at], truth: &truth };
        let centre = self.reader.open_rays(sight)?;
        let before = self.reader.shown(self.at);
        let (mut now, mut tried) = (before.clone(), Vec::new());
        for _ in 0..POINTS_MAX {
            let Some(hour) = judge::worst_hour(&truth, centre, &now, &tried) else { break };
            tried.push(hour);
            self.thoughts += 1;
            now = self.reader.by_hour(sight, centre, hour, &now)?;
            if now.iou(&truth) >= FRAME_GOOD {
                break;
            }
        }
        self.reader.leave_rays()?;
        Ok(now.points.len().saturating_sub(before.points.len()))
    }

    /// The window that holds the frame at hand, by questions.
    fn window(&mut self) -> Result<(), Failure> {
        let mut search = Bisection::new(self.at, self.clip.frames.len());
        self.reader.act(Action::WindowBisect, None)?;
        self.reader.now_in(KeyMode::Bisect);
        self.thoughts += 1;
        while let Some(frame) = search.question() {
            let seen = self.visible(frame);
            search.answer(frame, seen);
            let answer = if seen { Action::Visible } else { Action::NotVisible };
            self.reader.act(answer, None)?;
        }
        self.reader.now_in(KeyMode::Normal);
        Ok(())
    }

    /// Propagates, waits, and judges every visible frame.
    fn propagate(&mut self) -> Result<Vec<(FrameIndex, f64)>, Failure> {
        self.reader.act(Action::PropagateBoth, None)?;
        self.thoughts += 1;
        let asked = Instant::now();
        let mut last = (None::<Track>, Instant::now());
        while asked.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(200));
            let now = self.reader.track();
            if now != last.0 {
                last = (now, Instant::now());
            }
            if last.1.elapsed() > Duration::from_millis(1500) {
                break;
            }
        }
        self.reader.waited += last.1.saturating_duration_since(asked);
        let masks = last.0.map(|track| track.masks).unwrap_or_default();
        let judged = |frame: FrameIndex| {
            let mask = masks.get(&frame).map(|held| held.mask.to_bitmap());
            let iou = mask.map_or(0.0, |mask| overlap(&mask, &self.truth[frame]).iou);
            (frame, iou)
        };
        let all = 0..self.clip.frames.len();
        Ok(all.filter(|frame| self.visible(*frame)).map(judged).collect())
    }
}
