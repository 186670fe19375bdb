//! What a decided frame leaves behind: its mask and its features, fused into a small map (`modeling/memory_encoder.py`).
//!
//! What decides whether this file is right: the mask's scale (the caller has applied sigmoid or threshold and `* 20 - 10`),
//! the image feature WITHOUT memory conditioning, the norms' epsilon 1e-6, exact GELU, and the per-channel `gamma` on each
//! fuser block. A freshly initialised `gamma` of 1e-6 hides every error in the blocks: only a trained or golden weight
//! tests them. Golden `vid.*.memenc_raw`.

use burn::module::{Initializer, Module, Param};
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor};

use super::blocks::{Activation, LayerNorm2d, Linear, conv, convolved, gelu, nchw, nhwc};
use super::cpu;

/// Channels after each of the four halvings of the mask; the same in every SAM 2.1 whatever its width.
const MASK_CHANNELS: [usize; 5] = [1, 4, 16, 64, 256];

/// Sizes of a [`MemoryEncoder`].
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryEncoderConfig {
    /// Channels of the image features.
    pub d_model: usize,
    /// Channels of a memory.
    pub mem_dim: usize,
    /// Fuser blocks; 2 in every SAM 2.1.
    pub fuser_layers: usize,
}

impl MemoryEncoderConfig {
    /// The usual setting: two fuser blocks.
    pub fn new(d_model: usize, mem_dim: usize) -> Self {
        Self { d_model, mem_dim, fuser_layers: 2 }
    }

    /// Layers with PyTorch's default initialisation.
    pub fn init(&self, device: &Device) -> MemoryEncoder {
        let d = self.d_model;
        MemoryEncoder {
            mask_downsampler: MaskDownSampler { encoder: MaskStages::init(d, device) },
            pix_feat_proj: conv([d, d], 1, 1, 0, 1, device),
            fuser: Fuser {
                layers: (0..self.fuser_layers).map(|_| CxBlock::init(d, device)).collect(),
            },
            out_proj: conv([d, self.mem_dim], 1, 1, 0, 1, device),
        }
    }
}

/// Mask + feature to memory.
#[derive(Module, Debug)]
pub struct MemoryEncoder {
    /// Brings the mask to the feature's size and width.
    pub mask_downsampler: MaskDownSampler,
    /// 1x1 convolution on the image feature.
    pub pix_feat_proj: Conv2d,
    /// Mixes the sum of both.
    pub fuser: Fuser,
    /// 1x1 convolution to the memory's channels.
    pub out_proj: Conv2d,
}

impl MemoryEncoder {
    /// `pix_feat` `[B, d, h, w]` (not conditioned on memory) and `mask` `[B, 1, 16h, 16w]` in -10..10 to a memory
    /// `[B, mem_dim, h, w]`. Its place encoding is `sine_pe_2d(mem_dim, [h, w])`.
    pub fn forward(&self, pix_feat: Tensor<4>, mask: Tensor<4>) -> Tensor<4> {
        cpu::encode_memory(self, &pix_feat, &mask)
            .unwrap_or_else(|| self.forward_by_parts(pix_feat, mask))
    }

    /// As [`Self::forward`], part by part on every device: the way with gradients and on a GPU.
    pub fn forward_by_parts(&self, pix_feat: Tensor<4>, mask: Tensor<4>) -> Tensor<4> {
        let mask = self.mask_downsampler.encoder.forward(mask);
        let mut x = convolved(&self.pix_feat_proj, pix_feat) + mask;
        for layer in &self.fuser.layers {
            x = layer.forward(x);
        }
        convolved(&self.out_proj, x)
    }
}

/// Holder of the stages; exists because the checkpoint names it.
#[derive(Module, Debug)]
pub struct MaskDownSampler {
    /// The stages.
    pub encoder: MaskStages,
}

/// Four halvings (convolution, norm, GELU) and a 1x1 convolution to the features' width.
#[derive(Module, Debug)]
pub struct MaskStages {
    n0: Conv2d,
    n1: LayerNorm2d,
    n3: Conv2d,
    n4: LayerNorm2d,
    n6: Conv2d,
    n7: LayerNorm2d,
    n9: Conv2d,
    n10: LayerNorm2d,
    n12: Conv2d,
}

impl MaskStages {
    fn init(d_model: usize, device: &Device) -> Self {
        let [c0, c1, c2, c3, c4] = MASK_CHANNELS;
        let halve = |from, to| conv([from, to], 3, 2, 1, 1, device);
        Self {
            n0: halve(c0, c1),
            n1: LayerNorm2d::init(c1, device),
            n3: halve(c1, c2),
            n4: LayerNorm2d::init(c2, device),
            n6: halve(c2, c3),
            n7: LayerNorm2d::init(c3, device),
            n9: halve(c3, c4),
            n10: LayerNorm2d::init(c4, device),
            n12: conv([c4, d_model], 1, 1, 0, 1, device),
        }
    }

    /// The four halvings, each with its norm, and the last convolution.
    pub(super) fn parts(&self) -> ([(&Conv2d, &LayerNorm2d); 4], &Conv2d) {
        let halvings = [
            (&self.n0, &self.n1),
            (&self.n3, &self.n4),
            (&self.n6, &self.n7),
            (&self.n9, &self.n10),
        ];
        (halvings, &self.n12)
    }

    /// `[B, 1, 16h, 16w]` to `[B, d, h, w]`.
    fn forward(&self, mask: Tensor<4>) -> Tensor<4> {
        let (halvings, widen) = self.parts();
        let mut x = mask;
        for (conv, norm) in halvings {
            x = gelu(norm.forward(convolved(conv, x)));
        }
        convolved(widen, x)
    }
}

/// The fuser's blocks.
#[derive(Module, Debug)]
pub struct Fuser {
    /// In order.
    pub layers: Vec<CxBlock>,
}

/// A ConvNeXt block: depthwise 7x7, norm, a wide pointwise layer and back, scaled per channel (`CXBlock`).
#[derive(Module, Debug)]
pub struct CxBlock {
    pub(super) dwconv: Conv2d,
    pub(super) norm: LayerNorm2d,
    pub(super) pwconv1: Linear,
    pub(super) pwconv2: Linear,
    pub(super) gamma: Param<Tensor<1>>,
}

impl CxBlock {
    fn init(d: usize, device: &Device) -> Self {
        Self {
            dwconv: conv([d, d], 7, 1, 3, d, device),
            norm: LayerNorm2d::init(d, device),
            pwconv1: Linear::init(d, 4 * d, device),
            pwconv2: Linear::init(4 * d, d, device),
            gamma: Initializer::Constant { value: 1e-6 }.init([d], device),
        }
    }

    /// `[B, d, h, w]` to the same shape.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = nhwc(self.norm.forward(self.dwconv.forward(x.clone())));
        let y = self.pwconv2.forward(self.pwconv1.forward_then(y, Activation::Gelu));
        let y = y * self.gamma.val().reshape([1, 1, 1, -1]);
        x + nchw(y)
    }
}
