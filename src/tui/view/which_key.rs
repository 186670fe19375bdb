//! Keys that can follow what was typed.

use ratatui::text::Line;

use crate::tui::action::Action;
use crate::tui::key::{Key, spell};
use crate::tui::keymap::Found;
use crate::tui::model::Model;

use super::{Look, key_line, wrapped};

/// Width of the keys, cells.
const KEYS: usize = 4;

/// The which-key box in so many `rows`: what each key does, or where that does not fit the names of
/// the actions, "more" and "less" of the same thing on one line where they are many.
pub(super) fn lines<'a>(model: &Model, width: usize, rows: usize, look: Look<'_>) -> Vec<Line<'a>> {
    let theme = look.theme;
    let typed = spell(&model.pending.keys);
    let mut lines = vec![Line::styled(format!("{typed} ..."), theme.strong(theme.title))];
    let Found::More(rest) = model.keymap.find(model.key_mode(), &model.pending.keys) else {
        return lines;
    };
    let mut entries = explained(&rest, width.saturating_sub(KEYS + 1).max(1));
    if entries.len() + 2 > rows {
        entries = named(&rest);
    }
    if entries.len() + 2 > rows {
        entries = paired(entries);
    }
    let room = entries.len() + 2 <= rows;
    lines.extend(entries.iter().map(|(keys, what)| key_line(keys, what, KEYS, width, look)));
    if room {
        lines.push(key_line("esc", "never mind", KEYS, width, look));
    }
    lines
}

/// The keys that end a sequence, and what they do, in lines of so many cells.
fn explained(rest: &[(Vec<Key>, Vec<Action>)], beside: usize) -> Vec<(String, String)> {
    let mut entries = Vec::new();
    for (keys, actions) in rest {
        let docs: Vec<&str> = actions.iter().map(|action| action.doc()).collect();
        let mut keys = spell(keys);
        for part in wrapped(&docs.join(", "), beside) {
            entries.push((std::mem::take(&mut keys), part));
        }
    }
    entries
}

/// The keys that end a sequence, and the names of what they do.
fn named(rest: &[(Vec<Key>, Vec<Action>)]) -> Vec<(String, String)> {
    let named = rest.iter().map(|(keys, actions)| {
        let names: Vec<&str> = actions.iter().map(|action| action.name()).collect();
        (spell(keys), names.join(", "))
    });
    named.collect()
}

/// `gain-up` and `gain-down` as one entry, and so what is accepted and rejected.
fn paired(entries: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    for (keys, what) in entries {
        let held = out.iter_mut().find_map(|entry| Some((joined(&entry.1, &what)?, entry)));
        match held {
            Some((both, (first, known))) => {
                *first = format!("{first} {keys}");
                *known = both;
            }
            None => out.push((keys, what)),
        }
    }
    out
}

/// The names of two actions in one, where they are each other's opposite.
fn joined(a: &str, b: &str) -> Option<String> {
    for [one, other] in [["-up", "-down"], ["-down", "-up"]] {
        if a.strip_suffix(one).is_some_and(|stem| b.strip_suffix(other) == Some(stem)) {
            return Some(format!("{a}, {other}"));
        }
    }
    for [one, other] in [["accept-", "reject-"], ["reject-", "accept-"]] {
        if a.strip_prefix(one).is_some_and(|stem| b.strip_prefix(other) == Some(stem)) {
            return Some(format!("{one}, {b}"));
        }
    }
    None
}
