//! `sonomark bench stages`: the network part by part, in processor seconds and in wall seconds; medians.
//!
//! `tests/peer/network.py` puts these numbers beside those of the PyTorch original.

use std::time::Instant;

use serde_json::{Value, json};

use crate::config::Settings;
use crate::engine::load_network;
use crate::net::device::Picked;
use crate::net::half::compared;
use crate::net::stages::{Stage, Stages};
use crate::net::threads::Threads;
use crate::net::tracker::TrackError;

use super::Failure;
use super::bench::median;
use super::devices::{device_of, in_timed_parts};

/// Runs of the shortest stage; longer ones run until [`ENOUGH_S`] have passed, three times at least.
const MOST_RUNS: usize = 15;
/// Seconds after which a stage was measured long enough.
const ENOUGH_S: f64 = 4.0;

/// Measures every stage of the network that the settings name.
pub(super) fn report(settings: &Settings) -> Result<Value, Failure> {
    let picked = device_of(settings)?;
    in_timed_parts(picked.gpu, |goes_on| report_on(settings, &picked, goes_on))
}

/// The same on a device; `goes_on` is told after each run.
fn report_on(settings: &Settings, picked: &Picked, goes_on: &dyn Fn()) -> Result<Value, Failure> {
    let (card, sam) =
        load_network(settings.card.value.as_deref(), picked).map_err(configuration)?;
    goes_on();
    let half = sam.half().is_none().then(|| compared(&sam, picked));
    goes_on();
    let mut stages = Stages::new(&card, sam, &picked.device).map_err(Failure::ours)?;
    let mut report = json!({
        "model": card.name, "device": picked.description, "pixels": card.network.image_size,
        "threads": std::thread::available_parallelism().map_or(1, |n| n.get()),
    });
    let threads = Threads::of(&picked.device);
    let mut told = Vec::new();
    for stage in Stage::ALL {
        let (cpu_s, wall_s) = measured(goes_on, || threads.run(|| stages.run(stage)))?;
        // A card leaves the processor nothing to count.
        told.push(if picked.gpu { wall_s } else { cpu_s });
        report[stage.name()] = json!({ "cpu_s": cpu_s, "wall_s": wall_s });
    }
    // What the card's `encoder_f16` would bring here.
    match half {
        Some(Ok((half, changed))) => {
            let mut stages = Stages::new(&card, half, &picked.device).map_err(Failure::ours)?;
            let (cpu_s, wall_s) = measured(goes_on, || stages.run(Stage::Encoder))?;
            report["encoder_f16"] = json!({
                "cpu_s": cpu_s, "wall_s": wall_s, "mask_pixels_changed": changed,
            });
        }
        Some(Err(why)) if picked.gpu => report["encoder_f16"] = json!(why),
        _ => {}
    }
    if let [.., frame, second] = told[..] {
        report["second_track_share"] = json!(second / frame);
    }
    Ok(report)
}

/// Medians of processor and wall seconds of a run.
fn measured(
    goes_on: &dyn Fn(),
    mut run: impl FnMut() -> Result<(), TrackError>,
) -> Result<(f64, f64), Failure> {
    // The first run fills caches and, on a GPU, compiles kernels.
    run().map_err(Failure::ours)?;
    goes_on();
    let (mut cpu_s, mut wall_s) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    while wall_s.len() < 3 || (wall_s.len() < MOST_RUNS && begun.elapsed().as_secs_f64() < ENOUGH_S)
    {
        let (cpu, wall) = (cpu_seconds(), Instant::now());
        run().map_err(Failure::ours)?;
        cpu_s.push(cpu_seconds() - cpu);
        wall_s.push(wall.elapsed().as_secs_f64());
        goes_on();
    }
    Ok((median(cpu_s), median(wall_s)))
}

fn configuration(cause: impl std::fmt::Display) -> Failure {
    Failure::Configuration(cause.to_string())
}

/// Processor seconds (user and system, all threads) of this process so far.
pub(super) fn cpu_seconds() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call only writes the struct it is given.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut now) };
    if result == 0 { now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9 } else { f64::NAN }
}
