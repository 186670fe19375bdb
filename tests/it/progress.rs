//! A project from above: how far its clips are, who worked on them, and what is done to all of them.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::FromRawFd;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use sonomark::domain::{
    Bitmap, ClipInfo, ClipKind, ContentHash, Edit, FrameMask, Mark, MaskSource, PlacedPrompt,
    PointKind, PointPx, Prompt, PromptId, Step, Track, TrackId, Window,
};
use sonomark::project::{ClipStore, View, list_clips, load_read_only, timeline};

use crate::damage::Mounted;
use crate::headless::json as parsed;
use crate::project::as_user;
use crate::surroundings::{Home, data, left_half, skipped, text, told};

/// 2026-09-21, 14:13:20 UTC.
const DAY_MS: u64 = 1_790_000_000_000;
const TRACK: TrackId = TrackId(1);

fn info(name: &str, digit: &str) -> ClipInfo {
    let hash = ContentHash(digit.repeat(64));
    ClipInfo { name: name.into(), ..ClipInfo::new(hash, ClipKind::Cine, (8, 8), 10) }
}

fn mask(source: MaskSource) -> FrameMask {
    let mask = Bitmap::from_fn(8, 8, |x, y| x < 3 && y < 3).to_mask();
    FrameMask { mask, source, score: 0.9 }
}

fn point(id: u64) -> Edit {
    let prompt = Prompt::Point { kind: PointKind::Boundary, at: PointPx::new(id as f32, 3.0) };
    let placed = PlacedPrompt { id: PromptId(id), prompt };
    Edit::AddPrompt { track: TRACK, frame: 2, at: 0, placed }
}

fn set(frame: usize, source: MaskSource) -> Edit {
    Edit::SetMask { track: TRACK, frame, before: None, after: Some(mask(source)) }
}

/// A structure that is visible on five frames: on the first with a point and a mask, on the next two with masks.
fn nerve(label: &str) -> Vec<Edit> {
    let mut content = Track::new(label, 0);
    content.windows = vec![Window { first: 2, last: 6 }];
    let masks = [MaskSource::Prompted, MaskSource::Tracked, MaskSource::Accepted];
    let masks = masks.into_iter().enumerate().map(|(at, source)| set(2 + at, source));
    [Edit::AddTrack { track: TRACK, content }, point(1)].into_iter().chain(masks).collect()
}

/// What somebody did on a screen: opened the clip at `from_ms`, made the edits 30 s later and looked at it for ten minutes.
fn worked(
    root: &Path,
    info: &ClipInfo,
    user: &str,
    from_ms: u64,
    edits: Vec<Edit>,
    finished: bool,
) {
    let (mut store, loaded) = ClipStore::open_with(root, info, from_ms, &as_user(user)).unwrap();
    let group = u64::from(loaded.session_seed) << 32;
    store
        .append(&Step { group, mark: Mark::Do, edits, made_from: None }, from_ms + 30_000)
        .unwrap();
    let cursor = PointPx::new(1.0, 1.0);
    let (track, outside, look) = (Some(TRACK), None, None);
    let view = View { frame: 0, cursor, track, finished, keys: 7, outside, look };
    store.append_view(&view, from_ms + 630_000).unwrap();
}

/// A clip that Anna finished and Ben looked at, and one that Ben began.
fn two_clips(root: &Path) {
    let [first, second] = [("one", "a"), ("two", "b")].map(|(name, digit)| info(name, digit));
    worked(root, &first, "anna", DAY_MS, nerve("nerv"), true);
    worked(root, &first, "ben", DAY_MS + 3_600_000, Vec::new(), false);
    worked(root, &second, "ben", DAY_MS, nerve("nerve"), false);
    let flag = Edit::SetFlag { track: TRACK, frame: 3, before: false, after: true };
    worked(root, &second, "ben", DAY_MS + 86_400_000, vec![point(2), flag], false);
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", told(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_clip_that_cannot_be_read_hides_no_other() {
    let home = Home::new();
    two_clips(&home.project());
    let journals = home.project().join("clips").join("a".repeat(64)).join("ops");
    fs::rename(&journals, home.path("elsewhere")).unwrap();
    fs::write(&journals, "no folder").unwrap();
    for words in [&["project"][..], &["project", "--json"]] {
        let output = home.run(words);
        let (printed, said) = (String::from_utf8_lossy(&output.stdout), told(&output));
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(printed.contains("two") && !printed.contains("one"), "{printed}");
        assert!(said.contains(text(&journals)) && said.contains("1 of 2 clips"), "{said}");
        if words.contains(&"--json") {
            assert_eq!(parsed(&output.stdout).as_array().unwrap().len(), 1);
        }
    }
}

/// The journals in `folder` that are opened while `work` is done, each as often as it is.
fn opened_in(folder: &Path, work: impl FnOnce()) -> Vec<String> {
    // SAFETY: it makes a descriptor of its own.
    let fd = unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) };
    assert!(fd >= 0);
    // SAFETY: it was just made, and nobody else closes it.
    let mut events = unsafe { File::from_raw_fd(fd) };
    let path = CString::new(text(folder)).unwrap();
    // SAFETY: a path that ends with a zero.
    assert!(unsafe { libc::inotify_add_watch(fd, path.as_ptr(), libc::IN_OPEN) } >= 0);
    work();
    let mut bytes = vec![0; 64 << 10];
    let count = events.read(&mut bytes).unwrap();
    let (mut names, mut rest) = (Vec::new(), &bytes[..count]);
    while rest.len() >= 16 {
        let length = u32::from_ne_bytes(rest[12..16].try_into().unwrap()) as usize;
        let name = String::from_utf8_lossy(&rest[16..16 + length]).into_owned();
        names.push(name.trim_end_matches('\0').to_owned());
        rest = &rest[16 + length..];
    }
    names.retain(|name| name.ends_with(".jsonl"));
    names.sort();
    names
}

#[test]
fn a_journal_is_read_once_for_what_it_holds_and_who_wrote_it() {
    let home = Home::new();
    two_clips(&home.project());
    let ops = home.project().join("clips").join("a".repeat(64)).join("ops");
    let entries = fs::read_dir(&ops).unwrap().map(|entry| entry.unwrap().file_name());
    let mut journals: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    journals.sort();
    assert_eq!(journals.len(), 2);
    let opened = opened_in(&ops, || assert!(printed(&home.run(&["project"])).contains("anna")));
    assert_eq!(opened, journals);
}

#[test]
fn what_a_killed_export_left_is_taken_away_once_for_all_clips() {
    let home = Home::new();
    two_clips(&home.project());
    let out = home.path("out");
    fs::create_dir(&out).unwrap();
    let left = left_half(&out);
    let project = home.project();
    let words = ["export", text(&project), "--format", "coco", "--out", text(&out)];
    let done = home.run(&words);
    assert!(done.status.success() && !left.exists(), "{}", told(&done));
    assert_eq!(fs::read_dir(&out).unwrap().count(), 2);
}

#[test]
fn nothing_more_is_read_when_nobody_reads_the_list() {
    let home = Home::new();
    two_clips(&home.project());
    let second = home.project().join("clips").join("b".repeat(64)).join("ops");
    fs::remove_dir_all(&second).unwrap();
    fs::write(&second, "no folder").unwrap();
    assert_eq!(home.run(&["project"]).status.code(), Some(3));
    for words in [&["project"][..], &["project", "--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let done = home.command(words).stdout(writer).output().unwrap();
        assert_eq!((done.status.code(), told(&done)), (Some(0), String::new()));
    }
}

#[test]
fn a_project_is_named_before_or_behind_its_flag() {
    let home = Home::new();
    let (one, other) = (home.path("one"), home.path("other"));
    two_clips(&one);
    worked(&other, &info("three", "c"), "ben", DAY_MS, nerve("nerve"), false);
    let flagged = printed(&home.run(&["--project", text(&one), "project"]));
    assert!(flagged.contains("two"));
    let again = format!("{}/", text(&one));
    for words in [&["project", text(&one)][..], &["project", &again, "--project", text(&one)]] {
        assert_eq!(printed(&home.run(words)), flagged);
    }
    let checked = home.run(&["project", "--check", text(&one)]);
    assert!(told(&checked).contains("2 clips"), "{}", told(&checked));
    let renamed = home.run(&["project", text(&one), "--rename", "nerv", "vein", "--dry-run"]);
    assert!(printed(&renamed).contains("1 structure"));
    let out = home.path("out");
    let export = ["export", text(&one), "--format", "coco", "--out", text(&out)];
    for words in [&["project", text(&one)][..], &export] {
        let refused = home.run(&[words, &["--project", text(&other)]].concat());
        assert_eq!(refused.status.code(), Some(1));
        assert!(told(&refused).contains("two projects are named"), "{}", told(&refused));
    }
    assert!(!out.exists());
    let log = told(&home.run(&["log", text(&one)]));
    assert!(log.contains("is a project") && log.contains("sonomark project"), "{log}");
}

/// The account that asks is neither of the two.
#[test]
fn a_project_tells_how_far_its_clips_are_and_who_worked_on_them() {
    let home = Home::new();
    two_clips(&home.project());
    let list = parsed(&home.run(&["project", "--json"]).stdout);
    let told_of = |row: &Value| {
        ["masks", "accepted", "missing", "stale", "flagged", "finished"]
            .map(|name| row[name].clone())
    };
    let [first, second] = [&list[0], &list[1]];
    assert_eq!(told_of(first), [json!(3), json!(1), json!(2), json!(0), json!(0), json!(true)]);
    // The accepted mask is as new as the points of its own frame, which has none.
    assert_eq!(told_of(second), [json!(3), json!(1), json!(2), json!(2), json!(1), json!(false)]);
    let person = |name: &str, minutes: u64, keys: u64, finished: bool, day: &str| {
        let mut told = json!({ "name": name, "minutes": minutes, "keys": keys });
        told["finished"] = finished.into();
        told["last_day"] = day.into();
        told
    };
    let anna = person("anna", 2, 7, true, "2026-09-21");
    assert_eq!(first["people"], json!([anna, person("ben", 2, 7, false, "2026-09-21")]));
    assert_eq!(second["people"], json!([person("ben", 3, 14, false, "2026-09-22")]));

    let lines = printed(&home.run(&["project"]));
    let [one, two] = lines.lines().collect::<Vec<_>>()[..] else { panic!("{lines}") };
    let wanted = "one  10 frames  nerv  3 masks, 1 accepted, 2 frames without a mask  anna 2 min until 2026-09-21, \
                  finished; ben 2 min until 2026-09-21";
    assert!(one.ends_with(wanted), "{one}");
    let wanted = "2 frames without a mask, 2 masks older than the points, 1 frame flagged  ben 3 min until 2026-09-22";
    assert!(two.ends_with(wanted), "{two}");

    // All masks are counted, so those among them that are accepted are, too.
    let outside = vec![set(8, MaskSource::Accepted)];
    worked(&home.project(), &info("two", "b"), "ben", DAY_MS + 172_800_000, outside, false);
    let list = parsed(&home.run(&["project", "--json"]).stdout);
    assert_eq!((&list[1]["masks"], &list[1]["accepted"]), (&json!(4), &json!(2)));
}

#[test]
fn what_cannot_be_read_of_a_clip_is_told_and_hides_nothing_else() {
    let home = Home::new();
    let project = home.project();
    two_clips(&project);
    let clip = |digit: &str| project.join("clips").join(digit.repeat(64));
    // As where only its owner may read it.
    let name = "20260921T133320Z-carl-far-7-00000007.jsonl";
    fs::create_dir(clip("a").join("ops").join(name)).unwrap();
    fs::write(clip("b").join("clip.json"), "{").unwrap();
    let done = home.run(&["project"]);
    assert!(printed(&done).contains("anna 2 min until 2026-09-21, finished; ben 2 min"));
    assert!(told(&done).contains(name), "{}", told(&done));
    // It may be why a clip is left out.
    let out = home.path("out");
    let export = ["export", text(&project), "--format", "coco", "--out", text(&out)];
    for words in [&["project"][..], &export] {
        let done = home.run(&[words, &["--only", "stale"]].concat());
        assert!(told(&done).contains(name), "{}", told(&done));
    }
    // Nobody knows whether the clip of unknown length is complete.
    let list = parsed(&home.run(&["project", "--only", "missing", "--json"]).stdout);
    let missing: Vec<&Value> = list.as_array().unwrap().iter().map(|row| &row["missing"]).collect();
    assert_eq!(missing, [&json!(2), &Value::Null]);
}

#[test]
fn clips_are_listed_and_exported_by_how_far_they_are() {
    let home = Home::new();
    two_clips(&home.project());
    for (only, wanted) in [
        ("finished", &["one"][..]),
        ("unfinished", &["two"]),
        ("missing", &["one", "two"]),
        ("stale", &["two"]),
        ("flagged", &["two"]),
    ] {
        let list = parsed(&home.run(&["project", "--only", only, "--json"]).stdout);
        let names = list.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap());
        assert_eq!(names.collect::<Vec<_>>(), wanted, "{only}");
    }
    let (project, out) = (home.project(), home.path("out"));
    let export = |only: &str| {
        let words = ["--format", "coco", "--only", only, "--out", text(&out)];
        home.run(&[&["export", text(&project)][..], &words].concat())
    };
    let done = export("finished");
    assert!(
        done.status.success() && told(&done).contains("1 of 2 clips left out"),
        "{}",
        told(&done)
    );
    let files: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() == 1 && text(&files[0]).contains("aaaa"), "{files:?}");
    // Nothing is left out where all fit, and nothing is no success.
    assert!(!told(&export("missing")).contains("left out"));
    let worked_on = info("one", "a");
    worked(&project, &worked_on, "anna", DAY_MS + 7_200_000, Vec::new(), false);
    let none = export("finished");
    assert_eq!(none.status.code(), Some(1));
    assert!(told(&none).contains("--only asks for none of them"), "{}", told(&none));
    let still = data("clips/ultrabones/00005.jpg");
    let words = ["--format", "coco", "--only", "finished", "--out", text(&out)];
    let one = home.run(&[&["export", text(&still)][..], &words].concat());
    assert!(told(&one).contains("--only is for projects"), "{}", told(&one));
}

#[test]
fn masks_that_nobody_accepted_are_left_out_where_that_is_asked() {
    let home = Home::new();
    two_clips(&home.project());
    let (project, out) = (home.project(), home.path("out"));
    let export = |more: &[&str]| {
        let words = ["export", text(&project), "--format", "coco", "--out", text(&out)];
        let done = home.run(&[&words[..], more].concat());
        let files = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path());
        let masks =
            |file| parsed(&fs::read(file).unwrap())["annotations"].as_array().unwrap().len();
        (files.map(masks).collect::<Vec<_>>(), told(&done))
    };
    assert_eq!(export(&[]).0, [3, 3]);
    let (masks, told) = export(&["--accepted"]);
    assert_eq!(masks, [1, 1]);
    assert!(told.contains("2 masks that nobody accepted left out"), "{told}");
    // Where nobody accepted anything there is nothing to write.
    let third = info("three", "c");
    let mut edits = nerve("nerve");
    edits.pop();
    worked(&project, &third, "ben", DAY_MS, edits, false);
    let (masks, told) = export(&["--accepted"]);
    assert_eq!(masks.len(), 2);
    assert!(
        told.contains("no mask of three is accepted") && told.contains("1 of 3 clips not exported")
    );
}

#[test]
fn a_label_is_renamed_in_all_clips_and_taken_back_in_each() {
    let home = Home::new();
    let project = home.project();
    two_clips(&project);
    let labels = || -> Vec<String> {
        let clips = list_clips(&project).unwrap().into_iter();
        let held = clips.map(|clip| load_read_only(&project, &clip.hash).unwrap().annotation);
        held.map(|held| held.tracks[&TRACK].info.label.clone()).collect()
    };
    let rename = |words: &[&str]| home.run(&[&["project", "--rename"], words].concat());
    let dry = rename(&["nerv", "nerve", "--dry-run"]);
    assert!(
        told(&dry).contains("1 structure in 1 clip would get the label nerve"),
        "{}",
        told(&dry)
    );
    assert_eq!(labels(), ["nerv", "nerve"]);
    let done = rename(&["nerv", "nerve"]);
    assert!(told(&done).contains("1 structure in 1 clip renamed"), "{}", told(&done));
    assert!(printed(&done).ends_with("one  1 structure\n"), "{}", printed(&done));
    assert_eq!(labels(), ["nerve", "nerve"]);
    // What is renamed stays finished: that is its annotator's word.
    let list = parsed(&home.run(&["project", "--only", "finished", "--json"]).stdout);
    assert_eq!(list[0]["name"], "one");

    let schema = home.path("schema.yaml");
    fs::write(&schema, "labels:\n  - vein\n  - median nerve\n").unwrap();
    let list = home.run(&["project", "--schema", text(&schema)]);
    assert!(told(&list).contains("the schema has no label nerve;"), "{}", told(&list));
    let done = rename(&["nerve", " median nerve", "--schema", text(&schema)]);
    assert!(told(&done).contains("2 structures in 2 clips renamed"), "{}", told(&done));
    let held = load_read_only(&project, &info("two", "b").content_hash).unwrap();
    let held = &held.annotation.tracks[&TRACK].info;
    assert_eq!((held.label.as_str(), held.colour), ("median nerve", 1), "the colour of the schema");
    // A name is no work by hand, so the keys of a study stay known.
    let visits = timeline(&project, &info("one", "a").content_hash).unwrap();
    assert!(visits.len() == 4 && visits.iter().all(|visit| visit.keys > 0 || visit.steps == 0));
    assert_eq!(held_back(&project), ["nerv", "nerve"], "one after the other");

    for (words, wanted) in [
        (
            &["bone", "x"][..],
            "no structure of the project is called bone; `sonomark project` lists",
        ),
        (&["nerves", "x"], "did you mean nerve?"),
        (&["x", "x"], "two different labels"),
        (&["x", " "], "two different labels"),
        (&["x", "a\nb"], "no control characters"),
    ] {
        let refused = rename(words);
        assert_eq!(refused.status.code(), Some(1), "{words:?}");
        assert!(told(&refused).contains(wanted), "{words:?}: {}", told(&refused));
    }
}

#[test]
fn that_a_disk_is_nearly_full_is_told_once_for_all_clips() {
    let home = Home::new();
    let Some(disk) = Mounted::new(home.path("disk"), "8m") else {
        return skipped("mounting a small tmpfs needs root");
    };
    let project = disk.0.join("project");
    two_clips(&project);
    for (old, new, clips) in [("nerv", "nerve", "1 clip"), ("nerve", "vein", "2 clips")] {
        let words = ["project", "--project", text(&project), "--rename", old, new];
        let done = told(&home.run(&words));
        assert!(done.contains(&format!("in {clips} renamed")), "{done}");
        assert_eq!(done.matches("MB are left").count(), 1, "{done}");
    }
}

/// The labels when whoever renamed takes everything back.
fn held_back(project: &Path) -> Vec<String> {
    let files = fs::read_dir(project.join("clips").join("a".repeat(64)).join("ops")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let users = names.map(|name| name.split('-').nth(1).unwrap().to_owned());
    let mut others = users.filter(|user| !["anna", "ben"].contains(&user.as_str()));
    let renamer = others.next().unwrap();
    let back = |(name, digit)| {
        let options = as_user(&renamer);
        let (mut store, mut loaded) =
            ClipStore::open_with(project, &info(name, digit), DAY_MS, &options).unwrap();
        while let Some(step) = loaded.history.undo(&loaded.annotation) {
            loaded.annotation.apply_all(&step.edits).unwrap();
            store.append(&step, DAY_MS).unwrap();
            loaded.history.note(&step);
        }
        loaded.annotation.tracks[&TRACK].info.label.clone()
    };
    [("one", "a"), ("two", "b")].map(back).to_vec()
}
