//! The same picture in text cells, for terminals without sixel.
//!
//! Each cell shows two pixels, one above the other: `▀` with two colours. Compose the scene at
//! `area.width` x `2 * area.height` px for it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;

use super::{Palette, Picture};

/// Characters from dark to bright where colours are not wanted.
const RAMP: [&str; 10] = [" ", ".", ":", "-", "=", "+", "*", "#", "%", "@"];

/// What colours the terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColourDepth {
    /// 24 bits.
    True,
    /// xterm's 256.
    Indexed,
    /// The 16 named ones; the grays among them are four.
    Sixteen,
    /// None (`NO_COLOR`): brightness by characters.
    Mono,
}

impl ColourDepth {
    /// What the environment promises: `NO_COLOR`, `COLORTERM`, `TERM` (values, not looked up
    /// here).
    #[must_use]
    pub fn from_env(no_color: Option<&str>, colorterm: Option<&str>, term: Option<&str>) -> Self {
        let term = term.unwrap_or("");
        if no_color.is_some_and(|value| !value.is_empty()) || term == "dumb" {
            Self::Mono
        } else if matches!(colorterm, Some("truecolor" | "24bit")) || term.ends_with("-direct") {
            Self::True
        } else if term.contains("256color") {
            Self::Indexed
        } else {
            Self::Sixteen
        }
    }

    /// The nearest that the terminal has.
    pub(in crate::tui) fn colour(self, [r, g, b]: [u8; 3]) -> Color {
        match self {
            Self::True => Color::Rgb(r, g, b),
            Self::Indexed => Color::Indexed(nearest_of_256([r, g, b])),
            Self::Sixteen => nearest_named([r, g, b]),
            Self::Mono => Color::Reset,
        }
    }
}

/// Draws `picture` into the cells of `area`, two rows of pixels in each row of cells.
pub fn render_halfblocks(
    picture: &Picture,
    palette: &Palette,
    depth: ColourDepth,
    area: Rect,
    buffer: &mut Buffer,
) {
    let area = area.intersection(buffer.area);
    for row in 0..area.height as usize {
        for column in 0..(area.width as usize).min(picture.width_px) {
            let pixel = |y: usize| (y < picture.height_px).then(|| picture.row(y)[column]);
            let Some(upper) = pixel(2 * row) else {
                continue;
            };
            let lower = pixel(2 * row + 1).unwrap_or_default();
            let cell = &mut buffer[(area.x + column as u16, area.y + row as u16)];
            if depth == ColourDepth::Mono {
                cell.set_symbol(mono(upper, lower, palette));
            } else {
                cell.set_symbol("▀");
                cell.set_fg(depth.colour(palette.rgb(upper)));
                cell.set_bg(depth.colour(palette.rgb(lower)));
            }
        }
    }
}

/// A character as bright as two registers; marks stand out as signs that the ramp does not have, also where the theme has
/// them white.
fn mono(upper: u8, lower: u8, palette: &Palette) -> &'static str {
    match (palette.is_overlay(upper), palette.is_overlay(lower)) {
        (true, true) => "8",
        (true, false) => "^",
        (false, true) => "_",
        (false, false) => {
            let gray = |register: u8| {
                let [r, g, b] = palette.rgb(register);
                u32::from(r) * 2 + u32::from(g) * 5 + u32::from(b)
            };
            RAMP[((gray(upper) + gray(lower)) * 9 + 2040) as usize / 4080]
        }
    }
}

/// The nearest of the 6x6x6 cube and the 24 grays.
fn nearest_of_256(rgb: [u8; 3]) -> u8 {
    const STEPS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let step = |v: u8| (0..6u8).min_by_key(|&i| STEPS[i as usize].abs_diff(v)).unwrap_or(0);
    let [r, g, b] = rgb.map(step);
    let cube = [r, g, b].map(|i| STEPS[i as usize]);
    let mean = (u16::from(rgb[0]) + u16::from(rgb[1]) + u16::from(rgb[2])) / 3;
    let gray = (mean.saturating_sub(3) / 10).min(23) as u8;
    let gray_value = 8 + 10 * gray;
    if distance(rgb, [gray_value; 3]) < distance(rgb, cube) {
        232 + gray
    } else {
        16 + 36 * r + 6 * g + b
    }
}

fn nearest_named(rgb: [u8; 3]) -> Color {
    const NAMED: [(Color, [u8; 3]); 16] = [
        (Color::Black, [0, 0, 0]),
        (Color::DarkGray, [127, 127, 127]),
        (Color::Gray, [210, 210, 210]),
        (Color::White, [255, 255, 255]),
        (Color::Red, [205, 0, 0]),
        (Color::Green, [0, 205, 0]),
        (Color::Yellow, [205, 205, 0]),
        (Color::Blue, [0, 0, 238]),
        (Color::Magenta, [205, 0, 205]),
        (Color::Cyan, [0, 205, 205]),
        (Color::LightRed, [255, 0, 0]),
        (Color::LightGreen, [0, 255, 0]),
        (Color::LightYellow, [255, 255, 0]),
        (Color::LightBlue, [92, 92, 255]),
        (Color::LightMagenta, [255, 0, 255]),
        (Color::LightCyan, [0, 255, 255]),
    ];
    let nearest = NAMED.iter().min_by_key(|(_, value)| distance(rgb, *value));
    nearest.map_or(Color::Reset, |(colour, _)| *colour)
}

fn distance(a: [u8; 3], b: [u8; 3]) -> u32 {
    a.iter().zip(b).map(|(x, y)| u32::from(x.abs_diff(y)).pow(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::graphics::Colour;

    fn render(depth: ColourDepth) -> (Buffer, Palette) {
        let palette = Palette::new(32, &[[100, 0, 0]], 0, 256);
        let red = palette.overlay(Colour(0));
        let picture = Picture { width_px: 2, height_px: 3, indices: vec![0, 31, 31, 0, red, 16] };
        let mut buffer = Buffer::empty(Rect::new(0, 0, 4, 3));
        render_halfblocks(&picture, &palette, depth, Rect::new(1, 1, 9, 9), &mut buffer);
        (buffer, palette)
    }

    #[test]
    fn each_cell_shows_two_pixels() {
        let (buffer, _) = render(ColourDepth::True);
        let cell = &buffer[(1, 1)];
        assert_eq!(
            (cell.symbol(), cell.fg, cell.bg),
            ("▀", Color::Rgb(0, 0, 0), Color::Rgb(255, 255, 255))
        );
        assert_eq!(buffer[(1, 2)].fg, Color::Rgb(255, 0, 0));
        assert_eq!(buffer[(3, 1)].symbol(), " ");
        assert_eq!(render(ColourDepth::Indexed).0[(2, 1)].fg, Color::Indexed(231));
        assert_eq!(render(ColourDepth::Sixteen).0[(1, 2)].fg, Color::LightRed);
    }

    #[test]
    fn without_colour_brightness_is_a_character_and_marks_stand_out() {
        let (buffer, _) = render(ColourDepth::Mono);
        assert_eq!(buffer[(1, 1)].symbol(), "+");
        assert_eq!(buffer[(1, 2)].symbol(), "^");
        assert!(
            buffer.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset)
        );
    }

    #[test]
    fn marks_without_a_colour_of_their_own_are_no_bright_speckle() {
        // White and gray, as of the theme without colours.
        let palette = Palette::new(32, &[[100; 3], [56; 3]], 1, 256);
        let [white, gray] = [Colour(0), Colour(1)].map(|colour| palette.overlay(colour));
        let tinted = palette.tint(Colour(0), 31);
        let indices = vec![white, 31, gray, tinted, 31, gray, white, 31];
        let picture = Picture { width_px: 4, height_px: 2, indices };
        let mut buffer = Buffer::empty(Rect::new(0, 0, 4, 1));
        let area = buffer.area;
        render_halfblocks(&picture, &palette, ColourDepth::Mono, area, &mut buffer);
        let signs: Vec<&str> = (0..4).map(|x| buffer[(x, 0)].symbol()).collect();
        assert_eq!(signs, ["^", "_", "8", "@"]);
    }

    #[test]
    fn the_environment_decides() {
        let depth = ColourDepth::from_env;
        assert_eq!(depth(Some("1"), Some("truecolor"), Some("xterm")), ColourDepth::Mono);
        assert_eq!(depth(Some(""), Some("truecolor"), Some("xterm")), ColourDepth::True);
        assert_eq!(depth(None, None, Some("xterm-256color")), ColourDepth::Indexed);
        assert_eq!(depth(None, None, None), ColourDepth::Sixteen);
    }
}
