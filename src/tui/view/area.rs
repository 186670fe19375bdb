//! The area of a structure over time: a curve of a few rows, from the smallest to the largest.

use ratatui::text::{Line, Span};

use crate::domain::{FrameIndex, Track};
use crate::tui::model::Model;

use super::{Look, cells};

/// Dots across and down a text cell.
const ACROSS: usize = 2;
const DOWN: usize = 4;
/// First of the signs that show any of the eight dots of a cell.
const BRAILLE: u32 = 0x2800;
/// The bit of each dot, by column and row from the top.
const BITS: [[u8; DOWN]; ACROSS] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

/// The areas of the structure at hand, by frame, and the numbers at the axis.
pub(super) struct Curve {
    areas: Vec<Option<f64>>,
    low: f64,
    high: f64,
    unit: &'static str,
}

impl Curve {
    /// `None` where the structure has no mask yet. In mm2 where the clip tells its spacing.
    pub(super) fn of(model: &Model) -> Option<Self> {
        let (_, track) = model.current()?;
        // In the scale of the region that the structure lies in, as its first mask shows.
        let spacing = if model.clip.scales.is_empty() {
            model.clip.pixel_spacing_mm
        } else {
            let first = track.masks.values().next()?;
            model.clip.scale_of(&first.mask.to_bitmap()).ok()
        };
        let (each, unit) = spacing.map_or((1.0, "px"), |[x, y]| (x * y, "mm2"));
        let area = |frame: FrameIndex| area_px(track, frame).map(|px| px as f64 * each);
        let areas: Vec<Option<f64>> = (0..model.clip.frames).map(area).collect();
        let known = || areas.iter().flatten().copied();
        let (low, high) = (known().reduce(f64::min)?, known().reduce(f64::max)?);
        Some(Self { low, high, unit, areas })
    }

    /// The numbers at the axis: largest and smallest; one where they are the same.
    fn labels(&self) -> Vec<String> {
        let digits = usize::from(self.unit != "px");
        let of = |value: f64| format!(" {value:.digits$} {}", self.unit);
        let (high, low) = (of(self.high), of(self.low));
        if high == low { vec![high] } else { vec![high, low] }
    }

    /// Columns that the numbers take.
    pub(super) fn axis(&self) -> usize {
        self.labels().iter().map(|label| cells(label)).max().unwrap_or(0)
    }

    /// The curve in `rows` lines; `frames_of(dot, dots)` are the frames of a column of dots.
    pub(super) fn lines<'a>(
        &self,
        columns: usize,
        rows: usize,
        frames_of: impl Fn(usize, usize) -> (FrameIndex, FrameIndex),
        look: Look<'_>,
    ) -> Vec<Line<'a>> {
        let dots = self.dots(columns * ACROSS, rows * DOWN, frames_of);
        let style = look.theme.style(look.theme.decided);
        let labels = self.labels();
        let axis = self.axis();
        let line = |row: usize| {
            let cell = |column: usize| {
                let bits = (0..ACROSS * DOWN).fold(0u8, |bits, i| {
                    let (x, y) = (i % ACROSS, i / ACROSS);
                    let set = dots[column * ACROSS + x].contains(&(row * DOWN + y));
                    bits | if set { BITS[x][y] } else { 0 }
                });
                match bits {
                    0 => ' ',
                    _ if look.ascii => '*',
                    _ => char::from_u32(BRAILLE + u32::from(bits)).unwrap_or(' '),
                }
            };
            let text: String = (0..columns).map(cell).collect();
            let label = match row {
                0 => labels.first(),
                _ if row + 1 == rows => labels.get(1),
                _ => None,
            };
            let label = label.map_or("", String::as_str);
            Line::from(vec![
                Span::styled(text, style),
                Span::styled(format!("{label:>axis$}"), look.theme.style(look.theme.text)),
            ])
        };
        (0..rows).map(line).collect()
    }

    /// Rows of the dots that are set in each column of dots: the mean of its frames, joined to the
    /// column before; empty where nothing is decided.
    fn dots(
        &self,
        columns: usize,
        rows: usize,
        frames_of: impl Fn(usize, usize) -> (FrameIndex, FrameIndex),
    ) -> Vec<std::ops::RangeInclusive<usize>> {
        let nothing = std::ops::RangeInclusive::new(1, 0);
        let mut before = None;
        let one = |dot: usize| {
            let (from, to) = frames_of(dot, columns);
            let held: Vec<f64> = self.areas.iter().take(to).skip(from).flatten().copied().collect();
            let mean = held.iter().sum::<f64>() / held.len() as f64;
            let here = (!held.is_empty()).then(|| self.row(mean, rows));
            let set = match (here, before) {
                (None, _) => nothing.clone(),
                (Some(here), None) => here..=here,
                (Some(here), Some(last)) if here > last => last + 1..=here,
                (Some(here), Some(last)) if here < last => here..=last - 1,
                (Some(here), Some(_)) => here..=here,
            };
            before = here;
            set
        };
        (0..columns).map(one).collect()
    }

    /// Row of a value from the top; in the middle where all are the same.
    fn row(&self, value: f64, rows: usize) -> usize {
        let span = self.high - self.low;
        let share = if span > 0.0 { (self.high - value) / span } else { 0.5 };
        (share * (rows.saturating_sub(1)) as f64).round() as usize
    }
}

/// What a frame shows of the structure.
fn area_px(track: &Track, frame: FrameIndex) -> Option<u64> {
    track.masks.get(&frame).filter(|_| track.visible(frame)).map(|held| held.mask.area_px())
}
