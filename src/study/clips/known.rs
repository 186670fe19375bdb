//! Clips of a study that show what its arms have learned.
//!
//! What decides whether this file is right: a clip counts where its description names a still that arms learn, or where one
//! of its frames is a near-duplicate of one. Either may err (names repeat, and a clip may show a part of a still alone), so
//! the reader is told and nothing is refused.

use std::path::Path;

use crate::domain::counted;
use crate::learn::data::likeness::{self, is_near};
use crate::learn::dataset::LabelledClip;
use crate::study::report::cell;

/// What of a clip tells whether it was learned from.
pub(super) struct Glance {
    name: String,
    /// The file of the still that it was made from.
    source: Option<String>,
    /// Hash of likeness of each frame.
    seen: Vec<u64>,
}

impl Glance {
    pub(super) fn of(clip: &LabelledClip) -> Self {
        let seen = clip.frames.iter().map(likeness::hash).collect();
        Self { name: clip.name.clone(), source: clip.source.clone(), seen }
    }
}

/// What to tell of the clips of a set, where arms learned from `stills` (names, and hashes of likeness).
pub(super) fn sentence(set: &str, clips: &[Glance], stills: &[(String, u64)]) -> Option<String> {
    let known = clips.iter().filter_map(|clip| Some((clip, learned_still(clip, stills)?)));
    let known: Vec<(&Glance, &str)> = known.collect();
    let (clip, still) = known.first()?;
    Some(format!(
        "**Arms have learned what {} of {} of {} show (such as {}: {}): figures on them say nothing of new images.**",
        known.len(),
        counted(clips.len(), "clip"),
        cell(set),
        cell(&clip.name),
        cell(still)
    ))
}

/// The still that a clip was made from or shows.
fn learned_still<'a>(clip: &Glance, stills: &'a [(String, u64)]) -> Option<&'a str> {
    let source = clip.source.as_deref().map(stem);
    let named = stills.iter().find(|(name, _)| Some(stem(name)) == source);
    // An image without any structure is like every other one.
    let alike = |hash: u64| hash != 0 && clip.seen.iter().any(|frame| is_near(*frame, hash));
    named.or_else(|| stills.iter().find(|(_, hash)| alike(*hash))).map(|(name, _)| &name[..])
}

/// The name of a file without folders and ending.
fn stem(name: &str) -> &str {
    Path::new(name).file_stem().and_then(|stem| stem.to_str()).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::GrayFrame;

    fn picture(seed: u64) -> GrayFrame {
        let mut rng = fastrand::Rng::with_seed(seed);
        let blocks: Vec<u8> = (0..64).map(|_| rng.u8(..)).collect();
        let pixels = (0..96 * 96).map(|i| blocks[i / 96 / 12 * 8 + i % 96 / 12]).collect();
        GrayFrame::new(96, 96, pixels).expect("it fits")
    }

    fn clip(frame: GrayFrame, source: Option<&str>) -> Glance {
        Glance::of(&LabelledClip {
            name: "c".into(),
            frames: vec![picture(9), frame],
            objects: Vec::new(),
            source: source.map(Into::into),
        })
    }

    #[test]
    fn clips_of_learned_stills_are_told_by_name_and_by_looks() {
        let stills = [("a/one".to_owned(), likeness::hash(&picture(1))), ("black".to_owned(), 0)];
        let told = |clips: &[Glance]| sentence("set", clips, &stills);
        assert_eq!(told(&[clip(picture(2), None), clip(picture(3), Some("two.png"))]), None);
        assert_eq!(told(&[clip(GrayFrame::new(9, 9, vec![0; 81]).expect("it fits"), None)]), None);
        let all =
            [clip(picture(1), None), clip(picture(2), Some("one.png")), clip(picture(3), None)];
        let words = "2 of 3 clips of set show (such as c: a/one)";
        assert!(told(&all).is_some_and(|told| told.contains(words)), "{:?}", told(&all));
    }
}
