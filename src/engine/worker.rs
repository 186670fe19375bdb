//! The thread that owns the network.
//!
//! Two kinds of work, one owner. A *refresh* answers a key press: only the newest of a track and
//! frame matters. A *propagation* walks many frames: between two frames it serves the waiting
//! refreshes and looks at its cancel flag. A panic inside the network or its driver ends the
//! job, never the thread; where the device is to blame, the network is built anew (`failing`).

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::domain::{FrameIndex, FramePrompts, TrackId};

use super::failing::{Start, Trouble, next_start, sentence, trouble, what};
use super::jobs::{Jobs, Propagation, Refresh, Work};
use super::propagate::{Ended, Role, walk};
use super::{Event, Frames, Image, Plan, Segmenter, SegmenterInfo, Ticket};

/// Where the events of a thread go.
pub type Outbox = Box<dyn Fn(Event) + Send>;
/// Makes the segmenter, on the thread that will own it; asked again when its device fails.
pub type Builder = Box<dyn FnMut(Start) -> Result<Box<dyn Segmenter>, String> + Send>;

/// Deep call chains of the tensor library overflow the usual 2 MiB in debug builds.
const STACK_BYTES: usize = 64 << 20;
/// A thread that is busy in the driver for longer than this is left to the end of the process.
const PATIENCE: Duration = Duration::from_secs(3);

/// The network thread. Dropping it stops it after the frame in hand.
pub struct Worker {
    jobs: Arc<Jobs>,
    thread: Option<JoinHandle<()>>,
    frames: usize,
}

impl Worker {
    /// Starts the thread; `build` runs on it, so the caller never waits for the network. Work
    /// may be asked for at once and is served when the network is there.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn spawn(mut build: Builder, frames: Arc<Frames>, outbox: Outbox) -> std::io::Result<Self> {
        let jobs = Arc::<Jobs>::default();
        let inner = Arc::clone(&jobs);
        let count = frames.count();
        let thread = thread::Builder::new()
            .name("sonomark-network".into())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let mut start = Start::Asked;
                let mut struck = Struck::default();
                loop {
                    let built = guarded(|| build(start));
                    let ended = match built {
                        Ok(mut segmenter) => {
                            segmenter.open_clip(frames.count());
                            outbox(Event::Ready(struck.told(segmenter.info())));
                            serve_all(&mut *segmenter, &frames, &inner, &outbox, &mut struck)
                        }
                        Err(why) => {
                            outbox(Event::EngineFailed { why: why.clone() });
                            refuse_all(&inner, &outbox, &why);
                            None
                        }
                    };
                    // The failed network is gone before the next one is built: it may hold all the memory.
                    match ended {
                        Some(next) => start = next,
                        None => break,
                    }
                }
            })?;
        Ok(Self { jobs, thread: Some(thread), frames: count })
    }

    /// Asks for the mask of one frame from its own prompts.
    pub fn refresh(&self, ticket: Ticket, frame: FrameIndex, prompts: FramePrompts) {
        self.jobs.add_refresh(Refresh { ticket, frame, prompts });
    }

    /// Queues a propagation; an older one of the same track ends.
    pub fn propagate(&self, ticket: Ticket, plan: Plan) {
        self.jobs.add_propagation(ticket, plan, false);
    }

    /// The same before anybody asked for it: it yields to everything else.
    pub fn propagate_ahead(&self, ticket: Ticket, plan: Plan) {
        self.jobs.add_propagation(ticket, plan, true);
    }

    /// Ends the propagations of `track`, or all of them, after the frame in hand.
    pub fn cancel(&self, track: Option<TrackId>) {
        self.jobs.cancel(track);
    }

    /// Computes the features of `frame` and of its neighbours when there is nothing else to do.
    pub fn encode_ahead(&self, frame: FrameIndex) {
        self.jobs.set_ahead(frame, self.frames);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs.close();
        let Some(thread) = self.thread.take() else {
            return;
        };
        let asked = Instant::now();
        while !thread.is_finished() && asked.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(2));
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

/// Serves until the mailbox is closed (`None`) or the device fails: then how to start again.
fn serve_all(
    segmenter: &mut dyn Segmenter,
    frames: &Frames,
    jobs: &Jobs,
    outbox: &Outbox,
    struck: &mut Struck,
) -> Option<Start> {
    while let Some(work) = jobs.wait() {
        let next = match work {
            Work::Refresh(refresh) => serve(segmenter, frames, outbox, refresh, struck),
            Work::Propagate(job) => propagate(segmenter, frames, jobs, outbox, &job, struck),
            Work::EncodeAhead(frame) => {
                encode_ahead(segmenter, frames, frame);
                None
            }
        };
        if next.is_some() {
            return next;
        }
    }
    None
}

fn encode_ahead(segmenter: &mut dyn Segmenter, frames: &Frames, frame: FrameIndex) {
    // What fails here fails again, and is told, when the frame is asked for.
    let _ = guarded(|| {
        let pixels = frames.get(frame)?;
        let image = Image { frame, pixels: &pixels };
        segmenter.encode_ahead(image).map_err(|error| error.to_string())
    });
}

/// What the devices of this thread did so far.
#[derive(Default)]
struct Struck {
    times: u32,
    last: Option<(Trouble, Start)>,
}

impl Struck {
    /// The sentence for a failed job, and how the network starts again where its device is to blame.
    fn judge(&mut self, segmenter: &dyn Segmenter, why: String) -> (String, Option<Start>) {
        // Without a device of its own there is nothing to start again on.
        let found = trouble(&why).filter(|_| !segmenter.info().device.starts_with("CPU"));
        let Some(found) = found else { return (why, None) };
        self.times += 1;
        let start = next_start(found, self.times);
        self.last = Some((found, start));
        (sentence(found, start, &why), Some(start))
    }

    /// Who answers from now on; after a failure with its reason in the place of the usual one.
    fn told(&self, mut info: SegmenterInfo) -> SegmenterInfo {
        if let Some((trouble, _)) = self.last {
            let device = info.device.split(':').next().unwrap_or_default().to_owned();
            info.device = format!("{device}: {}", what(trouble));
        }
        info
    }
}

/// Without a network every question is answered with the reason.
fn refuse_all(jobs: &Jobs, outbox: &Outbox, why: &str) {
    while let Some(work) = jobs.wait() {
        let ticket = match work {
            Work::Refresh(refresh) => refresh.ticket,
            Work::Propagate(job) => job.ticket,
            Work::EncodeAhead(_) => continue,
        };
        outbox(Event::JobFailed { ticket, why: why.to_owned() });
    }
}

fn serve(
    segmenter: &mut dyn Segmenter,
    frames: &Frames,
    outbox: &Outbox,
    refresh: Refresh,
    struck: &mut Struck,
) -> Option<Start> {
    let Refresh { ticket, frame, prompts } = refresh;
    let decided = guarded(|| {
        let pixels = frames.get(frame)?;
        let image = Image { frame, pixels: &pixels };
        segmenter.refresh(image, &prompts).map_err(|error| error.to_string())
    });
    let (event, next) = match decided {
        Ok(decided) => (Event::Refreshed { ticket, frame, decided }, None),
        Err(why) => {
            let (why, next) = struck.judge(segmenter, why);
            (Event::JobFailed { ticket, why }, next)
        }
    };
    outbox(event);
    next
}

fn propagate(
    segmenter: &mut dyn Segmenter,
    frames: &Frames,
    jobs: &Jobs,
    outbox: &Outbox,
    job: &Propagation,
    struck: &mut Struck,
) -> Option<Start> {
    let (ticket, total, mut done) = (job.ticket, job.plan.len(), 0);
    let mut next = None;
    let ended = guarded(|| {
        let mut between = |segmenter: &mut dyn Segmenter| {
            while next.is_none()
                && let Some(refresh) = jobs.take_refresh()
            {
                next = serve(segmenter, frames, outbox, refresh, struck);
            }
            if next.is_some() {
                return ControlFlow::Break(());
            }
            if let Some(frame) = job.ahead.then(|| jobs.take_ahead()).flatten() {
                encode_ahead(segmenter, frames, frame);
            }
            let stop = jobs.closed() || job.cancelled.load(Ordering::Relaxed);
            if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let mut on_frame = |frame, role, decided| {
            match decided {
                // The person already sees an anchor's mask.
                Ok(_) if role == Role::Anchor => return,
                Ok(decided) => outbox(Event::Tracked { ticket, frame, decided }),
                Err(why) => outbox(Event::FrameFailed { frame, why }),
            }
            if role == Role::Tracked {
                done += 1;
                outbox(Event::Progress { ticket, done, total });
            }
        };
        walk(segmenter, &mut |frame| frames.get(frame), &job.plan, &mut between, &mut on_frame)
            .map_err(|error| error.to_string())
    });
    outbox(match ended {
        Ok(ended) => Event::Finished { ticket, cancelled: ended == Ended::Cancelled },
        Err(why) => {
            let (why, start) = struck.judge(segmenter, why);
            next = next.or(start);
            Event::JobFailed { ticket, why }
        }
    });
    next
}

/// Runs `f`, turning a panic in the network or its driver into an ordinary failure.
fn guarded<T>(f: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|cause| {
        let text = cause
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| cause.downcast_ref::<String>().cloned());
        let text = text.unwrap_or_else(|| "unknown cause".into());
        Err(format!("the network stopped: {text}; the annotation is untouched, try again"))
    })
}
