//! The project folder: nothing an annotator did is lost, whatever happens to the files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sonomark::cli::script::{Command, Script, clip};
use sonomark::domain::{
    Annotation, Bitmap, ClipInfo, Edit, FrameMask, Mark, MaskSource, OutsideChoice, PictureLook,
    PointPx, Region, Step, Track, TrackId, Window,
};
use sonomark::project::{ClipStore, Loaded, StoreOptions, View, list_clips, load_read_only};

use crate::surroundings::{data, on_cpu};

pub(crate) fn as_user(user: &str) -> StoreOptions {
    StoreOptions { user: user.into(), rescue: None }
}

pub(crate) fn open(root: &Path, user: &str) -> (ClipStore, Loaded) {
    ClipStore::open_with(root, &clip(), 1_790_000_000_000, &as_user(user)).unwrap()
}

pub(crate) fn read(root: &Path) -> Loaded {
    load_read_only(root, &clip().content_hash).unwrap()
}

pub(crate) fn annotator(loaded: &Loaded) -> Script {
    Script::new(loaded.annotation.clone(), loaded.history.clone(), loaded.session_seed)
}

fn others_of(store: &mut ClipStore) -> Vec<Edit> {
    store.read_others();
    store.take_others().edits
}

/// Follows one line; true when there was a step.
pub(crate) fn follow(store: &mut ClipStore, script: &mut Script, line: &str) -> bool {
    match script.command(line).unwrap() {
        Command::Step(step) => {
            store.append(&step, 0).unwrap();
            script.done(&step);
            true
        }
        Command::View(view) => {
            store.append_view(&view, 0).unwrap();
            false
        }
        _ => false,
    }
}

pub(crate) fn random_line(rng: &mut fastrand::Rng) -> String {
    let (frame, x, y) = (rng.u32(0..32), rng.u32(0..64), rng.u32(0..48));
    match rng.u32(0..14) {
        0 => format!("track t{x}"),
        1..=4 => format!("boundary {frame} {x}.25 {y}.5"),
        5 => format!("outside {frame} {x} {y}"),
        6 => format!("remove {frame} {}", rng.u32(0..2)),
        7 => format!("window {frame} {}", frame + 3),
        8 => format!("mask {frame} {x} {y} {}", rng.u32(2..20)),
        9 | 10 => "undo".into(),
        11 => format!("flag {frame}"),
        12 => format!("place {} {frame}", char::from(b'a' + (x % 3) as u8)),
        _ => "redo".into(),
    }
}

pub(crate) fn journals(root: &Path) -> Vec<PathBuf> {
    let ops = root.join("clips").join(&clip().content_hash.0).join("ops");
    let mut files: Vec<PathBuf> = fs::read_dir(ops).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

fn copy_into(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_into(&entry.path(), &target);
        } else if !target.exists() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub(crate) fn text(annotation: &Annotation) -> String {
    serde_json::to_string(annotation).unwrap()
}

fn step(group: u64, edit: Edit) -> Step {
    Step { group, mark: Mark::Do, edits: vec![edit], made_from: None }
}

fn mask(source: MaskSource, r: u32) -> FrameMask {
    let mask = Bitmap::from_fn(64, 48, |x, y| x < r && y < r).to_mask();
    FrameMask { mask, source, score: 0.5 }
}

/// Anna and Ben decide the same mask, neither having seen what the other does.
pub(crate) fn at_the_same_time(root: &Path, info: &ClipInfo) {
    let open = |user: &str| ClipStore::open_with(root, info, 0, &as_user(user)).unwrap().0;
    let (mut anna, mut ben, track) = (open("anna"), open("ben"), TrackId(1));
    anna.append(&step(1, Edit::AddTrack { track, content: Track::new("n", 0) }), 0).unwrap();
    others_of(&mut ben);
    for (store, r) in [(&mut anna, 3), (&mut ben, 5)] {
        let after = Some(mask(MaskSource::Accepted, r));
        store.append(&step(2, Edit::SetMask { track, frame: 4, before: None, after }), 0).unwrap();
    }
}

#[test]
fn a_reopened_clip_is_as_it_was_left() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("new/project");
    let mut rng = fastrand::Rng::with_seed(1);
    let (mut store, loaded) = open(&root, "anna");
    let mut script = annotator(&loaded);
    for _ in 0..300 {
        follow(&mut store, &mut script, &random_line(&mut rng));
    }
    let cursor = PointPx::new(1.5, 2.25);
    let view = View {
        frame: 7,
        cursor,
        track: Some(TrackId(9)),
        finished: true,
        keys: 3,
        outside: None,
        look: Some(PictureLook { gamma: 0.8, ..PictureLook::default() }),
    };
    store.append_view(&view, 0).unwrap();
    assert!(store.unsynced() > 0);
    store.syncer().sync().unwrap();
    assert_eq!(store.unsynced(), 0);
    drop(store);
    let (_, again) = open(&root, "anna");
    assert_eq!(text(&again.annotation), text(script.annotation()));
    assert_eq!((again.view, again.notes.len()), (Some(view), 0), "{:?}", again.notes);
    assert_ne!(again.session_seed, loaded.session_seed);
    let summary = list_clips(&root).unwrap();
    assert_eq!((summary.len(), summary[0].info.clone()), (1, Some(clip())));
    assert_eq!(summary[0].journals, 1, "looking creates no journal");
    for path in [root.clone(), root.join("clips"), root.join("sessions")] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
    }
    assert_eq!(fs::metadata(&journals(&root)[0]).unwrap().permissions().mode() & 0o777, 0o600);
}

/// `journals/1` was written by the first version and is never written again: what it says must be readable for ever, every
/// kind of edit and both kinds of lines.
#[test]
fn journals_of_the_first_version_mean_what_they_meant() {
    let dir = tempfile::tempdir().unwrap();
    copy_into(&data("journals/1"), dir.path());
    let info = list_clips(dir.path()).unwrap().remove(0).info.expect("clip.json is readable");
    let (_store, loaded) = ClipStore::open_with(dir.path(), &info, 0, &as_user("anna")).unwrap();
    assert_eq!(loaded.notes, [] as [String; 0]);
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let meant = fs::read_to_string(data("journals/1.json")).unwrap();
    assert_eq!(read(&text(&loaded.annotation)), read(&meant));
    let look = PictureLook { gain: 1.15, automatic: true, clahe: true, ..PictureLook::default() };
    let view = View {
        frame: 2,
        cursor: PointPx::new(49.5, 36.5),
        track: Some(TrackId(5_365_752_997)),
        finished: false,
        keys: 29,
        outside: None,
        look: Some(look),
    };
    assert_eq!((loaded.view, loaded.position), (Some(view), 54));
    let shown = OutsideChoice::HideAllBut(Region::Box([1, 2, 90, 70]));
    assert_eq!(loaded.outside, Some(shown));
}

#[test]
fn what_an_earlier_version_did_not_say_of_a_clip_is_added() {
    let dir = tempfile::tempdir().unwrap();
    let held = || list_clips(dir.path()).unwrap().remove(0).info.unwrap();
    let open_as = |name: &str, lossy| {
        let info = ClipInfo { name: name.to_owned(), lossy, ..clip() };
        ClipStore::open_with(dir.path(), &info, 0, &as_user("anna")).unwrap().1.notes
    };
    // Nothing else is changed, and what is known stays.
    for (name, lossy, wanted) in
        [("a", None, None), ("b", Some(true), Some(true)), ("c", Some(false), Some(true))]
    {
        assert_eq!(open_as(name, lossy), Vec::<String>::new());
        assert_eq!(held(), ClipInfo { name: "a".to_owned(), lossy: wanted, ..clip() });
    }
    let apart = Some(2.0);
    let info = ClipInfo { name: "d".to_owned(), slice_spacing_mm: apart, ..clip() };
    ClipStore::open_with(dir.path(), &info, 0, &as_user("anna")).unwrap();
    let info = ClipInfo { name: "a".to_owned(), lossy: Some(true), ..info };
    assert_eq!(held(), info);
}

#[test]
fn what_a_newer_version_says_of_a_clip_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path(), "anna"));
    let folder = dir.path().join("clips").join(&clip().content_hash.0);
    let about = folder.join("clip.json");
    let newer = fs::read_to_string(&about).unwrap().replace("\"cine\"", "\"cine_of_volumes\"");
    fs::write(&about, &newer).unwrap();
    for user in ["anna", "ben"] {
        let (mut store, loaded) = open(dir.path(), user);
        assert!(loaded.notes.concat().contains("newer sonomark wrote it"), "{:?}", loaded.notes);
        assert!(follow(&mut store, &mut annotator(&loaded), "track nerve"), "work goes on");
        assert_eq!(fs::read_to_string(&about).unwrap(), newer);
    }
    // Torn, or of another clip, it is damaged: put aside and written anew.
    for text in [newer[..40].to_owned(), newer.replace("5c5c", "5d5d")] {
        fs::write(&about, &text).unwrap();
        let (_store, loaded) = open(dir.path(), "anna");
        assert!(loaded.notes.concat().contains("was damaged"), "{:?}", loaded.notes);
        assert_eq!(list_clips(dir.path()).unwrap()[0].info, Some(clip()));
    }
    let aside = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().contains("damaged");
    assert_eq!(fs::read_dir(&folder).unwrap().flatten().filter(aside).count(), 2);
}

#[test]
fn undo_and_redo_go_on_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = fastrand::Rng::with_seed(2);
    let mut oracle: Option<Script> = None;
    for _ in 0..12 {
        let (mut store, loaded) = open(dir.path(), "anna");
        let mut script = annotator(&loaded);
        let mut kept = oracle.take().unwrap_or_default().with_seed(loaded.session_seed);
        for _ in 0..40 {
            let line = random_line(&mut rng);
            follow(&mut store, &mut script, &line);
            if let Command::Step(step) = kept.command(&line).unwrap() {
                kept.done(&step);
            }
            assert_eq!(text(script.annotation()), text(kept.annotation()), "{line}");
        }
        oracle = Some(kept);
    }
    let (mut store, loaded) = open(dir.path(), "anna");
    let mut script = annotator(&loaded);
    while follow(&mut store, &mut script, "undo") {}
    assert_eq!(
        text(script.annotation()),
        text(&Annotation::default()),
        "undo reaches the beginning"
    );
    drop(store);
    let (mut store, loaded) = open(dir.path(), "ben");
    assert!(!follow(&mut store, &mut annotator(&loaded), "undo"), "ben does not undo anna's work");
}

#[test]
fn sessions_that_begin_a_project_at_once_know_it_by_one_name() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let (root, together) = (dir.path().join("new"), std::sync::Barrier::new(4));
        let named = || fs::read_to_string(root.join("FORMAT")).unwrap();
        let begin = || {
            together.wait();
            let _held = open(&root, "anna");
            named()
        };
        let seen: Vec<String> = std::thread::scope(|scope| {
            let begun: Vec<_> = (0..4).map(|_| scope.spawn(begin)).collect();
            begun.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(seen.iter().all(|text| *text == named()), "{seen:?}");
        let hidden = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with('.');
        assert!(!fs::read_dir(&root).unwrap().flatten().any(hidden), "something is left behind");
    }
}

#[test]
fn a_track_removed_with_everything_it_holds_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, loaded) = open(dir.path(), "anna");
    let mut script = annotator(&loaded);
    for line in ["track nerve", "boundary 3 1 2", "mask 5 20 20 6", "window 2 9"] {
        assert!(follow(&mut store, &mut script, line));
    }
    let full = text(script.annotation());
    let (&track, content) = script.annotation().tracks.iter().next().unwrap();
    let removal = step(99, Edit::RemoveTrack { track, content: content.clone() });
    store.append(&removal, 0).unwrap();
    drop(store);
    let (mut store, loaded) = open(dir.path(), "anna");
    assert!(loaded.notes.is_empty(), "{:?}", loaded.notes);
    assert!(loaded.annotation.tracks.is_empty());
    let mut script = annotator(&loaded);
    assert!(follow(&mut store, &mut script, "undo"));
    assert_eq!(text(script.annotation()), full);
}

#[test]
fn a_clip_that_is_opened_again_names_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let (_first, loaded) = open(dir.path(), "anna");
    assert!(loaded.others.is_empty(), "{:?}", loaded.others);
    let (_again, loaded) = open(dir.path(), "anna");
    assert!(loaded.others.is_empty(), "{:?}", loaded.others);
    let (_ben, loaded) = open(dir.path(), "ben");
    assert_eq!(loaded.others.len(), 2, "{:?}", loaded.others);
}

#[test]
fn two_live_sessions_converge_and_keep_both_works() {
    for seed in 0..30 {
        let dir = tempfile::tempdir().unwrap();
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut a, loaded_a) = open(dir.path(), "anna");
        let (mut b, loaded_b) = open(dir.path(), "ben");
        assert!(loaded_b.others[0].starts_with("anna on "), "{:?}", loaded_b.others);
        let mut states = [loaded_a.annotation.clone(), loaded_b.annotation.clone()];
        let mut scripts = [annotator(&loaded_a), annotator(&loaded_b)];
        let mut made = 0;
        for _ in 0..120 {
            let who = rng.usize(0..2);
            let store = if who == 0 { &mut a } else { &mut b };
            // What was read of others counts only once it is taken, whatever is decided in between.
            if rng.u32(0..4) == 0 {
                store.read_others();
            }
            if rng.u32(0..4) == 0 {
                for edit in store.take_others().edits {
                    states[who].apply(&edit).expect("edits of others are exact");
                    scripts[who].done(&Step {
                        group: 0,
                        mark: Mark::Redo,
                        edits: vec![edit],
                        made_from: None,
                    });
                }
                continue;
            }
            // Both start from what they see; undo is tested elsewhere.
            let line = random_line(&mut rng);
            if line == "undo" || line == "redo" {
                continue;
            }
            if let Command::Step(step) = scripts[who].command(&line).unwrap() {
                store.append(&step, 0).unwrap();
                states[who].apply_all(&step.edits).unwrap();
                scripts[who].done(&step);
                made += 1;
            }
            assert_eq!(text(store.annotation()), text(&states[who]));
        }
        for (store, state) in [&mut a, &mut b].into_iter().zip(&mut states) {
            for edit in others_of(store) {
                state.apply(&edit).expect("edits of others are exact");
            }
        }
        assert_eq!(text(&states[0]), text(&states[1]), "seed {seed}");
        drop((a, b));
        assert_eq!(text(&read(dir.path()).annotation), text(&states[0]), "seed {seed}");
        let rows = |path: &PathBuf| fs::read(path).unwrap().iter().filter(|&&b| b == b'\n').count();
        assert_eq!(journals(dir.path()).iter().map(rows).sum::<usize>(), made);
    }
}

#[test]
fn copies_of_a_project_merge_by_copying_the_files_together() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = fastrand::Rng::with_seed(5);
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let work = |root: &Path, user: &str, rng: &mut fastrand::Rng| {
        let (mut store, loaded) = open(root, user);
        let mut script = annotator(&loaded);
        for _ in 0..80 {
            follow(&mut store, &mut script, &random_line(rng));
        }
        follow(&mut store, &mut script, &format!("track of_{user}"));
    };
    work(&one, "anna", &mut rng);
    copy_into(&one, &two);
    for _ in 0..3 {
        work(&one, "anna", &mut rng);
        work(&two, "ben", &mut rng);
    }
    let (left, right) = (dir.path().join("left"), dir.path().join("right"));
    for (target, order) in [(&left, [&one, &two]), (&right, [&two, &one])] {
        order.into_iter().for_each(|from| copy_into(from, target));
    }
    copy_into(&one, &left);
    let (l, r) = (read(&left), read(&right));
    assert_eq!(text(&l.annotation), text(&r.annotation));
    let labels: Vec<&str> = l.annotation.tracks.values().map(|t| t.info.label.as_str()).collect();
    assert!(labels.contains(&"of_anna") && labels.contains(&"of_ben"), "{labels:?}");
    assert_eq!(journals(&left).len(), 7);
}

#[test]
fn a_model_never_replaces_a_persons_frame_and_two_persons_are_named() {
    for model_first in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let track = TrackId(1);
        let (mut anna, _) = open(dir.path(), "anna");
        anna.append(&step(1, Edit::AddTrack { track, content: Track::new("n", 0) }), 0).unwrap();
        let (mut batch, _) = open(dir.path(), "batch");
        let (mut ben, _) = open(dir.path(), "ben");
        let set = |source, r| Edit::SetMask {
            track,
            frame: 4,
            before: None,
            after: Some(mask(source, r)),
        };
        let (tracked, drawn) = (set(MaskSource::Tracked, 9), set(MaskSource::Accepted, 5));
        if model_first {
            batch.append(&step(2, tracked), 0).unwrap();
            anna.append(&step(3, drawn), 0).unwrap();
        } else {
            anna.append(&step(3, drawn), 0).unwrap();
            batch.append(&step(2, tracked), 0).unwrap();
            batch
                .append(
                    &step(
                        4,
                        Edit::SetTrackInfo {
                            track,
                            before: Track::new("n", 0).info,
                            after: Track::new("m", 0).info,
                        },
                    ),
                    0,
                )
                .unwrap();
        }
        drop((anna, batch));
        let loaded = read(dir.path());
        assert_eq!(loaded.annotation.tracks[&track].masks[&4].source, MaskSource::Accepted);
        ben.append(&step(8, set(MaskSource::Accepted, 7)), 0).unwrap();
        drop(ben);
        let loaded = read(dir.path());
        let told = loaded
            .notes
            .iter()
            .any(|n| n.contains("anna") && n.contains("ben") && n.contains("frame 5"));
        assert!(told, "{:?}", loaded.notes);
    }
}

#[test]
fn what_was_decided_at_the_same_time_is_told_to_each_until_they_have_seen_it() {
    let dir = tempfile::tempdir().unwrap();
    at_the_same_time(dir.path(), &clip());
    let told = |loaded: &Loaded| {
        assert_eq!(loaded.notes.len(), loaded.conflicts.len(), "{:?}", loaded.notes);
        loaded.notes.iter().filter(|note| note.contains("at the same time")).count()
    };
    for _ in 0..2 {
        assert_eq!(told(&open(dir.path(), "anna").1), 1, "it stood on no screen");
    }
    let (mut anna, loaded) = open(dir.path(), "anna");
    anna.told(loaded.conflicts.iter().map(|conflict| conflict.id));
    let flag = Edit::SetFlag { track: TrackId(1), frame: 4, before: false, after: true };
    anna.append(&step(3, flag), 0).unwrap();
    drop(anna);
    let again = ["anna", "ben", "anna"].map(|user| told(&open(dir.path(), user).1));
    assert_eq!(again, [0, 1, 0]);
    assert_eq!(told(&read(dir.path())), 1, "who lists what a project holds is told everything");
}

#[test]
fn masks_of_a_long_clip_are_held_once_however_often_they_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (mut anna, _) = open(dir.path(), "anna");
    let track = TrackId(1);
    anna.append(&step(1, Edit::AddTrack { track, content: Track::new("n", 0) }), 0).unwrap();
    let after = Some(mask(MaskSource::Tracked, 9));
    anna.append(&step(2, Edit::SetMask { track, frame: 4, before: None, after }), 0).unwrap();
    drop(anna);
    let (store, loaded) = open(dir.path(), "anna");
    let runs = |held: &Annotation| held.tracks[&track].masks[&4].mask.runs().as_ptr();
    assert_eq!(runs(store.annotation()), runs(&loaded.annotation));
    // What undo takes away, redo brings back: it is in the history.
    let (mut now, mut history) = (loaded.annotation.clone(), loaded.history);
    let undo = history.undo(&now).unwrap();
    now.apply_all(&undo.edits).unwrap();
    history.note(&undo);
    now.apply_all(&history.redo(&now).unwrap().edits).unwrap();
    assert_eq!(runs(&now), runs(&loaded.annotation));
}

#[test]
fn who_takes_masks_of_the_network_away_leaves_those_that_a_person_decided_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let track = TrackId(1);
    let (mut carl, _) = open(dir.path(), "carl");
    carl.append(&step(1, Edit::AddTrack { track, content: Track::new("n", 0) }), 0).unwrap();
    let set = |before, after| step(2, Edit::SetMask { track, frame: 4, before, after });
    let (tracked, drawn) = (mask(MaskSource::Tracked, 9), mask(MaskSource::Accepted, 5));
    carl.append(&set(None, Some(tracked.clone())), 0).unwrap();
    let (mut ben, _) = open(dir.path(), "ben");
    // Neither has seen what the other does.
    ben.append(&set(Some(tracked.clone()), Some(drawn.clone())), 0).unwrap();
    carl.append(&set(Some(tracked), None), 0).unwrap();
    others_of(&mut carl);
    others_of(&mut ben);
    for now in [carl.annotation(), ben.annotation(), &read(dir.path()).annotation] {
        assert_eq!(now.tracks[&track].masks.get(&4), Some(&drawn));
    }
}

#[test]
fn windows_of_two_people_are_both_there_and_undone_apart() {
    let dir = tempfile::tempdir().unwrap();
    let track = TrackId(1);
    let (mut anna, _) = open(dir.path(), "anna");
    anna.append(&step(1, Edit::AddTrack { track, content: Track::new("n", 0) }), 0).unwrap();
    let (mut ben, _) = open(dir.path(), "ben");
    let window = |first, last| vec![Window { first, last }];
    let set = |before: &[Window], after: &[Window]| {
        step(2, Edit::SetWindows { track, before: before.to_vec(), after: after.to_vec() })
    };
    // Neither has seen what the other does.
    anna.append(&set(&[], &window(1, 5)), 0).unwrap();
    ben.append(&set(&[], &window(10, 20)), 0).unwrap();
    let both = [window(1, 5), window(10, 20)].concat();
    let held = || read(dir.path()).annotation.tracks[&track].windows.clone();
    assert_eq!(held(), both);
    anna.append(&set(&window(1, 5), &[]), 0).unwrap();
    assert_eq!(held(), window(10, 20), "what Anna takes back is hers");
}

#[test]
fn what_an_open_session_of_the_same_person_built_on_is_not_undone_from_below() {
    let dir = tempfile::tempdir().unwrap();
    let (mut first, loaded) = open(dir.path(), "anna");
    let mut script = annotator(&loaded);
    follow(&mut first, &mut script, "track nerve");
    drop(first);
    // As a session that was killed on another machine a moment ago: it counts as open.
    let (mut killed, loaded) = open(dir.path(), "anna");
    let mut script = annotator(&loaded);
    follow(&mut killed, &mut script, "boundary 1 2 3");
    let (mut next, loaded) = open(dir.path(), "anna");
    assert!(loaded.history.is_held());
    let mut script = annotator(&loaded);
    assert!(!follow(&mut next, &mut script, "undo"), "the structure stays with its point");
    // What comes new is undone as ever.
    follow(&mut next, &mut script, "window 2 9");
    assert!(follow(&mut next, &mut script, "undo"));
    drop((next, killed));
    let (_store, loaded) = open(dir.path(), "anna");
    assert!(!loaded.history.is_held(), "all of it is known now");
}

#[test]
fn a_step_far_behind_still_finds_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ben, _) = open(dir.path(), "ben");
    let (mut carl, _) = open(dir.path(), "carl");
    let (mut anna, loaded) = open(dir.path(), "anna");
    let mut script = annotator(&loaded);
    follow(&mut anna, &mut script, "track nerve");
    for i in 0..5000 {
        follow(&mut anna, &mut script, &format!("boundary {} 1 2", i % 32));
    }
    // Ben never looked: his clock says this came before nearly everything of Anna's.
    let vein = Edit::AddTrack { track: TrackId(7), content: Track::new("vein", 1) };
    ben.append(&step(1, vein.clone()), 0).unwrap();
    assert!(anna.read_others());
    // While the journals cannot be read again, as where a network drive is away, nothing vanishes.
    let ops = journals(dir.path())[0].parent().unwrap().to_owned();
    let away = dir.path().join("away");
    fs::rename(&ops, &away).unwrap();
    for told in [1, 0] {
        assert!(anna.take_others().edits.is_empty());
        assert_eq!(text(anna.annotation()), text(script.annotation()));
        assert_eq!(anna.take_notes().len(), told, "told once");
        assert!(anna.read_others(), "it waits");
    }
    fs::rename(&away, &ops).unwrap();
    assert_eq!(anna.take_others().edits, [vein]);
    assert_eq!(text(anna.annotation()), text(&read(dir.path()).annotation));
    // For his next steps, as far behind, no journal is read again: it would not be there.
    for frame in [3, 4] {
        let flag = Edit::SetFlag { track: TrackId(7), frame, before: false, after: true };
        ben.append(&step(2, flag.clone()), 0).unwrap();
        assert!(anna.read_others());
        fs::rename(&ops, &away).unwrap();
        assert_eq!((anna.take_others().edits, anna.take_notes().len()), (vec![flag], 0));
        fs::rename(&away, &ops).unwrap();
        assert_eq!(text(anna.annotation()), text(&read(dir.path()).annotation));
    }
    // The beginning of what Carl wrote is still on its way when everything is read again.
    let known = journals(dir.path());
    for n in [8, 9] {
        let content = Track::new("bone", 1);
        carl.append(&step(n, Edit::AddTrack { track: TrackId(n), content }), 0).unwrap();
    }
    let file = journals(dir.path()).into_iter().find(|path| !known.contains(path)).unwrap();
    let whole = fs::read(&file).unwrap();
    let mut seen = whole.clone();
    seen[..40].fill(0);
    fs::write(&file, &seen).unwrap();
    assert_eq!(others_of(&mut anna).len(), 1);
    fs::write(&file, &whole).unwrap();
    assert_eq!(others_of(&mut anna).len(), 1);
    assert_eq!((anna.annotation().tracks.len(), anna.take_notes().len()), (4, 0));
    follow(&mut anna, &mut script, "window 2 9");
    assert!(!others_of(&mut ben).is_empty());
    assert_eq!(text(ben.annotation()), text(anna.annotation()));
    // What is read only when everything is read again comes before the next own step, too.
    let new = |n| Edit::AddTrack { track: TrackId(n), content: Track::new("skin", 1) };
    let (mut dora, _) = open(dir.path(), "dora");
    carl.append(&step(10, new(10)), 0).unwrap();
    assert!(dora.read_others());
    ben.append(&step(11, new(11)), 0).unwrap();
    dora.take_others();
    assert_eq!((dora.position(), dora.annotation().tracks.len()), (ben.position(), 6));
}

#[test]
fn what_others_write_is_read_while_own_steps_are_journaled() {
    let dir = tempfile::tempdir().unwrap();
    let ((mut anna, loaded), (mut ben, of_ben)) =
        (open(dir.path(), "anna"), open(dir.path(), "ben"));
    let (mut script, mut other) = (annotator(&loaded), annotator(&of_ben));
    follow(&mut ben, &mut other, "track vein");
    // Two looks at once; between them and the news an own step.
    let (one, two) = (anna.look(), anna.look());
    let reading = std::thread::spawn(move || (one.read(), two.read()));
    follow(&mut anna, &mut script, "track nerve");
    let (first, second) = reading.join().unwrap();
    assert!(anna.take_in(first));
    assert_eq!(anna.take_others().edits.len(), 1);
    assert!(!anna.take_in(second), "it is known");
    others_of(&mut ben);
    assert_eq!(text(anna.annotation()), text(ben.annotation()));
    assert_eq!(anna.annotation().tracks.len(), 2);
}

#[test]
fn clocks_may_jump() {
    let dir = tempfile::tempdir().unwrap();
    let mut script = Script::default();
    for (i, now_ms) in
        [1_790_000_000_000, 0, u64::MAX, 2_105_000_000_000, 1].into_iter().enumerate()
    {
        let (mut store, loaded) =
            ClipStore::open_with(dir.path(), &clip(), now_ms, &as_user("anna")).unwrap();
        assert_eq!(text(&loaded.annotation), text(script.annotation()));
        script = annotator(&loaded);
        for line in
            [format!("track t{i}"), "boundary 1 2 3".into(), "undo".into(), "mask 1 9 9 3".into()]
        {
            if let Command::Step(step) = script.command(&line).unwrap() {
                store.append(&step, now_ms.wrapping_add(7)).unwrap();
                script.done(&step);
            }
        }
    }
    assert_eq!(text(&read(dir.path()).annotation), text(script.annotation()));
}

#[test]
fn a_step_of_many_masks_is_read_in_a_time_that_grows_as_they_do() {
    let most = if cfg!(debug_assertions) { 40_000 } else { 160_000 };
    let track = TrackId(1);
    let held = mask(MaskSource::Tracked, 5);
    let replays = [most / 4, most].map(|frames| {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = open(dir.path(), "anna");
        let set = |frame| {
            let after = Some(held.clone());
            Edit::SetMask { track, frame, before: None, after }
        };
        let add = Edit::AddTrack { track, content: Track::new("nerve", 0) };
        let edits = std::iter::once(add).chain((0..frames).map(set)).collect();
        store.append(&Step { group: 1, mark: Mark::Do, edits, made_from: None }, 0).unwrap();
        drop(store);
        let busy = on_cpu();
        let (_store, loaded) = open(dir.path(), "anna");
        let busy = on_cpu() - busy;
        assert_eq!(loaded.annotation.masks(), frames);
        busy
    });
    // Four times as many; what grew with their square would take sixteen times as long.
    assert!(replays[1] < 8 * replays[0], "{replays:?}");
}

#[test]
fn two_hundred_thousand_steps_replay_in_a_time_that_grows_as_they_do() {
    let steps: u64 = if cfg!(debug_assertions) { 20_000 } else { 200_000 };
    let dir = tempfile::tempdir().unwrap();
    let replays = [0..steps / 4, steps / 4..steps].map(|range| {
        let (mut store, loaded) = open(dir.path(), "anna");
        let mut script = annotator(&loaded);
        if range.start == 0 {
            follow(&mut store, &mut script, "track nerve");
        }
        let (began, count) = (Instant::now(), range.end - range.start);
        for i in range {
            let line = format!("boundary {} {}.5 {}.25", i % 10_000, i % 64, i % 48);
            follow(&mut store, &mut script, &line);
        }
        let wrote = began.elapsed();
        drop(store);
        let busy = on_cpu();
        let (_store, loaded) = open(dir.path(), "anna");
        let busy = on_cpu() - busy;
        assert_eq!(text(&loaded.annotation), text(script.annotation()));
        let each = wrote.as_secs_f64() * 1e6 / count as f64;
        println!("{count} more steps: {each:.1} us per append, {busy:?} of CPU to replay all");
        busy
    });
    // Four times as many; what grew with their square would take sixteen times as long.
    assert!(replays[1] < 8 * replays[0], "{replays:?}");
}
