//! The thread that owns the network.
//!
//! Two kinds of work, one owner. A *refresh* answers a key press: only the newest of a track and
//! frame matters. A *propagation* walks many frames: between two frames it serves the waiting
//! refreshes and looks at its cancel flag (`walkers`). A panic inside the network or its driver ends the
//! job, never the thread; where the device is to blame, the network is built anew (`failing`). A
//! second thread watches the first: where a call into the device does not come back (`watch`), that
//! thread is left to itself, heard no more, and another takes its place.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::domain::{FrameIndex, FramePrompts, TrackId};
use crate::net::device::caught;

use super::failing::{Start, Trouble, because, next_start, sentence, trouble};
use super::jobs::{Jobs, Refresh, Work};
use super::walkers::propagate;
use super::watch::{Overdue, Pulse, Watched};
use super::{Event, Frames, Image, Limits, Plan, Segmenter, SegmenterInfo, Ticket};

/// Where the events of a thread go.
pub type Outbox = Box<dyn Fn(Event) + Send>;

/// Makes the segmenter.
pub trait Builder: Send + Sync {
    /// On the thread that will own it; asked again when its device fails or there is a better one, and on another thread
    /// when it hangs or the frames change.
    ///
    /// # Errors
    /// A sentence for the person.
    fn build(&self, start: Start) -> Result<Box<dyn Segmenter>, String>;

    /// The segmenter made last is not to be used again: its device failed, or there is a better one.
    fn discard(&self) {}

    /// The segmenter made last, or being made, hangs: nobody shall wait for it.
    fn write_off(&self) {}

    /// Nobody wants a segmenter any more: who waits for one waits no longer.
    fn leave(&self) {}

    /// Whether the next segmenter would be another than the last one, on a better device: it is then made between two
    /// frames.
    fn news(&self) -> bool {
        false
    }

    /// `wake` is to be called when [`Builder::news`] becomes true.
    fn tells(&self, _wake: Arc<dyn Fn() + Send + Sync>) {}
}

impl<F: Fn(Start) -> Result<Box<dyn Segmenter>, String> + Send + Sync> Builder for F {
    fn build(&self, start: Start) -> Result<Box<dyn Segmenter>, String> {
        self(start)
    }
}

/// Deep call chains of the tensor library overflow the usual 2 MiB in debug builds.
const STACK_BYTES: usize = 64 << 20;
/// A thread that is busy in the driver for longer than this is left to the end of the process.
const PATIENCE: Duration = Duration::from_secs(3);

/// The network thread. Dropping it stops it after the frame in hand.
pub struct Worker {
    jobs: Arc<Jobs>,
    /// The thread that watches it, which ends after it.
    thread: Option<JoinHandle<()>>,
    frames: usize,
}

impl Worker {
    /// Starts the thread; `build` runs on it, so the caller never waits for the network. Work
    /// may be asked for at once and is served when the network is there. A device that does not
    /// answer within `limits` is given up and the CPU takes over.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn spawn(
        build: Arc<dyn Builder>,
        frames: Arc<Frames>,
        outbox: Outbox,
        limits: Limits,
    ) -> std::io::Result<Self> {
        let jobs = Arc::<Jobs>::default();
        let waits = Arc::downgrade(&jobs);
        build.tells(Arc::new(move || {
            if let Some(jobs) = waits.upgrade() {
                jobs.look_up();
            }
        }));
        let count = frames.count();
        let outbox = Arc::new(Mutex::new(outbox));
        let post = Post { outbox, jobs: Arc::clone(&jobs), frames, pulse: Arc::default() };
        let crew = Crew { build, limits };
        let first = crew.start(&post, Start::Asked, Struck::default())?;
        let thread = thread::Builder::new()
            .name("sonomark-watch".into())
            .spawn(move || crew.watch(post, first))
            // Nobody has the first one then: it ends when it is there, and gives its network back.
            .inspect_err(|_| jobs.close())?;
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

    /// Computes the features of `frame` and of its neighbours when there is nothing else to do; then of the frames from
    /// one anchor to the next, `between`, until there is no more room for features.
    pub fn encode_ahead(&self, frame: FrameIndex, between: Option<(FrameIndex, FrameIndex)>) {
        self.jobs.set_ahead(frame, between, self.frames);
    }

    /// Nothing more is wanted: the network is free after the frame in hand. Waits for nothing.
    pub(super) fn leave(&self) {
        self.jobs.close();
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

/// What every thread of a worker needs to start.
struct Crew {
    build: Arc<dyn Builder>,
    limits: Limits,
}

impl Crew {
    fn start(&self, post: &Post, start: Start, struck: Struck) -> std::io::Result<JoinHandle<()>> {
        let (build, limits, post) = (Arc::clone(&self.build), self.limits, post.clone());
        thread::Builder::new().name("sonomark-network".into()).stack_size(STACK_BYTES).spawn(
            move || {
                let pulse = Arc::clone(&post.pulse);
                let _closes = Closes(&pulse);
                run(&*build, limits, &post, start, struck);
            },
        )
    }

    /// Watches the thread at work until it ends, and puts another in the place of one that hangs.
    fn watch(self, mut post: Post, mut at_work: JoinHandle<()>) {
        while let Some(Overdue { in_hand, limit }) = post.pulse.overdue(self.limits) {
            self.build.write_off();
            // The old thread keeps its own pulse and is never heard again.
            post.pulse = Arc::default();
            let start = next_start(Trouble::Hung, 1);
            let why = sentence(Trouble::Hung, start, &format!("for {} s", limit.as_secs_f32()));
            // All of them: below one that is told to have been stopped nobody would look for the reason.
            for ticket in in_hand.into_iter().rev() {
                post.tell(Event::JobFailed { ticket, why: why.clone() });
            }
            if post.jobs.closed() {
                return;
            }
            let struck = Struck { times: 1, last: Some((Trouble::Hung, start)) };
            match self.start(&post, start, struck) {
                Ok(thread) => at_work = thread,
                Err(cause) => {
                    let why = format!(
                        "cannot start a thread ({cause}); close other programs and open the clip again"
                    );
                    post.tell(Event::EngineFailed { why: why.clone() });
                    return refuse_all(&post, &why);
                }
            }
        }
        if at_work.join().is_err() && !post.jobs.closed() {
            // Outside of a job, which would have told it: in opening the clip.
            let why = "the thread of the network stopped by a fault of this program; what was decided stays, open the \
                       clip again";
            post.tell(Event::EngineFailed { why: why.to_owned() });
            refuse_all(&post, why);
        }
    }
}

/// Tells the watching thread that the watched one has ended, however it ends.
struct Closes<'a>(&'a Pulse);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What a network thread works from and where its answers go.
#[derive(Clone)]
pub(super) struct Post {
    outbox: Arc<Mutex<Outbox>>,
    pub(super) jobs: Arc<Jobs>,
    pub(super) frames: Arc<Frames>,
    pub(super) pulse: Arc<Pulse>,
}

impl Post {
    /// Nothing is told any more by a thread that was given up: its questions have their answer.
    pub(super) fn tell(&self, event: Event) {
        if !self.pulse.given_up() {
            self.outbox.lock().unwrap_or_else(PoisonError::into_inner)(event);
        }
    }
}

/// The life of a network thread.
fn run(build: &dyn Builder, limits: Limits, post: &Post, mut start: Start, mut struck: Struck) {
    loop {
        // On the CPU weights may come over a slow network, and there is nothing else to go to.
        let limit = (start == Start::Asked).then_some(limits.first);
        let built = post.pulse.during(limit, || guarded(|| build.build(start)));
        let ended = match built {
            Ok(segmenter) => {
                let mut segmenter = Watched::new(segmenter, Arc::clone(&post.pulse), limits);
                segmenter.open_clip(post.frames.count());
                post.tell(Event::Ready(struck.told(segmenter.info())));
                let next = serve_all(build, &mut segmenter, post, &mut struck);
                // Who was given up has a successor: what was made last is theirs.
                let next = next.filter(|_| !post.pulse.given_up());
                if next.is_some() {
                    build.discard();
                }
                next
            }
            // Who left waits for no network.
            Err(_) if post.jobs.closed() => None,
            // What the device lacked it may still lack: the memory of the network before is not back yet.
            Err(_) if start == Start::Asked && struck.times > 0 => Some(struck.give_up()),
            Err(why) => {
                post.tell(Event::EngineFailed { why: why.clone() });
                refuse_all(post, &why);
                None
            }
        };
        // The failed network is gone before the next one is built: it may hold all the memory. A device that hung at that has
        // given this thread a successor.
        match ended {
            Some(next) if !post.pulse.given_up() => start = next,
            _ => break,
        }
    }
}

/// Serves until the mailbox is closed or this thread is given up (`None`), the device fails or there is a better one: then
/// how to start again.
fn serve_all(
    build: &dyn Builder,
    segmenter: &mut dyn Segmenter,
    post: &Post,
    struck: &mut Struck,
) -> Option<Start> {
    while !post.pulse.given_up() {
        if build.news() {
            return Some(Start::Asked);
        }
        let work = post.jobs.wait()?;
        let next = match work {
            Work::Refresh(refresh) => {
                serve(segmenter, post, refresh, struck).map(|failed| failed.start)
            }
            Work::Propagate(job) => propagate(build, segmenter, post, job, struck),
            Work::LookUp => None,
            Work::EncodeAhead(frame) => {
                encode_ahead(segmenter, &post.frames, frame);
                None
            }
            Work::EncodeIfRoom(frame) => {
                if segmenter.has_room() {
                    encode_ahead(segmenter, &post.frames, frame);
                } else {
                    post.jobs.no_room();
                }
                None
            }
        };
        if next.is_some() {
            return next;
        }
    }
    None
}

pub(super) fn encode_ahead(segmenter: &mut dyn Segmenter, frames: &Frames, frame: FrameIndex) {
    // What fails here fails again, and is told, when the frame is asked for.
    let _ = guarded(|| {
        let pixels = frames.get(frame)?;
        let image = Image { frame, pixels: &pixels };
        segmenter.encode_ahead(image).map_err(|error| error.to_string())
    });
}

/// Why a job failed.
pub(super) enum Fault {
    /// The pixels of a frame are not to be had.
    OfFrame(String),
    /// The network failed, or the device that it is on.
    OfNetwork(String),
}

/// The device failed a job.
pub(super) struct Failed {
    /// How the network starts again.
    pub(super) start: Start,
    /// The sentence.
    pub(super) why: String,
}

/// What the devices of this thread did so far.
#[derive(Default)]
pub(super) struct Struck {
    times: u32,
    last: Option<(Trouble, Start)>,
}

impl Struck {
    /// The sentence for a failed job, and how the network starts again where its device is to blame.
    pub(super) fn judge(
        &mut self,
        segmenter: &dyn Segmenter,
        fault: Fault,
    ) -> (String, Option<Start>) {
        let why = match fault {
            // Files may lack memory, too, and be called what they like.
            Fault::OfFrame(why) => return (why, None),
            Fault::OfNetwork(why) => why,
        };
        // Without a device of its own there is nothing to start again on.
        let found = trouble(&why).filter(|_| !segmenter.info().device.starts_with("CPU"));
        let Some(found) = found else { return (why, None) };
        self.times += 1;
        let start = next_start(found, self.times);
        self.last = Some((found, start));
        (sentence(found, start, &why), Some(start))
    }

    /// The device does not take the network again.
    fn give_up(&mut self) -> Start {
        self.last = self.last.map(|(trouble, _)| (trouble, Start::OnCpu));
        Start::OnCpu
    }

    /// Who answers from now on; after a failure with its reason in the place of the usual one.
    fn told(&self, info: SegmenterInfo) -> SegmenterInfo {
        match self.last {
            Some((trouble, _)) => because(info, trouble),
            None => info,
        }
    }
}

/// Without a network every question is answered with the reason.
fn refuse_all(post: &Post, why: &str) {
    while !post.pulse.given_up()
        && let Some(work) = post.jobs.wait()
    {
        let ticket = match work {
            Work::Refresh(refresh) => refresh.ticket,
            Work::Propagate(job) => job.ticket,
            Work::EncodeAhead(_) | Work::EncodeIfRoom(_) | Work::LookUp => continue,
        };
        post.tell(Event::JobFailed { ticket, why: why.to_owned() });
    }
}

/// Answers a refresh and tells; something where the device failed it.
pub(super) fn serve(
    segmenter: &mut dyn Segmenter,
    post: &Post,
    refresh: Refresh,
    struck: &mut Struck,
) -> Option<Failed> {
    let Refresh { ticket, frame, prompts } = refresh;
    let decided = post.pulse.working_for(ticket, || {
        let pixels = post.frames.get(frame).map_err(Fault::OfFrame)?;
        let image = Image { frame, pixels: &pixels };
        let ask = || segmenter.refresh(image, &prompts).map_err(|error| error.to_string());
        guarded(ask).map_err(Fault::OfNetwork)
    });
    let (event, next) = match decided {
        Ok(decided) => (Event::Refreshed { ticket, frame, decided }, None),
        Err(fault) => {
            let (why, start) = struck.judge(segmenter, fault);
            let next = start.map(|start| Failed { start, why: why.clone() });
            (Event::JobFailed { ticket, why }, next)
        }
    };
    post.tell(event);
    next
}

/// Runs `f`, turning a panic in the network or its driver into an ordinary failure.
pub(super) fn guarded<T>(f: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    caught(f).unwrap_or_else(|text| {
        Err(format!("the network stopped: {text}; the annotation is untouched, try again"))
    })
}
