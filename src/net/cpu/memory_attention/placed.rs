//! Attention to remembered frames, with scores made of a memory's few channels.
//!
//! A key is a memory token (64 channels) with its encoding, projected (to 256) and turned by its place; a score is its
//! product with a query. Turning and projecting the query backwards gives the same number from 64 products. What a query
//! becomes that way depends on the place through its column (one half of the channels) and through its row (the other
//! half), so it is made once per column and once per row instead of once per place, and their sum meets the tokens of that
//! place in all remembered frames. That is less than half of the work, but only from some remembered frames on
//! ([`pays`]).
//!
//! What decides whether this file is right: scores lie key by key, [`QUERIES`] numbers each, and the softmax runs down the
//! columns with one running peak per query; rows beyond the last query are zeros that nobody reads.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::super::layers::{Affine, room};
use super::super::maths;
use super::super::product::{Mat, product};
use super::Turns;

/// Queries that are answered together, so that the memory, too large for a cache, is read once for all of them.
pub(super) const QUERIES: usize = 64;
/// Remembered frames that meet a query together: their sums fit into the registers of AVX-512.
const TOGETHER: usize = 8;

/// Columns that are gone through row by row: what the queries became for so many stays in the second-level cache.
const COLUMNS: usize = 16;

/// Whether this way costs less than projected keys, for `frames` remembered frames of `[h, w]` tokens of `mem_dim`
/// channels and queries of `d`.
pub(super) fn pays(frames: usize, [h, w]: [usize; 2], mem_dim: usize, d: usize) -> bool {
    // Measured: a product here takes a little longer than one of a large matrix product.
    let here = (h + w) * (mem_dim + 1) * d / 2 + frames * h * w * mem_dim * 5 / 4;
    here < frames * h * w * d
}

/// A key projection, turned backwards by every column and every row; the last output of each is the bias.
pub(super) struct Keys {
    /// `[w, mem_dim + 1, d / 2]`.
    columns: Vec<f32>,
    /// `[h, mem_dim + 1, d / 2]`.
    rows: Vec<f32>,
    /// `[mem_dim + 1, d]`, not turned: for tokens without a place.
    plain: Vec<f32>,
    d: usize,
}

impl Keys {
    /// From a projection whose even outputs come first; scores are multiplied by `scale`.
    pub(super) fn new(of: &Affine, rope: &Turns, [h, w]: [usize; 2], scale: f32) -> Self {
        let (d, mem_dim) = (of.outputs, of.inputs);
        let output = |c: usize| (0..d).map(move |i| (i, c));
        let number = |(i, c): (usize, usize)| {
            scale * if c == mem_dim { of.bias()[i] } else { of.weight_row(i)[c] }
        };
        let plain: Vec<f32> = (0..=mem_dim).flat_map(output).map(number).collect();
        // Half of the pairs turn with the column, the other half with the row.
        let quarter = rope.half / 2;
        let turned = |places: usize, from: usize, token: &(dyn Fn(usize) -> usize + Sync)| {
            let mut all = vec![0.0; places * (mem_dim + 1) * 2 * quarter];
            all.par_chunks_mut((mem_dim + 1) * 2 * quarter).enumerate().for_each(|(at, out)| {
                let angles = token(at) * rope.half + from;
                let (cos, sin) = (&rope.cos[angles..][..quarter], &rope.sin[angles..][..quarter]);
                for (out, plain) in out.chunks_exact_mut(2 * quarter).zip(plain.chunks_exact(d)) {
                    out[..quarter].copy_from_slice(&plain[from..][..quarter]);
                    out[quarter..].copy_from_slice(&plain[rope.half + from..][..quarter]);
                    let (even, odd) = out.split_at_mut(quarter);
                    maths::turn_pairs(even, odd, cos, sin);
                }
            });
            all
        };
        let columns = turned(w, 0, &|x| x);
        let rows = turned(h, quarter, &|y| y * w);
        Self { columns, rows, plain, d }
    }
}

/// Some remembered frames whose tokens lie place by place.
struct Group {
    frames: usize,
    /// `[h, w, mem_dim, frames]`.
    keys: Vec<f32>,
    /// `[h, w, frames, mem_dim]`.
    values: Vec<f32>,
}

/// Everything a frame remembers.
pub(super) struct Remembered<'a> {
    groups: Vec<Group>,
    /// Of the tokens without a place, `[n, mem_dim]` each.
    pointers: [&'a [f32]; 2],
    mem_dim: usize,
    size: [usize; 2],
}

impl<'a> Remembered<'a> {
    /// `tokens` and `placed` `[m, mem_dim]`: values, and what keys are made of; the first `spatial` are whole frames.
    pub(super) fn new(
        [tokens, placed]: [&'a [f32]; 2],
        spatial: usize,
        mem_dim: usize,
        [h, w]: [usize; 2],
    ) -> Self {
        let frame = h * w * mem_dim;
        let all = [tokens, placed];
        let [values, keys] = all.map(|all| &all[..spatial * mem_dim]);
        let groups = values.chunks(TOGETHER * frame).zip(keys.chunks(TOGETHER * frame));
        let groups = groups.map(|(values, keys)| Group::new(values, keys, frame, mem_dim));
        let groups = groups.collect();
        let pointers = all.map(|all| &all[spatial * mem_dim..]);
        Self { groups, pointers, mem_dim, size: [h, w] }
    }
}

impl Group {
    fn new(values: &[f32], keys: &[f32], frame: usize, mem_dim: usize) -> Self {
        let frames = values.len() / frame;
        let (mut at, mut by) = (vec![0.0; keys.len()], vec![0.0; values.len()]);
        let places = at.par_chunks_mut(frames * mem_dim).zip(by.par_chunks_mut(frames * mem_dim));
        places.enumerate().for_each(|(place, (at, by))| {
            for g in 0..frames {
                let token = g * frame + place * mem_dim;
                by[g * mem_dim..][..mem_dim].copy_from_slice(&values[token..][..mem_dim]);
                for (c, key) in keys[token..][..mem_dim].iter().enumerate() {
                    at[c * frames + g] = *key;
                }
            }
        });
        Self { frames, keys: at, values: by }
    }
}

/// Working space of one thread.
#[derive(Default)]
pub(super) struct Scratch {
    queries: Vec<f32>,
    half: Vec<f32>,
    columns: Vec<f32>,
    rows: Vec<f32>,
    plain: Vec<f32>,
    scores: Vec<f32>,
    mixed: Vec<f32>,
}

/// The running state of the softmax of [`QUERIES`] queries.
#[derive(Clone, Copy)]
struct Running {
    peak: [f32; QUERIES],
    total: [f32; QUERIES],
}

/// `queries` `[n, d]`, turned by their places, at most [`QUERIES`] of them, to the mixture of values `[n, mem_dim]`.
pub(super) fn attend(
    keys: &Keys,
    memory: &Remembered<'_>,
    queries: &[f32],
    out: &mut [f32],
    scratch: &mut Scratch,
) {
    let (d, mem_dim, [h, w]) = (keys.d, memory.mem_dim, memory.size);
    let Scratch { queries: all, half, columns, rows, plain, scores, mixed } = scratch;
    let all = room(all, QUERIES * d);
    all[..queries.len()].copy_from_slice(queries);
    all[queries.len()..].fill(0.0);
    let half = room(half, QUERIES * d / 2);
    let mut carried = |by: &[f32], from: usize, out: &mut [f32]| {
        for (half, query) in half.chunks_exact_mut(d / 2).zip(all.chunks_exact(d)) {
            half[..d / 4].copy_from_slice(&query[from..][..d / 4]);
            half[d / 4..].copy_from_slice(&query[d / 2 + from..][..d / 4]);
        }
        let by = Mat::new(by, by.len() / (d / 2), d / 2);
        product(by, Mat::new(half, QUERIES, d / 2).turned(), 1.0, false, out, QUERIES);
    };
    let each = (mem_dim + 1) * QUERIES;
    let (columns, rows) = (room(columns, w * each), room(rows, h * each));
    carried(&keys.columns, 0, columns);
    carried(&keys.rows, d / 4, rows);

    let mixed = room(mixed, QUERIES * mem_dim);
    mixed.fill(0.0);
    let mut state = Running { peak: [f32::MIN; QUERIES], total: [0.0; QUERIES] };
    for group in &memory.groups {
        let of_place = group.frames * mem_dim;
        for (nth, columns) in columns.chunks(COLUMNS * each).enumerate() {
            let width = columns.len() / each;
            let scores = room(scores, width * group.frames * QUERIES);
            for (y, row) in rows.chunks_exact(each).enumerate() {
                let part = (y * w + nth * COLUMNS) * of_place..;
                let [keys, values] =
                    [&group.keys, &group.values].map(|all| &all[part.clone()][..width * of_place]);
                meet(columns, row, keys, group.frames, scores);
                state.take(scores, values, mem_dim, mixed);
            }
        }
    }
    let [values, placeless] = memory.pointers;
    if !values.is_empty() {
        let plain = room(plain, each);
        let by = Mat::new(&keys.plain, mem_dim + 1, d);
        product(by, Mat::new(all, QUERIES, d).turned(), 1.0, false, plain, QUERIES);
        let count = values.len() / mem_dim;
        let scores = room(scores, count * QUERIES);
        let (carried, bias) = plain.split_at(mem_dim * QUERIES);
        let carried = Mat::new(carried, mem_dim, QUERIES);
        product(Mat::new(placeless, count, mem_dim), carried, 1.0, false, scores, QUERIES);
        maths::add_to_rows(scores, bias);
        state.take(scores, values, mem_dim, mixed);
    }
    for ((out, mixed), total) in
        out.chunks_exact_mut(mem_dim).zip(mixed.chunks_exact(mem_dim)).zip(state.total)
    {
        out.iter_mut().zip(mixed).for_each(|(out, v)| *out = v / total);
    }
}

impl Running {
    /// Scores `[keys, QUERIES]` become weights, and what they give of `values` `[keys, mem_dim]` is added to `mixed`.
    fn take(&mut self, scores: &mut [f32], values: &[f32], mem_dim: usize, mixed: &mut [f32]) {
        // Copies that stay in registers.
        let Self { mut peak, mut total } = *self;
        maths::wide(
            #[inline(always)]
            || {
                for row in scores.as_chunks::<QUERIES>().0 {
                    for (peak, v) in peak.iter_mut().zip(row) {
                        *peak = if *v > *peak { *v } else { *peak };
                    }
                }
                let mut shrink = self.peak;
                for ((shrink, peak), total) in shrink.iter_mut().zip(&peak).zip(&mut total) {
                    *shrink = maths::exp(*shrink - peak);
                    *total *= *shrink;
                }
                for (row, shrink) in mixed.chunks_exact_mut(mem_dim).zip(shrink) {
                    row.iter_mut().for_each(|v| *v *= shrink);
                }
                for row in scores.as_chunks_mut::<QUERIES>().0 {
                    for ((v, peak), total) in row.iter_mut().zip(&peak).zip(&mut total) {
                        *v = maths::exp(*v - peak);
                        *total += *v;
                    }
                }
            },
        );
        *self = Self { peak, total };
        let weights = Mat::new(scores, scores.len() / QUERIES, QUERIES).turned();
        let values = Mat::new(values, values.len() / mem_dim, mem_dim);
        product(weights, values, 1.0, true, mixed, mem_dim);
    }
}

/// The scores of one image row: for each column the tokens of `frames` frames, `[w, mem_dim, frames]`, meet the sum of what
/// the queries became for that column and for the row, `[mem_dim + 1, QUERIES]` each.
fn meet(columns: &[f32], row: &[f32], keys: &[f32], frames: usize, scores: &mut [f32]) {
    match frames {
        1 => Meet::<1> { columns, row, keys, scores }.run(),
        2 => Meet::<2> { columns, row, keys, scores }.run(),
        3 => Meet::<3> { columns, row, keys, scores }.run(),
        4 => Meet::<4> { columns, row, keys, scores }.run(),
        5 => Meet::<5> { columns, row, keys, scores }.run(),
        6 => Meet::<6> { columns, row, keys, scores }.run(),
        7 => Meet::<7> { columns, row, keys, scores }.run(),
        _ => Meet::<TOGETHER> { columns, row, keys, scores }.run(),
    }
}

struct Meet<'a, const FRAMES: usize> {
    columns: &'a [f32],
    row: &'a [f32],
    keys: &'a [f32],
    scores: &'a mut [f32],
}

impl<const FRAMES: usize> Meet<'_, FRAMES> {
    fn run(self) {
        Arch::new().dispatch(self);
    }

    /// `AT_ONCE` registers of queries at a time.
    #[inline(always)]
    fn with<S: Simd, const AT_ONCE: usize>(self, simd: S) {
        let parts = QUERIES / S::F32_LANES / AT_ONCE;
        let [row, columns] =
            [self.row, self.columns].map(|part| S::as_simd_f32s(part).0.as_chunks::<AT_ONCE>().0);
        let scores = S::as_mut_simd_f32s(self.scores).0.as_chunks_mut::<AT_ONCE>().0;
        let keys = self.keys.as_chunks::<FRAMES>().0;
        let channels = row.len() / parts - 1;
        let places = columns.chunks_exact(row.len()).zip(keys.chunks_exact(channels));
        for ((column, keys), scores) in places.zip(scores.chunks_exact_mut(FRAMES * parts)) {
            for at in 0..parts {
                let bias = channels * parts + at;
                let mut sums = [both(simd, &column[bias], &row[bias]); FRAMES];
                let queries = column.chunks_exact(parts).zip(row.chunks_exact(parts));
                for ((column, row), tokens) in queries.zip(keys) {
                    let query = both(simd, &column[at], &row[at]);
                    for frame in 0..FRAMES {
                        let token = simd.splat_f32s(tokens[frame]);
                        for v in 0..AT_ONCE {
                            sums[frame][v] = simd.mul_add_e_f32s(query[v], token, sums[frame][v]);
                        }
                    }
                }
                for (scores, sums) in scores.chunks_exact_mut(parts).zip(sums) {
                    scores[at] = sums;
                }
            }
        }
    }
}

/// The sum of two rows.
#[inline(always)]
fn both<S: Simd, const N: usize>(simd: S, a: &[S::f32s; N], b: &[S::f32s; N]) -> [S::f32s; N] {
    let mut sum = *a;
    for i in 0..N {
        sum[i] = simd.add_f32s(a[i], b[i]);
    }
    sum
}

impl<const FRAMES: usize> WithSimd for Meet<'_, FRAMES> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Short registers come in smaller numbers.
        if S::F32_LANES == 16 { self.with::<S, 2>(simd) } else { self.with::<S, 1>(simd) }
    }
}
