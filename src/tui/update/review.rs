//! Review: which frames deserve a look, and how to be done with the others.

use std::collections::BTreeSet;

use crate::domain::review::{Doubt, FLAGGED};
use crate::domain::{
    Edit, FrameIndex, Mask, MaskSource, PointKind, PointPx, Track, TrackId, Window, centre_of,
};
use crate::engine::{Plan, plan_both_passes_where};
use crate::tui::action::Action;
use crate::tui::model::{Effect, Model};
use crate::tui::tools::{Correction, Review};

use super::{edits, masks, motion, prompts, rays, tracks};

/// Most repeats of one press.
const REPEATS: u32 = 100;

/// Actions of the group, and the repeat.
pub(super) fn act(model: &mut Model, fx: &mut Vec<Effect>, action: Action, count: Option<u32>) {
    match action {
        Action::WorstFrame => worst(model, fx),
        Action::AcceptQuiet => accept_quiet(model, fx),
        Action::FlagFrame => flag(model, fx),
        Action::RepeatCorrection => repeats(model, fx, count.unwrap_or(1).min(REPEATS)),
        _ => {}
    }
}

/// Frames were `decided` anew, and the points of others changed: what was compared does not count any
/// more for the first, nor for the others up to the accepted frames on either side.
pub(super) fn outdated(
    review: &mut Review,
    (id, track): (TrackId, &Track),
    decided: &BTreeSet<FrameIndex>,
    prompted: &BTreeSet<FrameIndex>,
) {
    if !decided.is_empty() {
        review.tried = None;
    }
    let Some(agreement) = review.agreement.get_mut(&id) else { return };
    for frame in decided {
        agreement.remove(frame);
    }
    if agreement.is_empty() || prompted.is_empty() {
        return;
    }
    let barriers = track.barriers();
    let spans: BTreeSet<Window> =
        prompted.iter().map(|&frame| Track::span_between(&barriers, frame)).collect();
    for span in spans {
        let gone: Vec<FrameIndex> =
            agreement.range(span.first..=span.last).map(|(frame, _)| *frame).collect();
        for frame in gone {
            agreement.remove(&frame);
        }
    }
}

/// The comparison of both passes through the spans between anchors where it was not made yet.
pub(super) fn unmade(model: &Model, id: TrackId, track: &Track) -> Option<Plan> {
    let known = model.tools.review.agreement.get(&id);
    let unknown = |frame: FrameIndex| {
        let tracked = track.masks.get(&frame).is_some_and(|m| m.source == MaskSource::Tracked);
        tracked && known.is_none_or(|known| !known.contains_key(&frame))
    };
    let plan = plan_both_passes_where(track, model.clip.frames, &unknown).ok()?;
    let tried = model.tools.review.tried.as_ref();
    tried.is_none_or(|(of, tried)| (*of, tried) != (id, &plan)).then_some(plan)
}

/// A frame of a comparison: the first pass is kept, the second compared with it.
pub(super) fn compared(model: &mut Model, id: TrackId, frame: FrameIndex, mask: Mask) {
    let review = &mut model.tools.review;
    match review.first_pass.remove(&(id, frame)) {
        Some(first) => {
            let iou = first.iou(&mask);
            review.agreement.entry(id).or_default().insert(frame, iou);
        }
        None => drop(review.first_pass.insert((id, frame), mask)),
    }
}

/// How much a frame of the structure at hand deserves a look, 0..=1; 0 where a person decided.
pub(super) fn doubt(model: &Model, id: TrackId, frame: FrameIndex) -> f32 {
    if flagged(model, id, frame) {
        return 1.0;
    }
    speaking(model, id, frame).map_or(0.0, Doubt::worst)
}

/// What speaks against the mask of a frame.
fn speaking(model: &Model, id: TrackId, frame: FrameIndex) -> Option<Doubt> {
    model.tools.review.doubt(id, model.annotation.tracks.get(&id)?, frame)
}

/// Why a frame deserves a look, for people.
fn reason(model: &Model, id: TrackId, frame: FrameIndex) -> &'static str {
    match flagged(model, id, frame) {
        true => "flagged",
        false => speaking(model, id, frame).map_or("nothing", Doubt::reason),
    }
}

/// Whether a person flagged the frame.
fn flagged(model: &Model, id: TrackId, frame: FrameIndex) -> bool {
    model.annotation.tracks.get(&id).is_some_and(|track| track.flags.contains(&frame))
}

/// Flags frames of the structure at hand as part of `group`, or takes their flags away; returns
/// how many were otherwise before.
pub(super) fn set_flags(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    group: u64,
    frames: &[FrameIndex],
    after: bool,
) -> usize {
    let Some((track, held)) = model.current() else { return 0 };
    let others = frames.iter().filter(|frame| held.flags.contains(frame) != after);
    let edit = |&frame: &FrameIndex| Edit::SetFlag { track, frame, before: !after, after };
    let todo: Vec<Edit> = others.map(edit).collect();
    let n = todo.len();
    if edits::commit(model, fx, group, todo) { n } else { 0 }
}

/// Frames in doubt, the worst first: propagated ones, and whatever a person flagged.
fn queue(model: &Model, id: TrackId) -> Vec<FrameIndex> {
    let Some(track) = model.annotation.tracks.get(&id) else { return Vec::new() };
    let tracked = track.masks.iter().filter(|(_, m)| m.source == MaskSource::Tracked);
    let tracked = tracked.map(|(frame, _)| *frame).filter(|frame| track.visible(*frame));
    let frames: BTreeSet<FrameIndex> = tracked.chain(track.flags.iter().copied()).collect();
    let mut all: Vec<(f32, FrameIndex)> =
        frames.into_iter().map(|frame| (doubt(model, id, frame), frame)).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    all.into_iter().map(|(_, frame)| frame).collect()
}

fn worst(model: &mut Model, fx: &mut Vec<Effect>) {
    let Some((id, _)) = model.current() else { return tracks::say_none(model) };
    let queue = queue(model, id);
    // Only who is still where the last press went wants the next one.
    let stayed = model.tools.review.looked == Some((id, model.frame));
    let here = queue.iter().position(|&f| f == model.frame).filter(|_| stayed);
    let next = here.map_or(0, |at| at + 1);
    let again = next > 0 && next == queue.len();
    let next = if again { 0 } else { next };
    let Some(&frame) = queue.get(next) else {
        return model.say(format!(
            "no propagated mask and no flag to look at; {} propagates",
            model.key(Action::PropagateBoth)
        ));
    };
    motion::go_to(model, fx, frame);
    model.tools.review.looked = Some((id, frame));
    let value = doubt(model, id, frame);
    let reason = reason(model, id, frame);
    let place = next + 1;
    let from_worst = if again { ", from the worst again" } else { "" };
    model.say(if value >= FLAGGED {
        format!("number {place} to look at{from_worst}: {reason}")
    } else if model.marks.is_stale(id, frame) {
        // Accepting what surrounds it would refuse.
        let propagate = model.key(Action::PropagateBoth);
        format!("number {place} to look at{from_worst}: older than the points ({propagate})")
    } else {
        let accept = model.key(Action::AcceptQuiet);
        format!(
            "number {place} to look at{from_worst}; nothing speaks against it ({accept} accepts all up to a doubt)"
        )
    });
}

/// Accepts the run of masks round the frame at hand in which nothing is in doubt.
fn accept_quiet(model: &mut Model, fx: &mut Vec<Effect>) {
    let Some((id, track)) = model.current() else { return tracks::say_none(model) };
    let quiet = |frame: FrameIndex| {
        track.masks.contains_key(&frame)
            && track.visible(frame)
            && !model.marks.is_stale(id, frame)
            && doubt(model, id, frame) < FLAGGED
    };
    let here = model.frame;
    if !quiet(here) {
        let told = loud(model, id, track, here);
        return model.say(told);
    }
    let first = (0..here).rev().take_while(|&f| quiet(f)).last().unwrap_or(here);
    let last = (here + 1..model.clip.frames).take_while(|&f| quiet(f)).last().unwrap_or(here);
    let frames: Vec<FrameIndex> = (first..=last).collect();
    prompts::accept_frames(model, fx, &frames);
}

/// Why a frame is not accepted with those around it, and what to do.
fn loud(model: &Model, id: TrackId, track: &Track, frame: FrameIndex) -> String {
    let [accept, propagate] =
        [Action::AcceptFrame, Action::PropagateBoth].map(|action| model.key(action));
    if !track.visible(frame) || !track.masks.contains_key(&frame) {
        return "no mask on this frame to accept".to_owned();
    }
    if model.marks.is_stale(id, frame) {
        return format!("this mask is stale: {propagate} makes a new one, {accept} accepts this");
    }
    let reason = reason(model, id, frame);
    format!("in doubt ({reason}): correct it, or accept it with {accept}")
}

fn flag(model: &mut Model, fx: &mut Vec<Effect>) {
    let Some((id, _)) = model.current() else { return tracks::say_none(model) };
    let (frame, group) = (model.frame, model.fresh());
    if flagged(model, id, frame) {
        set_flags(model, fx, group, &[frame], false);
        model.say("flag taken away");
    } else {
        set_flags(model, fx, group, &[frame], true);
        model.say(format!(
            "flagged for a look: {} and {} come here",
            model.key(Action::WorstFrame),
            model.key(Action::RepeatCorrection)
        ));
    }
}

/// The next flagged frame behind this one, from the start again behind the last.
fn next_flagged(model: &Model, id: TrackId) -> Option<FrameIndex> {
    let mut flagged: Vec<FrameIndex> =
        queue(model, id).into_iter().filter(|&f| doubt(model, id, f) >= FLAGGED).collect();
    flagged.sort_unstable();
    flagged.iter().find(|&&f| f > model.frame).or_else(|| flagged.first()).copied()
}

/// Does the last correction again on the next flagged frames. Where a picture is needed that is
/// not there yet, the rest waits for it.
fn repeats(model: &mut Model, fx: &mut Vec<Effect>, times: u32) {
    for left in (0..times).rev() {
        if !repeat(model, fx, left) {
            return;
        }
    }
}

/// Does the last correction again on the next flagged frame. False when there is none, or when it
/// waits for the picture: `left` more follow then.
fn repeat(model: &mut Model, fx: &mut Vec<Effect>, left: u32) -> bool {
    let Some((id, _)) = model.current() else {
        tracks::say_none(model);
        return false;
    };
    if model.tools.correction.is_none() {
        model.say("nothing was corrected yet that could be repeated");
        return false;
    }
    let Some(frame) = next_flagged(model, id) else {
        model.say(format!("no frame is flagged; {} flags one", model.key(Action::FlagFrame)));
        return false;
    };
    motion::go_to(model, fx, frame);
    let by_picture = matches!(model.tools.correction, Some(Correction::Ray { .. }));
    if !by_picture || model.pixels().is_some() {
        repeat_here(model, fx);
        return true;
    }
    let lost = model.broken.contains_key(&frame);
    if lost {
        model.warn(format!("frame {} cannot be shown; nothing was corrected on it", frame + 1));
    } else {
        model.tools.repeat_when_seen = Some(left);
    }
    lost
}

/// The picture that a repeated correction waited for is there, or will never be.
pub(super) fn seen(model: &mut Model, fx: &mut Vec<Effect>, frame: FrameIndex) {
    if frame == model.frame
        && let Some(left) = model.tools.repeat_when_seen.take()
    {
        if model.pixels().is_some() {
            repeat_here(model, fx);
        }
        repeats(model, fx, left);
    }
}

fn repeat_here(model: &mut Model, fx: &mut Vec<Effect>) {
    let Some(correction) = model.tools.correction else { return };
    let (frame, before) = (model.frame, model.history.newest());
    correct(model, fx, correction);
    // The flag goes with the correction, and comes back with its undo.
    if let Some(group) = model.history.newest().filter(|group| Some(*group) != before) {
        set_flags(model, fx, group, &[frame], false);
    }
}

fn correct(model: &mut Model, fx: &mut Vec<Effect>, correction: Correction) {
    match correction {
        Correction::Ray { hour, edges_on } => rays::again(model, fx, hour, edges_on),
        Correction::Mask(edit) => masks::change(model, fx, edit),
        Correction::Point { kind, right, down } => {
            let Some((centre, radius)) = middle(model) else {
                return model.say("no mask on this frame to put the point by");
            };
            let at = PointPx::new(centre.x + right * radius, centre.y + down * radius);
            motion::put_cursor(model, at);
            prompts::add_point_at(model, fx, kind, model.cursor);
        }
    }
}

/// Middle of the mask at hand and the radius of a circle of its area.
fn middle(model: &Model) -> Option<(PointPx, f32)> {
    let (_, track) = model.current()?;
    let held = track.masks.get(&model.frame)?;
    let centre = centre_of(&held.mask.to_bitmap())?;
    Some((centre, (held.mask.area_px() as f32 / std::f32::consts::PI).sqrt()))
}

/// A point put under the cursor, in terms that fit another frame.
pub(super) fn as_correction(model: &Model, kind: PointKind) -> Option<Correction> {
    let (centre, radius) = middle(model)?;
    let (right, down) =
        ((model.cursor.x - centre.x) / radius, (model.cursor.y - centre.y) / radius);
    Some(Correction::Point { kind, right, down })
}
