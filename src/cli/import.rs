//! `sonomark import`: masks of other programs become tracks of a clip.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use crate::config::Settings;
use crate::domain::{Annotation, Edit, FrameMask, Mark, MaskSource, Step, Track, TrackId, shown};
use crate::engine::format_named;
use crate::export::{Content, ExportFormat, Structure, Target, read};
use crate::project::{ClipStore, ProjectError};

use super::{Done, Failure, open_clip, path_shown, tell};

/// Colours that themes have for tracks.
const COLOURS: usize = 8;

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The clip that was annotated
    clip: PathBuf,
    /// What the other program wrote: a file or a folder
    file: PathBuf,
    /// How it is written, where its name and content do not tell
    #[arg(long, value_parser = format_named)]
    format: Option<ExportFormat>,
    /// Say what would be imported, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs it. Every structure becomes a new track with accepted masks; nothing that the project
/// holds is replaced, and one undo takes the whole import back.
pub(super) fn run(settings: &Settings, options: &Options) -> Done {
    let clip = open_clip(settings, &options.clip)?;
    let names = clip.frame_names();
    let origin = clip.dicom_origin();
    let target = Target { info: clip.info(), frame_names: &names, origin: origin.as_ref() };
    let content = read(&options.file, options.format, &target).map_err(Failure::input)?;
    for note in &content.notes {
        tell(&format!("{}: {}", path_shown(&options.file), shown(note)));
    }
    if content.structures.is_empty() {
        let file = path_shown(&options.file);
        return Err(Failure::Input(format!("{file} holds no masks; nothing was imported")));
    }
    if options.dry_run {
        tell(&format!("would import {}", summary(&content)));
        return Ok(());
    }
    let root = &settings.project.value;
    let (mut store, loaded) =
        ClipStore::open(root, clip.info(), now_ms()).map_err(Failure::input)?;
    for note in &loaded.notes {
        tell(note);
    }
    let steps = steps(&content, &loaded.annotation, loaded.session_seed);
    for step in &steps {
        kept(store.append(step, now_ms()))?;
    }
    kept(store.sync())?;
    check(&store, &content, loaded.session_seed)?;
    tell(&format!(
        "imported {} into {}, journal position {}",
        summary(&content),
        path_shown(root),
        store.position()
    ));
    Ok(())
}

fn summary(content: &Content) -> String {
    let masks: usize = content.structures.iter().map(|s| s.masks.len()).sum();
    let labels: Vec<String> = content
        .structures
        .iter()
        .map(|s| format!("\"{}\" on {} frames", shown(&s.label), s.masks.len()))
        .collect();
    format!("{masks} masks: {}", labels.join(", "))
}

/// One step for every line of the journal, all of one group.
fn steps(content: &Content, now: &Annotation, seed: u32) -> Vec<Step> {
    let first = u64::from(seed) << 32;
    let step = |edit| Step { group: first, mark: Mark::Do, edits: vec![edit] };
    let mut steps = Vec::new();
    for (number, structure) in (1..).zip(&content.structures) {
        let track = TrackId(first + number);
        let colour = (now.tracks.len() + number as usize - 1) % COLOURS;
        let content = Track::new(structure.label.clone(), colour as u8);
        steps.push(step(Edit::AddTrack { track, content }));
        for (&frame, mask) in &structure.masks {
            let after = FrameMask { mask: mask.clone(), source: MaskSource::Accepted, score: 1.0 };
            steps.push(step(Edit::SetMask { track, frame, before: None, after: Some(after) }));
        }
    }
    steps
}

/// What the store holds of the import is what was read.
fn check(store: &ClipStore, content: &Content, seed: u32) -> Done {
    let first = u64::from(seed) << 32;
    let same = |(number, structure): (u64, &Structure)| {
        store.annotation().tracks.get(&TrackId(first + number)).is_some_and(|track| {
            let held = track.masks.iter().map(|(&frame, held)| (frame, &held.mask));
            held.eq(structure.masks.iter().map(|(&frame, mask)| (frame, mask)))
        })
    };
    if (1..).zip(&content.structures).all(same) {
        return Ok(());
    }
    Err(Failure::ours("the project holds something else than was imported; please report it"))
}

/// A full disk is told; the steps wait in memory until the end of the process.
fn kept(result: Result<(), ProjectError>) -> Done {
    result.map_err(|error| match error.step_is_kept() {
        true => Failure::Input(format!("{error}; the import is not complete, run it again")),
        false => Failure::input(error),
    })
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Bitmap, History};

    #[test]
    fn an_import_is_one_group_that_undo_takes_back() {
        let mask = Bitmap::from_fn(4, 4, |x, _| x > 1).to_mask();
        let masks = [(0, mask.clone()), (3, mask)].into();
        let content = Content {
            structures: vec![Structure { label: "nerve".into(), masks }],
            notes: Vec::new(),
        };
        let (mut now, mut history) = (Annotation::default(), History::default());
        let steps = steps(&content, &now, 7);
        assert_eq!(steps.len(), 3);
        for step in &steps {
            now.apply_all(&step.edits).expect("fits");
            history.note(step);
        }
        assert_eq!(now.tracks[&TrackId((7 << 32) + 1)].anchors(), [0, 3]);
        let undo = history.undo(&now).expect("something to undo");
        now.apply_all(&undo.edits).expect("fits");
        assert_eq!(now, Annotation::default());
    }
}
