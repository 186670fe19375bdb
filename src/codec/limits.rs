//! What no file may exceed, and the guards that hold it to that.
//!
//! The limits are checked on declared values before anything is allocated for them; decoders of
//! other people run behind [`guarded`], because many image decoders panic on hostile bytes.

use std::fs::File;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::{CodecError, watched};

/// Longest side of a frame, px.
pub(super) const MAX_SIDE_PX: u32 = 16_384;
/// Frames of a clip.
pub(crate) const MAX_FRAMES: usize = 100_000;
/// Bytes of a file that is read as a whole.
pub(crate) const MAX_FILE_BYTES: u64 = 1 << 30;
/// Bytes a still-image decoder may allocate.
pub(super) const MAX_DECODE_BYTES: u64 = 1 << 30;

/// Opens a regular file for reading. Pipes and devices, which could block for ever, are refused, and links in the folder
/// that is watched.
pub(super) fn open_regular(path: &Path) -> Result<File, CodecError> {
    let file = watched::open(path).map_err(|e| CodecError::unreadable(path, e))?;
    let meta = file.metadata().map_err(|e| CodecError::unreadable(path, e))?;
    if !meta.is_file() {
        let cause = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
        return Err(CodecError::unreadable(path, cause));
    }
    Ok(file)
}

/// The bytes of a file that is read as a whole.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::new();
    let mut file = open_regular(path)?.take(MAX_FILE_BYTES + 1);
    file.read_to_end(&mut bytes).map_err(|e| CodecError::unreadable(path, e))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(CodecError::too_large(path, "it has more than 1 GiB"));
    }
    Ok(bytes)
}

/// Checks a declared frame size and count.
pub(super) fn check_size(
    path: &Path,
    width: u32,
    height: u32,
    frames: usize,
) -> Result<(), CodecError> {
    if width == 0 || height == 0 || frames == 0 {
        let cause = format!("it declares {frames} frames of {width} x {height} pixels");
        return Err(CodecError::damaged(path, cause));
    }
    if width > MAX_SIDE_PX || height > MAX_SIDE_PX {
        let cause = format!("its frames are {width} x {height} pixels, the limit is {MAX_SIDE_PX}");
        return Err(CodecError::too_large(path, cause));
    }
    if frames > MAX_FRAMES {
        let cause = format!("it has {frames} frames, the limit is {MAX_FRAMES}");
        return Err(CodecError::too_large(path, cause));
    }
    Ok(())
}

/// Runs a foreign decoder; its panic becomes an error of the file.
pub(super) fn guarded<T>(
    path: &Path,
    decode: impl FnOnce() -> Result<T, CodecError>,
) -> Result<T, CodecError> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_| Err(CodecError::damaged(path, "its decoder gave up on the content")))
}
