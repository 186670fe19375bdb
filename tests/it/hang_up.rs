//! The terminal goes, or takes nothing any more, while the program is at work in it with the shipped network: nothing
//! is lost, and the program ends by itself.

use crate::pty_harness::{Answers, Harness};
use crate::surroundings::{Home, PATIENCE, PROGRAM, annotation_of, data, long_clip, text, until};

/// The program on a clip, started by `starter` where there is one, with a structure that has points and a mask.
fn with_a_mask(home: &Home, clip: &str, starter: &[&str], flags: &[&str]) -> Harness {
    let words = [starter, &[PROGRAM, "--device", "cpu"], flags, &[clip]].concat();
    let env = [("HOME", text(home.0.path()))];
    let mut terminal = Harness::start(&words, &env, 100, 40, (8, 16), Answers::xterm());
    seen(&terminal, "NORMAL");
    for line in ["new shadow", "frame 6"] {
        type_line(&mut terminal, line);
    }
    for at in ["243 236", "291 345", "262 398", "206 290"] {
        type_line(&mut terminal, &format!("boundary {at}"));
    }
    seen(&terminal, "mask from points");
    terminal
}

fn seen(terminal: &Harness, part: &str) {
    terminal.until(part, |text| text.contains(part));
}

fn type_line(terminal: &mut Harness, line: &str) {
    terminal.key(format!(":{line}\r").as_bytes());
}

/// A clip of so many frames whose propagation has begun when its terminal goes; what is in the project when the program
/// has ended by itself.
fn masks_after_hang_up(frames: usize, starter: &[&str], flags: &[&str]) -> usize {
    let home = Home::new();
    let clip = home.path("clip");
    long_clip(&clip, frames);
    let mut terminal = with_a_mask(&home, text(&clip), starter, flags);
    terminal.key(b"pp");
    seen(&terminal, "propagating");
    terminal.hang_up();
    // However slow the machine: as long as the work goes on it is waited for.
    let mut masks = 0;
    while terminal.wait_exit(PATIENCE).is_none() {
        let kept = annotation_of(&home.project());
        let now = kept.tracks.values().map(|track| track.masks.len()).sum::<usize>();
        assert!(now > masks, "neither an end nor another mask: {now} masks");
        masks = now;
    }
    let kept = annotation_of(&home.project());
    let track = kept.tracks.values().next().unwrap();
    assert_eq!((track.info.label.as_str(), track.prompts[&5].len()), ("shadow", 4));
    track.masks.len()
}

#[test]
fn a_propagation_is_finished_without_its_terminal() {
    assert_eq!(masks_after_hang_up(40, &[], &[]), 40);
    // Started from a shell that was told to hear of no hang-up.
    let deaf_to_it = ["sh", "-c", "trap '' HUP; \"$0\" \"$@\"; :"];
    assert_eq!(masks_after_hang_up(40, &deaf_to_it, &[]), 40);
}

#[test]
fn a_propagation_is_stopped_with_its_terminal_where_that_is_wanted() {
    let masks = masks_after_hang_up(300, &[], &["--on-hangup", "stop"]);
    assert!((1..300).contains(&masks), "{masks} masks");
}

#[test]
fn what_is_typed_into_a_terminal_that_shows_nothing_is_kept() {
    let home = Home::new();
    let clip = data("clips/ultrabones");
    let mut terminal = with_a_mask(&home, text(&clip), &[], &[]);
    let labels = || {
        let kept = annotation_of(&home.project());
        kept.tracks.values().map(|track| track.info.label.clone()).collect::<Vec<_>>()
    };
    terminal.listen(false);
    // Whole pictures: more than the line holds.
    terminal.key(&b"vk".repeat(20));
    type_line(&mut terminal, "new artery");
    until("the structure in the journal", || labels() == ["shadow", "artery"]);
    assert!(!terminal.screen_text().contains("artery"), "the terminal takes something");
    terminal.listen(true);
    seen(&terminal, "artery");
    terminal.settle(300);
    assert_eq!(terminal.faults(), [] as [String; 0]);

    terminal.listen(false);
    terminal.key(&b"vj".repeat(20));
    type_line(&mut terminal, "new vein");
    until("the structure in the journal", || labels().len() == 3);
    terminal.key(b"q");
    let ended = terminal.wait_exit(PATIENCE);
    assert!(ended.as_ref().is_some_and(|status| status.success()), "{ended:?}");
    assert_eq!(labels(), ["shadow", "artery", "vein"]);
}

#[test]
fn words_behind_the_screen_hold_up_no_end() {
    let home = Home::new();
    let scratch = home.path("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let folders = || std::fs::read_dir(&scratch).unwrap().flatten().map(|entry| entry.path());
    let env = [("HOME", text(home.0.path())), ("TMPDIR", text(&scratch))];
    let words = [PROGRAM, "--device", "cpu", "demo"];
    let mut terminal = Harness::start(&words, &env, 100, 40, (8, 16), Answers::xterm());
    seen(&terminal, "NORMAL");
    terminal.listen(false);
    // Whole pictures: more than the line holds.
    terminal.key(&b"vk".repeat(20));
    type_line(&mut terminal, "new artery");
    until("the structure in the journal", || {
        let mut projects = folders().map(|folder| folder.join("project"));
        let kept = projects.find(|project| project.join("clips").is_dir());
        kept.is_some_and(|project| annotation_of(&project).tracks.len() == 1)
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    terminal.key(b"q");
    let ended = terminal.wait_exit(PATIENCE);
    assert!(ended.as_ref().is_some_and(|status| status.success()), "{ended:?}");
    assert_eq!(folders().count(), 0, "nothing is left behind");
}
