//! Training images from labelled stills: turned, zoomed, bent, shaded, speckled; and short clips in which a still drifts,
//! bends, changes its gain and lets a structure fade out of the plane.
//!
//! What decides whether this file is right: image and mask go through one mapping, so the masks stay exact; and every
//! choice comes from the generator that is passed in, so a batch can be made again.

mod bend;
mod clip;

use super::annotator::gaussian;
use super::dataset::Still;
use crate::domain::{Bitmap, GrayFrame, Mask};
use bend::{bent, folds};
pub use clip::{ClipLesson, clip_lesson, real_clip_lesson};

/// Structures smaller than this (on a 256 px image, px) are not worth a lesson.
const LEAST_AREA_PX: f32 = 60.0;

/// One training image with the structures that are asked about.
#[derive(Debug, Clone)]
pub struct Lesson {
    /// `side * side` gray values in 0..=1.
    pub image: Vec<f32>,
    /// The structures, `side` x `side`.
    pub masks: Vec<Bitmap>,
    /// Seeds the person who marks them.
    pub person: u64,
}

/// An affine map of pixel positions (corner-based).
#[derive(Debug, Clone, Copy)]
struct Affine {
    a: [[f32; 2]; 2],
    t: [f32; 2],
}

impl Affine {
    /// The map that takes `from` to `to` with linear part `a`.
    fn about(a: [[f32; 2]; 2], from: [f32; 2], to: [f32; 2]) -> Self {
        let t = [
            to[0] - a[0][0] * from[0] - a[0][1] * from[1],
            to[1] - a[1][0] * from[0] - a[1][1] * from[1],
        ];
        Self { a, t }
    }

    fn at(&self, p: [f32; 2]) -> [f32; 2] {
        [
            self.a[0][0] * p[0] + self.a[0][1] * p[1] + self.t[0],
            self.a[1][0] * p[0] + self.a[1][1] * p[1] + self.t[1],
        ]
    }

    fn inverse(&self) -> Self {
        let [[a, b], [c, d]] = self.a;
        let det = a * d - b * c;
        let det = if det.abs() < 1e-9 { 1e-9 } else { det };
        let inverse = [[d / det, -b / det], [-c / det, a / det]];
        Self::about(inverse, self.t, [0.0, 0.0])
    }

    /// Mean scale of lengths.
    fn scale(&self) -> f32 {
        (self.a[0][0] * self.a[1][1] - self.a[0][1] * self.a[1][0]).abs().sqrt()
    }
}

fn uniform(rng: &mut fastrand::Rng, low: f32, high: f32) -> f32 {
    low + (high - low) * rng.f32()
}

fn chance(rng: &mut fastrand::Rng, p: f32) -> bool {
    rng.f32() < p
}

/// Bilinear value of a gray image at corner-based `p`, black outside.
fn sample(frame: &GrayFrame, p: [f32; 2]) -> f32 {
    bilinear(p, frame.width_px as i32, frame.height_px as i32, |i| f32::from(frame.pixels[i]))
}

fn bilinear(p: [f32; 2], w: i32, h: i32, value: impl Fn(usize) -> f32) -> f32 {
    let (x, y) = (p[0] - 0.5, p[1] - 0.5);
    if !(x > -1.0 && y > -1.0 && x < w as f32 && y < h as f32) {
        return 0.0;
    }
    let (x0, y0) = (x.floor() as i32, y.floor() as i32);
    let (fx, fy) = (x - x0 as f32, y - y0 as f32);
    let at = |x: i32, y: i32| {
        if x >= 0 && y >= 0 && x < w && y < h { value((y * w + x) as usize) } else { 0.0 }
    };
    let top = at(x0, y0) * (1.0 - fx) + at(x0 + 1, y0) * fx;
    let bottom = at(x0, y0 + 1) * (1.0 - fx) + at(x0 + 1, y0 + 1) * fx;
    top * (1.0 - fy) + bottom * fy
}

/// A level of an image: positions are those of the first one.
struct Level<'a> {
    frame: &'a GrayFrame,
    /// Its px per px of the first along x and y, which differ where a side is odd.
    ratio: [f32; 2],
}

impl Level<'_> {
    /// Gray value at `p`, 0..=1.
    fn at(&self, p: [f32; 2]) -> f32 {
        sample(self.frame, [p[0] * self.ratio[0], p[1] * self.ratio[1]]) / 255.0
    }
}

/// The level of an image that is closest above the wanted scale.
fn level(levels: &[GrayFrame], scale: f32) -> Level<'_> {
    let wanted = if scale < 0.3 {
        2
    } else if scale < 0.6 {
        1
    } else {
        0
    };
    let (first, frame) = (&levels[0], &levels[wanted.min(levels.len() - 1)]);
    let ratio = |part: u32, whole: u32| part as f32 / whole as f32;
    let ratio = [ratio(frame.width_px, first.width_px), ratio(frame.height_px, first.height_px)];
    Level { frame, ratio }
}

/// Where a lesson looks: on the whole image or close to one structure, whose mask has the image's size.
fn placement(object: &Mask, side: usize, rng: &mut fastrand::Rng) -> Affine {
    let (w, h) = (object.width_px() as f32, object.height_px() as f32);
    let (side, fit) = (side as f32, side as f32 / w.max(h));
    let bounds = object.to_bitmap().bounds();
    let (mut scale, mut from, mut to) = (0.0, [w / 2.0, h / 2.0], [0.0; 2]);
    match bounds.filter(|_| chance(rng, 0.5)) {
        Some(b) => {
            let size = (b.max.x - b.min.x).max(b.max.y - b.min.y);
            scale = (side * uniform(rng, 0.25, 0.8) / size).min(6.0 * fit).max(0.9 * fit);
            from = [b.centre().x, b.centre().y];
            let room = (side - (size * scale).min(side)) / 2.0 * 0.8;
            to = [0, 1].map(|_| side / 2.0 + uniform(rng, -room, room));
        }
        None => {
            scale += fit * uniform(rng, -0.25, 0.25).exp();
            to = to.map(|_| side / 2.0 + uniform(rng, -0.1, 0.1) * side);
        }
    }
    let turn = if chance(rng, 0.5) { uniform(rng, -25.0, 25.0).to_radians() } else { 0.0 };
    let aspect = uniform(rng, -0.12, 0.12).exp();
    let mirror = if chance(rng, 0.5) { -1.0 } else { 1.0 };
    let flip = if chance(rng, 0.1) { -1.0 } else { 1.0 };
    let (sx, sy) = (scale * aspect * mirror, scale / aspect * flip);
    let (sin, cos) = turn.sin_cos();
    Affine::about([[cos * sx, -sin * sy], [sin * sx, cos * sy]], from, to)
}

/// A lesson about up to `count` structures of a still; fewer distinct ones are repeated. `None` when chance put none
/// of them well into view.
pub fn lesson(still: &Still, count: usize, side: usize, rng: &mut fastrand::Rng) -> Option<Lesson> {
    let mut order: Vec<usize> = (0..still.objects.len()).collect();
    rng.shuffle(&mut order);
    let place = placement(&still.objects[order[0]], side, rng);
    let (undo, modes) = (place.inverse(), folds(side as f32, rng));
    let from: Vec<[f32; 2]> = pixels(side).map(|p| undo.at(bent(p, &modes))).collect();
    let back = |p: [f32; 2]| from[p[1] as usize * side + p[0] as usize];
    let least = LEAST_AREA_PX * (side as f32 / 256.0).powi(2);
    let mut masks: Vec<Bitmap> = Vec::with_capacity(count);
    for object in order.iter().take(count).map(|i| still.objects[*i].to_bitmap()) {
        let mask = warp_mask(&object, side, back);
        if mask.area_px() as f32 >= least {
            masks.push(mask);
        }
    }
    let first = masks.first()?.clone();
    while masks.len() < count {
        masks.push(first.clone());
    }
    let source = level(&still.levels, place.scale());
    let mut image = render(side, |p| source.at(back(p)));
    shade(&mut image, side, rng);
    Look::draw(rng).apply(&mut image, side, rng);
    Some(Lesson { image, masks, person: rng.u64(..) })
}

/// Now and then uneven gain: depth compensation, poor contact, a shadow's edge.
fn shade(image: &mut [f32], side: usize, rng: &mut fastrand::Rng) {
    if chance(rng, 0.6) {
        return;
    }
    let waves: Vec<([f32; 2], f32, f32)> = (0..2)
        .map(|_| {
            let number =
                [0, 1].map(|_| uniform(rng, -1.2, 1.2) / side as f32 * std::f32::consts::TAU);
            (number, rng.f32() * std::f32::consts::TAU, uniform(rng, 0.0, 0.35))
        })
        .collect();
    for (i, v) in image.iter_mut().enumerate() {
        let p = [(i % side) as f32, (i / side) as f32];
        let height = |(n, phase, strength): &([f32; 2], f32, f32)| {
            strength * (n[0] * p[0] + n[1] * p[1] + phase).sin()
        };
        *v *= waves.iter().map(height).sum::<f32>().exp();
    }
}

fn render(side: usize, value: impl Fn([f32; 2]) -> f32) -> Vec<f32> {
    pixels(side).map(value).collect()
}

/// Centres of all pixels, row by row.
fn pixels(side: usize) -> impl Iterator<Item = [f32; 2]> {
    (0..side * side).map(move |i| [(i % side) as f32 + 0.5, (i / side) as f32 + 0.5])
}

fn warp_mask(mask: &Bitmap, side: usize, back: impl Fn([f32; 2]) -> [f32; 2]) -> Bitmap {
    let (w, h) = (mask.width_px as i32, mask.height_px as i32);
    let covered = |p| bilinear(back(p), w, h, |i| f32::from(u8::from(mask.pixels[i]))) > 0.5;
    Bitmap::from_fn(side as u32, side as u32, |x, y| covered([x as f32 + 0.5, y as f32 + 0.5]))
}

/// How the machine was set: gamma, gain, focus and speckle.
#[derive(Debug, Clone, Copy)]
struct Look {
    gamma: f32,
    gain: f32,
    offset: f32,
    blur: f32,
    speckle: f32,
    coarse: bool,
}

impl Look {
    fn draw(rng: &mut fastrand::Rng) -> Self {
        let gamma = if chance(rng, 0.7) { uniform(rng, -0.5, 0.5).exp() } else { 1.0 };
        let (gain, offset) = if chance(rng, 0.5) {
            (uniform(rng, 0.7, 1.3), uniform(rng, -0.08, 0.08))
        } else {
            (1.0, 0.0)
        };
        let blur = if chance(rng, 0.2) { uniform(rng, 0.5, 1.5) } else { 0.0 };
        let speckle = if chance(rng, 0.5) { uniform(rng, 0.03, 0.25) } else { 0.0 };
        Self { gamma, gain, offset, blur, speckle, coarse: chance(rng, 0.5) }
    }

    fn apply(&self, image: &mut Vec<f32>, side: usize, rng: &mut fastrand::Rng) {
        for v in image.iter_mut().filter(|v| **v > 0.0) {
            *v = v.max(1e-6).powf(self.gamma) * self.gain + self.offset;
        }
        if self.blur > 0.0 {
            *image = blurred(image, side, self.blur);
        }
        if self.speckle > 0.0 {
            let mut noise: Vec<f32> = (0..side * side).map(|_| gaussian(rng)).collect();
            if self.coarse {
                noise = blurred(&noise, side, 1.0);
                noise.iter_mut().for_each(|v| *v *= 3.0);
            }
            image.iter_mut().zip(noise).for_each(|(v, n)| *v *= 1.0 + self.speckle * n);
        }
        image.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
    }
}

/// Gaussian blur with repeated borders.
fn blurred(plane: &[f32], side: usize, sigma: f32) -> Vec<f32> {
    let reach = (3.0 * sigma).ceil() as i32;
    let raw: Vec<f32> =
        (-reach..=reach).map(|d| (-0.5 * (d as f32 / sigma).powi(2)).exp()).collect();
    let sum: f32 = raw.iter().sum();
    let pass = |from: &[f32], step: usize, other: usize| -> Vec<f32> {
        let mut out = vec![0.0; from.len()];
        for line in 0..side {
            for i in 0..side {
                let mut v = 0.0;
                for (k, weight) in raw.iter().enumerate() {
                    let j = (i as i32 + k as i32 - reach).clamp(0, side as i32 - 1) as usize;
                    v += weight * from[line * other + j * step];
                }
                out[line * other + i * step] = v / sum;
            }
        }
        out
    };
    pass(&pass(plane, 1, side), side, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::dataset::pyramid;

    /// 33 px become 16: a quarter of a line more than half of them.
    #[test]
    fn levels_of_odd_images_lie_where_the_image_does() {
        for [w, h] in [[320u32, 67], [67, 320]] {
            let long = w.max(h);
            let gray = |x: u32, y: u32| {
                let along = if w > h { y } else { x };
                (3 * along.min(80)) as u8
            };
            let pixels = (0..w * h).map(|i| gray(i % w, i / w)).collect();
            let levels = pyramid(GrayFrame::new(w, h, pixels).expect("it fits"));
            assert_eq!(levels.len(), 3);
            let (near, far) = (level(&levels, 1.0), level(&levels, 0.1));
            for at in [20.0, 40.0, 60.0] {
                let middle = long as f32 / 2.0;
                let p = if w > h { [middle, at] } else { [at, middle] };
                let apart = 255.0 * (near.at(p) - far.at(p)).abs() / 3.0;
                assert!(apart < 0.5, "{apart} px at {at} of {w} x {h}");
            }
        }
    }
}
