//! Key sequences to actions, one table per mode, loaded from YAML.
//!
//! A keymap that loads is sound: every name is an action, every key is a key, no binding hides
//! another, and every dialog can be left. All faults of a file are told at once, each with its
//! line; a file with faults is left out as a whole, so the shipped keys always work.

mod reading;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::config::yaml::{Faults, Kind, parse};

use super::action::{Action, Group};
use super::key::{Code, Key, spell};

use reading::Reading;

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

/// What a sequence does.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Binding {
    actions: Vec<Action>,
    /// Where it is written: people are told the keys of an action in this order, those of the
    /// topmost file first.
    place: (Reverse<usize>, usize),
}

type Table = BTreeMap<Vec<Key>, Binding>;

/// Which keys do what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keymap {
    modes: BTreeMap<KeyMode, Table>,
    /// Letters for marks on a ray, where a file says which.
    marks: Option<Vec<char>>,
    /// Files laid over each other so far.
    layers: usize,
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
        reading.keymap.layers += 1;
        let Kind::Map(sections) = root.kind else {
            reading.faults.add(root.line, "is not a mapping of modes to keys");
            return Err(reading.faults);
        };
        let (mut modes, mut marks) = (Vec::new(), None);
        for (name, node) in sections {
            if name == "marks" {
                reading.marks(&node);
                marks = Some(node.line);
                continue;
            }
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
            if let Some(line) = marks {
                reading.free_marks(line);
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

    /// Whether the table of `mode` itself has these keys, and not only that of the picture behind it.
    #[must_use]
    pub fn is_own(&self, mode: KeyMode, keys: &[Key]) -> bool {
        let held = |mode| self.find_in(mode, keys) != Found::Nothing;
        held(mode) || (mode == KeyMode::Leap && held(KeyMode::Rays))
    }

    fn find_in(&self, mode: KeyMode, keys: &[Key]) -> Found {
        let Some(table) = self.modes.get(&mode) else { return Found::Nothing };
        if let Some(binding) = table.get(keys) {
            return Found::Act(binding.actions.clone());
        }
        let longer = table.iter().filter(|(sequence, _)| sequence.starts_with(keys));
        let rest: Vec<_> = longer
            .map(|(sequence, held)| (sequence[keys.len()..].to_vec(), held.actions.clone()))
            .collect();
        if rest.is_empty() { Found::Nothing } else { Found::More(rest) }
    }

    /// Letters that name marks on a ray, from the innermost on: those that the files say, else the
    /// alphabet; without those that mode rays binds, those that begin sequences, and the keys for
    /// undoing, deleting and leaving.
    #[must_use]
    pub fn mark_letters(&self) -> Vec<char> {
        let letters = self.marks.clone().unwrap_or_else(|| ('a'..='z').collect());
        letters.into_iter().filter(|letter| self.free(*letter)).collect()
    }

    /// Whether a letter may name a mark.
    fn free(&self, letter: char) -> bool {
        let kept = [Action::Undo, Action::Redo, Action::DeletePoint, Action::Quit];
        let key = [Key { code: Code::Char(letter), ctrl: false, alt: false, shift: false }];
        let below = match self.find_in(KeyMode::Normal, &key) {
            Found::Act(actions) => !kept.iter().any(|each| actions.contains(each)),
            Found::More(_) => false,
            Found::Nothing => true,
        };
        below && self.find_in(KeyMode::Rays, &key) == Found::Nothing
    }

    /// The sequences that do `action` alone in the modes that count, as the files list them.
    fn sequences(&self, action: Action, counts: impl Fn(KeyMode) -> bool) -> Vec<&Vec<Key>> {
        let tables = self.modes.iter().filter(|(mode, _)| counts(**mode));
        let all = tables.flat_map(|(_, table)| table);
        let mut found: Vec<_> = all.filter(|(_, held)| held.actions == [action]).collect();
        found.sort_by_key(|(_, held)| held.place);
        found.into_iter().map(|(keys, _)| keys).collect()
    }

    /// The sequences that do `action` alone, in whichever mode, as the files list them. Keys of
    /// M-mode count for what is done there alone.
    #[must_use]
    pub fn keys_of(&self, action: Action) -> Vec<String> {
        let normal = self.modes.get(&KeyMode::Normal);
        let reached = normal.is_some_and(|all| all.values().any(|held| held.actions == [action]));
        let found = self.sequences(action, |mode| mode != KeyMode::MMode || !reached);
        let mut told = BTreeSet::new();
        let keys = found.into_iter().map(|keys| spell(keys));
        keys.filter(|keys| told.insert(keys.clone())).collect()
    }

    /// The fewest keys that do `action` alone in `mode`.
    #[must_use]
    pub fn sequence(&self, mode: KeyMode, action: Action) -> Option<Vec<Key>> {
        let does = |keys: &&Vec<Key>| self.find(mode, keys) == Found::Act(vec![action]);
        let found = self.sequences(action, |_| true).into_iter().filter(does);
        let held = |keys: &[Key]| keys.iter().filter(|key| key.ctrl || key.alt).count();
        found.min_by_key(|keys| (keys.len(), held(keys))).cloned()
    }

    /// What sentences call the keys that do `action` in `mode`: the first that the files list. Where
    /// none does there, or all begin with one of the `taken` letters, those of mode normal behind
    /// the key that leaves `mode`.
    #[must_use]
    pub fn named(&self, mode: KeyMode, action: Action, taken: &[char]) -> Option<String> {
        let first = |mode: KeyMode, action: Action| {
            let free = |keys: &[Key]| match keys.first() {
                Some(Key { code: Code::Char(c), ctrl: false, alt: false, .. }) => {
                    mode == KeyMode::Normal || !taken.contains(c)
                }
                _ => true,
            };
            let does =
                |keys: &&Vec<Key>| free(keys) && self.find(mode, keys) == Found::Act(vec![action]);
            self.sequences(action, |_| true).into_iter().find(does).map(|keys| spell(keys))
        };
        first(mode, action).or_else(|| {
            let (close, keys) = (first(mode, Action::Close)?, first(KeyMode::Normal, action)?);
            Some(format!("{close} {keys}"))
        })
    }

    /// Actions no key reaches in any mode.
    #[must_use]
    pub fn unbound(&self) -> Vec<Action> {
        let bound = |action: &Action| {
            self.modes.values().flat_map(BTreeMap::values).any(|held| held.actions.contains(action))
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
            // A backtick by itself wants two round it, and gaps.
            let escaped = |key: &String| match key.contains('`') {
                true => format!("`` {key} ``"),
                false => format!("`{}`", key.replace('|', "\\|")),
            };
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
