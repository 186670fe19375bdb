//! Loops for the widest vectors of the machine at hand.

use pulp::Arch;

/// Runs `f`, compiled for the widest vectors of this machine. What it calls must be inlined into it.
#[inline(always)]
pub fn wide<R>(f: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(f)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn a_processor_with_avx2_is_not_given_code_for_older_ones() {
        let newer = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        assert!(!newer || !matches!(Arch::new(), Arch::Scalar), "a feature of pulp is missing");
    }
}
