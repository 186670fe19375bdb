//! The one seam between the workstation and the network: what the engine asks, tensor-free.
//!
//! The real implementation is [`super::NetSegmenter`]; tests use a scripted double.

use crate::domain::{Bitmap, FrameIndex, FramePrompts, GrayFrame, Mask};

/// Direction of a walk through the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Towards later frames.
    Forward,
    /// Towards earlier frames.
    Backward,
}

/// What conditions the others on an anchor frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Anchor {
    /// The prompts of the frame.
    Prompts(FramePrompts),
    /// A mask that a person accepted.
    Mask(Mask),
}

/// The network's answer for one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// The mask at the size of the frame.
    pub bitmap: Bitmap,
    /// The network's own estimate of its IoU, 0..=1; 0 where it judged nothing, as of a mask that a person drew.
    pub score: f32,
    /// Raw object score logit; below 0 the network believes that nothing is there. Inside a
    /// window it is shown, never obeyed.
    pub object_score_logit: f32,
    /// Time spent in the image encoder, ms; 0 when the features were cached. A GPU goes on by itself: there it is the
    /// time of handing the work over, and the rest lies in `decode_ms`.
    pub encode_ms: f32,
    /// Time spent after the encoder, ms.
    pub decode_ms: f32,
}

/// Who is answering, for the status line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmenterInfo {
    /// Name on the model card.
    pub model: String,
    /// Device and why it was chosen.
    pub device: String,
    /// The weights know no boundary point: the curve through them is given instead.
    pub bridged: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// Nothing to go by: no prompt on the frame and no anchor before it.
    #[error("frame {} has no points, and no other frame has any to follow from; put a boundary point first", .0 + 1)]
    NothingToFollow(FrameIndex),
    /// The network or its device failed.
    #[error(
        "the network failed: {0}; the annotation is untouched, try again or restart with --device cpu"
    )]
    Network(String),
}

/// A frame with its index; the index is the key of the segmenter's feature cache.
#[derive(Clone, Copy)]
pub struct Image<'a> {
    /// Which frame of the clip.
    pub frame: FrameIndex,
    /// Its pixels.
    pub pixels: &'a GrayFrame,
}

/// Which of the walks that go on at the same time; a segmenter that is told of none is at number 0.
pub type WalkId = usize;

/// Segments frames of one clip at a time. Lives on the engine's worker thread.
pub trait Segmenter {
    /// Who is answering.
    fn info(&self) -> SegmenterInfo;

    /// Forgets everything about the current clip (features and memory).
    fn open_clip(&mut self, frames: usize);

    /// Decides one frame from its own prompts alone.
    ///
    /// # Errors
    /// No prompts, or a failing network.
    fn refresh(
        &mut self,
        image: Image<'_>,
        prompts: &FramePrompts,
    ) -> Result<Decided, SegmentError>;

    /// From now on [`Self::begin_walk`], [`Self::anchor`] and [`Self::follow`] are about that walk; those left keep their
    /// memories.
    fn turn_to(&mut self, walk: WalkId);

    /// A walk is over: its memory is not needed any more.
    fn end_walk(&mut self, walk: WalkId);

    /// Starts the walk at hand, which is of one track, with an empty memory. `windowed`: a person said by windows where
    /// the structure is visible, so the object score is reported and never obeyed; otherwise it
    /// decides, as in SAM 2.
    fn begin_walk(&mut self, windowed: bool);

    /// Conditions the walk on an anchor and decides that frame.
    ///
    /// # Errors
    /// Empty prompts, or a failing network.
    fn anchor(&mut self, image: Image<'_>, anchor: &Anchor) -> Result<Decided, SegmentError>;

    /// Decides a frame from the memory of the walk, which goes on to `next`: that one's features may be computed beside
    /// it.
    ///
    /// # Errors
    /// No anchor yet, or a failing network; nothing about `next`.
    fn follow(
        &mut self,
        image: Image<'_>,
        direction: Direction,
        next: Option<Image<'_>>,
    ) -> Result<Decided, SegmentError>;

    /// Computes and caches the features of a frame ahead of time.
    ///
    /// # Errors
    /// A failing network.
    fn encode_ahead(&mut self, image: Image<'_>) -> Result<(), SegmentError>;

    /// Whether the features of one more frame can be kept without letting go of others.
    fn has_room(&self) -> bool {
        false
    }
}
