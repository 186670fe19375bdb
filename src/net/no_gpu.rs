//! In builds without the feature `gpu`: no tensor is on a GPU, every caller takes its other way.

use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;

use super::blocks::Activation;

pub(super) fn product<const D: usize>(_: &Tensor<D>, _: &Tensor<D>) -> Option<Tensor<D>> {
    None
}

pub(super) fn linear<const D: usize>(
    _: &Tensor<D>,
    _: &Tensor<2>,
    _: &Tensor<1>,
    _: Option<Activation>,
    _: Option<&Tensor<D>>,
) -> Option<Tensor<D>> {
    None
}

pub(super) fn pointwise(_: &Conv2d, _: &Tensor<4>) -> Option<Tensor<4>> {
    None
}

pub(super) fn norm<const D: usize>(
    _: &Tensor<D>,
    _: &Tensor<1>,
    _: &Tensor<1>,
    _: f64,
) -> Option<Tensor<D>> {
    None
}

pub(super) fn attention(_: [&Tensor<4>; 3], _: Option<&Tensor<4>>, _: f32) -> Option<Tensor<4>> {
    None
}

pub(super) fn turn(_: &Tensor<3>, _: [&Tensor<3>; 2], _: usize) -> Option<Tensor<3>> {
    None
}

pub(super) fn gelu<const D: usize>(_: &Tensor<D>) -> Option<Tensor<D>> {
    None
}
