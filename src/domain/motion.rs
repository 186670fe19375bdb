//! Tissue motion between frames: the geometric prior of propagation.
//!
//! Ultrasound tissue carries its speckle along, so a mask can be carried by the motion of the
//! pixels under it. Each frame is registered to the anchor (not only to its neighbour, which
//! would add up small errors): the motion from the neighbour gives the start, small patches are
//! then aligned with the anchor itself by inverse-compositional Lucas-Kanade steps over a
//! pyramid (in the manner of dense inverse search, Kroeger et al. 2016), blind to gain by
//! removing each patch's mean. What decides whether it is right: displacements go from the
//! current frame *to* the anchor, so that a mask is sampled, never scattered.

use super::{BoxPx, GrayFrame};

/// Longest side of the image that is registered, px: speckle stays visible, cost stays small.
const WORKING_SIDE_PX: u32 = 256;
const LEVELS: usize = 4;
const PATCH: i32 = 8;
const SPACING: usize = 4;
const ITERATIONS: usize = 8;
/// Margin round the region of interest, working px: what the structure's surroundings tell.
const MARGIN_PX: f32 = 20.0;
/// Levels below which only the region of interest is aligned (the coarse ones cost nothing).
const REGION_LEVELS: usize = 2;
/// Patches whose weaker gradient direction is below this (gray^2 per px^2, summed) say little.
const FLAT: f32 = 600.0;

/// One gray level image of a pyramid.
#[derive(Clone)]
struct Level {
    width: usize,
    height: usize,
    gray: Vec<f32>,
}

/// A frame prepared for registration.
#[derive(Clone)]
pub struct Registrable {
    /// Finest first.
    levels: Vec<Level>,
    /// Working px per image px.
    scale: f32,
}

/// Displacements from the pixels of one frame to those of another, on a coarse grid.
#[derive(Clone)]
pub struct Motion {
    columns: usize,
    rows: usize,
    /// Grid spacing in working px.
    spacing: f32,
    /// Working px per image px.
    scale: f32,
    /// Displacement in working px.
    vectors: Vec<[f32; 2]>,
    /// How well the patch fits, root mean square of the gray difference.
    misfit: Vec<f32>,
}

impl Registrable {
    /// Shrinks and smooths `frame`.
    #[must_use]
    pub fn new(frame: &GrayFrame) -> Self {
        let longest = frame.width_px.max(frame.height_px).max(1);
        let scale = (WORKING_SIDE_PX as f32 / longest as f32).min(1.0);
        let mut levels = vec![shrink(frame, scale).smoothed()];
        while levels.len() < LEVELS {
            let next = levels[levels.len() - 1].halved();
            if next.width.min(next.height) < 2 * PATCH as usize {
                break;
            }
            levels.push(next);
        }
        Self { levels, scale }
    }
}

fn shrink(frame: &GrayFrame, scale: f32) -> Level {
    let width = ((frame.width_px as f32 * scale).round() as usize).max(1);
    let height = ((frame.height_px as f32 * scale).round() as usize).max(1);
    let (wide, high) = (frame.width_px as usize, frame.height_px as usize);
    let span =
        |i: usize, n: usize, from: usize| (i * from / n, ((i + 1) * from).div_ceil(n).min(from));
    let mut gray = Vec::with_capacity(width * height);
    for y in 0..height {
        let (y0, y1) = span(y, height, high);
        for x in 0..width {
            let (x0, x1) = span(x, width, wide);
            let rows = (y0..y1).map(|row| &frame.pixels[row * wide + x0..row * wide + x1]);
            let sum: u32 = rows.flatten().map(|&p| u32::from(p)).sum();
            gray.push(sum as f32 / ((y1 - y0) * (x1 - x0)).max(1) as f32);
        }
    }
    Level { width, height, gray }
}

impl Level {
    fn at(&self, x: i32, y: i32) -> f32 {
        let x = x.clamp(0, self.width as i32 - 1) as usize;
        let y = y.clamp(0, self.height as i32 - 1) as usize;
        self.gray[y * self.width + x]
    }

    fn sample(&self, x: f32, y: f32) -> f32 {
        let x = x.clamp(0.0, self.width as f32 - 1.001);
        let y = y.clamp(0.0, self.height as f32 - 1.001);
        let (x0, y0) = (x as usize, y as usize);
        let (fx, fy) = (x - x0 as f32, y - y0 as f32);
        let (x1, y1) = ((x0 + 1).min(self.width - 1), (y0 + 1).min(self.height - 1));
        let top =
            self.gray[y0 * self.width + x0] * (1.0 - fx) + self.gray[y0 * self.width + x1] * fx;
        let low =
            self.gray[y1 * self.width + x0] * (1.0 - fx) + self.gray[y1 * self.width + x1] * fx;
        top * (1.0 - fy) + low * fy
    }

    fn mapped(&self, value: impl Fn(i32, i32) -> f32) -> Level {
        let rows = 0..self.height as i32;
        let gray = rows.flat_map(|y| (0..self.width as i32).map(move |x| (x, y)));
        Level {
            width: self.width,
            height: self.height,
            gray: gray.map(|(x, y)| value(x, y)).collect(),
        }
    }

    /// Binomial 1-2-1 in both directions.
    fn smoothed(&self) -> Level {
        let across = self.mapped(|x, y| {
            0.25 * self.at(x - 1, y) + 0.5 * self.at(x, y) + 0.25 * self.at(x + 1, y)
        });
        across.mapped(|x, y| {
            0.25 * across.at(x, y - 1) + 0.5 * across.at(x, y) + 0.25 * across.at(x, y + 1)
        })
    }

    fn halved(&self) -> Level {
        let soft = self.smoothed();
        let (width, height) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let cells = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let mean = |(x, y): (usize, usize)| {
            let (x, y) = (2 * x as i32, 2 * y as i32);
            0.25 * (soft.at(x, y) + soft.at(x + 1, y) + soft.at(x, y + 1) + soft.at(x + 1, y + 1))
        };
        Level { width, height, gray: cells.map(mean).collect() }
    }
}

impl Motion {
    fn still(level: &Level, scale: f32) -> Self {
        let columns = level.width.div_ceil(SPACING) + 1;
        let rows = level.height.div_ceil(SPACING) + 1;
        let cells = columns * rows;
        Self {
            columns,
            rows,
            spacing: SPACING as f32,
            scale,
            vectors: vec![[0.0; 2]; cells],
            misfit: vec![0.0; cells],
        }
    }

    /// Displacement at a position in working px of the level this motion was made for.
    fn at(&self, x: f32, y: f32) -> [f32; 2] {
        let gx = (x / self.spacing).clamp(0.0, self.columns as f32 - 1.001);
        let gy = (y / self.spacing).clamp(0.0, self.rows as f32 - 1.001);
        let (x0, y0) = (gx as usize, gy as usize);
        let (fx, fy) = (gx - x0 as f32, gy - y0 as f32);
        let (x1, y1) = ((x0 + 1).min(self.columns - 1), (y0 + 1).min(self.rows - 1));
        let v = |x: usize, y: usize| self.vectors[y * self.columns + x];
        let mix = |axis: usize| {
            let top = v(x0, y0)[axis] * (1.0 - fx) + v(x1, y0)[axis] * fx;
            let low = v(x0, y1)[axis] * (1.0 - fx) + v(x1, y1)[axis] * fx;
            top * (1.0 - fy) + low * fy
        };
        [mix(0), mix(1)]
    }

    /// Where the pixel at (`x`, `y`) of the current frame lies in the other frame, image px.
    #[must_use]
    pub fn carried(&self, x: f32, y: f32) -> (f32, f32) {
        let v = self.at(x * self.scale, y * self.scale);
        (x + v[0] / self.scale, y + v[1] / self.scale)
    }

    /// Root mean square gray difference that is left around (`x`, `y`), image px.
    #[must_use]
    pub fn misfit(&self, x: f32, y: f32) -> f32 {
        let column = (x * self.scale / self.spacing).round().clamp(0.0, self.columns as f32 - 1.0);
        let row = (y * self.scale / self.spacing).round().clamp(0.0, self.rows as f32 - 1.0);
        self.misfit[row as usize * self.columns + column as usize]
    }

    /// The motion that goes on from this one's target along `then` (current -> middle -> far).
    #[must_use]
    pub fn followed_by(&self, then: &Motion) -> Motion {
        let mut out = self.clone();
        for row in 0..self.rows {
            for column in 0..self.columns {
                let (x, y) = (column as f32 * self.spacing, row as f32 * self.spacing);
                let here = &mut out.vectors[row * self.columns + column];
                let next = then.at(x + here[0], y + here[1]);
                *here = [here[0] + next[0], here[1] + next[1]];
            }
        }
        out
    }
}

/// Registers `current` to `other`, starting from `guess` where there is one (else from the
/// coarsest level at rest). With a `region` (image px of `current`) the fine levels are aligned
/// only in and around it; elsewhere the motion stays coarse.
#[must_use]
pub fn register(
    current: &Registrable,
    other: &Registrable,
    guess: Option<&Motion>,
    region: Option<BoxPx>,
) -> Motion {
    let depth = current.levels.len().min(other.levels.len());
    // A guess is already near: only the finer levels are run again.
    let start = if guess.is_some() { depth.min(2) } else { depth };
    let mut motion: Option<Motion> = None;
    for at in (0..start).rev() {
        let factor = (1u32 << at) as f32;
        let mut here = Motion::still(&current.levels[at], current.scale);
        for row in 0..here.rows {
            for column in 0..here.columns {
                let (x, y) = (column as f32 * here.spacing, row as f32 * here.spacing);
                let from_guess = guess.map(|g| g.at(x * factor, y * factor).map(|v| v / factor));
                let from_coarse = motion.as_ref().map(|m| m.at(x / 2.0, y / 2.0).map(|v| v * 2.0));
                here.vectors[row * here.columns + column] =
                    from_coarse.or(from_guess).unwrap_or([0.0; 2]);
            }
        }
        let wanted = region.filter(|_| at < REGION_LEVELS).map(|r| {
            let working = |v: f32, margin: f32| (v * current.scale + margin) / factor;
            [
                working(r.min.x, -MARGIN_PX),
                working(r.min.y, -MARGIN_PX),
                working(r.max.x, MARGIN_PX),
                working(r.max.y, MARGIN_PX),
            ]
        });
        align(&current.levels[at], &other.levels[at], &mut here, wanted);
        motion = Some(here);
    }
    motion.unwrap_or_else(|| Motion::still(&current.levels[0], current.scale))
}

/// Aligns every patch, then lets the patches that know vouch for their neighbours.
fn align(current: &Level, other: &Level, motion: &mut Motion, region: Option<[f32; 4]>) {
    let (gx, gy) = gradients(current);
    let mut weights = vec![0.0f32; motion.vectors.len()];
    let before = motion.vectors.clone();
    for row in 0..motion.rows {
        for column in 0..motion.columns {
            let i = row * motion.columns + column;
            let (x, y) = ((column * SPACING) as f32, (row * SPACING) as f32);
            let skipped = |r: [f32; 4]| x < r[0] || y < r[1] || x > r[2] || y > r[3];
            if region.is_some_and(skipped) {
                weights[i] = 1e-3;
                continue;
            }
            let centre = ((column * SPACING) as i32, (row * SPACING) as i32);
            let fit = align_patch(current, other, (&gx, &gy), centre, before[i]);
            motion.vectors[i] = fit.vector;
            motion.misfit[i] = fit.misfit;
            weights[i] = fit.weight;
        }
    }
    smooth(motion, &weights);
}

fn gradients(level: &Level) -> (Level, Level) {
    let gx = level.mapped(|x, y| 0.5 * (level.at(x + 1, y) - level.at(x - 1, y)));
    let gy = level.mapped(|x, y| 0.5 * (level.at(x, y + 1) - level.at(x, y - 1)));
    (gx, gy)
}

struct Fit {
    vector: [f32; 2],
    misfit: f32,
    weight: f32,
}

/// Inverse-compositional Lucas-Kanade of one patch of `current` in `other`.
fn align_patch(
    current: &Level,
    other: &Level,
    (gx, gy): (&Level, &Level),
    (cx, cy): (i32, i32),
    start: [f32; 2],
) -> Fit {
    const N: usize = (PATCH * PATCH) as usize;
    let (mut t, mut dx, mut dy) = ([0.0f32; N], [0.0f32; N], [0.0f32; N]);
    for i in 0..N {
        let x = cx - PATCH / 2 + i as i32 % PATCH;
        let y = cy - PATCH / 2 + i as i32 / PATCH;
        (t[i], dx[i], dy[i]) = (current.at(x, y), gx.at(x, y), gy.at(x, y));
    }
    for values in [&mut t, &mut dx, &mut dy] {
        let mean = values.iter().sum::<f32>() / N as f32;
        values.iter_mut().for_each(|v| *v -= mean);
    }
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for i in 0..N {
        xx += dx[i] * dx[i];
        xy += dx[i] * dy[i];
        yy += dy[i] * dy[i];
    }
    let weaker = 0.5 * (xx + yy - ((xx - yy).powi(2) + 4.0 * xy * xy).sqrt());
    let (xx, yy) = (xx + 0.1 * FLAT, yy + 0.1 * FLAT);
    let det = xx * yy - xy * xy;
    let difference = |v: [f32; 2], out: &mut [f32; N]| -> f32 {
        for (i, value) in out.iter_mut().enumerate() {
            let x = (cx - PATCH / 2 + i as i32 % PATCH) as f32 + v[0];
            let y = (cy - PATCH / 2 + i as i32 / PATCH) as f32 + v[1];
            *value = other.sample(x, y);
        }
        let mean = out.iter().sum::<f32>() / N as f32;
        let mut square = 0.0;
        for (value, t) in out.iter_mut().zip(&t) {
            *value -= mean + t;
            square += *value * *value;
        }
        square
    };
    let mut e = [0.0f32; N];
    let (mut v, mut best) = (start, (start, difference(start, &mut e)));
    for _ in 0..ITERATIONS {
        let (mut bx, mut by) = (0.0, 0.0);
        for i in 0..N {
            bx += dx[i] * e[i];
            by += dy[i] * e[i];
        }
        let step = [(yy * bx - xy * by) / det, (xx * by - xy * bx) / det];
        v = [v[0] - step[0], v[1] - step[1]];
        if (v[0] - start[0]).hypot(v[1] - start[1]) > PATCH as f32 {
            break;
        }
        let square = difference(v, &mut e);
        if square < best.1 {
            best = (v, square);
        }
        if step[0].hypot(step[1]) < 0.02 {
            break;
        }
    }
    let misfit = (best.1 / N as f32).sqrt();
    let texture = t.iter().map(|t| t * t).sum::<f32>();
    let agreement = (1.0 - best.1 / (texture + 1.0)).max(0.0);
    Fit { vector: best.0, misfit, weight: weaker / (weaker + FLAT) * agreement * agreement + 1e-3 }
}

/// Normalised convolution: each vector becomes the weighted mean of its neighbourhood, robustly
/// (a first pass finds the consensus, a second leaves out who contradicts it).
fn smooth(motion: &mut Motion, weights: &[f32]) {
    let consensus = blurred(motion, weights);
    let trusted: Vec<f32> = motion
        .vectors
        .iter()
        .zip(&consensus)
        .zip(weights)
        .map(|((v, c), w)| {
            let off = (v[0] - c[0]).hypot(v[1] - c[1]);
            w / (1.0 + off * off)
        })
        .collect();
    motion.vectors = blurred(motion, &trusted);
}

fn blurred(motion: &Motion, weights: &[f32]) -> Vec<[f32; 2]> {
    const KERNEL: [f32; 5] = [0.25, 0.75, 1.0, 0.75, 0.25];
    let (columns, rows) = (motion.columns as i32, motion.rows as i32);
    let mut sums: Vec<[f32; 3]> =
        motion.vectors.iter().zip(weights).map(|(v, w)| [v[0] * w, v[1] * w, *w]).collect();
    for (step_x, step_y) in [(1, 0), (0, 1)] {
        let from = sums.clone();
        for y in 0..rows {
            for x in 0..columns {
                let mut sum = [0.0f32; 3];
                for (k, weight) in KERNEL.iter().enumerate() {
                    let k = k as i32 - 2;
                    let (nx, ny) = (x + k * step_x, y + k * step_y);
                    if (0..columns).contains(&nx) && (0..rows).contains(&ny) {
                        let cell = from[(ny * columns + nx) as usize];
                        (0..3).for_each(|i| sum[i] += weight * cell[i]);
                    }
                }
                sums[(y * columns + x) as usize] = sum;
            }
        }
    }
    sums.iter().map(|s| [s[0] / s[2].max(1e-9), s[1] / s[2].max(1e-9)]).collect()
}
