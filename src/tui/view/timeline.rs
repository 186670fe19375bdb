//! The timeline in text cells, so that no picture is sent again for it.
//!
//! Every sign differs without colour: windows `=`, anchors `◆`, accepted `●`, decided `━`, stale
//! `╌`, still to be decided `·`, the frame at hand `▼`.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::domain::review::FLAGGED;
use crate::domain::{FrameIndex, MaskSource, Track};
use crate::tui::model::Model;

use super::Look;
use super::area::Curve;

/// What a column of the timeline shows; later ones win where several frames share a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    Outside,
    Undecided,
    Decided,
    Stale,
    Accepted,
    Anchor,
}

/// What the signs mean, for the help: as drawn, with plain letters, in words.
pub(super) const LEGEND: [(&str, &str, &str); 8] = [
    ("▼", "V", "the frame at hand"),
    ("=", "=", "a window: the structure is visible there"),
    ("◆", "#", "points on this frame"),
    ("●", "o", "accepted"),
    ("━", "-", "a mask"),
    ("╌", "~", "a stale mask: older than its points"),
    ("·", ".", "no mask yet"),
    ("▂ ▆", "2 6", "how much the frame deserves a look"),
];

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, look: Look<'_>) {
    let curve = model.picture.area.then(|| Curve::of(model)).flatten();
    let axis = curve.as_ref().map_or(0, Curve::axis);
    let spread = Spread::of(usize::from(area.width).saturating_sub(axis), model.clip.frames);
    let track = model.current().map(|(_, track)| track);
    let mut lines = vec![windows(&spread, model, track, look), signs(&spread, model, look)];
    let room = usize::from(area.height).saturating_sub(lines.len());
    match curve {
        Some(curve) => {
            let frames_of = |dot, dots| spread.shared(dot, dots);
            lines.extend(curve.lines(spread.used, room, frames_of, look));
        }
        None if model.picture.area => {
            let told = "no masks yet, so no area over time";
            lines.push(Line::styled(told, look.theme.style(look.theme.faint)));
        }
        None if room > 0 => lines.push(doubts(&spread, model, look)),
        None => {}
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// Most columns of a frame: the few frames of a short clip are not told apart any better by more.
const WIDEST: usize = 24;
/// From so many columns of a frame on, the last one stays free, so that frames can be counted.
const PARTED: usize = 3;

/// Frames over columns.
struct Spread {
    /// Columns in use.
    used: usize,
    frames: usize,
}

impl Spread {
    fn of(columns: usize, frames: usize) -> Self {
        Self { used: columns.min(frames * WIDEST), frames }
    }

    /// Frames that share part `at` of `parts` equal ones, first and one behind the last.
    fn shared(&self, at: usize, parts: usize) -> (FrameIndex, FrameIndex) {
        let of = |at: usize| at * self.frames / parts.max(1);
        (of(at), of(at + 1).max(of(at) + 1))
    }

    /// Frames that share a column, first and one behind the last.
    fn frames_of(&self, column: usize) -> (FrameIndex, FrameIndex) {
        self.shared(column, self.used)
    }

    /// Whether a column is the free one behind a frame.
    fn parts(&self, column: usize) -> bool {
        let next = self.frames_of(column + 1).0;
        self.used >= self.frames * PARTED && next != self.frames_of(column).0
    }

    /// Whether a column shows this frame.
    fn shows(&self, column: usize, frame: FrameIndex) -> bool {
        let (from, to) = self.frames_of(column);
        (from..to).contains(&frame) && !self.parts(column)
    }
}

fn windows<'a>(spread: &Spread, model: &Model, track: Option<&Track>, look: Look<'_>) -> Line<'a> {
    let theme = look.theme;
    let windows = track.map(|track| track.windows.clone()).unwrap_or_default();
    let mut spans = Vec::with_capacity(spread.used);
    for column in 0..spread.used {
        let (from, to) = spread.frames_of(column);
        let inside = windows.iter().any(|w| w.first < to && w.last >= from);
        if spread.shows(column, model.frame) {
            let sign = if look.ascii { "V" } else { "▼" };
            spans.push(Span::styled(sign, theme.strong(theme.playhead)));
        } else if inside {
            spans.push(Span::styled("=", theme.style(theme.window)));
        } else {
            spans.push(Span::raw(" "));
        }
    }
    Line::from(spans)
}

fn signs<'a>(spread: &Spread, model: &Model, look: Look<'_>) -> Line<'a> {
    let theme = look.theme;
    let of = each_frame(model);
    let mut spans = Vec::with_capacity(spread.used);
    for column in 0..spread.used {
        let (from, to) = spread.frames_of(column);
        let sign = of[from..to.min(of.len())].iter().max().copied().unwrap_or(Sign::Outside);
        let sign = if spread.parts(column) { Sign::Outside } else { sign };
        let (rich, plain, role) = match sign {
            Sign::Outside => (" ", " ", theme.faint),
            Sign::Undecided => ("·", ".", theme.faint),
            Sign::Decided => ("━", "-", theme.decided),
            Sign::Stale => ("╌", "~", theme.stale),
            Sign::Accepted => ("●", "o", theme.good),
            Sign::Anchor => ("◆", "#", theme.anchor),
        };
        spans.push(Span::styled(if look.ascii { plain } else { rich }, theme.style(role)));
    }
    Line::from(spans)
}

fn each_frame(model: &Model) -> Vec<Sign> {
    let mut signs = vec![Sign::Undecided; model.clip.frames];
    let Some((id, track)) = model.current() else {
        return signs;
    };
    for (frame, sign) in signs.iter_mut().enumerate() {
        if !track.visible(frame) {
            *sign = Sign::Outside;
            continue;
        }
        let mask = track.masks.get(&frame);
        let accepted = mask.is_some_and(|mask| mask.source == MaskSource::Accepted);
        // What is accepted is decided for good, points or not; else it could not be seen which are still to be looked at.
        if track.prompts.contains_key(&frame) && !accepted {
            *sign = Sign::Anchor;
        } else if let Some(mask) = mask {
            *sign = match mask.source {
                MaskSource::Accepted => Sign::Accepted,
                _ if model.marks.is_stale(id, frame) => Sign::Stale,
                MaskSource::Tracked | MaskSource::Prompted => Sign::Decided,
            };
        }
    }
    signs
}

/// How much each frame deserves a look, the worst frame of each column; what is flagged stands
/// out.
fn doubts<'a>(spread: &Spread, model: &Model, look: Look<'_>) -> Line<'a> {
    let theme = look.theme;
    let review = &model.tools.review;
    let current = model.current();
    let flags = current.map(|(_, track)| &track.flags);
    let mut spans = Vec::with_capacity(spread.used);
    for column in 0..spread.used {
        let (from, to) = spread.frames_of(column);
        let doubts = current.into_iter().flat_map(|(id, track)| {
            let masks = track.masks.range(from..to);
            masks.filter_map(move |(&frame, _)| review.doubt(id, track, frame))
        });
        let worst = doubts.map(|doubt| doubt.worst()).reduce(f32::max);
        let flagged = flags.is_some_and(|flags| flags.range(from..to).next().is_some());
        let value = if flagged { Some(1.0) } else { worst }.filter(|_| !spread.parts(column));
        let sign = value.map_or(" ", |value| bar(value, look));
        let style = match value {
            Some(value) if value >= FLAGGED => theme.strong(theme.alarm),
            _ => theme.style(theme.faint),
        };
        spans.push(Span::styled(sign, style));
    }
    Line::from(spans)
}

/// A bar of a curve for a value 0..=1.
fn bar(value: f32, look: Look<'_>) -> &'static str {
    const RICH: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
    const PLAIN: [&str; 8] = ["1", "2", "3", "4", "5", "6", "7", "8"];
    let step = ((value.clamp(0.0, 1.0) * 8.0) as usize).min(7);
    if look.ascii { PLAIN[step] } else { RICH[step] }
}
