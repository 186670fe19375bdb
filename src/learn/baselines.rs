//! What needs no learning and has to be beaten: polygon, curves, and a contour that follows edges between the points.
//!
//! What decides whether this file is right: every baseline sees exactly the points that the network sees, and only the
//! geodesic contour looks at the image.

use crate::domain::{Bitmap, BoxPx, GrayFrame, PixelBox, PointPx, closed_catmull_rom, filled};

/// Standard deviation of the blur before edges are looked for, px.
const BLUR_PX: f32 = 2.0;
/// How far the geodesic contour may leave the curve: a share of the largest distance between points, and limits, px.
const BAND_SHARE: f32 = 0.12;
const BAND_PX: (f32, f32) = (3.0, 30.0);
/// Positions along the curve at which the geodesic contour is decided.
const STATIONS: (usize, usize) = (24, 240);
/// What a step costs where there is no edge at all, relative to the strongest edge of the band being free.
const LENGTH_COST: f32 = 0.05;

/// A way to draw a structure from boundary points alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// Straight lines in angular order; nothing for two points.
    Polygon,
    /// A circle on two points, then a closed spline in angular order.
    Spline,
    /// An ellipse through two or three points, then the spline.
    Curve,
    /// The cheapest closed path along edges in a band around [`Baseline::Curve`] that passes through all points.
    Geodesic,
}

impl Baseline {
    /// Names as people write them.
    pub const NAMES: [&'static str; 4] = ["polygon", "spline", "curve", "geodesic"];

    /// The baseline of a name in [`Baseline::NAMES`].
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Polygon, Self::Spline, Self::Curve, Self::Geodesic];
        Self::NAMES.iter().position(|n| *n == name).map(|i| all[i])
    }

    /// What of the image it wants to know, computed once per image: nothing, or the strength of edges.
    #[must_use]
    pub fn edges(self, frame: &GrayFrame) -> Vec<f32> {
        if self == Self::Geodesic { edge_strength(frame) } else { Vec::new() }
    }

    /// The mask of `width` x `height` px through boundary points; `edges` as [`Baseline::edges`] gave them.
    #[must_use]
    pub fn mask(self, points: &[PointPx], width: u32, height: u32, edges: &[f32]) -> Bitmap {
        match self {
            Self::Polygon => filled_near(&polygon(points), width, height),
            Self::Spline => spline_mask(points, width, height),
            Self::Curve => filled(&closed_catmull_rom(points), width, height),
            Self::Geodesic => filled_near(&geodesic(points, [width, height], edges), width, height),
        }
    }
}

fn centre_of(points: &[PointPx]) -> PointPx {
    let n = points.len().max(1) as f32;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.x, y + p.y));
    PointPx::new(x / n, y / n)
}

fn polygon(points: &[PointPx]) -> Vec<PointPx> {
    let centre = centre_of(points);
    let mut corners = points.to_vec();
    let angle = |p: &PointPx| (p.y - centre.y).atan2(p.x - centre.x);
    corners.sort_by(|p, q| angle(p).total_cmp(&angle(q)));
    corners
}

/// [`filled`] on the part of the image that the curve touches, which is what takes time.
fn filled_near(curve: &[PointPx], width: u32, height: u32) -> Bitmap {
    let mut mask = Bitmap::empty(width, height);
    let Some(extent) = BoxPx::of(curve.iter().copied()) else { return mask };
    let near = PixelBox::covering(extent.grown(2.0), width as usize, height as usize);
    let seen: Vec<PointPx> = curve.iter().map(|at| near.seen(*at)).collect();
    let part = filled(&seen, near.width as u32, near.height as u32);
    near.put(&mut mask.pixels, width as usize, &part.pixels);
    mask
}

/// The simplest curve: a circle on two points, then a closed Catmull-Rom spline in angular order.
fn spline_mask(points: &[PointPx], width: u32, height: u32) -> Bitmap {
    match points {
        [a, b] => {
            let (centre, radius) = (centre_of(points), a.distance(*b) / 2.0);
            Bitmap::from_fn(width, height, |x, y| {
                PointPx::pixel_centre(x, y).distance(centre) <= radius + 0.5
            })
        }
        [a, b, c] => {
            // The middle of each side, pushed out as a uniform Catmull-Rom spline through three points does.
            let bulge = |p: PointPx, q: PointPx, far: PointPx| {
                let at = |p: f32, q: f32, far: f32| 0.5625 * (p + q) - 0.125 * far;
                PointPx::new(at(p.x, q.x, far.x), at(p.y, q.y, far.y))
            };
            let six = [*a, bulge(*a, *b, *c), *b, bulge(*b, *c, *a), *c, bulge(*c, *a, *b)];
            filled(&closed_catmull_rom(&six), width, height)
        }
        more => filled(&closed_catmull_rom(more), width, height),
    }
}

/// Length of the gradient of the blurred image at every pixel, gray levels per px.
fn edge_strength(frame: &GrayFrame) -> Vec<f32> {
    let (w, h) = (frame.width_px, frame.height_px);
    let plane = frame.pixels.iter().map(|v| f32::from(*v)).collect::<Vec<f32>>();
    let image = image::ImageBuffer::<image::Luma<f32>, Vec<f32>>::from_raw(w, h, plane);
    let Some(image) = image else { return vec![0.0; (w * h) as usize] };
    let smooth = imageproc::filter::gaussian_blur_f32(&image, BLUR_PX).into_raw();
    let at = |x: u32, y: u32| smooth[(y.min(h - 1) * w + x.min(w - 1)) as usize];
    (0..w * h)
        .map(|i| {
            let (x, y) = (i % w, i / w);
            let dx = at(x + 1, y) - at(x.saturating_sub(1), y);
            let dy = at(x, y + 1) - at(x, y.saturating_sub(1));
            dx.hypot(dy) / 2.0
        })
        .collect()
}

/// The cheapest closed path round the curve: at each station the contour lies on a short line across the curve, from
/// one station to the next it moves by at most one place, and at the station of a point it lies on the point.
fn geodesic(points: &[PointPx], [width, height]: [u32; 2], edges: &[f32]) -> Vec<PointPx> {
    let curve = closed_catmull_rom(points);
    let Some(stations) = stations(&curve, points) else { return curve };
    let pairs =
        || points.iter().enumerate().flat_map(|(i, p)| points[..i].iter().map(move |q| (p, q)));
    let span = pairs().map(|(p, q)| p.distance(*q)).fold(0.0, f32::max);
    let reach = (BAND_SHARE * span).clamp(BAND_PX.0, BAND_PX.1).round() as i32;
    let n = stations.len();
    let normal = |s: usize| {
        let (before, after) = (stations[(s + n - 1) % n].at, stations[(s + 1) % n].at);
        let (dx, dy) = (after.x - before.x, after.y - before.y);
        let length = dx.hypot(dy).max(1e-6);
        (dy / length, -dx / length)
    };
    let place = |s: usize, offset: i32| {
        let ((nx, ny), at) = (normal(s), stations[s].at);
        PointPx::new(at.x + nx * offset as f32, at.y + ny * offset as f32)
    };
    let strength = |p: PointPx| {
        let inside = p.x >= 0.0 && p.y >= 0.0 && p.x < width as f32 && p.y < height as f32;
        let at = (p.y.max(0.0) as usize) * width as usize + p.x.max(0.0) as usize;
        if inside { edges.get(at).copied().unwrap_or(0.0) } else { 0.0 }
    };
    let places = (2 * reach + 1) as usize;
    let found: Vec<f32> =
        (0..n * places).map(|i| strength(place(i / places, (i % places) as i32 - reach))).collect();
    let strongest = found.iter().copied().fold(1e-6, f32::max);
    let cost = |s: usize, k: usize| {
        let fixed = stations[s].fixed && k as i32 != reach;
        if fixed { f32::INFINITY } else { LENGTH_COST + 1.0 - found[s * places + k] / strongest }
    };
    cheapest(n, places, cost)
        .into_iter()
        .enumerate()
        .map(|(s, k)| place(s, k as i32 - reach))
        .collect()
}

/// A position on the curve.
struct Station {
    at: PointPx,
    /// Whether a point of the annotator lies here.
    fixed: bool,
}

/// Evenly spaced positions along the closed `curve`, the first of them at a point; `None` without a curve.
fn stations(curve: &[PointPx], points: &[PointPx]) -> Option<Vec<Station>> {
    let first = points.first().filter(|_| curve.len() >= 3)?;
    let nearest = |p: &PointPx| {
        let away = |i: &usize| curve[*i].distance(*p);
        (0..curve.len()).min_by(|i, j| away(i).total_cmp(&away(j))).unwrap_or(0)
    };
    let start = nearest(first);
    let turned: Vec<PointPx> = curve[start..].iter().chain(&curve[..=start]).copied().collect();
    let lengths: Vec<f32> = turned.windows(2).map(|w| w[0].distance(w[1])).collect();
    let whole: f32 = lengths.iter().sum();
    let count = (whole as usize / 2).clamp(STATIONS.0, STATIONS.1);
    let mut out: Vec<Station> = Vec::with_capacity(count);
    let (mut segment, mut passed) = (0, 0.0);
    for s in 0..count {
        let along = whole * s as f32 / count as f32;
        while segment + 1 < lengths.len() && passed + lengths[segment] < along {
            passed += lengths[segment];
            segment += 1;
        }
        let part = ((along - passed) / lengths[segment].max(1e-6)).clamp(0.0, 1.0);
        let (p, q) = (turned[segment], turned[segment + 1]);
        let at = PointPx::new(p.x + part * (q.x - p.x), p.y + part * (q.y - p.y));
        out.push(Station { at, fixed: false });
    }
    for p in points {
        let near =
            |a: &&mut Station, b: &&mut Station| a.at.distance(*p).total_cmp(&b.at.distance(*p));
        if let Some(station) = out.iter_mut().min_by(near) {
            (station.at, station.fixed) = (*p, true);
        }
    }
    Some(out)
}

/// The place of each of `n` stations on the cheapest closed path, places of neighbours at most one apart. The first
/// station must be fixed, or the path might not close.
fn cheapest(n: usize, places: usize, cost: impl Fn(usize, usize) -> f32) -> Vec<usize> {
    let mut total: Vec<f32> = (0..places).map(|k| cost(0, k)).collect();
    let mut from = vec![0usize; n * places];
    let step = |total: &[f32], k: usize| {
        (k.saturating_sub(1)..=(k + 1).min(places - 1))
            // Going straight wins a tie.
            .min_by(|i, j| total[*i].total_cmp(&total[*j]).then(i.abs_diff(k).cmp(&j.abs_diff(k))))
            .unwrap_or(k)
    };
    for s in 1..n {
        let next = (0..places)
            .map(|k| {
                let best = step(&total, k);
                from[s * places + k] = best;
                total[best] + cost(s, k)
            })
            .collect();
        total = next;
    }
    // Back to the first station: only the middle, where it is fixed.
    let mut k = step(&total, places / 2);
    let mut out = vec![0; n];
    for s in (0..n).rev() {
        out[s] = k;
        k = from[s * places + k];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::overlap;

    /// A bright structure whose outline no ellipse has.
    fn scene() -> (GrayFrame, Bitmap) {
        let truth = Bitmap::from_fn(120, 100, |x, y| {
            let (dx, dy) = (x as f32 - 60.0, y as f32 - 50.0);
            dx.hypot(dy) <= 26.0 + 4.0 * (3.0 * dy.atan2(dx)).cos()
        });
        let pixels = truth.pixels.iter().map(|p| if *p { 190 } else { 40 }).collect();
        (GrayFrame::new(120, 100, pixels).expect("it fits"), truth)
    }

    fn dice(baseline: Baseline, points: &[PointPx]) -> f64 {
        let (frame, truth) = scene();
        overlap(&baseline.mask(points, 120, 100, &baseline.edges(&frame)), &truth).dice
    }

    #[test]
    fn the_geodesic_contour_follows_edges_that_a_curve_cannot_know() {
        let four: Vec<PointPx> = [0.0f32, 1.6, 3.1, 4.7]
            .iter()
            .map(|a| {
                let r = 26.0 + 4.0 * (3.0 * a).cos();
                PointPx::new(60.5 + r * a.cos(), 50.5 + r * a.sin())
            })
            .collect();
        let (curve, found) = (dice(Baseline::Curve, &four), dice(Baseline::Geodesic, &four));
        assert!(found > 0.97 && found > curve + 0.01, "{found} against {curve}");
        assert!(dice(Baseline::Polygon, &four) < curve);
        // Without an edge it stays near the curve.
        let flat = Baseline::Geodesic.mask(&four, 120, 100, &vec![0.0; 12_000]);
        let plain = Baseline::Curve.mask(&four, 120, 100, &[]);
        assert!(overlap(&flat, &plain).dice > 0.98);
    }

    #[test]
    fn few_points_and_points_outside_are_no_fault() {
        let corners =
            [PointPx::new(0.0, 0.0), PointPx::new(120.0, 100.0), PointPx::new(0.0, 100.0)];
        for name in Baseline::NAMES {
            let baseline = Baseline::named(name).expect("its own name");
            for n in 0..=3 {
                let mask = baseline.mask(&corners[..n], 120, 100, &vec![1.0; 12_000]);
                assert_eq!(mask.pixels.len(), 12_000);
                assert!(n >= 2 || mask.area_px() == 0, "{name} with {n}");
            }
        }
        assert_eq!(Baseline::named("snake"), None);
    }
}
