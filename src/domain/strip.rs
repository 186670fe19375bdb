//! A line through a clip over time (M-mode): gray values along it, and where masks cross it.

use super::{GrayFrame, Mask, PointPx};

/// The place at `share` (0..=1) of the way.
fn on_the_way(from: PointPx, to: PointPx, share: f32) -> PointPx {
    PointPx::new(from.x + (to.x - from.x) * share, from.y + (to.y - from.y) * share)
}

/// Gray values at `count` places evenly on the way, the middles of `count` equal pieces; values
/// between pixels are mixed.
#[must_use]
pub fn sampled(frame: &GrayFrame, from: PointPx, to: PointPx, count: usize) -> Vec<u8> {
    let gray = |i: usize| {
        let at = on_the_way(from, to, (i as f32 + 0.5) / count as f32);
        let (x, y) = (at.x - 0.5, at.y - 0.5);
        let (left, top) = (x.floor(), y.floor());
        let of = |dx: i64, dy: i64| f32::from(frame.at(left as i64 + dx, top as i64 + dy));
        let upper = of(0, 0) + (of(1, 0) - of(0, 0)) * (x - left);
        let lower = of(0, 1) + (of(1, 1) - of(0, 1)) * (x - left);
        (upper + (lower - upper) * (y - top)).round() as u8
    };
    (0..count).map(gray).collect()
}

/// Borders between `count` equal pieces of the way at which a mask begins or ends.
#[must_use]
pub fn crossings(mask: &Mask, from: PointPx, to: PointPx, count: usize) -> Vec<usize> {
    let mut end = 0u64;
    let ends: Vec<u64> = mask
        .runs()
        .iter()
        .map(|run| {
            end += u64::from(*run);
            end
        })
        .collect();
    let inside = |i: usize| {
        let at = on_the_way(from, to, (i as f32 + 0.5) / count as f32);
        let size = (mask.width_px() as f32, mask.height_px() as f32);
        let shown = (0.0..size.0).contains(&at.x) && (0.0..size.1).contains(&at.y);
        let place = at.y as u64 * u64::from(mask.width_px()) + at.x as u64;
        // Runs take turns, background first.
        shown && ends.partition_point(|end| *end <= place) % 2 == 1
    };
    let known: Vec<bool> = (0..count).map(inside).collect();
    (1..count).filter(|&i| known[i] != known[i - 1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Bitmap;

    #[test]
    fn a_line_sees_the_grays_and_the_borders_it_crosses() {
        let pixels = (0..40 * 30).map(|i| (i % 40 * 5) as u8).collect();
        let frame = GrayFrame::new(40, 30, pixels).expect("the size fits");
        let across = (PointPx::new(0.0, 15.0), PointPx::new(40.0, 15.0));
        let grays = sampled(&frame, across.0, across.1, 40);
        assert_eq!((grays[0], grays[7], grays[39]), (0, 35, 195));
        assert_eq!(sampled(&frame, across.0, across.1, 80)[15], 36, "between 35 and 40");
        let down = sampled(&frame, PointPx::new(8.5, 0.0), PointPx::new(8.5, 30.0), 30);
        assert!(down.iter().all(|gray| *gray == 40));

        let mask = Bitmap::from_fn(40, 30, |x, y| (10..25).contains(&x) && y > 3).to_mask();
        assert_eq!(crossings(&mask, across.0, across.1, 40), [10, 25]);
        let (from, to) = (PointPx::new(12.5, 0.0), PointPx::new(12.5, 30.0));
        assert_eq!(crossings(&mask, from, to, 30), [4]);
        let outside = (PointPx::new(-9.0, -9.0), PointPx::new(-1.0, 60.0));
        assert!(crossings(&mask, outside.0, outside.1, 30).is_empty());
    }
}
