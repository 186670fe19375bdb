//! The command line: one file per command, everything the keys do and more, without a terminal.
//!
//! Messages are sentences on stderr; `--json` prints one JSON document on stdout and nothing
//! else. Exit codes: 0 done, 1 input, 2 configuration, 3 some clips failed, 70 our fault,
//! 130 interrupted.

mod annotate;
mod annotator;
mod arguments;
mod attributes;
mod bench;
mod bench_memory;
mod bench_stages;
mod bench_train;
mod check;
mod data;
mod deciding;
mod demo;
mod devices;
mod doctor;
mod drivers;
mod evaluate;
mod export;
mod headless;
mod import;
mod keys;
mod log;
mod models;
mod models_import;
mod progress;
mod project;
mod prompts;
mod propagate;
pub mod pty;
mod rename;
mod run;
pub mod script;
mod segment;
mod signals;
mod study;
mod told;
mod train;
mod tree;
mod warmup;
mod watch;
mod watch_headless;
mod watch_tracks;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::codec::{self, Clip, OpenOptions};
use crate::config::{Flags, Origin, Settings};
use crate::domain::{Axis, Cut, nearest_word};
use crate::engine::{decided, gpu_warming, open_known, shipped_card};
use crate::net::cards;
use crate::net::library::Library;
use told::{printed, tell_panic, write_line};

pub(crate) use told::{path_shown, print, print_json, tell};

pub(crate) use signals::{interrupt_flag, interrupted};

/// Annotate ultrasound in the terminal: boundary points, windows of visibility, propagation.
#[derive(Debug, Parser)]
#[command(name = "sonomark", version, max_term_width = 100, after_help = BEGIN)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    annotate: annotate::Options,
    // Last, since what is flattened after a heading would stand under it, too.
    #[command(flatten, next_help_heading = OF_EVERY)]
    global: Global,
}

/// Heading of the flags of every command, which would else stand among those of one.
const OF_EVERY: &str = "Options of every command";

/// What stands below the help of all.
const BEGIN: &str = "To begin: `sonomark tutor` teaches the keys on a shipped clip, \
                     `sonomark CLIP` opens one of yours, `sonomark doctor` says what is wrong on \
                     this machine.";

/// What `--data` of commands that read labelled stills names.
pub(crate) const STILLS: &str = "Folder of NAME.png and NAME.mask.png, or FOLDER:LIST.txt for the \
                                 stems of a list, or a manifest, or MANIFEST:SPLIT (train, val, test, or of five parts \
                                 without the test fold-2of5 and rest-2of5); repeat for more";

/// Flags of every command; they win over environment and configuration file.
#[derive(Debug, Args)]
struct Global {
    /// Folder that holds everything written [default: $XDG_DATA_HOME/sonomark/project]
    #[arg(long, global = true, value_name = "DIR")]
    project: Option<PathBuf>,
    /// What computes: auto, gpu, gpu:N or cpu [default: auto]
    #[arg(long, global = true)]
    device: Option<String>,
    /// Another network: the name of an imported one, or the path of a card with its weights beside it
    #[arg(long, global = true, value_name = "CARD")]
    card: Option<PathBuf>,
    /// How pictures are drawn: auto, sixel, kitty, iterm or halfblock [default: auto]
    #[arg(long, global = true, value_name = "HOW")]
    graphics: Option<String>,
    /// Hand pictures through tmux: auto (where it allows that and shows none itself), on or off [default: auto]
    #[arg(long, global = true, value_name = "WHAT")]
    passthrough: Option<String>,
    /// Theme: dark, light, mono or one of yours [default: dark, or light on a light background]
    #[arg(long, global = true, value_name = "NAME")]
    theme: Option<String>,
    /// Keymap: default, vim, left-hand, colemak or one of yours
    #[arg(long, global = true, value_name = "NAME")]
    keymap: Option<String>,
    /// What a lost terminal does to a running propagation: finish or stop [default: finish]
    #[arg(long, global = true, value_name = "WHAT")]
    on_hangup: Option<String>,
    /// Pixels outside the ultrasound regions, where names are burned in: show, hide (black on the
    /// screen, for the network and in exports; regions as the file names them, else as found in the
    /// pixels), or what stays visible: box:LEFT,TOP,RIGHT,BOTTOM in px, or
    /// fan:X,Y,NEAR,FAR,LEFT,RIGHT in px and degrees [default: show, until a region that was found
    /// in the pixels is accepted on the screen]
    #[arg(long, global = true, value_name = "WHAT")]
    outside: Option<String>,
    /// Which clip of a DICOM folder or DICOMDIR that holds several, from 1 on
    #[arg(long, global = true, value_name = "NUMBER")]
    series: Option<usize>,
    /// Axis along which the slices of a volume follow each other: x, y or z as stored, or sagittal,
    /// coronal or axial where the volume tells how it lies; masks of each axis are kept apart
    /// [default: z]
    #[arg(long, global = true, value_name = "AXIS")]
    axis: Option<Axis>,
    /// Of volumes over time: which slice plays, from 1 on [default: the middle one]
    #[arg(long, global = true, value_name = "NUMBER")]
    slice: Option<usize>,
    /// Of volumes over time: the moment whose volume is shown, from 1 on
    #[arg(long, global = true, value_name = "NUMBER")]
    time: Option<usize>,
    /// Labels and attributes with their keys and colours [default: schema.yaml beside config.yaml]
    #[arg(long, global = true, value_name = "FILE")]
    schema: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Open clips in the terminal (also without the word `annotate`)
    Annotate(annotate::Options),
    /// Segment one image or frame from points
    Segment(segment::Options),
    /// Carry prompts from a file through the windows of a clip
    Propagate(propagate::Options),
    /// Do the command lines of a script on a clip, without a screen
    Run(run::Options),
    /// Write annotations of a clip or of the whole project
    Export(export::Options),
    /// Take over annotations that another program made of a clip
    Import(import::Options),
    /// List the clips of the project and how far they are, check them, or rename a label in all of them
    Project(project::Options),
    /// Tell who did what on a clip, and when
    Log(log::Options),
    /// Take in every clip that lands in a folder
    Watch(watch::Options),
    /// Show what this machine offers and where settings come from
    Doctor(doctor::Options),
    /// Print every key
    Keys(keys::Options),
    /// Import networks, list, check and remove them
    Models(models::Options),
    /// Try everything on a shipped clip
    Demo(demo::Options),
    /// Learn the keys in ten steps on a shipped clip
    Tutor,
    /// Import published data sets and check manifests of data
    Data(data::Options),
    /// Train a network
    Train(train::Options),
    /// Measure a network with a simulated annotator
    Evaluate(evaluate::Options),
    /// Repeat the paper's comparison, on simulated annotators or with people
    Study(study::Options),
    /// Measure the speed of this machine
    Bench(bench::Options),
    /// Run every part of the network once, before anybody waits for it
    Warmup(warmup::Options),
    /// Decode pictures that come over a pipe (started by this program, with limits)
    #[command(hide = true)]
    DecodePictures,
    /// Read annotations of other programs (started by this program, with limits)
    #[command(hide = true)]
    ReadAnnotations,
    /// Apply a script of edits (for crash tests)
    #[command(hide = true)]
    Script(ScriptOptions),
}

/// Arguments of the scripted annotator.
#[derive(Debug, Args)]
struct ScriptOptions {
    /// Print `ack N` after each step is written
    #[arg(long)]
    acks: bool,
}

/// How a command did not end well; the number is the exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// 1: a file or argument cannot be used.
    Input(String),
    /// 2: the settings cannot be used.
    Configuration(String),
    /// 3: some of many clips failed.
    Some(String),
    /// 70: a defect of this program or of the network's device.
    Ours(String),
    /// 130: Ctrl-C; what was finished is kept.
    Interrupted(String),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Input(_) => 1,
            Self::Configuration(_) => 2,
            Self::Some(_) => 3,
            Self::Ours(_) => BROKEN,
            Self::Interrupted(_) => 130,
        }
    }

    fn sentence(&self) -> &str {
        match self {
            Self::Input(text)
            | Self::Configuration(text)
            | Self::Some(text)
            | Self::Ours(text)
            | Self::Interrupted(text) => text,
        }
    }

    /// A file or argument that cannot be used.
    pub(crate) fn input(cause: impl std::fmt::Display) -> Self {
        Self::Input(cause.to_string())
    }

    /// A defect of this program.
    pub(crate) fn ours(cause: impl std::fmt::Display) -> Self {
        Self::Ours(cause.to_string())
    }
}

/// The exit code of a defect of this program.
const BROKEN: u8 = 70;

/// What every command returns.
pub(crate) type Done = Result<(), Failure>;

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(tell_panic));
    codec::tool::stay_small();
    signals::stay_beyond_the_limit_of_files();
    codec::this_is_the_program();
    drivers::look_for_no_display();
    // What broke was told by the hook.
    let ended = std::panic::catch_unwind(|| run(arguments::read()).and_then(printed));
    let code = match ended.unwrap_or(Ok(BROKEN)) {
        Ok(code) => code,
        Err(failure) => {
            // A closed stderr is no reason to fail in another way.
            let _ =
                write_line(&mut std::io::stderr(), &format!("sonomark: {}", failure.sentence()));
            failure.code()
        }
    };
    if gpu_warming() {
        let _ = std::io::Write::flush(&mut std::io::stdout());
        // SAFETY: nothing of this process is used after it. A usual exit would end the driver under a thread that is in it.
        unsafe { libc::_exit(i32::from(code)) }
    }
    ExitCode::from(code)
}

fn run(cli: Cli) -> Result<u8, Failure> {
    let Cli { global, command, annotate: bare } = cli;
    let flags = Flags {
        project: project::meant(command.as_ref(), global.project)?,
        device: global.device,
        card: global.card,
        graphics: global.graphics,
        passthrough: global.passthrough,
        theme: global.theme,
        keymap: global.keymap,
        on_hangup: global.on_hangup,
        outside: global.outside,
        schema: global.schema,
    };
    if command.is_some() && !bare.is_empty() {
        return Err(Failure::Input(
            "give paths after the command, not before it (a file named like a command is ./NAME)"
                .into(),
        ));
    }
    let series = global.series;
    let cut = Cut { axis: global.axis, slice: global.slice, time: global.time };
    let read = || {
        let settings = Settings::load(&flags);
        let settings = settings.map_err(|error| Failure::Configuration(error.to_string()))?;
        settings.notes.iter().for_each(|note| tell(note));
        drivers::keep_findings_in(&settings.cache_dir, settings.device.value != "cpu");
        Ok(Settings { series, cut, ..settings })
    };
    let load = || read().and_then(with_card_found);
    let done = match command {
        None if bare.is_empty() => {
            let _ = Cli::command().print_help();
            Err(Failure::Input("give a clip to annotate, or try `sonomark demo`".into()))
        }
        None => annotate::run(&load()?, &bare),
        Some(Command::Annotate(options)) => annotate::run(&load()?, &options),
        Some(Command::Segment(options)) => segment::run(&load()?, &options),
        Some(Command::Propagate(options)) => propagate::run(&load()?, &options),
        Some(Command::Run(options)) => run::run(&load()?, &options),
        Some(Command::Export(options)) => export::run(&load()?, &options),
        Some(Command::Import(options)) => import::run(&load()?, &options),
        Some(Command::Project(options)) => project::run(&load()?, &options),
        Some(Command::Log(options)) => log::run(&load()?, &options),
        Some(Command::Watch(options)) => watch::run(&load()?, &options),
        // Doctor shows faulty settings instead of failing on them.
        Some(Command::Doctor(options)) => doctor::run(load(), &options),
        // An import names a card that need not be here.
        Some(Command::Models(options)) => models::run(&read()?, &options),
        Some(Command::Keys(options)) => keys::run(&load()?, &options),
        Some(Command::Demo(options)) => demo::run(&load()?, &options),
        Some(Command::Tutor) => demo::tutor(&load()?),
        Some(Command::Data(options)) => data::run(&options),
        Some(Command::Train(options)) => train::run(&load()?, &options),
        Some(Command::Evaluate(options)) => evaluate::run(&load()?, &options),
        Some(Command::Study(options)) => study::run(&load()?, &options),
        Some(Command::Bench(options)) => bench::run(&load()?, &options),
        Some(Command::Warmup(options)) => warmup::run(&load()?, &options),
        Some(Command::DecodePictures) => codec::serve_decoder().map_err(Failure::input),
        Some(Command::ReadAnnotations) => crate::export::serve_reader().map_err(Failure::input),
        Some(Command::Script(options)) => {
            return Ok(script::run(&load()?.project.value, options.acks));
        }
    };
    done.map(|()| 0)
}

/// The settings with the path of the card in the place of an imported network's name.
///
/// # Errors
/// A bare word that is neither a file nor a network that is here.
fn with_card_found(mut settings: Settings) -> Result<Settings, Failure> {
    let Some(given) = settings.card.value.clone() else { return Ok(settings) };
    let word = given.to_str().filter(|text| !text.contains('/') && !given.exists());
    let Some(word) = word else { return Ok(settings) };
    let library = Library::new(settings.models_dir.clone());
    let shipped = shipped_card().map_err(Failure::ours)?.name;
    settings.card.value = match library.find(word) {
        Ok(held) => Some(held.card_path),
        Err(_) if word == shipped => None,
        Err(absent) => {
            let names = library.names();
            let mut all: Vec<&str> = names.iter().map(String::as_str).collect();
            all.push(&shipped);
            for known in cards::names() {
                all.push(known);
            }
            let hint = match cards::known(word) {
                Some(_) => format!("import its weights: sonomark models import FILE --card {word}"),
                None => nearest_word(word, all).map_or_else(
                    || "`sonomark models list` shows what there is".to_owned(),
                    |near| format!("did you mean {near}?"),
                ),
            };
            let asked = match &settings.card.origin {
                Origin::Flag(flag) => format!("--{flag}"),
                _ => "card".to_owned(),
            };
            return Err(Failure::Configuration(format!(
                "{asked}: {absent}, and no such file; {hint}"
            )));
        }
    };
    Ok(settings)
}

/// Opens a clip as the settings say.
pub(crate) fn open_clip(settings: &Settings, path: &std::path::Path) -> Result<Clip, Failure> {
    let options = clip_options(settings);
    let clip = open_known(path, &options, &settings.project.value).map_err(Failure::input)?;
    clip.notes().iter().for_each(|note| tell(&format!("{}: {note}", path_shown(path))));
    Ok(decided(clip, &options, &settings.project.value))
}

/// How the settings want clips opened.
pub(crate) fn clip_options(settings: &Settings) -> OpenOptions {
    let hide_outside = settings.hide_outside.value;
    OpenOptions {
        hide_outside,
        region: settings.region,
        ask: settings.hide_outside.origin == Origin::Default,
        series: settings.series,
        cut: settings.cut,
        ..OpenOptions::default()
    }
}

/// The command that a path which does not exist was probably meant to be.
pub(crate) fn meant_command(word: &str) -> Option<String> {
    let command = Cli::command();
    let names: Vec<&str> = command
        .get_subcommands()
        .filter(|c| !c.is_hide_set())
        .map(clap::Command::get_name)
        .collect();
    nearest_word(word, names).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Debug assertions, which would tell, are not part of what is tested.
    #[test]
    fn no_command_has_a_flag_of_its_own_with_the_name_of_one_of_all() {
        let mut whole = Cli::command();
        whole.build();
        let mut commands: Vec<&clap::Command> = whole.get_subcommands().collect();
        while let Some(command) = commands.pop() {
            let mut names: Vec<&str> =
                command.get_arguments().filter_map(clap::Arg::get_long).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{}: {names:?}", command.get_name());
            commands.extend(command.get_subcommands());
        }
        let words = [
            "sonomark",
            "segment",
            "a.png",
            "--outside",
            "hide",
            "--beside",
            "1,2",
            "--out",
            "m.png",
        ];
        let parsed = Cli::try_parse_from(words).expect("parses");
        assert_eq!(parsed.global.outside.as_deref(), Some("hide"));
    }

    #[test]
    fn help_tells_what_a_command_takes_before_what_all_of_them_take() {
        let mut whole = Cli::command();
        whole.build();
        for name in ["segment", "export", "train"] {
            let command = whole.find_subcommand_mut(name).expect("there is one");
            let help = command.render_long_help().to_string();
            let (own, of_every) = help.split_once(OF_EVERY).expect("a heading");
            assert!(own.contains("--help") && own.contains("--out"), "{name}: {own}");
            assert!(!own.contains("--keymap") && of_every.contains("--keymap"), "{name}: {help}");
        }
        let help = whole.render_long_help().to_string();
        let (own, _) = help.split_once(OF_EVERY).expect("a heading");
        assert!(own.contains("Arguments:") && help.contains("To begin: "), "{help}");
    }

    #[test]
    fn flags_stand_before_or_after_the_command_and_paths_need_none() {
        let parse = |words: &[&str]| Cli::try_parse_from([&["sonomark"], words].concat());
        let before = parse(&["--device", "cpu", "doctor"]).expect("parses");
        assert!(matches!(before.command, Some(Command::Doctor(_))));
        assert_eq!(before.global.device.as_deref(), Some("cpu"));
        let after = parse(&["doctor", "--device", "cpu"]).expect("parses");
        assert_eq!(after.global.device.as_deref(), Some("cpu"));
        let bare = parse(&["a.dcm", "b.dcm", "--theme", "light"]).expect("parses");
        assert!(bare.command.is_none() && !bare.annotate.is_empty());
        assert_eq!(bare.global.theme.as_deref(), Some("light"));
    }

    #[test]
    fn a_mistyped_command_is_recognised() {
        assert_eq!(meant_command("segmnt").as_deref(), Some("segment"));
        assert_eq!(meant_command("clip.mp4"), None);
    }
}
