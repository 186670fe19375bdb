//! Files that lie, end early or have flipped bits: a sentence each, never a panic.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sonomark::codec::{OpenOptions, is_complete, open};

use super::{data, refusal};

#[test]
fn refusals_name_the_file_and_the_next_step() {
    let truncated = refusal(&data().join("dicom/MR_truncated.dcm"));
    assert!(
        truncated.contains("MR_truncated.dcm") && truncated.contains("copy it again"),
        "{truncated}"
    );
    let dir = tempfile::tempdir().unwrap();
    let written = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        refusal(&path)
    };
    assert!(written("a.txt", b"hello, this is a text").contains("no clip this program knows"));
    assert!(written("a.png", b"hello, this is a text").contains("not what its name says"));
    assert!(written("e.dcm", b"").contains("it is empty"));
    let name = written("bad\u{1b}[2J.png", b"x");
    assert!(!name.contains('\u{1b}') && name.contains("\\u{1b}"), "{name}");
    assert!(refusal(&dir.path().join("missing")).contains("cannot read"));
    let pipe = dir.path().join("pipe.png");
    assert!(Command::new("/usr/bin/mkfifo").arg(&pipe).status().unwrap().success());
    assert!(refusal(&pipe).contains("not a regular file"));
}

#[test]
fn lies_about_size_are_refused_before_anything_is_allocated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("huge.png");
    let mut png = fs::read(data().join("stills/usgra_0162.png")).unwrap();
    png[16..20].copy_from_slice(&60_000u32.to_be_bytes());
    fs::write(&path, &png).unwrap();
    assert!(refusal(&path).contains("limit is 16384"));
    // An element that declares 4 GB, one frame count of billions.
    let dicom = fs::read(data().join("dicom/ExplVR_BigEnd.dcm")).unwrap();
    let rows = dicom.windows(8).position(|w| w == [0, 0x28, 0, 0x10, b'U', b'S', 0, 2]).unwrap();
    let mut long = dicom.clone();
    long[rows + 4..rows + 8].copy_from_slice(b"OB\0\0");
    long[rows + 8..rows + 12].copy_from_slice(&0xffff_fff0u32.to_be_bytes());
    let path = dir.path().join("long.dcm");
    fs::write(&path, &long).unwrap();
    assert!(refusal(&path).contains("declares 4294967280 bytes"));
}

/// What became of a damaged file: it was refused, or every frame was decoded or refused.
fn survives(path: &Path) -> bool {
    let _ = is_complete(path);
    match open(path, &OpenOptions { cache_mib: 1, ..OpenOptions::default() }) {
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(';') && !text.chars().any(char::is_control), "{text}");
            false
        }
        Ok(clip) => (0..clip.info().frames.min(4)).all(|i| clip.frame(i).is_ok()),
    }
}

fn fixtures() -> Vec<PathBuf> {
    let files = [
        "dicom/ExplVR_BigEnd.dcm",
        "dicom/SC_rgb_rle_2frame.dcm",
        "dicom/MR_small_RLE.dcm",
        "volumes/deepreg_case0.nii.gz",
        "stills/usgra_0162.png",
        "clips/ultrabones/00000.jpg",
        "pictures/lossless.webp",
        "pictures/still_lossy.webp",
        "pictures/palette.tif",
        "pictures/float32.tif",
    ];
    files.iter().map(|file| data().join(file)).collect()
}

#[test]
fn truncated_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for source in fixtures() {
        let bytes = fs::read(&source).unwrap();
        let path = dir.path().join(source.file_name().unwrap());
        fs::write(&path, &bytes).unwrap();
        assert!(survives(&path), "{} whole", source.display());
        is_complete(&path).unwrap();
        for cut in 0..64 {
            let length = bytes.len() * cut / 64;
            fs::write(&path, &bytes[..length]).unwrap();
            assert!(
                is_complete(&path).is_err(),
                "{} cut to {length} is complete",
                source.display()
            );
            assert!(!survives(&path), "{} cut to {length}", source.display());
        }
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let mut refused = 0;
    // JPEG frames inside DICOM, flipped all over, go through another decoder.
    for source in fixtures().into_iter().chain([data().join("dicom/examples_ybr_color.dcm")]) {
        let bytes = fs::read(&source).unwrap();
        let path = dir.path().join(source.file_name().unwrap());
        for round in 0..96 {
            let mut damaged = bytes.clone();
            // Headers decide more than pixels: most flips go there.
            let reach = if round % 4 == 0 { bytes.len() } else { bytes.len().min(1200) };
            for _ in 0..=round % 3 {
                damaged[random.usize(..reach)] ^= 1 << random.u8(..8);
            }
            fs::write(&path, &damaged).unwrap();
            refused += usize::from(!survives(&path));
        }
    }
    assert!(refused > 50, "only {refused} of 1056 damaged files were refused");
}
