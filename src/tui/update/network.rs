//! What the network is asked, and what becomes of its answers.
//!
//! Every question has a generation of its own; a new question about a frame takes the place of
//! the old one, whose answer is then dropped.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::domain::{
    Edit, FrameIndex, FrameMask, MaskSource, Signature, Track, TrackId, Window, counted,
    frame_signature, prompted, shown,
};
use crate::engine::{Decided, Plan, PlanError, Span, Ticket, plan, plan_both_passes, plan_where};
use crate::tui::action::Action;
use crate::tui::model::{Asked, Effect, Model, Network, Running};

use super::{ahead, edits, review};

/// Who waits longer for a propagation has turned to something else.
const LONG: Duration = Duration::from_secs(10);

/// What is said while a mask is computed that the person asked for.
const COMPUTING: &str = "computing the mask";

/// Asks for the mask of a frame from its prompts; the answer joins `group`.
pub(super) fn ask(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    track: TrackId,
    frame: FrameIndex,
    group: u64,
) {
    let Some(held) = model.annotation.tracks.get(&track) else { return };
    let prompts = held.frame_prompts(frame);
    if prompts.is_empty() {
        return;
    }
    if let Network::Failed(why) = &model.network {
        let sentence = format!("no mask: {why}");
        model.warn(sentence);
        return;
    }
    let (signature, whole) = (frame_signature(held, frame), Signature::of(held).fingerprint());
    drop_question(model, track, frame);
    model.jobs.generation += 1;
    let ticket = Ticket { track, generation: model.jobs.generation };
    model.jobs.asked.push(Asked { ticket, frame, group, signature, whole, since: model.now });
    fx.push(Effect::Refresh(ticket, frame, prompts));
}

/// The answer on its way for a frame is not wanted any more.
pub(super) fn drop_question(model: &mut Model, track: TrackId, frame: FrameIndex) {
    model.jobs.asked.retain(|asked| (asked.ticket.track, asked.frame) != (track, frame));
}

/// The person asks for the frame at hand.
pub(super) fn refresh(model: &mut Model, fx: &mut Vec<Effect>) {
    let Some((id, track)) = model.current() else {
        return say_no_structure(model);
    };
    let told = track.frame_prompts(model.frame);
    if told.is_empty() {
        return model.say(format!(
            "this frame has no points; {} puts one, {} propagates from others",
            model.key(Action::AddBoundary),
            model.key(Action::PropagateBoth)
        ));
    }
    // The answer would be the same mask, no longer as a person's.
    let drawn = told.mask.is_some() && told.points.is_empty() && told.bounding_box.is_none();
    if drawn && track.masks.contains_key(&model.frame) {
        return model.say(format!(
            "this frame has a drawn mask and no points; {} puts one",
            model.key(Action::AddBoundary)
        ));
    }
    let (frame, group) = (model.frame, model.fresh());
    model.say(COMPUTING);
    ask(model, fx, id, frame, group);
}

/// A mask from the prompts of a frame.
pub(super) fn refreshed(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    ticket: Ticket,
    frame: FrameIndex,
    decided: &Decided,
) {
    let same = |asked: &Asked| asked.ticket == ticket && asked.frame == frame;
    let Some(at) = model.jobs.asked.iter().position(same) else { return };
    let asked = model.jobs.asked.remove(at);
    model.latency = Some(model.now.saturating_sub(asked.since));
    let mask = decided.bitmap.to_mask();
    let after = FrameMask { mask, source: MaskSource::Prompted, score: decided.score };
    // Another session may have changed them meanwhile.
    let now = model.annotation.tracks.get(&ticket.track).map(|track| frame_signature(track, frame));
    let of = (now != Some(asked.signature)).then_some(asked.whole);
    set_mask(model, fx, asked.group, of, ticket.track, frame, after);
    // Who asked for it must not go on waiting.
    if model.message.text == COMPUTING {
        model.say(format!("the mask of frame {} is computed", frame + 1));
    }
}

/// A frame of a propagation. What a person decided stays, and so does what left the windows.
pub(super) fn tracked(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    ticket: Ticket,
    frame: FrameIndex,
    decided: &Decided,
) {
    let Some(run) = model.jobs.running.iter().find(|run| run.ticket == ticket).cloned() else {
        return;
    };
    let Some(track) = model.annotation.tracks.get(&ticket.track) else { return };
    if run.check {
        // What came from other points than there are now speaks against no mask, and for none.
        let span = Track::span_between(&track.barriers(), frame);
        if Signature::of(track).agrees(&run.signature, span) {
            review::compared(model, ticket.track, frame, decided.bitmap.to_mask());
        }
        return;
    }
    if !may_track(track, frame) {
        return;
    }
    let of = (Signature::of(track) != run.signature).then(|| run.signature.fingerprint());
    let mask = decided.bitmap.to_mask();
    let after = FrameMask { mask, source: MaskSource::Tracked, score: decided.score };
    set_mask(model, fx, run.group, of, ticket.track, frame, after);
}

/// Whether a propagated mask may lie on a frame: inside the windows, where no person decided.
pub(super) fn may_track(track: &Track, frame: FrameIndex) -> bool {
    let persons = track.masks.get(&frame).is_some_and(|m| m.source > MaskSource::Tracked)
        || track.prompts.contains_key(&frame);
    !persons && track.visible(frame)
}

fn set_mask(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    group: u64,
    made_from: Option<u64>,
    id: TrackId,
    frame: FrameIndex,
    after: FrameMask,
) {
    let Some(track) = model.annotation.tracks.get(&id) else { return };
    let before = track.masks.get(&frame).cloned();
    // The same mask is told once more where it was not known to be right for these prompts, so that the journal knows it.
    if before.as_ref() == Some(&after) && !model.marks.is_stale(id, frame) {
        return;
    }
    let edits = vec![Edit::SetMask { track: id, frame, before, after: Some(after) }];
    edits::commit_late(model, fx, group, edits, made_from);
}

/// Carries masks through the windows: through the spans between accepted frames in which a mask
/// is missing or older than the points.
pub(super) fn propagate(model: &mut Model, fx: &mut Vec<Effect>, span: Span) {
    let Some((id, track)) = model.current() else { return say_no_structure(model) };
    let planned = planned(model, id, track, span);
    if planned == Err(PlanError::Nothing) && plan(track, model.clip.frames, 0, Span::Both).is_ok() {
        let bare = |frame: &&FrameIndex| track.visible(**frame) && !track.masks.contains_key(frame);
        if let Some(frame) = track.prompts.keys().find(bare) {
            let refresh = model.key(Action::Refresh);
            return model.say(format!(
                "every other mask is as new as its points; frame {} has points and no mask: {refresh} there",
                frame + 1
            ));
        }
        return model.say(format!(
            "every mask is as new as its points; {} computes all of them anew",
            model.key(Action::PropagateAnew)
        ));
    }
    if let Ok(plan) = &planned
        && ahead::adopt(model, fx, id, plan)
    {
        return;
    }
    run(model, fx, id, planned, false);
}

/// Carries the masks of every structure through its windows. The structures walk together, so that each frame is read
/// once; it is one step back, as it was one key.
pub(super) fn propagate_all(model: &mut Model, fx: &mut Vec<Effect>) {
    let mut due = Vec::new();
    let mut bare = Vec::new();
    for (id, track) in &model.annotation.tracks {
        match planned(model, *id, track, Span::Both) {
            Ok(plan) => due.push((*id, plan)),
            Err(PlanError::Nothing | PlanError::NothingBetween) => {}
            Err(_) => bare.push(format!("\"{}\"", shown(&track.info.label))),
        }
    }
    let current = model.track;
    match due.as_slice() {
        // With one structure, or nothing to do, there is more to say about the one at hand.
        [] => return propagate(model, fx, Span::Both),
        [(id, _)] if current == Some(*id) && bare.is_empty() => {
            return propagate(model, fx, Span::Both);
        }
        _ => {}
    }
    let (structures, group) = (due.len(), model.fresh());
    let frames: usize = due.iter().map(|(_, plan)| plan.len()).sum();
    for (id, plan) in due {
        begin(model, fx, id, plan, Wanted { group, structures, check: false });
    }
    if model.jobs.running.iter().any(|run| run.group == group) {
        let stops = model.key(Action::Cancel);
        let left = match bare.is_empty() {
            true => String::new(),
            false => format!("; without points in a window: {}", bare.join(", ")),
        };
        model.say(format!(
            "propagating {} to {}{left}; go on working, {stops} stops it",
            counted(structures, "structure"),
            counted(frames, "frame")
        ));
    }
}

/// What carrying masks through the windows would do now.
pub(super) fn planned(
    model: &Model,
    id: TrackId,
    track: &Track,
    span: Span,
) -> Result<Plan, PlanError> {
    let barriers = track.barriers();
    let due = due_spans(model, id, track, &barriers);
    let one_way = matches!(span, Span::Forward | Span::Backward);
    let here = Track::span_between(&barriers, model.frame);
    let wanted = |frame: FrameIndex| {
        let span = Track::span_between(&barriers, frame);
        due.contains(&span) || (one_way && (span == here || here.contains(frame)))
    };
    plan_where(track, model.clip.frames, Some(model.frame), span, &wanted)
}

/// The spans between accepted frames that hold a frame without a mask, or with an old one.
fn due_spans(
    model: &Model,
    id: TrackId,
    track: &Track,
    barriers: &[FrameIndex],
) -> BTreeSet<Window> {
    let due = |frame: &FrameIndex| {
        let tracked = track.masks.get(frame).is_none_or(|m| m.source == MaskSource::Tracked);
        let missing = !track.masks.contains_key(frame) || model.marks.is_stale(id, *frame);
        tracked && missing && !track.prompts.contains_key(frame) && track.visible(*frame)
    };
    let frames = (0..model.clip.frames).filter(due);
    frames.map(|frame| Track::span_between(barriers, frame)).collect()
}

/// Carries masks through all windows, also where nothing changed.
pub(super) fn propagate_anew(model: &mut Model, fx: &mut Vec<Effect>) {
    let Some((id, track)) = model.current() else { return say_no_structure(model) };
    let planned = plan(track, model.clip.frames, model.frame, Span::Both);
    run(model, fx, id, planned, false);
}

/// Carries masks to the frames of a range.
pub(super) fn propagate_range(model: &mut Model, fx: &mut Vec<Effect>, range: Window, span: Span) {
    let Some((id, track)) = model.current() else { return say_no_structure(model) };
    // Both ends of the range belong to it, whichever way it is walked.
    let from = match span {
        Span::Forward => range.first.checked_sub(1),
        Span::Backward => Some(range.last + 1),
        Span::Both | Span::ThisWindow => Some(range.first),
    };
    let wanted = |frame: FrameIndex| range.contains(frame);
    let planned = plan_where(track, model.clip.frames, from, span, &wanted);
    run(model, fx, id, planned, false);
}

/// Compares what comes from the anchors on either side.
pub(super) fn check(model: &mut Model, fx: &mut Vec<Effect>) {
    let Some((id, track)) = model.current() else { return say_no_structure(model) };
    let planned = plan_both_passes(track, model.clip.frames);
    model.tools.review.forget_pass(id);
    run(model, fx, id, planned, true);
}

fn say_no_structure(model: &mut Model) {
    model.say(format!(
        "no structure yet: {} puts its first boundary point",
        model.key(Action::AddBoundary)
    ));
}

fn run(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    id: TrackId,
    planned: Result<Plan, PlanError>,
    check: bool,
) {
    let plan = match planned {
        Ok(plan) => plan,
        Err(why) => return model.warn(why.to_string()),
    };
    let (total, group) = (plan.len(), model.fresh());
    begin(model, fx, id, plan, Wanted { group, structures: 1, check });
    if !model.jobs.running.iter().any(|run| run.group == group) {
        return;
    }
    let doing = if check {
        format!("comparing what comes from either side over {}", counted(total / 2, "frame"))
    } else {
        format!("propagating to {}", counted(total, "frame"))
    };
    model.say(format!("{doing}; go on working, {} stops it", model.key(Action::Cancel)));
}

/// How a propagation is wanted.
struct Wanted {
    /// Its masks are one step back together with those of the same group.
    group: u64,
    /// How many structures were asked for at once.
    structures: usize,
    check: bool,
}

/// Hands a propagation to the engine, or says why it cannot.
fn begin(model: &mut Model, fx: &mut Vec<Effect>, id: TrackId, plan: Plan, wanted: Wanted) {
    if let Network::Failed(why) = &model.network {
        let sentence = format!("nothing propagated: {why}");
        return model.warn(sentence);
    }
    let Some(track) = model.annotation.tracks.get(&id) else { return };
    let (signature, total) = (Signature::of(track), plan.len());
    ahead::forget(model, fx);
    // The engine ends an older propagation of the same structure.
    drop_runs(model, |run| run.ticket.track == id);
    model.jobs.generation += 1;
    let ticket = Ticket { track: id, generation: model.jobs.generation };
    let Wanted { group, structures, check } = wanted;
    let since = model.now;
    let (outdated, done) = (false, 0);
    let run = Running { ticket, group, signature, check, since, structures, outdated, done, total };
    model.jobs.running.push(run);
    fx.push(Effect::Propagate(ticket, plan));
}

/// Stops all propagations on request; they tell themselves when they ended. True when there was
/// one.
pub(super) fn cancel(model: &mut Model, fx: &mut Vec<Effect>) -> bool {
    if !model.propagating() {
        return false;
    }
    fx.push(Effect::Cancel(None));
    model.say("stopping; what is decided stays");
    true
}

/// Nothing of a deleted structure is wanted any more.
pub(super) fn forget_track(model: &mut Model, fx: &mut Vec<Effect>, track: TrackId) {
    model.jobs.asked.retain(|asked| asked.ticket.track != track);
    stop(model, fx, |run| run.ticket.track == track);
}

fn stop(model: &mut Model, fx: &mut Vec<Effect>, which: impl Fn(&Running) -> bool) {
    for run in model.jobs.running.iter().filter(|run| which(run)) {
        fx.push(Effect::Cancel(Some(run.ticket.track)));
    }
    drop_runs(model, which);
}

/// Nobody waits for these any more; those that were asked for with one speak for fewer structures.
fn drop_runs(model: &mut Model, which: impl Fn(&Running) -> bool) {
    let all = std::mem::take(&mut model.jobs.running);
    let (gone, mut left): (Vec<Running>, Vec<Running>) = all.into_iter().partition(which);
    for run in &mut left {
        run.structures -= gone.iter().filter(|gone| gone.group == run.group).count();
    }
    model.jobs.running = left;
    for run in gone.iter().filter(|run| run.check) {
        model.tools.review.forget_pass(run.ticket.track);
    }
}

/// How far a propagation is.
pub(super) fn progress(model: &mut Model, ticket: Ticket, done: usize, total: usize) {
    if let Some(run) = model.jobs.running.iter_mut().find(|run| run.ticket == ticket) {
        (run.done, run.total) = (done, total);
    }
}

/// Calls the person, who may have turned to something else while it ran.
fn ring(model: &Model, fx: &mut Vec<Effect>, run: &Running) {
    if model.tools.bell && model.now.saturating_sub(run.since) > LONG {
        fx.push(Effect::Bell);
    }
}

/// A propagation ended.
pub(super) fn finished(model: &mut Model, fx: &mut Vec<Effect>, ticket: Ticket, cancelled: bool) {
    let Some(at) = model.jobs.running.iter().position(|run| run.ticket == ticket) else { return };
    let run = model.jobs.running.remove(at);
    let track = model.annotation.tracks.get(&ticket.track);
    let outdated = run.outdated || track.is_some_and(|t| Signature::of(t) != run.signature);
    // The last of those that were asked for together speaks for all.
    let mut others = model.jobs.running.iter_mut().filter(|other| other.group == run.group);
    if let Some(other) = others.next() {
        other.outdated |= outdated;
        return;
    }
    if !cancelled {
        ring(model, fx, &run);
    }
    let total = run.total;
    if run.check {
        model.tools.review.forget_pass(ticket.track);
    }
    if run.check && cancelled {
        model.say("comparison stopped; what was compared so far counts");
    } else if run.check && outdated {
        let again = model.key(Action::PropagateCheck);
        model.say(format!("compared, but not where the points changed meanwhile; {again} again"));
    } else if run.check {
        model.say(format!(
            "compared; {} goes to the worst frame, {} accepts all up to a doubt",
            model.key(Action::WorstFrame),
            model.key(Action::AcceptQuiet)
        ));
    } else if cancelled && run.structures > 1 {
        model.say("propagation stopped; what is decided stays");
    } else if cancelled {
        model.say(format!("propagation stopped; {} of {} kept", run.done, counted(total, "frame")));
    } else {
        let (what, again) = match run.structures {
            0 | 1 => (counted(total, "frame"), Action::PropagateBoth),
            n => (counted(n, "structure"), Action::PropagateAll),
        };
        let again = if outdated {
            format!("; the points changed meanwhile, {} again", model.key(again))
        } else {
            String::new()
        };
        model.say(format!("propagated {what}{again}"));
    }
}

/// A job failed; the annotation is untouched.
pub(super) fn job_failed(model: &mut Model, fx: &mut Vec<Effect>, ticket: Ticket, why: &str) {
    if let Some(at) = model.jobs.asked.iter().position(|asked| asked.ticket == ticket) {
        model.jobs.asked.remove(at);
        model.warn(format!("no mask: {why}"));
    }
    if let Some(at) = model.jobs.running.iter().position(|run| run.ticket == ticket) {
        let run = model.jobs.running[at].clone();
        drop_runs(model, |run| run.ticket == ticket);
        ring(model, fx, &run);
        model.warn(format!(
            "propagation ended after {} of {}: {why}",
            run.done,
            counted(run.total, "frame")
        ));
    }
}

/// There is no network (any more).
pub(super) fn failed(model: &mut Model, why: String) {
    model.jobs.asked.clear();
    model.jobs.running.clear();
    ahead::drop_it(model);
    model.warn(format!("no network: {why}"));
    model.network = Network::Failed(why);
}

/// Answers that would have joined a group just undone are dropped.
pub(super) fn drop_group(model: &mut Model, fx: &mut Vec<Effect>, group: u64) {
    model.jobs.asked.retain(|asked| asked.group != group);
    stop(model, fx, |run| run.group == group);
}

/// After an undo or redo: frames whose prompts changed without their mask changing with them are
/// asked for again, as part of the edit that is now the newest there.
pub(super) fn after_travel(model: &mut Model, fx: &mut Vec<Effect>, edits: &[Edit]) {
    for (track, frame) in prompted(edits) {
        // What an earlier step on the way asked was about other prompts.
        drop_question(model, track, frame);
        let settled = !model.marks.is_stale(track, frame)
            && model.annotation.tracks.get(&track).is_some_and(|t| t.masks.contains_key(&frame));
        let newest = model.prompt_groups.get(&(track, frame)).and_then(|groups| groups.last());
        if let Some(&group) = newest.filter(|_| !settled) {
            ask(model, fx, track, frame, group);
        }
    }
}
