//! Pictures by iTerm2's inline images (iTerm2, WezTerm): PNG in base64, in one sequence.
//!
//! Such images belong to the text as sixels do: they take the place of the cells they lie on, and
//! nothing has to be deleted. The size is told in cells, so that a display with two pixels for one
//! keeps the place; the picture is filled up to whole cells for that.
//! Source: <https://iterm2.com/documentation-images.html>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::kitty::png;
use super::{Palette, Picture};

/// The sequence that shows `picture` with its corner at the cursor, on cells of this size, px;
/// empty for a picture without pixels.
pub(super) fn encode(picture: &Picture, palette: &Palette, cell: (usize, usize)) -> Vec<u8> {
    let cells = (picture.width_px.div_ceil(cell.0), picture.height_px.div_ceil(cell.1));
    let whole = (cells.0 * cell.0, cells.1 * cell.1);
    let Some(png) = (match whole == (picture.width_px, picture.height_px) {
        true => png(picture, palette),
        false => png(&filled_up(picture, whole), palette),
    }) else {
        return Vec::new();
    };
    let head = format!(
        "\x1b]1337;File=inline=1;size={};width={};height={};preserveAspectRatio=0;\
         doNotMoveCursor=1:",
        png.len(),
        cells.0,
        cells.1
    );
    // BEL and not ESC \: older versions take no other end.
    [head.as_bytes(), STANDARD.encode(png).as_bytes(), b"\x07"].concat()
}

/// The picture in the corner of a larger black one.
fn filled_up(picture: &Picture, (width, height): (usize, usize)) -> Picture {
    let mut whole = Picture::filled(width, height, 0);
    for y in 0..picture.height_px {
        whole.indices[y * width..][..picture.width_px].copy_from_slice(picture.row(y));
    }
    whole
}
