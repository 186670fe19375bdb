//! Files made to break programs: every one of them becomes a sentence or a clip, within bounds.
//!
//! The corpus (`corpus.rs`) is opened by a process of its own, so that its memory can be read when it
//! is done. A sixteenth is taken by default; `SONOMARK_CORPUS=all` takes all 4,096 and looks at the
//! clock as well.

mod corpus;
mod mutate;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use sonomark::codec::{OpenOptions, clips_of, is_complete, looks_like_clip, open};
use sonomark::config::{Flags, Settings};
use sonomark::domain::ContentHash;
use sonomark::export::{Target, read};
use sonomark::net::config::ModelCard;
use sonomark::project::load_read_only;

use crate::surroundings::{child_test, program, told};
use corpus::{CLASSES, Case, Class, FILES, case};

/// Every how-manieth file is taken by default.
const STRIDE: usize = 16;
/// Bounds of RELIABILITY: a verdict within 5 s, no process above 1 GiB.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST_KIB: u64 = 1 << 20;

/// A refusal is one sentence that is safe to print and says what to do.
fn checked(sentence: &str) {
    assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
    assert!(sentence.len() < 2000 && !sentence.trim().is_empty(), "{sentence:?}");
    assert!(!sentence.contains(": true") && !sentence.contains("Some("), "{sentence:?}");
}

/// What becomes of a file; `None` when it is taken.
fn verdict(folder: &Path, held: &Case) -> Option<String> {
    let path = folder.join(&held.name);
    fs::write(&path, &held.bytes).unwrap();
    match held.class {
        Class::Checkpoints => {
            let out = folder.join("out");
            sonomark::net::import::convert(&path, None, &out).err().map(|error| error.to_string())
        }
        Class::Records => record(folder, &path, held),
        _ => clip(&path),
    }
}

fn clip(path: &Path) -> Option<String> {
    let _ = (looks_like_clip(path), clips_of(path));
    if let Err(error) = is_complete(path) {
        checked(&error.to_string());
    }
    let clip = match open(path, &OpenOptions { cache_mib: 8, ..OpenOptions::default() }) {
        Ok(clip) => clip,
        Err(error) => return Some(error.to_string()),
    };
    // As somebody else's annotation it may be refused as well.
    let target = Target { info: clip.info(), frame_names: &[], origin: None, stop: None };
    if let Err(error) = read(path, None, &target) {
        checked(&error.to_string());
    }
    let frames = (0..clip.info().frames.min(4)).map(|frame| clip.frame(frame));
    frames.filter_map(Result::err).next().map(|error| error.to_string())
}

fn record(folder: &Path, path: &Path, held: &Case) -> Option<String> {
    let text = || String::from_utf8_lossy(&held.bytes).into_owned();
    match held.name.to_str().unwrap() {
        "config.yaml" => {
            let settings = folder.join(".config/sonomark");
            fs::create_dir_all(&settings).unwrap();
            fs::copy(path, settings.join("config.yaml")).unwrap();
            let home = folder.to_str().unwrap().to_owned();
            let env = move |name: &str| (name == "HOME").then(|| home.clone().into());
            let lines = Settings::load_with(&Flags::default(), &env).err()?.to_string();
            Some(lines.lines().next().unwrap_or_default().to_owned())
        }
        "card.yaml" => {
            let why = ModelCard::from_yaml(&text()).err()?.to_string();
            Some(why.lines().next().unwrap_or_default().to_owned())
        }
        _ => {
            let hash = ContentHash("0123456789abcdef".to_owned());
            let ops = folder.join("project/clips").join(&hash.0).join("ops");
            fs::create_dir_all(&ops).unwrap();
            fs::copy(path, ops.join("00000001-someone.jsonl")).unwrap();
            match load_read_only(&folder.join("project"), &hash) {
                Ok(loaded) => {
                    loaded.notes.iter().for_each(|note| checked(note));
                    assert!(loaded.annotation.tracks.is_empty());
                    loaded.notes.first().cloned()
                }
                Err(error) => Some(error.to_string()),
            }
        }
    }
}

fn all() -> bool {
    std::env::var("SONOMARK_CORPUS").is_ok_and(|value| value == "all")
}

/// The process that opens the corpus.
#[test]
#[ignore = "started by the test below"]
fn child_corpus() {
    // One of every sixteen, another one each time: the kinds within a class alternate.
    let chosen = |index: &usize| all() || (index * 7 + index / STRIDE).is_multiple_of(STRIDE);
    let mut counts: BTreeMap<Class, (usize, usize)> = BTreeMap::new();
    let (mut slowest, mut slowest_file) = (Duration::ZERO, 0);
    for index in (0..FILES).filter(chosen) {
        let (held, folder) = (case(index), tempfile::tempdir().unwrap());
        let begun = Instant::now();
        let refused = verdict(folder.path(), &held);
        let took = begun.elapsed();
        if took > slowest {
            (slowest, slowest_file) = (took, index);
        }
        let count = counts.entry(held.class).or_default();
        count.0 += 1;
        if let Some(sentence) = refused {
            checked(&sentence);
            count.1 += 1;
            let bad = !matches!(held.class, Class::Sound | Class::Names);
            assert!(bad, "file {index}, {:?}: {sentence}", held.class);
        }
    }
    println!("class: files, refused");
    for (class, (files, refused)) in &counts {
        println!("{class:?}: {files}, {refused}");
    }
    println!("slowest: file {slowest_file}, {} ms", slowest.as_millis());
    println!("peak KiB: {}, of children {}", peak_kib(), children_peak_kib());
    assert!(peak_kib() < MOST_KIB && children_peak_kib() < MOST_KIB);
    // On a busy machine the clock says little: it counts where somebody asked for everything.
    assert!(!all() || slowest < PATIENCE, "file {slowest_file} took {slowest:?}");
    for (class, files, most, few) in CLASSES {
        let (seen, refused) = counts[&class];
        let (opened, known) = (seen - refused, if all() { most } else { few });
        assert!(!all() || seen == files, "{class:?}");
        // Versions of ffmpeg differ in what they make of a broken video.
        let slack = if matches!(class, Class::Truncated | Class::Lengths) { 2 } else { 0 };
        assert!(opened.abs_diff(known) <= slack, "{class:?}: {opened} open instead of {known}");
    }
}

/// Most memory that this process held at any time.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The same of the largest of its children that have ended.
fn children_peak_kib() -> u64 {
    // SAFETY: a zeroed rusage is a valid one, and the pointer is to a live value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let done = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) };
    assert_eq!(done, 0);
    u64::try_from(usage.ru_maxrss).unwrap()
}

#[test]
fn bad_files_are_refused_within_bounds() {
    let output = child_test("hostile::child_corpus").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", told(&output));
    println!("{said}");
}

#[test]
fn annotations_that_need_more_than_a_gibibyte_are_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let picture = image::GrayImage::from_pixel(20, 16, image::Luma([90]));
    picture.save(at("a.png")).unwrap();
    // Every three bytes of it become thirty-two.
    let lists = "[],".repeat(24 << 20);
    let text = format!("{{\"images\":[],\"annotations\":[],\"info\":[{lists}[]]}}");
    fs::write(at("large.json"), text).unwrap();
    let import = |file: &str| {
        let mut import = program(folder.path());
        let output = import.args(["import", "a.png", file]).current_dir(folder.path());
        let output = output.output().unwrap();
        (output.status.code(), told(&output))
    };
    let (code, said) = import("large.json");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("large.json is not imported") && said.contains("1 GiB"), "{said}");
    // What fits comes in by the same way, with its reasons.
    fs::write(at("b.json"), "{\"shapes\":1}").unwrap();
    let (code, said) = import("b.json");
    assert!(code == Some(1) && said.contains("b.json cannot be imported"), "{said}");
}
