//! A file of keys, read over a keymap: every fault is noted, nothing is guessed.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::config::yaml::{Faults, Kind, Node};
use crate::domain::{nearest_word, shown};
use crate::tui::action::Action;
use crate::tui::key::{Code, Key, spell};

use super::{Binding, KeyMode, Keymap, Table};

/// A keymap with a file half laid over it.
pub(super) struct Reading {
    pub(super) keymap: Keymap,
    pub(super) faults: Faults,
}

impl Reading {
    pub(super) fn unknown_mode(&mut self, name: &str, line: usize) {
        let known = KeyMode::ALL.map(KeyMode::name);
        let meant = match nearest_word(name, known) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("the modes are {}", known.join(", ")),
        };
        self.faults.add(line, format!("`{}` is not a mode; {meant}", shown(name)));
    }

    pub(super) fn mode(&mut self, mode: KeyMode, node: &Node) {
        let entries = match &node.kind {
            Kind::Map(entries) => entries,
            Kind::Null => return,
            _ => {
                let what = format!("`{}` must hold lines of `key: action`", mode.name());
                return self.faults.add(node.line, what);
            }
        };
        let base = self.keymap.modes.get(&mode).cloned().unwrap_or_default();
        let mut own: Vec<(Vec<Key>, String, usize)> = Vec::new();
        let mut merged = base;
        for (written, node) in entries {
            let (sequence, actions) = match (sequence(mode, written), actions(node)) {
                (Ok(sequence), Ok(actions)) => (sequence, actions),
                (keys, actions) => {
                    for what in [keys.err(), actions.err()].into_iter().flatten() {
                        self.faults.add(node.line, what);
                    }
                    continue;
                }
            };
            if own.iter().any(|(other, _, _)| *other == sequence) {
                self.faults.add(node.line, format!("`{}` is bound twice", shown(written)));
                continue;
            }
            match actions {
                Some(actions) => {
                    let place = (Reverse(self.keymap.layers), node.line);
                    merged.insert(sequence.clone(), Binding { actions, place });
                }
                None => drop(merged.remove(&sequence)),
            }
            own.push((sequence, written.clone(), node.line));
        }
        self.hidden(&merged, &own);
        self.keymap.modes.insert(mode, merged);
    }

    /// The letters for marks on a ray.
    pub(super) fn marks(&mut self, node: &Node) {
        let letters: Vec<char> = node.kind.word().unwrap_or_default().chars().collect();
        let different: BTreeSet<char> = letters.iter().copied().collect();
        let sound = different.len() == letters.len()
            && letters.len() >= 2
            && letters.iter().all(char::is_ascii_alphabetic);
        if !sound {
            let what = "`marks` needs two or more different letters, from the inside outwards";
            return self.faults.add(node.line, what);
        }
        self.keymap.marks = Some(letters);
    }

    /// They must be free, or typing one would do something else.
    pub(super) fn free_marks(&mut self, line: usize) {
        for letter in self.keymap.marks.clone().unwrap_or_default() {
            if !self.keymap.free(letter) {
                let what = format!(
                    "`{letter}` in `marks` does something in mode rays, begins a sequence, or is a \
                     key that stays there; take another letter"
                );
                self.faults.add(line, what);
            }
        }
    }

    /// A sequence that begins another one would never let it be typed.
    fn hidden(&mut self, merged: &Table, own: &[(Vec<Key>, String, usize)]) {
        for (i, (sequence, written, line)) in own.iter().enumerate() {
            if !merged.contains_key(sequence) {
                continue;
            }
            let hides = |other: &&Vec<Key>| {
                *other != sequence
                    && (other.starts_with(sequence) || sequence.starts_with(other))
                    && !own[i + 1..].iter().any(|(later, _, _)| later == *other)
            };
            if let Some(other) = merged.keys().find(hides) {
                let mine = own.iter().any(|(known, _, _)| known == other);
                let advice = if mine { "" } else { " (shipped; free it with `none`)" };
                let what =
                    format!("`{}` and `{}`{advice} hide each other", shown(written), spell(other));
                self.faults.add(*line, what);
            }
        }
    }

    pub(super) fn needed(&mut self, mode: KeyMode, line: usize) {
        let table = self.keymap.modes.get(&mode).cloned().unwrap_or_default();
        for &action in mode.needed() {
            if !table.values().any(|held| held.actions.contains(&action)) {
                let what =
                    format!("no key is left for `{}` in mode {}", action.name(), mode.name());
                self.faults.add(line, what);
            }
        }
    }
}

fn sequence(mode: KeyMode, written: &str) -> Result<Vec<Key>, String> {
    let keys: Result<Vec<Key>, String> =
        written.split_whitespace().map(|key| key.parse::<Key>().map_err(|e| shown(&e))).collect();
    let keys = keys?;
    let Some(first) = keys.first() else {
        return Err("a binding needs at least one key".to_owned());
    };
    let digit = matches!(first.code, Code::Char('0'..='9')) && !first.ctrl && !first.alt;
    if matches!(mode, KeyMode::Normal | KeyMode::MMode) && digit {
        return Err(format!("`{}` begins a count; take another key", shown(written)));
    }
    if mode == KeyMode::Command && first.typed().is_some() {
        return Err(format!("`{}` types in mode command; take another key", shown(written)));
    }
    Ok(keys)
}

/// The actions of a binding; `None` frees the key.
fn actions(node: &Node) -> Result<Option<Vec<Action>>, String> {
    let one = |node: &Node| match node.kind.word() {
        Some(word) => Action::from_name(&word).map_err(|meant| match meant {
            Some(meant) => {
                format!("`{}` is not an action; did you mean `{meant}`?", shown(&word))
            }
            None => format!("`{}` is not an action; `sonomark keys` lists them", shown(&word)),
        }),
        None => Err("a binding is an action, a list of actions, or none".to_owned()),
    };
    match &node.kind {
        Kind::Null => Ok(None),
        Kind::Text(word) if word == "none" => Ok(None),
        Kind::List(nodes) if nodes.is_empty() => Ok(None),
        Kind::List(nodes) => nodes.iter().map(one).collect::<Result<Vec<_>, _>>().map(Some),
        _ => one(node).map(|action| Some(vec![action])),
    }
}
