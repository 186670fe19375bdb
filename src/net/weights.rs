//! Weights in and out: safetensors both ways, official `.pt` in; SAM 2's key names on disk.
//!
//! What decides whether this file is right: nothing is loaded unless every tensor of the network is in the file with its
//! shape and the file holds nothing else, and all differences are reported at once; parameters named `n3` in the code are
//! position 3 of an `nn.Sequential` on disk; layouts are PyTorch's already (see `blocks.rs`), so no adapter turns a
//! matrix, and half-precision files become f32.

use super::config::WeightsOrigin;
use super::sam2::Sam2;
use burn::store::burn_pack::Tensor as Stored;
use burn::store::{FloatCastAdapter, ModuleSnapshot, ModuleStore, PytorchStore, SafetensorsStore};
use burn::tensor::DType;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// Tensors of SAMUSA that official files lack; they keep their initial values, the boundary embedding starts from the
/// mean of "outside" and "inside".
const MAY_BE_ABSENT: [&str; 4] =
    ["sam_prompt_encoder.point_embeddings.4.", "click16.", "click32.", "click64."];
/// Where PyTorch counts the parts of an `nn.Sequential`.
const SEQUENTIALS: [&str; 6] = [
    "output_upscaling.",
    "mask_downscaling.",
    "mask_downsampler.encoder.",
    "click16.",
    "click32.",
    "click64.",
];

/// Why weights were refused.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be read at all.
    #[error("cannot read weights {name}: {cause}")]
    Unreadable {
        /// The file.
        name: String,
        /// What the reader says.
        cause: String,
    },
    /// The file is not the one the card names.
    #[error(
        "weights {name} have SHA-256 {found}, the card says {wanted}; fetch the file again or correct the card"
    )]
    WrongHash {
        /// The file.
        name: String,
        /// Hash of the file.
        found: String,
        /// Hash in the card.
        wanted: String,
    },
    /// The file does not fit the network.
    #[error("weights {name} do not fit the card's network:{differences}")]
    Unfit {
        /// The file.
        name: String,
        /// All differences.
        differences: Differences,
    },
    /// The file cannot be written.
    #[error("cannot write weights {name}: {cause}")]
    Unwritable {
        /// The file.
        name: String,
        /// What the writer says.
        cause: String,
    },
}

/// How a file differs from a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Keys the network needs and the file lacks.
    pub missing: Vec<String>,
    /// Keys in the file that the network does not know.
    pub unexpected: Vec<String>,
    /// Key, wanted shape, found shape or kind.
    pub misshapen: Vec<(String, String, String)>,
}

impl std::fmt::Display for Differences {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |f: &mut std::fmt::Formatter<'_>, what: &str, lines: &[String]| {
            if lines.is_empty() {
                return Ok(());
            }
            write!(f, "\n  {} {what}:\n    {}", lines.len(), lines.join("\n    "))
        };
        list(f, "missing", &self.missing)?;
        list(f, "unexpected", &self.unexpected)?;
        let shapes: Vec<String> = self
            .misshapen
            .iter()
            .map(|(key, want, got)| format!("{key}: wanted {want}, found {got}"))
            .collect();
        list(f, "of another shape", &shapes)
    }
}

impl Differences {
    fn none(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }
}

/// SAM 2's key of a parameter path: `a.n3.weight` is `a.3.weight`.
fn key_of(path: &str) -> String {
    let part = |p: &str| match p.strip_prefix('n') {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.to_owned()
        }
        _ => p.to_owned(),
    };
    path.split('.').map(part).collect::<Vec<_>>().join(".")
}

/// The parameter path of a SAM 2 key.
fn path_of(key: &str) -> String {
    for sequential in SEQUENTIALS {
        if let Some(at) = key.find(sequential) {
            let (head, tail) = key.split_at(at + sequential.len());
            if tail.starts_with(|c: char| c.is_ascii_digit()) {
                return format!("{head}n{tail}");
            }
        }
    }
    key.to_owned()
}

/// SHA-256 in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

impl Sam2 {
    /// Every key with its shape, sorted; what a weight file must hold.
    pub fn keys(&self) -> BTreeMap<String, Vec<usize>> {
        let tensors = self.collect(None, None, false);
        tensors.iter().map(|t| (key_of(&t.name), t.shape.to_vec())).collect()
    }

    /// Loads a `.safetensors` or official `.pt` file, checking it against the card's hash where there is one.
    pub fn load_file(self, path: &Path, origin: &WeightsOrigin) -> Result<Self, WeightsError> {
        let name = path.display().to_string();
        let unreadable = |cause: String| WeightsError::Unreadable { name: name.clone(), cause };
        let bytes = std::fs::read(path).map_err(|e| unreadable(e.to_string()))?;
        if path.extension().is_some_and(|e| e == "safetensors") {
            return self.load_bytes(&name, bytes, origin);
        }
        check_hash(&name, &bytes, origin)?;
        let mut store =
            PytorchStore::from_file(path).with_top_level_key("model").map_indices_contiguous(false);
        let tensors = store.get_all_tensors().map_err(|e| unreadable(e.to_string()))?;
        let tensors = tensors.values().cloned().collect();
        self.filled(&name, tensors)
    }

    /// Loads the bytes of a safetensors file, for embedded weights; `name` is only for messages.
    pub fn load_bytes(
        self,
        name: &str,
        bytes: Vec<u8>,
        origin: &WeightsOrigin,
    ) -> Result<Self, WeightsError> {
        check_hash(name, &bytes, origin)?;
        let mut store = SafetensorsStore::from_bytes(Some(bytes));
        let tensors = store.get_all_tensors().map_err(|e| WeightsError::Unreadable {
            name: name.to_owned(),
            cause: e.to_string(),
        })?;
        let tensors = tensors.values().cloned().collect();
        self.filled(name, tensors)
    }

    /// The network as safetensors bytes under SAM 2's keys.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, WeightsError> {
        let refuse = |cause: String| WeightsError::Unwritable { name: "(memory)".into(), cause };
        // No metadata: its order is random, and equal weights must give equal bytes and hashes.
        let mut store = SafetensorsStore::from_bytes(None)
            .clear_metadata()
            .with_key_remapping(r"\.n(\d+)\.", ".$1.");
        store.collect_from(self).map_err(|e| refuse(e.to_string()))?;
        store.get_bytes().map_err(|e| refuse(e.to_string()))
    }

    fn filled(mut self, name: &str, mut tensors: Vec<Stored>) -> Result<Self, WeightsError> {
        let differences = self.compare(&tensors);
        if !differences.none() {
            return Err(WeightsError::Unfit { name: name.to_owned(), differences });
        }
        let has_boundary = tensors.iter().any(|t| t.name.starts_with(MAY_BE_ABSENT[0]));
        for tensor in &mut tensors {
            tensor.name = path_of(&tensor.name);
        }
        let result =
            self.apply(tensors, None, Some(Box::new(FloatCastAdapter::to(DType::F32))), false);
        if let Some(first) = result.errors.first() {
            return Err(WeightsError::Unreadable {
                name: name.to_owned(),
                cause: first.to_string(),
            });
        }
        if !has_boundary {
            self.sam_prompt_encoder.start_boundary_embedding();
        }
        Ok(self)
    }

    fn compare(&self, tensors: &[Stored]) -> Differences {
        let mut wanted = self.keys();
        let mut out = Differences::default();
        for tensor in tensors {
            match wanted.remove(&tensor.name) {
                None => out.unexpected.push(tensor.name.clone()),
                Some(shape) if !tensor.dtype.is_float() || shape != tensor.shape.to_vec() => {
                    let found = format!("{:?} {:?}", tensor.shape.to_vec(), tensor.dtype);
                    out.misshapen.push((tensor.name.clone(), format!("{shape:?}"), found));
                }
                Some(_) => {}
            }
        }
        let absent_is_fine = |key: &str| MAY_BE_ABSENT.iter().any(|start| key.starts_with(start));
        out.missing = wanted.into_keys().filter(|key| !absent_is_fine(key)).collect();
        out.unexpected.sort();
        out
    }
}

fn check_hash(name: &str, bytes: &[u8], origin: &WeightsOrigin) -> Result<(), WeightsError> {
    let wanted = origin.sha256.to_ascii_lowercase();
    if wanted.is_empty() {
        return Ok(());
    }
    let found = sha256_hex(bytes);
    if found == wanted {
        return Ok(());
    }
    Err(WeightsError::WrongHash { name: name.to_owned(), found, wanted })
}
