//! One structure of one clip: prompted, propagated, corrected where it first went wrong.
//!
//! What decides whether this file is right: a correction starts from the mask that is shown, and masks before it and on
//! prompted frames stay.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{ClipBaseline, ClipJudged, Encoded, Kept, Tracking, VideoOptions};
use crate::domain::{Bitmap, Carrier, FramePrompts, PointPx, Window, overlap, tidied};
use crate::learn::annotator::{SimulatedUser, contour};
use crate::learn::baselines::Baseline;
use crate::learn::dataset::{ClipObject, LabelledClip};
use crate::learn::evaluate::{EvalError, Score};
use crate::net::follow::{Follower, Seen};
use crate::net::memory_bank::Direction;
use crate::net::predict::{Answer, Predictor, Shown, View};

/// Points of a first prompt and of each correction.
const CLIP_POINTS: usize = 5;
/// IoU below which a frame is corrected.
const CORRECT_BELOW: f64 = 0.75;

/// One structure of one clip under correction.
pub(super) struct Session<'a> {
    pub(super) judged: &'a ClipJudged<'a>,
    pub(super) options: &'a VideoOptions,
    pub(super) clip: &'a LabelledClip,
    pub(super) object: &'a ClipObject,
    pub(super) encoded: &'a Kept,
    pub(super) anchors: BTreeMap<usize, Bitmap>,
    pub(super) decided: usize,
}

impl Session<'_> {
    fn windows(&self) -> &[Window] {
        &self.object.windows
    }

    fn truth(&self, frame: usize) -> Bitmap {
        self.object.masks[frame].to_bitmap()
    }

    fn encoded(&self, tracking: &Tracking<'_>, frame: usize) -> Encoded {
        self.encoded.of(frame, || {
            let size = tracking.sam.config().image_size;
            let pixels = &self.clip.frames[frame];
            let (input, letterbox) = tracking.preprocess.frame(pixels, size, tracking.device);
            (tracking.sam.encode_image(input), letterbox)
        })
    }

    fn seen<'s>(&'s self, frame: usize, encoded: &'s Encoded) -> Seen<'s> {
        let (features, letterbox) = &**encoded;
        Seen { frame, pixels: &self.clip.frames[frame], features, letterbox, tissue: None }
    }

    pub(super) fn correct_through(
        &mut self,
        seed: u64,
        cancel: &AtomicBool,
    ) -> Result<(Vec<Score>, BTreeMap<usize, Bitmap>), EvalError> {
        let mut user = SimulatedUser::new(seed);
        let mut masks: BTreeMap<usize, Bitmap> = BTreeMap::new();
        let Some(start) = self.windows().first().map(|w| w.first) else {
            return Ok((vec![Score { dice: 1.0, iou: 1.0 }; self.options.rounds], masks));
        };
        let mut rounds: Vec<Score> = Vec::new();
        let mut from = Some(start);
        while rounds.len() < self.options.rounds {
            if cancel.load(Ordering::Relaxed) {
                return Err(EvalError::Cancelled);
            }
            let Some(frame) = from else {
                rounds.push(rounds.last().copied().unwrap_or_default());
                continue;
            };
            let anchor = self.prompt(frame, masks.get(&frame), &mut user)?;
            masks.insert(frame, anchor.clone());
            self.anchors.insert(frame, anchor);
            self.propagate(frame, &mut masks)?;
            let (score, worst) = self.judge(&masks);
            rounds.push(score);
            from = worst;
        }
        Ok((rounds, masks))
    }

    /// Five points with the answer shown in between, starting from the mask at hand.
    fn prompt(
        &self,
        frame: usize,
        shown: Option<&Bitmap>,
        user: &mut SimulatedUser,
    ) -> Result<Bitmap, EvalError> {
        let truth = self.truth(frame);
        if self.options.exact {
            return Ok(truth);
        }
        let line = contour(&truth);
        let size = (truth.width_px, truth.height_px);
        let (mut prompts, mut clean) = (FramePrompts::default(), Vec::new());
        let mut mask = shown.filter(|m| m.area_px() > 0).cloned();
        let mut before: Option<Answer> = None;
        for _ in 0..CLIP_POINTS {
            let click = self.options.placing.click(user, (&truth, &line), mask.as_ref(), &clean);
            let Some((kind, at)) = click else { break };
            clean.push(at);
            let shaky = user.shaky(at, self.options.noise_px).clamped(size.0, size.1);
            prompts.points.push((kind, shaky));
            let seen = before.as_ref().map(Shown::Answer).or(mask.as_ref().map(Shown::Mask));
            let (bitmap, answer) = self.answer(frame, &prompts, seen)?;
            (mask, before) = (Some(bitmap), answer);
        }
        Ok(mask.unwrap_or_else(|| Bitmap::empty(size.0, size.1)))
    }

    /// What is shown after `prompts`, of which the last corrects `before`, and the network's own answer.
    fn answer(
        &self,
        frame: usize,
        prompts: &FramePrompts,
        before: Option<Shown<'_>>,
    ) -> Result<(Bitmap, Option<Answer>), EvalError> {
        match self.judged {
            ClipJudged::Network(tracking) => {
                let encoded = self.encoded(tracking, frame);
                let view = View {
                    frame: &self.clip.frames[frame],
                    preprocess: tracking.preprocess,
                    device: tracking.device,
                    features: &encoded.0,
                    letterbox: &encoded.1,
                };
                let answer = Predictor::new(tracking.sam)
                    .correct(view, prompts, before)
                    .map_err(EvalError::Network)?;
                Ok((tidied(answer.bitmap.clone(), prompts), Some(answer)))
            }
            ClipJudged::Baseline(_) => {
                let points: Vec<PointPx> = prompts.points.iter().map(|(_, at)| *at).collect();
                let pixels = &self.clip.frames[frame];
                let mask = Baseline::Curve.mask(&points, pixels.width_px, pixels.height_px, &[]);
                Ok((mask, None))
            }
        }
    }

    /// Decides all later frames of the windows anew; anchors keep their masks.
    fn propagate(
        &mut self,
        from: usize,
        masks: &mut BTreeMap<usize, Bitmap>,
    ) -> Result<(), EvalError> {
        let asked: Vec<usize> = (from + 1..self.clip.frames.len())
            .filter(|f| !self.options.windowed || self.windows().iter().any(|w| w.contains(*f)))
            .filter(|f| !self.anchors.contains_key(f))
            .collect();
        self.decided += asked.len();
        match self.judged {
            ClipJudged::Network(tracking) => {
                let failed = |e: crate::net::tracker::TrackError| EvalError::Network(e.to_string());
                let sam = tracking.sam;
                let mut follower = Follower::new(
                    sam,
                    self.clip.frames.len(),
                    self.options.windowed,
                    self.options.follow.clone(),
                );
                for (frame, mask) in &self.anchors {
                    let encoded = self.encoded(tracking, *frame);
                    follower.anchor(sam, self.seen(*frame, &encoded), mask).map_err(failed)?;
                }
                for frame in asked {
                    let encoded = self.encoded(tracking, frame);
                    let seen = self.seen(frame, &encoded);
                    let followed =
                        follower.follow(sam, seen, Direction::Forward).map_err(failed)?;
                    masks.insert(frame, followed.bitmap);
                }
            }
            ClipJudged::Baseline(ClipBaseline::Copy) => {
                for frame in asked {
                    let before = self.anchors.range(..frame).next_back();
                    masks.extend(before.map(|(_, mask)| (frame, mask.clone())));
                }
            }
            ClipJudged::Baseline(ClipBaseline::Motion) => {
                let mut carrier = Carrier::new();
                for (frame, mask) in &self.anchors {
                    carrier.anchor(*frame, &self.clip.frames[*frame], mask);
                }
                for frame in asked {
                    let pixels = &self.clip.frames[frame];
                    let carried = carrier.follow(frame, pixels).map(|distance| {
                        Bitmap::from_logits(pixels.width_px, pixels.height_px, &distance)
                    });
                    masks.extend(carried.map(|mask| (frame, mask)));
                }
            }
        }
        Ok(())
    }

    /// Mean overlap of the frames nobody prompted, and the first that needs a person.
    fn judge(&self, masks: &BTreeMap<usize, Bitmap>) -> (Score, Option<usize>) {
        let (mut sum, mut n, mut worst) = (Score::default(), 0usize, None);
        for frame in self.windows().iter().flat_map(|w| w.first..=w.last) {
            if self.anchors.contains_key(&frame) || frame >= self.clip.frames.len() {
                continue;
            }
            let truth = self.truth(frame);
            let empty = Bitmap::empty(truth.width_px, truth.height_px);
            let found = overlap(masks.get(&frame).unwrap_or(&empty), &truth);
            (sum.dice, sum.iou, n) = (sum.dice + found.dice, sum.iou + found.iou, n + 1);
            if found.iou < CORRECT_BELOW && worst.is_none() {
                worst = Some(frame);
            }
        }
        if n == 0 {
            return (Score { dice: 1.0, iou: 1.0 }, None);
        }
        (Score { dice: sum.dice / n as f64, iou: sum.iou / n as f64 }, worst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::GrayFrame;
    use crate::engine::load_network;
    use crate::learn::annotator::region_click;
    use crate::learn::evaluate::Placing;
    use crate::net::device::{DeviceWant, pick};

    #[test]
    fn region_points_correct_the_mask_that_was_propagated() {
        let picked = pick(DeviceWant::Cpu).expect("a CPU");
        let (card, sam) = load_network(None, &picked).expect("the shipped network");
        let disc =
            |x: f32, y: f32, r: f32| move |u: u32, v: u32| (u as f32 - x).hypot(v as f32 - y) < r;
        let (nerve, blob) = (disc(48.0, 64.0, 24.0), disc(96.0, 64.0, 12.0));
        let truth = Bitmap::from_fn(128, 128, nerve);
        // Nothing in the pixels tells what is wanted.
        let frame =
            GrayFrame::new(128, 128, (0..128 * 128).map(|i| 90 + (i * 7 % 23) as u8).collect());
        let clip = LabelledClip {
            name: String::new(),
            frames: vec![frame.expect("a frame")],
            objects: Vec::new(),
            source: None,
        };
        let windows = vec![Window { first: 0, last: 0 }];
        let object = ClipObject { label: 1, windows, masks: vec![truth.to_mask()] };
        let mut options = VideoOptions::new(std::path::Path::new(""));
        options.placing = Placing::Region;
        let judged = ClipJudged::Network(Tracking {
            sam: &sam,
            preprocess: &card.preprocess,
            device: &picked.device,
        });
        let encoded = Kept::new(0);
        let session = Session {
            judged: &judged,
            options: &options,
            clip: &clip,
            object: &object,
            encoded: &encoded,
            anchors: BTreeMap::new(),
            decided: 0,
        };
        let shown = Bitmap::from_fn(128, 128, |u, v| nerve(u, v) || blob(u, v));
        let (found, user) = (|mask: &Bitmap| overlap(mask, &truth).iou, &mut SimulatedUser::new(1));
        let with = found(&session.prompt(0, Some(&shown), user).expect("an answer"));
        // The same points, each asked about without what was shown.
        let (mut prompts, mut mask) = (FramePrompts::default(), shown);
        for _ in 0..CLIP_POINTS {
            prompts.points.extend(region_click(&truth, Some(&mask)));
            mask = session.answer(0, &prompts, None).expect("an answer").0;
        }
        let without = found(&mask);
        assert!(with > 0.8 && with > without + 0.02, "{with} {without}");
    }

    /// A disc of changing place, and windows that need a correction or two.
    fn moving() -> (LabelledClip, ClipObject) {
        let disc = |f: usize| {
            let (x, y) = (40.0 + 9.0 * f as f32, 60.0);
            Bitmap::from_fn(128, 128, move |u, v| (u as f32 - x).hypot(v as f32 - y) < 20.0)
        };
        let truth: Vec<Bitmap> = (0..5).map(disc).collect();
        let frame = |mask: &Bitmap| {
            let pixels = mask
                .pixels
                .iter()
                .enumerate()
                .map(|(i, inside)| if *inside { 180 } else { 60 + (i * 7 % 23) as u8 });
            GrayFrame::new(128, 128, pixels.collect()).expect("a frame")
        };
        let clip = LabelledClip {
            name: String::new(),
            frames: truth.iter().map(frame).collect(),
            objects: Vec::new(),
            source: None,
        };
        let masks = truth.iter().map(Bitmap::to_mask).collect();
        (clip, ClipObject { label: 1, windows: vec![Window { first: 0, last: 4 }], masks })
    }

    #[test]
    fn what_is_kept_of_a_clip_stays_below_its_budget_and_changes_no_figure() {
        let picked = pick(DeviceWant::Cpu).expect("a CPU");
        let (card, sam) = load_network(None, &picked).expect("the shipped network");
        let judged = ClipJudged::Network(Tracking {
            sam: &sam,
            preprocess: &card.preprocess,
            device: &picked.device,
        });
        let (clip, object) = moving();
        let mut options = VideoOptions::new(std::path::Path::new(""));
        options.rounds = 2;
        let run = |encoded: &Kept| {
            let anchors = BTreeMap::new();
            let (judged, options, clip, object) = (&judged, &options, &clip, &object);
            let mut session =
                Session { judged, options, clip, object, encoded, anchors, decided: 0 };
            session.correct_through(1, &AtomicBool::new(false)).expect("an answer")
        };
        let one = Kept::new(usize::MAX);
        let all = run(&one);
        let held = |kept: &Kept| kept.0.lock().expect("not poisoned").bytes();
        let frame = held(&one) / clip.frames.len();
        let two = Kept::new(2 * frame);
        assert_eq!(run(&two), all);
        assert!(frame > 0 && held(&two) <= 2 * frame, "{} of {frame}", held(&two));
    }
}
