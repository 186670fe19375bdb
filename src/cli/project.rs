//! `sonomark project`: which clips the project holds work on, and how far they are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::Settings;
use crate::domain::{counted, shown};
use crate::project::{ClipSummary, Onlooker, list_clips};

use super::progress::{Only, Progress};
use super::told::{JsonRows, nobody_reads};
use super::{
    Command, Done, Failure, check, interrupt_flag, interrupted, path_shown, print, rename, tell,
};

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The project, instead of --project DIR
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
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

/// Runs it. The folder is the project of the settings, see [`meant`].
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
    list(settings, &clips, options)
}

/// Prints how far the clips are, each as soon as it is read. Ctrl-C ends it after the clip in hand; also then the JSON is a
/// whole document.
fn list(settings: &Settings, clips: &[ClipSummary], options: &Options) -> Done {
    let cancel = interrupt_flag()?;
    let mut onlooker = Onlooker::new(&settings.project.value);
    let (mut rows, mut read, mut listed) = (JsonRows::default(), 0, 0);
    let mut unasked = BTreeSet::new();
    let mut unread = 0;
    for clip in clips.iter().take_while(|_| !interrupted(&cancel) && !nobody_reads()) {
        read += 1;
        // One that cannot be read hides no other.
        let progress = match Progress::of(&mut onlooker, clip) {
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
            true => rows.push(&progress.json(clip)),
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
    let all = counted(clips.len(), "clip");
    if options.json {
        rows.end();
    } else if options.only.is_some() {
        tell(&format!("{listed} of {all}"));
    }
    if interrupted(&cancel) && read < clips.len() {
        return Err(Failure::Interrupted(format!(
            "interrupted after {read} of {all}; run it again"
        )));
    }
    if unread > 0 {
        return Err(Failure::Some(format!("{unread} of {all} could not be read, as told above")));
    }
    Ok(())
}

/// The folder that a command line means: `project DIR`, or what `--project` names.
///
/// # Errors
/// Where both name one, and not the same.
pub(super) fn meant(
    command: Option<&Command>,
    flag: Option<PathBuf>,
) -> Result<Option<PathBuf>, Failure> {
    let Some(Command::Project(Options { dir: Some(dir), .. })) = command else {
        return Ok(flag);
    };
    flag.map_or(Ok(()), |flag| one_project(dir, &flag))?;
    Ok(Some(dir.clone()))
}

/// That a folder which a command is given is the one that `--project` names beside it.
///
/// # Errors
/// Where they are two.
pub(super) fn one_project(given: &Path, flag: &Path) -> Done {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if real(given) == real(flag) {
        return Ok(());
    }
    Err(Failure::Input(format!(
        "two projects are named, {} and --project {}; leave one of them out",
        path_shown(given),
        path_shown(flag)
    )))
}
