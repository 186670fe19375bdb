//! What a file holds: structures and their masks, without the rest of an annotation.

use std::collections::{BTreeMap, BTreeSet};

use super::labelmap::LabelMap;
use super::names::{dicom, plain, safe_names};
use crate::domain::{Annotation, Attributes, Bitmap, FrameIndex, Mask, Track, counted};

/// A structure as a file names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    /// Its label, not escaped.
    pub label: String,
    /// Its masks, in the size of the clip.
    pub masks: BTreeMap<FrameIndex, Mask>,
    /// Attributes as the file says them, by frame; empty where a format has none.
    pub said: BTreeMap<FrameIndex, Attributes>,
}

impl Structure {
    /// A structure of which nothing is said.
    #[must_use]
    pub fn new(label: impl Into<String>, masks: BTreeMap<FrameIndex, Mask>) -> Self {
        Self { label: label.into(), masks, said: BTreeMap::new() }
    }
}

/// Everything that was read from a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The structures in the order of the file.
    pub structures: Vec<Structure>,
    /// What was left out or assumed, ready to show.
    pub notes: Vec<String>,
    /// Names of attributes that the file itself calls changeable from frame to frame.
    pub changeable: BTreeSet<String>,
    /// Start of the content hash of the clip that it was exported from, where that is another.
    pub other_clip: Option<String>,
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
    /// Attributes of structures, on frames with a mask.
    pub(super) attributes: bool,
}

impl Keeps {
    /// All masks with pixels in them, tracks apart.
    pub(super) const ALL: Self = Self {
        empties: false,
        overlaps: true,
        classes: false,
        names: Names::Labels,
        masks: true,
        attributes: false,
    };
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
        return Content { structures: map.structures(), ..Content::default() };
    }
    let tracks = annotation.tracks.values();
    let names = names_of(annotation, keeps.names);
    let mut structures: Vec<Structure> = Vec::new();
    for (track, label) in tracks.zip(names) {
        let held = track.masks.iter().filter(|(_, held)| keeps.empties || !held.mask.is_empty());
        let masks: BTreeMap<FrameIndex, Mask> =
            held.map(|(&frame, held)| (frame, held.mask.clone())).collect();
        // Looked for where it counts alone: the time grows with the square of the structures.
        let known = match keeps.classes {
            true => structures.iter_mut().find(|known| known.label == label),
            false => None,
        };
        match known {
            Some(known) => {
                for (frame, mask) in masks {
                    known.join(frame, mask);
                }
            }
            None => {
                let mut structure = Structure::new(label, masks);
                if keeps.attributes {
                    structure.said = said_of(track, &structure, keeps.names);
                }
                structures.push(structure);
            }
        }
    }
    structures.retain(|structure| !structure.masks.is_empty());
    Content { structures, ..Content::default() }
}

/// Attributes on the frames on which a structure has a mask, as a format can hold them.
fn said_of(track: &Track, structure: &Structure, names: Names) -> BTreeMap<FrameIndex, Attributes> {
    let written = |text: &String| if names == Names::Plain { plain(text) } else { text.clone() };
    let on = |&frame: &FrameIndex| {
        let all = track.attributes_on(frame);
        let all = all.iter().map(|(name, value)| (written(name), written(value)));
        (frame, all.filter(|(_, value)| !value.is_empty()).collect::<Attributes>())
    };
    structure.masks.keys().map(on).filter(|(_, said)| !said.is_empty()).collect()
}

impl Structure {
    /// Adds a mask to what the structure has on a frame; true where it had something there.
    pub(super) fn join(&mut self, frame: FrameIndex, mask: Mask) -> bool {
        match self.masks.get_mut(&frame) {
            Some(held) => *held = union(held, &mask),
            None => {
                self.masks.insert(frame, mask);
                return false;
            }
        }
        true
    }
}

/// Pixels of either mask; both have the size of the clip.
fn union(a: &Mask, b: &Mask) -> Mask {
    let (mut all, more) = (a.to_bitmap(), b.to_bitmap());
    all.pixels.iter_mut().zip(&more.pixels).for_each(|(p, q)| *p |= *q);
    all.to_mask()
}

/// What a person should know of shapes that were joined to one of their label on the same frame, because the file does not
/// tell structures of one label apart: they may be parts of one, or several.
pub(super) fn joined_told(shapes: usize) -> Option<String> {
    let shapes = (shapes > 0).then(|| counted(shapes, "shape"))?;
    Some(format!(
        "{shapes} joined to another of the same label on the same frame: the file does not say which are parts and \
         which are structures of their own; group numbers or tracks would"
    ))
}

/// Gathers masks of structures that a file names one by one.
#[derive(Default)]
pub(super) struct Gather {
    structures: Vec<Structure>,
    index: BTreeMap<(String, u64), usize>,
}

impl Gather {
    /// Adds a mask to the structure of that label and number; true where that had something on the frame.
    pub(super) fn put(
        &mut self,
        label: &str,
        number: u64,
        frame: FrameIndex,
        bitmap: &Bitmap,
    ) -> bool {
        self.of(label, number).join(frame, bitmap.to_mask())
    }

    /// Adds what is said of the structure on a frame; empty values say nothing.
    pub(super) fn say(
        &mut self,
        label: &str,
        number: u64,
        frame: FrameIndex,
        said: impl IntoIterator<Item = (String, String)>,
    ) {
        let mut said = said.into_iter().filter(|(_, value)| !value.is_empty()).peekable();
        if said.peek().is_some() {
            self.of(label, number).said.entry(frame).or_default().extend(said);
        }
    }

    fn of(&mut self, label: &str, number: u64) -> &mut Structure {
        let next = self.structures.len();
        let at = *self.index.entry((label.to_owned(), number)).or_insert(next);
        if at == next {
            self.structures.push(Structure::new(label, BTreeMap::new()));
        }
        &mut self.structures[at]
    }

    pub(super) fn content(self, notes: Vec<String>) -> Content {
        Content { structures: self.structures, notes, ..Content::default() }
    }
}
