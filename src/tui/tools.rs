//! What the person has in hand beside the cursor: rays, a brush, questions, registers, macros,
//! and what the review knows. Plain data of the screen alone: nothing here is in the journal, and the
//! reaction time and macros alone outlive the session (`config::person`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::domain::review::{Doubt, Doubts};
use crate::domain::{
    Between, Bisection, BoxPx, Edge, FrameIndex, FrameMask, GrayFrame, HOURS, Mask, MaskEdit,
    PointKind, PointPx, PromptId, Ray, RayMark, Signature, Track, TrackId, marks_along,
};

use crate::engine::{Plan, Structure, Ticket};

use super::key::Key;

/// Everything in hand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tools {
    /// Points by direction, while they are in use.
    pub rays: Option<RayTool>,
    /// The brush, while it is down.
    pub brush: Option<Brush>,
    /// Radius of the brush, px; 0 before the first use.
    pub brush_px: f32,
    /// First end of a cut.
    pub cut: Option<PointPx>,
    /// Ends of the distance being measured; the second follows the cursor until it is set.
    pub caliper: Option<(PointPx, Option<PointPx>)>,
    /// When the last question about a window was answered.
    pub answered: Option<Duration>,
    /// A key that waits for a letter.
    pub waiting: Option<Waiting>,
    /// Masks by letter.
    pub registers: BTreeMap<char, Mask>,
    /// Keys by letter.
    pub macros: BTreeMap<char, Vec<Key>>,
    /// The macro being recorded.
    pub recording: Option<(char, Vec<Key>)>,
    /// Keys that are still to be played: they wait for the pictures.
    pub to_play: VecDeque<Played>,
    /// What was typed or pasted for a clip that nobody had seen yet, and was not done, for sentences.
    pub missed: Vec<String>,
    /// The clip at hand was not drawn yet.
    pub undrawn: bool,
    /// Keys played since the outermost macro began.
    pub played: usize,
    /// Lines run before, the newest last.
    pub lines: Vec<String>,
    /// Questions about visibility that wait behind a dialog.
    pub asking: Option<Questions>,
    /// What was done last to correct a mask.
    pub correction: Option<Correction>,
    /// The correction waits for the pixels of the frame at hand, and is then repeated so many
    /// times more.
    pub repeat_when_seen: Option<u32>,
    /// What the review knows.
    pub review: Review,
    /// Taps while the clip plays.
    pub taps: Taps,
    /// A propagation that nobody asked for yet.
    pub ahead: Option<Ahead>,
    /// A line through the clip over time.
    pub strip: Option<Strip>,
    /// What another rater made of the clip.
    pub other: Option<Other>,
    /// A frame that is shown beside the one at hand.
    pub beside: Option<Beside>,
    /// Masks of many frames that are being changed.
    pub batch: Option<Batch>,
    /// Nothing was found to be computed ahead, and nothing happened since.
    pub nothing_ahead: bool,
    /// The person wants nothing computed before it is asked for.
    pub never_ahead: bool,
    /// The network is too slow here for computing ahead.
    pub slow: bool,
    /// The terminal's bell tells the end of a long propagation.
    pub bell: bool,
    /// tmux waits so long behind an escape that it joins the letter which a person types next.
    pub escape_joined: bool,
}

/// Masks of many frames being changed: in portions, so that keys are answered in between.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The structure.
    pub track: TrackId,
    /// What is done to each mask.
    pub change: Change,
    /// The undo group of all of them.
    pub group: u64,
    /// The undo group that was the newest before.
    pub before: Option<u64>,
    /// Frames still to be done.
    pub left: VecDeque<FrameIndex>,
    /// How many frames there were.
    pub total: usize,
    /// Masks changed so far.
    pub changed: usize,
}

/// What is done to masks of many frames.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Each is changed by itself.
    Edit(MaskEdit),
    /// Each becomes what lies between the shapes of these two frames.
    Fill(Arc<Between>, [FrameIndex; 2]),
}

/// A key that waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Played {
    /// Which.
    pub key: Key,
    /// The person typed it behind those of a macro.
    pub typed: bool,
}

/// Gray values along the line of an M-mode strip.
pub const STRIP_SAMPLES: usize = 256;

/// A line through the clip over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Strip {
    /// Which question.
    pub number: u64,
    /// Its direction, and what it turns about.
    pub ray: Ray,
    /// It goes both ways from there, instead of beginning there.
    pub through: bool,
    /// Upper end of the strip, image px.
    pub from: PointPx,
    /// Lower end, image px.
    pub to: PointPx,
    /// The place on the line, px from its upper end, while the cursor is where it was `seen`.
    pub depth_px: f32,
    /// The cursor, at the pixel of that place.
    pub seen: PointPx,
    /// Gray values by frame, [`STRIP_SAMPLES`] each; empty where nothing is known yet.
    pub columns: Vec<Vec<u8>>,
}

impl Strip {
    /// A strip of a clip of `size_px` along `ray` as far as a point can lie, the place being
    /// `depth_px` from its centre; without that along the whole line through the centre, the place
    /// being there.
    #[must_use]
    pub fn along(
        number: u64,
        ray: Ray,
        depth_px: Option<f32>,
        size_px: [u32; 2],
        columns: Vec<Vec<u8>>,
    ) -> Self {
        // Points lie between the centres of the outermost pixels.
        let centre = PointPx::new(ray.centre.x - 0.5, ray.centre.y - 0.5);
        let [width, height] = size_px.map(|size| size.saturating_sub(1));
        let reach = |ray: Ray| Ray { centre, ..ray }.reach(width, height);
        let (forward, back) = (reach(ray), reach(ray.turned(HOURS / 2.0)));
        let through = depth_px.is_none();
        let from = if through { ray.at(-back) } else { ray.centre };
        let depth_px = depth_px.map_or(back, |depth| depth.min(forward));
        Self { number, ray, through, from, to: ray.at(forward), depth_px, seen: from, columns }
    }

    /// Length of the line, px.
    #[must_use]
    pub fn length_px(&self) -> f32 {
        self.from.distance(self.to)
    }

    /// The position so many px down the line.
    #[must_use]
    pub fn at(&self, depth_px: f32) -> PointPx {
        let (dx, dy) = self.ray.step();
        PointPx::new(self.from.x + dx * depth_px, self.from.y + dy * depth_px)
    }

    /// The place on the line, px from its upper end: where keys went along it, or nearest to a
    /// cursor that was moved otherwise.
    #[must_use]
    pub fn depth_at(&self, cursor: PointPx) -> f32 {
        if cursor == self.seen {
            return self.depth_px;
        }
        let (dx, dy) = self.ray.step();
        let along = (cursor.x - self.from.x) * dx + (cursor.y - self.from.y) * dy;
        along.clamp(0.0, self.length_px())
    }
}

/// A frame that is shown beside the one at hand.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside {
    /// Which.
    pub frame: FrameIndex,
    /// Its pixels, kept as long as it is shown.
    pub pixels: Arc<GrayFrame>,
}

/// What another rater or model made of the clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Other {
    /// Where it is from, for people (not escaped).
    pub name: String,
    /// Its masks, in the size of the clip.
    pub structures: Vec<Structure>,
    /// Not drawn.
    pub hidden: bool,
}

impl Other {
    /// Its mask of the structure with this label; where it knows one structure only, of that.
    #[must_use]
    pub fn mask(&self, label: &str, frame: FrameIndex) -> Option<&Mask> {
        let same = self.structures.iter().find(|each| each.label == label);
        let only = || self.structures.first().filter(|_| self.structures.len() == 1);
        same.or_else(only)?.masks.get(&frame)
    }
}

/// Masks decided before they are asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Ahead {
    /// Which question.
    pub ticket: Ticket,
    /// What it decides.
    pub plan: Plan,
    /// The prompts it is based on.
    pub signature: Signature,
    /// What is decided so far.
    pub masks: BTreeMap<FrameIndex, FrameMask>,
    /// It is through.
    pub ended: bool,
    /// Both passes between anchors are compared; the masks themselves are not wanted.
    pub check: bool,
}

/// The polar cursor.
#[derive(Clone, Debug, PartialEq)]
pub struct RayTool {
    /// Where the rays start.
    pub centre: PointPx,
    /// The frame for which the rest was looked up.
    pub frame: FrameIndex,
    /// The structure for which it was; `None` before the first one.
    pub track: Option<TrackId>,
    /// The ray of the last point and what lies on it.
    pub last: Option<RayPoint>,
    /// The ray on which the contour is least certain, and where its point would lie.
    pub suggested: Option<(Ray, PointPx)>,
    /// While the place of the centre is being said: the region that leaps divide.
    pub leap: Option<BoxPx>,
}

impl RayTool {
    /// The marks round the last point on a frame of `width` x `height` px, for keymaps with so
    /// many letters for them; none before the first point.
    #[must_use]
    pub fn marks(&self, width: u32, height: u32, letters: usize) -> Vec<RayMark> {
        let Some(last) = &self.last else { return Vec::new() };
        let reach = last.ray.reach(width, height);
        marks_along(&last.edges, last.radius_px, width.min(height), reach, letters / 2)
    }
}

/// A point that was put by direction.
#[derive(Clone, Debug, PartialEq)]
pub struct RayPoint {
    /// Its ray.
    pub ray: Ray,
    /// The edges on the ray, from the centre outwards.
    pub edges: Vec<Edge>,
    /// The edge it was put on; `None` where there was none, or after a nudge.
    pub on: Option<usize>,
    /// The edge that was taken for the likeliest.
    pub first: Option<usize>,
    /// Distance from the centre, px.
    pub radius_px: f32,
    /// Where it lies.
    pub at: PointPx,
    /// The prompt.
    pub id: PromptId,
    /// Its undo group.
    pub group: u64,
}

/// A brush that is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brush {
    /// Takes away instead of painting.
    pub erase: bool,
    /// Undo group of the run: strokes one after the other in one direction on one frame.
    pub group: u64,
    /// The frame of the run.
    pub frame: FrameIndex,
    /// Its direction: signs of x and y.
    pub way: (i8, i8),
}

/// What the next letter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Call this frame by it.
    MarkPlace,
    /// Go to the frame called so.
    GoPlace,
    /// Copy the mask into this register.
    CopyMask,
    /// Paste this register, so many frames on.
    PasteMask(usize),
    /// Record this macro.
    RecordMacro,
    /// Play this macro so many times.
    PlayMacro(u32),
    /// Go to the structure with the label of this key, or call the one at hand so.
    Label {
        /// The structure at hand gets the label.
        rename: bool,
    },
    /// Set the attribute of this key.
    Attribute,
    /// Give attribute number so and so of the schema the value of this key.
    Value(usize),
}

impl Waiting {
    /// What it asks for, for people.
    #[must_use]
    pub fn told(self) -> &'static str {
        match self {
            Self::MarkPlace => "call this frame by a letter",
            Self::GoPlace => "go to the frame called by a letter",
            Self::CopyMask => "copy the mask into a register: a letter",
            Self::PasteMask(_) => "paste the mask of a register: a letter",
            Self::RecordMacro => "record a macro: a letter",
            Self::PlayMacro(_) => "play a macro: a letter",
            Self::Label { rename: false } => "go to a structure, or start it: its label's key",
            Self::Label { rename: true } => "call this structure: the label's key",
            Self::Attribute => "set an attribute: its key",
            Self::Value(_) => "set the attribute: a value's key, 0 takes it away",
        }
    }
}

/// What corrected a mask, in terms that fit another frame too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Correction {
    /// A boundary point in this direction, so many edges beyond the likeliest.
    Ray {
        /// The clock hour.
        hour: f32,
        /// Edges outwards (or inwards) from the likeliest.
        edges_on: isize,
    },
    /// A point at this offset from the middle of the mask, in radii of a circle of its area.
    Point {
        /// What it says.
        kind: PointKind,
        /// To the right, radii.
        right: f32,
        /// Down, radii.
        down: f32,
    },
    /// The whole mask changed.
    Mask(MaskEdit),
}

/// What the review knows about the masks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Review {
    /// Doubts by structure.
    pub doubts: BTreeMap<TrackId, Doubts>,
    /// Overlap (IoU) of the masks that came from the anchors on either side.
    pub agreement: BTreeMap<TrackId, BTreeMap<FrameIndex, f32>>,
    /// Masks of the first passes of comparisons that are on their way.
    pub first_pass: BTreeMap<(TrackId, FrameIndex), Mask>,
    /// The comparison that was made unasked last: what it left open, it would leave open again.
    pub tried: Option<(TrackId, Plan)>,
    /// Where the worst frames were looked at last.
    pub looked: Option<(TrackId, FrameIndex)>,
}

impl Review {
    /// What speaks against the mask of a frame of a structure; `None` where there is none, or a person
    /// decided it.
    #[must_use]
    pub fn doubt(&self, id: TrackId, track: &Track, frame: FrameIndex) -> Option<Doubt> {
        let agreement = self.agreement.get(&id).and_then(|known| known.get(&frame)).copied();
        self.doubts.get(&id)?.about(track, frame, agreement)
    }

    /// Forgets the first pass of a comparison that ended.
    pub fn forget_pass(&mut self, id: TrackId) {
        self.first_pass.retain(|(of, _), _| *of != id);
    }
}

/// Taps at the moment when something appears or goes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taps {
    /// The frame at which the first tap put the appearance.
    pub onset: Option<FrameIndex>,
    /// The person's own reaction time, once measured.
    pub reaction: Option<Duration>,
    /// The day on which that was, where it was not today (as the file says it, not escaped).
    pub measured: Option<String>,
    /// Frames shown lately and since when, oldest first.
    pub shown: VecDeque<(Duration, FrameIndex)>,
}

/// Frames kept for taps: more than anybody's reaction takes.
const SHOWN: usize = 256;

impl Taps {
    /// Notes that `frame` is shown from `now` on.
    pub fn note(&mut self, now: Duration, frame: FrameIndex) {
        self.shown.push_back((now, frame));
        if self.shown.len() > SHOWN {
            self.shown.pop_front();
        }
    }

    /// The frame that was shown at `then`, or the oldest known.
    #[must_use]
    pub fn frame_at(&self, then: Duration) -> Option<FrameIndex> {
        let shown = self.shown.iter().rev().find(|(since, _)| *since <= then);
        shown.or_else(|| self.shown.front()).map(|(_, frame)| *frame)
    }
}

/// Questions about visibility under way; earlier states for taking answers back.
#[derive(Clone, Debug, PartialEq)]
pub struct Questions {
    /// What is known; nothing as long as no frame is known on which the structure is visible.
    pub search: Option<Bisection>,
    /// What was known before each answer.
    pub before: Vec<Option<Bisection>>,
}

/// A measurement of the reaction time: a word appears, any key answers.
#[derive(Clone, Debug, PartialEq)]
pub struct ReactionTest {
    /// When the word appears.
    pub due: Duration,
    /// Whether it stands there.
    pub shown: bool,
    /// The times so far.
    pub times: Vec<Duration>,
}
