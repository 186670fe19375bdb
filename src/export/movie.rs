//! The clip with its masks drawn, as a video or animation through ffmpeg.
//!
//! Before it gets its name, what was written is decoded and every frame compared with the picture
//! that it was made from: as bright, and tinted where the masks are, within what codecs lose.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::atomic;
use super::colours::of_structure;
use super::{ExportError, Job, Report, RgbImage, draw_mask};
use crate::codec::every_frame;
use crate::codec::tool::{self, Patient};
use crate::domain::FrameIndex;

const INSTALL: &str = "install ffmpeg (for example \"apt install ffmpeg\")";
/// Threads of an encoder or decoder: more take more memory than a child may have.
const THREADS: &str = "2";
/// Mean difference of brightness, gray levels, from which on a frame is another one.
const BRIGHT_DIFFERS: f64 = 12.0;
/// Tint of a pixel that counts, gray levels.
const TINT_MOST: f64 = 40.0;
/// Side of a block of pixels whose tint is compared.
const BLOCK: usize = 8;
/// Tinted pixels from which on their places are compared.
const MANY_TINTED: usize = 64;
/// Agreement (cosine) of the tints of a frame and of what was decoded.
const TINT_AGREES: f64 = 0.8;
/// Tint of a block, gray levels in a pixel, where there should be none, gray levels.
const STRAY: f64 = 1.5;
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
    // A palette for every frame: one for all of them would keep all frames in memory.
    filter: "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1",
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
        match encode(job, path, part.as_file(), kind, &arguments)? {
            None => {
                check(job, path, &tool::held_path(part.as_file()))?;
                atomic::publish(part, path)?;
                let masks = job.annotation.tracks.values().map(|track| track.masks.len()).sum();
                let files = vec![path.to_owned()];
                return Ok(Report { files, masks, pictures: true, ..Report::default() });
            }
            Some(words) => said = words,
        }
    }
    let cause = format!("ffmpeg says: {}", crate::domain::shown(said.trim()));
    Err(ExportError::unfit(path, cause, "try the other of mp4 and gif, or update ffmpeg"))
}

/// The ffmpeg that fills the file `part` with the frames that it is fed.
fn encoder(job: &Job, part: &File, kind: &Kind, arguments: &[&str]) -> Command {
    let info = job.info;
    let (rate, times) = match &info.frame_times_ms[..] {
        [] => (info.frame_time_ms.map_or(FRAMES_PER_S, |ms| 1000.0 / ms), String::new()),
        times => (GRID_PER_S, format!("setpts='({})/1000/TB+0.5',", time_of_frame(times))),
    };
    let rate = rate.clamp(0.1, 1000.0);
    let mut command = tool::limited("ffmpeg", tool::MOVIE);
    command.args(["-nostdin", "-v", "error", "-y", "-threads", THREADS]);
    command.args(["-f", "rawvideo", "-pix_fmt", "rgb24"]);
    command.args(["-s", &format!("{}x{}", info.width_px, info.height_px)]);
    command.args(["-r", &format!("{rate:.6}"), "-i", "pipe:0"]);
    command.args(["-filter_complex", &format!("{times}{}", kind.filter)]).args(arguments);
    command.args(["-threads", THREADS]);
    command.args(["-metadata", &format!("comment={}", job.about()), "-f", kind.container]);
    command
        .arg(tool::file_argument(&tool::held_path(part)))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Feeds ffmpeg with all frames; what it says when it fails.
fn encode(
    job: &Job,
    path: &Path,
    part: &File,
    kind: &Kind,
    arguments: &[&str],
) -> Result<Option<String>, ExportError> {
    let mut command = encoder(job, part, kind, arguments);
    let mut child = command.spawn().map_err(|e| not_started(path, &e))?;
    let fed = match child.stdin.take() {
        Some(pipe) => feed(job, path, &mut Patient(pipe)),
        None => Ok(()),
    };
    let said = last_words(&mut child);
    let ended = child.wait().map_err(|e| not_started(path, &e))?;
    fed?;
    if ended.code() == Some(127) {
        return Err(not_started(path, &std::io::ErrorKind::NotFound.into()));
    }
    Ok((!ended.success()).then_some(said))
}

/// What a child says until it is done; one that says nothing and does not end is ended.
fn last_words(child: &mut Child) -> String {
    let mut said = Vec::new();
    let read = child.stderr.take().map(|pipe| Patient(pipe).read_to_end(&mut said));
    if matches!(read, Some(Err(_))) {
        tool::end(child);
        return "it does not get on".to_owned();
    }
    String::from_utf8_lossy(&said).chars().take(300).collect()
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
    job.go_on(path)?;
    let pixels = frames(frame).map_err(|why| ExportError::unfit(path, why, "mend the clip"))?;
    let mut picture = RgbImage::of_frame(&pixels);
    for track in job.annotation.tracks.values() {
        if let Some(held) = track.masks.get(&frame) {
            let colour = of_structure(track, &job.colours);
            draw_mask(&mut picture, &held.mask.to_bitmap(), colour);
        }
    }
    Ok(picture)
}

/// Every frame is there and shows what it was made from: found by decoding.
fn check(job: &Job, path: &Path, part: &Path) -> Result<(), ExportError> {
    let info = job.info;
    let differs = || ExportError::differs(path);
    let mut command = tool::limited("ffmpeg", tool::VIDEO);
    command
        .args(["-nostdin", "-v", "error", "-threads", THREADS, "-i"])
        .arg(tool::file_argument(part));
    command.args(["-map", "0:v:0"]);
    command.args(every_frame(path).map_err(|e| ExportError::unfit(path, e.to_string(), INSTALL))?);
    let visible = format!("format=rgb24,crop={}:{}:0:0", info.width_px, info.height_px);
    command.args(["-vf", &visible, "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|e| not_started(path, &e))?;
    let compared = child.stdout.take().map(|pipe| compare(job, path, &mut Patient(pipe)));
    tool::end(&mut child);
    if compared.ok_or_else(differs)?? { Ok(()) } else { Err(differs()) }
}

/// Whether `decoded` gives every frame, looking as it should, and no more.
fn compare(job: &Job, path: &Path, decoded: &mut impl Read) -> Result<bool, ExportError> {
    let pixels = job.info.width_px as usize * job.info.height_px as usize;
    let mut found = vec![0; pixels * 3];
    for frame in 0..job.info.frames {
        if decoded.read_exact(&mut found).is_err() || !alike(&picture(job, path, frame)?, &found) {
            return Ok(false);
        }
    }
    Ok(matches!(decoded.read(&mut [0]), Ok(0)))
}

/// Whether a decoded picture (red, green, blue) is `made` after a codec had it: as bright, and
/// tinted in the same places. Tint is what a pixel differs from gray by, at most [`TINT_MOST`] so
/// that a thin outline counts no more than what it encloses, and summed over blocks, since codecs
/// store colour for several pixels at once; how well two tints agree is the cosine between them.
/// Measured on noise with x264, MPEG-4 and GIF: 0.96 and above for a square of 24 px and for a
/// line of 2 px, 0.42 and below where the square is 16 px aside; brightness differs by 4.
fn alike(made: &RgbImage, found: &[u8]) -> bool {
    let width = made.width_px as usize;
    let across = width.div_ceil(BLOCK);
    let mut tints = vec![[[0.0_f64; 3]; 2]; across * (made.height_px as usize).div_ceil(BLOCK)];
    let (mut differ, mut tinted) = (0.0_f64, 0_usize);
    let pixels = made.pixels.iter().zip(found.as_chunks::<3>().0);
    for (at, (made, found)) in pixels.enumerate() {
        let parts = [parted(*made), parted(*found)];
        differ += (parts[0].0 - parts[1].0).abs();
        tinted += usize::from(parts[0].1 != [0.0; 3]);
        let block = &mut tints[at / width / BLOCK * across + at % width / BLOCK];
        for (sum, (_, tint)) in block.iter_mut().zip(parts) {
            sum.iter_mut().zip(tint).for_each(|(sum, part)| *sum += part);
        }
    }
    let product = |i: usize, j: usize| {
        let of_block = |b: &[[f64; 3]; 2]| b[i].iter().zip(b[j]).map(|(p, q)| p * q).sum::<f64>();
        tints.iter().map(of_block).sum::<f64>()
    };
    let agree = match tinted {
        0 => product(1, 1) < (STRAY * made.pixels.len() as f64).powi(2) / tints.len() as f64,
        // Too few to tell from what a codec loses.
        1..MANY_TINTED => true,
        _ => product(0, 1) > TINT_AGREES * (product(0, 0) * product(1, 1)).sqrt(),
    };
    differ < BRIGHT_DIFFERS * made.pixels.len() as f64 && agree
}

/// How bright a pixel is, and its tint.
fn parted(pixel: [u8; 3]) -> (f64, [f64; 3]) {
    let values = pixel.map(f64::from);
    let gray = values.iter().sum::<f64>() / 3.0;
    let tint = values.map(|v| v - gray);
    let length = tint.iter().map(|v| v * v).sum::<f64>().sqrt();
    (gray, tint.map(|v| v * (TINT_MOST / length.max(TINT_MOST))))
}

fn not_started(path: &Path, cause: &std::io::Error) -> ExportError {
    ExportError::unfit(path, format!("ffmpeg cannot be started ({cause})"), INSTALL)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{
        Annotation, Bitmap, ClipInfo, ClipKind, ContentHash, Edit, FrameMask, GrayFrame,
        MaskSource, Track, TrackId,
    };

    const SIDES: (u32, u32) = (97, 64);

    /// A square of 24 px that moves by `step` a frame.
    fn moving(start: u32, step: u32, frames: usize) -> Annotation {
        let mut content = Track::new("nerve", 0);
        for frame in 0..frames {
            let left = start + step * frame as u32;
            let inside = |x: u32, y: u32| (left..left + 24).contains(&x) && (20..44).contains(&y);
            let mask = Bitmap::from_fn(SIDES.0, SIDES.1, inside).to_mask();
            content
                .masks
                .insert(frame, FrameMask { mask, source: MaskSource::Accepted, score: 1.0 });
        }
        let mut annotation = Annotation::default();
        annotation.apply(&Edit::AddTrack { track: TrackId(1), content }).expect("a track");
        annotation
    }

    #[test]
    fn an_encoder_is_told_no_name_of_a_patient() {
        let folder = tempfile::Builder::new().prefix("DOE^JOHN").tempdir().expect("a folder");
        let part = atomic::part_beside(&folder.path().join("a.mp4")).expect("a file");
        let hash = ContentHash("0123456789abcdef".into());
        let info = ClipInfo {
            name: "DOE^JOHN.dcm".into(),
            ..ClipInfo::new(hash, ClipKind::Cine, SIDES, 6)
        };
        let held = moving(4, 8, 6);
        for kind in [&MP4, &GIF] {
            let command = encoder(&Job::new(&held, &info), part.as_file(), kind, &[]);
            let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
            assert!(words.iter().any(|word| word.starts_with("file:/proc/")), "{words:?}");
            assert!(!words.iter().any(|word| word.contains("JOHN")), "{words:?}");
        }
    }

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

    #[test]
    fn a_movie_is_compared_with_the_masks_that_it_should_show() {
        if std::process::Command::new("ffmpeg").arg("-version").output().is_err() {
            // Past the runner, which keeps what passing tests print.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                b"skipped: ffmpeg is not installed\n",
            );
            return;
        }
        let hash = ContentHash("0123456789abcdef".into());
        let info =
            ClipInfo { frame_time_ms: Some(40.0), ..ClipInfo::new(hash, ClipKind::Cine, SIDES, 6) };
        let noise = |frame: usize| -> Result<Arc<GrayFrame>, String> {
            let mut random = fastrand::Rng::with_seed(frame as u64);
            let pixels = (0..SIDES.0 * SIDES.1).map(|_| random.u8(..120)).collect();
            Ok(Arc::new(GrayFrame::new(SIDES.0, SIDES.1, pixels).expect("a frame")))
        };
        let folder = tempfile::tempdir().expect("a folder");
        let held = moving(4, 8, 6);
        let job = Job { frames: Some(&noise), ..Job::new(&held, &info) };
        for (kind, name) in [(&MP4, "a.mp4"), (&GIF, "a.gif")] {
            let path = folder.path().join(name);
            write(&job, &path, kind).expect(name);
            let others = [moving(20, 8, 6), moving(44, 0, 6), Annotation::default()];
            for other in &others {
                let job = Job { frames: Some(&noise), ..Job::new(other, &info) };
                assert!(check(&job, &path, &path).is_err(), "{name}");
            }
            let longer = ClipInfo { frames: 7, ..info.clone() };
            let job = Job { frames: Some(&noise), ..Job::new(&held, &longer) };
            assert!(check(&job, &path, &path).is_err(), "{name}: a frame is missing");
        }
    }
}
