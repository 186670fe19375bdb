//! The file of a simulated study: which data, which arms, how many points.
//!
//! ```yaml
//! data:
//!   - {name: usgra, train: images/usgra:train.txt, test: images/usgra:val.txt}
//!   - {name: busi, train: images/busi:train.txt, test: images/busi:val.txt}
//! training: {minutes: 30, seed: 0}
//! arms:
//!   - {name: SAMUSA, prompt: boundary, train: true, boundary_loss: ridge, lambda: 2}
//!   - {name: SAMUSA without contour step, prompt: boundary, train: true, contour_step: false}
//!   - {name: SAM2-US, prompt: region, train: true}
//!   - {name: SAM2, prompt: region, card: sam2.1-hiera-tiny, trained_on: []}
//!   - {name: closed spline, baseline: spline}
//! zero_shot: true
//! clips:
//!   - {name: synthetic, path: clips_synth}
//! clip_arms:
//!   - {name: SAMUSA, prompt: boundary, windows: true, train: true}
//!   - {name: SAM2-US, prompt: region, windows: false, train: true}
//!   - {name: copy, baseline: copy}
//! ```
//! Paths are relative to the file; without list or split `train` takes what is for training, `test` what is held back.
//! What decides whether this file is right: all faults are told at once with their lines, and nothing that was written is
//! ignored.

mod arms;

use std::path::{Path, PathBuf};

use crate::config::yaml::{Entries, Faults, Kind, Node, listed, parse, text_of};
use crate::domain::{nearest_word, shown};
use crate::learn::Budget;
use crate::learn::baselines::Baseline;
use crate::learn::dataset::{DataSource, Veil};
use crate::learn::evaluate::{CLICKS_CAP, Placing};
use crate::learn::evaluate_video::ClipBaseline;
use crate::learn::loss::BoundaryTerm;

const TOP: [&str; 12] = [
    "data",
    "training",
    "arms",
    "clips",
    "clip_arms",
    "points",
    "noise_px",
    "seed",
    "limit",
    "bootstrap",
    "compare",
    "zero_shot",
];
const DATA: [&str; 3] = ["name", "train", "test"];
const TRAINING: [&str; 7] =
    ["card", "minutes", "steps", "seed", "threads", "clip_share", "clip_clicks"];
const CLIPS: [&str; 2] = ["name", "path"];

/// A study, as its file says.
#[derive(Debug, Clone, PartialEq)]
pub struct StudyConfig {
    /// Sets of stills, at least one.
    pub data: Vec<DataSet>,
    /// How arms with `train: true` are trained.
    pub training: Training,
    /// What is compared, at least one.
    pub arms: Vec<Arm>,
    /// Sets of clips.
    pub clips: Vec<ClipSet>,
    /// What is compared on them, at least one where there are clips.
    pub clip_arms: Vec<ClipArm>,
    /// Points of the tables, 1..=20.
    pub points: usize,
    /// Standard deviation of every click, px of the image.
    pub noise_px: f32,
    /// Seeds clicks and resampling.
    pub seed: u64,
    /// Structures judged of each set; all without.
    pub limit: Option<usize>,
    /// Resampled means of an interval.
    pub bootstrap: usize,
    /// Whether learning arms are also trained without each set and judged on it.
    pub zero_shot: bool,
    /// The arms of the paper's claims: boundary points, region points.
    pub compare: Option<[usize; 2]>,
}

impl StudyConfig {
    /// The same, of whose stills and clips no more is seen than `veil` says: neither learned from nor judged on.
    #[must_use]
    pub fn behind(mut self, veil: &Veil) -> Self {
        for set in &mut self.data {
            set.train = set.train.take().map(|source| source.behind(veil));
            set.test.veil.clone_from(veil);
        }
        self.clips.iter_mut().for_each(|set| set.veil.clone_from(veil));
        self
    }
}

/// A set of stills.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSet {
    /// Its name in tables.
    pub name: String,
    /// What arms learn from.
    pub train: Option<DataSource>,
    /// What they are judged on.
    pub test: DataSource,
}

/// A set of labelled clips.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipSet {
    /// Its name in tables.
    pub name: String,
    /// A folder of clip folders with `windows.yaml`, or a manifest.
    pub path: PathBuf,
    /// What of its frames is seen.
    pub veil: Veil,
}

/// One line of the tables on clips.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipArm {
    /// Its name in tables.
    pub name: String,
    /// What propagates.
    pub kind: ClipArmKind,
}

/// What propagates through clips.
#[derive(Debug, Clone, PartialEq)]
pub enum ClipArmKind {
    /// Something that was never trained.
    Baseline(ClipBaseline),
    /// A network.
    Network {
        /// What is placed on prompted frames.
        placing: Placing,
        /// Whether it is told where the structure is visible.
        windows: bool,
        /// Whether the contour is carried by the motion of the tissue beside the network's memory.
        motion: bool,
        /// Its card; without one it is the arm that the study trains on all sets.
        card: Option<String>,
    },
}

/// The training that all learning arms get.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// Card whose sizes are used; the shipped one without.
    pub card: Option<String>,
    /// How long.
    pub budget: Budget,
    /// Seeds weights, images and clicks.
    pub seed: u64,
    /// Worker threads of the CPU; without them as many as it has cores.
    pub threads: Option<usize>,
    /// Share of the steps that teach clips, 0..=1. Those that start from masks teach every arm the same.
    pub clip_share: f32,
    /// Share of those that start from the arm's own kind of clicks instead of masks, 0..=1.
    pub clip_clicks: f32,
}

impl Training {
    /// The worker threads of this machine.
    #[must_use]
    pub fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(2, usize::from);
        self.threads.unwrap_or_else(cores)
    }
}

/// One line of the tables.
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    /// Its name in tables.
    pub name: String,
    /// What answers.
    pub kind: ArmKind,
}

/// What answers the points.
#[derive(Debug, Clone, PartialEq)]
pub enum ArmKind {
    /// Something that was never trained.
    Baseline(Baseline),
    /// A network.
    Network {
        /// What is placed.
        placing: Placing,
        /// Whether the contour is made to pass through boundary points.
        contour_step: bool,
        /// Whether the curve through boundary points is mixed into the answer.
        curve: bool,
        /// Whether a network that can looks at the structure a second time, closely.
        closer_look: bool,
        /// Where the network comes from.
        source: NetworkSource,
    },
}

/// Where a network comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum NetworkSource {
    /// Trained by the study, with Eq. 1 in this form: on all sets, and for each set on all others.
    Trained(BoundaryTerm),
    /// Networks that are there, with the sets that each was trained on; for a set and a setting the first counts.
    Cards(Vec<(String, Vec<usize>)>),
}

/// Reads the file of a study.
///
/// # Errors
/// All faults at once.
pub fn read(path: &Path) -> Result<StudyConfig, Faults> {
    let (name, text) = text_of(path)?;
    // A file here has an empty parent; "./" tells paths from names of networks.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    from_text(&name, &text, folder.unwrap_or(Path::new(".")))
}

/// As [`read`]; `folder` is what paths are relative to.
///
/// # Errors
/// All faults at once.
pub fn from_text(name: &str, text: &str, folder: &Path) -> Result<StudyConfig, Faults> {
    let root = parse(name, text)?;
    let mut reader = Reader { folder, faults: Faults::new(name), sets: Vec::new() };
    let config = reader.study(&root);
    match config {
        Some(config) => reader.faults.or(config),
        // Without a mapping there is always a fault.
        None => Err(reader.faults),
    }
}

struct Reader<'a> {
    folder: &'a Path,
    faults: Faults,
    /// Names of the sets so far.
    sets: Vec<String>,
}

impl Reader<'_> {
    fn study(&mut self, root: &Node) -> Option<StudyConfig> {
        let top = Entries::of(root, "", &TOP, &mut self.faults)?;
        let mut data = Vec::new();
        for (path, node) in self.some(&top, "data", "give sets of stills with `name` and `test`") {
            if let Some(set) = self.data(&path, node) {
                self.sets.push(set.name.clone());
                data.push(set);
            }
        }
        self.apart(&top, &data);
        let training = self.training(&top);
        let mut arms: Vec<Arm> = Vec::new();
        let mut lines = Vec::new();
        for (path, node) in self.some(&top, "arms", "give at least one with `name`") {
            if let Some(arm) = self.arm(&path, node) {
                if arms.iter().any(|a| a.name == arm.name) {
                    self.fault(node, &format!("{path}.name"), "is used twice");
                }
                arms.push(arm);
                lines.push(node.line);
            }
        }
        let clips = self.clips(&top);
        let clip_arms = self.clip_arms(&top);
        let learns =
            |a: &Arm| matches!(&a.kind, ArmKind::Network { source: NetworkSource::Trained(_), .. });
        let learning = arms.iter().position(learns).map(|at| lines[at]);
        let on_clips = |a: &ClipArm| matches!(&a.kind, ClipArmKind::Network { card: None, .. });
        let learning = learning.or(clip_arms.iter().any(on_clips).then_some(top.line()));
        if let Some(line) = learning {
            for set in data.iter().filter(|set| set.train.is_none()) {
                let set = shown(&set.name);
                let fault = format!("`train` of set {set} is missing, an arm learns from it");
                self.faults.add(line, fault);
            }
        }
        let compare = self.compare(&top, &arms);
        let zero_shot = self.flag(&top, "zero_shot", true);
        Some(StudyConfig {
            data,
            training,
            zero_shot,
            compare,
            arms,
            clips,
            clip_arms,
            points: self.number(&top, "points", 10.0, (1.0, CLICKS_CAP as f64), true) as usize,
            noise_px: self.number(&top, "noise_px", 0.0, (0.0, 100.0), false) as f32,
            seed: self.number(&top, "seed", 1.0, (0.0, 1e15), true) as u64,
            limit: top
                .get("limit")
                .map(|_| self.number(&top, "limit", 1.0, (1.0, 1e9), true) as usize),
            bootstrap: self.number(&top, "bootstrap", 2000.0, (1.0, 1e6), true) as usize,
        })
    }

    fn fault(&mut self, node: &Node, path: &str, what: &str) {
        self.faults.add(node.line, format!("`{path}` {what}"));
    }

    /// The items of a list that must hold one.
    fn some<'n>(&mut self, top: &Entries<'n>, key: &str, advice: &str) -> Vec<(String, &'n Node)> {
        let items = top.list(key, &mut self.faults);
        if items.is_empty() {
            self.faults.add(top.line(), format!("`{key}` is missing or empty; {advice}"));
        }
        items
    }

    fn number(
        &mut self,
        entries: &Entries<'_>,
        key: &str,
        default: f64,
        (least, most): (f64, f64),
        whole: bool,
    ) -> f64 {
        let Some((path, node)) = entries.get(key) else { return default };
        match node.kind {
            Kind::Number(n, _) if (least..=most).contains(&n) && (!whole || n.fract() == 0.0) => n,
            _ => {
                let kind = if whole { "a whole number" } else { "a number" };
                self.fault(node, &path, &format!("must be {kind} from {least} to {most}"));
                default
            }
        }
    }

    fn flag(&mut self, entries: &Entries<'_>, key: &str, default: bool) -> bool {
        let Some((path, node)) = entries.get(key) else { return default };
        let Kind::Bool(flag) = node.kind else {
            self.fault(node, &path, "must be true or false");
            return default;
        };
        flag
    }

    /// Text that must be there and not empty.
    fn needed(&mut self, entries: &Entries<'_>, path: &str, key: &str) -> Option<String> {
        if entries.get(key).is_none() {
            self.faults.add(entries.line(), format!("`{path}.{key}` is missing"));
        }
        entries.text(key, &mut self.faults).map(|(text, _)| text.to_owned())
    }

    fn source(&self, text: &str) -> DataSource {
        let source = DataSource::parse(text);
        DataSource { dir: self.folder.join(&source.dir), ..source }
    }

    fn data(&mut self, path: &str, node: &Node) -> Option<DataSet> {
        let entries = Entries::of(node, path, &DATA, &mut self.faults)?;
        let name = self.needed(&entries, path, "name");
        let test = self.needed(&entries, path, "test");
        let train =
            entries.text("train", &mut self.faults).map(|(text, _)| self.source(text).learned().0);
        let (name, test) = (name?, test?);
        if self.sets.contains(&name) {
            self.fault(node, &format!("{path}.name"), "is used twice");
        }
        Some(DataSet { test: self.source(&test).judged(), name, train })
    }

    /// No set may be judged on what another one, or itself, teaches.
    fn apart(&mut self, top: &Entries<'_>, data: &[DataSet]) {
        let tests: Vec<_> = data.iter().map(|set| (&set.name, set.test.images())).collect();
        for (name, source) in data.iter().filter_map(|set| Some((&set.name, set.train.as_ref()?))) {
            let taught = source.images();
            for (judged, images) in &tests {
                let Some(shared) = images.intersection(&taught).next() else { continue };
                let fault = format!(
                    "`train` of set {} and `test` of set {} share images, such as {}; name lists or splits that do not",
                    shown(name),
                    shown(judged),
                    shown(&shared.to_string_lossy())
                );
                self.faults.add(top.line(), fault);
            }
        }
    }

    fn clips(&mut self, top: &Entries<'_>) -> Vec<ClipSet> {
        let mut sets: Vec<ClipSet> = Vec::new();
        for (path, node) in top.list("clips", &mut self.faults) {
            let Some(entries) = Entries::of(node, &path, &CLIPS, &mut self.faults) else {
                continue;
            };
            let (name, folder) =
                (self.needed(&entries, &path, "name"), self.needed(&entries, &path, "path"));
            let (Some(name), Some(folder)) = (name, folder) else { continue };
            if sets.iter().any(|set| set.name == name) {
                self.fault(node, &format!("{path}.name"), "is used twice");
            }
            let (path, veil) = (self.folder.join(folder), Veil::default());
            sets.push(ClipSet { name, path, veil });
        }
        sets
    }

    fn training(&mut self, top: &Entries<'_>) -> Training {
        let mut training = Training {
            card: None,
            budget: Budget::Minutes(30.0),
            seed: 0,
            threads: None,
            clip_share: 0.0,
            clip_clicks: 0.0,
        };
        let Some((path, node)) = top.get("training") else { return training };
        let Some(entries) = Entries::of(node, &path, &TRAINING, &mut self.faults) else {
            return training;
        };
        training.card = entries.text("card", &mut self.faults).map(|(card, _)| self.card(card));
        let minutes = self.number(&entries, "minutes", 30.0, (0.01, 1e5), false);
        training.budget = match entries.get("steps") {
            Some(_) if entries.get("minutes").is_some() => {
                self.fault(node, &path, "has `minutes` and `steps`; give one of them");
                training.budget
            }
            Some(_) => Budget::Steps(self.number(&entries, "steps", 1.0, (1.0, 1e9), true) as u64),
            None => Budget::Minutes(minutes),
        };
        training.seed = self.number(&entries, "seed", 0.0, (0.0, 1e15), true) as u64;
        training.threads = entries
            .get("threads")
            .map(|_| self.number(&entries, "threads", 1.0, (1.0, 1024.0), true) as usize);
        let mut share = |name| self.number(&entries, name, 0.0, (0.0, 1.0), false) as f32;
        (training.clip_share, training.clip_clicks) = (share("clip_share"), share("clip_clicks"));
        training
    }

    /// A card's path from here, or the name of an imported network as it is.
    fn card(&self, text: &str) -> String {
        let path: PathBuf = self.folder.join(text);
        if text.contains('/') || path.is_file() {
            return path.to_string_lossy().into_owned();
        }
        text.to_owned()
    }

    fn choice(&mut self, line: usize, path: &str, word: &str, choices: &[&str]) {
        let hint = nearest_word(word, choices.iter().copied())
            .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        let word = shown(word);
        self.faults
            .add(line, format!("`{path}` is \"{word}\"; choose one of {}{hint}", listed(choices)));
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
