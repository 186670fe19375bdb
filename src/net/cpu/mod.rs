//! The stages of the network as kernels for the CPU: what inference without a GPU runs.
//!
//! The network is written once, in Burn's operations, in the files beside this folder; those run in training and, with
//! the kernels of `gpu` for what takes the time, on a GPU. Each function here does what one of them does, on plain slices,
//! and gives `None` wherever a weight or an input is not on the CPU or follows gradients: the caller then takes the other
//! way (`learning` holds what has gradients of its own). What the kernels gain by: products in blocks that stay in the
//! cache from norm to residual; attention without its score matrix; windows, pooling and padding without copies of the
//! map; pairs of linear maps merged into one.
//!
//! What decides whether this folder is right: every stage equals Burn's to 1e-4 (`tests/it/net_cpu.rs`), and so the
//! reference (`net_image.rs`, `net_video.rs`).

mod attention;
mod decoder;
mod descent;
mod encoder;
mod layers;
mod learning;
mod maths;
mod memory_attention;
mod memory_encoder;
mod product;
mod trunk;

pub(super) use decoder::{dense_place, two_way, upscale};
pub(super) use descent::descend;
pub(super) use encoder::encode;
pub(super) use learning::{convolve, gelu, norm, pool, softmax};
pub(super) use memory_attention::{Turns, begin_read, read_memory};
pub(super) use memory_encoder::{encode_memory, memory_mask};
