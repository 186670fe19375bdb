//! Settings: defaults, then the file, then the environment, then flags; each knows where it is
//! from.
//!
//! The file is `$XDG_CONFIG_HOME/sonomark/config.yaml` (a relative `project` or `schema` in it is
//! relative to its folder); beside it `keymaps/NAME.yaml` and
//! `themes/NAME.yaml` override the shipped ones leaf by leaf (their texts are read here and
//! understood by the screen). All faults of all sources are told at once.

pub mod looks;
pub mod person;
pub mod schema;
mod sources;
pub mod yaml;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::domain::{Cut, Region, counted, shown};
use looks::Preset;
use schema::Schema;
pub use sources::{KEYMAPS, THEMES};
use sources::{Raw, name_fault, unknown_name, unknown_variables};
use yaml::Faults;

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

/// Whether pictures are handed through tmux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passthrough {
    /// Where tmux allows it, shows none itself, and the terminal behind it can.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
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
    /// Whether pictures are handed through tmux.
    pub passthrough: Setting<Passthrough>,
    /// Name of the theme.
    pub theme: Setting<String>,
    /// Name of the keymap.
    pub keymap: Setting<String>,
    /// Whether masks are computed while the person looks, before they ask.
    pub ahead: Setting<bool>,
    /// Whether the terminal's bell tells the end of a long propagation.
    pub bell: Setting<bool>,
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
    /// Which part of a volume is shown, and along which axis.
    pub cut: Cut,
    /// A file of labels and attributes; `None`: `schema.yaml` beside `config.yaml`, if there.
    pub schema: Setting<Option<PathBuf>>,
    /// What it says.
    pub asked: Schema,
    /// `auto` or the name of the look that every clip is shown with.
    pub look: Setting<String>,
    /// The looks there are.
    pub looks: Vec<Preset>,
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
    /// What is kept of the person, see [`person`].
    pub person_file: PathBuf,
    /// What a person may have meant to set and did not, ready to show.
    pub notes: Vec<String>,
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
    /// `--passthrough`
    pub passthrough: Option<String>,
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

impl Settings {
    /// Reads the settings of this process: its environment, its home folder and `flags`.
    ///
    /// # Errors
    /// All faults of file, environment and flags at once.
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        let env = |name: &str| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty());
            match name {
                // Services are started without it; the account has a folder all the same.
                "HOME" => value.or_else(|| std::env::home_dir().map(Into::into)),
                _ => value,
            }
        };
        let notes = unknown_variables(std::env::vars_os().map(|(name, _)| name));
        Ok(Self { notes, ..Self::load_with(flags, &env)? })
    }

    /// The same with another environment.
    ///
    /// # Errors
    /// All faults of file, environment and flags at once.
    pub fn load_with(
        flags: &Flags,
        env: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        // A relative one would lead wherever the program is started.
        let home = env("HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = home.unwrap_or_else(|| "/".into());
        let config_dir = xdg(env, "XDG_CONFIG_HOME", &home, ".config");
        let data_dir = xdg(env, "XDG_DATA_HOME", &home, ".local/share");
        let mut faults = Vec::new();
        let mut raw = Raw::default();
        raw.read_file(&config_dir.join("config.yaml"), &mut faults);
        raw.read_environment(env);
        raw.read_flags(flags);
        let mut settings = raw.settings(&config_dir, &data_dir, &home, &mut faults);
        let own = |folder: &str| config_dir.join(folder);
        settings.keymap_text =
            read_override(&own("keymaps"), &KEYMAPS, &settings.keymap, "keymap", &mut faults);
        settings.theme_text =
            read_override(&own("themes"), &THEMES, &settings.theme, "theme", &mut faults);
        settings.person_file =
            xdg(env, "XDG_STATE_HOME", &home, ".local/state").join("person.yaml");
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
        let passthrough = match self.passthrough.value {
            Passthrough::Auto => "auto",
            Passthrough::On => "on",
            Passthrough::Off => "off",
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
            false => format!(
                "{schema}: {}, {}",
                counted(labels, "label"),
                counted(attributes, "attribute")
            ),
        };
        vec![
            ("project", path(&self.project.value), self.project.origin.to_string()),
            ("device", self.device.value.clone(), self.device.origin.to_string()),
            ("card", card, self.card.origin.to_string()),
            ("graphics", self.graphics.value.clone(), self.graphics.origin.to_string()),
            ("passthrough", passthrough.to_owned(), self.passthrough.origin.to_string()),
            ("theme", shown(&self.theme.value), self.theme.origin.to_string()),
            ("keymap", shown(&self.keymap.value), self.keymap.origin.to_string()),
            ("ahead", switch(self.ahead.value), self.ahead.origin.to_string()),
            ("bell", switch(self.bell.value), self.bell.origin.to_string()),
            ("on_hangup", hangup.to_owned(), self.on_hangup.origin.to_string()),
            (
                "features_mib",
                self.features_mib.value.to_string(),
                self.features_mib.origin.to_string(),
            ),
            ("outside", outside, self.hide_outside.origin.to_string()),
            ("schema", schema, self.schema.origin.to_string()),
            ("look", shown(&self.look.value), self.look.origin.to_string()),
        ]
    }
}

fn switch(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

/// `$VARIABLE/sonomark`, or the usual place below home.
fn xdg(env: &dyn Fn(&str) -> Option<OsString>, name: &str, home: &Path, usual: &str) -> PathBuf {
    // The standard says that relative values are to be ignored.
    let given = env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    given.unwrap_or_else(|| home.join(usual)).join("sonomark")
}

/// The person's file of this name in `folder`; a name that is not shipped either is a fault.
fn read_override(
    folder: &Path,
    shipped: &[&str],
    name: &Setting<String>,
    key: &str,
    all: &mut Vec<Faults>,
) -> Option<OverrideText> {
    let wanted = &name.value;
    if name_fault(wanted).is_some() {
        return None;
    }
    let path = folder.join(format!("{wanted}.yaml"));
    match yaml::text_if_there(&path) {
        Ok(Some((_, text))) => return Some(OverrideText { path, text }),
        Ok(None) if shipped.contains(&wanted.as_str()) => {}
        Ok(None) => {
            let mut faults = Faults::new(name.origin.to_string());
            let why = unknown_name(wanted, shipped, folder);
            faults.add(0, format!("`{key}` is \"{}\"; {why}", shown(wanted)));
            all.push(faults);
        }
        Err(faults) => all.push(faults),
    }
    None
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
            "HOME" => Some(home.path().into()),
            _ => vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into()),
        };
        Settings::load_with(flags, &env)
    }

    #[test]
    fn later_sources_win_and_every_value_knows_its_own() {
        let flags = Flags { device: Some("cpu".into()), ..Flags::default() };
        let vars = [("SONOMARK_DEVICE", "gpu"), ("SONOMARK_GRAPHICS", "sixel")];
        let file = "# mine\ndevice: gpu:1\ntheme: mine\nproject: ~/marks\non_hangup: stop\n\
                    features_mib: 64\nbell: off\n";
        let settings = load(file, &vars, &flags).expect("no fault");
        assert_eq!(settings.device.value, "cpu");
        assert_eq!(settings.device.origin, Origin::Flag("device".into()));
        assert_eq!(settings.graphics.origin.to_string(), "$SONOMARK_GRAPHICS");
        assert!(matches!(settings.theme.origin, Origin::File(_, 3)));
        assert!(settings.project.value.is_absolute() && settings.project.value.ends_with("marks"));
        assert_eq!(settings.on_hangup.value, OnHangup::Stop);
        assert_eq!(settings.features_mib.value, 64);
        assert!(!settings.bell.value && settings.ahead.value);
        assert_eq!(settings.keymap.origin, Origin::Default);
        let dated = load("project: 2026.10\n", &[], &Flags::default()).expect("no fault");
        assert!(dated.project.value.ends_with("2026.10"), "as it is written");
        assert_eq!(settings.theme_text.expect("read").text, "accent: red\n");
        assert_eq!(settings.keymap_text, None);
    }

    #[test]
    fn names_that_nobody_has_and_empty_folders_are_faults() {
        let text = "keymap: vmi\ntheme: drak\nbell: false\nproject: \"\"\n";
        let error = load(text, &[], &Flags::default()).expect_err("faults").to_string();
        for part in [
            "`keymap` is \"vmi\"; choose one of colemak, default, left-hand, vim, did you mean vim?",
            "`theme` is \"drak\"; choose one of dark, light, mine, mono, did you mean dark?",
            "`bell` is \"false\"; choose one of on, off",
            "`project` is empty; name a folder, or leave it out",
        ] {
            assert!(error.contains(part), "{part} is missing in\n{error}");
        }
    }

    #[test]
    fn paths_keep_their_bytes_and_those_of_the_file_lie_beside_it() {
        use std::os::unix::ffi::OsStringExt;
        let odd = OsString::from_vec(b"/data/\xff".to_vec());
        let flags = Flags { project: Some(odd.clone().into()), ..Flags::default() };
        let settings = load("", &[], &flags).expect("no fault");
        assert_eq!(settings.project.value, PathBuf::from(&odd));
        let env = |name: &str| match name {
            "SONOMARK_PROJECT" | "HOME" | "SONOMARK_THEME" => Some(odd.clone()),
            _ => None,
        };
        let error = Settings::load_with(&Flags::default(), &env).expect_err("no text").to_string();
        assert!(error.contains("$SONOMARK_THEME has 1 fault"), "{error}");
        assert!(error.contains("it is not UTF-8") && !error.contains("PROJECT"), "{error}");
        let settings = load("project: marks\n", &[], &Flags::default()).expect("no fault");
        assert!(settings.project.value.ends_with(".config/sonomark/marks"));
    }

    #[test]
    fn without_anything_there_are_defaults() {
        let settings = load("", &[], &Flags::default()).expect("no fault");
        assert!(settings.project.value.ends_with(".local/share/sonomark/project"));
        assert_eq!(settings.card.value, None);
        assert!(settings.rows().iter().all(|(_, _, origin)| origin == "default"));
        let relative = |name: &str| (name == "HOME").then(|| OsString::from("here"));
        let settings = Settings::load_with(&Flags::default(), &relative).expect("no fault");
        assert!(settings.project.value.is_absolute(), "nothing goes where it is started");
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
}
