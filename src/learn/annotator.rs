//! The simulated annotator: the same rules place the clicks that train and the clicks that judge.
//!
//! What decides whether this file is right: the boundary rule of the method (first click anywhere on the contour, the
//! second furthest from it, then where the predicted contour is furthest away; never twice on the same spot; ties to
//! the first pixel in row order) and SAM's region rule (centre of the larger error). Clicks come from a generator
//! whose seed is an argument, so every run can be repeated. Golden `fp.*`.

use crate::domain::{Bitmap, BoxPx, PointKind, PointPx};

/// Contour pixels closer than this to a click are not clicked again, px of the image that is judged.
pub const EXCLUDE_PX: f32 = 5.0;

/// Centres of a mask's boundary pixels in row order.
#[must_use]
pub fn contour(mask: &Bitmap) -> Vec<PointPx> {
    mask.boundary().into_iter().map(|(x, y)| PointPx::pixel_centre(x, y)).collect()
}

/// Index into `contour` of the next boundary click, or `None` when there is no contour.
///
/// `clicks` are the clicks so far (without noise), at least one; `predicted` is the contour of the prediction they gave,
/// empty when there is none yet. All in the same unit, `exclude` too.
#[must_use]
pub fn next_boundary_click(
    contour: &[PointPx],
    predicted: &[PointPx],
    clicks: &[PointPx],
    exclude: f32,
) -> Option<usize> {
    let squared = |a: PointPx, b: PointPx| (a.x - b.x).powi(2) + (a.y - b.y).powi(2);
    let to_nearest = |p: PointPx, set: &[PointPx]| {
        set.iter().map(|q| squared(p, *q)).fold(f32::INFINITY, f32::min)
    };
    let from_clicks: Vec<f32> = contour.iter().map(|p| to_nearest(*p, clicks)).collect();
    let mut distance = from_clicks.clone();
    if clicks.len() > 1 && !predicted.is_empty() {
        let found: Vec<f32> = contour.iter().map(|p| to_nearest(*p, predicted)).collect();
        // An exact prediction leaves nothing to correct: spread the clicks instead.
        if found.iter().any(|d| *d > 0.0) {
            distance = found;
        }
    }
    let free: Vec<bool> =
        from_clicks.iter().map(|d| exclude <= 0.0 || *d > exclude * exclude).collect();
    let any_free = free.iter().any(|f| *f);
    let mut best: Option<usize> = None;
    for (i, d) in distance.iter().enumerate() {
        if (free[i] || !any_free) && best.is_none_or(|b| *d > distance[b]) {
            best = Some(i);
        }
    }
    best
}

/// The pixel of `line` furthest from the contour `seen`: where somebody who has a mask at hand clicks first.
fn worst_of(line: &[PointPx], seen: &[PointPx]) -> Option<PointPx> {
    let nearest = |p: &PointPx| seen.iter().map(|q| p.distance(*q)).fold(f32::INFINITY, f32::min);
    line.iter().copied().reduce(|best, p| if nearest(&p) > nearest(&best) { p } else { best })
}

/// A region click by SAM's rule: the pixel deepest inside the larger error (missing foreground or wrong foreground),
/// with its kind. Without `predicted` it is the deepest pixel of the structure. `None` when both masks agree or
/// nothing is there.
#[must_use]
pub fn region_click(truth: &Bitmap, predicted: Option<&Bitmap>) -> Option<(PointKind, PointPx)> {
    let Some(predicted) = predicted else {
        return deepest(truth).map(|(_, at)| (PointKind::Inside, at));
    };
    match (deepest(&truth.without(predicted)), deepest(&predicted.without(truth))) {
        (Some(m), Some(w)) if w.0 > m.0 => Some((PointKind::Outside, w.1)),
        (Some(m), _) => Some((PointKind::Inside, m.1)),
        (None, Some(w)) => Some((PointKind::Outside, w.1)),
        (None, None) => None,
    }
}

/// The pixel furthest from the background and that distance; the image edge counts as background.
fn deepest(region: &Bitmap) -> Option<(f32, PointPx)> {
    let (w, h) = (region.width_px, region.height_px);
    let framed =
        Bitmap::from_fn(w + 2, h + 2, |x, y| !region.get(i64::from(x) - 1, i64::from(y) - 1));
    let depth = framed.distance_to_foreground();
    let mut best: Option<(f32, PointPx)> = None;
    for y in 0..h {
        for x in 0..w {
            let d = depth[((y + 1) * (w + 2) + x + 1) as usize];
            if d > 0.0 && best.is_none_or(|b| d > b.0) {
                best = Some((d, PointPx::pixel_centre(x, y)));
            }
        }
    }
    best
}

/// A person with a generator of their own: where the first click falls and how unsteady the hand is.
#[derive(Debug, Clone)]
pub struct SimulatedUser {
    rng: fastrand::Rng,
}

impl SimulatedUser {
    /// The same seed gives the same clicks.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed) }
    }

    /// The generator, for choices that belong to the same person.
    pub fn rng(&mut self) -> &mut fastrand::Rng {
        &mut self.rng
    }

    /// The next boundary click. The first is uniform on the contour, or where the mask at hand is worst, if there is one
    /// (`predicted`). `None` for an empty contour.
    pub fn boundary_click(
        &mut self,
        contour: &[PointPx],
        predicted: &[PointPx],
        clicks: &[PointPx],
        exclude: f32,
    ) -> Option<PointPx> {
        let at = match (clicks, predicted) {
            _ if contour.is_empty() => return None,
            ([], []) => self.rng.usize(..contour.len()),
            ([], seen) => return worst_of(contour, seen),
            _ => next_boundary_click(contour, predicted, clicks, exclude)?,
        };
        contour.get(at).copied()
    }

    /// A region click anywhere in the error (SAM 2's training rule) instead of at its centre.
    pub fn uniform_region_click(
        &mut self,
        truth: &Bitmap,
        predicted: Option<&Bitmap>,
    ) -> Option<(PointKind, PointPx)> {
        let wrong =
            |i: usize| predicted.map_or(truth.pixels[i], |p| p.pixels[i] != truth.pixels[i]);
        let errors: Vec<usize> = (0..truth.pixels.len()).filter(|i| wrong(*i)).collect();
        let at = *errors.get(self.rng.usize(..errors.len().max(1)))?;
        let (x, y) = (at as u32 % truth.width_px, at as u32 / truth.width_px);
        let kind = if truth.pixels[at] { PointKind::Inside } else { PointKind::Outside };
        Some((kind, PointPx::pixel_centre(x, y)))
    }

    /// `at` moved by Gaussian noise of standard deviation `sigma` in x and y.
    pub fn shaky(&mut self, at: PointPx, sigma: f32) -> PointPx {
        if sigma <= 0.0 {
            return at;
        }
        let (dx, dy) = (gaussian(&mut self.rng), gaussian(&mut self.rng));
        PointPx::new(at.x + sigma * dx, at.y + sigma * dy)
    }

    /// The box around a structure, each corner off by a tenth of its side (at most `most`), as SAM 2 trains.
    pub fn loose_box(&mut self, truth: &Bitmap, most: f32) -> Option<BoxPx> {
        let tight = truth.bounds()?;
        let (w, h) = (tight.max.x - tight.min.x, tight.max.y - tight.min.y);
        let mut off = |side: f32| (gaussian(&mut self.rng) * 0.1 * side).clamp(-most, most);
        let min = PointPx::new(tight.min.x + off(w), tight.min.y + off(h));
        let max = PointPx::new(tight.max.x + off(w), tight.max.y + off(h));
        Some(BoxPx::from_corners(min, max))
    }
}

/// A standard normal number (Box and Muller).
pub fn gaussian(rng: &mut fastrand::Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    (radius * (rng.f64() * std::f64::consts::TAU).cos()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disc(cx: f32, r: f32) -> Bitmap {
        Bitmap::from_fn(60, 40, |x, y| (x as f32 - cx).hypot(y as f32 - 20.0) <= r)
    }

    #[test]
    fn the_second_click_is_opposite_the_first() {
        let line = contour(&disc(30.0, 12.0));
        let first = line[0];
        let second = line[next_boundary_click(&line, &[], &[first], 5.0).expect("a contour")];
        assert!(first.distance(second) > 23.0, "{first:?} {second:?}");
    }

    #[test]
    fn the_third_click_goes_where_the_prediction_is_worst() {
        let (truth, predicted) = (contour(&disc(30.0, 12.0)), contour(&disc(25.0, 12.0)));
        let clicks = [PointPx::new(30.5, 8.5), PointPx::new(30.5, 32.5)];
        let at = truth[next_boundary_click(&truth, &predicted, &clicks, 5.0).expect("a contour")];
        assert!((at.x - 42.5).abs() <= 1.0, "{at:?}");
    }

    #[test]
    fn who_has_a_mask_at_hand_begins_where_it_is_worst() {
        let (truth, shown) = (contour(&disc(30.0, 12.0)), contour(&disc(26.0, 10.0)));
        for seed in 0..4 {
            let at = SimulatedUser::new(seed).boundary_click(&truth, &shown, &[], 5.0);
            assert!((at.expect("a contour").x - 42.5).abs() < 1.5, "{at:?}");
        }
    }

    #[test]
    fn excluded_pixels_are_clicked_only_when_nothing_is_left() {
        let dots = [PointPx::new(1.0, 1.0), PointPx::new(4.0, 1.0)];
        assert_eq!(next_boundary_click(&dots, &[], &[PointPx::new(1.0, 1.0)], 2.0), Some(1));
        assert_eq!(next_boundary_click(&dots, &[], &[PointPx::new(1.0, 1.0)], 9.0), Some(1));
        assert_eq!(next_boundary_click(&[], &[], &[PointPx::new(1.0, 1.0)], 2.0), None);
    }

    #[test]
    fn region_clicks_go_to_the_larger_error() {
        let (small, large) = (disc(30.0, 6.0), disc(30.0, 14.0));
        let (kind, at) = region_click(&large, None).expect("a structure");
        assert_eq!((kind, at), (PointKind::Inside, PointPx::new(30.5, 20.5)));
        assert_eq!(region_click(&large, Some(&small)).map(|c| c.0), Some(PointKind::Inside));
        assert_eq!(region_click(&small, Some(&large)).map(|c| c.0), Some(PointKind::Outside));
        assert_eq!(region_click(&small, Some(&small)), None);
    }

    #[test]
    fn the_same_seed_gives_the_same_person_and_noise_has_its_width() {
        let line = contour(&disc(30.0, 12.0));
        let click = |seed| SimulatedUser::new(seed).boundary_click(&line, &[], &[], 5.0);
        assert_eq!(click(7), click(7));
        let mut user = SimulatedUser::new(1);
        let squares: f32 =
            (0..4000).map(|_| user.shaky(PointPx::new(0.0, 0.0), 3.5).x.powi(2)).sum();
        assert!(((squares / 4000.0).sqrt() - 3.5).abs() < 0.15);
    }
}
