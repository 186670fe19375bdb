//! Where formats end, and clips on which there is nothing yet; colours that a person chose.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use sonomark::codec::{OpenOptions, Privacy, open};
use sonomark::domain::{
    Annotation, Bitmap, ClipInfo, ClipKind, GrayFrame, Mask, Track, TrackId, Window,
};
use sonomark::export::{ExportError, ExportFormat, Job, ReadError, Target, read};

use super::{SIZE, export, held, info, noisy, target_of};
use crate::surroundings::files_below;

#[test]
fn segmentations_hold_as_many_structures_as_have_a_number() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.dcm");
    let pixel = Bitmap::from_fn(SIZE.0, SIZE.1, |x, y| x + y == 0).to_mask();
    let mut annotation = Annotation::default();
    for id in 0..65_536 {
        let mut track = Track::new(format!("s{id}"), 0);
        track.masks.insert(0, held(pixel.clone()));
        annotation.tracks.insert(TrackId(id), track);
    }
    for format in [ExportFormat::DicomSeg, ExportFormat::DicomSegFractional] {
        let told = export(&annotation, &info(), format, &path).unwrap_err().to_string();
        let wanted = ["65536 structures, a segmentation holds 65535", "choose coco"];
        assert!(wanted.iter().all(|wanted| told.contains(wanted)), "{told}");
        assert!(!path.exists());
    }
}

#[test]
fn labels_of_nnunet_are_as_many_as_its_images_hold() {
    let dir = tempfile::tempdir().unwrap();
    let labels = dir.path().join("labelsTr");
    fs::create_dir(&labels).unwrap();
    let number = |x: u32, y: u32| image::Luma([(y * SIZE.0 + x) as u16]);
    let image: image::ImageBuffer<image::Luma<u16>, Vec<u16>> =
        image::ImageBuffer::from_fn(SIZE.0, SIZE.1, number);
    image.save(labels.join("case.png")).unwrap();
    let about = r#"{ "labels": { "background": 0, "near": 3, "far": 700 } }"#;
    fs::write(dir.path().join("dataset.json"), about).unwrap();
    let still = ClipInfo { frames: 1, kind: ClipKind::Still, ..info() };
    let target = Target { info: &still, frame_names: &[], origin: None, stop: None };
    let found = read(dir.path(), None, &target).unwrap().structures;
    // Every pixel but the first is a structure of its own, also beyond 255.
    assert_eq!(found.len() as u32, SIZE.0 * SIZE.1 - 1);
    for (label, at) in [("near", 3), ("structure 4", 4), ("structure 699", 699), ("far", 700)] {
        let pixel = Bitmap::from_fn(SIZE.0, SIZE.1, |x, y| y * SIZE.0 + x == at);
        let structure = found.iter().find(|each| each.label == label).unwrap();
        assert_eq!(structure.masks, [(0, pixel.to_mask())].into(), "{label}");
    }
}

#[test]
fn segmentations_that_dicom_does_not_hold_are_refused_before_they_are_made() {
    let dir = tempfile::tempdir().unwrap();
    let side = 1 << 14;
    let clip = ClipInfo { width_px: side, height_px: side, frames: 40, ..info() };
    let mask = Mask::from_runs(side, side, vec![10, 5, side * side - 15]).unwrap();
    for (format, masks, advice) in [
        (ExportFormat::DicomSeg, 33, "choose seg.nrrd or png"),
        (ExportFormat::DicomSegFractional, 5, "choose dicom-seg, seg.nrrd or png"),
    ] {
        let mut track = Track::new("nerve", 0);
        track.masks = (0..masks).map(|frame| (frame, held(mask.clone()))).collect();
        let mut annotation = Annotation::default();
        annotation.tracks.insert(TrackId(1), track);
        let path = dir.path().join("a.dcm");
        let why = export(&annotation, &clip, format, &path).unwrap_err().to_string();
        assert!(why.contains("more than 1 GiB") && why.contains(advice), "{why}");
        assert!(!path.exists());
    }
}

#[test]
fn a_segmentation_of_very_many_frames_is_read_back_or_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let (path, side) = (dir.path().join("a.dcm"), 8);
    let mask = Mask::from_runs(side, side, vec![3, 5, 56]).unwrap();
    // Every frame takes 32 elements, and images may have a million; then more frames than any reader of ours takes.
    for (tracks, frames, is_written) in [(1, 33_000, true), (2, 50_001, false)] {
        let clip = ClipInfo { width_px: side, height_px: side, frames, ..info() };
        let mut annotation = Annotation::default();
        for id in 0..tracks {
            let mut track = Track::new("nerve", 0);
            track.masks = (0..frames).map(|frame| (frame, held(mask.clone()))).collect();
            annotation.tracks.insert(TrackId(id), track);
        }
        match export(&annotation, &clip, ExportFormat::DicomSeg, &path) {
            Ok(report) => {
                assert!(is_written && report.masks == frames);
                fs::remove_file(&path).unwrap();
            }
            Err(why) => {
                let why = why.to_string();
                assert!(!is_written && why.contains("100002 frames"), "{why}");
                assert!(why.contains("choose seg.nrrd or png") && !path.exists(), "{why}");
            }
        }
    }
}

#[test]
fn no_file_of_the_clip_is_replaced_and_no_image_comes_among_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, link) = (dir.path().join("nerve"), dir.path().join("link"));
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    for at in 0..4 {
        let frame = image::GrayImage::from_pixel(SIZE.0, SIZE.1, image::Luma([at]));
        frame.save(folder.join(format!("{at}.png"))).unwrap();
    }
    let files = || {
        let mut files = files_below(&folder);
        files.sort();
        files.into_iter().map(|file| (fs::read(&file).unwrap(), file)).collect::<Vec<_>>()
    };
    let before = files();
    let clip = open(&folder, &OpenOptions::default()).unwrap();
    let frames = |at| clip.frame(at).map_err(|error| error.to_string());
    let mut track = Track::new("nerve", 0);
    track.masks.insert(2, held(Bitmap::from_fn(SIZE.0, SIZE.1, |x, _| x < 9).to_mask()));
    let mut annotation = Annotation::default();
    annotation.tracks.insert(TrackId(1), track);
    let job =
        Job { frames: Some(&frames), clip: Some(&clip), ..Job::new(&annotation, clip.info()) };
    for (format, path) in [
        (ExportFormat::Labelme, folder.clone()),
        (ExportFormat::Labelme, link),
        (ExportFormat::Coco, folder.join("1.png")),
        // The folder of the structure is that of the clip.
        (ExportFormat::Png, dir.path().to_owned()),
    ] {
        let why = sonomark::export::export(&job, format, &path).unwrap_err().to_string();
        assert!(why.contains("the clip itself lies there"), "{why}");
        assert_eq!(files(), before, "{}", path.display());
    }
    // Beside its images is room for what is no image.
    sonomark::export::export(&job, ExportFormat::Coco, &folder.join("masks.json")).unwrap();
}

#[test]
fn the_voxels_beside_a_header_are_a_file_of_the_clip() {
    let dir = tempfile::tempdir().unwrap();
    let (header, voxels) = (dir.path().join("a.mhd"), dir.path().join("a.raw"));
    let size = format!("NDims = 3\nDimSize = {} {} 2\n", SIZE.0, SIZE.1);
    let text =
        format!("ObjectType = Image\n{size}ElementType = MET_UCHAR\nElementDataFile = a.raw\n");
    fs::write(&header, text).unwrap();
    let bytes: Vec<u8> = (0..2 * SIZE.0 * SIZE.1).map(|at| at as u8).collect();
    fs::write(&voxels, &bytes).unwrap();
    let clip = open(&header, &OpenOptions::default()).unwrap();
    let mut track = Track::new("nerve", 0);
    track.masks.insert(1, held(Bitmap::from_fn(SIZE.0, SIZE.1, |x, _| x < 9).to_mask()));
    let mut annotation = Annotation::default();
    annotation.tracks.insert(TrackId(1), track);
    let job = Job { clip: Some(&clip), ..Job::new(&annotation, clip.info()) };
    let why = sonomark::export::export(&job, ExportFormat::Nrrd, &voxels).unwrap_err().to_string();
    assert!(why.contains("the clip itself lies there"), "{why}");
    assert_eq!(fs::read(&voxels).unwrap(), bytes);
    sonomark::export::export(&job, ExportFormat::Nrrd, &dir.path().join("b.nrrd")).unwrap();
    assert_eq!(clip.frame(1).unwrap().width_px, SIZE.0, "it is read as before");
}

#[test]
fn frames_behind_the_end_of_the_clip_are_not_undecided() {
    let dir = tempfile::tempdir().unwrap();
    let frames = info().frames;
    let mut track = Track::new("nerve", 0);
    track.masks.insert(1, held(Bitmap::from_fn(SIZE.0, SIZE.1, |x, _| x < 9).to_mask()));
    // As a journal may say, up to the largest number there is.
    track.windows = vec![Window { first: 1, last: frames + 9 }];
    let mut annotation = Annotation::default();
    annotation.tracks.insert(TrackId(1), track);
    let path = dir.path().join("a.json");
    let report = export(&annotation, &info(), ExportFormat::Coco, &path).unwrap();
    assert_eq!(report.undecided, frames - 2);
}

#[test]
fn volumes_of_more_voxels_than_are_read_back_are_refused_before_they_are_made() {
    let dir = tempfile::tempdir().unwrap();
    let side = 1 << 13;
    let clip = ClipInfo { width_px: side, height_px: side, frames: 1025, ..info() };
    let mut track = Track::new("nerve", 0);
    let mask = Mask::from_runs(side, side, vec![10, 5, side * side - 15]).unwrap();
    track.masks.insert(0, held(mask));
    let mut annotation = Annotation::default();
    annotation.tracks.insert(TrackId(1), track);
    for format in [ExportFormat::Nifti, ExportFormat::Nrrd, ExportFormat::SegNrrd] {
        let path = dir.path().join("a");
        let why = export(&annotation, &clip, format, &path).unwrap_err().to_string();
        assert!(why.contains("voxels that are read back; choose png"), "{why}");
        assert!(!path.exists());
    }
}

#[test]
fn a_stopped_export_leaves_no_file_that_was_not_begun() {
    let dir = tempfile::tempdir().unwrap();
    let (annotation, clip, stop) = (noisy(&[2, 3, 7]), info(), AtomicBool::new(true));
    let gray = |_| Ok(Arc::new(GrayFrame::new(SIZE.0, SIZE.1, vec![9; 713]).unwrap()));
    let (mut privacy, key) = (Privacy::default(), Some([7; 32]));
    privacy.clean_pixels = true;
    for (format, name, _) in ExportFormat::all() {
        if ["mp4", "gif"].contains(&name) && !crate::codec::has_ffmpeg() {
            continue;
        }
        let job = Job {
            frames: Some(&gray),
            privacy: Some(privacy.clone()),
            key,
            stop: Some(&stop),
            ..Job::new(&annotation, &clip)
        };
        let path = target_of(dir.path(), name, format);
        let why = sonomark::export::export(&job, format, &path).unwrap_err();
        assert!(matches!(why, ExportError::Stopped { .. }), "{name}: {why}");
        assert_eq!(files_below(dir.path()), Vec::<std::path::PathBuf>::new(), "{name}");
    }
}

#[test]
fn a_comparison_that_nobody_waits_for_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (annotation, clip, stop) = (noisy(&[2, 3, 7]), info(), AtomicBool::new(true));
    let gray = |_| Ok(Arc::new(GrayFrame::new(SIZE.0, SIZE.1, vec![9; 713]).unwrap()));
    for (format, name, _) in ExportFormat::all() {
        if !ExportFormat::imported().any(|imported| imported == name) {
            continue;
        }
        let path = target_of(dir.path(), name, format);
        let job = Job { frames: Some(&gray), ..Job::new(&annotation, &clip) };
        sonomark::export::export(&job, format, &path).unwrap();
        let read_until = |stop| {
            let target = Target { info: &clip, frame_names: &[], origin: None, stop };
            read(&path, Some(format), &target)
        };
        read_until(None).unwrap();
        let why = read_until(Some(&stop)).unwrap_err();
        assert!(matches!(why, ReadError::Stopped { .. }), "{name}: {why}");
    }
}

#[test]
fn a_file_is_not_called_like_those_of_another_format() {
    let dir = tempfile::tempdir().unwrap();
    for (format, name, ending) in [
        (ExportFormat::SegNrrd, "a.nii", ".seg.nrrd"),
        (ExportFormat::SegNrrd, "a.seg.nii.gz", ".seg.nrrd"),
        (ExportFormat::Nifti, "a.NRRD", ".nii.gz"),
        (ExportFormat::Coco, "a.xml", ".json"),
        (ExportFormat::Coco, "a.json.gz", ".json"),
        (ExportFormat::DicomSeg, "a.png", ".seg.dcm"),
        (ExportFormat::Csv, "a.xlsx", ".csv"),
    ] {
        let path = dir.path().join(name);
        let why = export(&noisy(&[2]), &info(), format, &path).unwrap_err().to_string();
        let next = format!("let its name end in {ending}, or choose another format");
        assert!(why.contains(name) && why.contains(&next), "{why}");
        assert!(!path.exists(), "{name}");
    }
    // Names that promise nothing, or a kind of the same files, are a person's affair; and so are folders.
    for (format, name) in [
        (ExportFormat::SegNrrd, "a.nrrd"),
        (ExportFormat::Nifti, "a.nii"),
        (ExportFormat::DicomSeg, "IM0001"),
        (ExportFormat::Coco, "a.1970"),
        (ExportFormat::Png, "a.nii"),
    ] {
        let path = dir.path().join(format!("{format:?}")).join(name);
        export(&noisy(&[2]), &info(), format, &path).unwrap();
    }
}

#[test]
fn movies_have_the_colours_of_the_screen_and_of_the_schema() {
    if !crate::codec::has_ffmpeg() {
        return println!("skipped: ffmpeg is not installed");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.gif");
    let (width_px, height_px) = (64, 48);
    let clip = ClipInfo { width_px, height_px, frames: 2, ..info() };
    let square = |left: u32| {
        let there = |x, y| (left..left + 20).contains(&x) && (10..34).contains(&y);
        Bitmap::from_fn(width_px, height_px, there)
    };
    let mut annotation = Annotation::default();
    for (number, left) in [(0, 4), (1, 36)] {
        let mut track = Track::new("nerve", number);
        track.masks = [0, 1].map(|frame| (frame, held(square(left).to_mask()))).into();
        annotation.tracks.insert(TrackId(number.into()), track);
    }
    let gray = |_| Ok(Arc::new(GrayFrame::new(64, 48, vec![90; 64 * 48]).unwrap()));
    let mut colours = [None; 8];
    colours[1] = Some([255, 0, 255]);
    let job = Job { frames: Some(&gray), colours, ..Job::new(&annotation, &clip) };
    sonomark::export::export(&job, ExportFormat::Gif, &path).unwrap();
    let frame = open(&path, &OpenOptions::default()).unwrap().frame(0).unwrap().rgb();
    for (left, colour) in [(4, [230u8, 159, 0]), (36, [255, 0, 255])] {
        let boundary = square(left).boundary();
        let mean = [0, 1, 2].map(|channel| {
            let values = boundary.iter().map(|(x, y)| frame[(y * width_px + x) as usize][channel]);
            values.map(f64::from).sum::<f64>() / boundary.len() as f64
        });
        let near = mean.iter().zip(colour).all(|(got, want)| (got - f64::from(want)).abs() < 30.0);
        assert!(near, "{mean:?} for {colour:?}");
    }
}

#[test]
fn a_clip_on_which_there_is_nothing_yet_is_told_of_with_the_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let picture = image::GrayImage::from_pixel(SIZE.0, SIZE.1, image::Luma([90]));
    picture.save(folder.path().join("a.png")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sonomark"));
    command.env("HOME", folder.path()).current_dir(folder.path()).args(["--project", "p"]);
    command.args(["export", "a.png", "--format", "coco", "--out", "a.json"]);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    let next = "has nothing of a.png yet; annotate it first, or name the project that has";
    assert!(told.contains(next) && told.contains("--project"), "{told}");
    assert!(!folder.path().join("a.json").exists());
}
