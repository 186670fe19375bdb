//! What is computed row by row: norm and softmax in one kernel each, and GELU.
//!
//! What decides whether this file is right: every thread reaches every barrier, those without a row too; a norm takes the
//! mean off before it squares, and a softmax the largest number before the exponential.

use burn::tensor::{DType, Tensor};
use burn_wgpu::CubeTensor;
use cubecl::prelude::*;

use super::{back, held, in_order, room};

/// Threads of a workgroup.
const THREADS: u32 = 256;
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

#[cube(launch_unchecked)]
fn softmax_kernel(
    x: &[f32],
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
        let mut value = x[(from + c) as usize];
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
        let mut value = x[(from + c) as usize] - most;
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

#[cube(launch_unchecked)]
fn gelu_kernel(x: &[f32], out: &mut [f32], count: u32) {
    let at = (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) * CUBE_DIM_X + UNIT_POS;
    if at < count {
        let value = x[at as usize];
        let half = comptime!(std::f32::consts::FRAC_1_SQRT_2);
        out[at as usize] = value * 0.5f32 * (Erf::erf(value * half) + 1.0f32);
    }
}

/// Workgroups for so many, in two axes where one does not hold them.
fn cubes(count: usize) -> Option<CubeCount> {
    let across = count.clamp(1, 1 << 15);
    let down = u16::try_from(count.div_ceil(across)).ok()?;
    Some(CubeCount::Static(across as u32, u32::from(down), 1))
}

/// Threads for a row of this length, and workgroups for all.
fn shares(rows: usize, width: usize) -> Option<(u32, CubeCount)> {
    let threads = if width > LONG { THREADS } else { 32 };
    Some((threads, cubes(rows.div_ceil((THREADS / threads) as usize))?))
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
        held_x = in_order(&x.clone().reshape([shape.iter().product::<usize>()]).reshape(shape))?;
        at = steps(&held_x);
    }
    let step = |axis: Option<usize>| axis.map_or(0, |axis| at[axis] as u32);
    let rows = shape.iter().product::<usize>() / width;
    let (threads, count) = shares(rows, width)?;
    let out = room(&held_x, &shape);
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

/// Softmax over the last axis, of `x + bias` where there is one (`[1, 1, 1, last]`).
pub(in crate::net) fn softmax(x: &Tensor<4>, bias: Option<&Tensor<4>>) -> Option<Tensor<4>> {
    let held = in_order(x).filter(small)?;
    let bias = match bias {
        Some(bias) => Some(in_order(bias)?),
        None => None,
    };
    let [b, h, m, width] = x.dims();
    let rows = b * h * m;
    let (threads, count) = shares(rows, width)?;
    let out = room(&held, &[b, h, m, width]);
    let client = out.client.clone();
    let biased = bias.is_some();
    let bias = bias.unwrap_or_else(|| held.clone());
    // SAFETY: rows and columns stay within the tensor, which lies in order.
    unsafe {
        softmax_kernel::launch_unchecked(
            &client,
            count,
            CubeDim::new_1d(THREADS),
            held.into_buffer_arg(),
            bias.into_buffer_arg(),
            out.clone().into_buffer_arg(),
            rows as u32,
            width as u32,
            threads,
            biased,
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
    let mut out = room(&held, &x.dims());
    out.meta = held.meta.clone();
    let client = out.client.clone();
    // SAFETY: one number in, one out, below their count.
    unsafe {
        gelu_kernel::launch_unchecked(
            &client,
            cubes(count.div_ceil(THREADS as usize))?,
            CubeDim::new_1d(THREADS),
            held.into_buffer_arg(),
            out.clone().into_buffer_arg(),
            count as u32,
        );
    }
    Some(back(out))
}

/// The same tensor, its numbers in order.
fn whole<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    x.clone().reshape([x.dims().iter().product::<usize>()]).reshape(x.dims())
}
