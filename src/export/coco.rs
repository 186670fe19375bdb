//! Masks as COCO: one JSON file with images, annotations and categories.
//!
//! * `images`: one entry per frame that has a mask, `id` = frame index + 1, `file_name` = the
//!   clip's name, `#` and the frame from 0 with five digits.
//! * `annotations`: one per track and frame with a non-empty mask; `segmentation` is COCO's
//!   uncompressed run-length code, column by column, background first; `bbox` is x, y, width,
//!   height; `iscrowd` is 1, COCO's mark of run-length masks; `track_id` tells tracks apart.
//!   COCO has no empty annotation: a frame whose mask is empty has an image entry and no more.
//! * `categories`: one per label, `id` from 1 in the order of labels.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::atomic::write_atomic;
use super::{ExportError, Report};
use crate::domain::{Annotation, Bitmap, ClipInfo, Mask, MaskSource, shown};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Coco {
    info: Info,
    images: Vec<Image>,
    annotations: Vec<Object>,
    categories: Vec<Category>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Info {
    description: String,
    clip_sha256: String,
    frames: usize,
    pixel_spacing_mm: Option<[f64; 2]>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Image {
    id: usize,
    file_name: String,
    width: u32,
    height: u32,
    frame: usize,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Object {
    id: usize,
    image_id: usize,
    category_id: usize,
    track_id: u64,
    iscrowd: u8,
    area: u64,
    bbox: [u32; 4],
    segmentation: Runs,
    source: MaskSource,
}

/// Uncompressed run-length code: size is [height, width], runs go down the columns.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Runs {
    size: [u32; 2],
    counts: Vec<u32>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Category {
    id: usize,
    name: String,
    supercategory: String,
}

pub(super) fn write(
    annotation: &Annotation,
    info: &ClipInfo,
    path: &Path,
) -> Result<Report, ExportError> {
    let coco = gather(annotation, info);
    let name = || shown(&path.to_string_lossy());
    let bytes = serde_json::to_vec(&coco)
        .map_err(|e| ExportError::Encode { name: name(), cause: e.to_string() })?;
    write_atomic(path, &bytes)?;
    // The bytes are on disk as they were; now that they say what the annotation says.
    let read: Option<Coco> = serde_json::from_slice(&bytes).ok();
    let complete = read.is_some_and(|read| read == coco && says_the_same(&read, annotation));
    if !complete {
        return Err(ExportError::Differs { name: name() });
    }
    let masks = annotation.tracks.values().map(|track| track.masks.len()).sum();
    Ok(Report { files: vec![path.to_owned()], masks, ..Report::default() })
}

fn gather(annotation: &Annotation, info: &ClipInfo) -> Coco {
    let tracks = &annotation.tracks;
    let labels: BTreeSet<&str> = tracks.values().map(|t| t.info.label.as_str()).collect();
    let category: BTreeMap<&str, usize> = labels.into_iter().zip(1..).collect();
    let frames: BTreeSet<usize> = tracks.values().flat_map(|t| t.masks.keys().copied()).collect();
    let image = |&frame: &usize| Image {
        id: frame + 1,
        file_name: format!("{}#{frame:05}", info.name),
        width: info.width_px,
        height: info.height_px,
        frame,
    };
    let mut annotations = Vec::new();
    for (id, track) in tracks {
        for (&frame, held) in track.masks.iter().filter(|(_, held)| !held.mask.is_empty()) {
            let bitmap = held.mask.to_bitmap();
            annotations.push(Object {
                id: annotations.len() + 1,
                image_id: frame + 1,
                category_id: category[track.info.label.as_str()],
                track_id: id.0,
                iscrowd: 1,
                area: held.mask.area_px(),
                bbox: bbox(&bitmap),
                segmentation: Runs::of(&bitmap),
                source: held.source,
            });
        }
    }
    let named = |(name, id): (&str, usize)| Category {
        id,
        name: name.to_owned(),
        supercategory: "structure".to_owned(),
    };
    Coco {
        info: Info {
            description: "exported by sonomark".to_owned(),
            clip_sha256: info.content_hash.to_string(),
            frames: info.frames,
            pixel_spacing_mm: info.pixel_spacing_mm,
        },
        images: frames.iter().map(image).collect(),
        annotations,
        categories: category.into_iter().map(named).collect(),
    }
}

/// x, y, width, height of the smallest box; zeros when the mask is empty.
fn bbox(bitmap: &Bitmap) -> [u32; 4] {
    let corners = bitmap.bounds().map(|b| [b.min.x, b.min.y, b.max.x, b.max.y].map(|v| v as u32));
    corners.map_or([0; 4], |[x0, y0, x1, y1]| [x0, y0, x1 - x0, y1 - y0])
}

impl Runs {
    fn of(bitmap: &Bitmap) -> Self {
        let columns = Bitmap::from_fn(bitmap.height_px, bitmap.width_px, |y, x| {
            bitmap.pixels[y as usize * bitmap.width_px as usize + x as usize]
        });
        // The bitmap on its side: its rows are the columns of the image.
        let counts = columns.to_mask().runs().to_vec();
        Self { size: [bitmap.height_px, bitmap.width_px], counts }
    }

    /// The mask, or `None` when the runs do not fill it.
    fn mask(&self) -> Option<Mask> {
        let [height, width] = self.size;
        let columns = Mask::from_runs(height, width, self.counts.clone()).ok()?.to_bitmap();
        let upright = |x: u32, y: u32| columns.pixels[x as usize * height as usize + y as usize];
        Some(Bitmap::from_fn(width, height, upright).to_mask())
    }
}

/// Every non-empty mask of the annotation, and no other, is in the file pixel by pixel.
fn says_the_same(coco: &Coco, annotation: &Annotation) -> bool {
    let masks = annotation.tracks.iter().flat_map(|(id, track)| {
        let held = track.masks.iter().filter(|(_, held)| !held.mask.is_empty());
        held.map(move |(&frame, held)| (id.0, frame + 1, &held.mask))
    });
    let mut objects = coco.annotations.iter();
    let all_found = masks.into_iter().all(|(track, image, mask)| {
        objects.next().is_some_and(|object| {
            let same_place = (object.track_id, object.image_id) == (track, image);
            let read = object.segmentation.mask().map(|m| m.to_bitmap());
            same_place && read == Some(mask.to_bitmap())
        })
    });
    all_found && objects.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_go_down_the_columns() {
        // . #
        // # #   columns: (. #), (# #), (. .) -> 1 background, 3 structure, 2 background
        let bitmap = Bitmap {
            width_px: 3,
            height_px: 2,
            pixels: vec![false, true, false, true, true, false],
        };
        let runs = Runs::of(&bitmap);
        assert_eq!((runs.size, &runs.counts[..]), ([2, 3], &[1, 3, 2][..]));
        assert_eq!(runs.mask(), Some(bitmap.to_mask()));
        assert_eq!(bbox(&bitmap), [0, 0, 2, 2]);
    }
}
