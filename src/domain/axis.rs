//! Along which axis the frames of a volume follow each other, and which part of it is shown.

use std::fmt;
use std::str::FromStr;

use super::Placement;

/// Axis of a volume along which its frames follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Axis {
    /// Frames are (y, z) planes of the stored voxels.
    X,
    /// Frames are (x, z) planes.
    Y,
    /// Frames are (x, y) planes, as stored.
    #[default]
    Z,
    /// The stored axis nearest to left and right in the patient.
    Sagittal,
    /// The stored axis nearest to front and back.
    Coronal,
    /// The stored axis nearest to head and feet.
    Axial,
}

/// Which part of a volume is shown, as a person asks for it; `None` where nobody asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Along which axis frames follow each other.
    pub axis: Option<Axis>,
    /// Of several moments: the slice along the axis that plays over time, from 1 on.
    pub slice: Option<usize>,
    /// Of several moments: the one whose volume is shown, from 1 on.
    pub time: Option<usize>,
}

impl Cut {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// What is shown when `asked` is asked for while this is shown: another axis keeps the moment and no slice, whose
    /// number means another one along it; a slice or a moment keeps the axis.
    #[must_use]
    pub fn then(self, asked: Self) -> Self {
        if asked.is_open() {
            return self;
        }
        let moment = self.time.filter(|_| asked.axis.is_some() && asked.slice.is_none());
        Self { axis: asked.axis.or(self.axis), slice: asked.slice, time: asked.time.or(moment) }
    }
}

impl Axis {
    /// The stored axis, 0 (x) to 2 (z). `None` for a direction in the patient when the volume does
    /// not tell where it lies.
    #[must_use]
    pub fn stored(self, placement: Option<&Placement>) -> Option<usize> {
        // LPS: x is left and right, y front and back, z head and feet.
        let along = match self {
            Self::X => return Some(0),
            Self::Y => return Some(1),
            Self::Z => return Some(2),
            Self::Sagittal => 0,
            Self::Coronal => 1,
            Self::Axial => 2,
        };
        let placement = placement?;
        let lengths = placement.spacing_mm();
        let share = |axis: &usize| placement.steps_mm[*axis][along].abs() / lengths[*axis];
        (0..3).max_by(|a, b| share(a).total_cmp(&share(b)))
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X => "x",
            Self::Y => "y",
            Self::Z => "z",
            Self::Sagittal => "sagittal",
            Self::Coronal => "coronal",
            Self::Axial => "axial",
        })
    }
}

impl FromStr for Axis {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word.to_ascii_lowercase().as_str() {
            "x" => Ok(Self::X),
            "y" => Ok(Self::Y),
            "z" => Ok(Self::Z),
            "sagittal" => Ok(Self::Sagittal),
            "coronal" => Ok(Self::Coronal),
            "axial" => Ok(Self::Axial),
            _ => Err("an axis is x, y, z, sagittal, coronal or axial".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_later_keeps_what_it_says_nothing_of() {
        let along = |axis| Cut { axis: Some(axis), ..Cut::default() };
        let (slice, moment) =
            (Cut { slice: Some(7), ..Cut::default() }, Cut { time: Some(2), ..Cut::default() });
        assert_eq!(moment.then(along(Axis::X)), Cut { axis: Some(Axis::X), ..moment });
        assert_eq!(along(Axis::X).then(moment), Cut { axis: Some(Axis::X), ..moment });
        assert_eq!((slice.then(along(Axis::Y)), moment.then(slice)), (along(Axis::Y), slice));
        assert_eq!((slice.then(moment), slice.then(Cut::default())), (moment, slice));
    }

    #[test]
    fn directions_in_the_patient_find_their_stored_axis() {
        // Stored from the front to the back, then downwards, then leftwards and a little forward.
        let steps_mm = [[0.0, 1.0, 0.0], [0.1, 0.0, -0.5], [2.0, -0.3, 0.0]];
        let placement = Placement { origin_mm: [0.0; 3], steps_mm };
        let stored = |axis: Axis| axis.stored(Some(&placement));
        let found = [Axis::Sagittal, Axis::Coronal, Axis::Axial, Axis::X].map(stored);
        assert_eq!(found, [Some(2), Some(0), Some(1), Some(0)]);
        assert_eq!((Axis::Axial.stored(None), Axis::Y.stored(None)), (None, Some(1)));
        for axis in [Axis::X, Axis::Y, Axis::Z, Axis::Sagittal, Axis::Coronal, Axis::Axial] {
            assert_eq!(axis.to_string().parse(), Ok(axis));
        }
        assert!("diagonal".parse::<Axis>().is_err() && "Coronal".parse() == Ok(Axis::Coronal));
    }
}
