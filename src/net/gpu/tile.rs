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
    /// Rows and columns of the result that a workgroup makes; 16 times `own`.
    pub(super) side: u32,
    /// Length of the piece of the sums in fast memory at a time; a multiple of 4.
    pub(super) depth: u32,
    /// Rows and columns of the result that a thread makes; a multiple of 4.
    pub(super) own: u32,
    /// The left side lies column by column.
    pub(super) turned_a: bool,
    /// The right side lies column by column.
    pub(super) turned_b: bool,
    /// Numbers are read four at a time: each side's neighbours lie side by side in fours.
    pub(super) wide: bool,
    /// What is done with a finished sum.
    pub(super) last: Last,
}

impl Tile {
    /// Threads of a workgroup.
    pub(super) fn threads(self) -> u32 {
        (self.side / self.own) * (self.side / self.own)
    }
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

/// max(x, 0); `max` itself would make a number of what is none.
#[cube]
fn relu_of(x: f32) -> f32 {
    let mut value = x;
    if x < 0.0f32 {
        value = 0.0f32;
    }
    value
}

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
        value = relu_of(value);
    }
    if comptime!(last.then == Some(Activation::Gelu)) {
        value = gelu_of(value);
    }
    if comptime!(last.plus) {
        value += f32::cast_from(plus[at as usize]);
    }
    value
}

/// One side of a product: where its lines (rows of the left side, columns of the right one) begin and how they lie, and
/// the first one of a tile.
#[derive(CubeType)]
struct Side {
    base: u32,
    first: u32,
    lines: u32,
    line_step: u32,
    at_step: u32,
}

/// Four lines at four places along the sums, those of [`spot`] in the piece that begins at `first`: for each place the
/// lines side by side; zeros beyond the edges.
///
/// Where the kernel reads `wide`, four neighbours in memory come at a time: across the lines where the side lies
/// `across`, else along them.
#[cube]
fn bring<F: Float, N: Size>(
    from: &[Vector<F, N>],
    side: &Side,
    block: u32,
    first: u32,
    end: u32,
    to: &mut Array<Four>,
    #[comptime] nth: u32,
    #[comptime] across: bool,
    #[comptime] tile: Tile,
) {
    let (four, along) = spot(block, across, tile);
    let (line, at) = (side.first + four * 4, first + along);
    let wide = comptime!(tile.wide);
    let mut read = Array::<Four>::new(4usize);
    #[unroll]
    for i in 0..4u32 {
        // Read at the edge and thrown away beyond it: without branches the reads run side by side.
        let mut four = Four::new(0.0f32);
        if comptime!(wide && across) {
            let place = min(at + i, end - 1) * side.at_step + min(line, side.lines - 4);
            let counts = at + i < end && line < side.lines;
            let found = Four::cast_from(from[((side.base + place) / 4) as usize]);
            #[unroll]
            for j in 0..4usize {
                four.insert(j, select(counts, found.extract(j), 0.0f32));
            }
        } else {
            let counts = line + i < side.lines;
            let start = side.base + min(line + i, side.lines - 1) * side.line_step;
            if comptime!(wide) {
                let found = Four::cast_from(from[((start + min(at, end - 4)) / 4) as usize]);
                #[unroll]
                for j in 0..4usize {
                    four.insert(j, select(counts && at < end, found.extract(j), 0.0f32));
                }
            } else {
                #[unroll]
                for j in 0..4u32 {
                    let place = start + min(at + j, end - 1) * side.at_step;
                    let found = f32::cast_from(from[place as usize].extract(comptime!(0usize)));
                    let found = select(counts && at + j < end, found, 0.0f32);
                    four.insert(comptime!(j as usize), found);
                }
            }
        }
        read[comptime!(i as usize)] = four;
    }
    #[unroll]
    for i in 0..4usize {
        let mut four = read[i];
        if comptime!(!(wide && across)) {
            #[unroll]
            for j in 0..4usize {
                four.insert(j, read[j].extract(i));
            }
        }
        to[comptime!(nth as usize + i)] = four;
    }
}

/// Which four lines of a piece, and which four places along the sums, a thread brings: neighbours in memory go to
/// neighbours in a workgroup.
#[cube]
fn spot(at: u32, #[comptime] across: bool, #[comptime] tile: Tile) -> (u32, u32) {
    let mut four = at / comptime!(tile.depth / 4);
    let mut along = at % comptime!(tile.depth / 4);
    if comptime!(across) {
        four = at % comptime!(tile.side / 4);
        along = at / comptime!(tile.side / 4);
    }
    (four, along * 4)
}

/// Puts what [`bring`] brought into fast memory: for each place along the sums the lines side by side.
#[cube]
fn store(
    part: &mut Shared<[Four]>,
    brought: &Array<Four>,
    at: u32,
    #[comptime] first: u32,
    #[comptime] across: bool,
    #[comptime] tile: Tile,
) {
    let (four, along) = spot(at, across, tile);
    #[unroll]
    for j in 0..4u32 {
        part[((along + j) * comptime!(tile.side / 4 + 1) + four) as usize] =
            brought[comptime!((first + j) as usize)];
    }
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
    // Unrolled, a whole frame of SAM 2.1 tiny takes 47 ms instead of 51 on an H100.
    #[unroll]
    for along in 0..comptime!(tile.depth) {
        #[unroll]
        for g in 0..groups {
            let here = comptime!(along * pitch + g * across);
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

/// Column and row of a thread among `across` times `across`. Those that read together take 8 by 4 places: they share more
/// of what they read than a row of 32 would.
#[cube]
fn place_of(thread: u32, #[comptime] across: u32) -> (u32, u32) {
    let (warp, lane) = (thread / 32, thread % 32);
    let warps = comptime!(across / 8);
    (warp % warps * 8 + lane % 8, warp / warps * 4 + lane / 8)
}

/// Where the matrix of a batch begins.
#[cube]
fn base_of(at: &Layout, batch: u32, heads: u32) -> u32 {
    batch / heads * at.outer + batch % heads * at.head
}

/// Writes a thread's finished sums: four rows and columns from `row` and `col` on, and the next ones as far on as the
/// threads of a workgroup reach together.
#[cube]
#[allow(clippy::too_many_arguments)]
fn write<F: Float, O: Float>(
    sums: &Array<Four>,
    bias: &[F],
    plus: &[F],
    out: &mut [O],
    at_out: &Layout,
    to: u32,
    row: u32,
    col: u32,
    size: &Amounts,
    scale: f32,
    #[comptime] tile: Tile,
) {
    let (groups, reach) = comptime!((tile.own / 4, tile.side / tile.own * 4));
    #[unroll]
    for i in 0..comptime!(tile.own) {
        let row = row + comptime!(i / 4 * reach + i % 4);
        #[unroll]
        for j in 0..comptime!(tile.own) {
            let col = col + comptime!(j / 4 * reach + j % 4);
            if row < size.m && col < size.n {
                let four = sums[comptime!((i * groups + j / 4) as usize)];
                let sum = four.extract(comptime!((j % 4) as usize)) * scale;
                let at = to + row * at_out.row + col * at_out.col;
                out[at as usize] = O::cast_from(finished::<F>(sum, bias, plus, col, at, tile.last));
            }
        }
    }
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments, clippy::manual_div_ceil)]
pub(super) fn product_kernel<F: Float, O: Float, N: Size>(
    a: &[Vector<F, N>],
    b: &[Vector<F, N>],
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
    let groups = comptime!(tile.own / 4);
    // Off the multiples of the banks.
    let pitch = comptime!(tile.side / 4 + 1);
    let mut part_a = Shared::<[Four]>::new_slice(comptime!((pitch * tile.depth) as usize));
    let mut part_b = Shared::<[Four]>::new_slice(comptime!((pitch * tile.depth) as usize));
    // Four lines at four places each: those of the left side, then those of the right one.
    let blocks_a = comptime!(tile.side * tile.depth / 16);
    let blocks = comptime!(2 * blocks_a);
    let loads = comptime!(blocks.div_ceil(threads));
    let mut next = Array::<Four>::new(comptime!((loads * 4) as usize));
    let mut sums = Array::<Four>::new(comptime!((tile.own * groups) as usize));
    #[unroll]
    for i in 0..comptime!((tile.own * groups) as usize) {
        sums[i] = Four::new(0.0f32);
    }

    let first_row = CUBE_POS_Y * tile.side;
    let first_col = CUBE_POS_X * tile.side;
    let part = CUBE_POS_Z % size.parts;
    let batch = CUBE_POS_Z / size.parts;
    let side_a = Side {
        base: base_of(&at_a, batch, size.heads),
        first: first_row,
        lines: size.m,
        line_step: at_a.row,
        at_step: at_a.col,
    };
    let side_b = Side {
        base: base_of(&at_b, batch, size.heads),
        first: first_col,
        lines: size.n,
        line_step: at_b.col,
        at_step: at_b.row,
    };
    let (x, y) = place_of(UNIT_POS, across);
    let begin = part * size.part_k;
    let end = min(size.k, begin + size.part_k);
    let steps = (end - begin + tile.depth - 1) / tile.depth;
    // The first piece is on its way before the loop, each next one during the sums of the one before.
    for step in 0..steps + 1 {
        if step > 0 {
            #[unroll]
            for i in 0..loads {
                let block = UNIT_POS + comptime!(i * threads);
                if block < blocks_a {
                    store(&mut part_a, &next, block, comptime!(i * 4), tile.turned_a, tile);
                } else if block < blocks {
                    let (block, across) = (block - blocks_a, comptime!(!tile.turned_b));
                    store(&mut part_b, &next, block, comptime!(i * 4), across, tile);
                }
            }
        }
        sync_cube();
        if step < steps {
            let first = begin + step * tile.depth;
            #[unroll]
            for i in 0..loads {
                let (block, to) = (UNIT_POS + comptime!(i * threads), comptime!(i * 4));
                if block < blocks_a {
                    let across = tile.turned_a;
                    bring::<F, N>(a, &side_a, block, first, end, &mut next, to, across, tile);
                } else if block < blocks {
                    let (block, across) = (block - blocks_a, comptime!(!tile.turned_b));
                    bring::<F, N>(b, &side_b, block, first, end, &mut next, to, across, tile);
                }
            }
        }
        if step > 0 {
            add_piece(&part_a, &part_b, &mut sums, x, y, tile);
        }
        sync_cube();
    }

    let to = part * size.part_step + base_of(&at_out, batch, size.heads);
    let (row, col) = (first_row + y * 4, first_col + x * 4);
    write::<F, O>(&sums, bias, plus, out, &at_out, to, row, col, &size, scale, tile);
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
