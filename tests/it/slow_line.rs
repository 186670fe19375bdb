//! The real program over a line that crawls: keys do not wait for pictures, and pictures become fine.

use std::time::Duration;

use sonomark::tui::graphics::synthetic_frame;

use crate::pty_harness::{Answers, Harness};
use crate::surroundings::{Home, PATIENCE, PROGRAM, text, until};

/// Share of neighbouring pixels in a row in the middle of the picture that differ: less than a sixth where squares of 6 px
/// have one gray.
fn grain(terminal: &Harness) -> f64 {
    let canvas = terminal.canvas();
    let (from, to, y) = (300, 700, 560);
    let differs = (from..to).filter(|&x| canvas.at(x, y) != canvas.at(x + 1, y));
    differs.count() as f64 / (to - from) as f64
}

#[test]
fn on_a_line_that_crawls_a_key_does_not_wait_for_the_picture_which_becomes_fine_at_rest() {
    let home = Home::new();
    let still = home.path("still.png");
    let frame = synthetic_frame(1024, 768, 7);
    image::GrayImage::from_raw(1024, 768, frame.pixels).unwrap().save(&still).unwrap();
    // 1 Mbit/s: the usual picture of 400 kB takes more than three seconds.
    let line = Answers {
        bytes_per_s: Some(125_000),
        delay: Duration::from_millis(100),
        ..Answers::foot()
    };
    let command = [PROGRAM, "--device", "cpu", text(&still)];
    let env = [("HOME", text(home.0.path())), ("COLORTERM", "truecolor"), ("LANG", "C.UTF-8")];
    let mut terminal = Harness::start(&command, &env, 166, 53, (8, 16), line);
    // The text and the black picture before the first take less than ten thousand.
    until("a part of the picture", || terminal.bytes_since_mark() > 15_000);
    terminal.mark();
    terminal.key(b"?");
    assert!(terminal.wait_for("Keys (", PATIENCE), "{}", terminal.screen_text());
    let before = terminal.bytes_since_mark();
    assert!(before < 120_000, "{before} bytes came before the answer to a key");
    terminal.key(b"\x1b");
    until("a fine picture", || grain(&terminal) > 0.2);
    terminal.settle(1_000);
    assert!(grain(&terminal) > 0.2, "and it stays so");
    assert_eq!(terminal.faults(), Vec::<String>::new());
}
