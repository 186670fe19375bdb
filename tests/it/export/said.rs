//! Exports say what the screen says, and nothing that nobody knows.

use std::fs;
use std::sync::Arc;

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use sonomark::codec::{OpenOptions, Privacy, open};
use sonomark::domain::ClipKind::Volume;
use sonomark::domain::{
    Annotation, Bitmap, ClipInfo, Code, Codes, DicomOrigin, GrayFrame, MaskSource, Placement,
    Track, TrackId, Window,
};
use sonomark::engine::export_clip;
use sonomark::export::{ExportFormat, FrameReader, Job, Target, read};

use super::{export, formats, held, info, noisy, target_of};

/// Drawn on frames 2, 3 and 7, and said to be visible on 3 to 5 alone.
fn windowed() -> Annotation {
    let mut annotation = noisy(&[2, 3, 7]);
    for track in annotation.tracks.values_mut() {
        track.windows = vec![Window { first: 3, last: 5 }];
    }
    annotation
}

#[test]
fn masks_outside_windows_are_in_no_file_and_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    for (format, name) in formats() {
        let path = target_of(dir.path(), name, format);
        let report = export(&windowed(), &info(), format, &path).unwrap();
        assert_eq!((report.outside, report.undecided), (6, 6), "{name}");
        let target = Target { info: &info(), frame_names: &[], origin: None, stop: None };
        let found = read(&path, None, &target).unwrap();
        assert!(!found.structures.is_empty(), "{name}");
        for structure in found.structures {
            assert!(structure.masks.keys().eq(&[3]), "{name}: {:?}", structure.masks.keys());
        }
    }
    let path = dir.path().join("a.csv");
    export(&windowed(), &info(), ExportFormat::Csv, &path).unwrap();
    let rows = fs::read_to_string(&path).unwrap().lines().count();
    assert_eq!(rows, 1 + 3);
}

#[test]
fn masks_that_nobody_accepted_are_counted_apart_from_frames_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let (mut annotation, clip, path) = (windowed(), info(), dir.path().join("a.csv"));
    // One of three inside the windows is accepted, and one of six outside.
    let first = annotation.tracks.values_mut().next().unwrap();
    for frame in [3, 7] {
        first.masks.get_mut(&frame).unwrap().source = MaskSource::Accepted;
    }
    let job = Job { accepted: true, ..Job::new(&annotation, &clip) };
    let report = sonomark::export::export(&job, ExportFormat::Csv, &path).unwrap();
    let counts = (report.masks, report.unaccepted, report.outside, report.undecided);
    assert_eq!(counts, (1, 2, 6, 6));
    let said = export_clip(&job, ExportFormat::Csv, &path).unwrap();
    for told in [
        "1 mask in 1 file",
        "6 masks outside windows left out",
        "2 masks that nobody accepted left out",
        "6 frames inside windows without a mask yet",
    ] {
        assert!(said.contains(told), "{said}");
    }
}

#[test]
fn masks_are_missing_in_the_clip_alone_however_far_windows_reach() {
    let dir = tempfile::tempdir().unwrap();
    let mut annotation = windowed();
    for track in annotation.tracks.values_mut() {
        track.windows = vec![Window { first: 3, last: usize::MAX }];
    }
    let path = dir.path().join("a.csv");
    let report = export(&annotation, &info(), ExportFormat::Csv, &path).unwrap();
    assert_eq!(report.undecided, 3 * 5, "frames 4, 5, 6, 8 and 9 of each");
}

#[test]
fn a_segmentation_invents_no_scale_and_no_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.dcm");
    let steps_mm = [[0.2, 0.0, 0.0], [0.0, 0.3, 0.0], [0.0, 0.0, 2.0]];
    let place = Placement { origin_mm: [0.0; 3], steps_mm };
    for (spacing, placement) in [(None, None), (Some([0.2, 0.3]), None), (None, Some(place))] {
        let clip = ClipInfo { pixel_spacing_mm: spacing, placement, kind: Volume, ..info() };
        for lossy in [Some(false), Some(true), None] {
            let clip = ClipInfo { lossy, ..clip.clone() };
            let annotation = noisy(&[2]);
            // Images name a space also where they do not say where in it they lie.
            let space_uid = Some("1.2.6".to_owned());
            let origin = Some(DicomOrigin { space_uid, ..DicomOrigin::default() });
            let job = Job { origin, ..Job::new(&annotation, &clip) };
            sonomark::export::export(&job, ExportFormat::DicomSeg, &path).unwrap();
            let object = dicom_object::open_file(&path).unwrap();
            let text =
                |tag| object.element(tag).ok().map(|held| held.to_str().unwrap().into_owned());
            let space = text(tags::FRAME_OF_REFERENCE_UID);
            let space = space.as_deref().map(|uid| uid.trim_end_matches('\0'));
            assert_eq!(space, placement.map(|_| "1.2.6"));
            let wanted = if lossy == Some(false) { "00" } else { "01" };
            assert_eq!(text(tags::LOSSY_IMAGE_COMPRESSION).as_deref(), Some(wanted));
            let shared = object.element(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE).unwrap();
            let measures = shared.items().unwrap()[0].element(tags::PIXEL_MEASURES_SEQUENCE).ok();
            // Without a thickness, which a frame that lies nowhere has not, some read no measures.
            let numbers_of = |measures: &dicom_object::mem::InMemElement| {
                let item = &measures.items().unwrap()[0];
                let number = |tag| item.element(tag).unwrap().to_multi_float64().unwrap();
                [tags::PIXEL_SPACING, tags::SLICE_THICKNESS].map(number)
            };
            let wanted = placement.map(|_| [vec![0.3, 0.2], vec![2.0]]);
            assert_eq!(measures.map(numbers_of), wanted);
        }
    }
}

#[test]
fn a_segmentation_that_refers_to_no_image_of_an_archive_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.dcm");
    let annotation = noisy(&[2]);
    for (stored, archived) in [("DICOM US, RLE", true), ("10 JPEG images", false)] {
        let clip = ClipInfo { format: stored.into(), ..info() };
        for origin in [None, Some(DicomOrigin::default())] {
            let told = archived && origin.is_none();
            let job = Job { origin, ..Job::new(&annotation, &clip) };
            let said = export_clip(&job, ExportFormat::DicomSeg, &path).unwrap();
            assert_eq!(said.contains("refers to no image of an archive"), told, "{said}");
        }
    }
}

#[test]
fn segmentations_that_differ_are_objects_of_different_names() {
    let dir = tempfile::tempdir().unwrap();
    let (annotation, clip, path) = (noisy(&[2]), info(), dir.path().join("a.dcm"));
    let coded = |format, study: &str, codes: Codes| {
        let origin = Some(DicomOrigin { study_uid: study.to_owned(), ..DicomOrigin::default() });
        let job = Job { origin, codes, ..Job::new(&annotation, &clip) };
        sonomark::export::export(&job, format, &path).unwrap();
        let object = dicom_object::open_file(&path).unwrap();
        [tags::SOP_INSTANCE_UID, tags::SERIES_INSTANCE_UID]
            .map(|tag| object.element(tag).unwrap().to_str().unwrap().into_owned())
    };
    let names = |format, study| coded(format, study, Codes::new());
    let first = names(ExportFormat::DicomSeg, "1.2.3");
    assert_eq!(names(ExportFormat::DicomSeg, "1.2.3"), first);
    // In another way, and of images whose identifiers were mapped.
    for (format, study) in
        [(ExportFormat::DicomSegFractional, "1.2.3"), (ExportFormat::DicomSeg, "2.25.7")]
    {
        let other = names(format, study);
        assert!(other[0] != first[0] && other[1] != first[1], "{format:?} {study}");
    }
    // And where a structure is said to be something else.
    let nerve = Code { scheme: "SCT".into(), value: "3057000".into(), meaning: "Nerve".into() };
    let other = coded(ExportFormat::DicomSeg, "1.2.3", [("vessel".to_owned(), nerve)].into());
    assert!(other[0] != first[0] && other[1] != first[1]);
}

#[test]
fn what_images_say_of_their_loss_is_said_again_of_what_is_made_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let (image, path) = (dir.path().join("image.dcm"), dir.path().join("a.dcm"));
    let shipped = crate::codec::data().join("reading/monochrome1.dcm");
    let mut object = dicom_object::open_file(shipped).unwrap();
    // A text of a person is no defined term, and stays where it is.
    let twice = "ISO_10918_1\\ISO_15444_1";
    for (method, wanted) in [(twice, Some(twice)), ("DOE JANE", None)] {
        for (tag, vr, text) in [
            (tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01"),
            (tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, "10.5\\3"),
            (tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS, method),
        ] {
            object.put(DataElement::new(tag, vr, PrimitiveValue::from(text)));
        }
        object.write_to_file(&image).unwrap();
        let clip = open(&image, &OpenOptions::default()).unwrap();
        let (width_px, height_px) = (clip.info().width_px, clip.info().height_px);
        let mut track = Track::new("nerve", 0);
        let mask = Bitmap::from_fn(width_px, height_px, |x, _| x < 3).to_mask();
        track.masks.insert(0, held(mask));
        let mut annotation = Annotation::default();
        annotation.tracks.insert(TrackId(1), track);
        let frames = |at| clip.frame(at).map_err(|error| error.to_string());
        let (mut privacy, key) = (Privacy::default(), Some([7; 32]));
        privacy.clean_pixels = true;
        let origin = clip.dicom_origin();
        let (frames, privacy) = (Some(&frames as &FrameReader), Some(privacy));
        let job = Job { origin, frames, privacy, key, ..Job::new(&annotation, clip.info()) };
        for format in [ExportFormat::DicomSeg, ExportFormat::Dicom] {
            sonomark::export::export(&job, format, &path).unwrap();
            let made = dicom_object::open_file(&path).unwrap();
            let ratios = made.element(tags::LOSSY_IMAGE_COMPRESSION_RATIO).unwrap();
            assert_eq!(ratios.to_multi_float64().unwrap(), [10.5, 3.0]);
            let methods = made.element(tags::LOSSY_IMAGE_COMPRESSION_METHOD).ok();
            let methods = methods.map(|held| held.to_str().unwrap().trim().to_owned());
            assert_eq!(methods.as_deref(), wanted);
        }
    }
}

#[test]
fn the_times_of_all_frames_leave_with_a_clip_however_many_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.dcm");
    // A plane over time of a volume without tags: nothing is burned into it.
    let steps_mm = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    let placement = Some(Placement { origin_mm: [0.0; 3], steps_mm });
    let gray = |at: usize| Ok(Arc::new(GrayFrame::new(4, 2, vec![(at % 251) as u8; 8]).unwrap()));
    let annotation = Annotation::default();
    // Nine thousand numbers of three decimals are what a length of 16 bits holds.
    for (frames, timed, syntax) in [
        (5_000, true, "1.2.840.10008.1.2.1"),
        (10_000, true, "1.2.840.10008.1.2"),
        (5_000, false, "1.2.840.10008.1.2.1"),
        (15_000, false, "1.2.840.10008.1.2"),
    ] {
        let mut now = 0.0;
        let times = (0..frames).map(|at| {
            let shown = now;
            now += if at % 3 == 0 { 40.0123 } else { 33.3667 };
            shown
        });
        let times: Vec<f64> = times.filter(|_| timed).collect();
        let clip = ClipInfo {
            width_px: 4,
            height_px: 2,
            frames,
            frame_time_ms: timed.then_some(35.0),
            frame_times_ms: times.clone(),
            placement,
            ..info()
        };
        let (privacy, key) = (Some(Privacy::default()), Some([7; 32]));
        let job = Job { frames: Some(&gray), privacy, key, ..Job::new(&annotation, &clip) };
        sonomark::export::export(&job, ExportFormat::Dicom, &path).unwrap();
        let found = open(&path, &OpenOptions::default()).unwrap().info().frame_times_ms.clone();
        assert_eq!(found.len(), times.len());
        assert!(found.iter().zip(&times).all(|(a, b)| (a - b).abs() < 1e-3), "{frames}");
        let object = dicom_object::open_file(&path).unwrap();
        assert_eq!(object.meta().transfer_syntax().trim_end_matches('\0'), syntax, "{frames}");
        let vector = if timed { tags::FRAME_TIME_VECTOR } else { tags::PAGE_NUMBER_VECTOR };
        let numbers = object.element(vector).unwrap().to_str().unwrap().into_owned();
        assert_eq!(numbers.trim().split('\\').count(), frames);
        let pointer = object.element(tags::FRAME_INCREMENT_POINTER).unwrap();
        assert_eq!(pointer.value().to_tag().unwrap(), vector);
    }
}
