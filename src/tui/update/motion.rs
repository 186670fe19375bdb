//! Moving: the cursor, the frames, the picture.

use std::time::Duration;

use crate::domain::{FrameIndex, PointPx};
use crate::tui::action::Action;
use crate::tui::graphics::Viewport;
use crate::tui::model::{Effect, Model};

use super::tracks;

/// A direction on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Left,
    Down,
    Up,
    Right,
}

impl Way {
    /// One step, x to the right and y down.
    pub(super) fn step(self) -> (f32, f32) {
        match self {
            Way::Left => (-1.0, 0.0),
            Way::Down => (0.0, 1.0),
            Way::Up => (0.0, -1.0),
            Way::Right => (1.0, 0.0),
        }
    }
}

/// Playing speeds that keys step through.
const SPEEDS: [f32; 8] = [0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0];
/// Time of a frame where the file does not tell, ms.
const FRAME_MS: f64 = 40.0;

/// Moves the cursor by so many image px; it stays in the image and in sight.
pub(super) fn cursor(model: &mut Model, way: Way, px: f32) {
    let (dx, dy) = way.step();
    let to = PointPx::new(model.cursor.x + dx * px, model.cursor.y + dy * px);
    put_cursor(model, to);
    model.chosen = None;
    model.nudging = None;
}

/// Moves the cursor by so many text cells of the screen.
pub(super) fn cursor_cells(model: &mut Model, way: Way, cells: u32) {
    let Some(viewport) = model.picture.viewport else { return };
    let (width, height) = model.grid.cell_px;
    let cell = if matches!(way, Way::Left | Way::Right) { width } else { height };
    cursor(model, way, viewport.cell_step_px(cell) * cells as f32);
}

/// Puts the cursor at the nearest pixel and brings it into sight.
pub(super) fn put_cursor(model: &mut Model, at: PointPx) {
    model.cursor = model.inside_image(at);
    let margin = f32::from(model.grid.cell_px.0.max(model.grid.cell_px.1)) * 2.0;
    model.picture.viewport = model.picture.viewport.map(|v| v.revealing(model.cursor, margin));
}

/// Puts the cursor in the middle of what is shown.
pub(super) fn cursor_to_centre(model: &mut Model) {
    if let Some(viewport) = model.picture.viewport {
        put_cursor(model, viewport.centre);
    }
}

/// Goes to a frame, or the nearest there is.
pub(super) fn go_to(model: &mut Model, fx: &mut Vec<Effect>, frame: FrameIndex) {
    let frame = frame.min(model.clip.frames.saturating_sub(1));
    if frame == model.frame {
        return;
    }
    model.frame = frame;
    model.chosen = None;
    model.corner = None;
    model.nudging = None;
    model.tools.cut = None;
    model.tools.caliper = None;
    model.tools.repeat_when_seen = None;
    if model.pixels().is_none() && !model.broken.contains_key(&frame) {
        fx.push(Effect::WantFrame(frame));
    }
}

/// Goes so many frames on or back.
pub(super) fn step(model: &mut Model, fx: &mut Vec<Effect>, by: isize) {
    model.cine.playing = false;
    let (from, to) = (model.frame, model.frame.saturating_add_signed(by));
    go_to(model, fx, to);
    if model.frame == from {
        model.say_passing(if by < 0 {
            "this is the first frame"
        } else {
            "this is the last frame"
        });
    }
}

/// Goes so many anchors of the structure on or back, or to the last there is that way.
pub(super) fn anchor(model: &mut Model, fx: &mut Vec<Effect>, by: isize) {
    let anchors = model.current().map(|(_, track)| track.anchors()).unwrap_or_default();
    let way: Vec<FrameIndex> = if by > 0 {
        anchors.into_iter().filter(|&f| f > model.frame).collect()
    } else {
        anchors.into_iter().rev().filter(|&f| f < model.frame).collect()
    };
    match way.get(by.unsigned_abs().saturating_sub(1)).or(way.last()) {
        Some(&frame) => go_to(model, fx, frame),
        None => model.say(if by > 0 {
            "no later frame has points or an accepted mask"
        } else {
            "no earlier frame has points or an accepted mask"
        }),
    }
}

/// What is told where a frame on either side is wanted.
pub(super) const NOT_BETWEEN: &str =
    "this frame does not lie between two anchors (frames with points or an accepted mask)";

/// Goes to the middle between the anchors on either side: where a mask is least certain.
pub(super) fn middle(model: &mut Model, fx: &mut Vec<Effect>) {
    let anchors = model.current().map(|(_, track)| track.anchors()).unwrap_or_default();
    let before = anchors.iter().rev().find(|&&f| f <= model.frame).copied();
    let after = anchors.iter().find(|&&f| f > model.frame).copied();
    match (before, after) {
        (Some(a), Some(b)) if b - a > 1 => go_to(model, fx, a + (b - a) / 2),
        (Some(_), Some(_)) => model.say("no frame lies between this anchor and the next"),
        _ => model.say(NOT_BETWEEN),
    }
}

/// Goes to the next stale frame, from the start again after the last.
pub(super) fn next_stale(model: &mut Model, fx: &mut Vec<Effect>) {
    let stale = model.track.and_then(|id| model.marks.stale(id));
    let next =
        stale.and_then(|s| s.range(model.frame + 1..).next().or_else(|| s.iter().next()).copied());
    match next {
        Some(frame) if frame == model.frame => {
            model.say("no other mask of this structure is older than its points");
        }
        Some(frame) => go_to(model, fx, frame),
        None => model.say("every mask of this structure is as new as its points"),
    }
}

/// Goes to the next frame on which a mask is missing, from the start again after the last.
pub(super) fn next_missing(model: &mut Model, fx: &mut Vec<Effect>) {
    let Some((_, track)) = model.current() else { return tracks::say_none(model) };
    let missing: Vec<FrameIndex> = track.without_mask(model.clip.frames).collect();
    let unset = track.windows.is_empty();
    match missing.iter().find(|&&frame| frame > model.frame).or(missing.first()) {
        Some(&frame) if frame == model.frame => model.say("on no other frame a mask is missing"),
        Some(&frame) => go_to(model, fx, frame),
        None if unset => model.say(format!(
            "no mask is missing; {} and {} say where this structure is visible",
            model.key(Action::WindowStart),
            model.key(Action::WindowEnd)
        )),
        None => model.say("every frame on which this structure is visible has a mask"),
    }
}

/// Plays or pauses.
pub(super) fn play_pause(model: &mut Model) {
    if model.clip.frames < 2 {
        return model.say("a still has nothing to play");
    }
    model.cine.playing = !model.cine.playing;
    model.tools.taps.shown.clear();
    model.tools.taps.note(model.now, model.frame);
    model.cine.due = model.now + interval(model);
}

/// Steps the speed.
pub(super) fn faster(model: &mut Model, faster: bool) {
    let now = model.cine.speed;
    let next = if faster {
        SPEEDS.iter().find(|&&s| s > now + 1e-3)
    } else {
        SPEEDS.iter().rev().find(|&&s| s < now - 1e-3)
    };
    model.cine.speed = next.copied().unwrap_or(now);
    model.say(format!("plays {} times as fast as recorded", model.cine.speed));
}

fn interval(model: &Model) -> Duration {
    let ms = model.clip.shown_ms(model.frame).unwrap_or(FRAME_MS);
    let ms = (ms / f64::from(model.cine.speed)).clamp(5.0, 10_000.0);
    Duration::from_secs_f64(ms / 1000.0)
}

/// Goes on when the next frame is due and this one was seen.
pub(super) fn play(model: &mut Model, fx: &mut Vec<Effect>) {
    if !model.cine.playing || model.now < model.cine.due {
        return;
    }
    // Waits a moment for what is still being decoded rather than skipping it.
    if model.pixels().is_none() && !model.broken.contains_key(&model.frame) {
        model.cine.due = model.now + Duration::from_millis(10);
        return;
    }
    let next = (model.frame + 1) % model.clip.frames.max(1);
    go_to(model, fx, next);
    model.tools.taps.note(model.now, next);
    model.cine.due = (model.cine.due + interval(model)).max(model.now);
}

/// Zooms round the cursor.
pub(super) fn zoom(model: &mut Model, factor: f32) {
    let cursor = model.cursor;
    model.picture.viewport = model.picture.viewport.map(|v| v.zoomed(factor, cursor));
    put_cursor(model, cursor);
}

/// Shows the whole picture.
pub(super) fn zoom_fit(model: &mut Model) {
    model.picture.viewport = model.picture.viewport.map(|v| fitted(model, v));
}

/// Whether nobody zoomed or looked elsewhere.
pub(super) fn shows_all(model: &Model) -> bool {
    model.picture.viewport.is_none_or(|v| v == fitted(model, v))
}

/// The whole picture in the place of `v`.
fn fitted(model: &Model, v: Viewport) -> Viewport {
    Viewport::fit(model.clip.width_px, model.clip.height_px, v.width_px, v.height_px)
}

/// Brings the cursor into the middle.
pub(super) fn centre_on_cursor(model: &mut Model) {
    let cursor = model.cursor;
    let towards = |v: Viewport| {
        let (x, y) = v.to_screen(cursor);
        v.panned(x - v.width_px as f32 / 2.0, y - v.height_px as f32 / 2.0)
    };
    model.picture.viewport = model.picture.viewport.map(towards);
}

/// Looks further that way, by four cells a step.
pub(super) fn pan(model: &mut Model, way: Way, n: u32) {
    let (dx, dy) = way.step();
    let (width, height) = model.grid.cell_px;
    let by = |d: f32, cell: u16| d * f32::from(cell.max(1)) * 4.0 * n as f32;
    model.picture.viewport =
        model.picture.viewport.map(|v| v.panned(by(dx, width), by(dy, height)));
}
