//! DICOM segmentations, read by the same walker as images: binary and fractional, uncompressed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::frames::syntax_name;
use super::reader::{DataSet, Pixels};
use super::{Parsed, parse, tags};
use crate::codec::CodecError;
use crate::codec::limits::check_size;

const SEGMENTATION_CLASS: &str = "1.2.840.10008.5.1.4.1.1.66.4";

/// Where a frame of a segmentation belongs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SegmentFrame {
    /// Number of its segment.
    pub segment: u16,
    /// The image that it was drawn on, by SOP instance.
    pub instance_uid: Option<String>,
    /// Number of the frame in that image, from 1.
    pub referenced_frame: Option<usize>,
    /// Position in its stack, from 1.
    pub in_stack: Option<usize>,
    /// Centre of its first pixel, mm (LPS).
    pub position_mm: Option<[f64; 3]>,
}

/// A DICOM segmentation whose header was read.
pub struct Segmentation {
    path: PathBuf,
    parsed: Parsed,
    columns: u32,
    rows: u32,
    labels: BTreeMap<u16, String>,
    frames: Vec<SegmentFrame>,
    /// Byte from which on a fractional pixel is inside; `None` for binary ones.
    threshold: Option<u8>,
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
        if set.text(tags::SOP_CLASS).as_deref() != Some(SEGMENTATION_CLASS) {
            let cause = "it is a DICOM file, but no segmentation";
            return Err(CodecError::unsupported(path, cause, "open images as clips instead"));
        }
        let side = |tag| set.word(tag).map(u32::from).unwrap_or(0);
        let (columns, rows) = (side(tags::COLUMNS), side(tags::ROWS));
        let frames: Vec<SegmentFrame> =
            set.items(tags::PER_FRAME_GROUPS).iter().map(|item| frame_of(item, set)).collect();
        check_size(path, columns, rows, frames.len())?;
        let threshold = match set.text(tags::SEGMENTATION_TYPE).as_deref() {
            Some("BINARY") | None => None,
            Some("FRACTIONAL") => {
                let most = set.word(tags::MAXIMUM_FRACTION).unwrap_or(255).clamp(1, 255);
                Some(most.div_ceil(2) as u8)
            }
            Some(_) => {
                let cause = "its segments are stored as a map of labels";
                return Err(CodecError::unsupported(path, cause, "save it as binary"));
            }
        };
        let Some(Pixels::Native { offset, length, .. }) = parsed.walked.pixels else {
            let cause = format!("its pixels are compressed as {}", syntax_name(&parsed.syntax));
            return Err(CodecError::unsupported(path, cause, "decompress it first"));
        };
        let pixels = u64::from(columns) * u64::from(rows) * frames.len() as u64;
        let needed = if threshold.is_some() { pixels } else { pixels.div_ceil(8) };
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
        Ok(Self { path, columns, rows, labels, frames, threshold, offset, parsed })
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

    /// Which pixels of a frame are inside, row by row. Of fractional ones those of at least half.
    ///
    /// # Errors
    /// When the file cannot be read (any more).
    pub fn pixels(&self, frame: usize) -> Result<Vec<bool>, CodecError> {
        let count = self.columns as usize * self.rows as usize;
        let unreadable = |e| CodecError::unreadable(&self.path, e);
        let input = &self.parsed.input;
        let first = frame as u64 * count as u64;
        if let Some(threshold) = self.threshold {
            let bytes = input.bytes_at(self.offset + first, count).map_err(unreadable)?;
            return Ok(bytes.iter().map(|&byte| byte >= threshold).collect());
        }
        // One bit a pixel, lowest first, without a gap between frames (PS3.5, 8.2 and annex D).
        let skip = (first % 8) as usize;
        let length = (skip + count).div_ceil(8);
        let bytes = input.bytes_at(self.offset + first / 8, length).map_err(unreadable)?;
        Ok((skip..skip + count).map(|i| bytes[i / 8] >> (i % 8) & 1 == 1).collect())
    }
}

fn frame_of(item: &DataSet, set: &DataSet) -> SegmentFrame {
    let first = |tag| item.items(tag).first().or_else(|| shared(set, tag));
    let source = first(tags::DERIVATION).and_then(|d| d.items(tags::SOURCE_IMAGES).first());
    let number = |text: String| text.split('\\').next()?.trim().parse().ok();
    let position = first(tags::PLANE_POSITION).map(|p| p.decimals(tags::POSITION));
    SegmentFrame {
        segment: first(tags::SEGMENT_ID)
            .and_then(|id| id.word(tags::REFERENCED_SEGMENT))
            .unwrap_or(1),
        instance_uid: source.and_then(|s| s.text(tags::REFERENCED_INSTANCE)),
        referenced_frame: source.and_then(|s| s.text(tags::REFERENCED_FRAME)).and_then(number),
        in_stack: first(tags::FRAME_CONTENT)
            .and_then(|content| content.long(tags::IN_STACK))
            .map(|n| n as usize),
        position_mm: position.and_then(|p| p.try_into().ok()),
    }
}

/// The macro that all frames share.
fn shared(set: &DataSet, tag: tags::Tag) -> Option<&DataSet> {
    set.items(tags::SHARED_GROUPS).first()?.items(tag).first()
}
