//! Gradients: of the whole network against those of the reference, and on a GPU against the CPU.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
#[cfg(feature = "gpu")]
use sonomark::learn::agree::MOST_APART;
use sonomark::learn::agree::gradient_gap;
use sonomark::learn::loss::{actual_iou, cross_entropy, dice, focal, least_of};
#[cfg(feature = "gpu")]
use sonomark::net::device::{self, DeviceWant};
use sonomark::net::prompt_encoder::{PointBatch, PointLabel};
use sonomark::net::resize::{Kernel, resize};
use sonomark::net::sam2::{ImageFeatures, Prompts, Sam2};

use crate::golden_weights::{Golden, golden_card, golden_model};
use crate::net_image::{IMG, golden_features, numbers};
#[cfg(feature = "gpu")]
use crate::surroundings::gpu;

/// Names of the reference's parameters in the order of `grad_norms`.
const KEYS: &str = include_str!("../data/golden/grad_keys.txt");

/// Gradients by the reference's names.
struct Collect {
    path: Vec<String>,
    grads: GradientsParams,
    found: BTreeMap<String, Vec<f32>>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _: &str) {
        // Fields cannot be numbers: n0 is the reference's 0.
        let number = name.strip_prefix('n').filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
        self.path.push(number.unwrap_or(name).to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            self.found.insert(self.path.join("."), numbers(grad));
        }
    }
}

fn gradients(loss: &Tensor<1>, model: &Sam2) -> BTreeMap<String, Vec<f32>> {
    let grads = GradientsParams::from_grads(loss.clone().backward(), model);
    let mut collect = Collect { path: Vec::new(), grads, found: BTreeMap::new() };
    model.visit(&mut collect);
    collect.found
}

/// SAM 2's loss of one decoder pass: its parts (mask, Dice, IoU, object score) of the chosen candidate, and the sum.
fn sam_loss(
    model: &Sam2,
    features: &ImageFeatures,
    points: &[([f32; 2], PointLabel)],
    target: &Tensor<4>,
) -> (Vec<f32>, Tensor<1>) {
    let prompts = Prompts { points: PointBatch::new(&[points.to_vec()]), mask: None };
    let (first, count) = if points.len() == 1 { (1, 3) } else { (0, 1) };
    let raw = model.decode(features, &prompts, count == 3).raw;
    let side = target.dims()[2];
    let low_res = raw.masks.narrow(1, first, count);
    let logits = resize(low_res, [side; 2], Kernel::Bilinear);
    let target = target.clone().expand([1, count, side, side]);
    let (focal, dice) =
        (focal(logits.clone(), target.clone()), dice(logits.clone(), target.clone()));
    let choice = least_of(&(focal.clone() * 20.0 + dice.clone()));
    let ious = raw.ious.narrow(1, first, count);
    let iou = (ious - actual_iou(logits, target)).abs().mean_dim(1).reshape([1]);
    let class =
        cross_entropy(raw.object_score_logits.clone(), Tensor::ones_like(&raw.object_score_logits));
    let class = class.reshape([1]);
    let [focal, dice] = [focal, dice].map(|x| (x * choice.clone()).sum_dim(1).reshape([1]));
    let parts = [&focal, &dice, &iou, &class].iter().flat_map(|x| numbers((*x).clone())).collect();
    (parts, focal * 20.0 + dice + iou + class)
}

#[test]
fn net_gradients_of_the_whole_network_are_the_references() {
    let device = Device::flex().autodiff();
    let (golden, image) = (Golden::open("golden_nano_loss.safetensors"), Golden::open(IMG));
    let model = golden_model(&golden_card().network, &device);
    let shape: [usize; 3] = golden.shape("loss.target").try_into().unwrap();
    let target = TensorData::new(golden.values("loss.target").to_vec(), [1, 1, shape[1], shape[2]]);
    let target = Tensor::from_data(target, &device);
    for case in ["one_click_multimask", "three_clicks_single"] {
        let values = |part: &str| golden.values(&format!("loss.{case}.{part}"));
        let label = |v: &f32| if *v > 0.5 { PointLabel::Inside } else { PointLabel::Outside };
        let at = values("points").chunks_exact(2).map(|p| [p[0], p[1]]);
        let points: Vec<_> = at.zip(values("labels").iter().map(label)).collect();
        let features = golden_features(&model, &image, &device);
        let (parts, loss) = sam_loss(&model, &features, &points, &target);
        let total = numbers(loss.clone())[0];
        for (found, wanted) in parts.iter().chain([&total]).zip(values("values")) {
            assert!(
                (found - wanted).abs() < 1e-4 * wanted.abs().max(1.0),
                "{case}: {parts:?} {total}"
            );
        }
        let found = gradients(&loss, &model);
        let mut worst = (0.0f64, "");
        let mut alive = 0;
        for (key, wanted) in KEYS.lines().zip(values("grad_norms")) {
            let squares = found.get(key).into_iter().flatten().map(|v| f64::from(*v).powi(2));
            let (norm, wanted) = (squares.sum::<f64>().sqrt(), f64::from(*wanted));
            alive += usize::from(wanted > 0.0);
            let off = (norm - wanted).abs() / (wanted + 1e-3);
            if off > worst.0 {
                worst = (off, key);
            }
        }
        println!(
            "{case}: {alive} parameters with a gradient, norms off by at most {:.1e} ({})",
            worst.0, worst.1
        );
        assert!(alive > 200 && worst.0 < 2e-3, "{case}: {worst:?}");
        let prefix = format!("loss.{case}.grad.");
        let whole =
            golden.all().iter().filter_map(|(n, (_, v))| Some((n.strip_prefix(&prefix)?, v)));
        for (key, wanted) in whole {
            let scale = wanted.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            let got = &found[key];
            let off = got.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            println!("{case}: {key} off by {off:.1e} of {scale:.1e}");
            assert!(
                got.len() == wanted.len() && off < 2e-3 * scale,
                "{case}: {key} {off} of {scale}"
            );
        }
    }
}

/// What is asked before a run on a GPU starts; a software GPU will do.
#[cfg(feature = "gpu")]
#[test]
fn net_gradients_beside_a_frozen_encoder_agree_on_gpu_and_cpu() {
    let Some(first) = gpu() else { return };
    let gpu = device::pick(DeviceWant::Gpu(Some(first.index))).expect("the self-test").device;
    let card = golden_card();
    let weights = golden_model(&card.network, &Device::flex()).to_safetensors().unwrap();
    let gap = gradient_gap(&card, &weights, [&Device::flex(), &gpu]).unwrap();
    println!("{gap:?}");
    assert!(gap.parameters > 100 && gap.apart < MOST_APART, "{gap:?}");
}

#[test]
fn net_the_comparison_of_gradients_reaches_all_but_the_encoder() {
    let (card, cpu) = (golden_card(), Device::flex());
    let weights = golden_model(&card.network, &cpu).to_safetensors().unwrap();
    let gap = gradient_gap(&card, &weights, [&cpu, &cpu]).unwrap();
    assert!(gap.parameters > 100 && gap.apart == 0.0, "{gap:?}");
    // Numbers that are none are as far apart as can be, also from themselves.
    let mut broken = golden_model(&card.network, &cpu);
    broken.no_mem_embed = broken.no_mem_embed.map(|weight| weight * f32::NAN);
    let gap = gradient_gap(&card, &broken.to_safetensors().unwrap(), [&cpu, &cpu]).unwrap();
    assert!(gap.apart == f32::INFINITY && !gap.parameter.is_empty(), "{gap:?}");
}
