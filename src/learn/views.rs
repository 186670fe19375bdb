//! Encoded views of a few stills, for learning with a frozen encoder.
//!
//! The encoder is most of a step. When it does not learn, its answer to an image is always the same, so every still is
//! placed and varied a few times, encoded once, and only what comes after the encoder is computed in each step. What
//! decides whether this file is right: the features carry no gradient, and a step is still a function of its seed.

use burn::tensor::Tensor;

use super::augment::{Lesson, lesson};
use super::dataset::{Still, StillSet};
use super::lessons::{Batch, Desk, PER_STILL, Plan};
use crate::net::budget::{self, Budget};
use crate::net::config::ModelConfig;
use crate::net::sam2::{ImageFeatures, Sam2};
use crate::net::threads::Threads;

/// Encoded at once.
const CHUNK: usize = 4;

/// Views with their features.
pub(super) struct Views {
    views: Vec<(Lesson, ImageFeatures)>,
}

impl Views {
    /// Bytes that `count` views of each of `stills` stills take, `side` px, encoded by a network of these sizes.
    pub(super) fn bytes(network: &ModelConfig, stills: usize, count: usize, side: usize) -> u64 {
        let features = Budget::of(&ModelConfig { image_size: side, ..network.clone() }).features;
        let masks = (PER_STILL * side * side) as u64;
        (stills as u64).saturating_mul(count as u64).saturating_mul(features + masks)
    }

    /// Bytes that are free where views lie, where anybody says: those of a GPU lie in its own memory, of which `on_gpu` are
    /// free.
    pub(super) fn free_bytes(threads: Threads, on_gpu: Option<u64>) -> Option<u64> {
        match threads {
            Threads::Crew => budget::free_bytes(),
            Threads::Own => on_gpu,
        }
    }

    /// `count` views of every still, `side` px, encoded by `net`; `told` hears how many are, of at most how many, and says
    /// whether to go on. `None` when it does not.
    pub(super) fn of(
        net: &Sam2,
        desk: &Desk,
        sets: &[StillSet],
        count: usize,
        side: usize,
        seed: u64,
        mut told: impl FnMut([usize; 2]) -> bool,
    ) -> Option<Self> {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x71e5);
        let stills: Vec<&Still> = sets.iter().flat_map(|set| &set.stills).collect();
        let whole = stills.len().saturating_mul(count);
        let each = stills.into_iter().flat_map(|still| std::iter::repeat_n(still, count));
        // Drawn as they are encoded: their pictures together would take as much memory as their features.
        let mut lessons = each.filter_map(|still| lesson(still, PER_STILL, side, &mut rng));
        let mut views = Vec::new();
        loop {
            let chunk: Vec<Lesson> = lessons.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                return Some(Self { views });
            }
            if !told([views.len(), whole]) {
                return None;
            }
            let frames: Vec<&[f32]> = chunk.iter().map(|l| &l.image[..]).collect();
            let all = net.encode_image(desk.images(&frames, side));
            for (i, lesson) in chunk.into_iter().enumerate() {
                let part = |x: &Tensor<4>| x.clone().narrow(0, i, 1).detach();
                let high_res = [part(&all.high_res[0]), part(&all.high_res[1])];
                let features = ImageFeatures::new(part(&all.pix_feat), high_res);
                // The picture is in the features now.
                views.push((Lesson { image: Vec::new(), ..lesson }, features));
            }
        }
    }

    /// No still could be placed so that its structure is seen.
    pub(super) fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// The views of one step; there must be some.
    pub(super) fn draw(&self, plan: &Plan) -> Batch {
        let mut rng = fastrand::Rng::with_seed(plan.seed);
        let drawn: Vec<&(Lesson, ImageFeatures)> =
            (0..plan.batch.max(1)).map(|_| &self.views[rng.usize(..self.views.len())]).collect();
        let join = |part: fn(&ImageFeatures) -> &Tensor<4>| {
            Tensor::cat(drawn.iter().map(|(_, f)| part(f).clone()).collect(), 0)
        };
        let high_res = [join(|f| &f.high_res[0]), join(|f| &f.high_res[1])];
        let features = ImageFeatures::new(join(|f| &f.pix_feat), high_res);
        Batch::Encoded(
            drawn.into_iter().map(|(lesson, _)| lesson.clone()).collect(),
            Box::new(features),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_of_a_gpu_are_held_against_its_own_memory() {
        assert_eq!(Views::free_bytes(Threads::Own, Some(7)), Some(7));
        assert_eq!(Views::free_bytes(Threads::Own, None), None);
        assert!(Views::free_bytes(Threads::Crew, Some(7)).is_some_and(|free| free > 7));
    }
}
