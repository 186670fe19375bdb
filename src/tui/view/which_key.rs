//! Keys that can follow what was typed.

use ratatui::text::Line;

use crate::tui::key::spell;
use crate::tui::keymap::Found;
use crate::tui::model::Model;

use super::{Look, key_line};

/// The which-key box in so many `rows`: where they are few, "more" and "less" of the same thing
/// share a line.
pub(super) fn lines<'a>(model: &Model, width: usize, rows: usize, look: Look<'_>) -> Vec<Line<'a>> {
    let theme = look.theme;
    let typed = spell(&model.pending.keys);
    let mut lines = vec![Line::styled(format!("{typed} ..."), theme.strong(theme.title))];
    let Found::More(rest) = model.keymap.find(model.key_mode(), &model.pending.keys) else {
        return lines;
    };
    let named = rest.into_iter().map(|(keys, actions)| {
        let names: Vec<&str> = actions.iter().map(|action| action.name()).collect();
        (spell(&keys), names.join(", "))
    });
    let mut entries: Vec<(String, String)> = named.collect();
    if entries.len() + 2 > rows {
        entries = paired(entries);
    }
    let room = entries.len() + 2 <= rows;
    lines.extend(entries.iter().map(|(keys, what)| key_line(keys, what, 4, width, look)));
    if room {
        lines.push(key_line("esc", "never mind", 4, width, look));
    }
    lines
}

/// `gain-up` and `gain-down` as one entry.
fn paired(entries: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    for (keys, what) in entries {
        let partner = |known: &str| {
            let ends = [("-up", "-down"), ("-down", "-up")];
            ends.into_iter().any(|(a, b)| {
                known.strip_suffix(a).is_some_and(|stem| what.strip_suffix(b) == Some(stem))
            })
        };
        match out.iter_mut().find(|(_, known)| partner(known)) {
            Some((first, known)) => {
                *first = format!("{first} {keys}");
                let end = what.rfind('-').map_or("", |at| &what[at..]);
                known.push_str(&format!(", {end}"));
            }
            None => out.push((keys, what)),
        }
    }
    out
}
