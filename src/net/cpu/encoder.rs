//! The image encoder from pixels to what the decoder reads.
//!
//! What decides whether this file is right: the two fine levels of the pyramid are nothing but 1x1 convolutions of which
//! only the decoder's 1x1 convolutions are read, so both become one; the coarsest level only adds to the one above it.

use burn::tensor::Tensor;

use super::layers::{Affine, Patches, turned};
use super::maths;
use super::trunk::Block;
use crate::net::blocks::constant;
use crate::net::device::Host;
use crate::net::image_encoder::Hiera;
use crate::net::resize::{Kernel, Taps, taps};
use crate::net::sam2::{ImageFeatures, Sam2};

/// Kernel, stride and padding of the stem.
const STEM: [usize; 3] = [7, 4, 3];

/// All layers from the image to its features.
struct Encoder {
    stem: Affine,
    position: Position,
    blocks: Vec<Block>,
    stage_ends: Vec<usize>,
    /// 1x1 convolutions, finest first; the two finest are merged with the decoder's.
    laterals: [Affine; 4],
}

/// `Sam2::encode_image` on the CPU; `None` where its layers or its input lie elsewhere.
pub(in crate::net) fn encode(sam: &Sam2, image: &Tensor<4>) -> Option<ImageFeatures> {
    let [b, channels, h, w] = image.dims();
    let [_, stride, _] = STEM;
    let fits = h == w && h.is_multiple_of(32) && channels == 3;
    let pixels = Host::of(image)?;
    let encoder = Encoder::of(sam)?;
    if !fits || !encoder.position.fits(h / stride) {
        return None;
    }
    let mut levels: [Vec<f32>; 3] = Default::default();
    for image in pixels.chunks_exact(channels * h * w) {
        for (level, planes) in levels.iter_mut().zip(encoder.forward(image, [h, w])) {
            // A single image, the usual case, is not copied.
            if level.is_empty() { *level = planes } else { level.extend(planes) }
        }
    }
    let device = image.device();
    let [s4, s8, s16] = levels;
    let map = |planes: Vec<f32>, side: usize| {
        let c = planes.len() / (b * side * side);
        constant(planes, [b, c, side, side], &device)
    };
    Some(ImageFeatures::new(map(s16, h / 16), [map(s4, h / 4), map(s8, h / 8)]))
}

impl Encoder {
    fn of(sam: &Sam2) -> Option<Self> {
        let trunk = &sam.image_encoder.trunk;
        let neck = &sam.image_encoder.neck;
        // Only the second coarsest level may get top-down input; the coarsest has nothing above it.
        let usual = neck.top_down.contains(&2) && !neck.top_down.iter().any(|level| *level < 2);
        let convs: Option<Vec<Affine>> =
            neck.convs.iter().rev().map(|lateral| Affine::of_conv(&lateral.conv)).collect();
        let [s4, s8, s16, s32]: [Affine; 4] = convs?.try_into().ok()?;
        let decoder = &sam.sam_mask_decoder;
        let (to_s4, to_s8) =
            (Affine::of_conv(&decoder.conv_s0)?, Affine::of_conv(&decoder.conv_s1)?);
        if !usual || to_s4.inputs != s4.outputs || to_s8.inputs != s8.outputs {
            return None;
        }
        Some(Self {
            stem: Affine::of_conv(&trunk.patch_embed.proj)?,
            position: Position::of(trunk)?,
            blocks: trunk.blocks.iter().map(Block::of).collect::<Option<_>>()?,
            stage_ends: trunk.stage_ends.clone(),
            laterals: [s4.followed_by(&to_s4), s8.followed_by(&to_s8), s16, s32],
        })
    }

    /// One image `[3, h, w]` to the planes of s4, s8 and s16.
    fn forward(&self, image: &[f32], size: [usize; 2]) -> [Vec<f32>; 3] {
        let [kernel, stride, pad] = STEM;
        let patches = Patches { planes: image, size, kernel, stride, pad };
        let mut grid = patches.out_size();
        let position = self.position.at(grid);
        let mut x = patches.convolve(&self.stem, |y, row| position.add_to(y, row));
        let mut maps: Vec<(Vec<f32>, usize)> = Vec::with_capacity(4);
        for (i, block) in self.blocks.iter().enumerate() {
            (x, grid) = block.forward(&x, grid);
            if let Some(level) = self.stage_ends.iter().position(|end| *end == i) {
                // The stage's last map is read twice: by the neck and by the next stage.
                maps.push((self.laterals[level].rows(&x), grid[1]));
            }
        }
        let mut planes = maps.into_iter();
        let mut next = || planes.next().unwrap_or_default();
        let [(s4, _), (s8, _), (mut s16, width), (s32, half)] = [next(), next(), next(), next()];
        let d = self.laterals[2].outputs;
        for (i, row) in s16.chunks_exact_mut(d).enumerate() {
            let at = (i / width / 2 * half + i % width / 2) * d;
            maths::add(row, &s32[at..at + d]);
        }
        [
            turned(&s4, self.laterals[0].outputs),
            turned(&s8, self.laterals[1].outputs),
            turned(&s16, d),
        ]
    }
}

/// The two learned position embeddings, as rows of channels.
struct Position {
    /// `[rows, columns, C]`, to be resized to the token grid.
    global: Vec<f32>,
    size: [usize; 2],
    /// `[side, side, C]`, tiled over it.
    window: Vec<f32>,
    side: usize,
    channels: usize,
}

/// [`Position`] for one grid.
struct Placed<'a> {
    of: &'a Position,
    /// `[rows, columns of the grid, C]`: resized along x only.
    wide: Vec<f32>,
    down: Vec<Taps>,
}

impl Position {
    fn of(trunk: &Hiera) -> Option<Self> {
        let (global, window) = (trunk.pos_embed.val(), trunk.pos_embed_window.val());
        let ([_, channels, h, w], [_, _, side, _]) = (global.dims(), window.dims());
        Some(Self {
            global: turned(&Host::of(&global)?, h * w),
            size: [h, w],
            window: turned(&Host::of(&window)?, side * side),
            side,
            channels,
        })
    }

    /// Whether the window's embedding tiles a grid of this side.
    fn fits(&self, side: usize) -> bool {
        side.is_multiple_of(self.side)
    }

    fn at(&self, [rows, columns]: [usize; 2]) -> Placed<'_> {
        let c = self.channels;
        let across = taps(self.size[1], columns, Kernel::Bicubic);
        let mut wide = vec![0.0; self.size[0] * columns * c];
        for (from, to) in
            self.global.chunks_exact(self.size[1] * c).zip(wide.chunks_exact_mut(columns * c))
        {
            for (tap, to) in across.iter().zip(to.chunks_exact_mut(c)) {
                for (weight, from) in tap.weights.iter().zip(from[tap.first * c..].chunks_exact(c))
                {
                    maths::add_scaled(to, from, *weight);
                }
            }
        }
        Placed { of: self, wide, down: taps(self.size[0], rows, Kernel::Bicubic) }
    }
}

impl Placed<'_> {
    /// Adds the positions of grid row `y` to its tokens.
    fn add_to(&self, y: usize, row: &mut [f32]) {
        let tap = &self.down[y];
        let parts = self.wide[tap.first * row.len()..].chunks_exact(row.len());
        for (weight, part) in tap.weights.iter().zip(parts) {
            maths::add_scaled(row, part, *weight);
        }
        let across = self.of.side * self.of.channels;
        let window = &self.of.window[y % self.of.side * across..][..across];
        maths::add_to_rows(row, window);
    }
}
