//! Letters drawn into a picture: names of places that a key reaches.
//!
//! A table of bits instead of a font: they must be read at seven pixels, over speckle.

use super::shapes::stamp;
use super::{LetterMark, Picture, Viewport};

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

/// How many places beside its own, each farther off, a letter looks at.
const PLACES: usize = 4;

/// Where letters stand in a picture with marks of half the size `mark_px`, screen px: beside their places, or farther off where
/// another one stands there already. The first ones choose first; one that finds no place is left out, since two over each
/// other are none. Those that stand on their places stay there.
pub(super) fn placed(
    marks: &[LetterMark],
    view: &Viewport,
    mark_px: i64,
) -> Vec<Option<(f32, f32)>> {
    let zoom = enlarged(mark_px);
    let shift = marks.iter().any(|mark| mark.letter.is_ascii_uppercase());
    let rows = if shift { ROWS + 2 } else { ROWS };
    // They may share a rim.
    let (wide, high) = ((COLUMNS * zoom + 1) as f32, (rows * zoom + 1) as f32);
    let away = (half_height(mark_px) + mark_px / 2 + 2) as f32;
    let mut taken: Vec<(f32, f32)> = Vec::new();
    let place = |mark: &LetterMark| {
        let (x, y) = view.to_screen(mark.at);
        if mark.aside == (0.0, 0.0) {
            return Some((x, y));
        }
        let free = |at: &(f32, f32)| {
            taken.iter().all(|(x, y)| (x - at.0).abs() >= wide || (y - at.1).abs() >= high)
        };
        let mut places = (0..PLACES).map(|on| {
            let away = away + on as f32 * high;
            (x + mark.aside.0 * away, y + mark.aside.1 * away)
        });
        let found = places.find(free)?;
        taken.push(found);
        Some(found)
    };
    marks.iter().map(place).collect()
}

/// Half the height of a letter in a picture with marks of half the size `mark_px`, px.
fn half_height(mark_px: i64) -> i64 {
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
    fn letters_of_near_places_stand_apart() {
        use crate::domain::PointPx;
        use crate::tui::graphics::Colour;
        // A ray in a picture of 256 px at a zoom of 0.6 and of 0.3, upright, level and across.
        for (scale, aside) in [(0.6, (1.0, 0.0)), (0.6, (0.0, 1.0)), (0.3, (0.6, 0.8))] {
            let view = Viewport { scale, ..Viewport::fit(256, 256, 200, 200) };
            let offs = [-2.5, 2.5, -5.5, 5.5, -9.5, 9.5, -14.0, 14.0, -20.0, 20.0, -28.0, 28.0];
            let mark = |(i, off): (usize, f32)| LetterMark {
                at: PointPx::new(128.0 + aside.1 * off, 128.0 - aside.0 * off),
                aside: if i / 2 % 2 == 0 { aside } else { (-aside.0, -aside.1) },
                letter: char::from(b'a' + i as u8),
                colour: Colour(0),
            };
            let marks: Vec<LetterMark> = offs.into_iter().enumerate().map(mark).collect();
            let places = placed(&marks, &view, 4);
            assert!(places[..4].iter().all(Option::is_some), "{scale} {aside:?}: {places:?}");
            let mut whole = Picture::filled(200, 200, 7);
            let mut alone = 0;
            let drawn = |p: &Picture| p.indices.iter().filter(|index| **index == 9).count();
            for (mark, at) in marks.iter().zip(&places) {
                let Some(at) = *at else { continue };
                let mut one = Picture::filled(200, 200, 7);
                letter(&mut one, at, mark.letter, 4, 9);
                letter(&mut whole, at, mark.letter, 4, 9);
                alone += drawn(&one);
            }
            assert_eq!(drawn(&whole), alone, "{scale} {aside:?}: {places:?}");
            // The nearest ones stand where they stood before the others came.
            assert_eq!(placed(&marks[..4], &view, 4), places[..4]);
        }
    }

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
