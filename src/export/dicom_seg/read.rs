//! Segmentations read: each frame falls where it lies in the patient, else on the image and frame that it refers to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::codec::{self, SegmentFrame, Segmentation};
use crate::domain::{Bitmap, ClipInfo, ClipKind, FrameIndex, GridMap, Mask, Placement, counted};
use crate::export::content::{Content, Structure};
use crate::export::identity::clip_in;
use crate::export::read::{ReadError, Target, list};

/// The DICOM files of a folder.
pub(in crate::export) fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = list(folder).unwrap_or_default();
    files.retain(|file| file.is_file() && codec::is_dicom(file));
    files
}

/// Reads binary and fractional segmentations of the clip, and maps of labels: a file, or the one in a folder, as archives
/// give a series of one object.
pub(in crate::export) fn read(path: &Path, target: &Target) -> Result<Content, ReadError> {
    if !path.is_dir() {
        return read_file(path, target);
    }
    match &files_in(path)[..] {
        [one] => read_file(one, target),
        all => {
            let held = counted(all.len(), "DICOM file");
            let cause = format!("it holds {held}; give the one of the segmentation");
            Err(ReadError::malformed(path, cause))
        }
    }
}

fn read_file(path: &Path, target: &Target) -> Result<Content, ReadError> {
    let file = Segmentation::open(path)?;
    let links = Links::of(&file, target);
    let labels = file.labels().iter();
    let mut structures: Vec<(u16, Structure)> =
        labels.map(|(&number, label)| (number, Structure::new(label, BTreeMap::new()))).collect();
    let (mut elsewhere, mut outside) = (0usize, 0usize);
    for (i, frame) in file.frames().iter().enumerate() {
        target.go_on(path)?;
        let place = place_of(frame, target, &links).ok_or_else(|| {
            let cause = format!(
                "its frame {} names no frame of the clip and does not lie on its voxels{}",
                i + 1,
                links.count_apart(target.info)
            );
            ReadError::other_clip(path, cause)
        })?;
        if matches!(place, Place::Elsewhere) {
            elsewhere += 1;
            continue;
        }
        let cells = file.pixels(i)?;
        for segment in cells.segments() {
            let Some((_, structure)) = structures.iter_mut().find(|(n, _)| *n == segment) else {
                let cause = format!("frame {} is of segment {segment}, which is none", i + 1);
                return Err(ReadError::malformed(path, cause));
            };
            let drawn = Drawn { size: file.size(), pixels: cells.of(segment) };
            let masks = match &place {
                Place::On(frames) => drawn.on(path, frames, target.info)?,
                Place::In(map) => drawn.voxels(map, target.info, &mut outside),
                Place::Elsewhere => Vec::new(),
            };
            for (at, mask) in masks {
                structure.join(at, mask);
            }
        }
    }
    let structures = structures.into_iter().map(|(_, structure)| structure);
    let structures: Vec<Structure> =
        structures.filter(|structure| !structure.masks.is_empty()).collect();
    if structures.is_empty() && elsewhere + outside > 0 {
        return Err(ReadError::other_clip(path, "all of it lies outside the clip"));
    }
    let mut notes = Vec::new();
    if links.foreign {
        notes.push(
            "it refers to other images than those of the clip, and was taken by where it lies or \
             by the numbers of its frames"
                .to_owned(),
        );
    }
    if links.counted {
        notes.push(
            "its frames name no frame of the clip, and were taken in the order of their dimension \
             indices, of which there are as many as frames"
                .to_owned(),
        );
    }
    if elsewhere > 0 {
        notes.push(format!("{} of other images left out", counted(elsewhere, "frame")));
    }
    if outside > 0 {
        notes.push(format!("{} outside the clip left out", counted(outside, "voxel")));
    }
    // One that refers to the clip's own images is of it, also where patient data was taken out of those.
    let clip = file.description().and_then(|about| clip_in(&about)).filter(|_| !links.known);
    Content { structures, notes, ..Content::default() }.exported_from(path, clip, target)
}

/// Which images a segmentation refers to.
struct Links {
    /// Some are those of the clip.
    known: bool,
    /// They are known, and none is one of the clip.
    foreign: bool,
    /// There are several.
    several: bool,
    /// The highest of the dimension indices along the clip.
    highest_index: usize,
    /// Frames are told apart by those alone, and there are as many as the clip has frames.
    counted: bool,
}

impl Links {
    fn of(file: &Segmentation, target: &Target) -> Self {
        let ours = instances(target);
        let images: BTreeSet<&String> =
            file.frames().iter().filter_map(|frame| frame.instance_uid.as_ref()).collect();
        let known = images.iter().any(|uid| ours.contains(uid));
        let foreign = !known && !images.is_empty() && !ours.is_empty();
        let highest_index =
            file.frames().iter().filter_map(|frame| frame.place_index).max().unwrap_or(0);
        let silent =
            |frame: &SegmentFrame| frame.referenced_frames.is_empty() && frame.in_stack.is_none();
        let mut taken = BTreeSet::new();
        let apart = |frame: &SegmentFrame| {
            let index = frame.place_index.filter(|&index| index > 0);
            index.is_some_and(|index| taken.insert((frame.segment, index)))
        };
        let counted = target.info.frames > 1
            && highest_index == target.info.frames
            && images.len() < 2
            && file.frames().iter().all(silent)
            && file.frames().iter().all(apart);
        Self { known, foreign, several: images.len() > 1, highest_index, counted }
    }

    /// Why dimension indices do not tell the frames; nothing where there are none.
    fn count_apart(&self, info: &ClipInfo) -> String {
        match self.highest_index {
            0 => String::new(),
            highest => format!(
                "; its dimension indices go up to {highest} and the clip has {}, so they do \
                 not tell either",
                counted(info.frames, "frame")
            ),
        }
    }
}

fn instances<'a>(target: &Target<'a>) -> &'a [String] {
    target.origin.map_or(&[], |origin| &origin.instance_uids)
}

/// Where a frame of a segmentation falls.
enum Place {
    /// On these frames of the clip, pixel by pixel.
    On(Vec<FrameIndex>),
    /// In the voxels of the clip.
    In(GridMap),
    /// On an image that is none of the clip.
    Elsewhere,
}

/// Where a frame belongs: by where it lies, by the image it refers to, by its number. `None` where
/// nothing tells, or where it lies across the voxels of the clip.
fn place_of(frame: &SegmentFrame, target: &Target, links: &Links) -> Option<Place> {
    let info = target.info;
    if let Some(volume) = info.placement.filter(|_| info.kind == ClipKind::Volume) {
        let steps = steps_mm(frame, &volume);
        if let Some(map) = frame.position_mm.and_then(|origin| volume.plane(origin, steps)) {
            return Some(Place::In(map));
        }
        // Of uneven planes the image that it refers to tells the frame; rows and columns must agree.
        let same = GridMap::same();
        volume.plane(volume.origin_mm, steps).filter(|map| map.steps[..2] == same.steps[..2])?;
    }
    let uid = frame.instance_uid.as_ref();
    match uid.and_then(|uid| instances(target).iter().position(|known| known == uid)) {
        Some(at) if instances(target).len() > 1 => Some(Place::On(vec![at])),
        Some(_) => {
            let stored = numbers(frame, info, links)?.into_iter();
            let at = stored.map(|stored| target.origin?.frame_of(stored));
            Some(Place::On(at.collect::<Option<_>>()?))
        }
        None if links.known => Some(Place::Elsewhere),
        // Those of a series are no frames of one image.
        None if links.foreign && links.several => None,
        None => numbers(frame, info, links).map(Place::On),
    }
    .filter(|place| match place {
        Place::On(frames) => frames.iter().all(|&at| at < info.frames),
        _ => true,
    })
}

/// From one column and one row of a frame to the next, mm; as in the clip where the file is silent.
fn steps_mm(frame: &SegmentFrame, volume: &Placement) -> [[f64; 3]; 2] {
    let length = volume.spacing_mm();
    [0, 1].map(|i| {
        let known = volume.steps_mm[i].map(|part| part / length[i]);
        let direction = frame.directions.map_or(known, |directions| directions[i]);
        let step = frame.spacing_mm.map_or(length[i], |spacing| spacing[i]);
        direction.map(|part| part * step)
    })
}

/// The frames of its image that a frame was drawn on, else its place in the stack, from 0. One that
/// says neither is of a still.
fn numbers(frame: &SegmentFrame, info: &ClipInfo, links: &Links) -> Option<Vec<usize>> {
    let told = match &frame.referenced_frames[..] {
        [] if links.counted => frame.place_index.into_iter().collect(),
        [] => frame.in_stack.into_iter().collect(),
        all => all.to_vec(),
    };
    if told.is_empty() {
        return (info.frames == 1 && !links.several).then(|| vec![0]);
    }
    told.into_iter().map(|number| number.checked_sub(1)).collect()
}

/// The pixels of one segment on one frame of the file.
struct Drawn {
    size: (u32, u32),
    pixels: Vec<bool>,
}

impl Drawn {
    /// The same mask on every one of `frames`.
    fn on(
        self,
        path: &Path,
        frames: &[FrameIndex],
        info: &ClipInfo,
    ) -> Result<Vec<(FrameIndex, Mask)>, ReadError> {
        let (width_px, height_px) = self.size;
        if self.size != (info.width_px, info.height_px) {
            let clip = format!("{} x {}", info.width_px, info.height_px);
            let cause = format!("it is {width_px} x {height_px}, the clip {clip}");
            return Err(ReadError::other_clip(path, cause));
        }
        let mask = Bitmap { width_px, height_px, pixels: self.pixels }.to_mask();
        Ok(frames.iter().map(|&at| (at, mask.clone())).collect())
    }

    /// Its pixels in the clip; those that lie outside are counted.
    fn voxels(&self, map: &GridMap, info: &ClipInfo, outside: &mut usize) -> Vec<(usize, Mask)> {
        let (columns, sides) = (self.size.0 as usize, [info.width_px, info.height_px]);
        let mut masks: BTreeMap<usize, Bitmap> = BTreeMap::new();
        for (i, _) in self.pixels.iter().enumerate().filter(|(_, inside)| **inside) {
            let at = map.voxel([i % columns, i / columns, 0]).map(usize::try_from);
            match at {
                [Ok(x), Ok(y), Ok(frame)]
                    if x < sides[0] as usize && y < sides[1] as usize && frame < info.frames =>
                {
                    let empty = || Bitmap::empty(sides[0], sides[1]);
                    let mask = masks.entry(frame).or_insert_with(empty);
                    mask.pixels[y * sides[0] as usize + x] = true;
                }
                _ => *outside += 1,
            }
        }
        masks.into_iter().map(|(frame, bitmap)| (frame, bitmap.to_mask())).collect()
    }
}
