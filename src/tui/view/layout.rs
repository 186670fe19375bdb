//! Where things lie on the screen. Pure, so that the model knows the size of the picture.

use ratatui::layout::Rect;

use crate::tui::graphics::Grid;

/// Smaller terminals get a sentence instead of the screen.
pub const SMALLEST: (u16, u16) = (40, 12);
/// From this width on there is a side panel.
const SIDE_FROM_COLUMNS: u16 = 60;
/// From this height on the timeline also shows what is in doubt.
const DOUBTS_FROM_ROWS: u16 = 24;
/// Rows of the area over time, where there is more room and where there is less.
const CURVE_ROWS: [u16; 2] = [4, 3];

/// Text cells of each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Areas {
    /// The picture; never on the last row, which would scroll some terminals.
    pub picture: Rect,
    /// Structures, points, which-key box, listing; absent on narrow terminals, but for the lesson.
    pub side: Option<Rect>,
    /// Windows, frames, and doubts where there is room, or the area over time.
    pub timeline: Rect,
    /// Mode, frame, device, saved.
    pub status: Rect,
    /// The last sentence, or the command line.
    pub message: Rect,
}

impl Areas {
    /// The parts of a terminal, with room for a `curve` under the timeline or without; `None` when
    /// it is too small.
    #[must_use]
    pub fn of(grid: Grid, curve: bool) -> Option<Areas> {
        let (columns, rows) = (grid.columns, grid.rows);
        if columns < SMALLEST.0 || rows < SMALLEST.1 {
            return None;
        }
        let third = (u32::from(columns) * 3 / 10).clamp(22, 38) as u16;
        let side = if columns >= SIDE_FROM_COLUMNS { third } else { 0 };
        let roomy = rows >= DOUBTS_FROM_ROWS;
        let timeline = match (curve, roomy) {
            (true, _) => 2 + CURVE_ROWS[usize::from(!roomy)],
            (false, true) => 3,
            (false, false) => 2,
        };
        let above = rows - timeline - 2;
        Some(Areas {
            picture: Rect::new(0, 0, columns - side, above),
            side: (side > 0).then(|| Rect::new(columns - side, 0, side, above)),
            timeline: Rect::new(0, above, columns, timeline),
            status: Rect::new(0, rows - 2, columns, 1),
            message: Rect::new(0, rows - 1, columns, 1),
        })
    }

    /// The same with a place for the words of the lesson: on narrow terminals the lower half of what the picture has.
    #[must_use]
    pub fn with_lesson(self) -> Areas {
        if self.side.is_some() {
            return self;
        }
        let Rect { x, y, width, height } = self.picture;
        let upper = height - height / 2;
        let side = Rect::new(x, y + upper, width, height / 2);
        Areas { picture: Rect::new(x, y, width, upper), side: Some(side), ..self }
    }

    /// Width and height of the picture, px.
    #[must_use]
    pub fn picture_px(&self, grid: Grid) -> (usize, usize) {
        let px = |cells: u16, cell: u16| usize::from(cells) * usize::from(cell.max(1));
        (px(self.picture.width, grid.cell_px.0), px(self.picture.height, grid.cell_px.1))
    }

    /// Lines that a listing in the side panel (or the help page) has room for.
    #[must_use]
    pub fn listing_rows(&self) -> usize {
        usize::from(self.picture.height.saturating_sub(2)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_of_any_size_have_their_parts() {
        for (columns, rows) in [(40, 12), (59, 24), (80, 24), (u16::MAX, 12), (u16::MAX, u16::MAX)]
        {
            let grid = Grid { columns, rows, cell_px: (8, 16) };
            let plain = Areas::of(grid, false).expect("large enough");
            let side = plain.side.map_or(0, |side| side.width);
            assert_eq!(side, if columns < 60 { 0 } else { ((columns / 10) * 3).clamp(22, 38) });
            assert_eq!(plain.picture.width + side, columns);
            let lesson = plain.with_lesson();
            assert!(lesson.side.is_some_and(|side| side.height >= 4), "{columns} x {rows}");
            assert_eq!(lesson == plain, columns >= 60);
        }
    }
}
