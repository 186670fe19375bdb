//! Clips of every kind open, decode like the reference readers, and never take the process down.

mod colours;
mod damage;
mod enhanced;
mod fields;
pub(crate) mod jpeg_ls;
pub(crate) mod medium;
mod pictures;
mod reading;
mod tiff;
mod video;
mod volumes;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde::Deserialize;
use sonomark::codec::{
    Axis, Clip, CodecError, Cut, OpenOptions, is_complete, looks_like_clip, open,
};
use sonomark::domain::ClipKind;

use crate::surroundings::{PATIENCE, on_cpu, skipped};

pub(crate) fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn opened(path: &Path) -> Clip {
    open(path, &OpenOptions::default()).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn refusal(path: &Path) -> String {
    match open(path, &OpenOptions::default()) {
        Ok(_) => panic!("{} opens", path.display()),
        Err(error) => error.to_string(),
    }
}

/// The shared data folder beside the repository, where there is one.
fn shared(under: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(under);
    if !folder.is_dir() {
        skipped(&format!("there is no {}", folder.display()));
    }
    folder.is_dir().then_some(folder)
}

pub(crate) fn has_ffmpeg() -> bool {
    let found = ["ffmpeg", "ffprobe"]
        .iter()
        .all(|tool| Command::new(tool).arg("-version").output().is_ok());
    if !found {
        skipped("ffmpeg is not installed");
    }
    found
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[derive(Deserialize)]
struct Expected {
    frames: usize,
    size: [u32; 2],
    tolerance: u8,
    grid: Vec<u8>,
    sha256: Option<[String; 2]>,
    #[serde(default)]
    coloured: usize,
    #[serde(default)]
    colours: Vec<[usize; 4]>,
}

fn expected() -> BTreeMap<String, Expected> {
    let text = fs::read_to_string(data().join("codec_expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn compare(path: &Path, expected: &Expected) {
    let clip = opened(path);
    let (info, name) = (clip.info(), path.display());
    assert_eq!(
        (info.frames, [info.width_px, info.height_px]),
        (expected.frames, expected.size),
        "{name}"
    );
    let last = clip.frame(info.frames - 1).unwrap();
    for (i, wanted) in expected.grid.iter().enumerate() {
        let (x, y) = (i % 8 * info.width_px as usize / 8, i / 8 * info.height_px as usize / 8);
        let found = last.pixels[y * info.width_px as usize + x];
        assert!(
            found.abs_diff(*wanted) <= expected.tolerance,
            "{name} at {x},{y}: {found}, not {wanted}"
        );
    }
    if let Some([first_hash, last_hash]) = &expected.sha256 {
        assert_eq!(&sha256(&clip.frame(0).unwrap().pixels), first_hash, "{name}");
        assert_eq!(&sha256(&last.pixels), last_hash, "{name}");
        assert_eq!(last.colours.each().count(), expected.coloured, "{name}");
    }
    let rgb = last.rgb();
    for [at, wanted @ ..] in &expected.colours {
        let off =
            rgb[*at].iter().zip(wanted).map(|(found, wanted)| wanted.abs_diff((*found).into()));
        let (off, found) = (off.max().unwrap(), rgb[*at]);
        assert!(off <= expected.tolerance.into(), "{name} at {at}: {found:?}, not {wanted:?}");
    }
}

#[test]
fn what_replaces_an_open_file_is_not_shown_as_its_frames() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let still = |folder: &Path, name: &str, gray: u8| {
        let path = folder.join(name);
        image::GrayImage::from_pixel(8, 8, image::Luma([gray])).save(&path).unwrap();
        path
    };
    (0..3).for_each(|i| drop(still(dir.path(), &format!("{i}.png"), 10 * i)));
    let clip = opened(dir.path());
    assert_eq!(clip.frame(1).unwrap().pixels[0], 10);
    // Written anew beside it and renamed, as copying programs do.
    fs::rename(still(other.path(), "new.png", 99), dir.path().join("2.png")).unwrap();
    let told = clip.frame(2).unwrap_err().to_string();
    assert!(told.contains("2.png was changed or replaced since"), "{told}");
    assert_eq!(clip.frame(1).unwrap().pixels[0], 10, "what was read before stays");
    // To open a pipe would wait for ever.
    fs::remove_file(dir.path().join("2.png")).unwrap();
    assert!(Command::new("mkfifo").arg(dir.path().join("2.png")).status().unwrap().success());
    let (sender, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(clip.frame(2).map_err(|e| e.to_string())));
        let told = told.recv_timeout(PATIENCE).unwrap();
        assert!(told.unwrap_err().contains("was changed or replaced since"));
    });
    fs::remove_file(dir.path().join("2.png")).unwrap();
    still(dir.path(), "2.png", 99);
    assert_eq!(opened(dir.path()).frame(2).unwrap().pixels[0], 99);
}

#[test]
fn frames_are_those_of_pydicom_pillow_and_nibabel() {
    let table = expected();
    let mut compared = 0;
    for folder in ["dicom", "stills", "volumes"] {
        for entry in fs::read_dir(data().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if let Some(expected) = table.get(path.file_name().unwrap().to_str().unwrap()) {
                compare(&path, expected);
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 7, "fixtures and table belong together");
    if let Some(folder) = shared("dicom") {
        // JPEG 2000 and JPEG of 12 bits need ffmpeg.
        for (name, expected) in table.iter().filter(|(name, _)| name.ends_with(".dcm")) {
            let path = folder.join(name);
            if path.is_file() && has_ffmpeg() {
                compare(&path, expected);
            }
        }
    }
}

#[test]
fn a_folder_of_frames_is_a_clip_without_its_masks() {
    let clip = opened(&data().join("clips/ultrabones"));
    let info = clip.info();
    assert_eq!((info.frames, info.width_px, info.height_px), (16, 475, 405));
    assert_eq!((info.kind, info.name.as_str()), (ClipKind::Cine, "ultrabones"));
    assert_eq!(
        clip.frame(3).unwrap(),
        opened(&data().join("clips/ultrabones/00003.jpg")).frame(0).unwrap()
    );
    let error = clip.frame(16).unwrap_err().to_string();
    assert!(error.contains("16 frames") && error.contains("17"), "{error}");
    // The still folder holds one image and its mask.
    assert_eq!(opened(&data().join("stills")).info().kind, ClipKind::Still);
}

#[test]
fn frames_follow_in_natural_order_and_sizes_must_agree() {
    let dir = tempfile::tempdir().unwrap();
    let gray = |name: &str, side: u32, value: u8| {
        image::GrayImage::from_pixel(side, side, image::Luma([value]))
            .save(dir.path().join(name))
            .unwrap();
    };
    for (name, value) in [("f10.png", 10), ("f2.bmp", 2), ("f1.tif", 1), ("f1.mask.png", 99)] {
        gray(name, 8, value);
    }
    fs::write(dir.path().join("notes.txt"), "no frame").unwrap();
    let clip = opened(dir.path());
    let values: Vec<u8> = (0..3).map(|i| clip.frame(i).unwrap().pixels[0]).collect();
    assert_eq!(values, [1, 2, 10]);
    gray("f11.png", 9, 11);
    let error = refusal(dir.path());
    assert!(error.contains("f11.png is 9 x 9") && error.contains("f1.tif is 8 x 8"), "{error}");
    let empty = tempfile::tempdir().unwrap();
    assert!(refusal(empty.path()).contains("holds no frames"));
}

#[test]
fn one_lossy_image_makes_a_folder_lossy() {
    let dir = tempfile::tempdir().unwrap();
    let image = image::GrayImage::from_pixel(8, 8, image::Luma([90]));
    image.save(dir.path().join("1.png")).unwrap();
    assert_eq!(opened(dir.path()).info().lossy, Some(false));
    image.save(dir.path().join("2.jpg")).unwrap();
    assert_eq!(opened(dir.path()).info().lossy, Some(true));
}

#[test]
fn sixteen_bits_share_one_ramp_over_the_clip() {
    let dir = tempfile::tempdir().unwrap();
    for (name, values) in [("1.png", [1000u16, 2000]), ("2.png", [1500, 3550])] {
        let image =
            image::ImageBuffer::<image::Luma<u16>, _>::from_raw(2, 1, values.to_vec()).unwrap();
        image.save(dir.path().join(name)).unwrap();
    }
    let clip = opened(dir.path());
    assert_eq!(clip.frame(0).unwrap().pixels, [0, 100]);
    assert_eq!(clip.frame(1).unwrap().pixels, [50, 255]);
}

#[test]
fn ultrasound_dicom_tells_spacing_and_time() {
    let info = opened(&data().join("dicom/examples_ybr_color.dcm")).info().clone();
    assert_eq!((info.frames, info.kind), (30, ClipKind::Cine));
    assert_eq!(info.format, "DICOM US, JPEG baseline");
    assert!((info.frame_time_ms.unwrap() - 33.333).abs() < 1e-6);
    let [x, y] = info.pixel_spacing_mm.unwrap();
    assert!(x > 0.05 && x < 2.0 && (x - y).abs() < 1e-6, "{x} {y}");
    let mr = opened(&data().join("dicom/MR_small_RLE.dcm"));
    assert_eq!(mr.info().pixel_spacing_mm, Some([0.3125, 0.3125]));
}

#[test]
fn a_volume_is_sliced_along_any_axis() {
    let path = data().join("volumes/deepreg_case0.nii.gz");
    let along = |axis| {
        open(
            &path,
            &OpenOptions {
                cut: Cut { axis: Some(axis), ..Cut::default() },
                ..OpenOptions::default()
            },
        )
        .unwrap()
    };
    let (x, y, z) = (along(Axis::X), along(Axis::Y), along(Axis::Z));
    let size = |clip: &Clip| (clip.info().width_px, clip.info().height_px, clip.info().frames);
    assert_eq!((size(&x), size(&y), size(&z)), ((59, 41, 44), (44, 41, 59), (44, 59, 41)));
    let [i, j, k] = [20usize, 30, 11];
    let voxel = z.frame(k).unwrap().at(i as i64, j as i64);
    assert_eq!(x.frame(i).unwrap().at(j as i64, k as i64), voxel);
    assert_eq!(y.frame(j).unwrap().at(i as i64, k as i64), voxel);
    let still = open(
        &data().join("stills"),
        &OpenOptions {
            cut: Cut { axis: Some(Axis::X), ..Cut::default() },
            ..OpenOptions::default()
        },
    );
    assert!(matches!(still, Err(CodecError::Unsupported { .. })));
}

#[test]
fn watch_folders_see_clips_and_nothing_else() {
    let d = data();
    for name in
        ["clips/ultrabones", "dicom/MR_small_RLE.dcm", "volumes/deepreg_case0.nii.gz", "stills"]
    {
        assert!(looks_like_clip(&d.join(name)), "{name}");
    }
    for name in ["README.md", "stills/usgra_0162.mask.png", "codec_expected.json", "missing.png"] {
        assert!(!looks_like_clip(&d.join(name)), "{name}");
    }
    let dir = tempfile::tempdir().unwrap();
    let nameless = dir.path().join("IM_0001");
    fs::copy(d.join("dicom/MR_small_RLE.dcm"), &nameless).unwrap();
    assert!(looks_like_clip(&nameless));
    fs::write(&nameless, "text").unwrap();
    assert!(!looks_like_clip(&nameless));
    assert!(is_complete(&d.join("clips/ultrabones")).is_ok());
}

#[test]
fn the_content_hash_follows_the_content() {
    let dir = tempfile::tempdir().unwrap();
    let source = data().join("clips/ultrabones");
    for i in 0..3 {
        let name = format!("{i:05}.jpg");
        fs::copy(source.join(&name), dir.path().join(&name)).unwrap();
    }
    let first = opened(dir.path()).info().content_hash.clone();
    assert_eq!(opened(dir.path()).info().content_hash, first);
    fs::copy(source.join("00003.jpg"), dir.path().join("00002.jpg")).unwrap();
    assert_ne!(opened(dir.path()).info().content_hash, first);
    let still = source.join("00000.jpg");
    assert_eq!(opened(&still).info().content_hash.0, sha256(&fs::read(&still).unwrap()));
}

#[test]
fn ten_thousand_frames_open_at_once_and_take_bounded_memory() {
    const FRAMES: usize = 10_000;
    let dir = tempfile::tempdir().unwrap();
    let source = data().join("clips/ultrabones");
    for i in 0..FRAMES {
        // Links stand for copies: the same work for the reader, 430 MB less for the disk.
        fs::hard_link(
            source.join(format!("{:05}.jpg", i % 16)),
            dir.path().join(format!("{i}.jpg")),
        )
        .or_else(|_| {
            fs::copy(source.join(format!("{:05}.jpg", i % 16)), dir.path().join(format!("{i}.jpg")))
                .map(|_| ())
        })
        .unwrap();
    }
    let (started, before) = (Instant::now(), on_cpu());
    let clip = open(dir.path(), &OpenOptions { cache_mib: 8, ..OpenOptions::default() }).unwrap();
    let busy = on_cpu() - before;
    println!("10,000 frames opened in {:?}, {busy:?} of work", started.elapsed());
    assert_eq!(clip.info().frames, FRAMES);
    // Generous, and not by the clock: test machines are shared and tests are not optimised.
    assert!(busy.as_secs() < 20, "opening took {busy:?}");
    let started = Instant::now();
    for i in (0..FRAMES).step_by(40) {
        clip.frame(i).unwrap();
        assert!(clip.cached_bytes() <= 8 << 20);
    }
    println!("250 frames decoded in {:?}", started.elapsed());
    assert!(clip.cached_bytes() > 7 << 20, "the cache is used");
}

/// Every file of the shared data opens, or is refused with a sentence.
#[test]
fn everything_in_the_shared_data_opens_or_says_why_not() {
    let Some(root) = shared("") else { return };
    let ffmpeg = has_ffmpeg();
    let (mut open_count, mut refused) = (0, Vec::new());
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        let mut stills = 0;
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.to_string_lossy().into_owned();
            // Of long rows of frames a few files stand for all.
            stills += 1;
            if stills > 40 || (name.ends_with(".mp4") && !ffmpeg) {
                continue;
            }
            match open(&path, &OpenOptions::default()) {
                Ok(clip) => {
                    let last = clip.info().frames - 1;
                    clip.frame(last).unwrap_or_else(|e| panic!("{name}: {e}"));
                    open_count += 1;
                }
                Err(error) => {
                    assert!(error.to_string().len() > 40);
                    refused.push(error.to_string());
                }
            }
        }
        if let Err(error) = open(&folder, &OpenOptions::default()) {
            refused.push(error.to_string());
        }
    }
    for sentence in &refused {
        println!("{sentence}");
    }
    println!("{open_count} opened, {} refused", refused.len());
    assert!(open_count > 200);
}
