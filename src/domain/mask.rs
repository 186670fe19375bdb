//! Masks: as runs where they are kept, as bitmaps where they are worked on.
//!
//! What decides whether this file is right: runs and bitmap say the same; the boundary is made of foreground pixels
//! (NETWORK 13.4); foreground hangs together over corners, a hole's background over sides alone.

use std::sync::Arc;

use imageproc::distance_transform::euclidean_squared_distance_transform;
use imageproc::region_labelling::{Connectivity, connected_components};
use serde::{Deserialize, Serialize, Serializer};

use super::{BoxPx, PointPx};

/// Why runs are not a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// The runs do not add up to the image.
    #[error(
        "the runs of a mask add up to {found} pixels, its image has {expected}; the record is damaged"
    )]
    Length {
        /// Pixels covered by the runs.
        found: u64,
        /// Pixels of the image.
        expected: u64,
    },
}

/// A binary mask as alternating run lengths in row order, background first. Clones share the runs: the annotation,
/// its history and its journal hold the masks of a long clip once.
#[derive(Clone, Debug, Eq, Deserialize)]
#[serde(try_from = "Runs")]
pub struct Mask {
    width_px: u32,
    height_px: u32,
    runs: Arc<[u32]>,
}

#[derive(Deserialize)]
struct Runs {
    w: u32,
    h: u32,
    runs: Vec<u32>,
}

#[derive(Serialize)]
struct RunsOf<'a> {
    w: u32,
    h: u32,
    runs: &'a [u32],
}

impl PartialEq for Mask {
    fn eq(&self, other: &Self) -> bool {
        let size = |mask: &Mask| (mask.width_px, mask.height_px);
        // What two states of a clip have in common is nearly always shared.
        let same = || Arc::ptr_eq(&self.runs, &other.runs) || self.runs == other.runs;
        size(self) == size(other) && same()
    }
}

impl Serialize for Mask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RunsOf { w: self.width_px, h: self.height_px, runs: &self.runs }.serialize(serializer)
    }
}

impl TryFrom<Runs> for Mask {
    type Error = MaskError;

    fn try_from(raw: Runs) -> Result<Self, MaskError> {
        Mask::from_runs(raw.w, raw.h, raw.runs)
    }
}

impl Mask {
    /// A mask from alternating run lengths, background first.
    ///
    /// # Errors
    /// When the runs do not add up to the image.
    pub fn from_runs(width_px: u32, height_px: u32, runs: Vec<u32>) -> Result<Self, MaskError> {
        let found: u64 = runs.iter().map(|&run| u64::from(run)).sum();
        let expected = u64::from(width_px) * u64::from(height_px);
        if found != expected {
            return Err(MaskError::Length { found, expected });
        }
        Ok(Self { width_px, height_px, runs: runs.into() })
    }

    /// Width, px.
    #[must_use]
    pub fn width_px(&self) -> u32 {
        self.width_px
    }

    /// Height, px.
    #[must_use]
    pub fn height_px(&self) -> u32 {
        self.height_px
    }

    /// Alternating run lengths, background first.
    #[must_use]
    pub fn runs(&self) -> &[u32] {
        &self.runs
    }

    /// Number of foreground pixels.
    #[must_use]
    pub fn area_px(&self) -> u64 {
        self.runs.iter().skip(1).step_by(2).map(|&run| u64::from(run)).sum()
    }

    /// True when no pixel is foreground.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.area_px() == 0
    }

    /// Number of pixels that are foreground here and in `other`, which has the same size; from
    /// the runs alone.
    #[must_use]
    pub fn shared_px(&self, other: &Mask) -> u64 {
        let (mut a, mut b) = (Spans::of(&self.runs), Spans::of(&other.runs));
        let (mut this, mut that) = (a.next(), b.next());
        let mut shared = 0;
        while let (Some(x), Some(y)) = (this, that) {
            shared += x.1.min(y.1).saturating_sub(x.0.max(y.0));
            if x.1 <= y.1 {
                this = a.next();
            } else {
                that = b.next();
            }
        }
        shared
    }

    /// Intersection over union with `other`, which has the same size; two empty masks agree.
    #[must_use]
    pub fn iou(&self, other: &Mask) -> f32 {
        let both = self.shared_px(other);
        let either = self.area_px() + other.area_px() - both;
        if either == 0 { 1.0 } else { both as f32 / either as f32 }
    }

    /// The same mask, a flag per pixel.
    #[must_use]
    pub fn to_bitmap(&self) -> Bitmap {
        let mut pixels = Vec::with_capacity(self.width_px as usize * self.height_px as usize);
        for (i, &run) in self.runs.iter().enumerate() {
            pixels.resize(pixels.len() + run as usize, i % 2 == 1);
        }
        Bitmap { width_px: self.width_px, height_px: self.height_px, pixels }
    }
}

/// The foreground runs of a mask as positions, first and one behind the last.
struct Spans<'a> {
    runs: std::slice::ChunksExact<'a, u32>,
    at: u64,
}

impl<'a> Spans<'a> {
    fn of(runs: &'a [u32]) -> Self {
        // A last run of background has no partner and is left out.
        Self { runs: runs.chunks_exact(2), at: 0 }
    }
}

impl Iterator for Spans<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        let pair = self.runs.next()?;
        let start = self.at + u64::from(pair[0]);
        self.at = start + u64::from(pair[1]);
        Some((start, self.at))
    }
}

/// A binary mask with a flag per pixel, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    /// Width, px.
    pub width_px: u32,
    /// Height, px.
    pub height_px: u32,
    /// `width_px * height_px` flags.
    pub pixels: Vec<bool>,
}

impl Bitmap {
    /// An empty bitmap.
    #[must_use]
    pub fn empty(width_px: u32, height_px: u32) -> Self {
        let pixels = vec![false; width_px as usize * height_px as usize];
        Self { width_px, height_px, pixels }
    }

    /// A bitmap of the given size, `inside(column, row)` saying which pixels are foreground.
    #[must_use]
    pub fn from_fn(width_px: u32, height_px: u32, inside: impl Fn(u32, u32) -> bool) -> Self {
        let rows = (0..height_px).flat_map(|y| (0..width_px).map(move |x| (x, y)));
        let pixels = rows.map(|(x, y)| inside(x, y)).collect();
        Self { width_px, height_px, pixels }
    }

    /// Foreground where a logit is above zero. `logits` has `width_px * height_px` values.
    #[must_use]
    pub fn from_logits(width_px: u32, height_px: u32, logits: &[f32]) -> Self {
        let mut pixels: Vec<bool> = logits.iter().map(|&logit| logit > 0.0).collect();
        pixels.resize(width_px as usize * height_px as usize, false);
        Self { width_px, height_px, pixels }
    }

    /// The flag at column `x`, row `y`; false outside.
    #[must_use]
    pub fn get(&self, x: i64, y: i64) -> bool {
        let inside = (0..i64::from(self.width_px)).contains(&x)
            && (0..i64::from(self.height_px)).contains(&y);
        inside && self.pixels[y as usize * self.width_px as usize + x as usize]
    }

    /// Number of foreground pixels.
    #[must_use]
    pub fn area_px(&self) -> usize {
        self.pixels.iter().filter(|&&p| p).count()
    }

    /// The same bitmap as runs.
    #[must_use]
    pub fn to_mask(&self) -> Mask {
        let mut runs = Vec::new();
        let (mut value, mut run) = (false, 0u32);
        for &pixel in &self.pixels {
            if pixel != value {
                runs.push(run);
                value = pixel;
                run = 0;
            }
            run += 1;
        }
        runs.push(run);
        Mask { width_px: self.width_px, height_px: self.height_px, runs: runs.into() }
    }

    /// The smallest box around the foreground, or `None` when there is none.
    #[must_use]
    pub fn bounds(&self) -> Option<BoxPx> {
        let (mut x0, mut y0, mut x1, mut y1) = (u32::MAX, u32::MAX, 0, 0);
        for (i, _) in self.pixels.iter().enumerate().filter(|&(_, &p)| p) {
            let (x, y) = (i as u32 % self.width_px, i as u32 / self.width_px);
            (x0, y0, x1, y1) = (x0.min(x), y0.min(y), x1.max(x + 1), y1.max(y + 1));
        }
        (x0 != u32::MAX).then(|| BoxPx {
            min: PointPx::new(x0 as f32, y0 as f32),
            max: PointPx::new(x1 as f32, y1 as f32),
        })
    }

    /// Inner boundary: foreground pixels with a background 4-neighbour inside the image, as
    /// (column, row) in row order. The image edge does not count, unless the mask fills the
    /// image and has no other boundary (NETWORK 13.4).
    #[must_use]
    pub fn boundary(&self) -> Vec<(u32, u32)> {
        let (w, h) = (self.width_px, self.height_px);
        let at = |x: u32, y: u32| self.pixels[y as usize * w as usize + x as usize];
        let collect = |edge_counts: bool| -> Vec<(u32, u32)> {
            let mut found = Vec::new();
            for y in 0..h {
                for x in 0..w {
                    if !at(x, y) {
                        continue;
                    }
                    let on_edge = x == 0 || y == 0 || x + 1 == w || y + 1 == h;
                    let touches = (x > 0 && !at(x - 1, y))
                        || (x + 1 < w && !at(x + 1, y))
                        || (y > 0 && !at(x, y - 1))
                        || (y + 1 < h && !at(x, y + 1));
                    if touches || (edge_counts && on_edge) {
                        found.push((x, y));
                    }
                }
            }
            found
        };
        let inner = collect(false);
        if inner.is_empty() { collect(true) } else { inner }
    }

    /// The largest 8-connected component, ties to the first in row order; empty stays empty.
    #[must_use]
    pub fn largest_component(&self) -> Bitmap {
        let labels = self.labels(Connectivity::Eight);
        let count = labels.iter().max().map_or(0, |&max| max as usize);
        let mut areas = vec![0usize; count + 1];
        for &label in &labels {
            areas[label as usize] += 1;
        }
        let mut best = 0;
        for (label, &area) in areas.iter().enumerate().skip(1) {
            if best == 0 || area > areas[best] {
                best = label;
            }
        }
        let pixels = labels.iter().map(|&label| best != 0 && label as usize == best).collect();
        Bitmap { pixels, ..self.clone() }
    }

    /// The 8-connected components in row order of their first pixel, made one at a time: each has the size of the image, and
    /// a noisy mask has thousands.
    pub fn components(&self) -> impl Iterator<Item = Bitmap> {
        let labels = self.labels(Connectivity::Eight);
        let (width_px, height_px) = (self.width_px, self.height_px);
        let count = labels.iter().max().copied().unwrap_or(0);
        (1..=count).map(move |number| {
            let pixels = labels.iter().map(|&label| label == number).collect();
            Bitmap { width_px, height_px, pixels }
        })
    }

    /// Foreground that is none in `other`, which has the same size.
    #[must_use]
    pub fn without(&self, other: &Bitmap) -> Bitmap {
        let pairs = self.pixels.iter().zip(&other.pixels);
        Bitmap { pixels: pairs.map(|(set, gone)| *set && !gone).collect(), ..*self }
    }

    /// The 4-connected components that do not reach the edge of the image: of a background, the holes.
    #[must_use]
    pub fn enclosed(&self) -> Bitmap {
        let labels = self.parts();
        let mut open = vec![false; labels.iter().max().map_or(0, |&max| max as usize) + 1];
        let (w, h) = (self.width_px as usize, self.height_px as usize);
        for (i, &label) in labels.iter().enumerate() {
            let (x, y) = (i % w, i / w);
            open[label as usize] |= x == 0 || y == 0 || x + 1 == w || y + 1 == h;
        }
        let inside = |&label: &u32| label != 0 && !open[label as usize];
        Bitmap { pixels: labels.iter().map(inside).collect(), ..self.clone() }
    }

    /// The 8-connected components of at most `most` pixels.
    #[must_use]
    pub fn specks(&self, most: usize) -> Bitmap {
        if !self.pixels.contains(&true) {
            return self.clone();
        }
        let labels = self.labels(Connectivity::Eight);
        let mut areas = vec![0usize; labels.iter().max().map_or(0, |&max| max as usize) + 1];
        labels.iter().for_each(|&label| areas[label as usize] += 1);
        let small = |&label: &u32| label != 0 && areas[label as usize] <= most;
        Bitmap { pixels: labels.iter().map(small).collect(), ..self.clone() }
    }

    /// Numbers of the 4-connected components by pixel, from 1 on; 0 is the background.
    #[must_use]
    pub fn parts(&self) -> Vec<u32> {
        self.labels(Connectivity::Four)
    }

    fn labels(&self, connectivity: Connectivity) -> Vec<u32> {
        // The library has no room for the number of a lone pixel, and panics.
        if let [pixel] = self.pixels.as_slice() {
            return vec![u32::from(*pixel)];
        }
        let image = self.to_luma();
        connected_components(&image, connectivity, image::Luma([0u8])).into_raw()
    }

    fn to_luma(&self) -> image::GrayImage {
        let raw = self.pixels.iter().map(|&p| if p { 255 } else { 0 }).collect();
        image::GrayImage::from_raw(self.width_px, self.height_px, raw)
            .expect("a bitmap holds one flag per pixel")
    }

    /// Euclidean distance of every pixel to the nearest foreground pixel, px; infinity
    /// everywhere when there is none.
    #[must_use]
    pub fn distance_to_foreground(&self) -> Vec<f32> {
        if self.area_px() == 0 {
            return vec![f32::INFINITY; self.pixels.len()];
        }
        let squared = euclidean_squared_distance_transform(&self.to_luma());
        squared.into_raw().iter().map(|&d| d.sqrt() as f32).collect()
    }

    /// Signed distance of every pixel centre to the edge of the mask, px, positive inside: half a pixel for those beside
    /// it. The border of the image is no edge. Where there is none at all, the distance is width and height together.
    #[must_use]
    pub fn signed_distance(&self) -> Vec<f32> {
        let far = self.width_px as f32 + self.height_px as f32;
        let (to_inside, to_outside) =
            (self.distance_to_foreground(), self.inverted().distance_to_foreground());
        let signed = |(inside, outside): (&f32, &f32)| match *outside > 0.0 {
            true => outside.min(far) - 0.5,
            false => 0.5 - inside.min(far),
        };
        to_inside.iter().zip(&to_outside).map(signed).collect()
    }

    /// The bitmap with foreground and background exchanged.
    #[must_use]
    pub fn inverted(&self) -> Bitmap {
        let pixels = self.pixels.iter().map(|&p| !p).collect();
        Bitmap { pixels, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disc(w: u32, h: u32, cx: f32, cy: f32, r: f32) -> Bitmap {
        Bitmap::from_fn(w, h, |x, y| (x as f32 - cx).hypot(y as f32 - cy) <= r)
    }

    #[test]
    fn runs_and_bitmap_say_the_same() {
        for bitmap in [disc(17, 11, 8.0, 5.0, 4.0), Bitmap::empty(5, 3), disc(4, 4, 1.0, 1.0, 9.0)]
        {
            let mask = bitmap.to_mask();
            assert_eq!(mask.to_bitmap(), bitmap);
            assert_eq!(mask.area_px(), bitmap.area_px() as u64);
            let text = serde_json::to_string(&mask).expect("serialises");
            assert_eq!(serde_json::from_str::<Mask>(&text).expect("reads back"), mask);
        }
    }

    #[test]
    fn clones_share_their_runs_and_equal_ones_need_not() {
        let mask = disc(17, 11, 8.0, 5.0, 4.0).to_mask();
        assert!(std::ptr::eq(mask.clone().runs(), mask.runs()));
        let again = disc(17, 11, 8.0, 5.0, 4.0).to_mask();
        assert!(again == mask && !std::ptr::eq(again.runs(), mask.runs()));
        // The same runs of another shape.
        let turned = Mask::from_runs(11, 17, mask.runs().to_vec()).expect("as many pixels");
        assert_ne!(turned, mask);
    }

    #[test]
    fn runs_alone_tell_what_two_masks_share() {
        let (a, b) = (disc(31, 20, 12.0, 9.0, 7.0), disc(31, 20, 16.0, 8.0, 6.0));
        let both = a.pixels.iter().zip(&b.pixels).filter(|(p, q)| **p && **q).count() as u64;
        assert_eq!(a.to_mask().shared_px(&b.to_mask()), both);
        let overlap = crate::domain::overlap(&a, &b).iou as f32;
        assert!((a.to_mask().iou(&b.to_mask()) - overlap).abs() < 1e-6);
        let empty = Bitmap::empty(31, 20).to_mask();
        assert_eq!((a.to_mask().iou(&empty), empty.iou(&empty)), (0.0, 1.0));
    }

    #[test]
    fn damaged_runs_are_refused() {
        assert!(serde_json::from_str::<Mask>(r#"{"w":4,"h":4,"runs":[3,4]}"#).is_err());
    }

    #[test]
    fn boundary_ignores_the_image_edge_unless_the_mask_fills_it() {
        let half = Bitmap::from_fn(6, 4, |x, _| x < 3);
        assert_eq!(half.boundary(), [(2, 0), (2, 1), (2, 2), (2, 3)]);
        let full = Bitmap::from_fn(3, 3, |_, _| true);
        assert_eq!(full.boundary().len(), 8);
    }

    #[test]
    fn the_largest_component_wins() {
        let two = Bitmap::from_fn(20, 10, |x, y| (x < 3 && y < 3) || (x > 9 && y > 4));
        assert_eq!(two.largest_component().area_px(), 50);
        assert_eq!(two.components().count(), 2);
        assert_eq!((two.specks(9).area_px(), two.specks(8).area_px()), (9, 0));
    }

    #[test]
    fn an_image_of_one_pixel_has_components_too() {
        let (full, empty) = (Bitmap::from_fn(1, 1, |_, _| true), Bitmap::empty(1, 1));
        assert_eq!((full.components().count(), empty.components().count()), (1, 0));
        assert_eq!((full.parts(), empty.parts()), (vec![1], vec![0]));
        assert_eq!(full.largest_component(), full);
        assert_eq!(
            (full.specks(1), full.specks(0), full.enclosed()),
            (full.clone(), empty.clone(), empty)
        );
    }

    #[test]
    fn distances_are_euclidean() {
        let dot = Bitmap::from_fn(9, 9, |x, y| x == 4 && y == 4);
        let d = dot.distance_to_foreground();
        assert!((d[0] - 32f32.sqrt()).abs() < 1e-5 && d[4 * 9 + 4] == 0.0);
    }

    #[test]
    fn the_edge_lies_between_pixels_and_far_is_a_number() {
        let half = Bitmap::from_fn(6, 2, |x, _| x < 3);
        assert_eq!(half.signed_distance()[..6], [2.5, 1.5, 0.5, -0.5, -1.5, -2.5]);
        let (full, empty) = (Bitmap::from_fn(6, 2, |_, _| true), Bitmap::empty(6, 2));
        assert_eq!(full.signed_distance(), [7.5; 12]);
        assert_eq!(empty.signed_distance(), [-7.5; 12]);
    }
}
