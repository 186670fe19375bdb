//! The last step of every decoding: the contour goes through the boundary points.
//!
//! A person who puts a point on the edge expects the edge there. The network's logits get a
//! smooth correction field, Gaussian bumps at the points, solved so that the contour (logit 0)
//! lies half a pixel outside each point: the pixel under the point is the last one inside.

use super::PointPx;

/// Width of a bump relative to the largest distance between two points.
const WIDTH_OF_SPREAD: f32 = 0.10;
/// Keeps the system solvable when points nearly coincide; they then share the correction.
const RIDGE: f64 = 1e-3;
/// Beyond this many widths a bump is left out (exp(-8) = 3e-4 of its height).
const REACH: f32 = 4.0;

/// Adds to `logits` (`width` x `height`, row by row, positive inside) the correction that makes
/// the contour pass through `points`, in pixels of the same grid. With fewer than two distinct
/// points nothing is changed, since there is no scale to correct on.
pub fn snap_to_points(logits: &mut [f32], width: u32, height: u32, points: &[PointPx]) {
    if logits.len() != width as usize * height as usize || width == 0 || height == 0 {
        return;
    }
    let spread =
        points.iter().flat_map(|p| points.iter().map(|q| p.distance(*q))).fold(0.0f32, f32::max);
    if spread < 1.0 {
        return;
    }
    let sigma = (WIDTH_OF_SPREAD * spread).max(1.0);
    let kernel = |d: f32| (-0.5 * f64::from(d / sigma).powi(2)).exp();
    let n = points.len();
    let mut system = vec![vec![0.0f64; n + 1]; n];
    for (i, row) in system.iter_mut().enumerate() {
        for (j, q) in points.iter().enumerate() {
            row[j] = kernel(points[i].distance(*q)) + if i == j { RIDGE } else { 0.0 };
        }
        row[n] = f64::from(wanted(logits, width, height, points[i]))
            - f64::from(sample(logits, width, height, points[i]));
    }
    let heights = solve(system);
    for (p, height_of_bump) in points.iter().zip(heights) {
        add_bump(logits, width, height, *p, sigma, height_of_bump as f32);
    }
}

/// The logit half a pixel inside the contour, by the local slope.
fn wanted(logits: &[f32], width: u32, height: u32, at: PointPx) -> f32 {
    let value =
        |dx: f32, dy: f32| sample(logits, width, height, PointPx::new(at.x + dx, at.y + dy));
    let slope_x = (value(1.0, 0.0) - value(-1.0, 0.0)) / 2.0;
    let slope_y = (value(0.0, 1.0) - value(0.0, -1.0)) / 2.0;
    0.5 * slope_x.hypot(slope_y)
}

/// Bilinear value at a position, pixel centres at half-integers, edges extended.
fn sample(logits: &[f32], width: u32, height: u32, at: PointPx) -> f32 {
    let x = (at.x - 0.5).clamp(0.0, width as f32 - 1.0);
    let y = (at.y - 0.5).clamp(0.0, height as f32 - 1.0);
    let (x0, y0) = (x.floor() as usize, y.floor() as usize);
    let (x1, y1) = ((x0 + 1).min(width as usize - 1), (y0 + 1).min(height as usize - 1));
    let (fx, fy) = (x - x0 as f32, y - y0 as f32);
    let value = |x: usize, y: usize| logits[y * width as usize + x];
    let top = value(x0, y0) * (1.0 - fx) + value(x1, y0) * fx;
    let bottom = value(x0, y1) * (1.0 - fx) + value(x1, y1) * fx;
    top * (1.0 - fy) + bottom * fy
}

fn add_bump(logits: &mut [f32], width: u32, height: u32, at: PointPx, sigma: f32, bump: f32) {
    let range = |centre: f32, size: u32| {
        let low = (centre - REACH * sigma).floor().clamp(0.0, size as f32) as u32;
        let high = (centre + REACH * sigma).ceil().clamp(0.0, size as f32) as u32;
        low..high
    };
    let falls = |offset: f32| (-0.5 * (offset / sigma).powi(2)).exp();
    let columns: Vec<(u32, f32)> =
        range(at.x, width).map(|x| (x, falls(x as f32 + 0.5 - at.x))).collect();
    for y in range(at.y, height) {
        let row = bump * falls(y as f32 + 0.5 - at.y);
        for &(x, column) in &columns {
            logits[(y * width + x) as usize] += row * column;
        }
    }
}

/// Gauss elimination with partial pivoting of an augmented symmetric system; the ridge keeps
/// every pivot away from zero.
fn solve(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let n = rows.len();
    for k in 0..n {
        let best =
            (k..n).max_by(|&a, &b| rows[a][k].abs().total_cmp(&rows[b][k].abs())).unwrap_or(k);
        rows.swap(k, best);
        let pivot = rows[k].clone();
        for row in rows.iter_mut().skip(k + 1) {
            let factor = row[k] / pivot[k];
            for (value, above) in row.iter_mut().zip(&pivot).skip(k) {
                *value -= factor * above;
            }
        }
    }
    let mut x = vec![0.0; n];
    for k in (0..n).rev() {
        let known: f64 = (k + 1..n).map(|j| rows[k][j] * x[j]).sum();
        x[k] = (rows[k][n] - known) / rows[k][k];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits of a disc of radius `r` round the middle of a 100 px square, slope 0.3 per px.
    fn disc(r: f32) -> Vec<f32> {
        (0..10_000)
            .map(|i| {
                let (x, y) = ((i % 100) as f32 + 0.5, (i / 100) as f32 + 0.5);
                0.3 * (r - (x - 50.0).hypot(y - 50.0))
            })
            .collect()
    }

    #[test]
    fn the_pixel_under_each_point_is_the_last_one_inside() {
        let mut logits = disc(20.0);
        let points = [(74.5, 50.5), (50.5, 32.5), (30.5, 50.5), (50.5, 76.5), (66.5, 66.5)];
        let points = points.map(|(x, y)| PointPx::new(x, y));
        snap_to_points(&mut logits, 100, 100, &points);
        for p in points {
            let (dx, dy) = (p.x - 50.0, p.y - 50.0);
            let outwards = 1.5 / dx.hypot(dy);
            let beyond = PointPx::new(p.x + dx * outwards, p.y + dy * outwards);
            assert!(sample(&logits, 100, 100, p) > 0.0, "{p:?} is outside");
            assert!(sample(&logits, 100, 100, beyond) < 0.05, "{beyond:?} is inside");
        }
    }

    #[test]
    fn far_from_the_points_nothing_changes() {
        let (before, mut logits) = (disc(20.0), disc(20.0));
        let points = [PointPx::new(50.5, 30.5), PointPx::new(55.5, 31.5)];
        snap_to_points(&mut logits, 100, 100, &points);
        assert_eq!(before[80 * 100 + 50], logits[80 * 100 + 50]);
    }

    #[test]
    fn coinciding_and_single_points_do_no_harm() {
        let before = disc(20.0);
        for points in [vec![PointPx::new(50.0, 30.0)], vec![PointPx::new(50.0, 30.0); 3], vec![]] {
            let mut logits = before.clone();
            snap_to_points(&mut logits, 100, 100, &points);
            assert_eq!(logits, before);
        }
        let near = [(50.0, 25.0), (50.1, 25.0), (60.0, 60.0), (60.0, 60.05)];
        let mut logits = before.clone();
        snap_to_points(&mut logits, 100, 100, &near.map(|(x, y)| PointPx::new(x, y)));
        assert!(logits.iter().all(|l| l.is_finite() && l.abs() < 100.0));
    }
}
