//! Parity of the still-image path with the reference implementation, stage by stage.

use crate::golden_weights::{Golden, assert_close, golden_card, golden_model};
use crate::net_model::shipped_shape;
use burn::tensor::{Device, Tensor, TensorData};
use sonomark::domain::{FramePrompts, GrayFrame, PointKind, PointPx, curve_logits};
use sonomark::net::blocks;
use sonomark::net::config::Fit;
use sonomark::net::letterbox::Letterbox;
use sonomark::net::prompt_encoder::{PointBatch, PointLabel};
use sonomark::net::resize::{Kernel, nearest2x, resize, resize_plane};
use sonomark::net::sam2::{ImageFeatures, Prompts, Sam2};
use std::slice::from_ref;

pub(crate) const IMG: &str = "golden_nano_img.safetensors";
const UNIT: &str = "golden_nano_unit.safetensors";

pub(crate) fn tensor<const D: usize>(golden: &Golden, name: &str, device: &Device) -> Tensor<D> {
    let shape: [usize; D] = golden.shape(name).try_into().expect("rank as asked");
    Tensor::from_data(TensorData::new(golden.values(name).to_vec(), shape), device)
}

pub(crate) fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.try_into_vec_as::<f32>().expect("f32 tensor")
}

fn label(value: f32) -> PointLabel {
    match value as i32 {
        0 => PointLabel::Outside,
        1 => PointLabel::Inside,
        _ => unreachable!("golden labels are 0 and 1"),
    }
}

/// The prompt of a golden case: box corners first, then points.
pub(crate) fn golden_prompt(golden: &Golden, case: &str, device: &Device) -> Prompts {
    let mut points = Vec::new();
    let pairs = |name: &str| -> Vec<[f32; 2]> { golden.values(name).as_chunks::<2>().0.to_vec() };
    let name = |part: &str| format!("img.{case}.{part}");
    if golden.has(&name("box_model")) {
        let corners = pairs(&name("box_model"));
        points.push((corners[0], PointLabel::BoxMin));
        points.push((corners[1], PointLabel::BoxMax));
    }
    if golden.has(&name("coords_model")) {
        let labels = golden.values(&name("labels")).iter().map(|v| label(*v));
        points.extend(pairs(&name("coords_model")).into_iter().zip(labels));
    }
    let mask = name("mask_input");
    Prompts {
        points: PointBatch::new(&[points]),
        mask: golden.has(&mask).then(|| tensor(golden, &mask, device)),
    }
}

pub(crate) fn golden_features(model: &Sam2, golden: &Golden, device: &Device) -> ImageFeatures {
    let image: Tensor<3> = tensor(golden, "img.preproc_bilinear_aa", device);
    model.encode_image(image.unsqueeze())
}

#[test]
fn net_single_operations_match() {
    let g = Golden::open(UNIT);
    let device = Device::flex();
    let x: Tensor<4> = tensor(&g, "unit.bicubic.in", &device);
    g.close("unit.bicubic.out", &numbers(resize(x, [32, 32], Kernel::Bicubic)));
    let x: Tensor<4> = tensor(&g, "unit.bilinear.in", &device);
    for (name, to, kernel) in [
        ("unit.bilinear_aa.down", [16, 16], Kernel::BilinearAa),
        ("unit.bilinear_aa.up", [80, 64], Kernel::BilinearAa),
        ("unit.bilinear.up", [150, 200], Kernel::Bilinear),
        ("unit.bilinear.down", [16, 16], Kernel::Bilinear),
    ] {
        g.close(name, &numbers(resize(x.clone(), to, kernel)));
        g.close(name, &resize_plane(g.values("unit.bilinear.in"), [61, 47], to, kernel));
    }
    g.close("unit.nearest2x.out", &numbers(nearest2x(tensor(&g, "unit.nearest2x.in", &device))));
    let x: Tensor<1> = tensor(&g, "unit.gelu.in", &device);
    g.close("unit.gelu.exact", &numbers(burn::tensor::activation::gelu(x)));
    let mut norm = blocks::LayerNorm2d::init(8, &device);
    norm.weight = burn::module::Param::from_tensor(tensor(&g, "unit.ln2d.weight", &device));
    norm.bias = burn::module::Param::from_tensor(tensor(&g, "unit.ln2d.bias", &device));
    g.close("unit.ln2d.out", &numbers(norm.forward(tensor(&g, "unit.ln2d.in", &device))));
    g.close("unit.sine2d.d32_6x9", &numbers(blocks::sine_pe_2d(32, [6, 9], &device)));
    g.close(
        "unit.sine1d.out",
        &numbers(blocks::sine_pe_1d(g.values("unit.sine1d.pos"), 32, &device)),
    );
}

#[test]
fn net_preprocessing_matches() {
    let g = Golden::open(IMG);
    let [h, w] = [g.shape("img.input_u8")[0], g.shape("img.input_u8")[1]];
    let planes = [0, 1, 2].map(|c| {
        let plane: Vec<f32> =
            g.values("img.input_u8").iter().skip(c).step_by(3).map(|v| v / 255.0).collect();
        Letterbox::new(Fit::Stretch, w, h, 128).plane_to_network(&plane, 0.0)
    });
    let x = golden_card().preprocess.normalised(
        &[&planes[0], &planes[1], &planes[2]],
        128,
        &Device::flex(),
    );
    g.close("img.preproc_bilinear_aa", &numbers(x));
}

#[test]
fn net_encoder_stages_match() {
    let g = Golden::open(IMG);
    let device = Device::flex();
    let model = golden_model(&golden_card().network, &device);
    let trunk = &model.image_encoder.trunk;
    let image: Tensor<3> = tensor(&g, "img.preproc_bilinear_aa", &device);
    let image: Tensor<4> = image.unsqueeze();
    g.close(
        "img.hiera.patch_embed",
        &numbers(blocks::nhwc(trunk.patch_embed.proj.forward(image.clone()))),
    );
    g.close("img.hiera.pos_embed_added", &numbers(trunk.position([32, 32])));
    let mut x = trunk.embed(image.clone());
    for (i, block) in trunk.blocks.iter().enumerate() {
        x = block.forward(x);
        g.close(&format!("img.hiera.block{i}"), &numbers(x.clone()));
    }
    let stages = trunk.forward(image.clone());
    for (k, stage) in stages.iter().enumerate() {
        g.close(&format!("img.hiera.stage.{k}"), &numbers(stage.clone()));
    }
    for (k, level) in model.image_encoder.neck.forward(stages).into_iter().enumerate() {
        let name = format!("img.fpn.{k}");
        if g.has(&name) {
            g.close(&name, &numbers(level.clone()));
        }
        let [_, d, h, w] = level.dims();
        let name = format!("img.fpn_pos.{k}");
        if g.has(&name) {
            g.close(&name, &numbers(blocks::sine_pe_2d(d, [h, w], &device)));
        }
    }
    let features = model.encode_image(image);
    g.close("img.image_embed", &numbers(model.without_memory(features.pix_feat)));
    let [s4, s8] = features.high_res;
    g.close("img.high_res.0", &numbers(s4));
    g.close("img.high_res.1", &numbers(s8));
}

#[test]
fn net_every_prompt_case_matches() {
    let g = Golden::open(IMG);
    let device = Device::flex();
    let model = golden_model(&golden_card().network, &device);
    let features = golden_features(&model, &g, &device);
    let encoder = &model.sam_prompt_encoder;
    g.close("img.dense_pe", &numbers(encoder.pe_layer.dense([8, 8])));
    for case in ["p1", "p3", "box", "box_p1", "p2_mask"] {
        let name = |part: &str| format!("img.{case}.{part}");
        let prompts = golden_prompt(&g, case, &device);
        let sparse = encoder.points(&prompts.points, 128);
        g.close(&name("sparse"), &numbers(sparse.clone()));
        let dense = encoder.dense(prompts.mask.clone(), 128);
        g.close(&name("dense"), &numbers(dense.clone().expand([1, 32, 8, 8])));
        let decoder = &model.sam_mask_decoder;
        let src = blocks::to_tokens(model.without_memory(features.pix_feat.clone()) + dense);
        let pe = blocks::to_tokens(encoder.pe_layer.dense([8, 8]));
        let (hs, src) = decoder.transformer.forward(src, pe, decoder.tokens(sparse));
        g.close(&name("hs"), &numbers(hs));
        g.close(&name("src"), &numbers(src));
        for (kind, multimask) in [("multi", true), ("single", false)] {
            let out = model.decode(&features, &prompts, multimask);
            g.close(&name("raw_masks"), &numbers(out.raw.masks.clone()));
            g.close(&name("raw_iou"), &numbers(out.raw.ious.clone()));
            g.close(&name("tokens"), &numbers(out.raw.tokens.clone()));
            g.close(&name("obj"), &numbers(out.raw.object_score_logits.clone()));
            let first = out.raw.masks.clone().narrow(1, 0, 1);
            g.close(
                &name("stability_single"),
                &numbers(sonomark::net::mask_decoder::stability(first)),
            );
            g.close(&name(&format!("{kind}.iou")), &numbers(out.ious.clone()));
            let low: Vec<f32> =
                numbers(out.low_res_masks).iter().map(|v| v.clamp(-32.0, 32.0)).collect();
            g.close(&name(&format!("{kind}.low_res")), &low);
        }
    }
}

#[test]
fn net_masks_come_back_at_image_size() {
    let g = Golden::open(IMG);
    let device = Device::flex();
    let model = golden_model(&golden_card().network, &device);
    let features = golden_features(&model, &g, &device);
    let out = model.decode(&features, &golden_prompt(&g, "p3", &device), false);
    let letterbox = Letterbox::new(Fit::Stretch, 200, 150, 128);
    let native = letterbox.logits_to_image(&numbers(out.low_res_masks), 32);
    g.close("img.p3.single.masks_orig_logits", &native);
}

#[test]
fn net_letterbox_maps_points_as_it_maps_pixels() {
    for fit in [Fit::Letterbox, Fit::Stretch] {
        let frame = Letterbox::new(fit, 301, 97, 256);
        let first = frame.to_network(PointPx::new(0.0, 0.0));
        assert_eq!(first, frame.offset.map(|offset| offset as f32 - 0.5));
        let last = frame.to_network(PointPx::new(301.0, 97.0));
        for k in [0, 1] {
            let end = (frame.offset[k] + frame.content[k]) as f32 - 0.5;
            assert!((last[k] - end).abs() < 1e-3, "{fit:?} {last:?}");
        }
    }
    // A linear ramp over the input comes back as a linear ramp over the image, at the same places.
    let frame = Letterbox::new(Fit::Letterbox, 90, 60, 128);
    let ramp: Vec<f32> = (0..32 * 32).map(|i| (i % 32) as f32 * 4.0 + 1.5).collect();
    let native = frame.logits_to_image(&ramp, 32);
    for (i, v) in native.iter().enumerate() {
        let want = frame.to_network(PointPx::pixel_centre(i as u32 % 90, i as u32 / 90))[0];
        assert!((v - want).abs() < 1e-2 || !(2.0..=125.0).contains(&want), "{i}: {v} {want}");
    }
}

#[test]
fn net_a_batch_of_prompts_equals_single_prompts() {
    let g = Golden::open(IMG);
    let device = Device::flex();
    let model = golden_model(&golden_card().network, &device);
    let features = golden_features(&model, &g, &device);
    let a = vec![([40.0, 50.0], PointLabel::Inside), ([90.0, 20.0], PointLabel::Outside)];
    let b = vec![([70.0, 66.0], PointLabel::Inside), ([10.0, 100.0], PointLabel::Outside)];
    let run = |prompts: &[Vec<([f32; 2], PointLabel)>], features: &ImageFeatures| {
        let prompts = Prompts { points: PointBatch::new(prompts), mask: None };
        numbers(model.decode(features, &prompts, true).low_res_masks)
    };
    let both = [run(from_ref(&a), &features), run(from_ref(&b), &features)].concat();
    assert_close("one image, two prompts", &run(&[a.clone(), b.clone()], &features), &both);
    // Two images with two prompts each.
    let dark = model.encode_image(Tensor::zeros([1, 3, 128, 128], &device));
    let pair = |x: &Tensor<4>, y: &Tensor<4>| Tensor::cat(vec![x.clone(), y.clone()], 0);
    let high_res = [0, 1].map(|k| pair(&features.high_res[k], &dark.high_res[k]));
    let two = ImageFeatures::new(pair(&features.pix_feat, &dark.pix_feat), high_res);
    let four = [both, run(from_ref(&a), &dark), run(from_ref(&b), &dark)].concat();
    assert_close("two images, four prompts", &run(&[a.clone(), b.clone(), a, b], &two), &four);
}

#[test]
fn net_resolution_follows_the_input() {
    let device = Device::flex();
    let model = shipped_shape().init(&device);
    for size in [128, 256] {
        let features = model.encode_image(Tensor::zeros([1, 3, size, size], &device));
        let s = size as f32;
        let ring = [[0.5, 0.25], [0.75, 0.5], [0.5, 0.75], [0.25, 0.5]];
        let ring = ring.map(|p| (p.map(|v| v * s), PointLabel::Boundary)).to_vec();
        let lone = vec![([0.5 * s, 0.5 * s], PointLabel::Inside)];
        let prompts = Prompts { points: PointBatch::new(&[ring, lone]), mask: None };
        let out = model.decode(&features, &prompts, false);
        let side = size / 4;
        assert_eq!(out.low_res_masks.dims(), [2, 1, side, side]);
        assert_eq!(out.raw.masks.dims(), [2, 4, side, side]);
    }
}

/// The same weights without the prior, told the curve as mask prompt: the prior adds the curve to that, and nothing where
/// there is no curve.
#[test]
fn net_the_curve_is_shown_as_mask_prompt_and_added_to_the_answer() {
    let device = Device::flex();
    let mut config = shipped_shape();
    let model = golden_model(&config, &device);
    config.prompts.curve_prior = false;
    let plain = golden_model(&config, &device);
    let wave = |i: usize| ((i % 977) as f32 * 0.37).sin();
    let pixels: Vec<f32> = (0..3 * 128 * 128).map(wave).collect();
    let features =
        model.encode_image(Tensor::from_data(TensorData::new(pixels, [1, 3, 128, 128]), &device));
    let ring = [[64.0, 32.0], [96.0, 64.0], [64.0, 96.0], [32.0, 64.0]];
    let cells = ring.map(|[x, y]| PointPx::new((x + 0.5) / 4.0, (y + 0.5) / 4.0));
    let curve = curve_logits(&cells, 32, 32, 8.0);
    assert!(curve.iter().any(|v| *v > 1.0) && curve.iter().any(|v| *v < -1.0));
    let ring = ring.map(|at| (at, PointLabel::Boundary)).to_vec();
    let lone = vec![([64.0, 64.0], PointLabel::Inside)];
    let masks = |of: &Sam2, points: &[([f32; 2], PointLabel)], shown: Option<&[f32]>| {
        let mask = shown.map(|shown| {
            Tensor::from_data(TensorData::new(shown.to_vec(), [1, 1, 32, 32]), &device)
        });
        let prompts = Prompts { points: PointBatch::new(&[points.to_vec()]), mask };
        numbers(of.decode(&features, &prompts, false).raw.masks)
    };
    let told = masks(&plain, &ring, Some(&curve));
    let added: Vec<f32> = told.iter().zip(curve.iter().cycle()).map(|(a, b)| a + b).collect();
    assert_close("with the curve", &masks(&model, &ring, None), &added);
    let largest = added.iter().zip(masks(&plain, &ring, None)).map(|(a, b)| (a - b).abs());
    assert!(largest.fold(0.0, f32::max) > 1.0, "it makes a difference");
    assert_close("without a curve", &masks(&model, &lone, None), &masks(&plain, &lone, None));
}

#[test]
fn net_gradients_reach_every_part_of_the_still_path() {
    let device = Device::flex().autodiff();
    let model = shipped_shape().init(&device);
    let features = model.encode_image(Tensor::zeros([1, 3, 64, 64], &device) + 0.3);
    let ring = vec![([20.0, 10.0], PointLabel::Boundary), ([40.0, 50.0], PointLabel::Boundary)];
    let prompts = Prompts { points: PointBatch::new(&[ring]), mask: None };
    let out = model.decode(&features, &prompts, false).raw;
    let loss = out.masks.powi_scalar(2).mean() + out.ious.sum() + out.object_score_logits.sum();
    let grads = loss.backward();
    let alive = |t: Option<Tensor<2>>| t.is_some_and(|g| g.abs().max().into_scalar::<f32>() > 0.0);
    assert!(
        alive(model.sam_prompt_encoder.point_embeddings[4].weight.val().grad(&grads)),
        "boundary embedding"
    );
    assert!(
        alive(model.image_encoder.trunk.blocks[0].attn.qkv.weight.val().grad(&grads)),
        "first block"
    );
    assert!(alive(model.sam_mask_decoder.mask_tokens.weight.val().grad(&grads)), "mask tokens");
    let stem = model
        .image_encoder
        .trunk
        .patch_embed
        .proj
        .weight
        .val()
        .grad(&grads)
        .expect("stem gradient");
    assert!(numbers(stem).iter().all(|v| v.is_finite()));
    let gaussian = model.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.val();
    assert!(gaussian.grad(&grads).is_none(), "the Fourier matrix is a constant");
}

#[test]
fn net_prompts_of_a_frame_become_points() {
    let frame = Letterbox::new(Fit::Letterbox, 100, 50, 256);
    let mut prompts = FramePrompts::default();
    prompts.points.push((PointKind::Boundary, PointPx::new(50.0, 25.0)));
    prompts.bounding_box = Some(sonomark::domain::BoxPx::from_corners(
        PointPx::new(10.0, 5.0),
        PointPx::new(90.0, 45.0),
    ));
    let points = frame.network_points(&prompts);
    let labels: Vec<PointLabel> = points.iter().map(|p| p.1).collect();
    assert_eq!(labels, [PointLabel::BoxMin, PointLabel::BoxMax, PointLabel::Boundary]);
    assert_eq!(points[2].0, [127.5, 127.5]);
    let gray = GrayFrame::new(100, 50, vec![255; 5000]).expect("sizes agree");
    let (x, _) = golden_card().preprocess.frame(&gray, 256, &Device::flex());
    assert_eq!(x.dims(), [1, 3, 256, 256]);
}

#[test]
fn net_predict_answers_in_plain_numbers() {
    let g = Golden::open(IMG);
    let device = Device::flex();
    let model = golden_model(&golden_card().network, &device);
    let features = golden_features(&model, &g, &device);
    let at = g.values("img.p1.coords_model");
    let answer =
        model.predict(&features, &[([at[0], at[1]], PointLabel::Inside)], None).expect("numbers");
    let ious = g.values("img.p1.multi.iou");
    let best = (0..3).max_by(|a, b| ious[*a].total_cmp(&ious[*b])).expect("three");
    assert_eq!(answer.side, 32);
    assert_close("best iou", &[answer.iou], &ious[best..=best]);
    assert_close(
        "best mask",
        &answer.low_res,
        &g.values("img.p1.multi.low_res")[best * 1024..][..1024],
    );
    g.close("img.p1.obj", &[answer.object_score]);
    // The original enlarges what was decoded; it clamps to 32 only what it feeds back.
    let mut sure = model;
    for mlp in &mut sure.sam_mask_decoder.output_hypernetworks_mlps {
        let last = mlp.layers.last_mut().expect("layers");
        last.weight = last.weight.clone().map(|w| w * 1e3);
        last.bias = last.bias.clone().map(|b| b * 1e3);
    }
    let much =
        sure.predict(&features, &[([at[0], at[1]], PointLabel::Inside)], None).expect("numbers");
    assert!(much.low_res.iter().any(|logit| logit.abs() > 32.0));
    let thousandth: Vec<f32> = much.low_res.iter().map(|logit| logit / 1e3).collect();
    assert_close("a thousand times the mask", &thousandth, &answer.low_res);
}

/// Prints times at the shipped size; run with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
fn net_speed_at_the_shipped_size() {
    let device = Device::flex();
    let model = shipped_shape().init(&device);
    let image: Tensor<4> =
        Tensor::random([1, 3, 256, 256], burn::tensor::Distribution::Default, &device);
    let ring = [[128.0, 64.0], [192.0, 128.0], [128.0, 192.0], [64.0, 128.0]];
    let ring = ring.map(|p| (p, PointLabel::Boundary)).to_vec();
    let prompts = Prompts { points: PointBatch::new(&[ring]), mask: None };
    let features = model.encode_image(image.clone());
    let time = |name: &str, run: &dyn Fn()| {
        run();
        let mut all: Vec<f64> = (0..15)
            .map(|_| {
                let start = std::time::Instant::now();
                run();
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        all.sort_by(f64::total_cmp);
        println!("{name}: median {:.1} ms, best {:.1} ms", all[7], all[0]);
    };
    let trunk = &model.image_encoder.trunk;
    let tokens = trunk.embed(image.clone());
    time("stem", &|| drop(trunk.embed(image.clone()).into_data()));
    let mut x = tokens;
    for (i, block) in trunk.blocks.iter().enumerate() {
        time(&format!("block {i} {:?}", x.dims()), &|| drop(block.forward(x.clone()).into_data()));
        x = block.forward(x);
    }
    time("encode", &|| drop(model.encode_image(image.clone()).pix_feat.into_data()));
    time("decode", &|| drop(model.decode(&features, &prompts, false).low_res_masks.into_data()));
}
