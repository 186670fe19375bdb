//! Temporary files beside what is written: who writes them, and what was left by those that were ended in their midst.
//!
//! What decides whether this file is right: what a living process writes is never taken away. Locks would tell, but not on
//! every network folder; so the name of a file says which process made it.

use std::fs::{self, DirEntry, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use tempfile::NamedTempFile;

use super::process::{boot, started_ticks};

const BEGINS: &str = ".sonomark-";
const ENDS: &str = ".part";
/// Who lives writes oftener: that long nobody's is left who cannot be asked, on another machine or before this one was
/// started.
const SILENT: Duration = Duration::from_secs(86_400);
/// So deep below a folder are the files of an export; one may be written into a folder that holds much else.
const DEEP: usize = 2;

/// The process that made a file.
#[derive(Clone, Copy, Debug)]
struct Maker {
    /// Checksum of [`boot`].
    boot: u32,
    pid: u32,
    /// In the kernel's ticks since boot.
    started: u64,
}

/// This process; `None` where the system does not tell.
static HERE: LazyLock<Option<Maker>> = LazyLock::new(|| {
    let (boot, pid) = (boot(), std::process::id());
    let boot = (!boot.is_empty()).then(|| crc32fast::hash(boot.as_bytes()))?;
    Some(Maker { boot, pid, started: started_ticks(pid)? })
});

impl Maker {
    /// How the name of a file of its begins.
    fn prefix(self) -> String {
        format!("{BEGINS}{:08x}-{}-{}-", self.boot, self.pid, self.started)
    }

    /// Whose file has this name, of which [`BEGINS`] and [`ENDS`] were cut off.
    fn of(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let boot = u32::from_str_radix(parts.next()?, 16).ok()?;
        let (pid, started) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next().map(|_| Self { boot, pid, started })
    }
}

/// A temporary file in `folder`, whose name says that this process writes it.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn make_part(folder: &Path) -> io::Result<NamedTempFile> {
    let prefix = HERE.map_or_else(|| BEGINS.to_owned(), Maker::prefix);
    // Opened here: the library's errors tell the temporary name, which means nothing to anybody, and no number of the cause.
    let make = |path: &Path| {
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
    };
    tempfile::Builder::new().prefix(&prefix).suffix(ENDS).make_in(folder, make)
}

/// Takes away what ended processes left beside `path` and, where that is a folder, in it and in those that exports make
/// below it. What cannot be taken away is in nobody's way.
pub(crate) fn sweep(path: &Path) {
    sweep_folder(folder_of(path));
    sweep_below(path);
}

/// Takes away what ended processes left in a folder, and in those that exports make below it.
pub(crate) fn sweep_below(folder: &Path) {
    let mut folders = vec![folder.to_owned()];
    for _ in 0..=DEEP {
        folders = folders.iter().flat_map(|folder| sweep_folder(folder)).collect();
    }
}

/// The folder that a file lies in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Takes away what ended processes left in one folder; the folders in it.
pub(crate) fn sweep_folder(folder: &Path) -> Vec<PathBuf> {
    let mut below = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            below.push(entry.path());
        } else if is_left(&entry) {
            let _ = fs::remove_file(entry.path());
        }
    }
    below
}

/// Whether it is a temporary file that nobody writes any more.
fn is_left(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.to_str().and_then(|name| name.strip_prefix(BEGINS)?.strip_suffix(ENDS));
    // Asked of those alone that are called so: a folder may hold very many others.
    let found = name.and_then(|name| Some((name, entry.metadata().ok()?)));
    let Some((name, meta)) = found.filter(|(_, meta)| meta.is_file()) else {
        return false;
    };
    // Processes of others may be hidden.
    let own = || fs::metadata("/proc/self").is_ok_and(|own| own.uid() == meta.uid());
    let here = HERE.map(|here| here.boot);
    match Maker::of(name).filter(|made| Some(made.boot) == here && own()) {
        Some(made) => started_ticks(made.pid) != Some(made.started),
        None => is_silent(&entry.path(), &meta).unwrap_or(false),
    }
}

/// Whether nobody has written to a file for long, by the clock of the machine that keeps its folder: that of this one may be
/// wrong by years, and would take away what others write now.
fn is_silent(path: &Path, meta: &Metadata) -> io::Result<bool> {
    let now = make_part(folder_of(path))?.as_file().metadata()?.modified()?;
    // A time that lies ahead is no silence.
    Ok(now.duration_since(meta.modified()?).is_ok_and(|age| age >= SILENT))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_file_is_its_owners_and_why_it_cannot_be_made_is_told_by_number() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let part = make_part(dir.path()).expect("made");
        let meta = part.as_file().metadata().expect("told");
        assert_eq!(meta.permissions().mode() & 0o777, 0o600);
        let why = make_part(part.path()).expect_err("in a file").raw_os_error();
        assert_eq!(why, Some(libc::ENOTDIR));
    }

    #[test]
    fn what_ended_processes_left_is_taken_away_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let out = dir.path().join("out");
        fs::create_dir_all(out.join("nerve")).expect("created");
        let here = HERE.expect("the system tells");
        let mut child = Command::new("sleep").arg("600").spawn().expect("started");
        let started = started_ticks(child.id()).expect("it runs");
        let others = Maker { pid: child.id(), started, ..here };
        let of = |maker: Maker| format!("{}AbC012{ENDS}", maker.prefix());
        let left = [of(others), of(Maker { started: started + 1, ..others })];
        let old = format!("{BEGINS}AbC012{ENDS}");
        let elsewhere = of(Maker { boot: !here.boot, ..others });
        let stay = [of(here), old.clone(), elsewhere, ".sonomark-notes".into(), "a.part".into()];
        let folders = [dir.path().to_owned(), out.clone(), out.join("nerve")];
        for name in left.iter().chain(&stay) {
            folders.iter().for_each(|folder| fs::write(folder.join(name), b"x").expect("written"));
        }
        let there = |name: &String| folders.each_ref().map(|folder| folder.join(name).exists());
        sweep(&out);
        assert_eq!(
            (there(&left[0]), there(&left[1])),
            ([true; 3], [false; 3]),
            "one of them lives"
        );
        child.kill().and_then(|()| child.wait()).expect("ended");
        sweep(&out);
        assert_eq!(there(&left[0]), [false; 3]);
        assert!(stay.iter().all(|name| there(name) == [true; 3]), "{stay:?}");
        // Of an earlier version, or from before this machine was started.
        let file = fs::OpenOptions::new().write(true).open(out.join(&old)).expect("there");
        let at = file.metadata().and_then(|meta| meta.modified()).expect("a time");
        file.set_modified(at - 2 * SILENT).expect("set");
        sweep(&out);
        assert_eq!(there(&old), [true, false, true]);
    }
}
