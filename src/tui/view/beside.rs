//! Another frame beside the one at hand, at the same place and zoom: for comparing two moments.

use crate::domain::{Bitmap, GrayFrame};
use crate::tui::graphics::{Colour, Crosshair, MaskLayer, MaskStyle, Palette, Picture};
use crate::tui::graphics::{Scene, Tone, compose};
use crate::tui::model::Model;

use super::picture::{TRACKS, mask_of, shown_tracks};

/// Columns that part the two pictures, px.
const GAP_PX: usize = 2;

/// Widens `picture`, which shows the frame at hand, by the frame that was put beside it, its `pixels`
/// and how they are toned; `cursor`
/// marks the place of the crosshair there too.
pub(super) fn append(
    picture: &mut Picture,
    model: &Model,
    (pixels, tone): (&GrayFrame, Tone),
    cursor: Colour,
    mark_px: u16,
    palette: &Palette,
) {
    let (Some(beside), Some(view)) = (&model.tools.beside, model.picture.viewport) else { return };
    let mut scene = Scene::new(Some(pixels), view);
    scene.tone = tone;
    scene.smooth = model.picture.smooth;
    scene.mark_px = mark_px;
    let masks: Vec<(Bitmap, Colour)> = shown_tracks(model)
        .filter_map(|(_, track)| {
            let mask = mask_of(track, beside.frame)?;
            Some((mask.to_bitmap(), Colour(track.info.colour % TRACKS)))
        })
        .collect();
    if model.picture.masks {
        let layer = |(bitmap, colour)| MaskLayer { bitmap, colour, style: MaskStyle::Other };
        scene.masks = masks.iter().map(|(bitmap, colour)| layer((bitmap, *colour))).collect();
    }
    if model.picture.points {
        scene.crosshair = Some(Crosshair { at: model.cursor, colour: cursor });
    }
    let other = compose(&scene, palette);
    let (width, rows) = (picture.width_px, picture.height_px.min(other.height_px));
    let whole = width + other.width_px;
    let mut joined = Picture::filled(whole, picture.height_px, 0);
    for y in 0..picture.height_px {
        joined.indices[y * whole..][..width].copy_from_slice(picture.row(y));
        if y < rows {
            joined.indices[y * whole + width..][..other.width_px].copy_from_slice(other.row(y));
        }
        let line = width..(width + GAP_PX).min(whole);
        joined.indices[y * whole..][line].fill(palette.overlay(cursor));
    }
    *picture = joined;
}
