//! From samples of files to the 8-bit gray that everything else works on.
//!
//! Colour becomes luma by ITU-R BT.601 with the integer weights of Pillow's mode "L", which is
//! also what Y of a JPEG means, so a frame stored as RGB, YBR or JPEG gives the same gray.
//! Samples of more than 8 bits go through a [`Ramp`]: the window of the file where it has one,
//! else the smallest and largest value found in at most [`RANGE_FRAMES`] evenly spaced frames of
//! the clip. The ramp is one for the whole clip, so brightness never jumps between frames.

use crate::domain::Colours;

/// Frames looked at to find the value range of a clip without a window.
pub(super) const RANGE_FRAMES: usize = 16;
/// Pixels of all of those together, at most: a few bytes may unpack to frames of the largest size. 16 frames of 4096 x 4096.
const RANGE_PIXELS: u64 = 1 << 28;

/// Luma of an RGB pixel, 0..=255.
pub(super) fn luma(r: u8, g: u8, b: u8) -> u8 {
    ((u32::from(r) * 19_595 + u32::from(g) * 38_470 + u32::from(b) * 7_471 + 0x8000) >> 16) as u8
}

/// Luma of an RGB pixel of 16-bit samples, 0..=65535.
pub(super) fn luma16(r: u16, g: u16, b: u16) -> u16 {
    let sum = u64::from(r) * 19_595 + u64::from(g) * 38_470 + u64::from(b) * 7_471;
    ((sum + 0x8000) >> 16) as u16
}

/// Gray and colours of all pixels of a frame.
pub(super) fn parted(rgb: &[[u8; 3]]) -> (Vec<u8>, Colours) {
    let gray = rgb.iter().map(|&[red, green, blue]| luma(red, green, blue)).collect();
    (gray, Colours::of(rgb.iter().copied()))
}

/// Red, green and blue of Y, Cb and Cr of the full range (ITU-R BT.601, as in JPEG and PS3.3 C.7.6.3.1.2).
pub(super) fn rgb_of_ybr([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y) << 16, i32::from(cb) - 128, i32::from(cr) - 128);
    let channel = |value: i32| ((value + 0x8000) >> 16).clamp(0, 255) as u8;
    [channel(y + 91_881 * cr), channel(y - 22_554 * cb - 46_802 * cr), channel(y + 116_130 * cb)]
}

/// A straight line from stored values to gray, clamped at both ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ramp {
    /// The value shown black.
    pub(super) low: f64,
    /// The value shown white.
    pub(super) high: f64,
}

impl Ramp {
    /// The ramp over the range of `values`; flat content is shown black.
    pub(super) fn over(values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|v| v.is_finite()) {
            low = low.min(value);
            high = high.max(value);
        }
        if low <= high { Self { low, high } } else { Self { low: 0.0, high: 1.0 } }
    }

    /// This ramp stretched over `other` as well.
    pub(super) fn joined(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// Gray of a value, 0..=255; what is no number is black.
    pub(super) fn gray(self, value: f64) -> u8 {
        let span = self.high - self.low;
        if span <= 0.0 || value.is_nan() {
            return 0;
        }
        // Saturating cast: infinities and values outside the ramp take the ends.
        ((value - self.low) / span * 255.0).round() as u8
    }
}

/// At most [`RANGE_FRAMES`] frame indices spread evenly over a clip of frames of so many pixels, both ends included; fewer of
/// very large frames, and at least the first.
pub(super) fn spread(frames: usize, frame_px: u64) -> Vec<usize> {
    let affordable = (RANGE_PIXELS / frame_px.max(1)).clamp(1, RANGE_FRAMES as u64);
    let wanted = frames.min(affordable as usize);
    if wanted < 2 {
        return (0..wanted).collect();
    }
    (0..wanted).map(|i| i * (frames - 1) / (wanted - 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luma_is_that_of_pillow() {
        assert_eq!(luma(255, 255, 255), 255);
        assert_eq!((luma(255, 0, 0), luma(0, 255, 0), luma(0, 0, 255)), (76, 150, 29));
        assert_eq!(luma16(65_535, 65_535, 65_535), 65_535);
    }

    #[test]
    fn ybr_is_that_of_jpeg() {
        assert_eq!(rgb_of_ybr([77, 128, 128]), [77; 3]);
        assert_eq!(rgb_of_ybr([76, 85, 255]), [254, 0, 0]);
        assert_eq!(rgb_of_ybr([29, 255, 107]), [0, 0, 254]);
    }

    #[test]
    fn a_ramp_clamps_and_survives_strange_numbers() {
        let ramp = Ramp { low: 100.0, high: 355.0 };
        assert_eq!([99.0, 100.0, 200.0, 355.0, 1e9].map(|v| ramp.gray(v)), [0, 0, 100, 255, 255]);
        assert_eq!(ramp.gray(f64::NAN), 0);
        assert_eq!(Ramp::over([f64::NAN, 5.0].into_iter()).gray(5.0), 0);
        assert_eq!(Ramp::over(std::iter::empty()).gray(3.0), 255);
    }

    #[test]
    fn spread_takes_both_ends() {
        assert_eq!(spread(1, 100), [0]);
        assert_eq!(spread(3, 100), [0, 1, 2]);
        for frame_px in [0, 1, 4096 * 4096] {
            let many = spread(10_000, frame_px);
            assert_eq!((many.len(), many[0], many[15]), (16, 0, 9_999));
        }
    }

    #[test]
    fn of_the_largest_frames_fewer_are_looked_at() {
        assert_eq!(spread(10_000, 8192 * 8192), [0, 3_333, 6_666, 9_999]);
        assert_eq!(spread(10_000, 16_384 * 16_384), [0]);
        assert_eq!((spread(7, u64::MAX), spread(0, u64::MAX)), (vec![0], vec![]));
    }
}
