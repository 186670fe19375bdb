//! The whole job at the real program: by keys in a terminal, and by one command without one. The
//! exported masks are the same.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sonomark::cli::pty::Terminal;
use sonomark::domain::{Bisection, Window};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sonomark");
const MOST: Duration = Duration::from_secs(60);
/// Where the shadow of the bone lies on frame 6, and where it is visible (frames from 0).
const POINTS: [[u32; 2]; 4] = [[243, 236], [291, 345], [262, 398], [206, 290]];
const SEEN: Window = Window { first: 4, last: 7 };

fn clip() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/clips/ultrabones")
}

/// Types a key or a line and gives the program the time to take it.
fn typed(terminal: &mut Terminal, keys: &str) {
    terminal.key(keys.as_bytes()).unwrap();
    assert!(terminal.settle(Duration::from_millis(120), MOST));
}

/// Waits for what the journal or the disk must show.
fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < MOST, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Masks of the only structure in the project's journals.
fn masks(project: &Path) -> usize {
    let clips = std::fs::read_dir(project.join("clips")).into_iter().flatten().flatten();
    let hash = clips.filter_map(|clip| clip.file_name().into_string().ok()).next();
    let Some(hash) = hash.map(sonomark::domain::ContentHash) else { return 0 };
    let loaded = sonomark::project::load_read_only(project, &hash);
    let annotation = loaded.map(|loaded| loaded.annotation).unwrap_or_default();
    annotation.tracks.values().map(|track| track.masks.len()).sum()
}

fn png(folder: &Path, frame: usize) -> Vec<u8> {
    let path = folder.join("shadow").join(format!("{frame:05}.png"));
    image::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).to_luma8().into_raw()
}

#[test]
fn the_job_by_keys_and_the_job_without_a_screen_give_the_same_masks() {
    let folder = tempfile::tempdir().unwrap();
    let (project, by_keys) = (folder.path().join("project"), folder.path().join("by keys"));
    let arguments = [
        "--device".into(),
        "cpu".into(),
        "--project".into(),
        project.clone().into(),
        clip().into(),
    ];
    let mut terminal = Terminal::start(Path::new(PROGRAM), &arguments, (120, 40)).unwrap();
    assert!(terminal.settle(Duration::from_millis(600), MOST) && terminal.running());
    typed(&mut terminal, ":new shadow\r");
    typed(&mut terminal, "6G");
    for [x, y] in POINTS {
        typed(&mut terminal, &format!(":cursor {x} {y}\r"));
        typed(&mut terminal, "b");
    }
    typed(&mut terminal, "wb");
    let mut search = Bisection::new(5, 16);
    while let Some(frame) = search.question() {
        search.answer(frame, SEEN.contains(frame));
        typed(&mut terminal, if SEEN.contains(frame) { "y" } else { "n" });
    }
    assert_eq!(search.window(), Some(SEEN));
    until("the mask of the points", || masks(&project) == 1);
    typed(&mut terminal, "pp");
    until("the masks of the window", || masks(&project) == 4);
    typed(&mut terminal, &format!(":export png {}\r", by_keys.display()));
    until("four files", || {
        std::fs::read_dir(by_keys.join("shadow")).is_ok_and(|files| files.count() == 4)
    });
    terminal.key(b"q").unwrap();
    let begun = Instant::now();
    while terminal.running() {
        assert!(begun.elapsed() < MOST, "it leaves");
        std::thread::sleep(Duration::from_millis(20));
    }

    let prompts = folder.path().join("prompts.yaml");
    let at = POINTS.map(|[x, y]| format!("[{x}.5, {y}.5]")).join(", ");
    let text = format!(
        "tracks:\n  - label: shadow\n    windows: [[{}, {}]]\n    prompts:\n      - frame: 5\n        boundary: [{at}]\n",
        SEEN.first, SEEN.last
    );
    std::fs::write(&prompts, text).unwrap();
    let headless = folder.path().join("headless");
    let done = Command::new(PROGRAM)
        .args(["--device", "cpu", "propagate"])
        .args([clip().as_path(), "--prompts".as_ref(), &prompts, "--out".as_ref(), &headless])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    for frame in SEEN.first..=SEEN.last {
        let mask = png(&by_keys, frame);
        assert!(mask.iter().any(|pixel| *pixel > 0), "frame {frame} is empty");
        assert!(mask == png(&headless, frame), "frame {frame} differs");
    }
}
