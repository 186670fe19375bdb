//! Looking at everything that a manifest names.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use serde::Serialize;

use super::likeness;
use super::load::changed;
use super::manifest::{Item, Manifest};
use super::pixels::{Opened, sha256};
use crate::domain::shown;
use crate::learn::dataset::{DataError, Pick, Veil, objects_of};

/// What one item turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Looked {
    pub sha256: Vec<String>,
    pub likeness: u64,
    pub size_px: [u32; 2],
    pub frames: usize,
    pub structures: usize,
    pub labels: Vec<u8>,
    pub spacing_mm: Option<[f64; 2]>,
}

/// Decodes and hashes an item; likeness and structures are those of its middle labelled frame.
pub(super) fn look(manifest: &Manifest, item: &Item) -> Result<Looked, DataError> {
    let mut hashes = Vec::new();
    for (i, file) in item.files().enumerate() {
        let path = manifest.path(file);
        let found = sha256(&path)?;
        changed(&path, item.sha256.get(i), &found)?;
        hashes.push(found);
    }
    let opened = Opened::open(manifest, item, &Veil::default())?;
    let labelled = opened.labelled();
    let middle = labelled.get(labelled.len() / 2).copied().unwrap_or(0);
    let image = opened.clip.frame(middle)?;
    let info = opened.clip.info();
    Ok(Looked {
        sha256: hashes,
        likeness: likeness::hash(&image),
        size_px: [info.width_px, info.height_px],
        frames: info.frames,
        structures: objects_of(&opened.labels(middle), Pick::AllComponents).len(),
        labels: opened.present(),
        spacing_mm: info.pixel_spacing_mm,
    })
}

/// What a split holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Images and clips.
    pub items: usize,
    /// Items without any label.
    pub empty: usize,
    /// Structures, of clips those on the middle labelled frame.
    pub structures: usize,
    /// Patients, as far as they are known.
    pub patients: usize,
}

/// Two items that show nearly the same picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Near {
    /// The files.
    pub files: [String; 2],
    /// Their splits.
    pub splits: [&'static str; 2],
}

/// Pairs of near-duplicates that are listed; how many there are is always told.
const LISTED: usize = 1000;

/// All near-duplicates of a set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NearPairs {
    /// How many pairs.
    pub count: usize,
    /// How many of them are in two splits.
    pub across: usize,
    /// The first thousand, those across splits first.
    pub listed: Vec<Near>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CheckReport {
    /// By split.
    pub splits: BTreeMap<&'static str, Count>,
    /// What keeps the set from being used, one sentence each.
    pub faults: Vec<String>,
    /// Near-duplicates.
    pub near: NearPairs,
}

/// Looks at every file of a manifest.
#[must_use]
pub fn check(manifest: &Manifest) -> CheckReport {
    let looked: Vec<_> = manifest.items.par_iter().map(|item| look(manifest, item)).collect();
    let mut report = CheckReport::default();
    let mut patients: BTreeMap<&str, BTreeSet<&'static str>> = BTreeMap::new();
    let mut fine: Vec<(&Item, u64)> = Vec::new();
    for (item, looked) in manifest.items.iter().zip(looked) {
        let count = report.splits.entry(item.split).or_default();
        count.items += 1;
        let line = item.line;
        match looked {
            Err(error) => report.faults.push(format!("line {line}: {error}")),
            Ok(looked) => {
                count.structures += looked.structures;
                count.empty += usize::from(looked.labels.is_empty());
                let strange = looked
                    .labels
                    .iter()
                    .find(|l| !manifest.labels.is_empty() && !manifest.labels.contains_key(l));
                if let Some(label) = strange {
                    let file = shown(&item.masks.join(", "));
                    report.faults.push(format!(
                        "line {line}: {file} holds label {label}, which `labels` does not name"
                    ));
                }
                fine.push((item, looked.likeness));
            }
        }
        if let Some(patient) = &item.patient {
            let seen = patients.entry(patient).or_default();
            if seen.insert(item.split) {
                count.patients += 1;
            }
        }
    }
    for (patient, splits) in patients.iter().filter(|(_, splits)| splits.len() > 1) {
        let splits: Vec<&str> = splits.iter().copied().collect();
        let (patient, splits) = (shown(patient), splits.join(" and "));
        report.faults.push(format!(
            "patient {patient} is in {splits}; put all images of a patient into one split"
        ));
    }
    report.near = near(&fine);
    report
}

/// Near-duplicates among items.
pub(super) fn near(items: &[(&Item, u64)]) -> NearPairs {
    let hashes: Vec<u64> = items.iter().map(|(_, hash)| *hash).collect();
    let mut near = NearPairs::default();
    let mut within = Vec::new();
    likeness::each_near_pair(&hashes, |i, j| {
        let splits = [i, j].map(|k| items[k].0.split);
        let across = splits[0] != splits[1];
        near.count += 1;
        near.across += usize::from(across);
        let list = if across { &mut near.listed } else { &mut within };
        if list.len() < LISTED {
            list.push(Near { files: [i, j].map(|k| items[k].0.image.clone()), splits });
        }
    });
    within.truncate(LISTED - near.listed.len());
    near.listed.append(&mut within);
    near
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pairs_are_counted_and_some_are_listed_those_across_splits_first() {
        let item = |i: usize| Item {
            image: i.to_string(),
            masks: Vec::new(),
            patient: None,
            group: None,
            split: if i == 99 { "test" } else { "train" },
            spacing_mm: None,
            sha256: Vec::new(),
            line: 0,
        };
        let items: Vec<Item> = (0..100).map(item).collect();
        let same: Vec<(&Item, u64)> = items.iter().map(|item| (item, 7)).collect();
        let found = near(&same);
        assert_eq!((found.count, found.across, found.listed.len()), (100 * 99 / 2, 99, LISTED));
        let across = |near: &Near| near.splits[0] != near.splits[1];
        assert!(found.listed[..99].iter().all(across) && !found.listed[99..].iter().any(across));
    }
}
