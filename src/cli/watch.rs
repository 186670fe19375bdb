//! `sonomark watch`: every clip that lands in a folder.
//!
//! With a screen, clips join its queue. Without (`--headless`), clips with a prompts file beside
//! them (`NAME.prompts.yaml`) are segmented; the masks go into the project and, with `--out`,
//! into PNG files. The watched folder is never written.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::codec;
use crate::config::Settings;
use crate::domain::shown;
use crate::engine::Event;
use crate::project::{Found, WatchOptions, Watcher};
use crate::tui::TuiError;
use crate::tui::model::Msg;

use super::annotate::screen;
use super::{Done, Failure, interrupt_flag, interrupted, path_shown, tell, watch_headless};

/// Time between looks at what came.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// Finds that the screen takes at once: more would let a key wait.
const TOGETHER: usize = 1000;
/// Time in which others may come to be told with one.
const GATHER: Duration = Duration::from_millis(100);

/// A year.
const SECONDS_MAX: f64 = 365.0 * 24.0 * 3600.0;

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
    pub(super) out: Option<PathBuf>,
    /// How long a file must stay unchanged before it is taken
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    settle: f64,
    /// End when nothing new has come for so many seconds
    #[arg(long, value_name = "SECONDS", requires = "headless")]
    pub(super) idle_exit: Option<f64>,
}

/// Runs it.
pub(super) fn run(settings: &Settings, options: &Options) -> Done {
    if let Some(limit) = options.idle_exit {
        seconds("--idle-exit", limit, "or leave it out to wait until Ctrl-C")?;
    }
    if let Some(out) = &options.out {
        refuse_inside(out, &options.folder, "--out")?;
    }
    refuse_inside(&settings.project.value, &options.folder, "--project")?;
    if !options.folder.is_dir() {
        let folder = path_shown(&options.folder);
        return Err(Failure::Input(format!("{folder} is no folder; give one that is there")));
    }
    codec::follow_no_links_below(&real(&options.folder));
    let (sender, found) = channel();
    let mut watching = WatchOptions::new(codec::looks_like_clip, |path| {
        codec::is_complete(path).map_err(|error| error.to_string())
    });
    watching.part = codec::voxels_beside;
    watching.settle = seconds("--settle", options.settle, "2 are usual")?;
    let watcher = Watcher::start(&options.folder, watching, sender).map_err(Failure::input)?;
    let (folder, mode) = (path_shown(&options.folder), watcher.mode());
    tell(&format!("watching {folder}: clips are taken in {mode}; Ctrl-C ends"));
    if options.headless {
        return watch_headless::run(settings, options, &found);
    }
    with_screen(settings, found)
}

/// A number of seconds that times can be reckoned with.
fn seconds(flag: &str, given: f64, advice: &str) -> Result<Duration, Failure> {
    let fine = (0.0..=SECONDS_MAX).contains(&given);
    let seconds = Duration::try_from_secs_f64(given).ok().filter(|_| fine);
    seconds.ok_or_else(|| {
        Failure::Input(format!("{flag} is {given}; give 0 to {SECONDS_MAX} seconds, {advice}"))
    })
}

/// What is written into the watched folder would be found again.
fn refuse_inside(path: &Path, folder: &Path, flag: &str) -> Result<(), Failure> {
    if real(path).starts_with(real(folder)) {
        let folder = path_shown(folder);
        return Err(Failure::Input(format!(
            "{flag} lies in the watched folder {folder}; choose a place outside"
        )));
    }
    Ok(())
}

/// Where `path` lies behind all links, also where its last parts are not there yet.
fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = absolute.ancestors().find_map(|above| {
        let rest = absolute.strip_prefix(above).ok()?;
        Some(above.canonicalize().ok()?.join(rest))
    });
    there.unwrap_or(absolute)
}

/// The first clip that opens opens the screen, the others join it.
fn with_screen(settings: &Settings, found: Receiver<Found>) -> Done {
    let cancel = interrupt_flag()?;
    // A screen that does not open gives the finds back.
    let found = Arc::new(Mutex::new(found));
    loop {
        let first = first_clip(&found.lock().unwrap_or_else(PoisonError::into_inner), &cancel)?;
        let finds = Arc::clone(&found);
        // The thread ends with the watcher, whose sender it listens to, or with the screen.
        let attach = Box::new(move |inbox: Sender<Msg>| {
            thread::spawn(move || {
                tell_screen(&finds.lock().unwrap_or_else(PoisonError::into_inner), &inbox);
            });
        });
        match screen(settings, vec![first.clone()], Some(attach)) {
            Err(TuiError::Clip(why)) => {
                let why = shown(&why.to_string());
                tell(&format!("{}: {why}; waiting for the next clip", path_shown(&first)));
            }
            ended => return Ok(ended?),
        }
    }
}

/// Waits for a clip.
fn first_clip(found: &Receiver<Found>, cancel: &AtomicBool) -> Result<PathBuf, Failure> {
    loop {
        match found.recv_timeout(LOOK) {
            Ok(Found::Clip(path)) => return Ok(path),
            Ok(Found::Refused { path, why }) => {
                tell(&format!("{}: {}", path_shown(&path), shown(&why)))
            }
            Err(RecvTimeoutError::Timeout) if !interrupted(cancel) => {}
            Err(RecvTimeoutError::Timeout) => {
                return Err(Failure::Interrupted("interrupted before a clip came".into()));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::Ours("the watching thread ended".into()));
            }
        }
    }
}

/// Hands finds on, those that come together: the screen has other things to do than to take a hundred thousand one by one,
/// and looks through its whole queue each time.
fn tell_screen(found: &Receiver<Found>, inbox: &Sender<Msg>) {
    while let Ok(first) = found.recv() {
        let (mut paths, mut refused) = (Vec::new(), Vec::new());
        let until = Instant::now() + GATHER;
        let later = || found.recv_timeout(until.saturating_duration_since(Instant::now())).ok();
        for found in std::iter::once(first).chain(std::iter::from_fn(later)).take(TOGETHER) {
            match found {
                Found::Clip(path) => paths.push(path),
                Found::Refused { path, why } => refused.push((path, why)),
            }
        }
        let arrived = (!paths.is_empty()).then_some(Event::ClipsArrived { paths });
        let refused = (!refused.is_empty()).then_some(Event::ClipsRefused { refused });
        for event in arrived.into_iter().chain(refused) {
            if inbox.send(Msg::from(event)).is_err() {
                return;
            }
        }
    }
}
