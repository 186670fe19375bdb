//! Our own parsers under random changes of sound inputs, for as long as somebody lets it run.
//!
//! No instrumented build: what drives it is the sentence. An input that is refused in words that were
//! not seen before is kept and changed further. `SONOMARK_MUTATE=SECONDS` is the time of each parser,
//! `SONOMARK_MUTATE_ONLY=NAME,NAME` leaves others out; a panic prints the input's place and fails. What earlier runs
//! kept lies in `tests/data/corpora/NAME`: it is gone through at every test run, and later runs begin with it;
//! `SONOMARK_MUTATE_KEEP=1` adds the small inputs of a run.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;
use sonomark::codec::{JpegLs, LabelVolume, OpenOptions, Segmentation, is_complete, open};
use sonomark::config::person::Person;
use sonomark::config::{Flags, Settings};
use sonomark::domain::Region;
use sonomark::export::{ExportFormat, Job, Target, export, read};
use sonomark::net::config::ModelCard;
use sonomark::net::weights::sha256_hex;
use sonomark::project::load_read_only;

use super::checked;
use super::corpus::{Class, case};
use crate::codec::data;
use crate::codec::jpeg_ls::streams;
use crate::export::{info, noisy};
use crate::project::{annotator, follow, journals, open as open_project, random_line};

/// Inputs that are kept for further changes.
const POOL: usize = 2_000;
/// Most that `tests/data/corpora` holds for a parser, and the longest input in it: the repository stays small.
const KEPT: usize = 40;
const KEPT_BYTES: usize = 16_384;

type Says = Box<dyn Fn(&Path, &[u8]) -> Option<String>>;

/// A parser: sound inputs, and what it says of one; `None` when it takes it.
struct Parser {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    says: Says,
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn dicom(folder: &Path, bytes: &[u8]) -> Option<String> {
    let path = put(folder, "a.dcm", bytes);
    if let Ok(held) = Segmentation::open(&path) {
        return (0..held.frames().len().min(3))
            .find_map(|frame| held.pixels(frame).err())
            .map(|error| error.to_string());
    }
    match open(&path, &OpenOptions { cache_mib: 1, ..OpenOptions::default() }) {
        Ok(clip) => clip.frame(clip.info().frames - 1).err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

fn volume(folder: &Path, bytes: &[u8]) -> Option<String> {
    let path = put(folder, "a.nii", bytes);
    if let Ok(labels) = LabelVolume::open(&path) {
        let _ = labels.each_slice(|_, _| {});
    }
    open(&path, &OpenOptions::default()).err().map(|error| error.to_string())
}

fn jpeg_ls(_: &Path, bytes: &[u8]) -> Option<String> {
    JpegLs::decode(bytes, 1 << 20).err().map(|error| error.to_string())
}

/// What decides before any decoder is started.
fn structure(folder: &Path, bytes: &[u8]) -> Option<String> {
    is_complete(&put(folder, "a.png", bytes)).err().map(|error| error.to_string())
}

fn annotation(folder: &Path, bytes: &[u8], name: &str, format: ExportFormat) -> Option<String> {
    let (path, info) = (put(folder, name, bytes), info());
    let target = Target { info: &info, frame_names: &[], origin: None, stop: None };
    read(&path, Some(format), &target).err().map(|error| error.to_string())
}

fn coco(folder: &Path, bytes: &[u8]) -> Option<String> {
    annotation(folder, bytes, "a.json", ExportFormat::Coco)
}

fn cvat(folder: &Path, bytes: &[u8]) -> Option<String> {
    annotation(folder, bytes, "a.xml", ExportFormat::Cvat)
}

fn csv(folder: &Path, bytes: &[u8]) -> Option<String> {
    annotation(folder, bytes, "a.csv", ExportFormat::Csv)
}

fn labelme(folder: &Path, bytes: &[u8]) -> Option<String> {
    annotation(folder, bytes, "00001.json", ExportFormat::Labelme)
}

fn yolo(folder: &Path, bytes: &[u8]) -> Option<String> {
    annotation(folder, bytes, "00001.txt", ExportFormat::Yolo)
}

fn segmentation(folder: &Path, bytes: &[u8]) -> Option<String> {
    annotation(folder, bytes, "a.seg.nrrd", ExportFormat::SegNrrd)
}

fn indexed(folder: &Path, bytes: &[u8]) -> Option<String> {
    annotation(folder, bytes, "00001.png", ExportFormat::Davis)
}

/// The chain of a journal begins with the name of its file.
fn journal(folder: &Path, bytes: &[u8], name: &OsStr) -> Option<String> {
    let hash = sonomark::cli::script::clip().content_hash;
    let ops = folder.join("clips").join(&hash.0).join("ops");
    fs::create_dir_all(&ops).unwrap();
    fs::write(ops.join(name), bytes).unwrap();
    match load_read_only(folder, &hash) {
        Ok(loaded) => loaded.notes.first().cloned(),
        Err(error) => Some(error.to_string()),
    }
}

/// Settings of a home folder in which `name` holds the bytes.
fn settings(folder: &Path, name: &str, bytes: &[u8]) -> Option<String> {
    let held = folder.join(".config/sonomark");
    fs::create_dir_all(&held).unwrap();
    put(&held, name, bytes);
    let home = folder.to_str().unwrap().to_owned();
    let env = move |name: &str| (name == "HOME").then(|| home.clone().into());
    let faults = Settings::load_with(&Flags::default(), &env).err()?.to_string();
    faults.lines().next().map(str::to_owned)
}

fn config(folder: &Path, bytes: &[u8]) -> Option<String> {
    let _ = String::from_utf8_lossy(bytes).parse::<Region>();
    settings(folder, "config.yaml", bytes)
}

fn schema(folder: &Path, bytes: &[u8]) -> Option<String> {
    settings(folder, "schema.yaml", bytes)
}

fn person(_: &Path, bytes: &[u8]) -> Option<String> {
    let faults = Person::read("person.yaml", &String::from_utf8_lossy(bytes)).err()?.to_string();
    faults.lines().next().map(str::to_owned)
}

fn card(_: &Path, bytes: &[u8]) -> Option<String> {
    let faults = ModelCard::from_yaml(&String::from_utf8_lossy(bytes)).err()?.to_string();
    faults.lines().next().map(str::to_owned)
}

fn parsers(folder: &Path) -> Vec<Parser> {
    let bytes = |file: &str| fs::read(data().join(file)).unwrap();
    let sound = |class: Class, count: usize| -> Vec<Vec<u8>> {
        (0..4096)
            .rev()
            .map(case)
            .filter(|c| c.class == class)
            .take(count)
            .map(|c| c.bytes)
            .collect()
    };
    let annotation = noisy(&[0, 1]);
    let clip = info();
    let written = |format: ExportFormat, target: &str, file: &str| {
        let target = folder.join(target);
        export(&Job::new(&annotation, &clip), format, &target).unwrap();
        vec![fs::read(if file.is_empty() { target } else { target.join(file) }).unwrap()]
    };
    let root = folder.join("project");
    let (mut store, loaded) = open_project(&root, "anna");
    let (mut script, mut random) = (annotator(&loaded), Rng::with_seed(11));
    for _ in 0..40 {
        let _ = follow(&mut store, &mut script, &random_line(&mut random));
    }
    drop(store);
    let segmented = written(ExportFormat::DicomSeg, "a.seg.dcm", "");
    let packed = written(ExportFormat::Nifti, "a.nii.gz", "");
    let mut nifti = Vec::new();
    flate2::read::GzDecoder::new(&packed[0][..]).read_to_end(&mut nifti).unwrap();
    let nrrd = written(ExportFormat::Nrrd, "a.nrrd", "");
    let stills = ["stills/usgra_0162.mask.png", "clips/ultrabones/00000.jpg"].map(bytes);
    let ls_streams = streams().into_values().map(|(stream, _)| stream).collect();
    let boxed = |name, seeds, says: Says| Parser { name, seeds, says };
    let parser =
        |name, seeds, says: fn(&Path, &[u8]) -> Option<String>| boxed(name, seeds, Box::new(says));
    let session = journals(&root).swap_remove(0);
    let own = session.file_name().unwrap().to_owned();
    let config_seed = b"theme: dark\nkeymap: vim\nfeatures_mib: 64\noutside: fan:1,2,3,4,5,6\n";
    let schema_seed = b"labels:\n  - nerve\n  - artery\n";
    let person_seed = b"reaction_ms: 243\nmeasured: 2026-11-26\nmacros:\n  m: . F\n";
    written(ExportFormat::Davis, "davis", "meta.json");
    let png = format!("davis/Annotations/{}/00001.png", clip.content_hash.short());
    let png = fs::read(folder.join(png)).unwrap();
    vec![
        parser("dicom", [sound(Class::Sound, 40), segmented].concat(), dicom),
        parser("jpeg_ls", ls_streams, jpeg_ls),
        parser("volume", [vec![nifti], packed, nrrd].concat(), volume),
        parser("structure", stills.to_vec(), structure),
        parser("coco", written(ExportFormat::Coco, "a.json", ""), coco),
        parser("cvat", written(ExportFormat::Cvat, "a.xml", ""), cvat),
        parser("csv", written(ExportFormat::Csv, "a.csv", ""), csv),
        parser("labelme", written(ExportFormat::Labelme, "labelme", "00001.json"), labelme),
        parser("yolo", written(ExportFormat::Yolo, "yolo", "labels/00001.txt"), yolo),
        parser("seg.nrrd", written(ExportFormat::SegNrrd, "a.seg.nrrd", ""), segmentation),
        parser("indexed", vec![png], indexed),
        boxed(
            "journal",
            vec![fs::read(session).unwrap()],
            Box::new(move |folder, bytes| journal(folder, bytes, &own)),
        ),
        parser("config", vec![config_seed.to_vec()], config),
        parser("schema", vec![schema_seed.to_vec()], schema),
        parser("person", vec![person_seed.to_vec()], person),
        parser("card", vec![bytes("golden/card.yaml")], card),
    ]
}

/// One to four changes; `others` lend parts.
fn changed(random: &mut Rng, bytes: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=random.usize(..4) {
        // Headers decide more than what follows them.
        let reach = if random.bool() { out.len() } else { out.len().min(500) };
        let at = random.usize(..reach.max(1)).min(out.len());
        let end = (at + random.usize(1..24)).min(out.len());
        match random.u8(..9) {
            0 if at < out.len() => out[at] ^= 1 << random.u8(..8),
            1 if at < out.len() => {
                out[at] = [0, 1, 0x7f, 0x80, 0xff, b'-', b'"'][random.usize(..7)]
            }
            2 => drop(out.drain(at..end)),
            3 => {
                let part = out[at..end].to_vec();
                out.splice(at..at, part);
            }
            4 => {
                let noise: Vec<u8> = (0..random.usize(1..9)).map(|_| random.u8(..)).collect();
                out.splice(at..at, noise);
            }
            5 => out[at..end].fill([0, 0xff][random.usize(..2)]),
            6 => {
                let other = &others[random.usize(..others.len())];
                let from = random.usize(..other.len().max(1)).min(other.len());
                let to = (from + random.usize(1..200)).min(other.len());
                out.splice(at..end, other[from..to].iter().copied());
            }
            7 => {
                let digits = (at..out.len()).find(|&i| out[i].is_ascii_digit());
                let numbers = ["-1", "0", "99999999999", "1e400", "4294967296", "0.5", "NaN"];
                let number = numbers[random.usize(..numbers.len())];
                if let Some(digits) = digits {
                    out.splice(digits..=digits, number.bytes());
                }
            }
            _ => out.truncate(out.len() - random.usize(..(out.len() / 4).max(1))),
        }
    }
    out
}

/// The words of a sentence that are letters alone: without numbers, paths and most of what it quotes.
fn shape(sentence: &str) -> String {
    let words = sentence.split_whitespace().map(|word| word.trim_matches([',', ';', ':', '.']));
    let plain = words.filter(|word| word.chars().all(|c| c.is_ascii_alphabetic()));
    plain.take(40).collect::<Vec<_>>().join(" ")
}

fn corpus(name: &str) -> PathBuf {
    data().join("corpora").join(name)
}

/// What earlier runs kept for a parser, in the order of the names.
fn kept(name: &str) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(corpus(name)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

fn keep(name: &str, input: &[u8]) {
    let folder = corpus(name);
    fs::create_dir_all(&folder).unwrap();
    if input.len() <= KEPT_BYTES && fs::read_dir(&folder).unwrap().count() < KEPT {
        fs::write(folder.join(&sha256_hex(input)[..16]), input).unwrap();
    }
}

/// What `says` of an input; a panic leaves the input behind and fails.
fn said(parser: &Parser, place: &Path, input: &[u8]) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(|| (parser.says)(place, input))) {
        Ok(sentence) => {
            sentence.as_deref().inspect(|sentence| checked(sentence));
            sentence
        }
        Err(_) => {
            let (_, left) = tempfile::NamedTempFile::new().unwrap().keep().unwrap();
            fs::write(&left, input).unwrap();
            panic!("{} panics on {}", parser.name, left.display());
        }
    }
}

#[test]
fn what_earlier_runs_kept_is_taken_or_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    for parser in parsers(folder.path()) {
        let place = tempfile::tempdir().unwrap();
        let inputs = kept(parser.name);
        assert!(!inputs.is_empty(), "nothing is kept for {}", parser.name);
        let refused = inputs.iter().filter(|input| said(&parser, place.path(), input).is_some());
        assert!(refused.count() > 0, "{}: nothing that is kept is refused", parser.name);
    }
}

#[test]
#[ignore = "runs for as long as SONOMARK_MUTATE says, seconds for each parser"]
fn our_parsers_survive_mutations() {
    let seconds = std::env::var("SONOMARK_MUTATE").ok().and_then(|s| s.parse().ok()).unwrap_or(5);
    let folder = tempfile::tempdir().unwrap();
    let only = std::env::var("SONOMARK_MUTATE_ONLY").ok();
    let keeps = std::env::var_os("SONOMARK_MUTATE_KEEP").is_some();
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only.split(',').any(|n| n == name));
    for parser in parsers(folder.path()).into_iter().filter(|parser| wanted(parser.name)) {
        let Parser { name, seeds, .. } = &parser;
        let place = tempfile::tempdir().unwrap();
        let mut pool = [seeds.clone(), kept(name)].concat();
        let (mut random, mut tried, mut taken) = (Rng::with_seed(2_026), 0u64, 0u64);
        let refused: Vec<String> =
            seeds.iter().filter_map(|seed| said(&parser, place.path(), seed)).collect();
        assert!(refused.len() < seeds.len(), "{name}: no seed is taken, {refused:?}");
        let old = pool.iter().filter_map(|input| said(&parser, place.path(), input));
        let mut shapes: HashSet<String> = old.map(|sentence| shape(&sentence)).collect();
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            let at = random.usize(..pool.len());
            let input = changed(&mut random, &pool[at], seeds);
            tried += 1;
            let Some(sentence) = said(&parser, place.path(), &input) else {
                taken += 1;
                continue;
            };
            if shapes.insert(shape(&sentence)) && pool.len() < POOL {
                if keeps {
                    keep(name, &input);
                }
                pool.push(input);
            }
        }
        println!("{name}: {tried} inputs, {taken} taken, {} kinds of refusal", shapes.len());
    }
}
