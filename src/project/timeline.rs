//! When the journals of a clip were written: how long people worked on it and how much they did.
//!
//! What decides whether this file is right: the clock is the annotator's, so only differences within one session count;
//! a session begins when the clip was opened, which its name says, not with its first step.

use std::path::Path;

use super::journal::{self, Record};
use super::lease;
use super::{JournalFile, ProjectError, checked, journal_files, read_regular};
use crate::domain::{ContentHash, Edit, Mark, MaskSource};

/// One session on a clip.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Visit {
    /// Account of the annotator, as session names write it.
    pub user: String,
    /// Times of opening and of every line, in order, ms since 1970 by the annotator's clock; until the clip was called
    /// finished, where it was and nothing was changed after.
    pub times_ms: Vec<u64>,
    /// Groups of edits in which a person placed, moved or removed something, undone ones too.
    pub steps: usize,
    /// Keys pressed; 0 where the session does not tell.
    pub keys: u64,
    /// Whether the clip was called finished and not changed after.
    pub finished: bool,
}

impl Visit {
    /// Time spent, s. A gap longer than `pause_s` counts as `pause_s`: nobody was there.
    #[must_use]
    pub fn seconds(&self, pause_s: f64) -> f64 {
        let gap = |w: &[u64]| (w[1].saturating_sub(w[0]) as f64 / 1000.0).min(pause_s);
        self.times_ms.windows(2).map(gap).sum()
    }
}

/// The sessions on a clip in order of opening.
///
/// # Errors
/// A hash that names no folder, or journals that cannot be read. Damaged lines are left out.
pub fn timeline(root: &Path, clip: &ContentHash) -> Result<Vec<Visit>, ProjectError> {
    let ops = root.join("clips").join(&checked(clip)?.0).join("ops");
    let files = journal_files(&ops).map_err(|cause| ProjectError::io("list", &ops, &cause))?;
    let visits = files.chunk_by(|a, b| a.session == b.session).map(read_session);
    Ok(in_order(visits.collect::<Result<Vec<_>, _>>()?))
}

/// In order of opening.
pub(super) fn in_order(mut visits: Vec<Visit>) -> Vec<Visit> {
    visits.sort_by(|a, b| a.times_ms.cmp(&b.times_ms));
    visits
}

/// A session from its journal and the continuations of it.
fn read_session(files: &[JournalFile]) -> Result<Visit, ProjectError> {
    let mut moments = Vec::new();
    for file in files {
        let bytes = read_regular(&file.path)
            .map_err(|cause| ProjectError::io("read", &file.path, &cause))?;
        moments.extend(journal::scan("", &bytes, 0).lines.iter().map(Moment::of));
    }
    Ok(visit(&files[0].session, moments))
}

/// What a line tells of the time that was spent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    n: u64,
    t: u64,
    deed: Deed,
}

/// What was done then.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// A step of this group, by hand.
    ByHand(u64),
    /// Anything else.
    Other,
    /// Somebody looked.
    View { finished: bool, keys: u64 },
}

impl Moment {
    /// That of a line.
    pub(super) fn of(line: &journal::Line) -> Self {
        let deed = match &line.record {
            Record::Step(step) if step.mark == Mark::Do && step.edits.iter().any(by_hand) => {
                Deed::ByHand(step.group)
            }
            Record::View(view) => Deed::View { finished: view.finished, keys: view.keys },
            Record::Step(_) | Record::Unknown => Deed::Other,
        };
        Self { n: line.n, t: line.t, deed }
    }
}

/// The session of that name from what its lines tell, in the order of its files.
pub(super) fn visit(session: &str, mut moments: Vec<Moment>) -> Visit {
    // A continuation repeats lines.
    moments.sort_by_key(|moment| moment.n);
    moments.dedup_by_key(|moment| moment.n);
    let user = lease::user_of(session).to_owned();
    let mut visit = Visit { user, ..Visit::default() };
    let mut groups = Vec::new();
    let mut end = None;
    for Moment { t, deed, .. } in moments {
        visit.times_ms.push(t);
        end = match deed {
            Deed::View { finished: true, .. } => end.or(Some(visit.times_ms.len())),
            _ => None,
        };
        match deed {
            Deed::ByHand(group) => groups.push(group),
            Deed::View { keys, .. } => visit.keys = visit.keys.max(keys),
            Deed::Other => {}
        }
    }
    visit.finished = end.is_some();
    visit.times_ms.truncate(end.unwrap_or(usize::MAX));
    groups.sort_unstable();
    groups.dedup();
    visit.steps = groups.len();
    // The name has whole seconds; a clock that was set back must not make time.
    let opened =
        lease::opened_ms(session).filter(|t| visit.times_ms.first().is_some_and(|f| t <= f));
    visit.times_ms.splice(..0, opened);
    visit
}

/// Whether a person did it: masks that were carried through the clip are the network's work, and what a structure is called
/// is none.
fn by_hand(edit: &Edit) -> bool {
    match edit {
        Edit::SetMask { after: Some(held), .. } => held.source != MaskSource::Tracked,
        Edit::AddTrack { .. } | Edit::SetTrackInfo { .. } => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_cut_and_clocks_that_go_back_add_nothing() {
        let visit = |times_ms: &[u64]| Visit { times_ms: times_ms.to_vec(), ..Visit::default() };
        assert_eq!(visit(&[1000, 3500, 4000]).seconds(60.0), 3.0);
        assert_eq!(visit(&[0, 2000, 900_000]).seconds(60.0), 62.0);
        assert_eq!(visit(&[5000, 1000, 2000]).seconds(60.0), 1.0);
        assert_eq!(visit(&[]).seconds(60.0), 0.0);
    }
}
