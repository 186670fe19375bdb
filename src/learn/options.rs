//! What and how to train, and what each step of such a run is.
//!
//! What decides whether this file is right: the plan of a step depends on the seed, its number and the part of the budget
//! that is used up, on nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::RECIPE;
use super::dataset::DataSource;
use super::lessons::{ClipPrompt, Plan, Subject};
use super::loss::{BoundaryTerm, ClickMass, LossWeights, Reading};
use crate::net::config::ModelCard;
use crate::net::weights::sha256_hex;

/// Side below which nothing is learned from, px.
pub const SIDE_LEAST: usize = 64;
/// Steps over which the learning rate rises.
const WARM_UP: u64 = 100;
/// Steps over which focal and boundary loss rise.
const LOSS_RAMP: f64 = 200.0;

/// How long a run lasts; the learning rate and the image size follow the part that is used up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    /// Minutes of wall clock, all sessions of a resumed run together.
    Minutes(f64),
    /// Optimisation steps: the same on every machine.
    Steps(u64),
}

/// What and how to train.
#[derive(Debug, Clone)]
pub struct TrainOptions {
    /// Stills to learn from; never the lists that are judged on.
    pub sources: Vec<DataSource>,
    /// Stills that tell during the run which weights are best; empty: the last ones are kept.
    pub held_back: Vec<DataSource>,
    /// Sizes of the network; its `weights` part is filled in at the end.
    pub card: ModelCard,
    /// Folder of `NAME.safetensors`, `NAME.yaml` and `NAME.checkpoint`.
    pub out: PathBuf,
    /// Continue from the checkpoint in `out` when there is one.
    pub resume: bool,
    /// Without `resume`: begin anew although there is a checkpoint.
    pub overwrite: bool,
    /// Safetensors to start from instead of random weights.
    pub start_from: Option<PathBuf>,
    /// The same as the bytes of such a file, for weights that are in memory.
    pub start: Option<Vec<u8>>,
    /// The encoder stays as it is: so many views of every still are encoded once, and what comes after the encoder learns
    /// from those. `None`: everything learns.
    pub frozen_views: Option<usize>,
    /// Bytes of a GPU's memory that are free beside the network, where its driver says; views that take more are refused.
    pub gpu_free: Option<u64>,
    /// Weights of the losses; focal and boundary loss rise to them.
    pub weights: LossWeights,
    /// How Eq. 1 is read, and how its clicks weigh.
    pub boundary_reading: (Reading, ClickMass),
    /// When to stop.
    pub budget: Budget,
    /// Seeds weights, images and clicks.
    pub seed: u64,
    /// Worker threads of the CPU.
    pub threads: usize,
    /// Peak learning rate.
    pub rate: f32,
    /// Sides of the early and the late input, px.
    pub sides: [usize; 2],
    /// Part of the budget after which the late side is used.
    pub switch_at: f64,
    /// Stills per step, early and late.
    pub batches: [usize; 2],
    /// Part of the budget before which no clip is shown; 1 for stills only.
    pub clips_from: f64,
    /// Share of clip steps after that.
    pub clip_share: f32,
    /// Share of the clip steps whose prompted frames get clicks instead of masks, 0..=1.
    pub clip_clicks: f32,
    /// Share of the steps on stills, and of those on clips with clicks, that teach inside and outside points instead of
    /// boundary points, 0..=1.
    pub region_share: f32,
    /// Frames of a training clip.
    pub clip_frames: usize,
    /// Minutes between checkpoints.
    pub save_every_min: f64,
    /// Steps between calls of the progress function.
    pub report_every: u64,
    /// Steps between looks at the stills that were held back.
    pub validate_every: u64,
    /// The command, for the card.
    pub command: String,
}

impl TrainOptions {
    /// The recipe of the shipped network.
    #[must_use]
    pub fn new(sources: Vec<DataSource>, card: ModelCard, out: PathBuf, budget: Budget) -> Self {
        Self {
            sources,
            held_back: Vec::new(),
            card,
            out,
            resume: false,
            overwrite: false,
            start_from: None,
            start: None,
            frozen_views: None,
            gpu_free: None,
            weights: LossWeights::default(),
            boundary_reading: (Reading::Ridge, ClickMass::Unit),
            budget,
            seed: 0,
            threads: 2,
            rate: 1e-3,
            sides: [128, 256],
            switch_at: 0.6,
            batches: [8, 4],
            clips_from: 0.35,
            clip_share: 0.25,
            clip_clicks: 0.0,
            region_share: 0.2,
            clip_frames: 6,
            save_every_min: 4.0,
            report_every: 50,
            validate_every: 300,
            command: String::new(),
        }
    }

    /// Eq. 1 as `term` says.
    pub fn with_boundary(&mut self, term: BoundaryTerm) {
        self.weights.boundary = term.lambda;
        self.boundary_reading = (term.reading, term.mass);
    }

    /// The plan of step `step` when `used` (0..=1) of the budget is gone.
    #[must_use]
    pub fn plan(&self, step: u64, used: f64) -> Plan {
        let seed = mix(self.seed, step);
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x9a7);
        let late = usize::from(used >= self.switch_at);
        let (side, batch) = (self.sides[late], self.batches[late]);
        let ramp = ((step + 1) as f64 / LOSS_RAMP).min(1.0);
        let weights = self.weights;
        let (clip, region) =
            (rng.f32() < self.clip_share && used >= self.clips_from, rng.f32() < self.region_share);
        // Drawn last, so that all else is what it was before clips had clicks.
        let prompt = match (rng.f32() < self.clip_clicks, region) {
            (false, _) => ClipPrompt::Masks,
            (true, true) => ClipPrompt::Region,
            (true, false) => ClipPrompt::Boundary,
        };
        let (subject, batch) = match (clip, region) {
            (true, _) => (Subject::Clip { frames: self.clip_frames, prompt }, (batch / 4).max(1)),
            (false, true) => (Subject::Region, batch),
            (false, false) => (Subject::Boundary, batch),
        };
        Plan {
            subject,
            side,
            batch,
            focal: 2.0 + (weights.focal - 2.0) * ramp,
            boundary: weights.boundary * ramp,
            seed,
        }
    }

    pub(super) fn rate_at(&self, step: u64, used: f64) -> f32 {
        let warm = ((step + 1) as f32 / WARM_UP as f32).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * used.min(1.0)).cos());
        self.rate * warm * (0.99 * cosine as f32 + 0.01)
    }

    /// What a resumed run must have in common with the one before, by name. The budget may grow. `start` says what the first
    /// weights are, `data` and `held_back` are names and hashes.
    pub(super) fn made_of(
        &self,
        start: &str,
        data: &[(String, String)],
        held_back: &[(String, String)],
    ) -> BTreeMap<String, String> {
        let listed = |sets: &[(String, String)]| {
            let words = sets.iter().map(|(name, hash)| format!("{name} {hash}"));
            words.collect::<Vec<_>>().join(", ")
        };
        let held_back = match listed(held_back) {
            none if none.is_empty() => "nothing".to_owned(),
            sets => sets,
        };
        let (reading, mass) = self.boundary_reading;
        let clicks = self.clip_clicks;
        [
            ("recipe", RECIPE.to_string()),
            ("data", listed(data)),
            ("data held back", held_back),
            ("first weights", start.to_owned()),
            ("network", sha256_hex(format!("{:?}", self.card.network).as_bytes())),
            ("preprocessing", format!("{:?}", self.card.preprocess)),
            ("losses", format!("{:?}, {reading:?}, {mass:?}", self.weights)),
            ("learning rate", self.rate.to_string()),
            ("input sides", format!("{:?} from {}", self.sides, self.switch_at)),
            ("batches", format!("{:?}", self.batches)),
            (
                "clips",
                format!(
                    "{} of {} frames from {}, {clicks} by clicks",
                    self.clip_share, self.clip_frames, self.clips_from
                ),
            ),
            ("share of region points", self.region_share.to_string()),
            ("views", format!("{:?}", self.frozen_views)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    pub(super) fn file(&self, ending: &str) -> PathBuf {
        self.out.join(format!("{}.{ending}", self.card.name))
    }
}

/// Splitmix64: an unrelated seed for every step.
fn mix(seed: u64, step: u64) -> u64 {
    let mut z = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(step.wrapping_add(1).wrapping_mul(0xbf58_476d_1ce4_e5b9));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
