//! From conditioned features and prompts to one decided mask and its object pointer, as functions of tensors alone.
//!
//! What decides whether this file is right: masks are gated to -1024 where the score says absent, BEFORE the best
//! candidate is chosen; the pointer is mixed with `no_obj_ptr` by the same hard gate; a mask given as the answer goes
//! through the decoder only for its pointer, on the raw features. Source: `SAM2Base._forward_sam_heads`,
//! `_use_mask_as_output`. Golden `vid.*.low_multi`, `low`, `ious`, `ptr`, `obj`.

use burn::tensor::Tensor;

use super::conditioning::Presence;
use crate::net::mask_decoder::Decoded;
use crate::net::prompt_encoder::PointBatch;
use crate::net::resize::{Kernel, resize};
use crate::net::sam2::{Prompts, Sam2};

/// The logit of every pixel of an absent object.
pub(super) const ABSENT_LOGIT: f32 = -1024.0;

/// One decided frame of B objects.
#[derive(Clone, Debug)]
pub struct Decided {
    /// Gated logits of every candidate, `[B, M, s, s]`: M = 3 if multimask, else 1.
    pub candidates: Tensor<4>,
    /// Their estimated IoU `[B, M]`.
    pub candidate_ious: Tensor<2>,
    /// Gated logits of the best candidate, `[B, 1, s, s]`.
    pub low_res_masks: Tensor<4>,
    /// Its estimated IoU `[B, 1]`.
    pub iou: Tensor<2>,
    /// Object pointer `[B, d_model]`, mixed with `no_obj_ptr`.
    pub obj_ptr: Tensor<2>,
    /// Raw score `[B, 1]`, whatever [`Presence`] said.
    pub object_score_logits: Tensor<2>,
    /// The decoder's full answer before any gate, for training; of a given mask: what made its pointer.
    pub raw: Decoded,
}

impl Sam2 {
    /// Decides a frame from features `pix_feat` `[B, d_model, h, w]` (conditioned, or plus `no_mem_embed`), the fine
    /// features and the prompts.
    ///
    /// `multimask` asks for three candidates: at most one click, or none at all (a walk). `presence` says whether the
    /// object score may declare the object absent.
    pub fn decide(
        &self,
        pix_feat: Tensor<4>,
        high_res: &[Tensor<4>; 2],
        prompts: &Prompts,
        multimask: bool,
        presence: Presence,
    ) -> Decided {
        self.decide_with_prior(pix_feat, high_res, prompts, None, multimask, presence)
    }

    /// As [`Self::decide`], with the logits of a contour known from elsewhere (see [`Sam2::decode_with_prior`]).
    pub fn decide_with_prior(
        &self,
        pix_feat: Tensor<4>,
        high_res: &[Tensor<4>; 2],
        prompts: &Prompts,
        given: Option<Tensor<4>>,
        multimask: bool,
        presence: Presence,
    ) -> Decided {
        let raw = self.decode_with_prior(pix_feat, high_res.clone(), prompts, given, multimask);
        let score = raw.object_score_logits.clone();
        let present = presence.gate(&score);
        let (best, iou, token) = raw.best();
        Decided {
            candidates: gate_masks(raw.low_res_masks.clone(), &present),
            candidate_ious: raw.ious.clone(),
            low_res_masks: gate_masks(best, &present),
            iou,
            obj_ptr: self.pointer(token, present),
            object_score_logits: score,
            raw,
        }
    }

    /// Takes `mask` `[B, 1, S, S]` of zeros and ones as the answer; the decoder only makes its pointer, from the raw
    /// features `pix_feat` `[B, d_model, h, w]` (no memory, not even `no_mem_embed`). The score is ±10 by whether the
    /// mask is empty.
    pub fn decide_from_mask(
        &self,
        pix_feat: Tensor<4>,
        high_res: &[Tensor<4>; 2],
        mask: Tensor<4>,
        presence: Presence,
    ) -> Decided {
        let [b, _, h, w] = mask.dims();
        let shown = mask.clone().reshape([b, h * w]).max_dim(1).greater_elem(0.0).float();
        let score = shown * 20.0 - 10.0;
        let prompts = Prompts {
            points: PointBatch::none(b),
            mask: Some(self.mask_downsample.forward(mask.clone())),
        };
        let made = self.decide(pix_feat, high_res, &prompts, false, Presence::Given);
        // The decoder's own score gates its pointer first, then the mask's emptiness does, as upstream.
        let own = presence.gate(&made.object_score_logits);
        let mixed = self.mix_pointer(made.obj_ptr, own);
        let present = presence.gate(&score);
        let low_res = resize(mask * 20.0 - 10.0, [h / 4, w / 4], Kernel::BilinearAa);
        Decided {
            candidates: low_res.clone(),
            candidate_ious: Tensor::ones([b, 1], &low_res.device()),
            low_res_masks: low_res.clone(),
            iou: Tensor::ones([b, 1], &low_res.device()),
            obj_ptr: self.mix_pointer(mixed, present),
            object_score_logits: score,
            raw: made.raw,
        }
    }

    /// Mask token `[B, d_model]` to object pointer, mixed by `present` `[B, 1]`.
    fn pointer(&self, token: Tensor<2>, present: Tensor<2>) -> Tensor<2> {
        self.mix_pointer(self.obj_ptr_proj.forward(token), present)
    }

    fn mix_pointer(&self, ptr: Tensor<2>, present: Tensor<2>) -> Tensor<2> {
        let absent = present.clone().neg() + 1.0;
        ptr * present + absent * self.no_obj_ptr.val()
    }
}

/// `masks` `[B, M, s, s]` where `present` `[B, 1]` is 1, else [`ABSENT_LOGIT`].
fn gate_masks(masks: Tensor<4>, present: &Tensor<2>) -> Tensor<4> {
    let [b, m, h, w] = masks.dims();
    let absent = present.clone().equal_elem(0.0).reshape([b, 1, 1, 1]).expand([b, m, h, w]);
    masks.mask_fill(absent, ABSENT_LOGIT)
}
