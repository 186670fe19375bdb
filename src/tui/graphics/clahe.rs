//! Contrast-limited adaptive histogram equalisation (Zuiderveld, Graphics Gems IV, 1994): dark
//! depths and bright fascia both show their texture. For the eye alone; the network sees the frame
//! as it is.
//!
//! The frame is divided into tiles; each has a curve from its own histogram, flattened where a
//! gray is so frequent that noise would be blown up; between the middles of tiles the curves are
//! mixed.

use crate::domain::GrayFrame;

/// Tiles across and down.
const TILES: usize = 8;
/// A gray counts at most so many times as often as if all were equally frequent.
const LIMIT: f32 = 2.5;

/// The frame with its gray values from `low` to `high` stretched over all.
#[must_use]
pub fn stretched(frame: &GrayFrame, [low, high]: [u8; 2]) -> GrayFrame {
    let width = f32::from(high.saturating_sub(low).max(1));
    let table: [u8; 256] = std::array::from_fn(|gray| {
        ((gray as f32 - f32::from(low)) / width * 255.0).round().clamp(0.0, 255.0) as u8
    });
    let mut out = frame.clone();
    out.pixels.iter_mut().for_each(|gray| *gray = table[usize::from(*gray)]);
    out
}

/// The frame with its contrast evened out.
#[must_use]
pub fn evened(frame: &GrayFrame) -> GrayFrame {
    let (width, height) = (frame.width_px as usize, frame.height_px as usize);
    let mut out = frame.clone();
    if width < TILES || height < TILES {
        return out;
    }
    let curves: Vec<[u8; 256]> =
        (0..TILES * TILES).map(|tile| curve(frame, tile % TILES, tile / TILES)).collect();
    let across: Vec<Between> = (0..width).map(|x| Between::at(x, width)).collect();
    for (y, line) in out.pixels.chunks_exact_mut(width).enumerate() {
        let down = Between::at(y, height);
        for (pixel, column) in line.iter_mut().zip(&across) {
            let gray = usize::from(*pixel);
            let of = |row: usize, column: usize| u32::from(curves[row * TILES + column][gray]);
            let mix = |a: u32, b: u32, share: u32| a * (256 - share) + b * share;
            let upper =
                mix(of(down.first, column.first), of(down.first, column.next), column.share);
            let lower = mix(of(down.next, column.first), of(down.next, column.next), column.share);
            *pixel = ((mix(upper, lower, down.share) + (1 << 15)) >> 16).min(255) as u8;
        }
    }
    out
}

/// The two tiles whose middles lie on either side of a place.
struct Between {
    first: usize,
    next: usize,
    /// Share of the second, 256ths.
    share: u32,
}

impl Between {
    fn at(place: usize, size: usize) -> Self {
        let at = (place as f32 + 0.5) * TILES as f32 / size as f32 - 0.5;
        let at = at.clamp(0.0, (TILES - 1) as f32);
        let first = at as usize;
        let share = ((at - first as f32) * 256.0) as u32;
        Self { first, next: (first + 1).min(TILES - 1), share }
    }
}

/// Gray to gray, from the histogram of one tile.
fn curve(frame: &GrayFrame, column: usize, row: usize) -> [u8; 256] {
    let (width, height) = (frame.width_px as usize, frame.height_px as usize);
    let (left, right) = (column * width / TILES, (column + 1) * width / TILES);
    let (top, bottom) = (row * height / TILES, (row + 1) * height / TILES);
    let mut counts = [0.0f32; 256];
    for line in frame.pixels.chunks_exact(width).take(bottom).skip(top) {
        line[left..right].iter().for_each(|&gray| counts[usize::from(gray)] += 1.0);
    }
    let pixels = ((right - left) * (bottom - top)) as f32;
    let most = (LIMIT * pixels / 256.0).max(1.0);
    let cut: f32 = counts.iter().map(|count| (count - most).max(0.0)).sum();
    let mut sum = 0.0;
    counts.map(|count| {
        // What was cut off is given to all grays alike, so the curve always rises.
        sum += count.min(most) + cut / 256.0;
        (sum / pixels * 255.0).round().min(255.0) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faint_texture_is_seen_and_order_within_a_tile_stays() {
        let mut noise = fastrand::Rng::with_seed(1);
        let pixels = (0..160 * 160).map(|_| noise.u8(30..46)).collect();
        let faint = GrayFrame::new(160, 160, pixels).expect("the size fits");
        let even = evened(&faint);
        let spread = |frame: &GrayFrame| {
            let part: Vec<u8> =
                (70..90).flat_map(|y| frame.pixels[y * 160 + 70..][..20].to_vec()).collect();
            part.iter().max().expect("some") - part.iter().min().expect("some")
        };
        assert!(spread(&even) > 2 * spread(&faint), "{} {}", spread(&even), spread(&faint));
        for tile in 0..TILES {
            let curve = curve(&faint, tile, 3);
            assert!(curve.is_sorted());
        }
        // A flat frame has nothing to be blown up: neighbours stay alike.
        let flat = GrayFrame::new(64, 64, vec![90; 64 * 64]).expect("the size fits");
        assert!(evened(&flat).pixels.windows(2).all(|two| two[0].abs_diff(two[1]) <= 1));
        let tiny = GrayFrame::new(3, 2, vec![7; 6]).expect("the size fits");
        assert_eq!(evened(&tiny), tiny);
    }
}
