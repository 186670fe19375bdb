//! `sonomark evaluate`: a network against a simulated annotator, the one that trains it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::config::Settings;
use crate::domain::counted;
use crate::engine::load_network;
use crate::learn::baselines::Baseline;
use crate::learn::dataset::{DataSource, Veil};
use crate::learn::evaluate::{ClickOptions, EvalError, Judged, Placing, evaluate_clicks};
use crate::learn::evaluate_video::{Tracking, VideoOptions, evaluate_video};
use crate::net::config::ModelCard;
use crate::net::device::Picked;
use crate::net::predict::PredictOptions;
use crate::net::sam2::Sam2;

use super::devices::{device_of, in_timed_parts, on_device};
use super::headless::{check_json, write_json};
use super::{Done, Failure, STILLS, clip_options, interrupt_flag, print, tell};

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Overlap after 1, 2, ... clicks on stills
    Clicks(Clicks),
    /// Overlap after propagation and corrections on clips with masks
    Video(Video),
}

/// What the annotator places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Prompted {
    Boundary,
    Region,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Judge {
    /// The network of the card
    Network,
    /// An ellipse, then a spline through the points; never looks at the image
    Curve,
    /// A circle, then a spline; never looks at the image
    Spline,
    /// Straight lines between the points; never looks at the image
    Polygon,
    /// The path along edges near the curve that passes through the points
    Geodesic,
}

/// What both ways of judging take.
#[derive(Debug, Args)]
struct Judging {
    /// Standard deviation of every click, px of the image
    #[arg(long, default_value_t = 0.0, value_name = "SD")]
    noise_px: f32,
    /// Seed of first clicks and noise
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Judge only so many structures, of clicks in each folder
    #[arg(long)]
    limit: Option<usize>,
    /// Also write the numbers here
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Clicks {
    #[arg(
        long,
        required = true,
        value_name = "DIR",
        help = format!("{STILLS} [without LIST or SPLIT: val.txt where there is one, the split val]")
    )]
    data: Vec<String>,
    /// List of file stems; a name inside each --data folder, or a path; of manifests a split
    #[arg(long, value_name = "FILE")]
    split: Option<PathBuf>,
    /// What the annotator places
    #[arg(long, value_enum, default_value = "boundary")]
    prompt: Prompted,
    /// Clicks of the table, up to 20
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=20))]
    clicks: u8,
    /// Who answers the clicks
    #[arg(long, value_enum, default_value = "network")]
    judge: Judge,
    /// Leave the last step out, which draws the contour through the boundary points
    #[arg(long)]
    no_contour_step: bool,
    #[command(flatten)]
    judging: Judging,
}

#[derive(Debug, Args)]
struct Video {
    /// Folder of clip folders with windows.yaml, or a manifest of clips and volumes, or MANIFEST:SPLIT [without SPLIT: val
    /// where there is one]
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Propagations per structure: one, and one after each correction
    #[arg(long, default_value_t = 8)]
    rounds: usize,
    /// Follow by memory alone, as SAM 2 does
    #[arg(long)]
    no_motion: bool,
    /// Give prompted frames their true mask instead of one from five points
    #[arg(long)]
    exact: bool,
    /// How much of the network's correction of a carried contour is taken, 0 to 1
    #[arg(long, value_name = "SHARE")]
    correction: Option<f32>,
    /// Tell no windows: the object score decides, as in SAM 2
    #[arg(long)]
    no_windows: bool,
    #[command(flatten)]
    judging: Judging,
}

/// Runs it. The card comes from the global `--card`.
pub(super) fn run(settings: &Settings, options: &Options) -> Done {
    match &options.what {
        What::Clicks(options) => clicks(settings, options),
        What::Video(options) => video(settings, options),
    }
}

fn network(settings: &Settings) -> Result<(ModelCard, Sam2, Picked), Failure> {
    let picked = device_of(settings)?;
    let (card, sam) = in_timed_parts(picked.gpu, |_| {
        load_network(settings.card.value.as_deref(), &picked)
            .map_err(|error| Failure::Configuration(error.to_string()))
    })?;
    tell(&format!("{} on {}", card.name, picked.description));
    Ok((card, sam, picked))
}

fn sources(settings: &Settings, options: &Clicks) -> Vec<DataSource> {
    let veil = Veil::of(&clip_options(settings), &settings.project.value);
    let source = |text: &String| {
        let source = DataSource::parse(text).behind(&veil);
        let Some(split) = &options.split else { return source.judged() };
        let list = match source.is_manifest() {
            true => split.to_string_lossy().trim_end_matches(".txt").to_owned(),
            false => list_in(&source.dir, split),
        };
        DataSource { list: Some(list), ..source }
    };
    options.data.iter().map(source).collect()
}

/// A list beside the images by its name; another one by its absolute path.
fn list_in(dir: &Path, split: &Path) -> String {
    let outside = !dir.join(split).is_file() && split.is_file();
    let path = if outside {
        std::path::absolute(split).unwrap_or_else(|_| split.to_owned())
    } else {
        split.to_owned()
    };
    path.to_string_lossy().into_owned()
}

fn clicks(settings: &Settings, options: &Clicks) -> Done {
    check_json(options.judging.json.as_deref())?;
    let mut plan = ClickOptions::new(sources(settings, options));
    plan.placing = match options.prompt {
        Prompted::Boundary => Placing::Boundary,
        Prompted::Region => Placing::Region,
    };
    plan.points = usize::from(options.clicks);
    plan.noise_px = noise(options.judging.noise_px)?;
    plan.seed = options.judging.seed;
    plan.limit = limit(options.judging.limit)?;
    if options.judge != Judge::Network && plan.placing == Placing::Region {
        return Err(Failure::Input(
            "everything but the network needs boundary points; leave --prompt region out".into(),
        ));
    }
    let cancel = interrupt_flag()?;
    let begun = Instant::now();
    let baseline = |name: &str, which: Baseline| {
        (name.to_owned(), evaluate_clicks(&Judged::Baseline(which), &plan, &cancel))
    };
    let (name, report) = match options.judge {
        Judge::Network => {
            let (card, sam, picked) = network(settings)?;
            let judged = Judged::Network {
                sam: &sam,
                preprocess: &card.preprocess,
                device: &picked.device,
                options: PredictOptions {
                    snap: !options.no_contour_step,
                    ..PredictOptions::default()
                },
            };
            let report = on_device(&picked, || Ok(evaluate_clicks(&judged, &plan, &cancel)))?;
            (card.name.clone(), report)
        }
        Judge::Curve => baseline("curve", Baseline::Curve),
        Judge::Spline => baseline("spline", Baseline::Spline),
        Judge::Polygon => baseline("polygon", Baseline::Polygon),
        Judge::Geodesic => baseline("geodesic", Baseline::Geodesic),
    };
    let report = report.map_err(failure)?;
    for (set, table) in &report {
        let row: Vec<String> =
            table.points.iter().map(|(n, score)| format!("{n}: {:.3}", score.dice)).collect();
        print(&format!(
            "{set} ({})  Dice at {}",
            counted(table.objects, "structure"),
            row.join("  ")
        ));
        print(&format!(
            "  clicks to IoU .85: {:.2} ({:.0} % never)  to .90: {:.2} ({:.0} % never)",
            table.noc85,
            100.0 * table.fail85,
            table.noc90,
            100.0 * table.fail90
        ));
    }
    let prompt = match options.prompt {
        Prompted::Boundary => "boundary",
        Prompted::Region => "region",
    };
    // The numbers of the one folder, or the mean of several, stand on top; each folder below.
    let whole = if report.len() == 2 {
        report.iter().find(|(set, _)| *set != "mean").map(|(_, table)| table)
    } else {
        report.get("mean")
    };
    let about = json!({
        "judged": name, "prompt": prompt, "noise_px": options.judging.noise_px, "seed": options.judging.seed,
        "seconds": begun.elapsed().as_secs_f64(), "sets": report,
    });
    finish(options.judging.json.as_deref(), &with(json!(whole), about))
}

/// The fields of `about` beside those of `report`.
fn with(mut report: Value, about: Value) -> Value {
    if let (Some(fields), Value::Object(more)) = (report.as_object_mut(), about) {
        fields.extend(more);
    }
    report
}

fn video(settings: &Settings, options: &Video) -> Done {
    check_json(options.judging.json.as_deref())?;
    if !(1..=50).contains(&options.rounds) {
        return Err(Failure::Input("--rounds must be from 1 to 50".into()));
    }
    let mut plan = VideoOptions::new(&options.data);
    plan.veil = Veil::of(&clip_options(settings), &settings.project.value);
    plan.noise_px = noise(options.judging.noise_px)?;
    plan.seed = options.judging.seed;
    plan.rounds = options.rounds;
    if let Some(share) = options.correction {
        if !(0.0..=1.0).contains(&share) {
            let told = format!("--correction is {share}; give a share from 0 to 1");
            return Err(Failure::Input(told));
        }
        plan.follow.correction = share;
    }
    plan.windowed = !options.no_windows;
    plan.exact = options.exact;
    plan.limit = limit(options.judging.limit)?;
    let cancel = interrupt_flag()?;
    let (card, sam, picked) = network(settings)?;
    plan.follow.motion = card.tracking.motion && !options.no_motion;
    let begun = Instant::now();
    let tracking = Tracking { sam: &sam, preprocess: &card.preprocess, device: &picked.device };
    let report = on_device(&picked, || evaluate_video(tracking, &plan, &cancel).map_err(failure))?;
    let rounds: Vec<String> =
        report.rounds.iter().map(|score| format!("{:.3}", score.iou)).collect();
    print(&format!(
        "{}  IoU after each propagation: {}",
        counted(report.objects, "structure"),
        rounds.join("  ")
    ));
    print(&format!("frames prompted by the annotator: {:.2}", report.prompted_frames));
    let about = json!({
        "judged": card.name, "noise_px": options.judging.noise_px, "seed": options.judging.seed,
        "motion": plan.follow.motion, "correction": plan.follow.correction,
        "windowed": plan.windowed, "seconds": begun.elapsed().as_secs_f64(),
    });
    finish(options.judging.json.as_deref(), &with(json!(report), about))
}

fn noise(sd: f32) -> Result<f32, Failure> {
    let fine = sd.is_finite() && sd >= 0.0;
    fine.then_some(sd).ok_or_else(|| Failure::Input("--noise-px must be 0 or more".into()))
}

/// Of no structure there is no overlap to tell.
fn limit(most: Option<usize>) -> Result<Option<usize>, Failure> {
    if most == Some(0) {
        let told = "--limit is 0; give 1 or more, or leave it out to judge all structures";
        return Err(Failure::Input(told.into()));
    }
    Ok(most)
}

fn failure(error: EvalError) -> Failure {
    match error {
        EvalError::Cancelled => Failure::Interrupted("interrupted; nothing was written".into()),
        EvalError::Network(_) => Failure::ours(error),
        EvalError::Data(_) => Failure::input(error),
    }
}

fn finish(path: Option<&Path>, report: &Value) -> Done {
    path.map_or(Ok(()), |path| write_json(path, report))
}
