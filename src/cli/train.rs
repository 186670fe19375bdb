//! `sonomark train`: a network from stills with masks.

use std::path::PathBuf;

use clap::Args;

use crate::config::Settings;
use crate::engine::{read_card, shipped_card};
use crate::learn::dataset::DataSource;
use crate::learn::{Budget, TrainError, TrainOptions, train};
use crate::net::device::{DeviceWant, pick};

use super::{Done, Failure, interrupt_flag, path_shown, tell};

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Folder of NAME.png and NAME.mask.png, or FOLDER:LIST.txt for the stems of a list; repeat for more
    #[arg(long, required = true, value_name = "DIR")]
    data: Vec<String>,
    /// Where NAME.safetensors, NAME.yaml and NAME.checkpoint go
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Go on from the checkpoint in --out
    #[arg(long)]
    resume: bool,
    /// Wall clock of all sessions together
    #[arg(long, default_value_t = 60.0, conflicts_with = "steps")]
    minutes: f64,
    /// Steps instead of minutes: the same on every machine
    #[arg(long)]
    steps: Option<u64>,
    /// Seed of weights, images and clicks
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Weights to start from instead of random ones
    #[arg(long, value_name = "FILE.safetensors")]
    start_from: Option<PathBuf>,
    /// Worker threads of the CPU
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// Runs it. The card comes from the global `--card`.
pub(super) fn run(settings: &Settings, options: &Options) -> Done {
    let card = match settings.card.value.as_deref() {
        Some(path) => read_card(path),
        None => shipped_card(),
    };
    let card = card.map_err(|error| Failure::Configuration(error.to_string()))?;
    let want: DeviceWant =
        settings.device.value.parse().map_err(|e| Failure::Configuration(format!("{e}")))?;
    let picked = pick(want).map_err(|error| Failure::Configuration(error.to_string()))?;
    if !options.minutes.is_finite() || options.minutes <= 0.0 {
        return Err(Failure::Input("--minutes must be above 0".into()));
    }
    let sources: Vec<DataSource> =
        options.data.iter().map(|text| DataSource::parse(text)).collect();
    let budget = options.steps.map_or(Budget::Minutes(options.minutes), Budget::Steps);
    super::headless::make_folder(&options.out)?;
    let mut plan = TrainOptions::new(sources, card, options.out.clone(), budget);
    plan.resume = options.resume;
    plan.start_from.clone_from(&options.start_from);
    plan.seed = options.seed;
    plan.threads = options.threads;
    // What a reader needs to repeat it; paths of this machine are theirs to know.
    plan.command =
        std::env::args().skip(1).fold("sonomark".into(), |all, word| format!("{all} {word}"));
    tell(&format!("device: {}", picked.description));
    let cancel = interrupt_flag()?;
    let report = train(&plan, &picked.device, |progress| tell(&progress.to_string()), &cancel)
        .map_err(|error| match error {
            TrainError::Diverged(_) => Failure::ours(error),
            other => Failure::input(other),
        })?;
    tell(&format!(
        "{} steps, {} images, {} (SHA-256 {})",
        report.steps,
        report.images,
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
