//! A folder of single DICOM images of one series: a volume, or a cine where images have no place.
//!
//! The order is that of the places in the patient along the normal of the planes; without places
//! that of the instance numbers; without those that of the names.

use std::path::{Path, PathBuf};

use super::place::{Plane, depths_mm, placement};
use super::{Dicom, describe, frame_time_ms, spacing_mm, tags};
use crate::codec::error::{name_of, short_name};
use crate::codec::gray::{Ramp, spread};
use crate::codec::limits::{MAX_FRAMES, check_size};
use crate::codec::sniff::{self, Kind};
use crate::codec::{CodecError, FrameSource, Privacy, identity};
use crate::domain::{ClipInfo, ClipKind, DicomOrigin, FrameIndex, GrayFrame};

type Opened = (ClipInfo, Box<dyn FrameSource>);

/// The images of a series, opened one by one when they are asked for: a folder may hold more
/// than there are file handles.
struct Series {
    files: Vec<PathBuf>,
    ramp: Option<Ramp>,
    origin: DicomOrigin,
    privacy: Privacy,
}

/// What is known of an image before all are in order.
struct Member {
    path: PathBuf,
    bytes: u64,
    size: (u32, u32),
    frames: usize,
    origin: DicomOrigin,
    privacy: Privacy,
    plane: Option<Plane>,
    number: Option<f64>,
}

/// Opens a folder that holds no frames of other kinds; `none` is the error of one that holds no
/// DICOM either.
pub(in crate::codec) fn open_folder(path: &Path, none: CodecError) -> Result<Opened, CodecError> {
    let mut members = members(path)?;
    let Some(first) = members.first() else { return Err(none) };
    if members.len() == 1 {
        return super::open(&first.path.clone());
    }
    refuse_mixtures(path, &members)?;
    sort(&mut members);
    let files: Vec<PathBuf> = members.iter().map(|member| member.path.clone()).collect();
    let (_, set, syntax) = Dicom::load(&files[0], None)?;
    let planes: Option<Vec<Plane>> = members.iter().map(|member| member.plane).collect();
    let listed: Vec<(PathBuf, u64)> =
        members.iter().map(|member| (member.path.clone(), member.bytes)).collect();
    let (width_px, height_px) = members[0].size;
    check_size(path, width_px, height_px, files.len())?;
    let info = ClipInfo {
        content_hash: identity::of_frames(&listed)?,
        name: short_name(path),
        kind: if planes.is_some() { ClipKind::Volume } else { ClipKind::Cine },
        width_px,
        height_px,
        frames: files.len(),
        pixel_spacing_mm: spacing_mm(&set),
        frame_time_ms: if planes.is_some() { None } else { frame_time_ms(&set) },
        placement: planes.and_then(|planes| placement(&planes, spacing_mm(&set))),
        format: format!("series of {}", describe(&set, &syntax)),
    };
    let ramp = common_ramp(&files)?;
    let origin = DicomOrigin {
        instance_uids: members.iter().flat_map(|m| m.origin.instance_uids.clone()).collect(),
        ..members[0].origin.clone()
    };
    // One image that says nothing is enough to be careful.
    let says_none = members.iter().all(|member| member.privacy.says_none);
    let privacy = Privacy { says_none, ..members[0].privacy.clone() };
    Ok((info, Box::new(Series { files, ramp, origin, privacy })))
}

fn members(folder: &Path) -> Result<Vec<Member>, CodecError> {
    let mut members = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| CodecError::unreadable(folder, e))? {
        let entry = entry.map_err(|e| CodecError::unreadable(folder, e))?;
        let path = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let directory = entry.file_name().eq_ignore_ascii_case("DICOMDIR");
        if hidden || directory || !path.is_file() || sniff::kind_of(&path).ok() != Some(Kind::Dicom)
        {
            continue;
        }
        let (clip, set, _) = Dicom::load(&path, Some(Ramp { low: 0.0, high: 1.0 }))?;
        members.push(Member {
            bytes: entry.metadata().map_err(|e| CodecError::unreadable(&path, e))?.len(),
            size: (clip.shape.columns, clip.shape.rows),
            frames: clip.shape.frames,
            origin: clip.origin,
            privacy: clip.privacy,
            plane: Plane::of(&set),
            number: set.decimal(tags::INSTANCE_NUMBER),
            path,
        });
        if members.len() > MAX_FRAMES {
            let cause = format!("it holds more than {MAX_FRAMES} images");
            return Err(CodecError::too_large(folder, cause));
        }
    }
    Ok(members)
}

fn refuse_mixtures(folder: &Path, members: &[Member]) -> Result<(), CodecError> {
    let mut series: Vec<&str> = members.iter().map(|m| m.origin.series_uid.as_str()).collect();
    series.sort_unstable();
    series.dedup();
    if series.len() > 1 {
        let cause = format!("it holds {} DICOM series", series.len());
        let advice = "put each series into a folder of its own, or open one of the files";
        return Err(CodecError::unsupported(folder, cause, advice));
    }
    if members.iter().any(|member| member.frames > 1) {
        let cause = "it holds several DICOM clips";
        return Err(CodecError::unsupported(folder, cause, "open them one by one"));
    }
    let text = |(w, h): (u32, u32)| format!("{w} x {h}");
    match members.iter().find(|member| member.size != members[0].size) {
        None => Ok(()),
        Some(other) => Err(CodecError::MixedSizes {
            name: name_of(folder),
            first: crate::domain::shown(&short_name(&members[0].path)),
            first_size: text(members[0].size),
            other: crate::domain::shown(&short_name(&other.path)),
            other_size: text(other.size),
        }),
    }
}

fn sort(members: &mut Vec<Member>) {
    let planes: Option<Vec<Plane>> = members.iter().map(|member| member.plane).collect();
    let depths = planes.and_then(|planes| depths_mm(&planes));
    let mut keyed: Vec<(f64, f64, Member)> = Vec::with_capacity(members.len());
    for (i, member) in members.drain(..).enumerate() {
        let depth = depths.as_ref().map_or(0.0, |depths| depths[i]);
        keyed.push((depth, member.number.unwrap_or(0.0), member));
    }
    keyed.sort_by(|(d1, n1, a), (d2, n2, b)| {
        let names = || natord::compare(&short_name(&a.path), &short_name(&b.path));
        d1.total_cmp(d2).then(n1.total_cmp(n2)).then_with(names).then_with(|| a.path.cmp(&b.path))
    });
    members.extend(keyed.into_iter().map(|(_, _, member)| member));
}

/// One ramp for all images that have no window of their own.
fn common_ramp(files: &[PathBuf]) -> Result<Option<Ramp>, CodecError> {
    let mut range: Option<Ramp> = None;
    for index in spread(files.len()) {
        let (clip, ..) = Dicom::load(&files[index], Some(Ramp { low: 0.0, high: 1.0 }))?;
        if clip.shape.samples_per_pixel() == 1 {
            let next = clip.range()?;
            range = Some(range.map_or(next, |r| r.joined(next)));
        }
    }
    Ok(range)
}

impl FrameSource for Series {
    fn privacy(&self) -> Privacy {
        self.privacy.clone()
    }

    fn dicom_origin(&self) -> Option<DicomOrigin> {
        Some(self.origin.clone())
    }

    fn read(
        &self,
        index: FrameIndex,
        keep: &mut dyn FnMut(FrameIndex, GrayFrame),
    ) -> Result<GrayFrame, CodecError> {
        let (clip, ..) = Dicom::load(&self.files[index], self.ramp)?;
        clip.read(0, keep)
    }
}
