//! Masks as PNG: `DIR/LABEL/00000.png`, 8-bit gray, 0 background and 255 structure.
//!
//! One file for every frame that has a mask, in the size of the clip; an empty mask is a black
//! image. The number is the frame's index from 0, as in the clip's own frame numbering. A comment
//! in every file says that it is ours, so that masks of other programs with such names are not
//! taken for it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::atomic::ensure_folder;
use super::content::{Content, Gather, Names, names_of};
use super::frames::Frames;
use super::identity::about;
use super::read::{ReadError, Target, list, list_ending, stem};
use super::{ExportError, Job, Report, indexed};
use crate::domain::{Bitmap, ContentHash};

pub(super) fn write(job: &Job, folder: &Path) -> Result<Report, ExportError> {
    let annotation = job.annotation;
    let mut report = Report::default();
    for (track, name) in annotation.tracks.values().zip(names_of(annotation, Names::Safe)) {
        if track.masks.is_empty() {
            continue;
        }
        let folder = folder.join(name);
        ensure_folder(&folder)?;
        for (frame, held) in &track.masks {
            let path = folder.join(format!("{frame:05}.png"));
            job.go_on(&path)?;
            let bytes = encoded(&path, &held.mask.to_bitmap(), &job.about())?;
            job.put(&mut report, &path, &bytes)?;
            report.masks += 1;
        }
    }
    Ok(report)
}

fn encoded(path: &Path, mask: &Bitmap, about: &str) -> Result<Vec<u8>, ExportError> {
    let pixels: Vec<u8> = mask.pixels.iter().map(|&p| if p { 255 } else { 0 }).collect();
    indexed::encode_mask(path, (mask.width_px, mask.height_px), &pixels, about)
}

/// The bytes of the file `path` of a folder of masks of a clip, whose names count frames from 0: it says so to whoever
/// imports it.
///
/// # Errors
/// When the encoder refuses, which it does for masks without pixels.
pub fn mask_png(path: &Path, mask: &Bitmap, clip: &ContentHash) -> Result<Vec<u8>, ExportError> {
    encoded(path, mask, &about(clip))
}

/// The files of one structure.
struct Folder {
    label: String,
    files: Vec<PathBuf>,
    stems: Vec<String>,
}

/// Reads a folder of folders, one for each structure: whatever is not black is inside.
pub(super) fn read(folder: &Path, target: &Target) -> Result<Content, ReadError> {
    let (width_px, height_px) = (target.info.width_px, target.info.height_px);
    let mut folders = Vec::new();
    for structure in list(folder)?.iter().filter(|entry| entry.is_dir()) {
        let files = list_ending(structure, "png")?;
        let stems = files.iter().map(|file| stem(file)).collect();
        let label = structure.file_name().unwrap_or_default().to_string_lossy().into_owned();
        folders.push(Folder { label, files, stems });
    }
    let stems: Vec<String> = folders.iter().flat_map(|each| each.stems.clone()).collect();
    let clips = indexed::clips(folders.iter().flat_map(|each| &each.files));
    let ours = clips.is_some();
    let names: Vec<&[String]> = folders.iter().map(|each| &each.stems[..]).collect();
    let frames = Frames::of_folders(target, &names, ours);
    let numbers: BTreeSet<&String> = stems.iter().collect();
    let mut gather = Gather::default();
    for (number, Folder { label, files, stems }) in (0..).zip(&folders) {
        // One image for each structure, whatever they are called; ours have the frame's number.
        frames.check_still(folder, if ours { numbers.len() } else { files.len() })?;
        for (file, stem) in files.iter().zip(stems) {
            target.go_on(file)?;
            let Some(frame) = frames.index(file, stem)? else { continue };
            let image = indexed::decode(file, (width_px, height_px))?;
            let pixels = image.numbers.iter().map(|&n| n != 0).collect();
            gather.put(label, number, frame, &Bitmap { width_px, height_px, pixels });
        }
    }
    let mut notes = frames.notes();
    notes.extend(early(&stems, target).filter(|_| frames.are_named()));
    gather.content(notes).exported_from(folder, clips.unwrap_or_default(), target)
}

/// Earlier versions left no mark in their files: those may be ours, counted from 0, though images
/// of the clip are called so.
fn early(stems: &[String], target: &Target) -> Option<String> {
    let counted = |stem: &String| stem.len() >= 5 && stem.bytes().all(|b| b.is_ascii_digit());
    let names = target.frame_names.iter().enumerate();
    let elsewhere = names.filter(|(at, name)| name.parse() != Ok(*at));
    let mut elsewhere = elsewhere.filter(|(_, name)| stems.contains(name));
    (stems.iter().all(counted) && elsewhere.next().is_some()).then(|| {
        "the masks belong to the images of their names; where sonomark exported them before it \
         marked its files, they count from 0 and are on wrong frames now: export them anew"
            .to_owned()
    })
}
