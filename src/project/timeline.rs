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
    let visits = sessions(root, clip)?.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(in_order(visits))
}

/// The same without the sessions whose journals cannot be read: [`load_read_only`](super::load_read_only) names those.
///
/// # Errors
/// A hash that names no folder, or journals that cannot be listed.
pub fn readable_timeline(root: &Path, clip: &ContentHash) -> Result<Vec<Visit>, ProjectError> {
    Ok(in_order(sessions(root, clip)?.into_iter().filter_map(Result::ok).collect()))
}

fn in_order(mut visits: Vec<Visit>) -> Vec<Visit> {
    visits.sort_by(|a, b| a.times_ms.cmp(&b.times_ms));
    visits
}

/// Each session on a clip, or why it cannot be read.
fn sessions(
    root: &Path,
    clip: &ContentHash,
) -> Result<Vec<Result<Visit, ProjectError>>, ProjectError> {
    let ops = root.join("clips").join(&checked(clip)?.0).join("ops");
    let files = journal_files(&ops).map_err(|cause| ProjectError::io("list", &ops, &cause))?;
    Ok(files.chunk_by(|a, b| a.session == b.session).map(read_session).collect())
}

/// A session from its journal and the continuations of it.
fn read_session(files: &[JournalFile]) -> Result<Visit, ProjectError> {
    let mut lines = Vec::new();
    for file in files {
        let bytes = read_regular(&file.path)
            .map_err(|cause| ProjectError::io("read", &file.path, &cause))?;
        lines.extend(journal::scan("", &bytes, 0).lines);
    }
    // A continuation repeats lines.
    lines.sort_by_key(|line| line.n);
    lines.dedup_by_key(|line| line.n);
    Ok(visit(&files[0].session, &lines))
}

fn visit(session: &str, lines: &[journal::Line]) -> Visit {
    let user = lease::user_of(session).to_owned();
    let mut visit = Visit { user, ..Visit::default() };
    let mut groups = Vec::new();
    let mut end = None;
    for line in lines {
        visit.times_ms.push(line.t);
        end = match &line.record {
            Record::View(view) if view.finished => end.or(Some(visit.times_ms.len())),
            _ => None,
        };
        match &line.record {
            Record::Step(step) if step.mark == Mark::Do && step.edits.iter().any(by_hand) => {
                groups.push(step.group);
            }
            Record::View(view) => visit.keys = visit.keys.max(view.keys),
            _ => {}
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
