//! What a tracker may do otherwise than its model says.

use crate::net::memory_bank::BankRules;
use crate::net::sam2::Sam2;

/// Anchors that a frame of a walk attends to at most, by SAM 2's own choice (`max_cond_frames_in_attn`, which its models
/// leave open): a clip corrected on scores of frames would read all of them on each, and those far away say little.
pub const ANCHORS_MAX: usize = 8;

/// How a tracker differs from its model's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackerOptions {
    /// What is recalled; sizes come from the model.
    pub rules: BankRules,
    /// Corrections become conditioning frames. `false` is upstream's default, which loses them.
    pub corrections_condition: bool,
    /// Drop this object's other memories near a frame with new input: they may carry the mistake it corrects.
    pub clear_stale: bool,
    /// Holes of up to so many cells of the answer are filled; 0 = none.
    pub fill_hole_area: usize,
    /// Store mask memories in bf16, as upstream does; halves their size and moves logits by some 1e-3.
    pub bf16_memory: bool,
    /// Bytes of mask memories to keep before those that a walk cannot read again are dropped. A clip that fits is never
    /// trimmed, so corrections anywhere in it read exactly what upstream would.
    pub bank_bytes: usize,
}

impl TrackerOptions {
    /// The defaults for a model: what its card says, and 64 MiB of memories.
    pub fn for_model(sam: &Sam2) -> Self {
        let memory = &sam.config().memory;
        let rules = BankRules {
            num_maskmem: memory.num_maskmem,
            max_obj_ptrs: memory.max_obj_ptrs,
            max_cond_frames_in_attn: (memory.max_cond_frames > 0).then_some(memory.max_cond_frames),
            ..BankRules::default()
        };
        Self {
            rules,
            corrections_condition: memory.corrections_condition,
            clear_stale: memory.clear_stale,
            fill_hole_area: memory.fill_hole_area,
            bf16_memory: false,
            bank_bytes: 64 << 20,
        }
    }

    /// [`Self::for_model`] for walks between anchors that a person set: no more than [`ANCHORS_MAX`] are read.
    pub fn for_walks(sam: &Sam2) -> Self {
        let mut options = Self::for_model(sam);
        let most = &mut options.rules.max_cond_frames_in_attn;
        *most = Some(most.map_or(ANCHORS_MAX, |card| card.min(ANCHORS_MAX)));
        options
    }
}
