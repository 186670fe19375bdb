//! Which part of a volume, or of volumes over time, becomes the frames of a clip.

use std::path::Path;

use super::voxels::Voxels;
use crate::codec::CodecError;
use crate::domain::{Axis, Cut, Placement};

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// The stored axis along which slices follow each other, 0 to 2.
    pub(super) axis: usize,
    /// Of several moments.
    pub(super) part: Part,
}

/// Which of several moments are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All slices of the moment with this index.
    Moment(usize),
    /// The slice with this index at all moments.
    Slice(usize),
}

impl Part {
    /// As a person names it, along the axis as they named it.
    pub(super) fn named(self, axis: Option<Axis>) -> Cut {
        match self {
            Self::Moment(at) => Cut { axis, time: Some(at + 1), slice: None },
            Self::Slice(at) => Cut { axis, slice: Some(at + 1), time: None },
        }
    }
}

impl View {
    /// What `cut` asks for; of volumes over time the middle slice where it asks for nothing.
    pub(super) fn of(path: &Path, header: &Voxels, cut: Cut) -> Result<Self, CodecError> {
        let refuse = |cause: String, advice: &str| CodecError::unsupported(path, cause, advice);
        let asked = cut.axis.unwrap_or_default();
        let Some(axis) = asked.stored(header.placement.as_ref()) else {
            let cause = "it does not tell where it lies in the patient";
            return Err(refuse(cause.to_owned(), "name a stored axis: x, y or z"));
        };
        let (slices, times) = (header.size[axis], header.times);
        let index = |what: &str, asked: usize, count: usize| {
            let cause = || format!("there is no {what} {asked}, it has {count}");
            let fits = (1..=count).contains(&asked);
            fits.then(|| asked - 1).ok_or_else(|| refuse(cause(), "give a number from 1 on"))
        };
        let part = match (cut.slice, cut.time) {
            (Some(_), _) | (_, Some(_)) if times == 1 => {
                let cause = "it holds one volume and no others over time";
                return Err(refuse(cause.to_owned(), "open it without a slice or a time"));
            }
            (Some(_), Some(_)) => {
                let cause = "one slice at one moment is a single picture";
                let advice = "give the slice for a slice over time, or the time for a volume";
                return Err(refuse(cause.to_owned(), advice));
            }
            (Some(slice), None) => Part::Slice(index("slice", slice, slices)?),
            (None, Some(time)) => Part::Moment(index("moment", time, times)?),
            (None, None) if times > 1 => Part::Slice(slices / 2),
            (None, None) => Part::Moment(0),
        };
        Ok(Self { axis, part })
    }

    /// A word for the identity of what is shown; `None` for a volume as it is stored.
    pub(super) fn word(&self, times: usize) -> Option<String> {
        let axis = ["x", "y", "z"][self.axis];
        match self.part {
            Part::Moment(_) if times == 1 && self.axis == 2 => None,
            Part::Moment(_) if times == 1 => Some(format!("along {axis}")),
            Part::Moment(at) => Some(format!("along {axis}, moment {at}")),
            Part::Slice(at) => Some(format!("slice {at} along {axis}")),
        }
    }

    /// A sentence on what is shown of several moments.
    pub(super) fn note(&self, header: &Voxels) -> Option<String> {
        let axis = ["x", "y", "z"][self.axis];
        let (slices, times) = (header.size[self.axis], header.times);
        (times > 1).then(|| match self.part {
            Part::Slice(at) => format!(
                "it holds {times} volumes over time; shown is slice {} of {slices} along {axis} \
                 over time; --slice N or `:slice N` shows another, --time N a whole volume",
                at + 1
            ),
            Part::Moment(at) => format!(
                "it holds {times} volumes over time; shown is moment {} along {axis}; --time N or \
                 `:time N` shows another, --slice N one slice over time",
                at + 1
            ),
        })
    }

    /// What belongs to columns, rows and slices.
    pub(super) fn turned<T: Copy>(&self, [x, y, z]: [T; 3]) -> [T; 3] {
        match self.axis {
            0 => [y, z, x],
            1 => [x, z, y],
            _ => [x, y, z],
        }
    }

    /// Where the frames lie: of a slice over time all in one place, which the last step leaves.
    pub(super) fn placement(&self, stored: Placement) -> Placement {
        let mut placement = stored.with_axes(self.turned([0, 1, 2]));
        if let Part::Slice(at) = self.part {
            let step = stored.steps_mm[self.axis];
            placement.origin_mm = [0, 1, 2].map(|i| stored.origin_mm[i] + step[i] * at as f64);
        }
        placement
    }

    /// What is kept of a row along x: of plane and row with these numbers, where planes of all moments count on and each
    /// moment has `slices` of them.
    pub(super) fn kept<'a>(
        &self,
        [plane, row]: [usize; 2],
        values: &'a [f64],
        slices: usize,
    ) -> &'a [f64] {
        let (slice, moment) = (plane % slices, plane / slices);
        match (self.part, self.axis) {
            (Part::Moment(at), _) if at == moment => values,
            (Part::Slice(at), 0) => &values[at..=at],
            (Part::Slice(at), 1) if at == row => values,
            (Part::Slice(at), 2) if at == slice => values,
            _ => &[],
        }
    }
}

/// The axis of a stored index, for descriptions.
pub(super) fn axis_of(index: usize) -> Axis {
    [Axis::X, Axis::Y, Axis::Z][index.min(2)]
}
