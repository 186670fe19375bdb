//! What was done, in words: what the screen says of an undo and the log of a clip of each step.

use std::collections::BTreeSet;

use super::{Edit, FrameIndex, FrameMask, MaskSource, PointKind, Prompt, shown};

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
#[must_use]
pub fn deed(edits: &[Edit], back: bool) -> Option<String> {
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
#[must_use]
pub fn mask_frame(edit: &Edit) -> Option<FrameIndex> {
    match edit {
        Edit::SetMask { frame, .. } => Some(*frame),
        _ => None,
    }
}

/// What a prompt is called.
#[must_use]
pub fn prompt_name(prompt: &Prompt) -> &'static str {
    match prompt {
        Prompt::Point { kind: PointKind::Boundary, .. } => "boundary point",
        Prompt::Point { kind: PointKind::Inside, .. } => "inside point",
        Prompt::Point { kind: PointKind::Outside, .. } => "outside point",
        Prompt::Box(_) => "box",
        Prompt::Mask(_) => "drawn mask",
    }
}

/// Runs of frames that are told before the rest is only counted.
const RUNS_TOLD: usize = 8;

/// Frames as people count them: "frame 88", "frames 13-42, 50"; empty where there is none.
#[must_use]
pub fn frames_named(frames: &BTreeSet<FrameIndex>) -> String {
    let mut runs: Vec<(FrameIndex, FrameIndex)> = Vec::new();
    for &frame in frames {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(frame) => *last = frame,
            _ => runs.push((frame, frame)),
        }
    }
    let people = |frame: FrameIndex| frame.saturating_add(1);
    let named = runs.iter().take(RUNS_TOLD).map(|&(first, last)| match first == last {
        true => people(first).to_string(),
        false => format!("{}-{}", people(first), people(last)),
    });
    let mut named: Vec<String> = named.collect();
    let told = runs.iter().take(RUNS_TOLD).map(|(first, last)| last - first + 1).sum::<usize>();
    if told < frames.len() {
        named.push(format!("and {} more", frames.len() - told));
    }
    match frames.len() {
        0 => String::new(),
        1 => format!("frame {}", named.concat()),
        _ => format!("frames {}", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_in_runs_as_people_count_them() {
        let told = |frames: &[FrameIndex]| frames_named(&frames.iter().copied().collect());
        assert_eq!(told(&[]), "");
        assert_eq!(told(&[87]), "frame 88");
        assert_eq!(told(&[12, 13, 14, 49]), "frames 13-15, 50");
        let apart: Vec<FrameIndex> = (0..10).map(|at| 2 * at).collect();
        assert_eq!(told(&apart), "frames 1, 3, 5, 7, 9, 11, 13, 15, and 2 more");
        // As a journal may say.
        assert_eq!(told(&[usize::MAX]), format!("frame {}", usize::MAX));
    }
}
