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
//! crossterm reads all input and drops `CSI 0 n` without telling; the input thread counts the
//! bytes that wait before crossterm reads them, and bytes that became no event are the answer.
//! A miscount is harmless: an answer seen too early lets one frame more go, an answer missed
//! costs a short time-out. For that standard input becomes a description of its own that does
//! not block: crossterm would otherwise wait for the next key after an answer. `cursor::position()` is no way out: it writes for itself, holds back
//! keys, and on a dead terminal it spins for ever.
//!
//! # Hang-up
//! crossterm 0.29 spins when the terminal is gone. The input thread therefore polls the
//! terminal itself and calls crossterm only when there is input and no hang-up, for at most a
//! millisecond; on `POLLHUP` it says [`TerminalEvent::HungUp`] and ends. Writes happen on a
//! thread of their own, so that a stuck terminal never stops the loop.

mod flow;
mod frame;
mod input;
mod probe;
mod screen;
mod tty;

pub use input::{TerminalEvent, spawn_input};
pub use probe::{Capabilities, probe};
pub use screen::Screen;

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
        "the terminal is gone (hang-up); everything acknowledged is in the journal, start again to go on"
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
