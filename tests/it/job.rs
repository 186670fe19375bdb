//! The whole job at the real program: by keys in a terminal, and by one command without one. The
//! exported masks are the same.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use sonomark::cli::pty::Terminal;
use sonomark::domain::{Bisection, Window};

use crate::surroundings::{
    Home, PATIENCE, annotation_of, data, files_below, text, told, until, words_for_env,
};

/// Where the shadow of the bone lies on frame 6, and where it is visible (frames from 0).
const POINTS: [[u32; 2]; 4] = [[243, 236], [291, 345], [262, 398], [206, 290]];
const SEEN: Window = Window { first: 4, last: 7 };

/// Types a key or a line and gives the program the time to take it.
fn typed(terminal: &mut Terminal, keys: &str) {
    terminal.key(keys.as_bytes()).unwrap();
    assert!(terminal.settle(Duration::from_millis(120), PATIENCE));
}

/// Masks in the project's journals.
fn masks(project: &Path) -> usize {
    annotation_of(project).tracks.values().map(|track| track.masks.len()).sum()
}

fn png(folder: &Path, frame: usize) -> Vec<u8> {
    let path = folder.join("shadow").join(format!("{frame:05}.png"));
    image::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).to_luma8().into_raw()
}

#[test]
fn the_job_by_keys_and_the_job_without_a_screen_give_the_same_masks() {
    let home = Home::new();
    let (project, by_keys) = (home.path("project"), home.path("by keys"));
    let clip = data("clips/ultrabones");
    let words = ["--device", "cpu", "--project"].map(OsStr::new);
    let words = [&words[..], &[project.as_os_str(), clip.as_os_str()]].concat();
    let words = words_for_env(home.0.path(), &words);
    let mut terminal = Terminal::start(Path::new("env"), &words, (120, 40)).unwrap();
    assert!(terminal.settle(Duration::from_millis(600), PATIENCE) && terminal.running());
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
    until("four files", || files_below(&by_keys.join("shadow")).len() == 4);
    terminal.key(b"q").unwrap();
    until("it leaves", || !terminal.running());

    let (prompts, headless) = (home.path("prompts.yaml"), home.path("headless"));
    let at = POINTS.map(|[x, y]| format!("[{x}.5, {y}.5]")).join(", ");
    let lines = format!(
        "tracks:\n  - label: shadow\n    windows: [[{}, {}]]\n    prompts:\n      - frame: 5\n        boundary: [{at}]\n",
        SEEN.first, SEEN.last
    );
    std::fs::write(&prompts, lines).unwrap();
    let words = ["propagate", text(&clip), "--prompts", text(&prompts), "--out", text(&headless)];
    let done = home.run(&words);
    assert!(done.status.success(), "{}", told(&done));
    for frame in SEEN.first..=SEEN.last {
        let mask = png(&by_keys, frame);
        assert!(mask.iter().any(|pixel| *pixel > 0), "frame {frame} is empty");
        assert!(mask == png(&headless, frame), "frame {frame} differs");
    }
}
