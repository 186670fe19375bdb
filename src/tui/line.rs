//! The `:` line and the search of the palette while they are typed: editing, completion, lines recalled.
//!
//! What decides whether this file is right: what stands behind the first word is the person's, a path or a label, and is
//! never completed away.

use super::action::{Action, Group};
use super::command::COMMANDS;
use super::keymap::Keymap;

/// A line being typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// What stands there.
    pub text: String,
    /// Where the cursor is, in characters.
    pub cursor: usize,
    /// Which line of the listing is chosen, when the person chose one.
    pub choice: Option<usize>,
    /// A search through all actions instead of a command.
    pub palette: bool,
    /// Which of the lines run before stands there, when one was recalled.
    pub recalled: Option<usize>,
}

/// One line of the listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What it completes to.
    pub name: &'static str,
    /// Words it takes.
    pub words: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// Keys that do it.
    pub keys: String,
}

impl Line {
    /// A line with something on it already.
    #[must_use]
    pub fn with(text: &str) -> Line {
        Line { text: text.to_owned(), cursor: text.chars().count(), ..Line::default() }
    }

    /// An empty search.
    #[must_use]
    pub fn search() -> Line {
        Line { palette: true, ..Line::default() }
    }

    /// Types a character; control characters are left out.
    pub fn insert(&mut self, c: char) {
        if !c.is_control() && self.text.len() < 4096 {
            let at = self.byte(self.cursor);
            self.text.insert(at, c);
            self.cursor += 1;
            (self.choice, self.recalled) = (None, None);
        }
    }

    /// Erases the character before the cursor.
    pub fn erase(&mut self) {
        if self.cursor > 0 {
            let at = self.byte(self.cursor - 1);
            self.text.remove(at);
            self.cursor -= 1;
            (self.choice, self.recalled) = (None, None);
        }
    }

    /// Erases the word before the cursor.
    pub fn erase_word(&mut self) {
        let before = |line: &Line| line.text[..line.byte(line.cursor)].chars().next_back();
        while before(self).is_some_and(char::is_whitespace) {
            self.erase();
        }
        while before(self).is_some_and(|c| !c.is_whitespace()) {
            self.erase();
        }
    }

    /// Moves the cursor by so many characters.
    pub fn go(&mut self, by: isize) {
        let end = self.text.chars().count();
        self.cursor = self.cursor.saturating_add_signed(by).min(end);
    }

    fn byte(&self, character: usize) -> usize {
        self.text.char_indices().nth(character).map_or(self.text.len(), |(at, _)| at)
    }

    /// The words behind the first one, once a space follows it; a search has none.
    #[must_use]
    pub fn rest(&self) -> Option<&str> {
        let typed = self.text.trim_start_matches(':').trim_start();
        typed.split_once(' ').map(|(_, rest)| rest).filter(|_| !self.palette)
    }

    /// Whether enter takes the first of the listing, which is shown as chosen, where none was chosen: in a search, and
    /// behind a command with nothing typed.
    #[must_use]
    pub fn takes_first(&self) -> bool {
        self.palette || self.rest().is_some_and(|rest| rest.trim().is_empty())
    }

    /// Recalls the line run before (or after) the one that stands there; behind the newest there
    /// is an empty one.
    pub fn recall(&mut self, lines: &[String], earlier: bool) {
        let to = match self.recalled {
            _ if lines.is_empty() => return,
            None if earlier => lines.len() - 1,
            Some(at) if earlier => at.saturating_sub(1),
            Some(at) => at + 1,
            None => return,
        };
        let text = lines.get(to);
        let recalled = text.map(|_| to);
        *self = Line { recalled, ..Line::with(text.map_or("", String::as_str)) };
    }

    /// Export formats that begin with the word typed behind `export `; nothing for other lines.
    fn formats(&self) -> Vec<Candidate> {
        let typed = self.text.trim_start_matches(':').trim_start();
        let word = typed.strip_prefix("export ").filter(|_| !self.palette);
        let Some(word) = word.map(|word| word.trim_start().to_lowercase()) else {
            return Vec::new();
        };
        let figure = std::iter::once(("figure", "this frame as PNG or SVG, at print size"));
        let all = crate::engine::export_formats().chain(figure);
        all.filter(|(name, _)| name.starts_with(&word))
            .map(|(name, doc)| Candidate { name, words: "[PATH]", doc, keys: String::new() })
            .collect()
    }

    /// What fits to what was typed, best first. Once a first word is complete, only it is left, or
    /// what can follow it.
    #[must_use]
    pub fn candidates(&self, keymap: &Keymap) -> Vec<Candidate> {
        let formats = self.formats();
        if !formats.is_empty() {
            return formats;
        }
        let typed = self.text.trim_start_matches(':').trim_start().to_lowercase();
        let word =
            if self.palette { typed.as_str() } else { typed.split(' ').next().unwrap_or("") };
        let exact = !self.palette && typed.contains(' ');
        let keys = |name: &str| {
            let action = Action::from_name(name).ok();
            action.map_or_else(String::new, |action| keymap.keys_of(action).join(" "))
        };
        let commands = COMMANDS
            .iter()
            .filter(|_| !self.palette)
            .map(|&(name, words, doc)| Candidate { name, words, doc, keys: keys(name) });
        // A command stands for the action of its name.
        let commanded = |name: &str| !self.palette && COMMANDS.iter().any(|known| known.0 == name);
        // What keys do inside help and lines does nothing behind them, and this line closes before anything is run.
        let outside = |action: &Action| action.group() != Group::Dialogs;
        let actions = Action::ALL.iter().filter(|action| outside(action));
        let actions = actions.filter(|action| !commanded(action.name()));
        let actions = actions.map(|action| Candidate {
            name: action.name(),
            words: "",
            doc: action.doc(),
            keys: keymap.keys_of(*action).join(" "),
        });
        let mut found: Vec<(u32, Candidate)> = commands
            .chain(actions)
            .filter_map(|each| Some((rank(word, &each, exact, self.palette)?, each)))
            .collect();
        found.sort_by_key(|(rank, _)| *rank);
        found.into_iter().map(|(_, each)| each).collect()
    }

    /// Puts the chosen (or best) candidate on the line.
    pub fn complete(&mut self, keymap: &Keymap) {
        let candidates = self.candidates(keymap);
        let Some(chosen) = candidates.get(self.choice.unwrap_or(0)) else { return };
        let gap = if chosen.words.is_empty() { "" } else { " " };
        // Behind the first word only formats are completed: a path stays as it is.
        let before = match self.rest() {
            None => "",
            Some(_) if !self.formats().is_empty() => "export ",
            Some(_) => return,
        };
        *self = Line::with(&format!("{before}{}{gap}", chosen.name));
    }
}

/// How well a candidate fits, smaller is better; `None`: not at all.
fn rank(typed: &str, candidate: &Candidate, exact: bool, by_doc: bool) -> Option<u32> {
    let name = candidate.name;
    if exact {
        return (name == typed).then_some(0);
    }
    if name == typed {
        return Some(0);
    }
    if name.starts_with(typed) {
        return Some(1);
    }
    if name.split('-').any(|part| part.starts_with(typed)) {
        return Some(2);
    }
    if name.contains(typed) {
        return Some(3);
    }
    let all_words = || {
        let doc = candidate.doc.to_lowercase();
        typed.split_whitespace().all(|word| doc.contains(word) || name.contains(word))
    };
    if by_doc && all_words() {
        return Some(4);
    }
    let mut letters = name.chars();
    typed.chars().all(|c| letters.any(|l| l == c)).then_some(5)
}
