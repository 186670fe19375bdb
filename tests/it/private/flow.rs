//! Colours leave with a clip; what is written in colour outside of its regions does not.

use std::fs;
use std::path::Path;

use sonomark::codec::{OpenOptions, open};

use super::{Home, element, head, holds, region};

const SIZE: [u16; 2] = [64, 48];
const FRAMES: usize = 3;
/// Where ultrasound is shown: first column and row, last column and row.
const VISIBLE: [u32; 4] = [16, 8, 55, 39];

fn is_visible(at: usize) -> bool {
    let (x, y) = (at as u32 % 64, at as u32 / 64);
    let [x0, y0, x1, y1] = VISIBLE;
    (x0..=x1).contains(&x) && (y0..=y1).contains(&y)
}

/// Gray tissue with flow in it from the second frame on, and a name in yellow outside.
fn frame(index: usize) -> Vec<[u8; 3]> {
    let mut tissue = fastrand::Rng::with_seed(index as u64);
    let pixel = |at: usize| match (is_visible(at), at % 64) {
        (false, x) => [255 * u8::from(x % 3 == 0), 200 * u8::from(x % 3 == 0), 0],
        (true, 24..40) if index > 0 && at / 64 < 30 => [200 - index as u8, (at % 90) as u8, 20],
        _ => [tissue.u8(40..90); 3],
    };
    (0..64 * 48).map(pixel).collect()
}

fn flow() -> Vec<u8> {
    let mut out = head();
    element(&mut out, 8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.3.1");
    element(&mut out, 0x18, 0x6011, b"SQ", &region(1, &VISIBLE));
    element(&mut out, 0x28, 0x02, b"US", &3u16.to_le_bytes());
    element(&mut out, 0x28, 0x04, b"CS", b"RGB");
    element(&mut out, 0x28, 0x06, b"US", &0u16.to_le_bytes());
    element(&mut out, 0x28, 0x08, b"IS", FRAMES.to_string().as_bytes());
    for (tag, value) in [(0x10, SIZE[1]), (0x11, SIZE[0]), (0x100, 8), (0x101, 8), (0x102, 7)] {
        element(&mut out, 0x28, tag, b"US", &value.to_le_bytes());
    }
    let pixels: Vec<u8> = (0..FRAMES).flat_map(frame).flatten().collect();
    element(&mut out, 0x7fe0, 0x10, b"OB", &pixels);
    out
}

/// The colours of all frames of a file or folder.
fn colours(path: &Path) -> Vec<Vec<[u8; 3]>> {
    let clip = open(path, &OpenOptions::default()).unwrap();
    (0..clip.info().frames).map(|index| clip.frame(index).unwrap().rgb()).collect()
}

#[test]
fn colours_leave_with_the_clip_and_a_coloured_name_outside_does_not() {
    let (home, folder) = (Home(tempfile::tempdir().unwrap()), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(at("flow.dcm"), flow()).unwrap();
    let stored: Vec<_> = (0..FRAMES).map(frame).collect();
    assert_eq!(colours(Path::new(&at("flow.dcm"))), stored, "as stored, where nothing is hidden");
    let black_outside = |frame: &Vec<[u8; 3]>| -> Vec<[u8; 3]> {
        let pixels = frame.iter().enumerate();
        pixels.map(|(at, pixel)| if is_visible(at) { *pixel } else { [0; 3] }).collect()
    };
    let hidden: Vec<_> = stored.iter().map(black_outside).collect();
    // A person may say that all of it is to stay.
    for (outside, wanted) in [("hide", &hidden), ("box:0,0,99,99", &stored)] {
        for (format, out) in [("dicom", "out.dcm"), ("frames", "out")] {
            let words = ["--format", format, "--outside", outside, "--out"];
            let output =
                home.run(&[&["export", &at("flow.dcm")][..], &words, &[&at(out)]].concat());
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(colours(Path::new(&at(out))) == *wanted, "{format}, {outside}");
        }
    }
    // And the list of formats says so.
    for (_, name, about) in sonomark::export::ExportFormat::all() {
        let holds_the_clip = ["dicom", "frames"].contains(&name);
        assert_eq!(about.contains("8 bits, gray or colour"), holds_the_clip, "{name}: {about}");
    }
    let written = fs::read(at("out.dcm")).unwrap();
    let mut planar = Vec::new();
    element(&mut planar, 0x28, 0x06, b"US", &0u16.to_le_bytes());
    assert!(holds(&written, "RGB") && written.windows(planar.len()).any(|w| w == planar));
}

#[test]
fn a_clip_whose_only_colour_is_hidden_leaves_as_gray() {
    let (home, folder) = (Home(tempfile::tempdir().unwrap()), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(at("flow.dcm"), flow()).unwrap();
    let words = ["--format", "dicom", "--outside", "box:16,31,55,39", "--out", &at("gray.dcm")];
    let output = home.run(&[&["export", &at("flow.dcm")][..], &words].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let written = fs::read(at("gray.dcm")).unwrap();
    assert!(holds(&written, "MONOCHROME2") && !holds(&written, "RGB"));
}
