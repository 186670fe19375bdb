//! Masks of many frames changed at once: in portions between keys, as one step back.
//!
//! What decides whether this file is right: whatever comes in between finds a whole annotation, what looks at many masks
//! finds all of them changed, and nothing that was asked for is lost when the clip is left.

use std::collections::VecDeque;

use crate::domain::{FrameIndex, MaskEdit, TrackId, counted, edited};
use crate::tui::action::Action;
use crate::tui::model::{Effect, Model};
use crate::tui::tools::Batch;

use super::{edits, masks};

/// Pixels of the masks of one portion: some hundredths of a second of work.
const PORTION_PX: usize = 1 << 21;

/// Changes the masks of `frames` that are shown. What does not fit into one portion goes on by itself.
pub(super) fn begin(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    id: TrackId,
    frames: &[FrameIndex],
    edit: MaskEdit,
) {
    finish(model, fx);
    let group = model.fresh();
    // Outside the windows there is nothing to change.
    let shown = |frame: &FrameIndex| {
        let track = model.annotation.tracks.get(&id);
        track.is_some_and(|track| track.visible(*frame) && track.masks.contains_key(frame))
    };
    let left: VecDeque<FrameIndex> = frames.iter().copied().filter(shown).collect();
    let total = left.len();
    model.tools.batch = Some(Batch { track: id, edit, group, left, total, changed: 0 });
    portion(model, fx);
    if model.tools.batch.is_some() {
        model.say(format!(
            "changing {} ({}); go on working, {} stops it",
            counted(total, "mask"),
            edit.told(),
            model.key(Action::Cancel)
        ));
    }
}

/// Does the next portion of what is under way.
pub(super) fn portion(model: &mut Model, fx: &mut Vec<Effect>) {
    let Some(mut batch) = model.tools.batch.take() else { return };
    let each = model.clip.width_px as usize * model.clip.height_px as usize;
    let count = (PORTION_PX / each.max(1)).max(1).min(batch.left.len());
    let frames: Vec<FrameIndex> = batch.left.drain(..count).collect();
    let mut steps = Vec::new();
    for frame in frames {
        // It may have gone since, or be shown no more.
        let track = model.annotation.tracks.get(&batch.track).filter(|track| track.visible(frame));
        let held = track.and_then(|track| track.masks.get(&frame));
        let Some(mask) = held.map(|held| held.mask.to_bitmap()) else { continue };
        let after = edited(&mask, batch.edit);
        if after != mask
            && after.area_px() > 0
            && let Some((todo, _)) = masks::drawn(model, (batch.track, frame), &after)
        {
            steps.push(todo);
        }
    }
    batch.changed += edits::commit_all(model, fx, batch.group, steps);
    if batch.left.is_empty() {
        tell(model, &batch);
    } else {
        model.tools.batch = Some(batch);
    }
}

/// Does all of what is under way.
pub(super) fn finish(model: &mut Model, fx: &mut Vec<Effect>) {
    while model.tools.batch.is_some() {
        portion(model, fx);
    }
}

fn tell(model: &mut Model, batch: &Batch) {
    let (masks, undo) = (counted(batch.changed, "mask"), model.key(Action::Undo));
    model.say(match batch.changed {
        0 => "no mask changed: none lies there, or nothing would be left of it".to_owned(),
        _ => format!("{masks} {}; one {undo} takes it back", batch.edit.told()),
    });
}

/// Stops what is under way on request; what is done stays. False when there is nothing.
pub(super) fn stop(model: &mut Model) -> bool {
    let Some(batch) = model.tools.batch.take() else { return false };
    model.say(format!(
        "stopped; {} of {} changed, one {} takes it back",
        batch.changed,
        counted(batch.total, "mask"),
        model.key(Action::Undo)
    ));
    true
}

/// What would have joined a group just undone is not done any more.
pub(super) fn drop_group(model: &mut Model, group: u64) {
    if model.tools.batch.as_ref().is_some_and(|batch| batch.group == group) {
        model.tools.batch = None;
    }
}
