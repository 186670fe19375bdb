//! The picture of the model as a scene, and the colours it needs.

use std::sync::Arc;

use crate::domain::{
    Bitmap, BoxPx, FrameIndex, GrayFrame, MARKS_ASIDE, PointPx, Prompt, Region, Track, TrackId,
};
use crate::engine::Surround;
use crate::tui::action::Action;
use crate::tui::graphics::{
    BoxMark, Colour, Crosshair, LetterMark, LineMark, MaskLayer, MaskStyle, Palette, Picture,
    PointMark, Scene, Tone, Viewport, coarsen, compose_image, compose_over, evened,
    percent_from_rgb, stretched,
};
use crate::tui::model::{self, Model};
use crate::tui::theme::Theme;
use crate::tui::tools::RayTool;

use super::letters::{self, CellLetter};
use super::{beside, strip};

/// Grays before the line is known: 32 look as good as more and cost half the bytes.
pub const LEVELS: u8 = 32;
/// Track colours come first, since these have tinted ramps.
pub(super) const TRACKS: u8 = 8;
const TINTED: usize = 5;
const STALE: Colour = Colour(TRACKS);
const BOUNDARY: Colour = Colour(TRACKS + 1);
const INSIDE: Colour = Colour(TRACKS + 2);
const OUTSIDE: Colour = Colour(TRACKS + 3);
const BOX: Colour = Colour(TRACKS + 4);
const CHOSEN: Colour = Colour(TRACKS + 5);
const CURSOR: Colour = Colour(TRACKS + 6);

/// The registers for a theme on a terminal with so many of them, with `levels` grays, and with colours
/// for frames that have `flow`, unless the theme has none.
#[must_use]
pub fn palette(theme: &Theme, registers: usize, levels: u8, flow: bool) -> Palette {
    let tracks = (0..TRACKS).map(|number| theme.track(number));
    let marks = [
        theme.stale,
        theme.boundary,
        theme.inside,
        theme.outside,
        theme.box_,
        theme.chosen,
        theme.cursor,
    ];
    let overlay: Vec<[u8; 3]> =
        tracks.chain(marks).map(|colour| percent_from_rgb(colour.in_picture())).collect();
    match flow && theme.coloured {
        true => Palette::with_cube(levels, &overlay, TINTED, registers),
        false => Palette::new(levels, &overlay, TINTED, registers),
    }
}

/// Draws pictures; remembers the bitmaps of the frame at hand, and its image as it was last shown.
#[derive(Debug, Default)]
pub struct Canvas {
    image: Option<ShownImage>,
    /// The frame that was shown last, as it was decoded.
    last: Option<Arc<GrayFrame>>,
    /// The last frames with their contrast evened out.
    even: Vec<Evened>,
    bitmaps: Vec<(TrackId, crate::domain::Mask, Bitmap)>,
    letters: Vec<CellLetter>,
}

/// Half the size of a mark where a text cell has two pixels.
const HALF_BLOCK_PX: u16 = 1;

/// A frame, which of its grays were stretched, and how it looks with its contrast evened out.
#[derive(Debug)]
struct Evened {
    from: Arc<GrayFrame>,
    range: Option<[u8; 2]>,
    to: Arc<GrayFrame>,
}

/// An image in the grays of the screen, and what it was made from.
#[derive(Debug)]
struct ShownImage {
    pixels: Option<Arc<GrayFrame>>,
    view: Viewport,
    tone: Tone,
    smooth: bool,
    detail: Detail,
    picture: Picture,
}

/// Number of grays, whether there are colours, and px in a side of what is drawn as one.
type Detail = (u8, bool, u8);

/// Window, level and gamma; a stretch comes before the contrast is evened out.
pub(super) fn tone_of(picture: &model::Picture) -> Tone {
    if picture.look.clahe { Tone::of(&picture.look, None) } else { picture.tone() }
}

impl ShownImage {
    fn shows(&self, pixels: Option<&Arc<GrayFrame>>, scene: &Scene<'_>, detail: Detail) -> bool {
        let same = match (&self.pixels, pixels) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        same && (self.view, self.tone, self.smooth, self.detail)
            == (scene.view, scene.tone, scene.smooth, detail)
    }
}

impl Canvas {
    /// The picture of the model, or `None` before the size of the terminal is known. `mark_px` is
    /// half the size of a point.
    pub fn compose(&mut self, model: &Model, palette: &Palette, mark_px: u16) -> Option<Picture> {
        let view = model.picture.viewport?;
        // While a frame is being decoded the last one stays, without marks that are not its own.
        let pixels = model.pixels();
        let held = pixels.cloned().or_else(|| self.still_shown(model));
        self.last.clone_from(&held);
        let tone = tone_of(&model.picture);
        let held = held.map(|held| self.toned(&held, &model.picture));
        let held = held.as_ref();
        let aside = model.tools.beside.as_ref();
        let aside = aside.map(|beside| self.toned(&beside.pixels, &model.picture));
        self.bitmaps_of(model);
        let others = others(model);
        let kept = self.image.take();
        let mut scene = Scene::new(held.map(|pixels| pixels.as_ref()), view);
        scene.tone = tone;
        scene.smooth = model.picture.smooth;
        scene.mark_px = mark_px;
        if pixels.is_some() || held.is_none() {
            if model.picture.masks {
                scene.masks = self.masks(model);
                let dashed = |bitmap| MaskLayer { bitmap, colour: CURSOR, style: MaskStyle::Stale };
                // They lie on top: what is compared must be seen.
                scene.masks.splice(0..0, others.iter().map(dashed));
            }
            if model.picture.points {
                marks(model, &mut scene);
            }
            // A question is shown whatever else is.
            if let Surround::Found(region) = model.surround {
                outline(region, &mut scene);
            }
        }
        let as_text = match mark_px {
            HALF_BLOCK_PX => letters::placed(&std::mem::take(&mut scene.letters), &view),
            _ => Vec::new(),
        };
        let detail = (palette.levels(), palette.has_cube(), model.link.shown.scale);
        let shown = match kept.filter(|image| image.shows(held, &scene, detail)) {
            Some(image) => image,
            None => {
                let mut picture = compose_image(&scene, palette);
                coarsen(&mut picture, usize::from(detail.2), detail.0);
                ShownImage {
                    pixels: held.cloned(),
                    view,
                    tone: scene.tone,
                    smooth: scene.smooth,
                    detail,
                    picture,
                }
            }
        };
        let mut picture = shown.picture.clone();
        compose_over(&scene, palette, &mut picture);
        drop(scene);
        drop(others);
        self.letters = as_text;
        self.image = Some(shown);
        if let Some(pixels) = &aside {
            beside::append(&mut picture, model, (pixels, tone), CURSOR, mark_px, palette);
        }
        let own = |track: &Track| Colour(track.info.colour % TRACKS);
        let tracks = shown_tracks(model).map(|(_, track)| (track, own(track)));
        strip::append(&mut picture, model, tracks, CURSOR, palette);
        Some(picture)
    }

    /// Letters of the last picture, where they are to be written in text cells.
    #[must_use]
    pub fn letters(&self) -> &[CellLetter] {
        &self.letters
    }

    /// The frame that was shown last, where it is one of this clip as it is to be seen now; else the newest. Neighbours are
    /// decoded ahead: the newest would be a whole picture on the line that nobody asked for.
    fn still_shown(&self, model: &Model) -> Option<Arc<GrayFrame>> {
        let held = |last: &&Arc<GrayFrame>| {
            model.frames.iter().any(|(_, pixels)| Arc::ptr_eq(pixels, last))
        };
        let last = self.last.as_ref().filter(held);
        last.or_else(|| model.frames.back().map(|(_, pixels)| pixels)).cloned()
    }

    /// The frame as it is to be shown.
    fn toned(&mut self, frame: &Arc<GrayFrame>, picture: &model::Picture) -> Arc<GrayFrame> {
        if !picture.look.clahe {
            self.even.clear();
            return Arc::clone(frame);
        }
        let range = picture.stretched();
        let same = |each: &&Evened| Arc::ptr_eq(&each.from, frame) && each.range == range;
        if let Some(known) = self.even.iter().find(same) {
            return Arc::clone(&known.to);
        }
        let to = Arc::new(match range {
            Some(range) => evened(&stretched(frame, range)),
            None => evened(frame),
        });
        // One for the frame at hand, one for the frame beside it.
        self.even.truncate(1);
        self.even.insert(0, Evened { from: Arc::clone(frame), range, to: Arc::clone(&to) });
        to
    }

    fn bitmaps_of(&mut self, model: &Model) {
        let mut old = std::mem::take(&mut self.bitmaps);
        for (id, track) in shown_tracks(model) {
            let Some(held) = mask_of(track, model.frame) else { continue };
            let known = old.iter().position(|(other, mask, _)| other == id && mask == held);
            let entry = match known {
                Some(at) => old.swap_remove(at),
                None => (*id, held.clone(), held.to_bitmap()),
            };
            self.bitmaps.push(entry);
        }
    }

    /// The structure at hand first: it lies on top.
    fn masks(&self, model: &Model) -> Vec<MaskLayer<'_>> {
        let mut layers: Vec<(bool, MaskLayer<'_>)> = Vec::new();
        for (id, _, bitmap) in &self.bitmaps {
            let Some(track) = model.annotation.tracks.get(id) else { continue };
            let at_hand = model.track == Some(*id);
            // While a new mask is on its way the old one stays as it is: what is about to change
            // is not sent twice.
            let asked = &model.jobs.asked;
            let coming = asked.iter().any(|a| (a.ticket.track, a.frame) == (*id, model.frame));
            let stale = !coming && model.marks.is_stale(*id, model.frame);
            let own = Colour(track.info.colour % TRACKS);
            let (colour, style) = match (stale, at_hand && model.picture.tint) {
                (true, _) => (STALE, MaskStyle::Stale),
                (false, true) => (own, MaskStyle::Current),
                (false, false) => (own, MaskStyle::Other),
            };
            layers.push((at_hand, MaskLayer { bitmap, colour, style }));
        }
        layers.sort_by_key(|(at_hand, _)| !at_hand);
        layers.into_iter().map(|(_, layer)| layer).collect()
    }
}

pub(super) fn shown_tracks(model: &Model) -> impl Iterator<Item = (&TrackId, &Track)> {
    let hidden = &model.hidden;
    model.annotation.tracks.iter().filter(move |(id, _)| !hidden.contains(id))
}

/// What another rater has on the frame at hand.
fn others(model: &Model) -> Vec<Bitmap> {
    let other = model.tools.other.as_ref().filter(|other| !other.hidden);
    let structures = other.map_or(&[][..], |other| &other.structures);
    let here = structures.iter().filter_map(|each| each.masks.get(&model.frame));
    here.map(crate::domain::Mask::to_bitmap).collect()
}

/// Outside the windows a mask is empty by definition.
pub(super) fn mask_of(track: &Track, frame: FrameIndex) -> Option<&crate::domain::Mask> {
    track.masks.get(&frame).filter(|_| track.visible(frame)).map(|held| &held.mask)
}

fn marks(model: &Model, scene: &mut Scene<'_>) {
    let at_hand = shown_tracks(model).find(|(id, _)| model.track == Some(**id));
    let placed = at_hand.and_then(|(_, track)| track.prompts.get(&model.frame));
    for each in placed.into_iter().flatten() {
        let chosen = model.chosen == Some(each.id);
        let colour = |own: Colour| if chosen { CHOSEN } else { own };
        match &each.prompt {
            Prompt::Point { kind, at } => {
                use crate::domain::PointKind as K;
                let own = match kind {
                    K::Boundary => BOUNDARY,
                    K::Inside => INSIDE,
                    K::Outside => OUTSIDE,
                };
                scene.points.push(PointMark { at: *at, kind: *kind, colour: colour(own), chosen });
            }
            Prompt::Box(area) => {
                scene.boxes.push(BoxMark { area: *area, colour: colour(BOX), chosen });
            }
            Prompt::Mask(_) => {}
        }
    }
    if let Some(corner) = model.corner {
        let area = crate::domain::BoxPx::from_corners(corner, model.cursor);
        scene.boxes.push(BoxMark { area, colour: BOX, chosen: true });
    }
    if let Some(tool) = &model.tools.rays {
        rays(model, tool, scene);
    }
    if let Some((from, to)) = model.tools.caliper {
        let to = to.unwrap_or(model.cursor);
        scene.lines.push(LineMark { from, to, colour: CHOSEN, dotted: true });
        caliper_ends(from, to, scene);
    }
    if let Some(strip) = &model.tools.strip {
        let (from, to) = (strip.from, strip.to);
        scene.lines.push(LineMark { from, to, colour: CURSOR, dotted: true });
    }
    if model.tools.brush.is_some() {
        circle(model.cursor, model.tools.brush_px, scene);
    }
    if let Some(from) = model.tools.cut {
        scene.lines.push(LineMark { from, to: model.cursor, colour: CHOSEN, dotted: false });
    }
    // A point on a ray is marked by itself; the crosshair would hide the letters next to it.
    let pointing = model.tools.rays.as_ref().is_some_and(|tool| tool.last.is_some());
    scene.crosshair = (!pointing).then_some(Crosshair { at: model.cursor, colour: CURSOR });
}

/// The border of a region that was found, as a closed line.
fn outline(region: Region, scene: &mut Scene<'_>) {
    for corners in region.outlines() {
        let next = corners.iter().cycle().skip(1);
        let line = |(&from, &to)| LineMark { from, to, colour: CHOSEN, dotted: false };
        scene.lines.extend(corners.iter().zip(next).map(line));
    }
}

/// A short stroke across either end of a distance, so that the ends are seen on speckle.
fn caliper_ends(from: PointPx, to: PointPx, scene: &mut Scene<'_>) {
    let (dx, dy) = (to.x - from.x, to.y - from.y);
    let length = dx.hypot(dy);
    let half = CALIPER_PX / scene.view.scale;
    // A distance of nothing has its strokes upright.
    let (dx, dy) = if length > 0.0 { (dx / length, dy / length) } else { (1.0, 0.0) };
    for end in [from, to] {
        let from = PointPx::new(end.x - dy * half, end.y + dx * half);
        let to = PointPx::new(end.x + dy * half, end.y - dx * half);
        scene.lines.push(LineMark { from, to, colour: CHOSEN, dotted: false });
    }
}

/// What the brush covers.
fn circle(middle: PointPx, radius_px: f32, scene: &mut Scene<'_>) {
    let on = |i: usize| {
        let (sin, cos) = (i as f32 * std::f32::consts::TAU / CIRCLE as f32).sin_cos();
        PointPx::new(middle.x + radius_px * cos, middle.y + radius_px * sin)
    };
    for i in 0..CIRCLE {
        let (from, to) = (on(i), on(i + 1));
        scene.lines.push(LineMark { from, to, colour: CHOSEN, dotted: false });
    }
}

/// Half the length of the strokes at the ends of a distance, screen px.
const CALIPER_PX: f32 = 7.0;
/// Lines that make a circle.
const CIRCLE: usize = 24;
/// Letters on either side of a new point that do not wait for its mask.
const AT_ONCE: usize = 2;
/// Half the length of the ticks on a ray, screen px.
const TICK_PX: f32 = 4.0;
/// Where the suggested ray begins, as a share of its length; more of it would cost more on the line.
const SUGGESTED_FROM: f32 = 0.5;
/// Its arrow ends so far from the contour, screen px, and its barbs are as long.
const ARROW_PX: f32 = 6.0;

/// The centre of the rays, the marks on the ray of the last point, and the suggested ray.
fn rays(model: &Model, tool: &RayTool, scene: &mut Scene<'_>) {
    if let Some(region) = tool.leap {
        ninths(model, region, scene);
    }
    // Shorter where pixels are as large as cells.
    let half = TICK_PX.min(f32::from(scene.mark_px)) / scene.view.scale;
    let mut tick = |ray: crate::domain::Ray, at: PointPx, colour: Colour| {
        let (dx, dy) = ray.step();
        let from = PointPx::new(at.x - dy * half, at.y + dx * half);
        let to = PointPx::new(at.x + dy * half, at.y - dx * half);
        scene.lines.push(LineMark { from, to, colour, dotted: false });
    };
    for hour in [1.5, 4.5] {
        tick(crate::domain::Ray { centre: tool.centre, hour }, tool.centre, CURSOR);
    }
    let letters = model.keymap.mark_letters();
    let mut marks = tool.marks(model.clip.width_px, model.clip.height_px, letters.len());
    if let Some(last) = &tool.last {
        let (dx, dy) = last.ray.step();
        // A point is to be seen at once over a slow line: the letters next to it come with it, the
        // others with its mask.
        let coming = model.jobs.asked.iter().any(|asked| asked.frame == model.frame);
        let middle = letters.len().min(2 * MARKS_ASIDE) / 2;
        let at_once = middle.saturating_sub(AT_ONCE)..middle + AT_ONCE;
        // The nearest letters choose their places first, and keep them when the others come.
        marks.sort_by_key(|mark| (2 * mark.slot + 1).abs_diff(2 * middle));
        for mark in marks.iter().filter(|mark| !coming || at_once.contains(&mark.slot)) {
            let at = last.ray.at(mark.radius_px);
            tick(last.ray, at, if mark.on.is_some() { BOUNDARY } else { CURSOR });
            // Marks lie close: their letters stand on either side in turn.
            let side = if mark.slot % 2 == 0 { 1.0 } else { -1.0 };
            let aside = (-dy * side, dx * side);
            scene.letters.extend(letters.get(mark.slot).map(|&letter| LetterMark {
                at,
                aside,
                letter,
                colour: CURSOR,
            }));
        }
    }
    if let Some((ray, at)) = tool.suggested {
        suggestion(ray, at.distance(tool.centre), scene);
    }
}

/// An arrow of two dotted lines side by side towards the contour, `radius_px` from the centre of
/// the ray: it stands on speckle and leaves the contour free.
fn suggestion(ray: crate::domain::Ray, radius_px: f32, scene: &mut Scene<'_>) {
    let px = 1.0 / scene.view.scale;
    let (dx, dy) = ray.step();
    let tip = (radius_px - ARROW_PX * px).max(0.0);
    let beside = |along: f32, aside: f32| {
        let at = ray.at(along);
        PointPx::new(at.x - dy * aside * px, at.y + dx * aside * px)
    };
    let from = (radius_px * SUGGESTED_FROM).min(tip);
    let mut line = |from, to, dotted| {
        scene.lines.push(LineMark { from, to, colour: CURSOR, dotted });
    };
    for aside in [-0.5, 0.5] {
        line(beside(from, aside), beside(tip, aside), true);
    }
    let back = (tip - ARROW_PX * px).max(0.0);
    for aside in [-ARROW_PX, ARROW_PX] {
        line(beside(tip, 0.0), beside(back, aside * 0.7), false);
    }
}

/// The ninths into which a leap goes, with their keys.
fn ninths(model: &Model, region: BoxPx, scene: &mut Scene<'_>) {
    for at in [1, 2] {
        let part = region.ninth(at, at);
        let lines = [
            (PointPx::new(part.min.x, region.min.y), PointPx::new(part.min.x, region.max.y)),
            (PointPx::new(region.min.x, part.min.y), PointPx::new(region.max.x, part.min.y)),
        ];
        let dotted = |(from, to)| LineMark { from, to, colour: CURSOR, dotted: true };
        scene.lines.extend(lines.map(dotted));
    }
    for (i, action) in Action::LEAPS.into_iter().enumerate() {
        let part = region.ninth(i as u8 % 3, i as u8 / 3);
        let at = PointPx::new((part.min.x + part.max.x) / 2.0, (part.min.y + part.max.y) / 2.0);
        let keys = model.keymap.keys_of(action);
        let key = keys.iter().find_map(|key| key.parse().ok());
        let aside = (0.0, 0.0);
        scene.letters.extend(key.map(|letter| LetterMark { at, aside, letter, colour: CURSOR }));
    }
}
