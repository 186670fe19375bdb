//! Pictures that few programs write: animated WebP, TIFF of palettes and of numbers with a fraction.
//! `tests/data/pictures.py` writes the files and answers.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;
use sonomark::codec::{is_complete, looks_like_clip};
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
        // From the last on: no frame needs the one before it to be read first.
        for (index, wanted) in answer.frames.iter().enumerate().rev() {
            let frame = clip.frame(index).unwrap();
            let pairs = frame.pixels.iter().zip(wanted);
            let worst = pairs.map(|(found, wanted)| found.abs_diff(*wanted)).max().unwrap();
            assert_eq!(frame.pixels.len(), wanted.len(), "{name}");
            assert!(worst <= answer.tolerance, "{name}, frame {index}: off by {worst}");
        }
    }
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
    assert!(!uneven.is_lossy() && opened(&at("still_lossy.webp")).is_lossy());
    assert_eq!(opened(&at("still.webp")).info().kind, ClipKind::Still);
    // In a folder of images it would lose all but one of its moments.
    let folder = tempfile::tempdir().unwrap();
    fs::copy(at("still.webp"), folder.path().join("1.webp")).unwrap();
    fs::copy(at("still.webp"), folder.path().join("2.webp")).unwrap();
    assert_eq!(opened(folder.path()).info().frames, 2);
    fs::copy(at("lossless.webp"), folder.path().join("0.webp")).unwrap();
    let told = refusal(folder.path());
    assert!(told.contains("an animated WebP in a folder of images"), "{told}");
    // Cut anywhere it is incomplete.
    let whole = fs::read(at("lossless.webp")).unwrap();
    for cut in (12..whole.len()).step_by(97) {
        let path = folder.path().join("cut.webp");
        fs::write(&path, &whole[..cut]).unwrap();
        assert!(is_complete(&path).is_err(), "{cut} of {} bytes", whole.len());
        refusal(&path);
    }
}
