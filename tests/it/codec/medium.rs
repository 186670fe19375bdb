//! What lies on media and in archives: video in DICOM, DICOMDIR, series of images.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sonomark::codec::{Clip, OpenOptions, clips_of, is_complete, open};
use sonomark::domain::ClipKind;

use super::{has_ffmpeg, opened, refusal};
use crate::private::{element, region};
use crate::surroundings::skipped;

const EXPLICIT: &[u8] = b"1.2.840.10008.1.2.1";

/// What tells one DICOM image from another.
pub(super) struct Image<'a> {
    pub(super) syntax: &'a [u8],
    pub(super) colour: &'a [u8],
    pub(super) series: &'a str,
    pub(super) number: &'a str,
    pub(super) frames: usize,
    pub(super) size: (u16, u16),
}

/// A DICOM image up to its pixels.
pub(super) fn head(image: &Image) -> Vec<u8> {
    head_with(image, &[])
}

/// The same with elements of the groups 0x10 to 0x18.
pub(super) fn head_with(image: &Image, more: &[u8]) -> Vec<u8> {
    let mut meta = Vec::new();
    element(&mut meta, 2, 0x10, b"UI", image.syntax);
    let mut out = vec![0; 128];
    out.extend(b"DICM");
    element(&mut out, 2, 0, b"UL", &(meta.len() as u32).to_le_bytes());
    out.extend(meta);
    element(&mut out, 8, 0x60, b"CS", b"US");
    out.extend(more);
    element(&mut out, 0x20, 0x0d, b"UI", b"1.2.3");
    element(&mut out, 0x20, 0x0e, b"UI", format!("1.2.{}", image.series).as_bytes());
    element(&mut out, 0x20, 0x11, b"IS", image.series.as_bytes());
    element(&mut out, 0x20, 0x13, b"IS", image.number.as_bytes());
    let samples: u16 = if image.colour.starts_with(b"MONO") { 1 } else { 3 };
    element(&mut out, 0x28, 0x02, b"US", &samples.to_le_bytes());
    element(&mut out, 0x28, 0x04, b"CS", image.colour);
    element(&mut out, 0x28, 0x08, b"IS", image.frames.to_string().as_bytes());
    for (tag, value) in
        [(0x10, image.size.1), (0x11, image.size.0), (0x100, 8), (0x101, 8), (0x102, 7)]
    {
        element(&mut out, 0x28, tag, b"US", &value.to_le_bytes());
    }
    out
}

/// The bytes of a video as two fragments.
fn film(syntax: &[u8], frames: usize, video: &[u8]) -> Vec<u8> {
    let colour = b"YBR_PARTIAL_420";
    let image = Image { syntax, colour, series: "1", number: "1", frames, size: (64, 48) };
    let middle = video.len() / 4 * 2;
    with_fragments(head(&image), &[&video[..middle], &video[middle..]])
}

/// Compressed pixels after an empty offset table.
pub(super) fn with_fragments(mut out: Vec<u8>, fragments: &[&[u8]]) -> Vec<u8> {
    out.extend([0xe0, 0x7f, 0x10, 0, b'O', b'B', 0, 0, 0xff, 0xff, 0xff, 0xff]);
    for part in std::iter::once(&&[][..]).chain(fragments) {
        out.extend([0xfe, 0xff, 0, 0xe0]);
        out.extend((part.len().next_multiple_of(2) as u32).to_le_bytes());
        out.extend(*part);
        out.resize(out.len() + part.len() % 2, 0);
    }
    out.extend([0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0]);
    out
}

fn pictures(clip: &Clip) -> Vec<Vec<u8>> {
    // Backwards, so that seeking is needed.
    let mut all: Vec<Vec<u8>> =
        (0..clip.info().frames).rev().map(|i| clip.frame(i).unwrap().pixels.clone()).collect();
    all.reverse();
    all
}

#[test]
fn video_in_dicom_has_the_frames_of_the_video() {
    if !has_ffmpeg() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let ffmpeg = |words: &[&str], out: &Path| -> bool {
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-y"]).args(words).arg(out).status().unwrap().success()
    };
    let source = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=1.3"];
    let kinds = [
        ("mpeg2video", "ts", "1.2.840.10008.1.2.4.100"),
        ("libx264", "mp4", "1.2.840.10008.1.2.4.102"),
        ("libx265", "mp4", "1.2.840.10008.1.2.4.107"),
    ];
    for (encoder, container, syntax) in kinds {
        let video = at(&format!("{encoder}.{container}"));
        let encoded = ["-c:v", encoder, "-pix_fmt", "yuv420p", "-x265-params", "log-level=none"];
        if !ffmpeg(&[&source[..], &encoded].concat(), &video) {
            skipped(&format!("this ffmpeg has no encoder {encoder}"));
            continue;
        }
        let expected = opened(&video);
        assert_eq!(expected.info().frames, 13, "{encoder}");
        let mut streams = vec![fs::read(&video).unwrap()];
        if encoder == "libx264" {
            // The bare stream, without a container.
            let bare = at("bare.h264");
            let input = video.to_str().unwrap();
            assert!(ffmpeg(&["-i", input, "-c", "copy", "-bsf:v", "h264_mp4toannexb"], &bare));
            streams.push(fs::read(&bare).unwrap());
        }
        for stream in streams {
            let path = at("film.dcm");
            fs::write(&path, film(syntax.as_bytes(), 13, &stream)).unwrap();
            is_complete(&path).unwrap();
            let clip = opened(&path);
            let info = clip.info();
            assert_eq!((info.kind, info.frames), (ClipKind::Cine, 13), "{encoder}");
            assert!(info.format.contains("video") && clip.privacy().badge().is_some());
            assert!(pictures(&clip) == pictures(&expected), "{encoder}");
            fs::write(&path, film(syntax.as_bytes(), 14, &stream)).unwrap();
            let why = refusal(&path);
            assert!(why.contains("declares 14 frames and holds 13"), "{why}");
            // The name in a sentence is the file's, not that of what ffmpeg reads.
            fs::write(&path, film(syntax.as_bytes(), 13, &[7; 4000])).unwrap();
            let why = refusal(&path);
            assert!(why.contains("film.dcm") && !why.contains("/proc/"), "{why}");
        }
        // To ffmpeg a lone JPEG is a video too.
        let picture = at("one.jpg");
        assert!(ffmpeg(&[&source[..], &["-frames:v", "1"]].concat(), &picture));
        let path = at("film.dcm");
        fs::write(&path, film(syntax.as_bytes(), 1, &fs::read(&picture).unwrap())).unwrap();
        let why = refusal(&path);
        assert!(why.contains("video and holds mjpeg"), "{why}");
    }
}

/// (7 x + 13 y + x y) mod 256 of 12 x 8 px by OpenJPH 0.26.3, lossless.
const HIGH_THROUGHPUT: &str = "\
    ff4fff51002940000000000c0000000800000000000000000000000c0000000800000000000000000001070101ff50\
    0008000200000002ff52000c00020001000504044001ff5c00132048505050505050505050505050484848ff640017\
    00014f70656e4a50482056657220302e32362e332eff90000a00000000006a0001ff93c025f50087740000c012809e\
    01077400c0124013401180fd27730076c400423400006300c01340151004a09efc800b74003a05fc00e4775500f400\
    8dc400c02a20157009000c00c5c43db25500980141ece00f6089ecb700fef04300ffd9";

#[test]
fn high_throughput_jpeg_2000_is_read_exactly() {
    if !has_ffmpeg() {
        return;
    }
    let listed = Command::new("ffmpeg").args(["-v", "quiet", "-decoders"]).output().unwrap();
    if !String::from_utf8_lossy(&listed.stdout).contains("libopenjpeg") {
        return skipped("this ffmpeg has no OpenJPEG");
    }
    let byte = |at: usize| u8::from_str_radix(&HIGH_THROUGHPUT[at..at + 2], 16).unwrap();
    let stream: Vec<u8> = (0..HIGH_THROUGHPUT.len()).step_by(2).map(byte).collect();
    let (syntax, colour) = (b"1.2.840.10008.1.2.4.201", b"MONOCHROME2");
    let image = Image { syntax, colour, series: "1", number: "1", frames: 1, size: (12, 8) };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ht.dcm");
    fs::write(&path, with_fragments(head(&image), &[&stream])).unwrap();
    let frame = opened(&path).frame(0).unwrap();
    let expected = (0..96).map(|i| (i % 12, i / 12)).map(|(x, y)| (7 * x + 13 * y + x * y) as u8);
    assert_eq!(frame.pixels, expected.collect::<Vec<u8>>());
    fs::write(&path, with_fragments(head(&image), &[&stream[..150]])).unwrap();
    let why = refusal(&path);
    assert!(why.contains("ht.dcm") && why.contains("decompress it first"), "{why}");
}

/// A file of `frames` frames whose pixels all are `value`.
pub(crate) fn write_image(path: &Path, series: &str, number: &str, frames: usize, value: u8) {
    let (colour, size) = (b"MONOCHROME2", (8, 6));
    let image = Image { syntax: EXPLICIT, colour, series, number, frames, size };
    let mut out = head(&image);
    element(&mut out, 0x7fe0, 0x10, b"OB", &vec![value; 48 * frames]);
    fs::write(path, out).unwrap();
}

fn write_listing(path: &Path, names: &[&str]) {
    let mut records = Vec::new();
    for name in names {
        let mut record = Vec::new();
        element(&mut record, 4, 0x1430, b"CS", b"IMAGE");
        element(&mut record, 4, 0x1500, b"CS", name.as_bytes());
        records.extend([0xfe, 0xff, 0, 0xe0]);
        records.extend((record.len() as u32).to_le_bytes());
        records.extend(record);
    }
    let mut meta = Vec::new();
    element(&mut meta, 2, 0x10, b"UI", EXPLICIT);
    let mut out = vec![0; 128];
    out.extend(b"DICM");
    element(&mut out, 2, 0, b"UL", &(meta.len() as u32).to_le_bytes());
    out.extend(meta);
    element(&mut out, 4, 0x1220, b"SQ", &records);
    fs::write(path, out).unwrap();
}

#[test]
fn a_dicomdir_gives_its_clips_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().join("images");
    fs::create_dir(&images).unwrap();
    // Series 2: three stills, one clip. Series 10: a cine and a still, two clips.
    write_image(&images.join("a"), "10", "2", 1, 50);
    write_image(&images.join("b"), "2", "3", 1, 30);
    write_image(&images.join("c"), "2", "1", 1, 10);
    write_image(&images.join("d"), "10", "1", 4, 40);
    write_image(&images.join("e"), "2", "2", 1, 20);
    let listing = dir.path().join("DICOMDIR");
    write_listing(&listing, &["IMAGES\\A", "IMAGES\\B", "IMAGES\\C", "IMAGES\\D", "IMAGES\\E"]);
    let why = refusal(&listing);
    assert!(why.contains("3 DICOM clips") && why.contains("--series NUMBER"), "{why}");
    // The folder of the list, the list, and the folder of the files hold the same.
    for path in [dir.path(), &listing, &images] {
        let clip = |number| open(path, &OpenOptions { series: Some(number), ..Default::default() });
        let values = |number| -> Vec<u8> {
            let clip = clip(number).unwrap();
            (0..clip.info().frames).map(|i| clip.frame(i).unwrap().pixels[0]).collect()
        };
        assert_eq!(values(1), [10, 20, 30], "{}", path.display());
        assert_eq!((values(2), values(3)), (vec![40; 4], vec![50]), "{}", path.display());
        assert!(clip(4).is_err() && clip(0).is_err());
        assert_eq!(clips_of(path), [path]);
    }
    // Clips of one file each are listed one by one.
    write_listing(&listing, &["IMAGES\\A", "IMAGES\\D"]);
    let listed: Vec<PathBuf> = ["d", "a"].iter().map(|name| images.join(name)).collect();
    assert_eq!(clips_of(&listing), listed);
    // Named twice, a file is still one.
    write_listing(&listing, &["IMAGES\\A", "IMAGES\\D", "IMAGES\\A"]);
    assert_eq!(clips_of(&listing), listed);
    write_listing(&listing, &["IMAGES\\A", "..\\SECRET"]);
    assert!(refusal(&listing).contains("lists \"..\\SECRET\", which is not there"));
}

/// An image of a series at a depth, mm, and at a time of a volume.
fn write_slice(folder: &Path, number: usize, depth: f64, time: usize, value: u8) {
    let (colour, size) = (b"MONOCHROME2", (8, 6));
    let text = number.to_string();
    let image = Image { syntax: EXPLICIT, colour, series: "4", number: &text, frames: 1, size };
    let mut more = Vec::new();
    element(&mut more, 8, 0x18, b"UI", format!("1.2.9.{number}").as_bytes());
    element(&mut more, 0x20, 0x32, b"DS", format!("0\\0\\{depth}").as_bytes());
    element(&mut more, 0x20, 0x37, b"DS", b"1\\0\\0\\0\\1\\0");
    element(&mut more, 0x20, 0x100, b"IS", time.to_string().as_bytes());
    element(&mut more, 0x28, 0x30, b"DS", b"1\\1");
    let mut out = head_with(&image, &more);
    element(&mut out, 0x7fe0, 0x10, b"OB", &[value; 48]);
    fs::write(folder.join(format!("{number:03}")), out).unwrap();
}

#[test]
fn a_series_of_a_volume_over_time_is_a_volume_for_each_time() {
    // The times by their own numbers, backwards; and without such by the numbers of the images.
    for told in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        for (place, time) in (0..3).flat_map(|place| (0..4).map(move |time| (place, time))) {
            let (number, value) = (4 * place + time, (10 * place + time) as u8);
            let said = if told { 4 - time } else { 1 };
            write_slice(dir.path(), number, 2.0 * place as f64, said, value);
        }
        let why = refusal(dir.path());
        assert!(why.contains("4 DICOM clips (1: 3 x 8x6") && why.contains("--series"), "{why}");
        let options = OpenOptions { series: Some(1), ..OpenOptions::default() };
        let clip = open(dir.path(), &options).unwrap();
        let first = if told { 3 } else { 0 };
        let values = (0..3).map(|frame| clip.frame(frame).unwrap().pixels[0]);
        assert_eq!(values.collect::<Vec<u8>>(), [first, 10 + first, 20 + first]);
        assert!(clip.info().kind == ClipKind::Volume && clip.info().placement.is_some());
    }
}

#[test]
fn a_series_with_a_gap_says_that_it_has_no_place() {
    for (depths, kind, told) in [
        ([0.0, 2.0, 4.0, 6.0], ClipKind::Volume, false),
        ([0.0, 2.0, 6.0, 8.0], ClipKind::Volume, true),
        // Moments of one place.
        ([2.0; 4], ClipKind::Cine, false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        for (number, depth) in depths.into_iter().enumerate() {
            write_slice(dir.path(), number, depth, 1, number as u8);
        }
        let clip = opened(dir.path());
        assert_eq!((clip.info().kind, clip.info().frames), (kind, 4));
        assert_eq!(clip.notes().join(" ").contains("no even stack"), told, "{:?}", clip.notes());
    }
}

#[test]
fn a_frame_time_of_0_is_no_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.dcm");
    let (colour, size) = (b"MONOCHROME2", (8, 6));
    let image = Image { syntax: EXPLICIT, colour, series: "1", number: "1", frames: 4, size };
    let read = |more: &[(u16, u16, &[u8; 2], &str)]| {
        let mut elements = Vec::new();
        for (group, number, kind, text) in more {
            element(&mut elements, *group, *number, kind, text.as_bytes());
        }
        let mut out = head_with(&image, &elements);
        element(&mut out, 0x7fe0, 0x10, b"OB", &[9; 4 * 48]);
        fs::write(&path, out).unwrap();
        opened(&path).info().clone()
    };
    let zero = (0x18, 0x1063, b"DS", "0");
    assert_eq!(read(&[zero]).frame_time_ms, None);
    // What else tells it stands instead: a rate, that of the display where it is 0, too, or the times of all frames.
    assert_eq!(read(&[zero, (0x18, 0x40, b"IS", "25")]).frame_time_ms, Some(40.0));
    let rates = [zero, (0x18, 0x40, b"IS", "0"), (8, 0x2144, b"IS", "20")];
    assert_eq!(read(&rates).frame_time_ms, Some(50.0));
    let times = read(&[zero, (0x18, 0x1065, b"DS", "0\\40\\60\\120")]).frame_times_ms;
    assert_eq!(times, [0.0, 40.0, 100.0, 220.0]);
}

#[test]
fn a_table_of_the_modality_stands_instead_of_a_rescale() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.dcm");
    let (colour, size) = (b"MONOCHROME2", (16, 16));
    let image = Image { syntax: EXPLICIT, colour, series: "1", number: "1", frames: 1, size };
    let words = |words: Vec<u16>| words.into_iter().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let mut item = Vec::new();
    element(&mut item, 0x28, 0x3002, b"US", &words(vec![256, 0, 16]));
    element(&mut item, 0x28, 0x3006, b"US", &words((0..256).map(|v| 3 * (255 - v)).collect()));
    let mut items = vec![0xfe, 0xff, 0, 0xe0];
    items.extend((item.len() as u32).to_le_bytes());
    items.extend(item);
    let mut out = head(&image);
    element(&mut out, 0x28, 0x3000, b"SQ", &items);
    element(&mut out, 0x7fe0, 0x10, b"OB", &(0..=255).collect::<Vec<u8>>());
    fs::write(&path, out).unwrap();
    let expected: Vec<u8> = (0..=255).rev().collect();
    assert_eq!(opened(&path).frame(0).unwrap().pixels, expected);
}

#[test]
fn pixels_where_nothing_was_measured_do_not_stretch_the_gray() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.dcm");
    let gray = |frames: [[u16; 4]; 2], signed: u16, said: &[(u16, u16)]| {
        let (colour, size) = (b"MONOCHROME2", (4, 1));
        let image = Image { syntax: EXPLICIT, colour, series: "1", number: "1", frames: 2, size };
        let mut out = head(&image);
        let bits = [(0x100, 16), (0x101, 16), (0x102, 15), (0x103, signed)];
        for (tag, value) in bits.iter().chain(said) {
            element(&mut out, 0x28, *tag, b"US", &value.to_le_bytes());
        }
        let pixels: Vec<u8> = frames.as_flattened().iter().flat_map(|v| v.to_le_bytes()).collect();
        element(&mut out, 0x7fe0, 0x10, b"OB", &pixels);
        fs::write(&path, out).unwrap();
        opened(&path).frame(1).unwrap().pixels[1..].to_vec()
    };
    // A first frame of nothing else, and values beside it in the second.
    for (signed, filler) in [(0, 63_536), (1, -2000_i16 as u16), (0, 0)] {
        let frames = [[filler; 4], [filler, 100, 150, 200]];
        let one = [(0x120, filler)];
        assert_eq!(gray(frames, signed, &one), [0, 128, 255], "{filler}");
        // A range, told from either end.
        let (low, high) = (filler.saturating_sub(3), filler.saturating_add(3));
        for said in [[(0x120, low), (0x121, high)], [(0x120, high), (0x121, low)]] {
            assert_eq!(gray(frames, signed, &said), [0, 128, 255], "{said:?}");
        }
        assert_ne!(gray(frames, signed, &[]), [0, 128, 255], "{filler}");
    }
}

#[test]
fn stills_of_other_regions_are_clips_of_their_own_and_files_without_pictures_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    // A still of series 1 with one region of what was scanned, and one of graphics over all.
    let still = |name: &str, number: &str, scanned: [u32; 4]| {
        let (colour, size) = (b"MONOCHROME2", (8, 6));
        let image = Image { syntax: EXPLICIT, colour, series: "1", number, frames: 1, size };
        let items = [region(1, &scanned), region(5, &[0, 0, 7, 5])].concat();
        let mut regions = Vec::new();
        element(&mut regions, 0x18, 0x6011, b"SQ", &items);
        let mut out = head_with(&image, &regions);
        element(&mut out, 0x7fe0, 0x10, b"OB", &[9; 48]);
        fs::write(at(name), out).unwrap();
    };
    still("a", "1", [1, 1, 6, 4]);
    still("b", "2", [1, 1, 6, 4]);
    let clip = opened(dir.path());
    assert_eq!((clip.info().frames, clip.notes()), (2, &[][..]));
    assert_eq!(clip.privacy().regions, [[1, 1, 6, 4]], "graphics are no picture");

    // A report, and half a file.
    let whole = fs::read(at("a")).unwrap();
    let image =
        Image { syntax: EXPLICIT, colour: b"", series: "7", number: "1", frames: 1, size: (0, 0) };
    let report = head(&image);
    let pictures = report.windows(4).position(|tag| tag == [0x28, 0, 2, 0]).unwrap();
    fs::write(at("report"), &report[..pictures]).unwrap();
    fs::write(at("half"), &whole[..whole.len() - 20]).unwrap();
    let clip = opened(dir.path());
    let told = clip.notes().join(" ");
    assert!(clip.info().frames == 2 && told.contains("2 files are left out"), "{told}");
    assert!(told.contains("half") && told.contains("damaged"), "{told}");
    fs::remove_file(at("half")).unwrap();
    let told = opened(dir.path()).notes().join(" ");
    assert!(told.contains("left out: "), "{told}");
    assert!(told.contains("report") && told.contains("holds no picture"), "{told}");

    // What is hidden outside the first one's region would show in this one.
    still("c", "3", [0, 0, 3, 5]);
    assert!(refusal(dir.path()).contains("3 DICOM clips"));
    assert_eq!(clips_of(dir.path()), [at("a"), at("b"), at("c")]);
    for name in ["a", "b", "c"] {
        fs::remove_file(at(name)).unwrap();
    }
    assert!(refusal(dir.path()).contains("report"), "nothing else is there");
}

#[test]
fn values_with_and_without_types_are_read_whichever_the_file_declares() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.dcm");
    let pixels: Vec<u8> = (0..48).collect();
    let image = |syntax: &[u8]| {
        let (colour, size) = (b"MONOCHROME2", (8, 6));
        head(&Image { syntax, colour, series: "1", number: "1", frames: 1, size })
    };
    // It declares that they have no types.
    let mut typed = image(b"1.2.840.10008.1.2");
    element(&mut typed, 0x7fe0, 0x10, b"OB", &pixels);
    // It declares that they have some: of a file only what stands before the data set is taken.
    let mut untyped = image(EXPLICIT);
    let begin = untyped.windows(6).position(|six| six == [8, 0, 0x60, 0, b'C', b'S']).unwrap();
    untyped.truncate(begin);
    let word = |value: u16| value.to_le_bytes().to_vec();
    for (group, number, value) in [
        (8u16, 0x60u16, b"US".to_vec()),
        (0x28, 2, word(1)),
        (0x28, 4, b"MONOCHROME2 ".to_vec()),
        (0x28, 0x10, word(6)),
        (0x28, 0x11, word(8)),
        (0x28, 0x100, word(8)),
        (0x28, 0x101, word(8)),
        (0x28, 0x102, word(7)),
        (0x7fe0, 0x10, pixels.clone()),
    ] {
        untyped.extend([group, number].map(u16::to_le_bytes).concat());
        untyped.extend((value.len() as u32).to_le_bytes());
        untyped.extend(value);
    }
    for bytes in [typed, untyped] {
        fs::write(&path, bytes).unwrap();
        assert!(is_complete(&path).is_ok());
        assert_eq!(opened(&path).frame(0).unwrap().pixels, pixels);
    }
}

#[test]
fn colours_that_were_unpacked_may_keep_the_name_of_halved_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.dcm");
    let (colour, size) = (b"YBR_FULL_422", (4, 2));
    let image = Image { syntax: EXPLICIT, colour, series: "1", number: "1", frames: 3, size };
    // Y, Cb and Cr of every pixel, and of every other one.
    let whole: Vec<u8> = (0..24u8).flat_map(|at| [10 * at, 128, 128]).collect();
    let halved: Vec<u8> = (0..12u8).flat_map(|at| [20 * at, 20 * at + 10, 128, 128]).collect();
    for pixels in [whole, halved] {
        let mut out = head(&image);
        element(&mut out, 0x7fe0, 0x10, b"OB", &pixels);
        fs::write(&path, out).unwrap();
        let clip = opened(&path);
        let found: Vec<u8> = (0..3).flat_map(|i| clip.frame(i).unwrap().pixels.clone()).collect();
        assert_eq!(found, (0..24).map(|at| 10 * at).collect::<Vec<u8>>());
    }
}
