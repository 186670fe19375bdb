//! Command lines over many frames.

use crate::domain::{
    FrameIndex, MaskSource, TrackId, Window, counted, insert_window, remove_from_windows,
    review::FLAGGED, shown,
};
use crate::tui::command;
use crate::tui::model::{Effect, Model};
use crate::tui::range::{Condition, End, Field, Over, Range, WindowsChange};

use super::{
    act, batch, labels, language, masks, motion, network, prompts, review, tracks, windows,
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
        Over::Go => motion::go_to(model, fx, last),
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
        // A frame without a mask can be flagged too.
        if condition == Condition::Flagged {
            return review::doubt(model, id, frame) >= FLAGGED;
        }
        let Some(held) = track.masks.get(&frame).filter(|_| track.visible(frame)) else {
            return false;
        };
        let value = |field: Field| match field {
            // A score of 0 is "not told": it is neither low nor high.
            Field::Score => (held.score > 0.0).then_some(held.score),
            Field::Doubt => Some(review::doubt(model, id, frame)),
            Field::Area => Some(held.mask.area_px() as f32),
        };
        match condition {
            Condition::Below(field, limit) => value(field).is_some_and(|value| value < limit),
            Condition::Above(field, limit) => value(field).is_some_and(|value| value > limit),
            Condition::Flagged => false,
            Condition::Stale => model.marks.is_stale(id, frame),
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
            windows::change(model, fx, |held| {
                runs(&frames).into_iter().fold(held.to_vec(), |all, run| insert_window(&all, run))
            });
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
    let Some((id, _)) = model.current() else { return tracks::say_none(model) };
    match what {
        Over::Accept => prompts::accept_frames(model, fx, &frames),
        Over::Discard => prompts::discard_frames(model, fx, &frames),
        Over::Flag | Over::Unflag => {
            let group = model.fresh();
            let n = review::set_flags(model, fx, group, &frames, what == Over::Flag);
            let done = if what == Over::Flag { "flagged" } else { "no longer flagged" };
            model.say(format!("{} {done}", counted(n, "frame")));
        }
        Over::Mask(edit) => batch::begin(model, fx, id, &frames, edit),
        Over::Attribute(name, value) => {
            labels::set_on(model, fx, &frames, &name, value.as_deref());
        }
        Over::Go | Over::Propagate(_) | Over::Window | Over::Interpolate => {}
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
    let called = |id: &TrackId| tracks.get(id).is_some_and(|t| t.info.label == label);
    // Of several with this label the one at hand.
    let at_hand = model.track.filter(called);
    let Some(id) = at_hand.or_else(|| tracks.keys().copied().find(called)) else {
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
