//! H.264 whose frames are pairs of fields, each a packet of its own. The common encoders write none, so the stream is
//! written here: pictures of macroblocks that are not compressed (I_PCM), as the standard (ITU-T H.264) has them.

use std::fs;

use super::reading::{decoded_elsewhere, ffmpeg};
use super::video::frames_are_exact;
use super::{has_ffmpeg, opened};
use crate::surroundings::skipped;

/// Columns of the frames; a frame has two rows of macroblocks, a field one.
const WIDTH: u32 = 64;
const MACROBLOCK: u32 = 16;
/// Frames from one that begins anew to the next.
const GROUP: usize = 10;
/// What begins each picture: that a picture begins.
const DELIMITER: [u8; 6] = [0, 0, 0, 1, 9, 0xf0];
/// Profile "main", level 3.
const MAIN: [u32; 3] = [77, 0, 30];
/// Types of units: a picture, one that begins anew, parameters of the sequence and of pictures.
const PICTURE: u8 = 1;
const ANEW: u8 = 5;
const OF_SEQUENCE: u8 = 7;
const OF_PICTURES: u8 = 8;

/// Bits, the highest of a byte first.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn put(&mut self, count: u32, value: u32) {
        self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    }

    fn flags(&mut self, flags: &[u32]) {
        flags.iter().for_each(|flag| self.put(1, *flag));
    }

    /// A number as Exp-Golomb has it: as many zeros as it has digits behind the first one.
    fn number(&mut self, value: u32) {
        let digits = (value + 1).ilog2();
        self.put(digits, 0);
        self.put(digits + 1, value + 1);
    }

    fn numbers(&mut self, values: &[u32]) {
        values.iter().for_each(|value| self.number(*value));
    }

    fn fill(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(8), false);
    }

    /// Ended, as a unit of the stream of this type.
    fn unit(mut self, kind: u8) -> Vec<u8> {
        self.put(1, 1);
        self.fill();
        let mut out = vec![0, 0, 0, 1, 0x60 | kind];
        let mut zeros = 0;
        for eight in self.0.chunks(8) {
            let byte = eight.iter().fold(0, |all, bit| all << 1 | u8::from(*bit));
            // Nothing within looks like the beginning of a unit.
            if zeros >= 2 && byte <= 3 {
                out.push(3);
                zeros = 0;
            }
            out.push(byte);
            zeros = if byte == 0 { zeros + 1 } else { 0 };
        }
        out
    }
}

fn parameters() -> Vec<u8> {
    let (mut sequence, mut pictures) = (Bits::default(), Bits::default());
    MAIN.iter().for_each(|value| sequence.put(8, *value));
    // Numbers of frames and their order have 8 bits; one reference; columns and rows in macroblocks, those of a field.
    sequence.numbers(&[0, 4, 0, 4, 1]);
    sequence.flags(&[0]);
    sequence.numbers(&[WIDTH / MACROBLOCK - 1, 0]);
    // Not frames alone, none that mix both within, nothing cut off; then what describes the picture, of which only the
    // rate is told: 50 fields a second.
    sequence.flags(&[0, 0, 1, 0, 1, 0, 0, 0, 0, 1]);
    sequence.put(32, 1);
    sequence.put(32, 50);
    sequence.flags(&[1, 0, 0, 0, 0]);
    pictures.numbers(&[0, 0]);
    pictures.flags(&[0, 0]);
    pictures.numbers(&[0, 0, 0]);
    pictures.flags(&[0, 0, 0]);
    pictures.numbers(&[0, 0, 0]);
    pictures.flags(&[0, 0, 0]);
    [sequence.unit(OF_SEQUENCE), pictures.unit(OF_PICTURES)].concat()
}

/// A frame as one picture, where nothing is said of fields, or its upper (0) or lower (1) field.
fn picture(frame: usize, field: Option<u32>) -> Vec<u8> {
    let (in_group, lower) = ((frame % GROUP) as u32, field.unwrap_or(0));
    let anew = in_group == 0 && lower == 0;
    let mut bits = Bits::default();
    // From the first macroblock on, intra, with the first parameters.
    bits.numbers(&[0, 7, 0]);
    bits.put(8, in_group);
    bits.flags(&[u32::from(field.is_some())]);
    if field.is_some() {
        bits.flags(&[lower]);
    }
    if anew {
        bits.number((frame / GROUP % 2) as u32);
    }
    bits.put(8, 2 * in_group + lower);
    // How it is kept as a reference, and the step of what is compressed.
    bits.flags(if anew { &[0, 0] } else { &[0] });
    bits.number(0);
    let rows = if field.is_some() { 1 } else { 2 };
    for block in 0..rows * WIDTH / MACROBLOCK {
        // As it is.
        bits.number(25);
        bits.fill();
        let luma =
            |at: u32| 1 + (frame as u32 * 9 + block * 20 + lower * 3 + at / MACROBLOCK) % 250;
        (0..256).for_each(|at| bits.put(8, luma(at)));
        (0..128).for_each(|_| bits.put(8, 128));
    }
    bits.unit(if anew { ANEW } else { PICTURE })
}

/// A stream of so many frames, of which those that are told so are two pictures.
fn stream(frames: usize, is_pair: impl Fn(usize) -> bool) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in 0..frames {
        out.extend(DELIMITER);
        if frame.is_multiple_of(GROUP) {
            out.extend(parameters());
        }
        if is_pair(frame) {
            out.extend(picture(frame, Some(0)));
            out.extend(DELIMITER);
            out.extend(picture(frame, Some(1)));
        } else {
            out.extend(picture(frame, None));
        }
    }
    out
}

#[test]
fn two_fields_in_packets_of_their_own_are_one_frame() {
    if !has_ffmpeg() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("raw.h264");
    // All of them, and only some behind frames that are one picture each.
    for (kind, packets) in [("pairs", 120), ("some", 90)] {
        let is_pair = |frame: usize| {
            kind == "pairs" || (20..40).contains(&frame) || frame % 2 == 1 && frame > 40
        };
        let bytes = stream(60, is_pair);
        let pictures = bytes.windows(6).filter(|six| **six == DELIMITER).count();
        assert_eq!(pictures, packets);
        fs::write(&raw, bytes).unwrap();
        for ending in ["ts", "mkv", "mp4", "avi"] {
            let path = dir.path().join(format!("{kind}.{ending}"));
            let words =
                ["-fflags", "+genpts", "-r", "50", "-i", raw.to_str().unwrap(), "-c", "copy"];
            if !ffmpeg(&words, &path) {
                skipped(&format!("this ffmpeg cannot write {ending}"));
                continue;
            }
            assert_eq!(decoded_elsewhere(&path).len(), 60 * 64 * 32, "{path:?}");
            let info = opened(&path).info().clone();
            assert_eq!(info.frames, 60, "{path:?}");
            frames_are_exact(&path);
            // The rate of a container is that of its packets.
            if kind == "pairs" && ending == "mp4" {
                assert!((info.frame_time_ms.unwrap() - 40.0).abs() < 0.1, "{info:?}");
            }
        }
    }
}

#[test]
fn both_fields_in_one_packet_are_still_sought_by_their_times() {
    if !has_ffmpeg() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for ending in ["ts", "mkv", "mp4"] {
        let path = dir.path().join(format!("a.{ending}"));
        let source = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25:duration=2", "-pix_fmt"];
        let words =
            ["yuv420p", "-c:v", "libx264", "-flags", "+ilme+ildct", "-x264opts", "tff=1:keyint=20"];
        if !ffmpeg(&[&source[..], &words].concat(), &path) {
            return skipped("this ffmpeg writes no H.264");
        }
        assert_eq!(opened(&path).info().frames, 50, "{ending}");
        frames_are_exact(&path);
    }
}
