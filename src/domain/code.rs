//! What a structure is in the words of a terminology, for formats that name it by a code.

use std::collections::BTreeMap;

/// A concept of a coding scheme (PS3.3 8): "SCT", "3057000", "Nerve structure".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Coding scheme designator, at most 16 characters.
    pub scheme: String,
    /// Code value, at most 16 characters.
    pub value: String,
    /// Code meaning, at most 64 characters.
    pub meaning: String,
}

impl Code {
    /// What a structure is that nobody has described further.
    #[must_use]
    pub fn tissue() -> Self {
        let [scheme, value, meaning] = ["SCT", "85756007", "Tissue"].map(str::to_owned);
        Self { scheme, value, meaning }
    }
}

/// Codes by label.
pub type Codes = BTreeMap<String, Code>;
