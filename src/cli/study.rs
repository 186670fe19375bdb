//! `sonomark study`: the paper's comparison, on simulated annotators and on people.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::config::{Origin, Setting, Settings};
use crate::domain::{counted, shown};
use crate::learn::TrainError;
use crate::learn::dataset::Veil;
use crate::net::library::Library;
use crate::project::{list_clips, load_read_only, timeline};
use crate::study::analyse::analyse;
use crate::study::plan::{self, Block, Wanted};
use crate::study::questionnaire::{self, Questionnaire};
use crate::study::simulate::{Place, simulate};
use crate::study::tables::Tables;
use crate::study::{StudyError, config, people, report, sessions};
use crate::tui::terminal::last_words;

use super::devices::{device_of, load_bare, on_device};
use super::headless::{make_folder, with_folder};
use super::{
    Done, Failure, annotate, clip_options, interrupt_flag, path_shown, print, tell, with_card_found,
};

/// The word for the network inside the program.
const SHIPPED: &str = "shipped";
/// Answers of the raters, in the folder of a study.
const QUESTIONNAIRE: &str = "questionnaire.yaml";

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Compare networks and other ways to draw on simulated annotators
    Simulate(Simulate),
    /// Set up a study of people: who annotates what with which model, in which order
    New(New),
    /// Lead a rater through their part of a study, on the screen
    Lead(Lead),
    /// Time, work and agreement of the raters of a study
    Analyse(Analyse),
}

#[derive(Debug, Args)]
struct New {
    /// Clips to annotate
    #[arg(required = true, value_name = "CLIP")]
    clips: Vec<PathBuf>,
    /// Name of a rater; repeat for more
    #[arg(long = "rater", required = true, value_name = "NAME")]
    raters: Vec<String>,
    /// A model and its card (`shipped`, an imported network, or a path); give two
    #[arg(long = "model", required = true, value_name = "NAME=CARD", value_parser = model)]
    models: Vec<(String, String)>,
    /// Clips for practice, taken out of the others
    #[arg(long, default_value_t = 2, value_name = "N")]
    warm_up: usize,
    /// Clips that every rater does a second time with each model, without being told
    #[arg(long, default_value_t = 0, value_name = "N")]
    repeats: usize,
    /// Seed of order and choice
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// New folder for plan and work
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// `NAME=CARD`
fn model(text: &str) -> Result<(String, String), String> {
    let found = text.split_once('=').map(|(name, card)| (name.to_owned(), card.to_owned()));
    found.ok_or_else(|| "write NAME=CARD, for instance SAMUSA=shipped".to_owned())
}

#[derive(Debug, Args)]
struct Lead {
    /// Folder of the study
    #[arg(value_name = "STUDY")]
    study: PathBuf,
    /// Who sits at the screen
    #[arg(long, value_name = "NAME")]
    rater: String,
}

#[derive(Debug, Args)]
struct Analyse {
    /// Folder of the study, or of folders RATER/MODEL
    #[arg(value_name = "SESSIONS")]
    sessions: PathBuf,
    /// Where report and tables go
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What raters answered, YAML [default: questionnaire.yaml in SESSIONS]
    #[arg(long, value_name = "FILE")]
    questionnaire: Option<PathBuf>,
    /// Nobody is at the screen in the rest of a longer gap
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    pause: f64,
}

#[derive(Debug, Args)]
struct Simulate {
    /// What to compare on which data, YAML
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where report, tables, figures and trained networks go; a study that was interrupted goes on here
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Runs it.
pub(super) fn run(settings: &Settings, options: &Options) -> Done {
    match &options.what {
        What::Simulate(options) => simulated(settings, options),
        What::New(options) => new(settings, options),
        What::Lead(options) => lead(settings, options),
        What::Analyse(options) => analysed(options),
    }
}

fn simulated(settings: &Settings, options: &Simulate) -> Done {
    let study = config::read(&options.config)
        .map_err(|faults| Failure::Configuration(faults.to_string()))?
        .behind(&Veil::of(&clip_options(settings), &settings.project.value));
    let picked = device_of(settings)?;
    tell(&format!("device: {}", picked.description));
    let library = Library::new(settings.models_dir.clone());
    let place = Place { picked: &picked, library: &library, out: &options.out };
    let cancel = interrupt_flag()?;
    let outcome = with_folder(&options.out.join("kept"), || {
        on_device(&picked, || {
            simulate(&study, &place, &mut |line| tell(line), &cancel).map_err(failure)
        })
    })?;
    let tables = Tables::of(&study, &outcome);
    let files = report::write(&study, &outcome, &tables, &options.out).map_err(failure)?;
    for file in files {
        print(&path_shown(&file));
    }
    Ok(())
}

/// The network of a card as a study names it (`shipped`, an imported network, or a path), which loads: its absolute path,
/// or `shipped`.
fn proven(settings: &Settings, card: &str) -> Result<Settings, Failure> {
    let value = (card != SHIPPED).then(|| PathBuf::from(card));
    let card = Setting { value, origin: Origin::Flag("model".into()) };
    let settings = with_card_found(Settings { card, ..settings.clone() })?;
    load_bare(&settings)?;
    Ok(settings)
}

fn new(settings: &Settings, options: &New) -> Done {
    let mut models =
        <[(String, String); 2]>::try_from(options.models.clone()).map_err(|given| {
            Failure::Input(format!("give --model twice; {} given", counted(given.len(), "model")))
        })?;
    for (_, card) in &mut models {
        *card = match proven(settings, card)?.card.value {
            Some(path) => {
                let path = std::path::absolute(&path).unwrap_or(path);
                path.to_string_lossy().into_owned()
            }
            None => SHIPPED.into(),
        };
    }
    let wanted = Wanted {
        raters: options.raters.clone(),
        models,
        clips: options.clips.clone(),
        warm_up: options.warm_up,
        repeats: options.repeats,
        seed: options.seed,
    };
    let blocks = plan::create(&wanted, &options.out).map_err(failure)?;
    let clips: usize = blocks.iter().map(|b| b.clips.len()).sum();
    tell(&format!("{}, {} to annotate", counted(blocks.len(), "block"), counted(clips, "clip")));
    for rater in &options.raters {
        print(&format!("sonomark study lead {} --rater {rater}", path_shown(&options.out)));
    }
    Ok(())
}

fn lead(settings: &Settings, options: &Lead) -> Done {
    let blocks =
        plan::read(&options.study).map_err(|faults| Failure::Configuration(faults.to_string()))?;
    let mine: Vec<&Block> = blocks.iter().filter(|b| b.rater == options.rater).collect();
    if mine.is_empty() {
        let mut raters: Vec<String> = blocks.iter().map(|b| shown(&b.rater)).collect();
        raters.dedup();
        let (rater, raters) = (shown(&options.rater), raters.join(", "));
        return Err(Failure::Input(format!("the plan has no rater {rater}; it has {raters}")));
    }
    let mut annotated_some = false;
    for (at, block) in (1..).zip(&mine) {
        let project = options.study.join(&block.project);
        let open = |path: &PathBuf| !annotated(&project, path);
        let left = || -> Vec<PathBuf> {
            block.clips.iter().filter(|c| open(c)).map(|c| options.study.join(c)).collect()
        };
        let clips = left();
        if clips.is_empty() {
            continue;
        }
        // The model is not named: who knows it does not judge it as it is.
        let (count, of) = (clips.len(), mine.len());
        if std::mem::replace(&mut annotated_some, true) && !rested(at, of) {
            return Ok(());
        }
        tell(&format!("block {at} of {of}, clips to do: {count}"));
        let project = Setting { value: project.clone(), origin: Origin::Flag("study".into()) };
        // Without its network a block would measure something else.
        let settings = Settings { project, ..proven(settings, &block.card)? };
        annotate::screen(&settings, clips, None)?;
        let clips = left();
        if !clips.is_empty() {
            last_words(&format!(
                "not annotated yet in this block: {}; the same command goes on here",
                clips.len()
            ));
            return Ok(());
        }
    }
    last_words("everything is annotated, thank you");
    Ok(())
}

/// A break before block `at` of `of`, as long as the rater likes; false when they leave. Who cannot be asked goes on.
fn rested(at: usize, of: usize) -> bool {
    if !std::io::stdin().is_terminal() {
        return true;
    }
    tell(&format!(
        "block {} of {of} is annotated: time for a break. Enter begins the next one; q and Enter \
         leaves, and the same command goes on there",
        at - 1
    ));
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line).unwrap_or(0);
    read > 0 && line.trim().is_empty()
}

/// Whether the clip of that name is annotated in the project.
fn annotated(project: &Path, clip: &Path) -> bool {
    let name = clip.file_name().map(|name| name.to_string_lossy().into_owned());
    let clips = list_clips(project).unwrap_or_default();
    let mut named = clips.iter().filter(|c| c.info.as_ref().map(|i| &i.name) == name.as_ref());
    named.any(|clip| {
        let visits = timeline(project, &clip.hash).unwrap_or_default();
        let frames = clip.info.as_ref().map_or(1, |info| info.frames);
        load_read_only(project, &clip.hash).is_ok_and(|held| sessions::done(&visits, &held, frames))
    })
}

fn analysed(options: &Analyse) -> Done {
    if !(options.pause.is_finite() && options.pause > 0.0) {
        return Err(Failure::Input("--pause must be above 0 s".into()));
    }
    let beside = options.sessions.join(QUESTIONNAIRE);
    let file = options.questionnaire.clone().or_else(|| beside.is_file().then_some(beside));
    let asked = match file {
        Some(file) => questionnaire::read(&file)
            .map_err(|faults| Failure::Configuration(faults.to_string()))?,
        None => Questionnaire::default(),
    };
    let pieces = sessions::read(&options.sessions, options.pause, &mut |note| tell(note))
        .map_err(failure)?;
    let analysis = analyse(pieces).map_err(failure)?;
    make_folder(&options.out)?;
    let files = people::write(&analysis, &asked, options.pause, &options.out).map_err(failure)?;
    for file in files {
        print(&path_shown(&file));
    }
    Ok(())
}

fn failure(error: StudyError) -> Failure {
    match error {
        StudyError::Cancelled => Failure::Interrupted(
            "interrupted; what was finished is kept, the same command goes on".into(),
        ),
        StudyError::Card(_) | StudyError::Library(_) => Failure::Configuration(error.to_string()),
        StudyError::Network(_)
        | StudyError::Figure(_)
        | StudyError::Train(TrainError::Gradients(_)) => Failure::ours(error),
        _ => Failure::input(error),
    }
}
