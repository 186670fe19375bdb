//! `softmax(q kᵀ · scale) v` without the score matrix: a few queries meet a few keys at a time.
//!
//! What decides whether this file is right: the sums of weights and the weighted values of all blocks of keys share one
//! running peak, so the blocks give what one softmax over all keys gives.

use super::maths::{Running, settle, soften};
use super::product::{Mat, product};

/// Keys per block: with some 200 queries the scores of a block stay in the second-level cache.
const KEYS: usize = 256;

/// What one thread needs besides its rows; kept between blocks.
#[derive(Default)]
pub(super) struct Scratch {
    scores: Vec<f32>,
    state: Vec<Running>,
}

/// `q` `[n, d]`, `k` `[m, d]`, `v` `[m, e]` to `out`: rows of `e` numbers, `stride` apart. The last key counts
/// `last_counts` times, as if it stood there so often.
pub(super) fn attend(
    [q, k, v]: [Mat<'_>; 3],
    scale: f32,
    last_counts: usize,
    out: &mut [f32],
    stride: usize,
    scratch: &mut Scratch,
) {
    let (n, m, e) = (q.rows(), k.rows(), v.cols());
    scratch.state.clear();
    scratch.state.resize(n, Running::START);
    scratch.scores.resize(scratch.scores.len().max(n * KEYS.min(m)), 0.0);
    for at in (0..m).step_by(KEYS) {
        let width = KEYS.min(m - at);
        let scores = &mut scratch.scores[..n * width];
        product(q, k.some_rows(at, width).turned(), scale, false, scores, width);
        if at + width == m && last_counts > 1 {
            // A factor before the exponential is a summand inside it.
            let more = (last_counts as f32).ln();
            scores.iter_mut().skip(width - 1).step_by(width).for_each(|s| *s += more);
        }
        soften(scores, width, &mut scratch.state, out, [e, stride]);
        product(Mat::new(scores, n, width), v.some_rows(at, width), 1.0, at > 0, out, stride);
    }
    settle(&scratch.state, out, [e, stride]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, seed: u32) -> Vec<f32> {
        let mut x = seed;
        let mut next = || {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 8) as f32 / 8_388_608.0 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    fn plain(q: &[f32], k: &[f32], v: &[f32], d: usize, e: usize, scale: f32) -> Vec<f32> {
        let mut out = Vec::new();
        for q in q.chunks(d) {
            let dot = |k: &[f32]| q.iter().zip(k).map(|(a, b)| a * b).sum::<f32>() * scale;
            let weights: Vec<f32> = k.chunks(d).map(|k| dot(k).exp()).collect();
            let total: f32 = weights.iter().sum();
            out.extend((0..e).map(|j| {
                weights.iter().zip(v.chunks(e)).map(|(w, v)| w * v[j]).sum::<f32>() / total
            }));
        }
        out
    }

    fn close(got: &[f32], want: &[f32]) {
        assert_eq!(got.len(), want.len());
        for (g, w) in got.iter().zip(want) {
            assert!((g - w).abs() < 2e-5, "{g} is not {w}");
        }
    }

    #[test]
    fn blocks_of_keys_give_what_one_softmax_gives() {
        let (n, m, d, e) = (5, 2 * KEYS + 37, 12, 7);
        let (q, k, v) = (numbers(n * d, 1), numbers(m * d, 2), numbers(m * e, 3));
        let mut out = vec![0.0; n * (e + 2)];
        let mats = [Mat::new(&q, n, d), Mat::new(&k, m, d), Mat::new(&v, m, e)];
        attend(mats, 0.8, 1, &mut out, e + 2, &mut Scratch::default());
        let got: Vec<f32> = out.chunks(e + 2).flat_map(|row| row[..e].to_vec()).collect();
        close(&got, &plain(&q, &k, &v, d, e, 0.8));
    }

    #[test]
    fn one_key_stands_for_many_equal_ones() {
        let (n, m, d) = (3, 4, 8);
        let (q, mut k, mut v) = (numbers(n * d, 4), numbers(m * d, 5), numbers(m * d, 6));
        let mut out = vec![0.0; n * d];
        let mats = [Mat::new(&q, n, d), Mat::new(&k, m, d), Mat::new(&v, m, d)];
        attend(mats, 1.0, 3, &mut out, d, &mut Scratch::default());
        for all in [&mut k, &mut v] {
            let last = all[(m - 1) * d..].to_vec();
            all.extend_from_slice(&last);
            all.extend_from_slice(&last);
        }
        close(&out, &plain(&q, &k, &v, d, d, 1.0));
    }
}
