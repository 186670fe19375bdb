//! Masks in screen pixels: outline and tint.

use super::compose::{MARGIN, MaskStyle, Scene, source_cells};
use super::{Colour, Palette, Picture};
use crate::domain::Bitmap;

/// Tints and outlines of the masks of a scene.
pub(super) fn draw_masks(scene: &Scene<'_>, palette: &Palette, picture: &mut Picture) {
    if scene.masks.iter().all(|mask| mask.style == MaskStyle::Hidden) {
        return;
    }
    let (columns, rows) = (source_cells(&scene.view, true), source_cells(&scene.view, false));
    let seen: Vec<_> = scene
        .masks
        .iter()
        .filter(|mask| mask.style != MaskStyle::Hidden)
        .filter_map(|mask| Some((mask, ScreenMask::new(mask.bitmap, &columns, &rows)?)))
        .collect();
    for (mask, flags) in &seen {
        if mask.style == MaskStyle::Current {
            flags.tint(mask.colour, palette, picture);
        }
    }
    for (mask, flags) in seen.iter().rev() {
        let index = palette.overlay(mask.colour);
        let (thickness, dashed) = match mask.style {
            MaskStyle::Current => (2, false),
            MaskStyle::Other => (1, false),
            MaskStyle::Stale => (1, true),
            MaskStyle::Hidden => continue,
        };
        let drawn = |x: usize, y: usize| !dashed || (x + y) % 8 < 5;
        // A line on flow of its own colour would not be seen without a dark one beside it.
        let on_flow = |x, y, index| drawn(x, y) && palette.is_cube(index);
        if palette.has_cube() {
            flags.outline(thickness + 1, on_flow, 0, picture);
        }
        flags.outline(thickness, |x, y, _| drawn(x, y), index, picture);
    }
}

/// A mask in screen pixels: flags of the rectangle around it, `MARGIN` px of surroundings
/// included.
struct ScreenMask {
    left: i64,
    top: i64,
    width: usize,
    flags: Vec<bool>,
}

impl ScreenMask {
    /// `None` when nothing of the mask is on the screen.
    fn new(bitmap: &Bitmap, columns: &[i64], rows: &[i64]) -> Option<Self> {
        let bounds = bitmap.bounds()?;
        let seen = |cells: &[i64], min: f32, max: f32| {
            let inside = |&cell: &i64| cell as f32 >= min && (cell as f32) < max;
            let first = cells.iter().position(inside)?;
            let last = cells.iter().rposition(inside)?;
            Some((
                first.saturating_sub(MARGIN as usize),
                (last + 1 + MARGIN as usize).min(cells.len()),
            ))
        };
        let (x0, x1) = seen(columns, bounds.min.x, bounds.max.x)?;
        let (y0, y1) = seen(rows, bounds.min.y, bounds.max.y)?;
        let mut flags = Vec::with_capacity((x1 - x0) * (y1 - y0));
        for &row in &rows[y0..y1] {
            flags.extend(columns[x0..x1].iter().map(|&column| bitmap.get(column, row)));
        }
        Some(Self { left: x0 as i64 - MARGIN, top: y0 as i64 - MARGIN, width: x1 - x0, flags })
    }

    /// Calls `visit(x, y, position in flags)` for every foreground pixel on the screen.
    fn for_each(&self, picture: &Picture, mut visit: impl FnMut(usize, usize, usize)) {
        for (row, line) in self.flags.chunks_exact(self.width).enumerate() {
            let y = self.top + row as i64;
            if !(0..picture.height_px as i64).contains(&y) {
                continue;
            }
            for (column, _) in line.iter().enumerate().filter(|&(_, &inside)| inside) {
                let x = self.left + column as i64;
                if (0..picture.width_px as i64).contains(&x) {
                    visit(x as usize, y as usize, row * self.width + column);
                }
            }
        }
    }

    fn tint(&self, colour: Colour, palette: &Palette, picture: &mut Picture) {
        let levels = palette.levels();
        let table: Vec<u8> = (0..levels).map(|level| palette.tint(colour, level)).collect();
        let mut places = Vec::new();
        self.for_each(picture, |x, y, _| places.push(y * picture.width_px + x));
        for place in places {
            // Pixels that another mask tinted already are no grays any more.
            if let Some(&tinted) = table.get(picture.indices[place] as usize) {
                picture.indices[place] = tinted;
            }
        }
    }

    /// Foreground pixels with background at most `thickness` px to a side, of those that are `drawn` by place and
    /// register. The rectangle's own
    /// border counts as foreground beyond the screen and has been looked up inside it.
    fn outline(
        &self,
        thickness: usize,
        drawn: impl Fn(usize, usize, u8) -> bool,
        index: u8,
        picture: &mut Picture,
    ) {
        let height = self.flags.len() / self.width;
        let mut places = Vec::new();
        self.for_each(picture, |x, y, at| {
            let (column, row) = (at % self.width, at / self.width);
            let edge = (1..=thickness).any(|d| {
                (column >= d && !self.flags[at - d])
                    || (column + d < self.width && !self.flags[at + d])
                    || (row >= d && !self.flags[at - d * self.width])
                    || (row + d < height && !self.flags[at + d * self.width])
            });
            let place = y * picture.width_px + x;
            if edge && drawn(x, y, picture.indices[place]) {
                places.push(place);
            }
        });
        for place in places {
            picture.indices[place] = index;
        }
    }
}
