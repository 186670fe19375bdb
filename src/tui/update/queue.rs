//! The queue of clips: the next, the one before, the next that is not finished.

use std::path::Path;

use crate::domain::review::FLAGGED;
use crate::domain::{Axis, ClipKind, Cut, MaskSource, PointPx, Track, TrackId, counted, shown};
use crate::tui::action::Action;
use crate::tui::key::Key;
use crate::tui::keymap::Found;
use crate::tui::model::{Effect, Leaving, Model, Opening, Pending, Saved, Seek};

use super::{batch, language, review};

/// So many lost keys are told one by one.
const MISSED: usize = 5;

/// Opens the clip so many places further on, or the last there is that way. While one is being opened they count from that
/// one, so that keys pressed quickly go as far as if each clip had been waited for.
pub(super) fn step(model: &mut Model, fx: &mut Vec<Effect>, by: isize) {
    let last = model.queue.len().saturating_sub(1);
    let from = model.opening.map_or(model.at, |opening| opening.at);
    let to = from.saturating_add_signed(by).min(last);
    if to == model.at && from != to {
        give_up(model, fx);
        return stay(model);
    }
    if to == from {
        // What was to follow was meant for another clip.
        model.tools.to_play.clear();
        return model.say_passing(if by > 0 {
            "this is the last clip"
        } else {
            "this is the first clip"
        });
    }
    if may_leave(model) {
        open(model, fx, to, model.queue[to].cut);
        model.seeking = Some(Seek::Step(by.signum()));
    }
}

/// Opens the next clip in that direction from number `from`; false when there is none.
fn step_over(model: &mut Model, fx: &mut Vec<Effect>, from: usize, by: isize) -> bool {
    let to = from.checked_add_signed(by).filter(|to| *to < model.queue.len() && *to != model.at);
    if let Some(to) = to {
        open(model, fx, to, model.queue[to].cut);
        model.seeking = Some(Seek::Step(by));
    }
    to.is_some()
}

/// Opens the clip of this number, from 1, or tells which one this is. The one at hand is opened
/// again where another content came.
pub(super) fn go(model: &mut Model, fx: &mut Vec<Effect>, number: Option<usize>) {
    // A script has its one clip and no queue.
    let count = model.queue.len().max(1);
    let here = format!("clip {} of {count}", model.at + 1);
    let Some(to) = number.map(|number| number.saturating_sub(1)) else { return model.say(here) };
    if to >= count {
        return model.warn(format!("there is no clip {}: this is {here}", to + 1));
    }
    if to == model.at && model.queue.get(to).is_none_or(|clip| !clip.changed) {
        return model.say(format!("this is {here}"));
    }
    if may_leave(model) {
        open(model, fx, to, model.queue[to].cut);
    }
}

pub(super) fn open(model: &mut Model, fx: &mut Vec<Effect>, to: usize, cut: Cut) {
    batch::finish(model, fx);
    fx.push(Effect::JournalView(model.view()));
    fx.push(Effect::OpenClip(to, cut));
    model.opening = Some(Opening { at: to, cut, since: model.now });
    model.seeking = None;
}

/// Opens the next clip behind number `from` that is not finished as far as this session knows,
/// before the one at hand comes round; false when there is none.
fn seek(model: &mut Model, fx: &mut Vec<Effect>, from: usize) -> bool {
    let count = model.queue.len();
    let after = (1..count).map(|by| (from + by) % count).take_while(|&at| at != model.at);
    let next = after.into_iter().find(|&at| !model.queue[at].finished);
    if let Some(to) = next {
        open(model, fx, to, model.queue[to].cut);
        model.seeking = Some(Seek::Unfinished);
    }
    next.is_some()
}

/// A clip that was looked for as unfinished is open: one that was finished before is passed over.
pub(super) fn sought(model: &mut Model, fx: &mut Vec<Effect>) {
    if model.finished && !seek(model, fx, model.at) {
        say_all_finished(model);
    }
}

/// Clips that were finished before, or do not open, are not passed over any more: the one at hand stays.
pub(super) fn stay(model: &mut Model) {
    // What was to follow was meant for another clip.
    model.tools.to_play.clear();
    // Who leaves later is asked anew.
    model.leave_asked.clear();
    note_missed(model);
    let on = match model.seeking.take() {
        Some(Seek::Unfinished) => {
            format!("; {} goes on to the next unfinished one", model.key(Action::FinishClip))
        }
        Some(Seek::Step(_)) | None => String::new(),
    };
    let (here, count) = (model.at + 1, model.queue.len());
    model.say(format!("stopped at clip {here} of {count}{on}"));
}

/// The clip that is being opened is not wanted any more.
pub(super) fn give_up(model: &mut Model, fx: &mut Vec<Effect>) {
    if model.opening.take().is_some() {
        fx.push(Effect::StopOpening);
    }
}

/// Whether what is typed now is meant for a clip that nobody has seen: it is being opened, or just came and was not drawn.
pub(super) fn is_unseen(model: &Model) -> bool {
    model.opening.is_some() || model.tools.undrawn
}

/// A key came for a clip that nobody has seen. Done to the clip at hand it would be wrong, and kept for the next one it might
/// delete what it does not know. So only what goes elsewhere is done, and the rest is told.
pub(super) fn typed_meanwhile(model: &mut Model, fx: &mut Vec<Effect>, key: Key) {
    if model.opening.is_some() && language::stops(model, key) {
        model.pending = Pending::default();
        give_up(model, fx);
        return stay(model);
    }
    if model.tools.to_play.is_empty() && may_lead_elsewhere(model, key) {
        return language::typed(model, fx, key);
    }
    model.pending = Pending::default();
    miss(model, format!("`{key}`"));
}

/// Something came for a clip that nobody has seen, and is not done.
pub(super) fn miss(model: &mut Model, what: String) {
    match model.opening {
        Some(opening) => {
            let clip = model.queue.get(opening.at);
            let name = clip.map_or_else(String::new, |clip| shown(&clip.name));
            let stop = model.stop_key();
            let told = format!("{what} is not done: {name} is being opened; {stop} stays here");
            model.say_passing(told);
            model.tools.missed.push(what);
        }
        None => {
            model.tools.missed.push(what);
            tell_missed(model);
        }
    }
}

/// The clip came: what was typed for it before is lost, and must not be looked for in vain.
pub(super) fn tell_missed(model: &mut Model) {
    if let Some(told) = missed(model) {
        let (at, count) = (model.at + 1, model.queue.len());
        model.warn(format!("clip {at} of {count}; {told}"));
    }
}

/// The clip does not come: the same, beside what is told of that.
fn note_missed(model: &mut Model) {
    if let Some(told) = missed(model) {
        model.note(told);
    }
    model.tools.missed.clear();
}

/// What was not done, since nobody had seen the clip that it was meant for.
fn missed(model: &Model) -> Option<String> {
    let missed = &model.tools.missed;
    let first = missed.get(..missed.len().min(MISSED))?.join(", ");
    let more = match missed.len().saturating_sub(MISSED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!missed.is_empty()).then(|| format!("not done, it came before the clip: {first}{more}"))
}

/// Whether an action opens another clip or leaves, whatever is at hand.
pub(super) fn leads_elsewhere(action: Action) -> bool {
    use Action as A;
    matches!(action, A::NextClip | A::PreviousClip | A::Quit | A::Suspend | A::Redraw)
}

/// Whether a key, behind those typed before it, does such a thing, or may yet do so.
fn may_lead_elsewhere(model: &Model, key: Key) -> bool {
    let keys: Vec<Key> = model.pending.keys.iter().copied().chain([key]).collect();
    let leads = |actions: &[Action]| actions.iter().copied().all(leads_elsewhere);
    match model.keymap.find(model.key_mode(), &keys) {
        Found::Act(actions) => leads(&actions),
        Found::More(rest) => rest.iter().any(|(_, actions)| leads(actions)),
        Found::Nothing => false,
    }
}

/// Why something is wrong with the file at `path`, for a sentence that names it already: with the whole path twice a line
/// that is cut would not tell the cause.
pub(super) fn cause(path: &Path, why: &str) -> String {
    let rest = why.strip_prefix(&shown(&path.to_string_lossy()));
    match rest.filter(|rest| rest.starts_with(' ')) {
        Some(rest) => format!("it{rest}"),
        None => why.to_owned(),
    }
}

/// The clip of the queue at `at` does not open; the one at hand stays, unless one that is not
/// finished, or the next one, was looked for: then the one behind it is tried.
pub(super) fn not_opened(model: &mut Model, fx: &mut Vec<Effect>, at: usize, why: &str) {
    // Of the clip at hand another part was asked for: the clip itself is open.
    let other_part = model.opening.take().is_some_and(|opening| {
        at == model.at && model.queue.get(at).is_some_and(|clip| clip.cut != opening.cut)
    });
    let name = model.queue.get(at).map_or_else(String::new, |clip| shown(&clip.name));
    let stays = if other_part { "stays as it is" } else { "does not open" };
    let why = model.queue.get(at).map_or_else(|| why.to_owned(), |clip| cause(&clip.path, why));
    model.warn(format!("{name} {stays}: {why}"));
    let goes_on = match model.seeking.take() {
        Some(Seek::Unfinished) => seek(model, fx, at),
        Some(Seek::Step(by)) => step_over(model, fx, at, by),
        None => false,
    };
    if !goes_on {
        // They were meant for that clip.
        model.tools.to_play.clear();
        note_missed(model);
    }
}

/// Opens another part of the volume at hand.
pub(super) fn cut(model: &mut Model, fx: &mut Vec<Effect>, asked: Cut) {
    let Some(clip) = model.queue.get(model.at) else {
        let flags = "--axis, --slice and --time to the command";
        return model.warn(format!("a script keeps its clip as it was opened; give {flags}"));
    };
    let cut = clip.cut.then(asked);
    if let Some(axis) = asked.axis.filter(|axis| is_along(model, clip.cut, *axis)) {
        return model.say(format!("the axis {axis} is shown already"));
    }
    for (what, asked, shown) in
        [("slice", asked.slice, model.part.slice), ("time", asked.time, model.part.time)]
    {
        if let Some(number) = asked.filter(|_| asked == shown) {
            return model.say(format!("the {what} {number} is shown already"));
        }
    }
    if may_leave(model) {
        open(model, fx, model.at, cut);
    }
}

/// Whether the frames of the volume at hand, shown as `cut`, follow each other along `axis`. False also where nothing
/// tells: then it is opened again.
fn is_along(model: &Model, cut: Cut, axis: Axis) -> bool {
    let clip = &model.clip;
    if clip.kind != ClipKind::Volume && !clip.is_plane_over_time() {
        return false;
    }
    match axis {
        Axis::X | Axis::Y | Axis::Z => cut.axis.unwrap_or_default() == axis,
        // The placement is turned as the frames are: its third axis is theirs.
        Axis::Sagittal | Axis::Coronal | Axis::Axial => {
            axis.stored(clip.placement.as_ref()) == Some(2)
        }
    }
}

/// Goes to the place of the cursor in another part of the same volume, where the file tells how both lie.
pub(super) fn keep_place(model: &mut Model, from: &Model) {
    let (Some(old), Some(new)) = (from.clip.placement, model.clip.placement) else { return };
    let Some(way) = old.grid_in(&new) else { return };
    // Frames of a slice over time all lie in one place.
    let depth = if from.clip.is_plane_over_time() { 0 } else { from.frame };
    let at = way.voxel([from.cursor.x as usize, from.cursor.y as usize, depth]);
    let [x, y, frame] = at.map(|i| usize::try_from(i).unwrap_or(0));
    model.cursor = model.inside_image(PointPx::new(x as f32 + 0.5, y as f32 + 0.5));
    if !model.clip.is_plane_over_time() {
        model.frame = frame.min(model.clip.frames - 1);
    } else if from.clip.is_plane_over_time() {
        model.frame = from.frame.min(model.clip.frames - 1);
    }
}

/// Masks of every cut are kept apart: what was drawn along another axis is not gone.
pub(super) fn tell_kept(model: &mut Model, from: &Model) {
    let count = from.annotation.tracks.len();
    if count > 0
        && model.annotation.tracks.is_empty()
        && model.clip.content_hash != from.clip.content_hash
    {
        let them = if count == 1 {
            "1 structure is".to_owned()
        } else {
            format!("{count} structures are")
        };
        model
            .say(format!("{them} kept with the part of the volume before; here there is none yet"));
    }
}

/// Calls the clip finished and opens the next one that is not. What is still open is told first;
/// again finishes all the same.
pub(super) fn finish(model: &mut Model, fx: &mut Vec<Effect>) {
    batch::finish(model, fx);
    if !model.leave_asked.contains(&Leaving::Unfinished)
        && let Some(open) = still_open(model)
    {
        let told = format!("not finished (again finishes all the same): {open}");
        return ask(model, Leaving::Unfinished, told);
    }
    if !may_leave(model) {
        return;
    }
    model.finished = true;
    if let Some(clip) = model.queue.get_mut(model.at) {
        clip.finished = true;
    }
    if !seek(model, fx, model.at) {
        let view = model.view();
        fx.push(Effect::JournalView(view));
        model.noted_view = Some(view);
        say_all_finished(model);
    }
}

fn say_all_finished(model: &mut Model) {
    // What was to follow was meant for another clip.
    model.tools.to_play.clear();
    let quit = model.key(Action::Quit);
    model.say(match model.queue.len() {
        0 | 1 => format!("finished; {quit} leaves"),
        count => format!("finished, as are all {count} clips; {quit} leaves"),
    });
}

/// What of the clip a person has not decided.
fn still_open(model: &Model) -> Option<String> {
    let tracks = &model.annotation.tracks;
    let open: Vec<(TrackId, &Track, [usize; 4])> =
        tracks.iter().map(|(&id, track)| (id, track, open_of(model, id, track))).collect();
    let part = |nth: usize, what: &str, rest: &str, key: Action| {
        let having: Vec<_> = open.iter().filter(|(.., counts)| counts[nth] > 0).collect();
        let count: usize = having.iter().map(|(.., counts)| counts[nth]).sum();
        // The key looks at the structure at hand: where what it goes to is elsewhere, that is told.
        let here = having.iter().any(|(id, ..)| Some(*id) == model.track);
        let other = having.first().filter(|_| !here);
        let of = other
            .map_or_else(String::new, |(_, track, _)| format!(" of {}", shown(&track.info.label)));
        (count > 0, format!("{}{of} {rest} ({})", counted(count, what), model.key(key)))
    };
    let unsaid = unsaid(model);
    let parts = [
        (tracks.is_empty(), "no structure".to_owned()),
        part(0, "frame", "without a mask", Action::NextMissing),
        part(1, "mask", "older than the points", Action::NextStale),
        part(2, "frame", "flagged", Action::WorstFrame),
        part(3, "frame", "in doubt", Action::WorstFrame),
        (unsaid.is_some(), unsaid.unwrap_or_default()),
    ];
    let told: Vec<String> = parts.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// The frames of a structure on which a mask is missing, its masks that are older than the points, its flags, and the frames
/// that are in doubt.
fn open_of(model: &Model, id: TrackId, track: &Track) -> [usize; 4] {
    let bare = track.without_mask(model.clip.frames).count();
    let (mut stale, mut doubtful) = (0, 0);
    for (&frame, held) in track.masks.iter().filter(|(frame, _)| track.visible(**frame)) {
        let old = model.marks.is_stale(id, frame);
        let doubted = held.source == MaskSource::Tracked && !track.flags.contains(&frame);
        stale += usize::from(old);
        doubtful += usize::from(!old && doubted && review::doubt(model, id, frame) >= FLAGGED);
    }
    [bare, stale, track.flags.len(), doubtful]
}

/// An attribute of a whole structure that the schema asks for and nobody set.
fn unsaid(model: &Model) -> Option<String> {
    use crate::config::schema::Of;
    model.annotation.tracks.values().find_map(|track| {
        let mut asked = model.schema.attributes_of(&track.info.label);
        let open = asked.find(|a| a.of == Of::Track && track.attribute(None, &a.name).is_none())?;
        let (name, label) = (&open.name, &track.info.label);
        Some(format!("{} of {} not set", shown(name), shown(label)))
    })
}

/// Whether leaving this clip loses nothing, or the person knows what.
pub(super) fn may_leave(model: &mut Model) -> bool {
    if !may_lose(model) {
        return false;
    }
    let due = model.propagating() && !model.leave_asked.contains(&Leaving::Running);
    if due {
        let told = "a propagation is running; again leaves and stops it (what is decided is saved)";
        ask(model, Leaving::Running, told.to_owned());
    }
    !due
}

/// Whether everything is saved, or the person knows that the newest edits go.
pub(super) fn may_lose(model: &mut Model) -> bool {
    let Saved::Failed(why) = &model.saved else { return true };
    if model.leave_asked.contains(&Leaving::Unsaved) {
        return true;
    }
    let told = format!("again leaves and loses the newest edits, which are NOT saved: {why}");
    ask(model, Leaving::Unsaved, told);
    false
}

/// Asks before leaving; who does the same again has heard it.
fn ask(model: &mut Model, question: Leaving, told: String) {
    model.leave_asked.push(question);
    model.warn(told);
}
