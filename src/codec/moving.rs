//! Frames of an animated WebP, decoded in one go from the beginning of a scene.
//!
//! Reading forwards continues a running decoder, so a clip is read in the time of its moments. Elsewhere decoding begins
//! again with the scene (`webp.rs`); frames just before the one that is asked for are kept, so that walking
//! backwards costs one such beginning in [`BACKWARD_FRAMES`] frames.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::cage::Film;
use super::decoder::Decoded;
use super::limits::read_file;
use super::webp::Animation;
use super::{CodecError, complete};
use crate::domain::FrameIndex;

/// Frames before the one that is asked for that are handed over, too.
const BACKWARD_FRAMES: usize = 24;

/// An animation that is read.
pub(super) struct Moving {
    path: PathBuf,
    animation: Animation,
    running: Mutex<Option<Running>>,
}

/// A decoder in a scene.
struct Running {
    film: Film,
    scene: Range<usize>,
    /// The moment that it gives next; beyond the scene when it is through.
    next: usize,
}

impl Moving {
    pub(super) fn new(path: PathBuf, animation: Animation) -> Self {
        Self { path, animation, running: Mutex::new(None) }
    }

    /// A moment, of at most `most` pixels. `keep` is given those that were decoded on the way.
    pub(super) fn moment(
        &self,
        index: FrameIndex,
        most: u64,
        keep: &mut dyn FnMut(FrameIndex, Decoded),
    ) -> Result<Decoded, CodecError> {
        let mut held = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let reached = |running: &Running| running.scene.contains(&index) && running.next <= index;
        // Whatever goes wrong, its decoder is gone then.
        let (mut running, mut moment) = match held.take() {
            Some(mut running) if reached(&running) => {
                let moment = running.film.next(&self.path, most)?;
                (running, moment)
            }
            other => self.begin(other.map(|running| running.film), index, most)?,
        };
        while running.next < index {
            if running.next + BACKWARD_FRAMES >= index {
                keep(running.next, moment);
            }
            moment = running.film.next(&self.path, most)?;
            running.next += 1;
        }
        running.next += 1;
        *held = Some(running);
        Ok(moment)
    }

    /// Begins the scene of a moment, with its first one.
    fn begin(
        &self,
        film: Option<Film>,
        index: FrameIndex,
        most: u64,
    ) -> Result<(Running, Decoded), CodecError> {
        let bytes = read_file(&self.path)?;
        complete::image(&self.path, &bytes)?;
        let scene = self.animation.scene_of(index);
        let part = self.animation.part(&bytes, scene.clone());
        let part =
            part.ok_or_else(|| CodecError::damaged(&self.path, "it is shorter than it was"))?;
        let mut film = film.map_or_else(|| Film::start(&self.path), Ok)?;
        let moment = film.first(&self.path, part, most)?;
        Ok((Running { film, next: scene.start, scene }, moment))
    }
}
