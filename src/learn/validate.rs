//! Asking a network in training how good it is, on stills that it does not learn from.
//!
//! What decides whether this file is right: the averaged weights are judged, those that would be written; the judge is
//! the one of `evaluate`; and nothing here draws from the generators of the run, so a run with and without it takes
//! the same steps.

use std::sync::atomic::AtomicBool;

use burn::tensor::Device;

use super::TrainError;
use super::dataset::{DataError, DataSource, Pick, StillSet, TRAIN_SIDE_PX};
use super::evaluate::{ClickOptions, EvalError, Judged, evaluate_sets};
use crate::domain::Mask;
use crate::net::config::{ModelCard, WeightsOrigin};
use crate::net::predict::PredictOptions;

/// Structures of each set: enough to see progress, few enough to cost seconds.
const STRUCTURES: usize = 40;
/// Boundary points whose mean Dice is the figure: where a network can be told from a curve.
const POINTS: [usize; 4] = [2, 3, 4, 5];

/// Held-back stills.
pub(super) struct Validation {
    sets: Vec<StillSet>,
    options: ClickOptions,
}

impl Validation {
    /// Reads the stills and keeps as many structures as are judged; `None` without a source.
    pub(super) fn load(sources: &[DataSource]) -> Result<Option<Self>, DataError> {
        let read = |s| {
            let set = StillSet::load(s, Some(TRAIN_SIDE_PX), Pick::LargestOfLabel)?;
            Ok(evenly(set, STRUCTURES))
        };
        let sets = sources.iter().map(read).collect::<Result<Vec<_>, DataError>>()?;
        let options = ClickOptions {
            points: POINTS[POINTS.len() - 1],
            clicks_to_goal: false,
            ..ClickOptions::new(Vec::new())
        };
        Ok((!sets.is_empty()).then_some(Self { sets, options }))
    }

    /// Names of the sets and their hashes.
    pub(super) fn data(&self) -> Vec<(String, String)> {
        self.sets.iter().map(|set| (set.name.clone(), set.sha256.clone())).collect()
    }

    /// Mean Dice at 2 to 5 boundary points, mean of the sets, of the weights in `safetensors` on `device`.
    pub(super) fn dice(
        &self,
        card: &ModelCard,
        safetensors: &[u8],
        device: &Device,
    ) -> Result<f64, TrainError> {
        let unhashed = WeightsOrigin { sha256: String::new(), ..card.weights.clone() };
        let sam =
            card.network.init(device).load_bytes("validation", safetensors.to_vec(), &unhashed)?;
        let options = PredictOptions::default();
        let judged = Judged::Network { sam: &sam, preprocess: &card.preprocess, device, options };
        let report = evaluate_sets(&judged, &self.sets, &self.options, &AtomicBool::new(false))
            .map_err(|error| match error {
                EvalError::Data(data) => TrainError::Data(data),
                other => TrainError::Judge(other.to_string()),
            })?;
        let mean = &report["mean"].points;
        Ok(POINTS.iter().map(|n| mean[n].dice).sum::<f64>() / POINTS.len() as f64)
    }
}

/// At most `most` structures of a set, evenly over it: lists are often sorted, and the first are no sample.
fn evenly(set: StillSet, most: usize) -> StillSet {
    let whole = set.objects().max(1);
    let mut at = 0;
    let mut chosen = |_: &Mask| {
        at += 1;
        whole <= most || (at - 1) * most / whole != at * most / whole
    };
    let mut stills = set.stills;
    stills.iter_mut().for_each(|still| still.objects.retain(&mut chosen));
    stills.retain(|still| !still.objects.is_empty());
    StillSet { stills, ..set }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Bitmap, GrayFrame};
    use crate::learn::dataset::Still;

    #[test]
    fn a_large_set_is_judged_from_its_first_to_its_last_still() {
        let still = |i: usize| Still {
            name: i.to_string(),
            levels: vec![GrayFrame::new(1, 1, vec![0]).expect("it fits")],
            objects: vec![Bitmap::empty(1, 1).to_mask(); 2],
        };
        let set = |count| StillSet {
            name: String::new(),
            stills: (0..count).map(still).collect(),
            clips: Vec::new(),
            sha256: String::new(),
        };
        let few = evenly(set(100), 40);
        assert_eq!(few.objects(), 40);
        let at: Vec<usize> = few.stills.iter().filter_map(|s| s.name.parse().ok()).collect();
        assert!(at[0] < 5 && at[at.len() - 1] > 95, "{at:?}");
        assert_eq!(evenly(set(20), 40).objects(), 40);
    }
}
