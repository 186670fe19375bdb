//! Masks as PNG: `DIR/LABEL/00000.png`, 8-bit gray, 0 background and 255 structure.
//!
//! One file for every frame that has a mask, in the size of the clip; an empty mask is a black
//! image. The number is the frame's index from 0, as in the clip's own frame numbering.

use std::path::Path;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use super::atomic::{ensure_folder, write_atomic};
use super::names::safe_names;
use super::{ExportError, Report};
use crate::domain::{Annotation, Mask, shown};

pub(super) fn write(annotation: &Annotation, folder: &Path) -> Result<Report, ExportError> {
    let mut report = Report::default();
    let labels = annotation.tracks.values().map(|track| track.info.label.as_str());
    for (track, name) in annotation.tracks.values().zip(safe_names(labels)) {
        if name != track.info.label {
            report.renamed.push((shown(&track.info.label), name.clone()));
        }
        if track.masks.is_empty() {
            continue;
        }
        let folder = folder.join(name);
        ensure_folder(&folder)?;
        for (frame, held) in &track.masks {
            let path = folder.join(format!("{frame:05}.png"));
            let bytes = encode(&held.mask, &path)?;
            write_atomic(&path, &bytes)?;
            says_the_same(&bytes, &held.mask, &path)?;
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

/// The bytes on disk equal `bytes`; here they are decoded and compared with the mask itself.
fn says_the_same(bytes: &[u8], mask: &Mask, path: &Path) -> Result<(), ExportError> {
    let same = image::load_from_memory(bytes).is_ok_and(|image| {
        let gray = image.to_luma8();
        let bitmap = mask.to_bitmap();
        gray.dimensions() == (mask.width_px(), mask.height_px())
            && gray.as_raw().iter().zip(&bitmap.pixels).all(|(&g, &p)| g == if p { 255 } else { 0 })
    });
    if same { Ok(()) } else { Err(ExportError::Differs { name: shown(&path.to_string_lossy()) }) }
}
