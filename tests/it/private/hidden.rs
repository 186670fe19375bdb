//! What lies outside the ultrasound regions is asked for, decided and black.

use std::fs;
use std::path::Path;

use sonomark::codec::{OpenOptions, open};
use sonomark::domain::{GrayFrame, OutsideChoice, Region};
use sonomark::engine::{Event, SegmenterSource, Session, Surround, View, decided};
use sonomark::learn::dataset::{DataSource, Pick, StillSet, Veil};
use sonomark::project::load_read_only;

use super::{Home, SIDE, clip, clip_of, element, head, shown_of, start};
use crate::learn::labelled_clips;
use crate::pty_harness::Harness;
use crate::surroundings::{PATIENCE, until};

/// Six frames in which a fan moves under text that stands still; the file names no region.
fn moving() -> Vec<u8> {
    let (width, height) = (120u16, 90u16);
    let mut random = fastrand::Rng::with_seed(9);
    let fan: sonomark::domain::Region = "fan:60,-5,15,85,-40,40".parse().unwrap();
    let mut out = head();
    element(&mut out, 8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.3.1");
    element(&mut out, 0x28, 0x04, b"CS", b"MONOCHROME2");
    element(&mut out, 0x28, 0x08, b"IS", b"6");
    for (tag, value) in [(0x10, height), (0x11, width), (0x100, 8), (0x101, 8), (0x102, 7)] {
        element(&mut out, 0x28, tag, b"US", &value.to_le_bytes());
    }
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (u32::from(x), u32::from(y))));
    let one = places.cycle().take(usize::from(width) * usize::from(height) * 6);
    let pixel = |(x, y)| match (fan.contains(x, y), x < 30 && y < 12) {
        (true, _) => random.u8(..90),
        (_, true) => 255 * u8::from((x + y) % 3 == 0),
        _ => 0,
    };
    let pixels: Vec<u8> = one.map(pixel).collect();
    element(&mut out, 0x7fe0, 0x10, b"OB", &pixels);
    out
}

#[test]
fn a_region_found_in_the_pixels_is_confirmed_before_the_clip_leaves() {
    let (home, inbox) = (Home(tempfile::tempdir().unwrap()), tempfile::tempdir().unwrap());
    let at = |name: &str| inbox.path().join(name).to_str().unwrap().to_owned();
    fs::write(at("m.dcm"), moving()).unwrap();
    let export = |outside: &str, out: &str| {
        let words = ["export", &at("m.dcm"), "--format", "dicom", "--outside", outside];
        let output = home.run(&[&words[..], &["--out", &at(out)]].concat());
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (done, why) = export("show", "no.dcm");
    assert!(!done && why.contains("may be burned into"), "{why}");
    let (done, why) = export("hide", "no.dcm");
    assert!(!done && why.contains("nobody has confirmed"), "{why}");
    assert!(!Path::new(&at("no.dcm")).exists());
    let region = why.rsplit("--outside ").next().unwrap().trim();
    assert!(region.starts_with("fan:"), "{why}");
    let (done, why) = export(region, "yes.dcm");
    assert!(done, "{why}");
    let clip = shown_of(Path::new(&at("yes.dcm")));
    let frame = clip.frame(5).unwrap();
    assert!((0..12).all(|y| (0..30).all(|x| frame.at(x, y) == 0)), "the text is gone");
    assert!((30..60).any(|y| frame.at(60, y) > 0), "the picture is there");
    // PS3.15 Annex E is named for what was done alone: a region that is the whole picture hides nothing.
    let named = |out: &str, code: &[u8]| {
        fs::read(at(out)).unwrap().windows(code.len()).any(|held| held == code)
    };
    assert!(named("yes.dcm", b"113100") && named("yes.dcm", b"113101"));
    assert!(export("box:0,0,4000,4000", "all.dcm").0);
    assert!(named("all.dcm", b"113100") && !named("all.dcm", b"113101"));
    assert!(export("fan:1,2", "no.dcm").1.contains("fan:X,Y,NEAR,FAR"));
    // What shows other pixels is another object: an archive keeps one of a name.
    let name_of =
        |out: &str| shown_of(Path::new(&at(out))).dicom_origin().map(|origin| origin.instance_uids);
    assert!(export("box:30,10,90,59", "box.dcm").0 && export(region, "again.dcm").0);
    assert_eq!(name_of("again.dcm"), name_of("yes.dcm"));
    let names = ["yes.dcm", "all.dcm", "box.dcm"].map(name_of);
    assert!(names[0] != names[1] && names[1] != names[2] && names[2] != names[0], "{names:?}");
}

#[test]
fn a_region_found_in_the_pixels_is_asked_for_once_and_kept_with_the_clip() {
    let (home, inbox) = (Home(tempfile::tempdir().unwrap()), tempfile::tempdir().unwrap());
    let at = |name: &str| inbox.path().join(name).to_str().unwrap().to_owned();
    fs::write(at("m.dcm"), moving()).unwrap();
    let project = home.0.path().join(".local/share/sonomark/project");
    let hash = shown_of(Path::new(&at("m.dcm"))).info().content_hash.clone();
    let decided = || load_read_only(&project, &hash).ok().and_then(|loaded| loaded.outside);
    let has = |terminal: &Harness, part: &str| terminal.until(part, |text| text.contains(part));

    let mut terminal = start(&home, &at("m.dcm"));
    has(&terminal, "fan? v y black outside, v n show");
    let export = format!(":export dicom {}\r", at("screen.dcm"));
    terminal.key(export.as_bytes());
    has(&terminal, "not exported");
    terminal.key(b"vy");
    has(&terminal, "black outside the fan");
    let Some(OutsideChoice::HideAllBut(region)) = decided() else { panic!("{:?}", decided()) };
    // The same key path writes the clip itself now, without leaving the screen.
    terminal.key(export.as_bytes());
    until("the export", || Path::new(&at("screen.dcm")).is_file());
    terminal.key(b"q");
    terminal.wait_exit(PATIENCE).unwrap();
    let black = |name: &str| {
        let frame = shown_of(Path::new(&at(name))).frame(5).unwrap();
        assert!((0..12).all(|y| (0..30).all(|x| frame.at(x, y) == 0)), "the text is gone");
        assert!((30..60).any(|y| frame.at(60, y) > 0), "the picture is there");
    };
    black("screen.dcm");

    // Commands without a screen do as was decided, unless they are told otherwise.
    let run = |more: &[&str], out: &str| {
        let words = ["export", &at("m.dcm"), "--format", "dicom", "--out", &at(out)];
        home.run(&[&words[..], more].concat()).status.success()
    };
    assert!(run(&[], "headless.dcm"));
    black("headless.dcm");
    assert!(!run(&["--outside", "show"], "no.dcm"));

    // It is not asked again; the other key takes it back.
    let mut terminal = start(&home, &at("m.dcm"));
    has(&terminal, "black outside the fan");
    assert!(!terminal.screen_text().contains("fan?"));
    terminal.key(b"vn");
    terminal.until("it is shown", |text| !text.contains("black outside the fan"));
    assert_eq!(decided(), Some(OutsideChoice::Show));
    terminal.key(b"vy");
    has(&terminal, "fan? v y black outside");
    terminal.key(b"q");
    terminal.wait_exit(PATIENCE).unwrap();
    assert!(!run(&[], "no.dcm"));
    // The same by a script; what was found is what was accepted.
    fs::write(at("lines"), "accept-region\naccept-region\n").unwrap();
    assert!(home.run(&["run", &at("lines"), &at("m.dcm"), "--device", "cpu"]).status.success());
    assert_eq!(decided(), Some(OutsideChoice::HideAllBut(region)));
}

#[test]
fn regions_that_the_file_names_are_asked_for_once_and_hidden_together() {
    let folder = tempfile::tempdir().unwrap();
    let (path, project) = (folder.path().join("a.dcm"), folder.path().join("project"));
    let boxes = [[4, 6, 9, 20], [12, 6, 15, 9]];
    fs::write(&path, clip_of(&boxes)).unwrap();
    let options = OpenOptions { ask: true, ..OpenOptions::default() };
    let opened = || {
        let (sender, events) = std::sync::mpsc::channel::<Event>();
        let none = SegmenterSource::None;
        let (session, opened) =
            Session::open_with(&path, &options, &project, none, sender).unwrap();
        (session, opened.surround, events)
    };
    let (mut session, surround, events) = opened();
    assert_eq!(surround, Surround::Open);
    session.find_region();
    let mut told = std::iter::from_fn(|| events.recv_timeout(PATIENCE).ok());
    let found = told.find_map(|event| match event {
        Event::RegionFound { region, named } => Some((region, named)),
        _ => None,
    });
    let region = Region::of_boxes(&boxes).unwrap();
    assert_eq!(found, Some((Some(region), true)));
    let cursor = sonomark::domain::PointPx::new(0.0, 0.0);
    let outside = Some(OutsideChoice::HideAllBut(region));
    let view =
        View { frame: 0, cursor, track: None, finished: false, keys: 0, outside, look: None };
    session.journal_view(&view);
    session.close();
    let (session, surround, _) = opened();
    session.close();
    assert_eq!(surround, Surround::Black(region), "it is kept, and nobody is asked again");
    // Commands without a screen see the same, unless they are told otherwise.
    let shown = |options: &OpenOptions| {
        let clip = decided(open(&path, options).unwrap(), options, &project);
        clip.frame(0).unwrap().pixels.iter().filter(|&&v| v == 200).count()
    };
    assert_eq!(shown(&options), 6 * 15 + 4 * 4);
    assert_eq!(shown(&OpenOptions::default()), usize::from(SIDE) * usize::from(SIDE));
    // Nothing is to be seen outside: nothing to ask.
    let mut dark = clip_of(&boxes);
    let first = dark.len() - usize::from(SIDE) * usize::from(SIDE);
    dark[first..].fill(3);
    fs::write(&path, dark).unwrap();
    assert_eq!(open(&path, &options).unwrap().region_to_confirm(&|| false), None);
}

#[test]
fn pixels_outside_the_regions_are_black_when_they_are_to_be_hidden() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.dcm");
    fs::write(&path, clip(true)).unwrap();
    let shown = open(&path, &OpenOptions::default()).unwrap();
    assert!(shown.privacy().badge().unwrap().starts_with("may contain patient data"));
    assert!(shown.frame(0).unwrap().pixels.iter().all(|&v| v == 200));
    let options = OpenOptions { hide_outside: true, ..OpenOptions::default() };
    let frame = open(&path, &options).unwrap().frame(0).unwrap();
    for y in 0..i64::from(SIDE) {
        for x in 0..i64::from(SIDE) {
            let inside = (4..=15).contains(&x) && (6..=20).contains(&y);
            assert_eq!(frame.at(x, y), if inside { 200 } else { 0 }, "{x}, {y}");
        }
    }
    fs::write(&path, clip(false)).unwrap();
    let refused = open(&path, &options).err().unwrap().to_string();
    assert!(refused.contains("names none") && refused.contains("--outside show"), "{refused}");
    let region = "box:1,2,3,4".parse().ok();
    let named = open(&path, &OpenOptions { region, ..options }).unwrap();
    assert_eq!(named.frame(0).unwrap().pixels.iter().filter(|&&v| v == 200).count(), 9);
}

/// A clip of two frames and its masks as a manifest, and the same picture as a still of a folder.
fn labelled(dir: &Path) {
    let write = |name: &str, pixels: &[u8]| {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let side = u32::from(SIDE);
        image::GrayImage::from_raw(side, side, pixels.to_vec()).unwrap().save(path).unwrap();
    };
    let square = |x: usize, y: usize| u8::from((6..14).contains(&x) && (8..18).contains(&y));
    let side = usize::from(SIDE);
    let mask: Vec<u8> = (0..side * side).map(|i| square(i % side, i / side)).collect();
    let mut two = clip_of(&[[4, 6, 15, 20]]);
    // Before the pixels: there are two frames of them.
    let pixels = two.split_off(two.len() - side * side);
    let at = two.windows(4).position(|w| w == [0x28, 0, 0x10, 0]).unwrap();
    let mut frames = Vec::new();
    element(&mut frames, 0x28, 0x08, b"IS", b"2");
    two.splice(at..at, frames);
    let end = two.len();
    two[end - 4..].copy_from_slice(&(2 * side as u32 * side as u32).to_le_bytes());
    fs::write(dir.join("a.dcm"), [two, pixels.clone(), pixels].concat()).unwrap();
    write("masks/0.png", &mask);
    write("masks/1.png", &mask);
    write("stills/a.png", &vec![200; side * side]);
    write("stills/a.mask.png", &mask);
    let items = "items:\n  - {image: a.dcm, mask: masks, split: train}\n";
    fs::write(dir.join("set.yaml"), format!("name: set\nlabels: {{1: nerve}}\n{items}")).unwrap();
}

#[test]
fn what_is_hidden_is_not_learned_from() {
    let dir = tempfile::tempdir().unwrap();
    labelled(dir.path());
    let (project, nowhere) = (dir.path().join("project"), dir.path().join("nowhere"));
    let text = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let bright = |frame: &GrayFrame| frame.pixels.iter().filter(|&&v| v == 200).count();
    let all = usize::from(SIDE) * usize::from(SIDE);
    // The stills and the pieces of clips to learn from, and the clips to judge on.
    let seen = |veil: &Veil| {
        let source = DataSource::parse(&text("set.yaml")).behind(veil).learned().0;
        let set = StillSet::load(&source, None, Pick::AllComponents).unwrap();
        let set = set.load_clips(&source, None).unwrap();
        let clips = labelled_clips(&dir.path().join("set.yaml"), veil).unwrap();
        let frames = [&set.stills[0].levels[0], &set.clips[0].frames[1], &clips[0].frames[0]];
        frames.map(bright)
    };
    let hide = OpenOptions { hide_outside: true, ..OpenOptions::default() };
    assert_eq!(seen(&Veil::default()), [all; 3]);
    assert_eq!(seen(&Veil::of(&hide, &nowhere)), [12 * 15; 3]);
    let region: Option<Region> = "box:1,2,3,4".parse().ok();
    assert_eq!(seen(&Veil::of(&OpenOptions { region, ..hide.clone() }, &nowhere)), [9; 3]);
    // What a person decided of the clip in the project counts where the settings leave it open.
    let ask = OpenOptions { ask: true, ..OpenOptions::default() };
    assert_eq!(seen(&Veil::of(&ask, &nowhere)), [all; 3]);
    let (sender, _events) = std::sync::mpsc::channel::<Event>();
    let none = SegmenterSource::None;
    let (mut session, _) =
        Session::open_with(&dir.path().join("a.dcm"), &ask, &project, none, sender).unwrap();
    let outside = region.map(OutsideChoice::HideAllBut);
    let cursor = sonomark::domain::PointPx::new(0.0, 0.0);
    let view =
        View { frame: 0, cursor, track: None, finished: false, keys: 0, outside, look: None };
    session.journal_view(&view);
    session.close();
    assert_eq!(seen(&Veil::of(&ask, &project)), [9; 3]);
    assert_eq!(seen(&Veil::of(&OpenOptions::default(), &project)), [all; 3]);

    // Images that lie in a folder beside their masks.
    let still = |veil: &Veil| {
        let source = DataSource::parse(&text("stills")).behind(veil);
        StillSet::load(&source, None, Pick::AllComponents)
            .map(|set| bright(&set.stills[0].levels[0]))
    };
    assert_eq!(still(&Veil::default()).ok(), Some(all));
    assert_eq!(still(&Veil::of(&OpenOptions { region, ..hide.clone() }, &nowhere)).ok(), Some(9));
    let told = still(&Veil::of(&hide, &nowhere)).unwrap_err().to_string();
    assert!(told.contains("names none, and none is found in its pixels"), "{told}");

    // The commands do as the setting says: before anything else comes what cannot be hidden.
    let small = image::GrayImage::new(3, 3);
    small.save(dir.path().join("stills/a.mask.png")).unwrap();
    let home = Home(tempfile::tempdir().unwrap());
    let out = text("out");
    for command in [&["train", "--steps", "1", "--out", &out][..], &["evaluate", "clicks"]] {
        for (outside, words) in [("show", "is 3 x 3, its image is"), ("hide", "names none, and")] {
            let more = ["--data", &text("stills"), "--outside", outside, "--device", "cpu"];
            let ended = home.run(&[command, &more].concat());
            let told = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert!(
                !ended.status.success() && told.contains(words),
                "{command:?} {outside}: {told}"
            );
        }
    }
}
