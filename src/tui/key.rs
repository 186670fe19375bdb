//! One key press, as written in a keymap: `b`, `G`, `C-s`, `A-h`, `S-left`, `space`, `esc`.

use std::fmt;
use std::str::FromStr;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// Which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// A character as typed, shift already applied.
    Char(char),
    /// A key without a character, by its name in [`NAMED`].
    Named(&'static str),
}

/// Keys that are written by name.
pub const NAMED: &[&str] = &[
    "backspace",
    "backtab",
    "delete",
    "down",
    "end",
    "enter",
    "esc",
    "f1",
    "f2",
    "f3",
    "f4",
    "f5",
    "f6",
    "f7",
    "f8",
    "f9",
    "f10",
    "f11",
    "f12",
    "home",
    "insert",
    "left",
    "pagedown",
    "pageup",
    "right",
    "space",
    "tab",
    "up",
];

/// A key with the modifiers held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Which key.
    pub code: Code,
    /// Control held.
    pub ctrl: bool,
    /// Alt held.
    pub alt: bool,
    /// Shift held; only told apart for named keys, a character carries its shift.
    pub shift: bool,
}

impl Key {
    /// The key of a press or repeat; `None` for releases and keys that no keymap can name.
    #[must_use]
    pub fn from_event(event: &KeyEvent) -> Option<Key> {
        if event.kind == KeyEventKind::Release {
            return None;
        }
        let code = match event.code {
            KeyCode::Char(' ') => Code::Named("space"),
            KeyCode::Char(c) => Code::Char(c),
            KeyCode::F(n) => named(&format!("f{n}"))?,
            KeyCode::Backspace => Code::Named("backspace"),
            KeyCode::BackTab => Code::Named("backtab"),
            KeyCode::Delete => Code::Named("delete"),
            KeyCode::Down => Code::Named("down"),
            KeyCode::End => Code::Named("end"),
            KeyCode::Enter => Code::Named("enter"),
            KeyCode::Esc => Code::Named("esc"),
            KeyCode::Home => Code::Named("home"),
            KeyCode::Insert => Code::Named("insert"),
            KeyCode::Left => Code::Named("left"),
            KeyCode::PageDown => Code::Named("pagedown"),
            KeyCode::PageUp => Code::Named("pageup"),
            KeyCode::Right => Code::Named("right"),
            KeyCode::Tab => Code::Named("tab"),
            KeyCode::Up => Code::Named("up"),
            _ => return None,
        };
        let held = |modifier| event.modifiers.contains(modifier);
        let is_named = matches!(code, Code::Named(name) if name != "backtab");
        Some(Key {
            code,
            ctrl: held(KeyModifiers::CONTROL),
            alt: held(KeyModifiers::ALT),
            shift: is_named && held(KeyModifiers::SHIFT),
        })
    }

    /// The character it types into a line of text, if it does.
    #[must_use]
    pub fn typed(self) -> Option<char> {
        match self.code {
            _ if self.ctrl || self.alt => None,
            Code::Char(c) => Some(c),
            Code::Named("space") => Some(' '),
            Code::Named(_) => None,
        }
    }
}

fn named(name: &str) -> Option<Code> {
    NAMED.iter().find(|known| **known == name).map(|known| Code::Named(known))
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Key, String> {
        let mut rest = text;
        let (mut ctrl, mut alt, mut shift) = (false, false, false);
        // A lone `-` after a modifier is the key itself: `C--`.
        while let Some((modifier, tail)) = rest.split_once('-').filter(|(_, tail)| !tail.is_empty())
        {
            match modifier {
                "C" if !ctrl => ctrl = true,
                "A" if !alt => alt = true,
                "S" if !shift => shift = true,
                _ => break,
            }
            rest = tail;
        }
        let mut chars = rest.chars();
        let code = match (chars.next(), chars.next()) {
            (Some(c), None) if !c.is_whitespace() && !c.is_control() => Code::Char(c),
            _ => named(rest).ok_or_else(|| not_a_key(text, rest))?,
        };
        if shift && matches!(code, Code::Char(_)) {
            return Err(format!("`{text}` is not a key; write the shifted character itself"));
        }
        Ok(Key { code, ctrl, alt, shift })
    }
}

fn not_a_key(text: &str, rest: &str) -> String {
    match crate::domain::nearest_word(rest, NAMED.iter().copied()) {
        Some(meant) if rest.chars().count() > 2 => {
            format!("`{text}` is not a key; did you mean `{meant}`?")
        }
        _ if text.chars().all(char::is_alphanumeric) => {
            format!("`{text}` is not a key; several are written with spaces between")
        }
        _ => format!("`{text}` is not a key"),
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (held, prefix) in [(self.ctrl, "C-"), (self.alt, "A-"), (self.shift, "S-")] {
            if held {
                f.write_str(prefix)?;
            }
        }
        match self.code {
            Code::Char(c) => write!(f, "{c}"),
            Code::Named(name) => f.write_str(name),
        }
    }
}

/// A sequence as written in a keymap.
#[must_use]
pub fn spell(sequence: &[Key]) -> String {
    sequence.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
