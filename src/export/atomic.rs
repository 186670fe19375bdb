//! Files that are either the old ones or the new ones, never half of each.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::ExportError;
use crate::codec::Modes;
use crate::codec::part::{self, folder_of};

/// Writes `bytes` to `path` so that a crash at any moment leaves the old file or the new one:
/// temporary file beside it (created anew, random name), fsync, rename, fsync of the folder;
/// then reads it back and compares. The folder must exist.
///
/// # Errors
/// When a step fails (the temporary file is removed, an existing `path` untouched), or when what
/// is read back differs.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    replace(path, bytes).map_err(|e| ExportError::write(path, e))?;
    match fs::read(path) {
        Ok(found) if found == bytes => Ok(()),
        Ok(_) => Err(ExportError::Differs { name: crate::domain::shown(&path.to_string_lossy()) }),
        Err(error) => Err(ExportError::write(path, error)),
    }
}

/// Whether a file could be written to `path`, before hours are spent on what goes there: a temporary file is made beside it
/// and removed, and so is what was left of others that nobody writes any more.
///
/// # Errors
/// What [`write_atomic`] would say, as far as it can be known now.
pub fn check_writable(path: &Path) -> Result<(), ExportError> {
    let tried = match fs::metadata(path) {
        Ok(held) if !held.is_file() => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is there and no file"))
        }
        _ => {
            part::sweep(path);
            temporary(path).map(drop)
        }
    };
    tried.map_err(|e| ExportError::write(path, e))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = temporary(path)?;
    // Through the file itself: what fails would else be told with the temporary name.
    file.as_file_mut().write_all(bytes)?;
    put_in_place(file, path)
}

fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    // The name says who writes, and nothing of the content: temporary names are seen by others.
    let folder = folder_of(path);
    if !folder.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "its folder is not there"));
    }
    let file = part::make_part(folder)?;
    if let Some(modes) = Modes::of_group(folder) {
        modes.open_to_group(file.as_file())?;
    }
    Ok(file)
}

fn put_in_place(file: NamedTempFile, path: &Path) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|held| !held.is_file() && !held.is_dir()) {
        // As root a rename would put a file in the place of /dev/null.
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is a device or pipe and no file",
        ));
    }
    file.as_file().sync_all()?;
    keep_mode(file.as_file(), path)?;
    file.persist(path).map_err(|e| e.error)?;
    sync_folder(folder_of(path))
}

/// Makes the entries of a folder durable, where its file system and its rights allow that: the file itself is written
/// and synced.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::ENOTSUP | libc::EACCES)) => {
            Ok(())
        }
        result => result,
    }
}

/// An empty temporary file beside `path`, for another program to fill.
pub(super) fn part_beside(path: &Path) -> Result<NamedTempFile, ExportError> {
    temporary(path).map_err(|e| ExportError::write(path, e))
}

/// Syncs what was filled, and renames it to `path`.
pub(super) fn publish(part: NamedTempFile, path: &Path) -> Result<(), ExportError> {
    put_in_place(part, path).map_err(|e| ExportError::write(path, e))
}

/// A replaced file keeps its permissions; a new one is its owner's alone, as masks may be of
/// patients, or the group's in a folder of a group's.
fn keep_mode(file: &File, path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() => file.set_permissions(meta.permissions()),
        _ => Ok(()),
    }
}

/// Renames what lies at `path` to the first `PATH.earlier-N` that is free, and tells which that is: nothing in it is deleted,
/// since a person may have put something there.
///
/// # Errors
/// When it cannot be renamed.
pub fn set_aside(path: &Path) -> Result<PathBuf, ExportError> {
    let numbered = |n: usize| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".earlier-{n}"));
        PathBuf::from(name)
    };
    let aside = (1..).map(numbered).find(|aside| !aside.exists()).unwrap_or_else(|| numbered(0));
    fs::rename(path, &aside).map_err(|e| ExportError::write(path, e))?;
    Ok(aside)
}

/// Creates a folder where there is none, and makes its entry durable.
pub(super) fn ensure_folder(path: &Path) -> Result<(), ExportError> {
    make_folder(path)
        .and_then(|()| sync_folder(folder_of(path)))
        .map_err(|e| ExportError::write(path, e))
}

/// In a folder of a group's the new ones are the group's, too.
fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = folder_of(path);
    make_folder(above)?;
    match Modes::of_group(above) {
        Some(modes) => modes.make_folder(path),
        None => fs::create_dir_all(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_replaced_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("a.json");
        write_atomic(&path, b"old").expect("written");
        write_atomic(&path, b"new").expect("replaced");
        assert_eq!(fs::read(&path).expect("read"), b"new");
        check_writable(&path).expect("it can be written");
        check_writable(&dir.path().join("b.json")).expect("so can one that is not there");
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1);
        for (place, cause) in [("none/c.json", "folder is not there"), (".", "no file")] {
            let told = check_writable(&dir.path().join(place)).expect_err(place).to_string();
            assert!(told.contains(cause), "{told}");
        }
    }

    #[test]
    fn in_a_folder_of_a_groups_everything_is_the_groups() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o7777;
        for (of_root, file) in [(0o2770, 0o660), (0o700, 0o600)] {
            let root = dir.path().join(format!("{of_root:o}"));
            fs::create_dir(&root).expect("created");
            fs::set_permissions(&root, fs::Permissions::from_mode(of_root)).expect("set");
            let below = root.join("exports/png");
            ensure_folder(&below).expect("made");
            write_atomic(&below.join("a.png"), b"x").expect("written");
            assert_eq!(mode(&below.join("a.png")), file);
            // Others than a group's are as the umask has them.
            let shared = [&below, &root.join("exports")].map(|folder| mode(folder) == 0o2770);
            assert_eq!(shared, [of_root == 0o2770; 2]);
        }
        // Everybody's, as /tmp: nobody is meant.
        let open = dir.path().join("open");
        fs::create_dir(&open).expect("created");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).expect("set");
        write_atomic(&open.join("a.png"), b"x").expect("written");
        assert_eq!(mode(&open.join("a.png")), 0o600);
    }

    #[test]
    fn what_is_no_file_stays_what_it_is() {
        use std::os::unix::fs::FileTypeExt;
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("pipe");
        let name = std::ffi::CString::new(path.to_str().expect("text")).expect("no zero");
        // SAFETY: a path that ends with a zero.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let error = write_atomic(&path, b"x").expect_err("a pipe is no file").to_string();
        assert!(error.contains("device or pipe"), "{error}");
        assert!(fs::symlink_metadata(&path).expect("there").file_type().is_fifo());
    }

    #[test]
    fn a_failure_names_the_file_and_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("is-a-folder");
        fs::create_dir(&path).expect("created");
        fs::write(path.join("inside"), b"x").expect("written");
        let error = write_atomic(&path, b"new").expect_err("a folder is no file").to_string();
        assert!(error.contains("is-a-folder"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1);
        assert!(write_atomic(&dir.path().join("missing/a"), b"x").is_err());
    }
}
