//! Attention as a product, a softmax in place and a product, for as many queries at a time as their scores may take memory.
//!
//! What decides whether this file is right: keys that do not count are so by their bias alone; queries do not meet, so
//! where they are cut changes nothing.

use burn::tensor::{DType, Tensor};

use super::product::{Asked, Matrices, multiplied};
use super::rows::softmax;
use super::{back, held, in_order};
use crate::net::budget::GPU_SCORES_BYTES;

/// Scores held at a time.
const SCORES_MAX: usize = GPU_SCORES_BYTES as usize / size_of::<f32>();

/// `softmax(q kᵀ * scale + bias) v`, shapes as in [`crate::net::blocks::attend_where`].
pub(in crate::net) fn attention(
    [q, k, v]: [&Tensor<4>; 3],
    bias: Option<&Tensor<4>>,
    scale: f32,
) -> Option<Tensor<4>> {
    let ours = |x: &&Tensor<4>| held(x).is_some_and(|x| x.dtype == DType::F32);
    if ![q, k, v].iter().all(ours) {
        return None;
    }
    let bias = match bias {
        Some(bias) => Some(in_order(bias)?),
        None => None,
    };
    let [b, heads, queries, _] = q.dims();
    let block = (SCORES_MAX / (b * heads * k.dims()[2])).clamp(1, queries);
    let mut parts = Vec::new();
    for at in (0..queries).step_by(block) {
        let some = block.min(queries - at);
        let q = if some == queries { q.clone() } else { q.clone().narrow(2, at, some) };
        let asked = Asked { scale: Some(scale), ..Asked::default() };
        let scores = multiplied(Matrices::of(&q)?, Matrices::of(k)?.turned(), asked)?;
        let weights = softmax(scores, bias.clone())?;
        let asked = Asked { joined: true, ..Asked::default() };
        let read = multiplied(Matrices::with(weights)?, Matrices::of(v)?, asked)?;
        parts.push(back(read));
    }
    Some(if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(parts, 2) })
}
