//! `sonomark project --rename`: a label becomes another one in every clip of the project.
//!
//! What decides whether this file is right: each clip gets one step in a journal of its own, as if who runs it had renamed
//! the structures on the screen, so that nothing is rewritten, their `u` takes it back there, and a run that ended half way
//! is run again.

use std::collections::BTreeSet;

use crate::config::Settings;
use crate::domain::{
    Annotation, Edit, Mark, Step, Track, TrackId, TrackInfo, counted, nearest_word, shown,
};
use crate::project::{ClipStore, ClipSummary, Onlooker, now_ms};
use crate::tui::command::label;

use super::export::NO_CLIP_JSON;
use super::{Done, Failure, interrupt_flag, interrupted, print, tell};

/// Gives the structures called `old` in `clips` of the project the label `new`, and the colour that the schema has for it.
/// With `dry` it only tells. Ctrl-C ends it after the clip in hand.
pub(super) fn run(
    settings: &Settings,
    clips: &[ClipSummary],
    (old, new): (&str, &str),
    dry: bool,
) -> Done {
    let new = label(new.trim()).map_err(Failure::Input)?;
    if new.is_empty() || new == old {
        return Err(Failure::Input("--rename needs two different labels: OLD and NEW".into()));
    }
    let cancel = interrupt_flag()?;
    let mut onlooker = Onlooker::new(&settings.project.value);
    let (mut structures, mut in_clips, mut failed) = (0, 0, 0);
    let (mut known, mut told) = (BTreeSet::new(), BTreeSet::new());
    for clip in clips {
        if interrupted(&cancel) {
            let done = counted(in_clips, "clip");
            return Err(Failure::Interrupted(format!("interrupted after {done}; run it again")));
        }
        match in_clip(settings, &mut onlooker, clip, (old, &new), dry, [&mut known, &mut told]) {
            Ok(0) => {}
            Ok(count) => (structures, in_clips) = (structures + count, in_clips + 1),
            Err(why) => {
                tell(&format!("{}: {why}", named(clip)));
                failed += 1;
            }
        }
    }
    if failed > 0 {
        let all = counted(clips.len(), "clip");
        return Err(Failure::Some(format!("{failed} of {all} failed; run it again when mended")));
    }
    if structures == 0 {
        return Err(Failure::Input(unknown(old, &known)));
    }
    let (structures, in_clips) = (counted(structures, "structure"), counted(in_clips, "clip"));
    tell(&match dry {
        true => format!("{structures} in {in_clips} would get the label {}", shown(&new)),
        false => format!("{structures} in {in_clips} renamed"),
    });
    Ok(())
}

/// Renames in one clip; how many structures. The labels that it has are added to `known`. What is `told` is not told again:
/// that a disk is nearly full would come with each clip.
fn in_clip(
    settings: &Settings,
    onlooker: &mut Onlooker,
    clip: &ClipSummary,
    (old, new): (&str, &str),
    dry: bool,
    [known, told]: [&mut BTreeSet<String>; 2],
) -> Result<usize, String> {
    let root = &settings.project.value;
    let held = onlooker.load(&clip.hash).map_err(|error| error.to_string())?;
    let colour = settings.asked.label(new).map(|label| label.colour);
    let labels = held.annotation.tracks.values().map(|track| &track.info.label);
    let double = labels.clone().any(|label| label == new);
    known.extend(labels.cloned());
    let count = renaming(&held.annotation, (old, new), colour).len();
    if count == 0 {
        return Ok(0);
    }
    if !dry {
        let info = clip.info.as_ref().ok_or(NO_CLIP_JSON)?;
        let opened = ClipStore::open(root, info, now_ms()).map_err(|error| error.to_string())?;
        let (mut store, loaded) = opened;
        for note in loaded.notes.iter().filter(|note| told.insert((*note).clone())) {
            tell(note);
        }
        let edits = renaming(&loaded.annotation, (old, new), colour);
        let group = u64::from(loaded.session_seed) << 32;
        let step = Step { group, mark: Mark::Do, edits, made_from: None };
        let kept = store.append(&step, now_ms()).and_then(|()| store.sync());
        kept.map_err(|error| error.to_string())?;
    }
    let also = if double { ", beside one that has that label already" } else { "" };
    print(&format!("{}  {}{also}", named(clip), counted(count, "structure")));
    Ok(count)
}

/// The edits that give the structures called `old` the label `new`, and perhaps another colour.
fn renaming(now: &Annotation, (old, new): (&str, &str), colour: Option<u8>) -> Vec<Edit> {
    let called = now.tracks.iter().filter(|(_, track)| track.info.label == old);
    let edit = |(&track, held): (&TrackId, &Track)| {
        let before = held.info.clone();
        let colour = colour.unwrap_or(before.colour);
        Edit::SetTrackInfo { track, before, after: TrackInfo { label: new.to_owned(), colour } }
    };
    called.map(edit).collect()
}

/// The clip, for people.
fn named(clip: &ClipSummary) -> String {
    let name = clip.info.as_ref().map_or_else(String::new, |info| shown(&info.name));
    format!("{}  {name}", clip.hash.short())
}

/// That no structure is called so, and what was probably meant.
fn unknown(old: &str, known: &BTreeSet<String>) -> String {
    let hint = match nearest_word(old, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {}?", shown(near)),
        None if known.is_empty() => "it holds no structure yet".to_owned(),
        None => "`sonomark project` lists the labels".to_owned(),
    };
    format!("no structure of the project is called {}; {hint}", shown(old))
}
