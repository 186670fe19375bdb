//! What raters answered after a study.
//!
//! ```yaml
//! questions: [rating, cognitive load]
//! answers:
//!   - {rater: anna, model: SAMUSA, values: [5, 2]}
//! ```
//! What decides whether this file is right: all faults are told at once with their lines, and nobody answers twice.

use std::path::Path;

use crate::config::yaml::{Entries, Faults, Kind, parse, text_of};
use crate::domain::shown;

const TOP: [&str; 2] = ["questions", "answers"];
const ANSWER: [&str; 3] = ["rater", "model", "values"];

/// All answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Questionnaire {
    /// What was asked.
    pub questions: Vec<String>,
    /// Rater, model, and one value for each question.
    pub answers: Vec<(String, String, Vec<f64>)>,
}

impl Questionnaire {
    /// Means of a model's answers in the order of the questions; `None` when nobody answered.
    #[must_use]
    pub fn means(&self, model: &str) -> Option<Vec<f64>> {
        let all: Vec<&Vec<f64>> =
            self.answers.iter().filter(|(_, of, _)| of == model).map(|(.., v)| v).collect();
        let mean = |q| all.iter().map(|v| v[q]).sum::<f64>() / all.len() as f64;
        (!all.is_empty()).then(|| (0..self.questions.len()).map(mean).collect())
    }
}

/// Reads a questionnaire.
///
/// # Errors
/// All faults at once.
pub fn read(path: &Path) -> Result<Questionnaire, Faults> {
    let (name, text) = text_of(path)?;
    from_text(&name, &text)
}

fn from_text(name: &str, text: &str) -> Result<Questionnaire, Faults> {
    let root = parse(name, text)?;
    let mut faults = Faults::new(name);
    let mut found = Questionnaire::default();
    if let Some(top) = Entries::of(&root, "", &TOP, &mut faults) {
        for (path, node) in top.list("questions", &mut faults) {
            match node.kind.word() {
                Some(word) => found.questions.push(word),
                None => faults.add(node.line, format!("`{path}` must be text")),
            }
        }
        if found.questions.is_empty() {
            faults.add(1, "`questions` is missing or empty; name what was asked");
        }
        for (path, node) in top.list("answers", &mut faults) {
            let Some(entries) = Entries::of(node, &path, &ANSWER, &mut faults) else { continue };
            let mut word = |key: &str| {
                let found = entries.get(key).and_then(|(_, node)| node.kind.word());
                if found.is_none() {
                    faults.add(entries.line(), format!("`{path}.{key}` is missing"));
                }
                found
            };
            let (rater, model) = (word("rater"), word("model"));
            let items = entries.list("values", &mut faults);
            let number = |kind: &Kind| match kind {
                Kind::Number(n, _) if n.is_finite() => Some(*n),
                _ => None,
            };
            let values: Vec<f64> = items.iter().filter_map(|(_, n)| number(&n.kind)).collect();
            if values.len() != found.questions.len() {
                let wanted = found.questions.len();
                faults.add(
                    node.line,
                    format!("`{path}.values` must be {wanted} numbers, one for each question"),
                );
            }
            let (Some(rater), Some(model)) = (rater, model) else { continue };
            if found.answers.iter().any(|(r, m, _)| (r, m) == (&rater, &model)) {
                let (rater, model) = (shown(&rater), shown(&model));
                faults.add(node.line, format!("{rater} answers twice on {model}"));
            }
            found.answers.push((rater, model, values));
        }
    }
    faults.or(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_averaged_and_faults_have_lines() {
        let text = "questions: [rating, load]\nanswers:\n  - {rater: ann, model: A, values: [5, 2]}\n  - {rater: bob, model: A, \
                    values: [4, 1]}\n";
        let found = from_text("q", text).expect("no fault");
        assert_eq!(found.means("A"), Some(vec![4.5, 1.5]));
        assert_eq!(found.means("B"), None);
        let text = text.to_owned()
            + "  - {rater: bob, model: A, values: [4]}\n  - {rate: x, model: B, values: [1, a]}\n";
        let all = from_text("q", &text).expect_err("faults").to_string();
        for part in [
            "line 5: bob answers twice on A",
            "line 5: `answers[2].values` must be 2 numbers",
            "line 6: `answers[3].rate` is unknown; did you mean `rater`?",
            "line 6: `answers[3].rater` is missing",
            "line 6: `answers[3].values` must be 2 numbers",
        ] {
            assert!(all.contains(part), "{part} is missing in\n{all}");
        }
    }
}
