//! Finds where a clip shows ultrasound when its file does not tell: what moves is inside, what
//! stands still (text, scales, logos) is outside.
//!
//! Pixels that change between a quarter of the frames looked at are counted in a coarse grid; the
//! largest connected part of busy cells, filled between its ends in rows and in columns, is the
//! shape. A box and fans from several starts are fitted to it by climbing its overlap (intersection
//! over union), and the better one is taken if it is good enough. Shadows and empty corners of a
//! fan hardly change, so how small a change counts is tried from the smallest on. Measured on the
//! two point-of-care clips and the cine of tests/data; a person confirms it for every clip.

use std::sync::Arc;

use crate::domain::{Fan, GrayFrame, Region};

/// Cells along the longer side.
const GRID: usize = 96;
/// Smallest change that counts, gray levels, in the order tried.
const CHANGES: [u8; 3] = [1, 2, 4];
/// Share of changing pixels that makes a cell busy.
const BUSY: f64 = 0.2;
/// Overlap with the shape below which nothing was found.
const GOOD: f64 = 0.85;
/// Share of the frame from which on everything moves and nothing stands still.
const WHOLE: f64 = 0.97;
/// Share of the frame below which it is a clock or a scale that moves.
const SMALL: f64 = 0.03;
/// Half opening angles (degrees) and heights of the apex (heights of the shape) to climb from.
const HALVES: [f64; 4] = [20.0, 35.0, 50.0, 65.0];
const HEIGHTS: [f64; 5] = [0.0, 0.3, 0.8, 1.6, 3.0];

/// The region, from frames spread over the clip; `None` for a still, when nothing moves, or when
/// what moves has no simple shape. A clip in which everything moves is one box. Its numbers are
/// whole tenths, so that it reads back as it is written; `stop` is looked at now and then, and
/// ends the search.
pub(super) fn find(frames: &[Arc<GrayFrame>], stop: &dyn Fn() -> bool) -> Option<Region> {
    let first = frames.first().filter(|_| frames.len() > 1)?;
    let mut whole = None;
    for change in CHANGES {
        let Some(shape) = Shape::of(frames, change) else { continue };
        let (fitted, overlap) = shape.fitted(stop);
        if stop() {
            return None;
        }
        let region = shape.in_px(fitted, first);
        let share = shape.count() as f64 / shape.cells.len() as f64;
        if overlap < GOOD || share < SMALL {
            continue;
        }
        if share < WHOLE {
            return Some(region);
        }
        whole = whole.or(Some(region));
    }
    whole
}

/// Busy cells.
struct Shape {
    columns: usize,
    rows: usize,
    /// Side of a cell, px.
    side: usize,
    cells: Vec<bool>,
}

/// What is fitted, in cells.
#[derive(Clone, Copy, PartialEq)]
enum Candidate {
    /// Left, top, right, bottom.
    Box([f64; 4]),
    /// Apex, radii, edges in degrees.
    Fan([f64; 6]),
}

impl Candidate {
    fn numbers(&mut self) -> &mut [f64] {
        match self {
            Self::Box(numbers) => numbers,
            Self::Fan(numbers) => numbers,
        }
    }
}

impl Shape {
    /// The largest connected part of what changes by `change` or more, filled; `None` when
    /// nothing does.
    fn of(frames: &[Arc<GrayFrame>], change: u8) -> Option<Self> {
        let first = frames.first()?;
        let (width, height) = (first.width_px as usize, first.height_px as usize);
        let side = width.max(height).div_ceil(GRID).max(1);
        let (columns, rows) = (width.div_ceil(side), height.div_ceil(side));
        let changes = changes(frames, change);
        let needed = (frames.len() - 1).div_ceil(4) as u16;
        let (mut busy, mut pixels) = (vec![0u32; columns * rows], vec![0u32; columns * rows]);
        for (at, &count) in changes.iter().enumerate() {
            let cell = at / width / side * columns + at % width / side;
            busy[cell] += u32::from(count >= needed);
            pixels[cell] += 1;
        }
        let share = |(busy, pixels): (&u32, &u32)| f64::from(*busy) / f64::from(*pixels) >= BUSY;
        let cells = busy.iter().zip(&pixels).map(share).collect();
        let mut shape = Self { columns, rows, side, cells };
        shape.keep_largest();
        shape.fill();
        (shape.count() > 0).then_some(shape)
    }

    fn count(&self) -> usize {
        self.cells.iter().filter(|&&busy| busy).count()
    }

    fn keep_largest(&mut self) {
        let mut left = self.cells.clone();
        let mut largest: Vec<usize> = Vec::new();
        for start in 0..left.len() {
            if !std::mem::take(&mut left[start]) {
                continue;
            }
            let (mut part, mut next) = (vec![start], 0);
            while let Some(&at) = part.get(next) {
                next += 1;
                let (x, y) = (at % self.columns, at / self.columns);
                for near_y in y.saturating_sub(1)..(y + 2).min(self.rows) {
                    for near_x in x.saturating_sub(1)..(x + 2).min(self.columns) {
                        let near = near_y * self.columns + near_x;
                        if std::mem::take(&mut left[near]) {
                            part.push(near);
                        }
                    }
                }
            }
            if part.len() > largest.len() {
                largest = part;
            }
        }
        self.cells.fill(false);
        largest.into_iter().for_each(|at| self.cells[at] = true);
    }

    /// Adds cells that lie between busy ones of their row and between busy ones of their column.
    fn fill(&mut self) {
        let spans = |count: usize, length: usize, at: &dyn Fn(usize, usize) -> bool| {
            let span = |line: usize| {
                let mut busy = (0..length).filter(|&i| at(line, i));
                let first = busy.next()?;
                Some((first, busy.next_back().unwrap_or(first)))
            };
            (0..count).map(span).collect::<Vec<_>>()
        };
        let columns = self.columns;
        let across = spans(self.rows, columns, &|y, x| self.cells[y * columns + x]);
        let down = spans(columns, self.rows, &|x, y| self.cells[y * columns + x]);
        let between =
            |span: Option<(usize, usize)>, i| span.is_some_and(|(a, b)| (a..=b).contains(&i));
        for (at, cell) in self.cells.iter_mut().enumerate() {
            let (x, y) = (at % columns, at / columns);
            *cell |= between(across[y], x) && between(down[x], y);
        }
    }

    fn overlap(&self, candidate: &Candidate) -> f64 {
        match *candidate {
            Candidate::Box([x0, y0, x1, y1]) => {
                self.overlap_of(|x, y| (x0..=x1).contains(&x) && (y0..=y1).contains(&y))
            }
            // What `Fan::contains` says of fans of less than half a turn, without an angle a cell.
            Candidate::Fan([ax, ay, near, far, left, right]) => {
                let (near, far) = (near.max(0.0), far.max(0.0));
                let (lsin, lcos) = left.to_radians().sin_cos();
                let (rsin, rcos) = right.to_radians().sin_cos();
                self.overlap_of(|x, y| {
                    let (dx, dy) = (x - ax, y - ay);
                    let square = dx * dx + dy * dy;
                    (near * near..=far * far).contains(&square)
                        && dx * lcos - dy * lsin >= 0.0
                        && dy * rsin - dx * rcos >= 0.0
                })
            }
        }
    }

    fn overlap_of(&self, contains: impl Fn(f64, f64) -> bool) -> f64 {
        let (mut both, mut either) = (0u32, 0u32);
        for (y, row) in self.cells.chunks_exact(self.columns).enumerate() {
            for (x, &busy) in row.iter().enumerate() {
                let inside = contains(x as f64 + 0.5, y as f64 + 0.5);
                both += u32::from(inside && busy);
                either += u32::from(inside || busy);
            }
        }
        f64::from(both) / f64::from(either.max(1))
    }

    /// The best candidate and its overlap.
    fn fitted(&self, stop: &dyn Fn() -> bool) -> (Candidate, f64) {
        let busy = || (0..self.cells.len()).filter(|&at| self.cells[at]);
        let x = || busy().map(|at| (at % self.columns) as f64);
        let y = || busy().map(|at| (at / self.columns) as f64);
        let (x0, y0) = (x().fold(f64::MAX, f64::min), y().fold(f64::MAX, f64::min));
        let (x1, y1) = (x().fold(0.0, f64::max) + 1.0, y().fold(0.0, f64::max) + 1.0);
        let mut best = self.climb(Candidate::Box([x0, y0, x1, y1]), &[2.0; 4]);
        for half in HALVES {
            for height in HEIGHTS {
                if stop() {
                    return best;
                }
                let apex = y0 - height * (y1 - y0);
                let fan = [(x0 + x1) / 2.0, apex, y0 - apex, y1 - apex, -half, half];
                let found = self.climb(Candidate::Fan(fan), &[2.0, 2.0, 2.0, 2.0, 6.0, 6.0]);
                if found.1 > best.1 {
                    best = found;
                }
            }
        }
        best
    }

    /// Moves one number at a time while that helps, in ever smaller steps.
    fn climb(&self, start: Candidate, steps: &[f64]) -> (Candidate, f64) {
        let mut best = (start, self.overlap(&start));
        let mut scale = 1.0;
        // Ends anyhow: the overlap only grows; the bound keeps strange shapes short.
        for _ in 0..60 {
            let before = best.1;
            for (i, step) in steps.iter().enumerate() {
                for sign in [1.0, -1.0] {
                    let mut moved = best.0;
                    moved.numbers()[i] += sign * step * scale;
                    let overlap = self.overlap(&moved);
                    if overlap > best.1 {
                        best = (moved, overlap);
                    }
                }
            }
            if best.1 <= before {
                scale /= 2.0;
            }
            if scale < 0.05 {
                break;
            }
        }
        best
    }

    fn in_px(&self, fitted: Candidate, frame: &GrayFrame) -> Region {
        let side = self.side as f64;
        match fitted {
            Candidate::Box(sides) => {
                let [x0, y0, x1, y1] = sides.map(|v| (v * side).round().max(0.0) as u32);
                let (last_x, last_y) = (frame.width_px - 1, frame.height_px - 1);
                let (x0, y0) = (x0.min(last_x), y0.min(last_y));
                let end = |v: u32, first: u32, last: u32| v.saturating_sub(1).clamp(first, last);
                Region::Box([x0, y0, end(x1, x0, last_x), end(y1, y0, last_y)])
            }
            Candidate::Fan([x, y, near, far, left, right]) => Region::Fan(Fan {
                apex_px: [x * side, y * side].map(tenths),
                radii_px: [near.max(0.0) * side, far * side].map(tenths),
                edges_degrees: [left, right].map(tenths),
            }),
        }
    }
}

fn tenths(v: f64) -> f64 {
    (v * 10.0).round() / 10.0
}

/// How often each pixel changes by `change` or more from one of the frames to the next.
fn changes(frames: &[Arc<GrayFrame>], change: u8) -> Vec<u16> {
    let mut counts = vec![0u16; frames.first().map_or(0, |frame| frame.pixels.len())];
    for pair in frames.windows(2) {
        let values = pair[0].pixels.iter().zip(&pair[1].pixels);
        for (count, (a, b)) in counts.iter_mut().zip(values) {
            *count += u16::from(a.abs_diff(*b) >= change);
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Speckle that changes inside `region`, still text and a running clock outside.
    fn clip(region: &Region) -> Vec<Arc<GrayFrame>> {
        let (width, height) = (320u32, 240u32);
        let mut random = fastrand::Rng::with_seed(4);
        let text: Vec<u8> = (0..width * height).map(|_| random.u8(..) / 128 * 255).collect();
        let one = |frame: u32| {
            let pixel = |at: u32| {
                let (x, y) = (at % width, at / width);
                match (region.contains(x, y), x < 80 && y < 30, x > 290 && y < 12) {
                    (true, ..) => random.u8(..60),
                    (_, true, _) => text[at as usize],
                    (.., true) => (frame * 37 + at) as u8,
                    _ => 0,
                }
            };
            let pixels = (0..width * height).map(pixel).collect();
            Arc::new(GrayFrame {
                width_px: width,
                height_px: height,
                pixels,
                ..GrayFrame::default()
            })
        };
        (0..6).map(one).collect()
    }

    fn overlap(a: &Region, b: &Region) -> f64 {
        let pixels = || (0..240).flat_map(|y| (0..320).map(move |x| (x, y)));
        let both = pixels().filter(|&(x, y)| a.contains(x, y) && b.contains(x, y)).count();
        let either = pixels().filter(|&(x, y)| a.contains(x, y) || b.contains(x, y)).count();
        both as f64 / either as f64
    }

    #[test]
    fn a_fan_and_a_box_are_found_beside_text_and_a_clock() {
        for text in ["fan:170,10,20,200,-40,38", "fan:150,-120,150,340,-24,24", "box:90,40,270,220"]
        {
            let truth: Region = text.parse().expect("a region");
            let found = find(&clip(&truth), &|| false).expect("found");
            assert_eq!(found.to_string().parse(), Ok(found), "it reads back as it is written");
            assert!(overlap(&truth, &found) > 0.9, "{text}: {found}");
            assert!((0..30).all(|y| (0..70).all(|x| !found.contains(x, y))), "{found} shows text");
        }
    }

    #[test]
    fn stills_and_frozen_clips_have_none() {
        let truth: Region = "box:90,40,270,220".parse().expect("a region");
        let frames = clip(&truth);
        assert_eq!(find(&frames[..1], &|| false), None);
        assert_eq!(find(&frames, &|| true), None, "nobody waits for it any more");
        assert_eq!(find(&[Arc::clone(&frames[0]), Arc::clone(&frames[0])], &|| false), None);
    }
}
