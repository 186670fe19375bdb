//! STAPLE: the reference that several raters agree on, and how good each of them is.
//!
//! Expectation maximisation after Warfield, Zou and Wells 2004 (IEEE TMI 23, 903-921), for one structure: every pixel
//! has a hidden truth, every rater a sensitivity and a specificity. What decides whether this file is right: it starts
//! from the share of raters at each pixel and keeps the prior of that share, as ITK's filter does, so that the figures
//! of both are the same (`tests/peer/study.py`).

use std::collections::BTreeMap;

use crate::domain::Bitmap;

/// Changes of sensitivity and specificity below this end the rounds.
const SETTLED: f64 = 1e-9;
/// More rounds are a sign of raters that contradict each other; the last estimate stands.
const ROUNDS_MOST: usize = 1000;

/// Why there is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StapleError {
    /// Nobody.
    #[error("a reference needs a rater, there is none; annotate the clip")]
    NoRater,
    /// Masks of different images.
    #[error(
        "the masks of the raters have different sizes; leave the project out whose masks are of another image"
    )]
    Sizes,
}

/// What the raters agree on.
#[derive(Debug, Clone, PartialEq)]
pub struct Staple {
    width_px: u32,
    height_px: u32,
    /// Probability that the pixel belongs to the structure, row by row, 0..=1.
    pub probability: Vec<f64>,
    /// Of each rater: share of the structure that was marked, 0..=1 (1 when there is no structure).
    pub sensitivity: Vec<f64>,
    /// Of each rater: share of the rest that was left out, 0..=1 (1 when there is no rest).
    pub specificity: Vec<f64>,
    /// Rounds until nothing changed.
    pub rounds: usize,
}

impl Staple {
    /// The reference: pixels that more likely belong to the structure than not.
    #[must_use]
    pub fn mask(&self) -> Bitmap {
        let pixels = self.probability.iter().map(|p| *p >= 0.5).collect();
        Bitmap { width_px: self.width_px, height_px: self.height_px, pixels }
    }
}

/// The reference of `raters`, masks of one image.
///
/// # Errors
/// No rater, or masks of different sizes.
pub fn staple(raters: &[Bitmap]) -> Result<Staple, StapleError> {
    estimated(raters, ROUNDS_MOST)
}

/// What each rater decided, 64 of them a word.
type Pattern = Vec<u64>;

/// Whether rater `k` marked the pixels of the pattern.
fn marked_by(pattern: &[u64], k: usize) -> bool {
    (pattern[k / 64] >> (k % 64)) & 1 == 1
}

/// Pixels on which all raters decided alike.
struct Alike {
    pattern: Pattern,
    pixels: f64,
    probability: f64,
}

/// The pixels by what the raters decided, in the order of the patterns, and for each pixel the position of its pattern.
fn patterns_of(raters: &[Bitmap]) -> (Vec<Alike>, Vec<usize>) {
    let mut pixels_of: BTreeMap<Pattern, Vec<usize>> = BTreeMap::new();
    let count = raters.first().map_or(0, |first| first.pixels.len());
    let mut pattern = vec![0; raters.len().div_ceil(64)];
    for i in 0..count {
        pattern.fill(0);
        for (k, rater) in raters.iter().enumerate() {
            pattern[k / 64] |= u64::from(rater.pixels[i]) << (k % 64);
        }
        match pixels_of.get_mut(&pattern) {
            Some(pixels) => pixels.push(i),
            None => drop(pixels_of.insert(pattern.clone(), vec![i])),
        }
    }
    let (mut patterns, mut which) = (Vec::with_capacity(pixels_of.len()), vec![0; count]);
    for (pattern, pixels) in pixels_of {
        pixels.iter().for_each(|i| which[*i] = patterns.len());
        let marked: u32 = pattern.iter().map(|word| word.count_ones()).sum();
        let probability = f64::from(marked) / raters.len() as f64;
        patterns.push(Alike { pattern, pixels: pixels.len() as f64, probability });
    }
    (patterns, which)
}

fn estimated(raters: &[Bitmap], rounds_most: usize) -> Result<Staple, StapleError> {
    let count = raters.len();
    let Some(first) = raters.first() else { return Err(StapleError::NoRater) };
    let size = |m: &Bitmap| (m.width_px, m.height_px, m.pixels.len());
    if raters.iter().any(|m| size(m) != size(first)) {
        return Err(StapleError::Sizes);
    }
    // Few patterns stand for many pixels: the rounds cost nothing.
    let (mut patterns, which) = patterns_of(raters);
    let marked: f64 = patterns.iter().map(|a| a.pixels * a.probability).sum();
    let prior = marked / which.len().max(1) as f64;
    let (mut sensitivity, mut specificity) = (vec![0.0; count], vec![0.0; count]);
    let mut rounds = 0;
    while rounds < rounds_most {
        rounds += 1;
        let mut moved = 0.0f64;
        for k in 0..count {
            let (p, q) = quality(&patterns, k);
            moved = moved.max((p - sensitivity[k]).abs()).max((q - specificity[k]).abs());
            (sensitivity[k], specificity[k]) = (p, q);
        }
        for alike in &mut patterns {
            alike.probability = expected(&alike.pattern, prior, &sensitivity, &specificity);
        }
        if moved < SETTLED {
            break;
        }
    }
    let probability = which.iter().map(|at| patterns[*at].probability).collect();
    let (width_px, height_px) = (first.width_px, first.height_px);
    Ok(Staple { width_px, height_px, probability, sensitivity, specificity, rounds })
}

/// Sensitivity and specificity of rater `k` where the truth is as likely as the patterns say (the M step).
fn quality(patterns: &[Alike], k: usize) -> (f64, f64) {
    let (mut hit, mut inside, mut left, mut outside) = (0.0, 0.0, 0.0, 0.0);
    for alike in patterns {
        let (w, rest) =
            (alike.pixels * alike.probability, alike.pixels * (1.0 - alike.probability));
        inside += w;
        outside += rest;
        if marked_by(&alike.pattern, k) {
            hit += w;
        } else {
            left += rest;
        }
    }
    let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 1.0 };
    (share(hit, inside), share(left, outside))
}

/// Probability of the structure where the raters decided as `pattern` says (the E step).
fn expected(pattern: &[u64], prior: f64, sensitivity: &[f64], specificity: &[f64]) -> f64 {
    let (mut structure, mut rest) = (prior, 1.0 - prior);
    for (k, (p, q)) in sensitivity.iter().zip(specificity).enumerate() {
        let said = marked_by(pattern, k);
        structure *= if said { *p } else { 1.0 - p };
        rest *= if said { 1.0 - q } else { *q };
    }
    // Raters who are always right cannot contradict each other; where they do the prior decides.
    if structure + rest > 0.0 { structure / (structure + rest) } else { prior }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(bits: &str) -> Bitmap {
        let pixels: Vec<bool> = bits.bytes().map(|b| b == b'1').collect();
        Bitmap { width_px: pixels.len() as u32, height_px: 1, pixels }
    }

    fn near(found: &[f64], wanted: &[f64]) {
        let off = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(found.len() == wanted.len() && off < 5e-6, "{found:?} instead of {wanted:?}");
    }

    #[test]
    fn one_round_is_the_one_worked_by_hand() {
        // Shares 1, 2/3, 1/3, 0; prior 1/2. The first two: p = q = (1 + 2/3) / 2; the third: (1 + 1/3) / 2. Then the
        // first pixel: 5/6 5/6 2/3 against 1/6 1/6 1/3, that is 50 : 1; the second 25/36 1/3 against 1/36 2/3.
        let found = estimated(&[row("1100"), row("1100"), row("1010")], 1).expect("three raters");
        near(&found.sensitivity, &[5.0 / 6.0, 5.0 / 6.0, 2.0 / 3.0]);
        near(&found.specificity, &[5.0 / 6.0, 5.0 / 6.0, 2.0 / 3.0]);
        near(&found.probability, &[50.0 / 51.0, 25.0 / 27.0, 2.0 / 27.0, 1.0 / 51.0]);
        // In the end the two who agree are right and the third is right in every other pixel.
        let settled = staple(&[row("1100"), row("1100"), row("1010")]).expect("three raters");
        near(&settled.sensitivity, &[1.0, 1.0, 0.5]);
        assert_eq!(settled.mask(), row("1100"));
    }

    #[test]
    fn raters_who_agree_are_the_reference_and_empty_masks_are_no_fault() {
        for bits in ["0110", "0000", "1111"] {
            let found = staple(&[row(bits), row(bits)]).expect("two raters");
            assert_eq!(found.mask(), row(bits));
            near(&[found.sensitivity, found.specificity].concat(), &[1.0; 4]);
        }
        assert_eq!(staple(&[]), Err(StapleError::NoRater));
        assert_eq!(staple(&[row("1"), row("10")]), Err(StapleError::Sizes));
    }

    #[test]
    fn raters_may_be_more_than_the_bits_of_a_word() {
        let mut raters = vec![row("0110"); 70];
        raters.extend(vec![row("0100"); 30]);
        let found = staple(&raters).expect("a hundred raters");
        assert_eq!(found.mask(), row("0110"));
        near(&found.sensitivity[69..71], &[1.0, 0.5]);
    }

    #[test]
    fn the_figures_are_those_of_simpleitk() {
        // Written by tests/peer/study.py with SimpleITK 2.5.7.
        let disc = |cx: i64, cy: i64, r: i64| {
            Bitmap::from_fn(48, 40, |x, y| {
                (i64::from(x) - cx).pow(2) + (i64::from(y) - cy).pow(2) <= r * r
            })
        };
        let raters = [disc(22, 20, 11), disc(24, 19, 12), disc(23, 21, 10), disc(30, 20, 12)];
        let found = staple(&raters).expect("four raters");
        near(&found.sensitivity, &[0.954_653_3, 0.988_430_8, 0.845_485_0, 0.659_568_4]);
        near(&found.specificity, &[0.986_961_5, 0.953_735_6, 0.999_375_1, 0.874_234_5]);
        assert_eq!(found.mask().area_px(), 364);
        near(
            &[found.probability[20 * 48 + 34], found.probability[20 * 48 + 12]],
            &[0.170_473_7, 0.013_618_4],
        );
    }
}
