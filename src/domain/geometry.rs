//! Points and boxes in image pixels.

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
}
