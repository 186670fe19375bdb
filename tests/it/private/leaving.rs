//! Clips and masks that leave the program carry no patient data.

use std::fs;
use std::path::{Path, PathBuf};

use sonomark::codec::{OpenOptions, open};

use super::{Home, SIDE, clip, holds, shown_of};
use crate::codec::has_ffmpeg;
use crate::surroundings::files_below;

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
    let has_ffmpeg = has_ffmpeg();
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

#[test]
fn what_is_written_without_a_screen_names_no_clip_and_comes_back_on_its_frames() {
    let (home, inbox) = (Home(tempfile::tempdir().unwrap()), tempfile::tempdir().unwrap());
    let at = |name: &str| inbox.path().join(name).to_str().unwrap().to_owned();
    let clip = at("FOLDERCANARY^EVE");
    fs::create_dir(&clip).unwrap();
    for number in 1..3 {
        let still = image::GrayImage::from_fn(96, 96, |x, y| image::Luma([(x * y + number) as u8]));
        still.save(Path::new(&clip).join(format!("{number:05}.png"))).unwrap();
    }
    crate::headless::write_undecodable(&Path::new(&clip).join("NAMECANARY^3.png"));
    let prompts = "tracks:\n  - label: disc\n    prompts:\n      - frame: 0\n        \
                   boundary: [[30, 30], [60, 30], [60, 60]]\n";
    fs::write(at("p.yaml"), prompts).unwrap();
    let words = ["--device", "cpu", "propagate", &clip, "--prompts", &at("p.yaml")];
    let output = home.run(&[&words[..], &["--out", &at("out")]].concat());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("NAMECANARY^3"), "a person is told which file it is: {told}");
    let mut written = Vec::new();
    written.extend(files_below(Path::new(&at("out"))));
    assert_eq!(written.len(), 3, "two masks and the report");
    for file in written {
        assert!(!holds(&fs::read(&file).unwrap(), "CANARY"), "{}", file.display());
    }
    let report = fs::read(Path::new(&at("out")).join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    // Masks count frames from 0, though images of the clip are called so from 1.
    let output = home.run(&["import", &clip, &at("out"), "--dry-run"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("2 masks: \"disc\" on 2 frames"), "{told}");
    let clip = shown_of(Path::new(&clip));
    assert_eq!(report["clip"], clip.info().content_hash.short());
    assert!(report["tracks"][0]["frames"][2]["failed"].is_string(), "{report}");
}
