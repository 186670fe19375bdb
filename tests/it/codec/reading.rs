//! What files say besides their pixels is read: ways of storing, times, scales, places; and volumes
//! are shown along any axis and over time. `tests/data/reading.py` writes the files and answers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;

use serde::Deserialize;
use sonomark::codec::{Axis, Clip, Cut, OpenOptions, looks_like_clip, open};
use sonomark::domain::{
    Annotation, Bitmap, ClipInfo, ClipKind, FrameMask, Mask, MaskSource, PointPx, Track, TrackId,
};
use sonomark::engine::{Event, SegmenterSource, Session};
use sonomark::export::{ExportFormat, Job, Target, export, read};

use super::{data, has_ffmpeg, opened, refusal};
use crate::surroundings::skipped;

fn at(name: &str) -> PathBuf {
    data().join("reading").join(name)
}

/// Gray that another reader made of a file.
#[derive(Deserialize)]
struct Answer {
    tolerance: u8,
    gray: Vec<u8>,
}

#[test]
fn every_way_of_storing_gives_the_gray_of_other_readers() {
    let text = fs::read_to_string(data().join("reading.json")).unwrap();
    let table: BTreeMap<String, Answer> = serde_json::from_str(&text).unwrap();
    assert_eq!(table.len(), 30);
    for (name, answer) in &table {
        if name.starts_with("jpeg_2000") && !has_ffmpeg() {
            continue;
        }
        let clip = opened(&at(name));
        // A volume is compared by its last slice.
        let gray = clip.frame(clip.info().frames - 1).unwrap();
        let found = gray.pixels.iter().zip(&answer.gray);
        let worst = found.map(|(found, wanted)| found.abs_diff(*wanted)).max().unwrap();
        assert_eq!(gray.pixels.len(), answer.gray.len(), "{name}");
        assert!(worst <= answer.tolerance, "{name}: off by {worst}");
    }
}

fn square(info: &ClipInfo, left: u32, right: u32) -> Mask {
    let inside = |x, y| (left..=right).contains(&x) && (1..=2).contains(&y);
    Bitmap::from_fn(info.width_px, info.height_px, inside).to_mask()
}

/// One track with a mask on each frame of `frames`.
pub(super) fn drawn(mask: &Mask, frames: impl IntoIterator<Item = usize>) -> Annotation {
    let mut track = Track::new("nerve", 0);
    for frame in frames {
        let held = FrameMask { mask: mask.clone(), source: MaskSource::Accepted, score: 1.0 };
        track.masks.insert(frame, held);
    }
    let mut annotation = Annotation::default();
    annotation.tracks.insert(TrackId(1), track);
    annotation
}

/// A column of the CSV export.
fn column(info: &ClipInfo, annotation: &Annotation, name: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    let format = ExportFormat::named("csv").unwrap();
    export(&Job::new(annotation, info), format, &path).unwrap();
    let text = fs::read_to_string(path).unwrap();
    let mut rows = text.lines().map(|row| row.split(',').map(str::to_owned).collect::<Vec<_>>());
    let place = rows.next().unwrap().iter().position(|held| held == name).unwrap();
    rows.map(|row| row[place].clone()).collect()
}

#[test]
fn frames_of_a_vector_of_times_are_shown_when_it_says() {
    let clip = opened(&at("frame_time_vector.dcm"));
    let info = clip.info();
    assert_eq!((info.kind, info.frames), (ClipKind::Cine, 4));
    assert_eq!([0, 1, 2, 3].map(|i| info.time_ms(i).unwrap()), [0.0, 40.0, 100.0, 220.0]);
    assert_eq!([0, 1, 2, 3].map(|i| info.shown_ms(i).unwrap()), [40.0, 60.0, 120.0, 120.0]);
    let annotation = drawn(&square(info, 1, 2), 0..4);
    let times = column(info, &annotation, "time_ms");
    assert_eq!(times, ["0.000", "40.000", "100.000", "220.000"]);
    if has_ffmpeg() {
        // The film of it keeps the times.
        let dir = tempfile::tempdir().unwrap();
        let frames = |i| clip.frame(i).map_err(|e| e.to_string());
        let job = Job { frames: Some(&frames), ..Job::new(&annotation, info) };
        for name in ["mp4", "gif"] {
            let path = dir.path().join(format!("film.{name}"));
            export(&job, ExportFormat::named(name).unwrap(), &path).unwrap();
            let film = opened(&path).info().clone();
            let found: Vec<f64> = (0..4).map(|i| film.time_ms(i).unwrap().round()).collect();
            assert_eq!(found, [0.0, 40.0, 100.0, 220.0], "{name}");
        }
    }
}

#[test]
fn masks_have_the_size_of_the_region_that_they_lie_in() {
    let info = opened(&at("two_scales.dcm")).info().clone();
    // 0.1 mm and 0.2 mm a pixel: no scale holds everywhere.
    assert_eq!((info.pixel_spacing_mm, info.scales.len()), (None, 3));
    for (left, right, area, why) in [
        (1, 3, "0.0600", ""),
        (6, 9, "0.3200", ""),
        (3, 6, "", "different scales"),
        (10, 10, "", "no lengths"),
        (11, 11, "", "outside the regions"),
    ] {
        let annotation = drawn(&square(&info, left, right), [0]);
        assert_eq!(column(&info, &annotation, "area_mm2"), [area], "columns {left} to {right}");
        let told = column(&info, &annotation, "no_mm").concat();
        assert!(told.contains(why) && told.is_empty() == why.is_empty(), "{told}");
    }
    let between = |a, b| info.scale_between(PointPx::new(a, 2.0), PointPx::new(b, 2.0));
    assert_eq!(between(6.5, 9.5), Ok([0.2, 0.2]));
    assert!(between(1.5, 9.5).is_err() && between(6.5, 11.5).is_err());
}

#[test]
fn shuffled_frames_of_an_enhanced_object_are_put_in_their_places() {
    let first =
        |clip: &Clip| -> Vec<u8> { (0..4).map(|i| clip.frame(i).unwrap().pixels[0]).collect() };
    let placed = |name: &str| opened(&at(name)).info().placement;
    let kept = opened(&at("enhanced_in_order.dcm"));
    assert_eq!((first(&kept), kept.info().kind), (vec![0, 1, 2, 3], ClipKind::Volume));
    assert!(kept.notes().is_empty(), "{:?}", kept.notes());
    let place = placed("enhanced_in_order.dcm").unwrap();
    assert_eq!(place.origin_mm, [1.0, 2.0, 3.0]);
    assert_eq!(place.steps_mm, [[0.25, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 2.0]]);
    // From the top down is an order, too, under which masks may have been kept.
    assert_eq!(first(&opened(&at("enhanced_downwards.dcm"))), [3, 2, 1, 0]);
    assert_eq!(placed("enhanced_downwards.dcm").unwrap().origin_mm, [1.0, 2.0, 9.0]);
    for name in ["enhanced_shuffled.dcm", "enhanced_by_number.dcm"] {
        let clip = opened(&at(name));
        assert_eq!(first(&clip), [0, 1, 2, 3], "{name}");
        assert!(clip.notes()[0].contains("another order"), "{:?}", clip.notes());
        // The file has them as 2, 0, 3, 1: what refers to its frames counts as it does.
        let origin = clip.dicom_origin().unwrap();
        let numbers: Vec<usize> = (0..4).map(|i| origin.of_frame(i).unwrap().1).collect();
        assert_eq!(numbers, [2, 4, 1, 3], "{name}");
        assert_eq!(origin.frame_of(0), Some(2), "{name}");
        // A segmentation refers to the file's numbers and comes back to the same frames.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seg.dcm");
        let annotation = drawn(&square(clip.info(), 1, 2), [0, 1]);
        let job = Job { origin: Some(origin.clone()), ..Job::new(&annotation, clip.info()) };
        export(&job, ExportFormat::named("dicom-seg").unwrap(), &path).unwrap();
        let target =
            Target { info: clip.info(), frame_names: &[], origin: Some(&origin), stop: None };
        let found = read(&path, None, &target).unwrap();
        let frames: Vec<usize> = found.structures[0].masks.keys().copied().collect();
        assert_eq!(frames, [0, 1], "{name}");
    }
    assert_eq!(placed("enhanced_shuffled.dcm"), Some(place));
}

fn cut(name: &str, options: OpenOptions) -> Clip {
    open(&at(name), &options).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The value of voxel (x, y, z) at time t in `four.nii`, which is its gray.
fn gray(x: usize, y: usize, z: usize, t: usize) -> u8 {
    (x + 10 * y + 30 * z + 60 * t) as u8
}

#[test]
fn volumes_over_time_are_a_slice_that_plays_or_the_volume_of_a_moment() {
    let default = OpenOptions::default;
    let middle = cut("four.nii", default());
    let info = middle.info();
    assert_eq!((info.kind, info.frames, info.frame_time_ms), (ClipKind::Cine, 4, Some(40.0)));
    assert!(middle.notes()[0].contains("slice 2 of 2 along z over time"), "{:?}", middle.notes());
    assert_eq!(middle.frame(3).unwrap().at(2, 1), gray(2, 1, 1, 3));
    let along = |axis, slice| {
        cut("four.nii", OpenOptions { cut: Cut { axis, slice, time: None }, ..default() })
    };
    let across = along(Some(Axis::X), Some(4));
    let size = (across.info().width_px, across.info().height_px, across.info().frames);
    assert_eq!(size, (3, 2, 4));
    assert_eq!(across.frame(2).unwrap().at(1, 0), gray(3, 1, 0, 2));
    let level = along(Some(Axis::Y), Some(1));
    assert_eq!(level.frame(1).unwrap().at(3, 1), gray(3, 0, 1, 1));
    // The file stores x along the front and back of the patient.
    let coronal = along(Some(Axis::Coronal), Some(4));
    assert_eq!(coronal.info().content_hash, across.info().content_hash);
    let moment = cut(
        "four.nii",
        OpenOptions {
            cut: Cut { time: Some(3), axis: Some(Axis::Y), ..Cut::default() },
            ..default()
        },
    );
    assert_eq!((moment.info().kind, moment.info().frames), (ClipKind::Volume, 3));
    assert_eq!(moment.frame(1).unwrap().at(2, 1), gray(2, 1, 1, 2));
    // What is shown has a number also where nobody gave one; of one volume there is none.
    let part = |axis, slice, time| Cut { axis, slice, time };
    assert_eq!(middle.part(Cut::default()), part(None, Some(2), None));
    let along_y = part(Some(Axis::Y), None, None);
    assert_eq!(level.part(along_y), part(Some(Axis::Y), Some(2), None));
    assert_eq!(moment.part(part(None, None, Some(3))), part(None, None, Some(3)));
    assert_eq!(cut("second.nii", default()).part(along_y), along_y);
    // The screen hears of it.
    let (project, (inbox, _events)) = (tempfile::tempdir().unwrap(), channel::<Event>());
    let none = SegmenterSource::None;
    let opened = Session::open_with(&at("four.nii"), &default(), project.path(), none, inbox);
    assert_eq!(opened.unwrap().1.part, part(None, Some(2), None));

    let clips = [&middle, &across, &level, &moment];
    let mut hashes: Vec<String> =
        clips.iter().map(|clip| clip.info().content_hash.0.clone()).collect();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), 4, "masks of each are kept apart");
    for (options, told) in [
        (
            OpenOptions { cut: Cut { slice: Some(3), ..Cut::default() }, ..default() },
            "no slice 3, it has 2",
        ),
        (
            OpenOptions { cut: Cut { time: Some(0), ..Cut::default() }, ..default() },
            "no moment 0, it has 4",
        ),
        (
            OpenOptions {
                cut: Cut { time: Some(1), slice: Some(1), ..Cut::default() },
                ..default()
            },
            "single picture",
        ),
    ] {
        let error = open(&at("four.nii"), &options).err().unwrap().to_string();
        assert!(error.contains(told), "{error}");
    }
    let plain = open(
        &at("second.nii"),
        &OpenOptions { cut: Cut { slice: Some(1), ..Cut::default() }, ..default() },
    );
    assert!(plain.err().unwrap().to_string().contains("open it without a slice or a time"));
}

#[test]
fn nrrd_and_metaimage_hold_volumes_over_time_too() {
    let dir = tempfile::tempdir().unwrap();
    let voxels: Vec<u8> = (0..24).collect();
    let write = |name: &str, head: &str| {
        let path = dir.path().join(name);
        fs::write(&path, [head.as_bytes(), &voxels].concat()).unwrap();
        path
    };
    let nrrd = |kinds: &str| {
        format!(
            "NRRD0004\ntype: uint8\ndimension: 4\nspace: left-posterior-superior\nsizes: 2 2 2 3\n\
             space directions: (0.5,0,0) (0,0.5,0) (0,0,2) none\nkinds: {kinds}\nencoding: raw\n\
             space origin: (1,2,3)\n\n"
        )
    };
    let meta = "ObjectType = Image\nNDims = 4\nBinaryData = True\nCompressedData = False\n\
                TransformMatrix = 1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1\nOffset = 1 2 3 0\n\
                ElementSpacing = 0.5 0.5 2 1\nDimSize = 2 2 2 3\nElementType = MET_UCHAR\n\
                ElementDataFile = LOCAL\n";
    for path in [
        write("time.nrrd", &nrrd("domain domain domain time")),
        write("list.nrrd", &nrrd("domain domain domain list")),
        write("four.mha", meta),
    ] {
        let clip = open(
            &path,
            &OpenOptions {
                cut: Cut { slice: Some(1), ..Cut::default() },
                ..OpenOptions::default()
            },
        )
        .unwrap();
        assert_eq!((clip.info().frames, clip.frame(2).unwrap().pixels[3]), (3, 19), "{path:?}");
        let moment = open(
            &path,
            &OpenOptions { cut: Cut { time: Some(2), ..Cut::default() }, ..OpenOptions::default() },
        )
        .unwrap();
        assert_eq!(moment.frame(1).unwrap().pixels, [12, 13, 14, 15], "{path:?}");
        let place = moment.info().placement.unwrap();
        assert_eq!((place.origin_mm, place.steps_mm[2]), ([1.0, 2.0, 3.0], [0.0, 0.0, 2.0]));
    }
}

#[test]
fn masks_of_a_slice_over_time_go_back_with_four_dimensions() {
    let dir = tempfile::tempdir().unwrap();
    let options = OpenOptions {
        cut: Cut { axis: Some(Axis::X), slice: Some(4), ..Cut::default() },
        ..OpenOptions::default()
    };
    let clip = cut("four.nii", options);
    let info = clip.info();
    let mask = Bitmap::from_fn(3, 2, |x, y| x == 1 && y == 0).to_mask();
    let annotation = drawn(&mask, [2]);
    let path = dir.path().join("masks.nii.gz");
    let job = Job::new(&annotation, info);
    export(&job, ExportFormat::named("nifti").unwrap(), &path).unwrap();
    let head = {
        let mut bytes = Vec::new();
        let file = fs::File::open(&path).unwrap();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(file), &mut bytes).unwrap();
        bytes
    };
    let short = |at: usize| i16::from_le_bytes([head[at], head[at + 1]]);
    assert_eq!([40, 42, 44, 46, 48].map(short), [4, 3, 2, 1, 4]);
    // The first voxel lies where (3, 0, 0) of the source does: RAS.
    let float =
        |at: usize| f32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let origin = [292, 308, 324].map(|at| f64::from(float(at)));
    let expected = [108.123456789, -33.3333333 + 0.25 * 3.0, 7.7777777];
    assert!(origin.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4), "{origin:?}");
    assert_eq!(float(92), 40.0);
    // Nothing is burned into its pixels, as into those of a volume.
    let frames = |i| clip.frame(i).map_err(|e| e.to_string());
    let (key, privacy) = (Some([0; 32]), Some(clip.privacy()));
    let pictures = Job { frames: Some(&frames), key, privacy, ..Job::new(&annotation, info) };
    let format = ExportFormat::named("frames").unwrap();
    export(&pictures, format, &dir.path().join("frames")).unwrap();
    for name in ["nrrd", "seg.nrrd", "dicom-seg"] {
        let error = export(&job, ExportFormat::named(name).unwrap(), &dir.path().join("no"));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("beside each other in space"), "{name}: {error}");
    }
}

#[test]
fn geometry_of_a_nifti_2_volume_comes_back_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let clip = opened(&at("second.nii"));
    let info = clip.info();
    assert!(info.format.starts_with("NIfTI-2"), "{}", info.format);
    let annotation = drawn(&Bitmap::from_fn(4, 3, |x, _| x == 1).to_mask(), [1]);
    let out = |name: &str, info: &ClipInfo| {
        let path = dir.path().join(name);
        let format = ExportFormat::named("nifti").unwrap();
        export(&Job::new(&annotation, info), format, &path).unwrap();
        opened(&path).info().clone()
    };
    let (place, found) = (info.placement.unwrap(), out("two.nii.gz", info));
    let numbers = |place: sonomark::domain::Placement| -> Vec<f64> {
        place.steps_mm.iter().flatten().chain(&place.origin_mm).copied().collect()
    };
    let off =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(p, q)| (p - q).abs()).fold(0.0, f64::max);
    let (wanted, read) = (numbers(place), numbers(found.placement.unwrap()));
    assert!(off(&wanted, &read) < 1e-9 && found.format.starts_with("NIfTI-2"), "{read:?}");
    // SimpleITK reads no NIfTI-2: others get NIfTI-1, which rounds.
    let other = ClipInfo { format: "NRRD".into(), ..info.clone() };
    let first = out("one.nii.gz", &other);
    let off = off(&wanted, &numbers(first.placement.unwrap()));
    assert!((1e-6..1e-5).contains(&off) && first.format.starts_with("NIfTI,"), "{off}");
}

pub(super) fn ffmpeg(words: &[&str], out: &Path) -> bool {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "quiet", "-y"]).args(words).arg(out);
    command.status().is_ok_and(|status| status.success())
}

/// All frames by one run of ffmpeg that this program has no part in.
pub(super) fn decoded_elsewhere(path: &Path) -> Vec<u8> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-i"]).arg(path).args(["-map", "0:v:0"]);
    command.args(["-vsync", "passthrough", "-vf", "scale=out_range=full,format=gray"]);
    command.args(["-f", "rawvideo", "-"]).output().unwrap().stdout
}

const MOVING: [&str; 4] = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10:duration=1.2"];

#[test]
fn what_ffmpeg_reads_is_a_clip_with_the_frames_of_ffmpeg() {
    if !has_ffmpeg() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let kinds: [(&str, &[&str]); 15] = [
        ("a.mxf", &["-c:v", "mpeg2video", "-r", "25"]),
        ("a.y4m", &[]),
        ("a.m2v", &["-c:v", "mpeg2video"]),
        ("a.h264", &["-c:v", "libx264"]),
        ("a.hevc", &["-c:v", "libx265"]),
        ("a.nut", &["-c:v", "ffv1"]),
        ("a.dv", &["-s", "720x576", "-r", "25"]),
        ("a.ivf", &["-c:v", "libvpx"]),
        ("a.rm", &["-c:v", "rv10", "-s", "176x144"]),
        ("a.wtv", &["-c:v", "mpeg2video"]),
        ("a.swf", &["-c:v", "flv"]),
        ("a.mjpeg", &["-c:v", "mjpeg"]),
        ("a.gif", &["-pix_fmt", "rgb8"]),
        ("a.apng", &["-pix_fmt", "gray"]),
        ("animated.png", &["-pix_fmt", "rgb24", "-f", "apng"]),
    ];
    let mut made = 0;
    for (name, codec) in kinds {
        let path = dir.path().join(name);
        if !ffmpeg(&[&MOVING[..], &["-pix_fmt", "yuv420p"], codec].concat(), &path) {
            skipped(&format!("this ffmpeg cannot write {name}"));
            continue;
        }
        made += 1;
        let clip = opened(&path);
        let frames = clip.info().frames;
        assert!(frames >= 12 && clip.info().kind == ClipKind::Cine, "{name}: {frames}");
        assert!(looks_like_clip(&path), "{name}");
        let elsewhere = decoded_elsewhere(&path);
        let size = clip.frame(0).unwrap().pixels.len();
        assert_eq!(elsewhere.len(), frames * size, "{name}");
        // Backwards, so that seeking is needed.
        for i in (0..frames).rev().step_by(5).chain([0]) {
            let same = clip.frame(i).unwrap().pixels == elsewhere[i * size..(i + 1) * size];
            assert!(same, "{name} frame {i}");
        }
    }
    assert!(made >= 8, "{made} containers");
    // Among images it would lose all frames but the first.
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::copy(dir.path().join("animated.png"), folder.join("1.png")).unwrap();
    assert!(refusal(&folder).contains("animated PNG"));
    let bytes = fs::read(dir.path().join("animated.png")).unwrap();
    fs::write(dir.path().join("cut.png"), &bytes[..bytes.len() * 2 / 3]).unwrap();
    assert!(refusal(&dir.path().join("cut.png")).contains("copy it again"));
}

#[test]
fn a_recording_that_begins_between_whole_pictures_has_the_frames_that_decode() {
    if !has_ffmpeg() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole.ts");
    let source = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=3"];
    let encoded = ["-c:v", "mpeg2video", "-g", "25", "-bf", "2"];
    if !ffmpeg(&[&source[..], &encoded].concat(), &whole) {
        return skipped("this ffmpeg has no encoder of MPEG-2");
    }
    let bytes = fs::read(&whole).unwrap();
    let path = dir.path().join("cut.ts");
    // A transport stream is a row of packets of 188 bytes.
    fs::write(&path, &bytes[bytes.len() / 188 / 5 * 188..]).unwrap();
    let (clip, elsewhere) = (opened(&path), decoded_elsewhere(&path));
    let frames = clip.info().frames;
    assert_eq!(frames * 64 * 48, elsewhere.len());
    assert!((30..60).contains(&frames), "{frames} of 75 frames");
    for i in [frames - 1, frames / 2, 1, 0] {
        let same = clip.frame(i).unwrap().pixels == elsewhere[i * 3072..(i + 1) * 3072];
        assert!(same, "frame {i}");
    }
}

#[test]
fn turned_and_uneven_videos_keep_their_turn_and_times() {
    if !has_ffmpeg() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let plain = path("plain.mov");
    assert!(ffmpeg(&[&MOVING[..], &["-c:v", "mjpeg", "-pix_fmt", "yuvj420p"]].concat(), &plain));
    let turned = path("turned.mov");
    let input = plain.to_str().unwrap();
    assert!(ffmpeg(&["-i", input, "-c", "copy", "-metadata:s:v:0", "rotate=90"], &turned));
    let (upright, turned) = (opened(&plain), opened(&turned));
    let size = |clip: &Clip| (clip.info().width_px, clip.info().height_px);
    assert_eq!(size(&upright), (96, 64));
    // ffmpeg from 6 on writes a turn by other words only.
    if size(&turned) == (64, 96) {
        let (from, to) = (upright.frame(7).unwrap(), turned.frame(7).unwrap());
        let clockwise = (0..64i64).all(|x| (0..96i64).all(|y| to.at(x, y) == from.at(y, 63 - x)));
        let counter = (0..64i64).all(|x| (0..96i64).all(|y| to.at(x, y) == from.at(95 - y, x)));
        assert!(clockwise || counter);
    } else {
        skipped("this ffmpeg writes no turn");
    }
    // Every frame of the first half second, then every third.
    let few = ["-vf", "select='lt(n,5)+not(mod(n,3))'", "-vsync", "vfr", "-c:v", "ffv1"];
    for name in ["uneven.mkv", "uneven.nut"] {
        assert!(ffmpeg(&[&MOVING[..], &few].concat(), &path(name)));
        let clip = opened(&path(name));
        let times: Vec<f64> =
            (0..clip.info().frames).map(|i| clip.info().time_ms(i).unwrap().round()).collect();
        assert_eq!(times, [0.0, 100.0, 200.0, 300.0, 400.0, 600.0, 900.0], "{name}");
        let elsewhere = decoded_elsewhere(&path(name));
        assert_eq!(clip.frame(6).unwrap().pixels, elsewhere[6 * 96 * 64..], "{name}");
    }
}

#[test]
fn gaps_in_the_numbers_of_frames_are_no_frames() {
    let dir = tempfile::tempdir().unwrap();
    for (name, value) in [("f_1.png", 10), ("f_2.png", 20), ("f_5.png", 50), ("f_10.png", 100)] {
        image::GrayImage::from_pixel(8, 8, image::Luma([value]))
            .save(dir.path().join(name))
            .unwrap();
    }
    let clip = opened(dir.path());
    let found: Vec<u8> = (0..4).map(|i| clip.frame(i).unwrap().pixels[0]).collect();
    assert_eq!((clip.info().frames, found), (4, vec![10, 20, 50, 100]));
    assert_eq!(clip.frame_names(), ["f_1", "f_2", "f_5", "f_10"]);
}
