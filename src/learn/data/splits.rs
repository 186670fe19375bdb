//! Who is in which split: as the authors say, else drawn; patients are never torn apart.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::layouts::Splits;
use super::manifest::{SPLITS, split_named};
use super::pattern::{find, plain};
use crate::learn::dataset::{DataError, unfit, unreadable};

/// A longer list is not one of a data set.
const LIST_BYTES_MAX: u64 = 16 << 20;

/// What the authors say of a part of a set.
pub(super) enum Written {
    /// Nothing.
    Nothing,
    /// Everything belongs to one split.
    All(&'static str),
    /// Split by name.
    By(HashMap<String, &'static str>),
    /// The same in each of several folders.
    In(HashMap<(String, String), &'static str>),
}

impl Written {
    /// Reads the lists among `files`, which are named below `folder`. Lists that are not there are told in `notes`.
    pub(super) fn read(
        splits: Splits,
        folder: &Path,
        files: &[String],
        notes: &mut Vec<String>,
    ) -> Result<Self, DataError> {
        let mut texts = |name: &str| -> Result<Vec<(String, String)>, DataError> {
            let mut found = Vec::new();
            for file in files {
                let above = file.len().checked_sub(name.len());
                let Some(root) = above.and_then(|at| file.get(..at)) else { continue };
                let same = file[root.len()..].eq_ignore_ascii_case(name);
                if same && (root.is_empty() || root.ends_with('/')) {
                    found.push((root.to_lowercase(), list_of(&folder.join(file))?));
                }
            }
            if found.is_empty() {
                notes.push(format!("{name} is not there; what it would say is drawn instead"));
            }
            Ok(found)
        };
        let mut text = |name: &str| -> Result<Option<String>, DataError> {
            Ok(texts(name)?.into_iter().next().map(|(_, text)| text))
        };
        let mut by = HashMap::new();
        match splits {
            Splits::Drawn => return Ok(Self::Nothing),
            Splits::All(split) => return Ok(Self::All(split)),
            Splits::Named(named) => {
                for (split, names) in named {
                    by.extend(names.iter().map(|name| (plain(name), *split)));
                }
                // Whoever the readme does not name for judging is for training.
                by.entry(String::new()).or_insert(SPLITS[0]);
            }
            Splits::Lists(lists) => {
                let mut found = Vec::new();
                for (split, file) in lists {
                    found.extend(texts(file)?.into_iter().map(|(root, text)| (root, text, *split)));
                }
                // Lists of one place may lie elsewhere than the images; of several, each speaks for its own folder.
                let several = found.iter().any(|(root, ..)| *root != found[0].0);
                let said = found.iter().flat_map(|(root, text, split)| {
                    let names = text.lines().map(str::trim).filter(|name| !name.is_empty());
                    names.map(move |name| ((root.clone(), plain(stem(name))), *split))
                });
                if several {
                    return Ok(Self::In(said.collect()));
                }
                by.extend(said.map(|((_, name), split)| (name, split)));
            }
            Splits::Json(file) => {
                let Some(text) = text(file)? else { return Ok(Self::Nothing) };
                let json: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text)
                    .map_err(|e| unfit(Path::new(file), format!("{e}; correct it")))?;
                for (split, names) in &json {
                    let Some(split) = split_named(split) else { continue };
                    for name in names.as_array().into_iter().flatten() {
                        let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
                        by.insert(plain(stem(&name)), split);
                    }
                }
            }
            Splits::Folders(folders) => return Ok(Self::copied(folders, files, notes)),
            Splits::Folds(file, name, fold, which) => {
                let Some(text) = text(file)? else { return Ok(Self::Nothing) };
                for (name, fold) in columns(&text, name, fold) {
                    let split =
                        which.iter().find(|(f, _)| *f == fold).map_or(SPLITS[0], |(_, s)| s);
                    by.insert(plain(stem(name)), split);
                }
            }
        }
        Ok(Self::By(by))
    }

    /// What folders of copies say; that there are none is told in `notes`.
    fn copied(folders: &[(&'static str, &str)], files: &[String], notes: &mut Vec<String>) -> Self {
        let mut by = HashMap::new();
        for (split, pattern) in folders {
            let copies = files.iter().filter_map(|file| find(pattern, file));
            by.extend(copies.filter_map(|copy| Some((plain(copy.get("n")?), *split))));
        }
        if !by.is_empty() {
            return Self::By(by);
        }
        let patterns: Vec<&str> = folders.iter().map(|(_, pattern)| *pattern).collect();
        let note =
            format!("{} are not there; what they would say is drawn instead", patterns.join(", "));
        // Parts of one set ask for the same folders.
        if !notes.contains(&note) {
            notes.push(note);
        }
        Self::Nothing
    }

    /// The split of an image below `root` (as in [`Found`](super::pattern::Found)) by its name in the lists.
    pub(super) fn of(&self, root: &str, key: &str) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::All(split) => Some(split),
            Self::In(by) => by.get(&(root.to_lowercase(), plain(stem(key)))).copied(),
            Self::By(by) => by.get(&plain(stem(key))).or_else(|| by.get("")).copied(),
        }
    }
}

fn list_of(path: &Path) -> Result<String, DataError> {
    let size = std::fs::metadata(path).map_err(|e| unreadable(path, e))?.len();
    if size > LIST_BYTES_MAX {
        let cause = format!("it is larger than {} MiB; split it", LIST_BYTES_MAX >> 20);
        return Err(unfit(path, cause));
    }
    std::fs::read_to_string(path).map_err(|e| unreadable(path, e))
}

fn stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, ending)) if (3..=4).contains(&ending.len()) => stem,
        _ => name,
    }
}

/// Two columns of a CSV file with a header.
fn columns<'a>(text: &'a str, first: &str, second: &str) -> Vec<(&'a str, &'a str)> {
    let clean = |cell: &'a str| cell.trim().trim_matches('"');
    let mut lines = text.trim_start_matches('\u{feff}').lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').map(clean).collect();
    let at = |name: &str| header.iter().position(|cell| cell.eq_ignore_ascii_case(name));
    let (Some(first), Some(second)) = (at(first), at(second)) else { return Vec::new() };
    lines
        .filter_map(|line| {
            let cells: Vec<&str> = line.split(',').map(clean).collect();
            Some((*cells.get(first)?, *cells.get(second)?))
        })
        .collect()
}

/// A split for a group that nobody assigned: 70 / 10 / 20 in a hundred, always the same for the same name.
pub(super) fn drawn(set: &str, group: &str) -> &'static str {
    let digest = Sha256::digest(format!("{set}\0{group}"));
    match u16::from_be_bytes([digest[0], digest[1]]) % 100 {
        0..70 => SPLITS[0],
        70..80 => SPLITS[1],
        _ => SPLITS[2],
    }
}

/// Gives every group one split: the most careful of those its members were given, or a drawn one. Returns how many
/// groups had been torn apart.
pub(super) fn settle(
    set: &str,
    groups: &[String],
    written: &[Option<&'static str>],
) -> (Vec<&'static str>, usize) {
    let rank = |split: &str| SPLITS.iter().position(|s| *s == split).unwrap_or(0);
    let mut seen: HashMap<&str, (usize, bool)> = HashMap::new();
    for (group, split) in groups.iter().zip(written) {
        let rank = rank(split.unwrap_or_else(|| drawn(set, group)));
        let entry = seen.entry(group).or_insert((rank, false));
        *entry = (entry.0.max(rank), entry.1 || entry.0 != rank);
    }
    let splits = groups.iter().map(|group| SPLITS[seen[group.as_str()].0]).collect();
    (splits, seen.values().filter(|(_, torn)| *torn).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_keep_together_in_the_most_careful_split() {
        let groups = ["a", "b", "a"].map(str::to_owned);
        let (splits, torn) = settle("set", &groups, &[Some("train"), Some("train"), Some("val")]);
        assert_eq!((splits, torn), (vec!["val", "train", "val"], 1));
        let of: Vec<&str> = (0..1000).map(|i| drawn("set", &i.to_string())).collect();
        let count = |split: &str| of.iter().filter(|s| **s == split).count();
        assert!((650..750).contains(&count("train")) && (70..130).contains(&count("val")));
    }

    #[test]
    fn columns_are_found_by_their_names() {
        let text =
            "\u{feff}ID,Pathology,kFold\nbus_0001-l,benign,3\n\"bus_0002-r\",malignant,1\nshort\n";
        assert_eq!(columns(text, "id", "kfold"), [("bus_0001-l", "3"), ("bus_0002-r", "1")]);
        assert!(columns(text, "id", "fold").is_empty());
        assert_eq!((stem("1.JPG"), stem("patient0001"), stem("a.b")), ("1", "patient0001", "a.b"));
    }
}
