//! The paper's user study from real sessions: time, work and agreement, within and between raters.
//!
//! What decides whether this file is right: the reference of a frame is STAPLE of everybody who annotated the clip, with
//! every model and shown for the first time; models are compared clip by clip on clips that a rater did with both.

use std::collections::{BTreeMap, BTreeSet};

use super::sessions::Piece;
use super::staple::{StapleError, staple};
use super::stats::{Tested, mean, paired_t, wilcoxon};
use crate::domain::Bitmap;

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
    /// Dice against the reference.
    pub dice: f64,
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
pub fn analyse(pieces: Vec<Piece>) -> Result<Analysis, StapleError> {
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
            let within = raters.iter().filter_map(|rater| within(&measured, rater, &pair));
            analysis.compared.extend(within);
            analysis.compared.extend(between(&analysis.means, &raters, &pair));
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
fn references(pieces: &[Piece]) -> Result<BTreeMap<String, Masks>, StapleError> {
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
            reference.insert(key.clone(), staple(&raters)?.mask());
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
    let repeats = of(&|m| m.repeat_dice, &all);
    Some(Means {
        rater: rater.to_owned(),
        model: model.to_owned(),
        clips: first.len(),
        seconds: mean(&of(&|m| Some(m.piece.seconds), &first)),
        steps_per_frame: first.iter().map(|m| m.piece.steps).sum::<usize>() as f64
            / frames.max(1) as f64,
        keys_per_frame: keys.map(|k| k.iter().sum::<u64>() as f64 / frames.max(1) as f64),
        dice: mean(&of(&|m| m.dice, &first)),
        repeat_dice: (!repeats.is_empty()).then(|| mean(&repeats)),
    })
}

/// One rater's clips with both models.
fn within(measured: &[Measured], rater: &str, models: &[String; 2]) -> Option<Compared> {
    let done = |model: &str| -> BTreeMap<&str, &Measured> {
        measured
            .iter()
            .filter(|m| !m.piece.repeat && m.piece.rater == rater && m.piece.model == model)
            .map(|m| (m.piece.clip.as_str(), m))
            .collect()
    };
    let (first, second) = (done(&models[0]), done(&models[1]));
    let both: Vec<(&Measured, &Measured)> =
        first.iter().filter_map(|(clip, m)| Some((*m, *second.get(clip)?))).collect();
    if both.is_empty() {
        return None;
    }
    let test = |value: &dyn Fn(&Measured) -> Option<f64>| {
        let pairs = both.iter().filter_map(|(a, b)| Some((value(a)?, value(b)?)));
        let (a, b): (Vec<f64>, Vec<f64>) = pairs.unzip();
        wilcoxon(&a, &b)
    };
    Some(Compared {
        rater: Some(rater.to_owned()),
        models: models.clone(),
        pairs: both.len(),
        seconds: test(&|m| Some(m.piece.seconds)),
        dice: test(&|m| m.dice),
    })
}

/// The raters' means with both models.
fn between(means: &[Means], raters: &[String], models: &[String; 2]) -> Option<Compared> {
    let of = |rater: &String, model: &String| {
        means.iter().find(|m| m.rater == *rater && m.model == *model)
    };
    let both: Vec<(&Means, &Means)> = raters
        .iter()
        .filter_map(|rater| Some((of(rater, &models[0])?, of(rater, &models[1])?)))
        .collect();
    let test = |value: fn(&Means) -> f64| {
        let (a, b): (Vec<f64>, Vec<f64>) = both.iter().map(|(a, b)| (value(a), value(b))).unzip();
        paired_t(&a, &b)
    };
    (!both.is_empty()).then(|| Compared {
        rater: None,
        models: models.clone(),
        pairs: both.len(),
        seconds: test(|m| m.seconds),
        dice: test(|m| m.dice),
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
        assert_eq!((ann.clips, ann.seconds, ann.dice), (3, 11.0, 1.0));
        assert_eq!((ann.steps_per_frame, ann.keys_per_frame), (2.0, Some(5.0)));
        // Two of four pixels: 2 * 2 / (2 + 4).
        assert!((of("bob", "B").dice - 2.0 / 3.0).abs() < 1e-12);
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
}
