//! The whole workstation in a real pty, with a scripted network: keys in, pictures out, the
//! journal written, a hang-up survived.
//!
//! The program in the terminal is the ignored test `child_workstation` of this file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sonomark::config::{Flags, Settings};
use sonomark::domain::{Bitmap, FramePrompts, MaskSource};
use sonomark::engine::{
    Anchor, Decided, Direction, Image, SegmentError, Segmenter, SegmenterInfo, SegmenterSource,
    Session,
};
use sonomark::tui::{Ended, Start, run};

use crate::codec::has_ffmpeg;
use crate::pty_harness::{Answers, Harness};
use crate::surroundings::{PATIENCE, annotation_of, data, until};

/// Answers every frame with a disc after a while.
struct Scripted {
    pace: Duration,
}

impl Scripted {
    fn disc(&self, image: Image<'_>, x: f32, y: f32) -> Decided {
        std::thread::sleep(self.pace);
        let (w, h) = (image.pixels.width_px, image.pixels.height_px);
        let bitmap = Bitmap::from_fn(w, h, |i, j| (i as f32 - x).hypot(j as f32 - y) < 20.0);
        Decided { bitmap, score: 0.9, object_score_logit: 5.0, encode_ms: 0.0, decode_ms: 1.0 }
    }

    fn middle(&self, image: Image<'_>) -> Decided {
        let (w, h) = (image.pixels.width_px as f32, image.pixels.height_px as f32);
        self.disc(image, w / 2.0, h / 2.0)
    }
}

impl Segmenter for Scripted {
    fn info(&self) -> SegmenterInfo {
        SegmenterInfo { model: "scripted".into(), device: "no device".into(), bridged: false }
    }
    fn open_clip(&mut self, _frames: usize) {}
    fn refresh(
        &mut self,
        image: Image<'_>,
        prompts: &FramePrompts,
    ) -> Result<Decided, SegmentError> {
        let (_, at) = prompts.points[0];
        Ok(self.disc(image, at.x, at.y))
    }
    fn turn_to(&mut self, _: usize) {}
    fn end_walk(&mut self, _: usize) {}
    fn begin_walk(&mut self, _windowed: bool) {}
    fn anchor(&mut self, image: Image<'_>, _anchor: &Anchor) -> Result<Decided, SegmentError> {
        Ok(self.middle(image))
    }
    fn follow(
        &mut self,
        image: Image<'_>,
        _direction: Direction,
        _next: Option<Image<'_>>,
    ) -> Result<Decided, SegmentError> {
        Ok(self.middle(image))
    }
    fn encode_ahead(&mut self, _image: Image<'_>) -> Result<(), SegmentError> {
        Ok(())
    }
}

#[test]
#[ignore = "the program inside the terminal of the tests below"]
fn child_workstation() {
    let project = PathBuf::from(std::env::var("TEST_PROJECT").unwrap());
    let pace = Duration::from_millis(std::env::var("TEST_PACE_MS").unwrap().parse().unwrap());
    let env = |name: &str| match name {
        "HOME" | "XDG_CONFIG_HOME" => Some(project.join("home").into()),
        _ => None,
    };
    let settings = Settings::load_with(&Flags::default(), &env).unwrap();
    let held = project.clone();
    let ended = run(Start {
        clips: vec![data("video/sonosite_eye.mp4")],
        open: Arc::new(move |path, _, inbox| {
            let segmenter = SegmenterSource::Scripted(Box::new(Scripted { pace }));
            Session::open(path, &held, segmenter, inbox)
        }),
        settings: &settings,
        lesson: false,
        attach: None,
    });
    std::fs::write(project.join("ended"), format!("{ended:?}")).unwrap();
    assert!(matches!(ended, Ok(Ended::Quit | Ended::HungUp)), "{ended:?}");
}

fn start(project: &Path, pace_ms: u64, answers: Answers) -> Harness {
    let shows_pictures = answers.largest_px.is_some() || answers.kitty;
    let env = [
        ("TEST_PROJECT", project.to_str().unwrap()),
        ("TEST_PACE_MS", &pace_ms.to_string()),
        ("COLORTERM", "truecolor"),
        ("LANG", "C.UTF-8"),
    ];
    let child = "workstation::child_workstation";
    let terminal = Harness::start_child(child, &env, (100, 40), answers);
    assert!(terminal.wait_for("NORMAL", PATIENCE), "{}", terminal.screen_text());
    assert!(terminal.wait_for("scripted on no device", PATIENCE), "{}", terminal.screen_text());
    // Black with its marks first, the frame when it is decoded.
    let bright = || terminal.canvas().rgb.iter().filter(|&&value| value > 60).count();
    until("the frame is shown", || !shows_pictures || bright() > 5_000);
    terminal.settle(300);
    terminal
}

fn typed(terminal: &mut Harness, keys: &str) {
    for key in keys.bytes() {
        terminal.key(&[key]);
    }
}

fn ended(project: &Path) -> String {
    std::fs::read_to_string(project.join("ended")).unwrap_or_default()
}

#[test]
fn a_point_becomes_a_mask_and_a_propagation_and_is_there_after_quitting() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = start(folder.path(), 3, Answers::foot());
    assert!(!terminal.sixels_since_mark().is_empty(), "the picture is there");

    terminal.mark();
    terminal.key(b"l");
    terminal.settle(200);
    let cursor_bytes = terminal.bytes_since_mark();
    println!("one move of the cursor: {cursor_bytes} bytes");
    assert!(cursor_bytes < 20_000, "one move of the cursor sent {cursor_bytes} bytes");

    terminal.mark();
    let begun = Instant::now();
    terminal.key(b"b");
    assert!(terminal.wait_for("mask from points", PATIENCE), "{}", terminal.screen_text());
    println!(
        "point to mask {} ms, {} bytes",
        begun.elapsed().as_millis(),
        terminal.bytes_since_mark()
    );
    until("the picture of the mask", || !terminal.sixels_since_mark().is_empty());
    terminal.settle(300);

    terminal.mark();
    typed(&mut terminal, "w");
    assert!(terminal.wait_for("never mind", PATIENCE), "{}", terminal.screen_text());
    terminal.settle(200);
    assert_eq!(terminal.sixels_since_mark().len(), 0, "the which-key box costs no picture");
    terminal.key(b"s");
    typed(&mut terminal, ":5\rwe");
    assert!(terminal.wait_for("visible in frames 1-5", PATIENCE), "{}", terminal.screen_text());
    typed(&mut terminal, "pp");
    assert!(terminal.wait_for("propagated 4 frames", PATIENCE), "{}", terminal.screen_text());
    assert!(terminal.wait_for("5/5", PATIENCE), "{}", terminal.screen_text());
    assert_eq!(terminal.faults(), [] as [String; 0]);
    typed(&mut terminal, "Qm,Q:reaction 243\r");
    assert!(terminal.wait_for("243 ms back", PATIENCE), "{}", terminal.screen_text());

    typed(&mut terminal, "q");
    let exit = terminal.wait_exit(PATIENCE);
    assert!(exit.is_some_and(|status| status.success()), "{}", terminal.screen_text());
    assert!(!terminal.alternate_screen(), "the terminal is as it was");
    assert_eq!(ended(folder.path()), "Ok(Quit)");

    let kept = annotation_of(folder.path());
    let track = kept.tracks.values().next().unwrap();
    assert_eq!(track.prompts[&0].len(), 1);
    assert_eq!(track.masks.len(), 5);
    assert_eq!(track.masks[&0].source, MaskSource::Prompted);

    // Undo goes on where it was, and the place is remembered.
    let mut terminal = start(folder.path(), 3, Answers::foot());
    assert!(terminal.screen_text().contains("frame 4/"), "{}", terminal.screen_text());
    // So are the macro and the reaction time.
    typed(&mut terminal, "@m");
    assert!(terminal.wait_for("frame 3/", PATIENCE), "{}", terminal.screen_text());
    let person = folder.path().join("home/.local/state/sonomark/person.yaml");
    let person = sonomark::config::person::Person::load(&person).unwrap();
    // It was set by hand: there is no day on which it was measured.
    assert_eq!(person.reaction.map(|(time, day)| (time.as_millis(), day.len())), Some((243, 0)));
    typed(&mut terminal, "uuuu");
    assert!(terminal.wait_for("none yet", PATIENCE), "{}", terminal.screen_text());
    typed(&mut terminal, "q");
    assert!(terminal.wait_exit(PATIENCE).is_some());
    assert_eq!(annotation_of(folder.path()), Default::default());
}

#[test]
fn after_a_hang_up_the_propagation_is_finished_and_journaled() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Slow enough to be seen at work on any machine.
    let mut terminal = start(folder.path(), 150, Answers::foot());
    typed(&mut terminal, "b");
    assert!(terminal.wait_for("mask from points", PATIENCE), "{}", terminal.screen_text());
    typed(&mut terminal, ":window 1 20\r");
    assert!(terminal.wait_for("visible in frames 1-20", PATIENCE), "{}", terminal.screen_text());
    typed(&mut terminal, "pp");
    assert!(terminal.wait_for("propagating", PATIENCE), "{}", terminal.screen_text());
    terminal.hang_up();
    until("the program ends", || !ended(folder.path()).is_empty());
    assert_eq!(ended(folder.path()), "Ok(HungUp)");
    let kept = annotation_of(folder.path());
    assert_eq!(kept.tracks.values().next().unwrap().masks.len(), 20);
}

#[test]
fn a_terminal_without_pictures_gets_half_blocks_and_any_size() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = start(folder.path(), 3, Answers::plain());
    assert!(terminal.screen_text().contains('▀'), "{}", terminal.screen_text());
    assert!(terminal.sixels_since_mark().is_empty());
    terminal.resize(20, 5, (8, 16));
    assert!(terminal.wait_for("Enlarge it,", PATIENCE), "{}", terminal.screen_text());
    terminal.resize(80, 24, (8, 16));
    assert!(terminal.wait_for("NORMAL", PATIENCE), "{}", terminal.screen_text());
    typed(&mut terminal, "?");
    assert!(terminal.wait_for("Keys (1-", PATIENCE), "{}", terminal.screen_text());
    terminal.key(b"\x1b");
    assert!(terminal.wait_for("▀", PATIENCE), "{}", terminal.screen_text());
    typed(&mut terminal, "q");
    assert!(terminal.wait_exit(PATIENCE).is_some());
}

#[test]
fn a_terminal_with_kittys_images_alone_shows_the_same_pixels_and_never_a_pile_of_them() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut with_sixel = start(folder.path(), 3, Answers::foot());
    let reference = with_sixel.canvas();
    typed(&mut with_sixel, "q");
    assert!(with_sixel.wait_exit(PATIENCE).is_some());
    let mut terminal = start(folder.path(), 3, Answers::kitty());
    // Black first, then the frame between black margins; where the machine is so busy that the line seems far, the strips that
    // measure it come between.
    assert!((1..=14).contains(&terminal.images()), "{} images", terminal.images());
    assert_eq!(terminal.sixels_since_mark(), []);
    let off = |a: &[u8], b: &[u8], most: u8| {
        a.iter().zip(b).filter(|(a, b)| a.abs_diff(**b) > most).count()
    };
    let canvas = terminal.canvas();
    // Images go out with more grays than sixels: half a step of the coarser ones apart, and what drawing rounds.
    assert_eq!(off(&canvas.rgb, &reference.rgb, 12), 0, "the same picture");
    for _ in 0..60 {
        typed(&mut terminal, "l");
        terminal.settle(10);
    }
    terminal.settle(200);
    assert!(terminal.images() < 60, "{} images", terminal.images());
    typed(&mut terminal, "60h");
    terminal.settle(300);
    assert_eq!(off(&terminal.canvas().rgb, &canvas.rgb, 3), 0, "nothing of the way is left");
    terminal.key(b"?");
    assert!(terminal.wait_for("Keys (1-", PATIENCE), "{}", terminal.screen_text());
    until("images would lie over the words", || terminal.images() == 0);
    terminal.key(b"q");
    until("one image", || terminal.images() == 1);
    assert_eq!(terminal.faults(), [] as [String; 0]);
    typed(&mut terminal, "q");
    assert!(terminal.wait_exit(PATIENCE).is_some());
}
