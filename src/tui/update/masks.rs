//! Masks changed by hand.
//!
//! A drawn mask is a person's word: it is accepted, and it is a mask prompt of its frame, so that
//! it conditions the others, outdates what was propagated before, and stays part of what the
//! network is told when points follow.

use std::collections::VecDeque;

use crate::domain::{
    Between, Bitmap, Edit, FrameIndex, FrameMask, MaskEdit, MaskSource, PlacedPrompt, PointPx,
    Prompt, PromptId, TrackId, edited, paint,
};
use crate::tui::action::Action;
use crate::tui::model::{Effect, Model};
use crate::tui::range::{SMOOTH_PX, STEP_PX};
use crate::tui::tools::{Brush, Correction};

use super::{batch, edits, motion, network, overlay, prompts, tracks};

/// Brush before anything else was asked for, and its limits, px.
const BRUSH_PX: f32 = 4.0;
const BRUSH_RANGE: std::ops::RangeInclusive<f32> = 1.0..=100.0;
/// Largest step of a whole mask, px.
const STEP_MAX: u32 = 200;

/// Actions of the group.
pub(super) fn act(model: &mut Model, fx: &mut Vec<Effect>, action: Action, count: Option<u32>) {
    let px = |default: u32| count.unwrap_or(default).clamp(1, STEP_MAX) as f32;
    match action {
        Action::Grow => change(model, fx, MaskEdit::Grow(px(STEP_PX))),
        Action::Shrink => change(model, fx, MaskEdit::Shrink(px(STEP_PX))),
        Action::Smooth => change(model, fx, MaskEdit::Smooth(px(SMOOTH_PX))),
        Action::FillHoles => change(model, fx, MaskEdit::Fill),
        Action::KeepLargest => change(model, fx, MaskEdit::KeepLargest),
        Action::Cut => cut(model, fx),
        Action::Interpolate => interpolate(model, fx),
        Action::Brush => take_brush(model, fx, false),
        Action::Eraser => take_brush(model, fx, true),
        Action::TakeOverlay => overlay::take_over(model, fx),
        Action::BrushLarger => resize(model, count.unwrap_or(1) as f32),
        Action::BrushSmaller => resize(model, -(count.unwrap_or(1) as f32)),
        _ => {}
    }
}

/// The mask of the structure at hand on this frame.
fn held(model: &mut Model) -> Option<(TrackId, Bitmap)> {
    let frame = model.frame;
    let Some((id, track)) = model.current() else {
        tracks::say_none(model);
        return None;
    };
    let mask = track.masks.get(&frame).filter(|held| track.visible(frame) && !held.mask.is_empty());
    let found = mask.map(|held| (id, held.mask.to_bitmap()));
    if found.is_none() {
        model.say(format!(
            "no mask on this frame to change; put points, or paint one with {}",
            model.key(Action::Brush)
        ));
    }
    found
}

/// Changes the mask of the frame at hand.
pub(super) fn change(model: &mut Model, fx: &mut Vec<Effect>, edit: MaskEdit) {
    let Some((id, mask)) = held(model) else { return };
    let after = edited(&mask, edit);
    if after == mask {
        return model.say("nothing of the mask changes by that");
    }
    let group = model.fresh();
    let frame = model.frame;
    if let Some(wider) = draw(model, fx, group, (id, frame), &after) {
        model.tools.correction = Some(Correction::Mask(edit));
        model.say(format!("{}{wider}; {} takes it back", edit.told(), model.key(Action::Undo)));
    }
}

/// Gives a frame a mask drawn by the person; what to say of a window that was stretched for it, if
/// one was. `None`, with a sentence, when refused.
pub(super) fn draw(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    group: u64,
    at: (TrackId, FrameIndex),
    bitmap: &Bitmap,
) -> Option<String> {
    let (todo, wider) = drawn(model, at, bitmap)?;
    if !edits::commit(model, fx, group, todo) {
        return None;
    }
    // Who draws wants to see it.
    model.hidden.remove(&at.0);
    Some(wider)
}

/// The edits that give a frame a mask drawn by the person, and what to say of a window that they
/// stretch for it, if one is. `None`, with a sentence, where nothing would be left.
pub(super) fn drawn(
    model: &mut Model,
    (id, frame): (TrackId, FrameIndex),
    bitmap: &Bitmap,
) -> Option<(Vec<Edit>, String)> {
    if bitmap.area_px() == 0 {
        model.say(format!(
            "nothing of the mask would be left; {} discards it",
            model.key(Action::DiscardMask)
        ));
        return None;
    }
    let mut todo = Vec::new();
    let fresh = PromptId(model.fresh());
    let track = model.annotation.tracks.get(&id)?;
    let wider =
        prompts::reach(id, track, frame, &mut todo).map_or_else(String::new, prompts::wider);
    let mask = bitmap.to_mask();
    let placed = track.prompts.get(&frame).map_or(&[][..], Vec::as_slice);
    let drawn = Prompt::Mask(mask.clone());
    match placed.iter().find(|each| matches!(each.prompt, Prompt::Mask(_))) {
        Some(old) if old.prompt == drawn => {}
        Some(old) => todo.push(Edit::MovePrompt {
            track: id,
            frame,
            id: old.id,
            before: old.prompt.clone(),
            after: drawn,
        }),
        None => {
            let placed_now = PlacedPrompt { id: fresh, prompt: drawn };
            todo.push(Edit::AddPrompt { track: id, frame, at: placed.len(), placed: placed_now });
        }
    }
    let before = track.masks.get(&frame).cloned();
    let after = Some(FrameMask { mask, source: MaskSource::Accepted, score: 1.0 });
    todo.push(Edit::SetMask { track: id, frame, before, after });
    // A mask still on its way would replace what was just drawn.
    network::drop_question(model, id, frame);
    Some((todo, wider))
}

/// One end of a cut; the second makes it.
fn cut(model: &mut Model, fx: &mut Vec<Effect>) {
    let Some(from) = model.tools.cut.take() else {
        if held(model).is_some() {
            model.tools.cut = Some(model.cursor);
            model.say(format!(
                "first end of the cut; go to the other one and press again, {} gives up",
                model.key(Action::Cancel)
            ));
        }
        return;
    };
    if from.distance(model.cursor) < 1.0 {
        return model.say("the two ends must lie apart");
    }
    change(model, fx, MaskEdit::Cut(from, model.cursor));
}

/// Fills the frames between the anchors on either side.
pub(super) fn interpolate(model: &mut Model, fx: &mut Vec<Effect>) {
    let Some((_, track)) = model.current() else { return tracks::say_none(model) };
    let anchors = track.anchors();
    let before = anchors.iter().rev().find(|&&f| f <= model.frame).copied();
    let behind = anchors.iter().find(|&&f| f > model.frame).copied();
    match (before, behind) {
        (Some(before), Some(behind)) => interpolate_between(model, fx, before, behind),
        _ => model.say(motion::NOT_BETWEEN),
    }
}

/// Fills the frames between two frames with masks.
pub(super) fn interpolate_between(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    before: FrameIndex,
    behind: FrameIndex,
) {
    // What was asked for before may still change the two.
    batch::finish(model, fx);
    let Some((id, track)) = model.current() else { return tracks::say_none(model) };
    let mask = |frame| track.masks.get(&frame).map(|held| held.mask.to_bitmap());
    if behind <= before + 1 {
        let (before, behind) = (before + 1, behind + 1);
        return model.say(format!("no frame lies between {before} and {behind}"));
    }
    let (Some(from), Some(to)) = (mask(before), mask(behind)) else {
        return model.say(format!(
            "one of the two frames has no mask yet; wait for it, or press {} there",
            model.key(Action::Refresh)
        ));
    };
    let free = |frame: &FrameIndex| {
        let held = track.masks.get(frame);
        track.visible(*frame) && held.is_none_or(|held| held.source == MaskSource::Tracked)
    };
    let left: VecDeque<FrameIndex> = (before + 1..behind).filter(free).collect();
    if left.is_empty() {
        return model.say(
            "no frame between the two is free: a person decided each, or it lies outside the windows",
        );
    }
    batch::fill(model, fx, id, left, (Between::new(&from, &to), [before, behind]));
}

/// Puts the brush down, or takes it up.
fn take_brush(model: &mut Model, fx: &mut Vec<Effect>, erase: bool) {
    if model.tools.brush.take().is_some_and(|brush| brush.erase == erase) {
        return model.say("brush put away");
    }
    // There is nothing to erase, and nothing is started for that.
    if erase && model.current().is_none() {
        return tracks::say_none(model);
    }
    let (group, frame) = (model.fresh(), model.frame);
    model.tools.brush = Some(Brush { erase, group, frame, way: (0, 0) });
    if model.tools.brush_px < *BRUSH_RANGE.start() {
        model.tools.brush_px = BRUSH_PX;
    }
    let what = if erase { "erasing" } else { "painting" };
    model.say(format!(
        "{what} with a brush of {} px: move the cursor; {} and {} change it, again or {} stops",
        model.tools.brush_px,
        model.key(Action::BrushSmaller),
        model.key(Action::BrushLarger),
        model.key(Action::Cancel)
    ));
    stroke(model, fx, model.cursor);
}

fn resize(model: &mut Model, by: f32) {
    let now = if model.tools.brush_px > 0.0 { model.tools.brush_px } else { BRUSH_PX };
    let px = (now + by).clamp(*BRUSH_RANGE.start(), *BRUSH_RANGE.end());
    model.tools.brush_px = px;
    model.say(format!("brush of {px} px"));
}

/// Paints from `from` to the cursor while the brush is down.
pub(super) fn stroke(model: &mut Model, fx: &mut Vec<Effect>, from: PointPx) {
    let Some(mut brush) = model.tools.brush else { return };
    let (frame, to, radius) = (model.frame, model.cursor, model.tools.brush_px);
    let sign = |v: f32| if v == 0.0 { 0 } else { v.signum() as i8 };
    let way = (sign(to.x - from.x), sign(to.y - from.y));
    // Taking back takes a run back, not all that was painted since the brush went down.
    let goes_on = brush.frame == frame && (brush.way == (0, 0) || brush.way == way);
    let group = if goes_on { brush.group } else { model.fresh() };
    brush = Brush { group, frame, way, ..brush };
    model.tools.brush = Some(brush);
    if model.current().is_none() {
        if brush.erase {
            return;
        }
        let mut todo = Vec::new();
        let id = tracks::current_or_new(model, &mut todo);
        if !edits::commit(model, fx, group, todo) {
            return;
        }
        model.track = Some(id);
    }
    let Some((id, track)) = model.current() else { return };
    let before = track.masks.get(&frame).filter(|_| track.visible(frame)).map_or_else(
        || Bitmap::empty(model.clip.width_px, model.clip.height_px),
        |held| held.mask.to_bitmap(),
    );
    let steps = (from.distance(to) / (radius / 2.0).max(0.5)).ceil().max(1.0);
    let mut after = before.clone();
    for step in 0..=steps as usize {
        let share = step as f32 / steps;
        let at = PointPx::new(from.x + (to.x - from.x) * share, from.y + (to.y - from.y) * share);
        paint(&mut after, at, radius, brush.erase);
    }
    if after != before
        && let Some(wider) = draw(model, fx, group, (id, frame), &after)
        && !wider.is_empty()
    {
        model.say(format!("painted on frame {}{wider}", frame + 1));
    }
}
