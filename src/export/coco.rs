//! Masks as COCO: one JSON file with images, annotations and categories.
//!
//! * `images`: one entry per frame that has a mask, `id` = frame index + 1, `file_name` = the
//!   start of the clip's content hash as a folder, and in it the file that `frames` writes:
//!   `0123456789ab/00007.png`, frames from 0. Clips put together stay apart so.
//! * `annotations`: one per track and frame with a non-empty mask; `segmentation` is COCO's
//!   uncompressed run-length code, column by column, background first; or polygons along the edges
//!   of pixels, with holes joined to their outline. `iscrowd` is 0 in both, as for every single
//!   object: readers leave out crowds. `bbox` is x, y, width, height; `track_id` tells tracks
//!   apart.
//!   COCO has no empty annotation: a frame whose mask is empty has an image entry and no more.
//!   `attributes`, as CVAT writes them, hold what is said of the structure and of the frame.
//! * `categories`: one per label, `id` from 1 in the order of labels.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::atomic::write_atomic;
use super::content::{Content, Gather};
use super::frames::Frames;
use super::identity::is_hash;
use super::raster::{Rule, fill};
use super::read::{ReadError, Target, check_length, stem};
use super::{ExportError, Job, Report, rle, trace};
use crate::codec;
use crate::domain::{Attributes, Bitmap, FrameIndex, MaskSource, counted};

#[derive(Serialize)]
struct Coco {
    info: Info,
    images: Vec<Image>,
    annotations: Vec<Object>,
    categories: Vec<Category>,
}

#[derive(Serialize)]
struct Info {
    description: String,
    clip_sha256: String,
    frames: usize,
    pixel_spacing_mm: Option<[f64; 2]>,
    journal_position: Option<u64>,
}

#[derive(Serialize)]
struct Image {
    id: usize,
    file_name: String,
    width: u32,
    height: u32,
    frame: usize,
}

#[derive(Serialize)]
struct Object {
    id: usize,
    image_id: usize,
    category_id: usize,
    track_id: u64,
    iscrowd: u8,
    area: u64,
    bbox: [u32; 4],
    segmentation: Shape,
    source: MaskSource,
    #[serde(skip_serializing_if = "Attributes::is_empty")]
    attributes: Attributes,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Shape {
    /// Uncompressed run-length code: size is [height, width], runs go down the columns.
    Runs {
        size: [u32; 2],
        counts: Vec<u32>,
    },
    Polygons(Vec<Vec<i32>>),
}

impl Shape {
    /// How many numbers it is written with, at least.
    fn numbers(&self) -> usize {
        match self {
            Self::Runs { counts, .. } => counts.len(),
            Self::Polygons(polygons) => polygons.iter().map(Vec::len).sum(),
        }
    }
}

#[derive(Serialize)]
struct Category {
    id: usize,
    name: String,
    supercategory: String,
}

/// Writes masks as runs.
pub(super) fn write(job: &Job, path: &Path) -> Result<Report, ExportError> {
    put(job, path, false)
}

/// Writes masks as polygons.
pub(super) fn write_polygons(job: &Job, path: &Path) -> Result<Report, ExportError> {
    put(job, path, true)
}

fn put(job: &Job, path: &Path, polygons: bool) -> Result<Report, ExportError> {
    let coco = gather(job, path, polygons)?;
    let bytes = serde_json::to_vec(&coco).map_err(|e| ExportError::encode(path, e))?;
    check_length(path, bytes.len())?;
    write_atomic(path, &bytes)?;
    let masks = job.annotation.tracks.values().map(|track| track.masks.len()).sum();
    Ok(Report { files: vec![path.to_owned()], masks, ..Report::default() })
}

fn gather(job: &Job, path: &Path, polygons: bool) -> Result<Coco, ExportError> {
    let (tracks, info) = (&job.annotation.tracks, job.info);
    let labels: BTreeSet<&str> = tracks.values().map(|t| t.info.label.as_str()).collect();
    let category: BTreeMap<&str, usize> = labels.into_iter().zip(1..).collect();
    let frames: BTreeSet<usize> = tracks.values().flat_map(|t| t.masks.keys().copied()).collect();
    let clip = info.content_hash.short();
    let image = |&frame: &usize| Image {
        id: frame + 1,
        file_name: format!("{clip}/{frame:05}.png"),
        width: info.width_px,
        height: info.height_px,
        frame,
    };
    let (mut annotations, mut least_bytes) = (Vec::new(), 0);
    for (id, track) in tracks {
        for (&frame, held) in track.masks.iter().filter(|(_, held)| !held.mask.is_empty()) {
            job.go_on(path)?;
            let bitmap = held.mask.to_bitmap();
            let segmentation = if polygons { outlines(&bitmap) } else { runs(&bitmap) };
            // Before it takes memory: a digit and a comma for every number.
            least_bytes += 2 * segmentation.numbers();
            check_length(path, least_bytes)?;
            annotations.push(Object {
                id: annotations.len() + 1,
                image_id: frame + 1,
                category_id: category[track.info.label.as_str()],
                track_id: id.0,
                iscrowd: 0,
                area: held.mask.area_px(),
                bbox: bbox(&bitmap),
                segmentation,
                source: held.source,
                attributes: track.attributes_on(frame),
            });
        }
    }
    let named = |(name, id): (&str, usize)| Category {
        id,
        name: name.to_owned(),
        supercategory: "structure".to_owned(),
    };
    Ok(Coco {
        info: Info {
            description: "exported by sonomark".to_owned(),
            clip_sha256: info.content_hash.to_string(),
            frames: info.frames,
            pixel_spacing_mm: info.pixel_spacing_mm,
            journal_position: job.position,
        },
        images: frames.iter().map(image).collect(),
        annotations,
        categories: category.into_iter().map(named).collect(),
    })
}

/// x, y, width, height of the smallest box; zeros when the mask is empty.
fn bbox(bitmap: &Bitmap) -> [u32; 4] {
    let corners = bitmap.bounds().map(|b| [b.min.x, b.min.y, b.max.x, b.max.y].map(|v| v as u32));
    corners.map_or([0; 4], |[x0, y0, x1, y1]| [x0, y0, x1 - x0, y1 - y0])
}

fn runs(bitmap: &Bitmap) -> Shape {
    Shape::Runs { size: [bitmap.height_px, bitmap.width_px], counts: rle::by_columns(bitmap) }
}

fn outlines(bitmap: &Bitmap) -> Shape {
    let flat = |polygon: Vec<(i32, i32)>| polygon.into_iter().flat_map(|(x, y)| [x, y]).collect();
    Shape::Polygons(trace::cracks(bitmap).into_iter().map(flat).collect())
}

/// The attribute in which CVAT tells tracks apart.
const TRACK_ID: &str = "track_id";

#[derive(Deserialize)]
struct ReadCoco {
    #[serde(default)]
    info: Value,
    images: Vec<ReadImage>,
    annotations: Vec<ReadObject>,
    #[serde(default)]
    categories: Vec<ReadCategory>,
}

#[derive(Deserialize)]
struct ReadImage {
    id: u64,
    #[serde(default)]
    file_name: String,
    width: Option<u32>,
    height: Option<u32>,
    frame: Option<usize>,
}

#[derive(Deserialize)]
struct ReadObject {
    image_id: u64,
    category_id: u64,
    track_id: Option<u64>,
    #[serde(default)]
    segmentation: ReadShape,
    #[serde(default)]
    attributes: BTreeMap<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(untagged)]
enum ReadShape {
    Runs {
        size: [u32; 2],
        counts: Vec<u32>,
    },
    Compressed {
        size: [u32; 2],
        counts: String,
    },
    Polygons(Vec<Vec<f64>>),
    #[default]
    None,
}

#[derive(Deserialize)]
struct ReadCategory {
    id: u64,
    name: String,
}

/// Reads runs (compressed or not) and polygons of the images that are frames of the clip.
pub(super) fn read(path: &Path, target: &Target) -> Result<Content, ReadError> {
    let bytes = codec::read_file(path)?;
    let coco: ReadCoco =
        serde_json::from_slice(&bytes).map_err(|e| ReadError::malformed(path, e))?;
    // It may be a gigabyte, and what was made of it is given up one by one below: masks take memory as well.
    drop(bytes);
    let (frames, late) = frames(path, &coco, target)?;
    let clip = clip_of(&coco);
    let names: BTreeMap<u64, &str> =
        coco.categories.iter().map(|c| (c.id, c.name.as_str())).collect();
    let info = target.info;
    let (mut gather, mut elsewhere, mut without) = (Gather::default(), 0, 0);
    let (mut of_a_kind, mut unnumbered) = (BTreeMap::new(), false);
    let mut unread = BTreeSet::new();
    for object in coco.annotations {
        target.go_on(path)?;
        let Some(&frame) = frames.get(&object.image_id) else {
            elsewhere += 1;
            continue;
        };
        let bitmap = match object.segmentation {
            ReadShape::Runs { size, counts } => from_runs(target, size, Some(counts)),
            ReadShape::Compressed { size, counts } => {
                from_runs(target, size, rle::decompressed(&counts))
            }
            ReadShape::Polygons(polygons) if !polygons.is_empty() => {
                let mut bitmap = Bitmap::empty(info.width_px, info.height_px);
                for flat in polygons {
                    let points: Vec<[f64; 2]> =
                        flat.chunks_exact(2).map(|p| [p[0], p[1]]).collect();
                    fill(&mut bitmap, &points, Rule::Centres);
                }
                Some(bitmap)
            }
            ReadShape::Polygons(_) | ReadShape::None => {
                without += 1;
                continue;
            }
        };
        let Some(bitmap) = bitmap else {
            let cause = format!("the runs of a mask do not fill image {}", object.image_id);
            return Err(ReadError::malformed(path, cause));
        };
        let number = object.category_id;
        let label =
            names.get(&number).map_or_else(|| format!("category {number}"), |n| (*n).into());
        // Without numbers, those of one kind on a frame are told apart by their order in the file.
        let track_id = object.track_id.or_else(|| {
            // As CVAT writes it.
            object.attributes.get(TRACK_ID).and_then(Value::as_u64)
        });
        let track = track_id.unwrap_or_else(|| {
            let before = of_a_kind.entry((frame, number)).or_insert(0u64);
            *before += 1;
            *before - 1
        });
        unnumbered |= track_id.is_none() && track > 0;
        gather.put(&label, track, frame, &bitmap);
        let known = |name: &str, value: &Value| name == TRACK_ID && value.is_u64();
        let said = object.attributes.iter().filter(|(name, value)| !known(name, value));
        let said = said.filter_map(|(name, value)| match value {
            Value::String(text) => Some((name.clone(), text.clone())),
            Value::Number(_) | Value::Bool(_) => Some((name.clone(), value.to_string())),
            Value::Null => None,
            Value::Array(_) | Value::Object(_) => {
                unread.insert(name.clone());
                None
            }
        });
        gather.say(&label, track, frame, said);
    }
    let mut notes: Vec<String> = unread
        .into_iter()
        .map(|name| format!("attribute \"{name}\" holds no text or number and was left out"))
        .collect();
    notes.extend(late);
    if unnumbered && info.frames > 1 {
        notes.push(
            "structures of one kind have no track_id and are followed by their order on each frame"
                .to_owned(),
        );
    }
    if elsewhere > 0 {
        notes.push(format!("{} of other images left out", counted(elsewhere, "annotation")));
    }
    if without > 0 {
        notes.push(format!("boxes without outline left out: {without}"));
    }
    gather.content(notes).exported_from(path, clip, target)
}

/// The content hash of the clip that this program exported it from.
fn clip_of(coco: &ReadCoco) -> Option<String> {
    let hash = coco.info.get("clip_sha256").and_then(Value::as_str);
    hash.filter(|hash| is_hash(hash)).map(str::to_owned)
}

fn from_runs(target: &Target, [height, width]: [u32; 2], runs: Option<Vec<u32>>) -> Option<Bitmap> {
    let info = target.info;
    if (width, height) != (info.width_px, info.height_px) {
        return None;
    }
    rle::from_columns(width, height, runs?)
}

/// Which frame every image is, and whether they may be late: by its number in our files; else the
/// image of the clip's name, or those named like its frames, or by the numbers in their names.
fn frames(
    path: &Path,
    coco: &ReadCoco,
    target: &Target,
) -> Result<(BTreeMap<u64, FrameIndex>, Vec<String>), ReadError> {
    let info = target.info;
    let ours = coco.info.get("clip_sha256").is_some();
    let name = |image: &ReadImage| {
        let last = image.file_name.rsplit(['/', '\\']).next().unwrap_or_default();
        last.to_owned()
    };
    let stems: Vec<String> =
        coco.images.iter().map(|image| stem(Path::new(&name(image)))).collect();
    let by_stem = Frames::of(target, &stems, ours);
    let of_clip = |image: &ReadImage| name(image) == info.name;
    // A data set of many images: those that are no frames of the clip are none of ours.
    let foreign = coco.images.len() > info.frames && !by_stem.are_named();
    let (mut found, mut notes) = (BTreeMap::new(), Vec::new());
    for (image, stem) in coco.images.iter().zip(&stems) {
        let frame = match image.frame.filter(|_| ours) {
            Some(frame) if frame < info.frames => frame,
            Some(frame) => {
                let cause = format!(
                    "frame {frame} (from 0) of a clip of {}",
                    counted(info.frames, "frame")
                );
                return Err(ReadError::other_clip(path, cause));
            }
            None if of_clip(image) && info.frames == 1 => 0,
            None if foreign => continue,
            None => {
                let Some(frame) = by_stem.index(path, stem)? else { continue };
                if !by_stem.are_named() {
                    notes = by_stem.notes();
                }
                frame
            }
        };
        let size = (image.width.unwrap_or(info.width_px), image.height.unwrap_or(info.height_px));
        if size != (info.width_px, info.height_px) {
            let cause = format!("an image is {} x {} pixels", size.0, size.1);
            return Err(ReadError::other_clip(path, cause));
        }
        found.insert(image.id, frame);
    }
    if found.is_empty() && !coco.images.is_empty() {
        return Err(ReadError::other_clip(path, "none of its images is a frame of the clip"));
    }
    Ok((found, notes))
}
