//! Golden tensors, the weights behind them, and the one rule by which numbers count as equal.

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sonomark::net::config::{ModelCard, ModelConfig};
use sonomark::net::sam2::Sam2;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Seed of every golden file.
pub(crate) const SEED: u64 = 58;
/// The tolerance of parity tests, absolute or relative.
pub(crate) const TOLERANCE: f32 = 1e-4;

/// What is said where the full set is needed and is not there.
pub(crate) const NO_FULL_SET: &str = "the full golden set is not here (SONOMARK_GOLDEN names it)";

/// The folder with the full golden set, when this machine has it.
pub(crate) fn full_set() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/golden/nano");
    let named = std::env::var_os("SONOMARK_GOLDEN").map(PathBuf::from);
    let named = named.into_iter().flat_map(|p| [p.join("nano"), p]);
    named.chain([beside]).find(|p| p.join("golden_nano_img.safetensors").is_file())
}

/// A committed fixture file.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden").join(name)
}

/// Tensors of one file by name, as shape and f32 values (integers converted).
pub(crate) struct Golden(BTreeMap<String, (Vec<usize>, Vec<f32>)>);

impl Golden {
    /// Reads the file from the full set, else from the fixture.
    pub(crate) fn open(file: &str) -> Self {
        let full = full_set().map(|d| d.join(file)).filter(|p| p.is_file());
        Self::read(&std::fs::read(full.unwrap_or_else(|| fixture(file))).expect("a golden file"))
    }

    fn read(bytes: &[u8]) -> Self {
        let file = SafeTensors::deserialize(bytes).expect("a safetensors file");
        let numbers = |t: &TensorView<'_>| -> Vec<f32> {
            match t.dtype() {
                Dtype::F32 => {
                    t.data().as_chunks::<4>().0.iter().map(|c| f32::from_le_bytes(*c)).collect()
                }
                Dtype::I32 => t
                    .data()
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|c| i32::from_le_bytes(*c) as f32)
                    .collect(),
                Dtype::U8 => t.data().iter().map(|v| f32::from(*v)).collect(),
                other => unreachable!("golden files hold no {other:?}"),
            }
        };
        Self(
            file.iter()
                .map(|(name, t)| (name.to_owned(), (t.shape().to_vec(), numbers(&t))))
                .collect(),
        )
    }

    /// Whether the (possibly cut) file has the tensor.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Values of a tensor.
    pub(crate) fn values(&self, name: &str) -> &[f32] {
        &self.0.get(name).unwrap_or_else(|| unreachable!("golden tensor {name} is missing")).1
    }

    /// Shape of a tensor.
    pub(crate) fn shape(&self, name: &str) -> &[usize] {
        self.values(name);
        &self.0[name].0
    }

    /// Compares with the tensor of that name; returns the largest absolute error.
    pub(crate) fn close(&self, name: &str, got: &[f32]) -> f32 {
        assert_close(name, got, self.values(name))
    }

    /// All tensors.
    pub(crate) fn all(&self) -> &BTreeMap<String, (Vec<usize>, Vec<f32>)> {
        &self.0
    }
}

/// The rule: |got - want| <= 1e-4, or <= 1e-4 |want|, for every element. Prints and returns the largest absolute error.
pub(crate) fn assert_close(name: &str, got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len(), "{name}: number of elements");
    let mut worst = (0.0f32, 0usize, 0.0f32);
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let error = (g - w).abs();
        let allowed = TOLERANCE * w.abs().max(1.0);
        let excess = if error.is_nan() { f32::INFINITY } else { error / allowed };
        if excess > worst.0 {
            worst = (excess, i, error);
        }
    }
    let largest = got.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max);
    println!("{name}: largest error {largest:.2e}");
    let (excess, i, error) = worst;
    assert!(excess <= 1.0, "{name}[{i}]: got {}, want {}, error {error:.3e}", got[i], want[i]);
    largest
}

/// The card of the golden network.
pub(crate) fn golden_card() -> ModelCard {
    ModelCard::from_yaml(&std::fs::read_to_string(fixture("card.yaml")).expect("the golden card"))
        .expect("a good card")
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Uniform numbers in (-1, 1), element i being a function of (seed, key, i).
pub(crate) fn uniforms(key: &str, n: usize, seed: u64) -> impl Iterator<Item = f64> {
    const GOLD: u64 = 0x9E37_79B9_7F4A_7C15;
    let hash = key
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3));
    let start = mix(hash.wrapping_add(seed.wrapping_mul(GOLD)));
    (1..=n as u64).map(move |i| {
        let r = mix(start.wrapping_add(i.wrapping_mul(GOLD)));
        2.0 * (((r >> 40) as f64 + 0.5) / 16_777_216.0) - 1.0
    })
}

/// Centre and half-width of a parameter's values.
fn weight_rule(key: &str, shape: &[usize]) -> (f64, f64) {
    const TOKENS: [&str; 12] = [
        "pos_embed",
        "pos_embed_window",
        "maskmem_tpos_enc",
        "no_mem_embed",
        "no_mem_pos_enc",
        "no_obj_ptr",
        "no_obj_embed_spatial",
        "iou_token.weight",
        "mask_tokens.weight",
        "obj_score_token.weight",
        "no_mask_embed.weight",
        "not_a_point_embed.weight",
    ];
    if key.ends_with("positional_encoding_gaussian_matrix") {
        (0.0, 3f64.sqrt())
    } else if TOKENS.iter().any(|t| key.ends_with(t)) || key.contains(".point_embeddings.") {
        (0.0, 0.5)
    } else if key.ends_with(".gamma") {
        (0.5, 0.25)
    } else if key.ends_with("pred_obj_score_head.layers.2.bias") {
        (3.0, 0.1)
    } else if key.ends_with(".bias") {
        (0.0, 0.1)
    } else if shape.len() == 1 {
        (1.0, 0.1)
    } else {
        let fan_in: usize =
            if key.contains(".output_upscaling.") { shape[0] } else { shape[1..].iter().product() };
        (0.0, (3.0 / fan_in as f64).sqrt())
    }
}

/// The golden values of one parameter.
pub(crate) fn portable_array(key: &str, shape: &[usize], seed: u64) -> Vec<f32> {
    let (centre, half) = weight_rule(key, shape);
    uniforms(key, shape.iter().product(), seed).map(|u| (centre + half * u) as f32).collect()
}

/// Golden weights for any network, as the bytes of a safetensors file; `skip` leaves keys out.
pub(crate) fn portable_file(
    keys: &BTreeMap<String, Vec<usize>>,
    skip: impl Fn(&str) -> bool,
) -> Vec<u8> {
    seeded_file(keys, skip, SEED)
}

fn seeded_file(
    keys: &BTreeMap<String, Vec<usize>>,
    skip: impl Fn(&str) -> bool,
    seed: u64,
) -> Vec<u8> {
    let data: Vec<(String, Vec<usize>, Vec<u8>)> = keys
        .iter()
        .filter(|(key, _)| !skip(key))
        .map(|(key, shape)| {
            let bytes =
                portable_array(key, shape, seed).iter().flat_map(|v| v.to_le_bytes()).collect();
            (key.clone(), shape.clone(), bytes)
        })
        .collect();
    let views = data.iter().map(|(key, shape, bytes)| {
        (key.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("sizes agree"))
    });
    safetensors::serialize(views, None).expect("a safetensors file")
}

/// The golden network of `config` with its generated weights.
pub(crate) fn golden_model(config: &ModelConfig, device: &burn::tensor::Device) -> Sam2 {
    seeded_model(config, device, SEED)
}

/// The same with weights of another seed.
pub(crate) fn seeded_model(config: &ModelConfig, device: &burn::tensor::Device, seed: u64) -> Sam2 {
    let model = config.init(device);
    let file = seeded_file(&model.keys(), |_| false, seed);
    model.load_bytes("generated", file, &golden_card().weights).expect("generated weights fit")
}
