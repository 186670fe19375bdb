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
/// Lines whose way there and back is shorter hardly crawl: there the first picture comes at once.
const FAR: Duration = Duration::from_millis(80);
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
        let far = self.delay.is_some_and(|delay| delay >= FAR);
        let Some(carries) = self.carries else { return far.then_some(FIRST_PIECE) };
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
#[path = "link_tests.rs"]
mod tests;
