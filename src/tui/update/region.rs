//! The ultrasound region, as the file names it or as it was found in the pixels: shown for confirmation, decided once.

use crate::domain::{OutsideChoice, Region};
use crate::engine::{Surround, View};
use crate::tui::action::Action;
use crate::tui::model::{Effect, Model};

const LOOKING: &str = "looking for the ultrasound region";

/// The keys that accept and reject a region, as the keymap has them.
fn region_keys(model: &Model) -> [String; 2] {
    [Action::AcceptRegion, Action::RejectRegion].map(|action| model.key(action))
}

/// The search is over.
pub(super) fn found(model: &mut Model, region: Option<Region>, named: bool) {
    if model.surround != Surround::Open {
        return;
    }
    match region {
        Some(region) => {
            model.surround = Surround::Found(region);
            let ([yes, no], word) = (region_keys(model), region.word());
            let whence = if named { "named by the file" } else { "found in the pixels" };
            // Why it is asked, and the answers, first: a narrow line is cut behind them.
            let question = format!(
                "names outside the outlined {word}? {yes} black outside, {no} show; {whence}"
            );
            // Who asked for it is not warned of it.
            if model.message.text == LOOKING {
                model.say(question);
            } else {
                model.warn(question);
            }
        }
        // Who asked for it hears so.
        None if model.message.text == LOOKING => none(model),
        None => {}
    }
}

fn none(model: &mut Model) {
    model.say("no region is named or found, or nothing is seen outside it; --outside names one");
}

/// It is the ultrasound: everything outside becomes black.
pub(super) fn accept(model: &mut Model, fx: &mut Vec<Effect>) {
    match model.surround {
        Surround::Found(region) => {
            if at_work(model) {
                return;
            }
            decide(model, fx, OutsideChoice::HideAllBut(region));
            fx.push(Effect::Outside(Some(region)));
        }
        Surround::Shown => {
            model.surround = Surround::Open;
            fx.push(Effect::FindRegion);
            model.say(LOOKING);
        }
        Surround::Open => none(model),
        Surround::Black(_) => model.say("everything outside is black already"),
        Surround::Given => say_given(model),
    }
}

/// It is not, or everything is to be seen all the same.
pub(super) fn reject(model: &mut Model, fx: &mut Vec<Effect>) {
    let [yes, _] = region_keys(model);
    match model.surround {
        Surround::Found(_) => {
            decide(model, fx, OutsideChoice::Show);
            model.surround = Surround::Shown;
            model.say(format!("everything is shown; {yes} looks for the region again"));
        }
        Surround::Black(_) => {
            if at_work(model) {
                return;
            }
            decide(model, fx, OutsideChoice::Show);
            fx.push(Effect::Outside(None));
        }
        Surround::Open | Surround::Shown => model.say("everything is shown already"),
        Surround::Given => say_given(model),
    }
}

fn say_given(model: &mut Model) {
    model.say("--outside, or the file, says what is shown of this clip");
}

/// Pixels do not change under a network that looks at them.
fn at_work(model: &mut Model) -> bool {
    let busy = model.propagating() || !model.jobs.asked.is_empty();
    if busy {
        model.say(format!(
            "the network is at work on these pixels; {} stops it, then press again",
            model.key(Action::Cancel)
        ));
    }
    busy
}

fn decide(model: &Model, fx: &mut Vec<Effect>, choice: OutsideChoice) {
    fx.push(Effect::JournalView(View { outside: Some(choice), ..model.view() }));
}

/// Frames look different from now on: nothing that was seen or computed of them counts.
pub(super) fn changed(model: &mut Model, fx: &mut Vec<Effect>, region: Option<Region>) {
    model.frames.clear();
    model.broken.clear();
    model.tools.ahead = None;
    let review = &mut model.tools.review;
    review.first_pass.clear();
    review.agreement.clear();
    review.tried = None;
    model.tools.beside = None;
    model.tools.strip = None;
    model.encoded_ahead = None;
    model.fit_viewport();
    model.surround = region.map_or(Surround::Shown, Surround::Black);
    let [yes, no] = region_keys(model);
    model.say(match region {
        Some(region) => format!(
            "everything outside the {} is black: here, for the network and in exports; {no} \
             shows it again",
            region.word()
        ),
        None => format!("everything is shown; {yes} looks for the region again"),
    });
    fx.push(Effect::WantFrame(model.frame));
}
