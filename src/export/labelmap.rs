//! One structure at every pixel: numbers from 1 on, 0 for none; and volumes of such numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::Path;

use super::content::{Content, Keeps, Structure, names_of};
use super::identity::clip_in;
use super::read::{ReadError, Target, fallback_label};
use super::{ExportError, ExportFormat, Job};
use crate::codec::LabelVolume;
use crate::domain::{Annotation, Bitmap, ClipInfo, ClipKind, FrameIndex, GridMap, Mask, Placement};

/// Masks laid over each other. Where several structures claim a pixel, the last one has it.
///
/// Kept as masks: the numbers of one frame are made when they are asked for, those of a long clip
/// would take gigabytes.
pub(super) struct LabelMap {
    /// Names of the numbers 1, 2, ...
    pub(super) names: Vec<String>,
    /// Pixels that were claimed several times.
    pub(super) covered_px: u64,
    /// What each number has of the frames; no two share a pixel, none is empty.
    frames: BTreeMap<FrameIndex, Vec<(u16, Mask)>>,
}

impl LabelMap {
    /// The masks of `annotation`, for a format that keeps so much of names and classes.
    pub(super) fn of(annotation: &Annotation, keeps: Keeps) -> Self {
        let Ok(map) = Self::of_while(annotation, keeps, || Ok::<(), Infallible>(()));
        map
    }

    /// Those of a job that is exported to `path`.
    ///
    /// # Errors
    /// [`Job::stop`].
    pub(super) fn of_job(
        job: &Job,
        format: ExportFormat,
        path: &Path,
    ) -> Result<Self, ExportError> {
        Self::of_while(job.annotation, format.row().keeps, || job.go_on(path))
    }

    /// Asks `go_on` before every frame.
    fn of_while<E>(
        annotation: &Annotation,
        keeps: Keeps,
        go_on: impl Fn() -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut names: Vec<String> = Vec::new();
        let mut claims: BTreeMap<FrameIndex, Vec<(u16, &Mask)>> = BTreeMap::new();
        for (track, name) in annotation.tracks.values().zip(names_of(annotation, keeps.names)) {
            let known = names.iter().position(|known| keeps.classes && *known == name);
            let at = known.unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            });
            // More than 65,535 structures are refused by every format before it writes.
            let number = u16::try_from(at + 1).unwrap_or(u16::MAX);
            for (&frame, held) in track.masks.iter().filter(|(_, held)| !held.mask.is_empty()) {
                claims.entry(frame).or_default().push((number, &held.mask));
            }
        }
        let mut covered_px = 0;
        let mut frames = BTreeMap::new();
        for (frame, claims) in claims {
            go_on()?;
            frames.insert(frame, settled(claims, &mut covered_px));
        }
        Ok(Self { names, covered_px, frames })
    }

    /// The frames that have any number, in order.
    pub(super) fn frames(&self) -> impl Iterator<Item = FrameIndex> {
        self.frames.keys().copied()
    }

    /// The numbers of every pixel of a frame; `None` where there are none.
    pub(super) fn numbers(&self, frame: FrameIndex) -> Option<Vec<u16>> {
        let held = self.frames.get(&frame)?;
        Some(laid(held.iter().map(|(number, mask)| (*number, mask)), &mut 0))
    }

    /// The frames on which a number is found, in order.
    pub(super) fn frames_of(&self, number: usize) -> impl Iterator<Item = FrameIndex> {
        let here = move |held: &[(u16, Mask)]| held.iter().any(|(n, _)| usize::from(*n) == number);
        self.frames.iter().filter(move |(_, held)| here(held)).map(|(frame, _)| *frame)
    }

    /// Masks of all numbers.
    pub(super) fn masks(&self) -> usize {
        self.frames.values().map(Vec::len).sum()
    }

    /// What a reader must find.
    pub(super) fn structures(&self) -> Vec<Structure> {
        let mut masks = vec![BTreeMap::new(); self.names.len()];
        for (&frame, held) in &self.frames {
            for (number, mask) in held {
                masks[usize::from(*number) - 1].insert(frame, mask.clone());
            }
        }
        let all = self.names.iter().zip(masks).filter(|(_, masks)| !masks.is_empty());
        all.map(|(label, masks)| Structure::new(label.clone(), masks)).collect()
    }
}

/// What each number keeps of a frame.
fn settled(claims: Vec<(u16, &Mask)>, covered_px: &mut u64) -> Vec<(u16, Mask)> {
    if let [(number, mask)] = claims[..] {
        return vec![(number, mask.clone())];
    }
    let (width_px, height_px) = (claims[0].1.width_px(), claims[0].1.height_px());
    let numbers: BTreeSet<u16> = claims.iter().map(|(number, _)| *number).collect();
    let pixels = laid(claims.into_iter(), covered_px);
    let kept = numbers.into_iter().map(|number| {
        let pixels = pixels.iter().map(|&n| n == number).collect();
        (number, Bitmap { width_px, height_px, pixels }.to_mask())
    });
    kept.filter(|(_, mask)| !mask.is_empty()).collect()
}

/// Masks of one size laid over each other; counts what was claimed by another number before.
fn laid<'a>(masks: impl Iterator<Item = (u16, &'a Mask)>, covered_px: &mut u64) -> Vec<u16> {
    let mut numbers = Vec::new();
    for (number, mask) in masks {
        numbers.resize(mask.width_px() as usize * mask.height_px() as usize, 0);
        let mut at = 0usize;
        for (i, &run) in mask.runs().iter().enumerate() {
            let end = at + run as usize;
            if i % 2 == 1 {
                for slot in &mut numbers[at..end] {
                    *covered_px += u64::from(*slot != 0 && *slot != number);
                    *slot = number;
                }
            }
            at = end;
        }
    }
    numbers
}

/// Where the voxels of a label volume of a clip lie: where the clip's do, else upright with the
/// clip's spacing (1 where unknown, see [`assumes_mm`]) at the origin.
pub(super) fn placement(info: &ClipInfo) -> Placement {
    info.placement.unwrap_or_else(|| {
        let [x, y] = info.pixel_spacing_mm.unwrap_or([1.0; 2]);
        Placement::upright([x, y, info.slice_spacing_mm.unwrap_or(1.0)])
    })
}

/// Whether [`placement`] has to call a length 1 mm that is not known. Frames that follow each other in time have none.
pub(super) fn assumes_mm(info: &ClipInfo) -> bool {
    let stacked = info.kind == ClipKind::Volume && info.frames > 1;
    let unknown = info.pixel_spacing_mm.is_none() || (stacked && info.slice_spacing_mm.is_none());
    info.placement.is_none() && unknown
}

/// What a segment of a Slicer segmentation is called, by layer and number.
type Segments = BTreeMap<(usize, u32), String>;

/// Reads a label volume: NIfTI, NRRD, a Slicer segmentation, MetaImage.
pub(super) fn read(path: &Path, target: &Target) -> Result<Content, ReadError> {
    read_named(path, target, &super::nifti::label_names(path))
}

/// The same, with the names of the numbers given.
pub(super) fn read_named(
    path: &Path,
    target: &Target,
    names: &BTreeMap<u32, String>,
) -> Result<Content, ReadError> {
    let volume = LabelVolume::open(path)?;
    let (map, mut notes) = grid(path, &volume, target.info)?;
    let segments = segments(&volume);
    let info = target.info;
    let (width, height) = (info.width_px, info.height_px);
    let ([columns, _, _], layers) = (volume.size(), volume.layers());
    let mut found: BTreeMap<(usize, u32), BTreeMap<FrameIndex, Mask>> = BTreeMap::new();
    // A frame of the clip is complete after one slice, unless the file counts along another axis;
    // pixels of many labels on many frames would take more memory than there is.
    let whole = map.steps[0][2] == 0 && map.steps[1][2] == 0;
    let mut open: BTreeMap<(usize, u32), BTreeMap<FrameIndex, Bitmap>> = BTreeMap::new();
    let mut outside = 0u64;
    volume.each_slice(|slice, labels| {
        if target.is_stopped() {
            return;
        }
        for (i, &label) in labels.iter().enumerate().filter(|(_, label)| **label != 0) {
            let (layer, at) = (i % layers, i / layers);
            let [x, y, frame] = map.voxel([at % columns, at / columns, slice]);
            let inside = (0..i64::from(width)).contains(&x)
                && (0..i64::from(height)).contains(&y)
                && (0..info.frames as i64).contains(&frame);
            if !inside {
                outside += 1;
                continue;
            }
            let masks = open.entry((layer, label)).or_default();
            let mask = masks.entry(frame as usize).or_insert_with(|| Bitmap::empty(width, height));
            mask.pixels[y as usize * width as usize + x as usize] = true;
        }
        if whole {
            close(&mut open, &mut found);
        }
    })?;
    target.go_on(path)?;
    close(&mut open, &mut found);
    if outside > 0 {
        notes.push(format!("{outside} voxels lie outside the clip and were left out"));
    }
    let name = |key: &(usize, u32)| {
        let known = segments.get(key).or_else(|| names.get(&key.1));
        known.cloned().unwrap_or_else(|| fallback_label(key.1))
    };
    let structure = |(key, masks)| Structure::new(name(&key), masks);
    let structures = found.into_iter().map(structure).collect();
    let content = Content { structures, notes, ..Content::default() };
    // A key of NRRD, or the field for that of NIfTI.
    let abouts = ["sonomark", "descrip"].into_iter();
    let clips = abouts.filter_map(|key| clip_in(volume.texts().get(key)?));
    content.exported_from(path, clips, target)
}

/// Turns what is open into masks.
fn close<K: Ord>(
    open: &mut BTreeMap<K, BTreeMap<FrameIndex, Bitmap>>,
    found: &mut BTreeMap<K, BTreeMap<FrameIndex, Mask>>,
) {
    for (key, bitmaps) in std::mem::take(open) {
        let masks = bitmaps.into_iter().map(|(frame, bitmap)| (frame, bitmap.to_mask()));
        found.entry(key).or_default().extend(masks);
    }
}

/// How the voxels of the file are counted in the clip: by where both lie in the patient, else
/// one by one.
fn grid(
    path: &Path,
    volume: &LabelVolume,
    info: &ClipInfo,
) -> Result<(GridMap, Vec<String>), ReadError> {
    let size = [info.width_px as usize, info.height_px as usize, info.frames];
    if let (Some(of_file), Some(of_clip)) = (volume.placement(), info.placement) {
        if let Some(map) = of_file.grid_in(&of_clip) {
            return Ok((map, Vec::new()));
        }
        if volume.size() == size {
            let note = "the file says that it lies elsewhere than the clip; it has the clip's \
                        size and was taken voxel by voxel";
            return Ok((GridMap::same(), vec![note.to_owned()]));
        }
    }
    let mut map = GridMap::same();
    if let Some(offset) = volume.texts().get("Segmentation_ReferenceImageExtentOffset") {
        let parts = offset.split_whitespace().map(str::parse::<i64>);
        let parts: Vec<i64> = parts.map_while(Result::ok).collect();
        map.start = parts.try_into().unwrap_or([0; 3]);
    }
    let fits = (0..3).all(|i| {
        let end = map.start[i].checked_add(volume.size()[i] as i64);
        map.start[i] >= 0 && end.is_some_and(|end| end <= size[i] as i64)
    });
    if fits && (map.start != [0; 3] || volume.size() == size) {
        return Ok((map, Vec::new()));
    }
    let text = |[x, y, z]: [usize; 3]| format!("{x} x {y} x {z}");
    let cause = format!("it has {} voxels, the clip {}", text(volume.size()), text(size));
    Err(ReadError::other_clip(path, cause))
}

/// Names of the segments from the keys of a Slicer segmentation, or of our own volumes.
fn segments(volume: &LabelVolume) -> Segments {
    let texts = volume.texts();
    let key = |i: usize, what: &str| texts.get(&format!("Segment{i}_{what}"));
    let mut found = Segments::new();
    for i in 0.. {
        let Some(name) = key(i, "Name").or_else(|| key(i, "ID")) else {
            return found;
        };
        let number = |what: &str, default: usize| {
            key(i, what).and_then(|text| text.trim().parse().ok()).unwrap_or(default)
        };
        // Before layers there was one segment in each component, numbered 1.
        let (layer, value) = match key(i, "LabelValue") {
            Some(_) => (number("Layer", 0), number("LabelValue", i + 1)),
            None => (i, 1),
        };
        found.insert((layer, value as u32), name.clone());
    }
    found
}
