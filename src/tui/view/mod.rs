//! What the model looks like: text cells here, the picture as a [`Scene`] in [`picture`].

mod area;
mod beside;
mod help;
mod labels;
pub mod layout;
mod letters;
mod m_mode;
mod mode_keys;
mod picture;
mod side;
mod status;
mod strip;
mod timeline;
mod which_key;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};
use unicode_width::UnicodeWidthChar;

pub use help::{help_lines, message_lines, messages_seen};
pub use layout::Areas;
pub use letters::draw_letters;
pub use picture::{Canvas, LEVELS, palette};
pub use status::tells_whole;

use super::model::{Mode, Model};
use super::theme::Theme;

/// How text is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// Colours.
    pub theme: &'a Theme,
    /// Draw with plain letters and signs only.
    pub ascii: bool,
}

/// Draws everything but the picture. Returns the cells that the picture may fill: none while the
/// help page is open or the terminal is too small.
pub fn draw(frame: &mut Frame<'_>, model: &Model, look: Look<'_>) -> Option<Rect> {
    let Some(areas) = model.areas() else {
        too_small(frame, look);
        return None;
    };
    timeline::draw(frame, areas.timeline, model, look);
    status::draw(frame, areas, model, look);
    let whole = Rect { width: frame.area().width, ..areas.picture };
    match &model.mode {
        Mode::Help(page) => {
            frame.render_widget(Clear, whole);
            help::draw(frame, whole, &model.keymap, page, look);
            return None;
        }
        Mode::Messages(top) => {
            frame.render_widget(Clear, whole);
            help::messages(frame, whole, model, *top, look);
            return None;
        }
        Mode::Normal | Mode::Rays | Mode::Bisect(_) | Mode::Reaction(_) | Mode::Command(_) => {}
    }
    match areas.side {
        Some(side) => side::draw(frame, side, model, look),
        // Nobody chooses from a list that they do not see, nor answers a word.
        None if chooses(model) || matches!(model.mode, Mode::Reaction(_)) => {
            side::draw(frame, whole, model, look);
            return None;
        }
        None => {}
    }
    Some(areas.picture)
}

/// Whether a key or a word is to be chosen from a list.
fn chooses(model: &Model) -> bool {
    let line = matches!(model.mode, Mode::Command(_));
    line || !model.pending.keys.is_empty() || model.tools.waiting.is_some()
}

fn too_small(frame: &mut Frame<'_>, look: Look<'_>) {
    let area = frame.area();
    frame.render_widget(Clear, area);
    let (columns, rows) = layout::SMALLEST;
    let sentence = format!(
        "This terminal is {} x {}; sonomark needs {columns} x {rows}. Enlarge it, or make its letters smaller.",
        area.width, area.height
    );
    let lines = wrapped(&sentence, usize::from(area.width));
    let lines: Vec<Line<'_>> = lines
        .into_iter()
        .map(|line| Line::styled(line, look.theme.style(look.theme.text)))
        .collect();
    frame.render_widget(Paragraph::new(lines), area);
}

/// `text` in lines of at most `width` cells, broken at spaces where possible.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if cells(line) + 1 + cells(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.extend(broken(word, width)),
        }
    }
    lines
}

/// A word in pieces of at most `width` cells: a path may be longer than a line, and its end tells the most.
fn broken(word: &str, width: usize) -> Vec<String> {
    let (mut pieces, mut piece, mut used) = (Vec::new(), String::new(), 0);
    for c in word.chars() {
        let wide = c.width().unwrap_or(0);
        if used > 0 && used + wide > width {
            pieces.push(std::mem::take(&mut piece));
            used = 0;
        }
        piece.push(c);
        used += wide;
    }
    pieces.push(piece);
    pieces
}

/// Width of text, cells.
fn cells(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// `text` cut to `width` cells, with a sign where something is missing.
fn cut(text: &str, width: usize, look: Look<'_>) -> String {
    if cells(text) <= width {
        return text.to_owned();
    }
    let sign = if look.ascii { '~' } else { '…' };
    let mut out = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > width {
            break;
        }
        out.push(c);
    }
    if width > 0 {
        out.push(sign);
    }
    out
}

/// A key and what it does, as the which-key box and the help show them.
fn key_line<'a>(keys: &str, what: &str, column: usize, width: usize, look: Look<'_>) -> Line<'a> {
    let keys = cut(keys, column, look);
    let gap = " ".repeat(column.saturating_sub(cells(&keys)) + 1);
    let what = cut(what, width.saturating_sub(column + 1), look);
    Line::from(vec![
        Span::styled(keys, look.theme.strong(look.theme.key)),
        Span::styled(format!("{gap}{what}"), look.theme.style(look.theme.text)),
    ])
}
