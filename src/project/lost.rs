//! What stood in a line of a journal that is damaged, as far as its bytes still tell.
//!
//! Nothing of it is ever loaded: it is only told, so that a person knows what to do again.

use std::collections::{BTreeMap, BTreeSet};

use super::journal::{self, Line, Record};
use super::log::frames_of;
use crate::domain::{FrameIndex, Mark, Step, TrackId, deed, frames_named, shown};

/// What is left of a line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Remains {
    /// Position, Lamport time and hash of the line before, each where it can be read.
    n: Option<u64>,
    lam: Option<u64>,
    prev: Option<u64>,
    about: About,
}

/// What it was about.
#[derive(Clone, Debug, PartialEq)]
enum About {
    /// Its words can be read; a number among them may be the damaged byte.
    Step(Step),
    /// Some of its words can.
    Parts(BTreeSet<TrackId>, BTreeSet<FrameIndex>),
    /// Where somebody was looking.
    View,
}

impl Remains {
    /// Looks at the bytes of a line, or at those of them that are there.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let json = bytes.rsplitn(2, |&b| b == b'\t').last().unwrap_or(bytes);
        // What is damaged may look like an edit of a newer version.
        if let Some((line, unknown)) = journal::decode(json)
            && unknown.is_empty()
        {
            let Line { n, lam, prev, record, .. } = line;
            let about = match record {
                Record::Step(step) => About::Step(step),
                Record::View(_) => About::View,
                Record::Unknown => About::Parts(BTreeSet::new(), BTreeSet::new()),
            };
            return Self { n: Some(n), lam: Some(lam), prev: Some(u64::from(prev)), about };
        }
        let text = String::from_utf8_lossy(json);
        let number = |key: &str, radix: u32| numbers(&text, key, radix).next();
        let about = if text.contains("\"view\":{") {
            About::View
        } else {
            let frames = numbers(&text, "\"frame\":", 10);
            let frames = frames.filter_map(|frame| FrameIndex::try_from(frame).ok());
            About::Parts(numbers(&text, "\"track\":", 10).map(TrackId).collect(), frames.collect())
        };
        Self {
            n: number("\"n\":", 10),
            lam: number("\"lam\":", 10),
            prev: number("\"prev\":\"", 16),
            about,
        }
    }

    /// Its position in the journal, where that can be read.
    pub(super) fn position(&self) -> Option<u64> {
        self.n
    }

    /// Whether it is one of `lines`, which stands whole elsewhere. Two numbers of three must agree: one of them may be
    /// what is damaged.
    pub(super) fn is_among(&self, lines: &[Line]) -> bool {
        lines.iter().any(|line| {
            let same = [
                self.n == Some(line.n),
                self.lam == Some(line.lam),
                self.prev == Some(u64::from(line.prev)),
            ];
            same.into_iter().filter(|same| *same).count() >= 2
        })
    }

    /// What is lost with it, for people; `labels` are those of the clip's structures.
    pub(super) fn told(&self, labels: &BTreeMap<TrackId, String>) -> String {
        let label = |track: &TrackId| labels.get(track).map(|label| shown(label));
        match &self.about {
            About::View => "where somebody was looking; nothing of the annotation".to_owned(),
            About::Step(step) => {
                let tracks: BTreeSet<TrackId> =
                    step.edits.iter().filter_map(|edit| edit.track()).collect();
                let named: Vec<String> = tracks.iter().filter_map(label).collect();
                let what = deed(&step.edits, step.mark == Mark::Undo);
                let what = what.unwrap_or_else(|| in_parts(&[], &frames_of(&step.edits)));
                let what = match step.mark {
                    Mark::Do => what,
                    Mark::Undo => format!("taken back: {what}"),
                    Mark::Redo => format!("done again: {what}"),
                };
                if named.is_empty() { what } else { format!("{}: {what}", named.join(", ")) }
            }
            About::Parts(tracks, frames) => {
                let named: Vec<String> = tracks.iter().filter_map(label).collect();
                in_parts(&named, frames)
            }
        }
    }
}

/// What can be said of a step of which only some words can be read.
fn in_parts(named: &[String], frames: &BTreeSet<FrameIndex>) -> String {
    match (named.is_empty(), frames.is_empty()) {
        (true, true) => "a step; of what cannot be read".to_owned(),
        (true, false) => format!("a step on {}", frames_named(frames)),
        (false, true) => format!("{}: a step", named.join(", ")),
        (false, false) => format!("{}: a step on {}", named.join(", "), frames_named(frames)),
    }
}

/// The numbers that stand behind `key`.
fn numbers<'a>(text: &'a str, key: &'a str, radix: u32) -> impl Iterator<Item = u64> + 'a {
    text.match_indices(key).filter_map(move |(at, _)| {
        let behind = &text[at + key.len()..];
        let end = behind.find(|c: char| !c.is_digit(radix)).unwrap_or(behind.len());
        u64::from_str_radix(&behind[..end], radix).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_damaged_line_was_about_is_told_as_far_as_it_can_be_read() {
        let labels = BTreeMap::from([(TrackId(7), "nerve\u{1b}".to_owned())]);
        let told = |text: &str| Remains::of(text.as_bytes()).told(&labels);
        let start =
            r#"{"v":1,"n":3,"lam":9,"prev":"000000ff","t":5,"group":1,"mark":"do","edits":"#;
        let flag = r#"[{"set_flag":{"track":7,"frame":87,"before":false,"after":true}}]}"#;
        let whole = format!("{start}{flag}\t00000000");
        assert_eq!(told(&whole), "nerve\\u{1b}: flag on frame 88");
        // Cut off, of an unknown structure, and beyond reading.
        let cut = &whole[..whole.len() - 25];
        assert_eq!(told(cut), "nerve\\u{1b}: a step on frame 88");
        let other = cut.replace("\"track\":7", "\"track\":8");
        assert_eq!(told(&other), "a step on frame 88");
        assert_eq!(told(&"\u{0}".repeat(90)), "a step; of what cannot be read");
        let view = r#"{"v":1,"n":3,"lam":9,"prev":"000000ff","t":5,"view":{"fra"#;
        assert_eq!(told(view), "where somebody was looking; nothing of the annotation");
    }

    #[test]
    fn a_line_is_known_again_by_two_numbers_of_three() {
        let step =
            Record::Step(Step { group: 1, mark: Mark::Do, edits: Vec::new(), made_from: None });
        let lines = |n: u64, lam: u64| {
            let (bytes, _) = journal::encode(n, lam, 255, 0, &step, &[]).expect("plain data");
            journal::scan("", &bytes, 0).lines
        };
        let hurt = |text: &str| Remains::of(text.as_bytes());
        let held = lines(3, 9);
        assert!(hurt(r#"{"v":1,"n":3,"lam":9,"prev":"0"#).is_among(&held));
        assert!(hurt(r#"{"v":1,"n":7,"lam":9,"prev":"000000ff","t""#).is_among(&held));
        assert!(!hurt(r#"{"v":1,"n":3,"lam":8,"prev":"000000fe","t""#).is_among(&held));
        assert!(!hurt("").is_among(&held));
    }
}
