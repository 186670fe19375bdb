//! The answer for one frame in plain numbers, or why there is none.
//!
//! What decides whether this file is right: numbers are read back from the device once per frame, and what is stored of a
//! frame is what was answered, filled holes included.

use burn::tensor::Tensor;

use super::conditioning::Presence;
use super::heads::{ABSENT_LOGIT, Decided};
use super::store::Entry;
use crate::domain::{Bitmap, counted};
use crate::net::resize::{Kernel, resize_plane};
use crate::net::traffic::{read_back, upload};

/// Logit of a filled hole.
const FILLED_LOGIT: f32 = 0.1;

/// The answer for one frame, in plain numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct StepOut {
    /// Which frame.
    pub frame: usize,
    /// Side of the square of logits.
    pub side: usize,
    /// `side * side` logits over the square network input, row-major; above 0 is inside, all -1024 when absent.
    pub low_res_logits: Vec<f32>,
    /// The network's own estimate of the IoU, 0..=1.
    pub iou: f32,
    /// Raw object score, above 0 = present. Inside a window it gates nothing and is reported only.
    pub object_score: f32,
    /// Whether the object counts as present here: the windows say so, or the score does.
    pub present: bool,
    /// Whether the frame conditions the others.
    pub conditioning: bool,
}

impl StepOut {
    /// Logits at `[h, w]` pixels over the square network input (bilinear, as upstream's video masks).
    pub fn logits_at(&self, to: [usize; 2]) -> Vec<f32> {
        resize_plane(&self.low_res_logits, [self.side, self.side], to, Kernel::Bilinear)
    }
}

/// Why there is no answer for a frame. The tracker is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrackError {
    /// The frame does not exist.
    #[error("frame {} does not exist: the clip has {}", .frame + 1, counted(*.frames, "frame"))]
    NoSuchFrame {
        /// The frame asked for, from 0.
        frame: usize,
        /// Frames of the clip.
        frames: usize,
    },
    /// The frame lies in no window.
    #[error("frame {} lies outside the windows of this structure; extend a window first", .0 + 1)]
    OutsideWindows(usize),
    /// Neither point, box nor mask.
    #[error("frame {} has no prompt; give a point, a box or a mask", .0 + 1)]
    NoPrompt(usize),
    /// A mask whose numbers do not fill its size.
    #[error("the mask for frame {} has {found} values, its size asks for {wanted}", .frame + 1)]
    MaskSize {
        /// The frame, from 0.
        frame: usize,
        /// Values given.
        found: usize,
        /// Values its size asks for.
        wanted: usize,
    },
    /// Nothing conditions the walk.
    #[error("no frame conditions the others; prompt one first")]
    NothingToFollow,
    /// The device failed.
    #[error("the device failed: {0}; try again, or run with --device cpu")]
    Device(String),
}

/// What is kept of a decided frame, without its memory, and its logits; all numbers come in one transfer.
pub(super) fn entry_of(decided: &Decided) -> Result<(Entry, Vec<f32>), TrackError> {
    let low_res = &decided.low_res_masks;
    let parts = vec![
        flat(low_res.clone()),
        flat(decided.iou.clone()),
        flat(decided.object_score_logits.clone()),
    ];
    let mut numbers = read_back(Tensor::cat(parts, 0)).map_err(TrackError::Device)?;
    let object_score = numbers.pop().unwrap_or(f32::NAN);
    let iou = numbers.pop().unwrap_or(f32::NAN);
    let entry = Entry {
        features: None,
        low_res: Some(low_res.clone()),
        obj_ptr: decided.obj_ptr.clone(),
        iou,
        object_score,
    };
    Ok((entry, numbers))
}

fn flat<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let count = x.shape().num_elements();
    x.reshape([count])
}

/// The logits of a frame decided earlier; none once trimmed.
pub(super) fn stored_logits(entry: &Entry) -> Result<Vec<f32>, TrackError> {
    match &entry.low_res {
        Some(low_res) => read_back(flat(low_res.clone())).map_err(TrackError::Device),
        None => Ok(Vec::new()),
    }
}

/// The answer that `entry` is, with its logits.
pub(super) fn answer(
    frame: usize,
    entry: &Entry,
    low_res_logits: Vec<f32>,
    presence: Presence,
    conditioning: bool,
) -> StepOut {
    let side = entry.low_res.as_ref().map_or(0, |low_res| low_res.dims()[3]);
    let present = presence == Presence::Given || entry.object_score > 0.0;
    let (iou, object_score) = (entry.iou, entry.object_score);
    StepOut { frame, side, low_res_logits, iou, object_score, present, conditioning }
}

/// The empty answer of a frame outside the windows; nobody was asked, so its score is neutral.
pub(super) fn absent(frame: usize, side: usize) -> StepOut {
    let low_res_logits = vec![ABSENT_LOGIT; side * side];
    StepOut {
        frame,
        side,
        low_res_logits,
        iou: 0.0,
        object_score: 0.0,
        present: false,
        conditioning: false,
    }
}

/// Fills the holes of an answer of up to `most` cells (8-connected, `fill_holes_in_mask_scores`), and the stored logits
/// with it.
pub(super) fn fill_holes(out: &mut StepOut, entry: &mut Entry, most: usize) {
    let side = out.side as u32;
    if most == 0 || side == 0 {
        return;
    }
    let holes = Bitmap::from_logits(side, side, &out.low_res_logits).inverted().specks(most);
    if holes.area_px() == 0 {
        return;
    }
    for (logit, _) in out.low_res_logits.iter_mut().zip(&holes.pixels).filter(|(_, hole)| **hole) {
        *logit = FILLED_LOGIT;
    }
    if let Some(stored) = &mut entry.low_res {
        *stored = upload(out.low_res_logits.clone(), stored.dims(), &stored.device());
    }
}
