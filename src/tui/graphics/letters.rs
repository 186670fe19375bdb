//! Letters drawn into a picture: names of places that a key reaches.
//!
//! Sixteen lines of bits instead of a font: they must be read at ten pixels, over speckle.

use super::Picture;
use super::shapes::stamp;

/// Three columns by five rows, from the top row on, one octal digit each, 'a' to 'z'.
const GLYPHS: [u16; 26] = [
    0o25755, 0o65656, 0o34443, 0o65556, 0o74647, 0o74644, 0o34553, 0o55755, 0o72227, 0o11152,
    0o55655, 0o44447, 0o57755, 0o65555, 0o25552, 0o65644, 0o25563, 0o65655, 0o34216, 0o72222,
    0o55557, 0o55522, 0o55775, 0o55255, 0o55222, 0o71247,
];
const COLUMNS: i64 = 3;
const ROWS: i64 = 5;

/// Half the height of a letter in a picture with marks of half the size `mark_px`, px.
pub(super) fn half_height(mark_px: i64) -> i64 {
    ROWS * enlarged(mark_px) / 2
}

/// Pixels of the screen for one of the letter.
fn enlarged(mark_px: i64) -> i64 {
    if mark_px > 2 { 2 } else { 1 }
}

/// Draws a letter with a dark rim, its middle at `at`; other characters than letters are none.
pub(super) fn letter(picture: &mut Picture, at: (f32, f32), letter: char, mark_px: i64, index: u8) {
    let number = (letter.to_ascii_lowercase() as usize).wrapping_sub('a' as usize);
    let Some(glyph) = GLYPHS.get(number) else { return };
    let (zoom, half) = (enlarged(mark_px), half_height(mark_px));
    stamp(picture, at, half + 1, index, |dx, dy| {
        let (column, row) =
            ((dx + COLUMNS * zoom / 2).div_euclid(zoom), (dy + half).div_euclid(zoom));
        let inside = (0..COLUMNS).contains(&column) && (0..ROWS).contains(&row);
        inside && glyph >> (3 * (ROWS - 1 - row) + COLUMNS - 1 - column) & 1 == 1
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
            (2..12).step_by(2).map(row).collect()
        };
        let l = ["...##.......", "...##.......", "...##.......", "...##.......", "...######..."];
        assert_eq!(rows('l'), l);
        let all: std::collections::BTreeSet<_> = ('a'..='z').map(rows).collect();
        assert_eq!(all.len(), 26);
        assert_eq!(drawn('?'), Picture::filled(12, 14, 7));
    }
}
