//! Opening a project: its folders, its format, who may write it, and steps rescued earlier.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::lease::{self, Alive};
use super::{
    FORMAT, Modes, ProjectError, checked, journal, journal_files, mounts, named, read_regular,
};
use crate::codec::part::sweep_folder;
use crate::domain::{ClipInfo, ContentHash, counted, shown};

/// With less room than this a disk counts as nearly full, bytes.
const LITTLE_ROOM: u64 = 500_000_000;

/// 32 random bits that no session of the clip has.
pub(super) fn fresh_seed(ops: &Path) -> u32 {
    let used: HashSet<u32> = journal_files(ops)
        .unwrap_or_default()
        .iter()
        .filter_map(|file| lease::seed_of(&file.session))
        .collect();
    loop {
        let seed = fastrand::u32(1..);
        if !used.contains(&seed) {
            return seed;
        }
    }
}

/// Makes sure that the folders of project and clip are there and can be written.
pub(super) fn prepare(
    root: &Path,
    hash: &ContentHash,
    info: &ClipInfo,
    notes: &mut Vec<String>,
) -> Result<Modes, ProjectError> {
    check_format(root)?;
    let clip = root.join("clips").join(&hash.0);
    let mut make = || -> io::Result<Modes> {
        Modes::PRIVATE.make_folder_durable(root)?;
        let modes = Modes::of(root);
        if !root.join("FORMAT").exists() {
            let text = format!("{FORMAT}\n{:032x}\n", fastrand::u128(..));
            // Of two sessions that begin at once both must know the same line, which names their rescue copies.
            modes.publish_first(&root.join("FORMAT"), text.as_bytes())?;
        }
        modes.make_folder(&clip.join("ops"))?;
        let about = clip.join("clip.json");
        let write = |info: &ClipInfo| -> io::Result<()> {
            let mut bytes = serde_json::to_vec_pretty(info)?;
            bytes.push(b'\n');
            modes.publish(&about, &bytes)
        };
        match read_regular(&about).map(|bytes| said(&bytes, hash)) {
            Ok(Said::Damaged) => {
                let aside = format!("clip.damaged-{:08x}.json", fastrand::u32(..));
                fs::rename(&about, clip.join(aside))?;
                notes.push(format!(
                    "{}: it was damaged and is written anew, the old one is kept",
                    named(&about)
                ));
            }
            Ok(Said::Newer) => notes.push(format!(
                "{}: a newer sonomark wrote it, it is left as it is and work goes on; update sonomark to have the clip \
                 named in lists",
                named(&about)
            )),
            // An earlier version wrote it. Work goes on also where it cannot be written.
            Ok(Said::Known(held))
                if (held.lossy.is_none() && info.lossy.is_some())
                    || (held.slice_spacing_mm.is_none() && info.slice_spacing_mm.is_some()) =>
            {
                let lossy = held.lossy.or(info.lossy);
                let slice_spacing_mm = held.slice_spacing_mm.or(info.slice_spacing_mm);
                let _ = write(&ClipInfo { lossy, slice_spacing_mm, ..*held });
            }
            _ => {}
        }
        if !about.exists() {
            write(info)?;
        }
        Ok(modes)
    };
    match make() {
        Ok(modes) => {
            for folder in [root, &clip, &clip.join("ops")] {
                sweep_folder(folder);
            }
            notes.extend(close_to_all(root));
            notes.extend(nearly_full(root));
            Ok(modes)
        }
        Err(cause) => {
            unless_full(root, &cause)?;
            notes.push(full(root, &cause));
            Ok(Modes::of(root))
        }
    }
}

/// What a `clip.json` is to this version.
pub(super) enum Said {
    /// All of it is known.
    Known(Box<ClipInfo>),
    /// Whole, of this very clip, and with words that this version does not know.
    Newer,
    /// Neither.
    Damaged,
}

/// What these bytes of the `clip.json` of the clip `hash` are.
pub(super) fn said(bytes: &[u8], hash: &ContentHash) -> Said {
    if let Ok(info) = serde_json::from_slice(bytes) {
        return Said::Known(info);
    }
    let whole = serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    match whole.get("content_hash").and_then(Value::as_str) {
        Some(of) if of == hash.0 => Said::Newer,
        _ => Said::Damaged,
    }
}

/// Whether anybody on this machine can change a file or folder.
pub(super) fn open_to_all(root: &Path) -> bool {
    fs::metadata(root).is_ok_and(|meta| meta.permissions().mode() & 0o002 != 0)
}

/// Takes the right to change the folder of a project away from everybody, and tells of it: who has it may put another
/// secret, or other work, in the place of what lies there. Nobody needs it: what is made below is for the owner or the group.
/// Not refused where that cannot be done, as on sticks without rights of their own: work would have no place there.
fn close_to_all(root: &Path) -> Option<String> {
    let mode = fs::metadata(root).ok()?.permissions().mode() & 0o7777;
    if !open_to_all(root) {
        return None;
    }
    // With the sticky bit it is a place for all, as `/tmp` is, and nobody can take away what is another's.
    if mode & 0o1000 == 0 {
        let _ = fs::set_permissions(root, fs::Permissions::from_mode(mode & !0o002));
    }
    let root_shown = named(root);
    Some(if open_to_all(root) {
        format!("anybody on this machine can change {root_shown}; close it with `chmod o-w`")
    } else {
        format!("anybody on this machine could change {root_shown}; that was closed (`chmod o-w`)")
    })
}

fn check_format(root: &Path) -> Result<(), ProjectError> {
    match read_regular(&root.join("FORMAT")) {
        Ok(bytes) => {
            let found = String::from_utf8_lossy(&bytes[..bytes.len().min(64)]);
            let found = found.lines().next().unwrap_or("").trim().to_owned();
            if found != FORMAT && found.starts_with("sonomark ") {
                let (path, found) = (named(root), shown(&found));
                return Err(ProjectError::Newer { path, found });
            }
            Ok(())
        }
        Err(_) if root.join("clips").is_dir() => Ok(()),
        Err(_) => {
            let hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
            let mut entries = fs::read_dir(root).into_iter().flatten().flatten();
            match entries
                .any(|entry| !hidden(&entry.file_name()) && entry.file_name() != "sessions")
            {
                true => Err(ProjectError::NotAProject { path: named(root) }),
                false => Ok(()),
            }
        }
    }
}

/// Passes a full disk (the work goes on in memory); other causes become errors.
pub(super) fn unless_full(path: &Path, cause: &io::Error) -> Result<(), ProjectError> {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Ok(()),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            Err(ProjectError::ReadOnly { path: named(path), cause: cause.to_string() })
        }
        _ => Err(ProjectError::io("create", path, cause)),
    }
}

/// The note for a disk that will be full soon: others fill it, too.
pub(super) fn nearly_full(root: &Path) -> Option<String> {
    let left = mounts::room(root).filter(|left| *left < LITTLE_ROOM)?;
    Some(format!(
        "only {} MB are left on the disk of {}; make room before it is full (then steps wait in memory)",
        left / 1_000_000,
        named(root)
    ))
}

/// The note for a full disk.
pub(super) fn full(root: &Path, cause: &io::Error) -> String {
    format!("{}: {cause}; steps are kept in memory until there is room", named(root))
}

/// Where copies for clips of this project may lie, in a folder for each clip. New ones go into the last.
pub(super) fn rescue_places(base: &Path, root: &Path) -> Vec<PathBuf> {
    let mut places = vec![rescue_place_by_path(base, root), rescue_place(base, root)];
    places.dedup();
    places
}

/// Where they go. The random second line of FORMAT tells projects
/// apart, so that a new project in the place of an old one never finds the old one's steps.
fn rescue_place(base: &Path, root: &Path) -> PathBuf {
    let format = read_regular(&root.join("FORMAT")).unwrap_or_default();
    let identity = String::from_utf8_lossy(&format);
    let identity = identity.lines().nth(1).filter(|id| checked(&ContentHash((*id).into())).is_ok());
    match identity {
        Some(identity) => base.join(identity),
        None => rescue_place_by_path(base, root),
    }
}

/// The same for a project whose disk was too full even for its FORMAT.
fn rescue_place_by_path(base: &Path, root: &Path) -> PathBuf {
    // What `--project p` names is another folder elsewhere.
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let path = journal::chain_hash(root.as_os_str().as_encoded_bytes());
    base.join(format!("path-{path:08x}"))
}

/// Copies rescued lines of ended sessions into the project, where it lacks them.
pub(super) fn bring_home(
    rescue: &Path,
    ops: &Path,
    alive: &[Alive],
    modes: Modes,
    notes: &mut Vec<String>,
) {
    for file in journal_files(rescue).unwrap_or_default() {
        if alive.iter().any(|a| a.session == file.session) {
            continue;
        }
        let home = journal_files(ops).unwrap_or_default();
        let at_home: HashSet<u64> = home
            .iter()
            .filter(|held| held.session == file.session)
            .filter_map(|held| read_regular(&held.path).ok())
            .flat_map(|bytes| journal::scan("", &bytes, 0).lines)
            .map(|line| line.n)
            .collect();
        let copied = read_regular(&file.path).and_then(|bytes| {
            let lacking = |row: &&[u8]| {
                journal::scan("", row, 0).lines.iter().any(|line| !at_home.contains(&line.n))
            };
            let rows: Vec<&[u8]> = bytes.split_inclusive(|&b| b == b'\n').filter(lacking).collect();
            let name = (0..10_000)
                .map(|k| ops.join(format!("{}.r{k}.jsonl", file.session)))
                .find(|path| !path.exists());
            match name.filter(|_| !rows.is_empty()) {
                Some(path) => modes.publish(&path, &rows.concat()).map(|()| rows.len()),
                None => Ok(0),
            }
        });
        match copied {
            Ok(0) => {}
            Ok(count) => notes.push(format!(
                "{}: {} brought back into the project",
                shown(&file.session),
                counted(count, "rescued step")
            )),
            Err(cause) => notes.push(format!(
                "{} (the rescued steps are loaded from their copy meanwhile)",
                ProjectError::io("bring rescued steps into", ops, &cause)
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::part::make_part;
    use crate::domain::{ClipKind, Edit, Mark, Step, Track, TrackId};
    use crate::project::{ClipStore, StoreOptions};

    #[test]
    fn copies_of_before_the_project_had_a_name_count_also_where_they_cannot_come_home() {
        let dir = tempfile::tempdir().expect("a folder");
        let (root, base) = (dir.path().join("project"), dir.path().join("rescue"));
        let info = ClipInfo::new(ContentHash("5c".repeat(32)), ClipKind::Still, (4, 4), 1);
        let options = StoreOptions { user: "anna".into(), rescue: Some(base.clone()) };
        let open = || ClipStore::open_with(&root, &info, 0, &options).expect("opens");
        let edits = vec![Edit::AddTrack { track: TrackId(1), content: Track::new("nerve", 0) }];
        open()
            .0
            .append(&Step { group: 1, mark: Mark::Do, edits, made_from: None }, 0)
            .expect("written");
        let ops = root.join("clips").join(&info.content_hash.0).join("ops");
        let journal = journal_files(&ops).expect("listed").remove(0).path;
        let early = rescue_place_by_path(&base, &root).join(&info.content_hash.0);
        fs::create_dir_all(&early).expect("made");
        // So long a name that the longer one at home cannot be.
        let name = format!("{}.jsonl", "x".repeat(249));
        fs::rename(journal, early.join(name)).expect("moved");
        let (_store, loaded) = open();
        assert!(loaded.notes.concat().contains("loaded from their copy"), "{:?}", loaded.notes);
        assert_eq!(loaded.annotation.tracks.len(), 1);
    }

    #[test]
    fn a_folder_that_anybody_can_change_is_closed_unless_it_is_a_place_for_all() {
        let dir = tempfile::tempdir().expect("a folder");
        let info = ClipInfo::new(ContentHash("5c".repeat(32)), ClipKind::Still, (4, 4), 1);
        let options = StoreOptions { user: "anna".into(), rescue: None };
        for (given, left) in [(0o777, 0o775), (0o702, 0o700), (0o1777, 0o1777)] {
            let root = dir.path().join(format!("{given:o}"));
            fs::create_dir(&root).expect("made");
            fs::set_permissions(&root, fs::Permissions::from_mode(given)).expect("set");
            let told = || {
                let (_store, loaded) =
                    ClipStore::open_with(&root, &info, 0, &options).expect("opens");
                loaded.notes.concat().contains("anybody on this machine")
            };
            assert!(told(), "{given:o}");
            assert_eq!(fs::metadata(&root).expect("there").permissions().mode() & 0o7777, left);
            assert_eq!(told(), left == given, "once, where it was closed");
        }
    }

    #[test]
    fn what_a_killed_session_left_half_is_taken_away_by_the_next() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("project");
        let info = ClipInfo::new(ContentHash("5c".repeat(32)), ClipKind::Still, (4, 4), 1);
        let options = StoreOptions { user: "anna".into(), rescue: None };
        let open = || drop(ClipStore::open_with(&root, &info, 0, &options).expect("opens"));
        open();
        let clip = root.join("clips").join(&info.content_hash.0);
        let folders = [root.clone(), clip.clone(), clip.join("ops")];
        // Of an earlier start of this machine, or another one, a while ago; and one that is being written.
        let left = folders.each_ref().map(|folder| folder.join(".sonomark-0-7-7-AbC012.part"));
        let living = make_part(&clip).expect("made");
        for path in &left {
            fs::write(path, "half").expect("written");
            let file = fs::OpenOptions::new().write(true).open(path).expect("opened");
            let at = file.metadata().and_then(|meta| meta.modified()).expect("a time");
            file.set_modified(at - std::time::Duration::from_secs(2 * 86_400)).expect("set");
        }
        open();
        assert!(left.iter().all(|path| !path.exists()) && living.path().exists());
        let publish = |folder: &Path| {
            Modes::PRIVATE.publish(&folder.join("clip.json"), b"x").expect("written");
            let parts = fs::read_dir(folder).expect("listed").flatten();
            parts.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b".")).count()
        };
        assert_eq!(publish(&clip), 1, "the living one");
    }

    #[test]
    fn what_was_told_of_a_clip_stays_when_more_becomes_known() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("project");
        let info = ClipInfo::new(ContentHash("5c".repeat(32)), ClipKind::Volume, (4, 4), 2);
        let options = StoreOptions { user: "anna".into(), rescue: None };
        let held_after = |info: &ClipInfo| -> ClipInfo {
            drop(ClipStore::open_with(&root, info, 0, &options).expect("opens"));
            let about = root.join("clips").join(&info.content_hash.0).join("clip.json");
            serde_json::from_slice(&fs::read(about).expect("there")).expect("known")
        };
        let spaced = ClipInfo { slice_spacing_mm: Some(2.0), ..info.clone() };
        assert_eq!(held_after(&spaced), spaced);
        let lossy = ClipInfo { lossy: Some(true), ..info };
        assert_eq!(held_after(&lossy), ClipInfo { lossy: Some(true), ..spaced });
    }

    #[test]
    fn a_relative_project_is_not_the_one_of_that_name_elsewhere() {
        let of = |root: &Path| rescue_place_by_path(Path::new("r"), root);
        let here = std::env::current_dir().expect("a folder").join("p");
        assert_eq!(of(Path::new("p")), of(&here));
    }
}
