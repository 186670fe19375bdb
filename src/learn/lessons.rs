//! One optimisation step's worth of work: which lesson, which clicks, which loss.
//!
//! What decides whether this file is right: a step is a pure function of the seed, its number and its plan, so a run
//! can be resumed and repeated; clicks depend on the prediction but carry no gradient; a still is encoded once for all
//! its prompts and rounds; in a clip only frames on which the structure is visible teach masks, all teach the score.

mod clips;

use burn::tensor::{Device, Tensor};

use super::annotator::SimulatedUser;
use super::augment::{ClipLesson, Lesson, clip_lesson, lesson, real_clip_lesson};
use super::dataset::{Still, StillSet};
use super::loss::{
    BoundaryLoss, BoundaryLossConfig, ClickMass, LossWeights, Reading, actual_iou, cross_entropy,
    dice, focal, least_of,
};
use super::optimise::numbers;
use super::pupil::Pupil;
use crate::domain::{Bitmap, PointPx};
use crate::net::blocks::constant;
use crate::net::config::Preprocess;
use crate::net::mask_decoder::Decoded;
use crate::net::prompt_encoder::PointBatch;
use crate::net::resize::{Kernel, resize};
use crate::net::sam2::{ImageFeatures, PREVIOUS_LOGIT_MAX, Prompts, Sam2, wants_multimask};

/// Structures asked about per still.
pub(super) const PER_STILL: usize = 2;
/// Decoder passes per still.
const ROUNDS: usize = 3;

/// What a step teaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Boundary points on stills.
    Boundary,
    /// Inside and outside points, and boxes, on stills.
    Region,
    /// Following a structure through a clip.
    Clip {
        /// Frames of each clip.
        frames: usize,
        /// What its prompted frames get.
        prompt: ClipPrompt,
    },
}

/// What the prompted frames of a clip get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClipPrompt {
    /// Masks, as a person leaves them on anchor frames.
    Masks,
    /// Boundary points, and more of them where a followed frame is wrong.
    Boundary,
    /// An inside point or a box, and inside and outside points where a followed frame is wrong.
    Region,
}

impl Subject {
    /// Whether clicks go inside and outside instead of on the boundary.
    pub(super) fn by_region(self) -> bool {
        matches!(self, Self::Region | Self::Clip { prompt: ClipPrompt::Region, .. })
    }
}

/// The plan of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// What it teaches.
    pub subject: Subject,
    /// Side of the square input, px.
    pub side: usize,
    /// Stills or clips.
    pub batch: usize,
    /// Weight of the focal loss, which is ramped up.
    pub focal: f64,
    /// Weight of the boundary loss, likewise.
    pub boundary: f64,
    /// Seeds everything that is drawn in this step.
    pub seed: u64,
}

/// The images of one step.
#[derive(Debug, Clone)]
pub enum Batch {
    /// Stills.
    Stills(Vec<Lesson>),
    /// Clips of equal length.
    Clips(Vec<ClipLesson>),
    /// Stills whose features are known already, one row for each.
    Encoded(Vec<Lesson>, Box<ImageFeatures>),
}

impl Plan {
    /// Draws and renders the images. Sets are drawn from evenly, whatever their size.
    #[must_use]
    pub fn render(&self, sets: &[StillSet]) -> Batch {
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let mut draw = || -> (fastrand::Rng, &StillSet, &Still) {
            let set = &sets[rng.usize(..sets.len())];
            (rng.fork(), set, &set.stills[rng.usize(..set.stills.len())])
        };
        match self.subject {
            Subject::Clip { frames, .. } => Batch::Clips(fill(self.batch, || {
                let (mut own, set, still) = draw();
                // Real clips show how tissue moves, moved stills more structures: half and half where there are both.
                match set.clips.is_empty() || own.bool() {
                    true => clip_lesson(still, frames, self.side, &mut own),
                    false => {
                        let clip = &set.clips[own.usize(..set.clips.len())];
                        real_clip_lesson(clip, frames, self.side, &mut own)
                    }
                }
            })),
            _ => Batch::Stills(fill(self.batch, || {
                let (mut own, _, still) = draw();
                lesson(still, PER_STILL, self.side, &mut own)
            })),
        }
    }
}

/// Draws until `count` are found; gives up after many bad draws, so that odd data cannot hang a run.
fn fill<T>(count: usize, mut draw: impl FnMut() -> Option<T>) -> Vec<T> {
    let mut out = Vec::with_capacity(count);
    for _ in 0..count * 50 {
        if out.len() == count {
            break;
        }
        out.extend(draw());
    }
    out
}

impl Batch {
    /// Stills or clips.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Stills(lessons) | Self::Encoded(lessons, _) => lessons.len(),
            Self::Clips(clips) => clips.len(),
        }
    }

    /// Nothing to learn.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// At most `count` parts of nearly the same size, none empty.
    #[must_use]
    pub fn split(self, count: usize) -> Vec<Self> {
        let each = self.len().div_ceil(count.max(1)).max(1);
        match self {
            whole if count <= 1 && !whole.is_empty() => vec![whole],
            Self::Stills(lessons) => {
                lessons.chunks(each).map(|part| Self::Stills(part.to_vec())).collect()
            }
            Self::Clips(clips) => {
                clips.chunks(each).map(|part| Self::Clips(part.to_vec())).collect()
            }
            Self::Encoded(lessons, features) => {
                let parts = lessons.chunks(each).enumerate().map(|(i, part)| {
                    let features = rows_of(&features, i * each, part.len());
                    Self::Encoded(part.to_vec(), Box::new(features))
                });
                parts.collect()
            }
        }
    }
}

/// What a step found, for the progress line.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Marks {
    /// Whole loss.
    pub loss: f32,
    /// Mean IoU of the chosen candidates in the first and in the last round (stills), or on the first and the later
    /// frames (clips).
    pub iou: [f32; 2],
    /// Images that went through the encoder.
    pub images: usize,
    /// Structures that the loss is a mean of.
    pub structures: usize,
}

/// Tables that depend on the input size alone.
pub struct Desk {
    /// The network's input.
    pub preprocess: Preprocess,
    /// Weights of Dice, IoU and object terms; the ramped ones come with the plan.
    pub weights: LossWeights,
    /// How Eq. 1 is read, and how its clicks weigh.
    pub boundary_reading: (Reading, ClickMass),
    device: Device,
    boundary: Vec<(usize, BoundaryLoss)>,
}

impl Desk {
    /// A desk on an autodiff device.
    #[must_use]
    pub fn new(preprocess: Preprocess, weights: LossWeights, device: &Device) -> Self {
        let boundary_reading = (Reading::Ridge, ClickMass::Unit);
        Self { preprocess, weights, boundary_reading, device: device.clone(), boundary: Vec::new() }
    }

    /// Eq. 1 on the half-size grid. The paper's blur (20 means of 7 px at 1024) is about a pixel there: one mean of 7
    /// (5 for small inputs) keeps its shape and lets the gradient reach a few pixels further.
    fn boundary_loss(&mut self, grid: usize) -> &BoundaryLoss {
        let (reading, mass) = self.boundary_reading;
        let at = self.boundary.iter().position(|(g, _)| *g == grid).unwrap_or_else(|| {
            let taps = if grid >= 128 { 7 } else { 5 };
            let config = BoundaryLossConfig { reading, mass, taps, passes: 1, click_sigma: 1.0 };
            self.boundary.push((grid, BoundaryLoss::new(config, [grid; 2], &self.device)));
            self.boundary.len() - 1
        });
        &self.boundary[at].1
    }

    pub(super) fn images(&self, frames: &[&[f32]], side: usize) -> Tensor<4> {
        let mut values = Vec::with_capacity(frames.len() * 3 * side * side);
        for frame in frames {
            for (mean, std) in self.preprocess.mean.iter().zip(&self.preprocess.std) {
                values.extend(frame.iter().map(|v| (v - mean) / std));
            }
        }
        constant(values, [frames.len(), 3, side, side], &self.device)
    }

    /// Loss of one step, to be differentiated, and what to report.
    pub fn teach(&mut self, net: &Sam2, plan: &Plan, batch: &Batch) -> Option<(Tensor<1>, Marks)> {
        match batch {
            Batch::Stills(lessons) if !lessons.is_empty() => {
                let frames: Vec<&[f32]> = lessons.iter().map(|l| &l.image[..]).collect();
                let features = net.encode_image(self.images(&frames, plan.side));
                Some(self.stills(net, plan, lessons, &features))
            }
            Batch::Encoded(lessons, features) => Some(self.stills(net, plan, lessons, features)),
            Batch::Clips(clips) if !clips.is_empty() => Some(self.clips(net, plan, clips)),
            _ => None,
        }
    }

    fn stills(
        &mut self,
        net: &Sam2,
        plan: &Plan,
        lessons: &[Lesson],
        features: &ImageFeatures,
    ) -> (Tensor<1>, Marks) {
        // What all of a step share comes from the plan, the rest from each still: a batch may be split at will.
        let mut user = SimulatedUser::new(plan.seed ^ 0x5eed);
        let mut pupils: Vec<Pupil> = Vec::new();
        for lesson in lessons {
            let mut person = SimulatedUser::new(plan.seed ^ lesson.person);
            for mask in &lesson.masks {
                let own = SimulatedUser::new(person.rng().u64(..));
                pupils.push(Pupil::new(mask, plan, own));
            }
        }
        let m = pupils.len();
        let features = features.for_prompts(m);
        let truth = self.truth(pupils.iter().map(|p| p.truth), plan.side / 2);
        let with_box = plan.subject == Subject::Region && user.rng().f32() < 0.4;
        let opening =
            if plan.subject == Subject::Boundary && user.rng().f32() < 0.8 { 2 } else { 1 };
        let leap = if user.rng().f32() < 0.4 { user.rng().usize(1..7) } else { 0 };
        let noise = tremor(&mut user, plan.side);
        let (mut total, mut marks) =
            (None, Marks { images: lessons.len(), structures: m, ..Marks::default() });
        let mut previous: Option<Tensor<4>> = None;
        for round in 0..ROUNDS {
            let count = if round == 0 { opening } else { 1 + if round == 1 { leap } else { 0 } };
            for pupil in &mut pupils {
                if with_box && round == 0 {
                    pupil.frame_it(plan.side as f32 * 0.05);
                } else if plan.subject == Subject::Region {
                    pupil.region(count);
                } else {
                    pupil.boundary(count, noise);
                }
            }
            let multimask = wants_multimask(pupils[0].points.len());
            let points: Vec<_> = pupils.iter().map(|p| p.points.clone()).collect();
            let mask = if plan.subject == Subject::Region { previous.take() } else { None };
            let prompts = Prompts { points: PointBatch::new(&points), mask };
            let decoded = net.decode(&features, &prompts, multimask);
            let clicks: Vec<Vec<PointPx>> = pupils.iter().map(Pupil::clean_on_half).collect();
            let present = vec![1.0; m];
            let judged = self.judge(&decoded, &truth, plan, &clicks, &present);
            total = Some(total.map_or(judged.loss.clone(), |t: Tensor<1>| t + judged.loss));
            marks.iou[usize::from(round > 0)] = judged.iou;
            let (best, _, _) = decoded.best();
            let best = best.detach();
            let seen = numbers(resize(best.clone(), [plan.side / 2; 2], Kernel::Bilinear));
            let pixels = (plan.side / 2).pow(2);
            for (pupil, logits) in pupils.iter_mut().zip(seen.chunks(pixels)) {
                pupil.saw(logits, plan);
            }
            previous = Some(best.clamp(-PREVIOUS_LOGIT_MAX, PREVIOUS_LOGIT_MAX));
        }
        let loss = total.expect("there is at least one round") / ROUNDS as f64;
        marks.loss = numbers(loss.clone())[0];
        (loss, marks)
    }

    /// Coverage of each structure on a grid of half the input's side, `[M, 1, grid, grid]`.
    fn truth<'a>(&self, masks: impl Iterator<Item = &'a Bitmap>, grid: usize) -> Tensor<4> {
        let mut values = Vec::new();
        let mut count = 0;
        for mask in masks {
            count += 1;
            let at = |x: usize, y: usize| f32::from(u8::from(mask.pixels[y * 2 * grid + x]));
            values.extend((0..grid * grid).map(|i| {
                let (x, y) = (2 * (i % grid), 2 * (i / grid));
                (at(x, y) + at(x + 1, y) + at(x, y + 1) + at(x + 1, y + 1)) / 4.0
            }));
        }
        constant(values, [count, 1, grid, grid], &self.device)
    }

    /// SAM 2's losses and Eq. 1 of one decoder pass; rows with `present` 0 teach the object score alone.
    fn judge(
        &mut self,
        decoded: &Decoded,
        truth: &Tensor<4>,
        plan: &Plan,
        clicks: &[Vec<PointPx>],
        present: &[f32],
    ) -> Judged {
        let grid = truth.dims()[2];
        let logits = resize(decoded.low_res_masks.clone(), [grid; 2], Kernel::Bilinear);
        let [m, c, _, _] = logits.dims();
        let target = truth.clone().expand([m, c, grid, grid]);
        let mask_loss = focal(logits.clone(), target.clone()) * plan.focal
            + dice(logits.clone(), target.clone()) * self.weights.dice;
        let choice = least_of(&mask_loss);
        let actual = actual_iou(logits.clone(), target);
        let iou_loss = (decoded.ious.clone() - actual.clone()).abs().mean_dim(1);
        let mut rows = (mask_loss * choice.clone()).sum_dim(1) + iou_loss * self.weights.iou;
        if plan.boundary > 0.0 && clicks.iter().any(|c| !c.is_empty()) {
            let chosen =
                choice.clone().reshape([m, 1, c]).matmul(logits.reshape([m, c, grid * grid]));
            let term = self.boundary_loss(grid).forward(chosen.reshape([m, grid, grid]), clicks);
            let clicked: Vec<f32> =
                clicks.iter().map(|c| f32::from(u8::from(!c.is_empty()))).collect();
            rows = rows
                + (term * constant(clicked, [m], &self.device)).reshape([m, 1]) * plan.boundary;
        }
        let shown = constant(present.to_vec(), [m, 1], &self.device);
        let class =
            cross_entropy(decoded.object_score_logits.clone(), shown.clone()) * self.weights.object;
        let loss = (rows * shown + class).mean();
        let picked: Vec<f32> = numbers((actual * choice).sum_dim(1));
        let visible: f32 = present.iter().sum();
        let iou = picked.iter().zip(present).map(|(i, p)| i * p).sum::<f32>() / visible.max(1.0);
        Judged { loss, iou }
    }
}

struct Judged {
    loss: Tensor<1>,
    iou: f32,
}

/// How unsteady the hands of a step are: standard deviation of their clicks, px of an input of that side.
fn tremor(user: &mut SimulatedUser, side: usize) -> f32 {
    let noise =
        if user.rng().f32() < 0.25 { 4.0 * user.rng().f32() } else { 1.5 * user.rng().f32() };
    noise * side as f32 / 256.0
}

fn rows_of(all: &ImageFeatures, at: usize, n: usize) -> ImageFeatures {
    let part = |x: &Tensor<4>| x.clone().narrow(0, at, n);
    ImageFeatures::new(part(&all.pix_feat), [part(&all.high_res[0]), part(&all.high_res[1])])
}
