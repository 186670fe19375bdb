//! Labels and attributes that a study asks for, with their keys and colours: `schema.yaml`.
//!
//! ```yaml
//! labels:
//!   - nerve                                # key n, the theme's colour
//!   - {name: vessel, key: v, colour: "#d55e00", attributes: [quality]}
//!   - {name: vein, terminology: {scheme: SCT, code: 29092000, meaning: Vein}}
//! attributes:
//!   - {name: side, values: [left, right]}  # of the structure in the whole clip
//!   - {name: quality, of: frame, values: [good, poor]}
//! ```
//!
//! Every label, every attribute and every value has one key. A label without `attributes` takes
//! all of them.

use std::path::{Path, PathBuf};

use super::Setting;
use super::yaml::{self, Entries, Faults, Node, parse};
use crate::domain::{Code, Codes, FrameIndex, nearest_word, shown};

/// Colours that a picture has for structures.
const COLOURS: usize = 8;
/// Longest name of anything, characters.
const NAME_MAX: usize = 200;
/// Keys of the values of an attribute, in order; `0` takes the value away.
const VALUE_KEYS: &str = "123456789abcdefghijklmnopqrstuvwxyz";

/// What a study asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// Labels in the order of the file.
    pub labels: Vec<Label>,
    /// Attributes in the order of the file.
    pub attributes: Vec<Attribute>,
    /// Colours that take the place of the theme's, by number of the colour; red, green, blue.
    pub colours: [Option<[u8; 3]>; COLOURS],
}

/// A label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// As exported.
    pub name: String,
    /// Chooses it.
    pub key: char,
    /// Number of its colour.
    pub colour: u8,
    /// Names of its attributes.
    pub attributes: Vec<String>,
    /// What it is, for formats with codes.
    pub code: Option<Code>,
}

/// What an attribute is said of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// A structure in the whole clip.
    Track,
    /// A structure on one frame.
    Frame,
}

impl Of {
    /// Where the value for `frame` is kept.
    #[must_use]
    pub fn place(self, frame: FrameIndex) -> Option<FrameIndex> {
        (self == Self::Frame).then_some(frame)
    }
}

/// An attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// As exported.
    pub name: String,
    /// Chooses it.
    pub key: char,
    /// What it is said of.
    pub of: Of,
    /// What may be said.
    pub values: Vec<String>,
}

impl Attribute {
    /// The values with their keys.
    pub fn keyed_values(&self) -> impl Iterator<Item = (char, &str)> {
        VALUE_KEYS.chars().zip(self.values.iter().map(String::as_str))
    }
}

impl Schema {
    /// Nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.attributes.is_empty()
    }

    /// The label of this name.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&Label> {
        self.labels.iter().find(|label| label.name == name)
    }

    /// The codes of the labels that have one.
    #[must_use]
    pub fn codes(&self) -> Codes {
        let coded = |label: &Label| Some((label.name.clone(), label.code.clone()?));
        self.labels.iter().filter_map(coded).collect()
    }

    /// The attributes of structures with this label; of a label that is not in the schema, all.
    pub fn attributes_of(&self, label: &str) -> impl Iterator<Item = &Attribute> {
        let own = self.label(label).map(|label| label.attributes.clone());
        let wanted = move |each: &&Attribute| own.as_ref().is_none_or(|o| o.contains(&each.name));
        self.attributes.iter().filter(wanted)
    }

    /// Reads a schema; `file` is only for messages.
    ///
    /// # Errors
    /// All faults, each with its line.
    pub fn read(file: &str, text: &str) -> Result<Schema, Faults> {
        let root = parse(file, text)?;
        let mut faults = Faults::new(file);
        let mut schema = Schema::default();
        if let Some(entries) = Entries::of(&root, "", &["labels", "attributes"], &mut faults) {
            let attributes = entries.list("attributes", &mut faults);
            schema.attributes = read_attributes(&attributes, &mut faults);
            let labels = entries.list("labels", &mut faults);
            schema.read_labels(&labels, &mut faults);
        }
        faults.or(schema)
    }

    fn read_labels(&mut self, items: &[(String, &Node)], faults: &mut Faults) {
        const KNOWN: &[&str] = &["name", "key", "colour", "attributes", "terminology"];
        let named: Vec<Named<'_>> =
            items.iter().filter_map(|(path, node)| Named::of(path, node, KNOWN, faults)).collect();
        let keys = keys(&named, faults);
        let mut next = 0;
        for (each, key) in named.into_iter().zip(keys) {
            let colour = each.entries.as_ref().and_then(|e| colour(e, faults));
            let known = colour.and_then(|rgb| self.colours.iter().position(|c| *c == Some(rgb)));
            let number = known.unwrap_or_else(|| {
                next += 1;
                next - 1
            });
            if number >= COLOURS && colour.is_some() {
                let what =
                    format!("a picture has {COLOURS} colours for structures; let labels share");
                faults.add(each.line, what);
            } else if colour.is_some() {
                self.colours[number] = colour;
            }
            let attributes = self.attributes_for(each.entries.as_ref(), faults);
            let colour = (number % COLOURS) as u8;
            let code = each.entries.as_ref().and_then(|entries| code(entries, faults));
            self.labels.push(Label { name: each.name, key, colour, attributes, code });
        }
    }

    /// Names of the attributes that a label asks for.
    fn attributes_for(&self, entries: Option<&Entries<'_>>, faults: &mut Faults) -> Vec<String> {
        let all = || self.attributes.iter().map(|each| each.name.clone());
        let Some(entries) = entries.filter(|entries| entries.get("attributes").is_some()) else {
            return all().collect();
        };
        let mut wanted = Vec::new();
        for (path, node) in entries.list("attributes", faults) {
            let name = node.kind.word().unwrap_or_default();
            if all().any(|known| known == name) {
                wanted.push(name);
                continue;
            }
            let names = self.attributes.iter().map(|each| each.name.as_str());
            let hint = nearest_word(&name, names)
                .map_or("list it under `attributes`".to_owned(), |near| {
                    format!("did you mean `{near}`?")
                });
            faults.add(node.line, format!("`{path}` is no attribute of the file; {hint}"));
        }
        wanted
    }
}

/// Reads the file of the setting, or `schema.yaml` beside the settings where there is one.
pub(super) fn load(
    given: &Setting<Option<PathBuf>>,
    config_dir: &Path,
    all: &mut Vec<Faults>,
) -> Schema {
    let path = given.value.clone().unwrap_or_else(|| config_dir.join("schema.yaml"));
    let text = match given.value {
        // A file that was named must be there.
        Some(_) => yaml::text_of(&path).map(Some).map_err(|faults| Faults {
            file: format!("{} (given by {})", faults.file, given.origin),
            ..faults
        }),
        None => yaml::text_if_there(&path),
    };
    let read = text.and_then(|text| match text {
        Some((name, text)) => Schema::read(&name, &text),
        None => Ok(Schema::default()),
    });
    read.unwrap_or_else(|faults| {
        all.push(faults);
        Schema::default()
    })
}

fn read_attributes(items: &[(String, &Node)], faults: &mut Faults) -> Vec<Attribute> {
    const KNOWN: &[&str] = &["name", "key", "of", "values"];
    let named: Vec<Named<'_>> =
        items.iter().filter_map(|(path, node)| Named::of(path, node, KNOWN, faults)).collect();
    let keys = keys(&named, faults);
    let mut all = Vec::new();
    for (each, key) in named.into_iter().zip(keys) {
        let entries = each.entries.as_ref();
        let of = match entries.and_then(|e| e.text("of", faults)) {
            None | Some(("track", _)) => Of::Track,
            Some(("frame", _)) => Of::Frame,
            Some((other, line)) => {
                let what = format!("`of` is `track` or `frame`, not `{}`", shown(other));
                faults.add(line, what);
                Of::Track
            }
        };
        let listed = entries.map(|e| e.list("values", faults)).unwrap_or_default();
        let mut values = Vec::new();
        for (path, node) in listed {
            match node.kind.word().filter(|word| plain(word)) {
                Some(value) if values.contains(&value) => {
                    faults.add(node.line, format!("`{path}` is listed twice"));
                }
                Some(value) => values.push(value),
                None => faults.add(node.line, format!("`{path}` must be a word")),
            }
        }
        if values.is_empty() || values.len() > VALUE_KEYS.len() {
            let what = format!("`{}` needs 1 to {} `values`", shown(&each.name), VALUE_KEYS.len());
            faults.add(each.line, what);
        }
        all.push(Attribute { name: each.name, key, of, values });
    }
    all
}

/// An item with a name and perhaps a key: a word alone, or a mapping.
struct Named<'a> {
    name: String,
    key: Option<char>,
    line: usize,
    entries: Option<Entries<'a>>,
}

impl<'a> Named<'a> {
    fn of(
        path: &str,
        node: &'a Node,
        known: &'static [&'static str],
        faults: &mut Faults,
    ) -> Option<Self> {
        let (name, entries) = match node.kind.word() {
            Some(name) => (Some(name), None),
            None => {
                let entries = Entries::of(node, path, known, faults)?;
                (entries.get("name").and_then(|(_, node)| node.kind.word()), Some(entries))
            }
        };
        let Some(name) = name.filter(|name| plain(name)) else {
            let what = format!("`{path}` needs a `name` of 1 to {NAME_MAX} letters");
            faults.add(node.line, what);
            return None;
        };
        let key = entries.as_ref().and_then(|entries| {
            let (path, node) = entries.get("key")?;
            let word = node.kind.word().unwrap_or_default();
            let mut letters = word.chars();
            match (letters.next().filter(char::is_ascii_alphanumeric), letters.next()) {
                (Some(key), None) => Some(key),
                _ => {
                    faults.add(node.line, format!("`{path}` must be one letter or digit"));
                    None
                }
            }
        });
        Some(Self { name, key, line: node.line, entries })
    }
}

/// Words that files and screens can hold.
fn plain(name: &str) -> bool {
    let length = name.chars().count();
    (1..=NAME_MAX).contains(&length) && !name.chars().any(char::is_control)
}

/// The key of each: as given, else the first letter of the name that is free.
fn keys(items: &[Named<'_>], faults: &mut Faults) -> Vec<char> {
    let mut taken: Vec<char> = Vec::new();
    for (i, each) in items.iter().enumerate() {
        if items[..i].iter().any(|earlier| earlier.name == each.name) {
            faults.add(each.line, format!("`{}` is named twice", shown(&each.name)));
        }
        match each.key {
            Some(key) if taken.contains(&key) => {
                faults.add(each.line, format!("the key `{key}` is given twice"));
            }
            Some(key) => taken.push(key),
            None => {}
        }
    }
    let mut all = Vec::with_capacity(items.len());
    for each in items {
        let letters = each.name.chars().flat_map(char::to_lowercase);
        let free = letters.filter(char::is_ascii_alphanumeric);
        let mut free = free.chain('a'..='z').chain('A'..='Z').chain('0'..='9');
        let key = each.key.or_else(|| free.find(|key| !taken.contains(key)));
        if key.is_none() {
            faults.add(each.line, "no key is left for it; 62 names are the most");
        }
        taken.extend(key);
        all.push(key.unwrap_or('?'));
    }
    all
}

fn colour(entries: &Entries<'_>, faults: &mut Faults) -> Option<[u8; 3]> {
    if let Some((path, line)) = entries.blank("colour") {
        let what =
            "is empty; write it with quotes, like \"#e69f00\": without them # begins a comment";
        faults.add(line, format!("`{path}` {what}"));
    }
    let (text, line) = entries.text("colour", faults)?;
    let digits = text.strip_prefix('#').filter(|d| d.len() == 6 && d.is_ascii());
    let part = |at: usize| u8::from_str_radix(digits?.get(at..at + 2)?, 16).ok();
    match (part(0), part(2), part(4)) {
        (Some(r), Some(g), Some(b)) => Some([r, g, b]),
        _ => {
            let what = format!("`{}` is no colour like \"#e69f00\" (with quotes)", shown(text));
            faults.add(line, what);
            None
        }
    }
}

/// The `terminology` of a label.
fn code(entries: &Entries<'_>, faults: &mut Faults) -> Option<Code> {
    const KNOWN: &[&str] = &["scheme", "code", "meaning"];
    let (path, node) = entries.get("terminology")?;
    let parts = Entries::of(node, &path, KNOWN, faults)?;
    let mut part = |name: &str, most: usize| {
        let word = parts.get(name).and_then(|(_, node)| node.kind.word());
        // What Slicer and DICOM separate parts with stands in none of them.
        let fits = |word: &String| {
            let length = word.chars().count();
            plain(word) && length <= most && !word.contains(['^', '~', '|', '\\'])
        };
        let fitting = word.filter(fits);
        if fitting.is_none() {
            let what = format!("`{path}.{name}` needs 1 to {most} letters, without ^ ~ | and \\");
            faults.add(parts.line(), what);
        }
        fitting
    };
    let (scheme, value, meaning) = (part("scheme", 16), part("code", 16), part("meaning", 64));
    Some(Code { scheme: scheme?, value: value?, meaning: meaning? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_attributes_and_values_have_one_key_each() {
        let text = "labels:\n  - nerve\n  - {name: node, key: n, colour: \"#112233\", attributes: [side]}\n  \
                    - {name: vessel, colour: \"#112233\"}\nattributes:\n  - {name: side, values: [left, right]}\n  \
                    - {name: quality, of: frame, values: [good, 2, true]}\n";
        let schema = Schema::read("s.yaml", text).expect("no fault");
        let labels: Vec<(&str, char, u8)> =
            schema.labels.iter().map(|l| (l.name.as_str(), l.key, l.colour)).collect();
        assert_eq!(labels, [("nerve", 'e', 0), ("node", 'n', 1), ("vessel", 'v', 1)]);
        assert_eq!(schema.colours[1], Some([0x11, 0x22, 0x33]));
        let of = |label: &str| schema.attributes_of(label).map(|a| a.key).collect::<String>();
        assert_eq!(
            (of("nerve"), of("node"), of("stranger")),
            ("sq".into(), "s".into(), "sq".into())
        );
        let quality = &schema.attributes[1];
        assert_eq!(quality.of.place(7), Some(7));
        let values: Vec<_> = quality.keyed_values().collect();
        assert_eq!(values, [('1', "good"), ('2', "2"), ('3', "true")]);
    }

    #[test]
    fn a_label_may_have_a_code() {
        let text = "labels:\n  - nerve\n  - name: vein\n    terminology: {scheme: SCT, code: 29092000, meaning: Vein}\n";
        let codes = Schema::read("s", text).expect("no fault").codes();
        let vein = Code { scheme: "SCT".into(), value: "29092000".into(), meaning: "Vein".into() };
        assert_eq!(codes, [("vein".to_owned(), vein)].into());
        for (bad, told) in [
            ("{scheme: SCT, code: 1}", "terminology.meaning` needs 1 to 64"),
            ("{scheme: SCT, code: a^b, meaning: c}", "terminology.code` needs 1 to 16"),
            ("{scheme: SCT, value: 1, code: 1, meaning: c}", "value` is unknown"),
            ("vein", "must be a mapping"),
        ] {
            let text = format!("labels:\n  - {{name: vein, terminology: {bad}}}\n");
            let fault = Schema::read("s", &text).expect_err(bad).to_string();
            assert!(fault.contains(told), "{fault}");
        }
    }

    #[test]
    fn all_faults_are_told_with_their_lines() {
        let text = "labels:\n  - {name: nerve, key: n, attributes: [sied]}\n  - {name: node, key: n}\n  - nerve\n  \
                    - {nme: x}\n  - {name: y, colour: red, key: yy}\nattributes:\n  - {name: side, of: clip, values: [a, a]}\n  \
                    - {name: empty}\n";
        let all = Schema::read("s.yaml", text).expect_err("faults").to_string();
        for part in [
            "line 2: `labels[0].attributes[0]` is no attribute of the file; did you mean `side`?",
            "line 3: the key `n` is given twice",
            "`nerve` is named twice",
            "`labels[3].nme` is unknown; did you mean `name`?",
            "line 6: `red` is no colour",
            "line 6: `labels[4].key` must be one letter",
            "line 8: `of` is `track` or `frame`, not `clip`",
            "line 8: `attributes[0].values[1]` is listed twice",
            "line 9: `empty` needs 1 to 35 `values`",
        ] {
            assert!(all.contains(part), "{part} is missing in\n{all}");
        }
        let many: String =
            (0..9).map(|i| format!("  - {{name: l{i}, colour: \"#00000{i}\"}}\n")).collect();
        let fault = Schema::read("s", &format!("labels:\n{many}")).expect_err("nine colours");
        assert!(fault.to_string().contains("8 colours"), "{fault}");
        let text = "labels:\n  - name: nerve\n    colour: #112233\n";
        let fault = Schema::read("s", text).expect_err("a comment").to_string();
        assert!(
            fault.contains("line 3: `labels[0].colour` is empty; write it with quotes"),
            "{fault}"
        );
        assert_eq!(Schema::read("s", "").expect("empty"), Schema::default());
    }
}
