//! The loop: one inbox, one session, one screen.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::yaml::Faults;
use crate::config::{OnHangup, Settings};
use crate::domain::{Annotation, FrameIndex, shown};
use crate::engine::{Event, Opened, Session, SessionError};

use super::graphics::{ColourDepth, Grid, Painter, Palette, render_halfblocks, reserve};
use super::keymap::{Keymap, Layer};
use super::model::{Effect, Model, Msg, Queued};
use super::terminal::{Capabilities, Screen, TerminalError, probe, spawn_input};
use super::theme::Theme;
use super::update::{begin, update};
use super::view::{self, Canvas, Look};

/// Opens a clip; its events go to the inbox.
pub type OpenClip<'a> =
    Box<dyn FnMut(&Path, Sender<Msg>) -> Result<(Session<Msg>, Opened), SessionError> + 'a>;

/// What the screen starts with.
pub struct Start<'a> {
    /// Clips, at least one; the first that opens is shown.
    pub clips: Vec<PathBuf>,
    /// How a clip is opened.
    pub open: OpenClip<'a>,
    /// Graphics, theme, keys, what a hang-up does.
    pub settings: &'a Settings,
    /// Begin with the lesson.
    pub lesson: bool,
    /// Is given the inbox before the loop starts: a watched folder tells its clips there.
    pub attach: Option<Box<dyn FnOnce(Sender<Msg>) + 'a>>,
}

/// How the screen ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The person left.
    Quit,
    /// The terminal went away; what was running is finished or stopped, as set.
    HungUp,
}

/// Why there is no screen.
#[derive(Debug, thiserror::Error)]
pub enum TuiError {
    /// Nothing to show.
    #[error("no clip was given; name a file, a folder of frames or a DICOM file")]
    NoClip,
    /// No clip opens: the first reason.
    #[error(transparent)]
    Clip(#[from] SessionError),
    /// The terminal cannot be used.
    #[error(transparent)]
    Terminal(#[from] TerminalError),
}

/// Runs the screen until the person leaves or the terminal goes away.
///
/// # Errors
/// No clip opens, or the terminal cannot be used. Later troubles are sentences on the screen.
pub fn run(start: Start<'_>) -> Result<Ended, TuiError> {
    let Start { clips, mut open, settings, lesson, attach } = start;
    let (inbox, messages) = channel();
    let environment = Environment::here();
    let capabilities = probe(environment.tmux)?;
    let (keymap, theme, faults) = bindings(settings, &environment);
    let (session, opened, at, refused) = first_clip(&clips, &mut open, &inbox)?;
    let mut screen = Screen::enter(capabilities)?;
    spawn_input(&mut screen, inbox.clone())?;
    if let Some(attach) = attach {
        attach(inbox.clone());
    }
    let output = Output::new(&screen, settings, theme, &environment);
    let queue: Vec<Queued> = clips.into_iter().map(queued).collect();
    let mut model = Model::new(opened, queue, at, keymap, output.grid(screen.grid()));
    model.lesson = lesson.then_some(0);
    for sentence in refused.into_iter().chain(faults) {
        model.warn(sentence);
    }
    let effects = begin(&model);
    let mut looping = Loop {
        model,
        session: Some(session),
        screen: Some(screen),
        output,
        open,
        inbox,
        messages,
        started: Instant::now(),
        on_hangup: settings.on_hangup.value,
        dirty: true,
        epoch: 0,
        ended: None,
    };
    looping.carry_out(effects);
    let ended = looping.turn();
    if let Some(session) = looping.session.take() {
        session.close();
    }
    Ok(ended)
}

fn queued(path: PathBuf) -> Queued {
    let name = path
        .file_name()
        .map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
    Queued { path, name }
}

/// The first clip that opens, its place, and why those before it do not.
fn first_clip(
    clips: &[PathBuf],
    open: &mut OpenClip<'_>,
    inbox: &Sender<Msg>,
) -> Result<(Session<Msg>, Opened, usize, Vec<String>), TuiError> {
    let mut first = None;
    let mut refused = Vec::new();
    for (at, path) in clips.iter().enumerate() {
        match open(path, tagged(0, inbox)) {
            Ok((session, opened)) => return Ok((session, opened, at, refused)),
            Err(error) => {
                refused
                    .push(format!("{} does not open: {error}", shown(&path.display().to_string())));
                first.get_or_insert(error);
            }
        }
    }
    Err(first.map_or(TuiError::NoClip, TuiError::Clip))
}

/// What the environment promises about the terminal.
struct Environment {
    tmux: bool,
    no_color: Option<String>,
    colorterm: Option<String>,
    term: Option<String>,
    utf8: bool,
}

impl Environment {
    fn here() -> Self {
        let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = get("LC_ALL").or_else(|| get("LC_CTYPE")).or_else(|| get("LANG"));
        Self {
            tmux: get("TMUX").is_some(),
            no_color: get("NO_COLOR"),
            colorterm: get("COLORTERM"),
            term: get("TERM"),
            // An unset locale on a server says nothing about the terminal at the other end.
            utf8: locale.is_none_or(|l| {
                let l = l.to_ascii_lowercase();
                l.contains("utf-8") || l.contains("utf8") || l == "c" || l == "posix"
            }),
        }
    }

    fn depth(&self) -> ColourDepth {
        ColourDepth::from_env(
            self.no_color.as_deref(),
            self.colorterm.as_deref(),
            self.term.as_deref(),
        )
    }
}

/// Keys and colours, and sentences about what is wrong with the person's files.
fn bindings(settings: &Settings, environment: &Environment) -> (Keymap, Theme, Vec<String>) {
    let text = |text: &Option<crate::config::OverrideText>| {
        text.as_ref().map(|held| (shown(&held.path.display().to_string()), held.text.clone()))
    };
    let (keys, colours) = (text(&settings.keymap_text), text(&settings.theme_text));
    let layer = |held: &Option<(String, String)>| -> Vec<(String, String)> {
        held.iter().cloned().collect()
    };
    let (keys, colours) = (layer(&keys), layer(&colours));
    let named = super::keymap::shipped_layer(&settings.keymap.value);
    fn layers(held: &[(String, String)]) -> Vec<Layer<'_>> {
        held.iter().map(|(name, text)| Layer { name, text }).collect()
    }
    let keys: Vec<Layer<'_>> = named.into_iter().chain(layers(&keys)).collect();
    let (keymap, mut faults) = Keymap::layered(&keys);
    let mut sentences = Vec::new();
    let wanted = &settings.theme.value;
    let base = if colours.is_empty() || super::theme::SHIPPED.iter().any(|(name, _)| name == wanted)
    {
        wanted.as_str()
    } else {
        "dark"
    };
    let theme = Theme::layered(base, &layers(&colours)).or_else(|why| {
        sentences.push(why);
        Theme::layered("dark", &[])
    });
    let (theme, more) = theme.expect("the dark theme is shipped, kept by a test");
    faults.extend(more);
    let told: Vec<String> = faults.iter().flat_map(Faults::sentences).collect();
    let n = told.len();
    sentences.extend(told);
    if n > 0 {
        let plural = if n == 1 { "" } else { "s" };
        sentences.push(format!(
            "{n} fault{plural} in your keys or colours: the shipped ones are used, `:messages` tells all"
        ));
    }
    let theme = if environment.no_color.is_some() { theme.without_colours() } else { theme };
    (keymap, theme, sentences)
}

/// How pictures get to the terminal.
struct Output {
    theme: Theme,
    ascii: bool,
    sixel: bool,
    depth: ColourDepth,
    palette: Palette,
    registers: usize,
    /// The frame of the last picture.
    shown_frame: Option<FrameIndex>,
    painter: Painter,
    canvas: Canvas,
}

impl Output {
    fn new(screen: &Screen, settings: &Settings, theme: Theme, environment: &Environment) -> Self {
        let capabilities: &Capabilities = screen.capabilities();
        let sixel = match settings.graphics.value.as_str() {
            "sixel" => true,
            "halfblock" => false,
            _ => capabilities.sixel,
        };
        let registers = if sixel { capabilities.registers } else { 256 };
        let palette = view::palette(&theme, registers, view::LEVELS);
        Self {
            ascii: !environment.utf8,
            sixel,
            depth: environment.depth(),
            palette,
            registers,
            shown_frame: None,
            painter: Painter::new(capabilities.limits()),
            canvas: Canvas::default(),
            theme,
        }
    }

    /// Half blocks have two pixels in a cell.
    fn grid(&self, grid: Grid) -> Grid {
        if self.sixel { grid } else { Grid { cell_px: (1, 2), ..grid } }
    }

    /// Takes as many grays as the line carries: where the whole picture is sent anyway, and more
    /// of them when a clip comes to rest.
    fn fit_to_line(&mut self, model: &Model) {
        let other = self.shown_frame.replace(model.frame) != Some(model.frame);
        let levels = model.link.wanted(model.cine.playing);
        let coarse = self.palette.levels() < view::LEVELS;
        let finer = coarse && !model.cine.playing && levels > self.palette.levels();
        if self.sixel && (finer || (other && levels != self.palette.levels())) {
            self.palette = view::palette(&self.theme, self.registers, levels);
        }
    }

    fn draw(&mut self, screen: &mut Screen, model: &Model) -> Result<(), TerminalError> {
        self.fit_to_line(model);
        let mark_px = if self.sixel { (model.grid.cell_px.0 / 2).max(3) } else { 1 };
        let picture = self.canvas.compose(model, &self.palette, mark_px);
        let look = Look { theme: &self.theme, ascii: self.ascii };
        let mut area = None;
        let (sixel, depth, palette) = (self.sixel, self.depth, &self.palette);
        screen.draw(|frame| {
            area = view::draw(frame, model, look);
            match (area, &picture) {
                (Some(area), _) if sixel => reserve(frame.buffer_mut(), area),
                (Some(area), Some(picture)) => {
                    render_halfblocks(picture, palette, depth, area, frame.buffer_mut());
                }
                _ => {}
            }
        })?;
        let sixels = match (area, picture) {
            (Some(area), Some(picture)) if sixel => {
                self.painter.paint(picture, &self.palette, model.grid, area, &[])
            }
            _ => {
                // Text lies where the picture was.
                self.painter.damage_all();
                Vec::new()
            }
        };
        screen.present(&sixels)
    }
}

struct Loop<'a> {
    model: Model,
    session: Option<Session<Msg>>,
    screen: Option<Screen>,
    output: Output,
    open: OpenClip<'a>,
    inbox: Sender<Msg>,
    messages: Receiver<Msg>,
    started: Instant,
    on_hangup: OnHangup,
    dirty: bool,
    /// Number of the clip at hand; messages of others are dropped.
    epoch: u64,
    ended: Option<Ended>,
}

/// Longest wait for the inbox.
const IDLE: Duration = Duration::from_secs(1);

impl Loop<'_> {
    fn turn(&mut self) -> Ended {
        loop {
            if let Some(ended) = self.ended {
                return ended;
            }
            self.draw();
            let wait = match self.model.wake_at() {
                Some(due) => due.saturating_sub(self.started.elapsed()).min(IDLE),
                None => IDLE,
            };
            let first = match self.messages.recv_timeout(wait) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                // Cannot happen while this loop holds a sender; leaving is the safe answer.
                Err(RecvTimeoutError::Disconnected) => return Ended::Quit,
            };
            self.take(Msg::Tick(self.started.elapsed()));
            if let Some(message) = first {
                self.take(message);
            }
            while self.ended.is_none()
                && let Ok(message) = self.messages.try_recv()
            {
                self.take(message);
            }
        }
    }

    fn take(&mut self, message: Msg) {
        let message = match message {
            Msg::OfClip(epoch, inner) if epoch == self.epoch => *inner,
            Msg::OfClip(..) => return,
            other => other,
        };
        let hung_up = matches!(message, Msg::HungUp);
        self.dirty |= !matches!(message, Msg::Tick(_) | Msg::Nothing);
        let message = match message {
            Msg::SizeChanged => match &self.screen {
                Some(screen) => {
                    self.output.painter.damage_all();
                    Msg::Resized(self.output.grid(screen.grid()))
                }
                None => return,
            },
            other => other,
        };
        let before = (self.model.frame, self.model.flashing());
        let effects = update(&mut self.model, message);
        self.dirty |= before != (self.model.frame, self.model.flashing());
        self.carry_out(effects);
        if hung_up {
            self.hang_up();
        }
        if self.screen.is_none() && self.ended.is_none() && !self.model.propagating() {
            self.ended = Some(Ended::HungUp);
        }
    }

    /// The screen goes at once; what is running is finished without it, or stopped.
    fn hang_up(&mut self) {
        self.screen = None;
        if self.on_hangup == OnHangup::Stop {
            self.ended = Some(Ended::HungUp);
        }
    }

    fn draw(&mut self) {
        let Some(screen) = self.screen.as_mut().filter(|screen| screen.ready()) else { return };
        for panic in screen.take_panics() {
            self.model.warn(format!("a job failed: {panic}; everything goes on"));
            self.dirty = true;
        }
        if !self.dirty {
            return;
        }
        self.dirty = false;
        if let Some((bytes, took)) = screen.last_frame() {
            self.model.link.note(bytes, took);
        }
        self.model.link.levels = self.output.palette.levels();
        match self.output.draw(screen, &self.model) {
            Ok(()) => {}
            Err(TerminalError::HungUp) => {
                let _ = self.inbox.send(Msg::HungUp);
            }
            Err(error) => self.model.warn(error.to_string()),
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Quit => self.ended = Some(Ended::Quit),
                Effect::Suspend => self.suspend(),
                Effect::Redraw => self.redraw(),
                Effect::OpenClip(at) => self.open_clip(at),
                other => self.with_session(other),
            }
        }
    }

    fn with_session(&mut self, effect: Effect) {
        let Some(session) = &mut self.session else { return };
        if let Some(fault) = hand_over(session, &self.model.annotation, effect) {
            // At once, not by the inbox: the banner belongs to this very edit.
            let effects = update(&mut self.model, fault);
            self.carry_out(effects);
        }
    }

    fn suspend(&mut self) {
        if let Some(screen) = &mut self.screen {
            if let Err(error) = screen.suspend() {
                self.model.warn(error.to_string());
            }
            self.output.painter.damage_all();
            let grid = self.output.grid(screen.grid());
            let effects = update(&mut self.model, Msg::Resized(grid));
            self.carry_out(effects);
            self.dirty = true;
        }
    }

    fn redraw(&mut self) {
        if let Some(screen) = &mut self.screen {
            if let Err(error) = screen.reenter() {
                self.model.warn(error.to_string());
            }
            self.output.painter.damage_all();
            let grid = self.output.grid(screen.grid());
            let effects = update(&mut self.model, Msg::Resized(grid));
            self.carry_out(effects);
            self.dirty = true;
        }
    }

    /// The old clip is closed only when the new one is open.
    fn open_clip(&mut self, at: usize) {
        let Some(path) = self.model.queue.get(at).map(|clip| clip.path.clone()) else { return };
        let next = self.epoch + 1;
        let message = match (self.open)(&path, tagged(next, &self.inbox)) {
            Ok((session, opened)) => {
                self.epoch = next;
                if let Some(old) = self.session.replace(session) {
                    old.close();
                }
                Msg::Opened(Box::new(opened))
            }
            Err(error) => Msg::NotOpened { at, why: error.to_string() },
        };
        let effects = update(&mut self.model, message);
        self.carry_out(effects);
        self.dirty = true;
    }
}

/// Has the session do what is its part of an effect; what it leaves is the loop's. Returns the
/// message that a step could not be journaled.
pub fn hand_over(
    session: &mut Session<Msg>,
    annotation: &Annotation,
    effect: Effect,
) -> Option<Msg> {
    match effect {
        Effect::Journal(step) => {
            let error = session.journal(&step).err()?;
            return Some(Msg::Engine(Event::SaveFailed { why: error.to_string() }));
        }
        Effect::JournalView(view) => session.journal_view(&view),
        Effect::WantFrame(frame) => session.want_frame(frame),
        Effect::Refresh(ticket, frame, prompts) => session.refresh(ticket, frame, prompts),
        Effect::Propagate(ticket, plan) => session.propagate(ticket, plan),
        Effect::Cancel(track) => session.cancel(track),
        Effect::EncodeAhead(frame) => session.encode_ahead(frame),
        Effect::Export { format, path } => {
            session.export_named(annotation, &format, path.as_deref());
        }
        Effect::OpenClip(_) | Effect::Suspend | Effect::Redraw | Effect::Quit => {}
    }
    None
}

/// A sender whose messages reach `inbox` with the number of their clip: what an old clip still
/// has to say must never be taken for the new one's.
fn tagged(epoch: u64, inbox: &Sender<Msg>) -> Sender<Msg> {
    let (sender, own) = channel::<Msg>();
    let inbox = inbox.clone();
    let forward = move || {
        for message in own {
            if inbox.send(Msg::OfClip(epoch, Box::new(message))).is_err() {
                return;
            }
        }
    };
    // Without the thread the clip is silent: pictures stay away, and the session tells nothing
    // wrong.
    let _ = thread::Builder::new().name("clip-events".to_owned()).spawn(forward);
    sender
}
