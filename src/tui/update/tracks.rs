//! Structures: new, chosen, named, coloured, hidden, deleted.

use crate::domain::{Edit, Track, TrackId, TrackInfo, shown};
use crate::tui::action::Action;
use crate::tui::command::COLOURS;
use crate::tui::model::{Effect, Mode, Model};

use super::{edits, network};

/// The structure at hand; where there is none, the edit that starts one is added to `todo`.
pub(super) fn current_or_new(model: &mut Model, todo: &mut Vec<Edit>) -> TrackId {
    match model.current() {
        Some((id, _)) => id,
        None => start(model, todo, None),
    }
}

fn start(model: &mut Model, todo: &mut Vec<Edit>, label: Option<String>) -> TrackId {
    let unique = model.fresh();
    let id = model.order.next(&model.annotation, unique);
    let tracks = &model.annotation.tracks;
    let used = |label: &str| tracks.values().any(|track| track.info.label == label);
    let only = (model.schema.labels.len() == 1).then(|| model.schema.labels[0].name.clone());
    // One label in the whole study needs no asking.
    let label = label.or(only).unwrap_or_else(|| {
        let numbered = (1..).map(|n| format!("structure {n}"));
        numbered.into_iter().find(|label| !used(label)).unwrap_or_default()
    });
    let asked = model.schema.label(&label).map(|label| label.colour);
    let taken = |colour: &u8| tracks.values().any(|track| track.info.colour == *colour);
    let free = || (0..COLOURS).find(|colour| !taken(colour));
    let colour = asked.or_else(free).unwrap_or(tracks.len() as u8 % COLOURS);
    todo.push(Edit::AddTrack { track: id, content: Track::new(label, colour) });
    id
}

/// Starts a structure.
pub(super) fn new(model: &mut Model, fx: &mut Vec<Effect>, label: Option<String>) {
    let mut todo = Vec::new();
    let group = model.fresh();
    let id = start(model, &mut todo, label);
    if edits::commit(model, fx, group, todo) {
        choose(model, id);
    }
}

/// Makes a structure the one at hand.
pub(super) fn choose(model: &mut Model, id: TrackId) {
    let another = model.track.is_some_and(|held| held != id);
    let asked = another && give_up(model);
    model.track = Some(id);
    model.chosen = None;
    model.corner = None;
    model.nudging = None;
    if let Some((_, track)) = model.current() {
        let over = if asked { "; no more questions" } else { "" };
        let sentence = format!("structure: {}{over}", shown(&track.info.label));
        model.say(sentence);
    }
}

/// What was begun on the structure at hand is not done to another one: a cut, a box, a correction that waits for its
/// picture, a window by taps or by questions. True when questions were open.
pub(super) fn give_up(model: &mut Model) -> bool {
    model.tools.cut = None;
    model.corner = None;
    model.tools.repeat_when_seen = None;
    model.tools.taps.onset = None;
    let waiting = model.tools.asking.take().is_some();
    let open = matches!(model.mode, Mode::Bisect(_));
    if open {
        model.go_home();
    }
    waiting || open
}

/// Says that there is no structure.
pub(super) fn say_none(model: &mut Model) {
    model.say(format!(
        "no structure yet: {} starts one, {} puts its first boundary point",
        model.key(Action::NewTrack),
        model.key(Action::AddBoundary)
    ));
}

/// Chooses the next or previous structure, round and round.
pub(super) fn next(model: &mut Model, by: isize) {
    let ids: Vec<TrackId> = model.annotation.tracks.keys().copied().collect();
    if ids.is_empty() {
        return say_none(model);
    }
    let at = ids.iter().position(|id| Some(*id) == model.track).unwrap_or(0);
    let to = (at as isize + by).rem_euclid(ids.len() as isize) as usize;
    choose(model, ids[to]);
}

/// Changes label or colour of the structure at hand.
pub(super) fn set_info(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    change: impl FnOnce(TrackInfo) -> TrackInfo,
) {
    let Some((track, held)) = model.current() else { return say_none(model) };
    let before = held.info.clone();
    let after = change(before.clone());
    if after == before {
        return;
    }
    let name = shown(&after.label);
    let sentence = if after.label == before.label {
        format!("{name} has colour {} now", after.colour + 1)
    } else {
        format!("{} is called {name} now", shown(&before.label))
    };
    let group = model.fresh();
    if edits::commit(model, fx, group, vec![Edit::SetTrackInfo { track, before, after }]) {
        model.say(sentence);
    }
}

/// Hides the structure at hand, or shows it again. Only the screen changes.
pub(super) fn hide(model: &mut Model) {
    let Some(id) = model.current().map(|(id, _)| id) else { return say_none(model) };
    if model.hidden.remove(&id) {
        model.say("shown again");
    } else {
        model.hidden.insert(id);
        model.say("hidden on the screen; exports still have it");
    }
}

/// Deletes the structure at hand.
pub(super) fn delete(model: &mut Model, fx: &mut Vec<Effect>) {
    let Some((track, held)) = model.current() else { return say_none(model) };
    let (content, label) = (held.clone(), shown(&held.info.label));
    let group = model.fresh();
    if edits::commit(model, fx, group, vec![Edit::RemoveTrack { track, content }]) {
        network::forget_track(model, fx, track);
        model.say(format!("{label} deleted; {} brings it back", model.key(Action::Undo)));
    }
}
