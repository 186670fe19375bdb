//! Volumes whose numbers are labels, for masks of other programs.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use super::read_header;
use super::voxels::Voxels;
use crate::codec::CodecError;
use crate::domain::Placement;

/// A label volume whose header was read.
pub struct LabelVolume {
    voxels: Voxels,
}

impl LabelVolume {
    /// Reads the header of a NIfTI, NRRD or MetaImage volume.
    ///
    /// # Errors
    /// When it cannot be read, is no volume, or is too large.
    pub fn open(path: &Path) -> Result<Self, CodecError> {
        let voxels = read_header(path)?;
        if voxels.times > 1 {
            let cause = format!("it holds {} volumes over time", voxels.times);
            let advice = "save the volume of one moment, or one slice over time";
            return Err(CodecError::unsupported(path, cause, advice));
        }
        Ok(Self { voxels })
    }

    /// Voxels along the stored axes, fastest first.
    #[must_use]
    pub fn size(&self) -> [usize; 3] {
        self.voxels.size
    }

    /// Labels at every voxel: layers of a Slicer segmentation, else 1.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.voxels.components
    }

    /// Where the voxels lie, where the file tells it.
    #[must_use]
    pub fn placement(&self) -> Option<Placement> {
        self.voxels.placement
    }

    /// What the header says besides, by key (NRRD).
    #[must_use]
    pub fn texts(&self) -> &BTreeMap<String, String> {
        &self.voxels.texts
    }

    /// Calls `act` with every slice in order: its index and its labels, layers first, then
    /// columns, then rows.
    ///
    /// # Errors
    /// When the file is damaged, or holds a value that is no label (a whole number from 0 on).
    pub fn each_slice(&self, mut act: impl FnMut(usize, &[u32])) -> Result<(), CodecError> {
        let strange = Cell::new(false);
        let label = |value: f64| {
            let whole = (0.0..=f64::from(u32::MAX)).contains(&value) && value.fract() == 0.0;
            strange.set(strange.get() || !whole);
            value as u32
        };
        self.voxels.each_plane(label, &mut act)?;
        if strange.get() {
            let cause = "it holds numbers that are no labels";
            let advice = "give a volume of whole numbers from 0 on, one for each structure";
            return Err(CodecError::unsupported(&self.voxels.place.file, cause, advice));
        }
        Ok(())
    }

    /// Calls `act` with every slice in order: its index, and 1 for every voxel above `level`, else 0; any numbers are
    /// masks in this way.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn each_slice_above(
        &self,
        level: f64,
        mut act: impl FnMut(usize, &[u32]),
    ) -> Result<(), CodecError> {
        self.voxels.each_plane(|value| u32::from(value > level), &mut act)
    }
}
