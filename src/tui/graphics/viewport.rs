//! Where image pixels lie on the screen: zoom, pan and the way back.

use crate::domain::PointPx;

/// Largest zoom, screen px per image px.
const MAX_SCALE: f32 = 64.0;

/// The part of an image that is shown on a screen area, both in px.
///
/// `scale` screen px show one image px; the image position `centre` lies in the middle of the
/// screen area. Screen positions are continuous like image positions: pixel centres at halves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Viewport {
    /// Width of the screen area, px.
    pub width_px: usize,
    /// Height of the screen area, px.
    pub height_px: usize,
    /// Width and height of the image, image px.
    pub image_px: [u32; 2],
    /// Screen px per image px.
    pub scale: f32,
    /// Image position in the middle of the screen area.
    pub centre: PointPx,
}

impl Viewport {
    /// The whole image, as large as the screen area allows.
    #[must_use]
    pub fn fit(image_width: u32, image_height: u32, width_px: usize, height_px: usize) -> Self {
        let (iw, ih) = (image_width.max(1), image_height.max(1));
        let mut view = Self {
            width_px,
            height_px,
            image_px: [iw, ih],
            scale: 1.0,
            centre: PointPx::new(iw as f32 / 2.0, ih as f32 / 2.0),
        };
        view.scale = view.fit_scale();
        view
    }

    /// The zoom at which the whole image is just visible, screen px per image px.
    #[must_use]
    pub fn fit_scale(&self) -> f32 {
        let [iw, ih] = self.image_px;
        let across = self.width_px.max(1) as f32 / iw as f32;
        across.min(self.height_px.max(1) as f32 / ih as f32).min(MAX_SCALE)
    }

    /// The same zoom and centre on a screen area of another size; a fitted view stays fitted.
    #[must_use]
    pub fn resized(&self, width_px: usize, height_px: usize) -> Self {
        let fitted = (self.scale - self.fit_scale()).abs() < 1e-4;
        if fitted {
            return Self::fit(self.image_px[0], self.image_px[1], width_px, height_px);
        }
        Self { width_px, height_px, ..*self }.clamped()
    }

    /// Zoomed by `factor`, keeping the image position `anchor` where it is on the screen.
    #[must_use]
    pub fn zoomed(&self, factor: f32, anchor: PointPx) -> Self {
        let scale = (self.scale * factor).clamp(self.fit_scale().min(1.0), MAX_SCALE);
        let shrink = self.scale / scale;
        let keep = |centre: f32, at: f32| at + (centre - at) * shrink;
        let centre = PointPx::new(keep(self.centre.x, anchor.x), keep(self.centre.y, anchor.y));
        Self { scale, centre, ..*self }.clamped()
    }

    /// Moved so that the image shifts by `dx`, `dy` screen px towards the left and the top.
    #[must_use]
    pub fn panned(&self, dx: f32, dy: f32) -> Self {
        let centre = PointPx::new(self.centre.x + dx / self.scale, self.centre.y + dy / self.scale);
        Self { centre, ..*self }.clamped()
    }

    /// The least move after which `at` is at least `margin_px` screen px away from the border.
    #[must_use]
    pub fn revealing(&self, at: PointPx, margin_px: f32) -> Self {
        let (x, y) = self.to_screen(at);
        let push = |at: f32, size: f32| {
            let margin = margin_px.min(size / 2.0);
            if at < margin { at - margin } else { (at - (size - margin)).max(0.0) }
        };
        self.panned(push(x, self.width_px as f32), push(y, self.height_px as f32))
    }

    /// Screen position of an image position.
    #[must_use]
    pub fn to_screen(&self, at: PointPx) -> (f32, f32) {
        let (left, top) = self.origin();
        ((at.x - left) * self.scale, (at.y - top) * self.scale)
    }

    /// Image position of a screen position; may lie outside the image.
    #[must_use]
    pub fn to_image(&self, x: f32, y: f32) -> PointPx {
        let (left, top) = self.origin();
        PointPx::new(x / self.scale + left, y / self.scale + top)
    }

    /// Smallest useful step of a cursor, image px: one image px, or what one screen px shows.
    #[must_use]
    pub fn fine_step_px(&self) -> f32 {
        (1.0 / self.scale).ceil().max(1.0)
    }

    /// Step of a cursor of about one text cell (`cell_px` wide or high), image px, whole.
    #[must_use]
    pub fn cell_step_px(&self, cell_px: u16) -> f32 {
        (f32::from(cell_px) / self.scale).round().max(self.fine_step_px())
    }

    /// Image position of the top left corner of the screen area, moved to a whole screen px so
    /// that the picture does not shimmer between moves of the view.
    fn origin(&self) -> (f32, f32) {
        let snap = |v: f32| (v * self.scale).round() / self.scale;
        let left = self.centre.x - self.width_px as f32 / 2.0 / self.scale;
        let top = self.centre.y - self.height_px as f32 / 2.0 / self.scale;
        (snap(left), snap(top))
    }

    /// The image fills the screen area where it is larger and is centred where it is smaller.
    fn clamped(self) -> Self {
        let axis = |centre: f32, image: u32, screen: usize| {
            let (image, half) = (image as f32, screen as f32 / 2.0 / self.scale);
            if half * 2.0 >= image { image / 2.0 } else { centre.clamp(half, image - half) }
        };
        let centre = PointPx::new(
            axis(self.centre.x, self.image_px[0], self.width_px),
            axis(self.centre.y, self.image_px[1], self.height_px),
        );
        Self { centre, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: PointPx, b: PointPx) -> bool {
        a.distance(b) < 1e-2
    }

    #[test]
    fn screen_and_image_are_each_others_inverse() {
        for (zoom, dx, dy) in
            [(1.0, 0.0, 0.0), (3.7, 40.0, -20.0), (0.2, 0.0, 0.0), (50.0, 9.0, 9.0)]
        {
            let view = Viewport::fit(640, 480, 1000, 700);
            let view = view.zoomed(zoom, PointPx::new(100.0, 333.0)).panned(dx, dy);
            for at in
                [PointPx::new(0.0, 0.0), PointPx::new(99.5, 333.25), PointPx::new(640.0, 480.0)]
            {
                let (x, y) = view.to_screen(at);
                assert!(close(view.to_image(x, y), at), "{view:?} {at:?}");
            }
        }
    }

    #[test]
    fn zooming_keeps_what_is_under_the_cursor() {
        let view = Viewport::fit(640, 480, 1024, 768).zoomed(4.0, PointPx::new(320.0, 240.0));
        let anchor = PointPx::new(300.0, 250.0);
        let (x, y) = view.to_screen(anchor);
        let (nx, ny) = view.zoomed(1.5, anchor).to_screen(anchor);
        assert!((x - nx).abs() <= 1.0 && (y - ny).abs() <= 1.0, "{x} {nx} {y} {ny}");
    }

    #[test]
    fn a_fitted_image_touches_two_borders_and_stays_fitted() {
        let view = Viewport::fit(640, 480, 1000, 300).resized(1200, 960);
        assert_eq!(view, Viewport::fit(640, 480, 1200, 960));
        assert_eq!(view.to_screen(PointPx::new(0.0, 0.0)), (0.0, 30.0));
    }

    #[test]
    fn the_view_never_loses_the_image_and_follows_the_cursor() {
        let view = Viewport::fit(640, 480, 800, 600).zoomed(8.0, PointPx::default());
        let far = view.panned(1e6, 1e6);
        assert!(close(far.to_image(800.0, 600.0), PointPx::new(640.0, 480.0)));
        let shown =
            far.revealing(PointPx::new(10.0, 10.0), 40.0).to_screen(PointPx::new(10.0, 10.0));
        assert!(shown.0 >= 39.0 && shown.1 >= 39.0, "{shown:?}");
    }

    #[test]
    fn cursor_steps_follow_the_zoom() {
        let far = Viewport::fit(4000, 3000, 800, 600);
        assert_eq!((far.fine_step_px(), far.cell_step_px(8)), (5.0, 40.0));
        let near = far.zoomed(80.0, PointPx::default());
        assert_eq!((near.fine_step_px(), near.cell_step_px(8)), (1.0, 1.0));
    }
}
