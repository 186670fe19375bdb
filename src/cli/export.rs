//! `sonomark export`: annotations become files of other programs.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::codec;
use crate::config::Settings;
use crate::domain::{ClipInfo, shown};
use crate::engine::{export_clip, export_name, format_named};
use crate::export::ExportFormat;
use crate::project::{list_clips, load_read_only};

use super::{Done, Failure, path_shown, tell};

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// A clip, or a project folder for everything in it
    source: PathBuf,
    /// What to write: png (folder of masks) or coco (one JSON file)
    #[arg(long, value_parser = format_named)]
    format: ExportFormat,
    /// File or folder to write; of a project: folder with one entry for each clip
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
}

/// Runs it.
pub(super) fn run(settings: &Settings, options: &Options) -> Done {
    if is_project(&options.source) {
        return whole_project(options);
    }
    let clip =
        codec::open(&options.source, &codec::OpenOptions::default()).map_err(Failure::input)?;
    one(&settings.project.value, clip.info(), options.format, &options.out).map_err(Failure::Input)
}

fn is_project(path: &Path) -> bool {
    path.join("FORMAT").is_file() && path.join("clips").is_dir()
}

fn one(project: &Path, info: &ClipInfo, format: ExportFormat, out: &Path) -> Result<(), String> {
    let loaded = load_read_only(project, &info.content_hash).map_err(|error| error.to_string())?;
    for note in &loaded.notes {
        tell(note);
    }
    let what = export_clip(info, &loaded.annotation, format, out)?;
    tell(&format!("{}: {what}", path_shown(out)));
    Ok(())
}

fn whole_project(options: &Options) -> Done {
    let clips = list_clips(&options.source).map_err(Failure::input)?;
    if clips.is_empty() {
        let project = path_shown(&options.source);
        return Err(Failure::Input(format!("the project {project} holds no clip yet")));
    }
    let mut failed = 0;
    for clip in &clips {
        let done = match &clip.info {
            Some(info) => {
                let out = options.out.join(export_name(info, options.format));
                one(&options.source, info, options.format, &out)
            }
            None => Err(format!(
                "{}: its clip.json cannot be read; open the clip once with sonomark to write it anew",
                shown(&clip.hash.0)
            )),
        };
        if let Err(why) = done {
            tell(&why);
            failed += 1;
        }
    }
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::Some(format!("{failed} of {} clips were not exported", clips.len())))
}
