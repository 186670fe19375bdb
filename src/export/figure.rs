//! Pictures for papers, and for looking a clip over: one frame at print size, a contact sheet.
//!
//! A figure is as wide as a column of a journal and has at least 300 dots to the inch as PNG; as
//! SVG its contours stay lines. A report is one SVG page with everything inside it, so that any
//! browser shows it and its words can be searched. Neither names the clip's file.

use std::fmt::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::atomic::{ensure_folder, write_atomic};
use super::colours::of_structure;
use super::cvat::escaped;
use super::names::plain;
use super::overlay::{Rgb, RgbImage, draw_mask, png_bytes};
use super::{ExportError, FrameReader, trace};
use crate::domain::{
    Annotation, ClipInfo, FrameIndex, GrayFrame, MaskSource, Track, counted, shown,
};

/// Width of a column of a journal, mm.
const COLUMN_MM: f64 = 85.0;
/// Fewest pixels across a column: 300 dots to the inch.
const COLUMN_PX: u32 = 1004;
/// Longest side to which a picture is enlarged for that, px: one of a single line of sound would else take gigabytes.
const LONGEST_PX: u32 = 32_768;
/// Frames of a report, and how many stand side by side.
const SHEET: usize = 24;
const ACROSS: usize = 4;
/// A picture of a report is at most so wide, px.
const SMALL_PX: u32 = 480;
/// Of its JPEG pictures, 1 to 100.
const QUALITY: u8 = 85;

/// What is pictured.
pub struct Pictured<'a> {
    /// The masks.
    pub annotation: &'a Annotation,
    /// Their clip.
    pub info: &'a ClipInfo,
    /// Its frames.
    pub frames: &'a FrameReader<'a>,
    /// Colours of structures in the place of the usual ones, by number.
    pub colours: [Option<Rgb>; 8],
}

impl Pictured<'_> {
    fn colour(&self, track: &Track) -> Rgb {
        of_structure(track, &self.colours)
    }

    fn pixels(
        &self,
        path: &Path,
        frame: FrameIndex,
    ) -> Result<std::sync::Arc<GrayFrame>, ExportError> {
        (self.frames)(frame).map_err(|why| ExportError::unfit(path, why, "mend the clip"))
    }

    /// Structures with something to draw on a frame.
    fn drawn(&self, frame: FrameIndex) -> impl Iterator<Item = (&Track, crate::domain::Bitmap)> {
        let seen = move |track: &&Track| track.visible(frame);
        self.annotation.tracks.values().filter(seen).filter_map(move |track| {
            let held = track.masks.get(&frame).filter(|held| !held.mask.is_empty())?;
            Some((track, held.mask.to_bitmap()))
        })
    }

    /// A frame and its contours as a group of SVG, in px of the image; the frame as PNG, or where
    /// it is to be small as JPEG.
    fn group(&self, path: &Path, frame: FrameIndex, widest_px: u32) -> Result<String, ExportError> {
        let width = self.info.width_px;
        let pixels = self.pixels(path, frame)?;
        let image = RgbImage::of_frame(&pixels);
        let factor = width.div_ceil(widest_px.max(1)).max(1);
        let small = image.reduced(factor);
        // Columns and rows that fill no whole pixel of the small picture are not in it: drawn over the whole width, all
        // others would lie beside their contours.
        let (across, down) = (small.width_px * factor, small.height_px * factor);
        let (kind, bytes) = match widest_px {
            u32::MAX => ("png", png_bytes(&small)?),
            _ => ("jpeg", jpeg_bytes(path, &small)?),
        };
        let data = STANDARD.encode(bytes);
        let mut text = format!(
            "<image width=\"{across}\" height=\"{down}\" preserveAspectRatio=\"none\" \
             style=\"image-rendering:pixelated\" href=\"data:image/{kind};base64,{data}\"/>\n"
        );
        for (track, bitmap) in self.drawn(frame) {
            let [r, g, b] = self.colour(track);
            let mut line = String::new();
            for polygon in trace::cracks(&bitmap) {
                for (i, (x, y)) in polygon.iter().enumerate() {
                    let _ = write!(line, "{}{x} {y}", if i == 0 { "M" } else { "L" });
                }
                line.push('Z');
            }
            let _ = writeln!(
                text,
                "<path d=\"{line}\" fill=\"#{r:02x}{g:02x}{b:02x}\" fill-opacity=\"0.2\" \
                 fill-rule=\"evenodd\" stroke=\"#{r:02x}{g:02x}{b:02x}\" stroke-width=\"{:.2}\"/>",
                f64::from(width) / 300.0
            );
        }
        Ok(text)
    }

    /// A length that fits well and how many px of the image it takes; none without spacing.
    fn bar(&self) -> Option<(f64, f64)> {
        let spacing = self.info.pixel_spacing_mm?[0];
        let width = f64::from(self.info.width_px);
        let fits = [50.0, 20.0, 10.0, 5.0, 2.0, 1.0].into_iter().map(|mm| (mm, mm / spacing));
        fits.into_iter().find(|(_, px)| *px <= width / 3.0)
    }
}

/// The one of `endings` that a path has.
///
/// # Errors
/// A sentence that names them: a file must hold what its name says.
fn ending(path: &Path, endings: &[&'static str]) -> Result<&'static str, ExportError> {
    let given = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let known = endings.iter().find(|known| given.eq_ignore_ascii_case(known));
    known.copied().ok_or_else(|| {
        let named: Vec<String> = endings.iter().map(|known| format!(".{known}")).collect();
        let cause = match given {
            "" => "its name has no ending that says what is to be in it".to_owned(),
            other => format!("`.{}` is nothing that is drawn here", shown(other)),
        };
        ExportError::unfit(path, cause, format!("name a file that ends in {}", named.join(" or ")))
    })
}

/// Writes a frame with its masks, PNG or SVG by the ending of the name. Says what was written.
///
/// # Errors
/// When the name ends otherwise, the frame cannot be decoded or the file cannot be written.
pub fn write_figure(
    what: &Pictured<'_>,
    frame: FrameIndex,
    path: &Path,
) -> Result<String, ExportError> {
    let svg = ending(path, &["png", "svg"])? == "svg";
    let bar = what.bar().map(|(mm, _)| format!(", the bar is {mm} mm")).unwrap_or_default();
    let (bytes, size) =
        if svg { svg_figure(what, frame, path)? } else { png_figure(what, frame, path)? };
    put(path, &bytes)?;
    Ok(format!("frame {} {size}{bar}", frame + 1))
}

fn png_figure(
    what: &Pictured<'_>,
    frame: FrameIndex,
    path: &Path,
) -> Result<(Vec<u8>, String), ExportError> {
    let pixels = what.pixels(path, frame)?;
    let mut image = RgbImage::of_frame(&pixels);
    for (track, bitmap) in what.drawn(frame) {
        draw_mask(&mut image, &bitmap, what.colour(track));
    }
    if let Some((_, px)) = what.bar() {
        let (left, low) = (image.width_px / 30, image.height_px - image.height_px / 30 - 1);
        for x in left..(left + px.round() as u32).min(image.width_px) {
            image.pixels[(low * image.width_px + x) as usize] = [255; 3];
        }
    }
    let image = image.enlarged(print_factor(image.width_px, image.height_px));
    let (width, height) = (image.width_px, image.height_px);
    let mut bytes = Vec::new();
    let fault = |e: ::png::EncodingError| ExportError::encode(path, e);
    let mut encoder = ::png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(::png::ColorType::Rgb);
    encoder.set_depth(::png::BitDepth::Eight);
    let per_m = (f64::from(width) * 1000.0 / COLUMN_MM).round() as u32;
    let dims = ::png::PixelDimensions { xppu: per_m, yppu: per_m, unit: ::png::Unit::Meter };
    encoder.set_pixel_dims(Some(dims));
    let mut writer = encoder.write_header().map_err(fault)?;
    writer.write_image_data(image.pixels.as_flattened()).map_err(fault)?;
    writer.finish().map_err(fault)?;
    Ok((bytes, format!("as {width} x {height} px, {COLUMN_MM} mm wide")))
}

/// By how much a picture of this size is enlarged for print.
fn print_factor(width_px: u32, height_px: u32) -> u32 {
    let wanted = COLUMN_PX.div_ceil(width_px.max(1));
    wanted.min(LONGEST_PX / height_px.max(1)).max(1)
}

fn svg_figure(
    what: &Pictured<'_>,
    frame: FrameIndex,
    path: &Path,
) -> Result<(Vec<u8>, String), ExportError> {
    let (width, height) = (what.info.width_px, what.info.height_px);
    let high_mm = COLUMN_MM * f64::from(height) / f64::from(width.max(1));
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{COLUMN_MM}mm\" height=\"{high_mm:.2}mm\" \
         viewBox=\"0 0 {width} {height}\">\n{}",
        what.group(path, frame, u32::MAX)?
    );
    if let Some((mm, px)) = what.bar() {
        let (left, low) = (f64::from(width) / 30.0, f64::from(height) * 29.0 / 30.0);
        let thick = f64::from(width) / 150.0;
        let _ = writeln!(
            text,
            "<path d=\"M{left:.1} {low:.1}h{px:.1}\" stroke=\"#ffffff\" stroke-width=\"{thick:.2}\"/>\n\
             <text x=\"{left:.1}\" y=\"{:.1}\" fill=\"#ffffff\" font-family=\"sans-serif\" \
             font-size=\"{:.1}\">{mm} mm</text>",
            low - 2.0 * thick,
            f64::from(width) / 28.0
        );
    }
    text.push_str("</svg>\n");
    Ok((text.into_bytes(), format!("as SVG, {COLUMN_MM} mm wide")))
}

/// Writes a contact sheet of the clip as one SVG page. Says what was written.
///
/// # Errors
/// When the name does not end in .svg, a frame cannot be decoded or the file cannot be written.
pub fn write_report(what: &Pictured<'_>, path: &Path) -> Result<String, ExportError> {
    ending(path, &["svg"])?;
    let frames = chosen(what.annotation, what.info.frames);
    let (width, height) = (f64::from(what.info.width_px.max(1)), f64::from(what.info.height_px));
    let lines = what.annotation.tracks.len().min(4) + 1;
    let (cell, text_high) = (240.0, 11.0);
    let (picture_high, gap) = (cell * height / width, 10.0);
    let step = picture_high + lines as f64 * text_high + gap;
    let rows = frames.len().div_ceil(ACROSS);
    let page = (ACROSS as f64 * (cell + gap) + gap, 40.0 + rows as f64 * step + gap);
    let masks: usize = what.annotation.tracks.values().map(|track| track.masks.len()).sum();
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0} {:.0}\" \
         font-family=\"sans-serif\" font-size=\"9\">\n<rect width=\"100%\" height=\"100%\" \
         fill=\"#ffffff\"/>\n<text x=\"{gap}\" y=\"24\" font-size=\"14\">clip {}: {}, {}, \
         {}</text>\n",
        page.0,
        page.1,
        what.info.content_hash.short(),
        counted(what.info.frames, "frame"),
        counted(what.annotation.tracks.len(), "structure"),
        counted(masks, "mask"),
    );
    for (i, &frame) in frames.iter().enumerate() {
        let x = gap + (i % ACROSS) as f64 * (cell + gap);
        let y = 40.0 + (i / ACROSS) as f64 * step;
        let group = what.group(path, frame, SMALL_PX)?;
        let _ = writeln!(
            text,
            "<g transform=\"translate({x:.1} {y:.1}) scale({:.5})\">\n{group}</g>",
            cell / width
        );
        let words = std::iter::once(format!("frame {}", frame + 1)).chain(captions(what, frame));
        for (line, words) in words.take(lines).enumerate() {
            let y = y + picture_high + text_high * (line as f64 + 1.0);
            let _ = writeln!(text, "<text x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escaped(&words));
        }
    }
    text.push_str("</svg>\n");
    put(path, text.as_bytes())?;
    Ok(format!("a contact sheet of {} of {}", frames.len(), counted(what.info.frames, "frame")))
}

/// A picture as JPEG, a gray one as such: a quarter of the bytes of PNG, good enough for looking over.
fn jpeg_bytes(path: &Path, image: &RgbImage) -> Result<Vec<u8>, ExportError> {
    let pixels = || image.pixels.iter();
    let (samples, colours): (Vec<u8>, _) = match pixels().all(|[r, g, b]| r == g && g == b) {
        true => (pixels().map(|pixel| pixel[0]).collect(), ExtendedColorType::L8),
        false => (pixels().flatten().copied().collect(), ExtendedColorType::Rgb8),
    };
    let mut bytes = Vec::new();
    let (width, height) = (image.width_px, image.height_px);
    JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .write_image(&samples, width, height, colours)
        .map_err(|e| ExportError::encode(path, e))?;
    Ok(bytes)
}

/// What is known of each structure on a frame: label, who decided, area, what is said of it.
fn captions(what: &Pictured<'_>, frame: FrameIndex) -> impl Iterator<Item = String> {
    let told = move |track: &Track| {
        let label = plain(&track.info.label);
        let Some(held) = track.masks.get(&frame).filter(|_| track.visible(frame)) else {
            let why = if track.visible(frame) { "no mask" } else { "not visible" };
            return format!("{label}: {why}");
        };
        let source = match held.source {
            MaskSource::Tracked => "propagated",
            MaskSource::Prompted => "from points",
            MaskSource::Accepted => "accepted",
        };
        let area = held.mask.area_px() as f64;
        let area = match what.info.scale_of(&held.mask.to_bitmap()) {
            Ok([x, y]) => format!("{:.1} mm\u{b2}", area * x * y),
            Err(_) => format!("{area} px"),
        };
        let said: String = track
            .attributes_on(frame)
            .iter()
            .map(|(name, value)| format!(", {} {}", plain(name), plain(value)))
            .collect();
        format!("{label}: {source}, {area}{said}")
    };
    what.annotation.tracks.values().map(told)
}

/// Frames that stand for the clip: evenly through those with a mask, or through all.
fn chosen(annotation: &Annotation, frames: usize) -> Vec<FrameIndex> {
    let masked = |frame: &FrameIndex| {
        let of = |track: &Track| track.visible(*frame) && track.masks.contains_key(frame);
        annotation.tracks.values().any(of)
    };
    let mut all: Vec<FrameIndex> = (0..frames).filter(masked).collect();
    if all.is_empty() {
        all = (0..frames).collect();
    }
    let count = all.len().min(SHEET);
    let last = all.len().saturating_sub(1);
    (0..count).map(|i| all[i * last / count.saturating_sub(1).max(1)]).collect()
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        ensure_folder(folder)?;
    }
    write_atomic(path, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_spans_the_clip_and_names_no_frame_twice() {
        let none = Annotation::default();
        assert_eq!(chosen(&none, 3), [0, 1, 2]);
        let many = chosen(&none, 700);
        assert_eq!((many.len(), many[0], many[SHEET - 1]), (SHEET, 0, 699));
        assert!(many.windows(2).all(|two| two[0] < two[1]));
        assert_eq!(chosen(&none, 1), [0]);
    }

    #[test]
    fn pictures_are_enlarged_for_print_as_far_as_memory_goes() {
        for (size, factor) in
            [((640, 480), 2), ((2000, 9), 1), ((1, 1), 1004), ((64, 8192), 4), ((1, 40_000), 1)]
        {
            assert_eq!(print_factor(size.0, size.1), factor, "{size:?}");
        }
    }

    #[test]
    fn small_pictures_lie_under_their_contours() {
        let (width, height) = (2 * SMALL_PX + 1, 50);
        let hash = crate::domain::ContentHash("0123456789abcdef".into());
        let info = ClipInfo::new(hash, crate::domain::ClipKind::Still, (width, height), 1);
        let gray = |_| {
            let pixels = vec![9; width as usize * height as usize];
            Ok(std::sync::Arc::new(GrayFrame::new(width, height, pixels).expect("a frame")))
        };
        let annotation = Annotation::default();
        let colours = [None; 8];
        let what = Pictured { annotation: &annotation, info: &info, frames: &gray, colours };
        // Three columns and rows are one; a column and two rows are left over.
        let drawn = what.group(Path::new("a.svg"), 0, SMALL_PX).expect("drawn");
        assert!(drawn.starts_with("<image width=\"960\" height=\"48\""), "{}", &drawn[..60]);
        let drawn = what.group(Path::new("a.svg"), 0, u32::MAX).expect("drawn");
        assert!(drawn.starts_with("<image width=\"961\" height=\"50\""), "{}", &drawn[..60]);
    }

    #[test]
    fn colours_stay_colours_and_gray_stays_gray() {
        for (pixel, channels) in [([0, 0, 255], 3), ([255, 0, 0], 3), ([90, 90, 90], 1)] {
            let image = RgbImage { width_px: 16, height_px: 16, pixels: vec![pixel; 256] };
            let bytes = jpeg_bytes(Path::new("a.svg"), &image).expect("encoded");
            let read = image::load_from_memory(&bytes).expect("read");
            assert_eq!(read.color().channel_count(), channels);
            let middle = read.to_rgb8().get_pixel(8, 8).0;
            let near = middle.iter().zip(pixel).all(|(got, want)| got.abs_diff(want) < 12);
            assert!(near, "{middle:?} for {pixel:?}");
        }
    }
}
