//! Points and boxes in image pixels, and where the voxels of a volume lie.
//!
//! What decides whether this file is right: centres of pixels lie at half-integers; millimetres are DICOM's (LPS), and
//! NIfTI's differ in the sign of x and y; between grids nothing is interpolated.

use serde::{Deserialize, Serialize};

/// A position in pixels of the original image; origin at the top left corner of the top left
/// pixel, so pixel centres lie at half-integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PointPx {
    /// Distance from the left edge, px.
    pub x: f32,
    /// Distance from the top edge, px.
    pub y: f32,
}

impl PointPx {
    /// The point at `x`, `y` px.
    #[must_use]
    pub fn new(x: f32, y: f32) -> Self {
        Self { x, y }
    }

    /// Centre of the pixel in column `column`, row `row`.
    #[must_use]
    pub fn pixel_centre(column: u32, row: u32) -> Self {
        Self::new(column as f32 + 0.5, row as f32 + 0.5)
    }

    /// Euclidean distance, px.
    #[must_use]
    pub fn distance(self, other: Self) -> f32 {
        (self.x - other.x).hypot(self.y - other.y)
    }

    /// The nearest position inside an image of `width` x `height` px.
    #[must_use]
    pub fn clamped(self, width: u32, height: u32) -> Self {
        Self::new(self.x.clamp(0.0, width as f32), self.y.clamp(0.0, height as f32))
    }
}

/// An axis-aligned box, px; `min` is the top left and `max` the bottom right corner.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoxPx {
    /// Top left corner.
    pub min: PointPx,
    /// Bottom right corner.
    pub max: PointPx,
}

impl BoxPx {
    /// The box spanned by two opposite corners, in whichever order they were given.
    #[must_use]
    pub fn from_corners(a: PointPx, b: PointPx) -> Self {
        Self {
            min: PointPx::new(a.x.min(b.x), a.y.min(b.y)),
            max: PointPx::new(a.x.max(b.x), a.y.max(b.y)),
        }
    }

    /// The smallest box around points; `None` without any.
    #[must_use]
    pub fn of(points: impl IntoIterator<Item = PointPx>) -> Option<Self> {
        points.into_iter().fold(None, |found: Option<Self>, at| {
            let Self { min, max } = found.unwrap_or(Self { min: at, max: at });
            Some(Self {
                min: PointPx::new(min.x.min(at.x), min.y.min(at.y)),
                max: PointPx::new(max.x.max(at.x), max.y.max(at.y)),
            })
        })
    }

    /// Its middle.
    #[must_use]
    pub fn centre(self) -> PointPx {
        PointPx::new((self.min.x + self.max.x) / 2.0, (self.min.y + self.max.y) / 2.0)
    }

    /// So many px more on every side.
    #[must_use]
    pub fn grown(self, by_px: f32) -> Self {
        Self {
            min: PointPx::new(self.min.x - by_px, self.min.y - by_px),
            max: PointPx::new(self.max.x + by_px, self.max.y + by_px),
        }
    }

    /// One of nine equal parts: `column` and `row` 0..3.
    #[must_use]
    pub fn ninth(self, column: u8, row: u8) -> Self {
        let third = |low: f32, high: f32, at: u8| low + (high - low) * f32::from(at) / 3.0;
        let corner = |column: u8, row: u8| {
            let x = third(self.min.x, self.max.x, column);
            PointPx::new(x, third(self.min.y, self.max.y, row))
        };
        Self { min: corner(column, row), max: corner(column + 1, row + 1) }
    }
}

/// Where the voxels of a volume lie, mm, in the axes of DICOM and ITK (LPS): x to the patient's
/// left, y to the back, z to the head.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// Centre of the first pixel of the first frame.
    pub origin_mm: [f64; 3],
    /// From one column, one row and one frame to the next.
    pub steps_mm: [[f64; 3]; 3],
}

impl Placement {
    /// At the origin, along the axes, with the given distances between columns, rows and frames.
    #[must_use]
    pub fn upright([x, y, z]: [f64; 3]) -> Self {
        Self { origin_mm: [0.0; 3], steps_mm: [[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, z]] }
    }

    /// From a matrix in NIfTI's axes (RAS: x to the right, y to the front), rows first.
    #[must_use]
    pub fn from_ras(rows: [[f64; 4]; 3]) -> Self {
        let flipped = |axis: usize, value: f64| if axis < 2 { -value } else { value };
        let column = |j: usize| [0, 1, 2].map(|i| flipped(i, rows[i][j]));
        Self { origin_mm: column(3), steps_mm: [column(0), column(1), column(2)] }
    }

    /// The matrix in NIfTI's axes, rows first.
    #[must_use]
    pub fn to_ras(&self) -> [[f64; 4]; 3] {
        let flipped = |axis: usize, value: f64| if axis < 2 { -value } else { value };
        [0, 1, 2].map(|i| {
            let [a, b, c] = self.steps_mm.map(|step| flipped(i, step[i]));
            [a, b, c, flipped(i, self.origin_mm[i])]
        })
    }

    /// Distances between columns, rows and frames, mm.
    #[must_use]
    pub fn spacing_mm(&self) -> [f64; 3] {
        self.steps_mm.map(|[x, y, z]| (x * x + y * y + z * z).sqrt())
    }

    /// True when every number is finite and the three steps span space.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let numbers = self.steps_mm.iter().flatten().chain(&self.origin_mm);
        numbers.into_iter().all(|v| v.is_finite()) && self.determinant().abs() > 1e-12
    }

    /// The same voxels with their axes in another order.
    #[must_use]
    pub fn with_axes(&self, order: [usize; 3]) -> Self {
        Self { steps_mm: order.map(|axis| self.steps_mm[axis]), ..*self }
    }

    fn determinant(&self) -> f64 {
        let [a, b, c] = self.steps_mm;
        dot(a, cross(b, c))
    }

    /// Column, row and frame (not whole numbers in general) of a position; the steps span space.
    fn index_of(&self, position: [f64; 3], direction: bool) -> [f64; 3] {
        let origin = if direction { [0.0; 3] } else { self.origin_mm };
        let from = [0, 1, 2].map(|i| position[i] - origin[i]);
        let [a, b, c] = self.steps_mm;
        let whole = self.determinant();
        [cross(b, c), cross(c, a), cross(a, b)].map(|normal| dot(from, normal) / whole)
    }

    /// How voxels placed by `self` are counted in `other`: exact only, without interpolation.
    /// `None` when the grids do not fall on each other (to a hundredth of a voxel).
    #[must_use]
    pub fn grid_in(&self, other: &Placement) -> Option<GridMap> {
        if !(self.is_sound() && other.is_sound()) {
            return None;
        }
        let whole = |v: f64| ((v - v.round()).abs() < 0.01).then_some(v.round() as i64);
        let start = other.index_of(self.origin_mm, false).map(whole);
        let mut map = GridMap { start: [start[0]?, start[1]?, start[2]?], steps: [[0; 3]; 3] };
        for (to, step) in map.steps.iter_mut().zip(self.steps_mm) {
            for (to, part) in to.iter_mut().zip(other.index_of(step, true)) {
                *to = whole(part)?;
            }
            if to.iter().map(|part| part.abs()).sum::<i64>() != 1 {
                return None;
            }
        }
        Some(map)
    }

    /// How the pixels of a plane are counted in these voxels, by the centre of its first pixel and
    /// its steps from one column and one row to the next, mm. As exact as [`Self::grid_in`].
    #[must_use]
    pub fn plane(&self, origin_mm: [f64; 3], [across, down]: [[f64; 3]; 2]) -> Option<GridMap> {
        let normal = cross(across, down);
        let along = |step: &[f64; 3]| (dot(normal, *step) / dot(*step, *step).sqrt()).abs();
        let next = self.steps_mm.into_iter().max_by(|a, b| along(a).total_cmp(&along(b)))?;
        Self { origin_mm, steps_mm: [across, down, next] }.grid_in(self)
    }
}

/// Whole-number way from the voxels of one grid to those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GridMap {
    /// Where the first voxel falls.
    pub start: [i64; 3],
    /// What one column, one row and one frame add.
    pub steps: [[i64; 3]; 3],
}

impl GridMap {
    /// Nothing is moved.
    #[must_use]
    pub fn same() -> Self {
        Self { start: [0; 3], steps: [[1, 0, 0], [0, 1, 0], [0, 0, 1]] }
    }

    /// Where the voxel `at` falls.
    #[must_use]
    pub fn voxel(&self, at: [usize; 3]) -> [i64; 3] {
        [0, 1, 2].map(|i| {
            let moved = (0..3).map(|axis| self.steps[axis][i] * at[axis] as i64);
            self.start[i] + moved.sum::<i64>()
        })
    }
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(p, q)| p * q).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_that_are_turned_flipped_or_cropped_fall_on_each_other() {
        let clip = Placement {
            origin_mm: [10.0, -4.0, 7.0],
            steps_mm: [[0.5, 0.0, 0.0], [0.0, 0.0, -0.25], [0.0, 2.0, 0.0]],
        };
        assert_eq!(clip.grid_in(&clip), Some(GridMap::same()));
        // Stored rows first, from the last row on, beginning at column 3.
        let other = Placement {
            origin_mm: [10.0 + 3.0 * 0.5, -4.0, 7.0 - 9.0 * 0.25],
            steps_mm: [[0.0, 0.0, 0.25], [0.5, 0.0, 0.0], [0.0, 2.0, 0.0]],
        };
        let map = other.grid_in(&clip).expect("the grids agree");
        assert_eq!(map.voxel([0, 0, 0]), [3, 9, 0]);
        assert_eq!(map.voxel([9, 2, 5]), [5, 0, 5]);
        let finer = Placement::upright([0.3, 0.25, 2.0]);
        assert_eq!(finer.grid_in(&clip), None);
        assert_eq!(Placement::from_ras(clip.to_ras()), clip);
    }
}
