//! Tissue motion between frames: the geometric prior of propagation.
//!
//! Ultrasound tissue carries its speckle along, so a mask can be carried by the motion of the
//! pixels under it. Each frame is registered to the anchor (not only to its neighbour, which
//! would add up small errors): the motion from the neighbour gives the start, small patches are
//! then aligned with the anchor itself by inverse-compositional Lucas-Kanade steps over a
//! pyramid (in the manner of dense inverse search, Kroeger et al. 2016), blind to gain by
//! removing each patch's mean. What decides whether it is right: displacements go from the
//! current frame *to* the anchor, so that a mask is sampled, never scattered.

use rayon::prelude::*;

use super::{BoxPx, GrayFrame, wide};

/// Longest side of the image that is registered, px: speckle stays visible, cost stays small.
const WORKING_SIDE_PX: u32 = 256;
const LEVELS: usize = 4;
/// Side of a patch, working px.
const SIDE: usize = 8;
const SPACING: usize = 4;
const ITERATIONS: usize = 8;
/// Margin round the region of interest, working px: what the structure's surroundings tell.
const MARGIN_PX: f32 = 20.0;
/// Levels below which only the region of interest is aligned (the coarse ones cost nothing).
const REGION_LEVELS: usize = 2;
/// Patches whose weaker gradient direction is below this (gray^2 per px^2, summed) say little.
const FLAT: f32 = 600.0;

/// Gray values of a patch, row by row.
type Patch = [[f32; SIDE]; SIDE];

/// One gray level image of a pyramid.
#[derive(Clone)]
struct Level {
    width: usize,
    height: usize,
    gray: Vec<f32>,
    /// Gray per px to the right and downwards.
    slopes: [Vec<f32>; 2],
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
}

/// What a [`Registrable`] is made from, a quarter of its size: for frames that wait to be registered to.
#[derive(Clone)]
pub struct Shrunk {
    plane: Plane,
    /// Working px per image px.
    scale: f32,
}

impl Shrunk {
    /// Shrinks and smooths `frame`.
    #[must_use]
    pub fn new(frame: &GrayFrame) -> Self {
        let longest = frame.width_px.max(frame.height_px).max(1);
        let scale = (WORKING_SIDE_PX as f32 / longest as f32).min(1.0);
        Self { plane: shrink(frame, scale).smoothed(), scale }
    }

    /// Memory that it takes, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&self.plane.values[..])
    }
}

impl Registrable {
    /// Prepares `frame`.
    #[must_use]
    pub fn new(frame: &GrayFrame) -> Self {
        Self::of(Shrunk::new(frame))
    }

    /// Prepares a frame that waited.
    #[must_use]
    pub fn of(Shrunk { mut plane, scale }: Shrunk) -> Self {
        let mut levels = Vec::with_capacity(LEVELS);
        loop {
            let next = plane.halved();
            levels.push(Level::from(plane));
            if levels.len() == LEVELS || next.width.min(next.height) < 2 * SIDE {
                return Self { levels, scale };
            }
            plane = next;
        }
    }
}

/// The mean of the pixels that each pixel of the smaller image covers.
fn shrink(frame: &GrayFrame, scale: f32) -> Plane {
    let width = ((frame.width_px as f32 * scale).round() as usize).max(1);
    let height = ((frame.height_px as f32 * scale).round() as usize).max(1);
    let (wide, high) = (frame.width_px as usize, frame.height_px as usize);
    let span =
        |i: usize, n: usize, from: usize| (i * from / n, ((i + 1) * from).div_ceil(n).min(from));
    let mut gray = Vec::with_capacity(width * height);
    let mut sums = vec![0u32; wide];
    for y in 0..height {
        let (y0, y1) = span(y, height, high);
        sums.fill(0);
        for row in frame.pixels[y0 * wide..y1 * wide].chunks_exact(wide.max(1)) {
            sums.iter_mut().zip(row).for_each(|(sum, &p)| *sum += u32::from(p));
        }
        gray.extend((0..width).map(|x| {
            let (x0, x1) = span(x, width, wide);
            let sum: u32 = sums[x0..x1].iter().sum();
            sum as f32 / ((y1 - y0) * (x1 - x0)).max(1) as f32
        }));
    }
    Plane { width, height, values: gray }
}

/// Values row by row.
#[derive(Clone)]
struct Plane {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

impl Plane {
    fn row(&self, y: usize) -> &[f32] {
        &self.values[y * self.width..][..self.width]
    }

    /// Every value from those left and right of it (of row ends, the last ones again) and itself.
    fn along(&self, value: impl Fn(f32, f32, f32) -> f32) -> Plane {
        let mut out = Vec::with_capacity(self.values.len());
        for row in self.values.chunks_exact(self.width) {
            let last = self.width - 1;
            out.push(value(row[0], row[0], row[1.min(last)]));
            out.extend(row.windows(3).map(|v| value(v[0], v[1], v[2])));
            if last > 0 {
                out.push(value(row[last - 1], row[last], row[last]));
            }
        }
        Plane { values: out, ..*self }
    }

    /// The same downwards.
    fn down(&self, value: impl Fn(f32, f32, f32) -> f32) -> Plane {
        let mut out = Vec::with_capacity(self.values.len());
        for y in 0..self.height {
            let (above, below) = (y.saturating_sub(1), (y + 1).min(self.height - 1));
            let rows = self.row(above).iter().zip(self.row(y)).zip(self.row(below));
            out.extend(rows.map(|((a, b), c)| value(*a, *b, *c)));
        }
        Plane { values: out, ..*self }
    }

    /// Binomial 1-2-1 in both directions.
    fn smoothed(&self) -> Plane {
        let binomial = |a: f32, b: f32, c: f32| 0.25 * a + 0.5 * b + 0.25 * c;
        self.along(binomial).down(binomial)
    }

    fn halved(&self) -> Plane {
        let soft = self.smoothed();
        let (width, height) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let mut values = Vec::with_capacity(width * height);
        for y in (0..self.height).step_by(2) {
            let (upper, lower) = (soft.row(y), soft.row((y + 1).min(self.height - 1)));
            values.extend((0..self.width).step_by(2).map(|x| {
                let beside = (x + 1).min(self.width - 1);
                0.25 * (upper[x] + upper[beside] + lower[x] + lower[beside])
            }));
        }
        Plane { width, height, values }
    }
}

impl From<Plane> for Level {
    fn from(plane: Plane) -> Self {
        let half = |before: f32, _: f32, after: f32| 0.5 * (after - before);
        let slopes = [plane.along(half).values, plane.down(half).values];
        Self { width: plane.width, height: plane.height, gray: plane.values, slopes }
    }
}

impl Level {
    /// `S` x `S` values of one of this level's planes, the first at (`x`, `y`); beyond the edges the last ones again.
    #[inline(always)]
    fn square<const S: usize>(&self, plane: &[f32], x: i32, y: i32) -> [[f32; S]; S] {
        let mut out = [[0.0; S]; S];
        let within = |v: i32, n: usize| v >= 0 && v as usize + S <= n;
        if within(x, self.width) && within(y, self.height) {
            let from = &plane[y as usize * self.width + x as usize..];
            for (row, out) in out.iter_mut().enumerate() {
                out.copy_from_slice(&from[row * self.width..][..S]);
            }
        } else {
            let inside = |v: i32, n: usize| v.clamp(0, n as i32 - 1) as usize;
            for (row, out) in (y..).zip(&mut out) {
                let from = &plane[inside(row, self.height) * self.width..];
                (x..).zip(out).for_each(|(x, v)| *v = from[inside(x, self.width)]);
            }
        }
        out
    }

    /// The gray values of a patch whose first pixel is at (`x`, `y`), between pixels. A patch moves as a whole: all its
    /// pixels lie equally far between those of the level.
    #[inline(always)]
    fn patch_between(&self, [x, y]: [f32; 2]) -> Patch {
        let (x0, y0) = (x.floor(), y.floor());
        let (fx, fy) = (x - x0, y - y0);
        let from: [[f32; SIDE + 1]; SIDE + 1] = self.square(&self.gray, x0 as i32, y0 as i32);
        let mut across = [[0.0; SIDE]; SIDE + 1];
        for (out, from) in across.iter_mut().zip(&from) {
            for i in 0..SIDE {
                out[i] = from[i] * (1.0 - fx) + from[i + 1] * fx;
            }
        }
        let mut out = [[0.0; SIDE]; SIDE];
        for (row, out) in out.iter_mut().enumerate() {
            for i in 0..SIDE {
                out[i] = across[row][i] * (1.0 - fy) + across[row + 1][i] * fy;
            }
        }
        out
    }
}

impl Motion {
    fn still(level: &Level, scale: f32) -> Self {
        let columns = level.width.div_ceil(SPACING) + 1;
        let rows = level.height.div_ceil(SPACING) + 1;
        let cells = columns * rows;
        Self { columns, rows, spacing: SPACING as f32, scale, vectors: vec![[0.0; 2]; cells] }
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

    /// Where the pixels of the current frame, `width` px wide, lie in the other frame.
    #[must_use]
    pub fn places(&self, width: usize) -> Places<'_> {
        let columns = (0..width).map(|x| self.cell(x, self.columns)).collect();
        Places { motion: self, columns }
    }

    /// The cell of the grid in which the centre of pixel `at` lies, one of `cells`, and how far in it.
    fn cell(&self, at: usize, cells: usize) -> (usize, f32) {
        let at = (at as f32 + 0.5) * self.scale / self.spacing;
        let at = at.clamp(0.0, cells as f32 - 1.001);
        (at as usize, at.fract())
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

/// Displaced pixels.
pub struct Places<'a> {
    motion: &'a Motion,
    /// The cell of every column.
    columns: Vec<(usize, f32)>,
}

impl Places<'_> {
    /// Positions in the other frame of the centres of a row's pixels, image px.
    pub fn row(&self, row: usize) -> impl Iterator<Item = [f32; 2]> {
        let Motion { columns, rows, scale, vectors, .. } = self.motion;
        let mix = |a: [f32; 2], b: [f32; 2], f: f32| [0, 1].map(|i| a[i] + f * (b[i] - a[i]));
        let (cell, fy) = self.motion.cell(row, *rows);
        let of = |row: usize| &vectors[row.min(rows - 1) * columns..][..*columns];
        let pairs = of(cell).iter().zip(of(cell + 1));
        let line: Vec<[f32; 2]> = pairs.map(|(a, b)| mix(*a, *b, fy).map(|v| v / scale)).collect();
        self.columns.iter().enumerate().map(move |(x, (cell, fx))| {
            let v = mix(line[*cell], line[(cell + 1).min(line.len() - 1)], *fx);
            [x as f32 + 0.5 + v[0], row as f32 + 0.5 + v[1]]
        })
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
    let mut weights = vec![0.0f32; motion.vectors.len()];
    let vectors = motion.vectors.par_chunks_mut(motion.columns);
    let rows = vectors.zip(weights.par_chunks_mut(motion.columns)).enumerate();
    rows.for_each(|(row, (vectors, weights))| {
        for (column, (vector, weight)) in vectors.iter_mut().zip(weights).enumerate() {
            let centre = [column, row].map(|i| (i * SPACING) as f32);
            let [x, y] = centre;
            if region.is_some_and(|r| x < r[0] || y < r[1] || x > r[2] || y > r[3]) {
                *weight = 1e-3;
                continue;
            }
            let start = *vector;
            (*vector, *weight) = wide(
                #[inline(always)]
                || align_patch(current, other, centre, start),
            );
        }
    });
    smooth(motion, &weights);
}

/// Inverse-compositional Lucas-Kanade of one patch of `current` in `other`: its displacement, and how far to trust it.
#[inline(always)]
fn align_patch(
    current: &Level,
    other: &Level,
    centre: [f32; 2],
    start: [f32; 2],
) -> ([f32; 2], f32) {
    let first = centre.map(|v| v - (SIDE / 2) as f32);
    let of = |plane: &[f32]| current.square(plane, first[0] as i32, first[1] as i32);
    let t = without_mean(of(&current.gray));
    let [dx, dy] = [0, 1].map(|axis| without_mean(of(&current.slopes[axis])));
    let (xx, xy, yy) = (dot(&dx, &dx), dot(&dx, &dy), dot(&dy, &dy));
    let weaker = 0.5 * (xx + yy - ((xx - yy).powi(2) + 4.0 * xy * xy).sqrt());
    let (xx, yy) = (xx + 0.1 * FLAT, yy + 0.1 * FLAT);
    let det = xx * yy - xy * xy;
    let length = |v: [f32; 2]| (v[0] * v[0] + v[1] * v[1]).sqrt();
    let (mut v, mut moved) = (start, f32::INFINITY);
    let mut best = (start, f32::INFINITY);
    // The last displacement is looked at but not improved.
    for step in 0..=ITERATIONS {
        let e = difference(other.patch_between([first[0] + v[0], first[1] + v[1]]), &t);
        let square = dot(&e, &e);
        if square < best.1 {
            best = (v, square);
        }
        let (bx, by) = (dot(&dx, &e), dot(&dy, &e));
        let back = [(yy * bx - xy * by) / det, (xx * by - xy * bx) / det];
        v = [v[0] - back[0], v[1] - back[1]];
        let strayed = length([v[0] - start[0], v[1] - start[1]]) > SIDE as f32;
        if step == ITERATIONS || strayed || moved < 0.02 {
            break;
        }
        moved = length(back);
    }
    let agreement = (1.0 - best.1 / (dot(&t, &t) + 1.0)).max(0.0);
    (best.0, weaker / (weaker + FLAT) * agreement * agreement + 1e-3)
}

/// What `patch` has more than `t`, both without their means.
#[inline(always)]
fn difference(patch: Patch, t: &Patch) -> Patch {
    let mut e = without_mean(patch);
    for (e, t) in e.iter_mut().zip(t) {
        for i in 0..SIDE {
            e[i] -= t[i];
        }
    }
    e
}

/// In as many sums as a row has values: they go through the processor side by side.
#[inline(always)]
fn dot(a: &Patch, b: &Patch) -> f32 {
    let mut sums = [0.0; SIDE];
    for (a, b) in a.iter().zip(b) {
        for i in 0..SIDE {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum()
}

#[inline(always)]
fn without_mean(mut patch: Patch) -> Patch {
    let mean = dot(&patch, &[[1.0; SIDE]; SIDE]) / (SIDE * SIDE) as f32;
    patch.iter_mut().flatten().for_each(|v| *v -= mean);
    patch
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
            let off = [v[0] - c[0], v[1] - c[1]];
            w / (1.0 + off[0] * off[0] + off[1] * off[1])
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
