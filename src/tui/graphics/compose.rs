//! A scene becomes an indexed picture: image, masks, marks. Pure.

use std::ops::Range;

use super::flow::draw_colours;
use super::letters::{letter, placed};
use super::masks::draw_masks;
use super::quantise::quantise;
use super::shapes::{bare_cross, frame, line, stamp};
use super::{Colour, Palette, Picture, Viewport};
use crate::domain::{Bitmap, BoxPx, GrayFrame, PictureLook, PointKind, PointPx};

/// Screen px beyond the border that outlines look at.
pub(super) const MARGIN: i64 = 2;

/// Everything that is shown over one frame. Later entries of a list are drawn over earlier ones,
/// except masks: the first listed is the one that matters and lies on top.
#[derive(Clone, Debug)]
pub struct Scene<'a> {
    /// The frame; `None` shows black.
    pub frame: Option<&'a GrayFrame>,
    /// What part of it, and how large.
    pub view: Viewport,
    /// Window and level.
    pub tone: Tone,
    /// Smooth instead of square pixels when enlarged.
    pub smooth: bool,
    /// Half the size of a point mark, px: about half a text cell's width with sixel, 1 with half
    /// blocks.
    pub mark_px: u16,
    /// Masks, the most important first.
    pub masks: Vec<MaskLayer<'a>>,
    /// Lines: rays of the cursor, contours.
    pub lines: Vec<LineMark>,
    /// Letters beside lines, the most important first: where they lie close, later ones stand farther off or not at all.
    pub letters: Vec<LetterMark>,
    /// Boxes.
    pub boxes: Vec<BoxMark>,
    /// Points.
    pub points: Vec<PointMark>,
    /// The cursor.
    pub crosshair: Option<Crosshair>,
}

impl<'a> Scene<'a> {
    /// A scene with nothing but a frame.
    #[must_use]
    pub fn new(frame: Option<&'a GrayFrame>, view: Viewport) -> Self {
        Self {
            frame,
            view,
            tone: Tone::default(),
            smooth: false,
            mark_px: 4,
            masks: Vec::new(),
            lines: Vec::new(),
            letters: Vec::new(),
            boxes: Vec::new(),
            points: Vec::new(),
            crosshair: None,
        }
    }
}

/// Window, level and gamma as on an ultrasound machine, in gray values 0..=255.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tone {
    /// Gray value shown half bright.
    pub level: f32,
    /// Width of the range of gray values between black and white, at least 1.
    pub window: f32,
    /// Middle grays brighter above 1, darker below.
    pub gamma: f32,
}

impl Default for Tone {
    fn default() -> Self {
        Self { level: 127.5, window: 255.0, gamma: 1.0 }
    }
}

impl Tone {
    /// What a look does to gray values, of which those from `range[0]` to `range[1]` are
    /// stretched over all first.
    #[must_use]
    pub fn of(look: &PictureLook, range: Option<[u8; 2]>) -> Self {
        let [low, high] = range.unwrap_or([0, 255]).map(f32::from);
        let share = (high - low).max(1.0) / 255.0;
        let level = (127.5 - look.level).clamp(0.0, 255.0);
        let window = (255.0 / look.gain.max(0.01)).clamp(8.0, 1020.0);
        Self { level: low + level * share, window: window * share, gamma: look.gamma }
    }

    /// Level of the gray ramp for every gray value: windowing and quantisation in one table.
    #[must_use]
    pub fn table(&self, levels: u8) -> [u8; 256] {
        let top = f32::from(levels.max(1) - 1);
        std::array::from_fn(|gray| (self.bright(gray as f32) * top).round() as u8)
    }

    /// Brightness of a gray value, 0 black to 1 white.
    pub(super) fn bright(&self, gray: f32) -> f32 {
        let low = self.level - self.window.max(1.0) / 2.0;
        let straight = ((gray - low) / self.window.max(1.0)).clamp(0.0, 1.0);
        if self.gamma == 1.0 { straight } else { straight.powf(1.0 / self.gamma.max(0.01)) }
    }
}

/// How a mask is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskStyle {
    /// Outline of two px and a light tint.
    Current,
    /// Outline of one px: another structure's mask.
    Other,
    /// Dashed outline: a newer one is being computed.
    Stale,
    /// Not drawn.
    Hidden,
}

/// A mask over the frame.
#[derive(Clone, Copy, Debug)]
pub struct MaskLayer<'a> {
    /// The mask; has the size of the frame.
    pub bitmap: &'a Bitmap,
    /// Colour of outline and tint.
    pub colour: Colour,
    /// How it is drawn.
    pub style: MaskStyle,
}

/// A point prompt: boundary a diamond, inside a plus, outside a minus.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PointMark {
    /// Where, image px.
    pub at: PointPx,
    /// What it says; decides the shape.
    pub kind: PointKind,
    /// Its colour.
    pub colour: Colour,
    /// The one that keys act on is larger.
    pub chosen: bool,
}

/// A box prompt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoxMark {
    /// Where, image px.
    pub area: BoxPx,
    /// Its colour.
    pub colour: Colour,
    /// The one that keys act on is thicker.
    pub chosen: bool,
}

/// A line of one px.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LineMark {
    /// One end, image px.
    pub from: PointPx,
    /// Other end, image px.
    pub to: PointPx,
    /// Its colour.
    pub colour: Colour,
    /// Dotted instead of solid.
    pub dotted: bool,
}

/// A letter beside a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LetterMark {
    /// The place, image px.
    pub at: PointPx,
    /// On which side of it the letter stands: one step, x to the right and y down; (0, 0) stands
    /// on it.
    pub aside: (f32, f32),
    /// The letter, a to z.
    pub letter: char,
    /// Its colour.
    pub colour: Colour,
}

/// The cursor: four short arms around a gap, so that the pixel beneath stays visible.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crosshair {
    /// Where, image px.
    pub at: PointPx,
    /// Its colour.
    pub colour: Colour,
}

/// The picture of a scene; has the size of the viewport.
#[must_use]
pub fn compose(scene: &Scene<'_>, palette: &Palette) -> Picture {
    let mut picture = compose_image(scene, palette);
    compose_over(scene, palette, &mut picture);
    picture
}

/// The image of a scene alone: what stays while cursor, points and masks change.
#[must_use]
pub fn compose_image(scene: &Scene<'_>, palette: &Palette) -> Picture {
    let mut picture = Picture::filled(scene.view.width_px, scene.view.height_px, 0);
    if let Some(image) = scene.frame {
        let (columns, rows) = scaled(&scene.view, scene.smooth, image, &mut picture);
        let coloured = palette.has_cube() && !image.colours.is_empty();
        let grays = if coloured { picture.indices.clone() } else { Vec::new() };
        quantise(&mut picture, columns, rows, &scene.tone, palette.levels());
        if coloured {
            draw_colours(scene, palette, &grays, &mut picture);
        }
    }
    picture
}

/// Paints the gray values of an image as a view shows them; returns where.
pub(super) fn scaled(
    view: &Viewport,
    smooth: bool,
    image: &GrayFrame,
    picture: &mut Picture,
) -> Painted {
    if view.scale < 1.0 {
        averaged(image, view, picture)
    } else if smooth && view.scale > 1.0 {
        interpolated(image, view, picture)
    } else {
        nearest(image, view, picture)
    }
}

/// Masks and marks of a scene over its image.
pub fn compose_over(scene: &Scene<'_>, palette: &Palette, picture: &mut Picture) {
    draw_masks(scene, palette, picture);
    draw_marks(scene, palette, picture);
}

/// Image column (`across`) or row of every screen column or row from `-MARGIN` to the size +
/// `MARGIN`; outside the image too.
pub(super) fn source_cells(view: &Viewport, across: bool) -> Vec<i64> {
    let size = if across { view.width_px } else { view.height_px };
    (-MARGIN..size as i64 + MARGIN)
        .map(|i| {
            let at = view.to_image(i as f32 + 0.5, i as f32 + 0.5);
            (if across { at.x } else { at.y }).floor() as i64
        })
        .collect()
}

/// Columns and rows of a picture.
pub(super) type Painted = (Range<usize>, Range<usize>);

/// The run of places for which `inside` holds; these lie side by side.
fn run_of<T>(all: &[T], inside: impl Fn(&T) -> bool) -> Range<usize> {
    let first = all.iter().position(&inside).unwrap_or(0);
    first..all.iter().rposition(&inside).map_or(first, |last| last + 1)
}

/// Paints gray values, as do the next two; returns where.
fn nearest(image: &GrayFrame, view: &Viewport, picture: &mut Picture) -> Painted {
    let margin = MARGIN as usize;
    let (columns, rows) = (source_cells(view, true), source_cells(view, false));
    let columns = &columns[margin..margin + view.width_px];
    let (iw, ih) = (i64::from(image.width_px), i64::from(image.height_px));
    for (y, line) in picture.indices.chunks_exact_mut(view.width_px.max(1)).enumerate() {
        let row = rows[y + margin];
        if !(0..ih).contains(&row) {
            continue;
        }
        let source = &image.pixels[(row * iw) as usize..((row + 1) * iw) as usize];
        for (index, &column) in line.iter_mut().zip(columns) {
            if (0..iw).contains(&column) {
                *index = source[column as usize];
            }
        }
    }
    let rows = &rows[margin..margin + view.height_px];
    (run_of(columns, |column| (0..iw).contains(column)), run_of(rows, |row| (0..ih).contains(row)))
}

/// For one screen axis: the two nearest image pixels and the share of the second in 1/256;
/// `None` outside the image.
fn between(view: &Viewport, across: bool) -> Vec<Option<(usize, usize, u32)>> {
    let size = if across { view.width_px } else { view.height_px };
    let image = view.image_px[usize::from(!across)];
    (0..size)
        .map(|i| {
            let at = view.to_image(i as f32 + 0.5, i as f32 + 0.5);
            let at = if across { at.x } else { at.y };
            (at >= 0.0 && at < image as f32).then(|| {
                let at = (at - 0.5).clamp(0.0, image as f32 - 1.0);
                let first = at as usize;
                let share = ((at - first as f32) * 256.0) as u32;
                (first, (first + 1).min(image as usize - 1), share)
            })
        })
        .collect()
}

fn interpolated(image: &GrayFrame, view: &Viewport, picture: &mut Picture) -> Painted {
    let view = Viewport { image_px: [image.width_px, image.height_px], ..*view };
    let (columns, rows) = (between(&view, true), between(&view, false));
    let iw = image.width_px as usize;
    for (line, row) in picture.indices.chunks_exact_mut(view.width_px.max(1)).zip(&rows) {
        let Some((upper, lower, below)) = *row else {
            continue;
        };
        let (upper, lower) = (&image.pixels[upper * iw..][..iw], &image.pixels[lower * iw..][..iw]);
        for (index, column) in line.iter_mut().zip(&columns) {
            let Some((left, right, beside)) = *column else {
                continue;
            };
            let mix =
                |a: u8, b: u8, share: u32| u32::from(a) * (256 - share) + u32::from(b) * share;
            let top = mix(upper[left], upper[right], beside);
            let bottom = mix(lower[left], lower[right], beside);
            let gray = (top * (256 - below) + bottom * below + 32_768) >> 16;
            *index = gray.min(255) as u8;
        }
    }
    (run_of(&columns, Option::is_some), run_of(&rows, Option::is_some))
}

/// For one screen axis: the image pixels under each screen px, as a range that may be empty.
fn beneath(view: &Viewport, across: bool) -> Vec<(usize, usize)> {
    let size = if across { view.width_px } else { view.height_px };
    let image = view.image_px[usize::from(!across)] as f32;
    let edge = |i: usize| {
        let at = view.to_image(i as f32, i as f32);
        (if across { at.x } else { at.y }).round().clamp(0.0, image) as usize
    };
    (0..size).map(|i| (edge(i), edge(i + 1))).collect()
}

fn averaged(image: &GrayFrame, view: &Viewport, picture: &mut Picture) -> Painted {
    let view = Viewport { image_px: [image.width_px, image.height_px], ..*view };
    let (columns, rows) = (beneath(&view, true), beneath(&view, false));
    let iw = image.width_px as usize;
    let mut sums = vec![0u32; iw + 1];
    for (line, &(top, bottom)) in picture.indices.chunks_exact_mut(view.width_px.max(1)).zip(&rows)
    {
        if top == bottom {
            continue;
        }
        sums.fill(0);
        for row in image.pixels[top * iw..bottom * iw].chunks_exact(iw) {
            for (sum, &gray) in sums[1..].iter_mut().zip(row) {
                *sum += u32::from(gray);
            }
        }
        for x in 0..iw {
            sums[x + 1] += sums[x];
        }
        for (index, &(left, right)) in line.iter_mut().zip(&columns) {
            if left < right {
                let count = ((right - left) * (bottom - top)) as u32;
                let gray = (sums[right] - sums[left] + count / 2) / count;
                *index = gray.min(255) as u8;
            }
        }
    }
    let shown = |&(from, to): &(usize, usize)| from < to;
    (run_of(&columns, shown), run_of(&rows, shown))
}

fn draw_marks(scene: &Scene<'_>, palette: &Palette, picture: &mut Picture) {
    let view = &scene.view;
    let size = i64::from(scene.mark_px.max(1));
    for each in &scene.lines {
        let (from, to) = (view.to_screen(each.from), view.to_screen(each.to));
        line(picture, from, to, palette.overlay(each.colour), each.dotted);
    }
    for (each, at) in scene.letters.iter().zip(placed(&scene.letters, view, size)) {
        if let Some(at) = at {
            letter(picture, at, each.letter, size, palette.overlay(each.colour));
        }
    }
    for each in &scene.boxes {
        let (min, max) = (view.to_screen(each.area.min), view.to_screen(each.area.max));
        frame(picture, min, max, palette.overlay(each.colour), if each.chosen { 2 } else { 1 });
    }
    for each in &scene.points {
        let radius = if each.chosen { size + (size / 2).max(1) } else { size };
        let thick = radius / 4;
        let (at, index) = (view.to_screen(each.at), palette.overlay(each.colour));
        match each.kind {
            PointKind::Boundary => {
                stamp(picture, at, radius, index, |dx, dy| dx.abs() + dy.abs() <= radius);
            }
            PointKind::Inside => {
                stamp(picture, at, radius, index, |dx, dy| dx.abs() <= thick || dy.abs() <= thick)
            }
            PointKind::Outside => stamp(picture, at, radius, index, |_, dy| dy.abs() <= thick),
        }
    }
    if let Some(cross) = scene.crosshair {
        let (at, index) = (view.to_screen(cross.at), palette.overlay(cross.colour));
        if size == 1 {
            // A pixel is as large as a small structure: those beneath the cursor and next to it stay as they are.
            return bare_cross(picture, at, 2..=3, index);
        }
        // Longer arms would take more cells, and the cursor more than 2 kB to move.
        let (gap, arm) = (size / 2, size * 2 - size / 2);
        stamp(picture, at, arm, index, |dx, dy| {
            (dx == 0 && dy.abs() > gap) || (dy == 0 && dx.abs() > gap)
        });
    }
}
