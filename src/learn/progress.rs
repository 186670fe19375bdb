//! How far a run is: sums over the steps since the last line, and the line itself.

use std::time::Instant;

use super::lessons::{Marks, Plan, Subject};

/// Steps that could not be taken, between two lines or in a row, after which a run is given up.
const BAD_MOST: usize = 20;

/// How far a run is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Part of the budget used, 0..=1.
    pub used: f64,
    /// Images per second since the last line.
    pub images_per_s: f64,
    /// Mean loss of still and clip steps since the last line; NaN when there was none.
    pub loss: [f32; 2],
    /// Mean IoU after the first and the last round on stills, on the first and later frames of clips.
    pub iou: [f32; 4],
    /// Norm of the last gradient before clipping.
    pub gradient: f32,
    /// Input side, px.
    pub side: usize,
    /// Mean Dice at 2 to 5 boundary points on the stills held back, at the last look.
    pub validation_dice: Option<f64>,
    /// The best of all looks so far: that of the weights that are kept.
    pub best_dice: Option<f64>,
    /// Views that were encoded ahead, of at most how many; `None` once the steps have begun.
    pub encoded: Option<[usize; 2]>,
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some([done, whole]) = self.encoded {
            return write!(f, "encoded ahead: {done} of {whole} views");
        }
        write!(
            f,
            "step {} ({:.1} %) {} px {:.1} images/s",
            self.step,
            100.0 * self.used,
            self.side,
            self.images_per_s
        )?;
        // Some lines cover steps of one kind alone.
        for (i, kind) in
            ["stills", "clips"].into_iter().enumerate().filter(|(i, _)| !self.loss[*i].is_nan())
        {
            let [first, last] = [self.iou[2 * i], self.iou[2 * i + 1]];
            write!(f, "  {kind}: loss {:.3} iou {first:.3} -> {last:.3}", self.loss[i])?;
        }
        write!(f, "  |g| {:.2}", self.gradient)?;
        match (self.validation_dice, self.best_dice) {
            (Some(now), Some(best)) => write!(f, "  held back: Dice {now:.4} (best {best:.4})"),
            _ => Ok(()),
        }
    }
}

/// Sums since the last progress line.
pub(super) struct Tally {
    since: Instant,
    images: usize,
    steps: [usize; 2],
    loss: [f32; 2],
    iou: [f32; 4],
    gradient: f32,
    side: usize,
    /// Steps whose loss or gradient was not a number: since the last line, and before it where none was taken since.
    bad: usize,
    /// Dice at the last look at the stills held back.
    pub validation_dice: Option<f64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            since: Instant::now(),
            images: 0,
            steps: [0; 2],
            loss: [0.0; 2],
            iou: [0.0; 4],
            gradient: 0.0,
            side: 0,
            bad: 0,
            validation_dice: None,
        }
    }

    /// An empty tally that still knows the last look, and how long no step could be taken.
    pub(super) fn next(&self) -> Self {
        let bad = if self.steps == [0; 2] { self.bad } else { 0 };
        Self { validation_dice: self.validation_dice, bad, ..Self::new() }
    }

    /// Notes a step that could not be taken; true where there were too many.
    pub(super) fn failed(&mut self) -> bool {
        self.bad += 1;
        self.bad > BAD_MOST
    }

    pub(super) fn add(&mut self, plan: &Plan, marks: &Marks, gradient: f32) {
        let kind = usize::from(matches!(plan.subject, Subject::Clip { .. }));
        self.images += marks.images;
        self.steps[kind] += 1;
        self.loss[kind] += marks.loss;
        self.iou[2 * kind] += marks.iou[0];
        self.iou[2 * kind + 1] += marks.iou[1];
        (self.gradient, self.side) = (gradient, plan.side);
    }

    pub(super) fn line(&self, step: u64, used: f64) -> Progress {
        let mean = |sum: f32, kind: usize| sum / self.steps[kind] as f32;
        Progress {
            step,
            used: used.min(1.0),
            images_per_s: self.images as f64 / self.since.elapsed().as_secs_f64().max(1e-6),
            loss: [mean(self.loss[0], 0), mean(self.loss[1], 1)],
            iou: [
                mean(self.iou[0], 0),
                mean(self.iou[1], 0),
                mean(self.iou[2], 1),
                mean(self.iou[3], 1),
            ],
            gradient: self.gradient,
            side: self.side,
            validation_dice: self.validation_dice,
            best_dice: None,
            encoded: None,
        }
    }
}
