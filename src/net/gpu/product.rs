//! One matrix product for every shape: any strides, batches and heads, with bias and scale.
//!
//! What decides whether this file is right: what a kernel is told of shapes and strides is that of the memory it gets; a long
//! sum is taken in parts that are whole and not empty; what nothing here can do is left to Burn (`None`), not done wrong.

use burn::nn::conv::Conv2d;
use burn::tensor::{DType, Tensor, f16};
use burn_wgpu::CubeTensor;
use cubecl::prelude::*;

use super::rows::{THREADS, cubes_of};
use super::tile::{AmountsLaunch, Last, LayoutLaunch, Tile, parts_kernel, product_kernel};
use super::{back, held, in_order, room, whole};
use crate::net::blocks::Activation;

/// A matrix in memory: batches `[outer, head]`, then rows and columns.
pub(super) struct Matrices {
    held: CubeTensor,
    shape: [usize; 4],
    steps: [usize; 4],
}

impl Matrices {
    /// The last two axes are rows and columns, the two before them heads and batches.
    pub(super) fn of<const D: usize>(x: &Tensor<D>) -> Option<Self> {
        Self::with(held(x)?)
    }

    /// As [`Self::of`].
    pub(super) fn with(held: CubeTensor) -> Option<Self> {
        let (mut shape, mut steps) = ([1; 4], [0; 4]);
        let missing = 4usize.checked_sub(held.meta.shape().num_dims())?;
        for (axis, (size, step)) in
            held.meta.shape().iter().zip(held.meta.strides().iter()).enumerate()
        {
            shape[missing + axis] = *size;
            steps[missing + axis] = *step;
        }
        Some(Self { held, shape, steps })
    }

    /// Turned round: columns as rows.
    pub(super) fn turned(mut self) -> Self {
        self.shape.swap(2, 3);
        self.steps.swap(2, 3);
        self
    }

    /// Whether neighbours in a column are nearer in memory than neighbours in a row.
    fn by_columns(&self) -> bool {
        self.steps[2] < self.steps[3]
    }

    /// Whether four neighbours in memory can be read at a time, at any place.
    fn in_fours(&self) -> bool {
        let near = if self.by_columns() { 2 } else { 3 };
        self.steps[near] == 1
            && self.shape[near].is_multiple_of(4)
            && (0..4).all(|axis| {
                axis == near || self.shape[axis] == 1 || self.steps[axis].is_multiple_of(4)
            })
    }

    /// For batches of `[outer, heads]`; a single one serves all.
    fn layout(&self, batches: [usize; 2]) -> Option<LayoutLaunch> {
        let step = |axis: usize| match (self.shape[axis], self.steps[axis]) {
            (1, _) => Some(0),
            (size, step) => (size == batches[axis]).then_some(u32::try_from(step).ok()?),
        };
        let within = |axis: usize| u32::try_from(self.steps[axis]).ok();
        Some(LayoutLaunch::new(step(0)?, step(1)?, within(2)?, within(3)?))
    }
}

/// What a product is asked for beside its sides.
#[derive(Default)]
pub(super) struct Asked {
    /// Factor of the sums; 1 where it is `None`.
    pub(super) scale: Option<f32>,
    /// Added to each row.
    pub(super) bias: Option<CubeTensor>,
    /// What follows.
    pub(super) then: Option<Activation>,
    /// Added to that, number by number.
    pub(super) plus: Option<CubeTensor>,
    /// Heads side by side in memory, so that joining them later moves nothing; not where sums are taken in parts.
    pub(super) joined: bool,
}

/// Length of the piece of the sums in fast memory at a time.
const DEPTH: u32 = 16;
/// Workgroups that keep a large card busy; longer sums are taken apart until there are as many.
const BUSY: usize = 256;
/// Shortest part of a sum worth a workgroup.
const SHORTEST: usize = 256;

/// Side of a tile, what a thread makes of it, and in how many parts the sums are taken.
fn shares(batches: usize, [m, n, k]: [usize; 3]) -> (u32, u32, usize) {
    let tiles = |side: usize| m.div_ceil(side) * n.div_ceil(side) * batches;
    let parts = |side: usize| (BUSY / tiles(side)).min(k / SHORTEST).max(1);
    // Large tiles read less, but leave most of the card idle where there are few of them.
    if m >= 128 && n >= 96 && tiles(128) * parts(128) >= BUSY / 2 {
        (128, 8, parts(128))
    } else {
        (64, 4, parts(64))
    }
}

/// `a b` in the shape `[outer, heads, m, n]`, and what is asked of it.
pub(super) fn multiplied(a: Matrices, b: Matrices, asked: Asked) -> Option<CubeTensor> {
    let ([m, k], n) = ([a.shape[2], a.shape[3]], b.shape[3]);
    let batches = [0, 1].map(|axis| a.shape[axis].max(b.shape[axis]));
    let dtype = a.held.dtype;
    let sides = [Some(&b.held), asked.bias.as_ref(), asked.plus.as_ref()];
    let alike = sides.into_iter().flatten().all(|side| side.dtype == dtype);
    if !alike || !matches!(dtype, DType::F32 | DType::F16) || k != b.shape[2] {
        return None;
    }
    let count = batches[0] * batches[1];
    let (side, own, parts) = shares(count, [m, n, k]);
    let wide = a.in_fours() && b.in_fours();
    // Whole pieces each, and none of the parts empty.
    let part_k = k.div_ceil(parts).next_multiple_of(DEPTH as usize);
    let parts = k.div_ceil(part_k);
    let last = Last { bias: asked.bias.is_some(), then: asked.then, plus: asked.plus.is_some() };
    let tile = Tile {
        side,
        depth: DEPTH,
        own,
        wide,
        turned_a: a.by_columns(),
        turned_b: b.by_columns(),
        last: if parts == 1 { last } else { Last::default() },
    };
    let cubes = [n.div_ceil(side as usize), m.div_ceil(side as usize), count * parts];
    let [x, y, z] = cubes.map(|count| u16::try_from(count).map(u32::from));
    let whole = u32::try_from(m * n * count * parts).ok()? / parts as u32;
    let mut out = room(&a.held, &[batches[0], batches[1], m, n], dtype);
    if asked.joined && parts == 1 {
        let row = batches[1] * n;
        out.meta.strides = [m * row, n, row, 1].into();
    }
    let made =
        if parts == 1 { out.clone() } else { room(&a.held, &[parts, count, m, n], DType::F32) };
    let client = out.client.clone();
    let bias = asked.bias.unwrap_or_else(|| b.held.clone());
    let plus = asked.plus.unwrap_or_else(|| b.held.clone());
    let launch = match (dtype, made.dtype) {
        (DType::F16, DType::F16) => product_kernel::launch_unchecked::<f16, f16>,
        (DType::F16, _) => product_kernel::launch_unchecked::<f16, f32>,
        _ => product_kernel::launch_unchecked::<f32, f32>,
    };
    // SAFETY: indices stay below rows * columns of each operand, whose strides come with its memory.
    unsafe {
        launch(
            &client,
            CubeCount::Static(x.ok()?, y.ok()?, z.ok()?),
            CubeDim::new_1d(tile.threads()),
            if wide { 4 } else { 1 },
            a.held.clone().into_buffer_arg(),
            b.held.clone().into_buffer_arg(),
            bias.clone().into_buffer_arg(),
            plus.clone().into_buffer_arg(),
            made.clone().into_buffer_arg(),
            a.layout(batches)?,
            b.layout(batches)?,
            Matrices::with(out.clone())?.layout(batches)?,
            AmountsLaunch::new(
                m as u32,
                n as u32,
                k as u32,
                batches[1] as u32,
                parts as u32,
                part_k as u32,
                whole,
            ),
            asked.scale.unwrap_or(1.0),
            tile,
        );
        if parts > 1 {
            let launch = match dtype {
                DType::F16 => parts_kernel::launch_unchecked::<f16>,
                _ => parts_kernel::launch_unchecked::<f32>,
            };
            launch(
                &client,
                cubes_of((whole as usize).div_ceil(THREADS as usize))?,
                CubeDim::new_1d(THREADS),
                made.into_buffer_arg(),
                bias.into_buffer_arg(),
                plus.into_buffer_arg(),
                out.clone().into_buffer_arg(),
                parts as u32,
                whole,
                n as u32,
                last,
            );
        }
    }
    Some(out)
}

/// `a b`: `[.., m, k]` and `[.., k, n]` of two to four axes, the first ones equal or 1.
pub(in crate::net) fn product<const D: usize>(a: &Tensor<D>, b: &Tensor<D>) -> Option<Tensor<D>> {
    let out = multiplied(Matrices::of(a)?, Matrices::of(b)?, Asked::default())?;
    let shape: [usize; 4] = out.meta.shape().iter().copied().collect::<Vec<_>>().try_into().ok()?;
    Some(back::<4>(out).reshape::<D, _>(<[usize; D]>::try_from(&shape[4 - D..]).ok()?))
}

/// What is added to each row, its numbers one after another.
fn one_by_one(bias: &Tensor<1>) -> Option<CubeTensor> {
    held(bias).filter(CubeTensor::is_contiguous)
}

/// `x Wᵀ + b`, what follows, and `plus`: `[.., k]`, `[n, k]`, `[n]` and `[.., n]` to `[.., n]`.
pub(in crate::net) fn linear<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<2>,
    bias: &Tensor<1>,
    then: Option<Activation>,
    plus: Option<&Tensor<D>>,
) -> Option<Tensor<D>> {
    let mut shape = x.dims();
    let [n, k] = weight.dims();
    shape[D - 1] = n;
    let plus = match plus {
        Some(plus) if plus.dims() != shape => return None,
        Some(plus) => Some(in_order(plus).or_else(|| in_order(&whole(plus)))?),
        None => None,
    };
    let asked = Asked { bias: Some(one_by_one(bias)?), then, plus, ..Asked::default() };
    let rows = x.clone().reshape([x.dims().iter().product::<usize>() / k, k]);
    let out = multiplied(Matrices::of(&rows)?, Matrices::of(weight)?.turned(), asked)?;
    Some(back::<4>(out).reshape(shape))
}

/// `[B, C, H, W]` through a convolution that looks at one pixel at a time; `None` for any other.
pub(in crate::net) fn pointwise(conv: &Conv2d, x: &Tensor<4>) -> Option<Tensor<4>> {
    let weight = conv.weight.val();
    let ([n, per_group, kh, kw], [b, c, h, w]) = (weight.dims(), x.dims());
    if [kh, kw] != [1, 1] || conv.stride != [1, 1] || per_group != c {
        return None;
    }
    let asked = Asked { bias: Some(one_by_one(&conv.bias.as_ref()?.val())?), ..Asked::default() };
    let mut rows = Matrices::of(x)?;
    let [_, channel, row, col] = rows.steps;
    if row == w * col {
        rows.shape = [b, 1, h * w, c];
        rows.steps = [rows.steps[0], 0, col, channel];
    } else {
        rows = Matrices::of(&x.clone().reshape([b, 1, c, h * w]))?.turned();
    }
    let weight = Matrices::of(&weight.reshape([n, c]))?.turned();
    let out = multiplied(rows, weight, asked)?;
    Some(back::<4>(out).reshape([b, h, w, n]).permute([0, 3, 1, 2]))
}
