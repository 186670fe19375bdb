//! Labelled clips: frames, structures, windows (NETWORK 13.5).

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    DataError, DataSource, Veil, hex, label_mask, read, same_size, text, unfit, unreadable,
};
use crate::domain::{GrayFrame, Mask, TOO_DEEP, Window, counted, shown, too_deep};
use crate::learn::data::load;

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

/// Reads all clip folders below `dir` that `windows.yaml` names, or the clips and volumes of a manifest (`MANIFEST:SPLIT`,
/// or `MANIFEST` as [`DataSource::judged`] says), and the hash of what was read.
///
/// # Errors
/// Unreadable or contradicting files, and folders without a clip.
pub fn load_clips(dir: &Path) -> Result<(Vec<LabelledClip>, String), DataError> {
    load_clips_behind(dir, &Veil::default())
}

/// As [`load_clips`], of whose frames no more is seen than `veil` says.
///
/// # Errors
/// As [`load_clips`], and clips in which nothing is found that could stay visible.
pub fn load_clips_behind(
    dir: &Path,
    veil: &Veil,
) -> Result<(Vec<LabelledClip>, String), DataError> {
    let source = DataSource::parse(&dir.to_string_lossy()).behind(veil);
    if source.is_manifest() {
        return load::clips(&source.judged());
    }
    let described = dir.join("windows.yaml");
    let yaml = text(&described)?;
    if let Some(line) = too_deep(&yaml) {
        return Err(unfit(&described, format!("line {line}: {TOO_DEEP}")));
    }
    let all: BTreeMap<String, Described> =
        serde_yaml::from_str(&yaml).map_err(|e| unfit(&described, format!("{e}; correct it")))?;
    let mut hash = Sha256::new();
    hash.update(yaml.as_bytes());
    let mut clips = Vec::new();
    for (name, about) in all {
        if name.contains(['/', '\\']) || name.starts_with('.') {
            return Err(unfit(
                &described,
                format!("it names the clip {}; a clip must be a folder beside it", shown(&name)),
            ));
        }
        clips.push(load_clip(&dir.join(&name), name, &about, veil, &mut hash)?);
    }
    if clips.is_empty() {
        return Err(DataError::Nothing { file: shown(&dir.display().to_string()) });
    }
    Ok((clips, hex(hash)))
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
