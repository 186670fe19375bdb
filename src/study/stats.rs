//! Paired tests and intervals, as the paper's studies need them.
//!
//! What decides whether this file is right: the figures are SciPy's (`scipy.stats.wilcoxon`, `ttest_rel`, `bootstrap`;
//! the tests name the calls), a seed gives the same interval on every machine, and whoever has too few pairs for an
//! answer gets none instead of a number.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Pairs that differ up to which the distribution of the rank sum is computed exactly.
const EXACT_MOST: usize = 50;
/// Spread, as a part of what spreads, that is rounding.
const ROUNDING: f64 = 1e-12;
/// Share of resampled means inside an interval.
const CONFIDENCE: f64 = 0.95;

/// A paired test, two-sided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tested {
    /// The smaller rank sum (Wilcoxon) or t.
    pub statistic: f64,
    /// Probability of a difference at least as large without any effect, 0..=1.
    pub p: f64,
    /// Pairs that counted.
    pub pairs: usize,
    /// Mean of `a - b` over all pairs.
    pub mean_difference: f64,
}

/// Wilcoxon's signed-rank test of `a` against `b`, two-sided.
///
/// Pairs that are equal are left out. Up to 50 others the distribution is exact, also where differences tie: of a few pairs
/// the normal one calls significant what no assignment of signs is. Beyond them it is normal, with the variance reduced for
/// ties and without correction for continuity. `None` for fewer than two pairs, when no pair differs, or a value is not
/// finite. Values without a partner are ignored.
#[must_use]
pub fn wilcoxon(a: &[f64], b: &[f64]) -> Option<Tested> {
    let all = differences(a, b)?;
    let mut sizes: Vec<f64> = all.iter().copied().filter(|d| *d != 0.0).collect();
    if sizes.is_empty() || all.len() < 2 {
        return None;
    }
    sizes.sort_by(|p, q| p.abs().total_cmp(&q.abs()));
    let n = sizes.len();
    let (mut plus, mut ties, mut doubled) = (0.0, 0.0, Vec::<usize>::with_capacity(n));
    for equal in sizes.chunk_by(|p, q| p.abs() == q.abs()) {
        let t = equal.len() as f64;
        let shared = doubled.len() as f64 + (t + 1.0) / 2.0;
        plus += shared * equal.iter().filter(|d| **d > 0.0).count() as f64;
        ties += t * t * t - t;
        let twice = 2 * doubled.len() + equal.len() + 1;
        doubled.extend(std::iter::repeat_n(twice, equal.len()));
    }
    let count = n as f64;
    let statistic = plus.min(count * (count + 1.0) / 2.0 - plus);
    let p = match n <= EXACT_MOST {
        true => exact_p(&doubled, statistic),
        false => normal_p(count, statistic, ties)?,
    };
    let mean_difference = mean(&all);
    Some(Tested { statistic, p, pairs: n, mean_difference })
}

/// Twice the share of the 2^n assignments of signs whose rank sum is at most `statistic`. The ranks are `doubled`: shared
/// ones may be halves.
fn exact_p(doubled: &[usize], statistic: f64) -> f64 {
    // Below 2^53 counts are exact in f64.
    let mut ways = vec![0.0f64; doubled.iter().sum::<usize>() + 1];
    ways[0] = 1.0;
    let mut most = 0;
    for &rank in doubled {
        for sum in (0..=most).rev() {
            ways[sum + rank] += ways[sum];
        }
        most += rank;
    }
    let below: f64 = ways.iter().take((2.0 * statistic) as usize + 1).sum();
    (2.0 * below / 2f64.powi(doubled.len() as i32)).min(1.0)
}

fn normal_p(n: f64, statistic: f64, ties: f64) -> Option<f64> {
    let mean = n * (n + 1.0) / 4.0;
    let variance = (n * (n + 1.0) * (2.0 * n + 1.0) - ties / 2.0) / 24.0;
    let z = (statistic - mean) / variance.sqrt();
    Some((2.0 * Normal::new(0.0, 1.0).ok()?.cdf(z)).min(1.0))
}

/// Student's paired t-test of `a` against `b`, two-sided. `None` for fewer than two pairs, differences without any
/// spread, or values that are not finite.
#[must_use]
pub fn paired_t(a: &[f64], b: &[f64]) -> Option<Tested> {
    let all = differences(a, b)?;
    let n = all.len();
    let mean_difference = mean(&all);
    let squares: f64 = all.iter().map(|d| (d - mean_difference).powi(2)).sum();
    // What is left of equal differences by rounding would be called the most certain of all.
    if n < 2 || squares.sqrt() <= ROUNDING * mean_difference.abs() {
        return None;
    }
    let degrees = (n - 1) as f64;
    let statistic = mean_difference / (squares / degrees / n as f64).sqrt();
    let p = 2.0 * StudentsT::new(0.0, 1.0, degrees).ok()?.cdf(-statistic.abs());
    Some(Tested { statistic, p, pairs: n, mean_difference })
}

fn differences(a: &[f64], b: &[f64]) -> Option<Vec<f64>> {
    let all: Vec<f64> = a.iter().zip(b).map(|(p, q)| p - q).collect();
    all.iter().all(|d| d.is_finite()).then_some(all)
}

/// Mean, 0 of nothing.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// A mean and where it lies with 95 % confidence.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Interval {
    /// The mean of the data themselves.
    pub mean: f64,
    /// 2.5 % of the resampled means are lower than the first and 2.5 % higher than the second; `None` where a set has one
    /// image alone, from which nothing can be drawn but itself.
    pub range: Option<[f64; 2]>,
}

impl Interval {
    /// The range, or the mean twice where there is none; for drawing.
    #[must_use]
    pub fn ends(&self) -> [f64; 2] {
        self.range.unwrap_or([self.mean; 2])
    }

    /// Whether all of the range is `least` or more.
    #[must_use]
    pub fn is_surely(&self, least: f64) -> bool {
        self.range.is_some_and(|[low, _]| low >= least)
    }
}

/// The mean of `sets` with its percentile bootstrap interval.
///
/// A set is a list of images, an image the values of its structures. Images are drawn, not structures, as those of one
/// image are no independent evidence; each set is drawn for itself, and the figure is the mean over sets of the mean
/// over structures. Sets without a value are left out. Where a set has a single image there is a mean and no interval. The
/// same seed gives the same interval.
#[must_use]
pub fn bootstrap(sets: &[Vec<Vec<f64>>], rounds: usize, seed: u64) -> Interval {
    let sums = |set: &Vec<Vec<f64>>| -> Vec<(f64, usize)> {
        let image = |values: &Vec<f64>| (values.iter().sum(), values.len());
        set.iter().filter(|values| !values.is_empty()).map(image).collect()
    };
    let sets: Vec<Vec<(f64, usize)>> = sets.iter().map(sums).filter(|s| !s.is_empty()).collect();
    let mean_of = |images: &mut dyn Iterator<Item = (f64, usize)>| {
        let (sum, n) = images.fold((0.0, 0), |(sum, n), (s, k)| (sum + s, n + k));
        sum / n as f64
    };
    type Draw<'a> = dyn FnMut(&[(f64, usize)]) -> f64 + 'a;
    let whole = |draw: &mut Draw| {
        let means: Vec<f64> = sets.iter().map(|set| draw(set)).collect();
        mean(&means)
    };
    let found = whole(&mut |set| mean_of(&mut set.iter().copied()));
    if sets.is_empty() || rounds == 0 || sets.iter().any(|set| set.len() < 2) {
        return Interval { mean: found, range: None };
    }
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut means: Vec<f64> = (0..rounds)
        .map(|_| {
            whole(&mut |set| mean_of(&mut (0..set.len()).map(|_| set[rng.usize(..set.len())])))
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let range = [tail, 1.0 - tail].map(|part| percentile(&means, part));
    Interval { mean: found, range: Some(range) }
}

/// `a` against `b`, the values of two arms on the same sets, images and structures: the mean difference with its
/// [`bootstrap`] interval, and Wilcoxon's test of the means of the images, those of all sets together.
#[must_use]
pub fn compared(
    a: &[Vec<Vec<f64>>],
    b: &[Vec<Vec<f64>>],
    rounds: usize,
    seed: u64,
) -> (Interval, Option<Tested>) {
    let minus = |(p, q): (&Vec<f64>, &Vec<f64>)| p.iter().zip(q).map(|(p, q)| p - q).collect();
    let differences: Vec<Vec<Vec<f64>>> =
        a.iter().zip(b).map(|(p, q)| p.iter().zip(q).map(minus).collect()).collect();
    let means = |sets: &[Vec<Vec<f64>>]| -> Vec<f64> {
        sets.iter().flatten().map(|image| mean(image)).collect()
    };
    (bootstrap(&differences, rounds, seed), wilcoxon(&means(a), &means(b)))
}

/// The value below which the share `part` of `sorted` lies, linear in between as in NumPy.
fn percentile(sorted: &[f64], part: f64) -> f64 {
    let at = part * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, wanted: f64) {
        let off = (found - wanted).abs();
        assert!(off <= 1e-9 * wanted.abs().max(1e-3), "{found} instead of {wanted}");
    }

    // Times of twelve images with two tools, s.
    const A: [f64; 12] = [12.1, 9.4, 15.0, 8.8, 20.3, 11.2, 13.7, 10.1, 17.9, 9.05, 14.4, 12.6];
    const B: [f64; 12] = [10.0, 9.9, 11.2, 8.5, 14.9, 12.35, 12.0, 9.3, 11.3, 9.75, 10.3, 10.1];

    #[test]
    fn wilcoxon_is_exact_where_it_can_be() {
        // scipy 1.17.1: stats.wilcoxon(A, B) and stats.ttest_rel(A, B)
        let found = wilcoxon(&A, &B).expect("pairs");
        close(found.statistic, 10.0);
        close(found.p, 0.020_996_093_75);
        let found = paired_t(&A, &B).expect("pairs");
        close(found.statistic, 2.887_552_321_748_006);
        close(found.p, 0.014_770_377_078_494_665);
    }

    #[test]
    fn ties_and_equal_pairs_are_exact_too_and_many_pairs_approximated() {
        // stats.wilcoxon(X, Y): four equal pairs, sizes that tie.
        let x = [3.0, 5.0, 2.0, 4.0, 5.0, 1.0, 4.0, 3.0, 5.0, 2.0];
        let y = [3.0, 4.0, 2.0, 2.0, 3.0, 1.0, 5.0, 1.0, 3.0, 2.0];
        let found = wilcoxon(&x, &y).expect("pairs");
        assert_eq!(found.pairs, 6);
        close(found.statistic, 1.5);
        close(found.p, 0.093_75);
        // Five pairs cannot differ significantly, whatever ties: 2 of 32 assignments of signs.
        for five in [&[1.0; 5][..], &[1.0, 2.0, 3.0, 4.0, 5.0, 0.0]] {
            close(wilcoxon(five, &[0.0; 6]).expect("pairs").p, 0.0625);
        }
        // All assignments of signs to the shared ranks, counted one by one: 2 * 138 of 65,536.
        let d = [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, -1.0, -2.0, 4.0, 4.0, 5.0, 5.0, 6.0, 6.0, -3.0, 7.0];
        let found = wilcoxon(&d, &[0.0; 16]).expect("pairs");
        close(found.statistic, 15.0);
        close(found.p, 276.0 / 65_536.0);
        // i = numpy.arange(60); stats.wilcoxon(i*37 % 61, i*23 % 59), ttest_rel of the same
        let scattered = |k: u32, m: u32| (0..60).map(|i| f64::from(i * k % m)).collect::<Vec<_>>();
        let (x, y) = (scattered(37, 61), scattered(23, 59));
        let found = wilcoxon(&x, &y).expect("pairs");
        close(found.statistic, 804.5);
        close(found.p, 0.692_923_467_128_861_8);
        let found = paired_t(&x, &y).expect("pairs");
        close(found.statistic, 0.414_687_965_794_902_97);
        close(found.p, 0.679_874_330_160_774_3);
    }

    #[test]
    fn without_a_difference_there_is_no_figure() {
        assert_eq!(wilcoxon(&A, &A), None);
        assert_eq!(wilcoxon(&[], &[]), None);
        assert_eq!(wilcoxon(&[3.0], &[1.0]), None);
        assert_eq!(wilcoxon(&[1.0, f64::NAN], &[0.0, 0.0]), None);
        assert_eq!(paired_t(&[3.0], &[1.0]), None);
        assert_eq!(paired_t(&[3.0, 4.0], &[1.0, 2.0]), None);
        // Two seconds each, but for the last bit.
        assert_eq!(paired_t(&[12.3, 14.1, 8.2], &[10.3, 12.1, 6.2]), None);
        assert_eq!(paired_t(&A, &A), None);
    }

    #[test]
    fn intervals_hold_the_mean_and_repeat_with_their_seed() {
        let image = |v: f64| vec![v];
        let set: Vec<Vec<f64>> = A.iter().copied().map(image).collect();
        let found = bootstrap(std::slice::from_ref(&set), 9999, 7);
        assert_eq!(found, bootstrap(std::slice::from_ref(&set), 9999, 7));
        // stats.bootstrap((A,), numpy.mean, method="percentile", n_resamples=9999) of three seeds: 11.008 to 11.033 and
        // 14.875 to 14.950.
        close(found.mean, A.iter().sum::<f64>() / 12.0);
        let [low, high] = found.range.expect("twelve images");
        assert!((low - 11.02).abs() < 0.1 && (high - 14.91).abs() < 0.1, "{found:?}");
        // Two structures of one image are one draw: the interval is that of the images.
        let doubled: Vec<Vec<f64>> = A.iter().map(|v| vec![*v, *v]).collect();
        assert_eq!(bootstrap(&[doubled], 9999, 7), found);
        // Every set weighs the same, whatever its size.
        let other = vec![vec![0.0]];
        let both = bootstrap(&[set, other, Vec::new()], 10, 1);
        close(both.mean, found.mean / 2.0);
        // One image is no evidence of how images differ.
        assert_eq!((both.range, both.is_surely(0.0)), (None, false));
        assert_eq!(bootstrap(&[], 10, 1), Interval::default());
    }
}
