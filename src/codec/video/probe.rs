//! What `ffprobe` tells of a video: codec, container and the time stamp of every frame.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::Reel;
use crate::codec::CodecError;
use crate::codec::error::{brief, name_of};
use crate::codec::limits::MAX_FRAMES;
use crate::codec::pace::uneven;
use crate::codec::tool::{self, Patient};

/// Containers round the times of frames, Matroska to whole milliseconds.
const ROUNDING_MS: f64 = 1.001;
/// Times nearer to each other are one, s.
const SAME_S: f64 = 1e-4;
/// The compression whose two fields of a frame may be packets of their own.
const OF_FIELDS: &str = "h264";
/// Of what ffmpeg says of headers so many bytes are read; those of H.264 come within the first few thousand.
const MAX_TRACE: u64 = 1 << 20;

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
    /// Seconds from the start of the file, ascending and distinct, and which of the frames are whole in themselves, in
    /// order: those can be sought.
    Times(Vec<f64>, Vec<usize>),
    /// Only the number of frames is known: the way to a frame is from the beginning.
    Count(usize),
}

impl Timeline {
    pub(super) fn frames(&self) -> usize {
        match self {
            Self::Times(times, _) => times.len(),
            Self::Count(count) => *count,
        }
    }

    /// From which frame to decode for frame `index`, and where to seek for that one: half way between it and the one
    /// before, so that rounding never costs or adds a frame. `None`: start from the beginning.
    ///
    /// Always a frame that is whole in itself. Demuxers find those by when they are decoded, which is before frames that
    /// are shown earlier: for such a frame they begin at the whole one behind it, and it never comes.
    pub(super) fn seek(&self, index: usize) -> Option<(usize, f64)> {
        let Self::Times(times, whole) = self else { return None };
        let key = whole[..whole.partition_point(|key| *key <= index)].last().copied()?;
        let (before, at) = (times.get(key.checked_sub(1)?)?, times.get(key)?);
        Some((key, (before + at) / 2.0))
    }

    /// From the time stamps of the packets, in the order of the file. `exact` containers keep
    /// them so well that seeking by them finds the frame.
    fn of(mut stamps: Vec<Stamp>, start: f64, exact: bool) -> Self {
        stamps.sort_by(|a, b| a.time.unwrap_or(f64::MIN).total_cmp(&b.time.unwrap_or(f64::MIN)));
        let times: Vec<f64> = stamps.iter().filter_map(|stamp| Some(stamp.time? - start)).collect();
        let distinct = times.windows(2).all(|pair| pair[1] - pair[0] > SAME_S);
        if exact && distinct && times.len() == stamps.len() {
            let whole = stamps.iter().enumerate().filter(|(_, stamp)| stamp.whole);
            Self::Times(times, whole.map(|(index, _)| index).collect())
        } else {
            Self::Count(stamps.len())
        }
    }
}

/// What a packet says of its frame.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    /// When it is shown, s.
    time: Option<f64>,
    /// It needs no other frame.
    whole: bool,
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
    let codec = stream.codec_name.as_deref().unwrap_or("unknown codec");
    let (stamps, sound) = stamps(reel, codec)?;
    if stamps.is_empty() {
        return Err(fails("it holds no frames".to_owned()));
    }
    let varying = varying(&stamps);
    let told = || stream.avg_frame_rate.as_deref().and_then(frame_time_ms);
    let frame_time_ms = match &varying {
        Some((_, mean)) => Some(*mean),
        None if sound => told(),
        // The rate of the container is that of packets, of which some are no frames.
        None => mean_ms(&stamps).or_else(told),
    };
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
fn varying(stamps: &[Stamp]) -> Option<(Vec<f64>, f64)> {
    let mut times: Vec<f64> =
        stamps.iter().map(|stamp| Some(stamp.time? * 1000.0)).collect::<Option<_>>()?;
    times.sort_by(f64::total_cmp);
    uneven(&times, ROUNDING_MS)
}

/// Mean time between frames, ms; `None` where one of them has no time.
fn mean_ms(stamps: &[Stamp]) -> Option<f64> {
    let times: Vec<f64> = stamps.iter().map(|stamp| stamp.time).collect::<Option<_>>()?;
    let (first, last) =
        (times.iter().copied().reduce(f64::min)?, times.iter().copied().reduce(f64::max)?);
    let ms = 1000.0 * (last - first) / (times.len() - 1) as f64;
    (ms.is_finite() && ms > 0.0).then_some(ms)
}

/// "30000/1001" to ms.
fn frame_time_ms(rate: &str) -> Option<f64> {
    let (frames, seconds) = rate.split_once('/')?;
    let ms = 1000.0 * seconds.parse::<f64>().ok()? / frames.parse::<f64>().ok()?;
    (ms.is_finite() && ms > 0.0).then_some(ms)
}

fn asking(reel: &Reel, entries: &str) -> Command {
    let mut command = tool::limited("ffprobe", tool::VIDEO);
    // A thread for every core would take more memory than a child has: of 16 not one frame of 3840 x 2160 px decodes.
    command.args(["-v", "error", "-threads", "2"]);
    command.args(["-select_streams", "v:0", "-show_entries", entries]);
    Reel::restrict(&mut command);
    command.arg("-i").arg(tool::file_argument(&reel.read)).stdin(Stdio::null());
    command
}

/// Time stamps of all frames, in the order of the file, and whether each is a packet that can be decoded: a recording
/// that begins between two whole pictures has packets of which nothing can be made, VP8 has some that are never shown, and
/// H.264 may keep the two fields of a frame in two, so the frames are decoded for it.
fn stamps(reel: &Reel, codec: &str) -> Result<(Vec<Stamp>, bool), CodecError> {
    let mut packets: Vec<Stamp> = Vec::new();
    each_line(reel, "packet=pts_time,flags", |line| {
        let (time, flags) = line.split_once(',').unwrap_or((line, ""));
        // "D": decoded for the sake of others and discarded (edit lists); "K": whole in itself.
        if !time.is_empty() && !flags.contains('D') {
            packets.push(Stamp { time: time.parse().ok(), whole: flags.contains('K') });
        }
    })?;
    let first = packets.first().copied().unwrap_or(Stamp { time: None, whole: true });
    // Pictures before the first one are made of it and of one that is not there.
    let before = |stamp: &Stamp| stamp.time.is_some() && stamp.time < first.time;
    let sound = first.whole && !packets.iter().any(before) && !share_a_time(&packets);
    if sound && !(codec == OF_FIELDS && may_hold_fields(reel)?) {
        return Ok((packets, true));
    }
    let mut frames = Vec::new();
    each_line(reel, "frame=best_effort_timestamp_time", |line| {
        frames.push(Stamp { time: line.trim_end_matches(',').parse().ok(), whole: false });
    })?;
    // Most that is interlaced has both fields in one packet, and can be sought by them.
    if sound && frames.len() == packets.len() { Ok((packets, true)) } else { Ok((frames, false)) }
}

/// Whether the headers of H.264 allow anything but whole frames; also where ffmpeg does not tell them.
fn may_hold_fields(reel: &Reel) -> Result<bool, CodecError> {
    let mut command = tool::limited("ffmpeg", tool::FRAME);
    command.args(["-nostdin", "-hide_banner", "-v", "info"]);
    Reel::restrict(&mut command);
    command.arg("-i").arg(tool::file_argument(&reel.read)).args(["-map", "0:v:0", "-c", "copy"]);
    command.args(["-frames:v", "1", "-bsf:v", "trace_headers", "-f", "null", "-"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| tool::not_started(&reel.shown, "ffmpeg", &e))?;
    let told = child.stderr.take().and_then(|pipe| {
        // Titles and names among it may be in any encoding.
        let lines = BufReader::new(Patient(pipe).take(MAX_TRACE)).split(b'\n');
        let mut lines =
            lines.map_while(Result::ok).map(|line| String::from_utf8_lossy(&line).into_owned());
        lines.find(|line| line.contains(" frame_mbs_only_flag "))
    });
    tool::end(&mut child);
    Ok(told.is_none_or(|line| !line.trim_end().ends_with("= 1")))
}

/// Whether packets have one time: then some of them are made for others alone and show nothing.
fn share_a_time(stamps: &[Stamp]) -> bool {
    let mut times: Vec<f64> = stamps.iter().filter_map(|stamp| stamp.time).collect();
    times.sort_by(f64::total_cmp);
    times.windows(2).any(|pair| pair[1] - pair[0] <= SAME_S)
}

/// Shows every line that ffprobe writes on such entries. A list that breaks off is an error: what it does not tell would be
/// missing from the clip.
fn each_line(reel: &Reel, entries: &str, mut see: impl FnMut(&str)) -> Result<(), CodecError> {
    let mut command = asking(reel, entries);
    command.args(["-of", "csv=print_section=0"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|e| tool::not_started(&reel.shown, "ffprobe", &e))?;
    let mut told = Ok(());
    if let Some(pipe) = child.stdout.take() {
        let limit = MAX_FRAMES as u64 * 64;
        let mut lines = BufReader::new(Patient(pipe).take(limit));
        for line in lines.by_ref().lines() {
            match line {
                Ok(line) if line.is_empty() => {}
                Ok(line) => see(&line),
                Err(error) => {
                    told = Err(error);
                    break;
                }
            }
        }
        // Of more frames than a clip may have the rest is not waited for.
        let whole = told.is_ok() && lines.get_ref().limit() > 0;
        if whole && child.wait().is_ok_and(|status| status.code().is_none()) {
            told = Err(std::io::Error::other("it was ended while it told the frames"));
        }
    }
    tool::end(&mut child);
    told.map_err(|error| CodecError::Tool {
        name: name_of(&reel.shown),
        tool: "ffprobe",
        cause: error.to_string(),
        advice: super::REENCODE,
    })
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
        let stamps = [(1.0, true), (1.12, true), (1.04, false), (1.08, false), (1.16, false)];
        let stamps = stamps.map(|(time, whole)| Stamp { time: Some(time), whole });
        let timeline = Timeline::of(stamps.to_vec(), 1.0, true);
        assert_eq!(timeline.frames(), 5);
        for index in [3, 4] {
            let (key, seconds) = timeline.seek(index).expect("behind a whole one");
            assert!(key == 3 && (seconds - 0.10).abs() < 1e-9, "{seconds}");
        }
        // Shown before the whole one, decoded behind it: from the beginning.
        assert_eq!([0, 1, 2].map(|index| timeline.seek(index)), [None; 3]);
    }

    #[test]
    fn frames_are_listed_by_few_threads_on_any_machine() {
        let reel = Reel::stream(Path::new("a.ts"), tempfile::tempfile().expect("a file"));
        let command = asking(&reel, "frame=best_effort_timestamp_time");
        let words: Vec<_> = command.get_args().collect();
        assert!(words.windows(2).any(|pair| pair[0] == "-threads" && pair[1] == "2"), "{words:?}");
    }

    #[test]
    fn the_mean_step_is_that_of_frames_with_times() {
        let stamps = |times: &[Option<f64>]| -> Vec<Stamp> {
            times.iter().map(|&time| Stamp { time, whole: false }).collect()
        };
        let mean = mean_ms(&stamps(&[Some(1.0), Some(1.08), Some(1.04)])).expect("a step");
        assert!((mean - 40.0).abs() < 1e-9, "{mean}");
        for bad in [&[][..], &[Some(1.0)], &[Some(1.0), None], &[Some(1.0), Some(1.0)]] {
            assert_eq!(mean_ms(&stamps(bad)), None, "{bad:?}");
        }
    }

    #[test]
    fn missing_or_doubled_times_leave_the_count() {
        for (times, exact) in
            [([Some(0.0), None], true), ([Some(0.0); 2], true), ([Some(0.0), Some(1.0)], false)]
        {
            let stamps = times.map(|time| Stamp { time, whole: true }).to_vec();
            assert_eq!(Timeline::of(stamps, 0.0, exact), Timeline::Count(2));
        }
    }
}
