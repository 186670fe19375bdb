//! How the picture is shown: gain, gamma, stretch, CLAHE, and looks by name. Only the screen
//! changes: nothing here makes an effect, and frames stay as they were decoded.

use crate::config::looks::{self, Preset};
use crate::domain::{PictureLook, Region, worth_showing};
use crate::engine::Surround;
use crate::tui::action::Action;
use crate::tui::model::Model;

/// A step of gain or gamma.
const FACTOR: f32 = 1.15;
/// A step of the level, gray values.
const GRAYS: f32 = 8.0;

/// Changes of how gray values are shown; false when `action` is none.
pub(super) fn act(model: &mut Model, action: Action, n: u32) -> bool {
    let factor = FACTOR.powi(n.min(40) as i32);
    let grays = GRAYS * n as f32;
    let now = model.picture.look;
    let (what, look) = match action {
        Action::GainUp => ("more gain", PictureLook { gain: now.gain * factor, ..now }),
        Action::GainDown => ("less gain", PictureLook { gain: now.gain / factor, ..now }),
        Action::LevelUp => ("brighter", PictureLook { level: now.level + grays, ..now }),
        Action::LevelDown => ("darker", PictureLook { level: now.level - grays, ..now }),
        Action::GammaUp => {
            ("middle grays brighter", PictureLook { gamma: now.gamma * factor, ..now })
        }
        Action::GammaDown => {
            ("middle grays darker", PictureLook { gamma: now.gamma / factor, ..now })
        }
        Action::ToggleAutomatic => {
            let what = if now.automatic { "no stretch" } else { "stretched to the grays in use" };
            (what, PictureLook { automatic: !now.automatic, ..now })
        }
        Action::ToggleClahe => {
            let what = if now.clahe { "contrast as it is" } else { "contrast evened out" };
            (what, PictureLook { clahe: !now.clahe, ..now })
        }
        Action::ToggleColour => {
            let what = match (now.colour, model.picture.flow) {
                (true, _) => "colours as gray",
                (false, true) => "colours as in the file",
                (false, false) => "colours as in the file (no frame so far has one)",
            };
            (what, PictureLook { colour: !now.colour, ..now })
        }
        Action::GainReset => ("everything back", PictureLook::default()),
        Action::NextLook => {
            next(model, n as usize);
            return true;
        }
        _ => return false,
    };
    let look = rounded(look).limited();
    if look == now {
        model.say(format!("{what}: there is no more of it ({})", told(&now)));
    } else {
        take(model, look);
        model.say(format!("{what}: {}", told(&look)));
    }
    true
}

/// Steps up and down end where they began.
fn rounded(look: PictureLook) -> PictureLook {
    let hundredths = |value: f32| (value * 100.0).round() / 100.0;
    PictureLook { gain: hundredths(look.gain), gamma: hundredths(look.gamma), ..look }
}

/// Gain, level and perhaps gamma by numbers.
pub(super) fn set_tone(model: &mut Model, gain: f32, level: f32, gamma: Option<f32>) {
    let now = model.picture.look;
    let look = PictureLook { gain, level, gamma: gamma.unwrap_or(now.gamma), ..now }.limited();
    take(model, look);
    model.say(format!("shown with {}", told(&look)));
}

/// The look of this name, or what there is to choose from.
pub(super) fn by_name(model: &mut Model, name: Option<&str>) {
    let Some(name) = name else {
        let names: Vec<&str> = model.looks.presets.iter().map(|each| each.name.as_str()).collect();
        let names = names.join(", ");
        let sentence = format!("shown with {}; looks: {names}", told(&model.picture.look));
        return model.say(sentence);
    };
    match model.looks.presets.iter().find(|each| each.name == name).cloned() {
        Some(preset) => choose(model, &preset),
        None => {
            let sentence = looks::no_such(name, &model.looks.presets);
            model.warn(sentence);
        }
    }
}

/// The look `n` on in the list; after a change by hand the first is one on.
fn next(model: &mut Model, n: usize) {
    let presets = &model.looks.presets;
    let at = presets.iter().position(|each| each.look == model.picture.look);
    let Some(to) = at.map_or_else(|| n.checked_sub(1), |at| Some(at + n)) else {
        return model.say(format!("shown with {}", told(&model.picture.look)));
    };
    if let Some(preset) = presets.get(to % presets.len().max(1)).cloned() {
        choose(model, &preset);
    }
}

fn choose(model: &mut Model, preset: &Preset) {
    take(model, preset.look);
    let what = told(&preset.look);
    model
        .say(format!("look {}: {what}; the network and exports see the file's grays", preset.name));
}

fn take(model: &mut Model, look: PictureLook) {
    model.picture.look = look;
    model.looks.own = true;
    measure(model);
}

fn told(look: &PictureLook) -> String {
    let told = look.told();
    if told.is_empty() { "grays as in the file".to_owned() } else { told }
}

/// The look that fits the clip at hand: the one of the settings, else by its labels, kind and
/// format. What a person chose for the clip before stays.
pub fn fit_look(model: &mut Model) {
    if !model.looks.own
        && let Some(preset) = fitting(model)
    {
        model.picture.look = preset.look;
        measure(model);
    }
}

/// The look that fits the clip, by itself.
pub(super) fn fitting(model: &Model) -> Option<Preset> {
    let presets = &model.looks.presets;
    if let Some(name) = &model.looks.always {
        return presets.iter().find(|each| each.name == *name).cloned();
    }
    let held = model.annotation.tracks.values().map(|track| track.info.label.as_str());
    let asked = model.schema.labels.iter().map(|label| label.name.as_str());
    looks::fitting(presets, held.chain(asked), &model.clip).cloned()
}

/// Measures what an automatic look stretches, once for a clip and region: a cine must not flicker.
pub(super) fn measure(model: &mut Model) {
    let region = region(model);
    let known = model.picture.range.is_some_and(|(of, _)| of == region);
    if !model.picture.look.automatic || known {
        return;
    }
    if let Some(range) = model.pixels().and_then(|pixels| worth_showing(pixels, region)) {
        model.picture.range = Some((region, range));
    }
}

fn region(model: &Model) -> Option<Region> {
    match model.surround {
        Surround::Found(region) | Surround::Black(region) => Some(region),
        Surround::Given | Surround::Open | Surround::Shown => None,
    }
}
