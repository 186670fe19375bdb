//! How many grays, and how fine a picture, the line carries. Pure.
//!
//! Every frame ends with a question that the terminal answers, so bytes and time of the way there and back are known. From
//! them follows what a whole picture would take in each detail. While a clip plays or a key repeats it must come quickly; at rest
//! it may take a second and a half; more than the usual detail is sent only where nobody notices. A finer detail
//! is taken up only with time to spare, so that a line near a limit does not go to and fro.
//!
//! A line that crawls keeps nobody waiting either: there another picture comes coarse first, also at rest, and is made fine
//! in pieces, between which a key is answered. What it carries is counted without the way there and back, which would
//! make every small piece look slow; faster lines know nothing of all this.

use std::time::Duration;

use super::Protocol;

/// In what detail a picture is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detail {
    /// Grays.
    pub levels: u8,
    /// Side of the squares that have one gray, px: 1, 2 for half the size, more where the line crawls.
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
    // Multiples of the six rows of a band: squares of 8 px take as much as those of 6.
    (Detail::new(8, 12), 14.8e3),
    (Detail::new(16, 12), 26.4e3),
    (Detail::new(16, 6), 46e3),
    (Detail::new(16, 2), 153e3),
    (Detail::new(16, 1), 220e3),
    (Detail::new(32, 1), 416e3),
    (Detail::new(64, 1), 709e3),
    (Detail::new(101, 1), 951e3),
];
const PNG: Ladder = &[
    (Detail::new(16, 12), 7.9e3),
    (Detail::new(16, 6), 16.4e3),
    (Detail::new(16, 2), 63e3),
    (Detail::new(16, 1), 137e3),
    (Detail::new(32, 1), 180e3),
    (Detail::new(64, 1), 227e3),
    (Detail::new(101, 1), 260e3),
    (Detail::new(FINEST, 1), 300e3),
];
/// The usual step of the sixels: 32 grays look as good as more on most screens and cost half of 64.
const USUAL: usize = 5;
/// The coarsest that a picture at rest may be.
const FLOOR: Detail = Detail::new(16, 2);
/// Smaller frames tell the delay of the line, not what it carries.
const TELLING_BYTES: usize = 8 * 1024;
/// A whole picture may take so long while a clip plays or a key repeats, ms.
const HURRIED_MS: f64 = 120.0;
/// At rest, ms.
const REST_MS: f64 = 1500.0;
/// More than the usual detail, ms.
const LEISURE_MS: f64 = 80.0;
/// Where the line is slow, in a hurry, ms: coarser than that it becomes for nothing less.
const QUICK_MS: f64 = 500.0;
/// The line crawls where a picture at rest takes longer, ms.
const BEARABLE_MS: f64 = 750.0;
/// A piece of a picture takes so long on a line that crawls, ms.
const PIECE_MS: f64 = 250.0;
/// Piece by which a line is measured of which nothing is known, bytes: what blocks the next frame until it is answered.
const FIRST_PIECE: usize = 16 * 1024;
/// Lines that carry more are not slow, bytes per ms: 10 Mbit/s.
const SLOW: f64 = 1250.0;
/// What the terminal and a busy machine may take beside the line, ms.
const ALLOWANCE_MS: f64 = 40.0;
/// A picture counts at least as this share of the ladder's: one that hardly changed tells little of the next.
const SMALLEST: f64 = 0.2;
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
    /// The same without the way there and back.
    carries: Option<f64>,
    /// The shortest way there and back.
    delay: Option<Duration>,
    /// How large pictures are, as a share of the ladder's.
    size: f64,
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
            carries: None,
            delay: None,
            size: 1.0,
            shown: Detail::new(0, 1),
            by_hand: (None, None),
            at_once: false,
            png,
            at: [usual; 2],
        };
        link.shown = link.wanted(false);
        link
    }

    /// The same, where an answer of the terminal took so long with nothing else on the line.
    #[must_use]
    pub fn behind(self, delay: Option<Duration>) -> Self {
        Self { delay, ..self }
    }

    fn ladder(&self) -> Ladder {
        if self.png { PNG } else { SIXEL }
    }

    fn usual(&self) -> usize {
        if self.png { PNG.len() - 1 } else { USUAL }
    }

    fn floor(&self) -> usize {
        self.ladder().iter().position(|(detail, _)| *detail == FLOOR).unwrap_or(0)
    }

    /// Notes a frame that the terminal has answered for.
    pub fn note(&mut self, bytes: usize, took: Duration) {
        self.delay = match self.delay {
            Some(delay) => Some(delay.min(took)),
            None => (bytes < TELLING_BYTES).then_some(took),
        };
        if bytes < TELLING_BYTES || (bytes, took) == (self.bytes, self.took) {
            return;
        }
        (self.bytes, self.took) = (bytes, took);
        let averaged = |known: Option<f64>, newest: f64| {
            known.map_or(newest, |known| known * (1.0 - NEWEST) + newest * NEWEST)
        };
        let ms = took.as_secs_f64() * 1e3;
        let delay_ms = self.delay.unwrap_or_default().as_secs_f64() * 1e3;
        let on_line = (ms - delay_ms - ALLOWANCE_MS).max(0.1);
        let first = self.carries.is_none();
        // What the first piece tells of a line that is not slow is a guess: the next frame replaces it.
        let known = self.carries.filter(|_| self.rate > 0.0);
        self.carries = Some(averaged(known, (bytes as f64 / on_line).min(2.0 * SLOW)));
        if first && bytes < 4 * FIRST_PIECE && self.slow().is_none() {
            return;
        }
        self.rate = averaged((self.rate > 0.0).then_some(self.rate), bytes as f64 / ms.max(0.1));
        self.at = [self.step(self.at[0], false), self.step(self.at[1], true)];
    }

    /// Notes the bytes of a whole picture in the detail that is shown.
    pub fn sized(&mut self, bytes: usize) {
        let told = self.ladder().iter().find(|(detail, _)| *detail == self.shown);
        if let Some((_, told)) = told {
            let size = (bytes as f64 / told).max(SMALLEST);
            // Larger ones count at once: what is taken for too small blocks the line.
            self.size = size.max(self.size * (1.0 - NEWEST) + size * NEWEST);
        }
    }

    /// What a whole picture of step `at` takes where the line is slow, ms.
    fn takes_ms(&self, at: usize) -> Option<f64> {
        self.slow().map(|carries| self.ladder()[at].1 * self.size / carries)
    }

    /// What a slow line carries, bytes per ms.
    fn slow(&self) -> Option<f64> {
        self.carries.filter(|carries| *carries < SLOW)
    }

    /// Whether a picture at rest takes so long that a key would wait for it.
    #[must_use]
    pub fn crawls(&self) -> bool {
        self.takes_ms(self.at[0]).is_some_and(|ms| ms > BEARABLE_MS)
    }

    /// Whether something was measured.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.carries.is_some()
    }

    /// Bytes of the pieces in which the picture is to be sent; `None`: it is sent whole. A coarse one for a hurry is: parts of
    /// two frames side by side would show what never was.
    #[must_use]
    pub fn piece(&self) -> Option<usize> {
        let Some(carries) = self.carries else { return Some(FIRST_PIECE) };
        let cut = self.crawls() && self.shown != self.wanted(true);
        cut.then(|| ((carries * PIECE_MS) as usize).max(TELLING_BYTES))
    }

    /// The finest step that comes in time, seen from step `now`.
    fn step(&self, now: usize, hurried: bool) -> usize {
        // At rest a slow line sends pieces, which would make it look slower still.
        let rate = self.slow().filter(|_| !hurried).unwrap_or(self.rate);
        let spare = |at: usize| if at > now { TO_SPARE } else { 1.0 };
        let in_time = |at: usize| {
            let limit = match (hurried, at > self.usual()) {
                (_, true) => LEISURE_MS,
                (true, false) => HURRIED_MS,
                (false, false) => REST_MS,
            };
            self.ladder()[at].1 / rate * spare(at) <= limit
        };
        let floor = self.floor();
        let usual = (floor + 1..self.ladder().len()).rev().find(|&at| in_time(at));
        if let Some(at) = usual.or((!hurried).then_some(floor)) {
            return at;
        }
        let quick = |at: usize| self.takes_ms(at).is_none_or(|ms| ms * spare(at) <= QUICK_MS);
        (1..=floor).rev().find(|&at| quick(at)).unwrap_or(0)
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

    /// Whether what is shown is coarser than usual and can be finer, as the person rests.
    #[must_use]
    pub fn is_coarse(&self, hurried: bool) -> bool {
        let usual = self.ladder()[self.usual()].0;
        !hurried && self.shown.coarser_than(usual) && self.shown.coarser_than(self.wanted(false))
    }

    /// Whether the picture is to be sent anew in the detail `wanted`: `whole` where it is sent anyway, else only when what
    /// is shown is coarser than usual and the person rests, or when the detail was set by hand. Where the line crawls
    /// another picture comes as in a hurry.
    pub fn take_up(&mut self, hurried: bool, whole: bool) -> bool {
        let hurried = hurried || (whole && self.crawls());
        let wanted = self.wanted(hurried);
        let by_hand = std::mem::take(&mut self.at_once);
        let finer = self.is_coarse(hurried);
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
        assert_eq!(at(&of(0.25)), [(16, 2), (8, 12)]);
        assert_eq!(at(&of(0.5)), [(16, 2), (16, 12)]);
        assert_eq!(at(&of(1.5)), [(16, 1), (16, 6)]);
        assert_eq!(at(&of(3.0)), [(32, 1), (16, 2)]);
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
    fn what_a_line_carries_is_told_from_its_delay() {
        // Small pieces over 10 Mbit/s and 300 ms, and over 0.5 Mbit/s.
        let told = |mbit: f64| {
            let mut link = Link::default().behind(Some(MS * 300));
            assert_eq!((link.piece(), link.crawls()), (Some(FIRST_PIECE), false), "unknown");
            (0..4).for_each(|i| {
                let bytes = FIRST_PIECE + i;
                link.note(bytes, MS * 300 + MS.mul_f64(bytes as f64 * 8e-3 / mbit));
            });
            link
        };
        assert!(!told(10.0).crawls() && told(10.0).piece().is_none());
        assert_eq!(at(&told(10.0))[1], (16, 2), "no coarser than before");
        let slow = told(0.5);
        assert!(
            slow.crawls() && slow.piece().is_some_and(|bytes| (14_000..20_000).contains(&bytes))
        );
    }

    #[test]
    fn where_the_line_crawls_pictures_come_coarse_first_and_fine_in_pieces() {
        for mbit in [0.25, 0.5, 1.0, 2.0] {
            let mut link = of(mbit);
            let ms_of = |bytes: f64| bytes * 8e-3 / mbit;
            assert!(link.take_up(false, true), "another picture, {mbit} Mbit/s");
            assert_eq!((link.shown, link.piece()), (link.wanted(true), None));
            assert!(ms_of(link.ladder()[link.at[1]].1) <= QUICK_MS + 10.0, "{mbit} Mbit/s");
            assert!(link.is_coarse(false) && !link.is_coarse(true));
            assert!(link.take_up(false, false) && link.shown == link.wanted(false));
            let piece = link.piece().expect("the fine one is cut");
            assert!(ms_of(piece as f64) <= 300.0, "{piece} bytes, {mbit} Mbit/s");
            assert!(!link.is_coarse(false), "then it is left alone");
        }
        for mbit in [10.5, 20.0, 100.0] {
            let mut link = of(mbit);
            link.shown = Detail::new(16, 1);
            link.sized(2_200_000);
            link.note(400_001, MS.mul_f64(400_001.0 * 8e-3 / mbit));
            assert_eq!(at(&link), at(&of(mbit)), "{mbit} Mbit/s: however large the screen");
            assert!(!link.crawls() && link.piece().is_none());
        }
    }

    #[test]
    fn the_bytes_of_the_last_picture_tell_those_of_the_next() {
        let mut link = of(0.5);
        assert_eq!(at(&link)[1], (16, 12));
        link.shown = Detail::new(16, 12);
        // A sector that is mostly black: a fifth of the bytes.
        (0..20).for_each(|_| link.sized(5_280));
        link.note(400_001, MS.mul_f64(6_400.0));
        assert_eq!(at(&link)[1], (16, 6));
        assert!(!link.crawls(), "and whole at rest, too");
        link.shown = Detail::new(16, 6);
        link.sized(46_000);
        link.note(400_002, MS.mul_f64(6_400.0));
        assert_eq!(at(&link)[1], (16, 12), "one that is larger counts at once");
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
