//! JPEG-LS frames (PS3.5 8.2.3), decoded by the own decoder in a process with limits.
//!
//! What their samples mean is what the file's header says: the standard knows no colours, and what an encoder
//! transformed is taken back.

use std::path::Path;

use super::frames::Shape;
use crate::codec::CodecError;
use crate::codec::cage::Cage;
use crate::codec::decoder::{Pixels, Want};
use crate::codec::jpeg_ls::{Header, JpegLsError};

/// The samples of a frame: pixel by pixel, 16-bit samples in this machine's order.
pub(super) fn decode(
    path: &Path,
    frame: &[u8],
    shape: &Shape,
    index: usize,
    cage: &Cage,
) -> Result<Vec<u8>, CodecError> {
    let number = index + 1;
    let of_frame = |cause: String| CodecError::damaged(path, format!("frame {number}: {cause}"));
    // Before a decoder allocates for it.
    let header = Header::of(frame).map_err(|error| match error {
        JpegLsError::Damaged(why) => of_frame(why),
        JpegLsError::Unsupported(why) => {
            let advice = "decompress it first, for example with \"gdcmconv --raw IN OUT\"";
            CodecError::unsupported(path, format!("frame {number} is {why}"), advice)
        }
    })?;
    let fits = (u32::from(header.columns), u32::from(header.rows)) == (shape.columns, shape.rows)
        && header.components() == shape.samples_per_pixel()
        && u16::from(header.precision) <= shape.bits_allocated;
    if !fits {
        return Err(of_frame("it has another size or depth than the file declares".to_owned()));
    }
    let width = if header.precision > 8 { 2 } else { 1 };
    let wanted = shape.pixels() * shape.samples_per_pixel() * width;
    match cage.decode(path, Want::JpegLs, frame, wanted as u64)?.pixels {
        Pixels::Eight(samples) if samples.len() == wanted && width == shape.sample_bytes() => {
            Ok(samples)
        }
        // Few bits in the place of many.
        Pixels::Eight(samples) if samples.len() == wanted => {
            Ok(samples.iter().flat_map(|&value| u16::from(value).to_ne_bytes()).collect())
        }
        _ => Err(of_frame("it has too few pixels".to_owned())),
    }
}
