//! Cards, weight files and devices: what surrounds the network.

use crate::golden_weights::{
    Golden, NO_FULL_SET, assert_close, fixture, full_set, golden_card, golden_model,
    portable_array, portable_file,
};
use crate::net_image::numbers;
#[cfg(feature = "gpu")]
use crate::surroundings::gpu;
use crate::surroundings::skipped;
use burn::tensor::Device;
#[cfg(feature = "gpu")]
use burn::tensor::{Tensor, TensorData};
use sonomark::net::cards;
use sonomark::net::config::{ModelCard, ModelConfig};
use sonomark::net::device::{self, DeviceWant};
#[cfg(feature = "gpu")]
use sonomark::net::half;
use sonomark::net::weights::{Differences, WeightsError, sha256_hex};
#[cfg(feature = "gpu")]
use sonomark::net::{
    prompt_encoder::{PointBatch, PointLabel},
    sam2::Prompts,
    tracker::{MaskMemory, MaskScale},
};

#[test]
fn net_generated_weights_are_the_shipped_ones() {
    let device = Device::flex();
    let keys = golden_card().network.init(&device).keys();
    assert_eq!(keys.len(), 359);
    let mut all = Vec::new();
    for (key, shape) in &keys {
        all.extend(portable_array(key, shape, 58).iter().flat_map(|v| v.to_le_bytes()));
    }
    // Over the values of sam2.1_nano_seed58.safetensors in the order of their keys.
    assert_eq!(
        sha256_hex(&all),
        "19338f76a0c053d553ec808c2a7e2552475e885d214179d392e2d8cf8928e4b1"
    );
    let Some(dir) = full_set() else { return skipped(NO_FULL_SET) };
    let shipped = Golden::open(&dir.join("sam2.1_nano_seed58.safetensors").display().to_string());
    assert_eq!(shipped.all().len(), keys.len());
    for (key, (shape, values)) in shipped.all() {
        assert_eq!(&keys[key], shape, "{key}");
        assert_eq!(&portable_array(key, shape, 58), values, "{key}");
    }
}

#[test]
fn net_official_layouts_load_alike() {
    let Some(dir) = full_set() else { return skipped(NO_FULL_SET) };
    let device = Device::flex();
    let card = golden_card();
    let want = golden_model(&card.network, &device).to_safetensors().expect("bytes");
    for name in ["sam2.1_nano_seed58.safetensors", "sam2.1_nano_seed58.pt"] {
        let model =
            card.network.init(&device).load_file(&dir.join(name), &card.weights).expect(name);
        assert_eq!(model.to_safetensors().expect("bytes"), want, "{name}");
    }
}

#[test]
fn net_weights_survive_a_round_trip_and_their_hash_is_checked() {
    let device = Device::flex();
    let card = golden_card();
    let model = golden_model(&card.network, &device);
    let bytes = model.to_safetensors().expect("bytes");
    let mut origin = card.weights.clone();
    origin.sha256 = sha256_hex(&bytes);
    let again =
        card.network.init(&device).load_bytes("again", bytes.clone(), &origin).expect("fits");
    assert_eq!(again.to_safetensors().expect("bytes"), bytes);
    origin.sha256 = "0".repeat(64);
    let refused = card.network.init(&device).load_bytes("again", bytes, &origin);
    assert!(matches!(refused, Err(WeightsError::WrongHash { .. })));
}

#[test]
fn net_all_differences_of_a_file_are_named_at_once() {
    let device = Device::flex();
    let card = golden_card();
    let mut keys = card.network.init(&device).keys();
    keys.insert("stranger.weight".into(), vec![2, 2]);
    keys.insert("no_mem_embed".into(), vec![1, 1, 33]);
    let skip =
        |key: &str| key == "sam_mask_decoder.conv_s0.weight" || key == "mask_downsample.bias";
    let refused =
        card.network.init(&device).load_bytes("odd", portable_file(&keys, skip), &card.weights);
    let Err(WeightsError::Unfit { differences, .. }) = refused else {
        unreachable!("must be refused")
    };
    assert_eq!(differences.missing, ["mask_downsample.bias", "sam_mask_decoder.conv_s0.weight"]);
    assert_eq!(differences.unexpected, ["stranger.weight"]);
    assert_eq!(differences.misshapen.len(), 1);
    let text = differences.to_string();
    for word in ["2 missing", "1 unexpected", "stranger.weight", "no_mem_embed", "33"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn net_differences_from_a_strangers_file_are_told_in_so_many_lines() {
    let unexpected = (0..5000).map(|i| format!("tensor {i} {}", "x".repeat(9000))).collect();
    let differences = Differences { unexpected, ..Differences::default() };
    let text = differences.to_string();
    let lines: Vec<&str> = text.trim().lines().collect();
    assert_eq!((lines[0], lines[1001]), ("5000 unexpected:", "    and 4000 more"));
    assert!(lines.len() == 1002 && lines.iter().all(|line| line.len() < 400));
    assert!(lines[1].starts_with("    tensor 0 xxx"), "{}", lines[1]);
}

/// The network trained here, in shape.
pub(crate) fn shipped_shape() -> ModelConfig {
    let text = "\
name: t
network:
  image_size: 256
  trunk: {embed_dim: 24, num_heads: 1, stages: [1, 1, 4, 2], global_att_blocks: [4, 5], window_spec: [8, 4, 8, 8], window_pos_embed_bkg_spatial_size: [8, 8]}
  neck: {d_model: 64}
  prompts: {boundary_embedding: true, curve_prior: true, click_heat: true}
  decoder: {num_heads: 4, mlp_dim: 256, iou_head_hidden_dim: 64}
  memory: {mem_dim: 16, attention_layers: 2, attention_ffn: 256}
preprocess: {fit: letterbox}
weights: {licence: MIT}
";
    ModelCard::from_yaml(text).expect("a good card").network
}

#[test]
fn net_geometry_prompts_need_no_official_tensors() {
    let device = Device::flex();
    let model = shipped_shape().init(&device);
    let extra = |key: &str| key.contains("point_embeddings.4") || key.starts_with("click");
    let keys = model.keys();
    assert_eq!(keys.keys().filter(|k| extra(k)).count(), 13);
    assert_eq!(keys["click16.0.weight"], [16, 1, 4, 4]);
    let model = model
        .load_bytes("plain", portable_file(&keys, extra), &golden_card().weights)
        .expect("may be absent");
    let row = |k: usize| numbers(model.sam_prompt_encoder.point_embeddings[k].table());
    let mean: Vec<f32> = row(0).iter().zip(row(1)).map(|(a, b)| (a + b) / 2.0).collect();
    assert_close("boundary embedding", &row(4), &mean);
}

#[test]
fn net_a_bad_card_names_all_its_faults() {
    let text = std::fs::read_to_string(fixture("card.yaml")).expect("card");
    let bad = text
        .replace("embed_dim: 16", "embed_din: 16")
        .replace("image_size: 128", "image_size: 100")
        .replace("fit: stretch", "fit: bend")
        .replace("mlp_dim: 64, ", "");
    let deep = ModelCard::from_yaml(&"[".repeat(200_000)).expect_err("must be refused at once");
    assert!(deep.to_string().contains("line 1: more than 1000 brackets"), "{deep}");
    let faults = ModelCard::from_yaml(&bad).expect_err("must be refused").faults.join("\n");
    for word in [
        "embed_dim` is missing",
        "embed_din` is unknown, did you mean `embed_dim`",
        "image_size",
        "bend",
        "mlp_dim",
    ] {
        assert!(faults.contains(word), "{word} in {faults}");
    }
    let card = ModelCard::from_yaml(&text).expect("good");
    assert_eq!(ModelCard::from_yaml(&card.to_yaml()).expect("its own YAML"), card);
}

#[test]
fn net_windows_that_no_stage_can_halve_are_refused() {
    let text = std::fs::read_to_string(fixture("card.yaml")).expect("card");
    let with = |windows: &str| ModelCard::from_yaml(&text.replace("[8, 4, 14, 7]", windows));
    let refused = with("[8, 4, 7, 7]").expect_err("must be refused").to_string();
    assert!(
        refused.contains("1 fault") && refused.contains("window_spec` must be even"),
        "{refused}"
    );
    // The last stage is not halved, and a block without windows has none to halve.
    assert!(with("[8, 4, 14, 5]").is_ok());
    let global = text.replace("global_att_blocks: [4]", "global_att_blocks: [4, 6]");
    assert!(ModelCard::from_yaml(&global.replace("[8, 4, 14, 7]", "[8, 4, 7, 7]")).is_ok());
}

/// Official card, keys and parameters of its checkpoint.
const OFFICIAL: [(&str, usize, usize); 4] = [
    ("sam2.1-tiny", 471, 38_962_754),
    ("sam2.1-small", 519, 46_060_610),
    ("sam2.1-base-plus", 615, 80_850_434),
    ("sam2.1-large", 903, 224_446_898),
];

fn check_official((name, keys, parameters): (&str, usize, usize)) {
    let card = cards::known(name).expect("a card of that name");
    let found = card.network.init(&Device::flex()).keys();
    let total: usize = found.values().map(|shape| shape.iter().product::<usize>()).sum();
    println!("{name}: {} keys, {total} parameters", found.len());
    assert_eq!(found.len(), keys, "{name}");
    assert_eq!(total, parameters, "{name}");
}

#[test]
fn net_official_sizes_are_only_cards() {
    OFFICIAL.iter().for_each(|each| check_official(*each));
    for (name, _, _) in OFFICIAL {
        let small = cards::known(&format!("{name}-512")).expect("the same at 512 px").network;
        assert_eq!(small, cards::known(name).expect("a card").network.at_size(512));
    }
}

#[test]
fn net_device_names_and_choices() {
    for name in ["auto", "cpu", "gpu", "gpu:3"] {
        assert_eq!(name.parse::<DeviceWant>().expect(name).to_string(), name);
    }
    for name in ["", "gpu:", "gpu:x", "cuda"] {
        assert!(name.parse::<DeviceWant>().is_err(), "{name}");
    }
    let cpu = device::pick(DeviceWant::Cpu).expect("there is always a CPU");
    assert!(!cpu.gpu && cpu.description.starts_with("CPU"));
    assert_eq!(device::self_test(&cpu.device), Ok(0.0));
    // A demanded GPU is a GPU or an error.
    match device::pick(DeviceWant::Gpu(Some(99))) {
        Err(device::DeviceError::NoGpu(why)) => assert!(why.contains("99"), "{why}"),
        other => unreachable!("{other:?}"),
    }
}

/// A GPU, a software one too, passes the self-test when it is named.
#[cfg(feature = "gpu")]
#[test]
fn net_a_named_gpu_passes_the_self_test() {
    let Some(first) = gpu() else { return };
    let picked = device::pick(DeviceWant::Gpu(Some(first.index))).expect("the self-test");
    println!("{}", picked.description);
    assert!(picked.gpu && picked.description.contains(&first.name));
    // The same adapter again, and never by itself when it is a program.
    assert!(device::pick(DeviceWant::Gpu(Some(first.index))).expect("once more").gpu);
    assert!(
        !first.software
            || device::adapters().len() > 1
            || !device::pick(DeviceWant::Auto).expect("a device").gpu
    );
}

/// Encoder, decoder, memory encoder and memory attention at the smallest input, on a GPU against
/// the CPU. A software GPU will do.
#[cfg(feature = "gpu")]
#[test]
fn net_parts_agree_on_gpu_and_cpu() {
    let Some(first) = gpu() else { return };
    let gpu = device::pick(DeviceWant::Gpu(Some(first.index))).expect("the self-test").device;
    let cpu = device::pick(DeviceWant::Cpu).expect("there is always a CPU").device;
    let answers = [cpu, gpu].map(|device| small_parts(&device));
    for ((name, expected), (_, found)) in answers[0].iter().zip(&answers[1]) {
        let largest = expected.iter().zip(found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let scale = expected.iter().map(|a| a.abs()).fold(1.0, f32::max);
        println!("{name}: {:.1e} of {scale:.1}", largest);
        assert_eq!(expected.len(), found.len(), "{name}");
        assert!(largest <= 1e-4 * scale, "{name}: {largest} of {scale}");
    }
}

#[cfg(feature = "gpu")]
fn small_parts(device: &Device) -> Vec<(&'static str, Vec<f32>)> {
    const SIDE: usize = 64;
    let wave = |i: usize| ((i % 977) as f32 * 0.37).sin() + ((i / SIDE) as f32 * 0.11).cos();
    let pixels: Vec<f32> = (0..3 * SIDE * SIDE).map(wave).collect();
    let image = TensorData::new(pixels, [1, 3, SIDE, SIDE]);
    // Loaded and run on one thread, used on another: as a session takes over a GPU that got ready beside it.
    let other = device.clone();
    let ready = std::thread::spawn(move || {
        let model = golden_model(&golden_card().network, &other);
        let features = model.encode_image(Tensor::from_data(image, &other));
        (model, features)
    });
    let (model, features) = ready.join().expect("no panic");
    let points = vec![([20.0, 24.0], PointLabel::Inside), ([50.0, 9.0], PointLabel::Outside)];
    let prompts = Prompts { points: PointBatch::new(&[points]), mask: None };
    let decoded = model.decode(&features, &prompts, false);
    let (best, _, _) = decoded.best();
    let mask = model.memory_mask(best.clone(), MaskScale::Soft);
    let present = Tensor::ones([1, 1], device);
    let memory = model.remember(features.pix_feat.clone(), mask, present);
    let remembered = [MaskMemory { features: memory.clone(), t_pos: 1 }];
    let read = model.condition(features.pix_feat.clone(), &remembered, &[], 4);
    vec![
        ("pix_feat", numbers(features.pix_feat)),
        ("masks", numbers(best)),
        ("memory", numbers(memory)),
        ("conditioned", numbers(read.pix_feat)),
    ]
}

/// The encoder in f16; a software GPU will do. Whether it changes masks is found out, not assumed.
#[cfg(feature = "gpu")]
#[test]
fn net_an_encoder_in_f16_is_used_or_refused_with_a_reason() {
    let Some(first) = gpu() else { return };
    let picked = device::pick(DeviceWant::Gpu(Some(first.index))).expect("the self-test");
    let model = golden_model(&golden_card().network.at_size(64), &picked.device);
    match half::compared(&model, &picked) {
        Err(why) => println!("{}: {why}", picked.description),
        Ok((halved, changed)) => {
            println!("{}: {:.3} % of mask pixels differ", picked.description, changed * 100.0);
            let image = || Tensor::ones([1, 3, 64, 64], &picked.device) * 0.3;
            let full = numbers(model.encode_image(image()).pix_feat);
            let half = numbers(halved.encode_image(image()).pix_feat);
            let scale = full.iter().fold(0f32, |m, v| m.max(v.abs()));
            let apart = full.iter().zip(&half).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            println!("features differ by {:.1e} of their largest", apart / scale);
            // Half precision has eleven bits: other than f32's numbers, and not far from them.
            assert!(apart > 0.0 && apart < 0.05 * scale, "{apart} of {scale}");
        }
    }
}

/// The still path on a GPU; a software one will do.
#[cfg(feature = "gpu")]
#[test]
fn net_gpu_agrees_with_the_reference() {
    let Some(first) = gpu() else { return };
    let picked = device::pick(DeviceWant::Gpu(Some(first.index))).expect("the self-test");
    println!("{}", picked.description);
    let g = Golden::open(crate::net_image::IMG);
    let model = golden_model(&golden_card().network, &picked.device);
    let features = crate::net_image::golden_features(&model, &g, &picked.device);
    g.close("img.image_embed", &numbers(model.without_memory(features.pix_feat.clone())));
    let out =
        model.decode(&features, &crate::net_image::golden_prompt(&g, "p3", &picked.device), false);
    g.close("img.p3.raw_masks", &numbers(out.raw.masks));
}
