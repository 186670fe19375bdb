//! Masks as PNG: `DIR/LABEL/00000.png`, 8-bit gray, 0 background and 255 structure.
//!
//! One file for every frame that has a mask, in the size of the clip; an empty mask is a black
//! image. The number is the frame's index from 0, as in the clip's own frame numbering.

use std::path::Path;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use super::atomic::{ensure_folder, write_atomic};
use super::content::{Content, Gather, Names, names_of};
use super::read::{Frames, ReadError, Target, list, list_ending, stem};
use super::{ExportError, Job, Report, indexed};
use crate::domain::{Bitmap, Mask, shown};

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
            let bytes = encode(&held.mask, &path)?;
            write_atomic(&path, &bytes)?;
            report.files.push(path);
            report.masks += 1;
        }
    }
    Ok(report)
}

fn encode(mask: &Mask, path: &Path) -> Result<Vec<u8>, ExportError> {
    let pixels: Vec<u8> =
        mask.to_bitmap().pixels.iter().map(|&p| if p { 255 } else { 0 }).collect();
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::NoFilter)
        .write_image(&pixels, mask.width_px(), mask.height_px(), ExtendedColorType::L8)
        .map_err(|e| ExportError::Encode {
            name: shown(&path.to_string_lossy()),
            cause: e.to_string(),
        })?;
    Ok(bytes)
}

/// Reads a folder of folders, one for each structure: whatever is not black is inside.
pub(super) fn read(folder: &Path, target: &Target) -> Result<Content, ReadError> {
    let info = target.info;
    let (mut gather, mut note) = (Gather::default(), None);
    for (number, structure) in (0..).zip(list(folder)?.iter().filter(|entry| entry.is_dir())) {
        let files = list_ending(structure, "png")?;
        let stems: Vec<String> = files.iter().map(|file| stem(file)).collect();
        // Ours are numbered with five digits, whatever the frames of the clip are called.
        let ours = stems.iter().all(|s| s.len() >= 5 && s.bytes().all(|b| b.is_ascii_digit()));
        let frames = Frames::of(target, &stems, ours);
        note = note.or(frames.note());
        let label = structure.file_name().unwrap_or_default().to_string_lossy();
        for (file, stem) in files.iter().zip(&stems) {
            let frame = frames.index(file, stem)?;
            let image = indexed::decode(file, (info.width_px, info.height_px))?;
            let pixels = image.numbers.iter().map(|&n| n != 0).collect();
            let bitmap = Bitmap { width_px: info.width_px, height_px: info.height_px, pixels };
            gather.put(&label, number, frame, &bitmap);
        }
    }
    Ok(gather.content(note.into_iter().collect()))
}
