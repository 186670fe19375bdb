//! Training images from labelled stills: turned, zoomed, brightened, speckled; and short clips in which a still drifts,
//! bends, changes its gain and lets a structure fade out of the plane.
//!
//! What decides whether this file is right: image and mask go through one mapping, so the masks stay exact; and every
//! choice comes from the generator that is passed in, so a batch can be made again.

use super::annotator::gaussian;
use super::dataset::Still;
use crate::domain::{Bitmap, GrayFrame, Mask, PointPx};

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

/// The level of a still that is closest above the wanted scale, and that level's px per px of the first.
fn level(still: &Still, scale: f32) -> (&GrayFrame, f32) {
    let wanted = if scale < 0.3 {
        2
    } else if scale < 0.6 {
        1
    } else {
        0
    };
    let at = wanted.min(still.levels.len() - 1);
    let level = &still.levels[at];
    (level, level.width_px as f32 / still.levels[0].width_px as f32)
}

/// Where a lesson looks: on the whole still or close to one structure.
fn placement(still: &Still, object: &Mask, side: usize, rng: &mut fastrand::Rng) -> Affine {
    let (w, h) = (still.frame().width_px as f32, still.frame().height_px as f32);
    let (side, fit) = (side as f32, side as f32 / w.max(h));
    let bounds = object.to_bitmap().bounds();
    let (mut scale, mut from, mut to) = (0.0, [w / 2.0, h / 2.0], [0.0; 2]);
    match bounds.filter(|_| chance(rng, 0.5)) {
        Some(b) => {
            let size = (b.max.x - b.min.x).max(b.max.y - b.min.y);
            scale = (side * uniform(rng, 0.25, 0.8) / size).min(6.0 * fit).max(0.9 * fit);
            from = [(b.min.x + b.max.x) / 2.0, (b.min.y + b.max.y) / 2.0];
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
    let place = placement(still, &still.objects[order[0]], side, rng);
    let back = place.inverse();
    let least = LEAST_AREA_PX * (side as f32 / 256.0).powi(2);
    let mut masks: Vec<Bitmap> = Vec::with_capacity(count);
    for object in order.iter().take(count).map(|i| still.objects[*i].to_bitmap()) {
        let mask = warp_mask(&object, side, |p| back.at(p));
        if mask.area_px() as f32 >= least {
            masks.push(mask);
        }
    }
    let first = masks.first()?.clone();
    while masks.len() < count {
        masks.push(first.clone());
    }
    let (source, ratio) = level(still, place.scale());
    let mut image = render(side, |p| sample(source, back.at(p).map(|v| v * ratio)) / 255.0);
    Look::draw(rng).apply(&mut image, side, rng);
    Some(Lesson { image, masks, person: rng.u64(..) })
}

fn render(side: usize, value: impl Fn([f32; 2]) -> f32) -> Vec<f32> {
    (0..side * side).map(|i| value([(i % side) as f32 + 0.5, (i / side) as f32 + 0.5])).collect()
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

/// Slow sine waves: the way tissue and hand move.
struct Sway {
    waves: Vec<[f32; 3]>,
}

impl Sway {
    /// Up to `most` in size, over `frames` frames.
    fn draw(most: f32, frames: usize, rng: &mut fastrand::Rng) -> Self {
        let waves = (0..2).map(|k| {
            let turns = uniform(rng, 0.2, 0.9) * (k + 1) as f32 / frames.max(2) as f32;
            [most * uniform(rng, 0.2, 0.7) / (k + 1) as f32, turns, rng.f32()]
        });
        Self { waves: waves.collect() }
    }

    fn at(&self, frame: usize) -> f32 {
        let wave =
            |w: &[f32; 3]| w[0] * ((w[1] * frame as f32 + w[2]) * std::f32::consts::TAU).sin();
        self.waves.iter().map(wave).sum()
    }
}

/// A smooth bending of the picture: a few plane waves whose strength changes slowly.
struct Bend {
    modes: Vec<([f32; 2], f32, [Sway; 2])>,
}

impl Bend {
    fn draw(side: f32, frames: usize, rng: &mut fastrand::Rng) -> Self {
        let modes = (0..3).map(|_| {
            let wave = [0, 1].map(|_| uniform(rng, -1.5, 1.5) / side * std::f32::consts::TAU);
            let phase = rng.f32() * std::f32::consts::TAU;
            (wave, phase, [0, 1].map(|_| Sway::draw(0.025 * side, frames, rng)))
        });
        Self { modes: modes.collect() }
    }

    /// Strengths on a frame, so that each pixel costs three sines only.
    fn on(&self, frame: usize) -> Vec<([f32; 2], f32, [f32; 2])> {
        self.modes
            .iter()
            .map(|(wave, phase, sway)| (*wave, *phase, [sway[0].at(frame), sway[1].at(frame)]))
            .collect()
    }
}

fn bent(p: [f32; 2], modes: &[([f32; 2], f32, [f32; 2])]) -> [f32; 2] {
    let mut out = p;
    for (wave, phase, strength) in modes {
        let s = (wave[0] * p[0] + wave[1] * p[1] + phase).sin();
        out = [out[0] + s * strength[0], out[1] + s * strength[1]];
    }
    out
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
    let base = placement(still, &object.to_mask(), side, rng);
    let layer = Layer::cut(still, &object, rng);
    let centre = [(bounds.min.x + bounds.max.x) / 2.0, (bounds.min.y + bounds.max.y) / 2.0];
    let s = side as f32;
    let drift = [0, 1].map(|_| Sway::draw(0.10 * s, frames, rng));
    let (turn, zoom) = (Sway::draw(0.15, frames, rng), Sway::draw(0.10, frames, rng));
    let bend = Bend::draw(s, frames, rng);
    let seen = visibility(frames, rng);
    let look = Look::draw(rng);
    let gain = Sway::draw(0.15, frames, rng);
    let (source, ratio) = level(still, base.scale());
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
            let plain = |q: [f32; 2]| sample(source, q.map(|v| v * ratio)) / 255.0;
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
    let least = LEAST_AREA_PX * (s / 256.0).powi(2);
    for mask in masks.iter_mut().skip(1).filter(|m| (m.area_px() as f32) < 0.5 * least) {
        *mask = Bitmap::empty(side as u32, side as u32);
    }
    if (masks[0].area_px() as f32) < least {
        return None;
    }
    let seen_before =
        |f: usize| f > 0 && masks[f - 1].pixels.contains(&true) && masks[f].pixels.contains(&true);
    let carried = (0..frames)
        .map(|f| (seen_before(f) && !chance(rng, 0.08)).then(|| carried(&masks[f], rng)))
        .collect();
    Some(ClipLesson { frames: images, masks, carried })
}

/// The contour of `mask` after a walk that lost it a little: shifted, scaled and bent, as logits on the s4 grid.
fn carried(mask: &Bitmap, rng: &mut fastrand::Rng) -> Vec<f32> {
    const LOGIT_PER_PX: f32 = 0.5;
    const LOGIT_LIMIT: f32 = 6.0;
    let side = mask.width_px as usize;
    let s = side as f32;
    let (outside, inside) =
        (mask.distance_to_foreground(), mask.inverted().distance_to_foreground());
    let distance = |i: usize| if outside[i] > 0.0 { 0.5 - outside[i] } else { inside[i] - 0.5 };
    // Most walks are off by a few px of 256, some by much more.
    let most = if chance(rng, 0.15) { 0.04 } else { 0.012 };
    let shift = [0, 1].map(|_| gaussian(rng) * most * s);
    // Motion knows nothing of a cross-section that grows or shrinks out of the plane.
    let growth = if chance(rng, 0.3) { 0.2 } else { 0.05 };
    let scale = (gaussian(rng) * growth).clamp(-0.5, 0.5).exp();
    let bend = Bend::draw(0.4 * s, 1, rng).on(0);
    let centre = mask
        .bounds()
        .map_or([s / 2.0; 2], |b| [(b.min.x + b.max.x) / 2.0, (b.min.y + b.max.y) / 2.0]);
    let grid = side / 4;
    let slope = LOGIT_PER_PX * 256.0 / s;
    (0..grid * grid)
        .map(|i| {
            let p = [4.0 * (i % grid) as f32 + 2.0, 4.0 * (i / grid) as f32 + 2.0];
            let q = bent([0, 1].map(|k| centre[k] + (p[k] - centre[k]) * scale + shift[k]), &bend);
            let q = q.map(|v| v.clamp(0.5, s - 0.5));
            (slope * bilinear(q, side as i32, side as i32, distance))
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
        let centre = object.bounds().map_or(PointPx::default(), |b| {
            PointPx::new((b.min.x + b.max.x) / 2.0, (b.min.y + b.max.y) / 2.0)
        });
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
