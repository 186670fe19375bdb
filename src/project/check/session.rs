//! The journals of one session, checked: what of them is damaged, missing or not where it was written.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{Checked, Finding, Gravity, stranger, unreadable, writable_by_all};
use crate::domain::{TrackId, counted, shown};
use crate::project::chain::{self, Gap};
use crate::project::journal::{self, Fault, FaultKind, Line};
use crate::project::lease::{self, Alive, moment};
use crate::project::lost::Remains;
use crate::project::{JournalFile, read_regular};

/// A place that could not be read.
#[derive(Debug)]
struct Hurt {
    /// Its file.
    path: PathBuf,
    fault: Fault,
    /// What is left of it.
    left: Remains,
    /// Whether no line stands behind it in the file.
    last: bool,
}

/// What was read of the journals of a session.
#[derive(Debug)]
pub(super) struct Session {
    name: String,
    /// Its first file.
    path: PathBuf,
    /// Readable ones in order, each once.
    pub(super) lines: Vec<Line>,
    /// What could not be read.
    hurt: Vec<Hurt>,
    /// Whether every file of it was read.
    pub(super) whole: bool,
}

impl Session {
    /// Reads its files.
    pub(super) fn read(files: &[JournalFile], alive: &[Alive], checked: &mut Checked) -> Self {
        let (name, path) = (files[0].session.clone(), files[0].path.clone());
        let lives = alive.iter().any(|each| each.session == name);
        let mut session = Self { name, path, lines: Vec::new(), hurt: Vec::new(), whole: true };
        for file in files {
            let path = &file.path;
            checked.findings.extend(writable_by_all(path));
            let bytes = match read_regular(path) {
                Ok(bytes) => bytes,
                Err(_) if fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file()) => {
                    checked.findings.push(stranger(path));
                    continue;
                }
                Err(cause) => {
                    session.whole = false;
                    checked.findings.push(unreadable(path, &cause));
                    continue;
                }
            };
            let mut scan = journal::scan("", &bytes, 0);
            if !session.is_named() {
                if scan.lines.is_empty() {
                    checked.findings.push(stranger(path));
                    continue;
                }
                let what = "it is not named as a journal of this program; its lines count";
                let todo = "remove it where it is a copy of another one; else leave it";
                checked.findings.push(Finding::new(Gravity::Warning, path, what).todo(todo));
            }
            // A session that is alive may be in the middle of a line, and what is missing of it on its way.
            let unfinished = |fault: &Fault| fault.kind == FaultKind::Torn || scan.hole.is_some();
            scan.faults.retain(|fault| !(lives && unfinished(fault)));
            checked.journals += 1;
            checked.lines += scan.lines.len();
            if !scan.lines.is_sorted_by(|a, b| a.n < b.n) {
                let what = "its lines do not stand in the order in which they were written; another \
                            program wrote the file, all of them are loaded";
                checked.findings.push(Finding::new(Gravity::Damage, path, what).todo(CHANGED));
            }
            for fault in scan.faults {
                let left = Remains::of(&bytes[fault.bytes.clone()]);
                let last = fault.row >= scan.rows;
                session.hurt.push(Hurt { path: path.clone(), fault, left, last });
            }
            session.lines.extend(scan.lines);
        }
        chain::put_in_order(&mut session.lines);
        session
    }

    /// Whether it is named as this program names sessions.
    fn is_named(&self) -> bool {
        lease::opened_ms(&self.name).is_some() && lease::seed_of(&self.name).is_some()
    }

    /// Finds what is wrong with its lines; how many are lost at most.
    pub(super) fn judge(
        &self,
        ops: &Path,
        labels: &BTreeMap<TrackId, String>,
        found: &mut Vec<Finding>,
    ) -> u64 {
        let mut gone = Vec::new();
        for hurt in &self.hurt {
            let finding = self.judge_hurt(hurt, labels, ops);
            if finding.gravity == Gravity::Damage && hurt.fault.kind == FaultKind::Damaged {
                gone.push(hurt);
            }
            found.push(finding);
        }
        let mut lost = gone.len() as u64;
        let gaps = chain::gaps(&self.name, &self.lines);
        let missing = |gap: &Gap| match gap {
            Gap::Missing(which) => Some(which.clone()),
            Gap::Changed(_) | Gap::Twice(_) => None,
        };
        let inside = |hurt: &Hurt, which: &Range<u64>| {
            hurt.left.position().is_some_and(|n| which.contains(&n))
        };
        let is_placed =
            |hurt: &Hurt| gaps.iter().filter_map(missing).any(|which| inside(hurt, &which));
        // Damaged lines whose number cannot be read, or is what is damaged, are some of those that are missing, but for the
        // last one of a file.
        let somewhere = |hurt: &&&Hurt| !hurt.last && !is_placed(hurt);
        let mut unplaced = gone.iter().filter(somewhere).count() as u64;
        for gap in &gaps {
            let Some(which) = missing(gap) else {
                found.extend(self.judge_change(gap));
                continue;
            };
            let here = gone.iter().filter(|hurt| inside(hurt, &which)).count() as u64;
            let left = (which.end - which.start).saturating_sub(here);
            lost = lost.saturating_add(left);
            let placed = unplaced.min(left);
            unplaced -= placed;
            if left > placed {
                found.push(self.judge_missing(&which, left - placed, ops));
            }
        }
        lost
    }

    fn judge_hurt(&self, hurt: &Hurt, labels: &BTreeMap<TrackId, String>, ops: &Path) -> Finding {
        let Hurt { path, fault, left, .. } = hurt;
        let found = match fault.kind {
            FaultKind::Unknown => Finding::new(Gravity::Warning, path, &fault.what)
                .todo("update sonomark to have it loaded"),
            FaultKind::Between => {
                Finding::new(Gravity::Damage, path, &fault.what).todo(LOOK_AT_DISK)
            }
            _ if left.is_among(&self.lines) => {
                let what = "damaged or cut off; the same line stands whole in another file of this \
                            session, nothing is lost";
                Finding::new(Gravity::Harmless, path, what)
            }
            FaultKind::Torn => {
                Finding::new(Gravity::Harmless, path, &fault.what).lost(left.told(labels))
            }
            FaultKind::Damaged => Finding::new(Gravity::Damage, path, &fault.what)
                .lost(left.told(labels))
                .todo(look_for_copy(ops, &self.name)),
        };
        Finding { line: Some(fault.row), bytes: Some(fault.bytes.clone()), ..found }
    }

    /// Lines that were exchanged or stand twice.
    fn judge_change(&self, gap: &Gap) -> Option<Finding> {
        // A file under another name begins with a line that names the right one.
        if *gap == Gap::Changed(0) && !self.is_named() {
            return None;
        }
        let what = gap.what()?;
        Some(Finding::new(Gravity::Damage, &self.path, what).todo(CHANGED))
    }

    /// `count` of the lines in `which` are gone without a trace.
    fn judge_missing(&self, which: &Range<u64>, count: u64, ops: &Path) -> Finding {
        let what = format!("{} missing from it; the others are loaded", counted(count, "line"));
        let behind = self.lines.partition_point(|line| line.n < which.start);
        let (before, after) =
            (behind.checked_sub(1).and_then(|at| self.lines.get(at)), self.lines.get(behind));
        let user = match lease::user_of(&self.name) {
            "" => "somebody".to_owned(),
            user => shown(user),
        };
        let when = match (before, after) {
            (Some(before), Some(after)) => {
                format!("between {} and {}", moment(before.t), moment(after.t))
            }
            (None, Some(after)) => format!("until {}", moment(after.t)),
            _ => "at an unknown time".to_owned(),
        };
        Finding::new(Gravity::Damage, &self.path, what)
            .lost(format!("what {user} did {when}"))
            .todo(look_for_copy(ops, &self.name))
    }
}

const LOOK_AT_DISK: &str = "nothing is lost; a disk on which bytes change should be looked at";
const CHANGED: &str = "compare it with a backup: no version of this program writes that";

/// What to do where lines of a session are lost. What is found comes beside what is there: a file of such a name is read
/// as one of the same session.
fn look_for_copy(ops: &Path, session: &str) -> String {
    let free = |k: &u32| !ops.join(format!("{session}.r{k}.jsonl")).exists();
    let k = (0..10_000).find(free).unwrap_or(10_000);
    format!(
        "look for an older copy of this journal (a backup, a snapshot of the disk, a copy of the project) and put it \
         beside it as {}: what is whole in it counts from then on, and nothing is replaced; without one, do it again",
        shown(&format!("{session}.r{k}.jsonl"))
    )
}
