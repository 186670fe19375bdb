//! Reads the journals of a clip: all of them when it is opened, the new lines while it is open.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chain::{self, Gap};
use super::journal::{self, Fault, Record, Scan};
use super::lease::{self, Alive};
use super::merge::{Authors, Conflict, Entry, Merged};
use super::prepare::nearly_full;
use super::store::Loaded;
use super::timeline::{self, Moment};
use super::{
    JournalFile, ProjectError, View, Visit, journal_files, named, open_regular, read_regular,
};
use crate::domain::{Edit, History, Step, counted, shown};

/// Looks at a hole in a journal before it counts as damage; there is one about every second.
const LOOKS: u32 = 10;

/// What was read from the journals so far.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Bytes and lines read of each file.
    files: HashMap<PathBuf, (u64, usize)>,
    /// Where a file has a hole, and how often that was seen.
    holes: HashMap<PathBuf, (u64, u32)>,
    /// Positions seen of each session: a continuation file repeats lines.
    seen: HashMap<Arc<str>, Seen>,
    views: Vec<(u64, Arc<str>, u64, View)>,
    /// The sessions of which every journal could be read.
    visits: Vec<Visit>,
    /// Which account was told of which conflict.
    told: HashSet<(String, u64)>,
    lam: u64,
    notes: Vec<String>,
    /// That the disk is nearly full was told; once is enough.
    pub(super) told_nearly_full: bool,
}

/// Positions seen of a session: nearly always all below a number.
#[derive(Debug, Default)]
struct Seen {
    below: u64,
    beyond: HashSet<u64>,
}

impl Seen {
    /// True when `n` is new.
    fn insert(&mut self, n: u64) -> bool {
        if n != self.below {
            return n > self.below && self.beyond.insert(n);
        }
        self.below += 1;
        while self.beyond.remove(&self.below) {
            self.below += 1;
        }
        true
    }
}

impl Known {
    /// The highest Lamport time seen.
    pub(super) fn lam(&self) -> u64 {
        self.lam
    }

    /// Whether every file that was read, and each of `own`, is there: a look that costs little, before all are read again.
    pub(super) fn are_there(&self, own: &[PathBuf]) -> bool {
        self.files.keys().chain(own).all(|path| path.is_file())
    }

    /// Whether every file that `before` has read, and each of `own`, was read.
    pub(super) fn covers(&self, before: &Self, own: &[PathBuf]) -> bool {
        before.files.keys().chain(own).all(|path| self.files.contains_key(path))
    }

    /// Goes on in the files where `before` was: what was read beyond is read again, which changes nothing, so that holes
    /// are still waited for and damage is told once.
    pub(super) fn goes_on_from(&mut self, before: Self) {
        (self.files, self.holes) = (before.files, before.holes);
        self.told_nearly_full = before.told_nearly_full;
        self.visits.clear();
        self.notes.clear();
    }

    /// Reads every journal of the clip from its beginning.
    ///
    /// # Errors
    /// Where it is not known which there are: without them a clip would look as if nobody had worked on it.
    pub(super) fn read_all(
        &mut self,
        ops: &Path,
        rescue: &[PathBuf],
        alive: &[Alive],
    ) -> Result<Vec<Entry>, ProjectError> {
        let list = |folder: &Path| {
            journal_files(folder).map_err(|cause| ProjectError::io("list", folder, &cause))
        };
        let mut files = list(ops)?;
        for copies in rescue {
            match list(copies) {
                Ok(copies) => files.extend(copies),
                Err(error) => self.notes.push(error.to_string()),
            }
        }
        files.sort();
        let mut entries = Vec::new();
        for same in files.chunk_by(|a, b| a.session == b.session) {
            self.read_session(same, ops, alive, &mut entries);
        }
        Ok(entries)
    }

    fn read_session(
        &mut self,
        files: &[JournalFile],
        ops: &Path,
        alive: &[Alive],
        entries: &mut Vec<Entry>,
    ) {
        let session: Arc<str> = files[0].session.as_str().into();
        let (mut lines, mut damaged) = (Vec::new(), 0);
        // A copy lies with one account, and what is told of people must not depend on who asks.
        let at_home = |file: &JournalFile| file.path.parent() == Some(ops);
        let mut moments = files.iter().any(at_home).then(Vec::new);
        for file in files {
            let bytes = match read_regular(&file.path) {
                Ok(bytes) => bytes,
                Err(cause) => {
                    moments = moments.filter(|_| !at_home(file));
                    self.notes.push(ProjectError::io("read", &file.path, &cause).to_string());
                    continue;
                }
            };
            let scan = journal::scan(&named_file(&file.path), &bytes, 0);
            let lives = alive.iter().any(|a| a.session == *session);
            // What is missing of it may be on its way: a `Look` comes back to it.
            let (read, rows) = scan.hole.filter(|_| lives).unwrap_or((scan.consumed, scan.rows));
            self.files.insert(file.path.clone(), (read as u64, rows));
            // A session that is alive may be in the middle of a line.
            let open = lives && scan.consumed < bytes.len();
            let told = scan.faults.len() - usize::from(open && scan.damaged > 0);
            self.notes.extend(scan.faults.iter().take(told).map(Fault::note));
            damaged += scan.damaged;
            if let Some(moments) = moments.as_mut().filter(|_| at_home(file)) {
                moments.extend(scan.lines.iter().map(Moment::of));
            }
            lines.extend(scan.lines);
        }
        self.visits.extend(moments.map(|moments| timeline::visit(&session, moments)));
        chain::put_in_order(&mut lines);
        self.check_chain(&session, &lines, damaged);
        for line in lines {
            entries.extend(self.take(&session, line));
        }
    }

    /// Names lines that are gone without a trace, and lines that were exchanged.
    fn check_chain(&mut self, session: &str, lines: &[journal::Line], damaged: usize) {
        let gaps = chain::gaps(session, lines);
        let told =
            gaps.iter().filter_map(|gap| Some(format!("{}: {}", shown(session), gap.what()?)));
        self.notes.extend(told);
        let missing = gaps.iter().map(|gap| match gap {
            Gap::Missing(which) => which.end - which.start,
            Gap::Changed(_) | Gap::Twice(_) => 0,
        });
        let missing = missing.sum::<u64>();
        if missing > damaged as u64 {
            self.notes.push(format!(
                "{}: {} missing from its journal; the others are loaded, look for another copy of \
                 the file",
                shown(session),
                counted(missing, "step")
            ));
        }
    }

    /// What there is to tell since the last call.
    pub(super) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// A line not seen before, as a step to merge.
    fn take(&mut self, session: &Arc<str>, line: journal::Line) -> Option<Entry> {
        // No honest clock comes near; a forged one must not overflow ours.
        let lam = line.lam.min(u64::MAX / 2);
        self.lam = self.lam.max(lam);
        if !self.seen.entry(Arc::clone(session)).or_default().insert(line.n) {
            return None;
        }
        let user = lease::user_of(session);
        self.told.extend(line.told.into_iter().map(|id| (user.to_owned(), id)));
        match line.record {
            Record::Step(mut step) => {
                // Most steps are one edit, and a list grows by more than one.
                step.edits.shrink_to_fit();
                Some(Entry { lam, session: Arc::clone(session), n: line.n, t: line.t, step })
            }
            Record::View(view) => {
                self.views.push((lam, Arc::clone(session), line.n, view));
                None
            }
            Record::Unknown => None,
        }
    }

    /// Merges `entries` into a state with its history. Conflicts are not among the notes: who was told
    /// of them is another question.
    pub(super) fn load(
        &mut self,
        entries: Vec<Entry>,
        user: &str,
        alive: &[Alive],
    ) -> (Merged, Loaded) {
        let me = lease::safe(user);
        let open = |session: &str| alive.iter().any(|a| a.session == session);
        let own = |session: &str| lease::user_of(session) == me && !open(session);
        let (mut history, mut authors, mut conflicts) =
            (History::default(), Authors::default(), Vec::new());
        // What sessions of the same person that are still open (or were killed a moment ago on
        // another machine) changed, and how much of the history that came after.
        let mut built_on = HashMap::new();
        let (merged, origins) = Merged::replay(entries, None, |entry, effect| {
            let Step { group, mark, made_from, .. } = entry.step;
            if own(&entry.session) {
                history.note(&Step { group, mark, edits: effect.to_vec(), made_from });
            } else if lease::user_of(&entry.session) == me {
                let tracks = effect.iter().filter_map(Edit::track);
                built_on.extend(tracks.map(|track| (track, history.depth())));
            }
            conflicts.extend(authors.note(entry, effect, lease::user_of(&entry.session)));
        });
        history.hold(&built_on);
        self.views.sort_by(|a, b| (a.0, &a.1, a.2).cmp(&(b.0, &b.1, b.2)));
        let view = self.views.iter().rev().find(|(_, session, ..)| own(session)).map(|v| v.3);
        let outside = self.views.iter().rev().find_map(|(.., view)| view.outside);
        self.views.clear();
        let annotation = merged.now().clone();
        let others = alive.iter().filter_map(|each| each.text.clone()).collect();
        let (position, session_seed) = (self.lam, 0);
        let visits = timeline::in_order(std::mem::take(&mut self.visits));
        let loaded = Loaded {
            annotation,
            origins,
            history,
            view,
            outside,
            notes: self.take_notes(),
            conflicts,
            position,
            session_seed,
            others,
            visits,
        };
        (merged, loaded)
    }

    /// Those of `conflicts` that `user` was not told of.
    pub(super) fn untold(&self, user: &str, mut conflicts: Vec<Conflict>) -> Vec<Conflict> {
        let me = lease::safe(user);
        conflicts.retain(|conflict| !self.told.contains(&(me.clone(), conflict.id)));
        conflicts
    }

    /// Where the journals in `ops` of every session but `own` were read up to.
    pub(super) fn look(&self, ops: PathBuf, own: Arc<str>) -> Look {
        Look { ops, own, files: self.files.clone() }
    }

    /// The steps among what came since.
    pub(super) fn take_in(&mut self, news: News, notes: &mut Vec<String>) -> Vec<Entry> {
        let mut entries = Vec::new();
        if let Some(note) = news.nearly_full.filter(|_| !self.told_nearly_full) {
            self.told_nearly_full = true;
            notes.push(note);
        }
        for Fresh { file, from, row, scan } in news.fresh {
            // Another look was quicker.
            if self.files.get(&file.path).map_or(0, |(read, _)| *read) != from {
                continue;
            }
            let hole = scan.hole.filter(|(at, _)| self.may_fill(&file.path, from + *at as u64));
            let (read, rows) = hole.unwrap_or((scan.consumed, scan.rows));
            self.files.insert(file.path, (from + read as u64, row + rows));
            if hole.is_none() {
                notes.extend(scan.faults.iter().map(Fault::note));
            }
            let session: Arc<str> = file.session.as_str().into();
            entries.extend(scan.lines.into_iter().filter_map(|line| self.take(&session, line)));
        }
        self.views.clear();
        entries
    }

    /// Whether the hole at byte `at` of a file that others write may still be filled. A network file system may show later
    /// pages of a file before earlier ones, with zeros in between; where lines were passed over then, they would stay unseen.
    fn may_fill(&mut self, file: &Path, at: u64) -> bool {
        let (place, looks) = self.holes.entry(file.to_owned()).or_insert((at, 0));
        if *place != at {
            (*place, *looks) = (at, 0);
        }
        *looks += 1;
        *looks <= LOOKS
    }
}

/// Where the journals of other sessions were read up to. What came since is read on any thread, without the store.
#[derive(Debug)]
pub struct Look {
    ops: PathBuf,
    own: Arc<str>,
    files: HashMap<PathBuf, (u64, usize)>,
}

/// What other sessions wrote since a [`Look`], and what there is to tell of the disk.
#[derive(Debug)]
pub struct News {
    fresh: Vec<Fresh>,
    nearly_full: Option<String>,
}

#[derive(Debug)]
struct Fresh {
    file: JournalFile,
    /// Bytes and lines before it.
    from: u64,
    row: usize,
    scan: Scan,
}

impl Look {
    /// Reads it. However long a slow drive takes: whoever journals meanwhile does not wait.
    #[must_use]
    pub fn read(self) -> News {
        let files = journal_files(&self.ops).unwrap_or_default().into_iter();
        let others = files.filter(|file| *file.session != *self.own);
        let fresh = others.filter_map(|file| self.fresh(file)).collect();
        // The folder of the journals comes with the first step; the project, three above it, is there.
        News { fresh, nearly_full: self.ops.ancestors().nth(3).and_then(nearly_full) }
    }

    /// The complete new lines of a file; the rest is being written.
    fn fresh(&self, file: JournalFile) -> Option<Fresh> {
        let (from, row) = self.files.get(&file.path).copied().unwrap_or((0, 0));
        let mut bytes = read_from(&file.path, from).ok()?;
        let last = bytes.iter().rposition(|&b| b == b'\n')?;
        bytes.truncate(last + 1);
        let scan = journal::scan(&named_file(&file.path), &bytes, row);
        Some(Fresh { file, from, row, scan })
    }
}

fn read_from(path: &Path, from: u64) -> io::Result<Vec<u8>> {
    let mut file = open_regular(path)?;
    let mut bytes = Vec::new();
    if file.metadata()?.len() > from {
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn named_file(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| named(Path::new(name)))
}
