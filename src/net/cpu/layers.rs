//! Layers as views of their weights, and the shapes of maps: rows of channels (`[n, C]`, one row per pixel) against
//! planes (`[C, n]`).
//!
//! What decides whether this file is right: weights are shared with the network, never copied; a row's result does not
//! depend on which thread takes it.

use burn::nn::conv::Conv2d;
use rayon::prelude::*;

use super::maths;
use super::product::{Mat, product};
use crate::net::blocks::{EPS_FINE, LayerNorm, LayerNorm2d, Linear};
use crate::net::device::Host;

/// Rows that a thread takes at once: enough that repacking the weights for them is cheap, few enough for its cache.
pub(super) const ROWS: usize = 256;

/// Numbers of the network, or made from them.
enum Numbers {
    Shared(Host),
    Own(Vec<f32>),
}

impl std::ops::Deref for Numbers {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Shared(held) => held,
            Self::Own(held) => held,
        }
    }
}

/// `x Wᵀ + b`.
pub(super) struct Affine {
    weight: Numbers,
    bias: Numbers,
    /// Length of an input row.
    pub(super) inputs: usize,
    /// Length of an output row.
    pub(super) outputs: usize,
}

impl Affine {
    /// A linear layer of the network.
    pub(super) fn of(layer: &Linear) -> Option<Self> {
        let weight = layer.weight.val();
        let [_, inputs] = weight.dims();
        Some(Self::shared(Host::of(&weight)?, Host::of(&layer.bias.val())?, inputs))
    }

    fn shared(weight: Host, bias: Host, inputs: usize) -> Self {
        let outputs = bias.len();
        let [weight, bias] = [weight, bias].map(Numbers::Shared);
        Self { weight, bias, inputs, outputs }
    }

    /// A layer of own numbers, `weight` `[outputs, inputs]`.
    pub(super) fn own(weight: Vec<f32>, bias: Vec<f32>) -> Self {
        let outputs = bias.len();
        let inputs = weight.len() / outputs.max(1);
        let [weight, bias] = [weight, bias].map(Numbers::Own);
        Self { weight, bias, inputs, outputs }
    }

    /// First `self`, then `second`, as one layer.
    pub(super) fn followed_by(&self, second: &Self) -> Self {
        let mut weight = vec![0.0; second.outputs * self.inputs];
        product(second.weight(), self.weight(), 1.0, false, &mut weight, self.inputs);
        let mut bias = second.bias().to_vec();
        product(second.weight(), Mat::new(&self.bias, self.outputs, 1), 1.0, true, &mut bias, 1);
        Self::own(weight, bias)
    }

    /// A convolution as a product with its patches, channel by channel, row by row (see [`Patches`]).
    pub(super) fn of_conv(conv: &Conv2d) -> Option<Self> {
        let weight = conv.weight.val();
        let [_, channels, h, w] = weight.dims();
        let bias = Host::of(&conv.bias.as_ref()?.val())?;
        Some(Self::shared(Host::of(&weight)?, bias, channels * h * w))
    }

    /// The weights `[outputs, inputs]`.
    pub(super) fn weight(&self) -> Mat<'_> {
        Mat::new(&self.weight, self.outputs, self.inputs)
    }

    /// The weights of one output.
    pub(super) fn weight_row(&self, output: usize) -> &[f32] {
        &self.weight[output * self.inputs..][..self.inputs]
    }

    /// What is added to every row.
    pub(super) fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// `x` `[n, inputs]` into `out` `[n, outputs]`.
    pub(super) fn apply(&self, x: Mat<'_>, out: &mut [f32]) {
        // Once, not per row: a tensor looks its numbers up.
        let bias = self.bias();
        out.chunks_exact_mut(self.outputs).for_each(|row| row.copy_from_slice(bias));
        product(x, self.weight().turned(), 1.0, true, out, self.outputs);
    }

    /// As [`Affine::apply`], added to what `out` holds.
    pub(super) fn add(&self, x: Mat<'_>, out: &mut [f32]) {
        maths::add_to_rows(out, &self.bias);
        product(x, self.weight().turned(), 1.0, true, out, self.outputs);
    }

    /// Rows `x` `[n, inputs]` to `[n, outputs]`, divided among the threads.
    pub(super) fn rows(&self, x: &[f32]) -> Vec<f32> {
        let n = x.len() / self.inputs;
        let each = rows_each(n);
        let x = Mat::new(x, n, self.inputs);
        let mut out = vec![0.0; n * self.outputs];
        out.par_chunks_mut(each * self.outputs).enumerate().for_each(|(i, out)| {
            self.apply(x.some_rows(i * each, out.len() / self.outputs), out);
        });
        out
    }
}

/// Rows per task of `n`: enough tasks for every thread, at most [`ROWS`].
pub(super) fn rows_each(n: usize) -> usize {
    n.div_ceil(2 * rayon::current_num_threads()).clamp(32, ROWS)
}

/// A norm over the channels of each row.
pub(super) struct Norm {
    scale: Host,
    shift: Host,
    epsilon: f32,
}

impl Norm {
    /// A layer norm of the network.
    pub(super) fn of(norm: &LayerNorm) -> Option<Self> {
        let epsilon = norm.epsilon as f32;
        Some(Self {
            scale: Host::of(&norm.weight.val())?,
            shift: Host::of(&norm.bias.val())?,
            epsilon,
        })
    }

    /// A norm over the channels of each pixel.
    pub(super) fn of_2d(norm: &LayerNorm2d) -> Option<Self> {
        let (scale, shift) = (Host::of(&norm.weight.val())?, Host::of(&norm.bias.val())?);
        Some(Self { scale, shift, epsilon: EPS_FINE as f32 })
    }

    /// Rows of `x` into rows of `out`.
    pub(super) fn apply(&self, x: &[f32], out: &mut [f32]) {
        maths::norm(x, out, &self.scale, &self.shift, self.epsilon);
    }

    /// In place.
    pub(super) fn apply_to(&self, x: &mut [f32]) {
        maths::norm_in_place(x, &self.scale, &self.shift, self.epsilon);
    }
}

/// Two linear layers with an activation between them.
pub(super) struct Pair {
    /// Before the activation.
    pub(super) into: Affine,
    /// After it.
    pub(super) out: Affine,
    /// What stands between.
    pub(super) activation: fn(&mut [f32]),
}

impl Pair {
    /// Adds the pair's answer for the rows `x` to `out`; `hidden` is working space.
    pub(super) fn add(&self, x: Mat<'_>, hidden: &mut Vec<f32>, out: &mut [f32]) {
        let hidden = room(hidden, x.rows() * self.into.outputs);
        self.into.apply(x, hidden);
        (self.activation)(hidden);
        self.out.add(Mat::new(hidden, x.rows(), self.into.outputs), out);
    }
}

/// The first `n` numbers of a buffer that grows when it must.
pub(super) fn room(buffer: &mut Vec<f32>, n: usize) -> &mut [f32] {
    if buffer.len() < n {
        buffer.resize(n, 0.0);
    }
    &mut buffer[..n]
}

/// Side of the square that [`turned`] moves at once.
const TILE: usize = 16;

/// The transpose of `x` `[rows, cols]`: planes to rows of channels and back.
pub(super) fn turned(x: &[f32], cols: usize) -> Vec<f32> {
    let rows = x.len() / cols;
    let mut out = vec![0.0; x.len()];
    out.par_chunks_mut(TILE * rows).enumerate().for_each(|(i, out)| {
        let first = i * TILE;
        for at in (0..rows).step_by(TILE) {
            for (j, out) in out.chunks_mut(rows).enumerate() {
                let last = (at + TILE).min(rows);
                for (o, row) in out[at..last].iter_mut().zip(at..last) {
                    *o = x[row * cols + first + j];
                }
            }
        }
    });
    out
}

/// How a convolution reads its input planes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patches<'a> {
    /// `[channels, height, width]`.
    pub(super) planes: &'a [f32],
    /// Height and width of a plane.
    pub(super) size: [usize; 2],
    /// Side of the kernel.
    pub(super) kernel: usize,
    /// Input pixels between outputs.
    pub(super) stride: usize,
    /// Zeros around the planes.
    pub(super) pad: usize,
}

/// Three numbers, as most kernels have in a row, without a call that takes longer than they do.
#[inline(always)]
fn copy_few(to: &mut [f32], from: &[f32]) {
    match (to, from) {
        ([a, b, c], [x, y, z]) => (*a, *b, *c) = (*x, *y, *z),
        (to, from) => to.copy_from_slice(from),
    }
}

impl Patches<'_> {
    /// Height and width of the output.
    pub(super) fn out_size(&self) -> [usize; 2] {
        self.size.map(|n| (n + 2 * self.pad - self.kernel) / self.stride + 1)
    }

    /// The patches of output row `y`, one per pixel: channel by channel, kernel row by kernel row.
    pub(super) fn row(&self, y: usize, out: &mut [f32]) {
        let [h, w] = self.size;
        let k = self.kernel;
        let channels = self.planes.len() / (h * w);
        let per = channels * k * k;
        let columns = self.out_size()[1];
        for (at, plane) in self.planes.chunks_exact(h * w).enumerate() {
            for ky in 0..k {
                let row = (y * self.stride + ky).checked_sub(self.pad).filter(|row| *row < h);
                let row = row.map(|row| &plane[row * w..][..w]);
                let first = at * k * k + ky * k;
                for (x, patch) in out.chunks_exact_mut(per).take(columns).enumerate() {
                    let taps = &mut patch[first..first + k];
                    let left = (x * self.stride).checked_sub(self.pad);
                    match (row, left) {
                        (None, _) => taps.fill(0.0),
                        (Some(row), Some(left)) if left + k <= w => {
                            copy_few(taps, &row[left..left + k]);
                        }
                        (Some(row), _) => {
                            for (kx, tap) in taps.iter_mut().enumerate() {
                                let from = (x * self.stride + kx).checked_sub(self.pad);
                                *tap = from.and_then(|i| row.get(i)).copied().unwrap_or(0.0);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Adds the patches of output row `y` to the places of `planes` that [`Patches::row`] reads them from.
    pub(super) fn spread(&self, y: usize, patches: &[f32], planes: &mut [f32]) {
        let [h, w] = self.size;
        let k = self.kernel;
        let per = planes.len() / (h * w) * k * k;
        let columns = self.out_size()[1];
        for (at, plane) in planes.chunks_exact_mut(h * w).enumerate() {
            for ky in 0..k {
                let row = (y * self.stride + ky).checked_sub(self.pad).filter(|row| *row < h);
                let Some(row) = row else { continue };
                let row = &mut plane[row * w..][..w];
                let first = at * k * k + ky * k;
                for (x, patch) in patches.chunks_exact(per).take(columns).enumerate() {
                    for (kx, tap) in patch[first..first + k].iter().enumerate() {
                        let to = (x * self.stride + kx).checked_sub(self.pad);
                        if let Some(pixel) = to.and_then(|i| row.get_mut(i)) {
                            *pixel += tap;
                        }
                    }
                }
            }
        }
    }

    /// The convolution as rows `[out pixels, outputs]`; `then` finishes each output row of the image, with its number.
    pub(super) fn convolve(
        &self,
        by: &Affine,
        then: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Vec<f32> {
        let [rows, columns] = self.out_size();
        let mut out = vec![0.0; rows * columns * by.outputs];
        // Several short rows share one product.
        let group = (ROWS / columns).max(1);
        let each = columns * by.outputs;
        out.par_chunks_mut(group * each).enumerate().for_each_init(
            Vec::new,
            |patches, (i, out)| {
                let count = out.len() / each;
                let patches = room(patches, count * columns * by.inputs);
                for (k, patches) in patches.chunks_exact_mut(columns * by.inputs).enumerate() {
                    self.row(i * group + k, patches);
                }
                by.apply(Mat::new(patches, count * columns, by.inputs), out);
                out.chunks_exact_mut(each)
                    .enumerate()
                    .for_each(|(k, out)| then(i * group + k, out));
            },
        );
        out
    }
}
