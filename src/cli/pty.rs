//! A terminal for measurements: a pty that answers as a sixel terminal does and counts what it is
//! sent. Nothing is shown; what the program means is read from the project's journal.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Size of a cell, px.
const CELL_PX: (u16, u16) = (8, 16);
/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(1);

/// A frame as the program sent it: everything up to the end of a synchronised update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentFrame {
    /// Length, bytes.
    pub bytes: usize,
    /// Width and height of each sixel in it, px.
    pub sixels: Vec<(usize, usize)>,
    /// Length of the longest of them, bytes.
    pub longest: usize,
}

#[derive(Debug)]
struct Seen {
    bytes: usize,
    last: Instant,
    frames: Vec<SentFrame>,
    /// Bytes and sixels since the last frame ended.
    open: SentFrame,
    /// The control sequence or string that is not complete yet.
    pending: Vec<u8>,
    size: (u16, u16),
}

/// A program in such a terminal. Dropping it ends the program.
#[derive(Debug)]
pub struct Terminal {
    keys: File,
    seen: Arc<Mutex<Seen>>,
    reader: Option<JoinHandle<()>>,
    child: Child,
}

impl Terminal {
    /// Starts `program` in a terminal of `columns` x `rows` cells of 8 x 16 px.
    ///
    /// # Errors
    /// A sentence, when the system gives no pty or the program does not start.
    pub fn start(
        program: &Path,
        arguments: &[OsString],
        (columns, rows): (u16, u16),
    ) -> Result<Self, String> {
        let (master, slave) = open_pty(columns, rows)?;
        let copy = |what: &OwnedFd| what.try_clone().map_err(|e| format!("no terminal: {e}"));
        let mut command = Command::new(program);
        command.args(arguments).env("TERM", "xterm-256color").env("COLORTERM", "truecolor");
        for variable in ["TMUX", "NO_COLOR", "COLUMNS", "LINES"] {
            command.env_remove(variable);
        }
        command.stdin(Stdio::from(copy(&slave)?)).stdout(Stdio::from(copy(&slave)?));
        command.stderr(Stdio::from(slave));
        // SAFETY: between fork and exec only setsid and ioctl run, which are safe there.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command
            .spawn()
            .map_err(|e| format!("{} does not start: {e}", program.to_string_lossy()))?;
        // The command still holds the other side; it must go for the end to be noticed.
        drop(command);
        let (keys, output, answers) = (copy(&master)?, copy(&master)?, master);
        let seen = Arc::new(Mutex::new(Seen {
            bytes: 0,
            last: Instant::now(),
            frames: Vec::new(),
            open: SentFrame::default(),
            pending: Vec::new(),
            size: (columns, rows),
        }));
        let inner = Arc::clone(&seen);
        let reader = thread::Builder::new()
            .name("measuring-terminal".to_owned())
            .spawn(move || listen(File::from(output), File::from(answers), &inner))
            .map_err(|e| format!("no thread for the terminal: {e}"))?;
        Ok(Self { keys: File::from(keys), seen, reader: Some(reader), child })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Types bytes.
    ///
    /// # Errors
    /// A sentence, when the terminal is gone.
    pub fn key(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.keys.write_all(bytes).map_err(|e| format!("the program took no key: {e}"))
    }

    /// Waits until the program has been silent for `quiet`; false when it was not within `most`.
    pub fn settle(&self, quiet: Duration, most: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < most {
            if self.seen().last.max(begun).elapsed() >= quiet {
                return true;
            }
            thread::sleep(LOOK);
        }
        false
    }

    /// Waits until a picture came since the mark, and the program has been silent for `quiet`; false when that was not within
    /// `most`.
    pub fn picture(&self, quiet: Duration, most: Duration) -> bool {
        let begun = Instant::now();
        let drawn = || self.seen().frames.iter().any(|frame| !frame.sixels.is_empty());
        while !drawn() {
            if begun.elapsed() >= most {
                return false;
            }
            thread::sleep(LOOK);
        }
        self.settle(quiet, most.saturating_sub(begun.elapsed()))
    }

    /// Forgets the frames so far.
    pub fn mark(&self) {
        let mut seen = self.seen();
        seen.frames.clear();
        seen.open = SentFrame::default();
    }

    /// Frames since the mark, in order.
    #[must_use]
    pub fn frames(&self) -> Vec<SentFrame> {
        self.seen().frames.clone()
    }

    /// All bytes that the program ever sent.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.seen().bytes
    }

    /// When the last byte came.
    #[must_use]
    pub fn last_byte(&self) -> Instant {
        self.seen().last
    }

    /// Whether the program still runs.
    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn open_pty(columns: u16, rows: u16) -> Result<(OwnedFd, OwnedFd), String> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: columns * CELL_PX.0,
        ws_ypixel: rows * CELL_PX.1,
    };
    let (mut master, mut slave) = (-1, -1);
    let (none, nothing) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the two numbers and the size are valid places; null asks for defaults.
    let result = unsafe { libc::openpty(&mut master, &mut slave, none, nothing, &size) };
    if result < 0 {
        return Err(format!("the system gives no terminal: {}", std::io::Error::last_os_error()));
    }
    // SAFETY: both descriptors were just made and belong to nobody else.
    let pair = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    // The program must not inherit our side, or its end would never be noticed.
    // SAFETY: fcntl on a descriptor that is open.
    unsafe { libc::fcntl(pair.0.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
    Ok(pair)
}

fn listen(mut output: File, mut answers: File, seen: &Mutex<Seen>) {
    let mut buffer = [0; 64 * 1024];
    loop {
        // A closed pty is an error here, not an end.
        let Ok(count @ 1..) = output.read(&mut buffer) else { return };
        let replies = seen.lock().unwrap_or_else(PoisonError::into_inner).take(&buffer[..count]);
        if answers.write_all(&replies).is_err() {
            return;
        }
    }
}

impl Seen {
    /// Takes what came; returns what the terminal answers.
    fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.bytes += bytes.len();
        self.last = Instant::now();
        let mut replies = Vec::new();
        for &byte in bytes {
            self.open.bytes += 1;
            if self.pending.is_empty() && byte != 0x1b {
                continue;
            }
            self.pending.push(byte);
            let complete = match self.pending.get(1) {
                None => false,
                Some(b'[') => self.pending.len() > 2 && (0x40..=0x7e).contains(&byte),
                // iTerm2's images end with BEL.
                Some(b']') if byte == 0x07 => true,
                Some(b'P' | b']' | b'_') => self.pending.ends_with(b"\x1b\\"),
                Some(_) => true,
            };
            if complete {
                let sequence = std::mem::take(&mut self.pending);
                replies.extend(self.sequence(&sequence));
            }
        }
        replies
    }

    fn sequence(&mut self, sequence: &[u8]) -> Vec<u8> {
        if sequence.starts_with(b"\x1bP") {
            self.open.sixels.extend(raster_size(sequence));
            self.open.longest = self.open.longest.max(sequence.len());
            return Vec::new();
        }
        let (columns, rows) = self.size;
        let (width, height) = CELL_PX;
        match sequence.get(2..).unwrap_or_default() {
            b"?2026l" => {
                self.frames.push(std::mem::take(&mut self.open));
                Vec::new()
            }
            b"c" => b"\x1b[?62;4;22c".to_vec(),
            b"16t" => format!("\x1b[6;{height};{width}t").into_bytes(),
            b"14t" => format!("\x1b[4;{};{}t", rows * height, columns * width).into_bytes(),
            b"?1;1;0S" => b"\x1b[?1;0;256S".to_vec(),
            b"?2;4;0S" => b"\x1b[?2;0;4096;4096S".to_vec(),
            b"?2026$p" => b"\x1b[?2026;2$y".to_vec(),
            b"5n" => b"\x1b[0n".to_vec(),
            b"6n" => b"\x1b[1;1R".to_vec(),
            _ => Vec::new(),
        }
    }
}

/// Width and height in the raster attributes of a sixel.
fn raster_size(sequence: &[u8]) -> Option<(usize, usize)> {
    let head = String::from_utf8_lossy(&sequence[..sequence.len().min(60)]).into_owned();
    let mut numbers = head.split_once('"')?.1.split(|c: char| !c.is_ascii_digit()).skip(2);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
