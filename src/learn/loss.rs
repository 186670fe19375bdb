//! What training asks for: SAM 2's losses and the boundary loss of the method (Eq. 1).
//!
//! What decides whether this file is right: focal and dice are means per mask, never over the batch first; the
//! candidate with the least mask loss alone carries the mask gradient; and Eq. 1 is computed on the *soft* mask in
//! f32 with replicated borders. Its printed form has no minimum at the boundary (blurred foreground grows towards the
//! inside), so the reading is an option: `Ridge` (product of blurred foreground and background, the default), `Edge`
//! (slope of the blurred foreground), `Literal` and `LiteralMax`. Golden `bl.*`, `loss.*`.

use burn::tensor::activation::{relu, sigmoid, softplus};
use burn::tensor::{Device, Tensor, TensorData};

use crate::domain::PointPx;

/// Weight of the foreground in the focal loss.
pub const FOCAL_ALPHA: f64 = 0.25;

/// Weights of the terms; the defaults are SAM 2's and the method's lambda.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossWeights {
    /// Focal loss.
    pub focal: f64,
    /// Dice loss.
    pub dice: f64,
    /// L1 of the predicted IoU.
    pub iou: f64,
    /// Cross entropy of the object score.
    pub object: f64,
    /// Lambda of Eq. 1.
    pub boundary: f64,
}

impl Default for LossWeights {
    fn default() -> Self {
        Self { focal: 20.0, dice: 1.0, iou: 1.0, object: 1.0, boundary: 2.0 }
    }
}

/// Binary cross entropy of logits, element by element.
pub fn cross_entropy<const D: usize>(logits: Tensor<D>, target: Tensor<D>) -> Tensor<D> {
    relu(logits.clone()) - logits.clone() * target + softplus(logits.abs().neg(), 1.0)
}

/// Focal loss (gamma 2) of `[M, C, h, w]` logits against targets in 0..=1 of the same shape: a mean per mask `[M, C]`.
pub fn focal(logits: Tensor<4>, target: Tensor<4>) -> Tensor<2> {
    let p = sigmoid(logits.clone());
    let hit = p.clone() * target.clone() + (p.neg() + 1.0) * (target.clone().neg() + 1.0);
    let weight = target.clone() * (2.0 * FOCAL_ALPHA - 1.0) + (1.0 - FOCAL_ALPHA);
    let miss = hit.neg() + 1.0;
    let loss = cross_entropy(logits, target) * weight * miss.clone() * miss;
    let [m, c, h, w] = loss.dims();
    loss.reshape([m, c, h * w]).mean_dim(2).reshape([m, c])
}

/// Dice loss with smoothing 1 of `[M, C, h, w]` logits: one number per mask `[M, C]`.
pub fn dice(logits: Tensor<4>, target: Tensor<4>) -> Tensor<2> {
    let [m, c, h, w] = logits.dims();
    let flat = |x: Tensor<4>| x.reshape([m, c, h * w]).sum_dim(2).reshape([m, c]);
    let p = sigmoid(logits);
    let both = flat(p.clone() * target.clone());
    let sum = flat(p) + flat(target);
    ((both * 2.0 + 1.0) / (sum + 1.0)).neg() + 1.0
}

/// IoU of `logits > 0` with `target > 0.5`, `[M, C]`, without gradient.
pub fn actual_iou(logits: Tensor<4>, target: Tensor<4>) -> Tensor<2> {
    let [m, c, h, w] = logits.dims();
    let flat = |x: Tensor<4>| x.reshape([m, c, h * w]).sum_dim(2).reshape([m, c]);
    let p = logits.detach().greater_elem(0.0).float();
    let t = target.detach().greater_elem(0.5).float();
    let both = flat(p.clone() * t.clone());
    both.clone() / (flat(p + t) - both).clamp_min(1.0)
}

/// For each row of `[M, C]` a one at its smallest entry (the first of equals), else zero; no gradient.
pub fn least_of(losses: &Tensor<2>) -> Tensor<2> {
    let [m, c] = losses.dims();
    let device = losses.device();
    let values: Vec<f32> =
        losses.clone().detach().into_data().convert::<f32>().try_into_vec().unwrap_or_default();
    let mut picked = vec![0.0f32; m * c];
    for (row, out) in values.chunks(c).zip(picked.chunks_mut(c)) {
        let best = (1..c).fold(0, |best, i| if row[i] < row[best] { i } else { best });
        out[best] = 1.0;
    }
    Tensor::from_data(TensorData::new(picked, [m, c]), &device)
}

/// How Eq. 1's smoothed mask becomes a map that should be high at the clicks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// The blurred foreground itself, as printed.
    Literal,
    /// The blurred foreground, "normalized" by its largest value.
    LiteralMax,
    /// `4 S (1 - S)`: 1 where the blurred foreground is one half.
    Ridge,
    /// Slope of the blurred foreground, 1 on a straight edge.
    Edge,
}

/// How the Gaussians at the clicks are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClickMass {
    /// They sum to 1 over the image: the exponent stays in 0..=1 and the gradient alive.
    Unit,
    /// Each has height 1: the exponent grows with every click and the loss dies (as printed).
    Amp1,
}

/// Eq. 1 as a run uses it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundaryTerm {
    /// Which map.
    pub reading: Reading,
    /// Which scale of the clicks.
    pub mass: ClickMass,
    /// Its weight beside the other losses; 0 switches it off.
    pub lambda: f64,
}

impl Default for BoundaryTerm {
    fn default() -> Self {
        let lambda = LossWeights::default().boundary;
        Self { reading: Reading::Ridge, mass: ClickMass::Unit, lambda }
    }
}

impl BoundaryTerm {
    /// What people write for the readings; the last one is none at all.
    pub const NAMES: [&str; 5] = ["ridge", "gradient", "literal", "literal-max", "off"];

    /// The default with the reading of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let plain = Self::default();
        Some(match name {
            "ridge" => plain,
            "gradient" => Self { reading: Reading::Edge, ..plain },
            "literal" => Self { reading: Reading::Literal, ..plain },
            "literal-max" => Self { reading: Reading::LiteralMax, ..plain },
            "off" => Self { lambda: 0.0, ..plain },
            _ => return None,
        })
    }

    /// The name of the reading.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.reading {
            _ if self.lambda == 0.0 => "off",
            Reading::Ridge => "ridge",
            Reading::Edge => "gradient",
            Reading::Literal => "literal",
            Reading::LiteralMax => "literal-max",
        }
    }
}

/// Sizes of Eq. 1 on one grid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundaryLossConfig {
    /// Which map.
    pub reading: Reading,
    /// Which scale of the clicks.
    pub mass: ClickMass,
    /// Side of the mean filter, odd.
    pub taps: usize,
    /// How often it is applied.
    pub passes: u32,
    /// Width of a click, pixels of the grid.
    pub click_sigma: f64,
}

impl Default for BoundaryLossConfig {
    /// The paper's numbers, meant for the 1024 grid.
    fn default() -> Self {
        Self {
            reading: Reading::Ridge,
            mass: ClickMass::Unit,
            taps: 7,
            passes: 20,
            click_sigma: 2.0,
        }
    }
}

/// Eq. 1, `exp(-sum G_I G_P)`, on one grid.
#[derive(Debug, Clone)]
pub struct BoundaryLoss {
    config: BoundaryLossConfig,
    blur_y: Tensor<2>,
    blur_x: Tensor<2>,
}

/// `passes` mean filters of `taps` samples with replicated borders as one `n` x `n` matrix, in f64.
#[must_use]
pub fn blur_operator(n: usize, taps: usize, passes: u32) -> Vec<f64> {
    let half = (taps / 2) as isize;
    let mut rows = vec![0.0f64; n * n];
    for i in 0..n {
        rows[i * n + i] = 1.0;
    }
    for _ in 0..passes {
        let mut next = vec![0.0f64; n * n];
        for i in 0..n {
            for d in -half..=half {
                let from = (i as isize + d).clamp(0, n as isize - 1) as usize;
                for j in 0..n {
                    next[i * n + j] += rows[from * n + j] / taps as f64;
                }
            }
        }
        rows = next;
    }
    rows
}

impl BoundaryLoss {
    /// The loss for masks of `h` x `w`.
    #[must_use]
    pub fn new(config: BoundaryLossConfig, [h, w]: [usize; 2], device: &Device) -> Self {
        let matrix = |n: usize| {
            let values: Vec<f32> = blur_operator(n, config.taps, config.passes)
                .into_iter()
                .map(|v| v as f32)
                .collect();
            Tensor::from_data(TensorData::new(values, [n, n]), device)
        };
        Self { config, blur_y: matrix(h), blur_x: matrix(w) }
    }

    /// The blurred soft mask `A M Aᵀ` of `[M, h, w]` logits.
    pub fn smooth(&self, logits: Tensor<3>) -> Tensor<3> {
        let [m, h, w] = logits.dims();
        let soft = sigmoid(logits).reshape([m * h, w]);
        let wide = soft.matmul(self.blur_x.clone().transpose()).reshape([m, h, w]);
        self.blur_y.clone().unsqueeze::<3>().expand([m, h, h]).matmul(wide)
    }

    /// The map `G_I` of `[M, h, w]` logits.
    pub fn image_map(&self, logits: Tensor<3>) -> Tensor<3> {
        let s = self.smooth(logits);
        match self.config.reading {
            Reading::Literal => s,
            Reading::LiteralMax => {
                let [m, h, w] = s.dims();
                let largest = s.clone().reshape([m, h * w]).max_dim(1).clamp_min(1e-6);
                s / largest.reshape([m, 1, 1])
            }
            Reading::Ridge => (s.clone() * (s.neg() + 1.0)) * 4.0,
            Reading::Edge => {
                let variance =
                    f64::from(self.config.passes) * ((self.config.taps.pow(2) - 1) as f64) / 12.0;
                let (gy, gx) = (slope(s.clone(), 1), slope(s, 2));
                let squares = gy.clone() * gy + gx.clone() * gx + 1e-12;
                squares.sqrt() * (variance.sqrt() * std::f64::consts::TAU.sqrt())
            }
        }
    }

    /// The map `G_P` `[M, h, w]` of each mask's clicks, in pixels of the grid; masks without a click get zeros.
    pub fn click_map(&self, clicks: &[Vec<PointPx>]) -> Tensor<3> {
        let (h, w) = (self.blur_y.dims()[0], self.blur_x.dims()[0]);
        let device = self.blur_y.device();
        let falloff = 0.5 / self.config.click_sigma.powi(2);
        let profile = |at: f32, n: usize| -> Vec<f64> {
            (0..n).map(|i| (-(i as f64 + 0.5 - f64::from(at)).powi(2) * falloff).exp()).collect()
        };
        let mut maps = Vec::with_capacity(clicks.len() * h * w);
        for points in clicks {
            let profiles: Vec<_> =
                points.iter().map(|p| (profile(p.y, h), profile(p.x, w))).collect();
            // Cut off at the image border first, then scaled: a click on the border counts as much as another.
            let total: f64 =
                profiles.iter().map(|(y, x)| y.iter().sum::<f64>() * x.iter().sum::<f64>()).sum();
            let scale = match self.config.mass {
                ClickMass::Unit => 1.0 / total.max(1e-6),
                ClickMass::Amp1 => 1.0,
            };
            let at = maps.len();
            maps.resize(at + h * w, 0.0f32);
            for (y, x) in &profiles {
                for (row, a) in maps[at..].chunks_mut(w).zip(y).filter(|(_, a)| **a > 1e-12) {
                    for (out, b) in row.iter_mut().zip(x) {
                        *out += (scale * a * b) as f32;
                    }
                }
            }
        }
        Tensor::from_data(TensorData::new(maps, [clicks.len(), h, w]), &device)
    }

    /// `sum G_I G_P` of each mask, `[M]`.
    pub fn exponent(&self, logits: Tensor<3>, clicks: &[Vec<PointPx>]) -> Tensor<1> {
        let [m, h, w] = logits.dims();
        let product = self.image_map(logits) * self.click_map(clicks);
        product.reshape([m, h * w]).sum_dim(1).reshape([m])
    }

    /// Eq. 1 of each mask, `[M]`.
    pub fn forward(&self, logits: Tensor<3>, clicks: &[Vec<PointPx>]) -> Tensor<1> {
        self.exponent(logits, clicks).neg().exp()
    }
}

/// Central differences along `axis`, one-sided at both ends (`torch.gradient`).
fn slope(x: Tensor<3>, axis: usize) -> Tensor<3> {
    let n = x.dims()[axis];
    let first = x.clone().narrow(axis, 1, 1) - x.clone().narrow(axis, 0, 1);
    let last = x.clone().narrow(axis, n - 1, 1) - x.clone().narrow(axis, n - 2, 1);
    let middle = (x.clone().narrow(axis, 2, n - 2) - x.narrow(axis, 0, n - 2)) * 0.5;
    Tensor::cat(vec![first, middle, last], axis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().convert::<f32>().try_into_vec().expect("floats")
    }

    fn t4(v: Vec<f32>, shape: [usize; 4]) -> Tensor<4> {
        Tensor::from_data(TensorData::new(v, shape), &Device::flex())
    }

    #[test]
    fn focal_and_dice_of_a_mask_worked_by_hand() {
        let (x, t) = (t4(vec![0.0, 0.0], [1, 1, 1, 2]), t4(vec![1.0, 0.0], [1, 1, 1, 2]));
        // p = 1/2 everywhere: ce = ln 2, (1 - pt)^2 = 1/4, weights 1/4 and 3/4.
        let expected = 0.5 * (0.25 + 0.75) * 0.25 * 2f32.ln();
        assert!((values(focal(x.clone(), t.clone()))[0] - expected).abs() < 1e-6);
        assert!((values(dice(x, t))[0] - (1.0 - 2.0 / 3.0)).abs() < 1e-6);
    }

    #[test]
    fn losses_of_extreme_logits_are_finite() {
        let (x, t) = (t4(vec![80.0, -80.0], [1, 1, 1, 2]), t4(vec![0.0, 1.0], [1, 1, 1, 2]));
        assert!(
            values(focal(x.clone(), t.clone()))[0].is_finite()
                && values(dice(x, t))[0] < 1.0 + 1e-6
        );
    }

    #[test]
    fn iou_and_the_least_candidate() {
        let x = t4(vec![1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0, -1.0], [1, 2, 2, 2]);
        let t = t4(vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0], [1, 2, 2, 2]);
        assert_eq!(values(actual_iou(x, t)), [0.5, 1.0]);
        let rows = Tensor::<2>::from_data(
            TensorData::new(vec![3.0f32, 1.0, 1.0, 2.0, 5.0, 4.0], [2, 3]),
            &Device::flex(),
        );
        assert_eq!(values(least_of(&rows)), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn the_ridge_is_highest_where_the_contour_meets_the_click_and_the_literal_reading_is_not() {
        let device = Device::flex();
        let disc = |r: f32| -> Tensor<3> {
            let v = (0..64 * 64)
                .map(|i| 4.0 * (r - ((i % 64) as f32 - 31.5).hypot((i / 64) as f32 - 31.5)))
                .collect();
            Tensor::from_data(TensorData::new(v, [1, 64, 64]), &device)
        };
        let clicks = vec![vec![
            PointPx::new(52.0, 32.0),
            PointPx::new(12.0, 32.0),
            PointPx::new(32.0, 52.0),
        ]];
        let best = |reading| {
            let config = BoundaryLossConfig { reading, passes: 2, ..Default::default() };
            let loss = BoundaryLoss::new(config, [64, 64], &device);
            let at = |r: usize| values(loss.forward(disc(r as f32), &clicks))[0];
            (12..30).min_by(|a, b| at(*a).total_cmp(&at(*b))).expect("radii")
        };
        assert!((19..=21).contains(&best(Reading::Ridge)), "{}", best(Reading::Ridge));
        assert!((19..=21).contains(&best(Reading::Edge)), "{}", best(Reading::Edge));
        assert_eq!(best(Reading::Literal), 29);
    }

    #[test]
    fn unit_mass_keeps_the_loss_between_its_bounds_even_at_the_border() {
        let device = Device::flex();
        let loss = BoundaryLoss::new(
            BoundaryLossConfig { passes: 1, ..Default::default() },
            [32, 32],
            &device,
        );
        let clicks = vec![vec![PointPx::new(0.0, 0.0), PointPx::new(31.5, 4.0)], vec![]];
        let sums = values(loss.click_map(&clicks).reshape([2, 1024]).sum_dim(1).reshape([2]));
        assert!((sums[0] - 1.0).abs() < 1e-4 && sums[1] == 0.0, "{sums:?}");
    }

    /// A mask of 3/4, 1/2, 1/4 from left to right, blurred once over 3 px, has S = 2/3, 1/2, 1/3; a click is as good as a
    /// single pixel.
    /// The loss, and its gradient summed over the rows: several rows share the largest value, and whose gradient that is
    /// nobody says.
    fn worked(reading: Reading, mass: ClickMass, clicks: &[PointPx]) -> (f32, Vec<f32>) {
        let device = Device::flex().autodiff();
        let config = BoundaryLossConfig { reading, mass, taps: 3, passes: 1, click_sigma: 0.1 };
        let loss = BoundaryLoss::new(config, [3, 3], &device);
        let row = [3f32.ln(), 0.0, -(3f32.ln())];
        let logits = TensorData::new([row; 3].concat(), [1, 3, 3]);
        let x = Tensor::<3>::from_data(logits, &device).require_grad();
        let out = loss.forward(x.clone(), &[clicks.to_vec()]);
        let grads = out.backward();
        let gradient = x.grad(&grads).expect("a gradient").sum_dim(1);
        (values(out)[0], values(gradient))
    }

    #[test]
    fn every_reading_of_eq_1_as_worked_by_hand() {
        let (left, middle) = (PointPx::new(0.5, 1.5), PointPx::new(1.5, 1.5));
        // Slopes of the sigmoid at the three columns.
        let [a, b] = [3.0 / 16.0, 1.0 / 4.0];
        // The slope's unit: sigma sqrt(2 pi) with sigma^2 = (3^2 - 1) / 12.
        let unit = (2f32 / 3.0).sqrt() * std::f32::consts::TAU.sqrt();
        use ClickMass::{Amp1, Unit};
        let ridge = [-8.0 / 9.0 * a, -4.0 / 9.0 * b, 0.0];
        // With S_m = 1/2 and the largest S_l = 2/3, E = S_m / S_l = 3/4 and dE = dS_m / S_l - S_m dS_l / S_l^2.
        let over_largest = [-a / 4.0, b / 8.0, a / 2.0];
        let twice = |slopes: [f32; 3]| slopes.map(|v| 2.0 * v);
        // Reading, mass and clicks, exponent E, and dE over the logits of each column. As printed every click adds its own
        // mass; with unit mass two clicks weigh as one.
        let cases = [
            (Reading::Literal, Unit, vec![middle], 0.5, [a / 3.0, b / 3.0, a / 3.0]),
            (Reading::Literal, Unit, vec![middle; 2], 0.5, [a / 3.0, b / 3.0, a / 3.0]),
            (Reading::Literal, Amp1, vec![middle; 2], 1.0, twice([a / 3.0, b / 3.0, a / 3.0])),
            (Reading::LiteralMax, Unit, vec![middle], 0.75, over_largest),
            (Reading::LiteralMax, Amp1, vec![middle; 2], 1.5, twice(over_largest)),
            // The largest value over itself is 1 whatever the mask.
            (Reading::LiteralMax, Unit, vec![left], 1.0, [0.0; 3]),
            (Reading::Ridge, Unit, vec![middle], 1.0, [0.0; 3]),
            (Reading::Ridge, Unit, vec![left], 8.0 / 9.0, ridge),
            (Reading::Ridge, Amp1, vec![left, middle], 17.0 / 9.0, ridge),
            (Reading::Ridge, Unit, vec![left, middle], 17.0 / 18.0, ridge.map(|v| v / 2.0)),
            (Reading::Edge, Unit, vec![middle], unit / 6.0, [unit * a / 3.0, 0.0, -unit * a / 3.0]),
        ];
        for (reading, mass, clicks, exponent, slopes) in cases {
            let case = format!("{reading:?} {mass:?} {}", clicks.len());
            let (loss, gradient) = worked(reading, mass, &clicks);
            let wanted = f32::exp(-exponent);
            assert!((loss - wanted).abs() < 1e-5, "{case}: {loss} {wanted}");
            for (found, slope) in gradient.iter().zip(slopes) {
                assert!((found + wanted * slope).abs() < 1e-5, "{case}: {gradient:?} {slopes:?}");
            }
        }
    }
}
