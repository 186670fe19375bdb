//! Why an export fails, as sentences.

use std::io;
use std::path::Path;

use crate::domain::shown;

/// Why nothing, or not everything, was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file or folder cannot be written.
    #[error("cannot write {name}: {cause}; {}", advice(.cause))]
    Write {
        /// The file or folder.
        name: String,
        /// What the system says.
        cause: io::Error,
    },
    /// What was read back is not what was written.
    #[error(
        "{name} reads back differently from what was written; do not use it, check the disk and export again"
    )]
    Differs {
        /// The file.
        name: String,
    },
    /// What was written cannot be read.
    #[error("{name} was written and cannot be read back: {cause}; do not use it")]
    Unread {
        /// The file.
        name: String,
        /// Why not.
        cause: String,
    },
    /// A mask that does not belong to the clip.
    #[error(
        "the mask of \"{label}\" on frame {} is {width} x {height} pixels, the clip {clip} is not; \
         export it with the clip it was drawn on", .frame + 1
    )]
    WrongSize {
        /// The label, escaped.
        label: String,
        /// The frame, from 0.
        frame: usize,
        /// Width of the mask, px.
        width: u32,
        /// Height of the mask, px.
        height: u32,
        /// Name of the clip, escaped.
        clip: String,
    },
    /// The folder holds a file that is none of this export.
    #[error(
        "{name} was not written: the folder holds this file of something else or of an earlier export, and programs \
         would take it for a part of this one; choose a new folder, or remove what is in this one"
    )]
    Leftover {
        /// The file.
        name: String,
    },
    /// The format cannot hold this annotation.
    #[error("{name} was not written: {cause}; {advice}")]
    Unfit {
        /// The file or folder.
        name: String,
        /// What does not fit.
        cause: String,
        /// What to do instead.
        advice: String,
    },
    /// Nobody wanted it any more. Every file of it that is there is whole.
    #[error("{name} is not complete: the export was stopped; export it again")]
    Stopped {
        /// The file or folder.
        name: String,
    },
    /// An image that cannot be encoded.
    #[error("cannot encode {name}: {cause}; this is a fault of this program, please report it")]
    Encode {
        /// The file.
        name: String,
        /// What the encoder says.
        cause: String,
    },
}

/// What to do about a file that cannot be written.
fn advice(cause: &io::Error) -> &'static str {
    use io::ErrorKind as K;
    match cause.kind() {
        K::NotFound | K::NotADirectory => "choose another place, or make the folder first",
        K::PermissionDenied | K::ReadOnlyFilesystem => "choose a place where you may write",
        K::StorageFull | K::QuotaExceeded | K::FileTooLarge => "free some space",
        _ => "choose another place or free some space",
    }
}

impl ExportError {
    pub(super) fn write(path: &Path, cause: io::Error) -> Self {
        Self::Write { name: shown(&path.to_string_lossy()), cause }
    }

    pub(super) fn differs(path: &Path) -> Self {
        Self::Differs { name: shown(&path.to_string_lossy()) }
    }

    pub(super) fn stopped(path: &Path) -> Self {
        Self::Stopped { name: shown(&path.to_string_lossy()) }
    }

    pub(super) fn unread(path: &Path, cause: impl std::fmt::Display) -> Self {
        Self::Unread { name: shown(&path.to_string_lossy()), cause: cause.to_string() }
    }

    pub(super) fn encode(path: &Path, cause: impl std::fmt::Display) -> Self {
        Self::Encode { name: shown(&path.to_string_lossy()), cause: cause.to_string() }
    }

    pub(super) fn unfit(path: &Path, cause: impl Into<String>, advice: impl Into<String>) -> Self {
        let name = shown(&path.to_string_lossy());
        Self::Unfit { name, cause: cause.into(), advice: advice.into() }
    }
}
