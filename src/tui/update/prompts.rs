//! Points, boxes and accepted masks: what the person says about a frame.

use crate::domain::{
    BoxPx, Edit, FrameIndex, FrameMask, MaskSource, PlacedPrompt, PointKind, PointPx, Prompt,
    PromptId, Track, TrackId, Window, insert_window, prompt_name,
};
use crate::tui::action::Action;
use crate::tui::model::{Effect, Model};

use super::edits;
use super::motion::{self, Way};
use super::{network, review, tracks};

/// What is said of a window that was stretched.
pub(super) fn wider(window: Window) -> String {
    format!(", the window now reaches here: {}-{}", window.first + 1, window.last + 1)
}

/// Puts a point under the cursor; in M-mode exactly on the line, also between pixels.
pub(super) fn add_point(model: &mut Model, fx: &mut Vec<Effect>, kind: PointKind) {
    let on_line = model.tools.strip.as_ref().map(|strip| strip.at(strip.depth_at(model.cursor)));
    let at = on_line.unwrap_or(model.cursor);
    add_point_at(model, fx, kind, at);
}

/// Puts a point at a place, unless it is there already.
pub(super) fn add_point_at(model: &mut Model, fx: &mut Vec<Effect>, kind: PointKind, at: PointPx) {
    let there = |each: &&PlacedPrompt| each.prompt == Prompt::Point { kind, at };
    if placed(model).iter().any(|each| there(&each)) {
        return model.say("this point is there already");
    }
    model.tools.correction = review::as_correction(model, kind).or(model.tools.correction);
    add(model, fx, Prompt::Point { kind, at }, true);
}

/// Puts a point under the cursor, whatever is there already; its identity and undo group. Who asks
/// for it says so.
pub(super) fn add_at_cursor(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    kind: PointKind,
) -> Option<(PromptId, u64)> {
    add(model, fx, Prompt::Point { kind, at: model.cursor }, false)
}

/// Puts a corner of a box; the second completes it.
pub(super) fn add_corner(model: &mut Model, fx: &mut Vec<Effect>) {
    let Some(first) = model.corner else {
        model.corner = Some(model.cursor);
        return model.say(format!(
            "first corner; go to the opposite one and press again, {} gives up",
            model.key(Action::Cancel)
        ));
    };
    if (first.x - model.cursor.x).abs() < 1.0 || (first.y - model.cursor.y).abs() < 1.0 {
        return model.say("the corners must differ in both directions");
    }
    model.corner = None;
    add(model, fx, Prompt::Box(BoxPx::from_corners(first, model.cursor)), true);
}

/// Places a prompt on the frame at hand, in one undo group with whatever it takes: a first
/// structure, a wider window, and the propagated mask that it corrects. Unless `told`, only a wider
/// window is said.
fn add(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    prompt: Prompt,
    mut told: bool,
) -> Option<(PromptId, u64)> {
    let (frame, group) = (model.frame, model.fresh());
    let mut todo = Vec::new();
    let id = tracks::current_or_new(model, &mut todo);
    let held = model.annotation.tracks.get(&id);
    let mut sentence = format!("{} on frame {}", prompt_name(&prompt), frame + 1);
    if let Some(window) = held.and_then(|held| reach(id, held, frame, &mut todo)) {
        sentence.push_str(&wider(window));
        told = true;
    }
    let mut at = held.and_then(|held| held.prompts.get(&frame)).map_or(0, Vec::len);
    if let Some(mask) = held.and_then(|held| corrected(held, frame)) {
        let placed = PlacedPrompt { id: PromptId(model.fresh()), prompt: Prompt::Mask(mask) };
        todo.push(Edit::AddPrompt { track: id, frame, at, placed });
        at += 1;
    }
    let old_box = placed(model).iter().find(|each| matches!(each.prompt, Prompt::Box(_))).cloned();
    let own = PromptId(model.fresh());
    match (&prompt, old_box) {
        // A frame has one box; a new one takes its place.
        (Prompt::Box(_), Some(old)) => {
            let (id_of_box, before) = (old.id, old.prompt.clone());
            let after = prompt;
            todo.push(Edit::MovePrompt { track: id, frame, id: id_of_box, before, after });
        }
        _ => {
            let placed = PlacedPrompt { id: own, prompt };
            todo.push(Edit::AddPrompt { track: id, frame, at, placed });
        }
    }
    if !edits::commit(model, fx, group, todo) {
        return None;
    }
    model.track = Some(id);
    model.hidden.remove(&id);
    model.nudging = None;
    if told {
        model.say(sentence);
    }
    network::ask(model, fx, id, frame, group);
    Some((own, group))
}

/// Stretches the nearest window to hold `frame`, where it lies outside; true when it did.
pub(super) fn reach(
    id: TrackId,
    track: &Track,
    frame: usize,
    todo: &mut Vec<Edit>,
) -> Option<Window> {
    if track.visible(frame) {
        return None;
    }
    let after = stretched(&track.windows, frame);
    let window = after.iter().find(|window| window.contains(frame)).copied();
    todo.push(Edit::SetWindows { track: id, before: track.windows.clone(), after });
    window
}

/// The propagated mask that a first point corrects: it becomes a prompt beside the point, since
/// one point alone would throw away what is right about it.
fn corrected(track: &Track, frame: usize) -> Option<crate::domain::Mask> {
    let held = track.masks.get(&frame)?;
    let first = !track.prompts.contains_key(&frame);
    (first && held.source == MaskSource::Tracked && !held.mask.is_empty())
        .then(|| held.mask.clone())
}

/// `windows` with the nearest one stretched to hold `frame`.
fn stretched(windows: &[Window], frame: usize) -> Vec<Window> {
    let gap =
        |w: &&Window| if frame < w.first { w.first - frame } else { frame.saturating_sub(w.last) };
    match windows.iter().min_by_key(gap) {
        Some(near) => insert_window(
            windows,
            Window { first: near.first.min(frame), last: near.last.max(frame) },
        ),
        None => vec![Window { first: frame, last: frame }],
    }
}

/// The prompts of the structure at hand on the frame at hand.
fn placed(model: &Model) -> &[PlacedPrompt] {
    let prompts = model.current().and_then(|(_, track)| track.prompts.get(&model.frame));
    prompts.map_or(&[], Vec::as_slice)
}

/// A position of a prompt that the cursor can go to.
fn place_of(prompt: &Prompt) -> Option<PointPx> {
    match prompt {
        Prompt::Point { at, .. } => Some(*at),
        Prompt::Box(area) => Some(area.min),
        Prompt::Mask(_) => None,
    }
}

/// Chooses the next or previous point of this frame; the cursor goes there.
pub(super) fn choose(model: &mut Model, by: isize) {
    let all: Vec<(PromptId, PointPx, &'static str)> = placed(model)
        .iter()
        .filter_map(|each| Some((each.id, place_of(&each.prompt)?, prompt_name(&each.prompt))))
        .collect();
    if all.is_empty() {
        return model.say("no points on this frame");
    }
    let to = match all.iter().position(|(id, ..)| Some(*id) == model.chosen) {
        Some(at) => (at as isize + by).rem_euclid(all.len() as isize) as usize,
        None if by < 0 => all.len() - 1,
        None => 0,
    };
    let (id, at, name) = all[to];
    motion::put_cursor(model, at);
    model.chosen = Some(id);
    model.nudging = None;
    use Action as A;
    let [left, down, up, right, delete] =
        [A::NudgeLeft, A::NudgeDown, A::NudgeUp, A::NudgeRight, A::DeletePoint]
            .map(|action| model.bare_key(action));
    model.say(format!(
        "{name} {} of {}: {left} {down} {up} {right} move it, {delete} deletes it",
        to + 1,
        all.len()
    ));
}

/// The chosen prompt, or the nearest to the cursor.
fn target(model: &Model) -> Option<(TrackId, PlacedPrompt, usize)> {
    let (track, _) = model.current()?;
    let all = placed(model);
    let chosen = all.iter().position(|each| Some(each.id) == model.chosen);
    // A drawn mask is no point, wherever the cursor is.
    let far = |at: usize| Some((at, place_of(&all[at].prompt)?.distance(model.cursor)));
    let nearest = || (0..all.len()).filter_map(far).min_by(|a, b| a.1.total_cmp(&b.1));
    let at = chosen.or_else(|| nearest().map(|(at, _)| at))?;
    Some((track, all[at].clone(), at))
}

/// Moves the chosen or nearest point; a run of nudges is one undo.
pub(super) fn nudge(model: &mut Model, fx: &mut Vec<Effect>, way: Way, px: f32) {
    let Some((track, held, _)) = target(model) else { return model.say("no points on this frame") };
    let (dx, dy) = way.step();
    let moved = |at: PointPx| model.inside_image(PointPx::new(at.x + dx * px, at.y + dy * px));
    let after = match &held.prompt {
        Prompt::Point { kind, at } => Prompt::Point { kind: *kind, at: moved(*at) },
        Prompt::Box(area) => Prompt::Box(shifted(model, *area, (dx * px, dy * px))),
        Prompt::Mask(_) => return model.say("a mask cannot be moved"),
    };
    if after == held.prompt {
        return model.say("this is the edge of the picture");
    }
    let group = match model.nudging {
        Some((id, group)) if id == held.id => group,
        _ => model.fresh(),
    };
    let frame = model.frame;
    let to = place_of(&after);
    let edit = Edit::MovePrompt { track, frame, id: held.id, before: held.prompt, after };
    if edits::commit(model, fx, group, vec![edit]) {
        if let Some(at) = to {
            motion::put_cursor(model, at);
        }
        model.chosen = Some(held.id);
        model.nudging = Some((held.id, group));
        network::ask(model, fx, track, frame, group);
    }
}

/// A box moved by so many px, as far as all of it stays in the image: at the border it keeps its size.
fn shifted(model: &Model, area: BoxPx, (dx, dy): (f32, f32)) -> BoxPx {
    let within = |by: f32, low: f32, high: f32, size: u32| {
        by.clamp((0.5 - low).min(0.0), (size as f32 - 0.5 - high).max(0.0))
    };
    let dx = within(dx, area.min.x, area.max.x, model.clip.width_px);
    let dy = within(dy, area.min.y, area.max.y, model.clip.height_px);
    let by = |at: PointPx| PointPx::new(at.x + dx, at.y + dy);
    BoxPx { min: by(area.min), max: by(area.max) }
}

/// Deletes the chosen or nearest point.
pub(super) fn delete(model: &mut Model, fx: &mut Vec<Effect>) {
    let Some((track, gone, at)) = target(model) else {
        return model.say("no points on this frame");
    };
    let frame = model.frame;
    let back = model.key(Action::Undo);
    let sentence = format!("{} deleted; {back} brings it back", prompt_name(&gone.prompt));
    let left = placed(model).iter().filter(|each| each.id != gone.id);
    if left.clone().all(|each| matches!(each.prompt, Prompt::Mask(_))) {
        return clear(model, fx);
    }
    let group = model.fresh();
    let edit = Edit::RemovePrompt { track, frame, at, placed: gone };
    if edits::commit(model, fx, group, vec![edit]) {
        model.say(sentence);
        network::ask(model, fx, track, frame, group);
    }
}

/// Deletes all prompts of the frame, and the mask that came from them. A mask that they corrected
/// is what it was before: propagated, or drawn by a person, whose mask prompt stays then.
pub(super) fn clear(model: &mut Model, fx: &mut Vec<Effect>) {
    let (frame, all) = (model.frame, placed(model).to_vec());
    let pointed = all.iter().any(|each| place_of(&each.prompt).is_some());
    let Some((track, held)) = model.current().filter(|_| pointed) else {
        return model.say(if all.is_empty() {
            "no points on this frame".to_owned()
        } else {
            let discard = model.key(Action::DiscardMask);
            format!("no points on this frame; {discard} discards its drawn mask")
        });
    };
    let before = held.masks.get(&frame).cloned();
    let from_points = before.as_ref().is_some_and(|m| m.source == MaskSource::Prompted);
    let corrected = all.iter().find_map(|each| match &each.prompt {
        Prompt::Mask(mask) => Some((each.id, mask.clone())),
        _ => None,
    });
    let after = corrected.map(|(prompt, mask)| {
        let by = model.marks.made_by(track, frame, &mask);
        let (source, score) = by.unwrap_or((MaskSource::Tracked, 0.0));
        (prompt, FrameMask { mask, source, score })
    });
    let drawn = |(_, after): &&(PromptId, FrameMask)| {
        let there = before.as_ref().is_some_and(|held| held.mask == after.mask);
        after.source == MaskSource::Accepted && (from_points || there)
    };
    let stays = after.as_ref().filter(drawn).map(|(prompt, _)| *prompt);
    let mut todo: Vec<Edit> = Vec::new();
    for (at, placed) in all.iter().enumerate().rev().filter(|(_, p)| Some(p.id) != stays) {
        todo.push(Edit::RemovePrompt { track, frame, at, placed: placed.clone() });
    }
    if from_points {
        let after = after.map(|(_, after)| after);
        todo.push(Edit::SetMask { track, frame, before, after });
    }
    let group = model.fresh();
    if edits::commit(model, fx, group, todo) {
        network::drop_question(model, track, frame);
        model.say(format!("points deleted; {} brings them back", model.key(Action::Undo)));
    }
}

/// Accepts the masks of this frame and the next ones, `count` in all.
pub(super) fn accept(model: &mut Model, fx: &mut Vec<Effect>, count: usize) {
    let frames = model.frame..(model.frame + count).min(model.clip.frames);
    accept_frames(model, fx, &frames.collect::<Vec<_>>());
}

/// Accepts the masks of `frames`.
pub(super) fn accept_frames(model: &mut Model, fx: &mut Vec<Effect>, frames: &[FrameIndex]) {
    let Some((track, held)) = model.current() else { return tracks::say_none(model) };
    let asked = &model.jobs.asked;
    if asked.iter().any(|a| a.ticket.track == track && frames.contains(&a.frame)) {
        return model.say("a newer mask is being computed; accept it when it is there");
    }
    let (mut todo, mut n, mut flags) = (Vec::new(), 0, 0);
    for &frame in frames {
        let Some(mask) = held.masks.get(&frame).filter(|_| held.visible(frame)) else { continue };
        if mask.source != MaskSource::Accepted {
            let after = FrameMask { source: MaskSource::Accepted, score: 1.0, ..mask.clone() };
            let before = Some(mask.clone());
            todo.push(Edit::SetMask { track, frame, before, after: Some(after) });
            n += 1;
        }
        // Who accepts a frame has looked at it.
        if held.flags.contains(&frame) {
            todo.push(Edit::SetFlag { track, frame, before: true, after: false });
            flags += 1;
        }
    }
    if todo.is_empty() {
        let seen = |frame| held.visible(frame) && held.masks.contains_key(&frame);
        return model.say(match *frames {
            [frame] if seen(frame) => "this mask is accepted already",
            [_] => "no mask on this frame to accept",
            _ => "no mask here that is not accepted already",
        });
    }
    let group = model.fresh();
    if edits::commit(model, fx, group, todo) {
        model.say(match n {
            0 if flags == 1 => "accepted already; the flag is taken away".to_owned(),
            0 => format!("accepted already; {flags} flags are taken away"),
            1 => "accepted: nothing replaces it unasked".to_owned(),
            _ => format!("{n} masks accepted"),
        });
    }
}

/// Discards the mask of this frame.
pub(super) fn discard(model: &mut Model, fx: &mut Vec<Effect>) {
    discard_frames(model, fx, &[model.frame]);
}

/// Discards the masks of `frames`. Where nothing but a drawn mask speaks for a frame, the mask
/// prompt goes too: it would still condition the others.
pub(super) fn discard_frames(model: &mut Model, fx: &mut Vec<Effect>, frames: &[FrameIndex]) {
    let Some((track, held)) = model.current() else { return tracks::say_none(model) };
    let (mut todo, mut gone) = (Vec::new(), Vec::new());
    for &frame in frames {
        let placed = held.prompts.get(&frame).map_or(&[][..], Vec::as_slice);
        if placed.iter().all(|each| matches!(each.prompt, Prompt::Mask(_))) {
            for (at, placed) in placed.iter().cloned().enumerate().rev() {
                todo.push(Edit::RemovePrompt { track, frame, at, placed });
            }
        }
        if let Some(mask) = held.masks.get(&frame).cloned() {
            todo.push(Edit::SetMask { track, frame, before: Some(mask), after: None });
            gone.push(frame);
        }
    }
    if todo.is_empty() {
        return model.say("no mask to discard here");
    }
    let group = model.fresh();
    if edits::commit(model, fx, group, todo) {
        // One still on its way would bring back what was just discarded.
        gone.iter().for_each(|&frame| network::drop_question(model, track, frame));
        let back = model.key(Action::Undo);
        model.say(match gone.len() {
            0 | 1 => format!("mask discarded; {back} brings it back"),
            n => format!("{n} masks discarded; {back} brings them back"),
        });
    }
}
