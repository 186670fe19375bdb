//! Pictures that few programs write: animated WebP, TIFF of palettes and of numbers with a fraction.
//! `tests/data/pictures.py` writes the files and answers.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;
use sonomark::codec::{OpenOptions, is_complete, looks_like_clip, open};
use sonomark::domain::ClipKind;

use super::{data, opened, refusal};

/// Gray that another reader made of every frame of a file.
#[derive(Deserialize)]
struct Answer {
    tolerance: u8,
    frames: Vec<Vec<u8>>,
}

#[test]
fn rare_pictures_give_the_gray_of_other_readers() {
    let text = fs::read_to_string(data().join("pictures.json")).unwrap();
    let table: BTreeMap<String, Answer> = serde_json::from_str(&text).unwrap();
    assert_eq!(table.len(), fs::read_dir(data().join("pictures")).unwrap().count());
    for (name, answer) in &table {
        let path = data().join("pictures").join(name);
        assert!(looks_like_clip(&path) && is_complete(&path).is_ok(), "{name}");
        let clip = opened(&path);
        assert_eq!(clip.info().frames, answer.frames.len(), "{name}");
        // From the last on: no frame needs the one before it to be read first. Then forwards, without what is kept.
        let forwards =
            open(&path, &OpenOptions { cache_mib: 0, ..OpenOptions::default() }).unwrap();
        let order = (0..answer.frames.len()).rev().map(|index| (&clip, index));
        for (clip, index) in order.chain((0..answer.frames.len()).map(|index| (&forwards, index))) {
            let wanted = &answer.frames[index];
            let frame = clip.frame(index).unwrap();
            let pairs = frame.pixels.iter().zip(wanted);
            let worst = pairs.map(|(found, wanted)| found.abs_diff(*wanted)).max().unwrap();
            assert_eq!(frame.pixels.len(), wanted.len(), "{name}");
            assert!(worst <= answer.tolerance, "{name}, frame {index}: off by {worst}");
        }
    }
}

/// Of 16 bits a color map takes 384 KiB, so the file is made here.
#[test]
fn indices_of_16_bits_find_their_colours() {
    let indices: [u16; 6] = [0, 1, 255, 256, 40_000, 65_535];
    let colour = |part: u16, index: u16| index.wrapping_mul(3 + 2 * part).rotate_left(5);
    let (width, map) = (indices.len() as u16, 8 + 2 * indices.len() as u32);
    let directory = map + 6 * 65_536;
    let mut bytes = [&b"MM\0*"[..], &directory.to_be_bytes()].concat();
    bytes.extend(indices.iter().flat_map(|index| index.to_be_bytes()));
    bytes.extend(
        (0..3)
            .flat_map(|part| (0..=65_535).map(move |i| colour(part, i)))
            .flat_map(u16::to_be_bytes),
    );
    bytes.extend([0, 9]);
    let short = |tag: u16, value: u16| {
        [&tag.to_be_bytes()[..], &[0, 3, 0, 0, 0, 1], &value.to_be_bytes(), &[0; 2]].concat()
    };
    let long = |tag: u16, kind: u8, count: u32, value: u32| {
        let [count, value] = [count, value].map(u32::to_be_bytes);
        [&tag.to_be_bytes()[..], &[0, kind], &count, &value].concat()
    };
    bytes.extend(
        [short(256, width), short(257, 1), short(258, 16), short(259, 1), short(262, 3)].concat(),
    );
    bytes.extend(
        [long(273, 4, 1, 8), short(278, 1), long(279, 4, 1, 12), long(320, 3, 3 * 65_536, map)]
            .concat(),
    );
    bytes.extend([0; 4]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep.tif");
    fs::write(&path, bytes).unwrap();
    let clip = opened(&path);
    let eight = |part: u16, index: u16| u32::from(colour(part, index) >> 8);
    let luma = |index: u16| {
        (eight(0, index) * 19_595 + eight(1, index) * 38_470 + eight(2, index) * 7_471 + 0x8000)
            >> 16
    };
    let wanted: Vec<u8> = indices.iter().map(|&index| luma(index) as u8).collect();
    let frame = clip.frame(0).unwrap();
    assert_eq!(frame.pixels, wanted);
    let coloured = indices.map(|index| [0, 1, 2].map(|part| eight(part, index) as u8));
    assert!(frame.colours.each().all(|(at, rgb)| rgb == coloured[at]) && !frame.colours.is_empty());
    assert_eq!(clip.info().format, "TIF, 8-bit colour");
    // Beside gray of 16 bits, too, it is what its colours say.
    fs::write(folder.path().join("a.tif"), fs::read(&path).unwrap()).unwrap();
    let deep = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(6, 1, indices.to_vec()).unwrap();
    fs::remove_file(&path).unwrap();
    deep.save(folder.path().join("0.png")).unwrap();
    assert_eq!(opened(folder.path()).frame(1).unwrap().pixels, wanted);
}

/// Were every moment decoded from the first one on, a long animation would take minutes.
#[test]
fn reading_an_animation_forwards_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.webp");
    fs::copy(data().join("pictures/no_keys.webp"), &path).unwrap();
    let whole = opened(&path);
    let clip = open(&path, &OpenOptions { cache_mib: 0, ..OpenOptions::default() }).unwrap();
    let frames: Vec<_> = (0..7).map(|index| whole.frame(index).unwrap()).collect();
    assert_eq!(*clip.frame(1).unwrap(), *frames[1]);
    // What has been begun needs the file no more.
    fs::remove_file(&path).unwrap();
    for index in [2, 3, 6] {
        assert_eq!(*clip.frame(index).unwrap(), *frames[index]);
    }
    let told = clip.frame(1).unwrap_err().to_string();
    assert!(told.contains("cannot read"), "{told}");
}

#[test]
fn an_animated_webp_is_a_clip_with_its_times() {
    let at = |name: &str| data().join("pictures").join(name);
    let even = opened(&at("no_keys.webp"));
    let info = even.info();
    assert_eq!((info.kind, info.frame_time_ms), (ClipKind::Cine, Some(40.0)));
    assert!(info.frame_times_ms.is_empty() && info.format == "WEBP, 8-bit colour", "{info:?}");
    let uneven = opened(&at("lossless.webp"));
    assert_eq!(uneven.info().frame_times_ms, [0.0, 40.0, 120.0, 160.0, 180.0, 220.0, 260.0]);
    assert_eq!(uneven.info().lossy, Some(false));
    assert_eq!(opened(&at("still_lossy.webp")).info().lossy, Some(true));
    assert_eq!(opened(&at("still.webp")).info().kind, ClipKind::Still);
    // In a folder of images it would lose all but one of its moments.
    let folder = tempfile::tempdir().unwrap();
    fs::copy(at("still.webp"), folder.path().join("1.webp")).unwrap();
    fs::copy(at("still.webp"), folder.path().join("2.webp")).unwrap();
    assert_eq!(opened(folder.path()).info().frames, 2);
    // Of one moment nothing is lost.
    let one = one_moment(&fs::read(at("lossless.webp")).unwrap());
    fs::write(folder.path().join("3.webp"), one).unwrap();
    let stills = opened(folder.path());
    let first = opened(&at("lossless.webp")).frame(0).unwrap();
    assert_eq!(stills.info().frames, 3);
    assert_eq!(stills.frame(2).unwrap().pixels, first.pixels);
    fs::copy(at("lossless.webp"), folder.path().join("0.webp")).unwrap();
    let told = refusal(folder.path());
    assert!(told.contains("an animated WebP in a folder of images"), "{told}");
    // What stands behind its end is no part of it; cut anywhere it is incomplete.
    let whole = fs::read(at("lossless.webp")).unwrap();
    let path = folder.path().join("longer.webp");
    fs::write(&path, [&whole[..], b"\n"].concat()).unwrap();
    assert!(is_complete(&path).is_ok() && opened(&path).info().frames == uneven.info().frames);
    // Programs that write into a pipe leave the length open, and others declare less than there is.
    for declared in [0u32, 30, 400] {
        let mut bytes = whole.clone();
        bytes[4..8].copy_from_slice(&declared.to_le_bytes());
        fs::write(&path, &bytes).unwrap();
        assert!(is_complete(&path).is_ok(), "{declared}");
        let clip = opened(&path);
        assert_eq!((clip.info().kind, clip.info().frames), (ClipKind::Cine, 7), "{declared}");
        assert_eq!(*clip.frame(6).unwrap(), *uneven.frame(6).unwrap(), "{declared}");
        fs::write(&path, &bytes[..whole.len() - 20]).unwrap();
        assert!(is_complete(&path).is_err(), "{declared}");
        refusal(&path);
    }
    for cut in (12..whole.len()).step_by(97) {
        let path = folder.path().join("cut.webp");
        fs::write(&path, &whole[..cut]).unwrap();
        assert!(is_complete(&path).is_err(), "{cut} of {} bytes", whole.len());
        refusal(&path);
    }
}

/// The first moment of an animation alone.
fn one_moment(bytes: &[u8]) -> Vec<u8> {
    let at = bytes.windows(4).position(|name| name == b"ANMF").unwrap();
    let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap());
    let mut out = bytes[..at + 8 + length.next_multiple_of(2) as usize].to_vec();
    let declared = out.len() as u32 - 8;
    out[4..8].copy_from_slice(&declared.to_le_bytes());
    out
}

/// A gray BMP of 5 x 3 pixels with this header, whose colours have so many bytes.
fn bmp(header: &[u8], colour_bytes: usize) -> Vec<u8> {
    let colours: Vec<u8> =
        (0..=255u8).flat_map(|gray| [gray, gray, gray, 0][..colour_bytes].to_vec()).collect();
    let begin = (14 + header.len() + colours.len()) as u32;
    let mut out = b"BM".to_vec();
    out.extend([begin + 24, 0, begin].map(u32::to_le_bytes).concat());
    out.extend(header);
    out.extend(colours);
    // Rows from the last one up, each of a multiple of four bytes.
    out.extend((0..3u8).rev().flat_map(|y| (0..8).map(move |x| 40 * y + 10 * x)));
    out
}

#[test]
fn a_bmp_has_the_size_that_its_kind_of_header_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bmp");
    let wanted: Vec<u8> = (0..3u8).flat_map(|y| (0..5).map(move |x| 40 * y + 10 * x)).collect();
    let shorts = |all: &[u16]| all.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    let old = shorts(&[12, 0, 5, 3, 1, 8]);
    let usual = [&shorts(&[40, 0, 5, 0, 3, 0, 1, 8])[..], &[0; 24]].concat();
    for (header, colour_bytes) in [(&old, 3), (&usual, 4)] {
        fs::write(&path, bmp(header, colour_bytes)).unwrap();
        let clip = opened(&path);
        assert_eq!((clip.info().width_px, clip.info().height_px), (5, 3));
        assert_eq!(clip.frame(0).unwrap().pixels, wanted);
    }
    // The second one of OS/2, whole and cut short.
    for bytes in [64u16, 16] {
        let mut header = [&usual[..], &[0; 24]].concat();
        header.truncate(bytes.into());
        header[0] = bytes as u8;
        fs::write(&path, bmp(&header, 4)).unwrap();
        let told = refusal(&path);
        assert!(told.contains("a BMP of OS/2 2") && told.contains("save it as PNG"), "{told}");
    }
}

#[test]
fn clips_beside_the_images_of_a_folder_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let still = image::GrayImage::from_pixel(8, 6, image::Luma([50]));
    for name in ["B-mode 1.JPG", "B-mode 2.jpg", "B-mode 10.jpg"] {
        still.save(folder.path().join(name)).unwrap();
    }
    // As browsers of Windows call it; what systems leave in folders is nothing.
    fs::rename(folder.path().join("B-mode 2.jpg"), folder.path().join("B-mode 2.jfif")).unwrap();
    for name in ["._B-mode 1.JPG", ".DS_Store", "Thumbs.db", "desktop.ini", "B-mode 1.mask.png"] {
        fs::write(folder.path().join(name), b"\0\x05\x16\x07").unwrap();
    }
    let clip = opened(folder.path());
    assert_eq!(clip.frame_names(), ["B-mode 1", "B-mode 2", "B-mode 10"]);
    assert!(clip.notes().is_empty(), "{:?}", clip.notes());
    // A machine exports both, and the objects have no ending.
    for name in ["IM_0001", "IM_0002"] {
        fs::copy(data().join("dicom/MR_small_RLE.dcm"), folder.path().join(name)).unwrap();
    }
    let clip = opened(folder.path());
    assert_eq!(clip.info().frames, 3);
    let told = clip.notes().join(" ");
    assert!(told.contains("left out: 2 other clips") && told.contains("FOLDER/*"), "{told}");
}

#[test]
fn pictures_of_telephones_are_not_called_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("IMG_0001.HEIC");
    for brand in [b"heic", b"mif1", b"avif"] {
        let begin = [&b"\0\0\0\x18ftyp"[..], brand, b"\0\0\0\0mif1miaf"].concat();
        fs::write(&path, [&begin[..], b"\0\0\0\x10meta\0\0\0\0\0\0\0\0"].concat()).unwrap();
        let told = refusal(&path);
        assert!(told.contains("a HEIC or AVIF picture; save it as PNG or JPEG"), "{told}");
    }
    // Some become JPEG by name alone; so may other clips.
    let folder = tempfile::tempdir().unwrap();
    let named = folder.path().join("1.jpg");
    fs::copy(&path, &named).unwrap();
    assert!(refusal(folder.path()).contains("1.jpg cannot be opened: it is a HEIC"));
    fs::copy(data().join("dicom/MR_small_RLE.dcm"), &named).unwrap();
    let told = refusal(folder.path());
    assert!(told.contains("of another kind than its name says; open it alone"), "{told}");
    opened(&named);
}

#[test]
fn a_picture_that_says_it_is_to_be_turned_is_told_to_be_shown_as_stored() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("1.jpg");
    image::GrayImage::from_pixel(8, 6, image::Luma([50])).save(&plain).unwrap();
    let bytes = fs::read(&plain).unwrap();
    let path = folder.path().join("2.jpg");
    for (turn, told) in [(1u8, false), (6, true), (9, false)] {
        // One entry: the orientation, a short.
        let exif =
            [&b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"[..], &[turn], &[0; 6]];
        let exif = exif.concat();
        let segment = [&[0xff, 0xe1, 0, exif.len() as u8 + 2][..], &exif].concat();
        fs::write(&path, [&bytes[..2], &segment, &bytes[2..]].concat()).unwrap();
        for clip in [opened(&path), opened(folder.path())] {
            assert_eq!((clip.info().width_px, clip.info().height_px), (8, 6));
            let notes = clip.notes().join(" ");
            assert_eq!(
                notes.contains("shown and annotated as it is stored"),
                told,
                "{turn}: {notes}"
            );
        }
    }
}

#[test]
fn a_turn_in_a_tiff_or_a_png_is_told_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let plain = file("plain.png");
    image::GrayImage::from_pixel(8, 6, image::Luma([50])).save(&plain).unwrap();
    let plain = fs::read(&plain).unwrap();
    for (turn, told) in [(1u8, false), (4, true)] {
        // Behind the signature and the header; the numbers of EXIF as in a JPEG.
        let mut chunk = b"eXIfMM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
        chunk.extend([turn, 0, 0, 0, 0, 0, 0]);
        let length = (chunk.len() as u32 - 4).to_be_bytes();
        let sum = crc32fast::hash(&chunk).to_be_bytes();
        let png = [&plain[..33], &length, &chunk, &sum, &plain[33..]].concat();
        // Columns, rows, bits, not packed, black is zero, where the pixels lie, the turn, rows and bytes of them.
        let entries: [(u16, u16); 9] = [
            (256, 8),
            (257, 6),
            (258, 8),
            (259, 1),
            (262, 1),
            (273, 122),
            (274, turn.into()),
            (278, 6),
            (279, 48),
        ];
        let mut tiff = b"MM\0*\0\0\0\x08\0\x09".to_vec();
        for (tag, value) in entries {
            tiff.extend(tag.to_be_bytes());
            tiff.extend([0, 3, 0, 0, 0, 1]);
            tiff.extend(value.to_be_bytes());
            tiff.extend([0, 0]);
        }
        tiff.extend([0; 4]);
        tiff.extend([50; 48]);
        for (name, bytes) in [("1.png", &png), ("1.tif", &tiff)] {
            fs::write(file(name), bytes).unwrap();
            let clip = opened(&file(name));
            assert_eq!((clip.info().width_px, clip.info().height_px), (8, 6));
            let notes = clip.notes().join(" ");
            let says = notes.contains("shown and annotated as it is stored");
            assert_eq!(says, told, "{name} {turn}: {notes}");
        }
    }
}
