//! Marks drawn into a picture: stamps with a dark rim, lines, frames. All clip at the border.

use super::Picture;

/// Register of black in every palette: the rim that parts a mark from bright speckle.
const RIM: u8 = 0;

/// Sets one pixel if it lies inside.
pub(super) fn plot(picture: &mut Picture, x: i64, y: i64, index: u8) {
    let inside =
        (0..picture.width_px as i64).contains(&x) && (0..picture.height_px as i64).contains(&y);
    if inside {
        picture.indices[y as usize * picture.width_px + x as usize] = index;
    }
}

/// Draws the pixels for which `shape(dx, dy)` holds, `|dx|, |dy| <= radius`, around `at`, with a
/// rim of one dark pixel.
pub(super) fn stamp(
    picture: &mut Picture,
    at: (f32, f32),
    radius: i64,
    index: u8,
    shape: impl Fn(i64, i64) -> bool,
) {
    if !at.0.is_finite() || !at.1.is_finite() {
        return;
    }
    let place = |v: f32| v.floor().clamp(-1e6, 1e6) as i64;
    let (cx, cy, reach) = (place(at.0), place(at.1), radius + 1);
    let far = |centre: i64, size: usize| centre + reach < 0 || centre - reach >= size as i64;
    if far(cx, picture.width_px) || far(cy, picture.height_px) {
        return;
    }
    let set = |dx: i64, dy: i64| dx.abs() <= radius && dy.abs() <= radius && shape(dx, dy);
    for dy in -reach..=reach {
        for dx in -reach..=reach {
            if set(dx, dy) {
                plot(picture, cx + dx, cy + dy, index);
            } else if (-1..=1).any(|ny| (-1..=1).any(|nx| set(dx + nx, dy + ny))) {
                plot(picture, cx + dx, cy + dy, RIM);
            }
        }
    }
}

/// Four arms around `at` that cover the pixels so far from it, one wide and without a rim.
pub(super) fn bare_cross(
    picture: &mut Picture,
    at: (f32, f32),
    away: std::ops::RangeInclusive<i64>,
    index: u8,
) {
    if !at.0.is_finite() || !at.1.is_finite() {
        return;
    }
    let place = |v: f32| v.floor().clamp(-1e6, 1e6) as i64;
    let (cx, cy) = (place(at.0), place(at.1));
    for d in away {
        for (dx, dy) in [(d, 0), (-d, 0), (0, d), (0, -d)] {
            plot(picture, cx + dx, cy + dy, index);
        }
    }
}

/// A line of one pixel; with `dotted` every other run of three pixels is left out.
pub(super) fn line(
    picture: &mut Picture,
    from: (f32, f32),
    to: (f32, f32),
    index: u8,
    dotted: bool,
) {
    let Some((from, to)) = clip(from, to, picture.width_px as f32, picture.height_px as f32) else {
        return;
    };
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let steps = dx.abs().max(dy.abs()).ceil().max(1.0) as usize;
    for step in 0..=steps {
        if dotted && step % 6 >= 3 {
            continue;
        }
        let t = step as f32 / steps as f32;
        plot(picture, (from.0 + dx * t).floor() as i64, (from.1 + dy * t).floor() as i64, index);
    }
}

/// The rectangle between two corners, `thickness` pixels wide, drawn inwards.
pub(super) fn frame(
    picture: &mut Picture,
    min: (f32, f32),
    max: (f32, f32),
    index: u8,
    thickness: i64,
) {
    let (w, h) = (picture.width_px as i64, picture.height_px as i64);
    let round = |v: f32, size: i64| (v.round() as i64).clamp(-thickness - 1, size + thickness);
    let (x0, y0) = (round(min.0, w), round(min.1, h));
    let (x1, y1) = (round(max.0, w).max(x0 + 1) - 1, round(max.1, h).max(y0 + 1) - 1);
    for inset in 0..thickness {
        for x in x0..=x1 {
            plot(picture, x, y0 + inset, index);
            plot(picture, x, y1 - inset, index);
        }
        for y in y0..=y1 {
            plot(picture, x0 + inset, y, index);
            plot(picture, x1 - inset, y, index);
        }
    }
}

/// Liang-Barsky against the picture, so that far ends at a high zoom cost nothing.
fn clip(a: (f32, f32), b: (f32, f32), width: f32, height: f32) -> Option<((f32, f32), (f32, f32))> {
    if ![a.0, a.1, b.0, b.1].iter().all(|v| v.is_finite()) {
        return None;
    }
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let (mut enter, mut leave) = (0.0f32, 1.0f32);
    for (p, q) in [(-dx, a.0), (dx, width - a.0), (-dy, a.1), (dy, height - a.1)] {
        if p == 0.0 {
            if q < 0.0 {
                return None;
            }
        } else if p < 0.0 {
            enter = enter.max(q / p);
        } else {
            leave = leave.min(q / p);
        }
    }
    let at = |t: f32| (a.0 + dx * t, a.1 + dy * t);
    (enter <= leave).then(|| (at(enter), at(leave)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_far_outside_cost_nothing_and_do_not_panic() {
        let mut picture = Picture::filled(20, 10, 7);
        let before = picture.clone();
        for at in [(-1e9, 3.0), (5.0, 1e9), (f32::NAN, -400.0), (f32::INFINITY, 4.0)] {
            stamp(&mut picture, at, 5, 9, |_, _| true);
            bare_cross(&mut picture, at, 2..=3, 9);
        }
        line(&mut picture, (-1e9, -3.0), (1e9, -3.0), 9, false);
        line(&mut picture, (f32::NAN, 3.0), (1e9, 3.0), 9, false);
        assert_eq!(picture, before);
    }

    #[test]
    fn a_clipped_line_crosses_the_whole_picture() {
        let mut picture = Picture::filled(20, 10, 0);
        line(&mut picture, (-1e6, 4.5), (1e6, 4.5), 9, false);
        assert!(picture.row(4).iter().all(|&index| index == 9));
    }
}
