//! The status line and the last sentence.

use ratatui::Frame;
use ratatui::layout::Position;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use crate::domain::{counted, shown};
use crate::engine::Surround;
use crate::tui::action::Action;
use crate::tui::model::{Message, Mode, Model, Network, Saved, Weight};

use super::{Areas, Look, cells, cut};

pub(super) fn draw(frame: &mut Frame<'_>, areas: Areas, model: &Model, look: Look<'_>) {
    frame.render_widget(Clear, areas.status);
    frame.render_widget(Clear, areas.message);
    frame.render_widget(
        Paragraph::new(status(model, usize::from(areas.status.width), look)),
        areas.status,
    );
    if let Mode::Command(line) = &model.mode {
        let sign = if line.palette { "search: " } else { ":" };
        // What is typed stays in sight: the start gives way.
        let text = shown(&line.text);
        let before: String = line.text.chars().take(line.cursor).collect();
        let room = usize::from(areas.message.width).saturating_sub(cells(sign) + 1);
        let mut at = cells(&shown(&before));
        let mut text = text.as_str();
        while at > room {
            let mut chars = text.chars();
            let Some(first) = chars.next() else { break };
            at = at.saturating_sub(cells(first.encode_utf8(&mut [0; 4])));
            text = chars.as_str();
        }
        let theme = look.theme;
        let whole = Line::from(vec![
            Span::styled(sign.to_owned(), theme.strong(theme.key)),
            Span::styled(text.to_owned(), theme.style(theme.text)),
        ]);
        frame.render_widget(Paragraph::new(whole), areas.message);
        let column =
            areas.message.x + (cells(sign) + at).min(usize::from(areas.message.width) - 1) as u16;
        frame.set_cursor_position(Position::new(column, areas.message.y));
        return;
    }
    frame.render_widget(
        Paragraph::new(message(model, usize::from(areas.message.width), look)),
        areas.message,
    );
}

fn message<'a>(model: &Model, width: usize, look: Look<'_>) -> Line<'a> {
    let theme = look.theme;
    let key = model.bare_key(Action::Messages);
    let all = format!(" ({key} shows all)");
    // What fits, and where the rest is, if it is due and worth its place.
    let fitted = |text: &str, left: usize, more: &str, due: bool| {
        let told = (due || cells(text) > left) && left > cells(more) * 2;
        let room = if told { left - cells(more) } else { left };
        (cut(text, room, look), if told { more.to_owned() } else { String::new() })
    };
    let mut spans = Vec::new();
    let mut left = width;
    if let Saved::Failed(why) = &model.saved {
        // A long reason leaves half of the line to what answers the keys.
        let room = if model.message.text.is_empty() { width } else { width / 2 };
        let (banner, more) = fitted(&format!(" NOT SAVED: {} ", shown(why)), room, &all, false);
        left = left.saturating_sub(cells(&banner) + cells(&more) + 1);
        spans.push(Span::styled(banner, theme.banner()));
        spans.push(Span::styled(more, theme.strong(theme.key)));
        spans.push(Span::raw(" "));
    }
    let style = match model.message.weight {
        Weight::Info | Weight::Passing => theme.style(theme.text),
        Weight::Warning => theme.strong(theme.alarm),
    };
    let unread = unread(model);
    let more = if unread > 0 { format!(" ({key} shows {unread} more)") } else { all };
    let (text, more) = fitted(&shown(&model.message.text), left, &more, unread > 0);
    spans.push(Span::styled(text, style));
    spans.push(Span::styled(more, theme.strong(theme.key)));
    Line::from(spans)
}

/// Whether the last sentence stands on the screen to its end: of one that is cut nobody knows what it says.
#[must_use]
pub fn tells_whole(model: &Model, look: Look<'_>) -> bool {
    let Some(areas) = model.areas() else { return false };
    let told = shown(&model.message.text);
    let line = message(model, usize::from(areas.message.width), look);
    line.spans.iter().any(|span| span.content == told)
}

/// Warnings since the last key in whose place another sentence stands: the first of several may be why a clip is not there.
fn unread(model: &Model) -> usize {
    let unread = |said: &&Message| said.weight == Weight::Warning && **said != model.message;
    let since = if model.message.text.is_empty() { 0 } else { model.fresh };
    model.log.iter().rev().take(since).filter(unread).count()
}

fn status<'a>(model: &Model, width: usize, look: Look<'_>) -> Line<'a> {
    let theme = look.theme;
    let text = theme.style(theme.text);
    let mut parts: Vec<Span<'a>> = vec![
        Span::styled(format!(" {} ", word(model)), theme.strong(theme.title)),
        Span::styled(format!("frame {}/{}", model.frame + 1, model.clip.frames), text),
    ];
    if let Some(told) = opening(model) {
        parts.push(Span::styled(told, theme.strong(theme.alarm)));
    }
    if let Surround::Found(region) = model.surround {
        let [yes, no] =
            [Action::AcceptRegion, Action::RejectRegion].map(|action| model.bare_key(action));
        let question = format!("{}? {yes} black outside, {no} show", region.word());
        parts.push(Span::styled(question, theme.strong(theme.alarm)));
    }
    if let Some(beside) = &model.tools.beside {
        parts.push(Span::styled(format!("beside {}", beside.frame + 1), theme.strong(theme.key)));
    }
    if let Some((letter, _)) = &model.tools.recording {
        parts.push(Span::styled(format!("recording {letter}"), theme.strong(theme.alarm)));
    }
    let waiting = model.tools.to_play.len();
    if waiting > 0 {
        let stop = model.stop_key();
        let wait = if waiting == 1 { "waits" } else { "wait" };
        let told = format!("{} {wait}, {stop} stops", counted(waiting, "key"));
        parts.push(Span::styled(told, theme.strong(theme.alarm)));
    }
    let pending = pending(model);
    if !pending.is_empty() {
        parts.push(Span::styled(pending, theme.strong(theme.key)));
    }
    parts.push(saved(model, look));
    if let Some(told) = looked_at_with(model) {
        parts.push(Span::styled(told, theme.strong(theme.key)));
    }
    if let Surround::Black(region) = model.surround {
        let told = format!("black outside the {}", region.word());
        parts.push(Span::styled(told, theme.style(theme.faint)));
    }
    if let Some(progress) = progress(model) {
        parts.push(Span::styled(progress, theme.strong(theme.key)));
    }
    parts.push(Span::styled(position(model), text));
    parts.push(match &model.network {
        Network::Loading => Span::styled("network loading", theme.style(theme.faint)),
        Network::Failed(_) => Span::styled("no network", theme.strong(theme.alarm)),
        Network::Ready(info) => {
            let bridged = if info.bridged { " (points bridged)" } else { "" };
            Span::styled(
                format!("{}{bridged} on {}", shown(&info.model), shown(&info.device)),
                text,
            )
        }
    });
    if let Some(latency) = model.latency {
        parts.push(Span::styled(
            format!("mask {} ms", latency.as_millis()),
            theme.style(theme.faint),
        ));
    }
    // Two pixels in a cell: a terminal without pictures, or one that was not asked for them.
    if model.grid.cell_px == (1, 2) {
        parts.push(Span::styled("half blocks", theme.style(theme.faint)));
    }
    if let Some(view) = model.picture.viewport {
        parts.push(Span::styled(format!("zoom x{:.1}", view.scale), theme.style(theme.faint)));
    }
    // The most important stands first; what does not fit is left out whole, except device and
    // reason, which are worth having in part.
    let mut spans = Vec::new();
    let mut left = width;
    for part in parts {
        let room = left.saturating_sub(2);
        if cells(&part.content) > room && room < 12 {
            continue;
        }
        let fitted = cut(&part.content, room, look);
        left = left.saturating_sub(cells(&fitted) + 2);
        spans.push(Span::styled(fitted, part.style));
        spans.push(Span::raw("  "));
    }
    Line::from(spans)
}

/// What is being opened and for how long already; the name, which may be long, stands last.
fn opening(model: &Model) -> Option<String> {
    let opening = model.opening?;
    let name = model.queue.get(opening.at).map(|clip| shown(&clip.name)).unwrap_or_default();
    let (number, count, stop) = (opening.at + 1, model.queue.len(), model.stop_key());
    let taken = match opening.seconds(model.now) {
        0 => String::new(),
        seconds => format!(", {seconds} s"),
    };
    Some(format!("opening clip {number}/{count}{taken} ({stop} stays here): {name}"))
}

/// The mode, or what the cursor does on its way.
fn word(model: &Model) -> String {
    match (&model.mode, model.tools.brush) {
        (Mode::Normal, Some(brush)) => {
            let what = if brush.erase { "ERASER" } else { "BRUSH" };
            format!("{what} {:.0} px", model.tools.brush_px)
        }
        (Mode::Normal, None) if model.tools.strip.is_some() => "M-MODE".to_owned(),
        (mode, _) => mode.word().to_owned(),
    }
}

/// The look and what it changes, unless grays are as in the file.
fn looked_at_with(model: &Model) -> Option<String> {
    let look = &model.picture.look;
    let told = look.told();
    let known = model.looks.presets.iter().find(|each| each.look == *look);
    let name = known.map_or("own look".to_owned(), |each| shown(&each.name));
    (!told.is_empty()).then(|| format!("{name}: {told}"))
}

fn pending(model: &Model) -> String {
    let count = model.pending.count.map(|n| n.to_string()).unwrap_or_default();
    format!("{count}{}", crate::tui::key::spell(&model.pending.keys))
}

fn saved<'a>(model: &Model, look: Look<'_>) -> Span<'a> {
    let theme = look.theme;
    match &model.saved {
        Saved::Solid => Span::styled("saved", theme.style(theme.good)),
        Saved::Unsynced(_) => Span::styled("saving", theme.style(theme.faint)),
        Saved::Failed(_) => Span::styled("NOT SAVED", theme.banner()),
    }
}

fn progress(model: &Model) -> Option<String> {
    let (done, total) = model
        .jobs
        .running
        .iter()
        .fold((0, 0), |(done, total), run| (done + run.done, total + run.total));
    if model.propagating() {
        return Some(format!("propagating {done}/{total}"));
    }
    if let Some(batch) = &model.tools.batch {
        return Some(format!("changing {}/{}", batch.total - batch.left.len(), batch.total));
    }
    if let Some((done, total)) = model.jobs.export {
        return Some(format!("exporting {done}/{total}"));
    }
    (!model.jobs.asked.is_empty()).then(|| "computing".to_owned())
}

fn position(model: &Model) -> String {
    let (x, y) = (model.cursor.x.floor() as u32, model.cursor.y.floor() as u32);
    let gray = model.pixels().map(|pixels| pixels.at(i64::from(x), i64::from(y)));
    let gray = gray.map(|gray| format!(" gray {gray}")).unwrap_or_default();
    format!("({x}, {y}){gray}")
}
