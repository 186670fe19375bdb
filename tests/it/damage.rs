//! Damaged journals, full and read-only disks: local, named, and never the end of work.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command as Run;

use sonomark::cli::script::{Command, Script, clip};
use sonomark::domain::Annotation;
use sonomark::project::{ClipStore, ProjectError, StoreOptions, load_read_only};

use super::project::{annotator, as_user, follow, journals, open, random_line, read, text};
use crate::surroundings::skipped;

#[test]
fn a_log_cut_anywhere_is_a_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, loaded) = open(dir.path(), "anna");
    let mut script = annotator(&loaded);
    let mut states = vec![text(&Annotation::default())];
    let lines =
        ["track a", "boundary 1 2 3", "mask 1 9 9 4", "undo", "window 1 5", "track b", "redo"];
    for line in lines {
        if follow(&mut store, &mut script, line) {
            states.push(text(script.annotation()));
        }
    }
    drop(store);
    let file = journals(dir.path()).remove(0);
    let whole = fs::read(&file).unwrap();
    let ends: Vec<usize> = (0..whole.len()).filter(|&i| whole[i] == b'\n').collect();
    for cut in 0..=whole.len() {
        fs::write(&file, &whole[..cut]).unwrap();
        let loaded = read(dir.path());
        // A line that lacks nothing but its line feed counts.
        let steps = ends.iter().filter(|&&end| end <= cut).count();
        assert_eq!(text(&loaded.annotation), states[steps], "cut at {cut}");
        let clean = cut == 0 || ends.iter().any(|&end| cut == end + 1 || cut == end);
        assert_eq!(loaded.notes.is_empty(), clean, "cut at {cut}: {:?}", loaded.notes);
    }
    fs::write(&file, &whole[..whole.len() - 20]).unwrap();
    let (mut store, loaded) = open(dir.path(), "anna");
    assert!(loaded.notes.iter().any(|note| note.contains("line 6")), "{:?}", loaded.notes);
    follow(&mut store, &mut annotator(&loaded), "track after");
    drop(store);
    assert_eq!(fs::read(&file).unwrap(), &whole[..whole.len() - 20], "a torn end is kept as it is");
    assert_eq!(journals(dir.path()).len(), 2);
}

#[test]
fn a_flipped_bit_costs_one_step_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, loaded) = open(dir.path(), "anna");
    let mut script = annotator(&loaded);
    for i in 0..60 {
        follow(&mut store, &mut script, &format!("track t{i}"));
    }
    drop(store);
    let file = journals(dir.path()).remove(0);
    let whole = fs::read(&file).unwrap();
    let mut rng = fastrand::Rng::with_seed(3);
    for _ in 0..400 {
        let (at, bit) = (rng.usize(0..whole.len()), rng.u8(0..8));
        let mut hurt = whole.clone();
        hurt[at] ^= 1 << bit;
        fs::write(&file, &hurt).unwrap();
        let loaded = read(dir.path());
        assert!(loaded.annotation.tracks.len() >= 59, "byte {at} bit {bit}");
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(
            loaded.notes.iter().any(|n| n.contains(name) && n.contains("line ")),
            "{:?}",
            loaded.notes
        );
    }
    // A line taken out is missed, two lines exchanged are noticed, nothing is refused.
    let rows: Vec<&[u8]> = whole.split_inclusive(|&b| b == b'\n').collect();
    fs::write(&file, [&rows[..20], &rows[21..]].concat().concat()).unwrap();
    let loaded = read(dir.path());
    assert_eq!(loaded.annotation.tracks.len(), 59);
    assert!(loaded.notes.iter().any(|note| note.contains("1 step missing")), "{:?}", loaded.notes);
    let other = tempfile::tempdir().unwrap();
    let (mut store, loaded) = open(other.path(), "anna");
    follow(&mut store, &mut annotator(&loaded), "track foreign");
    drop(store);
    let foreign = fs::read(&journals(other.path())[0]).unwrap();
    fs::write(&file, [&foreign[..], &rows[1..].concat()].concat()).unwrap();
    assert!(read(dir.path()).notes.iter().any(|note| note.contains("does not follow")));
}

#[test]
fn bytes_that_come_out_of_order_are_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (mut anna, loaded) = open(dir.path(), "anna");
    let mut script = annotator(&loaded);
    let [(mut ben, _), (mut carl, _)] = ["ben", "carl"].map(|user| open(dir.path(), user));
    for line in ["track a", "track b", "track c", "track d"] {
        follow(&mut anna, &mut script, line);
    }
    let file = journals(dir.path()).remove(0);
    let whole = fs::read(&file).unwrap();
    let ends: Vec<usize> = (0..whole.len()).filter(|&i| whole[i] == b'\n').collect();
    // As another machine may see it: what was written first is still on its way to the server.
    let mut seen = whole.clone();
    seen[ends[0] + 30..ends[1] + 30].fill(0);
    fs::write(&file, &seen).unwrap();
    assert!(ben.read_others());
    ben.take_others();
    assert_eq!((ben.annotation().tracks.len(), ben.take_notes().len()), (2, 0));
    // Where it does not come it is damage, told once.
    let look = |_| {
        carl.read_others();
        carl.take_notes().len()
    };
    let told: Vec<usize> = (0..15).map(look).collect();
    assert_eq!((told[0], told.iter().sum::<usize>()), (0, 1), "{told:?}");
    fs::write(&file, &whole).unwrap();
    assert!(ben.read_others());
    ben.take_others();
    assert_eq!(text(ben.annotation()), text(script.annotation()));
    assert!(ben.take_notes().is_empty());
}

#[test]
fn what_cannot_be_opened_says_why() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("holiday.jpg"), "x").unwrap();
    let error = ClipStore::open_with(dir.path(), &clip(), 0, &as_user("anna")).unwrap_err();
    assert!(matches!(error, ProjectError::NotAProject { .. }), "{error}");
    fs::remove_file(dir.path().join("holiday.jpg")).unwrap();
    drop(open(dir.path(), "anna"));
    fs::write(dir.path().join("FORMAT"), "sonomark 2\n").unwrap();
    let error = ClipStore::open_with(dir.path(), &clip(), 0, &as_user("anna")).unwrap_err();
    assert!(matches!(error, ProjectError::Newer { .. }), "{error}");
    assert!(load_read_only(dir.path(), &clip().content_hash).is_ok());
    let mut hostile = clip();
    hostile.content_hash.0 = "../../etc".into();
    let error = ClipStore::open_with(dir.path(), &hostile, 0, &as_user("anna")).unwrap_err();
    assert!(matches!(error, ProjectError::BadHash { .. }), "{error}");
    // A pipe that calls itself a journal must not hang anybody.
    fs::write(dir.path().join("FORMAT"), "sonomark 1\n").unwrap();
    let ops = dir.path().join("clips").join(&clip().content_hash.0).join("ops");
    assert!(Run::new("mkfifo").arg(ops.join("pipe.jsonl")).status().unwrap().success());
    assert!(open(dir.path(), "anna").1.notes.iter().any(|n| n.contains("not a regular file")));
    // Nor does a name act on a terminal, and a file under a foreign name is still read.
    let (mut store, loaded) = open(dir.path(), "anna");
    follow(&mut store, &mut annotator(&loaded), "track nerve");
    drop(store);
    let own = journals(dir.path()).into_iter().find(|path| !path.ends_with("pipe.jsonl")).unwrap();
    fs::rename(&own, ops.join("copy \u{1b}[2J of it.jsonl")).unwrap();
    let loaded = read(dir.path());
    assert_eq!(loaded.annotation.tracks.len(), 1);
    assert!(
        loaded.notes.len() >= 2 && !loaded.notes.concat().contains('\u{1b}'),
        "{:?}",
        loaded.notes
    );
}

#[test]
fn a_project_that_may_not_be_listed_is_written_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("project");
    fs::create_dir(&root).unwrap();
    let mode = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(dir.path(), 0o755);
    mode(&root, 0o333);
    let work = || {
        // Root may list everything; this is of the thread alone, and others change nothing by it.
        // SAFETY: it takes a number and changes the rights of this thread.
        unsafe { libc::setfsuid(65_534) };
        let (mut store, loaded) = open(&root, "anna");
        follow(&mut store, &mut annotator(&loaded), "track nerve");
        store.sync().map(|()| store.unsynced())
    };
    let unsynced = std::thread::scope(|scope| scope.spawn(work).join().unwrap());
    assert_eq!(unsynced, Ok(0));
    assert_eq!(journals(&root).len(), 1, "one file was enough");
    mode(&root, 0o700);
}

#[test]
fn a_clip_whose_journals_cannot_be_listed_is_not_one_without_work() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, loaded) = open(dir.path(), "anna");
    follow(&mut store, &mut annotator(&loaded), "track nerve");
    drop(store);
    let ops = journals(dir.path())[0].parent().unwrap().to_owned();
    let mode = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let clips = ops.ancestors().nth(2).unwrap();
    ops.ancestors().take(4).for_each(|above| mode(above, 0o755));
    let look = || {
        // SAFETY: it takes a number and changes the rights of this thread.
        unsafe { libc::setfsuid(65_534) };
        load_read_only(dir.path(), &clip().content_hash).map(|loaded| loaded.annotation)
    };
    for (closed, rights) in [(ops.as_path(), 0o300), (clips, 0o600)] {
        mode(closed, rights);
        let found = std::thread::scope(|scope| scope.spawn(look).join().unwrap());
        assert!(matches!(found, Err(ProjectError::Io { .. })), "{found:?}");
        mode(closed, 0o755);
    }
}

pub(crate) struct Mounted(pub(crate) PathBuf);

impl Mounted {
    /// A tmpfs of `size`, or `None` where mounting is not allowed.
    pub(crate) fn new(at: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let size = format!("size={size},mode=0700");
        let mount = Run::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(&at).output();
        mount.is_ok_and(|run| run.status.success()).then_some(Self(at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Run::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_stops_nobody_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Mounted::new(dir.path().join("disk"), "160k") else {
        return skipped("mounting a small tmpfs needs root");
    };
    let root = disk.0.join("project");
    let rescue = dir.path().join("rescue");
    let options = StoreOptions { user: "anna".into(), rescue: Some(rescue.clone()) };
    let start = || ClipStore::open_with(&root, &clip(), 0, &options).unwrap();
    let mut rng = fastrand::Rng::with_seed(6);
    let (mut store, loaded) = start();
    let mut script = annotator(&loaded);
    let mut work = |store: &mut ClipStore, script: &mut Script, count: usize| {
        let mut refused = 0;
        for _ in 0..count {
            if let Command::Step(step) = script.command(&random_line(&mut rng)).unwrap() {
                match store.append(&step, 0) {
                    Ok(()) => {}
                    Err(error) if error.step_is_kept() => refused += 1,
                    Err(error) => panic!("{error}"),
                }
                script.done(&step);
            }
        }
        refused
    };
    assert_eq!(work(&mut store, &mut script, 20), 0);
    let ballast = disk.0.join("ballast");
    let _ = fs::write(&ballast, vec![1u8; 1 << 20]);
    assert!(work(&mut store, &mut script, 200) > 100, "the disk was full");
    assert!(store.sync().is_err() && store.unsynced() > 100);
    // Room again: everything goes out by itself.
    fs::remove_file(&ballast).unwrap();
    work(&mut store, &mut script, 20);
    store.sync().unwrap();
    assert_eq!(store.unsynced(), 0);
    let on_disk = read(&root);
    assert_eq!(text(&on_disk.annotation), text(script.annotation()));
    assert!(on_disk.notes.is_empty(), "{:?}", on_disk.notes);
    // Full again, and the process ends before there is room: the copy comes home.
    let _ = fs::write(&ballast, vec![1u8; 1 << 20]);
    assert!(work(&mut store, &mut script, 60) > 0);
    std::mem::forget(store);
    fs::remove_file(&ballast).unwrap();
    for lease in fs::read_dir(root.join("sessions")).unwrap() {
        fs::remove_file(lease.unwrap().path()).unwrap(); // as if the process had ended
    }
    let (_store, loaded) = start();
    assert_eq!(text(&loaded.annotation), text(script.annotation()));
    assert!(loaded.notes.iter().any(|n| n.contains("brought back")), "{:?}", loaded.notes);
}

#[test]
fn a_disk_that_is_nearly_full_is_told_before_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Mounted::new(dir.path().join("disk"), "8m") else {
        return skipped("mounting a small tmpfs needs root");
    };
    let root = disk.0.join("project");
    let notes = open(&root, "anna").1.notes;
    assert!(notes.len() == 1 && notes[0].starts_with("only 8 MB are left"), "{notes:?}");
    let sized = |size: &str| {
        let size = format!("remount,size={size}");
        let run = Run::new("mount").args(["-o", &size]).arg(&disk.0).status();
        assert!(run.unwrap().success());
    };
    sized("600m");
    let (mut store, loaded) = open(&root, "anna");
    assert!(loaded.notes.is_empty(), "that is enough: {:?}", loaded.notes);
    // It fills while the clip is open: told once.
    store.read_others();
    assert_eq!(store.take_notes(), [] as [String; 0]);
    sized("8m");
    store.read_others();
    let notes = store.take_notes();
    assert!(notes.len() == 1 && notes[0].starts_with("only 8 MB are left"), "{notes:?}");
    store.read_others();
    assert_eq!(store.take_notes(), [] as [String; 0]);
}

#[test]
fn a_journal_whose_folder_went_away_is_not_called_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, loaded) = open(dir.path(), "anna");
    let mut script = annotator(&loaded);
    follow(&mut store, &mut script, "track nerve");
    // The disk takes every byte of the file, which no folder names any more.
    let ops = journals(dir.path())[0].parent().unwrap().to_owned();
    fs::rename(&ops, dir.path().join("away")).unwrap();
    follow(&mut store, &mut script, "boundary 1 2 3");
    store.sync().unwrap();
    assert_eq!(store.unsynced(), 0);
    assert_eq!(text(&read(dir.path()).annotation), text(script.annotation()));
}

#[test]
fn a_session_that_begins_on_a_full_disk_leaves_no_empty_file() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Mounted::new(dir.path().join("disk"), "160k") else {
        println!("skipped: mounting a small tmpfs needs root");
        return;
    };
    let root = disk.0.join("project");
    drop(open(&root, "anna"));
    let _ = fs::write(disk.0.join("ballast"), vec![1u8; 1 << 20]);
    let (store, loaded) = open(&root, "anna");
    assert!(loaded.notes.iter().any(|note| note.contains("until there is room")), "{loaded:?}");
    assert_eq!(fs::read_dir(root.join("sessions")).unwrap().count(), 0);
    drop(store);
}

#[test]
fn a_read_only_project_opens_for_viewing() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Mounted::new(dir.path().join("disk"), "1m") else {
        return skipped("mounting a small tmpfs needs root");
    };
    let root = disk.0.join("project");
    let (mut store, loaded) = open(&root, "anna");
    let mut script = annotator(&loaded);
    follow(&mut store, &mut script, "track nerve");
    drop(store);
    assert!(Run::new("mount").args(["-o", "remount,ro"]).arg(&disk.0).status().unwrap().success());
    let error = ClipStore::open_with(&root, &clip(), 0, &as_user("anna")).unwrap_err();
    assert!(matches!(error, ProjectError::ReadOnly { .. }), "{error}");
    assert_eq!(text(&read(&root).annotation), text(script.annotation()));
}
