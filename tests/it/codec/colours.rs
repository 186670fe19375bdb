//! What the colours of compressed DICOM frames are, by what the frames and the header say.

use std::fs;
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::medium::{Image, head, with_fragments};
use super::reading::ffmpeg;
use super::{has_ffmpeg, opened, refusal};
use crate::surroundings::skipped;

const SIZE: (u16, u16) = (48, 32);

/// Grays that every compression keeps well, as RGB.
fn grays() -> Vec<u8> {
    let gray = |i: usize| (60 + 2 * (i % 48) + 2 * (i / 48)) as u8;
    (0..48 * 32).flat_map(|i| [gray(i); 3]).collect()
}

/// Luma (ITU-R BT.601) of a gray and two chromas that say "gray", when all three are taken for red, green and blue.
fn mistaken(gray: u8) -> f32 {
    0.299 * f32::from(gray) + (0.587 + 0.114) * 128.0
}

/// A DICOM file of one compressed frame.
fn write(dir: &Path, syntax: &str, colour: &str, frame: &[u8]) -> PathBuf {
    let image = Image {
        syntax: syntax.as_bytes(),
        colour: colour.as_bytes(),
        series: "1",
        number: "1",
        frames: 1,
        size: SIZE,
    };
    let path = dir.join("colours.dcm");
    fs::write(&path, with_fragments(head(&image), &[frame])).unwrap();
    path
}

/// Asserts that the pixels are the grays as they are, or as they are when luma and chromas are taken for colours.
fn assert_grays(pixels: &[u8], are_mistaken: bool, case: &str) {
    for (pixel, gray) in pixels.iter().zip(grays().into_iter().step_by(3)) {
        let wanted = if are_mistaken { mistaken(gray) } else { f32::from(gray) };
        assert!((f32::from(*pixel) - wanted).abs() <= 4.0, "{case}: {pixel} is not {wanted}");
    }
}

/// A baseline JPEG of the grays (luma and chromas) with this segment instead of JFIF's.
fn baseline(segment: &[u8]) -> Vec<u8> {
    let mut jpeg = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut jpeg, 95);
    encoder.write_image(&grays(), 48, 32, ExtendedColorType::Rgb8).unwrap();
    assert_eq!(jpeg[2..4], [0xff, 0xe0], "JFIF comes first");
    let length = usize::from(u16::from_be_bytes([jpeg[4], jpeg[5]]));
    [&jpeg[..2], segment, &jpeg[4 + length..]].concat()
}

#[test]
fn the_colours_of_a_jpeg_are_what_it_says_or_else_what_the_header_says() {
    let dir = tempfile::tempdir().unwrap();
    let adobe = |how: u8| [&[0xff, 0xee, 0, 14][..], b"Adobe\0\x64\0\0\0\0", &[how]].concat();
    let jfif = [&[0xff, 0xe0, 0, 16][..], b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"].concat();
    let cases = [
        ("no marker", vec![], "YBR_FULL_422", false),
        ("no marker", vec![], "RGB", true),
        ("JFIF", jfif, "RGB", false),
        ("Adobe 1", adobe(1), "RGB", false),
        ("Adobe 0", adobe(0), "YBR_FULL", true),
    ];
    for (name, segment, colour, are_mistaken) in cases {
        let path = write(dir.path(), "1.2.840.10008.1.2.4.50", colour, &baseline(&segment));
        assert_grays(
            &opened(&path).frame(0).unwrap().pixels,
            are_mistaken,
            &format!("{name}, {colour}"),
        );
    }
}

#[test]
fn a_lossless_frame_of_a_kind_that_is_decoded_wrongly_is_refused() {
    if !has_ffmpeg() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (raw, coded) = (dir.path().join("raw.yuv"), dir.path().join("a.jpg"));
    fs::write(&raw, [&grays()[..48 * 32], &[128; 2 * 48 * 32]].concat()).unwrap();
    // ffmpeg gives every component two rows at a time.
    let input = ["-f", "rawvideo", "-pix_fmt", "yuvj444p", "-s", "48x32", "-i"];
    let output = ["-frames:v", "1", "-c:v", "ljpeg", "-strict", "-1", "-f", "image2"];
    if !ffmpeg(&[&input[..], &[raw.to_str().unwrap()], &output].concat(), &coded) {
        return skipped("this ffmpeg has no encoder of lossless JPEG");
    }
    let path = write(dir.path(), "1.2.840.10008.1.2.4.70", "YBR_FULL", &fs::read(coded).unwrap());
    let why = refusal(&path);
    assert!(why.contains("components of several sizes") && why.contains("gdcmconv"), "{why}");
}

#[test]
fn pictures_and_videos_keep_their_colours_beside_their_gray() {
    let dir = tempfile::tempdir().unwrap();
    // An odd size: chroma of half the size would not fit.
    let pixel = |x: u32, y: u32| match x {
        0..20 => [(x * 9 + y) as u8; 3],
        20..40 => [200, (y * 5) as u8, 30],
        _ => [20, 60, 220],
    };
    let picture = image::RgbImage::from_fn(51, 37, |x, y| image::Rgb(pixel(x, y)));
    let stored: Vec<[u8; 3]> = picture.pixels().map(|pixel| pixel.0).collect();
    for name in ["a.png", "a.bmp", "a.tif", "a.webp"] {
        picture.save(dir.path().join(name)).unwrap();
        let frame = opened(&dir.path().join(name)).frame(0).unwrap();
        assert_eq!(frame.rgb(), stored, "{name}");
        assert_eq!(frame.colours.runs().len(), 37, "{name}: grays are not held twice");
    }
    if !has_ffmpeg() {
        return;
    }
    let (still, video) = (dir.path().join("a.png"), dir.path().join("a.mkv"));
    let input = ["-loop", "1", "-i", still.to_str().unwrap(), "-frames:v", "3"];
    assert!(ffmpeg(&[&input[..], &["-c:v", "ffv1", "-pix_fmt", "bgr0"]].concat(), &video));
    let clip = opened(&video);
    let frame = clip.frame(2).unwrap();
    let gray = opened(&still).frame(0).unwrap();
    assert_eq!((frame.width_px, frame.height_px, clip.info().frames), (51, 37, 3));
    for (at, (found, wanted)) in frame.rgb().iter().zip(&stored).enumerate() {
        let off = found.iter().zip(wanted).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(off <= Some(4), "{at}: {found:?}, not {wanted:?}");
        assert!(frame.pixels[at].abs_diff(gray.pixels[at]) <= 2);
    }
}
