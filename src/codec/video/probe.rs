//! What `ffprobe` tells of a video: codec, container and the time stamp of every frame.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::Reel;
use super::headers::{Headers, headers};
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
const H264: &str = "h264";
/// Compressions whose packets that are called whole are so: no frame that is shown later needs an earlier one. Those of
/// H.264 may also be the beginning of a picture that comes about little by little (intra refresh).
const WHOLE: [&str; 6] = ["hevc", "mpeg4", "mpeg2video", "mpeg1video", "vp8", "vp9"];
/// Demuxers seek for up to so much earlier (ffmpeg does in Matroska, for 3/23 s), s.
const EARLY_S: f64 = 0.2;
/// So far on the way from a frame to the next that one is sought. Containers may count in steps as long as a frame: half way
/// could be rounded either way, and where it went down the frame before would come.
const PLACE: f64 = 0.75;

/// Version of ffmpeg; builds from a repository count as the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u32, u32);

impl Version {
    /// Newer than all others.
    pub(super) const NEWEST: Self = Self(u32::MAX, 0);

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
            (None, _) => Self::NEWEST,
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
    Times(Vec<f64>, Vec<Key>),
    /// Only the number of frames is known: the way to a frame is from the beginning.
    Count(usize),
}

/// A frame that is whole in itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Key {
    frame: usize,
    /// When it is decoded, seconds from the start of the file, see [`Stamp::decoded`].
    decoded: Option<f64>,
}

impl Timeline {
    pub(super) fn frames(&self) -> usize {
        match self {
            Self::Times(times, _) => times.len(),
            Self::Count(count) => *count,
        }
    }

    /// Which frame comes first where ffmpeg seeks on the way to frame `index`, and where that is: between it and the one
    /// before, so that rounding never costs or adds a frame. `None`: start from the beginning.
    ///
    /// Demuxers go back to a frame that is whole in itself, and find those by when they are decoded, which is before frames
    /// that are shown earlier: for such a frame they begin at the whole one behind it, and it never comes. So what is sought
    /// is a whole frame; decoding begins at the one before that, and passes as many frames in vain. Where it is known when
    /// whole frames are decoded a frame shortly behind one is sought instead, before the next whole one is decoded.
    pub(super) fn seek(&self, index: usize) -> Option<(usize, f64)> {
        let Self::Times(times, keys) = self else { return None };
        let known = keys.partition_point(|key| key.frame <= index);
        (0..known).rev().find_map(|at| begin(times, *keys.get(at)?, keys.get(at + 1), index))
    }

    /// From the time stamps of the packets, in the order of the file. `exact` containers keep
    /// them so well that seeking by them finds the frame.
    fn of(mut stamps: Vec<Stamp>, start: f64, exact: bool) -> Self {
        stamps.sort_by(|a, b| a.time.unwrap_or(f64::MIN).total_cmp(&b.time.unwrap_or(f64::MIN)));
        let times: Vec<f64> = stamps.iter().filter_map(|stamp| Some(stamp.time? - start)).collect();
        let distinct = times.windows(2).all(|pair| pair[1] - pair[0] > SAME_S);
        if exact && distinct && times.len() == stamps.len() {
            let whole = stamps.iter().enumerate().filter(|(_, stamp)| stamp.whole);
            let key = |(frame, stamp): (usize, &Stamp)| Key {
                frame,
                decoded: stamp.decoded.map(|time| time - start),
            };
            Self::Times(times, whole.map(key).collect())
        } else {
            Self::Count(stamps.len())
        }
    }
}

/// As [`Timeline::seek`], from the whole frame `key` on; `next` is the whole one behind it. `None` where the next one is
/// decoded so soon that demuxers begin there.
fn begin(times: &[f64], key: Key, next: Option<&Key>, index: usize) -> Option<(usize, f64)> {
    let place = |frame: usize| {
        let (before, at) = (times.get(frame.checked_sub(1)?)?, times.get(frame)?);
        Some((frame, before + PLACE * (at - before)))
    };
    let whole = place(key.frame)?;
    let end = next.map_or(Some(f64::INFINITY), |next| next.decoded);
    let Some(end) = end.filter(|_| key.decoded.is_some()) else { return Some(whole) };
    let enough = times.get(key.frame)? + EARLY_S;
    let is_enough = |frame: &usize| place(*frame).is_some_and(|(_, at)| at >= enough);
    let last = (key.frame + 1..=index).find(is_enough).unwrap_or(index);
    // A place may be rounded up to the frame itself.
    let comes = |frame: &usize| times.get(*frame).is_some_and(|at| *at < end - SAME_S);
    (key.frame..=last).rev().find(comes).and_then(place)
}

/// What a packet says of its frame.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    /// When it is shown, s.
    time: Option<f64>,
    /// It needs no other frame.
    whole: bool,
    /// When it is decoded, s; of those that are whole only where it is sure that they are.
    decoded: Option<f64>,
}

impl Stamp {
    fn at(time: Option<f64>) -> Self {
        Self { time, whole: false, decoded: None }
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

impl StreamReport {
    fn codec(&self) -> &str {
        self.codec_name.as_deref().unwrap_or("unknown codec")
    }
}

#[derive(Deserialize)]
struct FormatReport {
    format_name: Option<String>,
    start_time: Option<String>,
}

/// Asks ffprobe about the first video stream and all its packets.
pub(super) fn probe(reel: &Reel) -> Result<Probed, CodecError> {
    let (packets, asked) = tool::both(|| packets(reel), || asked(reel));
    let (stream, format, headers) = asked?;
    let container = format.format_name.unwrap_or_default();
    let start = format.start_time.and_then(|t| t.parse().ok()).unwrap_or(0.0);
    let exact = ["mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"].contains(&container.as_str());
    let codec = stream.codec();
    let (stamps, sound) = stamps(reel, packets?, codec, headers)?;
    if stamps.is_empty() {
        return Err(fails(reel, "it holds no frames".to_owned()));
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

fn fails(reel: &Reel, cause: String) -> CodecError {
    let name = name_of(&reel.shown);
    CodecError::Tool { name, tool: "ffprobe", cause, advice: super::REENCODE }
}

/// What ffprobe says of the whole, and headers where they tell what packets do not.
fn asked(reel: &Reel) -> Result<(StreamReport, FormatReport, Option<Headers>), CodecError> {
    let path = &reel.shown;
    let entries = "stream=codec_name,avg_frame_rate:format=format_name,start_time";
    let mut command = asking(reel, entries);
    command.args(["-of", "json"]);
    let output = tool::output(command).map_err(|e| tool::not_started(path, "ffprobe", &e))?;
    if !output.status.success() {
        return Err(fails(reel, reel.cleaned(&String::from_utf8_lossy(&output.stderr))));
    }
    let report: Report = serde_json::from_slice(&output.stdout)
        .map_err(|e| fails(reel, format!("its report is not understood ({e})")))?;
    let (Some(stream), Some(format)) = (report.streams.into_iter().next(), report.format) else {
        return Err(fails(reel, "it holds no picture".to_owned()));
    };
    let headers = if stream.codec() == H264 { Some(headers(reel)?) } else { None };
    Ok((stream, format, headers))
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

/// What is said of all packets of frames, in the order of the file.
fn packets(reel: &Reel) -> Result<Vec<Stamp>, CodecError> {
    let mut packets = Vec::new();
    each_line(reel, "packet=pts_time,dts_time,flags", |line| {
        let mut parts = line.splitn(3, ',');
        let mut next = || parts.next().unwrap_or_default();
        let (time, decoded, flags) = (next(), next(), next());
        // "D": decoded for the sake of others and discarded (edit lists); "K": whole in itself.
        if !time.is_empty() && !flags.contains('D') {
            let (time, whole) = (time.parse().ok(), flags.contains('K'));
            packets.push(Stamp { time, whole, decoded: decoded.parse().ok() });
        }
    })?;
    Ok(packets)
}

/// Whether decoding can begin at every packet that is called whole.
fn are_whole(packets: &[Stamp], codec: &str, headers: Option<Headers>) -> bool {
    let whole = packets.iter().filter(|stamp| stamp.whole).count();
    headers.map_or(WHOLE.contains(&codec), |headers| headers.anew >= whole)
}

/// Time stamps of all frames, in the order of the file, and whether each is a packet that can be decoded: a recording
/// that begins between two whole pictures has packets of which nothing can be made, VP8 has some that are never shown, and
/// H.264 may keep the two fields of a frame in two, so the frames are decoded for it.
fn stamps(
    reel: &Reel,
    mut packets: Vec<Stamp>,
    codec: &str,
    headers: Option<Headers>,
) -> Result<(Vec<Stamp>, bool), CodecError> {
    if !are_whole(&packets, codec, headers) {
        packets.iter_mut().for_each(|stamp| stamp.decoded = None);
    }
    let first = packets.first().copied().unwrap_or(Stamp { whole: true, ..Stamp::at(None) });
    // Pictures before the first one are made of it and of one that is not there.
    let before = |stamp: &Stamp| stamp.time.is_some() && stamp.time < first.time;
    let sound = first.whole && !packets.iter().any(before) && !share_a_time(&packets);
    if sound && headers.is_none_or(|headers| !headers.may_hold_fields) {
        return Ok((packets, true));
    }
    let mut frames = Vec::new();
    each_line(reel, "frame=best_effort_timestamp_time", |line| {
        frames.push(Stamp::at(line.trim_end_matches(',').parse().ok()));
    })?;
    // Most that is interlaced has both fields in one packet, and can be sought by them.
    if sound && frames.len() == packets.len() { Ok((packets, true)) } else { Ok((frames, false)) }
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
    told.map_err(|error| fails(reel, error.to_string()))
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
        let stamps = stamps.map(|(time, whole)| Stamp { whole, ..Stamp::at(Some(time)) });
        let timeline = Timeline::of(stamps.to_vec(), 1.0, true);
        assert_eq!(timeline.frames(), 5);
        for index in [3, 4] {
            let (key, seconds) = timeline.seek(index).expect("behind a whole one");
            assert!(key == 3 && (seconds - 0.11).abs() < 1e-9, "{seconds}");
        }
        // Shown before the whole one, decoded behind it: from the beginning.
        assert_eq!([0, 1, 2].map(|index| timeline.seek(index)), [None; 3]);
    }

    #[test]
    fn frames_shortly_behind_a_whole_one_are_sought_before_the_next_is_decoded() {
        // Whole are frames 0, 5 and `next`, which is decoded at `decoded`, where that is known.
        let timeline = |next: usize, decoded: Option<f64>| {
            let stamp = |frame: usize| {
                let time = frame as f64 * 0.04;
                let decoded = if frame == next { decoded } else { Some(time) };
                Stamp { time: Some(time), whole: [0, 5, next].contains(&frame), decoded }
            };
            Timeline::of((0..20).map(stamp).collect(), 0.0, true)
        };
        let sought = |next, decoded, index| {
            let (frame, seconds) = timeline(next, decoded).seek(index).expect("behind a whole one");
            let place = (frame as f64 - 0.25) * 0.04;
            assert!((seconds - place).abs() < 1e-9, "{seconds}");
            frame
        };
        assert_eq!([5, 6, 11, 14].map(|index| sought(15, Some(0.52), index)), [5, 6, 11, 11]);
        assert_eq!([15, 16].map(|index| sought(15, Some(0.52), index)), [15, 16]);
        // The next one is decoded before most of the frames between, or with one of them.
        assert_eq!([0.26, 0.24].map(|decoded| sought(8, Some(decoded), 7)), [6, 5]);
        // Nothing is known: the whole one itself, from further back.
        assert_eq!((sought(15, None, 14), sought(15, None, 16)), (5, 15));
        assert_eq!(timeline(15, Some(0.52)).seek(4), None);
        // The next one is decoded before the whole one is shown: from the one before.
        assert_eq!((timeline(6, Some(0.16)).seek(5), timeline(7, Some(0.2)).seek(6)), (None, None));
        assert_eq!(timeline(6, Some(0.16)).seek(6).map(|(frame, _)| frame), Some(6));
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
            times.iter().map(|&time| Stamp::at(time)).collect()
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
            let stamps = times.map(|time| Stamp { whole: true, ..Stamp::at(time) }).to_vec();
            assert_eq!(Timeline::of(stamps, 0.0, exact), Timeline::Count(2));
        }
    }
}
