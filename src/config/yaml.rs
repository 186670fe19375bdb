//! YAML that people write by hand: read with lines, checked as a whole.
//!
//! The one reader of settings, prompts, keymaps, themes and manifests of data. `serde_yaml` forgets where a value
//! stood as soon as it is read, and drops or refuses repeated keys. Here repeated keys stay
//! visible, and since a document's keys come in the order of the text, the tree is walked along
//! the text and every key finds its line again. Size is capped here (settings at 4 MiB, a manifest where
//! its reader says), depth and aliases by `serde_yaml` itself.

mod faults;
mod files;

use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::domain::{TOO_DEEP, nearest_word, too_deep};

pub use faults::Faults;
pub use files::{text_if_there, text_of, text_of_regular, text_up_to};

/// A larger file is refused unread.
const BYTES_MAX: usize = 4 << 20;

/// A value and the line on which it (or the key above it) stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// From 1.
    pub line: usize,
    /// The value.
    pub kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Nothing written.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any number, and as it is written: `1.10` and `9999991000146105` are also words.
    Number(f64, String),
    /// Text.
    Text(String),
    /// `- ...` or `[...]`.
    List(Vec<Node>),
    /// Keys and values in the order of the text.
    Map(Vec<(String, Node)>),
}

impl Kind {
    /// What it is, for messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(..) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }

    /// A scalar as text.
    #[must_use]
    pub fn word(&self) -> Option<String> {
        match self {
            Self::Bool(flag) => Some(flag.to_string()),
            Self::Number(_, text) | Self::Text(text) => Some(text.clone()),
            Self::Null | Self::List(_) | Self::Map(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Lines are found in a second walk, see `Walker`.
        deserializer.deserialize_any(AnyNode).map(|kind| Node { line: 0, kind })
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number, a list or a mapping")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Number(value as f64, value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Number(value as f64, value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Kind, E> {
        Ok(Kind::Number(value, value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Kind, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Kind::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Node, Node>()? {
            let key = match key.kind {
                Kind::Null => "~".to_owned(),
                other => other.word().ok_or_else(|| de::Error::custom("a key must be a word"))?,
            };
            entries.push((key, value));
        }
        Ok(Kind::Map(entries))
    }
}

/// A second walk through the same text: numbers as they are written, for what is no number but looks like one.
struct Written<'a>(&'a mut Node);

impl<'de> DeserializeSeed<'de> for Written<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match &self.0.kind {
            Kind::Null | Kind::Bool(_) | Kind::Text(_) => {
                deserializer.deserialize_ignored_any(de::IgnoredAny).map(|_| ())
            }
            Kind::Number(..) => deserializer.deserialize_str(self),
            Kind::List(_) => deserializer.deserialize_seq(self),
            Kind::Map(_) => deserializer.deserialize_map(self),
        }
    }
}

impl<'de> Visitor<'de> for Written<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what it was before")
    }

    fn visit_str<E>(self, written: &str) -> Result<(), E> {
        if let Kind::Number(_, text) = &mut self.0.kind {
            *text = written.to_owned();
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Kind::List(items) = &mut self.0.kind else { return Ok(()) };
        for item in items {
            seq.next_element_seed(Written(item))?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Kind::Map(entries) = &mut self.0.kind else { return Ok(()) };
        for (_, value) in entries {
            map.next_key::<de::IgnoredAny>()?;
            map.next_value_seed(Written(value))?;
        }
        Ok(())
    }
}

/// Reads `text`; `file` is only for messages. An empty text is an empty mapping.
///
/// # Errors
/// Text that is too large or no YAML.
pub fn parse(file: &str, text: &str) -> Result<Node, Faults> {
    parse_up_to(file, text, BYTES_MAX)
}

/// As [`parse`], of a text of at most `bytes_max`.
///
/// # Errors
/// As [`parse`].
pub fn parse_up_to(file: &str, text: &str, bytes_max: usize) -> Result<Node, Faults> {
    let refuse = |line: usize, fault: String| {
        let mut faults = Faults::new(file);
        faults.add(line, fault);
        faults
    };
    if text.len() > bytes_max {
        return Err(refuse(
            0,
            format!(
                "it is larger than {} MiB; split it, or leave out what is not needed",
                bytes_max >> 20
            ),
        ));
    }
    if let Some(line) = too_deep(text) {
        return Err(refuse(line, TOO_DEEP.into()));
    }
    let mut root: Node = serde_yaml::from_str(text).map_err(|error| {
        let line = error.location().map_or(0, |at| at.line());
        refuse(line, format!("it is not YAML: {error}"))
    })?;
    // What was read once reads again; where it did not, numbers would be told as they are counted.
    let _ = Written(&mut root).deserialize(serde_yaml::Deserializer::from_str(text));
    if root.kind == Kind::Null {
        root.kind = Kind::Map(Vec::new());
    }
    Walker { text, at: 0, line: 1 }.place(&mut root, false);
    Ok(root)
}

/// Walks the text alongside the tree.
struct Walker<'a> {
    text: &'a str,
    /// Everything before this byte was passed.
    at: usize,
    line: usize,
}

impl Walker<'_> {
    /// `named`: the value of a key, which stands where the key stands.
    fn place(&mut self, node: &mut Node, named: bool) {
        node.line = self.line;
        match &mut node.kind {
            Kind::List(items) => items.iter_mut().for_each(|item| self.place(item, false)),
            Kind::Map(entries) => {
                for (key, value) in &mut *entries {
                    self.advance_to(key);
                    self.place(value, true);
                }
                // An item of a list stands where its first key stands.
                if let (false, Some((_, first))) = (named, entries.first()) {
                    node.line = first.line;
                }
            }
            _ => {}
        }
    }

    /// Passes the next `key:` outside comments; stays where it is when there is none (aliases).
    fn advance_to(&mut self, key: &str) {
        let key = if key.is_empty() { "\"\"" } else { key };
        let mut from = self.at;
        while let Some(found) = self.text[from..].find(key) {
            let (start, end) = (from + found, from + found + key.len());
            let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
            let before = &self.text[line_start..start];
            let after = self.text[end..].trim_start_matches(['"', '\'', ' ']);
            let alone = before.is_empty() || before.ends_with([' ', '{', ',', '"', '\'', '\t']);
            if alone && after.starts_with(':') && !before.contains('#') {
                self.line += self.text[self.at..start].matches('\n').count();
                self.at = end;
                return;
            }
            from = end;
        }
    }
}

/// The entries of a mapping, taken by name; what is left over is a fault.
pub struct Entries<'a> {
    path: String,
    line: usize,
    known: &'static [&'static str],
    entries: Vec<(&'a str, &'a Node)>,
}

impl<'a> Entries<'a> {
    /// The entries of `node`, which `path` names in messages ("" for the whole file). Unknown
    /// and repeated keys are faults.
    pub fn of(
        node: &'a Node,
        path: &str,
        known: &'static [&'static str],
        faults: &mut Faults,
    ) -> Option<Self> {
        let Kind::Map(map) = &node.kind else {
            let what = if path.is_empty() { "the file".to_owned() } else { format!("`{path}`") };
            faults.add(
                node.line,
                format!(
                    "{what} must be a mapping with {}, it is {}",
                    listed(known),
                    node.kind.name()
                ),
            );
            return None;
        };
        for (i, (key, value)) in map.iter().enumerate() {
            if map[..i].iter().any(|(earlier, _)| earlier == key) {
                let key = crate::domain::shown(key);
                faults.add(value.line, format!("`{}` is set twice", join(path, &key)));
            }
            if !known.contains(&key.as_str()) {
                let hint = nearest_word(key, known.iter().copied())
                    .map_or(format!("known are {}", listed(known)), |near| {
                        format!("did you mean `{near}`?")
                    });
                let key = crate::domain::shown(key);
                faults.add(value.line, format!("`{}` is unknown; {hint}", join(path, &key)));
            }
        }
        let entries = map.iter().map(|(key, value)| (key.as_str(), value)).collect();
        Some(Self { path: path.to_owned(), line: node.line, known, entries })
    }

    /// Line of the mapping.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// The value of `key` unless absent or empty, with its path for messages.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<(String, &'a Node)> {
        debug_assert!(self.known.contains(&key));
        let (_, node) = self.entries.iter().find(|(name, _)| *name == key)?;
        (node.kind != Kind::Null).then(|| (join(&self.path, key), *node))
    }

    /// The path and line of `key` where it stands with nothing behind it, or with a comment alone.
    #[must_use]
    pub fn blank(&self, key: &str) -> Option<(String, usize)> {
        let (_, node) = self.entries.iter().find(|(name, _)| *name == key)?;
        (node.kind == Kind::Null).then(|| (join(&self.path, key), node.line))
    }

    /// The text of `key`.
    pub fn text(&self, key: &str, faults: &mut Faults) -> Option<(&'a str, usize)> {
        let (path, node) = self.get(key)?;
        match &node.kind {
            Kind::Text(text) => Some((text, node.line)),
            other => {
                faults.add(node.line, format!("`{path}` must be text, it is {}", other.name()));
                None
            }
        }
    }

    /// The items of the list `key` with their paths.
    pub fn list(&self, key: &str, faults: &mut Faults) -> Vec<(String, &'a Node)> {
        let Some((path, node)) = self.get(key) else {
            return Vec::new();
        };
        let Kind::List(items) = &node.kind else {
            faults.add(node.line, format!("`{path}` must be a list, it is {}", node.kind.name()));
            return Vec::new();
        };
        items.iter().enumerate().map(|(i, item)| (format!("{path}[{i}]"), item)).collect()
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The words in backquotes, with commas.
#[must_use]
pub fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# label: none\n\ntracks:\n  - label: nerve\n    windows: [[0, 4]]\n  - \
                        label: 'vessel: one'\n    \"prompts\":\n      - {frame: 3, boundary: [[1, 2]]}\n      - frame: 5\n";

    fn get<'a>(node: &'a Node, key: &str) -> &'a Node {
        let Kind::Map(map) = &node.kind else { panic!("{node:?}") };
        &map.iter().find(|(name, _)| name == key).expect("key").1
    }

    fn item(node: &Node, i: usize) -> &Node {
        let Kind::List(items) = &node.kind else { panic!("{node:?}") };
        &items[i]
    }

    #[test]
    fn every_key_finds_its_line() {
        let root = parse("x.yaml", TEXT).expect("reads");
        let tracks = get(&root, "tracks");
        let second = item(tracks, 1);
        assert_eq!(get(item(tracks, 0), "windows").line, 5);
        assert_eq!(get(second, "label").line, 6);
        assert_eq!(get(item(get(second, "prompts"), 0), "boundary").line, 8);
        assert_eq!(item(get(second, "prompts"), 1).line, 9);
    }

    #[test]
    fn numbers_are_words_as_they_are_written() {
        let text = "code: 9999991000146105\nlist: [1.10, 2, 0x1f, -0.0, 1e3, .5]\n12345678901234567: a\n\
                    more: {a: &n 1.50, b: *n, c: yes, d: ~, e: '007', f: 007}\n";
        let root = parse("x.yaml", text).expect("reads");
        let words = |node: &Node| match &node.kind {
            Kind::List(items) => items.iter().filter_map(|item| item.kind.word()).collect(),
            Kind::Map(map) => map.iter().filter_map(|(_, value)| value.kind.word()).collect(),
            scalar => scalar.word().into_iter().collect::<Vec<_>>(),
        };
        assert_eq!(words(get(&root, "code")), ["9999991000146105"]);
        assert_eq!(words(get(&root, "list")), ["1.10", "2", "0x1f", "-0.0", "1e3", ".5"]);
        assert_eq!(words(get(&root, "more")), ["1.50", "1.50", "yes", "007", "007"]);
        let Kind::Number(value, _) = item(get(&root, "list"), 4).kind else { panic!("a number") };
        assert_eq!(value, 1000.0);
        assert_eq!(words(get(&root, "12345678901234567")), ["a"]);
    }

    #[test]
    fn all_faults_are_told_with_line_and_suggestion() {
        let root = parse("x.yaml", "a: 1\nthem: dark\nwindws: 3\nzzz: 1\na: 2\n").expect("reads");
        let mut faults = Faults::new("x.yaml");
        let entries = Entries::of(&root, "", &["a", "theme", "windows"], &mut faults).expect("map");
        assert_eq!(entries.text("a", &mut faults), None);
        let all = faults.or(()).expect_err("five faults").to_string();
        assert_eq!(all.lines().count(), 6, "{all}");
        assert!(all.contains("line 1: `a` must be text, it is a number"), "{all}");
        assert!(all.contains("line 2: `them` is unknown; did you mean `theme`?"), "{all}");
        assert!(all.contains("line 3: `windws` is unknown; did you mean `windows`?"), "{all}");
        assert!(all.contains("line 5: `a` is set twice"), "{all}");
        assert!(
            all.contains("line 4: `zzz` is unknown; known are `a`, `theme`, `windows`"),
            "{all}"
        );
    }

    #[test]
    fn hostile_documents_are_refused_or_harmless() {
        let bomb = "a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n";
        assert!(parse("bomb", bomb).is_err());
        assert!(parse("deep", &"[".repeat(5000)).is_err());
        assert!(parse("big", &" ".repeat(BYTES_MAX + 1)).is_err());
        assert_eq!(parse("empty", "").expect("empty is fine").kind, Kind::Map(vec![]));
        assert!(parse("an empty key", "\"\": 1\na: 2\n").is_ok());
        assert!(parse("tab", "a:\n\t- b").is_err());
        let broken = parse("x.yaml", "a: [1\nb: 2\n").expect_err("not YAML");
        assert!(broken.list[0].0 >= 1 && broken.to_string().contains("not YAML"));
    }
}
