//! The clip itself without patient data: as DICOM ultrasound, or as images.
//!
//! The DICOM object is made anew, not stripped: it holds what the list in [`write_dicom`] names
//! (geometry, timing, the pixels as gray of 8 bits, or as RGB where some are coloured) and nothing
//! that was copied from the source. That fulfils the Basic Application Level Confidentiality Profile (PS3.15 annex E), and the
//! object says so; "Clean Pixel Data" it says only when the outside of the ultrasound regions is
//! black. Pixels that may show a name are not exported at all: the file must say that nothing is
//! burned in, or a person must have named or confirmed what stays visible.
//!
//! Identifiers are mapped with the secret of the project: objects of one series stay one series,
//! and a segmentation exported with the mapped identifiers refers to the exported clip.

use std::path::Path;
use std::sync::Arc;

use dicom_core::{PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::FileMetaTableBuilder;

use super::atomic::{ensure_folder, write_atomic};
use super::dicom_item::{
    Item, code, decimals, frame_steps, leave_patient_empty, nest, put, repeat_losses, syntax_for,
    uid,
};
use super::{ExportError, Job, Report, overlay};
use crate::codec::{self, OpenOptions, Outside, Privacy};
use crate::domain::{ClipInfo, ClipKind, DicomOrigin, FrameIndex, GrayFrame, Scale};

const ULTRASOUND: &str = "1.2.840.10008.5.1.4.1.1.6.1";
const ULTRASOUND_FRAMES: &str = "1.2.840.10008.5.1.4.1.1.3.1";
/// Pixels of an object that is made in memory.
const MAX_BYTES: usize = 1 << 30;

/// Class and identifiers of a clip as its de-identified object has them, mapped by the secret `key`
/// of a project. What a clip lacks, as one that was no DICOM object, is made from its content. Where other pixels are
/// visible, or it is another part of its files, it is another object.
#[must_use]
pub fn mapped(
    origin: Option<&DicomOrigin>,
    info: &ClipInfo,
    privacy: &Privacy,
    key: &[u8; 32],
) -> DicomOrigin {
    let origin = origin.cloned().unwrap_or_default();
    let map = |held: &str, what: &str| match held {
        "" => uid(&[key, info.content_hash.0.as_bytes(), what.as_bytes()]),
        held => uid(&[key, held.as_bytes()]),
    };
    let class = match info.kind {
        // No such object of a volume is written.
        ClipKind::Volume => &origin.class_uid,
        _ if info.frames > 1 => ULTRASOUND_FRAMES,
        _ => ULTRASOUND,
    };
    let (objects, visible) = (origin.instance_uids.join("\\"), privacy.visible.unwrap_or_default());
    // An archive keeps one object of a name: everything counts that the pixels come from.
    let instance =
        uid(&[key, objects.as_bytes(), info.content_hash.0.as_bytes(), b"instance", &visible]);
    DicomOrigin {
        class_uid: class.to_owned(),
        // One object for all frames is written, whatever they came from.
        instance_uids: vec![instance],
        study_uid: map(&origin.study_uid, "study"),
        series_uid: map(&origin.series_uid, "series"),
        space_uid: origin.space_uid.as_deref().map(|held| map(held, "space")),
        // It is written in the order of the clip.
        frame_order: Vec::new(),
        lossy_ratios: origin.lossy_ratios,
        lossy_methods: origin.lossy_methods,
    }
}

/// Whether names may be seen in the frames of a clip: neither its file nor a person says that none
/// are.
#[must_use]
pub fn names_may_show(info: &ClipInfo, privacy: &Privacy) -> bool {
    let volume = info.kind == ClipKind::Volume || info.is_plane_over_time();
    match privacy.outside {
        Outside::Hidden => false,
        Outside::HiddenAsFound(_) => true,
        Outside::Shown => !privacy.clean_pixels && (privacy.medical || !volume),
    }
}

/// The project's secret and what is known of the clip; refuses pixels that may show a name.
fn checked<'a>(job: &'a Job, path: &Path) -> Result<(&'a [u8; 32], &'a Privacy), ExportError> {
    let unfit = |cause: &str, advice: &str| Err(ExportError::unfit(path, cause, advice));
    if job.frames.is_none() {
        let cause = "it holds the pictures, and the clip is not at hand";
        return unfit(cause, "export the clip instead of the project");
    }
    let (Some(key), Some(privacy)) = (&job.key, &job.privacy) else {
        let cause = "it takes the project's map of identifiers, which is not at hand";
        return unfit(cause, "export the clip instead of the project");
    };
    if !names_may_show(job.info, privacy) {
        return Ok((key, privacy));
    }
    match privacy.outside {
        Outside::HiddenAsFound(region) => unfit(
            "nobody has confirmed the region that was found in its pixels",
            &format!(
                "look at several frames with `sonomark --outside hide CLIP`; if they show no text \
                 and miss no tissue, export with --outside {region}"
            ),
        ),
        _ => unfit(
            "names may be burned into its pixels, and the file does not say that there are none",
            "accept the region that is found in its pixels when it is opened (accept-region), give \
             --outside hide, or say what is to stay visible (--help)",
        ),
    }
}

/// A folder of `00000.png`, ...
pub(super) fn write_frames(job: &Job, folder: &Path) -> Result<Report, ExportError> {
    checked(job, folder)?;
    ensure_folder(folder)?;
    let mut report = Report::default();
    for frame in 0..job.info.frames {
        overlay::put_frame(job, &mut report, folder, frame)?;
    }
    Ok(report)
}

/// One DICOM object of the ultrasound classes.
pub(super) fn write_dicom(job: &Job, path: &Path) -> Result<Report, ExportError> {
    let (key, privacy) = checked(job, path)?;
    let info = job.info;
    if info.kind == ClipKind::Volume {
        let cause = "it is a volume, and ultrasound objects hold stills and cines";
        return Err(ExportError::unfit(path, cause, "choose nnunet, whose volumes hold no tags"));
    }
    let coloured = is_coloured(job, path)?;
    let samples = if coloured { 3 } else { 1 };
    let bytes = info.width_px as usize * info.height_px as usize * info.frames * samples;
    if bytes > MAX_BYTES {
        let cause = "its pixels take more than 1 GiB";
        return Err(ExportError::unfit(path, cause, "choose frames"));
    }
    let named = mapped(job.origin.as_ref(), info, privacy, key);
    let (class, instance) = (&named.class_uid, named.instance_uids.concat());
    let mut set = Item::new_empty();
    for (tag, vr, text) in [
        (tags::SOP_CLASS_UID, VR::UI, class.as_str()),
        (tags::SOP_INSTANCE_UID, VR::UI, &instance),
        (tags::STUDY_INSTANCE_UID, VR::UI, &named.study_uid),
        (tags::SERIES_INSTANCE_UID, VR::UI, &named.series_uid),
        (tags::IMAGE_TYPE, VR::CS, "DERIVED\\PRIMARY"),
        (tags::MODALITY, VR::CS, "US"),
        (tags::SERIES_NUMBER, VR::IS, "1"),
        (tags::INSTANCE_NUMBER, VR::IS, "1"),
        (tags::DERIVATION_DESCRIPTION, VR::ST, if coloured { "RGB" } else { "gray of 8 bits" }),
        (tags::PATIENT_IDENTITY_REMOVED, VR::CS, "YES"),
        (tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED, VR::CS, "REMOVED"),
        (tags::BURNED_IN_ANNOTATION, VR::CS, "NO"),
        (tags::MANUFACTURER, VR::LO, ""),
    ] {
        put(&mut set, tag, vr, text);
    }
    leave_patient_empty(&mut set);
    describe_removal(&mut set, privacy);
    describe_pixels(&mut set, job, coloured);
    let pixels = pixels(job, path, bytes, coloured)?;
    put(&mut set, tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(pixels.into()));
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(syntax_for(&set, &[tags::FRAME_TIME_VECTOR, tags::PAGE_NUMBER_VECTOR]))
        .media_storage_sop_class_uid(class)
        .media_storage_sop_instance_uid(&instance);
    let object = set.with_meta(meta).map_err(|e| ExportError::encode(path, e))?;
    let mut bytes = Vec::new();
    object.write_all(&mut bytes).map_err(|e| ExportError::encode(path, e))?;
    write_atomic(path, &bytes)?;
    compare(job, path)?;
    Ok(Report { files: vec![path.to_owned()], ..Report::default() })
}

fn describe_removal(set: &mut Item, privacy: &Privacy) {
    let version = concat!("sonomark ", env!("CARGO_PKG_VERSION"), ", object made anew");
    put(set, tags::DEIDENTIFICATION_METHOD, VR::LO, version);
    let profile = ("113100", "Basic Application Confidentiality Profile");
    let clean = ("113101", "Clean Pixel Data Option");
    let done = [Some(profile), privacy.blackened.then_some(clean)];
    let items = done.into_iter().flatten().map(|(value, meaning)| code(value, "DCM", meaning));
    nest(set, tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE, items.collect());
}

/// Size, colour, depth, time between frames and size of a pixel.
fn describe_pixels(set: &mut Item, job: &Job, coloured: bool) {
    let info = job.info;
    let meaning = if coloured { "RGB" } else { "MONOCHROME2" };
    put(set, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, meaning);
    if coloured {
        put(set, tags::PLANAR_CONFIGURATION, VR::US, 0u16);
    }
    let words = [
        (tags::SAMPLES_PER_PIXEL, if coloured { 3 } else { 1 }),
        (tags::ROWS, info.height_px as u16),
        (tags::COLUMNS, info.width_px as u16),
        (tags::BITS_ALLOCATED, 8),
        (tags::BITS_STORED, 8),
        (tags::HIGH_BIT, 7),
        (tags::PIXEL_REPRESENTATION, 0),
    ];
    for (tag, word) in words {
        put(set, tag, VR::US, word);
    }
    if info.lossy == Some(true) {
        put(set, tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01");
        // Both belong to it (PS3.3 C.7.6.1.1.5); of clips that do not say them nobody knows them.
        if let Some(origin) = &job.origin {
            repeat_losses(set, origin);
        }
    }
    if info.frames > 1 {
        put(set, tags::NUMBER_OF_FRAMES, VR::IS, info.frames.to_string());
    }
    if let Some(ms) = info.frame_time_ms.filter(|_| info.frames > 1) {
        let (tag, text) = match info.frame_times_ms.len() == info.frames {
            true => (tags::FRAME_TIME_VECTOR, frame_steps(&info.frame_times_ms)),
            false => (tags::FRAME_TIME, decimals(&[ms])),
        };
        put(set, tag, VR::DS, text);
        let pointer = PrimitiveValue::Tags([tag].as_slice().into());
        put(set, tags::FRAME_INCREMENT_POINTER, VR::AT, pointer);
    } else if info.frames > 1 {
        number_frames(set, info.frames);
    }
    let whole = [0, 0, info.width_px - 1, info.height_px - 1];
    let scales = match (&info.scales[..], info.pixel_spacing_mm) {
        ([], None) => return,
        ([], mm) => vec![Scale { at: whole, mm }],
        (scales, _) => scales.to_vec(),
    };
    let regions = scales.iter().map(region).collect();
    nest(set, tags::SEQUENCE_OF_ULTRASOUND_REGIONS, regions);
}

/// Frames of unknown times have numbers: every object of several frames must say by what they follow
/// each other (PS3.3 C.7.6.6.1.1).
fn number_frames(set: &mut Item, frames: usize) {
    let numbers: Vec<String> = (1..=frames).map(|number| number.to_string()).collect();
    put(set, tags::PAGE_NUMBER_VECTOR, VR::IS, numbers.join("\\"));
    let pointer = PrimitiveValue::Tags([tags::PAGE_NUMBER_VECTOR].as_slice().into());
    put(set, tags::FRAME_INCREMENT_POINTER, VR::AT, pointer);
}

/// An ultrasound region: of tissue, in cm, or of something whose axes are no lengths.
fn region(scale: &Scale) -> Item {
    const TISSUE: u16 = 1;
    const SPECTRUM: u16 = 3;
    const CENTIMETRES: u16 = 3;
    let mut region = Item::new_empty();
    let (shape, units) = if scale.mm.is_some() { (TISSUE, CENTIMETRES) } else { (SPECTRUM, 0) };
    for (tag, word) in [
        (tags::REGION_SPATIAL_FORMAT, shape),
        (tags::REGION_DATA_TYPE, shape),
        (tags::PHYSICAL_UNITS_X_DIRECTION, units),
        (tags::PHYSICAL_UNITS_Y_DIRECTION, units),
    ] {
        put(&mut region, tag, VR::US, word);
    }
    let [x0, y0, x1, y1] = scale.at;
    for (tag, long) in [
        (tags::REGION_FLAGS, 0),
        (tags::REGION_LOCATION_MIN_X0, x0),
        (tags::REGION_LOCATION_MIN_Y0, y0),
        (tags::REGION_LOCATION_MAX_X1, x1),
        (tags::REGION_LOCATION_MAX_Y1, y1),
    ] {
        put(&mut region, tag, VR::UL, long);
    }
    let [x, y] = scale.mm.unwrap_or_default();
    for (tag, mm) in [(tags::PHYSICAL_DELTA_X, x), (tags::PHYSICAL_DELTA_Y, y)] {
        put(&mut region, tag, VR::FD, mm / 10.0);
    }
    region
}

fn frame_of(job: &Job, path: &Path, frame: FrameIndex) -> Result<Arc<GrayFrame>, ExportError> {
    job.go_on(path)?;
    let frames = job.frames.ok_or_else(|| ExportError::differs(path))?;
    frames(frame).map_err(|why| ExportError::unfit(path, why, "mend the clip"))
}

/// Whether some pixel of what is visible is no gray.
fn is_coloured(job: &Job, path: &Path) -> Result<bool, ExportError> {
    for frame in 0..job.info.frames {
        if !frame_of(job, path, frame)?.colours.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn pixels(job: &Job, path: &Path, bytes: usize, coloured: bool) -> Result<Vec<u8>, ExportError> {
    let mut pixels = Vec::with_capacity(bytes + 1);
    for frame in 0..job.info.frames {
        let held = frame_of(job, path, frame)?;
        match coloured {
            true => pixels.extend(held.rgb().as_flattened()),
            false => pixels.extend(&held.pixels),
        }
    }
    if pixels.len() % 2 == 1 {
        pixels.push(0);
    }
    Ok(pixels)
}

/// Opens what was written as any clip is opened, and compares every frame.
fn compare(job: &Job, path: &Path) -> Result<(), ExportError> {
    let differs = || ExportError::differs(path);
    let clip = codec::open(path, &OpenOptions::default()).map_err(|_| differs())?;
    let Some(frames) = job.frames.filter(|_| clip.info().frames == job.info.frames) else {
        return Err(differs());
    };
    for frame in 0..job.info.frames {
        job.go_on(path)?;
        let (held, found) = (frames(frame), clip.frame(frame));
        // The gray of a coloured pixel that was stored as YBR is its Y, and may round otherwise.
        let same = |held: &GrayFrame, found: &GrayFrame| held.rgb() == found.rgb();
        if !matches!((held, found), (Ok(held), Ok(found)) if same(&held, &found)) {
            return Err(differs());
        }
    }
    Ok(())
}
