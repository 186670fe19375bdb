//! Another rater's masks over one's own; pictures for papers.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

use sonomark::codec::OpenOptions;
use sonomark::domain::{
    Annotation, Bitmap, ClipInfo, ContentHash, Edit, FrameMask, FramePrompts, GrayFrame, Mark,
    MaskSource, PointKind, PointPx, Step, Track, TrackId,
};
use sonomark::engine::{
    Anchor, Direction, Event, Image, NetSegmenter, Segmenter, SegmenterSource, Session, Structure,
};
use sonomark::export::{ExportFormat, Job, Pictured, export, write_figure, write_report};
use sonomark::tui::graphics::{Grid, evened};
use sonomark::tui::model::{Effect, Model, Msg};
use sonomark::tui::theme::Theme;
use sonomark::tui::update;
use sonomark::tui::view::{self, Canvas, palette};

use crate::screen::{has, screen};
use crate::surroundings::PATIENCE;
use crate::update::{model, opened, others, press, steps, tell, track, with_a_mask};

fn mask(columns: std::ops::Range<u32>) -> sonomark::domain::Mask {
    Bitmap::from_fn(64, 48, |x, y| columns.contains(&x) && y > 10 && y < 30).to_mask()
}

#[test]
fn another_raters_masks_lie_over_ones_own_are_compared_and_taken_over() {
    let mut m = model(8);
    update(&mut m, Msg::Resized(Grid { columns: 120, rows: 40, cell_px: (8, 16) }));
    let frame = Arc::new(GrayFrame::new(64, 48, vec![90; 64 * 48]).unwrap());
    tell(&mut m, Event::Frame { frame: 0, pixels: frame });
    with_a_mask(&mut m);
    press(&mut m, "s o");
    assert!(m.message.text.starts_with("no overlay; `:overlay PATH`"), "{:?}", m.message);
    let effects = update(&mut m, Msg::Line("overlay /data/anna".into()));
    assert_eq!(effects, [Effect::Overlay("/data/anna".into())]);
    let theirs = Structure::new("lesion", [(0, mask(8..17))].into());
    let colours = palette(&Theme::shipped("dark").unwrap(), 256, view::LEVELS, false);
    let mut canvas = Canvas::default();
    let before = canvas.compose(&m, &colours, 4).unwrap();
    tell(
        &mut m,
        Event::Overlay { name: "anna".into(), structures: vec![theirs], notes: Vec::new() },
    );
    // Nine columns each, six of them shared.
    has(&screen(&m), &["anna: 1 mask of lesion", "Dice 0.667 IoU 0.500 with anna"]);
    assert_ne!(canvas.compose(&m, &colours, 4).unwrap(), before);
    press(&mut m, "v o");
    assert_eq!(canvas.compose(&m, &colours, 4).unwrap(), before);
    assert_eq!(m.message.text, "overlay anna hidden");

    let taken = steps(&press(&mut m, "s o"));
    assert!(!taken.is_empty());
    let held = &track(&m).masks[&0];
    assert_eq!((held.source, &held.mask), (MaskSource::Accepted, &mask(8..17)));
    press(&mut m, "u .");
    has(&screen(&m), &["no mask"]);
    let other = Structure::new("x", [(0, Bitmap::empty(3, 3).to_mask())].into());
    tell(&mut m, Event::Overlay { name: "b".into(), structures: vec![other], notes: Vec::new() });
    has(&screen(&m), &["b has masks of another size"]);
}

/// A session without network on the shipped clip, and its next event that is wanted.
fn with_session<T>(
    project: &Path,
    ask: impl FnOnce(&mut Session<Event>),
    wanted: impl Fn(Event) -> Option<T>,
) -> T {
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/clips/ultrabones");
    let (sender, events) = channel();
    let (mut session, _) = Session::open(&clip, project, SegmenterSource::None, sender).unwrap();
    ask(&mut session);
    let until = Instant::now() + PATIENCE;
    while let Ok(event) = events.recv_timeout(until.saturating_duration_since(Instant::now())) {
        if let Some(found) = wanted(event) {
            session.close();
            return found;
        }
    }
    panic!("the event did not come")
}

#[test]
fn a_project_of_another_rater_is_an_overlay() {
    let folder = tempfile::tempdir().unwrap();
    let (theirs, ours) = (folder.path().join("theirs"), folder.path().join("ours"));
    let mut content = Track::new("nerve", 0);
    let drawn = Bitmap::from_fn(475, 405, |x, y| x < 90 && y < 50).to_mask();
    let held = FrameMask { mask: drawn, source: MaskSource::Accepted, score: 1.0 };
    content.masks.insert(3, held);
    let step = Step {
        group: 1,
        mark: Mark::Do,
        edits: vec![Edit::AddTrack { track: TrackId(1), content: content.clone() }],
        made_from: None,
    };
    with_session(
        &theirs,
        |s| s.journal(&step).unwrap(),
        |event| matches!(event, Event::Saved { unsynced: 0 }).then_some(()),
    );
    let structures = with_session(
        &ours,
        |s| s.overlay(&theirs),
        |event| match event {
            Event::Overlay { name, structures, .. } => Some((name, structures)),
            _ => None,
        },
    );
    let expected = Structure::new("nerve", [(3, content.masks[&3].mask.clone())].into());
    assert_eq!(structures, ("theirs".to_owned(), vec![expected]));
    let why = with_session(
        &ours,
        |s| s.overlay(&folder.path().join("none.json")),
        |event| match event {
            Event::OverlayFailed { why } => Some(why),
            _ => None,
        },
    );
    assert!(why.contains("none.json"), "{why}");
}

#[test]
fn an_overlay_says_what_an_import_would_say() {
    let folder = tempfile::tempdir().unwrap();
    let masks = folder.path().join("masks");
    std::fs::create_dir(&masks).unwrap();
    let mask = image::GrayImage::from_fn(475, 405, |x, _| image::Luma([u8::from(x < 9)]));
    for name in ["mask_1", "mask_2"] {
        mask.save(masks.join(format!("{name}.png"))).unwrap();
    }
    let told = with_session(
        &folder.path().join("project"),
        |s| s.overlay(&masks),
        |event| matches!(event, Event::Overlay { .. }).then_some(event),
    );
    let mut m = model(16);
    (m.clip.width_px, m.clip.height_px) = (475, 405);
    tell(&mut m, told);
    let said = &m.message.text;
    assert!(said.contains("masks: 2 masks") && said.contains("one frame late"), "{said}");
}

#[test]
fn what_was_exported_from_another_clip_is_no_overlay() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.json");
    let mut nerve = Track::new("nerve", 0);
    let drawn = Bitmap::from_fn(475, 405, |x, y| x < 90 && y < 50).to_mask();
    nerve.masks.insert(3, FrameMask { mask: drawn, source: MaskSource::Accepted, score: 1.0 });
    let mut annotation = Annotation::default();
    annotation.tracks.insert(TrackId(1), nerve);
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/clips/ultrabones");
    let clip = sonomark::codec::open(&clip, &OpenOptions::default()).unwrap();
    let content_hash = ContentHash("cd".repeat(32));
    let other = ClipInfo { content_hash, ..clip.info().clone() };
    export(&Job::new(&annotation, &other), ExportFormat::Coco, &file).unwrap();
    let why = with_session(
        &folder.path().join("project"),
        |s| s.overlay(&file),
        |event| match event {
            Event::OverlayFailed { why } => Some(why),
            _ => None,
        },
    );
    assert!(why.contains("another clip (cdcdcdcdcdcd, this one is "), "{why}");
}

#[test]
fn figures_have_print_size_and_reports_say_what_they_show() {
    let folder = tempfile::tempdir().unwrap();
    let info = opened(40).info;
    let mut annotation = Annotation::default();
    let mut nerve = Track::new("<nerve>", 1);
    nerve.attributes.insert("side".into(), "left".into());
    for frame in 0..30 {
        let held = FrameMask { mask: mask(5..14), source: MaskSource::Accepted, score: 1.0 };
        nerve.masks.insert(frame, held);
    }
    annotation.tracks.insert(TrackId(1), nerve);
    let frames = |_| Ok(Arc::new(GrayFrame::new(64, 48, vec![100; 64 * 48]).unwrap()));
    let mut colours = [None; 8];
    colours[1] = Some([1, 2, 3]);
    let what = Pictured { annotation: &annotation, info: &info, frames: &frames, colours };

    let path = folder.path().join("new/figure.png");
    let told = write_figure(&what, 2, &path).unwrap();
    assert!(told.contains("frame 3 as 1024 x 768 px, 85 mm wide, the bar is 10 mm"), "{told}");
    let image = image::open(&path).unwrap().to_rgb8();
    assert_eq!((image.dimensions(), image.get_pixel(0, 0).0), ((1024, 768), [100; 3]));
    assert_eq!(image.get_pixel(5 * 16 + 3, 20 * 16).0, [1, 2, 3], "the contour");
    let bytes = std::fs::read(&path).unwrap();
    let phys = bytes.windows(4).position(|w| w == b"pHYs").unwrap();
    let per_m = u32::from_be_bytes(bytes[phys + 4..phys + 8].try_into().unwrap());
    assert_eq!((f64::from(per_m) * 0.085).round(), 1024.0);

    let svg = folder.path().join("figure.svg");
    write_figure(&what, 2, &svg).unwrap();
    let text = std::fs::read_to_string(svg).unwrap();
    for part in ["width=\"85mm\"", "stroke=\"#010203\"", "M5 11L14 11L14 30L5 30Z", ">10 mm</text>"]
    {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    let report = folder.path().join("report.svg");
    let told = write_report(&what, &report).unwrap();
    assert!(told.contains("24 of 40 frames"), "{told}");
    let text = std::fs::read_to_string(report).unwrap();
    assert_eq!(text.matches("<image ").count(), 24);
    for part in [
        "frame 30",
        "&lt;nerve&gt;: accepted, 42.8 mm\u{b2}, side left",
        "40 frames, 1 structure, 30 masks",
    ] {
        assert!(text.contains(part), "{part} is missing");
    }
    roxmltree::Document::parse(&text).unwrap();
    assert!(!text.contains("cine.dcm"), "names of files may be names of patients");
}

#[test]
fn a_picture_never_holds_anything_else_than_its_name_says() {
    let folder = tempfile::tempdir().unwrap();
    for (frame, name, wanted) in [
        (
            Some(0),
            "x.pdf",
            "`.pdf` is nothing that is drawn here; name a file that ends in .png or .svg",
        ),
        (Some(0), "x", "no ending that says what is to be in it"),
        (None, "x.png", "`.png` is nothing that is drawn here; name a file that ends in .svg"),
    ] {
        let path = folder.path().join(name);
        let why = with_session(
            &folder.path().join("project"),
            |s| s.picture(&Annotation::default(), frame, Some(path.as_path()), [None; 8]),
            |event| match event {
                Event::ExportFailed { why } => Some(why),
                Event::Exported { what, .. } => Some(what),
                _ => None,
            },
        );
        assert!(why.contains(wanted) && why.contains(name), "{why}");
        assert!(!path.exists());
    }
}

#[test]
fn evened_contrast_is_for_the_eye_alone_and_comes_and_goes_with_a_key() {
    let mut m = model(8);
    update(&mut m, Msg::Resized(Grid { columns: 120, rows: 40, cell_px: (8, 16) }));
    let pixels: Vec<u8> = (0..64 * 48).map(|i| 40 + (i * 7 % 16) as u8).collect();
    let frame = Arc::new(GrayFrame::new(64, 48, pixels).unwrap());
    tell(&mut m, Event::Frame { frame: 0, pixels: Arc::clone(&frame) });
    let colours = palette(&Theme::shipped("dark").unwrap(), 256, view::LEVELS, false);
    let mut canvas = Canvas::default();
    let plain = canvas.compose(&m, &colours, 4).unwrap();
    press(&mut m, "v e");
    let even = canvas.compose(&m, &colours, 4).unwrap();
    assert_ne!(even, plain);
    assert_eq!(m.pixels().unwrap(), &frame, "the network sees the frame as it is");
    assert_ne!(evened(&frame), *frame);
    press(&mut m, "v e");
    assert_eq!(canvas.compose(&m, &colours, 4).unwrap(), plain);
}

#[test]
fn an_m_mode_strip_shows_a_line_over_time_and_where_masks_cross_it() {
    let mut m = model(8);
    update(&mut m, Msg::Resized(Grid { columns: 120, rows: 40, cell_px: (8, 16) }));
    let frame = Arc::new(GrayFrame::new(64, 48, vec![90; 64 * 48]).unwrap());
    tell(&mut m, Event::Frame { frame: 0, pixels: frame });
    with_a_mask(&mut m);
    let colours = palette(&Theme::shipped("dark").unwrap(), 256, view::LEVELS, false);
    let mut canvas = Canvas::default();
    let plain = canvas.compose(&m, &colours, 4).unwrap();
    update(&mut m, Msg::Line("cursor 8 20".into()));
    let effects = press(&mut m, "v x");
    let [Effect::Strip(number, from, to)] = effects[..] else { panic!("{effects:?}") };
    // From the centre of the first pixel to that of the last: points can lie anywhere on it.
    let ends = [(from, PointPx::new(8.5, 0.5)), (to, PointPx::new(8.5, 47.5))];
    assert!(ends.iter().all(|(end, wanted)| end.distance(*wanted) < 1e-3), "{ends:?}");
    let empty = canvas.compose(&m, &colours, 4).unwrap();
    assert_eq!((empty.width_px, empty.height_px), (plain.width_px, plain.height_px));
    tell(&mut m, Event::Strip { number: number + 1, first: 0, columns: vec![vec![200; 256]; 8] });
    assert_eq!(canvas.compose(&m, &colours, 4).unwrap(), empty, "of a line that is gone");
    tell(&mut m, Event::Strip { number, first: 4, columns: vec![vec![200; 256]; 4] });
    let half = canvas.compose(&m, &colours, 4).unwrap();
    let (x, y) = (half.width_px, half.height_px - 20);
    assert_ne!(half.indices[y * x + x * 3 / 4], empty.indices[y * x + x * 3 / 4]);
    assert_eq!(half.indices[y * x + x * 3 / 8], empty.indices[y * x + x * 3 / 8], "not read yet");
    // Rows 11 to 29 of the 48 belong to the mask of frame 0: two borders in its columns.
    let column: Vec<u8> = (0..half.height_px).map(|y| half.indices[y * x + x / 50]).collect();
    let strip = &column[half.height_px - m.strip_px()..];
    let own = colours.overlay(sonomark::tui::graphics::Colour(0));
    let rows: Vec<f32> = (0..strip.len())
        .filter(|at| strip[*at] == own)
        .map(|at| at as f32 / strip.len() as f32 * 48.0)
        .collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!((rows[0] - 11.0).abs() < 0.7 && (rows[1] - 30.0).abs() < 0.7, "{rows:?}");
    // Contrast is evened out over the strip as over the picture. Half of this one is dark, all of its texture within 16 grays.
    let line: Vec<u8> =
        (0..=255).map(|at| if at < 128 { at % 16 } else { 128 + at % 16 }).collect();
    tell(&mut m, Event::Strip { number, first: 0, columns: vec![line; 8] });
    let strip = |canvas: &mut Canvas, m: &Model| {
        let all = canvas.compose(m, &colours, 4).unwrap();
        all.indices[(all.height_px - m.strip_px()) * all.width_px..].to_vec()
    };
    let raw = strip(&mut canvas, &m);
    press(&mut m, "v e");
    let even = strip(&mut canvas, &m);
    let grays = |strip: &[u8]| strip.iter().collect::<std::collections::BTreeSet<_>>().len();
    assert!(grays(&even) > grays(&raw) + 4, "{} {}", grays(&even), grays(&raw));
    press(&mut m, "v e");
    assert_eq!(strip(&mut canvas, &m), raw);
    assert!(matches!(press(&mut m, "v x")[..], [Effect::Strip(0, ..)]));
    update(&mut m, Msg::Line("cursor 32 24".into()));
    assert_eq!(canvas.compose(&m, &colours, 4).unwrap(), plain);
}

#[test]
fn the_strip_of_a_long_clip_has_the_borders_of_the_frames_whose_grays_it_shows() {
    const FRAMES: usize = 2000;
    let mut m = model(FRAMES);
    update(&mut m, Msg::Resized(Grid { columns: 120, rows: 40, cell_px: (8, 16) }));
    let mut content = Track::new("lesion", 0);
    for frame in 0..FRAMES {
        let rows = if frame % 2 == 0 { 11..30 } else { 5..41 };
        let mask = Bitmap::from_fn(64, 48, |_, y| rows.contains(&y)).to_mask();
        let held = FrameMask { mask, source: MaskSource::Tracked, score: 0.5 };
        content.masks.insert(frame, held);
    }
    let edits = vec![Edit::AddTrack { track: TrackId(9), content }];
    tell(&mut m, others(edits));
    press(&mut m, "v x");
    let colours = palette(&Theme::shipped("dark").unwrap(), 256, view::LEVELS, false);
    let all = Canvas::default().compose(&m, &colours, 4).unwrap();
    let own = colours.overlay(sonomark::tui::graphics::Colour(0));
    let top = all.height_px - m.strip_px();
    // The frame at hand has its own marks in the first columns.
    for x in 8..all.width_px {
        let marks: Vec<usize> = (top..all.height_px).filter(|y| all.row(*y)[x] == own).collect();
        assert_eq!(marks.len(), 2, "column {x}: {marks:?}");
        // 47 rows of the image in the strip, but for its upper edge.
        let high = (marks[1] - marks[0]) as f32 * 47.0 / (all.height_px - top - 3) as f32;
        let wanted = if (x * FRAMES / all.width_px).is_multiple_of(2) { 19.0 } else { 36.0 };
        assert!((high - wanted).abs() < 1.0, "column {x}: {high} of {wanted} rows");
    }
}

#[test]
fn one_boundary_point_corrects_a_mask_and_does_not_throw_it_away() {
    let mut network = NetSegmenter::load(None, "cpu").unwrap();
    let pixels = (0..200 * 150).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 25) as u8).collect();
    let pixels = GrayFrame::new(200, 150, pixels).unwrap();
    let disc = Bitmap::from_fn(200, 150, |x, y| (x as f32 - 90.0).hypot(y as f32 - 70.0) < 35.0);
    let at = PointPx::new(131.5, 70.5);
    let prompts = FramePrompts {
        points: vec![(PointKind::Boundary, at)],
        mask: Some(disc.to_mask()),
        ..FramePrompts::default()
    };
    let decided = network.refresh(Image { frame: 0, pixels: &pixels }, &prompts).unwrap();
    assert!(decided.bitmap.to_mask().iou(&disc.to_mask()) > 0.85);
    assert!(decided.bitmap.get(131, 70) && !decided.bitmap.get(135, 70), "the contour is there");
}

#[test]
fn masks_do_not_depend_on_what_is_encoded_beside_them() {
    let frame = |shift: f32| {
        let value = |i: u32| {
            let (x, y) = ((i % 160) as f32 - shift, (i / 160) as f32);
            let tissue = (0.31 * x + 0.17 * y).sin() + (0.11 * x + 0.43 * y + 1.2).sin();
            let inside = (x - 60.0).hypot(y - 60.0) < 25.0;
            (if inside { 60.0 } else { 130.0 } + 25.0 * tissue) as u8
        };
        GrayFrame::new(160, 120, (0..160 * 120).map(value).collect()).unwrap()
    };
    let frames: Vec<GrayFrame> = (0..5).map(|i| frame(2.0 * i as f32)).collect();
    let disc = Bitmap::from_fn(160, 120, |x, y| (x as f32 - 60.0).hypot(y as f32 - 60.0) < 25.0);
    let image = |frame: usize| Image { frame, pixels: &frames[frame] };
    let walked = |beside: bool| -> Vec<(Bitmap, f32)> {
        let mut network = NetSegmenter::load(None, "cpu").unwrap();
        network.open_clip(frames.len());
        network.begin_walk(true);
        network.anchor(image(0), &Anchor::Mask(disc.to_mask())).unwrap();
        let all = (1..frames.len()).map(|i| {
            // Once it is another frame than the one that comes.
            let next = [i + 1, 0][usize::from(i == 2)];
            let next = (beside && next < frames.len()).then(|| image(next));
            let decided = network.follow(image(i), Direction::Forward, next).unwrap();
            (decided.bitmap, decided.score)
        });
        all.collect()
    };
    let alone = walked(false);
    assert!(alone.iter().all(|(mask, _)| mask.area_px() > 1000), "there is something to follow");
    assert_eq!(walked(true), alone);
}
