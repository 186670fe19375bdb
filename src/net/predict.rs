//! From the prompts of one frame to its mask at the size of the image: the one way in which engine, evaluation and
//! training's validation ask the network.
//!
//! What decides whether this file is right: boundary prompts end on the contour (`snap_to_points`), and the more points
//! a person gives the less the network may contradict the curve through them: from five exact points on, geometry alone
//! is hard to beat, and the network's worth is at one to four points. The weights of that blend were chosen on the
//! training stills.

use super::config::Preprocess;
use super::letterbox::Letterbox;
use super::resize::{Kernel, resize_plane};
use super::sam2::{ImageFeatures, Sam2};
use crate::domain::{
    Bitmap, FramePrompts, GrayFrame, PointKind, PointPx, closed_curve, curve_logits, snap_to_points,
};
use burn::tensor::Device;

/// Share of the curve in the answer for 2, 3, 4, ... boundary points; the last entry holds for more.
const CURVE_SHARE: [f32; 8] = [0.3, 0.5, 0.3, 0.5, 0.55, 0.6, 0.6, 0.7];
/// The curve is computed on a grid of this many cells per side and read at every pixel.
const CURVE_CELLS: usize = 128;
/// With more points than this a second look is not worth its time.
const CLOSER_POINTS_MAX: usize = 3;
/// Side of what is looked at, in sizes of the structure.
const CLOSER_MARGIN: f32 = 1.9;
/// A second look at more than this part of the frame would show nothing new.
const CLOSER_MOST: f32 = 0.8;
/// Share of the second look.
const CLOSER_SHARE: f32 = 0.5;
/// Logit of a mask prompt inside and (negative) outside.
const MASK_LOGIT: f32 = 10.0;

/// What the last steps do; the defaults are the shipped ones, the others are for measuring.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictOptions {
    /// Make the contour pass through the boundary points.
    pub snap: bool,
    /// Share of the curve in the answer for 2, 3, ... boundary points; empty for none.
    pub curve_share: Vec<f32>,
}

impl Default for PredictOptions {
    fn default() -> Self {
        Self { snap: true, curve_share: CURVE_SHARE.to_vec() }
    }
}

/// The network's answer for one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The mask at the size of the image.
    pub bitmap: Bitmap,
    /// Its logits, row by row.
    pub logits: Vec<f32>,
    /// Logits of the network's input grid, `side * side`, before curve and snap.
    pub low_res: Vec<f32>,
    /// S/4.
    pub side: usize,
    /// The network's own estimate of the IoU, 0..=1.
    pub score: f32,
    /// Raw object score logit.
    pub object_score_logit: f32,
}

/// The pixels behind the features, for a second, closer look.
#[derive(Clone, Copy)]
pub struct Pixels<'a> {
    /// The frame.
    pub frame: &'a GrayFrame,
    /// How frames become network input.
    pub preprocess: &'a Preprocess,
    /// Where the network lies.
    pub device: &'a Device,
}

/// Asks a network about single frames.
pub struct Predictor<'a> {
    sam: &'a Sam2,
    options: PredictOptions,
    pixels: Option<Pixels<'a>>,
}

impl<'a> Predictor<'a> {
    /// With the shipped last steps.
    #[must_use]
    pub fn new(sam: &'a Sam2) -> Self {
        Self::with_options(sam, PredictOptions::default())
    }

    /// With other last steps, for measuring.
    #[must_use]
    pub fn with_options(sam: &'a Sam2, options: PredictOptions) -> Self {
        Self { sam, options, pixels: None }
    }

    /// Lets it look twice where there are few points: also at the surroundings of the structure alone, at the full
    /// size of the network input. Costs one more encoding.
    #[must_use]
    pub fn looking_closer(self, pixels: Pixels<'a>) -> Self {
        Self { pixels: Some(pixels), ..self }
    }

    /// The mask that `prompts` ask for on the frame whose features these are.
    ///
    /// # Errors
    /// A failing device.
    pub fn predict(
        &self,
        features: &ImageFeatures,
        letterbox: &Letterbox,
        prompts: &FramePrompts,
    ) -> Result<Answer, String> {
        let points = letterbox.network_points(prompts);
        let side = letterbox.size / 4;
        let mask = prompts.mask.as_ref().map(|mask| {
            let plane: Vec<f32> =
                mask.to_bitmap().pixels.iter().map(|p| f32::from(u8::from(*p))).collect();
            let full = letterbox.plane_to_network(&plane, 0.0);
            let small = resize_plane(&full, [letterbox.size; 2], [side; 2], Kernel::BilinearAa);
            small.iter().map(|v| MASK_LOGIT * (2.0 * v - 1.0)).collect::<Vec<f32>>()
        });
        let mask = mask.as_ref().map(|m| (&m[..], side));
        let found = self.sam.predict(features, &points, mask)?;
        let mut logits = letterbox.logits_to_image(&found.low_res, found.side);
        let [width, height] = letterbox.image.map(|n| n as u32);
        let boundary = prompts.boundary_points();
        if boundary.len() >= 2 {
            // The second look sees boundary points alone: where more was said it would forget it.
            let all_said = boundary.len() == prompts.points.len()
                && prompts.bounding_box.is_none()
                && prompts.mask.is_none();
            if all_said {
                self.look_closer(&mut logits, &boundary)?;
            }
            self.mix_in_curve(&mut logits, letterbox, &boundary);
            if self.options.snap {
                snap_to_points(&mut logits, width, height, &boundary);
            }
        }
        Ok(Answer {
            bitmap: Bitmap::from_logits(width, height, &logits),
            logits,
            low_res: found.low_res,
            side: found.side,
            score: found.iou,
            object_score_logit: found.object_score,
        })
    }

    /// Averages `logits` with those of a look at the surroundings of the points alone.
    fn look_closer(&self, logits: &mut [f32], boundary: &[PointPx]) -> Result<(), String> {
        let Some(Pixels { frame, preprocess, device }) = self.pixels else { return Ok(()) };
        let Some([x0, y0, side]) =
            surroundings(frame, boundary).filter(|_| boundary.len() <= CLOSER_POINTS_MAX)
        else {
            return Ok(());
        };
        let (x, y) = (x0 as i64, y0 as i64);
        let cells =
            (0..side * side).map(|i| frame.at(x + (i % side) as i64, y + (i / side) as i64));
        let part =
            GrayFrame { width_px: side as u32, height_px: side as u32, pixels: cells.collect() };
        let (input, letterbox) = preprocess.frame(&part, self.sam.config().image_size, device);
        let features = self.sam.encode_image(input);
        let moved =
            |p: &PointPx| (PointKind::Boundary, PointPx::new(p.x - x0 as f32, p.y - y0 as f32));
        let prompts = FramePrompts {
            points: boundary.iter().map(moved).collect(),
            ..FramePrompts::default()
        };
        let found = self.sam.predict(&features, &letterbox.network_points(&prompts), None)?;
        let closer = letterbox.logits_to_image(&found.low_res, found.side);
        let width = frame.width_px as usize;
        for (row, values) in closer.chunks_exact(side).enumerate() {
            for (column, value) in values.iter().enumerate() {
                let logit = &mut logits[(y0 + row) * width + x0 + column];
                *logit += CLOSER_SHARE * (value - *logit);
            }
        }
        Ok(())
    }

    fn mix_in_curve(&self, logits: &mut [f32], letterbox: &Letterbox, boundary: &[PointPx]) {
        let shares = &self.options.curve_share;
        let share = shares.get(boundary.len() - 2).or(shares.last()).copied().unwrap_or(0.0);
        if share <= 0.0 {
            return;
        }
        let cell = letterbox.size as f32 / CURVE_CELLS as f32;
        let on_grid: Vec<PointPx> = boundary
            .iter()
            .map(|p| letterbox.to_network(*p).map(|v| (v + 0.5) / cell))
            .map(|[x, y]| PointPx::new(x, y))
            .collect();
        // The slope is stated for an input of 256 px, whatever the true one is.
        let curve = curve_logits(
            &on_grid,
            CURVE_CELLS as u32,
            CURVE_CELLS as u32,
            256.0 / CURVE_CELLS as f32,
        );
        let curve = letterbox.logits_to_image(&curve, CURVE_CELLS);
        for (logit, known) in logits.iter_mut().zip(curve) {
            *logit += share * (known - *logit);
        }
    }
}

/// Left, top and side of the square round the curve through the points, px, inside the frame; `None` where that is
/// nearly the whole frame.
fn surroundings(frame: &GrayFrame, boundary: &[PointPx]) -> Option<[usize; 3]> {
    let curve = closed_curve(boundary);
    let range = |value: fn(&PointPx) -> f32| {
        let low = curve.iter().map(value).fold(f32::INFINITY, f32::min);
        (low, curve.iter().map(value).fold(f32::NEG_INFINITY, f32::max))
    };
    let ((left, right), (top, bottom)) = (range(|p| p.x), range(|p| p.y));
    let side = CLOSER_MARGIN * (right - left).max(bottom - top);
    let least = frame.width_px.min(frame.height_px) as f32;
    if !(side.is_finite() && side >= 16.0 && side <= CLOSER_MOST * least) {
        return None;
    }
    let place = |low: f32, high: f32, size: u32| {
        (0.5 * (low + high - side)).clamp(0.0, size as f32 - side).floor() as usize
    };
    Some([place(left, right, frame.width_px), place(top, bottom, frame.height_px), side as usize])
}
