//! Why a clip cannot be opened or a frame cannot be read.
//!
//! Every sentence names the file, the cause and the next step. Names come from foreign disks, so
//! they are made safe for terminals when the error is built, not when it is shown.

use std::io;
use std::path::Path;

use crate::domain::{counted, shown};

/// Why there is no clip or no frame.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The operating system refuses.
    #[error("cannot read {name}: {cause}; check that it exists and that you may read it")]
    Unreadable {
        /// The file or folder.
        name: String,
        /// What the system says.
        cause: io::Error,
    },
    /// Neither name nor content is known.
    #[error(
        "{name} is no clip this program knows; give an image (PNG, JPEG, TIFF, BMP, WebP), a folder \
         of images, a DICOM file, a video or a volume (NIfTI, NRRD, MetaImage)"
    )]
    Unknown {
        /// The file.
        name: String,
    },
    /// The bytes contradict themselves or end too early.
    #[error("{name} is damaged or not completely copied: {cause}; copy it again from its source")]
    Damaged {
        /// The file.
        name: String,
        /// What does not fit.
        cause: String,
    },
    /// Well-formed, but not something this program decodes.
    #[error("{name} cannot be opened: {cause}; {advice}")]
    Unsupported {
        /// The file.
        name: String,
        /// What is not supported.
        cause: String,
        /// What to do instead.
        advice: String,
    },
    /// Larger than the limits that protect this machine.
    #[error("{name} is too large: {cause}; split or scale it first")]
    TooLarge {
        /// The file.
        name: String,
        /// Which limit.
        cause: String,
    },
    /// The frames of a folder differ in size.
    #[error(
        "the images of {name} differ in size: {first} is {first_size}, {other} is {other_size}; \
         if each is a picture of its own, open them as FOLDER/*.png (a queue of stills); if they are one clip, give them one size"
    )]
    MixedSizes {
        /// The folder.
        name: String,
        /// First frame.
        first: String,
        /// "640 x 480".
        first_size: String,
        /// The first frame of another size.
        other: String,
        /// Its size.
        other_size: String,
    },
    /// A folder without frames.
    #[error(
        "the folder {name} holds no frames; put PNG, JPEG, TIFF, BMP or WebP images into it (NAME.mask.png are masks), or open the clips in it as FOLDER/* (a queue)"
    )]
    NoFrames {
        /// The folder.
        name: String,
    },
    /// A frame beyond the end.
    #[error(
        "{name} has {}, there is no frame {} (flags and files count from 0, so theirs is {frame}); ask for one that is \
         there",
        counted(*.frames, "frame"), .frame + 1
    )]
    NoSuchFrame {
        /// The clip.
        name: String,
        /// Which frame, from 0.
        frame: usize,
        /// Number of frames.
        frames: usize,
    },
    /// Another content may lie where the clip was: its frames do not belong to what was annotated.
    #[error(
        "{name} was changed or replaced since the clip was opened; open the clip again to see what \
         it holds now"
    )]
    Replaced {
        /// The file.
        name: String,
    },
    /// ffmpeg or ffprobe is missing or fails.
    #[error("{name} is a video and {tool} cannot read it: {cause}; {advice}")]
    Tool {
        /// The file.
        name: String,
        /// `ffmpeg` or `ffprobe`.
        tool: &'static str,
        /// What it says, shortened and escaped.
        cause: String,
        /// What to do.
        advice: &'static str,
    },
}

impl CodecError {
    pub(super) fn unreadable(path: &Path, cause: io::Error) -> Self {
        Self::Unreadable { name: name_of(path), cause }
    }

    pub(super) fn damaged(path: &Path, cause: impl std::fmt::Display) -> Self {
        Self::Damaged { name: name_of(path), cause: brief(&cause.to_string()) }
    }

    pub(super) fn unsupported(path: &Path, cause: impl Into<String>, advice: &str) -> Self {
        let cause = brief(&cause.into());
        Self::Unsupported { name: name_of(path), cause, advice: advice.to_owned() }
    }

    pub(super) fn too_large(path: &Path, cause: impl Into<String>) -> Self {
        Self::TooLarge { name: name_of(path), cause: cause.into() }
    }
}

/// The whole path, safe to print.
pub(super) fn name_of(path: &Path) -> String {
    shown(&path.to_string_lossy())
}

/// The last part of a path as it is (not escaped), or the path itself.
pub(super) fn short_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Foreign text on one line, escaped and at most 300 characters.
pub(super) fn brief(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = line.chars().take(300).collect();
    shown(&cut)
}
