//! Keys: counts, sequences, the help page and the command line.

use crate::tui::action::{Action, Group};
use crate::tui::key::{Code, Key, spell};
use crate::tui::keymap::{Found, KeyMode};
use crate::tui::line::Line;
use crate::tui::model::{Effect, HelpPage, Message, Mode, Model};
use crate::tui::view::{help_lines, message_lines};

use super::{act, language, leap, questions, queue, ranges, rays};

/// Larger counts are typing errors.
const COUNT_MAX: u32 = 99_999;

/// Lines kept for being recalled.
const LINES: usize = 100;
/// Characters of what is pasted into a search.
const SEARCH: usize = 200;

/// A key was pressed.
pub(super) fn press(model: &mut Model, fx: &mut Vec<Effect>, key: Key) {
    if let Some(waiting) = model.tools.waiting.take() {
        return language::letter(model, fx, waiting, key);
    }
    let close = Found::Act(vec![Action::Close]);
    if matches!(model.mode, Mode::Reaction(_))
        && model.keymap.find(KeyMode::Bisect, &[key]) != close
    {
        return questions::reacted(model, fx);
    }
    if questions::surplus(model, key) {
        return;
    }
    if model.pending.keys.is_empty() && leap::letter(model, fx, key) {
        return;
    }
    let mode = model.key_mode();
    let typing = !model.pending.keys.is_empty() || model.pending.count.is_some();
    if typing && key.code == Code::Named("esc") {
        model.pending = Default::default();
        return;
    }
    if matches!(mode, KeyMode::Normal | KeyMode::MMode | KeyMode::Bisect) && count(model, key) {
        return;
    }
    model.pending.keys.push(key);
    let found = match is_joined(model, mode, key) {
        true => Found::Nothing,
        false => model.keymap.find(mode, &model.pending.keys),
    };
    match found {
        Found::More(_) => {}
        Found::Act(actions) => {
            let count = std::mem::take(&mut model.pending).count;
            do_all(model, fx, &actions, count);
        }
        Found::Nothing => {
            let keys = std::mem::take(&mut model.pending).keys;
            match (&mut model.mode, key.typed()) {
                (Mode::Help(page), Some(c)) if page.typing && keys.len() == 1 => {
                    (page.top, page.find) = (0, format!("{}{c}", page.find));
                }
                (Mode::Help(page), _) if page.typing => {}
                (Mode::Command(line), Some(c)) if keys.len() == 1 => line.insert(c),
                (Mode::Command(_), _) => {}
                // Terminals and tmux join an escape and the key that follows soon. Where an escape stops what runs, and
                // the key may delete, nothing is done.
                (Mode::Rays | Mode::Bisect(_) | Mode::Help(_) | Mode::Messages(_), _)
                    if key.alt && keys.len() == 1 =>
                {
                    press(
                        model,
                        fx,
                        Key { code: Code::Named("esc"), ctrl: false, alt: false, shift: false },
                    );
                    press(model, fx, Key { alt: false, ..key });
                }
                _ => {
                    let all = model.key(Action::Help);
                    model
                        .say(format!("`{}` does nothing here; {all} shows all keys", spell(&keys)));
                }
            }
        }
    }
}

/// Does what a key stands for, one action behind the other. What comes behind leaving the clip was meant for the next one,
/// which nobody has seen yet, and is not done to this one.
fn do_all(model: &mut Model, fx: &mut Vec<Effect>, actions: &[Action], count: Option<u32>) {
    use Action as A;
    let mut left = false;
    for &action in actions {
        if left && !queue::leads_elsewhere(action) {
            if model.opening.is_some() {
                queue::miss(model, format!("`{}`", action.name()));
            }
            continue;
        }
        left |= matches!(action, A::NextClip | A::PreviousClip | A::FinishClip);
        if !keeps_asking(action) {
            model.leave_asked.clear();
        }
        act::act(model, fx, action, count);
    }
}

/// Whether a letter with Alt is taken for an escape and the letter behind it, where tmux joins those that a person types one
/// after the other: in rays and questions an escape is usual, and what the letter does with Alt may move a point.
fn is_joined(model: &Model, mode: KeyMode, key: Key) -> bool {
    let letter = key.alt && matches!(key.code, Code::Char(_)) && model.pending.keys.len() == 1;
    let left_by_escape = matches!(model.mode, Mode::Rays | Mode::Bisect(_));
    letter
        && left_by_escape
        && model.tools.escape_joined
        && !model.keymap.is_own(mode, &model.pending.keys)
}

/// Whether `action` leaves, or is on the way to a command that does: only the others take back
/// what was asked before leaving.
pub(super) fn keeps_asking(action: Action) -> bool {
    use Action as A;
    let leaves = matches!(action, A::Quit | A::NextClip | A::PreviousClip | A::FinishClip);
    let way = matches!(action, A::CommandLine | A::Palette | A::Help | A::Messages);
    leaves || way || action.group() == Group::Dialogs
}

/// Digits before a sequence are its count.
fn count(model: &mut Model, key: Key) -> bool {
    let Code::Char(c) = key.code else { return false };
    let Some(digit) = c.to_digit(10).filter(|_| !key.ctrl && !key.alt) else { return false };
    let pending = &mut model.pending;
    if !pending.keys.is_empty() || (digit == 0 && pending.count.is_none()) {
        return false;
    }
    pending.count = Some((pending.count.unwrap_or(0) * 10 + digit).min(COUNT_MAX));
    true
}

/// Pasted text goes to the command line or the search of the help page, and nowhere else. Where it comes in lines, one
/// below the other is one behind the other.
pub(super) fn paste(model: &mut Model, text: &str) {
    let text = text.trim_end().replace("\r\n", " ").replace(['\r', '\n', '\t'], " ");
    match &mut model.mode {
        Mode::Command(line) => text.chars().for_each(|c| line.insert(c)),
        Mode::Help(page) if page.typing => {
            page.top = 0;
            page.find.extend(text.chars().filter(|c| !c.is_control()).take(SEARCH));
        }
        _ => {
            let line = model.key(Action::CommandLine);
            model.say(format!("what is pasted goes to the command line: {line} opens it"));
        }
    }
}

/// Opens the command line with something on it.
pub(super) fn open_line(model: &mut Model, text: &str) {
    model.open_dialog(Mode::Command(Line::with(text)));
}

/// Actions of the help page and the command line. They do nothing where there is neither.
pub(super) fn dialog(model: &mut Model, fx: &mut Vec<Effect>, action: Action) {
    let page = model.areas().map_or(10, |areas| areas.listing_rows());
    match (&mut model.mode, action) {
        (Mode::Rays, Action::Close) => {
            rays::leave(model);
            // The sentence at hand may promise what only rays do.
            model.say("out of the rays");
        }
        (Mode::Bisect(_), Action::Close) => {
            model.go_home();
            model.say("no more questions; the windows are as before");
        }
        (Mode::Reaction(_), Action::Close) => {
            model.go_home();
            model.say("not measured");
        }
        (Mode::Normal, Action::Close) => {}
        // Once for the search, once for the page.
        (Mode::Help(held), Action::Close) if held.typing || !held.find.is_empty() => {
            *held = HelpPage::default();
        }
        (_, Action::Close) => model.go_home(),
        (Mode::Help(held), Action::FindHelp) => held.typing = true,
        (Mode::Help(held), Action::LineRun) => held.typing = false,
        (Mode::Help(held), Action::LineErase) => (held.top, _) = (0, held.find.pop()),
        (Mode::Help(held), Action::LineEraseAll | Action::LineEraseWord) => held.find.clear(),
        (Mode::Help(held), _) => {
            let lines = help_lines(&held.find, &model.keymap, model.grid.columns);
            scroll(&mut held.top, action, lines, page);
        }
        (Mode::Messages(top), _) => {
            let lines = message_lines(&model.log, model.grid.columns);
            scroll(top, action, lines, page);
        }
        (Mode::Command(line), _) => match action {
            Action::LineRun => run(model, fx),
            Action::LineComplete => line.complete(&model.keymap),
            Action::LineLeft => line.go(-1),
            Action::LineRight => line.go(1),
            Action::LineStart => line.cursor = 0,
            Action::LineEnd => line.go(isize::MAX),
            Action::LineErase => line.erase(),
            Action::LineEraseWord => line.erase_word(),
            Action::LineEraseAll => *line = Line { palette: line.palette, ..Line::default() },
            Action::ScrollDown if line.recalled.is_some() => line.recall(&model.tools.lines, false),
            Action::ScrollUp if line.choice.is_none() && !line.palette => {
                line.recall(&model.tools.lines, true);
            }
            Action::ScrollDown => choose(line, &model.keymap, 1),
            Action::ScrollUp => choose(line, &model.keymap, -1),
            Action::PageDown => choose(line, &model.keymap, page as isize),
            Action::PageUp => choose(line, &model.keymap, -(page as isize)),
            _ => {}
        },
        (Mode::Normal | Mode::Rays | Mode::Bisect(_) | Mode::Reaction(_), _) => {}
    }
}

fn scroll(top: &mut usize, action: Action, lines: usize, page: usize) {
    let to = match action {
        Action::ScrollDown => *top + 1,
        Action::ScrollUp => top.saturating_sub(1),
        Action::PageDown => *top + page,
        Action::PageUp => top.saturating_sub(page),
        _ => *top,
    };
    *top = to.min(lines.saturating_sub(page));
}

fn choose(line: &mut Line, keymap: &crate::tui::keymap::Keymap, by: isize) {
    let last = line.candidates(keymap).len().saturating_sub(1);
    let first = (by > 0 && line.takes_first()).then_some(0);
    line.choice = Some(match line.choice.or(first) {
        None if by > 0 => 0,
        None => last,
        Some(at) => at.saturating_add_signed(by).min(last),
    });
}

/// Keeps a line for being recalled.
fn keep_line(lines: &mut Vec<String>, text: &str) {
    if !text.trim().is_empty() && lines.last().is_none_or(|last| last != text) {
        lines.push(text.to_owned());
    }
    lines.drain(..lines.len().saturating_sub(LINES));
}

/// Runs what stands on the line, or what was chosen from the listing.
fn run(model: &mut Model, fx: &mut Vec<Effect>) {
    let Mode::Command(line) = &mut model.mode else { return };
    if line.rest().is_some() {
        // Words stand behind the command already: a choice completes them at most.
        if line.takes_first() || line.choice.is_some() {
            line.complete(&model.keymap);
        }
    } else if line.palette || line.choice.is_some() {
        let candidates = line.candidates(&model.keymap);
        let Some(chosen) = candidates.get(line.choice.unwrap_or(0)) else {
            return model.say("nothing fits; take words away");
        };
        if !chosen.words.is_empty() {
            *line = Line::with(&format!("{} ", chosen.name));
            return;
        }
        *line = Line::with(chosen.name);
    }
    let text = std::mem::take(&mut line.text);
    keep_line(&mut model.tools.lines, &text);
    model.go_home();
    // What an earlier line was told is no answer to this one.
    model.message = Message::default();
    ranges::line(model, fx, &text);
}
