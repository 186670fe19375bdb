//! The answer for one frame in plain numbers, or why there is none.
//!
//! What decides whether this file is right: numbers are read back from the device once per frame, and what is stored of a
//! frame is what was answered, filled holes included.

use burn::tensor::{Tensor, TensorData};

use super::conditioning::Presence;
use super::heads::{ABSENT_LOGIT, Decided};
use super::store::Entry;
use crate::domain::Bitmap;
use crate::net::resize::{Kernel, resize_plane};

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
    #[error("frame {} does not exist: the clip has {frames} frames", .frame + 1)]
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

/// What is kept of a decided frame, before its memory is made.
pub(super) fn entry_of(decided: &Decided) -> Result<Entry, TrackError> {
    Ok(Entry {
        features: None,
        low_res: Some(decided.low_res_masks.clone()),
        obj_ptr: decided.obj_ptr.clone(),
        iou: scalar(&decided.iou)?,
        object_score: scalar(&decided.object_score_logits)?,
    })
}

fn scalar(x: &Tensor<2>) -> Result<f32, TrackError> {
    x.clone().try_into_scalar::<f32>().map_err(|e| TrackError::Device(e.to_string()))
}

/// The answer that `entry` is.
pub(super) fn answer(
    frame: usize,
    entry: &Entry,
    presence: Presence,
    conditioning: bool,
) -> Result<StepOut, TrackError> {
    let (low_res_logits, side) = match &entry.low_res {
        Some(low_res) => {
            let read = low_res.clone().try_into_vec_as::<f32>();
            (read.map_err(|e| TrackError::Device(e.to_string()))?, low_res.dims()[3])
        }
        None => (Vec::new(), 0),
    };
    let present = presence == Presence::Given || entry.object_score > 0.0;
    let (iou, object_score) = (entry.iou, entry.object_score);
    Ok(StepOut { frame, side, low_res_logits, iou, object_score, present, conditioning })
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
        let data = TensorData::new(out.low_res_logits.clone(), stored.dims());
        *stored = Tensor::from_data(data, &stored.device());
    }
}
