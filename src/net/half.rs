//! The image encoder in half precision (f16), an option of the card (`network.encoder_f16`).
//!
//! What decides whether this file is right: half precision is a matter of speed and may never be one of masks. So before
//! a halved encoder is used it answers made-up pictures beside the full one on the device at hand, and is refused where
//! more than [`MOST_CHANGED`] of the pixels of their masks differ. Decoder and memory stay in f32; norms are computed in
//! f32 (`blocks.rs`).

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor};

use super::blocks::constant;
use super::device::Picked;
use super::prompt_encoder::{PointBatch, PointLabel};
use super::sam2::{Prompts, Sam2};

/// The part of the pixels of masks that may differ: what parity with the original allows too.
pub const MOST_CHANGED: f64 = 5e-4;
/// Made-up pictures that are compared.
const PICTURES: u64 = 4;

/// What became of the wish for half precision.
#[derive(Debug, Clone, PartialEq)]
pub enum Half {
    /// The encoder computes in f16; so large a part of the pixels of masks differs.
    Used(f64),
    /// It stays in f32: so large a part of the pixels of masks would differ, or the device cannot.
    Refused(String),
}

impl std::fmt::Display for Half {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Used(changed) => {
                write!(f, "encoder in f16 ({:.3} % of mask pixels differ)", changed * 100.0)
            }
            Self::Refused(why) => write!(f, "encoder in f32, f16 refused: {why}"),
        }
    }
}

/// The network with its encoder in f16 if `picked` can and no mask changes, else as it was; [`Sam2::half`] tells which.
#[must_use]
pub fn halved_where_safe(sam: Sam2, picked: &Picked) -> Sam2 {
    let found = compared(&sam, picked);
    chosen(sam, found)
}

/// The halved network of [`compared`] where hardly a mask pixel differs, else `sam`.
fn chosen(sam: Sam2, compared: Result<(Sam2, f64), String>) -> Sam2 {
    let (mut sam, found) = match compared {
        Ok((half, changed)) if changed <= MOST_CHANGED => (half, Half::Used(changed)),
        Ok((_, changed)) => {
            (sam, Half::Refused(format!("{:.2} % of mask pixels would differ", changed * 100.0)))
        }
        Err(why) => (sam, Half::Refused(why)),
    };
    sam.half = Some(found);
    sam
}

/// The network with its encoder in f16, and which part of the pixels of made-up masks that changes.
///
/// # Errors
/// A sentence: the device is no GPU, knows no f16 or cannot run it.
pub fn compared(sam: &Sam2, picked: &Picked) -> Result<(Sam2, f64), String> {
    if !picked.gpu {
        return Err("the CPU computes in f32".into());
    }
    if !picked.device.supports_dtype(DType::F16) {
        return Err("this GPU does not offer f16".into());
    }
    let half = halved(sam);
    // A kernel that cannot be built panics.
    let answers = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        (0..PICTURES).map(|seed| changed(sam, &half, seed, &picked.device)).collect::<Vec<_>>()
    }));
    let answers = answers.map_err(|_| "the GPU could not run it".to_owned())?;
    let answers: Vec<f64> = answers.into_iter().collect::<Result<_, String>>()?;
    let mean = answers.iter().sum::<f64>() / answers.len() as f64;
    Ok((half, mean))
}

/// The same weights, those of the image encoder rounded to f16.
fn halved(sam: &Sam2) -> Sam2 {
    struct ToHalf;
    impl ModuleMapper for ToHalf {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|weight| weight.cast(DType::F16))
        }
    }
    let mut half = sam.clone();
    half.image_encoder = half.image_encoder.map(&mut ToHalf);
    half
}

/// The part of the mask's pixels on which two networks disagree about a made-up picture.
fn changed(full: &Sam2, half: &Sam2, seed: u64, device: &Device) -> Result<f64, String> {
    let side = full.config().image_size;
    let (pixels, structure) = picture(side, seed);
    let image = constant([&pixels[..]; 3].concat(), [1, 3, side, side], device);
    let at = |x: f32, y: f32| [structure.0 + x * structure.2, structure.1 + y * structure.2];
    let points = match full.config().prompts.boundary_embedding {
        true => [(1.0, 0.0), (0.0, 0.7), (-1.0, 0.0), (0.0, -0.7)]
            .map(|(x, y)| (at(x, y), PointLabel::Boundary))
            .to_vec(),
        false => vec![(at(0.0, 0.0), PointLabel::Inside), (at(1.5, 0.0), PointLabel::Outside)],
    };
    let prompts = Prompts { points: PointBatch::new(&[points]), mask: None };
    let answer = |sam: &Sam2| {
        let decoded = sam.decode(&sam.encode_image(image.clone()), &prompts, false);
        decoded.best().0.try_into_vec_as::<f32>().map_err(|error| error.to_string())
    };
    let (full, half) = (answer(full)?, answer(half)?);
    let differ = full.iter().zip(&half).filter(|(a, b)| b.is_nan() || (**a > 0.0) != (**b > 0.0));
    Ok(differ.count() as f64 / full.len() as f64)
}

/// Speckle with a dark ellipse: normalised pixels of a square, and middle and longer half axis of the ellipse, px.
fn picture(side: usize, seed: u64) -> (Vec<f32>, (f32, f32, f32)) {
    let mut random = fastrand::Rng::with_seed(seed);
    let place = |part: f32| part * side as f32;
    let (x0, y0) = (place(0.4 + 0.2 * random.f32()), place(0.4 + 0.2 * random.f32()));
    let half_axis = place(0.12 + 0.1 * random.f32());
    let pixels = (0..side * side).map(|i| {
        let (x, y) = ((i % side) as f32, (i / side) as f32);
        let r = ((x - x0) / half_axis).hypot((y - y0) / (0.7 * half_axis));
        let tissue = if r < 1.0 { 0.12 } else { 0.45 };
        // Speckle has a Rayleigh distribution; 0.226 and 0.45 are what SAM 2 normalises by.
        let speckle = (-2.0 * (1.0 - random.f32()).ln()).sqrt() / 1.25;
        (tissue * speckle - 0.45) / 0.226
    });
    (pixels.collect(), (x0, y0, half_axis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::device::{DeviceWant, pick};

    #[test]
    fn the_cpu_refuses_and_keeps_the_weights() {
        let cpu = pick(DeviceWant::Cpu).expect("there is always a CPU");
        let card = crate::net::cards::known("sam2.1-tiny").expect("a card");
        let sam = card.network.at_size(64).init(&cpu.device);
        let sam = halved_where_safe(sam, &cpu);
        let words = sam.half().expect("an answer").to_string();
        assert_eq!(words, "encoder in f32, f16 refused: the CPU computes in f32");
        assert_eq!(sam.image_encoder.dtype(), DType::F32);
        assert_eq!(halved(&sam).image_encoder.dtype(), DType::F16);
        assert_eq!(changed(&sam, &sam, 0, &cpu.device), Ok(0.0));
    }

    #[test]
    fn half_precision_that_changes_masks_is_refused() {
        struct ToNan;
        impl ModuleMapper for ToNan {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                param.map(|weight| weight * f32::NAN)
            }
        }
        let cpu = pick(DeviceWant::Cpu).expect("there is always a CPU");
        let card = crate::net::cards::known("sam2.1-tiny").expect("a card");
        let sam = card.network.at_size(64).init(&cpu.device);
        let found = |changed: f64| {
            let sam = chosen(sam.clone(), Ok((halved(&sam), changed)));
            (sam.image_encoder.dtype(), sam.half().expect("an answer").to_string())
        };
        let (kept, words) = found(1.2 * MOST_CHANGED);
        assert_eq!(kept, DType::F32);
        assert_eq!(words, "encoder in f32, f16 refused: 0.06 % of mask pixels would differ");
        let (used, words) = found(MOST_CHANGED);
        assert_eq!(used, DType::F16);
        assert_eq!(words, "encoder in f16 (0.050 % of mask pixels differ)");
        // What overflows is a change of every pixel.
        let mut broken = sam.clone();
        broken.image_encoder = broken.image_encoder.map(&mut ToNan);
        assert_eq!(changed(&sam, &broken, 0, &cpu.device), Ok(1.0));
    }
}
