//! The stages of the network one by one, on made-up input: what `sonomark bench stages` runs and a clock outside measures.
//!
//! What decides whether this file is right: a stage does what it does in a tracked frame (SAM 2's sizes: seven memories
//! and their pointers), and nothing of it is left undone when it returns.

use burn::tensor::{Device, Tensor};

use super::blocks::constant;
use super::config::ModelCard;
use super::memory_bank::Direction;
use super::prompt_encoder::{PointBatch, PointLabel};
use super::sam2::{ImageFeatures, Prompts, Sam2};
use super::tracker::{StepOut, TrackError, Tracker, TrackerOptions};

/// Frames of the made-up clip; more than any run reads.
const FRAMES: usize = 1000;

/// A part of a tracked frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Pixels to features.
    Encoder,
    /// One click to masks.
    PromptDecoder,
    /// The features read a full bank.
    MemoryAttention,
    /// Mask and features to a memory.
    MemoryEncoder,
    /// All of it: a frame encoded, read, decided and remembered.
    Frame,
    /// The same frame for one more track: everything but the encoder.
    SecondTrack,
}

impl Stage {
    /// All stages, in the order of a frame.
    pub const ALL: [Self; 6] = [
        Self::Encoder,
        Self::PromptDecoder,
        Self::MemoryAttention,
        Self::MemoryEncoder,
        Self::Frame,
        Self::SecondTrack,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Encoder => "encoder",
            Self::PromptDecoder => "prompt_decoder",
            Self::MemoryAttention => "memory_attention",
            Self::MemoryEncoder => "memory_encoder",
            Self::Frame => "frame",
            Self::SecondTrack => "second_track",
        }
    }
}

/// A network with everything its stages read.
pub struct Stages {
    sam: Sam2,
    device: Device,
    image: Tensor<4>,
    features: ImageFeatures,
    mask: Tensor<4>,
    memory: Tensor<3>,
    memory_pos: Tensor<3>,
    pointer_tokens: usize,
    tracks: [(Tracker, usize); 2],
}

impl Stages {
    /// Prepares a network: encodes a frame and fills the banks of two tracks.
    ///
    /// # Errors
    /// A failing device.
    pub fn new(card: &ModelCard, sam: Sam2, device: &Device) -> Result<Self, TrackError> {
        let size = card.network.image_size;
        let (d, mem_dim) = (card.network.neck.d_model, card.network.memory.mem_dim);
        let full = card.network.memory.num_maskmem;
        let wave = |n: usize, step: f32| (0..n).map(|i| (i as f32 * step).sin()).collect();
        let image = constant(wave(3 * size * size, 0.37), [1, 3, size, size], device);
        let features = sam.encode_image(image.clone());
        let pointer_tokens = (full + 1) * (d / mem_dim);
        let tokens = full * (size / 16) * (size / 16) + pointer_tokens;
        let token = |step| constant(wave(tokens * mem_dim, step), [1, tokens, mem_dim], device);
        let mut tracks =
            [0.3, 0.6].map(|place| (place, Tracker::new(FRAMES, TrackerOptions::for_model(&sam))));
        for (place, tracker) in &mut tracks {
            let at = *place * size as f32;
            tracker.add_points(&sam, 0, &features, &[([at, at], PointLabel::Inside)])?;
            for frame in 1..=full {
                tracker.step(&sam, frame, &features, Direction::Forward)?;
            }
        }
        Ok(Self {
            mask: constant(wave(size * size, 0.11), [1, 1, size, size], device) * 10.0,
            memory: token(0.23),
            memory_pos: token(0.19),
            pointer_tokens,
            tracks: tracks.map(|(_, tracker)| (tracker, full + 1)),
            device: device.clone(),
            sam,
            image,
            features,
        })
    }

    /// Runs one stage to its end.
    ///
    /// # Errors
    /// A failing device.
    pub fn run(&mut self, stage: Stage) -> Result<(), TrackError> {
        let Self { sam, image, features, .. } = &*self;
        match stage {
            Stage::Encoder => drop(sam.encode_image(image.clone())),
            Stage::PromptDecoder => {
                let at = image.dims()[3] as f32 / 2.0;
                let points = PointBatch::new(&[vec![([at, at], PointLabel::Inside)]]);
                drop(sam.decode(features, &Prompts { points, mask: None }, true));
            }
            Stage::MemoryAttention => drop(sam.memory_attention.forward(
                features.pix_feat.clone(),
                self.memory.clone(),
                self.memory_pos.clone(),
                self.pointer_tokens,
            )),
            Stage::MemoryEncoder => {
                drop(sam.memory_encoder.forward(features.pix_feat.clone(), self.mask.clone()));
            }
            Stage::Frame => {
                let features = sam.encode_image(image.clone());
                self.step(0, &features)?;
            }
            Stage::SecondTrack => {
                let features = features.clone();
                self.step(1, &features)?;
            }
        }
        self.device.sync().map_err(|error| TrackError::Device(error.to_string()))
    }

    fn step(&mut self, track: usize, features: &ImageFeatures) -> Result<StepOut, TrackError> {
        let (tracker, frame) = &mut self.tracks[track];
        let out = tracker.step(&self.sam, *frame, features, Direction::Forward)?;
        *frame += 1;
        Ok(out)
    }
}
