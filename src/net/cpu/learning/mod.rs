//! What stands between the products, with gradients: GELU, norm and softmax as one operation each.
//!
//! Burn differentiates them piece by piece: a norm is some ten passes over the map forward and twenty backward, each with
//! a tensor of its own, and its GELU asks the C library for every number. Here each is one pass forward and one back.
//! `None` for tensors that are not on the CPU or follow no gradients: the caller then takes Burn's way. What decides
//! whether this file is right: the gradients of the whole network stay those of the reference (`tests/it/net_gradients.rs`),
//! and each operation's own those of Burn (the tests below).

mod convolution;
mod pool;

use std::ops::Range;

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;
use burn::tensor::{Tensor, TensorData};
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::*;

use super::maths;
pub(in crate::net) use convolution::convolve;
pub(in crate::net) use pool::pool;

/// Numbers that one thread works on at a time.
const PART: usize = 1 << 14;

/// A tensor of the CPU that may follow gradients.
type Followed = FloatTensor<Autodiff<Flex>>;

fn followed<const D: usize>(x: &Tensor<D>) -> Option<Followed> {
    x.device().is_autodiff().then(|| x.clone().try_into_primitive::<Autodiff<Flex>>().ok())?
}

fn back<const D: usize>(x: Followed) -> Tensor<D> {
    Tensor::from_primitive::<Autodiff<Flex>>(x)
}

/// The numbers of a tensor, row by row.
struct Held(FlexTensor);

impl Held {
    fn of(x: &FlexTensor) -> Self {
        Self(x.to_contiguous())
    }

    fn numbers(&self) -> &[f32] {
        self.0.as_slice().unwrap_or_default()
    }
}

/// A tensor of `values` in the shape of `like`.
fn shaped(values: Vec<f32>, like: &FlexTensor) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, like.layout().shape().clone()))
}

/// Calls `work` with parts of `values` of whole rows, on all threads, and where they lie.
fn in_parts(values: &mut [f32], width: usize, work: impl Fn(Range<usize>, &mut [f32]) + Sync) {
    let part = (PART / width.max(1)).max(1) * width;
    values.par_chunks_mut(part).enumerate().for_each(|(i, chunk)| {
        let at = i * part;
        work(at..at + chunk.len(), chunk);
    });
}

/// Exact GELU.
pub(in crate::net) fn gelu<const D: usize>(x: &Tensor<D>) -> Option<Tensor<D>> {
    #[derive(Debug)]
    struct Gelu;

    impl Backward<Flex, 1> for Gelu {
        type State = FlexTensor;

        fn backward(self, ops: Ops<FlexTensor, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
            let x = Held::of(&ops.state);
            unary::<Flex, _>(ops.parents, ops.node, grads, |grad| {
                let mut out = Held::of(&grad).numbers().to_vec();
                in_parts(&mut out, 1, |at, part| maths::gelu_slope(&x.numbers()[at], part));
                shaped(out, &grad)
            });
        }
    }

    let x = followed(x)?;
    let node = x.node();
    let x = x.into_primitive();
    let mut out = Held::of(&x).numbers().to_vec();
    in_parts(&mut out, 1, |_, part| maths::gelu(part));
    let out = shaped(out, &x);
    Some(back(match Gelu.prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(x, out),
        OpsKind::UnTracked(prep) => prep.finish(out),
    }))
}

/// Softmax over the last axis.
pub(in crate::net) fn softmax<const D: usize>(x: &Tensor<D>) -> Option<Tensor<D>> {
    #[derive(Debug)]
    struct Softmax;

    impl Backward<Flex, 1> for Softmax {
        type State = FlexTensor;

        fn backward(self, ops: Ops<FlexTensor, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
            let weights = Held::of(&ops.state);
            unary::<Flex, _>(ops.parents, ops.node, grads, |grad| {
                let width = last(&grad);
                let mut out = Held::of(&grad).numbers().to_vec();
                in_parts(&mut out, width, |at, part| {
                    maths::softmax_slope(&weights.numbers()[at], part, width);
                });
                shaped(out, &grad)
            });
        }
    }

    let x = followed(x)?;
    let node = x.node();
    let x = x.into_primitive();
    let width = last(&x);
    let mut out = Held::of(&x).numbers().to_vec();
    in_parts(&mut out, width, |_, part| maths::softmax(part, width));
    let out = shaped(out, &x);
    Some(back(match Softmax.prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(out.clone(), out),
        OpsKind::UnTracked(prep) => prep.finish(out),
    }))
}

fn last(x: &FlexTensor) -> usize {
    x.layout().shape().last().copied().unwrap_or(1).max(1)
}

/// Norm over the last axis: `scale` and `shift` have its length.
pub(in crate::net) fn norm<const D: usize>(
    x: &Tensor<D>,
    scale: &Tensor<1>,
    shift: &Tensor<1>,
    epsilon: f64,
) -> Option<Tensor<D>> {
    #[derive(Debug)]
    struct Norm;

    impl Backward<Flex, 3> for Norm {
        type State = (FlexTensor, FlexTensor, f32);

        fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
            let (x, scale, epsilon) = ops.state;
            let (rows, gain) = (Held::of(&x), Held::of(&scale));
            let d = gain.numbers().len();
            let grad = grads.consume::<Flex>(&ops.node);
            let mut out = Held::of(&grad).numbers().to_vec();
            let part = (PART / d.max(1)).max(1) * d;
            let slopes =
                out.par_chunks_mut(part).zip(rows.numbers().par_chunks(part)).map(|(g, x)| {
                    let mut slopes = [vec![0.0f32; d], vec![0.0f32; d]];
                    let [a, b] = &mut slopes;
                    maths::norm_slope(x, g, gain.numbers(), epsilon, [a, b]);
                    slopes
                });
            // Summed in their order, so that a step is the same every time.
            let mut sums = [vec![0.0f32; d], vec![0.0f32; d]];
            for part in slopes.collect::<Vec<_>>() {
                for (sum, part) in sums.iter_mut().zip(part) {
                    sum.iter_mut().zip(part).for_each(|(s, p)| *s += p);
                }
            }
            let [by_scale, by_shift] = sums;
            let found = [shaped(out, &x), shaped(by_scale, &scale), shaped(by_shift, &scale)];
            for (node, found) in ops.parents.into_iter().zip(found) {
                if let Some(node) = node {
                    grads.register::<Flex>(node.id, found);
                }
            }
        }
    }

    let (x, scale, shift) = (followed(x)?, followed(scale)?, followed(shift)?);
    let nodes = [x.node(), scale.node(), shift.node()];
    let [x, scale, shift] = [x, scale, shift].map(Followed::into_primitive);
    let epsilon = epsilon as f32;
    let (rows, gain, low) = (Held::of(&x), Held::of(&scale), Held::of(&shift));
    let d = gain.numbers().len();
    let mut out = vec![0.0f32; rows.numbers().len()];
    in_parts(&mut out, d, |at, part| {
        maths::norm(&rows.numbers()[at], part, gain.numbers(), low.numbers(), epsilon);
    });
    let out = shaped(out, &x);
    Some(back(match Norm.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish((rows.0, scale, epsilon), out),
        OpsKind::UnTracked(prep) => prep.finish(out),
    }))
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation;
    use burn::tensor::module::layer_norm;
    use burn::tensor::{Device, Distribution};

    use super::*;

    /// The largest difference of two ways to the same numbers and gradients, of inputs that are not laid out row by row.
    fn apart(
        ours: impl Fn([Tensor<3>; 1], [Tensor<1>; 2]) -> Tensor<3>,
        burns: impl Fn([Tensor<3>; 1], [Tensor<1>; 2]) -> Tensor<3>,
    ) -> f32 {
        let device = Device::flex().autodiff();
        device.seed(3);
        let random = || Tensor::<3>::random([5, 37, 700], Distribution::Normal(0.3, 2.0), &device);
        let line = || Tensor::<1>::random([37], Distribution::Normal(1.0, 0.5), &device);
        let (x, lines, pull) =
            (random().require_grad(), [line(), line()].map(Tensor::require_grad), random());
        let found = |way: &dyn Fn([Tensor<3>; 1], [Tensor<1>; 2]) -> Tensor<3>| {
            let y = way([x.clone().swap_dims(1, 2)], lines.clone()).swap_dims(1, 2);
            let grads = (y.clone() * pull.clone()).sum().backward();
            let mut all = vec![y.inner().into_data(), x.grad(&grads).expect("x").into_data()];
            all.extend(lines.iter().filter_map(|l| Some(l.grad(&grads)?.into_data())));
            all.into_iter().flat_map(|d| d.try_into_vec::<f32>().expect("f32")).collect::<Vec<_>>()
        };
        let (a, b) = (found(&ours), found(&burns));
        assert_eq!(a.len(), b.len());
        let size = b.iter().fold(1.0f32, |m, v| m.max(v.abs()));
        a.iter().zip(&b).map(|(a, b)| (a - b).abs() / size).fold(0.0, f32::max)
    }

    #[test]
    fn gelu_and_its_gradient_are_burns() {
        let gap = apart(|[x], _| gelu(&x).expect("followed"), |[x], _| activation::gelu(x));
        assert!(gap < 2e-6, "{gap}");
    }

    #[test]
    fn softmax_and_its_gradient_are_burns() {
        let gap =
            apart(|[x], _| softmax(&x).expect("followed"), |[x], _| activation::softmax(x, 2));
        assert!(gap < 2e-6, "{gap}");
    }

    #[test]
    fn the_norm_and_its_three_gradients_are_burns() {
        let gap = apart(
            |[x], [a, b]| norm(&x, &a, &b, 1e-6).expect("followed"),
            |[x], [a, b]| layer_norm(x, a, Some(b), 1e-6),
        );
        assert!(gap < 2e-6, "{gap}");
    }

    #[test]
    fn without_gradients_it_is_burns_turn() {
        assert!(gelu(&Tensor::<1>::ones([3], &Device::flex())).is_none());
    }
}
