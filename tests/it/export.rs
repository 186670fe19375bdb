//! What is exported reads back as what was annotated.

use std::fs;
use std::path::Path;

use sonomark::codec::{OpenOptions, open};
use sonomark::domain::{
    Annotation, Bitmap, ClipInfo, ClipKind, ContentHash, FrameMask, GrayFrame, Mask, MaskSource,
    Track, TrackId, Window,
};
use sonomark::export::{
    ExportFormat, RgbImage, contact_sheet, draw_mask, export, png_bytes, write_atomic,
};

const SIZE: (u32, u32) = (31, 23);

fn info() -> ClipInfo {
    ClipInfo {
        content_hash: ContentHash("ab".repeat(32)),
        name: "clip".into(),
        kind: ClipKind::Cine,
        width_px: SIZE.0,
        height_px: SIZE.1,
        frames: 10,
        pixel_spacing_mm: Some([0.2, 0.2]),
        frame_time_ms: None,
        format: "test".into(),
    }
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
