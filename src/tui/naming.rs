//! What sentences and panels call the keys of an action: always those of the keymap at hand.

use super::action::Action;
use super::keymap::{KeyMode, Keymap};
use super::model::Model;

impl Model {
    /// The keys of `action` where the person is, for a sentence: "`p p`"; its name for the command
    /// line where no key does it.
    #[must_use]
    pub fn key(&self, action: Action) -> String {
        format!("`{}`", self.bare_key(action))
    }

    /// The same without quotes, for panels and for keys that take a letter.
    #[must_use]
    pub fn bare_key(&self, action: Action) -> String {
        let mode = match self.key_mode() {
            // Who reads it has left the dialog.
            KeyMode::Help | KeyMode::Command => self.home().keys(),
            mode => mode,
        };
        let pointing = self.tools.rays.as_ref().is_some_and(|tool| tool.last.is_some());
        let marks = match mode {
            KeyMode::Rays if pointing => self.keymap.mark_letters(),
            _ => Vec::new(),
        };
        named(&self.keymap, mode, action, &marks)
    }

    /// The key that stops what goes on by itself, without quotes.
    #[must_use]
    pub fn stop_key(&self) -> String {
        let key = self.keymap.named(KeyMode::Normal, Action::Cancel, &[]);
        // This one does so in every keymap.
        key.unwrap_or_else(|| "esc".to_owned())
    }

    /// The keys of the hours, from 1 to 12, in short: "1..9 0 - =".
    #[must_use]
    pub fn hours(&self) -> String {
        let hours: Vec<String> = Action::HOURS
            .into_iter()
            .map(|action| named(&self.keymap, KeyMode::Rays, action, &[]))
            .collect();
        in_short(&hours)
    }
}

fn named(keymap: &Keymap, mode: KeyMode, action: Action, taken: &[char]) -> String {
    keymap.named(mode, action, taken).unwrap_or_else(|| format!(":{}", action.name()))
}

/// Keys side by side; three or more that follow each other only by the first and the last.
fn in_short(keys: &[String]) -> String {
    let follows = |a: &str, b: &str| {
        let (mut a, mut b) = (a.chars(), b.chars());
        let last = a.next_back().zip(b.next_back());
        a.as_str() == b.as_str() && last.is_some_and(|(a, b)| a as u32 + 1 == b as u32)
    };
    let runs = keys.chunk_by(|a, b| follows(a, b)).map(|run| match run {
        [first, .., last] if run.len() > 2 => format!("{first}..{last}"),
        run => run.join(" "),
    });
    runs.collect::<Vec<_>>().join(" ")
}
