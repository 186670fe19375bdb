//! What GPU runtimes find out about a device (kernels they compiled) and where it is kept.
//!
//! What decides whether this file is right: left to themselves they would write into the `target` folder of whatever
//! Rust project the program is started in and obey a `cubecl.toml` found there. So they are told before the first device
//! is made; a later word has no effect. Left to themselves they would also give every thread a stream with a memory of
//! its own, which is never given back: every clip that is opened has a new network thread.

use std::path::Path;

/// Keeps findings below `folder`, which is made when there is something to keep. What can be kept depends on how the
/// program was built (cargo feature `persist`). Only the first call in a process counts.
pub fn keep_in(folder: &Path) {
    configure(Some(folder));
}

/// Keeps nothing, unless a folder was named before.
#[cfg(feature = "gpu")]
pub(super) fn keep_none() {
    configure(None);
}

#[cfg(not(feature = "gpu"))]
fn configure(_: Option<&Path>) {}

#[cfg(feature = "gpu")]
fn configure(folder: Option<&Path>) {
    use cubecl::config::cache::CacheConfig;
    use cubecl::config::streaming::StreamPolicy;
    use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
    let mut config = CubeClRuntimeConfig::default();
    match folder {
        Some(folder) => config.environment.path = CacheConfig::Directory(folder.to_owned()),
        None => config.autotune.disable_cache = true,
    }
    config.streaming.policy = StreamPolicy::Single;
    #[cfg(feature = "persist")]
    {
        config.compilation.cache = folder.is_some();
    }
    CubeClRuntimeConfig::try_set(config.override_from_env());
}
