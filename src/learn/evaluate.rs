//! Judging by simulated annotators: clicks on stills (NETWORK 13.4, 13.5). Clips are in `evaluate_video`.
//!
//! What decides whether this file is right: everything is judged at the image's own size; the annotator sees the mask
//! that a person would see (after curve and snap); the same seed gives the same clicks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use serde::Serialize;

pub use super::evaluate_video::{Tracking, VideoOptions, VideoReport, evaluate_video};

use super::annotator::{EXCLUDE_PX, SimulatedUser, contour, region_click};
use super::dataset::{DataError, DataSource, Pick, StillSet};
use crate::domain::{
    Bitmap, FramePrompts, GrayFrame, Overlap, PointKind, PointPx, closed_catmull_rom, filled,
    overlap,
};
use crate::net::config::Preprocess;
use crate::net::letterbox::Letterbox;
use crate::net::predict::{PredictOptions, Predictor};
use crate::net::sam2::{ImageFeatures, Sam2};

/// Clicks after which a structure counts as not reached.
const CLICKS_CAP: usize = 20;

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
    /// Circle through two points, closed spline through more; never looks at the image.
    Spline,
    /// Ellipse through two or three points, then the spline; never looks at the image.
    Curve,
}

/// What the annotator places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placing {
    /// Boundary points.
    Boundary,
    /// Inside and outside points by SAM's rule.
    Region,
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
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
    for set in sets {
        let mut traces = Vec::new();
        for still in &set.stills {
            if options.limit.is_some_and(|most| traces.len() >= most) {
                break;
            }
            let scene = Scene::new(judged, still.frame());
            for object in &still.objects {
                if cancel.load(Ordering::Relaxed) {
                    return Err(EvalError::Cancelled);
                }
                if options.limit.is_none_or(|most| traces.len() < most) {
                    let seed = options.seed.wrapping_add(1000 * traces.len() as u64);
                    traces.push(scene.click_through(&object.to_bitmap(), options, seed)?);
                }
            }
        }
        out.insert(set.name.clone(), summed_up(&traces, options));
    }
    let mean = mean_of(out.values());
    out.insert("mean".into(), mean);
    Ok(out)
}

fn summed_up(traces: &[Vec<Overlap>], options: &ClickOptions) -> ClickReport {
    let n = traces.len().max(1) as f64;
    let at = |k: usize, value: fn(&Overlap) -> f64| {
        let last = |t: &Vec<Overlap>| t.get(k - 1).or(t.last()).map_or(0.0, value);
        traces.iter().map(last).sum::<f64>() / n
    };
    let points = (1..=options.points)
        .map(|k| (k, Score { dice: at(k, |o| o.dice), iou: at(k, |o| o.iou) }))
        .collect();
    let reached = |goal: f64| -> Vec<Option<usize>> {
        traces.iter().map(|t| t.iter().position(|o| o.iou >= goal).map(|i| i + 1)).collect()
    };
    let clicks =
        |goal| reached(goal).iter().map(|r| r.unwrap_or(CLICKS_CAP) as f64).sum::<f64>() / n;
    let fails = |goal| reached(goal).iter().filter(|r| r.is_none()).count() as f64 / n;
    ClickReport {
        objects: traces.len(),
        points,
        noc85: clicks(0.85),
        noc90: clicks(0.90),
        fail85: fails(0.85),
        fail90: fails(0.90),
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
    width: u32,
    height: u32,
    encoded: Option<(ImageFeatures, Letterbox)>,
}

impl<'a> Scene<'a> {
    fn new(judged: &'a Judged<'a>, frame: &GrayFrame) -> Self {
        let encoded = match judged {
            Judged::Network { sam, preprocess, device, .. } => {
                let (input, letterbox) = preprocess.frame(frame, sam.config().image_size, device);
                Some((sam.encode_image(input), letterbox))
            }
            _ => None,
        };
        Self { judged, width: frame.width_px, height: frame.height_px, encoded }
    }

    fn answer(&self, prompts: &FramePrompts) -> Result<Bitmap, EvalError> {
        let points = prompts.boundary_points();
        match (self.judged, &self.encoded) {
            (Judged::Network { sam, options, .. }, Some((features, letterbox))) => {
                let predictor = Predictor::with_options(sam, options.clone());
                let answer =
                    predictor.predict(features, letterbox, prompts).map_err(EvalError::Network)?;
                Ok(answer.bitmap)
            }
            (Judged::Spline, _) => Ok(spline_mask(&points, self.width, self.height)),
            _ => Ok(filled(&closed_catmull_rom(&points), self.width, self.height)),
        }
    }

    /// Overlap after each click.
    fn click_through(
        &self,
        truth: &Bitmap,
        options: &ClickOptions,
        seed: u64,
    ) -> Result<Vec<Overlap>, EvalError> {
        let mut user = SimulatedUser::new(seed);
        let line = contour(truth);
        let (mut prompts, mut clean) = (FramePrompts::default(), Vec::new());
        let mut mask: Option<Bitmap> = None;
        let clicks = if options.clicks_to_goal { CLICKS_CAP } else { options.points };
        let mut trace: Vec<Overlap> = Vec::with_capacity(clicks);
        for _ in 0..clicks {
            // Past the table only the number of clicks is of interest.
            if trace.len() >= options.points && trace.iter().any(|o| o.iou >= 0.9) {
                break;
            }
            let click = match options.placing {
                Placing::Boundary => {
                    let shown = mask.as_ref().map_or_else(Vec::new, contour);
                    let at = user.boundary_click(&line, &shown, &clean, EXCLUDE_PX);
                    at.map(|at| (PointKind::Boundary, at))
                }
                Placing::Region => region_click(truth, mask.as_ref()),
            };
            let Some((kind, at)) = click else { break };
            clean.push(at);
            let shaky = user.shaky(at, options.noise_px).clamped(self.width, self.height);
            prompts.points.push((kind, shaky));
            let answer = self.answer(&prompts)?;
            trace.push(overlap(&answer, truth));
            mask = Some(answer);
        }
        Ok(trace)
    }
}

/// The simplest curve: a circle on two points, then a closed Catmull-Rom spline in angular order.
fn spline_mask(points: &[PointPx], width: u32, height: u32) -> Bitmap {
    match points {
        [a, b] => {
            let (centre, radius) =
                (PointPx::new((a.x + b.x) / 2.0, (a.y + b.y) / 2.0), a.distance(*b) / 2.0);
            Bitmap::from_fn(width, height, |x, y| {
                PointPx::pixel_centre(x, y).distance(centre) <= radius + 0.5
            })
        }
        [a, b, c] => {
            // The middle of each side, pushed out as a uniform Catmull-Rom spline through three points does.
            let bulge = |p: PointPx, q: PointPx, far: PointPx| {
                let at = |p: f32, q: f32, far: f32| 0.5625 * (p + q) - 0.125 * far;
                PointPx::new(at(p.x, q.x, far.x), at(p.y, q.y, far.y))
            };
            let six = [*a, bulge(*a, *b, *c), *b, bulge(*b, *c, *a), *c, bulge(*c, *a, *b)];
            filled(&closed_catmull_rom(&six), width, height)
        }
        more => filled(&closed_catmull_rom(more), width, height),
    }
}
