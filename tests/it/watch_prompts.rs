//! `watch --headless`: which clip a prompts file is for.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const PROMPTS: &str = "tracks:\n  - label: disc\n    prompts:\n      - frame: 0\n        \
                       boundary: [[30, 30], [60, 30], [60, 60]]\n";

/// Watches `home/inbox` until nothing more comes; the exit code and what was told.
fn watched(home: &Path, more: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sonomark"));
    command.env_clear().env("HOME", home).env("SONOMARK_DEVICE", "cpu");
    command.env("PATH", std::env::var_os("PATH").unwrap()).stdin(Stdio::null());
    command.arg("watch").arg(home.join("inbox")).args(["--headless", "--settle", "0.3"]);
    let output = command.args(more).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
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
    let (code, told) = watched(home.path(), &["--idle-exit", "4"]);
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
fn links_are_refused_and_not_followed() {
    use std::os::unix::fs::symlink;
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
    let (code, told) = watched(home.path(), &["--idle-exit", "4"]);
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
