//! Enhanced ultrasound volumes: slices of one volume, or of several over time.

use std::fs;
use std::path::Path;

use sonomark::codec::Clip;
use sonomark::domain::ClipKind;

use super::medium::{Image, head_with};
use super::opened;
use crate::private::element;

/// A frame: the depth of its plane, mm, and the number of its moment, as far as the file tells; and the value of its pixels.
type Slice = (Option<f64>, Option<u32>, u8);

/// A sequence with these items.
fn sequence(group: u16, number: u16, items: &[Vec<u8>]) -> Vec<u8> {
    let mut held = Vec::new();
    for item in items {
        held.extend([0xfe, 0xff, 0, 0xe0]);
        held.extend((item.len() as u32).to_le_bytes());
        held.extend(item);
    }
    let mut out = Vec::new();
    element(&mut out, group, number, b"SQ", &held);
    out
}

fn doubles(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// How an object tells where and when its frames lie.
#[derive(Clone, Copy, Default)]
struct Told {
    /// The moment by the index of a dimension and not by its number.
    indexed: bool,
    /// A place in the patient is begun, and nothing stands in it.
    empty: bool,
}

/// Writes an object of such frames.
fn write(path: &Path, slices: &[Slice], Told { indexed, empty }: Told) {
    let (syntax, colour, size) = (b"1.2.840.10008.1.2.1", b"MONOCHROME2", (8, 6));
    let image = Image { syntax, colour, series: "1", number: "1", frames: slices.len(), size };
    let mut more = Vec::new();
    element(&mut more, 8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.6.2");
    element(&mut more, 8, 0x18, b"UI", b"1.2.3.4");
    element(&mut more, 0x20, 0x52, b"UI", b"1.2.5");
    element(&mut more, 0x20, 0x9312, b"UI", b"1.2.6");
    if indexed {
        // Of the second dimension: the offset of the time.
        let dimension = |tag: [u16; 2]| {
            let mut item = Vec::new();
            element(&mut item, 0x20, 0x9165, b"AT", &tag.map(u16::to_le_bytes).concat());
            item
        };
        let dimensions = [dimension([0x20, 0x9301]), dimension([0x20, 0x930d])];
        more.extend(sequence(0x20, 0x9222, &dimensions));
    }
    let mut out = head_with(&image, &more);
    let (mut measures, mut directions) = (Vec::new(), Vec::new());
    element(&mut measures, 0x28, 0x30, b"DS", b"0.5\\0.25");
    element(&mut directions, 0x20, 0x9302, b"FD", &doubles(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]));
    let shared = [sequence(0x28, 0x9110, &[measures]), sequence(0x20, 0x930f, &[directions])];
    out.extend(sequence(0x5200, 0x9229, &[shared.concat()]));
    let frame = |&(depth, moment, _): &Slice| {
        let (mut content, mut position) = (Vec::new(), Vec::new());
        match moment {
            Some(moment) if indexed => {
                let indices = [1u32.to_le_bytes(), moment.to_le_bytes()].concat();
                element(&mut content, 0x20, 0x9157, b"UL", &indices);
            }
            Some(moment) => element(&mut content, 0x20, 0x9128, b"UL", &moment.to_le_bytes()),
            None => {}
        }
        let mut groups = sequence(0x20, 0x9111, &[content]);
        if let Some(depth) = depth {
            element(&mut position, 0x20, 0x9301, b"FD", &doubles(&[1.0, 2.0, depth]));
            groups.extend(sequence(0x20, 0x930e, &[position]));
        }
        if empty {
            groups.extend(sequence(0x20, 0x9113, &[Vec::new()]));
        }
        groups
    };
    let frames: Vec<Vec<u8>> = slices.iter().map(frame).collect();
    out.extend(sequence(0x5200, 0x9230, &frames));
    let pixels: Vec<u8> = slices.iter().flat_map(|(.., value)| [*value; 48]).collect();
    element(&mut out, 0x7fe0, 0x10, b"OB", &pixels);
    fs::write(path, out).unwrap();
}

fn values(clip: &Clip) -> Vec<u8> {
    (0..clip.info().frames).map(|i| clip.frame(i).unwrap().pixels[0]).collect()
}

#[test]
fn the_slices_of_a_volume_of_ultrasound_are_a_volume() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.dcm");
    let at = |depth, moment, value| (Some(depth), moment, value);
    let shuffled = [at(1.5, None, 30), at(0.0, None, 0), at(1.0, None, 20), at(0.5, None, 10)];
    for empty in [false, true] {
        write(&path, &shuffled, Told { empty, ..Told::default() });
        let clip = opened(&path);
        let info = clip.info();
        assert_eq!((info.kind, info.frame_time_ms), (ClipKind::Volume, None));
        let wanted = (vec![0, 10, 20, 30], Some([0.25, 0.5]));
        assert_eq!((values(&clip), info.pixel_spacing_mm), wanted);
        let place = info.placement.unwrap();
        assert_eq!(place.origin_mm, [1.0, 2.0, 0.0]);
        assert_eq!(place.steps_mm, [[0.25, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.5]]);
        // Where it lies is said of the volume's coordinates, which no one takes for those of the patient.
        assert_eq!(clip.dicom_origin().unwrap().space_uid.as_deref(), Some("1.2.6"));
        let told = clip.notes().join(" ");
        assert!(told.contains("another order"), "{told}");
        assert!(told.contains("coordinates of the volume"), "{told}");
    }

    // A sweep passes every plane at a moment of its own; and where nothing is told it is one volume.
    for slices in [
        [at(0.0, Some(1), 0), at(0.5, Some(2), 10), at(1.0, Some(3), 20)],
        [(None, None, 0), (None, None, 10), (None, None, 20)],
    ] {
        write(&path, &slices, Told::default());
        let clip = opened(&path);
        assert_eq!((clip.info().kind, values(&clip)), (ClipKind::Volume, vec![0, 10, 20]));
    }
}

#[test]
fn several_volumes_of_ultrasound_are_a_clip_and_it_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.dcm");
    // The same two planes at two moments; told by the planes alone, by the moments alone, and by both.
    for (planes, moments, indexed) in
        [(true, false, false), (false, true, false), (false, true, true), (true, true, true)]
    {
        let slice = |depth: f64, moment: u32, value: u8| {
            (planes.then_some(depth), moments.then_some(moment), value)
        };
        let slices = [slice(0.0, 1, 40), slice(0.5, 1, 10), slice(0.0, 2, 30), slice(0.5, 2, 20)];
        write(&path, &slices, Told { indexed, ..Told::default() });
        let clip = opened(&path);
        assert_eq!((clip.info().kind, values(&clip)), (ClipKind::Cine, vec![40, 10, 30, 20]));
        let told = clip.notes().join(" ");
        assert!(told.contains("several volumes of ultrasound"), "{planes} {moments}: {told}");
    }
}
