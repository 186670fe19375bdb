//! DICOM segmentations, read by the same walker as images and with the same decoders: binary,
//! fractional and maps of labels.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::frames::{Layout, Shape, syntax_name};
use super::place::dimension;
use super::reader::{DataSet, MAX_ELEMENTS_OF_SEGMENTS, Pixels};
use super::{Parsed, parse_of, tags};
use crate::codec::CodecError;
use crate::codec::cage::Cage;
use crate::codec::limits::check_size;
use crate::domain::counted;

/// Segmentation and Label Map Segmentation Storage (PS3.4 B.5).
const CLASSES: [&str; 2] = ["1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"];

/// How the frames are stored.
enum Stored {
    /// One bit a pixel, lowest first, without a gap between frames (PS3.5, 8.2 and annex D), from
    /// this place in the file.
    Bits(u64),
    /// Each for itself, as those of an image.
    Frames { shape: Shape, layout: Layout, sample: Sample },
}

/// What a sample says.
#[derive(Clone, Copy)]
enum Sample {
    /// Whether each of eight pixels is inside, the first one by the lowest bit.
    EightPixels,
    /// How much of a pixel is inside; from this value on it is.
    Fraction(u16),
    /// The number of the segment, 0 for none.
    Number,
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
    /// Which of the places along the clip it is at, from 1, by its dimension indices.
    pub place_index: Option<usize>,
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
    cage: Cage,
}

impl Segmentation {
    /// Reads the header of a segmentation.
    ///
    /// # Errors
    /// When the file cannot be read, is no segmentation, or is compressed in a way that is not decoded.
    pub fn open(path: &Path) -> Result<Self, CodecError> {
        let parsed = parse_of(path, MAX_ELEMENTS_OF_SEGMENTS)?;
        let set = &parsed.walked.set;
        if !set.text(tags::SOP_CLASS).is_some_and(|class| CLASSES.contains(&class.as_str())) {
            let cause = "it is a DICOM file, but no segmentation";
            return Err(CodecError::unsupported(path, cause, "open images as clips instead"));
        }
        let side = |tag| set.word(tag).map(u32::from).unwrap_or(0);
        let (columns, rows) = (side(tags::COLUMNS), side(tags::ROWS));
        let place = dimension(set, &PLACES);
        let groups = set.items(tags::PER_FRAME_GROUPS).iter();
        let frames: Vec<SegmentFrame> = groups.map(|item| frame_of(item, set, place)).collect();
        let declared = set.text(tags::FRAMES).and_then(|text| text.parse().ok());
        let declared = declared.unwrap_or(frames.len());
        check_size(path, columns, rows, declared.max(frames.len()))?;
        if declared > frames.len() {
            let described = frames.len();
            let cause =
                format!("it declares {declared} frames and says of {described} what they are");
            return Err(CodecError::damaged(path, cause));
        }
        let stored = Stored::of(path, &parsed, (columns, rows), frames.len())?;
        let labels = set.items(tags::SEGMENTS).iter().filter_map(|segment| {
            let number = segment.word(tags::SEGMENT_NUMBER)?;
            Some((number, segment.text(tags::SEGMENT_LABEL).unwrap_or_default()))
        });
        let labels = labels.collect();
        let path = path.to_owned();
        let cage = Cage::new(frames.len());
        Ok(Self { path, columns, rows, labels, frames, stored, cage, parsed })
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

    /// What its maker says of it as a whole.
    #[must_use]
    pub fn description(&self) -> Option<String> {
        self.parsed.walked.set.text(tags::CONTENT_DESCRIPTION)
    }

    /// Where the frames belong, in order.
    #[must_use]
    pub fn frames(&self) -> &[SegmentFrame] {
        &self.frames
    }

    /// Which pixels of a frame belong to which segment. Of fractional ones those of at least half.
    ///
    /// # Errors
    /// When the file cannot be read (any more), or the frame does not decode.
    pub fn pixels(&self, frame: usize) -> Result<SegmentPixels, CodecError> {
        let count = self.columns as usize * self.rows as usize;
        let input = &self.parsed.input;
        let segment = self.frames.get(frame).map_or(0, |frame| frame.segment);
        let number = |inside: bool| if inside { segment } else { 0 };
        let of_bits = |bytes: &[u8], skip: usize| -> Vec<u16> {
            let bits = (skip..skip + count).map(|i| bytes[i / 8] >> (i % 8) & 1 == 1);
            bits.map(number).collect()
        };
        let (shape, layout, sample) = match &self.stored {
            Stored::Bits(offset) => {
                let first = frame as u64 * count as u64;
                let skip = (first % 8) as usize;
                let bytes = input.bytes_at(offset + first / 8, (skip + count).div_ceil(8));
                let bytes = bytes.map_err(|e| CodecError::unreadable(&self.path, e))?;
                return Ok(SegmentPixels(of_bits(&bytes, skip)));
            }
            Stored::Frames { shape, layout, sample } => (shape, layout, *sample),
        };
        let samples = layout.samples(&self.path, input, shape, frame, &self.cage)?;
        Ok(SegmentPixels(match sample {
            Sample::EightPixels => of_bits(&samples.bytes, 0),
            Sample::Fraction(half) => {
                shape.words(&samples).map(|value| number(value >= half)).collect()
            }
            Sample::Number => shape.words(&samples).collect(),
        }))
    }
}

impl Stored {
    fn of(
        path: &Path,
        parsed: &Parsed,
        (columns, rows): (u32, u32),
        frames: usize,
    ) -> Result<Self, CodecError> {
        let set = &parsed.walked.set;
        let kind = set.text(tags::SEGMENTATION_TYPE);
        let sample = match (kind.as_deref(), &parsed.walked.pixels) {
            (Some("BINARY") | None, Some(Pixels::Native { offset, length, .. })) => {
                let pixels = u64::from(columns) * u64::from(rows) * frames as u64;
                let needed = pixels.div_ceil(8);
                if *length < needed {
                    let cause = format!("its frames need {needed} bytes and it holds {length}");
                    return Err(CodecError::damaged(path, cause));
                }
                return Ok(Self::Bits(*offset));
            }
            (Some("BINARY") | None, _) => Sample::EightPixels,
            (Some("FRACTIONAL"), _) => {
                let most = set.word(tags::MAXIMUM_FRACTION).unwrap_or(255).clamp(1, 255);
                Sample::Fraction(most.div_ceil(2))
            }
            (Some("LABELMAP"), _) => Sample::Number,
            (Some(_), _) => {
                let cause = "its segments are stored in a way that this program does not know";
                return Err(CodecError::unsupported(path, cause, "save it as binary"));
            }
        };
        let shape = match sample {
            Sample::EightPixels => Shape::of_packed_bits(columns, rows, frames),
            _ => Shape::of(path, set, parsed.big)?,
        };
        if shape.frames != frames || shape.samples_per_pixel() != 1 {
            let cause = format!(
                "it describes {} of one sample and declares {} of {}",
                counted(frames, "frame"),
                shape.frames,
                shape.samples_per_pixel()
            );
            return Err(CodecError::damaged(path, cause));
        }
        let layout = Layout::of(path, &parsed.input, &parsed.walked, &shape, &parsed.syntax)?;
        let takes_bytes = matches!(layout, Layout::Rle(_) | Layout::Deflated(_));
        if matches!(sample, Sample::EightPixels) && !takes_bytes {
            let name = syntax_name(&parsed.syntax);
            let cause = format!("its pixels of one bit are compressed as {name}");
            let advice = "decompress it first, for example with \"gdcmconv --raw IN OUT\"";
            return Err(CodecError::unsupported(path, cause, advice));
        }
        Ok(Self::Frames { shape, layout, sample })
    }
}

/// What tells the places along a clip apart, the surest first. Indices of positions in space do not:
/// they may count against the order of the clip.
const PLACES: [tags::Tag; 4] =
    [tags::REFERENCED_FRAME, tags::IN_STACK, tags::TEMPORAL_INDEX, tags::TEMPORAL_POSITION];

fn frame_of(item: &DataSet, set: &DataSet, place: Option<usize>) -> SegmentFrame {
    let first = |tag| item.items(tag).first().or_else(|| shared(set, tag));
    let source = first(tags::DERIVATION).and_then(|d| d.items(tags::SOURCE_IMAGES).first());
    let numbers = |text: String| -> Vec<usize> {
        text.split('\\').filter_map(|number| number.trim().parse().ok()).collect()
    };
    let referenced = source.and_then(|s| s.text(tags::REFERENCED_FRAME)).map(numbers);
    let decimals = |group, tag| first(group).map(|item| item.decimals(tag)).unwrap_or_default();
    let content = first(tags::FRAME_CONTENT);
    let indices = content.map(|content| content.longs(tags::DIMENSION_VALUES)).unwrap_or_default();
    let directions = decimals(tags::PLANE_ORIENTATION, tags::ORIENTATION);
    let spacing = decimals(tags::PIXEL_MEASURES, tags::PIXEL_SPACING);
    SegmentFrame {
        segment: first(tags::SEGMENT_ID)
            .and_then(|id| id.word(tags::REFERENCED_SEGMENT))
            .unwrap_or(1),
        instance_uid: source.and_then(|s| s.text(tags::REFERENCED_INSTANCE)),
        referenced_frames: referenced.unwrap_or_default(),
        in_stack: content.and_then(|content| content.long(tags::IN_STACK)).map(|n| n as usize),
        place_index: place.and_then(|place| indices.get(place)).map(|&index| index as usize),
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
