//! The terminal layer in a real pty: probe, restore on every way out, hang-up, pacing.
//!
//! The programs in the terminal are the ignored tests `child_*` of this file, run from the same
//! binary.

use std::io::Write;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::widgets::Paragraph;
use sonomark::domain::PointPx;
use sonomark::tui::graphics::{
    Colour, Crosshair, Painter, Palette, Scene, Viewport, compose, reserve, synthetic_frame,
};
use sonomark::tui::terminal::{Capabilities, Screen, TerminalEvent, probe, spawn_input};

use crate::pty_harness::{Answers, Harness};
use crate::surroundings::{PATIENCE, child_test, until};

fn start(child: &str, env: &[(&str, &str)], answers: Answers) -> Harness {
    Harness::start_child(&format!("pty::{child}"), env, (100, 40), answers)
}

fn viewer(answers: Answers) -> Harness {
    let terminal = start("child_viewer", &[], answers);
    assert!(terminal.wait_for("frames", PATIENCE), "{}", terminal.screen_text());
    terminal.settle(250);
    terminal
}

/// Types and waits until the viewer has counted `keys` keys and drawn.
fn press(terminal: &mut Harness, bytes: &[u8], keys: usize) {
    terminal.key(bytes);
    let part = format!("keys {keys} ");
    assert!(terminal.wait_for(&part, PATIENCE), "{}", terminal.screen_text());
    terminal.settle(250);
}

// ---- the programs -------------------------------------------------------------------------

/// Prints what the probe found.
#[test]
#[ignore = "the program inside the terminal of the tests below"]
fn child_probe() {
    let start = Instant::now();
    let found = probe(None);
    println!("took {} ms", start.elapsed().as_millis());
    println!("{found:?}");
}

/// A small viewer: `hjkl` move a crosshair, `b` makes the picture brighter, `p` panics, `w` lets
/// another thread panic, `e` writes to standard error, `C-l` enters the screen again, `z` suspends, `q` quits.
#[test]
#[ignore = "the program inside the terminal of the tests below"]
fn child_viewer() {
    let capabilities = probe(None).unwrap_or_else(|_| Capabilities::unknown(false));
    let mut screen = Screen::enter(capabilities).expect("a terminal");
    let (sender, inbox) = channel::<TerminalEvent>();
    spawn_input(&mut screen, sender).expect("input");
    if std::env::var_os("NO_HUP").is_some() {
        // SAFETY: ignoring a signal; the hang-up must then be noticed without it.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    }
    let ending = view(&mut screen, &inbox);
    drop(screen);
    // Not println: that panics when the terminal is gone.
    let _ = writeln!(std::io::stdout(), "left: {ending:?}");
    if ending == TerminalEvent::HungUp {
        if let Some(path) = std::env::var_os("REPORT") {
            std::fs::write(path, "hung up").expect("a report");
        }
        // As a running propagation would: the process lives on for a while.
        std::thread::sleep(Duration::from_secs(2));
        if let Some(path) = std::env::var_os("REPORT") {
            let cpu = crate::pty_harness::cpu_ms(std::process::id());
            std::fs::write(path, format!("hung up, {cpu} ms")).expect("a report");
        }
    }
}

fn view(screen: &mut Screen, inbox: &Receiver<TerminalEvent>) -> TerminalEvent {
    let frame = synthetic_frame(400, 300, 3);
    let palette = Palette::new(32, &[[100, 80, 0]], 0, screen.capabilities().registers);
    let mut painter = Painter::new(screen.capabilities().limits());
    let (mut x, mut y, mut frames, mut keys) = (200.0f32, 150.0f32, 0, 0);
    let (mut bright, mut pasted, mut dirty) = (0.0, String::new(), true);
    loop {
        if dirty && screen.ready() {
            dirty = false;
            frames += 1;
            let (acked, _) = screen.last_frame().unwrap_or_default();
            let grid = screen.grid();
            let area = Rect::new(0, 1, grid.columns.min(50), grid.rows.saturating_sub(3).min(19));
            let [cell_width, cell_height] = [grid.cell_px.0, grid.cell_px.1].map(usize::from);
            let (width, height) =
                (area.width as usize * cell_width, area.height as usize * cell_height);
            screen
                .draw(|f| {
                    let status =
                        format!("frames {frames} keys {keys} acked {acked} paste {pasted}");
                    f.render_widget(Paragraph::new(status), Rect::new(0, 0, f.area().width, 1));
                    reserve(f.buffer_mut(), area);
                })
                .expect("text");
            let mut scene = Scene::new(Some(&frame), Viewport::fit(400, 300, width, height));
            scene.tone.level -= bright;
            scene.crosshair = Some(Crosshair { at: PointPx::new(x, y), colour: Colour(0) });
            let sixels = if screen.capabilities().sixel {
                painter.paint(compose(&scene, &palette), &palette, grid, area, &[])
            } else {
                Vec::new()
            };
            if screen.present(&sixels).is_err() {
                return TerminalEvent::HungUp;
            }
        }
        let Ok(event) = inbox.recv() else {
            return TerminalEvent::HungUp;
        };
        dirty |= !matches!(event, TerminalEvent::Suspend);
        match event {
            TerminalEvent::HungUp | TerminalEvent::Terminate => return event,
            TerminalEvent::Resize { .. } => {
                screen.resized();
                painter.damage_all();
            }
            TerminalEvent::Continued => {
                // A hang-up brings SIGCONT too, and it may come first.
                if screen.reenter().is_err() {
                    return TerminalEvent::HungUp;
                }
                screen.resized();
                painter.damage_all();
            }
            TerminalEvent::Paste(text) => pasted = text,
            TerminalEvent::Key(key) => {
                keys += 1;
                match key.code {
                    KeyCode::Char('q') => return TerminalEvent::Key(key),
                    KeyCode::Char('p') => panic!("on purpose"),
                    KeyCode::Char('w') => {
                        let _ = std::thread::spawn(|| panic!("in a job")).join();
                    }
                    KeyCode::Char('e') => {
                        let _ = writeln!(std::io::stderr(), "noise of a driver");
                    }
                    KeyCode::Char('l') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                        screen.reenter().expect("entered again");
                        painter.damage_all();
                    }
                    KeyCode::Char('z') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                        screen.suspend().expect("back again");
                        painter.damage_all();
                    }
                    KeyCode::Char('b') => bright += 6.0,
                    KeyCode::Char('h') | KeyCode::Left => x -= 8.0,
                    KeyCode::Char('l') | KeyCode::Right => x += 8.0,
                    KeyCode::Char('k') => y -= 8.0,
                    KeyCode::Char('j') => y += 8.0,
                    _ => {}
                }
            }
            TerminalEvent::Ready | TerminalEvent::Suspend => {}
        }
    }
}

// ---- the tests ----------------------------------------------------------------------------

fn probed(answers: Answers) -> (u64, String) {
    let mut terminal = start("child_probe", &[], answers);
    assert!(terminal.wait_exit(PATIENCE).is_some());
    let text = terminal.screen_text().replace('\n', "");
    let took = text.split("took ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    (took.unwrap_or_else(|| panic!("{text}")), text)
}

#[test]
fn the_probe_learns_what_the_terminal_says() {
    let (_, foot) = probed(Answers::foot());
    for part in
        ["sixel: true", "max_width_px: 10000", "Some((8, 16))", "sync_output: true", "fence: true"]
    {
        assert!(foot.contains(part), "{part} in {foot}");
    }
    let (_, xterm) = probed(Answers::xterm());
    assert!(
        xterm.contains("max_height_px: 1000") && xterm.contains("sync_output: false"),
        "{xterm}"
    );
    assert!(xterm.contains("light: false"), "{xterm}");
    let (_, white) = probed(Answers { light: true, ..Answers::xterm() });
    assert!(white.contains("light: true") && white.contains("fence: true"), "{white}");
    let (_, plain) = probed(Answers::plain());
    assert!(plain.contains("sixel: false") && plain.contains("fence: true"), "{plain}");
}

#[test]
fn a_silent_terminal_is_given_a_second_and_a_slow_one_the_time_it_takes() {
    let (took, silent) = probed(Answers::silent());
    assert!(silent.contains("sixel: false") && silent.contains("fence: false"), "{silent}");
    assert!(took >= 900, "{took} ms");
    let (_, slow) = probed(Answers { delay: Duration::from_millis(400), ..Answers::foot() });
    assert!(slow.contains("sixel: true") && slow.contains("fence: true"), "{slow}");
}

#[test]
fn the_picture_arrives_and_a_cursor_move_is_small() {
    let mut terminal = viewer(Answers::xterm());
    assert!(terminal.alternate_screen() && terminal.raw_mode() && terminal.cursor_hidden());
    // On a busy machine it may come long after its text.
    let bright = || terminal.canvas().rgb.iter().filter(|&&value| value > 60).count();
    until("a picture is shown", || bright() > 20_000);
    let canvas = terminal.canvas();
    // The image is fitted into 400 x 304 px below the first row; the arm of the cross is yellow.
    let yellow = |canvas: &crate::pty_harness::Canvas, x: usize| {
        canvas.at(x, 16 + 2 + 150)[2] < 30 && canvas.at(x, 16 + 2 + 150)[0] > 200
    };
    assert!(yellow(&canvas, 205), "{:?}", canvas.at(205, 168));
    terminal.mark();
    press(&mut terminal, b"l", 1);
    let (bytes, sixels) = (terminal.bytes_since_mark(), terminal.sixels_since_mark());
    assert!(bytes <= 6_000 && !sixels.is_empty(), "{bytes} bytes, {sixels:?}");
    assert!(yellow(&terminal.canvas(), 213));
    assert_eq!(terminal.faults(), Vec::<String>::new());
}

#[test]
fn a_frame_is_inside_one_synchronised_update() {
    let terminal = viewer(Answers::foot());
    let all = terminal.everything();
    let count = |part: &[u8]| all.windows(part.len()).filter(|w| *w == part).count();
    let pictures = count(b"\x1bP0;1;0q");
    assert!(pictures > 0);
    let mut depth = 0i32;
    for at in 0..all.len() {
        if all[at..].starts_with(b"\x1b[?2026h") {
            depth += 1;
        } else if all[at..].starts_with(b"\x1b[?2026l") {
            depth -= 1;
        } else if all[at..].starts_with(b"\x1bP") {
            assert_eq!(depth, 1, "a picture outside a frame at byte {at}");
        }
        assert!((0..=1).contains(&depth), "at byte {at}");
    }
}

fn assert_restored(terminal: &Harness) {
    assert!(
        !terminal.alternate_screen() && !terminal.cursor_hidden(),
        "{}",
        terminal.screen_text()
    );
    let all = terminal.everything();
    let last = |part: &[u8]| all.windows(part.len()).rposition(|w| w == part);
    assert!(last(b"\x1b[?2004l") > last(b"\x1b[?2004h"), "pasted text is marked no more");
}

#[test]
fn quitting_restores_the_terminal() {
    let mut terminal = viewer(Answers::foot());
    terminal.key(b"q");
    assert!(terminal.wait_exit(PATIENCE).is_some_and(|status| status.success()));
    assert_restored(&terminal);
    assert!(terminal.screen_text().contains("left: Key"), "{}", terminal.screen_text());
}

#[test]
fn a_panic_restores_the_terminal_and_is_told() {
    let mut terminal = viewer(Answers::foot());
    terminal.key(b"p");
    assert!(terminal.wait_exit(PATIENCE).is_some_and(|status| !status.success()));
    assert_restored(&terminal);
    assert!(terminal.screen_text().contains("on purpose"), "{}", terminal.screen_text());
}

#[test]
fn a_job_that_panics_does_not_touch_the_screen() {
    let mut terminal = viewer(Answers::foot());
    press(&mut terminal, b"w", 1);
    assert!(terminal.alternate_screen() && terminal.raw_mode());
    assert!(!terminal.screen_text().contains("in a job"), "{}", terminal.screen_text());
    terminal.key(b"q");
    assert!(terminal.wait_exit(PATIENCE).is_some());
    assert!(terminal.screen_text().contains("in a job"), "told after the screen is gone");
}

#[test]
fn what_drivers_write_stays_off_the_screen_also_when_it_is_entered_again() {
    let mut terminal = viewer(Answers::foot());
    let noise = |terminal: &Harness| {
        let (all, noise) = (terminal.everything(), b"noise of a driver");
        all.windows(noise.len()).any(|part| part == noise)
    };
    press(&mut terminal, b"e", 1);
    assert!(!noise(&terminal));
    // As Ctrl-L and every other clip do.
    for (bytes, keys) in [(b"\x0ce", 3), (b"\x0ce", 5)] {
        press(&mut terminal, bytes, keys);
        assert!(!noise(&terminal), "{}", terminal.screen_text());
    }
    // Stopped and gone on.
    terminal.key(b"\x1a");
    until("stops", || terminal.state() == Some('T'));
    terminal.signal(libc::SIGCONT);
    until("is back", || terminal.alternate_screen() && terminal.raw_mode());
    terminal.settle(250);
    press(&mut terminal, b"e", 7);
    assert!(!noise(&terminal), "{}", terminal.screen_text());
    terminal.key(b"q");
    assert!(terminal.wait_exit(PATIENCE).is_some());
}

#[test]
fn signals_restore_the_terminal() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP] {
        let mut terminal = viewer(Answers::foot());
        terminal.signal(signal);
        assert!(terminal.wait_exit(PATIENCE).is_some(), "signal {signal}");
        assert_restored(&terminal);
        assert!(terminal.screen_text().contains("left: "), "{}", terminal.screen_text());
    }
}

#[test]
fn ctrl_z_stops_and_comes_back_with_the_picture() {
    let mut terminal = viewer(Answers::foot());
    let before = terminal.canvas();
    terminal.key(b"\x1a");
    until("stops", || terminal.state() == Some('T'));
    until("leaves the screen", || !terminal.alternate_screen());
    assert_restored(&terminal);
    assert!(!terminal.raw_mode());
    terminal.signal(libc::SIGCONT);
    until("the picture is back", || terminal.canvas() == before);
    assert!(terminal.alternate_screen() && terminal.raw_mode());
    terminal.settle(250);
    terminal.signal(libc::SIGSTOP);
    until("stops", || terminal.state() == Some('T'));
    terminal.mark();
    terminal.signal(libc::SIGCONT);
    until("drawn anew after a foreign stop too", || !terminal.sixels_since_mark().is_empty());
    until("the picture is back", || terminal.canvas() == before);
}

#[test]
fn a_resize_draws_everything_anew() {
    let terminal = viewer(Answers::foot());
    terminal.mark();
    terminal.resize(60, 20, (8, 16));
    until("a picture of the new size", || {
        terminal.sixels_since_mark().iter().any(|sixel| sixel.row == 1 && sixel.height_px == 272)
    });
    assert!(terminal.screen_text().contains("frames"));
    assert_eq!(terminal.faults(), Vec::<String>::new());
}

#[test]
fn another_font_is_noticed_where_the_system_knows_no_px() {
    // Some terminals tell the size of their text area alone.
    for cell_report in [true, false] {
        let terminal = viewer(Answers { cell_report, ..Answers::foot() });
        let drawn = |height_px: usize| {
            until("a picture in the new cells", || {
                let seen = terminal.sixels_since_mark();
                seen.iter().any(|sixel| sixel.row == 1 && sixel.height_px == height_px)
            });
            terminal.settle(250);
            assert_eq!(terminal.faults(), Vec::<String>::new());
        };
        for cell_px in [(10, 20), (12, 24)] {
            terminal.mark();
            terminal.resize_without_px(60, cell_px.1, cell_px);
            drawn(usize::from((cell_px.1 - 3).min(19) * cell_px.1));
        }
    }
}

#[test]
fn a_hang_up_is_noticed_and_nothing_spins() {
    let folder = tempfile::tempdir().expect("a folder");
    for no_hup in [false, true] {
        let report = folder.path().join(format!("report-{no_hup}"));
        let path = report.to_str().expect("UTF-8").to_owned();
        let mut env = vec![("REPORT", path.as_str())];
        if no_hup {
            env.push(("NO_HUP", "1"));
        }
        let mut terminal = start("child_viewer", &env, Answers::foot());
        assert!(terminal.wait_for("frames", PATIENCE));
        terminal.settle(250);
        let before = terminal.child_cpu_ms();
        terminal.hang_up();
        assert!(terminal.wait_exit(PATIENCE).is_some(), "ends by itself (no_hup {no_hup})");
        let text = std::fs::read_to_string(&report).expect("a report");
        let after: u64 = text
            .strip_prefix("hung up, ")
            .and_then(|rest| rest.strip_suffix(" ms")?.parse().ok())
            .unwrap_or_else(|| panic!("{text}"));
        assert!(
            after - before <= 100,
            "two seconds after the hang-up cost {} ms CPU",
            after - before
        );
    }
}

#[test]
fn on_a_slow_line_frames_are_skipped_and_keys_are_not() {
    // About 0.4 s for a full picture; each press changes the whole picture.
    let slow =
        Answers { bytes_per_s: Some(400_000), delay: Duration::from_millis(20), ..Answers::foot() };
    let mut terminal = viewer(slow);
    terminal.mark();
    for _ in 0..30 {
        terminal.key(b"b");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(terminal.wait_for("keys 30", PATIENCE));
    terminal.settle(600);
    let frames: u32 = terminal
        .screen_text()
        .split("frames ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .expect("a number");
    println!("30 keys, {frames} frames, {} bytes", terminal.bytes_since_mark());
    assert!((2..25).contains(&frames), "{frames} frames");
    assert_eq!(terminal.faults(), Vec::<String>::new());
}

#[test]
fn an_answer_that_never_comes_does_not_stop_the_screen() {
    let mut terminal = viewer(Answers { sync: 0, ..Answers::silent() });
    for _ in 0..5 {
        terminal.key(b"l");
    }
    assert!(terminal.wait_for("keys 5", PATIENCE), "{}", terminal.screen_text());
}

/// The viewer's word for how large the frame was that the terminal took last.
fn acknowledged(terminal: &Harness) -> String {
    let text = terminal.screen_text();
    text.split("acked ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a number").into()
}

#[test]
fn an_answer_behind_an_escape_is_no_keys_and_is_counted() {
    let mut terminal = viewer(Answers::foot());
    terminal.answer_reports(false);
    terminal.key(b"b");
    assert!(terminal.wait_for("keys 1 ", PATIENCE), "{}", terminal.screen_text());
    let before = acknowledged(&terminal);
    terminal.key(b"\x1b\x1b[0n");
    assert!(terminal.wait_for("keys 2 ", PATIENCE), "{}", terminal.screen_text());
    assert_ne!(acknowledged(&terminal), before, "given up on instead of counted");
    terminal.answer_reports(true);
    press(&mut terminal, b"\x1b", 3);
}

#[test]
fn pasted_text_is_no_keys_and_arrows_are() {
    let mut terminal = viewer(Answers::foot());
    terminal.key(b"\x1b[200~qqq\x1b[201~");
    assert!(terminal.wait_for("paste qqq", PATIENCE), "{}", terminal.screen_text());
    press(&mut terminal, b"\x1b[C\x1b[D\xc3\xa4\x1b[1;5A", 4);
}

#[test]
fn without_a_terminal_there_is_a_sentence() {
    let output = child_test("pty::child_probe").output().expect("runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("NotATerminal(\"standard output\")"), "{text}");
}
