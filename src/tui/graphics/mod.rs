//! Pictures for the terminal: composed, compared with what is shown, sent as sixel or half blocks.
//!
//! ```text
//! Scene --compose--> Picture (palette indices) --Painter--> opaque sixel rectangles --Screen--> terminal
//!                                              |-> kitty images, for terminals without sixel
//!                                              \-halfblock-> cells of a ratatui buffer
//! ```
//!
//! Everything here is pure: no terminal, no clock. A picture is made of registers of a
//! [`Palette`]: a ramp of grays (window, level and quantisation are one table), a ramp tinted
//! with the colour of each mask so that speckle stays visible beneath it, flat overlay
//! colours, and for frames with colour flow a cube of colours. Units: `_px` are pixels of the
//! screen unless "image px" is said.

mod bench;
mod clahe;
mod compose;
mod damage;
mod flow;
mod halfblock;
mod iterm;
mod kitty;
mod letters;
#[cfg(feature = "libsixel")]
pub mod libsixel;
mod link;
mod masks;
mod palette;
mod quantise;
mod shapes;
pub mod sixel;
mod viewport;

pub use bench::{BenchRow, bench_rows, synthetic_frame};
pub use clahe::{evened, stretched};
pub use compose::{
    BoxMark, Crosshair, LetterMark, LineMark, MaskLayer, MaskStyle, PointMark, Scene, Tone,
    compose, compose_image, compose_over,
};
pub use damage::{CellArea, Grid, Limits, Painter, PlacedSixel, Protocol, cover, reserve};
pub use flow::shows_colours;
pub use halfblock::{ColourDepth, render_halfblocks};
pub use link::{Detail, FINEST, Link};
pub use palette::{Colour, Palette, percent_from_rgb};
pub use quantise::coarsen;
pub use viewport::Viewport;

/// An indexed picture: `width_px * height_px` registers of a [`Palette`], row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Width, px.
    pub width_px: usize,
    /// Height, px.
    pub height_px: usize,
    /// Registers, row by row.
    pub indices: Vec<u8>,
}

impl Picture {
    /// A picture filled with one register.
    #[must_use]
    pub fn filled(width_px: usize, height_px: usize, index: u8) -> Self {
        Self { width_px, height_px, indices: vec![index; width_px * height_px] }
    }

    /// Row `y`.
    #[must_use]
    pub fn row(&self, y: usize) -> &[u8] {
        &self.indices[y * self.width_px..(y + 1) * self.width_px]
    }

    /// A rectangle of the picture; it must lie inside.
    #[must_use]
    pub fn crop(&self, area: RectPx) -> Picture {
        let mut indices = Vec::with_capacity(area.width * area.height);
        for y in area.y..area.y + area.height {
            indices.extend_from_slice(&self.row(y)[area.x..area.x + area.width]);
        }
        Picture { width_px: area.width, height_px: area.height, indices }
    }
}

/// A rectangle of screen pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RectPx {
    /// Left edge.
    pub x: usize,
    /// Top edge.
    pub y: usize,
    /// Width.
    pub width: usize,
    /// Height.
    pub height: usize,
}

impl RectPx {
    /// Number of pixels.
    #[must_use]
    pub fn area(&self) -> usize {
        self.width * self.height
    }

    /// The smallest rectangle around both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let right = (self.x + self.width).max(other.x + other.width);
        let bottom = (self.y + self.height).max(other.y + other.height);
        Self { x, y, width: right - x, height: bottom - y }
    }

    /// True when the two share a pixel.
    #[must_use]
    pub fn intersects(&self, other: &Self) -> bool {
        self.x < other.x + other.width
            && other.x < self.x + self.width
            && self.y < other.y + other.height
            && other.y < self.y + self.height
    }
}
