//! The model card: one YAML file that sizes the network and says where its weights come from and what they score.
//!
//! What decides whether this file is right: every number that shapes a tensor is in the card and nowhere else (the
//! official SAM 2.1 sizes are only other cards), and a bad card is refused with all its faults at once.

use super::card_reader::{Section, mapping_of, size_of, sizes_of, text_of, triple_of};
use crate::domain::{TOO_DEEP, counted, too_deep};
use serde::Serialize;
use serde_yaml::{Mapping, Value};
use std::collections::BTreeMap;

/// Everything known about one network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelCard {
    /// Short name, shown on the screen.
    pub name: String,
    /// One line for the list of models; may be empty.
    pub description: String,
    /// Sizes and flags.
    pub network: ModelConfig,
    /// How a grey image becomes network input.
    pub preprocess: Preprocess,
    /// How a structure is followed through a clip.
    pub tracking: Tracking,
    /// Where the weights lie and where they come from.
    pub weights: WeightsOrigin,
    /// Measured scores, any tree of names and numbers.
    pub scores: BTreeMap<String, Value>,
}

/// The sizes of a SAM 2.1-family network; [`super::sam2::Sam2`] is made from it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelConfig {
    /// Side of the square input in pixels, a multiple of 32. Weights do not depend on it.
    pub image_size: usize,
    /// The Hiera trunk.
    pub trunk: TrunkConfig,
    /// The feature pyramid.
    pub neck: NeckConfig,
    /// Prompt encoder.
    pub prompts: PromptConfig,
    /// Mask decoder.
    pub decoder: DecoderConfig,
    /// Memory attention, memory encoder and bank.
    pub memory: MemoryConfig,
    /// The image encoder computes in f16 on GPUs that can, where that changes no mask ([`super::half`]).
    pub encoder_f16: bool,
}

/// Hiera (`backbones/hieradet.py`).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrunkConfig {
    /// Channels of the first stage; doubles at each stage.
    pub embed_dim: usize,
    /// Heads of the first stage; doubles at each stage.
    pub num_heads: usize,
    /// Blocks per stage, four numbers.
    pub stages: Vec<usize>,
    /// Blocks without windows.
    pub global_att_blocks: Vec<usize>,
    /// Window side per stage.
    pub window_spec: Vec<usize>,
    /// Grid of the global position embedding.
    pub window_pos_embed_bkg_spatial_size: Vec<usize>,
}

/// FPN neck (`backbones/image_encoder.py`).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NeckConfig {
    /// Width of everything after the trunk.
    pub d_model: usize,
    /// Levels that take part in the top-down path, 0 = finest.
    pub fpn_top_down_levels: Vec<usize>,
}

/// Prompt encoder (`sam/prompt_encoder.py`) and which prompts the weights understand.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PromptConfig {
    /// Channels inside the mask prompt's convolutions.
    pub mask_in_chans: usize,
    /// Label 4, a point on the boundary (`sam_prompt_encoder.point_embeddings.4.weight`).
    pub boundary_embedding: bool,
    /// The closed curve through the boundary points is the mask prompt and is added to the logits.
    pub curve_prior: bool,
    /// A signed heat map of the clicks enters the dense prompt and both fine feature maps.
    pub click_heat: bool,
    /// The part of a still around the structure is encoded and asked again, filling the input: for weights that learned
    /// from close views, and small enough to encode while a person waits.
    pub closer_look: bool,
}

/// Mask decoder (`sam/mask_decoder.py`, `sam/transformer.py`).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecoderConfig {
    /// Two-way layers.
    pub depth: usize,
    /// Heads of every attention.
    pub num_heads: usize,
    /// Hidden width of the layers' MLP.
    pub mlp_dim: usize,
    /// Hidden width of the IoU head.
    pub iou_head_hidden_dim: usize,
    /// Replace an unstable single mask by the best of the three.
    pub dynamic_multimask: bool,
}

/// Memory (`modeling/memory_attention.py`, `memory_encoder.py`, `sam2_base.py`).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MemoryConfig {
    /// Channels of a stored memory.
    pub mem_dim: usize,
    /// Frames remembered, the current one included.
    pub num_maskmem: usize,
    /// Most object pointers attended to.
    pub max_obj_ptrs: usize,
    /// Memory attention layers.
    pub attention_layers: usize,
    /// Hidden width of their feed-forward part.
    pub attention_ffn: usize,
    /// Their heads; SAM 2 has 1.
    pub attention_heads: usize,
    /// ConvNeXt blocks in the memory encoder.
    pub fuser_layers: usize,
    /// Most conditioning frames attended to: the nearest before, the nearest after, then the next nearest. 0 = all.
    pub max_cond_frames: usize,
    /// Corrected frames become conditioning frames, as in training (upstream's default loses corrections).
    pub corrections_condition: bool,
    /// Other memories near a corrected frame are dropped: they may carry the mistake it corrects.
    pub clear_stale: bool,
    /// Holes of up to so many cells of the low-resolution mask are filled; 0 = none. Upstream's video default is 8.
    pub fill_hole_area: usize,
}

/// What helps the memory to follow a structure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tracking {
    /// The contour is carried by the motion of the tissue. `false` is SAM 2 as published: memory alone.
    pub motion: bool,
}

/// How a grey image becomes network input.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preprocess {
    /// Keep the aspect ratio or not.
    pub fit: Fit,
    /// Per channel, on values in 0..=1.
    pub mean: [f32; 3],
    /// Per channel, on values in 0..=1.
    pub std: [f32; 3],
}

/// How an image fills the square input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// Aspect ratio kept, centred, the rest black.
    Letterbox,
    /// Both sides scaled to the square (official SAM 2).
    Stretch,
}

/// Where weights come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct WeightsOrigin {
    /// File name beside the card; empty = no weights yet.
    pub file: String,
    /// SHA-256 of the file in hex; empty = not pinned.
    pub sha256: String,
    /// SPDX expression.
    pub licence: String,
    /// What the training started from.
    pub lineage: String,
    /// The command that made them.
    pub command: String,
    /// Its seed.
    pub seed: u64,
    /// Data set name to hash.
    pub data: BTreeMap<String, String>,
    /// Program that trained them, with its version and recipe; empty = not said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub program: String,
}

/// All that is wrong with a card.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the model card has {}:\n  - {}", counted(faults.len(), "fault"), faults.join("\n  - "))]
pub struct CardError {
    /// One sentence per fault.
    pub faults: Vec<String>,
}

/// A larger card is refused unread.
const CARD_BYTES_MAX: usize = 256 * 1024;

impl ModelCard {
    /// Reads a card; every fault is named.
    pub fn from_yaml(text: &str) -> Result<Self, CardError> {
        let refuse = |fault: String| CardError { faults: vec![fault] };
        if text.len() > CARD_BYTES_MAX {
            return Err(refuse(format!(
                "it is larger than {} KiB, no card is; give the card of the network",
                CARD_BYTES_MAX >> 10
            )));
        }
        if let Some(line) = too_deep(text) {
            return Err(refuse(format!("line {line}: {TOO_DEEP}")));
        }
        let value: Value =
            serde_yaml::from_str(text).map_err(|e| refuse(format!("it is not YAML: {e}")))?;
        let Value::Mapping(root) = value else {
            return Err(refuse("it must be a mapping with `name`, `network`, ...".into()));
        };
        let mut faults = Vec::new();
        let mut top = Section::new(root, String::new(), &mut faults);
        let name = top.need("name", text_of);
        let description = top.or("description", String::new(), text_of);
        let scores = top.or("scores", Mapping::new(), mapping_of);
        let network = top.section("network");
        let preprocess = top.section("preprocess");
        let tracking = top.section("tracking");
        let weights = top.section("weights");
        top.end();
        let card = Self {
            name,
            description,
            network: ModelConfig::read(network, &mut faults),
            preprocess: Preprocess::read(preprocess, &mut faults),
            tracking: Tracking::read(tracking, &mut faults),
            weights: WeightsOrigin::read(weights, &mut faults),
            scores: scores
                .into_iter()
                .filter_map(|(k, v)| Some((k.as_str()?.to_owned(), v)))
                .collect(),
        };
        card.network.check(&mut faults);
        if faults.is_empty() { Ok(card) } else { Err(CardError { faults }) }
    }

    /// Reads a card file. A file that cannot be read is one more fault.
    pub fn read_file(path: &std::path::Path) -> Result<Self, CardError> {
        let text = std::fs::read_to_string(path).map_err(|cause| CardError {
            faults: vec![format!("it cannot be read: {cause}; check the path and the rights")],
        })?;
        Self::from_yaml(&text)
    }

    /// The card as YAML, readable by [`ModelCard::from_yaml`].
    pub fn to_yaml(&self) -> String {
        serde_yaml::to_string(self).expect("a card holds only strings, numbers and lists")
    }
}

impl ModelConfig {
    fn read(map: Mapping, faults: &mut Vec<String>) -> Self {
        let mut s = Section::new(map, "network.".into(), faults);
        let image_size = s.need("image_size", size_of);
        let encoder_f16 = s.or("encoder_f16", false, Value::as_bool);
        let parts = ["trunk", "neck", "prompts", "decoder", "memory"].map(|name| s.section(name));
        s.end();
        let [trunk, neck, prompts, decoder, memory] = parts;
        let mut s = Section::new(trunk, "network.trunk.".into(), faults);
        let trunk = TrunkConfig {
            embed_dim: s.need("embed_dim", size_of),
            num_heads: s.need("num_heads", size_of),
            stages: s.need("stages", sizes_of),
            global_att_blocks: s.need("global_att_blocks", sizes_of),
            window_spec: s.need("window_spec", sizes_of),
            window_pos_embed_bkg_spatial_size: s
                .need("window_pos_embed_bkg_spatial_size", sizes_of),
        };
        s.end();
        let mut s = Section::new(neck, "network.neck.".into(), faults);
        let neck = NeckConfig {
            d_model: s.need("d_model", size_of),
            fpn_top_down_levels: s.or("fpn_top_down_levels", vec![2, 3], sizes_of),
        };
        s.end();
        let mut s = Section::new(prompts, "network.prompts.".into(), faults);
        let prompts = PromptConfig {
            mask_in_chans: s.or("mask_in_chans", 16, size_of),
            boundary_embedding: s.or("boundary_embedding", false, Value::as_bool),
            curve_prior: s.or("curve_prior", false, Value::as_bool),
            click_heat: s.or("click_heat", false, Value::as_bool),
            closer_look: s.or("closer_look", false, Value::as_bool),
        };
        s.end();
        let mut s = Section::new(decoder, "network.decoder.".into(), faults);
        let decoder = DecoderConfig {
            depth: s.or("depth", 2, size_of),
            num_heads: s.or("num_heads", 8, size_of),
            mlp_dim: s.need("mlp_dim", size_of),
            iou_head_hidden_dim: s.need("iou_head_hidden_dim", size_of),
            dynamic_multimask: s.or("dynamic_multimask", true, Value::as_bool),
        };
        s.end();
        let mut s = Section::new(memory, "network.memory.".into(), faults);
        let memory = MemoryConfig {
            mem_dim: s.need("mem_dim", size_of),
            num_maskmem: s.or("num_maskmem", 7, size_of),
            max_obj_ptrs: s.or("max_obj_ptrs", 16, size_of),
            attention_layers: s.need("attention_layers", size_of),
            attention_ffn: s.need("attention_ffn", size_of),
            attention_heads: s.or("attention_heads", 1, size_of),
            fuser_layers: s.or("fuser_layers", 2, size_of),
            max_cond_frames: s.or("max_cond_frames", 0, size_of),
            corrections_condition: s.or("corrections_condition", true, Value::as_bool),
            clear_stale: s.or("clear_stale", true, Value::as_bool),
            fill_hole_area: s.or("fill_hole_area", 0, size_of),
        };
        s.end();
        Self { image_size, trunk, neck, prompts, decoder, memory, encoder_f16 }
    }

    /// The same network for another input size; the weights fit both.
    pub fn at_size(mut self, image_size: usize) -> Self {
        self.image_size = image_size;
        self
    }

    /// Adds a sentence for each number that cannot make a network.
    fn check(&self, faults: &mut Vec<String>) {
        let mut demand = |ok: bool, sentence: String| {
            if !ok {
                faults.push(sentence);
            }
        };
        let (t, d, m) = (&self.trunk, self.neck.d_model, &self.memory);
        demand(
            self.image_size >= 32 && self.image_size.is_multiple_of(32) && self.image_size <= 4096,
            format!(
                "`network.image_size` is {}, it must be a multiple of 32 up to 4096",
                self.image_size
            ),
        );
        t.check(self.image_size, &mut demand);
        demand(
            (8..=1024).contains(&d) && d.is_multiple_of(8),
            format!("`network.neck.d_model` is {d}, it must be a multiple of 8 up to 1024"),
        );
        demand(
            self.neck.fpn_top_down_levels.iter().all(|l| *l < 4),
            "`network.neck.fpn_top_down_levels` names a level above 3".into(),
        );
        let heads = self.decoder.num_heads;
        demand(
            heads > 0 && (d / 2).is_multiple_of(heads.max(1)),
            format!("`network.decoder.num_heads` {heads} must divide half of `d_model`"),
        );
        demand(
            m.mem_dim >= 4 && m.mem_dim.is_multiple_of(4) && d.is_multiple_of(m.mem_dim.max(1)),
            format!(
                "`network.memory.mem_dim` {} must be a multiple of 4 that divides `d_model`",
                m.mem_dim
            ),
        );
        demand(
            m.attention_heads > 0 && d.is_multiple_of(4 * m.attention_heads.max(1)),
            format!(
                "`network.memory.attention_heads` {} must divide `d_model` into multiples of 4",
                m.attention_heads
            ),
        );
        let sizes = [
            ("prompts.mask_in_chans", self.prompts.mask_in_chans, 4),
            ("decoder.depth", self.decoder.depth, 1),
            ("decoder.mlp_dim", self.decoder.mlp_dim, 1),
            ("decoder.iou_head_hidden_dim", self.decoder.iou_head_hidden_dim, 1),
            ("memory.num_maskmem", m.num_maskmem, 1),
            ("memory.max_obj_ptrs", m.max_obj_ptrs, 1),
            ("memory.attention_layers", m.attention_layers, 1),
            ("memory.attention_ffn", m.attention_ffn, 1),
            ("memory.fuser_layers", m.fuser_layers, 1),
        ];
        for (name, value, least) in sizes {
            demand(
                (least..=8192).contains(&value),
                format!("`network.{name}` is {value}, it must lie between {least} and 8192"),
            );
        }
    }
}

impl TrunkConfig {
    /// Tells `demand` of each number whether it can make a trunk for images of that side.
    fn check(&self, image_size: usize, demand: &mut impl FnMut(bool, String)) {
        let four = |name: &str, list: &[usize]| {
            let fine = list.len() == 4 && list.iter().all(|n| (1..=64).contains(n));
            (fine, format!("`network.trunk.{name}` must be four numbers from 1 to 64"))
        };
        for (fine, sentence) in
            [four("stages", &self.stages), four("window_spec", &self.window_spec)]
        {
            demand(fine, sentence);
        }
        demand(
            (1..4).all(|stage| self.is_halved(stage)),
            "all but the last of `network.trunk.window_spec` must be even: stages halve them"
                .into(),
        );
        let bkg = &self.window_pos_embed_bkg_spatial_size;
        demand(
            bkg.len() == 2 && bkg.iter().all(|n| (1..=64).contains(n)),
            "`network.trunk.window_pos_embed_bkg_spatial_size` must be two numbers from 1 to 64"
                .into(),
        );
        if let Some(w) = self.window_spec.first().filter(|w| **w > 0) {
            demand(
                (image_size / 4).is_multiple_of(*w),
                format!(
                    "a quarter of `network.image_size` must be a multiple of the first window {w}"
                ),
            );
        }
        demand(
            self.num_heads > 0
                && self.embed_dim.is_multiple_of(self.num_heads.max(1))
                && (1..=1024).contains(&self.embed_dim),
            format!(
                "`network.trunk.embed_dim` {} must be a multiple of `num_heads` {}",
                self.embed_dim, self.num_heads
            ),
        );
    }

    /// Whether the windows that the first block of a stage after the first has, those of the stage before it, can be halved.
    fn is_halved(&self, stage: usize) -> bool {
        let first = self.stages.iter().take(stage).fold(0, |n: usize, m| n.saturating_add(*m));
        let window = self.window_spec.get(stage - 1).copied().unwrap_or(0);
        window.is_multiple_of(2) || self.global_att_blocks.contains(&first)
    }
}

impl Preprocess {
    fn read(map: Mapping, faults: &mut Vec<String>) -> Self {
        let mut s = Section::new(map, "preprocess.".into(), faults);
        let out = Self {
            fit: s.need("fit", |v| match v.as_str()? {
                "letterbox" => Some(Fit::Letterbox),
                "stretch" => Some(Fit::Stretch),
                _ => None,
            }),
            mean: s.or("mean", [0.485, 0.456, 0.406], triple_of),
            std: s.or("std", [0.229, 0.224, 0.225], triple_of),
        };
        s.end();
        if out.std.iter().any(|v| !v.is_finite() || *v <= 0.0)
            || out.mean.iter().any(|v| !v.is_finite())
        {
            faults.push("`preprocess.mean` and `std` must be finite, `std` above 0".into());
        }
        out
    }
}

impl Tracking {
    fn read(map: Mapping, faults: &mut Vec<String>) -> Self {
        let mut s = Section::new(map, "tracking.".into(), faults);
        let out = Self { motion: s.or("motion", true, Value::as_bool) };
        s.end();
        out
    }
}

impl WeightsOrigin {
    fn read(map: Mapping, faults: &mut Vec<String>) -> Self {
        let mut s = Section::new(map, "weights.".into(), faults);
        let data = s.or("data", Mapping::new(), mapping_of);
        let out = Self {
            file: s.or("file", String::new(), text_of),
            sha256: s.or("sha256", String::new(), text_of),
            licence: s.need("licence", text_of),
            lineage: s.or("lineage", String::new(), text_of),
            command: s.or("command", String::new(), text_of),
            seed: s.or("seed", 0, Value::as_u64),
            data: data.iter().filter_map(|(k, v)| Some((text_of(k)?, text_of(v)?))).collect(),
            program: s.or("program", String::new(), text_of),
        };
        s.end();
        let hex = out.sha256.len() == 64 && out.sha256.bytes().all(|b| b.is_ascii_hexdigit());
        if !out.sha256.is_empty() && !hex {
            faults.push("`weights.sha256` must be 64 hexadecimal digits".into());
        }
        // A card may come from anyone; its weights stay beside it.
        if out.file.contains(['/', '\\']) || out.file == ".." {
            faults.push("`weights.file` must be a plain file name beside the card".into());
        }
        out
    }
}
