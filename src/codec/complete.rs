//! Structural completeness without decoding: trailers are present and declared lengths fit.
//!
//! This is what a watch folder asks of a file that stopped growing (a copy may have died half
//! way), and what opening asks of a JPEG, whose decoders paint missing rows gray without a word.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::CodecError;
use super::limits::{open_regular, read_file};
use super::webp::Animation;

/// Why a structure is not complete.
pub(super) type Incomplete = String;

/// Checks an image file of any of the five formats.
pub(super) fn image(path: &Path, bytes: &[u8]) -> Result<(), CodecError> {
    let result = match bytes {
        [0xff, 0xd8, ..] => jpeg(bytes).map(|_| ()),
        [0x89, b'P', b'N', b'G', ..] => png(bytes),
        [b'B', b'M', ..] => bmp(bytes),
        [b'R', b'I', b'F', b'F', l0, l1, l2, l3, ..] => {
            let declared = u64::from(u32::from_le_bytes([*l0, *l1, *l2, *l3])) + 8;
            // An animation may declare nothing, and be cut off all the same.
            fits(declared, bytes.len() as u64).and_then(|()| Animation::of(bytes).map(|_| ()))
        }
        _ => Ok(()), // TIFF: offsets point anywhere, its decoder reads them all.
    };
    result.map_err(|cause| CodecError::damaged(path, cause))
}

fn png(bytes: &[u8]) -> Result<(), Incomplete> {
    let mut at = 8;
    loop {
        let Some(head) = bytes.get(at..at + 8) else {
            return Err("its end chunk is missing".into());
        };
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        at = at.saturating_add(length).saturating_add(12);
        if at > bytes.len() {
            return Err("a chunk reaches beyond its end".into());
        }
        if &head[4..8] == b"IEND" {
            return Ok(());
        }
    }
}

fn bmp(bytes: &[u8]) -> Result<(), Incomplete> {
    let declared =
        bytes.get(2..6).map_or(u32::MAX, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    if declared as usize > bytes.len() {
        return Err(format!("it declares {declared} bytes and has {}", bytes.len()));
    }
    Ok(())
}

/// What a JPEG's frame header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JpegHeader {
    /// Bits per sample.
    pub(super) precision: u8,
    /// Columns.
    pub(super) width: u16,
    /// Rows.
    pub(super) height: u16,
    /// Colour components.
    pub(super) components: u8,
    /// Start-of-frame number: 0 baseline, 1 extended, 2 progressive, 3 lossless.
    pub(super) process: u8,
}

/// Walks the markers of a JPEG to its end marker and gives its frame header.
pub(super) fn jpeg(bytes: &[u8]) -> Result<JpegHeader, Incomplete> {
    let mut header = None;
    match jpeg_segments(bytes, |found| {
        header = header.or(Some(found));
        true
    }) {
        Some(()) => header.ok_or_else(|| "it has no frame header".to_owned()),
        None => Err("its end marker is missing".to_owned()),
    }
}

/// The frame header in the first bytes of a JPEG, or `None` when it lies further on.
pub(super) fn jpeg_header(first_bytes: &[u8]) -> Option<JpegHeader> {
    let mut header = None;
    let _ = jpeg_segments(first_bytes, |found| {
        header = Some(found);
        false
    });
    header
}

/// Goes through the segments up to the end marker (`None` when it is missing), or until `header`,
/// which is shown every frame header, says that it has seen enough.
fn jpeg_segments(bytes: &[u8], mut header: impl FnMut(JpegHeader) -> bool) -> Option<()> {
    let mut at = 2usize;
    loop {
        // Entropy-coded data and fill bytes are skipped up to the next marker.
        at += next_marker(bytes.get(at..)?)?;
        let marker = bytes[at + 1];
        match marker {
            0xd9 => return Some(()),
            0x01 | 0xd0..=0xd8 => at += 2,
            _ => {
                let length = bytes.get(at + 2..at + 4)?;
                let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                let segment = bytes.get(at + 4..at + 2 + length)?;
                let is_frame =
                    matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
                if is_frame && !frame_header(marker, segment).is_none_or(&mut header) {
                    return None;
                }
                at += 2 + length;
            }
        }
    }
}

fn next_marker(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xff))
}

fn frame_header(marker: u8, segment: &[u8]) -> Option<JpegHeader> {
    let &[precision, h1, h0, w1, w0, components, ..] = segment else {
        return None;
    };
    Some(JpegHeader {
        precision,
        width: u16::from_be_bytes([w1, w0]),
        height: u16::from_be_bytes([h1, h0]),
        components,
        process: marker - 0xc0,
    })
}

/// Checks the outer structure of MP4/MOV, Matroska/WebM, AVI and animated PNG. Other containers are
/// streams that may end anywhere: they pass.
pub(super) fn video(path: &Path) -> Result<(), CodecError> {
    let file = open_regular(path)?;
    let size = file.metadata().map_err(|e| CodecError::unreadable(path, e))?.len();
    let mut reader = BufReader::new(file);
    let mut head = [0u8; 12];
    if reader.read_exact(&mut head).is_err() {
        return Err(CodecError::damaged(path, "it is shorter than any video"));
    }
    let verdict = match &head {
        [_, _, _, _, b'f', b't', b'y', b'p', ..]
        | [_, _, _, _, b'm', b'o', b'o', b'v', ..]
        | [_, _, _, _, b'm', b'd', b'a', b't', ..] => boxes(&mut reader, size),
        [b'R', b'I', b'F', b'F', l0, l1, l2, l3, ..] => {
            let declared = u64::from(u32::from_le_bytes([*l0, *l1, *l2, *l3])) + 8;
            fits(declared, size)
        }
        [0x1a, 0x45, 0xdf, 0xa3, ..] => matroska(&mut reader, size),
        [0x89, b'P', b'N', b'G', ..] => return image(path, &read_file(path)?),
        _ => Ok(()),
    };
    verdict.map_err(|cause| CodecError::damaged(path, cause))
}

fn fits(end: u64, size: u64) -> Result<(), Incomplete> {
    if end > size { Err(format!("it declares {end} bytes and has {size}")) } else { Ok(()) }
}

/// Top-level boxes of ISO base media: all fit, and the index (`moov`) is there.
fn boxes(reader: &mut BufReader<File>, size: u64) -> Result<(), Incomplete> {
    let (mut at, mut index_found) = (0u64, false);
    while at + 8 <= size {
        let mut head = [0u8; 16];
        reader.seek(SeekFrom::Start(at)).map_err(|e| e.to_string())?;
        let wanted = 16.min((size - at) as usize);
        reader.read_exact(&mut head[..wanted]).map_err(|e| e.to_string())?;
        let short = u64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
        let mut large = [0u8; 8];
        large.copy_from_slice(&head[8..16]);
        let length = match short {
            0 => size - at,
            1 => u64::from_be_bytes(large),
            other => other,
        };
        if length < 8 {
            return Err("a box is shorter than its own header".into());
        }
        index_found |= &head[4..8] == b"moov";
        at = at.checked_add(length).ok_or("a box reaches beyond its end")?;
        fits(at, size)?;
    }
    if index_found { Ok(()) } else { Err("its index (moov) is missing".into()) }
}

/// EBML header and segment: a segment of known size must fit.
fn matroska(reader: &mut BufReader<File>, size: u64) -> Result<(), Incomplete> {
    let mut head = Vec::with_capacity(256);
    reader.seek(SeekFrom::Start(0)).map_err(|e| e.to_string())?;
    reader.take(256).read_to_end(&mut head).map_err(|e| e.to_string())?;
    let (header_length, used) = ebml_size(&head[4..]).ok_or("its header is cut off")?;
    let segment = 4 + used + header_length.unwrap_or(0) as usize;
    if head.get(segment..segment + 4) != Some(&[0x18, 0x53, 0x80, 0x67]) {
        return Err("its segment is missing".into());
    }
    let (length, used) = ebml_size(&head[segment + 4..]).ok_or("its segment is cut off")?;
    length.map_or(Ok(()), |length| fits((segment + 4 + used) as u64 + length, size))
}

/// An EBML length (`None` when unknown) and the bytes it takes.
fn ebml_size(bytes: &[u8]) -> Option<(Option<u64>, usize)> {
    let first = *bytes.first()?;
    let used = first.leading_zeros() as usize + 1;
    if used > 8 || bytes.len() < used {
        return None;
    }
    let marker = 1u64 << (7 * used);
    let raw = bytes[..used].iter().fold(0u64, |all, &b| (all << 8) | u64::from(b));
    let value = raw & (marker - 1);
    Some(((value != marker - 1).then_some(value), used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ebml_lengths() {
        assert_eq!(ebml_size(&[0x9f]), Some((Some(31), 1)));
        assert_eq!(ebml_size(&[0x40, 0x02]), Some((Some(2), 2)));
        assert_eq!(ebml_size(&[0xff]), Some((None, 1)));
        assert_eq!(ebml_size(&[0x00]), None);
    }

    #[test]
    fn a_jpeg_without_its_end_is_incomplete() {
        let sof = [0xff, 0xc0, 0, 11, 8, 0, 2, 0, 3, 1, 1, 0x11, 0];
        let mut bytes = vec![0xff, 0xd8];
        bytes.extend(sof);
        bytes.extend([0xff, 0xda, 0, 3, 0, 0x12, 0xff, 0x00, 0x34, 0xff, 0xd0, 0x56]);
        assert!(jpeg(&bytes).is_err());
        bytes.extend([0xff, 0xd9]);
        let header = JpegHeader { precision: 8, width: 3, height: 2, components: 1, process: 0 };
        assert_eq!(jpeg(&bytes), Ok(header));
        assert_eq!(jpeg_header(&bytes[..20]), Some(header));
        assert_eq!(jpeg_header(&bytes[..10]), None);
    }
}
