//! `sonomark [annotate] PATH...`: the screen.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use clap::Args;

use crate::codec::{OpenOptions, clips_of};
use crate::config::Settings;
use crate::engine::{SegmenterSource, Session, Shelf};
use crate::tui::model::Msg;
use crate::tui::{self, Start, TuiError};

use super::{Done, Failure, clip_options, meant_command, path_shown};

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Clips: images, folders of frames, DICOM, videos, volumes
    #[arg(value_name = "CLIP")]
    clips: Vec<PathBuf>,
}

impl Options {
    /// True when no clip is given.
    pub(super) fn is_empty(&self) -> bool {
        self.clips.is_empty()
    }
}

/// Runs it.
pub(super) fn run(settings: &Settings, options: &Options) -> Done {
    if options.is_empty() {
        return Err(Failure::Input("give a clip to annotate, or try `sonomark demo`".into()));
    }
    if let Some(missing) = options.clips.iter().find(|path| !path.exists()) {
        let word = missing.to_string_lossy();
        let hint = meant_command(&word)
            .map_or("check the path".to_owned(), |name| format!("did you mean `sonomark {name}`?"));
        return Err(Failure::Input(format!("there is no {}; {hint}", path_shown(missing))));
    }
    let listed = |path: &PathBuf| match settings.series {
        Some(_) => vec![path.clone()],
        None => clips_of(path),
    };
    let clips = without_masks(options.clips.iter().flat_map(listed).collect());
    Ok(screen(settings, clips, None)?)
}

/// Masks that lie beside their pictures (`NAME.mask.png` beside `NAME.png`) are no clips of their own, though `FOLDER/*.png`
/// names them, too.
fn without_masks(mut clips: Vec<PathBuf>) -> Vec<PathBuf> {
    let picture = |clip: &PathBuf| {
        let mask = clip.with_extension("");
        let is_mask = clip.extension()? == "png" && mask.extension()? == "mask";
        is_mask.then(|| mask.with_extension(""))
    };
    let shown = clips.iter().filter(|clip| picture(clip).is_none());
    let shown: HashSet<PathBuf> = shown.map(|clip| clip.with_extension("")).collect();
    clips.retain(|clip| picture(clip).is_none_or(|of| !shown.contains(&of)));
    clips
}

/// Something that wants to tell the screen of new clips.
pub(super) type Attach<'a> = Box<dyn FnOnce(Sender<Msg>) + 'a>;

/// Runs the screen on `clips`.
///
/// # Errors
/// No clip opens, or there is no terminal.
pub(super) fn screen(
    settings: &Settings,
    clips: Vec<PathBuf>,
    attach: Option<Attach<'_>>,
) -> Result<(), TuiError> {
    run_screen(settings, clips, attach, Shows::Clips)
}

/// Runs the screen on the shipped clip, with the `lesson` beside the picture or without it.
///
/// # Errors
/// The clip does not open, or there is no terminal.
pub(super) fn shipped(settings: &Settings, clip: PathBuf, lesson: bool) -> Done {
    Ok(run_screen(settings, vec![clip], None, Shows::Shipped { lesson })?)
}

/// What the screen shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// Clips of which nothing is known.
    Clips,
    /// The shipped one.
    Shipped { lesson: bool },
}

/// How a command ends whose screen did not open.
impl From<TuiError> for Failure {
    fn from(error: TuiError) -> Self {
        Self::input(error)
    }
}

fn run_screen(
    settings: &Settings,
    clips: Vec<PathBuf>,
    attach: Option<Attach<'_>>,
    shows: Shows,
) -> Result<(), TuiError> {
    let (own, shelf) = (settings.clone(), Shelf::default());
    let start = Start {
        clips,
        open: Arc::new(move |path: &Path, cut, events: Sender<Msg>| {
            let net = SegmenterSource::Net {
                card: own.card.value.clone(),
                device: own.device.value.clone(),
                features_mib: own.features_mib.value,
                shelf: shelf.clone(),
            };
            let (cut, clean) = (own.cut.then(cut), shows != Shows::Clips);
            let options = OpenOptions { cut, clean, ..clip_options(&own) };
            let opened = Session::open_with(path, &options, &own.project.value, net, events);
            opened.map(|(mut session, opened)| {
                session.set_schema(own.asked.codes(), own.asked.colours);
                (session, opened)
            })
        }),
        settings,
        lesson: shows == Shows::Shipped { lesson: true },
        attach,
    };
    // A lost terminal is no failure: what was running is finished or stopped as set, and
    // everything is in the journal.
    tui::run(start).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_beside_their_pictures_are_no_clips() {
        let clips = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let given = clips(&[
            "a/1.mask.png",
            "a/1.png",
            "a/2.mask.png",
            "b/2.png",
            "a/3.jpg",
            "a/3.mask.png",
        ]);
        assert_eq!(without_masks(given), clips(&["a/1.png", "a/2.mask.png", "b/2.png", "a/3.jpg"]));
    }
}
