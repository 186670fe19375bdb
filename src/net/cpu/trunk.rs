//! Hiera's blocks, a few windows at a time from the first norm to the last layer.
//!
//! What decides whether this file is right: a window's padding (zeros after the norm, see `image_encoder.rs`) is one row
//! that counts as often as it stands in the window, because all padded tokens have the same key and value and nobody
//! reads their answers; everything else is `HieraBlock::forward`, and the test compares the two.

use rayon::prelude::*;

use super::attention::{self, attend};
use super::layers::{Affine, Norm, Pair, ROWS, room, rows_each};
use super::maths;
use super::product::Mat;
use crate::net::image_encoder::HieraBlock;

/// One block's layers.
pub(super) struct Block {
    norm1: Norm,
    qkv: Affine,
    proj: Affine,
    norm2: Norm,
    mlp: Pair,
    widen: Option<Affine>,
    heads: usize,
    /// Window side, 0 = global.
    window: usize,
    /// Whether the block halves the grid.
    pool: bool,
}

/// Working space of one thread.
#[derive(Default)]
struct Scratch {
    normed: Vec<f32>,
    qkv: Vec<f32>,
    pooled: Vec<f32>,
    mixed: Vec<f32>,
    hidden: Vec<f32>,
    rows: Vec<f32>,
    attention: attention::Scratch,
}

/// The part of a window that lies in the grid.
#[derive(Clone, Copy)]
struct Window {
    top: usize,
    left: usize,
    height: usize,
    width: usize,
    /// How many tokens of padding the window has.
    padded: usize,
}

impl Window {
    fn at(i: usize, columns: usize, side: usize, [h, w]: [usize; 2]) -> Self {
        let (top, left) = (i / columns * side, i % columns * side);
        let (height, width) = (side.min(h - top), side.min(w - left));
        Self { top, left, height, width, padded: side * side - height * width }
    }

    /// Its tokens, without padding.
    fn tokens(&self) -> usize {
        self.height * self.width
    }

    /// Rows it takes in the working space: one stands for all padding.
    fn rows(&self) -> usize {
        self.tokens() + usize::from(self.padded > 0)
    }
}

impl Block {
    /// The layers of a block of the network.
    pub(super) fn of(block: &HieraBlock) -> Option<Self> {
        let [first, second] = &block.mlp.layers[..] else { return None };
        let widen = match &block.proj {
            Some(layer) => Some(Affine::of(layer)?),
            None => None,
        };
        let global = block.window == 0;
        // No network pools a global block, or a window of odd side, or pools without widening.
        let usual = !block.pool || (!global && block.window.is_multiple_of(2) && widen.is_some());
        usual.then_some(Self {
            norm1: Norm::of(&block.norm1)?,
            qkv: Affine::of(&block.attn.qkv)?,
            proj: Affine::of(&block.attn.proj)?,
            norm2: Norm::of(&block.norm2)?,
            mlp: Pair {
                into: Affine::of(first)?,
                out: Affine::of(second)?,
                activation: maths::gelu,
            },
            widen,
            heads: block.attn.heads,
            window: block.window,
            pool: block.pool,
        })
    }

    /// Rows of channels of a grid `[h, w]` to those of the next, with its size. Even h and w where the block pools.
    pub(super) fn forward(&self, x: &[f32], [h, w]: [usize; 2]) -> (Vec<f32>, [usize; 2]) {
        if self.window == 0 {
            return (self.global(x), [h, w]);
        }
        let shrink = if self.pool { 2 } else { 1 };
        let (side, c) = (self.window, self.proj.outputs);
        let (rows, columns) = (h.div_ceil(side), w.div_ceil(side));
        let mut out = vec![0.0; h / shrink * (w / shrink) * c];
        let shared = Shared::new(&mut out);
        let per = (ROWS / (side * side)).max(1);
        (0..(rows * columns).div_ceil(per)).into_par_iter().for_each_init(
            Scratch::default,
            |scratch, group| {
                let these = group * per..((group + 1) * per).min(rows * columns);
                let windows: Vec<Window> =
                    these.map(|i| Window::at(i, columns, side, [h, w])).collect();
                self.windows(x, w, &windows, scratch);
                let mut from = 0;
                for window in windows {
                    let length = window.width / shrink * c;
                    for y in 0..window.height / shrink {
                        let token = (window.top / shrink + y) * (w / shrink) + window.left / shrink;
                        // SAFETY: every token lies in one window and every window in one group.
                        unsafe { shared.put(token * c, &scratch.rows[from..from + length]) };
                        from += length;
                    }
                }
            },
        );
        (out, [h / shrink, w / shrink])
    }

    /// Some windows from the first norm to the last layer; the answers' rows stand in `scratch.rows`.
    fn windows(&self, x: &[f32], w: usize, windows: &[Window], scratch: &mut Scratch) {
        let (from, c) = (self.qkv.inputs, self.proj.outputs);
        let all: usize = windows.iter().map(Window::rows).sum();
        let normed = room(&mut scratch.normed, all * from);
        let mut at = 0;
        for window in windows {
            for y in 0..window.height {
                let token = ((window.top + y) * w + window.left) * from;
                let length = window.width * from;
                self.norm1.apply(&x[token..token + length], &mut normed[at..at + length]);
                at += length;
            }
            if window.padded > 0 {
                normed[at..at + from].fill(0.0);
                at += from;
            }
        }
        let normed = Mat::new(normed, all, from);
        self.qkv.apply(normed, room(&mut scratch.qkv, all * 3 * c));
        let shrink = if self.pool { 4 } else { 1 };
        let kept = windows.iter().map(|window| window.tokens() / shrink).sum::<usize>();
        room(&mut scratch.rows, kept * c);
        room(&mut scratch.mixed, kept * c);
        match &self.widen {
            Some(widen) => {
                let wide = room(&mut scratch.pooled, all * c);
                widen.apply(normed, wide);
                let (mut read, mut write) = (0, 0);
                for window in windows {
                    let rows = &mut scratch.rows[write..];
                    write += if self.pool {
                        pool(&wide[read..], c, window, c, rows)
                    } else {
                        let length = window.tokens() * c;
                        rows[..length].copy_from_slice(&wide[read..read + length]);
                        length
                    };
                    read += window.rows() * c;
                }
            }
            None => {
                let mut write = 0;
                for window in windows {
                    for y in 0..window.height {
                        let token = ((window.top + y) * w + window.left) * c;
                        let length = window.width * c;
                        scratch.rows[write..write + length]
                            .copy_from_slice(&x[token..token + length]);
                        write += length;
                    }
                }
            }
        }
        self.mix_windows(windows, scratch);
        let Scratch { normed, mixed, hidden, rows, .. } = scratch;
        self.finish(&mixed[..kept * c], &mut rows[..kept * c], normed, hidden);
    }

    /// The attention of each window by itself, from `scratch.qkv` to `scratch.mixed`.
    fn mix_windows(&self, windows: &[Window], scratch: &mut Scratch) {
        let c = self.proj.outputs;
        let d = c / self.heads;
        let scale = 1.0 / (d as f32).sqrt();
        let (mut read, mut write) = (0, 0);
        for window in windows {
            let n = window.rows();
            let qkv = &scratch.qkv[read * 3 * c..(read + n) * 3 * c];
            let (queries, stride, count) = if self.pool {
                let queries = room(&mut scratch.pooled, window.tokens() / 4 * c);
                pool(qkv, 3 * c, window, c, queries);
                (&*queries, c, window.tokens() / 4)
            } else {
                (qkv, 3 * c, window.tokens())
            };
            for head in 0..self.heads {
                let at = head * d;
                let q = Mat::strided(&queries[at..], count, d, stride);
                let k = Mat::strided(&qkv[c + at..], n, d, 3 * c);
                let v = Mat::strided(&qkv[2 * c + at..], n, d, 3 * c);
                let out = &mut scratch.mixed[write * c + at..(write + count) * c];
                let padding = window.padded.max(1);
                attend([q, k, v], scale, padding, out, c, &mut scratch.attention);
            }
            read += n;
            write += count;
        }
    }

    /// Every token attends to every other.
    fn global(&self, x: &[f32]) -> Vec<f32> {
        let c = self.proj.outputs;
        let n = x.len() / c;
        let mut qkv = vec![0.0; n * 3 * c];
        let split = rows_each(n);
        let parts = qkv.par_chunks_mut(split * 3 * c).zip(x.par_chunks(split * c));
        parts.for_each_init(Vec::new, |normed, (qkv, x)| {
            let normed = room(normed, x.len());
            self.norm1.apply(x, normed);
            self.qkv.apply(Mat::new(normed, x.len() / c, c), qkv);
        });
        let d = c / self.heads;
        let scale = 1.0 / (d as f32).sqrt();
        let mut out = x.to_vec();
        let parts = out.par_chunks_mut(split * c).enumerate();
        parts.for_each_init(Scratch::default, |scratch, (i, out)| {
            let count = out.len() / c;
            let mixed = room(&mut scratch.mixed, count * c);
            for head in 0..self.heads {
                let part = |k: usize| Mat::strided(&qkv[k * c + head * d..], n, d, 3 * c);
                let q = part(0).some_rows(i * split, count);
                let mixed = &mut mixed[head * d..];
                attend([q, part(1), part(2)], scale, 1, mixed, c, &mut scratch.attention);
            }
            self.finish(mixed, out, &mut scratch.normed, &mut scratch.hidden);
        });
        out
    }

    /// What follows the attention: `rows` hold the shortcut and become the block's answer.
    fn finish(
        &self,
        mixed: &[f32],
        rows: &mut [f32],
        normed: &mut Vec<f32>,
        hidden: &mut Vec<f32>,
    ) {
        let c = self.proj.outputs;
        let n = rows.len() / c;
        self.proj.add(Mat::new(mixed, n, c), rows);
        let normed = room(normed, n * c);
        self.norm2.apply(rows, normed);
        self.mlp.add(Mat::new(normed, n, c), hidden, rows);
    }
}

/// Max of each 2x2 cell of a window's rows (`stride` apart, the first `c` numbers count) into rows of `c` numbers; how
/// many numbers that were.
fn pool(rows: &[f32], stride: usize, window: &Window, c: usize, out: &mut [f32]) -> usize {
    let (h, w) = (window.height / 2, window.width / 2);
    for (i, out) in out.chunks_exact_mut(c).take(h * w).enumerate() {
        let first = (i / w * 2 * window.width + i % w * 2) * stride;
        let below = first + window.width * stride;
        let row = |at: usize| &rows[at..at + c];
        let above = row(first).iter().zip(row(first + stride));
        let under = row(below).iter().zip(row(below + stride));
        for ((o, (a, b)), (c, d)) in out.iter_mut().zip(above).zip(under) {
            *o = a.max(*b).max(c.max(*d));
        }
    }
    h * w * c
}

/// A result that tasks fill in pieces.
struct Shared<'a> {
    start: *mut f32,
    len: usize,
    held: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointer is only written through `put`, whose callers keep their pieces apart.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    fn new(all: &'a mut [f32]) -> Self {
        Self { start: all.as_mut_ptr(), len: all.len(), held: std::marker::PhantomData }
    }

    /// Writes `values` from number `at` on.
    ///
    /// # Safety
    /// No two calls may write the same number.
    unsafe fn put(&self, at: usize, values: &[f32]) {
        assert!(at + values.len() <= self.len, "a piece outside the result");
        // SAFETY: the piece lies inside the result, and no other call touches it.
        unsafe {
            std::ptr::copy_nonoverlapping(values.as_ptr(), self.start.add(at), values.len());
        }
    }
}
