//! Whether what a project holds is what was written: every line of every journal is read, and what is wrong is named with
//! its place, what is lost with it, and what to do.
//!
//! What decides whether this file is right: nothing is ever changed, no damage is called harmless, and what is whole in one
//! of several copies is not called lost.

mod session;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::journal::{Line, Record};
use super::onlooker::{ClipFiles, Onlooker};
use super::prepare::{Said, open_to_all, said};
use super::{
    ClipSummary, FORMAT, JournalFile, ProjectError, checked, journal_files, key, named,
    read_regular,
};
use crate::domain::{ContentHash, Edit, TrackId, counted};
use session::Session;

/// How grave a finding is, the gravest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// Nothing is lost that anybody had seen.
    Harmless,
    /// Nothing is damaged, and somebody should look at it.
    Warning,
    /// Something is not what was written.
    Damage,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How grave it is.
    pub gravity: Gravity,
    /// File or folder, safe to show.
    pub path: String,
    /// Line of the file, from 1.
    pub line: Option<usize>,
    /// The bytes of the file that it is about.
    pub bytes: Option<Range<usize>>,
    /// What is wrong.
    pub what: String,
    /// What is lost by it.
    pub lost: Option<String>,
    /// What to do.
    pub todo: Option<String>,
}

impl Finding {
    fn new(gravity: Gravity, path: &Path, what: impl Into<String>) -> Self {
        let (path, what) = (named(path), what.into());
        Self { gravity, path, line: None, bytes: None, what, lost: None, todo: None }
    }

    fn todo(self, todo: impl Into<String>) -> Self {
        Self { todo: Some(todo.into()), ..self }
    }

    fn lost(self, lost: impl Into<String>) -> Self {
        Self { lost: Some(lost.into()), ..self }
    }
}

/// What was found, and how much was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// In the order of the files.
    pub findings: Vec<Finding>,
    /// Journal files.
    pub journals: usize,
    /// Lines of them that are as they were written.
    pub lines: usize,
}

impl Checked {
    /// The gravest finding; none where all is well.
    #[must_use]
    pub fn gravity(&self) -> Option<Gravity> {
        self.findings.iter().map(|finding| finding.gravity).max()
    }
}

/// Checks what a project holds beside its clips.
#[must_use]
pub fn check_folder(root: &Path) -> Vec<Finding> {
    let mut found = Vec::new();
    let format = root.join("FORMAT");
    let first = read_regular(&format).map(|bytes| {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(64)]).into_owned();
        text.lines().next().unwrap_or_default().trim().to_owned()
    });
    match first {
        Ok(line) if line == FORMAT => {}
        Ok(line) if line.starts_with("sonomark ") => found.push(
            Finding::new(Gravity::Warning, &format, "a newer sonomark wrote it")
                .todo("update sonomark, and check again"),
        ),
        Ok(_) => found.push(
            Finding::new(Gravity::Damage, &format, "it does not say what it should")
                .lost("which project it is, by which copies of rescued steps know it")
                .todo(format!("copy it from a backup; without one write '{FORMAT}' into it")),
        ),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => found.push(
            Finding::new(Gravity::Warning, &format, "it is not there")
                .todo("copy it from a backup; the next clip that is opened makes a new one"),
        ),
        Err(cause) => found.push(unreadable(&format, &cause)),
    }
    found.extend(check_key(&root.join(key::NAME)));
    for folder in [root.to_owned(), root.join("clips"), root.join("sessions")] {
        found.extend(writable_by_all(&folder));
    }
    let known = |name: &str| ["FORMAT", "clips", "sessions", "exports"].contains(&name);
    found.extend(strangers(root, |path, name| known(name) || path.ends_with(key::NAME)));
    let is_clip = |path: &Path, name: &str| path.is_dir() && checked(&hash_of(name)).is_ok();
    found.extend(strangers(&root.join("clips"), is_clip));
    found
}

fn hash_of(name: &str) -> ContentHash {
    ContentHash(name.to_owned())
}

/// Checks the secret by which identifiers are mapped; there is none until one is asked for.
fn check_key(path: &Path) -> Option<Finding> {
    let found = |gravity, what: &str| Finding::new(gravity, path, what);
    match read_regular(path) {
        Ok(bytes) if bytes.len() != key::LENGTH => Some(
            found(Gravity::Damage, "it is not 32 bytes long")
                .lost("how identifiers of this project were mapped in what was exported")
                .todo("copy it from a backup, before anything is exported for others"),
        ),
        Ok(_) => {
            let mode = fs::metadata(path).map_or(0, |meta| meta.permissions().mode());
            let secret = found(Gravity::Warning, "anybody on this machine can read this secret");
            (mode & 0o007 != 0).then(|| secret.todo("close it with `chmod o=`"))
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => None,
        Err(cause) => Some(unreadable(path, &cause)),
    }
}

/// Reads everything that a project holds on a clip, whether its `clip.json` can be read or not. Changes nothing.
#[must_use]
pub fn check_clip(onlooker: &mut Onlooker, clip: &ClipSummary) -> Checked {
    let mut checked = Checked::default();
    let folder = onlooker.root.join("clips").join(&clip.hash.0);
    let ClipFiles { ops, rescue, alive } = match onlooker.files(&clip.hash) {
        Ok(seen) => seen,
        // It is a file, which `check_folder` names, or was taken away meanwhile.
        Err(ProjectError::NoSuchClip { .. }) => return checked,
        Err(error) => {
            checked.findings.push(Finding::new(Gravity::Damage, &folder, error.to_string()));
            return checked;
        }
    };
    let untouched = || {
        let none = |from: &PathBuf| journal_files(from).is_ok_and(|files| files.is_empty());
        none(&ops) && rescue.iter().all(none)
    };
    checked.findings.extend(check_about(&folder.join("clip.json"), &clip.hash, untouched));
    let known = |_: &Path, name: &str| {
        ["clip.json", "ops"].contains(&name) || name.starts_with("clip.damaged-")
    };
    checked.findings.extend(strangers(&folder, known));
    let is_journal = |path: &Path, _: &str| JournalFile::parse(path.to_owned()).is_some();
    checked.findings.extend(strangers(&ops, is_journal));
    for folder in [&folder, &ops] {
        checked.findings.extend(writable_by_all(folder));
    }
    let (mut files, mut all) = (Vec::new(), true);
    for from in std::iter::once(&ops).chain(&rescue) {
        match journal_files(from) {
            Ok(held) => files.extend(held),
            Err(cause) => {
                all = false;
                checked.findings.push(unreadable(from, &cause));
            }
        }
    }
    files.sort();
    let same = files.chunk_by(|a, b| a.session == b.session);
    let sessions: Vec<Session> =
        same.map(|files| Session::read(files, &alive, &mut checked)).collect();
    let labels = labels(&sessions);
    let mut lost = 0;
    for session in &sessions {
        lost += session.judge(&ops, &labels, &mut checked.findings);
    }
    // Of what is being written or cannot be read it is not known what is missing.
    if all && alive.is_empty() && sessions.iter().all(|session| session.whole) {
        checked.findings.extend(cut_off(&sessions, &ops, lost));
    }
    checked
}

/// Checks what is said of a clip, on which there may be no work: it is `untouched`.
fn check_about(path: &Path, hash: &ContentHash, untouched: impl Fn() -> bool) -> Option<Finding> {
    let damage = |what: &str| {
        Finding::new(Gravity::Damage, path, what)
            .lost("name, size and number of frames of the clip; the work on it can be read")
            .todo("open the clip once with sonomark, which writes it anew")
    };
    match read_regular(path).map(|bytes| said(&bytes, hash)) {
        Ok(Said::Known(info)) if info.content_hash == *hash => None,
        Ok(Said::Known(_)) => Some(damage("it is the one of another clip")),
        Ok(Said::Damaged) => Some(damage("it is damaged")),
        Ok(Said::Newer) => Some(
            Finding::new(Gravity::Warning, path, "a newer sonomark wrote it")
                .todo("update sonomark to have the clip named in lists"),
        ),
        // Its folder comes first: a kill or a loss of power in between costs nothing.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound && untouched() => Some(
            Finding::new(Gravity::Warning, path, "it is not there, nor is any work on the clip")
                .todo(
                    "open the clip once with sonomark, whose first opening of it was interrupted",
                ),
        ),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Some(damage("it is not there")),
        Err(cause) => Some(unreadable(path, &cause)),
    }
}

fn unreadable(path: &Path, cause: &io::Error) -> Finding {
    Finding::new(Gravity::Damage, path, format!("it cannot be read ({cause})"))
        .lost("not known: whatever stands in it is not loaded")
        .todo("check the disk and the rights, then check again; nothing was changed")
}

fn writable_by_all(path: &Path) -> Option<Finding> {
    let found = || Finding::new(Gravity::Warning, path, "anybody on this machine can change it");
    open_to_all(path).then(|| found().todo("close it with `chmod o-w`"))
}

/// What lies in a folder and is none of what belongs there.
fn strangers(folder: &Path, belongs: impl Fn(&Path, &str) -> bool) -> Vec<Finding> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if belongs(&path, &name) {
            continue;
        }
        found.push(match name.starts_with('.') {
            true => {
                Finding::new(Gravity::Harmless, &path, "it is hidden, and no part of a project")
                    .todo("remove it where it was left by a write that was interrupted")
            }
            false => stranger(&path),
        });
    }
    found
}

fn stranger(path: &Path) -> Finding {
    Finding::new(Gravity::Warning, path, "it is no part of a project and was not looked at")
        .todo("move it elsewhere")
}

/// What the structures of a clip are called, as far as the readable lines tell.
fn labels(sessions: &[Session]) -> BTreeMap<TrackId, String> {
    let mut lines: Vec<&Line> = sessions.iter().flat_map(|session| &session.lines).collect();
    lines.sort_by_key(|line| line.lam);
    let mut labels = BTreeMap::new();
    for line in lines {
        let Record::Step(step) = &line.record else { continue };
        for edit in &step.edits {
            match edit {
                Edit::AddTrack { track, content } | Edit::RemoveTrack { track, content } => {
                    labels.insert(*track, content.info.label.clone());
                }
                Edit::SetTrackInfo { track, after, .. } => {
                    labels.insert(*track, after.label.clone());
                }
                _ => {}
            }
        }
    }
    labels
}

/// Whether lines are gone that somebody had read, beyond the `lost` ones: each line is numbered one higher than the highest
/// that its session had read, so that the numbers of all together have no gap. That finds journals that were cut off at
/// their end, or taken away.
fn cut_off(sessions: &[Session], ops: &Path, lost: u64) -> Option<Finding> {
    let lines = sessions.iter().flat_map(|session| &session.lines);
    // No honest clock comes near, as `reader` says.
    let mut numbers: Vec<u64> =
        lines.map(|line| line.lam).filter(|lam| *lam < u64::MAX / 2).collect();
    numbers.sort_unstable();
    let (mut next, mut missing, mut gaps) = (1_u64, 0_u64, Vec::new());
    for number in numbers {
        if number > next {
            missing += number - next;
            gaps.push(match number - next {
                1 => next.to_string(),
                _ => format!("{next}-{}", number - 1),
            });
        }
        next = next.max(number + 1);
    }
    if missing <= lost {
        return None;
    }
    gaps.truncate(20);
    let what = format!(
        "{} missing that other sessions had read (among the changes {})",
        counted(missing - lost, "line"),
        gaps.join(", ")
    );
    Some(
        Finding::new(Gravity::Damage, ops, what)
            .lost("what stood at the end of a journal that was cut off, or in one that is not here")
            .todo(
                "look for a backup or another copy of the project, and copy the journals that are missing or shorter \
                 here from it",
            ),
    )
}
