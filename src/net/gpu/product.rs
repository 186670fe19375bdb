//! One matrix product for every shape: any strides, batches and heads, with bias and scale.
//!
//! What decides whether this file is right: sums are kept in single precision whatever the operands are; a tile that hangs
//! over an edge reads zeros and writes nothing; both sides are read along their memory, so that neighbours in a workgroup
//! read neighbours.

use burn::nn::conv::Conv2d;
use burn::tensor::{DType, Tensor, f16};
use burn_wgpu::CubeTensor;
use cubecl::prelude::*;

use super::{back, held, room};

/// Steps in memory from one matrix, head, row and column to the next.
#[derive(CubeLaunch, CubeType, Clone, Copy)]
struct Layout {
    outer: u32,
    head: u32,
    row: u32,
    col: u32,
}

/// What a kernel is compiled for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Tile {
    /// Rows and columns of the result that a workgroup makes.
    side: u32,
    /// Length of the piece of the sums in fast memory at a time.
    depth: u32,
    /// Rows and columns of the result that a thread makes; a multiple of 4.
    own: u32,
    /// The left side lies column by column.
    turned_a: bool,
    /// The right side lies column by column.
    turned_b: bool,
    /// A number is added to each column.
    bias: bool,
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments, clippy::manual_div_ceil)]
fn product_kernel<F: Float>(
    a: &[F],
    b: &[F],
    bias: &[F],
    out: &mut [F],
    at_a: Layout,
    at_b: Layout,
    at_out: Layout,
    m: u32,
    n: u32,
    k: u32,
    heads: u32,
    scale: f32,
    #[comptime] tile: Tile,
) {
    let side = tile.side;
    let depth = tile.depth;
    let own = tile.own;
    let across = comptime!(side / own);
    let threads = comptime!(across * across);
    let loads = comptime!(side * depth / threads);
    let groups = comptime!(own / 4);
    // Off the multiples of the banks, and still a multiple of four.
    let pitch = comptime!(side + 4);

    let mut part_a = Shared::<[f32]>::new_slice(comptime!((pitch * depth) as usize));
    let mut part_b = Shared::<[f32]>::new_slice(comptime!((pitch * depth) as usize));
    let mut sums = Array::<f32>::new(comptime!((own * own) as usize));
    #[unroll]
    for i in 0..comptime!((own * own) as usize) {
        sums[i] = 0.0;
    }
    let mut some_a = Array::<f32>::new(comptime!(own as usize));
    let mut some_b = Array::<f32>::new(comptime!(own as usize));

    let first_row = CUBE_POS_Y * side;
    let first_col = CUBE_POS_X * side;
    let outer = CUBE_POS_Z / heads;
    let head = CUBE_POS_Z % heads;
    let from_a = outer * at_a.outer + head * at_a.head;
    let from_b = outer * at_b.outer + head * at_b.head;
    let x = UNIT_POS % across;
    let y = UNIT_POS / across;

    let steps = (k + depth - 1) / depth;
    for step in 0..steps {
        let first = step * depth;
        #[unroll]
        for i in 0..loads {
            let at = UNIT_POS + i * threads;
            let mut row = at / depth;
            let mut d = at % depth;
            if comptime!(tile.turned_a) {
                row = at % side;
                d = at / side;
            }
            let mut value = 0.0f32;
            if first_row + row < m && first + d < k {
                let place = from_a + (first_row + row) * at_a.row + (first + d) * at_a.col;
                value = f32::cast_from(a[place as usize]);
            }
            part_a[(d * pitch + row) as usize] = value;

            let mut col = at % side;
            let mut e = at / side;
            if comptime!(tile.turned_b) {
                col = at / depth;
                e = at % depth;
            }
            let mut value = 0.0f32;
            if first_col + col < n && first + e < k {
                let place = from_b + (first + e) * at_b.row + (first_col + col) * at_b.col;
                value = f32::cast_from(b[place as usize]);
            }
            part_b[(e * pitch + col) as usize] = value;
        }
        sync_cube();
        for d in 0..depth {
            #[unroll]
            for g in 0..groups {
                #[unroll]
                for i in 0..4u32 {
                    let here = d * pitch + g * (across * 4) + i;
                    some_a[comptime!((g * 4 + i) as usize)] = part_a[(here + y * 4) as usize];
                    some_b[comptime!((g * 4 + i) as usize)] = part_b[(here + x * 4) as usize];
                }
            }
            #[unroll]
            for i in 0..own {
                #[unroll]
                for j in 0..own {
                    sums[comptime!((i * own + j) as usize)] +=
                        some_a[comptime!(i as usize)] * some_b[comptime!(j as usize)];
                }
            }
        }
        sync_cube();
    }

    let to = outer * at_out.outer + head * at_out.head;
    #[unroll]
    for i in 0..own {
        let row = first_row + comptime!(i / 4) * (across * 4) + y * 4 + comptime!(i % 4);
        #[unroll]
        for j in 0..own {
            let col = first_col + comptime!(j / 4) * (across * 4) + x * 4 + comptime!(j % 4);
            if row < m && col < n {
                let mut value = sums[comptime!((i * own + j) as usize)] * scale;
                if comptime!(tile.bias) {
                    value += f32::cast_from(bias[col as usize]);
                }
                out[(to + row * at_out.row + col * at_out.col) as usize] = F::cast_from(value);
            }
        }
    }
}

/// A matrix in memory: batches `[outer, head]`, then rows and columns.
struct Matrices {
    held: CubeTensor,
    shape: [usize; 4],
    steps: [usize; 4],
}

impl Matrices {
    /// The last two axes are rows and columns, the two before them heads and batches.
    fn of<const D: usize>(x: &Tensor<D>) -> Option<Self> {
        let held = held(x)?;
        let (mut shape, mut steps) = ([1; 4], [0; 4]);
        let missing = 4usize.checked_sub(D)?;
        for (axis, (size, step)) in
            held.meta.shape().iter().zip(held.meta.strides().iter()).enumerate()
        {
            shape[missing + axis] = *size;
            steps[missing + axis] = *step;
        }
        Some(Self { held, shape, steps })
    }

    /// Turned round: columns as rows.
    fn turned(mut self) -> Self {
        self.shape.swap(2, 3);
        self.steps.swap(2, 3);
        self
    }

    /// Whether neighbours in a column are nearer in memory than neighbours in a row.
    fn by_columns(&self) -> bool {
        self.steps[2] < self.steps[3]
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

/// `a b * scale + bias` in the shape `[outer, heads, m, n]`; `bias` is added to each row.
fn multiplied(
    a: Matrices,
    b: Matrices,
    bias: Option<CubeTensor>,
    scale: f32,
) -> Option<CubeTensor> {
    let ([m, k], n) = ([a.shape[2], a.shape[3]], b.shape[3]);
    let batches = [0, 1].map(|axis| a.shape[axis].max(b.shape[axis]));
    let dtype = a.held.dtype;
    let alike = dtype == b.held.dtype && bias.as_ref().is_none_or(|bias| bias.dtype == dtype);
    let limit = u16::MAX as usize;
    if !alike || !matches!(dtype, DType::F32 | DType::F16) || k != b.shape[2] {
        return None;
    }
    let out = room(&a.held, &[batches[0], batches[1], m, n]);
    // Large tiles read less, but leave most of the card idle where there are few of them.
    let large = m >= 128 && n >= 96 && m * n * batches[0] * batches[1] >= 1 << 20;
    let [side, own] = if large { [128, 8] } else { [64, 4] };
    let tile = Tile {
        side,
        depth: 16,
        own,
        turned_a: a.by_columns(),
        turned_b: b.by_columns(),
        bias: bias.is_some(),
    };
    let count = [n.div_ceil(side as usize), m.div_ceil(side as usize), batches[0] * batches[1]];
    if count.iter().any(|count| *count > limit) {
        return None;
    }
    let [x, y, z] = count.map(|count| count as u32);
    let (at_a, at_b) = (a.layout(batches)?, b.layout(batches)?);
    let wide = u32::try_from(m * n).ok()?;
    let at_out = LayoutLaunch::new(wide.checked_mul(batches[1] as u32)?, wide, n as u32, 1);
    let client = out.client.clone();
    let added = bias.unwrap_or_else(|| b.held.clone());
    let launch = match dtype {
        DType::F16 => product_kernel::launch_unchecked::<f16>,
        _ => product_kernel::launch_unchecked::<f32>,
    };
    // SAFETY: indices stay below rows * columns of each operand, whose strides come with its memory.
    unsafe {
        launch(
            &client,
            CubeCount::Static(x, y, z),
            CubeDim::new_1d((side / own) * (side / own)),
            a.held.into_buffer_arg(),
            b.held.into_buffer_arg(),
            added.into_buffer_arg(),
            out.clone().into_buffer_arg(),
            at_a,
            at_b,
            at_out,
            m as u32,
            n as u32,
            k as u32,
            batches[1] as u32,
            scale,
            tile,
        );
    }
    Some(out)
}

/// `a b * scale + bias`: `[.., m, k]` and `[.., k, n]` of two to four axes, the first ones equal or 1; `bias` `[n]`.
pub(in crate::net) fn product<const D: usize>(
    a: &Tensor<D>,
    b: &Tensor<D>,
    bias: Option<&Tensor<1>>,
    scale: f32,
) -> Option<Tensor<D>> {
    let bias = match bias {
        Some(bias) => Some(held(bias)?),
        None => None,
    };
    let out = multiplied(Matrices::of(a)?, Matrices::of(b)?, bias, scale)?;
    let shape: [usize; 4] = out.meta.shape().iter().copied().collect::<Vec<_>>().try_into().ok()?;
    Some(back::<4>(out).reshape::<D, _>(<[usize; D]>::try_from(&shape[4 - D..]).ok()?))
}

/// `x Wᵀ + b`: `[.., k]`, `[n, k]` and `[n]` to `[.., n]`.
pub(in crate::net) fn linear<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<2>,
    bias: &Tensor<1>,
) -> Option<Tensor<D>> {
    let bias = held(bias)?;
    let mut shape = x.dims();
    let [n, k] = weight.dims();
    let rows = x.clone().reshape([shape.iter().product::<usize>() / k, k]);
    shape[D - 1] = n;
    let out = multiplied(Matrices::of(&rows)?, Matrices::of(weight)?.turned(), Some(bias), 1.0)?;
    Some(back::<4>(out).reshape(shape))
}

/// `[B, C, H, W]` through a convolution that looks at one pixel at a time; `None` for any other.
pub(in crate::net) fn pointwise(conv: &Conv2d, x: &Tensor<4>) -> Option<Tensor<4>> {
    let weight = conv.weight.val();
    let ([n, per_group, kh, kw], [b, c, h, w]) = (weight.dims(), x.dims());
    if [kh, kw] != [1, 1] || conv.stride != [1, 1] || per_group != c {
        return None;
    }
    let bias = held(&conv.bias.as_ref()?.val())?;
    let mut rows = Matrices::of(x)?;
    let [_, channel, row, col] = rows.steps;
    if row != w * col {
        rows = Matrices::of(&x.clone().reshape([b, 1, c, h * w]))?.turned();
    } else {
        rows.shape = [b, 1, h * w, c];
        rows.steps = [rows.steps[0], 0, col, channel];
    }
    let weight = Matrices::of(&weight.reshape([n, c]))?.turned();
    let out = multiplied(rows, weight, Some(bias), 1.0)?;
    Some(back::<4>(out).reshape([b, h, w, n]).permute([0, 3, 1, 2]))
}
