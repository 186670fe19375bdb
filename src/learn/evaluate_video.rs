//! Judging clips: propagation, and a person who corrects the first frame that went wrong (NETWORK 13.5).
//!
//! What decides whether this file is right: frames that were prompted are not judged, frames outside the true windows
//! neither; a correction is propagated forward from its frame, earlier masks stay; a finished clip keeps its last
//! value in later rounds. The same seed gives the same clicks. One clip is in memory at a time. Features of its frames are
//! kept while they fit a budget; one that is not kept is encoded again, to the same numbers.

mod session;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::dataset::{LabelledClips, Veil};
use super::evaluate::{EvalError, Placing, Score};
use crate::domain::Lru;
use crate::net::config::Preprocess;
use crate::net::follow::FollowOptions;
use crate::net::letterbox::Letterbox;
use crate::net::sam2::{ImageFeatures, Sam2};
use crate::net::threads::Threads;
use session::Session;

/// Features that are kept of a clip: every frame of some hundred at the sizes of the shipped network.
const FEATURES_BYTES: usize = 1 << 30;
/// Corrections of a clip.
const CORRECTIONS: usize = 7;

/// How clips are judged.
#[derive(Debug, Clone)]
pub struct VideoOptions {
    /// Folder with clip folders and `windows.yaml`.
    pub dir: PathBuf,
    /// What of their frames is seen.
    pub veil: Veil,
    /// What is placed on a prompted frame.
    pub placing: Placing,
    /// Standard deviation of the clicks, px of the image.
    pub noise_px: f32,
    /// Seeds first clicks and noise.
    pub seed: u64,
    /// Propagations per clip: one, and one after each correction.
    pub rounds: usize,
    /// Memory and motion.
    pub follow: FollowOptions,
    /// Whether the windows are told (the method) or the object score decides (plain SAM 2).
    pub windowed: bool,
    /// Prompted frames get the true mask instead of one from five points: what following alone is worth.
    pub exact: bool,
    /// Judge at most this many structures, at least 1, for quick looks.
    pub limit: Option<usize>,
}

impl VideoOptions {
    /// The protocol of the paper on the clips in `dir`.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            veil: Veil::default(),
            placing: Placing::Boundary,
            noise_px: 0.0,
            seed: 1,
            rounds: 1 + CORRECTIONS,
            follow: FollowOptions::default(),
            windowed: true,
            exact: false,
            limit: None,
        }
    }
}

/// A table of rounds against overlap.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct VideoReport {
    /// Structures judged.
    pub objects: usize,
    /// Means over structures after the first propagation and after each correction, inside the true windows and
    /// without prompted frames.
    pub rounds: Vec<Score>,
    /// Mean number of frames that a person had to prompt.
    pub prompted_frames: f64,
    /// IoU of each structure after the first and the last round, by clip and label.
    pub by_object: BTreeMap<String, [f64; 2]>,
}

/// A network for clips.
pub struct Tracking<'a> {
    /// The network, on a device without gradients.
    pub sam: &'a Sam2,
    /// How images enter it.
    pub preprocess: &'a Preprocess,
    /// Where it lies.
    pub device: &'a Device,
}

/// What carries a mask through a clip without having learned anything; prompted frames get the curve through their
/// points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClipBaseline {
    /// The mask of the prompted frame before, as it is.
    Copy,
    /// That mask, moved by the registration of the pixels.
    Motion,
}

impl ClipBaseline {
    /// Names as people write them.
    pub const NAMES: [&'static str; 2] = ["copy", "motion"];

    /// The baseline of a name in [`ClipBaseline::NAMES`].
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Copy, Self::Motion];
        Self::NAMES.iter().position(|n| *n == name).map(|i| all[i])
    }
}

/// Who propagates.
pub enum ClipJudged<'a> {
    /// A network, by itself or with motion ([`VideoOptions::follow`]).
    Network(Tracking<'a>),
    /// Something that was never trained; knows the windows.
    Baseline(ClipBaseline),
}

/// What the protocol led to on one structure.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClipTrace {
    /// Name of the clip.
    pub clip: String,
    /// The structure's label.
    pub label: u8,
    /// Overlap after the first propagation and after each correction.
    pub rounds: Vec<Score>,
    /// Frames that a person prompted.
    pub prompted: usize,
    /// Frames decided by propagation, in all rounds together.
    pub decided: usize,
    /// Frames outside the true windows that have a mask at the end.
    pub false_frames: usize,
    /// Wall clock of encoding, prompts and propagation, s.
    pub seconds: f64,
}

/// Judges propagation and corrections on all structures of all clips.
///
/// # Errors
/// Unreadable data, a failing network, or the cancel flag.
pub fn evaluate_video(
    tracking: Tracking<'_>,
    options: &VideoOptions,
    cancel: &AtomicBool,
) -> Result<VideoReport, EvalError> {
    let clips = LabelledClips::open(&options.dir, &options.veil, &mut |_| {})?;
    let traces = trace_clips(&ClipJudged::Network(tracking), &clips, options, cancel, &mut |_| {})?;
    let n = traces.len().max(1) as f64;
    let mean = |of: &dyn Fn(&ClipTrace) -> f64| traces.iter().map(of).sum::<f64>() / n;
    let rounds = (0..options.rounds)
        .map(|k| Score { dice: mean(&|t| t.rounds[k].dice), iou: mean(&|t| t.rounds[k].iou) });
    let ends =
        |t: &ClipTrace| [t.rounds.first(), t.rounds.last()].map(|s| s.map_or(0.0, |s| s.iou));
    Ok(VideoReport {
        objects: traces.len(),
        rounds: rounds.collect(),
        prompted_frames: mean(&|t| t.prompted as f64),
        by_object: traces.iter().map(|t| (format!("{}/{}", t.clip, t.label), ends(t))).collect(),
    })
}

/// The protocol on every structure of `clips` (those of `options.dir`); `done` hears how many structures are through.
///
/// # Errors
/// A failing network, clips that changed since they were opened, or the cancel flag.
pub fn trace_clips(
    judged: &ClipJudged<'_>,
    clips: &LabelledClips,
    options: &VideoOptions,
    cancel: &AtomicBool,
    done: &mut dyn FnMut(usize),
) -> Result<Vec<ClipTrace>, EvalError> {
    let threads = match judged {
        ClipJudged::Network(tracking) => Threads::of(tracking.device),
        ClipJudged::Baseline(_) => Threads::Crew,
    };
    let mut traces: Vec<ClipTrace> = Vec::new();
    for clip in clips.iter() {
        let clip = clip?;
        let encoded = Kept::new(FEATURES_BYTES);
        // Where a structure is never visible nothing can be right or wrong.
        for object in clip.objects.iter().filter(|object| !object.windows.is_empty()) {
            let seed = options.seed.wrapping_add(1000 * traces.len() as u64);
            let mut session = Session {
                judged,
                options,
                clip: &clip,
                object,
                encoded: &encoded,
                anchors: BTreeMap::new(),
                decided: 0,
            };
            let begun = Instant::now();
            let (rounds, masks) = threads.run(|| session.correct_through(seed, cancel))?;
            let outside = |f: &usize| !object.windows.iter().any(|w| w.contains(*f));
            let shown = masks.iter().filter(|(f, mask)| outside(f) && mask.area_px() > 0);
            traces.push(ClipTrace {
                clip: clip.name.clone(),
                label: object.label,
                rounds,
                prompted: session.anchors.len(),
                decided: session.decided,
                false_frames: shown.count(),
                seconds: begun.elapsed().as_secs_f64(),
            });
            done(traces.len());
            if options.limit.is_some_and(|most| traces.len() >= most) {
                return Ok(traces);
            }
        }
    }
    Ok(traces)
}

/// A frame's features and where it lies in the network's input.
type Encoded = Arc<(ImageFeatures, Letterbox)>;

/// The features of a clip's frames that somebody asked for, as many as fit.
struct Kept(Mutex<Lru<usize, Encoded>>);

impl Kept {
    fn new(budget_bytes: usize) -> Self {
        Self(Mutex::new(Lru::new(budget_bytes)))
    }

    /// The features of `frame`; `encode` makes them where they are not kept.
    fn of(&self, frame: usize, encode: impl FnOnce() -> (ImageFeatures, Letterbox)) -> Encoded {
        let mut kept = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(encoded) = kept.get(frame) {
            return encoded.clone();
        }
        let encoded = Arc::new(encode());
        // What reading memories begins with is kept beside them, a quarter as much again (`ImageFeatures::at_rest`).
        let bytes = encoded.0.bytes();
        kept.insert(frame, encoded.clone(), bytes + bytes / 4);
        encoded
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::*;
    use crate::net::config::Fit;
    use crate::net::device::cpu;

    #[test]
    fn what_reading_memories_begins_with_counts_among_the_features_that_are_kept() {
        let device = cpu("").device;
        let map =
            |channels: usize, side: usize| Tensor::<4>::zeros([1, channels, side, side], &device);
        let encode = || {
            let features = ImageFeatures::new(map(8, 4), [map(1, 16), map(2, 8)]);
            (features, Letterbox::new(Fit::Stretch, 64, 64, 64))
        };
        // Room for the features of four frames, and for three with what tracks make of them.
        let kept = Kept::new(4 * encode().0.bytes());
        let mut encoded = 0;
        for frame in [0, 1, 2, 3, 3, 2, 1, 0] {
            kept.of(frame, || {
                encoded += 1;
                encode()
            });
        }
        assert_eq!(encoded, 5);
    }
}
