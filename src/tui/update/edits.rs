//! Edits: applied, noted in the history, sent to the journal. The one way to the annotation.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::review::Doubts;
use crate::domain::{
    Edit, FrameIndex, FrameMask, Mark, MaskSource, PointKind, Prompt, Step, TrackId, counted, shown,
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

/// The same for many steps of one group, each journaled by itself. What follows from them is looked
/// at once, behind the last. Returns how many were not refused.
pub(super) fn commit_all(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    group: u64,
    steps: impl IntoIterator<Item = Vec<Edit>>,
) -> usize {
    let (mut touched, mut done) = (Touched::new(), 0);
    for edits in steps {
        if edits.is_empty() {
            continue;
        }
        if let Err(refused) = model.annotation.apply_all(&edits) {
            model.warn(format!("not done: {refused}"));
            continue;
        }
        for at in prompted(&edits) {
            let groups = model.prompt_groups.entry(at).or_default();
            if groups.last() != Some(&group) {
                groups.push(group);
            }
        }
        ahead::outdated(model, fx, &edits);
        model.unfinish();
        touch(&mut touched, &edits);
        let step = Step { group, mark: Mark::Do, edits };
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
    match describe(&step.edits, back) {
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

/// Takes in what another session did to the same clip.
pub(super) fn from_others(model: &mut Model, fx: &mut Vec<Effect>, edits: &[Edit]) {
    let mut done = Vec::new();
    for edit in edits {
        if let Some(edit) = edit.rebased(&model.annotation)
            && model.annotation.apply(&edit).is_ok()
        {
            done.push(edit);
        }
    }
    let held = model.track;
    look_again(model, &touched_by(&done));
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

/// Which (track, frame) had their prompts changed.
pub(super) fn prompted(edits: &[Edit]) -> BTreeSet<(TrackId, FrameIndex)> {
    let of = |edit: &Edit| match edit {
        Edit::AddPrompt { track, frame, .. }
        | Edit::RemovePrompt { track, frame, .. }
        | Edit::MovePrompt { track, frame, .. } => Some((*track, *frame)),
        _ => None,
    };
    edits.iter().filter_map(of).collect()
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

/// What was done to masks, where it has a word of its own: all of them accepted, or discarded.
fn deed_on_masks(edits: &[Edit], back: bool) -> Option<&'static str> {
    let masks = edits.iter().filter_map(|edit| match edit {
        Edit::SetMask { before, after, .. } if back => Some((after, before)),
        Edit::SetMask { before, after, .. } => Some((before, after)),
        _ => None,
    });
    let masks: Vec<_> = masks.collect();
    let accepted = |(before, after): &(&Option<FrameMask>, &Option<FrameMask>)| {
        let (Some(before), Some(after)) = (before, after) else { return false };
        before.mask == after.mask && after.source == MaskSource::Accepted
    };
    match masks {
        _ if masks.iter().all(accepted) => Some("accepting "),
        _ if masks.iter().all(|(_, after)| after.is_none()) => Some("discarding "),
        _ => None,
    }
}

/// "deleting " where the person took a prompt away; `back` says that the edit is its inverse.
fn deleting(edit: &Edit, back: bool) -> &'static str {
    if matches!(edit, Edit::AddPrompt { .. }) == back { "deleting " } else { "" }
}

/// The first edit of drawn masks where the step is about nothing else.
fn only_drawn(edits: &[Edit]) -> Option<&Edit> {
    let mut prompts =
        edits.iter().filter(|edit| !matches!(edit, Edit::SetMask { .. } | Edit::SetFlag { .. }));
    let drawn = |edit: &&Edit| match edit {
        Edit::AddPrompt { placed, .. } | Edit::RemovePrompt { placed, .. } => {
            matches!(placed.prompt, Prompt::Mask(_))
        }
        Edit::MovePrompt { after, .. } => matches!(after, Prompt::Mask(_)),
        _ => false,
    };
    prompts.clone().all(|edit| drawn(&edit)).then(|| prompts.next()).flatten()
}

/// What a step is about, for people: "boundary point on frame 12 and its mask". `back` says that
/// the edits are inverses.
fn describe(edits: &[Edit], back: bool) -> Option<String> {
    let masked: BTreeSet<FrameIndex> = edits.iter().filter_map(mask_frame).collect();
    let masks = masked.len();
    if let (Some(drawn), 2..) = (only_drawn(edits), masks) {
        let moved = matches!(drawn, Edit::MovePrompt { .. });
        let deed = if moved { "" } else { deleting(drawn, back) };
        return Some(format!("{deed}drawn masks of {masks} frames"));
    }
    let flags = edits.iter().filter(|edit| matches!(edit, Edit::SetFlag { .. })).count();
    let only_flags = flags == edits.len();
    let mut others = edits.iter().filter(|edit| match edit {
        Edit::SetMask { .. } => false,
        // A flag that a correction took away goes without saying.
        Edit::SetFlag { .. } => only_flags,
        _ => true,
    });
    let placed = |edit: &&Edit| match edit {
        Edit::AddPrompt { placed, .. } | Edit::RemovePrompt { placed, .. } => {
            !matches!(placed.prompt, Prompt::Mask(_))
        }
        _ => false,
    };
    let points = edits.iter().filter(placed).count();
    // What a point became by nudges and letters is part of placing it.
    let begun = edits.iter().find(placed);
    // What the person meant was done last, and so is taken back first.
    let main = if back { others.next() } else { others.next_back() };
    let main = match (main, begun) {
        (Some(Edit::MovePrompt { .. }), Some(begun)) => Some(begun),
        (main, _) => main,
    };
    let on = |frame: &FrameIndex| format!("on frame {}", frame + 1);
    let what = match main {
        None if masks == 0 => return None,
        None => {
            let frame = masked.first()?;
            let (deed, the) = match deed_on_masks(edits, back) {
                Some(deed) => (deed, "the "),
                None => ("", ""),
            };
            return Some(if masks == 1 {
                format!("{deed}{the}mask {}", on(frame))
            } else {
                format!("{deed}{the}masks of {masks} frames")
            });
        }
        Some(Edit::AddTrack { content, .. }) => {
            format!("{} {}", if back { "deleting" } else { "starting" }, shown(&content.info.label))
        }
        Some(Edit::RemoveTrack { content, .. }) => {
            format!("{} {}", if back { "starting" } else { "deleting" }, shown(&content.info.label))
        }
        Some(Edit::SetTrackInfo { .. }) => "name or colour".to_owned(),
        Some(edit @ (Edit::AddPrompt { frame, .. } | Edit::RemovePrompt { frame, .. }))
            if points > 1 =>
        {
            format!("{}{points} points {}", deleting(edit, back), on(frame))
        }
        Some(
            edit @ (Edit::AddPrompt { frame, placed, .. }
            | Edit::RemovePrompt { frame, placed, .. }),
        ) => {
            let name = format!("{}{}", deleting(edit, back), prompt_name(&placed.prompt));
            // It is the mask of the frame, too.
            if matches!(placed.prompt, Prompt::Mask(_)) && masks <= 1 {
                return Some(format!("{name} {}", on(frame)));
            }
            format!("{name} {}", on(frame))
        }
        Some(Edit::MovePrompt { frame, after: Prompt::Mask(_), .. }) if masks <= 1 => {
            return Some(format!("drawn mask {}", on(frame)));
        }
        Some(Edit::MovePrompt { frame, after, .. }) => {
            format!("move of a {} {}", prompt_name(after), on(frame))
        }
        Some(Edit::SetWindows { .. }) => "windows".to_owned(),
        Some(Edit::SetAttribute { name, frame, .. }) => match frame {
            Some(frame) => format!("{} {}", shown(name), on(frame)),
            None => shown(name),
        },
        Some(Edit::SetFlag { .. }) if flags > 1 => format!("flags of {flags} frames"),
        Some(Edit::SetFlag { frame, .. }) => format!("flag {}", on(frame)),
        Some(Edit::SetPlace { letter, .. }) => format!("mark {}", shown(&letter.to_string())),
        Some(Edit::SetMask { .. }) => return None,
    };
    Some(match masks {
        0 => what,
        1 => format!("{what} and its mask"),
        n => format!("{what} and {n} masks"),
    })
}

/// The frame of a changed mask.
fn mask_frame(edit: &Edit) -> Option<FrameIndex> {
    match edit {
        Edit::SetMask { frame, .. } => Some(*frame),
        _ => None,
    }
}

/// What a prompt is called.
pub(super) fn prompt_name(prompt: &Prompt) -> &'static str {
    match prompt {
        Prompt::Point { kind: PointKind::Boundary, .. } => "boundary point",
        Prompt::Point { kind: PointKind::Inside, .. } => "inside point",
        Prompt::Point { kind: PointKind::Outside, .. } => "outside point",
        Prompt::Box(_) => "box",
        Prompt::Mask(_) => "drawn mask",
    }
}
