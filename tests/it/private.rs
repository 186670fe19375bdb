//! Patient data stays where it is: sixty canaries in the tags of a clip appear in nothing that the
//! program writes or says, what lies outside the ultrasound regions can be made black, and clips
//! are exported without patient data.

mod black;
mod canaries;
mod flow;
mod hidden;
mod leaving;

use std::fs;
use std::path::Path;
use std::process::Output;

use sonomark::codec::{Clip, OpenOptions, open};

use crate::pty_harness::{Answers, Harness};
use crate::surroundings::{PROGRAM, program};

const SIDE: u16 = 24;

pub(crate) fn element(out: &mut Vec<u8>, group: u16, element: u16, vr: &[u8; 2], value: &[u8]) {
    out.extend(group.to_le_bytes());
    out.extend(element.to_le_bytes());
    out.extend(vr);
    let even = value.len().next_multiple_of(2);
    let pad = if vr == b"UI" { 0 } else { b' ' };
    if matches!(vr, b"OB" | b"SQ" | b"UT" | b"UN") {
        out.extend([0, 0]);
        out.extend((even as u32).to_le_bytes());
    } else {
        out.extend((even as u16).to_le_bytes());
    }
    out.extend(value);
    out.resize(out.len() + even - value.len(), pad);
}

fn canary(number: usize) -> String {
    format!("CANARY{number:02}ZQ")
}

/// The beginning of a DICOM file, explicit little endian.
fn head() -> Vec<u8> {
    let mut out = vec![0; 128];
    out.extend(b"DICM");
    let mut meta = Vec::new();
    element(&mut meta, 2, 0x10, b"UI", b"1.2.840.10008.1.2.1");
    element(&mut out, 2, 0, b"UL", &(meta.len() as u32).to_le_bytes());
    out.extend(meta);
    out
}

/// An ultrasound image with sixty canaries in text tags, private ones included; with a region,
/// columns 4 to 15 and rows 6 to 20, or without.
fn clip(named: bool) -> Vec<u8> {
    if named { clip_of(&[[4, 6, 15, 20]]) } else { clip_of(&[]) }
}

/// The same with these regions: first column and row, last column and row.
fn clip_of(regions: &[[u32; 4]]) -> Vec<u8> {
    let mut out = head();
    element(&mut out, 8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.6.1");
    element(&mut out, 8, 0x18, b"UI", b"1.2.3.4.5");
    // Names, places, people, descriptions.
    let mut number = 0;
    let mut plant = |out: &mut Vec<u8>, group: u16, elements: &[u16], vr: &[u8; 2]| {
        for &each in elements {
            element(out, group, each, vr, canary(number).as_bytes());
            number += 1;
        }
    };
    plant(&mut out, 8, &[0x50, 0x60], b"SH");
    plant(&mut out, 8, &[0x80, 0x81, 0x90, 0x1010, 0x1030, 0x103e, 0x1040, 0x1048, 0x1050], b"LO");
    plant(&mut out, 8, &[0x1060, 0x1070, 0x1080, 0x1090, 0x2111], b"LO");
    plant(&mut out, 9, &[0x10, 0x1001, 0x1002, 0x1003], b"LO");
    plant(&mut out, 0x10, &[0x10, 0x20, 0x21, 0x30, 0x32, 0x40, 0x1000, 0x1001, 0x1005], b"LO");
    plant(&mut out, 0x10, &[0x1010, 0x1040, 0x1060, 0x1080, 0x1090, 0x2000, 0x2110, 0x2150], b"LO");
    plant(&mut out, 0x10, &[0x2152, 0x2154, 0x2160, 0x2180, 0x21b0, 0x4000], b"LO");
    plant(&mut out, 0x18, &[0x15, 0x1000, 0x1012, 0x1020, 0x1030, 0x4000], b"LO");
    if !regions.is_empty() {
        let items: Vec<u8> = regions.iter().flat_map(|at| region(1, at)).collect();
        element(&mut out, 0x18, 0x6011, b"SQ", &items);
    }
    plant(&mut out, 0x20, &[0x0d, 0x0e, 0x10, 0x4000], b"LO");
    for (tag, value) in [(0x02, 1), (0x10, SIDE), (0x11, SIDE), (0x100, 8), (0x101, 8), (0x102, 7)]
    {
        if tag == 0x10 {
            element(&mut out, 0x28, 0x04, b"CS", b"MONOCHROME2");
        }
        element(&mut out, 0x28, tag, b"US", &value.to_le_bytes());
    }
    plant(&mut out, 0x32, &[0x1032, 0x1033, 0x1060, 0x1070, 0x4000], b"LO");
    plant(&mut out, 0x40, &[0x242, 0x254], b"LO");
    assert_eq!(number, 60, "sixty canaries");
    element(&mut out, 0x7fe0, 0x10, b"OB", &[200; SIDE as usize * SIDE as usize]);
    out
}

/// An item of SequenceOfUltrasoundRegions of this spatial format.
pub(crate) fn region(format: u16, [x0, y0, x1, y1]: &[u32; 4]) -> Vec<u8> {
    let mut item = Vec::new();
    element(&mut item, 0x18, 0x6012, b"US", &format.to_le_bytes());
    for (tag, value) in [(0x6018, x0), (0x601a, y0), (0x601c, x1), (0x601e, y1)] {
        element(&mut item, 0x18, tag, b"UL", &value.to_le_bytes());
    }
    let mut sequence = vec![0xfe, 0xff, 0x00, 0xe0];
    sequence.extend((item.len() as u32).to_le_bytes());
    sequence.extend(item);
    sequence
}

struct Home(tempfile::TempDir);

impl Home {
    fn run(&self, words: &[&str]) -> Output {
        let temporary = self.0.path().join("tmp");
        fs::create_dir_all(&temporary).unwrap();
        let mut command = program(self.0.path());
        command.env("TMPDIR", temporary).env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
        command.args(words).output().unwrap()
    }
}

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|w| w == word.as_bytes())
}

fn start(home: &Home, clip: &str) -> Harness {
    let command = [PROGRAM, "--device", "cpu", clip];
    let folder = home.0.path().to_str().unwrap();
    Harness::start(&command, &[("HOME", folder)], 100, 30, (8, 16), Answers::xterm())
}

fn shown_of(path: &Path) -> Clip {
    open(path, &OpenOptions::default()).unwrap()
}

#[test]
fn every_clip_whose_file_does_not_say_otherwise_opens_with_the_badge() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for name in ["clips/ultrabones", "stills/usgra_0162.png", "volumes/deepreg_case0.nii.gz"] {
        let badge = shown_of(&data.join(name)).privacy().badge().map(str::to_owned);
        assert!(badge.unwrap_or_default().starts_with("may contain patient data"), "{name}");
    }
}

#[test]
fn a_crash_leaves_no_core_and_nothing_started_gets_more_rights() {
    let mut child = std::process::Command::new(PROGRAM)
        .arg("decode-pictures")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Its greeting comes when it has set everything up.
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 1]).unwrap();
    let told = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap();
    let (limits, status) = (told("limits"), told("status"));
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    // Not 0: then a program that takes cores in is given them all the same.
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["1", "1"], "{core}");
    assert!(status.lines().any(|line| line == "NoNewPrivs:\t1"), "{status}");
    drop(child.stdin.take());
    child.wait().unwrap();
}
