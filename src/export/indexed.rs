//! PNG images whose pixels are numbers of structures.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use ::png::{
    BitDepth, ColorType, Compression, Decoder, Encoder, EncodingError, Limits, Transformations,
};

use super::ExportError;
use super::colours::colour;
use super::identity::clip_in;
use super::read::ReadError;
use crate::codec;

/// Bytes that an image may take when it is decoded.
const MAX_IMAGE_BYTES: usize = 1 << 30;
/// The keyword of the text that says which program wrote an image (PNG, 11.3.3.2).
const MARK: &str = "Software";

/// Numbers up to 255 as an indexed PNG with the colours of PASCAL VOC.
pub(super) fn encode(
    path: &Path,
    (width, height): (u32, u32),
    numbers: &[u16],
) -> Result<Vec<u8>, ExportError> {
    let palette = (0..256).flat_map(colour).collect();
    encode_with(path, (width, height), numbers, Some(palette))
}

/// Numbers up to 255 as a gray PNG.
pub(super) fn encode_gray(
    path: &Path,
    size: (u32, u32),
    numbers: &[u16],
) -> Result<Vec<u8>, ExportError> {
    encode_with(path, size, numbers, None)
}

fn encode_with(
    path: &Path,
    (width, height): (u32, u32),
    numbers: &[u16],
    palette: Option<Vec<u8>>,
) -> Result<Vec<u8>, ExportError> {
    let indices: Vec<u8> = numbers.iter().map(|&n| u8::try_from(n).unwrap_or(0)).collect();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_depth(BitDepth::Eight);
    match palette {
        Some(palette) => {
            encoder.set_color(ColorType::Indexed);
            encoder.set_palette(palette);
        }
        None => encoder.set_color(ColorType::Grayscale),
    }
    finish(encoder, &indices).map_err(|e| ExportError::encode(path, e))?;
    Ok(bytes)
}

/// Gray values as a PNG whose comment says what it is of ([`clips`]).
pub(super) fn encode_mask(
    path: &Path,
    (width, height): (u32, u32),
    pixels: &[u8],
    about: &str,
) -> Result<Vec<u8>, ExportError> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_compression(Compression::Fast);
    let text = encoder.add_text_chunk(MARK.to_owned(), about.to_owned());
    let done = text.and_then(|()| finish(encoder, pixels));
    done.map_err(|e| ExportError::encode(path, e))?;
    Ok(bytes)
}

fn finish(encoder: Encoder<&mut Vec<u8>>, pixels: &[u8]) -> Result<(), EncodingError> {
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()
}

/// The clips that masks name which this program exported with its mark in them; `None` where one
/// has no such mark, or cannot be read.
pub(super) fn clips<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Option<BTreeSet<String>> {
    let marks: Option<Vec<String>> = files.into_iter().map(|file| mark(file)).collect();
    Some(marks?.iter().filter_map(|mark| clip_in(mark)).collect())
}

/// Whether a file is a mask that this program made.
#[must_use]
pub fn is_own_mask(path: &Path) -> bool {
    mark(path).is_some()
}

/// The comment that this program left in a mask.
fn mark(path: &Path) -> Option<String> {
    let bytes = codec::read_file(path).ok()?;
    let limits = Limits { bytes: MAX_IMAGE_BYTES };
    let reader = Decoder::new_with_limits(Cursor::new(bytes), limits).read_info().ok()?;
    let mut texts = reader.info().uncompressed_latin1_text.iter();
    let ours = texts.find(|text| text.keyword == MARK && text.text.starts_with("sonomark"));
    ours.map(|text| text.text.clone())
}

/// A PNG of numbers.
pub(super) struct Numbers {
    /// One for every pixel, row by row. Colours are packed as 0xRRGGBB.
    pub(super) numbers: Vec<u32>,
    /// True when the numbers are colours.
    pub(super) coloured: bool,
}

/// Reads indexed, gray (1 to 16 bits) and colour PNGs of the size of the clip.
pub(super) fn decode(path: &Path, size: (u32, u32)) -> Result<Numbers, ReadError> {
    decode_bytes(path, &codec::read_file(path)?, size)
}

/// The same for bytes that lie inside the file `path`.
pub(super) fn decode_bytes(
    path: &Path,
    bytes: &[u8],
    size: (u32, u32),
) -> Result<Numbers, ReadError> {
    let malformed = |e: ::png::DecodingError| ReadError::malformed(path, e);
    let limits = Limits { bytes: MAX_IMAGE_BYTES };
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(Transformations::IDENTITY);
    decoder.set_ignore_text_chunk(true);
    let mut reader = decoder.read_info().map_err(malformed)?;
    let (width, height) = reader.info().size();
    if (width, height) != size {
        let cause = format!("it is {width} x {height}, not {} x {}", size.0, size.1);
        return Err(ReadError::other_clip(path, cause));
    }
    let length = reader.output_buffer_size().filter(|&length| length <= MAX_IMAGE_BYTES);
    let length = length.ok_or_else(|| ReadError::malformed(path, "it is too large"))?;
    let mut pixels = vec![0; length];
    let frame = reader.next_frame(&mut pixels).map_err(malformed)?;
    pixels.truncate(frame.buffer_size());
    let channels = frame.color_type.samples();
    let rows = pixels.chunks_exact(frame.line_size).map(|row| {
        let samples = samples(row, frame.bit_depth, width as usize * channels);
        samples.chunks_exact(channels).map(|p| packed(p, frame.color_type)).collect::<Vec<u32>>()
    });
    let coloured = matches!(frame.color_type, ColorType::Rgb | ColorType::Rgba);
    Ok(Numbers { numbers: rows.flatten().collect(), coloured })
}

/// The first `count` samples of a row; of 16-bit colours the high bytes.
fn samples(row: &[u8], depth: BitDepth, count: usize) -> Vec<u32> {
    match depth {
        BitDepth::Sixteen => row
            .chunks_exact(2)
            .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
            .collect(),
        BitDepth::Eight => row.iter().map(|&b| u32::from(b)).collect(),
        _ => {
            let bits = depth as usize;
            let mask = (1u32 << bits) - 1;
            let one = |i: usize| {
                let shift = 8 - bits - i * bits % 8;
                u32::from(row[i * bits / 8]) >> shift & mask
            };
            (0..count).map(one).collect()
        }
    }
}

fn packed(pixel: &[u32], colour: ColorType) -> u32 {
    match (colour, pixel) {
        (ColorType::Rgb | ColorType::Rgba, [r, g, b, ..]) => {
            let byte = |v: u32| if v > 255 { v >> 8 } else { v };
            byte(*r) << 16 | byte(*g) << 8 | byte(*b)
        }
        (_, [first, ..]) => *first,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shallow_samples_are_unpacked_high_bits_first() {
        assert_eq!(samples(&[0b1100_0101], BitDepth::One, 7), [1, 1, 0, 0, 0, 1, 0]);
        assert_eq!(samples(&[0b1101_0010, 0b0100_0000], BitDepth::Two, 5), [3, 1, 0, 2, 1]);
        assert_eq!(samples(&[0x1f, 0x70], BitDepth::Four, 3), [1, 15, 7]);
    }
}
