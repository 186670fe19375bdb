//! Windows by questions and by taps, and the reaction time by which taps are corrected.

use std::time::Duration;

use crate::config::person::Learned;
use crate::domain::{Bisection, FrameIndex, Track, Window, counted, shown};
use crate::tui::action::Action;
use crate::tui::key::Key;
use crate::tui::keymap::{Found, KeyMode};
use crate::tui::model::{Effect, Mode, Model};
use crate::tui::tools::{Questions, ReactionTest};

use super::{motion, windows};

/// Measurements of the reaction time; their median counts.
const TRIALS: usize = 5;
/// The word appears after this, and so much more at random.
const WAIT_MS: u64 = 900;
const WAIT_MORE_MS: u64 = 1600;

/// Answers so soon after the last question are not meant for anything else.
const SURPLUS: Duration = Duration::from_secs(1);

/// Starts asking. Whether the structure is visible on the frame at hand is the first question where
/// nothing says so yet.
pub(super) fn begin(model: &mut Model, fx: &mut Vec<Effect>) {
    model.cine.playing = false;
    let seen = model.current().is_some_and(|(_, track)| seen(track, model.frame));
    let search = seen.then(|| search(model));
    model.mode = Mode::Bisect(Questions { search, before: Vec::new() });
    ask(model, fx);
}

/// The search for the window that holds the frame at hand, on which the structure is visible. Windows that are set
/// elsewhere have a gap before and behind them.
fn search(model: &Model) -> Bisection {
    let frame = model.frame;
    let windows = model.current().map_or(&[][..], |(_, track)| &track.windows);
    let before = windows.iter().filter(|w| w.last < frame).map(|w| w.last + 2).max();
    let behind =
        windows.iter().filter(|w| w.first > frame).map(|w| w.first.saturating_sub(2)).min();
    let last = model.clip.frames.saturating_sub(1);
    let room =
        Window { first: before.unwrap_or(0).min(frame), last: behind.unwrap_or(last).max(frame) };
    Bisection::within(frame, room)
}

/// A window, a point or a mask says that the structure is visible.
fn seen(track: &Track, frame: FrameIndex) -> bool {
    let mask = track.masks.get(&frame).filter(|_| track.visible(frame));
    track.windows.iter().any(|window| window.contains(frame))
        || track.prompts.get(&frame).is_some_and(|placed| !placed.is_empty())
        || mask.is_some_and(|held| !held.mask.is_empty())
}

/// Answers about the frame that is shown.
pub(super) fn act(model: &mut Model, fx: &mut Vec<Effect>, action: Action) {
    if action == Action::Tap {
        return tap(model, fx);
    }
    if action == Action::MeasureReaction {
        return measure(model);
    }
    let (frame, found) = (model.frame, search(model));
    let Mode::Bisect(questions) = &mut model.mode else {
        return model.say(format!(
            "no question is open; {} asks for the window that holds this frame",
            model.key(Action::WindowBisect)
        ));
    };
    match action {
        Action::AnswerBack => {
            if let Some(before) = questions.before.pop() {
                questions.search = before;
            }
        }
        _ => {
            questions.before.push(questions.search);
            match &mut questions.search {
                Some(search) => search.answer(frame, action == Action::Visible),
                None if action == Action::Visible => {
                    questions.search = Some(found);
                }
                None => {}
            }
        }
    }
    ask(model, fx);
}

/// Goes to the next question, or sets the window when none is left.
fn ask(model: &mut Model, fx: &mut Vec<Effect>) {
    let Mode::Bisect(questions) = &model.mode else { return };
    let (answers, search) = (questions.before.len(), questions.search);
    let [yes, no, back, stop] =
        [Action::Visible, Action::NotVisible, Action::AnswerBack, Action::Close]
            .map(|action| model.bare_key(action));
    let Some(search) = search else {
        return model.say(match answers {
            0 => format!("visible here? {yes} or {no}; {stop} stops asking"),
            _ => format!("then go to a frame that shows it: {yes} there; {stop} stops asking"),
        });
    };
    if let Some(frame) = search.question() {
        let end = if search.at_entry() { "first" } else { "last" };
        motion::go_to(model, fx, frame);
        return model.say(format!(
            "visible here? {yes} or {no} (its {end} frame is one of {}); {back} takes an answer back",
            search.left()
        ));
    }
    model.go_home();
    model.tools.answered = (answers > 0).then_some(model.now);
    if let Some(window) = search.window() {
        motion::go_to(model, fx, window.first);
        windows::replace(model, fx, search.seen(), window);
        let sentence = format!("{} ({})", model.message.text, counted(answers, "answer"));
        model.say(sentence);
    }
}

/// True when the key is an answer that comes right behind the last one: whoever answers quickly
/// does not see at once that no question is left, and the key would do something else.
pub(super) fn surplus(model: &mut Model, key: Key) -> bool {
    let Some(at) = model.tools.answered.take() else { return false };
    let answers = [Action::Visible, Action::NotVisible].map(|action| vec![action]);
    let found = model.keymap.find(KeyMode::Bisect, &[key]);
    let answer = matches!(found, Found::Act(actions) if answers.contains(&actions));
    let asking = matches!(model.mode, Mode::Bisect(_));
    if !answer || asking || model.now > at + SURPLUS {
        return false;
    }
    model.tools.answered = Some(at);
    model.say(format!("`{key}` was one answer too many: the window is known"));
    true
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
            None if model.cine.playing => format!(
                " (not corrected: {} measures your reaction)",
                model.key(Action::MeasureReaction)
            ),
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
    model.say(format!(
        "press any key as soon as NOW appears, {TRIALS} times; {} gives up",
        model.key(Action::Close)
    ));
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
    let reaction = times[TRIALS / 2];
    fx.push(Effect::Remember(Learned::Reaction(reaction)));
    take_over(model, reaction, "your reaction and the line to here");
    model.go_home();
}

/// Takes over what the person says their reaction time is, for the next sessions too.
pub(super) fn set_by_hand(model: &mut Model, fx: &mut Vec<Effect>, reaction: Duration) {
    fx.push(Effect::Remember(Learned::ReactionSet(reaction)));
    take_over(model, reaction, "set by hand");
}

fn take_over(model: &mut Model, reaction: Duration, why: &str) {
    model.tools.taps.reaction = Some(reaction);
    model.tools.taps.measured = None;
    model.say(format!("taps are put {} ms back ({why})", reaction.as_millis()));
}
