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
    /// Reads the stills; `None` without a source.
    pub(super) fn load(sources: &[DataSource]) -> Result<Option<Self>, DataError> {
        let read = |s| StillSet::load(s, Some(TRAIN_SIDE_PX), Pick::LargestOfLabel);
        let sets = sources.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let options = ClickOptions {
            points: POINTS[POINTS.len() - 1],
            clicks_to_goal: false,
            limit: Some(STRUCTURES),
            ..ClickOptions::new(Vec::new())
        };
        Ok((!sets.is_empty()).then_some(Self { sets, options }))
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
