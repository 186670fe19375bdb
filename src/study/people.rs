//! What the analysis of a user study writes: a report in Markdown and tables as CSV.
//!
//! What decides whether this file is right: every figure on a rater or a clip is in the tables, and a test that has too
//! little to go on is left blank instead of guessed.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::StudyError;
use super::analyse::{Analysis, Means, Measured};
use super::columns::{self, Column, Field};
use super::questionnaire::Questionnaire;
use super::report::{cell, p_value};
use super::stats::Tested;
use crate::export::write_atomic;

/// Writes `report.md`, `clips.csv` and `raters.csv` into `out`, each whole or not at all; gives their paths.
///
/// # Errors
/// A folder that cannot be written.
pub fn write(
    analysis: &Analysis,
    asked: &Questionnaire,
    pause_s: f64,
    out: &Path,
) -> Result<Vec<PathBuf>, StudyError> {
    let files = [
        ("report.md", markdown(analysis, asked, pause_s)),
        ("clips.csv", columns::csv(&CLIPS, &analysis.measured)),
        ("raters.csv", columns::csv(&RATERS, &analysis.means)),
    ];
    let mut paths = Vec::new();
    for (name, text) in files {
        let path = out.join(name);
        write_atomic(&path, text.as_bytes())?;
        paths.push(path);
    }
    Ok(paths)
}

fn p_of(tested: Option<Tested>) -> String {
    tested.map_or_else(|| "-".to_owned(), |t| p_value(t.p))
}

fn or_dash(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |v| format!("{v:.digits$}"))
}

fn markdown(analysis: &Analysis, asked: &Questionnaire, pause_s: f64) -> String {
    let mut text = String::from("# User study\n\n");
    for compared in analysis.compared.iter().filter(|c| c.rater.is_none()) {
        let [a, b] = &compared.models;
        let [first, second] = compared.means;
        let (fast, slow, least, most) =
            if first <= second { (a, b, first, second) } else { (b, a, second, first) };
        let saved = if most > 0.0 { 100.0 * (1.0 - least / most) } else { 0.0 };
        let certain = compared.seconds.is_some_and(|t| t.p < 0.05);
        let word = if certain { "" } else { " This is not certain." };
        let tested = match compared.pairs {
            1 => "one rater, so there is no test between raters".to_owned(),
            n => format!(
                "paired t-test between {n} raters: p = {} for time, {} for Dice",
                p_of(compared.seconds),
                p_of(compared.dice)
            ),
        };
        let _ = writeln!(
            text,
            "With {} raters took {saved:.1} % less time than with {} ({least:.1} s against {most:.1} s per clip; \
             {tested}).{word}\n",
            cell(fast),
            cell(slow)
        );
    }
    if analysis.compared.is_empty() {
        text += "No rater worked with two models on the same clip: nothing is compared.\n\n";
    }
    let raters = columns::markdown(&RATERS, &analysis.means);
    let _ = writeln!(text, "## Raters\n\n{raters}");
    tests_table(&mut text, analysis);
    answers_table(&mut text, analysis, asked);
    let _ = writeln!(
        text,
        "Time runs from opening a clip to calling it finished, or to the last step; a gap longer than {pause_s} s counts as {pause_s} s. Steps are \
         points placed, moved and taken away, windows, and masks accepted or drawn; keys are known where sessions told \
         them. Dice is against STAPLE (Warfield 2004) of everybody who annotated the clip, one's own work included, as in \
         the paper. Within a rater: Wilcoxon's signed-rank test over clips, two-sided; between raters: paired t-test over \
         their means. Models are compared on clips that a rater did with both."
    );
    text
}

fn tests_table(text: &mut String, analysis: &Analysis) {
    if analysis.compared.is_empty() {
        return;
    }
    text.push_str("## Models against each other\n\n| rater | models | pairs | difference of time (s) | p | difference of Dice | p |\n");
    text.push_str("|---|---|---|---|---|---|---|\n");
    for c in &analysis.compared {
        let difference = |t: Option<Tested>, digits| or_dash(t.map(|t| t.mean_difference), digits);
        let [a, b] = &c.models;
        let _ = writeln!(
            text,
            "| {} | {} - {} | {} | {} | {} | {} | {} |",
            c.rater.as_deref().map_or_else(|| "between raters".to_owned(), cell),
            cell(a),
            cell(b),
            c.pairs,
            difference(c.seconds, 1),
            p_of(c.seconds),
            difference(c.dice, 3),
            p_of(c.dice)
        );
    }
    text.push('\n');
}

fn answers_table(text: &mut String, analysis: &Analysis, asked: &Questionnaire) {
    let mut models: Vec<&String> = analysis.means.iter().map(|m| &m.model).collect();
    models.sort();
    models.dedup();
    let rows: Vec<(&String, Vec<f64>)> =
        models.into_iter().filter_map(|m| Some((m, asked.means(m)?))).collect();
    if rows.is_empty() {
        return;
    }
    let questions: Vec<String> = asked.questions.iter().map(|q| cell(q)).collect();
    let _ = writeln!(
        text,
        "## Questionnaire\n\n| model | {} |\n|---|{}",
        questions.join(" | "),
        "---|".repeat(questions.len())
    );
    for (model, means) in rows {
        let values: Vec<String> = means.iter().map(|v| format!("{v:.2}")).collect();
        let _ = writeln!(text, "| {} | {} |", cell(model), values.join(" | "));
    }
    text.push('\n');
}

/// What is told of a rater with a model.
const RATERS: [Column<Means>; 8] = [
    Column { name: "rater", title: Some("rater"), field: |m| Field::Text(m.rater.clone()) },
    Column { name: "model", title: Some("model"), field: |m| Field::Text(m.model.clone()) },
    Column { name: "clips", title: Some("clips"), field: |m| Field::Whole(m.clips) },
    Column {
        name: "seconds",
        title: Some("time (s)"),
        field: |m| Field::Real(Some(m.seconds), 1, 3),
    },
    Column { name: "dice", title: Some("Dice"), field: |m| Field::Real(m.dice, 3, 6) },
    Column {
        name: "steps_per_frame",
        title: Some("steps per frame"),
        field: |m| Field::Real(Some(m.steps_per_frame), 2, 4),
    },
    Column {
        name: "keys_per_frame",
        title: Some("keys per frame"),
        field: |m| Field::Real(m.keys_per_frame, 2, 6),
    },
    Column {
        name: "dice_of_repeats",
        title: Some("Dice of repeats"),
        field: |m| Field::Real(m.repeat_dice, 3, 6),
    },
];

/// What is told of one clip of a rater; the report sums it up.
const CLIPS: [Column<Measured>; 11] = [
    Column { name: "rater", title: None, field: |m| Field::Text(m.piece.rater.clone()) },
    Column { name: "model", title: None, field: |m| Field::Text(m.piece.model.clone()) },
    Column { name: "clip", title: None, field: |m| Field::Text(m.piece.clip.clone()) },
    Column { name: "name", title: None, field: |m| Field::Text(m.piece.name.clone()) },
    Column { name: "frames", title: None, field: |m| Field::Whole(m.piece.frames) },
    Column { name: "repeat", title: None, field: |m| Field::Whole(m.piece.repeat.into()) },
    Column { name: "seconds", title: None, field: |m| Field::Real(Some(m.piece.seconds), 1, 3) },
    Column { name: "steps", title: None, field: |m| Field::Whole(m.piece.steps) },
    Column {
        name: "keys",
        title: None,
        field: |m| Field::Real(m.piece.keys.map(|keys| keys as f64), 0, 0),
    },
    Column { name: "dice", title: None, field: |m| Field::Real(m.dice, 3, 6) },
    Column { name: "dice_of_repeat", title: None, field: |m| Field::Real(m.repeat_dice, 3, 6) },
];
