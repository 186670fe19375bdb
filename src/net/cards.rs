//! The cards that stand in `models/` for weights that people bring: SAM 2.1 in its four sizes, at 1024 and 512 px.
//!
//! What decides whether this file is right: every card is good (a test reads all), and the four at 1024 px have pairwise
//! different tensors, so that a file of weights tells its size by itself. The two input sizes share their tensors.

use super::config::ModelCard;

/// Name and text of each card, full size first.
const KNOWN: [(&str, &str); 8] = [
    ("sam2.1-tiny", include_str!("../../models/sam2.1-tiny.yaml")),
    ("sam2.1-small", include_str!("../../models/sam2.1-small.yaml")),
    ("sam2.1-base-plus", include_str!("../../models/sam2.1-base-plus.yaml")),
    ("sam2.1-large", include_str!("../../models/sam2.1-large.yaml")),
    ("sam2.1-tiny-512", include_str!("../../models/sam2.1-tiny-512.yaml")),
    ("sam2.1-small-512", include_str!("../../models/sam2.1-small-512.yaml")),
    ("sam2.1-base-plus-512", include_str!("../../models/sam2.1-base-plus-512.yaml")),
    ("sam2.1-large-512", include_str!("../../models/sam2.1-large-512.yaml")),
];
/// How many of [`KNOWN`] differ in their tensors: the first ones.
const SHAPES: usize = 4;

/// The names of all cards.
pub fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|(name, _)| *name)
}

/// The card of that name.
pub fn known(name: &str) -> Option<ModelCard> {
    let (_, text) = KNOWN.iter().find(|(known, _)| *known == name)?;
    Some(read(text))
}

/// One card for each layout of tensors, smallest first.
pub fn layouts() -> impl Iterator<Item = ModelCard> {
    KNOWN[..SHAPES].iter().map(|(_, text)| read(text))
}

fn read(text: &str) -> ModelCard {
    ModelCard::from_yaml(text).expect("a card of this crate is good, as its test shows")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_card_is_good_and_bears_its_own_name() {
        for name in names() {
            let card = known(name).expect("it is listed");
            assert_eq!(card.name, name);
            assert!(!card.network.prompts.boundary_embedding && !card.tracking.motion, "{name}");
            assert!(card.network.memory.clear_stale && card.weights.file.is_empty(), "{name}");
            // Of the same published file at both sizes, and of another one than its neighbours'.
            let of_hash = |other: &&str| {
                known(other).is_some_and(|other| other.weights.sha256 == card.weights.sha256)
            };
            let same: Vec<&str> = names().filter(of_hash).collect();
            let shape = name.trim_end_matches("-512");
            assert_eq!(same, [shape.to_owned(), format!("{shape}-512")]);
        }
        assert!(known("sam2.1-huge").is_none());
    }
}
