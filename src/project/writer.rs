//! The own journal: one `write` per line, durability on another thread's time, nothing dropped.
//!
//! Lines stay in memory until a sync succeeded. After a failed sync the file is given up (the
//! kernel may have thrown the pages away and would call the next sync a success) and every line
//! since the last good sync goes to a fresh continuation file. When the disk is full the lines
//! wait in memory, with a copy beside the user's state, and go out with the next append or sync.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Modes, ProjectError, named, sync_folder};

/// Pause between attempts to start a fresh file on a failing disk: the first, which grows twofold, and the longest. Each
/// attempt leaves a file, and everybody reads them all.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MOST: Duration = Duration::from_secs(60);

/// Makes a session's written steps durable from any thread; call it at least every 250 ms while
/// [`unsynced`](Self::unsynced) is not 0.
#[derive(Clone, Debug)]
pub struct Syncer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<Target>,
    /// Held during a sync, so that only one runs at a time.
    syncing: Mutex<()>,
    path: PathBuf,
}

#[derive(Debug, Default)]
struct Target {
    file: Option<Arc<File>>,
    /// Lines taken by the session, written to `file`, confirmed by the disk.
    taken: u64,
    written: u64,
    durable: u64,
    /// Folders whose entries are not durable yet.
    folders: Vec<PathBuf>,
    /// Why the last sync failed; the owner then gives the file up.
    failed: Option<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Syncer {
    /// Lines that the disk has not confirmed.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        let target = lock(&self.shared.target);
        usize::try_from(target.taken - target.durable).unwrap_or(usize::MAX)
    }

    /// Lines that are in memory alone, since the disk refused them.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        let target = lock(&self.shared.target);
        usize::try_from(target.taken - target.written).unwrap_or(usize::MAX)
    }

    /// Makes everything written so far durable (`fdatasync`, and the folder of a new file).
    ///
    /// # Errors
    /// When the disk does not confirm. The next append or sync of the store writes the lines again
    /// to a fresh file; calling this again does not.
    pub fn sync(&self) -> Result<(), ProjectError> {
        let _one = lock(&self.shared.syncing);
        let (file, upto, folders) = {
            let target = lock(&self.shared.target);
            if let Some(cause) = &target.failed {
                return Err(self.not_synced(&target, cause.clone()));
            }
            (target.file.clone(), target.written, target.folders.clone())
        };
        if let Some(file) = &file {
            let result = file
                .sync_data()
                .and_then(|()| folders.iter().try_for_each(|folder| sync_folder(folder)));
            let mut target = lock(&self.shared.target);
            if target.file.as_ref().is_some_and(|current| Arc::ptr_eq(current, file)) {
                match result {
                    Ok(()) => {
                        target.durable = target.durable.max(upto);
                        target.folders.clear();
                    }
                    Err(cause) => {
                        target.failed = Some(cause.to_string());
                        return Err(self.not_synced(&target, cause.to_string()));
                    }
                }
            }
        }
        Ok(())
    }

    fn not_synced(&self, target: &Target, cause: String) -> ProjectError {
        let unsynced = usize::try_from(target.taken - target.durable).unwrap_or(usize::MAX);
        ProjectError::NotSynced { unsynced, path: named(&self.shared.path), cause }
    }
}

/// The journal of one session.
#[derive(Debug)]
pub(super) struct Writer {
    ops: PathBuf,
    session: String,
    modes: Modes,
    part: u32,
    file: Option<Arc<File>>,
    /// Lines since the last good sync, with their positions.
    kept: VecDeque<(u64, Vec<u8>)>,
    /// How many of `kept` are whole in `file`, and how many bytes of the next one are.
    written: usize,
    offset: usize,
    shared: Arc<Shared>,
    rescue: Rescue,
    failed_at: Option<Instant>,
    /// Until the next attempt after `failed_at`.
    pause: Duration,
    last_cause: String,
}

impl Writer {
    /// A journal that will be created in `ops` by the first line; `rescue` is the folder for
    /// copies of lines that the disk refuses.
    pub(super) fn new(ops: PathBuf, session: &str, modes: Modes, rescue: Option<PathBuf>) -> Self {
        let shared = Shared {
            target: Mutex::default(),
            syncing: Mutex::default(),
            path: ops.join(format!("{session}.jsonl")),
        };
        Self {
            rescue: Rescue {
                folder: rescue,
                session: session.to_owned(),
                file: None,
                whole: 0,
                upto: 0,
            },
            session: session.to_owned(),
            ops,
            modes,
            part: 0,
            file: None,
            kept: VecDeque::new(),
            written: 0,
            offset: 0,
            shared: Arc::new(shared),
            failed_at: None,
            pause: PAUSE,
            last_cause: String::new(),
        }
    }

    /// A handle for another thread.
    pub(super) fn syncer(&self) -> Syncer {
        Syncer { shared: Arc::clone(&self.shared) }
    }

    /// Lines held in memory, oldest first.
    pub(super) fn kept(&self) -> impl Iterator<Item = &[u8]> {
        self.kept.iter().map(|(_, bytes)| bytes.as_slice())
    }

    /// The files that it has made.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        (0..self.part).map(|part| self.path_of(part)).collect()
    }

    fn path_of(&self, part: u32) -> PathBuf {
        let part = if part == 0 { String::new() } else { format!(".p{part}") };
        self.ops.join(format!("{}{part}.jsonl", self.session))
    }

    /// Takes line `n` and writes it. The line counts even when this fails.
    pub(super) fn push(&mut self, n: u64, bytes: Vec<u8>) -> Result<(), ProjectError> {
        self.kept.push_back((n, bytes));
        lock(&self.shared.target).taken = n + 1;
        self.flush()
    }

    /// Writes what waits and makes it durable.
    pub(super) fn sync(&mut self) -> Result<(), ProjectError> {
        let mut flushed = self.flush();
        let mut synced = self.syncer().sync();
        if synced.is_err() {
            // A fresh file, once; if that fails too the lines stay and the next call tries again.
            flushed = self.flush();
            synced = self.syncer().sync();
        }
        if let Err(error) = &synced {
            self.last_cause = error.to_string();
            self.rescue_copy();
        }
        self.forget_durable();
        flushed.and(synced)
    }

    /// As [`sync`](Self::sync), for the last time: there is no later attempt to wait for.
    pub(super) fn sync_at_last(&mut self) {
        self.failed_at = None;
        let _ = self.sync();
    }

    fn forget_durable(&mut self) {
        let durable = lock(&self.shared.target).durable;
        while self.written > 0 && self.kept.front().is_some_and(|(n, _)| *n < durable) {
            self.kept.pop_front();
            self.written -= 1;
            self.pause = PAUSE;
        }
    }

    /// Writes every kept line that is not in the file yet.
    fn flush(&mut self) -> Result<(), ProjectError> {
        self.forget_durable();
        let sync_failed = lock(&self.shared.target).failed.clone();
        if let Some(cause) = sync_failed
            && self.may_start_afresh()
        {
            self.last_cause = cause;
            self.give_up();
        }
        let mut result = self.write_waiting();
        if let Err(cause) = &result
            && !waits_for_room(cause)
            && self.may_start_afresh()
        {
            self.last_cause = cause.to_string();
            self.give_up();
            result = self.write_waiting();
        }
        let Err(cause) = result else {
            return Ok(());
        };
        self.failed_at.get_or_insert_with(Instant::now);
        self.last_cause = cause.to_string();
        let rescue = self.rescue_copy();
        Err(ProjectError::KeptInMemory {
            unwritten: self.kept.len() - self.written,
            path: named(&self.shared.path),
            cause: self.last_cause.clone(),
            rescue,
        })
    }

    /// True when the last failure is long enough ago to try another file.
    fn may_start_afresh(&mut self) -> bool {
        if self.failed_at.is_some_and(|at| at.elapsed() < self.pause) {
            return false;
        }
        if self.failed_at.is_some() {
            self.pause = (2 * self.pause).min(PAUSE_MOST);
        }
        self.failed_at = Some(Instant::now());
        true
    }

    /// Leaves the file for good: everything since the last good sync is to be written again.
    fn give_up(&mut self) {
        self.file = None;
        (self.written, self.offset) = (0, 0);
        let mut target = lock(&self.shared.target);
        target.file = None;
        target.failed = None;
        target.written = target.durable;
    }

    fn write_waiting(&mut self) -> io::Result<()> {
        while self.written < self.kept.len() {
            let file = self.opened()?;
            let (n, bytes) = &self.kept[self.written];
            let (n, rest) = (*n, &bytes[self.offset..]);
            match (&*file).write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) if count < rest.len() => self.offset += count,
                Ok(_) => {
                    (self.written, self.offset) = (self.written + 1, 0);
                    lock(&self.shared.target).written = n + 1;
                }
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }

    /// The journal file, created now if there is none.
    fn opened(&mut self) -> io::Result<Arc<File>> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        self.modes.make_folder(&self.ops)?;
        let file = loop {
            let path = self.path_of(self.part);
            self.part += 1;
            match self.modes.create_new(&path) {
                Ok(file) => break Arc::new(file),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && self.part < 10_000 => {}
                Err(e) => {
                    self.part -= 1;
                    return Err(e);
                }
            }
        };
        let mut target = lock(&self.shared.target);
        target.file = Some(Arc::clone(&file));
        // The file, the folder of the clip, `clips` and the project: any of them may be new.
        target.folders = self.ops.ancestors().take(4).map(Path::to_owned).collect();
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Copies the kept lines beside the user's state; says where, or why not.
    fn rescue_copy(&mut self) -> String {
        let Some(folder) = &self.rescue.folder else {
            return "there is no place for a rescue copy".to_owned();
        };
        let place = named(folder);
        match self.rescue.copy(&self.kept) {
            Ok(()) => format!("a copy is safe in {place}"),
            Err(cause) => format!("a copy in {place} failed too ({cause})"),
        }
    }
}

/// Errors that go away by themselves and leave the file as good as before.
fn waits_for_room(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The copy of lines that the project's disk refuses.
#[derive(Debug)]
struct Rescue {
    folder: Option<PathBuf>,
    session: String,
    file: Option<File>,
    /// Bytes of the file that are written whole.
    whole: u64,
    /// Lines below this position are in the copy.
    upto: u64,
}

impl Rescue {
    fn copy(&mut self, kept: &VecDeque<(u64, Vec<u8>)>) -> io::Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        if kept.back().is_none_or(|(n, _)| *n < self.upto) {
            return Ok(());
        }
        if self.file.is_none() {
            Modes::PRIVATE.make_folder_durable(folder)?;
            // A copy whose writing failed is left as it is; the next one takes the next number.
            let free = (0..1000).find_map(|k| {
                let path = folder.join(format!("{}.r{k}.jsonl", self.session));
                Some((Modes::PRIVATE.create_new(&path).ok()?, path))
            });
            let (file, path) =
                free.ok_or_else(|| io::Error::other("no file can be created there"))?;
            // Lines of a file that no folder names after a crash would not be safe.
            if let Err(cause) = sync_folder(folder) {
                let _ = std::fs::remove_file(&path);
                return Err(cause);
            }
            (self.file, self.whole) = (Some(file), 0);
        }
        let fresh: Vec<u8> =
            kept.iter().filter(|(n, _)| *n >= self.upto).flat_map(|(_, b)| b.clone()).collect();
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        if let Err(cause) = file.write_all(&fresh).and_then(|()| file.sync_data()) {
            // A full disk takes the rest later: one file for every attempt would use up the names.
            if !(waits_for_room(&cause) && cut_back(file, self.whole)) {
                self.file = None;
            }
            return Err(cause);
        }
        self.whole += fresh.len() as u64;
        self.upto = kept.back().map_or(self.upto, |(n, _)| n + 1);
        Ok(())
    }
}

/// Takes away what was written behind the first `whole` bytes; false when it stays.
fn cut_back(file: &File, whole: u64) -> bool {
    file.set_len(whole).is_ok() || file.metadata().is_ok_and(|meta| meta.len() == whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).expect("readable");
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn after_a_failed_sync_a_fresh_file_holds_every_line_since_the_last_good_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let ops = dir.path().join("a/b/ops");
        let mut writer = Writer::new(ops.clone(), "s", Modes::PRIVATE, None);
        writer.push(0, b"zero\n".to_vec()).expect("written");
        writer.sync().expect("synced");
        assert_eq!(writer.kept().count(), 0);
        writer.push(1, b"one\n".to_vec()).expect("written");
        // A device that swallows writes and does not know how to sync.
        let null = Arc::new(File::options().write(true).open("/dev/null").expect("a device"));
        writer.file = Some(Arc::clone(&null));
        lock(&writer.shared.target).file = Some(null);
        writer.push(2, b"two\n".to_vec()).expect("swallowed");
        let other_thread = writer.syncer();
        assert!(matches!(other_thread.sync(), Err(ProjectError::NotSynced { unsynced: 2, .. })));
        assert!(other_thread.sync().is_err(), "the same file is not asked again");
        assert_eq!(other_thread.unsynced(), 2);
        writer.push(3, b"three\n".to_vec()).expect("written to a fresh file");
        other_thread.sync().expect("the fresh file syncs");
        assert_eq!(other_thread.unsynced(), 0);
        assert_eq!(rows(&ops.join("s.jsonl")), ["zero", "one"]);
        assert_eq!(rows(&ops.join("s.p1.jsonl")), ["one", "two", "three"]);
    }

    #[test]
    fn a_disk_that_keeps_failing_gets_fewer_and_fewer_files() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut writer = Writer::new(dir.path().join("ops"), "s", Modes::PRIVATE, None);
        writer.push(0, b"zero\n".to_vec()).expect("written");
        let fail = |writer: &mut Writer| {
            lock(&writer.shared.target).failed = Some("no room".into());
            writer.failed_at =
                writer.failed_at.and_then(|_| Instant::now().checked_sub(PAUSE + PAUSE / 2));
            writer.flush().expect("written");
            writer.files().len()
        };
        // The second comes as soon as ever, the third not yet.
        assert_eq!([fail(&mut writer), fail(&mut writer), fail(&mut writer)], [2, 3, 3]);
        // Who goes waits for nothing, and what is confirmed begins it anew.
        writer.sync_at_last();
        assert_eq!((writer.files().len(), writer.kept().count()), (4, 0));
        assert_eq!(writer.pause, PAUSE);
        assert_eq!(rows(&writer.path_of(3)), ["zero"]);
    }

    #[test]
    fn what_a_full_device_refuses_is_copied_and_waits() {
        let dir = tempfile::tempdir().expect("a folder");
        let rescue = dir.path().join("rescue");
        let mut writer =
            Writer::new(dir.path().join("ops"), "s", Modes::PRIVATE, Some(rescue.clone()));
        writer.file =
            Some(Arc::new(File::options().write(true).open("/dev/full").expect("a device")));
        for n in 0..3 {
            let refused = writer.push(n, format!("{n}\n").into_bytes());
            assert!(refused.is_err_and(|error| error.step_is_kept()));
        }
        assert_eq!(rows(&rescue.join("s.r0.jsonl")), ["0", "1", "2"]);
        assert_eq!(writer.kept().count(), 3);
    }

    #[test]
    fn a_full_disk_does_not_cost_the_copy_its_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("rescue");
        let full = || File::options().write(true).open("/dev/full").expect("a device");
        let (session, file) = ("s".to_owned(), Some(full()));
        let mut rescue = Rescue { folder: Some(folder.clone()), session, file, whole: 0, upto: 0 };
        let mut kept = VecDeque::from([(0, b"zero\n".to_vec())]);
        for _ in 0..3 {
            assert!(rescue.copy(&kept).is_err_and(|cause| waits_for_room(&cause)));
        }
        assert!(rescue.file.is_some() && !folder.exists(), "no file for every attempt");
        // With room again it goes on behind what is whole.
        let path = dir.path().join("copy");
        std::fs::write(&path, "torn").expect("written");
        rescue.file = Some(File::options().append(true).open(&path).expect("opens"));
        assert!(cut_back(rescue.file.as_ref().expect("just set"), rescue.whole));
        rescue.copy(&kept).expect("copied");
        kept.push_back((1, b"one\n".to_vec()));
        rescue.copy(&kept).expect("copied");
        assert_eq!(rows(&path), ["zero", "one"]);
    }
}
