//! Files of other programs, read as structures and masks of a clip.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::content::Content;
use super::{
    ExportError, ExportFormat, coco, csv, cvat, davis, dicom_seg, labelmap, labelme, nnunet, png,
    yolo,
};
use crate::codec::{self, CodecError, MAX_FILE_BYTES};
use crate::domain::{ClipInfo, DicomOrigin, in_words, shown};

/// The clip that a file is read for.
pub struct Target<'a> {
    /// What is known of the clip.
    pub info: &'a ClipInfo,
    /// Names of its frames' files without ending, where it is a folder of images.
    pub frame_names: &'a [String],
    /// The DICOM objects that it is made of.
    pub origin: Option<&'a DicomOrigin>,
    /// Raised when nobody wants it any more: reading ends with [`ReadError::Stopped`] after the mask, file or slice in hand.
    pub stop: Option<&'a AtomicBool>,
}

impl Target<'_> {
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    /// Asked before every mask and every file.
    pub(super) fn go_on(&self, path: &Path) -> Result<(), ReadError> {
        match self.is_stopped() {
            true => Err(ReadError::Stopped { name: shown(&path.to_string_lossy()) }),
            false => Ok(()),
        }
    }
}

/// Why nothing was read. Names are safe to show.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read, or is damaged.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A folder cannot be listed.
    #[error("cannot read {name}: {cause}; check that it exists and that you may read it")]
    Unreadable {
        /// The folder.
        name: String,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The content is not what it should be.
    #[error("{name} cannot be imported: {cause}; check which program wrote it, or save it anew")]
    Malformed {
        /// The file.
        name: String,
        /// What does not fit.
        cause: String,
    },
    /// Masks of something else.
    #[error("{name} does not fit the clip: {cause}; import it with the clip it was drawn on")]
    OtherClip {
        /// The file.
        name: String,
        /// What does not fit.
        cause: String,
    },
    /// Names of files that do not say which frames they belong to.
    #[error(
        "{name} cannot be imported: names such as {examples} do not say which frames they belong to; {advice}"
    )]
    Names {
        /// The file.
        name: String,
        /// Some of the names.
        examples: String,
        /// Which names would.
        advice: String,
    },
    /// Exported from another clip.
    #[error(
        "{name} was exported from another clip ({other}, this one is {this}); take it to that clip, or, if this one \
         is a copy of it, import it with `sonomark import --any-clip`"
    )]
    Exported {
        /// The file.
        name: String,
        /// Start of the content hash of the other clip.
        other: String,
        /// That of the one at hand.
        this: String,
    },
    /// A child read it and says so.
    #[error("{0}")]
    Told(String),
    /// Nobody wanted it any more.
    #[error("{name} was not read to its end, since it was stopped; read it again")]
    Stopped {
        /// The file.
        name: String,
    },
    /// No format is recognised.
    #[error(
        "{name} is no annotation that this program knows; name its format with --format ({known})"
    )]
    Unknown {
        /// The file.
        name: String,
        /// Names of the formats.
        known: String,
    },
}

impl ReadError {
    pub(super) fn malformed(path: &Path, cause: impl std::fmt::Display) -> Self {
        let cause: String = in_words(&cause.to_string()).chars().take(300).collect();
        Self::Malformed { name: shown(&path.to_string_lossy()), cause: shown(&cause) }
    }

    pub(super) fn other_clip(path: &Path, cause: impl Into<String>) -> Self {
        Self::OtherClip { name: shown(&path.to_string_lossy()), cause: shown(&cause.into()) }
    }

    pub(super) fn exported(path: &Path, other: &str, target: &Target) -> Self {
        Self::Exported {
            name: shown(&path.to_string_lossy()),
            other: shown(other),
            this: target.info.content_hash.short().to_owned(),
        }
    }
}

/// Reads the masks of a file or folder; without a format, by what it is.
///
/// # Errors
/// When it cannot be read, is not of that format, or does not fit the clip. That it was exported from another
/// clip, which it fits, is no error: see [`Content::of_this_clip`].
pub fn read(
    path: &Path,
    format: Option<ExportFormat>,
    target: &Target,
) -> Result<Content, ReadError> {
    let read = match format {
        Some(format) => {
            let nothing = "files of this format hold no masks";
            format.row().read.ok_or_else(|| ReadError::malformed(path, nothing))?
        }
        None => recognised(path)?,
    };
    let mut content = read(path, target)?;
    content.structures.retain(|each| !each.masks.is_empty() || !each.said.is_empty());
    Ok(content)
}

/// Reads a file or folder of one format.
pub(super) type Reader = fn(&Path, &Target) -> Result<Content, ReadError>;

/// What tells one kind of JSON from another, without what it holds.
#[derive(Deserialize)]
struct Keys {
    shapes: Option<IgnoredAny>,
    annotations: Option<IgnoredAny>,
}

fn recognised(path: &Path) -> Result<Reader, ReadError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if path.is_dir() {
        return folder(path);
    }
    if ends(&[".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"]) {
        return Ok(labelmap::read);
    }
    if ends(&[".dcm"]) {
        return Ok(dicom_seg::read);
    }
    if ends(&[".png"]) {
        return Ok(davis::read);
    }
    if ends(&[".csv"]) {
        return Ok(csv::read);
    }
    if ends(&[".xml"]) {
        return Ok(cvat::read);
    }
    if ends(&[".txt"]) {
        return Ok(yolo::read);
    }
    if ends(&[".json"]) {
        let bytes = codec::read_file(path)?;
        let keys: Keys =
            serde_json::from_slice(&bytes).map_err(|e| ReadError::malformed(path, e))?;
        if keys.shapes.is_some() {
            return Ok(labelme::read);
        }
        if keys.annotations.is_some() {
            return Ok(coco::read);
        }
    }
    // Archives give files names of their own, often without an ending.
    if codec::is_dicom(path) {
        return Ok(dicom_seg::read);
    }
    if codec::is_volume(path) { Ok(labelmap::read) } else { Err(unknown(path)) }
}

/// A folder is of the first kind of file that it holds. Texts count where they are labels: notes for people lie beside masks
/// of every kind.
fn folder(path: &Path) -> Result<Reader, ReadError> {
    let holds = |folder: &Path, ending: &str| {
        list(folder).is_ok_and(|all| all.iter().any(|file| has_ending(file, ending)))
    };
    let holds_labels = |folder: &Path| {
        list_ending(folder, "txt").is_ok_and(|all| all.iter().any(|file| yolo::is_label(file)))
    };
    let folder_of_labels = path.join("labels");
    if path.join("data.yaml").is_file() || holds_labels(path) || holds_labels(&folder_of_labels) {
        return Ok(yolo::read);
    }
    if path.join("dataset.json").is_file() && path.join("labelsTr").is_dir() {
        return Ok(nnunet::read);
    }
    let texts = list_ending(path, "json").unwrap_or_default();
    if !path.join("meta.json").is_file() && !texts.iter().all(|file| holds_no_shapes(file)) {
        return Ok(labelme::read);
    }
    if path.join("Annotations").is_dir() || holds(path, "png") {
        return Ok(davis::read);
    }
    let parts = |folder: &Path| {
        let parts = list(folder).unwrap_or_default();
        parts.into_iter().filter(|part| part.is_dir()).collect::<Vec<PathBuf>>()
    };
    let texts = [parts(path), parts(&folder_of_labels)].concat();
    if texts.iter().any(|part| holds_labels(part)) {
        return Ok(yolo::read);
    }
    if parts(path).iter().any(|part| holds(part, "png")) {
        return Ok(png::read);
    }
    if !dicom_seg::files_in(path).is_empty() {
        return Ok(dicom_seg::read);
    }
    // Texts alone are meant to be labels: their reader says which line is none.
    let mut texts = [path.to_owned(), folder_of_labels].into_iter().chain(texts);
    if texts.any(|folder| holds(&folder, "txt")) {
        return Ok(yolo::read);
    }
    Err(unknown(path))
}

/// Whether a file is JSON of something else than shapes: what `propagate` and others tell of masks lies beside them. One
/// that does not parse may have been shapes, and is left to the reader, which says so.
pub(super) fn holds_no_shapes(file: &Path) -> bool {
    let bytes = codec::read_file(file).unwrap_or_default();
    match serde_json::from_slice::<BTreeMap<String, Option<IgnoredAny>>>(&bytes) {
        Ok(keys) => keys.get("shapes").is_none_or(Option::is_none),
        // A list or a word is JSON, too.
        Err(_) => serde_json::from_slice::<IgnoredAny>(&bytes).is_ok(),
    }
}

/// Refuses to write a text of masks that is longer than texts are read.
pub(super) fn check_length(path: &Path, bytes: usize) -> Result<(), ExportError> {
    if bytes as u64 <= MAX_FILE_BYTES {
        return Ok(());
    }
    let cause = "it would take more than 1 GiB, and texts are read up to that";
    Err(ExportError::unfit(path, cause, "choose seg.nrrd, dicom-seg or png"))
}

fn unknown(path: &Path) -> ReadError {
    let known: Vec<&str> = ExportFormat::imported().collect();
    ReadError::Unknown { name: shown(&path.to_string_lossy()), known: known.join(", ") }
}

/// The entries of a folder, sorted by name in natural order; hidden ones are left out.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let unreadable =
        |cause| ReadError::Unreadable { name: shown(&folder.to_string_lossy()), cause };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if !file_name(&path).starts_with('.') {
            found.push(path);
        }
    }
    found.sort_by(|a, b| codec::by_name(a, b));
    Ok(found)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The entries with an ending ("png").
pub(super) fn list_ending(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, ReadError> {
    Ok(list(folder)?.into_iter().filter(|path| has_ending(path, ending)).collect())
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending))
}

/// The name without its last ending.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The label of a structure that has none but a number.
pub(super) fn fallback_label(number: u32) -> String {
    format!("structure {number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_as_long_as_it_is_read() {
        let check = |bytes| check_length(Path::new("a.json"), bytes);
        assert!(check(1 << 30).is_ok());
        let why = check((1 << 30) + 1).expect_err("too long").to_string();
        assert!(why.contains("a.json") && why.contains("choose seg.nrrd"), "{why}");
    }
}
