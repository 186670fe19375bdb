//! `sonomark keys`: every key, as in the README.

use clap::Args;

use crate::config::yaml::Faults;
use crate::config::{OverrideText, Settings};
use crate::domain::shown;
use crate::tui::keymap::{Keymap, Layer, shipped_layer};
use crate::tui::theme::Theme;

use super::{Done, Failure, print};

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print all faults of your keymap and theme instead
    #[arg(long)]
    check: bool,
}

/// Runs it.
pub(super) fn run(settings: &Settings, options: &Options) -> Done {
    let name = |text: &OverrideText| shown(&text.path.to_string_lossy());
    let keys = settings.keymap_text.as_ref().map(|held| (name(held), held.text.as_str()));
    let own = keys.iter().map(|(name, text)| Layer { name, text });
    let layers: Vec<Layer<'_>> =
        shipped_layer(&settings.keymap.value).into_iter().chain(own).collect();
    let (keymap, mut faults) = Keymap::layered(&layers);
    if !options.check {
        print(&keymap.to_markdown());
    }
    if let (true, Some(held)) = (options.check, &settings.theme_text) {
        let name = name(held);
        let layer = Layer { name: &name, text: &held.text };
        let (_, more) = Theme::layered("dark", &[layer]).map_err(Failure::Configuration)?;
        faults.extend(more);
    }
    if faults.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = faults.iter().flat_map(Faults::sentences).collect();
    Err(Failure::Configuration(list.join("\n")))
}
