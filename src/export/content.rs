//! What a file holds: structures and their masks, without the rest of an annotation.

use std::collections::BTreeMap;

use super::labelmap::LabelMap;
use super::names::{dicom, plain, safe_names};
use crate::domain::{Annotation, Bitmap, FrameIndex, Mask};

/// A structure as a file names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    /// Its label, not escaped.
    pub label: String,
    /// Its masks, in the size of the clip.
    pub masks: BTreeMap<FrameIndex, Mask>,
}

/// Everything that was read from a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The structures in the order of the file.
    pub structures: Vec<Structure>,
    /// What was left out or assumed, ready to show.
    pub notes: Vec<String>,
}

impl Content {
    /// Structures without order: what files are compared by.
    pub(super) fn sorted(mut self) -> Vec<Structure> {
        let masks = |s: &Structure| -> Vec<(FrameIndex, Vec<u32>)> {
            s.masks.iter().map(|(&frame, mask)| (frame, mask.runs().to_vec())).collect()
        };
        self.structures.sort_by(|a, b| a.label.cmp(&b.label).then_with(|| masks(a).cmp(&masks(b))));
        self.structures
    }
}

/// How a format names structures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// By their labels.
    Labels,
    /// By their labels without control characters, which the format cannot hold.
    Plain,
    /// By their first 64 plain characters, without backslash.
    Dicom,
    /// By names that are safe for files.
    Safe,
}

/// What a format can keep of an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keeps {
    /// Frames on which a structure was found absent.
    pub(super) empties: bool,
    /// Pixels that belong to several structures.
    pub(super) overlaps: bool,
    /// Tracks of one label are one structure.
    pub(super) classes: bool,
    pub(super) names: Names,
    /// Masks at all.
    pub(super) masks: bool,
}

impl Keeps {
    /// All masks with pixels in them, tracks apart.
    pub(super) const ALL: Self =
        Self { empties: false, overlaps: true, classes: false, names: Names::Labels, masks: true };
    /// One structure at every pixel.
    pub(super) const ONE_PER_PIXEL: Self = Self { overlaps: false, ..Self::ALL };
    /// Numbers instead of masks.
    pub(super) const NOTHING: Self = Self { masks: false, ..Self::ALL };
}

/// What a format calls the tracks of `annotation`, in order.
pub(super) fn names_of(annotation: &Annotation, names: Names) -> Vec<String> {
    let labels = annotation.tracks.values().map(|track| track.info.label.as_str());
    match names {
        Names::Labels => labels.map(str::to_owned).collect(),
        Names::Plain => labels.map(plain).collect(),
        Names::Dicom => labels.map(dicom).collect(),
        Names::Safe => safe_names(labels),
    }
}

/// What a file of a format that `keeps` so much must say of `annotation`.
pub(super) fn expected(annotation: &Annotation, keeps: Keeps) -> Content {
    if !keeps.overlaps {
        let map = LabelMap::of(annotation, keeps);
        return Content { structures: map.structures(), notes: Vec::new() };
    }
    let tracks = annotation.tracks.values();
    let names = names_of(annotation, keeps.names);
    let mut structures: Vec<Structure> = Vec::new();
    for (track, label) in tracks.zip(names) {
        let held = track.masks.iter().filter(|(_, held)| keeps.empties || !held.mask.is_empty());
        let masks: BTreeMap<FrameIndex, Mask> =
            held.map(|(&frame, held)| (frame, held.mask.clone())).collect();
        let known = structures.iter_mut().find(|known| keeps.classes && known.label == label);
        match known {
            Some(known) => masks.into_iter().for_each(|(frame, mask)| known.join(frame, mask)),
            None => structures.push(Structure { label, masks }),
        }
    }
    structures.retain(|structure| !structure.masks.is_empty());
    Content { structures, notes: Vec::new() }
}

impl Structure {
    /// Adds a mask to what the structure has on a frame.
    pub(super) fn join(&mut self, frame: FrameIndex, mask: Mask) {
        match self.masks.get_mut(&frame) {
            Some(held) => *held = union(held, &mask),
            None => {
                self.masks.insert(frame, mask);
            }
        }
    }
}

/// Pixels of either mask; both have the size of the clip.
fn union(a: &Mask, b: &Mask) -> Mask {
    let (mut all, more) = (a.to_bitmap(), b.to_bitmap());
    all.pixels.iter_mut().zip(&more.pixels).for_each(|(p, q)| *p |= *q);
    all.to_mask()
}

/// Gathers masks of structures that a file names one by one.
#[derive(Default)]
pub(super) struct Gather {
    structures: Vec<Structure>,
    index: BTreeMap<(String, u64), usize>,
}

impl Gather {
    /// Adds a mask to the structure of that label and number.
    pub(super) fn put(&mut self, label: &str, number: u64, frame: FrameIndex, bitmap: &Bitmap) {
        let next = self.structures.len();
        let at = *self.index.entry((label.to_owned(), number)).or_insert(next);
        if at == next {
            let masks = BTreeMap::new();
            self.structures.push(Structure { label: label.to_owned(), masks });
        }
        self.structures[at].join(frame, bitmap.to_mask());
    }

    pub(super) fn content(self, notes: Vec<String>) -> Content {
        Content { structures: self.structures, notes }
    }
}
