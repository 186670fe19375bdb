//! The closed curve through boundary points: what geometry alone knows of a contour.
//!
//! Two points are the ends of an ellipse's long axis, a third fixes its width, more are joined in
//! angular order: few by a spline of continuous curvature, since structures are round between far
//! points, many by a centripetal Catmull-Rom spline, which cannot swing out between near ones.
//! From five exact points on such a curve is hard to beat, and it is the geometric prompt of the
//! shipped network. What decides whether this file is right: the curve passes through its points.

use rayon::prelude::*;

use super::{Bitmap, PointPx, wide};

/// Width of the two-point ellipse relative to its length, measured on nerves, vessels and
/// lesions.
const ELLIPSE_ASPECT: f64 = 0.55;
const ELLIPSE_VERTICES: usize = 64;
/// Exponents of the chord length for 4, 5, ... points of the round spline (1 chord-length, 0.5
/// centripetal), chosen on the `val` stills: at four points Dice of the bare curve .85 to .90. The
/// more points, the nearer to centripetal: a sudden change would throw the next point off.
const ROUND_ALPHA: [f64; 5] = [1.0, 0.75, 0.75, 0.7, 0.6];
const VERTICES_PER_SPAN: usize = 16;
/// Logit per px (on a 256 px image) of signed distance and boundary point.
const LOGIT_PER_PX: f32 = 0.05;
const LOGIT_LIMIT: f32 = 6.0;

type Xy = [f64; 2];

/// Vertices of the closed curve through `points`, without repeating the first; empty for fewer
/// than two distinct points. Works in whatever unit the points have.
#[must_use]
pub fn closed_curve(points: &[PointPx]) -> Vec<PointPx> {
    let distinct = distinct(points);
    let vertices = match distinct.len() {
        0 | 1 => Vec::new(),
        2 | 3 => ellipse(&distinct),
        n => match ROUND_ALPHA.get(n - 4) {
            Some(alpha) => round_spline(&in_angular_order(distinct), *alpha),
            None => catmull_rom(&in_angular_order(distinct)),
        },
    };
    pixels(&vertices)
}

/// The same closed curve joined by a centripetal Catmull-Rom spline from four points on: what the
/// network is measured against.
#[must_use]
pub fn closed_catmull_rom(points: &[PointPx]) -> Vec<PointPx> {
    let distinct = distinct(points);
    if distinct.len() < 4 {
        return closed_curve(points);
    }
    pixels(&catmull_rom(&in_angular_order(distinct)))
}

fn distinct(points: &[PointPx]) -> Vec<Xy> {
    let mut distinct: Vec<Xy> = Vec::with_capacity(points.len());
    for p in points {
        let p = [f64::from(p.x), f64::from(p.y)];
        if distinct.iter().all(|q| distance(*q, p) > 1e-3) {
            distinct.push(p);
        }
    }
    distinct
}

fn pixels(vertices: &[Xy]) -> Vec<PointPx> {
    vertices.iter().map(|p| PointPx::new(p[0] as f32, p[1] as f32)).collect()
}

fn distance(a: Xy, b: Xy) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

fn ellipse(points: &[Xy]) -> Vec<Xy> {
    let pairs = [(0, 1, 2), (0, 2, 1), (1, 2, 0)];
    let (mut first, mut second, mut third) = (points[0], points[1], None);
    if points.len() == 3 {
        let (a, b, c) = pairs
            .into_iter()
            .max_by(|p, q| {
                let length = |t: &(usize, usize, usize)| distance(points[t.0], points[t.1]);
                length(p).total_cmp(&length(q))
            })
            .unwrap_or(pairs[0]);
        (first, second, third) = (points[a], points[b], Some(points[c]));
    }
    let centre = [(first[0] + second[0]) / 2.0, (first[1] + second[1]) / 2.0];
    let half = (distance(first, second) / 2.0).max(1e-6);
    let along = [(second[0] - centre[0]) / half, (second[1] - centre[1]) / half];
    let across = [-along[1], along[0]];
    let width = third.map_or(ELLIPSE_ASPECT * half, |p| {
        let from = [p[0] - centre[0], p[1] - centre[1]];
        let x = from[0] * along[0] + from[1] * along[1];
        let y = (from[0] * across[0] + from[1] * across[1]).abs();
        // A third point beyond the long axis' ends has no ellipse: the divisor is kept away from 0.
        (y / (1.0 - (x / half).powi(2)).max(0.05).sqrt()).clamp(0.2 * half, 1.5 * half)
    });
    (0..ELLIPSE_VERTICES)
        .map(|i| {
            let (sin, cos) = (i as f64 / ELLIPSE_VERTICES as f64 * std::f64::consts::TAU).sin_cos();
            let at =
                |axis: usize| centre[axis] + half * cos * along[axis] + width * sin * across[axis];
            [at(0), at(1)]
        })
        .collect()
}

fn in_angular_order(mut points: Vec<Xy>) -> Vec<Xy> {
    let n = points.len() as f64;
    let centre = [
        points.iter().map(|p| p[0]).sum::<f64>() / n,
        points.iter().map(|p| p[1]).sum::<f64>() / n,
    ];
    let angle = |p: &Xy| (p[1] - centre[1]).atan2(p[0] - centre[0]);
    points.sort_by(|p, q| angle(p).total_cmp(&angle(q)));
    points
}

/// Centripetal parametrisation: no cusps and no self-crossing within a span, also for uneven
/// points (Barry and Goldman's pyramid).
fn catmull_rom(points: &[Xy]) -> Vec<Xy> {
    let n = points.len();
    let mut out = Vec::with_capacity(n * VERTICES_PER_SPAN);
    for i in 0..n {
        let p = [points[(i + n - 1) % n], points[i], points[(i + 1) % n], points[(i + 2) % n]];
        let mut knots = [0.0; 4];
        for k in 1..4 {
            knots[k] = knots[k - 1] + distance(p[k - 1], p[k]).sqrt().max(1e-6);
        }
        for step in 0..VERTICES_PER_SPAN {
            let t = knots[1] + (knots[2] - knots[1]) * step as f64 / VERTICES_PER_SPAN as f64;
            let mix = |a: Xy, b: Xy, ta: f64, tb: f64| -> Xy {
                let w = (t - ta) / (tb - ta);
                [a[0] + (b[0] - a[0]) * w, a[1] + (b[1] - a[1]) * w]
            };
            let a1 = mix(p[0], p[1], knots[0], knots[1]);
            let a2 = mix(p[1], p[2], knots[1], knots[2]);
            let a3 = mix(p[2], p[3], knots[2], knots[3]);
            let b1 = mix(a1, a2, knots[0], knots[2]);
            let b2 = mix(a2, a3, knots[1], knots[3]);
            out.push(mix(b1, b2, knots[1], knots[2]));
        }
    }
    out
}

/// The closed cubic spline with continuous curvature (periodic): rounder than the centripetal one.
/// Spans are as long in the parameter as the chords to the power `alpha`.
fn round_spline(points: &[Xy], alpha: f64) -> Vec<Xy> {
    let n = points.len();
    let next = |i: usize| (i + 1) % n;
    let spans: Vec<f64> =
        (0..n).map(|i| distance(points[i], points[next(i)]).powf(alpha).max(1e-6)).collect();
    // Second derivatives at the points, one axis after the other, from the continuity of the slope.
    let bends = [0, 1].map(|axis| {
        let mut system = vec![vec![0.0; n + 1]; n];
        for (i, row) in system.iter_mut().enumerate() {
            let (before, after) = ((i + n - 1) % n, next(i));
            let (h, k) = (spans[before], spans[i]);
            row[before] += h;
            row[i] += 2.0 * (h + k);
            row[after] += k;
            row[n] = 6.0
                * ((points[after][axis] - points[i][axis]) / k
                    - (points[i][axis] - points[before][axis]) / h);
        }
        solve(system)
    });
    let mut out = Vec::with_capacity(n * VERTICES_PER_SPAN);
    for i in 0..n {
        for step in 0..VERTICES_PER_SPAN {
            let b = step as f64 / VERTICES_PER_SPAN as f64;
            let (a, h2) = (1.0 - b, spans[i] * spans[i] / 6.0);
            let at = |axis: usize| {
                let (p, q) = (points[i][axis], points[next(i)][axis]);
                let (m, w) = (bends[axis][i], bends[axis][next(i)]);
                a * p + b * q + h2 * ((a * a * a - a) * m + (b * b * b - b) * w)
            };
            out.push([at(0), at(1)]);
        }
    }
    out
}

/// Gauss elimination of an augmented system whose diagonal dominates, as a spline's does: no pivot
/// needs to be looked for.
fn solve(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let n = rows.len();
    for k in 0..n {
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

/// A closed curve, filled, as a mask of `width_px` x `height_px`; nothing for no curve. A pixel
/// belongs to it when its centre is inside or within half a pixel of the curve, so that the pixels
/// under boundary points are inside.
#[must_use]
pub fn filled(curve: &[PointPx], width_px: u32, height_px: u32) -> Bitmap {
    let distances = signed_distance(curve, width_px, height_px);
    Bitmap { width_px, height_px, pixels: distances.iter().map(|&d| d >= -0.5).collect() }
}

/// The curve as mask-prompt logits on a grid of `columns` x `rows` cells:
/// `clip(0.05 min(n, 10) d, +-6)` with `d` the signed distance to the curve in pixels of a
/// 256 px image, positive inside, and `n` the number of points. `points` are in cells (cell
/// centres at half-integers) and a cell is `cell_px` of those pixels wide. All zero for fewer
/// than two points: "nothing known".
#[must_use]
pub fn curve_logits(points: &[PointPx], columns: u32, rows: u32, cell_px: f32) -> Vec<f32> {
    let curve = closed_curve(points);
    if curve.is_empty() {
        return vec![0.0; columns as usize * rows as usize];
    }
    let slope = LOGIT_PER_PX * points.len().min(10) as f32 * cell_px;
    let distances = signed_distance(&curve, columns, rows);
    distances.iter().map(|d| (slope * d).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)).collect()
}

/// Distance of every pixel centre to the closed polygon `curve`, positive inside (even-odd).
///
/// Row by row and edge by edge, so that the inner loop has neither a division nor a branch: the network asks for this
/// at every point that a person sets.
fn signed_distance(curve: &[PointPx], width: u32, height: u32) -> Vec<f32> {
    let pixels = width as usize * height as usize;
    let Some(last) = curve.last() else { return vec![f32::NEG_INFINITY; pixels] };
    let centres: Vec<f32> = (0..width).map(|x| x as f32 + 0.5).collect();
    let mut out = vec![f32::INFINITY; pixels];
    let rows = out.par_chunks_mut(width.max(1) as usize).enumerate();
    rows.for_each_init(Vec::new, |crossings: &mut Vec<f32>, (y, row)| {
        let y = y as f32 + 0.5;
        crossings.clear();
        let mut from = *last;
        for &to in curve {
            let (dx, dy) = (to.x - from.x, to.y - from.y);
            let inverse = 1.0 / (dx * dx + dy * dy).max(1e-12);
            let below = y - from.y;
            wide(
                #[inline(always)]
                || {
                    for (nearest, centre) in row.iter_mut().zip(&centres) {
                        let right = centre - from.x;
                        let along = ((right * dx + below * dy) * inverse).clamp(0.0, 1.0);
                        let (ex, ey) = (right - along * dx, below - along * dy);
                        let squared = ex * ex + ey * ey;
                        *nearest = if squared < *nearest { squared } else { *nearest };
                    }
                },
            );
            if (to.y > y) != (from.y > y) {
                crossings.push(from.x + below / dy * dx);
            }
            from = to;
        }
        for (x, d) in row.iter_mut().enumerate() {
            let right_of_it = crossings.iter().filter(|c| x as f32 + 0.5 < **c).count();
            *d = if right_of_it % 2 == 1 { d.sqrt() } else { -d.sqrt() };
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle(n: usize, r: f32) -> Vec<PointPx> {
        (0..n)
            .map(|i| {
                let a = i as f32 / n as f32 * std::f32::consts::TAU;
                PointPx::new(32.0 + r * a.cos(), 32.0 + r * a.sin())
            })
            .collect()
    }

    #[test]
    fn the_curve_passes_through_its_points() {
        for n in 4..9 {
            let (points, curve) = (circle(n, 20.0), closed_curve(&circle(n, 20.0)));
            for p in points {
                let baseline = closed_catmull_rom(&circle(n, 20.0));
                assert!(baseline.iter().any(|q| q.distance(p) < 1e-3), "{n} points, {p:?}");
                assert!(curve.iter().any(|q| q.distance(p) < 1e-3), "{n} points, {p:?}");
            }
        }
    }

    #[test]
    fn eight_points_on_a_circle_give_nearly_its_area() {
        let area = filled(&closed_curve(&circle(8, 20.0)), 64, 64).area_px() as f32;
        let with_half_a_pixel = std::f32::consts::PI * 20.5 * 20.5;
        assert!((area / with_half_a_pixel - 1.0).abs() < 0.03, "{area}");
    }

    #[test]
    fn four_points_on_a_circle_are_round() {
        let radius = |curve: &[PointPx]| {
            curve.iter().map(|p| p.distance(PointPx::new(32.0, 32.0))).fold(f32::MAX, f32::min)
        };
        let (round, baseline) =
            (closed_curve(&circle(4, 20.0)), closed_catmull_rom(&circle(4, 20.0)));
        assert!(radius(&round) > 19.3, "{}", radius(&round));
        assert!(radius(&baseline) < 19.0, "{}", radius(&baseline));
    }

    #[test]
    fn two_points_are_the_long_axis_of_an_ellipse() {
        let long_axis = [PointPx::new(12.0, 32.0), PointPx::new(52.0, 32.0)];
        let mask = filled(&closed_curve(&long_axis), 64, 64);
        let bounds = mask.bounds().expect("not empty");
        assert!((bounds.max.x - bounds.min.x - 41.0).abs() <= 1.0);
        assert!((bounds.max.y - bounds.min.y - 23.0).abs() <= 2.0);
    }

    #[test]
    fn hostile_points_give_no_nan() {
        let same = vec![PointPx::new(5.0, 5.0); 7];
        assert!(closed_curve(&same).is_empty());
        let line: Vec<PointPx> = (0..6).map(|i| PointPx::new(i as f32 * 9.0, 10.0)).collect();
        for n in 0..6 {
            let logits = curve_logits(&line[..n], 16, 16, 4.0);
            assert!(logits.iter().all(|l| l.is_finite()), "{n}");
        }
    }
}
