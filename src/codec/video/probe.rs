//! What `ffprobe` tells of a video: codec, container and the time stamp of every frame.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::{Reel, input_argument};
use crate::codec::CodecError;
use crate::codec::error::{brief, name_of};
use crate::codec::limits::MAX_FRAMES;
use crate::codec::pace::uneven;
use crate::codec::tool::{self, Patient};

/// Containers round the times of frames, Matroska to whole milliseconds.
const ROUNDING_MS: f64 = 1.001;

/// Version of ffmpeg; builds from a repository count as the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u32, u32);

impl Version {
    /// The option that passes every decoded frame on, none twice and none dropped.
    pub(super) fn every_frame(self) -> [&'static str; 2] {
        if self < Version(5, 1) { ["-vsync", "passthrough"] } else { ["-fps_mode", "passthrough"] }
    }

    fn parse(text: &str) -> Self {
        let number = text.trim_start_matches("ffmpeg version ").trim_start_matches('n');
        let mut parts = number.split(|c: char| !c.is_ascii_digit());
        let mut next = || parts.next().and_then(|part| part.parse().ok());
        match (next(), next()) {
            (Some(major), minor) => Self(major, minor.unwrap_or(0)),
            (None, _) => Self(u32::MAX, 0),
        }
    }
}

/// Asks ffmpeg for its version.
pub(super) fn version(path: &Path) -> Result<Version, CodecError> {
    let mut command = tool::limited("ffmpeg", tool::FRAME);
    command.arg("-version");
    let output = tool::output(command).map_err(|e| tool::not_started(path, "ffmpeg", &e))?;
    // The shell says so where there is no such program.
    if output.status.code() == Some(127) {
        return Err(tool::not_started(path, "ffmpeg", &std::io::ErrorKind::NotFound.into()));
    }
    Ok(Version::parse(&String::from_utf8_lossy(&output.stdout)))
}

/// When each frame is shown.
#[derive(Debug, PartialEq)]
pub(super) enum Timeline {
    /// Seconds from the start of the file, ascending and distinct: frames can be sought.
    Times(Vec<f64>),
    /// Only the number of frames is known: the way to a frame is from the beginning.
    Count(usize),
}

impl Timeline {
    pub(super) fn frames(&self) -> usize {
        match self {
            Self::Times(times) => times.len(),
            Self::Count(count) => *count,
        }
    }

    /// Where to seek for frame `index`: half way between it and the one before, so that
    /// rounding never costs or adds a frame. `None`: start from the beginning.
    pub(super) fn seek_seconds(&self, index: usize) -> Option<f64> {
        match self {
            Self::Times(times) if index > 0 => {
                let (before, at) = (times.get(index - 1)?, times.get(index)?);
                Some((before + at) / 2.0)
            }
            _ => None,
        }
    }

    /// From the time stamps of the packets, in the order of the file. `exact` containers keep
    /// them so well that seeking by them finds the frame.
    fn of(mut stamps: Vec<Option<f64>>, start: f64, exact: bool) -> Self {
        stamps.sort_by(|a, b| a.unwrap_or(f64::MIN).total_cmp(&b.unwrap_or(f64::MIN)));
        let times: Vec<f64> = stamps.iter().flatten().map(|t| t - start).collect();
        let distinct = times.windows(2).all(|pair| pair[1] - pair[0] > 1e-4);
        if exact && distinct && times.len() == stamps.len() {
            Self::Times(times)
        } else {
            Self::Count(stamps.len())
        }
    }
}

/// What is known of a video.
pub(super) struct Probed {
    pub(super) timeline: Timeline,
    pub(super) frame_time_ms: Option<f64>,
    /// When each frame is shown, ms from the first, where that is not at a constant rate.
    pub(super) times_ms: Vec<f64>,
    /// ffmpeg's name of the compression.
    pub(super) codec: String,
    pub(super) format: String,
}

#[derive(Deserialize)]
struct Report {
    #[serde(default)]
    streams: Vec<StreamReport>,
    format: Option<FormatReport>,
}

#[derive(Deserialize)]
struct StreamReport {
    codec_name: Option<String>,
    avg_frame_rate: Option<String>,
}

#[derive(Deserialize)]
struct FormatReport {
    format_name: Option<String>,
    start_time: Option<String>,
}

/// Asks ffprobe about the first video stream and all its packets.
pub(super) fn probe(reel: &Reel) -> Result<Probed, CodecError> {
    let path = &reel.shown;
    let entries = "stream=codec_name,avg_frame_rate:format=format_name,start_time";
    let mut command = asking(reel, entries);
    command.args(["-of", "json"]);
    let output = tool::output(command).map_err(|e| tool::not_started(path, "ffprobe", &e))?;
    let fails = |cause: String| CodecError::Tool {
        name: name_of(path),
        tool: "ffprobe",
        cause,
        advice: super::REENCODE,
    };
    if !output.status.success() {
        return Err(fails(reel.cleaned(&String::from_utf8_lossy(&output.stderr))));
    }
    let report: Report = serde_json::from_slice(&output.stdout)
        .map_err(|e| fails(format!("its report is not understood ({e})")))?;
    let (Some(stream), Some(format)) = (report.streams.first(), report.format) else {
        return Err(fails("it holds no picture".to_owned()));
    };
    let container = format.format_name.unwrap_or_default();
    let start = format.start_time.and_then(|t| t.parse().ok()).unwrap_or(0.0);
    let exact = ["mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"].contains(&container.as_str());
    let (stamps, sound) = stamps(reel)?;
    if stamps.is_empty() {
        return Err(fails("it holds no frames".to_owned()));
    }
    let varying = varying(&stamps);
    let frame_time_ms = match &varying {
        Some((_, mean)) => Some(*mean),
        None => stream.avg_frame_rate.as_deref().and_then(frame_time_ms),
    };
    let codec = stream.codec_name.as_deref().unwrap_or("unknown codec");
    let short = container.split(',').next().unwrap_or_default();
    Ok(Probed {
        timeline: Timeline::of(stamps, start, exact && sound),
        frame_time_ms,
        times_ms: varying.map(|(times, _)| times).unwrap_or_default(),
        codec: codec.to_owned(),
        format: brief(&format!("video, {codec} in {short}")),
    })
}

/// Times of frames that keep no constant rate, and their mean step, ms: also where they are not
/// exact enough to be sought by.
fn varying(stamps: &[Option<f64>]) -> Option<(Vec<f64>, f64)> {
    let mut times: Vec<f64> =
        stamps.iter().map(|stamp| stamp.map(|s| s * 1000.0)).collect::<Option<_>>()?;
    times.sort_by(f64::total_cmp);
    uneven(&times, ROUNDING_MS)
}

/// "30000/1001" to ms.
fn frame_time_ms(rate: &str) -> Option<f64> {
    let (frames, seconds) = rate.split_once('/')?;
    let ms = 1000.0 * seconds.parse::<f64>().ok()? / frames.parse::<f64>().ok()?;
    (ms.is_finite() && ms > 0.0).then_some(ms)
}

fn asking(reel: &Reel, entries: &str) -> Command {
    let mut command = tool::limited("ffprobe", tool::VIDEO);
    command.args(["-v", "error", "-select_streams", "v:0", "-show_entries", entries]);
    Reel::restrict(&mut command);
    command.arg("-i").arg(input_argument(&reel.read)).stdin(Stdio::null());
    command
}

/// Time stamps of all frames, in the order of the file, and whether what came before any of them is there: a recording
/// that begins between two whole pictures has packets of which nothing can be made, so its frames are decoded for it.
fn stamps(reel: &Reel) -> Result<(Vec<Option<f64>>, bool), CodecError> {
    let mut packets: Vec<(Option<f64>, bool)> = Vec::new();
    each_line(reel, "packet=pts_time,flags", |line| {
        let (time, flags) = line.split_once(',').unwrap_or((line, ""));
        // "D": decoded for the sake of others and discarded (edit lists); "K": whole in itself.
        if !time.is_empty() && !flags.contains('D') {
            packets.push((time.parse().ok(), flags.contains('K')));
        }
    })?;
    let (first, whole) = packets.first().copied().unwrap_or((None, true));
    // Pictures before the first one are made of it and of one that is not there.
    if whole && packets.iter().all(|(time, _)| *time >= first || time.is_none()) {
        return Ok((packets.into_iter().map(|(time, _)| time).collect(), true));
    }
    let mut frames = Vec::new();
    each_line(reel, "frame=best_effort_timestamp_time", |line| {
        frames.push(line.trim_end_matches(',').parse().ok());
    })?;
    Ok((frames, false))
}

/// Shows every line that ffprobe writes on such entries.
fn each_line(reel: &Reel, entries: &str, mut see: impl FnMut(&str)) -> Result<(), CodecError> {
    let mut command = asking(reel, entries);
    command.args(["-of", "csv=print_section=0"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|e| tool::not_started(&reel.shown, "ffprobe", &e))?;
    if let Some(pipe) = child.stdout.take() {
        let limit = MAX_FRAMES as u64 * 64;
        let lines = BufReader::new(Patient(pipe).take(limit)).lines().map_while(Result::ok);
        lines.filter(|line| !line.is_empty()).for_each(|line| see(&line));
    }
    tool::end(&mut child);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_choose_the_option() {
        let option = |text: &str| Version::parse(text).every_frame()[0];
        assert_eq!(option("ffmpeg version 4.4.2-0ubuntu0.22.04.1 Copyright"), "-vsync");
        assert_eq!(option("ffmpeg version 5.1.9-0+deb12u1 Copyright"), "-fps_mode");
        assert_eq!(option("ffmpeg version n7.1 Copyright"), "-fps_mode");
        assert_eq!(option("ffmpeg version N-112345-gabcdef Copyright"), "-fps_mode");
    }

    #[test]
    fn times_are_sorted_and_sought_between_frames() {
        let stamps = vec![Some(1.0), Some(1.12), Some(1.04), Some(1.08)];
        let timeline = Timeline::of(stamps, 1.0, true);
        assert_eq!(timeline.frames(), 4);
        let seek = timeline.seek_seconds(2).expect("an inner frame");
        assert!((seek - 0.06).abs() < 1e-9);
        assert_eq!(timeline.seek_seconds(0), None);
    }

    #[test]
    fn missing_or_doubled_times_leave_the_count() {
        assert_eq!(Timeline::of(vec![Some(0.0), None], 0.0, true), Timeline::Count(2));
        assert_eq!(Timeline::of(vec![Some(0.0), Some(0.0)], 0.0, true), Timeline::Count(2));
        assert_eq!(Timeline::of(vec![Some(0.0), Some(1.0)], 0.0, false), Timeline::Count(2));
    }
}
