//! Where the planes of a volume lie in the patient.

use super::reader::DataSet;
use super::{kind_of, tags};
use crate::domain::{ClipInfo, ClipKind, Placement};

/// How far a plane may lie from where even spacing puts it, mm.
const UNEVEN_MM: f64 = 0.1;
/// Planes closer than this lie in one place, mm.
const SAME_MM: f64 = 1e-4;

/// One plane: centre of its first pixel and directions of rows and columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plane {
    position_mm: [f64; 3],
    /// Along a row, to the next column.
    across: [f64; 3],
    /// Along a column, to the next row.
    down: [f64; 3],
}

impl Plane {
    /// Of a single image.
    pub(super) fn of(set: &DataSet) -> Option<Self> {
        Self::read(set, set)
    }

    /// Of a frame of an enhanced object.
    pub(super) fn of_frame(set: &DataSet, frame: usize) -> Option<Self> {
        let own = set.items(tags::PER_FRAME_GROUPS).get(frame)?;
        let shared = set.items(tags::SHARED_GROUPS).first();
        let group = |tag| {
            own.items(tag).first().or_else(|| shared.and_then(|shared| shared.items(tag).first()))
        };
        Self::read(group(tags::PLANE_POSITION)?, group(tags::PLANE_ORIENTATION)?)
    }

    fn read(position: &DataSet, orientation: &DataSet) -> Option<Self> {
        let position_mm = position.decimals(tags::POSITION).try_into().ok()?;
        let [a, b, c, d, e, f]: [f64; 6] =
            orientation.decimals(tags::ORIENTATION).try_into().ok()?;
        Some(Self { position_mm, across: [a, b, c], down: [d, e, f] })
    }

    fn parallel(&self, other: &Self) -> bool {
        let same = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).all(|(p, q)| (p - q).abs() < 1e-3);
        same(self.across, other.across) && same(self.down, other.down)
    }
}

/// Places of all frames of an enhanced volume, in the order of the file.
pub(super) fn planes(set: &DataSet, frames: usize) -> Option<Vec<Plane>> {
    (0..frames).map(|frame| Plane::of_frame(set, frame)).collect()
}

/// The frames of a volume by place: along the normal of their planes, else by their numbers in the
/// stack. Empty where the file has them in order already, in either direction.
pub(super) fn frame_order(set: &DataSet, frames: usize) -> Vec<usize> {
    if kind_of(set, frames) != ClipKind::Volume {
        return Vec::new();
    }
    let in_stack = || -> Option<Vec<f64>> {
        let number = |item: &DataSet| item.items(tags::FRAME_CONTENT).first()?.long(tags::IN_STACK);
        let items = set.items(tags::PER_FRAME_GROUPS).iter().take(frames);
        let numbers: Vec<f64> = items.map_while(|item| number(item).map(f64::from)).collect();
        (numbers.len() == frames).then_some(numbers)
    };
    let depths = match planes(set, frames) {
        Some(planes) => depths_mm(&planes),
        None => in_stack(),
    };
    depths.and_then(|depths| order(&depths)).unwrap_or_default()
}

/// What a person should know of the order of frames.
pub(super) fn order_note(info: &ClipInfo, order: &[usize], set: &DataSet) -> Option<String> {
    if !order.is_empty() {
        let told = "the file stores its frames in another order; they are shown in that of their \
                    places in the patient";
        return Some(told.to_owned());
    }
    let placed = planes(set, info.frames).is_some() && info.pixel_spacing_mm.is_some();
    (info.kind == ClipKind::Volume && placed && info.placement.is_none()).then(|| {
        "its frames are no even stack of planes (several stacks, times or gaps); they are shown in \
         the order of the file and exported without a place in the patient"
            .to_owned()
    })
}

/// The same of the images of a series.
pub(super) fn series_note(info: &ClipInfo) -> Option<String> {
    let known = info.pixel_spacing_mm.is_some();
    (info.kind == ClipKind::Volume && known && info.placement.is_none()).then(|| {
        "its images are no even stack of planes (several directions, gaps, or one is missing); they \
         are exported without a place in the patient"
            .to_owned()
    })
}

/// How many different places the planes at these depths (mm) lie in.
pub(super) fn places(depths: &[f64]) -> usize {
    let mut sorted = depths.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.chunk_by(|a, b| b - a <= SAME_MM).count()
}

/// Distances along the normal of the first plane, mm; `None` when planes are not parallel.
pub(super) fn depths_mm(planes: &[Plane]) -> Option<Vec<f64>> {
    let first = planes.first()?;
    let ([a, b, c], [d, e, f]) = (first.across, first.down);
    let normal = [b * f - c * e, c * d - a * f, a * e - b * d];
    let depth = |plane: &Plane| {
        let along = plane.position_mm.iter().zip(normal).map(|(p, n)| p * n).sum();
        plane.parallel(first).then_some(along)
    };
    planes.iter().map(depth).collect()
}

/// Order of the numbers from the smallest to the largest, where they neither ascend nor descend
/// already; `None` also where two are the same.
fn order(depths: &[f64]) -> Option<Vec<usize>> {
    let mut order: Vec<usize> = (0..depths.len()).collect();
    order.sort_by(|&a, &b| depths[a].total_cmp(&depths[b]));
    let distinct = order.windows(2).all(|pair| depths[pair[1]] - depths[pair[0]] > SAME_MM);
    let sorted = order.is_sorted() || order.is_sorted_by(|a, b| a > b);
    (distinct && !sorted).then_some(order)
}

/// The placement of planes in order; `None` when they are not evenly spaced, or pixels have no
/// known size (columns, rows).
pub(super) fn placement(planes: &[Plane], spacing_mm: Option<[f64; 2]>) -> Option<Placement> {
    let ([first, .., last], [x, y]) = (planes, spacing_mm?) else {
        return None;
    };
    depths_mm(planes)?;
    let steps = (planes.len() - 1) as f64;
    let along = [0, 1, 2].map(|i| (last.position_mm[i] - first.position_mm[i]) / steps);
    let even = planes.iter().enumerate().all(|(n, plane)| {
        (0..3).all(|i| {
            let expected = first.position_mm[i] + along[i] * n as f64;
            (plane.position_mm[i] - expected).abs() < UNEVEN_MM
        })
    });
    let steps_mm = [first.across.map(|v| v * x), first.down.map(|v| v * y), along];
    let placement = Placement { origin_mm: first.position_mm, steps_mm };
    (even && placement.is_sound()).then_some(placement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shuffled_stack_is_put_in_order() {
        assert_eq!(order(&[4.0, 0.0, 6.0, 2.0]), Some(vec![1, 3, 0, 2]));
        for kept in [&[0.0, 1.0, 2.0][..], &[2.0, 1.0, 0.0], &[1.0, 0.0, 1.0], &[3.0], &[]] {
            assert_eq!(order(kept), None, "{kept:?}");
        }
    }
}
