//! Where the samples of each frame lie and how they are unpacked.

use std::io::Read;
use std::path::Path;

use flate2::read::DeflateDecoder;

use super::foreign::{self, Kind};
use super::fragments::assign;
use super::input::Input;
use super::reader::{DataSet, Pixels, Walked};
use super::{capsule, jpeg, jpeg_ls, rle, tags};
use crate::codec::CodecError;
use crate::codec::cage::Cage;
use crate::codec::complete;
use crate::codec::limits::check_size;

pub(super) const IMPLICIT: &str = "1.2.840.10008.1.2";
pub(super) const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub(super) const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
pub(super) const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
const RLE: &str = "1.2.840.10008.1.2.5";
/// Every frame deflated for itself (PS3.5 annex A.4.16).
const DEFLATED_FRAMES: &str = "1.2.840.10008.1.2.8.1";
const JPEG: [&str; 4] = [
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
];
const JPEG_LS: [&str; 2] = ["1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"];
/// Everything that would be decoded from a file at once, at most: a guard against lies.
const MAX_DECODED_BYTES: u128 = 64 << 30;

/// What people call a transfer syntax.
pub(super) fn syntax_name(uid: &str) -> &'static str {
    match uid.strip_prefix("1.2.840.10008.1.2").unwrap_or("?") {
        "" => "implicit little endian",
        ".1" => "explicit little endian",
        ".1.99" => "deflated",
        ".2" => "explicit big endian",
        ".5" => "RLE",
        ".8.1" => "deflated frames",
        ".4.50" => "JPEG baseline",
        ".4.51" => "JPEG extended",
        ".4.57" | ".4.70" => "JPEG lossless",
        ".4.80" | ".4.81" => "JPEG-LS",
        ".4.90" | ".4.91" | ".4.92" | ".4.93" => "JPEG 2000",
        ".4.201" | ".4.202" | ".4.203" => "High-Throughput JPEG 2000",
        ".4.110" | ".4.111" | ".4.112" => "JPEG XL",
        ".4.100" | ".4.100.1" | ".4.101" | ".4.101.1" => "MPEG-2 video",
        ".4.102" | ".4.102.1" | ".4.103" | ".4.103.1" | ".4.104" | ".4.104.1" | ".4.105"
        | ".4.105.1" | ".4.106" | ".4.106.1" => "H.264 video",
        ".4.107" | ".4.108" => "H.265 video",
        _ => "an unknown transfer syntax",
    }
}

/// What a sample means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    /// MONOCHROME2, or MONOCHROME1 when `inverted`.
    Gray {
        inverted: bool,
    },
    Palette,
    Rgb,
    Ybr,
    Ybr422,
}

impl Colour {
    /// The same with all samples of every pixel.
    fn whole(self) -> Self {
        if self == Self::Ybr422 { Self::Ybr } else { self }
    }
}

/// Size and encoding of the frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) columns: u32,
    pub(super) rows: u32,
    pub(super) frames: usize,
    pub(super) colour: Colour,
    pub(super) bits_allocated: u16,
    pub(super) bits_stored: u16,
    pub(super) high_bit: u16,
    pub(super) signed: bool,
    planar: bool,
    big: bool,
    padding: Option<Padding>,
}

/// What stands in pixels where nothing was measured (PS3.3 C.7.5.1.1.2).
#[derive(Clone, Copy, Debug)]
struct Padding {
    /// As it is stored, which may lie beyond the bits of values.
    word: u16,
    /// The lowest and highest value of the kind.
    values: [f64; 2],
}

impl Padding {
    fn of(set: &DataSet, signed: bool) -> Option<Self> {
        let word = set.word(tags::PADDING)?;
        let limit = set.word(tags::PADDING_LIMIT).unwrap_or(word);
        let value = |word: u16| if signed { f64::from(word as i16) } else { f64::from(word) };
        let (one, other) = (value(word), value(limit));
        Some(Self { word, values: [one.min(other), one.max(other)] })
    }

    fn is(&self, word: u16, value: f64) -> bool {
        word == self.word || (self.values[0]..=self.values[1]).contains(&value)
    }
}

/// The samples of one frame.
pub(super) struct Samples {
    pub(super) bytes: Vec<u8>,
    /// Colour planes one after the other instead of pixel by pixel.
    pub(super) planar: bool,
    /// Bytes of 16-bit samples are big endian.
    big: bool,
    /// What they mean once they are unpacked: decoders may have made RGB of them, and all of them tell every pixel apart.
    pub(super) colour: Colour,
}

impl Shape {
    pub(super) fn of(path: &Path, set: &DataSet, big: bool) -> Result<Self, CodecError> {
        let missing = |what: &str| {
            CodecError::damaged(path, format!("it has no {what}; it may hold no image"))
        };
        let rows = set.word(tags::ROWS).ok_or_else(|| missing("Rows"))?;
        let columns = set.word(tags::COLUMNS).ok_or_else(|| missing("Columns"))?;
        let bits_allocated =
            set.word(tags::BITS_ALLOCATED).ok_or_else(|| missing("BitsAllocated"))?;
        let bits_stored = set.word(tags::BITS_STORED).unwrap_or(bits_allocated);
        let high_bit = set.word(tags::HIGH_BIT).unwrap_or(bits_stored.saturating_sub(1));
        let count = set.text(tags::FRAMES).map_or(Some(1), |text| text.parse().ok());
        let frames =
            count.ok_or_else(|| CodecError::damaged(path, "its number of frames is no number"))?;
        check_size(path, columns.into(), rows.into(), frames)?;
        let colour = colour(path, set)?;
        if !matches!(bits_allocated, 8 | 16) {
            let cause = format!("its pixels have {bits_allocated} bits");
            return Err(CodecError::unsupported(path, cause, "convert it to 8 or 16 bits"));
        }
        if bits_stored == 0
            || bits_stored > bits_allocated
            || high_bit >= bits_allocated
            || high_bit + 1 < bits_stored
        {
            let cause = format!(
                "{bits_stored} bits of {bits_allocated} up to bit {high_bit} is impossible"
            );
            return Err(CodecError::damaged(path, cause));
        }
        let signed = set.word(tags::SIGNED) == Some(1);
        let shape = Self {
            columns: columns.into(),
            rows: rows.into(),
            frames,
            colour,
            bits_allocated,
            bits_stored,
            high_bit,
            signed,
            planar: set.word(tags::PLANAR) == Some(1),
            big,
            padding: Padding::of(set, signed),
        };
        if shape.samples_per_pixel() == 3 && bits_allocated != 8 {
            return Err(CodecError::unsupported(
                path,
                "its colours have 16 bits",
                "convert it to 8 bits",
            ));
        }
        let all = shape.frame_bytes() as u128 * frames as u128;
        if all > MAX_DECODED_BYTES {
            return Err(CodecError::too_large(path, "its frames take more than 64 GiB"));
        }
        Ok(shape)
    }

    /// The same by the length of the pixel data: what unpacks halved colours may leave them their old name.
    pub(super) fn as_held(self, walked: &Walked) -> Self {
        let whole = Self { colour: self.colour.whole(), ..self };
        let bytes = whole.frame_bytes() as u64 * self.frames as u64;
        match walked.pixels {
            Some(Pixels::Native { length, .. }) if length == bytes.next_multiple_of(2) => whole,
            _ => self,
        }
    }

    /// Frames of one bit a pixel, eight of them packed into a byte, as frames of bytes.
    pub(super) fn of_packed_bits(columns: u32, rows: u32, frames: usize) -> Self {
        let bytes = (u64::from(columns) * u64::from(rows)).div_ceil(8);
        Self {
            // Sides are at most 16,384: 32 MiB.
            columns: bytes as u32,
            rows: 1,
            frames,
            colour: Colour::Gray { inverted: false },
            bits_allocated: 8,
            bits_stored: 8,
            high_bit: 7,
            signed: false,
            planar: false,
            big: false,
            padding: None,
        }
    }

    pub(super) fn pixels(&self) -> usize {
        self.columns as usize * self.rows as usize
    }

    pub(super) fn samples(&self) -> u16 {
        self.samples_per_pixel() as u16
    }

    pub(super) fn samples_per_pixel(&self) -> usize {
        if matches!(self.colour, Colour::Gray { .. } | Colour::Palette) { 1 } else { 3 }
    }

    pub(super) fn sample_bytes(&self) -> usize {
        usize::from(self.bits_allocated / 8)
    }

    /// Bytes of an uncompressed frame.
    fn frame_bytes(&self) -> usize {
        if self.colour == Colour::Ybr422 {
            return self.pixels().div_ceil(2) * 4;
        }
        self.pixels() * self.samples_per_pixel() * self.sample_bytes()
    }

    /// The samples of a single-channel frame as they are stored, padding bits included.
    pub(super) fn words<'a>(&self, samples: &'a Samples) -> Box<dyn Iterator<Item = u16> + 'a> {
        let big = samples.big;
        if self.bits_allocated == 8 {
            return Box::new(samples.bytes.iter().map(|&b| u16::from(b)));
        }
        Box::new(samples.bytes.chunks_exact(2).map(move |b| {
            if big { u16::from_be_bytes([b[0], b[1]]) } else { u16::from_le_bytes([b[0], b[1]]) }
        }))
    }

    /// The number a stored word means: its `bits_stored` bits below `high_bit`, with sign.
    pub(super) fn value(&self, word: u16) -> f64 {
        let shift = self.high_bit + 1 - self.bits_stored;
        let mask = ((1u32 << self.bits_stored) - 1) as i32;
        let value = i32::from(word >> shift) & mask;
        let negative = self.signed && value >> (self.bits_stored - 1) & 1 == 1;
        f64::from(if negative { value - mask - 1 } else { value })
    }

    /// The numbers of a single-channel frame, without those where nothing was measured.
    pub(super) fn measured_values(&self, samples: &Samples) -> impl Iterator<Item = f64> {
        self.words(samples).filter_map(|word| {
            let value = self.value(word);
            let is_padding = self.padding.is_some_and(|padding| padding.is(word, value));
            (!is_padding).then_some(value)
        })
    }
}

fn colour(path: &Path, set: &DataSet) -> Result<Colour, CodecError> {
    let samples = set.word(tags::SAMPLES).unwrap_or(1);
    let name = set.text(tags::PHOTOMETRIC).unwrap_or_else(|| "MONOCHROME2".into());
    match (name.as_str(), samples) {
        ("MONOCHROME2", 1) => Ok(Colour::Gray { inverted: false }),
        ("MONOCHROME1", 1) => Ok(Colour::Gray { inverted: true }),
        ("PALETTE COLOR", 1) => Ok(Colour::Palette),
        ("RGB", 3) => Ok(Colour::Rgb),
        // Those of JPEG 2000 and of video come out of their decoders as RGB.
        ("YBR_ICT" | "YBR_RCT" | "YBR_PARTIAL_420", 3) => Ok(Colour::Rgb),
        ("YBR_FULL", 3) => Ok(Colour::Ybr),
        ("YBR_FULL_422", 3) => Ok(Colour::Ybr422),
        _ => {
            let cause = format!("its colours are \"{name}\" with {samples} samples");
            Err(CodecError::unsupported(path, cause, "convert it to RGB or MONOCHROME2"))
        }
    }
}

/// Where the frames are.
pub(super) enum Layout {
    /// One after the other; 8-bit samples in big-endian 16-bit words when `swapped`.
    Native {
        offset: u64,
        swapped: bool,
    },
    /// RLE, a list of fragments per frame.
    Rle(Vec<Vec<(u64, u32)>>),
    /// Deflated one by one.
    Deflated(Vec<Vec<(u64, u32)>>),
    /// JPEG of the given transfer syntax.
    Jpeg(&'static str, Vec<Vec<(u64, u32)>>),
    JpegLs(Vec<Vec<(u64, u32)>>),
    /// What ffmpeg decodes.
    Foreign(Kind, Vec<Vec<(u64, u32)>>),
}

impl Layout {
    pub(super) fn of(
        path: &Path,
        input: &Input,
        walked: &Walked,
        shape: &Shape,
        syntax: &str,
    ) -> Result<Self, CodecError> {
        let native = [IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN].contains(&syntax);
        let jpeg = JPEG.iter().find(|&&uid| uid == syntax);
        if let (Some(kind), Some(Pixels::Fragments(fragments))) =
            (Kind::of_syntax(syntax), &walked.pixels)
        {
            let frames = assign(path, input, &walked.set, fragments, shape.frames, false)?;
            return Ok(Self::Foreign(kind, frames));
        }
        match (&walked.pixels, native, jpeg) {
            (None, ..) => Err(CodecError::damaged(path, "it holds no pixel data")),
            (Some(Pixels::Native { offset, length, words }), true, _) => {
                let needed = shape.frame_bytes() as u64 * shape.frames as u64;
                if *length < needed {
                    let cause = format!("its frames need {needed} bytes and it holds {length}");
                    return Err(CodecError::damaged(path, cause));
                }
                let swapped = shape.big && *words && shape.bits_allocated == 8;
                Ok(Self::Native { offset: *offset, swapped })
            }
            (Some(Pixels::Fragments(fragments)), _, Some(&uid)) => {
                let frames = assign(path, input, &walked.set, fragments, shape.frames, true)?;
                Ok(Self::Jpeg(uid, frames))
            }
            (Some(Pixels::Fragments(fragments)), ..) if JPEG_LS.contains(&syntax) => {
                Ok(Self::JpegLs(assign(path, input, &walked.set, fragments, shape.frames, true)?))
            }
            (Some(Pixels::Fragments(fragments)), ..) if syntax == RLE => {
                Ok(Self::Rle(assign(path, input, &walked.set, fragments, shape.frames, false)?))
            }
            (Some(Pixels::Fragments(fragments)), ..) if syntax == DEFLATED_FRAMES => Ok(
                Self::Deflated(assign(path, input, &walked.set, fragments, shape.frames, false)?),
            ),
            (Some(Pixels::Fragments(_)), true, _)
            | (Some(Pixels::Native { .. }), false, Some(_)) => {
                Err(CodecError::damaged(path, "its pixel data is not stored as it declares"))
            }
            _ => Err(CodecError::unsupported(
                path,
                format!("its frames are compressed as {} ({syntax})", syntax_name(syntax)),
                "decompress it first, for example with \"gdcmconv --raw IN OUT\"",
            )),
        }
    }

    /// The samples of a frame.
    pub(super) fn samples(
        &self,
        path: &Path,
        input: &Input,
        shape: &Shape,
        index: usize,
        cage: &Cage,
    ) -> Result<Samples, CodecError> {
        let unreadable = |e| CodecError::unreadable(path, e);
        let gathered = |fragments: &[(u64, u32)]| {
            let parts = fragments.iter().map(|&(at, length)| input.bytes_at(at, length as usize));
            parts
                .collect::<std::io::Result<Vec<_>>>()
                .map(|parts| parts.concat())
                .map_err(unreadable)
        };
        match self {
            Self::Native { offset, swapped } => {
                let length = shape.frame_bytes();
                let at = offset + index as u64 * length as u64;
                // Swapped words may straddle a frame of odd length: read from an even offset.
                let odd = if *swapped { (at - offset) % 2 } else { 0 };
                let extra = odd as usize + (length + odd as usize) % 2 * usize::from(*swapped);
                let mut bytes = input.bytes_at(at - odd, length + extra).map_err(unreadable)?;
                if *swapped {
                    bytes.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
                    bytes.drain(..odd as usize);
                    bytes.truncate(length);
                }
                Ok(Samples { bytes, planar: shape.planar, big: shape.big, colour: shape.colour })
            }
            Self::Rle(frames) => {
                let bytes = rle::unpack(&gathered(&frames[index])?, shape).map_err(|cause| {
                    CodecError::damaged(path, format!("frame {}: {cause}", index + 1))
                })?;
                Ok(Samples { bytes, planar: true, big: false, colour: shape.colour.whole() })
            }
            Self::Deflated(frames) => {
                let mut bytes = Vec::with_capacity(shape.frame_bytes());
                let packed = gathered(&frames[index])?;
                let inflated = DeflateDecoder::new(&packed[..])
                    .take(shape.frame_bytes() as u64)
                    .read_to_end(&mut bytes);
                if inflated.ok() != Some(shape.frame_bytes()) {
                    let cause = format!("frame {} does not inflate to its size", index + 1);
                    return Err(CodecError::damaged(path, cause));
                }
                Ok(Samples { bytes, planar: shape.planar, big: false, colour: shape.colour })
            }
            Self::JpegLs(frames) => {
                let bytes = jpeg_ls::decode(path, &gathered(&frames[index])?, shape, index, cage)?;
                let big = cfg!(target_endian = "big");
                Ok(Samples { bytes, planar: false, big, colour: shape.colour.whole() })
            }
            Self::Foreign(kind, frames) => {
                let bytes = foreign::decode(path, &gathered(&frames[index])?, shape, *kind, index)?;
                let big = cfg!(target_endian = "big");
                Ok(Samples { bytes, planar: false, big, colour: shape.colour.whole() })
            }
            Self::Jpeg(syntax, frames) => {
                let bytes = gathered(&frames[index])?;
                let (bytes, colour) = jpeg_samples(path, bytes, shape, syntax, index, cage)?;
                Ok(Samples { bytes, planar: false, big: cfg!(target_endian = "big"), colour })
            }
        }
    }
}

/// Compares a JPEG's own header with the file's before a decoder allocates for it.
fn jpeg_samples(
    path: &Path,
    mut bytes: Vec<u8>,
    shape: &Shape,
    syntax: &str,
    index: usize,
    cage: &Cage,
) -> Result<(Vec<u8>, Colour), CodecError> {
    let frame = index + 1;
    let header = complete::jpeg(&bytes)
        .map_err(|cause| CodecError::damaged(path, format!("frame {frame}: {cause}")))?;
    let same = u32::from(header.width) == shape.columns
        && u32::from(header.height) == shape.rows
        && usize::from(header.components) == shape.samples_per_pixel()
        && (header.precision > 8) == (shape.bits_allocated == 16);
    if !same {
        let cause =
            format!("the JPEG of frame {frame} has another size or depth than the file declares");
        return Err(CodecError::damaged(path, cause));
    }
    if header.process < 3 && header.precision != 8 {
        return Ok((foreign::decode(path, &bytes, shape, Kind::Jpeg12, index)?, shape.colour));
    }
    if header.process >= 3 && !jpeg::is_plain(&mut bytes) {
        let cause = "its lossless JPEG frames have restart marks, a point transform or components \
                     of several sizes, which would be decoded wrongly here";
        let advice = "decompress it first, for example with \"gdcmconv --raw IN OUT\"";
        return Err(CodecError::unsupported(path, cause, advice));
    }
    // Lossless frames come out as they were stored, others as RGB.
    let mut colour = shape.colour.whole();
    if header.process < 3 && shape.samples_per_pixel() == 3 {
        jpeg::settle_colours(&mut bytes, shape.colour == Colour::Rgb);
        colour = Colour::Rgb;
    }
    Ok((capsule::decode(path, &bytes, shape, syntax, cage)?, colour))
}
