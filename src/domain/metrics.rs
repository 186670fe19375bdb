//! How well two masks agree.
//!
//! What decides whether this file is right: two empty masks agree, an empty one and another not at all.

use super::Bitmap;

/// Overlap of a mask with a reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overlap {
    /// Intersection over union, 0..=1.
    pub iou: f64,
    /// Dice coefficient, 0..=1.
    pub dice: f64,
}

/// Overlap of two bitmaps of the same size. Two empty masks agree perfectly; an empty one and
/// another not at all (paper section 3.2; NETWORK 13.5). Of different sizes, as many pixels as the smaller has count.
#[must_use]
pub fn overlap(a: &Bitmap, b: &Bitmap) -> Overlap {
    let (mut both, mut either) = (0u64, 0u64);
    for (p, q) in a.pixels.iter().zip(&b.pixels) {
        both += u64::from(*p && *q);
        either += u64::from(*p || *q);
    }
    if either == 0 {
        return Overlap { iou: 1.0, dice: 1.0 };
    }
    Overlap { iou: both as f64 / either as f64, dice: 2.0 * both as f64 / (both + either) as f64 }
}
