//! Where the planes of a volume lie in the patient; those of enhanced ultrasound in coordinates of the volume.

use std::collections::BTreeSet;

use super::kind_of;
use super::reader::DataSet;
use super::tags::{self, Tag};
use crate::domain::{ClipInfo, ClipKind, Placement};

/// Enhanced US Volume Storage (PS3.4 B.5).
const ENHANCED_ULTRASOUND: &str = "1.2.840.10008.5.1.4.1.1.6.2";
/// What tells the moments of volumes over time apart, where it is a dimension of the frames.
const MOMENTS: [Tag; 3] = [tags::TEMPORAL_INDEX, tags::TIME_OFFSET, tags::TRIGGER_DELAY];

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

    /// Of a frame of an enhanced object, in coordinates of the patient.
    fn in_patient(set: &DataSet, frame: usize) -> Option<Self> {
        let held = |tag| group(set, frame, tag);
        Self::read(held(tags::PLANE_POSITION)?, held(tags::PLANE_ORIENTATION)?)
    }

    /// The same in coordinates of the volume.
    fn in_volume(set: &DataSet, frame: usize) -> Option<Self> {
        let position = group(set, frame, tags::PLANE_POSITION_IN_VOLUME)?;
        let directions = group(set, frame, tags::PLANE_ORIENTATION_IN_VOLUME)?;
        let directions = directions.doubles(tags::ORIENTATION_IN_VOLUME);
        Self::from_numbers(position.doubles(tags::POSITION_IN_VOLUME), directions)
    }

    fn read(position: &DataSet, orientation: &DataSet) -> Option<Self> {
        let directions = orientation.decimals(tags::ORIENTATION);
        Self::from_numbers(position.decimals(tags::POSITION), directions)
    }

    fn from_numbers(position: Vec<f64>, directions: Vec<f64>) -> Option<Self> {
        let [a, b, c, d, e, f]: [f64; 6] = directions.try_into().ok()?;
        let position_mm = position.try_into().ok()?;
        Some(Self { position_mm, across: [a, b, c], down: [d, e, f] })
    }

    fn parallel(&self, other: &Self) -> bool {
        let same = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).all(|(p, q)| (p - q).abs() < 1e-3);
        same(self.across, other.across) && same(self.down, other.down)
    }
}

/// The first item of a macro in the functional groups of a frame, or in those that all share.
fn group(set: &DataSet, frame: usize, tag: Tag) -> Option<&DataSet> {
    let own = set.items(tags::PER_FRAME_GROUPS).get(frame)?.items(tag).first();
    own.or_else(|| set.items(tags::SHARED_GROUPS).first()?.items(tag).first())
}

/// Whether planes lie in coordinates of their volume, which nothing relates to a patient: by the first frame.
pub(super) fn in_own_space(set: &DataSet) -> bool {
    Plane::in_patient(set, 0).is_none() && Plane::in_volume(set, 0).is_some()
}

/// Places of all frames of an enhanced volume, in the order of the file and all in the same coordinates.
pub(super) fn planes(set: &DataSet, frames: usize) -> Option<Vec<Plane>> {
    let own_space = in_own_space(set);
    let plane = |frame| match own_space {
        true => Plane::in_volume(set, frame),
        false => Plane::in_patient(set, frame),
    };
    (0..frames).map(plane).collect()
}

/// What the frames lie one behind the other by: along the normal of their planes, mm, else their numbers in the stack.
fn depths(set: &DataSet, frames: usize) -> Option<Vec<f64>> {
    let number = |item: &DataSet| item.items(tags::FRAME_CONTENT).first()?.long(tags::IN_STACK);
    let in_stack = || -> Option<Vec<f64>> {
        let items = set.items(tags::PER_FRAME_GROUPS).iter().take(frames);
        let numbers: Vec<f64> = items.map_while(|item| number(item).map(f64::from)).collect();
        (numbers.len() == frames).then_some(numbers)
    };
    planes(set, frames).map_or_else(in_stack, |planes| depths_mm(&planes))
}

/// The frames of a volume in the order of their depths. Empty where the file has them in order already, in either direction.
pub(super) fn frame_order(set: &DataSet, frames: usize) -> Vec<usize> {
    if kind_of(set, frames) != ClipKind::Volume {
        return Vec::new();
    }
    depths(set, frames).and_then(|depths| order(&depths)).unwrap_or_default()
}

fn is_enhanced_ultrasound(set: &DataSet) -> bool {
    set.text(tags::SOP_CLASS).is_some_and(|class| class == ENHANCED_ULTRASOUND)
}

/// Whether the frames are the slices of one volume of ultrasound. An object of that kind may also hold several, of moments or
/// of kinds of data as tissue and flow, so that several frames lie in one place.
pub(super) fn is_ultrasound_volume(set: &DataSet, frames: usize) -> bool {
    if !is_enhanced_ultrasound(set) {
        return false;
    }
    let moments = moments(set, frames);
    match depths(set, frames) {
        // Every slice of a sweep may have a moment of its own.
        Some(depths) => places(&depths) == frames && (moments <= 1 || moments == frames),
        None => moments <= 1,
    }
}

/// Of how many moments the frames are: by the numbers of these, by their times, or by the index of a dimension that is
/// such. 0 where nothing tells.
fn moments(set: &DataSet, frames: usize) -> usize {
    let index = dimension(set, &MOMENTS);
    let told_of = |frame: usize| -> [Option<u64>; 3] {
        let content = group(set, frame, tags::FRAME_CONTENT);
        let number = content.and_then(|content| content.long(tags::TEMPORAL_INDEX));
        let time = group(set, frame, tags::TEMPORAL_POSITIONS);
        let indices = content.map(|content| content.longs(tags::DIMENSION_VALUES));
        let indexed = indices.zip(index).and_then(|(all, at)| all.get(at).copied());
        let time = time.and_then(|time| time.double(tags::TIME_OFFSET));
        [number.map(u64::from), time.map(f64::to_bits), indexed.map(u64::from)]
    };
    let told: Vec<[Option<u64>; 3]> = (0..frames).map(told_of).collect();
    let different =
        |way: usize| told.iter().filter_map(|of| of[way]).collect::<BTreeSet<_>>().len();
    (0..3).map(different).max().unwrap_or(0)
}

/// Which of the dimension indices of a frame is that of the first of these tags that is a dimension.
pub(super) fn dimension(set: &DataSet, wanted: &[Tag]) -> Option<usize> {
    let pointers: Vec<Tag> = set
        .items(tags::DIMENSIONS)
        .iter()
        .map(|item| match item.words(tags::DIMENSION_POINTER)[..] {
            [group, element] => u32::from(group) << 16 | u32::from(element),
            _ => 0,
        })
        .collect();
    wanted.iter().find_map(|tag| pointers.iter().position(|pointer| pointer == tag))
}

/// What a person should know of the order of frames, and of where they lie.
pub(super) fn notes(info: &ClipInfo, order: &[usize], set: &DataSet) -> Vec<String> {
    let several = is_enhanced_ultrasound(set) && info.kind == ClipKind::Cine;
    let several = several.then(|| {
        "it holds several volumes of ultrasound, of moments or of kinds of data; their slices are shown as the frames of \
         a clip, in the order of the file"
            .to_owned()
    });
    let own_space = info.placement.is_some() && in_own_space(set);
    let own_space = own_space.then(|| {
        "its slices lie in coordinates of the volume, not of the patient; so do the masks that are exported".to_owned()
    });
    [several, order_note(info, order, set), own_space].into_iter().flatten().collect()
}

/// What a person should know of the order of frames.
fn order_note(info: &ClipInfo, order: &[usize], set: &DataSet) -> Option<String> {
    if !order.is_empty() {
        let told = "the file stores its frames in another order; they are shown in that of their \
                    places";
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
