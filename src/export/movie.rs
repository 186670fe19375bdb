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

/// How a kind of file is encoded: arguments of ffmpeg, tried in order until one works.
struct Kind {
    container: &'static str,
    encoders: &'static [&'static [&'static str]],
}

const MP4: Kind = Kind {
    container: "mp4",
    encoders: &[
        &["-vf", EVEN, "-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p"],
        &["-vf", EVEN, "-c:v", "mpeg4", "-q:v", "3", "-pix_fmt", "yuv420p"],
    ],
};
/// Sides of such videos are even.
const EVEN: &str = "pad=ceil(iw/2)*2:ceil(ih/2)*2";
const GIF: Kind = Kind {
    container: "gif",
    encoders: &[&["-filter_complex", "split[a][b];[a]palettegen[p];[b][p]paletteuse"]],
};

pub(super) fn write_mp4(job: &Job, path: &Path) -> Result<Report, ExportError> {
    write(job, path, &MP4)
}

pub(super) fn write_gif(job: &Job, path: &Path) -> Result<Report, ExportError> {
    write(job, path, &GIF)
}

fn write(job: &Job, path: &Path, kind: &Kind) -> Result<Report, ExportError> {
    let mut said = String::new();
    for arguments in kind.encoders {
        let part = atomic::part_beside(path)?;
        match encode(job, path, part.path(), kind.container, arguments)? {
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
    container: &str,
    arguments: &[&str],
) -> Result<Option<String>, ExportError> {
    let info = job.info;
    let rate = info.frame_time_ms.map_or(FRAMES_PER_S, |ms| 1000.0 / ms).clamp(0.1, 1000.0);
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]);
    command.args(["-s", &format!("{}x{}", info.width_px, info.height_px)]);
    command.args(["-r", &format!("{rate:.6}"), "-i", "pipe:0"]).args(arguments);
    command.args(["-metadata", &format!("comment={}", job.about()), "-f", container]);
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
