//! `sonomark export`: annotations become files of other programs.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clap::Args;

use crate::codec::part::sweep_folder;
use crate::codec::{Clip, Privacy};
use crate::config::{Origin, Settings};
use crate::domain::{Annotation, ClipInfo, Codes, DicomOrigin, counted, shown};
use crate::engine::{export_clip, export_name, format_named, key_for};
use crate::export::{ExportFormat, FrameReader, Job, Rgb, mapped};
use crate::project::{ClipSummary, Onlooker, ProjectError, list_clips, uid_key};

use super::progress::{Only, Progress};
use super::project::one_project;
use super::{Done, Failure, interrupt_flag, interrupted, open_clip, path_shown, tell};

/// Why nothing can be done with a clip whose `clip.json` is not to be read, and what to do.
pub(super) const NO_CLIP_JSON: &str = "its clip.json cannot be read; open the clip once with sonomark, which writes it \
                                       anew or says why not";

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// A clip, or a project folder for everything in it
    source: PathBuf,
    /// What to write
    #[arg(long, value_parser = format_named, long_help = formats_help())]
    format: ExportFormat,
    /// File or folder to write; of a project: folder with one entry for each clip
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Of a project only these clips
    #[arg(long, value_enum, value_name = "WHICH")]
    only: Option<Only>,
    /// Leave out masks that no person accepted or drew
    #[arg(long)]
    accepted: bool,
    /// Map DICOM identifiers as the project's de-identified clips (dicom) have them, with the same --outside; of one clip,
    /// not of a project
    #[arg(long)]
    deidentify: bool,
    /// The annotation as it stood after a change, by its number in `sonomark log`; of one clip, not of a project
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    at: Option<u64>,
}

/// Runs it. Ctrl-C ends it at the mask or frame in hand, and no half of a file is left.
pub(super) fn run(settings: &Settings, options: &Options) -> Done {
    if is_project(&options.source) {
        if matches!(settings.project.origin, Origin::Flag(_)) {
            one_project(&options.source, &settings.project.value)?;
        }
        if options.deidentify {
            let project = path_shown(&options.source);
            return Err(Failure::Input(format!(
                "--deidentify is for one clip, and {project} is a project: identifiers are mapped from \
                 the clips themselves, which a project does not hold; export them one by one: \
                 sonomark --project {project} export CLIP --deidentify --format FORMAT --out PATH"
            )));
        }
        if options.at.is_some() {
            let project = path_shown(&options.source);
            return Err(Failure::Input(format!(
                "--at is for one clip, and {project} is a project, each clip of which counts its own changes; \
                 `sonomark log CLIP` tells their numbers"
            )));
        }
        return whole_project(settings, options);
    }
    if options.only.is_some() {
        let source = path_shown(&options.source);
        return Err(Failure::Input(format!(
            "--only is for projects, and {source} is none; leave it out to export this clip"
        )));
    }
    let clip = open_clip(settings, &options.source)?;
    let cancel = interrupt_flag()?;
    let project = &settings.project.value;
    let frames = |frame| clip.frame(frame).map_err(|error| error.to_string());
    let frames: Option<&FrameReader> = Some(&frames);
    let mut origin = clip.dicom_origin();
    let key = key_for(options.format, project).map_err(Failure::Input)?;
    if options.deidentify && key.is_none() {
        let key = uid_key(project).map_err(Failure::input)?;
        origin = Some(mapped(origin.as_ref(), clip.info(), &clip.privacy(), &key));
    }
    let (codes, colours) = (settings.asked.codes(), settings.asked.colours);
    let privacy = Some(clip.privacy());
    let info = clip.info();
    let clip = Some(&clip);
    let source = Source { info, frames, origin, codes, colours, privacy, key, clip };
    let done = one(&mut Onlooker::new(project), source, options, &options.out, &cancel);
    done.map_err(|why| match interrupted(&cancel) {
        true => broken_off(&options.out),
        false => Failure::Input(why),
    })
}

/// How an export ends that Ctrl-C ended.
fn broken_off(out: &Path) -> Failure {
    Failure::Interrupted(format!("interrupted; {} is not complete", path_shown(out)))
}

/// The table of formats.
pub(super) fn formats_help() -> String {
    let rows = ExportFormat::all().map(|(_, name, about)| format!("\n  {name:<20} {about}"));
    format!("What to write:{}", rows.collect::<String>())
}

/// Whether a folder is a project.
pub(super) fn is_project(path: &Path) -> bool {
    path.join("FORMAT").is_file() && path.join("clips").is_dir()
}

/// A clip, as much of it as is at hand.
struct Source<'a> {
    info: &'a ClipInfo,
    frames: Option<&'a FrameReader<'a>>,
    origin: Option<DicomOrigin>,
    codes: Codes,
    colours: [Option<Rgb>; 8],
    privacy: Option<Privacy>,
    key: Option<[u8; 32]>,
    clip: Option<&'a Clip>,
}

/// Exports one clip to `out`, until `stop` is raised.
fn one(
    project: &mut Onlooker,
    source: Source,
    options: &Options,
    out: &Path,
    stop: &AtomicBool,
) -> Result<(), String> {
    let Source { info, frames, origin, codes, colours, privacy, key, clip } = source;
    let until = options.at.unwrap_or(u64::MAX);
    let (annotation, position) = match project.load_until(&info.content_hash, until) {
        Ok(loaded) if options.at.is_some_and(|at| at > loaded.position) => {
            return Err(format!(
                "the last change of {} is number {}; `sonomark log` tells them all",
                shown(&info.name),
                loaded.position
            ));
        }
        Ok(loaded) => {
            loaded.notes.iter().for_each(|note| tell(note));
            (loaded.annotation, Some(loaded.position))
        }
        // The clip itself needs no work on it.
        Err(ProjectError::NoSuchClip { .. }) if key.is_some() => Default::default(),
        Err(ProjectError::NoSuchClip { path, .. }) => {
            return Err(format!(
                "the project {path} has nothing of {} yet; annotate it first, or name the project \
                 that has with --project",
                shown(&info.name)
            ));
        }
        Err(error) => return Err(error.to_string()),
    };
    let accepted = options.accepted;
    if accepted && key.is_none() && holds_undecided_alone(&annotation) {
        return Err(format!(
            "no mask of {} is accepted; accept masks on the screen, or leave out --accepted",
            shown(&info.name)
        ));
    }
    let new = Job::new(&annotation, info);
    let stop = Some(stop);
    let job =
        Job { position, frames, origin, codes, colours, privacy, key, clip, accepted, stop, ..new };
    // Of a whole project the clips themselves are not at hand.
    let job = Job { among_many: clip.is_none(), ..job };
    let what = export_clip(&job, options.format, out).map_err(|error| error.to_string())?;
    tell(&format!("{}: {what}", path_shown(out)));
    Ok(())
}

/// Whether there are masks inside windows, and nobody accepted one of them.
fn holds_undecided_alone(annotation: &Annotation) -> bool {
    let mut said = annotation.visible();
    said.leave_accepted() > 0 && said.masks() == 0
}

/// The clips of a project that are meant.
fn clips_of(project: &Path, only: Option<Only>) -> Result<Vec<ClipSummary>, Failure> {
    let mut clips = list_clips(project).map_err(Failure::input)?;
    let all = clips.len();
    if all == 0 {
        let project = path_shown(project);
        return Err(Failure::Input(format!("the project {project} holds no clip yet")));
    }
    let Some(only) = only else { return Ok(clips) };
    let mut onlooker = Onlooker::new(project);
    clips.retain(|clip| match Progress::of(&mut onlooker, clip) {
        // Its export tells why.
        Err(_) => true,
        Ok(held) => {
            let fits = held.fits(only);
            if !fits {
                // What is damaged may be why.
                held.loaded.notes.iter().for_each(|note| tell(note));
            }
            fits
        }
    });
    if clips.is_empty() {
        let project = path_shown(project);
        return Err(Failure::Input(format!(
            "the project {project} holds {}, and --only asks for none of them; `sonomark project` tells how far they \
             are",
            counted(all, "clip")
        )));
    }
    if clips.len() < all {
        tell(&format!(
            "{} of {} left out, as --only asks",
            all - clips.len(),
            counted(all, "clip")
        ));
    }
    Ok(clips)
}

fn whole_project(settings: &Settings, options: &Options) -> Done {
    // Until something is written, Ctrl-C simply ends it.
    let clips = clips_of(&options.source, options.only)?;
    let cancel = interrupt_flag()?;
    sweep_folder(&options.out);
    let mut onlooker = Onlooker::new(&options.source);
    let mut failed = 0;
    for clip in &clips {
        if interrupted(&cancel) {
            return Err(broken_off(&options.out));
        }
        let done = match &clip.info {
            Some(info) => {
                let out = options.out.join(export_name(info, options.format));
                one(
                    &mut onlooker,
                    Source {
                        info,
                        frames: None,
                        origin: None,
                        codes: settings.asked.codes(),
                        colours: settings.asked.colours,
                        privacy: None,
                        key: None,
                        clip: None,
                    },
                    options,
                    &out,
                    &cancel,
                )
            }
            None => Err(format!("{}: {NO_CLIP_JSON}", shown(&clip.hash.0))),
        };
        if let Err(why) = done {
            if interrupted(&cancel) {
                return Err(broken_off(&options.out));
            }
            tell(&why);
            failed += 1;
        }
    }
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::Some(format!("{failed} of {} not exported", counted(clips.len(), "clip"))))
}
