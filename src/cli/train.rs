//! `sonomark train`: a network from stills with masks.

use std::path::PathBuf;

use clap::Args;

use crate::config::Settings;
use crate::engine::{read_card, shipped_card};
use crate::learn::data::manifest::Manifest;
use crate::learn::dataset::DataSource;
use crate::learn::{Budget, TrainError, TrainOptions, train};
use crate::net::device::{DeviceWant, pick};

use super::{Done, Failure, interrupt_flag, path_shown, tell};

const TRAIN_LIST: &str = "train.txt";
const VAL_LIST: &str = "val.txt";

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Folder of NAME.png and NAME.mask.png, or FOLDER:LIST.txt for the stems of a list (train.txt where there is
    /// one), or a manifest, or MANIFEST:SPLIT (train); repeat for more
    #[arg(long, required = true, value_name = "DIR")]
    data: Vec<String>,
    /// Stills that tell which weights are best and are never learned from; repeat for more [default: val.txt of the
    /// --data folders, the split val of manifests]
    #[arg(long, value_name = "DIR")]
    val: Vec<String>,
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
    /// Peak learning rate
    #[arg(long, default_value_t = 1e-3)]
    rate: f32,
    /// Part of the budget after which the large input is used, 0 to 1
    #[arg(long, default_value_t = 0.6, value_name = "PART")]
    switch_at: f64,
    /// Part of the budget before which no clip is shown, 0 to 1
    #[arg(long, default_value_t = 0.35, value_name = "PART")]
    clips_from: f64,
    /// Share of steps that teach clips after that, 0 to 1
    #[arg(long, default_value_t = 0.25, value_name = "SHARE")]
    clip_share: f32,
    /// Steps between looks at the stills held back
    #[arg(long, default_value_t = 300, value_name = "STEPS")]
    validate_every: u64,
}

/// The stills of `text` to learn from, and those beside them that are held back. A folder with lists says itself what
/// is for training: nothing else of it is learned from.
fn split(text: &str) -> (DataSource, Option<DataSource>) {
    let mut learned = DataSource::parse(text);
    if learned.is_manifest() {
        let list = |split: &str| DataSource { list: Some(split.into()), ..learned.clone() };
        if learned.list.as_deref().is_some_and(|split| split != "train") {
            return (learned, None);
        }
        let held_back =
            Manifest::read(&learned.dir).is_ok_and(|m| m.of(Some("val")).next().is_some());
        return (list("train"), held_back.then(|| list("val")));
    }
    if learned.list.is_none() && learned.dir.join(TRAIN_LIST).is_file() {
        learned.list = Some(TRAIN_LIST.into());
    }
    let lists = learned.list.as_deref() == Some(TRAIN_LIST);
    let held_back = (lists && learned.dir.join(VAL_LIST).is_file())
        .then(|| DataSource { list: Some(VAL_LIST.into()), ..learned.clone() });
    (learned, held_back)
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
    for (flag, part) in [
        ("--switch-at", options.switch_at),
        ("--clips-from", options.clips_from),
        ("--clip-share", f64::from(options.clip_share)),
    ] {
        if !(0.0..=1.0).contains(&part) {
            return Err(Failure::Input(format!("{flag} must be from 0 to 1")));
        }
    }
    if !options.rate.is_finite() || options.rate <= 0.0 {
        return Err(Failure::Input("--rate must be above 0".into()));
    }
    let (sources, beside): (Vec<_>, Vec<_>) = options.data.iter().map(|text| split(text)).unzip();
    let held_back = match options.val.is_empty() {
        true => beside.into_iter().flatten().collect(),
        false => options.val.iter().map(|text| DataSource::parse(text)).collect(),
    };
    let budget = options.steps.map_or(Budget::Minutes(options.minutes), Budget::Steps);
    super::headless::make_folder(&options.out)?;
    let mut plan = TrainOptions::new(sources, card, options.out.clone(), budget);
    plan.held_back = held_back;
    plan.resume = options.resume;
    plan.start_from.clone_from(&options.start_from);
    plan.seed = options.seed;
    plan.threads = options.threads;
    plan.rate = options.rate;
    plan.switch_at = options.switch_at;
    plan.clips_from = options.clips_from;
    plan.clip_share = options.clip_share;
    plan.validate_every = options.validate_every;
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
    let dice = report
        .validation_dice
        .map_or_else(String::new, |dice| format!(", Dice {dice:.4} on the stills held back"));
    tell(&format!(
        "{} steps, {} images{dice}, {} (SHA-256 {})",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_lists_is_learned_from_by_its_train_list_alone() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let text = dir.path().to_string_lossy().into_owned();
        assert_eq!(split(&text), (DataSource::parse(&text), None));
        for list in [TRAIN_LIST, VAL_LIST] {
            std::fs::write(dir.path().join(list), "a\n").expect("a list");
        }
        let listed = |list: &str| DataSource::parse(&format!("{text}:{list}"));
        let both = (listed(TRAIN_LIST), Some(listed(VAL_LIST)));
        assert_eq!(split(&text), both);
        assert_eq!(split(&format!("{text}:{TRAIN_LIST}")), both);
        // A manifest says the same of itself.
        let manifest = dir.path().join("m.yaml");
        let item = |split: &str| format!("  - {{image: a, mask: b, split: {split}}}\n");
        std::fs::write(&manifest, format!("name: m\nitems:\n{}{}", item("train"), item("val")))
            .expect("a manifest");
        let words = manifest.to_string_lossy();
        let of = |split: &str| DataSource::parse(&format!("{words}:{split}"));
        assert_eq!(split(&words), (of("train"), Some(of("val"))));
        assert_eq!(split(&format!("{words}:test")), (of("test"), None));
        // Whoever names another list knows better.
        assert_eq!(split(&format!("{text}:{VAL_LIST}")), (listed(VAL_LIST), None));
    }
}
