//! What `image` does not take of the first page of a TIFF: palettes, gray of 2 and 4 bits, numbers with a fraction or a
//! sign, CIE L*a*b*. `pages.rs` makes a file of one page of every page.

use std::io::Cursor;
use std::ops::RangeInclusive;

use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::{ColorType, TiffError};

use super::decoder::{Decoded, Pixels, Refusal};
use super::gray::parted;
use super::limits::MAX_SIDE_PX;

pub(super) const BITS: u32 = 258;
pub(super) const COMPRESSION: u32 = 259;
pub(super) const PHOTOMETRIC: u32 = 262;
pub(super) const ORIENTATION: u32 = 274;
/// Orientations of what is to be turned or mirrored; 1 is not at all.
pub(super) const TURNS: RangeInclusive<u64> = 2..=8;
pub(super) const SAMPLES: u32 = 277;
pub(super) const PLANAR: u32 = 284;
pub(super) const SAMPLE_FORMAT: u32 = 339;
pub(super) const COLOUR_MAP: u32 = 320;
/// Photometric interpretations: an index into the colour map, gray from black on, red with green and blue, L*a*b* with a
/// sign, and as ICC profiles have it.
const PALETTE: u32 = 3;
const BLACK_IS_ZERO: u8 = 1;
const RGB: u8 = 2;
const CIE_LAB: u32 = 8;
const ICC_LAB: u32 = 9;
/// Compressions as JPEG, whose decoders make something else of three samples.
pub(super) const JPEG: [u32; 2] = [6, 7];
/// Sample format of numbers without sign and fraction.
const UNSIGNED: u32 = 1;
/// Bits of an index into a colour map.
const PALETTE_BITS: [u32; 5] = [1, 2, 4, 8, 16];

/// Whether the bytes begin like a TIFF with offsets of 32 bits.
fn is_tiff(bytes: &[u8]) -> bool {
    bytes.starts_with(b"II*\0") || bytes.starts_with(b"MM\0*")
}

/// A number of the file, in its order of bytes.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u32> {
    let raw = bytes.get(at..at.checked_add(length)?)?;
    let fold = |all: u32, byte: &u8| all << 8 | u32::from(*byte);
    let little = bytes.starts_with(b"II");
    Some(if little { raw.iter().rev().fold(0, fold) } else { raw.iter().fold(0, fold) })
}

/// Where the directory at `at` has its entry of this tag.
fn entry(bytes: &[u8], at: usize, tag: u32) -> Option<usize> {
    let entries = number(bytes, at, 2)? as usize;
    let mut places = (0..entries).map(|i| at + 2 + i * 12);
    places.find(|&entry| number(bytes, entry, 2) == Some(tag))
}

/// The number, or the place of the numbers, that the entry of this tag holds.
fn value(bytes: &[u8], at: usize, tag: u32) -> Option<u32> {
    let entry = entry(bytes, at, tag)?;
    // A short stands in the first half of the field.
    number(bytes, entry + 8, if number(bytes, entry + 2, 2)? == 3 { 2 } else { 4 })
}

/// Whether EXIF data, which are a TIFF, say that their picture is to be turned.
pub(super) fn is_turned(bytes: &[u8]) -> bool {
    let at = is_tiff(bytes).then(|| number(bytes, 4, 4)).flatten();
    let turn = at.and_then(|at| value(bytes, at as usize, ORIENTATION));
    turn.is_some_and(|turn| TURNS.contains(&u64::from(turn)))
}

/// Of a first page of indices into a colour map: the colour of each value that a decoder makes of an index, which is the
/// index where it has 8 or 16 bits, else the index stretched to 8. The page is made one of gray values, which
/// decoders take.
pub(super) fn take_palette(bytes: &mut [u8]) -> Option<Vec<[u8; 3]>> {
    if !is_tiff(bytes) {
        return None;
    }
    let at = number(bytes, 4, 4)? as usize;
    // Without the entry it has one bit.
    let bits = value(bytes, at, BITS).unwrap_or(1);
    let is_palette = value(bytes, at, PHOTOMETRIC)? == PALETTE && PALETTE_BITS.contains(&bits);
    let map = entry(bytes, at, COLOUR_MAP).filter(|_| is_palette)?;
    let (place, colours) = (number(bytes, map + 8, 4)? as usize, 1 << bits);
    // All reds, all greens, all blues, 16 bits each.
    let words: Vec<u32> =
        (0..3 * colours).map(|index| number(bytes, place + 2 * index, 2)).collect::<Option<_>>()?;
    // Some writers put numbers of 8 bits there; what reads TIFF everywhere (libtiff) takes them for that, too.
    let shift = if words.iter().all(|word| *word < 256) { 0 } else { 8 };
    let colour =
        |index: usize| [0, 1, 2].map(|part| (words[part * colours + index] >> shift) as u8);
    let mut table: Vec<[u8; 3]> = (0..colours).map(colour).collect();
    if bits < 8 {
        table = (0..256).map(|value| table[value * (colours - 1) / 255]).collect();
    }
    call(bytes, at, BLACK_IS_ZERO)?;
    Some(table)
}

/// Gives the page of the directory at `at` another photometric interpretation.
fn call(bytes: &mut [u8], at: usize, photometric: u8) -> Option<()> {
    let field = entry(bytes, at, PHOTOMETRIC)? + 8;
    let short = if bytes.starts_with(b"II") { [photometric, 0] } else { [0, photometric] };
    bytes.get_mut(field..field + 2)?.copy_from_slice(&short);
    Some(())
}

/// Of a first page of L*a*b*: the file with red, green and blue in their place, whose samples decoders give as they lie
/// there, and whether a* and b* are as in ICC profiles.
fn lab_as_rgb(bytes: &[u8]) -> Option<(Vec<u8>, bool)> {
    if !is_tiff(bytes) {
        return None;
    }
    let at = number(bytes, 4, 4)? as usize;
    let or_one = |tag| value(bytes, at, tag).unwrap_or(1);
    let icc = match value(bytes, at, PHOTOMETRIC)? {
        CIE_LAB => false,
        ICC_LAB => true,
        _ => return None,
    };
    if or_one(SAMPLES) != 3 || or_one(PLANAR) != 1 || JPEG.contains(&or_one(COMPRESSION)) {
        return None;
    }
    let mut called = bytes.to_vec();
    call(&mut called, at, RGB)?;
    Some((called, icc))
}

/// The sRGB colour that L*a*b* names. Its white is that of ICC profiles (D50) and becomes the white of sRGB, as in
/// colour management, so what has no colour keeps none; what sRGB cannot show is cut channel by channel.
fn rgb_of_lab([l, a, b]: [f32; 3]) -> [u8; 3] {
    let y = (l + 16.0) / 116.0;
    let linear = |t: f32| match t > 6.0 / 29.0 {
        true => t * t * t,
        false => (t - 4.0 / 29.0) * 108.0 / 841.0,
    };
    let xyz = [0.9642 * linear(y + a / 500.0), linear(y), 0.8249 * linear(y - b / 200.0)];
    // From XYZ under D50 to the primaries of sRGB, adapted as Bradford says.
    [
        [3.133_856, -1.616_867, -0.490_615],
        [-0.978_768, 1.916_142, 0.033_454],
        [0.071_945, -0.228_991, 1.405_243],
    ]
    .map(|row: [f32; 3]| {
        let light: f32 = row.iter().zip(xyz).map(|(weight, part)| weight * part).sum();
        let light = light.clamp(0.0, 1.0);
        let shade = match light > 0.003_130_8 {
            true => 1.055 * light.powf(1.0 / 2.4) - 0.055,
            false => 12.92 * light,
        };
        (255.0 * shade).round() as u8
    })
}

/// Three samples of 8 bits as L*, a* and b*.
fn lab_of_8(samples: &[u8], icc: bool) -> [f32; 3] {
    let sides = [samples[1], samples[2]];
    let [a, b] = sides.map(|v| if icc { f32::from(v) - 128.0 } else { f32::from(v as i8) });
    [f32::from(samples[0]) * 100.0 / 255.0, a, b]
}

/// Of 16 bits; there ICC profiles have white at 0xff00.
fn lab_of_16(samples: &[u16], icc: bool) -> [f32; 3] {
    let sides = [samples[1], samples[2]].map(|v| match icc {
        true => f32::from(v) - 32_768.0,
        false => f32::from(v as i16),
    });
    let white = if icc { 65_280.0 } else { 65_535.0 };
    [f32::from(samples[0]) * 100.0 / white, sides[0] / 256.0, sides[1] / 256.0]
}

/// The first page where its gray values are numbers with a fraction or a sign, or of more than 16 bits, or of 2 or 4,
/// which are stretched to 8, or where it is L*a*b*, whose gray has 8 bits whatever it has: it says itself what is white;
/// `None` for other pictures. Call it in the process of decoders.
///
/// # Errors
/// Why such a page does not decode.
pub(super) fn rare(bytes: &[u8], most: u64) -> Result<Option<Decoded>, Refusal> {
    if let Some((called, icc)) = lab_as_rgb(bytes) {
        let (mut decoder, size) = opening(&called, most)?;
        // Of other kinds `image` says that it does not know them.
        let ColorType::RGB(8 | 16) = decoder.colortype().map_err(refused)? else { return Ok(None) };
        let rgb: Vec<[u8; 3]> = match decoder.read_image().map_err(refused)? {
            DecodingResult::U8(all) => {
                all.chunks_exact(3).map(|of| rgb_of_lab(lab_of_8(of, icc))).collect()
            }
            DecodingResult::U16(all) => {
                all.chunks_exact(3).map(|of| rgb_of_lab(lab_of_16(of, icc))).collect()
            }
            _ => return Ok(None),
        };
        let (gray, colours) = parted(&rgb);
        let pixels = Pixels::Eight(gray);
        return Ok(Some(Decoded { size, colour: true, pixels, colours }));
    }
    let described = is_tiff(bytes).then(|| {
        let at = number(bytes, 4, 4)? as usize;
        let format = value(bytes, at, SAMPLE_FORMAT).unwrap_or(UNSIGNED);
        Some((format, value(bytes, at, BITS)?))
    });
    match described.flatten() {
        Some((format, bits)) if format != UNSIGNED || bits > 16 || matches!(bits, 2 | 4) => {}
        _ => return Ok(None),
    }
    let (mut decoder, size) = opening(bytes, most)?;
    let ColorType::Gray(bits) = decoder.colortype().map_err(refused)? else { return Ok(None) };
    let values: Vec<f32> = match decoder.read_image().map_err(refused)? {
        DecodingResult::F16(values) => values.iter().map(|v| v.to_f32()).collect(),
        DecodingResult::F32(values) => values,
        DecodingResult::F64(values) => values.iter().map(|&v| v as f32).collect(),
        DecodingResult::I8(values) => values.iter().map(|&v| v.into()).collect(),
        DecodingResult::I16(values) => values.iter().map(|&v| v.into()).collect(),
        DecodingResult::I32(values) => values.iter().map(|&v| v as f32).collect(),
        DecodingResult::I64(values) => values.iter().map(|&v| v as f32).collect(),
        DecodingResult::U32(values) => values.iter().map(|&v| v as f32).collect(),
        DecodingResult::U64(values) => values.iter().map(|&v| v as f32).collect(),
        DecodingResult::U8(packed) if matches!(bits, 2 | 4) => {
            let pixels = Pixels::Eight(stretched(&packed, size.0 as usize, bits));
            return Ok(Some(Decoded::gray(size, pixels)));
        }
        // Those are what everybody reads.
        DecodingResult::U8(_) | DecodingResult::U16(_) => return Ok(None),
    };
    Ok(Some(Decoded::gray(size, Pixels::Real(values))))
}

/// A decoder of the first page, and its size.
type Begun<'a> = (Decoder<Cursor<&'a [u8]>>, (u32, u32));

/// Begins to decode the first page.
fn opening(bytes: &[u8], most: u64) -> Result<Begun<'_>, Refusal> {
    let mut limits = Limits::default();
    limits.decoding_buffer_size = most as usize;
    limits.intermediate_buffer_size = most as usize;
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(refused)?.with_limits(limits);
    let size = decoder.dimensions().map_err(refused)?;
    if size.0 > MAX_SIDE_PX || size.1 > MAX_SIDE_PX {
        return Err(Refusal::Damaged("its header says another size".to_owned()));
    }
    Ok((decoder, size))
}

fn refused(error: TiffError) -> Refusal {
    match error {
        TiffError::UnsupportedError(kind) => Refusal::Unknown(kind.to_string()),
        other => Refusal::Damaged(other.to_string()),
    }
}

/// Values of `bits` bits (2 or 4), which rows of so many hold from the highest bits of their bytes on, over all 8.
fn stretched(packed: &[u8], columns: usize, bits: u8) -> Vec<u8> {
    let each = usize::from(8 / bits);
    let most = (1u8 << bits) - 1;
    let value = |row: &[u8], x: usize| {
        let shift = 8 - bits * (x % each + 1) as u8;
        (row[x / each] >> shift & most) * (255 / most)
    };
    let rows = packed.chunks_exact(columns.div_ceil(each));
    rows.flat_map(|row| (0..columns).map(move |x| value(row, x))).collect()
}
