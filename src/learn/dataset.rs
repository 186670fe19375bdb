//! Labelled stills and clips in memory: what training draws from and what evaluation judges on.
//!
//! A folder holds `NAME.png` beside `NAME.mask.png` (0 = nothing, k = label k), and lists such as `train.txt` with one
//! name per line; or clip folders of `NNNNN.jpg` beside `NNNNN.mask.png`, described by `windows.yaml` one level up.
//! What decides whether this file is right: masks are shrunk by the nearest pixel only, stills keep to their list, and
//! the hash covers every byte that was read and what was hidden of it, so a score names its data. A manifest of a whole data set
//! ([`super::data::manifest`]) stands wherever a folder does.

mod clips;
mod veil;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::data::load;
use super::data::manifest::{Fold, Manifest, is_manifest};
use crate::codec::CodecError;
use crate::config::yaml::Faults;
use crate::domain::{Bitmap, GrayFrame, Mask, shown};
use crate::export::ExportError;
use crate::net::resize::{Kernel, resize_plane};
use crate::project::ProjectError;

pub use clips::{ClipObject, LabelledClip, LabelledClips};
pub use veil::Veil;

/// Components smaller than this are noise of the labelling, px; not trained on.
pub const LEAST_AREA_PX: usize = 60;
/// Training keeps stills at most this long; the network never sees more.
pub const TRAIN_SIDE_PX: u32 = 512;
/// The list of the stills to learn from.
const TRAIN_LIST: &str = "train.txt";
/// The list of the stills that are held back.
const VAL_LIST: &str = "val.txt";
/// A larger list or description is not one of ours.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// Why data cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file cannot be read.
    #[error("cannot read {file}: {cause}; check the path and the rights")]
    Unreadable {
        /// Which file.
        file: String,
        /// What the system says.
        cause: String,
    },
    /// A file or folder is read, and does not hold what it should.
    #[error("{file} cannot be used: {cause}")]
    Unfit {
        /// Which.
        file: String,
        /// What is wrong with it, and what to do.
        cause: String,
    },
    /// A project.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// A file that is not written.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// Image and mask do not belong together.
    #[error(
        "{file} is {found}, its image is {wanted} px; replace the mask by one of the same size"
    )]
    Size {
        /// The mask.
        file: String,
        /// Its size.
        found: String,
        /// The image's size.
        wanted: String,
    },
    /// A manifest that cannot be used.
    #[error(transparent)]
    Manifest(#[from] Faults),
    /// An image, clip or volume that cannot be decoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Nothing to learn from or to judge.
    #[error(
        "{file} holds no labelled structure; it needs NAME.png with NAME.mask.png, clip folders and windows.yaml, or a \
         manifest with items of that split"
    )]
    Nothing {
        /// Which folder.
        file: String,
    },
}

/// What the system says of a file. Where that is about its content, the path is right and the rights are there.
pub(super) fn unreadable(file: &Path, cause: std::io::Error) -> DataError {
    match cause.kind() {
        std::io::ErrorKind::InvalidData => unfit(file, "it is no text in UTF-8; save it as that"),
        _ => DataError::Unreadable {
            file: shown(&file.display().to_string()),
            cause: shown(&cause.to_string()),
        },
    }
}

/// What is wrong with the content of a file, and what to do.
pub(super) fn unfit(file: &Path, cause: impl std::fmt::Display) -> DataError {
    DataError::Unfit { file: shown(&file.display().to_string()), cause: shown(&cause.to_string()) }
}

/// Why a picture is not decoded: the system's words, or what is wrong with its content.
pub(super) fn undecoded(file: &Path, error: image::ImageError) -> DataError {
    match error {
        // A file that ends too early is not unreadable.
        image::ImageError::IoError(cause) if cause.kind() != std::io::ErrorKind::UnexpectedEof => {
            unreadable(file, cause)
        }
        error => unfit(file, format!("it is no picture that can be read ({error}); save it anew")),
    }
}

/// A folder of stills and, if wanted, the list that names the ones to use; or a manifest and one of its splits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DataSource {
    /// The folder, or the manifest.
    pub dir: PathBuf,
    /// A list file inside it, or a split of the manifest; none takes everything.
    pub list: Option<String>,
    /// What of its images is seen.
    pub veil: Veil,
}

impl DataSource {
    /// `DIR` or `DIR:LIST`, for instance `images/busi:train.txt`; `MANIFEST` or `MANIFEST:SPLIT`, for instance
    /// `busi.yaml:val`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.rsplit_once(':') {
            Some((dir, list)) if list.ends_with(".txt") || is_manifest(Path::new(dir)) => {
                Self { dir: dir.into(), list: Some(list.into()), ..Self::default() }
            }
            _ => Self { dir: text.into(), ..Self::default() },
        }
    }

    /// The same, of which no more is seen than `veil` says.
    #[must_use]
    pub fn behind(self, veil: &Veil) -> Self {
        Self { veil: veil.clone(), ..self }
    }

    /// The stills to learn from, and those beside them that are held back. A folder with lists says itself what is for
    /// training: nothing else of it is learned from.
    #[must_use]
    pub fn learned(mut self) -> (Self, Option<Self>) {
        if self.is_manifest() {
            let list = |split: &str| Self { list: Some(split.into()), ..self.clone() };
            if let Some(split) = self.list.as_deref().filter(|split| *split != "train") {
                let held_back = Fold::other(split).filter(|_| split.starts_with("rest"));
                let held_back = held_back.map(|fold| list(&fold));
                return (self, held_back);
            }
            let held_back = self.has_split("val").then(|| list("val"));
            return (list("train"), held_back);
        }
        if self.list.is_none() && self.dir.join(TRAIN_LIST).is_file() {
            self.list = Some(TRAIN_LIST.into());
        }
        let lists = self.list.as_deref() == Some(TRAIN_LIST);
        let held_back = (lists && self.dir.join(VAL_LIST).is_file())
            .then(|| Self { list: Some(VAL_LIST.into()), ..self.clone() });
        (self, held_back)
    }

    /// The stills to judge on: of a folder or manifest that says what is for training, and names no list, those that are
    /// held back.
    #[must_use]
    pub fn judged(self) -> Self {
        if self.list.is_some() {
            return self;
        }
        self.clone().learned().1.unwrap_or(self)
    }

    /// The images of the source; none where it cannot be read.
    #[must_use]
    pub fn images(&self) -> BTreeSet<PathBuf> {
        let found = |path: PathBuf| path.canonicalize().unwrap_or(path);
        if self.is_manifest() {
            let Ok(manifest) = Manifest::read(&self.dir) else { return BTreeSet::new() };
            let items = manifest.of(self.list.as_deref());
            return items.map(|item| found(manifest.path(&item.image))).collect();
        }
        let names = names(self).unwrap_or_default();
        names.iter().map(|name| found(self.dir.join(format!("{name}.png")))).collect()
    }

    fn has_split(&self, split: &str) -> bool {
        Manifest::read(&self.dir).is_ok_and(|m| m.of(Some(split)).next().is_some())
    }

    /// Whether this is a manifest.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        is_manifest(&self.dir)
    }

    /// Short name for tables: the own name of folder or manifest and the list without its ending.
    #[must_use]
    pub fn name(&self) -> String {
        let last = if self.is_manifest() { self.dir.file_stem() } else { self.dir.file_name() };
        let dir = last.map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        match &self.list {
            Some(list) => shown(&format!("{dir}/{}", list.trim_end_matches(".txt"))),
            None => shown(&dir),
        }
    }
}

/// Which structures of a still become objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// Every component of every label with at least [`LEAST_AREA_PX`].
    AllComponents,
    /// The largest component of every label.
    LargestOfLabel,
}

/// A labelled still.
#[derive(Debug, Clone)]
pub struct Still {
    /// Name without ending.
    pub name: String,
    /// The image, then halves of it (at most two), for antialiased sampling.
    pub levels: Vec<GrayFrame>,
    /// Its structures, at the size of the first level.
    pub objects: Vec<Mask>,
}

impl Still {
    /// The image itself.
    #[must_use]
    pub fn frame(&self) -> &GrayFrame {
        &self.levels[0]
    }
}

/// All stills of one source that hold a structure.
#[derive(Debug, Clone)]
pub struct StillSet {
    /// Short name.
    pub name: String,
    /// In the order of the list.
    pub stills: Vec<Still>,
    /// Pieces of labelled clips, for training on clips; see [`StillSet::load_clips`].
    pub clips: Vec<LabelledClip>,
    /// SHA-256 over the bytes of every file read and what is hidden of it, in lower-case hex.
    pub sha256: String,
}

impl StillSet {
    /// Reads a source; `longest` caps the longer side, px.
    ///
    /// # Errors
    /// Unreadable files, masks of another size, and folders without a structure.
    pub fn load(source: &DataSource, longest: Option<u32>, pick: Pick) -> Result<Self, DataError> {
        if source.is_manifest() {
            return load::stills(source, longest, pick);
        }
        let mut hash = Sha256::new();
        let mut stills = Vec::new();
        for name in names(source)? {
            let file = source.dir.join(format!("{name}.png"));
            let mut image = read(&file, &mut hash)?;
            if let Some(clip) = source.veil.hidden(&file)? {
                image = clip.frame(0)?.as_ref().clone();
                hash.update(source.veil.mark(&clip));
            }
            let mask_file = source.dir.join(format!("{name}.mask.png"));
            let labels = read(&mask_file, &mut hash)?;
            same_size(&mask_file, &labels, &image)?;
            let (image, labels) = match longest {
                Some(longest) => shrink(&image, &labels, longest),
                None => (image, labels),
            };
            let objects = objects_of(&labels, pick);
            if !objects.is_empty() {
                stills.push(Still { name, levels: pyramid(image), objects });
            }
        }
        if stills.is_empty() {
            return Err(DataError::Nothing { file: shown(&source.dir.display().to_string()) });
        }
        Ok(Self { name: source.name(), stills, clips: Vec::new(), sha256: hex(hash) })
    }

    /// Adds the clips and volumes of a manifest to its stills, thinned to what training needs; folders of stills have
    /// none. `longest` caps the longer side, px.
    ///
    /// # Errors
    /// As [`StillSet::load`].
    pub fn load_clips(self, source: &DataSource, longest: Option<u32>) -> Result<Self, DataError> {
        let clips = if source.is_manifest() { load::pieces(source, longest)? } else { Vec::new() };
        Ok(Self { clips, ..self })
    }

    /// Structures of all stills.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.stills.iter().map(|s| s.objects.len()).sum()
    }
}

/// Names as they are, those that were there before (in `taken` too) with a number: sets of equal names stay apart in
/// tables.
#[must_use]
pub fn told_apart<'a>(names: impl Iterator<Item = &'a str>, taken: &[&str]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for name in names {
        let numbered = (1..).map(|n| match n {
            1 => name.to_owned(),
            n => format!("{name} ({n})"),
        });
        let mut free = numbered.filter(|name| !out.contains(name) && !taken.contains(&&name[..]));
        let found = free.next().unwrap_or_default();
        drop(free);
        out.push(found);
    }
    out
}

pub(super) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

fn text(file: &Path) -> Result<String, DataError> {
    let size = std::fs::metadata(file).map_err(|e| unreadable(file, e))?.len();
    if size > TEXT_BYTES_MAX {
        let cause = format!("it is larger than {} MiB; split it", TEXT_BYTES_MAX >> 20);
        return Err(unfit(file, cause));
    }
    std::fs::read_to_string(file).map_err(|e| unreadable(file, e))
}

fn names(source: &DataSource) -> Result<Vec<String>, DataError> {
    if let Some(list) = &source.list {
        let lines = text(&source.dir.join(list))?;
        let stem = |l: &str| l.trim().trim_end_matches(".png").trim_end_matches(".mask").to_owned();
        let names = lines.lines().map(stem).filter(|n| !n.is_empty());
        // A list names files of its own folder only.
        return Ok(names.filter(|n| !n.contains(['/', '\\'])).collect());
    }
    let entries = std::fs::read_dir(&source.dir).map_err(|e| unreadable(&source.dir, e))?;
    let files = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> =
        files.filter_map(|f| Some(f.strip_suffix(".mask.png")?.to_owned())).collect();
    names.sort();
    Ok(names)
}

/// Decodes a gray image and feeds its bytes to the hash.
fn read(file: &Path, hash: &mut Sha256) -> Result<GrayFrame, DataError> {
    let bytes = std::fs::read(file).map_err(|e| unreadable(file, e))?;
    hash.update(&bytes);
    let image = image::load_from_memory(&bytes).map_err(|e| undecoded(file, e))?.into_luma8();
    let (w, h) = image.dimensions();
    GrayFrame::new(w, h, image.into_raw())
        .ok_or_else(|| unfit(file, "its size and its pixels disagree; save it anew"))
}

fn same_size(file: &Path, mask: &GrayFrame, image: &GrayFrame) -> Result<(), DataError> {
    let size = |f: &GrayFrame| (f.width_px, f.height_px);
    if size(mask) == size(image) {
        return Ok(());
    }
    let words = |f: &GrayFrame| format!("{} x {}", f.width_px, f.height_px);
    let file = shown(&file.display().to_string());
    Err(DataError::Size { file, found: words(mask), wanted: words(image) })
}

fn resized(frame: &GrayFrame, w: u32, h: u32) -> GrayFrame {
    let plane: Vec<f32> = frame.pixels.iter().map(|v| f32::from(*v)).collect();
    let from = [frame.height_px as usize, frame.width_px as usize];
    let small = resize_plane(&plane, from, [h as usize, w as usize], Kernel::BilinearAa);
    GrayFrame {
        width_px: w,
        height_px: h,
        pixels: small.iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect(),
        ..GrayFrame::default()
    }
}

pub(super) fn shrink(
    image: &GrayFrame,
    labels: &GrayFrame,
    longest: u32,
) -> (GrayFrame, GrayFrame) {
    let (w, h) = (image.width_px, image.height_px);
    let scale = f64::from(longest) / f64::from(w.max(h));
    if scale >= 1.0 {
        return (image.clone(), labels.clone());
    }
    let side = |n: u32| ((f64::from(n) * scale).round() as u32).max(1);
    let (nw, nh) = (side(w), side(h));
    let nearest =
        |i: u32, n: u32, of: u32| ((f64::from(i) + 0.5) * f64::from(of) / f64::from(n)) as i64;
    let pixels =
        (0..nw * nh).map(|i| labels.at(nearest(i % nw, nw, w), nearest(i / nw, nh, h))).collect();
    (
        resized(image, nw, nh),
        GrayFrame { width_px: nw, height_px: nh, pixels, ..GrayFrame::default() },
    )
}

pub(in crate::learn) fn pyramid(image: GrayFrame) -> Vec<GrayFrame> {
    let mut levels = vec![image];
    for _ in 0..2 {
        let last = &levels[levels.len() - 1];
        let (w, h) = (last.width_px / 2, last.height_px / 2);
        if w.min(h) < 16 {
            break;
        }
        levels.push(resized(last, w, h));
    }
    levels
}

pub(super) fn label_mask(labels: &GrayFrame, label: u8) -> Bitmap {
    let pixels = labels.pixels.iter().map(|p| *p == label).collect();
    Bitmap { width_px: labels.width_px, height_px: labels.height_px, pixels }
}

pub(super) fn objects_of(labels: &GrayFrame, pick: Pick) -> Vec<Mask> {
    let mut present: Vec<u8> = labels.pixels.iter().copied().filter(|p| *p > 0).collect();
    present.sort_unstable();
    present.dedup();
    let mut out = Vec::new();
    for label in present {
        let mask = label_mask(labels, label);
        match pick {
            Pick::LargestOfLabel => out.push(mask.largest_component().to_mask()),
            Pick::AllComponents => {
                let kept = mask.without(&mask.specks(LEAST_AREA_PX - 1));
                out.extend(kept.components().map(|part| part.to_mask()));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bitmap of each speck would take 6 GB.
    #[test]
    fn noise_of_a_labelling_is_no_structure_and_costs_nothing() {
        let disc = |x: u32, y: u32| (x as f32 - 90.0).hypot(y as f32 - 80.0) < 40.0;
        let labels = Bitmap::from_fn(400, 400, |x, y| disc(x, y) || (x % 2 == 0 && y % 2 == 0));
        let labels = GrayFrame {
            width_px: 400,
            height_px: 400,
            pixels: labels.pixels.iter().map(|set| u8::from(*set)).collect(),
            ..GrayFrame::default()
        };
        let found = objects_of(&labels, Pick::AllComponents);
        assert_eq!(found.len(), 1);
        assert!(found[0].area_px() > 5000, "{}", found[0].area_px());
    }

    #[test]
    fn a_folder_with_lists_is_learned_from_by_its_train_list_alone() {
        let split = |text: &str| DataSource::parse(text).learned();
        let judged = |text: &str| DataSource::parse(text).judged();
        let dir = tempfile::tempdir().expect("a temporary folder");
        let text = dir.path().to_string_lossy().into_owned();
        assert_eq!(split(&text), (DataSource::parse(&text), None));
        assert_eq!(judged(&text), DataSource::parse(&text));
        for list in [TRAIN_LIST, VAL_LIST] {
            std::fs::write(dir.path().join(list), "a\n").expect("a list");
        }
        let listed = |list: &str| DataSource::parse(&format!("{text}:{list}"));
        let both = (listed(TRAIN_LIST), Some(listed(VAL_LIST)));
        assert_eq!(split(&text), both);
        assert_eq!(judged(&text), listed(VAL_LIST));
        assert_eq!(judged(&format!("{text}:{TRAIN_LIST}")), listed(TRAIN_LIST));
        assert_eq!(split(&format!("{text}:{TRAIN_LIST}")), both);
        // A manifest says the same of itself.
        let manifest = dir.path().join("m.yaml");
        let item = |split: &str| format!("  - {{image: a, mask: b, split: {split}}}\n");
        std::fs::write(&manifest, format!("name: m\nitems:\n{}{}", item("train"), item("val")))
            .expect("a manifest");
        let words = manifest.to_string_lossy();
        let of = |split: &str| DataSource::parse(&format!("{words}:{split}"));
        assert_eq!(split(&words), (of("train"), Some(of("val"))));
        assert_eq!(judged(&words), of("val"));
        assert_eq!(split(&format!("{words}:test")), (of("test"), None));
        // Whoever names another list knows better.
        assert_eq!(split(&format!("{text}:{VAL_LIST}")), (listed(VAL_LIST), None));
    }
}
