//! Edits: applied, noted in the history, sent to the journal. The one way to the annotation.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::review::Doubts;
use crate::domain::{
    Edit, FrameIndex, FrameMask, Mark, MaskOrigins, MaskSource, Step, TrackId, counted, deed,
    mask_frame, prompted,
};
use crate::tui::model::{Effect, Mode, Model};

use super::{ahead, batch, motion, network, rays, review, tracks};

/// Applies `edits` as part of `group` and journals them. False, with a sentence, when refused.
pub(super) fn commit(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    group: u64,
    edits: Vec<Edit>,
) -> bool {
    commit_all(model, fx, group, [edits]) > 0
}

/// The same for masks that may be of prompts of before: those that [`Step::made_from`] tells.
pub(super) fn commit_late(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    group: u64,
    edits: Vec<Edit>,
    made_from: Option<u64>,
) {
    commit_steps(model, fx, group, [Step { group, mark: Mark::Do, edits, made_from }]);
}

/// The same for many steps of one group, each journaled by itself. What follows from them is looked
/// at once, behind the last. Returns how many were not refused.
pub(super) fn commit_all(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    group: u64,
    steps: impl IntoIterator<Item = Vec<Edit>>,
) -> usize {
    let step = |edits| Step { group, mark: Mark::Do, edits, made_from: None };
    commit_steps(model, fx, group, steps.into_iter().map(step))
}

fn commit_steps(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    group: u64,
    steps: impl IntoIterator<Item = Step>,
) -> usize {
    let (mut touched, mut done) = (Touched::new(), 0);
    for step in steps {
        let edits = &step.edits;
        if edits.is_empty() {
            continue;
        }
        if let Err(refused) = model.annotation.apply_all(edits) {
            model.warn(format!("not done: {refused}"));
            continue;
        }
        for at in prompted(edits) {
            let groups = model.prompt_groups.entry(at).or_default();
            if groups.last() != Some(&group) {
                groups.push(group);
            }
        }
        ahead::outdated(model, fx, edits);
        model.unfinish();
        touch(&mut touched, edits);
        model.marks.note(&step);
        model.history.note(&step);
        fx.push(Effect::Journal(step));
        done += 1;
    }
    if done > 0 {
        leave_as_they_are(model, group, &touched);
        look_again(model, &touched);
    }
    done
}

/// Frames that wait for a change of many masks and were changed by something newer are not changed any more: taken back
/// in the other order, the two would bring back masks that never were.
fn leave_as_they_are(model: &mut Model, group: u64, touched: &Touched) {
    if let Some(batch) = model.tools.batch.as_mut().filter(|batch| batch.group < group)
        && let Some(touch) = touched.get(&batch.track)
    {
        batch.left.retain(|at| !touch.masks.contains(at) && !touch.prompts.contains(at));
    }
}

/// Takes so many groups back, or does them again.
pub(super) fn travel(model: &mut Model, fx: &mut Vec<Effect>, back: bool, count: u32) {
    for done in 0..count {
        match travel_once(model, fx, back) {
            Ok(()) => {}
            Err(Stuck::Refused(why)) => return model.warn(why),
            Err(Stuck::AtTheEnd) => {
                let steps = counted(done as usize, "step");
                return model.say(match (done, back) {
                    (0, true) => "nothing to take back".to_owned(),
                    (0, false) => "nothing to do again".to_owned(),
                    (_, true) => format!("{steps} taken back: everything there was"),
                    (_, false) => format!("{steps} done again: everything there was"),
                });
            }
        }
    }
}

/// Why there is no step on.
enum Stuck {
    AtTheEnd,
    Refused(String),
}

fn travel_once(model: &mut Model, fx: &mut Vec<Effect>, back: bool) -> Result<(), Stuck> {
    if back && batch::taken_back(model) {
        return Ok(());
    }
    if back && model.history.is_held() {
        let why = "not taken back: an open session of yours changed this structure later; when it \
                   has ended (after a crash in 2 minutes), open the clip again";
        return Err(Stuck::Refused(why.to_owned()));
    }
    let step = if back {
        model.history.undo(&model.annotation)
    } else {
        model.history.redo(&model.annotation)
    };
    let step = step.ok_or(Stuck::AtTheEnd)?;
    if let Err(refused) = model.annotation.apply_all(&step.edits) {
        return Err(Stuck::Refused(format!("not done: {refused}")));
    }
    ahead::outdated(model, fx, &step.edits);
    model.unfinish();
    model.marks.note(&step);
    model.history.note(&step);
    model.chosen = None;
    begin_anew(model);
    for at in prompted(&step.edits) {
        let groups = model.prompt_groups.entry(at).or_default();
        groups.retain(|group| *group != step.group);
        if !back {
            groups.push(step.group);
        }
    }
    look_again(model, &touched_by(&step.edits));
    network::drop_group(model, fx, step.group);
    batch::drop_group(model, step.group);
    let done = if back { "taken back" } else { "done again" };
    match deed(&step.edits, back) {
        Some(what) => model.say(format!("{done}: {what}")),
        None => model.say(format!("{done}; others had already changed it")),
    }
    follow(model, fx, &step.edits);
    fx.push(Effect::Journal(step.clone()));
    network::after_travel(model, fx, &step.edits);
    Ok(())
}

/// What is nudged, painted or moved along a ray from now on joins no group of before: it is
/// something new, and ends what could be done again.
fn begin_anew(model: &mut Model) {
    model.nudging = None;
    let (stroke, move_along) = (model.fresh(), model.fresh());
    if let Some(brush) = &mut model.tools.brush {
        brush.group = stroke;
    }
    if let Some(last) = model.tools.rays.as_mut().and_then(|tool| tool.last.as_mut()) {
        last.group = move_along;
    }
}

/// Takes in what another session did to the same clip, and what the masks of those structures were made from.
pub(super) fn from_others(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    edits: &[Edit],
    origins: MaskOrigins,
) {
    let mut done = Vec::new();
    for edit in edits {
        if let Some(edit) = edit.rebased(&model.annotation)
            && model.annotation.apply(&edit).is_ok()
        {
            done.push(edit);
        }
    }
    let (held, mut touched) = (model.track, touched_by(&done));
    // Their steps may have come before own ones: other masks than theirs are older now, or not any more.
    origins.tracks().for_each(|id| touched.entry(id).or_default().spans = true);
    model.marks.follow(origins);
    look_again(model, &touched);
    ahead::outdated(model, fx, &done);
    let gone = held.is_some() && model.track != held;
    if gone {
        // Strokes and points would go on, on a structure that nobody chose.
        model.tools.brush = None;
        if model.mode == Mode::Rays {
            rays::leave(model);
        }
    }
    if !done.is_empty() {
        let changes = counted(done.len(), "change");
        let more = if gone { ", the structure at hand is gone" } else { "" };
        model.say(format!("another session made {changes} here{more}"));
    }
}

/// What edits touch of a structure.
#[derive(Default)]
struct Touch {
    /// Frames whose mask changes.
    masks: BTreeSet<FrameIndex>,
    /// Frames whose prompts change.
    prompts: BTreeSet<FrameIndex>,
    /// Prompts or barriers change, and with them what other masks should follow.
    spans: bool,
    /// The windows change, or everything, and with them which masks are shown.
    shown: bool,
}

type Touched = BTreeMap<TrackId, Touch>;

fn touched_by(edits: &[Edit]) -> Touched {
    let mut touched = Touched::new();
    touch(&mut touched, edits);
    touched
}

fn touch(touched: &mut Touched, edits: &[Edit]) {
    for edit in edits {
        let Some(id) = edit.track() else { continue };
        let touch = touched.entry(id).or_default();
        match edit {
            Edit::SetMask { frame, before, after, .. } => {
                touch.masks.insert(*frame);
                // A barrier that comes or goes changes the spans on both sides.
                let barrier = |mask: &Option<FrameMask>| {
                    mask.as_ref().is_some_and(|mask| mask.source == MaskSource::Accepted)
                };
                touch.spans |= barrier(before) != barrier(after);
            }
            Edit::AddPrompt { frame, .. }
            | Edit::RemovePrompt { frame, .. }
            | Edit::MovePrompt { frame, .. } => {
                touch.prompts.insert(*frame);
                touch.spans = true;
            }
            Edit::SetWindows { .. } => touch.shown = true,
            Edit::AddTrack { .. } | Edit::RemoveTrack { .. } => {
                (touch.spans, touch.shown) = (true, true);
            }
            Edit::SetTrackInfo { .. }
            | Edit::SetAttribute { .. }
            | Edit::SetFlag { .. }
            | Edit::SetPlace { .. } => {}
        }
    }
}

/// Brings what is derived from the annotation up to date: stale masks, doubts and the selection.
fn look_again(model: &mut Model, touched: &Touched) {
    let review = &mut model.tools.review;
    for (&id, touch) in touched {
        let Some(track) = model.annotation.tracks.get(&id) else {
            model.marks.forget(id);
            review.doubts.remove(&id);
            continue;
        };
        if touch.spans {
            model.marks.learn(id, track);
        } else {
            touch.masks.iter().for_each(|frame| model.marks.learn_frame(id, track, *frame));
        }
        review::outdated(review, (id, track), &touch.masks, &touch.prompts);
        if touch.shown {
            review.doubts.insert(id, Doubts::of(track));
        } else {
            let doubts = review.doubts.entry(id).or_default();
            doubts.judge(track, touch.masks.iter().copied());
        }
    }
    let tracks = &model.annotation.tracks;
    model.hidden.retain(|id| tracks.contains_key(id));
    let gone = model.track.is_some_and(|id| !tracks.contains_key(&id));
    if gone || model.track.is_none() {
        model.track = tracks.keys().next_back().copied();
        model.chosen = None;
    }
    if gone {
        tracks::give_up(model);
    }
    let placed = model.current().and_then(|(_, track)| track.prompts.get(&model.frame));
    let there = |id| placed.is_some_and(|placed| placed.iter().any(|each| each.id == id));
    if model.chosen.is_some_and(|id| !there(id)) {
        model.chosen = None;
    }
}

/// Goes to where a step happened, so that the person sees it: to the nearest of its frames. Masks of many frames are seen
/// on the timeline from anywhere.
fn follow(model: &mut Model, fx: &mut Vec<Effect>, edits: &[Edit]) {
    let Some(edit) = edits.first() else { return };
    if let Some(id) = edit.track().filter(|id| model.annotation.tracks.contains_key(id)) {
        if model.track != Some(id) {
            tracks::give_up(model);
        }
        model.track = Some(id);
    }
    let said = |edit: &Edit| match edit {
        Edit::AddPrompt { frame, .. }
        | Edit::RemovePrompt { frame, .. }
        | Edit::MovePrompt { frame, .. }
        | Edit::SetFlag { frame, .. }
        | Edit::SetAttribute { frame: Some(frame), .. } => Some(*frame),
        _ => None,
    };
    let masked: BTreeSet<FrameIndex> = edits.iter().filter_map(mask_frame).collect();
    let mut frames: BTreeSet<FrameIndex> = edits.iter().filter_map(said).collect();
    if masked.contains(&model.frame) {
        return;
    }
    if frames.is_empty() && masked.len() == 1 {
        frames = masked;
    }
    if let Some(&frame) = frames.iter().min_by_key(|frame| frame.abs_diff(model.frame)) {
        motion::go_to(model, fx, frame);
    }
}
