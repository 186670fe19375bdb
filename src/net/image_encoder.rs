//! Hiera trunk and FPN neck (`backbones/hieradet.py`, `backbones/image_encoder.py`).
//!
//! What decides whether this file is right: a block's window belongs to the stage it comes *from* (the first block of
//! stage k uses the window of stage k-1); windows are padded with zeros *after* norm1 and the padding takes part in the
//! softmax; queries, not keys, are pooled inside each window; only the two coarse levels get top-down input.

use super::blocks::{
    Activation, EPS_FINE, LayerNorm, Linear, Mlp, attend, conv, convolved, in_dtype, join_heads,
    nchw, nhwc, split_heads,
};
use super::config::{ModelConfig, NeckConfig, TrunkConfig};
use super::cpu;
use super::resize::{Kernel, nearest2x, resize};
use burn::module::{Initializer, Module, Param};
use burn::nn::conv::Conv2d;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{DType, Device, Tensor};

/// Trunk and neck.
#[derive(Module, Debug)]
pub struct ImageEncoder {
    /// Hierarchical transformer.
    pub trunk: Hiera,
    /// Feature pyramid.
    pub neck: FpnNeck,
}

impl ImageEncoder {
    /// An untrained encoder.
    pub fn init(config: &ModelConfig, device: &Device) -> Self {
        Self {
            trunk: Hiera::init(&config.trunk, device),
            neck: FpnNeck::init(&config.neck, &config.trunk, device),
        }
    }

    /// Image `[B, 3, S, S]` to the pyramid, finest first: `[B, d, S/4, S/4]`, `/8`, `/16`, `/32`. Computed in the
    /// precision of the weights (see [`super::half`]), handed on in that of the image.
    pub fn forward(&self, image: Tensor<4>) -> Vec<Tensor<4>> {
        let (outer, own) = (image.dtype(), self.dtype());
        let pyramid = self.neck.forward(self.trunk.forward(in_dtype(image, own)));
        pyramid.into_iter().map(|level| in_dtype(level, outer)).collect()
    }

    /// The precision of its weights.
    pub fn dtype(&self) -> DType {
        self.trunk.patch_embed.proj.weight.val().dtype()
    }
}

/// The trunk: four stages, each half as fine and twice as wide as the one before.
#[derive(Module, Debug)]
pub struct Hiera {
    /// Global position embedding `[1, C, gh, gw]`, resized to the token grid.
    pub pos_embed: Param<Tensor<4>>,
    /// Position inside a window `[1, C, w, w]`, tiled over the token grid.
    pub pos_embed_window: Param<Tensor<4>>,
    /// Image to tokens.
    pub patch_embed: PatchEmbed,
    /// All blocks of all stages.
    pub blocks: Vec<HieraBlock>,
    /// Last block of each stage.
    #[module(skip)]
    pub(super) stage_ends: Vec<usize>,
}

/// The stem convolution.
#[derive(Module, Debug)]
pub struct PatchEmbed {
    /// 3 to C, kernel 7, stride 4, padding 3.
    pub proj: Conv2d,
}

impl Hiera {
    /// An untrained trunk.
    pub fn init(config: &TrunkConfig, device: &Device) -> Self {
        let c = config.embed_dim;
        let [gh, gw] = [
            config.window_pos_embed_bkg_spatial_size[0],
            config.window_pos_embed_bkg_spatial_size[1],
        ];
        let w = config.window_spec[0];
        let position = Initializer::Normal { mean: 0.0, std: 0.02 };
        let mut stage_ends: Vec<usize> = Vec::new();
        let mut blocks = Vec::new();
        for (stage, count) in config.stages.iter().enumerate() {
            for k in 0..*count {
                let i = blocks.len();
                let first_of_later = k == 0 && stage > 0;
                let from = stage - usize::from(first_of_later);
                let global = config.global_att_blocks.contains(&i);
                blocks.push(HieraBlock::init(
                    [c << from, c << stage],
                    config.num_heads << stage,
                    if global { 0 } else { config.window_spec[from] },
                    first_of_later,
                    device,
                ));
            }
            stage_ends.push(blocks.len() - 1);
        }
        Self {
            pos_embed: position.init([1, c, gh, gw], device),
            pos_embed_window: position.init([1, c, w, w], device),
            patch_embed: PatchEmbed { proj: conv([3, c], 7, 4, 3, 1, device) },
            blocks,
            stage_ends,
        }
    }

    /// What is added to the tokens once: `[1, h, w, C]`, in full precision.
    pub fn position(&self, [h, w]: [usize; 2]) -> Tensor<4> {
        let window = in_dtype(self.pos_embed_window.val(), DType::F32);
        let side = window.dims()[2];
        let tiled = window.repeat(&[1, 1, h / side, w / side]);
        let whole = in_dtype(self.pos_embed.val(), DType::F32);
        nhwc(resize(whole, [h, w], Kernel::Bicubic) + tiled)
    }

    /// Image `[B, 3, S, S]` to one map per stage, finest first: `[B, C 2^k, S/2^(k+2), S/2^(k+2)]`.
    pub fn forward(&self, image: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.embed(image);
        let mut maps = Vec::with_capacity(self.stage_ends.len());
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(x);
            if self.stage_ends.contains(&i) {
                maps.push(nchw(x.clone()));
            }
        }
        maps
    }

    /// Image `[B, 3, S, S]` to tokens with positions `[B, S/4, S/4, C]`.
    pub fn embed(&self, image: Tensor<4>) -> Tensor<4> {
        let x = nhwc(convolved(&self.patch_embed.proj, image));
        let [_, h, w, _] = x.dims();
        let position = in_dtype(self.position([h, w]), x.dtype());
        x + position
    }
}

/// One multi-scale block (`MultiScaleBlock`).
#[derive(Module, Debug)]
pub struct HieraBlock {
    /// Before attention.
    pub norm1: LayerNorm,
    /// Windowed or global attention.
    pub attn: HieraAttention,
    /// Before the MLP.
    pub norm2: LayerNorm,
    /// C to 4C to C.
    pub mlp: Mlp,
    /// Widens the shortcut where the width changes.
    pub proj: Option<Linear>,
    /// Window side, 0 = global.
    pub(super) window: usize,
    /// Whether this block halves the grid.
    pub(super) pool: bool,
}

impl HieraBlock {
    fn init(
        [from, to]: [usize; 2],
        heads: usize,
        window: usize,
        pool: bool,
        device: &Device,
    ) -> Self {
        Self {
            norm1: LayerNorm::init(from, EPS_FINE, device),
            attn: HieraAttention {
                qkv: Linear::init(from, 3 * to, device),
                proj: Linear::init(to, to, device),
                heads,
            },
            norm2: LayerNorm::init(to, EPS_FINE, device),
            mlp: Mlp::init(&[to, 4 * to, to], Activation::Gelu, device),
            proj: (from != to).then(|| Linear::init(from, to, device)),
            window,
            pool,
        }
    }

    /// `[B, h, w, C]` to `[B, h, w, C']`, or half of h and w in a pooling block.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.norm1.forward(x.clone());
        let shortcut = match &self.proj {
            // The widened shortcut starts from the normed value, the plain one does not.
            Some(proj) => self.pooled(proj.forward(y.clone())),
            None => x,
        };
        let [b, h, w, _] = y.dims();
        let y = if self.window == 0 {
            self.attn.forward(y, self.pool)
        } else {
            let padded = pad_to_windows(y, self.window);
            let [_, ph, pw, _] = padded.dims();
            let y = self.attn.forward(to_windows(padded, self.window), self.pool);
            let shrink = if self.pool { 2 } else { 1 };
            let y = from_windows(y, b, [ph / shrink, pw / shrink]);
            y.narrow(1, 0, h / shrink).narrow(2, 0, w / shrink)
        };
        let x = shortcut + y;
        self.mlp.added_to(x.clone(), self.norm2.forward(x))
    }

    fn pooled(&self, x: Tensor<4>) -> Tensor<4> {
        if self.pool { pool_nhwc(x) } else { x }
    }
}

/// Multi-head attention inside each window (`MultiScaleAttention`).
#[derive(Module, Debug)]
pub struct HieraAttention {
    /// C to 3 C'.
    pub qkv: Linear,
    /// C' to C'.
    pub proj: Linear,
    pub(super) heads: usize,
}

impl HieraAttention {
    /// `[N, h, w, C]` to `[N, h, w, C']`, or half of h and w when the queries are pooled.
    pub fn forward(&self, x: Tensor<4>, pool: bool) -> Tensor<4> {
        let [n, h, w, from] = x.dims();
        let qkv = self.qkv.forward(x.reshape([n, h * w, from]));
        let c = qkv.dims()[2] / 3;
        let part = |i: usize| qkv.clone().narrow(2, i * c, c);
        let (mut q, mut oh, mut ow) = (part(0), h, w);
        if pool {
            let map = pool_nhwc(q.reshape([n, h, w, c]));
            (oh, ow) = (map.dims()[1], map.dims()[2]);
            q = map.reshape([n, oh * ow, c]);
        }
        let heads = |t: Tensor<3>| split_heads(t, self.heads);
        let y = attend(heads(q), heads(part(1)), heads(part(2)));
        self.proj.forward(join_heads(y)).reshape([n, oh, ow, c])
    }
}

/// Max of each 2x2 cell: `[B, h, w, C]` to `[B, h/2, w/2, C]`.
fn pool_nhwc(x: Tensor<4>) -> Tensor<4> {
    if let Some(pooled) = cpu::pool(&x) {
        return pooled;
    }
    let options = MaxPoolOptions { stride: [2, 2], ..MaxPoolOptions::new([2, 2]) };
    nhwc(max_pool2d(nchw(x), options))
}

/// Zeros at the bottom and the right up to a multiple of the window.
fn pad_to_windows(x: Tensor<4>, window: usize) -> Tensor<4> {
    let [b, h, w, c] = x.dims();
    let (ph, pw) = (h.next_multiple_of(window) - h, w.next_multiple_of(window) - w);
    let (device, dtype) = (x.device(), x.dtype());
    let more = |shape: [usize; 4]| in_dtype(Tensor::zeros(shape, &device), dtype);
    let x = if ph == 0 { x } else { Tensor::cat(vec![x, more([b, ph, w, c])], 1) };
    if pw == 0 { x } else { Tensor::cat(vec![x, more([b, h + ph, pw, c])], 2) }
}

/// `[B, h, w, C]` to `[B * windows, side, side, C]`; h and w are multiples of the side.
fn to_windows(x: Tensor<4>, side: usize) -> Tensor<4> {
    let [b, h, w, c] = x.dims();
    let (rows, columns) = (h / side, w / side);
    let x = x.reshape([b, rows, side, columns, side, c]).permute([0, 1, 3, 2, 4, 5]);
    x.reshape([b * rows * columns, side, side, c])
}

/// Undoes [`to_windows`] for a grid of `h x w`.
fn from_windows(x: Tensor<4>, b: usize, [h, w]: [usize; 2]) -> Tensor<4> {
    let [_, side, _, c] = x.dims();
    let (rows, columns) = (h / side, w / side);
    let x = x.reshape([b, rows, columns, side, side, c]).permute([0, 1, 3, 2, 4, 5]);
    x.reshape([b, h, w, c])
}

/// Feature pyramid (`FpnNeck`, nearest, sum).
#[derive(Module, Debug)]
pub struct FpnNeck {
    /// 1x1 convolutions, the deepest stage first.
    pub convs: Vec<NeckConv>,
    #[module(skip)]
    pub(super) top_down: Vec<usize>,
}

/// One lateral convolution.
#[derive(Module, Debug)]
pub struct NeckConv {
    /// Stage width to d_model.
    pub conv: Conv2d,
}

impl FpnNeck {
    /// An untrained neck.
    pub fn init(config: &NeckConfig, trunk: &TrunkConfig, device: &Device) -> Self {
        let lateral = |k: usize| NeckConv {
            conv: conv([trunk.embed_dim << k, config.d_model], 1, 1, 0, 1, device),
        };
        Self {
            convs: (0..4).rev().map(lateral).collect(),
            top_down: config.fpn_top_down_levels.clone(),
        }
    }

    /// Trunk maps, finest first, to pyramid levels of equal width, finest first.
    pub fn forward(&self, maps: Vec<Tensor<4>>) -> Vec<Tensor<4>> {
        let mut levels: Vec<Tensor<4>> = Vec::with_capacity(maps.len());
        let last = maps.len() - 1;
        for (k, map) in maps.into_iter().enumerate().rev() {
            let lateral = convolved(&self.convs[last - k].conv, map);
            levels.push(match levels.last() {
                Some(coarser) if self.top_down.contains(&k) => lateral + nearest2x(coarser.clone()),
                _ => lateral,
            });
        }
        levels.reverse();
        levels
    }
}
