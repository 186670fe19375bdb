//! Points, boxes and mask prompts as tokens and a dense map (`sam/prompt_encoder.py`), plus the click heat map.
//!
//! What decides whether this file is right: half a pixel is added to every point before it is encoded; a label of -1
//! replaces the whole embedding (position too); one -1 point at the origin is always appended; boxes are two points put
//! before the clicks; the mask prompt is antialiased when its size differs.

use super::blocks::{Embedding, LayerNorm2d, constant, conv, convolved, gelu, product};
use super::config::ModelConfig;
use super::cpu;
use super::resize::{Kernel, resize};
use burn::module::{Initializer, Module, Param};
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor};
use std::f64::consts::TAU;

/// What a point says to the network; the numbers are SAM 2's labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum PointLabel {
    /// No point: fills shorter prompts of a batch.
    Pad = -1,
    /// Outside the structure.
    Outside = 0,
    /// Inside the structure.
    Inside = 1,
    /// Top left corner of a box.
    BoxMin = 2,
    /// Bottom right corner of a box.
    BoxMax = 3,
    /// On the boundary of the structure (SAMUSA).
    Boundary = 4,
}

/// Points of a batch of prompts: row b holds `per` points.
#[derive(Debug, Clone, PartialEq)]
pub struct PointBatch {
    /// x, y in network pixels (the centre of pixel i is i), `batch * per` of them.
    pub coords: Vec<[f32; 2]>,
    /// Their labels.
    pub labels: Vec<PointLabel>,
    /// Prompts.
    pub batch: usize,
    /// Points per prompt, at least 1.
    pub per: usize,
}

impl PointBatch {
    /// Prompts of any lengths, filled up with [`PointLabel::Pad`]; no point at all becomes one `Pad`, as SAM 2 does.
    pub fn new(prompts: &[Vec<([f32; 2], PointLabel)>]) -> Self {
        let per = prompts.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let pad = ([0.0; 2], PointLabel::Pad);
        let filled = |p: &Vec<([f32; 2], PointLabel)>| {
            let p = p.clone();
            (0..per).map(move |i| p.get(i).copied().unwrap_or(pad))
        };
        let (coords, labels) = prompts.iter().flat_map(filled).unzip();
        Self { coords, labels, batch: prompts.len(), per }
    }

    /// `batch` prompts without a point.
    pub fn none(batch: usize) -> Self {
        Self::new(&vec![Vec::new(); batch])
    }
}

/// The prompt encoder's parameters.
#[derive(Module, Debug)]
pub struct PromptEncoder {
    /// Random Fourier features of positions.
    pub pe_layer: RandomPe,
    /// Outside, inside, box corners, and boundary where the card has it: each `[1, d]`.
    pub point_embeddings: Vec<Embedding>,
    /// Stands for label -1, `[1, d]`.
    pub not_a_point_embed: Embedding,
    /// Stands for "no mask prompt", `[1, d]`.
    pub no_mask_embed: Embedding,
    /// Mask logits to a dense map.
    pub mask_downscaling: MaskDownscaling,
}

/// Random Fourier features (`PositionEmbeddingRandom`); the matrix is a constant of the checkpoint.
#[derive(Module, Debug)]
pub struct RandomPe {
    /// `[2, d/2]`, x first.
    pub positional_encoding_gaussian_matrix: Param<Tensor<2>>,
}

impl RandomPe {
    /// Points in 0..=1 `[N, 2]` to `[N, d]`: all sines, then all cosines.
    pub fn encode(&self, unit: Tensor<2>) -> Tensor<2> {
        let gaussian = self.positional_encoding_gaussian_matrix.val();
        let turns = product(unit * 2.0 - 1.0, gaussian) * TAU;
        Tensor::cat(vec![turns.clone().sin(), turns.cos()], 1)
    }

    /// The encoding of every cell centre of a grid, `[1, d, h, w]`.
    pub fn dense(&self, size: [usize; 2]) -> Tensor<4> {
        cpu::dense_place(&self.positional_encoding_gaussian_matrix.val(), size)
            .unwrap_or_else(|| self.dense_by_parts(size))
    }

    /// As [`Self::dense`], in Burn's operations on every device.
    pub fn dense_by_parts(&self, [h, w]: [usize; 2]) -> Tensor<4> {
        let device = self.positional_encoding_gaussian_matrix.val().device();
        let centre = |i: usize, n: usize| (i as f32 + 0.5) / n as f32;
        let unit = (0..h * w).flat_map(|i| [centre(i % w, w), centre(i / w, h)]).collect();
        let pe = self.encode(constant(unit, [h * w, 2], &device));
        let d = pe.dims()[1];
        pe.transpose().reshape([1, d, h, w])
    }
}

impl PromptEncoder {
    /// An untrained encoder.
    pub fn init(config: &ModelConfig, device: &Device) -> Self {
        let d = config.neck.d_model;
        let gaussian: Param<Tensor<2>> =
            Initializer::Normal { mean: 0.0, std: 1.0 }.init([2, d / 2], device);
        let kinds = if config.prompts.boundary_embedding { 5 } else { 4 };
        Self {
            pe_layer: RandomPe {
                positional_encoding_gaussian_matrix: gaussian.set_require_grad(false),
            },
            point_embeddings: (0..kinds).map(|_| Embedding::init(1, d, device)).collect(),
            not_a_point_embed: Embedding::init(1, d, device),
            no_mask_embed: Embedding::init(1, d, device),
            mask_downscaling: MaskDownscaling::init(config.prompts.mask_in_chans, d, device),
        }
    }

    /// Points in network pixels of an input of side `size` to tokens `[B, per + 1, d]`.
    ///
    /// A boundary point reads embedding 4, or the one of an inside point when the network has none.
    pub fn points(&self, points: &PointBatch, size: usize) -> Tensor<3> {
        let device = self.not_a_point_embed.weight.val().device();
        let (b, per) = (points.batch, points.per + 1);
        let kinds = self.point_embeddings.len();
        let (mut unit, mut keep, mut which) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..b {
            for i in 0..per {
                let (at, label) = match i < points.per {
                    true => {
                        (points.coords[row * points.per + i], points.labels[row * points.per + i])
                    }
                    false => ([0.0; 2], PointLabel::Pad),
                };
                unit.extend(at.map(|v| (v + 0.5) / size as f32));
                let real = label != PointLabel::Pad;
                keep.push(if real { 1.0 } else { 0.0 });
                let column = match label {
                    PointLabel::Pad => kinds,
                    PointLabel::Boundary if kinds < 5 => PointLabel::Inside as usize,
                    other => other as usize,
                };
                which.extend((0..=kinds).map(|k| if k == column { 1.0 } else { 0.0 }));
            }
        }
        let n = b * per;
        let pe =
            self.pe_layer.encode(constant(unit, [n, 2], &device)) * constant(keep, [n, 1], &device);
        // Choosing rows by a product keeps the gradient of every embedding on every backend.
        let mut table: Vec<Tensor<2>> =
            self.point_embeddings.iter().map(Embedding::table).collect();
        table.push(self.not_a_point_embed.table());
        let kind = product(constant(which, [n, kinds + 1], &device), Tensor::cat(table, 0));
        let d = pe.dims()[1];
        (pe + kind).reshape([b, per, d])
    }

    /// Mask logits `[B, 1, s, s]` (any s), or none, to the dense prompt for a grid of `size / 16`:
    /// `[B, d, size/16, size/16]`, or `[1, d, 1, 1]` (to be broadcast) without a mask.
    pub fn dense(&self, mask: Option<Tensor<4>>, size: usize) -> Tensor<4> {
        match mask {
            Some(mask) => self.mask_downscaling.forward(resize(
                mask,
                [size / 4, size / 4],
                Kernel::BilinearAa,
            )),
            None => {
                let token = self.no_mask_embed.table();
                let d = token.dims()[1];
                token.reshape([1, d, 1, 1])
            }
        }
    }
}

/// Mask prompt to dense map; fields are numbered as in the `nn.Sequential`.
#[derive(Module, Debug)]
pub struct MaskDownscaling {
    n0: Conv2d,
    n1: LayerNorm2d,
    n3: Conv2d,
    n4: LayerNorm2d,
    n6: Conv2d,
}

impl MaskDownscaling {
    fn init(chans: usize, d: usize, device: &Device) -> Self {
        Self {
            n0: conv([1, chans / 4], 2, 2, 0, 1, device),
            n1: LayerNorm2d::init(chans / 4, device),
            n3: conv([chans / 4, chans], 2, 2, 0, 1, device),
            n4: LayerNorm2d::init(chans, device),
            n6: conv([chans, d], 1, 1, 0, 1, device),
        }
    }

    /// Mask logits `[B, 1, 4h, 4w]` to `[B, d, h, w]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let steps = [(&self.n0, Some(&self.n1)), (&self.n3, Some(&self.n4))];
        cpu::descend(&steps, &self.n6, &x).unwrap_or_else(|| self.forward_by_parts(x))
    }

    /// As [`Self::forward`], part by part on every device: the way with gradients and on a GPU.
    pub fn forward_by_parts(&self, x: Tensor<4>) -> Tensor<4> {
        let x = gelu(self.n1.forward(convolved(&self.n0, x)));
        let x = gelu(self.n4.forward(convolved(&self.n3, x)));
        convolved(&self.n6, x)
    }
}

/// One small branch from the heat map to one decoder resolution (not in SAM 2).
#[derive(Module, Debug)]
pub struct ClickBranch {
    n0: Conv2d,
    n2: Conv2d,
}

impl ClickBranch {
    /// Shrinks by `shrink` (1: kernel 3 with padding) and widens to `channels`.
    pub fn init(shrink: usize, channels: usize, device: &Device) -> Self {
        let first = match shrink {
            1 => conv([1, 16], 3, 1, 1, 1, device),
            k => conv([1, 16], k, k, 0, 1, device),
        };
        Self { n0: first, n2: conv([16, channels], 1, 1, 0, 1, device) }
    }

    /// Heat `[B, 1, s4, s4]` to `[B, channels, s4/shrink, s4/shrink]`.
    pub fn forward(&self, heat: Tensor<4>) -> Tensor<4> {
        cpu::descend(&[(&self.n0, None)], &self.n2, &heat)
            .unwrap_or_else(|| self.forward_by_parts(heat))
    }

    /// As [`Self::forward`], part by part on every device: the way with gradients and on a GPU.
    pub fn forward_by_parts(&self, heat: Tensor<4>) -> Tensor<4> {
        convolved(&self.n2, gelu(convolved(&self.n0, heat)))
    }
}

/// Signed heat of the clicks on the s4 grid, `[B, 1, size/4, size/4]`: a Gaussian of one cell per click, inside and
/// boundary points positive, outside points negative, box corners nothing.
pub fn click_heat(points: &PointBatch, size: usize, device: &Device) -> Tensor<4> {
    let side = size / 4;
    let mut heat = vec![0.0f32; points.batch * side * side];
    let bell = |at: f32| -> Vec<f32> {
        (0..side).map(|i| (-(i as f32 - at).powi(2) / 2.0).exp()).collect()
    };
    for (i, (at, label)) in points.coords.iter().zip(&points.labels).enumerate() {
        let sign = match label {
            PointLabel::Boundary | PointLabel::Inside => 1.0,
            PointLabel::Outside => -1.0,
            _ => continue,
        };
        let [gx, gy] = at.map(|v| bell((v + 0.5) / 4.0 - 0.5));
        let plane = &mut heat[(i / points.per) * side * side..][..side * side];
        for (row, wy) in plane.chunks_exact_mut(side).zip(&gy) {
            for (cell, wx) in row.iter_mut().zip(&gx) {
                *cell += sign * wx * wy;
            }
        }
    }
    constant(heat, [points.batch, 1, side, side], device)
}

impl PromptEncoder {
    /// Starts the boundary embedding, where there is one, at the mean of "outside" and "inside": a boundary lies between.
    pub(super) fn start_boundary_embedding(&mut self) {
        if let [outside, inside, _, _, boundary] = &mut self.point_embeddings[..] {
            let mean = (outside.table() + inside.table()) * 0.5;
            boundary.weight = Param::from_tensor(mean.detach());
        }
    }
}
