//! DICOM Segmentation (PS3.3 A.51): binary or fractional, one frame for every mask, referring to the frame of
//! the image that it was drawn on by its number, so that multi-frame ultrasound is covered.
//!
//! Of the clip's own DICOM object nothing but its identifiers is taken over: no name, date or
//! description of a patient. Without a DICOM clip the identifiers are made from the content hash.

mod read;

use std::path::Path;

use dicom_core::{PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::FileMetaTableBuilder;

use super::atomic::write_atomic;
use super::colours::{cie_lab, colour};
use super::content::{Structure, expected};
use super::dicom_item::{
    EXPLICIT_LITTLE, Item, code, decimals, leave_patient_empty, nest, put, repeat_losses, uid,
};
use super::labelmap::placement;
use super::names::dicom;
use super::{ExportError, ExportFormat, Job, Report};
use crate::codec::MAX_FRAMES;
use crate::domain::{ClipInfo, Code, FrameIndex, Placement};

pub(super) use read::{files_in, read};

const CLASS: &str = "1.2.840.10008.5.1.4.1.1.66.4";
/// Segments are numbered by words of 16 bits, from 1.
const MAX_SEGMENTS: usize = u16::MAX as usize;
/// Bytes of the pixels of a segmentation, at most.
const MAX_BYTES: u64 = 1 << 30;
/// Ultrasound multi-frame image: what a clip without DICOM is said to be.
const ULTRASOUND: &str = "1.2.840.10008.5.1.4.1.1.3.1";

/// How pixels are stored: one bit each, or one byte that is 0 or 255.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Binary,
    Fractional,
}

pub(super) fn write(job: &Job, path: &Path) -> Result<Report, ExportError> {
    write_as(job, path, Depth::Binary)
}

/// For programs that take fractional segmentations only. A mask says of no pixel how much of it is
/// inside, so all are 0 or all of it.
pub(super) fn write_fractional(job: &Job, path: &Path) -> Result<Report, ExportError> {
    write_as(job, path, Depth::Fractional)
}

fn write_as(job: &Job, path: &Path, depth: Depth) -> Result<Report, ExportError> {
    let structures = expected(job.annotation, ExportFormat::DicomSeg.row().keeps).structures;
    if structures.is_empty() {
        let cause = "there is no mask yet, and a segmentation without frames is none";
        return Err(ExportError::unfit(path, cause, "draw one first"));
    }
    check_size(path, job, &structures, depth)?;
    let mut set = Item::new_empty();
    let uids = Uids::of(job, &structures, depth);
    header(&mut set, job, &uids);
    describe_pixels(&mut set, job, depth);
    segments(&mut set, &structures, job);
    job.go_on(path)?;
    let frames = geometry(&mut set, job, &structures, &uids);
    put(&mut set, tags::NUMBER_OF_FRAMES, VR::IS, frames.to_string());
    job.go_on(path)?;
    let pixels = match depth {
        Depth::Binary => packed(&structures),
        Depth::Fractional => bytes(&structures),
    };
    put(&mut set, tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(pixels.into()));
    job.go_on(path)?;
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(EXPLICIT_LITTLE)
        .media_storage_sop_class_uid(CLASS)
        .media_storage_sop_instance_uid(&uids.instance);
    let object = set.with_meta(meta).map_err(|e| ExportError::encode(path, e))?;
    let mut bytes = Vec::new();
    object.write_all(&mut bytes).map_err(|e| ExportError::encode(path, e))?;
    write_atomic(path, &bytes)?;
    Ok(Report { files: vec![path.to_owned()], masks: frames, ..Report::default() })
}

/// Refuses what neither memory nor the length of a DICOM element holds, more segments than have a number, and more frames
/// than [`read`] takes.
fn check_size(
    path: &Path,
    job: &Job,
    structures: &[Structure],
    depth: Depth,
) -> Result<(), ExportError> {
    if structures.len() > MAX_SEGMENTS {
        let cause = format!("{} structures, a segmentation holds {MAX_SEGMENTS}", structures.len());
        return Err(ExportError::unfit(path, cause, "choose coco or png"));
    }
    let masks: u64 = structures.iter().map(|structure| structure.masks.len() as u64).sum();
    if masks > MAX_FRAMES as u64 {
        let cause = format!(
            "it would have {masks} frames, one for each mask, and {MAX_FRAMES} are read back"
        );
        return Err(ExportError::unfit(path, cause, "choose seg.nrrd or png"));
    }
    let pixels = masks * u64::from(job.info.width_px) * u64::from(job.info.height_px);
    let bytes = match depth {
        Depth::Binary => pixels.div_ceil(8),
        Depth::Fractional => pixels,
    };
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    let advice = match depth {
        Depth::Binary => "choose seg.nrrd or png",
        Depth::Fractional => "choose dicom-seg, seg.nrrd or png",
    };
    Err(ExportError::unfit(path, "its masks take more than 1 GiB", advice))
}

/// Identifiers of the new object and of what it refers to.
struct Uids {
    instance: String,
    series: String,
    study: String,
    /// Frame of reference; none where it is not known where the frames lie, also when the images name one: it says that
    /// every frame has its place in it (PS3.3 A.51.5.1).
    space: Option<String>,
    dimension: String,
    source_class: String,
    source_series: String,
    sources: Vec<String>,
    frame_order: Vec<usize>,
}

impl Uids {
    fn of(job: &Job, structures: &[Structure], depth: Depth) -> Self {
        let clip = &job.info.content_hash.0;
        let made = |what: &str| uid(&[clip.as_bytes(), what.as_bytes()]);
        let origin = job.origin.clone().unwrap_or_default();
        let known = |uid: &str, what: &str| match uid {
            "" => made(what),
            uid => uid.to_owned(),
        };
        let content: Vec<u8> = structures
            .iter()
            .flat_map(|s| s.masks.iter().map(move |(frame, mask)| (&s.label, frame, mask)))
            .flat_map(|(label, frame, mask)| {
                let runs = mask.runs().iter().flat_map(|run| run.to_le_bytes());
                let head = label.bytes().chain(frame.to_le_bytes());
                head.chain(runs).collect::<Vec<u8>>()
            })
            .collect();
        let frame_order = origin.frame_order;
        let sources = match origin.instance_uids.is_empty() {
            true => vec![made("image")],
            false => origin.instance_uids,
        };
        let study = known(&origin.study_uid, "study");
        let source_series = known(&origin.series_uid, "series");
        // Two exports of the same masks are the same object, of others another; and so are those that are stored in another
        // way, say something else of the structures or of their place, or refer to other images, as to the same without
        // patient data: an archive keeps one of a name.
        let refers = [study.as_str(), &source_series, &sources.join("\\")].join("\n");
        let stored: &[u8] = if depth == Depth::Binary { b"binary" } else { b"fractional" };
        let kinds: Vec<Code> = structures.iter().map(|held| kind_of(&held.label, job)).collect();
        let said = format!("{kinds:?} {:?}", job.info.placement);
        let object = |what: &[u8]| {
            uid(&[clip.as_bytes(), what, &content, stored, refers.as_bytes(), said.as_bytes()])
        };
        Self {
            instance: object(b"segmentation"),
            series: object(b"series of segmentations"),
            study,
            space: job.info.placement.map(|_| origin.space_uid.unwrap_or_else(|| made("space"))),
            dimension: made("dimensions"),
            source_class: match origin.class_uid.as_str() {
                "" => ULTRASOUND.to_owned(),
                class => class.to_owned(),
            },
            source_series,
            sources,
            frame_order,
        }
    }

    /// The instance that holds a frame, and its number there, from 1.
    fn source(&self, frame: FrameIndex) -> (&str, usize) {
        match &self.sources[..] {
            [one] => (one, self.frame_order.get(frame).copied().unwrap_or(frame) + 1),
            all => (all.get(frame).map_or("", String::as_str), 1),
        }
    }
}

fn header(set: &mut Item, job: &Job, uids: &Uids) {
    // It also means that the images lost something which this is made from, and may not be left out (PS3.3 C.8.20.2,
    // table C.8.20-2): where nobody knows, nobody denies it.
    let lossy = if job.info.lossy == Some(false) { "00" } else { "01" };
    let texts = [
        (tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
        (tags::IMAGE_TYPE, VR::CS, "DERIVED\\PRIMARY"),
        (tags::SOP_CLASS_UID, VR::UI, CLASS),
        (tags::SOP_INSTANCE_UID, VR::UI, uids.instance.as_str()),
        (tags::STUDY_INSTANCE_UID, VR::UI, uids.study.as_str()),
        (tags::SERIES_INSTANCE_UID, VR::UI, uids.series.as_str()),
        (tags::MODALITY, VR::CS, "SEG"),
        (tags::MANUFACTURER, VR::LO, "sonomark"),
        (tags::MANUFACTURER_MODEL_NAME, VR::LO, "sonomark"),
        (tags::DEVICE_SERIAL_NUMBER, VR::LO, "0"),
        (tags::SOFTWARE_VERSIONS, VR::LO, env!("CARGO_PKG_VERSION")),
        (tags::SERIES_DESCRIPTION, VR::LO, "Segmentation"),
        (tags::CONTENT_LABEL, VR::CS, "SEGMENTATION"),
        (tags::CONTENT_CREATOR_NAME, VR::PN, ""),
        (tags::CONTENT_DATE, VR::DA, ""),
        (tags::CONTENT_TIME, VR::TM, ""),
        (tags::SERIES_NUMBER, VR::IS, "1"),
        (tags::INSTANCE_NUMBER, VR::IS, "1"),
        (tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        (tags::LOSSY_IMAGE_COMPRESSION, VR::CS, lossy),
        (tags::BURNED_IN_ANNOTATION, VR::CS, "NO"),
    ];
    for (tag, vr, text) in texts {
        put(set, tag, vr, text);
    }
    // What the images say of it, they must say again (PS3.3, the same table).
    if let Some(origin) = job.origin.as_ref().filter(|_| lossy == "01") {
        repeat_losses(set, origin);
    }
    if let Some(space) = &uids.space {
        put(set, tags::FRAME_OF_REFERENCE_UID, VR::UI, space.as_str());
        put(set, tags::POSITION_REFERENCE_INDICATOR, VR::LO, "");
    }
    leave_patient_empty(set);
    let about = job.about();
    put(set, tags::CONTENT_DESCRIPTION, VR::LO, &about[..about.len().min(64)]);
    let instance = |uid: &String| {
        let mut item = Item::new_empty();
        put(&mut item, tags::REFERENCED_SOP_CLASS_UID, VR::UI, uids.source_class.as_str());
        put(&mut item, tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, uid.as_str());
        item
    };
    let mut series = Item::new_empty();
    put(&mut series, tags::SERIES_INSTANCE_UID, VR::UI, uids.source_series.as_str());
    nest(
        &mut series,
        tags::REFERENCED_INSTANCE_SEQUENCE,
        uids.sources.iter().map(instance).collect(),
    );
    nest(set, tags::REFERENCED_SERIES_SEQUENCE, vec![series]);
}

fn describe_pixels(set: &mut Item, job: &Job, depth: Depth) {
    let bits = match depth {
        Depth::Binary => {
            put(set, tags::SEGMENTATION_TYPE, VR::CS, "BINARY");
            1
        }
        Depth::Fractional => {
            put(set, tags::SEGMENTATION_TYPE, VR::CS, "FRACTIONAL");
            put(set, tags::SEGMENTATION_FRACTIONAL_TYPE, VR::CS, "OCCUPANCY");
            put(set, tags::MAXIMUM_FRACTIONAL_VALUE, VR::US, 255u16);
            8
        }
    };
    let words = [
        (tags::SAMPLES_PER_PIXEL, 1),
        (tags::ROWS, job.info.height_px as u16),
        (tags::COLUMNS, job.info.width_px as u16),
        (tags::BITS_ALLOCATED, bits),
        (tags::BITS_STORED, bits),
        (tags::HIGH_BIT, bits - 1),
        (tags::PIXEL_REPRESENTATION, 0),
    ];
    for (tag, word) in words {
        put(set, tag, VR::US, word);
    }
}

/// What a structure is; labels are shortened to what DICOM can hold.
fn kind_of(label: &str, job: &Job) -> Code {
    let known = job.codes.iter().find(|(known, _)| dicom(known) == label);
    known.map_or_else(Code::tissue, |(_, code)| code.clone())
}

fn segments(set: &mut Item, structures: &[Structure], job: &Job) {
    let coded = |kind: &Code| vec![code(&kind.value, &kind.scheme, &kind.meaning)];
    let segment = |(number, structure): (u16, &Structure)| {
        let mut item = Item::new_empty();
        put(&mut item, tags::SEGMENT_NUMBER, VR::US, number);
        put(&mut item, tags::SEGMENT_LABEL, VR::LO, structure.label.as_str());
        put(&mut item, tags::SEGMENT_ALGORITHM_TYPE, VR::CS, "SEMIAUTOMATIC");
        put(&mut item, tags::SEGMENT_ALGORITHM_NAME, VR::LO, "sonomark");
        let lab = cie_lab(colour(usize::from(number)));
        let lab = PrimitiveValue::U16(lab.as_slice().into());
        put(&mut item, tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE, VR::US, lab);
        let kind = kind_of(&structure.label, job);
        nest(&mut item, tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, coded(&Code::tissue()));
        nest(&mut item, tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, coded(&kind));
        item
    };
    nest(set, tags::SEGMENT_SEQUENCE, (1..=u16::MAX).zip(structures).map(segment).collect());
}

/// Dimensions, what all frames share and what each has; gives the number of frames.
fn geometry(set: &mut Item, job: &Job, structures: &[Structure], uids: &Uids) -> usize {
    let info = job.info;
    let index = |pointer: Tag, group: Tag| {
        let mut item = Item::new_empty();
        put(&mut item, tags::DIMENSION_ORGANIZATION_UID, VR::UI, uids.dimension.as_str());
        put(
            &mut item,
            tags::DIMENSION_INDEX_POINTER,
            VR::AT,
            PrimitiveValue::Tags([pointer].as_slice().into()),
        );
        put(
            &mut item,
            tags::FUNCTIONAL_GROUP_POINTER,
            VR::AT,
            PrimitiveValue::Tags([group].as_slice().into()),
        );
        item
    };
    let mut organization = Item::new_empty();
    put(&mut organization, tags::DIMENSION_ORGANIZATION_UID, VR::UI, uids.dimension.as_str());
    nest(set, tags::DIMENSION_ORGANIZATION_SEQUENCE, vec![organization]);
    let indices = vec![
        index(tags::REFERENCED_SEGMENT_NUMBER, tags::SEGMENT_IDENTIFICATION_SEQUENCE),
        index(tags::IN_STACK_POSITION_NUMBER, tags::FRAME_CONTENT_SEQUENCE),
    ];
    nest(set, tags::DIMENSION_INDEX_SEQUENCE, indices);

    let place = placement(info);
    let [across, down, along] = place.spacing_mm();
    let mut shared = Item::new_empty();
    // Measures belong to a place (PS3.3 A.51.5 allows them with a frame of reference alone): a frame that lies nowhere has no
    // thickness, and without one highdicom does not read the file. How it is measured the source images say, if at all.
    if info.placement.is_some() {
        let mut measures = Item::new_empty();
        put(&mut measures, tags::PIXEL_SPACING, VR::DS, decimals(&[down, across]));
        put(&mut measures, tags::SLICE_THICKNESS, VR::DS, decimals(&[along]));
        put(&mut measures, tags::SPACING_BETWEEN_SLICES, VR::DS, decimals(&[along]));
        nest(&mut shared, tags::PIXEL_MEASURES_SEQUENCE, vec![measures]);
        let [row, column, _] = place.steps_mm;
        let cosines: Vec<f64> =
            row.iter().map(|v| v / across).chain(column.iter().map(|v| v / down)).collect();
        let mut orientation = Item::new_empty();
        put(&mut orientation, tags::IMAGE_ORIENTATION_PATIENT, VR::DS, decimals(&cosines));
        nest(&mut shared, tags::PLANE_ORIENTATION_SEQUENCE, vec![orientation]);
    }
    nest(set, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared]);

    let mut frames = Vec::new();
    for (number, structure) in (1..=u16::MAX).zip(structures) {
        for &frame in structure.masks.keys() {
            frames.push(frame_item(info, uids, &place, number, frame));
        }
    }
    let count = frames.len();
    nest(set, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames);
    count
}

fn frame_item(
    info: &ClipInfo,
    uids: &Uids,
    place: &Placement,
    segment: u16,
    frame: FrameIndex,
) -> Item {
    let stack = frame as u32 + 1;
    let mut content = Item::new_empty();
    put(&mut content, tags::STACK_ID, VR::SH, "1");
    put(&mut content, tags::IN_STACK_POSITION_NUMBER, VR::UL, stack);
    let indices = PrimitiveValue::U32([u32::from(segment), stack].as_slice().into());
    put(&mut content, tags::DIMENSION_INDEX_VALUES, VR::UL, indices);

    let (instance, number) = uids.source(frame);
    let mut source = Item::new_empty();
    put(&mut source, tags::REFERENCED_SOP_CLASS_UID, VR::UI, uids.source_class.as_str());
    put(&mut source, tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, instance);
    if uids.sources.len() == 1 {
        put(&mut source, tags::REFERENCED_FRAME_NUMBER, VR::IS, number.to_string());
    }
    let purpose = code("121322", "DCM", "Source image for image processing operation");
    nest(&mut source, tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, vec![purpose]);
    let mut derivation = Item::new_empty();
    nest(&mut derivation, tags::SOURCE_IMAGE_SEQUENCE, vec![source]);
    nest(
        &mut derivation,
        tags::DERIVATION_CODE_SEQUENCE,
        vec![code("113076", "DCM", "Segmentation")],
    );

    let mut identification = Item::new_empty();
    put(&mut identification, tags::REFERENCED_SEGMENT_NUMBER, VR::US, segment);

    let mut item = Item::new_empty();
    nest(&mut item, tags::FRAME_CONTENT_SEQUENCE, vec![content]);
    nest(&mut item, tags::DERIVATION_IMAGE_SEQUENCE, vec![derivation]);
    nest(&mut item, tags::SEGMENT_IDENTIFICATION_SEQUENCE, vec![identification]);
    if info.placement.is_some() {
        let mut position = Item::new_empty();
        put(
            &mut position,
            tags::IMAGE_POSITION_PATIENT,
            VR::DS,
            decimals(&position_of(place, frame)),
        );
        nest(&mut item, tags::PLANE_POSITION_SEQUENCE, vec![position]);
    }
    item
}

fn position_of(place: &Placement, frame: FrameIndex) -> [f64; 3] {
    [0, 1, 2].map(|i| place.origin_mm[i] + place.steps_mm[2][i] * frame as f64)
}

/// All frames, one byte a pixel.
fn bytes(structures: &[Structure]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for mask in structures.iter().flat_map(|structure| structure.masks.values()) {
        for (i, &run) in mask.runs().iter().enumerate() {
            bytes.resize(bytes.len() + run as usize, if i % 2 == 1 { 255 } else { 0 });
        }
    }
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    bytes
}

/// All frames, one bit a pixel, lowest bit first, without gaps.
fn packed(structures: &[Structure]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut at = 0usize;
    for mask in structures.iter().flat_map(|structure| structure.masks.values()) {
        for (i, &run) in mask.runs().iter().enumerate() {
            let end = at + run as usize;
            bytes.resize(end.div_ceil(8), 0u8);
            if i % 2 == 1 {
                (at..end).for_each(|bit| bytes[bit / 8] |= 1 << (bit % 8));
            }
            at = end;
        }
    }
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    bytes
}
