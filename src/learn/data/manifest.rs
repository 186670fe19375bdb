//! A manifest: a data set as one YAML file.
//!
//! ```yaml
//! name: nerves
//! labels: {1: nerve, 2: vessel}
//! items:
//!   - {image: a.png, mask: a.mask.png, patient: p1, split: train}
//!   - {image: sweep.nii.gz, mask: sweep.labels.nii.gz, patient: p2, split: val}
//! ```
//!
//! Besides: `about`, a sentence; `root`, the folder that files are named from (else that of the manifest); `above: 127`
//! where masks are black and white (label 1 above that value) instead of numbers of labels. An item may have several
//! masks (`mask: [a, b]`); a clip may be a folder of frames with a folder of masks; then its pixel size `spacing_mm: [x, y]`, and `sha256`, one hash for the image and one for each
//! mask, as `sha256sum` prints them; and `group`, a name that near-duplicates share where nobody knows the patient. A split is `train`, `val` or `test`; without one an item is for training. Whoever
//! reads may ask for `fold-2of5` and `rest-2of5` instead ([`Fold`]). All faults are told at once, with their lines.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::layouts::Rule;
use crate::config::yaml::{Entries, Faults, Kind, Node, parse_up_to, text_up_to};
use crate::domain::shown;

/// Bytes of the largest manifest: about 200 000 images with their hashes. Import writes no larger one.
pub const BYTES_MAX: usize = 64 << 20;
const TOP: [&str; 6] = ["name", "about", "root", "above", "labels", "items"];
const ITEM: [&str; 7] = ["image", "mask", "patient", "group", "split", "spacing_mm", "sha256"];
/// What an item can be for, the most careful last.
pub const SPLITS: [&str; 3] = ["train", "val", "test"];

/// A data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Short name, shown in tables.
    pub name: String,
    /// What it is and where it is published; may be empty.
    pub about: String,
    /// Folder that the files of the items are named from.
    pub root: PathBuf,
    /// How masks are read.
    pub rule: Rule,
    /// Names of labels.
    pub labels: BTreeMap<u8, String>,
    /// Images and clips.
    pub items: Vec<Item>,
}

/// An image or a clip with its masks.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// File of the image, as written.
    pub image: String,
    /// Files of its masks, at least one.
    pub masks: Vec<String>,
    /// Whose image it is, where that is known.
    pub patient: Option<String>,
    /// The name of the near-duplicates that it is one of, where the patient is not known.
    pub group: Option<String>,
    /// One of [`SPLITS`].
    pub split: &'static str,
    /// Size of a pixel (x, y), mm, where the file tells it.
    pub spacing_mm: Option<[f64; 2]>,
    /// SHA-256 of image and masks in lower-case hex; empty when nobody wrote them.
    pub sha256: Vec<String>,
    /// Line in the manifest, for messages; 0 for items that were not read.
    pub line: usize,
}

impl Item {
    /// Image and masks in the order of the hashes.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.image).chain(&self.masks).map(String::as_str)
    }

    /// Name for people: the file of the image without folders and ending.
    #[must_use]
    pub fn name(&self) -> &str {
        let file = self.image.rsplit('/').next().unwrap_or(&self.image);
        let file = file.strip_suffix(".gz").unwrap_or(file);
        // The numbers of `1.2.840.7` are no ending.
        let is_ending = |text: &str| text.len() <= 5 && text.contains(|c: char| c.is_alphabetic());
        match file.rsplit_once('.') {
            Some((stem, ending)) if !stem.is_empty() && is_ending(ending) => stem,
            _ => file,
        }
    }
}

/// Whether a path names a manifest rather than a folder.
#[must_use]
pub fn is_manifest(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("yaml") || e.eq_ignore_ascii_case("yml"))
}

/// The split called `word`.
#[must_use]
pub fn split_named(word: &str) -> Option<&'static str> {
    SPLITS.into_iter().find(|split| *split == word)
}

/// A part of all that is not for testing, for cross-validation: `fold-2of5` is the second of five parts, `rest-2of5` the
/// other four. All items of a patient fall into the same part, and without patients all of a group (without either an item
/// stands for itself); which one depends on nothing but that name and the number of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fold {
    /// From 0.
    part: u64,
    parts: u64,
    /// The other parts instead.
    rest: bool,
}

impl Fold {
    /// The fold called `word`; 2 to 99 parts.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        let (kind, which) = word.split_once('-')?;
        let (part, parts) = which.split_once("of")?;
        let (part, parts) = (part.parse::<u64>().ok()?, parts.parse::<u64>().ok()?);
        let rest = match kind {
            "fold" => false,
            "rest" => true,
            _ => return None,
        };
        ((2..100).contains(&parts) && (1..=parts).contains(&part)).then(|| Self {
            part: part - 1,
            parts,
            rest,
        })
    }

    /// The other side: what is held back while this is learned from.
    #[must_use]
    pub fn other(word: &str) -> Option<String> {
        let fold = Self::named(word)?;
        let kind = if fold.rest { "fold" } else { "rest" };
        Some(format!("{kind}-{}of{}", fold.part + 1, fold.parts))
    }

    fn holds(&self, item: &Item) -> bool {
        let who = item.patient.as_ref().or(item.group.as_ref()).unwrap_or(&item.image);
        let hash = Sha256::digest(who.as_bytes());
        let number = hash.iter().take(8).fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        item.split != "test" && (number % self.parts == self.part) != self.rest
    }
}

impl Manifest {
    /// Reads a manifest; nothing that it names is looked at.
    ///
    /// # Errors
    /// All faults at once.
    pub fn read(path: &Path) -> Result<Self, Faults> {
        let (name, text) = text_up_to(path, BYTES_MAX)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::from_text(&name, &text, folder)
    }

    /// As [`Manifest::read`], from its text; `folder` is where it lies.
    ///
    /// # Errors
    /// All faults at once.
    pub fn from_text(file: &str, text: &str, folder: &Path) -> Result<Self, Faults> {
        let root = parse_up_to(file, text, BYTES_MAX)?;
        let mut faults = Faults::new(file);
        let mut manifest = Self {
            name: String::new(),
            about: String::new(),
            root: folder.to_owned(),
            rule: Rule::Values,
            labels: BTreeMap::new(),
            items: Vec::new(),
        };
        if let Some(top) = Entries::of(&root, "", &TOP, &mut faults) {
            manifest.name = word(&top, "name", &mut faults).unwrap_or_default();
            manifest.about = word(&top, "about", &mut faults).unwrap_or_default();
            if manifest.name.is_empty() {
                faults.add(top.line(), "`name` is missing; give the set a short name");
            }
            if let Some(root) = word(&top, "root", &mut faults) {
                manifest.root = folder.join(root);
            }
            match top.get("above") {
                Some((_, Node { kind: Kind::Number(above, _), .. })) => {
                    manifest.rule = Rule::Above(*above);
                }
                Some((path, node)) => faults.add(node.line, format!("`{path}` must be a number")),
                None => {}
            }
            manifest.labels = labels(&top, &mut faults);
            for (path, node) in top.list("items", &mut faults) {
                manifest.items.extend(item(&path, node, &mut faults));
            }
            if manifest.items.is_empty() && faults.list.is_empty() {
                faults.add(top.line(), "`items` is missing or empty; list at least one image");
            }
        }
        faults.or(manifest)
    }

    /// Names of the items by their images: [`Item::name`], and the whole path where several files are named alike.
    #[must_use]
    pub fn names(&self) -> BTreeMap<&str, &str> {
        let mut alike: BTreeMap<&str, usize> = BTreeMap::new();
        for item in &self.items {
            *alike.entry(item.name()).or_default() += 1;
        }
        let named = self.items.iter().map(|item| match alike[item.name()] {
            1 => (&item.image[..], item.name()),
            _ => (&item.image[..], &item.image[..]),
        });
        named.collect()
    }

    /// Where a file of an item lies.
    #[must_use]
    pub fn path(&self, file: &str) -> PathBuf {
        self.root.join(file)
    }

    /// The items of `split` or of a [`Fold`], all of them without one.
    pub fn of<'a>(&'a self, split: Option<&'a str>) -> impl Iterator<Item = &'a Item> {
        let fold = split.and_then(Fold::named);
        self.items.iter().filter(move |item| match &fold {
            Some(fold) => fold.holds(item),
            None => split.is_none_or(|s| s == item.split),
        })
    }

    /// The YAML text; one item a line.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut out = format!("name: {}\n", quoted(&self.name));
        if !self.about.is_empty() {
            let _ = writeln!(out, "about: {}", quoted(&self.about));
        }
        let _ = writeln!(out, "root: {}", quoted(&self.root.to_string_lossy()));
        if let Rule::Above(above) = self.rule {
            let _ = writeln!(out, "above: {above}");
        }
        let labels: Vec<String> =
            self.labels.iter().map(|(label, name)| format!("{label}: {}", quoted(name))).collect();
        let _ = writeln!(out, "labels: {{{}}}\nitems:", labels.join(", "));
        for item in &self.items {
            let list =
                |all: &[String]| all.iter().map(|t| quoted(t)).collect::<Vec<_>>().join(", ");
            let _ =
                write!(out, "  - {{image: {}, mask: [{}]", quoted(&item.image), list(&item.masks));
            if let Some(patient) = &item.patient {
                let _ = write!(out, ", patient: {}", quoted(patient));
            }
            if let Some(group) = &item.group {
                let _ = write!(out, ", group: {}", quoted(group));
            }
            let _ = write!(out, ", split: {}", item.split);
            if let Some([x, y]) = item.spacing_mm {
                let _ = write!(out, ", spacing_mm: [{x}, {y}]");
            }
            if !item.sha256.is_empty() {
                let _ = write!(out, ", sha256: [{}]", list(&item.sha256));
            }
            out.push_str("}\n");
        }
        out
    }
}

/// Text in double quotes, which YAML reads as JSON does.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The text of `key`; a number is text too, since patients are often numbered.
fn word(entries: &Entries<'_>, key: &str, faults: &mut Faults) -> Option<String> {
    let (path, node) = entries.get(key)?;
    let text = node.kind.word().filter(|text| !text.is_empty());
    if text.is_none() {
        faults.add(node.line, format!("`{path}` must be text, it is {}", node.kind.name()));
    }
    text
}

fn labels(top: &Entries<'_>, faults: &mut Faults) -> BTreeMap<u8, String> {
    let mut out = BTreeMap::new();
    let Some((path, node)) = top.get("labels") else { return out };
    let Kind::Map(entries) = &node.kind else {
        faults.add(node.line, format!("`{path}` must be a mapping of numbers to names"));
        return out;
    };
    for (key, value) in entries {
        match (key.parse::<u8>(), value.kind.word()) {
            (Ok(label @ 1..), Some(name)) => {
                out.insert(label, name);
            }
            _ => faults.add(
                value.line,
                format!("`{path}.{}` must be a number from 1 to 255 and a name", shown(key)),
            ),
        }
    }
    out
}

/// A text or a list of texts.
fn texts(entries: &Entries<'_>, key: &str, faults: &mut Faults) -> Vec<String> {
    let Some((path, node)) = entries.get(key) else { return Vec::new() };
    let items = match &node.kind {
        Kind::List(items) => items.iter().collect(),
        _ => vec![node],
    };
    let words: Option<Vec<String>> = items.iter().map(|item| item.kind.word()).collect();
    words.unwrap_or_else(|| {
        faults.add(node.line, format!("`{path}` must be text or a list of texts"));
        Vec::new()
    })
}

fn item(path: &str, node: &Node, faults: &mut Faults) -> Option<Item> {
    let entries = Entries::of(node, path, &ITEM, faults)?;
    let line = entries.line();
    let image = word(&entries, "image", faults);
    let masks = texts(&entries, "mask", faults);
    for (key, missing) in [("image", image.is_none()), ("mask", masks.is_empty())] {
        if missing && entries.get(key).is_none() {
            faults.add(line, format!("`{path}.{key}` is missing; name the file"));
        }
    }
    let split = match word(&entries, "split", faults) {
        None => Some(SPLITS[0]),
        Some(text) => {
            let split = split_named(&text);
            if split.is_none() {
                let text = shown(&text);
                faults
                    .add(line, format!("`{path}.split` is {text}; known are train, val and test"));
            }
            split
        }
    };
    let spacing_mm = entries.get("spacing_mm").and_then(|(path, node)| {
        let pair = match &node.kind {
            Kind::List(pair) => match pair[..] {
                [Node { kind: Kind::Number(x, _), .. }, Node { kind: Kind::Number(y, _), .. }]
                    if x > 0.0 && y > 0.0 =>
                {
                    Some([x, y])
                }
                _ => None,
            },
            _ => None,
        };
        if pair.is_none() {
            faults.add(node.line, format!("`{path}` must be two numbers above 0"));
        }
        pair
    });
    let sha256 = texts(&entries, "sha256", faults);
    let hex = |text: &String| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if !sha256.is_empty() && (sha256.len() != 1 + masks.len() || !sha256.iter().all(hex)) {
        faults.add(
            line,
            format!("`{path}.sha256` must be one hash of 64 hex digits for the image and one for each mask"),
        );
    }
    let patient = word(&entries, "patient", faults);
    let group = word(&entries, "group", faults);
    let sha256 = sha256.iter().map(|text| text.to_lowercase()).collect();
    Some(Item { image: image?, masks, patient, group, split: split?, spacing_mm, sha256, line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_by_hand_reads_and_comes_back_from_its_own_text() {
        let text = "name: nerves\nabove: 127\nlabels: {1: nerve}\nitems:\n  - {image: a.png, mask: a.mask.png, patient: 7, group: x}\n  - image: b/c.nii.gz\n    mask: [d.nii, e.nii]\n    split: val\n    spacing_mm: [0.1, 0.2]\n";
        let manifest = Manifest::from_text("m.yaml", text, Path::new("/data")).expect("reads");
        let [first, second] = &manifest.items[..] else { panic!("{manifest:?}") };
        assert_eq!((first.patient.as_deref(), first.split, first.line), (Some("7"), "train", 5));
        assert_eq!((second.name(), second.split, second.masks.len()), ("c", "val", 2));
        assert_eq!((first.group.as_deref(), &second.group), (Some("x"), &None));
        assert_eq!(manifest.path("a.png"), Path::new("/data/a.png"));
        let again =
            Manifest::from_text("n.yaml", &manifest.to_yaml(), Path::new("/x")).expect("reads");
        let plain = |mut m: Manifest| {
            m.items.iter_mut().for_each(|item| item.line = 0);
            m
        };
        assert_eq!(plain(again), plain(manifest));
    }

    #[test]
    fn items_of_one_name_in_several_folders_are_told_apart() {
        let text = "name: m\nitems:\n  - {image: a/1.png, mask: m}\n  - {image: b/1.png, mask: m}\n  - {image: b/1.2.840.7, mask: m}\n  - {image: c/1.2.dcm, mask: m}\n";
        let manifest = Manifest::from_text("m.yaml", text, Path::new("")).expect("reads");
        let names = manifest.names();
        let of = |image: &str| names[image].to_owned();
        assert_eq!([of("a/1.png"), of("b/1.png")], ["a/1.png", "b/1.png"]);
        assert_eq!([of("b/1.2.840.7"), of("c/1.2.dcm")], ["1.2.840.7", "1.2"]);
    }

    #[test]
    fn all_faults_of_a_manifest_are_told_with_their_lines() {
        let text = "nam: x\nitems:\n  - image: a.png\n  - {image: b.png, mask: b.png, split: tran}\n  - {image: c.png, mask: c.png, sha256: [12]}\n";
        let faults =
            Manifest::from_text("m.yaml", text, Path::new("")).expect_err("faulty").to_string();
        for part in [
            "line 1: `nam` is unknown; did you mean `name`?",
            "`name` is missing",
            "line 3: `items[0].mask` is missing",
            "`items[1].split` is tran",
            "`items[2].sha256` must be",
        ] {
            assert!(faults.contains(part), "{part} in {faults}");
        }
    }

    #[test]
    fn a_manifest_of_many_images_reads_although_settings_are_small() {
        let long = "x".repeat(200);
        let items = (0..20_000).map(|i| format!("  - {{image: {long}{i}.png, mask: m}}\n"));
        let text = format!("name: n\nitems:\n{}", items.collect::<String>());
        assert!(text.len() > 4 << 20);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("n.yaml");
        std::fs::write(&file, text).expect("written");
        assert_eq!(Manifest::read(&file).expect("reads").items.len(), 20_000);
    }

    #[test]
    fn folds_part_the_patients_and_leave_the_test_out() {
        let mut text = "name: nerves\nitems:\n".to_owned();
        for i in 0..200 {
            let split = if i % 10 == 0 { "test" } else { "train" };
            let patient = i / 4;
            text += &format!(
                "  - {{image: {i}.png, mask: {i}.m.png, patient: p{patient}, split: {split}}}\n"
            );
        }
        let manifest = Manifest::from_text("m.yaml", &text, Path::new("/data")).expect("reads");
        let names = |split: &str| -> Vec<String> {
            manifest.of(Some(split)).map(|item| item.image.clone()).collect()
        };
        let whose = |split: &str| -> std::collections::BTreeSet<String> {
            manifest.of(Some(split)).filter_map(|item| item.patient.clone()).collect()
        };
        let mut seen = Vec::new();
        for part in 1..=5 {
            let (fold, rest) = (format!("fold-{part}of5"), format!("rest-{part}of5"));
            assert!(whose(&fold).is_disjoint(&whose(&rest)));
            assert_eq!(names(&fold).len() + names(&rest).len(), 180);
            assert_eq!(Fold::other(&rest).as_deref(), Some(&fold[..]));
            seen.extend(names(&fold));
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 180);
        // Without patients near-duplicates stay together.
        let items =
            (0..60).map(|i| format!("  - {{image: {i}.png, mask: m, group: g{}}}\n", i / 3));
        let text = format!("name: n\nitems:\n{}", items.collect::<String>());
        let manifest = Manifest::from_text("m.yaml", &text, Path::new("")).expect("reads");
        let groups = |split: &str| -> std::collections::BTreeSet<String> {
            manifest.of(Some(split)).filter_map(|item| item.group.clone()).collect()
        };
        let (fold, rest) = (groups("fold-1of2"), groups("rest-1of2"));
        assert!(fold.is_disjoint(&rest) && fold.len() + rest.len() == 20, "{fold:?} {rest:?}");
        for word in
            ["fold-0of5", "fold-6of5", "fold-1of1", "fold-1of100", "fold-1", "val", "part-1of5"]
        {
            assert_eq!(Fold::named(word), None, "{word}");
        }
    }
}
