//! Bytes of files become a [`Clip`]: stills, folders of frames, DICOM, video and volumes.
//!
//! [`open`] reads what is needed to describe a clip (size, number of frames, spacing, content
//! hash) and proves on its first frame that it can be decoded. Frames are decoded on demand;
//! decoded ones are kept in a cache bounded in bytes, so a clip of any length takes bounded
//! memory. Files are never written to, and nothing here knows the time.
//!
//! All frames are 8-bit gray, with what is coloured beside it: see `gray.rs` for the rules of colour
//! and deep samples, `identity.rs` for the content hash, `limits.rs` for what no file may exceed.
//! Decoders of other people work in children with limits: `cage.rs` for stills and JPEG frames,
//! `tool.rs` for ffmpeg.

mod cache;
mod cage;
mod complete;
mod decoder;
mod dicom;
mod error;
mod gray;
mod header;
mod identity;
mod images;
mod jpeg_ls;
mod limits;
mod modes;
mod moving;
mod order;
mod pace;
mod pages;
pub(crate) mod part;
mod parts;
mod png;
mod privacy;
pub(crate) mod process;
mod region;
mod sniff;
mod tiff;
pub(crate) mod tool;
mod video;
mod volume;
mod watched;
mod webp;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use crate::domain::{Axis, Cut};
use crate::domain::{ClipInfo, DicomOrigin, FrameIndex, GrayFrame, Region};
use cache::FrameCache;
pub(crate) use cage::{own_program, this_is_the_program};
pub use decoder::serve_decoder;
pub use dicom::{SegmentFrame, SegmentPixels, Segmentation};
pub use error::CodecError;
pub use jpeg_ls::{JpegLs, JpegLsError};
pub(crate) use limits::{MAX_FILE_BYTES, MAX_FRAMES, read_file};
pub(crate) use modes::Modes;
pub(crate) use order::by_name;
pub use order::earlier_hash;
pub use parts::voxels_beside;
use privacy::Window;
pub use privacy::{Outside, Privacy};
use sniff::Kind;
pub(crate) use sniff::has_image_ending;
pub(crate) use video::every_frame;
pub(crate) use volume::MAX_LABELS;
pub use volume::{LabelVolume, NIFTI_2};
pub use watched::follow_no_links_below;

/// How to open a clip.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenOptions {
    /// Which part of a volume; anything but the default is refused for clips that are none.
    pub cut: Cut,
    /// Bound of the cache of decoded frames, MiB. The newest frame is kept whatever the bound.
    pub cache_mib: usize,
    /// Makes pixels outside the ultrasound regions black: names and dates are burned in there. The
    /// regions are those that a DICOM clip names, else they are found in the pixels; clips in
    /// which nothing is found are refused. Volumes without tags have nothing burned in.
    pub hide_outside: bool,
    /// What stays visible when the outside is hidden, instead of what the file names.
    pub region: Option<Region>,
    /// Neither was asked for: what a person decided of this clip counts, and who has not decided
    /// is asked.
    pub ask: bool,
    /// Which clip of a DICOM folder or DICOMDIR that holds several, from 1 on.
    pub series: Option<usize>,
    /// A folder of images, or a series whose names tell its order, comes in that of an earlier version, see
    /// [`earlier_hash`].
    pub earlier_order: bool,
    /// It is known to hold no patient data, whatever its file says of that: the shipped clip.
    pub clean: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            cut: Cut::default(),
            cache_mib: 256,
            hide_outside: false,
            region: None,
            ask: false,
            series: None,
            earlier_order: false,
            clean: false,
        }
    }
}

/// Which clip of DICOM files, and in which order of their names.
#[derive(Clone, Copy)]
struct Wanted {
    series: Option<usize>,
    earlier_order: bool,
}

impl Wanted {
    fn of(options: &OpenOptions) -> Self {
        Self { series: options.series, earlier_order: options.earlier_order }
    }
}

/// Where frames come from. `keep` takes frames that were decoded on the way to the one asked for.
trait FrameSource: Send + Sync {
    fn read(
        &self,
        index: FrameIndex,
        keep: &mut dyn FnMut(FrameIndex, GrayFrame),
    ) -> Result<GrayFrame, CodecError>;

    /// The file that a frame comes from; `None` where all pixels are in memory.
    fn file_of(&self, index: FrameIndex) -> Option<&Path>;
}

/// By what another content is told from the one that was opened: bytes, time and identity.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    changed: (i64, i64),
    file: (u64, u64),
}

impl Stamp {
    /// `None` where the file cannot be looked at; reading it tells why.
    fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self {
            bytes: meta.len(),
            changed: (meta.mtime(), meta.mtime_nsec()),
            file: (meta.dev(), meta.ino()),
        })
    }
}

/// A clip as its reader hands it over.
struct Opened {
    info: ClipInfo,
    source: Box<dyn FrameSource>,
    /// What the file says of patient data in it.
    privacy: Privacy,
    /// Which DICOM objects the frames come from.
    origin: Option<DicomOrigin>,
    /// Names of the frames' own files without ending, in order; empty where they have none.
    frame_names: Vec<String>,
    /// Sentences on what is shown of the file, where that is not all of it or not as stored.
    notes: Vec<String>,
    /// Its pixels were compressed with loss, as far as the file tells.
    lossy: bool,
}

impl Opened {
    fn new(info: ClipInfo, source: impl FrameSource + 'static) -> Self {
        let (source, privacy) = (Box::new(source), Privacy::default());
        let (frame_names, notes) = (Vec::new(), Vec::new());
        Self { info, source, privacy, origin: None, frame_names, notes, lossy: false }
    }
}

/// An opened clip. Frames may be asked for from several threads.
pub struct Clip {
    path: PathBuf,
    info: ClipInfo,
    source: Arc<dyn FrameSource>,
    /// The files of the frames as they were when the clip was opened: one for all, or one each.
    stamps: Vec<Option<Stamp>>,
    /// What stays visible; `None` when everything does.
    window: Option<Window>,
    privacy: Privacy,
    origin: Option<DicomOrigin>,
    frame_names: Vec<String>,
    notes: Vec<String>,
    cache: Mutex<FrameCache>,
}

impl Clip {
    /// What is known of the clip.
    #[must_use]
    pub fn info(&self) -> &ClipInfo {
        &self.info
    }

    /// Where the clip lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether what is written to `path` would be the clip, one of its files, or an image among those of its folder.
    #[must_use]
    pub fn takes(&self, path: &Path) -> bool {
        let file = |at: &Path| Stamp::of(at).map(|stamp| stamp.file);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let (found, own) = (file(path), file(&self.path));
        let among = || sniff::is_frame_name(path) && file(folder.unwrap_or(Path::new("."))) == own;
        let is_one = || self.stamps.iter().flatten().any(|held| Some(held.file) == found);
        own.is_some() && (found == own || among()) || found.is_some() && is_one()
    }

    /// A frame, from the cache or decoded now. Reading forwards is fastest.
    ///
    /// # Errors
    /// A frame beyond the end, or bytes that cannot be decoded; other frames stay readable.
    pub fn frame(&self, index: FrameIndex) -> Result<Arc<GrayFrame>, CodecError> {
        if index >= self.info.frames {
            let (name, frames) = (error::name_of(&self.path), self.info.frames);
            return Err(CodecError::NoSuchFrame { name, frame: index, frames });
        }
        if let Some(frame) = self.with_cache(|cache| cache.get(index)) {
            return Ok(frame);
        }
        let mut keep = |at: FrameIndex, mut frame: GrayFrame| {
            self.hide_outside(&mut frame);
            if self.check_unchanged(at).is_ok() {
                self.with_cache(|cache| cache.put(at, Arc::new(frame)));
            }
        };
        let read = self.source.read(index, &mut keep);
        self.check_unchanged(index)?;
        let mut frame = read?;
        self.hide_outside(&mut frame);
        let frame = Arc::new(frame);
        let expected = (self.info.width_px, self.info.height_px);
        if (frame.width_px, frame.height_px) != expected {
            let cause = format!(
                "frame {} is {} x {} pixels instead of {} x {}",
                index + 1,
                frame.width_px,
                frame.height_px,
                expected.0,
                expected.1
            );
            return Err(CodecError::damaged(&self.path, cause));
        }
        self.with_cache(|cache| cache.put(index, Arc::clone(&frame)));
        Ok(frame)
    }

    /// Names of the frames' own files without ending, in order (not escaped); empty for clips
    /// that are one file.
    #[must_use]
    pub fn frame_names(&self) -> Vec<String> {
        self.frame_names.clone()
    }

    /// Sentences on what is shown of the file, where that is not all of it or not as stored.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What is known of patient data in the clip.
    #[must_use]
    pub fn privacy(&self) -> Privacy {
        self.privacy.clone()
    }

    /// Which DICOM objects the clip is made of; `None` for other clips.
    #[must_use]
    pub fn dicom_origin(&self) -> Option<DicomOrigin> {
        self.origin.clone()
    }

    /// Bytes of decoded pixels held by the cache now.
    #[must_use]
    pub fn cached_bytes(&self) -> usize {
        self.with_cache(|cache| cache.held_bytes())
    }

    /// Whether the file of a frame is still the one that was opened. A file that is gone is none of
    /// this: what can be read of it is its old content.
    fn check_unchanged(&self, index: FrameIndex) -> Result<(), CodecError> {
        let Some(path) = self.source.file_of(index) else { return Ok(()) };
        let opened = self.stamps.get(index).or(self.stamps.first()).copied().flatten();
        match (opened, Stamp::of(path)) {
            (Some(opened), Some(now)) if opened != now => {
                Err(CodecError::Replaced { name: error::name_of(path) })
            }
            _ => Ok(()),
        }
    }

    fn hide_outside(&self, frame: &mut GrayFrame) {
        if let Some(window) = &self.window {
            window.hide_outside(frame);
        }
    }

    fn with_cache<T>(&self, act: impl FnOnce(&mut FrameCache) -> T) -> T {
        // A panic elsewhere cannot leave the cache half-changed: it is only bookkeeping.
        act(&mut self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Opens a still, a folder of frames, a DICOM file, a video or a volume.
///
/// # Errors
/// When the path cannot be read, is no clip, is damaged, too large or stored in a way this
/// program does not decode; every error says which and what to do.
pub fn open(path: &Path, options: &OpenOptions) -> Result<Clip, CodecError> {
    let meta = fs::metadata(path).map_err(|e| CodecError::unreadable(path, e))?;
    let cache_bytes = options.cache_mib.saturating_mul(1 << 20);
    // Before anything is read: what comes in between must not count as what was opened.
    let whole = Stamp::of(path);
    let kind = if meta.is_dir() { Kind::Image } else { sniff::kind_of(path)? };
    if !options.cut.is_open() && kind != Kind::Volume {
        let cause = "it is no NIfTI, NRRD or MetaImage volume, and only those are sliced";
        let advice = "open it without an axis, a slice or a time, or convert it to a volume";
        return Err(CodecError::unsupported(path, cause, advice));
    }
    if kind != Kind::Dicom && !meta.is_dir() {
        only_one(path, options.series)?;
    }
    let opened = match kind {
        Kind::Image if meta.is_dir() => match images::open_folder(path, options.earlier_order) {
            Err(none @ CodecError::NoFrames { .. }) => {
                dicom::open_folder(path, none, Wanted::of(options), cache_bytes)?
            }
            other => {
                only_one(path, options.series)?;
                other?
            }
        },
        Kind::Image => images::open_still(path)?,
        Kind::Dicom => dicom::open(path, Wanted::of(options), cache_bytes)?,
        Kind::Video => video::open(path, cache_bytes)?,
        Kind::Volume => volume::open(path, options.cut)?,
    };
    let cache = Mutex::new(FrameCache::new(cache_bytes));
    let Opened { info, source, privacy, origin, frame_names, notes, lossy } = opened;
    let info = ClipInfo { lossy: Some(lossy), ..info };
    let (window, source): (_, Arc<dyn FrameSource>) = (None, Arc::from(source));
    let stamps = if source.file_of(0) == Some(path) {
        vec![whole]
    } else if kind == Kind::Volume {
        // Its pixels are in memory; a file of its own that they came from is only never written to.
        vec![voxels_beside(path).as_deref().and_then(Stamp::of)]
    } else {
        (0..info.frames).map(|index| source.file_of(index).and_then(Stamp::of)).collect()
    };
    let path = path.to_owned();
    let mut clip =
        Clip { path, info, source, stamps, window, privacy, origin, frame_names, notes, cache };
    clip.frame(0)?;
    clip.privacy.says_none |= options.clean;
    clip.privacy.clean_pixels |= options.clean;
    if options.hide_outside && !clip.is_untagged_volume() {
        clip.hide_all_but(options.region)?;
    }
    clip.privacy.badge = clip.badge();
    Ok(clip)
}

/// Refuses to look for another clip in what holds one.
fn only_one(path: &Path, series: Option<usize>) -> Result<(), CodecError> {
    let Some(asked) = series.filter(|number| *number != 1) else { return Ok(()) };
    let cause = format!("it holds one clip, so there is no clip {asked}");
    let advice = "open it without --series, which is for DICOM folders and a DICOMDIR";
    Err(CodecError::unsupported(path, cause, advice))
}

/// The clips of a path, for lists: the files of a DICOM folder or DICOMDIR that holds several
/// clips of one file each, in order; else the path itself.
#[must_use]
pub fn clips_of(path: &Path) -> Vec<PathBuf> {
    let listed = if path.is_dir() || dicom::is_directory_name(path) {
        dicom::single_files(path)
    } else {
        Vec::new()
    };
    if listed.is_empty() { vec![path.to_owned()] } else { listed }
}

/// The name of a clip without the ending that tells what it is. Only endings of clips are cut off, and
/// of folders none: a name of DICOM media has dots of its own, as 1.2.840.113619.
#[must_use]
pub fn stem_of(path: &Path) -> OsString {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let ending = if path.is_dir() { 0 } else { sniff::ending_bytes(path) };
    OsStr::from_bytes(&name[..name.len() - ending]).to_owned()
}

/// Whether a path may be a clip, for watch folders: by its name, by the first bytes of files whose
/// name says nothing, and for folders by an image among their entries. Reads no more than that.
#[must_use]
pub fn looks_like_clip(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
    if path.is_dir() {
        let holds_frame = |entries: fs::ReadDir| {
            entries.flatten().any(|entry| sniff::is_frame_name(&entry.path()))
        };
        return !hidden && fs::read_dir(path).is_ok_and(holds_frame);
    }
    // The clips that a DICOMDIR lists come by themselves.
    path.is_file()
        && !dicom::is_directory_name(path)
        && sniff::promised_by_name(path).unwrap_or_else(|| sniff::kind_of(path).is_ok())
}

/// Whether a file is DICOM, by its first bytes or its name.
pub(crate) fn is_dicom(path: &Path) -> bool {
    sniff::kind_of(path).is_ok_and(|kind| kind == Kind::Dicom)
}

/// Whether a file is a volume of NIfTI, NRRD or MetaImage, by its first bytes.
pub(crate) fn is_volume(path: &Path) -> bool {
    sniff::kind_of(path).is_ok_and(|kind| kind == Kind::Volume)
}

/// Checks that a file or folder is structurally complete: trailers present, declared lengths fit.
/// Nothing is decoded, so a complete clip may still turn out to be undecodable.
///
/// # Errors
/// What is missing, or why the path cannot be read.
pub fn is_complete(path: &Path) -> Result<(), CodecError> {
    if path.is_dir() {
        return images::folder_complete(path);
    }
    match sniff::kind_of(path)? {
        Kind::Image => images::still_complete(path),
        Kind::Dicom => dicom::complete(path),
        Kind::Video => complete::video(path),
        Kind::Volume => volume::complete(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_are_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Clip>();
    }
}
