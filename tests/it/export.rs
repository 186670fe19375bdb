//! What is exported reads back as what was annotated.

mod edges;
mod foreign;
mod found;
mod named;
mod of_clip;
mod said;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sonomark::codec::{OpenOptions, open};
use sonomark::domain::{
    Annotation, Bitmap, ClipInfo, ClipKind, ContentHash, FrameMask, GrayFrame, Mask, MaskSource,
    Placement, Track, TrackId, Window,
};
use sonomark::export::{
    ExportFormat, Job, Report, RgbImage, Structure, Target, contact_sheet, draw_mask, png_bytes,
    read, write_atomic,
};

const SIZE: (u32, u32) = (31, 23);

pub(crate) fn info() -> ClipInfo {
    ClipInfo {
        name: "clip".into(),
        pixel_spacing_mm: Some([0.2, 0.2]),
        format: "test".into(),
        ..ClipInfo::new(ContentHash("ab".repeat(32)), ClipKind::Cine, SIZE, 10)
    }
}

/// A clip of one file.
fn of(info: &ClipInfo) -> Target<'_> {
    Target { info, frame_names: &[], origin: None, stop: None }
}

fn disc(radius: f32) -> Mask {
    Bitmap::from_fn(SIZE.0, SIZE.1, |x, y| (x as f32 - 12.0).hypot(y as f32 - 9.0) < radius)
        .to_mask()
}

fn held(mask: Mask) -> FrameMask {
    FrameMask { mask, source: MaskSource::Tracked, score: 0.9 }
}

fn annotation() -> Annotation {
    let mut annotation = Annotation::default();
    let mut nerve = Track::new("nerve", 0);
    nerve.windows = vec![Window { first: 2, last: 5 }];
    nerve.masks.insert(2, held(disc(5.0)));
    nerve.masks.insert(3, held(disc(7.5)));
    nerve.masks.insert(4, held(disc(0.0)));
    let mut other = Track::new("../vessel\u{1b}[2J", 1);
    other.masks.insert(3, held(disc(3.0)));
    annotation.tracks.insert(TrackId(7), nerve);
    annotation.tracks.insert(TrackId(9), other);
    annotation
}

fn export(
    annotation: &Annotation,
    info: &ClipInfo,
    format: ExportFormat,
    path: &Path,
) -> Result<Report, sonomark::export::ExportError> {
    sonomark::export::export(&Job::new(annotation, info), format, path)
}

fn pixels(path: &Path) -> Bitmap {
    let image = image::open(path).unwrap().to_luma8();
    assert!(image.pixels().all(|p| p.0[0] == 0 || p.0[0] == 255));
    Bitmap {
        width_px: image.width(),
        height_px: image.height(),
        pixels: image.pixels().map(|p| p.0[0] == 255).collect(),
    }
}

#[test]
fn png_masks_have_the_size_of_the_clip_and_safe_names() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("new/masks");
    let report = export(&annotation(), &info(), ExportFormat::Png, &target).unwrap();
    assert_eq!((report.masks, report.files.len(), report.undecided), (4, 4, 1));
    assert_eq!(report.renamed.len(), 1);
    assert!(report.files.iter().all(|file| file.starts_with(&target)));
    assert_eq!(pixels(&target.join("nerve/00003.png")), disc(7.5).to_bitmap());
    assert_eq!(pixels(&target.join("nerve/00004.png")).area_px(), 0);
    assert_eq!(pixels(&target.join("_._vessel__2J/00003.png")), disc(3.0).to_bitmap());
    let again = export(&annotation(), &info(), ExportFormat::Png, &target).unwrap();
    assert_eq!(again, report);
    assert_eq!(fs::read_dir(&target).unwrap().count(), 2, "no temporary files are left");
    // The exported masks are a clip again.
    let clip = open(&target.join("nerve"), &OpenOptions::default()).unwrap();
    assert_eq!(clip.info().frames, 3);
}

#[test]
fn coco_runs_give_the_masks_back() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out.json");
    let report = export(&annotation(), &info(), ExportFormat::Coco, &target).unwrap();
    assert_eq!((report.masks, report.files.len()), (4, 1));
    let json: serde_json::Value = serde_json::from_slice(&fs::read(&target).unwrap()).unwrap();
    let ids: Vec<u64> =
        json["images"].as_array().unwrap().iter().map(|i| i["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [3, 4, 5]);
    // As `frames` calls them, in a folder of the clip: whoever trains finds the pictures without a script.
    let clip = info().content_hash;
    assert_eq!(json["images"][0]["file_name"], format!("{}/00002.png", clip.short()));
    let objects = json["annotations"].as_array().unwrap();
    assert_eq!(objects.len(), 3, "an empty mask is an image without annotation");
    let object = &objects[1];
    assert_eq!(
        (object["image_id"].as_u64(), object["area"].as_u64()),
        (Some(4), Some(disc(7.5).area_px()))
    );
    // Decoded here on its own, the way pycocotools does: columns first.
    let (mut decoded, mut value, mut at) = (Bitmap::empty(SIZE.0, SIZE.1), false, 0usize);
    for count in object["segmentation"]["counts"].as_array().unwrap() {
        for _ in 0..count.as_u64().unwrap() {
            let (x, y) = (at / SIZE.1 as usize, at % SIZE.1 as usize);
            decoded.pixels[y * SIZE.0 as usize + x] = value;
            at += 1;
        }
        value = !value;
    }
    assert_eq!(decoded, disc(7.5).to_bitmap());
    let bounds = decoded.bounds().unwrap();
    let bbox: Vec<f64> =
        object["bbox"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    let wanted =
        [bounds.min.x, bounds.min.y, bounds.max.x - bounds.min.x, bounds.max.y - bounds.min.y];
    assert_eq!(bbox, wanted.map(f64::from));
    let names: Vec<&str> = json["categories"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["../vessel\u{1b}[2J", "nerve"], "JSON keeps the label itself");
}

#[test]
fn masks_of_another_clip_and_unwritable_places_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let other = ClipInfo { width_px: 99, ..info() };
    let error =
        export(&annotation(), &other, ExportFormat::Png, dir.path()).unwrap_err().to_string();
    assert!(error.contains("31 x 23"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was written");
    let file = dir.path().join("file");
    write_atomic(&file, b"x").unwrap();
    let error = export(&annotation(), &info(), ExportFormat::Png, &file).unwrap_err().to_string();
    assert!(error.contains("cannot write") && error.contains("file"), "{error}");
}

#[test]
fn overlays_tint_the_inside_and_draw_the_boundary() {
    let frame = GrayFrame::new(SIZE.0, SIZE.1, vec![100; (SIZE.0 * SIZE.1) as usize]).unwrap();
    let mut image = RgbImage::of_frame(&frame);
    let mask = disc(6.0).to_bitmap();
    draw_mask(&mut image, &mask, [255, 0, 0]);
    let at = |image: &RgbImage, x: u32, y: u32| image.pixels[(y * image.width_px + x) as usize];
    assert_eq!(at(&image, 30, 22), [100; 3]);
    let inside = at(&image, 12, 9);
    assert!(inside[0] > 100 && inside[1] < 100, "{inside:?}");
    let (x, y) = mask.boundary()[0];
    assert_eq!(at(&image, x, y), [255, 0, 0]);
    let sheet = contact_sheet(&[image.clone(), image.clone(), image], 2, 16);
    assert_eq!((sheet.width_px, sheet.height_px), (2 * 15 + 4, 2 * 11 + 4));
    let png = image::load_from_memory(&png_bytes(&sheet).unwrap()).unwrap().to_rgb8();
    assert_eq!(png.as_raw(), sheet.pixels.as_flattened());
    assert_eq!(contact_sheet(&[], 3, 16).pixels.len(), 1);
}

/// Noise with holes, lone pixels and parts that touch in corners; two structures overlap.
pub(crate) fn noisy(frames: &[usize]) -> Annotation {
    let mut random = fastrand::Rng::with_seed(3);
    let mut annotation = Annotation::default();
    for (id, label) in [(3, "Nervus \"medianus\" <1>"), (5, "vessel"), (9, "vessel")] {
        let mut track = Track::new(label, 0);
        for &frame in frames {
            let blob = disc(3.0 + frame as f32 + id as f32 / 3.0).to_bitmap();
            let noise = |p: &bool| *p ^ (random.u8(0..20) == 0);
            let pixels = blob.pixels.iter().map(noise).collect();
            track.masks.insert(frame, held(Bitmap { pixels, ..blob }.to_mask()));
        }
        annotation.tracks.insert(TrackId(id), track);
    }
    annotation
}

fn formats() -> impl Iterator<Item = (ExportFormat, &'static str)> {
    ExportFormat::all()
        .map(|(format, name, _)| (format, name))
        // Those hold no masks or need pictures.
        .filter(|(_, name)| !["csv", "mp4", "gif", "nnunet", "dicom", "frames"].contains(name))
}

fn target_of(dir: &Path, name: &str, format: ExportFormat) -> PathBuf {
    dir.join(format!("{}{}", name.replace('.', "-"), format.ending()))
}

/// Masks by label and frame, joined where tracks share a label.
fn by_label(structures: &[Structure]) -> BTreeMap<(String, usize), Bitmap> {
    let mut all: BTreeMap<(String, usize), Bitmap> = BTreeMap::new();
    for structure in structures {
        for (&frame, mask) in structure.masks.iter().filter(|(_, mask)| !mask.is_empty()) {
            let found = mask.to_bitmap();
            let joined = all
                .entry((structure.label.clone(), frame))
                .or_insert_with(|| Bitmap::empty(found.width_px, found.height_px));
            joined.pixels.iter_mut().zip(&found.pixels).for_each(|(p, q)| *p |= *q);
        }
    }
    all
}

#[test]
fn every_format_gives_back_what_it_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let annotation = noisy(&[2, 3, 7]);
    let held: Vec<Structure> = annotation
        .tracks
        .values()
        .map(|track| {
            let masks = track.masks.iter().map(|(&f, held)| (f, held.mask.clone()));
            Structure::new(track.info.label.clone(), masks.collect())
        })
        .collect();
    for (format, name) in formats() {
        let path = target_of(dir.path(), name, format);
        let report = export(&annotation, &info(), format, &path).unwrap();
        assert!(report.masks > 0 && report.files.iter().all(|file| file.is_file()), "{name}");
        // Recognised without being told, as `sonomark import` does.
        let found = read(&path, None, &of(&info())).unwrap();
        let (found, expected) = (by_label(&found.structures), by_label(&held));
        if report.covered_px > 0 {
            // The last structure has its pixels whole.
            assert_eq!(found[&("vessel".to_owned(), 3)], expected[&("vessel".to_owned(), 3)]);
        } else if name == "png" {
            assert_eq!(found.len(), 9, "png names are safe and tell tracks apart");
        } else {
            assert!(found == expected, "{name} reads back differently");
        }
    }
}

#[test]
fn an_export_beside_files_of_an_earlier_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (format, name) in formats().filter(|(format, _)| format.ending().is_empty()) {
        let path = target_of(dir.path(), name, format);
        export(&noisy(&[2, 3]), &info(), format, &path).unwrap();
        export(&noisy(&[2, 3]), &info(), format, &path).unwrap();
        let error = export(&noisy(&[2]), &info(), format, &path).unwrap_err().to_string();
        assert!(error.contains("00003") && error.contains("earlier export"), "{name}: {error}");
    }
}

#[test]
fn frames_found_empty_are_cases_of_background_and_alone_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let (info, mut annotation) = (info(), annotation());
    let gray = |_| Ok(std::sync::Arc::new(GrayFrame::new(SIZE.0, SIZE.1, vec![9; 713]).unwrap()));
    for (name, files) in [("some", 3), ("none", 1)] {
        if name == "none" {
            annotation.tracks.retain(|_, track| track.info.label == "nerve");
            let nerve = annotation.tracks.get_mut(&TrackId(7)).unwrap();
            nerve.masks.retain(|_, held| held.mask.is_empty());
        }
        let folder = dir.path().join(name);
        let job = Job { frames: Some(&gray), ..Job::new(&annotation, &info) };
        sonomark::export::export(&job, ExportFormat::NnUnet, &folder).unwrap();
        for part in ["imagesTr", "labelsTr"] {
            assert_eq!(fs::read_dir(folder.join(part)).unwrap().count(), files, "{name} {part}");
        }
        let empty =
            folder.join("labelsTr").join(format!("{}_00004.png", info.content_hash.short()));
        assert!(image::open(&empty).unwrap().to_luma8().pixels().all(|p| p.0[0] == 0));
        let davis = dir.path().join(format!("davis {name}"));
        export(&annotation, &info, ExportFormat::Davis, &davis).unwrap();
    }
}

#[test]
fn label_volumes_lie_where_the_clip_lies() {
    let dir = tempfile::tempdir().unwrap();
    let placement = Placement {
        origin_mm: [-12.5, 30.25, 7.0],
        steps_mm: [[0.0, 0.5, 0.0], [0.25, 0.0, 0.0], [0.0, 0.0, -2.0]],
    };
    let clip = ClipInfo { placement: Some(placement), kind: ClipKind::Volume, ..info() };
    let annotation = noisy(&[0, 4]);
    for name in ["nifti", "nrrd", "seg.nrrd"] {
        let format = ExportFormat::named(name).unwrap();
        let path = target_of(dir.path(), name, format);
        export(&annotation, &clip, format, &path).unwrap();
        // Opened as a clip of its own, the volume lies in the same place.
        if name != "seg.nrrd" {
            let opened = open(&path, &OpenOptions::default()).unwrap().info().placement.unwrap();
            let difference = opened.steps_mm.iter().flatten().chain(&opened.origin_mm);
            let expected = placement.steps_mm.iter().flatten().chain(&placement.origin_mm);
            assert!(difference.zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{name}");
        }
        // Read for a clip that is stored the other way round, it still falls into place.
        let last = 9.0;
        let turned = Placement {
            origin_mm: [-12.5, 30.25, 7.0 - 2.0 * last],
            steps_mm: [placement.steps_mm[0], placement.steps_mm[1], [0.0, 0.0, 2.0]],
        };
        let other = ClipInfo { placement: Some(turned), ..clip.clone() };
        let found = read(&path, None, &of(&other)).unwrap();
        let frames: Vec<usize> = found.structures[0].masks.keys().copied().collect();
        assert_eq!(frames, [5, 9], "{name}");
    }
}

#[test]
fn files_of_another_clip_are_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let other = ClipInfo { width_px: 30, ..info() };
    let short = ClipInfo { frames: 2, ..info() };
    for (format, name) in formats() {
        let path = target_of(dir.path(), name, format);
        export(&noisy(&[2, 3]), &info(), format, &path).unwrap();
        for clip in [&other, &short] {
            // YOLO's shares of width know no size.
            if name == "yolo" && clip.width_px == 30 {
                continue;
            }
            match read(&path, None, &of(clip)) {
                Ok(found) => panic!("{name} is taken: {} structures", found.structures.len()),
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.contains("clip") || error.contains("fill"), "{name}: {error}");
                }
            }
        }
    }
}

#[test]
fn numbers_in_names_count_from_one_where_every_frame_has_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("masks");
    fs::create_dir(&folder).unwrap();
    let clip = ClipInfo { frames: 3, ..info() };
    let target = Target { info: &clip, frame_names: &[], origin: None, stop: None };
    let masks = |numbers: &[u32]| {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        for number in numbers {
            let gray = |x, _| image::Luma([u8::from(x < *number) * 3]);
            let image = image::GrayImage::from_fn(SIZE.0, SIZE.1, gray);
            image.save(folder.join(format!("{number:05}.png"))).unwrap();
        }
        let found = read(&folder, Some(ExportFormat::Davis), &target)?;
        let held = &found.structures[0].masks;
        let wide = |mask: &Mask| mask.area_px() as u32 / SIZE.1;
        let at: Vec<(usize, u32)> = held.iter().map(|(at, mask)| (*at, wide(mask))).collect();
        Ok::<_, sonomark::export::ReadError>((at, found.notes.join(" ")))
    };
    // As ffmpeg numbers them.
    let (at, notes) = masks(&[1, 2, 3]).unwrap();
    assert_eq!((at, notes.as_str()), (vec![(0, 1), (1, 2), (2, 3)], ""));
    // Nothing tells: a person is told.
    let (at, notes) = masks(&[1, 2]).unwrap();
    assert!(at == [(1, 1), (2, 2)] && notes.contains("one frame late"), "{at:?} {notes}");
    let why = masks(&[2, 3]).unwrap_err().to_string();
    assert!(why.contains("frame 3 (from 0) of a clip of 3 frames"), "{why}");
}

#[test]
fn structures_of_one_kind_without_numbers_stay_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    let boxed = |x: u32, image: u32| {
        serde_json::json!({ "id": x + image, "image_id": image, "category_id": 1, "iscrowd": 0,
            "segmentation": [[x, 2, x + 5, 2, x + 5, 8, x, 8]] })
    };
    let coco = |frames: u32| {
        let images: Vec<_> = (0..frames)
            .map(|i| {
                serde_json::json!({ "id": i, "file_name": format!("f{i}.png"),
                "width": SIZE.0, "height": SIZE.1 })
            })
            .collect();
        let annotations: Vec<_> = (0..frames).flat_map(|i| [boxed(2, i), boxed(12, i)]).collect();
        let categories = serde_json::json!([{ "id": 1, "name": "cyst" }]);
        let all = serde_json::json!({ "images": images, "annotations": annotations,
            "categories": categories });
        fs::write(&path, serde_json::to_vec(&all).unwrap()).unwrap();
        let clip = ClipInfo { frames: frames as usize, ..info() };
        read(&path, None, &of(&clip)).unwrap()
    };
    for (frames, told) in [(1, false), (3, true)] {
        let found = coco(frames);
        assert_eq!(found.structures.len(), 2, "{frames} frames");
        assert!(found.structures.iter().all(|s| s.masks.len() == frames as usize));
        assert_eq!(found.notes.join(" ").contains("no track_id"), told, "{:?}", found.notes);
    }
}

#[test]
fn frames_are_found_by_the_names_of_the_clip() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("video");
    fs::create_dir(&folder).unwrap();
    let image =
        image::GrayImage::from_fn(SIZE.0, SIZE.1, |x, _| image::Luma([u8::from(x > 20) * 3]));
    for name in ["00005", "00010"] {
        image.save(folder.join(format!("{name}.png"))).unwrap();
    }
    // YouTube-VOS: every fifth frame of the video.
    let names = ["00000", "00005", "00010"].map(str::to_owned);
    let clip = ClipInfo { frames: 3, ..info() };
    let found =
        read(&folder, None, &Target { info: &clip, frame_names: &names, origin: None, stop: None })
            .unwrap();
    let frames: Vec<usize> = found.structures[0].masks.keys().copied().collect();
    assert_eq!(
        (frames.as_slice(), found.structures[0].label.as_str()),
        (&[1, 2][..], "structure 3")
    );
}

/// Copies of `bytes` that are cut, or have bytes changed.
fn damaged(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(bytes.len() as u64);
    let mut copies: Vec<Vec<u8>> =
        (0..24).map(|i| bytes[..bytes.len() * i / 24].to_vec()).collect();
    for _ in 0..60 {
        let mut copy = bytes.to_vec();
        for _ in 0..random.usize(1..6) {
            // Headers stand at the beginning: half of the changes go there.
            let reach = if random.bool() { copy.len().min(600) } else { copy.len() };
            let at = random.usize(..reach);
            copy[at] = [random.u8(..), b'9', 0, 255][random.usize(..4)];
        }
        copies.push(copy);
    }
    copies
}

#[test]
fn damaged_files_are_refused_or_read_and_never_more() {
    let dir = tempfile::tempdir().unwrap();
    for (format, name) in formats() {
        let path = target_of(dir.path(), name, format);
        let report = export(&noisy(&[2, 3]), &info(), format, &path).unwrap();
        for file in &report.files {
            let whole = fs::read(file).unwrap();
            for copy in damaged(&whole) {
                fs::write(file, &copy).unwrap();
                // Whatever it is taken for, it ends with content or with a sentence.
                let target = Target { info: &info(), frame_names: &[], origin: None, stop: None };
                if let Err(error) = read(&path, Some(format), &target) {
                    let error = error.to_string();
                    assert!(error.len() > 20 && !error.contains('\u{1b}'), "{name}: {error}");
                }
                let _ = open(file, &OpenOptions::default());
            }
            fs::write(file, &whole).unwrap();
        }
    }
}

fn imported(path: &Path) -> sonomark::export::Content {
    read(path, None, &of(&info())).unwrap()
}

#[test]
fn outlines_of_cvat_move_between_their_keyframes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.xml");
    let outline = |frame: usize, outside: u8, points: &str| {
        format!(
            "<polygon frame=\"{frame}\" keyframe=\"1\" outside=\"{outside}\" points=\"{points}\"/>"
        )
    };
    let track = [
        outline(1, 0, "2,2;10,2;10,10;2,10"),
        outline(5, 0, "10,2;18,2;18,10;10,10"),
        outline(8, 0, "10,2;18,2;18,10"),
        outline(9, 1, "10,2;18,2;18,10"),
    ];
    let text = format!(
        "<annotations><track id=\"0\" label=\"a\">{}</track></annotations>",
        track.concat()
    );
    fs::write(&path, text).unwrap();
    let content = imported(&path);
    let masks = &content.structures[0].masks;
    assert_eq!(masks.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 8]);
    for (frame, left) in [(1, 2), (2, 4), (3, 6), (4, 8), (5, 10)] {
        let there = |x, y| (left..left + 8).contains(&x) && (2..10).contains(&y);
        assert_eq!(masks[&frame], Bitmap::from_fn(SIZE.0, SIZE.1, there).to_mask(), "{frame}");
    }
    let note = &content.notes[..];
    assert!(matches!(note, [one] if one.starts_with("2 frames between keyframes")), "{note:?}");
}

#[test]
fn attributes_of_cvat_stay_until_the_next_keyframe() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.xml");
    let key = |frame: usize, side: &str| {
        format!(
            "<box frame=\"{frame}\" keyframe=\"1\" outside=\"0\" xtl=\"2\" ytl=\"2\" xbr=\"9\" \
             ybr=\"9\"><attribute name=\"side\">{side}</attribute></box>"
        )
    };
    let track = [key(0, "left"), key(4, "right"), key(6, "")].concat();
    let text = format!("<annotations><track id=\"0\" label=\"a\">{track}</track></annotations>");
    fs::write(&path, text).unwrap();
    let structures = imported(&path).structures;
    let structure = &structures[0];
    assert_eq!(structure.masks.len(), 7);
    let side = |frame: usize| Some(structure.said.get(&frame)?.get("side")?.as_str());
    let sides: Vec<Option<&str>> = (0..7).map(side).collect();
    let (left, right) = (Some("left"), Some("right"));
    assert_eq!(sides, [left, left, left, left, right, right, None]);
}

/// One nerve on two frames and a vein on another.
fn coded() -> Annotation {
    let mut annotation = Annotation::default();
    let mut nerve = Track::new("nerve", 0);
    nerve.masks = [(2, held(disc(5.0))), (3, held(disc(7.0)))].into();
    let mut vein = Track::new("vein", 1);
    vein.masks.insert(6, held(disc(3.0)));
    annotation.tracks.insert(TrackId(1), nerve);
    annotation.tracks.insert(TrackId(2), vein);
    annotation
}

#[test]
fn attributes_called_like_measures_come_back_from_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    let mut annotation = coded();
    let nerve = annotation.tracks.get_mut(&TrackId(1)).unwrap();
    nerve.attributes.insert("score".into(), "3".into());
    nerve.attributes.insert("side".into(), "left".into());
    let attributes = nerve.attributes.clone();
    export(&annotation, &info(), ExportFormat::Csv, &path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches("\"attribute:score\"").count(), 1, "{text}");
    // Also from a table of the time when both columns had one name.
    for text in [text.clone(), text.replace("attribute:score", "score")] {
        fs::write(&path, text).unwrap();
        let structures = imported(&path).structures;
        assert!(matches!(&structures[..], [one] if one.label == "nerve"), "{structures:?}");
        assert_eq!(structures[0].said, [(2, attributes.clone()), (3, attributes.clone())].into());
    }
}

#[test]
fn maps_of_labels_are_read_like_other_segmentations() {
    use dicom_core::{DataElement, PrimitiveValue, VR};
    use dicom_dictionary_std::tags;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.dcm");
    export(&coded(), &info(), ExportFormat::DicomSeg, &path).unwrap();
    let count = (SIZE.0 * SIZE.1) as usize;
    for wide in [false, true] {
        let mut object = dicom_object::open_file(&path).unwrap();
        let bits = object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().into_owned();
        // The frames of the nerve come first; one more pixel of the vein is in the first.
        let number = |at: usize| match (at, bits[at / 8] >> (at % 8) & 1) {
            (5, _) => 2,
            (_, 0) => 0,
            _ => {
                if at < 2 * count {
                    1
                } else {
                    2
                }
            }
        };
        let numbers: Vec<u16> = (0..3 * count).map(number).collect();
        let mut bytes: Vec<u8> = match wide {
            true => numbers.iter().flat_map(|n| n.to_le_bytes()).collect(),
            false => numbers.iter().map(|n| *n as u8).collect(),
        };
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        let depth = if wide { 16u16 } else { 8 };
        let mut put = |tag, vr, value: PrimitiveValue| {
            object.put(DataElement::new(tag, vr, value));
        };
        put(tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.66.7".into());
        put(tags::SEGMENTATION_TYPE, VR::CS, "LABELMAP".into());
        put(tags::BITS_ALLOCATED, VR::US, depth.into());
        put(tags::BITS_STORED, VR::US, depth.into());
        put(tags::HIGH_BIT, VR::US, (depth - 1).into());
        put(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(bytes.into()));
        let map = folder.path().join("map.dcm");
        object.write_to_file(&map).unwrap();
        let found = imported(&map).structures;
        let labels: Vec<&str> = found.iter().map(|each| each.label.as_str()).collect();
        assert_eq!(labels, ["nerve", "vein"]);
        assert_eq!(found[0].masks, [(2, disc(5.0)), (3, disc(7.0))].into());
        let one = Bitmap::from_fn(SIZE.0, SIZE.1, |x, y| (x, y) == (5, 0)).to_mask();
        assert_eq!(found[1].masks, [(2, one), (6, disc(3.0))].into());
    }
}

#[test]
fn segments_have_the_codes_of_their_labels() {
    use dicom_dictionary_std::tags;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (annotation, info) = (coded(), info());
    let [scheme, value, meaning] = ["SCT", "29092000", "Vein"].map(str::to_owned);
    let codes = [("vein".to_owned(), sonomark::domain::Code { scheme, value, meaning })].into();
    let job = Job { codes, ..Job::new(&annotation, &info) };
    for (format, name) in [(ExportFormat::SegNrrd, "a.seg.nrrd"), (ExportFormat::DicomSeg, "a.dcm")]
    {
        sonomark::export::export(&job, format, &at(name)).unwrap();
    }
    let text = String::from_utf8_lossy(&fs::read(at("a.seg.nrrd")).unwrap()).into_owned();
    let tags_of = |i: usize| {
        let key = format!("Segment{i}_Tags:=");
        text.lines().find_map(|line| line.strip_prefix(&key)).unwrap().to_owned()
    };
    assert!(tags_of(0).contains("~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~"), "{}", tags_of(0));
    assert!(tags_of(1).contains("~SCT^85756007^Tissue~SCT^29092000^Vein~^^~"), "{}", tags_of(1));
    let object = dicom_object::open_file(at("a.dcm")).unwrap();
    let segments = object.element(tags::SEGMENT_SEQUENCE).unwrap().items().unwrap();
    let types = segments.iter().map(|segment| {
        let kind = segment.element(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE).unwrap();
        kind.items().unwrap()[0].element(tags::CODE_VALUE).unwrap().to_str().unwrap().into_owned()
    });
    assert_eq!(types.collect::<Vec<_>>(), ["85756007", "29092000"]);
}
