//! One structure of a lesson and the simulated person who marks it.
//!
//! What decides whether this file is right: the network gets the shaky clicks, the rules and the boundary loss the true
//! ones; positions are corner-based px of the input, network points count from pixel centres.

use super::annotator::{SimulatedUser, contour, region_click};
use super::lessons::Plan;
use crate::domain::{Bitmap, PointKind, PointPx, closed_curve, filled};
use crate::net::prompt_encoder::PointLabel;

/// Clicks closer than this are not repeated, px of a 256 px image.
const EXCLUDE: f32 = 3.0;
/// A region click counts as mending the guess up to this far from it, in sides of the input.
const MENDED: f32 = 0.06;

/// One structure and the person who marks it.
pub(super) struct Pupil<'a> {
    /// The structure.
    pub truth: &'a Bitmap,
    contour: Vec<PointPx>,
    half: Bitmap,
    exclude: f32,
    predicted: Vec<PointPx>,
    guess: Option<Bitmap>,
    clean: Vec<PointPx>,
    /// What the network is told.
    pub points: Vec<([f32; 2], PointLabel)>,
    uniform: bool,
    user: SimulatedUser,
}

impl<'a> Pupil<'a> {
    pub(super) fn new(truth: &'a Bitmap, plan: &Plan, mut user: SimulatedUser) -> Self {
        let boundary = !plan.subject.by_region();
        let half = |x: u32, y: u32| truth.get(i64::from(2 * x), i64::from(2 * y));
        let grid = plan.side as u32 / 2;
        Self {
            truth,
            contour: if boundary { contour(truth) } else { Vec::new() },
            half: Bitmap::from_fn(grid, grid, half),
            exclude: EXCLUDE * plan.side as f32 / 256.0,
            predicted: Vec::new(),
            guess: None,
            clean: Vec::new(),
            points: Vec::new(),
            uniform: user.rng().f32() < 0.5,
            user,
        }
    }

    /// Adds boundary clicks. Only the first one of a round knows the prediction; the others go where the curve through
    /// the clicks is worst, which costs no decoder pass. Where there was an answer before any click, already the first
    /// one goes where it is worst.
    pub(super) fn boundary(&mut self, count: usize, noise: f32) {
        for i in 0..count {
            if i > 0 && self.clean.len() >= 2 {
                self.predicted = closed_curve(&self.clean);
            }
            let (line, seen) = (&self.contour, &self.predicted);
            let at = self.user.boundary_click(line, seen, &self.clean, self.exclude);
            let Some(at) = at else { return };
            self.clean.push(at);
            let shaky = self.user.shaky(at, noise);
            self.points.push(([shaky.x - 0.5, shaky.y - 0.5], PointLabel::Boundary));
        }
    }

    /// Adds region clicks. Only the first one of a round knows the prediction; each counts as mending the error around
    /// it, and the next goes to what is left, which costs no decoder pass.
    pub(super) fn region(&mut self, count: usize) {
        let first = self.guess.is_none();
        for i in 0..count {
            let guess = self.guess.as_ref();
            let click = match self.uniform {
                true => self.user.uniform_region_click(&self.half, guess),
                false => region_click(&self.half, guess),
            };
            // A perfect guess (rare) is answered by one more click inside.
            let click = click.or_else(|| region_click(&self.half, None).filter(|_| i == 0));
            let Some((kind, at)) = click else { return };
            let label = match kind {
                PointKind::Outside if !first => PointLabel::Outside,
                _ => PointLabel::Inside,
            };
            self.points.push(([2.0 * at.x - 0.5, 2.0 * at.y - 0.5], label));
            if i + 1 < count {
                self.mend(at);
            }
        }
    }

    /// The guess becomes right around `at`.
    fn mend(&mut self, at: PointPx) {
        let Some(guess) = &mut self.guess else { return };
        let (width, half) = (guess.width_px, &self.half);
        let near = MENDED * width as f32;
        for (i, (pixel, truth)) in guess.pixels.iter_mut().zip(&half.pixels).enumerate() {
            let here = PointPx::pixel_centre(i as u32 % width, i as u32 / width);
            if here.distance(at) <= near {
                *pixel = *truth;
            }
        }
    }

    pub(super) fn frame_it(&mut self, most: f32) {
        if let Some(b) = self.user.loose_box(self.truth, most) {
            self.points.push(([b.min.x - 0.5, b.min.y - 0.5], PointLabel::BoxMin));
            self.points.push(([b.max.x - 0.5, b.max.y - 0.5], PointLabel::BoxMax));
        }
    }

    /// Takes note of the network's answer on the half-size grid.
    pub(super) fn saw(&mut self, logits: &[f32], plan: &Plan) {
        let grid = plan.side as u32 / 2;
        let guess = Bitmap::from_logits(grid, grid, logits);
        if plan.subject.by_region() {
            self.guess = Some(guess);
        } else {
            let doubled = |p: PointPx| PointPx::new(2.0 * p.x, 2.0 * p.y);
            self.predicted = contour(&guess).into_iter().map(doubled).collect();
        }
    }

    /// The true positions of the boundary clicks, on the half-size grid.
    pub(super) fn clean_on_half(&self) -> Vec<PointPx> {
        self.clean.iter().map(|p| PointPx::new(p.x / 2.0, p.y / 2.0)).collect()
    }
}

/// What a person leaves on an anchor frame: mostly the curve through a few shaky points, now and then the exact mask.
pub(super) fn anchors(masks: &[&Bitmap], plan: &Plan, user: &mut SimulatedUser) -> Vec<f32> {
    let exact = user.rng().f32() < 0.35;
    let noise = 2.0 * user.rng().f32() * plan.side as f32 / 256.0;
    let mut values = Vec::with_capacity(masks.len() * plan.side * plan.side);
    for mask in masks {
        let count = user.rng().usize(4..9);
        let mut pupil = Pupil::new(mask, plan, SimulatedUser::new(user.rng().u64(..)));
        pupil.boundary(count, noise);
        let points: Vec<PointPx> =
            pupil.points.iter().map(|(p, _)| PointPx::new(p[0] + 0.5, p[1] + 0.5)).collect();
        let drawn = if exact {
            (*mask).clone()
        } else {
            filled(&closed_curve(&points), mask.width_px, mask.height_px)
        };
        let kept = if drawn.area_px() > 0 { &drawn } else { *mask };
        values.extend(kept.pixels.iter().map(|p| f32::from(u8::from(*p))));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::lessons::Subject;

    #[test]
    fn region_clicks_of_one_round_lie_apart_and_in_the_error() {
        let disc = |cx: f32| {
            Bitmap::from_fn(128, 128, |x, y| (x as f32 - cx).hypot(y as f32 - 64.0) <= 30.0)
        };
        let (truth, seen) = (disc(64.0), disc(84.0));
        let (subject, seed) = (Subject::Region, 0);
        let plan = Plan { subject, side: 128, batch: 1, focal: 20.0, boundary: 0.0, seed };
        for seed in 0..6 {
            let mut pupil = Pupil::new(&truth, &plan, SimulatedUser::new(seed));
            pupil.region(1);
            let halved =
                Bitmap::from_fn(64, 64, |x, y| seen.get(i64::from(2 * x), i64::from(2 * y)));
            let logit = |p: &bool| if *p { 4.0 } else { -4.0 };
            pupil.saw(&halved.pixels.iter().map(logit).collect::<Vec<f32>>(), &plan);
            pupil.region(4);
            let clicks = &pupil.points[1..];
            assert_eq!(clicks.len(), 4);
            for (i, ([x, y], label)) in clicks.iter().enumerate() {
                let at = (*x as i64, *y as i64);
                let (inside, shown) = (truth.get(at.0, at.1), seen.get(at.0, at.1));
                assert!(inside != shown && inside == (*label == PointLabel::Inside), "{clicks:?}");
                let apart = |([u, v], _): &([f32; 2], PointLabel)| (u - x).hypot(v - y) > 7.0;
                assert!(clicks[..i].iter().all(apart), "{clicks:?}");
            }
        }
    }
}
