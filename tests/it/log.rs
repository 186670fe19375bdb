//! Who did what on a clip, and when, as its journals tell.

use std::fs;

use serde_json::{Value, json};
use sonomark::cli::script::{Command, Script, clip};
use sonomark::codec::OpenOptions;
use sonomark::domain::{
    Bitmap, Edit, FrameMask, Mark, MaskSource, Step, Track, TrackId, TrackInfo,
};
use sonomark::project::{ClipStore, Standing, log};

use crate::headless::json as parsed;
use crate::project::{annotator, as_user, journals, open};
use crate::surroundings::{Home, data, text, told};

/// 2026-09-21, 14:13:20 UTC.
const DAY_MS: u64 = 1_790_000_000_000;

fn work(store: &mut ClipStore, script: &mut Script, from_ms: u64, lines: &[&str]) {
    for (at, line) in lines.iter().enumerate() {
        let Command::Step(step) = script.command(line).unwrap() else { panic!("{line}: no step") };
        store.append(&step, from_ms + 1000 * at as u64).unwrap();
        script.done(&step);
    }
}

/// Anna draws a nerve; an hour later Ben draws frame 21 anew, and a point that he takes back twice; then it is renamed.
fn two_people(home: &Home) {
    let (mut anna, loaded) = open(&home.project(), "anna");
    let mut script = annotator(&loaded);
    work(&mut anna, &mut script, DAY_MS, &["track nerve", "mask 20 9 9 4", "mask 3 9 9 4"]);
    drop(anna);
    let (mut ben, loaded) = open(&home.project(), "ben");
    let mut script = annotator(&loaded);
    let lines = ["mask 20 9 9 6", "boundary 3 1 2", "undo", "redo", "undo"];
    work(&mut ben, &mut script, DAY_MS + 3_600_000, &lines);
    let (&track, held) = script.annotation().tracks.iter().next().unwrap();
    let before = held.info.clone();
    let after = TrackInfo { label: "median nerve".into(), ..before.clone() };
    let edits = vec![Edit::SetTrackInfo { track, before, after }];
    let group = u64::from(loaded.session_seed) << 32 | 99;
    ben.append(&Step { group, mark: Mark::Do, edits, made_from: None }, DAY_MS + 7_200_000)
        .unwrap();
}

fn printed(home: &Home, more: &[&str]) -> Vec<String> {
    let done = home.run(&[&["log", "5c5c5c5c"][..], more].concat());
    assert!(done.status.success(), "{}", told(&done));
    String::from_utf8_lossy(&done.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn who_did_what_is_told_in_the_order_that_decides() {
    let home = Home::new();
    two_people(&home);
    let lines = printed(&home, &[]);
    let wanted = [
        ("1  2026-09-21 14:13:20 UTC  anna on ", "  nerve  starting nerve"),
        ("2  2026-09-21 14:13:21 UTC  anna on ", "  nerve  mask on frame 21"),
        ("3  2026-09-21 14:13:22 UTC  anna on ", "  nerve  mask on frame 4"),
        ("4  2026-09-21 15:13:20 UTC  ben on ", "  nerve  mask on frame 21"),
        ("5  2026-09-21 15:13:21 UTC  ben on ", "  boundary point on frame 4  (taken back later)"),
        ("6  2026-09-21 15:13:22 UTC  ben on ", "  nerve  taken back: boundary point on frame 4"),
        ("7  2026-09-21 15:13:23 UTC  ben on ", "boundary point on frame 4  (taken back later)"),
        ("8  2026-09-21 15:13:24 UTC  ben on ", "  nerve  taken back: boundary point on frame 4"),
        ("9  2026-09-21 16:13:20 UTC  ben on ", "  nerve  name or colour"),
    ];
    assert_eq!(lines.len(), wanted.len(), "{lines:#?}");
    for (line, (begin, end)) in lines.iter().zip(wanted) {
        assert!(line.starts_with(begin) && line.ends_with(end), "{line}\n{begin}..{end}");
    }
    // Who drew frame 21 of the nerve, whatever it is called by now?
    for label in ["nerve", "median nerve"] {
        let drew = printed(&home, &["--label", label, "--frame", "21"]);
        assert_eq!(drew, [lines[1].clone(), lines[3].clone()]);
    }
    assert_eq!(printed(&home, &["--last", "2"]), [lines[8].clone(), lines[7].clone()]);
}

#[test]
fn programs_are_told_the_same() {
    let home = Home::new();
    two_people(&home);
    let done = home.run(&["log", &clip().content_hash.0, "--json"]);
    let told = parsed(&done.stdout);
    let steps = told["steps"].as_array().unwrap();
    let of = |key: &str| -> Vec<&Value> { steps.iter().map(|step| &step[key]).collect() };
    assert_eq!(
        of("number"),
        (1..=9).map(Value::from).collect::<Vec<_>>().iter().collect::<Vec<_>>()
    );
    let taken_back: Vec<bool> = of("taken_back").iter().map(|is| is.as_bool().unwrap()).collect();
    assert_eq!(taken_back, [false, false, false, false, true, false, true, false, false]);
    let marks = ["do", "do", "do", "do", "do", "undo", "redo", "undo", "do"];
    assert_eq!(of("mark"), marks.map(Value::from).iter().collect::<Vec<_>>());
    assert_eq!(steps[3]["frames"], Value::from(vec![20]));
    assert_eq!(
        (&steps[3]["user"], &steps[3]["time_ms"]),
        (&json!("ben"), &json!(DAY_MS + 3_600_000))
    );
    let file = journals(&home.project()).pop().unwrap();
    assert_eq!(steps[3]["session"], file.file_stem().unwrap().to_str().unwrap());
}

#[test]
fn what_had_no_effect_and_what_is_lost_is_told() {
    let home = Home::new();
    let root = home.project();
    let (mut anna, loaded) = open(&root, "anna");
    let (mut ben, _) = open(&root, "ben");
    let mut script = annotator(&loaded);
    work(&mut anna, &mut script, DAY_MS, &["track nerve", "mask 20 9 9 4"]);
    assert!(ben.read_others());
    ben.take_others();
    let (&track, held) = script.annotation().tracks.iter().next().unwrap();
    let gone = Edit::RemoveTrack { track, content: held.clone() };
    let flag = Edit::SetFlag { track, frame: 7, before: false, after: true };
    // Neither has seen what the other does.
    for (store, edit) in [(&mut anna, gone), (&mut ben, flag)] {
        store
            .append(&Step { group: 77, mark: Mark::Do, edits: vec![edit], made_from: None }, DAY_MS)
            .unwrap();
    }
    drop((anna, ben));
    let logged = log(&root, &clip().content_hash).unwrap();
    let became: Vec<_> =
        logged.steps.iter().map(|s| (s.user.as_str(), s.number, s.standing)).collect();
    let wanted = [
        ("anna", 1, Standing::Stands),
        ("anna", 2, Standing::Stands),
        ("anna", 3, Standing::Stands),
        ("ben", 3, Standing::WithoutEffect),
    ];
    assert_eq!(became, wanted);
    // Who took the structure away took its masks away.
    assert!(logged.steps[2].frames.contains(&20));
    let lines = printed(&home, &["--frame", "8"]);
    assert!(
        lines.len() == 1 && lines[0].ends_with("flag on frame 8  (without effect)"),
        "{lines:?}"
    );
    // With the line that begins the structure its name is lost, and nothing else.
    let file = journals(&root).remove(0);
    let mut hurt = fs::read(&file).unwrap();
    hurt[40] ^= 1;
    fs::write(&file, hurt).unwrap();
    let done = home.run(&["log", "5c5c5c5c"]);
    let lines = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(told(&done).contains("line 1: damaged"), "{}", told(&done));
    assert!(
        lines.lines().count() == 3 && lines.contains("a structure whose beginning is lost"),
        "{lines}"
    );
}

/// Two masks of a still, one in the place of the other.
#[test]
fn what_stood_after_a_change_is_exported_as_it_was() {
    let home = Home::new();
    let still = data("clips/ultrabones/00005.jpg");
    let info = sonomark::codec::open(&still, &OpenOptions::default()).unwrap().info().clone();
    let square = |side: u32| {
        let inside = |x: u32, y: u32| x < side && y < side;
        let mask = Bitmap::from_fn(info.width_px, info.height_px, inside).to_mask();
        Some(FrameMask { mask, source: MaskSource::Accepted, score: 1.0 })
    };
    let track = TrackId(1);
    let set = |before, after| Edit::SetMask { track, frame: 0, before, after };
    let (mut store, _) =
        ClipStore::open_with(&home.project(), &info, DAY_MS, &as_user("anna")).unwrap();
    let edits = [
        Edit::AddTrack { track, content: Track::new("bone", 0) },
        set(None, square(20)),
        set(square(20), square(40)),
    ];
    for (group, edit) in edits.into_iter().enumerate() {
        let step = Step { group: group as u64, mark: Mark::Do, edits: vec![edit], made_from: None };
        store.append(&step, DAY_MS).unwrap();
    }
    drop(store);
    let out = home.path("out.json");
    let export = |more: &[&str]| {
        let words = ["export", text(&still), "--format", "coco", "--out", text(&out)];
        home.run(&[&words[..], more].concat())
    };
    for (at, area) in [(&["--at", "2"][..], 400), (&["--at", "3"], 1600), (&[], 1600)] {
        let done = export(at);
        assert!(done.status.success(), "{}", told(&done));
        let written = parsed(&fs::read(&out).unwrap());
        assert_eq!(written["annotations"][0]["area"], json!(area), "{at:?}");
    }
    let beyond = export(&["--at", "4"]);
    assert_eq!(beyond.status.code(), Some(1));
    assert!(
        told(&beyond).contains("the last change of 00005.jpg is number 3"),
        "{}",
        told(&beyond)
    );
    let project = home.project();
    let words = ["export", text(&project), "--format", "coco", "--out", text(&out), "--at", "2"];
    let whole = home.run(&words);
    assert!(told(&whole).contains("--at is for one clip"), "{}", told(&whole));
}

#[test]
fn what_cannot_be_told_says_why() {
    let home = Home::new();
    two_people(&home);
    for (words, part) in [
        (&["log", "6d6d6d6d"][..], "holds no clip whose content hash begins so"),
        (&["log", "5c5c5c5c", "--label", "nreve"], "did you mean nerve?"),
        (&["log", "nothing.mp4"], "nothing.mp4"),
    ] {
        let done = home.run(words);
        assert!(done.status.code() == Some(1) && told(&done).contains(part), "{}", told(&done));
    }
    let done = home.run(&["log", "5c5c5c5c", "--frame", "0"]);
    assert_eq!(done.status.code(), Some(2), "{}", told(&done));
    assert!(told(&done).contains("a whole number from 1 on"), "{}", told(&done));
}
