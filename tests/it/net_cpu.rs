//! The kernels for the CPU against Burn's operations: same weights, same input, every stage, at sizes that pad windows
//! and at batches.

use burn::tensor::{Device, Tensor, TensorData};
use sonomark::net::config::{ModelCard, ModelConfig};
use sonomark::net::memory_bank::Direction;
use sonomark::net::prompt_encoder::PointLabel;
use sonomark::net::sam2::Sam2;
use sonomark::net::tracker::{
    MaskMemory, MaskScale, Places, PointerMemory, Tracker, TrackerOptions,
};
use sonomark::net::traffic::traffic;

use super::golden_weights::{assert_close, golden_card, golden_model, uniforms};
use super::net_image::numbers;

fn made_up<const D: usize>(key: &str, shape: [usize; D], device: &Device) -> Tensor<D> {
    let values = uniforms(key, shape.iter().product(), 1).map(|v| v as f32).collect::<Vec<_>>();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Networks whose blocks differ: padded windows, pooling, global blocks, several heads; the shipped one too.
fn networks(device: &Device) -> Vec<(ModelConfig, Sam2)> {
    let shipped = include_str!("../../models/samusa-nano.yaml");
    let cards = [golden_card(), ModelCard::from_yaml(shipped).expect("the shipped card")];
    cards
        .map(|card| {
            let model = golden_model(&card.network, device);
            (card.network, model)
        })
        .into()
}

#[test]
fn net_cpu_encoder_equals_burns_operations() {
    let device = Device::flex();
    for (config, sam) in networks(&device) {
        for (batch, size) in [(1, config.image_size), (2, 160), (1, 96)] {
            let image = made_up("image", [batch, 3, size, size], &device) * 2.0;
            let (got, want) = (sam.encode_image(image.clone()), sam.encode_by_parts(image));
            assert_close("pix_feat", &numbers(got.pix_feat), &numbers(want.pix_feat));
            for (got, want) in got.high_res.into_iter().zip(want.high_res) {
                assert_eq!(got.dims(), want.dims());
                assert_close("high_res", &numbers(got), &numbers(want));
            }
        }
    }
}

#[test]
fn net_cpu_memory_equals_burns_operations() {
    let device = Device::flex();
    for (config, sam) in networks(&device) {
        let (d, m) = (config.neck.d_model, config.memory.mem_dim);
        // Few remembered places meet projected keys, many the queries carried to them.
        let few = [(1, 8, 3, 5), (2, 6, 1, 0), (1, 5, 2, 1)];
        let many = [(1, 17, 7, 5), (2, 16, 10, 0)];
        for (batch, side, remembered, pointers) in few.into_iter().chain(many) {
            let pointers = pointers * d / m;
            let tokens = remembered * side * side + pointers;
            let pix_feat = made_up("pix_feat", [batch, d, side, side], &device);
            let memory = made_up("memory", [batch, tokens, m], &device);
            let place = made_up("place", [batch, tokens, m], &device);
            let read = &sam.memory_attention;
            let got = read.forward(pix_feat.clone(), memory.clone(), place.clone(), pointers);
            let want = read.forward_by_parts(pix_feat.clone(), memory, place, pointers);
            assert_close("read", &numbers(got), &numbers(want));

            let mask = made_up("mask", [batch, 1, 16 * side, 16 * side], &device) * 10.0;
            let got = sam.memory_encoder.forward(pix_feat.clone(), mask.clone());
            let want = sam.memory_encoder.forward_by_parts(pix_feat, mask);
            assert_close("remembered", &numbers(got), &numbers(want));

            let logits = made_up("logits", [batch, 1, 4 * side, 4 * side], &device) * 9.0;
            let learning = Device::flex().autodiff();
            for scale in [MaskScale::Soft, MaskScale::Binary] {
                let got = sam.memory_mask(logits.clone(), scale);
                let with_gradients = Tensor::from_data(logits.clone().into_data(), &learning);
                let want = sam.memory_mask(with_gradients, scale);
                assert_close("mask", &numbers(got), &numbers(want));
            }
        }
    }
}

#[test]
fn net_cpu_decoder_equals_burns_operations() {
    let device = Device::flex();
    for (config, sam) in networks(&device) {
        let d = config.neck.d_model;
        let place = &sam.sam_prompt_encoder.pe_layer;
        assert_close(
            "place",
            &numbers(place.dense([6, 9])),
            &numbers(place.dense_by_parts([6, 9])),
        );
        for (batch, images, side) in [(1, 1, 8), (3, 1, 6), (2, 2, 5)] {
            let image = made_up("image", [batch, side * side, d], &device);
            let place = made_up("place", [1, side * side, d], &device);
            let tokens = made_up("tokens", [batch, 9, d], &device);
            let decoder = &sam.sam_mask_decoder;
            let (a, b, c) = (image.clone(), place.clone(), tokens.clone());
            let got = decoder.transformer.forward(a, b, c);
            let want = decoder.transformer.forward_by_parts(image.clone(), place, tokens);
            assert_close("tokens", &numbers(got.0), &numbers(want.0));
            assert_close("image", &numbers(got.1), &numbers(want.1));

            let s4 = made_up("s4", [images, d / 8, 4 * side, 4 * side], &device);
            let s8 = made_up("s8", [images, d / 4, 2 * side, 2 * side], &device);
            let got = decoder.upscaled(image.clone(), [side, side], [s4.clone(), s8.clone()]);
            let map = image.swap_dims(1, 2).reshape([batch, d, side, side]);
            let want = decoder.output_upscaling.forward(map, [s4, s8]);
            assert_close("upscaled", &numbers(got), &numbers(want));
        }
    }
}

#[test]
fn net_cpu_prompts_equal_burns_operations() {
    let device = Device::flex();
    let mut branches = 0;
    for (_, sam) in networks(&device) {
        for (batch, [h, w]) in [(1, [8, 8]), (3, [5, 7])] {
            let logits = made_up("logits", [batch, 1, 4 * h, 4 * w], &device) * 9.0;
            let masks = &sam.sam_prompt_encoder.mask_downscaling;
            let got = masks.forward(logits.clone());
            let want = masks.forward_by_parts(logits);
            assert_eq!(got.dims(), want.dims());
            assert_close("mask prompt", &numbers(got), &numbers(want));

            let heat = made_up("heat", [batch, 1, 4 * h, 4 * w], &device);
            for branch in [&sam.click16, &sam.click32, &sam.click64].into_iter().flatten() {
                let got = branch.forward(heat.clone());
                let want = branch.forward_by_parts(heat.clone());
                assert_eq!(got.dims(), want.dims());
                assert_close("click heat", &numbers(got), &numbers(want));
                branches += 1;
            }
        }
    }
    assert!(branches > 0, "some network has click heat");
}

/// With gradients Burn's operations run, the same as on a GPU.
#[test]
fn net_a_late_frame_crosses_to_the_device_as_often_as_an_early_one() {
    for device in [Device::flex(), Device::flex().autodiff()] {
        let card = golden_card();
        let sam = golden_model(&card.network, &device);
        let size = card.network.image_size;
        let image = made_up("image", [1, 3, size, size], &device);
        let mut tracker = Tracker::new(40, TrackerOptions::for_model(&sam));
        let features = sam.encode_image(image.clone());
        tracker.add_points(&sam, 0, &features, &[([60.0, 60.0], PointLabel::Inside)]).expect("ok");
        let mut crossings = Vec::new();
        for frame in 1..30 {
            let before = traffic();
            let features = sam.encode_image(image.clone());
            tracker.step(&sam, frame, &features, Direction::Forward).expect("decided");
            crossings.push(traffic().since(before));
        }
        // The first one also remembers the prompted frame.
        let later = &crossings[1..];
        assert!(later.iter().all(|c| *c == later[0]), "{later:?}");
        assert_eq!(later[0].read_backs, 1, "mask, IoU and score come in one transfer");
    }
}

/// On a GPU every followed frame has places for all the memories there will ever be.
#[test]
fn net_places_without_a_memory_change_nothing() {
    let device = Device::flex();
    for (config, sam) in networks(&device) {
        let (d, m) = (config.neck.d_model, config.memory.mem_dim);
        let pix_feat = made_up("pix_feat", [2, d, 6, 8], &device);
        let mask = |i: usize| MaskMemory {
            features: made_up(&format!("mask {i}"), [2, m, 6, 8], &device),
            t_pos: i % config.memory.num_maskmem,
        };
        let pointer = |i: usize| PointerMemory {
            obj_ptr: made_up(&format!("pointer {i}"), [2, d], &device) * 3.0,
            distance: i as i64,
        };
        for (masks, pointers) in [(1, 1), (3, 0), (0, 2), (7, 16), (9, 18)] {
            let masks: Vec<MaskMemory> = (0..masks).map(mask).collect();
            let pointers: Vec<PointerMemory> = (0..pointers).map(pointer).collect();
            let want = sam.condition(pix_feat.clone(), &masks, &pointers, 16);
            let places = Places { masks: 7, pointers: 16 };
            let got = sam.condition_in(pix_feat.clone(), &masks, &pointers, 16, places);
            assert_close("read", &numbers(got.pix_feat.clone()), &numbers(want.pix_feat.clone()));
            assert_eq!(got.pointer_tokens(), want.pointer_tokens());
            for (got, want) in got.read().into_iter().zip(want.read()) {
                assert_close("tokens", &numbers(got), &numbers(want));
            }
        }
    }
}
