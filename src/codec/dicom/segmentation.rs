//! DICOM segmentations, read by the same walker as images: binary, fractional and maps of labels,
//! uncompressed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::frames::syntax_name;
use super::reader::{DataSet, Pixels};
use super::{Parsed, parse, tags};
use crate::codec::CodecError;
use crate::codec::limits::check_size;

/// Segmentation and Label Map Segmentation Storage (PS3.4 B.5).
const CLASSES: [&str; 2] = ["1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"];

/// How a frame is stored.
#[derive(Clone, Copy)]
enum Stored {
    /// One bit a pixel.
    Bits,
    /// One byte a pixel, inside from this value on.
    Fractions(u8),
    /// The number of a segment at every pixel, 0 for none, in one byte or two.
    Numbers { wide: bool },
}

/// What a frame of a segmentation holds: the number of a segment at every pixel, row by row; 0 is
/// none.
pub struct SegmentPixels(Vec<u16>);

impl SegmentPixels {
    /// The segments that have a pixel, in order.
    #[must_use]
    pub fn segments(&self) -> BTreeSet<u16> {
        self.0.iter().copied().filter(|&number| number != 0).collect()
    }

    /// Which pixels are those of a segment.
    #[must_use]
    pub fn of(&self, segment: u16) -> Vec<bool> {
        self.0.iter().map(|&number| number == segment).collect()
    }
}

/// Where a frame of a segmentation belongs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SegmentFrame {
    /// Number of its segment.
    pub segment: u16,
    /// The image that it was drawn on, by SOP instance.
    pub instance_uid: Option<String>,
    /// Numbers of the frames in that image, from 1.
    pub referenced_frames: Vec<usize>,
    /// Position in its stack, from 1.
    pub in_stack: Option<usize>,
    /// Centre of its first pixel, mm (LPS).
    pub position_mm: Option<[f64; 3]>,
    /// Directions of its rows (to the next column) and columns, of length 1.
    pub directions: Option<[[f64; 3]; 2]>,
    /// Distances between its columns and rows, mm.
    pub spacing_mm: Option<[f64; 2]>,
}

/// A DICOM segmentation whose header was read.
pub struct Segmentation {
    path: PathBuf,
    parsed: Parsed,
    columns: u32,
    rows: u32,
    labels: BTreeMap<u16, String>,
    frames: Vec<SegmentFrame>,
    stored: Stored,
    offset: u64,
}

impl Segmentation {
    /// Reads the header of a segmentation.
    ///
    /// # Errors
    /// When the file cannot be read, is no segmentation, or is compressed.
    pub fn open(path: &Path) -> Result<Self, CodecError> {
        let parsed = parse(path)?;
        let set = &parsed.walked.set;
        if !set.text(tags::SOP_CLASS).is_some_and(|class| CLASSES.contains(&class.as_str())) {
            let cause = "it is a DICOM file, but no segmentation";
            return Err(CodecError::unsupported(path, cause, "open images as clips instead"));
        }
        let side = |tag| set.word(tag).map(u32::from).unwrap_or(0);
        let (columns, rows) = (side(tags::COLUMNS), side(tags::ROWS));
        let frames: Vec<SegmentFrame> =
            set.items(tags::PER_FRAME_GROUPS).iter().map(|item| frame_of(item, set)).collect();
        check_size(path, columns, rows, frames.len())?;
        let stored = match set.text(tags::SEGMENTATION_TYPE).as_deref() {
            Some("BINARY") | None => Stored::Bits,
            Some("FRACTIONAL") => {
                let most = set.word(tags::MAXIMUM_FRACTION).unwrap_or(255).clamp(1, 255);
                Stored::Fractions(most.div_ceil(2) as u8)
            }
            Some("LABELMAP") => match set.word(tags::BITS_ALLOCATED) {
                Some(bits @ (8 | 16)) => Stored::Numbers { wide: bits == 16 },
                _ => {
                    let cause = "its map of labels has neither 8 nor 16 bits";
                    return Err(CodecError::unsupported(path, cause, "save it as binary"));
                }
            },
            Some(_) => {
                let cause = "its segments are stored in a way that this program does not know";
                return Err(CodecError::unsupported(path, cause, "save it as binary"));
            }
        };
        let Some(Pixels::Native { offset, length, .. }) = parsed.walked.pixels else {
            let cause = format!("its pixels are compressed as {}", syntax_name(&parsed.syntax));
            return Err(CodecError::unsupported(path, cause, "decompress it first"));
        };
        let pixels = u64::from(columns) * u64::from(rows) * frames.len() as u64;
        let needed = match stored {
            Stored::Bits => pixels.div_ceil(8),
            Stored::Numbers { wide: true } => pixels.saturating_mul(2),
            Stored::Fractions(_) | Stored::Numbers { wide: false } => pixels,
        };
        if length < needed {
            let cause = format!("its frames need {needed} bytes and it holds {length}");
            return Err(CodecError::damaged(path, cause));
        }
        let labels = set.items(tags::SEGMENTS).iter().filter_map(|segment| {
            let number = segment.word(tags::SEGMENT_NUMBER)?;
            Some((number, segment.text(tags::SEGMENT_LABEL).unwrap_or_default()))
        });
        let labels = labels.collect();
        let path = path.to_owned();
        Ok(Self { path, columns, rows, labels, frames, stored, offset, parsed })
    }

    /// Columns and rows.
    #[must_use]
    pub fn size(&self) -> (u32, u32) {
        (self.columns, self.rows)
    }

    /// Labels of the segments by number.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<u16, String> {
        &self.labels
    }

    /// Where the frames belong, in order.
    #[must_use]
    pub fn frames(&self) -> &[SegmentFrame] {
        &self.frames
    }

    /// Which pixels of a frame belong to which segment. Of fractional ones those of at least half.
    ///
    /// # Errors
    /// When the file cannot be read (any more).
    pub fn pixels(&self, frame: usize) -> Result<SegmentPixels, CodecError> {
        let count = self.columns as usize * self.rows as usize;
        let unreadable = |e| CodecError::unreadable(&self.path, e);
        let input = &self.parsed.input;
        let first = frame as u64 * count as u64;
        let segment = self.frames.get(frame).map_or(0, |frame| frame.segment);
        let number = |inside: bool| if inside { segment } else { 0 };
        let read = |at: u64, length| input.bytes_at(self.offset + at, length).map_err(unreadable);
        Ok(SegmentPixels(match self.stored {
            Stored::Fractions(threshold) => {
                let bytes = read(first, count)?;
                bytes.iter().map(|&byte| number(byte >= threshold)).collect()
            }
            Stored::Numbers { wide: false } => {
                read(first, count)?.into_iter().map(u16::from).collect()
            }
            Stored::Numbers { wide: true } => {
                let bytes = read(2 * first, 2 * count)?;
                let word = if self.parsed.big { u16::from_be_bytes } else { u16::from_le_bytes };
                bytes.chunks_exact(2).map(|pair| word([pair[0], pair[1]])).collect()
            }
            // One bit a pixel, lowest first, without a gap between frames (PS3.5, 8.2 and annex D).
            Stored::Bits => {
                let skip = (first % 8) as usize;
                let bytes = read(first / 8, (skip + count).div_ceil(8))?;
                let bits = (skip..skip + count).map(|i| bytes[i / 8] >> (i % 8) & 1 == 1);
                bits.map(number).collect()
            }
        }))
    }
}

fn frame_of(item: &DataSet, set: &DataSet) -> SegmentFrame {
    let first = |tag| item.items(tag).first().or_else(|| shared(set, tag));
    let source = first(tags::DERIVATION).and_then(|d| d.items(tags::SOURCE_IMAGES).first());
    let numbers = |text: String| -> Vec<usize> {
        text.split('\\').filter_map(|number| number.trim().parse().ok()).collect()
    };
    let referenced = source.and_then(|s| s.text(tags::REFERENCED_FRAME)).map(numbers);
    let decimals = |group, tag| first(group).map(|item| item.decimals(tag)).unwrap_or_default();
    let directions = decimals(tags::PLANE_ORIENTATION, tags::ORIENTATION);
    let spacing = decimals(tags::PIXEL_MEASURES, tags::PIXEL_SPACING);
    SegmentFrame {
        segment: first(tags::SEGMENT_ID)
            .and_then(|id| id.word(tags::REFERENCED_SEGMENT))
            .unwrap_or(1),
        instance_uid: source.and_then(|s| s.text(tags::REFERENCED_INSTANCE)),
        referenced_frames: referenced.unwrap_or_default(),
        in_stack: first(tags::FRAME_CONTENT)
            .and_then(|content| content.long(tags::IN_STACK))
            .map(|n| n as usize),
        position_mm: decimals(tags::PLANE_POSITION, tags::POSITION).try_into().ok(),
        directions: match directions[..] {
            [a, b, c, d, e, f] => Some([[a, b, c], [d, e, f]]),
            _ => None,
        },
        // Rows come first in the file.
        spacing_mm: match spacing[..] {
            [down, across] => Some([across, down]),
            _ => None,
        },
    }
}

/// The macro that all frames share.
fn shared(set: &DataSet, tag: tags::Tag) -> Option<&DataSet> {
    set.items(tags::SHARED_GROUPS).first()?.items(tag).first()
}
