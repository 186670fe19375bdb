//! The kernels of [`super::product`]: a tile of the result by each workgroup, and parts of sums put together.
//!
//! What decides whether this file is right: sums are kept in single precision whatever the operands are; a tile that hangs
//! over an edge reads zeros and writes nothing; every thread reaches every barrier; neighbours in a workgroup read
//! neighbours in memory.

use cubecl::prelude::*;

use super::rows::gelu_of;
use crate::net::blocks::Activation;

/// Steps in memory from one matrix, head, row and column to the next.
#[derive(CubeLaunch, CubeType, Clone, Copy)]
pub(super) struct Layout {
    pub(super) outer: u32,
    pub(super) head: u32,
    pub(super) row: u32,
    pub(super) col: u32,
}

/// How much there is to do.
#[derive(CubeLaunch, CubeType, Clone, Copy)]
pub(super) struct Amounts {
    pub(super) m: u32,
    pub(super) n: u32,
    pub(super) k: u32,
    pub(super) heads: u32,
    /// Parts of each sum, their length, and how far apart their results lie.
    pub(super) parts: u32,
    pub(super) part_k: u32,
    pub(super) part_step: u32,
}

/// What a kernel is compiled for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Tile {
    /// Rows and columns of the result that a workgroup makes.
    pub(super) side: u32,
    /// Length of the piece of the sums in fast memory at a time.
    pub(super) depth: u32,
    /// Rows and columns of the result that a thread makes; a multiple of 4.
    pub(super) own: u32,
    /// The left side lies column by column.
    pub(super) turned_a: bool,
    /// The right side lies column by column.
    pub(super) turned_b: bool,
    /// What is done with a finished sum.
    pub(super) last: Last,
}

/// What is done with a finished sum.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Last {
    /// A number is added to each column.
    pub(super) bias: bool,
    /// What follows.
    pub(super) then: Option<Activation>,
    /// A tensor of the result's shape is added to that.
    pub(super) plus: bool,
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
pub(super) fn product_kernel<F: Float, O: Float>(
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
pub(super) fn parts_kernel<F: Float>(
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
