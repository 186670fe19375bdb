//! Keys and signals, each on a thread of its own, delivered to the inbox of the loop.

use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use crossterm::event::KeyEvent;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::Signals;

use super::TerminalError;
use super::decode::{Decoder, Heard};
use super::screen::{Screen, Shared};
use super::tty::{self, InputTty, Waited};

/// An escape after which so long nothing comes is the key and not the start of an answer.
const LONE_ESCAPE: Duration = Duration::from_millis(50);
/// How long what comes after this screen may take to end.
const GRACE: Duration = Duration::from_secs(2);
/// How often overdue answers are given up on.
const TICK: Duration = Duration::from_millis(100);

/// What happened at the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TerminalEvent {
    /// A key went down or repeats.
    Key(KeyEvent),
    /// Text was pasted; it is no keys and comes from anywhere: show it only through
    /// [`crate::domain::shown`].
    Paste(String),
    /// The terminal has another size (or font: ask [`Screen::grid`]), or its pictures may be gone.
    Resize {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// The terminal has taken what was under way: draw if anything changed meanwhile.
    Ready,
    /// Someone asks to suspend (`kill -TSTP`); Ctrl-Z comes as a key.
    Suspend,
    /// The process was stopped and goes on, or the terminal told that its font is another: call [`Screen::reenter`] and
    /// [`Screen::resized`], and draw everything.
    Continued,
    /// Someone asks to end (SIGTERM, SIGINT, SIGQUIT). A second request ends the process.
    Terminate,
    /// The terminal is gone. Said once; nothing can be drawn any more.
    HungUp,
}

/// Starts the threads that deliver keys and signals of the screen's terminal to `inbox`; once
/// per screen. They end when the inbox is closed or the terminal is gone.
///
/// # Errors
/// The system refuses a thread or a signal handler, or there is no terminal to read from.
pub fn spawn_input<M>(screen: &mut Screen, inbox: Sender<M>) -> Result<(), TerminalError>
where
    M: From<TerminalEvent> + Send + 'static,
{
    let input = InputTty::open().map_err(|_| TerminalError::NotATerminal("standard input"))?;
    let signals = Signals::new([SIGHUP, SIGTERM, SIGINT, SIGQUIT, SIGTSTP, SIGWINCH, SIGCONT])
        .map_err(TerminalError::io("watch signals"))?;
    let wake = screen.take_wake();
    let outbox = Outbox { inbox, shared: Arc::clone(&screen.shared) };
    let for_signals = Outbox { inbox: outbox.inbox.clone(), shared: Arc::clone(&screen.shared) };
    let named = |name: &str| thread::Builder::new().name(name.to_owned());
    named("terminal-signals")
        .spawn(move || watch_signals(signals, &for_signals))
        .map_err(TerminalError::io("start a thread"))?;
    named("terminal-input")
        .spawn(move || watch_input(&input, wake, &outbox))
        .map_err(TerminalError::io("start a thread"))?;
    Ok(())
}

struct Outbox<M> {
    inbox: Sender<M>,
    shared: Arc<Shared>,
}

impl<M: From<TerminalEvent>> Outbox<M> {
    /// False when nobody listens any more.
    fn send(&self, event: TerminalEvent) -> bool {
        self.inbox.send(event.into()).is_ok()
    }

    /// Says it once, whoever notices first.
    fn hung_up(&self) {
        if !self.shared.gone.swap(true, Ordering::SeqCst) {
            self.send(TerminalEvent::HungUp);
        }
    }
}

fn watch_signals<M: From<TerminalEvent>>(mut signals: Signals, outbox: &Outbox<M>) {
    let mut asked = false;
    for signal in signals.forever() {
        match signal {
            SIGWINCH => {
                if let Some([columns, rows, ..]) = tty::size() {
                    outbox.send(TerminalEvent::Resize { columns, rows });
                }
            }
            SIGTSTP => {
                outbox.send(TerminalEvent::Suspend);
            }
            SIGCONT => {
                if !outbox.shared.stopping.swap(false, Ordering::SeqCst) {
                    outbox.send(TerminalEvent::Continued);
                }
            }
            SIGHUP if !outbox.shared.is_gone() => outbox.hung_up(),
            SIGHUP => {}
            _ if !asked && outbox.send(TerminalEvent::Terminate) => asked = true,
            // Asked twice, or nobody listens any more: the loop had its chance, and every
            // acknowledged edit is in the journal.
            _ => {
                if !asked && outbox.shared.is_gone() {
                    // This screen is over, and perhaps there is another one, which hears it too.
                    thread::sleep(GRACE);
                }
                outbox.shared.restorer.restore();
                std::process::exit(128 + signal);
            }
        }
    }
}

fn watch_input<M: From<TerminalEvent>>(
    input: &InputTty,
    mut wake: Option<UnixStream>,
    outbox: &Outbox<M>,
) {
    let mut decoder = Decoder::default();
    loop {
        let patience = if decoder.undecided() { LONE_ESCAPE } else { TICK };
        let waited = tty::wait(input.fd(), wake.as_ref().map(AsRawFd::as_raw_fd), patience);
        if outbox.shared.is_gone() {
            return;
        }
        let now_ready = match waited {
            Waited::HungUp => {
                outbox.hung_up();
                return;
            }
            Waited::Input => match read_input(input, &mut decoder, outbox) {
                Some(ready) => ready,
                None => return,
            },
            Waited::Woken => {
                // Without an answering terminal the writer says when a frame was taken.
                if !wake.as_mut().is_some_and(drained) {
                    wake = None;
                }
                true
            }
            Waited::TimedOut => {
                if deliver(decoder.silence(), outbox).is_none() {
                    return;
                }
                false
            }
        };
        // Whatever came: keys that repeat must not keep a lost answer waited for.
        let given_up = outbox.shared.flow().expire(Instant::now());
        if (now_ready || given_up) && !outbox.send(TerminalEvent::Ready) {
            return;
        }
    }
}

/// Empties the wake pipe; false when its other end is closed.
fn drained(wake: &mut UnixStream) -> bool {
    let mut bytes = [0; 64];
    loop {
        match wake.read(&mut bytes) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(_) => return true,
        }
    }
}

/// Reads what is there and delivers keys and pastes; true when an answer ended a wait for
/// [`Screen::ready`], `None` when nobody listens or the terminal is gone.
fn read_input<M: From<TerminalEvent>>(
    input: &InputTty,
    decoder: &mut Decoder,
    outbox: &Outbox<M>,
) -> Option<bool> {
    let mut bytes = [0; 4096];
    let count = match tty::read(input.fd(), &mut bytes) {
        Ok(0) => {
            outbox.hung_up();
            return None;
        }
        Ok(count) => count,
        Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => 0,
        Err(_) => {
            outbox.hung_up();
            return None;
        }
    };
    deliver(decoder.take(&bytes[..count]), outbox)
}

fn deliver<M: From<TerminalEvent>>(
    heard: impl IntoIterator<Item = Heard>,
    outbox: &Outbox<M>,
) -> Option<bool> {
    let mut answers = 0;
    for each in heard {
        let cell = match each {
            Heard::Cell(cell_px) => Some(cell_px),
            Heard::Area(area_px) if outbox.shared.cell_from_area => {
                tty::size().and_then(|cells| tty::cell_in(area_px, cells))
            }
            _ => None,
        };
        let listening = match each {
            Heard::Key(key) => outbox.send(TerminalEvent::Key(key)),
            Heard::Paste(text) => outbox.send(TerminalEvent::Paste(text)),
            Heard::Answer => {
                answers += 1;
                true
            }
            // A picture in cells of the old size may have moved what was on the screen.
            Heard::Cell(_) | Heard::Area(_)
                if cell.is_some_and(|cell_px| outbox.shared.keep_cell(cell_px)) =>
            {
                outbox.send(TerminalEvent::Continued)
            }
            Heard::Cell(_) | Heard::Area(_) => true,
            // tmux knows nothing of pictures that go through it, and has wiped them: as after a change of the size.
            Heard::Back => match tty::size() {
                Some([columns, rows, ..]) => outbox.send(TerminalEvent::Resize { columns, rows }),
                None => true,
            },
        };
        if !listening {
            return None;
        }
    }
    Some(outbox.shared.flow().acknowledged(answers, Instant::now()))
}
