//! What the side panel says of the keys of a mode, in the words of the keymap at hand.

use ratatui::text::Line;

use crate::domain::{MaskSource, Track};
use crate::tui::action::Action;
use crate::tui::model::{Mode, Model};

use super::{Look, cells, cut, key_line, side};

/// The ray of the last point and the keys of the mode.
pub(super) fn rays<'a>(model: &Model, width: usize, look: Look<'_>) -> Vec<Line<'a>> {
    let theme = look.theme;
    let mut lines = vec![Line::styled("Clock rays", theme.strong(theme.title))];
    let last = model.tools.rays.as_ref().and_then(|tool| tool.last.as_ref());
    let told = last.map_or("no point yet".to_owned(), |last| match last.on {
        Some(at) => format!("edge {} of {}", at + 1, last.edges.len()),
        None => {
            let told = model.distance(last.ray.centre, last.ray.at(last.radius_px));
            format!("{} from the centre", told.split(" (").next().unwrap_or_default())
        }
    });
    lines.push(Line::styled(cut(&told, width, look), theme.style(theme.text)));
    let (hours, close) = (model.hours(), model.bare_key(Action::Close));
    let both = |a: Action, b: Action| format!("{} {}", model.bare_key(a), model.bare_key(b));
    let letters = "letters".to_owned();
    let keys = if model.leap().is_some() {
        vec![(letters, "leap there"), (hours, "first point"), (close, "done")]
    } else {
        vec![
            (hours, "the hours"),
            (letters, MOVE),
            (model.bare_key(Action::RaySuggested), "dotted ray"),
            (both(Action::EdgeOuter, Action::EdgeInner), "other edge"),
            (both(Action::RayOut, Action::RayIn), "by 1 px"),
            (both(Action::RayCounter, Action::RayClockwise), "turn it"),
            (model.bare_key(Action::RayCentre), "start here"),
            (close, "done"),
        ]
    };
    // Without a point there is nothing to move, and letters do what they do elsewhere.
    let keys: Vec<_> =
        keys.into_iter().filter(|(_, what)| *what != MOVE || last.is_some()).collect();
    lines.extend(key_lines(&keys, width, look));
    lines.push(Line::default());
    lines
}

/// What letters do to a point on a ray.
const MOVE: &str = "move it";

/// The answers to a question about visibility.
pub(super) fn visible<'a>(model: &Model, width: usize, look: Look<'_>) -> Vec<Line<'a>> {
    let title = Line::styled("Visible on this frame?", look.theme.strong(look.theme.title));
    let keys = [
        (Action::Visible, "yes"),
        (Action::NotVisible, "no"),
        (Action::AnswerBack, "answer back"),
        (Action::Close, "stop asking"),
    ];
    let keys = keys.map(|(action, what)| (model.bare_key(action), what));
    let keys = key_lines(&keys, width, look);
    std::iter::once(title).chain(keys).chain([Line::default()]).collect()
}

/// What the ends of a window say.
const FIRST: &str = "first visible";
const LAST: &str = "last visible";

/// What a person who sees an empty clip presses first; a mode with keys of its own has told those.
pub(super) fn first_steps<'a>(model: &Model, width: usize, look: Look<'_>) -> Vec<Line<'a>> {
    use Action as A;
    let none = Line::styled("none yet", look.theme.style(look.theme.faint));
    if model.mode != Mode::Normal || model.tools.strip.is_some() {
        return vec![none];
    }
    let moves = [A::CursorLeft, A::CursorDown, A::CursorUp, A::CursorRight];
    let moves = moves.map(|action| model.bare_key(action));
    let apart = if moves.iter().all(|key| cells(key) == 1) { "" } else { " " };
    let arrows = model.keymap.keys_of(A::CursorLeft).iter().any(|key| key == "left");
    let moving = if arrows { "move, or arrows" } else { "move" };
    let steps = [
        (A::AddBoundary, "boundary point"),
        (A::ClockRays, "points by clock"),
        (A::WindowStart, FIRST),
        (A::WindowEnd, LAST),
        (A::PropagateBoth, "propagate"),
        (A::Undo, "take back"),
        (A::Help, "all keys"),
    ];
    // A still has no other frames.
    let of_clips = |act: A| matches!(act, A::WindowStart | A::WindowEnd | A::PropagateBoth);
    let steps = steps.into_iter().filter(|(act, _)| model.clip.frames > 1 || !of_clips(*act));
    let steps = steps.map(|(action, what)| (model.bare_key(action), what));
    let keys: Vec<_> = std::iter::once((moves.join(apart), moving)).chain(steps).collect();
    [none, Line::default()].into_iter().chain(key_lines(&keys, width, look)).collect()
}

/// What may be pressed next, the likeliest first, in as many lines as are left; how to find the rest is one of them.
pub(super) fn next_steps<'a>(
    model: &Model,
    width: usize,
    room: usize,
    look: Look<'_>,
) -> Vec<Line<'a>> {
    let elsewhere = model.mode != Mode::Normal || model.tools.strip.is_some();
    if elsewhere || model.lesson.is_some() || room < 2 {
        return Vec::new();
    }
    let steps = steps_now(model);
    let told = steps.iter().map(|(action, what)| (*action, what.as_str()));
    // The line above stays free, the last one is the help's.
    let told = told.take(room - 2).chain([(Action::Help, "all keys")]);
    let keys: Vec<_> = told.map(|(action, what)| (model.bare_key(action), what)).collect();
    std::iter::once(Line::default()).chain(key_lines(&keys, width, look)).collect()
}

/// What is likely to be done next with the structure at hand.
fn steps_now(model: &Model) -> Vec<(Action, String)> {
    use Action as A;
    let frames = model.clip.frames;
    let shown = |track: &Track| track.visible(model.frame);
    let held = model.current().filter(|(_, track)| shown(track));
    let mask = held.and_then(|(_, track)| track.masks.get(&model.frame));
    let may_accept = mask.is_some_and(|held| held.source != MaskSource::Accepted);
    let own = |steps: &[(A, &str)]| -> Vec<(A, String)> {
        let useful = steps.iter().filter(|(action, _)| may_accept || *action != A::AcceptFrame);
        useful.map(|(action, what)| (*action, (*what).to_owned())).collect()
    };
    let Some((id, track)) = model.current().filter(|_| frames > 1) else {
        return own(&[
            (A::AddBoundary, "another point"),
            (A::AcceptFrame, "accept the mask"),
            (A::NewTrack, "new structure"),
            (A::Export, "export"),
            (A::Undo, "take back"),
        ]);
    };
    let [done, wanted] = side::decided(track, frames);
    let stale = model.marks.stale(id).into_iter().flatten();
    let stale = stale.filter(|frame| track.visible(**frame)).count();
    let propagate = match stale {
        0 => "propagate".to_owned(),
        _ => format!("propagate: {stale} stale"),
    };
    let propagate = [(A::PropagateBoth, propagate)];
    // Masks were carried where there are more than frames with points or a drawn mask, or drawn everywhere.
    let masks = track.masks.len();
    if masks > track.prompts.len().max(1) || (masks > 1 && done >= wanted) {
        let due = (stale > 0 || done < wanted) && !model.propagating();
        // Without an anchor there is nothing to propagate from.
        let bare = track.anchors().is_empty();
        let point = if bare { own(&[(A::AddBoundary, "boundary point")]) } else { Vec::new() };
        let review = own(&[
            (A::WorstFrame, "most in doubt"),
            (A::AcceptFrame, "accept the mask"),
            (A::NewTrack, "new structure"),
            (A::Export, "export"),
            (A::FinishClip, "finish the clip"),
            (A::Undo, "take back"),
        ]);
        let propagate = propagate.into_iter().filter(|_| due && !bare);
        return propagate.chain(point).chain(review).collect();
    }
    let point = if track.prompts.is_empty() { "boundary point" } else { "another point" };
    let windows = own(&[(A::WindowStart, FIRST), (A::WindowEnd, LAST)]);
    own(&[(A::AddBoundary, point)])
        .into_iter()
        .chain(windows.into_iter().filter(|_| track.windows.is_empty()))
        .chain(propagate)
        .chain(own(&[(A::NewTrack, "new structure"), (A::Undo, "take back")]))
        .collect()
}

/// Keys and what they do, below each other.
fn key_lines<'a>(keys: &[(String, &str)], width: usize, look: Look<'_>) -> Vec<Line<'a>> {
    let column = keys.iter().map(|(keys, _)| cells(keys)).max().unwrap_or(0);
    keys.iter().map(|(keys, what)| key_line(keys, what, column, width, look)).collect()
}
