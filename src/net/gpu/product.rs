//! One matrix product for every shape: any strides, batches and heads, with bias and scale.
//!
//! What decides whether this file is right: sums are kept in single precision whatever the operands are; a tile that hangs
//! over an edge reads zeros and writes nothing; both sides are read along their memory, so that neighbours in a workgroup
//! read neighbours.

use burn::nn::conv::Conv2d;
use burn::tensor::{DType, Tensor, f16};
use burn_wgpu::CubeTensor;
use cubecl::prelude::*;

use super::rows::{THREADS, cubes_of, gelu_of};
use super::{back, held, in_order, room, whole};
use crate::net::blocks::Activation;

/// Steps in memory from one matrix, head, row and column to the next.
#[derive(CubeLaunch, CubeType, Clone, Copy)]
struct Layout {
    outer: u32,
    head: u32,
    row: u32,
    col: u32,
}

/// How much there is to do.
#[derive(CubeLaunch, CubeType, Clone, Copy)]
struct Amounts {
    m: u32,
    n: u32,
    k: u32,
    heads: u32,
    /// Parts of each sum, their length, and how far apart their results lie.
    parts: u32,
    part_k: u32,
    part_step: u32,
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
    /// What is done with a finished sum.
    last: Last,
}

/// What is done with a finished sum.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Last {
    /// A number is added to each column.
    bias: bool,
    /// What follows.
    then: Option<Activation>,
    /// A tensor of the result's shape is added to that.
    plus: bool,
}

/// Four neighbours.
type Four = Vector<f32, Const<4>>;

#[cube]
fn finished<F: Float>(
    sum: f32,
    bias: &[F],
    plus: &[F],
    col: u32,
    at: u32,
    #[comptime] last: Last,
) -> f32 {
    let mut value = sum;
    if comptime!(last.bias) {
        value += f32::cast_from(bias[col as usize]);
    }
    if comptime!(last.then == Some(Activation::Relu)) {
        value = max(value, 0.0f32);
    }
    if comptime!(last.then == Some(Activation::Gelu)) {
        value = gelu_of(value);
    }
    if comptime!(last.plus) {
        value += f32::cast_from(plus[at as usize]);
    }
    value
}

/// Four neighbours across the sums, of one place along them; zeros beyond the edges.
#[cube]
fn four_of<F: Float>(
    from: &[F],
    base: u32,
    line: u32,
    lines: u32,
    line_step: u32,
    at: u32,
    end: u32,
    at_step: u32,
) -> Four {
    let mut four = Four::new(0.0f32);
    // Read at the edge and thrown away beyond it: without branches the reads run side by side.
    let start = base + min(at, end - 1) * at_step;
    #[unroll]
    for i in 0..4u32 {
        let place = start + min(line + i, lines - 1) * line_step;
        let value = f32::cast_from(from[place as usize]);
        let counts = line + i < lines && at < end;
        four.insert(comptime!(i as usize), select(counts, value, 0.0f32));
    }
    four
}

/// Which four neighbours of a piece, and which place along the sums, a thread brings: neighbours in memory go to neighbours
/// in a workgroup.
#[cube]
fn spot(at: u32, #[comptime] tile: Tile, #[comptime] turned: bool) -> (u32, u32) {
    let mut four = at / tile.depth;
    let mut along = at % tile.depth;
    if comptime!(turned) {
        four = at % comptime!(tile.side / 4);
        along = at / comptime!(tile.side / 4);
    }
    (four, along)
}

/// Adds the products of a piece to a thread's sums.
#[cube]
fn add_piece(
    part_a: &Shared<[Four]>,
    part_b: &Shared<[Four]>,
    sums: &mut Array<Four>,
    x: u32,
    y: u32,
    #[comptime] tile: Tile,
) {
    let groups = comptime!(tile.own / 4);
    let across = comptime!(tile.side / tile.own);
    let pitch = comptime!(tile.side / 4 + 1);
    let mut some_a = Array::<Four>::new(comptime!(groups as usize));
    let mut some_b = Array::<Four>::new(comptime!(groups as usize));
    for along in 0..comptime!(tile.depth) {
        #[unroll]
        for g in 0..groups {
            let here = along * pitch + g * across;
            some_a[comptime!(g as usize)] = part_a[(here + y) as usize];
            some_b[comptime!(g as usize)] = part_b[(here + x) as usize];
        }
        #[unroll]
        for i in 0..comptime!(tile.own) {
            let one = some_a[comptime!((i / 4) as usize)].extract(comptime!((i % 4) as usize));
            #[unroll]
            for g in 0..groups {
                sums[comptime!((i * groups + g) as usize)] +=
                    Four::new(one) * some_b[comptime!(g as usize)];
            }
        }
    }
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments, clippy::manual_div_ceil)]
fn product_kernel<F: Float, O: Float>(
    a: &[F],
    b: &[F],
    bias: &[F],
    plus: &[F],
    out: &mut [O],
    at_a: Layout,
    at_b: Layout,
    at_out: Layout,
    size: Amounts,
    scale: f32,
    #[comptime] tile: Tile,
) {
    let across = comptime!(tile.side / tile.own);
    let threads = comptime!(across * across);
    let loads = comptime!(tile.side / 4 * tile.depth / threads);
    let groups = comptime!(tile.own / 4);
    // Off the multiples of the banks.
    let pitch = comptime!(tile.side / 4 + 1);
    let mut part_a = Shared::<[Four]>::new_slice(comptime!((pitch * tile.depth) as usize));
    let mut part_b = Shared::<[Four]>::new_slice(comptime!((pitch * tile.depth) as usize));
    let mut next_a = Array::<Four>::new(comptime!(loads as usize));
    let mut next_b = Array::<Four>::new(comptime!(loads as usize));
    let mut sums = Array::<Four>::new(comptime!((tile.own * groups) as usize));
    #[unroll]
    for i in 0..comptime!((tile.own * groups) as usize) {
        sums[i] = Four::new(0.0f32);
    }

    let first_row = CUBE_POS_Y * tile.side;
    let first_col = CUBE_POS_X * tile.side;
    let part = CUBE_POS_Z % size.parts;
    let batch = CUBE_POS_Z / size.parts;
    let outer = batch / size.heads;
    let head = batch % size.heads;
    let from_a = outer * at_a.outer + head * at_a.head;
    let from_b = outer * at_b.outer + head * at_b.head;
    let x = UNIT_POS % across;
    let y = UNIT_POS / across;
    let begin = part * size.part_k;
    let end = min(size.k, begin + size.part_k);
    let steps = (end - begin + tile.depth - 1) / tile.depth;
    // The first piece is on its way before the loop, each next one during the sums of the one before.
    for step in 0..steps + 1 {
        if step > 0 {
            #[unroll]
            for i in 0..loads {
                let (four, along) = spot(UNIT_POS + i * threads, tile, tile.turned_a);
                part_a[(along * pitch + four) as usize] = next_a[comptime!(i as usize)];
                let (four, along) = spot(UNIT_POS + i * threads, tile, comptime!(!tile.turned_b));
                part_b[(along * pitch + four) as usize] = next_b[comptime!(i as usize)];
            }
        }
        sync_cube();
        if step < steps {
            let first = begin + step * tile.depth;
            #[unroll]
            for i in 0..loads {
                let (four, along) = spot(UNIT_POS + i * threads, tile, tile.turned_a);
                let (row, at) = (first_row + four * 4, first + along);
                next_a[comptime!(i as usize)] =
                    four_of(a, from_a, row, size.m, at_a.row, at, end, at_a.col);
                let (four, along) = spot(UNIT_POS + i * threads, tile, comptime!(!tile.turned_b));
                let (col, at) = (first_col + four * 4, first + along);
                next_b[comptime!(i as usize)] =
                    four_of(b, from_b, col, size.n, at_b.col, at, end, at_b.row);
            }
        }
        if step > 0 {
            add_piece(&part_a, &part_b, &mut sums, x, y, tile);
        }
        sync_cube();
    }

    let to = part * size.part_step + outer * at_out.outer + head * at_out.head;
    #[unroll]
    for i in 0..comptime!(tile.own) {
        let row = first_row + comptime!(i / 4) * (across * 4) + y * 4 + comptime!(i % 4);
        #[unroll]
        for j in 0..comptime!(tile.own) {
            let col = first_col + comptime!(j / 4) * (across * 4) + x * 4 + comptime!(j % 4);
            if row < size.m && col < size.n {
                let four = sums[comptime!((i * groups + j / 4) as usize)];
                let sum = four.extract(comptime!((j % 4) as usize)) * scale;
                let at = to + row * at_out.row + col * at_out.col;
                out[at as usize] = O::cast_from(finished::<F>(sum, bias, plus, col, at, tile.last));
            }
        }
    }
}

/// Adds up what was summed in parts: `[parts, count]` to `[count]`, rows of `n`.
#[cube(launch_unchecked)]
fn parts_kernel<F: Float>(
    sums: &[f32],
    bias: &[F],
    plus: &[F],
    out: &mut [F],
    parts: u32,
    count: u32,
    n: u32,
    #[comptime] last: Last,
) {
    let at = (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) * CUBE_DIM_X + UNIT_POS;
    if at < count {
        let mut sum = 0.0f32;
        for part in 0..parts {
            sum += sums[(part * count + at) as usize];
        }
        out[at as usize] = F::cast_from(finished::<F>(sum, bias, plus, at % n, at, last));
    }
}

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
    // Whole pieces each, and none of the parts empty.
    let part_k = k.div_ceil(parts).next_multiple_of(DEPTH as usize);
    let parts = k.div_ceil(part_k);
    let last = Last { bias: asked.bias.is_some(), then: asked.then, plus: asked.plus.is_some() };
    let tile = Tile {
        side,
        depth: DEPTH,
        own,
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
            CubeDim::new_1d((side / own) * (side / own)),
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
