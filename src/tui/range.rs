//! Ranges and conditions of the command line: `120,340 propagate both`, `g/score<0.5/flag`,
//! `windows lesion add 88,211`. Frames are numbered from 1, as on the screen.

use crate::domain::{FrameIndex, MaskEdit};
use crate::engine::Span;

use super::command::{Command, frame};

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// This frame.
    Number(FrameIndex),
    /// The frame at hand (`.`).
    Here,
    /// The last frame (`$`).
    Last,
    /// The frame called by a letter (`'a`).
    Place(char),
}

/// Frames from one end to the other, both included, in whichever order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// One end.
    pub first: End,
    /// The other end.
    pub last: End,
}

/// What is done to the frames of a range, or to those that fit a condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Over {
    /// Go there: one frame, and nothing is done to it.
    Go,
    /// Carry masks to them.
    Propagate(Span),
    /// Accept their masks.
    Accept,
    /// Discard their masks.
    Discard,
    /// Flag them for a look.
    Flag,
    /// Take their flags away.
    Unflag,
    /// The structure is visible there.
    Window,
    /// Fill those between the two ends with shapes in between.
    Interpolate,
    /// Change their masks.
    Mask(MaskEdit),
    /// Set an attribute of the frames, or take it away.
    Attribute(String, Option<String>),
}

/// A number that is known of a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The network's own estimate, 0..=1.
    Score,
    /// What speaks against it, 0..=1.
    Doubt,
    /// Its area, px.
    Area,
}

/// Which frames are meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Condition {
    /// The number is below the limit.
    Below(Field, f32),
    /// The number is above the limit.
    Above(Field, f32),
    /// The mask is older than the points.
    Stale,
    /// Flagged, by the person or by doubt.
    Flagged,
    /// Accepted.
    Accepted,
    /// Propagated, and nobody's decision.
    Propagated,
}

/// A change of a structure's windows by its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowsChange {
    /// Visible in these frames too, both ends included.
    Add(FrameIndex, FrameIndex),
    /// Not visible in these frames.
    Remove(FrameIndex, FrameIndex),
    /// No windows: visible everywhere.
    Clear,
}

/// Reads a line that begins with a range or a condition; `None` when it is another command.
pub(super) fn parse(text: &str, frames: usize) -> Option<Result<Command, String>> {
    if let Some(rest) = text.strip_prefix("g/") {
        return Some(where_(rest));
    }
    if let Some(rest) = text.strip_prefix("windows ") {
        return Some(windows(rest.trim(), frames));
    }
    let starts = |c: char| c.is_ascii_digit() || matches!(c, '.' | '$' | '\'' | '%');
    if !text.starts_with(starts) {
        return None;
    }
    // `%accept` without a space is meant as it reads; a place may be called by any letter.
    let (address, what) = match (text.split_once(char::is_whitespace), text.strip_prefix('%')) {
        (Some((address, what)), _) if !address.starts_with('%') || address == "%" => {
            (address, what.trim())
        }
        (_, Some(what)) => ("%", what.trim()),
        (Some((address, what)), None) => (address, what.trim()),
        (None, None) => (text, ""),
    };
    Some(range(address, frames).and_then(|range| {
        if what.is_empty() && range.first == range.last {
            return Ok(Command::Over(range, Over::Go));
        }
        if what.is_empty() {
            return Err(format!(
                "`{address}` names frames; what about them? For example `{address} accept`"
            ));
        }
        Ok(Command::Over(range, over(what)?))
    }))
}

fn range(address: &str, frames: usize) -> Result<Range, String> {
    if address == "%" {
        return Ok(Range { first: End::Number(0), last: End::Last });
    }
    let (first, last) = address.split_once(',').unwrap_or((address, address));
    Ok(Range { first: end(first, frames)?, last: end(last, frames)? })
}

fn end(word: &str, frames: usize) -> Result<End, String> {
    let mut letters = word.chars();
    match (letters.next(), letters.next(), letters.next()) {
        (Some('.'), None, _) => Ok(End::Here),
        (Some('$'), None, _) => Ok(End::Last),
        (Some('\''), Some(letter), None) => Ok(End::Place(letter)),
        _ => frame(word, frames).map(End::Number),
    }
}

const OVER: &str = "propagate [both|forward|backward], accept, discard, flag, unflag, window, \
                    interpolate, attribute NAME [VALUE], grow [PX], shrink [PX], smooth [PX], fill-holes \
                    or keep-largest";
/// Growing, shrinking and smoothing where no number is given, by key or line, px.
pub(super) const STEP_PX: u32 = 1;
pub(super) const SMOOTH_PX: u32 = 2;

fn over(what: &str) -> Result<Over, String> {
    let words: Vec<&str> = what.split_whitespace().collect();
    let px = |word: &str| match word.parse::<f32>() {
        Ok(px) if (0.1..=200.0).contains(&px) => Ok(px),
        _ => Err(format!("`{word}` is no distance between 0.1 and 200 px")),
    };
    Ok(match words.as_slice() {
        ["propagate" | "propagate-both"] | ["propagate", "both"] => Over::Propagate(Span::Both),
        ["propagate", "forward"] => Over::Propagate(Span::Forward),
        ["propagate", "backward"] => Over::Propagate(Span::Backward),
        ["accept"] => Over::Accept,
        ["discard"] => Over::Discard,
        ["flag"] => Over::Flag,
        ["unflag"] => Over::Unflag,
        ["window"] => Over::Window,
        ["interpolate"] => Over::Interpolate,
        ["attribute", name] => Over::Attribute((*name).to_owned(), None),
        ["attribute", name, ..] => {
            let value = what["attribute".len()..].trim_start()[name.len()..].trim();
            Over::Attribute((*name).to_owned(), Some(value.to_owned()))
        }
        ["grow"] => Over::Mask(MaskEdit::Grow(STEP_PX as f32)),
        ["shrink"] => Over::Mask(MaskEdit::Shrink(STEP_PX as f32)),
        ["smooth"] => Over::Mask(MaskEdit::Smooth(SMOOTH_PX as f32)),
        ["grow", by] => Over::Mask(MaskEdit::Grow(px(by)?)),
        ["shrink", by] => Over::Mask(MaskEdit::Shrink(px(by)?)),
        ["smooth", by] => Over::Mask(MaskEdit::Smooth(px(by)?)),
        ["fill-holes"] => Over::Mask(MaskEdit::Fill),
        ["keep-largest"] => Over::Mask(MaskEdit::KeepLargest),
        _ => return Err(format!("`{what}` cannot be done to a range; {OVER} can")),
    })
}

/// Whether a line is a command for frames that lacks them.
pub(super) fn is_done_to_frames(text: &str) -> bool {
    over(text).is_ok()
}

/// `score<0.5/flag`, after `g/`.
fn where_(rest: &str) -> Result<Command, String> {
    let Some((condition, what)) = rest.split_once('/') else {
        return Err("write `g/CONDITION/COMMAND`, for example `g/score<0.5/flag`".to_owned());
    };
    Ok(Command::Where(self::condition(condition.trim())?, over(what.trim())?))
}

fn condition(text: &str) -> Result<Condition, String> {
    match text {
        "stale" => return Ok(Condition::Stale),
        "flagged" => return Ok(Condition::Flagged),
        "accepted" => return Ok(Condition::Accepted),
        "propagated" => return Ok(Condition::Propagated),
        _ => {}
    }
    let wanted = || {
        format!(
            "`{text}` is no condition; stale, flagged, accepted, propagated, or score, doubt or \
             area with < or > and a number are"
        )
    };
    let at = text.find(['<', '>']).ok_or_else(wanted)?;
    let (name, limit) = (text[..at].trim(), text[at + 1..].trim());
    let field = match name {
        "score" => Field::Score,
        "doubt" => Field::Doubt,
        "area" => Field::Area,
        _ => return Err(wanted()),
    };
    let limit: f32 =
        limit.parse().ok().filter(|limit: &f32| limit.is_finite()).ok_or_else(wanted)?;
    let below = text.as_bytes()[at] == b'<';
    Ok(if below { Condition::Below(field, limit) } else { Condition::Above(field, limit) })
}

/// `LABEL add 88,211`, `LABEL remove 3,9`, `LABEL clear`, after `windows`.
fn windows(rest: &str, frames: usize) -> Result<Command, String> {
    let wanted = || "`windows` needs LABEL add A,B, LABEL remove A,B or LABEL clear".to_owned();
    if let Some(label) = rest.strip_suffix(" clear") {
        return Ok(Command::Windows(label.trim().to_owned(), WindowsChange::Clear));
    }
    // The label may hold spaces: the last two words are ours.
    let (rest, span) = rest.rsplit_once(' ').ok_or_else(wanted)?;
    let (label, change) = rest.trim_end().rsplit_once(' ').ok_or_else(wanted)?;
    let (first, last) = span.split_once(',').ok_or_else(wanted)?;
    let (first, last) = (frame(first, frames)?, frame(last, frames)?);
    let change = match change {
        "add" => WindowsChange::Add(first, last),
        "remove" => WindowsChange::Remove(first, last),
        _ => return Err(wanted()),
    };
    Ok(Command::Windows(label.trim().to_owned(), change))
}
