//! Files of other programs fall on the frames that they were drawn on, or on none.

use std::fs;
use std::path::Path;

use dicom_core::PrimitiveValue;
use dicom_core::ops::{ApplyOp, AttributeAction, AttributeOp, AttributeSelector};
use dicom_dictionary_std::tags;
use sonomark::codec::{OpenOptions, open};
use sonomark::domain::{Bitmap, ClipInfo, ClipKind, DicomOrigin, Mask, Placement};
use sonomark::export::{Content, ExportFormat, ReadError, Target, read};

use super::{SIZE, annotation, coded, disc, export, info};

pub(super) fn still() -> ClipInfo {
    ClipInfo { frames: 1, kind: ClipKind::Still, ..info() }
}

pub(super) fn of_three() -> ClipInfo {
    ClipInfo { frames: 3, ..info() }
}

/// Reads what was drawn on a clip whose images have these names.
pub(super) fn read_for(
    path: &Path,
    format: Option<ExportFormat>,
    clip: &ClipInfo,
    names: &[&str],
) -> Result<Content, ReadError> {
    let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
    read(path, format, &Target { info: clip, frame_names: &names, origin: None, stop: None })
}

/// The frames of the first structure, each with the columns that its mask takes.
pub(super) fn wide(content: &Content) -> Vec<(usize, u64)> {
    let masks = content.structures.first().map(|first| &first.masks);
    let columns = |mask: &Mask| mask.area_px() / u64::from(SIZE.1);
    masks.into_iter().flatten().map(|(&at, mask)| (at, columns(mask))).collect()
}

/// A label file of one program with the first `columns` columns as structure.
pub(super) type Writer = fn(&Path, &str, u32);

pub(super) fn png(folder: &Path, name: &str, columns: u32) {
    fs::create_dir_all(folder).unwrap();
    let gray = |x, _| image::Luma([u8::from(x < columns) * 3]);
    let path = folder.join(format!("{name}.png"));
    image::GrayImage::from_fn(SIZE.0, SIZE.1, gray).save(path).unwrap();
}

pub(super) fn png_of_label(folder: &Path, name: &str, columns: u32) {
    png(&folder.join("cyst"), name, columns);
}

fn case(folder: &Path, name: &str, columns: u32) {
    png(&folder.join("labelsTr"), name, columns);
    let about = r#"{ "labels": { "background": 0, "cyst": 3 }, "description": "of others" }"#;
    fs::write(folder.join("dataset.json"), about).unwrap();
}

pub(super) fn yolo(folder: &Path, name: &str, columns: u32) {
    let folder = folder.join("labels/train");
    fs::create_dir_all(&folder).unwrap();
    let right = (f64::from(columns) - 0.5) / f64::from(SIZE.0);
    let line = format!("0 0 0 {right} 0 {right} 1 0 1\n");
    fs::write(folder.join(format!("{name}.txt")), line).unwrap();
}

pub(super) fn labelme(folder: &Path, name: &str, columns: u32) {
    fs::create_dir_all(folder).unwrap();
    let shape = serde_json::json!({ "label": "cyst", "shape_type": "rectangle",
        "points": [[0, 0], [columns, SIZE.1]] });
    let file = serde_json::json!({ "shapes": [shape] });
    fs::write(folder.join(format!("{name}.json")), file.to_string()).unwrap();
}

pub(super) const WRITERS: [(ExportFormat, Writer); 5] = [
    (ExportFormat::Davis, png),
    (ExportFormat::Png, png_of_label),
    (ExportFormat::NnUnet, case),
    (ExportFormat::Yolo, yolo),
    (ExportFormat::Labelme, labelme),
];

#[test]
fn a_data_set_of_many_images_gives_a_clip_its_own() {
    let dir = tempfile::tempdir().unwrap();
    for (format, write) in WRITERS {
        let folder = dir.path().join(format!("{format:?}"));
        for (name, columns) in [("00001", 1), ("00002", 2), ("00007", 7)] {
            write(&folder, name, columns);
        }
        // A still gets the one that is called like it, or none at all.
        let found = read_for(&folder, Some(format), &still(), &["00007"]).unwrap();
        let notes = found.notes.join(" ");
        assert!(
            wide(&found) == [(0, 7)] && notes.contains("2 of its images"),
            "{format:?} {notes}"
        );
        let why = read_for(&folder, Some(format), &still(), &["b"]).unwrap_err().to_string();
        assert!(why.contains("none of these 3 is called like it (\"b\")"), "{format:?}: {why}");
        // One file more makes no import by number of one by name, digits or not.
        let names = ["00000", "00002", "00007"];
        let found = read_for(&folder, Some(format), &of_three(), &names).unwrap();
        let notes = found.notes.join(" ");
        assert!(wide(&found) == [(1, 2), (2, 7)], "{format:?} {:?}", wide(&found));
        assert!(notes.contains("1 of its images"), "{format:?} {notes}");
        assert_eq!(notes.contains("before it marked"), format == ExportFormat::Png, "{notes}");
    }
    // One file for one still: whatever it is called.
    for (format, write) in WRITERS {
        let folder = dir.path().join(format!("one {format:?}"));
        write(&folder, "mask_12", 5);
        let found = read_for(&folder, Some(format), &still(), &["b"]).unwrap();
        assert_eq!(wide(&found), [(0, 5)], "{format:?}");
    }
}

#[test]
fn numbers_that_may_count_from_one_are_told_in_every_format() {
    let dir = tempfile::tempdir().unwrap();
    for (format, write) in WRITERS {
        let folder = dir.path().join(format!("{format:?}"));
        for number in ["f1", "f2"] {
            write(&folder, number, 4);
        }
        let found = read_for(&folder, Some(format), &of_three(), &[]).unwrap();
        let notes = found.notes.join(" ");
        assert!(notes.contains("one frame late"), "{format:?} {notes}");
    }
    let image = |id: u32| serde_json::json!({ "id": id, "file_name": format!("f{id}.png") });
    let object = |id: u32| {
        serde_json::json!({ "id": id, "image_id": id, "category_id": 1,
            "segmentation": [[2, 2, 9, 2, 9, 8]], "attributes": { "track_id": 5 } })
    };
    let coco = serde_json::json!({ "images": [image(1), image(2)],
        "annotations": [object(1), object(2)], "categories": [] });
    let path = dir.path().join("a.json");
    fs::write(&path, coco.to_string()).unwrap();
    let found = read_for(&path, None, &of_three(), &[]).unwrap();
    assert!(found.notes.join(" ").contains("one frame late"), "{:?}", found.notes);
    // CVAT's number of a track is no attribute.
    assert!(found.structures.len() == 1 && found.structures[0].said.is_empty());
}

#[test]
fn our_own_masks_count_whatever_the_images_are_called() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (1..=10).map(|number| format!("{number:05}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (format, name) in super::formats() {
        let path = super::target_of(dir.path(), name, format);
        export(&annotation(), &info(), format, &path).unwrap();
        let found = read_for(&path, None, &info(), &names).unwrap();
        let nerve = found.structures.iter().find(|each| each.label == "nerve").unwrap();
        let frames = nerve.masks.iter().filter(|(_, mask)| !mask.is_empty());
        assert_eq!(frames.map(|(&at, _)| at).collect::<Vec<_>>(), [2, 3], "{name}");
        // Those of several frames are of no still.
        if format.ending().is_empty() {
            let why = read_for(&path, None, &still(), &[]).unwrap_err().to_string();
            assert!(why.contains("the clip is one image"), "{name}: {why}");
        }
        if format == ExportFormat::Png {
            let found = read_for(&path.join("nerve"), None, &info(), &names).unwrap();
            assert_eq!(frames_of(&found), [[2, 3]]);
        }
    }
}

#[test]
fn names_are_found_above_the_folder_that_was_given() {
    let dir = tempfile::tempdir().unwrap();
    for video in ["a", "b"] {
        png(&dir.path().join("davis/Annotations").join(video), "00001", 4);
    }
    let meta = r#"{ "videos": { "b": { "objects": { "3": { "category": "cyst" } } } } }"#;
    fs::write(dir.path().join("davis/meta.json"), meta).unwrap();
    yolo(&dir.path().join("yolo"), "f1", 4);
    fs::write(dir.path().join("yolo/data.yaml"), "names: [cyst]\n").unwrap();
    for given in [
        "davis/Annotations/b",
        "davis/Annotations/b/00001.png",
        "yolo",
        "yolo/labels",
        "yolo/labels/train",
        "yolo/labels/train/f1.txt",
    ] {
        let found = read_for(&dir.path().join(given), None, &of_three(), &[]);
        let found = found.unwrap_or_else(|why| panic!("{given}: {why}"));
        assert_eq!(found.structures[0].label, "cyst", "{given}");
    }
}

/// An annotation of CVAT with these elements.
fn cvat(folder: &Path, inside: &str) -> std::path::PathBuf {
    let path = folder.join("a.xml");
    fs::write(&path, format!("<annotations>{inside}</annotations>")).unwrap();
    path
}

#[test]
fn shapes_of_cvat_are_turned_as_they_were_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let shapes = |frame: usize, turn: u32| {
        format!(
            "<box frame=\"{frame}\" xtl=\"4\" ytl=\"8\" xbr=\"16\" ybr=\"10\" rotation=\"{turn}\"/>"
        )
    };
    let round = "<ellipse frame=\"0\" cx=\"10\" cy=\"9\" rx=\"6\" ry=\"3\" rotation=\"90\"/>";
    let inside = format!(
        "<track id=\"0\" label=\"box\">{}{}</track><track id=\"1\" label=\"round\">{round}</track>",
        shapes(0, 350),
        shapes(2, 90),
    );
    let found = read_for(&cvat(dir.path(), &inside), None, &info(), &[]).unwrap();
    let upright =
        Bitmap::from_fn(SIZE.0, SIZE.1, |x, y| (9..11).contains(&x) && (3..15).contains(&y));
    assert_eq!(found.structures[0].masks[&2], upright.to_mask());
    // The shorter way from -10 to 90 degrees: to the lower right.
    let between = found.structures[0].masks[&1].to_bitmap();
    let at = |x: usize, y: usize| between.pixels[y * SIZE.0 as usize + x];
    assert!(at(12, 11) && at(7, 6) && !at(12, 6) && !at(7, 11));
    let centre = |x: u32, y: u32| {
        let (x, y) = (f64::from(x) + 0.5 - 10.0, f64::from(y) + 0.5 - 9.0);
        (x / 3.0).powi(2) + (y / 6.0).powi(2) < 1.0
    };
    let round = Bitmap::from_fn(SIZE.0, SIZE.1, centre);
    assert_eq!(found.structures[1].masks[&0], round.to_mask());
}

#[test]
fn images_of_cvat_are_matched_by_name_and_have_the_size_of_the_clip() {
    let dir = tempfile::tempdir().unwrap();
    let image = |id: u32, name: &str, width: u32| {
        format!(
            "<image id=\"{id}\" name=\"x/{name}.png\" width=\"{width}\" height=\"{}\">\
             <box label=\"a\" xtl=\"0\" ytl=\"0\" xbr=\"{id}\" ybr=\"40\"/></image>",
            SIZE.1
        )
    };
    let many = [image(1, "p", SIZE.0), image(2, "q", SIZE.0), image(4, "r", 900)].concat();
    let path = cvat(dir.path(), &many);
    let found = read_for(&path, None, &still(), &["q"]).unwrap();
    let notes = found.notes.join(" ");
    assert!(wide(&found) == [(0, 2)] && notes.contains("2 of its images"), "{notes}");
    let why = read_for(&path, None, &still(), &["b"]).unwrap_err().to_string();
    assert!(why.contains("none of these 3 is called like it"), "{why}");
    let why = read_for(&path, None, &still(), &["r"]).unwrap_err().to_string();
    assert!(why.contains("900 x 23 pixels"), "{why}");
}

#[test]
fn shapes_that_become_one_structure_by_their_label_alone_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let shape = |left: u32, group: Option<u64>| {
        serde_json::json!({ "label": "node", "shape_type": "rectangle", "group_id": group,
            "points": [[left, 0], [left + 2, SIZE.1]] })
    };
    let labelme = |shapes: [serde_json::Value; 3]| {
        let path = dir.path().join("00000.json");
        fs::write(&path, serde_json::json!({ "shapes": shapes }).to_string()).unwrap();
        read_for(&path, Some(ExportFormat::Labelme), &still(), &[]).unwrap()
    };
    let told = |found: &Content| {
        let note = found.notes.iter().find(|note| note.contains("joined to another"));
        note.map(|note| note.split(' ').next().unwrap_or_default().to_owned())
    };
    let found = labelme([shape(0, None), shape(4, None), shape(8, None)]);
    assert_eq!((wide(&found), told(&found).as_deref()), (vec![(0, 6)], Some("2")));
    // Of one group they are parts, and of two they are not joined.
    let found = labelme([shape(0, Some(1)), shape(4, Some(1)), shape(8, Some(2))]);
    assert_eq!((found.structures.len(), told(&found)), (2, None));
    let (width, height) = SIZE;
    let boxes: String = [0, 4]
        .map(|left| {
            let right = left + 2;
            format!("<box label=\"node\" xtl=\"{left}\" ytl=\"0\" xbr=\"{right}\" ybr=\"40\"/>")
        })
        .concat();
    let image = format!(
        "<image id=\"0\" name=\"p.png\" width=\"{width}\" height=\"{height}\">{boxes}</image>"
    );
    let found = read_for(&cvat(dir.path(), &image), None, &still(), &["p"]).unwrap();
    assert_eq!((wide(&found), told(&found).as_deref()), (vec![(0, 4)], Some("1")));
}

/// The frames of each structure.
pub(super) fn frames_of(content: &Content) -> Vec<Vec<usize>> {
    content.structures.iter().map(|each| each.masks.keys().copied().collect()).collect()
}

#[test]
fn segmentations_of_volumes_fall_where_they_lie() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.dcm");
    let place = Placement {
        origin_mm: [-12.5, 30.25, 7.0],
        steps_mm: [[0.5, 0.0, 0.0], [0.0, 0.25, 0.0], [0.0, 0.0, 2.0]],
    };
    let clip = |placement| ClipInfo { placement, kind: ClipKind::Volume, ..info() };
    export(&coded(), &clip(Some(place)), ExportFormat::DicomSeg, &path).unwrap();
    // The same voxels, stored from the last row and the last frame on.
    let [rows, frames] = [f64::from(SIZE.1 - 1), 9.0];
    let turned = Placement {
        origin_mm: [-12.5, 30.25 + 0.25 * rows, 7.0 + 2.0 * frames],
        steps_mm: [[0.5, 0.0, 0.0], [0.0, -0.25, 0.0], [0.0, 0.0, -2.0]],
    };
    let found = read_for(&path, None, &clip(Some(turned)), &[]).unwrap();
    assert_eq!(frames_of(&found), [vec![6, 7], vec![3]]);
    let upright = disc(3.0).to_bitmap();
    let pixel = |x: u32, y: u32| upright.pixels[((SIZE.1 - 1 - y) * SIZE.0 + x) as usize];
    let upside_down = Bitmap::from_fn(SIZE.0, SIZE.1, pixel).to_mask();
    assert_eq!(found.structures[1].masks[&3], upside_down);
    // Of another grid, or wholly elsewhere, it is none of the clip.
    let finer =
        Placement { steps_mm: [[0.4, 0.0, 0.0], place.steps_mm[1], place.steps_mm[2]], ..place };
    let away = Placement { origin_mm: [-12.5, 30.25, 907.0], ..place };
    for (other, why) in [(finer, "does not lie on its voxels"), (away, "outside the clip")] {
        let said = read_for(&path, None, &clip(Some(other)), &[]).unwrap_err().to_string();
        assert!(said.contains(why), "{said}");
    }
}

/// Our segmentation of a cine with an element of the images that each frame refers to changed.
fn changed(path: &Path, tag: dicom_core::Tag, value: Option<&str>) {
    let mut object = dicom_object::open_file(path).unwrap();
    for frame in 0..3 {
        let groups = (tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frame);
        let source = (tags::DERIVATION_IMAGE_SEQUENCE, 0, tags::SOURCE_IMAGE_SEQUENCE, 0);
        let within = (groups.0, groups.1, source.0, source.1, source.2, source.3, tag);
        let action = match value {
            Some(text) => AttributeAction::Set(PrimitiveValue::from(text)),
            None => AttributeAction::Remove,
        };
        object.apply(AttributeOp::new(AttributeSelector::from(within), action)).unwrap();
        if tag == tags::REFERENCED_FRAME_NUMBER {
            let content = (groups.0, groups.1, tags::FRAME_CONTENT_SEQUENCE, 0);
            let stack =
                (content.0, content.1, content.2, content.3, tags::IN_STACK_POSITION_NUMBER);
            let stack = AttributeSelector::from(stack);
            object.apply(AttributeOp::new(stack, AttributeAction::Remove)).unwrap();
        }
    }
    object.write_to_file(path).unwrap();
}

#[test]
fn frames_of_segmentations_are_told_by_what_they_refer_to() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.dcm");
    let write = || export(&coded(), &info(), ExportFormat::DicomSeg, &path).unwrap();
    write();
    changed(&path, tags::REFERENCED_FRAME_NUMBER, Some("1\\2\\4"));
    let found = read_for(&path, None, &info(), &[]).unwrap();
    assert_eq!(frames_of(&found), [[0, 1, 3], [0, 1, 3]]);
    // Without a number a mask is of no frame of several, and of the one frame of a still.
    changed(&path, tags::REFERENCED_FRAME_NUMBER, None);
    let why = read_for(&path, None, &info(), &[]).unwrap_err().to_string();
    assert!(why.contains("its frame 1 names no frame of the clip"), "{why}");
    assert_eq!(frames_of(&read_for(&path, None, &still(), &[]).unwrap()), [[0], [0]]);
    // Numbers in another clip are told of.
    write();
    let uids =
        |uid: &str| DicomOrigin { instance_uids: vec![uid.into()], ..DicomOrigin::default() };
    for (uid, told) in [("1.2.3", false), ("1.2.4", true)] {
        changed(&path, tags::REFERENCED_SOP_INSTANCE_UID, Some(uid));
        let origin = uids("1.2.3");
        let target = Target { info: &info(), frame_names: &[], origin: Some(&origin), stop: None };
        let found = read(&path, None, &target).unwrap();
        assert_eq!(frames_of(&found), [vec![2, 3], vec![6]]);
        assert_eq!(found.notes.join(" ").contains("other images"), told, "{:?}", found.notes);
    }
}

#[test]
fn dimension_indices_tell_the_frames_where_there_is_one_for_every_frame() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.dcm");
    export(&coded(), &info(), ExportFormat::DicomSeg, &path).unwrap();
    // Nothing but the indices is left: 3 and 4 of one structure, 7 of the other.
    changed(&path, tags::REFERENCED_FRAME_NUMBER, None);
    let of = |frames| read_for(&path, None, &ClipInfo { frames, ..info() }, &[]);
    let found = of(7).unwrap();
    assert_eq!(frames_of(&found), [vec![2, 3], vec![6]]);
    assert!(found.notes.join(" ").contains("order of their dimension"), "{:?}", found.notes);
    // Planes without a mask may not have been counted.
    let why = of(8).unwrap_err().to_string();
    assert!(why.contains("indices go up to 7 and the clip has 8 frames"), "{why}");
    // Nor do indices tell that are given twice.
    let mut object = dicom_object::open_file(&path).unwrap();
    for frame in 0..2 {
        let at = AttributeSelector::from((
            tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
            frame,
            tags::FRAME_CONTENT_SEQUENCE,
            0,
            tags::DIMENSION_INDEX_VALUES,
        ));
        let twice = PrimitiveValue::U32([1, 7].as_slice().into());
        object.apply(AttributeOp::new(at, AttributeAction::Set(twice))).unwrap();
    }
    object.write_to_file(&path).unwrap();
    assert!(of(7).is_err());
}

/// `tests/data/segs.py` writes the files and says what they hold.
#[test]
fn compressed_segmentations_are_read() {
    let folder = crate::codec::data().join("reading");
    let clip = open(&folder.join("enhanced_in_order.dcm"), &OpenOptions::default()).unwrap();
    let (info, origin) = (clip.info(), clip.dicom_origin());
    let target = Target { info, frame_names: &[], origin: origin.as_ref(), stop: None };
    let (width, height) = (info.width_px, info.height_px);
    let first = |frame: usize| Bitmap::from_fn(width, height, |x, _| (x as usize) < 3 + frame);
    let second = Bitmap::from_fn(width, height, |x, y| x >= 8 && y >= 7).to_mask();
    let found: Vec<_> = fs::read_dir(folder.join("segs")).unwrap().collect();
    assert_eq!(found.len(), 6);
    for file in found {
        let path = file.unwrap().path();
        let structures = read(&path, None, &target).unwrap().structures;
        let masks: Vec<Vec<(usize, Mask)>> =
            structures.into_iter().map(|each| each.masks.into_iter().collect()).collect();
        let whole = |frame: usize| (frame, first(frame).to_mask());
        let expected = [vec![whole(0), whole(2)], vec![(1, second.clone()), (2, second.clone())]];
        assert!(masks == expected, "{}", path.display());
    }
    // A frame that inflates to less than its size is none.
    let cut = tempfile::NamedTempFile::with_suffix(".dcm").unwrap();
    let mut bytes = fs::read(folder.join("segs/binary_deflated.dcm")).unwrap();
    let at = bytes.windows(4).rposition(|w| w == [0xfe, 0xff, 0x00, 0xe0]).unwrap();
    bytes[at + 8..at + 10].copy_from_slice(&[3, 0]);
    fs::write(cut.path(), bytes).unwrap();
    let why = read(cut.path(), None, &target).unwrap_err().to_string();
    assert!(why.contains("does not inflate to its size"), "{why}");
}

#[test]
fn label_maps_of_many_structures_are_read_in_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.nrrd");
    let (side, slices) = (512u32, 80);
    let header = format!(
        "NRRD0004\ntype: uint8\ndimension: 3\nsizes: {side} {side} {slices}\nencoding: raw\n\n"
    );
    // Sixty-four structures on every slice: more than 1 GiB as one byte for each pixel.
    let slice = (0..side * side).map(|i| 1 + (i % side / 64) as u8 + 8 * (i / side / 64) as u8);
    let slice: Vec<u8> = slice.collect();
    fs::write(&path, [header.into_bytes(), slice.repeat(slices)].concat()).unwrap();
    let clip = ClipInfo {
        kind: ClipKind::Volume,
        width_px: side,
        height_px: side,
        frames: slices,
        ..info()
    };
    let target = Target { info: &clip, frame_names: &[], origin: None, stop: None };
    let found = sonomark::export::read_caged(&path, None, &target).unwrap();
    assert_eq!(found.structures.len(), 64);
    let whole = |mask: &Mask| mask.area_px() == 64 * 64;
    assert!(
        found.structures.iter().all(|s| s.masks.len() == slices && s.masks.values().all(whole))
    );
}
