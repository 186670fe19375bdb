//! Annotations become files of other programs, and such files are read again.
//!
//! Every file is written beside its target, synced, renamed into place, read back and compared
//! (`atomic.rs`); then the whole is read by the same code that `sonomark import` uses and
//! compared with the annotation pixel by pixel; only then does [`export`] report it. One row of
//! the table in `formats.rs` is one format: how it is called, what it can keep, how it is written
//! and read.
//! What was decided for every format:
//!
//! * A track counts on a frame when it is visible there (inside a window, or no window is set)
//!   and has a mask.
//! * Inside a window a frame without a mask is undecided. It is not exported as empty; the report
//!   counts it, so that "no mask yet" never becomes "nothing there". Volumes and frames of labels
//!   cannot tell the two apart; the report says so by the same count.
//! * Outside all windows of a track that has windows the structure is absent by definition, as on
//!   the screen: such frames are not written either, and the report counts masks that lie there.
//! * Files name clips by their content hash, never by their file name, which may be a patient's;
//!   what names another clip than the one at hand is imported only when a person says so.

mod atomic;
mod caged;
mod coco;
mod colours;
mod content;
mod csv;
mod cvat;
mod davis;
mod deidentified;
mod dicom_item;
mod dicom_seg;
mod error;
mod figure;
mod formats;
mod frames;
mod identity;
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
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::codec::{Clip, Privacy, part};
use crate::domain::{
    Annotation, ClipInfo, ClipKind, Codes, DicomOrigin, FrameIndex, GrayFrame, shown,
};

pub use self::png::mask_png;
pub use atomic::{check_writable, set_aside, write_atomic};
pub use caged::{read_caged, serve_reader};
pub use content::{Content, Structure};
pub use deidentified::{mapped, names_may_show};
pub use error::ExportError;
pub use figure::{Pictured, write_figure, write_report};
pub use formats::ExportFormat;
pub use indexed::is_own_mask;
pub use overlay::{Rgb, RgbImage, contact_sheet, draw_mask, png_bytes};
pub use raster::fill_outline;
pub use read::{ReadError, Target, read};

use formats::Row;

/// What is exported: the masks of `annotation` inside its windows, drawn on the clip `info`.
#[derive(Clone)]
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
    /// What the labels are, for formats with codes; those without one are tissue.
    pub codes: Codes,
    /// Colours of structures in the place of the usual ones, by number.
    pub colours: [Option<Rgb>; 8],
    /// What is known of patient data in the frames, and what of it is hidden.
    pub privacy: Option<Privacy>,
    /// The secret of the project, by which identifiers are mapped, for formats that hold the clip
    /// itself without patient data.
    pub key: Option<[u8; 32]>,
    /// The clip, where it is at hand: no file of it is replaced.
    pub clip: Option<&'a Clip>,
    /// Masks that no person accepted or drew are left out.
    pub accepted: bool,
    /// Raised when nobody wants the export any more: it ends with [`ExportError::Stopped`] after the mask or frame in hand.
    pub stop: Option<&'a AtomicBool>,
    /// One of many into the same folder, in which whoever exports them all has looked for what killed runs left: each would
    /// list all that were written before.
    pub among_many: bool,
}

/// Gives the pixels of a frame, or a sentence why not.
pub type FrameReader<'a> = dyn Fn(FrameIndex) -> Result<Arc<GrayFrame>, String> + 'a;

impl<'a> Job<'a> {
    /// Masks without a journal position and without pictures.
    #[must_use]
    pub fn new(annotation: &'a Annotation, info: &'a ClipInfo) -> Self {
        Self {
            annotation,
            info,
            position: None,
            frames: None,
            origin: None,
            codes: Codes::new(),
            colours: [None; 8],
            privacy: None,
            key: None,
            clip: None,
            accepted: false,
            stop: None,
            among_many: false,
        }
    }

    /// Asked before every mask and every file, so that none is begun that nobody wants.
    fn go_on(&self, path: &Path) -> Result<(), ExportError> {
        match self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            true => Err(ExportError::stopped(path)),
            false => Ok(()),
        }
    }

    /// Writes one file of a folder and notes it.
    fn put(&self, report: &mut Report, path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
        self.go_on(path)?;
        self.clip.map_or(Ok(()), |clip| spare(clip, path))?;
        write_atomic(path, bytes)?;
        report.files.push(path.to_owned());
        Ok(())
    }
}

/// Refuses to write where the clip itself lies, and images among those of its folder, which would be frames of it.
///
/// # Errors
/// [`ExportError::Unfit`].
pub fn spare(clip: &Clip, path: &Path) -> Result<(), ExportError> {
    if !clip.takes(path) {
        return Ok(());
    }
    let cause = "the clip itself lies there, and it stays as it is";
    Err(ExportError::unfit(path, cause, "choose another place"))
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
    /// Masks that were left out, since they lie outside the windows of their structure.
    pub outside: usize,
    /// Those inside that were left out, since nobody accepted them.
    pub unaccepted: usize,
    /// Labels whose folder had to be named differently: label (escaped) and name.
    pub renamed: Vec<(String, String)>,
    /// Pixels that belong to several structures, of which the format keeps one.
    pub covered_px: u64,
    /// The frames themselves are in the files.
    pub pictures: bool,
    /// Lengths that are not known are called 1 mm in the files, whose formats cannot leave them out.
    pub assumed_mm: bool,
    /// Names may be seen in those: neither the file of the clip nor a person says that none are.
    pub may_show_names: bool,
}

/// Exports `job` to `path`: a folder or a file, as [`ExportFormat::ending`] says. Existing files
/// of the same names are replaced one by one; nothing else is touched but temporary files of exports that were ended in
/// their midst, which are removed.
///
/// # Errors
/// The first file that cannot be written or does not read back, a mask of another size,
/// something that the format cannot hold, or [`Job::stop`]. Files reported nowhere may have been written before.
pub fn export(job: &Job, format: ExportFormat, path: &Path) -> Result<Report, ExportError> {
    check_sizes(job.annotation, job.info)?;
    job.clip.map_or(Ok(()), |clip| spare(clip, path))?;
    format.check_name(path)?;
    let in_space = matches!(
        format,
        ExportFormat::Nrrd
            | ExportFormat::SegNrrd
            | ExportFormat::DicomSeg
            | ExportFormat::DicomSegFractional
    );
    if job.info.is_plane_over_time() && in_space {
        let cause = "the clip is one plane of a volume over time, and this format would lay its \
                     moments beside each other in space";
        return Err(ExportError::unfit(path, cause, "choose nifti, png or coco"));
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        atomic::ensure_folder(folder)?;
    }
    match job.among_many {
        true => part::sweep_below(path),
        false => part::sweep(path),
    }
    let mut said = job.annotation.visible();
    let outside = job.annotation.masks() - said.masks();
    // One that nobody accepted is there all the same.
    let undecided = undecided(&said, job.info.frames);
    let unaccepted = if job.accepted { said.leave_accepted() } else { 0 };
    let job = &Job { annotation: &said, ..job.clone() };
    let row = format.row();
    let mut report = (row.write)(job, path)?;
    (report.outside, report.unaccepted, report.undecided) = (outside, unaccepted, undecided);
    if path.is_dir() {
        refuse_leftovers(path, &report.files)?;
    }
    job.go_on(path)?;
    compare(job, row, path)?;
    let names = content::names_of(job.annotation, row.keeps.names);
    for (track, name) in job.annotation.tracks.values().zip(names) {
        if name != track.info.label {
            report.renamed.push((shown(&track.info.label), shown(&name)));
        }
    }
    let in_mm = match format {
        ExportFormat::Nifti | ExportFormat::Nrrd | ExportFormat::SegNrrd => true,
        ExportFormat::NnUnet => job.info.kind == ClipKind::Volume,
        _ => false,
    };
    report.assumed_mm = in_mm && labelmap::assumes_mm(job.info);
    let clean = job.privacy.as_ref().is_some_and(|privacy| !names_may_show(job.info, privacy));
    report.may_show_names = report.pictures && !clean;
    Ok(report)
}

/// Reads what was written as an import would, and compares it with the annotation.
fn compare(job: &Job, row: &Row, path: &Path) -> Result<(), ExportError> {
    let expected = content::expected(job.annotation, row.keeps).sorted();
    // Without masks some formats leave nothing to read.
    let Some(read) = row.read.filter(|_| row.keeps.masks) else { return Ok(()) };
    if expected.is_empty() && !path.exists() {
        return Ok(());
    }
    let (origin, stop) = (job.origin.as_ref(), job.stop);
    let target = Target { info: job.info, frame_names: &[], origin, stop };
    let found = read(path, &target).map_err(|error| match error {
        ReadError::Stopped { .. } => ExportError::stopped(path),
        error => ExportError::unread(path, error),
    })?;
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
                return Err(ExportError::Leftover { name: shown(&entry.to_string_lossy()) });
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

/// Frames of the clip inside set windows without a mask.
fn undecided(annotation: &Annotation, frames: usize) -> usize {
    let set = annotation.tracks.values().filter(|track| !track.windows.is_empty());
    set.map(|track| track.without_mask(frames).count()).sum()
}
