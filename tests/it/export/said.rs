//! Exports say what the screen says, and nothing that nobody knows.

use std::fs;

use dicom_dictionary_std::tags;
use sonomark::domain::{Annotation, ClipInfo, Window};
use sonomark::export::{ExportFormat, Job, Target, read};

use super::{export, formats, info, noisy, target_of};

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
        let target = Target { info: &info(), frame_names: &[], origin: None };
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
fn a_segmentation_invents_no_scale_and_no_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.dcm");
    for spacing in [None, Some([0.2, 0.3])] {
        let clip = ClipInfo { pixel_spacing_mm: spacing, ..info() };
        for lossy in [false, true] {
            let annotation = noisy(&[2]);
            let job = Job { lossy, ..Job::new(&annotation, &clip) };
            sonomark::export::export(&job, ExportFormat::DicomSeg, &path).unwrap();
            let object = dicom_object::open_file(&path).unwrap();
            let text =
                |tag| object.element(tag).ok().map(|held| held.to_str().unwrap().into_owned());
            assert_eq!(text(tags::FRAME_OF_REFERENCE_UID), None);
            let wanted = if lossy { "01" } else { "00" };
            assert_eq!(text(tags::LOSSY_IMAGE_COMPRESSION).as_deref(), Some(wanted));
            let shared = object.element(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE).unwrap();
            let measures = shared.items().unwrap()[0].element(tags::PIXEL_MEASURES_SEQUENCE).ok();
            let spacing_of = |measures: &dicom_object::mem::InMemElement| {
                let item = &measures.items().unwrap()[0];
                assert!(item.element(tags::SLICE_THICKNESS).is_err());
                item.element(tags::PIXEL_SPACING).unwrap().to_multi_float64().unwrap()
            };
            assert_eq!(measures.map(spacing_of), spacing.map(|[x, y]| vec![y, x]));
        }
    }
}
