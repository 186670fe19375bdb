//! What a word that is not known was probably meant to be.

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

#[cfg(test)]
mod tests {
    use super::nearest_word;

    #[test]
    fn slips_of_the_hand_are_recognised() {
        assert_eq!(nearest_word("boundry", ["boundary", "box"]), Some("boundary"));
        assert_eq!(nearest_word("lable", ["label"]), Some("label"));
        assert_eq!(nearest_word("colour", ["frame", "mask"]), None);
    }
}
