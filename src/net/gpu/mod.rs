//! What the network computes most of on a GPU, as kernels of our own: products, attention, norms, GELU, rotary encoding.
//!
//! Burn's products come in dozens of variants of 90 kB of shader each, which every process compiles on one core: on an
//! H100 that was most of the 38 to 140 s before the first mask. Here one product serves every shape, by strides, in two tile
//! sizes; a norm and a softmax read a row and write it, where Burn makes some ten passes. Each function gives `None` for
//! tensors that are not on a GPU or follow gradients: the caller then takes Burn's way.
//!
//! What decides whether this folder is right: every function equals Burn's on the CPU at shapes that no tile divides, turned
//! and broadcast (the tests below), and so the reference (`net_gpu_agrees_with_the_reference`).

mod attention;
mod product;
mod rows;
mod tile;

use burn::tensor::{DType, Tensor};
use burn_wgpu::{CubeBackend, CubeTensor};

pub(super) use attention::attention;
pub(super) use product::{linear, pointwise, product};
pub(super) use rows::{gelu, norm, turn};

/// The tensor as the GPU's runtime holds it; nothing where it is elsewhere, follows gradients or has no numbers.
fn held<const D: usize>(x: &Tensor<D>) -> Option<CubeTensor> {
    let x = x.clone().try_into_primitive::<CubeBackend>().ok()?;
    (x.meta.num_elements() > 0 && x.qparams.is_none() && !x.meta.is_tiled()).then_some(x)
}

/// As [`held`], with its numbers one after another in single precision.
fn in_order<const D: usize>(x: &Tensor<D>) -> Option<CubeTensor> {
    held(x).filter(|x| x.dtype == DType::F32 && x.is_contiguous())
}

/// The same tensor, its numbers in order.
fn whole<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    x.clone().reshape([x.dims().iter().product::<usize>()]).reshape(x.dims())
}

/// Room for a tensor of this shape beside `like`.
fn room(like: &CubeTensor, shape: &[usize], dtype: DType) -> CubeTensor {
    let numbers: usize = shape.iter().product();
    let handle = like.client.empty(numbers * dtype.size());
    let (client, device) = (like.client.clone(), like.device.clone());
    CubeTensor::new_contiguous(client, device, shape.to_vec().into(), handle, dtype)
}

fn back<const D: usize>(x: CubeTensor) -> Tensor<D> {
    Tensor::from_primitive::<CubeBackend>(x)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::net::blocks::{Activation, EPS_DEFAULT, attend_where, conv, convolved};
    use crate::net::device::{self, DeviceWant};
    use crate::net::memory_attention::AxialRope;
    use burn::tensor::activation;
    use burn::tensor::module::{layer_norm, linear as burns_linear};
    use burn::tensor::{Device, Distribution};

    /// A GPU, a program that acts as one too; `None` where there is no driver at all.
    fn gpu() -> Option<Device> {
        let first = device::adapters().into_iter().next();
        if first.is_none() {
            // Past the runner, which keeps what passing tests print.
            let _ = std::io::stderr().write_all(b"skipped: there is no Vulkan adapter\n");
        }
        let want = DeviceWant::Gpu(Some(first?.index));
        Some(device::pick(want).expect("the self-test").device)
    }

    fn normal<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        let cpu = Device::flex();
        cpu.seed(7);
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &cpu)
    }

    fn on<const D: usize>(x: &Tensor<D>, device: &Device) -> Tensor<D> {
        Tensor::from_data(x.to_data(), device)
    }

    /// The same numbers in the same places of the tensor, but column by column in memory.
    fn turned_on(x: &Tensor<4>, device: &Device) -> Tensor<4> {
        on(&x.clone().swap_dims(2, 3), device).swap_dims(2, 3)
    }

    fn close<const D: usize>(what: &str, got: Option<Tensor<D>>, want: Tensor<D>) {
        let got = got.unwrap_or_else(|| panic!("{what} was left to Burn"));
        assert_eq!(got.dims(), want.dims(), "{what}");
        let cpu = Device::flex();
        let scale = want.clone().abs().max().into_scalar::<f32>().max(1.0);
        let apart = (on(&got, &cpu) - want).abs().max().into_scalar::<f32>();
        assert!(apart <= 2e-5 * scale, "{what}: {apart} of {scale}");
    }

    #[test]
    fn products_of_any_layout_equal_the_cpus() {
        let Some(gpu) = gpu() else { return };
        for ([o, h, m, n, k], turn_a, turn_b) in [
            ([1, 1, 70, 50, 33], false, false),
            ([2, 3, 65, 64, 31], false, true),
            ([1, 2, 5, 130, 256], true, true),
            ([1, 1, 1100, 1030, 40], true, false),
            // Summed in parts.
            ([1, 2, 40, 30, 5000], false, false),
        ] {
            let what = format!("{o} x {h} x {m} x {n} x {k}, {turn_a} {turn_b}");
            let (a, b) = (normal([o, h, m, k]), normal([o, h, k, n]));
            let place = |x: &Tensor<4>, turn| if turn { turned_on(x, &gpu) } else { on(x, &gpu) };
            let got = product(&place(&a, turn_a), &place(&b, turn_b));
            close(&what, got, a.matmul(b));
        }
        // One right side for all, and a bias.
        let (x, w, b) = (normal([2, 37, 90]), normal([70, 90]), normal([70]));
        let want = burns_linear(x.clone(), w.clone().transpose(), Some(b.clone()));
        for (then, want) in [
            (None, want.clone()),
            (Some(Activation::Relu), activation::relu(want.clone())),
            (Some(Activation::Gelu), activation::gelu(want)),
        ] {
            let got = linear(&on(&x, &gpu), &on(&w, &gpu), &on(&b, &gpu), then, None);
            close("a linear layer", got, want.clone());
            let more = normal([2, 70, 37]).swap_dims(1, 2);
            let plus = on(&more, &gpu);
            let got = linear(&on(&x, &gpu), &on(&w, &gpu), &on(&b, &gpu), then, Some(&plus));
            close("a linear layer and more", got, want + more);
        }
        let (x, w, b) = (normal([3, 1100]), normal([20, 1100]), normal([20]));
        let more = normal([3, 20]) * 5.0;
        let (then, plus) = (Some(Activation::Relu), on(&more, &gpu));
        let got = linear(&on(&x, &gpu), &on(&w, &gpu), &on(&b, &gpu), then, Some(&plus));
        let want = activation::relu(burns_linear(x.clone(), w.clone().transpose(), Some(b))) + more;
        close("a long linear layer", got, want);
        let lost =
            linear(&on(&x, &gpu), &on(&w, &gpu), &Tensor::full([20], f32::NAN, &gpu), then, None);
        let lost = lost.expect("as above").into_data().try_into_vec_as::<f32>().expect("numbers");
        assert!(lost.iter().all(|v| v.is_nan()), "what is no number became one");
        let none = Tensor::<2>::zeros([0, 90], &gpu);
        assert!(product(&none, &none.clone().transpose()).is_none(), "nothing is left to Burn");
        let (a, b) = (normal([3, 1, 20, 8]), normal([3, 4, 8, 30]));
        let spread = on(&a, &gpu).expand([3, 4, 20, 8]);
        close("a broadcast", product(&spread, &on(&b, &gpu)), a.matmul(b));
    }

    /// Run with `--ignored --nocapture` on a card.
    #[test]
    #[ignore = "a measurement, not a check"]
    fn how_fast_products_are() {
        let Some(gpu) = gpu() else { return };
        for (what, [o, h, m, n, k], turn_b) in [
            ("scores of a memory", [1, 1, 1024, 28704, 256], true),
            ("a memory read", [1, 1, 1024, 64, 28704], false),
            ("scores of a frame", [1, 1, 4096, 4096, 256], true),
            ("a frame read", [1, 1, 4096, 256, 4096], false),
            ("feed-forward", [1, 1, 4096, 2048, 256], true),
            ("feed-forward back", [1, 1, 4096, 256, 2048], true),
            ("trunk, stage 1", [1, 1, 65536, 288, 96], true),
            ("trunk, stage 3", [1, 1, 4096, 1536, 384], true),
            ("trunk, stage 3 back", [1, 1, 4096, 384, 1536], true),
            ("windows of a trunk", [25, 4, 196, 196, 96], true),
            ("windows read", [25, 4, 196, 96, 196], false),
            ("tokens", [1, 1, 8, 256, 256], true),
            ("tokens to a frame", [1, 8, 8, 4096, 16], true),
        ] {
            let (a, b) = (normal([o, h, m, k]), normal([o, h, k, n]));
            let b = if turn_b { turned_on(&b, &gpu) } else { on(&b, &gpu) };
            let a = on(&a, &gpu);
            let mut best = f64::MAX;
            for round in 0..6 {
                let begun = std::time::Instant::now();
                for _ in 0..20 {
                    drop(product(&a, &b).unwrap());
                }
                gpu.sync().unwrap();
                if round > 0 {
                    best = best.min(begun.elapsed().as_secs_f64() / 20.0);
                }
            }
            let done = 2.0 * (o * h * m * n * k) as f64;
            println!("{what:<22} {:8.3} ms {:6.1} TFLOP/s", best * 1e3, done / best / 1e12);
        }
    }

    #[test]
    fn a_pointwise_convolution_equals_burns() {
        let Some(gpu) = gpu() else { return };
        let layer = conv([24, 40], 1, 1, 0, 1, &Device::flex());
        let x = normal([2, 24, 9, 7]);
        let want = convolved(&layer, x.clone());
        let moved = burn::module::Module::to_device(layer, &gpu);
        close("planes", pointwise(&moved, &on(&x, &gpu)), want.clone());
        let rows = on(&x.clone().permute([0, 2, 3, 1]), &gpu).permute([0, 3, 1, 2]);
        close("rows of channels", pointwise(&moved, &rows), want);
        let wide = conv([24, 8], 3, 1, 1, 1, &gpu);
        assert!(pointwise(&wide, &on(&x, &gpu)).is_none(), "a 3x3 is not pointwise");
    }

    #[test]
    fn norm_softmax_gelu_and_turns_equal_the_cpus() {
        let Some(gpu) = gpu() else { return };
        for width in [7, 96, 1152] {
            let (x, w, b) = (normal([2, 19, width]) * 3.0, normal([width]), normal([width]));
            let got = norm(&on(&x, &gpu), &on(&w, &gpu), &on(&b, &gpu), EPS_DEFAULT);
            close("a norm", got, layer_norm(x, w, Some(b), EPS_DEFAULT));
        }
        let turned = normal([2, 19, 24]);
        let one = Tensor::<1>::ones([19], &Device::flex());
        let got = norm(&on(&turned, &gpu).swap_dims(1, 2), &on(&one, &gpu), &on(&one, &gpu), 1e-6);
        let want = layer_norm(turned.swap_dims(1, 2), one.clone(), Some(one), 1e-6);
        close("a norm of columns", got, want);
        for n in [5, 300, 5000] {
            let (x, b) = (normal([1, 2, 9, n]) * 4.0, normal([1, 1, 1, n]) * -30.0);
            let got = rows::softmax(held(&on(&x, &gpu)).unwrap(), None).map(back);
            close("a softmax", got, activation::softmax(x.clone(), 3));
            let got = rows::softmax(held(&on(&x, &gpu)).unwrap(), held(&on(&b, &gpu))).map(back);
            close("a softmax of some", got, activation::softmax(x + b, 3));
        }
        let x = normal([3, 1000]) * 3.0;
        close("GELU", gelu(&on(&x, &gpu)), activation::gelu(x));
        // Two remembered frames of 5 x 3 and four pointers.
        let x = normal([2, 34, 16]);
        let [here, there] = [Device::flex(), gpu.clone()].map(|device| {
            let rope = AxialRope::new(16, [5, 3], 1e4, &device);
            rope.turn(on(&x, &device), 4)
        });
        close("a rotary encoding", Some(there), here);
    }

    #[test]
    fn attention_on_the_gpu_equals_the_cpus_and_gradients_are_left_to_burn() {
        let Some(gpu) = gpu() else { return };
        let (q, k, v) = (normal([2, 2, 33, 16]), normal([2, 2, 70, 16]), normal([2, 2, 70, 12]));
        let bias = normal([1, 1, 1, 70]).lower_elem(0.0).float() * -1e4;
        for bias in [None, Some(bias)] {
            let want = attend_where(q.clone(), k.clone(), v.clone(), bias.clone());
            let bias = bias.map(|bias| on(&bias, &gpu));
            let got = attend_where(on(&q, &gpu), on(&k, &gpu), on(&v, &gpu), bias);
            close("attention", Some(got), want);
        }
        let learning = on(&q, &gpu.autodiff());
        assert!(attention([&learning; 3], None, 1.0).is_none() && gelu(&learning).is_none());
        assert!(gelu(&q).is_none(), "the CPU has kernels of its own");
    }
}
