//! What the model is made of: where the network is, what the keys go to, what was asked, ...

use std::path::PathBuf;
use std::time::Duration;

use crate::config::looks::{self, Preset};
use crate::domain::{Cut, FrameIndex, PictureLook, Region, Signature};
use crate::engine::{SegmenterInfo, Ticket};

use super::graphics::{Tone, Viewport};
use super::key::Key;
use super::keymap::KeyMode;
use super::line::Line;
use super::tools::{Questions, ReactionTest};

/// Where the network is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Being loaded in the background.
    #[default]
    Loading,
    /// At work.
    Ready(SegmenterInfo),
    /// Not available; points, windows and pictures go on.
    Failed(String),
}

/// Whether the journal holds everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Saved {
    /// Everything is on the disk.
    #[default]
    Solid,
    /// So many steps are written and a power cut could still take them.
    Unsynced(usize),
    /// The journal cannot be written.
    Failed(String),
}

/// What the person was asked before the clip or the program is left; the same again leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// The newest edits would be lost.
    Unsaved,
    /// A propagation would stop.
    Running,
    /// The clip is called finished while something of it is not.
    Unfinished,
}

/// How important a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weight {
    /// For information.
    #[default]
    Info,
    /// For information that is true only until the next key.
    Passing,
    /// Something did not work.
    Warning,
}

/// What was looked for in the queue when a clip was opened: where it does not open, the search goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// The next that is not finished.
    Unfinished,
    /// The next that opens, so many places at a time.
    Step(isize),
}

/// The last sentence for the person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The sentence.
    pub text: String,
    /// How important.
    pub weight: Weight,
}

/// Keys typed so far of a sequence, and the count before them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// The count.
    pub count: Option<u32>,
    /// The keys.
    pub keys: Vec<Key>,
}

/// What the keys go to.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Mode {
    /// The picture.
    #[default]
    Normal,
    /// Points by direction.
    Rays,
    /// Questions about visibility.
    Bisect(Questions),
    /// The reaction time is measured.
    Reaction(ReactionTest),
    /// The help page.
    Help(HelpPage),
    /// The last messages, scrolled by so many lines.
    Messages(usize),
    /// The command line or the palette.
    Command(Line),
}

impl Mode {
    /// Which table of the keymap counts.
    #[must_use]
    pub fn keys(&self) -> KeyMode {
        match self {
            Mode::Normal => KeyMode::Normal,
            Mode::Rays => KeyMode::Rays,
            Mode::Bisect(_) | Mode::Reaction(_) => KeyMode::Bisect,
            Mode::Help(page) if !page.typing => KeyMode::Help,
            Mode::Messages(_) => KeyMode::Help,
            Mode::Help(_) | Mode::Command(_) => KeyMode::Command,
        }
    }

    /// The word on the status line.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Mode::Normal => "NORMAL",
            Mode::Rays => "RAYS",
            Mode::Bisect(_) => "VISIBLE?",
            Mode::Reaction(_) => "REACTION",
            Mode::Help(page) if page.typing => "SEARCH",
            Mode::Help(_) => "HELP",
            Mode::Messages(_) => "MESSAGES",
            Mode::Command(line) if line.palette => "PALETTE",
            Mode::Command(_) => "COMMAND",
        }
    }
}

/// Where the help page is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelpPage {
    /// Scrolled by so many lines.
    pub top: usize,
    /// Words that every line shown holds.
    pub find: String,
    /// Words are being typed.
    pub typing: bool,
}

/// A clip of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Where it lies.
    pub path: PathBuf,
    /// Which part of a volume was asked for on the screen, on top of what the settings say.
    pub cut: Cut,
    /// Its name for people (not escaped).
    pub name: String,
    /// The person called it finished, as far as this session knows.
    pub finished: bool,
    /// Another content came since it was opened: its number opens it again.
    pub changed: bool,
}

impl Queued {
    /// A clip of which nothing is known, named as its file is.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        let name = path
            .file_name()
            .map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
        Self { path, cut: Cut::default(), name, finished: false, changed: false }
    }
}

/// A clip of the queue that is being opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Position in the queue.
    pub at: usize,
    /// Which part of it.
    pub cut: Cut,
    /// When it was asked for.
    pub since: Duration,
}

impl Opening {
    /// How long that takes already, whole seconds.
    #[must_use]
    pub fn seconds(&self, now: Duration) -> u64 {
        now.saturating_sub(self.since).as_secs()
    }
}

/// A refresh on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which question.
    pub ticket: Ticket,
    /// Which frame.
    pub frame: FrameIndex,
    /// The undo group of the edit that caused it.
    pub group: u64,
    /// The prompts it is asked about.
    pub signature: u64,
    /// All that the structure had by then, as [`Signature::fingerprint`] gives them.
    pub whole: u64,
    /// When.
    pub since: Duration,
}

/// A propagation on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Which question.
    pub ticket: Ticket,
    /// The undo group of its masks.
    pub group: u64,
    /// The prompts it is based on.
    pub signature: Signature,
    /// It compares passes; masks stay.
    pub check: bool,
    /// When it was asked for.
    pub since: Duration,
    /// How many structures were asked for at once, itself among them.
    pub structures: usize,
    /// Points of a structure that was asked for with it, and ended before it, changed meanwhile.
    pub outdated: bool,
    /// Frames decided.
    pub done: usize,
    /// Frames to decide.
    pub total: usize,
}

/// What the network was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jobs {
    /// Refreshes, at most one per track and frame.
    pub asked: Vec<Asked>,
    /// Propagations, in order.
    pub running: Vec<Running>,
    /// Last generation given.
    pub generation: u64,
    /// How far an export is: done of total.
    pub export: Option<(usize, usize)>,
}

/// How fast the clip plays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cine {
    /// Whether it plays.
    pub playing: bool,
    /// Times its own speed.
    pub speed: f32,
    /// When the next frame is due.
    pub due: Duration,
}

/// How the picture is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Picture {
    /// Zoom and pan; `None` before the first size of the terminal.
    pub viewport: Option<Viewport>,
    /// How gray values are shown.
    pub look: PictureLook,
    /// Darkest and brightest gray value worth showing, once measured, and of which region.
    pub range: Option<(Option<Region>, [u8; 2])>,
    /// Frames of the clip have colours that say more than a tint: no frame before the first such one
    /// has any.
    pub flow: bool,
    /// Smooth instead of square pixels when enlarged.
    pub smooth: bool,
    /// Draw masks.
    pub masks: bool,
    /// Tint the inside of the chosen structure's mask.
    pub tint: bool,
    /// Draw points, boxes, crosshair.
    pub points: bool,
    /// Show the area over time instead of doubts.
    pub area: bool,
}

impl Picture {
    /// The gray values that an automatic look stretches; `None`: all of them.
    #[must_use]
    pub fn stretched(&self) -> Option<[u8; 2]> {
        self.range.map(|(_, range)| range).filter(|_| self.look.automatic)
    }

    /// Window, level and gamma for gray values as they are in the file.
    #[must_use]
    pub fn tone(&self) -> Tone {
        Tone::of(&self.look, self.stretched())
    }
}

/// Looks to choose from.
#[derive(Clone, Debug, PartialEq)]
pub struct Looks {
    /// All of them, in the order of the cycle.
    pub presets: Vec<Preset>,
    /// The name of the one for every clip, where the settings say so.
    pub always: Option<String>,
    /// The person chose or changed the look of this clip: the journal keeps it.
    pub own: bool,
}

impl Default for Looks {
    fn default() -> Self {
        Self { presets: looks::shipped(), always: None, own: false }
    }
}
