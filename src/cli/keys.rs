//! `sonomark keys`: every key, as in the README.

use clap::Args;

use crate::config::Settings;
use crate::config::yaml::Faults;
use crate::domain::shown;
use crate::tui::keymap::Layer;
use crate::tui::keymap_of;
use crate::tui::theme::Theme;

use super::{Done, Failure, print, tell};

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print all faults of your keymap and theme instead
    #[arg(long)]
    check: bool,
}

/// Runs it.
pub(super) fn run(settings: &Settings, options: &Options) -> Done {
    if options.check {
        return told(&faults(settings));
    }
    let (keymap, faults) = keymap_of(settings);
    print(&keymap.to_markdown());
    told(&faults)
}

/// All faults of the person's keys and colours.
pub(super) fn faults(settings: &Settings) -> Vec<Faults> {
    let (_, mut faults) = keymap_of(settings);
    faults.extend(theme_faults(settings));
    faults
}

fn theme_faults(settings: &Settings) -> Vec<Faults> {
    let own = settings.theme_text.as_ref();
    let own = own.map(|held| (shown(&held.path.to_string_lossy()), held.text.as_str()));
    let layers: Vec<Layer<'_>> = own.iter().map(|(name, text)| Layer { name, text }).collect();
    Theme::layered("dark", &layers).map_or_else(|_| Vec::new(), |(_, faults)| faults)
}

fn told(faults: &[Faults]) -> Done {
    if faults.is_empty() {
        tell("keys and colours are fine");
        return Ok(());
    }
    let list: Vec<String> = faults.iter().flat_map(Faults::sentences).collect();
    Err(Failure::Configuration(list.join("\n")))
}
