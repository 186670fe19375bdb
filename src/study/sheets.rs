//! The tables of a simulated study as CSV: everything that the report sums up, down to each structure.
//!
//! What decides whether this file is right: names may hold anything, and lines end as RFC 4180 says.

use std::fmt::Write;

use super::config::StudyConfig;
use super::simulate::{Outcome, Setting};
use super::tables::Tables;

/// A field of a CSV line.
pub(in crate::study) fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

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
            let (d, i) = (r.dice, r.iou);
            let _ = write!(
                text,
                "{},{},{},{points},{:.6},{:.6},{:.6},{:.6},{:.6},{:.6}\r\n",
                r.setting.name(),
                quoted(&self.plain_set(r.set)),
                quoted(&self.config.arms[r.arm].name),
                d.mean,
                d.low,
                d.high,
                i.mean,
                i.low,
                i.high
            );
        }
        text
    }

    fn plain_set(&self, set: Option<usize>) -> String {
        set.map_or_else(|| "all".to_owned(), |set| self.config.data[set].name.clone())
    }

    /// `clicks.csv`.
    pub(super) fn clicks(&self) -> String {
        let mut text = String::from("setting,set,arm,structures,noc85,never85,noc90,never90\r\n");
        for n in &self.tables.needs {
            let r = &n.report;
            let _ = write!(
                text,
                "{},{},{},{},{:.4},{:.4},{:.4},{:.4}\r\n",
                n.setting.name(),
                quoted(&self.plain_set(Some(n.set))),
                quoted(&self.config.arms[n.arm].name),
                r.objects,
                r.noc85,
                r.fail85,
                r.noc90,
                r.fail90
            );
        }
        text
    }

    /// `tests.csv`.
    pub(super) fn tests(&self) -> String {
        let mut text = String::from(
            "setting,set,first,second,points,iou_difference,low,high,images,rank_sum,p\r\n",
        );
        for v in &self.tables.versus {
            let points = v.points.map_or_else(|| "mean".to_owned(), |k| k.to_string());
            let tested = v.tested.map_or_else(
                || "0,,".to_owned(),
                |t| format!("{},{},{:.6e}", t.pairs, t.statistic, t.p),
            );
            let [a, b] = v.arms.map(|arm| quoted(&self.config.arms[arm].name));
            let d = v.difference;
            let _ = write!(
                text,
                "{},{},{a},{b},{points},{:.6},{:.6},{:.6},{tested}\r\n",
                v.setting.name(),
                quoted(&self.plain_set(v.set)),
                d.mean,
                d.low,
                d.high
            );
        }
        text
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
