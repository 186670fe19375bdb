//! The watched folder: half-copied files are waited for, everything is found, once.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use sonomark::project::{Found, WatchOptions, Watcher};

use crate::surroundings::{PATIENCE, until};

const SETTLE: Duration = Duration::from_millis(300);

/// Clips of these tests end in "END"; frames are `.png`.
fn complete(path: &Path) -> Result<(), String> {
    let whole = |path: &Path| fs::read(path).is_ok_and(|bytes| bytes.ends_with(b"END"));
    let fine = if path.is_dir() {
        fs::read_dir(path).unwrap().all(|entry| whole(&entry.unwrap().path()))
    } else {
        whole(path)
    };
    if fine { Ok(()) } else { Err("its end is missing".into()) }
}

fn looks(path: &Path) -> bool {
    let frame = |path: &Path| path.extension().is_some_and(|e| e == "png");
    if path.is_dir() {
        return fs::read_dir(path).is_ok_and(|entries| entries.flatten().any(|e| frame(&e.path())));
    }
    frame(path) || path.extension().is_some_and(|e| e == "clip")
}

fn watch(folder: &Path, poll: bool) -> (Watcher, Receiver<Found>) {
    let mut options = WatchOptions::new(looks, complete);
    options.settle = SETTLE;
    options.poll = Duration::from_millis(200);
    options.always_poll = poll;
    let (sender, found) = mpsc::channel();
    (Watcher::start(folder, options, sender).unwrap(), found)
}

fn next(found: &Receiver<Found>) -> Found {
    found.recv_timeout(PATIENCE).expect("something is found")
}

fn nothing_more(found: &Receiver<Found>) {
    assert_eq!(found.recv_timeout(SETTLE * 4).ok(), None);
}

/// A canonical temporary folder.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    (dir, path)
}

#[test]
fn a_slow_copy_is_reported_once_when_it_is_whole() {
    for poll in [false, true] {
        let (_dir, folder) = folder();
        let (watcher, found) = watch(&folder, poll);
        assert_eq!(watcher.mode().starts_with("every"), poll, "{}", watcher.mode());
        let path = folder.join("slow.clip");
        let mut file = fs::File::create(&path).unwrap();
        let began = Instant::now();
        for _ in 0..8 {
            file.write_all(b"some bytes").unwrap();
            thread::sleep(SETTLE / 3);
        }
        file.write_all(b"END").unwrap();
        drop(file);
        let written = began.elapsed();
        assert_eq!(next(&found), Found::Clip(path.clone()));
        assert!(began.elapsed() >= written + SETTLE / 2, "reported too early");
        // Touching changes no content; a new content is a new report.
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        nothing_more(&found);
        fs::write(&path, "another END").unwrap();
        assert_eq!(next(&found), Found::Clip(path));
        nothing_more(&found);
    }
}

#[test]
fn renamed_in_truncated_and_foreign_files() {
    let (_dir, folder) = folder();
    let (_other, outside) = self::folder();
    fs::write(folder.join("before.clip"), "was there END").unwrap();
    let (_watcher, found) = watch(&folder, false);
    assert_eq!(next(&found), Found::Clip(folder.join("before.clip")));
    fs::write(outside.join("moved.clip"), "whole END").unwrap();
    fs::rename(outside.join("moved.clip"), folder.join("moved.clip")).unwrap();
    assert_eq!(next(&found), Found::Clip(folder.join("moved.clip")));
    // A copy that died half way is refused once, with its reason, and taken when it is finished.
    let half = folder.join("half.clip");
    fs::write(&half, "only the beginning").unwrap();
    assert_eq!(
        next(&found),
        Found::Refused { path: half.clone(), why: "its end is missing".into() }
    );
    nothing_more(&found);
    fs::OpenOptions::new().append(true).open(&half).unwrap().write_all(b" END").unwrap();
    assert_eq!(next(&found), Found::Clip(half.clone()));
    // Truncated and written again.
    fs::File::create(&half).unwrap();
    fs::write(&half, "anew END").unwrap();
    assert_eq!(next(&found), Found::Clip(half));
    // Not for us: text, hidden files, a folder inside a hidden one.
    fs::write(folder.join("notes.txt"), "END").unwrap();
    fs::write(folder.join(".part.clip"), "END").unwrap();
    nothing_more(&found);
    std::os::unix::fs::symlink("/etc/hostname", folder.join("link.clip")).unwrap();
    assert!(matches!(next(&found), Found::Refused { why, .. } if why.contains("link")));
    // A frame may be one no more than a clip.
    let frames = folder.join("frames");
    fs::create_dir(&frames).unwrap();
    fs::write(outside.join("0.png"), "END").unwrap();
    std::os::unix::fs::symlink(outside.join("0.png"), frames.join("0.png")).unwrap();
    let why = "its file 0.png is a link; copy the file itself".into();
    assert_eq!(next(&found), Found::Refused { path: frames, why });
}

#[test]
fn a_file_that_may_be_read_at_last_is_taken() {
    let (_dir, folder) = folder();
    let mode = |path: &Path, mode: u32| {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    // Rights as this test's files have them: who may read everything would not be refused.
    fn allowed(path: &Path) -> Result<(), String> {
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions());
        if mode & 0o400 == 0 { Err("it may not be read".into()) } else { complete(path) }
    }
    let path = folder.join("locked.clip");
    fs::write(&path, "whole END").unwrap();
    mode(&path, 0o000);
    let mut options = WatchOptions::new(looks, allowed);
    options.settle = SETTLE;
    let (sender, found) = mpsc::channel();
    let _watcher = Watcher::start(&folder, options, sender).unwrap();
    assert!(matches!(next(&found), Found::Refused { why, .. } if why.contains("may not")));
    mode(&path, 0o600);
    assert_eq!(next(&found), Found::Clip(path));
}

#[test]
fn a_header_is_taken_when_the_file_that_it_names_comes() {
    fn part(path: &Path) -> Option<PathBuf> {
        looks(path).then(|| path.with_extension("raw"))
    }
    fn both(path: &Path) -> Result<(), String> {
        complete(path).and_then(|()| complete(&path.with_extension("raw")))
    }
    let (_dir, folder) = folder();
    let mut options = WatchOptions::new(looks, both);
    (options.settle, options.part) = (SETTLE, part);
    let (sender, found) = mpsc::channel();
    let _watcher = Watcher::start(&folder, options, sender).unwrap();
    let (header, voxels) = (folder.join("a.clip"), folder.join("a.raw"));
    fs::write(&header, "END").unwrap();
    let why = "its end is missing".into();
    assert_eq!(next(&found), Found::Refused { path: header.clone(), why });
    fs::write(&voxels, "voxels END").unwrap();
    assert_eq!(next(&found), Found::Clip(header.clone()));
    nothing_more(&found);
    // Other voxels are another content; those of a link are somebody else's.
    fs::write(&voxels, "other voxels END").unwrap();
    assert_eq!(next(&found), Found::Clip(header.clone()));
    // In one step: without voxels the header alone would be told first.
    fs::copy(&voxels, folder.join("b.raw")).unwrap();
    std::os::unix::fs::symlink(folder.join("b.raw"), folder.join("c.raw")).unwrap();
    fs::rename(folder.join("c.raw"), &voxels).unwrap();
    // On a busy machine the link is told by itself first.
    let told = std::iter::repeat_with(|| next(&found))
        .find(|told| !matches!(told, Found::Refused { path, .. } if *path != header));
    assert!(
        matches!(&told, Some(Found::Refused { why, .. }) if why.contains("a.raw is a link")),
        "{told:?}"
    );
}

#[test]
fn a_burst_and_folders_of_frames_are_found_whole() {
    let (_dir, folder) = folder();
    let (_watcher, found) = watch(&folder, false);
    let mut wanted: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for i in 0..200 {
        let path = folder.join(format!("{i:03}.clip"));
        fs::write(&path, format!("{i} END")).unwrap();
        wanted.insert(path, 0);
    }
    let frames = folder.join("patient 1/scan");
    fs::create_dir_all(&frames).unwrap();
    // The first one ends last: however long the others take, the folder is whole only then.
    fs::write(frames.join("00.png"), "frame").unwrap();
    for i in 1..20 {
        fs::write(frames.join(format!("{i:02}.png")), "frame END").unwrap();
        thread::sleep(SETTLE / 10);
    }
    fs::write(frames.join("00.png"), "frame END").unwrap();
    wanted.insert(frames.clone(), 0);
    fs::write(folder.join("patient 1/single.clip"), "END").unwrap();
    wanted.insert(folder.join("patient 1/single.clip"), 0);
    while wanted.values().any(|&count| count == 0) {
        match found.recv_timeout(PATIENCE) {
            Ok(Found::Clip(path)) => *wanted.get_mut(&path).expect("only what was written") += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(wanted.values().all(|&count| count == 1), "{wanted:?}");
    nothing_more(&found);
    fs::write(frames.join("20.png"), "one more END").unwrap();
    assert_eq!(next(&found), Found::Clip(frames));
}

#[test]
fn the_folder_is_never_written() {
    let (_dir, folder) = folder();
    fs::write(folder.join("a.clip"), "END").unwrap();
    let before = fs::metadata(&folder).unwrap().modified().unwrap();
    let (watcher, found) = watch(&folder, false);
    next(&found);
    drop(watcher);
    assert_eq!(fs::metadata(&folder).unwrap().modified().unwrap(), before);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    assert!(found.recv().is_err(), "the thread ended");
}

#[test]
fn who_leaves_does_not_wait_for_a_slow_drive() {
    static ASKED: AtomicBool = AtomicBool::new(false);
    static ANSWERED: AtomicBool = AtomicBool::new(false);
    fn slow(_: &Path) -> Result<(), String> {
        ASKED.store(true, Ordering::Relaxed);
        while !ANSWERED.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
    let (_dir, folder) = folder();
    fs::write(folder.join("a.clip"), "END").unwrap();
    let mut options = WatchOptions::new(looks, slow);
    options.settle = SETTLE;
    let (sender, found) = mpsc::channel();
    let watcher = Watcher::start(&folder, options, sender).unwrap();
    until("a look at the clip", || ASKED.load(Ordering::Relaxed));
    let (left, over) = mpsc::channel();
    thread::spawn(move || {
        drop(watcher);
        left.send(())
    });
    let over = over.recv_timeout(PATIENCE);
    ANSWERED.store(true, Ordering::Relaxed);
    assert!(over.is_ok(), "leaving waits for the drive");
    // The look in hand is finished, and no other begins.
    assert_eq!(next(&found), Found::Clip(folder.join("a.clip")));
    assert!(found.recv().is_err(), "the thread ended");
}
