//! How the current frame reads the memory of other frames (`modeling/memory_attention.py`, `RoPEAttention`).
//!
//! What decides whether this file is right: the rotation pairs channels 2j and 2j+1, the first half of the pairs turns
//! with x and the second with y; the table repeats for each remembered frame and the pointer tokens at the end of the
//! keys are never turned; keys carry `memory_pos`, values do not; the query's own encoding enters once, scaled by 0.1.
//! Golden `vid.*.memattn_out`.

use std::cell::OnceCell;

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::{Device, Tensor};

use super::blocks::{
    Activation, EPS_DEFAULT, LayerNorm, Linear, attend_where, from_tokens, join_heads, sine_pe_2d,
    split_heads, to_tokens,
};
use super::traffic::upload_once;
use super::{cpu, gpu};

/// Weight of the sine encoding added to the current frame's features.
pub(super) const POS_AT_INPUT: f64 = 0.1;

/// Sizes of a [`MemoryAttention`].
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryAttentionConfig {
    /// Channels of the image features; a multiple of 4.
    pub d_model: usize,
    /// Channels of a memory.
    pub mem_dim: usize,
    /// Width of the feed-forward layers.
    pub ffn: usize,
    /// Number of layers.
    pub layers: usize,
    /// Heads of every attention; 1 in every SAM 2.1. `d_model / heads` is a multiple of 4.
    pub heads: usize,
    /// Base of the rotation frequencies; 10000 in every SAM 2.1.
    pub rope_theta: f64,
    /// Dropout while training (SAM 2: 0.1); acts on autodiff devices only.
    pub dropout: f64,
}

impl MemoryAttentionConfig {
    /// The usual setting: one head, theta 10000, no dropout.
    pub fn new(d_model: usize, mem_dim: usize, ffn: usize, layers: usize) -> Self {
        Self { d_model, mem_dim, ffn, layers, heads: 1, rope_theta: 10000.0, dropout: 0.0 }
    }

    /// Layers with PyTorch's default initialisation.
    pub fn init(&self, device: &Device) -> MemoryAttention {
        MemoryAttention {
            layers: (0..self.layers).map(|_| MemoryAttentionLayer::init(self, device)).collect(),
            norm: LayerNorm::init(self.d_model, EPS_DEFAULT, device),
            heads: self.heads,
            rope_theta: self.rope_theta,
        }
    }
}

/// Layers of self-attention, attention to memory and feed-forward, then a norm.
#[derive(Module, Debug)]
pub struct MemoryAttention {
    /// The layers in order.
    pub layers: Vec<MemoryAttentionLayer>,
    /// The closing norm.
    pub norm: LayerNorm,
    pub(super) heads: usize,
    pub(super) rope_theta: f64,
}

impl MemoryAttention {
    /// `curr` `[B, d, h, w]`, conditioned on `memory` `[B, M, mem_dim]` with encoding `memory_pos` of the same shape, to
    /// `[B, d, h, w]`.
    ///
    /// The last `n_ptr_tokens` of the `M` tokens are object pointers; the others are whole frames of `h * w` tokens each.
    pub fn forward(
        &self,
        curr: Tensor<4>,
        memory: Tensor<3>,
        memory_pos: Tensor<3>,
        n_ptr_tokens: usize,
    ) -> Tensor<4> {
        let [_, _, h, w] = curr.dims();
        self.read((self.begin(curr), [h, w]), memory, memory_pos, n_ptr_tokens)
    }

    /// What of [`Self::forward`] needs no memory: `curr` `[B, d, h, w]` with its encoding, after the attention to itself in
    /// the first layer, `[B, h*w, d]`. The same for every track, so made once per frame.
    pub fn begin(&self, curr: Tensor<4>) -> Tensor<3> {
        cpu::begin_read(self, &curr).unwrap_or_else(|| self.begin_by_parts(curr))
    }

    /// The rest of [`Self::forward`]: what was begun for a grid of `[h, w]`, conditioned on the memory.
    pub fn read(
        &self,
        (begun, size): (Tensor<3>, [usize; 2]),
        memory: Tensor<3>,
        memory_pos: Tensor<3>,
        n_ptr_tokens: usize,
    ) -> Tensor<4> {
        cpu::read_memory(self, (&begun, size), &memory, &memory_pos, n_ptr_tokens).unwrap_or_else(
            || self.read_where((begun, size), memory, memory_pos, n_ptr_tokens, None),
        )
    }

    /// As [`Self::forward`], part by part on every device: the way with gradients and on a GPU.
    pub fn forward_by_parts(
        &self,
        curr: Tensor<4>,
        memory: Tensor<3>,
        memory_pos: Tensor<3>,
        n_ptr_tokens: usize,
    ) -> Tensor<4> {
        let [_, _, h, w] = curr.dims();
        let begun = (self.begin_by_parts(curr), [h, w]);
        self.read_where(begun, memory, memory_pos, n_ptr_tokens, None)
    }

    fn begin_by_parts(&self, curr: Tensor<4>) -> Tensor<3> {
        let [_, d, h, w] = curr.dims();
        let device = curr.device();
        let pos = sine_pe_2d(d, [h, w], &device) * POS_AT_INPUT;
        let x = to_tokens(curr + pos);
        match self.layers.first() {
            Some(layer) => layer.read_itself(x, &self.rope(d, [h, w], &device)),
            None => x,
        }
    }

    /// As [`Self::read`], part by part; tokens whose `bias` `[1, 1, 1, M]` is hugely negative count for nothing.
    pub fn read_where(
        &self,
        (begun, size): (Tensor<3>, [usize; 2]),
        memory: Tensor<3>,
        memory_pos: Tensor<3>,
        n_ptr_tokens: usize,
        bias: Option<Tensor<4>>,
    ) -> Tensor<4> {
        let rope = self.rope(begun.dims()[2], size, &begun.device());
        let keys = memory.clone() + memory_pos;
        let mut x = begun;
        for (nth, layer) in self.layers.iter().enumerate() {
            if nth > 0 {
                x = layer.read_itself(x, &rope);
            }
            x = layer.read_memory(x, [&keys, &memory], &rope, n_ptr_tokens, bias.clone());
        }
        from_tokens(self.norm.forward(x), size)
    }

    fn rope(&self, d: usize, size: [usize; 2], device: &Device) -> AxialRope {
        AxialRope::new(d / self.heads, size, self.rope_theta, device)
    }
}

/// One pre-norm layer (`MemoryAttentionLayer`).
#[derive(Module, Debug)]
pub struct MemoryAttentionLayer {
    /// Attention of the frame to itself.
    pub self_attn: RopeAttention,
    /// Attention of the frame to the memory.
    pub cross_attn_image: RopeAttention,
    /// Feed-forward, first half.
    pub linear1: Linear,
    /// Feed-forward, second half.
    pub linear2: Linear,
    /// Before the self-attention.
    pub norm1: LayerNorm,
    /// Before the attention to memory.
    pub norm2: LayerNorm,
    /// Before the feed-forward.
    pub norm3: LayerNorm,
    dropout: Dropout,
}

impl MemoryAttentionLayer {
    fn init(config: &MemoryAttentionConfig, device: &Device) -> Self {
        let d = config.d_model;
        let norm = || LayerNorm::init(d, EPS_DEFAULT, device);
        Self {
            self_attn: RopeAttention::init(d, d, config.heads, device),
            cross_attn_image: RopeAttention::init(d, config.mem_dim, config.heads, device),
            linear1: Linear::init(d, config.ffn, device),
            linear2: Linear::init(config.ffn, d, device),
            norm1: norm(),
            norm2: norm(),
            norm3: norm(),
            dropout: DropoutConfig::new(config.dropout).init(),
        }
    }

    /// The attention of the frame to itself.
    fn read_itself(&self, x: Tensor<3>, rope: &AxialRope) -> Tensor<3> {
        let y = self.norm1.forward(x.clone());
        let y = self.self_attn.read(y.clone(), [&y, &y], rope, 0, None);
        self.added(x, &self.self_attn.out_proj, y)
    }

    /// Then that to the memory, and the feed-forward layers.
    fn read_memory(
        &self,
        x: Tensor<3>,
        [keys, values]: [&Tensor<3>; 2],
        rope: &AxialRope,
        n_ptr_tokens: usize,
        bias: Option<Tensor<4>>,
    ) -> Tensor<3> {
        let y = self.norm2.forward(x.clone());
        let y = self.cross_attn_image.read(y, [keys, values], rope, n_ptr_tokens, bias);
        let x = self.added(x, &self.cross_attn_image.out_proj, y);
        let y = self.linear1.forward_then(self.norm3.forward(x.clone()), Activation::Relu);
        let y = self.dropout.forward(y);
        self.added(x, &self.linear2, y)
    }

    /// `to` and what a layer makes of `x`, some of it left out in training.
    fn added(&self, to: Tensor<3>, layer: &Linear, x: Tensor<3>) -> Tensor<3> {
        if to.device().is_autodiff() {
            to + self.dropout.forward(layer.forward(x))
        } else {
            layer.added_to(to, x)
        }
    }
}

/// Attention whose queries and keys are turned by their place in the frame (`RoPEAttention`).
#[derive(Module, Debug)]
pub struct RopeAttention {
    /// Query projection, `d` to `d`.
    pub q_proj: Linear,
    /// Key projection, from `d` or from the memory's channels.
    pub k_proj: Linear,
    /// Value projection, from `d` or from the memory's channels.
    pub v_proj: Linear,
    /// Output projection, `d` to `d`.
    pub out_proj: Linear,
    heads: usize,
}

impl RopeAttention {
    fn init(d: usize, d_key: usize, heads: usize, device: &Device) -> Self {
        Self {
            q_proj: Linear::init(d, d, device),
            k_proj: Linear::init(d_key, d, device),
            v_proj: Linear::init(d_key, d, device),
            out_proj: Linear::init(d, d, device),
            heads,
        }
    }

    /// What was read, before the output projection.
    fn read(
        &self,
        q: Tensor<3>,
        [k, v]: [&Tensor<3>; 2],
        rope: &AxialRope,
        unturned: usize,
        bias: Option<Tensor<4>>,
    ) -> Tensor<3> {
        let split = |x| split_heads(x, self.heads);
        let turn = |x: Tensor<4>, unturned| {
            let [b, heads, n, d] = x.dims();
            rope.turn(x.reshape([b * heads, n, d]), unturned).reshape([b, heads, n, d])
        };
        let q = turn(split(self.q_proj.forward(q)), 0);
        let k = turn(split(self.k_proj.forward(k.clone())), unturned);
        // Weights sum to one, so one head may mix values before they are projected: a memory has a quarter of the
        // features' channels and several frames' tokens.
        let [made, given] = self.v_proj.weight.dims();
        let late = self.heads == 1 && given < made;
        let v = split(if late { v.clone() } else { self.v_proj.forward(v.clone()) });
        // `attend` cuts the queries into blocks, so that the scores of a long memory stay small.
        let mixed = join_heads(attend_where(q, k, v, bias));
        if late { self.v_proj.forward(mixed) } else { mixed }
    }
}

/// Cosines and sines of axial rotary encoding for one feature size, `[1, h*w, d/2]` each.
pub struct AxialRope {
    cos: Tensor<3>,
    sin: Tensor<3>,
}

impl AxialRope {
    /// Tables for `d` channels on a `[h, w]` grid, computed in f64.
    pub fn new(d: usize, [h, w]: [usize; 2], theta: f64, device: &Device) -> Self {
        let tables = OnceCell::new();
        let made = || tables.get_or_init(|| Self::tables(d, [h, w], theta));
        let shape = [1, h * w, d / 4 * 2];
        let kept = |name, values: &dyn Fn() -> Vec<f32>| {
            upload_once(format!("rope {name} {d} {h} {w} {theta}"), shape, device, values)
        };
        Self { cos: kept("cos", &|| made().cos.clone()), sin: kept("sin", &|| made().sin.clone()) }
    }

    /// The numbers of [`AxialRope::new`].
    pub(super) fn tables(d: usize, [h, w]: [usize; 2], theta: f64) -> cpu::Turns {
        let quarter = d / 4;
        let angle = |at: usize, j: usize| at as f64 * theta.powf(-((4 * j) as f64) / d as f64);
        // Only h + w rows differ, so sines are taken once per coordinate.
        let axis = |n: usize| -> Vec<(f64, f64)> {
            (0..n).flat_map(|at| (0..quarter).map(move |j| angle(at, j).sin_cos())).collect()
        };
        let (xs, ys) = (axis(w), axis(h));
        let mut cos = Vec::with_capacity(h * w * 2 * quarter);
        let mut sin = Vec::with_capacity(h * w * 2 * quarter);
        for y in 0..h {
            for x in 0..w {
                let row = xs[x * quarter..][..quarter].iter().chain(&ys[y * quarter..][..quarter]);
                for (s, c) in row {
                    cos.push(*c as f32);
                    sin.push(*s as f32);
                }
            }
        }
        cpu::Turns { cos, sin, half: 2 * quarter }
    }

    /// Turns `[B, n, d]`, the table repeating every `h * w` tokens; the last `unturned` tokens are left as they are.
    ///
    /// The result holds the even channels first, then the odd ones: a score is a sum over channels, so any order does
    /// as long as queries and keys share it, and putting the pairs back together would only cost time.
    pub fn turn(&self, x: Tensor<3>, unturned: usize) -> Tensor<3> {
        if let Some(turned) = gpu::turn(&x, [&self.cos, &self.sin], unturned) {
            return turned;
        }
        let [b, n, d] = x.dims();
        let [_, tokens, half] = self.cos.dims();
        let frames = (n - unturned) / tokens;
        let pairs = x.reshape([b, n, half, 2]);
        let even = pairs.clone().narrow(3, 0, 1).reshape([b, n, half]);
        let odd = pairs.narrow(3, 1, 1).reshape([b, n, half]);
        let spatial = |part: Tensor<3>| {
            part.narrow(1, 0, frames * tokens).reshape([b * frames, tokens, half])
        };
        let (re, im) = (spatial(even.clone()), spatial(odd.clone()));
        let turned = Tensor::cat(
            vec![
                re.clone() * self.cos.clone() - im.clone() * self.sin.clone(),
                re * self.sin.clone() + im * self.cos.clone(),
            ],
            2,
        )
        .reshape([b, frames * tokens, d]);
        if unturned == 0 {
            return turned;
        }
        let rest = |part: Tensor<3>| part.narrow(1, n - unturned, unturned);
        Tensor::cat(vec![turned, Tensor::cat(vec![rest(even), rest(odd)], 2)], 1)
    }
}
