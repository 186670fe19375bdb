//! Labels as other programs can take them.
//!
//! Names of files are made of `A-Z a-z 0-9 . _ -`, at most 100 bytes, no two alike.

use std::collections::BTreeSet;

const MAX_BYTES: usize = 100;
/// Room for a number that tells two labels with the same safe name apart.
const NUMBER_BYTES: usize = 8;

/// A label as a name: other characters become `_`, a leading dot or dash too; empty becomes
/// "unnamed".
fn safe(label: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let mut name: String = label.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    if name.starts_with(['.', '-']) {
        name.replace_range(..1, "_");
    }
    name.truncate(MAX_BYTES - NUMBER_BYTES);
    if name.is_empty() { "unnamed".to_owned() } else { name }
}

/// A label without characters that lines of text or XML cannot hold.
pub(super) fn plain(label: &str) -> String {
    let barred = |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    label.chars().map(|c| if barred(c) { '\u{fffd}' } else { c }).collect()
}

/// A label as DICOM's "long string" holds it.
pub(super) fn dicom(label: &str) -> String {
    let short: String = plain(label).replace('\\', "/").trim().chars().take(64).collect();
    if short.trim().is_empty() { "unnamed".to_owned() } else { short.trim().to_owned() }
}

/// A safe name for every label, in order; what collides (upper and lower case count as alike,
/// as on some disks) gets `-2`, `-3`, ...
pub(super) fn safe_names<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut taken = BTreeSet::new();
    labels
        .map(|label| {
            let base = safe(label);
            let mut name = base.clone();
            let mut number = 2;
            while !taken.insert(name.to_ascii_lowercase()) {
                name = format!("{base}-{number}");
                number += 1;
            }
            name
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_labels_become_plain_names() {
        let long = "x".repeat(300);
        let labels =
            ["nerve", "../../etc", "-rf", ".", "", "Nervus médianus", "a/b", "a_b", "A_B", &long];
        let names = safe_names(labels.into_iter());
        assert_eq!(names[..6], ["nerve", "_._.._etc", "_rf", "_", "unnamed", "Nervus_m_dianus"]);
        assert_eq!(names[6..9], ["a_b", "a_b-2", "A_B-3"]);
        assert!(names.iter().all(|n| n.len() <= MAX_BYTES && !n.starts_with(['.', '-'])));
    }

    #[test]
    fn a_number_that_is_itself_a_label_is_stepped_over() {
        let names = safe_names(["a", "a-2", "a"].into_iter());
        assert_eq!(names, ["a", "a-2", "a-3"]);
    }
}
