//! A terminal for tests: a pty that answers like a sixel terminal, keeps the text (vt100) and
//! the pictures (icy_sixel on a canvas), and counts bytes.
//!
//! ```text
//! let mut terminal = Harness::start(&["sonomark", "annotate", clip], &[], 100, 40, (8, 16), Answers::foot());
//! terminal.settle(200);
//! terminal.mark();
//! terminal.key(b"l");
//! terminal.settle(200);
//! assert!(terminal.bytes_since_mark() < 12_000);
//! ```

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};

use crate::surroundings::PATIENCE;

/// What the terminal claims to be.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    /// Answer to `CSI c`; attribute 4 is sixel. Empty: no answer.
    pub(crate) attributes: &'static str,
    /// Largest sixel; larger ones are dropped without a word, as xterm does.
    pub(crate) largest_px: Option<(usize, usize)>,
    /// Tells the cell size by `CSI 16 t`.
    pub(crate) cell_report: bool,
    /// Tells the size of its text area by `CSI 14 t`.
    pub(crate) area_report: bool,
    /// Answer to the question for mode 2026.
    pub(crate) sync: u8,
    /// Knows kitty's images.
    pub(crate) kitty: bool,
    /// Answers `CSI 5 n` and `CSI 6 n`.
    pub(crate) status: bool,
    /// Says that its background is white; others say nothing of it.
    pub(crate) light: bool,
    /// Every answer is late by this, as over a slow line.
    pub(crate) delay: Duration,
    /// Bytes per second that the terminal takes; `None` is as fast as they come.
    pub(crate) bytes_per_s: Option<usize>,
}

impl Answers {
    /// foot: sixel without a limit that matters, synchronised output.
    pub(crate) fn foot() -> Self {
        Self {
            attributes: "\x1b[?62;4;22c",
            largest_px: Some((10_000, 10_000)),
            cell_report: true,
            area_report: true,
            sync: 2,
            kitty: false,
            status: true,
            light: false,
            delay: Duration::ZERO,
            bytes_per_s: None,
        }
    }

    /// xterm with `-ti vt340`: at most 1000 x 1000 px, no synchronised output.
    pub(crate) fn xterm() -> Self {
        Self {
            attributes: "\x1b[?63;1;2;4;6;9;15;16;22;28c",
            largest_px: Some((1000, 1000)),
            sync: 0,
            ..Self::foot()
        }
    }

    /// A terminal without pictures.
    pub(crate) fn plain() -> Self {
        Self { attributes: "\x1b[?62;22c", largest_px: None, ..Self::foot() }
    }

    /// kitty: its own images, no sixel.
    pub(crate) fn kitty() -> Self {
        Self { kitty: true, ..Self::plain() }
    }

    /// Answers nothing at all.
    pub(crate) fn silent() -> Self {
        Self {
            attributes: "",
            cell_report: false,
            area_report: false,
            status: false,
            ..Self::plain()
        }
    }
}

/// A picture as a person would see it, RGB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Canvas {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) rgb: Vec<u8>,
}

impl Canvas {
    fn new(width: usize, height: usize) -> Self {
        Self { width, height, rgb: vec![0; width * height * 3] }
    }

    /// The colour at column `x`, row `y`, px.
    pub(crate) fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let at = (y * self.width + x) * 3;
        [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
    }
}

/// A sixel that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeenSixel {
    pub(crate) column: u16,
    pub(crate) row: u16,
    pub(crate) width_px: usize,
    pub(crate) height_px: usize,
    pub(crate) bytes: usize,
}

/// What has been seen of the program.
struct Seen {
    text: vt100::Parser,
    canvas: Canvas,
    cell: (u16, u16),
    answers: Answers,
    bytes: usize,
    marked_bytes: usize,
    sixels: Vec<SeenSixel>,
    faults: Vec<String>,
    last: Instant,
    /// The control sequence or string that is not complete yet.
    pending: Vec<u8>,
    /// Base64 of the kitty image that is not complete yet.
    coming: Vec<u8>,
    /// Numbers of the kitty images on the screen.
    images: Vec<String>,
    everything: Vec<u8>,
    due: Vec<(Instant, Vec<u8>)>,
    /// Takes nothing of what the program writes.
    deaf: bool,
}

/// A program in a terminal.
pub(crate) struct Harness {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    master: Option<Box<dyn MasterPty + Send>>,
    keys: Option<File>,
    child: Box<dyn Child + Send + Sync>,
}

impl Harness {
    /// Starts `command` in a terminal of `columns` x `rows` cells of `cell_px` px.
    pub(crate) fn start(
        command: &[&str],
        env: &[(&str, &str)],
        columns: u16,
        rows: u16,
        cell_px: (u16, u16),
        answers: Answers,
    ) -> Self {
        let size = pty_size(columns, rows, cell_px);
        let pair = native_pty_system().openpty(size).expect("a pty");
        let mut builder = CommandBuilder::new(command[0]);
        builder.args(&command[1..]);
        // Nothing of the person's who runs the tests.
        let theirs = ["TMUX", "NO_COLOR", "COLORTERM", "COLUMNS", "LINES"];
        let variables = std::env::vars_os().map(|(name, _)| name);
        for variable in variables.filter(|name| {
            let name = name.to_string_lossy();
            theirs.contains(&&*name) || name.starts_with("XDG_") || name.starts_with("SONOMARK_")
        }) {
            builder.env_remove(variable);
        }
        builder.env("TERM", "xterm-256color");
        for (name, value) in env {
            builder.env(name, value);
        }
        if let Ok(folder) = std::env::current_dir() {
            builder.cwd(folder);
        }
        let child = pair.slave.spawn_command(builder).expect("the program starts");
        drop(pair.slave);
        let canvas = Canvas::new(
            usize::from(columns) * usize::from(cell_px.0),
            usize::from(rows) * usize::from(cell_px.1),
        );
        let seen = Arc::new(Mutex::new(Seen {
            text: vt100::Parser::new(rows, columns, 0),
            canvas,
            cell: cell_px,
            answers,
            bytes: 0,
            marked_bytes: 0,
            sixels: Vec::new(),
            faults: Vec::new(),
            last: Instant::now(),
            pending: Vec::new(),
            coming: Vec::new(),
            images: Vec::new(),
            everything: Vec::new(),
            due: Vec::new(),
            deaf: false,
        }));
        let fd = pair.master.as_raw_fd().expect("a descriptor");
        let (keys, mut terminal) = (duplicate(fd), duplicate(fd));
        let stop = Arc::new(AtomicBool::new(false));
        let (for_reader, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let reader = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) && pump(&mut terminal, &for_reader) {}
        });
        Self {
            seen,
            stop,
            reader: Some(reader),
            master: Some(pair.master),
            keys: Some(keys),
            child,
        }
    }

    /// The same with an ignored test of this binary as the program.
    pub(crate) fn start_child(
        test: &str,
        env: &[(&str, &str)],
        (columns, rows): (u16, u16),
        answers: Answers,
    ) -> Self {
        let program = std::env::current_exe().expect("this test");
        let words = [
            program.to_str().expect("UTF-8"),
            "--exact",
            test,
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ];
        Self::start(&words, env, columns, rows, (8, 16), answers)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("the reader does not panic")
    }

    /// From now on the terminal takes what the program writes, or leaves all of it where it is.
    pub(crate) fn listen(&self, listens: bool) {
        self.seen().deaf = !listens;
    }

    /// From now on `CSI 5 n` is answered, or is not.
    pub(crate) fn answer_reports(&self, status: bool) {
        self.seen().answers.status = status;
    }

    /// Types bytes.
    pub(crate) fn key(&mut self, bytes: &[u8]) {
        let keys = self.keys.as_mut().expect("the terminal is still there");
        keys.write_all(bytes).expect("the terminal takes keys");
    }

    /// Waits until the program has been silent for `quiet_ms`, not for ever.
    pub(crate) fn settle(&self, quiet_ms: u64) {
        let quiet = Duration::from_millis(quiet_ms);
        let (start, until) = (Instant::now(), Instant::now() + PATIENCE);
        while Instant::now() < until {
            let last = self.seen().last.max(start);
            if last.elapsed() >= quiet {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the text on the screen contains `part`; false after `timeout`.
    pub(crate) fn wait_for(&self, part: &str, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        while Instant::now() < until {
            if self.screen_text().contains(part) {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Waits until the text on the screen is as wanted; fails with what is there where it does not become so.
    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        while !wanted(&self.screen_text()) {
            assert!(begun.elapsed() < PATIENCE, "{what}\n{}", self.screen_text());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The text on the screen.
    pub(crate) fn screen_text(&self) -> String {
        self.seen().text.screen().contents()
    }

    /// True while the program has the alternate screen.
    pub(crate) fn alternate_screen(&self) -> bool {
        self.seen().text.screen().alternate_screen()
    }

    /// True while the cursor is hidden.
    pub(crate) fn cursor_hidden(&self) -> bool {
        self.seen().text.screen().hide_cursor()
    }

    /// The pictures on the screen.
    pub(crate) fn canvas(&self) -> Canvas {
        self.seen().canvas.clone()
    }

    /// Starts counting anew.
    pub(crate) fn mark(&self) {
        let mut seen = self.seen();
        seen.marked_bytes = seen.bytes;
        seen.sixels.clear();
    }

    /// Bytes that the program wrote since the mark.
    pub(crate) fn bytes_since_mark(&self) -> usize {
        let seen = self.seen();
        seen.bytes - seen.marked_bytes
    }

    /// Sixels that arrived since the mark.
    pub(crate) fn sixels_since_mark(&self) -> Vec<SeenSixel> {
        self.seen().sixels.clone()
    }

    /// How many kitty images lie on the screen.
    pub(crate) fn images(&self) -> usize {
        self.seen().images.len()
    }

    /// What a terminal would have choked on: undecodable or too large sixels, pictures on the
    /// last row.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.seen().faults.clone()
    }

    /// Everything the program wrote.
    pub(crate) fn everything(&self) -> Vec<u8> {
        self.seen().everything.clone()
    }

    /// Gives the terminal another size.
    pub(crate) fn resize(&self, columns: u16, rows: u16, cell_px: (u16, u16)) {
        self.resize_told(columns, rows, cell_px, pty_size(columns, rows, cell_px));
    }

    /// The same where the system knows of columns and rows alone.
    pub(crate) fn resize_without_px(&self, columns: u16, rows: u16, cell_px: (u16, u16)) {
        self.resize_told(columns, rows, cell_px, pty_size(columns, rows, (0, 0)));
    }

    fn resize_told(&self, columns: u16, rows: u16, cell_px: (u16, u16), told: PtySize) {
        {
            let mut seen = self.seen();
            seen.text.screen_mut().set_size(rows, columns);
            seen.cell = cell_px;
            let width = usize::from(columns) * usize::from(cell_px.0);
            seen.canvas = Canvas::new(width, usize::from(rows) * usize::from(cell_px.1));
        }
        let master = self.master.as_ref().expect("the terminal is still there");
        master.resize(told).expect("resized");
    }

    /// True while the terminal is in raw mode (no echo, no lines).
    pub(crate) fn raw_mode(&self) -> bool {
        let termios = self.master.as_ref().and_then(|master| master.get_termios());
        termios.is_some_and(|t| {
            let t: libc::termios = t.into();
            t.c_lflag & (libc::ICANON | libc::ECHO) == 0
        })
    }

    /// Process id of the program.
    pub(crate) fn pid(&self) -> u32 {
        self.child.process_id().expect("a process")
    }

    /// Sends a signal to the program.
    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY: a signal to our own child.
        unsafe { libc::kill(self.pid() as libc::pid_t, signal) };
    }

    /// State of the program in `/proc`: 'R', 'S', 'T' (stopped), 'Z'; `None` when it is gone.
    pub(crate) fn state(&self) -> Option<char> {
        stat(self.pid()).and_then(|fields| fields.first().and_then(|state| state.chars().next()))
    }

    /// CPU time that the program has used, ms.
    pub(crate) fn child_cpu_ms(&self) -> u64 {
        cpu_ms(self.pid())
    }

    /// Closes the terminal as a dropped connection does.
    pub(crate) fn hang_up(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
        self.keys = None;
        self.master = None;
    }

    /// The exit status, or `None` when the program still runs after `timeout`.
    pub(crate) fn wait_exit(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + timeout;
        while Instant::now() < until {
            if let Ok(Some(status)) = self.child.try_wait() {
                // What it wrote last is still on its way.
                thread::sleep(Duration::from_millis(50));
                return Some(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(libc::SIGKILL);
            let _ = self.child.wait();
        }
        self.hang_up();
    }
}

/// CPU time of a process, ms; 0 when it is gone.
pub(crate) fn cpu_ms(pid: u32) -> u64 {
    let ticks = |fields: &[String], at: usize| {
        fields.get(at).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)
    };
    // After the state: fields 14 and 15 of proc(5) are user and system time, 100 per second.
    stat(pid).map_or(0, |fields| (ticks(&fields, 11) + ticks(&fields, 12)) * 10)
}

/// The fields of `/proc/PID/stat` after the name.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

fn pty_size(columns: u16, rows: u16, cell_px: (u16, u16)) -> PtySize {
    PtySize {
        rows,
        cols: columns,
        pixel_width: columns * cell_px.0,
        pixel_height: rows * cell_px.1,
    }
}

/// Width and height in the raster attributes of a sixel.
fn raster_size(sequence: &[u8]) -> Option<(usize, usize)> {
    let text = String::from_utf8_lossy(&sequence[..sequence.len().min(60)]).into_owned();
    let mut numbers = text.split_once('"')?.1.split(|c: char| !c.is_ascii_digit()).skip(2);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn duplicate(fd: i32) -> File {
    // SAFETY: dup of an open descriptor gives a new one that nobody else owns.
    unsafe { File::from(OwnedFd::from_raw_fd(libc::dup(fd))) }
}

/// Reads for a moment and answers; false when the program has closed the terminal.
fn pump(terminal: &mut File, seen: &Mutex<Seen>) -> bool {
    if seen.lock().expect("not poisoned").deaf {
        thread::sleep(Duration::from_millis(5));
        return true;
    }
    let mut fd = libc::pollfd { fd: terminal.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid pollfd.
    let ready = unsafe { libc::poll(&mut fd, 1, 2) };
    let mut buffer = [0; 16 * 1024];
    let mut limit = buffer.len();
    let slow = seen.lock().expect("not poisoned").answers.bytes_per_s;
    if let Some(rate) = slow {
        limit = (rate / 200).clamp(1, limit);
    }
    if ready > 0 {
        match terminal.read(&mut buffer[..limit]) {
            Ok(0) | Err(_) => return false,
            Ok(count) => {
                let mut seen = seen.lock().expect("not poisoned");
                seen.take(&buffer[..count]);
            }
        }
        if slow.is_some() {
            thread::sleep(Duration::from_millis(5));
        }
    }
    let due: Vec<Vec<u8>> = {
        let mut seen = seen.lock().expect("not poisoned");
        let now = Instant::now();
        let count = seen.due.iter().take_while(|(at, _)| *at <= now).count();
        seen.due.drain(..count).map(|(_, bytes)| bytes).collect()
    };
    due.iter().all(|bytes| terminal.write_all(bytes).is_ok())
}

impl Seen {
    fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.last = Instant::now();
        self.everything.extend_from_slice(bytes);
        for &byte in bytes {
            self.push(byte);
        }
    }

    fn push(&mut self, byte: u8) {
        if self.pending.is_empty() && byte != 0x1b {
            self.text.process(&[byte]);
            return;
        }
        self.pending.push(byte);
        let complete = match self.pending.get(1) {
            None => false,
            Some(b'[') => self.pending.len() > 2 && (0x40..=0x7e).contains(&byte),
            Some(b'P' | b']' | b'_' | b'^' | b'X') => self.pending.ends_with(b"\x1b\\"),
            Some(_) => true,
        };
        if complete {
            let sequence = std::mem::take(&mut self.pending);
            match sequence[1] {
                b'P' => self.picture(&sequence),
                b'[' => self.control(&sequence),
                b'_' => self.image(&sequence[2..sequence.len() - 2]),
                b']' if self.answers.light && sequence == b"\x1b]11;?\x1b\\" => {
                    let reply = b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\".to_vec();
                    self.due.push((Instant::now() + self.answers.delay, reply));
                }
                _ => self.text.process(&sequence),
            }
        }
    }

    fn control(&mut self, sequence: &[u8]) {
        let (columns, rows) = {
            let (rows, columns) = self.text.screen().size();
            (columns, rows)
        };
        let (cell_width, cell_height) = self.cell;
        let answers = &self.answers;
        let reply = match &sequence[2..] {
            b"c" => answers.attributes.to_owned(),
            b"16t" if answers.cell_report => format!("\x1b[6;{cell_height};{cell_width}t"),
            b"14t" if answers.area_report => {
                format!("\x1b[4;{};{}t", rows * cell_height, columns * cell_width)
            }
            b"?1;1;0S" if answers.largest_px.is_some() => "\x1b[?1;0;256S".to_owned(),
            b"?2;4;0S" => {
                answers.largest_px.map_or(String::new(), |(w, h)| format!("\x1b[?2;0;{w};{h}S"))
            }
            b"?2026$p" if answers.status => format!("\x1b[?2026;{}$y", answers.sync),
            b"5n" if answers.status => "\x1b[0n".to_owned(),
            b"6n" if answers.status => {
                let (row, column) = self.text.screen().cursor_position();
                format!("\x1b[{};{}R", row + 1, column + 1)
            }
            rest => {
                if rest == b"2J" || rest == b"?1049h" || rest == b"?1049l" {
                    self.canvas.rgb.fill(0);
                }
                self.text.process(sequence);
                return;
            }
        };
        if !reply.is_empty() {
            self.due.push((Instant::now() + self.answers.delay, reply.into_bytes()));
        }
    }

    /// An image of kitty's, a question for them, or a deletion: `G`, keys, `;`, base64.
    fn image(&mut self, body: &[u8]) {
        use base64::Engine;
        if !self.answers.kitty || body.first() != Some(&b'G') {
            return;
        }
        let text = String::from_utf8_lossy(&body[1..]).into_owned();
        let (keys, data) = text.split_once(';').unwrap_or((&text, ""));
        let key = |name: &str| {
            keys.split(',')
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
                .unwrap_or("")
        };
        match key("a") {
            "q" => {
                let reply = format!("\x1b_Gi={};OK\x1b\\", key("i"));
                return self.due.push((Instant::now() + self.answers.delay, reply.into_bytes()));
            }
            "d" if key("d") == "A" => {
                self.images.clear();
                return self.canvas.rgb.fill(0);
            }
            "d" => return self.images.retain(|number| number != key("i")),
            "T" => {
                if (key("C"), key("q"), key("f")) != ("1", "2", "100") {
                    self.faults.push(format!("an image that moves the cursor or talks: {keys}"));
                }
                self.images.push(key("i").to_owned());
                self.coming.clear();
            }
            _ => {}
        }
        if data.len() > 4096 {
            self.faults.push(format!("a chunk of {} bytes", data.len()));
        }
        self.coming.extend_from_slice(data.as_bytes());
        if key("m") == "1" {
            return;
        }
        let bytes = base64::engine::general_purpose::STANDARD.decode(&self.coming).unwrap();
        let picture = image::load_from_memory(&bytes).unwrap().to_rgb8();
        let (row, column) = self.text.screen().cursor_position();
        let (left, top) = (usize::from(column * self.cell.0), usize::from(row * self.cell.1));
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        if left + width > self.canvas.width || top + height > self.canvas.height {
            self.faults.push("an image beyond the screen".to_owned());
            return;
        }
        for (x, y, pixel) in picture.enumerate_pixels() {
            let to = ((top + y as usize) * self.canvas.width + left + x as usize) * 3;
            self.canvas.rgb[to..to + 3].copy_from_slice(&pixel.0);
        }
    }

    fn picture(&mut self, sequence: &[u8]) {
        let (row, column) = self.text.screen().cursor_position();
        let image = match icy_sixel::SixelImage::decode(sequence) {
            Ok(image) => image,
            Err(error) => {
                let start: String =
                    sequence.iter().take(40).map(|b| b.escape_ascii().to_string()).collect();
                self.faults.push(format!("not a sixel ({error}): {start}"));
                return;
            }
        };
        // The decoder fills its last band; the raster attributes tell the true size.
        let (width, height) = raster_size(sequence).unwrap_or((image.width, image.height));
        let (width, height) = (width.min(image.width), height.min(image.height));
        let bytes = sequence.len();
        let seen = SeenSixel { column, row, width_px: width, height_px: height, bytes };
        self.sixels.push(seen);
        if self.answers.largest_px.is_none_or(|(w, h)| width > w || height > h) {
            self.faults.push(format!("dropped by this terminal: {seen:?}"));
            return;
        }
        let (left, top) = (usize::from(column * self.cell.0), usize::from(row * self.cell.1));
        let last_row = self.canvas.height - usize::from(self.cell.1);
        if sequence.len() >= 1 << 20 || top + height > last_row {
            self.faults.push(format!("too long, or on the last row: {seen:?}"));
        }
        for y in 0..height.min(self.canvas.height.saturating_sub(top)) {
            for x in 0..width.min(self.canvas.width.saturating_sub(left)) {
                let from = (y * image.width + x) * 4;
                let to = ((top + y) * self.canvas.width + left + x) * 3;
                self.canvas.rgb[to..to + 3].copy_from_slice(&image.pixels[from..from + 3]);
            }
        }
    }
}
