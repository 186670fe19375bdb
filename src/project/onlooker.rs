//! Reading what a project holds on its clips, one after the other. Nothing is written.
//!
//! What is the same for all of them (who looks, which project it is, who has a clip open) is asked once and not with each of
//! a hundred thousand: files under `sessions/` of machines that are no more would be read as often.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::lease::{self, Alive, Holder};
use super::reader::Known;
use super::store::{Loaded, StoreOptions, all_notes};
use super::{ProjectError, checked, named, now_ms};
use crate::domain::ContentHash;

/// So old may be what is known of who has which clip open: somebody may open one while a long list is read.
const FRESH: Duration = Duration::from_secs(1);

/// What a project holds on a clip, for viewing and exporting. Writes nothing.
///
/// # Errors
/// When there is no such clip, or its journals cannot be listed.
pub fn load_read_only(project_root: &Path, hash: &ContentHash) -> Result<Loaded, ProjectError> {
    Onlooker::new(project_root).load(hash)
}

/// Somebody who looks at many clips of a project from outside. Writes nothing.
#[derive(Debug)]
pub struct Onlooker {
    pub(super) root: PathBuf,
    holder: Holder,
    /// Where copies of steps may lie that the project lacks, in a folder for each clip.
    copies: Vec<PathBuf>,
    /// Sessions that have a clip open, and when that was asked.
    alive: Vec<(ContentHash, Alive)>,
    asked: Option<Instant>,
}

/// Where the journals of a clip lie, and who looks.
#[derive(Debug)]
pub(super) struct ClipFiles {
    /// The journals.
    pub(super) ops: PathBuf,
    /// Where copies of steps may lie that the project lacks.
    pub(super) rescue: Vec<PathBuf>,
    /// Sessions that have the clip open.
    pub(super) alive: Vec<Alive>,
}

impl Onlooker {
    /// This account, before the project `root`, which need not be there.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        let options = StoreOptions::from_env();
        let copies = options.copies(root);
        // It has no clip open.
        let holder = Holder::here(options.user, &ContentHash(String::new()), now_ms());
        Self { root: root.to_owned(), holder, copies, alive: Vec::new(), asked: None }
    }

    /// As [`load_read_only`].
    ///
    /// # Errors
    /// As [`load_read_only`].
    pub fn load(&mut self, hash: &ContentHash) -> Result<Loaded, ProjectError> {
        self.load_until(hash, u64::MAX)
    }

    /// As [`load`](Self::load), as it stood after the change of the number `last` in the order that decides: a Lamport
    /// time, of which what people did at the same time may share one.
    ///
    /// # Errors
    /// As [`load_read_only`].
    pub fn load_until(&mut self, hash: &ContentHash, last: u64) -> Result<Loaded, ProjectError> {
        let ClipFiles { ops, rescue, alive } = self.files(hash)?;
        let mut known = Known::default();
        let mut entries = known.read_all(&ops, &rescue, &alive)?;
        entries.retain(|entry| entry.lam <= last);
        let (_, mut loaded) = known.load(entries, &self.holder.user, &alive);
        loaded.position = loaded.position.min(last);
        loaded.notes = all_notes(loaded.notes, &loaded.conflicts);
        Ok(loaded)
    }

    /// Where the journals of a clip lie.
    ///
    /// # Errors
    /// When there is no such clip.
    pub(super) fn files(&mut self, hash: &ContentHash) -> Result<ClipFiles, ProjectError> {
        let hash = checked(hash)?;
        let clip = self.root.join("clips").join(&hash.0);
        match fs::metadata(&clip) {
            Ok(meta) if meta.is_dir() => {}
            Err(e)
                if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                return Err(ProjectError::io("read", &clip, &e));
            }
            _ => {
                let path = named(&self.root);
                return Err(ProjectError::NoSuchClip { path, hash: hash.0 });
            }
        }
        let rescue = self.copies.iter().map(|place| place.join(&hash.0)).collect();
        Ok(ClipFiles { ops: clip.join("ops"), rescue, alive: self.alive_on(&hash) })
    }

    /// The sessions that have a clip open.
    fn alive_on(&mut self, hash: &ContentHash) -> Vec<Alive> {
        if self.asked.is_none_or(|at| at.elapsed() >= FRESH) {
            let sessions = self.root.join("sessions");
            self.alive = lease::alive_on_any(&sessions, "", &self.holder, false);
            self.asked = Some(Instant::now());
        }
        let on_it = self.alive.iter().filter(|(clip, _)| clip == hash);
        on_it.map(|(_, alive)| alive.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Modes;
    use super::super::lease::Lease;
    use super::*;

    #[test]
    fn who_is_there_is_asked_once_for_many_clips_and_again_later() {
        let dir = tempfile::tempdir().expect("a folder");
        let clips = ["a", "b"].map(|digit| ContentHash(digit.repeat(64)));
        for clip in &clips {
            fs::create_dir_all(dir.path().join("clips").join(&clip.0)).expect("made");
        }
        let mut onlooker = Onlooker::new(dir.path());
        let mut there = |clip: &ContentHash, asked: Option<Instant>| {
            onlooker.asked = asked;
            onlooker.files(clip).expect("there").alive.len()
        };
        assert_eq!(there(&clips[0], None), 0);
        let holder = Holder::here("anna".into(), &clips[1], 0);
        let sessions = dir.path().join("sessions");
        let _lease = Lease::take(&sessions, "s", &holder, Modes::PRIVATE).expect("taken");
        // Just now, however busy the machine is.
        let now = Instant::now() + 60 * FRESH;
        assert_eq!(there(&clips[1], Some(now)), 0);
        assert_eq!(there(&clips[1], None), 1);
        assert_eq!((there(&clips[0], Some(now)), there(&clips[1], Some(now))), (0, 1));
    }
}
