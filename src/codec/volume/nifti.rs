//! NIfTI-1 and NIfTI-2 in one file, plain or gzip.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use nifti::{Endianness, NiftiHeader};

use super::voxels::{Number, Packing, Place, Voxels};
use crate::codec::CodecError;
use crate::codec::gray::Ramp;
use crate::codec::limits::{guarded, open_regular};
use crate::domain::Placement;

const MAX_OFFSET: f64 = (1 << 24) as f64;
/// How the formats of clips begin that are NIfTI-2 volumes.
pub const NIFTI_2: &str = "NIfTI-2";
const FIRST_BYTES: usize = 348;
const SECOND_BYTES: usize = 540;
/// The field for any text, "descrip".
const TEXT_BYTES: usize = 80;

/// The fields that both versions have.
struct Fields {
    big: bool,
    header_bytes: usize,
    dim: [i64; 8],
    pixdim: [f64; 8],
    datatype: i16,
    offset: f64,
    scale: (f64, f64),
    display: (f64, f64),
    units: i32,
    /// Codes of the quaternion and of the matrix: 0 means that there is none.
    codes: (i32, i32),
    quaternion: [f64; 6],
    matrix: [[f64; 4]; 3],
}

pub(super) fn read(path: &Path) -> Result<Voxels, CodecError> {
    let (head, gzip) = head(path)?;
    let fields = match head.get(4..8) {
        Some(b"n+2\0") => second(path, &head)?,
        _ => first(path, &head)?,
    };
    let (size, times) = size_of(path, &fields)?;
    if !(0.0..=MAX_OFFSET).contains(&fields.offset) {
        return Err(CodecError::damaged(path, "its voxels begin nowhere"));
    }
    let start = (fields.offset as u64).max(fields.header_bytes as u64);
    let number = number_of(path, fields.datatype)?;
    let (slope, intercept) = fields.scale;
    let scaled = slope != 0.0 && slope.is_finite() && intercept.is_finite();
    let scale = if scaled { fields.scale } else { (1.0, 0.0) };
    let (low, high) = fields.display;
    let asked = low.is_finite() && high.is_finite() && high > low;
    let place = Place {
        file: path.to_owned(),
        skip: if gzip { 0 } else { start },
        skip_unpacked: if gzip { start } else { 0 },
        packing: if gzip { Packing::Gzip } else { Packing::Raw },
    };
    Voxels {
        what: if fields.header_bytes == SECOND_BYTES { NIFTI_2 } else { "NIfTI" },
        size,
        times,
        components: 1,
        number,
        big: fields.big,
        scale,
        display: asked.then_some(Ramp { low, high }),
        spacing_mm: fields.spacing_mm(),
        placement: fields.placement(),
        time_ms: (times > 1).then(|| fields.time_ms()),
        place,
        texts: BTreeMap::from([("descrip".to_owned(), text(&head, fields.header_bytes))]),
    }
    .checked(path)
}

/// What a program wrote into the field for any text.
fn text(head: &[u8], header_bytes: usize) -> String {
    let at = if header_bytes == SECOND_BYTES { 240 } else { 148 };
    let field = head.get(at..at + TEXT_BYTES).unwrap_or_default();
    let text = field.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// The first bytes, inflated where they are gzip, and whether they are.
fn head(path: &Path) -> Result<(Vec<u8>, bool), CodecError> {
    let mut file = open_regular(path)?;
    let mut magic = [0u8; 2];
    let gzip = file.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    file.seek(SeekFrom::Start(0)).map_err(|e| CodecError::unreadable(path, e))?;
    let mut head = Vec::with_capacity(SECOND_BYTES);
    let file = BufReader::new(file);
    let read = if gzip {
        MultiGzDecoder::new(file).take(SECOND_BYTES as u64).read_to_end(&mut head)
    } else {
        file.take(SECOND_BYTES as u64).read_to_end(&mut head)
    };
    match read {
        Err(cause) if head.len() < FIRST_BYTES => Err(CodecError::damaged(path, cause)),
        _ if head.len() < FIRST_BYTES => Err(CodecError::damaged(path, "its header is cut off")),
        _ => Ok((head, gzip)),
    }
}

fn first(path: &Path, head: &[u8]) -> Result<Fields, CodecError> {
    let header = guarded(path, || {
        NiftiHeader::from_reader(&head[..FIRST_BYTES]).map_err(|e| CodecError::damaged(path, e))
    })?;
    if &header.magic == b"ni1\0" {
        let advice = "join both into one .nii file first";
        return Err(CodecError::unsupported(path, "its header and voxels are two files", advice));
    }
    let wide = |row: [f32; 4]| row.map(f64::from);
    let (b, c, d) = (header.quatern_b, header.quatern_c, header.quatern_d);
    let (x, y, z) = (header.quatern_x, header.quatern_y, header.quatern_z);
    Ok(Fields {
        big: header.endianness == Endianness::Big,
        header_bytes: FIRST_BYTES,
        dim: header.dim.map(i64::from),
        pixdim: header.pixdim.map(f64::from),
        datatype: header.datatype,
        offset: f64::from(header.vox_offset),
        scale: (f64::from(header.scl_slope), f64::from(header.scl_inter)),
        display: (f64::from(header.cal_min), f64::from(header.cal_max)),
        units: i32::from(header.xyzt_units),
        codes: (i32::from(header.qform_code), i32::from(header.sform_code)),
        quaternion: [b, c, d, x, y, z].map(f64::from),
        matrix: [wide(header.srow_x), wide(header.srow_y), wide(header.srow_z)],
    })
}

fn second(path: &Path, head: &[u8]) -> Result<Fields, CodecError> {
    let Some(head) = head.get(..SECOND_BYTES) else {
        return Err(CodecError::damaged(path, "its header is cut off"));
    };
    let little = head[..4] == (SECOND_BYTES as i32).to_le_bytes();
    if !little && head[..4] != (SECOND_BYTES as i32).to_be_bytes() {
        return Err(CodecError::damaged(path, "its header has another length than it should"));
    }
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&head[at..at + 8]);
        if little { u64::from_le_bytes(bytes) } else { u64::from_be_bytes(bytes) }
    };
    // Four bytes are the lower or the upper half of eight.
    let int = |at: usize| if little { word(at) as i32 } else { (word(at) >> 32) as i32 };
    let real = |at: usize| f64::from_bits(word(at));
    let row = |at: usize| [0, 8, 16, 24].map(|step| real(at + step));
    let datatype = [head[12], head[13]];
    Ok(Fields {
        big: !little,
        header_bytes: SECOND_BYTES,
        dim: [0, 1, 2, 3, 4, 5, 6, 7].map(|i| word(16 + 8 * i) as i64),
        pixdim: [0, 1, 2, 3, 4, 5, 6, 7].map(|i| real(104 + 8 * i)),
        datatype: if little { i16::from_le_bytes(datatype) } else { i16::from_be_bytes(datatype) },
        offset: word(168) as i64 as f64,
        scale: (real(176), real(184)),
        display: (real(200), real(192)),
        units: int(500),
        codes: (int(344), int(348)),
        quaternion: [352, 360, 368, 376, 384, 392].map(real),
        matrix: [row(400), row(432), row(464)],
    })
}

/// Size along three axes, and the number of moments.
fn size_of(path: &Path, fields: &Fields) -> Result<([usize; 3], usize), CodecError> {
    let [rank, x, y, z, t, more @ ..] = fields.dim;
    let impossible =
        || CodecError::damaged(path, format!("its dimensions {:?} are impossible", fields.dim));
    let known = |axis: i64, n: i64| if axis <= rank { n } else { 1 };
    let (z, t) = (known(3, z), known(4, t));
    let rest = (5..).zip(more).map(|(axis, n)| known(axis, n));
    if !(2..=7).contains(&rank) || [x, y, z, t].iter().any(|&n| n < 1) {
        return Err(impossible());
    }
    if rest.into_iter().any(|n| n != 1) {
        let cause = "it has more dimensions than space and time";
        let advice = "split it into single volumes first";
        return Err(CodecError::unsupported(path, cause, advice));
    }
    let side = |n: i64| usize::try_from(n).map_err(|_| impossible());
    Ok(([side(x)?, side(y)?, side(z)?], side(t)?))
}

fn number_of(path: &Path, datatype: i16) -> Result<Number, CodecError> {
    Ok(match datatype {
        2 => Number::U8,
        4 => Number::I16,
        8 => Number::I32,
        16 => Number::F32,
        64 => Number::F64,
        256 => Number::I8,
        512 => Number::U16,
        768 => Number::U32,
        1024 => Number::I64,
        1280 => Number::U64,
        other => {
            let advice = "convert it to integers or floating point numbers";
            let cause = format!("its voxels are of NIfTI's type {other}");
            return Err(CodecError::unsupported(path, cause, advice));
        }
    })
}

impl Fields {
    /// Millimetres in the unit of space.
    fn unit_mm(&self) -> f64 {
        match self.units & 7 {
            1 => 1000.0,
            3 => 0.001,
            _ => 1.0,
        }
    }

    fn time_ms(&self) -> f64 {
        let unit = match self.units & 56 {
            8 => 1000.0,
            24 => 0.001,
            _ => 1.0,
        };
        let step = self.pixdim[4] * unit;
        if step.is_finite() && step > 0.0 { step } else { 0.0 }
    }

    fn spacing_mm(&self) -> Option<[f64; 3]> {
        // Of an axis that is not there nothing has to be known: 2-D images often have 0.
        let there = |i: usize| i as i64 <= self.dim[0] && self.dim[i] > 1;
        let known = |i: usize| self.pixdim[i].abs() * self.unit_mm();
        let mm = [known(1), known(2), if there(3) { known(3) } else { known(3).max(1.0) }];
        mm.iter().all(|v| v.is_finite() && *v > 0.0).then_some(mm)
    }

    /// The matrix where there is one, else the quaternion (nifti1.h, methods 3 and 2).
    fn placement(&self) -> Option<Placement> {
        let unit = self.unit_mm();
        let rows = match self.codes {
            (_, code) if code > 0 => self.matrix,
            (code, _) if code > 0 => self.turned(),
            _ => return None,
        };
        let placement = Placement::from_ras(rows.map(|row| row.map(|v| v * unit)));
        placement.is_sound().then_some(placement)
    }

    fn turned(&self) -> [[f64; 4]; 3] {
        let [b, c, d, x, y, z] = self.quaternion;
        let a = (1.0 - (b * b + c * c + d * d)).max(0.0).sqrt();
        let rotation = [
            [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
            [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
            [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ];
        let side = if self.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
        let [i, j, k] = [self.pixdim[1], self.pixdim[2], self.pixdim[3] * side];
        [0, 1, 2].map(|row| {
            let [p, q, r] = rotation[row];
            [p * i, q * j, r * k, [x, y, z][row]]
        })
    }
}
