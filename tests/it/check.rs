//! What is damaged in a project is found, named with what is lost by it, and never changed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sonomark::cli::script::clip;

use crate::headless::json as parsed;
use crate::project::{annotator, follow, journals, open, read, text as state};
use crate::surroundings::{Home, told};

/// What Anna did, and Ben, who saw all of it.
fn two_sessions(root: &Path) -> [PathBuf; 2] {
    let (mut anna, loaded) = open(root, "anna");
    let mut script = annotator(&loaded);
    for line in ["track nerve", "boundary 1 2 3", "mask 5 20 20 9", "flag 7", "track vein"] {
        assert!(follow(&mut anna, &mut script, line));
    }
    drop(anna);
    let (mut ben, loaded) = open(root, "ben");
    let mut script = annotator(&loaded);
    for line in ["window 1 5", "boundary 3 4 5"] {
        assert!(follow(&mut ben, &mut script, line));
    }
    drop(ben);
    journals(root).try_into().unwrap()
}

/// The exit code and what was found: of the folder, and of the only clip.
fn checked(home: &Home) -> (Option<i32>, Vec<Value>, Value) {
    let done = home.run(&["project", "--check", "--json"]);
    let told = parsed(&done.stdout);
    let beside = told["findings"].as_array().unwrap().clone();
    (done.status.code(), beside, told["clips"][0].clone())
}

/// The only finding, which is of the clip.
fn only(home: &Home) -> (Option<i32>, Value) {
    let (code, beside, clip) = checked(home);
    let found = clip["findings"].as_array().unwrap();
    assert!(beside.is_empty() && found.len() == 1, "{beside:?} {clip}");
    (code, found[0].clone())
}

fn says(finding: &Value, key: &str, wanted: &str) {
    assert!(finding[key].as_str().is_some_and(|text| text.contains(wanted)), "{wanted}: {finding}");
}

fn rows(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|&b| b == b'\n').collect()
}

#[test]
fn a_project_without_damage_is_told_to_be_as_written() {
    let home = Home::new();
    two_sessions(&home.project());
    let (code, beside, clip) = checked(&home);
    assert_eq!((code, beside.len(), clip["findings"].as_array().unwrap().len()), (Some(0), 0, 0));
    assert_eq!((&clip["journals"], &clip["lines"]), (&json!(2), &json!(7)));
    let done = home.run(&["project", "--check"]);
    assert!(done.status.success() && done.stdout.is_empty(), "{}", told(&done));
    assert!(told(&done).contains("1 clip, 2 journals, 7 lines: all as written"), "{}", told(&done));
}

#[test]
fn a_flipped_bit_is_named_with_what_is_lost_and_a_copy_beside_it_brings_that_back() {
    let home = Home::new();
    let root = home.project();
    let [file, _] = two_sessions(&root);
    let meant = state(&read(&root).annotation);
    let whole = fs::read(&file).unwrap();
    let row = rows(&whole)[..2].concat().len();
    let runs = whole[row..].windows(8).position(|w| w == b"\"runs\":[").unwrap();
    let mut hurt = whole.clone();
    hurt[row + runs + 8] ^= 1;
    fs::write(&file, &hurt).unwrap();
    let (code, found) = only(&home);
    assert_eq!((code, &found["gravity"]), (Some(3), &json!("damage")), "{found}");
    assert_eq!((&found["line"], &found["offset"]), (&json!(3), &json!(row)), "{found}");
    says(&found, "path", file.file_name().unwrap().to_str().unwrap());
    says(&found, "lost", "nerve: a step on frame 6");
    // The same for people.
    let done = home.run(&["project", "--check"]);
    let printed = String::from_utf8_lossy(&done.stdout).into_owned();
    for part in ["5c5c5c5c5c5c  scripted\n", "  damage: ", "    lost: nerve: ", "    to do: "] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    assert!(told(&done).contains("1 of 1 clip damaged"), "{}", told(&done));
    assert_eq!(fs::read(&file).unwrap(), hurt, "original bytes stay");
    // What to do is to be done as it is said.
    let stem = file.file_stem().unwrap().to_str().unwrap();
    let copy = format!("{stem}.r0.jsonl");
    says(&found, "todo", &copy);
    fs::write(file.with_file_name(copy), &whole).unwrap();
    let (code, found) = only(&home);
    assert_eq!((code, &found["gravity"]), (Some(0), &json!("harmless")), "{found}");
    assert_eq!(state(&read(&root).annotation), meant);
    assert_eq!(fs::read(&file).unwrap(), hurt);
}

#[test]
fn every_flipped_bit_is_found() {
    let home = Home::new();
    let root = home.project();
    let [file, _] = two_sessions(&root);
    let whole = fs::read(&file).unwrap();
    let summary = sonomark::project::list_clips(&root).unwrap().remove(0);
    let mut rng = fastrand::Rng::with_seed(5);
    for _ in 0..300 {
        let (at, bit) = (rng.usize(0..whole.len()), rng.u8(0..8));
        let mut hurt = whole.clone();
        hurt[at] ^= 1 << bit;
        fs::write(&file, &hurt).unwrap();
        let found =
            sonomark::project::check_clip(&mut sonomark::project::Onlooker::new(&root), &summary);
        let gravity = found.gravity();
        assert_eq!(gravity, Some(sonomark::project::Gravity::Damage), "{at} {bit}: {found:?}");
        assert_eq!(found.findings.len(), 1, "{at} {bit}: {found:?}");
    }
}

#[test]
fn lines_that_are_gone_exchanged_or_of_another_journal_are_named() {
    let home = Home::new();
    let [file, _] = two_sessions(&home.project());
    let whole = fs::read(&file).unwrap();
    let rows = rows(&whole);
    fs::write(&file, [&rows[..2], &rows[3..]].concat().concat()).unwrap();
    let (code, found) = only(&home);
    assert_eq!(code, Some(3));
    says(&found, "what", "1 line missing from it");
    says(&found, "lost", "what anna did between 1970-01-01 00:00:00 UTC and ");
    fs::write(&file, [rows[0], rows[2], rows[1], rows[3], rows[4]].concat()).unwrap();
    let (code, found) = only(&home);
    assert_eq!((code, &found["lost"]), (Some(3), &Value::Null), "{found}");
    says(&found, "what", "not stand in the order");
    let other = Home::new();
    let [foreign, _] = two_sessions(&other.project());
    let foreign = fs::read(foreign).unwrap();
    let first = foreign.split_inclusive(|&b| b == b'\n').next().unwrap();
    fs::write(&file, [first, &rows[1..].concat()].concat()).unwrap();
    let (code, _, clip) = checked(&home);
    assert_eq!(code, Some(3));
    says(&clip["findings"][0], "what", "step 0 does not follow");
}

#[test]
fn a_torn_end_is_harmless_and_a_journal_that_others_had_read_further_is_cut_off() {
    let home = Home::new();
    let [anna, ben] = two_sessions(&home.project());
    let whole = fs::read(&ben).unwrap();
    fs::write(&ben, &whole[..whole.len() - 30]).unwrap();
    let (code, found) = only(&home);
    assert_eq!((code, &found["gravity"]), (Some(0), &json!("harmless")), "{found}");
    says(&found, "what", "cut off in the middle");
    says(&found, "lost", "frame 4");
    fs::write(&ben, &whole).unwrap();
    // At the end of a line nothing of the file itself tells.
    let whole = fs::read(&anna).unwrap();
    let rows = rows(&whole);
    fs::write(&anna, rows[..3].concat()).unwrap();
    let (code, found) = only(&home);
    assert_eq!((code, &found["gravity"]), (Some(3), &json!("damage")), "{found}");
    says(&found, "what", "2 lines missing that other sessions had read (among the changes 4-5)");
    // Nor does it where there is no file.
    fs::remove_file(&anna).unwrap();
    let (code, found) = only(&home);
    assert_eq!(code, Some(3));
    says(&found, "what", "5 lines missing");
    // Of a clip that is open it is not known: what others write is on its way.
    let _open = open(&home.project(), "carl");
    assert_eq!(checked(&home).0, Some(0));
}

#[test]
fn what_does_not_belong_there_is_a_warning_and_no_damage() {
    let home = Home::new();
    let root = home.project();
    let [file, _] = two_sessions(&root);
    let (ops, folder) = (file.parent().unwrap(), file.ancestors().nth(2).unwrap());
    fs::write(ops.join("notes.txt"), "call the lab").unwrap();
    fs::write(ops.join("list.jsonl"), "{\"a\":1}\n{\"a\":2}\n").unwrap();
    fs::copy(&file, ops.join("copy of it.jsonl")).unwrap();
    fs::write(root.join("holiday.jpg"), "x").unwrap();
    fs::create_dir(root.join("clips/x")).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o707)).unwrap();
    let (code, beside, clip) = checked(&home);
    let found = clip["findings"].as_array().unwrap();
    assert!(found.iter().chain(&beside).all(|each| each["gravity"] == "warning"), "{clip}");
    assert_eq!((code, beside.len(), found.len()), (Some(0), 2, 4), "{beside:?} {clip}");
    for name in ["notes.txt", "list.jsonl", "copy of it.jsonl"] {
        let named = |each: &Value| each["path"].as_str().unwrap().ends_with(name);
        assert!(found.iter().any(named), "{name}: {clip}");
    }
    assert!(found.iter().any(|each| each["todo"] == "close it with `chmod o-w`"), "{clip}");
    // The secret of the project is one.
    fs::write(root.join(".uids.key"), [7; 31]).unwrap();
    let (code, beside, _) = checked(&home);
    assert_eq!((code, beside.len()), (Some(3), 3), "{beside:?}");
}

#[test]
fn journals_of_a_clip_that_cannot_be_read_are_checked_all_the_same() {
    let home = Home::new();
    let root = home.project();
    let [file, _] = two_sessions(&root);
    let about = root.join("clips").join(&clip().content_hash.0).join("clip.json");
    let said = fs::read_to_string(&about).unwrap();
    for (text, wanted) in [("{", "it is damaged"), (&said.replace("5c5c", "5d5d"), "another clip")]
    {
        fs::write(&about, text).unwrap();
        let (code, _, clip) = checked(&home);
        assert_eq!((code, &clip["lines"]), (Some(3), &json!(7)), "{clip}");
        says(&clip["findings"][0], "what", wanted);
    }
    fs::write(&about, &said).unwrap();
    // A line of a newer version is whole.
    let json = r#"{"v":1,"n":5,"lam":8,"prev":"00000000","t":0,"zoom":3}"#;
    let line = format!("{json}\t{:08x}\n", crc32fast::hash(json.as_bytes()));
    fs::write(&file, [fs::read(&file).unwrap(), line.into_bytes()].concat()).unwrap();
    let (_, _, clip) = checked(&home);
    let unknown = |each: &&Value| each["gravity"] == "warning";
    let unknown = clip["findings"].as_array().unwrap().iter().find(unknown).cloned().unwrap();
    says(&unknown, "what", "does not know");
}

#[test]
fn an_opening_that_was_interrupted_is_no_damage() {
    let home = Home::new();
    let root = home.project();
    drop(open(&root, "anna"));
    let folder = root.join("clips").join(&clip().content_hash.0);
    fs::remove_file(folder.join("clip.json")).unwrap();
    let (code, found) = only(&home);
    assert_eq!((code, &found["gravity"]), (Some(0), &json!("warning")), "{found}");
    says(&found, "what", "nor is any work on the clip");
    // With work it is one.
    two_sessions(&root);
    fs::remove_file(folder.join("clip.json")).unwrap();
    let (code, found) = only(&home);
    assert_eq!((code, &found["gravity"]), (Some(3), &json!("damage")), "{found}");
}

#[test]
fn a_check_is_no_list_and_no_rename() {
    let home = Home::new();
    for more in [["--only", "stale"], ["--rename", "a"]] {
        let done = home.run(&[&["project", "--check"][..], &more].concat());
        assert_eq!(done.status.code(), Some(2), "{}", told(&done));
    }
    let none = home.run(&["project", "--check"]);
    assert_eq!(none.status.code(), Some(1), "{}", told(&none));
}
