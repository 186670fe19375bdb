//! Pages in the place of the picture: every action with its keys, and the last messages.

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use crate::domain::shown;
use crate::tui::action::{Action, Group};
use crate::tui::keymap::{KeyMode, Keymap};
use crate::tui::model::{HelpPage, Message, Model, Weight};

use super::timeline::LEGEND;
use super::{Look, cells, cut, key_line, wrapped};

/// Width of the keys, cells, where there is room.
const KEYS: usize = 24;

/// Width of the keys on so many `columns`.
fn keys_width(columns: usize) -> usize {
    KEYS.min(columns / 3)
}

/// As many keys of an action as `width` has room for; at least the first.
fn keys_told(keys: &[String], width: usize) -> String {
    let mut told = String::new();
    for key in keys {
        let gap = if told.is_empty() { "" } else { "  " };
        if !told.is_empty() && cells(&told) + cells(gap) + cells(key) > width {
            break;
        }
        told = format!("{told}{gap}{key}");
    }
    told
}

enum Entry {
    Title(Group),
    Gap,
    /// The heading of the signs of the timeline.
    Signs,
    /// A sign as drawn, with plain letters, and what it means.
    Sign(&'static str, &'static str, &'static str),
    /// The keys of an action, or none below them, and a line of what it does.
    Act(String, String),
}

/// The lines of the page on so many `columns`: actions that hold every word of `find` in key, name or explanation. What
/// does not fit beside the keys goes on below.
fn entries(find: &str, keymap: &Keymap, columns: usize) -> Vec<Entry> {
    let width = keys_width(columns);
    let beside = columns.saturating_sub(width + 1).max(1);
    let mut all = Vec::new();
    let mut group = None;
    let find = find.to_lowercase();
    let fits = |action: &Action| {
        let keys = keymap.keys_of(*action).join(" ");
        let (name, doc) = (action.name(), action.doc().to_lowercase());
        let title = action.group().title().to_lowercase();
        let held = |word: &str| [name, &doc, &title].iter().any(|text| text.contains(word));
        find.split_whitespace().all(|word| held(word) || keys.split(' ').any(|key| key == word))
    };
    for &action in Action::ALL.iter().filter(|action| find.is_empty() || fits(action)) {
        if group != Some(action.group()) {
            if group.is_some() {
                all.push(Entry::Gap);
            }
            all.push(Entry::Title(action.group()));
            group = Some(action.group());
        }
        let keys = keys_told(&keymap.keys_of(action), width);
        let mut keys = if keys.is_empty() { format!(":{}", action.name()) } else { keys };
        for line in wrapped(action.doc(), beside) {
            all.push(Entry::Act(std::mem::take(&mut keys), line));
        }
    }
    // The last page, and what a search for the timeline finds.
    let text = |(_, _, means): &(&str, &str, &str)| format!("{SIGNS} {means}").to_lowercase();
    let meant =
        |sign: &&(&str, &str, &str)| find.split_whitespace().all(|word| text(sign).contains(word));
    let signs: Vec<_> = LEGEND.iter().filter(meant).collect();
    if !signs.is_empty() {
        all.extend((!all.is_empty()).then_some(Entry::Gap));
        all.push(Entry::Signs);
    }
    all.extend(signs.into_iter().map(|&(rich, plain, means)| Entry::Sign(rich, plain, means)));
    all
}

/// Heading of the signs of the timeline.
const SIGNS: &str = "Signs of the timeline, below the picture";

/// How many lines the help page has on so many `columns`.
#[must_use]
pub fn help_lines(find: &str, keymap: &Keymap, columns: u16) -> usize {
    entries(find, keymap, usize::from(columns)).len()
}

fn key(keymap: &Keymap, mode: KeyMode, action: Action) -> String {
    keymap.named(mode, action, &[]).unwrap_or_default()
}

/// The keys that move and close a page.
fn scrolling(keymap: &Keymap) -> String {
    let [down, up, close] = [Action::ScrollDown, Action::ScrollUp, Action::Close]
        .map(|action| key(keymap, KeyMode::Help, action));
    format!("{down} {up} scroll, {close} closes")
}

/// How keys are written, and where a count goes.
fn spelling(keymap: &Keymap) -> String {
    let right = key(keymap, KeyMode::Normal, Action::CursorRight);
    format!("C- A- S-: with Ctrl, Alt, Shift; a count goes before a key: 12{right}")
}

/// Draws the page from line `top` on.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    keymap: &Keymap,
    page: &HelpPage,
    look: Look<'_>,
) {
    let theme = look.theme;
    let width = usize::from(area.width);
    let rows = usize::from(area.height).saturating_sub(2);
    let all = entries(&page.find, keymap, width);
    let top = page.top.min(all.len().saturating_sub(1));
    let last = (top + rows).min(all.len());
    let place = format!("{}-{last} of {}", (top + 1).min(last), all.len());
    let title = match (page.typing, page.find.as_str()) {
        (true, find) => {
            let [done, all] = [Action::LineRun, Action::Close]
                .map(|action| key(keymap, KeyMode::Command, action));
            format!("Keys with: {}_   ({done}: done, {all}: all)", shown(find))
        }
        (false, "") => format!(
            "Keys ({place}; {} searches, {})",
            key(keymap, KeyMode::Help, Action::FindHelp),
            scrolling(keymap),
        ),
        (false, find) => {
            let all = key(keymap, KeyMode::Help, Action::Close);
            format!("Keys with \"{}\" ({place}; {all}: all keys)", shown(find))
        }
    };
    let title = cut(&title, width, look);
    let spelling = cut(&spelling(keymap), width, look);
    let mut lines = vec![
        Line::styled(title, theme.strong(theme.title)),
        Line::styled(spelling, theme.style(theme.faint)),
    ];
    if all.is_empty() {
        lines.push(Line::styled("nothing holds these words", theme.style(theme.faint)));
    }
    for entry in all.iter().skip(top).take(rows) {
        lines.push(match entry {
            Entry::Gap => Line::default(),
            Entry::Title(group) => Line::styled(group.title(), theme.strong(theme.title)),
            Entry::Signs => Line::styled(SIGNS, theme.strong(theme.title)),
            Entry::Sign(rich, plain, means) => {
                let sign = if look.ascii { plain } else { rich };
                key_line(sign, means, keys_width(width), width, look)
            }
            Entry::Act(keys, line) => key_line(keys, line, keys_width(width), width, look),
        });
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// Cells before a message: the sign of a warning, and room behind.
const SIGN: usize = 2;

/// How many lines all `messages` take on a screen of so many `columns`.
#[must_use]
pub fn message_lines(messages: &VecDeque<Message>, columns: u16) -> usize {
    let width = usize::from(columns).saturating_sub(SIGN);
    messages.iter().map(|message| wrapped(&shown(&message.text), width).len()).sum()
}

/// The messages that stand to their end on the page of messages, or above it, when `top` is its first line.
pub fn messages_seen(model: &Model, top: usize) -> impl Iterator<Item = &Message> {
    let width = usize::from(model.grid.columns).saturating_sub(SIGN);
    let last = top + model.areas().map_or(0, |areas| areas.listing_rows());
    let mut line = 0;
    model.log.iter().rev().take_while(move |message| {
        line += wrapped(&shown(&message.text), width).len();
        line <= last
    })
}

/// Draws the last messages, the newest first, from line `top` on.
pub(super) fn messages(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    top: usize,
    look: Look<'_>,
) {
    let theme = look.theme;
    let width = usize::from(area.width).saturating_sub(SIGN);
    let how = scrolling(&model.keymap);
    let title = format!("The last {} messages, newest first ({how})", model.log.len());
    let mut lines = vec![Line::styled(title, theme.strong(theme.title)), Line::default()];
    let mut said = Vec::new();
    for message in model.log.iter().rev() {
        let (sign, style) = match message.weight {
            Weight::Info | Weight::Passing => ("  ", theme.style(theme.text)),
            Weight::Warning => ("! ", theme.strong(theme.alarm)),
        };
        for (i, part) in wrapped(&shown(&message.text), width).into_iter().enumerate() {
            let sign = if i == 0 { sign } else { "  " };
            said.push(Line::styled(format!("{sign}{part}"), style));
        }
    }
    lines.extend(said.into_iter().skip(top).take(usize::from(area.height)));
    frame.render_widget(Paragraph::new(lines), area);
}
