//! What a person does to a mask by hand: pure functions from bitmap to bitmap.
//!
//! For what a network will not learn: a rim too much, a hole, an island, a bridge to the
//! neighbour. Distances are Euclidean, in image px; the image border is no contour.
//! What decides whether this file is right: only the surroundings of a mask are looked at, and nothing is found there that
//! the whole image would not give.

use serde::{Deserialize, Serialize};

use super::{Bitmap, BoxPx, PixelBox, PointPx};

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

    /// So far from the mask it looks, px. Of the outside one pixel is enough: the nearest lies beside the mask.
    fn reach_px(self) -> f32 {
        match self {
            Self::Grow(px) => px + 1.0,
            // What may change lies in the window of the mask, and what is looked at for it in its own.
            Self::Smooth(px) => 2.0 * window_px(px) as f32,
            Self::Shrink(_) | Self::Fill | Self::KeepLargest | Self::Cut(..) => 1.0,
        }
    }
}

/// The Gaussian of so many px is cut off here, px.
fn window_px(px: f32) -> usize {
    (2.5 * px).ceil().max(1.0) as usize
}

/// The mask after `edit`. Only its surroundings are looked at: a structure is a small part of its image.
#[must_use]
pub fn edited(mask: &Bitmap, edit: MaskEdit) -> Bitmap {
    let Some(bounds) = mask.bounds() else { return mask.clone() };
    let (width, height) = (mask.width_px as usize, mask.height_px as usize);
    let around = PixelBox::covering(bounds.grown(edit.reach_px()), width, height);
    let part = Bitmap {
        width_px: around.width as u32,
        height_px: around.height as u32,
        pixels: around.part(&mask.pixels, width),
    };
    let after = match edit {
        MaskEdit::Grow(px) => grown(&part, px),
        MaskEdit::Shrink(px) => grown(&part.inverted(), px).inverted(),
        MaskEdit::Smooth(px) => smoothed(&part, px),
        MaskEdit::Fill => without_holes(&part),
        MaskEdit::KeepLargest => part.largest_component(),
        MaskEdit::Cut(a, b) => cut(&part, around.seen(a), around.seen(b)),
    };
    let mut out = Bitmap::empty(mask.width_px, mask.height_px);
    around.put(&mut out.pixels, width, &after.pixels);
    out
}

fn grown(mask: &Bitmap, px: f32) -> Bitmap {
    let distance = mask.distance_to_foreground();
    Bitmap { pixels: distance.iter().map(|&d| d <= px).collect(), ..mask.clone() }
}

/// The share of foreground around each pixel, by a Gaussian, cut at one half.
fn smoothed(mask: &Bitmap, px: f32) -> Bitmap {
    let share: Vec<f32> = mask.pixels.iter().map(|&inside| f32::from(u8::from(inside))).collect();
    let (width, height) = (mask.width_px as usize, mask.height_px as usize);
    let kernel: Vec<f32> =
        (0..=window_px(px)).map(|d| (-0.5 * (d as f32 / px.max(0.1)).powi(2)).exp()).collect();
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
fn without_holes(mask: &Bitmap) -> Bitmap {
    let holes = mask.inverted().enclosed();
    let pixels = mask.pixels.iter().zip(&holes.pixels).map(|(inside, hole)| *inside || *hole);
    Bitmap { pixels: pixels.collect(), ..mask.clone() }
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

/// Paints a disc of `radius_px` round `at`, or takes it away with `erase`. In place: a long stroke is many discs.
pub fn paint(mask: &mut Bitmap, at: PointPx, radius_px: f32, erase: bool) {
    let range = |centre: f32, size: u32| {
        let low = (centre - radius_px - 1.0).floor().clamp(0.0, size as f32) as u32;
        let high = (centre + radius_px + 1.0).ceil().clamp(0.0, size as f32) as u32;
        low..high
    };
    for y in range(at.y, mask.height_px) {
        for x in range(at.x, mask.width_px) {
            if PointPx::pixel_centre(x, y).distance(at) <= radius_px {
                mask.pixels[(y * mask.width_px + x) as usize] = !erase;
            }
        }
    }
}

/// Two shapes, and what lies between them: signed distances are mixed after both shapes were moved onto the way between
/// their centres. Empty where either is empty, or where their images differ in size.
#[derive(Debug, PartialEq)]
pub struct Between {
    width_px: u32,
    height_px: u32,
    ends: Option<[Signed; 2]>,
}

impl Between {
    /// Looks at both shapes once for all that lies between them.
    #[must_use]
    pub fn new(from: &Bitmap, to: &Bitmap) -> Self {
        // A journal of another hand may hold masks of any size.
        let alike = (from.width_px, from.height_px) == (to.width_px, to.height_px);
        let ends = Signed::of(from).and_then(|first| Some([first, Signed::of(to)?]));
        let ends = ends.filter(|_| alike);
        Self { width_px: from.width_px, height_px: from.height_px, ends }
    }

    /// The shape `share` (0..=1) of the way.
    #[must_use]
    pub fn at(&self, share: f32) -> Bitmap {
        let mut out = Bitmap::empty(self.width_px, self.height_px);
        let Some([before, after]) = &self.ends else { return out };
        let (a, b) = (before.middle, after.middle);
        let at = PointPx::new(a.x + (b.x - a.x) * share, a.y + (b.y - a.y) * share);
        let [first, second] = [before, after].map(|end| end.reached(at));
        let columns = first[0].min(second[0])..first[1].max(second[1]);
        for y in first[2].min(second[2])..first[3].max(second[3]) {
            for x in columns.clone() {
                let (i, j) = (x as f32, y as f32);
                let first = before.at(i + a.x - at.x, j + a.y - at.y);
                let second = after.at(i + b.x - at.x, j + b.y - at.y);
                let inside = first * (1.0 - share) + second * share > 0.0;
                out.pixels[y * self.width_px as usize + x] = inside;
            }
        }
        out
    }
}

/// A shape by the distance to its contour, positive inside.
#[derive(Debug, PartialEq)]
struct Signed {
    width: usize,
    height: usize,
    distance: Vec<f32>,
    bounds: BoxPx,
    /// Of the bounds.
    middle: PointPx,
}

impl Signed {
    /// `None` where the mask is empty.
    fn of(mask: &Bitmap) -> Option<Self> {
        let bounds = mask.bounds()?;
        Some(Self {
            width: mask.width_px as usize,
            height: mask.height_px as usize,
            distance: mask.signed_distance(),
            bounds,
            middle: bounds.centre(),
        })
    }

    /// Where the shape may be seen when its middle lies at `to`: first column and one behind the last, and the same of rows.
    /// Beyond the image it goes on as it ends there, so what touches the border reaches it wherever it is moved.
    fn reached(&self, to: PointPx) -> [usize; 4] {
        let axis = |low: f32, high: f32, by: f32, size: usize| {
            let first = if low <= 0.0 { 0.0 } else { (low + by).floor() - 1.0 };
            let last = if high >= size as f32 { size as f32 } else { (high + by).ceil() + 1.0 };
            // Casts of floats stop at the ends of their type.
            let last = (last as usize).min(size);
            [(first as usize).min(last), last]
        };
        let (min, max) = (self.bounds.min, self.bounds.max);
        let [left, right] = axis(min.x, max.x, to.x - self.middle.x, self.width);
        let [top, bottom] = axis(min.y, max.y, to.y - self.middle.y, self.height);
        [left, right, top, bottom]
    }

    /// At the nearest pixel of the image.
    fn at(&self, x: f32, y: f32) -> f32 {
        let x = (x.round().max(0.0) as usize).min(self.width - 1);
        let y = (y.round().max(0.0) as usize).min(self.height - 1);
        self.distance[y * self.width + x]
    }
}

/// A copy of a mask with a disc painted or taken away, see [`paint`].
#[cfg(test)]
pub(super) fn brushed(mask: &Bitmap, at: PointPx, radius_px: f32, erase: bool) -> Bitmap {
    let mut out = mask.clone();
    paint(&mut out, at, radius_px, erase);
    out
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
    fn a_stroke_is_what_its_discs_are() {
        let mut stroke = disc(40.0, 35.0, 18.0);
        let mut discs = stroke.clone();
        for step in 0..60 {
            let (at, erase) = (PointPx::new(step as f32 * 2.0 - 10.0, 35.0), step % 3 == 0);
            paint(&mut stroke, at, 4.5, erase);
            discs = brushed(&discs, at, 4.5, erase);
            assert!(stroke == discs, "{step}");
        }
        assert!(stroke.get(1, 35) && !stroke.get(88, 35));
    }

    #[test]
    fn a_cut_keeps_the_larger_side() {
        let mask = disc(40.0, 35.0, 18.0);
        let line = MaskEdit::Cut(PointPx::new(50.0, 0.0), PointPx::new(50.0, 69.0));
        let left = edited(&mask, line);
        assert!(left.get(40, 35) && !left.get(55, 35));
        assert!(left.area_px() > mask.area_px() / 2);
    }

    /// Shapes in the middle, at every border, and over the whole image.
    fn shapes() -> Vec<Bitmap> {
        let mut shapes: Vec<Bitmap> =
            [(40.0, 35.0, 12.0), (3.0, 30.0, 9.0), (88.0, 66.0, 10.0), (45.0, 0.0, 7.0)]
                .map(|(x, y, r)| disc(x, y, r))
                .into();
        let holed = brushed(&shapes[0], PointPx::new(38.0, 34.0), 4.0, true);
        shapes.push(brushed(&holed, PointPx::new(70.0, 60.0), 3.0, false));
        shapes.push(Bitmap::from_fn(90, 70, |x, _| x < 50));
        shapes.push(Bitmap::from_fn(90, 70, |x, y| x > 60 && !(9..=55).contains(&y)));
        shapes.push(Bitmap::from_fn(90, 70, |_, _| true));
        shapes.push(Bitmap::from_fn(90, 70, |x, y| (x, y) == (89, 0)));
        shapes.push(Bitmap::empty(90, 70));
        shapes
    }

    #[test]
    fn what_lies_far_from_a_mask_changes_nothing_of_it() {
        let line = MaskEdit::Cut(PointPx::new(12.5, 0.5), PointPx::new(80.5, 60.5));
        for mask in shapes() {
            for px in [0.5, 2.0, 7.0, 60.0] {
                // The same, looking at the whole image.
                let whole = |edit| match edit {
                    MaskEdit::Grow(px) => grown(&mask, px),
                    MaskEdit::Shrink(px) => grown(&mask.inverted(), px).inverted(),
                    MaskEdit::Smooth(px) => smoothed(&mask, px),
                    MaskEdit::Fill => without_holes(&mask),
                    MaskEdit::KeepLargest => mask.largest_component(),
                    MaskEdit::Cut(a, b) => cut(&mask, a, b),
                };
                for edit in [
                    MaskEdit::Grow(px),
                    MaskEdit::Shrink(px),
                    MaskEdit::Smooth(px),
                    MaskEdit::Fill,
                    MaskEdit::KeepLargest,
                    line,
                ] {
                    assert!(edited(&mask, edit) == whole(edit), "{edit:?}");
                }
            }
        }
    }

    #[test]
    fn a_shape_between_two_is_found_where_it_may_lie() {
        for (from, to) in
            shapes().iter().flat_map(|a| shapes().into_iter().map(move |b| (a.clone(), b)))
        {
            let shapes = Between::new(&from, &to);
            for share in [0.0, 0.3, 0.5, 1.0] {
                let wanted = match &shapes.ends {
                    Some([before, after]) => {
                        let (a, b) = (before.middle, after.middle);
                        let at = PointPx::new(a.x + (b.x - a.x) * share, a.y + (b.y - a.y) * share);
                        Bitmap::from_fn(90, 70, |x, y| {
                            let (x, y) = (x as f32, y as f32);
                            let first = before.at(x + a.x - at.x, y + a.y - at.y);
                            let second = after.at(x + b.x - at.x, y + b.y - at.y);
                            first * (1.0 - share) + second * share > 0.0
                        })
                    }
                    None => Bitmap::empty(90, 70),
                };
                assert!(shapes.at(share) == wanted, "{share}");
            }
        }
    }

    #[test]
    fn the_shape_between_two_lies_between_them() {
        let (from, to) = (disc(25.0, 30.0, 10.0), disc(55.0, 40.0, 16.0));
        let shapes = Between::new(&from, &to);
        assert!(alike(&shapes.at(0.5), &disc(40.0, 35.0, 13.0)) > 0.93);
        assert!(alike(&shapes.at(0.0), &from) > 0.99);
        assert!(alike(&shapes.at(1.0), &to) > 0.99);
        for other in [Bitmap::empty(90, 70), Bitmap::from_fn(200, 150, |_, _| true)] {
            assert_eq!(Between::new(&from, &other).at(0.5), Bitmap::empty(90, 70));
        }
    }
}
