//! The few system calls on the terminal that neither std nor crossterm have.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

/// Where input comes from: standard input if that is a terminal, else `/dev/tty`; the same
/// choice as crossterm's.
#[derive(Debug)]
pub(super) enum InputTty {
    Stdin,
    Device(File),
}

impl InputTty {
    pub(super) fn open() -> io::Result<Self> {
        if is_terminal(libc::STDIN_FILENO) {
            return Ok(Self::Stdin);
        }
        File::options().read(true).write(true).open("/dev/tty").map(Self::Device)
    }

    pub(super) fn fd(&self) -> RawFd {
        match self {
            Self::Stdin => libc::STDIN_FILENO,
            Self::Device(file) => file.as_raw_fd(),
        }
    }
}

/// Standard error turned away from the terminal while the screen is up.
#[derive(Debug)]
pub(super) struct QuietStderr(OwnedFd);

impl QuietStderr {
    /// Graphics drivers and C libraries write to standard error from any thread; on the screen
    /// that would scroll the picture away. `None` where it is no terminal (a log file stays one).
    pub(super) fn begin() -> Option<Self> {
        if !is_terminal(libc::STDERR_FILENO) {
            return None;
        }
        let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null").ok()?;
        // SAFETY: dup and dup2 take descriptors that are open here and touch no memory.
        let kept = unsafe { libc::dup(libc::STDERR_FILENO) };
        if kept < 0 {
            return None;
        }
        // SAFETY: `kept` was just made and belongs to nobody else; see above for dup2.
        let kept = unsafe {
            libc::dup2(nowhere.as_raw_fd(), libc::STDERR_FILENO);
            OwnedFd::from_raw_fd(kept)
        };
        Some(Self(kept))
    }
}

impl Drop for QuietStderr {
    fn drop(&mut self) {
        // SAFETY: both descriptors are open; dup2 touches no memory.
        unsafe { libc::dup2(self.0.as_raw_fd(), libc::STDERR_FILENO) };
    }
}

/// How long words behind the screen are waited for.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Tells a person something on standard error behind a screen that ended. Its terminal may take nothing any more: then
/// the words are lost, and the end is not held up.
pub fn last_words(line: &str) {
    let words = format!("{line}\n");
    let (written, waits) = channel::<()>();
    let tell = move || {
        let _ = io::stderr().write_all(words.as_bytes());
        drop(written);
    };
    if thread::Builder::new().name("last-words".to_owned()).spawn(tell).is_ok() {
        let _ = waits.recv_timeout(LAST_WORDS);
    }
}

pub(super) fn is_terminal(fd: RawFd) -> bool {
    // SAFETY: isatty takes any number.
    unsafe { libc::isatty(fd) == 1 }
}

/// What [`wait`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    Input,
    Woken,
    HungUp,
    TimedOut,
}

/// Waits for input on `fd` or `wake`, a hang-up, or the end of `timeout`. A hang-up wins: nobody
/// waits for what was typed before it.
pub(super) fn wait(fd: RawFd, wake: Option<RawFd>, timeout: Duration) -> Waited {
    let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // A negative descriptor is skipped by poll.
    let mut fds = [entry(fd), entry(wake.unwrap_or(-1))];
    let ms = timeout.as_millis().min(60_000) as libc::c_int;
    // SAFETY: the pointer and the length describe `fds`, which outlives the call.
    let count = unsafe { libc::poll(fds.as_mut_ptr(), 2, ms) };
    if count <= 0 {
        return Waited::TimedOut;
    }
    let gone = libc::POLLHUP | libc::POLLERR | libc::POLLNVAL;
    if fds[0].revents & gone != 0 {
        Waited::HungUp
    } else if fds[0].revents & libc::POLLIN != 0 {
        Waited::Input
    } else {
        Waited::Woken
    }
}

/// Bytes written that the other side has not taken yet; 0 where the system does not tell.
pub(super) fn unsent_bytes(fd: RawFd) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: TIOCOUTQ writes one int.
    let result = unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &mut count) };
    if result == 0 { usize::try_from(count).unwrap_or(0) } else { 0 }
}

/// Size of the terminal: columns, rows, width and height in px (0 where it does not tell).
pub(super) fn size() -> Option<[u16; 4]> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize.
    let result = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &mut size) };
    let known = result == 0 && size.ws_col > 0 && size.ws_row > 0;
    known.then_some([size.ws_col, size.ws_row, size.ws_xpixel, size.ws_ypixel])
}

/// Width and height of a cell, px, in a text area of so many px on a terminal of this [`size`].
pub(super) fn cell_in(area_px: (u16, u16), [columns, rows, ..]: [u16; 4]) -> Option<(u16, u16)> {
    let cell = (area_px.0.checked_div(columns)?, area_px.1.checked_div(rows)?);
    (cell.0 > 0 && cell.1 > 0).then_some(cell)
}

/// Whether the system knows how many px the terminal has.
pub(super) fn tells_px() -> bool {
    size().is_some_and(|[.., width, height]| width > 0 && height > 0)
}

/// Reads what is there, at most `buffer.len()` bytes; 0 at the end.
pub(super) fn read(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length describe `buffer`.
    let count = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Writes all bytes to standard output, past std's line buffer; without `until` it blocks as
/// long as the terminal does not take them.
pub(super) fn write_all(mut bytes: &[u8], until: Option<Instant>) -> io::Result<()> {
    while !bytes.is_empty() {
        if let Some(until) = until {
            wait_writable(until.saturating_duration_since(Instant::now()))?;
        }
        // SAFETY: pointer and length describe `bytes`.
        let count = unsafe { libc::write(libc::STDOUT_FILENO, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(count) {
            Ok(count) => bytes = &bytes[count..],
            Err(_) => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => {}
                e if e.kind() == io::ErrorKind::WouldBlock => {
                    wait_writable(Duration::from_secs(1)).or_else(|e| {
                        if e.kind() == io::ErrorKind::TimedOut { Ok(()) } else { Err(e) }
                    })?
                }
                e => return Err(e),
            },
        }
    }
    Ok(())
}

fn wait_writable(timeout: Duration) -> io::Result<()> {
    let mut fd = libc::pollfd { fd: libc::STDOUT_FILENO, events: libc::POLLOUT, revents: 0 };
    let ms = timeout.as_millis().min(60_000) as libc::c_int;
    // SAFETY: one valid pollfd.
    match unsafe { libc::poll(&mut fd, 1, ms) } {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ if fd.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0 => {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        _ => Ok(()),
    }
}

/// Drops input that nobody will read, so that late answers are not typed into the shell.
pub(super) fn drop_input(fd: RawFd) {
    // SAFETY: tcflush takes any number.
    unsafe { libc::tcflush(fd, libc::TCIFLUSH) };
}

/// Stops this process as Ctrl-Z would; returns when it is continued. Not SIGTSTP: a self-sent
/// one is dropped in an orphaned process group. Not `kill` either: that may stop another thread
/// first while this one goes on drawing.
pub(super) fn stop_self() {
    // SAFETY: signalling oneself has no memory effects.
    unsafe { libc::raise(libc::SIGSTOP) };
}
