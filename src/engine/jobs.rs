//! What waits for the network thread: refreshes before propagations before encoding ahead.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::domain::{FrameIndex, FramePrompts, TrackId};

use super::{Plan, Ticket};

/// One frame's mask from its own prompts.
pub(super) struct Refresh {
    pub(super) ticket: Ticket,
    pub(super) frame: FrameIndex,
    pub(super) prompts: FramePrompts,
}

/// A walk through many frames.
pub(super) struct Propagation {
    pub(super) ticket: Ticket,
    pub(super) plan: Arc<Plan>,
    /// Nobody asked for it yet: it yields to everything else.
    pub(super) ahead: bool,
    pub(super) cancelled: Arc<AtomicBool>,
}

/// How far to either side of the cursor frames are encoded ahead, whatever is kept instead of them.
const AHEAD_FRAMES: usize = 4;
/// Frames between two anchors that are encoded ahead at most.
const SPAN_FRAMES: usize = 2000;

/// The next thing to do.
pub(super) enum Work {
    Refresh(Refresh),
    Propagate(Propagation),
    EncodeAhead(FrameIndex),
    /// The same, where no features have to go for it.
    EncodeIfRoom(FrameIndex),
    /// Nothing but to see what else has changed.
    LookUp,
}

#[derive(Default)]
struct Mailbox {
    /// At most one per track and frame.
    refreshes: Vec<Refresh>,
    propagations: VecDeque<Propagation>,
    /// Those that are walked.
    running: Vec<(TrackId, Arc<AtomicBool>)>,
    /// Frames to encode while there is nothing else to do, the nearest first.
    ahead: VecDeque<FrameIndex>,
    /// Then the rest of the span between two anchors, while there is room for their features.
    span: VecDeque<FrameIndex>,
    look_up: bool,
    closed: bool,
}

/// The mailbox of the network thread.
#[derive(Default)]
pub(super) struct Jobs {
    mailbox: Mutex<Mailbox>,
    arrived: Condvar,
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest refresh of a track and frame replaces one that has not started.
    pub(super) fn add_refresh(&self, refresh: Refresh) {
        let mut mailbox = self.lock();
        let same = |held: &Refresh| {
            held.ticket.track == refresh.ticket.track && held.frame == refresh.frame
        };
        mailbox.refreshes.retain(|held| !same(held));
        mailbox.refreshes.push(refresh);
        self.arrived.notify_one();
    }

    /// A new propagation of a track ends an older one of the same track, running or queued.
    pub(super) fn add_propagation(&self, ticket: Ticket, plan: Plan, ahead: bool) {
        self.cancel(Some(ticket.track));
        let plan = Arc::new(plan);
        let propagation = Propagation { ticket, plan, ahead, cancelled: Arc::default() };
        self.lock().propagations.push_back(propagation);
        self.arrived.notify_one();
    }

    /// A propagation that was taken comes next again.
    pub(super) fn put_back(&self, propagation: Propagation) {
        self.lock().propagations.push_front(propagation);
    }

    /// Lets a thread that waits look up from waiting.
    pub(super) fn look_up(&self) {
        self.lock().look_up = true;
        self.arrived.notify_one();
    }

    /// `frame` and its neighbours among `count` frames are to be encoded ahead, then, while there is room, the frames from
    /// one anchor to the next (both ends included); an older wish is forgotten.
    pub(super) fn set_ahead(
        &self,
        frame: FrameIndex,
        between: Option<(FrameIndex, FrameIndex)>,
        count: usize,
    ) {
        let near: VecDeque<_> = around(frame, count, AHEAD_FRAMES).collect();
        let span = between.map_or_else(VecDeque::new, |(first, last)| {
            around(frame, count, SPAN_FRAMES)
                .filter(|at| (first..=last).contains(at) && !near.contains(at))
                .collect()
        });
        let mut mailbox = self.lock();
        (mailbox.ahead, mailbox.span) = (near, span);
        self.arrived.notify_one();
    }

    /// There is no room for more features.
    pub(super) fn no_room(&self) {
        self.lock().span.clear();
    }

    /// Ends the propagations of `track`, or all. Queued ones are still taken, so that their end
    /// is told like that of the running one.
    pub(super) fn cancel(&self, track: Option<TrackId>) {
        let mailbox = self.lock();
        let concerned = |of: TrackId| track.is_none_or(|track| track == of);
        for job in mailbox.propagations.iter().filter(|job| concerned(job.ticket.track)) {
            job.cancelled.store(true, Ordering::Relaxed);
        }
        for (_, flag) in mailbox.running.iter().filter(|(of, _)| concerned(*of)) {
            flag.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.cancel(None);
        self.arrived.notify_all();
    }

    pub(super) fn closed(&self) -> bool {
        self.lock().closed
    }

    /// A refresh that waits, the newest first.
    pub(super) fn take_refresh(&self) -> Option<Refresh> {
        self.lock().refreshes.pop()
    }

    /// A frame that is to be encoded ahead, the nearest first.
    pub(super) fn take_ahead(&self) -> Option<FrameIndex> {
        self.lock().ahead.pop_front()
    }

    /// A propagation that can walk beside those in hand: the next one, if somebody asked for it.
    pub(super) fn take_propagation(&self) -> Option<Propagation> {
        let mut mailbox = self.lock();
        let job = mailbox.propagations.pop_front_if(|job| !job.ahead)?;
        mailbox.running.push((job.ticket.track, Arc::clone(&job.cancelled)));
        Some(job)
    }

    /// The next piece of work, or `None` once the mailbox is closed.
    pub(super) fn wait(&self) -> Option<Work> {
        let mut mailbox = self.lock();
        mailbox.running.clear();
        loop {
            if mailbox.closed {
                return None;
            }
            if std::mem::take(&mut mailbox.look_up) {
                return Some(Work::LookUp);
            }
            if let Some(refresh) = mailbox.refreshes.pop() {
                return Some(Work::Refresh(refresh));
            }
            if let Some(job) = mailbox.propagations.pop_front() {
                mailbox.running.push((job.ticket.track, Arc::clone(&job.cancelled)));
                return Some(Work::Propagate(job));
            }
            if let Some(frame) = mailbox.ahead.pop_front() {
                return Some(Work::EncodeAhead(frame));
            }
            if let Some(frame) = mailbox.span.pop_front() {
                return Some(Work::EncodeIfRoom(frame));
            }
            mailbox = self.arrived.wait(mailbox).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// `frame`, then its neighbours `within` so many, the nearest first and later ones before earlier ones.
fn around(frame: FrameIndex, count: usize, within: usize) -> impl Iterator<Item = FrameIndex> {
    let beside = (1..=within).flat_map(move |n| [frame.checked_add(n), frame.checked_sub(n)]);
    std::iter::once(Some(frame)).chain(beside).flatten().filter(move |frame| *frame < count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_frames_are_encoded_first_and_none_outside_the_clip() {
        assert_eq!(around(3, 6, 4).collect::<Vec<_>>(), [3, 4, 2, 5, 1, 0]);
        assert_eq!(around(0, 1, 4).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn a_new_place_of_the_cursor_replaces_what_was_to_be_encoded() {
        let jobs = Jobs::default();
        jobs.set_ahead(0, Some((0, 99)), 100);
        jobs.set_ahead(50, None, 100);
        let next = || match jobs.wait() {
            Some(Work::EncodeAhead(frame)) => frame,
            _ => usize::MAX,
        };
        let frames: Vec<_> = (0..3).map(|_| next()).collect();
        assert_eq!(frames, [50, 51, 49]);
    }
}
