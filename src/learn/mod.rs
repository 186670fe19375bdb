//! Learning: training by simulated annotators, and judging by the same ones.
//!
//! [`train`] is a loop of about a hundred lines over pure pieces: [`lessons`] says what a step computes, [`optimise`]
//! moves the weights, [`checkpoint`] keeps the state, [`evaluate`] measures. What decides whether this file is right: a
//! step depends on the seed, its number and the state alone, so a resumed run continues bit for bit on the CPU; the first
//! weights are those of the seed on every device, so it may continue on another one; a cancelled run keeps what it has;
//! what is written is the averaged network.

pub mod agree;
pub mod annotator;
pub mod augment;
pub mod baselines;
pub mod checkpoint;
mod crew;
pub mod data;
pub mod dataset;
pub mod evaluate;
pub mod evaluate_video;
pub mod lessons;
pub mod loss;
pub mod optimise;
mod options;
pub mod own;
pub mod progress;
mod pupil;
mod validate;
mod views;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::Device;

use crate::domain::shown;
use crate::net::config::WeightsOrigin;
use crate::net::device::cpu;
use crate::net::sam2::Sam2;
use crate::net::threads::Threads;
use crate::net::weights::{WeightsError, sha256_hex, sha256_of_file};
use checkpoint::{Checkpoint, CheckpointError, Standing};
use crew::Crew;
use dataset::{DataError, Pick, StillSet, TRAIN_SIDE_PX, told_apart};
use lessons::{Batch, Desk, Plan};
use optimise::{AdamW, Optimiser};
pub use options::{Budget, SIDE_LEAST, TrainOptions};
pub use progress::Progress;
use progress::Tally;
use validate::Validation;
use views::Views;

/// Number of what training computes: raised whenever the same data, options and seed give other weights (tests/it/recipe.rs
/// tells). Studies train anew for another number, and no run goes on by another one.
pub const RECIPE: u32 = 1;
/// Batches made ahead of the step that uses them.
const AHEAD: usize = 2;
/// Between two lines on what is encoded ahead.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What a run left behind.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainReport {
    /// Steps done in all sessions.
    pub steps: u64,
    /// Images encoded in all sessions.
    pub images: u64,
    /// True when the cancel flag ended the run; the weights are the best reached by then.
    pub cancelled: bool,
    /// Dice of the weights on the stills that were held back, if there were any.
    pub validation_dice: Option<f64>,
    /// The weight file.
    pub weights: PathBuf,
    /// Its SHA-256.
    pub sha256: String,
    /// Source name to hash.
    pub data: Vec<(String, String)>,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The weights.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Nothing to compute on.
    #[error("there is no device to train on; name one")]
    NoDevice,
    /// The CPU's worker threads.
    #[error("cannot start {threads} worker threads: {cause}; ask for fewer with --threads")]
    Threads {
        /// How many.
        threads: usize,
        /// What the system says.
        cause: String,
    },
    /// What a frozen encoder makes ahead.
    #[error(
        "the views of all stills take {needed_mib} MiB of memory, {free_mib} MiB are free; ask for fewer with --views, give \
         fewer stills, or let the encoder learn too (--learn-encoder)"
    )]
    Views {
        /// What they take.
        needed_mib: u64,
        /// What there is.
        free_mib: u64,
    },
    /// A GPU that learns something else than the CPU.
    #[error("{0}; that is no rounding, train with --device cpu")]
    Gradients(String),
    /// Judging the stills that were held back.
    #[error("cannot judge the network on the stills held back: {0}")]
    Judge(String),
    /// The loss stopped being a number.
    #[error(
        "the loss is no number, in step {0} and many before it; begin anew with a smaller learning rate: --rate NUMBER \
         --overwrite"
    )]
    Diverged(u64),
}

/// Trains a network and writes weights, card and checkpoint below `options.out`.
///
/// `devices` is where to compute, without gradients: every step is shared out among them. On the CPU one that stands there
/// several times keeps as many cores busy, up to `options.threads`. `progress` is called every few steps; when `cancel` becomes true
/// the run ends after the current step and keeps the best it had.
///
/// # Errors
/// Unreadable data, a checkpoint of another run, files that cannot be written, a diverging loss.
pub fn train(
    options: &TrainOptions,
    devices: &[Device],
    progress: impl FnMut(&Progress) + Send,
    cancel: &AtomicBool,
) -> Result<TrainReport, TrainError> {
    not_in_the_way(options)?;
    let sets = options
        .sources
        .iter()
        .map(|s| {
            let stills = StillSet::load(s, Some(TRAIN_SIDE_PX), Pick::AllComponents)?;
            match options.clip_share > 0.0 && options.clips_from < 1.0 {
                true => stills.load_clips(s, Some(TRAIN_SIDE_PX)),
                false => Ok(stills),
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    train_on(&sets, options, devices, progress, cancel)
}

/// As [`train`], on stills that are in memory already; the sources of `options` are not read.
///
/// # Errors
/// As [`train`].
pub fn train_on(
    sets: &[StillSet],
    options: &TrainOptions,
    devices: &[Device],
    mut progress: impl FnMut(&Progress) + Send,
    cancel: &AtomicBool,
) -> Result<TrainReport, TrainError> {
    let Some(device) = devices.first() else { return Err(TrainError::NoDevice) };
    not_in_the_way(options)?;
    let pool = crew::pool(options.threads)?;
    let validation = Validation::load(&options.held_back)?;
    pool.install(|| {
        Run::start(options, sets, device, devices, validation)?.go(sets, &mut progress, cancel)
    })
}

/// Refuses to go over another run.
fn not_in_the_way(options: &TrainOptions) -> Result<(), CheckpointError> {
    let file = options.file("checkpoint");
    match !options.resume && !options.overwrite && file.exists() {
        true => Err(CheckpointError::InTheWay(shown(&file.display().to_string()))),
        false => Ok(()),
    }
}

/// A run between two steps.
struct Run<'a> {
    options: &'a TrainOptions,
    /// Names and hashes of the sets.
    data: Vec<(String, String)>,
    /// What a resumed run must have in common with it.
    made_of: BTreeMap<String, String>,
    /// Where to judge: without gradients.
    device: Device,
    validation: Option<Validation>,
    /// Dice of the weight file as it stands.
    best: Option<f64>,
    crew: Crew,
    optimiser: Optimiser,
    step: u64,
    images: u64,
    before: Duration,
    since: Instant,
}

impl<'a> Run<'a> {
    fn start(
        options: &'a TrainOptions,
        sets: &[StillSet],
        plain: &Device,
        devices: &[Device],
        validation: Option<Validation>,
    ) -> Result<Self, TrainError> {
        let (net, start) = first_network(options)?;
        let optimiser = Optimiser::new(&net, AdamW::default());
        let crew = Crew::new(&net, devices, options.threads, |device| {
            let mut desk = Desk::new(options.card.preprocess.clone(), options.weights, device);
            desk.boundary_reading = options.boundary_reading;
            desk
        })?;
        let (before, since) = (Duration::ZERO, Instant::now());
        let names = told_apart(sets.iter().map(|set| &set.name[..]), &[]);
        let data: Vec<(String, String)> =
            names.into_iter().zip(sets.iter().map(|set| set.sha256.clone())).collect();
        let held_back = validation.as_ref().map_or_else(Vec::new, Validation::data);
        let made_of = options.made_of(&start, &data, &held_back);
        let mut run = Self {
            options,
            data,
            made_of,
            device: plain.clone(),
            validation,
            best: None,
            crew,
            optimiser,
            step: 0,
            images: 0,
            before,
            since,
        };
        let file = options.file("checkpoint");
        if options.resume && file.exists() {
            let kept = Checkpoint::read(&file)?;
            kept.restore(&mut run.optimiser, options.seed, &run.made_of)?;
            (run.step, run.images, run.before) =
                (kept.head.step, kept.head.images, Duration::from_secs_f64(kept.head.seconds));
            // A best that is not on disk any more cannot be kept.
            run.best = kept.head.best.filter(|_| options.file("safetensors").exists());
        }
        run.crew.take(&run.optimiser);
        Ok(run)
    }

    fn used(&self) -> f64 {
        match self.options.budget {
            Budget::Steps(n) => self.step as f64 / n.max(1) as f64,
            Budget::Minutes(m) => {
                (self.before + self.since.elapsed()).as_secs_f64() / (60.0 * m.max(1e-3))
            }
        }
    }

    fn go(
        mut self,
        sets: &[StillSet],
        progress: &mut (impl FnMut(&Progress) + Send),
        cancel: &AtomicBool,
    ) -> Result<TrainReport, TrainError> {
        let mut cancelled = false;
        let views = self.views(sets, progress, cancel)?;
        // What was encoded ahead is no learning, also where it is cancelled: the budget begins here.
        self.since = Instant::now();
        let Some(views) = views else { return self.finish(true) };
        if views.as_ref().is_some_and(Views::is_empty) {
            return Err(DataError::Nothing { file: "the stills to learn from".into() }.into());
        }
        std::thread::scope(|scope| -> Result<(), TrainError> {
            let (orders, inbox) = mpsc::channel::<Plan>();
            let (ready, batches) = mpsc::sync_channel::<(Plan, Batch)>(AHEAD);
            scope.spawn(move || {
                for plan in inbox {
                    let batch = match &views {
                        Some(views) => views.draw(&plan),
                        None => plan.render(sets),
                    };
                    if ready.send((plan, batch)).is_err() {
                        break;
                    }
                }
            });
            let mut ordered = self.step;
            let mut tally = Tally::new();
            let mut saved = Instant::now();
            while self.used() < 1.0 {
                if cancel.load(Ordering::Relaxed) {
                    cancelled = true;
                    break;
                }
                // With a step budget the plans of steps ahead are known exactly; with minutes they lag by a step or two.
                while ordered < self.step + AHEAD as u64 {
                    let used = match self.options.budget {
                        Budget::Steps(n) => ordered as f64 / n.max(1) as f64,
                        Budget::Minutes(_) => self.used(),
                    };
                    if orders.send(self.options.plan(ordered, used)).is_err() {
                        break;
                    }
                    ordered += 1;
                }
                let Ok((plan, batch)) = batches.recv() else { break };
                self.one_step(&plan, batch, &mut tally)?;
                if self.step.is_multiple_of(self.options.validate_every.max(1)) {
                    self.validate(&mut tally)?;
                }
                if self.step.is_multiple_of(self.options.report_every.max(1)) {
                    let line = tally.line(self.step, self.used());
                    progress(&Progress { best_dice: self.best, ..line });
                    tally = tally.next();
                }
                if saved.elapsed().as_secs_f64() > 60.0 * self.options.save_every_min {
                    self.save()?;
                    saved = Instant::now();
                }
            }
            Ok(())
        })?;
        self.finish(cancelled)
    }

    /// The views of a frozen encoder, `Some(None)` where it learns; `None` when cancelled.
    fn views(
        &self,
        sets: &[StillSet],
        progress: &mut impl FnMut(&Progress),
        cancel: &AtomicBool,
    ) -> Result<Option<Option<Views>>, TrainError> {
        let Some(count) = self.options.frozen_views else { return Ok(Some(None)) };
        let ([_, side], seed) = (self.options.sides, self.options.seed);
        let stills: usize = sets.iter().map(|set| set.stills.len()).sum();
        let needed = Views::bytes(&self.options.card.network, stills, count.max(1), side);
        let free = Views::free_bytes(Threads::of(&self.device), self.options.gpu_free);
        if let Some(free) = free.filter(|free| needed > *free) {
            return Err(TrainError::Views { needed_mib: needed >> 20, free_mib: free >> 20 });
        }
        let mut told = Instant::now();
        let tell = |encoded| {
            if told.elapsed() >= TELL_EVERY {
                let line = Tally::new().line(self.step, self.used());
                progress(&Progress { encoded: Some(encoded), ..line });
                told = Instant::now();
            }
            !cancel.load(Ordering::Relaxed)
        };
        let (net, desk) = (self.crew.net(), self.crew.desk());
        Ok(Views::of(net, desk, sets, count.max(1), side, seed, tell).map(Some))
    }

    fn one_step(&mut self, plan: &Plan, batch: Batch, tally: &mut Tally) -> Result<(), TrainError> {
        let rate = self.options.rate_at(self.step, self.used());
        let taught = self.crew.teach(&self.optimiser, plan, batch);
        self.step += 1;
        let Some((grads, marks)) = taught else { return Ok(()) };
        let norm = match marks.loss.is_finite() {
            true => self.optimiser.step(&grads, rate),
            false => f32::NAN,
        };
        if !norm.is_finite() {
            return if tally.failed() { Err(TrainError::Diverged(self.step)) } else { Ok(()) };
        }
        self.crew.take(&self.optimiser);
        self.images += marks.images as u64;
        tally.add(plan, &marks, norm);
        Ok(())
    }

    fn save(&self) -> Result<(), TrainError> {
        let head = Standing {
            seed: self.options.seed,
            step: self.step,
            images: self.images,
            seconds: (self.before + self.since.elapsed()).as_secs_f64(),
            best: self.best,
            made_of: self.made_of.clone(),
        };
        Checkpoint::of(&self.optimiser, &head).write(&self.options.file("checkpoint"))?;
        if self.validation.is_none() {
            self.write_weights(&self.averaged()?)?;
        }
        Ok(())
    }

    /// The averaged network as safetensors.
    fn averaged(&self) -> Result<Vec<u8>, TrainError> {
        Ok(self.optimiser.write(self.crew.net().clone(), true).to_safetensors()?)
    }

    /// Weights of a run that goes on, with a card that fits whatever stands beside it: a run that is killed leaves a
    /// network that loads.
    fn write_weights(&self, bytes: &[u8]) -> Result<(), TrainError> {
        self.write_card("")?;
        Ok(checkpoint::write_atomically(&self.options.file("safetensors"), bytes)?)
    }

    /// The card of weights of that SHA-256; `""` pins none.
    fn write_card(&self, sha256: &str) -> Result<(), TrainError> {
        let mut card = self.options.card.clone();
        card.weights.file = format!("{}.safetensors", card.name);
        card.weights.sha256 = sha256.to_owned();
        card.weights.command.clone_from(&self.options.command);
        card.weights.seed = self.options.seed;
        card.weights.data = self.data.iter().cloned().collect();
        card.weights.program = format!("sonomark {}, recipe {RECIPE}", env!("CARGO_PKG_VERSION"));
        Ok(checkpoint::write_atomically(&self.options.file("yaml"), card.to_yaml().as_bytes())?)
    }

    /// Looks at the stills held back and writes the averaged weights where they are the best so far.
    fn validate(&mut self, tally: &mut Tally) -> Result<(), TrainError> {
        let Some(validation) = &self.validation else { return Ok(()) };
        let bytes = self.averaged()?;
        let dice = validation.dice(&self.options.card, &bytes, &self.device)?;
        tally.validation_dice = Some(dice);
        if self.best.is_none_or(|best| dice > best) {
            self.write_weights(&bytes)?;
            self.best = Some(dice);
            self.save()?;
        }
        Ok(())
    }

    fn finish(mut self, cancelled: bool) -> Result<TrainReport, TrainError> {
        // A person who cancels wants the best there is, not another look.
        if !(cancelled && self.best.is_some()) {
            self.validate(&mut Tally::new())?;
        }
        self.save()?;
        let weights = self.options.file("safetensors");
        let bytes = std::fs::read(&weights).map_err(|cause| CheckpointError::Io {
            file: shown(&weights.display().to_string()),
            cause: cause.to_string(),
        })?;
        let sha256 = sha256_hex(&bytes);
        self.write_card(&sha256)?;
        let (steps, images, validation_dice) = (self.step, self.images, self.best);
        let data = self.data;
        Ok(TrainReport { steps, images, cancelled, validation_dice, weights, sha256, data })
    }
}

/// The network before the first step, and what its weights are, in words.
///
/// Drawn on the CPU, whatever the devices are: each has a generator of its own, and what is drawn and never trained, the
/// matrix of positions, is in no checkpoint.
fn first_network(options: &TrainOptions) -> Result<(Sam2, String), WeightsError> {
    let device = cpu("").device.autodiff();
    device.seed(options.seed);
    let mut net = options.card.network.init(&device);
    let unhashed = WeightsOrigin { sha256: String::new(), ..options.card.weights.clone() };
    let start;
    if let Some(bytes) = &options.start {
        start = sha256_hex(bytes);
        net = net.load_bytes("the network to start from", bytes.clone(), &unhashed)?;
    } else if let Some(file) = &options.start_from {
        start = sha256_of_file(file).map_err(|cause| WeightsError::Unreadable {
            name: shown(&file.display().to_string()),
            cause: cause.to_string(),
        })?;
        net = net.load_file(file, &unhashed)?;
    } else {
        start = "random".to_owned();
        tie_projections(&mut net);
    }
    if options.frozen_views.is_some() {
        net.image_encoder = net.image_encoder.no_grad();
    }
    Ok((net, start))
}

/// Locality at the start: queries and keys of the cross attentions project alike, so that a point first looks at its own
/// place in the image. Without it boundary points take long to mean anything.
fn tie_projections(net: &mut Sam2) {
    const GAIN: f64 = 3.0;
    let transformer = &mut net.sam_mask_decoder.transformer;
    let mut attentions = vec![&mut transformer.final_attn_token_to_image];
    for layer in &mut transformer.layers {
        attentions.push(&mut layer.cross_attn_token_to_image);
        attentions.push(&mut layer.cross_attn_image_to_token);
    }
    for attention in attentions {
        let query = (attention.q_proj.weight.val() * GAIN).detach();
        for projection in [&mut attention.q_proj, &mut attention.k_proj] {
            projection.weight = projection.weight.clone().map(|_| query.clone().require_grad());
        }
    }
}
