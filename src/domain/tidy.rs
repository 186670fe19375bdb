//! What a network draws round one boundary point alone, made presentable.
//!
//! No contour follows from one point alone, so such a mask is a guess, ragged where the network
//! hesitates: islands, holes, loops at the point. One piece without holes and with a smooth edge
//! through the point is as good a guess, and easier to judge and to correct.

use super::{Bitmap, FramePrompts, MaskEdit, PointKind, PointPx, edited, moved_through};

/// A part smaller than this share of the largest is never the structure, however near the point.
const PART_MIN: f32 = 0.1;
/// The edge is smoothed over this share of the radius of a disc of the mask's area.
const SMOOTH: f32 = 0.15;

/// `mask`, tidied where `prompts` are one boundary point and nothing else; else as it is.
#[must_use]
pub fn tidied(mask: Bitmap, prompts: &FramePrompts) -> Bitmap {
    let [(PointKind::Boundary, at)] = prompts.points[..] else { return mask };
    if prompts.bounding_box.is_some() || prompts.mask.is_some() {
        return mask;
    }
    let Some(part) = part_at(&mask, at) else { return mask };
    let radius = (part.area_px() as f32 / std::f32::consts::PI).sqrt();
    let whole = edited(&part, MaskEdit::Fill);
    let smooth = edited(&whole, MaskEdit::Smooth((SMOOTH * radius).max(1.0))).largest_component();
    // A part that is a thread is nothing but edge.
    let smooth = if smooth.area_px() == 0 { whole } else { smooth };
    edited(&moved_through(&smooth, &[at]).largest_component(), MaskEdit::Fill)
}

/// The part of the mask that is nearest to `at`, of those that are not mere specks.
fn part_at(mask: &Bitmap, at: PointPx) -> Option<Bitmap> {
    let least = (PART_MIN * mask.largest_component().area_px() as f32).ceil() as usize;
    let kept = mask.without(&mask.specks(least.saturating_sub(1)));
    let near = |x: u32, y: u32| PointPx::pixel_centre(x, y).distance(at);
    let set = (0..kept.pixels.len()).filter(|&i| kept.pixels[i]);
    let place = |i: usize| (i as u32 % kept.width_px, i as u32 / kept.width_px);
    let nearest = set.map(place).min_by(|a, b| near(a.0, a.1).total_cmp(&near(b.0, b.1)))?;
    kept.components().find(|part| part.get(i64::from(nearest.0), i64::from(nearest.1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::mask_edit::brushed;
    use crate::domain::{off_by, overlap};

    fn one(kind: PointKind, x: f32, y: f32) -> FramePrompts {
        FramePrompts { points: vec![(kind, PointPx::new(x, y))], ..FramePrompts::default() }
    }

    #[test]
    fn one_piece_without_holes_passes_smoothly_through_the_point() {
        let disc = Bitmap::from_fn(120, 100, |x, y| {
            PointPx::pixel_centre(x, y).distance(PointPx::new(50.0, 50.0)) <= 25.0
        });
        let mut ragged = brushed(&disc, PointPx::new(45.0, 45.0), 4.0, true);
        // A loop at the point, specks beside it, and another large part far away.
        ragged = brushed(&ragged, PointPx::new(80.0, 50.0), 7.0, false);
        ragged = brushed(&ragged, PointPx::new(80.0, 50.0), 4.0, true);
        ragged = brushed(&ragged, PointPx::new(77.0, 64.0), 1.5, false);
        ragged = brushed(&ragged, PointPx::new(105.0, 15.0), 10.0, false);
        let prompts = one(PointKind::Boundary, 76.0, 50.0);
        let tidy = tidied(ragged.clone(), &prompts);
        assert_eq!((tidy.components().count(), tidy.inverted().enclosed().area_px()), (1, 0));
        assert!(off_by(&tidy, &prompts.boundary_points()) < 0.06);
        let (before, after) = (overlap(&ragged, &disc).iou, overlap(&tidy, &disc).iou);
        assert!(after > 0.9 && after > before + 0.1, "{before} {after}");
        assert!(!tidy.get(105, 15), "the other part is gone");
        // Everything else is as the network gave it.
        assert_eq!(tidied(ragged.clone(), &one(PointKind::Inside, 50.0, 50.0)), ragged);
        let mut two = prompts.clone();
        two.points.push((PointKind::Boundary, PointPx::new(25.0, 50.0)));
        assert_eq!(tidied(ragged.clone(), &two), ragged);
        let empty = Bitmap::empty(9, 9);
        assert_eq!(tidied(empty.clone(), &prompts), empty);
        // A thread stays.
        let thread = Bitmap::from_fn(60, 60, |x, y| x == 20 && y < 50);
        assert!(tidied(thread, &one(PointKind::Boundary, 20.0, 30.0)).area_px() > 0);
    }
}
