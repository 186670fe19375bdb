//! Patient data stays where it is: sixty canaries in the tags of a clip appear in nothing that the
//! program writes or says, what lies outside the ultrasound regions can be made black, and clips
//! are exported without patient data.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use sonomark::codec::{Clip, OpenOptions, open};
use sonomark::config::{Flags, Settings};
use sonomark::domain::{OutsideChoice, Region};
use sonomark::engine::{Event, SegmenterSource, Session, Surround, View, decided};
use sonomark::project::load_read_only;
use sonomark::tui::{Ended, Start, run};

use crate::pty_harness::{Answers, Harness};

const SIDE: u16 = 24;

pub(crate) fn element(out: &mut Vec<u8>, group: u16, element: u16, vr: &[u8; 2], value: &[u8]) {
    out.extend(group.to_le_bytes());
    out.extend(element.to_le_bytes());
    out.extend(vr);
    let even = value.len().next_multiple_of(2);
    let pad = if vr == b"UI" { 0 } else { b' ' };
    if matches!(vr, b"OB" | b"SQ" | b"UT" | b"UN") {
        out.extend([0, 0]);
        out.extend((even as u32).to_le_bytes());
    } else {
        out.extend((even as u16).to_le_bytes());
    }
    out.extend(value);
    out.resize(out.len() + even - value.len(), pad);
}

fn canary(number: usize) -> String {
    format!("CANARY{number:02}ZQ")
}

/// The beginning of a DICOM file, explicit little endian.
fn head() -> Vec<u8> {
    let mut out = vec![0; 128];
    out.extend(b"DICM");
    let mut meta = Vec::new();
    element(&mut meta, 2, 0x10, b"UI", b"1.2.840.10008.1.2.1");
    element(&mut out, 2, 0, b"UL", &(meta.len() as u32).to_le_bytes());
    out.extend(meta);
    out
}

/// An ultrasound image with sixty canaries in text tags, private ones included; with a region,
/// columns 4 to 15 and rows 6 to 20, or without.
fn clip(named: bool) -> Vec<u8> {
    if named { clip_of(&[[4, 6, 15, 20]]) } else { clip_of(&[]) }
}

/// The same with these regions: first column and row, last column and row.
fn clip_of(regions: &[[u32; 4]]) -> Vec<u8> {
    let mut out = head();
    element(&mut out, 8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.6.1");
    element(&mut out, 8, 0x18, b"UI", b"1.2.3.4.5");
    // Names, places, people, descriptions.
    let mut number = 0;
    let mut plant = |out: &mut Vec<u8>, group: u16, elements: &[u16], vr: &[u8; 2]| {
        for &each in elements {
            element(out, group, each, vr, canary(number).as_bytes());
            number += 1;
        }
    };
    plant(&mut out, 8, &[0x50, 0x60], b"SH");
    plant(&mut out, 8, &[0x80, 0x81, 0x90, 0x1010, 0x1030, 0x103e, 0x1040, 0x1048, 0x1050], b"LO");
    plant(&mut out, 8, &[0x1060, 0x1070, 0x1080, 0x1090, 0x2111], b"LO");
    plant(&mut out, 9, &[0x10, 0x1001, 0x1002, 0x1003], b"LO");
    plant(&mut out, 0x10, &[0x10, 0x20, 0x21, 0x30, 0x32, 0x40, 0x1000, 0x1001, 0x1005], b"LO");
    plant(&mut out, 0x10, &[0x1010, 0x1040, 0x1060, 0x1080, 0x1090, 0x2000, 0x2110, 0x2150], b"LO");
    plant(&mut out, 0x10, &[0x2152, 0x2154, 0x2160, 0x2180, 0x21b0, 0x4000], b"LO");
    plant(&mut out, 0x18, &[0x15, 0x1000, 0x1012, 0x1020, 0x1030, 0x4000], b"LO");
    if !regions.is_empty() {
        let items: Vec<u8> = regions.iter().flat_map(|at| region(1, at)).collect();
        element(&mut out, 0x18, 0x6011, b"SQ", &items);
    }
    plant(&mut out, 0x20, &[0x0d, 0x0e, 0x10, 0x4000], b"LO");
    for (tag, value) in [(0x02, 1), (0x10, SIDE), (0x11, SIDE), (0x100, 8), (0x101, 8), (0x102, 7)]
    {
        if tag == 0x10 {
            element(&mut out, 0x28, 0x04, b"CS", b"MONOCHROME2");
        }
        element(&mut out, 0x28, tag, b"US", &value.to_le_bytes());
    }
    plant(&mut out, 0x32, &[0x1032, 0x1033, 0x1060, 0x1070, 0x4000], b"LO");
    plant(&mut out, 0x40, &[0x242, 0x254], b"LO");
    assert_eq!(number, 60, "sixty canaries");
    element(&mut out, 0x7fe0, 0x10, b"OB", &[200; SIDE as usize * SIDE as usize]);
    out
}

/// An item of SequenceOfUltrasoundRegions of this spatial format.
pub(crate) fn region(format: u16, [x0, y0, x1, y1]: &[u32; 4]) -> Vec<u8> {
    let mut item = Vec::new();
    element(&mut item, 0x18, 0x6012, b"US", &format.to_le_bytes());
    for (tag, value) in [(0x6018, x0), (0x601a, y0), (0x601c, x1), (0x601e, y1)] {
        element(&mut item, 0x18, tag, b"UL", &value.to_le_bytes());
    }
    let mut sequence = vec![0xfe, 0xff, 0x00, 0xe0];
    sequence.extend((item.len() as u32).to_le_bytes());
    sequence.extend(item);
    sequence
}

struct Home(tempfile::TempDir);

impl Home {
    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sonomark"));
        let temporary = self.0.path().join("tmp");
        fs::create_dir_all(&temporary).unwrap();
        command
            .env_clear()
            .env("HOME", self.0.path())
            .env("TMPDIR", temporary)
            .env("PATH", std::env::var_os("PATH").unwrap());
        command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1").args(words).output().unwrap()
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Words of names of files and folders; those of tags are numbered.
const NAMES: [&str; 5] =
    ["FILECANARY", "SERIESCANARY", "SLICECANARY", "FOLDERCANARY", "NAMECANARY"];

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|w| w == word.as_bytes())
}

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
    let has_ffmpeg = Command::new("ffmpeg").arg("-version").output().is_ok();
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
    files(home.0.path(), &mut written);
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

fn start(home: &Home, clip: &str) -> Harness {
    let command = [env!("CARGO_BIN_EXE_sonomark"), "--device", "cpu", clip];
    let folder = home.0.path().to_str().unwrap();
    Harness::start(&command, &[("HOME", folder)], 100, 30, (8, 16), Answers::xterm())
}

/// Everything that a terminal gets, titles included, when the clip is opened in it.
fn screen(home: &Home, clip: &str) -> Vec<u8> {
    let mut terminal = start(home, clip);
    let patience = Duration::from_secs(30);
    assert!(terminal.wait_for("may contain patient data", patience), "{}", terminal.screen_text());
    terminal.signal(15);
    terminal.wait_exit(patience).unwrap();
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
        open: Box::new(|path, _, inbox| {
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
    let program = std::env::current_exe().unwrap();
    let child = ["--exact", "private::child_job_panics", "--ignored", "--nocapture"];
    let command = [&[program.to_str().unwrap()], &child[..]].concat();
    let (path, project) = (inbox.join("a.dcm"), folder.path().join("project"));
    let env = [
        ("TEST_CLIP", path.to_str().unwrap()),
        ("TEST_PROJECT", project.to_str().unwrap()),
        ("RUST_BACKTRACE", "1"),
    ];
    let mut terminal = Harness::start(&command, &env, 200, 30, (8, 16), Answers::xterm());
    let patience = Duration::from_secs(30);
    // Where others do not take its place.
    assert!(terminal.wait_for("Structures", patience), "{}", terminal.screen_text());
    terminal.key(b"M");
    let told = "a job failed: a defect at tests/it/private.rs";
    assert!(terminal.wait_for(told, patience), "{}", terminal.screen_text());
    terminal.key(b"qq");
    terminal.wait_exit(patience).unwrap();
    let all = terminal.everything();
    let said = |word: &str| all.windows(word.len()).any(|w| w == word.as_bytes());
    assert!(!said("FOLDERCANARY"), "the path of the clip is on the terminal");
    for number in 0..60 {
        assert!(!said(&canary(number)[..8]), "canary {number} is on the terminal");
    }
    let mut written = Vec::new();
    files(&project, &mut written);
    for file in written {
        let bytes = fs::read(&file).unwrap();
        assert!(!bytes.windows(6).any(|w| w == b"CANARY"), "{}", file.display());
    }
}

fn shown_of(path: &Path) -> Clip {
    open(path, &OpenOptions::default()).unwrap()
}

#[test]
fn a_clip_without_patient_data_is_a_clip_of_mapped_identifiers() {
    let (home, inbox) = (Home(tempfile::tempdir().unwrap()), tempfile::tempdir().unwrap());
    let at = |name: &str| inbox.path().join(name).to_str().unwrap().to_owned();
    fs::write(at("a.dcm"), clip(true)).unwrap();
    let export = |project: &str, format: &str, out: &str| {
        let words = ["--project", project, "--outside", "hide", "export", &at("a.dcm")];
        let more = ["--format", format, "--deidentify", "--out", out];
        let output = home.run(&[&words[..], &more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        PathBuf::from(out)
    };
    let one = shown_of(&export(&at("p"), "dicom", &at("one.dcm")));
    let options = OpenOptions { hide_outside: true, ..OpenOptions::default() };
    let hidden = open(Path::new(&at("a.dcm")), &options).unwrap();
    assert_eq!(one.frame(0).unwrap(), hidden.frame(0).unwrap());
    assert!(one.privacy().says_none && one.privacy().badge().is_none());
    let uids = one.dicom_origin().unwrap();
    assert!(uids.instance_uids[0].starts_with("2.25."), "{uids:?}");
    let again = shown_of(&export(&at("p"), "dicom", &at("again.dcm"))).dicom_origin().unwrap();
    let other = shown_of(&export(&at("q"), "dicom", &at("other.dcm"))).dicom_origin().unwrap();
    assert_eq!(uids, again, "one project maps an identifier in one way");
    assert_ne!(uids.instance_uids, other.instance_uids, "another project in another");
    // A segmentation for the exported clip refers to it, and to nothing else.
    let label = image::GrayImage::from_fn(SIDE.into(), SIDE.into(), |x, y| {
        image::Luma([u8::from((6..12).contains(&x) && y > 8)])
    });
    label.save(at("label.png")).unwrap();
    let words = ["--project", &at("p"), "import", &at("a.dcm"), &at("label.png")];
    assert!(home.run(&words).status.success());
    let bytes = fs::read(export(&at("p"), "dicom-seg", &at("a.seg.dcm"))).unwrap();
    let holds = |uid: &str| bytes.windows(uid.len()).any(|w| w == uid.as_bytes());
    assert!(holds(&uids.instance_uids[0]) && !holds("1.2.3.4.5"));
}

#[test]
fn pictures_that_may_show_a_name_are_told_of() {
    let (home, inbox) = (Home(tempfile::tempdir().unwrap()), tempfile::tempdir().unwrap());
    let at = |name: &str| inbox.path().join(name).to_str().unwrap().to_owned();
    fs::write(at("a.dcm"), clip(true)).unwrap();
    let label = image::GrayImage::from_pixel(SIDE.into(), SIDE.into(), image::Luma([1]));
    label.save(at("label.png")).unwrap();
    assert!(home.run(&["import", &at("a.dcm"), &at("label.png")]).status.success());
    let has_ffmpeg = Command::new("ffmpeg").arg("-version").output().is_ok();
    let movies = ["mp4", "gif"].into_iter().filter(|_| has_ffmpeg);
    let without = ["coco", "png", "nifti"].map(|name| (name, false));
    let with = ["labelme", "yolo", "nnunet"].into_iter().chain(movies).map(|name| (name, true));
    for (format, pictures) in with.chain(without) {
        for (outside, visible) in [("show", true), ("box:4,6,15,20", false)] {
            let out = at(&format!("{format}-{visible}"));
            let words = ["export", &at("a.dcm"), "--format", format, "--outside", outside];
            let output = home.run(&[&words[..], &["--out", &out]].concat());
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{format}: {said}");
            let told = said.contains("the pictures in it may show a patient's name");
            assert_eq!(told, pictures && visible, "{format} {outside}: {said}");
        }
    }
}

#[test]
fn a_segmentation_of_images_refers_to_their_exported_clip() {
    let (home, inbox) = (Home(tempfile::tempdir().unwrap()), tempfile::tempdir().unwrap());
    let at = |name: &str| inbox.path().join(name).to_str().unwrap().to_owned();
    for (name, frames) in [("still", 1), ("cine", 3)] {
        let folder = inbox.path().join(name);
        fs::create_dir(&folder).unwrap();
        for frame in 0..frames {
            let gray = image::Luma([frame * 9 + 1]);
            let image = image::GrayImage::from_pixel(SIDE.into(), SIDE.into(), gray);
            // The cine is of JPEGs, which lose something.
            let ending = if frames > 1 { "jpg" } else { "png" };
            image.save(folder.join(format!("{frame}.{ending}"))).unwrap();
        }
        image::GrayImage::from_pixel(SIDE.into(), SIDE.into(), image::Luma([1]))
            .save(at(&format!("{name}0.png")))
            .unwrap();
        let run = |words: &[&str]| {
            let more = ["--project", &at("p"), "--outside", "box:0,0,99,99"];
            let output = home.run(&[words, &more[..]].concat());
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        let (clip, dicom, seg) = (at(name), at(&format!("{name}.dcm")), at(&format!("{name}.seg")));
        run(&["import", &clip, &at(&format!("{name}0.png")), "--format", "davis"]);
        run(&["export", &clip, "--format", "dicom", "--out", &dicom]);
        run(&["export", &clip, "--format", "dicom-seg", "--deidentify", "--out", &seg]);
        let origin = shown_of(Path::new(&dicom)).dicom_origin().unwrap();
        let bytes = fs::read(&seg).unwrap();
        for uid in [&origin.instance_uids[0], &origin.class_uid, &origin.series_uid] {
            assert!(holds(&bytes, uid), "{name}: {uid}");
        }
        // Frames without times have numbers.
        let object = dicom_object::open_file(&dicom).unwrap();
        let text = |tag| {
            let held = object.element(tag).ok();
            held.map(|held| held.to_str().unwrap().trim().to_owned())
        };
        let lossy = text(dicom_dictionary_std::tags::LOSSY_IMAGE_COMPRESSION);
        assert_eq!(lossy.as_deref(), (frames > 1).then_some("01"), "{name}");
        let pages = text(dicom_dictionary_std::tags::PAGE_NUMBER_VECTOR);
        assert_eq!(pages.as_deref(), (frames > 1).then_some("1\\2\\3"), "{name}");
    }
}

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
}

#[test]
fn a_region_found_in_the_pixels_is_asked_for_once_and_kept_with_the_clip() {
    let (home, inbox) = (Home(tempfile::tempdir().unwrap()), tempfile::tempdir().unwrap());
    let at = |name: &str| inbox.path().join(name).to_str().unwrap().to_owned();
    fs::write(at("m.dcm"), moving()).unwrap();
    let project = home.0.path().join(".local/share/sonomark/project");
    let hash = shown_of(Path::new(&at("m.dcm"))).info().content_hash.clone();
    let decided = || load_read_only(&project, &hash).ok().and_then(|loaded| loaded.outside);
    let patience = Duration::from_secs(30);
    let until = |what: &str, done: &dyn Fn() -> bool| {
        let begun = std::time::Instant::now();
        while !done() {
            assert!(begun.elapsed() < patience, "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let has = |terminal: &Harness, part: &str| {
        assert!(terminal.wait_for(part, patience), "{part}\n{}", terminal.screen_text());
    };

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
    until("the export", &|| Path::new(&at("screen.dcm")).is_file());
    terminal.key(b"q");
    terminal.wait_exit(patience).unwrap();
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
    until("it is shown", &|| !terminal.screen_text().contains("black outside the fan"));
    assert_eq!(decided(), Some(OutsideChoice::Show));
    terminal.key(b"vy");
    has(&terminal, "fan? v y black outside");
    terminal.key(b"q");
    terminal.wait_exit(patience).unwrap();
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
    let mut told = std::iter::from_fn(|| events.recv_timeout(Duration::from_secs(30)).ok());
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
fn every_clip_whose_file_does_not_say_otherwise_opens_with_the_badge() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for name in ["clips/ultrabones", "stills/usgra_0162.png", "volumes/deepreg_case0.nii.gz"] {
        let badge = shown_of(&data.join(name)).privacy().badge().map(str::to_owned);
        assert!(badge.unwrap_or_default().starts_with("may contain patient data"), "{name}");
    }
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

#[test]
fn a_crash_leaves_no_core_and_nothing_started_gets_more_rights() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_sonomark"))
        .arg("decode-pictures")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Its greeting comes when it has set everything up.
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 1]).unwrap();
    let told = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap();
    let (limits, status) = (told("limits"), told("status"));
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
    assert!(status.lines().any(|line| line == "NoNewPrivs:\t1"), "{status}");
    drop(child.stdin.take());
    child.wait().unwrap();
}
