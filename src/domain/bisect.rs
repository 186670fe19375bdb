//! Windows of visibility by questions: "is it visible here?" at midpoints.
//!
//! From one frame on which a structure is seen, the first and the last frame of the window are
//! found by halving: about 20 answers on 700 frames. The person may also answer about any other
//! frame; each answer narrows what is left.
//! What decides whether this file is right: the frame that was seen stays in the window, whatever is answered.

use super::{FrameIndex, Window};

/// The search for the window that holds a frame on which the structure is visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bisection {
    /// The window begins at one of these frames, first and last inclusive.
    entry: (FrameIndex, FrameIndex),
    /// The window ends at one of these frames, first and last inclusive.
    exit: (FrameIndex, FrameIndex),
    /// The frame on which it is known to be visible.
    seen: FrameIndex,
    answers: usize,
}

impl Bisection {
    /// Starts from `seen`, on which the structure is visible, in a clip of `frames` frames.
    #[must_use]
    pub fn new(seen: FrameIndex, frames: usize) -> Self {
        Self::within(seen, Window { first: 0, last: frames.saturating_sub(1) })
    }

    /// Starts from `seen`, on which the structure is visible, where its window lies in `room`.
    #[must_use]
    pub fn within(seen: FrameIndex, room: Window) -> Self {
        let seen = seen.clamp(room.first, room.last.max(room.first));
        Self { entry: (room.first, seen), exit: (seen, room.last), seen, answers: 0 }
    }

    /// The frame to ask about next; `None` when the window is known.
    #[must_use]
    pub fn question(&self) -> Option<FrameIndex> {
        let middle = |(low, high): (usize, usize)| low + (high - low) / 2;
        if self.entry.0 < self.entry.1 {
            return Some(middle(self.entry));
        }
        // Rounded up: the low end is known to be visible.
        (self.exit.0 < self.exit.1).then(|| self.exit.0 + (self.exit.1 - self.exit.0).div_ceil(2))
    }

    /// Whether the structure is visible on `frame`. What contradicts earlier answers (a frame
    /// outside what is still open) changes nothing.
    pub fn answer(&mut self, frame: FrameIndex, visible: bool) {
        self.answers += 1;
        if frame < self.seen {
            let (low, high) = &mut self.entry;
            if visible && (*low..*high).contains(&frame) {
                *high = frame;
            } else if !visible && (*low..*high).contains(&frame) {
                *low = frame + 1;
            }
        } else if frame > self.seen {
            let (low, high) = &mut self.exit;
            if visible && (*low + 1..=*high).contains(&frame) {
                *low = frame;
            } else if !visible && (*low + 1..=*high).contains(&frame) {
                *high = frame - 1;
            }
        }
    }

    /// The frame on which the structure is known to be visible: it lies in the window.
    #[must_use]
    pub fn seen(&self) -> FrameIndex {
        self.seen
    }

    /// How many questions were answered.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.answers
    }

    /// Which end is being looked for: true for the first frame, false for the last.
    #[must_use]
    pub fn at_entry(&self) -> bool {
        self.entry.0 < self.entry.1
    }

    /// Frames that are still possible for the end being looked for.
    #[must_use]
    pub fn left(&self) -> usize {
        let (low, high) = if self.at_entry() { self.entry } else { self.exit };
        high - low + 1
    }

    /// The window, once both ends are known.
    #[must_use]
    pub fn window(&self) -> Option<Window> {
        self.question().is_none().then_some(Window { first: self.entry.0, last: self.exit.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_window_is_found_in_about_twenty_answers() {
        let mut most = 0;
        for (first, last) in [(0, 699), (0, 0), (699, 699), (123, 456), (300, 301), (1, 698)] {
            for seen in [first, (first + last) / 2, last] {
                let mut search = Bisection::new(seen, 700);
                while let Some(frame) = search.question() {
                    search.answer(frame, (first..=last).contains(&frame));
                    assert!(search.answers() < 30, "it ends");
                }
                assert_eq!(search.window(), Some(Window { first, last }), "from {seen}");
                most = most.max(search.answers());
            }
        }
        assert!(most <= 20, "{most} answers");
    }

    #[test]
    fn answers_about_other_frames_narrow_too_and_contradictions_do_no_harm() {
        let mut search = Bisection::new(50, 100);
        search.answer(40, false);
        search.answer(20, true);
        assert_eq!(search.left(), 10, "41 to 50");
        search.answer(60, false);
        search.answer(99, true);
        while let Some(frame) = search.question() {
            search.answer(frame, (45..=55).contains(&frame));
        }
        assert_eq!(search.window(), Some(Window { first: 45, last: 55 }));
        assert_eq!(Bisection::new(0, 1).window(), Some(Window { first: 0, last: 0 }));
        assert_eq!(Bisection::new(7, 0).window(), Some(Window { first: 0, last: 0 }));
    }
}
