//! Pages in the place of the picture: every action with its keys, and the last messages.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use crate::domain::shown;
use crate::tui::action::{Action, Group};
use crate::tui::keymap::Keymap;
use crate::tui::model::{Model, Weight};

use super::{Look, key_line, wrapped};

/// Width of the keys, cells.
const KEYS: usize = 24;

enum Entry {
    Title(Group),
    Gap,
    Act(Action),
}

fn entries() -> Vec<Entry> {
    let mut all = Vec::new();
    let mut group = None;
    for &action in Action::ALL {
        if group != Some(action.group()) {
            if group.is_some() {
                all.push(Entry::Gap);
            }
            all.push(Entry::Title(action.group()));
            group = Some(action.group());
        }
        all.push(Entry::Act(action));
    }
    all
}

/// How many lines the help page has.
#[must_use]
pub fn help_lines() -> usize {
    entries().len()
}

/// Draws the page from line `top` on.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, keymap: &Keymap, top: usize, look: Look<'_>) {
    let theme = look.theme;
    let width = usize::from(area.width);
    let rows = usize::from(area.height).saturating_sub(2);
    let all = entries();
    let last = (top + rows).min(all.len());
    let mut lines = vec![Line::styled(
        format!(
            "Keys ({}-{last} of {}; j k scroll, esc closes; a count goes before a key: 12l, 40G)",
            top + 1,
            all.len()
        ),
        theme.strong(theme.title),
    )];
    lines.push(Line::default());
    for entry in all.iter().skip(top).take(rows) {
        lines.push(match entry {
            Entry::Gap => Line::default(),
            Entry::Title(group) => Line::styled(group.title(), theme.strong(theme.title)),
            Entry::Act(action) => {
                let keys = keymap.keys_of(*action).join("  ");
                let keys = if keys.is_empty() { format!(":{}", action.name()) } else { keys };
                key_line(&keys, action.doc(), KEYS, width, look)
            }
        });
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// Draws the last messages, the newest first, from number `top` on.
pub(super) fn messages(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    top: usize,
    look: Look<'_>,
) {
    let theme = look.theme;
    let width = usize::from(area.width).saturating_sub(2);
    let title =
        format!("The last {} messages, newest first (j k scroll, esc closes)", model.log.len());
    let mut lines = vec![Line::styled(title, theme.strong(theme.title)), Line::default()];
    for message in model.log.iter().rev().skip(top).take(usize::from(area.height)) {
        let (sign, style) = match message.weight {
            Weight::Info => ("  ", theme.style(theme.text)),
            Weight::Warning => ("! ", theme.strong(theme.alarm)),
        };
        for (i, part) in wrapped(&shown(&message.text), width).into_iter().enumerate() {
            let sign = if i == 0 { sign } else { "  " };
            lines.push(Line::styled(format!("{sign}{part}"), style));
        }
    }
    frame.render_widget(Paragraph::new(lines), area);
}
