//! The whole network (`modeling/sam2_base.py`): encoder, prompts, decoder, memory, and the parameters between them.
//!
//! What decides whether this file is right: field names spell SAM 2's checkpoint keys; `no_mem_embed` is added exactly
//! when no memory attends; the input side comes from the tensor, never from the card, so one set of weights runs at any
//! size; the curve prior is both mask prompt and residual, the click heat enters at all three decoder resolutions.

use super::blocks::{Activation, Linear, Mlp, constant, conv, convolved};
use super::config::ModelConfig;
use super::cpu;
use super::half::Half;
use super::image_encoder::ImageEncoder;
use super::mask_decoder::{Decoded, MaskDecoder};
use super::memory_attention::{MemoryAttention, MemoryAttentionConfig};
use super::memory_encoder::{MemoryEncoder, MemoryEncoderConfig};
use super::prompt_encoder::{ClickBranch, PointBatch, PointLabel, PromptEncoder, click_heat};
use crate::domain::{PointPx, curve_logits};
use std::sync::{Arc, OnceLock};

use burn::module::{Initializer, Module, Param};
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor};

/// The network. `d` = d_model, `m` = mem_dim; an input of side S has grids s4 = S/4, s8 = S/8, s16 = S/16.
#[derive(Module, Debug)]
pub struct Sam2 {
    /// Image to pyramid.
    pub image_encoder: ImageEncoder,
    /// Conditions the s16 feature on the bank.
    pub memory_attention: MemoryAttention,
    /// Mask and feature to a memory.
    pub memory_encoder: MemoryEncoder,
    /// Prompts to tokens.
    pub sam_prompt_encoder: PromptEncoder,
    /// Tokens and image to masks.
    pub sam_mask_decoder: MaskDecoder,
    /// Mask token to object pointer, d to d.
    pub obj_ptr_proj: Mlp,
    /// Time encoding of pointers, d to m.
    pub obj_ptr_tpos_proj: Linear,
    /// A given mask to the size of a mask prompt, 1 to 1, kernel and stride 4.
    pub mask_downsample: Conv2d,
    /// Time row of each remembered frame `[num_maskmem, 1, 1, m]`.
    pub maskmem_tpos_enc: Param<Tensor<4>>,
    /// Added to the s16 feature when nothing is remembered `[1, 1, d]`.
    pub no_mem_embed: Param<Tensor<3>>,
    /// In every checkpoint, never used `[1, 1, d]`.
    pub no_mem_pos_enc: Param<Tensor<3>>,
    /// Pointer of an absent object `[1, d]`.
    pub no_obj_ptr: Param<Tensor<2>>,
    /// Added to the memory of an absent object `[1, m]`.
    pub no_obj_embed_spatial: Param<Tensor<2>>,
    /// Click heat to the dense prompt (s16), where the card has `click_heat`.
    pub click16: Option<ClickBranch>,
    /// Click heat to the s8 feature.
    pub click32: Option<ClickBranch>,
    /// Click heat to the s4 feature.
    pub click64: Option<ClickBranch>,
    #[module(skip)]
    config: ModelConfig,
    /// What became of the wish for an encoder in f16.
    #[module(skip)]
    pub(super) half: Option<Half>,
}

/// What the encoder leaves of an image.
#[derive(Debug, Clone)]
pub struct ImageFeatures {
    /// `[B, d, s16, s16]`, without memory and without `no_mem_embed`.
    pub pix_feat: Tensor<4>,
    /// s4 `[B, d/8, s4, s4]` and s8 `[B, d/4, s8, s8]`.
    pub high_res: [Tensor<4>; 2],
    /// What reading memories begins with; empty until a track reads.
    pub begun: Begun,
}

/// What [`MemoryAttention::begin`] makes of a frame, once for all tracks: clones share it.
///
/// By count of operations it is 8 % of reading seven memories with SAM 2.1 tiny at 1024 px.
#[derive(Clone, Debug, Default)]
pub struct Begun(Arc<OnceLock<Tensor<3>>>);

impl Begun {
    /// What is there, or else what `make` makes.
    pub(super) fn or_made(&self, make: impl FnOnce() -> Tensor<3>) -> Tensor<3> {
        // Not `get_or_init`: who waits there for work that is shared out among threads may be given the same work.
        self.0.get().cloned().unwrap_or_else(|| {
            let made = make();
            let _ = self.0.set(made.clone());
            made
        })
    }
}

impl ImageFeatures {
    /// Those that an encoder made.
    #[must_use]
    pub fn new(pix_feat: Tensor<4>, high_res: [Tensor<4>; 2]) -> Self {
        Self { pix_feat, high_res, begun: Begun::default() }
    }

    /// The same for a cache, without what was begun: it is used while a frame is at hand, and takes a quarter as much again.
    #[must_use]
    pub fn at_rest(&self) -> Self {
        Self::new(self.pix_feat.clone(), self.high_res.clone())
    }

    /// Bytes that they take, for caches.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let tensors = [&self.pix_feat, &self.high_res[0], &self.high_res[1]];
        tensors.iter().map(|t| 4 * t.dims().iter().product::<usize>()).sum()
    }
}

/// A batch of prompts for one decoder pass.
#[derive(Debug, Clone)]
pub struct Prompts {
    /// Points and box corners.
    pub points: PointBatch,
    /// Mask logits `[B, 1, s, s]`, any s.
    pub mask: Option<Tensor<4>>,
}

impl ModelConfig {
    /// An untrained network of these sizes on `device`.
    pub fn init(&self, device: &Device) -> Sam2 {
        let (d, m) = (self.neck.d_model, self.memory.mem_dim);
        let small = Initializer::Normal { mean: 0.0, std: 0.02 };
        let click = |shrink, channels| {
            self.prompts.click_heat.then(|| ClickBranch::init(shrink, channels, device))
        };
        let attention = MemoryAttentionConfig {
            heads: self.memory.attention_heads,
            ..MemoryAttentionConfig::new(
                d,
                m,
                self.memory.attention_ffn,
                self.memory.attention_layers,
            )
        };
        let encoder = MemoryEncoderConfig {
            fuser_layers: self.memory.fuser_layers,
            ..MemoryEncoderConfig::new(d, m)
        };
        Sam2 {
            image_encoder: ImageEncoder::init(self, device),
            memory_attention: attention.init(device),
            memory_encoder: encoder.init(device),
            sam_prompt_encoder: PromptEncoder::init(self, device),
            sam_mask_decoder: MaskDecoder::init(self, device),
            obj_ptr_proj: Mlp::init(&[d; 4], Activation::Relu, device),
            obj_ptr_tpos_proj: Linear::init(d, m, device),
            mask_downsample: conv([1, 1], 4, 4, 0, 1, device),
            maskmem_tpos_enc: small.init([self.memory.num_maskmem, 1, 1, m], device),
            no_mem_embed: small.init([1, 1, d], device),
            no_mem_pos_enc: small.init([1, 1, d], device),
            no_obj_ptr: small.init([1, d], device),
            no_obj_embed_spatial: small.init([1, m], device),
            click16: click(4, d),
            click32: click(2, d / 4),
            click64: click(1, d / 8),
            config: self.clone(),
            half: None,
        }
    }
}

impl ImageFeatures {
    /// Features of N images for `b` prompts: prompt i belongs to image i / (b / N). A single image stays as it is
    /// (additions broadcast it).
    pub fn for_prompts(&self, b: usize) -> Self {
        let [s4, s8] = self.high_res.clone();
        let high_res = [repeat_rows(s4, b), repeat_rows(s8, b)];
        Self::new(repeat_rows(self.pix_feat.clone(), b), high_res)
    }
}

fn repeat_rows(x: Tensor<4>, b: usize) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    if n == b || n == 1 {
        return x;
    }
    x.reshape([n, 1, c, h, w]).expand([n, b / n, c, h, w]).reshape([b, c, h, w])
}

impl Sam2 {
    /// The sizes it was made from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// What became of the card's wish for an encoder in f16; `None` where it has none.
    pub fn half(&self) -> Option<&Half> {
        self.half.as_ref()
    }

    /// Whether boundary points have to be bridged ([`super::bridge`]): these weights know none.
    pub fn bridges(&self) -> bool {
        !self.config.prompts.boundary_embedding
    }

    /// Normalised images `[B, 3, S, S]`, S any multiple of 32 that the first window divides (`forward_image`).
    pub fn encode_image(&self, x: Tensor<4>) -> ImageFeatures {
        cpu::encode(self, &x).unwrap_or_else(|| self.encode_by_parts(x))
    }

    /// As [`Self::encode_image`], part by part on every device: the way with gradients and on a GPU.
    pub fn encode_by_parts(&self, x: Tensor<4>) -> ImageFeatures {
        let pyramid = self.image_encoder.forward(x);
        let decoder = &self.sam_mask_decoder;
        let high_res = [
            convolved(&decoder.conv_s0, pyramid[0].clone()),
            convolved(&decoder.conv_s1, pyramid[1].clone()),
        ];
        ImageFeatures::new(pyramid[2].clone(), high_res)
    }

    /// Masks for a still (`SAM2ImagePredictor`): features without memory. B prompts over the features of B, of 1, or of
    /// N images with N dividing B (see [`ImageFeatures::for_prompts`]).
    pub fn decode(&self, features: &ImageFeatures, prompts: &Prompts, multimask: bool) -> Decoded {
        let features = features.for_prompts(prompts.points.batch);
        let pix_feat = self.without_memory(features.pix_feat);
        self.decode_conditioned(pix_feat, features.high_res, prompts, multimask)
    }

    /// `pix_feat` `[B, d, s16, s16]` plus `no_mem_embed`: what the decoder sees where nothing is remembered.
    pub fn without_memory(&self, pix_feat: Tensor<4>) -> Tensor<4> {
        let d = pix_feat.dims()[1];
        pix_feat + self.no_mem_embed.val().reshape([1, d, 1, 1])
    }

    /// Masks from a feature that is conditioned already (`_forward_sam_heads` up to the choice of mask).
    ///
    /// `pix_feat` and `high_res` have batch 1 or that of the prompts. Logits are neither clamped nor gated by the object
    /// score. Where a prompt has two boundary points or more and the network has `curve_prior`, the curve through them
    /// takes the place of its mask prompt and is added to its logits.
    pub fn decode_conditioned(
        &self,
        pix_feat: Tensor<4>,
        high_res: [Tensor<4>; 2],
        prompts: &Prompts,
        multimask: bool,
    ) -> Decoded {
        self.decode_with_prior(pix_feat, high_res, prompts, None, multimask)
    }

    /// As [`Self::decode_conditioned`], with logits `[B, 1, s4, s4]` of a contour that is known from elsewhere (the
    /// motion of the tissue): they are shown as mask prompt and added to the answer, as the curve through boundary
    /// points is, and give way to it where both are known. Not in SAM 2; without `given` nothing differs from it.
    pub fn decode_with_prior(
        &self,
        pix_feat: Tensor<4>,
        high_res: [Tensor<4>; 2],
        prompts: &Prompts,
        given: Option<Tensor<4>>,
        multimask: bool,
    ) -> Decoded {
        let [_, d, h, w] = pix_feat.dims();
        let (b, size) = (prompts.points.batch, 16 * h);
        let device = pix_feat.device();
        let encoder = &self.sam_prompt_encoder;
        let sparse = encoder.points(&prompts.points, size);
        let given = given.map(|logits| {
            let known = Tensor::ones([logits.dims()[0], 1, 1, 1], &device);
            Prior { logits, known }
        });
        let prior = self.curve_prior(&prompts.points, size, &device).or(given);
        let mut dense = encoder.dense(prompts.mask.clone(), size);
        if let Some(Prior { logits, known }) = &prior {
            let unknown = known.clone().neg() + 1.0;
            dense = encoder.dense(Some(logits.clone()), size) * known.clone() + dense * unknown;
        }
        let [mut s4, mut s8] = high_res;
        if let (Some(c16), Some(c32), Some(c64)) = (&self.click16, &self.click32, &self.click64) {
            let heat = click_heat(&prompts.points, size, &device);
            dense = dense + c16.forward(heat.clone());
            s8 = s8 + c32.forward(heat.clone());
            s4 = s4 + c64.forward(heat);
        }
        let src = pix_feat + dense;
        let src = if src.dims()[0] == b { src } else { src.expand([b, d, h, w]) };
        let pe = encoder.pe_layer.dense([h, w]);
        let mut raw = self.sam_mask_decoder.forward(src, pe, sparse, [s4, s8]);
        if let Some(Prior { logits, .. }) = prior {
            raw.masks = raw.masks + logits;
        }
        // As upstream, an unstable single mask is replaced in evaluation only.
        let evaluation = !device.is_autodiff();
        raw.select(multimask, evaluation && self.sam_mask_decoder.dynamic_multimask())
    }

    /// The curve through each prompt's boundary points, or none where no prompt has two.
    fn curve_prior(&self, points: &PointBatch, size: usize, device: &Device) -> Option<Prior> {
        if !self.config.prompts.curve_prior {
            return None;
        }
        let side = size / 4;
        let (mut logits, mut known) = (Vec::with_capacity(points.batch * side * side), Vec::new());
        for row in 0..points.batch {
            let span = row * points.per..(row + 1) * points.per;
            let cell = |v: f32| (v + 0.5) / 4.0;
            let on_boundary: Vec<PointPx> = points.coords[span.clone()]
                .iter()
                .zip(&points.labels[span])
                .filter(|(_, label)| **label == PointLabel::Boundary)
                .map(|(at, _)| PointPx::new(cell(at[0]), cell(at[1])))
                .collect();
            known.push(if on_boundary.len() >= 2 { 1.0 } else { 0.0 });
            logits.extend(curve_logits_or_zero(&on_boundary, side));
        }
        known.contains(&1.0).then(|| Prior {
            logits: constant(logits, [points.batch, 1, side, side], device),
            known: constant(known, [points.batch, 1, 1, 1], device),
        })
    }
}

/// Logits of the curve `[B, 1, s4, s4]` (zero where unknown) and which rows have one `[B, 1, 1, 1]`.
struct Prior {
    logits: Tensor<4>,
    known: Tensor<4>,
}

fn curve_logits_or_zero(cells: &[PointPx], side: usize) -> Vec<f32> {
    if cells.len() < 2 {
        return vec![0.0; side * side];
    }
    // The slope of the prior is stated for an input of 256 px.
    curve_logits(cells, side as u32, side as u32, 256.0 / side as f32)
}

/// One still-image answer in plain numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Logits of the best mask, `side * side`, as decoded: SAM 2 enlarges these and clamps only what it feeds back.
    pub low_res: Vec<f32>,
    /// S/4.
    pub side: usize,
    /// Predicted IoU of that mask.
    pub iou: f32,
    /// Logit that the object is in the image.
    pub object_score: f32,
}

/// Logits of an earlier answer are clamped to this before they are a mask prompt, here as in SAM 2.
pub const PREVIOUS_LOGIT_MAX: f32 = 32.0;

/// SAM 2's rule: three candidates for at most one point (a box counts two), else a single mask.
pub fn wants_multimask(points: usize) -> bool {
    points <= 1
}

impl Sam2 {
    /// The mask for one prompt on a still: `points` in network pixels (box corners first), `mask` logits `side * side`.
    ///
    /// Errors only when the device fails to give the numbers back.
    pub fn predict(
        &self,
        features: &ImageFeatures,
        points: &[([f32; 2], PointLabel)],
        mask: Option<(&[f32], usize)>,
    ) -> Result<Prediction, String> {
        let device = features.pix_feat.device();
        let mask =
            mask.map(|(logits, side)| constant(logits.to_vec(), [1, 1, side, side], &device));
        let prompts = Prompts { points: PointBatch::new(&[points.to_vec()]), mask };
        let out = self.decode(features, &prompts, wants_multimask(points.len()));
        let (best, iou, _) = out.best();
        let side = best.dims()[3];
        let numbers = |x: Tensor<1>| {
            x.try_into_vec_as::<f32>().map_err(|e| format!("the device failed: {e}"))
        };
        let first = |x: Tensor<2>| numbers(x.reshape([1])).map(|v| v[0]);
        Ok(Prediction {
            low_res: numbers(best.reshape([side * side]))?,
            side,
            iou: first(iou)?,
            object_score: first(out.object_score_logits)?,
        })
    }
}
