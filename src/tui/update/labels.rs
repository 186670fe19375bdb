//! Labels and attributes of the schema: one key each, and one for the clip that is finished.

use crate::config::schema::{Attribute, Of};
use crate::domain::{Edit, FrameIndex, TrackInfo, counted, nearest_word, shown};
use crate::tui::action::Action;
use crate::tui::model::{Effect, Model};
use crate::tui::tools::Waiting;

use super::{edits, tracks};

/// Longest value, characters.
const VALUE_MAX: usize = 200;

/// Actions that want a key of the schema.
pub(super) fn act(model: &mut Model, action: Action) {
    let waiting = match action {
        Action::ChooseLabel => Waiting::Label { rename: false },
        Action::SetLabel => Waiting::Label { rename: true },
        _ => Waiting::Attribute,
    };
    // The key that follows is a name also where there is nothing to choose: it must not do what it does elsewhere.
    model.tools.waiting = Some(waiting);
    let (labels, attributes) = (&model.schema.labels, &model.schema.attributes);
    if labels.is_empty()
        && let Waiting::Label { rename } = waiting
    {
        let line =
            if rename { "`:rename LABEL` names this one" } else { "`:new LABEL` starts one" };
        return model.say(format!("no labels with keys (--schema FILE has them); {line}"));
    }
    if waiting == Waiting::Attribute {
        if attributes.is_empty() {
            return model
                .say("no attributes with keys (--schema FILE has them); `:attribute NAME VALUE`");
        }
        let Some((_, track)) = model.current() else { return tracks::say_none(model) };
        if model.schema.attributes_of(&track.info.label).next().is_none() {
            let label = shown(&track.info.label);
            return model.say(format!("the schema asks for no attribute of {label}"));
        }
    }
    model.say(waiting.told());
}

/// The key of a label: goes to the structure called so, or starts it; or calls the one at hand so.
pub(super) fn label(model: &mut Model, fx: &mut Vec<Effect>, key: char, rename: bool) {
    let Some(label) = model.schema.labels.iter().find(|label| label.key == key).cloned() else {
        return model.say(format!("no label has the key {key}"));
    };
    if rename {
        let after = TrackInfo { label: label.name, colour: label.colour };
        return tracks::set_info(model, fx, |_| after);
    }
    let mut called = model.annotation.tracks.iter().filter(|(_, t)| t.info.label == label.name);
    let known = called.clone().map(|(id, _)| *id).collect::<Vec<_>>();
    // Again: the next structure of the same label.
    let next = called.position(|(id, _)| Some(*id) == model.track).map_or(0, |at| at + 1);
    match known.get(next % known.len().max(1)) {
        Some(id) => tracks::choose(model, *id),
        None => tracks::new(model, fx, Some(label.name)),
    }
}

/// The key of an attribute: waits for that of a value.
pub(super) fn attribute(model: &mut Model, key: char) {
    let Some((_, track)) = model.current() else { return tracks::say_none(model) };
    let Some(found) = model.schema.attributes_of(&track.info.label).find(|a| a.key == key) else {
        return model.say(format!("no attribute of this structure has the key {key}"));
    };
    let at = model.schema.attributes.iter().position(|each| each == found).unwrap_or(0);
    let sentence = format!("{}: a value, 0 takes it away", shown(&found.name));
    model.tools.waiting = Some(Waiting::Value(at));
    model.say(sentence);
}

/// The key of a value of attribute number `at`.
pub(super) fn value(model: &mut Model, fx: &mut Vec<Effect>, at: usize, key: char) {
    let Some(attribute) = model.schema.attributes.get(at).cloned() else { return };
    let value = attribute.keyed_values().find(|(k, _)| *k == key).map(|(_, v)| v.to_owned());
    if value.is_none() && key != '0' {
        let name = shown(&attribute.name);
        return model.say(format!("no value of {name} has the key {key}; nothing done"));
    }
    set(model, fx, &attribute.name, attribute.of.place(model.frame), value);
}

/// Sets or takes away an attribute by its name, as on the command line.
pub(super) fn by_name(model: &mut Model, fx: &mut Vec<Effect>, name: &str, value: Option<String>) {
    match checked(model, name, value.as_deref()) {
        Ok(of) => set(model, fx, name, of.place(model.frame), value),
        Err(why) => model.warn(why),
    }
}

/// What an attribute of this name is said of.
///
/// # Errors
/// A sentence, when the schema knows no such attribute or value.
pub(super) fn checked(model: &Model, name: &str, value: Option<&str>) -> Result<Of, String> {
    if value.is_some_and(|v| v.chars().count() > VALUE_MAX || v.chars().any(char::is_control)) {
        return Err(format!(
            "a value has at most {VALUE_MAX} characters and no control characters"
        ));
    }
    let known: &[Attribute] = &model.schema.attributes;
    let Some(found) = known.iter().find(|each| each.name == name) else {
        // Without a schema everything may be said, of the structure as a whole.
        if known.is_empty() {
            return Ok(Of::Track);
        }
        let hint = nearest_word(name, known.iter().map(|each| each.name.as_str()))
            .map_or(String::new(), |near| format!("; did you mean {}?", shown(near)));
        return Err(format!("the schema has no attribute {}{hint}", shown(name)));
    };
    match value.filter(|value| !found.values.iter().any(|known| known == value)) {
        Some(value) => {
            let values: Vec<String> = found.values.iter().map(|known| shown(known)).collect();
            let (value, name) = (shown(value), shown(name));
            Err(format!("{value} is no value of {name}; choose {}", values.join(", ")))
        }
        None => Ok(found.of),
    }
}

fn set(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    name: &str,
    frame: Option<FrameIndex>,
    after: Option<String>,
) {
    let Some((track, held)) = model.current() else { return tracks::say_none(model) };
    let before = held.attribute(frame, name).map(str::to_owned);
    let place = frame.map_or("the structure".to_owned(), |frame| format!("frame {}", frame + 1));
    let sentence = match &after {
        Some(value) => format!("{} {} ({place})", shown(name), shown(value)),
        None => format!("{} taken away ({place})", shown(name)),
    };
    if before == after {
        return model.say(format!("{sentence}: it is so already"));
    }
    let group = model.fresh();
    let edit = Edit::SetAttribute { track, frame, name: name.to_owned(), before, after };
    if edits::commit(model, fx, group, vec![edit]) {
        model.say(sentence);
    }
}

/// Sets an attribute on many frames at once.
pub(super) fn set_on(
    model: &mut Model,
    fx: &mut Vec<Effect>,
    frames: &[FrameIndex],
    name: &str,
    value: Option<&str>,
) {
    match checked(model, name, value) {
        Err(why) => return model.warn(why),
        Ok(Of::Track) => {
            let name = shown(name);
            return model
                .warn(format!("{name} is said of the whole structure; `:attribute` sets it"));
        }
        Ok(Of::Frame) => {}
    }
    let Some((track, held)) = model.current() else { return tracks::say_none(model) };
    let edit = |&frame: &FrameIndex| {
        let (frame, after) = (Some(frame), value.map(str::to_owned));
        let before = held.attribute(frame, name).map(str::to_owned);
        (before != after).then(|| Edit::SetAttribute {
            track,
            frame,
            name: name.to_owned(),
            before,
            after,
        })
    };
    let todo: Vec<Edit> = frames.iter().filter_map(edit).collect();
    let (n, group) = (todo.len(), model.fresh());
    if edits::commit(model, fx, group, todo) {
        model.say(format!(
            "{} set on {}; one {} takes it back",
            shown(name),
            counted(n, "frame"),
            model.key(Action::Undo)
        ));
    } else {
        model.say("it is so already");
    }
}
