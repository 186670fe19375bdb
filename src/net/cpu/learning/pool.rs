//! The largest of each 2 x 2 cell, with gradients, on maps whose channels come last.
//!
//! Burn pools with channels first, which turns the map around twice each way. What decides whether this file is right:
//! the gradient goes to the first of equals, in row order, as Burn's and the reference's does.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::tensor::{Tensor, TensorData};
use burn_flex::{Flex, FlexTensor};

use super::{Held, back, followed};

/// `[B, h, w, C]` to `[B, h/2, w/2, C]`; `None` also where h or w is odd.
pub(in crate::net) fn pool(x: &Tensor<4>) -> Option<Tensor<4>> {
    #[derive(Debug)]
    struct Pool;

    impl Backward<Flex, 1> for Pool {
        type State = (Vec<u8>, [usize; 4]);

        fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
            let (chosen, [b, h, w, c]) = ops.state;
            unary::<Flex, _>(ops.parents, ops.node, grads, |grad| {
                let grad = Held::of(&grad);
                let mut out = vec![0.0f32; b * h * w * c];
                let pairs = grad.numbers().chunks_exact(c).zip(chosen.chunks_exact(c));
                for (i, (grad, chosen)) in pairs.enumerate() {
                    let corner = corner(i, [h, w]);
                    for (k, (g, which)) in grad.iter().zip(chosen).enumerate() {
                        let (dy, dx) = (usize::from(*which / 2), usize::from(*which % 2));
                        out[(corner + dy * w + dx) * c + k] = *g;
                    }
                }
                FlexTensor::from_data(TensorData::new(out, [b, h, w, c]))
            });
        }
    }

    let [b, h, w, c] = x.dims();
    if h % 2 + w % 2 > 0 {
        return None;
    }
    let x = followed(x)?;
    let node = x.node();
    let held = Held::of(&x.into_primitive());
    let map = held.numbers();
    let count = b * (h / 2) * (w / 2) * c;
    let (mut out, mut chosen) = (vec![0.0f32; count], vec![0u8; count]);
    for (i, (out, chosen)) in out.chunks_exact_mut(c).zip(chosen.chunks_exact_mut(c)).enumerate() {
        let corner = corner(i, [h, w]);
        out.copy_from_slice(&map[corner * c..][..c]);
        for (which, at) in [(1, corner + 1), (2, corner + w), (3, corner + w + 1)] {
            for ((best, chosen), v) in out.iter_mut().zip(chosen.iter_mut()).zip(&map[at * c..]) {
                let better = *v > *best;
                *best = if better { *v } else { *best };
                *chosen = if better { which } else { *chosen };
            }
        }
    }
    let out = FlexTensor::from_data(TensorData::new(out, [b, h / 2, w / 2, c]));
    Some(back(match Pool.prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish((chosen, [b, h, w, c]), out),
        OpsKind::UnTracked(prep) => prep.finish(out),
    }))
}

/// The pixel at the top left of cell `i`, counted through the batch.
fn corner(i: usize, [h, w]: [usize; 2]) -> usize {
    let (columns, cells) = (w / 2, h / 2 * (w / 2));
    i / cells * h * w + i % cells / columns * 2 * w + i % columns * 2
}

#[cfg(test)]
mod tests {
    use burn::tensor::module::max_pool2d;
    use burn::tensor::ops::MaxPoolOptions;
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::net::blocks::{nchw, nhwc};

    #[test]
    fn pooling_and_its_gradient_are_burns() {
        let device = Device::flex().autodiff();
        device.seed(7);
        // Rounded, so that there are equals.
        let x = Tensor::<4>::random([2, 6, 8, 5], Distribution::Normal(0.0, 2.0), &device);
        let x = x.round().require_grad();
        let options = MaxPoolOptions { stride: [2, 2], ..MaxPoolOptions::new([2, 2]) };
        let burns = nhwc(max_pool2d(nchw(x.clone()), options));
        let mut found = Vec::new();
        for y in [pool(&x).expect("followed"), burns] {
            let pull = Tensor::<4>::from_data(
                TensorData::new((0..120).map(|i| i as f32).collect(), [2, 3, 4, 5]),
                &device,
            );
            let grads = (y.clone() * pull).sum().backward();
            found.push([y.inner().into_data(), x.grad(&grads).expect("x").into_data()]);
        }
        assert_eq!(found[0], found[1]);
    }
}
