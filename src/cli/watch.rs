//! `sonomark watch`: every clip that lands in a folder.
//!
//! With a screen, clips join its queue. Without (`--headless`), clips with a prompts file beside
//! them (`NAME.prompts.yaml`) are segmented; the masks go into the project and, with `--out`,
//! into PNG files. The watched folder is never written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;

use crate::codec::{self, Clip};
use crate::config::Settings;
use crate::domain::{Edit, Mark, Step, Track, TrackId, shown};
use crate::engine::{Ended, Event, Segmenter, export_name};
use crate::export::ExportFormat;
use crate::project::{ClipStore, Found, WatchOptions, Watcher};
use crate::tui::model::Msg;

use super::annotate::screen;
use super::headless::{TrackReport, load_timed, make_folder, report_json, with_masks, write_json};
use super::propagate::decide_clip;
use super::{Done, Failure, interrupt_flag, interrupted, open_clip, path_shown, prompts, tell};

/// A prompts file must be as old as this: it may still be being written.
const PROMPTS_SETTLE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(500);

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Folder to watch, with everything below it
    folder: PathBuf,
    /// No screen: segment clips that have NAME.prompts.yaml beside them
    #[arg(long)]
    headless: bool,
    /// Folder for masks as PNG files, besides the project
    #[arg(long, value_name = "DIR", requires = "headless")]
    out: Option<PathBuf>,
    /// How long a file must stay unchanged before it is taken
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    settle: f64,
    /// End when nothing new has come for so many seconds
    #[arg(long, value_name = "SECONDS", requires = "headless")]
    idle_exit: Option<f64>,
}

/// Runs it.
pub(super) fn run(settings: &Settings, options: &Options) -> Done {
    if let Some(out) = &options.out {
        refuse_inside(out, &options.folder, "--out")?;
    }
    refuse_inside(&settings.project.value, &options.folder, "--project")?;
    let (sender, found) = channel();
    let mut watching = WatchOptions::new(codec::looks_like_clip, |path| {
        codec::is_complete(path).map_err(|error| error.to_string())
    });
    watching.settle = Duration::try_from_secs_f64(options.settle)
        .map_err(|_| Failure::Input("--settle must be 0 or more seconds".into()))?;
    let watcher = Watcher::start(&options.folder, watching, sender).map_err(Failure::input)?;
    tell(&format!("watching {} by {}; Ctrl-C ends", path_shown(&options.folder), watcher.mode()));
    if options.headless {
        return headless(settings, options, &found);
    }
    with_screen(settings, found)
}

/// What is written into the watched folder would be found again.
fn refuse_inside(path: &Path, folder: &Path, flag: &str) -> Result<(), Failure> {
    let absolute = |path: &Path| {
        path.canonicalize()
            .or_else(|_| std::path::absolute(path))
            .unwrap_or_else(|_| path.to_owned())
    };
    if absolute(path).starts_with(absolute(folder)) {
        let folder = path_shown(folder);
        return Err(Failure::Input(format!(
            "{flag} lies in the watched folder {folder}; choose a place outside"
        )));
    }
    Ok(())
}

/// The first clip opens the screen, the others join it.
fn with_screen(settings: &Settings, found: Receiver<Found>) -> Done {
    let cancel = interrupt_flag()?;
    let first = loop {
        match found.recv_timeout(LOOK) {
            Ok(Found::Clip(path)) => break path,
            Ok(Found::Refused { path, why }) => {
                tell(&format!("{}: {}", path_shown(&path), shown(&why)))
            }
            Err(RecvTimeoutError::Timeout) if !interrupted(&cancel) => {}
            Err(RecvTimeoutError::Timeout) => {
                return Err(Failure::Interrupted("interrupted before a clip came".into()));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::Ours("the watching thread ended".into()));
            }
        }
    };
    // The thread ends with the watcher, whose sender it listens to, or with the screen.
    let attach = Box::new(move |inbox: Sender<Msg>| {
        thread::spawn(move || tell_screen(&found, &inbox));
    });
    screen(settings, vec![first], Some(attach))
}

fn tell_screen(found: &Receiver<Found>, inbox: &Sender<Msg>) {
    while let Ok(found) = found.recv() {
        let event = match found {
            Found::Clip(path) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Event::ClipArrived { path, name }
            }
            Found::Refused { path, why } => Event::ClipRefused { path, why },
        };
        if inbox.send(Msg::from(event)).is_err() {
            return;
        }
    }
}

fn headless(settings: &Settings, options: &Options, found: &Receiver<Found>) -> Done {
    let cancel = interrupt_flag()?;
    let mut desk = Desk { settings, options, network: load_timed(settings)?, done: 0, failed: 0 };
    // Clips whose prompts have not come, and the prompts that were tried in vain.
    let mut waiting: BTreeMap<PathBuf, Option<SystemTime>> = BTreeMap::new();
    let mut busy = Instant::now();
    while !interrupted(&cancel) {
        match found.recv_timeout(LOOK) {
            Ok(Found::Clip(path)) => {
                busy = Instant::now();
                if ready_prompts(&path).is_none() {
                    tell(&format!(
                        "{}: waits for {}",
                        path_shown(&path),
                        path_shown(&prompts_paths(&path)[0])
                    ));
                }
                waiting.insert(path, None);
            }
            Ok(Found::Refused { path, why }) => {
                busy = Instant::now();
                desk.failed += 1;
                tell(&format!("{}: refused, {}", path_shown(&path), shown(&why)));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::Ours("the watching thread ended".into()));
            }
        }
        let ready = waiting.iter().find_map(|(path, tried)| {
            let (prompts, changed) = ready_prompts(path)?;
            (*tried != Some(changed)).then(|| (path.clone(), prompts, changed))
        });
        if let Some((path, prompts, changed)) = ready {
            if desk.take(&path, &prompts, &cancel) {
                waiting.remove(&path);
            } else {
                waiting.insert(path, Some(changed));
            }
            busy = Instant::now();
        }
        if options.idle_exit.is_some_and(|limit| busy.elapsed().as_secs_f64() >= limit) {
            break;
        }
    }
    desk.end(interrupted(&cancel))
}

/// `NAME.prompts.yaml` with and without the clip's ending.
fn prompts_paths(clip: &Path) -> [PathBuf; 2] {
    let name = clip.file_name().unwrap_or_default().to_string_lossy();
    [clip.with_extension("prompts.yaml"), clip.with_file_name(format!("{name}.prompts.yaml"))]
}

/// The prompts of a clip and when they changed, once they have settled.
fn ready_prompts(clip: &Path) -> Option<(PathBuf, SystemTime)> {
    prompts_paths(clip).into_iter().find_map(|path| {
        let changed = std::fs::metadata(&path).ok()?.modified().ok()?;
        let age = changed.elapsed().unwrap_or(PROMPTS_SETTLE);
        (age >= PROMPTS_SETTLE).then_some((path, changed))
    })
}

struct Desk<'a> {
    settings: &'a Settings,
    options: &'a Options,
    network: Box<dyn Segmenter>,
    done: usize,
    failed: usize,
}

impl Desk<'_> {
    /// Segments one clip; false when it failed (told, once for each state of its prompts).
    fn take(&mut self, path: &Path, prompts: &Path, cancel: &AtomicBool) -> bool {
        match self.segment(path, prompts, cancel) {
            Ok(what) => {
                self.done += 1;
                tell(&format!("{}: {what}", path_shown(path)));
                true
            }
            Err(failure) => {
                self.failed += 1;
                tell(&format!("{}: {}", path_shown(path), failure.sentence()));
                false
            }
        }
    }

    fn segment(
        &mut self,
        path: &Path,
        prompts: &Path,
        cancel: &AtomicBool,
    ) -> Result<String, Failure> {
        let open = || open_clip(self.settings, path);
        let clip = Arc::new(open()?);
        let tracks = prompts::read(prompts, clip.info()).map_err(Failure::input)?;
        let scratch = tempfile::tempdir().map_err(Failure::input)?;
        let out = match &self.options.out {
            Some(out) => out.join(export_name(clip.info(), ExportFormat::Png)),
            None => scratch.path().to_owned(),
        };
        make_folder(&out)?;
        let reports = decide_clip(&mut *self.network, &clip, &tracks, &out, cancel)?;
        if open()?.info().content_hash != clip.info().content_hash {
            return Err(Failure::Input(
                "it changed while it was segmented; it is taken again when it settles".into(),
            ));
        }
        write_json(&out.join("report.json"), &report_json(&clip, &*self.network, &reports))?;
        journal(&self.settings.project.value, &clip, &reports)?;
        let frames: usize = reports.iter().map(|(_, report)| report.frames.len()).sum();
        if reports.iter().any(|(_, report)| report.ended == Ended::Cancelled) {
            return Err(Failure::Interrupted(format!("interrupted; {frames} frames are kept")));
        }
        Ok(format!("{} tracks, {frames} frames", reports.len()))
    }

    fn end(&self, cut: bool) -> Done {
        let total = self.done + self.failed;
        tell(&format!("{} of {total} clips segmented", self.done));
        if cut {
            return Err(Failure::Interrupted("interrupted".into()));
        }
        if self.failed > 0 {
            return Err(Failure::Some(format!("{} of {total} clips failed", self.failed)));
        }
        Ok(())
    }
}

/// Adds the tracks with their masks to the project. A label that the project has for this clip
/// already is left alone: a person may have worked on it.
fn journal(root: &Path, clip: &Clip, reports: &[(Track, TrackReport)]) -> Result<(), Failure> {
    let now_ms = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    };
    let (mut store, loaded) =
        ClipStore::open(root, clip.info(), now_ms()).map_err(Failure::input)?;
    let held = |label: &str| loaded.annotation.tracks.values().any(|t| t.info.label == label);
    let mut next = u64::from(loaded.session_seed) << 32;
    for (track, report) in reports.iter().filter(|(track, _)| !held(&track.info.label)) {
        next += 1;
        let mut content = with_masks(track, report);
        for placed in content.prompts.values_mut().flatten() {
            next += 1;
            placed.id = crate::domain::PromptId(next);
        }
        let edits = vec![Edit::AddTrack { track: TrackId(next), content }];
        let step = Step { group: next, mark: Mark::Do, edits };
        store.append(&step, now_ms()).map_err(Failure::input)?;
    }
    store.sync().map_err(Failure::input)
}
