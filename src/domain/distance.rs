//! Distance to the contour of a field of logits, finer than a pixel.
//!
//! What decides whether this file is right: the distance depends on where the logits change sign and never on how steeply,
//! so that two fields with the same contour have the same distances; neighbouring pixels differ by no more than the way
//! between them.

/// Where the contour crosses the line between two pixels is kept this far from both: a logit of 0 is still outside.
const CROSSING_MARGIN: f32 = 0.01;

type Xy = [f32; 2];

/// Signed distance of every pixel centre to the contour (where `logits`, `width` x `height` and row by row, become
/// positive), px, positive inside; `None` where there is no contour. The contour is known where it crosses the lines between
/// pixels; the nearest crossing is carried from pixel to pixel in two sweeps (Danielsson). Right to a quarter of a pixel.
pub(super) fn signed_distance(logits: &[f32], width: usize, height: usize) -> Option<Vec<f32>> {
    if width == 0 || height == 0 || logits.len() != width * height {
        return None;
    }
    let mut near = Nearest { at: vec![None; logits.len()], width, height };
    near.seed(logits);
    near.sweep();
    let signed = |(i, crossing): (usize, &Option<Xy>)| {
        let far = crossing.map(|c| distance(near.centre(i), c))?;
        Some(if logits[i] > 0.0 { far } else { -far })
    };
    near.at.iter().enumerate().map(signed).collect()
}

fn distance(a: Xy, b: Xy) -> f32 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// The nearest known crossing of each pixel.
struct Nearest {
    at: Vec<Option<Xy>>,
    width: usize,
    height: usize,
}

impl Nearest {
    fn centre(&self, i: usize) -> Xy {
        [(i % self.width) as f32 + 0.5, (i / self.width) as f32 + 0.5]
    }

    fn offer(&mut self, i: usize, crossing: Xy) {
        let centre = self.centre(i);
        if self.at[i].is_none_or(|held| distance(centre, crossing) < distance(centre, held)) {
            self.at[i] = Some(crossing);
        }
    }

    /// Crossings between neighbours, told to both.
    fn seed(&mut self, logits: &[f32]) {
        for i in 0..logits.len() {
            let (x, y) = (i % self.width, i / self.width);
            let right = (x + 1 < self.width).then_some((i + 1, [1.0, 0.0]));
            let below = (y + 1 < self.height).then_some((i + self.width, [0.0, 1.0]));
            for (j, way) in right.into_iter().chain(below) {
                if (logits[i] > 0.0) == (logits[j] > 0.0) {
                    continue;
                }
                let share = logits[i] / (logits[i] - logits[j]);
                let share = if share.is_finite() { share } else { 0.5 };
                let share = share.clamp(CROSSING_MARGIN, 1.0 - CROSSING_MARGIN);
                let from = self.centre(i);
                let crossing = [from[0] + share * way[0], from[1] + share * way[1]];
                self.offer(i, crossing);
                self.offer(j, crossing);
            }
        }
    }

    /// Down with both directions in each row, then up.
    fn sweep(&mut self) {
        let (w, h) = (self.width as isize, self.height as isize);
        for upwards in [false, true] {
            for row in 0..h {
                let (y, behind) = if upwards { (h - 1 - row, 1) } else { (row, -1) };
                for x in 0..w {
                    for (dx, dy) in [(-1, behind), (0, behind), (1, behind), (-1, 0)] {
                        self.ask(x, y, dx, dy);
                    }
                }
                for x in (0..w).rev() {
                    self.ask(x, y, 1, 0);
                }
            }
        }
    }

    /// Takes over the crossing of a neighbour where it is nearer.
    fn ask(&mut self, x: isize, y: isize, dx: isize, dy: isize) {
        let (w, h) = (self.width as isize, self.height as isize);
        let (nx, ny) = (x + dx, y + dy);
        if (0..w).contains(&nx)
            && (0..h).contains(&ny)
            && let Some(crossing) = self.at[(ny * w + nx) as usize]
        {
            self.offer((y * w + x) as usize, crossing);
        }
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
