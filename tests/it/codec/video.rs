//! Video through ffmpeg: exact frames wherever one jumps, and refusals that help.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use sonomark::codec::{OpenOptions, is_complete, open};

use super::reading::{decoded_elsewhere, ffmpeg};
use super::{data, has_ffmpeg, opened, refusal};
use crate::surroundings::{program, skipped};

/// Makes a video of 60 distinct frames with ffmpeg, the codec and container by arguments.
fn make_video(path: &Path, codec: &[&str]) -> bool {
    let status = Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-v",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=160x120:rate=25",
        ])
        .args(["-frames:v", "60", "-pix_fmt", "yuv420p"])
        .args(codec)
        .arg(path)
        .status();
    status.is_ok_and(|s| s.success())
}

/// Reads all frames forwards and compares them with a run of ffmpeg of its own, then again in an
/// order of jumps.
pub(super) fn frames_are_exact(path: &Path) {
    let forwards = open(path, &OpenOptions { cache_mib: 256, ..OpenOptions::default() }).unwrap();
    let frames = forwards.info().frames;
    let all: Vec<_> = (0..frames).map(|i| forwards.frame(i).unwrap()).collect();
    let elsewhere = decoded_elsewhere(path);
    let own = all.iter().flat_map(|frame| &frame.pixels);
    assert!(own.eq(&elsewhere), "{}: ffmpeg decodes other frames", path.display());
    let distinct: std::collections::HashSet<_> = all.iter().map(|f| f.pixels.clone()).collect();
    println!(
        "{}: {frames} frames, {} distinct, {}",
        path.display(),
        distinct.len(),
        forwards.info().format
    );
    let jumping = open(path, &OpenOptions { cache_mib: 0, ..OpenOptions::default() }).unwrap();
    for i in (0..frames).rev().step_by(13).chain([0, frames / 2, frames - 1, 1, frames / 3]) {
        assert!(jumping.frame(i).unwrap() == all[i], "{} frame {i}", path.display());
    }
    let backwards = opened(path);
    for i in (0..frames).rev().take(30) {
        assert!(backwards.frame(i).unwrap() == all[i], "{} frame {i} backwards", path.display());
    }
}

#[test]
fn video_frames_are_exact_wherever_one_jumps() {
    if !has_ffmpeg() {
        let sentence = refusal(&data().join("video/sonosite_eye.mp4"));
        assert!(sentence.contains("is not installed; install ffmpeg"), "{sentence}");
        return;
    }
    frames_are_exact(&data().join("video/sonosite_eye.mp4"));
    let dir = tempfile::tempdir().unwrap();
    let kinds: [(&str, &[&str]); 8] = [
        ("b.mp4", &["-c:v", "libx264", "-bf", "3", "-g", "20"]),
        ("b.mkv", &["-c:v", "libx264", "-bf", "2", "-g", "250"]),
        // Packets that are called whole are none: from there a picture comes about little by little.
        ("r.mp4", &["-c:v", "libx264", "-g", "20", "-x264-params", "intra-refresh=1:bframes=0"]),
        ("o.mp4", &["-c:v", "libx264", "-g", "20", "-x264-params", "open-gop=1:bframes=3"]),
        ("m.mov", &["-c:v", "mpeg4", "-bf", "2", "-g", "12"]),
        ("v.webm", &["-c:v", "libvpx", "-g", "15", "-deadline", "realtime"]),
        ("m.avi", &["-c:v", "mjpeg"]),
        ("-m.mpg", &["-c:v", "mpeg2video", "-bf", "2", "-g", "12"]),
    ];
    for (name, codec) in kinds {
        let path = dir.path().join(name);
        if make_video(&path, codec) {
            assert_eq!(opened(&path).info().frames, 60, "{name}");
            frames_are_exact(&path);
        } else {
            skipped(&format!("this ffmpeg cannot write {name}"));
        }
    }
}

#[test]
fn frames_that_are_shown_before_a_whole_one_and_decoded_behind_it_are_found() {
    if !has_ffmpeg() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // The last but one counts time in whole frames; in the last one whole frames follow each other and are decoded early.
    let keys = "expr:eq(n,20)+between(n,40,43)";
    let strict = "b-pyramid=strict:min-keyint=1:scenecut=0";
    let late = [
        &["-c:v", "libx264", "-bf", "4", "-r", "5", "-x264-params", strict][..],
        &["-force_key_frames", keys, "-use_editlist", "0"],
    ]
    .concat();
    let kinds: [(&str, &[&str]); 6] = [
        ("a.mp4", &["-c:v", "mpeg4", "-bf", "2", "-g", "12"]),
        ("b.mov", &["-c:v", "mpeg2video", "-bf", "2", "-g", "10"]),
        ("c.mp4", &["-c:v", "libx265", "-x265-params", "open-gop=1:keyint=10:log-level=none"]),
        (
            "d.mp4",
            &["-c:v", "libx264", "-g", "10", "-bf", "3", "-movflags", "frag_keyframe+empty_moov"],
        ),
        ("e.mp4", &["-c:v", "libx264", "-g", "12", "-r", "24", "-video_track_timescale", "24"]),
        ("f.mp4", &late),
    ];
    let mut made = 0;
    for (name, codec) in kinds {
        let path = dir.path().join(name);
        if !make_video(&path, codec) {
            skipped(&format!("this ffmpeg cannot write {name}"));
            continue;
        }
        made += 1;
        let elsewhere = decoded_elsewhere(&path);
        let clip = open(&path, &OpenOptions { cache_mib: 0, ..OpenOptions::default() }).unwrap();
        let (frames, size) = (clip.info().frames, clip.frame(0).unwrap().pixels.len());
        assert_eq!(elsewhere.len(), frames * size, "{name}");
        // Backwards, so that every frame is sought.
        for i in (0..frames).rev().take(40) {
            let same = clip.frame(i).unwrap().pixels == elsewhere[i * size..][..size];
            assert!(same, "{name} frame {i}");
        }
    }
    assert!(made >= 2, "{made} codecs");
}

#[test]
fn packets_that_show_nothing_are_no_frames() {
    if !has_ffmpeg() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (path, log) = (dir.path().join("a.webm"), dir.path().join("log"));
    let encoded = |pass: &str, out: &Path| {
        let source = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25:duration=4"];
        let codec = ["-c:v", "libvpx", "-auto-alt-ref", "1", "-lag-in-frames", "16"];
        let passes = ["-pass", pass, "-passlogfile", log.to_str().unwrap(), "-f", "webm"];
        ffmpeg(&[&source[..], &codec, &["-b:v", "200k"], &passes].concat(), out)
    };
    // Pictures that only others are made of are written in the second pass.
    if !encoded("1", &dir.path().join("first")) || !encoded("2", &path) {
        return println!("skipped: this ffmpeg writes no VP8");
    }
    assert_eq!(opened(&path).info().frames, 100);
    frames_are_exact(&path);
}

#[test]
fn frames_far_from_the_beginning_are_found_where_nothing_can_be_sought() {
    if !has_ffmpeg() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long.avi");
    let source = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25:duration=13"];
    if !ffmpeg(&[&source[..], &["-c:v", "mjpeg"]].concat(), &path) {
        return println!("skipped: this ffmpeg writes no AVI");
    }
    let elsewhere = decoded_elsewhere(&path);
    let clip = open(&path, &OpenOptions { cache_mib: 0, ..OpenOptions::default() }).unwrap();
    let size = clip.frame(0).unwrap().pixels.len();
    assert_eq!(elsewhere.len(), 325 * size);
    // By leaps, so that the frames between are passed.
    for i in [250, 101, 324, 100, 200, 1] {
        let same = clip.frame(i).unwrap().pixels == elsewhere[i * size..][..size];
        assert!(same, "frame {i}");
    }
}

#[test]
fn truncated_videos_and_playlists_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = fs::read(data().join("video/sonosite_eye.mp4")).unwrap();
    let path = dir.path().join("cut.mp4");
    for cut in 1..64 {
        fs::write(&path, &bytes[..bytes.len() * cut / 64]).unwrap();
        assert!(is_complete(&path).is_err());
        assert!(refusal(&path).contains("copy it again"));
    }
    if has_ffmpeg() {
        let playlist = dir.path().join("list.mp4");
        let other = data().join("video/sonosite_eye.mp4");
        fs::write(&playlist, format!("#EXTM3U\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n", other.display()))
            .unwrap();
        assert!(refusal(&playlist).contains("ffprobe"));
    }
}

/// As [`segmented`], of the first frame of a video.
fn segmented_with(tool: &str, cases: &str) -> (bool, String) {
    segmented(&data().join("video/sonosite_eye.mp4"), 0, tool, cases)
}

/// Runs the program on a frame of a video, with a shell script of these cases in the place of a tool, which goes on as the tool itself;
/// whether a mask came, and what was said.
fn segmented(clip: &Path, frame: usize, tool: &str, cases: &str) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut places = path.split(':').map(|folder| format!("{folder}/{tool}"));
    let real = places.find(|place| fs::metadata(place).is_ok()).unwrap();
    let own = dir.path().join(tool);
    let text = format!("#!/bin/sh\ncase \"$*\" in {cases} esac\nexec {real} \"$@\"\n");
    fs::write(&own, text).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).unwrap();
    let mask = dir.path().join("mask.png");
    let output = program(dir.path())
        .env("PATH", format!("{}:{path}", dir.path().display()))
        .arg("segment")
        .arg(clip)
        .args(["--frame", &frame.to_string()])
        .args(["--boundary", "60,60", "120,120", "90,60", "--out", mask.to_str().unwrap()])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), mask.exists(), "{told}");
    (mask.exists(), told)
}

#[test]
fn the_name_of_a_video_is_in_no_argument() {
    if !has_ffmpeg() {
        return;
    }
    for tool in ["ffprobe", "ffmpeg"] {
        let (done, told) = segmented_with(tool, "*sonosite*) exit 1;;");
        assert!(done, "every account can read what {tool} is told: {told}");
    }
}

#[test]
fn without_the_filters_of_colour_a_video_is_gray() {
    if !has_ffmpeg() {
        return;
    }
    for (lacks, works) in [("extractplanes", true), ("format", false)] {
        let (done, told) = segmented_with("ffmpeg", &format!("*{lacks}*) exit 1;;"));
        assert_eq!(done, works, "{lacks}: {told}");
        assert!(works || told.contains("ffmpeg cannot read it"), "{told}");
    }
}

#[test]
fn an_ffmpeg_of_before_the_newest_options_is_used_with_its_own() {
    if !has_ffmpeg() {
        return;
    }
    let old = "*fps_mode*) exit 1;; *version*) echo ffmpeg version 4.4.2; exit;;";
    let (done, told) = segmented_with("ffmpeg", old);
    assert!(done, "{told}");
    // One that nobody can be asked about is not installed.
    let (done, told) = segmented_with("ffmpeg", "*) exit 127;;");
    assert!(!done && told.contains("install ffmpeg"), "{told}");
}

#[test]
fn to_show_the_first_frame_one_decoder_is_started() {
    if !has_ffmpeg() {
        return;
    }
    // The second one finds the mark of the first.
    let (done, told) =
        segmented_with("ffmpeg", "*image2pipe*) mkdir \"${0%/*}/decoded\" || exit 1;;");
    assert!(done, "{told}");
}

#[test]
fn a_jump_does_not_decode_the_group_before() {
    if !has_ffmpeg() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (path, eye) = (dir.path().join("a.mp4"), data().join("video/sonosite_eye.mp4"));
    let codec = ["-c:v", "libx264", "-g", "20", "-bf", "0", "-sc_threshold", "0"];
    let twice = ["-stream_loop", "1", "-i", eye.to_str().unwrap()];
    if !ffmpeg(&[&twice[..], &codec].concat(), &path) {
        return skipped("this ffmpeg cannot write H.264");
    }
    // Too far from the first frame to be decoded on to. Between frames 79 and 80, which is whole: sought there, decoding
    // begins at frame 60. Then between 85 and 86.
    for (refused, comes) in [("3.190000", true), ("3.430000", false)] {
        let cases = format!("*\"-ss {refused}\"*) exit 1;;");
        let (done, told) = segmented(&path, 95, "ffmpeg", &cases);
        assert_eq!(done, comes, "{refused}: {told}");
    }
}

#[test]
fn a_list_of_frames_that_breaks_off_is_no_shorter_video() {
    if !has_ffmpeg() {
        return;
    }
    let (done, told) = segmented_with("ffprobe", "*packet=*) echo 0.000000,K__; kill -9 $$;;");
    assert!(!done && told.contains("ffprobe cannot read it"), "{told}");
}
