//! Short clips: in which a still drifts, bends, changes its gain and lets a structure fade out of the plane, and pieces of
//! real ones.
//!
//! What decides whether this file is right: picture and mask go through one mapping on every frame, and a structure that
//! has faded has no mask.

use super::bend::{Bend, Sway, bent};
use super::{
    Affine, LEAST_AREA_PX, Look, bilinear, chance, gaussian, level, placement, render, uniform,
    warp_mask,
};
use crate::domain::{Bitmap, BoxPx, PointPx};
use crate::learn::dataset::{LabelledClip, Still, pyramid};
use crate::net::follow::{LOGIT_LIMIT, LOGIT_PER_PX};

/// One training clip about one structure.
#[derive(Debug, Clone)]
pub struct ClipLesson {
    /// Frames of `side * side` gray values in 0..=1.
    pub frames: Vec<Vec<f32>>,
    /// The structure on each frame; empty where it is out of plane.
    pub masks: Vec<Bitmap>,
    /// What the motion of the tissue would have carried here, slightly wrong, as logits on the s4 grid
    /// (`net::follow`); none where nothing could be carried.
    pub carried: Vec<Option<Vec<f32>>>,
}

/// How much of the structure's cross-section is left on each frame, 0..=1; often all of it on every frame.
fn visibility(frames: usize, rng: &mut fastrand::Rng) -> Vec<f32> {
    if frames < 3 || chance(rng, 0.5) {
        return vec![1.0; frames];
    }
    // The plane passes away from the structure's middle and comes back.
    let centre = uniform(rng, 1.5, frames as f32);
    let reach = uniform(rng, 0.3, 0.5 * frames as f32);
    let depth = uniform(rng, 0.5, 1.6);
    (0..frames)
        .map(|f| {
            let z = depth * (-((f as f32 - centre) / reach).powi(2)).exp();
            let section = (1.0 - z * z).max(0.0).sqrt();
            if f == 0 || section >= 0.25 {
                section.max(if f == 0 { 0.5 } else { 0.0 })
            } else {
                0.0
            }
        })
        .collect()
}

/// A clip of `frames` frames about one structure of a still, visible on the first; `None` when chance put it badly.
pub fn clip_lesson(
    still: &Still,
    frames: usize,
    side: usize,
    rng: &mut fastrand::Rng,
) -> Option<ClipLesson> {
    let object = still.objects[rng.usize(..still.objects.len())].to_bitmap();
    let bounds = object.bounds()?;
    let base = placement(&object.to_mask(), side, rng);
    let layer = Layer::cut(still, &object, rng);
    let PointPx { x, y } = bounds.centre();
    let (centre, s) = ([x, y], side as f32);
    let drift = [0, 1].map(|_| Sway::draw(0.10 * s, frames, rng));
    let (turn, zoom) = (Sway::draw(0.15, frames, rng), Sway::draw(0.10, frames, rng));
    let bend = Bend::draw(s, frames, rng);
    let seen = visibility(frames, rng);
    let look = Look::draw(rng);
    let gain = Sway::draw(0.15, frames, rng);
    let source = level(&still.levels, base.scale());
    let (mut images, mut masks) = (Vec::with_capacity(frames), Vec::with_capacity(frames));
    for (f, section) in seen.iter().enumerate() {
        let modes = bend.on(f);
        let (sin, cos) = turn.at(f).sin_cos();
        let z = zoom.at(f).exp();
        let motion = Affine::about(
            [[z * cos, -z * sin], [z * sin, z * cos]],
            [s / 2.0, s / 2.0],
            [s / 2.0 + drift[0].at(f), s / 2.0 + drift[1].at(f)],
        );
        let (undo, back) = (motion.inverse(), base.inverse());
        let to_still = |p: [f32; 2]| back.at(undo.at(bent(p, &modes)));
        let into = |q: [f32; 2]| [0, 1].map(|k| centre[k] + (q[k] - centre[k]) / section.max(1e-3));
        let mut image = render(side, |p| {
            let q = to_still(p);
            let plain = |q: [f32; 2]| source.at(q);
            if *section >= 1.0 {
                return plain(q);
            }
            let inside = if *section > 0.0 { layer.alpha(into(q)) } else { 0.0 };
            let behind = layer.background(q, &plain);
            behind + inside * (plain(into(q)) - behind)
        });
        let mask = match *section > 0.0 {
            true => warp_mask(&object, side, |p| into(to_still(p))),
            false => Bitmap::empty(side as u32, side as u32),
        };
        Look { gain: look.gain * (1.0 + gain.at(f)), ..look }.apply(&mut image, side, rng);
        images.push(image);
        masks.push(mask);
    }
    marked(images, masks, rng)
}

/// Frames apart that follow each other in a lesson from a real clip.
const STRIDES: std::ops::RangeInclusive<usize> = 1..=3;

/// `frames` frames of a real clip about one of its structures, visible on the first: every first, second or third frame,
/// forwards or backwards, and back again where the clip ends. `None` when chance put it badly.
pub fn real_clip_lesson(
    clip: &LabelledClip,
    frames: usize,
    side: usize,
    rng: &mut fastrand::Rng,
) -> Option<ClipLesson> {
    let object = &clip.objects[rng.usize(..clip.objects.len().max(1))..].first()?;
    let seen: Vec<usize> =
        (0..clip.frames.len()).filter(|frame| !object.masks[*frame].is_empty()).collect();
    let start = *rng.choice(&seen)?;
    let (stride, backwards) = (rng.usize(STRIDES), chance(rng, 0.5));
    let shown: Vec<usize> =
        (0..frames).map(|i| to_and_fro(start, i * stride, backwards, clip.frames.len())).collect();
    let place = placement(&object.masks[start], side, rng);
    let undo = place.inverse();
    let look = Look::draw(rng);
    let (mut images, mut masks) = (Vec::with_capacity(frames), Vec::with_capacity(frames));
    for frame in shown {
        let levels = pyramid(clip.frames[frame].clone());
        let source = level(&levels, place.scale());
        let mut image = render(side, |p| source.at(undo.at(p)));
        look.apply(&mut image, side, rng);
        images.push(image);
        masks.push(warp_mask(&object.masks[frame].to_bitmap(), side, |p| undo.at(p)));
    }
    marked(images, masks, rng)
}

/// The frame `steps` after `start` of `count`, turning round at both ends.
fn to_and_fro(start: usize, steps: usize, backwards: bool, count: usize) -> usize {
    let period = (2 * count).saturating_sub(2).max(1);
    // A walk backwards is the way back of a round trip.
    let phase = if backwards { period - start % period } else { start };
    let at = (phase + steps) % period;
    at.min(period - at).min(count - 1)
}

/// The lesson of drawn frames; `None` where too little of the structure is on the first.
fn marked(
    images: Vec<Vec<f32>>,
    mut masks: Vec<Bitmap>,
    rng: &mut fastrand::Rng,
) -> Option<ClipLesson> {
    let side = masks.first()?.width_px;
    let least = LEAST_AREA_PX * (side as f32 / 256.0).powi(2);
    for mask in masks.iter_mut().skip(1).filter(|m| (m.area_px() as f32) < 0.5 * least) {
        *mask = Bitmap::empty(side, side);
    }
    if (masks[0].area_px() as f32) < least {
        return None;
    }
    let seen_before =
        |f: usize| f > 0 && masks[f - 1].pixels.contains(&true) && masks[f].pixels.contains(&true);
    let carried = (0..masks.len())
        .map(|f| (seen_before(f) && !chance(rng, 0.08)).then(|| carried(&masks[f], rng)))
        .collect();
    Some(ClipLesson { frames: images, masks, carried })
}

/// The contour of `mask` after a walk that lost it a little: shifted, scaled and bent, as logits on the s4 grid.
fn carried(mask: &Bitmap, rng: &mut fastrand::Rng) -> Vec<f32> {
    let side = mask.width_px as usize;
    let s = side as f32;
    let distance = mask.signed_distance();
    // Most walks are off by a few px of 256, some by much more.
    let most = if chance(rng, 0.15) { 0.04 } else { 0.012 };
    let shift = [0, 1].map(|_| gaussian(rng) * most * s);
    // Motion knows nothing of a cross-section that grows or shrinks out of the plane.
    let growth = if chance(rng, 0.3) { 0.2 } else { 0.05 };
    let scale = (gaussian(rng) * growth).clamp(-0.5, 0.5).exp();
    let bend = Bend::draw(0.4 * s, 1, rng).on(0);
    let middle = mask.bounds().map_or(PointPx::new(s / 2.0, s / 2.0), BoxPx::centre);
    let centre = [middle.x, middle.y];
    let grid = side / 4;
    let slope = LOGIT_PER_PX * 256.0 / s;
    (0..grid * grid)
        .map(|i| {
            let p = [4.0 * (i % grid) as f32 + 2.0, 4.0 * (i / grid) as f32 + 2.0];
            let q = bent([0, 1].map(|k| centre[k] + (p[k] - centre[k]) * scale + shift[k]), &bend);
            let q = q.map(|v| v.clamp(0.5, s - 0.5));
            (slope * bilinear(q, side as i32, side as i32, |i| distance[i]))
                .clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
        })
        .collect()
}

/// A structure cut out of its still, and what to show where it was.
struct Layer {
    width: i32,
    height: i32,
    soft: Vec<f32>,
    shift: [f32; 2],
    limits: [f32; 2],
}

impl Layer {
    /// Neighbouring tissue, one structure's size away, will fill the hole.
    fn cut(still: &Still, object: &Bitmap, rng: &mut fastrand::Rng) -> Self {
        let (w, h) = (object.width_px as f32, object.height_px as f32);
        let away = object.distance_to_foreground();
        let soft = away.iter().map(|d| (1.0 - d / 6.0).clamp(0.0, 1.0)).collect();
        let (bw, bh) =
            object.bounds().map_or((0.0, 0.0), |b| (b.max.x - b.min.x, b.max.y - b.min.y));
        let centre = object.bounds().map_or(PointPx::default(), BoxPx::centre);
        let sides = [[bw + 8.0, 0.0], [-bw - 8.0, 0.0], [0.0, bh + 8.0], [0.0, -bh - 8.0]];
        let fits = |d: &[f32; 2]| {
            let (x, y) = (centre.x + d[0], centre.y + d[1]);
            x > bw / 2.0 && y > bh / 2.0 && x < w - bw / 2.0 && y < h - bh / 2.0
        };
        let possible: Vec<[f32; 2]> = sides.into_iter().filter(fits).collect();
        let shift = if possible.is_empty() {
            sides[rng.usize(..4)]
        } else {
            possible[rng.usize(..possible.len())]
        };
        let frame = still.frame();
        Self {
            width: object.width_px as i32,
            height: object.height_px as i32,
            soft,
            shift,
            limits: [frame.width_px as f32, frame.height_px as f32],
        }
    }

    /// 1 on the structure, falling to 0 six pixels outside.
    fn alpha(&self, q: [f32; 2]) -> f32 {
        bilinear(q, self.width, self.height, |i| self.soft[i])
    }

    fn background(&self, q: [f32; 2], plain: &impl Fn([f32; 2]) -> f32) -> f32 {
        let hole = self.alpha(q);
        let here = plain(q);
        if hole <= 0.0 {
            return here;
        }
        // Beyond the edge of the still the tissue is mirrored.
        let mirrored = |v: f32, limit: f32| {
            if v < 0.0 {
                -v
            } else if v > limit {
                2.0 * limit - v
            } else {
                v
            }
        };
        let from = [0, 1].map(|k| mirrored(q[k] + self.shift[k], self.limits[k]));
        here + hole * (plain(from) - here)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{GrayFrame, Window};
    use crate::learn::dataset::ClipObject;

    #[test]
    fn a_clip_is_walked_to_and_fro() {
        let walk = |start, backwards| -> Vec<usize> {
            (0..7).map(|i| to_and_fro(start, i, backwards, 4)).collect()
        };
        assert_eq!(walk(1, false), [1, 2, 3, 2, 1, 0, 1]);
        assert_eq!(walk(1, true), [1, 0, 1, 2, 3, 2, 1]);
        assert_eq!(to_and_fro(0, 5, true, 1), 0);
    }

    #[test]
    fn a_structure_that_fills_the_view_is_carried_by_numbers() {
        let full = Bitmap::from_fn(64, 64, |_, _| true);
        for seed in 0..20 {
            let logits = carried(&full, &mut fastrand::Rng::with_seed(seed));
            assert!(logits.iter().all(|logit| *logit == LOGIT_LIMIT), "seed {seed}");
        }
    }

    /// A bright disc that moves to the right, on black.
    fn moving_disc() -> LabelledClip {
        let at = |frame: u32| {
            Bitmap::from_fn(160, 120, move |x, y| {
                (x as f32 - 50.0 - 8.0 * frame as f32).hypot(y as f32 - 60.0) < 18.0
            })
        };
        let masks: Vec<Bitmap> = (0..7).map(at).collect();
        let gray = |mask: &Bitmap| GrayFrame {
            width_px: 160,
            height_px: 120,
            pixels: mask.pixels.iter().map(|inside| if *inside { 220 } else { 20 }).collect(),
            ..GrayFrame::default()
        };
        LabelledClip {
            name: "disc".into(),
            frames: masks.iter().map(gray).collect(),
            objects: vec![ClipObject {
                label: 1,
                windows: vec![Window { first: 0, last: 6 }],
                masks: masks.iter().map(Bitmap::to_mask).collect(),
            }],
            source: None,
        }
    }

    #[test]
    fn picture_and_mask_of_a_real_clip_stay_together() {
        let clip = moving_disc();
        let mut moved = 0;
        for seed in 0..20 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let Some(lesson) = real_clip_lesson(&clip, 6, 64, &mut rng) else { continue };
            assert_eq!((lesson.frames.len(), lesson.masks.len()), (6, 6));
            for (image, mask) in lesson.frames.iter().zip(&lesson.masks) {
                let mean = |inside: bool| {
                    let values: Vec<f32> = image
                        .iter()
                        .zip(&mask.pixels)
                        .filter(|(_, p)| **p == inside)
                        .map(|(v, _)| *v)
                        .collect();
                    values.iter().sum::<f32>() / values.len().max(1) as f32
                };
                if mask.area_px() > 0 && mask.area_px() < 64 * 64 {
                    assert!(mean(true) > mean(false) + 0.2, "seed {seed}");
                }
            }
            moved += usize::from(lesson.masks[0] != lesson.masks[1]);
        }
        assert!(moved > 10, "{moved} of 20 move");
    }
}
