//! `sonomark project --check`: whether what the project holds is what was written, and what to do where it is not.

use std::path::Path;

use serde_json::{Value, json};

use crate::domain::{counted, shown};
use crate::project::{Checked, ClipSummary, Finding, Gravity, Onlooker, check_clip, check_folder};

use super::told::Tally;
use super::{Done, Failure, interrupt_flag, interrupted, path_shown, print, print_json, tell};

/// Checks the project `root` with its `clips`. Ctrl-C ends it after the clip in hand, with what was found until then told.
pub(super) fn run(root: &Path, clips: &[ClipSummary], as_json: bool) -> Done {
    let cancel = interrupt_flag()?;
    let beside = check_folder(root);
    let mut onlooker = Onlooker::new(root);
    let mut checked: Vec<(&ClipSummary, Checked)> = Vec::with_capacity(clips.len());
    let mut progress = Tally::new("checked".to_owned(), "clip");
    for clip in clips.iter().take_while(|_| !interrupted(&cancel)) {
        checked.push((clip, check_clip(&mut onlooker, clip)));
        if !as_json {
            progress.show([checked.len(), clips.len()]);
        }
    }
    if !as_json {
        progress.end();
    }
    let is_damaged = |checked: &Checked| checked.gravity() == Some(Gravity::Damage);
    let damaged = checked.iter().filter(|(_, checked)| is_damaged(checked)).count();
    if as_json && checked.len() == clips.len() {
        print_json(&json!({
            "project": path_shown(root),
            "damaged": damaged,
            "findings": beside.iter().map(finding_json).collect::<Vec<_>>(),
            "clips": checked.iter().map(clip_json).collect::<Vec<_>>(),
        }));
    }
    if !as_json {
        beside.iter().for_each(print_finding);
        checked.iter().for_each(print_clip);
        tell(&summary(&checked));
    }
    if checked.len() < clips.len() {
        let done = format!("{} of {}", checked.len(), counted(clips.len(), "clip"));
        return Err(Failure::Interrupted(format!("interrupted after {done}; run it again")));
    }
    let folder = beside.iter().any(|finding| finding.gravity == Gravity::Damage);
    let clips = counted(clips.len(), "clip");
    match (damaged, folder) {
        (0, false) => Ok(()),
        (0, true) => Err(Failure::Some(format!(
            "the folder of the project is damaged, none of its {clips} is; {UNCHANGED}"
        ))),
        _ => Err(Failure::Some(format!("{damaged} of {clips} damaged; {UNCHANGED}"))),
    }
}

const UNCHANGED: &str = "what to do stands with each finding, and nothing was changed";

/// How much was looked at.
fn summary(checked: &[(&ClipSummary, Checked)]) -> String {
    let sum = |of: fn(&Checked) -> usize| checked.iter().map(|(_, each)| of(each)).sum::<usize>();
    let clips = counted(checked.len(), "clip");
    let journals = counted(sum(|each| each.journals), "journal");
    let lines = counted(sum(|each| each.lines), "line");
    let count = |gravity: Gravity| {
        let held = checked.iter().flat_map(|(_, each)| &each.findings);
        held.filter(|finding| finding.gravity == gravity).count()
    };
    let found = [
        (count(Gravity::Damage), "damaged place"),
        (count(Gravity::Warning), "warning"),
        (count(Gravity::Harmless), "harmless finding"),
    ];
    let found = found.into_iter().filter(|(count, _)| *count > 0);
    let found: Vec<String> = found.map(|(count, word)| counted(count, word)).collect();
    let found = if found.is_empty() { "all as written".to_owned() } else { found.join(", ") };
    format!("{clips}, {journals}, {lines}: {found}")
}

/// Prints what was found of a clip; nothing where all is well.
fn print_clip((clip, checked): &(&ClipSummary, Checked)) {
    if checked.findings.is_empty() {
        return;
    }
    let name = clip.info.as_ref().map_or_else(String::new, |info| shown(&info.name));
    print(format!("{}  {name}", clip.hash.short()).trim_end());
    checked.findings.iter().for_each(print_finding);
}

fn print_finding(finding: &Finding) {
    let Finding { gravity, path, line, bytes, what, lost, todo } = finding;
    let line = line.map_or_else(String::new, |line| format!(" line {line}"));
    let bytes = bytes.as_ref().map_or_else(String::new, |bytes| format!(" byte {}", bytes.start));
    print(&format!("  {}: {path}{line}{bytes}: {what}", word(*gravity)));
    if let Some(lost) = lost {
        print(&format!("    lost: {lost}"));
    }
    if let Some(todo) = todo {
        print(&format!("    to do: {todo}"));
    }
}

fn word(gravity: Gravity) -> &'static str {
    match gravity {
        Gravity::Harmless => "harmless",
        Gravity::Warning => "warning",
        Gravity::Damage => "damage",
    }
}

fn clip_json((clip, checked): &(&ClipSummary, Checked)) -> Value {
    json!({
        "content_hash": clip.hash.0,
        "name": clip.info.as_ref().map(|info| &info.name),
        "journals": checked.journals,
        "lines": checked.lines,
        "findings": checked.findings.iter().map(finding_json).collect::<Vec<_>>(),
    })
}

fn finding_json(finding: &Finding) -> Value {
    let Finding { gravity, path, line, bytes, what, lost, todo } = finding;
    json!({
        "gravity": word(*gravity),
        "path": path,
        "line": line,
        "offset": bytes.as_ref().map(|bytes| bytes.start),
        "length": bytes.as_ref().map(ExactSizeIterator::len),
        "what": what,
        "lost": lost,
        "todo": todo,
    })
}
