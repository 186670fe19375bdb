//! Annotations become files of other programs, and such files are read again.
//!
//! Every file is written beside its target, synced, renamed into place, read back and compared
//! (`atomic.rs`); then the whole is read by the same code that `sonomark import` uses and
//! compared with the annotation pixel by pixel; only then does [`export`] report it. One row of
//! [`FORMATS`] is one format: how it is called, what it can keep, how it is written and read.
//! What was decided for every format:
//!
//! * A track counts on a frame when it is visible there (inside a window, or no window is set)
//!   and has a mask, or when it has a mask at all: nothing that was drawn is left out.
//! * Inside a window a frame without a mask is undecided. It is not exported as empty; the report
//!   counts it, so that "no mask yet" never becomes "nothing there". Volumes and frames of labels
//!   cannot tell the two apart; the report says so by the same count.
//! * Outside all windows of a track that has windows the structure is absent by definition; such
//!   frames are not written either.
//! * Files name clips by their content hash, never by their file name, which may be a patient's.

mod atomic;
mod coco;
mod colours;
mod content;
mod csv;
mod cvat;
mod davis;
mod dicom_seg;
mod indexed;
mod labelmap;
mod labelme;
mod movie;
mod names;
mod nifti;
mod nnunet;
mod nrrd;
mod overlay;
mod png;
mod raster;
mod read;
mod rle;
mod trace;
mod yolo;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::{Annotation, ClipInfo, DicomOrigin, FrameIndex, GrayFrame, shown};

pub use atomic::write_atomic;
pub use content::{Content, Structure};
pub use overlay::{Rgb, RgbImage, contact_sheet, draw_mask, png_bytes};
pub use read::{ReadError, Target, read};

use content::{Keeps, Names};

/// File formats of annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// A folder of `LABEL/FRAME.png` masks, 0 and 255, in the size of the clip; frames from 00000.
    Png,
    /// One JSON file in COCO's format, masks as uncompressed column-major runs.
    Coco,
    /// COCO with polygons, for tools that read no runs.
    CocoPolygons,
    /// Indexed PNGs as DAVIS and YouTube-VOS lay them out.
    Davis,
    /// A text file of polygons for every frame, and `data.yaml`.
    Yolo,
    /// A JSON file for every frame, as labelme writes them.
    Labelme,
    /// One XML file, "CVAT for video 1.1".
    Cvat,
    /// A table of measures.
    Csv,
    /// One NIfTI label volume.
    Nifti,
    /// One NRRD label volume.
    Nrrd,
    /// One 3D Slicer segmentation.
    SegNrrd,
    /// One DICOM Segmentation object.
    DicomSeg,
    /// A data set folder of nnU-Net.
    NnUnet,
    /// The clip with its masks drawn, as a video.
    Mp4,
    /// The clip with its masks drawn, as an animation.
    Gif,
}

/// What is exported: the masks of `annotation`, drawn on the clip `info`.
pub struct Job<'a> {
    /// The masks.
    pub annotation: &'a Annotation,
    /// The clip that they were drawn on.
    pub info: &'a ClipInfo,
    /// Lamport time of the newest journal line that they contain.
    pub position: Option<u64>,
    /// The frames, for formats that hold pictures.
    pub frames: Option<&'a FrameReader<'a>>,
    /// The DICOM objects that the clip is made of.
    pub origin: Option<DicomOrigin>,
}

/// Gives the pixels of a frame, or a sentence why not.
pub type FrameReader<'a> = dyn Fn(FrameIndex) -> Result<Arc<GrayFrame>, String> + 'a;

impl<'a> Job<'a> {
    /// Masks without a journal position and without pictures.
    #[must_use]
    pub fn new(annotation: &'a Annotation, info: &'a ClipInfo) -> Self {
        Self { annotation, info, position: None, frames: None, origin: None }
    }

    /// "sonomark, clip 0123456789ab, journal position 17": for fields of comment.
    fn about(&self) -> String {
        let clip = self.info.content_hash.short();
        let position = self.position.map(|at| format!(", journal position {at}"));
        format!("sonomark, clip {clip}{}", position.unwrap_or_default())
    }
}

/// A format of the table.
struct Row {
    format: ExportFormat,
    name: &'static str,
    /// Ending of the file, or "" for a folder.
    ending: &'static str,
    about: &'static str,
    keeps: Keeps,
    write: fn(&Job, &Path) -> Result<Report, ExportError>,
    read: fn(&Path, &Target) -> Result<Content, ReadError>,
}

/// Every format.
static FORMATS: [Row; 15] = [
    Row {
        format: ExportFormat::Png,
        name: "png",
        ending: "",
        about: "folder of black and white masks, one folder for each structure",
        keeps: Keeps { empties: true, names: Names::Safe, ..Keeps::ALL },
        write: png::write,
        read: png::read,
    },
    Row {
        format: ExportFormat::Coco,
        name: "coco",
        ending: ".json",
        about: "COCO JSON, masks as runs",
        keeps: Keeps::ALL,
        write: coco::write,
        read: coco::read,
    },
    Row {
        format: ExportFormat::CocoPolygons,
        name: "coco-polygons",
        ending: ".json",
        about: "COCO JSON, masks as polygons",
        keeps: Keeps::ALL,
        write: coco::write_polygons,
        read: coco::read,
    },
    Row {
        format: ExportFormat::Davis,
        name: "davis",
        ending: "",
        about: "indexed PNGs, laid out as DAVIS and YouTube-VOS do",
        keeps: Keeps::ONE_PER_PIXEL,
        write: davis::write,
        read: davis::read,
    },
    Row {
        format: ExportFormat::Yolo,
        name: "yolo",
        ending: "",
        about: "YOLO segmentation: a text file of polygons for each frame",
        keeps: Keeps { classes: true, ..Keeps::ALL },
        write: yolo::write,
        read: yolo::read,
    },
    Row {
        format: ExportFormat::Labelme,
        name: "labelme",
        ending: "",
        about: "labelme: a JSON file for each frame",
        keeps: Keeps::ALL,
        write: labelme::write,
        read: labelme::read,
    },
    Row {
        format: ExportFormat::Cvat,
        name: "cvat",
        ending: ".xml",
        about: "XML \"CVAT for video 1.1\", masks as runs",
        keeps: Keeps { names: Names::Plain, ..Keeps::ALL },
        write: cvat::write,
        read: cvat::read,
    },
    Row {
        format: ExportFormat::Csv,
        name: "csv",
        ending: ".csv",
        about: "table of measures: area, box, centre of every mask",
        keeps: Keeps::NOTHING,
        write: csv::write,
        read: read::nothing,
    },
    Row {
        format: ExportFormat::Nifti,
        name: "nifti",
        ending: ".nii.gz",
        about: "NIfTI label volume, and its label names for ITK-SNAP",
        keeps: Keeps { names: Names::Plain, ..Keeps::ONE_PER_PIXEL },
        write: nifti::write,
        read: labelmap::read,
    },
    Row {
        format: ExportFormat::Nrrd,
        name: "nrrd",
        ending: ".nrrd",
        about: "NRRD label volume",
        keeps: Keeps { names: Names::Plain, ..Keeps::ONE_PER_PIXEL },
        write: nrrd::write_plain,
        read: labelmap::read,
    },
    Row {
        format: ExportFormat::SegNrrd,
        name: "seg.nrrd",
        ending: ".seg.nrrd",
        about: "3D Slicer segmentation with names, colours and terminology",
        keeps: Keeps { names: Names::Plain, ..Keeps::ALL },
        write: nrrd::write_segmentation,
        read: labelmap::read,
    },
    Row {
        format: ExportFormat::DicomSeg,
        name: "dicom-seg",
        ending: ".seg.dcm",
        about: "DICOM Segmentation, binary, by referenced frame number",
        keeps: Keeps { names: Names::Dicom, ..Keeps::ALL },
        write: dicom_seg::write,
        read: dicom_seg::read,
    },
    Row {
        format: ExportFormat::NnUnet,
        name: "nnunet",
        ending: "",
        about: "data set folder of nnU-Net, pictures included",
        keeps: Keeps { classes: true, ..Keeps::ONE_PER_PIXEL },
        write: nnunet::write,
        read: nnunet::read,
    },
    Row {
        format: ExportFormat::Mp4,
        name: "mp4",
        ending: ".mp4",
        about: "the clip with its masks drawn, as a video (needs ffmpeg)",
        keeps: Keeps::NOTHING,
        write: movie::write_mp4,
        read: read::nothing,
    },
    Row {
        format: ExportFormat::Gif,
        name: "gif",
        ending: ".gif",
        about: "the clip with its masks drawn, as an animation (needs ffmpeg)",
        keeps: Keeps::NOTHING,
        write: movie::write_gif,
        read: read::nothing,
    },
];

impl ExportFormat {
    fn row(self) -> &'static Row {
        // Every format has its row: `tests::every_format_has_its_row`.
        FORMATS.iter().find(|row| row.format == self).unwrap_or(&FORMATS[0])
    }

    /// Every format with its name and what it is, for help.
    pub fn all() -> impl Iterator<Item = (Self, &'static str, &'static str)> {
        FORMATS.iter().map(|row| (row.format, row.name, row.about))
    }

    /// The format of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        FORMATS.iter().find(|row| row.name == name).map(|row| row.format)
    }

    /// Ending of the file that it writes, with its dot; "" when it writes a folder.
    #[must_use]
    pub fn ending(self) -> &'static str {
        self.row().ending
    }
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files written and read back, in order.
    pub files: Vec<PathBuf>,
    /// Masks in them, empty ones included where the format has such.
    pub masks: usize,
    /// Frames inside a window that have no mask (over all tracks): still to be decided.
    pub undecided: usize,
    /// Labels whose folder had to be named differently: label (escaped) and name.
    pub renamed: Vec<(String, String)>,
    /// Pixels that belong to several structures, of which the format keeps one.
    pub covered_px: u64,
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

    fn differs(path: &Path) -> Self {
        Self::Differs { name: shown(&path.to_string_lossy()) }
    }

    fn encode(path: &Path, cause: impl std::fmt::Display) -> Self {
        Self::Encode { name: shown(&path.to_string_lossy()), cause: cause.to_string() }
    }

    fn unfit(path: &Path, cause: impl Into<String>, advice: impl Into<String>) -> Self {
        let name = shown(&path.to_string_lossy());
        Self::Unfit { name, cause: cause.into(), advice: advice.into() }
    }
}

/// Exports `job` to `path`: a folder or a file, as [`ExportFormat::ending`] says. Existing files
/// of the same names are replaced one by one; nothing else is touched.
///
/// # Errors
/// The first file that cannot be written or does not read back, a mask of another size, or
/// something that the format cannot hold. Files reported nowhere may have been written before.
pub fn export(job: &Job, format: ExportFormat, path: &Path) -> Result<Report, ExportError> {
    check_sizes(job.annotation, job.info)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        atomic::ensure_folder(folder)?;
    }
    let row = format.row();
    let mut report = (row.write)(job, path)?;
    if path.is_dir() {
        refuse_leftovers(path, &report.files)?;
    }
    compare(job, row, path)?;
    let names = content::names_of(job.annotation, row.keeps.names);
    for (track, name) in job.annotation.tracks.values().zip(names) {
        if name != track.info.label {
            report.renamed.push((shown(&track.info.label), shown(&name)));
        }
    }
    report.undecided = undecided(job.annotation);
    Ok(report)
}

/// Reads what was written as an import would, and compares it with the annotation.
fn compare(job: &Job, row: &Row, path: &Path) -> Result<(), ExportError> {
    let expected = content::expected(job.annotation, row.keeps).sorted();
    // Without masks some formats leave nothing to read.
    if !row.keeps.masks || (expected.is_empty() && !path.exists()) {
        return Ok(());
    }
    let target = Target { info: job.info, frame_names: &[], origin: job.origin.as_ref() };
    let found = (row.read)(path, &target).map_err(|_| ExportError::differs(path))?;
    if found.sorted() == expected { Ok(()) } else { Err(ExportError::differs(path)) }
}

/// Files of an earlier export would be taken for a part of this one.
fn refuse_leftovers(folder: &Path, written: &[PathBuf]) -> Result<(), ExportError> {
    let endings: BTreeSet<&OsStr> = written.iter().filter_map(|file| file.extension()).collect();
    let ours: BTreeSet<&Path> = written.iter().map(PathBuf::as_path).collect();
    let mut folders = vec![folder.to_owned()];
    while let Some(here) = folders.pop() {
        for entry in read::list(&here).map_err(|_| ExportError::differs(&here))? {
            if entry.is_dir() && !entry.is_symlink() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|e| endings.contains(e))
                && !ours.contains(entry.as_path())
            {
                let cause = "the folder holds this file of something else or of an earlier \
                             export, and programs would take it for a part of this one";
                let advice = "choose a new folder, or remove what is in this one";
                return Err(ExportError::unfit(&entry, cause, advice));
            }
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_its_row() {
        use ExportFormat as F;
        let all = [
            F::Png,
            F::Coco,
            F::CocoPolygons,
            F::Davis,
            F::Yolo,
            F::Labelme,
            F::Cvat,
            F::Csv,
            F::Nifti,
            F::Nrrd,
            F::SegNrrd,
            F::DicomSeg,
            F::NnUnet,
            F::Mp4,
            F::Gif,
        ];
        assert_eq!(all.len(), FORMATS.len());
        for format in all {
            assert_eq!(format.row().format, format);
            assert_eq!(ExportFormat::named(format.row().name), Some(format));
        }
    }
}
