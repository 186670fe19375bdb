//! A published data set becomes a manifest.
//!
//! Files are never copied or changed: the manifest names them where they lie. Only masks that are no image are written
//! anew, as PNG of labels beside the manifest. What decides whether this file is right: an image meets the masks whose
//! holes hold the same numbers under the same folder; what cannot be read is left out and told; whole patients (or, where
//! nobody knows them, groups of near-duplicates) are drawn for a split.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::check::{Looked, NearPairs, look, near};
use super::cine::{Unpacked, unpack};
use super::convert;
use super::layouts::{Layout, Part, Patient, Special};
use super::likeness::first_alike;
use super::manifest::{BYTES_MAX, Item, Manifest, SPLITS};
use super::pattern::{Found, find, holes, plain};
use super::splits::{Written, settle};
use crate::domain::{counted, shown};
use crate::export::write_atomic;
use crate::learn::dataset::{DataError, undecoded, unfit, unreadable};

/// Folders below the given one that are looked into.
const DEPTH_MAX: usize = 12;
/// A larger tree is not one data set.
const FILES_MAX: usize = 1_000_000;

/// What an import found.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The manifest that was written.
    pub file: PathBuf,
    /// Its content.
    pub manifest: Manifest,
    /// Images without a mask, which are left out.
    pub without_mask: usize,
    /// Patients that the authors' split tore apart and that are now in one split.
    pub torn: usize,
    /// Near-duplicates.
    pub near: NearPairs,
    /// Items that could not be read, one sentence each.
    pub refused: Vec<String>,
    /// What else a person should know.
    pub notes: Vec<String>,
}

/// An image on its way into the manifest.
struct Draft {
    item: Item,
    found: Found,
    key: String,
    part: usize,
}

/// Reads the set in `path` and writes `OUT/KIND.yaml`.
///
/// # Errors
/// When the folder is not laid out as that set, or nothing can be written.
pub fn import(layout: &Layout, path: &Path, out: &Path) -> Result<Imported, DataError> {
    let folder = std::fs::canonicalize(path).map_err(|e| unreadable(path, e))?;
    let files = tree(&folder)?;
    let mut notes = Vec::new();
    let (mut drafts, without_mask) = match layout.special {
        Special::CineHdf5 => (clips_of_hdf5(layout, &folder, &files, out)?, 0),
        _ => drafts(layout, &files),
    };
    if drafts.iter().map(|draft| bytes_of(&draft.item)).sum::<usize>() > BYTES_MAX {
        let cause = format!(
            "a manifest of its {} would be larger than {} MiB, which nothing reads; import parts of it",
            counted(drafts.len(), "image"),
            BYTES_MAX >> 20
        );
        return Err(unfit(path, cause));
    }
    if drafts.is_empty() {
        let part = layout.parts.first().map_or("", |part| part.image);
        let mask = layout.parts.first().and_then(|part| part.masks.first()).unwrap_or(&"");
        let cause = format!(
            "no image of {} with a mask is in it; the set has files like {part} and {mask}",
            layout.kind
        );
        return Err(unfit(path, cause));
    }
    std::fs::create_dir_all(out).map_err(|e| unreadable(out, e))?;
    let mut manifest = Manifest {
        name: layout.kind.to_owned(),
        about: layout.about.to_owned(),
        root: folder.clone(),
        rule: layout.rule,
        labels: layout.labels.iter().map(|(label, name)| (*label, (*name).to_owned())).collect(),
        items: Vec::new(),
    };
    let mut refused = Vec::new();
    if matches!(layout.special, Special::Outlines | Special::Arrays) {
        converted(layout, &manifest, &mut drafts, out, &mut refused)?;
    }
    let looked: Vec<Result<Looked, DataError>> =
        drafts.par_iter().map(|draft| look(&manifest, &draft.item)).collect();
    let mut kept: Vec<(Draft, Looked)> = Vec::new();
    for (draft, looked) in drafts.into_iter().zip(looked) {
        match looked {
            Ok(looked) => kept.push((draft, looked)),
            Err(error) => refused.push(error.to_string()),
        }
    }
    let empty = kept.iter().filter(|(_, looked)| looked.labels.is_empty()).count();
    if empty > 0 && empty == kept.len() {
        let cause = format!(
            "the masks of all {empty} images hold no label; check that they are those of {} as published",
            layout.kind
        );
        return Err(unfit(path, cause));
    }
    if empty > 0 {
        notes.push(format!("with an empty mask: {empty} of {}", counted(kept.len(), "image")));
    }
    for (draft, looked) in &mut kept {
        draft.item.sha256.clone_from(&looked.sha256);
        draft.item.spacing_mm = looked.spacing_mm;
    }
    name_patients(layout.patient, &mut kept);
    let torn = assign(layout, &folder, &files, &mut kept, &mut notes)?;
    let pairs: Vec<(&Item, u64)> = kept.iter().map(|(d, l)| (&d.item, l.likeness)).collect();
    let near = near(&pairs);
    manifest.items = kept.into_iter().map(|(draft, _)| draft.item).collect();
    let file = out.join(format!("{}.yaml", layout.kind));
    write_atomic(&file, manifest.to_yaml().as_bytes())?;
    Ok(Imported { file, manifest, without_mask, torn, near, refused, notes })
}

/// Bytes that an item takes in a manifest at most, once its hashes, patient or group, split and spacing are known.
fn bytes_of(item: &Item) -> usize {
    // A hash in quotes with its comma, quotes and comma of a name; the words between; a patient is part of a path.
    let files: usize = item.files().map(|file| file.len() + 68 + 4).sum();
    files + item.image.len() + 160
}

/// All files below a folder in natural order, named from it, with `/` between folders. Hidden ones and links are left
/// out.
fn tree(folder: &Path) -> Result<Vec<String>, DataError> {
    let mut out = Vec::new();
    let mut todo = vec![(folder.to_owned(), String::new(), 0)];
    while let Some((dir, name, depth)) = todo.pop() {
        for entry in std::fs::read_dir(&dir).map_err(|e| unreadable(&dir, e))? {
            let entry = entry.map_err(|e| unreadable(&dir, e))?;
            let Ok(last) = entry.file_name().into_string() else { continue };
            let kind = entry.file_type().map_err(|e| unreadable(&dir, e))?;
            if last.starts_with('.') {
                continue;
            }
            let full = if name.is_empty() { last } else { format!("{name}/{last}") };
            if kind.is_dir() && depth < DEPTH_MAX {
                todo.push((entry.path(), full, depth + 1));
            } else if kind.is_file() {
                out.push(full);
            }
            if out.len() > FILES_MAX {
                return Err(unfit(
                    folder,
                    format!(
                        "it holds more than {FILES_MAX} files; give the folder of the data set"
                    ),
                ));
            }
        }
    }
    out.sort_by(|a, b| natord::compare(a, b));
    Ok(out)
}

/// Where a mask belongs: its folder and the numbers that it shares with its image.
fn joint(found: &Found, shared: &[&str]) -> (String, Vec<String>) {
    let texts = shared.iter().map(|name| plain(found.get(name).unwrap_or_default()));
    (found.root.to_lowercase(), texts.collect())
}

/// Images with their masks, and how many images have none.
fn drafts(layout: &Layout, files: &[String]) -> (Vec<Draft>, usize) {
    let (mut out, mut without) = (Vec::new(), 0);
    let mut described: HashSet<&str> = HashSet::new();
    for (number, part) in layout.parts.iter().enumerate() {
        let indices: Vec<_> = part.masks.iter().map(|mask| masks_of(part, mask, files)).collect();
        for file in files {
            let Some(found) = find(part.image, file) else { continue };
            // `{n}.png` describes `a.mask.png` too.
            if part.masks.iter().any(|mask| find(mask, file).is_some()) {
                continue;
            }
            // The first part that describes an image has it.
            if !described.insert(file) {
                continue;
            }
            let mut masks = Vec::new();
            for (shared, index) in &indices {
                masks.extend(index.get(&joint(&found, shared)).into_iter().flatten().cloned());
            }
            if masks.is_empty() {
                without += 1;
                continue;
            }
            let key = found.fill(part.key).unwrap_or_default();
            let item = Item {
                image: file.clone(),
                masks,
                patient: None,
                group: None,
                split: SPLITS[0],
                spacing_mm: None,
                sha256: Vec::new(),
                line: 0,
            };
            out.push(Draft { item, found, key, part: number });
        }
    }
    (out, without)
}

type MaskIndex = HashMap<(String, Vec<String>), Vec<String>>;

/// The files of a mask pattern by what they share with their images.
fn masks_of<'a>(part: &'a Part, mask: &str, files: &[String]) -> (Vec<&'a str>, MaskIndex) {
    let own = holes(mask);
    let shared: Vec<&str> =
        holes(part.image).into_iter().filter(|name| own.contains(name)).collect();
    let mut index = MaskIndex::new();
    for file in files {
        if let Some(found) = find(mask, file) {
            index.entry(joint(&found, &shared)).or_default().push(file.clone());
        }
    }
    (shared, index)
}

/// The clips of a set that is one HDF5 file, unpacked below `out`. A clip is named by its patient, an underscore and
/// what tells the lesions of one patient apart.
fn clips_of_hdf5(
    layout: &Layout,
    folder: &Path,
    files: &[String],
    out: &Path,
) -> Result<Vec<Draft>, DataError> {
    let Some(file) =
        layout.parts.iter().find_map(|p| files.iter().find(|f| find(p.image, f).is_some()))
    else {
        return Ok(Vec::new());
    };
    let place = out.join(layout.kind);
    std::fs::create_dir_all(&place).map_err(|e| unreadable(&place, e))?;
    let place = std::fs::canonicalize(&place).map_err(|e| unreadable(&place, e))?;
    let draft = |clip: Unpacked| {
        let patient = clip.name.split('_').next().unwrap_or_default().to_owned();
        Draft {
            item: Item {
                image: clip.frames.to_string_lossy().into_owned(),
                masks: vec![clip.masks.to_string_lossy().into_owned()],
                patient: None,
                group: None,
                split: SPLITS[0],
                spacing_mm: None,
                sha256: Vec::new(),
                line: 0,
            },
            found: Found { root: String::new(), fields: vec![("patient".into(), patient)] },
            key: clip.name,
            part: 0,
        }
    };
    Ok(unpack(&folder.join(file), &place)?.into_iter().map(draft).collect())
}

/// Writes label images for masks that are none, in folders like those above their images, of which a set that lies there
/// twice has two; items whose masks cannot be read leave.
fn converted(
    layout: &Layout,
    manifest: &Manifest,
    drafts: &mut Vec<Draft>,
    out: &Path,
    refused: &mut Vec<String>,
) -> Result<(), DataError> {
    let folder = out.join(format!("{}-masks", layout.kind));
    std::fs::create_dir_all(&folder).map_err(|e| unreadable(&folder, e))?;
    let folder = std::fs::canonicalize(&folder).map_err(|e| unreadable(&folder, e))?;
    let mut kept = Vec::new();
    for mut draft in std::mem::take(drafts) {
        let image = manifest.path(&draft.item.image);
        let part = &layout.parts[draft.part];
        let label_of = |mask: &String| {
            part.masks.iter().position(|p| find(p, mask).is_some()).map_or(1, |i| i as u8 + 1)
        };
        let paths: Vec<(u8, PathBuf)> =
            draft.item.masks.iter().map(|m| (label_of(m), manifest.path(m))).collect();
        let paths: Vec<(u8, &Path)> = paths.iter().map(|(l, p)| (*l, p.as_path())).collect();
        let labels = image::image_dimensions(&image)
            .map_err(|e| undecoded(&image, e))
            .and_then(|(w, h)| convert::labels(layout, [w, h], &paths));
        let labels = match labels {
            Ok(labels) => labels,
            Err(error) => {
                refused.push(error.to_string());
                continue;
            }
        };
        let name: Vec<String> = draft.found.fields.iter().map(|(_, text)| plain(text)).collect();
        let place = folder.join(&draft.found.root);
        std::fs::create_dir_all(&place).map_err(|e| unreadable(&place, e))?;
        let file = place.join(format!("{}.png", name.join("_")));
        let picture = image::GrayImage::from_raw(labels.width_px, labels.height_px, labels.pixels)
            .ok_or_else(|| unfit(&file, "its size and its pixels disagree; please report it"))?;
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, image::ImageFormat::Png).map_err(|e| undecoded(&file, e))?;
        write_atomic(&file, bytes.get_ref())?;
        draft.item.masks = vec![file.to_string_lossy().into_owned()];
        kept.push(draft);
    }
    *drafts = kept;
    Ok(())
}

fn name_patients(rule: Patient, kept: &mut [(Draft, Looked)]) {
    let (mut run, mut size) = (0, None);
    for (draft, looked) in kept {
        draft.item.patient = match rule {
            Patient::Unknown => None,
            Patient::Template(template) => draft.found.fill(template),
            Patient::RunsOfSize => {
                run += usize::from(size != Some(looked.size_px));
                size = Some(looked.size_px);
                Some(format!("run {run}"))
            }
        };
    }
}

/// Gives every item its split; returns how many groups the authors' lists had torn apart.
fn assign(
    layout: &Layout,
    folder: &Path,
    files: &[String],
    kept: &mut [(Draft, Looked)],
    notes: &mut Vec<String>,
) -> Result<usize, DataError> {
    let written: Vec<Written> = layout
        .parts
        .iter()
        .map(|part| Written::read(part.splits, folder, files, notes))
        .collect::<Result<_, _>>()?;
    let said: Vec<Option<&'static str>> =
        kept.iter().map(|(d, _)| written[d.part].of(&d.found.root, &d.key)).collect();
    let hashes: Vec<u64> = kept.iter().map(|(_, looked)| looked.likeness).collect();
    let alike = first_alike(&hashes);
    let group = |(i, (draft, _)): (usize, &(Draft, Looked))| match (&draft.item.patient, said[i]) {
        (Some(patient), _) => format!("patient {patient}"),
        // Near-duplicates keep together where nobody said otherwise.
        (None, None) => format!("like {}", kept[alike[i]].0.item.image),
        (None, Some(_)) => format!("image {}", draft.item.image),
    };
    let groups: Vec<String> = kept.iter().enumerate().map(group).collect();
    let (splits, torn) = settle(layout.kind, &groups, &said);
    for ((draft, _), split) in kept.iter_mut().zip(splits) {
        draft.item.split = split;
    }
    name_groups(kept, &alike);
    if layout.patient == Patient::Unknown {
        notes.push(
            "the set does not say whose images are whose: a patient may be in two splits".into(),
        );
    }
    if layout.special == Special::CineHdf5 && of_one_clip_each(kept) {
        notes.push(
            "every clip has a number of its own, and the authors have fewer patients than clips: a patient may be in two \
             splits"
                .into(),
        );
    }
    Ok(torn)
}

/// Whether no patient has two items.
fn of_one_clip_each(kept: &[(Draft, Looked)]) -> bool {
    let patients: BTreeSet<&String> =
        kept.iter().filter_map(|(draft, _)| draft.item.patient.as_ref()).collect();
    patients.len() == kept.len()
}

/// Names the near-duplicates of which nobody knows the patient after the first of them: folds keep them together, whatever
/// the authors' lists do.
fn name_groups(kept: &mut [(Draft, Looked)], alike: &[usize]) {
    let mut sizes = vec![0; kept.len()];
    alike.iter().for_each(|first| sizes[*first] += 1);
    for (at, first) in alike.iter().enumerate().filter(|(_, first)| sizes[**first] > 1) {
        let group = kept[*first].0.item.image.clone();
        let item = &mut kept[at].0.item;
        item.group = item.patient.is_none().then_some(group);
    }
}

impl Imported {
    /// Items by split.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut out = BTreeMap::new();
        for item in &self.manifest.items {
            *out.entry(item.split).or_insert(0) += 1;
        }
        out
    }

    /// One line for a person.
    #[must_use]
    pub fn sentence(&self) -> String {
        let counts: Vec<String> =
            self.counts().iter().map(|(split, n)| format!("{split} {n}")).collect();
        let file = shown(&self.file.to_string_lossy());
        format!("{file}: {} ({})", counted(self.manifest.items.len(), "item"), counts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is refused before anything is hashed is never less than what would be written.
    #[test]
    fn an_item_takes_no_more_bytes_than_were_reckoned() {
        let hash = "0".repeat(64);
        let item = Item {
            image: "a/0001.png".into(),
            masks: vec!["a/0001.mask.png".into(), "a/0001.more.png".into()],
            patient: Some("a/0001.png".into()),
            group: None,
            split: "train",
            spacing_mm: Some([1.0 / 3.0, 1.0 / 7.0]),
            sha256: vec![hash; 3],
            line: 0,
        };
        let manifest = |items| Manifest {
            name: String::new(),
            about: String::new(),
            root: PathBuf::new(),
            rule: crate::learn::data::layouts::Rule::Values,
            labels: BTreeMap::new(),
            items,
        };
        let reckoned = bytes_of(&item);
        let written = manifest(vec![item]).to_yaml().len() - manifest(Vec::new()).to_yaml().len();
        assert!(written <= reckoned && reckoned < 2 * written, "{written} {reckoned}");
    }
}
