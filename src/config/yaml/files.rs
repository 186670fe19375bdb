//! The text of files that people write: bounded, and with the name under which its faults are told.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{BYTES_MAX, Faults};
use crate::domain::shown;

/// The name of a file as people read it, and its text; `None` where there is no such file.
///
/// # Errors
/// A file that is there and cannot be read.
pub fn text_if_there(path: &Path) -> Result<Option<(String, String)>, Faults> {
    match File::open(path).and_then(|file| bounded_text(file, BYTES_MAX)) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(|text| Some((named(path), text))).map_err(|cause| unread(path, cause)),
    }
}

/// The name of a file as people read it, and its text.
///
/// # Errors
/// A file that cannot be read, or is not there.
pub fn text_of(path: &Path) -> Result<(String, String), Faults> {
    text_up_to(path, BYTES_MAX)
}

/// As [`text_of`], of a file of at most `bytes_max`.
///
/// # Errors
/// As [`text_of`].
pub fn text_up_to(path: &Path, bytes_max: usize) -> Result<(String, String), Faults> {
    let read = File::open(path).and_then(|file| bounded_text(file, bytes_max));
    read.map(|text| (named(path), text)).map_err(|cause| unread(path, cause))
}

/// The same of a file in a folder that others write to: only of a regular one, not of a link. What was one a moment ago may
/// be a pipe now, and to open that waits for ever; so the opened file is looked at, not its name.
///
/// # Errors
/// A file that cannot be read, is not there, or is no regular file.
pub fn text_of_regular(path: &Path) -> Result<(String, String), Faults> {
    let read = regular(path).and_then(|file| bounded_text(file, BYTES_MAX));
    read.map(|text| (named(path), text)).map_err(|cause| unread(path, cause))
}

/// Opens a regular file without waiting for anything.
fn regular(path: &Path) -> std::io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(cause) if cause.raw_os_error() == Some(libc::ELOOP) => {
            return Err(std::io::Error::new(ErrorKind::InvalidInput, "it is a link"));
        }
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(file)
}

/// The text of a file; of one that is too large as much as tells [`super::parse`] so, for a device may
/// have no end.
fn bounded_text(file: File, bytes_max: usize) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        // The cut may go through a letter.
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).map_err(|cause| std::io::Error::new(ErrorKind::InvalidData, cause))
}

fn named(path: &Path) -> String {
    shown(&path.to_string_lossy())
}

fn unread(path: &Path, cause: std::io::Error) -> Faults {
    let mut faults = Faults::new(named(path));
    faults.add(
        0,
        match cause.kind() {
            ErrorKind::InvalidData => "it is no text in UTF-8; save it as that".to_owned(),
            _ => format!("it cannot be read: {cause}; check the path and the rights"),
        },
    );
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::parse;

    #[test]
    fn of_a_file_without_end_only_as_much_is_read_as_tells_it_is_too_large() {
        let (name, text) = text_of(Path::new("/dev/zero")).expect("it opens");
        assert_eq!(text.len(), BYTES_MAX + 1);
        assert!(parse(&name, &text).expect_err("too large").to_string().contains("larger than"));
    }

    #[test]
    fn a_link_or_a_pipe_in_the_place_of_a_file_is_refused_at_once() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.prompts.yaml");
        std::fs::write(&path, "a: 1").expect("written");
        assert_eq!(text_of_regular(&path).expect("it opens").1, "a: 1");
        let link = folder.path().join("link.prompts.yaml");
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        let told = text_of_regular(&link).expect_err("a link").to_string();
        assert!(told.contains("it cannot be read: it is a link; check"), "{told}");
        std::fs::remove_file(&path).expect("removed");
        let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).expect("name");
        // SAFETY: the pointer is to a text that lives until the call returns.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let (sender, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(text_of_regular(&path)));
        let told =
            told.recv_timeout(std::time::Duration::from_secs(60)).expect("it waits for nobody");
        assert!(told.expect_err("a pipe").to_string().contains("it is not a regular file"));
    }
}
