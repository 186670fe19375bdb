//! The alternate screen: drawn in one write per frame, restored on every way out.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use ratatui::{Frame, Terminal};

use super::flow::{Flow, MOST_UNWRITTEN};
use super::frame::frame_bytes;
use super::tty::{self, InputTty};
use super::{Capabilities, TerminalError};
use crate::domain::panic_told;
use crate::tui::graphics::{Grid, PlacedSixel};

/// Alternate screen, hidden cursor, pasted text marked as such (or it would act as keys).
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[0m\x1b[2J\x1b[H";
/// Tells when the person looks here again: a tmux that only hands pictures on wipes them with every other window.
const FOCUS: &[u8] = b"\x1b[?1004h";
/// Asks for the size of a cell, and of the text area where the terminal tells that alone.
const CELL_SIZE: &[u8] = b"\x1b[16t";
const AREA_SIZE: &[u8] = b"\x1b[14t";
/// Ends a cut sixel and an open frame first.
const LEAVE: &[u8] = b"\x1b\\\x1b[?2026l\x1b[0m\x1b[?1004l\x1b[?2004l\x1b[?25h\x1b[?1049l";
/// How long leaving waits for frames under way, at most: only where the terminal owes answers.
const FAREWELL: Duration = Duration::from_millis(1500);
/// Jobs that wait for the writer: as many frames as are sent without being written, and a report. So nobody who sends
/// waits for a terminal.
const QUEUE: usize = MOST_UNWRITTEN + 2;

/// What input, writer and screen share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) flow: Mutex<Flow>,
    /// The terminal is gone; nobody touches it any more.
    pub(super) gone: AtomicBool,
    /// The screen stops itself; its own continuation needs no event.
    pub(super) stopping: AtomicBool,
    /// Width and height of a cell, px, as the terminal answered last.
    cell_px: Mutex<Option<(u16, u16)>>,
    /// That follows from the size of its text area.
    pub(super) cell_from_area: bool,
    pub(super) restorer: Restorer,
}

impl Shared {
    pub(super) fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what the terminal answers of its cells; true where that is news.
    pub(super) fn keep_cell(&self, cell_px: (u16, u16)) -> bool {
        self.answered_cell().replace(cell_px) != Some(cell_px)
    }

    fn answered_cell(&self) -> MutexGuard<'_, Option<(u16, u16)>> {
        self.cell_px.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }
}

/// Brings the terminal back as it was; from any thread, any number of times.
#[derive(Debug)]
pub(super) struct Restorer {
    entered: AtomicBool,
    input: InputTty,
    quiet: Mutex<Option<tty::QuietStderr>>,
}

impl Restorer {
    pub(super) fn restore(&self) {
        if self.entered.swap(false, Ordering::SeqCst) {
            // Nothing can be done about a terminal that does not take this.
            let _ = tty::write_all(LEAVE, Some(Instant::now() + Duration::from_millis(300)));
            tty::drop_input(self.input.fd());
            let _ = crossterm::terminal::disable_raw_mode();
            self.quiet.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    fn is_entered(&self) -> bool {
        self.entered.load(Ordering::SeqCst)
    }
}

/// The screen of the workstation. Dropping it restores the terminal; so do a panic of the
/// thread that entered it and a second SIGTERM. Panics of other threads are kept until then.
///
/// One frame is: [`Screen::draw`] (text, kept back), then [`Screen::present`] (text and
/// pictures, one write). Draw only while [`Screen::ready`].
pub struct Screen {
    terminal: Terminal<QuietBackend>,
    text: TextBuffer,
    capabilities: Capabilities,
    writer: SyncSender<Job>,
    wake: Option<std::os::unix::net::UnixStream>,
    pub(super) shared: Arc<Shared>,
    panics: Arc<Mutex<Vec<String>>>,
    previous_hook: Arc<PanicHook>,
}

type PanicHook = dyn Fn(&std::panic::PanicHookInfo<'_>) + Send + Sync + 'static;

enum Job {
    Frame(Vec<u8>),
    /// Answered when everything before it is written.
    Report(std::sync::mpsc::Sender<()>),
}

impl Screen {
    /// Enters raw mode and the alternate screen.
    ///
    /// # Errors
    /// Not a terminal, or it refuses.
    pub fn enter(capabilities: Capabilities) -> Result<Self, TerminalError> {
        if !tty::is_terminal(libc::STDOUT_FILENO) {
            return Err(TerminalError::NotATerminal("standard output"));
        }
        let input = InputTty::open().map_err(|_| TerminalError::NotATerminal("standard input"))?;
        let shared = Arc::new(Shared {
            flow: Mutex::new(Flow::new()),
            gone: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            cell_px: Mutex::new(capabilities.cell_px),
            cell_from_area: capabilities.cell_from_area,
            restorer: Restorer { entered: AtomicBool::new(false), input, quiet: Mutex::new(None) },
        });
        let text = TextBuffer::default();
        let terminal = quiet_terminal(&text)?;
        let (writer, jobs) = sync_channel(QUEUE);
        let (wake, woken) =
            std::os::unix::net::UnixStream::pair().map_err(TerminalError::io("start"))?;
        woken.set_nonblocking(true).map_err(TerminalError::io("start"))?;
        let panics = Arc::new(Mutex::new(Vec::new()));
        let previous_hook = install_hook(&shared, &panics);
        let screen = Self {
            terminal,
            text,
            capabilities,
            writer,
            wake: Some(woken),
            shared,
            panics,
            previous_hook,
        };
        screen.switch_on()?;
        // What was typed before there was anything to see is for nobody.
        tty::drop_input(screen.shared.restorer.input.fd());
        let (shared, fence) = (Arc::clone(&screen.shared), screen.capabilities.fence);
        thread::Builder::new()
            .name("terminal-writer".to_owned())
            .spawn(move || write_jobs(&jobs, &shared, fence, wake))
            .map_err(TerminalError::io("start a thread"))?;
        Ok(screen)
    }

    /// What the terminal can do.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// The cells as they are now; ask again after every resize.
    #[must_use]
    pub fn grid(&self) -> Grid {
        self.capabilities.grid()
    }

    /// The same after the terminal said that something about it is another: behind tmux also the place of the pane.
    pub fn resized(&mut self) -> Grid {
        self.capabilities.locate();
        self.capabilities.cell_px = *self.shared.answered_cell();
        // Where the system knows no px, only the terminal can tell of another font: its answer comes as an event.
        if self.capabilities.cell_px.is_some() && !tty::tells_px() {
            self.text.add(if self.capabilities.cell_from_area { AREA_SIZE } else { CELL_SIZE });
        }
        self.grid()
    }

    /// True when a frame may be drawn; otherwise keep the model and wait for
    /// [`super::TerminalEvent::Ready`], which always comes.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.shared.flow().ready()
    }

    /// True when every frame that was sent is acknowledged, or given up on: a piece of a picture delays nothing.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.shared.flow().free()
    }

    /// Bytes of the last acknowledged frame and how long its way to the terminal and back took, for the status line.
    #[must_use]
    pub fn last_frame(&self) -> Option<(usize, Duration)> {
        self.shared.flow().last()
    }

    /// Draws the text of a frame; nothing is sent before [`Screen::present`].
    ///
    /// # Errors
    /// The size of the terminal cannot be read.
    pub fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> Result<(), TerminalError> {
        self.terminal.draw(render).map(|_| ()).map_err(TerminalError::io("draw text"))
    }

    /// Rings the bell with the next frame.
    pub fn ring(&mut self) {
        self.text.add(b"\x07");
    }

    /// Sends text and pictures as one frame. With nothing to send, nothing is sent.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn present(&mut self, sixels: &[PlacedSixel]) -> Result<(), TerminalError> {
        let text = self.text.take();
        if text.is_empty() && sixels.is_empty() {
            return Ok(());
        }
        let frame = frame_bytes(&text, sixels, &self.capabilities);
        self.send(frame)
    }

    fn send(&self, frame: Vec<u8>) -> Result<(), TerminalError> {
        if self.shared.is_gone() {
            return Err(TerminalError::HungUp);
        }
        self.shared.flow().sent(frame.len(), Instant::now());
        self.writer.send(Job::Frame(frame)).map_err(|_| TerminalError::HungUp)
    }

    /// Ctrl-Z: restores the terminal, stops the process, and when it is continued enters the
    /// screen again. Everything is to be drawn anew then (also call
    /// [`crate::tui::graphics::Painter::damage_all`]).
    ///
    /// # Errors
    /// The terminal is gone or refuses.
    pub fn suspend(&mut self) -> Result<(), TerminalError> {
        self.settle();
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.restorer.restore();
        tty::stop_self();
        self.reenter()
    }

    /// Enters the screen again and forgets what was on it: after SIGCONT
    /// ([`super::TerminalEvent::Continued`]), or when the picture was disturbed (Ctrl-L).
    ///
    /// # Errors
    /// The terminal is gone or refuses.
    pub fn reenter(&mut self) -> Result<(), TerminalError> {
        // The shell may have set its own modes meanwhile: raw mode is set anew, not assumed.
        let _ = crossterm::terminal::disable_raw_mode();
        self.terminal = quiet_terminal(&self.text)?;
        // What was kept back belongs to the old screen, also what its end wrote.
        self.text.take();
        self.switch_on()
    }

    /// What threads other than the screen's panicked with since the last call.
    #[must_use]
    pub fn take_panics(&self) -> Vec<String> {
        std::mem::take(&mut *self.panics.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn take_wake(&mut self) -> Option<std::os::unix::net::UnixStream> {
        self.wake.take()
    }

    fn switch_on(&self) -> Result<(), TerminalError> {
        crossterm::terminal::enable_raw_mode().map_err(TerminalError::io("enter raw mode"))?;
        let restorer = &self.shared.restorer;
        restorer.entered.store(true, Ordering::SeqCst);
        {
            // Entered again without having left, it is quiet already: beginning anew would find no terminal there, and
            // giving up the old one would let everything through.
            let mut quiet = restorer.quiet.lock().unwrap_or_else(PoisonError::into_inner);
            if quiet.is_none() {
                *quiet = tty::QuietStderr::begin();
            }
        }
        let until = Instant::now() + Duration::from_secs(2);
        let focus: &[u8] = if self.capabilities.passthrough.is_some() { FOCUS } else { b"" };
        tty::write_all(&[ENTER, focus].concat(), Some(until))
            .map_err(TerminalError::io("enter the alternate screen"))
    }

    /// Waits a moment for frames under way, so that none is cut and no answer comes late and is
    /// typed into the shell.
    fn settle(&self) {
        let until = Instant::now() + FAREWELL;
        let (done, written) = channel();
        if self.shared.is_gone() || self.writer.try_send(Job::Report(done)).is_err() {
            return;
        }
        let _ = written.recv_timeout(FAREWELL);
        while !self.shared.flow().idle() && !self.shared.is_gone() && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if thread::panicking() {
            // The hook has restored the terminal already and must not be touched now.
            return;
        }
        self.settle();
        self.shared.restorer.restore();
        let previous = Arc::clone(&self.previous_hook);
        std::panic::set_hook(Box::new(move |info| previous(info)));
        for message in self.take_panics() {
            tty::last_words(&message);
        }
        // The input thread must not take a key that is meant for the next screen.
        self.shared.gone.store(true, Ordering::SeqCst);
    }
}

/// A panic of this thread restores the terminal before it is reported; other threads' panics
/// are theirs to report (a job's panic ends the job only) and must not scribble on the screen.
fn install_hook(shared: &Arc<Shared>, panics: &Arc<Mutex<Vec<String>>>) -> Arc<PanicHook> {
    const KEPT: usize = 16;
    let previous: Arc<PanicHook> = Arc::from(std::panic::take_hook());
    let owner: ThreadId = thread::current().id();
    let (shared, panics, chained) = (Arc::clone(shared), Arc::clone(panics), Arc::clone(&previous));
    std::panic::set_hook(Box::new(move |info| {
        if thread::current().id() == owner || !shared.restorer.is_entered() {
            shared.restorer.restore();
            chained(info);
        } else if let Ok(mut panics) = panics.lock() {
            panics.truncate(KEPT - 1);
            panics.push(panic_told(info));
        }
    }));
    previous
}

/// The writer thread: the only one that may block on the terminal.
fn write_jobs(
    jobs: &Receiver<Job>,
    shared: &Shared,
    fence: bool,
    mut wake: std::os::unix::net::UnixStream,
) {
    for job in jobs {
        match job {
            Job::Report(done) => {
                let _ = done.send(());
            }
            Job::Frame(bytes) => {
                if shared.is_gone() || tty::write_all(&bytes, None).is_err() {
                    // The input thread notices the hang-up itself; this thread just ends.
                    return;
                }
                if shared.flow().written() {
                    let _ = wake.write_all(&[0]);
                }
                if !fence {
                    wait_until_taken();
                    shared.flow().acknowledged(1, Instant::now());
                    let _ = wake.write_all(&[0]);
                }
            }
        }
    }
}

/// Without an answer from the terminal, what the kernel still holds is the best to go by.
fn wait_until_taken() {
    let until = Instant::now() + Duration::from_secs(2);
    while tty::unsent_bytes(libc::STDOUT_FILENO) > 0 && Instant::now() < until {
        thread::sleep(Duration::from_millis(2));
    }
}

/// Where ratatui writes: kept back until the frame is sent.
#[derive(Clone, Debug, Default)]
struct TextBuffer(Arc<Mutex<Vec<u8>>>);

impl TextBuffer {
    fn add(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for TextBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn quiet_terminal(text: &TextBuffer) -> Result<Terminal<QuietBackend>, TerminalError> {
    let inner = CrosstermBackend::new(text.clone());
    Terminal::new(QuietBackend { inner, hidden: false }).map_err(TerminalError::io("tell its size"))
}

/// crossterm's backend, except that it never asks the terminal anything (the answer would be
/// waited for on this thread and taken from the input thread), and that drawing the same text
/// again writes nothing, so that no frame is sent.
struct QuietBackend {
    inner: CrosstermBackend<TextBuffer>,
    /// The cursor was hidden and not shown since.
    hidden: bool,
}

impl Backend for QuietBackend {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut content = content.peekable();
        if content.peek().is_none() {
            return Ok(());
        }
        self.inner.draw(content)
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.hidden, true) {
            return Ok(());
        }
        self.inner.hide_cursor()
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.hidden = false;
        self.inner.show_cursor()
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.inner.set_cursor_position(position)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.inner.clear()
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        self.inner.clear_region(region)
    }

    fn size(&self) -> io::Result<Size> {
        let [columns, rows, ..] = tty::size().unwrap_or([80, 24, 0, 0]);
        Ok(Size::new(columns, rows))
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        let [columns, rows, width, height] = tty::size().unwrap_or([80, 24, 0, 0]);
        Ok(WindowSize { columns_rows: Size::new(columns, rows), pixels: Size::new(width, height) })
    }

    fn flush(&mut self) -> io::Result<()> {
        Backend::flush(&mut self.inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_again_writes_nothing() {
        let text = TextBuffer::default();
        let mut terminal = quiet_terminal(&text).expect("it has a size");
        let mut drawn = |words: &'static str| {
            terminal.draw(|frame| frame.render_widget(words, frame.area())).expect("it is memory");
            text.take().len()
        };
        assert!(drawn("frame 1") > 0);
        assert_eq!(drawn("frame 1"), 0);
        assert!(drawn("frame 2") > 0);
    }
}
