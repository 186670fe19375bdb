//! Command lines over many frames.

use crate::domain::{
    Edit, FrameIndex, MaskSource, Window, edited, remove_from_windows, review::FLAGGED, shown,
};
use crate::tui::action::Action;
use crate::tui::command;
use crate::tui::model::{Effect, Model};
use crate::tui::range::{Condition, End, Field, Over, Range, WindowsChange};

use super::{
    act, edits, labels, language, masks, motion, network, prompts, review, tracks, windows,
};

/// Does a command line, or says what is wrong with it.
pub(super) fn line(model: &mut Model, fx: &mut Vec<Effect>, text: &str) {
    match command::parse(text, model.clip.frames) {
        Ok(command) => act::command(model, fx, command),
        Err(why) => model.warn(why),
    }
}

/// Does something to the frames of a range.
pub(super) fn over(model: &mut Model, fx: &mut Vec<Effect>, range: Range, what: Over) {
    let resolve = |end: End| match end {
        End::Number(frame) => Ok(frame),
        End::Here => Ok(model.frame),
        End::Last => Ok(model.clip.frames.saturating_sub(1)),
        End::Place(letter) => model
            .annotation
            .places
            .get(&letter)
            .copied()
            .ok_or_else(|| language::no_place(model, letter)),
    };
    let (first, last) = match (resolve(range.first), resolve(range.last)) {
        (Ok(a), Ok(b)) => (a.min(b), a.max(b)),
        (Err(why), _) | (_, Err(why)) => return model.warn(why),
    };
    match what {
        Over::Propagate(span) => network::propagate_range(model, fx, Window { first, last }, span),
        Over::Window => windows::add(model, fx, first, last),
        Over::Interpolate => masks::interpolate_between(model, fx, first, last),
        _ => each(model, fx, (first..=last).collect(), what),
    }
}

/// Does something to the frames whose masks fit a condition.
pub(super) fn matching(model: &mut Model, fx: &mut Vec<Effect>, condition: Condition, what: Over) {
    let Some((id, track)) = model.current() else { return tracks::say_none(model) };
    let fits = |frame: FrameIndex| {
        let Some(held) = track.masks.get(&frame).filter(|_| track.visible(frame)) else {
            return false;
        };
        let value = |field: Field| match field {
            Field::Score => held.score,
            Field::Doubt => review::doubt(model, id, frame),
            Field::Area => held.mask.area_px() as f32,
        };
        match condition {
            Condition::Below(field, limit) => value(field) < limit,
            Condition::Above(field, limit) => value(field) > limit,
            Condition::Stale => model.marks.is_stale(id, frame),
            Condition::Flagged => review::doubt(model, id, frame) >= FLAGGED,
            Condition::Accepted => held.source == MaskSource::Accepted,
            Condition::Propagated => held.source == MaskSource::Tracked,
        }
    };
    let frames: Vec<FrameIndex> = (0..model.clip.frames).filter(|&frame| fits(frame)).collect();
    let Some(&first) = frames.first() else {
        return model.say("no frame fits that condition");
    };
    match what {
        Over::Propagate(_) | Over::Interpolate => {
            model.warn("that needs a range, for example `120,340 propagate both`");
        }
        Over::Window => {
            for run in runs(&frames) {
                windows::add(model, fx, run.first, run.last);
            }
        }
        _ => {
            if what == Over::Flag {
                motion::go_to(model, fx, first);
            }
            each(model, fx, frames, what);
        }
    }
}

/// Neighbouring frames as windows.
fn runs(frames: &[FrameIndex]) -> Vec<Window> {
    let mut runs: Vec<Window> = Vec::new();
    for &frame in frames {
        match runs.last_mut().filter(|run| run.last + 1 == frame) {
            Some(run) => run.last = frame,
            None => runs.push(Window { first: frame, last: frame }),
        }
    }
    runs
}

fn each(model: &mut Model, fx: &mut Vec<Effect>, frames: Vec<FrameIndex>, what: Over) {
    let Some((id, track)) = model.current() else { return tracks::say_none(model) };
    match what {
        Over::Accept => prompts::accept_frames(model, fx, &frames),
        Over::Discard => {
            let held = |frame: &FrameIndex| Some((*frame, track.masks.get(frame)?.clone()));
            let todo: Vec<Edit> = frames
                .iter()
                .filter_map(held)
                .map(|(frame, mask)| Edit::SetMask {
                    track: id,
                    frame,
                    before: Some(mask),
                    after: None,
                })
                .collect();
            let (n, group) = (todo.len(), model.fresh());
            if edits::commit(model, fx, group, todo) {
                model.say(format!(
                    "{n} masks discarded; {} brings them back",
                    model.key(Action::Undo)
                ));
            } else {
                model.say("no masks there");
            }
        }
        Over::Flag | Over::Unflag => {
            let group = model.fresh();
            let n = review::set_flags(model, fx, group, &frames, what == Over::Flag);
            let done = if what == Over::Flag { "flagged" } else { "no longer flagged" };
            model.say(format!("{n} frames {done}"));
        }
        Over::Mask(edit) => {
            let group = model.fresh();
            let mut n = 0;
            for frame in frames {
                let track = model.annotation.tracks.get(&id);
                let held = track.and_then(|track| track.masks.get(&frame));
                let Some(mask) = held.map(|held| held.mask.to_bitmap()) else { continue };
                let after = edited(&mask, edit);
                if after != mask && masks::draw(model, fx, group, (id, frame), &after) {
                    n += 1;
                }
            }
            model.say(format!(
                "{n} masks {}; one {} takes it back",
                edit.told(),
                model.key(Action::Undo)
            ));
        }
        Over::Attribute(name, value) => {
            labels::set_on(model, fx, &frames, &name, value.as_deref());
        }
        Over::Propagate(_) | Over::Window | Over::Interpolate => {}
    }
}

/// Changes the windows of the structure with this label.
pub(super) fn windows_of(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    label: &str,
    change: WindowsChange,
) {
    let tracks = &model.annotation.tracks;
    let Some(id) = tracks.iter().find(|(_, t)| t.info.label == label).map(|(id, _)| *id) else {
        let known: Vec<String> = tracks.values().map(|t| shown(&t.info.label)).collect();
        let known = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
        return model.warn(format!("no structure is called {}; there are: {known}", shown(label)));
    };
    tracks::choose(model, id);
    match change {
        WindowsChange::Add(first, last) => windows::add(model, fx, first, last),
        WindowsChange::Remove(first, last) => {
            let window = Window { first: first.min(last), last: first.max(last) };
            windows::change(model, fx, |windows| remove_from_windows(windows, window));
        }
        WindowsChange::Clear => windows::clear_all(model, fx),
    }
}
