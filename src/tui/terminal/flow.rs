//! How much may be under way to the terminal. Pure; time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Unacknowledged bytes above which no further frame is sent: a few cursor moves, so that these
/// stay fluent on links with a long way, but no second picture.
const WINDOW_BYTES: usize = 16 * 1024;
const WINDOW_FRAMES: usize = 6;
/// Frames that the writer has not brought to the terminal, at most: where it takes nothing at all, giving up on answers
/// must not pile up frames behind it.
pub(super) const MOST_UNWRITTEN: usize = WINDOW_FRAMES;
/// A first answer may take three times as long: a piece of 30 kB over 0.25 Mbit/s does not count as lost.
const FIRST_GUESS: Duration = Duration::from_millis(600);
const PATIENCE: Duration = Duration::from_millis(200);
const MOST_PATIENCE: Duration = Duration::from_secs(3);

/// Frames sent and not yet acknowledged.
#[derive(Debug)]
pub(super) struct Flow {
    under_way: VecDeque<(usize, Instant)>,
    /// Frames that wait for the writer or are being written.
    unwritten: usize,
    /// Answers that were given up on and may still come.
    owed: usize,
    slowest: Duration,
    last: Option<(usize, Duration)>,
}

impl Flow {
    pub(super) fn new() -> Self {
        let under_way = VecDeque::new();
        Self { under_way, unwritten: 0, owed: 0, slowest: FIRST_GUESS, last: None }
    }

    /// A frame leaves.
    pub(super) fn sent(&mut self, bytes: usize, now: Instant) {
        self.under_way.push_back((bytes, now));
        self.unwritten += 1;
    }

    /// The terminal took a frame; true when that ended a wait.
    pub(super) fn written(&mut self) -> bool {
        let waited = !self.ready();
        self.unwritten = self.unwritten.saturating_sub(1);
        waited && self.ready()
    }

    /// True when another frame may be drawn.
    pub(super) fn ready(&self) -> bool {
        let bytes: usize = self.under_way.iter().map(|(bytes, _)| bytes).sum();
        let small = bytes < WINDOW_BYTES && self.under_way.len() < WINDOW_FRAMES;
        small && self.unwritten < MOST_UNWRITTEN
    }

    /// True when nothing is under way that is still waited for.
    pub(super) fn free(&self) -> bool {
        self.under_way.is_empty()
    }

    /// True when every frame is acknowledged, also those that were given up on: nothing more will come.
    pub(super) fn idle(&self) -> bool {
        self.under_way.is_empty() && self.owed == 0
    }

    /// The terminal answered `answers` times; true when that ended a wait.
    pub(super) fn acknowledged(&mut self, answers: usize, now: Instant) -> bool {
        let waited = !self.ready();
        for _ in 0..answers {
            if let Some((bytes, at)) = self.under_way.pop_front() {
                let took = now.saturating_duration_since(at);
                // Forgets slow times slowly: a time-out that is too long costs little.
                self.slowest = took.max(self.slowest * 7 / 8);
                self.last = Some((bytes, took));
            } else {
                self.owed = self.owed.saturating_sub(1);
            }
        }
        waited && self.ready()
    }

    /// Gives up on answers that are overdue; true when that ended a wait.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let patience = (PATIENCE + self.slowest * 3).min(MOST_PATIENCE);
        let overdue = |&(_, at): &(usize, Instant)| now.saturating_duration_since(at) > patience;
        if !self.under_way.back().is_some_and(overdue) {
            return false;
        }
        let waited = !self.ready();
        // The answer may only be late, as where a line became slow: what comes next is waited for longer, or every give-up
        // would send another picture into what is full already.
        if let Some(&(_, at)) = self.under_way.front() {
            self.slowest = self.slowest.max(now.saturating_duration_since(at));
        }
        self.owed += self.under_way.len();
        self.under_way.clear();
        waited && self.ready()
    }

    /// Bytes and time of the last acknowledged frame, for the status line.
    pub(super) fn last(&self) -> Option<(usize, Duration)> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn one_large_frame_or_some_small_ones_are_under_way() {
        let (mut flow, now) = (Flow::new(), Instant::now());
        flow.sent(5_000, now);
        flow.sent(5_000, now);
        assert!(flow.ready());
        flow.sent(400_000, now);
        assert!(!flow.ready());
        assert!(!flow.acknowledged(2, now + 50 * MS), "two small ones are acknowledged");
        assert!(!flow.acknowledged(0, now + 60 * MS));
        assert!(flow.acknowledged(1, now + 90 * MS));
        assert_eq!(flow.last(), Some((400_000, 90 * MS)));
        assert!(flow.ready() && flow.idle());
    }

    #[test]
    fn a_missing_answer_does_not_stop_the_screen() {
        let (mut flow, now) = (Flow::new(), Instant::now());
        flow.sent(400_000, now);
        assert!(!flow.expire(now + 300 * MS));
        assert!(flow.expire(now + MOST_PATIENCE));
        assert!(flow.ready());
        assert!(!flow.expire(now + 2 * MOST_PATIENCE), "only once");
        assert!(!flow.acknowledged(10, now), "late answers are nothing");
        flow.sent(400_000, now);
        assert!(!flow.ready(), "and are not counted later");
    }

    #[test]
    fn an_answer_that_was_given_up_on_is_still_waited_for_at_the_end() {
        let (mut flow, mut now) = (Flow::new(), Instant::now());
        flow.sent(400_000, now);
        now += MOST_PATIENCE + MS;
        assert!(flow.expire(now) && !flow.idle());
        flow.sent(5_000, now);
        // The late one is taken for that of the next frame, whose own one comes behind.
        flow.acknowledged(1, now);
        assert!(!flow.idle());
        flow.acknowledged(1, now);
        assert!(flow.idle());
    }

    #[test]
    fn a_terminal_that_takes_nothing_is_sent_nothing() {
        let (mut flow, mut now) = (Flow::new(), Instant::now());
        let mut sent = 0;
        for _ in 0..100 {
            while flow.ready() {
                flow.sent(40_000, now);
                sent += 1;
            }
            now += MOST_PATIENCE + MS;
            flow.expire(now);
        }
        assert_eq!(sent, MOST_UNWRITTEN, "whatever is given up on");
        assert!(flow.written(), "it takes something again");
        assert!(flow.ready() && !flow.written());
    }

    #[test]
    fn patience_follows_the_link() {
        let (mut flow, mut now) = (Flow::new(), Instant::now());
        for _ in 0..40 {
            flow.sent(20_000, now);
            flow.written();
            now += 5 * MS;
            assert!(flow.acknowledged(1, now));
        }
        flow.sent(20_000, now);
        assert!(flow.expire(now + 260 * MS), "a fast link is given up on soon");
        now += 260 * MS;
        flow.sent(20_000, now);
        assert!(!flow.expire(now + 900 * MS), "where it became slow, later the next time");
        assert!(flow.expire(now + 1000 * MS));
    }
}
