//! What the side panel says of the keys of a mode, in the words of the keymap at hand.

use ratatui::text::Line;

use crate::domain::{FrameMask, MaskSource};
use crate::tui::action::Action;
use crate::tui::model::{Mode, Model};

use super::{Look, cells, cut, key_line};

/// The ray of the last point and the keys of the mode.
pub(super) fn rays<'a>(model: &Model, width: usize, look: Look<'_>) -> Vec<Line<'a>> {
    let theme = look.theme;
    let mut lines = vec![Line::styled("Clock rays", theme.strong(theme.title))];
    let last = model.tools.rays.as_ref().and_then(|tool| tool.last.as_ref());
    let told = last.map_or("no point yet".to_owned(), |last| match last.on {
        Some(at) => format!(
            "edge {} of {} ({:.0})",
            at + 1,
            last.edges.len(),
            last.edges.get(at).map_or(0.0, |edge| edge.contrast)
        ),
        None => format!("{:.1} px from the centre", last.radius_px),
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
            (letters, "move it"),
            (model.bare_key(Action::RaySuggested), "dotted ray"),
            (both(Action::EdgeOuter, Action::EdgeInner), "other edge"),
            (both(Action::RayOut, Action::RayIn), "by 1 px"),
            (both(Action::RayCounter, Action::RayClockwise), "turn it"),
            (model.bare_key(Action::RayCentre), "start here"),
            (close, "done"),
        ]
    };
    lines.extend(key_lines(&keys, width, look));
    lines.push(Line::default());
    lines
}

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
        (A::ClockRays, "points by direction"),
        (A::WindowStart, FIRST),
        (A::WindowEnd, LAST),
        (A::PropagateBoth, "propagate"),
        (A::Undo, "take back"),
        (A::Help, "all keys"),
    ];
    let steps = steps.into_iter().map(|(action, what)| (model.bare_key(action), what));
    let keys: Vec<_> = std::iter::once((moves.join(apart), moving)).chain(steps).collect();
    [none, Line::default()].into_iter().chain(key_lines(&keys, width, look)).collect()
}

/// What may be pressed next, in as many lines as are left; where they are few, how to find the rest.
pub(super) fn next_steps<'a>(
    model: &Model,
    width: usize,
    room: usize,
    look: Look<'_>,
) -> Vec<Line<'a>> {
    use Action as A;
    let elsewhere = model.mode != Mode::Normal || model.tools.strip.is_some();
    if elsewhere || model.lesson.is_some() || room < 2 {
        return Vec::new();
    }
    let tracked = |mask: &FrameMask| mask.source == MaskSource::Tracked;
    let carried = model.annotation.tracks.values().any(|track| track.masks.values().any(tracked));
    let steps: &[(Action, &str)] = if carried {
        &[
            (A::WorstFrame, "most in doubt"),
            (A::AcceptFrame, "accept the mask"),
            (A::NewTrack, "new structure"),
            (A::Export, "export"),
            (A::FinishClip, "finish the clip"),
            (A::Undo, "take back"),
            (A::Help, "all keys"),
        ]
    } else if model.clip.frames > 1 {
        &[
            (A::AddBoundary, "another point"),
            (A::WindowStart, FIRST),
            (A::WindowEnd, LAST),
            (A::PropagateBoth, "propagate"),
            (A::NewTrack, "new structure"),
            (A::Undo, "take back"),
            (A::Help, "all keys"),
        ]
    } else {
        &[
            (A::AddBoundary, "another point"),
            (A::AcceptFrame, "accept the mask"),
            (A::NewTrack, "new structure"),
            (A::Export, "export"),
            (A::Undo, "take back"),
            (A::Help, "all keys"),
        ]
    };
    let skipped = if steps.len() < room { 0 } else { steps.len() - 1 };
    let keys: Vec<_> =
        steps[skipped..].iter().map(|(act, what)| (model.bare_key(*act), *what)).collect();
    std::iter::once(Line::default()).chain(key_lines(&keys, width, look)).collect()
}

/// Keys and what they do, below each other.
fn key_lines<'a>(keys: &[(String, &str)], width: usize, look: Look<'_>) -> Vec<Line<'a>> {
    let column = keys.iter().map(|(keys, _)| cells(keys)).max().unwrap_or(0);
    keys.iter().map(|(keys, what)| key_line(keys, what, column, width, look)).collect()
}
