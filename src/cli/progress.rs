//! How far the clips of a project are, and who worked on them.
//!
//! What decides whether this file is right: of a clip it says what the screen says when the clip is opened, and of people
//! what their own sessions tell, whoever asks.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::config::person::day_of;
use crate::domain::{MaskSource, counted, shown};
use crate::project::{ClipSummary, Loaded, Onlooker, ProjectError, Visit};
use crate::tui::marks::Marks;

/// Of a longer gap between two lines of a journal this much counts, s: nobody was there. As in `study analyse`.
const PAUSE_S: f64 = 60.0;

/// Which clips of a project are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Only {
    /// Called finished by somebody who changed nothing since
    Finished,
    /// Called so by nobody
    Unfinished,
    /// With frames on which a mask is missing
    Missing,
    /// With masks that are older than the points
    Stale,
    /// With frames that are flagged for a look
    Flagged,
}

/// How far a clip is.
#[derive(Debug)]
pub(super) struct Progress {
    /// What the project holds on it.
    pub(super) loaded: Loaded,
    /// Masks, also those outside the windows of their structure.
    masks: usize,
    /// Those of them that a person accepted or drew.
    accepted: usize,
    /// Frames of structures on which a mask is missing; `None` where nothing tells how many frames there are.
    missing: Option<usize>,
    /// Masks inside the windows that are older than the points.
    stale: usize,
    /// Frames of structures that are flagged for a look.
    flagged: usize,
    /// Who worked on it on a screen, by name.
    people: Vec<Person>,
}

/// What one person did on a clip.
#[derive(Debug, Default, PartialEq)]
struct Person {
    /// Account, as session names write it.
    name: String,
    /// Whether they called the clip finished, and changed nothing since.
    finished: bool,
    /// Time spent, s.
    seconds: f64,
    /// Keys pressed.
    keys: u64,
    /// When they last did something, ms since 1970.
    last_ms: u64,
}

impl Progress {
    /// Reads what the project holds on `clip`.
    ///
    /// # Errors
    /// Journals that cannot be listed. What is damaged, and a journal that cannot be read, is told by the notes of
    /// [`loaded`](Self::loaded).
    pub(super) fn of(onlooker: &mut Onlooker, clip: &ClipSummary) -> Result<Self, ProjectError> {
        let mut loaded = onlooker.load(&clip.hash)?;
        let people = people(&loaded.visits);
        let masks = loaded.annotation.masks();
        let (mut accepted, mut stale, mut flagged) = (0, 0, 0);
        let marks = Marks::of(&loaded.annotation, std::mem::take(&mut loaded.origins));
        for (&id, track) in &loaded.annotation.tracks {
            for (&frame, held) in &track.masks {
                accepted += usize::from(held.source == MaskSource::Accepted);
                stale += usize::from(track.visible(frame) && marks.is_stale(id, frame));
            }
            flagged += track.flags.len();
        }
        let tracks = loaded.annotation.tracks.values();
        let missing = clip
            .info
            .as_ref()
            .map(|info| tracks.map(|track| track.without_mask(info.frames).count()).sum::<usize>());
        Ok(Self { loaded, masks, accepted, missing, stale, flagged, people })
    }

    /// Whether somebody called the clip finished, and changed nothing since.
    fn finished(&self) -> bool {
        self.people.iter().any(|person| person.finished)
    }

    /// Whether it is one of those that are meant.
    pub(super) fn fits(&self, only: Only) -> bool {
        match only {
            Only::Finished => self.finished(),
            Only::Unfinished => !self.finished(),
            Only::Missing => self.missing != Some(0),
            Only::Stale => self.stale > 0,
            Only::Flagged => self.flagged > 0,
        }
    }

    fn labels(&self) -> impl Iterator<Item = String> {
        self.loaded.annotation.tracks.values().map(|track| shown(&track.info.label))
    }

    /// One line for people.
    pub(super) fn line(&self, clip: &ClipSummary) -> String {
        let unknown = || "(clip.json is damaged or of a newer sonomark)".to_owned();
        let name = clip.info.as_ref().map_or_else(unknown, |info| shown(&info.name));
        let frames = clip.info.as_ref().map_or(0, |info| info.frames);
        let labels: Vec<String> = self.labels().collect();
        let labels = if labels.is_empty() { "no structure".into() } else { labels.join(", ") };
        let missing = self.missing.unwrap_or(0);
        let parts = [
            (true, counted(self.masks, "mask")),
            (self.accepted > 0, format!("{} accepted", self.accepted)),
            (missing > 0, format!("{} without a mask", counted(missing, "frame"))),
            (self.stale > 0, format!("{} older than the points", counted(self.stale, "mask"))),
            (self.flagged > 0, format!("{} flagged", counted(self.flagged, "frame"))),
        ];
        let parts: Vec<String> =
            parts.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect();
        let people: Vec<String> = self.people.iter().map(Person::told).collect();
        let people =
            if people.is_empty() { String::new() } else { "  ".to_owned() + &people.join("; ") };
        let hash = clip.hash.short();
        let frames = counted(frames, "frame");
        format!("{hash}  {name}  {frames}  {labels}  {}{people}", parts.join(", "))
    }

    /// The same for programs.
    pub(super) fn json(&self, clip: &ClipSummary) -> Value {
        json!({
            "content_hash": clip.hash.0,
            "name": clip.info.as_ref().map(|info| &info.name),
            "frames": clip.info.as_ref().map(|info| info.frames),
            "labels": self.labels().collect::<Vec<_>>(),
            "masks": self.masks,
            "accepted": self.accepted,
            "missing": self.missing,
            "stale": self.stale,
            "flagged": self.flagged,
            "finished": self.finished(),
            "people": self.people.iter().map(Person::json).collect::<Vec<_>>(),
            "journals": clip.journals,
            "notes": self.loaded.notes,
        })
    }
}

impl Person {
    /// Time spent, begun minutes.
    fn minutes(&self) -> u64 {
        (self.seconds / 60.0).ceil() as u64
    }

    fn told(&self) -> String {
        let (name, minutes, day) = (shown(&self.name), self.minutes(), day_of(self.last_ms));
        let finished = if self.finished { ", finished" } else { "" };
        format!("{name} {minutes} min until {day}{finished}")
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "finished": self.finished,
            "minutes": self.minutes(),
            "keys": self.keys,
            "last_day": day_of(self.last_ms),
        })
    }
}

/// Who these sessions, in order of opening, were of. What was done without a screen is nobody's time, and takes back
/// nobody's word that the clip is finished.
fn people(visits: &[Visit]) -> Vec<Person> {
    let mut people: BTreeMap<&str, Person> = BTreeMap::new();
    for visit in visits.iter().filter(|visit| visit.keys > 0 || visit.finished) {
        let person = people.entry(&visit.user).or_default();
        person.finished = visit.finished;
        person.seconds += visit.seconds(PAUSE_S);
        person.keys += visit.keys;
        person.last_ms = person.last_ms.max(visit.times_ms.last().copied().unwrap_or(0));
    }
    let named = |(name, person): (&str, Person)| Person { name: name.to_owned(), ..person };
    people.into_iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_without_a_screen_is_nobodys_time_and_takes_no_word_back() {
        let visit = |user: &str, times_ms: &[u64], keys, finished| {
            let (user, times_ms) = (user.to_owned(), times_ms.to_vec());
            Visit { user, times_ms, keys, finished, ..Visit::default() }
        };
        let visits = [
            visit("anna", &[0, 30_000], 5, false),
            visit("ben", &[0, 900_000], 3, false),
            visit("anna", &[2_000_000, 2_050_000], 7, true),
            visit("anna", &[3_000_000, 3_600_000], 0, false),
        ];
        let anna = Person {
            name: "anna".into(),
            finished: true,
            seconds: 80.0,
            keys: 12,
            last_ms: 2_050_000,
        };
        let ben = Person {
            name: "ben".into(),
            seconds: 60.0,
            keys: 3,
            last_ms: 900_000,
            ..Person::default()
        };
        let found = people(&visits);
        assert_eq!(found, [anna, ben]);
        assert_eq!(
            found.iter().map(Person::told).collect::<Vec<_>>(),
            ["anna 2 min until 1970-01-01, finished", "ben 1 min until 1970-01-01"]
        );
    }
}
