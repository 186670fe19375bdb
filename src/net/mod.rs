//! The SAM 2.1-family network in Burn; with `learn` the only place where tensors live.
//!
//! What decides whether this folder is right: `tests/it/net_*.rs` compare every stage with the reference (1e-4).
//!
//! How to call it (shapes: S = input side, s4 = S/4, s8 = S/8, s16 = S/16, d = d_model):
//! ```text
//! let picked  = device::pick(DeviceWant::Auto)?;              // .device, .description; autodiff: device.autodiff()
//! let card    = ModelCard::from_yaml(text)?;                   // all faults at once
//! let model   = card.network.init(&picked.device)              // untrained Sam2
//!                   .load_file(path, &card.weights)?;          // or .load_bytes(name, bytes, origin); .pt or .safetensors
//! let (x, lb) = card.preprocess.frame(&gray, size, &device);   // [1, 3, S, S] and the Letterbox; any S % 32 == 0
//! let feats   = model.encode_image(x);                         // ImageFeatures { pix_feat [B,d,s16,s16], high_res [s4, s8] }
//! let points  = PointBatch::new(&[lb.network_points(&frame_prompts)]);
//! let out     = model.decode(&feats, &Prompts { points, mask: None }, multimask);        // still image
//! let out     = model.decode_conditioned(pix_feat, high_res, &prompts, multimask);       // after memory attention
//! let (mask, iou, token) = out.best();                         // [B,1,s4,s4], [B,1], [B,d]
//! let native  = lb.logits_to_image(&logits, s4);               // Vec<f32>, h * w of the image
//! let bytes   = model.to_safetensors()?;                       // SAM 2's key names, deterministic
//! ```
//! `Prediction` and [`sam2::Sam2::predict`] wrap one still-image answer in plain numbers.
//! `out.raw` is [`mask_decoder::Candidates`]: masks `[B,4,s4,s4]`, ious `[B,4]`, tokens `[B,4,d]`,
//! object_score_logits `[B,1]`, for training. Logits are never clamped nor gated here. On an autodiff device the
//! stability rule is off and attention keeps its full score matrix. SAM 2's rule for `multimask`: at most one point (a
//! box counts two), [`sam2::wants_multimask`].
//! Parts: `blocks` (Linear `[out,in]`, LayerNorm, LayerNorm2d, Mlp, Deconv2x2, `conv`, `attend`, `to_tokens`, sine
//! encodings), `resize` (bilinear, antialiased, bicubic as matrices), the rest as in SAM 2.

pub mod blocks;
pub mod bridge;
pub mod budget;
mod card_reader;
pub mod cards;
pub mod closer;
pub mod config;
mod cpu;
pub mod device;
pub mod findings;
pub mod follow;
#[cfg(feature = "gpu")]
mod gpu;
#[cfg(not(feature = "gpu"))]
#[path = "no_gpu.rs"]
mod gpu;
pub mod gpu_memory;
pub mod half;
pub mod image_encoder;
pub mod import;
pub mod letterbox;
pub mod library;
pub mod mask_decoder;
pub mod memory_attention;
pub mod memory_bank;
pub mod memory_encoder;
pub mod predict;
pub mod prompt_encoder;
pub mod resize;
pub mod sam2;
pub mod stages;
pub mod threads;
mod torch_zip;
pub mod tracker;
pub mod traffic;
pub mod weights;
