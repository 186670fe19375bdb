//! Sizes of a mask, as an ultrasound machine gives them: area, perimeter, the longest diameter and
//! the one across it.
//!
//! What decides whether this file is right: diameters run from edge to edge and not from centre to centre of pixels, and
//! where pixels are not square every figure knows it.

use super::{Bitmap, PointPx};

/// Sizes of a mask; in mm where the spacing is known, else in px.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measures {
    /// Area, mm2 or px2.
    pub area: f64,
    /// Length of the contour, mm or px; holes count.
    pub perimeter: f64,
    /// Longest distance between two pixels of the mask, edge to edge, mm or px.
    pub long: f64,
    /// Extent across the longest diameter, mm or px.
    pub short: f64,
    /// The ends of the longest diameter, image px.
    pub ends: (PointPx, PointPx),
}

/// Measures `mask` with pixels of `spacing` (width, height; 1 x 1 for px). `None` when it is empty.
///
/// The perimeter is the count of pixel edges on the contour, corrected for their staircase by pi/4
/// on either axis (Cauchy-Crofton with two directions): exact on average over directions, within
/// 6 % for smooth shapes.
#[must_use]
pub fn measured(mask: &Bitmap, spacing: [f64; 2]) -> Option<Measures> {
    let scaled =
        |(x, y): (u32, u32)| ((f64::from(x) + 0.5) * spacing[0], (f64::from(y) + 0.5) * spacing[1]);
    let hull = hull(row_ends(mask).into_iter().map(scaled).collect());
    let (a, b) = longest(&hull)?;
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let length = dx.hypot(dy);
    let along = match length > 0.0 {
        true => (dx / length, dy / length),
        // A single pixel: along its longer side.
        false if spacing[0] >= spacing[1] => (1.0, 0.0),
        false => (0.0, 1.0),
    };
    let across = (-along.1, along.0);
    // From centre to edge at both ends, taken as an ellipse: of a square pixel the same in every direction.
    let pixel = |way: Xy| (way.0 * spacing[0]).hypot(way.1 * spacing[1]);
    let extent = |low: f64, high: f64, at: &(f64, f64)| {
        let along = at.0 * across.0 + at.1 * across.1;
        (low.min(along), high.max(along))
    };
    let (low, high) = hull
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), at| extent(low, high, at));
    let px = |at: (f64, f64)| PointPx::new((at.0 / spacing[0]) as f32, (at.1 / spacing[1]) as f32);
    Some(Measures {
        area: mask.area_px() as f64 * spacing[0] * spacing[1],
        perimeter: perimeter(mask, spacing),
        long: length + pixel(along),
        short: high - low + pixel(across),
        ends: (px(a), px(b)),
    })
}

/// The first and the last pixel of every row, whose convex hull is that of the mask. A structure that the border of the
/// image cuts ends there.
fn row_ends(mask: &Bitmap) -> Vec<(u32, u32)> {
    let rows = (0u32..).zip(mask.pixels.chunks_exact(mask.width_px.max(1) as usize));
    let ends = |(y, row): (u32, &[bool])| {
        let first = row.iter().position(|inside| *inside);
        let last = row.iter().rposition(|inside| *inside);
        first.into_iter().chain(last).map(move |x| (x as u32, y))
    };
    rows.flat_map(ends).collect()
}

/// Pixel edges between inside and outside; the border of the image counts.
fn perimeter(mask: &Bitmap, spacing: [f64; 2]) -> f64 {
    let (mut upright, mut level) = (0u64, 0u64);
    for y in 0..i64::from(mask.height_px) {
        for x in 0..i64::from(mask.width_px) {
            if mask.get(x, y) {
                upright += u64::from(!mask.get(x - 1, y)) + u64::from(!mask.get(x + 1, y));
                level += u64::from(!mask.get(x, y - 1)) + u64::from(!mask.get(x, y + 1));
            }
        }
    }
    let edges = upright as f64 * spacing[1] + level as f64 * spacing[0];
    std::f64::consts::FRAC_PI_4 * edges
}

type Xy = (f64, f64);

/// Convex hull, counter-clockwise (Andrew's monotone chain).
fn hull(mut points: Vec<Xy>) -> Vec<Xy> {
    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    points.dedup();
    if points.len() < 3 {
        return points;
    }
    let turns_right =
        |a: Xy, b: Xy, c: Xy| (b.0 - a.0) * (c.1 - a.1) - (b.1 - a.1) * (c.0 - a.0) <= 0.0;
    let chain = |points: &mut dyn Iterator<Item = Xy>| {
        let mut chain: Vec<Xy> = Vec::new();
        for at in points {
            while chain.len() > 1 && turns_right(chain[chain.len() - 2], chain[chain.len() - 1], at)
            {
                chain.pop();
            }
            chain.push(at);
        }
        chain.pop();
        chain
    };
    let mut whole = chain(&mut points.iter().copied());
    whole.extend(chain(&mut points.iter().rev().copied()));
    whole
}

fn longest(hull: &[Xy]) -> Option<(Xy, Xy)> {
    let mut best = (0.0, *hull.first()?, *hull.first()?);
    for (i, &a) in hull.iter().enumerate() {
        for &b in &hull[i + 1..] {
            let length = (b.0 - a.0).hypot(b.1 - a.1);
            if length > best.0 {
                best = (length, a, b);
            }
        }
    }
    Some((best.1, best.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ellipse_has_its_sizes_in_px_and_in_mm() {
        let mask = Bitmap::from_fn(120, 100, |x, y| {
            let (dx, dy) = (f64::from(x) + 0.5 - 60.0, f64::from(y) + 0.5 - 50.0);
            (dx / 40.0).powi(2) + (dy / 20.0).powi(2) <= 1.0
        });
        let px = measured(&mask, [1.0, 1.0]).expect("not empty");
        assert!((px.long - 80.0).abs() < 1.5 && (px.short - 40.0).abs() < 1.5, "{px:?}");
        assert!((px.area - std::f64::consts::PI * 800.0).abs() < 20.0);
        assert!((px.perimeter / 193.8 - 1.0).abs() < 0.06, "{px:?}");
        let mm = measured(&mask, [0.25, 0.5]).expect("not empty");
        // 20 mm wide and 20 mm high now: a circle.
        assert!((mm.long - 20.0).abs() < 0.8 && (mm.short - 20.0).abs() < 0.8, "{mm:?}");
        assert!((mm.area - std::f64::consts::PI * 100.0).abs() < 3.0);
    }

    #[test]
    fn the_border_of_the_image_ends_a_structure_that_it_cuts() {
        let sizes = |mask: Bitmap| {
            let sizes = measured(&mask, [1.0, 1.0]).expect("not empty");
            [sizes.long, sizes.short]
        };
        let disc = |x: u32, y: u32, at: f32| {
            PointPx::pixel_centre(x, y).distance(PointPx::new(at, at)) <= 20.0
        };
        // A quarter of a disc, in the frame and cut by its corner.
        let quarter = |x, y| x >= 40 && y >= 40 && disc(x, y, 40.0);
        let inside = sizes(Bitmap::from_fn(90, 80, quarter));
        let cut = sizes(Bitmap::from_fn(90, 80, |x, y| disc(x, y, 0.0)));
        for (cut, (inside, wanted)) in cut.into_iter().zip(inside.into_iter().zip([28.0, 20.0])) {
            assert!((cut - inside).abs() < 1e-9 && (cut - wanted).abs() < 1.0, "{cut} {inside}");
        }
    }

    #[test]
    fn a_pixel_and_nothing() {
        let dot = Bitmap::from_fn(5, 5, |x, y| x == 2 && y == 3);
        let sizes = measured(&dot, [1.0, 1.0]).expect("a pixel");
        assert_eq!((sizes.area, sizes.long, sizes.short), (1.0, 1.0, 1.0));
        assert_eq!(measured(&Bitmap::empty(5, 5), [1.0, 1.0]), None);
    }

    #[test]
    fn pixels_that_are_no_squares_end_where_their_own_side_does() {
        let near = |sizes: Measures, long: f64, short: f64| {
            let fine = (sizes.long - long).abs() < 1e-9 && (sizes.short - short).abs() < 1e-9;
            assert!(fine, "{sizes:?} instead of {long} x {short}");
        };
        let of = |columns: u32, rows: u32, spacing: [f64; 2]| {
            let mask = Bitmap::from_fn(20, 20, |x, y| {
                (3..3 + columns).contains(&x) && (4..4 + rows).contains(&y)
            });
            measured(&mask, spacing).expect("not empty")
        };
        near(of(1, 10, [0.1, 1.0]), 10.0, 0.1);
        near(of(10, 1, [1.0, 0.1]), 10.0, 0.1);
        near(of(10, 1, [1.0, 1.0]), 10.0, 1.0);
        near(of(1, 1, [0.1, 1.0]), 1.0, 0.1);
        near(of(1, 1, [1.0, 0.1]), 1.0, 0.1);
    }
}
