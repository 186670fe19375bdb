//! The clip with its masks drawn, as a video or animation through ffmpeg.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::atomic;
use super::colours::colour;
use super::{ExportError, Job, Report, RgbImage, draw_mask};
use crate::domain::FrameIndex;

const INSTALL: &str = "install ffmpeg (for example \"apt install ffmpeg\")";
/// Where the clip does not tell how fast it is.
const FRAMES_PER_S: f64 = 20.0;

/// Frames at varying times lie on a grid of milliseconds.
const GRID_PER_S: f64 = 1000.0;
/// Steps of time that a filter is given, at most.
const STEPS: usize = 2000;

/// What ffmpeg is asked for frames at a constant rate: nothing.
const AT_A_RATE: [&[&str]; 1] = [&[]];
/// Asks ffmpeg to leave frames at their times: from 5.1 on, and before.
const AT_THEIR_TIMES: [&[&str]; 2] = [&["-fps_mode", "passthrough"], &["-vsync", "passthrough"]];

/// How a kind of file is encoded: a filter, and arguments of ffmpeg, tried in order until one works.
struct Kind {
    container: &'static str,
    filter: &'static str,
    encoders: &'static [&'static [&'static str]],
}

const MP4: Kind = Kind {
    container: "mp4",
    // Sides of such videos are even.
    filter: "pad=ceil(iw/2)*2:ceil(ih/2)*2",
    encoders: &[
        &["-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p"],
        &["-c:v", "mpeg4", "-q:v", "3", "-pix_fmt", "yuv420p"],
    ],
};
const GIF: Kind = Kind {
    container: "gif",
    filter: "split[a][b];[a]palettegen[p];[b][p]paletteuse",
    encoders: &[&[]],
};

pub(super) fn write_mp4(job: &Job, path: &Path) -> Result<Report, ExportError> {
    write(job, path, &MP4)
}

pub(super) fn write_gif(job: &Job, path: &Path) -> Result<Report, ExportError> {
    write(job, path, &GIF)
}

fn write(job: &Job, path: &Path, kind: &Kind) -> Result<Report, ExportError> {
    let mut said = String::new();
    let even = job.info.frame_times_ms.is_empty();
    let ways: &[&[&str]] = if even { &AT_A_RATE } else { &AT_THEIR_TIMES };
    let all = kind.encoders.iter().flat_map(|encoder| ways.iter().map(move |way| (way, encoder)));
    for (way, encoder) in all {
        let arguments = [*way, *encoder].concat();
        let part = atomic::part_beside(path)?;
        match encode(job, path, part.path(), kind, &arguments)? {
            None => {
                check(job, path, part.path())?;
                atomic::publish(part, path)?;
                let masks = job.annotation.tracks.values().map(|track| track.masks.len()).sum();
                return Ok(Report { files: vec![path.to_owned()], masks, ..Report::default() });
            }
            Some(words) => said = words,
        }
    }
    let cause = format!("ffmpeg says: {}", crate::domain::shown(said.trim()));
    Err(ExportError::unfit(path, cause, "try the other of mp4 and gif, or update ffmpeg"))
}

/// Feeds ffmpeg with all frames; what it says when it fails.
fn encode(
    job: &Job,
    path: &Path,
    part: &Path,
    kind: &Kind,
    arguments: &[&str],
) -> Result<Option<String>, ExportError> {
    let info = job.info;
    let (rate, times) = match &info.frame_times_ms[..] {
        [] => (info.frame_time_ms.map_or(FRAMES_PER_S, |ms| 1000.0 / ms), String::new()),
        times => (GRID_PER_S, format!("setpts='({})/1000/TB+0.5',", time_of_frame(times))),
    };
    let rate = rate.clamp(0.1, 1000.0);
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]);
    command.args(["-s", &format!("{}x{}", info.width_px, info.height_px)]);
    command.args(["-r", &format!("{rate:.6}"), "-i", "pipe:0"]);
    command.args(["-filter_complex", &format!("{times}{}", kind.filter)]).args(arguments);
    command.args(["-metadata", &format!("comment={}", job.about()), "-f", kind.container]);
    let mut target = std::ffi::OsString::from("file:");
    target.push(part);
    command.arg(target).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| not_started(path, &e))?;
    let fed = match child.stdin.take() {
        Some(mut pipe) => feed(job, path, &mut pipe),
        None => Ok(()),
    };
    let ended = child.wait_with_output().map_err(|e| not_started(path, &e))?;
    fed?;
    let said = String::from_utf8_lossy(&ended.stderr).chars().take(300).collect();
    Ok((!ended.status.success()).then_some(said))
}

/// The time of frame `N`, ms, as an expression of ffmpeg: steady stretches, found by halving, so
/// that no expression nests deep. Exact to a millisecond; of clips with thousands of uneven steps
/// as exactly as [`STEPS`] stretches allow.
fn time_of_frame(times_ms: &[f64]) -> String {
    let mut slack_ms = 0.5;
    let mut stretches = stretches(times_ms, slack_ms);
    while stretches.len() > STEPS {
        slack_ms *= 2.0;
        stretches = self::stretches(times_ms, slack_ms);
    }
    halved(&stretches)
}

/// A frame, its time and the time from one frame to the next until the next stretch, ms.
type Stretch = (FrameIndex, f64, f64);

/// Times as stretches of a constant step, off by `slack_ms` at most.
fn stretches(times_ms: &[f64], slack_ms: f64) -> Vec<Stretch> {
    let (mut found, mut first) = (Vec::new(), 0);
    while first < times_ms.len() {
        let start = times_ms[first];
        // The steps that still pass every frame of the stretch closely enough.
        let (mut low, mut high, mut next) = (0.0f64, f64::INFINITY, first + 1);
        while let Some(time) = times_ms.get(next) {
            let count = (next - first) as f64;
            let lower = low.max((time - start - slack_ms) / count);
            let upper = high.min((time - start + slack_ms) / count);
            if lower > upper {
                break;
            }
            (low, high, next) = (lower, upper, next + 1);
        }
        let step = if high.is_finite() { (low + high) / 2.0 } else { 0.0 };
        found.push((first, start, step));
        first = next;
    }
    found
}

fn halved(stretches: &[Stretch]) -> String {
    match stretches {
        [] => "0".to_owned(),
        [(first, start, step)] => format!("{start:.3}+{step:.4}*(N-{first})"),
        more => {
            let (before, after) = more.split_at(more.len() / 2);
            format!("if(lt(N,{}),{},{})", after[0].0, halved(before), halved(after))
        }
    }
}

fn feed(job: &Job, path: &Path, pipe: &mut impl Write) -> Result<(), ExportError> {
    for frame in 0..job.info.frames {
        let picture = picture(job, path, frame)?;
        // A closed pipe: ffmpeg has given up and says why.
        if pipe.write_all(picture.pixels.as_flattened()).is_err() {
            break;
        }
    }
    Ok(())
}

fn picture(job: &Job, path: &Path, frame: FrameIndex) -> Result<RgbImage, ExportError> {
    let Some(frames) = job.frames else {
        let cause = "a video needs the pictures of the clip, which is not at hand";
        return Err(ExportError::unfit(path, cause, "export the clip instead of the project"));
    };
    let pixels = frames(frame).map_err(|why| ExportError::unfit(path, why, "mend the clip"))?;
    let mut picture = RgbImage::of_frame(&pixels);
    for (number, track) in (1..).zip(job.annotation.tracks.values()) {
        if let Some(held) = track.masks.get(&frame) {
            // The colours of files are dark; twice as bright they are seen on gray.
            let bright = colour(number).map(|v| v.saturating_mul(2));
            draw_mask(&mut picture, &held.mask.to_bitmap(), bright);
        }
    }
    Ok(picture)
}

/// Every frame is there: counted by decoding.
fn check(job: &Job, path: &Path, part: &Path) -> Result<(), ExportError> {
    let mut source = std::ffi::OsString::from("file:");
    source.push(part);
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-select_streams", "v:0"])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"])
        .arg(source)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| not_started(path, &e))?;
    let counted = String::from_utf8_lossy(&output.stdout);
    let counted = counted.trim().trim_end_matches(',').parse::<usize>().ok();
    if counted == Some(job.info.frames) { Ok(()) } else { Err(ExportError::differs(path)) }
}

fn not_started(path: &Path, cause: &std::io::Error) -> ExportError {
    ExportError::unfit(path, format!("ffmpeg cannot be started ({cause})"), INSTALL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uneven_times_are_steady_stretches() {
        let times = [0.0, 40.0, 80.0, 120.0, 500.0, 510.0, 520.0];
        let found = stretches(&times, 0.5);
        assert_eq!(found.iter().map(|each| each.0).collect::<Vec<_>>(), [0, 4]);
        for (frame, time) in times.iter().enumerate() {
            let (first, start, step) =
                found.iter().rev().find(|each| each.0 <= frame).copied().expect("from 0 on");
            assert!((start + step * (frame - first) as f64 - time).abs() <= 0.5);
        }
        assert!(time_of_frame(&times).starts_with("if(lt(N,4),0.000+40."));
        let wild: Vec<f64> = (0..9000).map(|i| f64::from(i * 20 + i % 7 * (i % 3))).collect();
        assert!(time_of_frame(&wild).len() < 100_000, "an argument holds 128 KiB");
    }
}
