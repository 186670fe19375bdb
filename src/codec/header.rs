//! What the headers of images tell: their sizes, and how they are stored.

use std::io::Read;
use std::path::Path;

use super::limits::{open_regular, read_file};
use super::pages::{Page, Tiff};
use super::{CodecError, complete, sniff, tiff, webp};

/// First bytes of an image in which its size is looked for.
const HEAD_BYTES: usize = 4 << 10;
/// How a JPEG begins.
const JPEG: [u8; 2] = [0xff, 0xd8];
/// Bytes of the headers of BMP, as its kinds with numbers of 32 bits have them, up to the longest of OS/2.
const BMP_HEADERS: [i32; 3] = [40, 52, 56];
/// How a PNG begins.
const PNG: &[u8; 4] = b"\x89PNG";
/// What EXIF data follow in a JPEG, and in a PNG.
const EXIF_IN_JPEG: &[u8] = b"Exif\0\0";
const EXIF_IN_PNG: &[u8] = b"eXIf";

/// What the header of an image tells.
pub(super) struct Header {
    /// Columns and rows.
    pub(super) size: (u32, u32),
    /// Its pixels are compressed with loss.
    pub(super) lossy: bool,
    /// It says that it is to be turned.
    pub(super) turned: bool,
}

/// The first bytes of a file.
pub(super) fn head(path: &Path) -> Result<Vec<u8>, CodecError> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    let mut file = open_regular(path)?.take(HEAD_BYTES as u64);
    file.read_to_end(&mut head).map_err(|e| CodecError::unreadable(path, e))?;
    Ok(head)
}

/// The header of an image, of a TIFF that of its first page, which is read here and not by a decoder.
pub(super) fn header(path: &Path) -> Result<Header, CodecError> {
    let page = Tiff::of(path).and_then(|tiff| tiff.map(|tiff| Ok(tiff.pages()?[0])).transpose());
    // DICOM may begin like a TIFF.
    let page = page.map_err(|why| match sniff::kind_of(path) {
        Ok(sniff::Kind::Image) => why,
        _ => no_size(path),
    });
    if let Some(Page { size, lossy, turned, .. }) = page? {
        return Ok(Header { size, lossy, turned });
    }
    let head = head(path)?;
    let big =
        |at: usize| head.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    let found = if head.starts_with(PNG) && head.get(12..16) == Some(b"IHDR") {
        big(16).zip(big(20))
    } else if head.starts_with(&JPEG) {
        // A header may lie behind a long preview.
        let header = match complete::jpeg_header(&head) {
            None => complete::jpeg_header(&read_file(path)?),
            found => found,
        };
        header.map(|header| (header.width.into(), header.height.into()))
    } else if head.starts_with(b"BM") {
        bmp_size(path, &head)?
    } else if webp::is_webp(&head) {
        webp::size_of(&head)
    } else {
        None
    };
    let size = found.ok_or_else(|| no_size(path))?;
    let lossy = head.starts_with(&JPEG) || webp::is_lossy(&head);
    Ok(Header { size, lossy, turned: is_turned(&head) })
}

/// Whether the EXIF data in the first bytes of a JPEG or PNG say that it is to be turned.
fn is_turned(head: &[u8]) -> bool {
    let before = if head.starts_with(&JPEG) {
        EXIF_IN_JPEG
    } else if head.starts_with(PNG) {
        EXIF_IN_PNG
    } else {
        return false;
    };
    let at = head.windows(before.len()).position(|bytes| bytes == before);
    at.is_some_and(|at| tiff::is_turned(&head[at + before.len()..]))
}

/// Why a file that is called an image has no size: other things may be called so.
fn no_size(path: &Path) -> CodecError {
    match sniff::kind_of(path) {
        Ok(sniff::Kind::Image) => CodecError::damaged(path, "its header tells no size"),
        Ok(_) => {
            let cause = "it is a clip of another kind than its name says";
            let advice = "open it alone, or take it out of the folder of images";
            CodecError::unsupported(path, cause, advice)
        }
        Err(why) => why,
    }
}

/// Columns and rows of a BMP.
fn bmp_size(path: &Path, head: &[u8]) -> Result<Option<(u32, u32)>, CodecError> {
    let long =
        |at: usize| head.get(at..at + 4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let short = |at: usize| head.get(at..at + 2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    Ok(match long(14) {
        // The first one, of OS/2 and Windows 2, has numbers of 16 bits.
        Some(12) => short(18).zip(short(20)).map(|(w, h)| (w.into(), h.into())),
        Some(bytes @ 16..=64) if !BMP_HEADERS.contains(&bytes) => {
            let cause = format!("it is a BMP of OS/2 2, with a header of {bytes} bytes");
            return Err(CodecError::unsupported(path, cause, "save it as PNG"));
        }
        // Rows from the top down have a negative height.
        _ => long(18).zip(long(22)).map(|(w, h)| (w.unsigned_abs(), h.unsigned_abs())),
    })
}
