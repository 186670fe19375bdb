//! Keys and signals, each on a thread of its own, delivered to the inbox of the loop.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::Signals;

use super::TerminalError;
use super::screen::{Screen, Shared};
use super::tty::{self, InputTty, Waited};

/// How long crossterm may look for an event whose bytes are there; with less it does not look.
const LOOK: Duration = Duration::from_millis(1);
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
    /// The terminal has another size (or font: ask [`Screen::grid`]).
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
    /// The process was stopped and goes on: call [`Screen::reenter`] and draw everything.
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
    loop {
        let waited = tty::wait(input.fd(), wake.as_ref().map(AsRawFd::as_raw_fd), TICK);
        if outbox.shared.is_gone() {
            return;
        }
        let now_ready = match waited {
            Waited::HungUp => {
                outbox.hung_up();
                return;
            }
            Waited::Input => match read_events(input, outbox) {
                Some(silent) => outbox.shared.flow().silent_input(silent, Instant::now()),
                None => return,
            },
            Waited::Woken => {
                // Without an answering terminal the writer says when a frame was taken.
                if !wake.as_mut().is_some_and(drained) {
                    wake = None;
                }
                true
            }
            Waited::TimedOut => outbox.shared.flow().expire(Instant::now()),
        };
        if now_ready && !outbox.send(TerminalEvent::Ready) {
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

/// Delivers the events that wait; returns how many bytes of input became no event, or `None`
/// when nobody listens.
fn read_events<M: From<TerminalEvent>>(input: &InputTty, outbox: &Outbox<M>) -> Option<usize> {
    let waiting = tty::waiting_bytes(input.fd());
    let mut explained = 0;
    while crossterm::event::poll(LOOK).unwrap_or(false) {
        let Ok(event) = crossterm::event::read() else {
            break;
        };
        explained += longest_encoding(&event);
        let heard = match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                outbox.send(TerminalEvent::Key(key))
            }
            Event::Paste(text) => outbox.send(TerminalEvent::Paste(text)),
            // Sizes come by signal; mouse and focus are never asked for.
            _ => true,
        };
        if !heard {
            return None;
        }
    }
    Some(waiting.saturating_sub(explained))
}

/// Bytes that an event took at most: answers that come in one read with long keys may be
/// missed, but keys are never mistaken for answers.
fn longest_encoding(event: &Event) -> usize {
    match event {
        Event::Key(KeyEvent { code: KeyCode::Char(c), modifiers, .. }) => {
            c.len_utf8() + usize::from(modifiers.contains(KeyModifiers::ALT))
        }
        Event::Key(KeyEvent {
            code: KeyCode::Enter | KeyCode::Tab | KeyCode::Backspace,
            modifiers,
            ..
        }) if modifiers.is_empty() => 1,
        Event::Key(KeyEvent { code, modifiers, .. })
            if modifiers.is_empty()
                && matches!(code, KeyCode::Up | KeyCode::Down | KeyCode::Left | KeyCode::Right) =>
        {
            3
        }
        Event::Paste(text) => text.len() + 12,
        _ => 8,
    }
}
