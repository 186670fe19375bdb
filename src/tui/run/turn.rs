//! The loop: messages in, the model changed, effects carried out, one drawing.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::config::OnHangup;
use crate::config::person::{Learned, Person};
use crate::domain::{Annotation, Cut};
use crate::engine::{Event, Others, Session, now_ms};
use crate::tui::model::{Effect, Mode, Model, Msg};
use crate::tui::terminal::{Screen, TerminalError};
use crate::tui::tools::STRIP_SAMPLES;
use crate::tui::update::update;
use crate::tui::view;

use super::Ended;
use super::inbox::Inbox;
use super::opening::{Arrived, Opener, close, listen};
use super::output::Output;

/// The screen at work: one inbox, one session, one terminal.
pub(super) struct Loop {
    pub(super) model: Model,
    pub(super) session: Option<Session<Msg>>,
    pub(super) screen: Option<Screen>,
    pub(super) output: Output,
    pub(super) opener: Opener,
    /// Clips that were left and are being closed: their exports are finished first.
    pub(super) closing: Vec<JoinHandle<()>>,
    pub(super) inbox: Sender<Msg>,
    pub(super) messages: Inbox,
    pub(super) started: Instant,
    pub(super) on_hangup: OnHangup,
    /// What is kept of the person.
    pub(super) person_file: PathBuf,
    /// A person's key, or what else does not wait, changed what is to be seen.
    pub(super) dirty: bool,
    /// What came by itself did: a frame that was played or decoded, a mask.
    pub(super) moved: bool,
    /// Number of the clip at hand; messages of others are dropped.
    pub(super) epoch: u64,
    pub(super) ended: Option<Ended>,
}

/// Longest wait for the inbox.
const IDLE: Duration = Duration::from_secs(1);
/// The same while something waits for the line to be free, of which no message tells.
const UNTIL_FREE: Duration = Duration::from_millis(25);

impl Loop {
    /// Takes messages and draws until the end.
    pub(super) fn turn(&mut self) -> Ended {
        loop {
            if let Some(ended) = self.ended {
                return ended;
            }
            self.draw();
            let wait = match self.model.wake_at() {
                Some(due) => due.saturating_sub(self.started.elapsed()).min(IDLE),
                None => IDLE,
            };
            let wait = if self.waits_for_line() { wait.min(UNTIL_FREE) } else { wait };
            if !self.messages.wait(wait) {
                // Cannot happen while this loop holds a sender; leaving is the safe answer.
                return Ended::Quit;
            }
            self.take(Msg::Tick(self.started.elapsed()));
            while self.ended.is_none()
                && let Some(message) = self.messages.next()
            {
                self.take(message);
            }
        }
    }

    /// Closes the clip at hand and waits for those that were left: their exports are finished, too.
    pub(super) fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.close();
        }
        for closing in self.closing.drain(..) {
            let _ = closing.join();
        }
    }

    fn take(&mut self, message: Msg) {
        let by_itself = matches!(message, Msg::OfClip(..) | Msg::Engine(_) | Msg::Tick(_));
        let message = match message {
            Msg::OfClip(epoch, inner) if epoch == self.epoch => *inner,
            // Of a clip that was left: what it says of its frames is nothing here.
            Msg::OfClip(_, inner) => match not_exported(&inner) {
                Some(why) => Msg::Notice(why),
                None => return,
            },
            other => other,
        };
        let hung_up = matches!(message, Msg::HungUp);
        let unseen = matches!(message, Msg::Tick(_) | Msg::Nothing);
        let seen_at_once = !unseen && !self.model.computes_ahead(&message);
        self.note_change(by_itself, seen_at_once);
        let message = match message {
            Msg::SizeChanged => match &mut self.screen {
                Some(screen) => {
                    self.output.painter.damage_all();
                    Msg::Resized(self.output.grid(screen.resized()))
                }
                None => return,
            },
            Msg::OpenAnswered(number) => match self.opener.answer(number) {
                Some((_, Ok(arrived))) => self.show(number, arrived),
                Some((at, Err(error))) => Msg::NotOpened { at, why: error.to_string() },
                None => return,
            },
            other => other,
        };
        let seen = |model: &Model| {
            let left = model.tools.batch.as_ref().map(|batch| batch.left.len());
            let opening = model.opening.map(|opening| opening.seconds(model.now));
            (model.frame, model.flashing(), model.hurried(), left, opening)
        };
        let before = seen(&self.model);
        let another = matches!(message, Msg::Opened(_));
        let effects = update(&mut self.model, message);
        let changed = before != seen(&self.model);
        self.note_change(by_itself, changed);
        // Behind a slow line many keys come before a drawing: they were typed looking at the clip before.
        self.model.tools.undrawn |= another;
        self.carry_out(effects);
        if hung_up {
            self.hang_up();
        }
        if self.screen.is_none() && self.ended.is_none() && !self.model.propagating() {
            self.ended = Some(Ended::HungUp);
        }
    }

    fn note_change(&mut self, by_itself: bool, changed: bool) {
        let noted = if by_itself { &mut self.moved } else { &mut self.dirty };
        *noted |= changed;
    }

    /// Whether something is to be drawn as soon as nothing is on its way to the terminal any more.
    fn waits_for_line(&self) -> bool {
        let moved = self.moved && self.model.link.crawls();
        self.screen.is_some() && (moved || self.output.is_unfinished(&self.model))
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
        if let Some((bytes, took)) = screen.last_frame() {
            self.model.link.note(bytes, took);
        }
        // Where a picture takes long, what nobody asked for waits for the one before, so that a key waits for one at most.
        let free = screen.is_free();
        let by_itself = match self.moved {
            true => free || !self.model.link.crawls(),
            false => free && self.output.is_unfinished(&self.model),
        };
        if !self.dirty && !by_itself {
            return;
        }
        (self.dirty, self.moved) = (false, false);
        self.output.fit_to_line(&mut self.model, free);
        match self.output.draw(screen, &self.model) {
            Ok(()) => {
                self.model.tools.undrawn = false;
                self.note_seen();
            }
            Err(TerminalError::HungUp) => {
                let _ = self.inbox.send(Msg::HungUp);
            }
            Err(error) => self.model.warn(error.to_string()),
        }
    }

    /// What stands whole on the screen is seen: the message, and in their list those that were scrolled to.
    fn note_seen(&mut self) {
        let Some(session) = &mut self.session else { return };
        match &self.model.mode {
            // A terminal that is too small shows no message.
            _ if self.model.areas().is_none() => {}
            // The line that is typed stands in its place.
            Mode::Command(_) => {}
            Mode::Messages(top) => {
                let seen = view::messages_seen(&self.model, *top);
                seen.for_each(|message| session.note_seen(&message.text));
            }
            _ if !view::tells_whole(&self.model, self.output.look()) => {}
            _ => session.note_seen(&self.model.message.text),
        }
    }

    pub(super) fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut left = VecDeque::from(effects);
        while let Some(effect) = left.pop_front() {
            match effect {
                Effect::Quit => self.ended = Some(Ended::Quit),
                Effect::Suspend => self.suspend(),
                Effect::Redraw => self.redraw(),
                Effect::Bell => self.ring(),
                Effect::OpenClip(at, cut) => {
                    // Clips that are passed over may be many: one behind the other, not one inside the other.
                    let next = self.open_clip(at, cut);
                    next.into_iter().rev().for_each(|effect| left.push_front(effect));
                }
                Effect::StopOpening => self.opener.give_up(),
                Effect::Remember(learned) => self.remember(&learned),
                other => self.with_session(other),
            }
        }
    }

    fn with_session(&mut self, effect: Effect) {
        let Some(session) = &mut self.session else { return };
        if let Some(answer) = hand_over(session, &self.model.annotation, effect) {
            // At once, not by the inbox: a banner belongs to this very edit, edits of others come
            // before the next of ours.
            let effects = update(&mut self.model, answer);
            self.carry_out(effects);
        }
    }

    fn remember(&mut self, learned: &Learned) {
        if let Err(why) = Person::keep(&self.person_file, learned, now_ms()) {
            self.model.warn(why);
        }
    }

    fn ring(&mut self) {
        if let Some(screen) = &mut self.screen {
            screen.ring();
            self.dirty = true;
        }
    }

    fn suspend(&mut self) {
        self.enter_again(Screen::suspend);
    }

    fn redraw(&mut self) {
        self.enter_again(Screen::reenter);
    }

    /// After `enter` nothing is known of what the terminal shows, nor of its size.
    fn enter_again(&mut self, enter: fn(&mut Screen) -> Result<(), TerminalError>) {
        let Some(screen) = &mut self.screen else { return };
        if let Err(error) = enter(screen) {
            self.model.warn(error.to_string());
        }
        self.output.painter.damage_all();
        let grid = self.output.grid(screen.resized());
        let effects = update(&mut self.model, Msg::Resized(grid));
        self.carry_out(effects);
        self.dirty = true;
    }

    /// Begins to open a clip. Returns what follows where that is refused at once.
    fn open_clip(&mut self, at: usize, cut: Cut) -> Vec<Effect> {
        // An edit that was not saved just before may have ended it.
        let wanted = self.model.opening.is_some_and(|opening| opening.at == at);
        let clip = self.model.queue.get(at).filter(|_| wanted);
        let Some(path) = clip.map(|clip| clip.path.clone()) else { return Vec::new() };
        self.dirty = true;
        match self.opener.begin(at, path, cut) {
            Ok(()) => Vec::new(),
            Err(error) => update(&mut self.model, Msg::NotOpened { at, why: error.to_string() }),
        }
    }

    /// A clip that came takes the place of the one at hand, which is closed only now. Returns what the model must hear.
    fn show(&mut self, number: u64, arrived: Arrived) -> Msg {
        let Arrived { session, opened, events } = arrived;
        self.epoch = number;
        listen(number, events, self.inbox.clone());
        self.closing.retain(|closing| !closing.is_finished());
        if let Some(old) = self.session.replace(session) {
            let (journal, closes) = channel();
            // The model is still that of the clip that is left.
            if let Some(clip) = self.model.queue.get(self.model.at) {
                self.opener.leaves(clip.path.clone(), closes);
            }
            self.closing.extend(close(old, journal));
        }
        Msg::Opened(Box::new(opened))
    }
}

/// What a person has to hear, wherever they went since.
pub(super) fn not_exported(message: &Msg) -> Option<String> {
    let Msg::Engine(Event::ExportFailed { why, .. }) = message else { return None };
    Some(format!("the export of the clip before was not written: {why}"))
}

/// Has the session do what is its part of an effect; what it leaves is the loop's. Returns what the
/// model must hear before anything else: what others did to the clip, or that the session could not
/// (a step was not journaled, there is no thread).
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
        Effect::TakeOthers => {
            let Others { edits, origins } = session.take_others();
            let any = !edits.is_empty() || !origins.is_empty();
            return any.then_some(Msg::Engine(Event::Others { edits, origins }));
        }
        Effect::JournalView(view) => session.journal_view(&view),
        Effect::WantFrame(frame) => session.want_frame(frame),
        Effect::Refresh(ticket, frame, prompts) => session.refresh(ticket, frame, prompts),
        Effect::Propagate(ticket, plan) => session.propagate(ticket, plan),
        Effect::PropagateAhead(ticket, plan) => session.propagate_ahead(ticket, plan),
        Effect::Cancel(track) => session.cancel(track),
        Effect::EncodeAhead(frame, between) => session.encode_ahead(frame, between),
        Effect::Export { format, path } => {
            session.export_named(annotation, &format, path.as_deref());
        }
        Effect::Picture { frame, path, colours } => {
            session.picture(annotation, frame, path.as_deref(), colours);
        }
        Effect::Overlay(path) => session.overlay(&path),
        Effect::FindRegion => session.find_region(),
        Effect::Outside(region) => {
            let error = session.set_outside(region).err()?;
            return Some(Msg::Notice(error.to_string()));
        }
        Effect::Strip(number, from, to) => session.strip(number, from, to, STRIP_SAMPLES),
        Effect::Remember(_)
        | Effect::OpenClip(..)
        | Effect::StopOpening
        | Effect::Suspend
        | Effect::Redraw
        | Effect::Bell
        | Effect::Quit => {}
    }
    None
}
