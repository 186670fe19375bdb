//! One clip of a project: opened, appended to, followed.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::journal::{self, Record};
use super::lease::{self, Holder, Lease};
use super::merge::{Conflict, Entry, Merged, Others, TooOld, difference};
use super::prepare::{
    bring_home, fresh_seed, full, nearly_full, prepare, rescue_places, unless_full,
};
use super::reader::{Known, Look, News};
use super::writer::Writer;
use super::{ProjectError, Syncer, View, Visit, checked, named};
use crate::domain::{Annotation, ClipInfo, History, MaskOrigins, OutsideChoice, Step};

/// Notes beyond this number are counted, not listed.
const MAX_NOTES: usize = 200;

/// What opening a clip brings.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The state of all journals together.
    pub annotation: Annotation,
    /// What its masks were made from, which tells those that are older than their points.
    pub origins: MaskOrigins,
    /// Undo and redo over everything the same user did on this clip before, except in sessions
    /// that are still open elsewhere.
    pub history: History,
    /// Where the same user looked last.
    pub view: Option<View>,
    /// The last decision, of whomever, about the pixels outside a region found in the clip.
    pub outside: Option<OutsideChoice>,
    /// Damage, gaps, unknown records and replaced masks, ready to show.
    pub notes: Vec<String>,
    /// What people decided at the same time, without having seen each other's: also among the notes. Who opens the clip
    /// is given only what they were not [told](ClipStore::told), who reads it all of it.
    pub conflicts: Vec<Conflict>,
    /// Lamport time of the newest line of any journal: what the annotation contains.
    pub position: u64,
    /// 32 bits of this session that no other session of the clip has. Groups of steps and
    /// identities of prompts must be unique across sessions: start them at
    /// `u64::from(session_seed) << 32`; those of tracks come from a [`crate::domain::TrackOrder`].
    pub session_seed: u32,
    /// Sessions that have the clip open now: "anna on gpu1 since 10:12 UTC".
    pub others: Vec<String>,
    /// The sessions on the clip in order of opening, without those whose journals cannot be read, which the notes name.
    pub visits: Vec<Visit>,
}

/// What a store takes from its surroundings.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Account name of the annotator.
    pub user: String,
    /// Folder for copies of steps that the project's disk refuses; `None` for no copies.
    pub rescue: Option<PathBuf>,
}

impl StoreOptions {
    /// The logged-in user and `$XDG_STATE_HOME/sonomark/rescue` (`~/.local/state/...`).
    #[must_use]
    pub fn from_env() -> Self {
        let folder =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        // Services are started without HOME; the account has a folder all the same.
        let account = || std::env::home_dir().filter(|home| home.is_absolute());
        let home = || folder("HOME").or_else(account);
        let state = folder("XDG_STATE_HOME").or_else(|| Some(home()?.join(".local/state")));
        Self { user: lease::user(), rescue: state.map(|state| state.join("sonomark/rescue")) }
    }

    /// Where copies for clips of a project may lie, in a folder for each clip.
    pub(super) fn copies(&self, root: &Path) -> Vec<PathBuf> {
        self.rescue.as_deref().map_or_else(Vec::new, |base| rescue_places(base, root))
    }
}

/// A clip of a project, open for annotating.
#[derive(Debug)]
pub struct ClipStore {
    clip: PathBuf,
    /// Where copies of steps may lie that the project lacks.
    rescue: Vec<PathBuf>,
    session: Arc<str>,
    lam: u64,
    n: u64,
    prev: u32,
    known: Known,
    /// Conflicts that the person was told of since the last line.
    told: Vec<u64>,
    merged: Merged,
    /// Steps of others that were read and have not taken effect yet.
    waiting: Vec<Entry>,
    /// They cannot, since a journal is away; that was told.
    behind: bool,
    writer: Writer,
    lease: Option<Lease>,
    notes: Vec<String>,
}

impl ClipStore {
    /// Opens a clip, creating the project when the folder is new or empty. The journal itself is
    /// created by the first step, so that looking leaves no trace.
    ///
    /// # Errors
    /// [`ProjectError::ReadOnly`] and [`ProjectError::Newer`] ask for [`load_read_only`]; others
    /// say what to do. Damaged journals are never an error. A full disk is not one either: it is
    /// named in the notes and the work is kept in memory.
    pub fn open(root: &Path, info: &ClipInfo, now_ms: u64) -> Result<(Self, Loaded), ProjectError> {
        Self::open_with(root, info, now_ms, &StoreOptions::from_env())
    }

    /// As [`open`](Self::open), with the surroundings given.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(
        root: &Path,
        info: &ClipInfo,
        now_ms: u64,
        options: &StoreOptions,
    ) -> Result<(Self, Loaded), ProjectError> {
        let hash = checked(&info.content_hash)?;
        let mut notes = Vec::new();
        let modes = prepare(root, &hash, info, &mut notes)?;
        let clip = root.join("clips").join(&hash.0);
        let holder = Holder::here(options.user.clone(), &hash, now_ms);
        let seed = fresh_seed(&clip.join("ops"));
        let session = holder.new_session(seed);
        let sessions = root.join("sessions");
        let lease = match Lease::take(&sessions, &session, &holder, modes) {
            Ok(lease) => Some(lease),
            Err(cause) => {
                unless_full(&sessions, &cause)?;
                notes.push(full(root, &cause));
                None
            }
        };
        let others = lease::alive(&sessions, &session, &holder, true);
        let places = options.copies(root).into_iter();
        let rescue: Vec<PathBuf> = places.map(|place| place.join(&hash.0)).collect();
        for copies in &rescue {
            bring_home(copies, &clip.join("ops"), &others, modes, &mut notes);
        }

        let mut known = Known::default();
        let entries = known.read_all(&clip.join("ops"), &rescue, &others)?;
        // `prepare` has said so.
        known.told_nearly_full = nearly_full(root).is_some();
        let (merged, mut loaded) = known.load(entries, &holder.user, &others);
        loaded.conflicts = known.untold(&holder.user, loaded.conflicts);
        notes.append(&mut loaded.notes);
        loaded.notes = all_notes(notes, &loaded.conflicts);
        loaded.session_seed = seed;
        let store = Self {
            prev: journal::chain_hash(session.as_bytes()),
            lam: known.lam(),
            n: 0,
            writer: Writer::new(clip.join("ops"), &session, modes, rescue.last().cloned()),
            session: session.into(),
            clip,
            rescue,
            known,
            told: Vec::new(),
            merged,
            waiting: Vec::new(),
            behind: false,
            lease,
            notes: Vec::new(),
        };
        Ok((store, loaded))
    }

    /// Journals a step that was applied to the annotation; returns after its `write`.
    ///
    /// # Errors
    /// When [`ProjectError::step_is_kept`], the step counts all the same: it waits in memory and
    /// is written by a later call. Otherwise nothing happened.
    pub fn append(&mut self, step: &Step, now_ms: u64) -> Result<(), ProjectError> {
        self.put(Record::Step(step.clone()), now_ms)
    }

    /// Journals where the annotator is.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_view(&mut self, view: &View, now_ms: u64) -> Result<(), ProjectError> {
        self.put(Record::View(*view), now_ms)
    }

    /// Says that the person has seen these [`Conflict::id`]s on a screen. The next line keeps it: they are not among the
    /// notes when the same account opens the clip again.
    pub fn told(&mut self, ids: impl IntoIterator<Item = u64>) {
        self.told.extend(ids);
    }

    fn put(&mut self, record: Record, now_ms: u64) -> Result<(), ProjectError> {
        let (lam, n) = (self.lam + 1, self.n);
        let (bytes, own) = journal::encode(n, lam, self.prev, now_ms, &record, &self.told)
            .ok_or(ProjectError::Unstorable)?;
        (self.lam, self.n, self.prev) = (lam, n + 1, own);
        self.told.clear();
        if let Record::Step(step) = record {
            let session = Arc::clone(&self.session);
            self.merged.push(Entry { lam, session, n, t: now_ms, step });
        }
        if let Some(lease) = &mut self.lease {
            lease.beat();
        }
        self.writer.push(n, bytes)
    }

    /// Writes what waits and makes it durable (`fdatasync`, and the folders of a new file). After
    /// a failure everything since the last good sync is written again to a fresh file.
    ///
    /// # Errors
    /// When the disk still refuses; nothing is lost from memory and the next call tries again.
    pub fn sync(&mut self) -> Result<(), ProjectError> {
        self.writer.sync()
    }

    /// A handle with which another thread makes written steps durable, so that a slow disk never
    /// holds up the keys.
    #[must_use]
    pub fn syncer(&self) -> Syncer {
        self.writer.syncer()
    }

    /// Steps and views that the disk has not confirmed.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.syncer().unsynced()
    }

    /// The state of everything known: what the annotation is after the same edits.
    #[must_use]
    pub fn annotation(&self) -> &Annotation {
        self.merged.now()
    }

    /// Lamport time of the newest line known: what [`annotation`](Self::annotation) contains.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.lam
    }

    /// Name of this session, safe as a file name.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Reads what other sessions wrote since the last look; as [`look`](Self::look), [`Look::read`] and
    /// [`take_in`](Self::take_in) in one.
    pub fn read_others(&mut self) -> bool {
        let news = self.look().read();
        self.take_in(news)
    }

    /// Where to look for what other sessions write: another thread reads it, while this one goes on journaling.
    #[must_use]
    pub fn look(&self) -> Look {
        self.known.look(self.clip.join("ops"), Arc::clone(&self.session))
    }

    /// Takes in what was read; true when there is something to [`take`](Self::take_others). Also tells the others
    /// that this session lives, so call it about every second.
    pub fn take_in(&mut self, news: News) -> bool {
        if let Some(lease) = &mut self.lease {
            lease.beat();
        }
        let new = self.known.take_in(news, &mut self.notes);
        self.waiting.extend(new);
        !self.waiting.is_empty()
    }

    /// Lets what was read of others take effect, and returns the edits that bring the annotation up
    /// to date, to be applied in order, with what its masks were made from. Whoever shows the annotation
    /// calls it when all own steps are journaled and applies the edits before the next: else the two would
    /// take the same steps in different orders, and what is shown would not be what is kept.
    pub fn take_others(&mut self) -> Others {
        self.lam = self.lam.max(self.known.lam());
        let new = std::mem::take(&mut self.waiting);
        if new.is_empty() {
            return Others::default();
        }
        match self.merged.insert(new) {
            Ok(others) => others,
            // Where that cannot be done now they wait for the next call.
            Err(TooOld(new)) => {
                let others = self.reload(new.first());
                self.tell_behind(others.is_none());
                others.unwrap_or_else(|| {
                    self.waiting = new;
                    Others::default()
                })
            }
        }
    }

    /// Tells once, as long as it is so, that what others did cannot be shown.
    fn tell_behind(&mut self, behind: bool) {
        if behind && !self.behind {
            self.notes.push(format!(
                "{}: a journal that was here cannot be read now; what others change is not shown until it can, own \
                 steps are kept; check the disk, or open the clip again",
                named(&self.clip.join("ops"))
            ));
        }
        self.behind = behind;
    }

    /// What went wrong since the last call, ready to show.
    pub fn take_notes(&mut self) -> Vec<String> {
        limited(std::mem::take(&mut self.notes))
    }

    /// Everything again from the files and from what is still in memory; `None` while a file that was there cannot be read,
    /// as where a network drive is away: what it holds would vanish from the screen.
    /// `late` is the oldest of the steps that came too late for their place.
    fn reload(&mut self, late: Option<&Entry>) -> Option<Others> {
        let files = self.writer.files();
        if !self.known.are_there(&files) {
            return None;
        }
        let mut known = Known::default();
        let ops = self.clip.join("ops");
        let mut entries = known.read_all(&ops, &self.rescue, &[]).ok()?;
        if !known.covers(&self.known, &files) {
            return None;
        }
        let have: HashSet<(Arc<str>, u64)> =
            entries.iter().map(|entry| (Arc::clone(&entry.session), entry.n)).collect();
        let missing = |session: &Arc<str>, n: u64| !have.contains(&(Arc::clone(session), n));
        let held = self.writer.kept().flat_map(|line| journal::scan("", line, 0).lines);
        let own = held.filter_map(|line| match line.record {
            Record::Step(step) if missing(&self.session, line.n) => {
                let session = Arc::clone(&self.session);
                Some(Entry { lam: line.lam, session, n: line.n, t: line.t, step })
            }
            _ => None,
        });
        let own: Vec<Entry> = own.collect();
        entries.extend(own);
        let (merged, origins) = Merged::replay(entries, late, |_, _| {});
        let edits = difference(self.merged.now(), merged.now());
        self.merged = merged;
        known.goes_on_from(std::mem::take(&mut self.known));
        self.known = known;
        // What was read only now comes before the next own step, too.
        self.lam = self.lam.max(self.known.lam());
        Some(Others { edits, origins })
    }
}

impl Drop for ClipStore {
    fn drop(&mut self) {
        self.writer.sync_at_last();
    }
}

pub(super) fn all_notes(mut notes: Vec<String>, conflicts: &[Conflict]) -> Vec<String> {
    notes.extend(conflicts.iter().map(|conflict| conflict.note.clone()));
    limited(notes)
}

pub(super) fn limited(mut notes: Vec<String>) -> Vec<String> {
    if notes.len() > MAX_NOTES {
        let more = notes.len() - MAX_NOTES;
        notes.truncate(MAX_NOTES);
        notes.push(format!("and {more} more"));
    }
    notes
}
