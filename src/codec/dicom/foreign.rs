//! JPEG 2000 of both kinds and JPEG of 12 bits, decoded frame by frame by ffmpeg in a child process
//! whose memory and time are limited.
//!
//! ffmpeg stretches samples of less than 16 bits over all 16, so the precision that the frame's
//! own header declares takes them back. The pixels are those of pydicom (tests/data).

use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;

use super::frames::Shape;
use crate::codec::CodecError;
use crate::codec::complete;
use crate::codec::error::{brief, name_of};
use crate::codec::tool::{self, Patient};

/// A way of compressing that ffmpeg reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Jpeg12,
    Jpeg2000,
    /// High-Throughput JPEG 2000 (part 15).
    HighThroughput,
}

/// What the frame's own header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    columns: u32,
    rows: u32,
    components: u16,
    precision: u32,
    signed: bool,
}

impl Kind {
    pub(super) fn of_syntax(uid: &str) -> Option<Self> {
        match uid {
            "1.2.840.10008.1.2.4.90" | "1.2.840.10008.1.2.4.91" => Some(Self::Jpeg2000),
            "1.2.840.10008.1.2.4.201" | "1.2.840.10008.1.2.4.202" | "1.2.840.10008.1.2.4.203" => {
                Some(Self::HighThroughput)
            }
            _ => None,
        }
    }

    fn demuxer(self) -> &'static str {
        match self {
            Self::Jpeg12 => "jpeg_pipe",
            Self::Jpeg2000 | Self::HighThroughput => "j2k_pipe",
        }
    }

    /// The decoder, where ffmpeg's own choice may be wrong: before 6.1 its own decoder of JPEG 2000
    /// makes noise of the High-Throughput kind, where OpenJPEG (from 2.5 on) reads it.
    fn decoder(self) -> &'static [&'static str] {
        match self {
            Self::HighThroughput => &["-c:v", "libopenjpeg"],
            _ => &[],
        }
    }

    fn header(self, frame: &[u8]) -> Option<Header> {
        match self {
            Self::Jpeg12 => complete::jpeg_header(frame).map(|jpeg| Header {
                columns: jpeg.width.into(),
                rows: jpeg.height.into(),
                components: jpeg.components.into(),
                precision: jpeg.precision.into(),
                signed: false,
            }),
            Self::Jpeg2000 | Self::HighThroughput => jpeg_2000(frame),
        }
    }
}

/// The size marker (SIZ) of a JPEG 2000 codestream, which comes first.
fn jpeg_2000(frame: &[u8]) -> Option<Header> {
    let long =
        |at: usize| frame.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    if frame.get(..4)? != [0xff, 0x4f, 0xff, 0x51] {
        return None;
    }
    let components = u16::from_be_bytes([*frame.get(40)?, *frame.get(41)?]);
    let depth = *frame.get(42)?;
    Some(Header {
        columns: long(8)?.checked_sub(long(16)?)?,
        rows: long(12)?.checked_sub(long(20)?)?,
        components,
        precision: u32::from(depth & 0x7f) + 1,
        signed: depth & 0x80 != 0,
    })
}

/// Whether a JPEG 2000 codestream says that it was made with the wavelets that lose (9-7), by the coding style (COD) in
/// its main header.
pub(super) fn loses(frame: &[u8]) -> bool {
    const CODING_STYLE: u16 = 0xff52;
    const FIRST_TILE: u16 = 0xff90;
    let word = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    let mut at = 2;
    while let (Some(marker), Some(length)) = (word(at), word(at + 2))
        && marker != FIRST_TILE
    {
        if marker == CODING_STYLE {
            return frame.get(at + 13) == Some(&0);
        }
        at += 2 + usize::from(length);
    }
    false
}

/// The samples of a frame: pixel by pixel, colours as RGB, 16-bit samples in this machine's order.
pub(super) fn decode(
    path: &Path,
    frame: &[u8],
    shape: &Shape,
    kind: Kind,
    index: usize,
) -> Result<Vec<u8>, CodecError> {
    let number = index + 1;
    let damaged = |cause: String| CodecError::damaged(path, cause);
    let header = kind
        .header(frame)
        .ok_or_else(|| damaged(format!("frame {number} has no header of its compression")))?;
    let fits = (header.columns, header.rows) == (shape.columns, shape.rows)
        && usize::from(header.components) == shape.samples_per_pixel()
        && (1..=u32::from(shape.bits_allocated)).contains(&header.precision);
    if !fits {
        let cause = format!("frame {number} has another size or depth than the file declares");
        return Err(damaged(cause));
    }
    if header.signed || (shape.bits_allocated == 16 && header.precision <= 8) {
        let cause = "its samples have a sign of their own, or fewer bits than their place";
        let advice = "decompress it first, for example with \"gdcmconv --raw IN OUT\"";
        return Err(CodecError::unsupported(path, cause, advice));
    }
    let format = match (shape.samples_per_pixel(), shape.bits_allocated) {
        (3, _) => "rgb24",
        (_, 8) => "gray",
        _ => "gray16le",
    };
    let wanted = shape.pixels() * shape.samples_per_pixel() * shape.sample_bytes();
    let mut bytes = run(path, frame, kind, format, wanted)?;
    if shape.bits_allocated == 16 {
        let shift = 16 - header.precision;
        for pair in bytes.chunks_exact_mut(2) {
            let value = u16::from_le_bytes([pair[0], pair[1]]) >> shift;
            pair.copy_from_slice(&value.to_ne_bytes());
        }
    }
    Ok(bytes)
}

fn run(
    path: &Path,
    frame: &[u8],
    kind: Kind,
    format: &str,
    wanted: usize,
) -> Result<Vec<u8>, CodecError> {
    let mut command = tool::limited("ffmpeg", tool::FRAME);
    command.args(["-v", "error", "-threads", "1", "-f", kind.demuxer()]);
    command.args(kind.decoder()).args(["-i", "pipe:0"]);
    command.args(["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", format, "pipe:1"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| tool::not_started(path, "ffmpeg", &e))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let mut bytes = Vec::with_capacity(wanted);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // It may have seen enough, or given up, before the end: what comes out tells.
            stdin.map(|mut pipe| pipe.write_all(frame))
        });
        let read = stdout.map(|pipe| Patient(pipe).take(wanted as u64 + 1).read_to_end(&mut bytes));
        if matches!(read, Some(Err(_))) {
            tool::end(&mut child);
        }
    });
    let said = child.wait_with_output().map(|output| output.stderr).unwrap_or_default();
    // What OpenJPEG only understands in part comes with a complaint.
    if bytes.len() == wanted && (kind != Kind::HighThroughput || said.is_empty()) {
        return Ok(bytes);
    }
    let said = String::from_utf8_lossy(&said);
    let cause = format!("a frame does not decode: {}", brief(&said));
    let advice = "decompress it first, for example with \"gdcmconv --raw IN OUT\"";
    Err(CodecError::Tool { name: name_of(path), tool: "ffmpeg", cause, advice })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_lies_are_none() {
        let deep = [0xff, 0xd8, 0xff, 0xc1, 0, 11, 12, 0, 50, 0, 10, 1, 1, 0x11, 0];
        let expected =
            Header { columns: 10, rows: 50, components: 1, precision: 12, signed: false };
        assert_eq!(Kind::Jpeg12.header(&deep), Some(expected));
        let mut j2k = vec![0xff, 0x4f, 0xff, 0x51, 0, 41, 0, 0];
        for number in [12u32, 52, 2, 2, 12, 52, 0, 0] {
            j2k.extend(number.to_be_bytes());
        }
        j2k.extend([0, 1, 0x8b]);
        assert_eq!(Kind::Jpeg2000.header(&j2k), Some(Header { signed: true, ..expected }));
        for kind in [Kind::Jpeg12, Kind::Jpeg2000] {
            for bytes in [&deep[..9], &j2k[..20], &[], &[0xff; 40]] {
                assert_eq!(kind.header(bytes), None);
            }
        }
    }
}
