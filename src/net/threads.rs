//! The threads that compute for a device.
//!
//! What decides whether this file is right: nothing that is computed depends on it. A stage of the network shares its work
//! out among threads dozens of times. From a thread of its own each time costs waking another and being woken, together as
//! long as a small share itself; among the threads of a pool it costs nothing. The pool is not the common one, in which
//! pictures for the screen would wait behind a whole frame of the network.

use std::sync::{Mutex, OnceLock};

use burn::tensor::{Device, Tensor};
use rayon::{BroadcastContext, ThreadPool, ThreadPoolBuilder};

use super::device::Host;

/// Input side up to which a frame is too little work for all cores, px; with larger ones each has them to itself.
pub const SMALL_PX: usize = 256;

/// Where a piece of work runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// On the thread that asks: runtimes of GPUs keep memory for every thread that speaks to them.
    Own,
    /// On the network's pool, one thread per core.
    Crew,
}

impl Threads {
    /// Those of a device.
    #[must_use]
    pub fn of(device: &Device) -> Self {
        match Host::of(&Tensor::<1>::zeros([1], device)) {
            Some(_) => Self::Crew,
            None => Self::Own,
        }
    }

    /// Runs `work` there and waits for it; a panic comes through. Where the machine gives no more threads, and on threads
    /// of a pool, it runs where it is.
    pub fn run<R: Send>(self, work: impl FnOnce() -> R + Send) -> R {
        let crew = match self {
            Self::Crew if rayon::current_thread_index().is_none() => crew(),
            _ => None,
        };
        let Some(crew) = crew else { return work() };
        // Always on the first of them: what is kept then comes from one thread's share of the heap. From whichever was
        // free it came from every share in turn, and none of them shrank again (108 MiB after 500 frames, 134 after 5,000).
        let work = Mutex::new(Some(work));
        let first = |context: BroadcastContext<'_>| {
            let taken = work.lock().ok().filter(|_| context.index() == 0)?.take();
            taken.map(|work| work())
        };
        crew.broadcast(first).into_iter().flatten().next().expect("the first thread did the work")
    }
}

fn crew() -> Option<&'static ThreadPool> {
    static CREW: OnceLock<Option<ThreadPool>> = OnceLock::new();
    // A thread that waits for its share takes up other work meanwhile, whole frames among it.
    const STACK: usize = 16 << 20;
    let build = || {
        let pool = ThreadPoolBuilder::new().thread_name(|i| format!("network {i}"));
        pool.stack_size(STACK).build().ok()
    };
    CREW.get_or_init(build).as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crew_has_threads_of_its_own_and_hands_panics_on() {
        let index = || rayon::current_thread_index();
        assert_eq!(Threads::Own.run(index), None);
        let name = || std::thread::current().name().map(str::to_owned);
        let of_crew = Threads::Crew.run(name).expect("a name");
        assert!(of_crew.starts_with("network "), "{of_crew}");
        // Within the crew nothing changes hands.
        let (outer, inner) = Threads::Crew.run(|| (index(), Threads::Crew.run(index)));
        assert_eq!((outer, inner), (Some(0), Some(0)), "always the first");
        let lost = std::panic::catch_unwind(|| Threads::Crew.run(|| panic!("lost")));
        assert!(lost.is_err());
        assert_eq!(Threads::Crew.run(|| 7), 7);
    }
}
