//! `sonomark project`: which clips the project holds work on, and how far they are.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::Value;

use crate::config::Settings;
use crate::domain::{counted, shown};
use crate::project::list_clips;

use super::progress::{Only, Progress};
use super::{Done, Failure, check, path_shown, print, print_json, rename, tell};

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// List only these clips
    #[arg(long, value_enum, value_name = "WHICH")]
    only: Option<Only>,
    /// Read every line of every journal and tell what is damaged, what is lost with it and what to do
    #[arg(long, conflicts_with_all = ["only", "rename"])]
    check: bool,
    /// Give the structures called OLD in every clip the label NEW
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], conflicts_with_all = ["json", "only"])]
    rename: Vec<String>,
    /// With --rename: say what would get another label, and change nothing
    #[arg(long, requires = "rename")]
    dry_run: bool,
}

/// Runs it. The folder comes from the global `--project`.
pub(super) fn run(settings: &Settings, options: &Options) -> Done {
    let root = &settings.project.value;
    if !root.exists() {
        let root = path_shown(root);
        return Err(Failure::Input(format!(
            "there is no project {root} yet; it is made when a clip is annotated"
        )));
    }
    let clips = list_clips(root).map_err(Failure::input)?;
    match &options.rename[..] {
        [] if options.check => return check::run(root, &clips, options.json),
        [] => {}
        [old, new] => return rename::run(settings, &clips, (old, new), options.dry_run),
        _ => return Err(Failure::Input("give one --rename OLD NEW at a time".into())),
    }
    let (mut rows, mut listed) = (Vec::new(), 0);
    let mut unasked = BTreeSet::new();
    let mut unread = 0;
    for clip in &clips {
        // One that cannot be read hides no other.
        let progress = match Progress::of(root, clip) {
            Ok(progress) => progress,
            Err(error) => {
                tell(&error.to_string());
                unread += 1;
                continue;
            }
        };
        // Also of one that is left out: what is damaged may be why.
        progress.loaded.notes.iter().for_each(|note| tell(note));
        if options.only.is_some_and(|only| !progress.fits(only)) {
            continue;
        }
        listed += 1;
        let labels = progress.loaded.annotation.tracks.values().map(|track| &track.info.label);
        let asked = |label: &str| settings.asked.label(label).is_some();
        unasked.extend(labels.filter(|label| !asked(label)).map(|label| shown(label)));
        match options.json {
            true => rows.push(progress.json(clip)),
            false => print(&progress.line(clip)),
        }
    }
    if !settings.asked.labels.is_empty() && !unasked.is_empty() {
        let unasked = unasked.into_iter().collect::<Vec<_>>().join(", ");
        tell(&format!(
            "the schema has no label {unasked}; `sonomark project --rename OLD NEW` gives a label another name \
             in every clip"
        ));
    }
    if options.json {
        print_json(&Value::Array(rows));
    } else if options.only.is_some() {
        tell(&format!("{listed} of {}", counted(clips.len(), "clip")));
    }
    if unread > 0 {
        let all = counted(clips.len(), "clip");
        return Err(Failure::Some(format!("{unread} of {all} could not be read, as told above")));
    }
    Ok(())
}
