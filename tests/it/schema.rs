//! Labels and attributes of a schema: from keys to the journal, the screen and other programs.

use std::path::Path;

use sonomark::codec::{OpenOptions, open};
use sonomark::config::schema::Schema;
use sonomark::domain::{Annotation, Bitmap, Edit, FrameMask, MaskSource, Track, TrackId, Window};
use sonomark::engine::Event;
use sonomark::export::{ExportFormat, Job, export};
use sonomark::project::{ClipStore, load_read_only};
use sonomark::tui::graphics::Grid;
use sonomark::tui::model::{Effect, Model, Msg, Weight};
use sonomark::tui::theme::{Colour, Theme};
use sonomark::tui::update;

use crate::screen::{has, screen};
use crate::surroundings::{program, text, told};
use crate::update::{kind, model, opened, press, steps, tell, track, with_a_mask};

const SCHEMA: &str = "labels:\n  - {name: nerve, colour: \"#ff0000\"}\n  - {name: vessel, attributes: [side]}\n\
                      attributes:\n  - {name: side, values: [left, right]}\n  \
                      - {name: quality, of: frame, values: [good, poor]}\n";

fn with_schema() -> Model {
    let mut m = model(40);
    m.schema = Schema::read("schema.yaml", SCHEMA).unwrap();
    update(&mut m, Msg::Resized(Grid { columns: 120, rows: 40, cell_px: (8, 16) }));
    m
}

fn run(m: &mut Model, line: &str) -> Vec<Effect> {
    update(m, Msg::Line(line.to_owned()))
}

#[test]
fn a_label_is_two_keys_and_an_attribute_three() {
    let mut m = with_schema();
    press(&mut m, "f");
    has(&screen(&m), &["go to a structure", "n    nerve", "v    vessel"]);
    press(&mut m, "n");
    assert_eq!((track(&m).info.label.as_str(), track(&m).info.colour), ("nerve", 0));
    press(&mut m, "f v");
    press(&mut m, "f n");
    assert_eq!((track(&m).info.label.as_str(), m.annotation.tracks.len()), ("nerve", 2));
    has(&screen(&m), &["side -", "frame's quality -"]);

    press(&mut m, "d");
    has(&screen(&m), &["s    side -", "q    quality -"]);
    press(&mut m, "s");
    has(&screen(&m), &["1    left", "2    right", "0    not set"]);
    let journaled = steps(&press(&mut m, "2"));
    assert!(matches!(&journaled[0].edits[..], [Edit::SetAttribute { frame: None, .. }]));
    press(&mut m, ". . d q 2");
    assert_eq!(track(&m).attribute(Some(2), "quality"), Some("poor"));
    assert_eq!(track(&m).attributes_on(2).len(), 2);
    has(&screen(&m), &["side right", "frame's quality poor"]);
    press(&mut m, ",");
    has(&screen(&m), &["side right", "frame's quality -"]);
    press(&mut m, "u");
    assert_eq!((track(&m).attribute(Some(2), "quality"), m.frame), (None, 2));
    has(&screen(&m), &["taken back: quality on frame 3"]);
    assert!(track(&m).frame_attributes.is_empty(), "no empty map is left behind");
    press(&mut m, "d s 0");
    assert_eq!(track(&m).attribute(None, "side"), None);

    // The vessel is not asked for its quality; unknown keys do nothing.
    press(&mut m, "f v d q");
    has(&screen(&m), &["no attribute of this structure has the key q"]);
    press(&mut m, "t l n");
    assert_eq!(m.annotation.tracks.values().filter(|t| t.info.label == "nerve").count(), 2);
}

#[test]
fn without_a_schema_the_key_of_a_name_does_nothing_else() {
    let mut m = model(40);
    update(&mut m, Msg::Resized(Grid { columns: 80, rows: 24, cell_px: (8, 16) }));
    let effects = press(&mut m, "d q");
    assert!(!effects.contains(&Effect::Quit), "{effects:?}");
    has(&screen(&m), &["no structure yet"]);
    press(&mut m, "t n f");
    has(&screen(&m), &["`:new LABEL` starts one", "never mind"]);
    press(&mut m, "n d");
    has(&screen(&m), &["`:attribute NAME VALUE`", "never mind"]);
    let effects = press(&mut m, "q");
    assert!(!effects.contains(&Effect::Quit), "{effects:?}");
    has(&screen(&m), &["no attribute of this structure has the key q"]);
    press(&mut m, "t l");
    has(&screen(&m), &["`:rename LABEL` names this one"]);
    press(&mut m, "esc");
    run(&mut m, "rename nerve");
    assert_eq!(m.message.text, "structure 1 is called nerve now");
    press(&mut m, "t c");
    assert_eq!(m.message.text, "nerve has colour 2 now");
}

#[test]
fn command_lines_set_attributes_of_many_frames_and_refuse_what_is_not_in_the_schema() {
    let mut m = with_schema();
    press(&mut m, "f n");
    run(&mut m, "attribute side right");
    run(&mut m, "3,10 attribute quality poor");
    assert_eq!(track(&m).frame_attributes.len(), 8);
    press(&mut m, "u");
    assert!(track(&m).frame_attributes.is_empty());
    for (line, wanted) in [
        ("attribute sied left", "did you mean side?"),
        ("attribute side up", "choose left, right"),
        ("3,10 attribute side left", "said of the whole structure"),
    ] {
        run(&mut m, line);
        assert_eq!(m.message.weight, Weight::Warning, "{line}");
        assert!(m.message.text.contains(wanted), "{line}: {}", m.message.text);
    }
    run(&mut m, "attribute side");
    assert!(track(&m).attributes.is_empty());
}

#[test]
fn the_colours_of_a_schema_take_the_place_of_the_themes() {
    let schema = Schema::read("s", SCHEMA).unwrap();
    let plain = Theme::shipped("dark").unwrap();
    let theme = plain.clone().with_tracks(&schema.colours);
    assert_eq!(theme.track(0), Colour::Rgb([255, 0, 0]));
    assert_eq!(theme.track(1), plain.track(1));
}

#[test]
fn one_key_finishes_a_clip_and_opens_the_next_that_is_not() {
    let mut m = with_schema();
    press(&mut m, "f v w s");
    let effects = press(&mut m, "E");
    assert!(!effects.iter().any(|e| matches!(e, Effect::OpenClip(..))), "something is open");
    has(
        &screen(&m),
        &["not finished (again finishes all the same): 40 frames without a mask (`g w`)"],
    );
    assert!(
        m.message.text.ends_with("without a mask (`g w`), side of vessel not set"),
        "{:?}",
        m.message
    );
    let effects = press(&mut m, "E");
    let at = |wanted: fn(&Effect) -> bool| effects.iter().position(wanted);
    let noted = at(|e| matches!(e, Effect::JournalView(view) if view.finished));
    assert!(noted.is_some() && noted < at(|e| matches!(e, Effect::OpenClip(1, _))));
    update(&mut m, Msg::Opened(Box::new(opened(12))));
    assert!(!m.finished && m.queue[0].finished && !m.schema.is_empty());

    with_a_mask(&mut m);
    press(&mut m, "E");
    let effects = press(&mut m, "E");
    assert!(effects.iter().any(|e| matches!(e, Effect::JournalView(v) if v.finished)));
    assert!(!effects.iter().any(|e| matches!(e, Effect::OpenClip(..))), "all are finished");
    has(&screen(&m), &["as are all 2 clips", "clip 2/2 finished"]);
    press(&mut m, "l b");
    assert!(!m.finished, "an edit is work again");
}

#[test]
fn damage_found_while_a_clip_is_open_is_shown() {
    let mut m = with_schema();
    kind(&mut m, "l");
    let notes = vec!["a.jsonl line 3: damaged".to_owned(), "b.jsonl line 9: damaged".to_owned()];
    tell(&mut m, Event::JournalNotes { notes });
    has(&screen(&m), &["a.jsonl line 3: damaged (M shows 1 more)"]);
    press(&mut m, "M");
    has(&screen(&m), &["! a.jsonl line 3: damaged", "! b.jsonl line 9: damaged"]);
}

fn said() -> (Annotation, Track) {
    let mut nerve = Track::new("nerve", 0);
    nerve.windows = vec![Window { first: 1, last: 3 }];
    let mask = Bitmap::from_fn(64, 48, |x, y| x < 9 && y < 5).to_mask();
    for frame in [1, 2] {
        let held = FrameMask { mask: mask.clone(), source: MaskSource::Accepted, score: 1.0 };
        nerve.masks.insert(frame, held);
    }
    nerve.attributes.insert("side".into(), "left".into());
    nerve.frame_attributes.insert(2, [("quality".into(), "<poor> & \"odd\"".into())].into());
    let mut annotation = Annotation::default();
    annotation.tracks.insert(TrackId(3), nerve.clone());
    (annotation, nerve)
}

#[test]
fn attributes_survive_the_journal_and_the_merge() {
    let folder = tempfile::tempdir().unwrap();
    let info = opened(40).info;
    let (mut one, _) = ClipStore::open(folder.path(), &info, 0).unwrap();
    let (mut two, _) = ClipStore::open(folder.path(), &info, 0).unwrap();
    let (_, content) = said();
    let step = |group, edits| sonomark::domain::Step {
        group,
        mark: sonomark::domain::Mark::Do,
        edits,
        made_from: None,
    };
    let add = Edit::AddTrack { track: TrackId(3), content };
    one.append(&step(1, vec![add]), 0).unwrap();
    let set = |frame: Option<usize>, name: &str, before: Option<&str>, after: Option<&str>| {
        let (before, after) = (before.map(str::to_owned), after.map(str::to_owned));
        Edit::SetAttribute { track: TrackId(3), frame, name: name.into(), before, after }
    };
    one.append(&step(2, vec![set(None, "side", Some("left"), Some("right"))]), 0).unwrap();
    one.append(&step(3, vec![set(Some(2), "quality", Some("<poor> & \"odd\""), None)]), 0).unwrap();
    assert!(two.read_others());
    two.take_others();
    for now in [one.annotation(), two.annotation()] {
        let track = &now.tracks[&TrackId(3)];
        assert_eq!(
            (track.attribute(None, "side"), track.frame_attributes.len()),
            (Some("right"), 0)
        );
    }
    let stale = set(None, "side", Some("left"), Some("both"));
    assert!(one.annotation().clone().apply(&stale).is_err(), "it is right, not left");
    drop((one, two));
    let (_, loaded) = ClipStore::open(folder.path(), &info, 0).unwrap();
    assert_eq!(loaded.annotation.tracks[&TrackId(3)].attribute(None, "side"), Some("right"));
}

fn exported(format: ExportFormat, name: &str, folder: &Path) -> String {
    let (annotation, info) = (said().0, opened(40).info);
    let path = folder.join(name);
    export(&Job::new(&annotation, &info), format, &path).unwrap();
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn coco_cvat_and_csv_carry_attributes() {
    let folder = tempfile::tempdir().unwrap();
    let coco: serde_json::Value =
        serde_json::from_str(&exported(ExportFormat::Coco, "a.json", folder.path())).unwrap();
    let of = |i: usize| coco["annotations"][i]["attributes"].clone();
    assert_eq!(of(0), serde_json::json!({"side": "left"}));
    assert_eq!(of(1), serde_json::json!({"side": "left", "quality": "<poor> & \"odd\""}));

    let xml = exported(ExportFormat::Cvat, "a.xml", folder.path());
    for part in [
        "<attribute><name>side</name><mutable>False</mutable><input_type>select</input_type>",
        "<attribute><name>quality</name><mutable>True</mutable>",
        "<attribute name=\"side\">left</attribute>",
        "<attribute name=\"quality\">&lt;poor&gt; &amp; &quot;odd&quot;</attribute>",
    ] {
        assert!(xml.contains(part), "{part} is missing in\n{xml}");
    }

    let csv = exported(ExportFormat::Csv, "a.csv", folder.path());
    let rows: Vec<&str> = csv.lines().collect();
    assert!(rows[0].ends_with("journal_position,screen_frame,\"quality\",\"side\""), "{}", rows[0]);
    assert!(rows[1].ends_with(",2,,\"left\""), "{}", rows[1]);
    assert!(rows[2].ends_with(",\"<poor> & \"\"odd\"\"\",\"left\""), "{}", rows[2]);
}

#[test]
fn attributes_of_files_come_in_again_by_import() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("clip")).unwrap();
    for frame in 0..4u8 {
        let image = image::GrayImage::from_pixel(64, 48, image::Luma([40 * frame]));
        image.save(at("clip").join(format!("{frame}.png"))).unwrap();
    }
    let info = open(&at("clip"), &OpenOptions::default()).unwrap().info().clone();
    let (mut annotation, nerve) = said();
    let write = |annotation: &Annotation, format, name: &str| {
        export(&Job::new(annotation, &info), format, &at(name)).unwrap();
    };
    let import = |project: &str, name: &str, more: &[&str]| {
        let (project, clip, file) = (at(project), at("clip"), at(name));
        let words = ["--project", text(&project), "import", text(&clip), text(&file)];
        let output = program(folder.path()).args(words).args(more).output().unwrap();
        let told = told(&output);
        assert!(output.status.success(), "{name}: {told}");
        let loaded = load_read_only(&project, &info.content_hash).unwrap();
        (loaded.annotation.tracks.into_values().next().unwrap(), told)
    };
    let same = |(track, told): (Track, String)| {
        assert_eq!(track.attributes, nerve.attributes, "{told}");
        assert_eq!(track.frame_attributes, nerve.frame_attributes, "{told}");
    };
    use ExportFormat as F;
    for (format, name) in
        [(F::Coco, "a.json"), (F::CocoPolygons, "b.json"), (F::Cvat, "c.xml"), (F::Csv, "d.csv")]
    {
        write(&annotation, format, name);
        if format != F::Csv {
            same(import(&format!("of-{name}"), name, &[]));
        }
    }
    // A table has no masks: it speaks of structures that are there.
    let schema = at("s.yaml");
    std::fs::write(&schema, "attributes:\n  - {name: side, values: [left, right]}\n").unwrap();
    let (track, told) = import("one", "a.json", &["--schema", schema.to_str().unwrap()]);
    assert!(told.contains("the schema has no attribute \"quality\" for \"nerve\""), "{told}");
    assert_eq!((track.attributes.len(), track.frame_attributes.len()), (1, 0));
    same(import("one", "d.csv", &[]));
    // What is said stays, whatever another table says.
    let right = annotation.tracks.get_mut(&TrackId(3)).unwrap();
    right.attributes.insert("side".into(), "right".into());
    write(&annotation, F::Csv, "e.csv");
    let (track, told) = import("one", "e.csv", &[]);
    assert!(told.contains("is \"left\" already"), "{told}");
    assert!(told.contains("what was not left out is in the project already"), "{told}");
    assert!(!told.contains("everything"), "{told}");
    same((track, told));
    let (_, told) = import("one", "d.csv", &[]);
    assert!(told.contains("everything that it says is in the project already"), "{told}");
}
