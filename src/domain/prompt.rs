//! What a person tells the network about one structure on one frame.

use serde::{Deserialize, Serialize};

use super::{BoxPx, Mask, PointPx};

/// What a point says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PointKind {
    /// The contour passes here (SAMUSA's boundary point, label 4).
    Boundary,
    /// Belongs to the structure (SAM 2's positive click, label 1).
    Inside,
    /// Does not belong to the structure (SAM 2's negative click, label 0).
    Outside,
}

/// One prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// A point and what it says.
    Point {
        /// What the point says.
        kind: PointKind,
        /// Where it lies.
        at: PointPx,
    },
    /// A box around the structure.
    Box(BoxPx),
    /// A whole mask.
    Mask(Mask),
}

/// Identity of a prompt: unique across sessions and annotators, given by whoever places it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PromptId(pub u64);

/// A prompt with its identity, so that moves and removals of two annotators never mix up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacedPrompt {
    /// Identity.
    pub id: PromptId,
    /// The prompt.
    #[serde(flatten)]
    pub prompt: Prompt,
}

/// All prompts of one track on one frame, as the network wants them: points in the order in
/// which they were placed, at most one box and one mask (the newest).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FramePrompts {
    /// Points in the order of placing.
    pub points: Vec<(PointKind, PointPx)>,
    /// The newest box.
    pub bounding_box: Option<BoxPx>,
    /// The newest mask.
    pub mask: Option<Mask>,
}

impl FramePrompts {
    /// Gathers placed prompts.
    #[must_use]
    pub fn gather(placed: &[PlacedPrompt]) -> Self {
        let mut all = Self::default();
        for each in placed {
            match &each.prompt {
                Prompt::Point { kind, at } => all.points.push((*kind, *at)),
                Prompt::Box(bounding_box) => all.bounding_box = Some(*bounding_box),
                Prompt::Mask(mask) => all.mask = Some(mask.clone()),
            }
        }
        all
    }

    /// True when nothing was prompted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.points.is_empty() && self.bounding_box.is_none() && self.mask.is_none()
    }

    /// The boundary points alone, in order.
    #[must_use]
    pub fn boundary_points(&self) -> Vec<PointPx> {
        let boundary = |&&(kind, _): &&(PointKind, PointPx)| kind == PointKind::Boundary;
        self.points.iter().filter(boundary).map(|&(_, at)| at).collect()
    }
}
