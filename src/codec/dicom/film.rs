//! Video in DICOM (MPEG-2, H.264, H.265): the fragments of the pixel data, put together, are one
//! file of the usual kinds, which goes to ffmpeg as any other video does.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::frames::{Shape, syntax_name};
use super::reader::Pixels;
use super::{Parsed, clip_info, origin, privacy};
use crate::codec::video::{self, Reel};
use crate::codec::{CodecError, Opened};
use crate::domain::{ClipInfo, counted};

/// Bytes that are copied at once.
const PIECE: usize = 1 << 20;

/// ffmpeg's names of the compressions that video in DICOM may have (PS3.5, 8.2.5 to 8.2.8); which of them, files get wrong.
const CODECS: [&str; 4] = ["mpeg1video", "mpeg2video", "h264", "hevc"];

/// Whether frames of this transfer syntax are one video.
pub(super) fn is_film(syntax: &str) -> bool {
    syntax_name(syntax).ends_with(" video")
}

/// Opens the video in a walked file.
pub(super) fn open(path: &Path, parsed: &Parsed, cache_bytes: usize) -> Result<Opened, CodecError> {
    let set = &parsed.walked.set;
    let shape = Shape::of(path, set, parsed.big)?;
    let reel = Reel::stream(path, extract(parsed, path)?);
    let (found, video) = video::open_reel(reel, cache_bytes)?;
    // ffmpeg guesses from the bytes: a lone JPEG is a video to it.
    if !CODECS.contains(&found.codec.as_str()) {
        let cause =
            format!("it declares {} and holds {}", syntax_name(&parsed.syntax), found.codec);
        return Err(CodecError::damaged(path, cause));
    }
    let (size, declared) = ((found.width_px, found.height_px), (shape.columns, shape.rows));
    if size != declared {
        let cause = format!("its video is {size:?} px and it declares {declared:?}");
        return Err(CodecError::damaged(path, cause));
    }
    // Some writers count a frame too few; a video that ends early is another matter.
    if found.frames < shape.frames {
        let cause =
            format!("it declares {} and holds {}", counted(shape.frames, "frame"), found.frames);
        return Err(CodecError::damaged(path, cause));
    }
    let mut shape = shape;
    shape.frames = found.frames;
    let mut info = clip_info(path, set, &shape, &[], &parsed.syntax)?;
    if info.frame_time_ms.is_none() {
        info =
            ClipInfo { frame_time_ms: found.frame_time_ms, frame_times_ms: found.times_ms, ..info };
    }
    let (origin, privacy) = (Some(origin(set)), privacy(set, &shape));
    Ok(Opened { origin, privacy, lossy: true, ..Opened::new(info, video) })
}

/// The fragments in a file without a name, which is gone with the last handle to it.
fn extract(parsed: &Parsed, path: &Path) -> Result<File, CodecError> {
    let fragments = match &parsed.walked.pixels {
        Some(Pixels::Fragments(all)) if all.len() > 1 => &all[1..],
        _ => return Err(CodecError::damaged(path, "it holds no video")),
    };
    let copy = || -> io::Result<File> {
        let mut file = tempfile::tempfile()?;
        for &(at, length) in fragments {
            let mut done = 0u64;
            while done < u64::from(length) {
                let piece = (u64::from(length) - done).min(PIECE as u64) as usize;
                file.write_all(&parsed.input.bytes_at(at + done, piece)?)?;
                done += piece as u64;
            }
        }
        Ok(file)
    };
    copy().map_err(|e| CodecError::unreadable(path, e))
}
