//! Review: which frames deserve a look, and how to be done with the others.

use crate::domain::review::{FLAGGED, doubts};
use crate::domain::{FrameIndex, Mask, MaskSource, PointKind, PointPx, TrackId, centre_of};
use crate::tui::action::Action;
use crate::tui::model::{Effect, Model};
use crate::tui::tools::Correction;

use super::{masks, motion, prompts, rays, tracks};

/// Actions of the group, and the repeat.
pub(super) fn act(model: &mut Model, fx: &mut Vec<Effect>, action: Action, count: Option<u32>) {
    match action {
        Action::WorstFrame => worst(model, fx),
        Action::AcceptQuiet => accept_quiet(model, fx),
        Action::FlagFrame => flag(model),
        Action::RepeatCorrection => {
            for _ in 0..count.unwrap_or(1).min(100) {
                if !repeat(model, fx) {
                    return;
                }
            }
        }
        _ => {}
    }
}

/// Judges the masks of a structure again.
pub(super) fn look(model: &mut Model, id: TrackId) {
    let review = &mut model.tools.review;
    let Some(track) = model.annotation.tracks.get(&id) else {
        review.doubts.remove(&id);
        return;
    };
    let agreement = review.agreement.entry(id).or_default();
    review.doubts.insert(id, doubts(track, agreement));
}

/// A frame was decided anew: what was compared before does not count for it.
pub(super) fn decided(model: &mut Model, id: TrackId, frame: FrameIndex) {
    if let Some(agreement) = model.tools.review.agreement.get_mut(&id) {
        agreement.remove(&frame);
    }
}

/// A frame of a comparison: the first pass is kept, the second compared with it.
pub(super) fn compared(model: &mut Model, id: TrackId, frame: FrameIndex, mask: Mask) {
    let review = &mut model.tools.review;
    match review.first_pass.remove(&frame) {
        Some(first) => {
            let iou = first.iou(&mask);
            review.agreement.entry(id).or_default().insert(frame, iou);
            look(model, id);
        }
        None => drop(review.first_pass.insert(frame, mask)),
    }
}

/// How much a frame of the structure at hand deserves a look, 0..=1; 0 where a person decided.
pub(super) fn doubt(model: &Model, id: TrackId, frame: FrameIndex) -> f32 {
    let review = &model.tools.review;
    if review.flags.contains(&(id, frame)) {
        return 1.0;
    }
    let doubts = review.doubts.get(&id).and_then(|doubts| doubts.get(&frame));
    doubts.map_or(0.0, |doubt| doubt.worst())
}

/// Frames in doubt, the worst first.
fn queue(model: &Model, id: TrackId) -> Vec<FrameIndex> {
    let Some(track) = model.annotation.tracks.get(&id) else { return Vec::new() };
    let tracked = track.masks.iter().filter(|(_, m)| m.source == MaskSource::Tracked);
    let mut all: Vec<(f32, FrameIndex)> = tracked
        .filter(|(frame, _)| track.visible(**frame))
        .map(|(frame, _)| (doubt(model, id, *frame), *frame))
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    all.into_iter().map(|(_, frame)| frame).collect()
}

fn worst(model: &mut Model, fx: &mut Vec<Effect>) {
    let Some((id, _)) = model.current() else { return tracks::say_none(model) };
    let queue = queue(model, id);
    let next = queue.iter().position(|&f| f == model.frame).map_or(0, |at| at + 1);
    let Some(&frame) = queue.get(next).or_else(|| queue.first()) else {
        return model.say("no propagated mask to look at; `p p` propagates");
    };
    motion::go_to(model, fx, frame);
    let value = doubt(model, id, frame);
    let reason = if model.tools.review.flags.contains(&(id, frame)) {
        "flagged"
    } else {
        let doubts = model.tools.review.doubts.get(&id).and_then(|all| all.get(&frame));
        doubts.map_or("nothing", |doubt| doubt.reason())
    };
    let place = next.min(queue.len() - 1) + 1;
    model.say(if value >= FLAGGED {
        format!("number {place} to look at: {reason}")
    } else {
        format!("number {place} to look at; nothing speaks against it (`A` accepts the quiet span)")
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
        return model.say(
            "this frame is in doubt, stale or has no mask; correct it, or accept it with `a`",
        );
    }
    let first = (0..here).rev().take_while(|&f| quiet(f)).last().unwrap_or(here);
    let last = (here + 1..model.clip.frames).take_while(|&f| quiet(f)).last().unwrap_or(here);
    let frames: Vec<FrameIndex> = (first..=last).collect();
    prompts::accept_frames(model, fx, &frames);
}

fn flag(model: &mut Model) {
    let Some((id, _)) = model.current() else { return tracks::say_none(model) };
    let at = (id, model.frame);
    if model.tools.review.flags.remove(&at) {
        model.say("flag taken away");
    } else {
        model.tools.review.flags.insert(at);
        model.say("flagged for a look: `W` and `;` come here");
    }
}

/// The next flagged frame behind this one, from the start again behind the last.
fn next_flagged(model: &Model, id: TrackId) -> Option<FrameIndex> {
    let mut flagged: Vec<FrameIndex> =
        queue(model, id).into_iter().filter(|&f| doubt(model, id, f) >= FLAGGED).collect();
    flagged.sort_unstable();
    flagged.iter().find(|&&f| f > model.frame).or_else(|| flagged.first()).copied()
}

/// Does the last correction again on the next flagged frame. False when there is none.
fn repeat(model: &mut Model, fx: &mut Vec<Effect>) -> bool {
    let Some((id, _)) = model.current() else {
        tracks::say_none(model);
        return false;
    };
    if model.tools.correction.is_none() {
        model.say("nothing was corrected yet that could be repeated");
        return false;
    }
    let Some(frame) = next_flagged(model, id) else {
        model.say("no frame is flagged; `F` flags one");
        return false;
    };
    motion::go_to(model, fx, frame);
    let by_picture = matches!(model.tools.correction, Some(Correction::Ray { .. }));
    if !by_picture || model.pixels().is_some() {
        repeat_here(model, fx);
    } else {
        model.tools.repeat_when_seen = true;
    }
    true
}

/// The picture that a repeated correction waited for is there.
pub(super) fn seen(model: &mut Model, fx: &mut Vec<Effect>, frame: FrameIndex) {
    if model.tools.repeat_when_seen && frame == model.frame {
        repeat_here(model, fx);
    }
}

fn repeat_here(model: &mut Model, fx: &mut Vec<Effect>) {
    model.tools.repeat_when_seen = false;
    let Some(correction) = model.tools.correction else { return };
    if let Some((id, _)) = model.current() {
        model.tools.review.flags.remove(&(id, model.frame));
    }
    match correction {
        Correction::Ray { hour, edges_on } => rays::again(model, fx, hour, edges_on),
        Correction::Mask(edit) => masks::change(model, fx, edit),
        Correction::Point { kind, right, down } => {
            let Some((centre, radius)) = middle(model) else {
                return model.say("no mask on this frame to put the point by");
            };
            let at = PointPx::new(centre.x + right * radius, centre.y + down * radius);
            motion::put_cursor(model, at);
            prompts::add_point(model, fx, kind);
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
