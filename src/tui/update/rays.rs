//! Clock rays: points put by direction from inside the structure.
//!
//! A key names an hour and the point is there, on the likeliest edge; the same key again moves it
//! to the next edge, others nudge it, all as one undo group. The suggestion is looked up again
//! whenever points or mask of the frame change.

use std::sync::Arc;

use crate::domain::{
    Edge, Edit, GrayFrame, PointKind, PointPx, Prompt, Ray, Track, centre_of, contour_radius,
    edges_along, least_certain, likeliest, likeliest_near,
};
use crate::tui::action::Action;
use crate::tui::model::{Effect, Mode, Model};
use crate::tui::tools::{Correction, RayPoint, RayTool};

use super::{edits, leap, motion, network, prompts};

/// Fine step where the clip tells its spacing, mm.
const FINE_MM: f64 = 0.1;
/// Large step, px.
const FAR_PX: f32 = 4.0;
/// Half an hour.
const TURN_HOURS: f32 = 0.5;

/// Actions of the rays. Outside their mode the hours open it first.
pub(super) fn act(model: &mut Model, fx: &mut Vec<Effect>, action: Action) {
    use Action as A;
    if model.tools.rays.is_none() && !enter(model) {
        return;
    }
    match action {
        A::ClockRays => {}
        A::RaySuggested => suggested(model, fx),
        A::EdgeOuter => next_edge(model, fx, 1),
        A::EdgeInner => next_edge(model, fx, -1),
        A::RayOut => slide(model, fx, 1.0),
        A::RayIn => slide(model, fx, -1.0),
        A::RayOutFar => slide(model, fx, FAR_PX),
        A::RayInFar => slide(model, fx, -FAR_PX),
        A::RayOutMm => slide_mm(model, fx, FINE_MM),
        A::RayInMm => slide_mm(model, fx, -FINE_MM),
        A::RayClockwise => turn(model, fx, TURN_HOURS),
        A::RayCounter => turn(model, fx, -TURN_HOURS),
        A::RayCentre => start_at(model, model.cursor),
        A::Leap => leap::begin(model),
        other => match (leap::ninth_of(other), hour_of(other)) {
            (Some(ninth), _) => leap::into(model, ninth),
            (_, Some(hour)) => towards(model, fx, hour),
            _ => {}
        },
    }
}

/// The clock hour of a direction key; 12 is 0.
fn hour_of(action: Action) -> Option<f32> {
    let number: f32 = action.name().strip_prefix("ray-")?.parse().ok()?;
    Some(number % crate::domain::HOURS)
}

/// Opens the mode; false, with a sentence, when there is nothing to look along.
fn enter(model: &mut Model) -> bool {
    if model.pixels().is_none() {
        model.say("this frame is still being read; try again when it is shown");
        return false;
    }
    let natural = natural_centre(model);
    model.mode = Mode::Rays;
    start_at(model, natural.unwrap_or(model.cursor));
    if natural.is_none() {
        leap::begin(model);
    } else {
        model.say(format!(
            "rays: {} are 1 to 12 o'clock, {} takes the dotted one",
            model.hours(),
            model.key(Action::RaySuggested)
        ));
    }
    true
}

/// Leaves the mode.
pub(super) fn leave(model: &mut Model) {
    model.tools.rays = None;
    model.mode = Mode::Normal;
}

/// Rays start at `centre`, with no point at hand.
pub(super) fn start_at(model: &mut Model, centre: PointPx) {
    let (frame, track) = (model.frame, model.track);
    model.tools.rays =
        Some(RayTool { centre, frame, track, last: None, suggested: None, leap: None });
    look(model);
}

/// Inside the mask of this frame, else amid its boundary points.
fn natural_centre(model: &Model) -> Option<PointPx> {
    let (_, track) = model.current()?;
    if let Some(held) = track.masks.get(&model.frame).filter(|_| track.visible(model.frame))
        && let Some(centre) = centre_of(&held.mask.to_bitmap())
    {
        return Some(centre);
    }
    let points = track.frame_prompts(model.frame).boundary_points();
    let n = points.len() as f32;
    (points.len() > 1).then(|| {
        PointPx::new(
            points.iter().map(|p| p.x).sum::<f32>() / n,
            points.iter().map(|p| p.y).sum::<f32>() / n,
        )
    })
}

/// What is known of the frame at hand: its pixels, mask and boundary points.
struct Known {
    pixels: Arc<GrayFrame>,
    mask: Option<crate::domain::Bitmap>,
    points: Vec<PointPx>,
}

impl Known {
    fn of(model: &Model) -> Option<Self> {
        let pixels = Arc::clone(model.pixels()?);
        let track = model.current().map(|(_, track)| track);
        let held = |track: &Track| {
            let mask = track.masks.get(&model.frame).filter(|_| track.visible(model.frame))?;
            (!mask.mask.is_empty()).then(|| mask.mask.to_bitmap())
        };
        let points = track.map(|track| track.frame_prompts(model.frame).boundary_points());
        Some(Self { pixels, mask: track.and_then(held), points: points.unwrap_or_default() })
    }

    /// Where the contour is expected on a ray: at the mask's, else as far as the points are.
    fn expected(&self, ray: Ray) -> Option<f32> {
        if let Some(mask) = &self.mask {
            return contour_radius(mask, ray);
        }
        let sum: f32 = self.points.iter().map(|p| p.distance(ray.centre)).sum();
        (!self.points.is_empty()).then(|| sum / self.points.len() as f32)
    }

    /// The edge of a suggestion: near the contour, once there is one.
    fn suggested(&self, edges: &[Edge], ray: Ray) -> Option<usize> {
        match self.expected(ray) {
            Some(at) if self.mask.is_some() => likeliest_near(edges, at),
            expected => likeliest(edges, expected),
        }
    }
}

/// Brings centre and suggestion up to date with the frame at hand.
pub(super) fn look(model: &mut Model) {
    let Some(mut tool) = model.tools.rays.take() else { return };
    if tool.frame != model.frame {
        tool.frame = model.frame;
        (tool.last, tool.leap) = (None, None);
        tool.centre = natural_centre(model).unwrap_or(tool.centre);
    }
    // Rays of another structure would put its points on the contour of this one; a first structure is no other one.
    if tool.track.is_some() && tool.track != model.track {
        tool.last = None;
        if let Some(centre) = natural_centre(model) {
            (tool.centre, tool.leap) = (centre, None);
        }
    }
    tool.track = model.track;
    let place = |id| {
        let placed = model.current().and_then(|(_, track)| track.prompts.get(&model.frame))?;
        placed.iter().find(|each| each.id == id).and_then(|each| match each.prompt {
            Prompt::Point { at, .. } => Some(at),
            _ => None,
        })
    };
    tool.last = tool.last.and_then(|last| {
        let at = place(last.id)?;
        Some(if at == last.at { last } else { leap::moved(model, last, at) })
    });
    // Until the mask of the newest point is there the suggestion would only jump about.
    let coming = model.jobs.asked.iter().any(|asked| asked.frame == model.frame);
    if coming && tool.suggested.is_some() {
        model.tools.rays = Some(tool);
        return;
    }
    tool.suggested = Known::of(model).and_then(|known| {
        let ray = least_certain(&known.pixels, known.mask.as_ref(), tool.centre, &known.points);
        let expected = known.expected(ray);
        let edges = edges_along(&known.pixels, ray);
        let radius = known.suggested(&edges, ray).map(|i| edges[i].radius_px).or(expected)?;
        Some((ray, ray.at(radius)))
    });
    model.tools.rays = Some(tool);
}

/// A key towards an hour: a new point, or the next edge for the last one.
fn towards(model: &mut Model, fx: &mut Vec<Effect>, hour: f32) {
    let Some(tool) = &model.tools.rays else { return };
    let again = tool.last.as_ref().is_some_and(|last| last.ray.hour == hour);
    let ray = Ray { centre: tool.centre, hour };
    if again {
        next_edge(model, fx, 1);
    } else if !leap::take_up(model, ray) {
        place(model, fx, ray, Start::Edge(0));
    }
}

fn suggested(model: &mut Model, fx: &mut Vec<Effect>) {
    match model.tools.rays.as_ref().and_then(|tool| tool.suggested) {
        Some((ray, _)) => place(model, fx, ray, Start::Suggested),
        None => model.say(format!(
            "no edge to suggest here; name an hour, or put a point with {}",
            model.key(Action::AddBoundary)
        )),
    }
}

/// Where on a ray a point is put.
#[derive(Clone, Copy)]
enum Start {
    /// So many edges beyond the likeliest.
    Edge(isize),
    /// Where the suggestion lies.
    Suggested,
}

/// Puts a boundary point on `ray`.
fn place(model: &mut Model, fx: &mut Vec<Effect>, ray: Ray, start: Start) {
    let Some(known) = Known::of(model) else {
        return model.say("this frame is still being read; try again when it is shown");
    };
    let edges = edges_along(&known.pixels, ray);
    let expected = known.expected(ray);
    let (first, edges_on) = match start {
        Start::Edge(on) => (likeliest(&edges, expected), on),
        Start::Suggested => (known.suggested(&edges, ray), 0),
    };
    let on = first.map(|at| at.saturating_add_signed(edges_on).min(edges.len() - 1));
    let Some(radius_px) = on.map(|at| edges[at].radius_px).or(expected) else {
        return model.say(format!(
            "no edge towards there; move the cursor into the structure and press {}",
            model.key(Action::RayCentre)
        ));
    };
    motion::put_cursor(model, ray.at(radius_px));
    let Some((id, group)) = prompts::add_at_cursor(model, fx, PointKind::Boundary) else { return };
    model.chosen = Some(id);
    model.tools.correction = Some(Correction::Ray { hour: ray.hour, edges_on });
    let (number, of) = (on.map_or(0, |at| at + 1), edges.len());
    let at = model.cursor;
    let last = RayPoint { ray, edges, on, first, radius_px, at, id, group };
    if let Some(tool) = &mut model.tools.rays {
        (tool.last, tool.leap) = (Some(last), None);
    }
    let hour = told(ray.hour);
    model.say(format!("boundary point at {hour}, edge {number} of {of}; a letter moves it"));
}

/// Puts the last correction's point on the frame at hand, from its own centre.
pub(super) fn again(model: &mut Model, fx: &mut Vec<Effect>, hour: f32, edges_on: isize) {
    let Some(centre) = natural_centre(model) else {
        return model.say("no mask on this frame to start a ray from");
    };
    place(model, fx, Ray { centre, hour }, Start::Edge(edges_on));
}

/// "7 o'clock", "half past 3".
pub(super) fn told(hour: f32) -> String {
    let whole = hour.floor();
    let name = if whole == 0.0 { 12.0 } else { whole };
    match hour - whole {
        rest if rest < 0.25 => format!("{name} o'clock"),
        rest if rest < 0.75 => format!("half past {name}"),
        _ => format!("{} o'clock", name % 12.0 + 1.0),
    }
}

fn next_edge(model: &mut Model, fx: &mut Vec<Effect>, by: isize) {
    let Some(last) = last(model) else { return };
    // After a nudge there is no edge to count from: the next one beyond the point.
    let to = match last.on {
        Some(at) => at.checked_add_signed(by),
        None if by > 0 => last.edges.iter().position(|edge| edge.radius_px > last.radius_px),
        None => last.edges.iter().rposition(|edge| edge.radius_px < last.radius_px),
    };
    let Some((at, edge)) = to.and_then(|at| Some((at, *last.edges.get(at)?))) else {
        return model.say(if by > 0 { "no edge farther out" } else { "no edge farther in" });
    };
    let edges_on = at as isize - last.first.unwrap_or(at) as isize;
    let hour = last.ray.hour;
    let of = last.edges.len();
    if put(model, fx, RayPoint { on: Some(at), radius_px: edge.radius_px, ..last }) {
        model.tools.correction = Some(Correction::Ray { hour, edges_on });
        model.say(format!("edge {} of {of} at {}", at + 1, told(hour)));
    }
}

/// Moves the last point along its ray by mm, where the clip tells its spacing.
fn slide_mm(model: &mut Model, fx: &mut Vec<Effect>, by_mm: f64) {
    let Some(centre) = last(model).map(|last| last.ray.centre) else { return };
    let [out, inwards] = [Action::RayOut, Action::RayIn].map(|action| model.key(action));
    match model.clip.scale_between(centre, centre) {
        Ok([x, y]) if x > 0.0 && y > 0.0 => slide(model, fx, (by_mm * 2.0 / (x + y)) as f32),
        Ok(_) => model.say(format!("there are no mm here; {out} and {inwards} move by 1 px")),
        Err(why) => {
            model.say(format!("{why}, so there are no mm; {out} and {inwards} move by 1 px"));
        }
    }
}

fn slide(model: &mut Model, fx: &mut Vec<Effect>, by_px: f32) {
    let Some(last) = last(model) else { return };
    let reach = last.ray.reach(model.clip.width_px, model.clip.height_px);
    let radius_px = (last.radius_px + by_px).clamp(0.0, reach);
    let told = model.distance(last.ray.centre, last.ray.at(radius_px));
    if put(model, fx, RayPoint { on: None, radius_px, ..last }) {
        // Why there are no mm is said where mm are asked for.
        model.say(format!("{} from the centre", told.split(" (").next().unwrap_or_default()));
    }
}

fn turn(model: &mut Model, fx: &mut Vec<Effect>, hours: f32) {
    let Some(last) = last(model) else { return };
    let Some(known) = Known::of(model) else { return };
    let ray = last.ray.turned(hours);
    let edges = edges_along(&known.pixels, ray);
    let on = likeliest(&edges, Some(last.radius_px));
    let radius_px = on.map_or(last.radius_px, |at| edges[at].radius_px);
    let hour = ray.hour;
    if put(model, fx, RayPoint { ray, edges, on, first: on, radius_px, ..last }) {
        model.tools.correction = Some(Correction::Ray { hour, edges_on: 0 });
        model.say(format!("turned to {}", told(hour)));
    }
}

fn last(model: &mut Model) -> Option<RayPoint> {
    let last = model.tools.rays.as_ref().and_then(|tool| tool.last.clone());
    if last.is_none() {
        model.say("no point to move yet; name an hour first");
    }
    last
}

/// Moves the last point to where `to` says, as part of its undo group.
pub(super) fn put(model: &mut Model, fx: &mut Vec<Effect>, to: RayPoint) -> bool {
    let Some((track, held)) = model.current() else { return false };
    let frame = model.frame;
    let placed = held.prompts.get(&frame).and_then(|all| all.iter().find(|each| each.id == to.id));
    let Some(before) = placed.map(|each| each.prompt.clone()) else { return false };
    // A nudge by less than a pixel must count: points lie between pixel centres too.
    let (width, height) = (model.clip.width_px as f32, model.clip.height_px as f32);
    let exact = to.ray.at(to.radius_px);
    let at = PointPx::new(exact.x.clamp(0.5, width - 0.5), exact.y.clamp(0.5, height - 0.5));
    let after = Prompt::Point { kind: PointKind::Boundary, at };
    if after == before {
        model.say("this is the edge of the picture");
        return false;
    }
    let (id, group) = (to.id, to.group);
    if !edits::commit(model, fx, group, vec![Edit::MovePrompt { track, frame, id, before, after }])
    {
        return false;
    }
    motion::put_cursor(model, at);
    model.chosen = Some(id);
    if let Some(tool) = &mut model.tools.rays {
        tool.last = Some(RayPoint { at, ..to });
    }
    network::ask(model, fx, track, frame, group);
    true
}
