//! One volume in every container, packing and byte order, written here by the rules of the formats.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use sonomark::codec::{Axis, Cut, LabelVolume, OpenOptions, open};
use sonomark::domain::{Bitmap, ClipInfo, ClipKind, Placement};
use sonomark::export::{ExportFormat, Job, export};

use super::reading::drawn;
use super::{opened, refusal};

/// Columns, rows and slices.
const SIZE: [usize; 3] = [4, 3, 2];
/// In the axes of DICOM (LPS), mm.
const PLACE: Placement = Placement {
    origin_mm: [10.0, 20.0, 30.0],
    steps_mm: [[0.5, 0.0, 0.0], [0.0, 0.25, 0.0], [0.0, 0.0, 2.0]],
};

fn value([x, y, z]: [usize; 3]) -> i16 {
    (x + 10 * y + 100 * z) as i16 - 50
}

fn places() -> impl Iterator<Item = [usize; 3]> {
    let [w, h, d] = SIZE;
    (0..w * h * d).map(move |i| [i % w, i / w % h, i / w / h])
}

fn little() -> Vec<u8> {
    places().flat_map(|at| value(at).to_le_bytes()).collect()
}

fn big() -> Vec<u8> {
    places().flat_map(|at| value(at).to_be_bytes()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::default());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn nrrd(space: &str, signs: [i32; 2], more: &str) -> Vec<u8> {
    let [a, b] = signs.map(f64::from);
    format!(
        "NRRD0004\ntype: short\ndimension: 3\nspace: {space}\nsizes: 4 3 2\nspace directions: \
         ({},0,0) (0,{},0) (0,0,2)\nkinds: domain domain domain\nspace origin: ({},{},30)\n{more}\n",
        0.5 * a,
        0.25 * b,
        10.0 * a,
        20.0 * b
    )
    .into_bytes()
}

fn meta_image(more: &str) -> Vec<u8> {
    format!(
        "ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_SHORT\nElementSpacing = \
         0.5 0.25 2\nOffset = 10 20 30\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n{more}\n"
    )
    .into_bytes()
}

/// A NIfTI-1 header and the four bytes behind it, in big-endian order; its axes are RAS.
fn nifti_big() -> Vec<u8> {
    let mut bytes = vec![0u8; 352];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &348i32.to_be_bytes());
    for (i, n) in [3i16, 4, 3, 2, 1, 1, 1, 1].iter().enumerate() {
        put(40 + 2 * i, &n.to_be_bytes());
    }
    put(70, &4i16.to_be_bytes());
    put(72, &16i16.to_be_bytes());
    for (i, mm) in [1.0f32, 0.5, 0.25, 2.0].iter().enumerate() {
        put(76 + 4 * i, &mm.to_be_bytes());
    }
    put(108, &352f32.to_be_bytes());
    put(123, &[2]);
    put(254, &1i16.to_be_bytes());
    let rows = [[-0.5f32, 0.0, 0.0, -10.0], [0.0, -0.25, 0.0, -20.0], [0.0, 0.0, 2.0, 30.0]];
    for (i, number) in rows.iter().flatten().enumerate() {
        put(280 + 4 * i, &number.to_be_bytes());
    }
    put(344, b"n+1\0");
    bytes
}

#[test]
fn one_volume_is_the_same_in_every_container() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let write = |name: &str, parts: &[&[u8]]| fs::write(at(name), parts.concat()).unwrap();
    let raw = "endian: little\nencoding: raw\n";
    write("raw.nrrd", &[&nrrd("LPS", [1, 1], raw), &little()]);
    let packed = "endian: big\nencoding: gzip\n";
    write("gzip.nrrd", &[&nrrd("left-posterior-superior", [1, 1], packed), &gzip(&big())]);
    write("voxels.raw", &[&big()]);
    let beside = "endian: big\nencoding: raw\ndata file: voxels.raw\n";
    write("ras.nhdr", &[&nrrd("right-anterior-superior", [-1, -1], beside)]);
    write("voxels.raw.gz", &[&gzip(&little())]);
    let beside = "endian: little\nencoding: gz\ndata file: voxels.raw.gz\n";
    write("las.nhdr", &[&nrrd("LAS", [1, -1], beside)]);
    let words: Vec<String> = places().map(|at| value(at).to_string()).collect();
    write("words.nrrd", &[&nrrd("LPS", [1, 1], "encoding: ascii\n"), words.join(" ").as_bytes()]);
    let order = "BinaryDataByteOrderMSB = True\n";
    write("a.mhd", &[&meta_image(&format!("{order}ElementDataFile = voxels.raw"))]);
    let small = zlib(&little());
    let compressed = format!("CompressedData = True\nCompressedDataSize = {}\n", small.len());
    write("a.mha", &[&meta_image(&format!("{compressed}ElementDataFile = LOCAL")), &small]);
    write("a.nii", &[&nifti_big(), &big()]);
    write("a.nii.gz", &[&gzip(&[nifti_big(), big()].concat())]);

    let names = [
        "raw.nrrd",
        "gzip.nrrd",
        "ras.nhdr",
        "las.nhdr",
        "words.nrrd",
        "a.mhd",
        "a.mha",
        "a.nii",
        "a.nii.gz",
    ];
    let gray = |at| (f32::from(value(at) + 50) / 123.0 * 255.0).round() as u8;
    for name in names {
        let clip = opened(&at(name));
        let info = clip.info();
        assert_eq!((info.width_px, info.height_px, info.frames), (4, 3, 2), "{name}");
        let found = info.placement.unwrap();
        let numbers = |p: &Placement| [&p.steps_mm.concat()[..], &p.origin_mm].concat();
        let worst = numbers(&found).into_iter().zip(numbers(&PLACE)).map(|(a, b)| (a - b).abs());
        assert!(worst.fold(0.0, f64::max) < 1e-6, "{name}: {found:?}");
        for place in places() {
            let pixel = clip.frame(place[2]).unwrap().at(place[0] as i64, place[1] as i64);
            assert_eq!(pixel, gray(place), "{name} {place:?}");
        }
        let options = OpenOptions {
            cut: Cut { axis: Some(Axis::Sagittal), ..Cut::default() },
            ..OpenOptions::default()
        };
        let across = open(&at(name), &options).unwrap();
        assert_eq!(across.info().frames, 4, "{name}");
        assert_eq!(across.frame(3).unwrap().at(2, 1), gray([3, 2, 1]), "{name}");
    }
    damaged_ones_are_refused(dir.path());
}

#[test]
fn an_image_in_nifti_needs_no_distance_between_slices() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.nii");
    // Of two axes, and of three of which the last has one slice.
    for axes in [2i16, 3] {
        let mut head = nifti_big();
        head[40..42].copy_from_slice(&axes.to_be_bytes());
        head[46..48].copy_from_slice(&1i16.to_be_bytes());
        head[88..92].fill(0);
        fs::write(&path, [head, big()[..24].to_vec()].concat()).unwrap();
        let info = opened(&path).info().clone();
        let found = (info.kind, info.pixel_spacing_mm);
        assert_eq!(found, (ClipKind::Still, Some([0.5, 0.25])), "{axes} axes");
    }
}

/// An NRRD of two or more axes with these fields and as many voxels as it takes.
fn nrrd_of(path: &Path, sizes: &str, fields: &str) {
    let axes = sizes.split(' ').count();
    let voxels = sizes.split(' ').map(|size| size.parse::<u8>().unwrap()).product();
    let header = format!(
        "NRRD0005\ntype: uint8\ndimension: {axes}\nsizes: {sizes}\nencoding: raw\n{fields}\n\n"
    );
    fs::write(path, [header.into_bytes(), (0..voxels).collect()].concat()).unwrap();
}

#[test]
fn units_and_spaces_of_nrrd_give_millimetres() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.nrrd");
    let lps = "space: LPS\nspace origin: (1,2,3)\n";
    let steps = "space directions: (0.05,0,0) (0,0.025,0) (0,0,0.2)";
    let cm = "space units: \"cm\" \"cm\" \"cm\"";
    nrrd_of(&path, "4 3 2", &format!("{lps}{steps}\n{cm}"));
    let place = opened(&path).info().placement.unwrap();
    assert_eq!((place.spacing_mm(), place.origin_mm), ([0.5, 0.25, 2.0], [10.0, 20.0, 30.0]));
    // Spaces without a place in the patient have lengths all the same; unknown units have none.
    for (fields, mm) in [
        (format!("space dimension: 3\n{steps}\n{cm}"), Some([0.5, 0.25])),
        (
            "space: scanner-xyz\nspace directions: (0.3,0.4,0) (0,2,0) (0,0,1)".into(),
            Some([0.5, 2.0]),
        ),
        ("spacings: 0.05 0.025 1\nunits: \"cm\" \"cm\" \"cm\"".into(), Some([0.5, 0.25])),
        (format!("space dimension: 3\n{steps}\nspace units: \"px\" \"px\" \"px\""), None),
    ] {
        nrrd_of(&path, "4 3 2", &fields);
        let clip = opened(&path);
        assert_eq!((clip.info().pixel_spacing_mm, clip.info().placement), (mm, None), "{fields}");
    }
}

#[test]
fn a_plane_over_time_in_nrrd_is_a_cine() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.nrrd");
    nrrd_of(&path, "4 3 2", "kinds: domain domain time\nspacings: 0.5 0.25 NaN");
    let clip = opened(&path);
    assert_eq!((clip.info().kind, clip.info().frames), (ClipKind::Cine, 2));
    assert_eq!(clip.info().pixel_spacing_mm, Some([0.5, 0.25]));
    for (sizes, kinds) in
        [("2 4 3", "time domain domain"), ("2 4 3 2", "time domain domain domain")]
    {
        nrrd_of(&path, sizes, &format!("kinds: {kinds}"));
        let why = refusal(&path);
        assert!(why.contains("before its last one is time"), "{why}");
    }
}

#[test]
fn labels_of_a_long_clip_are_read_where_a_picture_would_take_too_much() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.nrrd");
    // The header alone: nothing of this size is written here.
    let of = |sizes: &str| {
        let fields = format!("type: uint8\ndimension: 3\nsizes: {sizes}\nencoding: gzip");
        fs::write(&path, format!("NRRD0004\n{fields}\n\n")).unwrap();
        LabelVolume::open(&path).map(|volume| volume.size()).map_err(|error| error.to_string())
    };
    assert_eq!(of("1024 768 10000"), Ok([1024, 768, 10_000]));
    assert!(refusal(&path).contains("more than 1073741824 voxels"));
    assert!(of("16384 16384 100000").unwrap_err().contains("voxels"));
}

/// Half of what is packed, and voxels that are not there.
fn damaged_ones_are_refused(folder: &Path) {
    for name in ["gzip.nrrd", "a.mha", "a.nii.gz", "raw.nrrd", "a.nii"] {
        let path = folder.join(name);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 12]).unwrap();
        assert!(refusal(&path).contains(name), "{name}");
    }
    for (gone, header) in [("voxels.raw", "ras.nhdr"), ("voxels.raw.gz", "las.nhdr")] {
        fs::remove_file(folder.join(gone)).unwrap();
        assert!(refusal(&folder.join(header)).contains(gone), "{header}");
    }
}

#[test]
fn slices_of_a_volume_without_a_place_keep_their_distance() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mha");
    // As programs write them that know sizes and no directions.
    let head = "ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_SHORT\n";
    let write = |spacing: &str| {
        let text = format!("{head}{spacing}ElementDataFile = LOCAL\n");
        fs::write(&path, [text.into_bytes(), little()].concat()).unwrap();
        opened(&path).info().clone()
    };
    let told = write("ElementSpacing = 0.5 0.25 3\n");
    let spacing = (told.pixel_spacing_mm, told.slice_spacing_mm, told.placement);
    assert_eq!(spacing, (Some([0.5, 0.25]), Some(3.0), None));
    let cut = Cut { axis: Some(Axis::X), ..Cut::default() };
    let across = open(&path, &OpenOptions { cut, ..OpenOptions::default() }).unwrap();
    assert_eq!(across.info().pixel_spacing_mm, Some([0.25, 3.0]));
    assert_eq!(across.info().slice_spacing_mm, Some(0.5));
    let untold = write("");
    assert_eq!((untold.pixel_spacing_mm, untold.slice_spacing_mm), (None, None));
    let partly = ClipInfo { slice_spacing_mm: None, ..told.clone() };
    let masks = drawn(&Bitmap::from_fn(4, 3, |x, _| x == 1).to_mask(), [1]);
    let steps = |[x, y, z]: [f64; 3]| [[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, z]];
    for (info, wanted, assumed) in [
        (&told, [0.5, 0.25, 3.0], false),
        (&partly, [0.5, 0.25, 1.0], true),
        (&untold, [1.0; 3], true),
    ] {
        for (format, ending) in [("nifti", "nii.gz"), ("nrrd", "nrrd"), ("seg.nrrd", "seg.nrrd")] {
            let out = dir.path().join(format!("out.{ending}"));
            let format = ExportFormat::named(format).unwrap();
            let report = export(&Job::new(&masks, info), format, &out).unwrap();
            assert_eq!(report.assumed_mm, assumed, "{format:?}");
            let place = LabelVolume::open(&out).unwrap().placement().unwrap();
            assert_eq!(place.steps_mm, steps(wanted), "{format:?}");
        }
        let png = ExportFormat::named("png").unwrap();
        let out = dir.path().join("png");
        assert!(!export(&Job::new(&masks, info), png, &out).unwrap().assumed_mm);
    }
    // Moments are no lengths.
    let cine = ClipInfo { kind: ClipKind::Cine, ..partly };
    let out = dir.path().join("cine.nii.gz");
    let format = ExportFormat::named("nifti").unwrap();
    assert!(!export(&Job::new(&masks, &cine), format, &out).unwrap().assumed_mm);
}

#[test]
fn a_sequence_of_tracked_images_is_a_cine_without_invented_sizes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mha");
    let write = |spacing: &str, kinds: &str, of_images: &str| {
        let text = format!(
            "ObjectType = Image\nNDims = 3\nBinaryData = True\nDimSize = 4 3 2\n\
             ElementSpacing = {spacing}\nElementType = MET_SHORT\n{kinds}Offset = 0 0 0\n\
             TransformMatrix = 1 0 0 0 1 0 0 0 1\n{of_images}ElementDataFile = LOCAL\n"
        );
        fs::write(&path, [text.into_bytes(), little()].concat()).unwrap();
        opened(&path).info().clone()
    };
    let kinds = "Kinds = domain domain list\n";
    // More than a mebibyte is said of the images.
    let transform = "Seq_Frame0001_ProbeToTrackerTransform = 1 0 0 0\n".repeat(40_000);
    let of_images =
        format!("Seq_Frame0000_Timestamp = 12.5\n{transform}Seq_Frame0001_Timestamp = 12.54\n");
    for (kinds, of_images, step) in
        [(kinds, "", None), ("", &of_images[..], Some(40.0)), (kinds, &of_images[..], Some(40.0))]
    {
        let info = write("1 1 1", kinds, of_images);
        assert_eq!((info.kind, info.frames, info.placement), (ClipKind::Cine, 2, None));
        assert_eq!((info.pixel_spacing_mm, info.slice_spacing_mm), (None, None));
        assert_eq!(info.frame_time_ms.map(f64::round), step);
    }
    assert_eq!(write("0.2 0.3 1", kinds, "").pixel_spacing_mm, Some([0.2, 0.3]));
    let volume = write("1 1 1", "Kinds = domain domain domain\n", "");
    assert_eq!((volume.kind, volume.slice_spacing_mm), (ClipKind::Volume, Some(1.0)));
}
