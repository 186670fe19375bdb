//! Clips: a structure from its first point to masks on every frame on which it is visible.
//!
//! The reader puts points on a frame in the middle of each window, answers the questions by which
//! a window is found, propagates, and then, as long as the clip is not good enough, goes to the worst
//! frame and puts points there: where the tool leads to (`W`), as long as what it shows deserves it,
//! else where it saw the worst while the clip played.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::config::Settings;
use crate::domain::{Bisection, Bitmap, FrameIndex, Track, Window, counted, overlap};
use crate::learn::dataset::{ClipObject, LabelledClip, LabelledClips, Veil};
use crate::tui::action::Action;
use crate::tui::keymap::KeyMode;

use super::super::headless::{make_folder, write_gray};
use super::super::{Failure, tell};
use super::reader::{Reader, Sight};
use super::{GOALS, Hand, Manner, Reached, Spent, Table, statistics};

/// Points on one frame, and rounds of correction, before the reader gives up.
const POINTS_MAX: usize = 6;
const ROUNDS_MAX: usize = 8;
/// A frame this good needs no further point.
const FRAME_GOOD: f64 = 0.88;
/// How long a frame is shown where nothing tells the pace of a clip, as the program plays it.
const FRAME_TIME: Duration = Duration::from_millis(40);
/// Frames that the tool is asked for before the reader looks for itself, and what deserves points.
const LOOKS_MAX: usize = 2;
const FRAME_POOR: f64 = 0.85;
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
    goals: [Option<Spent>; 2],
    /// Until the reader ended, met or not.
    spent: Spent,
}

/// The first structure of each of the first `limit` clips below `dir`, in every manner.
pub(super) fn run(
    settings: &Settings,
    dir: &Path,
    limit: usize,
    manners: &[Manner],
    scratch: &Path,
) -> Result<Value, Failure> {
    let clips = LabelledClips::open(dir, &Veil::default(), &mut |_| {}).map_err(Failure::input)?;
    let (mut table, mut log) = (Table::default(), Vec::new());
    for &manner in manners {
        let mut costs = Vec::new();
        for clip in clips.iter().take(limit) {
            let clip = clip.map_err(Failure::input)?;
            let Some(object) = clip.objects.first() else { continue };
            let (way, keymap) = (manner.way.name(), manner.keymap);
            let folder = scratch.join(format!("clip-{way}-{keymap}-{}", clip.name));
            let cost = annotate(settings, &folder, &clip, object, manner)?;
            tell(&format!(
                "clip {}, {way}, {keymap}: {}, {}, {}, IoU {:.3}",
                clip.name,
                counted(cost.frames, "frame"),
                counted(cost.points, "point"),
                Spent::told(cost.goals[0]),
                cost.iou
            ));
            log.push(json!({
                "way": way, "keymap": keymap, "clip": clip.name, "frames": cost.frames,
                "points": cost.points, "rounds": cost.rounds, "bytes": cost.bytes,
                "iou": cost.iou, "keys": cost.spent.keys,
                "keys_085": cost.goals[0].map(|g| g.keys), "keys_090": cost.goals[1].map(|g| g.keys),
            }));
            costs.push(cost);
        }
        table.insert(manner, summary(&costs));
    }
    Ok(json!({ "ways": table.ways, "keymaps": table.keymaps, "log": log }))
}

fn summary(costs: &[Cost]) -> Value {
    let mut out = json!({ "clips": costs.len() });
    for (i, (name, _)) in GOALS.iter().enumerate() {
        let each = |of: &dyn Fn(&Cost, Spent) -> f64| -> Value {
            let reached = |cost: &Cost| Reached {
                met: cost.goals[i].map(|spent| of(cost, spent)),
                given_up: of(cost, cost.spent),
            };
            statistics(&costs.iter().map(reached).collect::<Vec<_>>())
        };
        out[*name] = each(&|_, spent| spent.keys);
        out[name.replace("keys", "keys_per_frame")] =
            each(&|cost, spent| spent.keys / cost.frames.max(1) as f64);
        out[name.replace("keys", "seconds")] = each(&|_, spent| spent.seconds);
    }
    out
}

fn annotate(
    settings: &Settings,
    folder: &Path,
    clip: &LabelledClip,
    object: &ClipObject,
    manner: Manner,
) -> Result<Cost, Failure> {
    let frames = folder.join("frames");
    make_folder(&frames)?;
    for (i, frame) in clip.frames.iter().enumerate() {
        let path = frames.join(format!("{i:05}.png"));
        write_gray(&path, frame.width_px, frame.height_px, frame.pixels.clone())?;
    }
    let truth: Vec<Bitmap> = object.masks.iter().map(|mask| mask.to_bitmap()).collect();
    let windows = &object.windows;
    let reader = Reader::start(settings, folder, &frames, manner.keymap)?;
    let hand = Hand::new(manner.way, &clip.frames[0]);
    let mut work = Work { reader, hand, clip, truth, windows, thoughts: 0, at: 0 };
    let count = |window: &Window| window.last + 1 - window.first;
    let mut cost = Cost {
        frames: windows.iter().map(count).sum(),
        points: 0,
        rounds: 0,
        bytes: 0,
        iou: 0.0,
        goals: [None; 2],
        spent: Spent::default(),
    };
    for window in windows {
        work.go_to(window.first + (window.last - window.first) / 2)?;
        cost.points += work.points()?;
        work.window()?;
    }
    loop {
        let masks = work.propagate()?;
        cost.iou = masks.iter().map(|(_, iou)| iou).sum::<f64>() / masks.len().max(1) as f64;
        cost.spent = Spent::by(&work.reader, work.thoughts);
        for (goal, (_, wanted)) in cost.goals.iter_mut().zip(GOALS) {
            if goal.is_none() && cost.iou >= wanted {
                *goal = Some(cost.spent);
            }
        }
        if cost.goals[1].is_some() || cost.rounds >= ROUNDS_MAX {
            break;
        }
        cost.rounds += 1;
        if !work.go_to_worst(&masks)? {
            break;
        }
        cost.points += work.points()?;
    }
    cost.bytes = work.reader.bytes();
    Ok(cost)
}

/// A clip at hand.
struct Work<'a> {
    reader: Reader,
    hand: Hand,
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
        self.reader.see(|reader| reader.act(Action::LastFrame, Some(frame + 1)))?;
        self.at = frame;
        Ok(())
    }

    /// Goes to where points are needed most; false where nothing is. `masks` as they were judged.
    fn go_to_worst(&mut self, masks: &[(FrameIndex, f64)]) -> Result<bool, Failure> {
        self.reader.leave_rays()?;
        for _ in 0..LOOKS_MAX {
            self.reader.act(Action::WorstFrame, None)?;
            self.thoughts += 1;
            let Some(at) = self.reader.frame() else { break };
            if masks.iter().any(|(frame, iou)| *frame == at && *iou < FRAME_POOR) {
                self.at = at;
                return Ok(true);
            }
        }
        let worst = masks.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        let Some(&(worst, _)) = worst else { return Ok(false) };
        // Played once to see where it is worst: start and stop, and the time in between.
        self.reader.act(Action::PlayPause, None)?;
        self.reader.act(Action::PlayPause, None)?;
        self.reader.waited += FRAME_TIME * self.clip.frames.len() as u32;
        self.go_to(worst)?;
        Ok(true)
    }

    /// Points on the frame at hand until its mask is good; how many.
    fn points(&mut self) -> Result<usize, Failure> {
        let truth = self.truth[self.at].clone();
        let sight = Sight { frame: self.at, pixels: &self.clip.frames[self.at], truth: &truth };
        self.hand.open(&mut self.reader, sight)?;
        let before = self.reader.shown(self.at);
        let mut now = before.clone();
        for _ in 0..POINTS_MAX {
            let Some(after) = self.hand.point(&mut self.reader, sight, &now)? else { break };
            now = after;
            self.thoughts += 1;
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
