//! Video through ffmpeg: exact frames wherever one jumps, and refusals that help.

use std::fs;
use std::path::Path;
use std::process::Command;

use sonomark::codec::{OpenOptions, is_complete, open};

use super::reading::decoded_elsewhere;
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
fn frames_are_exact(path: &Path) {
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
    let kinds: [(&str, &[&str]); 6] = [
        ("b.mp4", &["-c:v", "libx264", "-bf", "3", "-g", "20"]),
        ("b.mkv", &["-c:v", "libx264", "-bf", "2", "-g", "250"]),
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
    let kinds: [(&str, &[&str]); 4] = [
        ("a.mp4", &["-c:v", "mpeg4", "-bf", "2", "-g", "12"]),
        ("b.mov", &["-c:v", "mpeg2video", "-bf", "2", "-g", "10"]),
        ("c.mp4", &["-c:v", "libx265", "-x265-params", "open-gop=1:keyint=10:log-level=none"]),
        (
            "d.mp4",
            &["-c:v", "libx264", "-g", "10", "-bf", "3", "-movflags", "frag_keyframe+empty_moov"],
        ),
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
        // By leaps, so that every frame is sought.
        for i in (0..frames).map(|i| (i * 23 + 41) % frames) {
            let same = clip.frame(i).unwrap().pixels == elsewhere[i * size..][..size];
            assert!(same, "{name} frame {i}");
        }
    }
    assert!(made >= 2, "{made} codecs");
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

#[test]
fn without_the_filters_of_colour_a_video_is_gray() {
    use std::os::unix::fs::PermissionsExt;
    if !has_ffmpeg() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let video = data().join("video/sonosite_eye.mp4");
    let found = |path: &str| -> bool { fs::metadata(path).is_ok() };
    let path = std::env::var("PATH").unwrap();
    let mut places = path.split(':').map(|folder| format!("{folder}/ffmpeg"));
    let real = places.find(|place| found(place)).unwrap();
    for (lacks, works) in [("extractplanes", true), ("format", false)] {
        let own = dir.path().join("ffmpeg");
        let text =
            format!("#!/bin/sh\ncase \"$*\" in *{lacks}*) exit 1;; esac\nexec {real} \"$@\"\n");
        fs::write(&own, text).unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).unwrap();
        let mask = dir.path().join("mask.png");
        let output = program(dir.path())
            .env("PATH", format!("{}:{path}", dir.path().display()))
            .args(["segment", video.to_str().unwrap(), "--boundary"])
            .args(["60,60", "120,120", "90,60", "--out", mask.to_str().unwrap()])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), works, "{lacks}: {told}");
        assert!(works || told.contains("ffmpeg cannot read it"), "{told}");
        assert_eq!(mask.exists(), works);
        let _ = fs::remove_file(mask);
    }
}
