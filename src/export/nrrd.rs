//! Label volumes as NRRD, and 3D Slicer's segmentations (`.seg.nrrd`).
//!
//! Both hold names and colours as Slicer's keys. A segmentation puts structures that overlap
//! into layers, as Slicer does, so every pixel of every structure is kept.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use flate2::{Compression, GzBuilder};

use super::atomic::write_atomic;
use super::colours::colour;
use super::content::names_of;
use super::labelmap::{LabelMap, placement};
use super::nifti::{check_voxels, each_frame, wide};
use super::{ExportError, ExportFormat, Job, Report};
use crate::domain::{Code, FrameIndex, FrameMask, Mask, Track};

/// What a segment is, as Slicer writes it: its category is tissue, its type the code.
fn terminology(code: Option<&Code>) -> String {
    let part = |code: &Code| format!("{}^{}^{}", code.scheme, code.value, code.meaning);
    let tissue = Code::tissue();
    format!(
        "TerminologyEntry:Segmentation category and type - 3D Slicer General Anatomy list~{}~{}\
         ~^^~Anatomic codes - DICOM master list~^^~^^|",
        part(&tissue),
        part(code.unwrap_or(&tissue)),
    )
}

/// Writes one number at every voxel.
pub(super) fn write_plain(job: &Job, path: &Path) -> Result<Report, ExportError> {
    let map = LabelMap::of_job(job, ExportFormat::Nrrd, path)?;
    check_voxels(job, path, 1)?;
    let wide = wide(&map, path)?;
    let mut text = head(job, if wide { "uint16" } else { "uint8" }, 1);
    text += &format!("sonomark:={}\n", escaped(&job.about()));
    for (i, name) in map.names.iter().enumerate() {
        let segment = Segment { layer: 0, value: i + 1, extent: None };
        text += &segment.keys(i, name, job.codes.get(name));
    }
    text.push('\n');
    let mut voxels = GzBuilder::new().write(Vec::new(), Compression::default());
    each_frame(job, path, &map, wide, |frame| voxels.write_all(frame))?;
    let packed = voxels.finish().map_err(|e| ExportError::encode(path, e))?;
    write_atomic(path, &[text.into_bytes(), packed].concat())?;
    let masks = map.masks();
    let files = vec![path.to_owned()];
    Ok(Report { files, masks, covered_px: map.covered_px, ..Report::default() })
}

/// Writes a segmentation of as many layers as overlaps ask for.
pub(super) fn write_segmentation(job: &Job, path: &Path) -> Result<Report, ExportError> {
    let tracks: Vec<&Track> = job.annotation.tracks.values().collect();
    let layers = layers(&tracks);
    if layers.iter().any(|layer| layer.len() > 255) {
        let cause = format!("{} structures, a layer holds 255", tracks.len());
        return Err(ExportError::unfit(path, cause, "choose coco"));
    }
    check_voxels(job, path, layers.len())?;
    let mut text = head(job, "uint8", layers.len());
    let mut segments: BTreeMap<usize, Segment> = BTreeMap::new();
    for (layer, members) in layers.iter().enumerate() {
        for (i, &track) in members.iter().enumerate() {
            let extent = extent(tracks[track]);
            segments.insert(track, Segment { layer, value: i + 1, extent });
        }
    }
    let names = names_of(job.annotation, ExportFormat::SegNrrd.row().keeps.names);
    for (i, (&track, segment)) in segments.iter().enumerate() {
        let code = job.codes.get(&tracks[track].info.label);
        text += &segment.keys(i, &names[track], code);
    }
    text += "Segmentation_ContainedRepresentationNames:=Binary labelmap|\n";
    text += "Segmentation_ConversionParameters:=\n";
    text += "Segmentation_MasterRepresentation:=Binary labelmap\n";
    text += "Segmentation_SourceRepresentation:=Binary labelmap\n";
    text += "Segmentation_ReferenceImageExtentOffset:=0 0 0\n";
    text += &format!("sonomark:={}\n\n", escaped(&job.about()));
    let packed = pack(job, path, &tracks, &segments, layers.len())?;
    write_atomic(path, &[text.into_bytes(), packed].concat())?;
    let masks = tracks.iter().flat_map(|track| track.masks.values());
    let masks = masks.filter(|held| !held.mask.is_empty()).count();
    Ok(Report { files: vec![path.to_owned()], masks, ..Report::default() })
}

fn pack(
    job: &Job,
    path: &Path,
    tracks: &[&Track],
    segments: &BTreeMap<usize, Segment>,
    layers: usize,
) -> Result<Vec<u8>, ExportError> {
    let encode = |e: std::io::Error| ExportError::encode(path, e);
    let count = job.info.width_px as usize * job.info.height_px as usize;
    let mut voxels = GzBuilder::new().write(Vec::new(), Compression::default());
    for frame in 0..job.info.frames {
        job.go_on(path)?;
        // Layers first, then columns, then rows.
        let mut numbers = vec![0u8; count * layers];
        for (&track, segment) in segments {
            let Some(held) = tracks[track].masks.get(&frame) else { continue };
            for at in inside(&held.mask) {
                numbers[at * layers + segment.layer] = segment.value as u8;
            }
        }
        voxels.write_all(&numbers).map_err(encode)?;
    }
    voxels.finish().map_err(encode)
}

fn inside(mask: &Mask) -> impl Iterator<Item = usize> + '_ {
    let ends = mask.runs().iter().scan(0usize, |at, &run| {
        let start = *at;
        *at += run as usize;
        Some(start..*at)
    });
    ends.skip(1).step_by(2).flatten()
}

/// Tracks that do not overlap share a layer; each goes into the first that has room for it.
fn layers(tracks: &[&Track]) -> Vec<Vec<usize>> {
    let mut layers: Vec<Vec<usize>> = Vec::new();
    for (i, track) in tracks.iter().enumerate() {
        if track.masks.values().all(|held| held.mask.is_empty()) {
            continue;
        }
        let free = layers.iter_mut().find(|members| {
            members.len() < 255 && members.iter().all(|&m| !overlap(tracks[m], track))
        });
        match free {
            Some(members) => members.push(i),
            None => layers.push(vec![i]),
        }
    }
    if layers.is_empty() { vec![Vec::new()] } else { layers }
}

fn overlap(a: &Track, b: &Track) -> bool {
    let shared = |(frame, held): (&FrameIndex, &FrameMask)| {
        b.masks.get(frame).is_some_and(|other| held.mask.shared_px(&other.mask) > 0)
    };
    a.masks.iter().any(shared)
}

/// First and last column, row and frame of a track.
fn extent(track: &Track) -> Option<[usize; 6]> {
    let bounds = track.masks.iter().filter_map(|(&frame, held)| {
        let b = held.mask.to_bitmap().bounds()?;
        let edge = |v: f32| v as usize;
        Some([edge(b.min.x), edge(b.max.x) - 1, edge(b.min.y), edge(b.max.y) - 1, frame, frame])
    });
    bounds.reduce(|a, b| {
        [0, 1, 2, 3, 4, 5].map(|i| if i % 2 == 0 { a[i].min(b[i]) } else { a[i].max(b[i]) })
    })
}

/// Where a segment is in the voxels.
struct Segment {
    layer: usize,
    value: usize,
    extent: Option<[usize; 6]>,
}

impl Segment {
    fn keys(&self, i: usize, label: &str, code: Option<&Code>) -> String {
        let [r, g, b] = colour(i + 1).map(|v| f64::from(v) / 255.0);
        let extent = self.extent.unwrap_or([0, 0, 0, 0, 0, 0]).map(|v| v.to_string()).join(" ");
        let (name, value, layer) = (escaped(label), self.value, self.layer);
        let terminology = terminology(code);
        format!(
            "Segment{i}_Color:={r:.6} {g:.6} {b:.6}\n\
             Segment{i}_ColorAutoGenerated:=1\n\
             Segment{i}_Extent:={extent}\n\
             Segment{i}_ID:=Segment_{}\n\
             Segment{i}_LabelValue:={value}\n\
             Segment{i}_Layer:={layer}\n\
             Segment{i}_Name:={name}\n\
             Segment{i}_NameAutoGenerated:=0\n\
             Segment{i}_Tags:={terminology}\n",
            i + 1
        )
    }
}

/// The header up to the keys.
fn head(job: &Job, number: &str, layers: usize) -> String {
    let info = job.info;
    let placement = placement(info);
    let vector = |[x, y, z]: [f64; 3]| format!("({x},{y},{z})");
    let steps = placement.steps_mm.map(vector).join(" ");
    let (list, list_kind, list_step) = match layers {
        1 => (String::new(), "", ""),
        n => (format!("{n} "), "list ", "none "),
    };
    format!(
        "NRRD0004\n# {}\ntype: {number}\ndimension: {}\nspace: left-posterior-superior\n\
         sizes: {list}{} {} {}\nspace directions: {list_step}{steps}\n\
         kinds: {list_kind}domain domain domain\nendian: little\nencoding: gzip\n\
         space origin: {}\n",
        job.about(),
        if layers == 1 { 3 } else { 4 },
        info.width_px,
        info.height_px,
        info.frames,
        vector(placement.origin_mm),
    )
}

/// A value of a key. It has no line feeds, which were taken out with all control characters.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\")
}
