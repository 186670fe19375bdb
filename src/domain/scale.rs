//! Size of a pixel where a frame has several: the regions of an ultrasound picture.
//!
//! What decides whether this file is right: what has no single size in mm gets none, and the reason.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Bitmap, ClipInfo, PointPx};

/// A part of the frame with a scale of its own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// First column and row, last column and row, px.
    pub at: [u32; 4],
    /// Size of a pixel (x, y), mm; `None` where an axis is no length, as in a spectrum.
    pub mm: Option<[f64; 2]>,
}

impl Scale {
    fn holds(&self, x: u32, y: u32) -> bool {
        let [x0, y0, x1, y1] = self.at;
        (x0..=x1).contains(&x) && (y0..=y1).contains(&y)
    }
}

/// Whether two scales are one, to the rounding of what a file says.
#[must_use]
pub fn same_scale(a: Option<[f64; 2]>, b: Option<[f64; 2]>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.iter().zip(b).all(|(p, q)| (p - q).abs() <= 1e-6 * p.abs()),
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// Why something in the picture has no size in mm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMm {
    /// The clip tells nothing of sizes.
    Untold,
    /// It lies where an axis is no length.
    NoLength,
    /// It lies outside the regions with a scale.
    Outside,
    /// It reaches over regions of different scales.
    Mixed,
}

impl fmt::Display for NoMm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untold => "this clip tells no spacing",
            Self::NoLength => "the axes of this region are no lengths",
            Self::Outside => "it lies outside the regions whose scale the clip tells",
            Self::Mixed => "it reaches over regions of different scales",
        })
    }
}

impl ClipInfo {
    /// Size of a pixel (x, y) where `mask` lies, mm: that of the region with its centroid.
    ///
    /// # Errors
    /// When there is none, or a part of the mask lies in a region of another scale.
    pub fn scale_of(&self, mask: &Bitmap) -> Result<[f64; 2], NoMm> {
        let width = mask.width_px as usize;
        let inside = mask.pixels.iter().enumerate().filter(|(_, set)| **set);
        let at = inside.map(|(i, _)| ((i % width) as u32, (i / width) as u32));
        let sum = at.clone().fold((0u64, 0u64, 0u64), |(x, y, n), (column, row)| {
            (x + u64::from(column), y + u64::from(row), n + 1)
        });
        let (x, y, count) = sum;
        if self.scales.is_empty() || count == 0 {
            return self.pixel_spacing_mm.ok_or(NoMm::Untold);
        }
        let home = self.scale_at((x / count) as u32, (y / count) as u32).ok_or(NoMm::Outside)?;
        let strays = |(x, y)| self.scale_at(x, y).is_some_and(|s| !same_scale(s.mm, home.mm));
        if at.clone().any(strays) {
            return Err(NoMm::Mixed);
        }
        home.mm.ok_or(NoMm::NoLength)
    }

    /// Size of a pixel (x, y) on the way between two positions, mm.
    ///
    /// # Errors
    /// When there is none, or they lie in regions of different scales.
    pub fn scale_between(&self, a: PointPx, b: PointPx) -> Result<[f64; 2], NoMm> {
        if self.scales.is_empty() {
            return self.pixel_spacing_mm.ok_or(NoMm::Untold);
        }
        let of = |p: PointPx| {
            let p = p.clamped(self.width_px, self.height_px);
            let last = |v: f32, side: u32| (v as u32).min(side.saturating_sub(1));
            self.scale_at(last(p.x, self.width_px), last(p.y, self.height_px))
        };
        let (a, b) = (of(a).ok_or(NoMm::Outside)?, of(b).ok_or(NoMm::Outside)?);
        if !same_scale(a.mm, b.mm) {
            return Err(NoMm::Mixed);
        }
        a.mm.ok_or(NoMm::NoLength)
    }

    /// The region of a pixel; where several overlap, one that has lengths.
    fn scale_at(&self, x: u32, y: u32) -> Option<&Scale> {
        let here = || self.scales.iter().filter(move |scale| scale.holds(x, y));
        here().find(|scale| scale.mm.is_some()).or_else(|| here().next())
    }
}
