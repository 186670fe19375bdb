//! The networks of a simulated study: those of cards, and those that its arms train.
//!
//! What decides whether this file is right: a trained network lies under a name that is the hash of all that says what it
//! learns and how long, the recipe of this version included, so it is found again when nothing of that has changed, and
//! never otherwise.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::{Value, json};

use super::StudyError;
use super::config::Training;
use super::simulate::Run;
use crate::domain::shown;
use crate::engine::{read_card, shipped_card};
use crate::export::write_atomic;
use crate::learn::agree::trusted;
use crate::learn::data::likeness;
use crate::learn::dataset::{DataSource, Pick, StillSet, TRAIN_SIDE_PX};
use crate::learn::evaluate::Placing;
use crate::learn::loss::{BoundaryTerm, ClickMass};
use crate::learn::{Budget, RECIPE, SIDE_LEAST, TrainOptions, train};
use crate::net::config::{ModelCard, WeightsOrigin};
use crate::net::weights::{sha256_hex, sha256_of_file};

/// The word for the network inside the program.
const SHIPPED: &str = "shipped";

impl Run<'_> {
    /// The network of a card: the shipped one, a file, or one that was imported.
    pub(super) fn named(&self, word: &str) -> Result<Network, StudyError> {
        if word == SHIPPED {
            let card = shipped_card()?;
            return Ok(Network { identity: card.to_yaml(), name: card.name, card: None });
        }
        let path = match word.contains('/') {
            true => PathBuf::from(word),
            false => self.place.library.find(word)?.card_path,
        };
        let card = read_card(&path)?;
        let mut identity = card.to_yaml();
        if card.weights.sha256.is_empty() && !card.weights.file.is_empty() {
            let weights = path.parent().unwrap_or(Path::new(".")).join(&card.weights.file);
            identity += &sha256_of_file(&weights).map_err(|e| StudyError::io(&weights, e))?;
        }
        Ok(Network { identity, name: shown(&card.name), card: Some(path) })
    }

    /// The network that learned from `sets` by points of that kind and Eq. 1 in that form; trained when it is not there, and on from where
    /// it stopped.
    pub(super) fn trained(
        &mut self,
        placing: Placing,
        term: BoundaryTerm,
        sets: &[usize],
    ) -> Result<Network, StudyError> {
        let learned = self.learned()?;
        let training = &self.config.training;
        let card = match &training.card {
            Some(word) => match self.named(word)?.card {
                Some(path) => read_card(&path)?,
                None => shipped_card()?,
            },
            None => shipped_card()?,
        };
        // Of the card the sizes alone count: other weights in it change nothing that is trained here.
        let weights = WeightsOrigin {
            licence: card.weights.licence,
            lineage: "random weights".into(),
            ..WeightsOrigin::default()
        };
        let description = "an arm of a simulated study".into();
        let (name, scores) = ("network".into(), BTreeMap::new());
        let card = ModelCard { name, description, weights, scores, ..card };
        let sources: Vec<DataSource> =
            sets.iter().filter_map(|set| self.config.data[*set].train.clone()).collect();
        let region = placing == Placing::Region;
        let budget = match training.budget {
            Budget::Minutes(minutes) => json!({ "minutes": minutes }),
            Budget::Steps(steps) => json!({ "steps": steps }),
        };
        let learned: Vec<&String> = sets.iter().map(|set| &learned[*set].sha256).collect();
        let (reading, lambda, mass) = (term.name(), term.lambda, term.mass);
        let mut inputs = json!({
            "card": card.to_yaml(), "learned": learned, "region": region, "budget": budget, "seed": training.seed,
            "clips": training.clip_share, "clip_clicks": training.clip_clicks,
            "boundary": [reading, lambda, mass == ClickMass::Unit],
        });
        if let Some(threads) = telling_threads(training) {
            inputs["threads"] = threads.into();
        }
        let mut points = if region { "region" } else { "boundary" }.to_owned();
        if term != BoundaryTerm::default() {
            points += &format!(" ({reading}, lambda {lambda}, {mass:?})");
        }
        let names: Vec<String> = sets.iter().map(|set| self.set_name(*set)).collect();
        let name = format!("{points} on {}", names.join(", "));
        let folder = self.place.out.join("networks").join(folder_name(RECIPE, &inputs));
        let (path, finished) = (folder.join("network.yaml"), folder.join("finished"));
        if !finished.is_file() {
            self.compare(&card)?;
            std::fs::create_dir_all(&folder).map_err(|e| StudyError::io(&folder, e))?;
            let mut plan = TrainOptions::new(sources, card, folder, training.budget);
            plan.resume = true;
            let side = plan.card.network.image_size;
            plan.sides = [(side / 2).max(SIDE_LEAST), side];
            plan.seed = training.seed;
            plan.threads = training.threads();
            plan.clip_share = training.clip_share;
            plan.clip_clicks = training.clip_clicks;
            plan.with_boundary(term);
            plan.region_share = if region { 1.0 } else { 0.0 };
            plan.command = format!("sonomark study simulate ({name})");
            let tell = &mut *self.tell;
            tell(&format!("training {name}"));
            let report = train(
                &plan,
                &self.place.picked.shares(training.threads()),
                |progress| tell(&format!("training {name}: {progress}")),
                self.cancel,
            )?;
            if report.cancelled {
                return Err(StudyError::Cancelled);
            }
            write_atomic(&finished, report.sha256.as_bytes())?;
        }
        let card = read_card(&path)?;
        let name = format!("{name}, trained by {}", shown(&card.weights.program));
        Ok(Network { identity: card.to_yaml(), name, card: Some(path) })
    }

    /// Refuses a GPU whose gradients are not those of the CPU, before the first network is trained on it.
    fn compare(&mut self, card: &ModelCard) -> Result<(), StudyError> {
        if self.place.picked.gpu && !std::mem::replace(&mut self.compared, true) {
            let found = trusted(card, None, &self.place.picked.device)?;
            (self.tell)(&found);
        }
        Ok(())
    }

    /// What the sets teach.
    pub(super) fn learned(&mut self) -> Result<Rc<[Learned]>, StudyError> {
        if let Some(learned) = &self.learned {
            return Ok(learned.clone());
        }
        let mut learned = Vec::new();
        for source in self.config.data.iter().filter_map(|set| set.train.as_ref()) {
            let set = StillSet::load(source, Some(TRAIN_SIDE_PX), Pick::AllComponents)?;
            let likeness = set.stills.iter().map(|still| likeness::hash(still.frame()));
            let stills = set.stills.iter().map(|still| still.name.clone()).zip(likeness).collect();
            learned.push(Learned { sha256: set.sha256, stills });
        }
        let learned: Rc<[Learned]> = learned.into();
        self.learned = Some(learned.clone());
        Ok(learned)
    }
}

/// Name of the folder of a network that training of that recipe makes of `inputs`: another recipe makes another network
/// of them.
fn folder_name(recipe: u32, inputs: &Value) -> String {
    let hash = sha256_hex(json!([recipe, inputs]).to_string().as_bytes());
    hash[..24].to_owned()
}

/// The threads that the file names, where another number teaches more or less: in so many minutes they take more or fewer
/// steps. Given steps are as many on any number (they round otherwise, and on clips draw other clicks), and what a machine
/// has without being told is no part of a study.
fn telling_threads(training: &Training) -> Option<usize> {
    training.threads.filter(|_| matches!(training.budget, Budget::Minutes(_)))
}

/// What a set teaches.
pub(super) struct Learned {
    /// Hash of all of it.
    sha256: String,
    /// Its stills: names, and hashes that tell what looks alike.
    pub(super) stills: Vec<(String, u64)>,
}

/// A network, not yet loaded.
pub(super) struct Network {
    /// Its card's path; the shipped one without.
    pub(super) card: Option<PathBuf>,
    /// For people.
    pub(super) name: String,
    /// Differs for networks that answer differently.
    pub(super) identity: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_another_recipe_is_another_one() {
        let inputs = json!({ "seed": 0 });
        let name = folder_name(RECIPE, &inputs);
        assert_eq!((name.len(), &name), (24, &folder_name(RECIPE, &inputs)));
        assert_ne!(name, folder_name(RECIPE + 1, &inputs));
        assert_ne!(name, folder_name(RECIPE, &json!({ "seed": 1 })));
    }
}
