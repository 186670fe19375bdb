//! What belongs to a person rather than to a project: the measured reaction time and the recorded
//! macros, in `$XDG_STATE_HOME/sonomark/person.yaml`.
//!
//! ```yaml
//! reaction_ms: 243
//! measured: 2026-11-26
//! macros:
//!   m: . F
//! ```
//!
//! The program writes it. What it cannot read it never writes over.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::yaml::{self, Entries, Faults, Kind, Node};
use crate::domain::shown;

/// What is known of a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// Between what is seen and the key, and the day on which that was measured; no day where it was set by hand.
    pub reaction: Option<(Duration, String)>,
    /// Keys by letter, spelled as in a keymap.
    pub macros: BTreeMap<char, String>,
}

/// Something new about a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Learned {
    /// The reaction time, just measured.
    Reaction(Duration),
    /// The reaction time, as the person says it is.
    ReactionSet(Duration),
    /// A macro was recorded: its letter and its keys, spelled as in a keymap.
    Macro(char, String),
}

/// The file as it is written.
#[derive(Serialize)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    reaction_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<String>,
    macros: BTreeMap<char, String>,
}

impl Person {
    /// What the file says; nothing where there is none.
    ///
    /// # Errors
    /// All faults of the file.
    pub fn load(path: &Path) -> Result<Self, Faults> {
        match yaml::text_if_there(path)? {
            Some((name, text)) => Self::read(&name, &text),
            None => Ok(Self::default()),
        }
    }

    /// Reads the text of such a file; `file` is only for messages.
    ///
    /// # Errors
    /// All faults, each with its line.
    pub fn read(file: &str, text: &str) -> Result<Self, Faults> {
        let root = yaml::parse(file, text)?;
        let mut faults = Faults::new(file);
        let mut person = Self::default();
        let known = &["reaction_ms", "measured", "macros"];
        if let Some(entries) = Entries::of(&root, "", known, &mut faults) {
            let day = entries.get("measured").and_then(|(_, node)| node.kind.word());
            let reaction = entries.get("reaction_ms");
            let reaction = reaction.and_then(|(_, node)| reaction_of(node, &mut faults));
            person.reaction = reaction.map(|time| (time, day.unwrap_or_default()));
            person.macros = entries
                .get("macros")
                .map_or_else(BTreeMap::new, |(_, node)| macros(node, &mut faults));
        }
        faults.or(person)
    }

    /// Adds to the file at `path` what was learned at `now_ms` (ms since 1970); other sessions of
    /// the same person may have added to it meanwhile.
    ///
    /// # Errors
    /// A sentence: why it is not kept. The file stays as it was.
    pub fn keep(path: &Path, learned: &Learned, now_ms: u64) -> Result<(), String> {
        let mut person = Self::load(path).map_err(|faults| {
            let told: Vec<String> = faults.sentences().collect();
            format!("not kept for the next time: {}; mend or remove the file", told.join(", "))
        })?;
        match learned {
            Learned::Reaction(time) => person.reaction = Some((*time, day_of(now_ms))),
            Learned::ReactionSet(time) => person.reaction = Some((*time, String::new())),
            Learned::Macro(letter, keys) => {
                person.macros.insert(*letter, keys.clone());
            }
        }
        person.write(path).map_err(|cause| {
            let path = shown(&path.to_string_lossy());
            format!("not kept for the next time: {path} cannot be written ({cause})")
        })
    }

    /// The file appears whole or not at all.
    fn write(&self, path: &Path) -> std::io::Result<()> {
        let (reaction_ms, measured) = match &self.reaction {
            Some((time, day)) => {
                (u64::try_from(time.as_millis()).ok(), (!day.is_empty()).then(|| day.clone()))
            }
            None => (None, None),
        };
        let written = Written { reaction_ms, measured, macros: self.macros.clone() };
        let text = serde_yaml::to_string(&written).map_err(std::io::Error::other)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        sweep(folder);
        let mut file = tempfile::Builder::new().prefix(BEGINS).suffix(ENDS).tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }
}

/// How a file is called until it is whole.
const BEGINS: &str = ".person-";
const ENDS: &str = ".part";
/// Nobody writes so few lines for so long.
const SILENT: Duration = Duration::from_secs(86_400);

/// Takes away what was left by those that were ended while they wrote. What cannot be taken away is in nobody's way.
fn sweep(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if !(name.starts_with(BEGINS.as_bytes()) && name.ends_with(ENDS.as_bytes())) {
            continue;
        }
        let since = entry.metadata().and_then(|meta| meta.modified());
        // A time that lies ahead is no silence.
        if since.is_ok_and(|at| at.elapsed().is_ok_and(|age| age >= SILENT)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Nobody reacts slower.
const REACTION_MAX_MS: f64 = 5000.0;

fn reaction_of(node: &Node, faults: &mut Faults) -> Option<Duration> {
    match node.kind {
        Kind::Number(ms, _) if (0.0..=REACTION_MAX_MS).contains(&ms) => {
            Some(Duration::from_millis(ms as u64))
        }
        _ => {
            faults.add(node.line, format!("`reaction_ms` is 0 to {REACTION_MAX_MS}"));
            None
        }
    }
}

fn macros(node: &Node, faults: &mut Faults) -> BTreeMap<char, String> {
    let Kind::Map(entries) = &node.kind else {
        faults.add(node.line, "`macros` must be a mapping of letters to keys");
        return BTreeMap::new();
    };
    let mut found = BTreeMap::new();
    for (name, node) in entries {
        let mut letters = name.chars();
        match (letters.next(), letters.next(), node.kind.word()) {
            (Some(letter), None, Some(keys)) if letter.is_alphanumeric() => {
                found.insert(letter, keys);
            }
            _ => {
                let name = shown(name);
                faults.add(node.line, format!("`macros.{name}` must be a letter and its keys"));
            }
        }
    }
    found
}

/// The day (UTC, as 2026-09-21) of a time in ms since 1970; empty where no calendar reaches.
pub(crate) fn day_of(ms: u64) -> String {
    let then = i64::try_from(ms).ok().and_then(chrono::DateTime::from_timestamp_millis);
    then.map(|then| then.format("%Y-%m-%d").to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_learned_is_there_the_next_time_and_a_faulty_file_is_not_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/person.yaml");
        assert_eq!(Person::load(&path), Ok(Person::default()));
        let day = 1_790_000_000_000;
        let time = Duration::from_millis(243);
        Person::keep(&path, &Learned::Macro('m', ". F # \" 1".into()), day).expect("kept");
        Person::keep(&path, &Learned::Macro('1', "9".into()), day).expect("kept");
        Person::keep(&path, &Learned::Reaction(time), day).expect("kept");
        let person = Person::load(&path).expect("no fault");
        assert_eq!(person.reaction, Some((time, "2026-09-21".into())));
        assert_eq!(person.macros[&'m'], ". F # \" 1");
        assert_eq!(person.macros[&'1'], "9");
        // What is set by hand was measured on no day.
        let by_hand = Duration::from_millis(250);
        Person::keep(&path, &Learned::ReactionSet(by_hand), day).expect("kept");
        let person = Person::load(&path).expect("no fault");
        assert_eq!(person.reaction, Some((by_hand, String::new())));

        let left =
            [".person-AbC012.part", ".person-DeF345.part"].map(|name| path.with_file_name(name));
        for (path, age) in left.iter().zip([2 * SILENT, SILENT / 2]) {
            std::fs::write(path, "half").expect("written");
            let file = std::fs::OpenOptions::new().write(true).open(path).expect("opened");
            let at = file.metadata().and_then(|meta| meta.modified()).expect("a time");
            file.set_modified(at - age).expect("set");
        }
        Person::keep(&path, &Learned::Macro('1', "9".into()), day).expect("kept");
        assert_eq!(left.map(|path| path.exists()), [false, true]);

        let hurt = "reaction_ms: soon\nmacros: {mm: x}\nmacro: {}\n";
        std::fs::write(&path, hurt).expect("written");
        let told = Person::keep(&path, &Learned::Reaction(time), day).expect_err("faulty");
        for part in ["reaction_ms", "macros.mm", "did you mean `macros`", "mend"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert_eq!(std::fs::read_to_string(&path).expect("there"), hurt);
    }
}
