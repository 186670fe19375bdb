//! What a study says of clips: a table, a figure and a CSV for each set, and the paper's claims.
//!
//! What decides whether this file is right: what an arm costs (frames prompted, frames decided, seconds) stands beside what
//! it reaches; a claim that the data contradict fails.

use std::fmt::Write;

use super::{ClipCell, against, mean_iou};
use crate::domain::{counted, shown};
use crate::learn::evaluate::Placing;
use crate::study::claims::{Claim, alone, borne, verdict};
use crate::study::columns::quoted;
use crate::study::config::{ClipArmKind, StudyConfig};
use crate::study::figure::{Figure, Line};
use crate::study::report::{cell, lead_with_interval, p_value, with_interval};
use crate::study::simulate::Outcome;

/// A smaller lead is rounding, IoU.
const LEAST_LEAD: f64 = 1e-6;

/// The part of the report on clips; empty without any.
pub(in crate::study) fn markdown(config: &StudyConfig, outcome: &Outcome) -> String {
    let mut text = String::new();
    for (set, clips) in config.clips.iter().enumerate() {
        let cells: Vec<&ClipCell> = outcome.clips.iter().filter(|c| c.set == set).collect();
        let Some(first) = cells.first() else { continue };
        let name = cell(&clips.name);
        let _ = writeln!(
            text,
            "## Clips: {name}\n\n{} of {}, SHA-256 {}. Five points on the first frame, propagation to the end, five more \
             where IoU first falls below .75, up to seven times; IoU inside the true windows, without prompted frames.\n\n\
             ![Mean IoU by propagation]({}.svg)\n",
            counted(first.traces.len(), "structure"),
            counted(first.clips(), "clip"),
            outcome.clip_hashes[set],
            stem(set),
        );
        text += "| arm | IoU after one propagation | after eight | Dice / IoU, mean of eight | frames prompted | frames decided \
                 | frames with a mask outside the windows | seconds |\n|---|---|---|---|---|---|---|---|\n";
        for c in &cells {
            let round = |k: usize| c.interval(config, |t| t.rounds.get(k).map_or(0.0, |s| s.iou));
            let dice = c.mean(|t| {
                t.rounds.iter().map(|s| s.dice).sum::<f64>() / t.rounds.len().max(1) as f64
            });
            let last = first.traces.first().map_or(0, |t| t.rounds.len().saturating_sub(1));
            let _ = writeln!(
                text,
                "| {} | {} | {} | {dice:.3} / {:.3} | {:.2} | {:.1} | {:.1} | {:.1} |",
                cell(&config.clip_arms[c.arm].name),
                with_interval(round(0), "clip"),
                with_interval(round(last), "clip"),
                c.mean(mean_iou),
                c.mean(|t| t.prompted as f64),
                c.mean(|t| t.decided as f64),
                c.mean(|t| t.false_frames as f64),
                c.mean(|t| t.seconds),
            );
        }
        let _ = writeln!(
            text,
            "\nMeans over structures; intervals: 95 %, {} bootstrap draws of clips; p: Wilcoxon's signed-rank test, two-sided, of \
             the means of the clips. Frames decided and seconds are those of all propagations together, on the device of the \
             study.\n\n| arms | IoU, mean of eight: difference [95 %] | p |\n|---|---|---|",
            config.bootstrap
        );
        for other in &cells[1..] {
            let (difference, tested) = against(config, first, other);
            let p = match tested {
                Some(tested) => p_value(tested.p),
                None if difference.range.is_none() => "no test".to_owned(),
                None => "no difference".to_owned(),
            };
            let [a, b] = [first, other].map(|c| cell(&config.clip_arms[c.arm].name));
            let _ = writeln!(text, "| {a} - {b} | {} | {p} |", with_interval(difference, "clip"));
        }
        text.push('\n');
    }
    text
}

/// File name of a set's figure, without ending.
pub(in crate::study) fn stem(set: usize) -> String {
    format!("clips-{}", set + 1)
}

/// Mean IoU by propagation, for each set of clips.
pub(in crate::study) fn figures(config: &StudyConfig, outcome: &Outcome) -> Vec<(String, Figure)> {
    let figure = |set: usize| {
        let line = |c: &ClipCell| {
            let rounds = c.traces.first().map_or(0, |t| t.rounds.len());
            let at = |k: usize| c.interval(config, |t| t.rounds.get(k).map_or(0.0, |s| s.iou));
            let arm = &config.clip_arms[c.arm];
            Line {
                name: shown(&arm.name),
                dashed: matches!(arm.kind, ClipArmKind::Baseline(_)),
                points: (0..rounds).map(|k| ((k + 1) as f64, at(k))).collect(),
            }
        };
        Figure {
            title: format!("IoU on clips, {}", shown(&config.clips[set].name)),
            x: "propagations".into(),
            y: "mean IoU".into(),
            lines: outcome.clips.iter().filter(|c| c.set == set).map(line).collect(),
        }
    };
    (0..config.clips.len()).map(|set| (stem(set), figure(set))).collect()
}

/// `clips.csv`: every structure after every propagation.
pub(in crate::study) fn csv(config: &StudyConfig, outcome: &Outcome) -> String {
    let mut text = String::from(
        "set,arm,clip,label,propagation,dice,iou,prompted,decided,false_frames,seconds\r\n",
    );
    for c in &outcome.clips {
        for t in &c.traces {
            for (k, score) in t.rounds.iter().enumerate() {
                let _ = write!(
                    text,
                    "{},{},{},{},{},{:.6},{:.6},{},{},{},{:.3}\r\n",
                    quoted(&config.clips[c.set].name),
                    quoted(&config.clip_arms[c.arm].name),
                    quoted(&t.clip),
                    t.label,
                    k + 1,
                    score.dice,
                    score.iou,
                    t.prompted,
                    t.decided,
                    t.false_frames,
                    t.seconds,
                );
            }
        }
    }
    text
}

/// What the paper claims of clips (section 3.2, Figure 3), on each set.
pub(in crate::study) fn claims(config: &StudyConfig, outcome: &Outcome) -> Vec<Claim> {
    // Arms of a comparison differ in what is compared alone: the second and third follow like the first.
    let like = |wanted: Placing, told: bool, moved: Option<bool>| {
        config.clip_arms.iter().position(|arm| match &arm.kind {
            ClipArmKind::Network { placing, windows, motion, .. } => {
                *placing == wanted && *windows == told && moved.is_none_or(|m| m == *motion)
            }
            ClipArmKind::Baseline(_) => false,
        })
    };
    let motion = |arm: usize| match &config.clip_arms[arm].kind {
        ClipArmKind::Network { motion, .. } => Some(*motion),
        ClipArmKind::Baseline(_) => None,
    };
    let Some(ours) = like(Placing::Boundary, true, None) else { return Vec::new() };
    let plain = like(Placing::Region, false, motion(ours));
    let told = like(Placing::Region, true, motion(ours));
    let mut claims = Vec::new();
    for (set, clips) in config.clips.iter().enumerate() {
        let of =
            |arm: Option<usize>| outcome.clips.iter().find(|c| c.set == set && Some(c.arm) == arm);
        let mut claim = |a: Option<usize>, b: Option<usize>, windows: bool, sentence: &str| {
            let (Some(a), Some(b)) = (of(a), of(b)) else { return };
            // Where the structure is visible throughout, windows say nothing.
            let decided = |c: &ClipCell| c.traces.iter().map(|t| t.decided).sum::<usize>();
            if windows && decided(a) == decided(b) {
                return;
            }
            let (d, _) = against(config, a, b);
            // No difference is no lead, and a handful of clips proves nothing.
            let judged = borne(d, a.clips());
            claims.push(Claim {
                sentence: format!("{sentence} ({})", shown(&clips.name)),
                verdict: verdict(judged, LEAST_LEAD),
                evidence: format!(
                    "IoU {}{}",
                    lead_with_interval(d, "clip"),
                    alone(a.clips(), "clip")
                ),
            });
        };
        claim(
            Some(ours),
            plain,
            false,
            "on clips boundary points with windows are ahead of plain SAM 2",
        );
        claim(told, plain, true, "on clips windows help region points");
    }
    claims
}
