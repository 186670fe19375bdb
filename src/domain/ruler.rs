//! Marks along a ray: places that one more key moves a boundary point to.
//!
//! The likeliest edge is the contour on about half of the rays; elsewhere the contour is near it,
//! or on another edge, or where the image shows none. So the marks lie densely round the point and
//! sparsely farther off, each drawn onto an edge where one is near: whatever the right place is,
//! a letter reaches it, or a second letter from there. What decides whether this file is right: a
//! slot means the same step on every ray, so that fingers learn it.

use super::Edge;

/// Distances from the point, px of an image of 256 px (larger images have larger structures).
const STEPS_PX: [f32; 6] = [2.5, 5.5, 9.5, 14.0, 20.0, 28.0];
const REFERENCE_PX: f32 = 256.0;
/// Marks on either side of the point.
pub const MARKS_ASIDE: usize = STEPS_PX.len();

/// A place on a ray that a key reaches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RayMark {
    /// Which key, from the innermost on: 0..`2 * aside`.
    pub slot: usize,
    /// Distance from the centre, px.
    pub radius_px: f32,
    /// The edge it lies on, if it does.
    pub on: Option<usize>,
}

/// The marks round a point `radius_px` from the centre of a ray with `edges`, `aside` on either
/// side (at most [`MARKS_ASIDE`]), in an image whose shorter side has `side_px`; from the centre
/// outwards, none beyond `reach_px` and none at the centre.
#[must_use]
pub fn marks_along(
    edges: &[Edge],
    radius_px: f32,
    side_px: u32,
    reach_px: f32,
    aside: usize,
) -> Vec<RayMark> {
    let unit = (side_px as f32 / REFERENCE_PX).max(0.5);
    let aside = aside.min(MARKS_ASIDE);
    let steps = &STEPS_PX[..aside];
    let inward = (0..aside).rev().map(|i| (aside - 1 - i, -1.0, i));
    let outward = (0..aside).map(|i| (aside + i, 1.0, i));
    let mut marks: Vec<RayMark> = Vec::new();
    for (slot, way, i) in inward.chain(outward) {
        let wanted = radius_px + way * steps[i] * unit;
        // Half the way to the next mark on either side: no two marks want the same edge.
        let inner = steps[i] - if i == 0 { 0.0 } else { steps[i - 1] };
        let outer = steps.get(i + 1).map_or(inner, |next| next - steps[i]);
        let off = |at: &usize| (edges[*at].radius_px - wanted) * way;
        let near = |at: &usize| (-inner * unit..outer * unit).contains(&(2.0 * off(at)));
        let nearest = |a: &usize, b: &usize| off(a).abs().total_cmp(&off(b).abs());
        let on = (0..edges.len()).filter(near).min_by(nearest);
        let at = on.map_or(wanted, |at| edges[at].radius_px);
        let distinct = marks.last().is_none_or(|last| at - last.radius_px >= 1.0);
        if at > 1.0 && at <= reach_px && (at - radius_px).abs() >= 1.0 && distinct {
            marks.push(RayMark { slot, radius_px: at, on });
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_place_near_the_point_is_a_letter_or_two_away() {
        let edges = [Edge { radius_px: 47.0, contrast: 9.0 }];
        let off = |from: f32, wanted: f32| {
            let marks = marks_along(&edges, from, 256, 200.0, MARKS_ASIDE);
            marks
                .iter()
                .map(|mark| (mark.radius_px, (mark.radius_px - wanted).abs()))
                .chain([(from, (from - wanted).abs())])
                .min_by(|a, b| a.1.total_cmp(&b.1))
                .expect("a mark")
        };
        for wanted in 12..=68 {
            let (at, first) = off(40.0, wanted as f32);
            let (_, second) = off(at, wanted as f32);
            assert!(first <= 5.0 && second <= 2.0, "{wanted}: {first} then {second}");
        }
        assert_eq!(off(40.0, 47.0), (47.0, 0.0), "an edge draws a mark onto itself");
    }

    #[test]
    fn slots_mean_the_same_step_wherever_the_point_is() {
        let slots = |radius: f32, reach: f32| -> Vec<usize> {
            marks_along(&[], radius, 512, reach, 6).iter().map(|mark| mark.slot).collect()
        };
        assert_eq!(slots(100.0, 400.0), (0..12).collect::<Vec<_>>());
        assert_eq!(slots(12.0, 30.0), [5, 6, 7], "what lies outside keeps its key");
        assert_eq!(marks_along(&[], 100.0, 256, 400.0, 0), []);
    }
}
