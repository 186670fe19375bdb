//! Small YAML files (keymaps, themes) as trees, with the line of every leaf for fault sentences.
//!
//! Size and depth are capped before anything is built. serde_yaml keeps no positions, so lines
//! are found again by reading the text line by line; that happens only when there is a fault.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

/// Larger files are refused unread.
pub(crate) const SIZE_MAX: usize = 1 << 20;
/// No keymap or theme needs to be deeper.
const DEPTH_MAX: usize = 4;

/// What is wrong with a data file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, as the person knows it.
    pub file: String,
    /// Line from 1; 0 when it concerns the whole file.
    pub line: usize,
    /// What is wrong and what was probably meant.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what),
            line => write!(f, "{}:{line}: {}", self.file, self.what),
        }
    }
}

/// A YAML value; scalars keep their text, duplicate keys stay visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// Nothing.
    Null,
    /// A scalar.
    Word(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the file.
    Map(Vec<(String, Node)>),
}

/// Reads a file whose top level is a mapping.
///
/// # Errors
/// Too large, too deep, not YAML, or no mapping.
pub(crate) fn read(file: &str, text: &str) -> Result<Vec<(String, Node)>, Fault> {
    let fault = |line, what| Fault { file: file.to_owned(), line, what };
    if text.len() > SIZE_MAX {
        return Err(fault(
            0,
            format!("has {} bytes, more than the limit of {SIZE_MAX}", text.len()),
        ));
    }
    let node = Tree { depth: 0 }.deserialize(serde_yaml::Deserializer::from_str(text));
    match node {
        Ok(Node::Map(entries)) => Ok(entries),
        Ok(Node::Null) => Ok(Vec::new()),
        Ok(_) => Err(fault(1, "is not a mapping of names to values".to_owned())),
        Err(error) => {
            let line = error.location().map_or(0, |at| at.line());
            Err(fault(line, format!("is not readable as YAML: {error}")))
        }
    }
}

/// The line (from 1) of the `nth` (from 0) entry with this path of keys; 0 when it cannot be told.
pub(crate) fn line_of(text: &str, path: &[&str], nth: usize) -> usize {
    let mut above: Vec<(usize, String)> = Vec::new();
    let mut seen = 0;
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        let Some(key) = first_key(trimmed) else { continue };
        let indent = line.len() - line.trim_start().len();
        above.retain(|(outer, _)| *outer < indent);
        above.push((indent, key));
        if above.iter().map(|(_, key)| key.as_str()).eq(path.iter().copied()) {
            if seen == nth {
                return number + 1;
            }
            seen += 1;
        }
    }
    // Written in flow style: at least the line of what holds it.
    path.split_last()
        .map_or(0, |(_, outer)| if outer.is_empty() { 0 } else { line_of(text, outer, 0) })
}

fn first_key(line: &str) -> Option<String> {
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let parse = |text: &str| match serde_yaml::from_str::<Node>(text) {
        Ok(Node::Map(entries)) => entries.into_iter().next().map(|(key, _)| key),
        _ => None,
    };
    parse(line).or_else(|| parse(&format!("{}:", line.split_once(": ")?.0)))
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Tree { depth: 0 }.deserialize(deserializer)
    }
}

#[derive(Clone, Copy)]
struct Tree {
    depth: usize,
}

impl Tree {
    fn deeper<E: de::Error>(self) -> Result<Tree, E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(Tree { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Tree {
    type Value = Node;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word, a list or a mapping")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Word(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Word(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Word(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Word(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Word(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let inner = self.deeper()?;
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(inner)? {
            let key = match key {
                Node::Word(word) => word,
                Node::Null => "~".to_owned(),
                _ => return Err(de::Error::custom("a key must be a word")),
            };
            entries.push((key, map.next_value_seed(inner)?));
        }
        Ok(Node::Map(entries))
    }
}
