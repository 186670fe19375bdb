//! Whether a PNG is an animation.

use std::io::{Read, Seek, SeekFrom};

/// Chunks that are looked at before the first pixels.
const MAX_CHUNKS: usize = 4096;

/// Whether a PNG has more than one frame: an `acTL` chunk before its first pixels says how many.
pub(super) fn is_animated(mut file: impl Read + Seek) -> bool {
    let mut head = [0u8; 8];
    if file.read_exact(&mut head).is_err() || &head != b"\x89PNG\r\n\x1a\n" {
        return false;
    }
    for _ in 0..MAX_CHUNKS {
        if file.read_exact(&mut head).is_err() {
            return false;
        }
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        match &head[4..] {
            b"acTL" => {
                let mut frames = [0u8; 4];
                return file.read_exact(&mut frames).is_ok() && u32::from_be_bytes(frames) > 1;
            }
            b"IDAT" | b"IEND" => return false,
            // With its check sum.
            _ if file.seek(SeekFrom::Current(i64::from(length) + 4)).is_err() => return false,
            _ => {}
        }
    }
    false
}
