//! Pictures through a real tmux; skipped where none is installed.

use std::path::Path;
use std::process::{Command, Output};

use sonomark::tui::graphics::synthetic_frame;

use crate::pty_harness::{Answers, Harness};
use crate::surroundings::{PATIENCE, PROGRAM, skipped, until};

const CELL: (u16, u16) = (8, 16);

/// A tmux server of its own; ended with the test.
struct Tmux {
    socket: std::path::PathBuf,
}

impl Tmux {
    fn run(&self, words: &[&str]) -> Output {
        Command::new("tmux").arg("-S").arg(&self.socket).args(words).output().unwrap()
    }

    fn told(&self, format: &str) -> String {
        let output = self.run(&["display-message", "-p", format]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}

/// `None`, with a sentence, where there is no tmux, or one that shows sixels itself.
fn tmux(folder: &Path) -> Option<Tmux> {
    let version = Command::new("tmux").arg("-V").output();
    let Ok(version) = version.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
    else {
        skipped("tmux is not installed");
        return None;
    };
    if !version.starts_with("tmux 3.3") {
        skipped(&format!("{version} knows sixels or lets everything through, this is about 3.3"));
        return None;
    }
    Some(Tmux { socket: folder.join("socket") })
}

/// The program in the right half of a window with the status bar above, in a terminal that can draw sixels.
fn started(tmux: &Tmux, folder: &Path, allowed: &str, more: &str) -> Harness {
    let still = folder.join("still.png");
    let frame = synthetic_frame(512, 384, 7);
    image::GrayImage::from_raw(512, 384, frame.pixels).unwrap().save(&still).unwrap();
    let conf = folder.join("tmux.conf");
    std::fs::write(
        &conf,
        format!(
            "set -g status-position top\nset -g allow-passthrough {allowed}\nset -g default-shell /bin/sh\n\
             set -g escape-time 10\nset -g focus-events on\n"
        ),
    )
    .unwrap();
    let program = format!(
        "exec {PROGRAM} --device cpu --project {} {more} {}",
        folder.join("project").display(),
        still.display()
    );
    let (socket, conf) = (tmux.socket.display().to_string(), conf.display().to_string());
    let command = [
        "tmux",
        "-S",
        &socket,
        "-f",
        &conf,
        "new-session",
        "sleep 600",
        ";",
        "split-window",
        "-h",
        "-l",
        "120",
        &program,
    ];
    let env = [("LANG", "C.UTF-8"), ("HOME", folder.to_str().unwrap())];
    Harness::start(&command, &env, 200, 50, CELL, Answers::foot())
}

#[test]
fn pictures_go_through_tmux_to_their_place_in_the_pane() {
    let folder = tempfile::tempdir().unwrap();
    let Some(tmux) = tmux(folder.path()) else { return };
    let mut terminal = started(&tmux, folder.path(), "on", "--graphics sixel");
    until("a picture", || !terminal.sixels_since_mark().is_empty());
    terminal.settle(600);
    let text = terminal.screen_text();
    let sixels = terminal.sixels_since_mark();
    assert!(!sixels.is_empty(), "{text}");
    let left: u16 = tmux.told("#{pane_left}").parse().unwrap();
    assert_eq!(left, 80, "beside the other pane and a line");
    for sixel in &sixels {
        let right = usize::from(sixel.column) + sixel.width_px / usize::from(CELL.0);
        // The status bar of tmux above, and the header of the program below it.
        assert!(sixel.column >= left && right <= 200 && sixel.row >= 1, "{sixel:?}");
    }
    let canvas = terminal.canvas();
    let lit = |x: std::ops::Range<usize>| {
        x.flat_map(|x| (0..canvas.height).map(move |y| (x, y)))
            .filter(|&(x, y)| canvas.at(x, y)[0] > 60)
            .count()
    };
    let border = usize::from(left * CELL.0);
    assert!(lit(border..canvas.width) > 10_000 && lit(0..border) == 0);
    assert!(!tmux.told("#{pane_title}").contains("Gi="), "{}", tmux.told("#{pane_title}"));
    assert_eq!(terminal.faults(), Vec::<String>::new());

    // A cursor move is a small picture at the same corner.
    terminal.mark();
    terminal.key(b"l");
    terminal.settle(600);
    let moved = terminal.sixels_since_mark();
    assert!(
        !moved.is_empty() && moved.iter().all(|sixel| sixel.column >= left && sixel.bytes < 2_500),
        "{moved:?}"
    );

    // The pane gets another corner: everything is sent to the new one.
    terminal.mark();
    tmux.run(&["resize-pane", "-L", "-t", ":.1", "20"]);
    terminal.settle(1200);
    let left: u16 = tmux.told("#{pane_left}").parse().unwrap();
    let sent = terminal.sixels_since_mark();
    assert_eq!(left, 60);
    let first = sent.iter().map(|sixel| sixel.column).min();
    assert!(first.is_some_and(|column| (60..80).contains(&column)), "{sent:?}");

    // Another window wipes it, and back again it is there.
    tmux.run(&["new-window", "sleep 600"]);
    terminal.settle(600);
    terminal.mark();
    tmux.run(&["last-window"]);
    until("the picture is back", || !terminal.sixels_since_mark().is_empty());
}

#[test]
fn a_tmux_that_keeps_pictures_says_how_to_let_them_through() {
    let folder = tempfile::tempdir().unwrap();
    let Some(tmux) = tmux(folder.path()) else { return };
    let mut terminal = started(&tmux, folder.path(), "off", "--graphics sixel");
    assert!(terminal.wait_for("▀", PATIENCE), "half blocks: {}", terminal.screen_text());
    terminal.key(b"M");
    assert!(terminal.wait_for("allow-passthrough", PATIENCE), "{}", terminal.screen_text());
}
