//! Tables of a study: a column is defined once, for the report in Markdown and for the CSV.
//!
//! What decides whether this file is right: names may hold anything, lines of CSV end as RFC 4180 says, and every
//! figure of the report is in the CSV, there with more digits.

use super::report::{cell, p_value, with_interval};
use super::stats::{Interval, Tested};

/// What a column holds of a row.
pub(super) enum Field {
    /// A name, which may hold anything.
    Text(String),
    /// Two names: two columns of the CSV, "one - other" in the report.
    Pair([String; 2]),
    /// A number of things.
    Whole(usize),
    /// A number where there is one, with so many digits in the report and in the CSV.
    Real(Option<f64>, usize, usize),
    /// Mean clicks to a goal, and the share that never gets there: two columns of the CSV.
    Clicks(f64, f64),
    /// A mean and its interval, which may be missing: three columns of the CSV.
    Mean(Interval),
    /// A test and whether there were images enough for one: number of images, rank sum and p in the CSV, p alone in the
    /// report.
    Test(Option<Tested>, bool),
}

/// What is read from a row.
type Read<T> = fn(&T) -> Field;

/// A column of a table of `T`.
pub(super) struct Column<T> {
    /// Name in the CSV; several where the field is several columns there.
    pub(super) name: &'static str,
    /// Head in the report; `None` when it stands in the CSV alone.
    pub(super) title: Option<&'static str>,
    /// What it holds.
    pub(super) field: Read<T>,
}

/// The table as CSV.
pub(super) fn csv<'a, T: 'a>(
    columns: &[Column<T>],
    rows: impl IntoIterator<Item = &'a T>,
) -> String {
    let line = |cells: Vec<String>| cells.join(",") + "\r\n";
    let head = line(columns.iter().map(|column| column.name.to_owned()).collect());
    let row = |row| line(columns.iter().map(|column| (column.field)(row).in_csv()).collect());
    rows.into_iter().fold(head, |text, each| text + &row(each))
}

/// The table as Markdown, of the columns that stand in the report.
pub(super) fn markdown<'a, T: 'a>(
    columns: &[Column<T>],
    rows: impl IntoIterator<Item = &'a T>,
) -> String {
    let told: Vec<(&str, Read<T>)> =
        columns.iter().filter_map(|column| Some((column.title?, column.field))).collect();
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let head = line(told.iter().map(|(title, _)| (*title).to_owned()).collect());
    let head = format!("{head}|{}\n", "---|".repeat(told.len()));
    let row = |row| line(told.iter().map(|(_, field)| field(row).in_report()).collect());
    rows.into_iter().fold(head, |text, each| text + &row(each))
}

impl Field {
    fn in_csv(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Pair([a, b]) => format!("{},{}", quoted(a), quoted(b)),
            Self::Whole(n) => n.to_string(),
            Self::Real(value, _, digits) => {
                value.map_or_else(String::new, |v| format!("{v:.digits$}"))
            }
            Self::Clicks(clicks, never) => format!("{clicks:.4},{never:.4}"),
            Self::Mean(i) => mean_in_csv(*i),
            Self::Test(tested, _) => tested.map_or_else(
                || "0,,".to_owned(),
                |t| format!("{},{},{:.6e}", t.pairs, t.statistic, t.p),
            ),
        }
    }

    fn in_report(&self) -> String {
        match self {
            Self::Text(text) => cell(text),
            Self::Pair([a, b]) => format!("{} - {}", cell(a), cell(b)),
            Self::Whole(n) => n.to_string(),
            Self::Real(value, digits, _) => {
                value.map_or_else(|| "-".to_owned(), |v| format!("{v:.digits$}"))
            }
            Self::Clicks(clicks, never) => format!("{clicks:.2} ({:.0} %)", 100.0 * never),
            Self::Mean(interval) => with_interval(*interval, "image"),
            Self::Test(Some(tested), _) => p_value(tested.p),
            Self::Test(None, true) => "no difference".to_owned(),
            Self::Test(None, false) => "no test".to_owned(),
        }
    }
}

/// A mean and the ends of its interval, which stay empty where there is none.
pub(super) fn mean_in_csv(i: Interval) -> String {
    match i.range {
        Some([low, high]) => format!("{:.6},{low:.6},{high:.6}", i.mean),
        None => format!("{:.6},,", i.mean),
    }
}

/// A field of a CSV line.
pub(in crate::study) fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_one_of_the_report_and_of_the_csv() {
        let columns: [Column<(f64, &str)>; 3] = [
            Column { name: "name", title: Some("who"), field: |row| Field::Text(row.1.to_owned()) },
            Column { name: "kept", title: None, field: |_| Field::Whole(7) },
            Column {
                name: "seconds",
                title: Some("time (s)"),
                field: |row| Field::Real((row.0 > 0.0).then_some(row.0), 1, 3),
            },
        ];
        let rows = [(1.25, "a|b"), (0.0, "c,\"d\"")];
        assert_eq!(
            csv(&columns, &rows),
            "name,kept,seconds\r\na|b,7,1.250\r\n\"c,\"\"d\"\"\",7,\r\n"
        );
        assert_eq!(
            markdown(&columns, &rows),
            "| who | time (s) |\n|---|---|\n| a\\|b | 1.2 |\n| c,\"d\" | - |\n"
        );
    }
}
