//! How a frame reads its memory, a few queries at a time from the attention to the feed-forward layers.
//!
//! What decides whether this file is right: weights sum to one, so values may be mixed before they are projected, and
//! a memory has a quarter of the features' channels; value and output projection then are one matrix. A score does not
//! care about the order of channels, so queries and keys hold the even channels first. From some remembered frames on
//! keys are not made at all (`placed`). Everything else is `MemoryAttention::forward`, and the test compares the two.
//! What a frame is to itself in the first layer needs no memory: it is made once for all tracks.

mod placed;

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::attention::{self, attend};
use super::layers::{Affine, Norm, Pair, room, rows_each, turned};
use super::maths;
use super::product::Mat;
use crate::net::blocks::{constant, sine_axes};
use crate::net::device::Host;
use crate::net::memory_attention::{
    AxialRope, MemoryAttention, MemoryAttentionLayer, POS_AT_INPUT,
};
use placed::{Keys, QUERIES, Remembered, pays};

/// The attention of a frame to itself.
struct Own {
    norm: Norm,
    query: Affine,
    key: Affine,
    value: Affine,
    out: Affine,
}

/// What of a layer comes after it: the attention to the memory and the feed-forward layers.
struct Rest {
    norm2: Norm,
    query: Affine,
    key: Affine,
    /// Value and output projection of the memory, `[d, mem_dim]`.
    out: Affine,
    norm3: Norm,
    feed_forward: Pair,
}

/// Working space of one thread.
#[derive(Default)]
struct Scratch {
    normed: Vec<f32>,
    queries: Vec<f32>,
    mixed: Vec<f32>,
    hidden: Vec<f32>,
    attention: attention::Scratch,
    placed: placed::Scratch,
}

/// What a frame reads.
struct Memory<'a> {
    /// Tokens `[m, mem_dim]`, the values.
    tokens: &'a [f32],
    /// Tokens with their encoding, of which keys are made.
    placed: &'a [f32],
    mem_dim: usize,
    /// How many of the first tokens lie on a grid.
    spatial: usize,
    /// The same place by place, where that is the cheaper way.
    by_place: Option<Remembered<'a>>,
}

/// How the queries of a layer meet the memory.
enum Read<'a> {
    /// Keys of every token, `[m, d]`.
    Keys(Vec<f32>),
    /// Queries carried to the tokens.
    Carried(Keys, &'a Remembered<'a>),
}

/// `MemoryAttention::begin` on the CPU; `None` where anything lies elsewhere, or with several heads.
pub(in crate::net) fn begin_read(
    attention: &MemoryAttention,
    curr: &Tensor<4>,
) -> Option<Tensor<3>> {
    let [b, d, h, w] = curr.dims();
    if attention.heads != 1 {
        return None;
    }
    let features = Host::of(curr)?;
    let own = Own::of(attention.layers.first()?)?;
    let rope = AxialRope::tables(d, [h, w], attention.rope_theta);
    let position = sine_axes(d, [h, w]);
    let mut out = Vec::with_capacity(b * h * w * d);
    for features in features.chunks_exact(d * h * w) {
        let mut x = turned(features, h * w);
        x.par_chunks_mut(w * d).enumerate().for_each(|(y, row)| {
            for (x, token) in row.chunks_exact_mut(d).enumerate() {
                let (above, beside) = token.split_at_mut(d / 2);
                maths::add_scaled(above, &position[0][y * d / 2..], POS_AT_INPUT as f32);
                maths::add_scaled(beside, &position[1][x * d / 2..], POS_AT_INPUT as f32);
            }
        });
        let mixed = own.projected(&x, &rope);
        let each = rows_each(h * w) * d;
        x.par_chunks_mut(each).enumerate().for_each_init(Scratch::default, |scratch, (i, x)| {
            own.add(x, i * each / d, &mixed, scratch);
        });
        out.extend(x);
    }
    Some(constant(out, [b, h * w, d], &curr.device()))
}

/// `MemoryAttention::read` on the CPU, of what [`begin_read`] made; `None` where anything lies elsewhere, or with several
/// heads.
pub(in crate::net) fn read_memory(
    attention: &MemoryAttention,
    (begun, [h, w]): (&Tensor<3>, [usize; 2]),
    memory: &Tensor<3>,
    memory_pos: &Tensor<3>,
    n_ptr_tokens: usize,
) -> Option<Tensor<4>> {
    let [b, n, d] = begun.dims();
    let [_, m, mem_dim] = memory.dims();
    if attention.heads != 1 {
        return None;
    }
    let (features, tokens, places) = (Host::of(begun)?, Host::of(memory)?, Host::of(memory_pos)?);
    let rests: Vec<Rest> = attention.layers.iter().map(Rest::of).collect::<Option<_>>()?;
    let owns: Vec<Own> = attention.layers.iter().skip(1).map(Own::of).collect::<Option<_>>()?;
    let norm = Norm::of(&attention.norm)?;
    let rope = AxialRope::tables(d, [h, w], attention.rope_theta);
    let mut out = Vec::with_capacity(b * n * d);
    for i in 0..b {
        let part = i * m * mem_dim..(i + 1) * m * mem_dim;
        let mut placed = tokens[part.clone()].to_vec();
        maths::add(&mut placed, &places[part.clone()]);
        let tokens = &tokens[part];
        let spatial = m - n_ptr_tokens;
        let by_place = pays(spatial / n, [h, w], mem_dim, d)
            .then(|| Remembered::new([tokens, &placed], spatial, mem_dim, [h, w]));
        let memory = Memory { tokens, placed: &placed, mem_dim, spatial, by_place };
        let mut x = features[i * n * d..][..n * d].to_vec();
        // The first layer's own part is in what was begun.
        let owns = std::iter::once(None).chain(owns.iter().map(Some));
        for (own, rest) in owns.zip(&rests) {
            let mixed = own.map(|own| (own, own.projected(&x, &rope)));
            let read = rest.reads(&memory, &rope, [h, w]);
            let each = rows_each(n) * d;
            x.par_chunks_mut(each).enumerate().for_each_init(
                Scratch::default,
                |scratch, (i, x)| {
                    let first = i * each / d;
                    if let Some((own, mixed)) = &mixed {
                        own.add(x, first, mixed, scratch);
                    }
                    rest.add(x, first, (&memory, &read), &rope, scratch);
                },
            );
        }
        x.par_chunks_mut(rows_each(n) * d).for_each(|rows| norm.apply_to(rows));
        out.extend(turned(&x, d));
    }
    Some(constant(out, [b, d, h, w], &begun.device()))
}

/// A projection whose even outputs come first, then the odd ones.
fn even_first(layer: &crate::net::blocks::Linear) -> Option<Affine> {
    let layer = Affine::of(layer)?;
    let order = || (0..layer.outputs).step_by(2).chain((1..layer.outputs).step_by(2));
    let weight = order().flat_map(|i| layer.weight_row(i).to_vec()).collect();
    Some(Affine::own(weight, order().map(|i| layer.bias()[i]).collect()))
}

/// Turned queries, turned keys and values of all tokens of a frame, `[n, d]` each.
type Projected = [Vec<f32>; 3];

impl Own {
    fn of(layer: &MemoryAttentionLayer) -> Option<Self> {
        let own = &layer.self_attn;
        Some(Self {
            norm: Norm::of(&layer.norm1)?,
            query: even_first(&own.q_proj)?,
            key: even_first(&own.k_proj)?,
            value: Affine::of(&own.v_proj)?,
            out: Affine::of(&own.out_proj)?,
        })
    }

    fn projected(&self, x: &[f32], rope: &Turns) -> Projected {
        let d = self.out.outputs;
        let n = x.len() / d;
        let each = rows_each(n);
        let (mut queries, mut keys, mut values) = (x.to_vec(), vec![0.0; n * d], vec![0.0; n * d]);
        let parts = queries.par_chunks_mut(each * d).zip(keys.par_chunks_mut(each * d));
        let parts = parts.zip(values.par_chunks_mut(each * d)).enumerate();
        parts.for_each_init(Vec::new, |normed, (i, ((queries, keys), values))| {
            let normed = room(normed, queries.len());
            self.norm.apply(queries, normed);
            let normed = Mat::new(normed, queries.len() / d, d);
            self.query.apply(normed, queries);
            self.key.apply(normed, keys);
            self.value.apply(normed, values);
            rope.turn(queries, i * each);
            rope.turn(keys, i * each);
        });
        [queries, keys, values]
    }

    /// Adds to some rows `x`, whose first is token `first`, what they read in the whole frame.
    fn add(&self, x: &mut [f32], first: usize, projected: &Projected, scratch: &mut Scratch) {
        let d = self.out.outputs;
        let (n, count) = (projected[0].len() / d, x.len() / d);
        let [queries, keys, values] = projected.each_ref().map(|part| Mat::new(part, n, d));
        let mixed = room(&mut scratch.mixed, count * d);
        let q = queries.some_rows(first, count);
        attend([q, keys, values], scale(d), 1, mixed, d, &mut scratch.attention);
        self.out.add(Mat::new(mixed, count, d), x);
    }
}

/// What scores are multiplied by.
fn scale(d: usize) -> f32 {
    1.0 / (d as f32).sqrt()
}

impl Rest {
    fn of(layer: &MemoryAttentionLayer) -> Option<Self> {
        let cross = &layer.cross_attn_image;
        Some(Self {
            norm2: Norm::of(&layer.norm2)?,
            query: even_first(&cross.q_proj)?,
            key: even_first(&cross.k_proj)?,
            out: Affine::of(&cross.v_proj)?.followed_by(&Affine::of(&cross.out_proj)?),
            norm3: Norm::of(&layer.norm3)?,
            feed_forward: Pair {
                into: Affine::of(&layer.linear1)?,
                out: Affine::of(&layer.linear2)?,
                activation: maths::relu,
            },
        })
    }

    /// How the queries of this layer meet `memory` on a grid of `size`.
    fn reads<'a>(&self, memory: &'a Memory<'a>, rope: &Turns, size: [usize; 2]) -> Read<'a> {
        match &memory.by_place {
            Some(by_place) => {
                let scale = scale(self.out.outputs);
                Read::Carried(Keys::new(&self.key, rope, size, scale), by_place)
            }
            None => Read::Keys(self.memory_keys(memory, rope)),
        }
    }

    /// Adds to some rows `x`, whose first is token `first`, what they read in the memory and what the feed-forward layers
    /// make of it.
    fn add(
        &self,
        x: &mut [f32],
        first: usize,
        (memory, read): (&Memory<'_>, &Read<'_>),
        rope: &Turns,
        scratch: &mut Scratch,
    ) {
        let d = self.out.outputs;
        let count = x.len() / d;
        let Scratch { normed, queries, mixed, hidden, attention, placed } = scratch;
        let normed = room(normed, count * d);
        self.norm2.apply(x, normed);
        let queries = room(queries, count * d);
        self.query.apply(Mat::new(normed, count, d), queries);
        rope.turn(queries, first);
        let mixed = room(mixed, count * memory.mem_dim);
        match read {
            Read::Keys(keys) => {
                let m = keys.len() / d;
                let values = Mat::new(memory.tokens, m, memory.mem_dim);
                let all = [Mat::new(queries, count, d), Mat::new(keys, m, d), values];
                attend(all, scale(d), 1, mixed, memory.mem_dim, attention);
            }
            Read::Carried(keys, by_place) => {
                let parts = queries.chunks(QUERIES * d);
                for (q, mixed) in parts.zip(mixed.chunks_mut(QUERIES * memory.mem_dim)) {
                    placed::attend(keys, by_place, q, mixed, placed);
                }
            }
        }
        self.out.add(Mat::new(mixed, count, memory.mem_dim), x);

        self.norm3.apply(x, normed);
        self.feed_forward.add(Mat::new(normed, count, d), hidden, x);
    }

    /// The keys of all remembered tokens, turned by their places; pointers have none.
    fn memory_keys(&self, memory: &Memory<'_>, rope: &Turns) -> Vec<f32> {
        let d = self.out.outputs;
        let mut keys = self.key.rows(memory.placed);
        let each = rows_each(keys.len() / d) * d;
        keys[..memory.spatial * d].par_chunks_mut(each).enumerate().for_each(|(i, keys)| {
            rope.turn(keys, i * each / d);
        });
        keys
    }
}

/// Cosines and sines of every place, `[places, d / 2]` each.
pub(in crate::net) struct Turns {
    /// Cosines.
    pub(in crate::net) cos: Vec<f32>,
    /// Sines.
    pub(in crate::net) sin: Vec<f32>,
    /// d / 2.
    pub(in crate::net) half: usize,
}

impl Turns {
    /// Turns rows whose first is token `first`; the places repeat.
    fn turn(&self, rows: &mut [f32], first: usize) {
        let half = self.half;
        let places = self.cos.len() / half;
        maths::wide(
            #[inline(always)]
            || {
                for (i, row) in rows.chunks_exact_mut(2 * half).enumerate() {
                    let at = (first + i) % places * half;
                    let (even, odd) = row.split_at_mut(half);
                    let (cos, sin) = (&self.cos[at..at + half], &self.sin[at..at + half]);
                    maths::turn_pairs(even, odd, cos, sin);
                }
            },
        );
    }
}
