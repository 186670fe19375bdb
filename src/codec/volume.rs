//! NIfTI-1 volumes (`.nii`, `.nii.gz`), sliced along an axis.
//!
//! Frames are planes of the voxels as they are stored, without turning or flipping: along Z a
//! frame has x to the right and y downwards, along Y x and z, along X y and z. Spacing comes from
//! `pixdim`. Gray: unsigned 8-bit voxels as they are; others from `cal_min`..`cal_max` where the
//! header sets them, else from the smallest to the largest value of the whole volume. The volume
//! is read as a stream (twice where its range has to be found) and kept as 8-bit voxels, at most
//! 1 GiB, since gzip gives no access to single planes.

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use nifti::{Endianness, NiftiHeader, NiftiType, Unit};

use super::error::short_name;
use super::gray::Ramp;
use super::limits::{check_size, guarded, open_regular};
use super::{Axis, CodecError, FrameSource, identity};
use crate::domain::{ClipInfo, ClipKind, FrameIndex, GrayFrame};

const MAX_VOXELS: u64 = 1 << 30;
const MAX_OFFSET: u64 = 1 << 24;
const HEADER_BYTES: usize = 348;

struct Volume {
    axis: Axis,
    /// Size along x, y, z.
    size: [usize; 3],
    /// Gray voxels, x fastest.
    voxels: Vec<u8>,
}

/// Opens a volume.
pub(super) fn open(
    path: &Path,
    axis: Axis,
) -> Result<(ClipInfo, Box<dyn FrameSource>), CodecError> {
    let header = read_header(path)?;
    let size = size_of(path, &header)?;
    let [width, height, frames] = planes(axis, size);
    check_size(path, width as u32, height as u32, frames)?;
    let ramp = match display_range(path, &header)? {
        Some(ramp) => ramp,
        None => value_range(path, &header)?,
    };
    let mut voxels = Vec::new();
    each_plane(path, &header, |values| {
        voxels.extend(values.iter().map(|&v| ramp.gray(v)));
    })?;
    if voxels.len() != size.iter().product::<usize>() {
        return Err(CodecError::damaged(path, "it has fewer voxels than it declares"));
    }
    let [across, down, _] = planes(axis, [0, 1, 2]);
    let spacing = spacing_mm(&header).map(|mm| [mm[across], mm[down]]);
    let info = ClipInfo {
        content_hash: identity::of_file(path)?,
        name: short_name(path),
        kind: if frames == 1 { ClipKind::Still } else { ClipKind::Volume },
        width_px: width as u32,
        height_px: height as u32,
        frames,
        pixel_spacing_mm: spacing,
        frame_time_ms: None,
        format: format!("NIfTI, {:?} along {axis:?}", kind_of(path, &header)?),
    };
    Ok((info, Box::new(Volume { axis, size, voxels })))
}

/// What belongs to columns, rows and frames of the planes along an axis.
fn planes<T: Copy>(axis: Axis, [x, y, z]: [T; 3]) -> [T; 3] {
    match axis {
        Axis::X => [y, z, x],
        Axis::Y => [x, z, y],
        Axis::Z => [x, y, z],
    }
}

impl FrameSource for Volume {
    fn read(
        &self,
        index: FrameIndex,
        _keep: &mut dyn FnMut(FrameIndex, GrayFrame),
    ) -> Result<GrayFrame, CodecError> {
        let [nx, ny, _] = self.size;
        let [width, height, _] = planes(self.axis, self.size);
        let voxel = |column: usize, row: usize| {
            let [x, y, z] = match self.axis {
                Axis::X => [index, column, row],
                Axis::Y => [column, index, row],
                Axis::Z => [column, row, index],
            };
            self.voxels[(z * ny + y) * nx + x]
        };
        let pixels = (0..height).flat_map(|row| (0..width).map(move |column| (column, row)));
        Ok(GrayFrame {
            width_px: width as u32,
            height_px: height as u32,
            pixels: pixels.map(|(column, row)| voxel(column, row)).collect(),
        })
    }
}

/// Checks that all declared voxels are there, and for gzip its check sum.
pub(super) fn complete(path: &Path) -> Result<(), CodecError> {
    let header = read_header(path)?;
    let size = size_of(path, &header)?;
    let voxels: u64 = size.iter().map(|&n| n as u64).product();
    let needed = voxels * kind_of(path, &header)?.size_of() as u64;
    let mut reader = stream(path)?;
    let wanted = offset(&header) + needed;
    let found = std::io::copy(&mut reader.by_ref().take(wanted), &mut std::io::sink())
        .map_err(|e| CodecError::damaged(path, e))?;
    if found < wanted {
        let cause = format!("it declares {wanted} bytes and has {found}");
        return Err(CodecError::damaged(path, cause));
    }
    ends_well(path, &mut reader)
}

/// Reads a little further: gzip checks its sum only at the end.
fn ends_well(path: &Path, reader: &mut dyn Read) -> Result<(), CodecError> {
    let mut rest = reader.take(1 << 16);
    std::io::copy(&mut rest, &mut std::io::sink())
        .map(|_| ())
        .map_err(|e| CodecError::damaged(path, e))
}

/// The bytes of the file, inflated where they are gzip.
fn stream(path: &Path) -> Result<Box<dyn Read>, CodecError> {
    let mut file = open_regular(path)?;
    let mut magic = [0u8; 2];
    let gzip = file.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    file.seek(SeekFrom::Start(0)).map_err(|e| CodecError::unreadable(path, e))?;
    let file = BufReader::new(file);
    Ok(if gzip { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) })
}

fn read_header(path: &Path) -> Result<NiftiHeader, CodecError> {
    let mut bytes = [0u8; HEADER_BYTES];
    stream(path)?.read_exact(&mut bytes).map_err(|e| CodecError::damaged(path, e))?;
    let header = guarded(path, || {
        NiftiHeader::from_reader(&bytes[..]).map_err(|e| CodecError::damaged(path, e))
    })?;
    if &header.magic == b"ni1\0" {
        let advice = "join both into one .nii file first";
        return Err(CodecError::unsupported(path, "its header and voxels are two files", advice));
    }
    Ok(header)
}

fn size_of(path: &Path, header: &NiftiHeader) -> Result<[usize; 3], CodecError> {
    let [rank, x, y, z, more @ ..] = header.dim;
    let z = if rank < 3 { 1 } else { z };
    let used = usize::from(rank.saturating_sub(3)).min(more.len());
    if !(2..=7).contains(&rank) || x == 0 || y == 0 || z == 0 {
        return Err(CodecError::damaged(
            path,
            format!("its dimensions {:?} are impossible", header.dim),
        ));
    }
    if more[..used].iter().any(|&n| n != 1) {
        let advice = "split it into single volumes first";
        return Err(CodecError::unsupported(path, "it has more than three dimensions", advice));
    }
    let voxels = u64::from(x) * u64::from(y) * u64::from(z);
    if voxels > MAX_VOXELS {
        return Err(CodecError::too_large(
            path,
            format!("it has {voxels} voxels, the limit is {MAX_VOXELS}"),
        ));
    }
    if !(0.0..=MAX_OFFSET as f32).contains(&header.vox_offset) {
        return Err(CodecError::damaged(path, "its voxels begin nowhere"));
    }
    kind_of(path, header)?;
    Ok([x, y, z].map(usize::from))
}

fn offset(header: &NiftiHeader) -> u64 {
    (header.vox_offset as u64).max(HEADER_BYTES as u64)
}

/// The type of the voxels; colours and complex numbers are refused.
fn kind_of(path: &Path, header: &NiftiHeader) -> Result<NiftiType, CodecError> {
    let kind = header.data_type().map_err(|e| CodecError::damaged(path, e))?;
    match kind {
        NiftiType::Uint8
        | NiftiType::Int8
        | NiftiType::Uint16
        | NiftiType::Int16
        | NiftiType::Uint32
        | NiftiType::Int32
        | NiftiType::Uint64
        | NiftiType::Int64
        | NiftiType::Float32
        | NiftiType::Float64 => Ok(kind),
        other => Err(CodecError::unsupported(
            path,
            format!("its voxels are {other:?}"),
            "convert it to integers or floating point numbers",
        )),
    }
}

fn spacing_mm(header: &NiftiHeader) -> Option<[f64; 3]> {
    let scale = match header.xyzt_to_space() {
        Ok(Unit::Meter) => 1000.0,
        Ok(Unit::Micron) => 0.001,
        _ => 1.0,
    };
    let mm = [1, 2, 3].map(|i| f64::from(header.pixdim[i]).abs() * scale);
    mm.iter().all(|v| v.is_finite() && *v > 0.0).then_some(mm)
}

/// The ramp the header asks for, or that of plain 8-bit voxels.
fn display_range(path: &Path, header: &NiftiHeader) -> Result<Option<Ramp>, CodecError> {
    let (low, high) = (f64::from(header.cal_min), f64::from(header.cal_max));
    if low.is_finite() && high.is_finite() && high > low {
        return Ok(Some(Ramp { low, high }));
    }
    let plain = header.scl_slope == 0.0 || (header.scl_slope == 1.0 && header.scl_inter == 0.0);
    let bytes = kind_of(path, header)? == NiftiType::Uint8 && plain;
    Ok(bytes.then_some(Ramp { low: 0.0, high: 255.0 }))
}

fn value_range(path: &Path, header: &NiftiHeader) -> Result<Ramp, CodecError> {
    let mut range: Option<Ramp> = None;
    each_plane(path, header, |values| {
        if values.iter().any(|v| v.is_finite()) {
            let next = Ramp::over(values.iter().copied());
            range = Some(range.map_or(next, |r| r.joined(next)));
        }
    })?;
    Ok(range.unwrap_or(Ramp { low: 0.0, high: 1.0 }))
}

/// Calls `act` with the values of every (x, y) plane in order, x fastest.
fn each_plane(
    path: &Path,
    header: &NiftiHeader,
    mut act: impl FnMut(&[f64]),
) -> Result<(), CodecError> {
    let mut reader = stream(path)?;
    let start = offset(header);
    let skipped = std::io::copy(&mut reader.by_ref().take(start), &mut std::io::sink())
        .map_err(|e| CodecError::damaged(path, e))?;
    if skipped < start {
        return Err(CodecError::damaged(path, "it ends before its voxels"));
    }
    let [x, y, z] = size_of(path, header)?;
    let kind = kind_of(path, header)?;
    let mut plane = vec![0; x * y * kind.size_of()];
    for _ in 0..z {
        reader.read_exact(&mut plane).map_err(|e| CodecError::damaged(path, e))?;
        act(&values(&plane, kind, header));
    }
    ends_well(path, &mut reader)
}

/// The numbers of a plane: stored values times slope plus intercept (slope 0: as stored).
fn values(plane: &[u8], kind: NiftiType, header: &NiftiHeader) -> Vec<f64> {
    let big = header.endianness == Endianness::Big;
    // Any number as the lowest `size` bytes of eight, little endian.
    let raw = |bytes: &[u8]| {
        let fold = |all: u64, b: &u8| (all << 8) | u64::from(*b);
        if big { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) }
    };
    let number = |bits: u64| match kind {
        NiftiType::Int8 => f64::from(bits as i8),
        NiftiType::Int16 => f64::from(bits as i16),
        NiftiType::Int32 => f64::from(bits as i32),
        NiftiType::Int64 => bits as i64 as f64,
        NiftiType::Float32 => f64::from(f32::from_bits(bits as u32)),
        NiftiType::Float64 => f64::from_bits(bits),
        _ => bits as f64,
    };
    let (slope, intercept) = (f64::from(header.scl_slope), f64::from(header.scl_inter));
    let scaled = slope != 0.0 && slope.is_finite() && intercept.is_finite();
    let (slope, intercept) = if scaled { (slope, intercept) } else { (1.0, 0.0) };
    plane.chunks_exact(kind.size_of()).map(|b| number(raw(b)) * slope + intercept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voxels_of_every_type_become_numbers() {
        let mut header = NiftiHeader { scl_slope: 2.0, scl_inter: 1.0, ..NiftiHeader::default() };
        header.endianness = Endianness::Little;
        assert_eq!(values(&[0xfe, 0xff, 3, 0], NiftiType::Int16, &header), [-3.0, 7.0]);
        assert_eq!(values(&1.5f32.to_le_bytes(), NiftiType::Float32, &header), [4.0]);
        header.endianness = Endianness::Big;
        assert_eq!(values(&2.5f64.to_be_bytes(), NiftiType::Float64, &header), [6.0]);
        header.scl_slope = 0.0;
        assert_eq!(values(&[1, 0], NiftiType::Uint16, &header), [256.0]);
    }
}
