//! tmux in between: what it lets through, where its pane lies on the real terminal, and how long it holds back Esc.
//!
//! A tmux without sixel (before 3.4, or built without it) drops pictures, but hands on what is wrapped in
//! `ESC P tmux ;` where its option `allow-passthrough` is on. It does not move the real cursor for
//! that, so pictures are placed in cells of the real terminal: the pane's corner has to be known. Nothing can be asked of the
//! terminal behind it: tmux 3.3 swallows the answers, and an older one types them into whatever pane is active. So its name
//! tells what it can, and the status report that paces frames is answered by tmux itself.

use std::process::{Command, Stdio};

/// The pane's corner, lines of the status bar and where it is, the option, and the terminal's names.
const WANTED: &str = "#{pane_left}|#{pane_top}|#{status}|#{status-position}|#{allow-passthrough}|\
                      #{client_termname}|#{client_termtype}";
/// Names of terminals that show sixels, and of those that show iTerm2's inline images.
const SIXEL: [&str; 4] = ["foot", "mlterm", "contour", "yaft"];
const ITERM: [&str; 2] = ["iterm2", "wezterm"];

/// Longest wait of tmux for what may follow an Esc that a person does not feel, ms.
const ESCAPE_FELT_MS: u32 = 50;

/// What tmux says of the pane that the program runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pane {
    /// Column and row of its top left corner on the real terminal, from 0.
    pub(super) corner: (u16, u16),
    /// Wrapped sequences are handed on.
    pub(super) open: bool,
    /// The real terminal is known to show sixels.
    pub(super) sixel: bool,
    /// It is known to show iTerm2's inline images.
    pub(super) iterm: bool,
}

impl Pane {
    /// Asks tmux by its own program; `None` where there is none to ask.
    pub(super) fn here() -> Option<Self> {
        let mut command = Command::new("tmux");
        command.args(["display-message", "-p"]);
        if let Some(pane) = std::env::var_os("TMUX_PANE") {
            command.arg("-t").arg(pane);
        }
        command.arg(WANTED);
        Self::read(&answer(command)?)
    }

    fn read(text: &str) -> Option<Self> {
        let mut words = text.trim_end().splitn(6, '|');
        let (left, top) = (words.next()?.parse().ok()?, words.next()?.parse::<u16>().ok()?);
        let lines = match words.next()? {
            "off" => 0,
            "on" => 1,
            lines => lines.parse().ok()?,
        };
        let above = if words.next()? == "top" { lines } else { 0 };
        // 3.3 tells a number; before it there was no such option and everything was handed on.
        let open = !matches!(words.next()?, "off" | "0");
        let names = words.next()?.to_lowercase();
        let named = |known: &[&str]| {
            known.iter().any(|known| names.split('|').any(|name| name.starts_with(known)))
        };
        let corner = (left, top.saturating_add(above));
        Some(Self { corner, open, sixel: named(&SIXEL), iterm: named(&ITERM) })
    }
}

/// What tmux prints; `None` where there is none to ask, or it refuses.
fn answer(mut command: Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok())?
}

/// Where the tmux around the program holds back Esc for so long that a person feels it: a sentence with the way out.
#[must_use]
pub fn slow_escape() -> Option<String> {
    let mut command = Command::new("tmux");
    command.args(["show-options", "-gsv", "escape-time"]);
    slow(&answer(command)?)
}

/// The same, of what tmux answers when it is asked for its `escape-time`.
fn slow(answer: &str) -> Option<String> {
    let ms: u32 = answer.trim().parse().ok()?;
    (ms > ESCAPE_FELT_MS).then(|| {
        format!(
            "Esc feels slow, tmux waits {ms} ms for what may follow it (escape-time); put the line `set -sg escape-time \
             10` into ~/.tmux.conf and run `tmux source-file ~/.tmux.conf`"
        )
    })
}

/// `ESC P tmux ;` with every escape doubled: tmux hands the inside on.
pub(super) fn wrap(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\x1bPtmux;");
    for &byte in bytes {
        if byte == 0x1b {
            out.push(byte);
        }
        out.push(byte);
    }
    out.extend_from_slice(b"\x1b\\");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_time_that_is_felt_is_told_with_the_line_that_mends_it() {
        assert!(["50\n", "0\n", "unknown option", ""].iter().all(|text| slow(text).is_none()));
        let told = slow("500\n").expect("half a second is felt");
        assert!(
            told.contains("waits 500 ms") && told.contains("`set -sg escape-time 10`"),
            "{told}"
        );
        assert!(slow("51").is_some());
    }

    #[test]
    fn the_corner_counts_a_status_bar_above_and_names_tell_what_is_shown() {
        let read = |text| Pane::read(text).map(|pane| (pane.corner, pane.open));
        assert_eq!(read("81|0|on|bottom|0|xterm-256color|XTerm(379)\n"), Some(((81, 0), false)));
        assert_eq!(read("0|25|2|top|1|foot|\n"), Some(((0, 27), true)));
        assert_eq!(read("0|3|off|top||screen|\n"), Some(((0, 3), true)));
        assert_eq!(read("no server running\n"), None);
        assert_eq!(read(""), None);
        let shows = |names: &str| {
            let pane = Pane::read(&format!("0|0|on|bottom|1|{names}\n")).expect("a pane");
            (pane.sixel, pane.iterm)
        };
        assert_eq!(shows("xterm-256color|foot(1.13.1)"), (true, false));
        assert_eq!(shows("xterm-256color|WezTerm 20240203"), (false, true));
        assert_eq!(shows("xterm-256color|XTerm(379)"), (false, false));
    }
}
