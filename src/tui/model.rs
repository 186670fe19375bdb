//! Everything the screen knows. Plain data: [`super::update`] changes it, [`super::view`] shows it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::config::schema::Schema;
use crate::domain::{
    Annotation, BoxPx, ClipInfo, Cut, FrameIndex, GrayFrame, History, PointPx, PromptId, Track,
    TrackId, TrackOrder, review::Doubts,
};
use crate::engine::{Event, Opened, Surround, View};

use super::graphics::{Grid, Link, Viewport, shows_colours};
use super::hurry::Hurry;
use super::keymap::{KeyMode, Keymap};
use super::marks::Marks;
use super::tools::Tools;
use super::view::Areas;

pub use super::msg::{Effect, Msg};
pub use super::parts::{
    Asked, Cine, HelpPage, Jobs, Leaving, Looks, Message, Mode, Network, Opening, Pending, Picture,
    Queued, Running, Saved, Seek, Weight,
};

/// Everything the screen knows.
#[derive(Debug)]
pub struct Model {
    /// The clip at hand.
    pub clip: ClipInfo,
    /// Which part of a volume that is, also where nobody named one.
    pub part: Cut,
    /// Its annotation.
    pub annotation: Annotation,
    /// Undo and redo.
    pub history: History,
    /// Which masks are up to date.
    pub marks: Marks,
    /// High half of new numbers.
    pub seed: u32,
    /// Low half of the next new number.
    pub next_number: u32,
    /// Order of new structures.
    pub order: TrackOrder,
    /// The frame at hand.
    pub frame: FrameIndex,
    /// The crosshair, image px.
    pub cursor: PointPx,
    /// The structure at hand.
    pub track: Option<TrackId>,
    /// The chosen prompt.
    pub chosen: Option<PromptId>,
    /// First corner of a box being made.
    pub corner: Option<PointPx>,
    /// The run of nudges that the next one joins: prompt and undo group.
    pub nudging: Option<(PromptId, u64)>,
    /// Structures that are not drawn.
    pub hidden: BTreeSet<TrackId>,
    /// Decoded frames, oldest first.
    pub frames: VecDeque<(FrameIndex, Arc<GrayFrame>)>,
    /// Frames that cannot be decoded, and why.
    pub broken: BTreeMap<FrameIndex, String>,
    /// How it is shown.
    pub picture: Picture,
    /// Looks to choose from.
    pub looks: Looks,
    /// What becomes of the pixels outside the ultrasound.
    pub surround: Surround,
    /// The clip may hold patient data.
    pub private: bool,
    /// Size of the terminal.
    pub grid: Grid,
    /// Playing.
    pub cine: Cine,
    /// Where the network is.
    pub network: Network,
    /// What it was asked.
    pub jobs: Jobs,
    /// Undo groups that changed the prompts of a frame, oldest first.
    pub prompt_groups: BTreeMap<(TrackId, FrameIndex), Vec<u64>>,
    /// What the person has in hand.
    pub tools: Tools,
    /// Which keys do what.
    pub keymap: Keymap,
    /// Keys typed so far.
    pub pending: Pending,
    /// What the keys go to.
    pub mode: Mode,
    /// Whether the journal holds everything.
    pub saved: Saved,
    /// The last sentence.
    pub message: Message,
    /// Sentences before it, the newest last.
    pub log: VecDeque<Message>,
    /// How many of them came since the person last pressed a key.
    pub fresh: usize,
    /// From the last prompt to its mask.
    pub latency: Option<Duration>,
    /// The step of the lesson, while there is one.
    pub lesson: Option<usize>,
    /// The line to the terminal.
    pub link: Link,
    /// The key that is held down.
    pub hurry: Hurry,
    /// Now.
    pub now: Duration,
    /// Last time the person did something.
    pub active_at: Duration,
    /// Keys pressed since the clip was opened.
    pub keys: u64,
    /// The view last noted in the journal.
    pub noted_view: Option<View>,
    /// The frame last encoded ahead, and the anchors on either side of it.
    pub encoded_ahead: Option<(FrameIndex, Option<(FrameIndex, FrameIndex)>)>,
    /// Labels and attributes that the study asks for.
    pub schema: Schema,
    /// The person called the clip finished, and changed nothing since.
    pub finished: bool,
    /// All clips.
    pub queue: Vec<Queued>,
    /// Which of them is at hand.
    pub at: usize,
    /// The clip of the queue that is being opened; the one at hand stays until it is open.
    pub opening: Option<Opening>,
    /// The clip being opened is to be the next unfinished one.
    pub seeking: Option<Seek>,
    /// Questions that leaving raised; who leaves again has answered these.
    pub leave_asked: Vec<Leaving>,
    /// Whether the screen is gone or going.
    pub leaving: bool,
}

/// Messages kept.
const LOG: usize = 200;
/// Decoded frames kept, bytes.
const FRAMES_BYTES: usize = 192 << 20;

impl Model {
    /// The model of a clip just opened: clip number `at` of `queue`.
    #[must_use]
    pub fn new(opened: Opened, queue: Vec<Queued>, at: usize, keymap: Keymap, grid: Grid) -> Self {
        let clip = opened.info;
        let middle = PointPx::pixel_centre(clip.width_px / 2, clip.height_px / 2);
        let view = opened.view;
        let held = |id: &TrackId| opened.annotation.tracks.contains_key(id);
        let track = view.as_ref().and_then(|view| view.track).filter(held);
        let mut model = Self {
            frame: view.as_ref().map_or(0, |view| view.frame.min(clip.frames.saturating_sub(1))),
            cursor: view.as_ref().map_or(middle, |view| view.cursor),
            track: track.or_else(|| opened.annotation.tracks.keys().next().copied()),
            marks: Marks::of(&opened.annotation, opened.origins),
            part: opened.part,
            annotation: opened.annotation,
            history: opened.history,
            seed: opened.session_seed,
            next_number: 1,
            order: TrackOrder::default(),
            chosen: None,
            corner: None,
            nudging: None,
            hidden: BTreeSet::new(),
            frames: VecDeque::new(),
            broken: BTreeMap::new(),
            picture: Picture {
                viewport: None,
                look: view.as_ref().and_then(|view| view.look).unwrap_or_default().limited(),
                range: None,
                flow: false,
                smooth: false,
                masks: true,
                tint: true,
                points: true,
                area: false,
            },
            looks: Looks {
                own: view.as_ref().is_some_and(|view| view.look.is_some()),
                ..Looks::default()
            },
            surround: opened.surround,
            private: opened.private,
            grid,
            cine: Cine { playing: false, speed: 1.0, due: Duration::ZERO },
            network: Network::Loading,
            jobs: Jobs::default(),
            prompt_groups: BTreeMap::new(),
            tools: Tools::default(),
            keymap,
            pending: Pending::default(),
            mode: Mode::Normal,
            saved: Saved::Solid,
            message: Message::default(),
            log: VecDeque::new(),
            fresh: 0,
            latency: None,
            lesson: None,
            link: Link::default(),
            hurry: Hurry::default(),
            now: Duration::ZERO,
            active_at: Duration::ZERO,
            keys: 0,
            // Keys of an earlier session are not counted on.
            noted_view: view.map(|view| View { keys: 0, outside: None, ..view }),
            encoded_ahead: None,
            schema: Schema::default(),
            finished: view.is_some_and(|view| view.finished),
            queue,
            at,
            opening: None,
            seeking: None,
            leave_asked: Vec::new(),
            leaving: false,
            clip,
        };
        model.cursor = model.inside_image(model.cursor);
        let finished = model.finished;
        if let Some(clip) = model.queue.get_mut(at) {
            clip.finished = finished;
        }
        for (id, track) in &model.annotation.tracks {
            model.tools.review.doubts.insert(*id, Doubts::of(track));
        }
        model.fit_viewport();
        for note in opened.notes.iter().rev() {
            model.warn(note.as_str());
        }
        model
    }

    /// The structure at hand.
    #[must_use]
    pub fn current(&self) -> Option<(TrackId, &Track)> {
        let id = self.track?;
        Some((id, self.annotation.tracks.get(&id)?))
    }

    /// The pixels of the frame at hand, when decoded.
    #[must_use]
    pub fn pixels(&self) -> Option<&Arc<GrayFrame>> {
        self.frames.iter().find(|(frame, _)| *frame == self.frame).map(|(_, pixels)| pixels)
    }

    /// Keeps a decoded frame, letting the oldest go.
    pub fn keep_frame(&mut self, frame: FrameIndex, pixels: Arc<GrayFrame>) {
        self.broken.remove(&frame);
        self.frames.retain(|(held, _)| *held != frame);
        let each = pixels.bytes().max(1);
        self.picture.flow = self.picture.flow || shows_colours(&pixels);
        self.frames.push_back((frame, pixels));
        let most = (FRAMES_BYTES / each).max(4);
        while self.frames.len() > most {
            self.frames.pop_front();
        }
    }

    /// A number that no session has given before.
    pub fn fresh(&mut self) -> u64 {
        let number = u64::from(self.seed) << 32 | u64::from(self.next_number);
        self.next_number += 1;
        number
    }

    /// Says something.
    pub fn say(&mut self, text: impl Into<String>) {
        self.tell(Message { text: text.into(), weight: Weight::Info });
    }

    /// Says something that is true only until the next key.
    pub fn say_passing(&mut self, text: impl Into<String>) {
        self.tell(Message { text: text.into(), weight: Weight::Passing });
    }

    /// Says that something did not work.
    pub fn warn(&mut self, text: impl Into<String>) {
        self.tell(Message { text: text.into(), weight: Weight::Warning });
    }

    /// Puts a warning among the last messages that is told elsewhere.
    pub fn note(&mut self, text: impl Into<String>) {
        self.keep(Message { text: text.into(), weight: Weight::Warning });
    }

    fn tell(&mut self, message: Message) {
        self.keep(message.clone());
        self.message = message;
    }

    fn keep(&mut self, message: Message) {
        if self.log.back() != Some(&message) {
            self.log.push_back(message);
            self.fresh += 1;
        }
        if self.log.len() > LOG {
            self.log.pop_front();
        }
    }

    /// Puts what was said of clips before in front of what was said of this one; so many of it since the last key.
    pub fn log_before(&mut self, mut older: VecDeque<Message>, fresh: usize) {
        self.fresh += fresh;
        older.append(&mut self.log);
        older.drain(..older.len().saturating_sub(LOG));
        self.log = older;
    }

    /// The nearest pixel centre inside the image.
    #[must_use]
    pub fn inside_image(&self, at: PointPx) -> PointPx {
        let centre = |v: f32, size: u32| (v.floor() + 0.5).clamp(0.5, size.max(1) as f32 - 0.5);
        PointPx::new(centre(at.x, self.clip.width_px), centre(at.y, self.clip.height_px))
    }

    /// Whether a place lies in the image, its border included, px of the image.
    #[must_use]
    pub fn holds(&self, at: PointPx) -> bool {
        let within = |v: f32, size: u32| (0.0..=size as f32).contains(&v);
        within(at.x, self.clip.width_px) && within(at.y, self.clip.height_px)
    }

    /// Where things lie on the screen.
    #[must_use]
    pub fn areas(&self) -> Option<Areas> {
        let areas = Areas::of(self.grid, self.picture.area)?;
        Some(if self.lesson.is_some() { areas.with_lesson() } else { areas })
    }

    /// Fits the viewport to the size of the terminal.
    pub fn fit_viewport(&mut self) {
        let Some(areas) = self.areas() else { return };
        let (width, height) = areas.picture_px(self.grid);
        let (width, height) = (width - self.beside_px(width), height - self.strip_px());
        self.picture.viewport = Some(match self.picture.viewport {
            Some(viewport) => viewport.resized(width, height),
            None => Viewport::fit(self.clip.width_px, self.clip.height_px, width, height),
        });
    }

    /// Width of the frame beside the one at hand, of `width` screen px for both; 0 without one.
    #[must_use]
    pub fn beside_px(&self, width: usize) -> usize {
        let cell = usize::from(self.grid.cell_px.0.max(1));
        self.tools.beside.as_ref().map_or(0, |_| width / 2 / cell * cell)
    }

    /// Height of the M-mode strip below the picture, screen px; 0 without one.
    #[must_use]
    pub fn strip_px(&self) -> usize {
        let cell = usize::from(self.grid.cell_px.1.max(1));
        match (&self.tools.strip, self.areas()) {
            (Some(_), Some(areas)) => areas.picture_px(self.grid).1 / 3 / cell * cell,
            _ => 0,
        }
    }

    /// Distance between two positions with its unit: mm where the clip tells its spacing.
    #[must_use]
    pub fn distance(&self, a: PointPx, b: PointPx) -> String {
        match self.clip.scale_between(a, b) {
            Ok([x, y]) => {
                let (dx, dy) = (f64::from(b.x - a.x) * x, f64::from(b.y - a.y) * y);
                format!("{:.1} mm", dx.hypot(dy))
            }
            Err(why) => format!("{:.1} px (no mm: {why})", a.distance(b)),
        }
    }

    /// What changes after the end is work again.
    pub fn unfinish(&mut self) {
        self.finished = false;
        if let Some(clip) = self.queue.get_mut(self.at) {
            clip.finished = false;
        }
    }

    /// Where the person is, for the journal.
    #[must_use]
    pub fn view(&self) -> View {
        let finished = self.finished;
        View {
            frame: self.frame,
            cursor: self.cursor,
            track: self.track,
            finished,
            keys: self.keys,
            outside: None,
            look: self.looks.own.then_some(self.picture.look),
        }
    }

    /// Whether a propagation is on its way.
    #[must_use]
    pub fn propagating(&self) -> bool {
        !self.jobs.running.is_empty()
    }

    /// Whether a message tells of masks computed ahead, which nobody sees yet.
    #[must_use]
    pub fn computes_ahead(&self, message: &Msg) -> bool {
        let (ticket, end) = match message {
            Msg::Engine(Event::Finished { ticket, .. }) => (ticket, true),
            Msg::Engine(Event::Tracked { ticket, .. } | Event::Progress { ticket, .. }) => {
                (ticket, false)
            }
            _ => return false,
        };
        // What a comparison found is shown when it is through.
        let ahead = self.tools.ahead.as_ref().filter(|ahead| ahead.ticket == *ticket);
        ahead.is_some_and(|ahead| !(end && ahead.check))
    }

    /// What the keys go to when a dialog closes.
    #[must_use]
    pub fn home(&self) -> Mode {
        match &self.tools.asking {
            Some(questions) => Mode::Bisect(questions.clone()),
            None if self.tools.rays.is_some() => Mode::Rays,
            None => Mode::Normal,
        }
    }

    /// Closes the dialog.
    pub fn go_home(&mut self) {
        self.mode = self.home();
        self.tools.asking = None;
    }

    /// Opens a dialog. Questions about visibility wait behind it.
    pub fn open_dialog(&mut self, dialog: Mode) {
        if let Mode::Bisect(questions) = &self.mode {
            self.tools.asking = Some(questions.clone());
        }
        self.mode = dialog;
    }

    /// Whether keys that are to be played must wait: for the picture that the person would have
    /// seen, for the clip that is being opened, or for masks that are being changed.
    #[must_use]
    pub fn keys_wait(&self) -> bool {
        let unseen = self.pixels().is_none() && !self.broken.contains_key(&self.frame);
        self.opening.is_some() || unseen || self.tools.batch.is_some()
    }

    /// Which table of the keymap counts.
    #[must_use]
    pub fn key_mode(&self) -> KeyMode {
        match self.mode.keys() {
            KeyMode::Rays if self.leap().is_some() => KeyMode::Leap,
            KeyMode::Normal if self.tools.strip.is_some() => KeyMode::MMode,
            mode => mode,
        }
    }

    /// The region that the next leap divides, while the place of the rays is being said.
    #[must_use]
    pub fn leap(&self) -> Option<BoxPx> {
        self.tools.rays.as_ref().and_then(|tool| tool.leap)
    }

    /// Whether the word of a reaction test stands on the screen.
    #[must_use]
    pub fn flashing(&self) -> bool {
        matches!(&self.mode, Mode::Reaction(test) if test.shown)
    }

    /// Whether pictures follow each other so quickly that they may be coarse.
    #[must_use]
    pub fn hurried(&self) -> bool {
        self.cine.playing || self.hurry.until(self.now).is_some()
    }

    /// When the loop must come back without anything happening.
    #[must_use]
    pub fn wake_at(&self) -> Option<Duration> {
        let flash = match &self.mode {
            Mode::Reaction(test) if !test.shown => Some(test.due),
            _ => None,
        };
        let playing = self.cine.playing.then_some(self.cine.due);
        let portion = self.tools.batch.as_ref().map(|_| self.now);
        // How long it takes is told by the second.
        let second = |opening: Opening| Duration::from_secs(opening.seconds(self.now) + 1);
        let opening = self.opening.map(|opening| opening.since + second(opening));
        let encoded = self.encoded_ahead.map(|(frame, _)| frame);
        let ahead = encoded != Some(self.frame) && self.pixels().is_some();
        let idle = !self.cine.playing && (ahead || self.noted_view != Some(self.view()));
        let idle = idle.then_some(self.active_at + super::update::REST);
        let hurry = self.hurry.until(self.now);
        [playing, portion, opening, idle, flash, hurry].into_iter().flatten().min()
    }
}
