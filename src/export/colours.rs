//! Colours of structures in files: the map of PASCAL VOC, which DAVIS uses as well.

/// Red, green and blue of a number; 0 is black.
pub(super) fn colour(number: usize) -> [u8; 3] {
    // The bits of the number go to the three channels in turn, highest bits first.
    let channel = |offset: usize| {
        (0..3).fold(0u8, |all, round| {
            let bit = (number >> (round * 3 + offset)) & 1;
            all | ((bit as u8) << (7 - round))
        })
    };
    [channel(0), channel(1), channel(2)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_pascal_voc() {
        let first = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]];
        assert_eq!([0, 1, 2, 3, 4].map(colour), first);
        assert_eq!(colour(8), [64, 0, 0]);
    }
}
