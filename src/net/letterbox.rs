//! Between image pixels and network pixels: frames in, points in, masks out.
//!
//! What decides whether this file is right: one affine map is used for pixels, points and masks alike. A point of the
//! domain counts from the corner of the first pixel; a network point counts from its centre (SAM 2 adds the half itself).

use super::blocks::constant;
use super::config::{Fit, Preprocess};
use super::prompt_encoder::PointLabel;
use super::resize::{Kernel, apply_taps, resize_plane, resize_rows, taps_at};
use crate::domain::{FramePrompts, GrayFrame, PointKind, PointPx};
use burn::tensor::{Device, Tensor};

/// How one image lies in the square network input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Letterbox {
    /// Image width and height, px.
    pub image: [usize; 2],
    /// Side of the network input, px.
    pub size: usize,
    /// Left top corner of the image inside the input, network px.
    pub offset: [usize; 2],
    /// Width and height of the image inside the input, network px.
    pub content: [usize; 2],
}

impl Letterbox {
    /// Where an image of `width` x `height` px goes in an input of side `size`.
    pub fn new(fit: Fit, width: usize, height: usize, size: usize) -> Self {
        let content = match fit {
            Fit::Stretch => [size; 2],
            Fit::Letterbox => {
                let scale = size as f64 / width.max(height).max(1) as f64;
                [width, height].map(|n| ((n as f64 * scale).round() as usize).clamp(1, size))
            }
        };
        Self { image: [width, height], size, offset: content.map(|n| (size - n) / 2), content }
    }

    /// Network px per image px, in x and y.
    pub fn scale(&self) -> [f64; 2] {
        [0, 1].map(|k| self.content[k] as f64 / self.image[k].max(1) as f64)
    }

    /// A point of the image (corner-based) to network px (centre-based).
    pub fn to_network(&self, at: PointPx) -> [f32; 2] {
        let scale = self.scale();
        let place =
            |v: f32, k: usize| (f64::from(v) * scale[k] + self.offset[k] as f64 - 0.5) as f32;
        [place(at.x, 0), place(at.y, 1)]
    }

    /// A plane of the image, resized with antialiasing into the input; `fill` around it. `size * size` numbers.
    pub fn plane_to_network(&self, plane: &[f32], fill: f32) -> Vec<f32> {
        let ([w, h], [cw, ch]) = (self.image, self.content);
        self.placed(resize_plane(plane, [h, w], [ch, cw], Kernel::BilinearAa), fill)
    }

    /// A frame as a plane of 0..=1, resized as [`plane_to_network`](Self::plane_to_network) does, with zeros around it.
    fn frame_to_network(&self, frame: &GrayFrame) -> Vec<f32> {
        let ([w, h], [cw, ch]) = (self.image, self.content);
        let read = |y: usize, row: &mut [f32]| {
            for (out, v) in row.iter_mut().zip(&frame.pixels[y * w..]) {
                *out = f32::from(*v) / 255.0;
            }
        };
        self.placed(resize_rows(read, [h, w], [ch, cw], Kernel::BilinearAa), 0.0)
    }

    /// The resized image inside the input, `fill` around it.
    fn placed(&self, inner: Vec<f32>, fill: f32) -> Vec<f32> {
        let [cw, ch] = self.content;
        if [cw, ch] == [self.size; 2] {
            return inner;
        }
        let mut full = vec![fill; self.size * self.size];
        for (y, row) in inner.chunks_exact(cw).enumerate() {
            let at = (self.offset[1] + y) * self.size + self.offset[0];
            full[at..at + cw].copy_from_slice(row);
        }
        full
    }

    /// Logits of a square grid over the network input (`side * side`, usually s4) read at every image pixel, linear in
    /// between: `height * width` numbers.
    pub fn logits_to_image(&self, logits: &[f32], side: usize) -> Vec<f32> {
        let cells_per_px = side as f64 / self.size as f64;
        let taps = [0, 1].map(|k| {
            taps_at(
                side,
                self.image[k],
                self.scale()[k] * cells_per_px,
                self.offset[k] as f64 * cells_per_px,
            )
        });
        apply_taps(logits, side, &taps[1], &taps[0])
    }

    /// A frame's points as the network wants them: box corners first, then the points in order.
    pub fn network_points(&self, prompts: &FramePrompts) -> Vec<([f32; 2], PointLabel)> {
        let mut out = Vec::with_capacity(prompts.points.len() + 2);
        if let Some(frame) = &prompts.bounding_box {
            out.push((self.to_network(frame.min), PointLabel::BoxMin));
            out.push((self.to_network(frame.max), PointLabel::BoxMax));
        }
        out.extend(prompts.points.iter().map(|(kind, at)| {
            let label = match kind {
                PointKind::Boundary => PointLabel::Boundary,
                PointKind::Inside => PointLabel::Inside,
                PointKind::Outside => PointLabel::Outside,
            };
            (self.to_network(*at), label)
        }));
        out
    }
}

impl Preprocess {
    /// A gray frame as network input `[1, 3, size, size]`, and how it lies there.
    pub fn frame(&self, frame: &GrayFrame, size: usize, device: &Device) -> (Tensor<4>, Letterbox) {
        let (w, h) = (frame.width_px as usize, frame.height_px as usize);
        let letterbox = Letterbox::new(self.fit, w, h, size);
        let plane = letterbox.frame_to_network(frame);
        (self.normalised(&[&plane, &plane, &plane], size, device), letterbox)
    }

    /// Three planes of `size * size` values in 0..=1 as network input `[1, 3, size, size]`.
    pub fn normalised(&self, planes: &[&[f32]; 3], size: usize, device: &Device) -> Tensor<4> {
        let mut values = Vec::with_capacity(3 * size * size);
        for (plane, (mean, std)) in planes.iter().zip(self.mean.iter().zip(&self.std)) {
            values.extend(plane.iter().map(|v| (v - mean) / std));
        }
        constant(values, [1, 3, size, size], device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_row_by_row_as_all_of_its_numbers_would_be() {
        let (width, height) = (150, 70);
        let pixels: Vec<u8> = (0..width * height).map(|i| (i * 37 % 251) as u8).collect();
        let numbers: Vec<f32> = pixels.iter().map(|v| f32::from(*v) / 255.0).collect();
        let frame = GrayFrame::new(width, height, pixels).expect("a frame");
        for fit in [Fit::Stretch, Fit::Letterbox] {
            let letterbox = Letterbox::new(fit, 150, 70, 64);
            let plane = letterbox.plane_to_network(&numbers, 0.0);
            assert_eq!(letterbox.frame_to_network(&frame), plane);
        }
    }
}
