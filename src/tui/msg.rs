//! What happens to the model, and what it wants done.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::person::Learned;
use crate::domain::{Cut, FrameIndex, FramePrompts, PointPx, Region, Step, TrackId};
use crate::engine::{Event, Opened, Plan, Ticket, View};

use super::graphics::Grid;
use super::key::Key;
use super::terminal::TerminalEvent;

/// What happened: the only way anything reaches the model.
#[derive(Debug)]
pub enum Msg {
    /// A key was pressed.
    Key(Key),
    /// A command line, as a script or a test gives it.
    Line(String),
    /// Text was pasted; only the command line takes it.
    Pasted(String),
    /// The terminal has another size, or other cells.
    Resized(Grid),
    /// The program was asleep and goes on: draw everything.
    Continued,
    /// Someone outside asks to suspend.
    SuspendAsked,
    /// Someone outside asks to end.
    Terminate,
    /// The terminal can take another frame.
    Ready,
    /// The terminal has another size; the loop finds out which and says [`Msg::Resized`].
    SizeChanged,
    /// A key that nothing can name.
    Nothing,
    /// Something about the clip with this number in the order of opening; the loop looks inside.
    OfClip(u64, Box<Msg>),
    /// The clip with this number in the order of opening is open or does not open; the loop looks which.
    OpenAnswered(u64),
    /// The terminal is gone.
    HungUp,
    /// The terminal or the loop has something to say.
    Notice(String),
    /// The engine tells something.
    Engine(Event),
    /// Time passed. Since the program started; never goes back.
    Tick(Duration),
    /// A clip of the queue was opened.
    Opened(Box<Opened>),
    /// A clip of the queue could not be opened; the one at hand stays.
    NotOpened {
        /// Position in the queue.
        at: usize,
        /// The sentence.
        why: String,
    },
}

impl From<Event> for Msg {
    fn from(event: Event) -> Self {
        Msg::Engine(event)
    }
}

impl From<TerminalEvent> for Msg {
    fn from(event: TerminalEvent) -> Self {
        match event {
            TerminalEvent::Key(key) => Key::from_event(&key).map_or(Msg::Nothing, Msg::Key),
            TerminalEvent::Paste(text) => Msg::Pasted(text),
            TerminalEvent::Resize { .. } => Msg::SizeChanged,
            TerminalEvent::Ready => Msg::Ready,
            TerminalEvent::Suspend => Msg::SuspendAsked,
            TerminalEvent::Continued => Msg::Continued,
            TerminalEvent::Terminate => Msg::Terminate,
            TerminalEvent::HungUp => Msg::HungUp,
        }
    }
}

/// What the loop must do for the model.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write a step to the journal, before anything is drawn.
    Journal(Step),
    /// Let what other sessions wrote take effect, and tell the model at once.
    TakeOthers,
    /// Note where the person is.
    JournalView(View),
    /// Decode a frame.
    WantFrame(FrameIndex),
    /// Decide a frame from its prompts.
    Refresh(Ticket, FrameIndex, FramePrompts),
    /// Decide the frames of a plan.
    Propagate(Ticket, Plan),
    /// Decide the frames of a plan before anybody asked for them.
    PropagateAhead(Ticket, Plan),
    /// Stop a track's jobs, or all.
    Cancel(Option<TrackId>),
    /// Compute the features of a frame ahead of time, then those between the anchors on either side of it.
    EncodeAhead(FrameIndex, Option<(FrameIndex, FrameIndex)>),
    /// Write the annotation in a format (by name) to a path.
    Export {
        /// Name of the format.
        format: String,
        /// Where to, or the project's export folder.
        path: Option<PathBuf>,
    },
    /// Write a picture of a frame at print size, or a contact sheet of the clip.
    Picture {
        /// The frame, or none for the contact sheet.
        frame: Option<FrameIndex>,
        /// Where to, or the project's export folder.
        path: Option<PathBuf>,
        /// Colours of structures in the place of the usual ones, by number.
        colours: [Option<[u8; 3]>; 8],
    },
    /// Look for the ultrasound region in the pixels.
    FindRegion,
    /// Make everything outside this region black, or show everything.
    Outside(Option<Region>),
    /// Read gray values along a line in every frame; number 0: not any more.
    Strip(u64, PointPx, PointPx),
    /// Read what somebody else made of the clip.
    Overlay(PathBuf),
    /// Keep something about the person for the next time.
    Remember(Learned),
    /// Open a clip of the queue instead, and of a volume this part.
    OpenClip(usize, Cut),
    /// The clip that is being opened is not wanted any more.
    StopOpening,
    /// Put the program to sleep.
    Suspend,
    /// Ring the terminal's bell.
    Bell,
    /// Send the whole picture again.
    Redraw,
    /// Leave.
    Quit,
}
