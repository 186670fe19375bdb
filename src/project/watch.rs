//! Watches a folder for clips; the folder is never written.
//!
//! Events only make it quicker: a full scan at the start, after every lost or failed event and
//! every minute is what finds the clips. A file or folder of frames is reported once it has not
//! changed for a while and is structurally complete, and again only when its content changes.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, Metadata};
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecursiveMode, Watcher as _};

use super::{ProjectError, mounts};
use crate::codec::has_image_ending;

/// Folders below folders that are looked into.
const MAX_DEPTH: usize = 8;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A settled, complete clip.
    Clip(PathBuf),
    /// A settled file that cannot be a clip as it is.
    Refused {
        /// The file.
        path: PathBuf,
        /// Why, ready to show after [`crate::domain::shown`].
        why: String,
    },
}

/// How to watch.
#[derive(Clone, Copy, Debug)]
pub struct WatchOptions {
    /// How long a file must stay unchanged (tripled on polled file systems).
    pub settle: Duration,
    /// Time between full scans.
    pub rescan: Duration,
    /// Time between scans where the file system does not tell of changes.
    pub poll: Duration,
    /// Polls even where events would come.
    pub always_poll: bool,
    /// Whether a file or folder may be a clip (cheap; others are passed over in silence).
    pub looks_like_clip: fn(&Path) -> bool,
    /// Whether a settled file or folder is structurally complete, or why not.
    pub complete: fn(&Path) -> Result<(), String>,
    /// The file that belongs to another as its second half, whether it is there or not: without it the other is
    /// incomplete, and with a change of it changed.
    pub part: fn(&Path) -> Option<PathBuf>,
}

impl WatchOptions {
    /// 2 s to settle, a scan every 60 s, polling every 10 s where needed; every file stands for itself.
    #[must_use]
    pub fn new(
        looks_like_clip: fn(&Path) -> bool,
        complete: fn(&Path) -> Result<(), String>,
    ) -> Self {
        Self {
            settle: Duration::from_secs(2),
            rescan: Duration::from_secs(60),
            poll: Duration::from_secs(10),
            always_poll: false,
            looks_like_clip,
            complete,
            part: |_| None,
        }
    }
}

enum Input {
    Changed(Vec<PathBuf>),
    ScanAll,
    Stop,
}

/// A watched folder. Dropping it ends the watching, and does not wait for the look in hand: of many files on a slow drive
/// one takes minutes.
#[derive(Debug)]
pub struct Watcher {
    stop: Sender<Input>,
    mode: String,
}

impl Watcher {
    /// Starts watching `folder` and everything below it on a thread of its own. What is already
    /// there is reported too.
    ///
    /// # Errors
    /// When the folder cannot be read or no thread can be started.
    pub fn start(
        folder: &Path,
        options: WatchOptions,
        sender: Sender<Found>,
    ) -> Result<Self, ProjectError> {
        let folder = folder.canonicalize().map_err(|e| ProjectError::io("watch", folder, &e))?;
        fs::read_dir(&folder).map_err(|e| ProjectError::io("watch", &folder, &e))?;
        let (stop, inbox) = mpsc::channel();
        let mut options = options;
        let system = mounts::file_system(&folder);
        let mut polled = None;
        if options.always_poll {
            polled = Some("asked for".to_owned());
        } else if let Some(system) = system.filter(|system| !mounts::tells_of_changes(system)) {
            options.settle *= 3;
            polled = Some(format!("{system} does not tell of changes"));
        }
        let mut events = None;
        if polled.is_none() {
            match listen(&folder, stop.clone()) {
                Ok(watcher) => events = Some(watcher),
                Err(cause) => polled = Some(cause.to_string()),
            }
        }
        let mode = match &polled {
            Some(why) => format!("every {} s ({why})", options.poll.as_secs()),
            None => "as they land".to_owned(),
        };
        let mut scout = Scout {
            every: if polled.is_some() { options.poll } else { options.rescan },
            folder: folder.clone(),
            options,
            sender,
            waiting: HashMap::new(),
            told: HashMap::new(),
            wholes: HashMap::new(),
        };
        let run = move || {
            // Held here: dropping it ends the events.
            let _events = events;
            scout.run(&inbox);
        };
        let started = thread::Builder::new().name("watch".into()).spawn(run);
        started.map_err(|e| ProjectError::io("watch", &folder, &e))?;
        Ok(Self { stop, mode })
    }

    /// When clips are noticed, for people: "as they land", or "every 10 s (nfs4 does not tell of changes)".
    #[must_use]
    pub fn mode(&self) -> &str {
        &self.mode
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.stop.send(Input::Stop);
    }
}

/// Turns events of the file system into inputs.
fn listen(folder: &Path, inbox: Sender<Input>) -> notify::Result<notify::RecommendedWatcher> {
    let forward = move |event: notify::Result<notify::Event>| {
        let input = match event {
            // Lost events come without a path; failed watches may have missed anything.
            Ok(event) if event.need_rescan() => Input::ScanAll,
            Err(_) => Input::ScanAll,
            // Reading, ours included, changes nothing.
            Ok(event) => match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                    Input::Changed(event.paths)
                }
                EventKind::Access(_) => return,
                _ => Input::Changed(event.paths),
            },
        };
        let _ = inbox.send(input);
    };
    let mut watcher = notify::recommended_watcher(forward)?;
    watcher.watch(folder, RecursiveMode::Recursive)?;
    Ok(watcher)
}

/// What a file or folder looked like; `all` changes with every touch, `content` only with what
/// may be another content.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Look {
    all: u64,
    content: u64,
}

struct Waiting {
    look: Look,
    due: Instant,
    /// Was incomplete when it settled: one more chance for a copy that paused.
    paused: bool,
}

struct Scout {
    folder: PathBuf,
    options: WatchOptions,
    sender: Sender<Found>,
    /// Time between full scans.
    every: Duration,
    waiting: HashMap<PathBuf, Waiting>,
    /// What was reported (or passed over).
    told: HashMap<PathBuf, Told>,
    /// Second halves and what they belong to.
    wholes: HashMap<PathBuf, PathBuf>,
}

/// How something looked when it was reported.
enum Told {
    /// As a clip: another content is worth a report.
    Clip(u64),
    /// As none: a right that was given may change that too.
    Other(u64),
}

impl Told {
    fn covers(&self, look: Look) -> bool {
        match self {
            Self::Clip(content) => *content == look.content,
            Self::Other(all) => *all == look.all,
        }
    }
}

/// The receiver is gone or the watcher was dropped.
struct Over;

/// What changed paths belong to.
#[derive(Default)]
struct Touched {
    /// Files, and folders of frames.
    candidates: BTreeSet<PathBuf>,
    /// Folders to look through.
    folders: BTreeSet<PathBuf>,
}

impl Scout {
    fn run(&mut self, inbox: &Receiver<Input>) {
        // Events arrive in crowds: they are gathered for this long.
        let crowd =
            (self.options.settle / 4).clamp(Duration::from_millis(10), Duration::from_millis(250));
        let mut scan_at = Instant::now();
        loop {
            if Instant::now() >= scan_at {
                let began = Instant::now();
                self.scan(&self.folder.clone(), 0);
                // Never more than a twentieth of the time.
                scan_at = Instant::now() + self.every.max(began.elapsed() * 20);
            }
            if self.settle().is_err() {
                return;
            }
            let due = self.waiting.values().map(|w| w.due).min().unwrap_or(scan_at);
            let pause = due.min(scan_at).saturating_duration_since(Instant::now()).max(crowd / 4);
            let mut changed = HashSet::new();
            let first = match inbox.recv_timeout(pause) {
                Ok(input) => input,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            thread::sleep(crowd);
            for input in std::iter::once(first).chain(inbox.try_iter()) {
                match input {
                    Input::Changed(paths) => changed.extend(paths),
                    Input::ScanAll => scan_at = Instant::now(),
                    Input::Stop => return,
                }
            }
            self.look_at(changed);
        }
    }

    /// Notices whatever the changed paths belong to.
    fn look_at(&mut self, changed: HashSet<PathBuf>) {
        let Touched { candidates, folders } = self.touched(changed);
        for folder in folders {
            self.scan(&folder, 1);
        }
        for path in candidates {
            if let Some(whole) = self.wholes.get(&path).cloned() {
                self.notice(whole);
            }
            self.notice(path);
        }
    }

    /// What the changed paths belong to, each once: a look at a folder of frames is one at all of them, and a copy changes
    /// thousands in a moment.
    fn touched(&self, changed: HashSet<PathBuf>) -> Touched {
        let mut clips: HashMap<PathBuf, bool> = HashMap::new();
        let mut touched = Touched::default();
        for path in changed {
            let inside =
                path.strip_prefix(&self.folder).is_ok_and(|rest| !rest.as_os_str().is_empty());
            let Some(parent) =
                path.parent().filter(|_| inside && !hidden_below(&self.folder, &path))
            else {
                continue;
            };
            let below = parent != self.folder;
            let frames = below
                && *clips
                    .entry(parent.to_owned())
                    .or_insert_with(|| (self.options.looks_like_clip)(parent));
            if frames && has_image_ending(&path) {
                touched.candidates.insert(parent.to_owned());
            } else if path.is_dir() && !path.is_symlink() {
                touched.folders.insert(path);
            } else {
                touched.candidates.insert(path);
            }
        }
        touched
    }

    /// Notices every candidate in `folder` and below.
    fn scan(&mut self, folder: &Path, depth: usize) {
        let frames = *folder != self.folder && (self.options.looks_like_clip)(folder);
        if frames {
            self.notice(folder.to_owned());
        }
        let mut entries: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().collect();
        // Disks list them in any order; what is noticed first is told first.
        entries.sort_by_cached_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if hidden(&path) || (frames && has_image_ending(&path)) {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < MAX_DEPTH => self.scan(&path, depth + 1),
                Ok(kind) if kind.is_dir() => {}
                _ => self.notice(path),
            }
        }
    }

    /// Starts the wait of a candidate, unless its content was reported or is waiting already.
    fn notice(&mut self, path: PathBuf) {
        let part = self.part_of(&path);
        let Ok(look) = look(&path, part.as_deref()) else {
            self.waiting.remove(&path);
            return;
        };
        if let Some(part) = part {
            self.wholes.insert(part, path.clone());
        }
        if self.told.get(&path).is_some_and(|told| told.covers(look)) {
            self.waiting.remove(&path);
            return;
        }
        if self.waiting.get(&path).is_some_and(|waiting| waiting.look == look) {
            return;
        }
        let due = Instant::now() + self.options.settle;
        self.waiting.insert(path, Waiting { look, due, paused: false });
    }

    /// Reports the candidates whose wait is over.
    fn settle(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        let mut due: Vec<PathBuf> = self
            .waiting
            .iter()
            .filter(|(_, w)| w.due <= now)
            .map(|(path, _)| path.clone())
            .collect();
        due.sort();
        for path in due {
            let Some(waiting) = self.waiting.remove(&path) else {
                continue;
            };
            let Ok(before) = self.look(&path) else { continue };
            if before != waiting.look {
                self.notice(path);
                continue;
            }
            let verdict = self.judge(&path);
            if self.look(&path).ok() != Some(before) {
                self.notice(path);
                continue;
            }
            let found = match verdict {
                Verdict::Passed => None,
                Verdict::Clip => Some(Found::Clip(path.clone())),
                Verdict::Incomplete(_) if !waiting.paused => {
                    let due = Instant::now() + self.options.settle * 4;
                    self.waiting.insert(path, Waiting { look: before, due, paused: true });
                    continue;
                }
                Verdict::Incomplete(why) | Verdict::Refused(why) => {
                    Some(Found::Refused { path: path.clone(), why })
                }
            };
            let told = match found {
                Some(Found::Clip(_)) => Told::Clip(before.content),
                _ => Told::Other(before.all),
            };
            self.told.insert(path, told);
            if let Some(found) = found {
                self.sender.send(found).map_err(|_| Over)?;
            }
        }
        Ok(())
    }

    /// The second half of what is a regular file.
    fn part_of(&self, path: &Path) -> Option<PathBuf> {
        fs::symlink_metadata(path).ok().filter(Metadata::is_file)?;
        (self.options.part)(path)
    }

    fn look(&self, path: &Path) -> io::Result<Look> {
        look(path, self.part_of(path).as_deref())
    }

    fn judge(&self, path: &Path) -> Verdict {
        let Ok(meta) = fs::symlink_metadata(path) else {
            return Verdict::Passed;
        };
        if meta.is_symlink() {
            return Verdict::Refused(
                "it is a link; copy the file itself, or watch its folder".into(),
            );
        }
        let frames = if meta.is_dir() { frames_of(path).unwrap_or_default() } else { Vec::new() };
        let mut files = frames.into_iter().chain(self.part_of(path));
        if let Some(link) = files.find(|file| file.is_symlink()) {
            let name = link.file_name().unwrap_or_default().to_string_lossy();
            return Verdict::Refused(format!("its file {name} is a link; copy the file itself"));
        }
        if !meta.is_file() && !meta.is_dir() {
            return Verdict::Refused("it is not a regular file; copy a clip instead".into());
        }
        if !(self.options.looks_like_clip)(path) {
            return Verdict::Passed;
        }
        match (self.options.complete)(path) {
            Ok(()) => Verdict::Clip,
            Err(why) => Verdict::Incomplete(why),
        }
    }
}

enum Verdict {
    Clip,
    Incomplete(String),
    Refused(String),
    /// Not a clip and never said to be one.
    Passed,
}

fn hidden(path: &Path) -> bool {
    path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn hidden_below(folder: &Path, path: &Path) -> bool {
    path.strip_prefix(folder)
        .is_ok_and(|rest| rest.iter().any(|part| part.as_encoded_bytes().starts_with(b".")))
}

/// The images of a folder.
fn frames_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let mut frames: Vec<PathBuf> =
        entries.filter(|path| !hidden(path) && has_image_ending(path)).collect();
    frames.sort();
    Ok(frames)
}

/// What a file looks like with its second half, or a folder with its frames.
fn look(path: &Path, part: Option<&Path>) -> io::Result<Look> {
    let (mut all, mut content) = (DefaultHasher::new(), DefaultHasher::new());
    let mut add = |meta: &Metadata| {
        let what = (meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec());
        what.hash(&mut content);
        (what, meta.ctime(), meta.ctime_nsec()).hash(&mut all);
    };
    let meta = fs::symlink_metadata(path)?;
    if meta.is_dir() {
        for frame in frames_of(path)? {
            add(&fs::symlink_metadata(frame)?);
        }
    } else {
        add(&meta);
        // One that is not there adds nothing: that it comes is a change.
        if let Some(meta) = part.and_then(|part| fs::symlink_metadata(part).ok()) {
            add(&meta);
        }
    }
    Ok(Look { all: all.finish(), content: content.finish() })
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
