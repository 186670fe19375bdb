//! Loops for the widest vectors of the machine at hand.

use pulp::Arch;

/// Runs `f`, compiled for the widest vectors of this machine. What it calls must be inlined into it.
#[inline(always)]
pub fn wide<R>(f: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(f)
}
