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
    pub(super) plan: Plan,
    pub(super) cancelled: Arc<AtomicBool>,
}

/// The next thing to do.
pub(super) enum Work {
    Refresh(Refresh),
    Propagate(Propagation),
    EncodeAhead(FrameIndex),
}

#[derive(Default)]
struct Mailbox {
    /// At most one per track and frame.
    refreshes: Vec<Refresh>,
    propagations: VecDeque<Propagation>,
    running: Option<(TrackId, Arc<AtomicBool>)>,
    ahead: Option<FrameIndex>,
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
    pub(super) fn add_propagation(&self, ticket: Ticket, plan: Plan) {
        self.cancel(Some(ticket.track));
        let propagation = Propagation { ticket, plan, cancelled: Arc::default() };
        self.lock().propagations.push_back(propagation);
        self.arrived.notify_one();
    }

    /// Only the newest frame to be encoded ahead is remembered.
    pub(super) fn set_ahead(&self, frame: FrameIndex) {
        self.lock().ahead = Some(frame);
        self.arrived.notify_one();
    }

    /// Ends the propagations of `track`, or all. Queued ones are still taken, so that their end
    /// is told like that of the running one.
    pub(super) fn cancel(&self, track: Option<TrackId>) {
        let mailbox = self.lock();
        let concerned = |of: TrackId| track.is_none_or(|track| track == of);
        for job in mailbox.propagations.iter().filter(|job| concerned(job.ticket.track)) {
            job.cancelled.store(true, Ordering::Relaxed);
        }
        if let Some((_, flag)) = mailbox.running.as_ref().filter(|(of, _)| concerned(*of)) {
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

    /// The next piece of work, or `None` once the mailbox is closed.
    pub(super) fn wait(&self) -> Option<Work> {
        let mut mailbox = self.lock();
        mailbox.running = None;
        loop {
            if mailbox.closed {
                return None;
            }
            if let Some(refresh) = mailbox.refreshes.pop() {
                return Some(Work::Refresh(refresh));
            }
            if let Some(job) = mailbox.propagations.pop_front() {
                mailbox.running = Some((job.ticket.track, Arc::clone(&job.cancelled)));
                return Some(Work::Propagate(job));
            }
            if let Some(frame) = mailbox.ahead.take() {
                return Some(Work::EncodeAhead(frame));
            }
            mailbox = self.arrived.wait(mailbox).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
