//! Key sequences to actions, one table per mode, loaded from YAML.
//!
//! A keymap that loads is sound: every name is an action, every key is a key, no binding hides
//! another, and every dialog can be left. All faults of a file are told at once, each with its
//! line; a file with faults is left out as a whole, so the shipped keys always work.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::config::yaml::{Faults, Kind, Node, parse};
use crate::domain::{nearest_word, shown};

use super::action::{Action, Group};
use super::key::{Code, Key, spell};

/// The shipped keys.
pub const DEFAULT: &str = include_str!("../../keymaps/default.yaml");

/// Shipped variants, each laid over the default.
pub const VARIANTS: [(&str, &str); 3] = [
    ("vim", include_str!("../../keymaps/vim.yaml")),
    ("left-hand", include_str!("../../keymaps/left-hand.yaml")),
    ("colemak", include_str!("../../keymaps/colemak.yaml")),
];

/// The shipped variant of this name; the default needs none.
#[must_use]
pub fn shipped_layer(name: &str) -> Option<Layer<'static>> {
    let found = VARIANTS.iter().find(|(known, _)| *known == name);
    found.map(|&(name, text)| Layer { name, text })
}

/// What keys are for at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyMode {
    /// The picture has the keys.
    #[default]
    Normal,
    /// Points by direction; keys that are not bound are as in normal.
    Rays,
    /// The place from which rays start is being said; keys that are not bound are as in rays.
    Leap,
    /// Questions about visibility; keys that are not bound are as in normal.
    Bisect,
    /// A line over time is shown; keys that are not bound are as in normal.
    MMode,
    /// The help page is open.
    Help,
    /// The command line is open; keys that are not bound type.
    Command,
}

impl KeyMode {
    /// All of them.
    pub const ALL: [KeyMode; 7] = [
        KeyMode::Normal,
        KeyMode::Rays,
        KeyMode::Leap,
        KeyMode::Bisect,
        KeyMode::MMode,
        KeyMode::Help,
        KeyMode::Command,
    ];

    /// Its name in keymaps.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            KeyMode::Normal => "normal",
            KeyMode::Rays => "rays",
            KeyMode::Leap => "leap",
            KeyMode::Bisect => "bisect",
            KeyMode::MMode => "m-mode",
            KeyMode::Help => "help",
            KeyMode::Command => "command",
        }
    }

    /// Actions that some key must reach, or the person is locked in.
    fn needed(self) -> &'static [Action] {
        match self {
            KeyMode::Normal => &[Action::CommandLine],
            // Leaving is a key of the mode beneath.
            KeyMode::Leap => &[],
            KeyMode::MMode => &[Action::MMode],
            KeyMode::Rays | KeyMode::Help => &[Action::Close],
            KeyMode::Bisect => &[Action::Close, Action::Visible, Action::NotVisible],
            KeyMode::Command => &[Action::Close, Action::LineRun],
        }
    }
}

/// One file of keys.
#[derive(Clone, Debug)]
pub struct Layer<'a> {
    /// The file, as the person knows it.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
}

type Table = BTreeMap<Vec<Key>, Vec<Action>>;

/// Which keys do what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keymap {
    modes: BTreeMap<KeyMode, Table>,
}

/// What a sequence of keys means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// These actions, in order.
    Act(Vec<Action>),
    /// The keys so far begin these sequences (the rest of each): what the which-key box shows.
    More(Vec<(Vec<Key>, Vec<Action>)>),
    /// Nothing.
    Nothing,
}

impl Keymap {
    /// The shipped keys alone.
    #[must_use]
    pub fn shipped() -> Keymap {
        Keymap::layered(&[]).0
    }

    /// The shipped keys with `files` laid over them, and all faults. A file with faults is left
    /// out.
    #[must_use]
    pub fn layered(files: &[Layer<'_>]) -> (Keymap, Vec<Faults>) {
        let mut keymap = Keymap::default();
        let mut faults = Vec::new();
        let shipped = Layer { name: "keymaps/default.yaml", text: DEFAULT };
        for layer in std::iter::once(&shipped).chain(files) {
            match keymap.with(layer) {
                Ok(merged) => keymap = merged,
                Err(found) => faults.push(found),
            }
        }
        (keymap, faults)
    }

    /// This keymap with a file laid over it leaf by leaf.
    ///
    /// # Errors
    /// Every fault of the file.
    pub fn with(&self, layer: &Layer<'_>) -> Result<Keymap, Faults> {
        let root = parse(layer.name, layer.text)?;
        let mut reading = Reading { keymap: self.clone(), faults: Faults::new(layer.name) };
        let Kind::Map(sections) = root.kind else {
            reading.faults.add(root.line, "is not a mapping of modes to keys");
            return Err(reading.faults);
        };
        let mut modes = Vec::new();
        for (name, node) in sections {
            match KeyMode::ALL.into_iter().find(|mode| mode.name() == name) {
                Some(mode) => {
                    modes.push((mode, node.line));
                    reading.mode(mode, &node);
                }
                None => reading.unknown_mode(&name, node.line),
            }
        }
        if reading.faults.list.is_empty() {
            for (mode, line) in modes {
                reading.needed(mode, line);
            }
        }
        reading.faults.or(reading.keymap)
    }

    /// What `keys` mean in `mode`; rays, questions and M-mode lie over mode normal, leaps over rays.
    #[must_use]
    pub fn find(&self, mode: KeyMode, keys: &[Key]) -> Found {
        match (self.find_in(mode, keys), mode) {
            (Found::Nothing, KeyMode::Leap) => self.find(KeyMode::Rays, keys),
            (Found::Nothing, KeyMode::Rays | KeyMode::Bisect | KeyMode::MMode) => {
                self.find_in(KeyMode::Normal, keys)
            }
            (found, _) => found,
        }
    }

    fn find_in(&self, mode: KeyMode, keys: &[Key]) -> Found {
        let Some(table) = self.modes.get(&mode) else { return Found::Nothing };
        if let Some(actions) = table.get(keys) {
            return Found::Act(actions.clone());
        }
        let longer = table.iter().filter(|(sequence, _)| sequence.starts_with(keys));
        let rest: Vec<_> = longer
            .map(|(sequence, actions)| (sequence[keys.len()..].to_vec(), actions.clone()))
            .collect();
        if rest.is_empty() { Found::Nothing } else { Found::More(rest) }
    }

    /// Letters that name marks on a ray, in the order of the alphabet: those that mode rays does
    /// not bind, but for undoing, deleting and leaving.
    #[must_use]
    pub fn mark_letters(&self) -> Vec<char> {
        let kept = [Action::Undo, Action::Redo, Action::DeletePoint, Action::Quit];
        let free = |c: &char| {
            let key = [Key { code: Code::Char(*c), ctrl: false, alt: false, shift: false }];
            let own = self.find_in(KeyMode::Rays, &key) != Found::Nothing;
            let below = self.find_in(KeyMode::Normal, &key);
            !own && !matches!(below, Found::Act(all) if kept.iter().any(|each| all.contains(each)))
        };
        ('a'..='z').filter(free).collect()
    }

    /// The sequences that do `action` alone, in whichever mode, shortest first. Keys of
    /// M-mode count for what is done there alone.
    #[must_use]
    pub fn keys_of(&self, action: Action) -> Vec<String> {
        let normal = self.modes.get(&KeyMode::Normal);
        let reached = normal.is_some_and(|table| table.values().any(|all| *all == [action]));
        let counts = |mode: &KeyMode| *mode != KeyMode::MMode || !reached;
        let all = self.modes.iter().filter(|(mode, _)| counts(mode)).flat_map(|(_, table)| table);
        let mut keys: Vec<(usize, String)> = all
            .filter(|(_, actions)| **actions == [action])
            .map(|(sequence, _)| (sequence.len(), spell(sequence)))
            .collect();
        keys.sort();
        keys.dedup();
        keys.into_iter().map(|(_, spelled)| spelled).collect()
    }

    /// The fewest keys that do `action` alone in `mode`.
    #[must_use]
    pub fn sequence(&self, mode: KeyMode, action: Action) -> Option<Vec<Key>> {
        let all = self.modes.values().flatten();
        let does = |(keys, _): &(&Vec<Key>, &Vec<Action>)| {
            self.find(mode, keys) == Found::Act(vec![action])
        };
        let found = all.filter(|(_, actions)| **actions == [action]).filter(does);
        let held = |keys: &&Vec<Key>| keys.iter().filter(|key| key.ctrl || key.alt).count();
        found.map(|(keys, _)| keys).min_by_key(|keys| (keys.len(), held(keys))).cloned()
    }

    /// Actions no key reaches in any mode.
    #[must_use]
    pub fn unbound(&self) -> Vec<Action> {
        let bound = |action: &Action| {
            self.modes.values().flat_map(BTreeMap::values).any(|actions| actions.contains(action))
        };
        Action::ALL.iter().copied().filter(|action| !bound(action)).collect()
    }

    /// The key list of the README, in the order of the action table.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut out = String::new();
        let mut group: Option<Group> = None;
        for &action in Action::ALL {
            if group != Some(action.group()) {
                let gap = if group.is_some() { "\n" } else { "" };
                let _ = write!(out, "{gap}### {}\n\n", action.group().title());
                out.push_str("| key | action | what it does |\n|---|---|---|\n");
                group = Some(action.group());
            }
            let escaped = |key: &String| format!("`{}`", key.replace('|', "\\|"));
            let keys: Vec<String> = self.keys_of(action).iter().map(escaped).collect();
            let _ =
                writeln!(out, "| {} | `{}` | {} |", keys.join(" "), action.name(), action.doc());
        }
        out
    }
}

/// The shipped keys as Markdown tables: what `sonomark keys` prints and the README holds.
#[must_use]
pub fn table_markdown() -> String {
    Keymap::shipped().to_markdown()
}

struct Reading {
    keymap: Keymap,
    faults: Faults,
}

impl Reading {
    fn unknown_mode(&mut self, name: &str, line: usize) {
        let known = KeyMode::ALL.map(KeyMode::name);
        let meant = match nearest_word(name, known) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("the modes are {}", known.join(", ")),
        };
        self.faults.add(line, format!("`{}` is not a mode; {meant}", shown(name)));
    }

    fn mode(&mut self, mode: KeyMode, node: &Node) {
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
                Some(actions) => drop(merged.insert(sequence.clone(), actions)),
                None => drop(merged.remove(&sequence)),
            }
            own.push((sequence, written.clone(), node.line));
        }
        self.hidden(&merged, &own);
        self.keymap.modes.insert(mode, merged);
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

    fn needed(&mut self, mode: KeyMode, line: usize) {
        let table = self.keymap.modes.get(&mode).cloned().unwrap_or_default();
        for &action in mode.needed() {
            if !table.values().any(|actions| actions.contains(&action)) {
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
