//! What the terminal can do: asked once, before anything else reads its input.

use std::time::{Duration, Instant};

use super::TerminalError;
use super::background;
use super::tmux::Pane;
use super::tty::{self, InputTty, Waited};
use crate::config::Passthrough;
use crate::tui::graphics::{Grid, Limits, Protocol};

/// Kitty's images: terminals that know none skip such strings, but tmux takes them for the title of the pane.
const KITTY: &[u8] = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\";
/// Name and version, device attributes, cell size, text area in px, registers, largest sixel, synchronised output, colour
/// of the background, and last the status report whose answer ends the probe.
const QUESTIONS: &[u8] =
    b"\x1b[>q\x1b[c\x1b[16t\x1b[14t\x1b[?1;1;0S\x1b[?2;4;0S\x1b[?2026$p\x1b]11;?\x1b\\\x1b[5n";
/// Longest silence and longest probe.
const SILENCE: Duration = Duration::from_millis(1000);
const WHOLE: Duration = Duration::from_millis(3000);
/// Bounds of the parser: bytes of one answer, bytes of all.
const MAX_ANSWER: usize = 64;
const MAX_INPUT: usize = 4096;
/// Terminals that show iTerm2's inline images where text would stand, by the name they answer.
const ITERM: [&[u8]; 2] = [b"iTerm2", b"WezTerm"];
/// Text does not hide its sixels and inline images, and it blackens what lies below a sixel in its last band.
const KONSOLE: &[u8] = b"Konsole";
/// Colour registers with which a picture is worth drawing: the marks take 15.
const FEWEST_REGISTERS: usize = 32;
/// Cell size where nobody tells (Windows Terminal always has it).
const GUESSED_CELL_PX: (u16, u16) = (10, 20);

/// What the terminal can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Shows sixel pictures (attribute 4); through tmux where `passthrough` is set.
    pub sixel: bool,
    /// Shows kitty's images.
    pub kitty: bool,
    /// Shows iTerm2's inline images.
    pub iterm: bool,
    /// Pictures stay under what is written over them, unless they are taken away, as kitty's can be.
    pub sticky: bool,
    /// Widest sixel, px.
    pub max_width_px: usize,
    /// Highest sixel, px.
    pub max_height_px: usize,
    /// Colour registers.
    pub registers: usize,
    /// Width and height of a text cell, px, as answered.
    pub cell_px: Option<(u16, u16)>,
    /// It answered the size of its text area alone, from which that of a cell follows.
    pub cell_from_area: bool,
    /// Knows synchronised output (`CSI ? 2026 h`).
    pub sync_output: bool,
    /// The background of its text is light.
    pub light: bool,
    /// Answers `CSI 5 n`, so that frames can be paced by it.
    pub fence: bool,
    /// How long the answers took, with nothing else on the line; `None` where `fence` is not set.
    pub round_trip: Option<Duration>,
    /// Runs inside tmux.
    pub tmux: bool,
    /// Pictures are wrapped so that tmux hands them on: column and row of the pane's top left corner on the terminal
    /// behind it, from 0.
    pub passthrough: Option<(u16, u16)>,
    /// tmux keeps pictures to itself, since its option `allow-passthrough` is off.
    pub held_back: bool,
}

impl Capabilities {
    /// What is assumed of a terminal that answers nothing.
    #[must_use]
    pub fn unknown(tmux: bool) -> Self {
        let limits = Limits::default();
        Self {
            sixel: false,
            kitty: false,
            iterm: false,
            sticky: false,
            max_width_px: limits.max_width_px,
            max_height_px: limits.max_height_px,
            registers: 256,
            cell_px: None,
            cell_from_area: false,
            sync_output: false,
            light: false,
            fence: false,
            round_trip: None,
            tmux,
            passthrough: None,
            held_back: false,
        }
    }

    /// Limits of one sixel.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits { max_width_px: self.max_width_px, max_height_px: self.max_height_px }
    }

    /// The best way to draw pictures here; `None` where there is none but half blocks. Sixels in so few colours that the
    /// marks leave no grays are none.
    #[must_use]
    pub fn best(&self) -> Option<Protocol> {
        match (self.iterm, self.sixel && self.registers >= FEWEST_REGISTERS, self.kitty) {
            // Such terminals know sixels too, but these take three times the bytes.
            (true, ..) => Some(Protocol::Iterm),
            (_, true, false) => Some(Protocol::Sixel),
            (_, true, true) if !self.sticky => Some(Protocol::Sixel),
            (.., kitty) => kitty.then_some(Protocol::Kitty),
        }
    }

    /// The cells of the terminal as it is now; font and size can change at any time, so ask
    /// again after every resize. 80 x 24 cells of 10 x 20 px where nothing is known.
    #[must_use]
    pub fn grid(&self) -> Grid {
        let size = tty::size().unwrap_or([80, 24, 0, 0]);
        let [columns, rows, width, height] = size;
        let cell_px = tty::cell_in((width, height), size).or(self.cell_px);
        Grid { columns, rows, cell_px: cell_px.unwrap_or(GUESSED_CELL_PX) }
    }

    /// Asks tmux anew where the pane lies; without pictures through it nothing happens.
    pub(super) fn locate(&mut self) {
        if let (Some(corner), Some(pane)) =
            (&mut self.passthrough, self.tmux.then(Pane::here).flatten())
        {
            *corner = pane.corner;
        }
    }

    /// Takes in what the terminal answered.
    fn learn(&mut self, answer: &Answer, cells: Option<[u16; 4]>) {
        match *answer {
            Answer::Attributes(ref all) => self.sixel = all.contains(&4),
            Answer::Kitty => self.kitty = true,
            // tmux would keep such images for itself.
            Answer::Iterm => self.iterm = !self.tmux,
            Answer::Sticky => self.sticky = true,
            Answer::CellPx(width, height) => {
                (self.cell_px, self.cell_from_area) = (Some((width, height)), false);
            }
            Answer::TextAreaPx(width, height) => {
                if self.cell_px.is_none() {
                    self.cell_px = cells.and_then(|cells| tty::cell_in((width, height), cells));
                    self.cell_from_area = self.cell_px.is_some();
                }
            }
            Answer::Registers(count) => self.registers = (count as usize).clamp(2, 256),
            Answer::LargestSixel(width, height) => {
                self.max_width_px = (width as usize).max(64);
                self.max_height_px = (height as usize).max(64);
            }
            Answer::SyncOutput(known) => self.sync_output = known,
            Answer::Light(light) => self.light = light,
            Answer::Status => self.fence = true,
        }
    }
}

/// How pictures are to go through tmux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InTmux {
    /// What the settings say.
    pub passthrough: Passthrough,
    /// They name a way to draw pixels, so the person knows that the terminal can.
    pub named: bool,
}

/// Asks the terminal; `tmux` is set where `$TMUX` is. Takes the time of one round trip, one second when the terminal does
/// not answer, three at most. Keys pressed meanwhile are dropped.
///
/// # Errors
/// Input or output is not a terminal, or it went away.
pub fn probe(tmux: Option<InTmux>) -> Result<Capabilities, TerminalError> {
    if !tty::is_terminal(libc::STDOUT_FILENO) {
        return Err(TerminalError::NotATerminal("standard output"));
    }
    let input = InputTty::open().map_err(|_| TerminalError::NotATerminal("standard input"))?;
    let raw = crossterm::terminal::is_raw_mode_enabled().unwrap_or(false);
    if !raw {
        crossterm::terminal::enable_raw_mode().map_err(TerminalError::io("enter raw mode"))?;
    }
    let found = match tmux {
        None => ask(&input, &[KITTY, QUESTIONS].concat(), false),
        Some(how) => ask(&input, QUESTIONS, true).map(|found| through_tmux(found, how, Pane::here)),
    };
    if !raw {
        crossterm::terminal::disable_raw_mode().map_err(TerminalError::io("leave raw mode"))?;
    }
    found
}

/// What tmux answered, and whether pictures go through it: by what the person says, or by the name of the terminal.
fn through_tmux(
    found: Capabilities,
    how: InTmux,
    pane: impl FnOnce() -> Option<Pane>,
) -> Capabilities {
    let auto = how.passthrough == Passthrough::Auto;
    if how.passthrough == Passthrough::Off || (auto && found.sixel) {
        return found;
    }
    let pane = pane();
    if auto && !pane.as_ref().is_some_and(|pane| pane.open) {
        return Capabilities { held_back: pane.is_some(), ..found };
    }
    let corner = pane.as_ref().map_or((0, 0), |pane| pane.corner);
    let (iterm, sixel) = pane.map_or((false, false), |pane| (pane.iterm, pane.sixel));
    let sixel = sixel || !auto || how.named;
    if iterm || sixel {
        Capabilities { sixel, iterm, passthrough: Some(corner), ..found }
    } else {
        found
    }
}

fn ask(input: &InputTty, questions: &[u8], tmux: bool) -> Result<Capabilities, TerminalError> {
    let start = Instant::now();
    tty::write_all(questions, Some(start + SILENCE))
        .map_err(TerminalError::io("take a question"))?;
    let mut found = Capabilities::unknown(tmux);
    let (mut parser, mut taken, mut last) = (AnswerParser::default(), 0, start);
    let cells = tty::size();
    while !found.fence && taken < MAX_INPUT {
        let now = Instant::now();
        let until = (last + SILENCE).min(start + WHOLE);
        if now >= until {
            break;
        }
        match tty::wait(input.fd(), None, until - now) {
            Waited::HungUp => return Err(TerminalError::HungUp),
            Waited::Input => {}
            Waited::Woken | Waited::TimedOut => continue,
        }
        let mut bytes = [0; 256];
        let count = tty::read(input.fd(), &mut bytes).map_err(TerminalError::io("answer"))?;
        if count == 0 {
            return Err(TerminalError::HungUp);
        }
        (taken, last) = (taken + count, Instant::now());
        for answer in bytes[..count].iter().filter_map(|&byte| parser.push(byte)) {
            found.learn(&answer, cells);
        }
    }
    found.round_trip = found.fence.then(|| start.elapsed());
    Ok(found)
}

/// An answer to one of the questions.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Attributes(Vec<u32>),
    Kitty,
    Iterm,
    Sticky,
    CellPx(u16, u16),
    TextAreaPx(u16, u16),
    Registers(u32),
    LargestSixel(u32, u32),
    SyncOutput(bool),
    Light(bool),
    Status,
}

/// Reads control sequences out of whatever comes; everything else (keys, strings) is skipped.
#[derive(Debug, Default)]
struct AnswerParser {
    state: State,
    text: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    Csi,
    /// Inside DCS, OSC and their like, until `ESC \` or BEL.
    Text,
    TextEscape,
}

impl AnswerParser {
    fn push(&mut self, byte: u8) -> Option<Answer> {
        let escape = byte == 0x1b;
        let (next, answer) = match self.state {
            State::Ground => (if escape { State::Escape } else { State::Ground }, None),
            State::Escape => match byte {
                b'[' => {
                    self.text.clear();
                    (State::Csi, None)
                }
                b'P' | b']' | b'_' | b'^' | b'X' => {
                    self.text.clear();
                    self.text.push(byte);
                    (State::Text, None)
                }
                0x1b => (State::Escape, None),
                _ => (State::Ground, None),
            },
            State::Csi => match byte {
                0x20..=0x3f if self.text.len() < MAX_ANSWER => {
                    self.text.push(byte);
                    (State::Csi, None)
                }
                0x40..=0x7e => (State::Ground, understood(&self.text, byte)),
                0x1b => (State::Escape, None),
                _ => (State::Ground, None),
            },
            State::Text => match byte {
                0x07 if background::is_said(&self.text) => (State::Ground, told(&self.text)),
                0x07 | 0x18 | 0x1a => (State::Ground, None),
                _ => {
                    if self.text.len() < MAX_ANSWER {
                        self.text.push(byte);
                    }
                    (if escape { State::TextEscape } else { State::Text }, None)
                }
            },
            State::TextEscape => match byte {
                b'\\' => (State::Ground, told(&self.text)),
                b'[' => {
                    self.text.clear();
                    (State::Csi, None)
                }
                _ => (State::Ground, None),
            },
        };
        self.state = next;
        answer
    }
}

/// The meaning of a string; it begins with the byte after the escape.
fn told(text: &[u8]) -> Option<Answer> {
    if text.starts_with(b"_Gi=31;OK") {
        return Some(Answer::Kitty);
    }
    if background::is_said(text) {
        return background::is_light(text).map(Answer::Light);
    }
    let name = text.strip_prefix(b"P>|")?;
    if name.starts_with(KONSOLE) {
        return Some(Answer::Sticky);
    }
    ITERM.iter().any(|known| name.starts_with(known)).then_some(Answer::Iterm)
}

/// The meaning of `CSI text last`.
fn understood(text: &[u8], last: u8) -> Option<Answer> {
    let text = std::str::from_utf8(text).ok()?;
    let (private, text) = match text.strip_prefix('?') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (text, dollar) = match text.strip_suffix('$') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let numbers: Vec<u32> = text.split(';').map(|n| n.parse().ok()).collect::<Option<_>>()?;
    let px = |n: u32| u16::try_from(n).ok().filter(|&n| n > 0);
    match (private, dollar, last, numbers.as_slice()) {
        (true, false, b'c', all) => Some(Answer::Attributes(all.to_vec())),
        (false, false, b't', &[6, height, width]) => Some(Answer::CellPx(px(width)?, px(height)?)),
        (false, false, b't', &[4, height, width]) => {
            Some(Answer::TextAreaPx(px(width)?, px(height)?))
        }
        (true, false, b'S', &[1, 0, count]) => Some(Answer::Registers(count)),
        (true, false, b'S', &[2, 0, width, height]) => Some(Answer::LargestSixel(width, height)),
        (true, true, b'y', &[2026, state]) => Some(Answer::SyncOutput(matches!(state, 1..=3))),
        (false, false, b'n', &[0]) => Some(Answer::Status),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(input: &[u8]) -> Capabilities {
        let mut found = Capabilities::unknown(false);
        let mut parser = AnswerParser::default();
        for answer in input.iter().filter_map(|&byte| parser.push(byte)) {
            found.learn(&answer, Some([100, 50, 0, 0]));
        }
        found
    }

    #[test]
    fn xterm_foot_and_mlterm_are_understood() {
        let xterm = learned(
            b"\x1b[?63;1;2;4;6;9;15;16;22;28c\x1b[6;17;8t\x1b[4;850;800t\x1b[?1;0;256S\x1b[?2;0;1000;1000S\x1b[?2026;0$y\x1b[0n",
        );
        assert!(xterm.sixel && xterm.fence && !xterm.sync_output && !xterm.light);
        for end in ["\x1b\\", "\x07"] {
            let white = format!("\x1b]11;rgb:ffff/ffff/ffff{end}\x1b[?62;4c\x1b[0n");
            let white = learned(white.as_bytes());
            assert!(white.light && white.sixel && white.fence, "{end:?}");
        }
        assert_eq!(
            (xterm.cell_px, xterm.max_width_px, xterm.registers),
            (Some((8, 17)), 1000, 256)
        );
        let foot =
            learned(b"\x1b[?62;4;22c\x1b[?1;0;1024S\x1b[?2;0;10000;10000S\x1b[?2026;2$y\x1b[0n");
        assert!(foot.sync_output && foot.registers == 256 && foot.max_height_px == 10_000);
        let mlterm = learned(b"\x1b[?63;1;2;3;4;7;29c\x1b[4;800;800t\x1b[?1;3;0S\x1b[0n");
        assert!(mlterm.sixel && mlterm.registers == 256 && mlterm.cell_px == Some((8, 16)));
        assert!(mlterm.cell_from_area && !xterm.cell_from_area && !foot.cell_from_area);
    }

    #[test]
    fn kitty_says_ok_and_others_something_else_or_nothing() {
        assert!(learned(b"\x1b_Gi=31;OK\x1b\\\x1b[?62;c\x1b[0n").kitty);
        let refused =
            learned(b"\x1b_Gi=31;ENOTSUPPORTED\x1b\\\x1bP_Gi=31;OK\x1b\\\x1b[?62;22c\x1b[0n");
        assert!(!refused.kitty && refused.fence);
    }

    #[test]
    fn pictures_go_through_tmux_where_it_lets_them_and_somebody_knows_the_terminal() {
        let pane = |open, sixel| Some(Pane { corner: (81, 1), open, sixel, iterm: false });
        let through = |passthrough, named, pane: Option<Pane>| {
            let how = InTmux { passthrough, named };
            let found = through_tmux(Capabilities::unknown(true), how, || pane);
            assert!(found.passthrough.is_none() || found.sixel);
            (found.passthrough, found.held_back)
        };
        use Passthrough::{Auto, Off, On};
        assert_eq!(through(Auto, false, pane(true, true)), (Some((81, 1)), false));
        assert_eq!(through(Auto, true, pane(true, false)), (Some((81, 1)), false));
        assert_eq!(through(Auto, false, pane(true, false)), (None, false));
        assert_eq!(through(Auto, true, pane(false, true)), (None, true));
        assert_eq!(through(On, false, None), (Some((0, 0)), false));
        assert_eq!(through(Off, true, pane(true, true)), (None, false));
        let native = Capabilities { sixel: true, ..Capabilities::unknown(true) };
        let how = InTmux { passthrough: Auto, named: true };
        assert_eq!(through_tmux(native.clone(), how, || pane(true, true)), native);
    }

    #[test]
    fn inline_images_are_for_terminals_that_say_a_known_name() {
        let named = |name: &str| {
            learned(format!("\x1bP>|{name}\x1b\\\x1b[?62;4;22c\x1b[0n").as_bytes()).iterm
        };
        assert!(named("iTerm2 3.5.11") && named("WezTerm 20240203-110809-5046fc22"));
        assert!(!named("XTerm(379)") && !named("foot(1.13.1)") && !named("tmux 3.4"));
        assert!(!learned(b"\x1b]1337;iTerm2\x1b\\\x1b_iTerm2\x1b\\\x1b[0n").iterm);
    }

    #[test]
    fn pictures_that_text_does_not_hide_are_kittys() {
        let best = |name: &str, more: &str| {
            learned(format!("\x1bP>|{name}\x1b\\\x1b[?62;4c{more}\x1b[0n").as_bytes()).best()
        };
        let kitty = "\x1b_Gi=31;OK\x1b\\";
        assert_eq!(best("Konsole 22.12.3", kitty), Some(Protocol::Kitty));
        assert_eq!(best("Konsole 22.12.3", ""), Some(Protocol::Sixel));
        assert_eq!(best("foot(1.13.1)", kitty), Some(Protocol::Sixel));
        assert_eq!(best("iTerm2 3.5.11", kitty), Some(Protocol::Iterm));
        assert_eq!(Capabilities::unknown(false).best(), None);
        // So few colours that the marks would leave two grays.
        assert_eq!(best("XTerm(330)", "\x1b[?1;0;16S"), None);
        assert_eq!(best("XTerm(330)", "\x1b[?1;0;64S"), Some(Protocol::Sixel));
    }

    #[test]
    fn keys_strings_and_nonsense_are_skipped() {
        let noisy = learned(
            b"jk\x1bOA\x1bP>|XTerm(379) [?4c\x1b\\\x1b]11;rgb:0/0/0\x07\x1b[1;5A\x1b[?64;22c\xc3\xa9\x1b[0n",
        );
        assert!(!noisy.sixel && noisy.fence);
        let hostile = [
            b"\x1b[?".to_vec(),
            vec![b'4'; 100_000],
            b"c\x1b[6;0;0t\x1b[6;99999;8t\x1b[?2;0;S".to_vec(),
        ];
        assert_eq!(learned(&hostile.concat()), Capabilities::unknown(false));
    }

    #[test]
    fn any_bytes_are_survived() {
        let mut state = 1u32;
        let bytes: Vec<u8> = (0..200_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                b"\x1b[]P?;$0123456789cnStyx\\"[(state >> 24) as usize % 24]
            })
            .collect();
        let found = learned(&bytes);
        assert!(found.registers <= 256 && found.max_width_px >= 64);
    }
}
