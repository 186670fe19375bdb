//! Two-way transformer and mask head (`sam/transformer.py`, `sam/mask_decoder.py`).
//!
//! What decides whether this file is right: the order of the tokens (object score, IoU, four masks, prompts); the first
//! self-attention has no position and no residual; both cross attentions run at half width; the fine features are added
//! before each activation of the upscaler; a single mask gives its place to the best of three when it is unstable, its
//! pointer token does not.

use super::blocks::{
    Activation, Deconv2x2, EPS_DEFAULT, Embedding, LayerNorm, LayerNorm2d, Linear, Mlp, attend,
    conv, from_tokens, gelu, join_heads, product, split_heads, to_tokens,
};
use super::config::ModelConfig;
use super::cpu;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor};

/// Masks the decoder always computes: one single mask and three candidates.
pub const MASKS: usize = 4;
/// Stability below which the single mask is replaced.
const STABLE: f64 = 0.98;
/// Logit margin of the stability score.
const STABILITY_DELTA: f64 = 0.05;

/// The decoder's parameters.
#[derive(Module, Debug)]
pub struct MaskDecoder {
    /// Tokens and image talk to each other.
    pub transformer: TwoWayTransformer,
    /// `[1, d]`.
    pub iou_token: Embedding,
    /// `[4, d]`.
    pub mask_tokens: Embedding,
    /// `[1, d]`.
    pub obj_score_token: Embedding,
    /// s16 to s4.
    pub output_upscaling: Upscaling,
    /// d to d/8 on the s4 level, run once per image.
    pub conv_s0: Conv2d,
    /// d to d/4 on the s8 level, run once per image.
    pub conv_s1: Conv2d,
    /// One per mask: d to d/8.
    pub output_hypernetworks_mlps: Vec<Mlp>,
    /// Predicted IoU of the four masks.
    pub iou_prediction_head: Mlp,
    /// Is the object in the frame?
    pub pred_obj_score_head: Mlp,
    /// Whether an unstable single mask is replaced.
    dynamic_multimask: bool,
}

/// Everything one decoder pass computes, before any choice.
#[derive(Debug, Clone)]
pub struct Candidates {
    /// Logits `[B, 4, s4, s4]`: the single mask, then the three candidates.
    pub masks: Tensor<4>,
    /// Predicted IoU `[B, 4]`, in 0..=1.
    pub ious: Tensor<2>,
    /// Mask tokens `[B, 4, d]`, raw material of the object pointer.
    pub tokens: Tensor<3>,
    /// Logit that the object is present, `[B, 1]`.
    pub object_score_logits: Tensor<2>,
}

/// The masks a caller asked for.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// `[B, M, s4, s4]`: M = 3 candidates, or 1.
    pub low_res_masks: Tensor<4>,
    /// `[B, M]`.
    pub ious: Tensor<2>,
    /// `[B, M, d]`: tokens of candidates 1..=3, or token 0 (even when the stability rule chose another mask).
    pub tokens: Tensor<3>,
    /// `[B, 1]`.
    pub object_score_logits: Tensor<2>,
    /// All four, for training.
    pub raw: Candidates,
}

impl Decoded {
    /// The mask with the best predicted IoU of each prompt: masks `[B, 1, s4, s4]`, IoU `[B, 1]`, token `[B, d]`.
    pub fn best(&self) -> (Tensor<4>, Tensor<2>, Tensor<2>) {
        let choice = best_of(self.ious.clone());
        let [b, _, d] = self.tokens.dims();
        let token =
            (self.tokens.clone() * choice.clone().unsqueeze_dim::<3>(2)).sum_dim(1).reshape([b, d]);
        (
            chosen_masks(self.low_res_masks.clone(), choice.clone()),
            (self.ious.clone() * choice).sum_dim(1),
            token,
        )
    }
}

/// `[B, M]` with a one at the first largest value of each row.
fn best_of(values: Tensor<2>) -> Tensor<2> {
    let [_, m] = values.dims();
    let device = values.device();
    let best = values.argmax(1);
    let columns = Tensor::<1, burn::tensor::Int>::arange(0..m as i64, &device).reshape([1, m]);
    best.equal(columns).float()
}

/// Sum of masks `[B, M, s, s]` weighted by one-hot `[B, M]`, `[B, 1, s, s]`.
fn chosen_masks(masks: Tensor<4>, choice: Tensor<2>) -> Tensor<4> {
    let [b, m, h, w] = masks.dims();
    let flat = masks.reshape([b, m, h * w]);
    product(choice.reshape([b, 1, m]), flat).reshape([b, 1, h, w])
}

impl Candidates {
    /// Masks 1..=3 if `multimask`, else mask 0; with `replace_unstable`, mask 0 gives way to the best of 1..=3 where its
    /// area depends much on the threshold (`dynamic_multimask_via_stability`, evaluation only).
    pub fn select(self, multimask: bool, replace_unstable: bool) -> Decoded {
        let part = |from: usize, n: usize| {
            (
                self.masks.clone().narrow(1, from, n),
                self.ious.clone().narrow(1, from, n),
                self.tokens.clone().narrow(1, from, n),
            )
        };
        let (mut low_res_masks, mut ious, tokens) =
            if multimask { part(1, MASKS - 1) } else { part(0, 1) };
        if !multimask && replace_unstable {
            let (three, three_ious, _) = part(1, MASKS - 1);
            let choice = best_of(three_ious.clone());
            let stable = stability(low_res_masks.clone()).greater_equal_scalar(STABLE).float();
            let other = stable.clone().neg() + 1.0;
            let weights = Tensor::cat(vec![stable, choice * other], 1);
            low_res_masks =
                chosen_masks(Tensor::cat(vec![low_res_masks, three], 1), weights.clone());
            ious = (Tensor::cat(vec![ious, three_ious], 1) * weights).sum_dim(1);
        }
        let object_score_logits = self.object_score_logits.clone();
        Decoded { low_res_masks, ious, tokens, object_score_logits, raw: self }
    }
}

/// Area at a raised threshold over area at a lowered one, `[B, 1, s, s]` to `[B, 1]`; 1 for an empty mask.
pub fn stability(masks: Tensor<4>) -> Tensor<2> {
    let [b, _, h, w] = masks.dims();
    let flat = masks.reshape([b, h * w]);
    let area = |threshold: f64| flat.clone().greater_scalar(threshold).float().sum_dim(1);
    let (inner, outer) = (area(STABILITY_DELTA), area(-STABILITY_DELTA));
    let empty = outer.clone().equal_scalar(0.0f32).float();
    (inner + empty.clone()) / (outer + empty)
}

impl MaskDecoder {
    /// An untrained decoder.
    pub fn init(config: &ModelConfig, device: &Device) -> Self {
        let (d, c) = (config.neck.d_model, &config.decoder);
        let head = |hidden: usize, out: usize| {
            Mlp::init(&[d, hidden, hidden, out], Activation::Relu, device)
        };
        Self {
            transformer: TwoWayTransformer::init(d, c.depth, c.num_heads, c.mlp_dim, device),
            iou_token: Embedding::init(1, d, device),
            mask_tokens: Embedding::init(MASKS, d, device),
            obj_score_token: Embedding::init(1, d, device),
            output_upscaling: Upscaling {
                n0: Deconv2x2::init([d, d / 4], device),
                n1: LayerNorm2d::init(d / 4, device),
                n3: Deconv2x2::init([d / 4, d / 8], device),
            },
            conv_s0: conv([d, d / 8], 1, 1, 0, 1, device),
            conv_s1: conv([d, d / 4], 1, 1, 0, 1, device),
            output_hypernetworks_mlps: (0..MASKS).map(|_| head(d, d / 8)).collect(),
            iou_prediction_head: head(c.iou_head_hidden_dim, MASKS),
            pred_obj_score_head: head(d, 1),
            dynamic_multimask: c.dynamic_multimask,
        }
    }

    /// Whether the card asks for the stability rule.
    pub fn dynamic_multimask(&self) -> bool {
        self.dynamic_multimask
    }

    /// The four masks of each of B prompts (`predict_masks`).
    ///
    /// `src` `[B, d, h, w]` is image feature plus dense prompt, `pe` `[1, d, h, w]` the dense position encoding,
    /// `sparse` `[B, T, d]` the prompt tokens; `high_res` are s4 `[B or 1, d/8, 4h, 4w]` and s8 `[B or 1, d/4, 2h, 2w]`.
    pub fn forward(
        &self,
        src: Tensor<4>,
        pe: Tensor<4>,
        sparse: Tensor<3>,
        high_res: [Tensor<4>; 2],
    ) -> Candidates {
        let [_, d, h, w] = src.dims();
        let tokens = self.tokens(sparse);
        let b = tokens.dims()[0];
        let (tokens, image) = self.transformer.forward(to_tokens(src), to_tokens(pe), tokens);
        let upscaled = self.upscaled(image, [h, w], high_res);
        let mask_tokens = tokens.clone().narrow(1, 2, MASKS);
        let hyper = self.output_hypernetworks_mlps.iter().enumerate();
        let hyper =
            hyper.map(|(i, mlp)| mlp.forward(mask_tokens.clone().narrow(1, i, 1))).collect();
        let hyper = Tensor::cat(hyper, 1);
        let masks = product(hyper, upscaled.reshape([b, d / 8, 16 * h * w]));
        let token = |i: usize| tokens.clone().narrow(1, i, 1).reshape([b, d]);
        Candidates {
            masks: masks.reshape([b, MASKS, 4 * h, 4 * w]),
            ious: self.iou_prediction_head.forward_sigmoid(token(1)),
            tokens: mask_tokens,
            object_score_logits: self.pred_obj_score_head.forward(token(0)),
        }
    }

    /// Image tokens `[B, h * w, d]` to `[B, d / 8, 4 h, 4 w]`, with the fine features.
    pub fn upscaled(
        &self,
        image: Tensor<3>,
        size: [usize; 2],
        high_res: [Tensor<4>; 2],
    ) -> Tensor<4> {
        cpu::upscale(&self.output_upscaling, &image, size, &high_res)
            .unwrap_or_else(|| self.output_upscaling.forward(from_tokens(image, size), high_res))
    }

    /// Object score, IoU and mask tokens before the prompt tokens: `[B, 6 + T, d]`.
    pub fn tokens(&self, sparse: Tensor<3>) -> Tensor<3> {
        let [b, _, d] = sparse.dims();
        let own =
            vec![self.obj_score_token.table(), self.iou_token.table(), self.mask_tokens.table()];
        let own = Tensor::cat(own, 0).reshape([1, 2 + MASKS, d]).expand([b, 2 + MASKS, d]);
        Tensor::cat(vec![own, sparse], 1)
    }
}

/// s16 to s4 in two steps, with the fine features; numbered as in the `nn.Sequential`.
#[derive(Module, Debug)]
pub struct Upscaling {
    pub(super) n0: Deconv2x2,
    pub(super) n1: LayerNorm2d,
    pub(super) n3: Deconv2x2,
}

impl Upscaling {
    /// `[B, d, h, w]` to `[B, d / 8, 4 h, 4 w]`, in Burn's operations.
    pub fn forward(&self, src: Tensor<4>, [s4, s8]: [Tensor<4>; 2]) -> Tensor<4> {
        let x = gelu(self.n1.forward(self.n0.forward(src) + s8));
        gelu(self.n3.forward(x) + s4)
    }
}

/// The two-way transformer.
#[derive(Module, Debug)]
pub struct TwoWayTransformer {
    /// The layers.
    pub layers: Vec<TwoWayLayer>,
    /// One last look of the tokens at the image.
    pub final_attn_token_to_image: TwoWayAttention,
    /// After it.
    pub norm_final_attn: LayerNorm,
}

impl TwoWayTransformer {
    fn init(d: usize, depth: usize, heads: usize, mlp_dim: usize, device: &Device) -> Self {
        Self {
            layers: (0..depth)
                .map(|i| TwoWayLayer::init(d, heads, mlp_dim, i == 0, device))
                .collect(),
            final_attn_token_to_image: TwoWayAttention::init(d, d / 2, heads, device),
            norm_final_attn: LayerNorm::init(d, EPS_DEFAULT, device),
        }
    }

    /// Image tokens `[B, N, d]`, their encoding `[1 or B, N, d]` and query tokens `[B, T, d]` to the new query tokens and
    /// image tokens, same shapes.
    pub fn forward(
        &self,
        image: Tensor<3>,
        image_pe: Tensor<3>,
        tokens: Tensor<3>,
    ) -> (Tensor<3>, Tensor<3>) {
        cpu::two_way(self, &image, &image_pe, &tokens)
            .unwrap_or_else(|| self.forward_by_parts(image, image_pe, tokens))
    }

    /// As [`Self::forward`], part by part on every device: the way with gradients and on a GPU.
    pub fn forward_by_parts(
        &self,
        image: Tensor<3>,
        image_pe: Tensor<3>,
        tokens: Tensor<3>,
    ) -> (Tensor<3>, Tensor<3>) {
        let pe = tokens.clone();
        let (mut tokens, mut image) = (tokens, image);
        for layer in &self.layers {
            (tokens, image) = layer.forward(tokens, image, pe.clone(), image_pe.clone());
        }
        let (q, k) = (tokens.clone() + pe, image.clone() + image_pe);
        let tokens = self.final_attn_token_to_image.added_to(tokens, q, k, image.clone());
        (self.norm_final_attn.forward(tokens), image)
    }
}

/// One layer (`TwoWayAttentionBlock`), post-norm.
#[derive(Module, Debug)]
pub struct TwoWayLayer {
    pub(super) self_attn: TwoWayAttention,
    pub(super) norm1: LayerNorm,
    /// Public so that training can tie its projections.
    pub cross_attn_token_to_image: TwoWayAttention,
    pub(super) norm2: LayerNorm,
    pub(super) mlp: Mlp,
    pub(super) norm3: LayerNorm,
    pub(super) norm4: LayerNorm,
    /// Public so that training can tie its projections.
    pub cross_attn_image_to_token: TwoWayAttention,
    pub(super) first: bool,
}

impl TwoWayLayer {
    fn init(d: usize, heads: usize, mlp_dim: usize, first: bool, device: &Device) -> Self {
        let norm = || LayerNorm::init(d, EPS_DEFAULT, device);
        Self {
            self_attn: TwoWayAttention::init(d, d, heads, device),
            norm1: norm(),
            cross_attn_token_to_image: TwoWayAttention::init(d, d / 2, heads, device),
            norm2: norm(),
            mlp: Mlp::init(&[d, mlp_dim, d], Activation::Relu, device),
            norm3: norm(),
            norm4: norm(),
            cross_attn_image_to_token: TwoWayAttention::init(d, d / 2, heads, device),
            first,
        }
    }

    fn forward(
        &self,
        t: Tensor<3>,
        image: Tensor<3>,
        pe: Tensor<3>,
        image_pe: Tensor<3>,
    ) -> (Tensor<3>, Tensor<3>) {
        let t = if self.first {
            self.self_attn.forward(t.clone(), t.clone(), t)
        } else {
            let q = t.clone() + pe.clone();
            self.self_attn.added_to(t.clone(), q.clone(), q, t)
        };
        let t = self.norm1.forward(t);
        let k = image.clone() + image_pe;
        let q = t.clone() + pe.clone();
        let seen = self.cross_attn_token_to_image.added_to(t, q, k.clone(), image.clone());
        let t = self.norm2.forward(seen);
        let t = self.norm3.forward(self.mlp.added_to(t.clone(), t));
        let q = t.clone() + pe;
        let told = self.cross_attn_image_to_token.added_to(image, k, q, t.clone());
        (t, self.norm4.forward(told))
    }
}

/// Attention with its own inner width (`transformer.Attention`).
#[derive(Module, Debug)]
pub struct TwoWayAttention {
    /// d to inner.
    pub q_proj: Linear,
    /// d to inner.
    pub k_proj: Linear,
    /// d to inner.
    pub v_proj: Linear,
    /// inner to d.
    pub out_proj: Linear,
    pub(super) heads: usize,
}

impl TwoWayAttention {
    fn init(d: usize, inner: usize, heads: usize, device: &Device) -> Self {
        let into = || Linear::init(d, inner, device);
        Self {
            q_proj: into(),
            k_proj: into(),
            v_proj: into(),
            out_proj: Linear::init(inner, d, device),
            heads,
        }
    }

    /// q `[B, Nq, d]`, k and v `[B, Nk, d]` to `[B, Nq, d]`.
    pub fn forward(&self, q: Tensor<3>, k: Tensor<3>, v: Tensor<3>) -> Tensor<3> {
        self.out_proj.forward(self.read(q, k, v))
    }

    /// `to` and the answer of [`Self::forward`].
    fn added_to(&self, to: Tensor<3>, q: Tensor<3>, k: Tensor<3>, v: Tensor<3>) -> Tensor<3> {
        self.out_proj.added_to(to, self.read(q, k, v))
    }

    fn read(&self, q: Tensor<3>, k: Tensor<3>, v: Tensor<3>) -> Tensor<3> {
        let heads = |t: Tensor<3>| split_heads(t, self.heads);
        join_heads(attend(
            heads(self.q_proj.forward(q)),
            heads(self.k_proj.forward(k)),
            heads(self.v_proj.forward(v)),
        ))
    }
}
