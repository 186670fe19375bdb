//! Files as programs and people leave them: with notes beside them, without an ending, in the dialects of a format.

use std::fs;

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use sonomark::domain::{Annotation, Bitmap, ClipInfo};
use sonomark::export::ExportFormat;

use super::foreign::{
    frames_of, labelme, of_three, png, png_of_label, read_for, still, wide, yolo,
};
use super::{SIZE, coded, export, info};

#[test]
fn notes_that_lie_beside_masks_are_no_masks() {
    let dir = tempfile::tempdir().unwrap();
    let notes = [
        ("README.txt", "Masks of the cyst, 2 of 3 frames\n"),
        ("notes.txt", ""),
        ("scale.txt", "0.21 0.21 640 480 25\n"),
        ("about.json", "{ \"drawn_by\": \"anna\" }"),
    ];
    for (note, text) in notes {
        let folder = dir.path().join(note).join("masks");
        for name in ["00000", "00001"] {
            png(&folder, name, 4);
            png_of_label(&folder.join("apart"), name, 4);
        }
        let apart = folder.join("apart");
        for at in [folder.clone(), apart.clone(), apart.join("cyst")] {
            fs::write(at.join(note), text).unwrap();
        }
        for masks in [&folder, &apart] {
            let found = read_for(masks, None, &of_three(), &[]).unwrap();
            assert_eq!(wide(&found), [(0, 4), (1, 4)], "{note}");
        }
    }
    // Nor are they labels.
    let folder = dir.path().join("yolo");
    yolo(&folder, "00000", 4);
    for at in [folder.clone(), folder.join("labels"), folder.join("labels/train")] {
        fs::write(at.join("README.txt"), "Exported by a program\n").unwrap();
    }
    let found = read_for(&folder, None, &of_three(), &[]).unwrap();
    assert_eq!(wide(&found), [(0, 4)]);
    // Texts alone are refused by the line that is no label.
    let folder = dir.path().join("texts");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("00000.txt"), "cyst 0.1 0.2 0.3 0.4 0.5 0.6\n").unwrap();
    let why = read_for(&folder, None, &of_three(), &[]).unwrap_err().to_string();
    assert!(why.contains("line 1 is no class with a polygon"), "{why}");
}

#[test]
fn json_of_other_programs_beside_labelme_is_left_out_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    labelme(folder, "00000", 4);
    labelme(folder, "00002", 6);
    let note = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    note("about_2026.json", "{ \"drawn_by\": \"anna\", \"shapes\": null }");
    for format in [None, Some(ExportFormat::Labelme)] {
        let found = read_for(folder, format, &of_three(), &[]).unwrap();
        assert_eq!(wide(&found), [(0, 4), (2, 6)]);
        let told = "about_2026.json holds no shapes of labelme and was left out";
        assert!(found.notes.iter().any(|note| note == told), "{:?}", found.notes);
    }
    note("list.json", "[1, 2]");
    let found = read_for(folder, None, &of_three(), &[]).unwrap();
    assert_eq!(wide(&found), [(0, 4), (2, 6)]);
    let told = "2 files that hold no shapes of labelme were left out, as about_2026.json";
    assert!(found.notes.iter().any(|note| note == told), "{:?}", found.notes);
    // What may have been shapes is not passed over in silence.
    for text in ["{ \"shapes\": [{ \"lab", "{ \"shapes\": 1 }"] {
        note("00001.json", text);
        let why = read_for(folder, None, &of_three(), &[]).unwrap_err().to_string();
        assert!(why.contains("00001.json cannot be imported"), "{why}");
    }
    // Nor is a folder of nothing else.
    let alone = folder.join("alone");
    fs::create_dir(&alone).unwrap();
    fs::write(alone.join("list.json"), "[]").unwrap();
    let why = read_for(&alone, Some(ExportFormat::Labelme), &of_three(), &[]).unwrap_err();
    assert!(why.to_string().contains("it holds no shapes of labelme"), "{why}");
}

#[test]
fn a_segmentation_without_an_ending_is_known_by_its_first_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (written, sent) = (dir.path().join("a.seg.dcm"), dir.path().join("IM000001"));
    export(&coded(), &info(), ExportFormat::DicomSeg, &written).unwrap();
    fs::rename(&written, &sent).unwrap();
    // As a file, and as a series of one object.
    for given in [sent.as_path(), dir.path()] {
        let found = read_for(given, None, &info(), &[]).unwrap();
        assert_eq!(frames_of(&found), [vec![2, 3], vec![6]]);
    }
    fs::copy(&sent, dir.path().join("IM000002")).unwrap();
    let why = read_for(dir.path(), None, &info(), &[]).unwrap_err().to_string();
    assert!(why.contains("2 DICOM files; give the one of the segmentation"), "{why}");
}

#[test]
fn a_segmentation_that_says_nothing_of_some_frames_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.dcm");
    export(&coded(), &info(), ExportFormat::DicomSeg, &path).unwrap();
    let mut object = dicom_object::open_file(&path).unwrap();
    let five = DataElement::new(tags::NUMBER_OF_FRAMES, VR::IS, PrimitiveValue::from("5"));
    object.put(five);
    object.write_to_file(&path).unwrap();
    let why = read_for(&path, None, &info(), &[]).unwrap_err().to_string();
    assert!(why.contains("declares 5 frames and says of 3 what they are"), "{why}");
}

#[test]
fn volumes_are_packed_as_their_names_say_and_known_without_one() {
    let dir = tempfile::tempdir().unwrap();
    for (name, format, magic) in [
        ("a.nii.gz", ExportFormat::Nifti, &[0x1f, 0x8b][..]),
        ("a.nii", ExportFormat::Nifti, &[0x5c, 1][..]),
        ("a", ExportFormat::Nifti, &[0x1f, 0x8b][..]),
        ("b", ExportFormat::Nrrd, &b"NRRD"[..]),
    ] {
        let path = dir.path().join(name);
        export(&coded(), &info(), format, &path).unwrap();
        assert!(fs::read(&path).unwrap().starts_with(magic), "{name}");
        let found = read_for(&path, None, &info(), &[]).unwrap();
        assert_eq!(frames_of(&found), [vec![2, 3], vec![6]], "{name}");
    }
    // What is not packed is made in memory.
    let long = ClipInfo { width_px: 8192, height_px: 8192, frames: 17, ..info() };
    let nothing = Annotation::default();
    let path = dir.path().join("long.nii");
    let why = export(&nothing, &long, ExportFormat::Nifti, &path).unwrap_err().to_string();
    assert!(why.contains("give a name that ends in .nii.gz") && !path.exists(), "{why}");
}

#[test]
fn classes_of_yolo_have_the_names_of_their_list() {
    let dir = tempfile::tempdir().unwrap();
    yolo(dir.path(), "00000", 4);
    fs::write(dir.path().join("classes.txt"), "cyst\r\n\nvein\n").unwrap();
    let line = "2 0 0 0.5 0 0.5 1\n";
    fs::write(dir.path().join("labels/train/00001.txt"), line).unwrap();
    let found = read_for(dir.path(), None, &of_three(), &[]).unwrap();
    let labels: Vec<&str> = found.structures.iter().map(|each| each.label.as_str()).collect();
    assert_eq!(labels, ["cyst", "vein"]);
}

fn shape(kind: &str, points: &[[u32; 2]]) -> serde_json::Value {
    serde_json::json!({ "label": kind, "shape_type": kind, "points": points })
}

#[test]
fn rectangles_of_labelme_may_have_four_corners() {
    let dir = tempfile::tempdir().unwrap();
    let corners = [[2, 3], [9, 3], [9, 8], [2, 8]];
    let shapes = [
        shape("rectangle", &corners),
        shape("rotation", &corners),
        shape("oriented_rectangle", &corners),
        shape("linestrip", &corners),
        shape("point", &corners[..1]),
    ];
    let path = dir.path().join("00000.json");
    fs::write(&path, serde_json::json!({ "shapes": shapes }).to_string()).unwrap();
    let found = read_for(&path, None, &still(), &[]).unwrap();
    let mask = Bitmap::from_fn(SIZE.0, SIZE.1, |x, y| (2..9).contains(&x) && (3..8).contains(&y));
    assert_eq!(found.structures.len(), 3);
    assert!(found.structures.iter().all(|each| each.masks == [(0, mask.to_mask())].into()));
    assert!(found.notes.join(" ").contains("2 shapes that are no masks"), "{:?}", found.notes);
}
