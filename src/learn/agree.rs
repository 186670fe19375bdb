//! Whether two devices find the same gradients, asked before a run on a GPU starts.
//!
//! Burn has open reports of wrong gradients beside frozen parts, so the question is put as fine-tuning puts it: the
//! encoder is frozen, the decoder learns. One small image, fixed points, one decoder pass; no decision depends on
//! rounding, so what differs is arithmetic.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

use super::TrainError;
use super::loss::{actual_iou, cross_entropy, dice, focal};
use super::optimise::{AdamW, Optimiser};
use crate::net::blocks::constant;
use crate::net::config::{ModelCard, WeightsOrigin};
use crate::net::device::cpu;
use crate::net::prompt_encoder::{PointBatch, PointLabel};
use crate::net::resize::{Kernel, resize};
use crate::net::sam2::{ImageFeatures, Prompts, Sam2};
use crate::net::weights::WeightsError;

/// Larger differences are no rounding, as a part of a tensor's largest gradient.
pub const MOST_APART: f32 = 1e-2;
/// Gradients below this are noise, such as those of key biases, which softmax cancels.
const LEAST: f32 = 1e-4;
const SIDE: usize = 64;

/// How far two devices are apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Gap {
    /// Parameters that have a gradient.
    pub parameters: usize,
    /// Largest difference of any gradient over the largest gradient of its tensor.
    pub apart: f32,
    /// The parameter where that is.
    pub parameter: String,
}

/// Compares what `device`, a GPU, and the CPU find with the weights `safetensors` (without any, with random ones); the
/// comparison in words.
///
/// # Errors
/// Weights that do not fit the card, and a gap that is no rounding.
pub fn trusted(
    card: &ModelCard,
    safetensors: Option<&[u8]>,
    device: &Device,
) -> Result<String, TrainError> {
    let cpu = cpu("").device;
    let weights = match safetensors {
        Some(weights) => weights.to_vec(),
        None => card.network.init(&cpu).to_safetensors()?,
    };
    believed(&gradient_gap(card, &weights, [&cpu, device])?)
}

fn believed(gap: &Gap) -> Result<String, TrainError> {
    let words = format!(
        "gradients of {} parameters: GPU and CPU differ by at most {:.1e} of the largest ({})",
        gap.parameters, gap.apart, gap.parameter
    );
    match gap.apart > MOST_APART {
        true => Err(TrainError::Gradients(words)),
        false => Ok(words),
    }
}

/// Compares the gradients of the card's network, with the weights `safetensors`, on two devices (without gradients).
///
/// # Errors
/// Weights that do not fit the card.
pub fn gradient_gap(
    card: &ModelCard,
    safetensors: &[u8],
    devices: [&Device; 2],
) -> Result<Gap, WeightsError> {
    let unhashed = WeightsOrigin { sha256: String::new(), ..card.weights.clone() };
    let found = |device: &Device| -> Result<Vec<(String, Vec<f32>)>, WeightsError> {
        let device = device.clone().autodiff();
        let net = card.network.init(&device);
        let mut net = net.load_bytes("comparison", safetensors.to_vec(), &unhashed)?;
        net.image_encoder = net.image_encoder.no_grad();
        let loss = small_loss(&net, &device);
        let optimiser = Optimiser::new(&net, AdamW::default());
        let grads = GradientsParams::from_grads(loss.backward(), &net);
        let grads = optimiser.gather(&net, grads);
        let named = optimiser.slots.iter().zip(grads);
        Ok(named.filter_map(|(slot, grad)| Some((slot.name.clone(), grad?))).collect())
    };
    let [one, other] = [found(devices[0])?, found(devices[1])?];
    let mut gap = Gap { parameters: one.len(), apart: 0.0, parameter: String::new() };
    if one.len() != other.len() {
        gap.apart = f32::INFINITY;
    }
    for ((name, a), (_, b)) in one.iter().zip(&other) {
        let scale = a.iter().fold(LEAST, |m, v| m.max(v.abs()));
        // A NaN is as far as can be; `f32::max` would pass over it.
        let most = |m: f32, d: f32| if d.is_nan() { f32::INFINITY } else { m.max(d) };
        let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, most) / scale;
        if apart > gap.apart || apart.is_nan() {
            gap.apart = if apart.is_nan() { f32::INFINITY } else { apart };
            gap.parameter.clone_from(name);
        }
    }
    Ok(gap)
}

/// A loss that reaches every part of the still path behind the encoder.
fn small_loss(net: &Sam2, device: &Device) -> Tensor<1> {
    let wave = |i: usize| ((i % 977) as f32 * 0.37).sin() + ((i / SIDE) as f32 * 0.11).cos();
    let image = constant((0..3 * SIDE * SIDE).map(wave).collect(), [1, 3, SIDE, SIDE], device);
    let all = net.encode_image(image);
    let features = ImageFeatures::new(all.pix_feat.detach(), all.high_res.map(Tensor::detach));
    let disc = |i: usize| {
        f32::from(u8::from(((i % SIDE) as f32 - 30.0).hypot((i / SIDE) as f32 - 28.0) < 14.0))
    };
    let target = constant((0..SIDE * SIDE).map(disc).collect(), [1, 1, SIDE, SIDE], device);
    let points = match net.config().prompts.boundary_embedding {
        true => [([44.0, 28.0], PointLabel::Boundary), ([16.0, 28.0], PointLabel::Boundary)],
        false => [([30.0, 28.0], PointLabel::Inside), ([55.0, 50.0], PointLabel::Outside)],
    };
    let prompts = Prompts { points: PointBatch::new(&[points.to_vec()]), mask: None };
    let raw = net.decode(&features, &prompts, false).raw;
    let [_, count, _, _] = raw.masks.dims();
    let logits = resize(raw.masks, [SIDE; 2], Kernel::Bilinear);
    let target = target.expand([1, count, SIDE, SIDE]);
    let mask = focal(logits.clone(), target.clone()) * 20.0 + dice(logits.clone(), target.clone());
    let iou = (raw.ious - actual_iou(logits, target)).powi_scalar(2);
    let present = Tensor::ones_like(&raw.object_score_logits);
    mask.sum() + iou.sum() + cross_entropy(raw.object_score_logits, present).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_that_differ_by_more_than_rounding_end_the_run() {
        let gap = |apart| Gap { parameters: 7, apart, parameter: "neck.bias".into() };
        assert!(believed(&gap(MOST_APART)).is_ok_and(|words| words.contains("of 7 parameters")));
        for apart in [1.1 * MOST_APART, f32::INFINITY] {
            let why = believed(&gap(apart)).expect_err("no rounding").to_string();
            assert!(
                why.contains("(neck.bias)") && why.ends_with("train with --device cpu"),
                "{why}"
            );
        }
    }
}
