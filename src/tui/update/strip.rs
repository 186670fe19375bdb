//! The M-mode strip: a line through the clip over time, below the picture.

use crate::domain::{FrameIndex, PointPx, Ray};
use crate::tui::model::{Effect, Model};
use crate::tui::tools::Strip;

/// Shows it along the last ray, or straight down through the cursor; or takes it away.
pub(super) fn toggle(model: &mut Model, fx: &mut Vec<Effect>) {
    if let Some(strip) = model.tools.strip.take() {
        fx.push(Effect::Strip(0, strip.from, strip.to));
        return model.fit_viewport();
    }
    if model.clip.frames < 2 {
        return model.say("a still has no time to show");
    }
    let last = model.tools.rays.as_ref().and_then(|tool| tool.last.as_ref()).map(|last| last.ray);
    let (from, to) = match last {
        Some(ray) => (ray.centre, border(model, ray)),
        None => {
            let x = model.cursor.x;
            (PointPx::new(x, 0.0), PointPx::new(x, model.clip.height_px as f32))
        }
    };
    model.jobs.generation += 1;
    let number = model.jobs.generation;
    let columns = vec![Vec::new(); model.clip.frames];
    model.tools.strip = Some(Strip { number, from, to, columns });
    model.fit_viewport();
    fx.push(Effect::Strip(number, from, to));
    model.say("time runs to the right; `.` `,` move through it, `b` puts a point on the line");
}

/// Where a ray leaves the image.
fn border(model: &Model, ray: Ray) -> PointPx {
    let (dx, dy) = ray.step();
    let room = |at: f32, step: f32, size: u32| match step {
        s if s > 1e-6 => (size as f32 - at) / s,
        s if s < -1e-6 => -at / s,
        _ => f32::INFINITY,
    };
    let across = room(ray.centre.x, dx, model.clip.width_px);
    ray.at(across.min(room(ray.centre.y, dy, model.clip.height_px)).max(1.0))
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
