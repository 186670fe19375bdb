//! What a reader would judge by eye, knowing what the structure looks like: where the contour is
//! off, how deep inside a place lies. Pure.

use crate::domain::{Bitmap, HOURS, PointPx, Ray, contour_radius};
use crate::learn::annotator::{EXCLUDE_PX, contour, next_boundary_click};

use super::reader::Shown;

/// Distance of a place from the contour, px; 0 outside.
pub(super) fn depth(truth: &Bitmap, at: PointPx) -> f32 {
    if !truth.get(at.x.floor() as i64, at.y.floor() as i64) {
        return 0.0;
    }
    contour(truth).iter().map(|point| point.distance(at)).fold(f32::INFINITY, f32::min)
}

/// Where the next point belongs: where the drawn contour is farthest from the true one.
pub(super) fn next_point(truth: &Bitmap, shown: &Shown) -> Option<PointPx> {
    let wanted = contour(truth);
    if shown.points.is_empty() {
        return wanted.iter().min_by(|a, b| a.x.total_cmp(&b.x)).copied();
    }
    let drawn = shown.mask.as_ref().map(contour).unwrap_or_default();
    next_boundary_click(&wanted, &drawn, &shown.points, EXCLUDE_PX).map(|i| wanted[i])
}

/// The hour whose contour is farthest from the truth, of those not tried; the longest way across
/// first, then its other end.
pub(super) fn worst_hour(
    truth: &Bitmap,
    centre: PointPx,
    shown: &Shown,
    tried: &[usize],
) -> Option<usize> {
    let hours = HOURS as usize;
    let radius = |mask: &Bitmap, hour: usize| {
        contour_radius(mask, Ray { centre, hour: (hour % hours) as f32 }).unwrap_or(0.0)
    };
    let off = |hour: usize| match &shown.mask {
        _ if shown.points.is_empty() && shown.mask.is_none() => {
            radius(truth, hour) + radius(truth, hour + hours / 2)
        }
        Some(mask) => (radius(mask, hour) - radius(truth, hour)).abs(),
        None => radius(truth, hour),
    };
    // With one point the mask is a guess round it: the opposite end comes next.
    if let ([only], 1) = (tried, shown.points.len()) {
        return Some((only + hours / 2) % hours);
    }
    let free = (0..hours).filter(|hour| !tried.contains(hour));
    free.max_by(|a, b| off(*a).total_cmp(&off(*b)))
}
