//! The parameters of a scan and what follows from them (ISO/IEC 14495-1, A.2.1 and C.2.4.1.1).

use super::JpegLsError;

/// Parameters as a segment of presets (LSE, type 1) holds them; 0 stands for the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Preset {
    pub(super) largest: u16,
    pub(super) thresholds: [u16; 3],
    pub(super) reset: u16,
}

/// Parameters of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameters {
    /// Largest value of a sample (MAXVAL), 1 to 65535.
    pub(super) largest: i32,
    /// Largest error of a sample (NEAR), 0 for lossless, at most 255.
    pub(super) near: i32,
    /// Bounds of gradients (T1 to T3), rising.
    pub(super) thresholds: [i32; 3],
    /// After so many samples a context forgets half (RESET), 3 to 65535.
    pub(super) reset: u32,
    /// How many errors are told apart (RANGE), at least 2.
    pub(super) range: i32,
    /// Bits of such an error (qbpp).
    pub(super) wide: u32,
    /// Bits of the longest code of one (LIMIT), 20 to 64.
    pub(super) limit: u32,
}

/// Bits that `count` values need: the logarithm to base 2, rounded up.
fn bits_for(count: i32) -> u32 {
    (count - 1).checked_ilog2().map_or(0, |log| log + 1)
}

impl Parameters {
    /// Of samples of `precision` bits (2 to 16) with errors up to `near`.
    ///
    /// # Errors
    /// Where the standard does not allow them.
    pub(super) fn of(preset: Preset, precision: u32, near: u8) -> Result<Self, JpegLsError> {
        let widest = (1i32 << precision) - 1;
        let largest = if preset.largest == 0 { widest } else { preset.largest.into() };
        let near = i32::from(near);
        let impossible = |what: &str| {
            JpegLsError::Damaged(format!("a JPEG-LS frame has {what} that are not possible"))
        };
        if largest > widest || near > largest / 2 {
            return Err(impossible("values and errors"));
        }
        let defaults = default_thresholds(largest, near);
        let mut thresholds = preset.thresholds.map(i32::from);
        for (own, default) in thresholds.iter_mut().zip(defaults) {
            if *own == 0 {
                *own = default;
            }
        }
        let [low, middle, high] = thresholds;
        let reset = if preset.reset == 0 { 64 } else { u32::from(preset.reset) };
        let rising = near < low && low <= middle && middle <= high && high <= largest;
        if !rising || reset < 3 || reset > largest.max(255) as u32 {
            return Err(impossible("thresholds"));
        }
        let range = (largest + 2 * near) / (2 * near + 1) + 1;
        let bits = bits_for(largest + 1).max(2);
        let limit = 2 * (bits + bits.max(8));
        let wide = bits_for(range);
        Ok(Self { largest, near, thresholds, reset, range, wide, limit })
    }
}

fn default_thresholds(largest: i32, near: i32) -> [i32; 3] {
    let bases = [3, 7, 21];
    let mut below = near + 1;
    let mut out = [0; 3];
    for (i, base) in (0..3).zip(bases) {
        let least = i + 2;
        let wider = (2 * i + 3) * near;
        let wanted = if largest >= 128 {
            (largest.min(4095) + 128) / 256 * (base - least) + least + wider
        } else {
            (base / (256 / (largest + 1)) + wider).max(least)
        };
        if (below..=largest).contains(&wanted) {
            below = wanted;
        }
        out[i as usize] = below;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_standard() {
        let of =
            |precision, near| Parameters::of(Preset::default(), precision, near).expect("allowed");
        let eight = of(8, 0);
        assert_eq!((eight.largest, eight.thresholds, eight.reset), (255, [3, 7, 21], 64));
        assert_eq!((eight.range, eight.wide, eight.limit), (256, 8, 32));
        // Table C.3 and the formulas before it.
        assert_eq!(of(12, 0).thresholds, [18, 67, 276]);
        assert_eq!(of(16, 0).thresholds, [18, 67, 276]);
        assert_eq!(of(8, 3).thresholds, [12, 22, 42]);
        assert_eq!((of(8, 3).range, of(8, 3).wide), (38, 6));
        assert_eq!((of(2, 0).thresholds, of(2, 0).limit), ([2, 3, 3], 20));
        assert_eq!(of(16, 255).range, 130);
        for precision in 2..=16 {
            for near in 0..=((1u32 << precision) / 2 - 1).min(255) as u8 {
                of(precision, near);
            }
        }
    }

    #[test]
    fn impossible_parameters_are_refused() {
        let of = |largest, thresholds, reset, near| {
            Parameters::of(Preset { largest, thresholds, reset }, 8, near)
        };
        assert!(of(0, [0; 3], 0, 127).is_ok() && of(0, [0; 3], 0, 128).is_err());
        assert!(of(256, [0; 3], 0, 0).is_err() && of(100, [5, 9, 100], 255, 4).is_ok());
        assert!(of(100, [5, 9, 101], 0, 0).is_err() && of(0, [9, 5, 20], 0, 0).is_err());
        assert!(of(0, [2, 5, 20], 0, 2).is_err());
        assert!(of(0, [0; 3], 2, 0).is_err() && of(0, [0; 3], 256, 0).is_err());
    }
}
