//! Files of other programs are taken for frames by names that say which, and by no others.

use std::fs;

use super::foreign::{WRITERS, of_three, read_for, still, wide};
use super::{SIZE, info};

/// As Roboflow names copies of `scan-1.jpg`: with a hash, whose digits are none of a frame.
const COPIES: [(&str, u32); 2] = [("scan-1_jpg.rf.0b9c7a", 1), ("scan-2_jpg.rf.5e1f", 2)];

/// Two copies of one image.
const TWICE: [&str; 2] = ["scan-1_jpg.rf.0b9c7a", "scan-1_jpg.rf.77"];

#[test]
fn copies_of_roboflow_belong_to_the_images_they_were_made_from() {
    let dir = tempfile::tempdir().unwrap();
    for (format, write) in WRITERS {
        let folder = dir.path().join(format!("{format:?}"));
        COPIES.iter().for_each(|(name, columns)| write(&folder, name, *columns));
        let read = |names: &[&str]| read_for(&folder, Some(format), &of_three(), names);
        let found = read(&["scan-0", "scan-2", "scan-1"]).unwrap();
        assert_eq!(wide(&found), [(1, 2), (2, 1)], "{format:?}");
        // A video has no names: the number that was the image's counts.
        assert_eq!(wide(&read(&[]).unwrap()), [(1, 1), (2, 2)], "{format:?}");
        // One copy more of an image may be turned or cropped.
        write(&folder, "scan-2_jpg.rf.77", 2);
        let why = read(&["scan-0", "scan-2", "scan-1"]).unwrap_err().to_string();
        assert!(why.contains("copies of one image of the clip"), "{format:?}: {why}");
        let why = read(&[]).unwrap_err().to_string();
        assert!(why.contains("do not say which frames"), "{format:?}: {why}");
    }
}

#[test]
fn images_that_label_studio_took_in_are_known_by_the_names_they_had() {
    let dir = tempfile::tempdir().unwrap();
    for (format, write) in WRITERS {
        let folder = dir.path().join(format!("{format:?}"));
        write(&folder, "1f2e3d4c-scan-1", 1);
        write(&folder, "9A8b7c6d-scan-2", 2);
        let read = |names: &[&str]| read_for(&folder, Some(format), &of_three(), names);
        let found = read(&["scan-0", "scan-2", "scan-1"]).unwrap();
        assert_eq!(wide(&found), [(1, 2), (2, 1)], "{format:?}");
        // Where the clip has no such names, dates in front would look the same.
        let why = read(&[]).unwrap_err().to_string();
        assert!(why.contains("do not say which frames"), "{format:?}: {why}");
        // Taken in twice, they may be two people's masks of one image.
        write(&folder, "00000000-scan-2", 2);
        let why = read(&["scan-0", "scan-2", "scan-1"]).unwrap_err().to_string();
        assert!(why.contains("copies of one image of the clip"), "{format:?}: {why}");
    }
}

#[test]
fn names_that_do_not_say_their_frame_are_refused_with_those_that_would() {
    let dir = tempfile::tempdir().unwrap();
    for (format, write) in WRITERS {
        let folder = dir.path().join(format!("{format:?}"));
        write(&folder, "scan-1_0b9c7", 1);
        write(&folder, "scan-2_5e1", 2);
        let refused = |names: &[&str]| {
            let read = read_for(&folder, Some(format), &of_three(), names);
            read.unwrap_err().to_string()
        };
        let why = refused(&[]);
        assert!(
            why.contains("\"scan-1_0b9c7\" and \"scan-2_5e1\" do not say"),
            "{format:?}: {why}"
        );
        let advice = "but for one number that counts the frames, as in mask_0000 and mask_0001";
        assert!(why.ends_with(&format!("call them all alike {advice}")), "{why}");
        let why = refused(&["a", "b", "c"]);
        assert!(why.contains("the images of the clip (\"a\", \"b\"), or all alike"), "{why}");
    }
    // One file for one still says it by being there.
    for (format, write) in WRITERS {
        let folder = dir.path().join(format!("one {format:?}"));
        write(&folder, "scan-1_0b9c7", 5);
        let found = read_for(&folder, Some(format), &still(), &["b"]).unwrap();
        assert_eq!(wide(&found), [(0, 5)], "{format:?}");
    }
}

#[test]
fn images_of_coco_are_taken_by_the_same_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    let read = |names: [&str; 2], frames: &[&str]| {
        let image = |(id, name): (usize, &str)| {
            serde_json::json!({ "id": id, "file_name": format!("train/{name}.jpg"),
                "width": SIZE.0, "height": SIZE.1 })
        };
        let object = |id: usize| {
            serde_json::json!({ "id": id, "image_id": id, "category_id": 1,
                "segmentation": [[0, 0, id + 1, 0, id + 1, SIZE.1, 0, SIZE.1]] })
        };
        let images: Vec<_> = names.into_iter().enumerate().map(image).collect();
        let all = serde_json::json!({ "images": images, "annotations": [object(0), object(1)],
            "categories": [] });
        fs::write(&path, all.to_string()).unwrap();
        read_for(&path, None, &info(), frames)
    };
    let copies = COPIES.map(|(name, _)| name);
    assert_eq!(wide(&read(copies, &[]).unwrap()), [(1, 1), (2, 2)]);
    let found = read(copies, &["scan-2", "scan-1"]).unwrap();
    assert_eq!(wide(&found), [(0, 2), (1, 1)]);
    // That two are of one image is told of a still, too, of which there are more images than frames.
    read(TWICE, &["scan-1"]).unwrap_err();
    let why = read_for(&path, None, &still(), &["scan-1"]).unwrap_err().to_string();
    assert!(why.contains("copies of one image of the clip"), "{why}");
    // Stamps of time count no frames, though they have digits.
    let why = read(["p1_0903", "p2_0904"], &[]).unwrap_err().to_string();
    assert!(why.contains("\"p1_0903\" and \"p2_0904\" do not say"), "{why}");
}

#[test]
fn two_copies_of_an_image_in_cvat_are_not_taken_by_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.xml");
    let image = |(id, name): (usize, &str)| {
        let (width, height) = SIZE;
        format!("<image id=\"{id}\" name=\"{name}.jpg\" width=\"{width}\" height=\"{height}\"/>")
    };
    let images: String = TWICE.into_iter().enumerate().map(image).collect();
    fs::write(&path, format!("<annotations>{images}</annotations>")).unwrap();
    let names = ["scan-0", "scan-1", "scan-2"];
    let why = read_for(&path, None, &of_three(), &names).unwrap_err().to_string();
    assert!(why.contains("copies of one image of the clip"), "{why}");
}
