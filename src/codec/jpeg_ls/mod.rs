//! JPEG-LS (ISO/IEC 14495-1, ITU-T T.87), lossless and near-lossless: an own decoder, since there is no kept one in Rust
//! and ffmpeg's makes wrong colours where they follow each other sample by sample.
//!
//! Here are the markers, in `preset.rs` the parameters, in `scan.rs` the samples, in `bits.rs` their codes.
//! The pixels are those of CharLS (`tests/data/reading.py`).

mod bits;
mod preset;
mod scan;

use preset::{Parameters, Preset};
use scan::{Line, Scan, gradient_classes};

/// Components of a picture.
const MOST_COMPONENTS: usize = 4;
/// More bits than padding takes, left after a scan, show that the decoder and the encoder were not of one mind.
const MOST_LEFT: usize = 64;

/// Why a JPEG-LS picture does not decode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JpegLsError {
    /// Its bytes contradict themselves or end too early.
    #[error("{0}")]
    Damaged(String),
    /// It uses a part of the standard that is not read.
    #[error("{0}")]
    Unsupported(String),
}

/// A JPEG-LS picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JpegLs {
    /// Columns, 1 to 65535.
    pub columns: u16,
    /// Rows, 1 to 65535.
    pub rows: u16,
    /// Components of a pixel, 1 to 4.
    pub components: u8,
    /// Bits of a sample, 2 to 16.
    pub precision: u8,
    /// Row by row, pixel by pixel, all components of a pixel together: a byte for each sample of up to 8 bits, else
    /// two in this machine's order.
    pub samples: Vec<u8>,
}

/// What the frame header (SOF55) says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) columns: u16,
    pub(super) rows: u16,
    pub(super) precision: u8,
    /// The names of the components.
    names: Vec<u8>,
}

/// How the components of a scan are mixed (ILV).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mixing {
    /// There is one.
    None,
    /// Line by line.
    Lines,
    /// Pixel by pixel.
    Pixels,
}

fn damaged<T>(what: &str) -> Result<T, JpegLsError> {
    Err(JpegLsError::Damaged(format!("a JPEG-LS frame {what}")))
}

fn unsupported<T>(what: &str) -> Result<T, JpegLsError> {
    Err(JpegLsError::Unsupported(format!("a JPEG-LS frame with {what}")))
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// The marker at `at`, its segment without length, and what follows it. Fill bytes are passed over.
fn segment(bytes: &[u8], mut at: usize) -> Option<(u8, &[u8], usize)> {
    while bytes.get(at..at + 2)? == [0xff; 2] {
        at += 1;
    }
    let &[0xff, marker] = bytes.get(at..at + 2)? else { return None };
    if matches!(marker, 0x01 | 0xd0..=0xd9) {
        return Some((marker, &[], at + 2));
    }
    let end = at + 2 + usize::from(word(bytes, at + 2)?);
    Some((marker, bytes.get(at + 4..end)?, end))
}

impl Header {
    /// Of the first frame header in a stream that begins like a JPEG.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, JpegLsError> {
        let mut at = 2;
        while let Some((marker, held, next)) =
            segment(bytes, at).filter(|(marker, ..)| *marker != 0xda)
        {
            if marker == 0xf7 {
                return Self::read(held);
            }
            at = next;
        }
        damaged("has no header of its compression")
    }

    /// Components of a pixel.
    pub(super) fn components(&self) -> usize {
        self.names.len()
    }

    fn read(held: &[u8]) -> Result<Self, JpegLsError> {
        let &[precision, h1, h0, w1, w0, count, ref parts @ ..] = held else {
            return damaged("has a header that is cut off");
        };
        let [columns, rows] = [[w1, w0], [h1, h0]].map(u16::from_be_bytes);
        let parts: Vec<&[u8]> = parts.chunks_exact(3).take(count.into()).collect();
        if parts.is_empty() || parts.len() != usize::from(count) || !(2..=16).contains(&precision) {
            return damaged("has an impossible header");
        }
        if columns == 0 || rows == 0 {
            return unsupported("its size behind its pixels");
        }
        if parts.len() > MOST_COMPONENTS || parts.iter().any(|part| part[1] != 0x11) {
            return unsupported("components of several sizes, or more than four of them");
        }
        let names = parts.iter().map(|part| part[0]).collect();
        Ok(Self { columns, rows, precision, names })
    }
}

/// How far the samples of a stream may be off (NEAR), by its first scan header; `None` where its first bytes do not tell.
pub(super) fn near_of(bytes: &[u8]) -> Option<u8> {
    let mut at = 2;
    loop {
        let (marker, held, next) = segment(bytes, at)?;
        if marker == 0xda {
            // A count and two bytes for each component come first.
            return held.get(1 + 2 * usize::from(*held.first()?)).copied();
        }
        at = next;
    }
}

/// What a scan header (SOS) says.
struct ScanHeader {
    /// Which components, from 0.
    which: Vec<usize>,
    near: u8,
    mixing: Mixing,
}

impl ScanHeader {
    fn read(held: &[u8], header: &Header) -> Result<Self, JpegLsError> {
        let Some((&count, rest)) = held.split_first() else { return damaged("has no scan header") };
        let (parts, rest) = rest.split_at_checked(2 * usize::from(count)).unwrap_or_default();
        let &[near, mixing, transform, ..] = rest else {
            return damaged("has a scan header that is cut off");
        };
        let place = |part: &[u8]| header.names.iter().position(|name| *name == part[0]);
        let which: Option<Vec<usize>> = parts.chunks_exact(2).map(place).collect();
        let Some(which) = which.filter(|which| !which.is_empty()) else {
            return damaged("has a scan of components that it does not name");
        };
        if parts.chunks_exact(2).any(|part| part[1] != 0) {
            return unsupported("a table of values");
        }
        if transform != 0 {
            return unsupported("a point transform");
        }
        let mixing = match (mixing, which.len()) {
            (0..=2, 1) => Mixing::None,
            (1, _) => Mixing::Lines,
            (2, _) => Mixing::Pixels,
            _ => return damaged("mixes its components in no known way"),
        };
        Ok(Self { which, near, mixing })
    }
}

/// Where the coded bytes from `at` on end: at the next marker, or with the stream.
fn coded_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let marker = rest.windows(2).position(|pair| pair[0] == 0xff && pair[1] >= 0x80);
    marker.map_or(bytes.len(), |found| at + found)
}

/// A picture that is being decoded.
struct Picture {
    header: Header,
    samples: Vec<u8>,
    /// Which components have come.
    done: Vec<bool>,
}

impl JpegLs {
    /// Decodes a stream, of which at most `most` bytes of samples are taken.
    ///
    /// Transformed colours (a marker of HP's, `mrfx`, with 8 bits) come out as they were before.
    ///
    /// # Errors
    /// Where it contradicts itself, ends too early, takes more than `most`, or has a point transform, tables of values,
    /// components of several sizes or its size behind its pixels.
    pub fn decode(bytes: &[u8], most: usize) -> Result<Self, JpegLsError> {
        let header = Header::of(bytes)?;
        let wide = if header.precision > 8 { 2 } else { 1 };
        let size =
            usize::from(header.columns) * usize::from(header.rows) * header.components() * wide;
        if size > most {
            return damaged(&format!("takes {size} bytes, more than the {most} that are expected"));
        }
        // Every line has a bit of its own.
        if bytes.len() * 8 < usize::from(header.rows) {
            return damaged("is too short for its size");
        }
        let done = vec![false; header.components()];
        // Pages of it are taken only as lines are decoded.
        let mut picture = Picture { header, samples: vec![0; size], done };
        let transform = picture.read(bytes)?;
        let Picture { header, mut samples, .. } = picture;
        if let Some(transform) = transform {
            if header.precision != 8 || header.components() != 3 {
                return unsupported("transformed colours of other than 8 bits");
            }
            samples.chunks_exact_mut(3).for_each(|pixel| untransform(pixel, transform));
        }
        let (columns, rows, precision) = (header.columns, header.rows, header.precision);
        Ok(Self { columns, rows, components: header.components() as u8, precision, samples })
    }
}

impl Picture {
    /// Goes through the markers; gives how the colours were transformed.
    fn read(&mut self, bytes: &[u8]) -> Result<Option<u8>, JpegLsError> {
        let (mut at, mut preset, mut interval, mut transform) = (2, Preset::default(), 0, None);
        while self.done.contains(&false) {
            let Some((marker, held, next)) = segment(bytes, at) else {
                return damaged("ends before its last pixel");
            };
            at = next;
            match marker {
                0xd9 => return damaged("ends before its last pixel"),
                // Lines between restarts, in two to four bytes.
                0xdd => {
                    let add = |all: usize, byte: &u8| all << 8 | usize::from(*byte);
                    interval = held.iter().take(4).fold(0, add);
                }
                0xe8 if held.starts_with(b"mrfx") => {
                    transform = held.get(4).copied().filter(|&kind| kind != 0);
                    if transform.is_some_and(|kind| kind > 3) {
                        return unsupported("colours that are transformed in an unknown way");
                    }
                }
                0xf8 => preset = presets(held)?,
                0xda => {
                    let scan = ScanHeader::read(held, &self.header)?;
                    at = self.scan(bytes, at, &scan, preset, interval)?;
                }
                _ => {}
            }
        }
        Ok(transform)
    }

    /// Decodes a scan from `at` on and gives where its coded bytes end.
    fn scan(
        &mut self,
        bytes: &[u8],
        mut at: usize,
        scan: &ScanHeader,
        preset: Preset,
        interval: usize,
    ) -> Result<usize, JpegLsError> {
        for &which in &scan.which {
            if std::mem::replace(&mut self.done[which], true) {
                return damaged("has a component twice");
            }
        }
        let own = Parameters::of(preset, self.header.precision.into(), scan.near)?;
        let classes = gradient_classes(&own);
        let rows = usize::from(self.header.rows);
        let empty: Line = vec![0; usize::from(self.header.columns) + 2];
        let interval = if interval == 0 { rows } else { interval };
        for (number, first) in (0..rows).step_by(interval).enumerate() {
            let end = coded_end(bytes, at);
            let mut part = Scan::new(&bytes[at..end], own, &classes, scan.which.len());
            let mut above = vec![empty.clone(); scan.which.len()];
            let mut lines = above.clone();
            for row in first..rows.min(first.saturating_add(interval)) {
                let read = match scan.mixing {
                    Mixing::Pixels => part.pixels(&mut above, &mut lines),
                    _ => (above.iter_mut().zip(&mut lines).enumerate())
                        .try_for_each(|(i, (above, line))| part.line(i, above, line)),
                };
                if read.is_none() {
                    return damaged(&format!("does not decode from line {} on", row + 1));
                }
                for (&which, line) in scan.which.iter().zip(&lines) {
                    self.keep(row, which, line);
                }
                std::mem::swap(&mut above, &mut lines);
            }
            if part.left() > MOST_LEFT {
                return damaged("has more pixels than its header says");
            }
            at = end;
            if first.saturating_add(interval) < rows {
                let expected = 0xd0 + (number % 8) as u8;
                match segment(bytes, at) {
                    Some((marker, _, next)) if marker == expected => at = next,
                    _ => return damaged("lacks one of its restart marks"),
                }
            }
        }
        Ok(at)
    }

    /// Puts the samples of a line into their places.
    fn keep(&mut self, row: usize, which: usize, line: &Line) {
        let (columns, count) = (usize::from(self.header.columns), self.header.components());
        let held = line.iter().skip(1).take(columns);
        let wide = if self.header.precision > 8 { 2 } else { 1 };
        let places = self.samples.chunks_exact_mut(wide).skip(row * columns * count + which);
        for (place, value) in places.step_by(count).zip(held) {
            if let [low] = place {
                *low = *value as u8;
            } else {
                place.copy_from_slice(&value.to_ne_bytes());
            }
        }
    }
}

/// A segment of presets (LSE).
fn presets(held: &[u8]) -> Result<Preset, JpegLsError> {
    match held.split_first() {
        Some((1, rest)) => {
            let mut words = [0; 5];
            for (i, place) in words.iter_mut().enumerate() {
                match word(rest, 2 * i) {
                    Some(value) => *place = value,
                    None => return damaged("has presets that are cut off"),
                }
            }
            let [largest, low, middle, high, reset] = words;
            Ok(Preset { largest, thresholds: [low, middle, high], reset })
        }
        Some((2 | 3, _)) => unsupported("a table of values"),
        Some((4, _)) => unsupported("more than 65535 lines or columns"),
        Some(_) => unsupported("presets of part 2 of the standard"),
        None => damaged("has presets that are cut off"),
    }
}

/// Takes back how HP's encoder transformed three components of 8 bits: less green, or less a mean.
fn untransform(pixel: &mut [u8], kind: u8) {
    let &mut [first, second, third] = pixel else { return };
    let half = 0x80u8;
    let (red, green, blue) = match kind {
        1 => {
            let less = second.wrapping_sub(half);
            (first.wrapping_add(less), second, third.wrapping_add(less))
        }
        2 => {
            let red = first.wrapping_add(second).wrapping_sub(half);
            let mean = ((u16::from(red) + u16::from(second)) >> 1) as u8;
            (red, second, third.wrapping_add(mean).wrapping_sub(half))
        }
        _ => {
            let quarter = ((u16::from(second) + u16::from(third)) >> 2) as u8;
            let green = first.wrapping_sub(quarter).wrapping_add(0x40);
            let less = green.wrapping_sub(half);
            (third.wrapping_add(less), green, second.wrapping_add(less))
        }
    };
    pixel.copy_from_slice(&[red, green, blue]);
}
