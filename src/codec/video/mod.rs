//! Video through the programs `ffprobe` and `ffmpeg`, which run as child processes.
//!
//! A decoder that crashes takes only its process with it, and every codec of the installed ffmpeg
//! works. Frames arrive as PGM images of their planes over a pipe, one at a time; never is the clip in memory.
//! Reading forwards continues the running process. Elsewhere it is restarted at the last frame before
//! the wanted one that is whole in itself, by exact times (the time stamps of all frames are read when the clip is
//! opened), or at the beginning where the container has no usable time stamps; from there frames are counted. Frames
//! decoded on the way back are kept, so walking backwards costs one restart in [`BACKWARD_FRAMES`] frames. Every thread
//! that reads has a process of its own, see [`Streams`].

mod headers;
mod probe;
mod streams;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use super::error::{brief, name_of, short_name};
use super::gray::rgb_of_ybr;
use super::limits::{MAX_SIDE_PX, check_size, open_regular};
use super::tool::Patient;
use super::{CodecError, FrameSource, Opened, Privacy, complete, identity, tool};
use crate::domain::{ClipInfo, ClipKind, Colours, FrameIndex, GrayFrame};
use probe::{Timeline, Version};
use streams::Streams;

const REENCODE: &str = "re-encode it, for example with \"ffmpeg -i IN -c:v ffv1 OUT.mkv\"";
/// Frames further ahead than this are reached by seeking rather than by decoding up to them.
const SKIP_FRAMES: usize = 64;
/// Chroma nearer to its middle makes no [`crate::domain::COLOURED`] pixel.
const NO_CHROMA: u8 = 7;
/// How far before a frame that lies behind decoding starts again.
const BACKWARD_FRAMES: usize = 24;
/// Of the frames that are passed on the way to a wanted one every so manieth comes all the same: a decoder that gives
/// nothing for two minutes counts as one that hangs.
const SIGN_OF_LIFE: usize = 100;
/// Demuxers of real files only: playlists and scripts (hls, concat, ...) could name other files.
/// The last ones are streams without a container, which DICOM objects hold, too.
const CONTAINERS: &str = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,asf,\
                          flv,ogg,gif,apng,mxf,nut,ivf,dv,rm,wtv,swf,yuv4mpegpipe,mjpeg,jpeg_pipe,\
                          h264,hevc";

/// The option with which ffmpeg passes every frame on, none twice and none dropped; `path` is for
/// messages.
pub(crate) fn every_frame(path: &Path) -> Result<[&'static str; 2], CodecError> {
    Ok(probe::version(path)?.every_frame())
}

/// A video: what ffmpeg reads, and what it is called in messages.
pub(super) struct Reel {
    shown: PathBuf,
    read: PathBuf,
    /// The file whose change is one of the clip.
    watched: PathBuf,
    _held: File,
}

impl Reel {
    /// A file, opened.
    fn file(path: &Path, held: File) -> Self {
        Self { watched: path.to_owned(), ..Self::stream(path, held) }
    }

    /// The content of an open file, taken from the file `shown`. Children reach it through this
    /// process, which keeps it open.
    pub(super) fn stream(shown: &Path, held: File) -> Self {
        let read = tool::held_path(&held);
        Self { shown: shown.to_owned(), watched: read.clone(), read, _held: held }
    }

    /// What a tool says, without the name by which it knows the content.
    fn cleaned(&self, said: &str) -> String {
        brief(&said.replace(&format!("file:{}", self.read.display()), "its content"))
    }

    /// Only real files, read by demuxers of real files: no network, no playlists.
    fn restrict(command: &mut Command) {
        command.args(["-protocol_whitelist", "file,pipe", "-format_whitelist", CONTAINERS]);
    }
}

/// What ffmpeg makes of a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    /// Y, Cb and Cr as three gray images, one below the other: of every size, and Y is the gray that
    /// ffmpeg makes of the frame.
    Planes,
    /// Its gray alone, where planes take too much memory, as of 67 million pixels, or an ffmpeg was
    /// built without the filters.
    Gray,
}

impl Made {
    fn filter(self) -> &'static str {
        match self {
            Self::Planes => {
                "scale=out_range=full,format=yuvj444p,extractplanes=y+u+v[y][u][v];[y][u][v]vstack=3"
            }
            Self::Gray => "scale=out_range=full,format=gray",
        }
    }
}

/// Codecs, as ffmpeg calls them, that keep every pixel.
const LOSSLESS: [&str; 8] =
    ["ffv1", "huffyuv", "ffvhuff", "utvideo", "rawvideo", "png", "apng", "qtrle"];

/// Frames of running or restarted ffmpegs.
pub(super) struct Video {
    reel: Reel,
    timeline: Timeline,
    version: Version,
    made: Made,
    /// Frames worth keeping before one that lies behind: what fits into half of the cache.
    backward_frames: usize,
    streams: Streams,
}

/// Opens a video.
pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Opened, CodecError> {
    complete::video(path)?;
    let reel = Reel::file(path, open_regular(path)?);
    let hash = || identity::of_file(path);
    let (hash, opened) = tool::both(hash, || open_reel(reel, cache_bytes));
    let (found, video) = opened?;
    let info = ClipInfo {
        content_hash: hash?,
        name: short_name(path),
        kind: if found.frames == 1 { ClipKind::Still } else { ClipKind::Cine },
        width_px: found.width_px,
        height_px: found.height_px,
        frames: found.frames,
        pixel_spacing_mm: None,
        scales: Vec::new(),
        slice_spacing_mm: None,
        frame_time_ms: found.frame_time_ms,
        frame_times_ms: found.times_ms,
        placement: None,
        lossy: None,
        format: found.format,
    };
    // What scanners and capture cards record has names burned in as a rule.
    let privacy = Privacy { medical: true, ..Privacy::default() };
    let lossy = !LOSSLESS.contains(&found.codec.as_str());
    Ok(Opened { privacy, lossy, ..Opened::new(info, video) })
}

/// What is known of a video after its first frame.
pub(super) struct Found {
    pub(super) width_px: u32,
    pub(super) height_px: u32,
    pub(super) frames: usize,
    pub(super) frame_time_ms: Option<f64>,
    /// When each frame is shown, ms from the first, where that is not at a constant rate.
    pub(super) times_ms: Vec<f64>,
    /// ffmpeg's name of the compression.
    pub(super) codec: String,
    format: String,
}

/// The first frame, and the stream that it came from.
type First = Result<(GrayFrame, Stream), CodecError>;

/// Reads the first frame.
fn first_frame(reel: &Reel, version: Version) -> First {
    let first_as = |made| -> First {
        let mut stream = Stream::start(reel, version, made, From::default(), 0)?;
        Ok((stream.next(reel)?, stream))
    };
    first_as(Made::Planes).or_else(|why| first_as(Made::Gray).map_err(|_| why))
}

/// As [`first_frame`], and the version of ffmpeg as far as it matters. Asking for that takes as long as a frame: the newest
/// options are tried, or those of last time, and it is asked where they fail.
fn first_of_version(reel: &Reel) -> Result<(Version, First), CodecError> {
    static LAST: Mutex<Version> = Mutex::new(Version::NEWEST);
    let last = || LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let tried = *last();
    let first = first_frame(reel, tried);
    if first.is_ok() {
        return Ok((tried, first));
    }
    let version = probe::version(&reel.shown)?;
    if version.every_frame() == tried.every_frame() {
        return Ok((version, first));
    }
    *last() = version;
    Ok((version, first_frame(reel, version)))
}

/// Opens what ffmpeg reads. The first frame comes while the list of all is read: each takes about as long.
pub(super) fn open_reel(reel: Reel, cache_bytes: usize) -> Result<(Found, Video), CodecError> {
    let (first, probed) = tool::both(|| first_of_version(&reel), || probe::probe(&reel));
    let (version, first) = first?;
    let probed = probed?;
    // It tells the size as it comes out of ffmpeg, rotation included.
    let (first, mut stream) = first?;
    let frames = probed.timeline.frames();
    check_size(&reel.shown, first.width_px, first.height_px, frames)?;
    let found = Found {
        width_px: first.width_px,
        height_px: first.height_px,
        frames,
        frame_time_ms: probed.frame_time_ms,
        times_ms: probed.times_ms,
        codec: probed.codec,
        format: probed.format,
    };
    let fit = cache_bytes / 2 / first.bytes().max(1);
    let made = stream.made;
    stream.give_back(first);
    let video = Video {
        reel,
        timeline: probed.timeline,
        version,
        made,
        backward_frames: fit.min(BACKWARD_FRAMES),
        streams: Streams::of(stream),
    };
    Ok((found, video))
}

impl FrameSource for Video {
    fn file_of(&self, _index: FrameIndex) -> Option<&Path> {
        Some(&self.reel.watched)
    }

    fn read(
        &self,
        index: FrameIndex,
        keep: &mut dyn FnMut(FrameIndex, GrayFrame),
    ) -> Result<GrayFrame, CodecError> {
        let running = self.streams.take(index);
        let behind = running.as_ref().is_some_and(|stream| index < stream.next_index);
        let back = if behind { self.backward_frames } else { 0 };
        // One that does not get there ends before the next is started.
        let mut stream = match running.filter(|stream| stream.reaches(index)) {
            Some(stream) => stream,
            None => self.start_at(index.saturating_sub(back))?,
        };
        let frame = self.advance(&mut stream, index, keep)?;
        self.streams.keep(stream);
        Ok(frame)
    }
}

impl Video {
    fn start_at(&self, index: FrameIndex) -> Result<Stream, CodecError> {
        let from = match self.timeline.seek(index) {
            Some((begin, seconds)) => From { seconds: Some(seconds), pass: index - begin },
            None => From { seconds: None, pass: index },
        };
        Stream::start(&self.reel, self.version, self.made, from, index)
    }

    /// Reads up to frame `index`, keeping the frames just before it.
    fn advance(
        &self,
        stream: &mut Stream,
        index: FrameIndex,
        keep: &mut dyn FnMut(FrameIndex, GrayFrame),
    ) -> Result<GrayFrame, CodecError> {
        loop {
            let at = stream.next_index;
            let frame = stream.next(&self.reel)?;
            if at == index {
                return Ok(frame);
            }
            if at + self.backward_frames >= index {
                keep(at, frame);
            }
        }
    }
}

/// Where decoding starts.
#[derive(Clone, Copy, Default)]
struct From {
    /// Where to seek; the beginning where nothing is said.
    seconds: Option<f64>,
    /// How many frames from there on are not wanted.
    pass: usize,
}

impl From {
    /// The filter that makes frames so, and how many come before the wanted ones.
    fn filter(self, made: Made) -> (String, usize) {
        let (pass, filter) = (self.pass, made.filter());
        if pass == 0 {
            return (filter.to_owned(), 0);
        }
        let few = format!("select=gte(n\\,{pass})+not(mod(n\\,{SIGN_OF_LIFE})),{filter}");
        (few, pass.div_ceil(SIGN_OF_LIFE))
    }
}

/// A running ffmpeg that writes frames into a pipe.
struct Stream {
    child: Child,
    frames: BufReader<Patient<ChildStdout>>,
    messages: Option<JoinHandle<String>>,
    made: Made,
    /// How many frames come that are not wanted.
    unwanted: usize,
    /// A frame that was read and is the next one all the same.
    returned: Option<GrayFrame>,
    next_index: FrameIndex,
}

impl Stream {
    /// Starts decoding there, which leads to frame `next_index`.
    fn start(
        reel: &Reel,
        version: Version,
        made: Made,
        from: From,
        next_index: FrameIndex,
    ) -> Result<Self, CodecError> {
        let path = &reel.shown;
        let mut command = tool::limited("ffmpeg", tool::VIDEO);
        command.args(["-nostdin", "-v", "error", "-threads", "2"]);
        Reel::restrict(&mut command);
        if let Some(seconds) = from.seconds {
            command.args(["-ss", &format!("{seconds:.6}")]);
        }
        command.arg("-i").arg(tool::file_argument(&reel.read)).args(["-map", "0:v:0"]);
        command.args(version.every_frame());
        let (filter, unwanted) = from.filter(made);
        command.args(["-vf", &filter, "-f", "image2pipe", "-c:v", "pgm", "pipe:1"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| tool::not_started(path, "ffmpeg", &e))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let messages =
            stderr.map(|mut pipe| std::thread::spawn(move || tool::first_messages(&mut pipe)));
        let Some(stdout) = stdout else {
            return Err(CodecError::damaged(path, "ffmpeg gives no frames"));
        };
        let frames = BufReader::with_capacity(1 << 18, Patient(stdout));
        Ok(Self { child, frames, messages, made, unwanted, returned: None, next_index })
    }

    /// Whether frame `index` is the next one, or one that it is soon decoded on to.
    fn reaches(&self, index: FrameIndex) -> bool {
        (self.next_index..=self.next_index + SKIP_FRAMES).contains(&index)
    }

    /// Makes the frame that came last the next one again.
    fn give_back(&mut self, frame: GrayFrame) {
        self.next_index -= 1;
        self.returned = Some(frame);
    }

    fn next(&mut self, reel: &Reel) -> Result<GrayFrame, CodecError> {
        if let Some(frame) = self.returned.take() {
            self.next_index += 1;
            return Ok(frame);
        }
        let mut read = read_pgm(&mut self.frames);
        while self.unwanted > 0 && read.is_ok() {
            self.unwanted -= 1;
            read = read_pgm(&mut self.frames);
        }
        let read = if self.made == Made::Planes { read.and_then(|of| joined(&of)) } else { read };
        match read {
            Ok(frame) => {
                self.next_index += 1;
                Ok(frame)
            }
            Err(error) => Err(self.failure(reel, &error)),
        }
    }

    fn failure(&mut self, reel: &Reel, error: &io::Error) -> CodecError {
        // The process is ended first: its messages are complete only then.
        tool::end(&mut self.child);
        let said = self.messages.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let frame = self.next_index + 1;
        let cause = if said.trim().is_empty() {
            format!("frame {frame} does not come ({error})")
        } else {
            format!("frame {frame} does not come: {}", reel.cleaned(&said))
        };
        CodecError::Tool { name: name_of(&reel.shown), tool: "ffmpeg", cause, advice: REENCODE }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        tool::end(&mut self.child);
    }
}

/// One binary PGM: "P5", width, height, maximum, one white space, pixels.
fn read_pgm(reader: &mut impl Read) -> io::Result<GrayFrame> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "not a PGM image");
    let mut numbers = [0u32; 3];
    if word(reader)? != b"P5" {
        return Err(bad());
    }
    for number in &mut numbers {
        let text = word(reader)?;
        *number = std::str::from_utf8(&text).ok().and_then(|t| t.parse().ok()).ok_or_else(bad)?;
    }
    let [width, height, top] = numbers;
    if top != 255 || width > MAX_SIDE_PX || height > 3 * MAX_SIDE_PX {
        return Err(bad());
    }
    let mut pixels = vec![0; width as usize * height as usize];
    reader.read_exact(&mut pixels)?;
    GrayFrame::new(width, height, pixels).ok_or_else(bad)
}

/// A frame of its [`Made::Planes`].
fn joined(planes: &GrayFrame) -> io::Result<GrayFrame> {
    let (width, height) = (planes.width_px, planes.height_px / 3);
    let count = width as usize * height as usize;
    let (y, chroma) = planes.pixels.split_at(count);
    let (cb, cr) = chroma.split_at(chroma.len() / 2);
    let pixels = y.iter().zip(cb).zip(cr).map(|((&y, &cb), &cr)| {
        // Most are gray, and that is seen sooner.
        if cb.abs_diff(128).max(cr.abs_diff(128)) < NO_CHROMA {
            return [y; 3];
        }
        rgb_of_ybr([y, cb, cr])
    });
    let colours = Colours::of(pixels);
    let frame = GrayFrame::new(width, height, y.to_vec()).filter(|_| chroma.len() == 2 * count);
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "not three planes");
    Ok(frame.ok_or_else(bad)?.with_colours(colours))
}

/// The next word of at most 8 bytes and the one white space after it.
fn word(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut word = Vec::with_capacity(8);
    loop {
        let mut byte = [0];
        reader.read_exact(&mut byte)?;
        if byte[0].is_ascii_whitespace() {
            return Ok(word);
        }
        if word.len() == 8 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a PGM image"));
        }
        word.push(byte[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pgm_images_follow_each_other() {
        let mut bytes = &b"P5\n2 1\n255\nabP5\n1 1\n255\nc"[..];
        assert_eq!(read_pgm(&mut bytes).map(|f| f.pixels).ok(), Some(b"ab".to_vec()));
        assert_eq!(read_pgm(&mut bytes).map(|f| f.pixels).ok(), Some(b"c".to_vec()));
        assert!(read_pgm(&mut bytes).is_err());
        assert!(read_pgm(&mut &b"P5\n99999999 99999999\n255\n"[..]).is_err());
    }

    #[test]
    fn frames_that_are_passed_give_a_sign_of_life() {
        let filter = |pass| From { seconds: None, pass }.filter(Made::Gray);
        let gray = Made::Gray.filter();
        assert_eq!(filter(0), (gray.to_owned(), 0));
        for (pass, signs) in [(1, 1), (100, 1), (101, 2), (54_000, 540)] {
            let wanted = format!("select=gte(n\\,{pass})+not(mod(n\\,100)),{gray}");
            assert_eq!(filter(pass), (wanted, signs));
        }
    }
}
