//! `sonomark warmup`: every part of the network once, so that nobody's first mask waits for a compiler.
//!
//! On a GPU the driver compiles a kernel at its first use and keeps it on disk, and in builds with the feature `persist` so
//! does the runtime (`net::findings`); a run here fills both. What comes before the driver is done anew by every process:
//! 120 kernels, two seconds on an H200. The CPU has nothing to compile, there this only shows that everything runs.

use std::time::Instant;

use clap::Args;

use crate::config::Settings;
use crate::engine::load_network;
use crate::net::device::{Picked, caught, first_line};
use crate::net::stages::{Stage, Stages};
use crate::net::tracker::TrackError;

use super::headless::{device_of, in_timed_parts};
use super::{Done, Failure, print};

/// Arguments: none of its own, `--device` and `--card` say what is warmed up.
#[derive(Debug, Args)]
pub(super) struct Options {}

/// Runs it. A GPU that does not answer ends it with a sentence; on the CPU it may take as long as it takes.
///
/// # Errors
/// A card, weights or device that cannot be used.
pub(super) fn run(settings: &Settings, _: &Options) -> Done {
    let picked = device_of(settings)?;
    in_timed_parts(picked.gpu, |goes_on| warmed(settings, &picked, goes_on))
}

/// Runs everything once; `goes_on` is told after each part.
fn warmed(settings: &Settings, picked: &Picked, goes_on: &dyn Fn()) -> Done {
    let (card, sam) = load_network(settings.card.value.as_deref(), picked)
        .map_err(|cause| Failure::Configuration(cause.to_string()))?;
    print(&format!("{} at {} px on {}", card.name, card.network.image_size, picked.description));
    let count = Stage::ALL.len() + 1;
    let begun = Instant::now();
    let told = |done: usize, what: &str, since: Instant| {
        goes_on();
        print(&format!("{done}/{count} {what}: {:.1} s", since.elapsed().as_secs_f64()));
    };
    goes_on();
    let mut stages = on(picked, || Stages::new(&card, sam, &picked.device))?;
    told(1, "a prompt and a filling memory", begun);
    for (i, stage) in Stage::ALL.into_iter().enumerate() {
        let since = Instant::now();
        on(picked, || stages.run(stage))?;
        told(i + 2, &stage.name().replace('_', " "), since);
    }
    print(&format!("ready after {:.1} s", begun.elapsed().as_secs_f64()));
    Ok(())
}

/// Does `work` on a device, in which a driver that panics is a failure like others.
fn on<T>(picked: &Picked, work: impl FnOnce() -> Result<T, TrackError>) -> Result<T, Failure> {
    if !picked.gpu {
        return work().map_err(Failure::ours);
    }
    let done = caught(work).map_err(|why| {
        let why = first_line(&why);
        Failure::Ours(format!("{} stopped ({why}); use --device cpu", picked.description))
    })?;
    done.map_err(Failure::ours)
}
