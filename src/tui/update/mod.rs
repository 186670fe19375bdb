//! What happens to the model: `update(model, what happened) -> what the loop must do`.
//!
//! Nothing here reads a clock, a file or a terminal. Time comes with [`Msg::Tick`].

mod act;
mod ahead;
mod arrivals;
mod batch;
mod edits;
mod keys;
mod labels;
mod language;
mod leap;
mod look;
mod masks;
mod motion;
mod network;
mod overlay;
mod prompts;
mod questions;
mod queue;
mod ranges;
mod rays;
mod region;
mod review;
mod strip;
mod tracks;
mod windows;

use std::time::Duration;

use crate::domain::{Cut, FrameIndex, shown};
use crate::engine::{Event, Surround};

pub use look::fit_look;

use super::model::{Effect, Message, Model, Msg, Network, Saved, Seek, Weight};
use super::tutor;

/// After this much quiet the place is noted and the frame at hand is encoded ahead.
pub const REST: Duration = Duration::from_millis(400);

/// Changes the model by what happened; the effects are to be carried out in order, before
/// anything is drawn.
pub fn update(model: &mut Model, msg: Msg) -> Vec<Effect> {
    let mut fx = Vec::new();
    // A tick by itself changes nothing but what goes on in portions.
    let looked_at = !matches!(msg, Msg::Tick(_)) || model.tools.batch.is_some();
    model.tools.nothing_ahead &= !looked_at;
    match msg {
        Msg::Key(key) => {
            model.active_at = model.now;
            model.keys += 1;
            model.fresh = 0;
            if model.message.weight == Weight::Passing {
                model.message = Message::default();
            }
            model.hurry.press(key, model.now);
            if queue::is_unseen(model) {
                queue::typed_meanwhile(model, &mut fx, key);
            } else {
                model.tools.missed.clear();
                batch::here(model, &mut fx);
                language::typed(model, &mut fx, key);
            }
        }
        Msg::Pasted(text) => {
            model.active_at = model.now;
            if queue::is_unseen(model) {
                queue::miss(model, "what was pasted".to_owned());
            } else {
                keys::paste(model, &text);
            }
        }
        Msg::Resized(grid) => {
            model.grid = grid;
            model.fit_viewport();
        }
        Msg::Continued => fx.push(Effect::Redraw),
        Msg::SuspendAsked => fx.push(Effect::Suspend),
        // Asked from outside: nobody is there to be asked back.
        Msg::Terminate => {
            model.tools.to_play.clear();
            batch::finish(model, &mut fx);
            note_view(model, &mut fx);
            fx.push(Effect::Quit);
        }
        Msg::Ready | Msg::SizeChanged | Msg::Nothing | Msg::OfClip(..) | Msg::OpenAnswered(_) => {}
        Msg::HungUp => {
            model.leaving = true;
            model.tools.to_play.clear();
            // What runs is finished on the clip at hand.
            queue::give_up(model, &mut fx);
            batch::finish(model, &mut fx);
            note_view(model, &mut fx);
        }
        Msg::Notice(text) => model.warn(text),
        Msg::Engine(event) => engine(model, &mut fx, event),
        Msg::Tick(now) => tick(model, &mut fx, now),
        Msg::Opened(opened) => reopen(model, &mut fx, *opened),
        Msg::NotOpened { at, why } => queue::not_opened(model, &mut fx, at, &why),
        Msg::Line(text) => ranges::line(model, &mut fx, &text),
    }
    if looked_at {
        settle(model);
        language::play_on(model, &mut fx);
    }
    fx
}

/// Brings what follows from the frame at hand up to date.
fn settle(model: &mut Model) {
    rays::look(model);
    look::measure(model);
    model.lesson = model.lesson.map(|at| tutor::step(at, model));
}

pub use language::recall;

/// What a model needs first: the picture of its frame, and where the ultrasound is.
#[must_use]
pub fn begin(model: &Model) -> Vec<Effect> {
    let mut fx = vec![Effect::WantFrame(model.frame)];
    if model.surround == Surround::Open {
        fx.push(Effect::FindRegion);
    }
    fx
}

fn engine(model: &mut Model, fx: &mut Vec<Effect>, event: Event) {
    match event {
        Event::Ready(info) => {
            // The status line tells which and on what; a reason is worth a sentence, and what stands there more.
            match info.device.contains(':') {
                _ if !model.message.text.is_empty() => {}
                true => model.say(format!("network ready on {}", shown(&info.device))),
                false => model.say("network ready"),
            }
            model.network = Network::Ready(info);
        }
        Event::EngineFailed { why } => network::failed(model, why),
        Event::Frame { frame, pixels } => {
            model.keep_frame(frame, pixels);
            want_neighbour(model, fx, frame);
            review::seen(model, fx, frame);
        }
        Event::FrameFailed { frame, why } => {
            if frame == model.frame {
                model.warn(format!("frame {} cannot be shown: {why}", frame + 1));
            }
            model.broken.insert(frame, why);
            review::seen(model, fx, frame);
        }
        Event::Refreshed { ticket, frame, decided } => {
            network::refreshed(model, fx, ticket, frame, &decided);
        }
        Event::Tracked { ticket, frame, decided } => {
            if !ahead::tracked(model, fx, ticket, frame, &decided) {
                network::tracked(model, fx, ticket, frame, &decided);
            }
        }
        Event::Progress { ticket, done, total } => network::progress(model, ticket, done, total),
        Event::Finished { ticket, .. } if ahead::ended(model, ticket, false) => {}
        Event::Finished { ticket, cancelled } => network::finished(model, fx, ticket, cancelled),
        Event::JobFailed { ticket, .. } if ahead::ended(model, ticket, true) => {}
        Event::JobFailed { ticket, why } => network::job_failed(model, fx, ticket, &why),
        Event::Saved { unsynced } => saved(model, unsynced),
        Event::SaveFailed { why } => not_saved(model, fx, why),
        Event::OthersWrote => fx.push(Effect::TakeOthers),
        Event::Others { edits, origins } => edits::from_others(model, fx, &edits, origins),
        Event::JournalNotes { notes } => {
            notes.iter().rev().for_each(|note| model.warn(note.as_str()));
        }
        Event::RegionFound { region, named } => region::found(model, region, named),
        Event::OutsideChanged { region } => region::changed(model, fx, region),
        Event::Exporting { done, total } => model.jobs.export = Some((done, total)),
        Event::Exported { path, what } => {
            model.jobs.export = None;
            model.say(format!("exported to {}: {what}", shown(&path.display().to_string())));
        }
        Event::ExportFailed { why, .. } => {
            model.jobs.export = None;
            model.warn(format!("not exported: {why}"));
        }
        Event::Strip { number, first, columns } => strip::take(model, number, first, columns),
        Event::Overlay { name, structures, notes } => {
            overlay::take(model, name, structures, &notes);
        }
        Event::OverlayFailed { why } => model.warn(format!("no overlay: {why}")),
        Event::ClipsArrived { paths } => arrivals::arrived(model, fx, paths),
        Event::ClipsRefused { refused } => arrivals::refused(model, &refused),
    }
}

/// The journal was written. After a refusal only what the disk has confirmed counts: writing may go well where that does
/// not.
fn saved(model: &mut Model, unsynced: usize) {
    let refused = matches!(model.saved, Saved::Failed(_));
    match unsynced {
        0 => {
            model.saved = Saved::Solid;
            if refused {
                model.say("saved again: everything is on the disk");
            }
        }
        _ if refused => {}
        unsynced => model.saved = Saved::Unsynced(unsynced),
    }
}

/// The journal cannot be written. The banner may have no room for the reason, so it stands among the messages too.
fn not_saved(model: &mut Model, fx: &mut Vec<Effect>, why: String) {
    if !matches!(model.saved, Saved::Failed(_)) {
        model.note(format!("not saved: {why}"));
        // Who left the clip was not asked whether that may be lost. Without an edit it is the place alone.
        if model.opening.is_some() && model.next_number > 1 {
            queue::give_up(model, fx);
            queue::stay(model);
        }
    }
    model.saved = Saved::Failed(why);
}

/// The engine decodes the newest wish only, so the next one is wished for when one has come.
fn want_neighbour(model: &Model, fx: &mut Vec<Effect>, arrived: FrameIndex) {
    let held = |frame: &FrameIndex| {
        model.frames.iter().any(|(known, _)| known == frame) || model.broken.contains_key(frame)
    };
    if !held(&model.frame) {
        fx.push(Effect::WantFrame(model.frame));
        return;
    }
    // Only next to the frame at hand: a far one belongs to a place already left.
    if arrived != model.frame {
        return;
    }
    let next = [model.frame + 1, model.frame.wrapping_sub(1)];
    if let Some(frame) = next.into_iter().find(|f| *f < model.clip.frames && !held(f)) {
        fx.push(Effect::WantFrame(frame));
    }
}

fn tick(model: &mut Model, fx: &mut Vec<Effect>, now: Duration) {
    model.now = now.max(model.now);
    batch::portion(model, fx);
    motion::play(model, fx);
    questions::tick(model);
    if model.now < model.active_at + REST || model.cine.playing {
        return;
    }
    note_view(model, fx);
    let wanted = (model.frame, ahead::between(model));
    if model.encoded_ahead != Some(wanted) && model.pixels().is_some() {
        model.encoded_ahead = Some(wanted);
        if !matches!(model.network, Network::Failed(_)) && !model.propagating() {
            fx.push(Effect::EncodeAhead(wanted.0, wanted.1));
        }
    }
    ahead::begin(model, fx);
}

fn note_view(model: &mut Model, fx: &mut Vec<Effect>) {
    let view = model.view();
    if model.noted_view != Some(view) {
        fx.push(Effect::JournalView(view));
        model.noted_view = Some(view);
    }
}

/// Another clip takes the place of this one; what belongs to the person stays.
fn reopen(model: &mut Model, fx: &mut Vec<Effect>, opened: crate::engine::Opened) {
    let opening = model.opening.take();
    let (at, cut) = opening.map_or((model.at, Cut::default()), |opening| (opening.at, opening.cut));
    let mut queue = std::mem::take(&mut model.queue);
    if let Some(clip) = queue.get_mut(at) {
        clip.cut = cut;
        clip.changed = false;
    }
    let mut next = Model::new(opened, queue, at, model.keymap.clone(), model.grid);
    if at == model.at {
        queue::keep_place(&mut next, model);
        queue::tell_kept(&mut next, model);
    }
    let (own, viewport) = (next.picture.look, next.picture.viewport);
    next.picture =
        super::model::Picture { viewport, look: own, range: None, flow: false, ..model.picture };
    next.network = match &model.network {
        Network::Failed(why) => Network::Failed(why.clone()),
        // The new session tells when its network is ready.
        Network::Loading | Network::Ready(_) => Network::Loading,
    };
    // Registers and macros belong to the person too; what names frames does not.
    next.tools.macros = std::mem::take(&mut model.tools.macros);
    next.tools.recording = model.tools.recording.take();
    next.tools.to_play = std::mem::take(&mut model.tools.to_play);
    next.tools.played = model.tools.played;
    next.tools.missed = std::mem::take(&mut model.tools.missed);
    next.tools.lines = std::mem::take(&mut model.tools.lines);
    next.tools.registers = std::mem::take(&mut model.tools.registers);
    next.log_before(std::mem::take(&mut model.log), model.fresh);
    next.tools.taps.reaction = model.tools.taps.reaction;
    next.tools.taps.measured = model.tools.taps.measured.take();
    next.tools.brush_px = model.tools.brush_px;
    next.cine.speed = model.cine.speed;
    next.tools.slow = model.tools.slow;
    next.tools.never_ahead = model.tools.never_ahead;
    next.tools.bell = model.tools.bell;
    next.tools.escape_joined = model.tools.escape_joined;
    if next.clip == model.clip {
        next.tools.other = model.tools.other.take();
    }
    next.link = model.link;
    let kind = look::fitting(model);
    next.schema = std::mem::take(&mut model.schema);
    next.looks.presets = std::mem::take(&mut model.looks.presets);
    next.looks.always = model.looks.always.take();
    // Another clip of the same kind looks as this one was left.
    if next.looks.own || look::fitting(&next) != kind {
        fit_look(&mut next);
    } else {
        next.picture.look = model.picture.look;
    }
    next.now = model.now;
    next.active_at = model.now;
    if next.message.text.is_empty() {
        let before = if next.finished { ", finished before" } else { "" };
        next.say(format!("clip {} of {}{before}", at + 1, next.queue.len()));
    }
    let sought = model.seeking == Some(Seek::Unfinished);
    *model = next;
    fx.extend(begin(model));
    fx.push(Effect::Redraw);
    if sought {
        queue::sought(model, fx);
    }
    if model.opening.is_none() {
        queue::tell_missed(model);
    }
}
