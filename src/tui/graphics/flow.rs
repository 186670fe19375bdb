//! What is coloured in a frame, in the few colours that a picture has registers for.
//!
//! The colours of a [`Palette`] are a cube of [`STEPS`] steps of red, green and blue; between them a fixed
//! pattern of 4 x 4 px mixes, so that the steps of a flow scale are seen, and a picture that stays the
//! same is drawn the same. Gain, gamma and CLAHE make a colour as much brighter as they make its
//! gray. A frame that is tinted as a whole is drawn in its grays: they show speckle better than any mix.

use super::compose::{Scene, scaled};
use super::palette::STEPS;
use super::{Palette, Picture, RectPx, Viewport};
use crate::domain::{Colours, GrayFrame, PointPx, is_coloured};

/// Order in which the pixels of a square take the next step (Bayer, 1973).
const PATTERN: [u8; 16] = [0, 8, 2, 10, 12, 4, 14, 6, 3, 11, 1, 9, 15, 7, 13, 5];

/// Whether the colours of a frame say more than that it is tinted: not more than half of what is seen
/// has one.
#[must_use]
pub fn shows_colours(frame: &GrayFrame) -> bool {
    const SEEN: u8 = 8;
    let coloured = frame.colours.values().len();
    coloured > 0 && coloured * 2 <= frame.pixels.iter().filter(|&&gray| gray >= SEEN).count()
}

/// Draws the coloured pixels of the scene's frame over its grays; `grays` is the picture before they
/// became levels.
pub(super) fn draw_colours(
    scene: &Scene<'_>,
    palette: &Palette,
    grays: &[u8],
    picture: &mut Picture,
) {
    let Some(frame) = scene.frame.filter(|frame| palette.has_cube() && shows_colours(frame)) else {
        return;
    };
    let Some(part) = coloured_part(frame, &scene.view) else { return };
    let view = part_of(&scene.view, part);
    let plane = |channel: usize| {
        let mut pixels = frame.pixels.clone();
        for (at, pixel) in frame.colours.each() {
            pixels[at] = pixel[channel];
        }
        let (width_px, height_px) = (frame.width_px, frame.height_px);
        let plane = GrayFrame { width_px, height_px, pixels, colours: Colours::default() };
        let mut shown = Picture::filled(part.width, part.height, 0);
        scaled(&view, scene.smooth, &plane, &mut shown);
        shown.indices
    };
    let [red, green, blue] = [plane(0), plane(1), plane(2)];
    for i in 0..part.area() {
        let pixel = [red[i], green[i], blue[i]];
        if !is_coloured(pixel) {
            continue;
        }
        let (x, y) = (part.x + i % part.width, part.y + i / part.width);
        let at = y * picture.width_px + x;
        let own = luma(pixel).max(1.0);
        let factor = scene.tone.bright(f32::from(grays[at])) * 255.0 / own;
        let threshold = (f32::from(PATTERN[y % 4 * 4 + x % 4]) + 0.5) / 16.0;
        let steps = pixel.map(|channel| {
            let share = f32::from(channel) * factor / 255.0 * f32::from(STEPS - 1);
            ((share + threshold) as u8).min(STEPS - 1)
        });
        picture.indices[at] = palette.cube(steps);
    }
}

/// Where on the screen coloured pixels of a frame may be seen; `None` where none is.
fn coloured_part(frame: &GrayFrame, view: &Viewport) -> Option<RectPx> {
    let width = frame.width_px.max(1);
    let ends = frame.colours.runs().iter().flat_map(|&(first, count)| {
        // A run may go on in the next row.
        let (from, to) = (first % width, first % width + count);
        let (from, to) = if to > width { (0, width) } else { (from, to) };
        [(from, first / width), (to, (first + count - 1) / width + 1)]
    });
    let (low, high) = ends.fold(((u32::MAX, u32::MAX), (0, 0)), |(low, high), (x, y)| {
        ((x.min(low.0), y.min(low.1)), (x.max(high.0), y.max(high.1)))
    });
    let corner = |(x, y): (u32, u32)| view.to_screen(PointPx::new(x as f32, y as f32));
    let (low, high) = (corner(low), corner(high));
    // Smoothed they reach into their neighbours.
    let beside = view.scale.max(1.0) + 1.0;
    let between = |low: f32, high: f32, size: usize| {
        let within = |at: f32| at.clamp(0.0, size as f32) as usize;
        (within((low - beside).floor()), within((high + beside).ceil()))
    };
    let (left, right) = between(low.0, high.0, view.width_px);
    let (top, bottom) = between(low.1, high.1, view.height_px);
    let seen = left < right && top < bottom;
    seen.then(|| RectPx { x: left, y: top, width: right - left, height: bottom - top })
}

/// The view of a part of its screen area.
fn part_of(view: &Viewport, part: RectPx) -> Viewport {
    let middle = |start: usize, size: usize| start as f32 + size as f32 / 2.0;
    let (x, y) = (middle(part.x, part.width), middle(part.y, part.height));
    let centre = view.to_image(x, y);
    Viewport { width_px: part.width, height_px: part.height, centre, ..*view }
}

/// Gray of a colour as ITU-R BT.601 weighs it.
fn luma([red, green, blue]: [u8; 3]) -> f32 {
    0.299 * f32::from(red) + 0.587 * f32::from(green) + 0.114 * f32::from(blue)
}

#[cfg(test)]
mod tests {
    use super::super::{Colour, MaskLayer, MaskStyle, Tone, compose, compose_image};
    use super::*;
    use crate::domain::Bitmap;

    /// Gray with a box of one colour in the middle, a quarter of it all.
    fn frame(colour: [u8; 3]) -> GrayFrame {
        let inside = |i: usize| (8..24).contains(&(i % 32)) && (8..24).contains(&(i / 32));
        let pixel = |i: usize| if inside(i) { colour } else { [90; 3] };
        let gray = |i: usize| luma(pixel(i)).round() as u8;
        let frame = GrayFrame::new(32, 32, (0..1024).map(gray).collect()).expect("it fits");
        frame.with_colours(Colours::of((0..1024).map(pixel)))
    }

    fn mean(picture: &Picture, palette: &Palette) -> [f32; 3] {
        let inside = (10..22).flat_map(|y| picture.row(y)[10..22].to_vec());
        let mut sums = [0.0; 3];
        for rgb in inside.map(|index| palette.rgb(index)) {
            sums.iter_mut().zip(rgb).for_each(|(sum, channel)| *sum += f32::from(channel) / 144.0);
        }
        sums
    }

    #[test]
    fn a_colour_is_mixed_as_it_is_and_grays_stay_grays() {
        let palette = Palette::with_cube(32, &[[100, 0, 0]], 1, 256);
        for colour in [[230, 120, 20], [20, 60, 200], [200, 30, 30], [90, 200, 130]] {
            let frame = frame(colour);
            let scene = Scene::new(Some(&frame), Viewport::fit(32, 32, 32, 32));
            let picture = compose_image(&scene, &palette);
            assert!(picture.row(2).iter().all(|index| *index < 32), "gray outside");
            let mixed = mean(&picture, &palette);
            assert!(
                mixed.iter().zip(colour).all(|(a, b)| (a - f32::from(b)).abs() < 8.0),
                "{mixed:?}"
            );
            let plain = Palette::new(32, &[[100, 0, 0]], 1, 256);
            let picture = compose_image(&scene, &plain);
            assert!(picture.indices.iter().all(|index| *index < 32), "no registers, no colours");
        }
    }

    #[test]
    fn colours_lie_where_their_pixels_lie_in_every_view() {
        let palette = Palette::with_cube(32, &[], 0, 256);
        let frame = frame([250, 0, 0]);
        let fitted = |side| Viewport::fit(32, 32, side, side);
        let moved = fitted(60).zoomed(3.0, PointPx::new(9.0, 20.0)).panned(7.0, -11.0);
        for (view, smooth) in
            [(fitted(20), false), (fitted(75), false), (moved, false), (moved, true)]
        {
            let scene = Scene { smooth, ..Scene::new(Some(&frame), view) };
            let picture = compose_image(&scene, &palette);
            for (at, index) in picture.indices.iter().enumerate() {
                let (x, y) = (at % view.width_px, at / view.width_px);
                let here = view.to_image(x as f32 + 0.5, y as f32 + 0.5);
                let far = |v: f32| (v - 16.0).abs() - 8.0;
                let out = far(here.x).max(far(here.y));
                // Smoothed pixels reach one image px, averaged ones less than one screen px.
                let edge = if smooth { 1.0 } else { 1.0 / view.scale };
                assert!(out.abs() <= edge || palette.is_cube(*index) == (out < 0.0), "{x} {y}");
            }
        }
    }

    #[test]
    fn more_gain_makes_colours_brighter_and_their_hue_stays() {
        let palette = Palette::with_cube(32, &[], 0, 256);
        let frame = frame([100, 50, 10]);
        let mut scene = Scene::new(Some(&frame), Viewport::fit(32, 32, 32, 32));
        scene.tone = Tone { level: 63.75, window: 127.5, gamma: 1.0 };
        let [red, green, blue] = mean(&compose_image(&scene, &palette), &palette);
        assert!((red - 200.0).abs() < 10.0 && (green - 100.0).abs() < 10.0, "{red} {green}");
        assert!((blue - 20.0).abs() < 10.0, "{blue}");
    }

    #[test]
    fn an_outline_on_flow_of_its_colour_has_a_dark_line_beside_it() {
        let orange = [230, 120, 20];
        let palette = Palette::with_cube(32, &[[90, 47, 8]], 1, 256);
        let frame = frame(orange);
        let mask = Bitmap::from_fn(32, 32, |x, y| (4..20).contains(&x) && (12..28).contains(&y));
        let mut scene = Scene::new(Some(&frame), Viewport::fit(32, 32, 32, 32));
        let style = MaskStyle::Other;
        scene.masks = vec![MaskLayer { bitmap: &mask, colour: Colour(0), style }];
        let picture = compose(&scene, &palette);
        let row = picture.row(16);
        assert_eq!((row[19], row[18]), (palette.overlay(Colour(0)), 0), "on flow");
        assert!(palette.is_cube(row[17]) && palette.is_cube(row[20]), "flow goes on");
        assert_eq!(row[4], palette.overlay(Colour(0)));
        assert!((1..32).contains(&row[5]), "nothing dark on speckle");
    }

    #[test]
    fn a_tint_over_everything_is_drawn_gray() {
        let mut sepia = frame([230, 120, 20]);
        assert!(shows_colours(&sepia));
        sepia.colours = Colours::of((0..1024).map(|_| [120, 90, 60]));
        assert!(!shows_colours(&sepia));
        let palette = Palette::with_cube(32, &[], 0, 256);
        let picture =
            compose_image(&Scene::new(Some(&sepia), Viewport::fit(32, 32, 64, 64)), &palette);
        assert!(picture.indices.iter().all(|index| *index < 32));
        assert!(!shows_colours(&GrayFrame::default()));
    }
}
