//! One structure through a clip: memory and motion together.
//!
//! SAM 2 follows an object by memory alone; a small network trained for an hour forgets fast, and ultrasound gives
//! something that photographs do not: tissue carries its speckle along. So the contour is carried by the motion of the
//! pixels ([`Carrier`]), shown to the decoder as mask prompt beside the memory-conditioned features, and the decoder's
//! answer is a correction of it. What decides whether this file is right: without a carried contour a step is exactly
//! SAM 2's; the carried contour enters at full resolution, so a silent network leaves it untouched.

use super::bridge::NetworkPoint;
use super::letterbox::Letterbox;
use super::memory_bank::Direction;
use super::resize::{Kernel, resize_plane};
use super::sam2::{ImageFeatures, Sam2};
use super::tracker::{StepOut, TrackError, Tracker, TrackerOptions};
use crate::domain::{Bitmap, Carrier, FrameIndex, GrayFrame, Tissue, Window};

/// Logit per px (of a 256 px image) of distance to the carried contour, here and in training.
pub const LOGIT_PER_PX: f32 = 0.5;
/// Share of the shipped network's correction that is taken: on the synthetic clips all of it did harm (mean IoU after
/// corrections .837), none was best by a hair (.868, with .3: .863), and a share keeps a way back where speckle fails.
const CORRECTION: f32 = 0.3;
/// Most that it says, as for the curve through boundary points.
pub const LOGIT_LIMIT: f32 = 6.0;

/// How a structure is followed.
#[derive(Clone, Debug, PartialEq)]
pub struct FollowOptions {
    /// Carry the contour by the motion of the tissue. `false` is SAM 2 as published.
    pub motion: bool,
    /// How much of the network's correction of a carried contour is taken, 0 (none) to 1 (all).
    pub correction: f32,
}

impl Default for FollowOptions {
    fn default() -> Self {
        Self { motion: true, correction: CORRECTION }
    }
}

/// A frame as the follower needs it: pixels for the motion, features for the network.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// Which frame of the clip.
    pub frame: FrameIndex,
    /// Its pixels.
    pub pixels: &'a GrayFrame,
    /// What the image encoder made of them.
    pub features: &'a ImageFeatures,
    /// How they lie in the network input.
    pub letterbox: &'a Letterbox,
    /// What other structures that are followed on this frame share besides.
    pub tissue: Option<&'a Tissue>,
}

/// The answer for a followed frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Followed {
    /// The mask at the size of the frame.
    pub bitmap: Bitmap,
    /// The network's own estimate of its IoU, 0..=1.
    pub score: f32,
    /// Raw object score logit.
    pub object_score_logit: f32,
    /// Whether all that the network said are numbers. What overflowed looks like an empty mask.
    pub sound: bool,
}

/// The answer of a step, with the mask that was made of it.
fn followed(bitmap: Bitmap, out: &StepOut) -> Followed {
    let (score, object_score_logit) = (out.iou, out.object_score);
    let mut numbers = out.low_res_logits.iter().chain([&score, &object_score_logit]);
    let sound = numbers.all(|number| number.is_finite());
    Followed { bitmap, score, object_score_logit, sound }
}

/// Follows one structure through one walk.
pub struct Follower {
    tracker: Tracker,
    carrier: Carrier,
    options: FollowOptions,
}

impl Follower {
    /// A follower that knows nothing yet, for a clip of `frames` frames. `windowed`: a person said where the structure
    /// is visible, so that the object score is not obeyed on the frames that are asked for.
    #[must_use]
    pub fn new(sam: &Sam2, frames: usize, windowed: bool, options: FollowOptions) -> Self {
        let mut tracker = Tracker::new(frames, TrackerOptions::for_walks(sam));
        if windowed {
            // The plan asks only for frames inside the windows: to the tracker all are.
            tracker.set_windows(vec![Window { first: 0, last: frames.saturating_sub(1) }]);
        }
        Self { tracker, carrier: Carrier::new(), options }
    }

    /// Conditions the walk on `mask`, given at the size of the frame.
    ///
    /// # Errors
    /// A frame outside the clip, or a failing device.
    pub fn anchor(&mut self, sam: &Sam2, seen: Seen<'_>, mask: &Bitmap) -> Result<(), TrackError> {
        let plane: Vec<f32> = mask.pixels.iter().map(|&p| f32::from(u8::from(p))).collect();
        let values = seen.letterbox.plane_to_network(&plane, 0.0);
        let size = seen.letterbox.size;
        self.tracker.add_mask(sam, seen.frame, seen.features, &values, [size, size])?;
        // At once: until then the frame's features are held, 4 MiB each at 1024 px, and a clip may have a thousand anchors.
        self.tracker.preflight(sam)?;
        if self.options.motion {
            self.carrier.anchor(seen.frame, seen.pixels, mask);
        }
        Ok(())
    }

    /// Conditions the walk on a frame's points (network px, box corners first), as SAM 2's video predictor does: the
    /// network's own mask and pointer are remembered.
    ///
    /// # Errors
    /// No point, a frame outside the clip, or a failing device.
    pub fn prompt(
        &mut self,
        sam: &Sam2,
        seen: Seen<'_>,
        points: &[NetworkPoint],
    ) -> Result<Followed, TrackError> {
        let out = self.tracker.add_points(sam, seen.frame, seen.features, points)?;
        self.tracker.preflight(sam)?;
        let logits = seen.letterbox.logits_to_image(&out.low_res_logits, out.side);
        let bitmap = Bitmap::from_logits(seen.pixels.width_px, seen.pixels.height_px, &logits);
        if self.options.motion {
            self.carrier.anchor(seen.frame, seen.pixels, &bitmap);
        }
        Ok(followed(bitmap, &out))
    }

    /// Decides a frame from what the walk remembers.
    ///
    /// # Errors
    /// No anchor yet, a frame outside the clip, or a failing device.
    pub fn follow(
        &mut self,
        sam: &Sam2,
        seen: Seen<'_>,
        direction: Direction,
    ) -> Result<Followed, TrackError> {
        let carried = match seen.tissue {
            Some(tissue) => self.carrier.follow_in(seen.frame, seen.pixels, tissue),
            None => self.carrier.follow(seen.frame, seen.pixels),
        };
        let carried = carried.map(|distance| prior_logits(&distance, &seen));
        let side = seen.letterbox.size / 4;
        let shown = carried.as_ref().map(|native| {
            let full = seen.letterbox.plane_to_network(native, -LOGIT_LIMIT);
            resize_plane(&full, [4 * side; 2], [side; 2], Kernel::BilinearAa)
        });
        let out = self.tracker.step_with_prior(
            sam,
            seen.frame,
            seen.features,
            direction,
            shown.as_deref(),
        )?;
        let logits = match (carried, shown) {
            (Some(native), Some(shown)) if out.present => {
                let correction: Vec<f32> =
                    out.low_res_logits.iter().zip(&shown).map(|(out, was)| out - was).collect();
                let correction = seen.letterbox.logits_to_image(&correction, side);
                let weight = self.options.correction;
                native.iter().zip(&correction).map(|(was, change)| was + weight * change).collect()
            }
            _ => seen.letterbox.logits_to_image(&out.low_res_logits, out.side),
        };
        let bitmap = Bitmap::from_logits(seen.pixels.width_px, seen.pixels.height_px, &logits);
        Ok(followed(bitmap, &out))
    }
}

/// Signed distances in px of the frame as logits.
fn prior_logits(distance_px: &[f32], seen: &Seen<'_>) -> Vec<f32> {
    let longest = seen.pixels.width_px.max(seen.pixels.height_px).max(1);
    let slope = LOGIT_PER_PX * 256.0 / longest as f32;
    distance_px.iter().map(|d| (slope * d).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)).collect()
}
