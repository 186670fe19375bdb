//! The lesson: ten steps on the shipped clip, each over when it was done. Pure.

use crate::domain::{MaskSource, Track};

use super::action::Action;
use super::key::spell;
use super::keymap::{KeyMode, Keymap};
use super::model::{Mode, Model};

/// A step: what to do, with `{action}` where the key of an action belongs, and when it is done.
struct Step {
    text: &'static str,
    /// Where the keys that it names are pressed.
    mode: KeyMode,
    done: fn(&Model) -> bool,
}

fn track(model: &Model) -> Option<&Track> {
    model.current().map(|(_, track)| track)
}

fn prompted(model: &Model) -> usize {
    track(model).map_or(0, |track| track.prompts.values().map(Vec::len).sum())
}

fn masks(model: &Model, source: MaskSource) -> usize {
    track(model).map_or(0, |t| t.masks.values().filter(|mask| mask.source == source).count())
}

const STEPS: [Step; 10] = [
    Step {
        text: "You see a bone and, below it, its shadow. Go to frame 6: type a 6 and then \
               {last-frame}. Any number before a key is its count.",
        mode: KeyMode::Normal,
        done: |model| model.frame == 5,
    },
    Step {
        text: "Move the cursor, a cross, into the dark shadow, about the middle of the picture: \
               {cursor-far-down} and {cursor-far-left} go 8 px, the arrows 1 px.",
        mode: KeyMode::Normal,
        done: |model| {
            (205.0..295.0).contains(&model.cursor.x) && (240.0..400.0).contains(&model.cursor.y)
        },
    },
    Step {
        text: "Points by direction: {clock-rays} starts rays from the cursor.",
        mode: KeyMode::Normal,
        done: |model| model.mode == Mode::Rays,
    },
    Step {
        text: "Directions are hours: {ray-3} puts a boundary point on the edge towards three \
               o'clock, {ray-9} towards nine. Is one wrong? The letter at the right place on \
               the ray moves it there.",
        mode: KeyMode::Rays,
        done: |model| prompted(model) >= 2,
    },
    Step {
        text: "The mask is there and follows each point. {ray-suggested} puts a point where the \
               contour is least certain (the dotted ray). Two more, then leave with {close}.",
        mode: KeyMode::Rays,
        done: |model| prompted(model) >= 4 && model.mode == Mode::Normal,
    },
    Step {
        text: "When is the shadow visible? {window-bisect} asks, {visible} and {not-visible} \
               answer; nothing is wrong here, answer as you see it.",
        mode: KeyMode::Bisect,
        done: |model| track(model).is_some_and(|track| !track.windows.is_empty()),
    },
    Step {
        text: "{propagate-both} propagates the mask: carries it through the window. Go on working \
               meanwhile.",
        mode: KeyMode::Normal,
        done: |model| masks(model, MaskSource::Tracked) > 0 && !model.propagating(),
    },
    Step {
        text: "{worst-frame} goes to the frame that most deserves a look. Put a point there if it \
               is wrong ({add-boundary} puts one under the cursor), and {repeat-correction} \
               does the same on the next flagged frame; or accept it: {accept-frame}.",
        mode: KeyMode::Normal,
        done: |model| masks(model, MaskSource::Accepted) > 0 || prompted(model) > 4,
    },
    Step {
        text: "{accept-quiet} accepts everything around a good frame, up to where something is in \
               doubt. A mask a little too small grows with {grow}.",
        mode: KeyMode::Normal,
        done: |model| masks(model, MaskSource::Accepted) > 1,
    },
    Step {
        text: "{undo} takes back whatever came last, without limit, also tomorrow. There is no \
               save key. {choose-label} takes the labels of your study, {export} writes files. \
               {help} shows all keys, {palette} searches them, {quit} leaves. That was the lesson.",
        mode: KeyMode::Normal,
        done: |_| false,
    },
];

/// What the lesson says at step `at`, from 0, with the keys as they are now.
#[must_use]
pub fn text(at: usize, keymap: &Keymap) -> String {
    let step = &STEPS[at.min(STEPS.len() - 1)];
    let mut text = format!("Lesson, {} of {}: ", at.min(STEPS.len() - 1) + 1, STEPS.len());
    for (i, part) in step.text.split(['{', '}']).enumerate() {
        // Every second part stood in braces.
        match Action::from_name(part) {
            Ok(action) if i % 2 == 1 => {
                let keys = keymap.sequence(step.mode, action).map(|keys| spell(&keys));
                text.push_str(keys.as_deref().unwrap_or(part));
            }
            _ => text.push_str(part),
        }
    }
    text
}

/// The step to show now: the next one where this one is done, or one behind it that leads on from it.
#[must_use]
pub fn step(at: usize, model: &Model) -> usize {
    let here = at.min(STEPS.len() - 1);
    let later = (here..STEPS.len().min(here + LOOK_AHEAD)).rev();
    let done = later.into_iter().find(|&step| (STEPS[step].done)(model));
    done.map_or(here, |step| (step + 1).min(STEPS.len() - 1))
}

/// Steps whose being done says that those before them need not be.
const LOOK_AHEAD: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_names_keys_that_exist() {
        let keymap = Keymap::shipped();
        for (at, step) in STEPS.iter().enumerate() {
            for name in step.text.split(['{', '}']).skip(1).step_by(2) {
                assert!(Action::from_name(name).is_ok(), "{name}");
            }
            assert!(!text(at, &keymap).contains(['{', '}']));
        }
        assert!(text(4, &keymap).contains("leave with esc"), "the first key that the file lists");
        assert!(text(2, &keymap).contains("enter starts rays"));
        assert!(text(9, &keymap).contains(" q leaves"), "the first key of the file");
        assert!(text(99, &keymap).contains("10 of 10"));
    }
}
