//! A data set of nnU-Net (version 2): `imagesTr`, `labelsTr` and `dataset.json`.
//!
//! A volume is one case (NIfTI); of a cine or still every frame that has a mask is one (PNG).
//! Cases are named by the start of the clip's content hash, so that folders of several clips can
//! be put together. Tracks of one label are one class.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::atomic::ensure_folder;
use super::content::{Content, Gather};
use super::frames::Frames;
use super::identity::{is_hash, other_clip};
use super::labelmap::{self, LabelMap};
use super::read::{ReadError, Target, fallback_label, list, list_ending, stem};
use super::{ExportError, ExportFormat, Job, Report, indexed, nifti, overlay};
use crate::codec;
use crate::domain::{Bitmap, ClipKind, FrameIndex};

pub(super) fn write(job: &Job, folder: &Path) -> Result<Report, ExportError> {
    let map = LabelMap::of_job(job, ExportFormat::NnUnet, folder)?;
    if map.names.len() > 255 || map.names.iter().any(|name| name == "background") {
        let cause = "there are more than 255 labels, or one is called \"background\"";
        return Err(ExportError::unfit(folder, cause, "rename it, or choose coco"));
    }
    if job.frames.is_none() {
        let cause = "a data set holds pictures, and the clip is not at hand";
        return Err(ExportError::unfit(folder, cause, "export the clip instead of the project"));
    }
    let (images, labels) = (folder.join("imagesTr"), folder.join("labelsTr"));
    ensure_folder(&images)?;
    ensure_folder(&labels)?;
    let mut report = Report { covered_px: map.covered_px, ..Report::default() };
    let case = job.info.content_hash.short();
    let volume = job.info.kind == ClipKind::Volume;
    let cases = if volume {
        let image = images.join(format!("{case}_0000.nii.gz"));
        job.put(&mut report, &image, &nifti::gray_volume(job, &image)?)?;
        report.pictures = true;
        let label = labels.join(format!("{case}.nii.gz"));
        job.put(&mut report, &label, &nifti::label_volume(job, &map, &label)?)?;
        1
    } else {
        let size = (job.info.width_px, job.info.height_px);
        // A frame on which everything was found absent is a case of background.
        let tracks = job.annotation.tracks.values();
        let drawn: BTreeSet<FrameIndex> = tracks.flat_map(|t| t.masks.keys().copied()).collect();
        let background = vec![0; size.0 as usize * size.1 as usize];
        for frame in &drawn {
            let numbers = map.numbers(*frame);
            let numbers = numbers.as_ref().unwrap_or(&background);
            overlay::put_gray_frame_as(
                job,
                &mut report,
                &images.join(format!("{case}_{frame:05}_0000.png")),
                *frame,
            )?;
            let label = labels.join(format!("{case}_{frame:05}.png"));
            job.put(&mut report, &label, &indexed::encode_gray(&label, size, numbers)?)?;
        }
        drawn.len()
    };
    report.masks = map.masks();
    let path = folder.join("dataset.json");
    let bytes = serde_json::to_vec_pretty(&about(job, &map, cases, volume))
        .map_err(|e| ExportError::encode(&path, e))?;
    job.put(&mut report, &path, &bytes)?;
    Ok(report)
}

fn about(job: &Job, map: &LabelMap, cases: usize, volume: bool) -> Value {
    let mut labels = Map::from_iter([("background".to_owned(), json!(0))]);
    labels.extend((1..).zip(&map.names).map(|(n, name): (usize, _)| (name.clone(), json!(n))));
    json!({
        "channel_names": { "0": "ultrasound" },
        "labels": labels,
        "numTraining": cases,
        "file_ending": if volume { ".nii.gz" } else { ".png" },
        "description": job.about(),
    })
}

#[derive(Deserialize)]
struct About {
    labels: BTreeMap<String, Value>,
    #[serde(default)]
    description: Value,
}

/// Reads the labels of the one clip whose cases the folder holds.
pub(super) fn read(folder: &Path, target: &Target) -> Result<Content, ReadError> {
    let path = folder.join("dataset.json");
    let bytes = codec::read_file(&path)?;
    let about: About =
        serde_json::from_slice(&bytes).map_err(|e| ReadError::malformed(&path, e))?;
    let numbered = |(name, n): (&String, &Value)| Some((n.as_u64()? as u32, name.clone()));
    let names: BTreeMap<u32, String> = about.labels.iter().filter_map(numbered).collect();
    let labels = folder.join("labelsTr");
    let ours = about.description.as_str().is_some_and(|text| text.starts_with("sonomark"));
    let mut files = list_ending(&labels, "png")?;
    if files.is_empty() {
        let volumes = list(&labels)?;
        let own = format!("{}.nii.gz", target.info.content_hash.short());
        let own = volumes.iter().find(|volume| ours && volume.ends_with(&own));
        return match (own, &volumes[..]) {
            (Some(one), _) | (None, [one]) => labelmap::read_named(one, target, &names),
            // Ours of a clip without masks.
            (None, []) if ours => Ok(Content::default()),
            (None, []) => {
                Err(ReadError::malformed(&labels, "it holds no PNG images and no volume"))
            }
            (None, _) => {
                let cause = "it holds several volumes; give one of labelsTr";
                Err(ReadError::malformed(&labels, cause))
            }
        };
    }
    let info = target.info;
    // Where cases of ours are of several clips, those of this one are its.
    let clip = |file: &PathBuf| clip_of(file).filter(|_| ours);
    let is_own = |file: &PathBuf| clip(file).as_deref() == Some(info.content_hash.short());
    let all = files.len();
    if files.iter().any(is_own) {
        files.retain(is_own);
    }
    let elsewhere = all - files.len();
    let other_clip = other_clip(folder, &files.iter().filter_map(clip).collect(), target)?;
    // The picture of `labelsTr/CASE.png` is `imagesTr/CASE_0000.png`.
    let pictured = |case: String| {
        let picture = format!("{case}_0000");
        if target.frame_names.contains(&picture) { picture } else { case }
    };
    let stems: Vec<String> = files.iter().map(|file| pictured(stem(file))).collect();
    let frames = Frames::of(target, &stems, ours);
    frames.check_still(&labels, files.len())?;
    let mut gather = Gather::default();
    for (file, stem) in files.iter().zip(&stems) {
        target.go_on(file)?;
        let Some(frame) = frames.index(file, stem)? else { continue };
        let image = indexed::decode(file, (info.width_px, info.height_px))?;
        let mut runs = image.numbers.clone();
        runs.dedup();
        let found: BTreeSet<_> = runs.into_iter().filter(|number| *number != 0).collect();
        for number in found {
            let pixels = image.numbers.iter().map(|&n| n == number).collect();
            let label = names.get(&number).cloned();
            let label = label.unwrap_or_else(|| fallback_label(number));
            let (width_px, height_px) = (info.width_px, info.height_px);
            let bitmap = Bitmap { width_px, height_px, pixels };
            gather.put(&label, u64::from(number), frame, &bitmap);
        }
    }
    let mut notes = frames.notes();
    let other = format!("{elsewhere} of its cases are of other clips and were left out");
    notes.extend((elsewhere > 0).then_some(other));
    Ok(Content { other_clip, ..gather.content(notes) })
}

/// The start of the content hash of the clip that a case of ours is called by.
fn clip_of(file: &Path) -> Option<String> {
    let stem = stem(file);
    let (clip, _) = stem.split_once('_')?;
    is_hash(clip).then(|| clip.to_owned())
}
