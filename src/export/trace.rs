//! Outlines of masks as polygons from which the mask comes back pixel by pixel.
//!
//! Two kinds, for two ways in which other programs fill polygons:
//! * [`cracks`]: along the edges between pixels, for fills that ask on which side of the outline
//!   the centre of a pixel lies (COCO).
//! * [`centres`]: through the centres of the outermost pixels, for fills that colour the outline
//!   itself as well (OpenCV, and with it Ultralytics).
//!
//! A polygon has no holes in these formats: a hole is joined to the outline by a line that is
//! walked there and back.

use std::collections::{BTreeMap, BTreeSet};

use imageproc::contours::{BorderType, find_contours};

use crate::domain::Bitmap;

/// A closed polygon; the last point is joined to the first.
pub(super) type Polygon = Vec<(i32, i32)>;

/// A polygon for every 8-connected part, through the centres of pixels: corners are column and
/// row, lines run straight or diagonally. Lines to holes run through pixels of the mask.
pub(super) fn centres(bitmap: &Bitmap) -> Vec<Polygon> {
    // A margin of one pixel: at the edge of an image no border is found.
    let inside = |x: u32, y: u32| bitmap.get(i64::from(x) - 1, i64::from(y) - 1);
    let image = image::GrayImage::from_fn(bitmap.width_px + 2, bitmap.height_px + 2, |x, y| {
        image::Luma([if inside(x, y) { 255 } else { 0 }])
    });
    let (mut outlines, mut holes): (Vec<Polygon>, Vec<Polygon>) = (Vec::new(), Vec::new());
    for contour in find_contours::<i32>(&image) {
        let points: Polygon = contour.points.iter().map(|p| (p.x - 1, p.y - 1)).collect();
        match contour.border_type {
            BorderType::Outer => outlines.push(points),
            BorderType::Hole => holes.push(points),
        }
    }
    // From left to right: what a hole is joined to has then been joined already.
    holes.sort_by_key(|points| points.iter().map(|p| p.0).min());
    for hole in holes {
        join(&mut outlines, &hole, bitmap);
    }
    outlines.into_iter().map(straightened).collect()
}

/// Joins a hole to the polygon that it meets on the way to the left.
fn join(outlines: &mut [Polygon], hole: &Polygon, bitmap: &Bitmap) {
    let leftmost = (0..hole.len()).min_by_key(|&i| hole[i]).unwrap_or(0);
    let (x, y) = hole[leftmost];
    let run = (0..=x).rev().take_while(|&at| bitmap.get(i64::from(at), i64::from(y)));
    let meets = run.last().unwrap_or(x);
    let found = outlines.iter_mut().find_map(|outline| {
        let at = outline.iter().position(|&p| p == (meets, y))?;
        Some((outline, at))
    });
    if let Some((outline, at)) = found {
        let around = hole[leftmost..].iter().chain(&hole[..=leftmost]).copied();
        let detour: Vec<(i32, i32)> = around.chain([(meets, y)]).collect();
        outline.splice(at + 1..at + 1, detour);
    }
}

/// A polygon for every 4-connected part and its holes, along the edges of pixels: corners are
/// corners of pixels, lines are horizontal or vertical, but for those that join holes.
pub(super) fn cracks(bitmap: &Bitmap) -> Vec<Polygon> {
    let mut polygons: Vec<Polygon> = Vec::new();
    let mut owner: BTreeMap<u32, usize> = BTreeMap::new();
    let loops = crack_loops(bitmap);
    let parts = bitmap.parts();
    let part_of = |points: &Polygon| {
        // Every loop has its structure on the right of its first step.
        let ((x, y), (u, v)) = (points[0], points[1]);
        let (dx, dy) = ((u - x).signum(), (v - y).signum());
        let pixel = match (dx, dy) {
            (1, _) => (x, y),
            (-1, _) => (x - 1, y - 1),
            (_, 1) => (x - 1, y),
            _ => (x, y - 1),
        };
        parts[pixel.1 as usize * bitmap.width_px as usize + pixel.0 as usize]
    };
    for points in loops {
        let part = part_of(&points);
        match owner.get(&part) {
            None => {
                owner.insert(part, polygons.len());
                polygons.push(points);
            }
            Some(&at) => {
                let start = polygons[at][0];
                let first = points[0];
                polygons[at].push(start);
                polygons[at].extend(points);
                polygons[at].push(first);
            }
        }
    }
    polygons
}

/// All loops of edges between inside and outside, inside on the right, in row order of their
/// first corner; the first loop of a part is its outline.
fn crack_loops(bitmap: &Bitmap) -> Vec<Polygon> {
    let at = |x: i32, y: i32| bitmap.get(i64::from(x), i64::from(y));
    // Top edges of inside pixels, walked to the right: every loop has at least one.
    let mut open: BTreeSet<(i32, i32)> = BTreeSet::new();
    for y in 0..bitmap.height_px as i32 {
        for x in 0..bitmap.width_px as i32 {
            if at(x, y) && !at(x, y - 1) {
                open.insert((y, x));
            }
        }
    }
    let mut loops = Vec::new();
    while let Some((y, x)) = open.pop_first() {
        let (start, mut corner, mut step) = ((x, y), (x + 1, y), (1, 0));
        let mut points = vec![start];
        loop {
            let next = turn(&at, corner, step);
            if next != step {
                points.push(corner);
            }
            if corner == start && next == (1, 0) {
                break;
            }
            if next == (1, 0) {
                open.remove(&(corner.1, corner.0));
            }
            step = next;
            corner = (corner.0 + step.0, corner.1 + step.1);
        }
        // The start is a corner only when the walk turns there.
        if points.last() == Some(&start) {
            points.pop();
        } else {
            points.remove(0);
        }
        loops.push(points);
    }
    loops
}

/// Where the walk goes on from a corner: inside stays on the right, and two parts that touch
/// only in this corner stay apart.
fn turn(at: &impl Fn(i32, i32) -> bool, (x, y): (i32, i32), step: (i32, i32)) -> (i32, i32) {
    let (dx, dy) = step;
    let right = (-dy, dx);
    // The pixels ahead of the corner, on the left and on the right of the walk.
    let pixel = |side: (i32, i32)| {
        let (a, b) = (dx + side.0, dy + side.1);
        at(x + (a - 1) / 2, y + (b - 1) / 2)
    };
    let left = (dy, -dx);
    match (pixel(left), pixel(right)) {
        (_, false) => right,
        (false, true) => step,
        (true, true) => left,
    }
}

/// The same polygon without points in the middle of straight lines.
fn straightened(points: Polygon) -> Polygon {
    let step = |a: (i32, i32), b: (i32, i32)| ((b.0 - a.0).signum(), (b.1 - a.1).signum());
    let even = |a: (i32, i32), b: (i32, i32)| {
        let (dx, dy) = ((b.0 - a.0).abs(), (b.1 - a.1).abs());
        dx == 0 || dy == 0 || dx == dy
    };
    let mut kept: Polygon = Vec::with_capacity(points.len());
    for (i, &point) in points.iter().enumerate() {
        let next = points[(i + 1) % points.len()];
        let goes_on = kept.last().is_some_and(|&last| {
            even(last, point) && even(point, next) && step(last, point) == step(point, next)
        });
        if !goes_on || next == point {
            kept.push(point);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::raster::{Rule, fill};

    /// Noise of every density: parts that touch in corners, holes in holes, lone pixels, edges.
    fn noise() -> impl Iterator<Item = Bitmap> {
        let mut random = fastrand::Rng::with_seed(7);
        (0..400).map(move |i| {
            let (width, height) = (random.u32(1..14), random.u32(1..14));
            let density = f64::from(i % 19 + 1) / 20.0;
            let pixels = (0..width * height).map(|_| random.f64() < density).collect();
            Bitmap { width_px: width, height_px: height, pixels }
        })
    }

    fn filled(bitmap: &Bitmap, polygons: &[Polygon], shift: f64, rule: Rule) -> Bitmap {
        let mut all = Bitmap::empty(bitmap.width_px, bitmap.height_px);
        for polygon in polygons {
            let points: Vec<[f64; 2]> = polygon
                .iter()
                .map(|&(x, y)| [f64::from(x) + shift, f64::from(y) + shift])
                .collect();
            fill(&mut all, &points, rule);
        }
        all
    }

    #[test]
    fn masks_come_back_from_their_outlines() {
        for bitmap in noise() {
            let found = filled(&bitmap, &cracks(&bitmap), 0.0, Rule::Centres);
            assert_eq!(found, bitmap, "along edges");
            let found = filled(&bitmap, &centres(&bitmap), 0.5, Rule::CentresAndOutline);
            assert_eq!(found, bitmap, "through centres");
        }
    }

    #[test]
    fn straight_lines_have_two_points() {
        let square = Bitmap::from_fn(9, 9, |x, y| (2..6).contains(&x) && (3..8).contains(&y));
        assert_eq!(
            cracks(&square),
            [[(6, 3), (6, 8), (2, 8), (2, 3)]]
                .map(|p| p.to_vec())
                .to_vec()
                .iter()
                .map(|p| {
                    let mut p = p.clone();
                    p.rotate_right(1);
                    p
                })
                .collect::<Vec<_>>()
        );
        assert_eq!(centres(&square)[0].len(), 4);
    }
}
