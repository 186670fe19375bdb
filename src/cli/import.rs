//! `sonomark import`: masks of other programs become tracks of a clip, with their attributes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;

use crate::config::Settings;
use crate::domain::{
    Annotation, Edit, FrameMask, Mark, MaskSource, Step, Track, TrackId, TrackOrder, counted, shown,
};
use crate::engine::import_format_named;
use crate::export::{Content, ExportFormat, Structure, Target, read_caged};
use crate::project::{ClipStore, ProjectError, now_ms};

use super::attributes::{self, Said};
use super::{Done, Failure, interrupt_flag, interrupted, open_clip, path_shown, tell};

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
    #[arg(long, value_parser = import_format_named)]
    format: Option<ExportFormat>,
    /// Say what would be imported, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Take what was exported from another clip, of which this one is a copy
    #[arg(long)]
    any_clip: bool,
}

/// Runs it. Every structure becomes a new track with accepted masks; nothing that the project
/// holds is replaced, and one undo takes the whole import back.
pub(super) fn run(settings: &Settings, options: &Options) -> Done {
    if let Err(cause) = std::fs::metadata(&options.file) {
        let file = path_shown(&options.file);
        return Err(Failure::Input(format!(
            "cannot read {file}: {cause}; check the path and the rights"
        )));
    }
    let clip = open_clip(settings, &options.clip)?;
    let names = clip.frame_names();
    let origin = clip.dicom_origin();
    let (info, origin) = (clip.info(), origin.as_ref());
    let target = Target { info, frame_names: &names, origin, stop: None };
    let read = read_caged(&options.file, options.format, &target).map_err(Failure::input)?;
    let mut notes: BTreeSet<String> = read.notes.iter().cloned().collect();
    let content = match &read.other_clip {
        Some(other) if options.any_clip => {
            notes.insert(format!("it was exported from another clip ({other})"));
            read
        }
        _ => read.of_this_clip(&options.file, &target).map_err(Failure::input)?,
    };
    let sort = |each: &Structure, notes: &mut BTreeSet<String>| {
        attributes::sorted_out(each, &content.changeable, &settings.asked, notes)
    };
    let said: Vec<Said> = content.structures.iter().map(|each| sort(each, &mut notes)).collect();
    let tell_all = |notes: &BTreeSet<String>| {
        for note in notes {
            tell(&format!("{}: {}", path_shown(&options.file), shown(note)));
        }
    };
    if content.structures.is_empty() {
        tell_all(&notes);
        let file = path_shown(&options.file);
        return Err(Failure::Input(format!("{file} holds no masks; nothing was imported")));
    }
    if options.dry_run {
        tell_all(&notes);
        tell(&format!("would import {}", summary(&content, &said)));
        return Ok(());
    }
    let root = &settings.project.value;
    let cancel = interrupt_flag()?;
    let (mut store, loaded) =
        ClipStore::open(root, clip.info(), now_ms()).map_err(Failure::input)?;
    for note in &loaded.notes {
        tell(note);
    }
    let before = &loaded.annotation;
    let places = places(&content, before, loaded.session_seed);
    let steps = steps(&content, &said, &places, before, loaded.session_seed, &mut notes);
    tell_all(&notes);
    if steps.is_empty() {
        tell(nothing_new(&notes, &said, &places, before));
        return Ok(());
    }
    for (done, step) in steps.iter().enumerate() {
        if done > 0 && interrupted(&cancel) {
            let _ = store.sync();
            return Err(Failure::Interrupted(format!("interrupted; {INCOMPLETE}")));
        }
        kept(store.append(step, now_ms()))?;
    }
    kept(store.sync())?;
    check(&store, &content, &said, &places, before)?;
    tell(&format!(
        "imported {} into {}; the last change is number {}",
        summary(&content, &said),
        path_shown(root),
        store.position()
    ));
    Ok(())
}

fn summary(content: &Content, said: &[Said]) -> String {
    let masks: usize = content.structures.iter().map(|s| s.masks.len()).sum();
    let values: usize = said.iter().map(Said::count).sum();
    let labels: Vec<String> = content
        .structures
        .iter()
        .map(|s| {
            let frames = counted(s.masks.len().max(s.said.len()), "frame");
            format!("\"{}\" on {frames}", shown(&s.label))
        })
        .collect();
    let values = if values > 0 {
        format!(", {} of attributes", counted(values, "value"))
    } else {
        String::new()
    };
    format!("{}{values}: {}", counted(masks, "mask"), labels.join(", "))
}

/// Why the project is given nothing. What was left out is told by `notes`.
fn nothing_new(
    notes: &BTreeSet<String>,
    said: &[Said],
    places: &[Option<TrackId>],
    now: &Annotation,
) -> &'static str {
    let is_there = |(said, place): (&Said, &Option<TrackId>)| {
        place.and_then(|id| now.tracks.get(&id)).is_some_and(|track| said.is_partly_in(track))
    };
    if notes.is_empty() {
        "everything that it says is in the project already; nothing was imported"
    } else if said.iter().zip(places).any(is_there) {
        "what was not left out is in the project already; nothing was imported"
    } else {
        "nothing is left of what it says; nothing was imported"
    }
}

/// Which track every structure becomes: a new one where it has masks, else the one of the clip
/// that it speaks of.
fn places(content: &Content, now: &Annotation, seed: u32) -> Vec<Option<TrackId>> {
    let (mut order, unique) = (TrackOrder::default(), u64::from(seed) << 32);
    let meant = attributes::meant(content, now);
    let of = |(structure, meant): (&Structure, Option<TrackId>)| {
        if structure.masks.is_empty() { meant } else { Some(order.next(now, unique)) }
    };
    content.structures.iter().zip(meant).map(of).collect()
}

/// One step for every line of the journal, all of one group.
fn steps(
    content: &Content,
    said: &[Said],
    places: &[Option<TrackId>],
    now: &Annotation,
    seed: u32,
    notes: &mut BTreeSet<String>,
) -> Vec<Step> {
    let group = u64::from(seed) << 32;
    let step = |edit| Step { group, mark: Mark::Do, edits: vec![edit], made_from: None };
    let mut steps = Vec::new();
    for (at, (structure, said)) in content.structures.iter().zip(said).enumerate() {
        let Some(track) = places[at] else {
            let label = &structure.label;
            notes.insert(format!(
                "the clip has no structure \"{label}\" for this row; what is said of it was left \
                 out"
            ));
            continue;
        };
        if let Some(held) = now.tracks.get(&track) {
            steps.extend(attributes::edits(track, held, said, notes).into_iter().map(step));
            continue;
        }
        if now.tracks.values().any(|held| is_same(held, structure)) {
            notes.insert(format!(
                "the clip has \"{}\" with the same masks already, and so twice from now on; undo takes the import back",
                structure.label
            ));
        }
        let mut new =
            Track::new(structure.label.clone(), ((now.tracks.len() + at) % COLOURS) as u8);
        new.attributes = said.whole.clone();
        new.frame_attributes = said.frames.clone();
        steps.push(step(Edit::AddTrack { track, content: new }));
        for (&frame, mask) in &structure.masks {
            let after = FrameMask { mask: mask.clone(), source: MaskSource::Accepted, score: 1.0 };
            steps.push(step(Edit::SetMask { track, frame, before: None, after: Some(after) }));
        }
    }
    steps
}

/// Whether a structure of the clip is what an earlier import of the same file made.
fn is_same(held: &Track, structure: &Structure) -> bool {
    held.info.label == structure.label && has_masks_of(held, structure)
}

/// Whether a structure of the clip has these masks and no others.
fn has_masks_of(track: &Track, structure: &Structure) -> bool {
    let held = track.masks.iter().map(|(&frame, held)| (frame, &held.mask));
    held.eq(structure.masks.iter().map(|(&frame, mask)| (frame, mask)))
}

/// What the store holds of the import is what was read.
fn check(
    store: &ClipStore,
    content: &Content,
    said: &[Said],
    places: &[Option<TrackId>],
    before: &Annotation,
) -> Done {
    let same = |((structure, said), place): ((&Structure, &Said), &Option<TrackId>)| {
        let Some(id) = place.filter(|id| !before.tracks.contains_key(id)) else { return true };
        let track = store.annotation().tracks.get(&id);
        track.is_some_and(|track| has_masks_of(track, structure) && said.is_in(track))
    };
    if content.structures.iter().zip(said).zip(places).all(same) {
        return Ok(());
    }
    Err(Failure::ours("the project holds something else than was imported; please report it"))
}

/// What to do about an import that ended half way.
const INCOMPLETE: &str = "the import is not complete: what came in is one step; take it back (`u` on the screen, or \
                          `echo undo | sonomark run - CLIP`), then import again";

/// A full disk is told; the steps wait in memory until the end of the process.
fn kept(result: Result<(), ProjectError>) -> Done {
    result.map_err(|error| match error.step_is_kept() {
        true => Failure::Input(format!("{error}; {INCOMPLETE}")),
        false => Failure::input(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Bitmap, History};

    #[test]
    fn an_import_without_room_says_how_it_is_taken_back_on_a_command_line() {
        let [path, cause, rescue] = ["p", "no space", "not rescued"].map(str::to_owned);
        let full = ProjectError::KeptInMemory { unwritten: 1, path, cause, rescue };
        let failure = kept(Err(full)).expect_err("there is no room");
        assert!(failure.sentence().contains("echo undo | sonomark run - CLIP"), "{failure:?}");
    }

    #[test]
    fn an_import_is_one_group_that_undo_takes_back() {
        let mask = Bitmap::from_fn(4, 4, |x, _| x > 1).to_mask();
        let masks = [(0, mask.clone()), (3, mask)].into();
        let structures = vec![Structure::new("nerve", masks)];
        let content = Content { structures, ..Content::default() };
        let (mut now, mut history) = (Annotation::default(), History::default());
        let (places, mut notes) = (places(&content, &now, 7), BTreeSet::new());
        let said = [Said { whole: [("side".into(), "left".into())].into(), ..Said::default() }];
        let steps = steps(&content, &said, &places, &now, 7, &mut notes);
        assert_eq!(steps.len(), 3);
        for step in &steps {
            now.apply_all(&step.edits).expect("fits");
            history.note(step);
        }
        let track = &now.tracks[&TrackId((1 << 32) + 7)];
        assert_eq!((track.anchors(), track.attribute(None, "side")), (vec![0, 3], Some("left")));
        assert!(notes.is_empty());
        let again = super::places(&content, &now, 8);
        super::steps(&content, &said, &again, &now, 8, &mut notes);
        assert!(notes.first().is_some_and(|note| note.contains("twice")), "{notes:?}");
        let undo = history.undo(&now).expect("something to undo");
        now.apply_all(&undo.edits).expect("fits");
        assert_eq!(now, Annotation::default());
    }
}
