//! Letters of places as text cells, for pictures of half blocks: drawn from their pixels they would
//! be as large as the structure.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use crate::tui::graphics::{LetterMark, Viewport};

use super::Look;

/// A letter in a cell of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellLetter {
    /// Column from the left edge of the picture.
    pub column: u16,
    /// Row from its upper edge.
    pub row: u16,
    /// The letter.
    pub letter: char,
}

/// Cells beside its place that a letter may stand in, nearest first.
const ASIDE: [f32; 6] = [1.0, -1.0, 2.0, -2.0, 3.0, -3.0];

/// The cells of letters in a picture with two pixels above each other in a cell. No two letters
/// share a cell: one that finds none is left out.
pub(super) fn placed(marks: &[LetterMark], view: &Viewport) -> Vec<CellLetter> {
    let mut all: Vec<CellLetter> = Vec::new();
    for mark in marks {
        let (x, y) = view.to_screen(mark.at);
        let cell = |side: f32| {
            // A cell is one pixel wide and two high.
            let (x, y) = (x + mark.aside.0 * side, y / 2.0 + mark.aside.1 * side);
            let inside = (0.0..view.width_px as f32).contains(&x)
                && (0.0..(view.height_px / 2) as f32).contains(&y);
            inside.then_some((x as u16, y as u16))
        };
        let free = |at: &(u16, u16)| !all.iter().any(|each| (each.column, each.row) == *at);
        let found = ASIDE.into_iter().filter_map(cell).find(free);
        if let Some((column, row)) = found {
            all.push(CellLetter { column, row, letter: mark.letter });
        }
    }
    all
}

/// Writes letters over the picture in `area`.
pub fn draw_letters(letters: &[CellLetter], area: Rect, buffer: &mut Buffer, look: Look<'_>) {
    let area = area.intersection(buffer.area);
    let style = match look.theme.coloured {
        true => Style::new().fg(Color::Black).bg(look.theme.cursor.on_text(look.theme.depth)),
        false => Style::new().add_modifier(Modifier::REVERSED),
    };
    for each in letters.iter().filter(|each| each.column < area.width && each.row < area.height) {
        let cell = &mut buffer[(area.x + each.column, area.y + each.row)];
        cell.set_char(each.letter).set_style(style);
    }
}
