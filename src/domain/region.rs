//! The part of a frame in which a scanner shows ultrasound; names are burned in outside of it.
//!
//! What decides whether this file is right: no pixel outside counts as inside, and what is written is read again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::PointPx;

/// Pieces of an arc of an outline.
const ARC: usize = 32;

/// Boxes of one region, at most.
const MOST_BOXES: usize = 8;

/// A box, several of them, or a fan of pixels.
///
/// As text (`--outside`): `box:LEFT,TOP,RIGHT,BOTTOM` in px, both ends included; `boxes:` with four
/// such numbers for each of several; or `fan:X,Y,NEAR,FAR,LEFT,RIGHT` with the apex and the two
/// radii in px and the two edges in degrees from straight down, positive to the right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Region {
    /// First column and row, last column and row.
    Box([u32; 4]),
    /// Several boxes: a pixel of any of them belongs to it.
    Boxes(Boxes),
    /// A sector of a ring.
    Fan(Fan),
}

/// Two to eight boxes, each first column and row, last column and row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boxes {
    sides: [[u32; 4]; MOST_BOXES],
    count: usize,
}

impl Boxes {
    /// The boxes in order.
    #[must_use]
    pub fn sides(&self) -> &[[u32; 4]] {
        &self.sides[..self.count]
    }
}

/// What a phased or curved array shows: everything between two radii and two angles at an apex.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fan {
    /// Column and row of the apex, px; it may lie outside the frame.
    pub apex_px: [f64; 2],
    /// Radii of the upper and the lower end, px.
    pub radii_px: [f64; 2],
    /// Left and right edge, degrees from straight down.
    pub edges_degrees: [f64; 2],
}

impl Fan {
    /// Whether a place, px, lies in it.
    #[must_use]
    pub fn contains(&self, x: f64, y: f64) -> bool {
        let (dx, dy) = (x - self.apex_px[0], y - self.apex_px[1]);
        let (radius, angle) = (dx.hypot(dy), dx.atan2(dy).to_degrees());
        (self.radii_px[0]..=self.radii_px[1]).contains(&radius)
            && (self.edges_degrees[0]..=self.edges_degrees[1]).contains(&angle)
    }
}

impl Region {
    /// Everything that lies in one of `boxes`; `None` where there are none. From the eighth on
    /// they are one: the smallest box around them.
    #[must_use]
    pub fn of_boxes(boxes: &[[u32; 4]]) -> Option<Self> {
        let around = |a: [u32; 4], b: &[u32; 4]| {
            [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])]
        };
        match boxes {
            [] => None,
            [one] => Some(Self::Box(*one)),
            all => {
                let mut sides = [[0; 4]; MOST_BOXES];
                sides.iter_mut().zip(all).for_each(|(side, each)| *side = *each);
                let more = all.iter().skip(MOST_BOXES);
                sides[MOST_BOXES - 1] = more.fold(sides[MOST_BOXES - 1], around);
                Some(Self::Boxes(Boxes { sides, count: all.len().min(MOST_BOXES) }))
            }
        }
    }

    /// Whether a pixel, by column and row, belongs to it.
    #[must_use]
    pub fn contains(&self, column: u32, row: u32) -> bool {
        match self {
            Self::Box(sides) => in_box(sides, column, row),
            Self::Boxes(boxes) => boxes.sides().iter().any(|sides| in_box(sides, column, row)),
            Self::Fan(fan) => fan.contains(f64::from(column) + 0.5, f64::from(row) + 0.5),
        }
    }

    /// First column and row, last column and row of its pixels in a frame of this size; `None`
    /// when it has no pixel there.
    #[must_use]
    pub fn bounds(&self, width_px: u32, height_px: u32) -> Option<[u32; 4]> {
        let mut bounds: Option<[u32; 4]> = None;
        for row in 0..height_px {
            for column in (0..width_px).filter(|&column| self.contains(column, row)) {
                let [x0, y0, x1, _] = bounds.unwrap_or([column, row, column, row]);
                bounds = Some([x0.min(column), y0, x1.max(column), row]);
            }
        }
        bounds
    }

    /// The word for people.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Box(_) => "box",
            Self::Boxes(_) => "regions",
            Self::Fan(_) => "fan",
        }
    }

    /// Its border as closed lines, px of the image; parts of them may lie outside the frame.
    #[must_use]
    pub fn outlines(&self) -> Vec<Vec<PointPx>> {
        match self {
            Self::Box(sides) => vec![box_outline(sides)],
            Self::Boxes(boxes) => boxes.sides().iter().map(box_outline).collect(),
            Self::Fan(fan) => {
                let [near, far] = fan.radii_px;
                let [left, right] = fan.edges_degrees;
                let on = |radius: f64, part: usize| {
                    let angle = left + (right - left) * part as f64 / ARC as f64;
                    let (sin, cos) = angle.to_radians().sin_cos();
                    let [x, y] = fan.apex_px;
                    PointPx::new((x + radius * sin) as f32, (y + radius * cos) as f32)
                };
                let there = (0..=ARC).map(|part| on(near, part));
                vec![there.chain((0..=ARC).rev().map(|part| on(far, part))).collect()]
            }
        }
    }
}

fn in_box([x0, y0, x1, y1]: &[u32; 4], column: u32, row: u32) -> bool {
    (*x0..=*x1).contains(&column) && (*y0..=*y1).contains(&row)
}

fn box_outline([x0, y0, x1, y1]: &[u32; 4]) -> Vec<PointPx> {
    let (x0, y0, x1, y1) = (*x0 as f32, *y0 as f32, *x1 as f32 + 1.0, *y1 as f32 + 1.0);
    [(x0, y0), (x1, y0), (x1, y1), (x0, y1)].map(|(x, y)| PointPx::new(x, y)).into()
}

/// What a person decided about the pixels outside a region that was found in a clip's pixels. As
/// text: `show`, or the region whose outside is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum OutsideChoice {
    /// Everything is shown.
    Show,
    /// What lies outside this region is black.
    HideAllBut(Region),
}

impl From<OutsideChoice> for String {
    fn from(choice: OutsideChoice) -> Self {
        match choice {
            OutsideChoice::Show => "show".to_owned(),
            OutsideChoice::HideAllBut(region) => region.to_string(),
        }
    }
}

impl TryFrom<String> for OutsideChoice {
    type Error = NoRegion;

    fn try_from(text: String) -> Result<Self, NoRegion> {
        if text == "show" { Ok(Self::Show) } else { text.parse().map(Self::HideAllBut) }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Box([x0, y0, x1, y1]) => write!(f, "box:{x0},{y0},{x1},{y1}"),
            Self::Boxes(boxes) => {
                let numbers: Vec<String> =
                    boxes.sides().as_flattened().iter().map(u32::to_string).collect();
                write!(f, "boxes:{}", numbers.join(","))
            }
            Self::Fan(Fan { apex_px: [x, y], radii_px: [near, far], edges_degrees: [l, r] }) => {
                write!(f, "fan:{x:.1},{y:.1},{near:.1},{far:.1},{l:.1},{r:.1}")
            }
        }
    }
}

/// What a region is written like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a region is box:LEFT,TOP,RIGHT,BOTTOM in px, boxes: with four such numbers for each of two to \
     eight, or fan:X,Y,NEAR,FAR,LEFT,RIGHT in px and degrees from straight down"
)]
pub struct NoRegion;

impl FromStr for Region {
    type Err = NoRegion;

    fn from_str(text: &str) -> Result<Self, NoRegion> {
        let (kind, numbers) = text.split_once(':').ok_or(NoRegion)?;
        let parts = numbers.split(',').map(str::trim);
        match kind {
            "box" => {
                let whole: Result<Vec<u32>, _> = parts.map(str::parse).collect();
                let sides: Option<[u32; 4]> = whole.ok().and_then(|all| all.try_into().ok());
                let sound = sides.filter(|[x0, y0, x1, y1]| x0 <= x1 && y0 <= y1);
                sound.map(Self::Box).ok_or(NoRegion)
            }
            "boxes" => {
                let whole: Result<Vec<u32>, _> = parts.map(str::parse).collect();
                let whole = whole.map_err(|_| NoRegion)?;
                let (boxes, rest) = whole.as_chunks::<4>();
                let sound = boxes.iter().all(|[x0, y0, x1, y1]| x0 <= x1 && y0 <= y1);
                let fits = sound && rest.is_empty() && boxes.len() <= MOST_BOXES;
                Self::of_boxes(boxes).filter(|_| fits).ok_or(NoRegion)
            }
            "fan" => {
                let all: Result<Vec<f64>, _> = parts.map(str::parse).collect();
                let all: Option<[f64; 6]> = all.ok().and_then(|all| all.try_into().ok());
                let [x, y, near, far, left, right] = all.ok_or(NoRegion)?;
                let sound = [x, y, near, far, left, right].iter().all(|v: &f64| v.abs() < 1e6)
                    && (0.0..far).contains(&near)
                    && left < right;
                let fan =
                    Fan { apex_px: [x, y], radii_px: [near, far], edges_degrees: [left, right] };
                sound.then_some(Self::Fan(fan)).ok_or(NoRegion)
            }
            _ => Err(NoRegion),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_boxes_are_one_region_and_none_of_them_is_lost() {
        assert_eq!(Region::of_boxes(&[]), None);
        assert_eq!(Region::of_boxes(&[[1, 2, 3, 4]]), Some(Region::Box([1, 2, 3, 4])));
        let boxes: Vec<[u32; 4]> = (0..10).map(|i| [i * 10, 5, i * 10 + 3, 8]).collect();
        let region = Region::of_boxes(&boxes).expect("boxes");
        assert_eq!(region.outlines().len(), 8);
        assert!(boxes.iter().all(|[x, y, ..]| region.contains(x + 3, y + 3)));
        assert!(!region.contains(5, 6) && !region.contains(65, 6) && region.contains(75, 6));
        assert_eq!(region.to_string().parse(), Ok(region));
    }

    #[test]
    fn regions_are_read_as_they_are_written() {
        for text in
            ["box:4,6,15,20", "boxes:4,6,15,20,0,0,2,1", "fan:170.0,-4.0,22.0,207.5,-39.7,40.7"]
        {
            let region: Region = text.parse().expect("a region");
            assert_eq!(region.to_string(), text);
        }
        for text in [
            "",
            "boxes:1,2,3",
            "boxes:1,2,3,4,5",
            "boxes:1,2,0,4",
            "box:1,2,3",
            "box:5,0,4,9",
            "fan:0,0,9,8,-1,1",
            "fan:0,0,0,NaN,-1,1",
        ] {
            assert_eq!(text.parse::<Region>(), Err(NoRegion), "{text}");
        }
        let told = NoRegion.to_string();
        assert!(["box:", "boxes:", "fan:"].iter().all(|kind| told.contains(kind)), "{told}");
    }

    #[test]
    fn a_fan_lies_below_its_apex_between_its_radii_and_edges() {
        let region: Region = "fan:50,0,10,40,-45,30".parse().expect("a region");
        assert!(region.contains(50, 20) && region.contains(32, 22) && region.contains(59, 20));
        assert!(!region.contains(50, 5) && !region.contains(50, 45) && !region.contains(66, 20));
        for at in region.outlines().concat() {
            let (dx, dy) = (f64::from(at.x) - 50.0, f64::from(at.y));
            let (radius, angle) = (dx.hypot(dy), dx.atan2(dy).to_degrees());
            assert!((radius - 10.0).abs() < 1e-3 || (radius - 40.0).abs() < 1e-3, "{at:?}");
            assert!((-45.01..30.01).contains(&angle), "{at:?}");
        }
        let [x0, y0, x1, y1] = region.bounds(100, 100).expect("pixels");
        assert_eq!((x0, y0, x1, y1), (22, 7, 69, 39));
        assert_eq!(region.bounds(20, 5), None);
    }
}
