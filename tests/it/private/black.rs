//! What lies outside the regions is black in every picture that leaves, and in what the network is given.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sonomark::codec::{OpenOptions, Segmentation, open};
use sonomark::domain::{
    Annotation, Bitmap, FramePrompts, GrayFrame, OutsideChoice, PlacedPrompt, PointKind, PointPx,
    Prompt, PromptId, Region, Track, TrackId,
};
use sonomark::engine::{
    Anchor, Decided, Direction, Event, Image, SegmentError, Segmenter, SegmenterInfo,
    SegmenterSource, Session, Span, Ticket, View, plan,
};
use sonomark::export::ExportFormat;
use sonomark::learn::own::accepted_stills;

use super::{Home, element, head, region};
use crate::codec::has_ffmpeg;
use crate::surroundings::{PATIENCE, files_below};

const SIZE: [u16; 2] = [96, 72];
const FRAMES: usize = 4;
/// Where ultrasound is shown: first column and row, last column and row.
const VISIBLE: [u32; 4] = [24, 16, 71, 55];
/// Tissue is darker than this, letters are white.
const TISSUE: u8 = 90;
/// As bright as this is a letter, however it was compressed.
const LEGIBLE: u8 = 200;

fn is_visible(x: u32, y: u32) -> bool {
    let [x0, y0, x1, y1] = VISIBLE;
    (x0..=x1).contains(&x) && (y0..=y1).contains(&y)
}

/// A clip whose file names a region; outside of it something is written, by every `hand` something
/// else.
fn written_on(hand: u64) -> Vec<u8> {
    naming(&VISIBLE, hand)
}

/// The same, whatever region the file names.
fn naming(shown: &[u32; 4], hand: u64) -> Vec<u8> {
    let (mut tissue, mut ink) = (fastrand::Rng::with_seed(5), fastrand::Rng::with_seed(hand));
    let mut out = head();
    element(&mut out, 8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.3.1");
    element(&mut out, 8, 0x18, b"UI", format!("1.2.3.{hand}").as_bytes());
    element(&mut out, 0x18, 0x6011, b"SQ", &region(1, shown));
    element(&mut out, 0x28, 0x02, b"US", &1u16.to_le_bytes());
    element(&mut out, 0x28, 0x04, b"CS", b"MONOCHROME2");
    element(&mut out, 0x28, 0x08, b"IS", FRAMES.to_string().as_bytes());
    for (tag, value) in [(0x10, SIZE[1]), (0x11, SIZE[0]), (0x100, 8), (0x101, 8), (0x102, 7)] {
        element(&mut out, 0x28, tag, b"US", &value.to_le_bytes());
    }
    let places = (0..SIZE[1]).flat_map(|y| (0..SIZE[0]).map(move |x| (x.into(), y.into())));
    let frame: Vec<u8> = places
        .map(|(x, y)| match is_visible(x, y) {
            true => tissue.u8(40..TISSUE),
            false => 255 * u8::from(ink.bool()),
        })
        .collect();
    element(&mut out, 0x7fe0, 0x10, b"OB", &frame.repeat(FRAMES));
    out
}

/// The clip by `hand` in `folder`, with a mask on its first frame in the project of `home`.
fn annotated(home: &Home, folder: &Path, hand: u64) -> String {
    let (clip, label) = (folder.join(format!("{hand}.dcm")), folder.join("00000.png"));
    fs::write(&clip, written_on(hand)).unwrap();
    let image = image::GrayImage::from_fn(SIZE[0].into(), SIZE[1].into(), |x, y| {
        image::Luma([u8::from((36..60).contains(&x) && (26..46).contains(&y))])
    });
    image.save(&label).unwrap();
    let clip = clip.to_str().unwrap().to_owned();
    let output = home.run(&["import", &clip, label.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::remove_file(&label).unwrap();
    clip
}

/// Every picture in a file: those of a clip, and those that a text holds as base64.
fn pictures_in(file: &Path) -> Vec<image::RgbImage> {
    if let Ok(clip) = open(file, &OpenOptions::default()) {
        let frames = (0..clip.info().frames).map(|at| clip.frame(at).unwrap());
        let seen = frames.map(|frame| {
            let raw = frame.rgb().into_flattened();
            image::RgbImage::from_raw(frame.width_px, frame.height_px, raw).unwrap()
        });
        return seen.collect();
    }
    if Segmentation::open(file).is_ok() {
        // Its pixels are numbers of segments.
        return Vec::new();
    }
    let text = String::from_utf8(fs::read(file).unwrap());
    let text = text.unwrap_or_else(|_| panic!("{}: what may be seen in it?", file.display()));
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "+/=".contains(c)));
    let decoded =
        words.filter(|word| word.len() > 64).filter_map(|word| STANDARD.decode(word).ok());
    decoded.filter_map(|bytes| Some(image::load_from_memory(&bytes).ok()?.into_rgb8())).collect()
}

/// The same of everything in a file or a folder.
fn pictures_under(path: &Path) -> Vec<image::RgbImage> {
    let mut found = vec![path.to_owned()];
    if path.is_dir() {
        found.clear();
        found.extend(files_below(path));
    }
    assert!(!found.is_empty(), "{} holds nothing", path.display());
    found.iter().flat_map(|file| pictures_in(file)).collect()
}

/// The brightest value outside the region. A mask that is cut to its box lies inside.
fn brightest_outside(picture: &image::RgbImage) -> u8 {
    if picture.dimensions() != (SIZE[0].into(), SIZE[1].into()) {
        let values: BTreeSet<u8> = picture.pixels().flat_map(|pixel| pixel.0).collect();
        assert!(values.len() <= 2, "a picture of another size: {:?}", picture.dimensions());
        return 0;
    }
    let outside = picture.enumerate_pixels().filter(|(x, y, _)| !is_visible(*x, *y));
    outside.flat_map(|(_, _, pixel)| pixel.0).max().unwrap()
}

#[test]
fn no_format_holds_a_picture_of_what_is_hidden() {
    let (home, inbox) = (Home(tempfile::tempdir().unwrap()), tempfile::tempdir().unwrap());
    let clip = annotated(&home, inbox.path(), 1);
    let export = |format: &str, outside: &str, out: &str| {
        let out = inbox.path().join(out);
        let words = ["export", &clip, "--format", format, "--outside", outside, "--out"];
        let output = home.run(&[&words[..], &[out.to_str().unwrap()]].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{format}: {said}");
        pictures_under(&out)
    };
    let has_ffmpeg = has_ffmpeg();
    let is_movie = |format: &str| ["mp4", "gif"].contains(&format);
    let mut legible = BTreeSet::new();
    for (format, name, _) in ExportFormat::all() {
        if is_movie(name) && !has_ffmpeg {
            continue;
        }
        let out = |what: &str| format!("{name}-{what}{}", format.ending());
        // What can be read where all of it is visible, the control, cannot be where it is hidden.
        let shown = export(name, "box:0,0,95,71", &out("shown"));
        if shown.iter().any(|picture| brightest_outside(picture) >= LEGIBLE) {
            legible.insert(name);
        }
        let hidden = export(name, "hide", &out("hidden"));
        assert_eq!(hidden.len(), shown.len(), "{name}");
        // Compression spreads what lies at the edge of the region.
        let most = if is_movie(name) { TISSUE } else { 0 };
        let brightest = hidden.iter().map(brightest_outside).max().unwrap_or(0);
        assert!(brightest <= most, "{name}: {brightest}");
        let is_seen = |picture: &image::RgbImage| {
            let mut pixels = picture.enumerate_pixels().filter(|(x, y, _)| is_visible(*x, *y));
            pixels.any(|(_, _, pixel)| pixel.0[0] >= 40)
        };
        assert!(!legible.contains(name) || hidden.iter().any(is_seen), "{name}: tissue is seen");
    }
    let known = ["dicom", "frames", "gif", "labelme", "mp4", "nnunet", "yolo"];
    let known = known.into_iter().filter(|name| has_ffmpeg || !is_movie(name));
    assert!(known.clone().all(|name| legible.contains(name)), "pictures are found in {legible:?}");
}

/// A segmenter that keeps all that it is given.
struct Witness(Arc<Mutex<Vec<GrayFrame>>>);

impl Witness {
    fn see(&self, image: Image<'_>) -> Result<Decided, SegmentError> {
        self.0.lock().unwrap().push(image.pixels.clone());
        let bitmap = Bitmap::from_fn(SIZE[0].into(), SIZE[1].into(), is_visible);
        let (score, object_score_logit) = (0.5, 1.0);
        Ok(Decided { bitmap, score, object_score_logit, encode_ms: 0.0, decode_ms: 0.0 })
    }
}

impl Segmenter for Witness {
    fn info(&self) -> SegmenterInfo {
        SegmenterInfo { model: "witness".into(), device: "none".into(), bridged: false }
    }
    fn open_clip(&mut self, _: usize) {}
    fn refresh(&mut self, image: Image<'_>, _: &FramePrompts) -> Result<Decided, SegmentError> {
        self.see(image)
    }
    fn turn_to(&mut self, _: usize) {}
    fn end_walk(&mut self, _: usize) {}
    fn begin_walk(&mut self, _: bool) {}
    fn anchor(&mut self, image: Image<'_>, _: &Anchor) -> Result<Decided, SegmentError> {
        self.see(image)
    }
    fn follow(
        &mut self,
        image: Image<'_>,
        _: Direction,
        next: Option<Image<'_>>,
    ) -> Result<Decided, SegmentError> {
        next.map(|next| self.see(next)).transpose()?;
        self.see(image)
    }
    fn encode_ahead(&mut self, image: Image<'_>) -> Result<(), SegmentError> {
        self.see(image).map(drop)
    }
}

fn until(events: &Receiver<Event>, wanted: impl Fn(&Event) -> bool) {
    while !wanted(&events.recv_timeout(PATIENCE).expect("an event")) {}
}

/// All that the network of a session is given for a mask, a propagation and ahead of time.
fn given(path: &Path, options: &OpenOptions, project: &Path) -> Vec<GrayFrame> {
    let (sender, events) = channel::<Event>();
    let seen = Arc::default();
    let witness = SegmenterSource::Scripted(Box::new(Witness(Arc::clone(&seen))));
    let (session, _) = Session::open_with(path, options, project, witness, sender).unwrap();
    let mut track = Track::new("nerve", 0);
    let prompt = Prompt::Point { kind: PointKind::Boundary, at: PointPx::new(40.0, 30.0) };
    track.prompts.insert(0, vec![PlacedPrompt { id: PromptId(1), prompt }]);
    let ticket = Ticket { track: TrackId(1), generation: 1 };
    session.refresh(ticket, 0, track.frame_prompts(0));
    until(&events, |event| matches!(event, Event::Refreshed { .. }));
    session.propagate(ticket, plan(&track, FRAMES, 0, Span::Both).unwrap());
    until(&events, |event| matches!(event, Event::Finished { .. }));
    session.encode_ahead(2, None);
    // Once for the mask, the anchor and ahead of time, and all but the first two both as they are followed and as next.
    crate::surroundings::until("one is encoded ahead", || seen.lock().unwrap().len() >= 2 * FRAMES);
    session.close();
    std::mem::take(&mut *seen.lock().unwrap())
}

/// How many of the values outside the region are not black.
fn written(frame: &GrayFrame) -> usize {
    let at = |i: usize| (i as u32 % frame.width_px, i as u32 / frame.width_px);
    let outside = frame.pixels.iter().enumerate().filter(|(i, _)| !is_visible(at(*i).0, at(*i).1));
    outside.filter(|(_, value)| **value > 0).count()
}

#[test]
fn the_network_is_given_nothing_of_what_is_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let (path, project) = (folder.path().join("a.dcm"), folder.path().join("project"));
    fs::write(&path, written_on(1)).unwrap();
    let asked = OpenOptions { ask: true, ..OpenOptions::default() };
    let open = given(&path, &asked, &project);
    assert!(open.iter().all(|frame| written(frame) > 1000), "the control: it is written there");
    let hide = OpenOptions { hide_outside: true, ..OpenOptions::default() };
    let hidden = given(&path, &hide, &project);
    assert!(hidden.iter().all(|frame| written(frame) == 0));
    assert!(hidden.iter().all(|frame| frame.at(40, 30) > 0), "the picture is there");
    // What a person decided counts for the next session, too.
    let (sender, _events) = channel::<Event>();
    let none = SegmenterSource::None;
    let (mut session, _) = Session::open_with(&path, &asked, &project, none, sender).unwrap();
    let outside = Some(OutsideChoice::HideAllBut(Region::Box(VISIBLE)));
    let cursor = PointPx::new(0.0, 0.0);
    let view =
        View { frame: 0, cursor, track: None, finished: false, keys: 0, outside, look: None };
    session.journal_view(&view);
    session.close();
    assert_eq!(given(&path, &asked, &project), hidden);
}

#[test]
fn a_region_that_is_the_whole_picture_hides_nothing_and_is_no_promise() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.dcm");
    let whole = [0, 0, u32::from(SIZE[0]) - 1, u32::from(SIZE[1]) - 1];
    for (shown, may_show) in [(&whole, true), (&VISIBLE, false)] {
        fs::write(&path, naming(shown, 1)).unwrap();
        let hide = OpenOptions { hide_outside: true, ..OpenOptions::default() };
        let clip = sonomark::codec::open(&path, &hide).unwrap();
        assert_eq!(written(&clip.frame(0).unwrap()) > 1000, may_show);
        assert_eq!(sonomark::export::names_may_show(clip.info(), &clip.privacy()), may_show);
    }
}

#[test]
fn commands_and_lessons_see_nothing_of_what_is_hidden() {
    let (home, inbox) = (Home(tempfile::tempdir().unwrap()), tempfile::tempdir().unwrap());
    let clips = [1, 2].map(|hand| annotated(&home, inbox.path(), hand));
    let score = |clip: &str, outside: &str| {
        let out = inbox.path().join("mask.png");
        let words = ["segment", clip, "--boundary", "36,26", "59,45", "--device", "cpu", "--json"];
        let more = ["--outside", outside, "--out", out.to_str().unwrap()];
        let output = home.run(&[&words[..], &more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (told["score"].as_f64().unwrap(), fs::read(out).unwrap())
    };
    let scores = |outside: &str| [0, 1].map(|i| score(&clips[i], outside));
    let [one, other] = scores("show");
    assert_ne!(one.0, other.0, "the control: the network sees what is written");
    let [one, other] = scores("hide");
    assert_eq!(one, other);

    let project = home.0.path().join(".local/share/sonomark/project");
    let frames = |hide_outside| {
        let options = OpenOptions { hide_outside, ..OpenOptions::default() };
        let own = accepted_stills(&project, &[inbox.path().to_owned()], &options).unwrap();
        let frames: Vec<GrayFrame> =
            own.set.stills.iter().map(|still| still.frame().clone()).collect();
        <[GrayFrame; 2]>::try_from(frames).unwrap()
    };
    let [one, other] = frames(false);
    assert_ne!(one, other, "the control");
    let [one, other] = frames(true);
    assert_eq!((written(&one), &one), (0, &other));
}

#[test]
fn figures_and_reports_show_nothing_of_what_is_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.dcm");
    fs::write(&path, written_on(1)).unwrap();
    let drawn = |hide_outside: bool, frame: Option<usize>, name: &str| -> usize {
        let options = OpenOptions { hide_outside, ..OpenOptions::default() };
        let (sender, events) = channel::<Event>();
        let (none, project) = (SegmenterSource::None, folder.path().join("project"));
        let (session, _) = Session::open_with(&path, &options, &project, none, sender).unwrap();
        let out: PathBuf = folder.path().join(name);
        session.picture(&Annotation::default(), frame, Some(&out), [None; 8]);
        until(&events, |event| match event {
            Event::ExportFailed { why } => panic!("{name}: {why}"),
            event => matches!(event, Event::Exported { .. }),
        });
        session.close();
        let pictures = pictures_under(&out);
        assert!(!pictures.is_empty(), "{name}");
        let bright = |picture: &image::RgbImage| {
            picture.pixels().filter(|pixel| pixel.0.iter().all(|&value| value >= LEGIBLE)).count()
        };
        pictures.iter().map(bright).sum()
    };
    for (frame, name) in [(Some(1), "figure.png"), (Some(1), "figure.svg"), (None, "report.svg")] {
        assert!(drawn(false, frame, name) > 1000, "{name}: the control");
        assert_eq!(drawn(true, frame, name), 0, "{name}");
    }
}
