//! DICOM files that belong together: a folder, or what a DICOMDIR lists.
//!
//! Single images of one series are one clip: a volume, or a cine where images have no place in the
//! patient. Their order is that of the places along the normal of the planes; without places that of
//! the instance numbers; without those that of the names. Where every place has several images, as
//! in a volume over time, each time is a clip. In a series that holds a cine, or images of
//! several sizes, scales or ultrasound regions, every file is a clip: what is measured, and what is
//! hidden, is said once for a clip. Files that are no images are left out, with a note. Of several clips one is asked for by its number: studies as
//! they are met, series by their numbers, files by theirs.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frames::Shape;
use super::lossy::is_lossy;
use super::measures::{Spacing, frame_time_ms, spacing_mm};
use super::place::{Plane, depths_mm, placement, places, series_note};
use super::reader::DataSet;
use super::{Dicom, Parsed, describe, directory, film, origin, parse, privacy, tags, tone};
use crate::codec::cage::Cage;
use crate::codec::error::short_name;
use crate::codec::gray::{Ramp, spread};
use crate::codec::images::REORDERED;
use crate::codec::limits::{MAX_FRAMES, check_size};
use crate::codec::order::{by_name, by_name_before};
use crate::codec::sniff::{self, Kind};
use crate::codec::{CodecError, FrameSource, Opened, Privacy, Wanted, identity};
use crate::domain::{ClipInfo, ClipKind, DicomOrigin, FrameIndex, GrayFrame, same_scale};

/// Clips that a refusal lists.
const LISTED: usize = 6;

/// The images of a series, opened one by one when they are asked for: a folder may hold more
/// than there are file handles.
struct Series {
    files: Vec<PathBuf>,
    ramp: Option<Ramp>,
    cage: Arc<Cage>,
}

/// What is known of a file before all are in order.
struct Member {
    path: PathBuf,
    bytes: u64,
    size: (u32, u32),
    frames: usize,
    film: bool,
    lossy: bool,
    origin: DicomOrigin,
    privacy: Privacy,
    spacing: Spacing,
    plane: Option<Plane>,
    series: f64,
    number: Option<f64>,
    /// What may tell the times of images in one place: temporal position, acquisition.
    times: [Option<f64>; 2],
}

impl Member {
    fn of(path: &Path) -> Result<Self, CodecError> {
        let bytes = std::fs::metadata(path).map_err(|e| CodecError::unreadable(path, e))?.len();
        let parsed = parse(path)?;
        let lossy = is_lossy(&parsed);
        let Parsed { walked, syntax, big, .. } = parsed;
        let set: &DataSet = &walked.set;
        if set.word(tags::ROWS).is_none() {
            let cause = "it holds no picture";
            return Err(CodecError::unsupported(path, cause, "look at it with another program"));
        }
        let shape = Shape::of(path, set, big)?;
        if set.text(tags::MODALITY).is_some_and(|modality| modality == "SEG") {
            let cause = "it is a segmentation and no image";
            return Err(CodecError::unsupported(path, cause, "`sonomark import` reads it"));
        }
        Ok(Self {
            path: path.to_owned(),
            bytes,
            size: (shape.columns, shape.rows),
            frames: shape.frames,
            film: film::is_film(&syntax),
            lossy,
            origin: origin(set),
            privacy: privacy(set, &shape),
            spacing: spacing_mm(set, &shape),
            plane: Plane::of(set),
            series: set.decimal(tags::SERIES_NUMBER).unwrap_or(0.0),
            number: set.decimal(tags::INSTANCE_NUMBER),
            times: [tags::TEMPORAL_POSITION, tags::ACQUISITION_NUMBER].map(|tag| set.decimal(tag)),
        })
    }

    fn is_cine(&self) -> bool {
        self.film || self.frames > 1
    }

    /// Whether what is said of one holds for the other.
    fn is_like(&self, other: &Self) -> bool {
        self.size == other.size
            && self.privacy.regions == other.privacy.regions
            && same_scale(self.spacing.whole, other.spacing.whole)
            && self.spacing.scales == other.spacing.scales
    }
}

/// Opens a folder that holds no frames of other kinds; `none` is the error of one that holds no
/// DICOM either.
pub(in crate::codec) fn open_folder(
    path: &Path,
    none: CodecError,
    wanted: Wanted,
    cache_bytes: usize,
) -> Result<Opened, CodecError> {
    let files = files(path)?;
    if files.is_empty() {
        return Err(none);
    }
    open_listed(path, files, wanted, cache_bytes)
}

/// Opens the clip with the number that is wanted (from 1 on) of those in `files`, or the only one.
pub(super) fn open_listed(
    path: &Path,
    files: Vec<PathBuf>,
    wanted: Wanted,
    cache_bytes: usize,
) -> Result<Opened, CodecError> {
    if let ([one], None | Some(1)) = (&files[..], wanted.series) {
        return super::open_parsed(one, parse(one)?, cache_bytes);
    }
    let (clips, left_out) = clips(&files)?;
    let mut members = chosen(path, clips, wanted.series)?;
    let reordered = wanted.earlier_order && reorder(&mut members);
    let mut opened = match &members[..] {
        [one] => super::open_parsed(&one.path, parse(&one.path)?, cache_bytes),
        _ => open_series(path, members),
    }?;
    opened.notes.extend(reordered.then(|| REORDERED.to_owned()));
    opened.notes.extend(left_out);
    Ok(opened)
}

/// The clip with this number, or the only one.
fn chosen(
    path: &Path,
    mut clips: Vec<Vec<Member>>,
    series: Option<usize>,
) -> Result<Vec<Member>, CodecError> {
    match (series, clips.len()) {
        (None, 1) => Ok(clips.swap_remove(0)),
        (Some(number), count) if (1..=count).contains(&number) => Ok(clips.swap_remove(number - 1)),
        _ => Err(choose(path, &clips)),
    }
}

/// Puts the images of a series in the order of an earlier version, where their names tell it; whether that is another one.
fn reorder(members: &mut Vec<Member>) -> bool {
    let paths = |members: &[Member]| members.iter().map(|m| m.path.clone()).collect::<Vec<_>>();
    let now = paths(members);
    sort(members, by_name_before);
    paths(members) != now
}

/// The files of a series (of several the one of this number) in the order of names of an earlier version; `None` where
/// nothing differs, or there is no series.
pub(in crate::codec) fn earlier_files(path: &Path, series: Option<usize>) -> Option<Vec<PathBuf>> {
    if !path.is_dir() && !directory::is_directory_name(path) {
        return None;
    }
    let files = listed(path).ok()?;
    // Names alone tell of most series that reading their headers again would be for nothing.
    let sorted = |order: fn(&Path, &Path) -> Ordering| {
        let mut sorted = files.clone();
        sorted.sort_by(|a, b| order(a, b));
        sorted
    };
    if files.len() < 2 || sorted(by_name) == sorted(by_name_before) {
        return None;
    }
    let mut members = chosen(path, clips(&files).ok()?.0, series).ok()?;
    reorder(&mut members).then(|| members.into_iter().map(|member| member.path).collect())
}

/// The files that a folder holds or a DICOMDIR lists.
fn listed(path: &Path) -> Result<Vec<PathBuf>, CodecError> {
    match path.is_dir() {
        true => files(path),
        false => directory::files(path, &parse(path)?.walked.set),
    }
}

/// The files of a folder or DICOMDIR that holds several clips, when each is one file.
pub(in crate::codec) fn single_files(path: &Path) -> Vec<PathBuf> {
    let (clips, _) = listed(path).and_then(|files| clips(&files)).unwrap_or_default();
    if clips.len() < 2 || clips.iter().any(|members| members.len() > 1) {
        return Vec::new();
    }
    clips.into_iter().flatten().map(|member| member.path).collect()
}

/// The DICOM files of a folder; where it has none, those that its DICOMDIR lists.
fn files(folder: &Path) -> Result<Vec<PathBuf>, CodecError> {
    let (mut files, mut listing) = (Vec::new(), None);
    for entry in std::fs::read_dir(folder).map_err(|e| CodecError::unreadable(folder, e))? {
        let entry = entry.map_err(|e| CodecError::unreadable(folder, e))?;
        let path = entry.path();
        if directory::is_directory_name(&path) {
            listing = Some(path);
            continue;
        }
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if hidden || !path.is_file() || sniff::kind_of(&path).ok() != Some(Kind::Dicom) {
            continue;
        }
        files.push(path);
        if files.len() > MAX_FRAMES {
            let cause = format!("it holds more than {MAX_FRAMES} images");
            return Err(CodecError::too_large(folder, cause));
        }
    }
    files.sort_by(|a, b| by_name(a, b));
    match listing {
        Some(listing) if files.is_empty() => {
            directory::files(&listing, &parse(&listing)?.walked.set)
        }
        _ => Ok(files),
    }
}

/// The clips that files make up, in order, and a sentence on the files that are no part of any.
///
/// # Errors
/// Why the first file is none, when none is.
fn clips(files: &[PathBuf]) -> Result<(Vec<Vec<Member>>, Option<String>), CodecError> {
    let mut series: Vec<Vec<Member>> = Vec::new();
    let mut studies: Vec<String> = Vec::new();
    let mut left_out: Vec<CodecError> = Vec::new();
    for file in files {
        let member = match Member::of(file) {
            Ok(member) => member,
            Err(why) => {
                left_out.push(why);
                continue;
            }
        };
        if !studies.contains(&member.origin.study_uid) {
            studies.push(member.origin.study_uid.clone());
        }
        let same = |held: &Vec<Member>| held[0].origin.series_uid == member.origin.series_uid;
        match series.iter_mut().find(|held| same(held)) {
            Some(held) => held.push(member),
            None => series.push(vec![member]),
        }
    }
    let told = left_out_told(&left_out);
    if series.is_empty()
        && let Some(why) = left_out.into_iter().next()
    {
        return Err(why);
    }
    let study = |m: &Member| studies.iter().position(|uid| *uid == m.origin.study_uid);
    series
        .sort_by(|a, b| study(&a[0]).cmp(&study(&b[0])).then(a[0].series.total_cmp(&b[0].series)));
    let mut clips = Vec::new();
    for mut members in series {
        let apart = members.iter().any(|m| m.is_cine() || !m.is_like(&members[0]));
        sort(&mut members, by_name);
        if apart {
            clips.extend(members.into_iter().map(|member| vec![member]));
        } else {
            clips.extend(by_time(members));
        }
    }
    Ok((clips, told))
}

/// The images of a series, in order, as a volume for each time (or echo, or whatever tells images
/// in one place apart) where each place has as many.
fn by_time(members: Vec<Member>) -> Vec<Vec<Member>> {
    let depths = depths_of(&members);
    let count = depths.as_ref().map_or(0, |depths| places(depths));
    if count < 2 || members.len() == count || !members.len().is_multiple_of(count) {
        return vec![members];
    }
    let times = members.len() / count;
    let even = depths.is_some_and(|depths| depths.chunks(times).all(|here| places(here) == 1));
    if !even {
        return vec![members];
    }
    // Where a number tells the times, images in one place are put in its order; else they are in
    // that of their instance numbers.
    let tells = |key: usize| {
        let numbers = |here: &[Member]| -> Option<Vec<u64>> {
            let mut all: Vec<f64> = here.iter().map(|m| m.times[key]).collect::<Option<_>>()?;
            all.sort_by(f64::total_cmp);
            Some(all.into_iter().map(f64::to_bits).collect())
        };
        let first = numbers(&members[..times]);
        let distinct = first.iter().all(|all| all.windows(2).all(|pair| pair[0] != pair[1]));
        first.is_some() && distinct && members.chunks(times).all(|here| numbers(here) == first)
    };
    let key = (0..2).find(|&key| tells(key));
    let mut volumes: Vec<Vec<Member>> = (0..times).map(|_| Vec::new()).collect();
    let mut members = members.into_iter();
    for _ in 0..count {
        let mut here: Vec<Member> = members.by_ref().take(times).collect();
        let time = |member: &Member| key.map_or(member.number, |key| member.times[key]);
        here.sort_by(|a, b| time(a).unwrap_or(0.0).total_cmp(&time(b).unwrap_or(0.0)));
        volumes.iter_mut().zip(here).for_each(|(volume, member)| volume.push(member));
    }
    volumes
}

/// Where the images of a series lie along the normal of their planes, mm.
fn depths_of(members: &[Member]) -> Option<Vec<f64>> {
    let planes: Option<Vec<Plane>> = members.iter().map(|member| member.plane).collect();
    depths_mm(&planes?)
}

/// Which files are left out, and why the first one is.
fn left_out_told(left_out: &[CodecError]) -> Option<String> {
    let first = left_out.first()?;
    Some(match left_out.len() {
        1 => format!("left out: {first}"),
        count => format!("{count} files are left out, the first one: {first}"),
    })
}

/// A refusal that lists what there is.
fn choose(path: &Path, clips: &[Vec<Member>]) -> CodecError {
    let line = |(number, members): (usize, &Vec<Member>)| {
        let frames: usize = members.iter().map(|member| member.frames).sum();
        let (width, height) = members[0].size;
        format!("{number}: {frames} x {width}x{height}")
    };
    let lines: Vec<String> = (1..).zip(clips).map(line).take(LISTED).collect();
    let more = if clips.len() > LISTED { ", ..." } else { "" };
    let cause = format!("it holds {} DICOM clips ({}{more})", clips.len(), lines.join(", "));
    CodecError::unsupported(
        path,
        cause,
        "choose one with --series NUMBER, or open one of the files",
    )
}

/// Opens single images of one series and one size.
fn open_series(path: &Path, members: Vec<Member>) -> Result<Opened, CodecError> {
    let files: Vec<PathBuf> = members.iter().map(|member| member.path.clone()).collect();
    let (_, set, syntax) = Dicom::load(&files[0], None)?;
    // The same for all of them.
    let spacing = &members[0].spacing;
    let planes: Option<Vec<Plane>> = members.iter().map(|member| member.plane).collect();
    // Images that all lie in one place are moments of it.
    let planes = planes.filter(|_| depths_of(&members).is_none_or(|depths| places(&depths) > 1));
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
        pixel_spacing_mm: spacing.whole,
        scales: spacing.scales.clone(),
        slice_spacing_mm: None,
        frame_time_ms: if planes.is_some() { None } else { frame_time_ms(&set) },
        frame_times_ms: Vec::new(),
        placement: planes.and_then(|planes| placement(&planes, spacing.whole)),
        lossy: None,
        format: format!("series of {}", describe(&set, &syntax)),
    };
    let notes = series_note(&info).into_iter().collect();
    let ramp = common_ramp(&files, u64::from(width_px) * u64::from(height_px))?;
    // Those of the image that tells most: some may have lost nothing.
    let told = |m: &&Member| m.origin.lossy_ratios.len() + m.origin.lossy_methods.len();
    let lost = &members.iter().max_by_key(told).unwrap_or(&members[0]).origin;
    let origin = DicomOrigin {
        instance_uids: members.iter().flat_map(|m| m.origin.instance_uids.clone()).collect(),
        lossy_ratios: lost.lossy_ratios.clone(),
        lossy_methods: lost.lossy_methods.clone(),
        ..members[0].origin.clone()
    };
    // One image that says nothing is enough to be careful.
    let says_none = members.iter().all(|member| member.privacy.says_none);
    let clean_pixels = members.iter().all(|member| member.privacy.clean_pixels);
    let privacy = Privacy { says_none, clean_pixels, ..members[0].privacy.clone() };
    let cage = Arc::new(Cage::new(files.len()));
    let series = Series { files, ramp, cage };
    let lossy = members.iter().any(|member| member.lossy);
    Ok(Opened { origin: Some(origin), privacy, notes, lossy, ..Opened::new(info, series) })
}

/// By places, instance numbers, names.
fn sort(members: &mut Vec<Member>, by_name: fn(&Path, &Path) -> Ordering) {
    let depths = depths_of(members);
    let mut keyed: Vec<(f64, f64, Member)> = Vec::with_capacity(members.len());
    for (i, member) in members.drain(..).enumerate() {
        let depth = depths.as_ref().map_or(0.0, |depths| depths[i]);
        keyed.push((depth, member.number.unwrap_or(0.0), member));
    }
    keyed.sort_by(|(d1, n1, a), (d2, n2, b)| {
        d1.total_cmp(d2).then(n1.total_cmp(n2)).then_with(|| by_name(&a.path, &b.path))
    });
    members.extend(keyed.into_iter().map(|(_, _, member)| member));
}

/// One ramp for all images that have no window of their own: those of a series may be rescaled each by numbers of
/// its own, as in PET. `frame_px` is how many pixels each has.
fn common_ramp(files: &[PathBuf], frame_px: u64) -> Result<Option<Ramp>, CodecError> {
    let mut range: Option<Ramp> = None;
    for index in spread(files.len(), frame_px) {
        let (clip, set, _) = Dicom::load(&files[index], Some(Ramp { low: 0.0, high: 1.0 }))?;
        if clip.shape.samples_per_pixel() == 1
            && let Some(next) = clip.range(&tone::rescales(&set, 1))?
        {
            range = Some(range.map_or(next, |r| r.joined(next)));
        }
    }
    Ok(range)
}

impl FrameSource for Series {
    fn file_of(&self, index: FrameIndex) -> Option<&Path> {
        self.files.get(index).map(PathBuf::as_path)
    }

    fn read(
        &self,
        index: FrameIndex,
        keep: &mut dyn FnMut(FrameIndex, GrayFrame),
    ) -> Result<GrayFrame, CodecError> {
        let (mut clip, ..) = Dicom::load(&self.files[index], self.ramp)?;
        clip.cage = Arc::clone(&self.cage);
        clip.read(0, keep)
    }
}
