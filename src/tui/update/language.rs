//! Letters after a key: places, registers of masks, macros.

use crate::config::person::{Learned, Person};
use crate::domain::{Edit, counted, shown};
use crate::tui::action::Action;
use crate::tui::key::{Code, Key, spell};
use crate::tui::keymap::{Found, KeyMode};
use crate::tui::model::{Effect, Message, Model, Pending};
use crate::tui::tools::{Played, Waiting};

use super::{edits, keys, labels, masks, motion, tracks};

/// Keys of a macro.
const LENGTH: usize = 4096;
/// Keys that one press may play in all.
const PLAYED: usize = 50_000;
/// Times a macro is played at most.
const TIMES: u32 = 1000;

/// Actions of the group that want a letter.
pub(super) fn act(model: &mut Model, fx: &mut Vec<Effect>, action: Action, count: Option<u32>) {
    if action == Action::RecordMacro && end_recording(model, fx) {
        return;
    }
    let waiting = match action {
        Action::MarkPlace => Waiting::MarkPlace,
        Action::GoPlace => Waiting::GoPlace,
        Action::CopyMask => Waiting::CopyMask,
        Action::PasteMask => Waiting::PasteMask(count.unwrap_or(0) as usize),
        Action::RecordMacro => Waiting::RecordMacro,
        Action::PlayMacro => Waiting::PlayMacro(count.unwrap_or(1).clamp(1, TIMES)),
        _ => return,
    };
    model.tools.waiting = Some(waiting);
    model.say(waiting.told());
}

/// Takes over what is known of the person from earlier sessions.
pub fn recall(model: &mut Model, person: Person) {
    for (letter, spelled) in person.macros {
        let keys: Result<Vec<Key>, String> =
            spelled.split(' ').filter(|key| !key.is_empty()).map(str::parse).collect();
        match keys {
            Ok(mut keys) => {
                keys.truncate(LENGTH);
                model.tools.macros.insert(letter, keys);
            }
            Err(why) => model.warn(format!("macro {letter} is left out: {}", shown(&why))),
        }
    }
    if let Some((time, day)) = person.reaction {
        model.tools.taps.reaction = Some(time);
        let told = match day.is_empty() {
            true => "set by hand".to_owned(),
            false => format!("measured on {}", shown(&day)),
        };
        model.tools.taps.measured = (!day.is_empty()).then_some(day);
        if model.message.text.is_empty() {
            let (ms, anew) = (time.as_millis(), model.key(Action::MeasureReaction));
            model.say(format!("taps are put {ms} ms back, as {told}; {anew} measures anew"));
        }
    }
}

/// Ends the recording of a macro; false when there was none.
fn end_recording(model: &mut Model, fx: &mut Vec<Effect>) -> bool {
    let Some((letter, mut keys)) = model.tools.recording.take() else { return false };
    // The key that ends the recording is no part of it.
    keys.pop();
    let play = model.bare_key(Action::PlayMacro);
    model
        .say(format!("macro {letter}: {}; `{play} {letter}` plays it", counted(keys.len(), "key")));
    fx.push(Effect::Remember(Learned::Macro(letter, spell(&keys))));
    model.tools.macros.insert(letter, keys);
    true
}

/// Notes a key that was typed for the macro being recorded.
fn record(model: &mut Model, key: Key) {
    if let Some((_, keys)) = &mut model.tools.recording
        && keys.len() < LENGTH
    {
        keys.push(key);
    }
}

/// The letter that was waited for.
pub(super) fn letter(model: &mut Model, fx: &mut Vec<Effect>, waiting: Waiting, key: Key) {
    // What asked for the letter is answered.
    if model.message.text == waiting.told() {
        model.message = Message::default();
    }
    let Some(letter) = key.typed().filter(|c| c.is_alphanumeric()) else {
        return model.say("no letter, nothing done");
    };
    match waiting {
        Waiting::MarkPlace => {
            let (before, after) = (model.annotation.places.get(&letter).copied(), model.frame);
            if before != Some(after) {
                let group = model.fresh();
                let edit = Edit::SetPlace { letter, before, after: Some(after) };
                edits::commit(model, fx, group, vec![edit]);
            }
            model.say(format!("frame {} is called {letter}", after + 1));
        }
        Waiting::GoPlace => match model.annotation.places.get(&letter).copied() {
            Some(frame) => motion::go_to(model, fx, frame),
            None => model.say(no_place(model, letter)),
        },
        Waiting::CopyMask => copy(model, letter),
        Waiting::PasteMask(on) => paste(model, fx, letter, on),
        Waiting::RecordMacro => {
            model.tools.recording = Some((letter, Vec::new()));
            model.say(format!("recording macro {letter}; the same key ends it"));
        }
        Waiting::PlayMacro(times) => play(model, letter, times),
        Waiting::Label { rename } => labels::label(model, fx, letter, rename),
        Waiting::Attribute => labels::attribute(model, letter),
        Waiting::Value(at) => labels::value(model, fx, at, letter),
    }
}

fn copy(model: &mut Model, letter: char) {
    let Some((_, track)) = model.current() else { return tracks::say_none(model) };
    let Some(held) = track.masks.get(&model.frame).filter(|held| !held.mask.is_empty()) else {
        return model.say("no mask on this frame");
    };
    let mask = held.mask.clone();
    model.tools.registers.insert(letter, mask);
    let paste = model.bare_key(Action::PasteMask);
    model.say(format!("mask copied to {letter}; `{paste} {letter}` pastes it"));
}

/// No frame has this letter, and what gives it one.
pub(super) fn no_place(model: &Model, letter: char) -> String {
    let mark = model.bare_key(Action::MarkPlace);
    format!("no frame is called {letter}; `{mark} {letter}` calls one so")
}

fn paste(model: &mut Model, fx: &mut Vec<Effect>, letter: char, on: usize) {
    let Some(mask) = model.tools.registers.get(&letter).map(crate::domain::Mask::to_bitmap) else {
        let copy = model.bare_key(Action::CopyMask);
        return model.say(format!("register {letter} is empty; `{copy} {letter}` fills it"));
    };
    if (mask.width_px, mask.height_px) != (model.clip.width_px, model.clip.height_px) {
        return model.say("that mask comes from a clip of another size");
    }
    let Some((id, _)) = model.current() else { return tracks::say_none(model) };
    let frame = model.frame + on;
    if frame >= model.clip.frames {
        return model.say("the clip ends before that");
    }
    motion::go_to(model, fx, frame);
    let group = model.fresh();
    if let Some(wider) = masks::draw(model, fx, group, (id, frame), &mask) {
        model.say(format!("mask of {letter} pasted on frame {}{wider}", frame + 1));
    }
}

fn play(model: &mut Model, letter: char, times: u32) {
    let Some(keys) = model.tools.macros.get(&letter).cloned() else {
        let record = model.bare_key(Action::RecordMacro);
        return model.say(format!("no macro {letter}; `{record} {letter}` records one"));
    };
    to_play(model, (0..times).flat_map(|_| &keys).copied());
}

/// These keys come next, before others that wait already.
pub(super) fn to_play(model: &mut Model, keys: impl Iterator<Item = Key>) {
    // Macros inside macros multiply; behind the limit nothing is played.
    let room = (PLAYED + 1).saturating_sub(model.tools.played);
    let next: Vec<Key> = keys.take(room).collect();
    for key in next.into_iter().rev() {
        model.tools.to_play.push_front(Played { key, typed: false });
    }
    model.tools.to_play.truncate(room);
}

/// Whether a key stops what goes on by itself.
pub(super) fn stops(model: &Model, key: Key) -> bool {
    let cancels = model.keymap.find(KeyMode::Normal, &[key]) == Found::Act(vec![Action::Cancel]);
    cancels || key.code == Code::Named("esc")
}

/// A key was typed. While others still wait for their turn it waits behind them, except for those
/// that stop them.
pub(super) fn typed(model: &mut Model, fx: &mut Vec<Effect>, key: Key) {
    let waiting = model.tools.to_play.len();
    if waiting == 0 {
        record(model, key);
        return keys::press(model, fx, key);
    }
    if stops(model, key) {
        stop(model);
        model.say(format!("stopped; {} not played", counted(waiting, "key")));
    } else {
        model.tools.to_play.push_back(Played { key, typed: true });
    }
}

/// Nothing waits any more, and no sequence is half typed.
fn stop(model: &mut Model) {
    model.tools.to_play.clear();
    model.tools.waiting = None;
    model.pending = Pending::default();
}

/// Presses the keys that wait, as long as a person would see what each does.
pub(super) fn play_on(model: &mut Model, fx: &mut Vec<Effect>) {
    while !model.keys_wait()
        && let Some(Played { key, typed }) = model.tools.to_play.pop_front()
    {
        if typed {
            record(model, key);
        } else {
            model.tools.played += 1;
        }
        if model.tools.played > PLAYED {
            stop(model);
            model.warn(format!("stopped after {PLAYED} keys of macros"));
            break;
        }
        let asked = model.leave_asked.len();
        keys::press(model, fx, key);
        super::settle(model);
        // A question is for the person, unless the answer comes next.
        let answered = model.tools.to_play.front().is_some_and(|next| next.key == key);
        if model.leave_asked.len() > asked && !answered {
            stop(model);
        }
    }
    if model.tools.to_play.is_empty() {
        model.tools.played = 0;
    }
}
