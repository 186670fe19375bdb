//! A person's own annotations as stills to learn from.
//!
//! What decides whether this file is right: only masks that a person accepted are taken, never the network's own; a
//! project knows its clips by their content alone, so clips are opened where they lie and recognised by their hash.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::dataset::{
    DataError, LEAST_AREA_PX, Still, StillSet, TRAIN_SIDE_PX, hex, pyramid, shrink, unfit,
};
use crate::codec::{self, Clip, OpenOptions, earlier_hash, looks_like_clip};
use crate::domain::{Annotation, Bitmap, FrameIndex, GrayFrame, Mask, MaskSource, counted, shown};
use crate::project::{Onlooker, list_clips};

/// Accepted frames of a project, and what a person should know of the others.
#[derive(Debug, Clone)]
pub struct OwnStills {
    /// The frames.
    pub set: StillSet,
    /// Clips that the frames come from.
    pub clips: usize,
    /// The files that the frames lie in.
    pub images: BTreeSet<PathBuf>,
    /// Clips with accepted frames that are nowhere in the given places, and clips and frames that cannot be read.
    pub notes: Vec<String>,
}

/// The accepted frames of the project in `root`, with their images from clips in `places` (clips, or folders of clips).
///
/// # Errors
/// A project that cannot be read, or without an accepted frame whose clip is there and that can be decoded.
pub fn accepted_stills(
    root: &Path,
    places: &[PathBuf],
    options: &OpenOptions,
) -> Result<OwnStills, DataError> {
    let summaries = list_clips(root)?;
    let mut notes = Vec::new();
    let mut at = clips_by_hash(places, options, &mut notes);
    let mut hash = Sha256::new();
    let (mut stills, mut clips, mut images) = (Vec::new(), 0, BTreeSet::new());
    let mut lost = None;
    let mut onlooker = Onlooker::new(root);
    for summary in &summaries {
        let loaded = onlooker.load(&summary.hash)?;
        let frames = accepted(&loaded.annotation);
        if frames.is_empty() {
            continue;
        }
        let Some(clip) = at.remove(&summary.hash.0) else {
            let name = summary.info.as_ref().map_or("a clip", |info| info.name.as_str());
            notes.push(format!(
                "{} ({}) has {} and is not among --clips; it is left out",
                shown(name),
                summary.hash.short(),
                counted(frames.len(), "accepted frame")
            ));
            continue;
        };
        let clip = clip.as_decided(options, loaded.outside);
        let before = stills.len();
        images.extend(frames.iter().flat_map(|(frame, _)| files_of(&clip, *frame)));
        hash.update(summary.hash.0.as_bytes());
        for (frame, masks) in frames {
            let image = match clip.frame(frame) {
                Ok(image) => image,
                // One that cannot be decoded is no reason to learn from none.
                Err(error) => {
                    notes.push(format!(
                        "frame {} of {} was accepted and is left out: {error}",
                        frame + 1,
                        shown(&clip.info().name)
                    ));
                    lost.get_or_insert(error);
                    continue;
                }
            };
            hash.update(frame.to_le_bytes());
            masks.iter().flat_map(|m| m.runs()).for_each(|run| hash.update(run.to_le_bytes()));
            stills.extend(still(format!("{}/{frame}", summary.hash.short()), &image, &masks));
        }
        clips += usize::from(stills.len() > before);
    }
    if stills.is_empty() {
        if let Some(error) = lost {
            return Err(error.into());
        }
        let cause = "it has no accepted frame whose clip is among --clips; accept masks first, and give the folder of the clips";
        return Err(unfit(root, cause));
    }
    let set = StillSet { name: "accepted".into(), stills, clips: Vec::new(), sha256: hex(hash) };
    Ok(OwnStills { set, clips, images, notes })
}

/// Frames with accepted masks, and these. Outside its windows a structure is absent, whatever was accepted there before.
fn accepted(annotation: &Annotation) -> Vec<(FrameIndex, Vec<Mask>)> {
    let mut frames: std::collections::BTreeMap<FrameIndex, Vec<Mask>> = Default::default();
    for track in annotation.visible().tracks.values() {
        for (frame, held) in &track.masks {
            if held.source == MaskSource::Accepted && held.mask.area_px() as usize >= LEAST_AREA_PX
            {
                frames.entry(*frame).or_default().push(held.mask.clone());
            }
        }
    }
    frames.into_iter().collect()
}

/// The files that hold a frame: the clip's own, or of a folder those that are named like the frame.
fn files_of(clip: &Clip, frame: FrameIndex) -> Vec<PathBuf> {
    let full = |path: PathBuf| path.canonicalize().unwrap_or(path);
    let names = clip.frame_names();
    // A still has a name, too.
    let folder = clip.path().is_dir();
    let Some(name) = names.get(frame).filter(|_| folder) else {
        return vec![full(clip.path().to_owned())];
    };
    let entries = std::fs::read_dir(clip.path()).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path());
    files.filter(|file| file.file_stem().is_some_and(|stem| stem == &name[..])).map(full).collect()
}

/// Structures may overlap, so each is shrunk alone; of a thin one nothing may be left.
fn still(name: String, image: &GrayFrame, masks: &[Mask]) -> Option<Still> {
    let mut small = image.clone();
    let mut objects = Vec::new();
    for mask in masks {
        let bitmap = mask.to_bitmap();
        if (bitmap.width_px, bitmap.height_px) != (image.width_px, image.height_px) {
            continue;
        }
        let labels = GrayFrame {
            width_px: image.width_px,
            height_px: image.height_px,
            pixels: bitmap.pixels.iter().map(|inside| u8::from(*inside)).collect(),
            ..GrayFrame::default()
        };
        let (shrunk, labels) = shrink(image, &labels, TRAIN_SIDE_PX);
        let pixels = labels.pixels.iter().map(|l| *l > 0).collect();
        let shape = Bitmap { width_px: labels.width_px, height_px: labels.height_px, pixels };
        small = shrunk;
        if shape.area_px() > 0 {
            objects.push(shape.to_mask());
        }
    }
    (!objects.is_empty()).then(|| Still { name, levels: pyramid(small), objects })
}

/// The clips in `places` by content; what cannot be opened is noted.
fn clips_by_hash(
    places: &[PathBuf],
    options: &OpenOptions,
    notes: &mut Vec<String>,
) -> HashMap<String, Clip> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for place in places {
        if looks_like_clip(place) {
            paths.push(place.clone());
        }
        // A folder of stills is a clip, and each still may be one too.
        let Ok(entries) = std::fs::read_dir(place) else { continue };
        let mut inside: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        inside.sort();
        paths.extend(inside.into_iter().filter(|path| looks_like_clip(path)));
    }
    let mut out = HashMap::new();
    for path in paths {
        if let Some(earlier) = earlier_hash(&path, options.series)
            && let Ok(clip) =
                codec::open(&path, &OpenOptions { earlier_order: true, ..options.clone() })
        {
            out.entry(earlier.0).or_insert(clip);
        }
        match codec::open(&path, options) {
            Ok(clip) => {
                out.entry(clip.info().content_hash.0.clone()).or_insert(clip);
            }
            Err(error) => notes.push(error.to_string()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{FrameMask, Track, TrackId, Window};

    #[test]
    fn what_was_accepted_outside_the_windows_is_not_learned_from() {
        let mask = Bitmap::from_fn(20, 20, |x, y| x < 10 && y < 10).to_mask();
        let held = FrameMask { mask, source: MaskSource::Accepted, score: 1.0 };
        let mut track = Track::new("nerve", 0);
        track.masks = [2, 7].map(|frame| (frame, held.clone())).into();
        track.windows = vec![Window { first: 1, last: 4 }];
        let mut annotation = Annotation::default();
        annotation.tracks.insert(TrackId(1), track);
        let frames = |annotation: &Annotation| -> Vec<FrameIndex> {
            accepted(annotation).into_iter().map(|(frame, _)| frame).collect()
        };
        assert_eq!(frames(&annotation), [2]);
        annotation.tracks.values_mut().for_each(|track| track.windows.clear());
        assert_eq!(frames(&annotation), [2, 7]);
    }

    #[test]
    fn a_mask_of_which_shrinking_leaves_nothing_is_no_structure() {
        let (w, h) = (4 * TRAIN_SIDE_PX, 64);
        let image = GrayFrame::new(w, h, vec![9; (w * h) as usize]).expect("it fits");
        let line = Bitmap::from_fn(w, h, |x, y| x < 80 && y == 0).to_mask();
        let disc = Bitmap::from_fn(w, h, |x, y| x < 40 && y > 20).to_mask();
        let objects = |masks: &[Mask]| still("a".into(), &image, masks).map(|s| s.objects.len());
        assert_eq!(objects(&[line.clone(), disc]), Some(1));
        assert_eq!(objects(&[line]), None);
    }
}
