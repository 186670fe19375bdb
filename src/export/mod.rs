//! Annotations become files of other programs: PNG masks and COCO.
//!
//! Every file is written beside its target, synced, renamed into place, read back and compared
//! (`atomic.rs`); only then does [`export`] report it. What was decided for every format:
//!
//! * A track counts on a frame when it is visible there (inside a window, or no window is set)
//!   and has a mask, or when it has a mask at all: nothing that was drawn is left out.
//! * Inside a window a frame without a mask is undecided. It is not exported as empty; the report
//!   counts it, so that "no mask yet" never becomes "nothing there".
//! * Outside all windows of a track that has windows the structure is absent by definition; such
//!   frames are not written either.

mod atomic;
mod coco;
mod names;
mod overlay;
mod png;

use std::io;
use std::path::{Path, PathBuf};

use crate::domain::{Annotation, ClipInfo, shown};

pub use atomic::write_atomic;
pub use overlay::{Rgb, RgbImage, contact_sheet, draw_mask, png_bytes};

/// File formats of annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// A folder of `LABEL/FRAME.png` masks, 0 and 255, in the size of the clip; frames from 00000.
    Png,
    /// One JSON file in COCO's format, masks as uncompressed column-major runs.
    Coco,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files written and read back, in order.
    pub files: Vec<PathBuf>,
    /// Masks in them, empty ones included.
    pub masks: usize,
    /// Frames inside a window that have no mask (over all tracks): still to be decided.
    pub undecided: usize,
    /// Labels whose folder had to be named differently: label (escaped) and name.
    pub renamed: Vec<(String, String)>,
}

/// Why nothing, or not everything, was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file or folder cannot be written.
    #[error(
        "cannot write {name}: {cause}; choose another place or free some space, the annotation itself is safe in the project"
    )]
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
    /// An image that cannot be encoded.
    #[error("cannot encode {name}: {cause}; this is a fault of this program, please report it")]
    Encode {
        /// The file.
        name: String,
        /// What the encoder says.
        cause: String,
    },
}

impl ExportError {
    fn write(path: &Path, cause: io::Error) -> Self {
        Self::Write { name: shown(&path.to_string_lossy()), cause }
    }
}

/// Exports the masks of `annotation`, drawn on the clip `info`, to `path`: the folder of
/// [`ExportFormat::Png`], the file of [`ExportFormat::Coco`]. Existing files of the same names are
/// replaced one by one; nothing else is touched.
///
/// # Errors
/// The first file that cannot be written or does not read back, or a mask of another size. Files
/// reported nowhere may have been written before the error.
pub fn export(
    annotation: &Annotation,
    info: &ClipInfo,
    format: ExportFormat,
    path: &Path,
) -> Result<Report, ExportError> {
    check_sizes(annotation, info)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        atomic::ensure_folder(folder)?;
    }
    let mut report = match format {
        ExportFormat::Png => png::write(annotation, path)?,
        ExportFormat::Coco => coco::write(annotation, info, path)?,
    };
    report.undecided = undecided(annotation);
    Ok(report)
}

fn check_sizes(annotation: &Annotation, info: &ClipInfo) -> Result<(), ExportError> {
    for track in annotation.tracks.values() {
        for (&frame, held) in &track.masks {
            let (width, height) = (held.mask.width_px(), held.mask.height_px());
            if (width, height) != (info.width_px, info.height_px) || frame >= info.frames {
                let (label, clip) = (shown(&track.info.label), shown(&info.name));
                return Err(ExportError::WrongSize { label, frame, width, height, clip });
            }
        }
    }
    Ok(())
}

/// Frames inside set windows without a mask.
fn undecided(annotation: &Annotation) -> usize {
    let of_track = |track: &crate::domain::Track| {
        let frames = track.windows.iter().flat_map(|window| window.first..=window.last);
        frames.filter(|frame| !track.masks.contains_key(frame)).count()
    };
    annotation.tracks.values().map(of_track).sum()
}
