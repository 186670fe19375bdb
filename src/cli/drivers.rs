//! What the drivers of GPUs are told before the first of them is loaded.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::net::findings;

/// Mesa's choice of a GPU asks Wayland which one draws the screen, and libwayland says on stderr, once for each look, that
/// there is no folder to ask in. On a machine without a screen that is no fault: it is given a folder with nothing in it.
pub(super) fn look_for_no_display() {
    const FOLDER: &str = "XDG_RUNTIME_DIR";
    if !std::env::var_os(FOLDER).is_some_and(|folder| Path::new(&folder).is_absolute()) {
        // SAFETY: this process has not started its first thread.
        unsafe { std::env::set_var(FOLDER, "/nonexistent") };
    }
}

/// What GPU runtimes and Mesa's drivers find out and compile goes to one folder of ours, which is made where a `gpu` may be
/// used; NVIDIA's driver has its own.
pub(super) fn keep_findings_in(folder: &Path, gpu: bool) {
    const MESA: &str = "MESA_SHADER_CACHE_DIR";
    findings::keep_in(folder);
    if std::env::var_os(MESA).is_none() {
        // Mesa makes the last folder of the path at most: without `~/.cache` it would keep nothing. Where it cannot be
        // made, drivers compile anew at each start.
        if gpu {
            let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        }
        // SAFETY: settings are read before this process starts its first thread.
        unsafe { std::env::set_var(MESA, folder) };
    }
}
