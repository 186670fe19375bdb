//! Pictures by kitty's graphics protocol (kitty, ghostty, ...): PNG in base64.
//!
//! Unlike sixels, such images are not part of the text: they lie in layers, the higher number on
//! top, and stay until they are deleted. So every rectangle gets a new number, images that it
//! hides wholly are deleted behind it, and when too many pile up the whole picture is sent once.
//! Source: <https://sw.kovidgoyal.net/kitty/graphics-protocol/>.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Palette, Picture, RectPx};

/// Most base64 in one sequence, bytes.
const CHUNK: usize = 4096;
/// Images on the screen before the whole picture is sent again.
const PILE: usize = 48;
/// Takes all images from the screen and out of the terminal's memory.
const CLEAR: &[u8] = b"\x1b_Ga=d,d=A,q=2\x1b\\";

/// The images on the screen.
#[derive(Debug, Default)]
pub(super) struct Pile {
    last: u32,
    shown: Vec<(u32, RectPx)>,
}

impl Pile {
    /// So many images lie on each other that one new one is better.
    pub(super) fn is_high(&self) -> bool {
        self.shown.len() >= PILE
    }

    /// The sequence that takes away everything; empty when nothing is there.
    pub(super) fn clear(&mut self) -> Vec<u8> {
        let there = !std::mem::take(&mut self.shown).is_empty();
        if there { CLEAR.to_vec() } else { Vec::new() }
    }

    /// The sequences that show `picture` with its corner at the cursor, which stays, and take away
    /// what it hides; `area` is its place among the others.
    pub(super) fn put(&mut self, picture: &Picture, area: RectPx, palette: &Palette) -> Vec<u8> {
        let Some(png) = png(picture, palette) else { return Vec::new() };
        self.last += 1;
        let data = STANDARD.encode(png);
        let mut out = String::with_capacity(data.len() + data.len() / 100 + 64);
        let mut rest = data.as_str();
        let mut keys = format!("a=T,f=100,i={},C=1,q=2,", self.last);
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at(rest.len().min(CHUNK));
            let more = u8::from(!later.is_empty());
            let _ = write!(out, "\x1b_G{keys}m={more};{chunk}\x1b\\");
            (keys, rest) = (String::new(), later);
        }
        let hidden = |held: &RectPx| held.union(&area) == area;
        for (number, _) in self.shown.iter().filter(|(_, held)| hidden(held)) {
            let _ = write!(out, "\x1b_Ga=d,d=I,i={number},q=2\x1b\\");
        }
        self.shown.retain(|(_, held)| !hidden(held));
        self.shown.push((self.last, area));
        out.into_bytes()
    }
}

/// An indexed PNG with only the registers that are needed; none for a picture without pixels.
///
/// In an enlarged picture rows repeat: these cost nothing against the row above, the others less against the pixel to
/// the left (a fifth of the bytes of a picture twice as large). Elsewhere grays are in order, so the mean of the
/// neighbours tells much of a pixel (a tenth of the bytes at 32 grays, a fifth at 101), or flat parts are better left
/// as they are: the shorter one is taken.
pub(super) fn png(picture: &Picture, palette: &Palette) -> Option<Vec<u8>> {
    let by = |filter| filtered(picture, palette, filter);
    if rows_repeat(picture) {
        return by(png::Filter::Adaptive);
    }
    [by(png::Filter::Avg), by(png::Filter::NoFilter)].into_iter().flatten().min_by_key(Vec::len)
}

/// A fifth of the rows, or more, are the row above once more.
fn rows_repeat(picture: &Picture) -> bool {
    let again = (1..picture.height_px).filter(|&y| picture.row(y) == picture.row(y - 1));
    again.count() * 5 >= picture.height_px
}

fn filtered(picture: &Picture, palette: &Palette, filter: png::Filter) -> Option<Vec<u8>> {
    let most = *picture.indices.iter().max()?;
    let mut bytes = Vec::new();
    let (width, height) = (picture.width_px as u32, picture.height_px as u32);
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette((0..=most).flat_map(|index| palette.rgb(index)).collect::<Vec<u8>>());
    encoder.set_filter(filter);
    // Beyond level 4 little is gained.
    encoder.set_deflate_compression(png::DeflateCompression::Level(4));
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&picture.indices).ok()?;
    writer.finish().ok()?;
    Some(bytes)
}
#[cfg(test)]
mod tests {
    use super::super::{Scene, Viewport, compose, sixel};
    use super::*;
    use crate::domain::GrayFrame;

    #[test]
    fn an_enlarged_still_is_much_lighter_than_its_sixels() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/stills/usgra_0162.png");
        let still = image::open(path).unwrap().to_luma8();
        let (width, height) = still.dimensions();
        let frame = GrayFrame::new(width, height, still.into_raw()).unwrap();
        let view = Viewport::fit(width, height, 1280, 960);
        let bytes = |levels| {
            let palette = Palette::new(levels, &[[50, 50, 0]; 15], 5, 256);
            let picture = compose(&Scene::new(Some(&frame), view), &palette);
            let sixel = sixel::encode(&picture, &palette).len();
            let png = png(&picture, &palette).unwrap().len().div_ceil(3) * 4;
            println!(
                "{width} x {height}, {levels} grays: sixel {sixel}, PNG in base64 {png} bytes"
            );
            (png, sixel)
        };
        let (png, sixel) = bytes(101);
        assert!(png * 5 <= sixel * 2, "{png} and {sixel} bytes");
        assert!(bytes(101).0 * 10 <= bytes(32).1 * 11, "three times the grays in as many bytes");
    }
}
