//! Who may read what we create.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The owner alone, or the group as well when the folder in which it lies was made writable for its group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Modes {
    folder: u32,
    /// Of a file.
    pub(crate) file: u32,
}

impl Modes {
    /// The owner alone.
    pub(crate) const PRIVATE: Self = Self { folder: 0o700, file: 0o600 };

    /// What the root of a project asks for.
    pub(crate) fn of(root: &Path) -> Self {
        match fs::metadata(root).map(|meta| meta.permissions().mode()) {
            Ok(mode) if mode & 0o020 != 0 => Self { folder: 0o770 | (mode & 0o2000), file: 0o660 },
            _ => Self::PRIVATE,
        }
    }

    /// What any folder asks for; `None` where it is no group's: its owner's, or everybody's as `/tmp` is.
    pub(crate) fn of_group(folder: &Path) -> Option<Self> {
        let mode = fs::metadata(folder).ok()?.permissions().mode();
        (mode & 0o022 == 0o020).then(|| Self::of(folder))
    }

    /// Creates a folder and the missing ones above it, whatever the umask.
    pub(crate) fn make_folder(self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            self.make_folder(parent)?;
        }
        match DirBuilder::new().mode(self.folder & 0o777).create(path) {
            Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(self.folder)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Creates a file that must not exist yet, for appending.
    pub(crate) fn create_new(self, path: &Path) -> io::Result<File> {
        let flags = libc::O_CLOEXEC | libc::O_NOFOLLOW;
        let mut options = OpenOptions::new();
        let file =
            options.append(true).create_new(true).mode(self.file).custom_flags(flags).open(path)?;
        self.open_to_group(&file)?;
        Ok(file)
    }

    /// Lets the group at a file of the owner's, where that is asked for; the umask may have taken it away.
    pub(crate) fn open_to_group(self, file: &File) -> io::Result<()> {
        if self.file == Self::PRIVATE.file {
            return Ok(());
        }
        file.set_permissions(fs::Permissions::from_mode(self.file))
    }
}
