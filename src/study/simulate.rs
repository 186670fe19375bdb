//! Running a simulated study: arms are trained or loaded, every structure of every set is clicked through.
//!
//! What decides whether this file is right: all arms are judged on the same structures with the same seed; an arm that
//! was judged before is taken from the folder as long as nothing it depends on has changed; a training run that was
//! interrupted goes on; what an arm must not have seen it has not seen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};

use super::StudyError;
use super::clips::ClipCell;
use super::config::{ArmKind, NetworkSource, StudyConfig};
use crate::domain::shown;
use crate::engine::{load_network, read_card, shipped_card};
use crate::export::write_atomic;
use crate::learn::baselines::Baseline;
use crate::learn::dataset::{DataSource, Pick, StillSet, TRAIN_SIDE_PX};
use crate::learn::evaluate::{ClickOptions, Judged, ObjectTrace, Placing, trace_set};
use crate::learn::{Budget, TrainOptions, train};
use crate::net::config::{ModelCard, WeightsOrigin};
use crate::net::device::Picked;
use crate::net::library::Library;
use crate::net::predict::PredictOptions;
use crate::net::weights::{sha256_hex, sha256_of_file};

/// Changes whenever the same inputs would give other figures.
pub(super) const EDITION: u32 = 1;
/// The word for the network inside the program.
const SHIPPED: &str = "shipped";
/// Side below which nothing is learned from, px.
const SIDE_LEAST: usize = 64;
/// Structures between two lines of progress.
const TELL_EVERY: usize = 10;

/// Where a study computes and keeps what it has.
pub struct Place<'a> {
    /// What computes.
    pub picked: &'a Picked,
    /// Imported networks, by name.
    pub library: &'a Library,
    /// Folder of the study; made by the caller.
    pub out: &'a Path,
}

/// What a network knew of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// It was trained on stills of the same set.
    Supervised,
    /// It never saw the set.
    ZeroShot,
}

impl Setting {
    /// Both, in the order of the paper.
    pub const ALL: [Self; 2] = [Self::Supervised, Self::ZeroShot];

    /// As in tables and file names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Supervised => "supervised",
            Self::ZeroShot => "zero-shot",
        }
    }
}

/// What an arm did on a set.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Which arm of the study.
    pub arm: usize,
    /// `None` for an arm that never learns: it stands in both.
    pub setting: Option<Setting>,
    /// Which set of the study.
    pub set: usize,
    /// What answered, for people.
    pub network: String,
    /// Every structure, in the order of the set.
    pub traces: Vec<ObjectTrace>,
}

/// All figures of a study.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Arm by arm, as they were judged.
    pub cells: Vec<Cell>,
    /// SHA-256 of each set that was judged on, in lower-case hex.
    pub hashes: Vec<String>,
    /// The figures on clips, arm by arm.
    pub clips: Vec<ClipCell>,
    /// SHA-256 of each set of clips.
    pub clip_hashes: Vec<String>,
}

/// Runs the study; `tell` hears sentences on how far it is.
///
/// # Errors
/// Data, cards or weights that cannot be used, a folder that cannot be written, a failing network or training, or the
/// cancel flag; what was finished before is kept and found again.
pub fn simulate(
    config: &StudyConfig,
    place: &Place<'_>,
    tell: &mut (dyn FnMut(&str) + Send),
    cancel: &AtomicBool,
) -> Result<Outcome, StudyError> {
    let load = |source| StillSet::load(source, None, Pick::LargestOfLabel);
    let sets = config.data.iter().map(|d| load(&d.test)).collect::<Result<Vec<_>, _>>()?;
    let mut run = Run { config, place, sets: &sets, tell, cancel, learned: None };
    let mut cells = Vec::new();
    for (at, arm) in config.arms.iter().enumerate() {
        match &arm.kind {
            ArmKind::Baseline(baseline) => run.baseline(at, *baseline, &mut cells)?,
            ArmKind::Network { source: NetworkSource::Trained, .. } => {
                for task in run.lessons() {
                    run.network(at, &task, &mut cells)?;
                }
            }
            ArmKind::Network { source: NetworkSource::Cards(cards), .. } => {
                for (card, trained_on) in cards {
                    let task = Task { card: Some(card), trained_on: trained_on.clone() };
                    run.network(at, &task, &mut cells)?;
                }
            }
        }
    }
    let (clips, clip_hashes) = run.clips()?;
    let hashes = sets.iter().map(|set| set.sha256.clone()).collect();
    Ok(Outcome { cells, hashes, clips, clip_hashes })
}

/// A network that an arm needs.
struct Task<'a> {
    /// The card that names it; without one it is trained.
    card: Option<&'a str>,
    /// Sets that it knows.
    trained_on: Vec<usize>,
}

pub(super) struct Run<'a> {
    pub(super) config: &'a StudyConfig,
    pub(super) place: &'a Place<'a>,
    sets: &'a [StillSet],
    pub(super) tell: &'a mut (dyn FnMut(&str) + Send),
    pub(super) cancel: &'a AtomicBool,
    /// Hashes of what arms learn from, once they were needed.
    learned: Option<Vec<String>>,
}

impl<'a> Run<'a> {
    /// The networks that a learning arm trains: one on everything, and one on all sets but each.
    fn lessons(&self) -> Vec<Task<'a>> {
        let all: Vec<usize> = (0..self.sets.len()).collect();
        let mut tasks = vec![Task { card: None, trained_on: all.clone() }];
        if all.len() > 1 {
            tasks.extend(all.iter().map(|left_out| Task {
                card: None,
                trained_on: all.iter().copied().filter(|set| set != left_out).collect(),
            }));
        }
        tasks
    }

    fn baseline(
        &mut self,
        arm: usize,
        baseline: Baseline,
        cells: &mut Vec<Cell>,
    ) -> Result<(), StudyError> {
        for set in 0..self.sets.len() {
            let key = self.key(set, Placing::Boundary, &json!(format!("{baseline:?}")));
            let traces = match self.kept(&key) {
                Some(traces) => traces,
                None => {
                    self.judge(&key, arm, set, Placing::Boundary, &Judged::Baseline(baseline))?
                }
            };
            cells.push(Cell { arm, setting: None, set, network: "none".into(), traces });
        }
        Ok(())
    }

    /// Judges a network on the sets for which the arm has none yet.
    fn network(
        &mut self,
        arm: usize,
        task: &Task<'_>,
        cells: &mut Vec<Cell>,
    ) -> Result<(), StudyError> {
        let ArmKind::Network { placing, contour_step, curve, .. } = self.config.arms[arm].kind
        else {
            return Ok(());
        };
        let setting = |set: &usize| match task.trained_on.contains(set) {
            true => Setting::Supervised,
            false => Setting::ZeroShot,
        };
        let there = |set: usize, setting| {
            cells.iter().any(|c| (c.arm, c.set, c.setting) == (arm, set, Some(setting)))
        };
        let wanted: Vec<(usize, Setting)> = (0..self.sets.len())
            .map(|set| (set, setting(&set)))
            .filter(|(set, setting)| !there(*set, *setting))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let file = match task.card {
            Some(card) => self.named(card)?,
            None => self.trained(placing, &task.trained_on)?,
        };
        let curve_share = if curve { PredictOptions::default().curve_share } else { Vec::new() };
        let options = PredictOptions { snap: contour_step, curve_share };
        let about = json!([file.identity, options.snap, options.curve_share]);
        let mut loaded = None;
        for (set, setting) in wanted {
            let key = self.key(set, placing, &about);
            let traces = if let Some(traces) = self.kept(&key) {
                traces
            } else {
                if loaded.is_none() {
                    loaded = Some(load_network(file.card.as_deref(), self.place.picked)?);
                }
                let Some((card, sam)) = &loaded else { continue };
                let (preprocess, device) = (&card.preprocess, &self.place.picked.device);
                let options = options.clone();
                self.judge(
                    &key,
                    arm,
                    set,
                    placing,
                    &Judged::Network { sam, preprocess, device, options },
                )?
            };
            let (setting, network) = (Some(setting), file.name.clone());
            cells.push(Cell { arm, setting, set, network, traces });
        }
        Ok(())
    }

    fn judge(
        &mut self,
        key: &Path,
        arm: usize,
        set: usize,
        placing: Placing,
        judged: &Judged<'_>,
    ) -> Result<Vec<ObjectTrace>, StudyError> {
        let options = ClickOptions {
            placing,
            points: self.config.points,
            noise_px: self.config.noise_px,
            seed: self.config.seed,
            limit: self.config.limit,
            ..ClickOptions::new(Vec::new())
        };
        let data = &self.sets[set];
        let whole = data.objects().min(self.config.limit.unwrap_or(usize::MAX));
        let what = format!("{} on {}", shown(&self.config.arms[arm].name), self.set_name(set));
        let tell = &mut *self.tell;
        let traces = trace_set(judged, data, &options, self.cancel, &mut |done| {
            if done.is_multiple_of(TELL_EVERY) || done == whole {
                tell(&format!("{what}: {done} of {whole} structures"));
            }
        })?;
        let text = serde_json::to_vec(&traces).map_err(|e| StudyError::io(key, e))?;
        write_atomic(key, &text)?;
        Ok(traces)
    }

    fn set_name(&self, set: usize) -> String {
        shown(&self.config.data[set].name)
    }

    /// The file that keeps what an arm did on a set: its name is the hash of all it depends on.
    fn key(&self, set: usize, placing: Placing, about: &Value) -> PathBuf {
        let c = self.config;
        let inputs = json!({
            "edition": EDITION, "version": env!("CARGO_PKG_VERSION"), "set": self.sets[set].sha256,
            "about": about, "region": placing == Placing::Region, "points": c.points,
            "noise": c.noise_px, "seed": c.seed, "limit": c.limit,
        });
        self.keeping(&inputs)
    }

    /// The file that keeps what depends on `inputs`.
    pub(super) fn keeping(&self, inputs: &Value) -> PathBuf {
        let name = sha256_hex(inputs.to_string().as_bytes());
        self.place.out.join("kept").join(format!("{}.json", &name[..24]))
    }

    /// What was kept under that name; a file that cannot be used counts as none.
    pub(super) fn kept<T: serde::de::DeserializeOwned>(&self, key: &Path) -> Option<T> {
        serde_json::from_slice(&std::fs::read(key).ok()?).ok()
    }

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

    /// The network that learned from `sets` by points of that kind; trained when it is not there, and on from where
    /// it stopped.
    pub(super) fn trained(
        &mut self,
        placing: Placing,
        sets: &[usize],
    ) -> Result<Network, StudyError> {
        let hashes = self.learned()?;
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
        let learned: Vec<&String> = sets.iter().map(|set| &hashes[*set]).collect();
        let inputs = json!({
            "edition": EDITION, "card": card.to_yaml(), "learned": learned, "region": region,
            "budget": budget, "seed": training.seed, "clips": training.clip_share,
        });
        let names: Vec<String> = sets.iter().map(|set| self.set_name(*set)).collect();
        let name =
            format!("{} on {}", if region { "region" } else { "boundary" }, names.join(", "));
        let hash = sha256_hex(inputs.to_string().as_bytes());
        let folder = self.place.out.join("networks").join(&hash[..24]);
        let (path, finished) = (folder.join("network.yaml"), folder.join("finished"));
        if !finished.is_file() {
            std::fs::create_dir_all(&folder).map_err(|e| StudyError::io(&folder, e))?;
            let mut plan = TrainOptions::new(sources, card, folder, training.budget);
            plan.resume = true;
            let side = plan.card.network.image_size;
            plan.sides = [(side / 2).max(SIDE_LEAST), side];
            plan.seed = training.seed;
            plan.threads = training.threads;
            plan.clip_share = training.clip_share;
            plan.region_share = if region { 1.0 } else { 0.0 };
            plan.command = format!("sonomark study simulate ({name})");
            let tell = &mut *self.tell;
            tell(&format!("training {name}"));
            let report = train(
                &plan,
                &self.place.picked.shares(training.threads),
                |progress| tell(&format!("training {name}: {progress}")),
                self.cancel,
            )?;
            if report.cancelled {
                return Err(StudyError::Cancelled);
            }
            write_atomic(&finished, report.sha256.as_bytes())?;
        }
        let identity = read_card(&path)?.to_yaml();
        Ok(Network { identity, name, card: Some(path) })
    }

    /// Hashes of what the sets teach.
    fn learned(&mut self) -> Result<Vec<String>, StudyError> {
        if let Some(hashes) = &self.learned {
            return Ok(hashes.clone());
        }
        let mut hashes = Vec::new();
        for source in self.config.data.iter().filter_map(|set| set.train.as_ref()) {
            let set = StillSet::load(source, Some(TRAIN_SIDE_PX), Pick::AllComponents)?;
            hashes.push(set.sha256);
        }
        self.learned = Some(hashes.clone());
        Ok(hashes)
    }
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
