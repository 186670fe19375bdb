//! Masks of many frames changed at once: in portions between keys, as one step back.
//!
//! What decides whether this file is right: whatever comes in between finds a whole annotation, is done to masks that are
//! changed already and is taken back before them; what looks at many masks finds all of them changed; and nothing that was
//! asked for is lost when the clip is left.

use std::collections::VecDeque;

use crate::domain::{FrameIndex, MaskEdit, TrackId, counted, edited};
use crate::tui::action::Action;
use crate::tui::model::{Effect, Model};
use crate::tui::tools::Batch;

use super::{edits, masks};

/// Pixels of the masks of one portion: some hundredths of a second of work.
const PORTION_PX: usize = 1 << 22;
/// Portions of a very long clip, about: behind each of them all points and masks of the structure are looked at.
const PORTIONS: usize = 256;

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
    let (total, before) = (left.len(), model.history.newest());
    model.tools.batch = Some(Batch { track: id, edit, group, before, left, total, changed: 0 });
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

/// Does the next portion of what is under way, with the frame at hand where it still waits.
pub(super) fn portion(model: &mut Model, fx: &mut Vec<Effect>) {
    // Nothing of a deleted structure is wanted any more, also when it comes back.
    let there = |batch: &Batch| model.annotation.tracks.contains_key(&batch.track);
    let Some(mut batch) = model.tools.batch.take().filter(there) else { return };
    if let Some(at) = batch.left.iter().position(|frame| *frame == model.frame) {
        batch.left.remove(at);
        batch.left.push_front(model.frame);
    }
    let each = model.clip.width_px as usize * model.clip.height_px as usize;
    let least = batch.total.div_ceil(PORTIONS);
    let count = (PORTION_PX / each.max(1)).max(least).min(batch.left.len());
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

/// Does the frame at hand: what a key does there comes behind what was asked for before.
pub(super) fn here(model: &mut Model, fx: &mut Vec<Effect>) {
    if model.tools.batch.as_ref().is_some_and(|batch| batch.left.contains(&model.frame)) {
        portion(model, fx);
    }
}

/// Does all of what is under way.
pub(super) fn finish(model: &mut Model, fx: &mut Vec<Effect>) {
    while model.tools.batch.is_some() {
        portion(model, fx);
    }
}

fn tell(model: &mut Model, batch: &Batch) {
    model.say(match batch.changed {
        0 => "no mask changed: none lies there, or nothing would be left of it".to_owned(),
        n => format!("{} {}; {}", counted(n, "mask"), batch.edit.told(), way_back(model, batch)),
    });
}

/// How it is taken back.
fn way_back(model: &Model, batch: &Batch) -> String {
    let undo = model.key(Action::Undo);
    match model.history.newest() == Some(batch.group) {
        true => format!("one {undo} takes it back"),
        false => format!("{undo} takes back what you did since, then this"),
    }
}

/// Stops what is under way on request; what is done stays. False when there is nothing.
pub(super) fn stop(model: &mut Model) -> bool {
    let Some(batch) = model.tools.batch.take() else { return false };
    let total = counted(batch.total, "mask");
    model.say(match batch.changed {
        0 => format!("stopped; none of {total} changed"),
        n => format!("stopped; {n} of {total} changed, {}", way_back(model, &batch)),
    });
    true
}

/// An undo before any mask changed takes back what was asked for, not what was done before it. False where there is
/// something newer to take back, or a change to take back.
pub(super) fn taken_back(model: &mut Model) -> bool {
    let newest = model.history.newest();
    let not_begun = |batch: &Batch| batch.changed == 0 && batch.before == newest;
    model.tools.batch.as_ref().is_some_and(not_begun) && stop(model)
}

/// What would have joined a group just undone is not done any more.
pub(super) fn drop_group(model: &mut Model, group: u64) {
    if model.tools.batch.as_ref().is_some_and(|batch| batch.group == group) {
        model.tools.batch = None;
    }
}
