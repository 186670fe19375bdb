//! Masks carried along with the tissue: what motion alone knows of a propagated contour.
//!
//! A carrier holds the anchors of one walk. Each further frame is registered, through its
//! neighbour, to the anchor it descends from; the anchor's contour, as signed distance, is
//! sampled at the displaced positions. Nothing is resampled twice, so the contour stays as
//! sharp after fifty frames as after one.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::{Bitmap, BoxPx, FrameIndex, GrayFrame, Mask, Motion, Registrable, Shrunk, register};

/// A frame prepared for registration when a carrier first asks; those of several structures share it, and so do clones.
#[derive(Clone, Default)]
pub struct Tissue(Arc<OnceLock<Arc<Registrable>>>);

impl Tissue {
    /// What is there, or else what is made of `image`.
    fn of(&self, image: &GrayFrame) -> Arc<Registrable> {
        // As with what features share (`net::sam2::Begun`): nobody waits for what another thread makes.
        self.0.get().cloned().unwrap_or_else(|| {
            let made = Arc::new(Registrable::new(image));
            let _ = self.0.set(Arc::clone(&made));
            made
        })
    }
}

/// An anchor as a source of contours, as small as it can wait: a clip may have hundreds.
struct Source {
    image: Shrunk,
    mask: Mask,
}

/// The source that is carried from.
struct AtWork {
    frame: FrameIndex,
    image: Arc<Registrable>,
    /// Signed distance of each pixel centre to the contour, px, positive inside.
    distance_px: Vec<f32>,
    bounds: Option<BoxPx>,
}

impl AtWork {
    fn new(frame: FrameIndex, source: &Source) -> Self {
        let mask = source.mask.to_bitmap();
        Self {
            frame,
            image: Arc::new(Registrable::of(source.image.clone())),
            distance_px: mask.signed_distance(),
            bounds: mask.bounds(),
        }
    }
}

struct Last {
    frame: FrameIndex,
    image: Arc<Registrable>,
    source: FrameIndex,
    to_source: Option<Motion>,
    bounds: Option<BoxPx>,
}

/// Carries the masks of one walk. Memory: one small frame and the runs of one mask per anchor, and one distance map.
#[derive(Default)]
pub struct Carrier {
    sources: BTreeMap<FrameIndex, Source>,
    at_work: Option<AtWork>,
    last: Option<Last>,
}

impl Carrier {
    /// A carrier without anchors.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes `mask` on `frame` a source. `image` and `mask` have the size of the clip.
    pub fn anchor(&mut self, frame: FrameIndex, image: &GrayFrame, mask: &Bitmap) {
        let source = Source { image: Shrunk::new(image), mask: mask.to_mask() };
        self.sources.insert(frame, source);
        self.at_work = self.at_work.take().filter(|held| held.frame != frame);
    }

    /// The source on `frame`, made ready; the one before waits again.
    fn at_work(&mut self, frame: FrameIndex) -> Option<&AtWork> {
        if self.at_work.as_ref().is_none_or(|held| held.frame != frame) {
            self.at_work = Some(AtWork::new(frame, self.sources.get(&frame)?));
        }
        self.at_work.as_ref()
    }

    /// Signed distance to the carried contour on `frame`, px, positive inside, for every pixel;
    /// `None` without an anchor, or when the anchor's mask was empty. Frames are expected in
    /// walking order: the motion goes on from the frame carried last where that is nearest.
    pub fn follow(&mut self, frame: FrameIndex, image: &GrayFrame) -> Option<Vec<f32>> {
        self.follow_in(frame, image, &Tissue::default())
    }

    /// As [`Self::follow`], on a frame that carriers of other structures look at, too.
    pub fn follow_in(
        &mut self,
        frame: FrameIndex,
        image: &GrayFrame,
        tissue: &Tissue,
    ) -> Option<Vec<f32>> {
        let nearest = self.sources.keys().copied().min_by_key(|at| at.abs_diff(frame))?;
        let chained = self.last.take().filter(|last| {
            last.frame.abs_diff(frame) <= nearest.abs_diff(frame) && last.frame != frame
        });
        let source = self.at_work(chained.as_ref().map_or(nearest, |last| last.source))?;
        source.bounds?;
        let here = tissue.of(image);
        let last = chained.unwrap_or_else(|| Last {
            frame: nearest,
            image: Arc::clone(&source.image),
            source: nearest,
            to_source: None,
            bounds: source.bounds,
        });
        let step = register(&here, &last.image, None, last.bounds);
        let to_source = match &last.to_source {
            None => step,
            Some(onward) => {
                let guess = step.followed_by(onward);
                register(&here, &source.image, Some(&guess), last.bounds)
            }
        };
        let distance_px = carried(&to_source, source, image);
        let carried_mask = Bitmap::from_logits(image.width_px, image.height_px, &distance_px);
        let bounds = carried_mask.bounds().or(last.bounds);
        let (source, to_source) = (last.source, Some(to_source));
        self.last = Some(Last { frame, image: here, source, to_source, bounds });
        Some(distance_px)
    }
}

fn carried(motion: &Motion, source: &AtWork, image: &GrayFrame) -> Vec<f32> {
    let (width, height) = (image.width_px as usize, image.height_px as usize);
    let places = motion.places(width);
    let mut out = vec![0.0; width * height];
    out.par_chunks_mut(width.max(1)).enumerate().for_each(|(row, out)| {
        for (out, [x, y]) in out.iter_mut().zip(places.row(row)) {
            let x = (x - 0.5).clamp(0.0, width as f32 - 1.0);
            let y = (y - 0.5).clamp(0.0, height as f32 - 1.0);
            let (x0, y0) = (x as u32 as usize, y as u32 as usize);
            let (fx, fy) = (x - x0 as f32, y - y0 as f32);
            let beside = usize::from(x0 + 1 < width);
            let upper = &source.distance_px[y0 * width + x0..];
            let lower = &source.distance_px[(y0 + 1).min(height - 1) * width + x0..];
            let top = upper[0] + fx * (upper[beside] - upper[0]);
            let low = lower[0] + fx * (lower[beside] - lower[0]);
            *out = top + fy * (low - top);
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::overlap;

    /// Smooth random texture that moves right by `shift` px, brighter by `gain`.
    fn tissue(shift: f32, gain: f32) -> GrayFrame {
        let (w, h) = (160u32, 120u32);
        let value = |x: f32, y: f32| {
            let waves =
                [(0.31, 0.17, 0.3), (0.11, 0.43, 1.2), (0.51, 0.37, 2.1), (0.23, 0.61, 4.0)];
            waves.iter().map(|(a, b, c)| (a * x + b * y + c).sin()).sum::<f32>()
        };
        let pixels = (0..w * h)
            .map(|i| {
                let (x, y) = ((i % w) as f32 - shift, (i / w) as f32);
                (110.0 + gain * 25.0 * value(x, y)).clamp(0.0, 255.0) as u8
            })
            .collect();
        GrayFrame::new(w, h, pixels).expect("one value per pixel")
    }

    fn disc(cx: f32) -> Bitmap {
        Bitmap::from_fn(160, 120, |x, y| (x as f32 + 0.5 - cx).hypot(y as f32 - 59.5) < 20.0)
    }

    #[test]
    fn a_mask_moves_with_the_tissue_over_many_frames() {
        let mut carrier = Carrier::new();
        carrier.anchor(0, &tissue(0.0, 1.0), &disc(50.0));
        for frame in 1..=20 {
            let shift = frame as f32 * 1.5;
            let image = tissue(shift, 1.0 + 0.02 * frame as f32);
            let distance = carrier.follow(frame, &image).expect("there is an anchor");
            let mask = Bitmap::from_logits(160, 120, &distance);
            let found = overlap(&mask, &disc(50.0 + shift));
            assert!(found.iou > 0.95, "frame {frame}: IoU {}", found.iou);
        }
    }

    #[test]
    fn walking_back_starts_from_the_anchor_behind() {
        let mut carrier = Carrier::new();
        carrier.anchor(0, &tissue(0.0, 1.0), &disc(50.0));
        carrier.anchor(9, &tissue(9.0, 1.0), &disc(90.0));
        carrier.follow(1, &tissue(1.0, 1.0)).expect("there is an anchor");
        let distance = carrier.follow(8, &tissue(8.0, 1.0)).expect("there is an anchor");
        let mask = Bitmap::from_logits(160, 120, &distance);
        assert!(overlap(&mask, &disc(89.0)).iou > 0.95);
    }

    #[test]
    fn an_anchor_that_waits_takes_less_memory_than_its_frame() {
        let (width, height) = (1024, 768);
        let frame = GrayFrame::new(width, height, vec![90; 1024 * 768]).expect("it fits");
        let mask = Bitmap::from_fn(width, height, |x, y| {
            (x as f32 - 500.0).hypot(y as f32 - 400.0) < 200.0
        });
        let mut carrier = Carrier::new();
        carrier.anchor(0, &frame, &mask);
        let Source { image, mask } = &carrier.sources[&0];
        let waiting = image.bytes() + size_of_val(mask.runs());
        assert!(waiting < 1024 * 768 / 3, "{waiting} bytes");
        assert!(carrier.at_work.is_none(), "nothing more until it is carried from");
        carrier.follow(1, &frame).expect("there is an anchor");
        assert_eq!(carrier.at_work.map(|held| held.frame), Some(0));
    }

    #[test]
    fn nothing_to_carry_is_said() {
        let mut carrier = Carrier::new();
        assert!(carrier.follow(0, &tissue(0.0, 1.0)).is_none());
        carrier.anchor(0, &tissue(0.0, 1.0), &Bitmap::empty(160, 120));
        assert!(carrier.follow(1, &tissue(1.0, 1.0)).is_none());
    }
}
