//! A stranger's file of weights becomes a safetensors file of ours.
//!
//! What decides whether this file is right: the size is recognised from the tensors alone, a file that does not fit is
//! refused with every difference at once, no value that is not a number gets through, and one tensor at a time is in
//! memory. It runs in a child with a memory limit (`sonomark models import`), so that a hostile file ends the child.

use crate::domain::counted;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use burn::store::burn_pack::Tensor as Stored;
use burn::tensor::DType;
use safetensors::tensor::{Dtype, View};
use serde::{Deserialize, Serialize};

use super::cards;
use super::config::{ModelCard, ModelConfig};
use super::device::{DeviceWant, pick};
use super::weights::{Differences, WeightsError, sha256_of_file, tensors_in};

/// What was found and written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Converted {
    /// Name of the card whose tensors these are.
    pub card: String,
    /// SHA-256 of the file written, in hex.
    pub sha256: String,
    /// SHA-256 of the file read, in hex.
    pub source_sha256: String,
    /// Tensors.
    pub tensors: usize,
    /// Numbers in them.
    pub parameters: u64,
}

/// Why a file of weights was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It cannot be read, or does not fit the card that was named.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// No size that is known has these tensors.
    #[error(
        "{name} has {} and is of no size known here; {nearest} is nearest, from which it differs in {}; \
         give the card of its network with --card:{differences}", counted(*.found, "tensor"), .differences.len()
    )]
    Unknown {
        /// The file.
        name: String,
        /// Its tensors.
        found: usize,
        /// The card that fits best.
        nearest: String,
        /// All differences from it.
        differences: Box<Differences>,
    },
    /// A tensor holds infinities or no numbers.
    #[error("{name}: tensor {key} {cause}; the file is damaged, fetch it again")]
    Tensor {
        /// The file.
        name: String,
        /// The tensor.
        key: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The new file cannot be written.
    #[error("cannot write the imported weights: {0}; make room or set XDG_DATA_HOME elsewhere")]
    Unwritable(String),
}

/// Reads the weights `source` and writes them to `out` as safetensors under SAM 2's keys, in the precision they have.
///
/// They must fit the network of `wanted`; without it, that of one of [`cards::layouts`].
///
/// # Errors
/// A file that cannot be read, does not fit, holds values that are no numbers, or an `out` that cannot be written;
/// what `out` then holds is of no use.
pub fn convert(
    source: &Path,
    wanted: Option<&ModelCard>,
    out: &Path,
) -> Result<Converted, ImportError> {
    let name = source.display().to_string();
    let tensors = tensors_in(source)?;
    let card = match wanted {
        Some(card) => {
            let differences = Differences::between(keys_of(&card.network), &tensors);
            if !differences.is_empty() {
                return Err(WeightsError::Unfit { name, differences }.into());
            }
            card.name.clone()
        }
        None => recognised(&name, &tensors)?,
    };
    write(&name, &tensors, out)?;
    let hash = |path: &Path| sha256_of_file(path);
    Ok(Converted {
        card,
        sha256: hash(out).map_err(|e| ImportError::Unwritable(e.to_string()))?,
        source_sha256: hash(source)
            .map_err(|e| WeightsError::Unreadable { name, cause: e.to_string() })?,
        tensors: tensors.len(),
        parameters: tensors.iter().map(|t| t.shape.to_vec().iter().product::<usize>() as u64).sum(),
    })
}

/// The keys and shapes of a network of these sizes; no tensor is made.
pub fn keys_of(network: &ModelConfig) -> BTreeMap<String, Vec<usize>> {
    let picked = pick(DeviceWant::Cpu).expect("there is always a CPU");
    network.init(&picked.device).keys()
}

/// The card whose network has exactly these tensors.
fn recognised(name: &str, tensors: &[Stored]) -> Result<String, ImportError> {
    let all = cards::layouts()
        .map(|card| (Differences::between(keys_of(&card.network), tensors), card.name));
    let best = all.min_by_key(|(differences, _)| differences.len());
    let (differences, nearest) = best.expect("there are layouts");
    if differences.is_empty() {
        return Ok(nearest);
    }
    Err(ImportError::Unknown {
        name: name.to_owned(),
        found: tensors.len(),
        nearest,
        differences: Box::new(differences),
    })
}

fn write(name: &str, tensors: &[Stored], out: &Path) -> Result<(), ImportError> {
    let failed = RefCell::new(None);
    let views = tensors.iter().map(|tensor| (&tensor.name, Lazy { tensor, failed: &failed }));
    let written = safetensors::serialize_to_file(views, None, out);
    if let Some((key, cause)) = failed.take() {
        return Err(ImportError::Tensor { name: name.to_owned(), key, cause });
    }
    written.map_err(|e| ImportError::Unwritable(e.to_string()))
}

/// A tensor whose bytes are read when they are to be written.
struct Lazy<'a> {
    tensor: &'a Stored,
    /// The first tensor that cannot be used, and why; the trait has no way to say so.
    failed: &'a RefCell<Option<(String, String)>>,
}

impl View for Lazy<'_> {
    fn dtype(&self) -> Dtype {
        match self.tensor.dtype {
            DType::F64 => Dtype::F64,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            // Other kinds were refused as misshapen.
            _ => Dtype::F32,
        }
    }

    fn shape(&self) -> &[usize] {
        self.tensor.shape.as_slice()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let wanted = self.data_len();
        let fault = |cause: String| {
            self.failed.borrow_mut().get_or_insert((self.tensor.name.clone(), cause));
            Cow::Owned(vec![0; wanted])
        };
        match self.tensor.to_bytes() {
            Ok(bytes) if bytes.len() != wanted => {
                fault(format!("has {} bytes, its shape asks for {wanted}", bytes.len()))
            }
            Ok(bytes) if !all_finite(&bytes, self.tensor.dtype) => {
                fault("holds values that are not finite numbers".into())
            }
            Ok(bytes) => Cow::Owned(bytes.to_vec()),
            Err(error) => fault(format!("cannot be read ({error})")),
        }
    }

    fn data_len(&self) -> usize {
        self.tensor.byte_len()
    }
}

/// Whether no value of little-endian floats is infinite or not a number: all their exponent bits would be set.
fn all_finite(bytes: &[u8], dtype: DType) -> bool {
    let high_bits = |size: usize, exponent: u16| {
        bytes.chunks_exact(size).all(|value| {
            u16::from_le_bytes([value[size - 2], value[size - 1]]) & exponent != exponent
        })
    };
    match dtype {
        DType::F64 => high_bits(8, 0x7ff0),
        DType::F16 => high_bits(2, 0x7c00),
        DType::BF16 => high_bits(2, 0x7f80),
        _ => high_bits(4, 0x7f80),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_seen_in_every_precision() {
        let f32s = |v: f32| all_finite(&[1.0f32, v].map(f32::to_le_bytes).concat(), DType::F32);
        assert!(f32s(f32::MAX) && f32s(-0.0) && !f32s(f32::NAN) && !f32s(f32::NEG_INFINITY));
        let f64s = |v: f64| all_finite(&v.to_le_bytes(), DType::F64);
        assert!(f64s(f64::MIN) && !f64s(f64::INFINITY) && !f64s(f64::NAN));
        // The largest half and its infinity.
        assert!(all_finite(&0x7bff_u16.to_le_bytes(), DType::F16));
        assert!(!all_finite(&0x7c00_u16.to_le_bytes(), DType::F16));
        assert!(!all_finite(&0xff80_u16.to_le_bytes(), DType::BF16));
    }

    #[test]
    fn the_four_layouts_differ_from_each_other() {
        let all: Vec<_> = cards::layouts().map(|card| keys_of(&card.network)).collect();
        assert_eq!(all.len(), 4);
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b), "layout {i}");
        }
    }
}
