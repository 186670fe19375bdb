//! `sonomark bench memory`: does a long clip need more memory than a short one?
//!
//! Frames stream through the whole engine (encoder, memory, decoder, motion) and nothing keeps them; the resident set
//! of the process is read on the way.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use crate::domain::GrayFrame;
use crate::engine::{Anchor, Direction, Image, NetSegmenter, Segmenter};

use super::Failure;
use super::bench::prompts;

/// Features of so many frames are kept: fewer than [`EARLY`], so that both readings have a full cache.
const KEPT_FRAMES: usize = 64;
/// The frame after which the first reading is taken.
const EARLY: usize = 500;

/// Tracks `count` frames, the pictures of `clip` over and over; `goes_on` is told after each.
pub(super) fn report(
    mut network: NetSegmenter,
    clip: &[Arc<GrayFrame>],
    count: usize,
    goes_on: &dyn Fn(),
) -> Result<Value, Failure> {
    if count < EARLY + 1 {
        return Err(Failure::Input(format!("--frames must be more than {EARLY}")));
    }
    let who = network.info();
    let image = |frame: usize| Image { frame, pixels: &clip[frame % clip.len()] };
    network.open_clip(count);
    network.keep_features_of(KEPT_FRAMES, image(0)).map_err(Failure::ours)?;
    network.begin_walk(true);
    network.anchor(image(0), &Anchor::Prompts(prompts())).map_err(Failure::ours)?;
    let begun = Instant::now();
    let (mut early, mut most) = (f64::NAN, 0.0f64);
    for frame in 1..count {
        let next = Some(image(frame + 1));
        network.follow(image(frame), Direction::Forward, next).map_err(Failure::ours)?;
        goes_on();
        if frame == EARLY {
            early = resident_mib()?;
        }
        if frame.is_multiple_of(100) {
            most = most.max(resident_mib()?);
        }
    }
    let late = resident_mib()?;
    Ok(json!({
        "model": who.model,
        "device": who.device,
        "frames": count,
        "rss_mib_500": early,
        (format!("rss_mib_{count}")): late,
        "rss_mib_most": most,
        "growth": late / early - 1.0,
        "ms_per_frame": begun.elapsed().as_secs_f64() * 1e3 / (count - 1) as f64,
    }))
}

/// Resident set of this process, MiB.
pub(super) fn resident_mib() -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|cause| {
        Failure::Input(format!(
            "cannot read /proc/self/status: {cause}; this measurement needs Linux"
        ))
    })?;
    let kib = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()
    });
    kib.map(|kib| kib / 1024.0)
        .ok_or_else(|| Failure::Input("/proc/self/status tells no VmRSS".into()))
}
