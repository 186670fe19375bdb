//! Masks of many frames changed at once: in portions between keys, as one step back.
//!
//! What decides whether this file is right: whatever comes in between finds a whole annotation, is done to masks that are
//! changed already and is taken back before them; what looks at many masks finds all of them changed; and nothing that was
//! asked for is lost when the clip is left.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::domain::{
    Between, Edit, FrameIndex, FrameMask, MaskEdit, MaskSource, Track, TrackId, counted, edited,
};
use crate::tui::action::Action;
use crate::tui::model::{Effect, Model};
use crate::tui::tools::{Batch, Change};

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
    // Outside the windows there is nothing to change.
    let changes = |frame: &FrameIndex| {
        shown(model, id, *frame).is_some_and(|track| track.masks.contains_key(frame))
    };
    let left = frames.iter().copied().filter(changes).collect();
    start(model, fx, id, left, Change::Edit(edit));
}

/// Fills the frames of `left` with the shapes between those of two others.
pub(super) fn fill(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    id: TrackId,
    left: VecDeque<FrameIndex>,
    (shapes, ends): (Between, [FrameIndex; 2]),
) {
    start(model, fx, id, left, Change::Fill(Arc::new(shapes), ends));
}

fn start(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    track: TrackId,
    left: VecDeque<FrameIndex>,
    change: Change,
) {
    let (total, before, group) = (left.len(), model.history.newest(), model.fresh());
    let told = match &change {
        Change::Edit(edit) => format!("changing {} ({})", counted(total, "mask"), edit.told()),
        Change::Fill(..) => format!("filling {}", counted(total, "frame")),
    };
    model.tools.batch = Some(Batch { track, change, group, before, left, total, changed: 0 });
    portion(model, fx);
    if model.tools.batch.is_some() {
        model.say(format!("{told}; go on working, {} stops it", model.key(Action::Cancel)));
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
        steps.extend(match &batch.change {
            Change::Edit(edit) => changed(model, batch.track, frame, *edit),
            Change::Fill(shapes, ends) => filled(model, batch.track, frame, (&**shapes, *ends)),
        });
    }
    batch.changed += edits::commit_all(model, fx, batch.group, steps);
    if batch.left.is_empty() {
        tell(model, &batch);
    } else {
        model.tools.batch = Some(batch);
    }
}

/// The structure, where it is visible on the frame: it may have gone since it was asked for.
fn shown(model: &Model, track: TrackId, frame: FrameIndex) -> Option<&Track> {
    model.annotation.tracks.get(&track).filter(|track| track.visible(frame))
}

/// The step that changes a mask; `None` where there is none, or it would stay as it is or vanish.
fn changed(
    model: &mut Model,
    track: TrackId,
    frame: FrameIndex,
    edit: MaskEdit,
) -> Option<Vec<Edit>> {
    let mask = shown(model, track, frame)?.masks.get(&frame)?.mask.to_bitmap();
    let after = edited(&mask, edit);
    if after == mask || after.area_px() == 0 {
        return None;
    }
    masks::drawn(model, (track, frame), &after).map(|(todo, _)| todo)
}

/// The step that fills a frame; `None` where a person has decided it.
fn filled(
    model: &Model,
    track: TrackId,
    frame: FrameIndex,
    (shapes, [before, behind]): (&Between, [FrameIndex; 2]),
) -> Option<Vec<Edit>> {
    let old = shown(model, track, frame)?.masks.get(&frame).cloned();
    if old.as_ref().is_some_and(|held| held.source != MaskSource::Tracked) {
        return None;
    }
    let share = (frame - before) as f32 / (behind - before) as f32;
    let mask = shapes.at(share).to_mask();
    // No network judged it: no score.
    let after = FrameMask { mask, source: MaskSource::Tracked, score: 0.0 };
    Some(vec![Edit::SetMask { track, frame, before: old, after: Some(after) }])
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
    let back = way_back(model, batch);
    model.say(match (&batch.change, batch.changed) {
        (Change::Edit(_), 0) => {
            "no mask changed: none lies there, or nothing would be left of it".to_owned()
        }
        // As drawn ones: it must not come as a surprise that nothing is in doubt any more.
        (Change::Edit(edit), n) => {
            format!("{} {} and accepted; {back}", counted(n, "mask"), edit.told())
        }
        (Change::Fill(_, [before, behind]), n) => {
            let (frames, before, behind) = (counted(n, "frame"), before + 1, behind + 1);
            format!("{frames} between {before} and {behind} filled; {back}")
        }
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
    let what = if matches!(batch.change, Change::Edit(_)) { "mask" } else { "frame" };
    let total = counted(batch.total, what);
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
