//! Running a simulated study: arms are trained or loaded, every structure of every set is clicked through.
//!
//! What decides whether this file is right: all arms are judged on the same structures with the same seed; an arm that
//! was judged before is taken from the folder as long as nothing it depends on has changed; a training run that was
//! interrupted goes on; what an arm must not have seen it has not seen.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};

use super::StudyError;
use super::clips::ClipCell;
use super::config::{ArmKind, NetworkSource, StudyConfig};
use super::networks::Learned;
use crate::domain::{counted, shown};
use crate::engine::load_network;
use crate::export::write_atomic;
use crate::learn::baselines::Baseline;
use crate::learn::dataset::{Pick, StillSet};
use crate::learn::evaluate::{ClickOptions, Judged, ObjectTrace, Placing, trace_set};
use crate::learn::loss::BoundaryTerm;
use crate::net::device::Picked;
use crate::net::library::Library;
use crate::net::predict::PredictOptions;
use crate::net::weights::sha256_hex;

/// Changes whenever the same inputs would give other figures; of arms of boundary points and of region points alone.
pub(super) fn edition(placing: Placing) -> u32 {
    match placing {
        Placing::Boundary => 1,
        Placing::Region => 2,
    }
}

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
    /// Sentences on clips that show what arms have learned.
    pub clip_notes: Vec<String>,
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
    let mut run = Run { config, place, sets: &sets, tell, cancel, learned: None, compared: false };
    let mut cells = Vec::new();
    for (at, arm) in config.arms.iter().enumerate() {
        match &arm.kind {
            ArmKind::Baseline(baseline) => run.baseline(at, *baseline, &mut cells)?,
            ArmKind::Network { source: NetworkSource::Trained(term), .. } => {
                for task in run.lessons(*term) {
                    run.network(at, &task, &mut cells)?;
                }
            }
            ArmKind::Network { source: NetworkSource::Cards(cards), .. } => {
                for (card, trained_on) in cards {
                    let task = Task { from: From::Card(card), trained_on: trained_on.clone() };
                    run.network(at, &task, &mut cells)?;
                }
            }
        }
    }
    let hashes = sets.iter().map(|set| set.sha256.clone()).collect();
    let mut outcome = Outcome { cells, hashes, ..Outcome::default() };
    run.clips(&mut outcome)?;
    Ok(outcome)
}

/// Where a network comes from.
#[derive(Clone, Copy)]
enum From<'a> {
    /// The card that names it.
    Card(&'a str),
    /// Training with Eq. 1 in this form.
    Training(BoundaryTerm),
}

/// A network that an arm needs.
struct Task<'a> {
    from: From<'a>,
    /// Sets that it knows.
    trained_on: Vec<usize>,
}

pub(super) struct Run<'a> {
    pub(super) config: &'a StudyConfig,
    pub(super) place: &'a Place<'a>,
    sets: &'a [StillSet],
    pub(super) tell: &'a mut (dyn FnMut(&str) + Send),
    pub(super) cancel: &'a AtomicBool,
    /// What arms learn from, once it was needed.
    pub(super) learned: Option<Rc<[Learned]>>,
    /// Whether the GPU's gradients were compared with those of the CPU.
    pub(super) compared: bool,
}

impl<'a> Run<'a> {
    /// The networks that a learning arm trains: one on everything, and one on all sets but each.
    fn lessons(&self, term: BoundaryTerm) -> Vec<Task<'a>> {
        let all: Vec<usize> = (0..self.sets.len()).collect();
        let from = From::Training(term);
        let mut tasks = vec![Task { from, trained_on: all.clone() }];
        if self.config.zero_shot && all.len() > 1 {
            tasks.extend(all.iter().map(|left_out| Task {
                from,
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
        let ArmKind::Network { placing, contour_step, curve, closer_look, .. } =
            self.config.arms[arm].kind
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
        let file = match task.from {
            From::Card(card) => self.named(card)?,
            From::Training(term) => self.trained(placing, term, &task.trained_on)?,
        };
        let curve_share = if curve { PredictOptions::default().curve_share } else { Vec::new() };
        let closer_share = if closer_look { PredictOptions::default().closer_share } else { 0.0 };
        let options = PredictOptions { snap: contour_step, curve_share, closer_share };
        let about = json!([file.identity, options.snap, options.curve_share, closer_share]);
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
                tell(&format!("{what}: {done} of {}", counted(whole, "structure")));
            }
        })?;
        let text = serde_json::to_vec(&traces).map_err(|e| StudyError::io(key, e))?;
        write_atomic(key, &text)?;
        Ok(traces)
    }

    pub(super) fn set_name(&self, set: usize) -> String {
        shown(&self.config.data[set].name)
    }

    /// The file that keeps what an arm did on a set: its name is the hash of all it depends on.
    fn key(&self, set: usize, placing: Placing, about: &Value) -> PathBuf {
        let c = self.config;
        let mut inputs = json!({
            "edition": edition(placing), "version": env!("CARGO_PKG_VERSION"), "set": self.sets[set].sha256,
            "about": about, "region": placing == Placing::Region, "points": c.points,
            "noise": c.noise_px, "seed": c.seed, "limit": c.limit,
        });
        if c.data[set].test.is_manifest() {
            // Stills of manifests were named alike first, and counted as one; then frames of a clip as if they were images.
            inputs["names"] = 3.into();
        }
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
}
