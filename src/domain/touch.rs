//! A mask that is nearly right, moved through a few points.
//!
//! A person who corrects a propagated mask says where its edge is wrong and nothing about the rest,
//! so the rest stays: the contour moves to the points, smoothly and only near them.

use super::snap::on_the_cut;
use super::{Bitmap, PointPx, snap_to_points};

/// `mask` with its contour through `points`, px of the image. The place of the contour that is
/// farthest from all of them holds still: it gives even a single point a scale to move on.
#[must_use]
pub fn moved_through(mask: &Bitmap, points: &[PointPx]) -> Bitmap {
    let away = |at: &PointPx| points.iter().map(|p| p.distance(*at)).fold(f32::INFINITY, f32::min);
    let contour = mask.boundary().into_iter().map(|(x, y)| PointPx::pixel_centre(x, y));
    let still = contour.max_by(|a, b| away(a).total_cmp(&away(b)));
    let all: Vec<PointPx> = points.iter().copied().chain(still).collect();
    let mut logits: Vec<f32> =
        mask.pixels.iter().map(|inside| if *inside { 1.0 } else { -1.0 }).collect();
    snap_to_points(&mut logits, mask.width_px, mask.height_px, &all);
    Bitmap::from_logits(mask.width_px, mask.height_px, &logits)
}

/// How far `points` are off the contour of `mask`: the farthest one's distance as a part of the radius that a disc of the
/// mask's area has. Infinite for an empty mask, 0 without points. Where the border of the image cuts the mask, it is its
/// contour.
#[must_use]
pub fn off_by(mask: &Bitmap, points: &[PointPx]) -> f32 {
    let contour = mask.boundary();
    let contour = || contour.iter().map(|(x, y)| PointPx::pixel_centre(*x, *y));
    let size = [mask.width_px, mask.height_px].map(|n| n as usize);
    let away = |at: &PointPx| {
        let away = contour().map(|p| p.distance(*at)).fold(f32::INFINITY, f32::min);
        if on_the_cut(|x, y| mask.get(x, y), size, *at, away) { 0.0 } else { away }
    };
    let farthest = points.iter().map(away).fold(0.0, f32::max);
    farthest / (mask.area_px() as f32 / std::f32::consts::PI).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_off_by_a_part_of_the_radius() {
        let disc =
            Bitmap::from_fn(120, 100, |x, y| (x as f32 - 60.0).hypot(y as f32 - 50.0) < 30.0);
        let off = |points: &[(f32, f32)]| {
            off_by(&disc, &points.iter().map(|(x, y)| PointPx::new(*x, *y)).collect::<Vec<_>>())
        };
        assert_eq!(off(&[]), 0.0);
        assert!(off(&[(90.5, 50.5), (60.5, 20.5)]) < 0.05);
        let farthest = off(&[(90.5, 50.5), (60.5, 95.5)]);
        assert!((farthest - 0.5).abs() < 0.05, "{farthest}");
        let cut = Bitmap::from_fn(120, 100, |x, y| (x as f32).hypot(y as f32 - 50.0) < 30.0);
        assert_eq!(off_by(&cut, &[PointPx::new(0.5, 50.5)]), 0.0, "on the border of the image");
        assert!(off_by(&cut, &[PointPx::new(0.5, 27.5)]) > 0.1, "an end of the cut is elsewhere");
        assert_eq!(off_by(&Bitmap::empty(9, 9), &[PointPx::new(1.0, 1.0)]), f32::INFINITY);
    }

    #[test]
    fn one_point_moves_the_contour_near_it_and_leaves_the_rest() {
        let disc =
            Bitmap::from_fn(120, 100, |x, y| (x as f32 - 60.0).hypot(y as f32 - 50.0) < 30.0);
        for (x, outside) in [(97.5, 101), (82.5, 88)] {
            let moved = moved_through(&disc, &[PointPx::new(x, 50.5)]);
            assert!(moved.get(x as i64, 50) && !moved.get(outside, 50), "through {x}");
            let far = |b: &Bitmap| (0..120 * 100).filter(|i| i % 120 < 50 && b.pixels[*i]).count();
            assert!(far(&moved).abs_diff(far(&disc)) < 9, "the other side stays");
            let grown = moved.area_px() as f32 / disc.area_px() as f32;
            assert!((0.85..1.15).contains(&grown), "{grown}");
        }
        assert_eq!(moved_through(&disc, &[]), disc);
        let none = Bitmap::empty(9, 9);
        assert_eq!(moved_through(&none, &[PointPx::new(4.5, 4.5)]).area_px(), 0);
    }
}
