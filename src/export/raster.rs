//! Polygons of other programs become pixels.

use crate::domain::Bitmap;

/// Which pixels a polygon takes. Coordinates have their origin at the corner of the first pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Those whose centre lies inside, by the even-odd rule.
    Centres,
    /// Those as well through whose centre the outline runs.
    CentresAndOutline,
}

/// How near an outline must come to a centre to run through it, px.
const NEAR_PX: f64 = 0.05;

/// Adds the pixels of a closed polygon to `bitmap`. Points that are no numbers are left out.
pub(super) fn fill(bitmap: &mut Bitmap, points: &[[f64; 2]], rule: Rule) {
    let sound: Vec<[f64; 2]> =
        points.iter().copied().filter(|p| p.iter().all(|v| v.is_finite())).collect();
    let edges: Vec<([f64; 2], [f64; 2])> =
        (0..sound.len()).map(|i| (sound[i], sound[(i + 1) % sound.len()])).collect();
    let width = bitmap.width_px as usize;
    let (low, high) =
        sound.iter().fold((f64::MAX, f64::MIN), |(low, high), p| (low.min(p[1]), high.max(p[1])));
    let rows = f64::from(bitmap.height_px);
    // Saturating casts: rows above and below the image are none.
    let (first, last) =
        (low.floor().clamp(0.0, rows) as usize, high.ceil().clamp(0.0, rows) as usize);
    for row in first..last {
        let y = row as f64 + 0.5;
        let mut crossings: Vec<f64> = edges
            .iter()
            .filter(|(a, b)| (a[1] <= y) != (b[1] <= y))
            .map(|(a, b)| a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0]))
            .collect();
        crossings.sort_by(f64::total_cmp);
        for pair in crossings.chunks_exact(2) {
            // The first centre that is not left of the crossing.
            let column = |x: f64| (x - 0.5).ceil().clamp(0.0, width as f64) as usize;
            bitmap.pixels[row * width..][column(pair[0])..column(pair[1]).max(column(pair[0]))]
                .fill(true);
        }
    }
    if rule == Rule::CentresAndOutline {
        edges.iter().for_each(|&(a, b)| draw(bitmap, a, b));
    }
}

/// Adds the pixels whose centre lies inside a closed outline, by the even-odd rule. Coordinates have their origin at the
/// corner of the first pixel.
pub fn fill_outline(bitmap: &mut Bitmap, points: &[[f64; 2]]) {
    fill(bitmap, points, Rule::Centres);
}

/// The outline of an ellipse whose half axes lie along x and y, as a polygon.
pub(super) fn ellipse([x, y]: [f64; 2], [along, down]: [f64; 2]) -> Vec<[f64; 2]> {
    const CORNERS: u32 = 720;
    let corner = |i: u32| {
        let angle = f64::from(i) / f64::from(CORNERS) * std::f64::consts::TAU;
        [x + along * angle.cos(), y + down * angle.sin()]
    };
    (0..CORNERS).map(corner).collect()
}

/// Adds the pixels through whose centre a line runs.
fn draw(bitmap: &mut Bitmap, a: [f64; 2], b: [f64; 2]) {
    // Walked along its longer side: one pixel in every column (or row).
    let along = usize::from((b[1] - a[1]).abs() > (b[0] - a[0]).abs());
    let (from, to) = if a[along] <= b[along] { (a, b) } else { (b, a) };
    let limit = if along == 0 { bitmap.width_px } else { bitmap.height_px };
    let at = |v: f64| v.clamp(0.0, f64::from(limit));
    let first = at((from[along] - 0.5 - NEAR_PX).ceil()) as i64;
    let last = at((to[along] - 0.5 + NEAR_PX).floor() + 1.0) as i64;
    for index in first..last {
        let centre = index as f64 + 0.5;
        let length = to[along] - from[along];
        let share =
            if length > 0.0 { ((centre - from[along]) / length).clamp(0.0, 1.0) } else { 0.0 };
        let across = from[1 - along] + share * (to[1 - along] - from[1 - along]);
        let pixel = across.floor();
        if (across - pixel - 0.5).abs() > NEAR_PX {
            continue;
        }
        let (x, y) = if along == 0 { (index, pixel as i64) } else { (pixel as i64, index) };
        let inside = (0..i64::from(bitmap.width_px)).contains(&x)
            && (0..i64::from(bitmap.height_px)).contains(&y);
        if inside {
            bitmap.pixels[y as usize * bitmap.width_px as usize + x as usize] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polygons_beyond_the_image_are_cut_and_strange_ones_take_nothing() {
        let mut all = Bitmap::empty(4, 3);
        fill(&mut all, &[[-9.0, -9.0], [99.0, -9.0], [99.0, 99.0], [-9.0, 99.0]], Rule::Centres);
        assert_eq!(all.area_px(), 12);
        for points in [&[][..], &[[1.0, 1.0]], &[[f64::NAN, 1.0], [f64::INFINITY, 2.0]]] {
            let mut none = Bitmap::empty(4, 3);
            fill(&mut none, points, Rule::CentresAndOutline);
            assert_eq!(none.area_px(), 0);
        }
    }

    #[test]
    fn a_bridge_walked_twice_takes_nothing() {
        let ring = [
            [1.0, 1.0],
            [8.0, 1.0],
            [8.0, 8.0],
            [1.0, 8.0],
            [1.0, 1.0],
            [3.0, 4.0],
            [3.0, 6.0],
            [6.0, 6.0],
            [6.0, 4.0],
            [3.0, 4.0],
        ];
        let mut all = Bitmap::empty(9, 9);
        fill(&mut all, &ring, Rule::Centres);
        let expected = Bitmap::from_fn(9, 9, |x, y| {
            (1..8).contains(&x)
                && (1..8).contains(&y)
                && !((3..6).contains(&x) && (4..6).contains(&y))
        });
        assert_eq!(all, expected);
    }
}
