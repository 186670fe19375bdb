//! Labels and attributes of the schema in the side panel: what can be chosen, what is said.

use ratatui::text::{Line, Span};

use crate::config::schema::Of;
use crate::domain::{Track, shown};
use crate::tui::model::Model;
use crate::tui::tools::Waiting;

use super::{Look, cells, cut};

/// What the next key can choose of the schema.
pub(super) fn choices(model: &Model, waiting: Waiting) -> Vec<(char, String)> {
    let schema = &model.schema;
    let track = model.current().map(|(_, track)| track);
    match waiting {
        Waiting::Label { .. } => {
            let held = |name: &str| model.annotation.tracks.values().any(|t| t.info.label == name);
            let told =
                |name: &str| format!("{}{}", shown(name), if held(name) { " *" } else { "" });
            schema.labels.iter().map(|label| (label.key, told(&label.name))).collect()
        }
        Waiting::Attribute => {
            let Some(track) = track else { return Vec::new() };
            let all = schema.attributes_of(&track.info.label);
            all.map(|each| {
                let said = track.attribute(each.of.place(model.frame), &each.name);
                (each.key, format!("{} {}", shown(&each.name), shown(said.unwrap_or("-"))))
            })
            .collect()
        }
        Waiting::Value(at) => {
            let Some(attribute) = schema.attributes.get(at) else { return Vec::new() };
            let place = attribute.of.place(model.frame);
            let now = track.and_then(|track| track.attribute(place, &attribute.name));
            let told = |value: &str| {
                format!("{}{}", shown(value), if now == Some(value) { " *" } else { "" })
            };
            let values = attribute.keyed_values().map(|(key, value)| (key, told(value)));
            values.chain([('0', "not set".to_owned())]).collect()
        }
        _ => Vec::new(),
    }
}

/// What is said of a structure and of it on the frame at hand; what the schema asks for and
/// nobody said yet as a dash.
pub(super) fn said<'a>(
    model: &Model,
    track: &Track,
    width: usize,
    look: Look<'_>,
) -> Vec<Line<'a>> {
    let mut rows: Vec<(String, Option<String>)> = Vec::new();
    for each in model.schema.attributes_of(&track.info.label) {
        let value = track.attribute(each.of.place(model.frame), &each.name).map(str::to_owned);
        let of = if each.of == Of::Frame { "frame's " } else { "" };
        rows.push((format!("{of}{}", each.name), value));
    }
    // What another schema, or the command line, said is not hidden.
    let asked = |name: &String| model.schema.attributes.iter().any(|each| each.name == *name);
    for (name, value) in track.attributes_on(model.frame) {
        if !asked(&name) {
            rows.push((name, Some(value)));
        }
    }
    let theme = look.theme;
    let line = |(name, value): (String, Option<String>)| {
        let name = cut(&shown(&name), width / 2, look);
        let style = theme.style(if value.is_some() { theme.text } else { theme.faint });
        let value = value.map_or("-".to_owned(), |value| shown(&value));
        let value = cut(&value, width.saturating_sub(cells(&name) + 1), look);
        Line::from(vec![
            Span::styled(format!("{name} "), theme.style(theme.faint)),
            Span::styled(value, style),
        ])
    };
    rows.into_iter().map(line).collect()
}
