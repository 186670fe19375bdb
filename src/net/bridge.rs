//! Boundary points for weights that never learned of any (every published SAM 2 checkpoint).
//!
//! What decides whether this file is right: it is asked only where the card lacks `boundary_embedding`; two points or more
//! become a closed curve (of two: an ellipse), which such weights do understand in three ways at once: as mask prompt, as
//! box and as the point deepest inside. What a person said besides (a box, inside and outside points) is kept and stands
//! for itself. Nothing of a boundary point's label reaches the network.

use super::predict::MASK_LOGIT;
use super::prompt_encoder::PointLabel;
use crate::domain::{Bitmap, PointPx, closed_curve, filled};

/// Network px of one cell of a mask prompt.
const CELL_PX: f32 = 4.0;

/// A point of a prompt, in network px.
pub type NetworkPoint = ([f32; 2], PointLabel);

/// Prompts without boundary points that say the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Bridged {
    /// Box corners, the point deepest inside the curve, then the person's own region points.
    pub points: Vec<NetworkPoint>,
    /// The curve as mask-prompt logits, `(size / 4)^2`; `None` for a single boundary point, which has no curve.
    pub mask: Option<Vec<f32>>,
}

/// `points` (box corners first, network px of an input of side `size`) for weights that know no boundary point; `None`
/// where there is none among them. A single boundary point counts as an inside point: nothing better is known of it.
#[must_use]
pub fn bridge(points: &[NetworkPoint], size: usize) -> Option<Bridged> {
    let on_boundary = |label: PointLabel| label == PointLabel::Boundary;
    let cells: Vec<PointPx> =
        points.iter().filter(|(_, label)| on_boundary(*label)).map(|(at, _)| cell(*at)).collect();
    if cells.is_empty() {
        return None;
    }
    let curve = closed_curve(&cells);
    if curve.is_empty() {
        let inside = |&(at, label): &NetworkPoint| match on_boundary(label) {
            true => (at, PointLabel::Inside),
            false => (at, label),
        };
        return Some(Bridged { points: points.iter().map(inside).collect(), mask: None });
    }
    let side = size / 4;
    let mask = filled(&curve, side as u32, side as u32);
    let is_corner = |label: PointLabel| matches!(label, PointLabel::BoxMin | PointLabel::BoxMax);
    let (corners, own): (Vec<NetworkPoint>, Vec<NetworkPoint>) = points
        .iter()
        .copied()
        .filter(|(_, label)| !on_boundary(*label))
        .partition(|(_, label)| is_corner(*label));
    let mut said = if corners.is_empty() { box_around(&curve, size).to_vec() } else { corners };
    said.push((deepest(&mask, &cells), PointLabel::Inside));
    said.extend(own);
    // As sure as a mask that a person gives.
    let logit = |&inside: &bool| if inside { MASK_LOGIT } else { -MASK_LOGIT };
    Some(Bridged { points: said, mask: Some(mask.pixels.iter().map(logit).collect()) })
}

/// A network position (pixel centres at whole numbers) in cells (cell centres at half-integers).
fn cell(at: [f32; 2]) -> PointPx {
    let [x, y] = at.map(|v| (v + 0.5) / CELL_PX);
    PointPx::new(x, y)
}

fn from_cell(at: PointPx) -> [f32; 2] {
    [at.x, at.y].map(|v| v * CELL_PX - 0.5)
}

/// The corners of the smallest box around the curve, inside the input.
fn box_around(curve: &[PointPx], size: usize) -> [NetworkPoint; 2] {
    let far = |pick: fn(f32, f32) -> f32, start: f32| {
        let reach = |of: fn(&PointPx) -> f32| curve.iter().map(of).fold(start, pick);
        let at = from_cell(PointPx::new(reach(|p| p.x), reach(|p| p.y)));
        at.map(|v| v.clamp(0.0, size as f32 - 1.0))
    };
    [
        (far(f32::min, f32::INFINITY), PointLabel::BoxMin),
        (far(f32::max, f32::NEG_INFINITY), PointLabel::BoxMax),
    ]
}

/// The middle of the cell farthest from everything outside; of a curve too small for a cell, the middle of its points.
fn deepest(mask: &Bitmap, cells: &[PointPx]) -> [f32; 2] {
    let depth = mask.inverted().distance_to_foreground();
    let inside = mask.pixels.iter().zip(&depth).enumerate().filter(|(_, (inside, _))| **inside);
    let best = inside.max_by(|(_, (_, a)), (_, (_, b))| a.total_cmp(b)).map(|(i, _)| i as u32);
    from_cell(best.map_or_else(
        || {
            let mean = |of: fn(&PointPx) -> f32| {
                cells.iter().map(of).sum::<f32>() / cells.len().max(1) as f32
            };
            PointPx::new(mean(|p| p.x), mean(|p| p.y))
        },
        |i| PointPx::pixel_centre(i % mask.width_px, i / mask.width_px),
    ))
}

#[cfg(test)]
mod tests {
    use super::PointLabel::{Boundary, BoxMax, BoxMin, Inside, Outside};
    use super::*;

    fn labels(bridged: &Bridged) -> Vec<PointLabel> {
        bridged.points.iter().map(|(_, label)| *label).collect()
    }

    #[test]
    fn without_boundary_points_there_is_nothing_to_bridge() {
        assert_eq!(bridge(&[], 256), None);
        assert_eq!(bridge(&[([9.0, 9.0], Inside), ([0.0, 0.0], BoxMin)], 256), None);
    }

    #[test]
    fn two_points_become_an_ellipse_its_box_and_its_middle() {
        let ends = [([40.0, 128.0], Boundary), ([216.0, 128.0], Boundary)];
        let bridged = bridge(&ends, 256).expect("two points");
        assert_eq!(labels(&bridged), [BoxMin, BoxMax, Inside]);
        let [low, high, inside] = [0, 1, 2].map(|i| bridged.points[i].0);
        assert!((low[0] - 40.0).abs() < 1.0 && (high[0] - 216.0).abs() < 1.0, "{low:?} {high:?}");
        assert!(low[1] > 60.0 && high[1] < 196.0, "an ellipse is flatter than a circle");
        assert!((inside[0] - 128.0).abs() < 30.0 && (inside[1] - 128.0).abs() < 4.0, "{inside:?}");
        let mask = bridged.mask.expect("a curve");
        assert_eq!((mask.len(), mask[32 * 64 + 32], mask[0]), (64 * 64, 10.0, -10.0));
    }

    #[test]
    fn a_crescent_has_its_point_inside_and_not_in_the_middle() {
        // The middle of these points lies outside the curve through them.
        let bent = [
            (20.0, 20.0),
            (120.0, 90.0),
            (230.0, 20.0),
            (200.0, 140.0),
            (120.0, 190.0),
            (50.0, 140.0),
        ];
        let points: Vec<NetworkPoint> = bent.iter().map(|&(x, y)| ([x, y], Boundary)).collect();
        let bridged = bridge(&points, 256).expect("six points");
        let [x, y] = bridged.points[2].0.map(|v| ((v + 0.5) / 4.0) as usize);
        assert_eq!(bridged.mask.expect("a curve")[y * 64 + x], 10.0);
    }

    #[test]
    fn what_a_person_said_besides_is_kept() {
        let prompts = [
            ([10.0, 12.0], BoxMin),
            ([200.0, 220.0], BoxMax),
            ([60.0, 60.0], Boundary),
            ([5.0, 5.0], Outside),
            ([90.0, 140.0], Boundary),
            ([80.0, 90.0], Inside),
        ];
        let bridged = bridge(&prompts, 256).expect("two boundary points");
        assert_eq!(labels(&bridged), [BoxMin, BoxMax, Inside, Outside, Inside]);
        assert_eq!((bridged.points[0], bridged.points[3]), (prompts[0], prompts[3]));
    }

    #[test]
    fn one_point_and_coinciding_points_are_inside_points() {
        for n in 1..4 {
            let bridged = bridge(&vec![([30.0, 40.0], Boundary); n], 128).expect("boundary points");
            assert_eq!((labels(&bridged), bridged.mask), (vec![Inside; n], None));
        }
    }

    #[test]
    fn hostile_points_stay_inside_the_input() {
        let points = [[-900.0, 4.0], [9000.0, 4.0], [3.0, 3.2], [3.0, 3.3], [1e9, -1e9]];
        for n in 1..=points.len() {
            let given: Vec<NetworkPoint> = points[..n].iter().map(|at| (*at, Boundary)).collect();
            let bridged = bridge(&given, 128).expect("boundary points");
            if bridged.mask.is_some() {
                let fine = |v: &f32| (0.0..=127.0).contains(v);
                assert!(bridged.points[..2].iter().flat_map(|(at, _)| at).all(fine), "{bridged:?}");
            }
            assert!(bridged.points.iter().flat_map(|(at, _)| at).all(|v| v.is_finite()));
        }
    }
}
