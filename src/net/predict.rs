//! From the prompts of one frame to its mask at the size of the image: the one way in which engine, evaluation and
//! training's validation ask the network.
//!
//! What decides whether this file is right: boundary prompts end on the contour (`snap_to_points`), and the more points
//! a person gives the less the network may contradict the curve through them: from five exact points on, geometry alone
//! is hard to beat, and the network's worth is at one to four points. The shares of that blend were chosen on `val`: on
//! stills that were learned from, the network is too good. Networks that learned from close views look at a structure
//! twice: once to find it, once closely. Region points say what is wrong with what was shown, so it goes in beside them, as
//! in training; boundary points stand for themselves, as in training too.

use burn::tensor::Device;

use super::bridge::{Bridged, bridge};
use super::closer::closer_box;
use super::config::Preprocess;
use super::letterbox::Letterbox;
use super::resize::{Kernel, resize_plane};
use super::sam2::{ImageFeatures, PREVIOUS_LOGIT_MAX, Prediction, Sam2};
use crate::domain::{
    Bitmap, BoxPx, FramePrompts, GrayFrame, PointKind, PointPx, curve_logits, snap_to_points,
};

/// Share of the curve in the answer for 2, 3, 4, ... boundary points; the last entry holds for more.
const CURVE_SHARE: [f32; 8] = [0.2, 0.4, 0.3, 0.45, 0.5, 0.55, 0.6, 0.7];
/// The curve is computed on a grid of this many cells per side and read at every pixel.
const CURVE_CELLS: usize = 128;
/// Share of the closer look in the answer, inside its box.
const CLOSER_SHARE: f32 = 0.6;
/// Logit of a mask prompt inside and (negative) outside.
pub(super) const MASK_LOGIT: f32 = 10.0;

/// What the last steps do; the defaults are the shipped ones, the others are for measuring.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictOptions {
    /// Make the contour pass through the boundary points.
    pub snap: bool,
    /// Share of the curve in the answer for 2, 3, ... boundary points; empty for none.
    pub curve_share: Vec<f32>,
    /// Share of a second, closer look of networks that have one, 0..=1; 0 for none.
    pub closer_share: f32,
}

impl Default for PredictOptions {
    fn default() -> Self {
        Self { snap: true, curve_share: CURVE_SHARE.to_vec(), closer_share: CLOSER_SHARE }
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

/// What a person saw when they placed region points.
#[derive(Clone, Copy)]
pub enum Shown<'a> {
    /// The answer to the prompts before.
    Answer(&'a Answer),
    /// A mask of the frame's size from elsewhere: one that was propagated.
    Mask(&'a Bitmap),
}

impl Shown<'_> {
    /// Logits of every pixel of the frame.
    fn logits(self) -> Vec<f32> {
        match self {
            Self::Answer(answer) => answer.logits.clone(),
            Self::Mask(mask) => {
                let logit = |inside: &bool| if *inside { MASK_LOGIT } else { -MASK_LOGIT };
                mask.pixels.iter().map(logit).collect()
            }
        }
    }

    /// The mask prompt for a look at the whole frame.
    fn prompt(self, letterbox: &Letterbox) -> Vec<f32> {
        match self {
            Self::Answer(answer) => answer.low_res.iter().map(|v| clamped(*v)).collect(),
            Self::Mask(_) => mask_prompt(letterbox, &self.logits()),
        }
    }
}

/// A frame whose features are there, with what it takes to encode a part of it.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The frame.
    pub frame: &'a GrayFrame,
    /// How frames enter the network.
    pub preprocess: &'a Preprocess,
    /// Where the network lies.
    pub device: &'a Device,
    /// Features of the whole frame.
    pub features: &'a ImageFeatures,
    /// How the frame lies in the input.
    pub letterbox: &'a Letterbox,
}

/// Asks a network about single frames.
pub struct Predictor<'a> {
    sam: &'a Sam2,
    options: PredictOptions,
}

impl<'a> Predictor<'a> {
    /// With the shipped last steps.
    #[must_use]
    pub fn new(sam: &'a Sam2) -> Self {
        Self { sam, options: PredictOptions::default() }
    }

    /// With other last steps, for measuring.
    #[must_use]
    pub fn with_options(sam: &'a Sam2, options: PredictOptions) -> Self {
        Self { sam, options }
    }

    /// The mask that `prompts` ask for on that frame.
    ///
    /// # Errors
    /// A failing device.
    pub fn predict(&self, view: View<'_>, prompts: &FramePrompts) -> Result<Answer, String> {
        self.correct(view, prompts, None)
    }

    /// As [`Self::predict`], for prompts whose last point corrects what was `shown`. It counts where all points are inside
    /// or outside points.
    ///
    /// # Errors
    /// A failing device.
    pub fn correct(
        &self,
        view: View<'_>,
        prompts: &FramePrompts,
        shown: Option<Shown<'_>>,
    ) -> Result<Answer, String> {
        let letterbox = view.letterbox;
        let shown = shown.filter(|_| prompts.boundary_points().is_empty());
        let mask = match (shown, &prompts.mask) {
            (Some(shown), _) => Some(shown.prompt(letterbox)),
            (None, Some(mask)) => {
                Some(mask_prompt(letterbox, &Shown::Mask(&mask.to_bitmap()).logits()))
            }
            (None, None) => None,
        };
        let found = self.look(view.features, letterbox, prompts, mask)?;
        let mut logits = letterbox.logits_to_image(&found.low_res, found.side);
        let [width, height] = letterbox.image.map(|n| n as u32);
        let boundary = prompts.boundary_points();
        self.look_closer(view, prompts, shown, &mut logits)?;
        if boundary.len() >= 2 {
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

    /// What the network itself says to the points and the box of `prompts` and to a mask prompt.
    fn look(
        &self,
        features: &ImageFeatures,
        letterbox: &Letterbox,
        prompts: &FramePrompts,
        mask: Option<Vec<f32>>,
    ) -> Result<Prediction, String> {
        let points = letterbox.network_points(prompts);
        let side = letterbox.size / 4;
        let (points, mask) = match self.sam.bridges().then(|| bridge(&points, letterbox.size)) {
            Some(Some(Bridged { points, mask: curve })) => (points, curve.or(mask)),
            _ => (points, mask),
        };
        let mask = mask.as_ref().map(|m| (&m[..], side));
        self.sam.predict(features, &points, mask)
    }

    /// Looks again at what `logits` show and at the points on and in it, filling the input, and mixes that in. A mask
    /// that a person gave needs no second look.
    fn look_closer(
        &self,
        view: View<'_>,
        prompts: &FramePrompts,
        corrected: Option<Shown<'_>>,
        logits: &mut [f32],
    ) -> Result<(), String> {
        let config = self.sam.config();
        let share = self.options.closer_share;
        if !config.prompts.closer_look || share <= 0.0 || prompts.mask.is_some() {
            return Ok(());
        }
        let frame = view.frame;
        let shown = Bitmap::from_logits(frame.width_px, frame.height_px, logits).bounds();
        let corners = shown.into_iter().flat_map(|b| [b.min, b.max]);
        let on_it = prompts.points.iter().filter(|(kind, _)| *kind != PointKind::Outside);
        let on_it = on_it.map(|(_, at)| *at);
        let Some(extent) = BoxPx::of(on_it.chain(corners)) else { return Ok(()) };
        let Some(closer) = closer_box(extent, frame) else { return Ok(()) };
        let (input, letterbox) =
            view.preprocess.frame(&closer.cut(frame), config.image_size, view.device);
        let features = self.sam.encode_image(input);
        let mask = corrected.map(|shown| {
            let part = closer.part(&shown.logits(), frame.width_px as usize);
            mask_prompt(&letterbox, &part)
        });
        let found = self.look(&features, &letterbox, &closer.prompts(prompts), mask)?;
        let seen = letterbox.logits_to_image(&found.low_res, found.side);
        closer.mix(logits, frame.width_px as usize, &seen, share);
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

/// Logits of every pixel of an image as a mask prompt of the input that it lies in, `(size / 4)^2`.
fn mask_prompt(letterbox: &Letterbox, logits: &[f32]) -> Vec<f32> {
    let full = letterbox.plane_to_network(logits, -MASK_LOGIT);
    let side = letterbox.size / 4;
    let small = resize_plane(&full, [letterbox.size; 2], [side; 2], Kernel::BilinearAa);
    small.into_iter().map(clamped).collect()
}

fn clamped(logit: f32) -> f32 {
    logit.clamp(-PREVIOUS_LOGIT_MAX, PREVIOUS_LOGIT_MAX)
}
