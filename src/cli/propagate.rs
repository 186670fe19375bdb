//! `sonomark propagate`: prompts from a file through the windows of a clip.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;

use crate::codec::Clip;
use crate::config::Settings;
use crate::domain::{Track, counted, shown};
use crate::engine::{Ended, Segmenter};

use super::headless::{
    REPORT, TrackReport, decide_track, load_on_cpu, load_timed, make_folder, mask_path,
    or_on_the_cpu, report_json, write_absent, write_json, write_mask_of,
};
use super::{Done, Failure, interrupt_flag, open_clip, path_shown, print_json, prompts, tell};

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Clip: a video, a folder of frames, DICOM, a volume or a still
    clip: PathBuf,
    /// YAML with `tracks: [{label, windows, prompts}]`, frames from 0
    #[arg(long, value_name = "FILE.yaml")]
    prompts: PathBuf,
    /// Folder for LABEL/FRAME.png (0 or 255, size of the frames) and report.json
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
    make_folder(&options.out)?;
    let cancel = interrupt_flag()?;
    let mut network = load_timed(settings)?;
    let work =
        |network: &mut dyn Segmenter| decide_clip(network, &clip, &tracks, &options.out, &cancel);
    let reports = or_on_the_cpu(&mut network, || load_on_cpu(settings), work)?;
    let report = report_json(&clip, &*network, &reports);
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
        return Ok(());
    }
    Err(Failure::Some(format!("{} could not be decoded", counted(failures.len(), "frame"))))
}

/// Decides every track and writes its masks below `out` as they come. Stops after the frame in
/// hand when `cancel` is raised.
///
/// # Errors
/// When the network fails or a mask cannot be written.
pub(super) fn decide_clip(
    network: &mut dyn Segmenter,
    clip: &Arc<Clip>,
    tracks: &[Track],
    out: &Path,
    cancel: &AtomicBool,
) -> Result<Vec<(Track, TrackReport)>, Failure> {
    network.open_clip(clip.info().frames);
    let mut reports = Vec::with_capacity(tracks.len());
    for track in tracks {
        let folder = out.join(&track.info.label);
        make_folder(&folder)?;
        write_absent(&folder, clip, track)?;
        let mut progress = Progress::new(&track.info.label);
        let report = decide_track(network, clip, track, cancel, &mut |frame, decided, done| {
            if let Ok(decided) = decided {
                write_mask_of(clip, &mask_path(&folder, frame), &decided.bitmap)?;
            }
            progress.show(done);
            Ok(())
        });
        progress.end();
        let report = report?;
        let ended = report.ended;
        reports.push((track.clone(), report));
        if ended == Ended::Cancelled {
            break;
        }
    }
    Ok(reports)
}

/// Progress on stderr: one line that changes on a terminal, every tenth otherwise.
struct Progress {
    label: String,
    live: bool,
    told: usize,
}

impl Progress {
    fn new(label: &str) -> Self {
        Self { label: shown(label), live: std::io::stderr().is_terminal(), told: 0 }
    }

    fn show(&mut self, [done, total]: [usize; 2]) {
        let tenth = done * 10 / total.max(1);
        let frames = counted(total, "frame");
        if self.live {
            let mut err = std::io::stderr();
            let _ = write!(err, "\r{}: {done} of {frames}", self.label);
            let _ = err.flush();
        } else if tenth > self.told {
            tell(&format!("{}: {done} of {frames}", self.label));
        }
        self.told = tenth;
    }

    fn end(&self) {
        if self.live {
            tell("");
        }
    }
}
