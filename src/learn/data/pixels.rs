//! The pixels of an item: frames through the decoders, masks by the manifest's rule.
//!
//! What decides whether this file is right: masks have the size of their frames, and of several the later one wins where it
//! has a label.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::layouts::Rule;
use super::manifest::{Item, Manifest};
use crate::codec::{Clip, LabelVolume, by_name};
use crate::domain::{GrayFrame, shown};
use crate::learn::dataset::{DataError, Veil, hex, undecoded, unfit, unreadable};
use crate::net::weights::sha256_of_file;

/// Endings of label volumes; all other masks are images.
const VOLUMES: [&str; 6] = [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"];

/// An item, opened.
pub(super) struct Opened {
    /// Its frames.
    pub clip: Clip,
    /// The label of every pixel of every frame.
    labels: Vec<u8>,
}

impl Opened {
    /// Opens image and masks of an item; of the image no more is seen than `veil` says.
    pub(super) fn open(manifest: &Manifest, item: &Item, veil: &Veil) -> Result<Self, DataError> {
        let clip = veil.open(&manifest.path(&item.image))?;
        let info = clip.info();
        let frame_px = info.width_px as usize * info.height_px as usize;
        let mut opened = Self { labels: vec![0; frame_px * info.frames], clip };
        for mask in &item.masks {
            opened.add(&manifest.path(mask), manifest.rule)?;
        }
        Ok(opened)
    }

    /// Width, height and number of frames.
    fn size(&self) -> [usize; 3] {
        let info = self.clip.info();
        [info.width_px as usize, info.height_px as usize, info.frames]
    }

    fn add(&mut self, file: &Path, rule: Rule) -> Result<(), DataError> {
        let name = file.to_string_lossy().to_lowercase();
        if VOLUMES.iter().any(|ending| name.ends_with(ending)) {
            return self.add_volume(file, rule);
        }
        let folder = file.is_dir();
        let images = if folder { images_in(file)? } else { vec![file.to_owned()] };
        for (frame, image) in images.iter().enumerate() {
            let ([width, height], values) = labels_of(image, rule)?;
            self.same_size(image, [width, height, images.len()])?;
            self.put(frame, values.into_iter());
        }
        Ok(())
    }

    fn add_volume(&mut self, file: &Path, rule: Rule) -> Result<(), DataError> {
        let volume = LabelVolume::open(file)?;
        self.same_size(file, volume.size())?;
        let mut large = false;
        let put = |slice: usize, labels: &[u32]| {
            large |= labels.iter().any(|l| *l > 255);
            self.put(slice, labels.iter().map(|l| u8::try_from(*l).unwrap_or(0)));
        };
        match rule {
            Rule::Above(level) => volume.each_slice_above(level, put)?,
            Rule::Values => volume.each_slice(put)?,
        }
        if large {
            return Err(unfit(file, "it has labels above 255; number them from 1 to 255"));
        }
        Ok(())
    }

    /// Later masks win where they have a label.
    fn put(&mut self, frame: usize, labels: impl Iterator<Item = u8>) {
        let [width, height, _] = self.size();
        let at = (frame * width * height).min(self.labels.len());
        for (out, label) in self.labels[at..].iter_mut().zip(labels) {
            if label > 0 {
                *out = label;
            }
        }
    }

    fn same_size(&self, file: &Path, found: [usize; 3]) -> Result<(), DataError> {
        let wanted = self.size();
        let words = |[w, h, n]: [usize; 3]| match n {
            1 => format!("{w} x {h}"),
            _ => format!("{w} x {h} x {n}"),
        };
        if found == wanted {
            return Ok(());
        }
        let file = shown(&file.display().to_string());
        Err(DataError::Size { file, found: words(found), wanted: words(wanted) })
    }

    /// The labels of a frame.
    pub(super) fn labels(&self, frame: usize) -> GrayFrame {
        let info = self.clip.info();
        let pixels = info.width_px as usize * info.height_px as usize;
        GrayFrame {
            width_px: info.width_px,
            height_px: info.height_px,
            pixels: self.labels[frame * pixels..][..pixels].to_vec(),
            ..GrayFrame::default()
        }
    }

    /// Labels that come anywhere, in order.
    pub(super) fn present(&self) -> Vec<u8> {
        let mut seen = [false; 256];
        self.labels.iter().for_each(|l| seen[usize::from(*l)] = true);
        (1..=255u8).filter(|l| seen[usize::from(*l)]).collect()
    }

    /// Frames on which something is labelled.
    pub(super) fn labelled(&self) -> Vec<usize> {
        let [width, height, frames] = self.size();
        let pixels = width * height;
        let any = |frame: &usize| self.labels[frame * pixels..][..pixels].iter().any(|l| *l > 0);
        (0..frames).filter(any).collect()
    }
}

/// Size and labels of a mask that is an image.
fn labels_of(file: &Path, rule: Rule) -> Result<([usize; 2], Vec<u8>), DataError> {
    let image = image::open(file).map_err(|e| undecoded(file, e))?;
    let size = [image.width() as usize, image.height() as usize];
    let labels = match (rule, image) {
        (Rule::Above(level), image) => {
            let above = |v: &u8| u8::from(f64::from(*v) > level);
            image.into_luma8().iter().map(above).collect()
        }
        (Rule::Values, image::DynamicImage::ImageLuma8(labels)) => labels.into_raw(),
        (Rule::Values, _) => {
            let cause = "its pixels are no 8-bit labels; where masks are black and white, say `above: 127` in the \
                         manifest";
            return Err(unfit(file, cause));
        }
    };
    Ok((size, labels))
}

/// The files of a folder in natural order, as the frames of a clip are.
fn images_in(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let entries = std::fs::read_dir(folder).map_err(|e| unreadable(folder, e))?;
    let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
    let mut files: Vec<PathBuf> =
        names.filter(|name| !name.starts_with('.')).map(|name| folder.join(name)).collect();
    files.sort_by(|a, b| by_name(a, b));
    Ok(files)
}

/// SHA-256 of a file in lower-case hex; of a folder that of the hashes of its files.
pub(super) fn sha256(file: &Path) -> Result<String, DataError> {
    if file.is_dir() {
        let mut hash = Sha256::new();
        for image in images_in(file)? {
            hash.update(sha256(&image)?);
        }
        return Ok(hex(hash));
    }
    sha256_of_file(file).map_err(|e| unreadable(file, e))
}
