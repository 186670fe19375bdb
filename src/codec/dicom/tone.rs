//! From stored values to gray: modality rescale or table, window or VOI table, palette, inversion.
//!
//! A single-channel image of at most 16 bits needs no arithmetic per pixel: all of this is worked
//! out once for every possible stored word, and a frame is a walk through that table. In order
//! (PS3.3 C.11): the first VOI LUT where there is one, else the first window with its function,
//! else for up to 8 bits the stored range, else the range of values of the clip. Each frame is rescaled by its own
//! numbers, as in enhanced MR and PET; what comes after that is one for the whole clip, so that brightness
//! does not jump between frames.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use super::frames::{Colour, Shape};
use super::reader::DataSet;
use super::{segmented, tags};
use crate::codec::CodecError;
use crate::codec::gray::{Ramp, luma};

/// From stored words to gray, for every frame of a clip.
pub(super) struct Tone {
    rescales: Vec<Rescale>,
    how: How,
    /// Gray of every word of the first frame.
    first: Vec<u8>,
}

/// From rescaled values to gray.
enum How {
    /// By the table alone: red, green and blue of every word.
    Palette(Vec<[u8; 3]>),
    Lut(Lut),
    Window(Window),
    Ramp(Ramp),
}

impl How {
    fn gray(&self, value: f64) -> u8 {
        match self {
            Self::Palette(_) => 0,
            Self::Lut(lut) => lut.gray(value),
            Self::Window(window) => window.gray(value),
            Self::Ramp(ramp) => ramp.gray(value),
        }
    }
}

impl Tone {
    /// Of the frames that `set` describes, `rescales` being theirs. `range` gives the range of rescaled values
    /// where nothing else says what is black and white.
    pub(super) fn of(
        path: &Path,
        shape: &Shape,
        set: &DataSet,
        rescales: Vec<Rescale>,
        range: impl FnOnce() -> Result<Ramp, CodecError>,
    ) -> Result<Self, CodecError> {
        if shape.colour == Colour::Palette {
            let colours = palette(path, shape, set)?;
            let first = colours.iter().map(|&[r, g, b]| luma(r, g, b)).collect();
            return Ok(Self { rescales, how: How::Palette(colours), first });
        }
        let how = if let Some(lut) = voi_lut(set) {
            How::Lut(lut)
        } else if let Some(window) = Window::of(set) {
            How::Window(window)
        } else if let ([one], true) = (&rescales[..], shape.bits_stored <= 8) {
            let steps = (1i32 << shape.bits_stored) - 1;
            let low = if shape.signed { -(steps + 1) / 2 } else { 0 };
            How::Ramp(Ramp::over((low..=low + steps).map(|v| one.of(f64::from(v)))))
        } else {
            How::Ramp(range()?)
        };
        let first = build(shape, |value| how.gray(rescale_of(&rescales, 0).of(value)));
        Ok(Self { rescales, how, first })
    }

    /// Gray of every word of a frame, by its place in the file.
    pub(super) fn table(&self, shape: &Shape, frame: usize) -> Cow<'_, [u8]> {
        let own = rescale_of(&self.rescales, frame);
        if matches!(self.how, How::Palette(_)) || own == rescale_of(&self.rescales, 0) {
            return Cow::Borrowed(&self.first);
        }
        Cow::Owned(build(shape, |value| self.how.gray(own.of(value))))
    }

    /// Red, green and blue of every word, where a palette gives them.
    pub(super) fn palette(&self) -> Option<&[[u8; 3]]> {
        if let How::Palette(colours) = &self.how { Some(colours) } else { None }
    }
}

fn build(shape: &Shape, gray: impl Fn(f64) -> u8) -> Vec<u8> {
    let inverted = shape.colour == Colour::Gray { inverted: true };
    let words = 1u32 << shape.bits_allocated;
    let one = |word: u32| {
        let value = gray(shape.value(word as u16));
        if inverted { 255 - value } else { value }
    };
    (0..words).map(one).collect()
}

/// What was measured where a value is stored (PS3.3 C.11.1).
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rescale {
    /// The stored value times `slope` plus `intercept`.
    Line { slope: f64, intercept: f64 },
    /// What the modality's table has for it.
    Table(Arc<Lut>),
}

impl Rescale {
    const SAME: Self = Self::Line { slope: 1.0, intercept: 0.0 };

    fn read(group: &DataSet) -> Self {
        let slope = group.decimal(tags::SLOPE).filter(|slope| *slope != 0.0).unwrap_or(1.0);
        Self::Line { slope, intercept: group.decimal(tags::INTERCEPT).unwrap_or(0.0) }
    }

    /// What a stored value means.
    pub(super) fn of(&self, stored: f64) -> f64 {
        match self {
            Self::Line { slope, intercept } => stored * slope + intercept,
            Self::Table(lut) => f64::from(lut.value(stored)),
        }
    }
}

/// The rescale of every frame in the order of the file; one where all have the same. A table of the
/// modality is for all of them and stands instead of numbers.
pub(super) fn rescales(set: &DataSet, frames: usize) -> Vec<Rescale> {
    if let Some(lut) = set.items(tags::MODALITY_LUTS).first().and_then(|item| lut_of(item, set)) {
        return vec![Rescale::Table(Arc::new(lut))];
    }
    let own = set.items(tags::PER_FRAME_GROUPS).iter().take(frames);
    let own: Vec<Rescale> = own
        .map_while(|item| item.items(tags::PIXEL_TRANSFORM).first().map(Rescale::read))
        .collect();
    match own.first() {
        Some(first) if own.len() == frames && own.iter().any(|each| each != first) => own,
        _ => vec![Rescale::read(set.group(tags::PIXEL_TRANSFORM))],
    }
}

/// That of a frame, by its place in the file.
pub(super) fn rescale_of(rescales: &[Rescale], frame: usize) -> &Rescale {
    rescales.get(frame).or_else(|| rescales.first()).unwrap_or(&Rescale::SAME)
}

/// A window of PS3.3 C.11.2.1.
struct Window {
    centre: f64,
    width: f64,
    function: String,
}

impl Window {
    fn of(set: &DataSet) -> Option<Self> {
        let group = set.group(tags::FRAME_VOI);
        let centre = group.decimal(tags::WINDOW_CENTRE)?;
        let width = group.decimal(tags::WINDOW_WIDTH).filter(|width| *width > 0.0)?;
        let function = group.text(tags::VOI_FUNCTION).unwrap_or_default();
        Some(Self { centre, width, function })
    }

    fn gray(&self, value: f64) -> u8 {
        let share = match self.function.as_str() {
            "SIGMOID" => 1.0 / (1.0 + (-4.0 * (value - self.centre) / self.width).exp()),
            "LINEAR_EXACT" => (value - self.centre) / self.width + 0.5,
            // A width of 1 is a threshold.
            _ if self.width <= 1.0 => f64::from(value > self.centre - 0.5),
            _ => (value - (self.centre - 0.5)) / (self.width - 1.0) + 0.5,
        };
        (share * 255.0).round() as u8
    }
}

/// A look-up table of PS3.3 C.7.9 and C.11: from `first` on, `bits` deep.
#[derive(Debug, PartialEq)]
pub(super) struct Lut {
    first: f64,
    bits: u16,
    values: Vec<u16>,
}

impl Lut {
    /// Descriptor: entries (0 means 65536), first value mapped, bits per entry.
    fn new(descriptor: &[u16], data: Vec<u16>, signed: bool) -> Option<Self> {
        let &[entries, first, bits] = descriptor else {
            return None;
        };
        let entries = if entries == 0 { 65_536 } else { usize::from(entries) };
        let mut values = data;
        if bits <= 8 && values.len() == entries.div_ceil(2) && entries > 1 {
            // 8-bit entries packed two to a word, low byte first.
            values = values.iter().flat_map(|w| w.to_le_bytes().map(u16::from)).collect();
        }
        values.truncate(entries);
        if values.len() < entries || !(8..=16).contains(&bits) {
            return None;
        }
        let first = if signed { f64::from(first as i16) } else { f64::from(first) };
        Some(Self { first, bits, values })
    }

    /// True when the entries, whatever the descriptor says, are 8 bits deep.
    fn is_shallow(&self) -> bool {
        self.values.iter().all(|&v| v < 256)
    }

    fn value(&self, of: f64) -> u16 {
        let last = self.values.len() - 1;
        self.values[(of - self.first).clamp(0.0, last as f64) as usize]
    }

    fn gray(&self, value: f64) -> u8 {
        (self.value(value) >> (self.bits - 8)).min(255) as u8
    }
}

/// The table in an item of a sequence, for the stored values of `set`.
fn lut_of(item: &DataSet, set: &DataSet) -> Option<Lut> {
    let signed = set.word(tags::SIGNED) == Some(1);
    Lut::new(&item.words(tags::LUT_DESCRIPTOR), item.words(tags::LUT_DATA), signed)
}

fn voi_lut(set: &DataSet) -> Option<Lut> {
    let group = set.group(tags::FRAME_VOI);
    let item = set.items(tags::VOI_LUTS).first().or_else(|| group.items(tags::VOI_LUTS).first())?;
    // A negative first value is only possible for signed images; as 16 bits it is large.
    let descriptor = item.words(tags::LUT_DESCRIPTOR);
    let signed = descriptor.get(1).is_some_and(|&first| first >= 0x8000);
    Lut::new(&descriptor, item.words(tags::LUT_DATA), signed)
}

fn palette(path: &Path, shape: &Shape, set: &DataSet) -> Result<Vec<[u8; 3]>, CodecError> {
    let lut = |descriptor, data, segmented| {
        let missing = || {
            CodecError::unsupported(
                path,
                "its colour palette is missing or damaged",
                "convert it to RGB or MONOCHROME2",
            )
        };
        let (descriptor, plain) = (set.words(descriptor), set.words(data));
        let values = match plain.is_empty() {
            true => segmented::expanded(&set.words(segmented), descriptor.get(2) == Some(&8)),
            false => Some(plain),
        };
        values.and_then(|v| Lut::new(&descriptor, v, shape.signed)).ok_or_else(missing)
    };
    let mut channels = [
        lut(tags::RED_DESCRIPTOR, tags::RED, tags::SEGMENTED_RED)?,
        lut(tags::GREEN_DESCRIPTOR, tags::GREEN, tags::SEGMENTED_GREEN)?,
        lut(tags::BLUE_DESCRIPTOR, tags::BLUE, tags::SEGMENTED_BLUE)?,
    ];
    // Some writers say 16 bits and store 8: then no channel has a larger value.
    if channels.iter().all(Lut::is_shallow) {
        channels.iter_mut().for_each(|channel| channel.bits = 8);
    }
    let [red, green, blue] = channels;
    let words = 0..1u32 << shape.bits_allocated;
    let values = words.map(|word| shape.value(word as u16));
    Ok(values.map(|value| [red.gray(value), green.gray(value), blue.gray(value)]).collect())
}
