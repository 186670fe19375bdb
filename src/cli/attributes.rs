//! Attributes of an imported file, as a clip can hold them.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::schema::{Of, Schema};
use crate::domain::{Annotation, Attributes, Edit, FrameIndex, Track, TrackId};
use crate::export::{Content, Structure};

/// What is said of one structure: of it in the whole clip, and on single frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Of the whole.
    pub(super) whole: Attributes,
    /// Of single frames; no frame holds an empty map.
    pub(super) frames: BTreeMap<FrameIndex, Attributes>,
}

impl Said {
    /// Number of values.
    pub(super) fn count(&self) -> usize {
        self.whole.len() + self.frames.values().map(Attributes::len).sum::<usize>()
    }

    /// Every value with its place and name.
    fn all(&self) -> impl Iterator<Item = (Option<FrameIndex>, &String, &String)> {
        let whole = self.whole.iter().map(|(name, value)| (None, name, value));
        let frames = self.frames.iter().flat_map(|(&frame, said)| {
            said.iter().map(move |(name, value)| (Some(frame), name, value))
        });
        whole.chain(frames)
    }

    /// Whether a track says some of it.
    pub(super) fn is_partly_in(&self, track: &Track) -> bool {
        self.all().any(|(frame, name, value)| track.attribute(frame, name) == Some(value))
    }

    /// Whether a track says all of it.
    pub(super) fn is_in(&self, track: &Track) -> bool {
        self.all().all(|(frame, name, value)| track.attribute(frame, name) == Some(value))
    }
}

/// Sorts out what `structure` of a file says. Where a schema asks for attributes, the others are
/// left out, and so are values that it does not list; without one everything is kept, of the whole
/// structure what is the same on all frames and not called changeable. What is left out is noted.
pub(super) fn sorted_out(
    structure: &Structure,
    changeable: &BTreeSet<String>,
    schema: &Schema,
    notes: &mut BTreeSet<String>,
) -> Said {
    let mut said = Said::default();
    let names: BTreeSet<&String> = structure.said.values().flat_map(Attributes::keys).collect();
    // A table has rows, the other formats have masks.
    let frames = structure.masks.len().max(structure.said.len());
    for name in names {
        let known = schema.attributes_of(&structure.label).find(|each| each.name == *name);
        if known.is_none() && !schema.is_empty() {
            let label = &structure.label;
            notes.insert(format!(
                "the schema has no attribute \"{name}\" for \"{label}\"; it was left out"
            ));
            continue;
        }
        let held = structure.said.iter().filter_map(|(&frame, s)| Some((frame, s.get(name)?)));
        let listed = |value: &String| known.is_none_or(|each| each.values.contains(value));
        let (kept, unknown): (Vec<_>, Vec<_>) = held.partition(|(_, value)| listed(value));
        for (_, value) in unknown {
            notes.insert(format!("\"{value}\" is no value of {name}; it was left out"));
        }
        let values: BTreeSet<&String> = kept.iter().map(|(_, value)| *value).collect();
        let same = values.len() == 1 && kept.len() == frames && !changeable.contains(name);
        let of = known.map_or(if same { Of::Track } else { Of::Frame }, |each| each.of);
        match (of, values.first()) {
            (_, None) => {}
            (Of::Track, Some(value)) if values.len() == 1 => {
                said.whole.insert(name.clone(), (*value).clone());
            }
            (Of::Track, Some(_)) => {
                notes.insert(format!(
                    "{name} is said of the whole structure and differs from frame to frame; it \
                     was left out"
                ));
            }
            (Of::Frame, Some(_)) => {
                for (frame, value) in kept {
                    let on = said.frames.entry(frame).or_default();
                    on.insert(name.clone(), value.clone());
                }
            }
        }
    }
    said
}

/// The tracks that a file without masks speaks of: the first of a label in the file is the first
/// of that label in the clip, and so on.
pub(super) fn meant<'a>(content: &'a Content, now: &Annotation) -> Vec<Option<TrackId>> {
    let mut before: BTreeMap<&'a str, usize> = BTreeMap::new();
    let mut find = |label: &'a str| {
        let nth = before.entry(label).or_default();
        let same = now.tracks.iter().filter(|(_, track)| track.info.label == label);
        let found = same.map(|(id, _)| *id).nth(*nth);
        *nth += 1;
        found
    };
    content.structures.iter().map(|each| find(each.label.as_str())).collect()
}

/// Edits that say `said` of a track that is there. What is said already stays: another value is
/// noted and left out.
pub(super) fn edits(
    track: TrackId,
    held: &Track,
    said: &Said,
    notes: &mut BTreeSet<String>,
) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (frame, name, value) in said.all() {
        match held.attribute(frame, name) {
            None => {
                let (name, after) = (name.clone(), Some(value.clone()));
                edits.push(Edit::SetAttribute { track, frame, name, before: None, after });
            }
            Some(same) if same == value => {}
            Some(other) => {
                let label = &held.info.label;
                notes.insert(format!(
                    "{name} of \"{label}\" is \"{other}\" already; \"{value}\" was left out"
                ));
            }
        }
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Bitmap;

    fn structure() -> Structure {
        let mask = Bitmap::from_fn(4, 4, |x, _| x > 1).to_mask();
        let mut structure = Structure::new("nerve", (0..3).map(|f| (f, mask.clone())).collect());
        for (frame, quality) in [(0, "good"), (1, "odd"), (2, "poor")] {
            let said = [("side", "left"), ("quality", quality), ("sied", "x")];
            let said = said.map(|(name, value)| (name.to_owned(), value.to_owned()));
            structure.said.insert(frame, said.into());
        }
        structure
    }

    #[test]
    fn a_schema_says_what_is_known_and_of_what() {
        let text = "attributes:\n  - {name: side, values: [left, right]}\n  \
                    - {name: quality, of: frame, values: [good, poor]}\n";
        let (schema, mut notes) = (Schema::read("s", text).expect("no fault"), BTreeSet::new());
        let said = sorted_out(&structure(), &BTreeSet::new(), &schema, &mut notes);
        assert_eq!((said.whole.len(), said.frames.len(), said.count()), (1, 2, 3));
        let notes: Vec<String> = notes.into_iter().collect();
        assert!(notes[0].contains("\"odd\" is no value of quality"), "{notes:?}");
        assert!(notes[1].contains("no attribute \"sied\" for \"nerve\""), "{notes:?}");
    }

    #[test]
    fn without_a_schema_everything_is_kept() {
        let mut notes = BTreeSet::new();
        let changeable = ["sied".to_owned()].into();
        let said = sorted_out(&structure(), &changeable, &Schema::default(), &mut notes);
        assert_eq!(said.whole.keys().collect::<Vec<_>>(), ["side"]);
        assert_eq!((said.frames.len(), said.count(), notes.len()), (3, 7, 0));
    }
}
