//! Bytes of the terminal to keys, pasted text and answers. Pure.
//!
//! Not crossterm's reader: that takes `ESC ESC` for one key, so that an answer right behind an Esc
//! would be typed (`[`, `0`, `n`) and not be counted, and it takes the first byte of an answer that
//! comes in two reads for the Esc key.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Answer to the status report that ends a frame.
const ANSWER: &[u8] = b"\x1b[0n";
const PASTE_END: &[u8] = b"\x1b[201~";
/// How answers in words begin: the terminal's name, what it says of kitty's pictures, and its background.
const ANSWERED: [&[u8]; 3] = [b"P>", b"_G", b"]11;"];
/// From so many bytes of a beginning on it is an answer, however long its rest takes.
const LIKELY: usize = 3;
/// Longer parameters and strings are nobody's; of longer pastes the rest is left out.
const MAX_PARAMETERS: usize = 64;
const MAX_PASTE: usize = 1 << 20;

/// What the bytes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A key.
    Key(KeyEvent),
    /// Pasted text.
    Paste(String),
    /// The terminal has taken a frame.
    Answer,
    /// The person was elsewhere and looks here again.
    Back,
    /// Width and height of a cell, px.
    Cell((u16, u16)),
    /// Width and height of the text area, px.
    Area((u16, u16)),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    /// `ESC [`, parameters in `text`.
    Control,
    /// `ESC O`, a modifier in `text`.
    Single,
    /// A string answer (`ESC P`, `ESC _`, `ESC ]`) up to `ESC \`.
    Words,
    /// An escape inside a string.
    WordsEscape,
    /// Pasted text up to [`PASTE_END`].
    Paste,
    /// A character of several bytes, so many in all; Alt held.
    Character(usize, bool),
    /// So many bytes of a mouse that another program left switched on: button and place, whatever they look like.
    Mouse(usize),
}

/// Keeps what is not complete yet from one read to the next.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    state: State,
    text: Vec<u8>,
    /// The person looks elsewhere.
    away: bool,
}

impl Decoder {
    /// What `bytes` complete, in order.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Heard> {
        let mut heard = Vec::new();
        for &byte in bytes {
            self.push(byte, &mut heard);
        }
        heard
    }

    /// True while what came last may be a key by itself or the start of something longer: call
    /// [`Decoder::silence`] when nothing follows.
    pub(super) fn undecided(&self) -> bool {
        match self.state {
            State::Escape | State::Single => true,
            State::Control => self.text.is_empty(),
            State::Words => self.text.len() < LIKELY && !self.answers(),
            _ => false,
        }
    }

    /// Nothing followed: the keys that the bytes are by themselves.
    pub(super) fn silence(&mut self) -> Vec<Heard> {
        if self.undecided() { self.as_keys() } else { Vec::new() }
    }

    /// What is under way as keys: the escape with what stands next to it, and one for each byte behind that.
    fn as_keys(&mut self) -> Vec<Heard> {
        let text = std::mem::take(&mut self.text);
        let (lone, rest) = match std::mem::take(&mut self.state) {
            State::Control => (b'[', &text[..]),
            State::Single => (b'O', &text[..]),
            State::Words => (text[0], &text[1..]),
            _ => return vec![Heard::Key(KeyCode::Esc.into())],
        };
        let lone = KeyEvent::new(KeyCode::Char(char::from(lone)), KeyModifiers::ALT);
        let rest = rest.iter().map(|&byte| plain_key(byte));
        std::iter::once(lone).chain(rest).map(Heard::Key).collect()
    }

    /// Whether the string at hand is an answer.
    fn answers(&self) -> bool {
        ANSWERED.iter().any(|beginning| self.text.starts_with(beginning))
    }

    /// Whether it may become one with this byte.
    fn may_answer(&self, byte: u8) -> bool {
        ANSWERED.iter().any(|beginning| {
            beginning.starts_with(&self.text) && beginning.get(self.text.len()) == Some(&byte)
        })
    }

    fn push(&mut self, byte: u8, heard: &mut Vec<Heard>) {
        match self.state {
            State::Ground => self.ground(byte, false, heard),
            State::Escape => self.after_escape(byte, heard),
            State::Control => self.control(byte, heard),
            State::Single => self.single(byte, heard),
            State::Words => self.words(byte, heard),
            State::WordsEscape if byte == b'\\' => self.state = State::Ground,
            State::WordsEscape => self.after_escape(byte, heard),
            State::Paste => self.paste(byte, heard),
            State::Character(length, alt) => self.character(byte, length, alt, heard),
            State::Mouse(1) => self.state = State::Ground,
            State::Mouse(left) => self.state = State::Mouse(left - 1),
        }
    }

    /// Outside every sequence; `alt` when an escape stood before.
    fn ground(&mut self, byte: u8, alt: bool, heard: &mut Vec<Heard>) {
        let length = match byte {
            0x1b => return self.state = State::Escape,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            // No character begins so.
            0x80.. => return self.state = State::Ground,
            _ => 1,
        };
        if length > 1 {
            self.text = vec![byte];
            return self.state = State::Character(length, alt);
        }
        self.state = State::Ground;
        let mut key = plain_key(byte);
        if alt {
            key.modifiers |= KeyModifiers::ALT;
        }
        heard.push(Heard::Key(key));
    }

    fn after_escape(&mut self, byte: u8, heard: &mut Vec<Heard>) {
        self.text.clear();
        self.state = State::Escape;
        match byte {
            // The one before was a key; this one may begin an answer.
            0x1b => heard.push(Heard::Key(KeyCode::Esc.into())),
            b'[' => self.state = State::Control,
            b'O' => self.state = State::Single,
            b'P' | b'_' | b']' => {
                self.text.push(byte);
                self.state = State::Words;
            }
            _ => self.ground(byte, true, heard),
        }
    }

    fn control(&mut self, byte: u8, heard: &mut Vec<Heard>) {
        match byte {
            0x20..=0x3f => {
                if self.text.len() < MAX_PARAMETERS {
                    self.text.push(byte);
                }
            }
            // The Linux console's F1 to F5: `ESC [ [ A`.
            b'[' if self.text.is_empty() => self.text.push(byte),
            0x40..=0x7e => {
                let parameters = std::mem::take(&mut self.text);
                self.state = State::Ground;
                match (parameters.as_slice(), byte) {
                    (b"0", b'n') => heard.push(Heard::Answer),
                    (b"200", b'~') => self.state = State::Paste,
                    (b"", b'M') => self.state = State::Mouse(3),
                    (b"", b'O') => self.away = true,
                    (b"", b'I') => {
                        heard.extend(std::mem::take(&mut self.away).then_some(Heard::Back));
                    }
                    (parameters, b't') => heard.extend(size_told(parameters)),
                    (parameters, last) => {
                        heard.extend(sequence_key(parameters, last).map(Heard::Key));
                    }
                }
            }
            _ => self.ground(byte, false, heard),
        }
    }

    /// After `ESC O`; Konsole tells a modifier before the letter.
    fn single(&mut self, byte: u8, heard: &mut Vec<Heard>) {
        match byte {
            // It was a key by itself, and this one may begin an answer.
            0x1b => {
                heard.extend(self.silence());
                self.state = State::Escape;
            }
            b'0'..=b'9' if self.text.len() < MAX_PARAMETERS => self.text.push(byte),
            _ => {
                self.state = State::Ground;
                let text = std::mem::take(&mut self.text);
                let number = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
                let held = number.map_or(0, |number: u32| number.saturating_sub(1));
                heard.extend(letter_key(byte, modifiers(held)).map(Heard::Key));
            }
        }
    }

    fn words(&mut self, byte: u8, heard: &mut Vec<Heard>) {
        match byte {
            0x1b if self.answers() => self.state = State::WordsEscape,
            0x1b => {
                heard.extend(self.as_keys());
                self.state = State::Escape;
            }
            // Nothing that is ever answered begins so: what came were keys.
            _ if !self.answers() && !self.may_answer(byte) => {
                heard.extend(self.as_keys());
                self.ground(byte, false, heard);
            }
            0x07 | 0x18 | 0x1a => self.state = State::Ground,
            _ if self.text.len() < MAX_PARAMETERS => self.text.push(byte),
            _ => {}
        }
    }

    fn paste(&mut self, byte: u8, heard: &mut Vec<Heard>) {
        self.text.push(byte);
        if self.text.len() > MAX_PASTE + PASTE_END.len() {
            // Of what is too long only the end is looked at.
            self.text.remove(MAX_PASTE);
        }
        // Answers come whenever they come.
        if self.text.ends_with(ANSWER) {
            self.text.truncate(self.text.len() - ANSWER.len());
            heard.push(Heard::Answer);
        } else if self.text.ends_with(PASTE_END) {
            self.text.truncate((self.text.len() - PASTE_END.len()).min(MAX_PASTE));
            let text = std::mem::take(&mut self.text);
            heard.push(Heard::Paste(String::from_utf8_lossy(&text).into_owned()));
            self.state = State::Ground;
        }
    }

    fn character(&mut self, byte: u8, length: usize, alt: bool, heard: &mut Vec<Heard>) {
        if !(0x80..0xc0).contains(&byte) {
            // It was cut off.
            return self.ground(byte, false, heard);
        }
        self.text.push(byte);
        if self.text.len() < length {
            return;
        }
        self.state = State::Ground;
        let character = std::str::from_utf8(&self.text).ok().and_then(|text| text.chars().next());
        let modifiers = if alt { KeyModifiers::ALT } else { KeyModifiers::NONE };
        heard.extend(character.map(|c| Heard::Key(KeyEvent::new(KeyCode::Char(c), modifiers))));
    }
}

/// The key of one byte below 128.
fn plain_key(byte: u8) -> KeyEvent {
    let control = |c: u8| KeyEvent::new(KeyCode::Char(char::from(c)), KeyModifiers::CONTROL);
    match byte {
        b'\r' => KeyCode::Enter.into(),
        b'\t' => KeyCode::Tab.into(),
        0x7f => KeyCode::Backspace.into(),
        0 => control(b' '),
        0x01..=0x1a => control(byte - 1 + b'a'),
        0x1b => KeyCode::Esc.into(),
        0x1c..=0x1f => control(byte - 0x1c + b'4'),
        _ => KeyCode::Char(char::from(byte)).into(),
    }
}

/// Modifiers as xterm adds them up.
fn modifiers(held: u32) -> KeyModifiers {
    let mut modifiers = KeyModifiers::NONE;
    for (bit, modifier) in
        [(1, KeyModifiers::SHIFT), (2, KeyModifiers::ALT), (4, KeyModifiers::CONTROL)]
    {
        if held & bit != 0 {
            modifiers |= modifier;
        }
    }
    modifiers
}

/// The key of a sequence that ends in a letter.
fn letter_key(last: u8, modifiers: KeyModifiers) -> Option<KeyEvent> {
    let code = match last {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'H' => KeyCode::Home,
        b'F' => KeyCode::End,
        b'P'..=b'S' => KeyCode::F(last - b'P' + 1),
        b'Z' => return Some(KeyEvent::new(KeyCode::BackTab, modifiers | KeyModifiers::SHIFT)),
        _ => return None,
    };
    Some(KeyEvent::new(code, modifiers))
}

/// What `ESC [ 6 ; height ; width t` tells of a cell, and 4 in the place of 6 of the text area.
fn size_told(parameters: &[u8]) -> Option<Heard> {
    let text = std::str::from_utf8(parameters).ok()?;
    let (what, size) = text.split_once(';')?;
    let (height, width) = size.split_once(';')?;
    let px = |text: &str| text.parse().ok().filter(|&px: &u16| px > 0);
    let size = (px(width)?, px(height)?);
    match what {
        "6" => Some(Heard::Cell(size)),
        "4" => Some(Heard::Area(size)),
        _ => None,
    }
}

/// The key of `ESC [ parameters last`; `None` for late answers and whatever else is no key.
fn sequence_key(parameters: &[u8], last: u8) -> Option<KeyEvent> {
    let text = std::str::from_utf8(parameters).ok()?;
    if text == "[" {
        return matches!(last, b'A'..=b'E').then(|| KeyCode::F(last - b'A' + 1).into());
    }
    let mut parts = text.split(';');
    let number =
        |part: &str| -> Option<u32> { if part.is_empty() { Some(1) } else { part.parse().ok() } };
    let first = number(parts.next()?.split(':').next()?)?;
    let mut second = parts.next().unwrap_or_default().split(':');
    let held = number(second.next()?)?.checked_sub(1)?;
    // Released keys are told only where they are asked for; they are never presses.
    if second.next() == Some("3") {
        return None;
    }
    let modifiers = modifiers(held);
    let code = match (last, first) {
        // xterm's other keys, as tmux and settings of xterm send them: the character comes third.
        (b'~', 27) => return character_key(number(parts.next()?)?, modifiers),
        (b'~', 1 | 7) => KeyCode::Home,
        (b'~', 2) => KeyCode::Insert,
        (b'~', 3) => KeyCode::Delete,
        (b'~', 4 | 8) => KeyCode::End,
        (b'~', 5) => KeyCode::PageUp,
        (b'~', 6) => KeyCode::PageDown,
        (b'~', 11..=15) => KeyCode::F(first as u8 - 10),
        (b'~', 17..=21) => KeyCode::F(first as u8 - 11),
        (b'~', 23 | 24) => KeyCode::F(first as u8 - 12),
        (b'u', _) => return character_key(first, modifiers),
        // A place (`CSI row ; column R`) is no key.
        (_, 1) => return letter_key(last, modifiers),
        _ => return None,
    };
    Some(KeyEvent::new(code, modifiers))
}

/// The key of a character told by its number.
fn character_key(number: u32, modifiers: KeyModifiers) -> Option<KeyEvent> {
    let key = match char::from_u32(number)? {
        c if c.is_ascii() => plain_key(number as u8),
        c => KeyCode::Char(c).into(),
    };
    Some(KeyEvent::new(key.code, key.modifiers | modifiers))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys as a keymap writes them, `!` for an answer, `"..."` for a paste.
    fn heard(decoder: &mut Decoder, bytes: &[u8]) -> String {
        let told = |each: &Heard| match each {
            Heard::Key(key) => {
                crate::tui::key::Key::from_event(key).map_or("?".into(), |key| key.to_string())
            }
            Heard::Paste(text) => format!("{text:?}"),
            Heard::Answer => "!".to_owned(),
            Heard::Back => "back".to_owned(),
            Heard::Cell((width, height)) => format!("{width}x{height}"),
            Heard::Area((width, height)) => format!("{width}x{height} in all"),
        };
        decoder.take(bytes).iter().map(told).collect::<Vec<_>>().join(" ")
    }

    fn alone(bytes: &[u8]) -> String {
        heard(&mut Decoder::default(), bytes)
    }

    #[test]
    fn answers_are_counted_and_never_typed_wherever_they_are_cut() {
        let input = b"\x1b\x1b[0nj\x1b[0n\x1b[0n\x1b[A\x1b[0n\xc3\xa4\x1b[0n\x1b[200~a\x1b[0nb\x1b[201~\x1b[0n\x1b\x1b[0n";
        let whole = "esc ! j ! ! up ! ä ! ! \"ab\" ! esc !";
        assert_eq!(alone(input), whole);
        for cut in 1..input.len() {
            let mut decoder = Decoder::default();
            let parts = [heard(&mut decoder, &input[..cut]), heard(&mut decoder, &input[cut..])];
            assert_eq!(parts.join(" ").trim(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn an_escape_is_the_key_when_nothing_follows() {
        let mut decoder = Decoder::default();
        for (bytes, key) in [("\x1b", "esc"), ("\x1b[", "A-["), ("\x1bO", "A-O"), ("\x1bP", "A-P")]
        {
            assert_eq!(heard(&mut decoder, bytes.as_bytes()), "");
            assert!(decoder.undecided());
            let keys = decoder.silence();
            let [Heard::Key(event)] = keys.as_slice() else { panic!("{key}: {keys:?}") };
            assert_eq!(crate::tui::key::Key::from_event(event).unwrap().to_string(), key);
            assert!(!decoder.undecided() && decoder.silence().is_empty());
        }
        // Also where more keys came in the same read: nothing that is answered begins so.
        assert_eq!(alone(b"\x1bP..\x1b_x\x1bPP>"), "A-P . . A-_ x A-P P >");
        assert_eq!(alone(b"\x1bO\x1b[0nj"), "A-O ! j");
        // A count behind such a key is no colour of the background.
        assert_eq!(alone(b"\x1b]1j\x1b]11 \x1b]1\x1b[A"), "A-] 1 j A-] 1 1 space A-] 1 up");
        assert_eq!(heard(&mut decoder, b"\x1b]1"), "");
        assert!(decoder.undecided() && decoder.silence().len() == 2);
        // An answer that is under way stays one, however long its rest takes.
        assert_eq!(heard(&mut decoder, b"\x1b[0"), "");
        assert!(decoder.silence().is_empty());
        assert_eq!(heard(&mut decoder, b"n"), "!");
    }

    #[test]
    fn keys_are_those_of_xterm_and_the_console() {
        assert_eq!(
            alone(b"jG \r\t\x7f\x01\x1b[Z\x1bh\x1b\x12"),
            "j G space enter tab backspace C-a backtab A-h C-A-r"
        );
        assert_eq!(
            alone(b"\x1bOA\x1bOP\x1bO5P\x1b[[E\x1b[15~\x1b[17~\x1b[24~\x1b[3~\x1bOu"),
            "up f1 C-f1 f5 f5 f6 f12 delete"
        );
        assert_eq!(
            alone(b"\x1b[1;2A\x1b[1;3D\x1b[5;5~\x1b[97;5u\x1b[13u\x1b[1;5:3A"),
            "S-up A-left C-pageup C-a enter"
        );
        // The same keys as xterm tells them with modifyOtherKeys, and tmux with extended-keys.
        assert_eq!(
            alone(b"\x1b[27;5;99~\x1b[27;3;104~\x1b[27;2;65~\x1b[27;5;13~\x1b[27;3;246~"),
            "C-c A-h A C-enter A-ö"
        );
        assert_eq!(alone("ä\u{1b}ö€😀".as_bytes()), "ä A-ö € 😀");
    }

    #[test]
    fn a_mouse_that_another_program_left_on_types_nothing() {
        // Button and place as bytes, some of them letters and a space, and in the later ways as numbers.
        let input = b"\x1b[M x!j\x1b[M#\x1bqk\x1b[<0;12;5M\x1b[<0;12;5m\x1b[32;12;5Ml\x1b[I\x1b[O";
        assert_eq!(alone(input), "j k l");
        for cut in 1..input.len() {
            let mut decoder = Decoder::default();
            let parts = [heard(&mut decoder, &input[..cut]), heard(&mut decoder, &input[cut..])];
            assert_eq!(parts.join(" ").split_whitespace().collect::<Vec<_>>(), ["j", "k", "l"]);
        }
    }

    #[test]
    fn who_looks_here_again_was_elsewhere_before() {
        // tmux tells at once that somebody looks.
        assert_eq!(alone(b"\x1b[Ij\x1b[O\x1b[Ok\x1b[Il\x1b[I"), "j k back l");
    }

    #[test]
    fn late_answers_of_the_probe_and_nonsense_type_nothing() {
        let late = b"\x1b]11;rgb:ffff/0/0\x1b\\\x1bP>|XTerm(379)\x1b\\\x1b_Gi=31;OK\x1b\\\x1b[?62;4;22c\x1b[6;16;8t\x1b[?2026;2$y\x1b[12;40R";
        assert_eq!(alone(late), "8x16");
        assert_eq!(alone(b"\x1b[6;0;8t\x1b[6;16t\x1b[8;24;80t\x1b[6;99999;8tj"), "j");
        assert_eq!(alone(b"\x1b[4;600;800tj"), "800x600 in all j");
        let mut state = 1u32;
        let mut decoder = Decoder::default();
        for _ in 0..100_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            decoder.take(&[b"\x1b[OP_;:0192~AuRn\\\xc3\xa4\xff"[(state >> 24) as usize % 20]]);
            assert!(decoder.text.len() <= MAX_PASTE + PASTE_END.len());
        }
    }
}
