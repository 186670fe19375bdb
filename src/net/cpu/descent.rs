//! Small convolutions one after the other: the way down of mask prompts, click heat and remembered masks to the size of
//! the features.
//!
//! What decides whether this file is right: between two convolutions stand the norm, where there is one, and the exact
//! GELU, on rows of channels; the test compares with Burn's operations.

use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;

use super::layers::{Affine, Norm, Patches, turned};
use super::maths;
use crate::net::blocks::{LayerNorm2d, constant};
use crate::net::device::Host;

/// A convolution, a norm or none, and GELU.
pub(super) struct Step {
    conv: Affine,
    norm: Option<Norm>,
    kernel: usize,
    stride: usize,
    pad: usize,
}

impl Step {
    /// `None` where the weights lie elsewhere or pixels are padded unevenly.
    pub(super) fn of(conv: &Conv2d, norm: Option<&LayerNorm2d>) -> Option<Self> {
        let PaddingConfig2d::Explicit(pad, ..) = conv.padding else { return None };
        Some(Self {
            conv: Affine::of_conv(conv)?,
            norm: match norm {
                Some(norm) => Some(Norm::of_2d(norm)?),
                None => None,
            },
            kernel: conv.kernel_size[0],
            stride: conv.stride[0],
            pad,
        })
    }
}

/// One image's planes `[C, h, w]` after all steps: rows of channels, and their height and width.
pub(super) fn descended(
    steps: &[Step],
    planes: &[f32],
    mut size: [usize; 2],
) -> (Vec<f32>, [usize; 2]) {
    let mut rows = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        let held;
        let planes = if i == 0 {
            planes
        } else {
            held = turned(&rows, rows.len() / (size[0] * size[1]));
            &held
        };
        let Step { kernel, stride, pad, .. } = *step;
        let patches = Patches { planes, size, kernel, stride, pad };
        let done = patches.convolve(&step.conv, |_, row| {
            if let Some(norm) = &step.norm {
                norm.apply_to(row);
            }
            maths::gelu(row);
        });
        size = patches.out_size();
        rows = done;
    }
    (rows, size)
}

/// `[B, C, H, W]` through some steps and a 1x1 convolution; `None` where anything lies elsewhere.
pub(in crate::net) fn descend(
    steps: &[(&Conv2d, Option<&LayerNorm2d>)],
    last: &Conv2d,
    x: &Tensor<4>,
) -> Option<Tensor<4>> {
    let [b, c, h, w] = x.dims();
    let images = Host::of(x)?;
    let steps: Vec<Step> =
        steps.iter().map(|(conv, norm)| Step::of(conv, *norm)).collect::<Option<_>>()?;
    let last = Affine::of_conv(last)?;
    let (mut out, mut size) = (Vec::new(), [0; 2]);
    for planes in images.chunks_exact(c * h * w) {
        let rows;
        (rows, size) = descended(&steps, planes, [h, w]);
        out.extend(turned(&last.rows(&rows), last.outputs));
    }
    Some(constant(out, [b, last.outputs, size[0], size[1]], &x.device()))
}
