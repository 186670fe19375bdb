//! Colours of structures: in pictures for people those of the screen, in files for programs the map of PASCAL VOC, which
//! DAVIS uses as well.

use super::overlay::Rgb;
use crate::domain::Track;

/// Colours of structures as the themes have them.
const COLOURS: [Rgb; 8] = [
    [230, 159, 0],
    [86, 180, 233],
    [0, 156, 92],
    [240, 228, 66],
    [0, 114, 178],
    [213, 94, 0],
    [168, 123, 171],
    [73, 251, 208],
];

/// The colour of a structure in pictures for people: as on the screen. `chosen` take the place of the usual ones.
pub(super) fn of_structure(track: &Track, chosen: &[Option<Rgb>; 8]) -> Rgb {
    let number = usize::from(track.info.colour) % COLOURS.len();
    chosen[number].unwrap_or(COLOURS[number])
}

/// Red, green and blue of a number; 0 is black.
pub(super) fn colour(number: usize) -> [u8; 3] {
    // The bits of the number go to the three channels in turn, highest bits first.
    let channel = |offset: usize| {
        (0..3).fold(0u8, |all, round| {
            let bit = (number >> (round * 3 + offset)) & 1;
            all | ((bit as u8) << (7 - round))
        })
    };
    [channel(0), channel(1), channel(2)]
}

/// PS3.3 C.10.7.1.1: L from 0 to 100, a and b from -128 to 127, each over 16 bits.
pub(super) fn cie_lab(rgb: [u8; 3]) -> [u16; 3] {
    let linear = |v: u8| {
        let v = f64::from(v) / 255.0;
        if v <= 0.040_45 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
    };
    let [r, g, b] = rgb.map(linear);
    let f = |t: f64| {
        if t > 216.0 / 24_389.0 { t.cbrt() } else { (24_389.0 / 27.0 * t + 16.0) / 116.0 }
    };
    let x = f((0.412_456 * r + 0.357_576 * g + 0.180_437 * b) / 0.950_47);
    let y = f(0.212_673 * r + 0.715_152 * g + 0.072_175 * b);
    let z = f((0.019_334 * r + 0.119_192 * g + 0.950_304 * b) / 1.088_83);
    let share = |v: f64, low: f64, high: f64| {
        ((v - low) / (high - low) * 65_535.0).round().clamp(0.0, 65_535.0) as u16
    };
    [
        share(116.0 * y - 16.0, 0.0, 100.0),
        share(500.0 * (x - y), -128.0, 127.0),
        share(200.0 * (y - z), -128.0, 127.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_pascal_voc() {
        let first = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]];
        assert_eq!([0, 1, 2, 3, 4].map(colour), first);
        assert_eq!(colour(8), [64, 0, 0]);
    }

    #[test]
    fn white_and_black_are_those_of_srgb_in_cie_lab() {
        let white = cie_lab([255; 3]);
        assert!(white[0] > 65_500 && white[1].abs_diff(32_896) < 40, "{white:?}");
        assert_eq!(cie_lab([0; 3])[0], 0);
    }
}
