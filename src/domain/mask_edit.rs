//! What a person does to a mask by hand: pure functions from bitmap to bitmap.
//!
//! For what a network will not learn: a rim too much, a hole, an island, a bridge to the
//! neighbour. Distances are Euclidean, in image px; the image border is no contour.

use serde::{Deserialize, Serialize};

use super::{Bitmap, PointPx};

/// A change of a whole mask.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum MaskEdit {
    /// Everything within so many px of the mask joins it.
    Grow(f32),
    /// Everything within so many px of the outside leaves it.
    Shrink(f32),
    /// Bumps and dents smaller than about so many px go; the area stays about the same.
    Smooth(f32),
    /// Holes are filled.
    Fill,
    /// Only the largest part stays.
    KeepLargest,
    /// The smaller part on one side of the line through two positions goes.
    Cut(PointPx, PointPx),
}

impl MaskEdit {
    /// What it does, for people: "grown by 2 px".
    #[must_use]
    pub fn told(self) -> String {
        match self {
            Self::Grow(px) => format!("grown by {px} px"),
            Self::Shrink(px) => format!("shrunk by {px} px"),
            Self::Smooth(px) => format!("smoothed over {px} px"),
            Self::Fill => "holes filled".to_owned(),
            Self::KeepLargest => "only the largest part kept".to_owned(),
            Self::Cut(..) => "cut along the line".to_owned(),
        }
    }
}

/// The mask after `edit`.
#[must_use]
pub fn edited(mask: &Bitmap, edit: MaskEdit) -> Bitmap {
    match edit {
        MaskEdit::Grow(px) => grown(mask, px),
        MaskEdit::Shrink(px) => grown(&mask.inverted(), px).inverted(),
        MaskEdit::Smooth(px) => smoothed(mask, px),
        MaskEdit::Fill => filled(mask),
        MaskEdit::KeepLargest => mask.largest_component(),
        MaskEdit::Cut(a, b) => cut(mask, a, b),
    }
}

fn grown(mask: &Bitmap, px: f32) -> Bitmap {
    let distance = mask.distance_to_foreground();
    Bitmap { pixels: distance.iter().map(|&d| d <= px).collect(), ..mask.clone() }
}

/// The share of foreground around each pixel, by a Gaussian, cut at one half.
fn smoothed(mask: &Bitmap, px: f32) -> Bitmap {
    let share: Vec<f32> = mask.pixels.iter().map(|&inside| f32::from(u8::from(inside))).collect();
    let (width, height) = (mask.width_px as usize, mask.height_px as usize);
    let reach = (2.5 * px).ceil().max(1.0) as usize;
    let kernel: Vec<f32> =
        (0..=reach).map(|d| (-0.5 * (d as f32 / px.max(0.1)).powi(2)).exp()).collect();
    let across = blurred(&share, width, height, &kernel, true);
    let both = blurred(&across, width, height, &kernel, false);
    Bitmap { pixels: both.iter().map(|&s| s > 0.5).collect(), ..mask.clone() }
}

/// Weighted mean along one axis; beyond the border nothing is known and nothing counts.
fn blurred(from: &[f32], width: usize, height: usize, kernel: &[f32], across: bool) -> Vec<f32> {
    let (size, stride) = if across { (width, 1) } else { (height, width) };
    (0..from.len())
        .map(|i| {
            let at = if across { i % width } else { i / width };
            let (mut sum, mut weights) = (kernel[0] * from[i], kernel[0]);
            for (d, &weight) in kernel.iter().enumerate().skip(1) {
                if at >= d {
                    sum += weight * from[i - d * stride];
                    weights += weight;
                }
                if at + d < size {
                    sum += weight * from[i + d * stride];
                    weights += weight;
                }
            }
            sum / weights
        })
        .collect()
}

/// Background that does not reach the border of the image becomes foreground.
fn filled(mask: &Bitmap) -> Bitmap {
    let (width, height) = (mask.width_px as usize, mask.height_px as usize);
    let mut open = vec![false; mask.pixels.len()];
    let mut todo: Vec<usize> = Vec::new();
    let visit = |i: usize, open: &mut Vec<bool>, todo: &mut Vec<usize>| {
        if !mask.pixels[i] && !open[i] {
            open[i] = true;
            todo.push(i);
        }
    };
    for i in 0..mask.pixels.len() {
        let (x, y) = (i % width, i / width);
        if x == 0 || y == 0 || x + 1 == width || y + 1 == height {
            visit(i, &mut open, &mut todo);
        }
    }
    while let Some(i) = todo.pop() {
        let (x, y) = (i % width, i / width);
        if x > 0 {
            visit(i - 1, &mut open, &mut todo);
        }
        if x + 1 < width {
            visit(i + 1, &mut open, &mut todo);
        }
        if y > 0 {
            visit(i - width, &mut open, &mut todo);
        }
        if y + 1 < height {
            visit(i + width, &mut open, &mut todo);
        }
    }
    Bitmap { pixels: open.iter().map(|&outside| !outside).collect(), ..mask.clone() }
}

fn cut(mask: &Bitmap, a: PointPx, b: PointPx) -> Bitmap {
    let left = |x: u32, y: u32| {
        let p = PointPx::pixel_centre(x, y);
        (b.x - a.x) * (p.y - a.y) - (b.y - a.y) * (p.x - a.x) > 0.0
    };
    let side = |wanted: bool| {
        Bitmap::from_fn(mask.width_px, mask.height_px, |x, y| {
            mask.get(i64::from(x), i64::from(y)) && left(x, y) == wanted
        })
    };
    let (one, other) = (side(true), side(false));
    if one.area_px() >= other.area_px() { one } else { other }
}

/// The mask with a disc of `radius_px` round `at` painted, or taken away with `erase`.
#[must_use]
pub fn brushed(mask: &Bitmap, at: PointPx, radius_px: f32, erase: bool) -> Bitmap {
    let mut out = mask.clone();
    let range = |centre: f32, size: u32| {
        let low = (centre - radius_px - 1.0).floor().clamp(0.0, size as f32) as u32;
        let high = (centre + radius_px + 1.0).ceil().clamp(0.0, size as f32) as u32;
        low..high
    };
    for y in range(at.y, mask.height_px) {
        for x in range(at.x, mask.width_px) {
            if PointPx::pixel_centre(x, y).distance(at) <= radius_px {
                out.pixels[(y * mask.width_px + x) as usize] = !erase;
            }
        }
    }
    out
}

/// The shape `share` (0..=1) of the way from `from` to `to`: signed distances are mixed after
/// both shapes were moved onto the way between their centres. Empty where either is empty.
#[must_use]
pub fn between(from: &Bitmap, to: &Bitmap, share: f32) -> Bitmap {
    let (Some(a), Some(b)) = (middle(from), middle(to)) else {
        return Bitmap::empty(from.width_px, from.height_px);
    };
    if (from.width_px, from.height_px) != (to.width_px, to.height_px) {
        return from.clone();
    }
    let (before, after) = (Signed::of(from), Signed::of(to));
    let at = (a.0 + (b.0 - a.0) * share, a.1 + (b.1 - a.1) * share);
    Bitmap::from_fn(from.width_px, from.height_px, |x, y| {
        let (x, y) = (x as f32, y as f32);
        let first = before.at(x + a.0 - at.0, y + a.1 - at.1);
        let second = after.at(x + b.0 - at.0, y + b.1 - at.1);
        first * (1.0 - share) + second * share > 0.0
    })
}

fn middle(mask: &Bitmap) -> Option<(f32, f32)> {
    let bounds = mask.bounds()?;
    Some(((bounds.min.x + bounds.max.x) / 2.0, (bounds.min.y + bounds.max.y) / 2.0))
}

/// Distance to the contour, positive inside.
struct Signed {
    width: usize,
    height: usize,
    distance: Vec<f32>,
}

impl Signed {
    fn of(mask: &Bitmap) -> Self {
        let (outside, inside) =
            (mask.distance_to_foreground(), mask.inverted().distance_to_foreground());
        // A mask that fills the image has no outside: everything is well inside.
        let limit = (mask.width_px + mask.height_px) as f32;
        let distance = outside.iter().zip(&inside).map(|(o, i)| i.min(limit) - o.min(limit));
        Self {
            width: mask.width_px as usize,
            height: mask.height_px as usize,
            distance: distance.collect(),
        }
    }

    /// At the nearest pixel of the image.
    fn at(&self, x: f32, y: f32) -> f32 {
        let x = (x.round().max(0.0) as usize).min(self.width - 1);
        let y = (y.round().max(0.0) as usize).min(self.height - 1);
        self.distance[y * self.width + x]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::overlap;

    fn disc(cx: f32, cy: f32, r: f32) -> Bitmap {
        Bitmap::from_fn(90, 70, |x, y| {
            PointPx::pixel_centre(x, y).distance(PointPx::new(cx, cy)) <= r
        })
    }

    fn alike(a: &Bitmap, b: &Bitmap) -> f64 {
        overlap(a, b).iou
    }

    #[test]
    fn growing_and_shrinking_move_the_contour() {
        let mask = disc(40.0, 35.0, 15.0);
        assert!(alike(&edited(&mask, MaskEdit::Grow(4.0)), &disc(40.0, 35.0, 19.0)) > 0.97);
        assert!(alike(&edited(&mask, MaskEdit::Shrink(4.0)), &disc(40.0, 35.0, 11.0)) > 0.95);
        // The border of the image is no contour.
        let half = Bitmap::from_fn(20, 10, |x, _| x < 10);
        let shrunk = edited(&half, MaskEdit::Shrink(2.0));
        assert_eq!(shrunk, Bitmap::from_fn(20, 10, |x, _| x < 8));
        let empty = Bitmap::empty(9, 9);
        assert_eq!(edited(&empty, MaskEdit::Grow(3.0)), empty);
    }

    #[test]
    fn holes_islands_and_bumps_go() {
        let mask = disc(40.0, 35.0, 18.0);
        let holed = brushed(&mask, PointPx::new(40.0, 35.0), 5.0, true);
        assert_eq!(edited(&holed, MaskEdit::Fill), mask);
        let island = brushed(&mask, PointPx::new(80.0, 10.0), 4.0, false);
        assert_eq!(edited(&island, MaskEdit::KeepLargest), mask);
        let spur = |mask: &Bitmap, x: f32| brushed(mask, PointPx::new(x, 35.0), 2.0, false);
        let spiky = spur(&spur(&spur(&mask, 58.0), 61.0), 64.0);
        let smooth = edited(&spiky, MaskEdit::Smooth(3.0));
        assert!(spiky.get(64, 35) && !smooth.get(63, 35));
        assert!(alike(&smooth, &mask) > 0.96, "{}", alike(&smooth, &mask));
    }

    #[test]
    fn a_cut_keeps_the_larger_side() {
        let mask = disc(40.0, 35.0, 18.0);
        let line = MaskEdit::Cut(PointPx::new(50.0, 0.0), PointPx::new(50.0, 69.0));
        let left = edited(&mask, line);
        assert!(left.get(40, 35) && !left.get(55, 35));
        assert!(left.area_px() > mask.area_px() / 2);
    }

    #[test]
    fn the_shape_between_two_lies_between_them() {
        let (from, to) = (disc(25.0, 30.0, 10.0), disc(55.0, 40.0, 16.0));
        assert!(alike(&between(&from, &to, 0.5), &disc(40.0, 35.0, 13.0)) > 0.93);
        assert!(alike(&between(&from, &to, 0.0), &from) > 0.99);
        assert!(alike(&between(&from, &to, 1.0), &to) > 0.99);
        assert_eq!(between(&from, &Bitmap::empty(90, 70), 0.5).area_px(), 0);
    }
}
