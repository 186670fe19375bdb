//! The layers every part of the network is made of, stored as PyTorch stores them.
//!
//! What decides whether this file is right: parameter names and layouts are SAM 2's (`weight`/`bias`, Linear as
//! `[out, in]`), so a checkpoint loads without transposing or renaming; the epsilon of each norm (1e-6 in Hiera and
//! `LayerNorm2d`, 1e-5 elsewhere); exact GELU; and the three sine encodings, which interleave differently.
//! A field called `n3` is position 3 of a PyTorch `nn.Sequential` (see `weights.rs`).

use burn::module::{Initializer, Module, Param};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::activation::{self, relu, sigmoid};
use burn::tensor::module::{attention, layer_norm, linear};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{DType, Device, Tensor};

use super::traffic::{upload, upload_once};
use super::{cpu, gpu};

/// Epsilon of the norms in Hiera, `LayerNorm2d` and the memory encoder.
pub const EPS_FINE: f64 = 1e-6;
/// Epsilon of PyTorch's default LayerNorm: mask decoder and memory attention.
pub const EPS_DEFAULT: f64 = 1e-5;

/// PyTorch's default for Linear and convolutions: uniform within ±1/sqrt(fan_in).
fn default_init() -> Initializer {
    Initializer::KaimingUniform { gain: 1.0 / 3f64.sqrt(), fan_out_only: false }
}

/// `y = x Wᵀ + b` with `weight` `[out, in]`.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[d_output, d_input]`.
    pub weight: Param<Tensor<2>>,
    /// `[d_output]`.
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    /// A layer with PyTorch's default initialisation.
    pub fn init(d_input: usize, d_output: usize, device: &Device) -> Self {
        let (fan_in, fan_out) = (Some(d_input), Some(d_output));
        Self {
            weight: default_init().init_with([d_output, d_input], fan_in, fan_out, device),
            bias: default_init().init_with([d_output], fan_in, fan_out, device),
        }
    }

    /// `[..., d_input]` to `[..., d_output]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.on_gpu(&x, None)
            .unwrap_or_else(|| linear(x, self.weight.val().transpose(), Some(self.bias.val())))
    }

    /// As [`Self::forward`], and an activation.
    pub fn forward_then<const D: usize>(&self, x: Tensor<D>, then: Activation) -> Tensor<D> {
        self.on_gpu(&x, Some(then)).unwrap_or_else(|| then.of(self.forward(x)))
    }

    /// `to` and the answer of [`Self::forward`].
    pub fn added_to<const D: usize>(&self, to: Tensor<D>, x: Tensor<D>) -> Tensor<D> {
        gpu::linear(&x, &self.weight.val(), &self.bias.val(), None, Some(&to))
            .unwrap_or_else(|| to + self.forward(x))
    }

    fn on_gpu<const D: usize>(&self, x: &Tensor<D>, then: Option<Activation>) -> Option<Tensor<D>> {
        gpu::linear(x, &self.weight.val(), &self.bias.val(), then, None)
    }
}

fn normed<const D: usize>(
    x: Tensor<D>,
    weight: &Param<Tensor<1>>,
    bias: &Param<Tensor<1>>,
    epsilon: f64,
) -> Tensor<D> {
    let (weight, bias) = (weight.val(), bias.val());
    let by_kernel = cpu::norm(&x, &weight, &bias, epsilon);
    if let Some(normed) = by_kernel.or_else(|| gpu::norm(&x, &weight, &bias, epsilon)) {
        return normed;
    }
    // Squares of a half-precision map do not fit into half precision.
    let (own, full) = (x.dtype(), DType::F32);
    let (x, weight, bias) = (in_dtype(x, full), in_dtype(weight, full), in_dtype(bias, full));
    in_dtype(layer_norm(x, weight, Some(bias), epsilon), own)
}

/// The same numbers in another precision; nothing where they have it.
pub(super) fn in_dtype<const D: usize>(x: Tensor<D>, dtype: DType) -> Tensor<D> {
    if x.dtype() == dtype { x } else { x.cast(dtype) }
}

/// Exact (erf) GELU.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    cpu::gelu(&x).or_else(|| gpu::gelu(&x)).unwrap_or_else(|| activation::gelu(x))
}

/// Normalisation over the last axis.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// Scale `[d]`.
    pub weight: Param<Tensor<1>>,
    /// Shift `[d]`.
    pub bias: Param<Tensor<1>>,
    pub(super) epsilon: f64,
}

impl LayerNorm {
    /// Scale 1, shift 0; `epsilon` is [`EPS_FINE`] or [`EPS_DEFAULT`].
    pub fn init(d: usize, epsilon: f64, device: &Device) -> Self {
        Self {
            weight: Initializer::Ones.init([d], device),
            bias: Initializer::Zeros.init([d], device),
            epsilon,
        }
    }

    /// `[..., d]` to `[..., d]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        normed(x, &self.weight, &self.bias, self.epsilon)
    }
}

/// Normalisation over the channels of each pixel (`sam2_utils.LayerNorm2d`), epsilon 1e-6.
#[derive(Module, Debug)]
pub struct LayerNorm2d {
    /// Scale `[C]`.
    pub weight: Param<Tensor<1>>,
    /// Shift `[C]`.
    pub bias: Param<Tensor<1>>,
}

impl LayerNorm2d {
    /// Scale 1, shift 0.
    pub fn init(channels: usize, device: &Device) -> Self {
        Self {
            weight: Initializer::Ones.init([channels], device),
            bias: Initializer::Zeros.init([channels], device),
        }
    }

    /// `[B, C, H, W]` to the same shape.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        nchw(normed(nhwc(x), &self.weight, &self.bias, EPS_FINE))
    }
}

/// A learned table (`nn.Embedding`), also used for single learned tokens.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[rows, d]`.
    pub weight: Param<Tensor<2>>,
}

impl Embedding {
    /// Standard normal, as PyTorch initialises tables.
    pub fn init(rows: usize, d: usize, device: &Device) -> Self {
        Self { weight: Initializer::Normal { mean: 0.0, std: 1.0 }.init([rows, d], device) }
    }

    /// The whole table `[rows, d]`.
    pub fn table(&self) -> Tensor<2> {
        self.weight.val()
    }
}

/// A square convolution with bias; `groups` = channels makes it depthwise.
pub fn conv(
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    pad: usize,
    groups: usize,
    device: &Device,
) -> Conv2d {
    Conv2dConfig::new(channels, [kernel, kernel])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
        .with_groups(groups)
        .init(device)
}

/// `[B, C, H, W]` through a convolution.
pub fn convolved(by: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    cpu::convolve(by, &x).or_else(|| gpu::pointwise(by, &x)).unwrap_or_else(|| by.forward(x))
}

/// Transposed convolution, kernel 2, stride 2: without overlap it is one matrix product and a pixel shuffle.
#[derive(Module, Debug)]
pub struct Deconv2x2 {
    /// `[in, out, 2, 2]`.
    pub weight: Param<Tensor<4>>,
    /// `[out]`.
    pub bias: Param<Tensor<1>>,
}

impl Deconv2x2 {
    /// PyTorch's default: it takes out * 4 as fan-in of a transposed convolution.
    pub fn init(channels: [usize; 2], device: &Device) -> Self {
        let [c_in, c_out] = channels;
        let fan = (Some(c_out * 4), Some(c_in * 4));
        Self {
            weight: default_init().init_with([c_in, c_out, 2, 2], fan.0, fan.1, device),
            bias: default_init().init_with([c_out], fan.0, fan.1, device),
        }
    }

    /// `[B, in, H, W]` to `[B, out, 2H, 2W]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [b, c_in, h, w] = x.dims();
        let weight = self.weight.val();
        let c_out = weight.dims()[1];
        let kernel = weight.reshape([c_in, c_out * 4]).transpose();
        let flat = x.reshape([b, c_in, h * w]);
        let y = product(kernel.unsqueeze::<3>().expand([b, c_out * 4, c_in]), flat);
        let y = y.reshape([b, c_out, 2, 2, h, w]).permute([0, 1, 4, 2, 5, 3]);
        y.reshape([b, c_out, 2 * h, 2 * w]) + self.bias.val().reshape([1, c_out, 1, 1])
    }
}

/// What stands between the layers of an [`Mlp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// max(x, 0): decoder MLP, heads, memory attention, pointers.
    Relu,
    /// Exact (erf) GELU: Hiera.
    Gelu,
}

impl Activation {
    /// Number by number.
    fn of<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Relu => relu(x),
            Self::Gelu => gelu(x),
        }
    }
}

/// Linear layers with an activation between them (`sam2_utils.MLP`, keys `layers.i`).
#[derive(Module, Debug)]
pub struct Mlp {
    /// The layers in order.
    pub layers: Vec<Linear>,
    #[module(skip)]
    activation: Activation,
}

impl Mlp {
    /// One layer between each pair of neighbours in `widths`.
    pub fn init(widths: &[usize], activation: Activation, device: &Device) -> Self {
        let layers = widths.windows(2).map(|w| Linear::init(w[0], w[1], device)).collect();
        Self { layers, activation }
    }

    /// `[..., widths[0]]` to `[..., widths[last]]`; nothing follows the last layer.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (last, hidden) = self.layers.split_last().expect("an MLP has a layer");
        last.forward(self.hidden(hidden, x))
    }

    /// `to` and the answer of [`Mlp::forward`].
    pub fn added_to<const D: usize>(&self, to: Tensor<D>, x: Tensor<D>) -> Tensor<D> {
        let (last, hidden) = self.layers.split_last().expect("an MLP has a layer");
        last.added_to(to, self.hidden(hidden, x))
    }

    fn hidden<const D: usize>(&self, layers: &[Linear], x: Tensor<D>) -> Tensor<D> {
        layers.iter().fold(x, |x, layer| layer.forward_then(x, self.activation))
    }

    /// As [`Mlp::forward`], then a sigmoid.
    pub fn forward_sigmoid<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        sigmoid(self.forward(x))
    }
}

/// `[B, C, H, W]` to `[B, H, W, C]`.
pub fn nhwc(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 2, 3, 1])
}

/// `[B, H, W, C]` to `[B, C, H, W]`.
pub fn nchw(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 3, 1, 2])
}

/// `[B, C, H, W]` to tokens `[B, H*W, C]`, row by row.
pub fn to_tokens(x: Tensor<4>) -> Tensor<3> {
    let [b, c, h, w] = x.dims();
    x.reshape([b, c, h * w]).swap_dims(1, 2)
}

/// Tokens `[B, h*w, C]` back to `[B, C, h, w]`.
pub fn from_tokens(x: Tensor<3>, [h, w]: [usize; 2]) -> Tensor<4> {
    let [b, _, c] = x.dims();
    x.swap_dims(1, 2).reshape([b, c, h, w])
}

/// `[B, N, heads * d]` to `[B, heads, N, d]`.
pub fn split_heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [b, n, c] = x.dims();
    x.reshape([b, n, heads, c / heads]).swap_dims(1, 2)
}

/// `[B, heads, N, d]` to `[B, N, heads * d]`.
pub fn join_heads(x: Tensor<4>) -> Tensor<3> {
    let [b, heads, n, d] = x.dims();
    x.swap_dims(1, 2).reshape([b, n, heads * d])
}

/// Largest score matrix held at once without gradients, in elements (64 MB).
const SCORES_MAX: usize = 1 << 24;

/// [`attend_where`] with every key counting.
pub fn attend(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    attend_where(q, k, v, None)
}

/// `softmax(q kᵀ / sqrt(d) + bias) v`: `q` `[B, heads, Nq, d]`, `k` `[B, heads, Nk, d]`, `v` `[B, heads, Nk, e]`
/// to `[B, heads, Nq, e]`; `bias` `[1, 1, 1, Nk]`, hugely negative for keys that do not count.
///
/// Without gradients the queries are cut into blocks, so the score matrix stays small at any image size.
pub fn attend_where(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    bias: Option<Tensor<4>>,
) -> Tensor<4> {
    let [b, heads, n_q, d] = q.dims();
    let n_k = k.dims()[2];
    let scale = 1.0 / (d as f64).sqrt();
    if let Some(read) = gpu::attention([&q, &k, &v], bias.as_ref(), scale as f32) {
        return read;
    }
    if q.device().is_autodiff() {
        return plain_attention(q, k, v, bias, scale);
    }
    // Burn's fused kernel runs one (batch, head) per core and must not be used for a single one.
    let one = |q, k, v| {
        if bias.is_some() || b * heads == 1 && n_q * n_k > 1 << 14 {
            plain_attention(q, k, v, bias.clone(), scale)
        } else {
            let options = AttentionModuleOptions { scale: Some(scale), ..Default::default() };
            attention(q, k, v, None, None, options)
        }
    };
    let block = (SCORES_MAX / (b * heads * n_k)).max(1);
    if block >= n_q {
        return one(q, k, v);
    }
    let parts = (0..n_q).step_by(block).map(|at| {
        let q = q.clone().narrow(2, at, block.min(n_q - at));
        one(q, k.clone(), v.clone())
    });
    Tensor::cat(parts.collect(), 2)
}

fn plain_attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    bias: Option<Tensor<4>>,
    scale: f64,
) -> Tensor<4> {
    let scores = product(q * scale, k.transpose());
    let scores = match bias {
        Some(bias) => scores + bias,
        None => scores,
    };
    product(cpu::softmax(&scores).unwrap_or_else(|| activation::softmax(scores, 3)), v)
}

/// The matrix product of the last two axes.
pub(super) fn product<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    gpu::product(&a, &b).unwrap_or_else(|| a.matmul(b))
}

/// A tensor from numbers computed on the CPU.
pub fn constant<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    upload(values, shape, device)
}

/// 10000^(2 floor(j/2) / n): the wavelength both sine encodings give to channel `j` of `n`.
fn wavelength(j: usize, n: usize) -> f64 {
    10000f64.powf((2 * (j / 2)) as f64 / n as f64)
}

/// 2-D sine encoding `[1, channels, h, w]` (`PositionEmbeddingSine`, normalised): first half y, second half x,
/// even channels sine, odd channels cosine.
pub fn sine_pe_2d(channels: usize, [h, w]: [usize; 2], device: &Device) -> Tensor<4> {
    upload_once(format!("sine {channels} {h} {w}"), [1, channels, h, w], device, || {
        let half = channels / 2;
        let [down, across] = sine_axes(channels, [h, w]);
        let mut out = Vec::with_capacity(channels * h * w);
        for c in 0..half {
            (0..h).for_each(|y| out.extend(std::iter::repeat_n(down[y * half + c], w)));
        }
        for c in 0..half {
            let row: Vec<f32> = (0..w).map(|x| across[x * half + c]).collect();
            (0..h).for_each(|_| out.extend_from_slice(&row));
        }
        out
    })
}

/// What [`sine_pe_2d`] is made of: the first half of the channels of each row `[h, channels / 2]` and the second half of
/// each column `[w, channels / 2]`.
pub(super) fn sine_axes(channels: usize, size: [usize; 2]) -> [Vec<f32>; 2] {
    let half = channels / 2;
    size.map(|n| {
        let turn = |i: usize| (i + 1) as f64 / (n as f64 + 1e-6) * std::f64::consts::TAU;
        let wave = |at: f64, j: usize| {
            let phase = at / wavelength(j, half);
            (if j.is_multiple_of(2) { phase.sin() } else { phase.cos() }) as f32
        };
        (0..n).flat_map(|i| (0..half).map(move |j| wave(turn(i), j))).collect()
    })
}

/// 1-D sine encoding `[n, dim]` of positions (`get_1d_sine_pe`): all sines, then all cosines.
pub fn sine_pe_1d(positions: &[f32], dim: usize, device: &Device) -> Tensor<2> {
    let half = dim / 2;
    let mut out = Vec::with_capacity(positions.len() * dim);
    for p in positions {
        let phase = |j: usize| f64::from(*p) / wavelength(j, half);
        out.extend((0..half).map(|j| phase(j).sin() as f32));
        out.extend((0..half).map(|j| phase(j).cos() as f32));
    }
    constant(out, [positions.len(), dim], device)
}
