//! Letters drawn into a picture: names of places that a key reaches.
//!
//! A table of bits instead of a font: they must be read at seven pixels, over speckle.

use super::Picture;
use super::shapes::stamp;

/// Seven rows of five columns, from the top row on, the left column the highest bit, 'a' to 'z'.
#[rustfmt::skip]
const GLYPHS: [[u8; ROWS as usize]; 26] = [
    [0x0e, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11],
    [0x1e, 0x11, 0x11, 0x1e, 0x11, 0x11, 0x1e],
    [0x0f, 0x10, 0x10, 0x10, 0x10, 0x10, 0x0f],
    [0x1e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x1e],
    [0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x1f],
    [0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x10],
    [0x0f, 0x10, 0x10, 0x13, 0x11, 0x11, 0x0f],
    [0x11, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11],
    [0x0e, 0x04, 0x04, 0x04, 0x04, 0x04, 0x0e],
    [0x07, 0x02, 0x02, 0x02, 0x02, 0x12, 0x0c],
    [0x11, 0x12, 0x14, 0x18, 0x14, 0x12, 0x11],
    [0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x1f],
    [0x11, 0x1b, 0x15, 0x15, 0x11, 0x11, 0x11],
    [0x11, 0x19, 0x19, 0x15, 0x13, 0x13, 0x11],
    [0x0e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e],
    [0x1e, 0x11, 0x11, 0x1e, 0x10, 0x10, 0x10],
    [0x0e, 0x11, 0x11, 0x11, 0x15, 0x12, 0x0d],
    [0x1e, 0x11, 0x11, 0x1e, 0x14, 0x12, 0x11],
    [0x0f, 0x10, 0x10, 0x0e, 0x01, 0x01, 0x1e],
    [0x1f, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04],
    [0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e],
    [0x11, 0x11, 0x11, 0x11, 0x11, 0x0a, 0x04],
    [0x11, 0x11, 0x11, 0x15, 0x15, 0x1b, 0x11],
    [0x11, 0x11, 0x0a, 0x04, 0x0a, 0x11, 0x11],
    [0x11, 0x11, 0x0a, 0x04, 0x04, 0x04, 0x04],
    [0x1f, 0x01, 0x02, 0x04, 0x08, 0x10, 0x1f],
];
const COLUMNS: i64 = 5;
const ROWS: i64 = 7;

/// Half the height of a letter in a picture with marks of half the size `mark_px`, px.
pub(super) fn half_height(mark_px: i64) -> i64 {
    ROWS * enlarged(mark_px) / 2
}

/// Cells this wide (twice the size of a mark) are of displays with small pixels.
const WIDE_PX: i64 = 7;

/// Pixels of the screen for one of the letter.
fn enlarged(mark_px: i64) -> i64 {
    1 + mark_px / WIDE_PX
}

/// Draws a letter with a dark rim, its middle at `at`, one typed with shift under a bar; other
/// characters than letters are none.
pub(super) fn letter(picture: &mut Picture, at: (f32, f32), letter: char, mark_px: i64, index: u8) {
    let number = (letter.to_ascii_lowercase() as usize).wrapping_sub('a' as usize);
    let Some(glyph) = GLYPHS.get(number) else { return };
    let (zoom, half) = (enlarged(mark_px), half_height(mark_px));
    let shift = letter.is_ascii_uppercase();
    let margin = if shift { 2 * zoom } else { 0 };
    stamp(picture, at, half + 1 + margin, index, |dx, dy| {
        let column = (dx + COLUMNS * zoom / 2).div_euclid(zoom);
        let row = (dy + half).div_euclid(zoom);
        let bar = shift && row == -2 && (0..COLUMNS).contains(&column);
        let inside = (0..COLUMNS).contains(&column) && (0..ROWS).contains(&row);
        bar || inside && glyph[row as usize] >> (COLUMNS - 1 - column) & 1 == 1
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_drawn_upright_and_none_looks_like_another() {
        let drawn = |c: char| {
            let mut picture = Picture::filled(12, 14, 7);
            letter(&mut picture, (6.0, 7.0), c, 4, 9);
            picture
        };
        let rows = |c: char| -> Vec<String> {
            let picture = drawn(c);
            let row = |y| picture.row(y).iter().map(|i| if *i == 9 { '#' } else { '.' }).collect();
            (4..11).map(row).collect()
        };
        let f = ["....#####...", "....#.......", "....#.......", "....####....", "....#......."];
        assert_eq!(rows('f')[..5], f);
        let all: std::collections::BTreeSet<_> = ('a'..='z').map(rows).collect();
        assert_eq!(all.len(), 26);
        assert_ne!(drawn('F'), drawn('f'), "shift is seen");
        assert_eq!(drawn('?'), Picture::filled(12, 14, 7));
    }
}
