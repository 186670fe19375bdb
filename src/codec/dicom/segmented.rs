//! Segmented palettes (PS3.3 C.7.9.2): runs, ramps and repetitions that stand for a table.

/// Entries of a table, at most.
const MOST: usize = 65_536;
/// Segments of a table, at most, those that are repeated counted each time: real ones give at least an entry each, and empty
/// ones that name each other would else cost a quarter of a minute.
const MOST_SEGMENTS: usize = 2 * MOST;

/// The table of `words`, whose entries are bytes (low byte of a word first) where it is `narrow`;
/// `None` for what the standard does not allow or what grows beyond 65,536 entries.
pub(super) fn expanded(words: &[u16], narrow: bool) -> Option<Vec<u16>> {
    let bytes = || words.iter().flat_map(|word| word.to_le_bytes().map(u16::from)).collect();
    let entries: Vec<u16> = if narrow { bytes() } else { words.to_vec() };
    let mut table = Table { entries: Vec::new(), segments: 0 };
    table.put(&entries, narrow, None)?;
    Some(table.entries)
}

/// What became of the segments so far.
struct Table {
    entries: Vec<u16>,
    segments: usize,
}

impl Table {
    /// Adds `count` segments of `words`, or all of them. Those that an indirect segment names are no indirect
    /// ones themselves.
    fn put(&mut self, words: &[u16], narrow: bool, count: Option<usize>) -> Option<()> {
        let mut rest = words;
        let mut done = 0;
        // A byte alone pads to a whole word.
        while rest.len() > 1 && count != Some(done) {
            let (kind, length) = (rest[0], rest[1]);
            rest = &rest[2..];
            let used = match kind {
                0 => {
                    self.entries.extend_from_slice(rest.get(..usize::from(length))?);
                    usize::from(length)
                }
                1 => {
                    let (from, to) = (f64::from(*self.entries.last()?), f64::from(*rest.first()?));
                    let share = |step: u16| f64::from(step) / f64::from(length);
                    let on = |step| (from + (to - from) * share(step)).round_ties_even() as u16;
                    self.entries.extend((1..=length).map(on));
                    1
                }
                2 if count.is_none() => {
                    let (place, size) = offset(rest, narrow)?;
                    self.put(words.get(place..)?, narrow, Some(usize::from(length)))?;
                    size
                }
                _ => return None,
            };
            rest = rest.get(used..)?;
            done += 1;
            self.segments += 1;
            if self.entries.len() > MOST || self.segments > MOST_SEGMENTS {
                return None;
            }
        }
        count.is_none_or(|count| count == done).then_some(())
    }
}

/// The entry that an offset in bytes means, and how many entries the offset takes. It is two words,
/// the lower one first.
fn offset(rest: &[u16], narrow: bool) -> Option<(usize, usize)> {
    let place = |parts: &[u16], bits: u32| {
        parts.iter().rev().fold(0usize, |all, &part| all << bits | usize::from(part))
    };
    match narrow {
        true => Some((place(rest.get(..4)?, 8), 4)),
        false => Some((place(rest.get(..2)?, 16) / 2, 2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_ramps_and_repetitions_become_a_table() {
        // Two values, a ramp of four to 12, and both again: 2 segments from byte 0.
        let words = [0, 2, 7, 8, 1, 4, 12, 2, 2, 0, 0];
        let table = [7, 8, 9, 10, 11, 12, 7, 8, 9, 10, 11, 12];
        assert_eq!(expanded(&words, false), Some(table.to_vec()));
        let bytes = [0u8, 2, 7, 8, 1, 4, 12, 2, 2, 0, 0, 0, 0, 0];
        let packed: Vec<u16> = bytes.chunks(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
        assert_eq!(expanded(&packed, true), Some(table.to_vec()));
        for bad in [&[1, 4, 12][..], &[0, 9, 1], &[3, 1, 1], &[0, 1, 5, 2, 9, 0, 0], &[2, 1, 0, 0]]
        {
            assert_eq!(expanded(bad, false), None, "{bad:?}");
        }
        // Repetitions of a repetition, and more than a table holds.
        assert_eq!(expanded(&[0, 1, 5, 2, 1, 0, 0, 2, 1, 6, 0], false), None);
        let many: Vec<u16> = [0, 1, 5].into_iter().chain([1, 60_000, 9].repeat(2)).collect();
        assert_eq!(expanded(&many, false), None);
    }

    #[test]
    fn empty_segments_that_are_named_again_and_again_end() {
        // Padding is harmless.
        assert_eq!(expanded(&[0, 1, 5, 0, 0, 0, 0], false), Some(vec![5]));
        let empty: Vec<u16> = [0, 0].repeat(1 << 12);
        let named = |times: usize| [empty.clone(), [2, 1 << 12, 0, 0].repeat(times)].concat();
        assert_eq!(expanded(&named(30), false), Some(Vec::new()));
        assert_eq!(expanded(&named(32), false), None);
    }
}
