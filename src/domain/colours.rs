//! The colours of a frame where it has some: flow, scales and marks that a machine draws in colour.
//!
//! For the eye and for pictures that leave the program; the network, edges and measures see the gray
//! alone. Most pixels of ultrasound are gray also where a file stores them as colour, so only the
//! others are held, in runs: a cine with a colour box takes little more memory than its gray.

/// A pixel is coloured where its brightest and darkest channel differ by as much; what a JPEG leaves
/// on gray speckle is less.
pub const COLOURED: u8 = 24;

/// The coloured pixels of a frame, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Colours {
    /// First pixel and number of pixels of each run; pixels are counted row by row.
    runs: Vec<(u32, u32)>,
    /// Red, green and blue of the pixels of all runs.
    values: Vec<[u8; 3]>,
}

/// Whether a pixel of red, green and blue is no gray.
#[must_use]
pub fn is_coloured([red, green, blue]: [u8; 3]) -> bool {
    red.max(green).max(blue) - red.min(green).min(blue) >= COLOURED
}

impl Colours {
    /// Those of all pixels of a frame, row by row.
    #[must_use]
    pub fn of(pixels: impl Iterator<Item = [u8; 3]>) -> Self {
        let mut colours = Self::default();
        (0u32..).zip(pixels).filter(|(_, pixel)| is_coloured(*pixel)).for_each(|(at, pixel)| {
            colours.push(at, pixel);
        });
        colours
    }

    /// Adds the pixel `at`, which lies behind all that are held.
    fn push(&mut self, at: u32, pixel: [u8; 3]) {
        match self.runs.last_mut() {
            Some((first, count)) if *first + *count == at => *count += 1,
            _ => self.runs.push((at, 1)),
        }
        self.values.push(pixel);
    }

    /// Runs (first pixel, number of pixels) and the values of all of them, as they came over a pipe;
    /// `None` when runs overlap, leave a frame of so many pixels, or do not fit the values.
    #[must_use]
    pub fn from_parts(runs: Vec<(u32, u32)>, values: Vec<[u8; 3]>, pixels: usize) -> Option<Self> {
        let (mut end, mut held) = (0u64, 0u64);
        for &(first, count) in &runs {
            if u64::from(first) < end || count == 0 {
                return None;
            }
            end = u64::from(first) + u64::from(count);
            held += u64::from(count);
        }
        let fits = end <= pixels as u64 && held == values.len() as u64;
        fits.then_some(Self { runs, values })
    }

    /// First pixel and number of pixels of each run.
    #[must_use]
    pub fn runs(&self) -> &[(u32, u32)] {
        &self.runs
    }

    /// Red, green and blue of the pixels of all runs, in order.
    #[must_use]
    pub fn values(&self) -> &[[u8; 3]] {
        &self.values
    }

    /// Whether all pixels are gray.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Memory that they take, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.runs.len() * 8 + self.values.len() * 3
    }

    /// Every coloured pixel: its place, counted row by row, and its red, green and blue.
    pub fn each(&self) -> impl Iterator<Item = (usize, [u8; 3])> + '_ {
        let places = self.runs.iter().flat_map(|&(first, count)| first..first + count);
        places.map(|at| at as usize).zip(self.values.iter().copied())
    }

    /// Leaves the pixels out for which `keep` does not hold.
    pub fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        if self.is_empty() {
            return;
        }
        let mut kept = Self::default();
        for (at, pixel) in self.each().filter(|(at, _)| keep(*at)) {
            // Places came from 32 bits.
            kept.push(at as u32, pixel);
        }
        *self = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: [u8; 3] = [200, 10, 10];
    const BLUE: [u8; 3] = [0, 40, 220];
    const GRAY: [u8; 3] = [90, 80, 95];

    #[test]
    fn only_what_is_no_gray_is_held_and_found_again_at_its_place() {
        let colours = Colours::of([GRAY, RED, BLUE, GRAY, GRAY, RED].into_iter());
        assert_eq!(colours.runs(), [(1, 2), (5, 1)]);
        assert_eq!(colours.each().collect::<Vec<_>>(), [(1, RED), (2, BLUE), (5, RED)]);
        let mut fewer = colours.clone();
        fewer.retain(|at| at != 1);
        assert_eq!(fewer.each().collect::<Vec<_>>(), [(2, BLUE), (5, RED)]);
        assert!(Colours::of([GRAY; 9].into_iter()).is_empty());
        let (runs, values) = (colours.runs().to_vec(), colours.values().to_vec());
        assert_eq!(Colours::from_parts(runs, values, 6), Some(colours));
    }

    #[test]
    fn parts_that_do_not_fit_are_none() {
        for (runs, count) in [
            (vec![(1, 2), (2, 1)], 3),
            (vec![(5, 2)], 2),
            (vec![(0, 1)], 2),
            (vec![(0, 0)], 0),
            (vec![(u32::MAX, u32::MAX)], 1),
        ] {
            assert_eq!(Colours::from_parts(runs.clone(), vec![RED; count], 6), None, "{runs:?}");
        }
    }
}
