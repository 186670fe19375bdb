//! `sonomark run`: command lines from a file, on a clip, without a screen.
//!
//! The lines are those of the screen's command line and mean the same, by the same code; each is
//! finished, masks and exports included, before the next begins. A line that changes nothing is told as such, also
//! to those who want to hear of faults alone: nobody sees a screen on which nothing moved.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use clap::Args;

use crate::config::Settings;
use crate::config::yaml::Faults;
use crate::domain::shown;
use crate::engine::{Event, SegmenterSource, Session, Shelf};
use crate::tui::command::{self, Command};
use crate::tui::graphics::Grid;
use crate::tui::model::{Effect, Mode, Model, Msg, Saved, Weight};
use crate::tui::{begin, furnish, hand_over, keymap_of, update};

use super::{Done, Failure, clip_options, interrupt_flag, interrupted, path_shown, print, tell};

/// Longest script, bytes.
const SCRIPT_MAX: u64 = 1 << 20;
/// What a line may take.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// How often Ctrl-C is looked for while nothing else comes.
const LOOK: Duration = Duration::from_millis(100);
/// The screen that the keys of a script think they have.
const GRID: Grid = Grid { columns: 120, rows: 40, cell_px: (8, 16) };

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Command lines, one a line; # begins a comment; - reads standard input
    script: PathBuf,
    /// The clip
    clip: PathBuf,
    /// Say nothing but faults and which lines change nothing
    #[arg(long)]
    quiet: bool,
}

/// Runs it.
pub(super) fn run(settings: &Settings, options: &Options) -> Done {
    let script = read_script(&options.script)?;
    let (inbox, messages) = channel::<Msg>();
    let net = SegmenterSource::Net {
        card: settings.card.value.clone(),
        device: settings.device.value.clone(),
        features_mib: settings.features_mib.value,
        shelf: Shelf::default(),
    };
    let (mut session, opened) = Session::open_with(
        &options.clip,
        &clip_options(settings),
        &settings.project.value,
        net,
        inbox,
    )
    .map_err(Failure::input)?;
    let cancel = interrupt_flag()?;
    session.set_schema(settings.asked.codes(), settings.asked.colours);
    let (keymap, faults) = keymap_of(settings);
    faults.iter().flat_map(Faults::sentences).for_each(|sentence| tell(&sentence));
    let mut model = Model::new(opened, Vec::new(), 0, keymap, GRID);
    furnish(&mut model, settings);
    let regions = script.contains("accept-region");
    let mut runner =
        Runner { model, session, messages, cancel, exports: 0, regions, acted: false, quit: false };
    if runner.model.message.weight == Weight::Warning {
        tell(&shown(&runner.model.message.text));
    }
    let first = begin(&runner.model);
    runner.carry_out(first);
    let result = runner.all(&script, options);
    runner.session.close();
    result
}

fn read_script(path: &Path) -> Result<String, Failure> {
    let fault = |cause: std::io::Error| {
        Failure::Input(format!(
            "cannot read the script {}: {cause}; check the path, and that it is text in UTF-8",
            path_shown(path)
        ))
    };
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().take(SCRIPT_MAX + 1).read_to_string(&mut text).map_err(fault)?;
    } else {
        let file = std::fs::File::open(path).map_err(fault)?;
        file.take(SCRIPT_MAX + 1).read_to_string(&mut text).map_err(fault)?;
    }
    if text.len() as u64 > SCRIPT_MAX {
        return Err(Failure::Input(format!(
            "the script {} is longer than 1 MiB; split it",
            path_shown(path)
        )));
    }
    Ok(text)
}

/// A model and a session without a screen.
struct Runner {
    model: Model,
    session: Session<Msg>,
    messages: Receiver<Msg>,
    /// Raised by Ctrl-C.
    cancel: Arc<AtomicBool>,
    /// Exports on their way, and what else the session answers once.
    exports: usize,
    /// The script says something of the ultrasound region, so it is looked for.
    regions: bool,
    /// Something that lasts was done since the line at hand began.
    acted: bool,
    quit: bool,
}

impl Runner {
    fn all(&mut self, script: &str, options: &Options) -> Done {
        self.finish(None)?;
        self.go_on("opening the clip")?;
        for (number, line) in script.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = format!("{}:{}", path_shown(&options.script), number + 1);
            self.model.message = Default::default();
            let (before, frames) = (self.model.standing(), self.model.clip.frames);
            self.acted = false;
            let effects = update(&mut self.model, Msg::Line(line.to_owned()));
            self.carry_out(effects);
            self.finish(Some(&place))?;
            self.saved(&place)?;
            let parsed = command::parse(line, frames);
            // On the screen a person types the rest.
            if matches!(parsed, Ok(Command::Act(..))) && matches!(self.model.mode, Mode::Command(_))
            {
                return Err(Failure::Input(format!(
                    "{place}: `{}` waits for more to be typed; write the whole line, as `export FORMAT PATH`; the lines \
                     before it are done and saved",
                    shown(line)
                )));
            }
            let told = shown(&self.model.message.text);
            if self.model.message.weight == Weight::Warning {
                return Err(Failure::Input(format!(
                    "{place}: {told}; the lines before it are done and saved"
                )));
            }
            // Going somewhere is no news on the screen, which shows it.
            let here = || format!("frame {}/{frames}", self.model.frame + 1);
            let told = if told.is_empty() { here() } else { told };
            let to_change = parsed.is_ok_and(|line| line.is_to_change());
            if to_change && !self.acted && self.model.standing() == before {
                tell(&format!("{place}: nothing changed: {told}"));
            } else if !options.quiet {
                print(&format!("{place}: {told}"));
            }
            self.go_on(&place)?;
            if self.quit {
                break;
            }
        }
        self.synced(&path_shown(&options.script))
    }

    /// After Ctrl-C no line is begun.
    fn go_on(&self, place: &str) -> Done {
        if !interrupted(&self.cancel) {
            return Ok(());
        }
        self.synced(place)?;
        Err(Failure::Interrupted(format!(
            "{place}: interrupted; what was done until then is saved"
        )))
    }

    fn synced(&self, place: &str) -> Done {
        self.session.sync().map_err(|why| Failure::Input(format!("{place}: not saved: {why}")))
    }

    /// Goes on only while what the lines did can be kept.
    fn saved(&self, place: &str) -> Done {
        match &self.model.saved {
            Saved::Failed(why) => Err(Failure::Input(format!("{place}: not saved: {why}"))),
            Saved::Solid | Saved::Unsynced(_) => Ok(()),
        }
    }

    /// Takes messages until nothing is on its way any more.
    fn finish(&mut self, place: Option<&str>) -> Done {
        let begun = Instant::now();
        while self.busy() {
            if interrupted(&self.cancel) {
                self.model.tools.to_play.clear();
                // What is changed of many masks is whole, and saved; the others stay as they are.
                self.model.tools.batch = None;
                self.session.cancel(None);
            }
            if self.model.tools.batch.is_some() {
                // A tick does the next portion; no time passes by it.
                let now = self.model.now;
                let effects = update(&mut self.model, Msg::Tick(now));
                self.carry_out(effects);
                continue;
            }
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let message = match self.messages.recv_timeout(left.min(LOOK)) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) if !left.is_zero() => continue,
                Err(_) => {
                    let place = place.unwrap_or("opening the clip");
                    return Err(Failure::ours(format!("{place}: no answer any more")));
                }
            };
            use Event as V;
            if let Msg::Engine(
                V::Exported { .. }
                | V::ExportFailed { .. }
                | V::Overlay { .. }
                | V::OverlayFailed { .. }
                | V::RegionFound { .. }
                | V::OutsideChanged { .. },
            ) = &message
            {
                self.exports = self.exports.saturating_sub(1);
            }
            // The answer to a line must not give way to what came by itself.
            let ready = matches!(&message, Msg::Engine(V::Ready(_)));
            let before = ready.then(|| self.model.message.clone());
            let effects = update(&mut self.model, message);
            self.carry_out(effects);
            if let Some(before) = before {
                self.model.message = before;
            }
        }
        Ok(())
    }

    fn busy(&self) -> bool {
        let model = &self.model;
        let unseen = model.pixels().is_none() && !model.broken.contains_key(&model.frame);
        let asked = !model.jobs.asked.is_empty() || model.propagating();
        let playing = !model.tools.to_play.is_empty() || model.tools.batch.is_some();
        unseen || asked || playing || self.exports > 0
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.acted |= effect.acts();
            match effect {
                Effect::Quit => self.quit = true,
                Effect::OpenClip(..)
                | Effect::StopOpening
                | Effect::Suspend
                | Effect::Redraw
                | Effect::Bell => {}
                Effect::FindRegion if !self.regions => {}
                effect => {
                    use Effect as E;
                    let answered = matches!(
                        effect,
                        E::Export { .. }
                            | E::Picture { .. }
                            | E::Overlay(_)
                            | E::FindRegion
                            | E::Outside(_)
                    );
                    self.exports += usize::from(answered);
                    if let Some(answer) =
                        hand_over(&mut self.session, &self.model.annotation, effect)
                    {
                        self.exports -= usize::from(answered);
                        let effects = update(&mut self.model, answer);
                        self.carry_out(effects);
                    }
                }
            }
        }
    }
}
