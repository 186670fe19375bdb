//! The M-mode strip below the picture: one column for every frame, depth downwards.

use super::picture::{mask_of, tone_of};
use crate::domain::{FrameIndex, GrayFrame, Track, crossings};
use crate::tui::graphics::{Colour, Palette, Picture, evened, stretched};
use crate::tui::model::{self, Model};
use crate::tui::tools::{STRIP_SAMPLES, Strip};

/// Rows that set it off from the picture, px.
const GAP_PX: usize = 3;
/// From dot to dot of the line that marks the depth, px.
const MARKER_PX: usize = 12;

/// Adds the strip to the picture above it. `cursor` marks the frame at hand and the place on
/// the line; `tracks` are drawn where their masks cross it.
pub(super) fn append<'a>(
    picture: &mut Picture,
    model: &Model,
    tracks: impl Iterator<Item = (&'a Track, Colour)>,
    cursor: Colour,
    palette: &Palette,
) {
    let (Some(strip), rows) = (&model.tools.strip, model.strip_px()) else { return };
    let (width, top) = (picture.width_px, picture.height_px);
    if rows <= GAP_PX || width == 0 {
        return;
    }
    picture.indices.resize(width * (top + rows), 0);
    picture.height_px += rows;
    let place = Place { width, top: top + GAP_PX, rows: rows - GAP_PX };
    let frames = strip.columns.len().max(1);
    let shades = tone_of(&model.picture).table(palette.levels());
    let column = |x: usize| strip.columns.get(x * frames / width).filter(|c| !c.is_empty());
    let mut grays = vec![0; width * place.rows];
    for (x, column) in (0..width).filter_map(|x| Some((x, column(x)?))) {
        for row in 0..place.rows {
            grays[row * width + x] = column[row * column.len() / place.rows];
        }
    }
    let grays = toned(grays, [width, place.rows], &model.picture);
    for x in (0..width).filter(|x| column(*x).is_some()) {
        for row in 0..place.rows {
            picture.indices[place.at(x, row)] = shades[usize::from(grays[row * width + x])];
        }
    }
    for (track, colour) in tracks {
        contour(picture, &place, strip, track, palette.overlay(colour));
    }
    let here = (2 * model.frame + 1) * width / (2 * frames);
    let share = strip.depth_at(model.cursor) / strip.length_px().max(1.0);
    let row = ((share * place.rows as f32) as usize).min(place.rows - 1);
    let index = palette.overlay(cursor);
    // The place on the line: dotted through all frames, solid on the one at hand.
    for x in (0..width).filter(|x| x % MARKER_PX < 2) {
        picture.indices[place.at(x, row)] = index;
    }
    for at in (0..place.rows).filter(|at| at % 6 < 2) {
        picture.indices[place.at(here, at)] = index;
    }
    for x in here.saturating_sub(6)..(here + 7).min(width) {
        picture.indices[place.at(x, row)] = index;
    }
}

/// The strip's gray values as the look of the picture has them: with contrast evened out over the strip, where it is over
/// the picture.
fn toned(grays: Vec<u8>, [width, rows]: [usize; 2], picture: &model::Picture) -> Vec<u8> {
    if !picture.look.clahe {
        return grays;
    }
    let size = |px: usize| u32::try_from(px).unwrap_or(u32::MAX);
    match GrayFrame::new(size(width), size(rows), grays) {
        Some(frame) => match picture.stretched() {
            Some(range) => evened(&stretched(&frame, range)).pixels,
            None => evened(&frame).pixels,
        },
        None => vec![0; width * rows],
    }
}

/// Where the strip lies in the picture.
struct Place {
    width: usize,
    top: usize,
    rows: usize,
}

impl Place {
    fn at(&self, x: usize, row: usize) -> usize {
        (self.top + row) * self.width + x
    }
}

/// Where the masks of a structure cross the line, in the columns of their frames. Of frames that share a column it is the one
/// whose grays are there: a long clip costs no more than a wide screen.
fn contour(picture: &mut Picture, place: &Place, strip: &Strip, track: &Track, index: u8) {
    let (width, frames) = (picture.width_px, strip.columns.len().max(1));
    let mut known = (FrameIndex::MAX, Vec::new());
    for x in 0..width {
        let frame = x * frames / width;
        if known.0 != frame {
            let mask = mask_of(track, frame);
            let cross = mask.map(|mask| crossings(mask, strip.from, strip.to, STRIP_SAMPLES));
            known = (frame, cross.unwrap_or_default());
        }
        for border in &known.1 {
            let row = (border * place.rows / STRIP_SAMPLES).min(place.rows - 1);
            picture.indices[place.at(x, row)] = index;
        }
    }
}
