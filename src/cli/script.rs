//! The scripted annotator: drives a project from lines of text, without screen or network.
//!
//! Meant for tests that end the process at any moment: after the `write` of a step has returned,
//! `ack N` is printed (N counts the lines read), so whoever reads it knows what must survive.
//!
//! ```text
//! track NAME              boundary|inside|outside FRAME X Y     remove FRAME INDEX
//! window FIRST LAST       mask FRAME CX CY R (a drawn disc)     undo   redo
//! view FRAME X Y          sync                            flag FRAME (or not any more)
//! place LETTER FRAME
//! ```
//! Commands act on the track with the highest identity. Nothing to do answers `none N`.

use std::io::{self, BufRead, Write};
use std::path::Path;

use crate::domain::{
    Annotation, Bitmap, ClipInfo, ClipKind, ContentHash, Edit, FrameMask, History, Mark,
    MaskSource, PlacedPrompt, PointKind, PointPx, Prompt, PromptId, Step, Track, TrackId, Window,
    insert_window, shown,
};
use crate::project::{ClipStore, ProjectError, View, now_ms};

/// The clip that every script annotates: 64 x 48 px, 32 frames, no pixels.
#[must_use]
pub fn clip() -> ClipInfo {
    ClipInfo {
        name: "scripted".into(),
        format: "no pixels, for tests".into(),
        ..ClipInfo::new(ContentHash("5c".repeat(32)), ClipKind::Cine, (64, 48), 32)
    }
}

/// What a line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A step that fits the annotation.
    Step(Step),
    /// Look somewhere else.
    View(View),
    /// Make everything durable.
    Sync,
    /// Nothing to undo, no track to act on, an empty line.
    Nothing,
}

/// An annotator that follows a script. The same lines on the same state with the same seed give
/// the same steps.
#[derive(Clone, Debug, Default)]
pub struct Script {
    annotation: Annotation,
    history: History,
    next: u64,
}

impl Script {
    /// Goes on from `annotation` and `history`; identities start at `seed` in the upper half.
    #[must_use]
    pub fn new(annotation: Annotation, history: History, seed: u32) -> Self {
        Self { annotation, history, next: u64::from(seed) << 32 }
    }

    /// The same annotator in a new session.
    #[must_use]
    pub fn with_seed(self, seed: u32) -> Self {
        Self { next: u64::from(seed) << 32, ..self }
    }

    /// The annotation after all steps done.
    #[must_use]
    pub fn annotation(&self) -> &Annotation {
        &self.annotation
    }

    /// What a line asks for in the present state.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub fn command(&mut self, line: &str) -> Result<Command, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(&word) = words.first() else {
            return Ok(Command::Nothing);
        };
        let numbers = words.iter().skip(1).map_while(|word| word.parse().ok());
        let numbers: Vec<f32> = numbers.collect();
        let now = &self.annotation;
        let step = match (word, numbers.as_slice()) {
            ("sync", _) => return Ok(Command::Sync),
            ("view", &[frame, x, y]) => {
                let (frame, cursor) = (frame as usize, PointPx::new(x, y));
                let track = now.tracks.keys().next_back().copied();
                return Ok(Command::View(View {
                    frame,
                    cursor,
                    track,
                    finished: false,
                    keys: 0,
                    outside: None,
                    look: None,
                }));
            }
            ("undo", _) => self.history.undo(now),
            ("redo", _) => self.history.redo(now),
            ("track", _) if words.len() > 1 => {
                let (track, content) = (TrackId(self.fresh()), Track::new(words[1], 0));
                Some(self.step(Edit::AddTrack { track, content }))
            }
            ("place", _) if words.len() == 3 => {
                let place = words[1].chars().next().zip(words[2].parse().ok());
                let edit = place.map(|(letter, frame): (char, usize)| {
                    let before = now.places.get(&letter).copied();
                    Edit::SetPlace { letter, before, after: Some(frame) }
                });
                edit.map(|edit| self.step(edit))
            }
            (word, numbers) => match self.edit(word, numbers) {
                Some(edit) => edit.map(|edit| self.step(edit)),
                None => {
                    let line = shown(line);
                    return Err(format!(
                        "'{line}' is not understood; see the head of cli/script.rs"
                    ));
                }
            },
        };
        Ok(step.map_or(Command::Nothing, Command::Step))
    }

    /// The edit of the newest track that a line asks for; inside, `None` when there is nothing
    /// to act on; outside, `None` when the line is not understood.
    fn edit(&mut self, word: &str, numbers: &[f32]) -> Option<Option<Edit>> {
        let newest = self.annotation.tracks.iter().next_back();
        let Some((&track, held)) = newest else {
            let known = ["boundary", "inside", "outside", "remove", "window", "mask", "flag"];
            return known.contains(&word).then_some(None);
        };
        let edit = match (word, numbers) {
            ("boundary" | "inside" | "outside", &[frame, x, y]) => {
                let kind = match word {
                    "boundary" => PointKind::Boundary,
                    "inside" => PointKind::Inside,
                    _ => PointKind::Outside,
                };
                let frame = frame as usize;
                let at = held.prompts.get(&frame).map_or(0, Vec::len);
                let prompt = Prompt::Point { kind, at: PointPx::new(x, y) };
                let placed = PlacedPrompt { id: PromptId(self.fresh()), prompt };
                Edit::AddPrompt { track, frame, at, placed }
            }
            ("remove", &[frame, index]) => {
                let (frame, at) = (frame as usize, index as usize);
                let placed = held.prompts.get(&frame).and_then(|list| list.get(at)).cloned();
                return Some(placed.map(|placed| Edit::RemovePrompt { track, frame, at, placed }));
            }
            ("window", &[first, last]) => {
                let window = Window { first: first as usize, last: last as usize };
                let (before, after) = (held.windows.clone(), insert_window(&held.windows, window));
                Edit::SetWindows { track, before, after }
            }
            ("mask", &[frame, cx, cy, r]) => {
                let frame = frame as usize;
                let (before, after) =
                    (held.masks.get(&frame).cloned(), Some(drawn_disc(cx, cy, r)));
                Edit::SetMask { track, frame, before, after }
            }
            ("flag", &[frame]) => {
                let (frame, before) = (frame as usize, held.flags.contains(&(frame as usize)));
                Edit::SetFlag { track, frame, before, after: !before }
            }
            _ => return None,
        };
        Some(Some(edit))
    }

    /// Takes a step over, once it is journaled.
    pub fn done(&mut self, step: &Step) {
        if self.annotation.apply_all(&step.edits).is_ok() {
            self.history.note(step);
        }
    }

    fn step(&mut self, edit: Edit) -> Step {
        Step { group: self.fresh(), mark: Mark::Do, edits: vec![edit], made_from: None }
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

fn drawn_disc(cx: f32, cy: f32, r: f32) -> FrameMask {
    let clip = clip();
    let inside = |x: u32, y: u32| PointPx::pixel_centre(x, y).distance(PointPx::new(cx, cy)) <= r;
    let bitmap = Bitmap::from_fn(clip.width_px, clip.height_px, inside);
    FrameMask { mask: bitmap.to_mask(), source: MaskSource::Accepted, score: 1.0 }
}

/// Follows the lines of standard input in the project at `project_root`. With `acks`, prints
/// `open SEED`, then one line per line read: `ack N`, `none N`, or `kept N` for a step that waits
/// in memory. Exit codes: 0 done, 1 a line was not understood, 2 the project cannot be opened.
pub fn run(project_root: &Path, acks: bool) -> u8 {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    let (mut store, loaded) = match ClipStore::open(project_root, &clip(), now_ms()) {
        Ok(opened) => opened,
        Err(error) => {
            let _ = writeln!(err, "{error}");
            return 2;
        }
    };
    for note in &loaded.notes {
        let _ = writeln!(err, "{note}");
    }
    let mut say = |text: String| {
        if acks { writeln!(out, "{text}").and_then(|()| out.flush()) } else { Ok(()) }
    };
    if say(format!("open {}", loaded.session_seed)).is_err() {
        return 0;
    }
    let mut script = Script::new(loaded.annotation, loaded.history, loaded.session_seed);
    let mut code = 0;
    for (i, line) in io::stdin().lock().lines().map_while(Result::ok).enumerate() {
        let answer = match script.command(&line) {
            Ok(command) => match follow(&mut store, &mut script, command) {
                Ok(word) => word,
                Err(error) => {
                    let _ = writeln!(err, "{error}");
                    if error.step_is_kept() { "kept" } else { "none" }
                }
            },
            Err(why) => {
                let _ = writeln!(err, "{why}");
                code = 1;
                "none"
            }
        };
        if say(format!("{answer} {}", i + 1)).is_err() {
            break;
        }
    }
    code
}

fn follow(
    store: &mut ClipStore,
    script: &mut Script,
    command: Command,
) -> Result<&'static str, ProjectError> {
    match command {
        Command::Step(step) => {
            let result = store.append(&step, now_ms());
            if result.as_ref().err().is_none_or(ProjectError::step_is_kept) {
                script.done(&step);
            }
            result.map(|()| "ack")
        }
        Command::View(view) => store.append_view(&view, now_ms()).map(|()| "ack"),
        Command::Sync => store.sync().map(|()| "ack"),
        Command::Nothing => Ok("none"),
    }
}
