//! What is computed row by row: norm and softmax in one kernel each, and GELU.
//!
//! What decides whether this file is right: every thread reaches every barrier, those without a row too; a norm takes the
//! mean off before it squares, and a softmax the largest number before the exponential.

use burn::tensor::{DType, Tensor};
use burn_wgpu::CubeTensor;
use cubecl::prelude::*;

use super::{back, held, in_order, room, whole};

/// Threads of a workgroup.
pub(super) const THREADS: u32 = 256;
/// Rows longer than this get a workgroup of their own.
const LONG: usize = 512;

/// The sum of `value` over the threads of a row, or the largest.
#[cube]
fn over_row(
    shared: &mut Shared<[f32]>,
    value: f32,
    lane: u32,
    #[comptime] threads: u32,
    #[comptime] largest: bool,
) -> f32 {
    shared[UNIT_POS as usize] = value;
    sync_cube();
    let start = UNIT_POS - lane;
    #[unroll]
    for i in 0..comptime!(threads.ilog2()) {
        let half = comptime!(threads >> (i + 1));
        if lane < half {
            let other = shared[(UNIT_POS + half) as usize];
            let own = shared[UNIT_POS as usize];
            if comptime!(largest) {
                shared[UNIT_POS as usize] = max(own, other);
            } else {
                shared[UNIT_POS as usize] = own + other;
            }
        }
        sync_cube();
    }
    let all = shared[start as usize];
    sync_cube();
    all
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn norm_kernel(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    out: &mut [f32],
    rows: u32,
    width: u32,
    outer_step: u32,
    row_step: u32,
    col_step: u32,
    rows_within: u32,
    epsilon: f32,
    #[comptime] threads: u32,
) {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(THREADS as usize));
    let lane = UNIT_POS % threads;
    let cube = CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X;
    let row = cube * comptime!(THREADS / threads) + UNIT_POS / threads;
    let from = (row / rows_within) * outer_step + (row % rows_within) * row_step;
    let mut end = width;
    if row >= rows {
        end = 0u32;
    }
    let mut sum = 0.0f32;
    let mut c = lane;
    while c < end {
        sum += x[(from + c * col_step) as usize];
        c += threads;
    }
    let mean = over_row(&mut shared, sum, lane, threads, false) / f32::cast_from(width);
    let mut sum = 0.0f32;
    let mut c = lane;
    while c < end {
        let apart = x[(from + c * col_step) as usize] - mean;
        sum += apart * apart;
        c += threads;
    }
    let variance = over_row(&mut shared, sum, lane, threads, false) / f32::cast_from(width);
    let scale = 1.0f32 / (variance + epsilon).sqrt();
    let mut c = lane;
    while c < end {
        let value = (x[(from + c * col_step) as usize] - mean) * scale;
        out[(row * width + c) as usize] = value * weight[c as usize] + bias[c as usize];
        c += threads;
    }
}

/// In place: the numbers stay in memory once, however many there are.
#[cube(launch_unchecked)]
fn softmax_kernel(
    bias: &[f32],
    out: &mut [f32],
    rows: u32,
    width: u32,
    #[comptime] threads: u32,
    #[comptime] biased: bool,
) {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(THREADS as usize));
    let lane = UNIT_POS % threads;
    let cube = CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X;
    let row = cube * comptime!(THREADS / threads) + UNIT_POS / threads;
    let from = row * width;
    let mut end = width;
    if row >= rows {
        end = 0u32;
    }
    let mut most = f32::min_value();
    let mut c = lane;
    while c < end {
        let mut value = out[(from + c) as usize];
        if comptime!(biased) {
            value += bias[c as usize];
        }
        most = max(most, value);
        c += threads;
    }
    let most = over_row(&mut shared, most, lane, threads, true);
    let mut sum = 0.0f32;
    let mut c = lane;
    while c < end {
        let mut value = out[(from + c) as usize] - most;
        if comptime!(biased) {
            value += bias[c as usize];
        }
        let value = value.exp();
        out[(from + c) as usize] = value;
        sum += value;
        c += threads;
    }
    let share = 1.0f32 / over_row(&mut shared, sum, lane, threads, false);
    let mut c = lane;
    while c < end {
        out[(from + c) as usize] *= share;
        c += threads;
    }
}

/// x (erf(x / √2) + 1) / 2.
#[cube]
pub(super) fn gelu_of(value: f32) -> f32 {
    let half = comptime!(std::f32::consts::FRAC_1_SQRT_2);
    value * 0.5f32 * (Erf::erf(value * half) + 1.0f32)
}

/// Turns pairs of channels by the angles of their row and puts the first ones before the second ones; rows from `turned`
/// on are only put in that order.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn turn_kernel(
    x: &[f32],
    cos: &[f32],
    sin: &[f32],
    out: &mut [f32],
    count: u32,
    rows: u32,
    half: u32,
    turned: u32,
    tokens: u32,
    batch_step: u32,
    row_step: u32,
    col_step: u32,
) {
    let at = (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) * CUBE_DIM_X + UNIT_POS;
    if at < count {
        let j = at % half;
        let line = at / half;
        let row = line % rows;
        let from = (line / rows) * batch_step + row * row_step + 2 * j * col_step;
        let even = x[from as usize];
        let odd = x[(from + col_step) as usize];
        let to = line * 2 * half + j;
        if row < turned {
            let angle = (row % tokens) * half + j;
            let c = cos[angle as usize];
            let s = sin[angle as usize];
            out[to as usize] = even * c - odd * s;
            out[(to + half) as usize] = even * s + odd * c;
        } else {
            out[to as usize] = even;
            out[(to + half) as usize] = odd;
        }
    }
}

#[cube(launch_unchecked)]
fn gelu_kernel(x: &[f32], out: &mut [f32], count: u32) {
    let at = (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) * CUBE_DIM_X + UNIT_POS;
    if at < count {
        out[at as usize] = gelu_of(x[at as usize]);
    }
}

/// Workgroups for so many, in two axes where one does not hold them.
pub(super) fn cubes_of(count: usize) -> Option<CubeCount> {
    let across = count.clamp(1, 1 << 15);
    let down = u16::try_from(count.div_ceil(across)).ok()?;
    Some(CubeCount::Static(across as u32, u32::from(down), 1))
}

/// Threads for a row of this length, and workgroups for all.
fn shares(rows: usize, width: usize) -> Option<(u32, CubeCount)> {
    let threads = if width > LONG { THREADS } else { 32 };
    Some((threads, cubes_of(rows.div_ceil((THREADS / threads) as usize))?))
}

fn small(x: &CubeTensor) -> bool {
    x.dtype == DType::F32 && u32::try_from(x.meta.num_elements()).is_ok()
}

/// Normalisation over the last axis.
pub(in crate::net) fn norm<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<1>,
    bias: &Tensor<1>,
    epsilon: f64,
) -> Option<Tensor<D>> {
    let shape = x.dims();
    let width = shape[D - 1];
    let mut held_x = held(x).filter(small)?;
    let (weight, bias) = (in_order(weight)?, in_order(bias)?);
    let steps = |x: &CubeTensor| x.meta.strides().to_vec();
    // Rows a constant step apart, in groups a constant step apart; anything else is copied into order first.
    let within = if D > 1 { shape[D - 2] } else { 1 };
    let outers: Vec<usize> = (0..D.saturating_sub(2)).filter(|axis| shape[*axis] > 1).collect();
    let mut at = steps(&held_x);
    let even = outers.windows(2).all(|two| at[two[0]] == at[two[1]] * shape[two[1]]);
    if !even {
        held_x = in_order(&whole(x))?;
        at = steps(&held_x);
    }
    let step = |axis: Option<usize>| axis.map_or(0, |axis| at[axis] as u32);
    let rows = shape.iter().product::<usize>() / width;
    let (threads, count) = shares(rows, width)?;
    let out = room(&held_x, &shape, held_x.dtype);
    let client = out.client.clone();
    // SAFETY: rows and columns stay within the tensor, whose strides come with its memory.
    unsafe {
        norm_kernel::launch_unchecked(
            &client,
            count,
            CubeDim::new_1d(THREADS),
            held_x.into_buffer_arg(),
            weight.into_buffer_arg(),
            bias.into_buffer_arg(),
            out.clone().into_buffer_arg(),
            rows as u32,
            width as u32,
            step(outers.last().copied()),
            step(D.checked_sub(2)),
            step(Some(D - 1)),
            within as u32,
            epsilon as f32,
            threads,
        );
    }
    Some(back(out))
}

/// Softmax over the last axis of numbers that nobody else holds, `[.., width]` in order; `bias` `[width]` is added first.
pub(super) fn softmax(x: CubeTensor, bias: Option<CubeTensor>) -> Option<CubeTensor> {
    let width = *x.meta.shape().last()?;
    let rows = x.meta.num_elements() / width;
    let (threads, count) = shares(rows, width)?;
    let client = x.client.clone();
    let biased = bias.is_some();
    let bias = bias.unwrap_or_else(|| x.clone());
    // SAFETY: rows and columns stay within the tensor, which lies in order.
    unsafe {
        softmax_kernel::launch_unchecked(
            &client,
            count,
            CubeDim::new_1d(THREADS),
            bias.into_buffer_arg(),
            x.clone().into_buffer_arg(),
            rows as u32,
            width as u32,
            threads,
            biased,
        );
    }
    Some(x)
}

/// [`crate::net::memory_attention::AxialRope::turn`]: `x` `[B, n, d]`, angles `[1, tokens, d / 2]`, the last `unturned` rows
/// as they are.
pub(in crate::net) fn turn(
    x: &Tensor<3>,
    [cos, sin]: [&Tensor<3>; 2],
    unturned: usize,
) -> Option<Tensor<3>> {
    let ([b, n, d], [_, tokens, half]) = (x.dims(), cos.dims());
    let x = held(x).filter(small)?;
    let (cos, sin) = (in_order(cos)?, in_order(sin)?);
    let steps: Vec<u32> = x.meta.strides().iter().map(|step| *step as u32).collect();
    let count = b * n * half;
    let out = room(&x, &[b, n, d], x.dtype);
    let client = out.client.clone();
    // SAFETY: one pair in, one pair out, below their count; angles repeat within their rows.
    unsafe {
        turn_kernel::launch_unchecked(
            &client,
            cubes_of(count.div_ceil(THREADS as usize))?,
            CubeDim::new_1d(THREADS),
            x.into_buffer_arg(),
            cos.into_buffer_arg(),
            sin.into_buffer_arg(),
            out.clone().into_buffer_arg(),
            count as u32,
            n as u32,
            half as u32,
            (n - unturned) as u32,
            tokens as u32,
            steps[0],
            steps[1],
            steps[2],
        );
    }
    Some(back(out))
}

/// Exact (erf) GELU.
pub(in crate::net) fn gelu<const D: usize>(x: &Tensor<D>) -> Option<Tensor<D>> {
    let held = held(x).filter(small)?;
    // Numbers that fill their memory without gaps, in whatever order, may keep it.
    let held = if held.is_contiguous_buffer() { held } else { in_order(&whole(x))? };
    let count = held.meta.num_elements();
    let mut out = room(&held, &x.dims(), held.dtype);
    out.meta = held.meta.clone();
    let client = out.client.clone();
    // SAFETY: one number in, one out, below their count.
    unsafe {
        gelu_kernel::launch_unchecked(
            &client,
            cubes_of(count.div_ceil(THREADS as usize))?,
            CubeDim::new_1d(THREADS),
            held.into_buffer_arg(),
            out.clone().into_buffer_arg(),
            count as u32,
        );
    }
    Some(back(out))
}
