//! Label volumes as NIfTI-1: `NAME.nii.gz`, and `NAME.labels.txt` as ITK-SNAP reads it.
//!
//! Voxels are columns, rows and frames of the clip, as they are: a viewer that knows the clip's
//! volume lays them exactly on it. A clip without a place in the patient lies at the origin.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use super::atomic::write_atomic;
use super::colours::colour;
use super::labelmap::{LabelMap, placement};
use super::{ExportError, ExportFormat, Job, Report};
use crate::codec;
use crate::domain::ClipInfo;

const HEADER_BYTES: usize = 352;
/// Intent codes: what the numbers mean.
const LABELS: i16 = 1002;
const NO_INTENT: i16 = 0;
/// Sides of a NIfTI-1 volume are 16-bit numbers with sign.
const MAX_SIDE: usize = i16::MAX as usize;

pub(super) fn write(job: &Job, path: &Path) -> Result<Report, ExportError> {
    let map = LabelMap::of(job.annotation, ExportFormat::Nifti.row().keeps);
    let bytes = label_volume(job, &map, path)?;
    write_atomic(path, &bytes)?;
    let names = names_path(path);
    write_atomic(&names, label_table(&map.names).as_bytes())?;
    let masks = map.structures().iter().map(|structure| structure.masks.len()).sum();
    let files = vec![path.to_owned(), names];
    Ok(Report { files, masks, covered_px: map.covered_px, ..Report::default() })
}

/// The bytes of a label volume.
pub(super) fn label_volume(job: &Job, map: &LabelMap, path: &Path) -> Result<Vec<u8>, ExportError> {
    let wide = wide(map, path)?;
    let mut bytes = start(job, path, wide, LABELS)?;
    each_frame(job.info, map, wide, |voxels| bytes.write_all(voxels))
        .and_then(|()| bytes.finish())
        .map_err(|e| ExportError::encode(path, e))
}

/// The bytes of the clip's own gray as a volume.
pub(super) fn gray_volume(job: &Job, path: &Path) -> Result<Vec<u8>, ExportError> {
    let mut bytes = start(job, path, false, NO_INTENT)?;
    for frame in 0..job.info.frames {
        let Some(frames) = job.frames else { continue };
        let pixels = frames(frame).map_err(|why| ExportError::unfit(path, why, "mend the clip"))?;
        bytes.write_all(&pixels.pixels).map_err(|e| ExportError::encode(path, e))?;
    }
    bytes.finish().map_err(|e| ExportError::encode(path, e))
}

fn start(
    job: &Job,
    path: &Path,
    wide: bool,
    intent: i16,
) -> Result<GzEncoder<Vec<u8>>, ExportError> {
    let info = job.info;
    let sides = [info.width_px as usize, info.height_px as usize, info.frames];
    if sides.iter().any(|&side| side > MAX_SIDE) {
        let cause = format!("a side has more than {MAX_SIDE} voxels, more than NIfTI-1 holds");
        return Err(ExportError::unfit(path, cause, "choose nrrd or seg.nrrd"));
    }
    let mut bytes = GzBuilder::new().write(Vec::new(), Compression::default());
    bytes.write_all(&header(job, wide, intent)).map_err(|e| ExportError::encode(path, e))?;
    Ok(bytes)
}

/// Whether numbers need 16 bits.
pub(super) fn wide(map: &LabelMap, path: &Path) -> Result<bool, ExportError> {
    if map.names.len() > usize::from(u16::MAX) {
        let cause = format!("{} structures are too many for a label volume", map.names.len());
        return Err(ExportError::unfit(path, cause, "choose coco"));
    }
    Ok(map.names.len() > 255)
}

/// Gives the voxels of every frame in order, little endian.
pub(super) fn each_frame(
    info: &ClipInfo,
    map: &LabelMap,
    wide: bool,
    mut put: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let count = info.width_px as usize * info.height_px as usize;
    let nothing = vec![0; count * if wide { 2 } else { 1 }];
    for frame in 0..info.frames {
        match map.frames.get(&frame) {
            None => put(&nothing)?,
            Some(numbers) if wide => {
                put(&numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>())?;
            }
            Some(numbers) => put(&numbers.iter().map(|&n| n as u8).collect::<Vec<u8>>())?,
        }
    }
    Ok(())
}

/// The header of nifti1.h, and four bytes that say that no extension follows.
fn header(job: &Job, wide: bool, intent: i16) -> [u8; HEADER_BYTES] {
    const UINT8: i16 = 2;
    const UINT16: i16 = 512;
    const MILLIMETRES: u8 = 2;
    let mut header = [0u8; HEADER_BYTES];
    let mut at = |offset: usize, bytes: &[u8]| {
        header[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    let info = job.info;
    let placement = placement(info);
    let sides = [info.width_px as usize, info.height_px as usize, info.frames];
    let [spacing_x, spacing_y, spacing_z] = placement.spacing_mm();
    at(0, &348i32.to_le_bytes());
    at(40, &3i16.to_le_bytes());
    for (i, side) in sides.into_iter().chain([1; 4]).enumerate() {
        at(42 + 2 * i, &(side as i16).to_le_bytes());
    }
    at(68, &intent.to_le_bytes());
    at(70, &(if wide { UINT16 } else { UINT8 }).to_le_bytes());
    at(72, &(if wide { 16i16 } else { 8 }).to_le_bytes());
    for (i, mm) in [1.0, spacing_x, spacing_y, spacing_z, 1.0, 1.0, 1.0, 1.0].iter().enumerate() {
        at(76 + 4 * i, &(*mm as f32).to_le_bytes());
    }
    at(108, &(HEADER_BYTES as f32).to_le_bytes());
    at(112, &1f32.to_le_bytes());
    at(123, &[MILLIMETRES]);
    let origin = job.about();
    at(148, &origin.as_bytes()[..origin.len().min(79)]);
    // A matrix, in scanner coordinates; no quaternion, which cannot hold every matrix.
    at(254, &1i16.to_le_bytes());
    for (i, row) in placement.to_ras().iter().enumerate() {
        for (j, value) in row.iter().enumerate() {
            at(280 + 16 * i + 4 * j, &(*value as f32).to_le_bytes());
        }
    }
    at(344, b"n+1\0");
    header
}

/// `NAME.labels.txt` beside `NAME.nii.gz`.
fn names_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.trim_end_matches(".gz").trim_end_matches(".nii");
    path.with_file_name(format!("{stem}.labels.txt"))
}

/// A table of ITK-SNAP: number, colour, opacity, visibility, name.
fn label_table(names: &[String]) -> String {
    let mut text = String::from("    0     0    0    0        0  0  0    \"Clear Label\"\n");
    for (number, name) in (1..).zip(names) {
        let [r, g, b] = colour(number);
        text += &format!("{number:5} {r:5} {g:4} {b:4}        1  1  1    \"{name}\"\n");
    }
    text
}

/// The names beside a label volume; none where there is no such table.
pub(super) fn label_names(path: &Path) -> BTreeMap<u32, String> {
    let bytes = codec::read_file(&names_path(path)).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let row = |line: &str| {
        let number = line.split_whitespace().next()?.parse().ok()?;
        let (from, to) = (line.find('"')? + 1, line.rfind('"')?);
        Some((number, line.get(from..to)?.to_owned()))
    };
    text.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_from_their_table() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("a.nii.gz");
        let names = ["nerve", "a \"b\" \\ c", "Ähre", ""].map(str::to_owned);
        write_atomic(&names_path(&path), label_table(&names).as_bytes()).expect("written");
        let found = label_names(&path);
        let expected: BTreeMap<u32, String> = (1..).zip(names).collect();
        assert_eq!(found.into_iter().filter(|(n, _)| *n > 0).collect::<BTreeMap<_, _>>(), expected);
        assert_eq!(label_names(&dir.path().join("b.nii")), BTreeMap::new());
    }
}
