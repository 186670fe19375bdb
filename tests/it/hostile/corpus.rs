//! USFZ-1: 4,096 files, most of them bad, made from a seed. The classes and their numbers are a
//! table; `case` gives file number `i` of it, the same everywhere.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;

use fastrand::Rng;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use crate::codec::data;
use crate::private::element;

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Truncated,
    Lengths,
    Nesting,
    Dimensions,
    Bombs,
    Syntaxes,
    Polyglots,
    Text,
    Names,
    Checkpoints,
    Records,
    Sound,
}

/// Classes in order with the number of their files, and how many of them open: of all, and of
/// those that are taken by default. What is wrong in a bad one that opens is in no place that
/// matters for a picture: a lie over pixels, a sequence that nests as deep as is allowed.
pub(super) const CLASSES: [(Class, usize, usize, usize); 12] = [
    (Class::Truncated, 512, 0, 0),
    (Class::Lengths, 512, 229, 19),
    (Class::Nesting, 256, 59, 3),
    (Class::Dimensions, 256, 11, 0),
    (Class::Bombs, 256, 51, 1),
    (Class::Syntaxes, 256, 0, 0),
    (Class::Polyglots, 256, 128, 8),
    (Class::Text, 512, 136, 12),
    (Class::Names, 256, 256, 16),
    (Class::Checkpoints, 256, 0, 0),
    (Class::Records, 256, 0, 0),
    (Class::Sound, 512, 512, 32),
];
pub(super) const FILES: usize = 4096;

/// One file.
pub(super) struct Case {
    pub(super) class: Class,
    pub(super) name: OsString,
    pub(super) bytes: Vec<u8>,
}

/// File number `index` of the corpus.
pub(super) fn case(index: usize) -> Case {
    let mut left = index;
    let found = CLASSES.iter().find(|(_, count, ..)| {
        let here = left < *count;
        left -= if here { 0 } else { *count };
        here
    });
    let class = found.unwrap().0;
    let mut random = Rng::with_seed(0x05f2 << 32 | index as u64);
    let random = &mut random;
    let (name, bytes) = match class {
        Class::Truncated => truncated(random, left),
        Class::Lengths => lengths(random, left),
        Class::Nesting => ("nested.dcm".into(), nested(random, left)),
        Class::Dimensions => dimensions(random, left),
        Class::Bombs => bombs(random, left),
        Class::Syntaxes => ("syntax.dcm".into(), syntaxes(random)),
        Class::Polyglots => ("polyglot.dcm".into(), polyglot(random, left)),
        Class::Text => ("text.dcm".into(), text(random)),
        Class::Names => (name(random, left), Image::small().file(EXPLICIT)),
        Class::Checkpoints => checkpoint(random, left),
        Class::Records => record(random, left),
        Class::Sound => ("sound.dcm".into(), sound(random)),
    };
    Case { class, name, bytes }
}

const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const DEFLATED: &str = "1.2.840.10008.1.2.1.99";

/// A DICOM image whose every number can be a lie.
struct Image {
    columns: u16,
    rows: u16,
    frames: String,
    bits: [u16; 3],
    samples: u16,
    colour: &'static str,
    /// Elements before the pixels.
    more: Vec<u8>,
    pixels: Vec<u8>,
}

impl Image {
    fn small() -> Self {
        let (frames, colour) = ("1".to_owned(), "MONOCHROME2");
        let (bits, pixels) = ([8, 8, 7], (0..96).collect());
        Self { columns: 12, rows: 8, frames, bits, samples: 1, colour, more: Vec::new(), pixels }
    }

    fn data_set(&self) -> Vec<u8> {
        let mut out = Vec::new();
        element(&mut out, 8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.6.1");
        element(&mut out, 8, 0x60, b"CS", b"US");
        out.extend(&self.more);
        element(&mut out, 0x28, 0x02, b"US", &self.samples.to_le_bytes());
        element(&mut out, 0x28, 0x04, b"CS", self.colour.as_bytes());
        element(&mut out, 0x28, 0x08, b"IS", self.frames.as_bytes());
        let [allocated, stored, high] = self.bits;
        let words = [
            (0x10, self.rows),
            (0x11, self.columns),
            (0x100, allocated),
            (0x101, stored),
            (0x102, high),
        ];
        for (tag, value) in words {
            element(&mut out, 0x28, tag, b"US", &value.to_le_bytes());
        }
        out
    }

    fn file(&self, syntax: &str) -> Vec<u8> {
        let mut set = self.data_set();
        element(&mut set, 0x7fe0, 0x10, b"OB", &self.pixels);
        with_meta(syntax, &set)
    }

    /// The same with compressed frames.
    fn packed(&self, syntax: &str, frames: &[Vec<u8>]) -> Vec<u8> {
        let mut set = self.data_set();
        set.extend([0xe0, 0x7f, 0x10, 0, b'O', b'B', 0, 0, 0xff, 0xff, 0xff, 0xff]);
        for frame in std::iter::once(&Vec::new()).chain(frames) {
            set.extend([0xfe, 0xff, 0, 0xe0]);
            set.extend((frame.len().next_multiple_of(2) as u32).to_le_bytes());
            set.extend(frame);
            set.resize(set.len() + frame.len() % 2, 0);
        }
        set.extend([0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0]);
        with_meta(syntax, &set)
    }
}

fn with_meta(syntax: &str, set: &[u8]) -> Vec<u8> {
    let mut meta = Vec::new();
    element(&mut meta, 2, 0x10, b"UI", syntax.as_bytes());
    let mut out = vec![0; 128];
    out.extend(b"DICM");
    element(&mut out, 2, 0, b"UL", &(meta.len() as u32).to_le_bytes());
    out.extend(meta);
    out.extend(set);
    out
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Sound files of all kinds, small ones.
fn seed(number: usize) -> (OsString, Vec<u8>) {
    let files = [
        "dicom/ExplVR_BigEnd.dcm",
        "dicom/SC_rgb_rle_2frame.dcm",
        "dicom/MR_small_RLE.dcm",
        "volumes/deepreg_case0.nii.gz",
        "clips/ultrabones/00000.jpg",
        "video/sonosite_eye.mp4",
    ];
    let made = || {
        let gray = image::GrayImage::from_fn(20, 16, |x, y| image::Luma([(x * 7 + y * 3) as u8]));
        let endings = [image::ImageFormat::Png, image::ImageFormat::Tiff, image::ImageFormat::Bmp];
        let format = endings[number % 3];
        let mut bytes = std::io::Cursor::new(Vec::new());
        gray.write_to(&mut bytes, format).unwrap();
        (format!("made.{}", format.extensions_str()[0]).into(), bytes.into_inner())
    };
    match number % 16 {
        // ffmpeg is slow to start: one in sixteen.
        at @ 0..6 => {
            let path = data().join(files[at]);
            (path.file_name().unwrap().to_owned(), fs::read(path).unwrap())
        }
        6..9 => ("small.dcm".into(), Image::small().file(EXPLICIT)),
        9 => ("a.nrrd".into(), nrrd("4 3 2", "raw", &[7; 24])),
        _ => made(),
    }
}

fn nrrd(sizes: &str, encoding: &str, bytes: &[u8]) -> Vec<u8> {
    let head =
        format!("NRRD0004\ntype: uint8\ndimension: 3\nsizes: {sizes}\nencoding: {encoding}\n\n");
    [head.as_bytes(), bytes].concat()
}

fn truncated(random: &mut Rng, number: usize) -> (OsString, Vec<u8>) {
    let (name, mut bytes) = seed(number);
    // Headers hold most boundaries.
    let reach = if random.bool() { bytes.len() } else { bytes.len().min(700) };
    bytes.truncate(random.usize(..reach));
    (name, bytes)
}

/// A length, offset or count somewhere becomes a lie.
fn lengths(random: &mut Rng, number: usize) -> (OsString, Vec<u8>) {
    let (name, mut bytes) = seed(number);
    let lies: [&[u8]; 8] = [
        &[0xff; 4],
        &[0xff, 0xff, 0xff, 0x7f],
        &[0x7f, 0xff, 0xff, 0xff],
        &[0; 4],
        &[0xfe, 0xff, 0xff, 0xff],
        &[1, 0, 0, 0x80],
        b"SQ\0\0",
        &[0xff, 0xff],
    ];
    for _ in 0..=random.usize(..3) {
        let lie = lies[random.usize(..lies.len())];
        let reach = if random.bool() { bytes.len() } else { bytes.len().min(700) };
        let at = random.usize(..reach.saturating_sub(4).max(1));
        for (held, byte) in bytes.iter_mut().skip(at).zip(lie) {
            *held = *byte;
        }
    }
    (name, bytes)
}

fn nested(random: &mut Rng, number: usize) -> Vec<u8> {
    let depth = [10, 60, 70, 300, 2_000, 20_000, 100_000][number % 7];
    let (undefined, tag) = (random.bool(), [0x0008u16, 0x0018, 0x5200][random.usize(..3)]);
    let mut inner = Vec::new();
    if undefined {
        for _ in 0..depth {
            inner.extend(tag.to_le_bytes());
            inner.extend([0x12, 0x21, b'S', b'Q', 0, 0, 0xff, 0xff, 0xff, 0xff]);
            inner.extend([0xfe, 0xff, 0, 0xe0, 0xff, 0xff, 0xff, 0xff]);
        }
        if random.bool() {
            for _ in 0..depth {
                inner.extend([0xfe, 0xff, 0x0d, 0xe0, 0, 0, 0, 0]);
                inner.extend([0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0]);
            }
        }
    } else {
        // Each of a length of its own; deep ones would grow with the square.
        for _ in 0..depth.min(2_000) {
            let mut outer = Vec::with_capacity(inner.len() + 20);
            outer.extend(tag.to_le_bytes());
            outer.extend([0x12, 0x21, b'S', b'Q', 0, 0]);
            outer.extend((inner.len() as u32 + 8).to_le_bytes());
            outer.extend([0xfe, 0xff, 0, 0xe0]);
            outer.extend((inner.len() as u32).to_le_bytes());
            outer.extend(&inner);
            inner = outer;
        }
    }
    Image { more: inner, ..Image::small() }.file(EXPLICIT)
}

fn dimensions(random: &mut Rng, number: usize) -> (OsString, Vec<u8>) {
    let side = [0u16, 1, 16_384, 16_385, 30_000, 65_535];
    let pick = |random: &mut Rng| side[random.usize(..side.len())];
    let frames = ["-1", "0", "4294967296", "99999", "1e9", "100001", "18446744073709551617", "x"];
    let bits =
        [[0, 0, 0], [3, 3, 2], [64, 64, 63], [16, 17, 16], [8, 8, 30], [1, 1, 0], [32, 32, 31]];
    match number % 4 {
        0 | 1 => {
            let frames = frames[random.usize(..frames.len())].to_owned();
            let (columns, rows) = (pick(random), pick(random));
            ("size.dcm".into(), Image { columns, rows, frames, ..Image::small() }.file(EXPLICIT))
        }
        2 => {
            let bits = bits[random.usize(..bits.len())];
            let samples = [0, 1, 2, 3, 65_535][random.usize(..5)];
            ("bits.dcm".into(), Image { bits, samples, ..Image::small() }.file(EXPLICIT))
        }
        _ if random.bool() => {
            let sizes =
                ["65536 65536 65536", "0 0 0", "-1 4 4", "99999999999 1 1", "16384 16384 99999"];
            let encoding = if random.bool() { "raw" } else { "gzip" };
            ("size.nrrd".into(), nrrd(sizes[random.usize(..5)], encoding, &[0; 64]))
        }
        _ => {
            let (name, mut bytes) = seed(10 + random.usize(..3));
            let at = if bytes.starts_with(b"BM") { 18 } else { 16 };
            for byte in bytes.iter_mut().skip(at).take(8) {
                *byte = [0, 0xff, 0x7f, 0x40][random.usize(..4)];
            }
            (name, bytes)
        }
    }
}

fn bombs(random: &mut Rng, number: usize) -> (OsString, Vec<u8>) {
    // Zeros that inflate by a thousand; the size varies, the ratio stays.
    let megabytes = [1usize, 4, 16][random.usize(..3)];
    let zeros = vec![0u8; megabytes << 20];
    match number % 5 {
        0 => {
            let set = Image { more: Vec::new(), ..Image::small() }.data_set();
            ("bomb.dcm".into(), with_meta(DEFLATED, &deflated(&[set, zeros].concat())))
        }
        1 => {
            let mut text = b"Comment\0\0".to_vec();
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&zeros).unwrap();
            text.extend(encoder.finish().unwrap());
            let (name, png) = seed(15);
            (name, [&png[..33], &chunk(b"zTXt", &text), &png[33..]].concat())
        }
        2 => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&nrrd("9 9 9", "raw", &[])).unwrap();
            encoder.write_all(&zeros).unwrap();
            ("bomb.nii.gz".into(), encoder.finish().unwrap())
        }
        3 => {
            // Runs that claim more than the frame has, under headers that lie.
            let mut rle = vec![0u8; 64];
            rle[0] = random.u8(..4);
            rle[4] = [64, 0, 255][random.usize(..3)];
            rle.extend((0..400).map(|_| random.u8(..)));
            let image = Image { columns: 16_000, rows: 16_000, ..Image::small() };
            ("rle.dcm".into(), image.packed("1.2.840.10008.1.2.5", &[rle]))
        }
        _ => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&zeros).unwrap();
            let bytes = nrrd("16384 16384 4", "gzip", &encoder.finish().unwrap());
            ("bomb.nrrd".into(), bytes)
        }
    }
}

fn chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut out = (content.len() as u32).to_be_bytes().to_vec();
    out.extend(kind);
    out.extend(content);
    let sum = crc32fast::hash(&out[4..]);
    out.extend(sum.to_be_bytes());
    out
}

/// Frames of one way of compressing, or noise, under the name of another.
fn syntaxes(random: &mut Rng) -> Vec<u8> {
    let known = [
        ".2", ".1.99", ".4.50", ".4.51", ".4.57", ".4.70", ".4.80", ".4.81", ".4.90", ".4.91",
        ".5", ".4.100", ".4.102", ".4.107", ".4.201", ".4.110", ".9.9", "",
    ];
    let syntax = format!("1.2.840.10008.1.2{}", known[random.usize(..known.len())]);
    let noise: Vec<u8> = (0..random.usize(2..400)).map(|_| random.u8(..)).collect();
    let starts: [&[u8]; 6] = [
        &[],
        &[0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0, 8, 0, 12, 1, 1, 0x11, 0, 0xff, 0xda, 0, 3, 0],
        &[0xff, 0xd8, 0xff, 0xf7, 0, 11, 8, 0, 8, 0, 12, 1, 1, 0x11, 0],
        &[
            0xff, 0x4f, 0xff, 0x51, 0, 41, 0, 0, 0, 0, 0, 12, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 12, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 7, 1, 1,
        ],
        &[0xff, 0xd8, 0xff, 0xc3, 0, 11, 16, 0, 8, 0, 12, 1, 1, 0x11, 0, 0xff, 0xda, 0, 3, 0],
        &[0, 0, 0, 1, 0x67, 0x42],
    ];
    let mut frame = starts[random.usize(..starts.len())].to_vec();
    frame.extend(noise);
    if random.bool() {
        frame.extend([0xff, 0xd9]);
    }
    Image::small().packed(&syntax, &[frame])
}

fn polyglot(random: &mut Rng, number: usize) -> Vec<u8> {
    let mut bytes = match number % 2 {
        0 => Image::small().file(EXPLICIT),
        _ => {
            let mut cut = Image::small().file(EXPLICIT);
            cut.truncate(cut.len() - random.usize(1..90));
            cut
        }
    };
    let starts: [&[u8]; 8] = [
        b"MZ\x90\0\x03",
        b"\x7fELF\x02\x01\x01",
        b"II*\0\x08\0\0\0\0\0\0\0\0\0",
        b"PK\x03\x04\x14",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"GIF89a",
        b"\xff\xd8\xff\xe0",
        b"#!/bin/sh\n",
    ];
    let start = starts[random.usize(..starts.len())];
    bytes[..start.len()].copy_from_slice(start);
    bytes
}

/// Names, descriptions and wrong numbers full of what terminals act on.
fn text(random: &mut Rng) -> Vec<u8> {
    let parts: [&[u8]; 12] = [
        b"\x1b[2J\x1b[H",
        b"\x1b]0;owned\x07",
        b"\x1b]8;;http://x\x1b\\",
        b"\x1b]52;c;aGk=\x07",
        b"\x1bPq#0~\x1b\\",
        b"\x1b_Ga=T\x1b\\",
        b"\xc2\x9b31m",
        b"\x9b31m",
        "\u{202e}gpj.\u{2066}".as_bytes(),
        b"\0\r\n",
        b"\x1b(B\x1b$B",
        "\u{e0041}".as_bytes(),
    ];
    let mut word = Vec::new();
    for _ in 0..random.usize(1..6) {
        word.extend(parts[random.usize(..parts.len())]);
        word.extend(b"Ab");
    }
    let mut more = Vec::new();
    element(&mut more, 8, 0x80, b"LO", &word);
    element(&mut more, 8, 0x103e, b"LO", &word);
    element(&mut more, 0x10, 0x10, b"PN", &word);
    let mut image = Image { more, ..Image::small() };
    // Where a value is quoted in a refusal.
    match random.usize(..4) {
        0 => image.frames = String::from_utf8_lossy(&word).into_owned(),
        1 => element(&mut image.more, 0x20, 0x0d, b"UI", &word),
        2 => image.pixels.truncate(20),
        _ => {}
    }
    let syntax = String::from_utf8_lossy(&word).into_owned();
    image.file(if random.bool() { EXPLICIT } else { &syntax })
}

fn name(random: &mut Rng, number: usize) -> OsString {
    let stems: [&[u8]; 12] = [
        b"\xff\xfe\x80",
        b"line\nbreak",
        b"-rf",
        b"..x",
        b"trailing ",
        b"\x1b[2J",
        "e\u{301}".as_bytes(),
        "\u{202e}mcd".as_bytes(),
        b"$(id)",
        b"a;b|c&d",
        b"'\"`",
        b"%s%n",
    ];
    let mut name = stems[number % stems.len()].to_vec();
    name.extend(random.u16(..).to_string().bytes());
    if random.u8(..8) == 0 {
        name.resize(250, b'x');
    }
    name.extend(b".dcm");
    OsString::from_vec(name)
}

fn checkpoint(random: &mut Rng, number: usize) -> (OsString, Vec<u8>) {
    let tensors = |header: String| -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 64]].concat()
    };
    let big = ["99999999999", "18446744073709551615", "4294967296"][random.usize(..3)];
    match number % 8 {
        0 => ("w.safetensors".into(), [&u64::MAX.to_le_bytes()[..], b"{"].concat()),
        1 => ("w.safetensors".into(), [&(1u64 << 63).to_le_bytes()[..], b"{\"a\":"].concat()),
        2 => {
            let shape = format!(
                "{{\"a\":{{\"dtype\":\"F32\",\"shape\":[{big},{big}],\"data_offsets\":[0,64]}}}}"
            );
            ("w.safetensors".into(), tensors(shape))
        }
        3 => {
            let twice = "{\"a\":{\"dtype\":\"F32\",\"shape\":[16],\"data_offsets\":[0,64]},\
                         \"b\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[32,64]}}";
            ("w.safetensors".into(), tensors(twice.to_owned()))
        }
        4 => ("w.pt".into(), b"\x80\x02cos\nsystem\nX\x02\0\0\0idq\x01\x85q\x02Rq\x03.".to_vec()),
        5 => ("w.pt".into(), [&b"\x80\x02X\xff\xff\xff\xff"[..], &[b'a'; 40]].concat()),
        6 => {
            let memo: Vec<u8> =
                (0..20_000u32).flat_map(|i| [&b"]r"[..], &i.to_le_bytes()].concat()).collect();
            ("w.pt".into(), [b"\x80\x02", &memo[..], b"."].concat())
        }
        _ => {
            let noise = (0..random.usize(1..300)).map(|_| random.u8(..)).collect::<Vec<u8>>();
            ("w.pt".into(), [b"PK\x03\x04", &noise[..]].concat())
        }
    }
}

/// Journals, settings and cards of networks.
fn record(random: &mut Rng, number: usize) -> (OsString, Vec<u8>) {
    match number % 4 {
        0 => {
            let mut yaml = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
            for (one, next) in
                ["ab", "bc", "cd", "de", "ef", "fg", "gh"].iter().map(|p| p.split_at(1))
            {
                yaml.push_str(&format!(
                    "{next}: &{next} [{}]\n",
                    vec![format!("*{one}"); 9].join(",")
                ));
            }
            ("config.yaml".into(), yaml.into_bytes())
        }
        1 => {
            let deep = [100, 5_000, 200_000][random.usize(..3)];
            ("config.yaml".into(), format!("theme: {}", "[".repeat(deep)).into_bytes())
        }
        2 => {
            let noise: Vec<u8> = (0..random.usize(1..500)).map(|_| random.u8(..)).collect();
            ("card.yaml".into(), noise)
        }
        _ => {
            let noise: Vec<u8> = (0..random.usize(..300)).map(|_| random.u8(..)).collect();
            let line = "{\"v\":1,\"lamport\":18446744073709551615,\"op\":{\"set\":[[[[[[";
            let torn = &line[..random.usize(..line.len())];
            let deep = "[".repeat(random.usize(..60_000));
            (
                "journal.jsonl".into(),
                [torn.as_bytes(), b"\n", &noise, b"\n", deep.as_bytes()].concat(),
            )
        }
    }
}

/// Strange, but as the standard allows it.
fn sound(random: &mut Rng) -> Vec<u8> {
    let mut image = Image::small();
    if random.bool() {
        element(&mut image.more, 9, 0x10, b"LO", b"PRIVATE");
        element(&mut image.more, 9, 0x1001, b"UN", &vec![1; random.usize(..50)]);
    }
    if random.bool() {
        element(&mut image.more, 0x18, 0x6011, b"SQ", b"");
    }
    if random.bool() {
        (image.columns, image.rows) = (7, 5);
        image.pixels = vec![3; 35];
    }
    if random.bool() {
        image.frames = "3".to_owned();
        image.pixels = image.pixels.repeat(3);
    }
    match random.usize(..4) {
        0 => {
            let mut set = image.data_set();
            element(&mut set, 0x7fe0, 0x10, b"OB", &image.pixels);
            with_meta(DEFLATED, &deflated(&set))
        }
        1 => [image.file(EXPLICIT), vec![0; 10]].concat(),
        _ => image.file(EXPLICIT),
    }
}
