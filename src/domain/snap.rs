//! The last step of every decoding: the contour goes through the boundary points.
//!
//! A person who puts a point on the edge expects the edge there. The contour is moved by a smooth field, in pixels, that
//! is what is missing at each point and nothing far from all of them. What decides whether this file is right: it works on
//! the distance to the contour and never on logits, which are steep here and flat there, so the same contour moves alike
//! whatever its logits; a point far from the contour pulls on a wider stretch of it, so that there is neither spike nor
//! island; a hole stays a hole and has an edge of its own that points may lie on; where the border of the picture cuts the
//! structure, the border is its edge, and a point on it pulls on nothing.

use super::distance::signed_distance;
use super::{Bitmap, BoxPx, PixelBox, PointPx, closed_curve, filled};

/// How far a correction reaches along the contour (standard deviation) relative to the largest distance between points.
const WIDTH_OF_SPREAD: f32 = 0.10;
/// And at least, relative to the correction: above exp(-1/2) the way from contour to point falls steadily.
const WIDTH_OF_MOVE: f32 = 0.65;
/// Beyond this many widths a correction ends (exp(-8) = 3e-4 of it).
const REACH: f32 = 4.0;
/// The pixel under a point is the last one inside: the contour lies half a pixel farther out.
const INSIDE_PX: f32 = 0.5;
/// Pixels that are the border of a picture to a hand.
const BORDER_PX: i64 = 2;
/// A point on a cut is near an end of it that is as many times nearer than the other end.
const NEAR_AN_END: f32 = 3.0;
/// Contour that is nearer than this part of the way to the end of a cut is not that end.
const ON_THE_WAY: f32 = 0.7;
/// Smaller holes keep their place but hold no point.
const HOLE_PX: usize = 16;

/// Moves the contour of `logits` (`width` x `height`, row by row, positive inside) through `points`, in pixels of the same
/// grid. Where the contour moves, the logits become distances to it; elsewhere nothing changes. Without any contour the
/// closed curve through the points becomes the mask. With fewer than two distinct points nothing is changed, since
/// there is no scale to correct on.
pub fn snap_to_points(logits: &mut [f32], width: u32, height: u32, points: &[PointPx]) {
    let (w, h) = (width as usize, height as usize);
    if logits.len() != w * h || w == 0 || h == 0 {
        return;
    }
    let spread =
        points.iter().flat_map(|p| points.iter().map(|q| p.distance(*q))).fold(0.0f32, f32::max);
    if spread < 1.0 || !spread.is_finite() {
        return;
    }
    let whole = PixelBox { left: 0, top: 0, width: w, height: h };
    let near = part_at_work(logits, whole, points, spread);
    for part in [near, whole] {
        let mut cut = part.part(logits, w);
        let seen: Vec<PointPx> = points.iter().map(|p| part.seen(*p)).collect();
        if snap_in_part(&mut cut, part, whole, &seen, spread) {
            part.put(logits, w, &cut);
            return;
        }
    }
}

/// The part of the frame in which everything happens, unless a point is far from the contour: the mask with background
/// around it, and what corrections of the usual width reach.
fn part_at_work(logits: &[f32], whole: PixelBox, points: &[PointPx], spread: f32) -> PixelBox {
    let mask = Bitmap::from_logits(whole.width as u32, whole.height as u32, logits).bounds();
    let Some((mask, points)) = mask.zip(BoxPx::of(points.iter().copied())) else { return whole };
    let reach = REACH * (WIDTH_OF_SPREAD * spread).max(1.0) + 1.0;
    let (mask, points) = (mask.grown(1.0), points.grown(reach));
    let extent = BoxPx::of([mask.min, mask.max, points.min, points.max]);
    extent.map_or(whole, |extent| PixelBox::covering(extent, whole.width, whole.height))
}

/// The same in `part` of a frame, with points as seen from it. `false` where a correction reaches beyond that part: then
/// nothing is changed.
fn snap_in_part(
    logits: &mut [f32],
    part: PixelBox,
    whole: PixelBox,
    points: &[PointPx],
    spread: f32,
) -> bool {
    let (w, h) = (part.width, part.height);
    let (width, height) = (w as u32, h as u32);
    let holes = holes_of(logits, width, height);
    let solid: Vec<f32> = logits
        .iter()
        .zip(&holes.all.pixels)
        .map(|(l, hole)| if *hole { 1.0 } else { *l })
        .collect();
    let Some(outer) = signed_distance(&solid, w, h) else {
        let curve = filled(&closed_curve(points), width, height);
        for (logit, inside) in logits.iter_mut().zip(&curve.pixels) {
            *logit = if *inside { 1.0 } else { -1.0 };
        }
        return true;
    };
    let inner = holes.edges(logits).and_then(|field| signed_distance(&field, w, h));
    let read = |field: &[f32], p: &PointPx| sample(field, w, h, *p);
    let (left, top) = (part.left as i64, part.top as i64);
    let inside = |x: i64, y: i64| {
        let (x, y) = (usize::try_from(x - left), usize::try_from(y - top));
        matches!((x, y), (Ok(x), Ok(y)) if x < w && y < h && solid[y * w + x] > 0.0)
    };
    let cut = |p: &&PointPx| {
        let in_frame = PointPx::new(p.x + left as f32, p.y + top as f32);
        on_the_cut(inside, [whole.width, whole.height], in_frame, read(&outer, p))
    };
    // Each point moves the edge that is nearer: the outer one or that of a hole.
    let moving = points.iter().filter(|p| !cut(p)).copied();
    let (on_hole, on_outer): (Vec<PointPx>, Vec<PointPx>) = moving.partition(|p| {
        inner.as_ref().is_some_and(|inner| read(inner, p).abs() < read(&outer, p).abs())
    });
    let moves = |field: &[f32], points: &[PointPx], wanted: f32| {
        let each = points.iter().map(|p| Move::new(*p, wanted - read(field, p), spread));
        Moves(each.collect())
    };
    let outer_moves = moves(&outer, &on_outer, INSIDE_PX);
    let hole_moves = inner.as_ref().map(|inner| moves(inner, &on_hole, -INSIDE_PX));
    let mut all = outer_moves.0.iter().chain(hole_moves.iter().flat_map(|moves| &moves.0));
    if !all.all(|each| each.ends_in(part, whole)) {
        return false;
    }
    let outer_moves = outer_moves.field(w, h);
    let hole_moves = hole_moves.map(|moves| moves.field(w, h));
    for (i, logit) in logits.iter_mut().enumerate() {
        let hole_move = hole_moves.as_ref().map_or(0.0, |moved| moved[i]);
        if (outer_moves[i] == 0.0 && hole_move == 0.0) || holes.small.pixels[i] {
            continue;
        }
        let depth = outer[i] + outer_moves[i];
        *logit = inner.as_ref().map_or(depth, |inner| depth.min(-inner[i] - hole_move));
    }
    true
}

/// Whether `at` lies where the border of a picture of that width and height cuts a mask: there the border is the contour. A
/// point near an end of the cut says where that end is, and one whose nearest contour, `depth` px away, is not an end lies
/// on the cut wherever it is.
pub(super) fn on_the_cut(
    inside: impl Fn(i64, i64) -> bool,
    [width, height]: [usize; 2],
    at: PointPx,
    depth: f32,
) -> bool {
    if !(0.0..=width as f32).contains(&at.x) || !(0.0..=height as f32).contains(&at.y) {
        return false;
    }
    let (last_x, last_y) = (width as i64 - 1, height as i64 - 1);
    let (x, y) = ((at.x as i64).min(last_x), (at.y as i64).min(last_y));
    let in_picture = |x: i64, y: i64| (0..=last_x).contains(&x) && (0..=last_y).contains(&y);
    // How far the mask goes on along the border, px, and whether it ends there or the picture does.
    let run = |dx: i64, dy: i64| {
        let mut steps = 0i64;
        loop {
            let (x, y) = (x + (steps + 1) * dx, y + (steps + 1) * dy);
            if !in_picture(x, y) {
                return (steps as f32, false);
            }
            if !inside(x, y) {
                return (steps as f32 + INSIDE_PX, true);
            }
            steps += 1;
        }
    };
    let lies_on = |dx: i64, dy: i64| {
        let mut ends = [run(dx, dy), run(-dx, -dy)];
        ends.sort_by(|one, other| one.0.total_cmp(&other.0));
        let [(near, is_end), (far, _)] = ends;
        !is_end || depth < ON_THE_WAY * near || NEAR_AN_END * near > far
    };
    let on_border = |at: i64, last: i64| at < BORDER_PX || at > last - BORDER_PX;
    let (across, down) = (on_border(x, last_x), on_border(y, last_y));
    inside(x, y) && ((across && lies_on(0, 1)) || (down && lies_on(1, 0)))
}

/// Background enclosed by the mask.
struct Holes {
    all: Bitmap,
    small: Bitmap,
}

fn holes_of(logits: &[f32], width: u32, height: u32) -> Holes {
    let background = Bitmap::from_logits(width, height, logits).inverted();
    let all = background.enclosed();
    let small = all.specks(HOLE_PX);
    Holes { all, small }
}

impl Holes {
    /// Logits that are positive in the large holes, with their edges where those of `logits` are.
    fn edges(&self, logits: &[f32]) -> Option<Vec<f32>> {
        let large = |i: usize| self.all.pixels[i] && !self.small.pixels[i];
        (0..logits.len()).any(large).then(|| {
            // Inside the mask a logit says how near the edge is; everything else outside is far.
            let value = |(i, l): (usize, &f32)| match (large(i), *l > 0.0) {
                (true, _) => (-l).max(f32::MIN_POSITIVE),
                (false, true) => -l,
                (false, false) => -1.0,
            };
            logits.iter().enumerate().map(value).collect()
        })
    }
}

/// One point and how far the contour has to go there.
struct Move {
    at: PointPx,
    /// Outwards, px.
    way: f32,
    /// Standard deviation of its reach, px.
    width: f32,
}

impl Move {
    fn new(at: PointPx, way: f32, spread: f32) -> Self {
        let width = (WIDTH_OF_SPREAD * spread).max(WIDTH_OF_MOVE * way.abs()).max(1.0);
        Self { at, way, width }
    }

    /// The pixels that it reaches of a line of `size`, around `centre`.
    fn range(&self, centre: f32, size: usize) -> std::ops::Range<usize> {
        let low = (centre - REACH * self.width).floor().clamp(0.0, size as f32) as usize;
        let high = (centre + REACH * self.width).ceil().clamp(0.0, size as f32) as usize;
        low..high
    }

    /// Whether all that it reaches of the frame lies in `part`, from which its position is seen.
    fn ends_in(&self, part: PixelBox, whole: PixelBox) -> bool {
        let ends = |at: f32, first: usize, count: usize, size: usize| {
            let reached = self.range(at + first as f32, size);
            reached.start >= first && reached.end <= first + count
        };
        ends(self.at.x, part.left, part.width, whole.width)
            && ends(self.at.y, part.top, part.height, whole.height)
    }
}

/// All moves of one edge.
struct Moves(Vec<Move>);

impl Moves {
    /// How far the edge moves at every pixel: exactly what each point asks for at that point, between points a mean of
    /// what they ask for (never more than the most), and 0 out of reach of all.
    fn field(&self, width: usize, height: usize) -> Vec<f32> {
        // Per pixel: weights, weighted ways, and how much of the pixel is out of everybody's reach.
        let mut sums = vec![(0.0f32, 0.0f32, 1.0f32); width * height];
        for each in &self.0 {
            let Move { at, way, width: sigma } = each;
            for y in each.range(at.y, height) {
                for x in each.range(at.x, width) {
                    let square = (x as f32 + 0.5 - at.x).powi(2) + (y as f32 + 0.5 - at.y).powi(2);
                    let reach = (-0.5 * square / (sigma * sigma)).exp();
                    let weight = reach / (square + 1e-2);
                    let (all, asked, free) = &mut sums[y * width + x];
                    *all += weight;
                    *asked += weight * way;
                    *free *= 1.0 - reach;
                }
            }
        }
        sums.iter()
            .map(|(all, asked, free)| if *all > 0.0 { asked / all * (1.0 - free) } else { 0.0 })
            .collect()
    }
}

/// Bilinear value at a position, pixel centres at half-integers, edges extended.
fn sample(field: &[f32], width: usize, height: usize, at: PointPx) -> f32 {
    let x = (at.x - 0.5).clamp(0.0, width as f32 - 1.0);
    let y = (at.y - 0.5).clamp(0.0, height as f32 - 1.0);
    let (x0, y0) = (x.floor() as usize, y.floor() as usize);
    let (x1, y1) = ((x0 + 1).min(width - 1), (y0 + 1).min(height - 1));
    let (fx, fy) = (x - x0 as f32, y - y0 as f32);
    let value = |x: usize, y: usize| field[y * width + x];
    let top = value(x0, y0) * (1.0 - fx) + value(x1, y0) * fx;
    let bottom = value(x0, y1) * (1.0 - fx) + value(x1, y1) * fx;
    top * (1.0 - fy) + bottom * fy
}

#[cfg(test)]
#[path = "snap_tests.rs"]
mod tests;
