//! A manifest as training and evaluation want it.
//!
//! What decides whether this file is right: a file whose hash is not the manifest's is refused, and windows are the runs of
//! frames with a mask.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::manifest::{Item, Manifest};
use super::pixels::{Opened, sha256};
use crate::domain::{Mask, Window, shown};
use crate::learn::dataset::{
    ClipObject, DataError, DataSource, LabelledClip, Pick, Still, StillSet, Veil, hex, label_mask,
    objects_of, pyramid, shrink, unfit,
};

/// Between the name of a clip or volume and the number of a frame that became a still.
const FRAME: &str = ", frame ";

/// The name of the clip or volume of which the still of that name is a frame; that of the still where it is none.
pub(in crate::learn) fn whole(still: &str) -> &str {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match still.rsplit_once(FRAME) {
        Some((whole, frame)) if number(frame) => whole,
        _ => still,
    }
}

/// Frames of one clip or volume that become stills, evenly over those with a label: neighbours teach little more.
const STILLS_PER_CLIP: usize = 8;

/// The stills of a split.
pub(in crate::learn) fn stills(
    source: &DataSource,
    longest: Option<u32>,
    pick: Pick,
) -> Result<StillSet, DataError> {
    let manifest = Manifest::read(&source.dir)?;
    let names = manifest.names();
    let mut hash = Sha256::new();
    let mut stills = Vec::new();
    for item in manifest.of(source.list.as_deref()) {
        digest(&manifest, item, &mut hash)?;
        let opened = Opened::open(&manifest, item, &source.veil)?;
        hash.update(source.veil.mark(&opened.clip));
        let labelled = opened.labelled();
        let step = labelled.len().div_ceil(STILLS_PER_CLIP).max(1);
        let single = opened.clip.info().frames == 1;
        for frame in labelled.into_iter().step_by(step) {
            let image = opened.clip.frame(frame)?;
            let labels = opened.labels(frame);
            let (image, labels) = match longest {
                Some(longest) => shrink(&image, &labels, longest),
                None => (image.as_ref().clone(), labels),
            };
            let objects = objects_of(&labels, pick);
            let name = match single {
                true => names[&item.image[..]].to_owned(),
                false => format!("{}{FRAME}{frame}", names[&item.image[..]]),
            };
            if !objects.is_empty() {
                stills.push(Still { name, levels: pyramid(image), objects });
            }
        }
    }
    if stills.is_empty() {
        return Err(nothing(source));
    }
    Ok(StillSet { name: source.name(), stills, clips: Vec::new(), sha256: hex(hash) })
}

/// Labelled frames that are kept of one clip for training, in a row from a place in its middle: enough for a lesson at any
/// stride, and a thousand clips of them stay below 4 GiB.
const PIECE: usize = 16;

/// A piece of each clip and volume of a split that has two labelled frames or more. The stills of the same split vouch for
/// the files' hashes.
pub(in crate::learn) fn pieces(
    source: &DataSource,
    longest: Option<u32>,
) -> Result<Vec<LabelledClip>, DataError> {
    let manifest = Manifest::read(&source.dir)?;
    let names = manifest.names();
    let mut pieces = Vec::new();
    for item in manifest.of(source.list.as_deref()) {
        let opened = Opened::open(&manifest, item, &source.veil)?;
        let labelled = opened.labelled();
        if labelled.len() < 2 {
            continue;
        }
        let first = labelled.len().saturating_sub(PIECE) / 2;
        let (mut frames, mut labels) = (Vec::new(), Vec::new());
        for frame in labelled.into_iter().skip(first).take(PIECE) {
            let (image, of_frame) = (opened.clip.frame(frame)?, opened.labels(frame));
            let (image, of_frame) = match longest {
                Some(longest) => shrink(&image, &of_frame, longest),
                None => (image.as_ref().clone(), of_frame),
            };
            frames.push(image);
            labels.push(of_frame);
        }
        let objects = opened.present().into_iter().filter_map(|label| {
            let masks: Vec<Mask> =
                labels.iter().map(|of_frame| label_mask(of_frame, label).to_mask()).collect();
            let seen = masks.iter().any(|mask| !mask.is_empty());
            seen.then(|| ClipObject { label, windows: runs(&masks), masks })
        });
        let objects: Vec<ClipObject> = objects.collect();
        if !objects.is_empty() {
            let name = names[&item.image[..]].to_owned();
            pieces.push(LabelledClip { name, frames, objects, source: None });
        }
    }
    Ok(pieces)
}

/// The clip or volume of an item, called `name`; `None` for a still. Windows are the runs of frames with a mask. `hash` is
/// fed on by what was read.
pub(in crate::learn) fn clip(
    manifest: &Manifest,
    item: &Item,
    name: &str,
    veil: &Veil,
    hash: &mut Sha256,
) -> Result<Option<LabelledClip>, DataError> {
    let opened = Opened::open(manifest, item, veil)?;
    let count = opened.clip.info().frames;
    if count < 2 {
        return Ok(None);
    }
    digest(manifest, item, hash)?;
    hash.update(veil.mark(&opened.clip));
    let mut frames = Vec::with_capacity(count);
    for frame in 0..count {
        frames.push(opened.clip.frame(frame)?.as_ref().clone());
    }
    let objects = opened.present().into_iter().map(|label| {
        let mask = |frame: usize| label_mask(&opened.labels(frame), label).to_mask();
        let masks: Vec<Mask> = (0..count).map(mask).collect();
        ClipObject { label, windows: runs(&masks), masks }
    });
    let objects = objects.collect();
    Ok(Some(LabelledClip { name: name.to_owned(), objects, frames, source: None }))
}

fn nothing(source: &DataSource) -> DataError {
    DataError::Nothing { file: shown(&source.dir.display().to_string()) }
}

/// Feeds the hashes of an item's files on; refuses files that are not those the manifest was made from.
fn digest(manifest: &Manifest, item: &Item, hash: &mut Sha256) -> Result<(), DataError> {
    for (i, file) in item.files().enumerate() {
        let path = manifest.path(file);
        let found = sha256(&path)?;
        changed(&path, item.sha256.get(i), &found)?;
        hash.update(found.as_bytes());
    }
    Ok(())
}

/// Refuses a file whose hash is not the one that was written.
pub(super) fn changed(path: &Path, written: Option<&String>, found: &str) -> Result<(), DataError> {
    match written {
        Some(written) if written != found => Err(unfit(
            path,
            format!(
                "its SHA-256 is {found}, the manifest says {written}: it is another file than the manifest was made from; put that one back, or import the data again"
            ),
        )),
        _ => Ok(()),
    }
}

/// Runs of masks that are not empty.
fn runs(masks: &[Mask]) -> Vec<Window> {
    let mut out: Vec<Window> = Vec::new();
    for (frame, _) in masks.iter().enumerate().filter(|(_, mask)| !mask.is_empty()) {
        match out.last_mut() {
            Some(window) if window.last + 1 == frame => window.last = frame,
            _ => out.push(Window { first: frame, last: frame }),
        }
    }
    out
}
