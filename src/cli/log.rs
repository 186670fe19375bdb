//! `sonomark log`: the history of a clip out of its journals, one line for each step.
//!
//! A command of its own and no flag of `project`, since it is about one clip and takes what `export` takes: the clip and
//! the flags that say which of a volume is meant.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::config::Settings;
use crate::domain::{ContentHash, Mark, counted, frames_named, nearest_word, shown};
use crate::project::{
    ClipSummary, Logged, LoggedStep, ProjectError, Standing, list_clips, log, moment,
};

use super::export::is_project;
use super::{Done, Failure, open_clip, path_shown, print, print_json, tell};

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// A clip, or the beginning of its content hash as `sonomark project` lists it, where the clip is not at hand
    clip: PathBuf,
    /// Only so many of the newest steps, newest first
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// Only steps on structures of this label, or that once had it
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,
    /// Only steps that change this frame, from 1 on, as the screen and the words of the log count
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    frame: Option<u64>,
    /// Print JSON; frames in it count from 0
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(super) fn run(settings: &Settings, options: &Options) -> Done {
    let root = &settings.project.value;
    let hash = clip_meant(settings, options)?;
    let logged = log(root, &hash).map_err(|error| match error {
        ProjectError::NoSuchClip { path, .. } => Failure::Input(format!(
            "the project {path} has nothing of {} yet; annotate it first, or name the project that has with --project",
            path_shown(&options.clip)
        )),
        error => Failure::input(error),
    })?;
    logged.notes.iter().for_each(|note| tell(note));
    let mut steps = meant(&logged, options)?;
    if let Some(last) = options.last {
        steps.reverse();
        steps.truncate(last);
    }
    if options.json {
        print_json(&json!({
            "content_hash": hash.0,
            "steps": steps.iter().map(|step| step_json(step)).collect::<Vec<_>>(),
            "notes": logged.notes,
        }));
        return Ok(());
    }
    steps.iter().for_each(|step| print(&line(step)));
    if steps.len() < logged.steps.len() {
        tell(&format!("{} of {}", steps.len(), counted(logged.steps.len(), "step")));
    }
    Ok(())
}

/// The clip that is meant.
fn clip_meant(settings: &Settings, options: &Options) -> Result<ContentHash, Failure> {
    if is_project(&options.clip) {
        let project = path_shown(&options.clip);
        return Err(Failure::Input(format!(
            "{project} is a project, and the log is that of one clip; `sonomark project {project}` lists its clips, and \
             `sonomark log HASH --project {project}` tells what was done on one of them"
        )));
    }
    let start = options
        .clip
        .to_str()
        .filter(|text| text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let Some(start) = start.filter(|_| !options.clip.exists()) else {
        return Ok(open_clip(settings, &options.clip)?.info().content_hash.clone());
    };
    let clips = list_clips(&settings.project.value).map_err(Failure::input)?;
    let fits = |clip: &&ClipSummary| clip.hash.0.starts_with(start);
    match &clips.iter().filter(fits).collect::<Vec<_>>()[..] {
        [clip] => Ok(clip.hash.clone()),
        [] => Err(Failure::Input(format!(
            "there is no file {start}, and the project {} holds no clip whose content hash begins so; \
             `sonomark project` lists its clips",
            path_shown(&settings.project.value)
        ))),
        several => Err(Failure::Input(format!(
            "{} begin with {start}; give more of the content hash",
            counted(several.len(), "clip")
        ))),
    }
}

/// The steps that are asked for, oldest first.
fn meant<'a>(logged: &'a Logged, options: &Options) -> Result<Vec<&'a LoggedStep>, Failure> {
    let mut steps: Vec<&LoggedStep> = logged.steps.iter().collect();
    if let Some(label) = &options.label {
        let tracks = logged.called(label);
        if tracks.is_empty() {
            return Err(Failure::Input(unknown(label, logged)));
        }
        steps.retain(|step| step.structures.keys().any(|track| tracks.contains(track)));
    }
    if let Some(number) = options.frame {
        let frame = usize::try_from(number - 1).unwrap_or(usize::MAX);
        steps.retain(|step| step.frames.contains(&frame));
    }
    Ok(steps)
}

/// That no structure was ever called so, and what was probably meant.
fn unknown(label: &str, logged: &Logged) -> String {
    let then = logged.steps.iter().flat_map(|step| step.structures.values());
    let known: BTreeSet<&str> = then.chain(logged.labels.values()).map(String::as_str).collect();
    let hint = match nearest_word(label, known.iter().copied()) {
        Some(near) => format!("did you mean {}?", shown(near)),
        None => "leave out --label to see all".to_owned(),
    };
    format!("no structure of the clip was ever called {}; {hint}", shown(label))
}

/// One line for people.
fn line(step: &LoggedStep) -> String {
    let who = match (step.user.as_str(), step.host.as_str()) {
        ("", _) | (_, "") => shown(&step.session),
        (user, host) => format!("{} on {}", shown(user), shown(host)),
    };
    let structures = structures(step);
    let structures =
        if structures.is_empty() { "the clip".to_owned() } else { structures.join(", ") };
    let deed = told(step);
    // A deed on one frame names it.
    let frames = match step.frames.len() {
        1 if deed.contains(&format!(" on {}", frames_named(&step.frames))) => String::new(),
        0 => String::new(),
        _ => format!("  {}", frames_named(&step.frames)),
    };
    let standing = match step.standing {
        Standing::Stands => "",
        Standing::TakenBack => "  (taken back later)",
        Standing::WithoutEffect => "  (without effect)",
    };
    let when = moment(step.time_ms);
    format!("{}  {when}  {who}  {structures}  {deed}{frames}{standing}", step.number)
}

/// The labels of its structures; an empty one where the step that named it is lost.
fn structures(step: &LoggedStep) -> Vec<String> {
    let named = step.structures.values().map(|label| match label.is_empty() {
        true => "a structure whose beginning is lost".to_owned(),
        false => shown(label),
    });
    named.collect()
}

/// What was done, in the words of the screen.
fn told(step: &LoggedStep) -> String {
    let deed = step.deed.as_deref().unwrap_or("no change");
    match step.mark {
        Mark::Do => deed.to_owned(),
        Mark::Undo => format!("taken back: {deed}"),
        Mark::Redo => format!("done again: {deed}"),
    }
}

/// The same for programs.
fn step_json(step: &LoggedStep) -> Value {
    json!({
        "number": step.number,
        "time": moment(step.time_ms),
        "time_ms": step.time_ms,
        "user": step.user,
        "host": step.host,
        "session": step.session,
        "line": step.line,
        "mark": step.mark,
        "structures": step.structures.values().collect::<Vec<_>>(),
        "frames": step.frames,
        "deed": told(step),
        "taken_back": step.standing == Standing::TakenBack,
        "without_effect": step.standing == Standing::WithoutEffect,
    })
}
