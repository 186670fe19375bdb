//! Distance to the contour of a field of logits, finer than a pixel.
//!
//! What decides whether this file is right: the distance depends on where the logits change sign and never on how steeply,
//! so that two fields with the same contour have the same distances; neighbouring pixels differ by no more than the way
//! between them.

use super::wide;

/// Where the contour crosses the line between two pixels is kept this far from both: a logit of 0 is still outside.
const CROSSING_MARGIN: f32 = 0.01;

/// Signed distance of every pixel centre to the contour (where `logits`, `width` x `height` and row by row, become
/// positive), px, positive inside; `None` where there is no contour. The contour is known where it crosses the lines between
/// pixels; the nearest crossing is carried from pixel to pixel in two sweeps (Danielsson). Right to a quarter of a pixel.
pub(super) fn signed_distance(logits: &[f32], width: usize, height: usize) -> Option<Vec<f32>> {
    if width == 0 || height == 0 || logits.len() != width * height {
        return None;
    }
    let mut near = Nearest::unknown(width, height);
    near.seed(logits);
    near.sweep();
    // A contour is known to every pixel or to none.
    near.square[0].is_finite().then(|| {
        let signed = |(square, logit): (&f32, &f32)| {
            let far = square.sqrt();
            if *logit > 0.0 { far } else { -far }
        };
        near.square.iter().zip(logits).map(signed).collect()
    })
}

/// The nearest known crossing of each pixel; infinitely far where none is known. Planes of their own, and rows gone
/// through without branches, so that several pixels are done at a time.
struct Nearest {
    x: Vec<f32>,
    y: Vec<f32>,
    /// Square of the way to it.
    square: Vec<f32>,
    /// Where the pixels of a row have their centres.
    columns: Vec<f32>,
}

/// One row of [`Nearest`], or a part of one.
struct Row<'a> {
    x: &'a mut [f32],
    y: &'a mut [f32],
    square: &'a mut [f32],
    columns: &'a [f32],
    /// The height of its centres.
    middle: f32,
}

impl Row<'_> {
    /// Each pixel is told of one crossing.
    #[inline(always)]
    fn ask(&mut self, x: &[f32], y: &[f32]) {
        let held = self.x.iter_mut().zip(&mut *self.y).zip(&mut *self.square).zip(self.columns);
        for ((((held_x, held_y), held), column), (x, y)) in held.zip(x.iter().zip(y)) {
            let (across, down) = (x - column, y - self.middle);
            let square = across * across + down * down;
            let nearer = square < *held;
            *held = if nearer { square } else { *held };
            *held_x = if nearer { *x } else { *held_x };
            *held_y = if nearer { *y } else { *held_y };
        }
    }

    /// The pixel at `column` is told of one crossing.
    fn offer(&mut self, column: usize, x: f32, y: f32) {
        self.part(column..column + 1).ask(&[x], &[y]);
    }

    fn part(&mut self, part: std::ops::Range<usize>) -> Row<'_> {
        Row {
            x: &mut self.x[part.clone()],
            y: &mut self.y[part.clone()],
            square: &mut self.square[part.clone()],
            columns: &self.columns[part],
            middle: self.middle,
        }
    }

    /// Takes over what the row beside this one knows, straight and askew.
    fn ask_beside(&mut self, x: &[f32], y: &[f32]) {
        let last = self.x.len() - 1;
        wide(
            #[inline(always)]
            || {
                self.part(1..last + 1).ask(&x[..last], &y[..last]);
                self.ask(x, y);
                self.part(0..last).ask(&x[1..], &y[1..]);
            },
        );
    }

    /// Takes over what neighbours in the row know, from left to right and back.
    fn ask_along(&mut self) {
        self.carry(0..self.x.len());
        self.carry((0..self.x.len()).rev());
    }

    /// Carries crossings from pixel to pixel. A pixel waits for the one before only where it learns something, and
    /// that comes in runs: a branch here, unlike between rows.
    fn carry(&mut self, columns: impl Iterator<Item = usize>) {
        let (mut x, mut y) = (f32::INFINITY, f32::INFINITY);
        for i in columns {
            let (across, down) = (x - self.columns[i], y - self.middle);
            let square = across * across + down * down;
            if square < self.square[i] {
                (self.x[i], self.y[i], self.square[i]) = (x, y, square);
            } else {
                (x, y) = (self.x[i], self.y[i]);
            }
        }
    }
}

impl Nearest {
    fn unknown(width: usize, height: usize) -> Self {
        let far = vec![f32::INFINITY; width * height];
        let columns = (0..width).map(|x| x as f32 + 0.5).collect();
        Self { x: far.clone(), y: far.clone(), square: far, columns }
    }

    fn row(&mut self, row: usize) -> Row<'_> {
        let width = self.columns.len();
        let part = row * width..(row + 1) * width;
        Row {
            x: &mut self.x[part.clone()],
            y: &mut self.y[part.clone()],
            square: &mut self.square[part],
            columns: &self.columns,
            middle: row as f32 + 0.5,
        }
    }

    /// Crossings between neighbours, told to both.
    fn seed(&mut self, logits: &[f32]) {
        let width = self.columns.len();
        let share = |from: f32, to: f32| {
            let share = from / (from - to);
            let share = if share.is_finite() { share } else { 0.5 };
            share.clamp(CROSSING_MARGIN, 1.0 - CROSSING_MARGIN)
        };
        let crossed = |from: f32, to: f32| (from > 0.0) != (to > 0.0);
        for (row, values) in logits.chunks_exact(width).enumerate() {
            let middle = row as f32 + 0.5;
            for (column, pair) in values.windows(2).enumerate() {
                if crossed(pair[0], pair[1]) {
                    let x = column as f32 + 0.5 + share(pair[0], pair[1]);
                    self.row(row).offer(column, x, middle);
                    self.row(row).offer(column + 1, x, middle);
                }
            }
            for (column, (from, to)) in values.iter().zip(&logits[(row + 1) * width..]).enumerate()
            {
                if crossed(*from, *to) {
                    let (x, y) = (column as f32 + 0.5, middle + share(*from, *to));
                    self.row(row).offer(column, x, y);
                    self.row(row + 1).offer(column, x, y);
                }
            }
        }
    }

    /// Down with both directions in each row, then up.
    fn sweep(&mut self) {
        let height = self.x.len() / self.columns.len();
        self.row(0).ask_along();
        for row in 1..height {
            self.pass(row - 1, row);
        }
        self.row(height - 1).ask_along();
        for row in (1..height).rev() {
            self.pass(row, row - 1);
        }
    }

    /// What row `from` knows is told to row `to` beside it, and goes along there.
    fn pass(&mut self, from: usize, to: usize) {
        let width = self.columns.len();
        let known = from * width..(from + 1) * width;
        let (x, y) = (self.x[known.clone()].to_vec(), self.y[known].to_vec());
        let mut row = self.row(to);
        row.ask_beside(&x, &y);
        row.ask_along();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disc(slope: f32) -> Vec<f32> {
        let at = |i: usize| ((i % 90) as f32 + 0.5 - 40.3).hypot((i / 90) as f32 + 0.5 - 35.8);
        (0..90 * 80).map(|i| slope * (20.0 - at(i))).collect()
    }

    #[test]
    fn distances_are_those_of_the_disc_however_steep_it_is() {
        let truth = disc(1.0);
        let gentle = signed_distance(&truth, 90, 80).expect("a contour");
        for (d, t) in gentle.iter().zip(&truth) {
            assert!((d - t).abs() < 0.25, "{d} instead of {t}");
        }
        for slope in [1e-6, 1e6] {
            let other = signed_distance(&disc(slope), 90, 80).expect("a contour");
            let apart = other.iter().zip(&gentle).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-3, "{apart}");
        }
    }

    #[test]
    fn without_a_contour_there_is_no_distance() {
        assert_eq!(signed_distance(&[1.0; 12], 4, 3), None);
        assert_eq!(signed_distance(&[-1.0; 12], 4, 3), None);
        assert_eq!(signed_distance(&[f32::NAN; 12], 4, 3), None);
        assert_eq!(signed_distance(&[], 0, 0), None);
        assert_eq!(signed_distance(&[1.0, -1.0], 3, 1), None);
    }
}
