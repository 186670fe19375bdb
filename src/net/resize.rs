//! Resizing of maps and masks as two small constant matrices, `A_h · X · A_wᵀ`.
//!
//! What decides whether this file is right: each row of a matrix must hold PyTorch's taps (half-pixel centres,
//! `align_corners = false`), because SAM 2's weights were trained through them; golden `unit.bilinear*`, `unit.bicubic*`.
//! A matrix product has the same value and the same gradient on every backend, and antialiasing costs nothing extra;
//! Burn's own interpolation has neither (no antialias; its backward panics on some backends).

use super::blocks::product;
use super::traffic::upload_once;
use crate::domain::wide;
use burn::tensor::{Device, Tensor};

/// How a coarse grid is read between its points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Triangle of width one source pixel; aliases when shrinking (`F.interpolate(mode="bilinear")`).
    Bilinear,
    /// Triangle widened by the shrink factor (`antialias=True`); equals `Bilinear` when enlarging.
    BilinearAa,
    /// Cubic convolution with a = -0.75 and clamped borders (`mode="bicubic"`).
    Bicubic,
}

/// The weights with which one output sample reads its sources: `first`, `first + 1`, ...
#[derive(Debug, Clone, PartialEq)]
pub struct Taps {
    /// Index of the first source sample.
    pub first: usize,
    /// Weights of consecutive source samples; they sum to 1.
    pub weights: Vec<f32>,
}

/// The taps of a 1-D resize from `from` to `to` samples.
pub fn taps(from: usize, to: usize, kernel: Kernel) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    (0..to).map(|i| one_tap(from, scale, i as f64, kernel)).collect()
}

fn one_tap(from: usize, scale: f64, i: f64, kernel: Kernel) -> Taps {
    let last = from as isize - 1;
    match kernel {
        Kernel::Bilinear => {
            let at = (scale * (i + 0.5) - 0.5).max(0.0);
            let lo = (at.floor() as isize).min(last);
            let w = at - lo as f64;
            gathered(&[(lo, 1.0 - w), ((lo + 1).min(last), w)])
        }
        Kernel::BilinearAa => {
            let stretch = scale.max(1.0);
            let centre = scale * (i + 0.5);
            let lo = ((centre - stretch + 0.5) as isize).max(0);
            let hi = ((centre + stretch + 0.5) as isize).min(from as isize);
            let raw: Vec<f64> = (lo..hi)
                .map(|j| (1.0 - ((j as f64 - centre + 0.5) / stretch).abs()).max(0.0))
                .collect();
            // Renormalised, because the border cuts the triangle off.
            let sum: f64 = raw.iter().sum();
            Taps { first: lo as usize, weights: raw.iter().map(|w| (w / sum) as f32).collect() }
        }
        Kernel::Bicubic => {
            let at = scale * (i + 0.5) - 0.5;
            let base = at.floor();
            let t = at - base;
            let near = |x: f64| ((1.25 * x - 2.25) * x) * x + 1.0;
            let far = |x: f64| ((-0.75 * x + 3.75) * x - 6.0) * x + 3.0;
            let w = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
            let at = |k: isize| (base as isize + k).clamp(0, last);
            gathered(&[(at(-1), w[0]), (at(0), w[1]), (at(1), w[2]), (at(2), w[3])])
        }
    }
}

/// Adds up weights that clamping sent to the same source sample.
fn gathered(parts: &[(isize, f64)]) -> Taps {
    let first = parts.iter().map(|p| p.0).min().unwrap_or(0);
    let last = parts.iter().map(|p| p.0).max().unwrap_or(0);
    let mut weights = vec![0.0f64; (last - first + 1) as usize];
    for (at, w) in parts {
        weights[(at - first) as usize] += w;
    }
    Taps { first: first as usize, weights: weights.iter().map(|w| *w as f32).collect() }
}

/// The dense matrix `[to, from]` of a 1-D resize.
pub fn resize_matrix(from: usize, to: usize, kernel: Kernel, device: &Device) -> Tensor<2> {
    upload_once(format!("resize {from} {to} {kernel:?}"), [to, from], device, || {
        let mut dense = vec![0.0f32; from * to];
        for (row, tap) in taps(from, to, kernel).into_iter().enumerate() {
            let at = row * from + tap.first;
            dense[at..at + tap.weights.len()].copy_from_slice(&tap.weights);
        }
        dense
    })
}

/// Resizes `[B, C, h, w]` to `[B, C, H, W]`; differentiable on every backend.
pub fn resize(x: Tensor<4>, to: [usize; 2], kernel: Kernel) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    if [h, w] == to {
        return x;
    }
    let device = x.device();
    let across = resize_matrix(w, to[1], kernel, &device);
    let down = resize_matrix(h, to[0], kernel, &device);
    // One big product over all rows, then one product per plane.
    let wide = product(x.reshape([b * c * h, w]), across.transpose()).reshape([b * c, h, to[1]]);
    let down = down.unsqueeze::<3>().expand([b * c, to[0], h]);
    product(down, wide).reshape([b, c, to[0], to[1]])
}

/// Doubles `[B, C, h, w]` by repeating each pixel (`mode="nearest"`, scale 2).
pub fn nearest2x(x: Tensor<4>) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    x.reshape([b, c, h, 1, w, 1]).expand([b, c, h, 2, w, 2]).reshape([b, c, 2 * h, 2 * w])
}

/// Taps that read `from` samples at the places `scale * (i + 0.5) + shift` (in samples, centres at half-integers), linear
/// between neighbours, clamped at the ends.
pub fn taps_at(from: usize, to: usize, scale: f64, shift: f64) -> Vec<Taps> {
    let last = from as isize - 1;
    let tap = |i: usize| {
        let at = (scale * (i as f64 + 0.5) + shift - 0.5).clamp(0.0, last as f64);
        let lo = at.floor() as isize;
        gathered(&[(lo, 1.0 - (at - lo as f64)), ((lo + 1).min(last), at - lo as f64)])
    };
    (0..to).map(tap).collect()
}

/// Resizes one plane of plain numbers, `src` being row-major `h x w`; the same taps as [`resize`].
///
/// Used where a tensor would only be a detour: incoming images and outgoing masks.
pub fn resize_plane(src: &[f32], from: [usize; 2], to: [usize; 2], kernel: Kernel) -> Vec<f32> {
    apply_taps(src, from[1], &taps(from[0], to[0], kernel), &taps(from[1], to[1], kernel))
}

/// As [`resize_plane`] of a plane of which `read` writes row after row, given its number: as numbers a frame of the largest
/// size would take a gigabyte.
pub fn resize_rows(
    mut read: impl FnMut(usize, &mut [f32]),
    from: [usize; 2],
    to: [usize; 2],
    kernel: Kernel,
) -> Vec<f32> {
    let (down, across) = (taps(from[0], to[0], kernel), taps(from[1], to[1], kernel));
    let mut row = vec![0.0f32; from[1]];
    let mut across_done = vec![0.0f32; from[0] * to[1]];
    for (y, out) in across_done.chunks_exact_mut(to[1]).enumerate() {
        read(y, &mut row);
        apply_across(&row, &across, out);
    }
    apply_down(&across_done, &down, to[1])
}

/// Reads a plane of rows of `w` numbers through `down` (rows) and `across` (columns).
pub fn apply_taps(src: &[f32], w: usize, down: &[Taps], across: &[Taps]) -> Vec<f32> {
    let to = across.len();
    let mut across_done = vec![0.0f32; src.len() / w * to];
    for (row, out) in src.chunks_exact(w).zip(across_done.chunks_exact_mut(to)) {
        apply_across(row, across, out);
    }
    apply_down(&across_done, down, to)
}

fn apply_across(row: &[f32], across: &[Taps], out: &mut [f32]) {
    for (o, tap) in out.iter_mut().zip(across) {
        *o = tap.weights.iter().zip(&row[tap.first..]).map(|(a, b)| a * b).sum();
    }
}

/// Reads rows of `to` numbers through `down`.
fn apply_down(across_done: &[f32], down: &[Taps], to: usize) -> Vec<f32> {
    let mut full = vec![0.0f32; down.len() * to];
    wide(
        #[inline(always)]
        || {
            for (out, tap) in full.chunks_exact_mut(to).zip(down) {
                for (k, weight) in tap.weights.iter().enumerate() {
                    let row = &across_done[(tap.first + k) * to..][..to];
                    for (o, v) in out.iter_mut().zip(row) {
                        *o += weight * v;
                    }
                }
            }
        },
    );
    full
}
