//! Ordinary and adversarial points on ordinary and adversarial logits.

use super::*;

const SIDE: usize = 120;

/// A field of `value(x, y)` at the pixel centres.
fn field(value: impl Fn(f32, f32) -> f32) -> Vec<f32> {
    (0..SIDE * SIDE).map(|i| value((i % SIDE) as f32 + 0.5, (i / SIDE) as f32 + 0.5)).collect()
}

/// A disc of radius `r` round the middle, `slope` per px.
fn disc(r: f32, slope: f32) -> Vec<f32> {
    field(|x, y| slope * (r - (x - 60.0).hypot(y - 60.0)))
}

fn snapped(logits: &[f32], points: &[PointPx]) -> Bitmap {
    let mut logits = logits.to_vec();
    snap_to_points(&mut logits, SIDE as u32, SIDE as u32, points);
    assert!(logits.iter().all(|l| l.is_finite()));
    Bitmap::from_logits(SIDE as u32, SIDE as u32, &logits)
}

fn ring(angles_and_radii: &[(f32, f32)]) -> Vec<PointPx> {
    let at = |&(a, r): &(f32, f32)| PointPx::new(60.0 + r * a.cos(), 60.0 + r * a.sin());
    angles_and_radii.iter().map(at).collect()
}

/// Every point lies within a pixel of both sides of the contour.
fn keeps_promises(mask: &Bitmap, points: &[PointPx]) {
    for p in points {
        let near = |side: bool| {
            (-2i64..=2).any(|dy| {
                (-2i64..=2).any(|dx| {
                    let (x, y) = (p.x.floor() as i64 + dx, p.y.floor() as i64 + dy);
                    let away = PointPx::new(x as f32 + 0.5, y as f32 + 0.5).distance(*p);
                    away <= 1.6 && mask.get(x, y) == side
                })
            })
        };
        assert!(near(true) && near(false), "the contour misses {p:?}");
    }
}

/// Length of the contour in pixel edges; of a digital disc of radius r it is 8 r.
fn outline(mask: &Bitmap) -> usize {
    let side = SIDE as i64;
    let differs = |x: i64, y: i64, dx: i64, dy: i64| mask.get(x, y) != mask.get(x + dx, y + dy);
    (-1..side)
        .flat_map(|y| (-1..side).map(move |x| (x, y)))
        .map(|(x, y)| usize::from(differs(x, y, 1, 0)) + usize::from(differs(x, y, 0, 1)))
        .sum()
}

#[test]
fn the_pixel_under_each_point_is_the_last_one_inside() {
    let points = [(0.0, 24.5), (1.6, 17.5), (3.1, 19.5), (4.71, 26.0), (0.78, 22.6)];
    let points = ring(&points);
    let mask = snapped(&disc(20.0, 0.3), &points);
    for p in &points {
        let outwards = 1.6 / p.distance(PointPx::new(60.0, 60.0));
        let (x, y) = (p.x + (p.x - 60.0) * outwards, p.y + (p.y - 60.0) * outwards);
        assert!(mask.get(p.x as i64, p.y as i64), "{p:?} is outside");
        assert!(!mask.get(x as i64, y as i64), "beyond {p:?} is inside");
    }
}

#[test]
fn the_same_contour_moves_alike_whatever_its_logits() {
    let points = ring(&[(0.2, 26.0), (1.9, 15.0), (3.6, 22.0), (5.1, 33.0)]);
    let gentle = snapped(&disc(20.0, 0.3), &points);
    keeps_promises(&gentle, &points);
    // Steeper, flatter, saturated, and flat on one side but steep on the other.
    let saturated: Vec<f32> = disc(20.0, 5.0).iter().map(|l| l.clamp(-4.0, 4.0)).collect();
    let lopsided = field(|x, y| {
        let d = 20.0 - (x - 60.0).hypot(y - 60.0);
        if x < 60.0 { 1e-3 * d } else { 40.0 * d }
    });
    for (name, other, most) in [
        ("steep", disc(20.0, 300.0), 0),
        ("flat", disc(20.0, 1e-4), 0),
        ("saturated", saturated, 3),
        ("lopsided", lopsided, 6),
    ] {
        let other = snapped(&other, &points);
        let differ = other.pixels.iter().zip(&gentle.pixels).filter(|(a, b)| a != b).count();
        assert!(differ <= most, "{name}: {differ} pixels differ");
    }
}

#[test]
fn points_far_from_the_contour_make_neither_spikes_nor_islands() {
    for far in [25.0, 32.0, 42.0, 55.0] {
        for steep in [1e-3, 0.3, 100.0] {
            let points = ring(&[(0.4, far), (2.4, 20.0), (3.9, 20.0), (5.4, 20.0)]);
            let mask = snapped(&disc(20.0, steep), &points);
            keeps_promises(&mask, &points);
            assert_eq!(mask.components().count(), 1, "{far} px, slope {steep}: islands");
            assert_eq!(mask.inverted().enclosed().area_px(), 0, "{far} px, slope {steep}: holes");
            // A spike adds twice its length to the outline and next to nothing to the area.
            let bound = 8.0 * 20.0 + 4.0 * (far - 20.0);
            assert!(
                (outline(&mask) as f32) < bound,
                "{far} px: outline {} of {bound}",
                outline(&mask)
            );
        }
    }
}

#[test]
fn where_the_picture_cuts_a_structure_a_point_on_its_border_changes_nothing() {
    let half = field(|x, y| 40.0 - x.hypot(y - 60.0));
    let segment = field(|x, y| 40.0 - (x + 25.0).hypot(y - 60.0));
    let corner = field(|x, y| 60.0 - (120.0 - x).hypot(120.0 - y));
    let side = field(|_, y| 30.0 - y);
    for (name, logits, on_it, on_border) in [
        ("half", &half, [(39.5, 60.5), (28.0, 32.0)], (0.5, 60.5)),
        ("on the line", &half, [(0.5, 20.5), (0.5, 99.5)], (0.0, 60.0)),
        ("beside it", &half, [(39.5, 60.5), (28.0, 32.0)], (1.8, 64.0)),
        ("segment", &segment, [(14.5, 60.5), (0.5, 29.5)], (0.5, 75.5)),
        ("corner", &corner, [(78.0, 78.0), (119.5, 60.5)], (90.5, 119.5)),
        ("side", &side, [(60.5, 29.5), (20.5, 29.5)], (10.5, 0.5)),
    ] {
        let points = [on_it[0], on_it[1], on_border].map(|(x, y)| PointPx::new(x, y));
        let (before, after) = (snapped(logits, &points[..2]), snapped(logits, &points));
        let differ = before.pixels.iter().zip(&after.pixels).filter(|(a, b)| a != b).count();
        assert!(differ <= 4, "{name}: {differ} pixels differ");
    }
}

#[test]
fn where_a_structure_leaves_the_picture_a_point_on_the_border_moves_that_end() {
    let half = field(|x, y| 40.0 - x.hypot(y - 60.0));
    for (end, first) in [(28.5, 28), (12.5, 12)] {
        let points = [(0.5, end), (0.5, 99.5), (39.5, 60.5)].map(|(x, y)| PointPx::new(x, y));
        let mask = snapped(&half, &points);
        assert!(mask.get(0, first) && !mask.get(0, first - 2), "the end is not at {end}");
        assert!((first..98).all(|y| mask.get(0, y)), "{end}: the cut has a gap");
    }
}

#[test]
fn points_deep_inside_dent_the_mask_and_do_not_pierce_it() {
    let points = ring(&[(0.0, 12.0), (1.6, 30.0), (3.1, 30.0), (4.7, 30.0)]);
    let mask = snapped(&disc(30.0, 0.3), &points);
    keeps_promises(&mask, &points);
    assert_eq!(mask.components().count(), 1);
    assert_eq!(mask.inverted().enclosed().area_px(), 0, "the dent is open to the outside");
}

#[test]
fn a_hole_near_a_point_stays_and_can_hold_a_point_itself() {
    let annulus = field(|x, y| {
        let r = (x - 60.0).hypot(y - 60.0);
        (40.0 - r).min(r - 14.0)
    });
    // Outer points 8 px too far out and 6 px too far in.
    let outer = ring(&[(0.0, 48.0), (1.6, 34.0), (3.1, 40.0), (4.7, 40.0)]);
    let mask = snapped(&annulus, &outer);
    keeps_promises(&mask, &outer);
    let hole = |mask: &Bitmap| mask.inverted().enclosed().area_px() as f32;
    let whole = std::f32::consts::PI * 14.0 * 14.0;
    assert!((hole(&mask) / whole - 1.0).abs() < 0.03, "{} of {whole}", hole(&mask));
    // Two more on the edge of the hole, which is to be wider on one side.
    let all = [outer, ring(&[(0.8, 18.0), (3.9, 14.0)])].concat();
    let mask = snapped(&annulus, &all);
    keeps_promises(&mask, &all);
    assert!(hole(&mask) > whole, "the hole follows its own points");
    // Specks keep their place and hold nothing.
    let mut speckled = disc(30.0, 0.3);
    speckled[60 * SIDE + 86] = -1.0;
    let points = ring(&[(0.0, 33.0), (1.6, 30.0), (3.1, 30.0)]);
    let mask = snapped(&speckled, &points);
    keeps_promises(&mask, &points);
    assert!(!mask.get(86, 60), "the speck is still there");
}

#[test]
fn crowded_points_that_disagree_do_no_harm() {
    let crowd =
        ring(&[(0.0, 20.0), (0.02, 26.0), (0.04, 15.0), (0.06, 23.0), (0.08, 18.0), (3.0, 20.0)]);
    let mask = snapped(&disc(20.0, 0.3), &crowd);
    assert_eq!(mask.components().count(), 1);
    assert!(outline(&mask) < 200, "{}", outline(&mask));
    let area = mask.area_px() as f32 / (std::f32::consts::PI * 400.0);
    assert!((0.9..1.2).contains(&area), "{area}");
}

#[test]
fn far_from_the_points_nothing_changes() {
    let (before, mut logits) = (disc(20.0, 0.3), disc(20.0, 0.3));
    let points = [PointPx::new(60.5, 40.5), PointPx::new(65.5, 41.5)];
    snap_to_points(&mut logits, SIDE as u32, SIDE as u32, &points);
    assert_eq!(before[90 * SIDE..], logits[90 * SIDE..]);
}

#[test]
fn coinciding_and_single_points_do_no_harm() {
    let before = disc(20.0, 0.3);
    for points in [vec![PointPx::new(60.0, 40.0)], vec![PointPx::new(60.0, 40.0); 3], vec![]] {
        let mut logits = before.clone();
        snap_to_points(&mut logits, SIDE as u32, SIDE as u32, &points);
        assert_eq!(logits, before);
    }
}

#[test]
fn hostile_points_and_logits_give_a_finite_answer() {
    let points = [(-500.0, 3.0), (60.0, 40.0), (1e9, 60.0), (60.0, 1e9)];
    let points = points.map(|(x, y)| PointPx::new(x, y));
    snapped(&disc(20.0, 0.3), &points);
    let odd = field(|x, y| if x > y { f32::NAN } else { f32::INFINITY });
    let mut logits = odd.clone();
    snap_to_points(&mut logits, SIDE as u32, SIDE as u32, &points[..2]);
    assert_eq!(logits.len(), odd.len());
}

#[test]
fn without_a_contour_the_curve_through_the_points_is_the_answer() {
    let points = ring(&[(0.0, 20.0), (1.5, 18.0), (3.0, 22.0), (4.6, 20.0)]);
    for nothing in [vec![-20.0; SIDE * SIDE], vec![9.0; SIDE * SIDE]] {
        let mask = snapped(&nothing, &points);
        keeps_promises(&mask, &points);
        assert_eq!(mask.components().count(), 1);
    }
}

/// `field` with `beyond` on all sides up to three times its size.
fn in_a_larger_frame(field: &[f32], beyond: f32) -> Vec<f32> {
    let mut large = vec![beyond; 9 * SIDE * SIDE];
    PixelBox { left: SIDE, top: SIDE, width: SIDE, height: SIDE }.put(&mut large, 3 * SIDE, field);
    large
}

#[test]
fn the_frame_around_a_structure_does_not_matter() {
    let annulus = field(|x, y| {
        let r = (x - 60.0).hypot(y - 60.0);
        (40.0 - r).min(r - 14.0)
    });
    let near = ring(&[(0.4, 22.0), (2.4, 18.0), (3.9, 20.0)]);
    let far = ring(&[(0.4, 55.0), (2.4, 20.0), (3.9, 20.0)]);
    let all = [
        ("near points", disc(20.0, 0.3), near),
        ("a far point", disc(20.0, 0.3), far),
        ("a hole", annulus, ring(&[(0.0, 44.0), (1.6, 37.0), (3.9, 16.0)])),
        ("nothing", vec![-1.0; SIDE * SIDE], ring(&[(0.0, 30.0), (2.0, 30.0), (4.0, 30.0)])),
    ];
    for (name, small, points) in all {
        let mut large = in_a_larger_frame(&small, -10.0);
        let moved: Vec<PointPx> =
            points.iter().map(|p| PointPx::new(p.x + SIDE as f32, p.y + SIDE as f32)).collect();
        snap_to_points(&mut large, 3 * SIDE as u32, 3 * SIDE as u32, &moved);
        let large = Bitmap::from_logits(3 * SIDE as u32, 3 * SIDE as u32, &large);
        let mask = snapped(&small, &points);
        let middle = Bitmap::from_fn(SIDE as u32, SIDE as u32, |x, y| {
            large.get(i64::from(x) + SIDE as i64, i64::from(y) + SIDE as i64)
        });
        let differ = middle.pixels.iter().zip(&mask.pixels).filter(|(a, b)| a != b).count();
        assert!(differ <= 2, "{name}: {differ} pixels differ");
        assert_eq!(large.area_px(), middle.area_px(), "{name}: something far off");
    }
}
