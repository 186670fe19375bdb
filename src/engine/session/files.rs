//! What a session reads and writes beside its journal, on threads of their own: exports, pictures,
//! another rater's masks.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;

use crate::codec;
use crate::domain::{
    Annotation, ClipInfo, Codes, FrameIndex, PointPx, Track, counted, sampled, shown,
};
use crate::export::{
    self, ExportError, ExportFormat, FrameReader, Job, Pictured, Rgb, Structure, Target,
    names_may_show, write_figure, write_report,
};
use crate::project::{load_read_only, uid_key};

use super::{Event, Session, SessionError, lock, outbox};

/// How often the progress of an export is told.
const PROGRESS_STEPS: usize = 50;
/// What is said of pictures in which names may be seen.
const NAMES_MAY_SHOW: &str = "; the pictures in it may show a patient's name: neither the clip's \
                              file nor a person has said that none is visible (--outside says what \
                              stays visible)";
/// What is said of a segmentation of a DICOM clip that is not at hand, as those of a whole project are not.
const NO_IMAGES: &str = "; it refers to no image of an archive, since the clip is not at hand: export \
                         the clip itself for one that refers to its images";
/// What is said of work that panicked.
const GAVE_UP: &str =
    "it stopped by a fault of this program; the annotation is untouched, try again";
/// Frames of an M-mode strip that are told at once.
const STRIP_PIECE: usize = 16;

impl<M: From<Event> + Send + 'static> Session<M> {
    /// Codes of the labels and colours in the place of the usual ones, for exports from now on.
    pub fn set_schema(&mut self, codes: Codes, colours: [Option<Rgb>; 8]) {
        (self.codes, self.colours) = (codes, colours);
    }

    /// Writes the annotation to `path` on a thread of its own; without a path to its own place in the project, where an
    /// earlier export of other frames makes room.
    pub fn export(&self, annotation: &Annotation, format: ExportFormat, path: Option<&Path>) {
        let own_place = path.is_none();
        let path = path.map_or_else(|| self.export_path(format), Path::to_owned);
        let (clip, annotation) = (Arc::clone(&self.clip), annotation.clone());
        let outbox = outbox(&self.events);
        let position = self.store.as_ref().ok().map(|store| lock(store).position());
        let key = match key_for(format, &self.project_root) {
            Ok(key) => key,
            Err(why) => return self.tell(Event::ExportFailed { why }),
        };
        let (codes, colours) = (self.codes.clone(), self.colours);
        self.aside(not_exported, move || {
            let total = clip.info().frames * passes(format);
            let (read, step) = (Cell::new(0_usize), (total / PROGRESS_STEPS).max(1));
            let frames = |frame| {
                let done = read.get() + 1;
                read.set(done);
                if done.is_multiple_of(step) && done < total {
                    outbox(Event::Exporting { done, total });
                }
                clip.frame(frame).map_err(|error| error.to_string())
            };
            let (frames, origin) = (Some(&frames as &FrameReader), clip.dicom_origin());
            let new = Job::new(&annotation, clip.info());
            let privacy = Some(clip.privacy());
            let clip = Some(&*clip);
            let job = Job { position, frames, origin, codes, colours, privacy, key, clip, ..new };
            let written = match export_clip(&job, format, &path) {
                Err(ExportError::Leftover { .. }) if own_place => again_aside(&job, format, &path),
                written => written,
            };
            outbox(match written {
                Ok(what) => Event::Exported { path, what },
                Err(error) => Event::ExportFailed { why: error.to_string() },
            });
        });
    }

    /// Writes a picture of a frame at print size, or without a frame a contact sheet of the clip;
    /// by default into the project's folder `exports`. `colours` take the place of the usual ones.
    pub fn picture(
        &self,
        annotation: &Annotation,
        frame: Option<FrameIndex>,
        path: Option<&Path>,
        colours: [Option<[u8; 3]>; 8],
    ) {
        let (clip, annotation) = (Arc::clone(&self.clip), annotation.clone());
        let hash = clip.info().content_hash.short().to_owned();
        let name = frame.map_or(format!("{hash}-report.svg"), |frame| {
            format!("{hash}-frame-{:05}.png", frame + 1)
        });
        let usual = || self.project_root.join("exports").join(name);
        let (path, outbox) = (path.map_or_else(usual, Path::to_owned), outbox(&self.events));
        self.aside(not_exported, move || {
            let frames = |frame| clip.frame(frame).map_err(|error| error.to_string());
            let (annotation, info) = (&annotation, clip.info());
            let what = Pictured { annotation, info, frames: &frames, colours };
            let done = export::spare(&clip, &path).and_then(|()| match frame {
                Some(frame) => write_figure(&what, frame, &path),
                None => write_report(&what, &path),
            });
            outbox(match done {
                Ok(what) if names_may_show(info, &clip.privacy()) => {
                    Event::Exported { path, what: what + NAMES_MAY_SHOW }
                }
                Ok(what) => Event::Exported { path, what },
                Err(error) => Event::ExportFailed { why: error.to_string() },
            });
        });
    }

    /// Reads what somebody else made of the clip, to lie over it: another project, or a file of
    /// another program. It comes as [`Event::Overlay`]; nothing of it is journaled.
    pub fn overlay(&self, path: &Path) {
        let (clip, path, outbox) = (Arc::clone(&self.clip), path.to_owned(), outbox(&self.events));
        let not_read = |why| Event::OverlayFailed { why };
        self.aside(not_read, move || {
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            let read = match path.exists() {
                true => structures_of(&clip, &path),
                false => Err(format!("{} is not there", shown(&path.to_string_lossy()))),
            };
            outbox(match read {
                Ok((structures, notes)) => Event::Overlay { name, structures, notes },
                Err(why) => Event::OverlayFailed { why },
            });
        });
    }

    /// Reads `count` gray values along a line in every frame. They come as [`Event::Strip`] of this
    /// number, in pieces; a newer number, or 0, ends an older one.
    pub fn strip(&self, number: u64, from: PointPx, to: PointPx, count: usize) {
        self.strip.store(number, Ordering::Relaxed);
        if number == 0 {
            return;
        }
        let (clip, wanted) = (Arc::clone(&self.clip), Arc::clone(&self.strip));
        let outbox = outbox(&self.events);
        self.aside(not_exported, move || {
            let frames: Vec<FrameIndex> = (0..clip.info().frames).collect();
            for piece in frames.chunks(STRIP_PIECE) {
                if wanted.load(Ordering::Relaxed) != number {
                    return;
                }
                let column = |&frame: &FrameIndex| match clip.frame(frame) {
                    Ok(pixels) => sampled(&pixels, from, to, count),
                    Err(_) => Vec::new(),
                };
                let columns = piece.iter().map(column).collect();
                outbox(Event::Strip { number, first: piece[0], columns });
            }
        });
    }

    /// Does `work` on a thread of its own, which closing waits for. Where there is none, or `work` panics, what `lost` makes
    /// of the reason is told: somebody waits for an answer.
    pub(super) fn aside(&self, lost: fn(String) -> Event, work: impl FnOnce() + Send + 'static) {
        let outbox = outbox(&self.events);
        let guarded = move || {
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                outbox(lost(GAVE_UP.to_owned()));
            }
        };
        match thread::Builder::new().name("sonomark-files".into()).spawn(guarded) {
            Ok(export) => {
                let mut exports = self.exports.lock().unwrap_or_else(PoisonError::into_inner);
                exports.retain(|export| !export.is_finished());
                exports.push(export);
            }
            Err(cause) => self.tell(lost(SessionError::Thread(cause).to_string())),
        }
    }

    /// As [`export`](Self::export), with the format by name, and by default into the project's
    /// folder `exports`.
    pub fn export_named(&self, annotation: &Annotation, format: &str, path: Option<&Path>) {
        match format_named(format) {
            Ok(format) => self.export(annotation, format, path),
            Err(why) => self.tell(Event::ExportFailed { why }),
        }
    }

    /// In `PROJECT/exports/FORMAT`, as several formats write folders and some of the rest have the same ending; with the
    /// hash: two clips of the same name never meet.
    fn export_path(&self, format: ExportFormat) -> PathBuf {
        let folder = self.project_root.join("exports").join(format.name());
        folder.join(export_name(self.clip.info(), format))
    }
}

/// What is told of work that came to nothing and has no answer of its own for that.
pub(super) fn not_exported(why: String) -> Event {
    Event::ExportFailed { why }
}

/// What another project, or a file of another program, holds of the clip, and what is to be told of it.
fn structures_of(clip: &codec::Clip, path: &Path) -> Result<(Vec<Structure>, Vec<String>), String> {
    if path.join("FORMAT").is_file() {
        let loaded = load_read_only(path, &clip.info().content_hash).map_err(|e| e.to_string())?;
        let masks = |track: &Track| {
            let held = track.masks.iter().filter(|(frame, _)| track.visible(**frame));
            held.map(|(frame, held)| (*frame, held.mask.clone())).collect()
        };
        let of = |track: &Track| Structure::new(track.info.label.clone(), masks(track));
        return Ok((loaded.annotation.tracks.values().map(of).collect(), loaded.notes));
    }
    let (names, origin) = (clip.frame_names(), clip.dicom_origin());
    let (info, origin) = (clip.info(), origin.as_ref());
    let target = Target { info, frame_names: &names, origin, stop: None };
    let read = export::read_caged(path, None, &target);
    let read = read.and_then(|content| content.of_this_clip(path, &target));
    let content = read.map_err(|error| error.to_string())?;
    Ok((content.structures, content.notes))
}

/// How often an export reads the whole clip.
fn passes(format: ExportFormat) -> usize {
    // Once to write it and once to compare what was written.
    let twice = [ExportFormat::Dicom, ExportFormat::Mp4, ExportFormat::Gif];
    if twice.contains(&format) { 2 } else { 1 }
}

/// The project's secret for the formats that hold the clip itself without patient data; none for
/// others.
///
/// # Errors
/// When the project's map of identifiers cannot be read or made.
pub fn key_for(format: ExportFormat, project_root: &Path) -> Result<Option<[u8; 32]>, String> {
    if !matches!(format, ExportFormat::Dicom | ExportFormat::Frames) {
        return Ok(None);
    }
    uid_key(project_root).map(Some).map_err(|error| error.to_string())
}

/// The format of that name.
///
/// # Errors
/// A sentence that names the formats.
pub fn format_named(name: &str) -> Result<ExportFormat, String> {
    ExportFormat::named(name).ok_or_else(|| {
        let known: Vec<&str> = ExportFormat::all().map(|(_, name, _)| name).collect();
        format!("\"{}\" is no export format; choose {}", shown(name), known.join(", "))
    })
}

/// The format of that name, of those that are imported.
///
/// # Errors
/// A sentence that names them.
pub fn import_format_named(name: &str) -> Result<ExportFormat, String> {
    let known: Vec<&str> = ExportFormat::imported().collect();
    ExportFormat::named(name).filter(|_| known.contains(&name)).ok_or_else(|| {
        format!("\"{}\" is no format that is imported; choose {}", shown(name), known.join(", "))
    })
}

/// Name and short explanation of every export format.
pub fn export_formats() -> impl Iterator<Item = (&'static str, &'static str)> {
    ExportFormat::all().map(|(_, name, about)| (name, about))
}

/// Name of the folder or file that an export of a clip gets by default: by its content, since
/// names of files are often names of patients.
#[must_use]
pub fn export_name(info: &ClipInfo, format: ExportFormat) -> String {
    format!("{}{}", info.content_hash.short(), format.ending())
}

/// Exports anew where an earlier export lies, which is kept under a name of its own.
fn again_aside(job: &Job, format: ExportFormat, path: &Path) -> Result<String, ExportError> {
    let aside = export::set_aside(path)?;
    let what = export_clip(job, format, path)?;
    Ok(format!("{what}; the earlier export is kept as {}", shown(&aside.to_string_lossy())))
}

/// Writes an annotation, creating the folder above `path`; says what was written.
///
/// # Errors
/// When a file cannot be written or reads back differently.
pub fn export_clip(job: &Job, format: ExportFormat, path: &Path) -> Result<String, ExportError> {
    let report = export::export(job, format, path)?;
    let mut what =
        format!("{} in {}", counted(report.masks, "mask"), counted(report.files.len(), "file"));
    if report.may_show_names {
        what.push_str(NAMES_MAY_SHOW);
    }
    let segments = [ExportFormat::DicomSeg, ExportFormat::DicomSegFractional].contains(&format);
    if segments && job.origin.is_none() && job.info.format.contains("DICOM") {
        what.push_str(NO_IMAGES);
    }
    if report.outside > 0 {
        what.push_str(&format!("; {} outside windows left out", counted(report.outside, "mask")));
    }
    if report.unaccepted > 0 {
        let left_out = counted(report.unaccepted, "mask");
        what.push_str(&format!("; {left_out} that nobody accepted left out"));
    }
    if report.undecided > 0 {
        what.push_str(&format!(
            "; {} inside windows without a mask yet",
            counted(report.undecided, "frame")
        ));
    }
    if report.covered_px > 0 {
        what.push_str(&format!(
            "; {} in several structures, of which the file keeps the last (png, coco and seg.nrrd \
             keep all)",
            counted(report.covered_px, "pixel")
        ));
    }
    if report.assumed_mm {
        what.push_str("; sizes that are not known are written as 1 mm");
    }
    for (label, name) in &report.renamed {
        what.push_str(&format!("; \"{label}\" is in {name}"));
    }
    // Last: a line that is cut has told what is missing.
    if let Some(position) = job.position {
        what.push_str(&format!("; it holds all changes up to number {position}"));
    }
    Ok(what)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;
    use crate::engine::SegmenterSource;

    #[test]
    fn work_that_panics_is_answered_too() {
        let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/clips/ultrabones");
        let project = tempfile::tempdir().expect("a folder");
        let (sender, events) = channel::<Event>();
        let opened = Session::open(&clip, project.path(), SegmenterSource::None, sender);
        let (session, _) = opened.expect("the clip opens");
        session.aside(not_exported, || panic!("no exporter should"));
        let why = loop {
            let event = events.recv_timeout(Duration::from_secs(10)).expect("an answer");
            if let Event::ExportFailed { why } = event {
                break why;
            }
        };
        assert!(why.contains("fault of this program"), "{why}");
    }
}
