//! A part of a frame: a box of whole pixels.
//!
//! What decides whether this file is right: pixels, prompts and values move by the same whole number of pixels.

use super::{BoxPx, FramePrompts, GrayFrame, PointPx};

/// A box of whole pixels inside a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelBox {
    /// First column.
    pub left: usize,
    /// First row.
    pub top: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl PixelBox {
    /// The pixels of a frame of `width` x `height` that `extent` touches. Whatever its numbers are, the box lies inside.
    #[must_use]
    pub fn covering(extent: BoxPx, width: usize, height: usize) -> Self {
        // Casts of floats stop at the ends of their type.
        let span = |low: f32, high: f32, end: usize| {
            let first = (low.max(0.0) as usize).min(end);
            (first, (high.ceil() as usize).min(end).saturating_sub(first))
        };
        let (left, columns) = span(extent.min.x, extent.max.x, width);
        let (top, rows) = span(extent.min.y, extent.max.y, height);
        Self { left, top, width: columns, height: rows }
    }

    /// The pixels of `frame` in the box.
    #[must_use]
    pub fn cut(&self, frame: &GrayFrame) -> GrayFrame {
        GrayFrame {
            width_px: self.width as u32,
            height_px: self.height as u32,
            pixels: self.part(&frame.pixels, frame.width_px as usize),
            ..GrayFrame::default()
        }
    }

    /// What lies in the box of a plane `width` px wide.
    #[must_use]
    pub fn part<T: Copy>(&self, plane: &[T], width: usize) -> Vec<T> {
        let rows = plane.chunks_exact(width.max(1)).skip(self.top).take(self.height);
        rows.flat_map(|row| &row[self.left..self.left + self.width]).copied().collect()
    }

    /// Replaces what lies in the box of a plane `width` px wide.
    pub fn put<T: Copy>(&self, plane: &mut [T], width: usize, values: &[T]) {
        let rows = plane.chunks_exact_mut(width.max(1)).skip(self.top);
        for (row, values) in rows.zip(values.chunks_exact(self.width.max(1))) {
            row[self.left..self.left + self.width].copy_from_slice(values);
        }
    }

    /// Moves the values in the box of a plane `width` px wide towards `others` of the box's size, by `share`.
    pub fn mix(&self, plane: &mut [f32], width: usize, others: &[f32], share: f32) {
        let rows = plane.chunks_exact_mut(width.max(1)).skip(self.top);
        for (row, others) in rows.zip(others.chunks_exact(self.width.max(1))) {
            for (value, other) in row[self.left..].iter_mut().zip(others) {
                *value += share * (other - *value);
            }
        }
    }

    /// A position as seen from the box.
    #[must_use]
    pub fn seen(&self, at: PointPx) -> PointPx {
        PointPx::new(at.x - self.left as f32, at.y - self.top as f32)
    }

    /// Points and box of `prompts` as seen from the box; a mask prompt is left out.
    #[must_use]
    pub fn prompts(&self, prompts: &FramePrompts) -> FramePrompts {
        FramePrompts {
            points: prompts.points.iter().map(|(kind, at)| (*kind, self.seen(*at))).collect(),
            bounding_box: prompts
                .bounding_box
                .map(|b| BoxPx { min: self.seen(b.min), max: self.seen(b.max) }),
            mask: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PointKind;

    fn extent(x0: f32, y0: f32, x1: f32, y1: f32) -> BoxPx {
        BoxPx { min: PointPx::new(x0, y0), max: PointPx::new(x1, y1) }
    }

    #[test]
    fn a_box_ends_with_the_frame() {
        let all = |extent| PixelBox::covering(extent, 40, 30);
        let inside = PixelBox { left: 7, top: 4, width: 6, height: 3 };
        assert_eq!(all(extent(7.5, 4.0, 12.5, 7.0)), inside);
        let whole = PixelBox { left: 0, top: 0, width: 40, height: 30 };
        assert_eq!(all(extent(-5.0, f32::NEG_INFINITY, 1e30, 30.5)), whole);
        for wild in [f32::NAN, f32::INFINITY, -1e30, 1e30] {
            let found = all(extent(wild, 5.0, wild, wild));
            assert!(found.left + found.width <= 40 && found.top + found.height <= 30, "{found:?}");
        }
    }

    #[test]
    fn pixels_points_and_values_move_together() {
        let pixels = (0..40u32 * 30).map(|i| (i % 251) as u8).collect();
        let frame = GrayFrame { width_px: 40, height_px: 30, pixels, ..GrayFrame::default() };
        let part = PixelBox { left: 7, top: 4, width: 5, height: 3 };
        assert_eq!(part.cut(&frame).pixels[6], frame.pixels[5 * 40 + 8]);
        let prompts = FramePrompts {
            points: vec![(PointKind::Boundary, PointPx::new(8.5, 5.25))],
            bounding_box: Some(extent(7.0, 4.0, 9.0, 6.0)),
            mask: None,
        };
        let seen = part.prompts(&prompts);
        assert_eq!(seen.points[0].1, PointPx::new(1.5, 1.25));
        assert_eq!(seen.bounding_box, Some(extent(0.0, 0.0, 2.0, 2.0)));
        let mut values = vec![0.0; 40 * 30];
        let others: Vec<f32> = (0..15).map(|i| i as f32).collect();
        part.mix(&mut values, 40, &others, 0.5);
        assert_eq!(values[5 * 40 + 8], 3.0);
        assert_eq!(values.iter().filter(|v| **v != 0.0).count(), 14);
        part.put(&mut values, 40, &[7.0; 15]);
        assert_eq!((values[4 * 40 + 7], values.iter().sum::<f32>()), (7.0, 15.0 * 7.0));
    }
}
