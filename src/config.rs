//! Settings: defaults, then the file, then the environment, then flags; each knows where it is
//! from.
//!
//! The file is `$XDG_CONFIG_HOME/sonomark/config.yaml`; beside it `keymaps/NAME.yaml` and
//! `themes/NAME.yaml` override the shipped ones leaf by leaf (their texts are read here and
//! understood by the screen). All faults of all sources are told at once.

pub mod schema;
pub mod yaml;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::domain::{Region, nearest_word, shown};
use schema::Schema;
use yaml::{Entries, Faults, Kind, Node};

/// Where a value is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// The file, and the line in it.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// A flag on the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => {
                write!(f, "{} line {line}", shown(&path.to_string_lossy()))
            }
            Self::Environment(name) => write!(f, "${name}"),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// A value and where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it is from.
    pub origin: Origin,
}

/// What happens to a running propagation when the terminal goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHangup {
    /// It finishes and is journaled, then the program ends.
    Finish,
    /// It stops after the frame in hand.
    Stop,
}

/// A keymap or theme of the person, still as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverrideText {
    /// Where it was read.
    pub path: PathBuf,
    /// YAML.
    pub text: String,
}

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The folder that holds everything written.
    pub project: Setting<PathBuf>,
    /// `auto`, `gpu`, `gpu:N` or `cpu`.
    pub device: Setting<String>,
    /// A model card, or the name of an imported network; `None` is the shipped one.
    pub card: Setting<Option<PathBuf>>,
    /// How pictures are drawn: `auto`, `sixel`, `kitty`, `iterm` or `halfblock`.
    pub graphics: Setting<String>,
    /// Name of the theme.
    pub theme: Setting<String>,
    /// Name of the keymap.
    pub keymap: Setting<String>,
    /// Whether masks are computed while the person looks, before they ask.
    pub ahead: Setting<bool>,
    /// What a hang-up does to a running propagation.
    pub on_hangup: Setting<OnHangup>,
    /// Memory for the features of visited frames, MiB.
    pub features_mib: Setting<usize>,
    /// Whether pixels outside the ultrasound regions of a DICOM clip, where names are burned in,
    /// are black everywhere: on the screen, for the network, in exports.
    pub hide_outside: Setting<bool>,
    /// What stays visible, where a person named it.
    pub region: Option<Region>,
    /// Which clip of a DICOM folder or DICOMDIR that holds several, from 1 on.
    pub series: Option<usize>,
    /// A file of labels and attributes; `None`: `schema.yaml` beside `config.yaml`, if there.
    pub schema: Setting<Option<PathBuf>>,
    /// What it says.
    pub asked: Schema,
    /// `keymaps/NAME.yaml` of the person, if there is one.
    pub keymap_text: Option<OverrideText>,
    /// `themes/NAME.yaml` of the person, if there is one.
    pub theme_text: Option<OverrideText>,
    /// The folder of `config.yaml`, for `doctor`.
    pub config_dir: PathBuf,
    /// The folder of imported networks.
    pub models_dir: PathBuf,
    /// The folder of what can be found out again.
    pub cache_dir: PathBuf,
}

/// What the command line says; `None` where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--project`
    pub project: Option<PathBuf>,
    /// `--device`
    pub device: Option<String>,
    /// `--card`
    pub card: Option<PathBuf>,
    /// `--graphics`
    pub graphics: Option<String>,
    /// `--theme`
    pub theme: Option<String>,
    /// `--keymap`
    pub keymap: Option<String>,
    /// `--on-hangup`
    pub on_hangup: Option<String>,
    /// `--outside`
    pub outside: Option<String>,
    /// `--schema`
    pub schema: Option<PathBuf>,
}

/// Why the settings cannot be used: every fault of every source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError(pub Vec<Faults>);

const KEYS: [&str; 11] = [
    "project",
    "device",
    "card",
    "graphics",
    "theme",
    "keymap",
    "ahead",
    "on_hangup",
    "features_mib",
    "outside",
    "schema",
];
const GRAPHICS: [&str; 5] = ["auto", "sixel", "kitty", "iterm", "halfblock"];

impl Settings {
    /// Reads the settings of this process: its environment, its home folder and `flags`.
    ///
    /// # Errors
    /// All faults of file, environment and flags at once.
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        Self::load_with(flags, &|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// The same with another environment.
    ///
    /// # Errors
    /// All faults of file, environment and flags at once.
    pub fn load_with(
        flags: &Flags,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let home = PathBuf::from(env("HOME").unwrap_or_else(|| "/".into()));
        let config_dir = xdg(env, "XDG_CONFIG_HOME", &home, ".config");
        let data_dir = xdg(env, "XDG_DATA_HOME", &home, ".local/share");
        let mut faults = Vec::new();
        let mut raw = Raw::default();
        raw.read_file(&config_dir.join("config.yaml"), &mut faults);
        raw.read_environment(env);
        raw.read_flags(flags);
        let mut settings = raw.settings(&config_dir, &data_dir, &home, &mut faults);
        settings.keymap_text = read_override(&config_dir, "keymaps", &settings.keymap, &mut faults);
        settings.theme_text = read_override(&config_dir, "themes", &settings.theme, &mut faults);
        settings.cache_dir = xdg(env, "XDG_CACHE_HOME", &home, ".cache");
        settings.asked = schema::load(&settings.schema, &config_dir, &mut faults);
        if faults.is_empty() { Ok(settings) } else { Err(ConfigError(faults)) }
    }

    /// Every setting as name, value and origin, for `doctor`.
    #[must_use]
    pub fn rows(&self) -> Vec<(&'static str, String, String)> {
        let path = |path: &Path| shown(&path.to_string_lossy());
        let hangup = match self.on_hangup.value {
            OnHangup::Finish => "finish",
            OnHangup::Stop => "stop",
        };
        let outside = match (self.region, self.hide_outside.value) {
            (Some(region), _) => region.to_string(),
            (None, hide) => if hide { "hide" } else { "show" }.to_owned(),
        };
        let card = self.card.value.as_deref().map_or("shipped".to_owned(), path);
        let (labels, attributes) = (self.asked.labels.len(), self.asked.attributes.len());
        let schema = self.schema.value.as_deref().map_or("schema.yaml".to_owned(), path);
        let schema = match self.asked.is_empty() {
            true => "none".to_owned(),
            false => format!("{schema}: {labels} labels, {attributes} attributes"),
        };
        vec![
            ("project", path(&self.project.value), self.project.origin.to_string()),
            ("device", self.device.value.clone(), self.device.origin.to_string()),
            ("card", card, self.card.origin.to_string()),
            ("graphics", self.graphics.value.clone(), self.graphics.origin.to_string()),
            ("theme", shown(&self.theme.value), self.theme.origin.to_string()),
            ("keymap", shown(&self.keymap.value), self.keymap.origin.to_string()),
            (
                "ahead",
                if self.ahead.value { "on" } else { "off" }.to_owned(),
                self.ahead.origin.to_string(),
            ),
            ("on_hangup", hangup.to_owned(), self.on_hangup.origin.to_string()),
            (
                "features_mib",
                self.features_mib.value.to_string(),
                self.features_mib.origin.to_string(),
            ),
            ("outside", outside, self.hide_outside.origin.to_string()),
            ("schema", schema, self.schema.origin.to_string()),
        ]
    }
}

/// `$VARIABLE/sonomark`, or the usual place below home.
fn xdg(env: &dyn Fn(&str) -> Option<String>, name: &str, home: &Path, usual: &str) -> PathBuf {
    // The standard says that relative values are to be ignored.
    let given = env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    given.unwrap_or_else(|| home.join(usual)).join("sonomark")
}

/// The newest text for each key, with its origin.
#[derive(Default)]
struct Raw(Vec<(&'static str, String, Origin)>);

impl Raw {
    fn set(&mut self, key: &'static str, value: String, origin: Origin) {
        self.0.retain(|(held, _, _)| *held != key);
        self.0.push((key, value, origin));
    }

    fn take(&self, key: &str) -> Option<(String, Origin)> {
        let found = self.0.iter().find(|(held, _, _)| *held == key)?;
        Some((found.1.clone(), found.2.clone()))
    }

    fn read_file(&mut self, path: &Path, all: &mut Vec<Faults>) {
        let name = shown(&path.to_string_lossy());
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => {
                let mut faults = Faults::new(name);
                faults.add(0, format!("it cannot be read: {error}"));
                return all.push(faults);
            }
        };
        let read = yaml::parse(&name, &text).and_then(|root| {
            let mut faults = Faults::new(&name);
            if let Some(entries) = Entries::of(&root, "", &KEYS, &mut faults) {
                for key in KEYS {
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
            }
            faults.or(())
        });
        all.extend(read.err());
    }

    fn read_environment(&mut self, env: &dyn Fn(&str) -> Option<String>) {
        for key in KEYS {
            let name = format!("SONOMARK_{}", key.to_uppercase());
            if let Some(value) = env(&name) {
                self.set(key, value, Origin::Environment(name));
            }
        }
    }

    fn read_flags(&mut self, flags: &Flags) {
        let text = |path: &Option<PathBuf>| path.as_ref().map(|p| p.to_string_lossy().into_owned());
        let given = [
            ("project", text(&flags.project)),
            ("device", flags.device.clone()),
            ("card", text(&flags.card)),
            ("graphics", flags.graphics.clone()),
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

    fn settings(
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
        let theme = one("theme", "dark", &name_fault);
        let keymap = one("keymap", "default", &name_fault);
        let on_hangup =
            one("on_hangup", "finish", &|value| choice_fault(value, &["finish", "stop"]));
        let ahead = one("ahead", "on", &|value| choice_fault(value, &["on", "off"]));
        let finish = on_hangup.value != "stop";
        let features_mib = one("features_mib", "512", &|value| {
            let whole = value.parse::<usize>().is_ok_and(|mib| (1..=1 << 20).contains(&mib));
            (!whole).then(|| "give whole MiB, 1 or more".to_owned())
        });
        let outside = one("outside", "show", &outside_fault);
        let schema = one("schema", "", &anything);
        let place = |value: &str| (!value.is_empty()).then(|| expanded(value, home));
        Settings {
            project: Setting { value: expanded(&project.value, home), origin: project.origin },
            device,
            card: Setting { value: place(&card.value), origin: card.origin },
            graphics,
            theme,
            keymap,
            ahead: Setting { value: ahead.value != "off", origin: ahead.origin },
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
            hide_outside: Setting { value: outside.value != "show", origin: outside.origin },
            schema: Setting { value: place(&schema.value), origin: schema.origin },
            asked: Schema::default(),
            keymap_text: None,
            theme_text: None,
            config_dir: config_dir.to_owned(),
            models_dir: data_dir.join("models"),
            cache_dir: PathBuf::new(),
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
fn name_fault(value: &str) -> Option<String> {
    let plain =
        !value.is_empty() && value.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_');
    (!plain).then(|| "a name has letters, digits, - and _ only".to_owned())
}

fn read_override(
    config_dir: &Path,
    folder: &str,
    name: &Setting<String>,
    all: &mut Vec<Faults>,
) -> Option<OverrideText> {
    if name_fault(&name.value).is_some() {
        return None;
    }
    let path = config_dir.join(folder).join(format!("{}.yaml", name.value));
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(OverrideText { path, text }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            let mut faults = Faults::new(shown(&path.to_string_lossy()));
            faults.add(0, format!("it cannot be read: {error}"));
            all.push(faults);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loads with `config.yaml` = `file` and the given variables.
    fn load(file: &str, vars: &[(&str, &str)], flags: &Flags) -> Result<Settings, ConfigError> {
        let home = tempfile::tempdir().expect("a folder");
        let dir = home.path().join(".config/sonomark");
        std::fs::create_dir_all(dir.join("themes")).expect("created");
        std::fs::write(dir.join("config.yaml"), file).expect("written");
        std::fs::write(dir.join("themes/mine.yaml"), "accent: red\n").expect("written");
        let env = |name: &str| match name {
            "HOME" => Some(home.path().to_string_lossy().into_owned()),
            _ => vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()),
        };
        Settings::load_with(flags, &env)
    }

    #[test]
    fn later_sources_win_and_every_value_knows_its_own() {
        let flags = Flags { device: Some("cpu".into()), ..Flags::default() };
        let vars = [("SONOMARK_DEVICE", "gpu"), ("SONOMARK_GRAPHICS", "sixel")];
        let file = "# mine\ndevice: gpu:1\ntheme: mine\nproject: ~/marks\non_hangup: stop\n\
                    features_mib: 64\n";
        let settings = load(file, &vars, &flags).expect("no fault");
        assert_eq!(settings.device.value, "cpu");
        assert_eq!(settings.device.origin, Origin::Flag("device".into()));
        assert_eq!(settings.graphics.origin.to_string(), "$SONOMARK_GRAPHICS");
        assert!(matches!(settings.theme.origin, Origin::File(_, 3)));
        assert!(settings.project.value.is_absolute() && settings.project.value.ends_with("marks"));
        assert_eq!(settings.on_hangup.value, OnHangup::Stop);
        assert_eq!(settings.features_mib.value, 64);
        assert_eq!(settings.keymap.origin, Origin::Default);
        assert_eq!(settings.theme_text.expect("read").text, "accent: red\n");
        assert_eq!(settings.keymap_text, None);
    }

    #[test]
    fn without_anything_there_are_defaults() {
        let settings = load("", &[], &Flags::default()).expect("no fault");
        assert!(settings.project.value.ends_with(".local/share/sonomark/project"));
        assert_eq!(settings.card.value, None);
        assert!(settings.rows().iter().all(|(_, _, origin)| origin == "default"));
    }

    #[test]
    fn all_faults_of_all_sources_are_told_at_once() {
        let vars = [("SONOMARK_ON_HANGUP", "finnish"), ("SONOMARK_THEME", "../../etc/passwd")];
        let flags = Flags { graphics: Some("sixl".into()), ..Flags::default() };
        let error = load("devce: cpu\nkeymap: [a]\nfeatures_mib: 0\n", &vars, &flags)
            .expect_err("faults")
            .to_string();
        for part in [
            "line 1: `devce` is unknown; did you mean `device`?",
            "line 2: `keymap` must be text, it is a list",
            "$SONOMARK_ON_HANGUP has 1 fault",
            "did you mean finish?",
            "--graphics has 1 fault",
            "did you mean sixel?",
            "`features_mib` is \"0\"; give whole MiB",
            "a name has letters, digits",
        ] {
            assert!(error.contains(part), "{part} is missing in\n{error}");
        }
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
