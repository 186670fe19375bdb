//! What a simulated study writes: tables, a report in Markdown whose first paragraph says which claims of the
//! paper do not hold, and figures.
//!
//! What decides whether this file is right: a claim holds only where its whole interval says so; the report names data
//! by hash and how to repeat it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::StudyError;
use super::claims::{Verdict, judged};
use super::clips;
use super::config::{ArmKind, StudyConfig};
use super::figure::{Figure, Line};
use super::sheets::Sheets;
use super::simulate::{Outcome, Setting};
use super::stats::Interval;
use super::tables::{Row, Tables, Versus};
use crate::domain::{counted, shown};
use crate::export::write_atomic;
use crate::learn::evaluate::Placing;

/// Numbers of points that the tables of the report show, those of the paper's Table 4 and the cap; the CSV has all.
const SHOWN: [usize; 11] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20];

/// Writes report, tables and figures into the folder `out`, each whole or not at all; gives their paths, the report
/// first.
///
/// # Errors
/// A folder that cannot be written, or a figure that cannot be drawn.
pub fn write(
    config: &StudyConfig,
    outcome: &Outcome,
    tables: &Tables,
    out: &Path,
) -> Result<Vec<PathBuf>, StudyError> {
    let report = Report { config, outcome, tables };
    let sheets = report.sheets();
    let mut files = vec![
        ("report.md".to_owned(), report.markdown().into_bytes()),
        ("overlap.csv".to_owned(), sheets.overlap().into_bytes()),
        ("clicks.csv".to_owned(), sheets.clicks().into_bytes()),
        ("tests.csv".to_owned(), sheets.tests().into_bytes()),
        ("objects.csv".to_owned(), sheets.objects().into_bytes()),
    ];
    for setting in &tables.settings {
        for (measure, of) in MEASURES {
            let figure = report.figure(*setting, measure, of);
            let stem = stem(*setting, measure);
            files.push((format!("{stem}.svg"), figure.svg()?.into_bytes()));
            files.push((format!("{stem}.png"), figure.png()?));
        }
    }
    if !config.clips.is_empty() {
        files.push(("clips.csv".to_owned(), clips::report::csv(config, outcome).into_bytes()));
    }
    for (stem, figure) in clips::report::figures(config, outcome) {
        files.push((format!("{stem}.svg"), figure.svg()?.into_bytes()));
        files.push((format!("{stem}.png"), figure.png()?));
    }
    let mut paths = Vec::with_capacity(files.len());
    for (name, bytes) in files {
        let path = out.join(name);
        write_atomic(&path, &bytes)?;
        paths.push(path);
    }
    Ok(paths)
}

/// The interval that a figure shows.
type Measure = fn(&Row) -> Interval;
const MEASURES: [(&str, Measure); 2] = [("IoU", |r| r.iou), ("Dice", |r| r.dice)];

fn stem(setting: Setting, measure: &str) -> String {
    format!("{}-{}", measure.to_lowercase(), setting.name())
}

/// A cell of a Markdown table.
pub(in crate::study) fn cell(text: &str) -> String {
    shown(text).replace('|', "\\|")
}

/// A mean with its interval; where there is none, because there is but one image or one structure (`of`), it says so.
pub(in crate::study) fn with_interval(i: Interval, of: &str) -> String {
    match i.range {
        Some([low, high]) => format!("{:.3} [{low:.3}, {high:.3}]", i.mean),
        None => format!("{:.3} (one {of}: no interval)", i.mean),
    }
}

/// The same of a difference, with its sign.
pub(in crate::study) fn lead_with_interval(i: Interval, of: &str) -> String {
    match i.range {
        Some([low, high]) => format!("{:+.3} [{low:+.3}, {high:+.3}]", i.mean),
        None => format!("{:+.3} (one {of}: no interval)", i.mean),
    }
}

/// A probability as people print it.
pub(in crate::study) fn p_value(p: f64) -> String {
    if p < 0.001 { format!("{p:.1e}") } else { format!("{p:.3}") }
}

struct Report<'a> {
    config: &'a StudyConfig,
    outcome: &'a Outcome,
    tables: &'a Tables,
}

impl Report<'_> {
    fn arm(&self, arm: usize) -> String {
        cell(&self.config.arms[arm].name)
    }

    fn set(&self, set: Option<usize>) -> String {
        set.map_or_else(|| "mean of sets".to_owned(), |set| cell(&self.config.data[set].name))
    }

    /// All sets of the tables, the mean of several first.
    fn sets(&self) -> Vec<Option<usize>> {
        let n = self.config.data.len();
        let mean = (n > 1).then_some(None);
        mean.into_iter().chain((0..n).map(Some)).collect()
    }

    fn markdown(&self) -> String {
        let mut text =
            String::from("# Boundary points against region points, on simulated annotators\n\n");
        let notes: String = self.outcome.clip_notes.iter().map(|note| format!(" {note}")).collect();
        let _ = write!(text, "{}{notes}\n\n", self.verdict().trim_end());
        text += &self.beyond();
        for setting in &self.tables.settings {
            let title = match setting {
                Setting::Supervised => {
                    "Supervised: networks were trained on stills of the same sets"
                }
                Setting::ZeroShot => "Zero-shot: networks never saw the set",
            };
            let _ = writeln!(text, "## {title}\n");
            let stem = stem(*setting, "IoU");
            let _ = writeln!(text, "![Mean IoU by number of points]({stem}.svg)\n");
            for set in self.sets() {
                self.overlap_table(&mut text, *setting, set);
            }
            self.clicks_table(&mut text, *setting);
            self.tests_table(&mut text, *setting);
        }
        text += &clips::report::markdown(self.config, self.outcome);
        text += &self.method();
        text
    }

    /// The first paragraph.
    fn verdict(&self) -> String {
        let mut claims = judged(self.config, self.tables);
        claims.extend(clips::report::claims(self.config, self.outcome));
        if claims.is_empty() && self.config.compare.is_some() {
            return "No claim of the paper was tested: the two arms that it compares were not judged on every set in one \
                    setting.\n\n"
                .into();
        }
        if claims.is_empty() {
            return "No claim of the paper was tested: that needs one arm with boundary points and one with region \
                    points.\n\n"
                .into();
        }
        let of = |v: Verdict| claims.iter().filter(|c| c.verdict == v).count();
        let (fails, open) = (of(Verdict::Fails), of(Verdict::NotShown));
        let all = claims.len();
        let mut text = match fails {
            0 => format!("No claim of the paper is refuted by these data, of {all} tested. "),
            1 => format!(
                "**1 of {} of the paper does not hold on these data.** ",
                counted(all, "claim")
            ),
            n => format!("**{n} of {all} claims of the paper do not hold on these data.** "),
        };
        if open > 0 {
            let verb = if open == 1 { "is" } else { "are" };
            let _ = write!(text, "{open} {verb} not certain. ");
        }
        for (verdict, word) in [
            (Verdict::Fails, "Does not hold"),
            (Verdict::NotShown, "Not certain"),
            (Verdict::Holds, "Holds"),
        ] {
            for claim in claims.iter().filter(|c| c.verdict == verdict) {
                let _ = write!(text, "{word}: {} ({}). ", claim.sentence, claim.evidence);
            }
        }
        text.trim_end().to_owned() + "\n\n"
    }

    /// The second paragraph: whether learning was worth it.
    fn beyond(&self) -> String {
        let Some([ours, _]) = self.config.compare else { return String::new() };
        let mut text = String::new();
        for setting in &self.tables.settings {
            let at = |arm, k| {
                self.tables.row(*setting, self.sets()[0], arm, Some(k)).map(|r| r.iou.mean)
            };
            let learned =
                |arm: &usize| matches!(self.config.arms[*arm].kind, ArmKind::Network { .. });
            let plain: Vec<usize> = (0..self.config.arms.len()).filter(|a| !learned(a)).collect();
            let better: Vec<String> = (1..=self.config.points)
                .filter_map(|k| {
                    let own = at(ours, k)?;
                    let rival = plain
                        .iter()
                        .filter_map(|arm| Some((*arm, at(*arm, k)?)))
                        .max_by(|a, b| a.1.total_cmp(&b.1))?;
                    let than = || format!("{k} ({} {:.3}, {:.3})", self.arm(rival.0), rival.1, own);
                    (rival.1 > own).then(than)
                })
                .collect();
            if plain.is_empty() || at(ours, 1).is_none() {
                continue;
            }
            let (name, setting) = (self.arm(ours), setting.name());
            let _ = match better.is_empty() {
                true => write!(
                    text,
                    "{name} ({setting}) has a higher IoU than everything that never learned, at every number of points. "
                ),
                false => write!(
                    text,
                    "Something that never learned has a higher IoU than {name} ({setting}) at these numbers of points: {}. ",
                    better.join(", ")
                ),
            };
        }
        if text.is_empty() { text } else { text.trim_end().to_owned() + "\n\n" }
    }

    fn columns(&self) -> Vec<Option<usize>> {
        let points = SHOWN.iter().copied().filter(|k| *k <= self.config.points);
        points.map(Some).chain([None]).collect()
    }

    fn overlap_table(&self, text: &mut String, setting: Setting, set: Option<usize>) {
        let columns = self.columns();
        let name = |k: &Option<usize>| match k {
            Some(k) => counted(*k, "point"),
            None => format!("mean of 1 to {}", self.config.points),
        };
        let heads: Vec<String> = columns.iter().map(name).collect();
        let _ = writeln!(text, "### Dice / IoU, {}\n", self.set(set));
        let _ =
            writeln!(text, "| arm | {} |\n|---|{}", heads.join(" | "), "---|".repeat(heads.len()));
        for arm in 0..self.config.arms.len() {
            let row = |k: &Option<usize>| self.tables.row(setting, set, arm, *k);
            let cells: Vec<String> = columns
                .iter()
                .filter_map(row)
                .map(|r| format!("{:.3} / {:.3}", r.dice.mean, r.iou.mean))
                .collect();
            if !cells.is_empty() {
                let _ = writeln!(text, "| {} | {} |", self.arm(arm), cells.join(" | "));
            }
        }
        text.push('\n');
    }

    fn clicks_table(&self, text: &mut String, setting: Setting) {
        text.push_str("### Points to an IoU of .85 and .90\n\nAt most 20; in brackets the share that never gets there.\n\n");
        let _ = writeln!(text, "{}", self.sheets().clicks_in_report(setting));
    }

    fn sheets(&self) -> Sheets<'_> {
        Sheets { config: self.config, outcome: self.outcome, tables: self.tables }
    }

    /// The arm of interest against all others; all pairs are in the CSV.
    fn tests_table(&self, text: &mut String, setting: Setting) {
        let reference = self.config.compare.map_or(0, |[ours, _]| ours);
        let columns = self.columns();
        let wanted = |v: &Versus| {
            v.setting == setting
                && v.set == self.sets()[0]
                && v.arms.contains(&reference)
                && columns.contains(&v.points)
        };
        if let Some(table) = self.sheets().tests_in_report(&wanted) {
            let _ =
                writeln!(text, "### Differences of IoU, {}\n\n{table}", self.set(self.sets()[0]));
        }
    }

    fn method(&self) -> String {
        let c = self.config;
        let mut text = String::from("## How\n\n");
        for (set, hash) in c.data.iter().zip(&self.outcome.hashes) {
            let cells = || self.outcome.cells.iter().filter(|x| c.data[x.set].name == set.name);
            let traces = cells().next().map_or(&[][..], |cell| &cell.traces[..]);
            let images = traces.chunk_by(|a, b| a.still == b.still).count();
            let _ = writeln!(
                text,
                "- {}: {} on {}, SHA-256 {hash}",
                cell(&set.name),
                counted(traces.len(), "structure"),
                counted(images, "still")
            );
        }
        let mut networks: Vec<String> = Vec::new();
        for x in self.outcome.cells.iter().filter(|x| x.setting.is_some()) {
            let line = format!("- {}: network {}", self.arm(x.arm), cell(&x.network));
            if !networks.contains(&line) {
                networks.push(line);
            }
        }
        let noise = if c.noise_px > 0.0 {
            format!("Points are off by {} px (standard deviation). ", c.noise_px)
        } else {
            "Points are exact. ".to_owned()
        };
        let _ = writeln!(text, "{}\n", networks.join("\n"));
        let regions = c
            .arms
            .iter()
            .any(|a| matches!(a.kind, ArmKind::Network { placing: Placing::Region, .. }));
        let note = if regions {
            "The step that draws the contour through the points does not exist for region points: they do not lie on it. "
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "Boundary points: the first anywhere on the contour, the second furthest from it, then where the contour shown \
             is furthest away. Region points: the centre of the larger error. {noise}{note}Everything is judged at the \
             size of the image. Intervals: 95 %, {} bootstrap draws of images (a clip or volume with all its frames), none where a set has one image. p: Wilcoxon's signed-rank test, two-sided, \
             of the mean IoU of the images, for the mean of sets of those of all sets together; not corrected for the number \
             of tests. Seed {}.",
            c.bootstrap, c.seed
        );
        text
    }

    fn figure(&self, setting: Setting, measure: &str, of: Measure) -> Figure {
        let line = |arm: usize| {
            let row = |k: usize| self.tables.row(setting, self.sets()[0], arm, Some(k));
            let points: Vec<(f64, Interval)> =
                (1..=self.config.points).filter_map(|k| Some((k as f64, of(row(k)?)))).collect();
            let dashed = matches!(self.config.arms[arm].kind, ArmKind::Baseline(_));
            (!points.is_empty()).then(|| Line {
                name: shown(&self.config.arms[arm].name),
                dashed,
                points,
            })
        };
        Figure {
            title: format!("{measure}, {}, {}", self.set(self.sets()[0]), setting.name()),
            x: "points".into(),
            y: format!("mean {measure}"),
            lines: (0..self.config.arms.len()).filter_map(line).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::from_text;
    use super::*;

    #[test]
    fn why_no_claim_was_tested_is_the_true_reason() {
        let verdict = |arms: &str| {
            let text =
                format!("data: [{{name: a, test: x}}, {{name: b, test: y}}]\narms: [{arms}]\n");
            let config = from_text("t", &text, Path::new("/")).expect("no fault");
            let (outcome, tables) = (Outcome::default(), Tables::default());
            Report { config: &config, outcome: &outcome, tables: &tables }.verdict()
        };
        assert!(verdict("{name: s, baseline: spline}").contains("needs one arm"));
        let both =
            "{name: o, prompt: boundary, card: shipped}, {name: r, prompt: region, card: shipped}";
        assert!(verdict(both).contains("not judged on every set"), "{}", verdict(both));
    }

    #[test]
    fn what_arms_have_learned_of_clips_stands_in_the_first_paragraph() {
        let text = "data: [{name: a, test: x}]\narms: [{name: s, baseline: spline}]\n";
        let config = from_text("t", text, Path::new("/")).expect("no fault");
        let outcome = Outcome { clip_notes: vec!["Known.".into()], ..Outcome::default() };
        let tables = Tables::default();
        let report = Report { config: &config, outcome: &outcome, tables: &tables }.markdown();
        assert!(report.split("\n\n").nth(1).is_some_and(|first| first.ends_with(" Known.")));
    }
}
