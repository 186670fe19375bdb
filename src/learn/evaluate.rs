//! Judging by simulated annotators: clicks on stills (NETWORK 13.4, 13.5). Clips are in `evaluate_video`.
//!
//! What decides whether this file is right: everything is judged at the image's own size; the annotator sees the mask
//! that a person would see (after curve and snap); region clicks meet the logits of the answer that they correct, as in
//! training; the same seed gives the same clicks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use burn::tensor::Device;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use super::evaluate_video::{Tracking, VideoOptions, VideoReport, evaluate_video};

use super::annotator::{EXCLUDE_PX, SimulatedUser, contour, region_click};
use super::baselines::Baseline;
use super::data::load::whole;
use super::dataset::{DataError, DataSource, Pick, Still, StillSet, told_apart};
use crate::domain::{Bitmap, FramePrompts, GrayFrame, PointKind, PointPx, overlap, tidied};
use crate::net::config::Preprocess;
use crate::net::letterbox::Letterbox;
use crate::net::predict::{Answer, PredictOptions, Predictor, Shown, View};
use crate::net::sam2::{ImageFeatures, Sam2};
use crate::net::threads::{SMALL_PX, Threads};

/// What stands for all sets beside their names.
const MEAN: &str = "mean";
/// Clicks after which a structure counts as not reached.
pub const CLICKS_CAP: usize = 20;

/// Why an evaluation gives no report.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network.
    #[error("the network failed: {0}; try --device cpu")]
    Network(String),
    /// The user.
    #[error("cancelled")]
    Cancelled,
}

/// Who answers the clicks.
pub enum Judged<'a> {
    /// A network, at the input size of its card.
    Network {
        /// The network, on a device without gradients.
        sam: &'a Sam2,
        /// How images enter it.
        preprocess: &'a Preprocess,
        /// Where it lies.
        device: &'a Device,
        /// Last steps.
        options: PredictOptions,
    },
    /// Something that was never trained.
    Baseline(Baseline),
}

/// What the annotator places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placing {
    /// Boundary points.
    Boundary,
    /// Inside and outside points by SAM's rule.
    Region,
}

impl Placing {
    /// Where `user` clicks next on a structure, given with its contour, while `mask` is shown; `clean` are the clicks so far
    /// without noise. `None` where nothing is left to click.
    pub(super) fn click(
        self,
        user: &mut SimulatedUser,
        (truth, line): (&Bitmap, &[PointPx]),
        mask: Option<&Bitmap>,
        clean: &[PointPx],
    ) -> Option<(PointKind, PointPx)> {
        match self {
            Self::Boundary => {
                let seen = mask.map_or_else(Vec::new, contour);
                let at = user.boundary_click(line, &seen, clean, EXCLUDE_PX);
                at.map(|at| (PointKind::Boundary, at))
            }
            Self::Region => region_click(truth, mask),
        }
    }
}

/// How stills are judged.
#[derive(Debug, Clone)]
pub struct ClickOptions {
    /// Stills; usually a `val.txt` list.
    pub sources: Vec<DataSource>,
    /// What is placed.
    pub placing: Placing,
    /// Points of the table, at most 20.
    pub points: usize,
    /// Whether to go on to 20 points for the number of clicks.
    pub clicks_to_goal: bool,
    /// Standard deviation of the clicks, px of the image.
    pub noise_px: f32,
    /// Seeds first clicks and noise.
    pub seed: u64,
    /// Judge at most this many structures per source, for quick looks.
    pub limit: Option<usize>,
}

impl ClickOptions {
    /// Ten exact boundary points and the clicks to 0.85 and 0.90.
    #[must_use]
    pub fn new(sources: Vec<DataSource>) -> Self {
        let placing = Placing::Boundary;
        Self {
            sources,
            placing,
            points: 10,
            clicks_to_goal: true,
            noise_px: 0.0,
            seed: 1,
            limit: None,
        }
    }
}

/// Mean overlap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Mean Dice.
    pub dice: f64,
    /// Mean IoU.
    pub iou: f64,
}

/// A table of clicks against overlap.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ClickReport {
    /// Structures judged.
    pub objects: usize,
    /// After 1, 2, ... points.
    pub points: BTreeMap<usize, Score>,
    /// Mean clicks to an IoU of 0.85 (NoC@85), 20 where it is never reached.
    pub noc85: f64,
    /// Mean clicks to an IoU of 0.90 (NoC@90).
    pub noc90: f64,
    /// Share of structures that never reach 0.85.
    pub fail85: f64,
    /// Share that never reaches 0.90.
    pub fail90: f64,
}

/// What the clicks on one structure led to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ObjectTrace {
    /// Name of the still.
    pub still: String,
    /// Which of its structures, from 0.
    pub object: usize,
    /// Dice after 1, 2, ... clicks; ends when nothing is left to click or to find out.
    pub dice: Vec<f64>,
    /// IoU likewise.
    pub iou: Vec<f64>,
}

impl ObjectTrace {
    /// The image of the still: the clip or volume where it is a frame of one.
    #[must_use]
    pub fn image(&self) -> &str {
        whole(&self.still)
    }

    /// Overlap after `clicks` clicks; the last one when fewer were needed.
    #[must_use]
    pub fn after(&self, clicks: usize) -> Score {
        let at =
            |all: &[f64]| all.get(clicks.max(1) - 1).or(all.last()).copied().unwrap_or_default();
        Score { dice: at(&self.dice), iou: at(&self.iou) }
    }

    /// Clicks until the IoU was `goal`, if it ever was.
    #[must_use]
    pub fn clicks_to(&self, goal: f64) -> Option<usize> {
        self.iou.iter().position(|iou| *iou >= goal).map(|at| at + 1)
    }
}

/// Judges clicks on all structures of all sources, each source alone and the mean of the sources last (`"mean"`).
///
/// # Errors
/// Unreadable data, a failing network, or the cancel flag.
pub fn evaluate_clicks(
    judged: &Judged<'_>,
    options: &ClickOptions,
    cancel: &AtomicBool,
) -> Result<BTreeMap<String, ClickReport>, EvalError> {
    let mut sets = Vec::with_capacity(options.sources.len());
    for source in &options.sources {
        sets.push(StillSet::load(source, None, Pick::LargestOfLabel)?);
    }
    evaluate_sets(judged, &sets, options, cancel)
}

/// As [`evaluate_clicks`], on stills that are in memory already; the sources of `options` are not read.
///
/// # Errors
/// A failing network, or the cancel flag.
pub fn evaluate_sets(
    judged: &Judged<'_>,
    sets: &[StillSet],
    options: &ClickOptions,
    cancel: &AtomicBool,
) -> Result<BTreeMap<String, ClickReport>, EvalError> {
    let mut out = BTreeMap::new();
    let names = told_apart(sets.iter().map(|set| &set.name[..]), &[MEAN]);
    for (set, name) in sets.iter().zip(names) {
        let traces = trace_set(judged, set, options, cancel, &mut |_| {})?;
        out.insert(name, ClickReport::of(&traces, options.points));
    }
    let mean = mean_of(out.values());
    out.insert(MEAN.into(), mean);
    Ok(out)
}

/// Clicks through every structure of one set; `done` hears how many are finished. On the CPU several stills are judged at
/// a time where one would not keep all cores busy; the traces are in order and the same.
///
/// # Errors
/// A failing network, or the cancel flag.
pub fn trace_set(
    judged: &Judged<'_>,
    set: &StillSet,
    options: &ClickOptions,
    cancel: &AtomicBool,
    done: &mut dyn FnMut(usize),
) -> Result<Vec<ObjectTrace>, EvalError> {
    let most = options.limit.unwrap_or(usize::MAX);
    let (mut jobs, mut count) = (Vec::new(), 0);
    for still in &set.stills {
        let asked = still.objects.len().min(most - count);
        jobs.push(Job { still, first: count, asked });
        count += asked;
    }
    jobs.retain(|job| job.asked > 0);
    let trace = |job: &Job<'_>, tell: &mut dyn FnMut()| job.trace(judged, options, cancel, tell);
    let threads = judged.threads();
    if threads == Threads::Own {
        let (mut traces, mut finished) = (Vec::with_capacity(count), 0);
        for job in &jobs {
            traces.extend(trace(job, &mut || {
                finished += 1;
                done(finished);
            })?);
        }
        return Ok(traces);
    }
    let (sender, finished) = channel();
    let traces: Result<Vec<Vec<ObjectTrace>>, EvalError> = std::thread::scope(|scope| {
        let work = scope.spawn(move || {
            // Nobody listens any more where the caller was interrupted.
            let tell = |job| {
                trace(job, &mut || {
                    let _ = sender.send(());
                })
            };
            threads.run(|| match judged.many_at_once() {
                true => jobs.par_iter().map(tell).collect(),
                false => jobs.iter().map(tell).collect(),
            })
        });
        finished.iter().enumerate().for_each(|(before, ())| done(before + 1));
        work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    Ok(traces?.concat())
}

/// The structures of one still that are judged.
struct Job<'a> {
    still: &'a Still,
    /// How many structures of the set come before.
    first: usize,
    /// How many of the still's are judged.
    asked: usize,
}

impl Job<'_> {
    /// Clicks through them; `tell` hears of each that is finished.
    fn trace(
        &self,
        judged: &Judged<'_>,
        options: &ClickOptions,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(),
    ) -> Result<Vec<ObjectTrace>, EvalError> {
        let scene = Scene::new(judged, self.still.frame());
        let mut traces = Vec::with_capacity(self.asked);
        for (object, truth) in self.still.objects.iter().take(self.asked).enumerate() {
            if cancel.load(Ordering::Relaxed) {
                return Err(EvalError::Cancelled);
            }
            let seed = options.seed.wrapping_add(1000 * (self.first + object) as u64);
            let (dice, iou) = scene.click_through(&truth.to_bitmap(), options, seed)?;
            traces.push(ObjectTrace { still: self.still.name.clone(), object, dice, iou });
            tell();
        }
        Ok(traces)
    }
}

impl Judged<'_> {
    fn threads(&self) -> Threads {
        match self {
            Self::Network { device, .. } => Threads::of(device),
            Self::Baseline(_) => Threads::Crew,
        }
    }

    /// Whether stills are better judged side by side.
    fn many_at_once(&self) -> bool {
        match self {
            Self::Network { sam, .. } => sam.config().image_size <= SMALL_PX,
            Self::Baseline(_) => true,
        }
    }
}

impl ClickReport {
    /// The table of `traces` for 1 to `points` points.
    #[must_use]
    pub fn of(traces: &[ObjectTrace], points: usize) -> Self {
        let n = traces.len().max(1) as f64;
        let mean = |value: &dyn Fn(&ObjectTrace) -> f64| traces.iter().map(value).sum::<f64>() / n;
        let score = |k| Score { dice: mean(&|t| t.after(k).dice), iou: mean(&|t| t.after(k).iou) };
        let clicks = |goal| mean(&|t| t.clicks_to(goal).unwrap_or(CLICKS_CAP) as f64);
        let fails = |goal| mean(&|t| f64::from(u8::from(t.clicks_to(goal).is_none())));
        Self {
            objects: traces.len(),
            points: (1..=points).map(|k| (k, score(k))).collect(),
            noc85: clicks(0.85),
            noc90: clicks(0.90),
            fail85: fails(0.85),
            fail90: fails(0.90),
        }
    }
}

fn mean_of<'a>(reports: impl Iterator<Item = &'a ClickReport>) -> ClickReport {
    let all: Vec<&ClickReport> = reports.collect();
    let n = all.len().max(1) as f64;
    let mean = |value: &dyn Fn(&ClickReport) -> f64| all.iter().map(|r| value(r)).sum::<f64>() / n;
    let keys: Vec<usize> =
        all.first().map_or_else(Vec::new, |r| r.points.keys().copied().collect());
    let score =
        |k: usize| Score { dice: mean(&|r| r.points[&k].dice), iou: mean(&|r| r.points[&k].iou) };
    ClickReport {
        objects: all.iter().map(|r| r.objects).sum(),
        points: keys.into_iter().map(|k| (k, score(k))).collect(),
        noc85: mean(&|r| r.noc85),
        noc90: mean(&|r| r.noc90),
        fail85: mean(&|r| r.fail85),
        fail90: mean(&|r| r.fail90),
    }
}

/// A frame with what is computed once for all its structures.
struct Scene<'a> {
    judged: &'a Judged<'a>,
    frame: &'a GrayFrame,
    encoded: Option<(ImageFeatures, Letterbox)>,
    edges: Vec<f32>,
}

impl<'a> Scene<'a> {
    fn new(judged: &'a Judged<'a>, frame: &'a GrayFrame) -> Self {
        let (encoded, edges) = match judged {
            Judged::Network { sam, preprocess, device, .. } => {
                let (input, letterbox) = preprocess.frame(frame, sam.config().image_size, device);
                (Some((sam.encode_image(input), letterbox)), Vec::new())
            }
            Judged::Baseline(baseline) => (None, baseline.edges(frame)),
        };
        Self { judged, frame, encoded, edges }
    }

    /// What is shown after `prompts`, of which the last corrects `before`, and the network's own answer.
    fn answer(
        &self,
        prompts: &FramePrompts,
        before: Option<&Answer>,
    ) -> Result<(Bitmap, Option<Answer>), EvalError> {
        let points = prompts.boundary_points();
        let (width, height) = (self.frame.width_px, self.frame.height_px);
        match (self.judged, &self.encoded) {
            (Judged::Network { sam, options, preprocess, device }, Some((features, letterbox))) => {
                let predictor = Predictor::with_options(sam, options.clone());
                let view = View { frame: self.frame, preprocess, device, features, letterbox };
                let answer = predictor
                    .correct(view, prompts, before.map(Shown::Answer))
                    .map_err(EvalError::Network)?;
                let bitmap = answer.bitmap.clone();
                // Without the last steps the network's own answer is judged.
                let bitmap = if options.snap { tidied(bitmap, prompts) } else { bitmap };
                Ok((bitmap, Some(answer)))
            }
            (Judged::Baseline(baseline), _) => {
                Ok((baseline.mask(&points, width, height, &self.edges), None))
            }
            (Judged::Network { .. }, None) => Ok((Bitmap::empty(width, height), None)),
        }
    }

    /// Dice and IoU after each click.
    fn click_through(
        &self,
        truth: &Bitmap,
        options: &ClickOptions,
        seed: u64,
    ) -> Result<(Vec<f64>, Vec<f64>), EvalError> {
        let mut user = SimulatedUser::new(seed);
        let line = contour(truth);
        let (mut prompts, mut clean) = (FramePrompts::default(), Vec::new());
        let (mut mask, mut before): (Option<Bitmap>, Option<Answer>) = (None, None);
        let clicks = if options.clicks_to_goal { CLICKS_CAP } else { options.points };
        let (mut dice, mut iou) = (Vec::with_capacity(clicks), Vec::with_capacity(clicks));
        for _ in 0..clicks {
            // Past the table only the number of clicks is of interest.
            if iou.len() >= options.points && iou.iter().any(|v: &f64| *v >= 0.9) {
                break;
            }
            let click = options.placing.click(&mut user, (truth, &line), mask.as_ref(), &clean);
            let Some((kind, at)) = click else { break };
            clean.push(at);
            let shaky =
                user.shaky(at, options.noise_px).clamped(self.frame.width_px, self.frame.height_px);
            prompts.points.push((kind, shaky));
            let (shown, answer) = self.answer(&prompts, before.as_ref())?;
            let found = overlap(&shown, truth);
            dice.push(found.dice);
            iou.push(found.iou);
            (mask, before) = (Some(shown), answer);
        }
        Ok((dice, iou))
    }
}
