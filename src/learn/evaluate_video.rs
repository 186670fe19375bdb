//! Judging clips: propagation, and a person who corrects the first frame that went wrong (NETWORK 13.5).
//!
//! What decides whether this file is right: frames that were prompted are not judged, frames outside the true windows
//! neither; a correction is propagated forward from its frame, earlier masks stay; a finished clip keeps its last
//! value in later rounds. The same seed gives the same clicks.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::annotator::{EXCLUDE_PX, SimulatedUser, contour, region_click};
use super::baselines::Baseline;
use super::dataset::{ClipObject, LabelledClip, load_clips};
use super::evaluate::{EvalError, Placing, Score};
use crate::domain::{Bitmap, Carrier, FramePrompts, PointKind, PointPx, Window, overlap};
use crate::net::config::Preprocess;
use crate::net::follow::{FollowOptions, Follower, Seen};
use crate::net::letterbox::Letterbox;
use crate::net::memory_bank::Direction;
use crate::net::predict::{Predictor, View};
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
    /// What is placed on a prompted frame.
    pub placing: Placing,
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
            placing: Placing::Boundary,
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

/// What carries a mask through a clip without having learned anything; prompted frames get the curve through their
/// points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClipBaseline {
    /// The mask of the prompted frame before, as it is.
    Copy,
    /// That mask, moved by the registration of the pixels.
    Motion,
}

impl ClipBaseline {
    /// Names as people write them.
    pub const NAMES: [&'static str; 2] = ["copy", "motion"];

    /// The baseline of a name in [`ClipBaseline::NAMES`].
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Copy, Self::Motion];
        Self::NAMES.iter().position(|n| *n == name).map(|i| all[i])
    }
}

/// Who propagates.
pub enum ClipJudged<'a> {
    /// A network, by itself or with motion ([`VideoOptions::follow`]).
    Network(Tracking<'a>),
    /// Something that was never trained; knows the windows.
    Baseline(ClipBaseline),
}

/// What the protocol led to on one structure.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClipTrace {
    /// Name of the clip.
    pub clip: String,
    /// The structure's label.
    pub label: u8,
    /// Overlap after the first propagation and after each correction.
    pub rounds: Vec<Score>,
    /// Frames that a person prompted.
    pub prompted: usize,
    /// Frames decided by propagation, in all rounds together.
    pub decided: usize,
    /// Frames outside the true windows that have a mask at the end.
    pub false_frames: usize,
    /// Wall clock of encoding, prompts and propagation, s.
    pub seconds: f64,
}

/// Judges propagation and corrections on all structures of all clips.
///
/// # Errors
/// Unreadable data, a failing network, or the cancel flag.
pub fn evaluate_video(
    tracking: Tracking<'_>,
    options: &VideoOptions,
    cancel: &AtomicBool,
) -> Result<VideoReport, EvalError> {
    let (clips, _) = load_clips(&options.dir)?;
    let traces = trace_clips(&ClipJudged::Network(tracking), &clips, options, cancel, &mut |_| {})?;
    let n = traces.len().max(1) as f64;
    let mean = |of: &dyn Fn(&ClipTrace) -> f64| traces.iter().map(of).sum::<f64>() / n;
    let rounds = (0..options.rounds)
        .map(|k| Score { dice: mean(&|t| t.rounds[k].dice), iou: mean(&|t| t.rounds[k].iou) });
    let ends =
        |t: &ClipTrace| [t.rounds.first(), t.rounds.last()].map(|s| s.map_or(0.0, |s| s.iou));
    Ok(VideoReport {
        objects: traces.len(),
        rounds: rounds.collect(),
        prompted_frames: mean(&|t| t.prompted as f64),
        by_object: traces.iter().map(|t| (format!("{}/{}", t.clip, t.label), ends(t))).collect(),
    })
}

/// The protocol on every structure of `clips` (those of `options.dir`); `done` hears how many structures are through.
///
/// # Errors
/// A failing network, or the cancel flag.
pub fn trace_clips(
    judged: &ClipJudged<'_>,
    clips: &[LabelledClip],
    options: &VideoOptions,
    cancel: &AtomicBool,
    done: &mut dyn FnMut(usize),
) -> Result<Vec<ClipTrace>, EvalError> {
    let mut traces: Vec<ClipTrace> = Vec::new();
    for clip in clips {
        let encoded: Vec<Encoded> = clip.frames.iter().map(|_| OnceCell::new()).collect();
        for object in &clip.objects {
            if options.limit.is_some_and(|most| traces.len() >= most) {
                return Ok(traces);
            }
            let seed = options.seed.wrapping_add(1000 * traces.len() as u64);
            let mut session = Session {
                judged,
                options,
                clip,
                object,
                encoded: &encoded,
                anchors: BTreeMap::new(),
                decided: 0,
            };
            let begun = Instant::now();
            let (rounds, masks) = session.correct_through(seed, cancel)?;
            let outside = |f: &usize| !object.windows.iter().any(|w| w.contains(*f));
            let shown = masks.iter().filter(|(f, mask)| outside(f) && mask.area_px() > 0);
            traces.push(ClipTrace {
                clip: clip.name.clone(),
                label: object.label,
                rounds,
                prompted: session.anchors.len(),
                decided: session.decided,
                false_frames: shown.count(),
                seconds: begun.elapsed().as_secs_f64(),
            });
            done(traces.len());
        }
    }
    Ok(traces)
}

/// A frame's features, once somebody asked for them: frames outside the windows cost nothing where nobody does.
type Encoded = OnceCell<(ImageFeatures, Letterbox)>;

/// One structure of one clip under correction.
struct Session<'a> {
    judged: &'a ClipJudged<'a>,
    options: &'a VideoOptions,
    clip: &'a LabelledClip,
    object: &'a ClipObject,
    encoded: &'a [Encoded],
    anchors: BTreeMap<usize, Bitmap>,
    decided: usize,
}

impl Session<'_> {
    fn windows(&self) -> &[Window] {
        &self.object.windows
    }

    fn truth(&self, frame: usize) -> Bitmap {
        self.object.masks[frame].to_bitmap()
    }

    fn seen(&self, tracking: &Tracking<'_>, frame: usize) -> Seen<'_> {
        let pixels = &self.clip.frames[frame];
        let (features, letterbox) = self.encoded[frame].get_or_init(|| {
            let size = tracking.sam.config().image_size;
            let (input, letterbox) = tracking.preprocess.frame(pixels, size, tracking.device);
            (tracking.sam.encode_image(input), letterbox)
        });
        Seen { frame, pixels, features, letterbox }
    }

    fn correct_through(
        &mut self,
        seed: u64,
        cancel: &AtomicBool,
    ) -> Result<(Vec<Score>, BTreeMap<usize, Bitmap>), EvalError> {
        let mut user = SimulatedUser::new(seed);
        let mut masks: BTreeMap<usize, Bitmap> = BTreeMap::new();
        let Some(start) = self.windows().first().map(|w| w.first) else {
            return Ok((vec![Score { dice: 1.0, iou: 1.0 }; self.options.rounds], masks));
        };
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
        Ok((rounds, masks))
    }

    /// Five points with the answer shown in between, starting from the mask at hand.
    fn prompt(
        &self,
        frame: usize,
        shown: Option<&Bitmap>,
        user: &mut SimulatedUser,
    ) -> Result<Bitmap, EvalError> {
        let truth = self.truth(frame);
        let line = contour(&truth);
        let size = (truth.width_px, truth.height_px);
        let (mut prompts, mut clean) = (FramePrompts::default(), Vec::new());
        let mut mask = shown.filter(|m| m.area_px() > 0).cloned();
        for _ in 0..CLIP_POINTS {
            let click = match self.options.placing {
                Placing::Boundary => {
                    let seen = mask.as_ref().map_or_else(Vec::new, contour);
                    // With a mask at hand the first click already goes where it is worst.
                    let at = match (clean.is_empty(), seen.is_empty()) {
                        (true, false) => worst_of(&line, &seen),
                        _ => user.boundary_click(&line, &seen, &clean, EXCLUDE_PX),
                    };
                    at.map(|at| (PointKind::Boundary, at))
                }
                Placing::Region => region_click(&truth, mask.as_ref()),
            };
            let Some((kind, at)) = click else { break };
            clean.push(at);
            let shaky = user.shaky(at, self.options.noise_px).clamped(size.0, size.1);
            prompts.points.push((kind, shaky));
            mask = Some(self.answer(frame, &prompts)?);
        }
        Ok(mask.unwrap_or_else(|| Bitmap::empty(size.0, size.1)))
    }

    fn answer(&self, frame: usize, prompts: &FramePrompts) -> Result<Bitmap, EvalError> {
        match self.judged {
            ClipJudged::Network(tracking) => {
                let seen = self.seen(tracking, frame);
                let view = View {
                    frame: &self.clip.frames[frame],
                    preprocess: tracking.preprocess,
                    device: tracking.device,
                    features: seen.features,
                    letterbox: seen.letterbox,
                };
                let predicted = Predictor::new(tracking.sam).predict(view, prompts);
                Ok(predicted.map_err(EvalError::Network)?.bitmap)
            }
            ClipJudged::Baseline(_) => {
                let points: Vec<PointPx> = prompts.points.iter().map(|(_, at)| *at).collect();
                let pixels = &self.clip.frames[frame];
                Ok(Baseline::Curve.mask(&points, pixels.width_px, pixels.height_px, &[]))
            }
        }
    }

    /// Decides all later frames of the windows anew; anchors keep their masks.
    fn propagate(
        &mut self,
        from: usize,
        masks: &mut BTreeMap<usize, Bitmap>,
    ) -> Result<(), EvalError> {
        let asked: Vec<usize> = (from + 1..self.clip.frames.len())
            .filter(|f| !self.options.windowed || self.windows().iter().any(|w| w.contains(*f)))
            .filter(|f| !self.anchors.contains_key(f))
            .collect();
        self.decided += asked.len();
        match self.judged {
            ClipJudged::Network(tracking) => {
                let failed = |e: crate::net::tracker::TrackError| EvalError::Network(e.to_string());
                let sam = tracking.sam;
                let mut follower = Follower::new(
                    sam,
                    self.clip.frames.len(),
                    self.options.windowed,
                    self.options.follow.clone(),
                );
                for (frame, mask) in &self.anchors {
                    follower.anchor(sam, self.seen(tracking, *frame), mask).map_err(failed)?;
                }
                for frame in asked {
                    let seen = self.seen(tracking, frame);
                    let followed =
                        follower.follow(sam, seen, Direction::Forward).map_err(failed)?;
                    masks.insert(frame, followed.bitmap);
                }
            }
            ClipJudged::Baseline(ClipBaseline::Copy) => {
                for frame in asked {
                    let before = self.anchors.range(..frame).next_back();
                    masks.extend(before.map(|(_, mask)| (frame, mask.clone())));
                }
            }
            ClipJudged::Baseline(ClipBaseline::Motion) => {
                let mut carrier = Carrier::new();
                for (frame, mask) in &self.anchors {
                    carrier.anchor(*frame, &self.clip.frames[*frame], mask);
                }
                for frame in asked {
                    let pixels = &self.clip.frames[frame];
                    let carried = carrier.follow(frame, pixels).map(|distance| {
                        Bitmap::from_logits(pixels.width_px, pixels.height_px, &distance)
                    });
                    masks.extend(carried.map(|mask| (frame, mask)));
                }
            }
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
