//! What happens while a clip is being opened, which may take long: by the pure `update`, and in the real program with a
//! tool that waits before it answers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sonomark::codec::{Clip, OpenOptions, earlier_hash};
use sonomark::domain::{Cut, Edit, Mark, PointPx, Step, Track, TrackId};
use sonomark::engine::{Event, open_known};
use sonomark::project::{ClipStore, View};
use sonomark::tui::keymap::{Keymap, Layer};
use sonomark::tui::model::{Effect, Msg, Weight};
use sonomark::tui::update;

use crate::codec::has_ffmpeg;
use crate::codec::medium::write_image;
use crate::daily::{keys, opens, queued};
use crate::project::as_user;
use crate::pty_harness::{Answers, Harness};
use crate::screen::{has, screen};
use crate::surroundings::{Home, PATIENCE, PROGRAM, data, text};
use crate::update::{model, model_with, opened, press, propagation, tell, with_a_mask};

const FRAMES: usize = 40;

#[test]
fn a_folder_is_opened_in_the_order_of_names_in_which_it_was_annotated() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, root) = (dir.path().join("nerve"), dir.path().join("project"));
    fs::create_dir(&folder).unwrap();
    let draw = |name: &str, gray| {
        let image = image::GrayImage::from_pixel(8, 8, image::Luma([gray]));
        image.save(folder.join(name)).unwrap();
    };
    ["1.png", "2.png", "10.png"].into_iter().zip([10, 20, 30]).for_each(|(n, gray)| draw(n, gray));
    assert_eq!(earlier_hash(&folder, None), None, "every version has one order for these");
    fs::rename(folder.join("2.png"), folder.join("02.png")).unwrap();
    let options = OpenOptions::default();
    let open = |options: &OpenOptions| open_known(&folder, options, &root).unwrap();
    let grays = |clip: &Clip| [0, 1, 2].map(|frame| clip.frame(frame).unwrap().pixels[0]);
    let now = open(&options);
    assert_eq!((grays(&now), now.notes().len()), ([10, 20, 30], 0));
    let before = open(&OpenOptions { earlier_order: true, ..options.clone() });
    assert_eq!(
        (grays(&before), &before.frame_names()[..2]),
        ([20, 10, 30], &["02", "1"].map(String::from)[..])
    );
    assert_eq!(earlier_hash(&folder, None).as_ref(), Some(&before.info().content_hash));
    annotate(&root, &before);
    // Who opened it in the order of now, and missed the masks, left only the place.
    let (cursor, track, outside, look) = (PointPx::new(1.0, 1.0), None, None, None);
    let place = View { frame: 0, cursor, track, finished: false, keys: 3, outside, look };
    let (mut store, _) = ClipStore::open_with(&root, now.info(), 0, &as_user("anna")).unwrap();
    store.append_view(&place, 0).unwrap();
    drop(store);
    let found = open(&options);
    assert_eq!((found.info(), grays(&found)), (before.info(), [20, 10, 30]));
    assert!(found.notes()[0].contains("the order of an earlier version"), "{:?}", found.notes());
    // Who annotated it in the order of now stays with that.
    annotate(&root, &now);
    assert_eq!(grays(&open(&options)), [10, 20, 30]);
}

#[test]
fn a_series_whose_names_tell_its_order_is_opened_in_that_in_which_it_was_annotated() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, root) = (dir.path().join("nerve"), dir.path().join("project"));
    fs::create_dir(&folder).unwrap();
    let named = [("1.dcm", 10), ("02.dcm", 20), ("10.dcm", 30)];
    named.iter().for_each(|&(name, gray)| write_image(&folder.join(name), "4", "", 1, gray));
    let options = OpenOptions::default();
    let grays = |clip: &Clip| [0, 1, 2].map(|frame| clip.frame(frame).unwrap().pixels[0]);
    let now = open_known(&folder, &options, &root).unwrap();
    assert_eq!((grays(&now), now.notes().len()), ([10, 20, 30], 0));
    let earlier = OpenOptions { earlier_order: true, ..options.clone() };
    let before = open_known(&folder, &earlier, &root).unwrap();
    assert_eq!(grays(&before), [20, 10, 30]);
    assert_eq!(earlier_hash(&folder, None).as_ref(), Some(&before.info().content_hash));
    annotate(&root, &before);
    let found = open_known(&folder, &options, &root).unwrap();
    assert_eq!((found.info(), grays(&found)), (before.info(), [20, 10, 30]));
    assert!(found.notes()[0].contains("the order of an earlier version"), "{:?}", found.notes());
    // Whose images have numbers has one order in every version.
    for (number, (name, gray)) in (1..).zip(named) {
        write_image(&folder.join(name), "4", &number.to_string(), 1, gray);
    }
    assert_eq!(earlier_hash(&folder, None), None);
    assert_eq!(grays(&open_known(&folder, &earlier, &root).unwrap()), [10, 20, 30]);
}

/// Leaves a structure of a clip in a project.
fn annotate(root: &Path, clip: &Clip) {
    let edits = vec![Edit::AddTrack { track: TrackId(1), content: Track::new("nerve", 0) }];
    let (mut store, _) = ClipStore::open_with(root, clip.info(), 0, &as_user("anna")).unwrap();
    store.append(&Step { group: 1, mark: Mark::Do, edits, made_from: None }, 0).unwrap();
}

#[test]
fn keys_meant_for_a_clip_that_is_being_opened_reach_none() {
    let mut m = model(FRAMES);
    assert_eq!(opens(&press(&mut m, "C-n")), Some(1));
    for key in ["b", "x", "enter", "5", ":", "E", "p", "."] {
        assert_eq!(press(&mut m, key), [], "{key}");
        assert!(m.message.text.contains("is not done: other.dcm is being opened"), "{key}");
    }
    assert!(m.annotation.tracks.is_empty() && m.frame == 0 && m.pending == Default::default());
    has(&screen(&m), &["opening clip 2/2 (esc stays here)"]);
    update(&mut m, Msg::Tick(Duration::from_secs(3)));
    has(&screen(&m), &["opening clip 2/2, 3 s"]);
    assert!(m.wake_at().is_some_and(|at| at <= Duration::from_secs(4)), "the next second is told");
    update(&mut m, Msg::Opened(Box::new(opened(5))));
    assert!(m.at == 1 && m.annotation.tracks.is_empty() && m.opening.is_none());
    // It may come sooner than anybody reads: what was lost is told where it would be looked for.
    let told =
        "clip 2 of 2; not done, it came before the clip: `b`, `x`, `enter`, `5`, `:` and 3 more";
    assert_eq!((m.message.text.as_str(), m.message.weight), (told, Weight::Warning));
    press(&mut m, "b");
    assert_eq!(m.annotation.tracks.len(), 1, "keys do what they do again");
    press(&mut m, "C-p");
    update(&mut m, Msg::Opened(Box::new(opened(5))));
    assert_eq!(m.message.text, "clip 1 of 2", "nothing was lost");
}

#[test]
fn what_is_typed_before_a_clip_was_drawn_or_pasted_before_it_came_is_told() {
    let mut m = model(FRAMES);
    press(&mut m, "C-n");
    update(&mut m, Msg::Pasted("export png".into()));
    assert!(m.message.text.starts_with("what was pasted is not done: other.dcm is being opened"));
    update(&mut m, Msg::Opened(Box::new(opened(5))));
    // Who types looks at the clip before until the loop has drawn this one.
    m.tools.undrawn = true;
    press(&mut m, "b x");
    assert!(m.annotation.tracks.is_empty());
    let lost = "not done, it came before the clip: what was pasted, `b`, `x`";
    assert_eq!(m.message.text, format!("clip 2 of 2; {lost}"));
    assert_eq!(opens(&press(&mut m, "C-p")), Some(0), "what leads elsewhere is done");
    press(&mut m, "esc");
    assert!(m.message.text.starts_with("stopped at clip 2 of 2"), "{:?}", m.message);
    assert!(m.log.iter().any(|said| said.text == lost && said.weight == Weight::Warning));
    m.tools.undrawn = false;
    press(&mut m, "b");
    assert_eq!(m.annotation.tracks.len(), 1);

    let mut m = model(FRAMES);
    press(&mut m, "C-n b");
    update(&mut m, Msg::NotOpened { at: 1, why: "it is gone".into() });
    has(&screen(&m), &["other.dcm does not open: it is gone (M shows 1 more)"]);
    assert_eq!(m.log.back().unwrap().text, "not done, it came before the clip: `b`");
}

#[test]
fn what_a_key_does_behind_leaving_the_clip_is_not_done_to_it() {
    let text = "normal:\n  f9: [next-clip, add-boundary]\n";
    let (keymap, faults) = Keymap::layered(&[Layer { name: "mine.yaml", text }]);
    assert!(faults.is_empty());
    let mut m = model_with(FRAMES, keymap);
    assert_eq!(opens(&press(&mut m, "f9")), Some(1));
    assert!(m.annotation.tracks.is_empty());
    update(&mut m, Msg::Opened(Box::new(opened(5))));
    let told = "clip 2 of 2; not done, it came before the clip: `add-boundary`";
    assert_eq!(m.message.text, told);
    assert_eq!(press(&mut m, "f9"), [], "nor where there is no next one");
}

#[test]
fn esc_stays_with_the_clip_at_hand_and_steps_count_from_the_one_that_is_opened() {
    let mut m = model(FRAMES);
    m.queue = ["a", "b", "c", "d"].map(queued).to_vec();
    press(&mut m, "C-n");
    assert_eq!(press(&mut m, "esc"), [Effect::StopOpening]);
    assert!(m.at == 0 && m.opening.is_none(), "{:?}", m.message);
    assert!(m.message.text.contains("stopped at clip 1 of 4"), "{:?}", m.message);
    press(&mut m, "b");
    assert_eq!(m.annotation.tracks.len(), 1);

    assert_eq!(opens(&press(&mut m, "C-n")), Some(1));
    assert_eq!(opens(&press(&mut m, "C-n")), Some(2));
    assert_eq!(opens(&press(&mut m, "C-n")), Some(3));
    assert_eq!(opens(&press(&mut m, "C-n")), None, "{:?}", m.message);
    assert!(m.opening.is_some() && m.message.text.contains("last clip"), "{:?}", m.message);
    assert_eq!(opens(&press(&mut m, "C-p")), Some(2));
    assert_eq!(opens(&press(&mut m, "C-p")), Some(1));
    assert_eq!(press(&mut m, "C-p"), [Effect::StopOpening], "back to where one is");
    assert_eq!((m.at, m.opening), (0, None));

    // A terminal that goes leaves what runs to the clip at hand.
    press(&mut m, "C-n");
    assert!(update(&mut m, Msg::HungUp).contains(&Effect::StopOpening));
    let mut m = model(FRAMES);
    press(&mut m, "C-n");
    assert!(press(&mut m, "q").contains(&Effect::Quit));
}

#[test]
fn edits_that_the_disk_refuses_while_the_next_clip_opens_are_not_left_unasked() {
    let refused = || Event::SaveFailed { why: "the disk is full".into() };
    let mut m = model(FRAMES);
    press(&mut m, "C-n");
    assert_eq!(tell(&mut m, refused()), [], "a place that is not kept is no loss");
    assert!(m.opening.is_some());

    let mut m = model(FRAMES);
    press(&mut m, "b");
    press(&mut m, "C-n");
    assert_eq!(tell(&mut m, refused()), [Effect::StopOpening]);
    assert!(m.opening.is_none() && m.message.text.contains("stopped at clip 1 of 2"));
    assert_eq!(opens(&press(&mut m, "C-n")), None);
    assert!(m.message.text.contains("loses the newest edits"), "{:?}", m.message);
    assert_eq!(opens(&press(&mut m, "C-n")), Some(1));
    assert_eq!(tell(&mut m, refused()), [], "who knows is not asked again");
    assert!(m.opening.is_some());
}

#[test]
fn who_stayed_is_asked_anew_before_a_propagation_is_left() {
    let mut m = model(FRAMES);
    with_a_mask(&mut m);
    propagation(&mut m, "p p");
    assert_eq!(opens(&press(&mut m, "C-n")), None, "asked");
    assert_eq!(opens(&press(&mut m, "C-n")), Some(1));
    press(&mut m, "esc");
    assert!(m.opening.is_none() && m.propagating());
    assert_eq!(opens(&press(&mut m, "C-n")), None, "asked anew");
}

#[test]
fn a_clip_that_gets_another_content_while_it_opens_is_opened_anew() {
    let mut m = model(FRAMES);
    press(&mut m, "C-n");
    let path = m.queue[1].path.clone();
    let effects = tell(&mut m, Event::ClipsArrived { paths: vec![path] });
    assert_eq!(opens(&effects), Some(1));
    assert!(
        m.message.text.contains("has changed on the disk and is opened anew"),
        "{:?}",
        m.message
    );
    update(&mut m, Msg::Opened(Box::new(opened(5))));
    assert!(m.at == 1 && !m.queue[1].changed);
}

#[test]
fn a_macro_is_not_played_in_a_clip_that_was_given_up() {
    let mut m = model(FRAMES);
    m.broken.insert(0, "no picture to wait for".into());
    m.tools.macros.insert('m', keys("C-n t n"));
    let effects = press(&mut m, "@ m");
    assert!(effects.contains(&Effect::OpenClip(1, Cut::default())), "{effects:?}");
    // What is typed does not wait behind it for a clip that nobody has seen.
    press(&mut m, "b");
    assert_eq!(m.tools.to_play.len(), 2);
    press(&mut m, "esc");
    assert!(m.tools.to_play.is_empty() && m.annotation.tracks.is_empty(), "{:?}", m.message);
}

/// A home in which videos are not looked at as long as a file is there; who looks at one leaves another file.
struct Slow {
    home: Home,
    waits: PathBuf,
    asked: PathBuf,
    path: String,
}

impl Slow {
    /// `None` where there is no ffmpeg.
    fn new() -> Option<Self> {
        if !has_ffmpeg() {
            return None;
        }
        let home = Home::new();
        let (waits, asked, tools) = (home.path("waits"), home.path("asked"), home.path("tools"));
        fs::write(&waits, "").unwrap();
        fs::create_dir(&tools).unwrap();
        let path = std::env::var("PATH").unwrap();
        for name in ["ffprobe", "ffmpeg"] {
            let mut places = path.split(':').map(|folder| format!("{folder}/{name}"));
            let real = places.find(|place| fs::metadata(place).is_ok()).unwrap();
            // It ends with the folder of this test, too.
            let script = format!(
                "#!/bin/sh\nwhile [ -e '{}' ]; do : > '{}'; sleep 0.05; done\nexec {real} \"$@\"\n",
                waits.display(),
                asked.display()
            );
            let tool = tools.join(name);
            fs::write(&tool, script).unwrap();
            fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = format!("{}:{path}", tools.display());
        Some(Self { home, waits, asked, path })
    }

    fn start(&self, clips: &[&Path]) -> Harness {
        let mut command = vec![PROGRAM, "--device", "cpu", "annotate"];
        command.extend(clips.iter().map(|clip| text(clip)));
        let env = [("HOME", text(self.home.0.path())), ("PATH", self.path.as_str())];
        Harness::start(&command, &env, 110, 30, (8, 16), Answers::xterm())
    }

    fn goes_on(&self) {
        fs::remove_file(&self.waits).unwrap();
    }
}

#[test]
fn while_a_clip_opens_the_screen_answers_and_esc_stays() {
    let Some(slow) = Slow::new() else { return };
    let (still, video) = (data("clips/ultrabones/00005.jpg"), data("video/sonosite_eye.mp4"));
    let mut terminal = slow.start(&[&still, &video]);
    let opening = "opening clip 2/2";
    terminal.until("the first clip", |seen| seen.contains("clip 1/2"));
    terminal.key(b"\x0e");
    terminal.until("it is opened", |seen| seen.contains(opening));
    terminal.until("how long", |seen| seen.contains("opening clip 2/2, 1 s"));
    terminal.key(b"b");
    terminal.until("a key for nobody", |seen| seen.contains("`b` is not done"));
    terminal.key(b"\x1b");
    terminal.until("given up", |seen| {
        seen.contains("stopped at clip 1 of 2") && !seen.contains(opening)
    });
    terminal.key(b"b");
    terminal.until("the clip at hand", |seen| seen.contains("1 boundary"));
    terminal.key(b"\x0e");
    terminal.until("again", |seen| seen.contains(opening));
    terminal.key(b"b");
    terminal.until("a key for nobody", |seen| seen.contains("`b` is not done"));
    slow.goes_on();
    terminal.until("the next clip", |seen| {
        seen.contains("clip 2/2") && seen.contains("sonosite_eye") && !seen.contains(opening)
    });
    terminal.until("what was lost", |seen| {
        seen.contains("not done, it came before the clip: `b`") || seen.contains("(M shows")
    });
    // Its own words come: they are not lost between its opening and the screen.
    terminal.until("the network", |seen| seen.contains("on CPU"));
    assert!(!terminal.screen_text().contains("1 boundary"), "{}", terminal.screen_text());
    terminal.key(b"q");
    assert!(terminal.wait_exit(PATIENCE).unwrap().success());
}

#[test]
fn a_first_clip_that_takes_long_is_told_and_keys_before_the_screen_do_nothing() {
    let Some(slow) = Slow::new() else { return };
    let mut terminal = slow.start(&[&data("video/sonosite_eye.mp4")]);
    terminal.until("what is waited for", |seen| seen.contains("Ctrl-C gives up"));
    terminal.key(b"b\r");
    slow.goes_on();
    terminal.until("the clip", |seen| seen.contains("NORMAL") && seen.contains("on CPU"));
    terminal.settle(300);
    let seen = terminal.screen_text();
    assert!(!seen.contains("1 boundary") && !seen.contains("Ctrl-C gives up"), "{seen}");
    terminal.key(b"q");
    assert!(terminal.wait_exit(PATIENCE).unwrap().success());
}

#[test]
fn what_is_still_waited_for_behind_the_screen_is_told_there() {
    let Some(slow) = Slow::new() else { return };
    slow.goes_on();
    let mut terminal = slow.start(&[&data("video/sonosite_eye.mp4")]);
    terminal.until("the clip", |seen| seen.contains("NORMAL") && seen.contains("on CPU"));
    terminal.key(b"G");
    terminal
        .until("the last frame", |seen| seen.contains("frame 100/100") && seen.contains(" gray "));
    fs::write(&slow.waits, "").unwrap();
    // It lies behind, so it is decoded by another process.
    terminal.key(b"50G");
    terminal.until("a frame that does not come", |seen| seen.contains("frame 50/100"));
    // The place is told before the process is there; who leaves in between has nothing to wait for.
    terminal.until("the process that gives it", |_| slow.asked.exists());
    terminal.key(b"q");
    terminal.until("what is waited for", |seen| {
        seen.contains("ending what is under way; Ctrl-C twice gives up")
    });
    assert!(!terminal.raw_mode() && !terminal.alternate_screen());
    slow.goes_on();
    assert!(terminal.wait_exit(PATIENCE).unwrap().success());
}
