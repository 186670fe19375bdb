//! The keys of M-mode and the place on its line.

use ratatui::text::Line;

use crate::tui::action::Action;
use crate::tui::model::Model;

use super::{Look, cut, key_line};

/// What the side panel says while a line over time is shown.
pub(super) fn lines<'a>(model: &Model, width: usize, look: Look<'_>) -> Vec<Line<'a>> {
    let theme = look.theme;
    let Some(strip) = &model.tools.strip else { return Vec::new() };
    let told = model.distance(strip.from, strip.at(strip.depth_at(model.cursor)));
    // Why there are no mm is said when something is measured.
    let told = format!("depth {}", told.split(" (").next().unwrap_or_default());
    let mut lines = vec![
        Line::styled("M-mode", theme.strong(theme.title)),
        Line::styled(cut(&told, width, look), theme.style(theme.text)),
    ];
    let keys = [
        ([Action::DepthUp, Action::DepthDown], "along the line"),
        ([Action::PreviousFrame, Action::NextFrame], "frames"),
        ([Action::LineCounter, Action::LineClockwise], "turn the line"),
        ([Action::AddBoundary, Action::AddBoundary], "point on the line"),
        ([Action::MMode, Action::MMode], "no M-mode"),
    ];
    for (mut actions, what) in keys.map(|(actions, what)| (actions.to_vec(), what)) {
        actions.dedup();
        let keys: Vec<String> = actions.iter().map(|action| model.bare_key(*action)).collect();
        lines.push(key_line(&keys.join(" "), what, 6, width, look));
    }
    lines.push(Line::default());
    lines
}
