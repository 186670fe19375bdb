//! `sonomark warmup`: every part of the network once, so that nobody's first mask waits for a compiler.
//!
//! On a GPU the driver compiles a kernel at its first use and keeps it on disk, and in builds with the feature `persist` so
//! does the runtime (`net::findings`); a run here fills both. What comes before the driver is done anew by every process:
//! 120 kernels, two seconds on an H200. The CPU has nothing to compile, there this only shows that everything runs.

use std::time::Instant;

use clap::Args;

use crate::config::Settings;
use crate::engine::load_network;
use crate::net::device::Picked;
use crate::net::stages::{Stage, Stages};

use super::devices::{device_of, in_timed_parts, on_device};
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
    let mut stages =
        on_device(picked, || Stages::new(&card, sam, &picked.device).map_err(Failure::ours))?;
    told(1, "a prompt and a filling memory", begun);
    for (i, stage) in Stage::ALL.into_iter().enumerate() {
        let since = Instant::now();
        on_device(picked, || stages.run(stage).map_err(Failure::ours))?;
        told(i + 2, &stage.name().replace('_', " "), since);
    }
    print(&format!("ready after {:.1} s", begun.elapsed().as_secs_f64()));
    Ok(())
}
