//! The project folder: everything an annotator did, append-only, one writer per file.
//!
//! ```text
//! PROJECT/
//!   FORMAT                         "sonomark 1", then a random line that tells projects apart
//!   .uids.key                      secret by which identifiers are mapped, see `key`
//!   sessions/<session>.json        who has which clip open (a courtesy, never needed)
//!   clips/<content hash>/
//!     clip.json                    what the clip is; written once, and again when more is known of it
//!     ops/<session>.jsonl          one journal per session, see `journal`
//!     ops/<session>.p1.jsonl       its continuation after a disk refused to sync
//!     ops/<session>.r0.jsonl       its lines that came home from a rescue copy
//! ```
//!
//! A session creates its files itself and nobody ever appends to a file that they did not create:
//! a torn end is never followed by good data, two annotators or machines never share a file, and
//! copies of a project are merged by copying the files together. The state is computed from all
//! journals (`merge`), so nothing has to be locked, repaired or migrated.
//!
//! Masks are runs inside the journal line rather than files of their own: one line is one atomic
//! step, so there is no order of two syncs to get wrong and no reference that could dangle, one
//! damaged byte costs one step, and a mask is 1 to 3 kB against which a sync costs far more.
//! There are no snapshots: replaying 200,000 steps takes under a second, and a snapshot that must
//! not be trusted would only add a way to be wrong.

mod chain;
mod check;
mod journal;
mod key;
mod lease;
mod log;
mod lost;
mod merge;
mod mounts;
mod onlooker;
mod prepare;
mod reader;
mod store;
mod timeline;
mod watch;
mod writer;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::codec::Modes;
use crate::codec::part::{folder_of, make_part};
use crate::domain::{
    ClipInfo, ContentHash, FrameIndex, OutsideChoice, PictureLook, PointPx, TrackId, counted, shown,
};

pub use check::{Checked, Finding, Gravity, check_clip, check_folder};
pub use key::uid_key;
pub use lease::moment;
pub use log::{Logged, LoggedStep, Standing, log};
pub use merge::{Conflict, Others, difference};
pub use onlooker::{Onlooker, load_read_only};
pub use reader::{Look, News};
pub use store::{ClipStore, Loaded, StoreOptions};
pub use timeline::{Visit, timeline};
pub use watch::{Found, WatchOptions, Watcher};
pub use writer::Syncer;

/// Milliseconds since 1970; the one clock of the journal.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What the file FORMAT says.
const FORMAT: &str = "sonomark 1";

/// Where an annotator was: reopening a clip returns there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Frame on the screen.
    pub frame: FrameIndex,
    /// Cursor, px of the original image.
    pub cursor: PointPx,
    /// Selected track.
    pub track: Option<TrackId>,
    /// Whether the annotator called the clip finished, and changed nothing since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finished: bool,
    /// Keys pressed since the clip was opened; 0 where nobody counted.
    #[serde(default, skip_serializing_if = "no_keys")]
    pub keys: u64,
    /// What was decided here about the pixels outside a region found in the clip; once, not with
    /// every line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<OutsideChoice>,
    /// How the picture is shown, where a person changed that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look: Option<PictureLook>,
}

/// Lines without keys stay as they always were.
fn no_keys(keys: &u64) -> bool {
    *keys == 0
}

/// A clip that a project holds work on.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipSummary {
    /// Content hash, as the folder is named.
    pub hash: ContentHash,
    /// What is known of the clip; `None` when its `clip.json` cannot be read, or only by a newer version (the work can).
    pub info: Option<ClipInfo>,
    /// Number of journal files.
    pub journals: usize,
}

/// Why a project did not do what was asked. Paths are already safe to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the sentences name the fields")]
pub enum ProjectError {
    /// The folder cannot be written: open it with [`load_read_only`].
    #[error(
        "the project {path} cannot be written ({cause}); it can be viewed, copy it to a folder of yours to annotate"
    )]
    ReadOnly { path: String, cause: String },
    /// A newer program wrote it: open it with [`load_read_only`].
    #[error(
        "the project {path} was written by a newer sonomark ('{found}', this one writes '{FORMAT}'); it can be viewed, update sonomark to annotate"
    )]
    Newer { path: String, found: String },
    /// A folder full of other things.
    #[error("{path} holds other files and is not a sonomark project; choose a new or empty folder")]
    NotAProject { path: String },
    /// A folder in which nothing was annotated.
    #[error(
        "{path} is no sonomark project (it has no file FORMAT); give the folder that `--project` named when the clips were annotated"
    )]
    NoProject { path: String },
    /// No work on this clip.
    #[error("the project {path} holds no clip {hash}; list its clips with `sonomark project`")]
    NoSuchClip { path: String, hash: String },
    /// A hash that cannot name a folder.
    #[error("'{hash}' is not a content hash; expected 8 to 128 letters and digits")]
    BadHash { hash: String },
    /// Reading or creating failed.
    #[error("cannot {doing} {path}: {cause}; check the disk and the permissions, then try again")]
    Io { doing: &'static str, path: String, cause: String },
    /// The disk refuses; the step counts, it is kept in memory and written as soon as possible.
    #[error(
        "{} kept in memory because {path} cannot be written ({cause}); {rescue}; make room on the disk, work goes on",
        counted(*.unwritten, "step")
    )]
    KeptInMemory { unwritten: usize, path: String, cause: String, rescue: String },
    /// The disk took the steps but does not confirm them; they are kept in memory as well.
    #[error(
        "{} not confirmed by the disk of {path} ({cause}), kept in memory and written again; do not switch the machine off",
        counted(*.unsynced, "step")
    )]
    NotSynced { unsynced: usize, path: String, cause: String },
    /// A score or coordinate that is not a number: nothing was changed.
    #[error(
        "this step holds a number that cannot be stored; nothing was changed, please report it"
    )]
    Unstorable,
}

impl ProjectError {
    fn io(doing: &'static str, path: &Path, cause: &io::Error) -> Self {
        Self::Io { doing, path: named(path), cause: cause.to_string() }
    }

    /// True when the step was taken all the same and only waits for the disk.
    #[must_use]
    pub fn step_is_kept(&self) -> bool {
        matches!(self, Self::KeptInMemory { .. } | Self::NotSynced { .. })
    }
}

/// The clips that a project holds, by content hash.
///
/// # Errors
/// When the folder is not a project or cannot be read.
pub fn list_clips(project_root: &Path) -> Result<Vec<ClipSummary>, ProjectError> {
    let clips = project_root.join("clips");
    let entries = match fs::read_dir(&clips) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound && project_root.join("FORMAT").exists() => {
            return Ok(Vec::new());
        }
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(ProjectError::NoProject { path: named(project_root) });
        }
        Err(e) => return Err(ProjectError::io("list", &clips, &e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| ProjectError::io("list", &clips, &e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let folder = entry.path();
        let Ok(hash) = checked(&ContentHash(name)) else {
            continue;
        };
        let info = read_regular(&folder.join("clip.json")).ok();
        let info = info.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let journals = journal_files(&folder.join("ops")).map_or(0, |files| files.len());
        found.push(ClipSummary { hash, info, journals });
    }
    found.sort_by(|a, b| a.hash.cmp(&b.hash));
    Ok(found)
}

/// A path as it may be shown.
fn named(path: &Path) -> String {
    shown(&path.to_string_lossy())
}

/// `hash`, when it can safely name a folder.
fn checked(hash: &ContentHash) -> Result<ContentHash, ProjectError> {
    let fine =
        (8..=128).contains(&hash.0.len()) && hash.0.bytes().all(|b| b.is_ascii_alphanumeric());
    fine.then(|| hash.clone()).ok_or_else(|| ProjectError::BadHash { hash: shown(&hash.0) })
}

/// The journal files of a folder with their sessions and part labels, sorted; none where there is no folder. All or an
/// error: a drive that fails in the middle of a list would hide some as if they had never been.
fn journal_files(ops: &Path) -> io::Result<Vec<JournalFile>> {
    let entries = match fs::read_dir(ops) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        files.extend(JournalFile::parse(entry?.path()));
    }
    files.sort();
    Ok(files)
}

/// One journal file: sorted by session, then part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct JournalFile {
    session: String,
    part: String,
    path: PathBuf,
}

impl JournalFile {
    fn parse(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().into_owned();
        let stem = name.strip_suffix(".jsonl")?;
        if stem.starts_with('.') {
            return None;
        }
        let is_part = |tail: &str| {
            tail.starts_with(['p', 'r'])
                && tail.len() > 1
                && tail[1..].bytes().all(|b| b.is_ascii_digit())
        };
        let (session, part) = match stem.rsplit_once('.') {
            Some((session, tail)) if is_part(tail) => (session, tail),
            _ => (stem, ""),
        };
        Some(Self { session: session.to_owned(), part: part.to_owned(), path })
    }
}

/// Reads a regular file; links, pipes and devices are refused.
fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open_regular(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a regular file for reading; links, pipes and devices are refused.
fn open_regular(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(file)
}

impl Modes {
    /// As [`make_folder`](Self::make_folder), durable on return: each folder above a new one is synced, too.
    fn make_folder_durable(self, path: &Path) -> io::Result<()> {
        let above = |folder: &Path| match folder.parent() {
            Some(above) if above.as_os_str().is_empty() => PathBuf::from("."),
            Some(above) => above.to_owned(),
            None => folder.to_owned(),
        };
        let new = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.is_dir();
        let changed: Vec<PathBuf> = path.ancestors().take_while(new).map(above).collect();
        self.make_folder(path)?;
        changed.iter().try_for_each(|folder| sync_folder(folder))
    }

    /// Writes a whole file so that it appears complete or not at all, durable on return.
    fn publish(self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.written_beside(path, bytes)?.persist(path).map_err(|e| e.error)?;
        sync_folder(folder_of(path))
    }

    /// As [`publish`](Self::publish), for what a project has once: where somebody was quicker, theirs stays.
    fn publish_first(self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // Where there are no hard links, as on exFAT, by a rename that replaces nothing.
        match self.written_beside(path, bytes)?.persist_noclobber(path) {
            Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(e.error),
            Ok(_) => sync_folder(folder_of(path)),
        }
    }

    /// A temporary file beside `path` that holds `bytes`, durably; who finds it later knows whether it is still written.
    fn written_beside(self, path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
        let mut file = make_part(folder_of(path))?;
        self.open_to_group(file.as_file())?;
        file.as_file_mut().write_all(bytes)?;
        file.as_file().sync_all()?;
        Ok(file)
    }
}

/// Makes the entries of a folder durable, where its file system and its rights allow that: in a folder that only its owner
/// may list others may write all the same.
fn sync_folder(path: &Path) -> io::Result<()> {
    match File::open(path).and_then(|folder| folder.sync_all()) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::ENOTSUP | libc::EACCES)) => {
            Ok(())
        }
        result => result,
    }
}
