//! Hands one JPEG frame to dicom-rs, in a process with limits, as a DICOM object of our own making.
//!
//! dicom-rs never sees a byte of the file's header, only this well-formed capsule with sizes that
//! were checked, so its codecs are used and its parser is not exposed.

use std::path::Path;

use super::frames::Shape;
use crate::codec::CodecError;
use crate::codec::cage::Cage;
use crate::codec::decoder::{Pixels, Want};

/// The samples of the JPEG frame `jpeg`: pixel by pixel, 16-bit samples in this machine's order.
pub(super) fn decode(
    path: &Path,
    jpeg: &[u8],
    shape: &Shape,
    syntax: &str,
    cage: &Cage,
) -> Result<Vec<u8>, CodecError> {
    let bytes = write(jpeg, shape, syntax);
    let wanted = shape.pixels() * shape.samples_per_pixel() * shape.sample_bytes();
    match cage.decode(path, Want::Samples, &bytes, wanted as u64)?.pixels {
        Pixels::Eight(samples) if samples.len() == wanted => Ok(samples),
        _ => Err(CodecError::damaged(path, "one of its JPEG frames has too few pixels")),
    }
}

fn write(jpeg: &[u8], shape: &Shape, syntax: &str) -> Vec<u8> {
    let mut meta = Vec::new();
    long(&mut meta, 0x0002_0001, *b"OB", &[0, 1]);
    short(&mut meta, 0x0002_0002, *b"UI", b"1.2.840.10008.5.1.4.1.1.6.1");
    short(&mut meta, 0x0002_0003, *b"UI", b"2.25.1");
    short(&mut meta, 0x0002_0010, *b"UI", syntax.as_bytes());
    short(&mut meta, 0x0002_0012, *b"UI", b"2.25.2");
    let mut out = vec![0; 128];
    out.extend(b"DICM");
    short(&mut out, 0x0002_0000, *b"UL", &(meta.len() as u32).to_le_bytes());
    out.extend(meta);
    let colour = if shape.samples() == 3 { "YBR_FULL" } else { "MONOCHROME2" };
    let word =
        |out: &mut Vec<u8>, tag: u32, value: u16| short(out, tag, *b"US", &value.to_le_bytes());
    word(&mut out, 0x0028_0002, shape.samples());
    short(&mut out, 0x0028_0004, *b"CS", colour.as_bytes());
    word(&mut out, 0x0028_0006, 0);
    short(&mut out, 0x0028_0008, *b"IS", b"1");
    word(&mut out, 0x0028_0010, shape.rows as u16);
    word(&mut out, 0x0028_0011, shape.columns as u16);
    word(&mut out, 0x0028_0100, shape.bits_allocated);
    word(&mut out, 0x0028_0101, shape.bits_allocated);
    word(&mut out, 0x0028_0102, shape.bits_allocated - 1);
    word(&mut out, 0x0028_0103, 0);
    out.extend([0xe0, 0x7f, 0x10, 0x00, b'O', b'B', 0, 0, 0xff, 0xff, 0xff, 0xff]);
    out.extend([0xfe, 0xff, 0x00, 0xe0, 0, 0, 0, 0]);
    out.extend([0xfe, 0xff, 0x00, 0xe0]);
    out.extend((jpeg.len().next_multiple_of(2) as u32).to_le_bytes());
    out.extend(jpeg);
    if jpeg.len() % 2 == 1 {
        out.push(0);
    }
    out.extend([0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0]);
    out
}

fn tag_bytes(tag: u32) -> [u8; 4] {
    let ([g0, g1], [e0, e1]) = (((tag >> 16) as u16).to_le_bytes(), (tag as u16).to_le_bytes());
    [g0, g1, e0, e1]
}

/// An element of even length with a 16-bit length field.
fn short(out: &mut Vec<u8>, tag: u32, vr: [u8; 2], value: &[u8]) {
    let pad: &[u8] = match (value.len() % 2, &vr) {
        (0, _) => &[],
        (_, b"UI") => &[0],
        _ => b" ",
    };
    out.extend(tag_bytes(tag));
    out.extend(vr);
    out.extend(((value.len() + pad.len()) as u16).to_le_bytes());
    out.extend(value);
    out.extend(pad);
}

/// An element of even length with a 32-bit length field.
fn long(out: &mut Vec<u8>, tag: u32, vr: [u8; 2], value: &[u8]) {
    out.extend(tag_bytes(tag));
    out.extend(vr);
    out.extend([0, 0]);
    out.extend((value.len() as u32).to_le_bytes());
    out.extend(value);
}
