//! The propagations of the network thread: those of several tracks walk together, and between two frames the questions that
//! wait are answered.
//!
//! What decides whether this file is right: every propagation that was taken is told to have ended, once; a refresh never
//! waits for more than a frame, walked or encoded ahead; and one that joins meets those under way without their beginning
//! anew.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::domain::FrameIndex;

use super::failing::Start;
use super::jobs::Propagation;
use super::walking::{Asker, Role, TOGETHER_MAX, WalkError, Walking, walk_together};
use super::worker::{Builder, Failed, Fault, Post, Struck, encode_ahead, guarded, serve};
use super::{Decided, Event, Segmenter, Ticket, WalkId};

/// Walks `job`, and those that are asked for meanwhile beside it.
pub(super) fn propagate(
    build: &dyn Builder,
    segmenter: &mut dyn Segmenter,
    post: &Post,
    job: Propagation,
    struck: &mut Struck,
) -> Option<Start> {
    let mut walkers = Walkers {
        build,
        post,
        struck,
        going: BTreeMap::new(),
        begun: 0,
        next: None,
        better: false,
    };
    let mut walking = Walking::default();
    walkers.take(job, &mut walking);
    let ended = guarded(|| Ok(walk_together(segmenter, &post.frames, walking, &mut walkers)));
    match ended {
        Ok(Ok(_)) => walkers.end(),
        Ok(Err(error)) => walkers.fail(segmenter, error.to_string()),
        Err(why) => {
            walkers.let_go(segmenter);
            walkers.fail(segmenter, why)
        }
    }
}

/// A propagation in hand.
struct Going {
    job: Propagation,
    done: usize,
}

/// The propagations in hand, and what there is to do between two of their frames.
struct Walkers<'a> {
    build: &'a dyn Builder,
    post: &'a Post,
    struck: &'a mut Struck,
    going: BTreeMap<WalkId, Going>,
    /// How many there were so far.
    begun: WalkId,
    /// Its device failed a question meanwhile.
    next: Option<Failed>,
    /// There is a better device.
    better: bool,
}

impl Walkers<'_> {
    fn take(&mut self, job: Propagation, walking: &mut Walking) {
        self.post.pulse.begins(job.ticket);
        walking.join(self.begun, Arc::clone(&job.plan));
        self.going.insert(self.begun, Going { job, done: 0 });
        self.begun += 1;
    }

    /// Lets go of a propagation and tells what became of it.
    fn tell(&mut self, walk: WalkId, event: impl FnOnce(Ticket) -> Event) {
        if let Some(Going { job, .. }) = self.going.remove(&walk) {
            self.post.pulse.ends(job.ticket);
            self.post.tell(event(job.ticket));
        }
    }

    fn tell_all(&mut self, event: impl Fn(Ticket) -> Event) {
        while let Some(walk) = self.going.keys().next().copied() {
            self.tell(walk, &event);
        }
    }

    /// The walk is over: what had not ended was cancelled, or begins anew on the better device.
    fn end(mut self) -> Option<Start> {
        if let Some(Failed { start, why }) = self.next.take() {
            // Who reads that it was stopped would not look for the reason.
            self.tell_all(|ticket| Event::JobFailed { ticket, why: why.clone() });
            return Some(start);
        }
        if !self.better {
            self.tell_all(|ticket| Event::Finished { ticket, cancelled: true });
            return None;
        }
        for Going { job, .. } in std::mem::take(&mut self.going).into_values().rev() {
            self.post.pulse.ends(job.ticket);
            self.post.jobs.put_back(job);
        }
        Some(Start::Asked)
    }

    /// A panic left their memories behind.
    fn let_go(&self, segmenter: &mut dyn Segmenter) {
        for walk in self.going.keys() {
            // A device that is lost may panic at that, too.
            let _ = guarded(|| {
                segmenter.end_walk(*walk);
                Ok(())
            });
        }
    }

    /// The network failed, for all of them.
    fn fail(mut self, segmenter: &dyn Segmenter, why: String) -> Option<Start> {
        let (why, start) = self.struck.judge(segmenter, Fault::OfNetwork(why));
        self.tell_all(|ticket| Event::JobFailed { ticket, why: why.clone() });
        self.next.map(|failed| failed.start).or(start)
    }

    /// Answers the questions that wait; a break where the walk cannot go on.
    fn answer(&mut self, segmenter: &mut dyn Segmenter) -> ControlFlow<()> {
        let Post { jobs, pulse, .. } = self.post;
        while self.next.is_none()
            && !pulse.given_up()
            && let Some(refresh) = jobs.take_refresh()
        {
            self.next = serve(segmenter, self.post, refresh, self.struck);
        }
        match self.next.is_some() || pulse.given_up() || jobs.closed() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Lets those leave that were cancelled, and those join that were asked for since.
    fn meet(&mut self, segmenter: &mut dyn Segmenter, walking: &mut Walking) {
        let stopped = |going: &Going| going.job.cancelled.load(Ordering::Relaxed);
        let gone: Vec<WalkId> =
            self.going.iter().filter(|(_, going)| stopped(going)).map(|(walk, _)| *walk).collect();
        for walk in gone {
            walking.leave(walk, segmenter);
            self.tell(walk, |ticket| Event::Finished { ticket, cancelled: true });
        }
        // Beside one that nobody had asked for, too: if nobody had since, it would have been cancelled. A thread that was
        // given up over those that left takes none: its successor does.
        while self.going.len() < TOGETHER_MAX
            && !self.post.pulse.given_up()
            && let Some(job) = self.post.jobs.take_propagation()
        {
            self.take(job, walking);
        }
    }
}

impl Asker for Walkers<'_> {
    fn between(&mut self, segmenter: &mut dyn Segmenter, walking: &mut Walking) -> ControlFlow<()> {
        let Post { jobs, frames, .. } = self.post;
        self.answer(segmenter)?;
        let ahead = self.going.values().all(|going| going.job.ahead);
        if let Some(frame) = ahead.then(|| jobs.take_ahead()).flatten() {
            encode_ahead(segmenter, frames, frame);
            // A point that came meanwhile does not wait for a frame of the walk besides.
            self.answer(segmenter)?;
        }
        self.meet(segmenter, walking);
        self.better = self.build.news();
        if self.better { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn on_frame(
        &mut self,
        walk: WalkId,
        frame: FrameIndex,
        role: Role,
        decided: Result<Decided, String>,
    ) {
        let Some(Going { job, done }) = self.going.get_mut(&walk) else { return };
        let (ticket, total) = (job.ticket, job.plan.len());
        match decided {
            // The person already sees an anchor's mask.
            Ok(_) if role == Role::Anchor => return,
            Ok(decided) => self.post.tell(Event::Tracked { ticket, frame, decided }),
            Err(why) => self.post.tell(Event::FrameFailed { frame, why }),
        }
        if role == Role::Tracked {
            *done += 1;
            self.post.tell(Event::Progress { ticket, done: *done, total });
        }
    }

    fn on_end(&mut self, walk: WalkId, ended: Result<(), WalkError>) {
        self.tell(walk, |ticket| match ended {
            Ok(()) => Event::Finished { ticket, cancelled: false },
            Err(error) => Event::JobFailed { ticket, why: error.to_string() },
        });
    }
}
