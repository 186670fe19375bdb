//! The `:` line: what can be typed and what it means.
//!
//! Every action of the table is a command. A few commands take words as well.

use std::time::Duration;

use crate::domain::{Axis, Cut, FrameIndex, PointKind, PointPx, nearest_word};

use super::action::Action;
use super::key::Key;
use super::range::{Condition, Over, Range, WindowsChange};

/// What a line means.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Nothing was typed.
    Nothing,
    /// An action, with a count.
    Act(Action, Option<u32>),
    /// Go to a frame.
    Goto(FrameIndex),
    /// Start a structure with this label.
    NewTrack(String),
    /// Rename the structure.
    Rename(String),
    /// Set an attribute of the structure or frame, or take it away.
    Attribute(String, Option<String>),
    /// Give the structure colour number so and so, from 0.
    Colour(u8),
    /// Add a window, both ends included.
    Window(FrameIndex, FrameIndex),
    /// Play at this speed.
    Speed(f32),
    /// Gain as a factor, level in gray values, perhaps gamma.
    Tone(f32, f32, Option<f32>),
    /// Show the picture with the look of this name, or tell which there are.
    Look(Option<String>),
    /// Export in a format to a path.
    Export(String, Option<String>),
    /// Write a picture of the frame (true) or a contact sheet of the clip to a path.
    Picture(bool, Option<String>),
    /// Lay over it what somebody else made of the clip, or take that away.
    Overlay(Option<String>),
    /// Put a point here, image px.
    Point(PointKind, PointPx),
    /// Move the cursor here, image px.
    Cursor(PointPx),
    /// Press these keys.
    Keys(Vec<Key>),
    /// The reaction time by which taps are corrected.
    Reaction(Duration),
    /// Change the windows of the structure with this label.
    Windows(String, WindowsChange),
    /// Do something to a range of frames.
    Over(Range, Over),
    /// Do something to the frames that fit a condition.
    Where(Condition, Over),
    /// Tell what is known of the line, or set its detail by hand.
    Link(LinkAsked),
    /// Show another part of the volume.
    Cut(Cut),
    /// Open the clip of this number, from 1, or tell which one this is.
    Clip(Option<usize>),
    /// Leave, and stop what runs unasked.
    LeaveAtOnce,
    /// Everything is already saved.
    Write,
}

/// What of the line to the terminal; `None` follows what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkAsked {
    /// What is known.
    Tell,
    /// So many grays.
    Levels(Option<u8>),
    /// One gray for squares of this side, px.
    Scale(Option<u8>),
}

/// Commands that take words: name, words, what it does.
pub const COMMANDS: [(&str, &str, &str); 26] = [
    ("frame", "N", "go to frame N (a number alone does it too)"),
    ("new", "LABEL", "start a structure with this label"),
    ("rename", "LABEL", "rename the structure"),
    (
        "attribute",
        "NAME [VALUE]",
        "set an attribute of the structure or frame; without VALUE take it away",
    ),
    ("colour", "N", "give the structure colour N"),
    ("window", "FIRST LAST", "the structure is visible in these frames"),
    ("speed", "FACTOR", "play at this speed: 0.1 to 8"),
    (
        "tone",
        "GAIN LEVEL [GAMMA]",
        "gain as a factor, level in gray values: 1 0 1 is as in the file",
    ),
    ("look", "[NAME]", "show the picture with this look; without NAME tell which there are"),
    (
        "export",
        "FORMAT [PATH]",
        "write the annotation in a format; figure: this frame as PNG or SVG",
    ),
    ("report", "[PATH]", "write a contact sheet of the clip (SVG)"),
    (
        "overlay",
        "[PATH]",
        "lay another rater's masks over the clip: a project or file; without PATH take them away",
    ),
    ("boundary", "X Y", "put a boundary point at these px of the image"),
    ("inside", "X Y", "put an inside point at these px of the image"),
    ("outside", "X Y", "put an outside point at these px of the image"),
    ("cursor", "X Y", "move the cursor to these px of the image"),
    ("keys", "KEYS", "press keys, written as in a keymap with spaces between"),
    ("reaction", "MS", "put taps back by this reaction time"),
    (
        "link",
        "[levels 16|32|64|101|161|auto] [scale 1|2|auto]",
        "bytes and time of the last picture, grays and scale in use; or set one of these",
    ),
    ("windows", "LABEL add A,B", "windows of a structure by its label; also remove A,B, clear"),
    (
        "axis",
        "x|y|z|sagittal|coronal|axial",
        "slice the volume along this axis, through the place of the cursor",
    ),
    ("slice", "N", "of volumes over time: play slice N"),
    ("time", "N", "of volumes over time: show the volume of moment N"),
    ("clip", "[N]", "open clip N of the queue; without N tell which one this is"),
    ("q!", "", "leave at once and stop what runs; asks only where edits are not saved"),
    ("write", "", "nothing to do: everything is already saved"),
];

/// Colours of structures before they repeat.
pub(super) const COLOURS: u8 = 8;

/// Short forms.
const ALIASES: [(&str, &str); 5] =
    [("q", "quit"), ("wq", "quit"), ("x", "quit"), ("w", "write"), ("h", "help")];

/// Reads a command line. `frames` is the length of the clip.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse(text: &str, frames: usize) -> Result<Command, String> {
    let text = text.trim().trim_start_matches(':').trim_start();
    if text.is_empty() {
        return Ok(Command::Nothing);
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return frame(text, frames).map(Command::Goto);
    }
    if let Some(command) = super::range::parse(text, frames) {
        return command;
    }
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    let name = ALIASES.iter().find(|(short, _)| *short == name).map_or(name, |(_, long)| long);
    if let Some(command) = with_words(name, rest, frames) {
        return command;
    }
    match Action::from_name(name) {
        Ok(action) if rest.is_empty() => Ok(Command::Act(action, None)),
        Ok(action) => rest
            .parse()
            .map(|count| Command::Act(action, Some(count)))
            .map_err(|_| format!("`{name}` takes a count or nothing, not `{rest}`")),
        Err(_) if super::range::is_done_to_frames(text) => Err(format!(
            "`{name}` needs frames: `% {text}` for all of them, `. {text}` for this one"
        )),
        Err(_) => Err(match nearest_word(name, names()) {
            Some(meant) => format!("`{name}` is no command; did you mean `{meant}`?"),
            // Scripts are told this, too, and they have no screen to search on.
            None => format!(
                "`{name}` is no command; `sonomark keys` lists all actions, `:palette` searches them"
            ),
        }),
    }
}

fn with_words(name: &str, rest: &str, frames: usize) -> Option<Result<Command, String>> {
    let words: Vec<&str> = rest.split_whitespace().collect();
    Some(match (name, words.as_slice()) {
        ("frame", [n]) => frame(n, frames).map(Command::Goto),
        ("new", [_, ..]) => label(rest).map(Command::NewTrack),
        ("rename", [_, ..]) => label(rest).map(Command::Rename),
        ("attribute", [name]) => label(name).map(|name| Command::Attribute(name, None)),
        ("attribute", [name, ..]) => {
            let value = rest[name.len()..].trim().to_owned();
            label(name).map(|name| Command::Attribute(name, Some(value)))
        }
        ("colour" | "color", [n]) => match n.parse::<u8>() {
            Ok(n @ 1..=COLOURS) => Ok(Command::Colour(n - 1)),
            _ => Err(format!("a colour is a number from 1 to {COLOURS}")),
        },
        ("window", [first, last]) => {
            frame(first, frames).and_then(|a| Ok(Command::Window(a, frame(last, frames)?)))
        }
        ("speed", [factor]) => match factor.parse::<f32>() {
            Ok(factor) if (0.1..=8.0).contains(&factor) => Ok(Command::Speed(factor)),
            _ => Err("a speed lies between 0.1 and 8".to_owned()),
        },
        ("tone", [gain, level]) => tone(gain, level, None),
        ("tone", [gain, level, gamma]) => tone(gain, level, Some(gamma)),
        ("look", []) => Ok(Command::Look(None)),
        ("look", [name]) => Ok(Command::Look(Some((*name).to_owned()))),
        ("export", ["figure", ..]) => Ok(Command::Picture(true, path(&rest["figure".len()..]))),
        ("report", _) => Ok(Command::Picture(false, path(rest))),
        ("overlay", _) => Ok(Command::Overlay(path(rest))),
        ("export", [format]) => Ok(Command::Export((*format).to_owned(), None)),
        ("export", [format, ..]) => {
            let path = rest[format.len()..].trim();
            Ok(Command::Export((*format).to_owned(), Some(path.to_owned())))
        }
        ("boundary", [x, y]) => place(x, y).map(|at| Command::Point(PointKind::Boundary, at)),
        ("inside", [x, y]) => place(x, y).map(|at| Command::Point(PointKind::Inside, at)),
        ("outside", [x, y]) => place(x, y).map(|at| Command::Point(PointKind::Outside, at)),
        ("cursor", [x, y]) => place(x, y).map(Command::Cursor),
        ("keys", [_, ..]) => words
            .iter()
            .map(|word| word.parse::<Key>())
            .collect::<Result<_, _>>()
            .map(Command::Keys),
        ("reaction", [ms]) => match ms.parse::<u64>() {
            Ok(ms) if ms <= 2000 => Ok(Command::Reaction(Duration::from_millis(ms))),
            _ => Err("a reaction time lies between 0 and 2000 ms".to_owned()),
        },
        ("link", words) => link(words).map(Command::Link),
        ("axis", [axis]) => {
            let along = |axis| Cut { axis: Some(axis), ..Cut::default() };
            axis.parse::<Axis>().map(|axis| Command::Cut(along(axis)))
        }
        ("slice", [n]) => number(n).map(|n| Command::Cut(Cut { slice: Some(n), ..Cut::default() })),
        ("time", [n]) => number(n).map(|n| Command::Cut(Cut { time: Some(n), ..Cut::default() })),
        ("clip", []) => Ok(Command::Clip(None)),
        ("clip", [n]) => number(n).map(|n| Command::Clip(Some(n))),
        ("q!", []) => Ok(Command::LeaveAtOnce),
        ("write", []) => Ok(Command::Write),
        // An action of the same name does it without words.
        (name, []) if Action::from_name(name).is_ok() => return None,
        _ => {
            let (_, wanted, _) = COMMANDS.iter().find(|(known, _, _)| *known == name)?;
            Err(format!(
                "`{name}` needs {}",
                if wanted.is_empty() { "nothing more" } else { wanted }
            ))
        }
    })
}

fn tone(gain: &str, level: &str, gamma: Option<&str>) -> Result<Command, String> {
    let number = |word: &str, low: f32, high: f32| {
        word.parse::<f32>().ok().filter(|value| (low..=high).contains(value))
    };
    let gamma = gamma.map(|word| number(word, 0.2, 5.0));
    match (number(gain, 0.25, 32.0), number(level, -255.0, 255.0), gamma) {
        (Some(gain), Some(level), None) => Ok(Command::Tone(gain, level, None)),
        (Some(gain), Some(level), Some(Some(gamma))) => Ok(Command::Tone(gain, level, Some(gamma))),
        _ => Err(
            "gain lies between 0.25 and 32, level between -255 and 255, gamma between 0.2 and 5"
                .to_owned(),
        ),
    }
}

fn link(words: &[&str]) -> Result<LinkAsked, String> {
    match words {
        [] => Ok(LinkAsked::Tell),
        ["levels", "auto"] => Ok(LinkAsked::Levels(None)),
        ["levels", "16"] => Ok(LinkAsked::Levels(Some(16))),
        ["levels", "32"] => Ok(LinkAsked::Levels(Some(32))),
        ["levels", "64"] => Ok(LinkAsked::Levels(Some(64))),
        ["levels", "101"] => Ok(LinkAsked::Levels(Some(101))),
        ["levels", "161"] => Ok(LinkAsked::Levels(Some(161))),
        ["scale", "auto"] => Ok(LinkAsked::Scale(None)),
        ["scale", "1"] => Ok(LinkAsked::Scale(Some(1))),
        ["scale", "2"] => Ok(LinkAsked::Scale(Some(2))),
        _ => Err("give `link`, `link levels 16`, 32, 64, 101, 161 or auto, or `link scale 1`, 2 \
                  or auto"
            .to_owned()),
    }
}

/// The rest of a line as a path, where there is something.
fn path(rest: &str) -> Option<String> {
    Some(rest.trim()).filter(|path| !path.is_empty()).map(str::to_owned)
}

fn place(x: &str, y: &str) -> Result<PointPx, String> {
    match (x.parse::<f32>(), y.parse::<f32>()) {
        (Ok(x), Ok(y)) if x.is_finite() && y.is_finite() => Ok(PointPx::new(x, y)),
        _ => Err(format!("`{x} {y}` is no place; give two numbers in px of the image")),
    }
}

/// A number from 1 on.
fn number(word: &str) -> Result<usize, String> {
    let read = word.parse().ok().filter(|n| *n > 0);
    read.ok_or_else(|| format!("`{word}` is no number from 1 on"))
}

/// The frame of this number, from 1.
pub(super) fn frame(word: &str, frames: usize) -> Result<FrameIndex, String> {
    match word.parse::<usize>() {
        Ok(n) if (1..=frames).contains(&n) => Ok(n - 1),
        _ if frames == 1 => Err(format!("`{word}` is no frame of this clip; it has frame 1 alone")),
        _ => Err(format!("`{word}` is no frame of this clip; it has 1 to {frames}")),
    }
}

/// Longest label, characters.
const LABEL_MAX: usize = 200;

/// A label that a person typed, when it can be one.
///
/// # Errors
/// Too long, or with control characters.
pub(crate) fn label(text: &str) -> Result<String, String> {
    if text.chars().count() > LABEL_MAX {
        return Err(format!("a label has at most {LABEL_MAX} characters"));
    }
    if text.chars().any(char::is_control) {
        return Err("a label has no control characters".to_owned());
    }
    Ok(text.to_owned())
}

fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|(name, _, _)| *name).chain(Action::ALL.iter().map(|a| a.name()))
}
