//! Stills and folders of frames: PNG, JPEG, TIFF, BMP and WebP of 8 or 16 bits, gray or colour; the
//! pages of a TIFF are frames (`pages.rs`), and the moments of an animated WebP.
//!
//! The frames of a folder are its images in natural order of their names (2 before 10). Masks
//! (`NAME.mask.png`), hidden files and other files are left out. Sizes are read from all headers
//! when the folder is opened; pixels only when a frame is asked for.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::cage::Cage;
use super::decoder::{Decoded, Pixels, Want};
use super::error::short_name;
use super::gray::{Ramp, parted, spread};
use super::header::{Header, head, header};
use super::limits::{MAX_DECODE_BYTES, MAX_FRAMES, check_size, read_file};
use super::moving::Moving;
use super::order::{self, by_name};
use super::pages::{Page, Tiff};
use super::webp::Animation;
use super::{CodecError, FrameSource, Opened, complete, identity, png, sniff, tiff, webp};
use crate::domain::{ClipInfo, ClipKind, FrameIndex, GrayFrame, counted};

/// What is said of pictures that are to be turned: masks belong to the pixels as they are stored, as most programs read them.
const TURNED: &str = "it says that it is to be turned (its EXIF or TIFF orientation); it is shown and annotated as it is \
                      stored";
/// What is said of folders that are opened as an earlier version did.
pub(super) const REORDERED: &str = "its images come in the order of an earlier version, in which they were annotated: it took numbers \
                         with zeros in front and large letters for others";
/// Bytes of a pixel as it comes from its decoder, at most.
const PIXEL_BYTES: u64 = 4;

/// One frame.
struct Picture {
    path: PathBuf,
    part: Part,
}

/// What of its file a frame is.
#[derive(Clone, Copy)]
enum Part {
    All,
    /// A page of a TIFF.
    Page(Page),
}

struct Images {
    frames: Vec<Picture>,
    size: (u32, u32),
    moving: Option<Moving>,
    /// For images of more than 8 bits: one ramp for all frames.
    ramp: Option<Ramp>,
    cage: Cage,
    /// The first frame, which was decoded to tell what all are; whoever reads it first has it.
    first: Mutex<Option<Decoded>>,
}

/// Opens a single image, a TIFF of several pages or an animated WebP.
pub(super) fn open_still(path: &Path) -> Result<Opened, CodecError> {
    let picture = |part| Picture { path: path.to_owned(), part };
    let mut frames = vec![picture(Part::All)];
    let Header { size, lossy, turned } = match Tiff::of(path)? {
        Some(tiff) => {
            let pages = tiff.pages()?;
            let size = pages[0].size;
            if let Some(other) = pages.iter().position(|page| page.size != size) {
                let cause = format!("its pages 1 and {} differ in size", other + 1);
                let advice = "save its pages as single images and open them one by one";
                return Err(CodecError::unsupported(path, cause, advice));
            }
            frames = pages.iter().map(|page| picture(Part::Page(*page))).collect();
            let any = |is: fn(&Page) -> bool| pages.iter().any(is);
            Header { size, lossy: any(|page| page.lossy), turned: any(|page| page.turned) }
        }
        None => header(path)?,
    };
    let moves = webp::is_webp(&head(path)?);
    let animation = if moves { animation(path, &read_file(path)?)? } else { None };
    if let Some(moving) = &animation {
        frames = (0..moving.len()).map(|_| picture(Part::All)).collect();
    }
    let lossy = lossy || animation.as_ref().is_some_and(Animation::is_lossy);
    let kind = if frames.len() == 1 { ClipKind::Still } else { ClipKind::Cine };
    let times_ms = animation.as_ref().map(Animation::times_ms).unwrap_or_default();
    let mut opened = describe(path, frames, animation, size, identity::of_file(path)?, kind)?;
    (opened.info.frame_time_ms, opened.info.frame_times_ms) = paced(times_ms);
    opened.lossy = lossy;
    opened.notes.extend(turned.then(|| TURNED.to_owned()));
    Ok(opened)
}

/// The time between frames where that is one, else the times of all.
fn paced(times_ms: Vec<f64>) -> (Option<f64>, Vec<f64>) {
    let steps: Vec<f64> = times_ms.windows(2).map(|pair| pair[1] - pair[0]).collect();
    match steps[..] {
        [] => (None, Vec::new()),
        [first, ..] if steps.iter().all(|step| *step == first) => (Some(first), Vec::new()),
        [..] => (Some(steps.iter().sum::<f64>() / steps.len() as f64), times_ms),
    }
}

/// Opens a folder of frames, in the [earlier](order::earlier) order of their names where that is asked for.
pub(super) fn open_folder(path: &Path, earlier: bool) -> Result<Opened, CodecError> {
    let listed = list(path)?;
    let before = if earlier { order::earlier(&listed) } else { None };
    let reordered = before.is_some();
    let frames = before.unwrap_or(listed);
    let told: Vec<(Header, u64)> = frames
        .par_iter()
        .map(|frame| {
            let meta = fs::metadata(frame).map_err(|e| CodecError::unreadable(frame, e))?;
            Ok((header(frame)?, meta.len()))
        })
        .collect::<Result<_, CodecError>>()?;
    let first = told[0].0.size;
    if let Some(other) = told.iter().position(|(header, _)| header.size != first) {
        let name = |i: usize| crate::domain::shown(&short_name(&frames[i]));
        let text = |(w, h): (u32, u32)| format!("{w} x {h}");
        return Err(CodecError::MixedSizes {
            name: super::error::name_of(path),
            first: name(0),
            first_size: text(first),
            other: name(other),
            other_size: text(told[other].0.size),
        });
    }
    let listed: Vec<(PathBuf, u64)> =
        frames.iter().cloned().zip(told.iter().map(|(_, bytes)| *bytes)).collect();
    // One image that lost something is enough to be careful.
    let lossy = told.iter().any(|(header, _)| header.lossy);
    let hash = identity::of_frames(&listed)?;
    let kind = if frames.len() == 1 { ClipKind::Still } else { ClipKind::Cine };
    let stem = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into();
    let frame_names = frames.iter().map(stem).collect();
    let frames = frames.into_iter().map(|path| Picture { path, part: Part::All }).collect();
    let turned = told.iter().any(|(header, _)| header.turned);
    let notes = [turned.then_some(TURNED), reordered.then_some(REORDERED)].into_iter().flatten();
    let notes = notes.map(str::to_owned).chain(beside_told(path)).collect();
    Ok(Opened { frame_names, lossy, notes, ..describe(path, frames, None, first, hash, kind)? })
}

fn describe(
    path: &Path,
    frames: Vec<Picture>,
    animation: Option<Animation>,
    size: (u32, u32),
    content_hash: crate::domain::ContentHash,
    kind: ClipKind,
) -> Result<Opened, CodecError> {
    check_size(path, size.0, size.1, frames.len())?;
    let cage = Cage::new(frames.len());
    let moving = animation.map(|animation| Moving::new(path.to_owned(), animation));
    let mut images = Images { frames, size, moving, ramp: None, cage, first: Mutex::default() };
    let first = images.decode(0, Want::Stored)?;
    let bits = match first.pixels {
        Pixels::Eight(_) => 8,
        Pixels::Sixteen(_) => 16,
        Pixels::Real(_) => 32,
    };
    if bits > 8 {
        images.ramp = Some(images.range(&first.pixels)?);
    }
    let file = &images.frames[0].path;
    let ending = file.extension().unwrap_or_default().to_string_lossy().to_uppercase();
    let colour = if first.colour { "colour" } else { "gray" };
    // The moments of an animation come one after the other.
    if images.moving.is_none() {
        images.first = Mutex::new(Some(first));
    }
    let folder = if path.is_dir() { "folder of " } else { "" };
    let frame_names = match images.frames.len() {
        1 => vec![file.file_stem().unwrap_or_default().to_string_lossy().into_owned()],
        _ => Vec::new(),
    };
    let info = ClipInfo {
        content_hash,
        name: short_name(path),
        kind,
        width_px: size.0,
        height_px: size.1,
        frames: images.frames.len(),
        pixel_spacing_mm: None,
        scales: Vec::new(),
        slice_spacing_mm: None,
        frame_time_ms: None,
        frame_times_ms: Vec::new(),
        placement: None,
        lossy: None,
        format: crate::domain::shown(&format!("{folder}{ending}, {bits}-bit {colour}")),
    };
    Ok(Opened { frame_names, ..Opened::new(info, images) })
}

impl Images {
    fn decode(&self, index: FrameIndex, want: Want) -> Result<Decoded, CodecError> {
        self.decode_keeping(index, want, &mut |_, _| {})
    }

    /// Decodes a frame; `keep` is given those that were decoded on the way.
    fn decode_keeping(
        &self,
        index: FrameIndex,
        want: Want,
        keep: &mut dyn FnMut(FrameIndex, Decoded),
    ) -> Result<Decoded, CodecError> {
        let Picture { path, part } = &self.frames[index];
        let most = u64::from(self.size.0) * u64::from(self.size.1) * PIXEL_BYTES;
        let decoded = match &self.moving {
            Some(moving) => moving.moment(index, most, keep)?,
            None => self.picture(path, *part, want, most)?,
        };
        if decoded.size != self.size {
            let ((w, h), (wide, high)) = (decoded.size, self.size);
            let cause = format!("it is {w} x {h} pixels and its header says {wide} x {high}");
            return Err(CodecError::damaged(path, cause));
        }
        Ok(decoded)
    }

    /// Decodes a picture of at most `most` bytes of pixels.
    fn picture(
        &self,
        path: &Path,
        part: Part,
        want: Want,
        most: u64,
    ) -> Result<Decoded, CodecError> {
        let mut bytes = match part {
            Part::Page(page) => alone(path, &page)?,
            Part::All => whole(path)?,
        };
        let palette = tiff::take_palette(&mut bytes);
        // An index is not scaled.
        let want = if palette.is_some() { Want::Stored } else { want };
        let mut decoded = self.cage.decode(path, want, &bytes, most)?;
        if let Some(table) = palette {
            let at = |index: usize| table.get(index).copied().unwrap_or_default();
            let rgb: Vec<[u8; 3]> = match decoded.pixels {
                Pixels::Eight(values) => values.iter().map(|&v| at(v.into())).collect(),
                Pixels::Sixteen(values) => values.iter().map(|&v| at(v.into())).collect(),
                Pixels::Real(_) => return Err(CodecError::damaged(path, "its indices are none")),
            };
            let (gray, colours) = parted(&rgb);
            let pixels = Pixels::Eight(gray);
            decoded = Decoded { colour: true, pixels, colours, size: decoded.size };
        }
        Ok(decoded)
    }

    /// The range of values of up to 16 evenly spaced frames, see [`spread`]; `first` is the first one's.
    fn range(&self, first: &Pixels) -> Result<Ramp, CodecError> {
        let mut range: Option<Ramp> = None;
        let frame_px = u64::from(self.size.0) * u64::from(self.size.1);
        let over = |pixels: &Pixels| match pixels {
            Pixels::Eight(_) => None,
            Pixels::Sixteen(values) => Some(Ramp::over(values.iter().map(|&v| f64::from(v)))),
            Pixels::Real(values) => Some(Ramp::over(values.iter().map(|&v| f64::from(v)))),
        };
        for index in spread(self.frames.len(), frame_px) {
            let found = match index {
                0 => over(first),
                _ => over(&self.decode(index, Want::Sixteen)?.pixels),
            };
            let Some(next) = found else { continue };
            range = Some(range.map_or(next, |r| r.joined(next)));
        }
        Ok(range.unwrap_or(Ramp { low: 0.0, high: 65_535.0 }))
    }
}

impl FrameSource for Images {
    fn file_of(&self, index: FrameIndex) -> Option<&Path> {
        self.frames.get(index).map(|frame| frame.path.as_path())
    }

    fn read(
        &self,
        index: FrameIndex,
        keep: &mut dyn FnMut(FrameIndex, GrayFrame),
    ) -> Result<GrayFrame, CodecError> {
        // Moments of an animation have 8 bits.
        let mut keep = |at: FrameIndex, moment: Decoded| {
            if let (size, Pixels::Eight(values)) = (moment.size, moment.pixels)
                && let Some(frame) = GrayFrame::new(size.0, size.1, values)
                && size == self.size
            {
                keep(at, frame.with_colours(moment.colours));
            }
        };
        let want = if self.ramp.is_some() { Want::Sixteen } else { Want::Eight };
        let first = match index {
            0 => self.first.lock().unwrap_or_else(PoisonError::into_inner).take(),
            _ => None,
        };
        let Decoded { size: (width, height), pixels, colours, .. } = match first {
            Some(decoded) => decoded,
            None => self.decode_keeping(index, want, &mut keep)?,
        };
        let ramp = self.ramp.unwrap_or(Ramp { low: 0.0, high: 65_535.0 });
        let pixels = match pixels {
            Pixels::Eight(values) => values,
            Pixels::Sixteen(values) => values.iter().map(|&v| ramp.gray(f64::from(v))).collect(),
            Pixels::Real(_) if self.ramp.is_none() => {
                let cause = "its values have a fraction or a sign, and those of the first do not";
                let advice = "save all images of the folder in one way";
                return Err(CodecError::unsupported(&self.frames[index].path, cause, advice));
            }
            Pixels::Real(values) => values.iter().map(|&v| ramp.gray(f64::from(v))).collect(),
        };
        let frame = GrayFrame::new(width, height, pixels).ok_or_else(|| {
            let cause = "its pixels do not fill the image";
            CodecError::damaged(&self.frames[index].path, cause)
        })?;
        Ok(frame.with_colours(colours))
    }
}

/// The frames of a folder, in natural order.
pub(super) fn list(path: &Path) -> Result<Vec<PathBuf>, CodecError> {
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
    frames.sort_by(|a, b| by_name(a, b));
    Ok(frames)
}

/// A sentence on files beside the frames of a folder that are clips of their own, as DICOM beside the images that a machine
/// exports with it.
fn beside_told(folder: &Path) -> Option<String> {
    let others = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    // Labels and notes, of which there may be one for every image, are not looked at.
    let may_be = |file: &PathBuf| sniff::promised_by_name(file) != Some(false);
    let clips = others.filter(|file| !sniff::is_frame_name(file) && may_be(file) && file.is_file());
    match clips.filter(|file| super::looks_like_clip(file)).count() {
        0 => None,
        count => Some(format!(
            "left out: {} beside the images of the folder; FOLDER/* opens all of it (a queue)",
            counted(count, "other clip")
        )),
    }
}

/// A page of a TIFF as a file of its own.
fn alone(path: &Path, page: &Page) -> Result<Vec<u8>, CodecError> {
    let tiff = Tiff::of(path)?.ok_or_else(|| CodecError::damaged(path, "it is no TIFF"))?;
    tiff.page(page)
}

/// The bytes of a picture that is all of its file. In a folder of images a TIFF of several pages, or an animated PNG or
/// WebP, would silently lose all but the first.
fn whole(path: &Path) -> Result<Vec<u8>, CodecError> {
    if let Some(tiff) = Tiff::of(path)? {
        let pages = tiff.pages()?;
        let [page] = &pages[..] else {
            let cause = "it is a TIFF of several pages in a folder of images";
            let advice = "open it alone, or save its pages as single images";
            return Err(CodecError::unsupported(path, cause, advice));
        };
        return tiff.page(page);
    }
    let bytes = read_file(path)?;
    complete::image(path, &bytes)?;
    refuse_moving(path, &bytes)?;
    Ok(bytes)
}

fn animation(path: &Path, bytes: &[u8]) -> Result<Option<Animation>, CodecError> {
    Animation::of(bytes).map_err(|why| CodecError::damaged(path, why))
}

fn refuse_moving(path: &Path, bytes: &[u8]) -> Result<(), CodecError> {
    let moving = if png::is_animated(Cursor::new(bytes)) {
        Some("PNG")
    } else {
        // Of one moment it loses nothing.
        animation(path, bytes)?.filter(|moving| moving.len() > 1).map(|_| "WebP")
    };
    let Some(kind) = moving else { return Ok(()) };
    let cause = format!("it is an animated {kind} in a folder of images");
    let advice = "open it alone, or save its frames as single images";
    Err(CodecError::unsupported(path, cause, advice))
}

/// Structural completeness of one image. Offsets of a TIFF point anywhere: some of its pages are decoded.
pub(super) fn still_complete(path: &Path) -> Result<(), CodecError> {
    let Some(tiff) = Tiff::of(path)? else { return complete::image(path, &read_file(path)?) };
    let pages = tiff.pages()?;
    let cage = Cage::new(pages.len());
    let frame_px = pages.first().map_or(0, |page| u64::from(page.size.0) * u64::from(page.size.1));
    for index in spread(pages.len(), frame_px) {
        let mut bytes = tiff.page(&pages[index])?;
        tiff::take_palette(&mut bytes);
        cage.decode(path, Want::Stored, &bytes, MAX_DECODE_BYTES)?;
    }
    Ok(())
}

/// Structural completeness of every frame of a folder.
pub(super) fn folder_complete(path: &Path) -> Result<(), CodecError> {
    list(path)?.par_iter().try_for_each(|frame| still_complete(frame))
}

#[cfg(test)]
#[path = "images_tests.rs"]
mod tests;
