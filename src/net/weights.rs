//! Weights in and out: safetensors both ways, official `.pt` in; SAM 2's key names on disk.
//!
//! What decides whether this file is right: nothing is loaded unless every tensor of the network is in the file with its
//! shape and the file holds nothing else, and all differences are reported at once; parameters named `n3` in the code are
//! position 3 of an `nn.Sequential` on disk; layouts are PyTorch's already (see `blocks.rs`), so no adapter turns a
//! matrix, and half-precision files become f32.

use super::config::WeightsOrigin;
use super::sam2::Sam2;
use super::torch_zip::without_zip64;
use burn::module::{Module, ModuleVisitor, Param};
use burn::store::burn_pack::Tensor as Stored;
use burn::store::{FloatCastAdapter, ModuleSnapshot, ModuleStore, PytorchStore, SafetensorsStore};
use burn::tensor::{DType, Tensor};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Tensors of SAMUSA that official files lack, for training to begin from these: they keep their initial values, the
/// boundary embedding starts from the mean of "outside" and "inside". An import asks for them where its card does.
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
    #[error(
        "cannot read weights {name}: {cause}; check that the file is whole and may be read, or fetch it again"
    )]
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
    #[error(
        "weights {name} do not fit the card's network; use the card that belongs to them:{differences}"
    )]
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

/// Lines of a list of differences at most: all that a published network can lack, not all that a stranger's file can hold.
const LISTED: usize = 1000;
/// And the length of one, characters.
const LINE: usize = 300;

impl std::fmt::Display for Differences {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |f: &mut std::fmt::Formatter<'_>, what: &str, lines: &[String]| {
            if lines.is_empty() {
                return Ok(());
            }
            write!(f, "\n  {} {what}:", lines.len())?;
            for line in lines.iter().take(LISTED) {
                write!(f, "\n    {line:.LINE$}")?;
            }
            match lines.len().saturating_sub(LISTED) {
                0 => Ok(()),
                more => write!(f, "\n    and {more} more"),
            }
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
    /// How a file with `tensors` differs from a network with the keys and shapes `wanted`.
    pub(super) fn between(mut wanted: BTreeMap<String, Vec<usize>>, tensors: &[Stored]) -> Self {
        let mut out = Self::default();
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
        out.missing = wanted.into_keys().collect();
        out.unexpected.sort();
        out.misshapen.sort();
        out
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.missing.len() + self.unexpected.len() + self.misshapen.len()
    }

    /// Whether the file fits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file in lower-case hex; the file is read in pieces.
///
/// # Errors
/// What the system says.
pub fn sha256_of_file(path: &Path) -> io::Result<String> {
    let (mut file, mut hash) = (File::open(path)?, Sha256::new());
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&piece[..n]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The tensors of a safetensors or PyTorch file, told apart by content. Their bytes stay unread, and nothing that a
/// pickle would call is called: the reader knows how tensors are rebuilt and takes everything else as opaque.
pub(super) fn tensors_in(path: &Path) -> Result<Vec<Stored>, WeightsError> {
    let name = path.display().to_string();
    let unreadable = |cause: String| WeightsError::Unreadable { name: name.clone(), cause };
    if is_safetensors(path).map_err(|e| unreadable(e.to_string()))? {
        let mut store = SafetensorsStore::from_file(path);
        let tensors = store.get_all_tensors().map_err(|e| unreadable(e.to_string()))?;
        return Ok(unwrapped(tensors.values().cloned().collect()));
    }
    let refused = match nested_tensors(path) {
        Ok(tensors) => return Ok(unwrapped(tensors)),
        Err(refused) => refused,
    };
    // The open copy is read after its name is gone.
    let copy = without_zip64(path).map_err(|e| unreadable(e.to_string()))?;
    copy.map_or(Err(refused), |copy| nested_tensors(copy.path())).map(unwrapped).map_err(unreadable)
}

/// The part that every network of this layout has, by which what stands before all names is told from the names.
const EVERY_NETWORKS: &str = "image_encoder.";

/// The tensors by the names that they have in the network itself: trainers on several devices (`module.`), compilers
/// (`_orig_mod.`) and frameworks (`model.`) save it inside modules of theirs. What lies beside it keeps its name.
fn unwrapped(mut tensors: Vec<Stored>) -> Vec<Stored> {
    let before = |name: &str| Some(name[..name.find(EVERY_NETWORKS)?].to_owned());
    let wrapper = tensors.iter().find_map(|tensor| before(&tensor.name));
    if let Some(wrapper) = wrapper.filter(|wrapper| wrapper.ends_with('.')) {
        for tensor in tensors.iter_mut().filter(|tensor| tensor.name.starts_with(&wrapper)) {
            tensor.name = tensor.name.split_off(wrapper.len());
        }
    }
    tensors
}

/// The tensors of a PyTorch file, or why there are none.
fn nested_tensors(path: &Path) -> Result<Vec<Stored>, String> {
    // Published files and trainers' checkpoints nest the network, some exports are the bare network.
    let mut refused = String::new();
    for nested in [Some("model"), Some("state_dict"), Some("model_state_dict"), None] {
        let mut store = PytorchStore::from_file(path).map_indices_contiguous(false);
        if let Some(key) = nested {
            store = store.with_top_level_key(key);
        }
        match store.get_all_tensors() {
            Ok(tensors) if !tensors.is_empty() => return Ok(tensors.values().cloned().collect()),
            Ok(_) => refused = "it holds no tensor".into(),
            Err(error) => refused = error.to_string(),
        }
    }
    Err(refused)
}

/// A safetensors file opens with the length of its header and the header's brace.
fn is_safetensors(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(9).read_to_end(&mut start)?;
    Ok(start.len() == 9 && start[8] == b'{')
}

/// The keys and shapes of a module, found without making any of its tensors.
#[derive(Default)]
struct Keys {
    path: Vec<String>,
    found: BTreeMap<String, Vec<usize>>,
}

impl ModuleVisitor for Keys {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.insert(key_of(&self.path.join(".")), param.lazy_shape().to_vec());
    }
}

impl Sam2 {
    /// Every key with its shape, sorted; what a weight file must hold.
    pub fn keys(&self) -> BTreeMap<String, Vec<usize>> {
        let mut keys = Keys::default();
        self.visit(&mut keys);
        keys.found
    }

    /// Loads a `.safetensors` or official `.pt` file, checking it against the card's hash where there is one.
    pub fn load_file(self, path: &Path, origin: &WeightsOrigin) -> Result<Self, WeightsError> {
        let name = path.display().to_string();
        if !origin.sha256.is_empty() {
            let found = sha256_of_file(path).map_err(|e| WeightsError::Unreadable {
                name: name.clone(),
                cause: e.to_string(),
            })?;
            check_hash(&name, found, origin)?;
        }
        self.filled(&name, tensors_in(path)?)
    }

    /// Loads the bytes of a safetensors file, for embedded weights; `name` is only for messages.
    pub fn load_bytes(
        self,
        name: &str,
        bytes: Vec<u8>,
        origin: &WeightsOrigin,
    ) -> Result<Self, WeightsError> {
        if !origin.sha256.is_empty() {
            check_hash(name, sha256_hex(&bytes), origin)?;
        }
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
        let mut differences = Differences::between(self.keys(), &tensors);
        let absent_is_fine = |key: &str| MAY_BE_ABSENT.iter().any(|start| key.starts_with(start));
        differences.missing.retain(|key| !absent_is_fine(key));
        if !differences.is_empty() {
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
}

/// `found`, the hash of a file, against that of its card.
pub(super) fn check_hash(
    name: &str,
    found: String,
    origin: &WeightsOrigin,
) -> Result<(), WeightsError> {
    let wanted = origin.sha256.to_ascii_lowercase();
    if found == wanted {
        return Ok(());
    }
    Err(WeightsError::WrongHash { name: name.to_owned(), found, wanted })
}
