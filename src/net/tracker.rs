//! One object followed through a clip (`sam2_video_predictor.py`, `SAM2Base.track_step`).
//!
//! What decides whether this file is right: a frame never walked over reads no memory and gets `no_mem_embed`, every
//! other frame reads the bank; a correction re-enters with the previous logits clamped to ±32; prompted frames are
//! remembered at [`Tracker::preflight`] with a binary mask, walked ones at once with a soft one; conditioning frames are
//! handed out as stored. Golden `vid.*` compares every intermediate tensor.
//!
//! Two deliberate departures from upstream, both switchable: corrections become conditioning frames (upstream's default
//! forgets them at the next walk, issue 731), and windows set by a person override the object score.
//! Objects are independent: use one [`Tracker`] each over the same image features.

mod answer;
mod conditioning;
mod heads;
mod options;
mod store;

use std::collections::BTreeMap;

use burn::tensor::{DType, Tensor, TensorData};

pub use answer::{StepOut, TrackError};
pub use conditioning::{Conditioned, MaskMemory, MaskScale, Places, PointerMemory, Presence};
pub use heads::Decided;
pub use options::{ANCHORS_MAX, TrackerOptions};

use super::memory_bank::{Direction, stale_around};
use super::prompt_encoder::{PointBatch, PointLabel};
use super::resize::{Kernel, resize_plane};
use super::sam2::{ImageFeatures, PREVIOUS_LOGIT_MAX, Prompts, Sam2, wants_multimask};
use super::traffic::upload;
use crate::domain::Window;
use answer::{absent, answer, entry_of, fill_holes, stored_logits};
use store::{Entry, Pending, Store};

/// Frames remembered at most, whatever their size: attention reads about twenty round the one in hand, the rest serves
/// walks that start again near by, and a clip of any length shall need what one of this length needs.
const BANK_FRAMES: usize = 400;

/// Follows one object.
#[derive(Clone, Debug)]
pub struct Tracker {
    options: TrackerOptions,
    num_frames: usize,
    windows: Vec<Window>,
    store: Store,
    walked: BTreeMap<usize, Direction>,
    stages: Option<BTreeMap<&'static str, TensorData>>,
}

impl Tracker {
    /// A tracker that knows nothing yet, for a clip of `num_frames` frames. The length matters even for the first
    /// frames: it scales the distances of object pointers.
    pub fn new(num_frames: usize, options: TrackerOptions) -> Self {
        Self {
            options,
            num_frames,
            windows: Vec::new(),
            store: Store::default(),
            walked: BTreeMap::new(),
            stages: None,
        }
    }

    /// Sets the windows in which the object is visible; none = the whole clip, and the object score decides.
    /// What was remembered outside them is forgotten.
    pub fn set_windows(&mut self, windows: Vec<Window>) {
        self.windows = windows;
        if !self.windows.is_empty() {
            let windows = &self.windows;
            self.store.retain(|f| windows.iter().any(|w| w.contains(f)));
        }
    }

    /// Whether anything is computed on `frame`; outside the windows its mask is empty by definition.
    pub fn runs_on(&self, frame: usize) -> bool {
        self.windows.is_empty() || self.windows.iter().any(|w| w.contains(frame))
    }

    /// Frames that condition the others, in the order they were added (before the next preflight: without the newest).
    pub fn conditioning_frames(&self) -> Vec<usize> {
        self.store.cond_frames()
    }

    /// Other frames that left a memory, in order.
    pub fn remembered_frames(&self) -> Vec<usize> {
        self.store.recent_frames()
    }

    /// Decides `frame` from its points in network pixels; they replace the frame's earlier prompts. A box is two points,
    /// corners first, put before the clicks, and counts as two.
    ///
    /// On a frame never walked over nothing is recalled. On any other one the bank is, and the frame's previous logits
    /// are refined.
    ///
    /// # Errors
    /// No point, a frame outside clip or windows, or a failing device.
    pub fn add_points(
        &mut self,
        sam: &Sam2,
        frame: usize,
        image: &ImageFeatures,
        points: &[([f32; 2], PointLabel)],
    ) -> Result<StepOut, TrackError> {
        self.admit(frame)?;
        if points.is_empty() {
            return Err(TrackError::NoPrompt(frame));
        }
        let presence = self.presence();
        let pix_feat = match self.walked.get(&frame) {
            None => sam.without_memory(image.pix_feat.clone()),
            Some(&direction) => self.recall(sam, frame, image, direction),
        };
        let previous = self.store.newest(frame).and_then(|e| e.low_res.clone());
        let previous = previous.map(|l| l.clamp(-PREVIOUS_LOGIT_MAX, PREVIOUS_LOGIT_MAX));
        let prompts = Prompts { points: PointBatch::new(&[points.to_vec()]), mask: previous };
        let multimask = wants_multimask(points.len());
        let decided = sam.decide(pix_feat, &image.high_res, &prompts, multimask, presence);
        self.keep_pending(frame, image, decided, presence)
    }

    /// Makes a given mask the result of `frame`; it replaces the frame's earlier prompts.
    ///
    /// `values` are `h * w` numbers in 0..=1, row-major, over the square network input, at any size. Where none reaches
    /// 0.5 the object is remembered as absent, inside a window too: who gave this mask has looked.
    ///
    /// # Errors
    /// Values that do not fill the size, a frame outside clip or windows, or a failing device.
    pub fn add_mask(
        &mut self,
        sam: &Sam2,
        frame: usize,
        image: &ImageFeatures,
        values: &[f32],
        [h, w]: [usize; 2],
    ) -> Result<StepOut, TrackError> {
        self.admit(frame)?;
        if values.len() != h * w || values.is_empty() {
            return Err(TrackError::MaskSize { frame, found: values.len(), wanted: h * w });
        }
        let side = side_of(image);
        let mask = resize_plane(values, [h, w], [side, side], Kernel::BilinearAa);
        let mask: Vec<f32> = mask.into_iter().map(|v| f32::from(u8::from(v >= 0.5))).collect();
        let presence = if mask.contains(&1.0) { self.presence() } else { Presence::Scored };
        let mask = upload(mask, [1, 1, side, side], &image.pix_feat.device());
        let decided = sam.decide_from_mask(image.pix_feat.clone(), &image.high_res, mask, presence);
        self.keep_pending(frame, image, decided, presence)
    }

    /// Remembers the frames with new input; a walk starts with it.
    ///
    /// # Errors
    /// No conditioning frame at all.
    pub fn preflight(&mut self, sam: &Sam2) -> Result<(), TrackError> {
        for (frame, pending) in std::mem::take(&mut self.store.pending) {
            let Pending { mut entry, conditioning, pix_feat, present } = pending;
            if let Some(low_res) = entry.low_res.clone() {
                // Binary even for a mask prompt: upstream does so for every frame remembered here.
                entry.features =
                    Some(self.remember(sam, pix_feat, low_res, MaskScale::Binary, present));
            }
            if self.options.clear_stale {
                let stale = stale_around(&self.options.rules, frame);
                self.store.drop_recent(|f| stale.contains(&f));
            }
            self.store.insert(frame, entry, conditioning);
        }
        if self.store.cond_frames().is_empty() { Err(TrackError::NothingToFollow) } else { Ok(()) }
    }

    /// Decides `frame` in a walk in `direction`, from what the bank remembers, and remembers it in turn.
    ///
    /// A conditioning frame is handed out as stored. Outside the windows nothing runs: the mask is empty and nothing is
    /// remembered (ask [`Tracker::runs_on`] to save the image encoder as well). Runs [`Tracker::preflight`] if due.
    ///
    /// # Errors
    /// Nothing to follow, a frame outside the clip, or a failing device.
    pub fn step(
        &mut self,
        sam: &Sam2,
        frame: usize,
        image: &ImageFeatures,
        direction: Direction,
    ) -> Result<StepOut, TrackError> {
        self.step_with_prior(sam, frame, image, direction, None)
    }

    /// As [`Tracker::step`], with `prior`: `s4 * s4` logits of where the motion of the tissue carried the contour
    /// ([`Sam2::decode_with_prior`]). With a prior the answer is a single mask, since nothing is ambiguous then.
    ///
    /// # Errors
    /// As [`Tracker::step`], and a prior of another size.
    pub fn step_with_prior(
        &mut self,
        sam: &Sam2,
        frame: usize,
        image: &ImageFeatures,
        direction: Direction,
        prior: Option<&[f32]>,
    ) -> Result<StepOut, TrackError> {
        let side = side_of(image) / 4;
        if let Some(found) = prior.map(<[f32]>::len).filter(|&found| found != side * side) {
            return Err(TrackError::MaskSize { frame, found, wanted: side * side });
        }
        match self.admit(frame) {
            Err(TrackError::OutsideWindows(_)) => return Ok(absent(frame, side_of(image) / 4)),
            other => other?,
        }
        if !self.store.pending.is_empty() || self.store.cond_frames().is_empty() {
            self.preflight(sam)?;
        }
        let presence = self.presence();
        if let Some(entry) = self.store.cond(frame) {
            let out = answer(frame, entry, stored_logits(entry)?, presence, true);
            self.walked.insert(frame, direction);
            return Ok(out);
        }
        let pix_feat = self.recall(sam, frame, image, direction);
        let unprompted = Prompts { points: PointBatch::none(1), mask: None };
        let device = pix_feat.device();
        let given = prior.map(|p| upload(p.to_vec(), [1, 1, side, side], &device));
        let multimask = given.is_none();
        let decided = sam.decide_with_prior(
            pix_feat,
            &image.high_res,
            &unprompted,
            given,
            multimask,
            presence,
        );
        self.note_decided(&decided);
        let present = presence.gate(&decided.object_score_logits);
        let low_res = decided.low_res_masks.clone();
        let features =
            self.remember(sam, image.pix_feat.clone(), low_res, MaskScale::Soft, present);
        // Nothing is waited for before the whole frame is on its way.
        let (mut entry, logits) = entry_of(&decided)?;
        entry.features = Some(features);
        let mut out = answer(frame, &entry, logits, presence, false);
        // After the memory was made, as upstream: what is remembered is the raw mask.
        fill_holes(&mut out, &mut entry, self.options.fill_hole_area);
        self.store.insert(frame, entry, false);
        self.walked.insert(frame, direction);
        self.trim(frame, direction);
        Ok(out)
    }

    /// Forgets everything but the windows.
    pub fn reset(&mut self) {
        self.store = Store::default();
        self.walked.clear();
    }

    /// From now on keep a copy of every intermediate tensor of the last call, for [`Tracker::stages`].
    pub fn record_stages(&mut self) {
        self.stages = Some(BTreeMap::new());
    }

    /// The intermediate tensors since the last call, by the names of the golden files; empty unless recording.
    pub fn stages(&mut self) -> BTreeMap<&'static str, TensorData> {
        self.stages.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn admit(&self, frame: usize) -> Result<(), TrackError> {
        if frame >= self.num_frames {
            Err(TrackError::NoSuchFrame { frame, frames: self.num_frames })
        } else if !self.runs_on(frame) {
            Err(TrackError::OutsideWindows(frame))
        } else {
            Ok(())
        }
    }

    fn presence(&self) -> Presence {
        if self.windows.is_empty() { Presence::Scored } else { Presence::Given }
    }

    fn recall(
        &mut self,
        sam: &Sam2,
        frame: usize,
        image: &ImageFeatures,
        direction: Direction,
    ) -> Tensor<4> {
        let rules = &self.options.rules;
        let (masks, pointers) = self.store.recall(rules, frame, direction, self.num_frames);
        let max_ptrs = rules.max_ptrs(self.num_frames);
        let read = sam.condition_frame(image, &masks, &pointers, max_ptrs);
        self.note("curr_in", &image.pix_feat);
        if let Some(stages) = &mut self.stages {
            let pointers = read.pointer_tokens() as f32;
            stages.insert("n_ptr", TensorData::from([pointers]));
            let [memory, memory_pos] = read.read();
            self.note("memory", &memory);
            self.note("memory_pos", &memory_pos);
        }
        self.note("memattn_out", &read.pix_feat);
        read.pix_feat
    }

    fn remember(
        &mut self,
        sam: &Sam2,
        pix_feat: Tensor<4>,
        low_res: Tensor<4>,
        scale: MaskScale,
        present: Tensor<2>,
    ) -> Tensor<4> {
        let mask = sam.memory_mask(low_res, scale);
        self.note("memenc_mask_in", &mask);
        if self.stages.is_some() {
            let raw = sam.memory_encoder.forward(pix_feat.clone(), mask.clone());
            self.note("memenc_raw", &raw);
        }
        let features = sam.remember(pix_feat, mask, present);
        let features = if self.options.bf16_memory { features.cast(DType::BF16) } else { features };
        self.note("maskmem_features", &features);
        features
    }

    fn keep_pending(
        &mut self,
        frame: usize,
        image: &ImageFeatures,
        decided: Decided,
        presence: Presence,
    ) -> Result<StepOut, TrackError> {
        self.note_decided(&decided);
        let (mut entry, logits) = entry_of(&decided)?;
        let conditioning = self.options.corrections_condition || !self.walked.contains_key(&frame);
        let mut out = answer(frame, &entry, logits, presence, conditioning);
        fill_holes(&mut out, &mut entry, self.options.fill_hole_area);
        let pix_feat = image.pix_feat.clone();
        let present = presence.gate(&decided.object_score_logits);
        self.store.pending.insert(frame, Pending { entry, conditioning, pix_feat, present });
        Ok(out)
    }

    fn trim(&mut self, frame: usize, direction: Direction) {
        let each = self.store.newest(frame).map_or(0, Entry::bytes);
        let most = (self.options.bank_bytes / each.max(1)).min(BANK_FRAMES);
        let next = match direction {
            Direction::Forward => frame + 1,
            Direction::Reverse => frame.saturating_sub(1),
        };
        self.store.trim(&self.options.rules, most, next, direction, self.num_frames);
    }

    fn note_decided(&mut self, decided: &Decided) {
        self.note("low_multi", &decided.candidates);
        self.note("ious", &decided.candidate_ious);
        self.note("low", &decided.low_res_masks);
        self.note("ptr", &decided.obj_ptr);
        self.note("obj", &decided.object_score_logits);
    }

    fn note<const D: usize>(&mut self, name: &'static str, tensor: &Tensor<D>) {
        let Some(stages) = &mut self.stages else { return };
        // Numbers, not data: on a GPU data is copied when it is first looked at, and by then what comes next may have been
        // computed in its place.
        let shape = tensor.dims();
        if let Ok(values) = tensor.clone().cast(DType::F32).try_into_vec_as::<f32>() {
            stages.insert(name, TensorData::new(values, shape));
        }
    }
}

/// Side of the square network input that `image` was made from.
fn side_of(image: &ImageFeatures) -> usize {
    16 * image.pix_feat.dims()[3]
}
