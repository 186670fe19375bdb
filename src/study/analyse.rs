//! The paper's user study from real sessions: time, work and agreement, within and between raters.
//!
//! What decides whether this file is right: the reference of a frame is STAPLE of everybody who annotated the clip, with
//! every model and shown for the first time; models are compared on clips that a rater did with both, within raters and
//! between them.

use std::collections::{BTreeMap, BTreeSet};

use super::StudyError;
use super::sessions::Piece;
use super::staple::staple;
use super::stats::{Tested, mean, paired_t, wilcoxon};
use crate::domain::{Bitmap, shown};

/// A piece of work and how good it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The work.
    pub piece: Piece,
    /// Dice against the reference, over all frames and structures of the clip; `None` when nobody else annotated it.
    pub dice: Option<f64>,
    /// Dice of the second time against the first by the same rater with the same model.
    pub repeat_dice: Option<f64>,
}

/// Means of a rater with a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Means {
    /// Who.
    pub rater: String,
    /// With what.
    pub model: String,
    /// Clips.
    pub clips: usize,
    /// Time per clip, s.
    pub seconds: f64,
    /// Steps by hand per frame.
    pub steps_per_frame: f64,
    /// Keys per frame, where the journals tell.
    pub keys_per_frame: Option<f64>,
    /// Dice against the reference; `None` where nobody else annotated any of the clips.
    pub dice: Option<f64>,
    /// Dice of the second time against the first; `None` without repeats.
    pub repeat_dice: Option<f64>,
}

/// Two models against each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// The rater; `None` for the test between raters.
    pub rater: Option<String>,
    /// The two models.
    pub models: [String; 2],
    /// Clips (within a rater) or raters (between them).
    pub pairs: usize,
    /// Mean time per clip with each, s; between raters the mean of their means.
    pub means: [f64; 2],
    /// Time of the first minus time of the second; Wilcoxon within, t between.
    pub seconds: Option<Tested>,
    /// Dice likewise.
    pub dice: Option<Tested>,
}

/// Everything that is printed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Analysis {
    /// Clip by clip.
    pub measured: Vec<Measured>,
    /// Rater by rater and model by model.
    pub means: Vec<Means>,
    /// Within and between raters.
    pub compared: Vec<Compared>,
}

/// Analyses what was read.
///
/// # Errors
/// Masks of one clip that differ in size: damaged projects.
pub fn analyse(pieces: Vec<Piece>) -> Result<Analysis, StudyError> {
    let references = references(&pieces)?;
    let first_time: Vec<Piece> = pieces.iter().filter(|p| !p.repeat).cloned().collect();
    let measured: Vec<Measured> = pieces
        .into_iter()
        .map(|piece| {
            let dice = references.get(&piece.clip).map(|r| dice_of(&piece.masks, r));
            let before = piece.repeat.then(|| first_time.iter().find(|p| same_work(p, &piece)));
            let repeat_dice = before.flatten().map(|p| dice_of(&piece.masks, &p.masks));
            Measured { piece, dice, repeat_dice }
        })
        .collect();
    let names = |of: fn(&Piece) -> &String| -> Vec<String> {
        let all: BTreeSet<&String> = measured.iter().map(|m| of(&m.piece)).collect();
        all.into_iter().cloned().collect()
    };
    let (raters, models) = (names(|p| &p.rater), names(|p| &p.model));
    let mut analysis = Analysis::default();
    for rater in &raters {
        for model in &models {
            analysis.means.extend(means(&measured, rater, model));
        }
    }
    for (at, second) in models.iter().enumerate() {
        for first in &models[..at] {
            let pair = [first.clone(), second.clone()];
            let did = |rater: &String| (rater.clone(), with_both(&measured, rater, &pair));
            let did: Vec<_> = raters.iter().map(did).filter(|(_, both)| !both.is_empty()).collect();
            analysis.compared.extend(did.iter().map(|(rater, both)| within(rater, both, &pair)));
            analysis.compared.extend(between(&did, &pair));
        }
    }
    analysis.measured = measured;
    Ok(analysis)
}

fn same_work(a: &Piece, b: &Piece) -> bool {
    (&a.rater, &a.model, &a.clip) == (&b.rater, &b.model, &b.clip)
}

type Masks = BTreeMap<(String, usize), Bitmap>;

/// What the raters of each clip agree on; nothing for clips with a single annotation.
fn references(pieces: &[Piece]) -> Result<BTreeMap<String, Masks>, StudyError> {
    let mut by_clip: BTreeMap<&String, Vec<&Piece>> = BTreeMap::new();
    for piece in pieces.iter().filter(|p| !p.repeat) {
        by_clip.entry(&piece.clip).or_default().push(piece);
    }
    let mut out = BTreeMap::new();
    for (clip, pieces) in by_clip.into_iter().filter(|(_, pieces)| pieces.len() > 1) {
        let keys: BTreeSet<&(String, usize)> = pieces.iter().flat_map(|p| p.masks.keys()).collect();
        let mut reference = Masks::new();
        for key in keys {
            let Some(any) = pieces.iter().find_map(|p| p.masks.get(key)) else { continue };
            let empty = Bitmap::empty(any.width_px, any.height_px);
            let raters: Vec<Bitmap> =
                pieces.iter().map(|p| p.masks.get(key).unwrap_or(&empty).clone()).collect();
            let agreed = staple(&raters)
                .map_err(|cause| StudyError::Staple { clip: shown(&pieces[0].name), cause })?;
            reference.insert(key.clone(), agreed.mask());
        }
        out.insert(clip.clone(), reference);
    }
    Ok(out)
}

/// Dice of all frames and structures together; 1 when both are empty.
fn dice_of(found: &Masks, truth: &Masks) -> f64 {
    let area = |masks: &Masks| masks.values().map(|m| m.area_px()).sum::<usize>();
    let shared: usize = found
        .iter()
        .filter_map(|(key, mask)| {
            let other = truth.get(key)?;
            Some(mask.pixels.iter().zip(&other.pixels).filter(|(a, b)| **a && **b).count())
        })
        .sum();
    let whole = area(found) + area(truth);
    if whole == 0 { 1.0 } else { 2.0 * shared as f64 / whole as f64 }
}

fn means(measured: &[Measured], rater: &str, model: &str) -> Option<Means> {
    let here = |m: &&Measured| m.piece.rater == rater && m.piece.model == model;
    let all: Vec<&Measured> = measured.iter().filter(here).collect();
    let first: Vec<&Measured> = all.iter().copied().filter(|m| !m.piece.repeat).collect();
    if first.is_empty() {
        return None;
    }
    let frames: usize = first.iter().map(|m| m.piece.frames).sum();
    let keys: Option<Vec<u64>> = first.iter().map(|m| m.piece.keys).collect();
    let of = |value: &dyn Fn(&Measured) -> Option<f64>, from: &[&Measured]| -> Vec<f64> {
        from.iter().filter_map(|m| value(m)).collect()
    };
    let some_mean = |values: Vec<f64>| (!values.is_empty()).then(|| mean(&values));
    Some(Means {
        rater: rater.to_owned(),
        model: model.to_owned(),
        clips: first.len(),
        seconds: mean(&of(&|m| Some(m.piece.seconds), &first)),
        steps_per_frame: first.iter().map(|m| m.piece.steps).sum::<usize>() as f64
            / frames.max(1) as f64,
        keys_per_frame: keys.map(|k| k.iter().sum::<u64>() as f64 / frames.max(1) as f64),
        dice: some_mean(of(&|m| m.dice, &first)),
        repeat_dice: some_mean(of(&|m| m.repeat_dice, &all)),
    })
}

/// A clip that a rater did with both models.
type Both<'a> = (&'a Measured, &'a Measured);

fn with_both<'a>(measured: &'a [Measured], rater: &str, models: &[String; 2]) -> Vec<Both<'a>> {
    let done = |model: &str| -> BTreeMap<&str, &Measured> {
        measured
            .iter()
            .filter(|m| !m.piece.repeat && m.piece.rater == rater && m.piece.model == model)
            .map(|m| (m.piece.clip.as_str(), m))
            .collect()
    };
    let (first, second) = (done(&models[0]), done(&models[1]));
    first.iter().filter_map(|(clip, m)| Some((*m, *second.get(clip)?))).collect()
}

/// The values of both sides, where both have one.
fn values(both: &[Both<'_>], value: fn(&Measured) -> Option<f64>) -> [Vec<f64>; 2] {
    let (a, b) = both.iter().filter_map(|(a, b)| Some((value(a)?, value(b)?))).unzip();
    [a, b]
}

fn seconds_of(measured: &Measured) -> Option<f64> {
    Some(measured.piece.seconds)
}

/// One rater, clip by clip.
fn within(rater: &str, both: &[Both<'_>], models: &[String; 2]) -> Compared {
    let seconds = values(both, seconds_of);
    let dice = values(both, |m| m.dice);
    Compared {
        rater: Some(rater.to_owned()),
        models: models.clone(),
        pairs: both.len(),
        means: [mean(&seconds[0]), mean(&seconds[1])],
        seconds: wilcoxon(&seconds[0], &seconds[1]),
        dice: wilcoxon(&dice[0], &dice[1]),
    }
}

/// The means of the raters who worked with both models, over the clips that they did with both.
fn between(did: &[(String, Vec<Both<'_>>)], models: &[String; 2]) -> Option<Compared> {
    let means = |value: fn(&Measured) -> Option<f64>| -> [Vec<f64>; 2] {
        let of_rater = did.iter().map(|(_, both)| values(both, value));
        let there = of_rater.filter(|[a, _]| !a.is_empty());
        let (a, b) = there.map(|[a, b]| (mean(&a), mean(&b))).unzip();
        [a, b]
    };
    let (seconds, dice) = (means(seconds_of), means(|m| m.dice));
    (!did.is_empty()).then(|| Compared {
        rater: None,
        models: models.clone(),
        pairs: did.len(),
        means: [mean(&seconds[0]), mean(&seconds[1])],
        seconds: paired_t(&seconds[0], &seconds[1]),
        dice: paired_t(&dice[0], &dice[1]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(rater: &str, model: &str, clip: &str, seconds: f64, bits: &str) -> Piece {
        let pixels: Vec<bool> = bits.bytes().map(|b| b == b'1').collect();
        let mask = Bitmap { width_px: pixels.len() as u32, height_px: 1, pixels };
        Piece {
            rater: rater.into(),
            model: model.into(),
            repeat: false,
            clip: clip.into(),
            name: clip.into(),
            frames: 2,
            seconds,
            steps: 4,
            keys: (rater == "ann").then_some(10),
            masks: BTreeMap::from([(("nerve".into(), 0), mask)]),
        }
    }

    #[test]
    fn raters_are_measured_against_what_they_agree_on() {
        let mut pieces = Vec::new();
        for (i, clip) in ["x", "y", "z"].into_iter().enumerate() {
            let more = i as f64;
            pieces.push(piece("ann", "A", clip, 10.0 + more, "111100"));
            pieces.push(piece("ann", "B", clip, 20.0 + 3.0 * more, "111100"));
            pieces.push(piece("bob", "A", clip, 12.0, "111100"));
            pieces.push(piece("bob", "B", clip, 15.0 + more, "110000"));
        }
        pieces.push(Piece { repeat: true, ..piece("ann", "A", "x", 1.0, "110000") });
        let found = analyse(pieces).expect("sizes agree");
        let of = |rater: &str, model: &str| {
            let same = |m: &&Means| m.rater == rater && m.model == model;
            found.means.iter().find(same).expect("means").clone()
        };
        let ann = of("ann", "A");
        assert_eq!((ann.clips, ann.seconds, ann.dice), (3, 11.0, Some(1.0)));
        assert_eq!((ann.steps_per_frame, ann.keys_per_frame), (2.0, Some(5.0)));
        // Two of four pixels: 2 * 2 / (2 + 4).
        assert!((of("bob", "B").dice.expect("a reference") - 2.0 / 3.0).abs() < 1e-12);
        assert!((ann.repeat_dice.expect("one repeat") - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!((of("bob", "A").repeat_dice, of("bob", "A").keys_per_frame), (None, None));
        // Three differences of one sign: p = 2 / 2^3; Dice of ann never differs.
        let ann = &found.compared[0];
        assert_eq!((ann.rater.as_deref(), ann.pairs), (Some("ann"), 3));
        assert_eq!(ann.seconds.map(|t| (t.p, t.mean_difference)), Some((0.25, -12.0)));
        assert_eq!(ann.dice, None);
        let all = found.compared.last().expect("between raters");
        assert_eq!((all.rater.as_deref(), all.pairs), (None, 2));
        // Means 11 - 23 and 12 - 16.
        assert_eq!(all.seconds.map(|t| t.mean_difference), Some(-8.0));
    }

    #[test]
    fn masks_of_different_sizes_are_told_with_their_clip() {
        let pieces =
            [("ann", "1100"), ("bob", "110")].map(|(who, bits)| piece(who, "A", "x", 1.0, bits));
        let told = analyse(pieces.into()).expect_err("sizes differ").to_string();
        assert!(told.starts_with("clip x ") && told.contains("different sizes"), "{told}");
    }

    #[test]
    fn a_clip_may_have_any_number_of_annotations() {
        let pieces = (0..80).map(|i| piece(&format!("r{i}"), "A", "x", 1.0, "1100")).collect();
        let found = analyse(pieces).expect("sizes agree");
        assert!(found.measured.iter().all(|m| m.dice == Some(1.0)));
    }

    #[test]
    fn models_are_compared_on_what_a_rater_did_with_both_and_nothing_is_no_dice() {
        let mut pieces = Vec::new();
        for clip in ["x", "y"] {
            pieces.push(piece("ann", "A", clip, 10.0, "1100"));
            pieces.push(piece("ann", "B", clip, 14.0, "1100"));
        }
        // Only with one model, and slowly; nobody else did this clip.
        pieces.push(piece("ann", "A", "z", 500.0, "1100"));
        pieces.push(piece("bob", "A", "w", 900.0, "1100"));
        let found = analyse(pieces).expect("sizes agree");
        let bob = found.means.iter().find(|m| m.rater == "bob").expect("means");
        assert_eq!((bob.seconds, bob.dice), (900.0, None));
        let all = found.compared.last().expect("between raters");
        assert_eq!((all.rater.as_deref(), all.pairs, all.means), (None, 1, [10.0, 14.0]));
    }
}
