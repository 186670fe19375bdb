//! `sonomark train`: a network from stills with masks, or a network fine-tuned on a person's own annotations.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::config::Settings;
use crate::domain::{counted, shown};
use crate::engine::{load_exact, read_card, shipped_card};
use crate::learn::agree::trusted;
use crate::learn::dataset::{DataSource, Veil};
use crate::learn::loss::{BoundaryTerm, ClickMass};
use crate::learn::own::{OwnStills, accepted_stills};
use crate::learn::{Budget, Progress, SIDE_LEAST, TrainError, TrainOptions, train, train_on};
use crate::net::budget;
use crate::net::config::{ModelCard, WeightsOrigin};
use crate::net::device::{DeviceError, DeviceWant, Picked};
use crate::net::weights::{sha256_hex, sha256_of_file};

use super::devices::{in_timed_parts, no_device, on_device, opened};
use super::headless::with_folder;
use super::{Done, Failure, STILLS, clip_options, interrupt_flag, path_shown, tell};

/// Peak learning rate where a trained network goes on: it must not forget.
const FINE_RATE: f32 = 2e-4;
/// Stills of a step without an encoder.
const FINE_BATCH: usize = 8;

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[arg(
        long,
        required_unless_present = "from",
        value_name = "DIR",
        help = format!("{STILLS} [without LIST or SPLIT: train.txt where there is one, the split train]")
    )]
    data: Vec<String>,
    /// Go on from this network (its card, or the name of one): without --data on the accepted frames of --project
    #[arg(long, value_name = "CARD", conflicts_with = "start_from")]
    from: Option<PathBuf>,
    /// Where the clips of the project lie: clips or folders of clips; repeat for more
    #[arg(long, value_name = "PATH", requires = "from")]
    clips: Vec<PathBuf>,
    /// Name of the network that --from becomes [default: its name and -own]
    #[arg(long, requires = "from")]
    name: Option<String>,
    /// With --from: the encoder learns too, which costs several times as much
    #[arg(long, requires = "from")]
    learn_encoder: bool,
    /// With --from: how often each still is varied and encoded ahead
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    views: u16,
    /// Stills that tell which weights are best and are never learned from; repeat for more [default: val.txt of the
    /// --data folders, the split val of manifests]
    #[arg(long, value_name = "DIR")]
    val: Vec<String>,
    /// Where NAME.safetensors, NAME.yaml and NAME.checkpoint go
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Go on from the checkpoint in --out
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Begin anew although --out holds a checkpoint of that name
    #[arg(long)]
    overwrite: bool,
    /// Wall clock of all sessions together
    #[arg(long, default_value_t = 60.0, conflicts_with = "steps")]
    minutes: f64,
    /// Steps instead of minutes: the same on every machine
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// Seed of weights, images and clicks
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Weights to start from instead of random ones
    #[arg(long, value_name = "FILE.safetensors")]
    start_from: Option<PathBuf>,
    /// Worker threads of the CPU; each takes a share of every step
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Several GPUs, each taking a share of every step: their numbers as `sonomark doctor` lists them (0,1), or names as
    /// in --device; instead of --device
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    devices: Vec<String>,
    /// Peak learning rate [default: 0.001, with --from 0.0002]
    #[arg(long)]
    rate: Option<f32>,
    /// How the boundary loss (Eq. 1 of the method) is read
    #[arg(long, value_enum, default_value = "ridge")]
    boundary_loss: BoundaryLoss,
    /// How its clicks weigh
    #[arg(long, value_enum, default_value = "unit")]
    click_mass: ClickWeight,
    /// Its weight
    #[arg(long, default_value_t = 2.0)]
    lambda: f64,
    /// Part of the budget after which the large input is used, 0 to 1
    #[arg(long, default_value_t = 0.6, value_name = "PART")]
    switch_at: f64,
    /// Part of the budget before which no clip is shown, 0 to 1
    #[arg(long, default_value_t = 0.35, value_name = "PART")]
    clips_from: f64,
    /// Share of steps that teach clips after that, 0 to 1
    #[arg(long, default_value_t = 0.25, value_name = "SHARE")]
    clip_share: f32,
    /// Share of the steps on clips whose prompted frames get clicks, and corrections by clicks, instead of masks, 0 to 1
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    clip_clicks: f32,
    /// Frames of a clip that is taught
    #[arg(long, default_value_t = 6, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=8))]
    clip_frames: u8,
    /// Steps between looks at the stills held back
    #[arg(long, default_value_t = 300, value_name = "STEPS", value_parser = clap::value_parser!(u64).range(1..))]
    validate_every: u64,
}

/// How Eq. 1 is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BoundaryLoss {
    /// Highest where the blurred mask is one half
    Ridge,
    /// The slope of the blurred mask
    Gradient,
    /// The blurred mask itself, as printed
    Literal,
    /// The blurred mask over its largest value
    LiteralMax,
    /// None
    Off,
}

/// How the clicks of Eq. 1 weigh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ClickWeight {
    /// All clicks of a mask together weigh 1
    Unit,
    /// Every click has height 1, as printed
    Each,
}

/// What learns, and from what it starts.
struct Start {
    card: ModelCard,
    /// Weights as the bytes of a safetensors file; `None` starts from random ones or a file.
    weights: Option<Vec<u8>>,
}

/// Random weights (or those of --start-from) for the card of the global `--card`, or the network of `--from`; the new card
/// says what it is, not what the old one was.
fn start(settings: &Settings, options: &Options, picked: &Picked) -> Result<Start, Failure> {
    let taught = taught(options);
    let Some(from) = &options.from else {
        let card = match settings.card.value.as_deref() {
            Some(path) => read_card(path),
            None => shipped_card(),
        };
        let mut card = card.map_err(|error| Failure::Configuration(error.to_string()))?;
        let lineage = lineage_of(options.start_from.as_deref())?;
        let licence = std::mem::take(&mut card.weights.licence);
        card.weights = WeightsOrigin { licence, lineage, ..WeightsOrigin::default() };
        card.description = format!("trained on {taught}");
        card.scores.clear();
        return Ok(Start { card, weights: None });
    };
    let mut asked = settings.clone();
    asked.card.value = Some(from.clone());
    let asked = super::with_card_found(asked)?;
    let loaded = load_exact(asked.card.value.as_deref(), picked);
    let (mut card, net) = loaded.map_err(|error| Failure::Configuration(error.to_string()))?;
    let weights = net.to_safetensors().map_err(Failure::ours)?;
    let parent = &card.weights;
    let hash = match parent.sha256.as_str() {
        "" => sha256_hex(&weights),
        pinned => pinned.to_owned(),
    };
    let before = match parent.lineage.as_str() {
        "" => String::new(),
        older => format!("; that one: {older}"),
    };
    card.weights.lineage = format!("{}, SHA-256 {hash}{before}", card.name);
    card.name = options.name.clone().unwrap_or_else(|| format!("{}-own", card.name));
    card.description = format!("fine-tuned on {taught}");
    // What the parent scored says nothing of its child.
    card.scores.clear();
    Ok(Start { card, weights: Some(weights) })
}

/// What is learned from, in words.
fn taught(options: &Options) -> String {
    match options.data.is_empty() {
        true => "own annotations".into(),
        false => {
            let names = options.data.iter().map(|text| DataSource::parse(text).learned().0.name());
            names.collect::<Vec<_>>().join(", ")
        }
    }
}

/// The first weights, in words.
fn lineage_of(start_from: Option<&Path>) -> Result<String, Failure> {
    let Some(file) = start_from else { return Ok("random weights".into()) };
    let hash = sha256_of_file(file).map_err(|cause| {
        Failure::Input(format!("cannot read {}: {cause}; check --start-from", path_shown(file)))
    })?;
    let name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into());
    Ok(format!("{}, SHA-256 {hash}", shown(&name)))
}

/// Refuses numbers that mean nothing.
fn sound(options: &Options) -> Done {
    if !options.minutes.is_finite() || options.minutes <= 0.0 {
        return Err(Failure::Input("--minutes must be above 0".into()));
    }
    for (flag, part) in [
        ("--switch-at", options.switch_at),
        ("--clips-from", options.clips_from),
        ("--clip-share", f64::from(options.clip_share)),
        ("--clip-clicks", f64::from(options.clip_clicks)),
    ] {
        if !(0.0..=1.0).contains(&part) {
            return Err(Failure::Input(format!("{flag} must be from 0 to 1")));
        }
    }
    if options.threads == 0 {
        return Err(Failure::Input("--threads must be 1 or more".into()));
    }
    if options.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
        return Err(Failure::Input("--rate must be above 0".into()));
    }
    if !options.lambda.is_finite() || options.lambda < 0.0 {
        return Err(Failure::Input("--lambda must be 0 or more".into()));
    }
    let plain =
        |name: &String| !name.is_empty() && !name.contains(['/', '\\']) && !name.starts_with('.');
    if options.name.as_ref().is_some_and(|name| !plain(name)) {
        return Err(Failure::Input("--name must be a plain file name".into()));
    }
    Ok(())
}

/// The run that the options describe.
fn planned(start: Start, options: &Options, veil: &Veil) -> TrainOptions {
    let parse = |text: &String| DataSource::parse(text).behind(veil);
    let (sources, beside): (Vec<_>, Vec<_>) =
        options.data.iter().map(|text| parse(text).learned()).unzip();
    let held_back = match options.val.is_empty() {
        true => beside.into_iter().flatten().collect(),
        false => options.val.iter().map(|text| parse(text).judged()).collect(),
    };
    let budget = options.steps.map_or(Budget::Minutes(options.minutes), Budget::Steps);
    let side = start.card.network.image_size;
    let fine_tuned = start.weights.is_some();
    let mut plan = TrainOptions::new(sources, start.card, options.out.clone(), budget);
    plan.sides = [(side / 2).max(SIDE_LEAST), side];
    plan.held_back = held_back;
    plan.resume = options.resume;
    plan.overwrite = options.overwrite;
    plan.start_from.clone_from(&options.start_from);
    plan.start = start.weights;
    plan.seed = options.seed;
    plan.threads = options.threads;
    plan.rate = options.rate.unwrap_or(if fine_tuned { FINE_RATE } else { plan.rate });
    plan.switch_at = options.switch_at;
    plan.clips_from = options.clips_from;
    plan.clip_share = options.clip_share;
    plan.clip_clicks = options.clip_clicks;
    plan.clip_frames = usize::from(options.clip_frames);
    plan.validate_every = options.validate_every;
    if fine_tuned && !options.learn_encoder {
        plan.frozen_views = Some(usize::from(options.views));
        // Only stills are encoded ahead, at one size.
        (plan.sides, plan.batches, plan.clip_share) = ([side; 2], [FINE_BATCH; 2], 0.0);
    }
    plan.with_boundary(boundary_term(options));
    // What a reader needs to repeat it; paths of this machine are theirs to know.
    plan.command =
        std::env::args().skip(1).fold("sonomark".into(), |all, word| format!("{all} {word}"));
    plan
}

/// Refuses images that are learned from and held back at once: the figure by which the best weights are chosen would say
/// nothing.
fn apart(learned: &BTreeSet<PathBuf>, held_back: &[DataSource]) -> Done {
    for source in held_back {
        if let Some(shared) = source.images().intersection(learned).next() {
            return Err(Failure::Input(format!(
                "{} is learned from and held back by {}; name lists or splits that share no image",
                path_shown(shared),
                source.name()
            )));
        }
    }
    Ok(())
}

/// Eq. 1 as the options say.
fn boundary_term(options: &Options) -> BoundaryTerm {
    let name = options.boundary_loss.to_possible_value();
    let name = name.as_ref().map_or("", |value| value.get_name());
    let term = BoundaryTerm::named(name).unwrap_or_default();
    let lambda = if term.lambda > 0.0 { options.lambda } else { 0.0 };
    let mass = match options.click_mass {
        ClickWeight::Unit => ClickMass::Unit,
        ClickWeight::Each => ClickMass::Amp1,
    };
    BoundaryTerm { mass, lambda, ..term }
}

/// The devices of `--devices`, or the one of the settings.
fn devices(settings: &Settings, options: &Options) -> Result<Vec<Picked>, Failure> {
    let wanted = match &options.devices[..] {
        [] => vec![settings.device.value.parse::<DeviceWant>()],
        names => names.iter().map(|name| numbered(name.trim())).collect(),
    };
    wanted.into_iter().map(|want| want.map_err(no_device).and_then(opened)).collect()
}

/// A device by its name or, for a GPU, by its number alone.
fn numbered(name: &str) -> Result<DeviceWant, DeviceError> {
    name.parse::<usize>().map_or_else(|_| name.parse(), |index| Ok(DeviceWant::Gpu(Some(index))))
}

/// Runs it. The card comes from the global `--card`, own annotations from the global `--project`.
pub(super) fn run(settings: &Settings, options: &Options) -> Done {
    sound(options)?;
    let all = devices(settings, options)?;
    let picked = &all[0];
    let start = in_timed_parts(picked.gpu, |_| start(settings, options, picked))?;
    let own = match options.data.is_empty() {
        true => Some(own_stills(settings, options)?),
        false => None,
    };
    with_folder(&options.out, || trained(settings, options, &all, start, own))
}

/// Learns on `all` devices what the options say.
fn trained(
    settings: &Settings,
    options: &Options,
    all: &[Picked],
    start: Start,
    own: Option<OwnStills>,
) -> Done {
    let picked = &all[0];
    for picked in all {
        tell(&format!("device: {}", picked.description));
        if picked.gpu {
            let weights = start.weights.as_deref();
            let found = in_timed_parts(true, |_| {
                on_device(picked, || {
                    trusted(&start.card, weights, &picked.device).map_err(Failure::ours)
                })
            });
            tell(&found?);
        }
    }
    let shares = match all {
        [one] => one.shares(options.threads),
        several => several.iter().map(|picked| picked.device.clone()).collect(),
    };
    // What is hidden from people's eyes is not learned from.
    let veil = Veil::of(&clip_options(settings), &settings.project.value);
    let mut plan = planned(start, options, &veil);
    if plan.frozen_views.is_some() {
        plan.gpu_free = picked.gpu_memory().map(|memory| {
            let needs = budget::Budget::of(&plan.card.network).on_gpu();
            memory.free().saturating_sub(needs.weights + needs.work)
        });
    }
    let learned = match &own {
        Some(own) => own.images.clone(),
        None => plan.sources.iter().flat_map(DataSource::images).collect(),
    };
    apart(&learned, &plan.held_back)?;
    let cancel = interrupt_flag()?;
    let progress = |progress: &Progress| tell(&progress.to_string());
    let report = on_device(picked, || {
        Ok(match own {
            Some(own) => train_on(&[own.set], &plan, &shares, progress, &cancel),
            None => train(&plan, &shares, progress, &cancel),
        })
    })?;
    let report = report.map_err(|error| match error {
        TrainError::Diverged(_) => Failure::ours(error),
        other => Failure::input(other),
    })?;
    let dice = report
        .validation_dice
        .map_or_else(String::new, |dice| format!(", Dice {dice:.4} on the stills held back"));
    tell(&format!(
        "{}, {}{dice}, {} (SHA-256 {})",
        counted(report.steps, "step"),
        counted(report.images, "image"),
        path_shown(&report.weights),
        report.sha256
    ));
    if report.cancelled {
        return Err(Failure::Interrupted(
            "interrupted; --resume goes on from the checkpoint".into(),
        ));
    }
    Ok(())
}

/// The accepted frames of the project.
fn own_stills(settings: &Settings, options: &Options) -> Result<OwnStills, Failure> {
    let project = &settings.project.value;
    let own = accepted_stills(project, &options.clips, &clip_options(settings))
        .map_err(Failure::input)?;
    own.notes.iter().for_each(|note| tell(note));
    let (stills, structures) = (own.set.stills.len(), own.set.objects());
    tell(&format!(
        "{} on {} of {}",
        counted(structures, "accepted mask"),
        counted(stills, "frame"),
        counted(own.clips, "clip")
    ));
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn readings_of_eq_1_have_the_names_of_studies() {
        let names: Vec<String> = BoundaryLoss::value_variants()
            .iter()
            .filter_map(|value| Some(value.to_possible_value()?.get_name().to_owned()))
            .collect();
        assert_eq!(names, BoundaryTerm::NAMES);
        for name in BoundaryTerm::NAMES {
            let words = ["train", "--data", "x", "--out", "y", "--boundary-loss", name];
            let line = <Line as clap::Parser>::parse_from(words);
            assert_eq!(Some(boundary_term(&line.options)), BoundaryTerm::named(name));
        }
    }

    #[test]
    fn no_thread_trains_nothing() {
        let words = ["train", "--data", "x", "--out", "y", "--threads"];
        for (threads, fine) in [("0", false), ("1", true)] {
            let line = <Line as clap::Parser>::parse_from(words.into_iter().chain([threads]));
            assert_eq!(sound(&line.options).is_ok(), fine, "{threads}");
        }
    }

    #[test]
    fn inputs_are_as_large_as_the_card_says() {
        let line = <Line as clap::Parser>::parse_from(["train", "--data", "x", "--out", "y"]);
        let mut card = shipped_card().expect("the shipped card");
        for (size, sides) in [(512, [256, 512]), (256, [128, 256]), (64, [64, 64])] {
            card.network.image_size = size;
            let start = Start { card: card.clone(), weights: None };
            assert_eq!(planned(start, &line.options, &Veil::default()).sides, sides);
        }
    }
}
