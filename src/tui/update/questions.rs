//! Windows by questions and by taps, and the reaction time by which taps are corrected.

use std::time::Duration;

use crate::config::person::Learned;
use crate::domain::{Bisection, shown};
use crate::tui::action::Action;
use crate::tui::model::{Effect, Mode, Model};
use crate::tui::tools::{Questions, ReactionTest};

use super::{motion, windows};

/// Measurements of the reaction time; their median counts.
const TRIALS: usize = 5;
/// The word appears after this, and so much more at random.
const WAIT_MS: u64 = 900;
const WAIT_MORE_MS: u64 = 1600;

/// Starts asking; the structure is visible on the frame at hand.
pub(super) fn begin(model: &mut Model, fx: &mut Vec<Effect>) {
    model.cine.playing = false;
    let search = Bisection::new(model.frame, model.clip.frames);
    model.mode = Mode::Bisect(Questions { search, before: Vec::new() });
    ask(model, fx);
}

/// Answers about the frame that is shown.
pub(super) fn act(model: &mut Model, fx: &mut Vec<Effect>, action: Action) {
    if action == Action::Tap {
        return tap(model, fx);
    }
    if action == Action::MeasureReaction {
        return measure(model);
    }
    let frame = model.frame;
    let Mode::Bisect(questions) = &mut model.mode else {
        return model.say("no question is open; `w b` asks for the window that holds this frame");
    };
    match action {
        Action::AnswerBack => {
            if let Some(before) = questions.before.pop() {
                questions.search = before;
            }
        }
        _ => {
            questions.before.push(questions.search);
            questions.search.answer(frame, action == Action::Visible);
        }
    }
    ask(model, fx);
}

/// Goes to the next question, or sets the window when none is left.
fn ask(model: &mut Model, fx: &mut Vec<Effect>) {
    let Mode::Bisect(questions) = &model.mode else { return };
    let search = questions.search;
    if let Some(frame) = search.question() {
        let end = if search.at_entry() { "first" } else { "last" };
        motion::go_to(model, fx, frame);
        return model.say(format!(
            "visible here? y or n ({end} frame is one of {}); u takes an answer back",
            search.left()
        ));
    }
    model.mode = model.home();
    if let Some(window) = search.window() {
        motion::go_to(model, fx, window.first);
        windows::add(model, fx, window.first, window.last);
        let sentence = format!("{} ({} answers)", model.message.text, search.answers());
        model.say(sentence);
    }
}

/// The structure appears or goes at this moment.
fn tap(model: &mut Model, fx: &mut Vec<Effect>) {
    let reaction = model.tools.taps.reaction;
    let frame = match model.cine.playing {
        true => {
            let then = model.now.saturating_sub(reaction.unwrap_or_default());
            model.tools.taps.frame_at(then).unwrap_or(model.frame)
        }
        false => model.frame,
    };
    let Some(onset) = model.tools.taps.onset.take() else {
        model.tools.taps.onset = Some(frame);
        let corrected = match reaction {
            Some(time) if model.cine.playing => {
                let day = model.tools.taps.measured.as_deref();
                let day = day.map_or(String::new(), |day| format!(", measured {}", shown(day)));
                format!(" ({} ms back{day})", time.as_millis())
            }
            None if model.cine.playing => " (not corrected: `w t` measures your reaction)".into(),
            _ => String::new(),
        };
        return model
            .say(format!("appears on frame {}{corrected}; tap again where it goes", frame + 1));
    };
    if frame < onset {
        model.tools.taps.onset = Some(frame);
        return model.say(format!("the clip went round; appears on frame {}", frame + 1));
    }
    windows::add(model, fx, onset, frame);
}

fn measure(model: &mut Model) {
    model.cine.playing = false;
    model.mode =
        Mode::Reaction(ReactionTest { due: next_due(model.now), shown: false, times: Vec::new() });
    model.say(format!("press any key as soon as NOW appears, {TRIALS} times; esc gives up"));
}

/// When the word appears next: the microseconds of now are random enough for a person.
fn next_due(now: Duration) -> Duration {
    let more = u64::from(now.subsec_micros()).wrapping_mul(2_654_435_761) % WAIT_MORE_MS;
    now + Duration::from_millis(WAIT_MS + more)
}

/// Time passed: the word appears when it is due.
pub(super) fn tick(model: &mut Model) {
    let now = model.now;
    if let Mode::Reaction(test) = &mut model.mode
        && !test.shown
        && now >= test.due
    {
        test.shown = true;
        // What is measured begins when the word is sent.
        test.due = now;
    }
}

/// A key during the test.
pub(super) fn reacted(model: &mut Model, fx: &mut Vec<Effect>) {
    let now = model.now;
    let Mode::Reaction(test) = &mut model.mode else { return };
    let early = !test.shown;
    if !early {
        test.times.push(now.saturating_sub(test.due));
    }
    test.shown = false;
    test.due = next_due(now);
    let mut times = test.times.clone();
    if times.len() < TRIALS {
        let sentence = match (early, times.last()) {
            (true, _) => "too early; wait for NOW".to_owned(),
            (false, Some(time)) => {
                format!("{} ms; {} more", time.as_millis(), TRIALS - times.len())
            }
            (false, None) => String::new(),
        };
        return model.say(sentence);
    }
    times.sort_unstable();
    set(model, fx, times[TRIALS / 2]);
    model.mode = model.home();
}

/// Takes a reaction time over, for the next sessions too.
pub(super) fn set(model: &mut Model, fx: &mut Vec<Effect>, reaction: Duration) {
    model.tools.taps.reaction = Some(reaction);
    model.tools.taps.measured = None;
    fx.push(Effect::Remember(Learned::Reaction(reaction)));
    model.say(format!(
        "taps are put {} ms back (your reaction and the line to here)",
        reaction.as_millis()
    ));
}
