//! The mask decoder's heavy parts: tokens and image talking to each other, and the way up to the masks.
//!
//! What decides whether this file is right: an image row is read and written once per layer, so its answer to the tokens
//! and its keys for the next layer are made together; else it is `TwoWayTransformer::forward` and `Upscaling::forward`,
//! and the test compares them.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::attention::{self, attend};
use super::layers::{Affine, Norm, Pair, room, rows_each, turned};
use super::maths;
use super::product::{Mat, product};
use crate::net::blocks::{Deconv2x2, constant};
use crate::net::device::Host;
use crate::net::mask_decoder::{TwoWayAttention, TwoWayLayer, TwoWayTransformer, Upscaling};

/// An attention's projections.
struct Attention {
    query: Affine,
    key: Affine,
    value: Affine,
    out: Affine,
    heads: usize,
}

struct Layer {
    own: Attention,
    norm1: Norm,
    to_image: Attention,
    norm2: Norm,
    mlp: Pair,
    norm3: Norm,
    to_tokens: Attention,
    norm4: Norm,
    first: bool,
}

/// What an image gives to a layer's tokens and asks of them, `[n, inner]` each.
struct Offered {
    keys: Vec<f32>,
    values: Vec<f32>,
    /// Empty for the last look.
    queries: Vec<f32>,
}

/// `TwoWayTransformer::forward` on the CPU: image tokens `[B, n, d]`, their encoding, query tokens `[B, t, d]`.
pub(in crate::net) fn two_way(
    transformer: &TwoWayTransformer,
    image: &Tensor<3>,
    image_pe: &Tensor<3>,
    tokens: &Tensor<3>,
) -> Option<(Tensor<3>, Tensor<3>)> {
    let ([b, n, d], [_, t, _]) = (image.dims(), tokens.dims());
    if image_pe.dims()[0] != 1 {
        return None;
    }
    let (images, place, all) = (Host::of(image)?, Host::of(image_pe)?, Host::of(tokens)?);
    let layers: Vec<Layer> = transformer.layers.iter().map(Layer::of).collect::<Option<_>>()?;
    let last = Attention::of(&transformer.final_attn_token_to_image)?;
    let norm = Norm::of(&transformer.norm_final_attn)?;
    let (mut new_images, mut new_tokens) = (Vec::new(), Vec::new());
    for (image, start) in images.chunks_exact(n * d).zip(all.chunks_exact(t * d)) {
        let mut image = image.to_vec();
        let mut tokens = start.to_vec();
        for layer in &layers {
            let asks = Some(&layer.to_tokens.query);
            let offered = offer(&layer.to_image, asks, &image, &place, d);
            tokens = layer.tokens(tokens, start, &offered);
            layer.answer(&offered.queries, &tokens, start, &mut image);
        }
        let offered = offer(&last, None, &image, &place, d);
        let seen = last.look(&summed(&tokens, start), &offered);
        maths::add(&mut tokens, &seen);
        norm.apply_to(&mut tokens);
        new_images.extend(image);
        new_tokens.extend(tokens);
    }
    let device = image.device();
    Some((constant(new_tokens, [b, t, d], &device), constant(new_images, [b, n, d], &device)))
}

fn summed(a: &[f32], b: &[f32]) -> Vec<f32> {
    let mut out = a.to_vec();
    maths::add(&mut out, b);
    out
}

/// Keys and values of the image for `to`, and its queries by `asks`.
fn offer(to: &Attention, asks: Option<&Affine>, image: &[f32], place: &[f32], d: usize) -> Offered {
    let n = image.len() / d;
    let (inner, each) = (to.key.outputs, rows_each(n));
    let mut keys = vec![0.0; n * inner];
    let mut values = keys.clone();
    let mut queries = vec![0.0; if asks.is_some() { n * inner } else { 0 }];
    let asked: Vec<&mut [f32]> = match asks {
        Some(_) => queries.chunks_mut(each * inner).collect(),
        None => (0..n.div_ceil(each)).map(|_| Default::default()).collect(),
    };
    let parts = keys.par_chunks_mut(each * inner).zip(values.par_chunks_mut(each * inner));
    let parts = parts.zip(asked).zip(image.par_chunks(each * d).zip(place.par_chunks(each * d)));
    parts.for_each_init(Vec::new, |placed, (((keys, values), queries), (image, place))| {
        let count = image.len() / d;
        let placed = room(placed, image.len());
        placed.copy_from_slice(image);
        maths::add(placed, place);
        let placed = Mat::new(placed, count, d);
        to.key.apply(placed, keys);
        to.value.apply(Mat::new(image, count, d), values);
        if let Some(asks) = asks {
            asks.apply(placed, queries);
        }
    });
    Offered { keys, values, queries }
}

impl Attention {
    fn of(layer: &TwoWayAttention) -> Option<Self> {
        Some(Self {
            query: Affine::of(&layer.q_proj)?,
            key: Affine::of(&layer.k_proj)?,
            value: Affine::of(&layer.v_proj)?,
            out: Affine::of(&layer.out_proj)?,
            heads: layer.heads,
        })
    }

    /// Projected queries `[n, inner]` over keys and values `[m, inner]`, into `out` `[n, inner]`.
    fn mix(
        &self,
        [queries, keys, values]: [&[f32]; 3],
        out: &mut [f32],
        scratch: &mut attention::Scratch,
    ) {
        let inner = self.query.outputs;
        let d = inner / self.heads;
        let scale = 1.0 / (d as f32).sqrt();
        for head in 0..self.heads {
            let parts = [queries, keys, values]
                .map(|x| Mat::strided(&x[head * d..], x.len() / inner, d, inner));
            attend(parts, scale, 1, &mut out[head * d..], inner, scratch);
        }
    }

    /// Tokens look at the image: `[t, d]` to `[t, d]`.
    fn look(&self, asking: &[f32], offered: &Offered) -> Vec<f32> {
        let (d, inner) = (self.query.inputs, self.query.outputs);
        let t = asking.len() / d;
        let mut queries = vec![0.0; t * inner];
        self.query.apply(Mat::new(asking, t, d), &mut queries);
        let mut mixed = vec![0.0; t * inner];
        let parts = [&queries[..], &offered.keys, &offered.values];
        self.mix(parts, &mut mixed, &mut attention::Scratch::default());
        let mut out = vec![0.0; t * d];
        self.out.apply(Mat::new(&mixed, t, inner), &mut out);
        out
    }

    /// Rows `x` `[n, inputs]` through a projection.
    fn project(layer: &Affine, x: &[f32]) -> Vec<f32> {
        let n = x.len() / layer.inputs;
        let mut out = vec![0.0; n * layer.outputs];
        layer.apply(Mat::new(x, n, layer.inputs), &mut out);
        out
    }
}

impl Layer {
    fn of(layer: &TwoWayLayer) -> Option<Self> {
        let [into, out] = &layer.mlp.layers[..] else { return None };
        Some(Self {
            own: Attention::of(&layer.self_attn)?,
            norm1: Norm::of(&layer.norm1)?,
            to_image: Attention::of(&layer.cross_attn_token_to_image)?,
            norm2: Norm::of(&layer.norm2)?,
            mlp: Pair { into: Affine::of(into)?, out: Affine::of(out)?, activation: maths::relu },
            norm3: Norm::of(&layer.norm3)?,
            to_tokens: Attention::of(&layer.cross_attn_image_to_token)?,
            norm4: Norm::of(&layer.norm4)?,
            first: layer.first,
        })
    }

    /// The tokens' half of the layer; `start` is their encoding.
    fn tokens(&self, mut tokens: Vec<f32>, start: &[f32], offered: &Offered) -> Vec<f32> {
        let asking = if self.first { tokens.clone() } else { summed(&tokens, start) };
        let own = Offered {
            keys: Attention::project(&self.own.key, &asking),
            values: Attention::project(&self.own.value, &tokens),
            queries: Vec::new(),
        };
        let seen = self.own.look(&asking, &own);
        if self.first {
            tokens = seen;
        } else {
            maths::add(&mut tokens, &seen);
        }
        self.norm1.apply_to(&mut tokens);
        let seen = self.to_image.look(&summed(&tokens, start), offered);
        maths::add(&mut tokens, &seen);
        self.norm2.apply_to(&mut tokens);
        let before = tokens.clone();
        let d = self.mlp.into.inputs;
        self.mlp.add(Mat::new(&before, before.len() / d, d), &mut Vec::new(), &mut tokens);
        self.norm3.apply_to(&mut tokens);
        tokens
    }

    /// The image's half: its rows ask the tokens.
    fn answer(&self, queries: &[f32], tokens: &[f32], start: &[f32], image: &mut [f32]) {
        let (d, inner) = (self.to_tokens.query.inputs, self.to_tokens.query.outputs);
        let keys = Attention::project(&self.to_tokens.key, &summed(tokens, start));
        let values = Attention::project(&self.to_tokens.value, tokens);
        let each = rows_each(image.len() / d);
        let parts = image.par_chunks_mut(each * d).zip(queries.par_chunks(each * inner));
        parts.for_each_init(
            <(Vec<f32>, attention::Scratch)>::default,
            |(mixed, scratch), (image, queries)| {
                let mixed = room(mixed, queries.len());
                self.to_tokens.mix([queries, &keys, &values], mixed, scratch);
                self.to_tokens.out.add(Mat::new(mixed, image.len() / d, inner), image);
                self.norm4.apply_to(image);
            },
        );
    }
}

/// A transposed convolution whose outputs stand cell by cell, `[inputs, 2, 2, outputs]`.
struct Doubling {
    weight: Vec<f32>,
    bias: Host,
    inputs: usize,
    outputs: usize,
}

impl Doubling {
    fn of(layer: &Deconv2x2) -> Option<Self> {
        let weight = layer.weight.val();
        let [inputs, outputs, _, _] = weight.dims();
        let by_cell = Host::of(&weight)?;
        let weight = by_cell.chunks_exact(outputs * 4).flat_map(|w| turned(w, 4)).collect();
        Some(Self { weight, bias: Host::of(&layer.bias.val())?, inputs, outputs })
    }

    /// One grid row of `w` tokens to two rows of `2 w`, added to the rows of `out` and shifted by the bias.
    fn add(&self, x: &[f32], cells: &mut Vec<f32>, out: &mut [f32]) {
        let w = x.len() / self.inputs;
        let c = self.outputs;
        let cells = room(cells, w * 4 * c);
        let weight = Mat::new(&self.weight, self.inputs, 4 * c);
        product(Mat::new(x, w, self.inputs), weight, 1.0, false, cells, 4 * c);
        maths::add_to_rows(out, &self.bias);
        let (above, below) = out.split_at_mut(2 * w * c);
        for (i, cells) in cells.chunks_exact(4 * c).enumerate() {
            maths::add(&mut above[i * 2 * c..][..2 * c], &cells[..2 * c]);
            maths::add(&mut below[i * 2 * c..][..2 * c], &cells[2 * c..]);
        }
    }
}

/// `Upscaling::forward` on the CPU, from image tokens `[B, h * w, d]` to `[B, d / 8, 4 h, 4 w]`.
pub(in crate::net) fn upscale(
    upscaling: &Upscaling,
    image: &Tensor<3>,
    [h, w]: [usize; 2],
    [s4, s8]: &[Tensor<4>; 2],
) -> Option<Tensor<4>> {
    let [b, n, d] = image.dims();
    let (first, second) = (Doubling::of(&upscaling.n0)?, Doubling::of(&upscaling.n3)?);
    let norm = Norm::of_2d(&upscaling.n1)?;
    let images = Host::of(image)?;
    let fine = [rows_of(s4)?, rows_of(s8)?];
    let mut out = Vec::new();
    for (i, image) in images.chunks_exact(n * d).enumerate() {
        // A single image's features serve every prompt.
        let [s4, s8] = &fine;
        let (s4, s8) = (&s4[i % s4.len()], &s8[i % s8.len()]);
        let mut done = s4.clone();
        let row = 16 * w * second.outputs;
        let parts = done.par_chunks_mut(row).zip(s8.par_chunks(4 * w * first.outputs));
        let parts = parts.zip(image.par_chunks(w * d));
        parts.for_each_init(
            <(Vec<f32>, Vec<f32>)>::default,
            |(middle, cells), ((done, s8), image)| {
                let middle = room(middle, s8.len());
                middle.copy_from_slice(s8);
                first.add(image, cells, middle);
                norm.apply_to(middle);
                maths::gelu(middle);
                let halves = middle.chunks_exact(s8.len() / 2);
                for (middle, done) in halves.zip(done.chunks_exact_mut(row / 2)) {
                    second.add(middle, cells, done);
                    maths::gelu(done);
                }
            },
        );
        out.extend(turned(&done, second.outputs));
    }
    Some(constant(out, [b, second.outputs, 4 * h, 4 * w], &image.device()))
}

/// Each image of a map as rows of channels.
fn rows_of(map: &Tensor<4>) -> Option<Vec<Vec<f32>>> {
    let [_, c, h, w] = map.dims();
    let planes = Host::of(map)?;
    Some(planes.chunks_exact(c * h * w).map(|planes| turned(planes, h * w)).collect())
}

/// `RandomPe::dense` on the CPU: the encoding of every cell centre, `[1, d, h, w]`, from the matrix `[2, d / 2]`.
///
/// The angle of a cell is a sum of one part by its column and one by its row, so only h + w sines are taken per channel.
pub(in crate::net) fn dense_place(matrix: &Tensor<2>, [h, w]: [usize; 2]) -> Option<Tensor<4>> {
    let half = matrix.dims()[1];
    let by_axis = Host::of(matrix)?;
    let axis = |n: usize, gauss: f32| -> Vec<(f32, f32)> {
        let turn = |i: usize| (2.0 * (i as f64 + 0.5) / n as f64 - 1.0) * f64::from(gauss);
        let wave = |i| (turn(i) * std::f64::consts::TAU).sin_cos();
        (0..n).map(wave).map(|(s, c)| (s as f32, c as f32)).collect()
    };
    let mut out = vec![0.0; 2 * half * h * w];
    let (sines, cosines) = out.split_at_mut(half * h * w);
    let planes = sines.par_chunks_mut(h * w).zip(cosines.par_chunks_mut(h * w)).enumerate();
    planes.for_each(|(j, (sines, cosines))| {
        let (across, down) = (axis(w, by_axis[j]), axis(h, by_axis[half + j]));
        let rows = sines.chunks_exact_mut(w).zip(cosines.chunks_exact_mut(w)).zip(&down);
        for ((sines, cosines), (sy, cy)) in rows {
            for ((sine, cosine), (sx, cx)) in sines.iter_mut().zip(cosines).zip(&across) {
                *sine = sx * cy + cx * sy;
                *cosine = cx * cy - sx * sy;
            }
        }
    });
    Some(constant(out, [1, 2 * half, h, w], &matrix.device()))
}
