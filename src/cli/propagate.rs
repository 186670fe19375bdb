//! `sonomark propagate`: prompts from a file through the windows of a clip.
//!
//! What decides whether this file is right: whoever reads the folder of masks can take none of an earlier run for one of
//! the last, however that one ended. Masks of an earlier run are taken away before the first new one is written; what this
//! program did not make is never taken away.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use serde_json::Value;

use crate::codec::Clip;
use crate::codec::part::sweep_below;
use crate::config::Settings;
use crate::domain::{Track, counted, shown};
use crate::engine::{Ended, Segmenter};
use crate::export::is_own_mask;

use super::deciding::decide_tracks;
use super::devices::{load_on_cpu, load_timed, or_on_the_cpu};
use super::headless::{
    REPORT, TrackReport, is_mask_path, is_own_report, make_folder, mask_path, report_json,
    with_folder, write_absent, write_json, write_mask_of,
};
use super::told::Tally;
use super::{Done, Failure, interrupt_flag, open_clip, path_shown, print_json, prompts, tell};

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Clip: a video, a folder of frames, DICOM, a volume or a still
    clip: PathBuf,
    /// YAML with `tracks: [{label, windows, prompts}]`, frames from 0
    #[arg(long, value_name = "FILE.yaml")]
    prompts: PathBuf,
    /// Folder for LABEL/FRAME.png (0 or 255, size of the frames) and, at the end, report.json; those of an earlier run are
    /// replaced
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(super) fn run(settings: &Settings, options: &Options) -> Done {
    let clip = open_clip(settings, &options.clip)?;
    let clip = Arc::new(clip);
    let tracks = prompts::read(&options.prompts, clip.info()).map_err(Failure::input)?;
    let earlier = earlier_run(&options.out, &tracks)?;
    with_folder(&options.out, || carried(settings, options, &clip, &tracks, &earlier))
}

/// Carries the prompts of `tracks` through the clip; `earlier` is what an earlier run left in the folder.
fn carried(
    settings: &Settings,
    options: &Options,
    clip: &Arc<Clip>,
    tracks: &[Track],
    earlier: &[PathBuf],
) -> Done {
    let cancel = interrupt_flag()?;
    let mut network = load_timed(settings)?;
    // What this run does not come to shall not be taken for its own; and only now can it begin.
    if !earlier.is_empty() {
        let files = counted(earlier.len(), "file");
        tell(&format!("{}: taking away {files} of an earlier run", path_shown(&options.out)));
        take_away(earlier)?;
    }
    let out = Some(options.out.as_path());
    let work = |network: &mut dyn Segmenter| decide_clip(network, clip, tracks, out, &cancel);
    let reports = or_on_the_cpu(&mut network, || load_on_cpu(settings), work)?;
    let report = report_json(clip, &*network, &reports);
    write_json(&options.out.join(REPORT), &report)?;
    if options.json {
        print_json(&report);
    }
    let failures: Vec<String> = reports
        .iter()
        .flat_map(|(track, report)| {
            let label = shown(&track.info.label);
            report.failures().map(move |(frame, why)| format!("\"{label}\" frame {frame}: {why}"))
        })
        .collect();
    for failure in &failures {
        tell(failure);
    }
    if reports.iter().any(|(_, report)| report.ended == Ended::Cancelled) {
        let out = path_shown(&options.out);
        return Err(Failure::Interrupted(format!("interrupted; the finished frames are in {out}")));
    }
    if failures.is_empty() {
        if !options.json {
            let (out, tracks) = (path_shown(&options.out), counted(reports.len(), "track"));
            let decided: usize = reports.iter().map(|(_, report)| report.frames.len()).sum();
            let frames = counted(decided, "frame");
            tell(&format!("{out}: {tracks}, {frames}; {REPORT} holds their scores"));
        }
        return Ok(());
    }
    Err(Failure::Some(format!("{} could not be decoded", counted(failures.len(), "frame"))))
}

/// What an earlier run left in `out`: the masks of `tracks`, those of other structures that its report names, the report.
fn earlier_run(out: &Path, tracks: &[Track]) -> Result<Vec<PathBuf>, Failure> {
    let mut labels: BTreeSet<String> =
        tracks.iter().map(|track| track.info.label.clone()).collect();
    let report = report_at(&out.join(REPORT));
    let reported = report["tracks"].as_array().into_iter().flatten();
    let reported = reported.filter_map(|track| track["label"].as_str());
    // The file may be anybody's: a path in it leads nowhere.
    labels.extend(reported.filter(|label| prompts::names_a_folder(label)).map(str::to_owned));
    files_of(out, labels.iter().map(String::as_str))
}

/// What a file holds that may be a report; nothing where it is none.
fn report_at(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap_or_default()).unwrap_or_default()
}

/// The report in `out`, then the masks of `labels`, as far as they are there.
///
/// # Errors
/// When a folder cannot be read, or holds masks or a report that this program did not make: somebody's work is not taken
/// away.
pub(super) fn files_of<'a>(
    out: &Path,
    labels: impl Iterator<Item = &'a str>,
) -> Result<Vec<PathBuf>, Failure> {
    let report = out.join(REPORT);
    let mut files: Vec<PathBuf> = report.is_file().then_some(report).into_iter().collect();
    if let Some(report) = files.iter().find(|file| !is_own_report(&report_at(file))) {
        return Err(foreign(report, "the report"));
    }
    for folder in labels.map(|label| out.join(label)) {
        let entries = match fs::read_dir(&folder) {
            Err(cause)
                if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                continue;
            }
            entries => entries.map_err(|cause| unusable(&folder, &cause))?,
        };
        let paths = entries.flatten().map(|entry| entry.path());
        for path in paths.filter(|path| is_mask_path(path) && !path.is_dir()) {
            if !is_own_mask(&path) {
                return Err(foreign(&path, "a mask"));
            }
            files.push(path);
        }
    }
    Ok(files)
}

fn foreign(path: &Path, what: &str) -> Failure {
    let path = path_shown(path);
    Failure::Input(format!(
        "{path} is not from this program, and {what} would take its place; choose another --out"
    ))
}

/// Removes files, in their order.
///
/// # Errors
/// When one cannot be removed.
pub(super) fn take_away(files: &[PathBuf]) -> Done {
    for file in files {
        match fs::remove_file(file) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => {
                return Err(unusable(file, &cause));
            }
            _ => {}
        }
    }
    Ok(())
}

fn unusable(path: &Path, cause: &std::io::Error) -> Failure {
    Failure::Input(format!("{}: {cause}; choose another --out", path_shown(path)))
}

/// Decides every track and writes its masks below `out`, where there is one, as they come. Stops after the frame in hand
/// when `cancel` is raised.
///
/// # Errors
/// When the network fails or a mask cannot be written.
pub(super) fn decide_clip(
    network: &mut dyn Segmenter,
    clip: &Arc<Clip>,
    tracks: &[Track],
    out: Option<&Path>,
    cancel: &AtomicBool,
) -> Result<Vec<(Track, TrackReport)>, Failure> {
    network.open_clip(clip.info().frames);
    // What a run that was killed left half.
    out.into_iter().for_each(sweep_below);
    let mut folders = Vec::with_capacity(tracks.len());
    for track in tracks {
        let folder = out.map(|out| out.join(&track.info.label));
        if let Some(folder) = &folder {
            make_folder(folder)?;
            write_absent(folder, clip, track)?;
        }
        folders.push(folder);
    }
    let label = match tracks {
        [track] => shown(&track.info.label),
        several => counted(several.len(), "structure"),
    };
    let mut progress = Tally::new(label, "frame");
    let reports = decide_tracks(network, clip, tracks, cancel, &mut |nth, frame, decided, done| {
        if let (Ok(decided), Some(folder)) = (decided, &folders[nth]) {
            write_mask_of(clip, &mask_path(folder, frame), &decided.bitmap)?;
        }
        progress.show(done);
        Ok(())
    });
    progress.end();
    Ok(tracks.iter().cloned().zip(reports?).collect())
}
