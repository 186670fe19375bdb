//! Where settings come from: file, environment, flags; the newest text for each key, and whether it can be meant.
//!
//! What decides whether this file is right: a later source replaces an earlier one whole, and every fault names its source.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::looks::{self, Preset};
use super::schema::Schema;
use super::yaml::{self, Entries, Faults};
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

/// Keys whose value is a path, in whatever bytes the file system has.
const PATHS: [&str; 3] = ["project", "card", "schema"];
/// Variables of this program that set no key.
const OTHER_VARIABLES: [&str; 1] = ["SONOMARK_ALLOW_SOFTWARE_GPU"];

/// The variable that sets a key.
fn variable(key: &str) -> String {
    format!("SONOMARK_{}", key.to_uppercase())
}

/// Sentences on variables that look like ours and are none: they set nothing.
pub(super) fn unknown_variables(names: impl Iterator<Item = OsString>) -> Vec<String> {
    let known: Vec<String> =
        texts().map(variable).chain(OTHER_VARIABLES.map(str::to_owned)).collect();
    let ours = names.map(|name| name.to_string_lossy().into_owned());
    let unknown = ours.filter(|name| name.starts_with("SONOMARK_") && !known.contains(name));
    let mut told: Vec<String> = unknown
        .map(|name| {
            let meant = nearest_word(&name, known.iter().map(String::as_str));
            let hint = meant.map_or("`sonomark doctor` shows every setting".to_owned(), |near| {
                format!("did you mean ${near}?")
            });
            format!("${} sets nothing; {hint}", shown(&name))
        })
        .collect();
    told.sort();
    told
}

/// Keys whose value is a text.
fn texts() -> impl Iterator<Item = &'static str> {
    KEYS.into_iter().filter(|key| *key != LOOKS)
}
const GRAPHICS: [&str; 5] = ["auto", "sixel", "kitty", "iterm", "halfblock"];

/// The newest text for each key, with its origin.
#[derive(Default)]
pub(super) struct Raw {
    texts: Vec<(&'static str, OsString, Origin)>,
    looks: Option<Vec<Preset>>,
}

impl Raw {
    fn set(&mut self, key: &'static str, value: OsString, origin: Origin) {
        self.texts.retain(|(held, _, _)| *held != key);
        self.texts.push((key, value, origin));
    }

    fn take(&self, key: &str) -> Option<(OsString, Origin)> {
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
                    let Some((place, node)) = entries.get(key) else { continue };
                    // A number needs no quotes and is meant as it is written; of true and false it is told what to say.
                    match node.kind.word() {
                        Some(value) => {
                            self.set(key, value.into(), Origin::File(path.to_owned(), node.line));
                        }
                        None => {
                            let what = node.kind.name();
                            faults.add(node.line, format!("`{place}` must be text, it is {what}"));
                        }
                    }
                }
                self.looks = entries.get(LOOKS).map(|(_, node)| looks::read(node, &mut faults));
            }
            faults.or(())
        });
        all.extend(read.err());
    }

    pub(super) fn read_environment(&mut self, env: &dyn Fn(&str) -> Option<OsString>) {
        for key in texts() {
            let name = variable(key);
            if let Some(value) = env(&name) {
                self.set(key, value, Origin::Environment(name));
            }
        }
    }

    pub(super) fn read_flags(&mut self, flags: &Flags) {
        let text = |text: &Option<String>| text.as_ref().map(OsString::from);
        let path = |path: &Option<PathBuf>| path.as_ref().map(OsString::from);
        let given = [
            ("project", path(&flags.project)),
            ("device", text(&flags.device)),
            ("card", path(&flags.card)),
            ("graphics", text(&flags.graphics)),
            ("passthrough", text(&flags.passthrough)),
            ("theme", text(&flags.theme)),
            ("keymap", text(&flags.keymap)),
            ("on_hangup", text(&flags.on_hangup)),
            ("outside", text(&flags.outside)),
            ("schema", path(&flags.schema)),
        ];
        for (key, value) in given {
            if let Some(value) = value {
                self.set(key, value, Origin::Flag(key.replace('_', "-")));
            }
        }
    }

    fn path(&self, key: &str, home: &Path) -> Option<Setting<PathBuf>> {
        let (value, origin) = self.take(key)?;
        Some(Setting { value: placed(&value, &origin, key, home), origin })
    }

    fn text(
        &self,
        key: &str,
        default: &str,
        check: &dyn Fn(&str) -> Option<String>,
        all: &mut Vec<Faults>,
    ) -> Setting<String> {
        let Some((value, origin)) = self.take(key) else {
            return Setting { value: default.to_owned(), origin: Origin::Default };
        };
        let fault = match value.to_str() {
            Some(text) => check(text),
            None => Some("it is not UTF-8; write it anew".to_owned()),
        };
        let value = value.to_string_lossy().into_owned();
        if let Some(fault) = fault {
            let mut faults = Faults::new(origin.to_string());
            faults.add(0, format!("`{key}` is \"{}\"; {fault}", shown(&value)));
            all.push(faults);
        }
        Setting { value, origin }
    }

    pub(super) fn settings(
        &self,
        config_dir: &Path,
        data_dir: &Path,
        home: &Path,
        all: &mut Vec<Faults>,
    ) -> Settings {
        let [project, card, schema] = PATHS.map(|key| self.path(key, home));
        all.extend(project.as_ref().and_then(nowhere));
        let mut one = |key: &str, default: &str, check: &dyn Fn(&str) -> Option<String>| {
            self.text(key, default, check, all)
        };
        let device = one("device", "auto", &device_fault);
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
        let looks = self.looks.clone().unwrap_or_else(looks::shipped);
        let look = one("look", looks::AUTOMATIC, &|value| looks::name_fault(value, &looks));
        Settings {
            project: project.unwrap_or_else(|| Setting {
                value: data_dir.join("project"),
                origin: Origin::Default,
            }),
            device,
            card: empty_is_none(card),
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
            schema: empty_is_none(schema),
            asked: Schema::default(),
            look,
            looks,
            keymap_text: None,
            theme_text: None,
            config_dir: config_dir.to_owned(),
            models_dir: data_dir.join("models"),
            cache_dir: PathBuf::new(),
            person_file: PathBuf::new(),
            notes: Vec::new(),
        }
    }
}

/// A project without a place: nothing could be written.
fn nowhere(project: &Setting<PathBuf>) -> Option<Faults> {
    let mut faults = Faults::new(project.origin.to_string());
    faults.add(0, "`project` is empty; name a folder, or leave it out");
    (project.value == Path::new("")).then_some(faults)
}

/// An empty path takes back what an earlier source said.
fn empty_is_none(given: Option<Setting<PathBuf>>) -> Setting<Option<PathBuf>> {
    let given = given.unwrap_or(Setting { value: PathBuf::new(), origin: Origin::Default });
    let value = Some(given.value).filter(|path| *path != PathBuf::new());
    Setting { value, origin: given.origin }
}

/// The path that a value means: `~/` at the start is the home folder, also where no shell expands
/// it, and a folder or file that `config.yaml` names lies relative to it, wherever the program is
/// started. (A card may be the bare name of an imported network and stays as it is.)
fn placed(value: &OsStr, origin: &Origin, key: &str, home: &Path) -> PathBuf {
    let path = Path::new(value);
    if let Ok(rest) = path.strip_prefix("~") {
        return home.join(rest);
    }
    match origin {
        Origin::File(file, _) if key != "card" && !value.is_empty() => {
            file.parent().unwrap_or(Path::new("")).join(path)
        }
        _ => path.to_owned(),
    }
}

fn device_fault(value: &str) -> Option<String> {
    let numbered = value.strip_prefix("gpu:").is_some_and(|n| n.parse::<usize>().is_ok());
    if numbered { None } else { choice_fault(value, &["auto", "gpu", "gpu:N", "cpu"]) }
}

fn outside_fault(value: &str) -> Option<String> {
    if value.contains(':') {
        return value.parse::<Region>().err().map(|error| error.to_string());
    }
    let regions = "box:LEFT,TOP,RIGHT,BOTTOM or fan:X,Y,NEAR,FAR,LEFT,RIGHT";
    choice_fault(value, &["show", "hide"]).map(|fault| format!("{fault}, or give {regions}"))
}

fn choice_fault(value: &str, choices: &[&str]) -> Option<String> {
    if choices.contains(&value) && value != "gpu:N" {
        return None;
    }
    let hint = nearest_word(value, choices.iter().copied())
        .map_or(String::new(), |near| format!(", did you mean {near}?"));
    Some(format!("choose one of {}{hint}", choices.join(", ")))
}

/// Keymaps and themes that are shipped; a test of the screen keeps these lists.
pub const KEYMAPS: [&str; 4] = ["default", "vim", "left-hand", "colemak"];
/// See [`KEYMAPS`].
pub const THEMES: [&str; 3] = ["dark", "light", "mono"];

/// Why `wanted` is no name of a keymap or theme: neither among `shipped` nor a file of `folder`.
pub(super) fn unknown_name(wanted: &str, shipped: &[&str], folder: &Path) -> String {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let yaml = files
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    let own = yaml.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
    let mut names: Vec<String> = shipped.iter().map(|name| (*name).to_owned()).chain(own).collect();
    names.sort();
    names.dedup();
    let near = nearest_word(wanted, names.iter().map(String::as_str));
    let hint = near.map_or(String::new(), |near| format!(", did you mean {near}?"));
    let folder = shown(&folder.to_string_lossy());
    format!("choose one of {}{hint} (own ones lie in {folder})", shown(&names.join(", ")))
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
    fn variables_that_set_nothing_are_told() {
        let names = ["HOME", "SONOMARK_DEVICE", "SONOMARK_ALLOW_SOFTWARE_GPU", "SONOMARK_DEVCE"];
        let told = unknown_variables(names.into_iter().map(OsString::from));
        assert_eq!(told, ["$SONOMARK_DEVCE sets nothing; did you mean $SONOMARK_DEVICE?"]);
    }

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
