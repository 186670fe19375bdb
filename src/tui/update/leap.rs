//! Where the rays start, said by ninths of the picture, and letters for places on a ray.
//!
//! Two keys of a block of nine (q w e, a s d, z x c) name one of 81 places, and a letter moves the
//! last point to the mark that bears it: a boundary point is two keys wherever it lies.

use crate::domain::{BoxPx, Edge, PointKind, PointPx, Prompt, Ray, edges_along};
use crate::tui::action::Action;
use crate::tui::key::Key;
use crate::tui::keymap::KeyMode;
use crate::tui::model::{Effect, Model};
use crate::tui::tools::{Correction, RayPoint};

use super::{motion, rays};

/// A point this near to a ray lies on it: it was put there, and points lie on whole pixels.
const SAME_RAY_HOURS: f32 = 0.12;
/// Smaller regions are not divided any more, px.
const LEAST_LEAP_PX: f32 = 6.0;

/// The place of the centre is said by ninths of what is shown.
pub(super) fn begin(model: &mut Model) {
    let (width, height) = (model.clip.width_px, model.clip.height_px);
    let Some(view) = model.picture.viewport else { return };
    let min = view.to_image(0.0, 0.0).clamped(width, height);
    let max = view.to_image(view.width_px as f32, view.height_px as f32).clamped(width, height);
    if let Some(tool) = &mut model.tools.rays {
        (tool.leap, tool.last) = (Some(BoxPx { min, max }), None);
    }
    model.say(format!(
        "where? the letters leap into a ninth, then an hour ({}) puts a point",
        model.hours()
    ));
}

/// Column and row of the ninth that an action names, 0..3.
pub(super) fn ninth_of(action: Action) -> Option<(u8, u8)> {
    use Action as A;
    Some(match action {
        A::LeapNorthWest => (0, 0),
        A::LeapNorth => (1, 0),
        A::LeapNorthEast => (2, 0),
        A::LeapWest => (0, 1),
        A::LeapMiddle => (1, 1),
        A::LeapEast => (2, 1),
        A::LeapSouthWest => (0, 2),
        A::LeapSouth => (1, 2),
        A::LeapSouthEast => (2, 2),
        _ => return None,
    })
}

/// Leaps into a ninth of the region at hand, or of what is shown.
pub(super) fn into(model: &mut Model, (column, row): (u8, u8)) {
    if model.leap().is_none() {
        begin(model);
    }
    let Some(region) = model.leap() else { return };
    let part = region.ninth(column, row);
    let middle = PointPx::new((part.min.x + part.max.x) / 2.0, (part.min.y + part.max.y) / 2.0);
    motion::put_cursor(model, middle);
    rays::start_at(model, model.cursor);
    // Below a few pixels there is nothing left to divide.
    let (width, height) = (part.max.x - part.min.x, part.max.y - part.min.y);
    let fine = width < LEAST_LEAP_PX || height < LEAST_LEAP_PX;
    if let Some(tool) = &mut model.tools.rays {
        tool.leap = (!fine).then_some(part);
    }
    model.say(format!(
        "inside the structure? an hour ({}) puts a point; else leap again",
        model.hours()
    ));
}

/// A letter while a ray's point is at hand: the point goes to the mark of this letter. True when
/// the key was taken.
pub(super) fn letter(model: &mut Model, fx: &mut Vec<Effect>, key: Key) -> bool {
    if model.key_mode() != KeyMode::Rays {
        return false;
    }
    let held = model.tools.rays.as_ref().and_then(|tool| Some((tool, tool.last.clone()?)));
    let (Some((tool, last)), Some(typed)) = (held, key.typed()) else { return false };
    let letters = model.keymap.mark_letters();
    let Some(slot) = letters.iter().position(|letter| *letter == typed) else { return false };
    let marks = tool.marks(model.clip.width_px, model.clip.height_px, letters.len());
    let Some(mark) = marks.iter().find(|mark| mark.slot == slot) else {
        model.say(format!(
            "no mark of this letter here; {} leaves the rays",
            model.key(Action::Close)
        ));
        return true;
    };
    let (hour, first) = (last.ray.hour, last.first);
    if rays::put(model, fx, RayPoint { on: mark.on, radius_px: mark.radius_px, ..last }) {
        if let (Some(on), Some(first)) = (mark.on, first) {
            let edges_on = on as isize - first as isize;
            model.tools.correction = Some(Correction::Ray { hour, edges_on });
        }
        model.say(format!("moved at {}; a letter moves it again", rays::told(hour)));
    }
    true
}

/// The edge that a point so far from the centre was put on.
fn edge_at(edges: &[Edge], radius_px: f32) -> Option<usize> {
    edges.iter().position(|edge| (edge.radius_px - radius_px).abs() < 1.0)
}

/// What is known of a point that lies `at` another place now: it was moved back, or by others.
pub(super) fn moved(model: &Model, last: RayPoint, at: PointPx) -> RayPoint {
    let ray = Ray::through(last.ray.centre, at);
    let same = ray.hours_to(last.ray) < SAME_RAY_HOURS;
    let looked = || model.pixels().map(|pixels| edges_along(pixels, ray)).unwrap_or_default();
    let (ray, edges) = if same { (last.ray, last.edges) } else { (ray, looked()) };
    let radius_px = at.distance(ray.centre);
    let on = edge_at(&edges, radius_px);
    let first = if same { last.first } else { on };
    RayPoint { ray, edges, on, first, radius_px, at, ..last }
}

/// A point that already lies on `ray` is at hand again; false when there is none.
pub(super) fn take_up(model: &mut Model, ray: Ray) -> bool {
    let Some(pixels) = model.pixels().cloned() else { return false };
    let placed = model.current().and_then(|(_, track)| track.prompts.get(&model.frame));
    let on_ray = placed.into_iter().flatten().find_map(|each| match each.prompt {
        Prompt::Point { kind: PointKind::Boundary, at } => {
            let same = Ray::through(ray.centre, at).hours_to(ray) < SAME_RAY_HOURS;
            same.then_some((each.id, at))
        }
        _ => None,
    });
    let Some((id, at)) = on_ray else { return false };
    let (edges, radius_px) = (edges_along(&pixels, ray), at.distance(ray.centre));
    let on = edge_at(&edges, radius_px);
    let group = model.fresh();
    motion::put_cursor(model, at);
    model.chosen = Some(id);
    if let Some(tool) = &mut model.tools.rays {
        tool.last = Some(RayPoint { ray, edges, on, first: on, radius_px, at, id, group });
        tool.leap = None;
    }
    let hour = rays::told(ray.hour);
    model.say(format!("the point at {hour} again; a letter or an arrow moves it"));
    true
}
