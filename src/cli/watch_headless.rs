//! `sonomark watch --headless`: clips with a prompts file beside them are segmented.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use crate::codec::{self, Clip};
use crate::config::Settings;
use crate::domain::{Annotation, Track, counted, shown};
use crate::engine::{Ended, Segmenter, export_name};
use crate::export::ExportFormat;
use crate::project::{Found, ProjectError, load_read_only};

use super::devices::{load_on_cpu, load_timed, or_on_the_cpu};
use super::headless::{REPORT, TrackReport, make_folder, mask_path, report_json, write_json};
use super::propagate::{decide_clip, files_of, take_away};
use super::watch::{LOOK, Options};
use super::watch_tracks::{Desk, Held, has_gaps};
use super::{Done, Failure, interrupt_flag, interrupted, open_clip, path_shown, prompts, tell};

/// A prompts file must be as old as this: it may still be being written.
const PROMPTS_SETTLE: Duration = Duration::from_secs(1);

/// What became of a clip. Its prompts file is looked at for changes whatever that is, but for one that was refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Its prompts have not come.
    Waits,
    Done,
    /// The network had nothing to do: everything is there, or a person has to say what holds.
    LeftAlone,
    Failed,
    /// It is no clip as it is; prompts do not change that.
    Refused,
}

struct Known {
    outcome: Outcome,
    /// The prompts file that was worked through and when it had changed.
    tried: Option<(PathBuf, SystemTime)>,
}

/// Runs it until Ctrl-C, or until nothing has come for as long as `options` say.
pub(super) fn run(settings: &Settings, options: &Options, found: &Receiver<Found>) -> Done {
    let cancel = interrupt_flag()?;
    let network = load_timed(settings)?;
    let mut work =
        Work { settings, options, network, desk: Desk::default(), clips: BTreeMap::new() };
    let mut busy = Instant::now();
    let mut look_at = Instant::now();
    while !interrupted(&cancel) {
        match found.recv_timeout(look_at.saturating_duration_since(Instant::now())) {
            Ok(found) => {
                work.note(found);
                busy = Instant::now();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::Ours("the watching thread ended".into()));
            }
        }
        // All clips in one look: a look for every find would take their square.
        if Instant::now() < look_at {
            continue;
        }
        let began = Instant::now();
        let news = work.look(&cancel);
        if news {
            busy = Instant::now();
        }
        look_at = Instant::now() + until_next(began.elapsed(), news);
        if options.idle_exit.is_some_and(|limit| busy.elapsed().as_secs_f64() >= limit) {
            break;
        }
    }
    work.end(interrupted(&cancel))
}

/// Time until the next look after one that took so long. One that found nothing has looked for the prompts of every clip,
/// which is never more than a twentieth of the time; one with news has segmented.
fn until_next(took: Duration, news: bool) -> Duration {
    if news { LOOK } else { LOOK.max(took * 20) }
}

struct Work<'a> {
    settings: &'a Settings,
    options: &'a Options,
    network: Box<dyn Segmenter>,
    desk: Desk,
    clips: BTreeMap<PathBuf, Known>,
}

impl Work<'_> {
    fn note(&mut self, found: Found) {
        let (path, outcome) = match found {
            Found::Clip(path) => {
                if ready_prompts(&path).is_none() {
                    let wanted = path_shown(&prompts_paths(&path)[1]);
                    tell(&format!("{}: waits for {wanted}", path_shown(&path)));
                }
                (path, Outcome::Waits)
            }
            Found::Refused { path, why } => {
                tell(&format!("{}: refused, {}", path_shown(&path), shown(&why)));
                (path, Outcome::Refused)
            }
        };
        self.clips.insert(path, Known { outcome, tried: None });
    }

    /// Segments every clip whose prompts came or changed; whether there was one.
    fn look(&mut self, cancel: &AtomicBool) -> bool {
        let clips = self.clips.iter().filter(|(_, known)| known.outcome != Outcome::Refused);
        let news = clips.filter_map(|(path, known)| {
            let ready = ready_prompts(path)?;
            (known.tried.as_ref() != Some(&ready)).then(|| (path.clone(), ready))
        });
        let news: Vec<_> = news.collect();
        for (path, ready) in &news {
            if interrupted(cancel) {
                break;
            }
            let outcome = self.take(path, &ready.0, cancel);
            self.clips.insert(path.clone(), Known { outcome, tried: Some(ready.clone()) });
        }
        !news.is_empty()
    }

    /// Segments one clip and tells how that ended.
    fn take(&mut self, path: &Path, prompts: &Path, cancel: &AtomicBool) -> Outcome {
        let (outcome, what) = match self.segment(path, prompts, cancel) {
            Ok(Some(what)) => (Outcome::Done, what),
            Ok(None) => {
                // What was segmented by this command stays so, whatever came of a later look.
                let done = self.clips.get(path).is_some_and(|known| known.outcome == Outcome::Done);
                let outcome = if done { Outcome::Done } else { Outcome::LeftAlone };
                (outcome, "nothing new".to_owned())
            }
            Err(failure) => (Outcome::Failed, failure.sentence().to_owned()),
        };
        tell(&format!("{}: {what}", path_shown(path)));
        outcome
    }

    /// What was segmented, for people; `None` where the network has nothing to do.
    fn segment(
        &mut self,
        path: &Path,
        prompts: &Path,
        cancel: &AtomicBool,
    ) -> Result<Option<String>, Failure> {
        refuse_shared(path, prompts)?;
        let open = || open_clip(self.settings, path);
        let clip = Arc::new(open()?);
        let mut tracks = prompts::read_regular(prompts, clip.info()).map_err(Failure::input)?;
        let out = self.options.out.as_ref();
        let out = out.map(|out| out.join(export_name(clip.info(), ExportFormat::Png)));
        let now = self.in_project(&clip)?;
        self.desk.remember(&clip.info().content_hash, &now, &tracks);
        tracks.retain(|track| !self.is_left_alone(path, &clip, &now, track));
        if !tracks.iter().any(|track| self.is_new(&clip, &now, track, out.as_deref())) {
            return Ok(None);
        }
        if let Some(out) = &out {
            make_folder(out)?;
            // Of masks for other prompts none stays beside the new ones.
            take_away(&files_of(out, tracks.iter().map(|track| track.info.label.as_str()))?)?;
        }
        let (settings, out) = (self.settings, out.as_deref());
        let work = |network: &mut dyn Segmenter| decide_clip(network, &clip, &tracks, out, cancel);
        let reports = or_on_the_cpu(&mut self.network, || load_on_cpu(settings), work)?;
        if open()?.info().content_hash != clip.info().content_hash {
            return Err(Failure::Input(
                "it changed while it was segmented; it is taken again when it settles".into(),
            ));
        }
        if let Some(out) = &out {
            write_json(&out.join(REPORT), &report_json(&clip, &*self.network, &reports))?;
        }
        self.desk.journal(&self.settings.project.value, &clip, &reports)?;
        told(path, &reports).map(Some)
    }

    /// What the project holds of `clip`.
    fn in_project(&self, clip: &Clip) -> Result<Annotation, Failure> {
        match load_read_only(&self.settings.project.value, &clip.info().content_hash) {
            Ok(loaded) => Ok(loaded.annotation),
            Err(ProjectError::NoSuchClip { .. }) => Ok(Annotation::default()),
            Err(error) => Err(Failure::input(error)),
        }
    }

    /// Whether a person has to bring the prompts of `track` in; they are told so.
    fn is_left_alone(&self, path: &Path, clip: &Clip, now: &Annotation, track: &Track) -> bool {
        let foreign = self.desk.held(&clip.info().content_hash, now, track) == Held::Foreign;
        if foreign {
            tell(&format!(
                "{}: \"{}\" is left alone, the project holds it with other prompts; correct it on \
                 the screen, or remove it there to take it from the file",
                path_shown(path),
                shown(&track.info.label)
            ));
        }
        foreign
    }

    /// Whether the network has something to do for `track`, in the project or in `out`.
    fn is_new(&self, clip: &Clip, now: &Annotation, track: &Track, out: Option<&Path>) -> bool {
        let info = clip.info();
        let unwritten = |out: &Path| {
            let folder = out.join(&track.info.label);
            (0..info.frames).any(|frame| !mask_path(&folder, frame).exists())
        };
        match self.desk.held(&info.content_hash, now, track) {
            Held::Same(id) if !has_gaps(&now.tracks[&id], info.frames) => {
                out.is_some_and(unwritten)
            }
            _ => true,
        }
    }

    fn end(&self, cut: bool) -> Done {
        let count = |outcome| self.clips.values().filter(|known| known.outcome == outcome).count();
        let done = count(Outcome::Done);
        let failed = count(Outcome::Failed) + count(Outcome::Refused);
        let total = done + failed;
        let clips = counted(total, "clip");
        let (mut told, more) = match total {
            0 => ("no clip segmented".to_owned(), ""),
            _ => (format!("{done} of {clips} segmented"), " more"),
        };
        match count(Outcome::LeftAlone) {
            0 => {}
            1 => told.push_str(&format!("; 1{more} was left alone")),
            left => told.push_str(&format!("; {left}{more} were left alone")),
        }
        match count(Outcome::Waits) {
            0 => {}
            1 => told.push_str(&format!("; 1{more} waits for its prompts")),
            waiting => told.push_str(&format!("; {waiting}{more} wait for their prompts")),
        }
        tell(&told);
        if cut {
            return Err(Failure::Interrupted("interrupted".into()));
        }
        if failed > 0 {
            return Err(Failure::Some(format!("{failed} of {clips} failed")));
        }
        Ok(())
    }
}

/// How segmenting ended, for people. Frames that could not be decoded are told one by one.
fn told(path: &Path, reports: &[(Track, TrackReport)]) -> Result<String, Failure> {
    let mut undecoded = 0;
    for (track, report) in reports {
        let label = shown(&track.info.label);
        for (frame, why) in report.failures() {
            tell(&format!("{}: \"{label}\" frame {frame}: {why}", path_shown(path)));
            undecoded += 1;
        }
    }
    let frames: usize = reports.iter().map(|(_, report)| report.frames.len()).sum();
    let kept = frames - undecoded;
    if reports.iter().any(|(_, report)| report.ended == Ended::Cancelled) {
        return Err(Failure::Interrupted(format!("interrupted; {} kept", counted(kept, "frame"))));
    }
    if undecoded > 0 {
        return Err(Failure::Some(format!(
            "{undecoded} of {} could not be decoded; the others are kept",
            counted(frames, "frame")
        )));
    }
    Ok(format!("{}, {}", counted(reports.len(), "track"), counted(frames, "frame")))
}

/// `NAME.prompts.yaml` with and without the clip's ending.
fn prompts_paths(clip: &Path) -> [PathBuf; 2] {
    let whole = clip.file_name().unwrap_or_default().to_owned();
    [whole, codec::stem_of(clip)].map(|mut name: OsString| {
        name.push(".prompts.yaml");
        clip.with_file_name(name)
    })
}

/// The prompts of a clip and when they changed, once they have settled. Only regular files; what comes into their place
/// until they are opened is seen then. Those with the full name of the clip count before others.
fn ready_prompts(clip: &Path) -> Option<(PathBuf, SystemTime)> {
    let (path, meta) = prompts_paths(clip).into_iter().find_map(|path| {
        let meta = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
        Some((path, meta))
    })?;
    let changed = meta.modified().ok()?;
    let age = changed.elapsed().unwrap_or(PROMPTS_SETTLE);
    (age >= PROMPTS_SETTLE).then_some((path, changed))
}

/// Refuses a prompts file that may as well be that of another clip beside this one.
fn refuse_shared(clip: &Path, prompts: &Path) -> Result<(), Failure> {
    let [own, _] = prompts_paths(clip);
    if prompts == own {
        return Ok(());
    }
    let Some(other) = namesake(clip, prompts) else { return Ok(()) };
    let name = |path: &Path| shown(&path.file_name().unwrap_or_default().to_string_lossy());
    Err(Failure::Input(format!(
        "{} may be that of {} too; if it belongs to this clip, name it {}",
        name(prompts),
        name(&other),
        name(&own)
    )))
}

/// Another clip of the same folder that would take these prompts. Links are none: they are refused.
fn namesake(clip: &Path, prompts: &Path) -> Option<PathBuf> {
    let beside = std::fs::read_dir(clip.parent()?).ok()?.flatten().map(|entry| entry.path());
    let mut others = beside.filter(|path| path != clip);
    others.find(|path| {
        let takes = prompts_paths(path).iter().any(|file| file == prompts);
        takes && !path.is_symlink() && codec::looks_like_clip(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_for_the_prompts_of_many_clips_leave_the_machine_to_others() {
        let (short, long) = (Duration::from_millis(1), Duration::from_millis(600));
        assert_eq!(until_next(short, false), LOOK);
        assert_eq!(until_next(long, false), Duration::from_secs(12));
        assert_eq!(until_next(Duration::from_secs(60), true), LOOK, "more may have come meanwhile");
    }

    #[test]
    fn only_endings_of_clips_are_left_out_of_the_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let short = |name: &str| {
            let [_, short] = prompts_paths(&folder.path().join(name));
            short.file_name().expect("a name").to_string_lossy().into_owned()
        };
        for (name, wanted) in [
            ("a.png", "a.prompts.yaml"),
            ("a.nii.gz", "a.prompts.yaml"),
            ("1.2.840.1", "1.2.840.1.prompts.yaml"),
            ("IM_0001", "IM_0001.prompts.yaml"),
        ] {
            assert_eq!(short(name), wanted);
        }
        std::fs::create_dir(folder.path().join("scan.dcm")).expect("made");
        assert_eq!(short("scan.dcm"), "scan.dcm.prompts.yaml");
    }
}
