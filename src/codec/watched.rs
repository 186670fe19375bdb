//! Below a watched folder files are opened without following links: others write there, and must not lead out of it.
//!
//! What decides whether this file is right: between a look at a name and its opening nobody can put a link in its place.
//! Each part of a path is opened in the folder that was opened before it, which is what `openat2` does with
//! `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS` on kernels that have it.

use std::ffi::{CString, OsStr};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

/// The folder that this process watches, without links in its path.
static WATCHED: OnceLock<PathBuf> = OnceLock::new();

/// Names of folders alone are looked up: to pass through them is all that is wanted.
const THROUGH: libc::c_int = libc::O_PATH | libc::O_DIRECTORY;
/// Neither pipes nor devices are waited for.
const READ: libc::c_int = libc::O_RDONLY | libc::O_NONBLOCK;

/// From now on no link is followed below `folder`, a path without links, as long as this process runs. It watches one
/// folder: that of a first call counts.
pub fn follow_no_links_below(folder: &Path) {
    let _ = WATCHED.set(folder.to_owned());
}

/// Opens a file for reading, whatever it is.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let below = WATCHED.get().and_then(|folder| Some((folder, path.strip_prefix(folder).ok()?)));
    match below {
        Some((folder, rest)) => open_below(folder, rest),
        None => OpenOptions::new().read(true).custom_flags(READ).open(path),
    }
}

/// Opens what lies at `rest` below `folder`, without links on the way.
fn open_below(folder: &Path, rest: &Path) -> io::Result<File> {
    // Anew each time: the folder of a drive that was away for a moment is another one.
    let mut at = OpenOptions::new().read(true).custom_flags(THROUGH).open(folder)?;
    let mut parts = rest.components().peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else { return Err(leads_away()) };
        at = open_in(&at, name, if parts.peek().is_some() { THROUGH } else { READ })?;
    }
    Ok(at)
}

fn open_in(folder: &File, name: &OsStr, flags: libc::c_int) -> io::Result<File> {
    let name = CString::new(name.as_bytes())?;
    let flags = flags | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    loop {
        // SAFETY: the descriptor is open as long as `folder`, and the name lives until the call returns.
        let opened = unsafe { libc::openat(folder.as_raw_fd(), name.as_ptr(), flags) };
        if opened >= 0 {
            // SAFETY: the descriptor is new, nobody else has it.
            return Ok(unsafe { File::from_raw_fd(opened) });
        }
        let cause = io::Error::last_os_error();
        match cause.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::ELOOP | libc::ENOTDIR) => return Err(leads_away()),
            _ => return Err(cause),
        }
    }
}

fn leads_away() -> io::Error {
    let why = "it is a link or lies behind one, and those in a watched folder are not followed";
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_leads_out_of_the_folder_or_is_waited_for() {
        let home = tempfile::tempdir().expect("a temporary folder");
        let folder = home.path().join("inbox");
        fs::create_dir_all(folder.join("scan")).expect("made");
        for name in ["inbox/a.png", "inbox/scan/0.png", "0.png"] {
            fs::write(home.path().join(name), name).expect("written");
        }
        symlink(home.path().join("0.png"), folder.join("link.png")).expect("linked");
        symlink("a.png", folder.join("near.png")).expect("linked");
        symlink(home.path(), folder.join("away")).expect("linked");
        symlink("nowhere", folder.join("dangling.png")).expect("linked");
        let text = |name: &str| -> io::Result<String> {
            let mut text = String::new();
            open_below(&folder, Path::new(name))?.read_to_string(&mut text)?;
            Ok(text)
        };
        assert_eq!(text("a.png").expect("it opens"), "inbox/a.png");
        assert_eq!(text("scan/0.png").expect("it opens"), "inbox/scan/0.png");
        for name in ["link.png", "near.png", "away/0.png", "dangling.png", "../0.png", "/0.png"] {
            let why = text(name).expect_err(name).to_string();
            assert!(why.contains("it is a link or lies behind one"), "{name}: {why}");
        }
        assert_eq!(text("none.png").expect_err("none").kind(), io::ErrorKind::NotFound);
        let pipe = CString::new(folder.join("pipe.png").as_os_str().as_bytes()).expect("a name");
        // SAFETY: the pointer is to a text that lives until the call returns.
        assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
        let (sender, told) = std::sync::mpsc::channel();
        let inside = folder.clone();
        std::thread::spawn(move || {
            let opened = open_below(&inside, Path::new("pipe.png"));
            sender.send(opened.and_then(|pipe| pipe.metadata()).map(|meta| meta.is_file()))
        });
        let told = told.recv_timeout(std::time::Duration::from_secs(60));
        assert!(!told.expect("nobody is waited for").expect("it opens"), "a pipe is no file");
    }
}
