//! The side panel: structures and points, or the keys that can follow, or the listing of the
//! command line. Beside the picture, so that no picture is sent again for it.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use crate::domain::review::FLAGGED;
use crate::domain::{
    FrameMask, MaskSource, NoMm, PointKind, Prompt, Track, TrackId, Window, counted, measured,
    shown,
};
use crate::engine::Surround;
use crate::tui::action::Action;
use crate::tui::command::{self, Command};
use crate::tui::key::spell;
use crate::tui::keymap::KeyMode;
use crate::tui::line;
use crate::tui::model::{Mode, Model};
use crate::tui::range;
use crate::tui::tools::Waiting;
use crate::tui::tutor;

use super::{Look, cells, cut, key_line, labels, m_mode, mode_keys, which_key, wrapped};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, look: Look<'_>) {
    frame.render_widget(Clear, area);
    // One column stays free between picture and words.
    let area = Rect { x: area.x + 1, width: area.width.saturating_sub(1), ..area };
    let (width, rows) = (usize::from(area.width), usize::from(area.height));
    let lesson = model.lesson.filter(|_| !matches!(model.mode, Mode::Command(_)));
    let mut lines: Vec<Line<'_>> = lesson
        .map(|at| wrapped(&tutor::text(at, &model.keymap), width))
        .unwrap_or_default()
        .into_iter()
        .map(|part| Line::styled(part, look.theme.strong(look.theme.key)))
        .chain(lesson.map(|_| Line::default()))
        .collect();
    let rows = rows.saturating_sub(lines.len());
    lines.extend(match &model.mode {
        Mode::Command(line) => listing(line, model, width, rows, look),
        _ if !model.pending.keys.is_empty() => which_key::lines(model, width, rows, look),
        _ if model.tools.waiting.is_some() => letters(model, width, look),
        Mode::Rays => {
            let mut lines = mode_keys::rays(model, width, look);
            lines.extend(overview(model, width, rows.saturating_sub(lines.len()), look));
            lines
        }
        Mode::Reaction(test) => flash(test.shown, rows, look),
        Mode::Normal if model.tools.strip.is_some() => {
            let mut lines = m_mode::lines(model, width, look);
            lines.extend(overview(model, width, rows.saturating_sub(lines.len()), look));
            lines
        }
        Mode::Bisect(_) => {
            let mut lines = mode_keys::visible(model, width, look);
            lines.extend(overview(model, width, rows.saturating_sub(lines.len()), look));
            lines
        }
        _ => overview(model, width, rows, look),
    });
    frame.render_widget(Paragraph::new(fitted(lines, usize::from(area.height), look)), area);
}

/// `lines` in so many `rows`, with a sign where something is missing.
fn fitted<'a>(mut lines: Vec<Line<'a>>, rows: usize, look: Look<'_>) -> Vec<Line<'a>> {
    while lines.last().is_some_and(|line| line.width() == 0) {
        lines.pop();
    }
    if lines.len() > rows {
        let left_out = lines.len() + 1 - rows;
        lines.truncate(rows.saturating_sub(1));
        let sign = if look.ascii { "~" } else { "…" };
        let told = format!("{sign} {}", counted(left_out, "more line"));
        lines.push(Line::styled(told, look.theme.strong(look.theme.key)));
    }
    lines
}

/// What letters already stand for.
fn letters<'a>(model: &Model, width: usize, look: Look<'_>) -> Vec<Line<'a>> {
    let theme = look.theme;
    let tools = &model.tools;
    let Some(waiting) = tools.waiting else { return Vec::new() };
    let mut lines: Vec<Line<'a>> = wrapped(waiting.told(), width)
        .into_iter()
        .map(|part| Line::styled(part, theme.strong(theme.title)))
        .collect();
    let known: Vec<(char, String)> = match waiting {
        Waiting::MarkPlace | Waiting::GoPlace => {
            let places = &model.annotation.places;
            places.iter().map(|(c, frame)| (*c, format!("frame {}", frame + 1))).collect()
        }
        Waiting::CopyMask | Waiting::PasteMask(_) => tools
            .registers
            .iter()
            .map(|(c, mask)| (*c, format!("mask of {} px", mask.area_px())))
            .collect(),
        Waiting::RecordMacro | Waiting::PlayMacro(_) => {
            tools.macros.iter().map(|(c, keys)| (*c, shown(&spell(keys)))).collect()
        }
        Waiting::Label { .. } | Waiting::Attribute | Waiting::Value(_) => {
            labels::choices(model, waiting)
        }
    };
    lines.extend(known.iter().map(|(c, what)| key_line(&c.to_string(), what, 4, width, look)));
    lines.push(key_line("esc", "never mind", 4, width, look));
    lines
}

/// The word of the reaction test, in the middle of the panel.
fn flash<'a>(shown: bool, rows: usize, look: Look<'_>) -> Vec<Line<'a>> {
    let mut lines = vec![Line::default(); rows / 3];
    if shown {
        lines.extend((0..5).map(|i| {
            let word = if i == 2 { "        NOW        " } else { "                   " };
            Line::styled(word, look.theme.banner())
        }));
    }
    lines
}

/// What fits to the command line.
fn listing<'a>(
    line: &line::Line,
    model: &Model,
    width: usize,
    rows: usize,
    look: Look<'_>,
) -> Vec<Line<'a>> {
    let theme = look.theme;
    if let Some(told) = over_frames(line, model) {
        let told = wrapped(&told, width).into_iter();
        return told.map(|part| Line::styled(part, theme.style(theme.text))).collect();
    }
    let candidates = line.candidates(&model.keymap);
    let at = line.choice.unwrap_or(0);
    let mut lines = Vec::new();
    if let Some(chosen) = candidates.get(at) {
        let head = format!("{} {}", chosen.name, chosen.words);
        lines.push(Line::styled(cut(head.trim(), width, look), theme.strong(theme.title)));
        for part in wrapped(chosen.doc, width).into_iter().take(4) {
            lines.push(Line::styled(part, theme.style(theme.text)));
        }
    } else {
        lines.push(Line::styled("nothing fits", theme.style(theme.faint)));
    }
    lines.push(Line::default());
    let room = rows.saturating_sub(lines.len());
    let first = at.saturating_sub(room.saturating_sub(1));
    for (i, each) in candidates.iter().enumerate().skip(first).take(room) {
        let keys = cut(&each.keys, width / 3, look);
        let name = cut(each.name, width.saturating_sub(cells(&keys) + 1), look);
        let gap = " ".repeat(width.saturating_sub(cells(&name) + cells(&keys)));
        let style = theme.style(theme.text);
        let style = if i == at { style.add_modifier(Modifier::REVERSED) } else { style };
        lines.push(Line::from(vec![
            Span::styled(format!("{name}{gap}"), style),
            Span::styled(keys, theme.style(theme.key)),
        ]));
    }
    lines
}

/// What a line does that begins with frames, or what it still lacks: no action is called so.
fn over_frames(line: &line::Line, model: &Model) -> Option<String> {
    let text = line.text.trim().trim_start_matches(':').trim_start();
    let begun = range::parse(text, model.clip.frames).is_some();
    if line.palette || text.starts_with("windows ") || !begun {
        return None;
    }
    let run = model.keymap.named(KeyMode::Command, Action::LineRun, &[]).unwrap_or_default();
    Some(match command::parse(text, model.clip.frames) {
        Ok(Command::Goto(frame)) => format!("{run} goes to frame {}", frame + 1),
        Ok(Command::Over(_, range::Over::Go)) => format!("{run} goes to this frame"),
        Ok(_) => format!("{run} does it to these frames"),
        Err(why) => why,
    })
}

/// Lines that clip, structures and the frame at hand need to be told in full.
const ROOMY: usize = 14;

fn overview<'a>(model: &Model, width: usize, rows: usize, look: Look<'_>) -> Vec<Line<'a>> {
    let theme = look.theme;
    let current = model.current().filter(|_| rows < ROOMY);
    if let Some((id, track)) = current {
        let mut lines = private(model, width, look);
        lines.push(structure(model, id, track, width, look));
        lines.extend(this_frame(model, width, look));
        return lines;
    }
    let name = cut(&shown(&model.clip.name), width, look);
    let mut lines = vec![Line::styled(name, theme.strong(theme.title))];
    let told = wrapped(&clip_told(model), width).into_iter();
    lines.extend(told.map(|part| Line::styled(part, theme.style(theme.faint))));
    lines.extend(private(model, width, look));
    lines.push(Line::default());
    lines.push(Line::styled("Structures", theme.strong(theme.title)));
    if model.annotation.tracks.is_empty() {
        lines.extend(mode_keys::first_steps(model, width, look));
        return lines;
    }
    // The structure at hand stays in sight.
    let room = (rows / 2).max(3);
    let at = model.annotation.tracks.keys().position(|id| Some(*id) == model.track).unwrap_or(0);
    let first = (at + 1).saturating_sub(room);
    for (id, track) in model.annotation.tracks.iter().skip(first).take(room) {
        lines.push(structure(model, *id, track, width, look));
    }
    lines.push(Line::default());
    lines.extend(this_frame(model, width, look));
    let room = rows.saturating_sub(lines.len());
    lines.extend(mode_keys::next_steps(model, width, room, look));
    lines
}

/// Size and part of the clip, and where in the queue it is.
fn clip_told(model: &Model) -> String {
    let (width, height) = (model.clip.width_px, model.clip.height_px);
    let place = match model.queue.len() {
        0 | 1 => String::new(),
        clips => format!("  clip {}/{clips}", model.at + 1),
    };
    let finished = if model.finished { " finished" } else { "" };
    format!("{width} x {height} px{}{place}{finished}", cut_told(model))
}

/// Stays: the sentence that says the same gives way to the next message.
fn private<'a>(model: &Model, width: usize, look: Look<'_>) -> Vec<Line<'a>> {
    let told = match model.surround {
        _ if !model.private => return Vec::new(),
        Surround::Black(_) => "may contain patient data in what is not black",
        _ => "may contain patient data",
    };
    let told = wrapped(told, width).into_iter();
    told.map(|part| Line::styled(part, look.theme.style(look.theme.alarm))).collect()
}

/// How many masks a structure has in its windows in a clip of so many `frames`, and how many frames those hold.
pub(super) fn decided(track: &Track, frames: usize) -> [usize; 2] {
    // A window of another hand may begin behind the clip.
    let inside = |w: &Window| w.last.saturating_add(1).min(frames).saturating_sub(w.first);
    let wanted = track.windows_or_all(frames).iter().map(inside).sum();
    let done = track.masks.keys().filter(|&&frame| track.visible(frame)).count();
    [done, wanted]
}

fn structure<'a>(
    model: &Model,
    id: TrackId,
    track: &Track,
    width: usize,
    look: Look<'_>,
) -> Line<'a> {
    let theme = look.theme;
    let at_hand = model.track == Some(id);
    let [done, wanted] = decided(track, model.clip.frames);
    let hidden = model.hidden.contains(&id);
    let tail = format!(" {done}/{wanted}");
    let label = shown(&track.info.label);
    let label = if hidden { format!("({label})") } else { label };
    let label = cut(&label, width.saturating_sub(4 + cells(&tail)), look);
    let gap = " ".repeat(width.saturating_sub(4 + cells(&label) + cells(&tail)));
    let words = theme.style(theme.text);
    let words = if at_hand { words.add_modifier(Modifier::BOLD) } else { words };
    let swatch = match (hidden, look.ascii) {
        (false, false) => "■ ",
        (false, true) => "# ",
        (true, false) => "□ ",
        (true, true) => "- ",
    };
    Line::from(vec![
        Span::styled(if at_hand { "> " } else { "  " }, theme.strong(theme.key)),
        Span::styled(swatch, theme.style(theme.track(track.info.colour))),
        Span::styled(format!("{label}{gap}"), words),
        Span::styled(tail, theme.style(theme.faint)),
    ])
}

fn this_frame<'a>(model: &Model, width: usize, look: Look<'_>) -> Vec<Line<'a>> {
    let theme = look.theme;
    let mut lines = vec![Line::styled("This frame", theme.strong(theme.title))];
    let distance = distance(model).map(|words| Line::styled(words, theme.style(theme.text)));
    let Some((id, track)) = model.current() else {
        return distance.map_or(Vec::new(), |distance| [lines, vec![distance]].concat());
    };
    let mask = match track.masks.get(&model.frame) {
        _ if !track.visible(model.frame) => "outside the windows".to_owned(),
        None => "no mask".to_owned(),
        Some(mask) => {
            let from = match mask.source {
                // No network judged it.
                MaskSource::Tracked if mask.score == 0.0 => "filled in between",
                MaskSource::Tracked => "propagated",
                MaskSource::Prompted => "from points",
                MaskSource::Accepted => "accepted",
            };
            let stale = if model.marks.is_stale(id, model.frame) { ", STALE" } else { "" };
            format!("mask {from}{stale}")
        }
    };
    let style = theme.style(theme.text);
    lines.extend(wrapped(&mask, width).into_iter().map(|part| Line::styled(part, style)));
    if let Some(mask) = track.masks.get(&model.frame).filter(|_| track.visible(model.frame)) {
        // Of masks that no network judged, or that a person decided, the score says nothing.
        if mask.score > 0.0 && mask.source != MaskSource::Accepted {
            lines.push(Line::styled(format!("score {:.2}", mask.score), style));
        }
        lines.extend(
            doubt(model, id)
                .map(|words| Line::styled(cut(&words, width, look), theme.strong(theme.alarm))),
        );
        for words in sizes(model, mask) {
            lines.push(Line::styled(cut(&words, width, look), style));
        }
    }
    lines.extend(distance);
    lines.extend(compared(model, track).map(|words| Line::styled(cut(&words, width, look), style)));
    let placed = track.prompts.get(&model.frame).map_or(&[][..], Vec::as_slice);
    let count = |wanted: PointKind| {
        let is = |p: &Prompt| matches!(p, Prompt::Point { kind, .. } if *kind == wanted);
        placed.iter().filter(|each| is(&each.prompt)).count()
    };
    let boxes = placed.iter().filter(|each| matches!(each.prompt, Prompt::Box(_))).count();
    let counts = [
        (count(PointKind::Boundary), "boundary point"),
        (count(PointKind::Inside), "inside point"),
        (count(PointKind::Outside), "outside point"),
    ];
    let mut told: Vec<String> =
        counts.into_iter().filter(|(n, _)| *n > 0).map(|(n, name)| counted(n, name)).collect();
    if boxes > 0 {
        told.push(if boxes == 1 { "1 box".to_owned() } else { format!("{boxes} boxes") });
    }
    // Not in the colours of the marks: those are made for the dark picture, not for every terminal.
    lines.extend(told.iter().map(|words| Line::styled(cut(words, width, look), style)));
    lines.extend(labels::said(model, track, width, look));
    lines
}

/// Which part of the volume was asked for on the screen.
fn cut_told(model: &Model) -> String {
    let cut = model.queue.get(model.at).map(|clip| clip.cut).unwrap_or_default();
    let axis = cut.axis.map(|axis| format!(" along {axis}"));
    let slice = cut.slice.map(|slice| format!(" slice {slice}"));
    let moment = cut.time.map(|time| format!(" time {time}"));
    [axis, slice, moment].into_iter().flatten().collect()
}

/// How far the mask agrees with another rater's.
fn compared(model: &Model, track: &Track) -> Option<String> {
    let other = model.tools.other.as_ref()?;
    let name = shown(&other.name);
    let theirs = other.mask(&track.info.label, model.frame);
    let ours = track.masks.get(&model.frame).filter(|_| track.visible(model.frame));
    Some(match (ours, theirs) {
        (Some(ours), Some(theirs)) => {
            let iou = ours.mask.iou(theirs);
            format!("Dice {:.3} IoU {iou:.3} with {name}", 2.0 * iou / (1.0 + iou))
        }
        (None, Some(_)) => format!("only {name} has a mask"),
        (Some(_), None) => format!("{name} has no mask"),
        (None, None) => return None,
    })
}

/// Why this frame deserves a look, if it does.
fn doubt(model: &Model, id: TrackId) -> Option<String> {
    let track = model.annotation.tracks.get(&id)?;
    if track.flags.contains(&model.frame) {
        return Some("flagged".to_owned());
    }
    let doubt = model.tools.review.doubt(id, track, model.frame)?;
    (doubt.worst() >= FLAGGED).then(|| doubt.reason().to_owned())
}

/// The distance between the calipers, or from the first one to the cursor.
fn distance(model: &Model) -> Option<String> {
    let (from, to) = model.tools.caliper?;
    let told = model.distance(from, to.unwrap_or(model.cursor));
    // Why there are no mm was said when it was measured.
    Some(format!("distance {}", told.split(" (").next().unwrap_or_default()))
}

/// Area, diameters and perimeter, in mm where the clip tells its spacing.
fn sizes(model: &Model, mask: &FrameMask) -> Vec<String> {
    let bitmap = mask.mask.to_bitmap();
    let scale = model.clip.scale_of(&bitmap);
    let spacing = scale.ok();
    let unit = if spacing.is_some() { "mm" } else { "px" };
    let mut words = Vec::new();
    if let Some(sizes) = measured(&bitmap, spacing.unwrap_or([1.0, 1.0])) {
        let square = if spacing.is_some() { "mm2" } else { "px" };
        let area = if spacing.is_some() { 1 } else { 0 };
        words.push(format!("area {:.area$} {square}", sizes.area));
        words.push(format!("{:.1} x {:.1} {unit}", sizes.long, sizes.short));
        words.push(format!("perimeter {:.1} {unit}", sizes.perimeter));
    } else {
        words.push("the mask is empty".to_owned());
    }
    if let Err(why) = scale
        && why != NoMm::Untold
    {
        words.push(format!("no mm: {why}"));
    }
    words
}
