//! What was exported from one clip is taken for another only when a person says that it is a copy.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use sonomark::codec::{OpenOptions, open};
use sonomark::domain::{Annotation, ClipInfo, ClipKind, ContentHash, DicomOrigin, GrayFrame};
use sonomark::export::{Content, ExportFormat, Job, Target, read};

use super::{SIZE, annotation, coded, export, formats, info, target_of};

/// Another clip of the same size and frames.
fn other() -> ClipInfo {
    ClipInfo { content_hash: ContentHash("cd".repeat(32)), ..info() }
}

fn target<'a>(info: &'a ClipInfo, origin: Option<&'a DicomOrigin>) -> Target<'a> {
    Target { info, frame_names: &[], origin, stop: None }
}

fn found(path: &Path, clip: &ClipInfo) -> Content {
    read(path, None, &target(clip, None)).unwrap()
}

fn check(path: &Path, what: &str) {
    assert_eq!(found(path, &info()).other_clip, None, "{what}");
    let content = found(path, &other());
    assert_eq!(content.other_clip.as_deref(), Some("abababababab"), "{what}");
    assert!(!content.structures.is_empty(), "{what}: who says that it is a copy gets it");
    let refused = content.of_this_clip(path, &target(&other(), None)).unwrap_err().to_string();
    for part in ["another clip (abababababab, this one is cdcdcdcdcdcd)", "--any-clip"] {
        assert!(refused.contains(part), "{what}: {refused}");
    }
}

#[test]
fn every_export_says_of_which_clip_it_is() {
    let dir = tempfile::tempdir().unwrap();
    for (format, name) in formats() {
        let path = target_of(dir.path(), name, format);
        export(&annotation(), &info(), format, &path).unwrap();
        check(&path, name);
        // Also where only a part of it is given.
        let part = match format {
            ExportFormat::Png => path.join("nerve"),
            ExportFormat::Davis => path.join("Annotations/abababababab/00003.png"),
            ExportFormat::Yolo => path.join("labels/00003.txt"),
            ExportFormat::Labelme => path.join("00003.json"),
            _ => continue,
        };
        check(&part, name);
    }
    let mut said = annotation();
    for track in said.tracks.values_mut() {
        track.attributes.insert("side".into(), "left".into());
    }
    let table = dir.path().join("a.csv");
    export(&said, &info(), ExportFormat::Csv, &table).unwrap();
    check(&table, "csv");
    // Rows of two clips are of neither.
    let text = fs::read_to_string(&table).unwrap();
    let (first, rest) = text.split_once("abababababab").unwrap();
    fs::write(&table, format!("{first}cdcdcdcdcdcd{rest}")).unwrap();
    for clip in [info(), other()] {
        let why = read(&table, None, &target(&clip, None)).unwrap_err().to_string();
        assert!(why.contains("several clips, as abababababab and cdcdcdcdcdcd"), "{why}");
    }
}

/// A data set of nnU-Net for a clip.
fn cases(annotation: &Annotation, clip: &ClipInfo, folder: &Path) {
    let pixels = vec![9; (SIZE.0 * SIZE.1) as usize];
    let gray = |_| Ok(Arc::new(GrayFrame::new(SIZE.0, SIZE.1, pixels.clone()).unwrap()));
    let job = Job { frames: Some(&gray), ..Job::new(annotation, clip) };
    sonomark::export::export(&job, ExportFormat::NnUnet, folder).unwrap();
}

#[test]
fn cases_of_nnunet_are_those_of_their_clips() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
    cases(&coded(), &info(), &one);
    check(&one, "nnunet");
    // Folders of several clips put together, as nnU-Net learns from them.
    let mut vein = coded();
    vein.tracks.retain(|_, track| track.info.label == "vein");
    cases(&vein, &other(), &two);
    for part in ["imagesTr", "labelsTr"] {
        for file in fs::read_dir(two.join(part)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), one.join(part).join(file.file_name())).unwrap();
        }
    }
    for (clip, masks, left_out) in [(info(), 3, 1), (other(), 1, 3)] {
        let content = found(&one, &clip);
        assert_eq!(content.structures.iter().map(|each| each.masks.len()).sum::<usize>(), masks);
        let note = format!("{left_out} of its cases are of other clips");
        assert!(content.notes.join(" ").contains(&note), "{:?}", content.notes);
        assert_eq!(content.other_clip, None);
    }
    let third = ClipInfo { content_hash: ContentHash("ef".repeat(32)), ..info() };
    let why = read(&one, None, &target(&third, None)).unwrap_err().to_string();
    assert!(why.contains("several clips, as abababababab and cdcdcdcdcdcd"), "{why}");
}

#[test]
fn volumes_of_nnunet_are_those_of_their_clips() {
    let dir = tempfile::tempdir().unwrap();
    let volume = |clip: ClipInfo| ClipInfo { kind: ClipKind::Volume, ..clip };
    cases(&coded(), &volume(info()), dir.path());
    check(dir.path(), "nnunet");
    let labels = dir.path().join("labelsTr");
    fs::copy(labels.join("abababababab.nii.gz"), labels.join("efefefefefef.nii.gz")).unwrap();
    assert_eq!(found(dir.path(), &volume(info())).structures.len(), 2);
    let why = read(dir.path(), None, &target(&volume(other()), None)).unwrap_err().to_string();
    assert!(why.contains("holds several volumes"), "{why}");
}

#[test]
fn a_segmentation_is_of_the_clip_whose_images_it_refers_to() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.dcm");
    let of = |uid: &str| DicomOrigin { instance_uids: vec![uid.into()], ..DicomOrigin::default() };
    let (annotation, clip) = (coded(), info());
    let job = Job { origin: Some(of("1.2.3")), ..Job::new(&annotation, &clip) };
    sonomark::export::export(&job, ExportFormat::DicomSeg, &path).unwrap();
    // As when patient data was taken out of the file, and the identifiers stayed or were mapped.
    for (uid, is_other) in [("1.2.3", false), ("1.2.4", true)] {
        let content = read(&path, None, &target(&other(), Some(&of(uid)))).unwrap();
        assert_eq!(content.other_clip.is_some(), is_other, "{uid}");
    }
}

#[test]
fn an_import_of_another_clip_is_refused_until_it_is_called_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, gray) in [("a.png", 40), ("b.png", 41)] {
        image::GrayImage::from_pixel(SIZE.0, SIZE.1, image::Luma([gray])).save(at(name)).unwrap();
    }
    let clip = open(&at("a.png"), &OpenOptions::default()).unwrap();
    let mut drawn = coded();
    drawn.tracks.values_mut().for_each(|track| {
        let (_, held) = track.masks.pop_first().unwrap();
        track.masks = [(0, held)].into();
    });
    export(&drawn, clip.info(), ExportFormat::Coco, &at("a.json")).unwrap();
    let import = |clip: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sonomark"));
        command.env("HOME", folder.path()).current_dir(folder.path());
        command.args(["--project", "p", "import", clip, "a.json"]).args(more);
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let both: [&[&str]; 2] = [&[], &["--dry-run"]];
    for more in both {
        let (done, told) = import("b.png", more);
        assert!(!done && told.contains("exported from another clip"), "{told}");
    }
    assert!(!at("p").exists(), "nothing was imported");
    let (done, told) = import("b.png", &["--any-clip"]);
    assert!(done && told.contains("imported 2 masks"), "{told}");
    assert!(told.contains(&format!("another clip ({})", clip.info().content_hash.short())));
    let (done, told) = import("a.png", &[]);
    assert!(done && !told.contains("another clip"), "{told}");
}
