//! DICOM images: ultrasound cines first, any 8- to 16-bit image where it costs nothing.
//!
//! The file is walked by `reader.rs`; frames are read from their place in the file when they are
//! asked for, so a long cine takes no memory. Read natively: uncompressed (implicit and explicit,
//! little and big endian, deflated as a whole or frame by frame) and RLE. JPEG baseline and lossless frames go to dicom-rs, in a
//! process with limits, as small single-frame objects that this program writes itself (`capsule.rs`),
//! after their headers were compared with what the file declares, and JPEG-LS to the own decoder there. JPEG 2000 and
//! JPEG of 12 bits go to ffmpeg frame by frame (`foreign.rs`), video as a whole (`film.rs`). A folder of single images of one series
//! is a volume, a folder or DICOMDIR of several clips gives one of them (`series.rs`).

mod capsule;
mod directory;
mod film;
mod foreign;
mod fragments;
mod frames;
mod input;
mod jpeg;
mod jpeg_ls;
mod lossy;
mod measures;
mod place;
mod reader;
mod rle;
mod segmentation;
mod segmented;
mod series;
mod tags;
mod tone;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cage::Cage;
use super::error::short_name;
use super::gray::{Ramp, luma, rgb_of_ybr, spread};
use super::limits::open_regular;
use super::{CodecError, FrameSource, Opened, Privacy, Wanted, identity, only_one};
use crate::domain::{ClipInfo, ClipKind, Colours, DicomOrigin, FrameIndex, GrayFrame};
pub(super) use directory::is_directory_name;
use frames::{Colour, Layout, Samples, Shape};
use input::Input;
use measures::{frame_steps_ms, frame_time_ms, pace, region_px, shows_something, spacing_mm};
use reader::{DataSet, Encoding, Walked};
pub use segmentation::{SegmentFrame, SegmentPixels, Segmentation};
pub(super) use series::{earlier_files, open_folder, single_files};
use tone::{Rescale, Tone};

struct Dicom {
    path: PathBuf,
    input: Input,
    shape: Shape,
    layout: Layout,
    /// Where frames are shown in another order than they are stored: their places in the file.
    order: Vec<usize>,
    /// Gray for every stored value; none for colour.
    tone: Option<Tone>,
    cage: Arc<Cage>,
}

/// A walked file with everything that depends on its transfer syntax.
struct Parsed {
    input: Input,
    walked: Walked,
    syntax: String,
    big: bool,
}

/// Opens a DICOM file, or of a DICOMDIR the clip that is wanted.
pub(super) fn open(path: &Path, wanted: Wanted, cache_bytes: usize) -> Result<Opened, CodecError> {
    let parsed = parse(path)?;
    if directory::is_directory(&parsed.walked.set) {
        return series::open_listed(
            path,
            directory::files(path, &parsed.walked.set)?,
            wanted,
            cache_bytes,
        );
    }
    only_one(path, wanted.series)?;
    open_parsed(path, parsed, cache_bytes)
}

/// Opens a walked file.
fn open_parsed(path: &Path, parsed: Parsed, cache_bytes: usize) -> Result<Opened, CodecError> {
    if film::is_film(&parsed.syntax) {
        return film::open(path, &parsed, cache_bytes);
    }
    let lossy = lossy::is_lossy(&parsed);
    let (mut clip, set, syntax) = Dicom::of(path, parsed, None)?;
    clip.order = place::frame_order(&set, clip.shape.frames);
    let info = clip_info(path, &set, &clip.shape, &clip.order, &syntax)?;
    let privacy = privacy(&set, &clip.shape);
    let origin = Some(DicomOrigin { frame_order: clip.order.clone(), ..origin(&set) });
    let notes = place::notes(&info, &clip.order, &set);
    Ok(Opened { origin, privacy, notes, lossy, ..Opened::new(info, clip) })
}

/// What is known of the clip in a file.
fn clip_info(
    path: &Path,
    set: &DataSet,
    shape: &Shape,
    order: &[usize],
    syntax: &str,
) -> Result<ClipInfo, CodecError> {
    let kind = kind_of(set, shape.frames);
    let mut places = place::planes(set, shape.frames).filter(|_| kind == ClipKind::Volume);
    if let Some(places) = places.as_mut().filter(|_| !order.is_empty()) {
        *places = order.iter().map(|&at| places[at]).collect();
    }
    let spacing = spacing_mm(set, shape);
    let (frame_time_ms, frame_times_ms) = pace(set, shape.frames);
    Ok(ClipInfo {
        content_hash: identity::of_file(path)?,
        name: short_name(path),
        kind,
        width_px: shape.columns,
        height_px: shape.rows,
        frames: shape.frames,
        pixel_spacing_mm: spacing.whole,
        scales: spacing.scales,
        slice_spacing_mm: None,
        frame_time_ms,
        frame_times_ms,
        placement: places.and_then(|places| place::placement(&places, spacing.whole)),
        lossy: None,
        format: describe(set, syntax),
    })
}

impl Dicom {
    /// A file ready to give frames; with what is known of it besides and its transfer syntax.
    /// `ramp` is that of the whole series over rescaled values, for a file without a window of its own.
    fn load(path: &Path, ramp: Option<Ramp>) -> Result<(Self, DataSet, String), CodecError> {
        Self::of(path, parse(path)?, ramp)
    }

    fn of(
        path: &Path,
        parsed: Parsed,
        ramp: Option<Ramp>,
    ) -> Result<(Self, DataSet, String), CodecError> {
        let Parsed { input, walked, syntax, big } = parsed;
        let shape = Shape::of(path, &walked.set, big)?.as_held(&walked);
        let layout = Layout::of(path, &input, &walked, &shape, &syntax)?;
        let set = walked.set;
        let (held, order) = (path.to_owned(), Vec::new());
        let cage = Arc::new(Cage::new(shape.frames));
        let mut clip = Self { path: held, input, shape, layout, order, tone: None, cage };
        if matches!(shape.colour, Colour::Gray { .. } | Colour::Palette) {
            let rescales = tone::rescales(&set, shape.frames);
            let range = || -> Result<Ramp, CodecError> {
                let found = ramp.map_or_else(|| clip.range(&rescales), |ramp| Ok(Some(ramp)))?;
                // Of frames in which nothing was measured nothing is to be seen.
                Ok(found.unwrap_or(Ramp { low: 0.0, high: 255.0 }))
            };
            let tone = Tone::of(path, &shape, &set, rescales.clone(), range)?;
            clip.tone = Some(tone);
        }
        Ok((clip, set, syntax))
    }
}

fn origin(set: &DataSet) -> DicomOrigin {
    let uid = |tag| set.text(tag).filter(|uid| is_uid(uid));
    DicomOrigin {
        class_uid: uid(tags::SOP_CLASS).unwrap_or_default(),
        instance_uids: uid(tags::SOP_INSTANCE).into_iter().collect(),
        study_uid: uid(tags::STUDY).unwrap_or_default(),
        series_uid: uid(tags::SERIES).unwrap_or_default(),
        space_uid: uid(if place::in_own_space(set) { tags::SPACE_OF_VOLUME } else { tags::SPACE }),
        frame_order: Vec::new(),
        lossy_ratios: lossy::ratios(set),
        lossy_methods: lossy::methods(set),
    }
}

fn privacy(set: &DataSet, shape: &Shape) -> Privacy {
    let says = |tag, word: &str| set.text(tag).is_some_and(|text| text == word);
    let shown = |item: &&DataSet| shows_something(item);
    let region = |item: &DataSet| region_px(item, shape);
    Privacy {
        medical: true,
        says_none: says(tags::IDENTITY_REMOVED, "YES") && says(tags::BURNED_IN, "NO"),
        clean_pixels: says(tags::BURNED_IN, "NO"),
        regions: set.items(tags::REGIONS).iter().filter(shown).filter_map(region).collect(),
        ..Privacy::default()
    }
}

/// Digits and dots only: what stands in other tags by mistake never goes on as an identifier.
fn is_uid(text: &str) -> bool {
    text.len() <= 64 && text.contains('.') && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// Structural completeness: every length fits and the pixel data is as long as declared.
pub(super) fn complete(path: &Path) -> Result<(), CodecError> {
    let Parsed { input, walked, syntax, big } = parse(path)?;
    if directory::is_directory(&walked.set) {
        return Ok(());
    }
    let shape = Shape::of(path, &walked.set, big)?;
    match Layout::of(path, &input, &walked, &shape, &syntax) {
        Err(CodecError::Unsupported { .. }) => Ok(()),
        other => other.map(|_| ()),
    }
}

fn parse(path: &Path) -> Result<Parsed, CodecError> {
    parse_of(path, reader::MAX_ELEMENTS)
}

/// The same for an object that may have so many elements.
fn parse_of(path: &Path, most_elements: usize) -> Result<Parsed, CodecError> {
    let file = open_regular(path)?;
    let input = Input::of_file(file).map_err(|e| CodecError::unreadable(path, e))?;
    let damaged = |cause: String| CodecError::damaged(path, cause);
    let mut head = [0u8; 132];
    let read = input.read_at(&mut head, 0).map_err(|e| CodecError::unreadable(path, e))?;
    let (mut start, mut syntax) = (0, None);
    let preamble = read == head.len() && &head[128..] == b"DICM";
    if preamble || head.starts_with(&[2, 0]) {
        let (meta, end) =
            reader::walk_meta(&input, if preamble { 132 } else { 0 }).map_err(damaged)?;
        (start, syntax) = (end, meta.text(tags::TRANSFER_SYNTAX));
    }
    // Some writers declare one of the two that are not compressed, and write the other.
    let certain = |told: &String| ![frames::IMPLICIT, frames::EXPLICIT].contains(&told.as_str());
    let syntax = match syntax.filter(certain) {
        Some(syntax) => syntax,
        None => guess_syntax(&input, start).map_err(|e| CodecError::unreadable(path, e))?,
    };
    let encoding =
        Encoding { explicit: syntax != frames::IMPLICIT, big: syntax == frames::BIG_ENDIAN };
    let (input, start) = if syntax == frames::DEFLATED {
        (input.inflated(start).map_err(|e| CodecError::damaged(path, e))?, 0)
    } else {
        (input, start)
    };
    let walked = reader::walk(&input, start, encoding, most_elements).map_err(damaged)?;
    Ok(Parsed { input, walked, syntax, big: encoding.big })
}

/// Little endian and not compressed: explicit when the first element has a type, else implicit.
fn guess_syntax(input: &Input, start: u64) -> std::io::Result<String> {
    let mut head = [0u8; 6];
    input.read_at(&mut head, start)?;
    let explicit = head[4..].iter().all(u8::is_ascii_uppercase);
    Ok(if explicit { frames::EXPLICIT } else { frames::IMPLICIT }.to_owned())
}

/// Ultrasound and timed objects are cines, other multi-frame objects and volumes of ultrasound are volumes.
fn kind_of(set: &DataSet, frames: usize) -> ClipKind {
    let modality = set.text(tags::MODALITY).unwrap_or_default();
    let timed = frame_time_ms(set).is_some()
        || frame_steps_ms(set, frames).is_some()
        || !matches!(modality.as_str(), "CT" | "MR" | "PT" | "NM" | "RTDOSE" | "SEG");
    match (frames, timed) {
        (1, _) => ClipKind::Still,
        _ if place::is_ultrasound_volume(set, frames) => ClipKind::Volume,
        (_, true) => ClipKind::Cine,
        (_, false) => ClipKind::Volume,
    }
}

/// Modalities that a clip is described by.
const MODALITIES: [&str; 12] =
    ["US", "IVUS", "CT", "MR", "XA", "RF", "CR", "DX", "MG", "ES", "PT", "OT"];

fn describe(set: &DataSet, syntax: &str) -> String {
    let held = set.text(tags::MODALITY).unwrap_or_default();
    // Anything else in the tag may be a text of a person, and this goes into the project.
    let modality = MODALITIES.iter().find(|known| **known == held.trim());
    let modality = modality.map_or_else(String::new, |known| format!(" {known}"));
    format!("DICOM{modality}, {}", frames::syntax_name(syntax))
}

impl Dicom {
    /// The range of rescaled values in up to 16 evenly spaced frames; `None` where nothing was measured in them.
    fn range(&self, rescales: &[Rescale]) -> Result<Option<Ramp>, CodecError> {
        let mut range: Option<Ramp> = None;
        for index in spread(self.shape.frames, self.shape.pixels() as u64) {
            let samples = self.samples(index)?;
            let own = tone::rescale_of(rescales, index);
            let mut values = self.shape.measured_values(&samples).peekable();
            if values.peek().is_some() {
                let next = Ramp::over(values.map(|value| own.of(value)));
                range = Some(range.map_or(next, |r| r.joined(next)));
            }
        }
        Ok(range)
    }

    /// Gray and colours of the samples of a frame with one number for each pixel.
    fn toned(&self, samples: &Samples, stored: FrameIndex) -> (Vec<u8>, Colours) {
        let Some(tone) = &self.tone else { return Default::default() };
        let table = tone.table(&self.shape, stored);
        let lookup = |value: u16| table.get(usize::from(value)).copied().unwrap_or(0);
        let pixels = self.shape.words(samples).map(lookup).collect();
        let Some(palette) = tone.palette() else { return (pixels, Colours::default()) };
        let lookup = |value: u16| palette.get(usize::from(value)).copied().unwrap_or_default();
        (pixels, Colours::of(self.shape.words(samples).map(lookup)))
    }

    fn samples(&self, index: FrameIndex) -> Result<Samples, CodecError> {
        self.layout.samples(&self.path, &self.input, &self.shape, index, &self.cage)
    }
}

impl FrameSource for Dicom {
    fn file_of(&self, _index: FrameIndex) -> Option<&Path> {
        Some(&self.path)
    }

    fn read(
        &self,
        index: FrameIndex,
        _keep: &mut dyn FnMut(FrameIndex, GrayFrame),
    ) -> Result<GrayFrame, CodecError> {
        let stored = self.order.get(index).copied().unwrap_or(index);
        let samples = self.samples(stored)?;
        let (pixels, colours) = match samples.colour {
            Colour::Gray { .. } | Colour::Palette => self.toned(&samples, stored),
            _ => coloured(&samples, self.shape.pixels()),
        };
        let frame =
            GrayFrame::new(self.shape.columns, self.shape.rows, pixels).ok_or_else(|| {
                CodecError::damaged(&self.path, format!("frame {} has too few pixels", index + 1))
            })?;
        Ok(frame.with_colours(colours))
    }
}

/// Gray and colours of the samples of a frame of `count` pixels with three for each.
fn coloured(samples: &Samples, count: usize) -> (Vec<u8>, Colours) {
    let bytes = &samples.bytes;
    let whole = || bytes.chunks_exact(3).map(|p| [p[0], p[1], p[2]]);
    // Frames that are too short have fewer pixels, which is found later.
    let count = count.min(if samples.planar { bytes.len() / 3 } else { count });
    let planes = || (0..count).map(|i| [bytes[i], bytes[count + i], bytes[2 * count + i]]);
    // Two pixels share four bytes: Y1 Y2 Cb Cr.
    let halved = || bytes.chunks_exact(4).flat_map(|p| [[p[0], p[2], p[3]], [p[1], p[2], p[3]]]);
    let of_rgb = |pixels: &mut dyn Iterator<Item = [u8; 3]>| {
        pixels.map(|[red, green, blue]| luma(red, green, blue)).collect()
    };
    let first = |pixels: &mut dyn Iterator<Item = [u8; 3]>| pixels.map(|ybr| ybr[0]).collect();
    match (samples.colour, samples.planar) {
        (Colour::Rgb, true) => (of_rgb(&mut planes()), Colours::of(planes())),
        (Colour::Rgb, false) => (of_rgb(&mut whole()), Colours::of(whole())),
        (Colour::Ybr422, _) => {
            (first(&mut halved().take(count)), Colours::of(halved().take(count).map(rgb_of_ybr)))
        }
        (_, true) => (first(&mut planes()), Colours::of(planes().map(rgb_of_ybr))),
        (_, false) => (first(&mut whole()), Colours::of(whole().map(rgb_of_ybr))),
    }
}
