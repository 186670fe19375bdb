//! labelme: `00003.json` for every frame that has a mask.
//!
//! Masks are shapes of the kind "mask" (labelme 5.3 and later): a box and a PNG of its pixels, so
//! holes and single pixels are kept. `group_id` tells tracks of one label apart. With the clip at
//! hand the frames are written beside, where `imagePath` points.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::atomic::ensure_folder;
use super::content::{Content, Gather, joined_told};
use super::frames::Frames;
use super::identity::clip_in;
use super::raster::{Rule, ellipse, fill};
use super::read::{ReadError, Target, holds_no_shapes, list_ending, stem};
use super::{ExportError, Job, Report, indexed, overlay, rle};
use crate::codec;
use crate::domain::{Bitmap, FrameIndex, Mask, shown};

pub(super) fn write(job: &Job, folder: &Path) -> Result<Report, ExportError> {
    ensure_folder(folder)?;
    let mut report = Report::default();
    let mut shapes: BTreeMap<FrameIndex, Vec<Value>> = BTreeMap::new();
    for (group, track) in (1u64..).zip(job.annotation.tracks.values()) {
        for (&frame, held) in &track.masks {
            job.go_on(folder)?;
            let shapes = shapes.entry(frame).or_default();
            if let Some(shape) = shape(&held.mask, &track.info.label, group, folder)? {
                shapes.push(shape);
                report.masks += 1;
            }
        }
    }
    for (frame, shapes) in shapes {
        let path = folder.join(format!("{frame:05}.json"));
        job.go_on(&path)?;
        let value = json!({
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": format!("{frame:05}.png"),
            "imageData": null,
            "imageHeight": job.info.height_px,
            "imageWidth": job.info.width_px,
            "sonomark": job.about(),
        });
        let bytes = serde_json::to_vec_pretty(&value).map_err(|e| ExportError::encode(&path, e))?;
        job.put(&mut report, &path, &bytes)?;
        overlay::put_frame(job, &mut report, folder, frame)?;
    }
    Ok(report)
}

/// `None` for an empty mask, which labelme has not.
fn shape(
    mask: &Mask,
    label: &str,
    group: u64,
    folder: &Path,
) -> Result<Option<Value>, ExportError> {
    let Some(([left, top, width, height], runs)) = rle::of_box(&mask.to_bitmap()) else {
        return Ok(None);
    };
    let cut = Mask::from_runs(width, height, runs).map_err(|e| ExportError::encode(folder, e))?;
    let pixels: Vec<u16> = cut.to_bitmap().pixels.iter().map(|&p| u16::from(p)).collect();
    let png = indexed::encode_gray(folder, (width, height), &pixels)?;
    Ok(Some(json!({
        "label": label,
        "points": [[left, top], [left + width - 1, top + height - 1]],
        "group_id": group,
        "description": "",
        "shape_type": "mask",
        "flags": {},
        "mask": STANDARD.encode(png),
    })))
}

#[derive(Deserialize)]
struct File {
    shapes: Vec<Shape>,
    #[serde(rename = "imageHeight")]
    height: Option<u32>,
    #[serde(rename = "imageWidth")]
    width: Option<u32>,
    sonomark: Option<String>,
}

#[derive(Deserialize)]
struct Shape {
    label: String,
    points: Vec<[f64; 2]>,
    group_id: Option<u64>,
    #[serde(default)]
    shape_type: Option<String>,
    mask: Option<String>,
}

/// Reads one file or a folder of them: masks, polygons, rectangles and circles. Of a folder, JSON of other programs is left
/// out.
pub(super) fn read(path: &Path, target: &Target) -> Result<Content, ReadError> {
    let listed = if path.is_dir() { list_ending(path, "json")? } else { vec![path.to_owned()] };
    let is_foreign = |file: &PathBuf| path.is_dir() && holds_no_shapes(file);
    let (foreign, files): (Vec<PathBuf>, Vec<PathBuf>) = listed.into_iter().partition(is_foreign);
    if let ([], [first, ..]) = (&files[..], &foreign[..]) {
        return Err(ReadError::malformed(first, "it holds no shapes of labelme"));
    }
    let stems: Vec<String> = files.iter().map(|file| stem(file)).collect();
    let info = target.info;
    let (ours, others) = (Frames::of(target, &stems, true), Frames::of(target, &stems, false));
    let (mut gather, mut left_out, mut notes) = (Gather::default(), 0, Vec::new());
    let mut joined = 0;
    let mut clips = BTreeSet::new();
    for (file_path, stem) in files.iter().zip(&stems) {
        let bytes = codec::read_file(file_path)?;
        let file: File =
            serde_json::from_slice(&bytes).map_err(|e| ReadError::malformed(file_path, e))?;
        let frames = if file.sonomark.is_some() { &ours } else { &others };
        frames.check_still(file_path, files.len())?;
        notes = frames.notes();
        let Some(frame) = frames.index(file_path, stem)? else { continue };
        clips.extend(file.sonomark.as_deref().and_then(clip_in));
        let (width, height) = (info.width_px, info.height_px);
        if file.width.is_some_and(|w| w != width) || file.height.is_some_and(|h| h != height) {
            let cause = format!("its image is not {width} x {height} pixels");
            return Err(ReadError::other_clip(file_path, cause));
        }
        for shape in file.shapes {
            target.go_on(file_path)?;
            let mut bitmap = Bitmap::empty(width, height);
            if put(file_path, &shape, &mut bitmap)? {
                let group = shape.group_id.unwrap_or(0);
                let held = gather.put(&shape.label, group, frame, &bitmap);
                joined += usize::from(held && shape.group_id.is_none());
            } else {
                left_out += 1;
            }
        }
    }
    let note = format!(
        "{left_out} shapes that are no masks, polygons, rectangles or circles were left out"
    );
    notes.extend((left_out > 0).then_some(note));
    notes.extend(joined_told(joined));
    notes.extend(left_out_told(&foreign));
    gather.content(notes).exported_from(path, clips, target)
}

/// Which files of a folder are none of labelme.
fn left_out_told(foreign: &[PathBuf]) -> Option<String> {
    let name = shown(&foreign.first()?.file_name()?.to_string_lossy());
    Some(match foreign.len() {
        1 => format!("{name} holds no shapes of labelme and was left out"),
        count => format!("{count} files that hold no shapes of labelme were left out, as {name}"),
    })
}

/// Adds the pixels of a shape; false for kinds that have no inside.
fn put(path: &Path, shape: &Shape, bitmap: &mut Bitmap) -> Result<bool, ReadError> {
    match (shape.shape_type.as_deref().unwrap_or("polygon"), &shape.points[..]) {
        ("polygon", points) => fill(bitmap, points, Rule::Centres),
        ("rectangle", &[[x0, y0], [x1, y1]]) => {
            fill(bitmap, &[[x0, y0], [x1, y0], [x1, y1], [x0, y1]], Rule::Centres);
        }
        // As X-AnyLabeling writes rectangles, turned or not, and labelme the turned ones.
        ("rectangle" | "rotation" | "oriented_rectangle", corners) if corners.len() > 2 => {
            fill(bitmap, corners, Rule::Centres);
        }
        ("circle", &[[x, y], [u, v]]) => {
            let radius = (u - x).hypot(v - y);
            fill(bitmap, &ellipse([x, y], [radius; 2]), Rule::Centres);
        }
        ("mask", &[[x0, y0], [x1, y1]]) => put_mask(path, shape, [x0, y0, x1, y1], bitmap)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn put_mask(
    path: &Path,
    shape: &Shape,
    [x0, y0, x1, y1]: [f64; 4],
    bitmap: &mut Bitmap,
) -> Result<(), ReadError> {
    let inside = x0 >= 0.0
        && y0 >= 0.0
        && x1 >= x0
        && y1 >= y0
        && x1 < f64::from(bitmap.width_px)
        && y1 < f64::from(bitmap.height_px);
    if !inside {
        return Err(ReadError::malformed(path, "a mask lies outside its image"));
    }
    let [left, top, right, low] = [x0, y0, x1, y1].map(|v| v as u32);
    let size = (right - left + 1, low - top + 1);
    let png = STANDARD.decode(shape.mask.as_deref().unwrap_or_default());
    let png = png.map_err(|e| ReadError::malformed(path, format!("a mask is no base64: {e}")))?;
    let image = indexed::decode_bytes(path, &png, size)?;
    for (i, _) in image.numbers.iter().enumerate().filter(|(_, n)| **n != 0) {
        let (x, y) = (i as u32 % size.0 + left, i as u32 / size.0 + top);
        bitmap.pixels[y as usize * bitmap.width_px as usize + x as usize] = true;
    }
    Ok(())
}
