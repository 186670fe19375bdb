//! `sonomark bench train`: images per second of the training loop, on made-up stills.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde_json::{Value, json};

use crate::config::Settings;
use crate::domain::Bitmap;
use crate::engine::{read_card, shipped_card};
use crate::learn::dataset::{Still, StillSet};
use crate::learn::{Budget, TrainOptions, train_on};
use crate::tui::graphics::synthetic_frame;

use super::Failure;
use super::bench_stages::cpu_seconds;
use super::devices::{device_of, in_timed_parts};

/// Steps that compile, fill caches and render ahead, and are not counted.
const WARM: u64 = 4;
const STILLS: u64 = 12;

/// How the loop is run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Steps that are counted.
    pub steps: u64,
    /// Side of the input, px.
    pub side: usize,
    /// Stills of a step.
    pub batch: usize,
    /// Worker threads.
    pub threads: usize,
}

/// Trains the network of the card from random weights for some steps; everything a step needs is in the figure: drawing
/// and varying images, simulated clicks, three decoder rounds, gradients, optimiser.
pub(super) fn report(settings: &Settings, load: Load, scratch: &Path) -> Result<Value, Failure> {
    if load.side == 0 || !load.side.is_multiple_of(32) || load.batch == 0 || load.steps == 0 {
        return Err(Failure::Input(
            "--side must be a multiple of 32, --batch and --steps above 0".into(),
        ));
    }
    let card = match settings.card.value.as_deref() {
        Some(path) => read_card(path),
        None => shipped_card(),
    };
    let card = card.map_err(|error| Failure::Configuration(error.to_string()))?;
    let picked = device_of(settings)?;
    let budget = Budget::Steps(WARM + load.steps);
    let mut options = TrainOptions::new(Vec::new(), card, scratch.join("train"), budget);
    (options.sides, options.batches) = ([load.side; 2], [load.batch; 2]);
    (options.clip_share, options.report_every, options.threads) = (0.0, 1, load.threads);
    options.region_share = 0.0;
    let set = StillSet {
        name: "made up".into(),
        stills: stills(),
        clips: Vec::new(),
        sha256: String::new(),
    };
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    in_timed_parts(picked.gpu, |goes_on| {
        let seen = |_: &_| {
            wall.push(Instant::now());
            cpu.push(cpu_seconds());
            goes_on();
        };
        train_on(&[set], &options, &picked.shares(load.threads), seen, &AtomicBool::new(false))
            .map_err(Failure::ours)
    })?;
    let first = WARM as usize - 1;
    let (Some(begun), Some(ended)) = (wall.get(first), wall.last()) else {
        return Err(Failure::ours("the training loop reported no step"));
    };
    let images = (wall.len() - 1 - first) as f64 * load.batch as f64;
    let (seconds, cpu_seconds) =
        (ended.duration_since(*begun).as_secs_f64(), cpu[cpu.len() - 1] - cpu[first]);
    Ok(json!({
        "model": options.card.name,
        "device": picked.description,
        "side_px": load.side,
        "batch": load.batch,
        "threads": load.threads,
        "steps": load.steps,
        "images_per_s": images / seconds,
        "cpu_s_per_image": cpu_seconds / images,
    }))
}

/// Sectors of speckle with an ellipse that counts as the structure.
fn stills() -> Vec<Still> {
    let still = |i: u64| {
        let frame = synthetic_frame(400, 320, i);
        let (cx, cy) = (170.0 + 5.0 * i as f32, 150.0 + 3.0 * i as f32);
        let inside = |x: u32, y: u32| ((x as f32 - cx) / 60.0).hypot((y as f32 - cy) / 40.0) <= 1.0;
        let mask = Bitmap::from_fn(frame.width_px, frame.height_px, inside).to_mask();
        Still { name: format!("made up {i}"), levels: vec![frame], objects: vec![mask] }
    };
    (0..STILLS).map(still).collect()
}
