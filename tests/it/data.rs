//! Data sets: a miniature of every published layout, made here, becomes a manifest that training and evaluation read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use sonomark::learn::data::check::check;
use sonomark::learn::data::import::{Imported, import};
use sonomark::learn::data::layouts::{LAYOUTS, named};
use sonomark::learn::data::manifest::Manifest;
use sonomark::learn::dataset::{DataError, DataSource, LabelledClips, Pick, StillSet, Veil};

pub(crate) const SIZE: (u32, u32) = (56, 48);

/// Texture of its own for every seed, and a bright disc.
fn gray(seed: u64, x: u32, y: u32) -> u8 {
    let mut rng = fastrand::Rng::with_seed(seed);
    let waves: f32 = (0..6)
        .map(|_| {
            let (u, v, phase) = (0.5 * rng.f32(), 0.5 * rng.f32(), 6.0 * rng.f32());
            (u * x as f32 + v * y as f32 + phase).sin()
        })
        .sum();
    (110.0 + 14.0 * waves + if inside(seed, x, y) { 40.0 } else { 0.0 }) as u8
}

fn inside(seed: u64, x: u32, y: u32) -> bool {
    let (cx, cy) = (24.0 + (seed % 5) as f32, 22.0 + (seed % 3) as f32);
    (x as f32 + 0.5 - cx).hypot(y as f32 + 0.5 - cy) <= 11.0
}

pub(crate) fn save(path: &Path, size: (u32, u32), value: impl Fn(u32, u32) -> u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::GrayImage::from_fn(size.0, size.1, |x, y| image::Luma([value(x, y)]))
        .save(path)
        .unwrap();
}

/// An image and its mask; the disc is `label`.
fn pair(dir: &Path, image: &str, mask: &str, seed: u64, label: u8) {
    save(&dir.join(image), SIZE, |x, y| gray(seed, x, y));
    save(&dir.join(mask), SIZE, |x, y| if inside(seed, x, y) { label } else { 0 });
}

/// A NIfTI-1 file of `frames` planes; `code` 2 is bytes, 16 is floats.
fn nifti(path: &Path, code: i16, frames: u32, value: impl Fn(u32, u32, u32) -> f32) {
    let mut head = vec![0u8; 352];
    head[..4].copy_from_slice(&348i32.to_le_bytes());
    for (i, n) in [3, SIZE.0 as i16, SIZE.1 as i16, frames as i16, 1, 1, 1, 1].iter().enumerate() {
        head[40 + 2 * i..42 + 2 * i].copy_from_slice(&n.to_le_bytes());
    }
    head[70..72].copy_from_slice(&code.to_le_bytes());
    head[72..74].copy_from_slice(&(if code == 2 { 8i16 } else { 32 }).to_le_bytes());
    for (i, mm) in [1.0f32, 0.3, 0.4, 0.5].iter().enumerate() {
        head[76 + 4 * i..80 + 4 * i].copy_from_slice(&mm.to_le_bytes());
    }
    head[108..112].copy_from_slice(&352f32.to_le_bytes());
    head[112..116].copy_from_slice(&1f32.to_le_bytes());
    head[123] = 2;
    head[344..348].copy_from_slice(b"n+1\0");
    for z in 0..frames {
        for i in 0..SIZE.0 * SIZE.1 {
            let v = value(i % SIZE.0, i / SIZE.0, z);
            match code {
                2 => head.push(v as u8),
                _ => head.extend(v.to_le_bytes()),
            }
        }
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    if path.extension().is_some_and(|e| e == "gz") {
        use std::io::Write;
        let mut out = flate2::write::GzEncoder::new(
            fs::File::create(path).unwrap(),
            flate2::Compression::fast(),
        );
        out.write_all(&head).unwrap();
        out.finish().unwrap();
    } else {
        fs::write(path, head).unwrap();
    }
}

/// A volume and its labels; the disc is gone on the first and the last plane.
fn volume(dir: &Path, image: &str, mask: &str, seed: u64, floats: bool, label: f32) {
    nifti(&dir.join(image), 2, 5, |x, y, z| f32::from(gray(seed + u64::from(z), x, y)));
    let value = |x, y, z| {
        let hit = inside(seed, x, y) && (1..4).contains(&z);
        // Estimated masks have crumbs instead of zeros.
        if hit {
            label
        } else if floats {
            2.8e-14
        } else {
            0.0
        }
    };
    nifti(&dir.join(mask), if floats { 16 } else { 2 }, 5, value);
}

fn text(dir: &Path, file: &str, text: &str) {
    let path = dir.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// What `numpy.save` makes of `{"image": ..., "structures": {"artery": disc, "vein": nothing}}`: a pickle of protocol 3.
fn pickled(seed: u64) -> Vec<u8> {
    fn text(out: &mut Vec<u8>, text: &str) {
        out.push(b'X');
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.as_bytes());
    }
    fn array(out: &mut Vec<u8>, kind: &str, shape: &[u8], data: impl FnOnce(&mut Vec<u8>)) {
        out.extend(
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01",
        );
        shape.iter().for_each(|n| out.extend([b'K', *n]));
        out.push([b')', 0x85, 0x86][shape.len()]);
        out.extend(b"cnumpy\ndtype\n");
        text(out, kind);
        out.extend(b"\x89\x88\x87R(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89");
        data(out);
        out.extend(b"tb");
    }
    let plane = |out: &mut Vec<u8>, value: &dyn Fn(u32, u32) -> u8| {
        array(out, "u1", &[SIZE.1 as u8, SIZE.0 as u8], |out| {
            out.push(b'B');
            out.extend((SIZE.0 * SIZE.1).to_le_bytes());
            out.extend((0..SIZE.0 * SIZE.1).map(|i| value(i % SIZE.0, i / SIZE.0)));
        });
    };
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    let header = "{'descr': '|O', 'fortran_order': False, 'shape': (), }\n";
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(b"\x80\x03");
    array(&mut out, "O8", &[], |out| {
        out.extend(b"]q\x00}q\x01(");
        text(out, "image");
        plane(out, &|x, y| gray(seed, x, y));
        text(out, "structures");
        out.extend(b"}q\x02(");
        text(out, "artery");
        plane(out, &|x, y| u8::from(inside(seed, x, y)));
        text(out, "vein");
        plane(out, &|_, _| 0);
        out.extend(b"uua");
    });
    out.push(b'.');
    out
}

/// A file of cine clips: the `annot_id` of every frame.
fn cine(dir: &Path, names: &[&str]) {
    let all = |value: &dyn Fn(u64, u32, u32) -> u8| -> Vec<u8> {
        let pixels = SIZE.0 * SIZE.1;
        let frames = 0..names.len() as u64;
        frames
            .flat_map(|f| (0..pixels).map(move |i| (f, i % SIZE.0, i / SIZE.0)))
            .map(|(f, x, y)| value(f, x, y))
            .collect()
    };
    let shape = [names.len() as u64, u64::from(SIZE.1), u64::from(SIZE.0)];
    let mut file = hdf5_pure::FileBuilder::new();
    file.create_dataset("image")
        .with_u8_data(&all(&|f, x, y| gray(90 + f, x, y)))
        .with_shape(&shape);
    let mask = |f, x, y| if inside(90 + f, x, y) { 255 } else { 0 };
    file.create_dataset("mask").with_u8_data(&all(&mask)).with_shape(&shape);
    file.create_dataset("annot_id").with_vlen_strings(names);
    let numbers: Vec<String> = (0..names.len()).map(|n| n.to_string()).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    file.create_dataset("frame_num").with_vlen_strings(&numbers);
    fs::create_dir_all(dir).unwrap();
    file.write(dir.join("dataset.hdf5")).unwrap();
    text(dir, "metadata.csv", "annot_id,age\n");
}

/// The set `kind` as its authors publish it, a few images of it.
pub(crate) fn miniature(kind: &str, dir: &Path) {
    match kind {
        "liver" => {
            for n in 1..4 {
                let (image, mask) =
                    (format!("105 US Images/{n:03}.png"), format!("105 US Masks/{n} G man.png"));
                pair(dir, &image, &mask, n, 255);
            }
        }
        "aul" | "aul_mass" => {
            for (n, class) in [(1, "Benign"), (2, "Malignant"), (3, "Normal")] {
                save(&dir.join(format!("{class}/image/{n}.jpg")), SIZE, |x, y| gray(n, x, y));
                let outline = |part: &str, corners: &str| {
                    text(dir, &format!("{class}/segmentation/{part}/{n}.json"), corners);
                };
                outline("outline", "[[0, 0], [55, 0], [55, 47]]");
                outline("liver", "[[5, 5], [45, 5], [45, 40], [5, 40]]");
                if class != "Normal" {
                    outline("mass", "[[15, 15], [30, 15], [30, 30.0], [15, 30]]");
                }
            }
        }
        "busbra" => {
            let mut folds = "ID,Pathology,kFold\n".to_owned();
            for n in 1..5u64 {
                for side in ["l", "r"] {
                    let name = format!("{n:04}-{side}");
                    let seed = 2 * n + u64::from(side == "r");
                    pair(
                        dir,
                        &format!("BUSBRA/Images/bus_{name}.png"),
                        &format!("BUSBRA/Masks/mask_{name}.png"),
                        seed,
                        255,
                    );
                    folds += &format!("bus_{name},benign,{n}\n");
                }
            }
            text(dir, "BUSBRA/5-fold-cv.csv", &folds);
        }
        "tg3k" => {
            for n in 0..6u64 {
                let size = if n < 4 { SIZE } else { (64, 48) };
                save(&dir.join(format!("tg3k/Thyroid-image/{n:04}.jpg")), size, |x, y| {
                    gray(n, x, y)
                });
                let mask = |x, y| if inside(n, x, y) { 255 } else { 0 };
                save(&dir.join(format!("tg3k/Thyroid-mask/{n:04}.jpg")), size, mask);
            }
            // The third image is cut off its video.
            text(dir, "tg3k/tg3k-trainval.json", r#"{"train": [0, 1, 2], "val": [3, 4, 5]}"#);
        }
        "tn3k" => {
            for n in 0..3 {
                pair(
                    dir,
                    &format!("trainval-image/{n:04}.jpg"),
                    &format!("trainval-mask/{n:04}.jpg"),
                    n,
                    255,
                );
            }
            pair(dir, "test-image/0000.jpg", "test-mask/0000.jpg", 9, 255);
            text(dir, "tn3k-trainval-fold0.json", r#"{"train": [0, 2], "val": [1]}"#);
        }
        "nerve" => {
            for (patient, n) in [(1, 1), (1, 2), (7, 1)] {
                let stem = format!("train/{patient}_{n}");
                pair(
                    dir,
                    &format!("{stem}.tif"),
                    &format!("{stem}_mask.tif"),
                    10 * patient + n,
                    255,
                );
            }
            save(&dir.join("test/1.tif"), SIZE, |x, y| gray(99, x, y));
        }
        "otu" => {
            for n in 1..4 {
                let image = format!("OTU_2d/images/{n}.JPG");
                pair(dir, &image, &format!("OTU_2d/annotations/{n}_binary.PNG"), n, 255);
                save(&dir.join(format!("OTU_2d/annotations/{n}.PNG")), SIZE, |_, _| 64);
            }
            text(dir, "OTU_2d/train.txt", "1\n3\n");
            text(dir, "OTU_2d/val.txt", "2\n");
        }
        "stmus_nda" => {
            let root = "Polito-Radboud-DeepLearningUS";
            let names =
                [("BB", "BB_anon_7_1"), ("BB", "BB_anon_7_2"), ("GM", "anon_8_1"), ("TA", "03")];
            for (n, (muscle, name)) in (1..).zip(names) {
                let folder = format!("{root}/{muscle}/Healthy");
                let [image, mask] =
                    ["Images", "Masks"].map(|kind| format!("{folder}/{kind}/{name}.png"));
                pair(dir, &image, &mask, n, 1);
            }
            // Copies, a second image of the first subject among those for validation.
            for copy in ["train/BB_anon_7_1", "val/BB_anon_7_2", "test/GM_anon_8_1"] {
                let copies = format!("{root}/Segmentation_models/data/MuscleCNN");
                save(&dir.join(format!("{copies}/{copy}.png")), (8, 8), |_, _| 0);
            }
        }
        "trusted" => {
            for (n, name) in [(1, "263L"), (2, "263R"), (3, "561R"), (4, "200R")] {
                let folder = "TRUSTED_dataset_for_submission/US_DATA";
                let mask = format!("{folder}/US_masks/GT_estimated_masksUS/{name}_maskUS.nii.gz");
                volume(
                    dir,
                    &format!("{folder}/US_images/{name}_imgUS.nii.gz"),
                    &mask,
                    10 * n,
                    true,
                    1.0,
                );
                // One annotator's opinion is no reference.
                text(
                    dir,
                    &format!("{folder}/US_masks/Annotator1/{name}_maskUS.nii.gz"),
                    "not looked at",
                );
            }
        }
        "segthy" => {
            for (n, name) in [(1, "001_P1_1_left"), (2, "001_P1_2_right"), (3, "002_P2_1_left")] {
                let folder = "US_volunteer_dataset/ground_truth_data";
                let mask = format!("{folder}/US_thyroid_label/{name}.nii");
                volume(dir, &format!("{folder}/US/{name}_US.nii"), &mask, 10 * n, false, 1.0);
            }
        }
        "camus" => {
            for (n, view) in [(1, "2CH"), (1, "4CH"), (2, "2CH"), (3, "4CH")] {
                let stem =
                    format!("database_nifti/patient000{n}/patient000{n}_{view}_half_sequence");
                volume(
                    dir,
                    &format!("{stem}.nii.gz"),
                    &format!("{stem}_gt.nii.gz"),
                    20 * n + u64::from(view == "4CH") * 7,
                    false,
                    2.0,
                );
            }
            for (list, name) in [
                ("training", "patient0001"),
                ("validation", "patient0002"),
                ("testing", "patient0003"),
            ] {
                text(dir, &format!("database_split/subgroup_{list}.txt"), &format!("{name}\n"));
            }
        }
        "fass" => {
            for (patient, n) in [(1, 1), (1, 2), (14, 1)] {
                let stem = format!("P{patient:02}_IMG{n}");
                let seed = 10 * patient + n;
                save(&dir.join(format!("IMAGES/{stem}.png")), SIZE, |x, y| gray(seed, x, y));
                fs::create_dir_all(dir.join("ARRAY_FORMAT")).unwrap();
                fs::write(dir.join(format!("ARRAY_FORMAT/{stem}.npy")), pickled(seed)).unwrap();
            }
        }
        "thyroid_cine" => cine(dir, &["7_", "7_", "7_", "10_", "10_", "9_"]),
        "usgra" => {
            for n in 0..3 {
                pair(
                    dir,
                    &format!("dataset/images/{n:04}.png"),
                    &format!("dataset/masks/{n:04}.png"),
                    n,
                    2,
                );
            }
            save(&dir.join("dataset/images/0009.png"), SIZE, |x, y| gray(50, x, y));
        }
        "busi" => {
            for n in 1..3 {
                let stem = format!("Dataset_BUSI_with_GT/benign/benign ({n})");
                pair(dir, &format!("{stem}.png"), &format!("{stem}_mask.png"), n, 255);
            }
            // A second lesion lies in a file of its own.
            let second = "Dataset_BUSI_with_GT/benign/benign (1)_mask_1.png";
            save(&dir.join(second), SIZE, |x, y| if x > 42 && y > 34 { 255 } else { 0 });
        }
        "pairs" => {
            for n in 0..3 {
                pair(dir, &format!("a{n}.png"), &format!("a{n}.mask.png"), n, 1);
            }
            text(dir, "train.txt", "a0\na1\n");
            text(dir, "val.txt", "a2\n");
        }
        other => panic!("{other} has no miniature"),
    }
}

fn imported(kind: &str) -> (tempfile::TempDir, Imported) {
    let dir = tempfile::tempdir().unwrap();
    miniature(kind, &dir.path().join("set"));
    let found =
        import(named(kind).unwrap(), &dir.path().join("set"), &dir.path().join("out")).unwrap();
    (dir, found)
}

#[test]
fn masks_of_two_copies_of_a_set_do_not_replace_each_other() {
    for kind in ["aul", "fass"] {
        let dir = tempfile::tempdir().unwrap();
        let set = dir.path().join("set");
        for copy in ["a", "b/c"] {
            miniature(kind, &set.join(copy));
        }
        let found = import(named(kind).unwrap(), &set, &dir.path().join("out")).unwrap();
        let masks = found.manifest.items.iter().flat_map(|item| &item.masks);
        let masks: BTreeSet<&String> = masks.collect();
        assert_eq!((found.manifest.items.len(), masks.len()), (6, 6), "{kind}");
        assert!(check(&found.manifest).faults.is_empty(), "{kind}");
    }
}

/// Items by the end of their image's name.
fn splits(found: &Imported) -> BTreeMap<String, &'static str> {
    let name = |image: &str| image.rsplit('/').next().unwrap().to_owned();
    found.manifest.items.iter().map(|item| (name(&item.image), item.split)).collect()
}

#[test]
fn every_published_set_becomes_a_manifest_that_training_reads() {
    // Items, patients and labels of each miniature.
    let wanted: &[(&str, usize, usize, &[u8])] = &[
        ("liver", 3, 0, &[1]),
        ("aul", 3, 3, &[1]),
        ("aul_mass", 2, 2, &[1]),
        ("fass", 3, 2, &[1]),
        ("busbra", 8, 4, &[1]),
        ("tg3k", 6, 2, &[1]),
        ("tn3k", 4, 0, &[1]),
        ("nerve", 3, 2, &[1]),
        ("otu", 3, 0, &[1]),
        ("stmus_nda", 4, 2, &[1]),
        ("trusted", 4, 3, &[1]),
        ("segthy", 3, 2, &[1]),
        ("camus", 4, 3, &[2]),
        ("thyroid_cine", 3, 3, &[1]),
        ("usgra", 3, 0, &[2]),
        ("busi", 2, 0, &[1]),
        ("pairs", 3, 0, &[1]),
    ];
    assert_eq!(
        wanted.iter().map(|w| w.0).collect::<BTreeSet<_>>(),
        LAYOUTS.iter().map(|l| l.kind).collect()
    );
    for (kind, items, patients, labels) in wanted {
        let (_dir, found) = imported(kind);
        assert!(found.refused.is_empty(), "{kind}: {:?}", found.refused);
        let manifest = Manifest::read(&found.file).unwrap();
        assert_eq!(manifest.items.len(), *items, "{kind}");
        let known: BTreeSet<_> = manifest.items.iter().filter_map(|i| i.patient.clone()).collect();
        assert_eq!(known.len(), *patients, "{kind}: {known:?}");
        assert!(manifest.items.iter().all(|i| i.sha256.len() == 1 + i.masks.len()), "{kind}");
        let report = check(&manifest);
        assert!(report.faults.is_empty(), "{kind}: {:?}", report.faults);
        assert!(
            labels.iter().all(|l| *kind == "pairs" || manifest.labels.contains_key(l)),
            "{kind}"
        );
        let source = DataSource { dir: found.file.clone(), ..DataSource::default() };
        let set = StillSet::load(&source, None, Pick::LargestOfLabel).unwrap();
        // Volumes are labelled on three planes; of the three clips 3, 2 and 1 frames are.
        let stills = match *kind {
            "thyroid_cine" => 6,
            _ if found.manifest.items[0].image.contains(".nii") => 3 * items,
            _ => *items,
        };
        assert_eq!(set.stills.len(), stills, "{kind}");
        // A liver is whole, whatever lies in it.
        let area = match *kind {
            "aul" => 1350..=1500,
            "aul_mass" => 220..=260,
            _ => 330..=410,
        };
        for mask in set.stills.iter().flat_map(|s| &s.objects) {
            assert!(area.contains(&mask.area_px()), "{kind}: {} px", mask.area_px());
        }
    }
}

#[test]
fn the_authors_splits_are_kept_and_patients_are_not_torn() {
    let (_dir, found) = imported("busbra");
    let of = splits(&found);
    assert_eq!(
        (of["bus_0001-l.png"], of["bus_0002-r.png"], of["bus_0003-l.png"]),
        ("test", "val", "train")
    );
    let (_dir, found) = imported("tn3k");
    let of: Vec<_> = found.manifest.items.iter().map(|i| i.split).collect();
    assert_eq!(of, ["train", "val", "train", "test"]);
    let (_dir, found) = imported("tg3k");
    assert_eq!(found.torn, 1, "the list cuts through the first video");
    assert!(splits(&found).values().all(|split| *split == "val"));
    let (_dir, found) = imported("camus");
    let of = splits(&found);
    let file = |n: u8, view: &str| format!("patient000{n}_{view}_half_sequence.nii.gz");
    assert_eq!(
        (of[&file(1, "4CH")], of[&file(2, "2CH")], of[&file(3, "4CH")]),
        ("train", "val", "test")
    );
    assert_eq!(
        found.manifest.items[0].spacing_mm.map(|mm| mm.map(|v| (10.0 * v).round())),
        Some([3.0, 4.0])
    );
    let (_dir, found) = imported("trusted");
    let of = splits(&found);
    assert_eq!(
        (of["263R_imgUS.nii.gz"], of["561R_imgUS.nii.gz"], of["200R_imgUS.nii.gz"]),
        ("test", "val", "train")
    );
    // The subject of two copies comes into the more careful split; where the muscle names the folder alone it is known too.
    let (_dir, found) = imported("stmus_nda");
    let of = splits(&found);
    assert_eq!(
        ["BB_anon_7_1.png", "BB_anon_7_2.png", "anon_8_1.png"].map(|image| of[image]),
        ["val", "val", "test"]
    );
    assert_eq!(found.torn, 1);
    let (_dir, found) = imported("nerve");
    let of = splits(&found);
    assert_eq!(of["1_1.tif"], of["1_2.tif"], "drawn by patient");
    // A list that is not there is told, and what it would say is drawn.
    let dir = tempfile::tempdir().unwrap();
    miniature("otu", dir.path());
    fs::remove_file(dir.path().join("OTU_2d/val.txt")).unwrap();
    let found = import(named("otu").unwrap(), dir.path(), &dir.path().join("out")).unwrap();
    assert!(
        found.notes.iter().any(|note| note.contains("OTU_2d/val.txt is not there")),
        "{:?}",
        found.notes
    );
    assert_eq!(splits(&found)["1.JPG"], "train");
}

#[test]
fn a_shorter_clip_keeps_no_frame_of_the_one_that_was_unpacked_before() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let unpacked = |set: &str, names: &[&str]| {
        let set = dir.path().join(set);
        cine(&set, names);
        import(named("thyroid_cine").unwrap(), &set, &out).unwrap()
    };
    unpacked("first", &["7_1", "7_1", "7_1", "7_2"]);
    let found = unpacked("second", &["7_1", "7_1", "7_2"]);
    let item = &found.manifest.items[0];
    for folder in [&item.image, &item.masks[0]] {
        assert_eq!(fs::read_dir(folder).unwrap().count(), 2, "{folder}");
    }
    assert!(check(&found.manifest).faults.is_empty());
    // Whose clips are whose is told where numbers do not.
    let told = |found: &Imported| found.notes.iter().any(|note| note.contains("fewer patients"));
    assert!(!told(&found));
    assert!(told(&unpacked("third", &["7_", "7_", "10_"])));
    let notes = Path::new(&item.image).join("00099.txt");
    fs::write(&notes, "a person's").unwrap();
    unpacked("fourth", &["7_1", "7_1", "7_2"]);
    assert!(notes.is_file(), "only frames are taken away");
}

#[test]
fn every_folder_of_pairs_has_its_own_lists() {
    let dir = tempfile::tempdir().unwrap();
    for (folder, learned) in [("a", "left (1)"), ("b", "right (1)")] {
        for side in ["left", "right"] {
            let name = format!("{folder}/{side} (1)");
            pair(dir.path(), &format!("{name}.png"), &format!("{name}.mask.png"), 1, 1);
        }
        let held_back = if learned.starts_with('l') { "right (1)" } else { "left (1)" };
        text(dir.path(), &format!("{folder}/train.txt"), &format!("{learned}\n"));
        text(dir.path(), &format!("{folder}/val.txt"), &format!("{held_back}\n"));
    }
    let out = dir.path().join("out");
    let found = import(named("pairs").unwrap(), dir.path(), &out).unwrap();
    assert_eq!((found.without_mask, found.manifest.items.len()), (0, 4), "masks are no images");
    let splits: Vec<_> = found.manifest.items.iter().map(|i| (&*i.image, i.split)).collect();
    let wanted = [("a/left", "train"), ("a/right", "val"), ("b/left", "val"), ("b/right", "train")];
    for (i, (image, split)) in wanted.into_iter().enumerate() {
        assert_eq!(splits[i], (&*format!("{image} (1).png"), split));
    }
    // All four show the same picture, and nobody knows the patient: folds keep them together.
    assert!(
        found.manifest.items.iter().all(|item| item.group.as_deref() == Some("a/left (1).png"))
    );
    let read = Manifest::read(&found.file).unwrap();
    let folds = [1, 2].map(|n| read.of(Some(&format!("fold-{n}of2"))).count());
    assert_eq!((folds[0].min(folds[1]), folds[0].max(folds[1])), (0, 4));
    // Masks without a label are told; nothing but such masks is no data set.
    let empty = |name: &str| {
        save(&dir.path().join(format!("{name}.mask.png")), SIZE, |_, _| 0);
        import(named("pairs").unwrap(), dir.path(), &out)
    };
    let notes = empty("a/left (1)").unwrap().notes;
    assert!(notes.iter().any(|n| n.contains("with an empty mask: 1 of 4 images")), "{notes:?}");
    empty("a/right (1)").unwrap();
    empty("b/left (1)").unwrap();
    let refused = empty("b/right (1)").unwrap_err().to_string();
    assert!(refused.contains("masks of all 4 images hold no label"), "{refused}");
}

#[test]
fn clips_of_a_manifest_have_the_windows_of_their_masks() {
    let (_dir, found) = imported("camus");
    let text = format!("{}:val", found.file.display());
    let opened = LabelledClips::open(Path::new(&text), &Veil::default(), &mut |_| {}).unwrap();
    let clips = opened.iter().collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!((clips.len(), clips[0].frames.len(), opened.sha256().len()), (1, 5, 64));
    let object = &clips[0].objects[0];
    assert_eq!((object.label, object.windows[0].first, object.windows[0].last), (2, 1, 3));
    assert!(object.masks[0].is_empty() && object.masks[2].area_px() > 330);
    // What training on clips draws from: the labelled frames in a row, no larger than asked.
    let source = DataSource::parse(&text);
    let set = StillSet::load(&source, Some(40), Pick::AllComponents).unwrap();
    assert!(set.clips.is_empty());
    assert!(set.stills[0].name.ends_with(", frame 1"), "{}", set.stills[0].name);
    let set = set.load_clips(&source, Some(40)).unwrap();
    let [piece] = &set.clips[..] else { panic!("{} clips", set.clips.len()) };
    assert_eq!((piece.frames.len(), piece.objects[0].masks.len()), (3, 3));
    assert!(piece.frames.iter().all(|f| f.width_px.max(f.height_px) == 40));
    let first = &piece.objects[0].masks[0];
    assert!(
        (first.width_px(), first.height_px())
            == (piece.frames[0].width_px, piece.frames[0].height_px)
    );
}

#[test]
fn a_check_tells_changed_files_torn_patients_and_near_duplicates() {
    let dir = tempfile::tempdir().unwrap();
    miniature("usgra", dir.path());
    let found = import(named("usgra").unwrap(), dir.path(), &dir.path().join("out")).unwrap();
    assert_eq!((found.without_mask, found.near.count), (1, 0));
    // The first image once more, a little darker, for testing; one patient in two splits; a label without a name.
    let images = dir.path().join("dataset/images");
    save(&images.join("0003.png"), SIZE, |x, y| (f32::from(gray(0, x, y)) * 0.93) as u8);
    fs::copy(dir.path().join("dataset/masks/0000.png"), dir.path().join("dataset/masks/0003.png"))
        .unwrap();
    let item = |n: u8, split: &str, patient: &str| {
        format!(
            "  - {{image: images/000{n}.png, mask: masks/000{n}.png, split: {split}, patient: {patient}}}\n"
        )
    };
    let items = item(0, "train", "p1") + &item(3, "test", "p1") + &item(1, "train", "p2");
    let by_hand = dir.path().join("dataset/mine.yaml");
    fs::write(&by_hand, format!("name: mine\nlabels: {{1: nerve}}\nitems:\n{items}")).unwrap();
    let report = check(&Manifest::read(&by_hand).unwrap());
    assert_eq!((report.near.count, report.near.across), (1, 1), "{:?}", report.near);
    assert!(
        report.faults.iter().any(|f| f.contains("patient p1 is in test and train")),
        "{:?}",
        report.faults
    );
    assert!(
        report.faults.iter().any(|f| f.contains("holds label 2, which `labels` does not name"))
    );
    assert_eq!((report.splits["train"].items, report.splits["train"].patients), (2, 2));

    // Training refuses a file that is not the one the manifest was made from.
    let source = DataSource { dir: found.file.clone(), ..DataSource::default() };
    assert!(StillSet::load(&source, None, Pick::AllComponents).is_ok());
    save(&images.join("0001.png"), SIZE, |_, _| 7);
    let refused = StillSet::load(&source, None, Pick::AllComponents).unwrap_err().to_string();
    assert!(refused.contains("0001.png") && refused.contains("another file"), "{refused}");
    assert_eq!(check(&found.manifest).faults.len(), 1);
    // What cannot be decoded is left out and told; an empty folder is no data set.
    fs::write(images.join("0002.png"), b"no picture").unwrap();
    let again = import(named("usgra").unwrap(), dir.path(), &dir.path().join("out")).unwrap();
    assert_eq!((again.refused.len(), again.manifest.items.len()), (1, 3));
    let nothing = tempfile::tempdir().unwrap();
    let refused = import(named("busi").unwrap(), nothing.path(), &nothing.path().join("out"));
    assert!(
        matches!(&refused, Err(DataError::Unfit { cause, .. }) if cause.contains("no image of busi")),
        "{refused:?}"
    );
}
