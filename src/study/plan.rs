//! The plan of a user study: who annotates what with which model, in which order.
//!
//! Every rater does every clip with every model. Half of the clips come first with the one model, half with the other
//! (the paper's section 3.1), and raters take turns in which half and which model begins, so that neither practice nor
//! familiarity favours a model. Some clips come again at the end. What decides whether this file is right: the same
//! seed gives the same plan; clips are shown under numbers of their own, so that nobody knows a repeat by its name; a
//! plan reads back as it was written.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::StudyError;
use super::sessions::{REPEAT, WARM_UP};
use crate::codec::{self, OpenOptions};
use crate::config::yaml::{Entries, Faults, parse};
use crate::domain::{ContentHash, shown};
use crate::export::write_atomic;

/// Name of the plan in the folder of a study.
pub const PLAN: &str = "plan.yaml";
const TOP: [&str; 2] = ["seed", "blocks"];
const BLOCK: [&str; 5] = ["rater", "model", "card", "project", "clips"];

/// What a study is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Raters by name.
    pub raters: Vec<String>,
    /// Names of two models and their cards (`shipped`, an imported network, or a path).
    pub models: [(String, String); 2],
    /// Clips to annotate.
    pub clips: Vec<PathBuf>,
    /// Clips taken out of them for practice.
    pub warm_up: usize,
    /// Clips that every rater does twice with each model.
    pub repeats: usize,
    /// Seeds order and choice.
    pub seed: u64,
}

/// Clips that a rater does in a row with one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Who.
    pub rater: String,
    /// With what.
    pub model: String,
    /// Its card.
    pub card: String,
    /// Where the work goes, below the folder of the study.
    pub project: PathBuf,
    /// What is shown, below the folder of the study.
    pub clips: Vec<PathBuf>,
}

/// A block and what its clips really are.
struct Drawn {
    block: Block,
    originals: Vec<PathBuf>,
}

/// Draws a plan and writes it with its clips (links under numbers) into the new or empty folder `out`.
///
/// # Errors
/// Too few clips, clips that do not open or are the same, names that cannot name a folder, or a folder that cannot be
/// written or is not empty.
pub fn create(wanted: &Wanted, out: &Path) -> Result<Vec<Block>, StudyError> {
    check(wanted)?;
    check_clips(&wanted.clips)?;
    std::fs::create_dir_all(out).map_err(|e| StudyError::io(out, e))?;
    let mut entries = std::fs::read_dir(out).map_err(|e| StudyError::io(out, e))?;
    if entries.next().is_some() {
        return Err(StudyError::unfit(out, "it is not empty; a study needs a folder of its own"));
    }
    let drawn = draw(wanted);
    for Drawn { block, originals } in &drawn {
        for (link, original) in block.clips.iter().zip(originals) {
            let link = out.join(link);
            let folder = link.parent().unwrap_or(out);
            let original = original.canonicalize().map_err(|e| StudyError::io(original, e))?;
            std::fs::create_dir_all(folder).map_err(|e| StudyError::io(folder, e))?;
            symlink(&original, &link).map_err(|e| StudyError::io(&link, e))?;
        }
    }
    // The plan comes last: with it the study is there.
    let blocks: Vec<Block> = drawn.into_iter().map(|d| d.block).collect();
    write_atomic(&out.join(PLAN), to_yaml(wanted.seed, &blocks).as_bytes())?;
    Ok(blocks)
}

fn check(wanted: &Wanted) -> Result<(), StudyError> {
    let refuse = |cause: String| Err(StudyError::Plan(cause));
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let names = || wanted.raters.iter().chain(wanted.models.iter().map(|m| &m.0));
    if let Some(name) = names().find(|n| n.is_empty() || n.len() > 64 || !n.chars().all(plain)) {
        return refuse(format!(
            "\"{}\" cannot name a folder; use letters, digits, - and _",
            shown(name)
        ));
    }
    for (i, name) in wanted.raters.iter().enumerate() {
        if wanted.raters[..i].contains(name) {
            return refuse(format!("rater {name} is named twice"));
        }
    }
    if wanted.raters.is_empty() || wanted.models[0].0 == wanted.models[1].0 {
        return refuse("it needs a rater and two models of different names".into());
    }
    let left = wanted.clips.len().saturating_sub(wanted.warm_up);
    if left < 2 || wanted.repeats > left {
        return refuse(format!(
            "{} are too few clips: without those for practice it needs two, and as many as are repeated",
            wanted.clips.len()
        ));
    }
    Ok(())
}

/// Before anything is written: a clip that does not open would stop every rater, and the same one under two names would be
/// done once and asked for for ever.
fn check_clips(clips: &[PathBuf]) -> Result<(), StudyError> {
    let mut known: BTreeMap<ContentHash, &Path> = BTreeMap::new();
    for path in clips {
        let clip = codec::open(path, &OpenOptions::default())
            .map_err(|error| StudyError::Data(error.into()))?;
        if let Some(other) = known.insert(clip.info().content_hash.clone(), path) {
            let [a, b] = [other, path].map(|path| shown(&path.to_string_lossy()));
            return Err(StudyError::Plan(format!("{a} and {b} are the same clip; name it once")));
        }
    }
    Ok(())
}

fn draw(wanted: &Wanted) -> Vec<Drawn> {
    let mut rng = fastrand::Rng::with_seed(wanted.seed);
    let mut clips = wanted.clips.clone();
    rng.shuffle(&mut clips);
    let (practice, tested) = clips.split_at(wanted.warm_up);
    // The same halves for everybody; who begins with which takes turns.
    let halves = tested.split_at(tested.len() / 2);
    let mut all = Vec::new();
    for (at, rater) in wanted.raters.iter().enumerate() {
        let [a, b] = if at % 2 == 0 { [0, 1] } else { [1, 0] };
        let (h, g) = if at / 2 % 2 == 0 { halves } else { (halves.1, halves.0) };
        let mut again = tested.to_vec();
        rng.shuffle(&mut again);
        again.truncate(wanted.repeats);
        let blocks = [
            (a, WARM_UP, practice),
            (b, WARM_UP, practice),
            (a, "", h),
            (b, "", g),
            (b, "", h),
            (a, "", g),
            (a, REPEAT, &again[..]),
            (b, REPEAT, &again[..]),
        ];
        let mut number = 0;
        for (model, ending, clips) in blocks.into_iter().filter(|(.., clips)| !clips.is_empty()) {
            let mut originals = clips.to_vec();
            rng.shuffle(&mut originals);
            let (model, card) = wanted.models[model].clone();
            let project = Path::new("raters").join(rater).join(format!("{model}{ending}"));
            let clips = originals
                .iter()
                .map(|original| {
                    number += 1;
                    Path::new("clips")
                        .join(rater)
                        .join(format!("{number:03}{}", ending_of(original)))
                })
                .collect();
            let rater = rater.clone();
            all.push(Drawn { block: Block { rater, model, card, project, clips }, originals });
        }
    }
    all
}

/// `.nii.gz` of `a.nii.gz`: what tells the format, nothing that tells the clip.
fn ending_of(path: &Path) -> String {
    let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let ending = if name.ends_with(".nii.gz") { "nii.gz" } else { ending };
    let plain = ending.len() <= 8 && ending.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    if path.is_dir() || ending.is_empty() || !plain { String::new() } else { format!(".{ending}") }
}

fn to_yaml(seed: u64, blocks: &[Block]) -> String {
    // JSON's quoting is YAML's.
    let text = |path: &dyn AsRef<Path>| serde_json::json!(path.as_ref().to_string_lossy());
    let mut out = format!(
        "# Written by sonomark study new; the order is the order of work.\nseed: {seed}\nblocks:\n"
    );
    for b in blocks {
        let clips: Vec<String> = b.clips.iter().map(|c| text(c).to_string()).collect();
        let (rater, model, card) = (text(&b.rater), text(&b.model), text(&b.card));
        let _ = write!(
            out,
            "  - rater: {rater}\n    model: {model}\n    card: {card}\n    project: {}\n    clips: [{}]\n",
            text(&b.project),
            clips.join(", ")
        );
    }
    out
}

/// The blocks of the study in the folder `study`.
///
/// # Errors
/// All faults of the plan at once.
pub fn read(study: &Path) -> Result<Vec<Block>, Faults> {
    let path = study.join(PLAN);
    let mut faults = Faults::new(shown(&path.to_string_lossy()));
    let text = std::fs::read_to_string(&path).map_err(|cause| {
        let mut faults = faults.clone();
        faults
            .add(0, format!("it cannot be read: {cause}; make a study with `sonomark study new`"));
        faults
    })?;
    let root = parse(&faults.file, &text)?;
    let mut blocks = Vec::new();
    if let Some(top) = Entries::of(&root, "", &TOP, &mut faults) {
        for (path, node) in top.list("blocks", &mut faults) {
            let Some(entries) = Entries::of(node, &path, &BLOCK, &mut faults) else { continue };
            let mut word = |key: &str| {
                let found = entries.get(key).and_then(|(_, node)| node.kind.word());
                if found.is_none() {
                    faults.add(entries.line(), format!("`{path}.{key}` is missing"));
                }
                found.unwrap_or_default()
            };
            let (rater, model, card) = (word("rater"), word("model"), word("card"));
            let project = PathBuf::from(word("project"));
            let items = entries.list("clips", &mut faults);
            let clips = items.iter().filter_map(|(_, n)| n.kind.word().map(PathBuf::from));
            blocks.push(Block { rater, model, card, project, clips: clips.collect() });
        }
    }
    faults.or(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clip_comes_first_with_each_model_equally_often() {
        let home = tempfile::tempdir().expect("a folder");
        let clips: Vec<PathBuf> = (0..10).map(|i| home.path().join(format!("c{i}.png"))).collect();
        let picture = |shade| image::GrayImage::from_pixel(8, 8, image::Luma([shade]));
        for (shade, clip) in (0..).zip(&clips) {
            picture(shade).save(clip).expect("written");
        }
        let wanted = Wanted {
            raters: ["a", "b", "c", "d"].map(str::to_owned).to_vec(),
            models: [("M".into(), "shipped".into()), ("N".into(), "net".into())],
            clips,
            warm_up: 2,
            repeats: 3,
            seed: 5,
        };
        let out = home.path().join("study");
        let blocks = create(&wanted, &out).expect("a study");
        assert_eq!(read(&out).expect("reads back"), blocks);
        let (mut first, mut seen) = (BTreeMap::new(), BTreeMap::new());
        for block in &blocks {
            for clip in &block.clips {
                let original = std::fs::read_link(out.join(clip)).expect("a link");
                let name = original.file_name().expect("a name").to_string_lossy().into_owned();
                *seen.entry((block.project.clone(), name.clone())).or_insert(0) += 1;
                if block.project.extension().is_none() {
                    first.entry((block.rater.clone(), name)).or_insert(block.model.clone());
                }
            }
        }
        assert!(seen.values().all(|n| *n == 1), "a project holds a clip once: {seen:?}");
        assert_eq!(first.len(), 4 * 8);
        for rater in ["a", "b", "c", "d"] {
            let with =
                |model: &str| first.iter().filter(|((r, _), m)| r == rater && *m == model).count();
            assert_eq!((with("M"), with("N")), (4, 4), "half of a rater's clips");
        }
        let begins: Vec<&str> =
            blocks.chunk_by(|x, y| x.rater == y.rater).map(|b| b[0].model.as_str()).collect();
        assert_eq!(begins, ["M", "N", "M", "N"]);
        let per_clip =
            |clip: &str| first.iter().filter(|((_, c), m)| c == clip && *m == "M").count();
        for (_, clip) in first.keys() {
            assert_eq!(per_clip(clip), 2, "half of the raters");
        }
        assert!(create(&wanted, &out).is_err(), "not into a folder that holds something");
        let mut missing = wanted.clone();
        missing.clips.push(home.path().join("none.png"));
        assert!(create(&missing, &home.path().join("half")).is_err());
        let (broken, copy) = (home.path().join("broken.png"), home.path().join("copy.png"));
        std::fs::write(&broken, "x").expect("written");
        std::fs::copy(&wanted.clips[3], &copy).expect("copied");
        for (clip, why) in [(broken, "broken.png"), (copy, "copy.png are the same clip")] {
            missing.clips[10] = clip;
            let told = create(&missing, &home.path().join("half")).expect_err(why).to_string();
            assert!(told.contains(why), "{told}");
        }
        assert!(!home.path().join("half").exists(), "nothing is left of a study that fails");
        let few = Wanted { repeats: 9, ..wanted };
        assert!(create(&few, &home.path().join("few")).is_err());
    }
}
