//! Devices that never answer: every call into the network is timed from outside.
//!
//! What decides whether this file is right: a thread that was given up takes no further work and is never heard again;
//! honest slow work is never given up. So only devices other than the CPU are timed: on the CPU there is no driver that
//! could hang, and a frame of a large network may take minutes there. On a GPU a call like none before it has
//! [`Limits::first`], because that is when kernels are compiled and tried; only its like is held to [`Limits::usual`].
//! Time in which this process was stopped or the machine slept does not count.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::domain::FramePrompts;
use crate::net::device::caught;

use super::failing::{Trouble, in_short, what};
use super::{
    Anchor, Decided, Direction, Image, SegmentError, Segmenter, SegmenterInfo, Ticket, WalkId,
};

/// How long a device other than the CPU may take to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For a call like one that it has answered.
    pub usual: Duration,
    /// For loading the network, and for a call like none before it.
    pub first: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { usual: Duration::from_secs(30), first: Duration::from_secs(600) }
    }
}

/// Looks per [`Limits::usual`]: a call is given up between one and one and a quarter times its limit.
const LOOKS: u32 = 4;

/// What one network thread is doing, seen by the thread that watches it.
#[derive(Default)]
pub(super) struct Pulse {
    state: Mutex<State>,
    closed: Condvar,
}

#[derive(Default)]
struct State {
    calls: u64,
    /// The call in hand, where it is timed.
    call: Option<(u64, Duration)>,
    /// The jobs in hand, the innermost last.
    in_hand: Vec<Ticket>,
    given_up: bool,
    closed: bool,
}

/// A call that was not answered.
pub(super) struct Overdue {
    /// The jobs that wait for it, the innermost last.
    pub(super) in_hand: Vec<Ticket>,
    pub(super) limit: Duration,
}

impl Pulse {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `call`, which may take as long as `limit`; without one it is not timed.
    pub(super) fn during<T>(&self, limit: Option<Duration>, call: impl FnOnce() -> T) -> T {
        let mut state = self.lock();
        state.calls += 1;
        state.call = limit.map(|limit| (state.calls, limit));
        drop(state);
        let _done = Done(self, |state| state.call = None);
        call()
    }

    /// Work for `ticket` begins, beside that in hand.
    pub(super) fn begins(&self, ticket: Ticket) {
        self.lock().in_hand.push(ticket);
    }

    /// It has ended.
    pub(super) fn ends(&self, ticket: Ticket) {
        self.lock().in_hand.retain(|held| *held != ticket);
    }

    /// The call in hand goes on and has its whole limit again.
    fn beat(&self) {
        let state = &mut *self.lock();
        state.calls += 1;
        if let Some((number, _)) = &mut state.call {
            *number = state.calls;
        }
    }

    /// Runs `job` as the work for `ticket`.
    pub(super) fn working_for<T>(&self, ticket: Ticket, job: impl FnOnce() -> T) -> T {
        self.lock().in_hand.push(ticket);
        let _done =
            Done(self, |state| state.in_hand.truncate(state.in_hand.len().saturating_sub(1)));
        job()
    }

    /// Whether this thread was given up, which happens only inside [`Pulse::during`].
    pub(super) fn given_up(&self) -> bool {
        self.lock().given_up
    }

    /// The thread has ended.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.closed.notify_all();
    }

    /// Waits for a call that takes too long and gives its thread up, or for the end of the thread (`None`).
    pub(super) fn overdue(&self, limits: Limits) -> Option<Overdue> {
        let pause = (limits.usual / LOOKS).max(Duration::from_millis(1));
        let (mut call, mut looks) = (0, 0);
        let mut state = self.lock();
        loop {
            let waited = self.closed.wait_timeout_while(state, pause, |state| !state.closed);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.closed {
                return None;
            }
            let Some((number, limit)) = state.call else { continue };
            // Looks are counted, not time: however long this process was stopped, that is one look.
            looks = if number == call { looks + 1 } else { 0 };
            call = number;
            if pause * looks >= limit {
                state.given_up = true;
                return Some(Overdue { in_hand: state.in_hand.clone(), limit });
            }
        }
    }
}

/// Changes the state when it goes, also when a call panics.
struct Done<'a>(&'a Pulse, fn(&mut State));

impl Drop for Done<'_> {
    fn drop(&mut self) {
        (self.1)(&mut self.0.lock());
    }
}

/// What calls have in common that run the same kernels: the kind of call and what decides the sizes of its tensors.
type Like = (&'static str, usize, usize);

/// After so many frames of a walk the sizes of its memory stay as they are.
const SETTLED: usize = 16;

/// Frames of a walk so far.
#[derive(Default)]
struct Seen {
    anchors: usize,
    followed: usize,
}

/// A segmenter whose calls are timed.
pub(super) struct Watched {
    /// There until it is dropped.
    inner: Option<Box<dyn Segmenter>>,
    pulse: Arc<Pulse>,
    /// `None` on the CPU.
    limits: Option<Limits>,
    answered: HashSet<Like>,
    walk: WalkId,
    /// By walk.
    seen: HashMap<WalkId, Seen>,
    /// Nobody uses the pulse after this segmenter, or catches what it panics with.
    alone: bool,
}

/// The segmenter that `build` makes, with its calls and its making timed, for work without a [`super::Worker`]. Where one is
/// not answered `hung` is told a sentence, on another thread; the call itself does not come back. A call in which the driver
/// panics is a failed one.
///
/// # Errors
/// What `build` says, or that the system gives no thread.
pub fn timed(
    limits: Limits,
    build: impl FnOnce() -> Result<Box<dyn Segmenter>, String>,
    hung: impl FnOnce(String) + Send + 'static,
) -> Result<Box<dyn Segmenter>, String> {
    let pulse = watched_over(limits, hung)?;
    match pulse.during(Some(limits.first), build) {
        Ok(segmenter) => {
            let mut watched = Watched::new(segmenter, pulse, limits);
            watched.alone = true;
            Ok(Box::new(watched))
        }
        Err(why) => {
            pulse.close();
            Err(why)
        }
    }
}

/// What `work` with a device gives, for work that is no segmenter's: a part of it may take as long as a call like none
/// before, and it tells after each part that it goes on. Where it does not, `hung` is told a sentence, on another thread.
///
/// # Errors
/// The work came back after it was given up, or the system gives no thread.
pub fn in_parts<T>(
    limits: Limits,
    work: impl FnOnce(&(dyn Fn() + Sync)) -> T,
    hung: impl FnOnce(String) + Send + 'static,
) -> Result<T, String> {
    let pulse = watched_over(limits, hung)?;
    let done = pulse.during(Some(limits.first), || work(&|| pulse.beat()));
    pulse.close();
    if pulse.given_up() { Err(what(Trouble::Hung).to_owned()) } else { Ok(done) }
}

/// A pulse that is watched on a thread of its own, until it is closed or a call takes too long.
fn watched_over(
    limits: Limits,
    hung: impl FnOnce(String) + Send + 'static,
) -> Result<Arc<Pulse>, String> {
    let pulse = Arc::<Pulse>::default();
    let watching = Arc::clone(&pulse);
    let watch = move || {
        if let Some(Overdue { limit, .. }) = watching.overdue(limits) {
            let (what, limit) = (what(Trouble::Hung), limit.as_secs_f32());
            hung(format!(
                "{what} for {limit} s; what was written so far stays, run it again with --device cpu"
            ));
        }
    };
    thread::Builder::new().name("sonomark-watch".into()).spawn(watch).map_err(|cause| {
        format!("cannot start a thread ({cause}); close other programs and try again")
    })?;
    Ok(pulse)
}

impl Watched {
    pub(super) fn new(inner: Box<dyn Segmenter>, pulse: Arc<Pulse>, limits: Limits) -> Self {
        let limits = Some(limits).filter(|_| !inner.info().device.starts_with("CPU"));
        let (inner, answered) = (Some(inner), HashSet::new());
        Self { inner, pulse, limits, answered, walk: 0, seen: HashMap::new(), alone: false }
    }

    fn call<T>(
        &mut self,
        like: Like,
        call: impl FnOnce(&mut dyn Segmenter) -> Result<T, SegmentError>,
    ) -> Result<T, SegmentError> {
        let known = self.answered.contains(&like);
        let limit = self.limits.map(|limits| if known { limits.usual } else { limits.first });
        let Some(inner) = &mut self.inner else {
            return Err(SegmentError::Network("it is gone".into()));
        };
        let answer = self.pulse.during(limit, || match self.alone {
            true => caught(|| call(&mut **inner))
                .unwrap_or_else(|why| Err(SegmentError::Network(in_short(&why)))),
            false => call(&mut **inner),
        })?;
        self.answered.insert(like);
        Ok(answer)
    }

    /// Calls that change no kernel: what they let go of may still wait for the device.
    fn tell(&mut self, call: impl FnOnce(&mut dyn Segmenter)) {
        let limit = self.limits.map(|limits| limits.usual);
        if let Some(inner) = &mut self.inner {
            self.pulse.during(limit, || match self.alone {
                // The call after it tells.
                true => drop(caught(|| call(&mut **inner))),
                false => call(&mut **inner),
            });
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let (limit, inner) = (self.limits.map(|limits| limits.usual), self.inner.take());
        // A device that is lost may panic at that; what comes next does not need it.
        let _ = self.pulse.during(limit, || caught(|| drop(inner)));
        if self.alone {
            self.pulse.close();
        }
    }
}

fn like(kind: &'static str, prompts: &FramePrompts) -> Like {
    let besides =
        2 * usize::from(prompts.mask.is_some()) + usize::from(prompts.bounding_box.is_some());
    (kind, prompts.points.len(), besides)
}

impl Segmenter for Watched {
    fn info(&self) -> SegmenterInfo {
        let none = || SegmenterInfo { model: String::new(), device: String::new(), bridged: false };
        self.inner.as_ref().map_or_else(none, |inner| inner.info())
    }

    fn open_clip(&mut self, frames: usize) {
        self.tell(|inner| inner.open_clip(frames));
    }

    fn refresh(
        &mut self,
        image: Image<'_>,
        prompts: &FramePrompts,
    ) -> Result<Decided, SegmentError> {
        self.call(like("refresh", prompts), |inner| inner.refresh(image, prompts))
    }

    fn turn_to(&mut self, walk: WalkId) {
        self.walk = walk;
        self.tell(|inner| inner.turn_to(walk));
    }

    fn end_walk(&mut self, walk: WalkId) {
        self.seen.remove(&walk);
        self.tell(|inner| inner.end_walk(walk));
    }

    fn begin_walk(&mut self, windowed: bool) {
        self.seen.insert(self.walk, Seen::default());
        self.tell(|inner| inner.begin_walk(windowed));
    }

    fn anchor(&mut self, image: Image<'_>, anchor: &Anchor) -> Result<Decided, SegmentError> {
        self.seen.entry(self.walk).or_default().anchors += 1;
        let like = match anchor {
            Anchor::Prompts(prompts) => like("anchor", prompts),
            Anchor::Mask(_) => ("given mask", 0, 0),
        };
        self.call(like, |inner| inner.anchor(image, anchor))
    }

    fn follow(
        &mut self,
        image: Image<'_>,
        direction: Direction,
        next: Option<Image<'_>>,
    ) -> Result<Decided, SegmentError> {
        let seen = self.seen.entry(self.walk).or_default();
        let like = ("follow", seen.anchors, seen.followed.min(SETTLED));
        seen.followed += 1;
        self.call(like, |inner| inner.follow(image, direction, next))
    }

    fn encode_ahead(&mut self, image: Image<'_>) -> Result<(), SegmentError> {
        self.call(("encode", 0, 0), |inner| inner.encode_ahead(image))
    }

    fn has_room(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.has_room())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// More than a call that answers at once takes on any busy machine.
    const SHORT: Limits =
        Limits { usual: Duration::from_millis(200), first: Duration::from_secs(3600) };

    #[test]
    fn only_a_timed_call_beyond_its_limit_is_given_up() {
        let pulse = Arc::<Pulse>::default();
        let watching = Arc::clone(&pulse);
        let watcher = thread::spawn(move || watching.overdue(SHORT).map(|found| found.limit));
        for limit in [None, Some(SHORT.first)] {
            pulse.during(limit, || thread::sleep(4 * SHORT.usual));
            assert!(!pulse.given_up(), "{limit:?} is more than it took");
        }
        // Many short calls are no long one.
        for _ in 0..80 {
            pulse.during(Some(SHORT.usual), || thread::sleep(SHORT.usual / 40));
        }
        assert!(!pulse.given_up());
        pulse.during(Some(SHORT.usual), || {
            while !pulse.given_up() {
                thread::sleep(Duration::from_millis(2));
            }
        });
        assert_eq!(watcher.join().expect("ends"), Some(SHORT.usual));
    }

    #[test]
    fn without_a_worker_the_sentence_is_told_on_another_thread() {
        let (told, heard) = channel();
        let limits = Limits { first: SHORT.usual, ..SHORT };
        // The call hangs until somebody was told.
        let call = move || Err(heard.recv_timeout(Duration::from_secs(60)).expect("is told"));
        let why = timed(limits, call, move |why| drop(told.send(why))).err().expect("hangs");
        assert!(why.contains("did not answer for 0.2 s") && why.contains("--device cpu"), "{why}");
    }

    #[test]
    fn work_in_parts_is_given_up_where_one_part_takes_too_long() {
        let limits = Limits { first: SHORT.usual, ..SHORT };
        let (told, heard) = channel();
        let slow = |beat: &(dyn Fn() + Sync)| {
            for _ in 0..80 {
                thread::sleep(SHORT.usual / 40);
                beat();
            }
            7
        };
        assert_eq!(in_parts(limits, slow, |why| panic!("{why}")), Ok(7));
        let hangs = move |_: &(dyn Fn() + Sync)| heard.recv_timeout(Duration::from_secs(60));
        let late = in_parts(limits, hangs, move |why| drop(told.send(why)));
        assert_eq!(
            late.map(|_| ()),
            Err("the device did not answer".into()),
            "nobody waits for it"
        );
    }

    #[test]
    fn a_thread_that_ends_is_not_watched_any_longer() {
        let pulse = Pulse::default();
        pulse.close();
        assert!(pulse.overdue(SHORT).is_none());
    }
}
