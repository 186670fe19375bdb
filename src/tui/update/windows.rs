//! Windows of visibility of the structure at hand.
//!
//! Each key has its effect at once, so that nothing is ever half told: inside a window the start
//! and end keys cut it; outside they stretch the nearest one on that side; with none there they
//! make one that reaches to the end of the clip.

use crate::domain::{Edit, FrameIndex, Window, insert_window, remove_from_windows};
use crate::tui::action::Action;
use crate::tui::model::{Effect, Model};

use super::{edits, tracks};

/// The structure is visible from this frame on.
pub(super) fn start(model: &mut Model, fx: &mut Vec<Effect>) {
    let (f, last) = (model.frame, model.clip.frames.saturating_sub(1));
    change(model, fx, |windows| {
        if let Some(w) = windows.iter().find(|w| w.contains(f)) {
            let without = remove_from_windows(windows, *w);
            return insert_window(&without, Window { first: f, last: w.last });
        }
        let end = windows.iter().find(|w| w.first > f).map_or(last, |w| w.first);
        insert_window(windows, Window { first: f, last: end })
    });
}

/// The structure is last visible on this frame.
pub(super) fn end(model: &mut Model, fx: &mut Vec<Effect>) {
    let f = model.frame;
    change(model, fx, |windows| {
        if let Some(w) = windows.iter().find(|w| w.contains(f)) {
            let without = remove_from_windows(windows, *w);
            return insert_window(&without, Window { first: w.first, last: f });
        }
        let first = windows.iter().rev().find(|w| w.last < f).map_or(0, |w| w.last);
        insert_window(windows, Window { first, last: f })
    });
}

/// The structure appears once more.
pub(super) fn new(model: &mut Model, fx: &mut Vec<Effect>) {
    let f = model.frame;
    if model.current().is_some_and(|(_, t)| t.windows.iter().any(|w| w.contains(f))) {
        return model.say(format!(
            "this frame lies in a window already; {} and {} cut it",
            model.key(Action::WindowStart),
            model.key(Action::WindowEnd)
        ));
    }
    change(model, fx, |windows| insert_window(windows, Window { first: f, last: f }));
}

/// Adds a window, both ends included.
pub(super) fn add(model: &mut Model, fx: &mut Vec<Effect>, first: FrameIndex, last: FrameIndex) {
    change(model, fx, |windows| insert_window(windows, Window { first, last }));
}

/// Puts `window` in the place of the one that holds `frame`.
pub(super) fn replace(model: &mut Model, fx: &mut Vec<Effect>, frame: FrameIndex, window: Window) {
    change(model, fx, |windows| {
        let mut others = windows.to_vec();
        others.retain(|each| !each.contains(frame));
        insert_window(&others, window)
    });
}

/// Forgets the window that holds this frame.
pub(super) fn clear(model: &mut Model, fx: &mut Vec<Effect>) {
    let f = model.frame;
    let held = model.current().and_then(|(_, t)| t.windows.iter().copied().find(|w| w.contains(f)));
    let Some(window) = held else { return model.say("this frame lies in no window") };
    change(model, fx, |windows| remove_from_windows(windows, window));
}

/// Forgets all windows.
pub(super) fn clear_all(model: &mut Model, fx: &mut Vec<Effect>) {
    match model.current().map(|(_, track)| track.windows.len()) {
        None => tracks::say_none(model),
        Some(0) => model.say("no windows are set: the structure counts as visible everywhere"),
        Some(_) => change(model, fx, |_| Vec::new()),
    }
}

/// Changes the windows as `to` says, starting a structure where there is none.
pub(super) fn change(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    to: impl FnOnce(&[Window]) -> Vec<Window>,
) {
    let mut todo = Vec::new();
    let group = model.fresh();
    let id = tracks::current_or_new(model, &mut todo);
    let before = model.annotation.tracks.get(&id).map(|t| t.windows.clone()).unwrap_or_default();
    let after = to(&before);
    if after == before {
        return model.say("the window is so already");
    }
    let sentence = told(&after, model.clip.frames);
    todo.push(Edit::SetWindows { track: id, before, after });
    if edits::commit(model, fx, group, todo) {
        model.track = Some(id);
        model.say(sentence);
    }
}

/// Windows in words: "visible in frames 3-17, 40", "visible in frame 8".
fn told(windows: &[Window], frames: usize) -> String {
    if windows.is_empty() {
        return match frames {
            1 => "no windows: visible in the one frame".to_owned(),
            _ => format!("no windows: visible in all {frames} frames"),
        };
    }
    let each = windows.iter().map(|w| match w.last == w.first {
        true => (w.first + 1).to_string(),
        false => format!("{}-{}", w.first + 1, w.last + 1),
    });
    let each: Vec<String> = each.collect();
    let one = matches!(windows, [w] if w.first == w.last);
    format!("visible in {} {}", if one { "frame" } else { "frames" }, each.join(", "))
}
