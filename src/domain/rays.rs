//! Clock rays: boundary points placed by direction instead of by moving a cursor.
//!
//! From a centre inside the structure a ray leaves in the direction of a clock hour (12 is up, 3
//! is right). Along it the edges of the image are found, and a boundary point lands on one of
//! them: so a point costs a key or two wherever it lies. Everything here is pure; positions are
//! image px.
//! What decides whether this file is right: a radius is the last pixel before its edge, where the mask's contour would be.

use super::{Bitmap, GrayFrame, PointPx};

/// Directions that have a number of their own.
pub const HOURS: f32 = 12.0;
/// Directions that a suggestion chooses among: half hours.
const CHOICES: usize = 24;
/// Half of the strip that is averaged across a ray, and the stretch compared on either side of an
/// edge, px of an image of 256 px; larger images have larger speckle.
const ACROSS_PX: f32 = 4.0;
const ALONG_PX: f32 = 4.0;
const REFERENCE_PX: f32 = 256.0;
/// Edges fainter than this are speckle, gray values.
const FAINTEST: f32 = 3.0;
/// Spread of the belief in where the contour is, as a share of the expected radius, and what an
/// edge far from it still counts.
const BELIEF_WIDTH: f32 = 0.3;
const BELIEF_FLOOR: f32 = 0.1;
/// The same where a mask tells it, and how far off an edge may lie.
const NEAR_WIDTH: f32 = 0.1;
const NEAR_SHARE: f32 = 0.25;
/// Where nothing is expected, an edge this far out counts a quarter: structures are small, and
/// the strongest edges of an image mostly belong to others.
const NEARBY_PX: f32 = 120.0;
/// With fewer points the mask is a guess, and points all round tell more than its doubts: mean IoU
/// .80 instead of .70 at four points, on 18 stills of `val` that the table of keys does not use.
const FEW_POINTS: usize = 4;
/// How much a contour that contradicts the image, or lies on no edge, adds to the distance from
/// the nearest point.
const DISAGREEMENT: f32 = 2.0;
const FAINTNESS: f32 = 0.5;

/// A ray from inside a structure towards a clock hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ray {
    /// Where it starts.
    pub centre: PointPx,
    /// Its direction, 0..12: 0 (= 12) is up, 3 right, 6 down, 9 left.
    pub hour: f32,
}

impl Ray {
    /// The ray from `centre` that passes through `at`; straight up when both are the same.
    #[must_use]
    pub fn through(centre: PointPx, at: PointPx) -> Self {
        let (dx, dy) = (at.x - centre.x, at.y - centre.y);
        let turn = dx.atan2(-dy) / std::f32::consts::TAU;
        Self { centre, hour: (turn * HOURS).rem_euclid(HOURS) }
    }

    /// One pixel along the ray, x to the right and y down.
    #[must_use]
    pub fn step(self) -> (f32, f32) {
        let (sin, cos) = (self.hour / HOURS * std::f32::consts::TAU).sin_cos();
        (sin, -cos)
    }

    /// The position `radius_px` from the centre.
    #[must_use]
    pub fn at(self, radius_px: f32) -> PointPx {
        let (dx, dy) = self.step();
        PointPx::new(self.centre.x + dx * radius_px, self.centre.y + dy * radius_px)
    }

    /// The same centre, turned clockwise by `hours`.
    #[must_use]
    pub fn turned(self, hours: f32) -> Self {
        Self { hour: (self.hour + hours).rem_euclid(HOURS), ..self }
    }

    /// Hours between two directions, 0..=6.
    #[must_use]
    pub fn hours_to(self, other: Ray) -> f32 {
        let apart = (self.hour - other.hour).rem_euclid(HOURS);
        apart.min(HOURS - apart)
    }

    /// Length of the ray inside an image of `width` x `height` px.
    #[must_use]
    pub fn reach(self, width: u32, height: u32) -> f32 {
        let (dx, dy) = self.step();
        let to = |at: f32, step: f32, size: u32| {
            if step > 1e-6 {
                (size as f32 - at) / step
            } else if step < -1e-6 {
                at / -step
            } else {
                f32::INFINITY
            }
        };
        let reach = to(self.centre.x, dx, width).min(to(self.centre.y, dy, height));
        reach.clamp(0.0, (width + height) as f32)
    }
}

/// An edge of the image on a ray.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edge {
    /// Distance from the centre, px: the last pixel before the edge.
    pub radius_px: f32,
    /// Difference of the gray values before and behind it, 0..=255.
    pub contrast: f32,
}

/// The edges of `frame` along `ray`, from the centre outwards: where the mean gray of a strip
/// changes most, each the strongest of its surroundings.
#[must_use]
pub fn edges_along(frame: &GrayFrame, ray: Ray) -> Vec<Edge> {
    let scale = (frame.width_px.min(frame.height_px) as f32 / REFERENCE_PX).max(0.5);
    let along = (ALONG_PX * scale).round().max(2.0) as usize;
    let profile = profile(frame, ray, (ACROSS_PX * scale).round() as i32);
    if profile.len() < 2 * along + 1 {
        return Vec::new();
    }
    let mut sums = vec![0.0f32];
    for value in &profile {
        sums.push(sums[sums.len() - 1] + value);
    }
    let change = |i: usize| {
        let (before, behind) = (sums[i] - sums[i - along], sums[i + along] - sums[i]);
        (behind - before).abs() / along as f32
    };
    let changes: Vec<f32> = (along..profile.len() - along).map(change).collect();
    let apart = along.div_ceil(2);
    let peak = |i: usize| {
        let near = &changes[i.saturating_sub(apart)..(i + apart + 1).min(changes.len())];
        changes[i] >= FAINTEST && near.iter().all(|&other| other <= changes[i])
    };
    let mut found: Vec<Edge> = Vec::new();
    for i in (0..changes.len()).filter(|&i| peak(i)) {
        let edge = Edge { radius_px: (i + along) as f32 - 0.5, contrast: changes[i] };
        // A plateau is one edge.
        if found.last().is_none_or(|last| edge.radius_px - last.radius_px > apart as f32) {
            found.push(edge);
        }
    }
    found
}

/// Mean gray across the ray at every whole pixel of it.
fn profile(frame: &GrayFrame, ray: Ray, across: i32) -> Vec<f32> {
    let (dx, dy) = ray.step();
    let length = ray.reach(frame.width_px, frame.height_px) as usize;
    (0..length)
        .map(|r| {
            let at = ray.at(r as f32 + 0.5);
            let sum: u32 = (-across..=across)
                .map(|side| {
                    let (x, y) = (at.x - dy * side as f32, at.y + dx * side as f32);
                    u32::from(frame.at(x.floor() as i64, y.floor() as i64))
                })
                .sum();
            sum as f32 / (2 * across + 1) as f32
        })
        .collect()
}

/// Which of `edges` the contour most probably is: the strongest, believed less the farther it is
/// from where the contour is `expected` (px from the centre), or from the centre where nothing is.
///
/// On 80 training images of nerves, vessels and breast lesions, from the true centre: within 3 px
/// (of 256) of the true contour at once on 47 % of the rays without an expectation and on 64 %
/// with a coarse one; on 63 % and 79 % after at most two steps to a neighbouring edge.
#[must_use]
pub fn likeliest(edges: &[Edge], expected: Option<f32>) -> Option<usize> {
    let worth = |edge: &Edge| edge.contrast * belief(edge.radius_px, expected);
    (0..edges.len()).max_by(|&a, &b| worth(&edges[a]).total_cmp(&worth(&edges[b])))
}

/// Which of `edges` a mask's contour most probably should follow: the strongest near `at`, px from the centre; `None`
/// where none is near. An edge farther off is another structure's, however strong.
///
/// On 76 structures of `val` a point put so without looking changes the mean Dice of four exact points by -.003 and that of
/// two by -.012, where the edges of the whole ray cost .024 and .018; who corrects it by a letter needs as many keys.
#[must_use]
pub fn likeliest_near(edges: &[Edge], at: f32) -> Option<usize> {
    let off = |edge: &Edge| (edge.radius_px - at).abs() / at.max(1.0);
    let worth = |edge: &Edge| edge.contrast * (-0.5 * (off(edge) / NEAR_WIDTH).powi(2)).exp();
    let near = (0..edges.len()).filter(|&i| off(&edges[i]) <= NEAR_SHARE);
    near.max_by(|&a, &b| worth(&edges[a]).total_cmp(&worth(&edges[b])))
}

fn belief(radius_px: f32, expected: Option<f32>) -> f32 {
    expected.map_or((1.0 + radius_px / NEARBY_PX).powi(-2), |at| {
        let off = (radius_px - at) / (BELIEF_WIDTH * at.max(1.0));
        BELIEF_FLOOR + (1.0 - BELIEF_FLOOR) * (-0.5 * off * off).exp()
    })
}

/// Distance from the centre at which the ray leaves `mask` for the last time, px; `None` when it
/// never meets the mask.
#[must_use]
pub fn contour_radius(mask: &Bitmap, ray: Ray) -> Option<f32> {
    let length = ray.reach(mask.width_px, mask.height_px) as usize;
    let inside = |r: &usize| {
        let at = ray.at(*r as f32 + 0.5);
        mask.get(at.x.floor() as i64, at.y.floor() as i64)
    };
    (0..length).rev().find(inside).map(|r| r as f32 + 0.5)
}

/// A position well inside `mask`: its centre of gravity, or where that lies outside (a crescent)
/// the pixel farthest from the contour. `None` for an empty mask.
#[must_use]
pub fn centre_of(mask: &Bitmap) -> Option<PointPx> {
    let (mut x_sum, mut y_sum, mut count) = (0.0f64, 0.0f64, 0u64);
    for (i, _) in mask.pixels.iter().enumerate().filter(|&(_, &inside)| inside) {
        x_sum += (i % mask.width_px as usize) as f64;
        y_sum += (i / mask.width_px as usize) as f64;
        count += 1;
    }
    if count == 0 {
        return None;
    }
    let mean = |sum: f64| (sum / count as f64).round() as u32;
    let (x, y) = (mean(x_sum), mean(y_sum));
    if mask.get(i64::from(x), i64::from(y)) {
        return Some(PointPx::pixel_centre(x, y));
    }
    let depth = mask.inverted().distance_to_foreground();
    let deepest = (0..depth.len()).max_by(|&a, &b| depth[a].total_cmp(&depth[b]))?;
    let width = mask.width_px as usize;
    Some(PointPx::pixel_centre((deepest % width) as u32, (deepest / width) as u32))
}

/// The ray on which a further boundary point tells most: where the contour is far from every
/// point, contradicts the image, or lies on no edge. `points` are the boundary points there are.
/// With few points, or without a mask, it is the middle of the widest gap between the points, and
/// straight up without points.
#[must_use]
pub fn least_certain(
    frame: &GrayFrame,
    mask: Option<&Bitmap>,
    centre: PointPx,
    points: &[PointPx],
) -> Ray {
    let rays = (0..CHOICES)
        .map(|i| Ray { centre, hour: i as f32 * HOURS / CHOICES as f32 })
        .collect::<Vec<_>>();
    let looked: Vec<Looked> = rays.iter().map(|ray| Looked::along(frame, mask, *ray)).collect();
    let radii: Vec<f32> = looked.iter().filter_map(|look| look.contour).collect();
    if points.len() < FEW_POINTS || radii.len() < CHOICES / 2 {
        return widest_gap(centre, points);
    }
    let size = (radii.iter().sum::<f32>() / radii.len() as f32).max(1.0);
    let sharpest = looked.iter().map(|look| look.contrast).fold(1.0, f32::max);
    let doubt = |i: usize| {
        let (ray, look) = (rays[i], &looked[i]);
        let Some(contour) = look.contour else { return 0.0 };
        let at = ray.at(contour);
        let nearest = points.iter().map(|p| p.distance(at)).fold(2.0 * size, f32::min);
        let off = look.best.map_or(0.0, |best| ((best - contour).abs() / size).min(1.0));
        let faint = 1.0 - look.contrast / sharpest;
        nearest / size * (1.0 + DISAGREEMENT * off + FAINTNESS * faint)
    };
    let best = (0..CHOICES).max_by(|&a, &b| doubt(a).total_cmp(&doubt(b))).unwrap_or(0);
    rays[best]
}

/// What a ray says about the contour.
struct Looked {
    contour: Option<f32>,
    best: Option<f32>,
    /// Contrast of the edge nearest to the contour, 0 where none is near.
    contrast: f32,
}

impl Looked {
    fn along(frame: &GrayFrame, mask: Option<&Bitmap>, ray: Ray) -> Self {
        let contour = mask.and_then(|mask| contour_radius(mask, ray));
        let edges = edges_along(frame, ray);
        let best = contour.and_then(|at| likeliest_near(&edges, at)).map(|i| edges[i].radius_px);
        let near = |at: f32| {
            let there = |edge: &&Edge| (edge.radius_px - at).abs() <= ALONG_PX;
            edges.iter().filter(there).map(|edge| edge.contrast).fold(0.0, f32::max)
        };
        Self { contour, best, contrast: contour.map_or(0.0, near) }
    }
}

fn widest_gap(centre: PointPx, points: &[PointPx]) -> Ray {
    let mut hours: Vec<f32> = points.iter().map(|p| Ray::through(centre, *p).hour).collect();
    hours.sort_by(f32::total_cmp);
    let Some(&first) = hours.first() else { return Ray { centre, hour: 0.0 } };
    let mut best = (0.0f32, 0.0f32);
    for (i, &hour) in hours.iter().enumerate() {
        let next = hours.get(i + 1).copied().unwrap_or(first + HOURS);
        if next - hour > best.0 {
            best = (next - hour, (hour + next) / 2.0);
        }
    }
    Ray { centre, hour: best.1.rem_euclid(HOURS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CENTRE: PointPx = PointPx { x: 100.5, y: 90.5 };

    /// A dark disc of radius 40 with a bright ring of radius 70 round it, speckled.
    fn frame() -> GrayFrame {
        let mut noise = fastrand::Rng::with_seed(5);
        let pixels = (0..200 * 180)
            .map(|i| {
                let at = PointPx::pixel_centre(i % 200, i / 200);
                let r = at.distance(CENTRE);
                let gray = if r < 40.0 {
                    40
                } else if (68.0..74.0).contains(&r) {
                    150
                } else {
                    110
                };
                (gray + noise.i32(-25..25)) as u8
            })
            .collect();
        GrayFrame::new(200, 180, pixels).expect("sized")
    }

    fn ray(hour: f32) -> Ray {
        Ray { centre: CENTRE, hour }
    }

    #[test]
    fn hours_go_round_as_on_a_clock() {
        for (hour, dx, dy) in [(0.0, 0.0, -1.0), (3.0, 1.0, 0.0), (6.0, 0.0, 1.0), (9.0, -1.0, 0.0)]
        {
            let (x, y) = ray(hour).step();
            assert!((x - dx).abs() < 1e-6 && (y - dy).abs() < 1e-6, "{hour}");
            assert!((Ray::through(CENTRE, ray(hour).at(9.0)).hour - hour).abs() < 1e-3);
        }
        assert_eq!(ray(11.5).turned(1.0).hour, 0.5);
        assert_eq!(ray(11.5).hours_to(ray(0.5)), 1.0);
        assert!((ray(3.0).reach(200, 180) - 99.5).abs() < 1e-3);
    }

    #[test]
    fn every_hour_lands_on_the_disc_and_the_next_edge_is_the_ring() {
        let frame = frame();
        for hour in 0..12 {
            let edges = edges_along(&frame, ray(hour as f32));
            let best = likeliest(&edges, None).expect("an edge");
            assert!((edges[best].radius_px - 39.5).abs() <= 2.0, "{hour}: {edges:?}");
            let ring = likeliest(&edges, Some(70.0)).expect("an edge");
            assert!(ring > best && edges[ring].radius_px > 60.0, "{hour}: {edges:?}");
        }
    }

    #[test]
    fn the_suggestion_is_where_the_contour_leaves_the_edge() {
        let frame = frame();
        // The mask stops short on the left: between eight and ten o'clock.
        let mask = Bitmap::from_fn(200, 180, |x, y| {
            let at = PointPx::pixel_centre(x, y);
            let left = Ray::through(CENTRE, at).hours_to(ray(9.0)) < 1.0;
            at.distance(CENTRE) < if left { 25.0 } else { 40.0 }
        });
        let points: Vec<PointPx> = [0.0, 3.0, 6.0].map(|h| ray(h).at(39.5)).to_vec();
        let wanted = least_certain(&frame, Some(&mask), CENTRE, &points);
        assert!(wanted.hours_to(ray(9.0)) <= 1.0, "{}", wanted.hour);
        assert_eq!(contour_radius(&mask, ray(9.0)), Some(24.5));
    }

    #[test]
    fn near_a_contour_a_stronger_edge_farther_off_counts_for_nothing() {
        let edge = |radius_px, contrast| Edge { radius_px, contrast };
        let edges = [edge(36.0, 12.0), edge(44.0, 9.0), edge(70.0, 90.0), edge(160.0, 120.0)];
        assert_eq!(
            likeliest(&edges, Some(42.0)),
            Some(2),
            "what made a suggestion leave the structure"
        );
        assert_eq!(likeliest_near(&edges, 42.0), Some(1));
        assert_eq!(likeliest_near(&edges, 66.0), Some(2));
        assert_eq!(likeliest_near(&edges, 110.0), None);
    }

    #[test]
    fn without_a_mask_the_widest_gap_comes_next() {
        let (frame, none) = (frame(), None);
        assert_eq!(least_certain(&frame, none, CENTRE, &[]).hour, 0.0);
        let points = [ray(0.0).at(40.0), ray(3.0).at(40.0)];
        let next = least_certain(&frame, none, CENTRE, &points).hour;
        assert!((next - 7.5).abs() < 1e-3, "{next}");
    }

    #[test]
    fn the_centre_lies_inside_also_of_a_crescent() {
        let crescent = Bitmap::from_fn(100, 100, |x, y| {
            let d = |cx: f32| (x as f32 - cx).hypot(y as f32 - 50.0);
            d(50.0) < 40.0 && d(70.0) > 40.0
        });
        let at = centre_of(&crescent).expect("not empty");
        assert!(crescent.get(at.x as i64, at.y as i64));
        assert_eq!(centre_of(&Bitmap::empty(9, 9)), None);
    }

    #[test]
    fn edges_of_nothing_are_none() {
        let flat = GrayFrame::new(20, 20, vec![90; 400]).expect("sized");
        let at = PointPx::new(10.0, 10.0);
        assert!(edges_along(&flat, Ray { centre: at, hour: 1.0 }).is_empty());
        let corner = Ray { centre: PointPx::new(0.0, 0.0), hour: 0.0 };
        assert!(edges_along(&flat, corner).is_empty());
    }
}
