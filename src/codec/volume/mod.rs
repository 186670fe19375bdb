//! Volumes (NIfTI, NRRD, MetaImage), sliced along an axis; of volumes over time one slice that
//! plays, or the volume of one moment (`view.rs`).
//!
//! Frames are planes of the voxels as they are stored, without turning or flipping: along Z a
//! frame has x to the right and y downwards, along Y x and z, along X y and z; where they lie in
//! the patient goes with the clip ([`ClipInfo::placement`]). Gray: unsigned 8-bit voxels as they
//! are; others from the range that the header asks for, else from the smallest to the largest
//! value of the whole volume. The volume is read as a stream (twice where its range has to be
//! found) and kept as 8-bit voxels, at most 1 GiB, since packed files give no access to single
//! planes.

mod labels;
mod metaimage;
mod nifti;
mod nrrd;
mod view;
mod voxels;

use std::io::Read;
use std::path::Path;

use super::error::short_name;
use super::gray::Ramp;
use super::limits::{check_size, open_regular};
use super::{Clip, CodecError, FrameSource, Opened, identity, sniff};
use crate::domain::{ClipInfo, ClipKind, ContentHash, Cut, FrameIndex, GrayFrame};
pub use labels::LabelVolume;
pub use nifti::NIFTI_2;
use view::{Part, View, axis_of};
pub(crate) use voxels::MAX_LABELS;
use voxels::{Number, Voxels, ends_well};

struct Volume {
    /// The axis along which its frames follow each other, 0 to 2.
    axis: usize,
    /// Size along x, y, z; of a slice over time its columns, rows and moments.
    size: [usize; 3],
    /// Gray voxels, x fastest.
    voxels: Vec<u8>,
}

/// How the first bytes of a volume look, for those that have such.
pub(super) fn is_text_header(head: &[u8]) -> bool {
    head.starts_with(b"NRRD000")
        || head.starts_with(b"ObjectType")
        || (head.starts_with(b"NDims") && head.iter().take(64).any(|&b| b == b'='))
}

/// Reads the header of a volume.
fn read_header(path: &Path) -> Result<Voxels, CodecError> {
    let mut head = Vec::with_capacity(16);
    let mut file = open_regular(path)?.take(16);
    file.read_to_end(&mut head).map_err(|e| CodecError::unreadable(path, e))?;
    if head.starts_with(b"NRRD") {
        nrrd::read(path)
    } else if head.starts_with(b"ObjectType") || head.starts_with(b"NDims") {
        metaimage::read(path)
    } else {
        nifti::read(path)
    }
}

/// Opens a volume.
pub(super) fn open(path: &Path, cut: Cut) -> Result<Opened, CodecError> {
    let header = read_header(path)?;
    if header.components != 1 {
        let cause = format!("its voxels have {} components", header.components);
        let advice = "save one of them as a volume; layers of a segmentation are for `import`";
        return Err(CodecError::unsupported(path, cause, advice));
    }
    header.fits_memory(path)?;
    let view = View::of(path, &header, cut)?;
    let [width, height, slices] = view.turned(header.size);
    let plays = matches!(view.part, Part::Slice(_));
    let frames = if plays { header.times } else { slices };
    check_size(path, width as u32, height as u32, frames)?;
    let ramp = match display_range(&header) {
        Some(ramp) => ramp,
        None => value_range(&header)?,
    };
    // What is never written to takes no memory.
    let mut voxels = Vec::with_capacity(width * height * frames);
    header.each_row(|plane, row, values| {
        let kept = view.kept([plane, row], values, header.size[2]);
        voxels.extend(kept.iter().map(|&v| ramp.gray(v)));
    })?;
    // The third axis of a file, or the frames that are picked from volumes over time.
    let timed = plays || (header.time_ms.is_some() && header.times == 1 && view.axis == 2);
    let whole = hash_of(path, &header)?;
    let order = view.turned([0, 1, 2]);
    let info = ClipInfo {
        content_hash: match view.word(header.times) {
            Some(word) => identity::of_view(&whole, &word),
            None => whole,
        },
        name: short_name(path),
        kind: match (frames, timed) {
            (1, _) => ClipKind::Still,
            (_, true) => ClipKind::Cine,
            (_, false) => ClipKind::Volume,
        },
        width_px: width as u32,
        height_px: height as u32,
        frames,
        pixel_spacing_mm: header.spacing_mm.map(|mm| [mm[order[0]], mm[order[1]]]),
        scales: Vec::new(),
        slice_spacing_mm: header.spacing_mm.map(|mm| mm[order[2]]).filter(|_| !timed),
        frame_time_ms: header.time_ms.filter(|ms| timed && *ms > 0.0),
        frame_times_ms: Vec::new(),
        placement: header.placement.map(|placement| view.placement(placement)),
        lossy: None,
        format: format!("{}, {:?} along {:?}", header.what, header.number, axis_of(view.axis)),
    };
    let notes = view.note(&header).into_iter().collect();
    let volume = match plays {
        true => Volume { axis: 2, size: [width, height, frames], voxels },
        false => Volume { axis: view.axis, size: header.size, voxels },
    };
    Ok(Opened { notes, ..Opened::new(info, volume) })
}

impl Clip {
    /// Which part of it is shown where `cut` was asked for: of volumes over time with the number of the slice or moment,
    /// also where nobody named one; of other clips `cut` itself.
    #[must_use]
    pub fn part(&self, cut: Cut) -> Cut {
        if !sniff::kind_of(self.path()).is_ok_and(|kind| kind == sniff::Kind::Volume) {
            return cut;
        }
        // The header alone is read again.
        let Ok(header) = read_header(self.path()) else { return cut };
        match View::of(self.path(), &header, cut) {
            Ok(view) if header.times > 1 => view.part.named(cut.axis),
            _ => cut,
        }
    }
}

/// Of the header and, where they are apart, the voxels.
fn hash_of(path: &Path, header: &Voxels) -> Result<ContentHash, CodecError> {
    let data = &header.place.file;
    if data == path {
        return identity::of_file(path);
    }
    let size = |path: &Path| -> Result<u64, CodecError> {
        let meta = open_regular(path)?.metadata();
        meta.map(|meta| meta.len()).map_err(|e| CodecError::unreadable(path, e))
    };
    identity::of_frames(&[(path.to_owned(), size(path)?), (data.clone(), size(data)?)])
}

impl FrameSource for Volume {
    fn file_of(&self, _index: FrameIndex) -> Option<&Path> {
        None
    }

    fn read(
        &self,
        index: FrameIndex,
        _keep: &mut dyn FnMut(FrameIndex, GrayFrame),
    ) -> Result<GrayFrame, CodecError> {
        let [nx, ny, _] = self.size;
        let [sx, sy, sz] = self.size;
        let (width, height) = match self.axis {
            0 => (sy, sz),
            1 => (sx, sz),
            _ => (sx, sy),
        };
        let voxel = |column: usize, row: usize| {
            let [x, y, z] = match self.axis {
                0 => [index, column, row],
                1 => [column, index, row],
                _ => [column, row, index],
            };
            self.voxels[(z * ny + y) * nx + x]
        };
        let pixels = (0..height).flat_map(|row| (0..width).map(move |column| (column, row)));
        Ok(GrayFrame {
            width_px: width as u32,
            height_px: height as u32,
            pixels: pixels.map(|(column, row)| voxel(column, row)).collect(),
            ..GrayFrame::default()
        })
    }
}

/// Checks that all declared voxels are there, and the check sum where there is one.
pub(super) fn complete(path: &Path) -> Result<(), CodecError> {
    let header = read_header(path)?;
    let data = &header.place.file;
    let mut reader = header.reader()?;
    let wanted = header.bytes();
    let found = std::io::copy(&mut reader.by_ref().take(wanted), &mut std::io::sink())
        .map_err(|e| CodecError::damaged(data, e))?;
    if found < wanted && header.place.packing != voxels::Packing::Words {
        let cause = format!("it declares {wanted} bytes and has {found}");
        return Err(CodecError::damaged(data, cause));
    }
    ends_well(data, &mut reader)
}

/// The ramp the header asks for, or that of plain 8-bit voxels.
fn display_range(header: &Voxels) -> Option<Ramp> {
    let plain = header.number == Number::U8 && header.scale == (1.0, 0.0);
    header.display.or(plain.then_some(Ramp { low: 0.0, high: 255.0 }))
}

fn value_range(header: &Voxels) -> Result<Ramp, CodecError> {
    let mut range: Option<Ramp> = None;
    header.each_row(|_, _, values| {
        if values.iter().any(|v| v.is_finite()) {
            let next = Ramp::over(values.iter().copied());
            range = Some(range.map_or(next, |r| r.joined(next)));
        }
    })?;
    Ok(range.unwrap_or(Ramp { low: 0.0, high: 1.0 }))
}
