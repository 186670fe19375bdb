//! What waits for the loop. The person comes first, and whatever clips and the network tell is taken
//! in portions: however fast it comes, a key is answered and the screen drawn in between.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::tui::model::Msg;

/// Messages of clips and the network between two drawings, at most: each may bring a mask, which
/// takes a millisecond or less.
const PORTION: usize = 32;

/// The messages that were not taken yet.
pub(super) struct Inbox {
    messages: Receiver<Msg>,
    /// Of the terminal and the loop itself.
    person: VecDeque<Msg>,
    /// Of clips, the network and the watched folder; and the end from outside and the next clip, which overtake nothing
    /// that was decided before them.
    others: VecDeque<Msg>,
    /// How many of the others may still be taken in this turn.
    left: usize,
}

impl Inbox {
    pub(super) fn new(messages: Receiver<Msg>) -> Self {
        Self { messages, person: VecDeque::new(), others: VecDeque::new(), left: 0 }
    }

    /// Begins a turn as soon as a message is there, at the latest after `most`. False when nobody can
    /// send any more.
    pub(super) fn wait(&mut self, most: Duration) -> bool {
        self.left = PORTION;
        if !self.person.is_empty() || !self.others.is_empty() {
            return true;
        }
        match self.messages.recv_timeout(most) {
            Ok(message) => self.keep(message),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    /// The next message of the turn; `None` when it is over.
    pub(super) fn next(&mut self) -> Option<Msg> {
        while let Ok(message) = self.messages.try_recv() {
            self.keep(message);
        }
        if let Some(message) = self.person.pop_front() {
            return Some(message);
        }
        self.left = self.left.checked_sub(1)?;
        self.others.pop_front()
    }

    /// A message after the last turn, where one comes before `most` is over.
    pub(super) fn last(&mut self, most: Duration) -> Option<Msg> {
        let waiting = self.person.pop_front().or_else(|| self.others.pop_front());
        waiting.or_else(|| self.messages.recv_timeout(most).ok())
    }

    fn keep(&mut self, message: Msg) {
        match message {
            Msg::OfClip(..)
            | Msg::Engine(_)
            | Msg::OpenAnswered(_)
            | Msg::HungUp
            | Msg::Terminate => {
                self.others.push_back(message);
            }
            _ => self.person.push_back(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::engine::Event;

    /// Number of a message of a clip; `None` for one of the person.
    fn number(message: &Msg) -> Option<u64> {
        match message {
            Msg::OfClip(number, _) => Some(*number),
            _ => None,
        }
    }

    #[test]
    fn keys_come_first_and_clips_in_portions_and_in_order() {
        let (sender, messages) = channel();
        let mut inbox = Inbox::new(messages);
        let total = 3 * PORTION as u64 + 5;
        for number in 0..total {
            let event = Msg::Engine(Event::Saved { unsynced: 0 });
            sender.send(Msg::OfClip(number, Box::new(event))).expect("somebody listens");
        }
        sender.send(Msg::Key("l".parse().expect("a key"))).expect("somebody listens");
        let mut taken = Vec::new();
        for turn in 0..4 {
            assert!(inbox.wait(Duration::ZERO));
            let before = taken.len();
            while let Some(message) = inbox.next() {
                // A key that comes meanwhile does not wait for the rest of the portion.
                if number(&message) == Some(40) {
                    sender.send(Msg::Key("h".parse().expect("a key"))).expect("listens");
                }
                taken.push(number(&message));
            }
            let clips = taken[before..].iter().flatten().count();
            assert_eq!(clips, if turn < 3 { PORTION } else { 5 });
        }
        assert_eq!(taken[0], None, "the key overtakes them all");
        assert_eq!(taken.iter().skip_while(|each| **each != Some(40)).nth(1), Some(&None));
        let clips: Vec<u64> = taken.into_iter().flatten().collect();
        assert!(clips.into_iter().eq(0..total));
        assert!(inbox.wait(Duration::ZERO) && inbox.next().is_none(), "nothing came");
        drop(sender);
        assert!(!inbox.wait(Duration::ZERO));
    }

    #[test]
    fn the_end_comes_behind_what_was_decided_before_it() {
        let (sender, messages) = channel();
        let mut inbox = Inbox::new(messages);
        let clip = |number| Msg::OfClip(number, Box::new(Msg::Nothing));
        for message in [clip(0), Msg::HungUp, clip(1), Msg::SizeChanged] {
            sender.send(message).expect("somebody listens");
        }
        assert!(inbox.wait(Duration::ZERO));
        let taken: Vec<Msg> = std::iter::from_fn(|| inbox.next()).collect();
        assert!(
            matches!(
                taken[..],
                [Msg::SizeChanged, Msg::OfClip(0, _), Msg::HungUp, Msg::OfClip(1, _)]
            ),
            "{taken:?}"
        );
    }

    #[test]
    fn nothing_is_lost_at_the_end() {
        let (sender, messages) = channel();
        let mut inbox = Inbox::new(messages);
        for number in 0..2 * PORTION as u64 {
            sender.send(Msg::OfClip(number, Box::new(Msg::Nothing))).expect("somebody listens");
        }
        assert!(inbox.wait(Duration::ZERO) && inbox.next().is_some());
        let mut left = 0;
        while inbox.last(Duration::ZERO).is_some() {
            left += 1;
        }
        assert_eq!(left, 2 * PORTION - 1);
    }
}
