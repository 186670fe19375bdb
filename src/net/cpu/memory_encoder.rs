//! What a decided frame leaves behind: the memory encoder, row by row of the image.
//!
//! What decides whether this file is right: it is `MemoryEncoder::forward` and `Sam2::memory_mask`, and the test
//! compares them.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::descent::{Step, descended};
use super::layers::{Affine, Norm, Pair, room, rows_each, turned};
use super::maths;
use super::product::Mat;
use crate::net::blocks::constant;
use crate::net::device::Host;
use crate::net::memory_encoder::{CxBlock, MemoryEncoder};
use crate::net::resize::{Kernel, resize_plane};

/// `MemoryEncoder::forward` on the CPU; `None` where anything lies elsewhere.
pub(in crate::net) fn encode_memory(
    encoder: &MemoryEncoder,
    pix_feat: &Tensor<4>,
    mask: &Tensor<4>,
) -> Option<Tensor<4>> {
    let [b, d, h, w] = pix_feat.dims();
    let [_, _, mask_h, mask_w] = mask.dims();
    if [mask_h, mask_w] != [16 * h, 16 * w] || mask.dims()[0] != b {
        return None;
    }
    let (features, masks) = (Host::of(pix_feat)?, Host::of(mask)?);
    let (halvings, widen) = encoder.mask_downsampler.encoder.parts();
    let halvings = halvings.map(|(conv, norm)| Step::of(conv, Some(norm)));
    let halvings: Vec<Step> = halvings.into_iter().collect::<Option<_>>()?;
    let widen = Affine::of_conv(widen)?;
    let project = Affine::of_conv(&encoder.pix_feat_proj)?;
    let fuser: Vec<Fuse> = encoder.fuser.layers.iter().map(Fuse::of).collect::<Option<_>>()?;
    let narrow = Affine::of_conv(&encoder.out_proj)?;
    let mut out = Vec::with_capacity(b * narrow.outputs * h * w);
    let images = features.chunks_exact(d * h * w).zip(masks.chunks_exact(mask_h * mask_w));
    for (features, mask) in images {
        let (mask, _) = descended(&halvings, mask, [mask_h, mask_w]);
        let mut x = project.rows(&turned(features, h * w));
        let each = rows_each(h * w);
        let mask = mask.par_chunks(each * widen.inputs);
        x.par_chunks_mut(each * d).zip(mask).for_each(|(x, mask)| {
            widen.add(Mat::new(mask, x.len() / d, widen.inputs), x);
        });
        for fuse in &fuser {
            x = fuse.forward(&x, [h, w]);
        }
        out.extend(turned(&narrow.rows(&x), narrow.outputs));
    }
    Some(constant(out, [b, narrow.outputs, h, w], &pix_feat.device()))
}

/// A fuser block.
struct Fuse {
    /// `[49, d]`: the depthwise kernel, tap by tap.
    taps: Vec<f32>,
    bias: Vec<f32>,
    norm: Norm,
    mlp: Pair,
    gamma: Host,
    side: usize,
}

impl Fuse {
    fn of(block: &CxBlock) -> Option<Self> {
        let weight = block.dwconv.weight.val();
        let [_, _, side, _] = weight.dims();
        let bias = Host::of(&block.dwconv.bias.as_ref()?.val())?;
        Some(Self {
            taps: turned(&Host::of(&weight)?, side * side),
            bias: bias.to_vec(),
            norm: Norm::of_2d(&block.norm)?,
            mlp: Pair {
                into: Affine::of(&block.pwconv1)?,
                out: Affine::of(&block.pwconv2)?,
                activation: maths::gelu,
            },
            gamma: Host::of(&block.gamma.val())?,
            side,
        })
    }

    /// Rows `[h * w, d]` to the same shape.
    fn forward(&self, x: &[f32], [h, w]: [usize; 2]) -> Vec<f32> {
        let d = self.bias.len();
        let mut out = vec![0.0; x.len()];
        // Several image rows share the products that follow.
        let group = rows_each(h * w).div_ceil(w);
        let parts = out.par_chunks_mut(group * w * d).enumerate();
        parts.for_each_init(
            Default::default,
            |(mixed, hidden): &mut (Vec<f32>, Vec<f32>), (i, out)| {
                let n = out.len() / d;
                let mixed = room(mixed, n * d);
                for (y, row) in mixed.chunks_exact_mut(w * d).enumerate() {
                    self.depthwise(x, [h, w], i * group + y, row);
                }
                self.norm.apply_to(mixed);
                self.mlp.add(Mat::new(mixed, n, d), hidden, out);
                maths::scale_then_add(out, &self.gamma, &x[i * group * w * d..][..n * d]);
            },
        );
        out
    }

    /// The depthwise convolution of image row `y`.
    fn depthwise(&self, x: &[f32], [h, w]: [usize; 2], y: usize, out: &mut [f32]) {
        let (d, side) = (self.bias.len(), self.side);
        let pad = side / 2;
        for (at, out) in out.chunks_exact_mut(d).enumerate() {
            out.copy_from_slice(&self.bias);
            for ky in 0..side {
                let Some(row) = (y + ky).checked_sub(pad).filter(|row| *row < h) else { continue };
                let first = pad.saturating_sub(at);
                let last = side.min(w + pad - at);
                let from = &x[(row * w + at + first - pad) * d..];
                let taps = &self.taps[(ky * side + first) * d..(ky * side + last) * d];
                maths::add_products(out, from, taps);
            }
        }
    }
}

/// `Sam2::memory_mask` on the CPU: logits `[B, 1, s, s]` enlarged four times, soft or binary, times 20, minus 10.
pub(in crate::net) fn memory_mask(low_res: &Tensor<4>, soft: bool) -> Option<Tensor<4>> {
    let [b, c, h, w] = low_res.dims();
    let logits = Host::of(low_res)?;
    let mut out = Vec::with_capacity(16 * logits.len());
    for plane in logits.chunks_exact(h * w) {
        let mut large = resize_plane(plane, [h, w], [4 * h, 4 * w], Kernel::Bilinear);
        if soft {
            maths::scaled_sigmoid(&mut large, 20.0, -10.0);
        } else {
            large.iter_mut().for_each(|v| *v = if *v > 0.0 { 10.0 } else { -10.0 });
        }
        out.extend(large);
    }
    Some(constant(out, [b, c, 4 * h, 4 * w], &low_res.device()))
}
