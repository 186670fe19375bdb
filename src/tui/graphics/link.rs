//! How many gray levels the line carries. Pure.
//!
//! Every frame ends with a question that the terminal answers, so bytes and time of the way there
//! and back are known. From them follows what a whole picture would take: over a slow line a clip
//! plays with fewer grays; at rest a picture is never coarse.

use std::time::Duration;

/// Grays from the coarsest; 32 look as good as more on most screens.
const COARSE: u8 = 16;
const USUAL: u8 = 32;
const FINE: u8 = 64;
/// Bytes of a whole picture of 1024 x 768 px, speckle, at 16, 32 and 64 grays.
const WHOLE: [(u8, f64); 3] = [(COARSE, 220e3), (USUAL, 416e3), (FINE, 690e3)];
/// Smaller frames tell the delay of the line, not what it carries.
const TELLING_BYTES: usize = 8 * 1024;
/// A whole picture may take so long while a clip plays.
const PLAYING_MS: f64 = 120.0;
/// More grays only where they come this fast, so that nobody notices.
const LEISURE_MS: f64 = 60.0;
/// Weight of the newest measurement.
const NEWEST: f64 = 0.4;

/// What is known of the line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Link {
    /// Length of the last frame that told something, bytes.
    pub bytes: usize,
    /// From sending it to the terminal's answer.
    pub took: Duration,
    /// Bytes per ms, averaged; 0 before the first.
    rate: f64,
    /// Grays in use.
    pub levels: u8,
}

impl Link {
    /// Notes a frame that the terminal has answered for.
    pub fn note(&mut self, bytes: usize, took: Duration) {
        if bytes < TELLING_BYTES || (bytes, took) == (self.bytes, self.took) {
            return;
        }
        (self.bytes, self.took) = (bytes, took);
        let rate = bytes as f64 / (took.as_secs_f64() * 1e3).max(0.1);
        self.rate = if self.rate > 0.0 { self.rate * (1.0 - NEWEST) + rate * NEWEST } else { rate };
    }

    /// What a whole picture of so many grays would take, ms.
    fn whole_ms(&self, levels: u8) -> f64 {
        let bytes = WHOLE.iter().find(|(of, _)| *of == levels).map_or(0.0, |(_, bytes)| *bytes);
        if self.rate > 0.0 { bytes / self.rate } else { 0.0 }
    }

    /// Grays for the next whole picture.
    #[must_use]
    pub fn wanted(&self, playing: bool) -> u8 {
        match () {
            () if self.rate <= 0.0 => USUAL,
            () if playing && self.whole_ms(USUAL) > PLAYING_MS => COARSE,
            () if !playing && self.whole_ms(FINE) < LEISURE_MS => FINE,
            () => USUAL,
        }
    }

    /// What it is, for people.
    #[must_use]
    pub fn told(&self) -> String {
        if self.rate <= 0.0 {
            return format!("line: nothing measured yet; {} grays", self.levels);
        }
        format!(
            "line: {} kB in {} ms, {:.1} Mbit/s; {} grays",
            self.bytes / 1000,
            self.took.as_millis(),
            self.rate * 8.0 / 1e3,
            self.levels
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn after(bytes: usize, ms: u32) -> Link {
        let mut link = Link { levels: USUAL, ..Link::default() };
        link.note(bytes, MS * ms);
        link
    }

    #[test]
    fn grays_follow_the_line_and_the_cine() {
        assert_eq!(Link::default().wanted(true), USUAL, "nothing is known yet");
        // Over 5 Mbit/s a picture takes 0.7 s.
        let slow = after(400_000, 640);
        assert_eq!((slow.wanted(false), slow.wanted(true)), (USUAL, COARSE));
        // Over 20 Mbit/s it is bearable, but not while playing.
        let fair = after(400_000, 160);
        assert_eq!((fair.wanted(false), fair.wanted(true)), (USUAL, COARSE));
        let fast = after(400_000, 20);
        assert_eq!((fast.wanted(false), fast.wanted(true)), (FINE, USUAL));
        assert!(fair.told().contains("20.0 Mbit/s") && fair.told().contains("32 grays"));
    }

    #[test]
    fn small_frames_tell_nothing_and_one_slow_one_does_not_decide() {
        let mut link = after(400_000, 60);
        link.note(2_000, MS * 400);
        assert_eq!(link.wanted(true), USUAL);
        link.note(400_000, MS * 600);
        assert_eq!(link.wanted(true), USUAL);
        (601..611).for_each(|ms| link.note(400_000, MS * ms));
        assert_eq!((link.wanted(false), link.wanted(true)), (USUAL, COARSE));
    }
}
