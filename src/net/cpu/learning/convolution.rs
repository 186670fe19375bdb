//! A convolution with gradients as matrix products.
//!
//! Burn finds the gradient of a kernel by a convolution whose kernel is the whole gradient map; with few channels that
//! is a direct loop and took a third of a training step. As a product of gradient and patches it is a small part of one.
//! What decides whether this file is right: patches are read and given back at the same places.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::{Tensor, TensorData};
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::*;

use super::super::layers::{Patches, room};
use super::super::product::{Mat, product};
use super::{Followed, Held, back, followed, shaped};

/// Sizes of one convolution.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    inputs: usize,
    outputs: usize,
    size: [usize; 2],
    kernel: usize,
    stride: usize,
    pad: usize,
}

impl Sizes {
    fn patches<'a>(&self, planes: &'a [f32]) -> Patches<'a> {
        let Self { size, kernel, stride, pad, .. } = *self;
        Patches { planes, size, kernel, stride, pad }
    }

    /// Pixels of an input plane.
    fn before(&self) -> usize {
        self.size[0] * self.size[1]
    }

    fn out_size(&self) -> [usize; 2] {
        self.patches(&[]).out_size()
    }

    /// Pixels of an output plane.
    fn after(&self) -> usize {
        let [rows, columns] = self.out_size();
        rows * columns
    }

    /// Numbers of a patch.
    fn patch(&self) -> usize {
        self.inputs * self.kernel * self.kernel
    }

    /// A patch is a pixel: the planes are the patches.
    fn by_pixel(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.pad == 0
    }

    /// Calls `work` with the patches of an image, one column each.
    fn with_columns<R>(&self, planes: &[f32], work: impl FnOnce(Mat<'_>) -> R) -> R {
        if self.by_pixel() {
            return work(Mat::new(planes, self.inputs, self.before()));
        }
        let [rows, columns] = self.out_size();
        let each = columns * self.patch();
        let mut patches = Vec::new();
        let all = room(&mut patches, rows * each);
        for (y, row) in all.chunks_exact_mut(each).enumerate() {
            self.patches(planes).row(y, row);
        }
        work(Mat::new(all, self.after(), self.patch()).turned())
    }

    /// The gradient of an image from that of its output and the kernel `[outputs, patch]`.
    fn give_back(&self, kernel: Mat<'_>, grad: &[f32], planes: &mut [f32]) {
        let grad = Mat::new(grad, self.outputs, self.after());
        if self.by_pixel() {
            return product(kernel.turned(), grad, 1.0, false, planes, self.before());
        }
        let [rows, columns] = self.out_size();
        let each = columns * self.patch();
        let mut patches = vec![0.0; rows * each];
        product(grad.turned(), kernel, 1.0, false, &mut patches, self.patch());
        for (y, row) in patches.chunks_exact(each).enumerate() {
            self.patches(&[]).spread(y, row, planes);
        }
    }
}

/// The convolution `by` of `[B, C, H, W]`; `None` also where it has groups or no bias.
pub(in crate::net) fn convolve(by: &Conv2d, x: &Tensor<4>) -> Option<Tensor<4>> {
    #[derive(Debug)]
    struct Convolution;

    impl Backward<Flex, 3> for Convolution {
        type State = (FlexTensor, FlexTensor, Sizes);

        fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
            let (x, weight, sizes) = ops.state;
            let (images, taps) = (Held::of(&x), Held::of(&weight));
            let kernel = Mat::new(taps.numbers(), sizes.outputs, sizes.patch());
            let grad = Held::of(&grads.consume::<Flex>(&ops.node));
            let [for_x, for_weight, for_bias] = ops.parents;
            let (before, after) = (sizes.inputs * sizes.before(), sizes.outputs * sizes.after());
            if let Some(node) = for_x {
                let mut out = vec![0.0f32; images.numbers().len()];
                let pairs =
                    out.par_chunks_exact_mut(before).zip(grad.numbers().par_chunks_exact(after));
                pairs.for_each(|(out, grad)| sizes.give_back(kernel, grad, out));
                grads.register::<Flex>(node.id, shaped(out, &x));
            }
            let each =
                || images.numbers().chunks_exact(before).zip(grad.numbers().chunks_exact(after));
            if let Some(node) = for_weight {
                let mut out = vec![0.0f32; taps.numbers().len()];
                for (image, grad) in each() {
                    sizes.with_columns(image, |columns| {
                        let grad = Mat::new(grad, sizes.outputs, sizes.after());
                        product(grad, columns.turned(), 1.0, true, &mut out, sizes.patch());
                    });
                }
                grads.register::<Flex>(node.id, shaped(out, &weight));
            }
            if let Some(node) = for_bias {
                let mut out = vec![0.0f32; sizes.outputs];
                for (_, grad) in each() {
                    for (sum, plane) in out.iter_mut().zip(grad.chunks_exact(sizes.after())) {
                        *sum += plane.iter().sum::<f32>();
                    }
                }
                let out = FlexTensor::from_data(TensorData::new(out, [sizes.outputs]));
                grads.register::<Flex>(node.id, out);
            }
        }
    }

    let PaddingConfig2d::Explicit(pad, ..) = by.padding else { return None };
    let (weight, bias) = (by.weight.val(), by.bias.as_ref()?.val());
    let ([batch, inputs, h, w], [outputs, _, kernel, _]) = (x.dims(), weight.dims());
    if by.groups != 1 {
        return None;
    }
    let sizes = Sizes { inputs, outputs, size: [h, w], kernel, stride: by.stride[0], pad };
    let (x, weight, bias) = (followed(x)?, followed(&weight)?, followed(&bias)?);
    let nodes = [x.node(), weight.node(), bias.node()];
    let [x, weight, bias] = [x, weight, bias].map(Followed::into_primitive);
    let (images, taps, low) = (Held::of(&x), Held::of(&weight), Held::of(&bias));
    let kernel = Mat::new(taps.numbers(), outputs, sizes.patch());
    let (before, after) = (inputs * sizes.before(), sizes.after());
    let mut out = vec![0.0f32; batch * outputs * after];
    let pairs =
        out.par_chunks_exact_mut(outputs * after).zip(images.numbers().par_chunks_exact(before));
    pairs.for_each(|(out, image)| {
        for (plane, b) in out.chunks_exact_mut(after).zip(low.numbers()) {
            plane.fill(*b);
        }
        sizes.with_columns(image, |columns| product(kernel, columns, 1.0, true, out, after));
    });
    let [rows, columns] = sizes.out_size();
    let out = FlexTensor::from_data(TensorData::new(out, [batch, outputs, rows, columns]));
    Some(back(match Convolution.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish((images.0, weight, sizes), out),
        OpsKind::UnTracked(prep) => prep.finish(out),
    }))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::net::blocks;

    #[test]
    fn convolutions_and_their_gradients_are_burns() {
        let device = Device::flex().autodiff();
        device.seed(5);
        for (channels, kernel, stride, pad) in
            [([3, 24], 7, 4, 3), ([5, 7], 1, 1, 0), ([4, 16], 2, 2, 0), ([6, 3], 3, 1, 1)]
        {
            let by = blocks::conv(channels, kernel, stride, pad, 1, &device);
            let normal = Distribution::Normal(0.0, 1.0);
            let x = Tensor::<4>::random([2, channels[0], 18, 12], normal, &device).require_grad();
            let mut found = Vec::new();
            for y in [convolve(&by, &x).expect("followed"), by.forward(x.clone())] {
                let pull = (y.clone() * 0.1).cos();
                let grads = (y.clone() * pull).sum().backward();
                let bias = by.bias.as_ref().expect("a bias").val();
                let all = [
                    y.inner().into_data(),
                    x.grad(&grads).expect("x").into_data(),
                    by.weight.val().grad(&grads).expect("weight").into_data(),
                    bias.grad(&grads).expect("bias").into_data(),
                ];
                found.push(all.map(|d| d.try_into_vec::<f32>().expect("f32")));
            }
            for (ours, burns) in found[0].iter().zip(&found[1]) {
                assert_eq!(ours.len(), burns.len());
                let size = burns.iter().fold(1.0f32, |m, v| m.max(v.abs()));
                let gap = ours.iter().zip(burns).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(gap < 3e-6 * size, "kernel {kernel}: {gap} of {size}");
            }
        }
    }
}
