//! The figures of a simulated study: means with intervals, clicks to a goal, arms against each other.
//!
//! What decides whether this file is right: arms are compared structure by structure on the same structures; an image
//! is one piece of evidence however many structures it holds; sets weigh the same in their mean.

use super::config::StudyConfig;
use super::simulate::{Cell, Outcome, Setting};
use super::stats::{Interval, Tested, bootstrap, compared, mean};
use crate::learn::evaluate::{ClickReport, ObjectTrace, Score};

/// Overlap of one arm.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What networks knew.
    pub setting: Setting,
    /// Which set of the study; `None` for the mean of all.
    pub set: Option<usize>,
    /// Which arm.
    pub arm: usize,
    /// Points given; `None` for the mean over 1 to the most.
    pub points: Option<usize>,
    /// Images that it rests on, those of all sets together.
    pub images: usize,
    /// Dice.
    pub dice: Interval,
    /// IoU.
    pub iou: Interval,
}

/// Points that an arm needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Needs {
    /// What networks knew.
    pub setting: Setting,
    /// Which set of the study.
    pub set: usize,
    /// Which arm.
    pub arm: usize,
    /// Mean clicks to an IoU of .85 and .90, and the shares that never get there.
    pub report: ClickReport,
}

/// One arm against another.
#[derive(Debug, Clone, PartialEq)]
pub struct Versus {
    /// What networks knew.
    pub setting: Setting,
    /// Which set of the study; `None` for all together.
    pub set: Option<usize>,
    /// The two arms.
    pub arms: [usize; 2],
    /// Points given; `None` for the mean over 1 to the most.
    pub points: Option<usize>,
    /// Images that it rests on, those of all sets together.
    pub images: usize,
    /// IoU of the first minus IoU of the second.
    pub difference: Interval,
    /// Wilcoxon's test of the means of the images, those of all sets together where `set` is `None`; `None` when no image
    /// differs.
    pub tested: Option<Tested>,
}

/// Everything that is printed and drawn.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tables {
    /// Settings in which there is anything.
    pub settings: Vec<Setting>,
    /// Overlaps.
    pub rows: Vec<Row>,
    /// Clicks to a goal.
    pub needs: Vec<Needs>,
    /// Comparisons.
    pub versus: Vec<Versus>,
}

/// The value of a structure that a table is about.
type Value<'a> = &'a dyn Fn(&ObjectTrace) -> f64;

impl Tables {
    /// All tables of `outcome`.
    #[must_use]
    pub fn of(config: &StudyConfig, outcome: &Outcome) -> Self {
        let counts = |s: &Setting| outcome.cells.iter().any(|c| c.setting == Some(*s));
        let mut settings: Vec<Setting> = Setting::ALL.into_iter().filter(counts).collect();
        if settings.is_empty() {
            settings.push(Setting::Supervised);
        }
        let mut tables = Self { settings: settings.clone(), ..Self::default() };
        for setting in settings {
            Maker { config, outcome, setting, tables: &mut tables }.fill();
        }
        tables
    }

    /// The row of an arm, if it was judged.
    #[must_use]
    pub fn row(
        &self,
        setting: Setting,
        set: Option<usize>,
        arm: usize,
        points: Option<usize>,
    ) -> Option<&Row> {
        let at = (setting, set, arm, points);
        self.rows.iter().find(|r| (r.setting, r.set, r.arm, r.points) == at)
    }
}

struct Maker<'a> {
    config: &'a StudyConfig,
    outcome: &'a Outcome,
    setting: Setting,
    tables: &'a mut Tables,
}

impl Maker<'_> {
    /// The cells of an arm in this setting: those of one set, or of all sets that any network was judged on.
    fn cells(&self, arm: usize, set: Option<usize>) -> Option<Vec<&Cell>> {
        let here = |c: &&Cell| c.setting.is_none_or(|s| s == self.setting);
        let cell =
            |set| self.outcome.cells.iter().filter(here).find(|c| c.arm == arm && c.set == set);
        match set {
            Some(set) => cell(set).map(|c| vec![c]),
            None => (0..self.config.data.len()).map(cell).collect(),
        }
    }

    fn fill(&mut self) {
        let sets: Vec<Option<usize>> = match self.config.data.len() {
            1 => vec![Some(0)],
            n => (0..n).map(Some).chain([None]).collect(),
        };
        let points: Vec<Option<usize>> = (1..=self.config.points).map(Some).chain([None]).collect();
        for set in sets {
            for arm in 0..self.config.arms.len() {
                let Some(cells) = self.cells(arm, set) else { continue };
                let rows: Vec<Row> =
                    points.iter().map(|k| self.row(&cells, set, arm, *k)).collect();
                if let (Some(set), [cell]) = (set, &cells[..]) {
                    let report = ClickReport::of(&cell.traces, self.config.points);
                    let setting = self.setting;
                    self.tables.needs.push(Needs { setting, set, arm, report });
                }
                self.tables.rows.extend(rows);
            }
            for second in 0..self.config.arms.len() {
                for first in 0..second {
                    let arms = self.ordered([first, second]);
                    for k in &points {
                        let versus = self.versus(arms, set, *k);
                        self.tables.versus.extend(versus);
                    }
                }
            }
        }
    }

    /// The arms that the paper compares stand in its order.
    fn ordered(&self, arms: [usize; 2]) -> [usize; 2] {
        let [first, second] = arms;
        if self.config.compare == Some([second, first]) { [second, first] } else { arms }
    }

    fn score(&self, trace: &ObjectTrace, points: Option<usize>) -> Score {
        let Some(points) = points else {
            let all: Vec<Score> = (1..=self.config.points).map(|k| trace.after(k)).collect();
            let of = |value: fn(&Score) -> f64| mean(&all.iter().map(value).collect::<Vec<_>>());
            return Score { dice: of(|s| s.dice), iou: of(|s| s.iou) };
        };
        trace.after(points)
    }

    fn interval(&self, cells: &[&Cell], value: Value<'_>) -> Interval {
        let sets: Vec<Vec<Vec<f64>>> = cells.iter().map(|c| by_image(&c.traces, value)).collect();
        bootstrap(&sets, self.config.bootstrap, self.config.seed)
    }

    fn row(&self, cells: &[&Cell], set: Option<usize>, arm: usize, points: Option<usize>) -> Row {
        Row {
            setting: self.setting,
            set,
            arm,
            points,
            images: images_of(cells),
            dice: self.interval(cells, &|t| self.score(t, points).dice),
            iou: self.interval(cells, &|t| self.score(t, points).iou),
        }
    }

    fn versus(
        &self,
        arms: [usize; 2],
        set: Option<usize>,
        points: Option<usize>,
    ) -> Option<Versus> {
        let [first, second] = [self.cells(arms[0], set)?, self.cells(arms[1], set)?];
        let iou = |t: &ObjectTrace| self.score(t, points).iou;
        let images = |cells: &[&Cell]| -> Vec<Vec<Vec<f64>>> {
            cells.iter().map(|c| by_image(&c.traces, &iou)).collect()
        };
        let (rounds, seed) = (self.config.bootstrap, self.config.seed);
        let (difference, tested) = compared(&images(&first), &images(&second), rounds, seed);
        Some(Versus {
            setting: self.setting,
            set,
            arms,
            points,
            images: images_of(&first),
            difference,
            tested,
        })
    }
}

/// How many images were judged.
fn images_of(cells: &[&Cell]) -> usize {
    cells.iter().map(|c| by_image(&c.traces, &|_| 0.0).len()).sum()
}

/// The values of the structures, image by image; the frames of a clip or volume are alike and count as one.
fn by_image(traces: &[ObjectTrace], value: Value<'_>) -> Vec<Vec<f64>> {
    traces
        .chunk_by(|p, q| p.image() == q.image())
        .map(|all| all.iter().map(value).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::config::from_text;
    use super::*;
    use std::path::Path;

    fn trace(still: &str, iou: &[f64]) -> ObjectTrace {
        ObjectTrace { still: still.into(), object: 0, dice: iou.to_vec(), iou: iou.to_vec() }
    }

    #[test]
    fn frames_of_a_clip_are_one_image() {
        let names = ["a, frame 3", "a, frame 11", "b, frame x", "b", "c, frame 3"];
        let traces: Vec<ObjectTrace> = names.iter().map(|still| trace(still, &[0.5])).collect();
        let sizes: Vec<usize> = by_image(&traces, &|t| t.iou[0]).iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 1, 1, 1]);
    }

    #[test]
    fn arms_are_compared_image_by_image_and_sets_weigh_the_same() {
        let text = "data: [{name: a, test: x}, {name: b, test: y}]\npoints: 2\nbootstrap: 50\narms:\n  - {name: s, baseline: \
                    spline}\n  - {name: r, prompt: region, card: shipped}\n  - {name: o, prompt: boundary, card: shipped}\n";
        let config = from_text("t", text, Path::new("/")).expect("no fault");
        let cell = |arm, set, traces| Cell {
            arm,
            setting: (arm > 0).then_some(Setting::Supervised),
            set,
            network: String::new(),
            traces,
        };
        let both = |arm, up: f64| {
            let a = vec![trace("1", &[up, up + 0.2]), trace("1", &[up, up]), trace("2", &[up])];
            [cell(arm, 0, a), cell(arm, 1, vec![trace("1", &[0.0, up])])]
        };
        let cells = [both(0, 0.5), both(1, 0.4), both(2, 0.6)].concat();
        let tables = Tables::of(&config, &Outcome { cells, ..Outcome::default() });
        assert_eq!(tables.settings, [Setting::Supervised]);
        let iou = |set, arm, points| {
            tables.row(Setting::Supervised, set, arm, points).expect("a row").iou.mean
        };
        // Two points: (.8 + .6 + .6) / 3 and .6; then the mean of the sets.
        assert!((iou(Some(0), 2, Some(2)) - 2.0 / 3.0).abs() < 1e-12);
        assert!((iou(None, 2, Some(2)) - (2.0 / 3.0 + 0.6) / 2.0).abs() < 1e-12);
        let versus = tables
            .versus
            .iter()
            .find(|v| v.set.is_none() && v.arms == [2, 1] && v.points == Some(2))
            .expect("the paper's order");
        assert!((versus.difference.mean - 0.2).abs() < 1e-12);
        // Three images, all in favour: 2 of 8 assignments of signs.
        assert_eq!(versus.tested.map(|t| (t.pairs, t.p)), Some((3, 0.25)));
        let needs = &tables.needs.iter().find(|n| n.arm == 2 && n.set == 0).expect("needs").report;
        assert_eq!((needs.noc85, needs.fail85), (20.0, 1.0));
    }
}
