//! Words of files that people write: what an unknown one was probably meant to be, and what is no use reading. Numbers
//! with their words.

use std::fmt;

/// The word of `known` nearest to `word`, if it is near enough to be a slip of the hand: one edit
/// or swap of neighbours for every three letters, at least one and at most three.
#[must_use]
pub fn nearest_word<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|option| (strsim::osa_distance(word, option), option))
        .filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, option)| option)
}

/// A number with its word, which takes an s unless there is one of it: "1 frame", "20 frames".
pub fn counted<N: fmt::Display + PartialEq + From<u8>>(count: N, word: &str) -> String {
    let ending = if count == N::from(1) { "" } else { "s" };
    format!("{count} {word}{ending}")
}

/// Brackets of a YAML text open at once; those in strings and comments count, so it is far above what nests.
const OPEN_MAX: usize = 1000;
/// What is wrong where [`too_deep`] finds a line.
pub const TOO_DEEP: &str = "more than 1000 brackets are open; close them";

/// The line of a YAML text in which too many brackets are open: its reader's time grows with their square, long before
/// its own limit of depth is asked.
#[must_use]
pub fn too_deep(text: &str) -> Option<usize> {
    let (mut open, mut line) = (0usize, 1);
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            b'\n' => line += 1,
            _ => {}
        }
        if open > OPEN_MAX {
            return Some(line);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{counted, nearest_word, too_deep};

    #[test]
    fn one_of_a_thing_has_no_s() {
        let told =
            [counted(0usize, "frame"), counted(1u64, "frame"), counted(2u32, "journal line")];
        assert_eq!(told, ["0 frames", "1 frame", "2 journal lines"]);
    }

    #[test]
    fn slips_of_the_hand_are_recognised() {
        assert_eq!(nearest_word("boundry", ["boundary", "box"]), Some("boundary"));
        assert_eq!(nearest_word("lable", ["label"]), Some("label"));
        assert_eq!(nearest_word("colour", ["frame", "mask"]), None);
    }

    #[test]
    fn only_what_nests_beyond_reason_is_too_deep() {
        assert_eq!(too_deep(&format!("a: 1\n{}", "[".repeat(1001))), Some(2));
        assert_eq!(too_deep(&"[{a: 1}]\n".repeat(5000)), None);
    }
}
