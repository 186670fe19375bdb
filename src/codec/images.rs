//! Stills and folders of frames: PNG, JPEG, TIFF and BMP of 8 or 16 bits, gray or colour.
//!
//! The frames of a folder are its images in natural order of their names (2 before 10). Masks
//! (`NAME.mask.png`), hidden files and other files are left out. Sizes are read from all headers
//! when the folder is opened; pixels only when a frame is asked for.

use std::fs;
use std::io::{BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use rayon::prelude::*;

use super::error::short_name;
use super::gray::{Ramp, luma, luma16, spread};
use super::limits::{
    MAX_DECODE_BYTES, MAX_FRAMES, MAX_SIDE_PX, check_size, guarded, open_regular, read_file,
};
use super::{CodecError, FrameSource, complete, identity, sniff};
use crate::domain::{ClipInfo, ClipKind, FrameIndex, GrayFrame};

/// First bytes of an image in which its size is looked for.
const HEAD_BYTES: usize = 4 << 10;

struct Images {
    frames: Vec<PathBuf>,
    /// For images of 16 bits: one ramp for all frames.
    ramp: Option<Ramp>,
}

type Opened = (ClipInfo, Box<dyn FrameSource>);

/// Opens a single image.
pub(super) fn open_still(path: &Path) -> Result<Opened, CodecError> {
    let size = header_size(path)?;
    let hash = identity::of_file(path)?;
    describe(path, vec![path.to_owned()], size, hash, ClipKind::Still)
}

/// Opens a folder of frames.
pub(super) fn open_folder(path: &Path) -> Result<Opened, CodecError> {
    let frames = list(path)?;
    let sizes: Vec<((u32, u32), u64)> = frames
        .par_iter()
        .map(|frame| {
            let meta = fs::metadata(frame).map_err(|e| CodecError::unreadable(frame, e))?;
            Ok((header_size(frame)?, meta.len()))
        })
        .collect::<Result<_, CodecError>>()?;
    let first = sizes[0].0;
    if let Some(other) = sizes.iter().position(|(size, _)| *size != first) {
        let name = |i: usize| crate::domain::shown(&short_name(&frames[i]));
        let text = |(w, h): (u32, u32)| format!("{w} x {h}");
        return Err(CodecError::MixedSizes {
            name: super::error::name_of(path),
            first: name(0),
            first_size: text(first),
            other: name(other),
            other_size: text(sizes[other].0),
        });
    }
    let listed: Vec<(PathBuf, u64)> =
        frames.iter().cloned().zip(sizes.iter().map(|(_, bytes)| *bytes)).collect();
    let hash = identity::of_frames(&listed)?;
    let kind = if frames.len() == 1 { ClipKind::Still } else { ClipKind::Cine };
    describe(path, frames, first, hash, kind)
}

fn describe(
    path: &Path,
    frames: Vec<PathBuf>,
    (width_px, height_px): (u32, u32),
    content_hash: crate::domain::ContentHash,
    kind: ClipKind,
) -> Result<Opened, CodecError> {
    check_size(path, width_px, height_px, frames.len())?;
    let first = decode(&frames[0])?;
    let bits = if deep(&first) { 16 } else { 8 };
    let ramp = if bits == 16 { Some(range_of(&frames)?) } else { None };
    let ending = frames[0].extension().unwrap_or_default().to_string_lossy().to_uppercase();
    let colour = if first.color().has_color() { "colour" } else { "gray" };
    let folder = if path.is_dir() { "folder of " } else { "" };
    let info = ClipInfo {
        content_hash,
        name: short_name(path),
        kind,
        width_px,
        height_px,
        frames: frames.len(),
        pixel_spacing_mm: None,
        frame_time_ms: None,
        placement: None,
        format: crate::domain::shown(&format!("{folder}{ending}, {bits}-bit {colour}")),
    };
    Ok((info, Box::new(Images { frames, ramp })))
}

impl FrameSource for Images {
    fn read(
        &self,
        index: FrameIndex,
        _keep: &mut dyn FnMut(FrameIndex, GrayFrame),
    ) -> Result<GrayFrame, CodecError> {
        let image = decode(&self.frames[index])?;
        to_gray(&self.frames[index], image, self.ramp)
    }

    fn frame_names(&self) -> Vec<String> {
        let stem = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into();
        self.frames.iter().map(stem).collect()
    }
}

/// The frames of a folder, in natural order.
fn list(path: &Path) -> Result<Vec<PathBuf>, CodecError> {
    let entries = fs::read_dir(path).map_err(|e| CodecError::unreadable(path, e))?;
    let mut frames = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| CodecError::unreadable(path, e))?.path();
        if sniff::is_frame_name(&entry) {
            frames.push(entry);
        }
        if frames.len() > MAX_FRAMES {
            let cause = format!("it holds more than {MAX_FRAMES} frames");
            return Err(CodecError::too_large(path, cause));
        }
    }
    if frames.is_empty() {
        return Err(CodecError::NoFrames { name: super::error::name_of(path) });
    }
    // Names that natural order calls equal (001 and 1) still need one order everywhere.
    frames.sort_by(|a, b| natord::compare(&short_name(a), &short_name(b)).then_with(|| a.cmp(b)));
    Ok(frames)
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE_PX);
    limits.max_image_height = Some(MAX_SIDE_PX);
    limits.max_alloc = Some(MAX_DECODE_BYTES);
    limits
}

/// Width and height from the header. PNG and JPEG, which nearly all folders are, tell them in
/// their first bytes; others ask their decoder.
fn header_size(path: &Path) -> Result<(u32, u32), CodecError> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    let mut file = open_regular(path)?.take(HEAD_BYTES as u64);
    file.read_to_end(&mut head).map_err(|e| CodecError::unreadable(path, e))?;
    let number =
        |at: usize| head.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    if head.starts_with(b"\x89PNG") && head.get(12..16) == Some(b"IHDR") {
        if let (Some(width), Some(height)) = (number(16), number(20)) {
            return Ok((width, height));
        }
    } else if head.starts_with(&[0xff, 0xd8])
        && let Some(header) = complete::jpeg_header(&head)
    {
        return Ok((header.width.into(), header.height.into()));
    }
    let file = open_regular(path)?;
    guarded(path, || {
        let mut reader = ImageReader::new(BufReader::new(file))
            .with_guessed_format()
            .map_err(|e| CodecError::unreadable(path, e))?;
        reader.limits(limits());
        reader.into_dimensions().map_err(|e| CodecError::damaged(path, e))
    })
}

fn decode(path: &Path) -> Result<DynamicImage, CodecError> {
    let bytes = read_file(path)?;
    complete::image(path, &bytes)?;
    refuse_pages(path, &bytes)?;
    guarded(path, || {
        let mut reader = ImageReader::new(Cursor::new(&bytes))
            .with_guessed_format()
            .map_err(|e| CodecError::unreadable(path, e))?;
        reader.limits(limits());
        let decoder = reader.into_decoder().map_err(|e| CodecError::damaged(path, e))?;
        if decoder.total_bytes() > MAX_DECODE_BYTES {
            return Err(CodecError::too_large(path, "its pixels take more than 1 GiB"));
        }
        DynamicImage::from_decoder(decoder).map_err(|e| CodecError::damaged(path, e))
    })
}

/// A TIFF of several pages would silently lose all but the first: it is refused instead.
fn refuse_pages(path: &Path, bytes: &[u8]) -> Result<(), CodecError> {
    let little = match bytes {
        [b'I', b'I', b'*', 0, ..] => true,
        [b'M', b'M', 0, b'*', ..] => false,
        _ => return Ok(()),
    };
    let number = |at: usize, length: usize| -> Option<usize> {
        let raw = bytes.get(at..at.checked_add(length)?)?;
        let fold = |all: usize, b: &u8| (all << 8) | usize::from(*b);
        Some(if little { raw.iter().rev().fold(0, fold) } else { raw.iter().fold(0, fold) })
    };
    let next_page = || {
        let directory = number(4, 4)?;
        let entries = number(directory, 2)?;
        number(directory + 2 + entries * 12, 4)
    };
    match next_page() {
        Some(0) => Ok(()),
        Some(_) => Err(CodecError::unsupported(
            path,
            "it is a TIFF of several pages",
            "save its pages as single images into a folder and open the folder",
        )),
        None => Err(CodecError::damaged(path, "its page directory lies beyond its end")),
    }
}

fn deep(image: &DynamicImage) -> bool {
    let color = image.color();
    color.bytes_per_pixel() / color.channel_count() > 1
}

/// The range of values of up to 16 evenly spaced frames.
fn range_of(frames: &[PathBuf]) -> Result<Ramp, CodecError> {
    let mut range: Option<Ramp> = None;
    for index in spread(frames.len()) {
        let values = deep_luma(decode(&frames[index])?);
        let next = Ramp::over(values.iter().map(|&v| f64::from(v)));
        range = Some(range.map_or(next, |r| r.joined(next)));
    }
    Ok(range.unwrap_or(Ramp { low: 0.0, high: 65_535.0 }))
}

fn deep_luma(image: DynamicImage) -> Vec<u16> {
    match image {
        DynamicImage::ImageLuma16(gray) => gray.into_raw(),
        DynamicImage::ImageLumaA16(gray) => gray.pixels().map(|p| p.0[0]).collect(),
        other => other.to_rgb16().pixels().map(|p| luma16(p.0[0], p.0[1], p.0[2])).collect(),
    }
}

/// 8-bit gray. Alpha is ignored: ultrasound has none, and screenshots have it opaque.
fn to_gray(path: &Path, image: DynamicImage, ramp: Option<Ramp>) -> Result<GrayFrame, CodecError> {
    let (width, height) = (image.width(), image.height());
    let pixels = match (ramp, image) {
        (Some(ramp), image) => {
            // An 8-bit frame among 16-bit ones is stretched to 16 bits first.
            deep_luma(image).iter().map(|&v| ramp.gray(f64::from(v))).collect()
        }
        (None, DynamicImage::ImageLuma8(gray)) => gray.into_raw(),
        (None, DynamicImage::ImageLumaA8(gray)) => gray.pixels().map(|p| p.0[0]).collect(),
        (None, image) => image.to_rgb8().pixels().map(|p| luma(p.0[0], p.0[1], p.0[2])).collect(),
    };
    GrayFrame::new(width, height, pixels)
        .ok_or_else(|| CodecError::damaged(path, "its pixels do not fill the image"))
}

/// Structural completeness of one image.
pub(super) fn still_complete(path: &Path) -> Result<(), CodecError> {
    let bytes = read_file(path)?;
    complete::image(path, &bytes)?;
    if bytes.starts_with(b"II*\0") || bytes.starts_with(b"MM\0*") {
        decode(path)?;
    }
    Ok(())
}

/// Structural completeness of every frame of a folder.
pub(super) fn folder_complete(path: &Path) -> Result<(), CodecError> {
    list(path)?.par_iter().try_for_each(|frame| still_complete(frame))
}
