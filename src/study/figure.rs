//! Curves with their intervals, as PNG and SVG, readable in print.
//!
//! What decides whether this file is right: lines differ by colour (Okabe and Ito's, told apart by everybody), dash and
//! marker, so that a copy in gray can be read; both files show the same.

use std::fmt::Display;
use std::sync::OnceLock;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};

use super::StudyError;
use super::stats::Interval;
use crate::export::{RgbImage, png_bytes};

/// Size of the SVG, px; the PNG has twice as many.
const SIZE: (u32, u32) = (900, 560);
const PNG_SCALE: u32 = 2;
const FONT: &str = "sans-serif";
/// Okabe and Ito's colours without yellow, which is too light for lines.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
];

/// One line of a figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// In the legend.
    pub name: String,
    /// Dashed: something that never learned.
    pub dashed: bool,
    /// x and the mean with its interval there.
    pub points: Vec<(f64, Interval)>,
}

/// A figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Above it.
    pub title: String,
    /// Below it.
    pub x: String,
    /// Beside it.
    pub y: String,
    /// Its lines.
    pub lines: Vec<Line>,
}

impl Figure {
    /// The figure as SVG.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn svg(&self) -> Result<String, StudyError> {
        typeface()?;
        let mut text = String::new();
        self.draw(&SVGBackend::with_string(&mut text, SIZE).into_drawing_area(), 1)?;
        Ok(text)
    }

    /// The figure as PNG.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn png(&self) -> Result<Vec<u8>, StudyError> {
        typeface()?;
        let (width, height) = (SIZE.0 * PNG_SCALE, SIZE.1 * PNG_SCALE);
        let mut pixels = vec![255; (3 * width * height) as usize];
        let area = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
        self.draw(&area, PNG_SCALE)?;
        drop(area);
        let pixels = pixels.as_chunks::<3>().0.to_vec();
        png_bytes(&RgbImage { width_px: width, height_px: height, pixels }).map_err(failed)
    }

    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        scale: u32,
    ) -> Result<(), StudyError> {
        area.fill(&WHITE).map_err(failed)?;
        let s = |size: u32| size * scale;
        let (plot, legend) = area.split_horizontally(s(SIZE.0 - 250));
        let all = || self.lines.iter().flat_map(|line| &line.points);
        let low =
            |value: fn(&(f64, Interval)) -> f64, from: f64| all().map(value).fold(from, f64::min);
        let high =
            |value: fn(&(f64, Interval)) -> f64, from: f64| all().map(value).fold(from, f64::max);
        let (left, right) = (low(|p| p.0, f64::INFINITY), high(|p| p.0, f64::NEG_INFINITY));
        let (left, right) = if left < right { (left, right) } else { (0.0, 1.0) };
        let bottom = (10.0 * low(|p| p.1.ends()[0], 1.0)).floor() / 10.0;
        let mut chart = ChartBuilder::on(&plot)
            .caption(&self.title, (FONT, s(24)))
            .margin(s(10))
            .x_label_area_size(s(52))
            .y_label_area_size(s(64))
            .build_cartesian_2d(left - 0.2..right + 0.2, bottom.min(0.9)..1.0)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_desc(&self.x)
            .y_desc(&self.y)
            .axis_desc_style((FONT, s(20)))
            .label_style((FONT, s(18)))
            .x_labels((right - left) as usize + 2)
            .x_label_formatter(&|x| {
                if x.fract() == 0.0 { format!("{x:.0}") } else { String::new() }
            })
            .y_label_formatter(&|y| format!("{y:.2}"))
            .light_line_style(WHITE.mix(0.0))
            .draw()
            .map_err(failed)?;
        for (at, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            let upper = line.points.iter().map(|(x, i)| (*x, i.ends()[1]));
            let lower = line.points.iter().rev().map(|(x, i)| (*x, i.ends()[0]));
            let ribbon = Polygon::new(upper.chain(lower).collect::<Vec<_>>(), colour.mix(0.1));
            chart.draw_series([ribbon]).map_err(failed)?;
        }
        for (at, line) in self.lines.iter().enumerate() {
            let style = COLOURS[at % COLOURS.len()].stroke_width(s(2));
            let means: Vec<(f64, f64)> = line.points.iter().map(|(x, i)| (*x, i.mean)).collect();
            if line.dashed {
                let (dash, gap) = (s(7) as i32, s(5) as i32);
                let dashes = DashedLineSeries::new(means.clone(), dash, gap, style);
                chart.draw_series(dashes).map_err(failed)?;
            } else {
                chart.draw_series(LineSeries::new(means.clone(), style)).map_err(failed)?;
            }
            let corners = Marker::of(at).corners(s(5) as i32);
            let fill = style.color.filled();
            let marks = means
                .into_iter()
                .map(|p| EmptyElement::at(p) + Polygon::new(corners.clone(), fill));
            chart.draw_series(marks).map_err(failed)?;
        }
        self.legend(&legend, scale)
    }

    fn legend<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        scale: u32,
    ) -> Result<(), StudyError> {
        let s = |size: i32| size * scale as i32;
        let font = (FONT, 17 * scale).into_font();
        let text = font.color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
        for (at, line) in self.lines.iter().enumerate() {
            let y = s(58 + 30 * at as i32);
            let style = COLOURS[at % COLOURS.len()].stroke_width(2 * scale);
            let dashes = vec![(0, 8), (13, 31), (36, 44)];
            let pieces = if line.dashed { dashes } else { vec![(0, 44)] };
            for (from, to) in pieces {
                area.draw(&PathElement::new(vec![(s(from), y), (s(to), y)], style))
                    .map_err(failed)?;
            }
            let corners = Marker::of(at).corners(s(5));
            let moved: Vec<(i32, i32)> =
                corners.iter().map(|(dx, dy)| (s(22) + dx, y + dy)).collect();
            area.draw(&Polygon::new(moved, style.color.filled())).map_err(failed)?;
            let name = shortened(&line.name);
            area.draw(&Text::new(name, (s(54), y), text.clone())).map_err(failed)?;
        }
        Ok(())
    }
}

/// What marks the points of a line.
#[derive(Clone, Copy)]
enum Marker {
    Square,
    Triangle,
    Diamond,
    Octagon,
}

impl Marker {
    fn of(line: usize) -> Self {
        [Self::Octagon, Self::Square, Self::Triangle, Self::Diamond][line % 4]
    }

    fn corners(self, r: i32) -> Vec<(i32, i32)> {
        let half = r / 2;
        match self {
            Self::Square => vec![(-r, -r), (r, -r), (r, r), (-r, r)],
            Self::Triangle => vec![(0, -r), (r, r), (-r, r)],
            Self::Diamond => vec![(0, -r - half), (r + half, 0), (0, r + half), (-r - half, 0)],
            Self::Octagon => vec![
                (-half, -r),
                (half, -r),
                (r, -half),
                (r, half),
                (half, r),
                (-half, r),
                (-r, half),
                (-r, -half),
            ],
        }
    }
}

/// A name that fits the legend.
fn shortened(name: &str) -> String {
    const MOST: usize = 25;
    match name.chars().count() {
        n if n <= MOST => name.to_owned(),
        _ => name.chars().take(MOST - 1).chain(['…']).collect(),
    }
}

fn failed(cause: impl Display) -> StudyError {
    StudyError::Figure(cause.to_string())
}

/// Makes the typeface known to the drawing crate, once.
fn typeface() -> Result<(), StudyError> {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT).is_ok()
    });
    known.then_some(()).ok_or_else(|| failed("its typeface is damaged"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_show_the_lines() {
        let at = |mean: f64| Interval { mean, range: Some([mean - 0.05, mean + 0.05]) };
        let line = |name: &str, dashed, up| Line {
            name: name.into(),
            dashed,
            points: (1..=5).map(|x| (f64::from(x), at(0.5 + up * f64::from(x)))).collect(),
        };
        let lines = vec![line("boundary & points", false, 0.08), line("spline", true, 0.02)];
        let figure =
            Figure { title: "Two arms".into(), x: "points".into(), y: "IoU".into(), lines };
        let svg = figure.svg().expect("drawn");
        for text in ["Two arms", "boundary &amp; points", "spline", "#0072B2", "#D55E00"] {
            assert!(svg.contains(text), "{text} is missing");
        }
        let png =
            image::load_from_memory(&figure.png().expect("drawn")).expect("a PNG").into_rgb8();
        assert_eq!(png.dimensions(), (1800, 1120));
        for colour in [[0, 114, 178], [213, 94, 0]] {
            let drawn = png.pixels().filter(|p| p.0 == colour).count();
            assert!(drawn > 300, "{drawn} pixels of {colour:?}");
        }
        // Nothing to draw is no fault.
        assert!(Figure { lines: Vec::new(), ..figure }.png().is_ok());
    }
}
