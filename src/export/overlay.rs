//! Pictures for people: a mask drawn on its frame, and contact sheets of several.

use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::atomic::ensure_folder;
use super::{ExportError, Job, Report};
use crate::domain::{Bitmap, FrameIndex, GrayFrame};

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// Share of the colour in a tinted pixel, in 256ths.
const TINT: u32 = 72;

/// An 8-bit colour image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RgbImage {
    /// Width, px.
    pub width_px: u32,
    /// Height, px.
    pub height_px: u32,
    /// `width_px * height_px` pixels, row by row.
    pub pixels: Vec<Rgb>,
}

impl RgbImage {
    /// A black image.
    #[must_use]
    pub fn black(width_px: u32, height_px: u32) -> Self {
        let pixels = vec![[0; 3]; width_px as usize * height_px as usize];
        Self { width_px, height_px, pixels }
    }

    /// A frame as it is.
    #[must_use]
    pub fn of_frame(frame: &GrayFrame) -> Self {
        Self { width_px: frame.width_px, height_px: frame.height_px, pixels: frame.rgb() }
    }

    /// Copies `other` with its top left corner to column `x`, row `y`; what lies outside is cut.
    fn paste(&mut self, other: &RgbImage, x: u32, y: u32) {
        let columns = other.width_px.min(self.width_px.saturating_sub(x)) as usize;
        for row in 0..other.height_px.min(self.height_px.saturating_sub(y)) {
            let from = row as usize * other.width_px as usize;
            let to = (y + row) as usize * self.width_px as usize + x as usize;
            self.pixels[to..to + columns].copy_from_slice(&other.pixels[from..from + columns]);
        }
    }

    /// The image `factor` times as large, with square pixels.
    pub(super) fn enlarged(&self, factor: u32) -> Self {
        let mut large = Self::black(self.width_px * factor, self.height_px * factor);
        for (at, pixel) in (0u32..).zip(large.pixels.iter_mut()) {
            let (x, y) = (at % (self.width_px * factor), at / (self.width_px * factor));
            *pixel = self.pixels[(y / factor * self.width_px + x / factor) as usize];
        }
        large
    }

    /// The image in `1 / factor` of its size, by averaging squares of pixels.
    #[must_use]
    pub(super) fn reduced(&self, factor: u32) -> Self {
        let (width, height) = (self.width_px / factor, self.height_px / factor);
        let mut small = Self::black(width.max(1), height.max(1));
        for y in 0..small.height_px {
            for x in 0..small.width_px {
                let mut sums = [0u32; 3];
                let mut count = 0;
                for v in y * factor..((y + 1) * factor).min(self.height_px) {
                    for u in x * factor..((x + 1) * factor).min(self.width_px) {
                        let pixel = self.pixels[(v * self.width_px + u) as usize];
                        sums.iter_mut().zip(pixel).for_each(|(sum, p)| *sum += u32::from(p));
                        count += 1;
                    }
                }
                small.pixels[(y * small.width_px + x) as usize] =
                    sums.map(|sum| (sum / count.max(1)) as u8);
            }
        }
        small
    }
}

/// Draws a mask on a picture of the same size: the inside tinted, its boundary in full colour.
/// A mask of another size is left out.
pub fn draw_mask(image: &mut RgbImage, mask: &Bitmap, colour: Rgb) {
    if (image.width_px, image.height_px) != (mask.width_px, mask.height_px) {
        return;
    }
    for (pixel, _) in image.pixels.iter_mut().zip(&mask.pixels).filter(|&(_, &inside)| inside) {
        for (value, tint) in pixel.iter_mut().zip(colour) {
            *value = ((u32::from(*value) * (256 - TINT) + u32::from(tint) * TINT) / 256) as u8;
        }
    }
    for (x, y) in mask.boundary() {
        image.pixels[(y * image.width_px + x) as usize] = colour;
    }
}

/// Pictures side by side, `columns` in a row with 4 px between them, each reduced by a whole
/// factor until it is at most `longest_px` wide and high. Empty input gives one black pixel.
#[must_use]
pub fn contact_sheet(images: &[RgbImage], columns: u32, longest_px: u32) -> RgbImage {
    const GAP: u32 = 4;
    let fitted = |image: &RgbImage| {
        let longest = image.width_px.max(image.height_px);
        image.reduced(longest.div_ceil(longest_px.max(1)).max(1))
    };
    let small: Vec<RgbImage> = images.iter().map(fitted).collect();
    let width = small.iter().map(|i| i.width_px).max().unwrap_or(1);
    let height = small.iter().map(|i| i.height_px).max().unwrap_or(1);
    let columns = columns.clamp(1, small.len().max(1) as u32);
    let rows = (small.len() as u32).div_ceil(columns).max(1);
    let mut sheet = RgbImage::black(columns * (width + GAP) - GAP, rows * (height + GAP) - GAP);
    for (i, image) in (0u32..).zip(&small) {
        sheet.paste(image, i % columns * (width + GAP), i / columns * (height + GAP));
    }
    sheet
}

/// The image as PNG.
///
/// # Errors
/// When the encoder refuses, which it does for images without pixels.
pub fn png_bytes(image: &RgbImage) -> Result<Vec<u8>, ExportError> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(
            image.pixels.as_flattened(),
            image.width_px,
            image.height_px,
            ExtendedColorType::Rgb8,
        )
        .map_err(|e| ExportError::Encode { name: "a picture".to_owned(), cause: e.to_string() })?;
    Ok(bytes)
}

/// Writes `FOLDER/00003.png`, the frame itself in its colours, and notes it; nothing without the
/// clip at hand.
pub(super) fn put_frame(
    job: &Job,
    report: &mut Report,
    folder: &Path,
    frame: FrameIndex,
) -> Result<(), ExportError> {
    if job.frames.is_none() {
        return Ok(());
    }
    ensure_folder(folder)?;
    let encode = |path: &Path, pixels: &GrayFrame| match pixels.colours.is_empty() {
        true => gray_png(path, pixels),
        false => png_bytes(&RgbImage::of_frame(pixels)),
    };
    put_frame_by(job, report, &folder.join(format!("{frame:05}.png")), frame, encode)
}

/// The gray of a frame under another name, for learners that are told of one channel.
pub(super) fn put_gray_frame_as(
    job: &Job,
    report: &mut Report,
    path: &Path,
    frame: FrameIndex,
) -> Result<(), ExportError> {
    put_frame_by(job, report, path, frame, gray_png)
}

fn put_frame_by(
    job: &Job,
    report: &mut Report,
    path: &Path,
    frame: FrameIndex,
    encode: impl Fn(&Path, &GrayFrame) -> Result<Vec<u8>, ExportError>,
) -> Result<(), ExportError> {
    let Some(frames) = job.frames else { return Ok(()) };
    job.go_on(path)?;
    let pixels = frames(frame).map_err(|why| ExportError::unfit(path, why, "mend the clip"))?;
    let bytes = encode(path, &pixels)?;
    job.put(report, path, &bytes)?;
    report.pictures = true;
    Ok(())
}

fn gray_png(path: &Path, frame: &GrayFrame) -> Result<Vec<u8>, ExportError> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(&frame.pixels, frame.width_px, frame.height_px, ExtendedColorType::L8)
        .map_err(|e| ExportError::encode(path, e))?;
    Ok(bytes)
}
