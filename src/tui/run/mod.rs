//! The screen from beginning to end: what it starts with, and how it ended.

mod inbox;
mod opening;
mod output;
mod turn;

use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::person::Person;
use crate::config::{Settings, looks};
use crate::domain::{Cut, shown};
use crate::engine::SessionError;

use super::model::{Model, Msg, Queued};
use super::terminal::{
    HELD_BACK, InTmux, Screen, TerminalError, last_words, probe, slow_escape, spawn_input,
};
use super::update::{begin, fit_look, recall};
use super::vision;
use inbox::Inbox;
use opening::{Arrived, Opener, listen, read};
use output::{Environment, Output, bindings};
use turn::{Loop, not_exported};

pub use opening::OpenClip;
pub use output::keymap_of;
pub use turn::hand_over;

/// What the screen starts with.
pub struct Start<'a> {
    /// Clips, at least one; the first that opens is shown.
    pub clips: Vec<PathBuf>,
    /// How a clip is opened.
    pub open: OpenClip,
    /// Graphics, theme, keys, what a hang-up does.
    pub settings: &'a Settings,
    /// Begin with the lesson.
    pub lesson: bool,
    /// Is given the inbox before the loop starts: a watched folder tells its clips there.
    pub attach: Option<Box<dyn FnOnce(Sender<Msg>) + 'a>>,
}

/// How the screen ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The person left.
    Quit,
    /// The terminal went away; what was running is finished or stopped, as set.
    HungUp,
}

/// Why there is no screen.
#[derive(Debug, thiserror::Error)]
pub enum TuiError {
    /// Nothing to show.
    #[error("no clip was given; name a file, a folder of frames or a DICOM file")]
    NoClip,
    /// The only clip does not open.
    #[error(transparent)]
    Clip(#[from] SessionError),
    /// None of several clips opens: a line for each reason.
    #[error("none of the clips opens:{0}")]
    NoneOpens(String),
    /// The terminal cannot be used.
    #[error(transparent)]
    Terminal(#[from] TerminalError),
}

/// Runs the screen until the person leaves or the terminal goes away.
///
/// # Errors
/// No clip opens, or the terminal cannot be used. Later troubles are sentences on the screen.
pub fn run(start: Start<'_>) -> Result<Ended, TuiError> {
    let Start { clips, open, settings, lesson, attach } = start;
    let (inbox, messages) = channel();
    let environment = Environment::here();
    let named = !matches!(settings.graphics.value.as_str(), "auto" | "halfblock");
    let how = InTmux { passthrough: settings.passthrough.value, named };
    let capabilities = probe(environment.tmux.then_some(how))?;
    // Where the person asked for pictures, they are told what to do.
    let held_back = (capabilities.held_back && named).then(|| format!("pictures: {HELD_BACK}"));
    let slow_escape = environment.tmux.then(slow_escape).flatten();
    let (keymap, theme, mut faults) = bindings(settings, &environment, capabilities.light);
    if settings.theme.value != "mono" && theme.coloured {
        faults.extend(vision::confusions(&settings.asked, &theme));
    }
    let (Arrived { session, opened, events }, at, refused) = first_clip(&clips, &open)?;
    let mut screen = Screen::enter(capabilities)?;
    listen(0, events, inbox.clone());
    spawn_input(&mut screen, inbox.clone())?;
    if let Some(attach) = attach {
        attach(inbox.clone());
    }
    let output = Output::new(&screen, settings, theme, &environment);
    let queue: Vec<Queued> = clips.into_iter().map(Queued::new).collect();
    let mut model = Model::new(opened, queue, at, keymap, output.grid(screen.grid()));
    model.link = output.link();
    if lesson {
        // Its words may need a part of the picture's place.
        (model.lesson, model.picture.viewport) = (Some(0), None);
        model.fit_viewport();
    }
    furnish(&mut model, settings);
    model.tools.never_ahead = !settings.ahead.value;
    model.tools.bell = settings.bell.value;
    match Person::load(&settings.person_file) {
        Ok(person) => recall(&mut model, person),
        Err(faults) => faults.sentences().for_each(|sentence| model.warn(sentence)),
    }
    model.tools.escape_joined = slow_escape.is_some();
    let joined = slow_escape.map(|why| {
        format!(
            "{why}; until then Alt and a letter count as Esc and the letter in rays and questions"
        )
    });
    for sentence in joined.into_iter().chain(refused).chain(faults).chain(held_back) {
        model.warn(sentence);
    }
    let effects = begin(&model);
    let mut looping = Loop {
        model,
        session: Some(session),
        screen: Some(screen),
        output,
        opener: Opener::new(open, inbox.clone()),
        closing: Vec::new(),
        inbox,
        messages: Inbox::new(messages),
        started: Instant::now(),
        on_hangup: settings.on_hangup.value,
        person_file: settings.person_file.clone(),
        dirty: true,
        moved: false,
        epoch: 0,
        ended: None,
    };
    looping.carry_out(effects);
    let ended = looping.turn();
    looping.opener.give_up();
    // A screen that answers no key any more would be one without a way out.
    drop(looping.screen.take());
    let told = "sonomark: ending what is under way; Ctrl-C twice gives up";
    told_if_slow(told.to_owned(), || looping.close());
    while let Some(message) = looping.messages.last(LAST_WORDS) {
        if let Msg::OfClip(_, inner) = &message
            && let Some(why) = not_exported(inner)
        {
            last_words(&format!("sonomark: {why}"));
        }
    }
    Ok(ended)
}

/// How long a closed session's last words take to come, at most.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// Gives a model what the settings say of labels, attributes and looks.
pub fn furnish(model: &mut Model, settings: &Settings) {
    model.schema = settings.asked.clone();
    model.looks.presets = settings.looks.clone();
    let wanted = &settings.look.value;
    model.looks.always = (wanted != looks::AUTOMATIC).then(|| wanted.clone());
    fit_look(model);
}

/// The first clip that opens, its place, and why those before it do not.
fn first_clip(
    clips: &[PathBuf],
    open: &OpenClip,
) -> Result<(Arrived, usize, Vec<String>), TuiError> {
    let mut errors = Vec::new();
    let mut refused = Vec::new();
    for (at, path) in clips.iter().enumerate() {
        let name = shown(&path.display().to_string());
        let told = format!("sonomark: opening {name}; Ctrl-C gives up");
        match told_if_slow(told, || read(open, path, Cut::default())) {
            Ok(arrived) => return Ok((arrived, at, refused)),
            Err(error) => {
                refused.push(format!("{name} does not open: {error}"));
                errors.push(error);
            }
        }
    }
    Err(none_opens(errors))
}

/// So many reasons are told of the clips of a queue that does not open.
const TOLD: usize = 5;

/// Why there is nothing to show; from the first reason alone a person would take the other clips for sound.
fn none_opens(mut errors: Vec<SessionError>) -> TuiError {
    if errors.len() < 2 {
        return errors.pop().map_or(TuiError::NoClip, TuiError::Clip);
    }
    let mut lines: String =
        errors.iter().take(TOLD).map(|error| format!("\n  - {error}")).collect();
    if errors.len() > TOLD {
        lines += &format!("\n  - and {} more", errors.len() - TOLD);
    }
    TuiError::NoneOpens(lines)
}

/// After this the person is told what they wait for.
const SLOW: Duration = Duration::from_secs(1);

/// Does `work` before there is a screen, or behind it: on the screen it would be told what takes so long.
fn told_if_slow<T>(told: String, work: impl FnOnce() -> T) -> T {
    let (done, over) = channel::<()>();
    let tell = move || {
        if over.recv_timeout(SLOW) == Err(RecvTimeoutError::Timeout) {
            last_words(&told);
        }
    };
    let thread = thread::Builder::new().name("tells-slow".to_owned()).spawn(tell);
    let answer = work();
    drop(done);
    // Nothing of it may come into the screen.
    let _ = thread.map(thread::JoinHandle::join);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_queue_that_does_not_open_more_than_one_reason_is_told() {
        let told = |count: usize| {
            let errors = (0..count).map(|at| SessionError::Clip(format!("{at}.png is empty")));
            none_opens(errors.collect()).to_string()
        };
        assert_eq!(told(0), TuiError::NoClip.to_string());
        assert_eq!(told(1), "0.png is empty");
        assert_eq!(told(2), "none of the clips opens:\n  - 0.png is empty\n  - 1.png is empty");
        assert!(told(9).contains("4.png") && told(9).ends_with("  - and 4 more"), "{}", told(9));
    }
}
