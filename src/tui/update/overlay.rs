//! What another rater or model made of the clip: laid over it, compared, taken over.

use crate::domain::{counted, shown};
use crate::engine::Structure;
use crate::tui::action::Action;
use crate::tui::model::{Effect, Model};
use crate::tui::tools::Other;

use super::{act, masks, tracks};

/// Asks for it, or takes it away.
pub(super) fn open(model: &mut Model, fx: &mut Vec<Effect>, path: Option<String>) {
    match path {
        Some(path) => fx.push(Effect::Overlay(act::at_home(path))),
        None if model.tools.other.take().is_some() => model.say("overlay taken away"),
        None => model.say("`:overlay PATH` lays a project or a file of masks over the clip"),
    }
}

/// It was read. What was left out or assumed stands in the same sentence: a script reads that one alone.
pub(super) fn take(model: &mut Model, name: String, structures: Vec<Structure>, notes: &[String]) {
    let size = (model.clip.width_px, model.clip.height_px);
    let mut all = structures.iter().flat_map(|each| each.masks.values());
    if all.any(|mask| (mask.width_px(), mask.height_px()) != size) {
        return model.warn(format!("{} has masks of another size", shown(&name)));
    }
    let notes: String = notes.iter().map(|note| format!("; {}", shown(note))).collect();
    let masks: usize = structures.iter().map(|each| each.masks.len()).sum();
    if masks == 0 {
        return model.warn(format!("{} holds no masks of this clip{notes}", shown(&name)));
    }
    let labels: Vec<String> = structures.iter().map(|each| shown(&each.label)).collect();
    model.say(format!(
        "{}: {} of {}{notes}; dashed; {} hides them, {} takes one over",
        shown(&name),
        counted(masks, "mask"),
        labels.join(", "),
        model.key(Action::ToggleOverlay),
        model.key(Action::TakeOverlay)
    ));
    model.tools.other = Some(Other { name, structures, hidden: false });
}

/// Hides it, or shows it again.
pub(super) fn toggle(model: &mut Model) {
    let Some(other) = &mut model.tools.other else { return say_none(model) };
    other.hidden = !other.hidden;
    let (name, now) = (shown(&other.name), if other.hidden { "hidden" } else { "shown, dashed" });
    model.say(format!("overlay {name} {now}"));
}

fn say_none(model: &mut Model) {
    model.say("no overlay; `:overlay PATH` lays a project or a file over the clip");
}

/// The other's mask becomes the one of the structure at hand on this frame, accepted.
pub(super) fn take_over(model: &mut Model, fx: &mut Vec<Effect>) {
    let Some((id, track)) = model.current() else { return tracks::say_none(model) };
    let Some(other) = &model.tools.other else { return say_none(model) };
    let Some(mask) = other.mask(&track.info.label, model.frame) else {
        return model.say("the overlay has no mask of this structure here");
    };
    let (bitmap, group) = (mask.to_bitmap(), model.fresh());
    if let Some(wider) = masks::draw(model, fx, group, (id, model.frame), &bitmap) {
        model.say(format!(
            "the other's mask taken over{wider}; {} brings yours back",
            model.key(Action::Undo)
        ));
    }
}
