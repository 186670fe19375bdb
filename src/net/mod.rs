//! The SAM 2.1-family network in Burn.

mod blocks;
mod card_reader;
pub mod config;
mod memory_attention;
mod memory_bank;
mod memory_encoder;
mod resize;
mod tracker;
