//! How many grays, and how fine a picture, the line carries. Pure.
//!
//! Every frame ends with a question that the terminal answers, so bytes and time of the way there and back are known. From
//! them follows what a whole picture would take in each detail. While a clip plays or a key repeats it must come quickly; at rest
//! it may take a second and a half; more than the usual detail is sent only where nobody notices. A finer detail
//! is taken up only with time to spare, so that a line near a limit does not go to and fro.

use std::time::Duration;

use super::Protocol;

/// In what detail a picture is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detail {
    /// Grays.
    pub levels: u8,
    /// Side of the squares that have one gray, px: 1, or 2 for half the size.
    pub scale: u8,
}

impl Detail {
    const fn new(levels: u8, scale: u8) -> Self {
        Self { levels, scale }
    }

    /// Whether something is lost against `other`.
    #[must_use]
    pub fn coarser_than(self, other: Self) -> bool {
        self.levels < other.levels || self.scale > other.scale
    }
}

/// Most grays of images in PNG: what a byte leaves beside overlay colours and five tinted ramps of 16.
pub const FINEST: u8 = 161;
/// Details from the coarsest, and the bytes of a whole picture of 1024 x 768 px, speckle (kept by a test).
type Ladder = &'static [(Detail, f64)];
const SIXEL: Ladder = &[
    (Detail::new(16, 2), 153e3),
    (Detail::new(16, 1), 220e3),
    (Detail::new(32, 1), 416e3),
    (Detail::new(64, 1), 709e3),
    (Detail::new(101, 1), 951e3),
];
const PNG: Ladder = &[
    (Detail::new(16, 2), 63e3),
    (Detail::new(16, 1), 137e3),
    (Detail::new(32, 1), 180e3),
    (Detail::new(64, 1), 227e3),
    (Detail::new(101, 1), 260e3),
    (Detail::new(FINEST, 1), 300e3),
];
/// The usual step of the sixels: 32 grays look as good as more on most screens and cost half of 64.
const USUAL: usize = 2;
/// Smaller frames tell the delay of the line, not what it carries.
const TELLING_BYTES: usize = 8 * 1024;
/// A whole picture may take so long while a clip plays or a key repeats, ms.
const HURRIED_MS: f64 = 120.0;
/// At rest, ms.
const REST_MS: f64 = 1500.0;
/// More than the usual detail, ms.
const LEISURE_MS: f64 = 80.0;
/// A finer detail must be so much quicker than its limit.
const TO_SPARE: f64 = 1.3;
/// Weight of the newest measurement.
const NEWEST: f64 = 0.4;

/// What is known of the line, and what was set by hand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Length of the last frame that told something, bytes.
    pub bytes: usize,
    /// From sending it to the terminal's answer.
    pub took: Duration,
    /// Bytes per ms, averaged; 0 before the first.
    rate: f64,
    /// In use.
    pub shown: Detail,
    /// Set by hand: grays and scale.
    by_hand: (Option<u8>, Option<u8>),
    /// What was set by hand is not shown yet.
    at_once: bool,
    png: bool,
    /// Steps of the ladder at rest and in a hurry.
    at: [usize; 2],
}

impl Default for Link {
    fn default() -> Self {
        Self::by(Protocol::Sixel)
    }
}

impl Link {
    /// A line of which nothing is known, on which pictures go by this protocol.
    #[must_use]
    pub fn by(protocol: Protocol) -> Self {
        let png = protocol != Protocol::Sixel;
        let usual = if png { PNG.len() - 1 } else { USUAL };
        let mut link = Self {
            bytes: 0,
            took: Duration::ZERO,
            rate: 0.0,
            shown: Detail::new(0, 1),
            by_hand: (None, None),
            at_once: false,
            png,
            at: [usual; 2],
        };
        link.shown = link.wanted(false);
        link
    }

    fn ladder(&self) -> Ladder {
        if self.png { PNG } else { SIXEL }
    }

    fn usual(&self) -> usize {
        if self.png { PNG.len() - 1 } else { USUAL }
    }

    /// Notes a frame that the terminal has answered for.
    pub fn note(&mut self, bytes: usize, took: Duration) {
        if bytes < TELLING_BYTES || (bytes, took) == (self.bytes, self.took) {
            return;
        }
        (self.bytes, self.took) = (bytes, took);
        let rate = bytes as f64 / (took.as_secs_f64() * 1e3).max(0.1);
        self.rate = if self.rate > 0.0 { self.rate * (1.0 - NEWEST) + rate * NEWEST } else { rate };
        self.at = [self.step(self.at[0], false), self.step(self.at[1], true)];
    }

    /// The finest step that comes in time, seen from step `now`.
    fn step(&self, now: usize, hurried: bool) -> usize {
        let in_time = |at: usize| {
            let limit = match (hurried, at > self.usual()) {
                (_, true) => LEISURE_MS,
                (true, false) => HURRIED_MS,
                (false, false) => REST_MS,
            };
            let spare = if at > now { TO_SPARE } else { 1.0 };
            self.ladder()[at].1 / self.rate * spare <= limit
        };
        (1..self.ladder().len()).rev().find(|&at| in_time(at)).unwrap_or(0)
    }

    /// The detail for the next whole picture; `hurried`: a clip plays or a key repeats.
    #[must_use]
    pub fn wanted(&self, hurried: bool) -> Detail {
        let (detail, _) = self.ladder()[self.at[usize::from(hurried)]];
        Detail {
            levels: self.by_hand.0.unwrap_or(detail.levels),
            scale: self.by_hand.1.unwrap_or(detail.scale),
        }
    }

    /// Whether the picture is to be sent anew in the detail `wanted`: `whole` where it is sent anyway, else only when what
    /// is shown is coarser than usual and the person rests, or when the detail was set by hand.
    pub fn take_up(&mut self, hurried: bool, whole: bool) -> bool {
        let wanted = self.wanted(hurried);
        let by_hand = std::mem::take(&mut self.at_once);
        let usual = self.ladder()[self.usual()].0;
        let finer = !hurried && self.shown.coarser_than(usual) && self.shown.coarser_than(wanted);
        let other = wanted != self.shown && (whole || finer || by_hand);
        if other {
            self.shown = wanted;
        }
        other
    }

    /// Sets the grays by hand; `None`: they follow the line.
    ///
    /// # Errors
    /// A sentence, where the pictures of this terminal cannot have so many.
    pub fn set_levels(&mut self, levels: Option<u8>) -> Result<(), String> {
        let (most, _) = self.ladder()[self.ladder().len() - 1];
        if let Some(asked) = levels.filter(|asked| *asked > most.levels) {
            return Err(format!(
                "sixels show {} grays at most; {asked} are for images of kitty's and iTerm2's kind",
                most.levels
            ));
        }
        (self.by_hand.0, self.at_once) = (levels, true);
        Ok(())
    }

    /// Sets the scale by hand; `None`: it follows the line.
    pub fn set_scale(&mut self, scale: Option<u8>) {
        (self.by_hand.1, self.at_once) = (scale, true);
    }

    /// What it is, for people.
    #[must_use]
    pub fn told(&self) -> String {
        let now = if self.at_once { self.wanted(false) } else { self.shown };
        let set = |by_hand: Option<u8>| if by_hand.is_some() { " (set by hand)" } else { "" };
        let detail = format!(
            "{} grays{}, scale 1/{}{}",
            now.levels,
            set(self.by_hand.0),
            now.scale,
            set(self.by_hand.1)
        );
        if self.rate <= 0.0 {
            return format!("line: nothing measured yet; {detail}");
        }
        format!(
            "line: {} kB in {} ms, {:.1} Mbit/s; {detail}",
            self.bytes / 1000,
            self.took.as_millis(),
            self.rate * 8.0 / 1e3,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Grid, Limits, Painter, Palette, Scene, Viewport, coarsen, compose, synthetic_frame,
    };
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A line of so many Mbit/s.
    fn of(mbit: f64) -> Link {
        let mut link = Link::default();
        link.note(400_000, MS.mul_f64(400_000.0 * 8.0 / 1e3 / mbit));
        link
    }

    fn at(link: &Link) -> [(u8, u8); 2] {
        [false, true].map(|hurried| {
            let Detail { levels, scale } = link.wanted(hurried);
            (levels, scale)
        })
    }

    #[test]
    fn grays_and_scale_follow_the_line_and_the_hurry() {
        assert_eq!(at(&Link::default()), [(32, 1), (32, 1)], "nothing is known yet");
        assert_eq!(at(&of(0.5)), [(16, 2), (16, 2)]);
        assert_eq!(at(&of(1.5)), [(16, 1), (16, 2)]);
        assert_eq!(at(&of(5.0)), [(32, 1), (16, 2)]);
        assert_eq!(at(&of(20.0)), [(32, 1), (16, 1)]);
        assert_eq!(at(&of(100.0)), [(64, 1), (64, 1)]);
        assert_eq!(at(&of(1000.0)), [(101, 1), (101, 1)]);
        assert!(of(20.0).told().contains("20.0 Mbit/s; 32 grays, scale 1/1"));
        let png = Link::by(Protocol::Kitty);
        assert_eq!(at(&png), [(FINEST, 1), (FINEST, 1)]);
    }

    #[test]
    fn near_a_limit_it_does_not_go_to_and_fro() {
        // 32 grays take 1.5 s at 2.2 Mbit/s.
        let mut link = of(3.5);
        let mut changes = 0;
        for mbit in [2.0, 2.6, 2.1, 2.5, 1.9, 2.6, 2.0, 2.4] {
            let before = link.wanted(false);
            (0..9).for_each(|i| link.note(400_000 + i, MS.mul_f64(3200.0 / mbit)));
            changes += usize::from(before != link.wanted(false));
        }
        assert_eq!((changes, at(&link)[0]), (1, (16, 1)));
        (0..9).for_each(|i| link.note(400_000 + i, MS.mul_f64(3200.0 / 3.5)));
        assert_eq!(at(&link)[0], (32, 1));
    }

    #[test]
    fn small_frames_tell_nothing_and_one_slow_one_does_not_decide() {
        let mut link = of(60.0);
        link.note(2_000, MS * 400);
        assert_eq!(at(&link), at(&of(60.0)));
        link.note(400_000, MS * 600);
        assert_eq!(at(&link)[1], (32, 1));
        (601..611).for_each(|ms| link.note(400_000, MS * ms));
        assert_eq!(at(&link), [(32, 1), (16, 2)]);
    }

    #[test]
    fn coarse_in_a_hurry_full_at_rest_and_by_hand_at_once() {
        let mut link = of(5.0);
        assert!(!link.take_up(true, false), "nothing whole is sent: a moving cursor");
        assert!(link.take_up(true, true) && link.shown == Detail::new(16, 2));
        assert!(!link.take_up(true, true), "it stays so");
        assert!(link.take_up(false, false) && link.shown == Detail::new(32, 1));
        let mut fast = of(1000.0);
        assert!(!fast.take_up(false, false), "more than usual is not worth another picture");
        assert!(fast.take_up(false, true) && fast.shown.levels == 101);
        link.set_levels(Some(64)).unwrap();
        link.set_scale(Some(2));
        assert!(link.told().contains("64 grays (set by hand), scale 1/2 (set by hand)"));
        assert!(link.take_up(true, false) && link.shown == Detail::new(64, 2));
        link.set_levels(None).unwrap();
        link.set_scale(None);
        assert!(link.take_up(false, false) && link.shown == Detail::new(32, 1));
    }

    #[test]
    fn the_ladders_know_what_a_picture_takes() {
        let frame = synthetic_frame(1024, 768, 7);
        let grid = Grid { columns: 140, rows: 60, cell_px: (8, 16) };
        let area = ratatui::layout::Rect::new(0, 0, 128, 48);
        let mut wrong = Vec::new();
        for (protocol, ladder) in [(Protocol::Sixel, SIXEL), (Protocol::Kitty, PNG)] {
            for (detail, told) in ladder {
                let palette = Palette::new(detail.levels, &[[50, 50, 0]; 15], 5, 256);
                let view = Viewport::fit(1024, 768, 1024, 768);
                let mut picture = compose(&Scene::new(Some(&frame), view), &palette);
                coarsen(&mut picture, usize::from(detail.scale), detail.levels);
                let limits = Limits { max_width_px: 4096, max_height_px: 4096 };
                let sent = Painter::by(protocol, limits).paint(picture, &palette, grid, area, &[]);
                let bytes: usize = sent.iter().map(|part| part.bytes.len()).sum();
                println!("{protocol:?} {detail:?}: {bytes} bytes");
                if (bytes as f64 / told - 1.0).abs() > 0.05 {
                    wrong.push((protocol, detail, bytes));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
