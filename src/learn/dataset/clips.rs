//! Labelled clips: frames, structures, windows (NETWORK 13.5).
//!
//! What decides whether this file is right: one clip is in memory at a time, and what is judged is what was hashed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    DataError, DataSource, Veil, hex, label_mask, read, same_size, text, unfit, unreadable,
};
use crate::domain::{GrayFrame, Mask, TOO_DEEP, Window, counted, shown, too_deep};
use crate::learn::data::load;
use crate::learn::data::manifest::{Item, Manifest};

/// A labelled clip with its exact masks.
#[derive(Debug, Clone)]
pub struct LabelledClip {
    /// Name of its folder.
    pub name: String,
    /// All frames.
    pub frames: Vec<GrayFrame>,
    /// Its structures.
    pub objects: Vec<ClipObject>,
    /// The file of the still that it was made from, where `windows.yaml` names one.
    pub source: Option<String>,
}

/// One structure of a labelled clip.
#[derive(Debug, Clone)]
pub struct ClipObject {
    /// Its label in the masks.
    pub label: u8,
    /// Where it is visible.
    pub windows: Vec<Window>,
    /// Its mask on every frame.
    pub masks: Vec<Mask>,
}

#[derive(Deserialize)]
struct Described {
    source: Option<String>,
    #[serde(default)]
    objects: BTreeMap<u8, DescribedObject>,
}

#[derive(Deserialize)]
struct DescribedObject {
    #[serde(default)]
    windows: Vec<[usize; 2]>,
}

/// The labelled clips of a folder, or of a manifest, decoded one at a time: all of them may be more than the memory holds.
pub struct LabelledClips {
    listed: Listed,
    veil: Veil,
    /// Hash of all that was read by the end of each clip.
    marks: Vec<String>,
    structures: usize,
}

/// What says which clips there are.
enum Listed {
    /// `windows.yaml` in the folder, its text, and what it says of each clip folder beside it.
    Folders(PathBuf, String, Vec<(String, Described)>),
    /// A manifest, and names and items of what is judged on; some may be stills.
    Items(Manifest, Vec<(String, Item)>),
}

/// Why figures on them would be figures on nothing.
const CHANGED: &str = "it is not what it was when this began; leave files alone while they are judged, and begin again";

impl LabelledClips {
    /// All clip folders below `dir` that `windows.yaml` names, or the clips and volumes of a manifest (`MANIFEST:SPLIT`, or
    /// `MANIFEST` as [`DataSource::judged`] says), of whose frames no more is seen than `veil` says. Each is decoded once,
    /// shown to `seen` and let go, so that what is wrong with the last one is known before anything is done with the first.
    ///
    /// # Errors
    /// Unreadable or contradicting files, folders without a clip, and clips in which nothing is found that could stay
    /// visible.
    pub fn open(
        dir: &Path,
        veil: &Veil,
        seen: &mut dyn FnMut(&LabelledClip),
    ) -> Result<Self, DataError> {
        let source = DataSource::parse(&dir.to_string_lossy());
        let listed = match source.is_manifest() {
            true => Listed::items(&source.judged())?,
            false => Listed::folders(dir)?,
        };
        let mut out = Self { listed, veil: veil.clone(), marks: Vec::new(), structures: 0 };
        let mut hash = out.listed.begun();
        for at in 0..out.listed.count() {
            let Some(clip) = out.listed.clip(at, veil, &mut hash)? else { continue };
            out.marks.push(hex(hash.clone()));
            // Where a structure is never visible nothing can be right or wrong.
            out.structures += clip.objects.iter().filter(|o| !o.windows.is_empty()).count();
            seen(&clip);
        }
        match out.marks.is_empty() {
            true => Err(DataError::Nothing { file: shown(&dir.display().to_string()) }),
            false => Ok(out),
        }
    }

    /// SHA-256 of all that was read and what is hidden of it, in lower-case hex.
    #[must_use]
    pub fn sha256(&self) -> &str {
        self.marks.last().map_or("", String::as_str)
    }

    /// Structures that are visible somewhere.
    #[must_use]
    pub fn structures(&self) -> usize {
        self.structures
    }

    /// The clips one after the other, each decoded when it is asked for. A file that is not what it was when they were
    /// opened is an error, and what comes after it, too.
    pub fn iter(&self) -> impl Iterator<Item = Result<LabelledClip, DataError>> {
        let (mut hash, mut marks) = (self.listed.begun(), self.marks.iter());
        (0..self.listed.count()).filter_map(move |at| {
            let clip = self.listed.clip(at, &self.veil, &mut hash).transpose()?;
            let mark = marks.next();
            Some(clip.and_then(|clip| match mark.is_some_and(|m| *m == hex(hash.clone())) {
                true => Ok(clip),
                false => Err(unfit(&self.listed.place(at), CHANGED)),
            }))
        })
    }
}

impl Listed {
    fn items(source: &DataSource) -> Result<Self, DataError> {
        let manifest = Manifest::read(&source.dir)?;
        let items: Vec<(String, Item)> = {
            let names = manifest.names();
            let named = |item: &Item| (names[&item.image[..]].to_owned(), item.clone());
            manifest.of(source.list.as_deref()).map(named).collect()
        };
        Ok(Self::Items(manifest, items))
    }

    fn folders(dir: &Path) -> Result<Self, DataError> {
        let described = dir.join("windows.yaml");
        let yaml = text(&described)?;
        if let Some(line) = too_deep(&yaml) {
            return Err(unfit(&described, format!("line {line}: {TOO_DEEP}")));
        }
        let all: BTreeMap<String, Described> = serde_yaml::from_str(&yaml)
            .map_err(|e| unfit(&described, format!("{e}; correct it")))?;
        let outside = |name: &&String| name.contains(['/', '\\']) || name.starts_with('.');
        if let Some(name) = all.keys().find(outside) {
            let cause =
                format!("it names the clip {}; a clip must be a folder beside it", shown(name));
            return Err(unfit(&described, cause));
        }
        Ok(Self::Folders(dir.to_owned(), yaml, all.into_iter().collect()))
    }

    fn count(&self) -> usize {
        match self {
            Self::Folders(_, _, clips) => clips.len(),
            Self::Items(_, items) => items.len(),
        }
    }

    /// The hash before the first clip is read.
    fn begun(&self) -> Sha256 {
        match self {
            Self::Folders(_, yaml, _) => Sha256::new_with_prefix(yaml.as_bytes()),
            Self::Items(..) => Sha256::new(),
        }
    }

    /// Where a clip lies.
    fn place(&self, at: usize) -> PathBuf {
        match self {
            Self::Folders(dir, _, clips) => dir.join(&clips[at].0),
            Self::Items(manifest, items) => manifest.path(&items[at].1.image),
        }
    }

    /// A clip, whose bytes feed the hash on; `None` for a still.
    fn clip(
        &self,
        at: usize,
        veil: &Veil,
        hash: &mut Sha256,
    ) -> Result<Option<LabelledClip>, DataError> {
        match self {
            Self::Folders(_, _, clips) => {
                let (name, about) = &clips[at];
                load_clip(&self.place(at), name.clone(), about, veil, hash).map(Some)
            }
            Self::Items(manifest, items) => {
                let (name, item) = &items[at];
                load::clip(manifest, item, name, veil, hash)
            }
        }
    }
}

fn load_clip(
    dir: &Path,
    name: String,
    about: &Described,
    veil: &Veil,
    hash: &mut Sha256,
) -> Result<LabelledClip, DataError> {
    let entries = std::fs::read_dir(dir).map_err(|e| unreadable(dir, e))?;
    let mut files: Vec<String> =
        entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
    files.retain(|f| !f.ends_with(".mask.png") && (f.ends_with(".jpg") || f.ends_with(".png")));
    files.sort();
    let mut frames: Vec<GrayFrame> = Vec::with_capacity(files.len());
    let labels_of: Vec<u8> = about.objects.keys().copied().collect();
    let mut masks: Vec<Vec<Mask>> = vec![Vec::new(); labels_of.len()];
    let hidden = veil.hidden(dir)?;
    hash.update(hidden.as_ref().map_or_else(String::new, |clip| veil.mark(clip)));
    for file in files {
        let mut frame = read(&dir.join(&file), hash)?;
        let stem = file.rsplit_once('.').map_or(file.as_str(), |(stem, _)| stem);
        if let Some(clip) = &hidden {
            let at = clip.frame_names().iter().position(|name| name == stem);
            let cause = "it is no frame of the clip of its folder; name it like the others, or leave it out";
            let at = at.ok_or_else(|| unfit(&dir.join(&file), cause))?;
            frame = clip.frame(at)?.as_ref().clone();
        }
        let mask_file = dir.join(format!("{stem}.mask.png"));
        let labels = read(&mask_file, hash)?;
        same_size(&mask_file, &labels, frames.first().unwrap_or(&frame))?;
        for (label, masks) in labels_of.iter().zip(&mut masks) {
            masks.push(label_mask(&labels, *label).to_mask());
        }
        frames.push(frame);
    }
    if frames.is_empty() {
        return Err(DataError::Nothing { file: shown(&dir.display().to_string()) });
    }
    let objects = labels_of.iter().zip(masks).map(|(label, masks)| ClipObject {
        label: *label,
        windows: about.objects[label]
            .windows
            .iter()
            .map(|w| Window { first: w[0], last: w[1] })
            .collect(),
        masks,
    });
    let objects: Vec<ClipObject> = objects.collect();
    let count = frames.len();
    for object in &objects {
        let fits = |w: &&Window| w.first <= w.last && w.last < count;
        if let Some(window) = object.windows.iter().find(|w| !fits(w)) {
            let (label, first, last) = (object.label, window.first, window.last);
            let cause = format!(
                "the window [{first}, {last}] of label {label} in windows.yaml does not lie in its {} (from 0); correct it",
                counted(count, "frame")
            );
            return Err(unfit(dir, cause));
        }
    }
    Ok(LabelledClip { name, objects, frames, source: about.source.clone() })
}
