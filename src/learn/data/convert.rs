//! Masks that are no image, made into images of labels.

use std::path::Path;

use super::layouts::{Layout, Special};
use super::pickle;
use crate::domain::{Bitmap, GrayFrame, shown};
use crate::export::fill_outline;
use crate::learn::dataset::{DataError, unfit, unreadable};

/// A longer outline file is none.
const BYTES_MAX: u64 = 16 << 20;

/// The labels that the files `masks` (label and file) give an image of `size_px`.
pub(super) fn labels(
    layout: &Layout,
    size_px: [u32; 2],
    masks: &[(u8, &Path)],
) -> Result<GrayFrame, DataError> {
    let [width_px, height_px] = size_px;
    let mut pixels = vec![0; width_px as usize * height_px as usize];
    let mut put = |label: u8, set: &[bool]| {
        for (out, inside) in pixels.iter_mut().zip(set) {
            if *inside {
                *out = label;
            }
        }
    };
    for (label, file) in masks {
        match layout.special {
            Special::Outlines => {
                let mut mask = Bitmap::empty(width_px, height_px);
                fill_outline(&mut mask, &outline(file)?);
                put(*label, &mask.pixels);
            }
            Special::Arrays => {
                for (name, array) in pickle::arrays(file, "structures")? {
                    if [array.width, array.height] != size_px.map(|side| side as usize) {
                        let cause = format!(
                            "its arrays are {} x {}, the image is {width_px} x {height_px}; check that \
                             both are as published",
                            array.width, array.height
                        );
                        return Err(unfit(file, cause));
                    }
                    let known = layout.labels.iter().find(|(_, known)| *known == name);
                    let Some((label, _)) = known else {
                        let cause = format!(
                            "it holds a structure {}, which is not known; check that it is as published",
                            shown(&name)
                        );
                        return Err(unfit(file, cause));
                    };
                    put(*label, &array.set);
                }
            }
            Special::None | Special::CineHdf5 => {}
        }
    }
    Ok(GrayFrame { width_px, height_px, pixels, ..GrayFrame::default() })
}

/// The corners in a JSON file `[[x, y], ...]`, pixels counted from their centres.
fn outline(file: &Path) -> Result<Vec<[f64; 2]>, DataError> {
    let size = std::fs::metadata(file).map_err(|e| unreadable(file, e))?.len();
    if size > BYTES_MAX {
        let cause = format!("it is larger than {} MiB; leave it out", BYTES_MAX >> 20);
        return Err(unfit(file, cause));
    }
    let text = std::fs::read_to_string(file).map_err(|e| unreadable(file, e))?;
    let corners: Vec<[f64; 2]> = serde_json::from_str(&text)
        .map_err(|e| unfit(file, format!("it is no list of corners ({e}); correct it")))?;
    Ok(corners.into_iter().map(|[x, y]| [x + 0.5, y + 0.5]).collect())
}
