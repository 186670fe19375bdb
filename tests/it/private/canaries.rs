//! Canaries in the tags and the names of clips appear in nothing that the program writes or says.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sonomark::config::{Flags, Settings};
use sonomark::engine::{SegmenterSource, Session};
use sonomark::tui::{Ended, Start, run};

use super::{Home, SIDE, canary, clip, holds, start};
use crate::codec::has_ffmpeg;
use crate::pty_harness::{Answers, Harness};
use crate::surroundings::{PATIENCE, files_below};

/// Words of names of files and folders; those of tags are numbered.
const NAMES: [&str; 5] =
    ["FILECANARY", "SERIESCANARY", "SLICECANARY", "FOLDERCANARY", "NAMECANARY"];

/// A file, a series of three files and a folder of three images, with canaries in every name and
/// every tag.
fn clips_with_canaries(inbox: &Path) -> [PathBuf; 3] {
    let [file, series, folder] =
        ["FILECANARY^JOHN.dcm", "SERIESCANARY^ANN", "FOLDERCANARY^EVE"].map(|n| inbox.join(n));
    fs::write(&file, clip(true)).unwrap();
    fs::create_dir(&series).unwrap();
    fs::create_dir(&folder).unwrap();
    for number in 1..=3u8 {
        let mut bytes = clip(true);
        let at = bytes.windows(9).position(|w| w == b"1.2.3.4.5").unwrap();
        bytes[at + 8] = b'4' + number;
        fs::write(series.join(format!("SLICECANARY^{number}.dcm")), bytes).unwrap();
        let image = image::GrayImage::from_pixel(SIDE.into(), SIDE.into(), image::Luma([90]));
        image.save(folder.join(format!("NAMECANARY^{number}.png"))).unwrap();
    }
    [file, series, folder]
}

#[test]
fn canaries_of_a_clip_are_in_nothing_that_is_written_or_said() {
    let (home, inbox) = (Home(tempfile::tempdir().unwrap()), tempfile::tempdir().unwrap());
    let clips = clips_with_canaries(inbox.path());
    let label = inbox.path().join("00000.png");
    let image = image::GrayImage::from_fn(SIDE.into(), SIDE.into(), |x, y| {
        image::Luma([u8::from((6..12).contains(&x) && y > 8)])
    });
    image.save(&label).unwrap();
    let (mut said, mut done) = (Vec::new(), Vec::new());
    let mut run = |words: &[&str], fine: bool| {
        let output = home.run(words);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), fine, "{words:?}: {told}");
        let all = [output.stdout, output.stderr].concat();
        // A refusal names the file, to whoever named it; nothing else does.
        done.extend(if fine { all.clone() } else { Vec::new() });
        said.extend(all);
    };
    let has_ffmpeg = has_ffmpeg();
    let out = home.0.path().join("out");
    for (number, path) in clips.iter().enumerate() {
        let text = path.to_str().unwrap();
        run(&["import", text, label.to_str().unwrap()], true);
        for (_, name, _) in sonomark::export::ExportFormat::all() {
            if ["mp4", "gif"].contains(&name) && !has_ffmpeg {
                continue;
            }
            let target = out.join(number.to_string()).join(name);
            let words = ["export", text, "--format", name, "--out", target.to_str().unwrap()];
            let holds_the_clip = ["dicom", "frames"].contains(&name);
            run(&words, !holds_the_clip);
            if holds_the_clip {
                run(&[&words[..], &["--outside", "box:4,6,15,20"]].concat(), true);
            }
        }
    }
    let project = home.0.path().join(".local/share/sonomark/project");
    let all = out.join("all");
    let words = ["export", project.to_str().unwrap(), "--format", "coco", "--out"];
    run(&[&words[..], &[all.to_str().unwrap()]].concat(), true);
    run(&["doctor"], true);
    assert_eq!(NAMES.map(|name| holds(&done, name)), [false; 5], "said of what went well");
    // What lists the clips of a project has their names.
    said.extend(home.run(&["project", "--json"]).stdout);
    // A refusal must not quote what it refuses.
    let broken = inbox.path().join("broken.dcm");
    let whole = clip(true);
    fs::write(&broken, &whole[..whole.len() - 100]).unwrap();
    said.extend(home.run(&["import", broken.to_str().unwrap(), "x.png"]).stderr);
    for path in &clips {
        let drawn = screen(&home, path.to_str().unwrap());
        for title in drawn.split(|&b| b == 0x1b).filter(|part| part.first() == Some(&b']')) {
            assert_eq!(NAMES.map(|name| holds(title, name)), [false; 5], "a title of the window");
        }
        said.extend(drawn);
    }
    for number in 0..60 {
        assert!(!holds(&said, &canary(number)[..8]), "canary {number} is on the terminal");
    }
    // Exports, the project, logs, caches, temporary files.
    let mut written = Vec::new();
    written.extend(files_below(home.0.path()));
    assert!(written.len() > 60, "{} files", written.len());
    for file in written {
        let bytes = fs::read(&file).unwrap();
        let tags = (0..60).any(|number| holds(&bytes, &canary(number)[..8]));
        // `clip.json` keeps the name of the file, for people to find the clip again.
        let named = NAMES.iter().any(|name| holds(&bytes, name)) && !file.ends_with("clip.json");
        assert!(!tags && !named, "{}", file.display());
        let path = file.to_string_lossy().into_owned();
        assert!(!path.contains("CANARY"), "{path}");
    }
}

/// Everything that a terminal gets, titles included, when the clip is opened in it.
fn screen(home: &Home, clip: &str) -> Vec<u8> {
    let mut terminal = start(home, clip);
    terminal.until("the badge", |text| text.contains("may contain patient data"));
    terminal.signal(libc::SIGTERM);
    terminal.wait_exit(PATIENCE).unwrap();
    terminal.everything()
}

/// The screen on the clip `TEST_CLIP`, in which a job fails over everything that it holds: the
/// bytes of the file and its path.
#[test]
#[ignore = "the program inside the terminal of the test below"]
fn child_job_panics() {
    let at = |name: &str| PathBuf::from(std::env::var(name).unwrap());
    let (path, project) = (at("TEST_CLIP"), at("TEST_PROJECT"));
    let env = |name: &str| (name == "HOME").then(|| project.clone().into());
    let settings = Settings::load_with(&Flags::default(), &env).unwrap();
    let held = (path.clone(), fs::read(&path).unwrap());
    let fails = move |_| {
        let job = move || panic!("{}: {}", held.0.display(), String::from_utf8_lossy(&held.1));
        let _ = std::thread::spawn(job).join();
    };
    let ended = run(Start {
        clips: vec![path],
        open: Arc::new(move |path, _, inbox| {
            Session::open(path, &project, SegmenterSource::None, inbox)
        }),
        settings: &settings,
        lesson: false,
        attach: Some(Box::new(fails)),
    });
    assert_eq!(ended.ok(), Some(Ended::Quit));
}

#[test]
fn a_job_that_fails_over_a_clip_tells_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = folder.path().join("FOLDERCANARY");
    fs::create_dir(&inbox).unwrap();
    fs::write(inbox.join("a.dcm"), clip(true)).unwrap();
    let (path, project) = (inbox.join("a.dcm"), folder.path().join("project"));
    let env = [
        ("TEST_CLIP", path.to_str().unwrap()),
        ("TEST_PROJECT", project.to_str().unwrap()),
        ("RUST_BACKTRACE", "1"),
    ];
    let child = "private::canaries::child_job_panics";
    let mut terminal = Harness::start_child(child, &env, (200, 30), Answers::xterm());
    // Where others do not take its place.
    terminal.until("the screen", |text| text.contains("Structures"));
    terminal.key(b"M");
    let told = "a job failed: a defect at tests/it/private/canaries.rs";
    terminal.until(told, |text| text.contains(told));
    terminal.key(b"qq");
    terminal.wait_exit(PATIENCE).unwrap();
    let all = terminal.everything();
    let said = |word: &str| all.windows(word.len()).any(|w| w == word.as_bytes());
    assert!(!said("FOLDERCANARY"), "the path of the clip is on the terminal");
    for number in 0..60 {
        assert!(!said(&canary(number)[..8]), "canary {number} is on the terminal");
    }
    let mut written = Vec::new();
    written.extend(files_below(&project));
    for file in written {
        let bytes = fs::read(&file).unwrap();
        assert!(!bytes.windows(6).any(|w| w == b"CANARY"), "{}", file.display());
    }
}
