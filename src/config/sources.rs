//! Where settings come from: file, environment, flags; the newest text for each key, and whether it can be meant.
//!
//! What decides whether this file is right: a later source replaces an earlier one whole, and every fault names its source.

use std::path::{Path, PathBuf};

use super::looks::{self, Preset};
use super::schema::Schema;
use super::yaml::{self, Entries, Faults, Kind, Node};
use super::{Flags, OnHangup, Origin, Passthrough, Setting, Settings};
use crate::domain::{Cut, Region, nearest_word, shown};

const KEYS: [&str; 15] = [
    "project",
    "device",
    "card",
    "graphics",
    "passthrough",
    "theme",
    "keymap",
    "ahead",
    "bell",
    "on_hangup",
    "features_mib",
    "outside",
    "schema",
    "look",
    LOOKS,
];
/// The one key whose value is no text; only the file has it.
const LOOKS: &str = "looks";

/// Keys whose value is a text.
fn texts() -> impl Iterator<Item = &'static str> {
    KEYS.into_iter().filter(|key| *key != LOOKS)
}
const GRAPHICS: [&str; 5] = ["auto", "sixel", "kitty", "iterm", "halfblock"];

/// The newest text for each key, with its origin.
#[derive(Default)]
pub(super) struct Raw {
    texts: Vec<(&'static str, String, Origin)>,
    looks: Option<Vec<Preset>>,
}

impl Raw {
    fn set(&mut self, key: &'static str, value: String, origin: Origin) {
        self.texts.retain(|(held, _, _)| *held != key);
        self.texts.push((key, value, origin));
    }

    fn take(&self, key: &str) -> Option<(String, Origin)> {
        let found = self.texts.iter().find(|(held, _, _)| *held == key)?;
        Some((found.1.clone(), found.2.clone()))
    }

    pub(super) fn read_file(&mut self, path: &Path, all: &mut Vec<Faults>) {
        let (name, text) = match yaml::text_if_there(path) {
            Ok(Some(read)) => read,
            Ok(None) => return,
            Err(faults) => return all.push(faults),
        };
        let read = yaml::parse(&name, &text).and_then(|root| {
            let mut faults = Faults::new(&name);
            if let Some(entries) = Entries::of(&root, "", &KEYS, &mut faults) {
                for key in texts() {
                    let value = match entries.get(key) {
                        // A number needs no quotes.
                        Some((_, Node { line, kind: Kind::Number(n) })) => {
                            Some((n.to_string(), *line))
                        }
                        _ => entries.text(key, &mut faults).map(|(text, at)| (text.to_owned(), at)),
                    };
                    if let Some((value, line)) = value {
                        self.set(key, value, Origin::File(path.to_owned(), line));
                    }
                }
                self.looks = entries.get(LOOKS).map(|(_, node)| looks::read(node, &mut faults));
            }
            faults.or(())
        });
        all.extend(read.err());
    }

    pub(super) fn read_environment(&mut self, env: &dyn Fn(&str) -> Option<String>) {
        for key in texts() {
            let name = format!("SONOMARK_{}", key.to_uppercase());
            if let Some(value) = env(&name) {
                self.set(key, value, Origin::Environment(name));
            }
        }
    }

    pub(super) fn read_flags(&mut self, flags: &Flags) {
        let text = |path: &Option<PathBuf>| path.as_ref().map(|p| p.to_string_lossy().into_owned());
        let given = [
            ("project", text(&flags.project)),
            ("device", flags.device.clone()),
            ("card", text(&flags.card)),
            ("graphics", flags.graphics.clone()),
            ("passthrough", flags.passthrough.clone()),
            ("theme", flags.theme.clone()),
            ("keymap", flags.keymap.clone()),
            ("on_hangup", flags.on_hangup.clone()),
            ("outside", flags.outside.clone()),
            ("schema", text(&flags.schema)),
        ];
        for (key, value) in given {
            if let Some(value) = value {
                self.set(key, value, Origin::Flag(key.replace('_', "-")));
            }
        }
    }

    pub(super) fn settings(
        &self,
        config_dir: &Path,
        data_dir: &Path,
        home: &Path,
        all: &mut Vec<Faults>,
    ) -> Settings {
        let mut one = |key: &str, default: &str, check: &dyn Fn(&str) -> Option<String>| {
            let Some((value, origin)) = self.take(key) else {
                return Setting { value: default.to_owned(), origin: Origin::Default };
            };
            if let Some(fault) = check(&value) {
                let mut faults = Faults::new(origin.to_string());
                faults.add(0, format!("`{key}` is \"{}\"; {fault}", shown(&value)));
                all.push(faults);
            }
            Setting { value, origin }
        };
        let anything = |_: &str| None;
        let project = one("project", &data_dir.join("project").to_string_lossy(), &anything);
        let device = one("device", "auto", &device_fault);
        let card = one("card", "", &anything);
        let graphics = one("graphics", "auto", &|value| choice_fault(value, &GRAPHICS));
        let passthrough =
            one("passthrough", "auto", &|value| choice_fault(value, &["auto", "on", "off"]));
        let theme = one("theme", "dark", &name_fault);
        let keymap = one("keymap", "default", &name_fault);
        let on_hangup =
            one("on_hangup", "finish", &|value| choice_fault(value, &["finish", "stop"]));
        let ahead = one("ahead", "on", &|value| choice_fault(value, &["on", "off"]));
        let bell = one("bell", "on", &|value| choice_fault(value, &["on", "off"]));
        let finish = on_hangup.value != "stop";
        let features_mib = one("features_mib", "512", &|value| {
            let whole = value.parse::<usize>().is_ok_and(|mib| (1..=1 << 20).contains(&mib));
            (!whole).then(|| "give whole MiB, 1 or more".to_owned())
        });
        let outside = one("outside", "show", &outside_fault);
        let schema = one("schema", "", &anything);
        let looks = self.looks.clone().unwrap_or_else(looks::shipped);
        let look = one("look", looks::AUTOMATIC, &|value| looks::name_fault(value, &looks));
        let place = |value: &str| (!value.is_empty()).then(|| expanded(value, home));
        Settings {
            project: Setting { value: expanded(&project.value, home), origin: project.origin },
            device,
            card: Setting { value: place(&card.value), origin: card.origin },
            graphics,
            passthrough: Setting {
                value: match passthrough.value.as_str() {
                    "on" => Passthrough::On,
                    "off" => Passthrough::Off,
                    _ => Passthrough::Auto,
                },
                origin: passthrough.origin,
            },
            theme,
            keymap,
            ahead: Setting { value: ahead.value != "off", origin: ahead.origin },
            bell: Setting { value: bell.value != "off", origin: bell.origin },
            on_hangup: Setting {
                value: if finish { OnHangup::Finish } else { OnHangup::Stop },
                origin: on_hangup.origin,
            },
            features_mib: Setting {
                value: features_mib.value.parse().unwrap_or(1),
                origin: features_mib.origin,
            },
            region: outside.value.parse().ok(),
            series: None,
            cut: Cut::default(),
            hide_outside: Setting { value: outside.value != "show", origin: outside.origin },
            schema: Setting { value: place(&schema.value), origin: schema.origin },
            asked: Schema::default(),
            look,
            looks,
            keymap_text: None,
            theme_text: None,
            config_dir: config_dir.to_owned(),
            models_dir: data_dir.join("models"),
            cache_dir: PathBuf::new(),
            person_file: PathBuf::new(),
        }
    }
}

/// `~/` at the start is the home folder, also where no shell expands it.
fn expanded(path: &str, home: &Path) -> PathBuf {
    path.strip_prefix("~/").map_or_else(|| PathBuf::from(path), |rest| home.join(rest))
}

fn device_fault(value: &str) -> Option<String> {
    let numbered = value.strip_prefix("gpu:").is_some_and(|n| n.parse::<usize>().is_ok());
    if numbered { None } else { choice_fault(value, &["auto", "gpu", "gpu:N", "cpu"]) }
}

fn outside_fault(value: &str) -> Option<String> {
    if value.contains(':') {
        return value.parse::<Region>().err().map(|error| error.to_string());
    }
    choice_fault(value, &["show", "hide"])
}

fn choice_fault(value: &str, choices: &[&str]) -> Option<String> {
    if choices.contains(&value) && value != "gpu:N" {
        return None;
    }
    let hint = nearest_word(value, choices.iter().copied())
        .map_or(String::new(), |near| format!(", did you mean {near}?"));
    Some(format!("choose one of {}{hint}", choices.join(", ")))
}

/// Names become file names below the folder of `config.yaml`.
pub(super) fn name_fault(value: &str) -> Option<String> {
    let plain =
        !value.is_empty() && value.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_');
    (!plain).then(|| "a name has letters, digits, - and _ only".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_checked() {
        for good in ["auto", "gpu", "gpu:3", "cpu"] {
            assert_eq!(device_fault(good), None);
        }
        for bad in ["gpu:N", "gpu:", "cuda", ""] {
            assert!(device_fault(bad).is_some(), "{bad}");
        }
    }
}
