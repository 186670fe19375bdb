//! JPEG-LS of every kind: `tests/data/ls_streams.py` writes the streams and the samples that CharLS reads from them.

use std::collections::BTreeMap;
use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use sonomark::codec::{JpegLs, JpegLsError};

use super::{data, opened, refusal};

#[derive(Deserialize)]
struct Stream {
    stream: String,
    samples: Vec<u16>,
}

/// Streams by what they are, with their samples.
pub(crate) fn streams() -> BTreeMap<String, (Vec<u8>, Vec<u16>)> {
    let text = fs::read_to_string(data().join("ls_streams.json")).unwrap();
    let table: BTreeMap<String, Stream> = serde_json::from_str(&text).unwrap();
    let bytes = |held: Stream| (STANDARD.decode(held.stream).unwrap(), held.samples);
    table.into_iter().map(|(name, held)| (name, bytes(held))).collect()
}

fn values(picture: &JpegLs) -> Vec<u16> {
    if picture.precision <= 8 {
        return picture.samples.iter().map(|&value| value.into()).collect();
    }
    picture.samples.chunks_exact(2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]])).collect()
}

#[test]
fn every_kind_of_stream_gives_the_samples_of_charls() {
    let table = streams();
    assert_eq!(table.len(), 59);
    for (name, (stream, samples)) in &table {
        let picture = JpegLs::decode(stream, 1 << 20).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(values(&picture) == *samples, "{name}");
        let pixels = usize::from(picture.columns) * usize::from(picture.rows);
        assert_eq!(pixels * usize::from(picture.components), samples.len(), "{name}");
    }
}

/// The stream with `bytes` at `at` bytes behind the first `mark`.
fn with(stream: &[u8], mark: [u8; 2], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut out = stream.to_vec();
    let start = out.windows(2).position(|pair| pair == mark).unwrap() + at;
    out[start..start + bytes.len()].copy_from_slice(bytes);
    out
}

/// The stream with a segment before its scan.
fn put(stream: &[u8], segment: &[u8]) -> Vec<u8> {
    let mut out = stream.to_vec();
    let start = out.windows(2).position(|pair| pair == SCAN).unwrap();
    out.splice(start..start, segment.iter().copied());
    out
}

const FRAME: [u8; 2] = [0xff, 0xf7];
const SCAN: [u8; 2] = [0xff, 0xda];

#[test]
fn what_is_not_read_is_refused_and_lies_cost_nothing() {
    let table = streams();
    let stream = &table["8 bits, near 0, smooth"].0;
    let told = |bytes: &[u8]| JpegLs::decode(bytes, 1 << 20).unwrap_err();
    let not_read = [
        ("a point transform", with(stream, SCAN, 9, &[2])),
        ("a table of values", with(stream, SCAN, 6, &[1])),
        ("a table of values", put(stream, &[0xff, 0xf8, 0, 6, 2, 1, 1, 9])),
        ("65535 lines", put(stream, &[0xff, 0xf8, 0, 8, 4, 2, 0, 9, 0, 9])),
        ("part 2", put(stream, &[0xff, 0xf8, 0, 4, 5, 1])),
        ("several sizes", with(stream, FRAME, 11, &[0x21])),
        ("size behind its pixels", with(stream, FRAME, 5, &[0, 0])),
    ];
    for (words, bytes) in not_read {
        let error = told(&bytes);
        assert!(matches!(error, JpegLsError::Unsupported(_)), "{words}: {error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let damaged = [
        ("1048576 that are expected", with(stream, FRAME, 5, &[0xff; 4])),
        ("too short for its size", with(stream, FRAME, 5, &[0xff, 0xff, 0, 1])),
        ("decode from line 9 on", with(stream, FRAME, 5, &[0, 60])),
        ("more pixels than", with(stream, FRAME, 5, &[0, 2])),
        ("thresholds", put(stream, &[0xff, 0xf8, 0, 13, 1, 0, 255, 0, 9, 0, 5, 0, 21, 0, 64])),
        ("values and errors", with(stream, SCAN, 7, &[200])),
        ("ends before its last pixel", with(stream, SCAN, 0, &[0xff, 0xd9])),
        ("restart marks", with(&table["restart marks"].0, [0xff, 0xd0], 0, &[0xff, 0xd3])),
    ];
    for (words, bytes) in damaged {
        let error = told(&bytes);
        assert!(matches!(error, JpegLsError::Damaged(_)), "{words}: {error}");
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
    // Cut before its last byte a stream is refused; nothing panics.
    for (name, (stream, _)) in table.iter().filter(|(_, (stream, _))| stream.len() < 300) {
        for cut in 0..stream.len() - 3 {
            assert!(JpegLs::decode(&stream[..cut], 1 << 20).is_err(), "{name}, {cut}");
        }
    }
}

#[test]
fn few_bits_in_the_place_of_many_are_read_and_other_sizes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let whole = fs::read(data().join("reading/jpeg_ls_12.dcm")).unwrap();
    let near = fs::read(data().join("reading/jpeg_ls_near.dcm")).unwrap();
    let start =
        |bytes: &[u8]| bytes.windows(4).position(|w| w == [0xff, 0xd8, 0xff, 0xf7]).unwrap();
    // The stream of 8 bits in the object of 16.
    let stream = near[start(&near)..].to_vec();
    let mut mixed = whole[..start(&whole)].to_vec();
    let length = (stream.len() - 8) as u32;
    let end = mixed.len();
    mixed[end - 4..].copy_from_slice(&length.to_le_bytes());
    mixed.extend(&stream);
    let path = dir.path().join("mixed.dcm");
    fs::write(&path, &mixed).unwrap();
    let (found, wanted) = (opened(&path), opened(&data().join("reading/jpeg_ls_near.dcm")));
    let (found, wanted) = (found.frame(0).unwrap(), wanted.frame(0).unwrap());
    let (found, wanted) = (&found.pixels, &wanted.pixels);
    // The object of 16 bits has no window: its values go from the least to the largest.
    let (low, high) = (wanted.iter().min().unwrap(), wanted.iter().max().unwrap());
    let ramp = |value: u8| f64::from(value - low) / f64::from(high - low) * 255.0;
    let off = |(found, wanted): (&u8, &u8)| (f64::from(*found) - ramp(*wanted)).abs();
    assert!(found.iter().zip(wanted).map(off).fold(0.0, f64::max) <= 1.0);
    // A frame that says another size than its file.
    let taller = with(&mixed, FRAME, 5, &[0, 11]);
    fs::write(&path, taller).unwrap();
    let told = refusal(&path);
    assert!(told.contains("frame 1: it has another size or depth"), "{told}");
}

#[test]
fn near_lossless_objects_count_as_lossy_though_they_do_not_say_so() {
    let folder = data().join("reading");
    let is_lossy = |name: &str| opened(&folder.join(name)).info().lossy == Some(true);
    assert!(is_lossy("jpeg_ls_near.dcm") && !is_lossy("jpeg_ls_12.dcm"));
    // One of a series is enough, wherever it stands.
    let dir = tempfile::tempdir().unwrap();
    for (place, name) in ["monochrome1.dcm", "jpeg_ls_near.dcm"].iter().enumerate() {
        fs::copy(folder.join(name), dir.path().join(place.to_string())).unwrap();
    }
    let series = opened(dir.path());
    assert!(series.info().frames == 2 && series.info().lossy == Some(true));
}
