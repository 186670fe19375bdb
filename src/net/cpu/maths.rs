//! What stands between the products: norms, softmax and activations, row by row.
//!
//! What decides whether this file is right: `exp` and `erf` stay within 6e-7 of the true functions over the whole range,
//! and loops are written so that the compiler vectorises them (sums in fixed lanes, no branches).

pub(super) use crate::domain::wide;

/// Numbers summed side by side; one AVX-512 register.
const LANES: usize = 16;

/// e^x to some 2e-7 of itself; below -87 it stays at e^-87.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding this number leaves the nearest integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.3, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, so that n ln 2 is exact enough.
    let r = x - n * 0.693_145_75 - n * 1.428_606_8e-6;
    let p = 1.987_569_1e-4 * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_6e-1;
    let p = p * r + 0.5;
    let p = (p * r) * r + r + 1.0;
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// The error function of a number that is not negative, to 6e-7 (Abramowitz and Stegun 7.1.26).
#[inline(always)]
fn erf(z: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let p = 1.061_405_4 * t - 1.453_152;
    let p = p * t + 1.421_413_7;
    let p = p * t - 0.284_496_75;
    let p = (p * t + 0.254_829_6) * t;
    1.0 - p * exp(-z * z)
}

#[inline(always)]
fn sum(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane += f(*v);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|v| f(*v)).sum::<f32>()
}

#[inline(always)]
fn sum_of_products(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    lanes.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

#[inline(always)]
fn largest(row: &[f32]) -> f32 {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut lanes = [f32::MIN; LANES];
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane = if *v > *lane { *v } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::MIN, |m, v| if *v > m { *v } else { m })
}

/// The running state of one softmax row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    peak: f32,
    total: f32,
}

impl Running {
    /// Before the first score.
    pub(super) const START: Self = Self { peak: f32::MIN, total: 0.0 };
}

/// Rows of scores, `width` each, become weights relative to the largest score so far; what earlier scores gave to the
/// rows of `out` (`outs` numbers, `stride` apart) shrinks accordingly.
pub(super) fn soften(
    scores: &mut [f32],
    width: usize,
    state: &mut [Running],
    out: &mut [f32],
    [outs, stride]: [usize; 2],
) {
    wide(
        #[inline(always)]
        || {
            let rows = scores.chunks_exact_mut(width).zip(state).zip(out.chunks_mut(stride));
            for ((row, state), out) in rows {
                let peak = largest(row).max(state.peak);
                for v in row.iter_mut() {
                    *v = exp(*v - peak);
                }
                let total = sum(row, |v| v);
                if state.total > 0.0 && peak > state.peak {
                    let shrink = exp(state.peak - peak);
                    state.total *= shrink;
                    for v in &mut out[..outs] {
                        *v *= shrink;
                    }
                }
                state.peak = peak;
                state.total += total;
            }
        },
    );
}

/// Divides the rows of `out` by their sums of weights.
pub(super) fn settle(state: &[Running], out: &mut [f32], [outs, stride]: [usize; 2]) {
    wide(
        #[inline(always)]
        || {
            for (state, out) in state.iter().zip(out.chunks_mut(stride)) {
                let inverse = 1.0 / state.total;
                for v in &mut out[..outs] {
                    *v *= inverse;
                }
            }
        },
    );
}

/// Exact GELU of every number.
pub(super) fn gelu(values: &mut [f32]) {
    wide(
        #[inline(always)]
        || {
            for v in values {
                let x = *v;
                let size = x.abs();
                *v = 0.5 * (x + size * erf(size * std::f32::consts::FRAC_1_SQRT_2));
            }
        },
    );
}

/// The gradient before a GELU, from the one behind it and the numbers `x` that went in.
pub(super) fn gelu_slope(x: &[f32], grad: &mut [f32]) {
    const DENSITY: f32 = 0.398_942_3;
    wide(
        #[inline(always)]
        || {
            for (g, x) in grad.iter_mut().zip(x) {
                let size = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
                let below = 0.5 * (1.0 + erf(size).copysign(*x));
                *g *= below + x * DENSITY * exp(-size * size);
            }
        },
    );
}

/// Softmax of each row of `width` numbers.
pub(super) fn softmax(values: &mut [f32], width: usize) {
    wide(
        #[inline(always)]
        || {
            for row in values.chunks_exact_mut(width) {
                let peak = largest(row);
                for v in row.iter_mut() {
                    *v = exp(*v - peak);
                }
                let inverse = 1.0 / sum(row, |v| v);
                for v in row.iter_mut() {
                    *v *= inverse;
                }
            }
        },
    );
}

/// The gradient before a softmax, from the one behind it and the weights `p` that came out.
pub(super) fn softmax_slope(p: &[f32], grad: &mut [f32], width: usize) {
    wide(
        #[inline(always)]
        || {
            for (p, grad) in p.chunks_exact(width).zip(grad.chunks_exact_mut(width)) {
                let pull = sum_of_products(p, grad);
                for (g, p) in grad.iter_mut().zip(p) {
                    *g = p * (*g - pull);
                }
            }
        },
    );
}

/// The gradients of [`norm`] from the one behind it: `grad` becomes that of `x`, those of scale and shift are added to
/// `slopes`.
pub(super) fn norm_slope(
    x: &[f32],
    grad: &mut [f32],
    scale: &[f32],
    epsilon: f32,
    slopes: [&mut [f32]; 2],
) {
    let d = scale.len();
    let [by_scale, by_shift] = slopes;
    wide(
        #[inline(always)]
        || {
            let mut hat = vec![0.0f32; d];
            for (row, grad) in x.chunks_exact(d).zip(grad.chunks_exact_mut(d)) {
                let mean = sum(row, |v| v) / d as f32;
                let variance = sum(row, |v| (v - mean) * (v - mean)) / d as f32;
                let inverse = 1.0 / (variance + epsilon).sqrt();
                for (h, v) in hat.iter_mut().zip(row) {
                    *h = (v - mean) * inverse;
                }
                for ((((g, h), s), a), b) in grad
                    .iter_mut()
                    .zip(&hat)
                    .zip(scale)
                    .zip(by_scale.iter_mut())
                    .zip(by_shift.iter_mut())
                {
                    *a += *g * h;
                    *b += *g;
                    *g *= s;
                }
                let level = sum(grad, |v| v) / d as f32;
                let tilt = sum_of_products(&hat, grad) / d as f32;
                for (g, h) in grad.iter_mut().zip(&hat) {
                    *g = inverse * (*g - level - h * tilt);
                }
            }
        },
    );
}

/// max(x, 0) of every number. What is no number stays none: whoever looks at the answer must see it.
pub(super) fn relu(values: &mut [f32]) {
    wide(
        #[inline(always)]
        || {
            for v in values {
                *v = if *v < 0.0 { 0.0 } else { *v };
            }
        },
    );
}

/// `high / (1 + e^-x) + low` of every number.
pub(super) fn scaled_sigmoid(values: &mut [f32], high: f32, low: f32) {
    wide(
        #[inline(always)]
        || {
            for v in values {
                *v = high / (1.0 + exp(-*v)) + low;
            }
        },
    );
}

/// Norm over each row of `scale.len()` numbers of `x`, into `out`.
pub(super) fn norm(x: &[f32], out: &mut [f32], scale: &[f32], shift: &[f32], epsilon: f32) {
    let d = scale.len();
    wide(
        #[inline(always)]
        || {
            for (row, out) in x.chunks_exact(d).zip(out.chunks_exact_mut(d)) {
                let mean = sum(row, |v| v) / d as f32;
                let variance = sum(row, |v| (v - mean) * (v - mean)) / d as f32;
                let inverse = 1.0 / (variance + epsilon).sqrt();
                for (((o, v), g), b) in out.iter_mut().zip(row).zip(scale).zip(shift) {
                    *o = (v - mean) * inverse * g + b;
                }
            }
        },
    );
}

/// As [`norm`], in place.
pub(super) fn norm_in_place(x: &mut [f32], scale: &[f32], shift: &[f32], epsilon: f32) {
    let d = scale.len();
    wide(
        #[inline(always)]
        || {
            for row in x.chunks_exact_mut(d) {
                let mean = sum(row, |v| v) / d as f32;
                let variance = sum(row, |v| (v - mean) * (v - mean)) / d as f32;
                let inverse = 1.0 / (variance + epsilon).sqrt();
                for ((v, g), b) in row.iter_mut().zip(scale).zip(shift) {
                    *v = (*v - mean) * inverse * g + b;
                }
            }
        },
    );
}

/// Adds `row` to every row of `into`.
pub(super) fn add_to_rows(into: &mut [f32], row: &[f32]) {
    wide(
        #[inline(always)]
        || {
            for into in into.chunks_exact_mut(row.len()) {
                for (a, b) in into.iter_mut().zip(row) {
                    *a += b;
                }
            }
        },
    );
}

/// `into += from`, number by number.
pub(super) fn add(into: &mut [f32], from: &[f32]) {
    wide(
        #[inline(always)]
        || {
            for (a, b) in into.iter_mut().zip(from) {
                *a += b;
            }
        },
    );
}

/// `into += factor * from`, number by number.
pub(super) fn add_scaled(into: &mut [f32], from: &[f32], factor: f32) {
    wide(
        #[inline(always)]
        || {
            for (a, b) in into.iter_mut().zip(from) {
                *a += factor * b;
            }
        },
    );
}

/// `into = into * factors + from`, `factors` repeating for every row.
pub(super) fn scale_then_add(into: &mut [f32], factors: &[f32], from: &[f32]) {
    let d = factors.len();
    wide(
        #[inline(always)]
        || {
            for (into, from) in into.chunks_exact_mut(d).zip(from.chunks_exact(d)) {
                for ((a, g), b) in into.iter_mut().zip(factors).zip(from) {
                    *a = *a * g + b;
                }
            }
        },
    );
}

/// Adds to `into` the products of each of its-sized piece of `taps` with the same piece of `from`.
pub(super) fn add_products(into: &mut [f32], from: &[f32], taps: &[f32]) {
    let d = into.len();
    wide(
        #[inline(always)]
        || {
            for (from, taps) in from.chunks_exact(d).zip(taps.chunks_exact(d)) {
                for ((a, b), c) in into.iter_mut().zip(from).zip(taps) {
                    *a += b * c;
                }
            }
        },
    );
}

/// Turns the pairs `(even[j], odd[j])` of a row by the angle whose cosine and sine are `cos[j]`, `sin[j]`.
#[inline(always)]
pub(super) fn turn_pairs(even: &mut [f32], odd: &mut [f32], cos: &[f32], sin: &[f32]) {
    for (((re, im), c), s) in even.iter_mut().zip(odd).zip(cos).zip(sin) {
        let (a, b) = (*re, *im);
        *re = a * c - b * s;
        *im = a * s + b * c;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_and_erf_are_close_to_the_true_functions_everywhere() {
        for i in -87_000..=80_000 {
            let x = i as f32 / 1000.0;
            let want = f64::from(x).exp();
            let error = (f64::from(exp(x)) - want).abs() / want;
            assert!(error < 4e-7, "exp({x}) is off by {error:e}");
        }
        // A series that is exact to double precision where it converges.
        for i in 0..=3000 {
            let z = f64::from(i) / 1000.0;
            let (mut term, mut want) = (z, z);
            for n in 1..80 {
                term *= -z * z / f64::from(n);
                want += term / f64::from(2 * n + 1);
            }
            want *= 2.0 / std::f64::consts::PI.sqrt();
            let error = (f64::from(erf(z as f32)) - want).abs();
            assert!(error < 6e-7, "erf({z}) is off by {error:e}");
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        // More than one register, so that both the wide loop and its rest are asked.
        let mut values: Vec<f32> = (0..37).map(|i| i as f32 - 18.0).collect();
        (values[3], values[36]) = (f32::NAN, f32::NAN);
        let through = |f: &dyn Fn(&mut [f32])| {
            let mut values = values.clone();
            f(&mut values);
            let lost = |i: &usize| values[*i].is_nan() != (*i == 3 || *i == 36);
            assert_eq!((0..37).filter(lost).collect::<Vec<_>>(), Vec::<usize>::new());
            values
        };
        let positive = through(&relu);
        assert_eq!((positive[0], positive[18], positive[19]), (0.0, 0.0, 1.0));
        through(&gelu);
        through(&|values| scaled_sigmoid(values, 1.0, 0.0));
        softmax(&mut values, 37);
        assert!(values.iter().all(|v| v.is_nan()), "its whole row is of no use");
    }

    #[test]
    fn softmax_in_two_parts_is_softmax() {
        let all: Vec<f32> = (0..50).map(|i| (i as f32 * 0.7).sin() * 9.0).collect();
        let (mut state, mut out) = ([Running::START], [0.0f32]);
        for part in [&all[..20], &all[20..]] {
            let mut scores = part.to_vec();
            soften(&mut scores, part.len(), &mut state, &mut out, [1, 1]);
            out[0] += scores.iter().zip(part).map(|(w, v)| w * v).sum::<f32>();
        }
        settle(&state, &mut out, [1, 1]);
        let weights: Vec<f64> = all.iter().map(|v| f64::from(*v).exp()).collect();
        let want = weights.iter().zip(&all).map(|(w, v)| w * f64::from(*v)).sum::<f64>()
            / weights.iter().sum::<f64>();
        assert!((f64::from(out[0]) - want).abs() < 1e-5, "{} is not {want}", out[0]);
    }
}
