//! Judging clips: propagation, and a person who corrects the first frame that went wrong (NETWORK 13.5).
//!
//! What decides whether this file is right: frames that were prompted are not judged, frames outside the true windows
//! neither; a correction is propagated forward from its frame, earlier masks stay; a finished clip keeps its last
//! value in later rounds. The same seed gives the same clicks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use serde::Serialize;

use super::annotator::{EXCLUDE_PX, SimulatedUser, contour};
use super::dataset::{ClipObject, LabelledClip, load_clips};
use super::evaluate::{EvalError, Score};
use crate::domain::{Bitmap, FramePrompts, PointKind, PointPx, Window, overlap};
use crate::net::config::Preprocess;
use crate::net::follow::{FollowOptions, Follower, Seen};
use crate::net::letterbox::Letterbox;
use crate::net::memory_bank::Direction;
use crate::net::predict::Predictor;
use crate::net::sam2::{ImageFeatures, Sam2};

/// Points of a first prompt and of each correction.
const CLIP_POINTS: usize = 5;
/// Corrections of a clip.
const CORRECTIONS: usize = 7;
/// IoU below which a frame is corrected.
const CORRECT_BELOW: f64 = 0.75;

/// How clips are judged.
#[derive(Debug, Clone)]
pub struct VideoOptions {
    /// Folder with clip folders and `windows.yaml`.
    pub dir: PathBuf,
    /// Standard deviation of the clicks, px of the image.
    pub noise_px: f32,
    /// Seeds first clicks and noise.
    pub seed: u64,
    /// Propagations per clip: one, and one after each correction.
    pub rounds: usize,
    /// Memory and motion.
    pub follow: FollowOptions,
    /// Whether the windows are told (the method) or the object score decides (plain SAM 2).
    pub windowed: bool,
    /// Judge at most this many structures, for quick looks.
    pub limit: Option<usize>,
}

impl VideoOptions {
    /// The protocol of the paper on the clips in `dir`.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            noise_px: 0.0,
            seed: 1,
            rounds: 1 + CORRECTIONS,
            follow: FollowOptions::default(),
            windowed: true,
            limit: None,
        }
    }
}

/// A table of rounds against overlap.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct VideoReport {
    /// Structures judged.
    pub objects: usize,
    /// Means over structures after the first propagation and after each correction, inside the true windows and
    /// without prompted frames.
    pub rounds: Vec<Score>,
    /// Mean number of frames that a person had to prompt.
    pub prompted_frames: f64,
    /// IoU of each structure after the first and the last round, by clip and label.
    pub by_object: BTreeMap<String, [f64; 2]>,
}

/// A network for clips.
pub struct Tracking<'a> {
    /// The network, on a device without gradients.
    pub sam: &'a Sam2,
    /// How images enter it.
    pub preprocess: &'a Preprocess,
    /// Where it lies.
    pub device: &'a Device,
}

/// Judges propagation and corrections on all structures of all clips.
///
/// # Errors
/// Unreadable data, a failing network, or the cancel flag.
pub fn evaluate_video(
    tracking: &Tracking<'_>,
    options: &VideoOptions,
    cancel: &AtomicBool,
) -> Result<VideoReport, EvalError> {
    let (clips, _) = load_clips(&options.dir)?;
    let mut report =
        VideoReport { rounds: vec![Score::default(); options.rounds], ..VideoReport::default() };
    let mut prompted = 0;
    for clip in &clips {
        if options.limit.is_some_and(|most| report.objects >= most) {
            break;
        }
        let encoded: Vec<(ImageFeatures, Letterbox)> = clip
            .frames
            .iter()
            .map(|frame| {
                let size = tracking.sam.config().image_size;
                let (input, letterbox) = tracking.preprocess.frame(frame, size, tracking.device);
                (tracking.sam.encode_image(input), letterbox)
            })
            .collect();
        for object in &clip.objects {
            let seed = options.seed.wrapping_add(1000 * report.objects as u64);
            let mut session = Session {
                tracking,
                options,
                clip,
                object,
                encoded: &encoded,
                anchors: BTreeMap::new(),
            };
            let rounds = session.correct_through(seed, cancel)?;
            for (sum, score) in report.rounds.iter_mut().zip(&rounds) {
                (sum.dice, sum.iou) = (sum.dice + score.dice, sum.iou + score.iou);
            }
            let ends = [rounds.first(), rounds.last()].map(|s| s.map_or(0.0, |s| s.iou));
            report.by_object.insert(format!("{}/{}", clip.name, object.label), ends);
            report.objects += 1;
            prompted += session.anchors.len();
        }
    }
    let n = report.objects.max(1) as f64;
    report.rounds.iter_mut().for_each(|s| *s = Score { dice: s.dice / n, iou: s.iou / n });
    report.prompted_frames = prompted as f64 / n;
    Ok(report)
}

/// One structure of one clip under correction.
struct Session<'a> {
    tracking: &'a Tracking<'a>,
    options: &'a VideoOptions,
    clip: &'a LabelledClip,
    object: &'a ClipObject,
    encoded: &'a [(ImageFeatures, Letterbox)],
    anchors: BTreeMap<usize, Bitmap>,
}

impl Session<'_> {
    fn windows(&self) -> &[Window] {
        &self.object.windows
    }

    fn truth(&self, frame: usize) -> Bitmap {
        self.object.masks[frame].to_bitmap()
    }

    fn correct_through(&mut self, seed: u64, cancel: &AtomicBool) -> Result<Vec<Score>, EvalError> {
        let mut user = SimulatedUser::new(seed);
        let Some(start) = self.windows().first().map(|w| w.first) else {
            return Ok(vec![Score { dice: 1.0, iou: 1.0 }; self.options.rounds]);
        };
        let mut masks: BTreeMap<usize, Bitmap> = BTreeMap::new();
        let mut rounds: Vec<Score> = Vec::new();
        let mut from = Some(start);
        while rounds.len() < self.options.rounds {
            if cancel.load(Ordering::Relaxed) {
                return Err(EvalError::Cancelled);
            }
            let Some(frame) = from else {
                rounds.push(rounds.last().copied().unwrap_or_default());
                continue;
            };
            let anchor = self.prompt(frame, masks.get(&frame), &mut user)?;
            masks.insert(frame, anchor.clone());
            self.anchors.insert(frame, anchor);
            self.propagate(frame, &mut masks)?;
            let (score, worst) = self.judge(&masks);
            rounds.push(score);
            from = worst;
        }
        Ok(rounds)
    }

    /// Five boundary points with the decoder's answer in between, starting from the mask at hand.
    fn prompt(
        &self,
        frame: usize,
        shown: Option<&Bitmap>,
        user: &mut SimulatedUser,
    ) -> Result<Bitmap, EvalError> {
        let truth = self.truth(frame);
        let line = contour(&truth);
        let (features, letterbox) = &self.encoded[frame];
        let predictor = Predictor::new(self.tracking.sam);
        let (mut prompts, mut clean) = (FramePrompts::default(), Vec::new());
        let mut mask = shown.filter(|m| m.area_px() > 0).cloned();
        for _ in 0..CLIP_POINTS {
            let seen = mask.as_ref().map_or_else(Vec::new, contour);
            // With a mask at hand the first click already goes where it is worst.
            let at = match (clean.is_empty(), seen.is_empty()) {
                (true, false) => worst_of(&line, &seen),
                _ => user.boundary_click(&line, &seen, &clean, EXCLUDE_PX),
            };
            let Some(at) = at else { break };
            clean.push(at);
            let size = (truth.width_px, truth.height_px);
            let shaky = user.shaky(at, self.options.noise_px).clamped(size.0, size.1);
            prompts.points.push((PointKind::Boundary, shaky));
            mask = Some(
                predictor
                    .predict(features, letterbox, &prompts)
                    .map_err(EvalError::Network)?
                    .bitmap,
            );
        }
        Ok(mask.unwrap_or_else(|| Bitmap::empty(truth.width_px, truth.height_px)))
    }

    /// Decides all later frames of the windows anew; anchors keep their masks.
    fn propagate(&self, from: usize, masks: &mut BTreeMap<usize, Bitmap>) -> Result<(), EvalError> {
        let failed = |e: crate::net::tracker::TrackError| EvalError::Network(e.to_string());
        let sam = self.tracking.sam;
        let frames = self.clip.frames.len();
        let mut follower =
            Follower::new(sam, frames, self.options.windowed, self.options.follow.clone());
        let seen = |frame: usize| Seen {
            frame,
            pixels: &self.clip.frames[frame],
            features: &self.encoded[frame].0,
            letterbox: &self.encoded[frame].1,
        };
        for (frame, mask) in &self.anchors {
            follower.anchor(sam, seen(*frame), mask).map_err(failed)?;
        }
        let inside =
            |f: &usize| !self.options.windowed || self.windows().iter().any(|w| w.contains(*f));
        for frame in (from + 1..frames).filter(inside) {
            if self.anchors.contains_key(&frame) {
                continue;
            }
            let followed = follower.follow(sam, seen(frame), Direction::Forward).map_err(failed)?;
            masks.insert(frame, followed.bitmap);
        }
        Ok(())
    }

    /// Mean overlap of the frames nobody prompted, and the first that needs a person.
    fn judge(&self, masks: &BTreeMap<usize, Bitmap>) -> (Score, Option<usize>) {
        let (mut sum, mut n, mut worst) = (Score::default(), 0usize, None);
        for frame in self.windows().iter().flat_map(|w| w.first..=w.last) {
            if self.anchors.contains_key(&frame) || frame >= self.clip.frames.len() {
                continue;
            }
            let truth = self.truth(frame);
            let empty = Bitmap::empty(truth.width_px, truth.height_px);
            let found = overlap(masks.get(&frame).unwrap_or(&empty), &truth);
            (sum.dice, sum.iou, n) = (sum.dice + found.dice, sum.iou + found.iou, n + 1);
            if found.iou < CORRECT_BELOW && worst.is_none() {
                worst = Some(frame);
            }
        }
        if n == 0 {
            return (Score { dice: 1.0, iou: 1.0 }, None);
        }
        (Score { dice: sum.dice / n as f64, iou: sum.iou / n as f64 }, worst)
    }
}

fn worst_of(line: &[PointPx], seen: &[PointPx]) -> Option<PointPx> {
    let nearest = |p: &PointPx| seen.iter().map(|q| p.distance(*q)).fold(f32::INFINITY, f32::min);
    line.iter().copied().reduce(|best, p| if nearest(&p) > nearest(&best) { p } else { best })
}
