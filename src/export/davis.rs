//! Indexed PNGs in the layout of DAVIS and YouTube-VOS.
//!
//! `Annotations/CLIP/00003.png` for every frame that has a mask, pixels 0 for none and 1, 2, ...
//! for structures; `meta.json` as YouTube-VOS has it (categories and frames of the objects), with
//! the clip and the journal position besides. CLIP is the start of the content hash.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::atomic::ensure_folder;
use super::content::{Content, Gather};
use super::frames::Frames;
use super::identity::is_hash;
use super::labelmap::LabelMap;
use super::read::{ReadError, Target, fallback_label, list, list_ending, stem};
use super::{ExportError, ExportFormat, Job, Report, indexed};
use crate::codec;
use crate::domain::Bitmap;

pub(super) fn write(job: &Job, folder: &Path) -> Result<Report, ExportError> {
    let map = LabelMap::of_job(job, ExportFormat::Davis, folder)?;
    if map.names.len() > 255 {
        let cause = format!("{} structures, an indexed PNG holds 255", map.names.len());
        return Err(ExportError::unfit(folder, cause, "choose coco or seg.nrrd"));
    }
    let info = job.info;
    let mut report = Report { covered_px: map.covered_px, ..Report::default() };
    let clip = info.content_hash.short().to_owned();
    let images = folder.join("Annotations").join(&clip);
    ensure_folder(&images)?;
    for frame in map.frames() {
        let path = images.join(format!("{frame:05}.png"));
        job.go_on(&path)?;
        let numbers = map.numbers(frame).unwrap_or_default();
        let bytes = indexed::encode(&path, (info.width_px, info.height_px), &numbers)?;
        job.put(&mut report, &path, &bytes)?;
    }
    report.masks = map.masks();
    let objects: BTreeMap<String, Value> = (1..)
        .zip(&map.names)
        .map(|(number, name): (usize, &String)| {
            let frames = map.frames_of(number).map(|frame| format!("{frame:05}"));
            let frames: Vec<String> = frames.collect();
            (number.to_string(), json!({ "category": name, "frames": frames }))
        })
        .collect();
    let videos = BTreeMap::from([(clip, json!({ "objects": objects }))]);
    let meta = json!({
        "videos": videos,
        "sonomark": {
            "clip_sha256": info.content_hash.0,
            "journal_position": job.position,
            "frames": "numbered from 00000",
        },
    });
    let path = folder.join("meta.json");
    let bytes = serde_json::to_vec_pretty(&meta).map_err(|e| ExportError::encode(&path, e))?;
    job.put(&mut report, &path, &bytes)?;
    Ok(report)
}

/// Reads a folder of PNGs (or the one below `Annotations`), or a single PNG.
pub(super) fn read(path: &Path, target: &Target) -> Result<Content, ReadError> {
    let (files, meta) = if path.is_dir() {
        images(path)?
    } else {
        (vec![path.to_owned()], path.parent().map(meta).unwrap_or_default())
    };
    // Ours of a clip on which nothing was found hold none.
    if files.is_empty() && !meta.ours {
        return Err(ReadError::malformed(path, "it holds no PNG images"));
    }
    let stems: Vec<String> = files.iter().map(|file| stem(file)).collect();
    // A folder of our black and white masks is read here as well.
    let marked = if meta.ours { None } else { indexed::clips(&files) };
    let frames = Frames::of(target, &stems, meta.ours || marked.is_some());
    frames.check_still(path, files.len())?;
    let info = target.info;
    let mut gather = Gather::default();
    for (file, stem) in files.iter().zip(&stems) {
        target.go_on(file)?;
        let Some(frame) = frames.index(file, stem)? else { continue };
        let image = indexed::decode(file, (info.width_px, info.height_px))?;
        let mut labels: Vec<u32> = image.numbers.iter().copied().filter(|&n| n != 0).collect();
        labels.sort_unstable();
        labels.dedup();
        if labels.len() > 255 {
            let cause = "it has more than 255 different values: a picture, not labels";
            return Err(ReadError::malformed(file, cause));
        }
        for label in labels {
            let pixels = image.numbers.iter().map(|&n| n == label).collect();
            let bitmap = Bitmap { width_px: info.width_px, height_px: info.height_px, pixels };
            let name = match meta.names.get(&label) {
                Some(name) => name.clone(),
                None if image.coloured => format!("#{label:06x}"),
                None => fallback_label(label),
            };
            gather.put(&name, u64::from(label), frame, &bitmap);
        }
    }
    let clips = marked.unwrap_or_default().into_iter().chain(meta.clip);
    gather.content(frames.notes()).exported_from(path, clips, target)
}

/// What `meta.json` says.
#[derive(Default)]
struct Meta {
    names: BTreeMap<u32, String>,
    /// Written by this program: frames count from 0.
    ours: bool,
    /// The content hash of the clip that this program exported it from.
    clip: Option<String>,
}

/// The images of a sequence: in the folder itself, or in the one folder below it.
fn images(path: &Path) -> Result<(Vec<PathBuf>, Meta), ReadError> {
    let mut folder = path.to_owned();
    for _ in 0..4 {
        let here = list_ending(&folder, "png")?;
        if !here.is_empty() {
            return Ok((here, meta(&folder)));
        }
        let below = if folder.join("Annotations").is_dir() {
            vec![folder.join("Annotations")]
        } else {
            list(&folder)?.into_iter().filter(|entry| entry.is_dir()).collect()
        };
        match &below[..] {
            [one] => folder = one.clone(),
            [] => return Ok((Vec::new(), meta(&folder))),
            _ => {
                let cause = "it holds several sequences; give the folder of one of them";
                return Err(ReadError::malformed(&folder, cause));
            }
        }
    }
    Ok((Vec::new(), Meta::default()))
}

/// `meta.json` of YouTube-VOS beside or above the images, of whatever folder was given; a missing
/// one, a strange one or one of other sequences is nothing.
fn meta(images: &Path) -> Meta {
    let file = images.ancestors().take(4).map(|folder| folder.join("meta.json"));
    let bytes = file.filter(|file| file.is_file()).find_map(|file| codec::read_file(&file).ok());
    let value: Value = serde_json::from_slice(&bytes.unwrap_or_default()).unwrap_or_default();
    let video = &value["videos"][&stem(images)];
    let named = |(number, object): (&String, &Value)| {
        Some((number.parse().ok()?, object["category"].as_str()?.to_owned()))
    };
    let names = video["objects"].as_object().map(|all| all.iter().filter_map(named).collect());
    let ours = video.is_object() && value.get("sonomark").is_some();
    let clip = value["sonomark"]["clip_sha256"].as_str().filter(|hash| ours && is_hash(hash));
    Meta { names: names.unwrap_or_default(), ours, clip: clip.map(str::to_owned) }
}
