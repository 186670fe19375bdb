//! The M-mode strip: a line through the clip over time, below the picture, and the place on it.

use crate::domain::{FrameIndex, Ray};
use crate::tui::action::Action;
use crate::tui::model::{Effect, Mode, Model};
use crate::tui::tools::Strip;

use super::{motion, rays};

/// Straight down.
const DOWN: f32 = 6.0;
/// Half a clock: the other way.
const BACK: f32 = 6.0;
/// A turn of the line, hours: 7.5 degrees.
const TURN_HOURS: f32 = 0.25;
/// A large step along the line, px.
const FAR_PX: f32 = 8.0;

/// Actions of the strip; false when `action` is none.
pub(super) fn act(model: &mut Model, fx: &mut Vec<Effect>, action: Action, n: u32) -> bool {
    match action {
        Action::MMode => toggle(model, fx),
        Action::DepthUp => slide(model, -(n as f32)),
        Action::DepthDown => slide(model, n as f32),
        Action::DepthUpFar => slide(model, -FAR_PX * n as f32),
        Action::DepthDownFar => slide(model, FAR_PX * n as f32),
        Action::LineClockwise => turn(model, fx, TURN_HOURS * n as f32),
        Action::LineCounter => turn(model, fx, -TURN_HOURS * n as f32),
        _ => return false,
    }
    true
}

/// Shows it along the ray at hand, or straight down through the cursor; or takes it away.
fn toggle(model: &mut Model, fx: &mut Vec<Effect>) {
    if let Some(strip) = model.tools.strip.take() {
        fx.push(Effect::Strip(0, strip.from, strip.to));
        model.fit_viewport();
        return model.say("no M-mode any more");
    }
    if model.clip.frames < 2 {
        return model.say("a still has no time to show");
    }
    let tool = model.tools.rays.take();
    let chosen = tool.and_then(|tool| {
        let last = tool.last.map(|last| (last.ray, last.radius_px));
        last.or(tool.suggested.map(|(ray, at)| (ray, at.distance(ray.centre))))
    });
    if chosen.is_some() || model.mode == Mode::Rays {
        rays::leave(model);
    }
    let (ray, depth_px) = match chosen {
        Some((ray, depth_px)) => (ray, Some(depth_px)),
        None => (Ray { centre: model.cursor, hour: DOWN }, None),
    };
    show(model, fx, ray, depth_px);
    let along = match depth_px {
        Some(_) => format!("the ray towards {}", rays::told(ray.hour)),
        None => "a line straight down through the cursor".to_owned(),
    };
    let put = model.key(Action::AddBoundary);
    model.say(format!(
        "M-mode along {along}: time runs to the right, {put} puts a point on the line"
    ));
}

/// Shows the strip along `ray` from its centre, at `depth_px`; or without that along the whole
/// line through its centre, the place staying there.
fn show(model: &mut Model, fx: &mut Vec<Effect>, ray: Ray, depth_px: Option<f32>) {
    let size = [model.clip.width_px, model.clip.height_px];
    let columns = vec![Vec::new(); model.clip.frames];
    model.jobs.generation += 1;
    let number = model.jobs.generation;
    let strip = Strip::along(number, ray, depth_px, size, columns);
    fx.push(Effect::Strip(number, strip.from, strip.to));
    model.tools.strip = Some(strip);
    model.fit_viewport();
    settle(model);
}

/// The cursor goes to the place on the line.
fn settle(model: &mut Model) {
    let Some(strip) = &model.tools.strip else { return };
    let at = strip.at(strip.depth_px);
    motion::put_cursor(model, at);
    let cursor = model.cursor;
    if let Some(strip) = &mut model.tools.strip {
        strip.seen = cursor;
    }
    model.chosen = None;
    model.nudging = None;
}

/// Along the line by so many px.
fn slide(model: &mut Model, by_px: f32) {
    let cursor = model.cursor;
    let Some(strip) = &mut model.tools.strip else { return say_none(model) };
    let (before, length) = (strip.depth_at(cursor), strip.length_px());
    strip.depth_px = (before + by_px).clamp(0.0, length);
    let (from, at, to) = (strip.from, strip.at(strip.depth_px), strip.to);
    let end = strip.depth_px == before;
    settle(model);
    let told = match end {
        true => "this is the end of the line".to_owned(),
        false => {
            let (down, whole) = (model.distance(from, at), model.distance(from, to));
            // Why there are no mm is said once.
            let down = down.split(" (").next().unwrap_or_default();
            format!("{down} down the line of {whole}")
        }
    };
    model.say(told);
}

/// Another angle: a ray turns about its centre, a line about the place on it.
fn turn(model: &mut Model, fx: &mut Vec<Effect>, hours: f32) {
    let cursor = model.cursor;
    let Some(strip) = &model.tools.strip else { return say_none(model) };
    let depth_px = strip.depth_at(cursor);
    let ray = strip.ray.turned(hours);
    if strip.through {
        let centre = strip.at(depth_px);
        // The upper end stays the upper end of the strip.
        let upwards = ray.step().1 < -1e-4;
        show(model, fx, Ray { centre, ..ray.turned(if upwards { BACK } else { 0.0 }) }, None);
    } else {
        show(model, fx, ray, Some(depth_px));
    }
    let hour = model.tools.strip.as_ref().map_or(DOWN, |strip| strip.ray.hour);
    let degrees = (hour - DOWN) * 30.0;
    model.say(format!("the line runs {degrees:+.1} degrees from straight down"));
}

fn say_none(model: &mut Model) {
    model.say("no M-mode line here; `:m-mode` shows one");
}

/// A piece of it was read.
pub(super) fn take(model: &mut Model, number: u64, first: FrameIndex, columns: Vec<Vec<u8>>) {
    let Some(strip) = model.tools.strip.as_mut().filter(|strip| strip.number == number) else {
        return;
    };
    for (held, column) in strip.columns.iter_mut().skip(first).zip(columns) {
        *held = column;
    }
}
