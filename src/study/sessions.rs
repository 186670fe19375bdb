//! The sessions of a user study, as raters left them.
//!
//! ```text
//! STUDY/raters/RATER/MODEL/           a project: what RATER annotated with MODEL
//! STUDY/raters/RATER/MODEL.repeat/    images that were shown again
//! STUDY/raters/RATER/MODEL.warm-up/   practice, left out
//! ```
//! Without a folder `raters` the raters' folders lie in STUDY itself. What decides whether this file is right: nothing
//! is written, whatever cannot be read is told, a clip counts once it was called finished and a still once a mask of it was
//! accepted, and a frame without a mask counts as empty.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::StudyError;
use crate::domain::{Bitmap, MaskSource, shown};
use crate::project::{Loaded, Visit, list_clips, load_read_only, timeline};

/// Ending of a project with images that were shown again.
pub const REPEAT: &str = ".repeat";
/// Ending of a project for practice.
pub const WARM_UP: &str = ".warm-up";

/// What one rater did on one clip with one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Who.
    pub rater: String,
    /// With what.
    pub model: String,
    /// Whether it was shown for the second time.
    pub repeat: bool,
    /// Content hash of the clip.
    pub clip: String,
    /// Its name, for people.
    pub name: String,
    /// Its frames.
    pub frames: usize,
    /// Time, s.
    pub seconds: f64,
    /// Steps by hand.
    pub steps: usize,
    /// Keys, where the journals tell.
    pub keys: Option<u64>,
    /// Masks by label and frame.
    pub masks: BTreeMap<(String, usize), Bitmap>,
}

/// Reads all sessions below `root`; gaps longer than `pause_s` count as that long. `tell` hears what is damaged.
///
/// # Errors
/// A folder or project that cannot be read, and a folder without any session.
pub fn read(
    root: &Path,
    pause_s: f64,
    tell: &mut dyn FnMut(&str),
) -> Result<Vec<Piece>, StudyError> {
    let below = root.join("raters");
    let raters = if below.is_dir() { below } else { root.to_owned() };
    let mut pieces = Vec::new();
    for rater in folders(&raters)? {
        for project in folders(&rater)? {
            let folder = name_of(&project);
            if folder.ends_with(WARM_UP) || !project.join("FORMAT").is_file() {
                continue;
            }
            let model = folder.strip_suffix(REPEAT);
            let (repeat, model) = (model.is_some(), model.unwrap_or(&folder).to_owned());
            for clip in list_clips(&project)? {
                let loaded = load_read_only(&project, &clip.hash)?;
                loaded.notes.iter().for_each(|note| tell(note));
                let visits = timeline(&project, &clip.hash)?;
                let info = clip.info.as_ref();
                let frames = info.map_or(1, |i| i.frames);
                if !done(&visits, &loaded, frames) {
                    continue;
                }
                let mut masks = BTreeMap::new();
                for track in loaded.annotation.visible().tracks.values() {
                    for (frame, held) in &track.masks {
                        let key = (track.info.label.clone(), *frame);
                        let one = held.mask.to_bitmap();
                        masks.entry(key).and_modify(|all| join(all, &one)).or_insert(one);
                    }
                }
                pieces.push(Piece {
                    rater: name_of(&rater),
                    model: model.clone(),
                    repeat,
                    name: info.map_or_else(|| clip.hash.short().to_string(), |i| i.name.clone()),
                    frames,
                    clip: clip.hash.0,
                    seconds: visits.iter().map(|v| v.seconds(pause_s)).sum(),
                    steps: visits.iter().map(|v| v.steps).sum(),
                    keys: keys(&visits),
                    masks,
                });
            }
        }
    }
    if pieces.is_empty() {
        let cause = "it holds no finished session; RATER/MODEL below it must be projects, see `sonomark study new`";
        return Err(StudyError::unfit(root, cause));
    }
    Ok(pieces)
}

/// Whether a clip of `frames` frames is annotated: its rater called it finished or, of a still, accepted a mask. Who only
/// looked, or is not there yet, has not annotated.
#[must_use]
pub fn done(visits: &[Visit], held: &Loaded, frames: usize) -> bool {
    let accepted = || {
        let masks = held.annotation.tracks.values().flat_map(|track| track.masks.values());
        masks.into_iter().any(|mask| mask.source == MaskSource::Accepted)
    };
    visits.iter().any(|visit| visit.finished) || (frames <= 1 && accepted())
}

/// Keys of all visits; unknown where one of them does not tell.
fn keys(visits: &[Visit]) -> Option<u64> {
    visits.iter().all(|v| v.keys > 0 || v.steps == 0).then(|| visits.iter().map(|v| v.keys).sum())
}

fn join(all: &mut Bitmap, more: &Bitmap) {
    all.pixels.iter_mut().zip(&more.pixels).for_each(|(a, b)| *a |= *b);
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| shown(&name.to_string_lossy()))
}

/// The folders in `dir` by name.
fn folders(dir: &Path) -> Result<Vec<PathBuf>, StudyError> {
    let entries = std::fs::read_dir(dir).map_err(|e| StudyError::io(dir, e))?;
    let mut all: Vec<PathBuf> =
        entries.flatten().map(|e| e.path()).filter(|path| path.is_dir()).collect();
    all.sort();
    Ok(all)
}
