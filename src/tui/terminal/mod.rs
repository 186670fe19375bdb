//! The terminal: what it can do, the screen on it, keys and signals from it.
//!
//! [`probe`] asks before anything else reads, [`Screen`] owns the alternate screen and restores
//! it on every way out, [`spawn_input`] delivers [`TerminalEvent`]s.
//!
//! # Pacing
//! A picture is large; over SSH a megabyte of them can be under way before a write blocks. So
//! every frame ends with `CSI 5 n` and counts as unacknowledged until the terminal's `CSI 0 n`
//! is back. While more than a few kilobytes are unacknowledged, [`Screen::ready`] is false: the
//! loop keeps its model up to date, draws nothing, and draws once when
//! [`TerminalEvent::Ready`] arrives. Frames are skipped, never queued.
//!
//! # Input
//! The input thread reads and decodes for itself. crossterm's reader drops `CSI 0 n` without
//! telling, types an answer that comes right behind an Esc as keys, spins when the terminal is
//! gone, and its `cursor::position()` writes for itself and holds back keys. An answer is never a
//! key, wherever reads cut it; a lone escape waits a moment for what it may begin.
//!
//! # Hang-up
//! The input thread polls the terminal; on `POLLHUP` it says [`TerminalEvent::HungUp`] and ends.
//! Writes happen on a thread of their own, so that a stuck terminal never stops the loop.

mod background;
mod decode;
mod flow;
mod frame;
mod input;
mod probe;
mod screen;
mod tmux;
mod tty;

pub use input::{TerminalEvent, spawn_input};
pub use probe::{Capabilities, InTmux, probe};
pub use screen::Screen;
pub use tmux::slow_escape;
pub use tty::last_words;

/// What to do where tmux keeps pictures to itself.
pub const HELD_BACK: &str = "tmux keeps them to itself; `tmux set -g allow-passthrough on` lets them through, then start again";

/// What can fail at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum TerminalError {
    /// Input or output is redirected.
    #[error(
        "the workstation needs a terminal and {0} is not one; start it in a terminal, or use the batch commands"
    )]
    NotATerminal(&'static str),
    /// The terminal went away.
    #[error(
        "the terminal is gone (hang-up); every step that the screen showed is saved, start again to go on"
    )]
    HungUp,
    /// The operating system refused.
    #[error("the terminal refused to {what}: {source}; try another terminal or run `reset`")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl TerminalError {
    /// For `map_err`: names what was tried.
    fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}
