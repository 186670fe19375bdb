//! The box of a closer look: the part of a frame around one structure, which then fills the network's input.
//!
//! What decides whether this file is right: a structure that fills the frame anyway has no box. On `val` the
//! second look saves the shipped network one click in fifteen (to an IoU of 0.90: 5.9 to 5.5, with shaky clicks to 0.85:
//! 6.3 to 5.8); with the weights before, a box of 1.3 and shares from .5 to 1 were tried and were no better.

use crate::domain::{BoxPx, GrayFrame, PixelBox, PointPx};

/// Side of the box over the longer side of the structure.
const MARGIN: f32 = 1.6;
/// Half of the least side, px of the image: below that nothing is gained but blur.
const HALF_LEAST_PX: f32 = 16.0;
/// Share of the frame's longer side from which on the first look is close enough.
const CLOSE_ENOUGH: f32 = 0.8;

/// The box in which to look at a structure of that extent again; `None` where that would bring nothing.
#[must_use]
pub fn closer_box(extent: BoxPx, frame: &GrayFrame) -> Option<PixelBox> {
    let (width, height) = (frame.width_px as usize, frame.height_px as usize);
    let (x, y) = (extent.max.x - extent.min.x, extent.max.y - extent.min.y);
    let half = (x.max(y) / 2.0 * MARGIN).max(HALF_LEAST_PX);
    let middle = [extent.min.x + extent.max.x, extent.min.y + extent.max.y].map(|v| v / 2.0);
    let corner = |way: f32| PointPx::new(middle[0] + way, middle[1] + way);
    let square = BoxPx { min: corner(-half), max: corner(half) };
    let found = PixelBox::covering(square, width, height);
    let close = found.width.max(found.height) as f32 >= CLOSE_ENOUGH * width.max(height) as f32;
    (!close && found.width > 0 && found.height > 0).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(x0: f32, y0: f32, x1: f32, y1: f32) -> BoxPx {
        BoxPx { min: PointPx::new(x0, y0), max: PointPx::new(x1, y1) }
    }

    #[test]
    fn a_box_is_square_around_the_structure_and_ends_with_the_frame() {
        let frame = GrayFrame { width_px: 400, height_px: 300, ..GrayFrame::default() };
        let inside = closer_box(extent(100.0, 100.0, 150.0, 120.0), &frame);
        assert_eq!(inside, Some(PixelBox { left: 85, top: 70, width: 80, height: 80 }));
        let corner = closer_box(extent(390.0, 0.0, 400.0, 10.0), &frame);
        assert_eq!(corner, Some(PixelBox { left: 379, top: 0, width: 21, height: 21 }));
        assert_eq!(closer_box(extent(0.0, 0.0, 390.0, 200.0), &frame), None);
        for wild in [f32::NAN, f32::INFINITY, -1e30, 1e30] {
            // Whatever a damaged journal says, never a panic.
            if let Some(found) = closer_box(extent(wild, 5.0, wild, wild), &frame) {
                assert!(found.left + found.width <= 400 && found.top + found.height <= 300);
            }
        }
    }
}
