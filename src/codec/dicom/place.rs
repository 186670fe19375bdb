//! Where the planes of a volume lie in the patient.

use super::reader::DataSet;
use super::tags;
use crate::domain::Placement;

/// How far a plane may lie from where even spacing puts it, mm.
const UNEVEN_MM: f64 = 0.1;

/// One plane: centre of its first pixel and directions of rows and columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plane {
    position_mm: [f64; 3],
    /// Along a row, to the next column.
    across: [f64; 3],
    /// Along a column, to the next row.
    down: [f64; 3],
}

impl Plane {
    /// Of a single image.
    pub(super) fn of(set: &DataSet) -> Option<Self> {
        Self::read(set, set)
    }

    /// Of a frame of an enhanced object.
    pub(super) fn of_frame(set: &DataSet, frame: usize) -> Option<Self> {
        let own = set.items(tags::PER_FRAME_GROUPS).get(frame)?;
        let shared = set.items(tags::SHARED_GROUPS).first();
        let group = |tag| {
            own.items(tag).first().or_else(|| shared.and_then(|shared| shared.items(tag).first()))
        };
        Self::read(group(tags::PLANE_POSITION)?, group(tags::PLANE_ORIENTATION)?)
    }

    fn read(position: &DataSet, orientation: &DataSet) -> Option<Self> {
        let position_mm = position.decimals(tags::POSITION).try_into().ok()?;
        let [a, b, c, d, e, f]: [f64; 6] =
            orientation.decimals(tags::ORIENTATION).try_into().ok()?;
        Some(Self { position_mm, across: [a, b, c], down: [d, e, f] })
    }

    fn parallel(&self, other: &Self) -> bool {
        let same = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).all(|(p, q)| (p - q).abs() < 1e-3);
        same(self.across, other.across) && same(self.down, other.down)
    }
}

/// Distances along the normal of the first plane, mm; `None` when planes are not parallel.
pub(super) fn depths_mm(planes: &[Plane]) -> Option<Vec<f64>> {
    let first = planes.first()?;
    let ([a, b, c], [d, e, f]) = (first.across, first.down);
    let normal = [b * f - c * e, c * d - a * f, a * e - b * d];
    let depth = |plane: &Plane| {
        let along = plane.position_mm.iter().zip(normal).map(|(p, n)| p * n).sum();
        plane.parallel(first).then_some(along)
    };
    planes.iter().map(depth).collect()
}

/// The placement of planes in order; `None` when they are not evenly spaced, or pixels have no
/// known size (columns, rows).
pub(super) fn placement(planes: &[Plane], spacing_mm: Option<[f64; 2]>) -> Option<Placement> {
    let ([first, .., last], [x, y]) = (planes, spacing_mm?) else {
        return None;
    };
    depths_mm(planes)?;
    let steps = (planes.len() - 1) as f64;
    let along = [0, 1, 2].map(|i| (last.position_mm[i] - first.position_mm[i]) / steps);
    let even = planes.iter().enumerate().all(|(n, plane)| {
        (0..3).all(|i| {
            let expected = first.position_mm[i] + along[i] * n as f64;
            (plane.position_mm[i] - expected).abs() < UNEVEN_MM
        })
    });
    let steps_mm = [first.across.map(|v| v * x), first.down.map(|v| v * y), along];
    let placement = Placement { origin_mm: first.position_mm, steps_mm };
    (even && placement.is_sound()).then_some(placement)
}
