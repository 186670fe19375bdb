//! `sonomark project`: which clips the project holds work on.

use clap::Args;
use serde_json::{Value, json};

use crate::config::Settings;
use crate::domain::{counted, shown};
use crate::project::{ClipSummary, list_clips, load_read_only};

use super::{Done, Failure, path_shown, print, print_json, tell};

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
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
    let mut rows = Vec::with_capacity(clips.len());
    for clip in &clips {
        let loaded = load_read_only(root, &clip.hash).map_err(Failure::input)?;
        let tracks = loaded.annotation.tracks.values();
        let labels: Vec<String> = tracks.clone().map(|track| shown(&track.info.label)).collect();
        let masks: usize = tracks.map(|track| track.masks.len()).sum();
        if !options.json {
            loaded.notes.iter().for_each(|note| tell(note));
            let finished = loaded.view.is_some_and(|view| view.finished);
            let end = if finished { "  finished" } else { "" };
            print(&format!("{}{end}", line(clip, &labels, masks)));
        }
        rows.push(json!({
            "content_hash": clip.hash.0,
            "name": clip.info.as_ref().map(|info| &info.name),
            "frames": clip.info.as_ref().map(|info| info.frames),
            "labels": labels,
            "masks": masks,
            "finished": loaded.view.is_some_and(|view| view.finished),
            "journals": clip.journals,
            "notes": loaded.notes,
        }));
    }
    if options.json {
        print_json(&Value::Array(rows));
    }
    Ok(())
}

fn line(clip: &ClipSummary, labels: &[String], masks: usize) -> String {
    let name = clip
        .info
        .as_ref()
        .map_or("(clip.json is damaged or of a newer sonomark)".into(), |i| shown(&i.name));
    let frames = clip.info.as_ref().map_or(0, |info| info.frames);
    let labels = if labels.is_empty() { "no structure".into() } else { labels.join(", ") };
    format!(
        "{}  {name}  {}  {labels}  {}",
        clip.hash.short(),
        counted(frames, "frame"),
        counted(masks, "mask")
    )
}
