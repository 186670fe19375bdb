//! `sonomark bench`: how fast this machine is, on the shipped clip. Medians.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::codec::{self, Clip};
use crate::config::Settings;
use crate::domain::{FramePrompts, GrayFrame, PointKind, PointPx};
use crate::engine::{
    Anchor, Direction, Event, Image, NetSegmenter, Segmenter, SegmenterSource, Session,
};
use crate::tui::graphics::{BenchRow, bench_rows, synthetic_frame};

use super::devices::{in_timed_parts, load_bare};
use super::headless::{check_json, make_folder, write_gray, write_json};
use super::pty::Terminal;
use super::{
    Done, Failure, annotator, bench_memory, bench_stages, bench_train, demo, print, print_json,
    tree,
};

const REPEATS: usize = 9;
/// What libsixel needed for the synthetic picture, for builds without it.
const LIBSIXEL: &str = include_str!("../../tests/data/sixel.json");

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Encoder, refresh, propagation, start
    Network,
    /// The sixel encoders
    Sixel,
    /// The network part by part, in processor and wall seconds
    Stages,
    /// Resident memory along a long clip
    Memory,
    /// The screen in a terminal: bytes, and time from a key to the last byte it changes
    Screen,
    /// Keys, bytes and seconds of a scripted annotator at the real program
    Annotator,
    /// Images per second of the training loop
    Train,
}

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// What to measure
    #[arg(value_enum, default_value = "network")]
    what: What,
    /// Folder with images/usgra and images/busi (annotator)
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Only so many stills of each set, and so many clips (annotator)
    #[arg(long, default_value_t = 10)]
    limit: usize,
    /// Only this way of putting points, in the shipped keymap of --keymap (annotator)
    #[arg(long, value_enum)]
    way: Option<annotator::Way>,
    /// Also write the numbers here, as JSON; without OUT print them so, and nothing else
    #[arg(long, value_name = "OUT")]
    json: Option<Option<PathBuf>>,
    /// Steps that are counted (train)
    #[arg(long, default_value_t = 20)]
    steps: u64,
    /// Side of the input, px (train)
    #[arg(long, default_value_t = 256, value_name = "PX")]
    side: usize,
    /// Stills of a step (train)
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Worker threads of the CPU (train)
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Frames to track for `memory`
    #[arg(long, value_name = "N", default_value_t = 5000)]
    frames: usize,
}

/// Runs it.
pub(super) fn run(settings: &Settings, options: &Options) -> Done {
    let out = options.json.as_ref().and_then(Option::as_deref);
    is_no_measure(out)?;
    check_json(out)?;
    let scratch = tempfile::tempdir().map_err(Failure::input)?;
    let folder = scratch.path().join("clip");
    demo::write_clip(&folder)?;
    let clip = codec::open(&folder, &codec::OpenOptions::default()).map_err(Failure::input)?;
    let report = match options.what {
        What::Network => {
            let loaded = load_bare(settings)?;
            let mut report =
                in_timed_parts(on_gpu(&loaded), |goes_on| network(loaded, &clip, goes_on))?;
            report["first_picture_ms"] = json!(first_picture_ms(&folder)?);
            report
        }
        What::Sixel => sixel(&clip)?,
        What::Stages => bench_stages::report(settings)?,
        What::Memory => {
            let (loaded, frames) = (load_bare(settings)?, frames_of(&clip)?);
            in_timed_parts(on_gpu(&loaded), |goes_on| {
                bench_memory::report(loaded, &frames, options.frames, goes_on)
            })?
        }
        What::Screen => screen(settings, &scratch.path().join("screen"))?,
        What::Train => {
            let Options { steps, side, batch, threads, .. } = *options;
            let load = bench_train::Load { steps, side, batch, threads };
            bench_train::report(settings, load, scratch.path())?
        }
        What::Annotator => {
            let data = options.data.as_deref().ok_or_else(|| {
                Failure::Input("give --data DIR, the folder that holds images/usgra".into())
            })?;
            annotator::run(settings, data, options.limit, options.way, scratch.path())?
        }
    };
    if let Some(path) = out {
        write_json(path, &report)?;
    } else if options.json.is_some() {
        print_json(&report);
        return Ok(());
    }
    for (name, value) in report.as_object().into_iter().flatten() {
        tree::lines(name, value).iter().for_each(|line| print(line));
    }
    Ok(())
}

/// A word after `--json` that names a measure was not meant as a file.
fn is_no_measure(out: Option<&Path>) -> Done {
    let word = out.and_then(Path::to_str).filter(|word| What::from_str(word, false).is_ok());
    word.map_or(Ok(()), |word| {
        Err(Failure::Input(format!(
            "--json {word}: this is something to measure, no file; write `sonomark bench {word} --json`, or ./{word} for a file"
        )))
    })
}

fn frames_of(clip: &Clip) -> Result<Vec<Arc<GrayFrame>>, Failure> {
    (0..clip.info().frames).map(|frame| clip.frame(frame).map_err(Failure::input)).collect()
}

pub(super) fn prompts() -> FramePrompts {
    let points = demo::POINTS.map(|(x, y)| (PointKind::Boundary, PointPx::new(x, y))).to_vec();
    FramePrompts { points, ..FramePrompts::default() }
}

fn on_gpu(network: &NetSegmenter) -> bool {
    !network.info().device.starts_with("CPU")
}

/// `goes_on` is told after each call.
fn network(mut network: NetSegmenter, clip: &Clip, goes_on: &dyn Fn()) -> Result<Value, Failure> {
    let frames = frames_of(clip)?;
    let who = network.info();
    let image = |frame: usize| Image { frame, pixels: &frames[frame] };
    // The first run compiles kernels and fills caches.
    network.open_clip(frames.len());
    network.refresh(image(0), &prompts()).map_err(Failure::ours)?;
    goes_on();
    let mut encode = Vec::new();
    for frame in (0..REPEATS).map(|i| i % frames.len()) {
        network.open_clip(frames.len());
        let begun = Instant::now();
        network.encode_ahead(image(frame)).map_err(Failure::ours)?;
        encode.push(millis(begun));
        goes_on();
    }
    let mut refresh = Vec::new();
    network.encode_ahead(image(5)).map_err(Failure::ours)?;
    for _ in 0..REPEATS {
        let begun = Instant::now();
        network.refresh(image(5), &prompts()).map_err(Failure::ours)?;
        refresh.push(millis(begun));
        goes_on();
    }
    let mut follow = Vec::new();
    for _ in 0..2 {
        follow.clear();
        network.open_clip(frames.len());
        network.begin_walk(true);
        network.anchor(image(0), &Anchor::Prompts(prompts())).map_err(Failure::ours)?;
        for frame in 1..frames.len() {
            let begun = Instant::now();
            let next = (frame + 1 < frames.len()).then(|| image(frame + 1));
            network.follow(image(frame), Direction::Forward, next).map_err(Failure::ours)?;
            follow.push(millis(begun));
            goes_on();
        }
    }
    let follow = median(follow);
    Ok(json!({
        "model": who.model,
        "device": who.device,
        "encode_ms": median(encode),
        "refresh_ms": median(refresh),
        "propagate_ms": follow,
        "propagate_fps": 1e3 / follow,
        "rss_mib": bench_memory::resident_mib()?,
        // Everybody's on that card, as its driver counts.
        "gpu_used_mib": network.gpu_memory().map(|memory| memory.used >> 20),
    }))
}

/// From opening the clip to its first picture; the network is not waited for.
fn first_picture_ms(folder: &std::path::Path) -> Result<f64, Failure> {
    let mut all = Vec::new();
    for _ in 0..REPEATS {
        let project = tempfile::tempdir().map_err(Failure::input)?;
        let (events, inbox) = channel::<Event>();
        let begun = Instant::now();
        let (session, _) = Session::open(folder, project.path(), SegmenterSource::None, events)
            .map_err(Failure::input)?;
        session.want_frame(0);
        loop {
            let event = inbox.recv_timeout(Duration::from_secs(30)).map_err(Failure::ours)?;
            if matches!(event, Event::Frame { .. }) {
                break;
            }
        }
        all.push(millis(begun));
        session.close();
    }
    Ok(median(all))
}

fn sixel(clip: &Clip) -> Result<Value, Failure> {
    let frame = clip.frame(5).map_err(Failure::input)?;
    let all = bench_rows(&[("shipped clip".to_owned(), (*frame).clone())], REPEATS);
    let rows: Vec<Value> = all
        .iter()
        .map(|row| {
            json!({
                "picture": row.picture, "levels": row.levels, "encoder": row.encoder,
                "bytes": row.bytes, "cpu_ms": row.cpu_ms,
            })
        })
        .collect();
    let recorded = serde_json::from_str(LIBSIXEL).map_err(Failure::ours)?;
    Ok(json!({ "sixel": rows, "levels": ratios(&all, &recorded) }))
}

/// Ours over libsixel's, on the synthetic picture, by number of levels. Without libsixel in this build, our bytes over those
/// that are `recorded` for it, and the ratio of times as it was recorded: times of two machines say nothing.
fn ratios(rows: &[BenchRow], recorded: &Value) -> Value {
    let mut levels = serde_json::Map::new();
    let of = |encoder: &str, level: u8| {
        rows.iter().find(|row| {
            row.encoder == encoder && row.levels == level && row.picture.starts_with("synthetic")
        })
    };
    for own in rows.iter().filter(|row| row.encoder == "own") {
        let entry = match (of("own", own.levels), of("libsixel", own.levels)) {
            (Some(own), Some(other)) => json!({
                "bytes_ratio": own.bytes as f64 / other.bytes as f64,
                "cpu_ratio": own.cpu_ms / other.cpu_ms,
                "libsixel": "measured now",
            }),
            (Some(own), None) => {
                let other = &recorded["levels"][own.levels.to_string()];
                json!({
                    "bytes_ratio": other["libsixel_bytes"].as_f64().map(|b| own.bytes as f64 / b),
                    "cpu_ratio": other["cpu_ratio"],
                    "libsixel": "recorded in tests/data/sixel.json; measured with --features libsixel",
                })
            }
            (None, _) => continue,
        };
        levels.insert(own.levels.to_string(), entry);
    }
    Value::Object(levels)
}

/// The terminal in which the picture has 1024 x 768 px.
const TERMINAL: (u16, u16) = (166, 53);

/// The program in a terminal, on a synthetic still of 1024 x 768 px.
fn screen(settings: &Settings, folder: &Path) -> Result<Value, Failure> {
    make_folder(folder)?;
    let still = folder.join("still.png");
    let frame = synthetic_frame(1024, 768, 7);
    write_gray(&still, frame.width_px, frame.height_px, frame.pixels)?;
    let program = std::env::current_exe().map_err(Failure::ours)?;
    let project = folder.join("project").into_os_string();
    let graphics = settings.graphics.value.as_str();
    let arguments = [
        "annotate".into(),
        "--graphics".into(),
        graphics.into(),
        "--project".into(),
        project,
        still.into_os_string(),
    ];
    let mut terminal = Terminal::start(&program, &arguments, TERMINAL).map_err(Failure::ours)?;
    let (quiet, most) = (Duration::from_millis(400), Duration::from_secs(60));
    let settled = terminal.settle(quiet, most) && terminal.running();
    if !settled {
        return Err(Failure::ours("the screen did not come to rest; try `sonomark annotate`"));
    }
    let full = terminal.frames().iter().map(|frame| frame.bytes).max().unwrap_or(0);
    let (mut times, mut bytes) = (Vec::new(), Vec::new());
    for i in 0..REPEATS * 4 {
        terminal.mark();
        let begun = Instant::now();
        terminal.key(if i % 8 < 4 { b"l" } else { b"j" }).map_err(Failure::ours)?;
        terminal.settle(Duration::from_millis(80), most);
        let took = terminal.last_byte().saturating_duration_since(begun);
        times.push(took.as_secs_f64() * 1e3);
        bytes.push(terminal.frames().iter().map(|frame| frame.bytes).sum::<usize>() as f64);
    }
    Ok(json!({
        "graphics": graphics,
        "full_frame_bytes": full,
        "cursor_move_bytes": median(bytes),
        "cursor_move_ms": median(times),
    }))
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
