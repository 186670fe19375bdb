//! The tables of a simulated study as CSV: everything that the report sums up, down to each structure; and those
//! that the report shows as they are.
//!
//! What decides whether this file is right: names may hold anything, and lines end as RFC 4180 says.

use std::fmt::Write;

use super::columns::{self, Column, Field, mean_in_csv, quoted};
use super::config::StudyConfig;
use super::simulate::{Outcome, Setting};
use super::stats::{Interval, Tested};
use super::tables::{Needs, Tables, Versus};
use crate::learn::evaluate::ClickReport;

/// How often an arm is clicked on a set.
struct Clicked {
    setting: &'static str,
    set: String,
    arm: String,
    report: ClickReport,
}

const CLICKED: [Column<Clicked>; 6] = [
    Column { name: "setting", title: None, field: |c| Field::Text(c.setting.to_owned()) },
    Column { name: "set", title: Some("set"), field: |c| Field::Text(c.set.clone()) },
    Column { name: "arm", title: Some("arm"), field: |c| Field::Text(c.arm.clone()) },
    Column { name: "structures", title: None, field: |c| Field::Whole(c.report.objects) },
    Column {
        name: "noc85,never85",
        title: Some("NoC@85"),
        field: |c| Field::Clicks(c.report.noc85, c.report.fail85),
    },
    Column {
        name: "noc90,never90",
        title: Some("NoC@90"),
        field: |c| Field::Clicks(c.report.noc90, c.report.fail90),
    },
];

/// One arm against another.
struct Against {
    setting: &'static str,
    set: String,
    arms: [String; 2],
    points: String,
    difference: Interval,
    tested: Option<Tested>,
}

const AGAINST: [Column<Against>; 6] = [
    Column { name: "setting", title: None, field: |a| Field::Text(a.setting.to_owned()) },
    Column { name: "set", title: None, field: |a| Field::Text(a.set.clone()) },
    Column { name: "first,second", title: Some("arms"), field: |a| Field::Pair(a.arms.clone()) },
    Column { name: "points", title: Some("points"), field: |a| Field::Text(a.points.clone()) },
    Column {
        name: "iou_difference,low,high",
        title: Some("difference [95 %]"),
        field: |a| Field::Mean(a.difference),
    },
    Column {
        name: "images,rank_sum,p",
        title: Some("p"),
        field: |a| Field::Test(a.tested, a.difference.range.is_some()),
    },
];

/// What the tables are made of.
pub(super) struct Sheets<'a> {
    /// The study.
    pub(super) config: &'a StudyConfig,
    /// What was judged.
    pub(super) outcome: &'a Outcome,
    /// What came of it.
    pub(super) tables: &'a Tables,
}

impl Sheets<'_> {
    /// `overlap.csv`.
    pub(super) fn overlap(&self) -> String {
        let mut text =
            String::from("setting,set,arm,points,dice,dice_low,dice_high,iou,iou_low,iou_high\r\n");
        for r in &self.tables.rows {
            let points = r.points.map_or_else(|| "mean".to_owned(), |k| k.to_string());
            let _ = write!(
                text,
                "{},{},{},{points},{},{}\r\n",
                r.setting.name(),
                quoted(&self.plain_set(r.set)),
                quoted(&self.config.arms[r.arm].name),
                mean_in_csv(r.dice),
                mean_in_csv(r.iou)
            );
        }
        text
    }

    fn plain_set(&self, set: Option<usize>) -> String {
        set.map_or_else(|| "all".to_owned(), |set| self.config.data[set].name.clone())
    }

    /// `clicks.csv`.
    pub(super) fn clicks(&self) -> String {
        columns::csv(&CLICKED, &self.clicked(&|_| true))
    }

    /// The same in the report, of one setting.
    pub(super) fn clicks_in_report(&self, setting: Setting) -> String {
        columns::markdown(&CLICKED, &self.clicked(&|needs| needs.setting == setting))
    }

    fn clicked(&self, wanted: &dyn Fn(&Needs) -> bool) -> Vec<Clicked> {
        let row = |n: &Needs| Clicked {
            setting: n.setting.name(),
            set: self.plain_set(Some(n.set)),
            arm: self.config.arms[n.arm].name.clone(),
            report: n.report.clone(),
        };
        self.tables.needs.iter().filter(|needs| wanted(needs)).map(row).collect()
    }

    /// `tests.csv`.
    pub(super) fn tests(&self) -> String {
        columns::csv(&AGAINST, &self.against(&|_| true))
    }

    /// The same in the report, of the wanted tests; `None` when there is none.
    pub(super) fn tests_in_report(&self, wanted: &dyn Fn(&Versus) -> bool) -> Option<String> {
        let rows = self.against(wanted);
        (!rows.is_empty()).then(|| columns::markdown(&AGAINST, &rows))
    }

    fn against(&self, wanted: &dyn Fn(&Versus) -> bool) -> Vec<Against> {
        let row = |v: &Versus| Against {
            setting: v.setting.name(),
            set: self.plain_set(v.set),
            arms: v.arms.map(|arm| self.config.arms[arm].name.clone()),
            points: v.points.map_or_else(|| "mean".to_owned(), |k| k.to_string()),
            difference: v.difference,
            tested: v.tested,
        };
        self.tables.versus.iter().filter(|versus| wanted(versus)).map(row).collect()
    }

    /// `objects.csv`.
    pub(super) fn objects(&self) -> String {
        let mut text = String::from("setting,set,arm,still,structure,points,dice,iou\r\n");
        for x in &self.outcome.cells {
            let setting = x.setting.map_or("any", Setting::name);
            let set = quoted(&self.config.data[x.set].name);
            let arm = quoted(&self.config.arms[x.arm].name);
            for t in &x.traces {
                for (k, (dice, iou)) in (1..).zip(t.dice.iter().zip(&t.iou)) {
                    let (still, object) = (quoted(&t.still), t.object);
                    let _ = write!(
                        text,
                        "{setting},{set},{arm},{still},{object},{k},{dice:.6},{iou:.6}\r\n"
                    );
                }
            }
        }
        text
    }
}
