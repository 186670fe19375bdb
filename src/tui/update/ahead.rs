//! Masks computed before they are asked for.
//!
//! While the person reads a frame, what `propagate-both` would decide now is decided already, and
//! kept aside: nothing of it is shown or journaled. When it is asked for, what is there appears at
//! once and the rest goes on. Where everything is decided, the passes from the anchors on either side
//! are compared, for the review. Any change of what it was planned from throws it away. The network
//! yields to a point after the frame in hand, so this begins only where a frame is quick.

use std::collections::BTreeMap;

use crate::domain::{Edit, FrameIndex, FrameMask, MaskSource, Signature, Track, TrackId, counted};
use crate::engine::{Decided, Plan, PlanError, Span, Ticket};
use crate::tui::action::Action;
use crate::tui::model::{Effect, Model, Network, Running};
use crate::tui::tools::Ahead;

use super::{edits, network, review};

/// A point may have to wait for so long, ms; where a frame takes longer nothing is computed ahead.
const QUICK_MS: f32 = 250.0;
/// Longer plans are computed when asked for: their masks would be many.
const FRAMES_MAX: usize = 2000;
/// Masks in one line of the journal.
const LINE: usize = 64;

/// The person rests: what they will probably ask for next is begun.
pub(super) fn begin(model: &mut Model, fx: &mut Vec<Effect>) {
    let of_other = |ahead: &Ahead| model.track != Some(ahead.ticket.track);
    if model.tools.ahead.as_ref().is_some_and(of_other) {
        forget(model, fx);
    }
    let idle = matches!(model.network, Network::Ready(_))
        && model.jobs.asked.is_empty()
        && !model.propagating()
        && model.tools.ahead.is_none()
        // Every portion would throw it away again.
        && model.tools.batch.is_none()
        && !model.tools.slow
        && !model.tools.never_ahead
        && !model.tools.nothing_ahead;
    let Some((id, track)) = model.current().filter(|_| idle) else { return };
    let found = due(model, id, track).filter(|(plan, _)| plan.len() <= FRAMES_MAX);
    let Some((plan, check)) = found else {
        // Only something that happens changes that: a program at rest does not look for it every second.
        model.tools.nothing_ahead = true;
        return;
    };
    let signature = Signature::of(track);
    model.jobs.generation += 1;
    let ticket = Ticket { track: id, generation: model.jobs.generation };
    fx.push(Effect::PropagateAhead(ticket, plan.clone()));
    let (masks, ended) = (BTreeMap::new(), false);
    model.tools.ahead = Some(Ahead { ticket, plan, signature, masks, ended, check });
}

/// What would be asked for next, and whether it compares passes.
fn due(model: &Model, id: TrackId, track: &Track) -> Option<(Plan, bool)> {
    match network::planned(model, id, track, Span::Both) {
        Ok(plan) => Some((plan, false)),
        // Everything is decided: where does what comes from both sides disagree?
        Err(PlanError::Nothing) => review::unmade(model, id, track).map(|plan| (plan, true)),
        Err(_) => None,
    }
}

/// The anchors on either side of the frame at hand: the frames between them are the next to be asked for. `None` where
/// there are no two, or where a frame takes so long that a point would have to wait.
pub(super) fn between(model: &Model) -> Option<(FrameIndex, FrameIndex)> {
    if model.tools.slow || model.tools.never_ahead {
        return None;
    }
    let anchors = model.current()?.1.anchors();
    let before = anchors.iter().rev().find(|&&frame| frame <= model.frame)?;
    let after = anchors.iter().find(|&&frame| frame > model.frame)?;
    Some((*before, *after))
}

/// A frame that was computed ahead. False when it belongs to something else.
pub(super) fn tracked(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    ticket: Ticket,
    frame: FrameIndex,
    decided: &Decided,
) -> bool {
    let Some(ahead) = model.tools.ahead.as_mut().filter(|ahead| ahead.ticket == ticket) else {
        return false;
    };
    let mask = decided.bitmap.to_mask();
    if ahead.check {
        review::compared(model, ticket.track, frame, mask);
    } else {
        let held = FrameMask { mask, source: MaskSource::Tracked, score: decided.score };
        // A walk that begins anew decides a frame twice.
        ahead.masks.insert(frame, held);
    }
    if decided.encode_ms + decided.decode_ms > QUICK_MS {
        model.tools.slow = true;
        forget(model, fx);
    }
    true
}

/// It is through, or failed. False when it was something else.
pub(super) fn ended(model: &mut Model, ticket: Ticket, failed: bool) -> bool {
    let Some(ahead) = model.tools.ahead.as_mut().filter(|ahead| ahead.ticket == ticket) else {
        return false;
    };
    ahead.ended = true;
    if ahead.check {
        model.tools.review.tried = Some((ticket.track, ahead.plan.clone()));
        drop_it(model);
    }
    if failed {
        // The same question would fail again; when it is really asked, the reason is told.
        model.tools.slow = true;
        drop_it(model);
    }
    true
}

/// Throws away what these edits make wrong.
pub(super) fn outdated(model: &mut Model, fx: &mut Vec<Effect>, edits: &[Edit]) {
    let said = |edit: &Edit| {
        matches!(edit, Edit::SetAttribute { .. } | Edit::SetTrackInfo { .. } | Edit::SetFlag { .. })
    };
    let track = model.tools.ahead.as_ref().map(|ahead| ahead.ticket.track);
    if edits.iter().any(|edit| edit.track().is_some() && edit.track() == track && !said(edit)) {
        forget(model, fx);
    }
}

/// Throws it away.
pub(super) fn forget(model: &mut Model, fx: &mut Vec<Effect>) {
    if let Some(ahead) = drop_it(model).filter(|ahead| !ahead.ended) {
        fx.push(Effect::Cancel(Some(ahead.ticket.track)));
    }
}

/// The same where nothing runs any more.
pub(super) fn drop_it(model: &mut Model) -> Option<Ahead> {
    let ahead = model.tools.ahead.take()?;
    if ahead.check {
        model.tools.review.forget_pass(ahead.ticket.track);
    }
    Some(ahead)
}

/// What was computed ahead is asked for: it appears, and the rest goes on. False when it is not
/// what is asked for.
pub(super) fn adopt(model: &mut Model, fx: &mut Vec<Effect>, id: TrackId, plan: &Plan) -> bool {
    let fits = |ahead: &Ahead| !ahead.check && ahead.ticket.track == id && ahead.plan == *plan;
    if !model.tools.ahead.as_ref().is_some_and(fits) {
        return false;
    }
    let Some(ahead) = model.tools.ahead.take() else { return false };
    let (group, total, done) = (model.fresh(), plan.len(), ahead.masks.len());
    let Ahead { ticket, signature, masks, ended, .. } = ahead;
    let mut todo = Vec::with_capacity(done);
    for (frame, after) in masks {
        let Some(track) = model.annotation.tracks.get(&id) else { return true };
        if network::may_track(track, frame) {
            let before = track.masks.get(&frame).cloned();
            todo.push(Edit::SetMask { track: id, frame, before, after: Some(after) });
        }
    }
    edits::commit_all(model, fx, group, todo.chunks(LINE).map(<[Edit]>::to_vec));
    if ended {
        model.say(format!("propagated {}, computed while you looked", counted(total, "frame")));
    } else {
        let since = model.now;
        let run = Running {
            ticket,
            group,
            signature,
            check: false,
            since,
            structures: 1,
            outdated: false,
            done,
            total,
        };
        model.jobs.running.push(run);
        let (frames, stops) = (counted(total, "frame"), model.key(Action::Cancel));
        let there = if done > 0 { format!(", {done} there already") } else { String::new() };
        model.say(format!("propagating to {frames}{there}; go on working, {stops} stops it"));
    }
    true
}
