//! The history of a clip out of its journals: who did what and when, in the order that decides.
//!
//! What decides whether this file is right: each step of every journal that can be read is there once, whether it took
//! effect or not, and it is called what its annotator saw it called.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use super::ProjectError;
use super::lease;
use super::merge::{Entry, Merged};
use super::onlooker::{ClipFiles, Onlooker};
use super::reader::Known;
use super::store::limited;
use crate::domain::{ContentHash, Edit, FrameIndex, Mark, TrackId, deed};

/// One step of the history of a clip.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedStep {
    /// Number of the change, its Lamport time: what two people did at the same time may have the same.
    pub number: u64,
    /// When, ms since 1970 by the annotator's clock.
    pub time_ms: u64,
    /// Account of the annotator, as session names write it.
    pub user: String,
    /// Their machine, as session names write it.
    pub host: String,
    /// The session, as its journal is named.
    pub session: String,
    /// Line of the session, from 0.
    pub line: u64,
    /// New, taken back or done again.
    pub mark: Mark,
    /// Structures that it changes, each with the label that it had then; none where it says something of the clip.
    pub structures: BTreeMap<TrackId, String>,
    /// Frames that it changes, from 0.
    pub frames: BTreeSet<FrameIndex>,
    /// What it is about, in the words of the screen; `None` where it changes nothing.
    pub deed: Option<String>,
    /// What became of it.
    pub standing: Standing,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It counts, unless something newer changed the same.
    Stands,
    /// Its annotator took it back later.
    TakenBack,
    /// It changed nothing: others had already changed what it is about.
    WithoutEffect,
}

/// The history of a clip.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Logged {
    /// Oldest first.
    pub steps: Vec<LoggedStep>,
    /// The label that each structure, also one that is gone, had last.
    pub labels: BTreeMap<TrackId, String>,
    /// What could not be read, ready to show.
    pub notes: Vec<String>,
}

impl Logged {
    /// Structures that have the label, or had it once.
    #[must_use]
    pub fn called(&self, label: &str) -> BTreeSet<TrackId> {
        let then = self.steps.iter().flat_map(|step| &step.structures);
        let named = then.chain(&self.labels).filter(|(_, held)| *held == label);
        named.map(|(track, _)| *track).collect()
    }
}

/// Reads the history of a clip. Writes nothing.
///
/// # Errors
/// When there is no such clip, or its journals cannot be listed. What is damaged is left out and told by the notes.
pub fn log(root: &Path, clip: &ContentHash) -> Result<Logged, ProjectError> {
    let ClipFiles { ops, rescue, alive } = Onlooker::new(root).files(clip)?;
    let mut known = Known::default();
    let entries = known.read_all(&ops, &rescue, &alive)?;
    let mut told = Telling::default();
    Merged::replay(entries, None, |entry, effect| told.take(entry, effect));
    told.logged.notes = limited(known.take_notes());
    Ok(told.logged)
}

/// A history that is being told.
#[derive(Debug, Default)]
struct Telling {
    logged: Logged,
    /// By account and group of steps: which of them count, and those that were taken back, newest last.
    groups: HashMap<(String, u64), Group>,
}

#[derive(Debug, Default)]
struct Group {
    done: Vec<usize>,
    undone: Vec<Vec<usize>>,
}

impl Telling {
    /// Takes in the next step in the order that decides, of which `effect` took effect.
    fn take(&mut self, entry: &Entry, effect: &[Edit]) {
        let Entry { lam, session, n, t, step } = entry;
        let structures = self.named(&step.edits);
        let takes_effect = !effect.is_empty();
        self.logged.steps.push(LoggedStep {
            number: *lam,
            time_ms: *t,
            user: lease::user_of(session).to_owned(),
            host: lease::host_of(session).to_owned(),
            session: session.to_string(),
            line: *n,
            mark: step.mark,
            structures,
            frames: frames_of(&step.edits),
            deed: deed(&step.edits, step.mark == Mark::Undo),
            standing: if takes_effect { Standing::Stands } else { Standing::WithoutEffect },
        });
        self.note(entry, takes_effect);
        for edit in effect {
            if let Edit::SetTrackInfo { track, after, .. } = edit {
                self.logged.labels.insert(*track, after.label.clone());
            }
        }
    }

    /// What the structures that `edits` are about are called until then.
    fn named(&mut self, edits: &[Edit]) -> BTreeMap<TrackId, String> {
        let mut named = BTreeMap::new();
        for edit in edits {
            let Some(track) = edit.track() else { continue };
            let said = match edit {
                Edit::AddTrack { content, .. } | Edit::RemoveTrack { content, .. } => {
                    Some(&content.info.label)
                }
                Edit::SetTrackInfo { before, .. } => Some(&before.label),
                _ => None,
            };
            let label = match (self.logged.labels.get(&track), said) {
                (Some(known), _) => known.clone(),
                (None, Some(said)) => {
                    self.logged.labels.insert(track, said.clone());
                    said.clone()
                }
                // The step that began it is lost.
                (None, None) => String::new(),
            };
            named.insert(track, label);
        }
        named
    }

    /// Follows what is taken back and done again, as [`History`](crate::domain::History) does.
    fn note(&mut self, entry: &Entry, takes_effect: bool) {
        let own = self.logged.steps.len() - 1;
        let user = lease::user_of(&entry.session).to_owned();
        let group = self.groups.entry((user, entry.step.group)).or_default();
        let changed = match entry.step.mark {
            Mark::Do => {
                group.done.push(own);
                return;
            }
            Mark::Undo => {
                let done = std::mem::take(&mut group.done);
                group.undone.push(done.clone());
                (done, Standing::Stands, Standing::TakenBack)
            }
            Mark::Redo => {
                let again = group.undone.pop().unwrap_or_default();
                group.done.extend(again.iter().copied().chain([own]));
                (again, Standing::TakenBack, Standing::Stands)
            }
        };
        let (steps, from, to) = changed;
        for at in steps {
            let standing = &mut self.logged.steps[at].standing;
            if takes_effect && *standing == from {
                *standing = to;
            }
        }
    }
}

/// The frames that edits change. A structure that comes or goes does so with all that it holds.
pub(super) fn frames_of(edits: &[Edit]) -> BTreeSet<FrameIndex> {
    let mut frames = BTreeSet::new();
    for edit in edits {
        match edit {
            Edit::AddTrack { content, .. } | Edit::RemoveTrack { content, .. } => {
                frames.extend(content.prompts.keys().chain(content.masks.keys()));
            }
            Edit::AddPrompt { frame, .. }
            | Edit::RemovePrompt { frame, .. }
            | Edit::MovePrompt { frame, .. }
            | Edit::SetMask { frame, .. }
            | Edit::SetAttribute { frame: Some(frame), .. }
            | Edit::SetFlag { frame, .. } => {
                frames.insert(*frame);
            }
            Edit::SetTrackInfo { .. }
            | Edit::SetWindows { .. }
            | Edit::SetAttribute { frame: None, .. }
            | Edit::SetPlace { .. } => {}
        }
    }
    frames
}
