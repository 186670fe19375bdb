//! Label volumes as NIfTI: `NAME.nii.gz`, and `NAME.labels.txt` as ITK-SNAP reads and writes it.
//!
//! Voxels are columns, rows and frames of the clip, as they are: a viewer that knows the clip's
//! volume lays them exactly on it. A clip without a place in the patient lies at the origin; a plane
//! that plays over time is a volume of one slice with a fourth axis.
//!
//! NIfTI-1 holds geometry in 32 bits, and SimpleITK reads nothing else. NIfTI-2 is written for a
//! clip that is NIfTI-2 itself and whose geometry 32 bits do not hold to 1e-6, and for sides that
//! 16 bits do not hold. It is packed unless the name ends in `.nii`, by which programs tell.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use super::atomic::write_atomic;
use super::colours::colour;
use super::labelmap::{LabelMap, placement};
use super::{ExportError, ExportFormat, Job, Report};
use crate::codec;

/// Of the headers of nifti1.h and nifti2.h, with four bytes that say that no extension follows.
const FIRST_BYTES: usize = 352;
const SECOND_BYTES: usize = 544;
const UINT8: i16 = 2;
const UINT16: i16 = 512;
const MILLIMETRES: u8 = 2;
const MILLISECONDS: u8 = 16;
/// Endings of label volumes, without that of packed ones.
const VOLUMES: [&str; 5] = [".nii", ".nrrd", ".nhdr", ".mha", ".mhd"];
/// Endings of the tables that people save from ITK-SNAP.
const TABLES: [&str; 2] = ["txt", "label"];
/// Numbers before the name in such a table: its number, colour, opacity, and whether it is seen in slices and in 3D.
const TABLE_NUMBERS: usize = 7;
/// Intent codes: what the numbers mean.
const LABELS: i16 = 1002;
const NO_INTENT: i16 = 0;
/// Bytes of a volume that is not packed, which is made in memory.
const MAX_PLAIN_BYTES: u64 = 1 << 30;
/// Sides of a NIfTI-1 volume are 16-bit numbers with sign.
const MAX_SIDE: usize = i16::MAX as usize;

pub(super) fn write(job: &Job, path: &Path) -> Result<Report, ExportError> {
    let map = LabelMap::of_job(job, ExportFormat::Nifti, path)?;
    let bytes = label_volume(job, &map, path)?;
    write_atomic(path, &bytes)?;
    let names = names_path(path);
    write_atomic(&names, label_table(&map.names).as_bytes())?;
    let masks = map.masks();
    let files = vec![path.to_owned(), names];
    Ok(Report { files, masks, covered_px: map.covered_px, ..Report::default() })
}

/// The bytes of a label volume.
pub(super) fn label_volume(job: &Job, map: &LabelMap, path: &Path) -> Result<Vec<u8>, ExportError> {
    check_voxels(job, path, 1)?;
    let wide = wide(map, path)?;
    let mut bytes = start(job, path, wide, LABELS)?;
    each_frame(job, path, map, wide, |voxels| bytes.write_all(voxels))?;
    bytes.finish().map_err(|e| ExportError::encode(path, e))
}

/// The bytes of the clip's own gray as a volume.
pub(super) fn gray_volume(job: &Job, path: &Path) -> Result<Vec<u8>, ExportError> {
    let mut bytes = start(job, path, false, NO_INTENT)?;
    for frame in 0..job.info.frames {
        job.go_on(path)?;
        let Some(frames) = job.frames else { continue };
        let pixels = frames(frame).map_err(|why| ExportError::unfit(path, why, "mend the clip"))?;
        bytes.write_all(&pixels.pixels).map_err(|e| ExportError::encode(path, e))?;
    }
    bytes.finish().map_err(|e| ExportError::encode(path, e))
}

/// A volume in the making.
enum Volume {
    Packed(Box<GzEncoder<Vec<u8>>>),
    Plain(Vec<u8>),
}

impl Write for Volume {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Packed(packed) => packed.write(bytes),
            Self::Plain(plain) => plain.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Volume {
    /// Its bytes.
    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Packed(packed) => packed.finish(),
            Self::Plain(plain) => Ok(plain),
        }
    }
}

fn start(job: &Job, path: &Path, wide: bool, intent: i16) -> Result<Volume, ExportError> {
    let info = job.info;
    let plain = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("nii"));
    let voxels = u64::from(info.width_px) * u64::from(info.height_px) * info.frames as u64;
    let size = if wide { 2 * voxels } else { voxels };
    if plain && size > MAX_PLAIN_BYTES {
        let cause =
            "it takes more than 1 GiB, and a name that ends in .nii says that it is not packed";
        return Err(ExportError::unfit(path, cause, "give a name that ends in .nii.gz"));
    }
    let mut bytes = match plain {
        true => Volume::Plain(Vec::new()),
        false => {
            let packed = GzBuilder::new().write(Vec::new(), Compression::default());
            Volume::Packed(Box::new(packed))
        }
    };
    bytes
        .write_all(&Head::of(job, wide, intent).bytes())
        .map_err(|e| ExportError::encode(path, e))?;
    Ok(bytes)
}

/// Refuses what no reader of ours takes, before it is made.
pub(super) fn check_voxels(job: &Job, path: &Path, layers: usize) -> Result<(), ExportError> {
    let info = job.info;
    let sides = [info.width_px as u64, info.height_px.into(), info.frames as u64, layers as u64];
    let voxels = sides.iter().try_fold(1u64, |all, &side| all.checked_mul(side));
    if voxels.is_some_and(|voxels| voxels <= codec::MAX_LABELS) {
        return Ok(());
    }
    let cause =
        format!("it would have more than the {} voxels that are read back", codec::MAX_LABELS);
    Err(ExportError::unfit(path, cause, "choose png, coco or dicom-seg"))
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
    job: &Job,
    path: &Path,
    map: &LabelMap,
    wide: bool,
    mut put: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), ExportError> {
    let info = job.info;
    let count = info.width_px as usize * info.height_px as usize;
    let nothing = vec![0; count * if wide { 2 } else { 1 }];
    for frame in 0..info.frames {
        job.go_on(path)?;
        let done = match map.numbers(frame) {
            None => put(&nothing),
            Some(numbers) if wide => {
                put(&numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>())
            }
            Some(numbers) => put(&numbers.iter().map(|&n| n as u8).collect::<Vec<u8>>()),
        };
        done.map_err(|e| ExportError::encode(path, e))?;
    }
    Ok(())
}

/// What a header says.
struct Head {
    rank: usize,
    sides: [usize; 4],
    /// Along x, y, z in mm, and time in ms.
    steps: [f64; 4],
    units: u8,
    intent: i16,
    wide: bool,
    matrix: [[f64; 4]; 3],
    about: String,
    second: bool,
}

impl Head {
    fn of(job: &Job, wide: bool, intent: i16) -> Self {
        let info = job.info;
        let place = placement(info);
        let [x, y, z] = place.spacing_mm();
        let (width, height) = (info.width_px as usize, info.height_px as usize);
        let timed = info.is_plane_over_time();
        let sides =
            if timed { [width, height, 1, info.frames] } else { [width, height, info.frames, 1] };
        let step_ms = info.frame_time_ms.unwrap_or(1.0);
        let matrix = place.to_ras();
        let held = |v: &f64| (*v - f64::from(*v as f32)).abs() <= 1e-6;
        let loses = !matrix.as_flattened().iter().chain(&[x, y, z]).all(held);
        let second = loses && info.format.starts_with(codec::NIFTI_2);
        Self {
            rank: if timed { 4 } else { 3 },
            sides,
            steps: [x, y, z, step_ms],
            units: if timed { MILLIMETRES + MILLISECONDS } else { MILLIMETRES },
            intent,
            wide,
            matrix,
            about: job.about().chars().take(79).collect(),
            second: second || sides.iter().any(|&side| side > MAX_SIDE),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        if self.second { self.second() } else { self.first() }
    }

    /// Type and bits of a voxel.
    fn number(&self) -> (i16, i16) {
        if self.wide { (UINT16, 16) } else { (UINT8, 8) }
    }

    /// nifti1.h. A matrix, in scanner coordinates; no quaternion, which cannot hold every matrix.
    fn first(&self) -> Vec<u8> {
        let mut header = vec![0u8; FIRST_BYTES];
        let mut at = |offset: usize, bytes: &[u8]| {
            header[offset..offset + bytes.len()].copy_from_slice(bytes);
        };
        let (number, bits) = self.number();
        at(0, &348i32.to_le_bytes());
        at(40, &(self.rank as i16).to_le_bytes());
        for (i, side) in self.sides.into_iter().chain([1; 3]).enumerate() {
            at(42 + 2 * i, &(side as i16).to_le_bytes());
        }
        at(68, &self.intent.to_le_bytes());
        at(70, &number.to_le_bytes());
        at(72, &bits.to_le_bytes());
        for (i, step) in [1.0].iter().chain(&self.steps).chain(&[1.0; 3]).enumerate() {
            at(76 + 4 * i, &(*step as f32).to_le_bytes());
        }
        at(108, &(FIRST_BYTES as f32).to_le_bytes());
        at(112, &1f32.to_le_bytes());
        at(123, &[self.units]);
        at(148, self.about.as_bytes());
        at(254, &1i16.to_le_bytes());
        for (i, value) in self.matrix.as_flattened().iter().enumerate() {
            at(280 + 4 * i, &(*value as f32).to_le_bytes());
        }
        at(344, b"n+1\0");
        header
    }

    /// nifti2.h: the same, wider and in another order.
    fn second(&self) -> Vec<u8> {
        let mut header = vec![0u8; SECOND_BYTES];
        let mut at = |offset: usize, bytes: &[u8]| {
            header[offset..offset + bytes.len()].copy_from_slice(bytes);
        };
        let (number, bits) = self.number();
        at(0, &540i32.to_le_bytes());
        at(4, b"n+2\0\r\n\x1a\n");
        at(12, &number.to_le_bytes());
        at(14, &bits.to_le_bytes());
        at(16, &(self.rank as i64).to_le_bytes());
        for (i, side) in self.sides.into_iter().chain([1; 3]).enumerate() {
            at(24 + 8 * i, &(side as i64).to_le_bytes());
        }
        for (i, step) in [1.0].iter().chain(&self.steps).chain(&[1.0; 3]).enumerate() {
            at(104 + 8 * i, &step.to_le_bytes());
        }
        at(168, &(SECOND_BYTES as i64).to_le_bytes());
        at(176, &1f64.to_le_bytes());
        at(240, self.about.as_bytes());
        at(348, &1i32.to_le_bytes());
        for (i, value) in self.matrix.as_flattened().iter().enumerate() {
            at(400 + 8 * i, &value.to_le_bytes());
        }
        at(500, &i32::from(self.units).to_le_bytes());
        at(504, &i32::from(self.intent).to_le_bytes());
        header
    }
}

/// `NAME.labels.txt` beside `NAME.nii.gz`, or another label volume that ITK-SNAP takes.
fn names_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.trim_end_matches(".gz");
    let stem = VOLUMES.iter().find_map(|ending| name.strip_suffix(*ending)).unwrap_or(name);
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

/// The names beside a label volume: in the table that we write, or in one that a person saved from ITK-SNAP under the name
/// of the volume (`NAME.txt`, `NAME.label`). None where there is no such table.
pub(super) fn label_names(path: &Path) -> BTreeMap<u32, String> {
    let ours = names_path(path);
    let saved = TABLES.map(|ending| ours.with_extension("").with_extension(ending));
    let mut tables = [ours].into_iter().chain(saved).map(|table| names_in(&table));
    tables.find(|names| !names.is_empty()).unwrap_or_default()
}

/// The names in a table of ITK-SNAP; none in a text of something else.
fn names_in(table: &Path) -> BTreeMap<u32, String> {
    let bytes = codec::read_file(table).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let row = |line: &str| {
        let (from, to) = (line.find('"')?, line.rfind('"')?);
        let numbers: Vec<&str> = line[..from].split_whitespace().collect();
        let is_row = numbers.len() == TABLE_NUMBERS
            && numbers.iter().all(|number| number.parse::<f64>().is_ok());
        let number = numbers.first().filter(|_| is_row)?.parse().ok()?;
        Some((number, line.get(from + 1..to)?.to_owned()))
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

    #[test]
    fn names_that_a_person_saved_from_itk_snap_are_found_by_the_name_of_the_volume() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let table = "# ITK-SnAP Label Description File\n\
                     # IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL\n\
                     \x20   0     0    0    0        0  0  0    \"Clear Label\"\n\
                     \x20   7   255    0    0      0.5  1  1    \"vein, left\"\n";
        let found = |volume: &str| label_names(&dir.path().join(volume)).get(&7).cloned();
        for (file, volume) in [("a.txt", "a.nii.gz"), ("b.1.label", "b.1.nrrd"), ("c.txt", "c.mha")]
        {
            assert_eq!(found(volume), None);
            write_atomic(&dir.path().join(file), table.as_bytes()).expect("written");
            assert_eq!(found(volume).as_deref(), Some("vein, left"), "{volume}");
        }
        // What somebody noted is no table, and ours goes before any other.
        write_atomic(&dir.path().join("d.txt"), b"7 frames of \"p. 12\"\n").expect("written");
        assert_eq!(label_names(&dir.path().join("d.nii")), BTreeMap::new());
        let ours = label_table(&["", "", "", "", "", "", "nerve"].map(str::to_owned));
        write_atomic(&dir.path().join("a.labels.txt"), ours.as_bytes()).expect("written");
        assert_eq!(found("a.nii.gz").as_deref(), Some("nerve"));
    }
}
