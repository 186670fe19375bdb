//! `watch --headless`: which clip a prompts file is for.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::surroundings::{IDLE_S, program, told};

const PROMPTS: &str = "tracks:\n  - label: disc\n    prompts:\n      - frame: 0\n        \
                       boundary: [[30, 30], [60, 30], [60, 60]]\n";

/// The command that watches `home/inbox`, where files settle for so many seconds, until nothing more comes.
fn watch(home: &Path, settle_s: &str) -> Command {
    let mut command = program(home);
    command.arg("watch").arg(home.join("inbox")).args(["--headless", "--settle", settle_s]);
    // It writes into the project alone: where temporary files lie may be away or full.
    command.env("TMPDIR", home.join("nowhere"));
    command.args(["--idle-exit", IDLE_S]);
    command
}

/// Watches `home/inbox` until nothing more comes; the exit code and what was told.
fn watched(home: &Path) -> (Option<i32>, String) {
    let output = watch(home, "0.3").output().unwrap();
    (output.status.code(), told(&output))
}

/// A still that differs from those of other numbers.
fn write_still(path: &Path, number: u32) {
    let still = image::GrayImage::from_fn(96, 96, |x, y| image::Luma([(x * y + number) as u8]));
    still.save(path).unwrap();
}

#[test]
fn a_prompts_file_is_for_one_clip() {
    let home = tempfile::tempdir().unwrap();
    let inbox = home.path().join("inbox");
    for (number, name) in [(1, "1.2.840.1"), (2, "1.2.840.2")] {
        fs::create_dir_all(inbox.join(name)).unwrap();
        write_still(&inbox.join(name).join("0.png"), number);
    }
    fs::write(inbox.join("1.2.840.1.prompts.yaml"), PROMPTS).unwrap();
    write_still(&inbox.join("a.png"), 3);
    write_still(&inbox.join("a.bmp"), 4);
    fs::write(inbox.join("a.prompts.yaml"), PROMPTS).unwrap();
    write_still(&inbox.join("b.png"), 5);
    write_still(&inbox.join("b.bmp"), 6);
    fs::write(inbox.join("b.prompts.yaml"), PROMPTS).unwrap();
    fs::write(inbox.join("b.png.prompts.yaml"), PROMPTS).unwrap();
    let (code, told) = watched(home.path());
    assert_eq!(code, Some(3), "{told}");
    for part in [
        "1.2.840.1: 1 track, 1 frame",
        "1.2.840.2: waits for ",
        "a.png: a.prompts.yaml may be that of a.bmp too; if it belongs to this clip, name it \
         a.png.prompts.yaml",
        "a.bmp: a.prompts.yaml may be that of a.png too; if it belongs to this clip, name it \
         a.bmp.prompts.yaml",
        "b.png: 1 track, 1 frame",
        "b.bmp: b.prompts.yaml may be that of b.png too",
        "2 of 5 clips segmented; 1 more waits for its prompts",
    ] {
        assert!(told.contains(part), "{part} is missing in {told}");
    }
}

#[test]
fn clocks_that_go_back_hold_no_prompts_up() {
    let home = tempfile::tempdir().unwrap();
    let inbox = home.path().join("inbox");
    fs::create_dir(&inbox).unwrap();
    // As of a machine whose clock is years ahead, and of one that has none.
    let year = Duration::from_secs(365 * 24 * 3600);
    let times = [SystemTime::now() + 10 * year, SystemTime::UNIX_EPOCH];
    for (number, (name, time)) in ["ahead", "without"].into_iter().zip(times).enumerate() {
        let [clip, prompts] =
            ["png", "prompts.yaml"].map(|ending| inbox.join(format!("{name}.{ending}")));
        write_still(&clip, number as u32);
        fs::write(&prompts, PROMPTS).unwrap();
        for path in [clip, prompts] {
            fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        }
    }
    let (code, told) = watched(home.path());
    assert_eq!(code, Some(0), "{told}");
    for part in ["ahead.png: 1 track", "without.png: 1 track", "2 of 2 clips segmented"] {
        assert!(told.contains(part), "{part} is missing in {told}");
    }
}

#[test]
fn links_are_refused_and_not_followed() {
    let home = tempfile::tempdir().unwrap();
    let (inbox, other) = (home.path().join("inbox"), home.path().join("other"));
    fs::create_dir_all(inbox.join("scan")).unwrap();
    fs::create_dir(&other).unwrap();
    write_still(&other.join("0.png"), 1);
    symlink(&other, inbox.join("evil.png")).unwrap();
    symlink(other.join("0.png"), inbox.join("scan/0.png")).unwrap();
    for name in ["evil", "scan", "evil.png"] {
        fs::write(inbox.join(format!("{name}.prompts.yaml")), PROMPTS).unwrap();
    }
    // Nor is a mask taken from elsewhere.
    write_still(&inbox.join("a.png"), 2);
    let masked = "tracks:\n  - label: disc\n    prompts:\n      - frame: 0\n        \
                  mask: ../other/0.png\n";
    fs::write(inbox.join("a.prompts.yaml"), masked).unwrap();
    let (code, told) = watched(home.path());
    assert_eq!(code, Some(3), "{told}");
    for part in [
        "evil.png: refused, it is a link",
        "scan: refused, its file 0.png is a link",
        "is no file in the folder of the prompts file",
        "0 of 3 clips segmented",
    ] {
        assert!(told.contains(part), "{part} is missing in {told}");
    }
    assert!(!told.contains("1 track"), "{told}");
}

#[test]
fn a_link_that_comes_into_the_place_of_a_clip_is_not_followed() {
    let home = tempfile::tempdir().unwrap();
    let (inbox, other) = (home.path().join("inbox"), home.path().join("other.png"));
    fs::create_dir(&inbox).unwrap();
    write_still(&other, 1);
    write_still(&inbox.join("a.png"), 2);
    let (link, prompts) = (inbox.join(".link"), inbox.join(".prompts"));
    symlink(&other, &link).unwrap();
    fs::write(&prompts, PROMPTS).unwrap();
    let hour = Duration::from_secs(3600);
    let file = fs::File::options().write(true).open(&prompts).unwrap();
    file.set_modified(SystemTime::now() - hour).unwrap();
    let mut child = watch(home.path(), "2").stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut told = String::new();
    while !told.contains("a.png: waits for") {
        assert_ne!(said.read_line(&mut told).unwrap(), 0, "{told}");
    }
    // The prompts have settled: the clip is taken before what lies in its place now has.
    fs::rename(link, inbox.join("a.png")).unwrap();
    fs::rename(prompts, inbox.join("a.prompts.yaml")).unwrap();
    said.read_to_string(&mut told).unwrap();
    child.wait().unwrap();
    assert!(told.contains("it is a link"), "{told}");
    assert!(!told.contains("1 track"), "{told}");
}
