//! The CPU answers while a GPU gets ready.
//!
//! A GPU compiles and tries its kernels in every process anew: the shipped network took 38 s and more to get ready on
//! an H100, and needs 24 ms for a mask on two cores. Nobody shall wait for that: with `--device auto` the CPU's network is loaded at once, the GPU's on a
//! thread of its own, and the network thread changes over between two frames (`worker`). What decides whether this file is
//! right: the GPU's network has run everything that a session asks of it before it counts as ready, and one that fails
//! or hangs leaves the CPU at work with the reason in the status line.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::domain::{FramePrompts, GrayFrame, PointKind, PointPx};
use crate::net::device::{self, DeviceError, DeviceWant, Picked, caught};

use super::shelf::Movable;
use super::{Anchor, Direction, Image, Limits, NetSegmenter, Segmenter, in_parts};

/// Deep call chains of the tensor library need more than a thread usually has.
const STACK_BYTES: usize = 64 << 20;
/// Why the CPU is at work.
const UNTIL: &str = "until the GPU is ready";
/// Side of the made-up frame, px; networks see every frame at their own size.
const SIDE: usize = 256;
/// Points of the frames that are asked: kernels depend on their number only roughly.
const POINTS: [usize; 4] = [2, 4, 6, 9];
/// Frames of a walk: the first one that is followed has the shapes of all later ones.
const WALK: usize = 3;

/// Which network.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) card: Option<PathBuf>,
    pub(super) features_mib: usize,
}

impl Wanted {
    fn on(&self, picked: Picked) -> Result<NetSegmenter, String> {
        let mut net = NetSegmenter::load_on(self.card.as_deref(), picked)?;
        net.set_feature_budget(self.features_mib);
        Ok(net)
    }

    /// On a GPU that takes it, else on the CPU.
    fn anywhere(&self) -> Result<NetSegmenter, String> {
        let mut net = NetSegmenter::load(self.card.as_deref(), "auto")?;
        net.set_feature_budget(self.features_mib);
        Ok(net)
    }
}

/// How far the GPU of this process is.
#[derive(Default)]
enum Gpu {
    #[default]
    Untried,
    Warming,
    Ready(Movable),
    /// It is being looked for, there is none, or it is or was at work.
    Taken,
    Useless {
        why: String,
        /// Whether the network at work says so.
        told: bool,
    },
}

#[derive(Default)]
struct State {
    gpu: Gpu,
    /// Calls the thread that is to change over.
    wake: Option<Wake>,
}

/// Tells a network thread to look up from waiting.
pub(super) type Wake = Arc<dyn Fn() + Send + Sync>;

/// The GPU of a session and of those after it; clones are the same.
#[derive(Clone, Default)]
pub(super) struct Meanwhile(Arc<Mutex<State>>);

/// Threads that get a GPU ready.
static WARMING: AtomicUsize = AtomicUsize::new(0);

/// Whether a thread still gets a GPU ready. A program that ends now must not let the driver's own end come in between.
pub fn gpu_warming() -> bool {
    WARMING.load(Ordering::SeqCst) > 0
}

impl Meanwhile {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether [`Meanwhile::load`] has another answer than before: the GPU is ready, or turned out to be of no use.
    pub(super) fn news(&self) -> bool {
        matches!(self.lock().gpu, Gpu::Ready(_) | Gpu::Useless { told: false, .. })
    }

    /// From now on `wake` is called when there are news.
    pub(super) fn tells(&self, wake: Wake) {
        self.lock().wake = Some(wake);
    }

    /// The network that can answer at once: the GPU's where it is ready, else the CPU's, and the GPU begins to get ready.
    /// Where there is no GPU, or not enough memory for both, as `--device auto` always does.
    ///
    /// # Errors
    /// A sentence: what is wrong with the card, the weights or the memory.
    pub(super) fn load(&self, wanted: &Wanted) -> Result<Movable, String> {
        self.load_where(wanted, device::gpu_in_sight)
    }

    /// The same where `in_sight` tells whether there is a GPU to get ready. Drivers are looked at and weights are read with
    /// the lock free: where either hangs, who takes over asks for news and must not hang with it.
    fn load_where(
        &self,
        wanted: &Wanted,
        in_sight: impl FnOnce() -> bool,
    ) -> Result<Movable, String> {
        let mut state = self.lock();
        let held = std::mem::replace(&mut state.gpu, Gpu::Taken);
        let untried = matches!(held, Gpu::Untried);
        let picked = match held {
            Gpu::Ready(net) => return Ok(net),
            Gpu::Useless { why, .. } => {
                let picked = device::cpu(&why);
                state.gpu = Gpu::Useless { why, told: true };
                Some(picked)
            }
            Gpu::Warming => {
                state.gpu = Gpu::Warming;
                Some(device::cpu(UNTIL))
            }
            Gpu::Untried | Gpu::Taken => None,
        };
        drop(state);
        if untried
            && in_sight()
            && let Ok(net) = wanted.on(device::cpu(UNTIL))
        {
            self.lock().gpu = Gpu::Warming;
            self.warm(wanted.clone());
            return Ok(Box::new(net));
        }
        Ok(Box::new(match picked {
            Some(picked) => wanted.on(picked)?,
            None => wanted.anywhere()?,
        }))
    }

    /// Begins to get the GPU ready.
    fn warm(&self, wanted: Wanted) {
        self.warm_by(Limits::default(), move |goes_on| warmed(&wanted, goes_on));
    }

    /// The same by `work`, which tells after each part of it that it goes on. Where a part is not answered the GPU is given
    /// up; its thread is left to itself, and what it finds later is nobody's.
    fn warm_by(
        &self,
        limits: Limits,
        work: impl FnOnce(&dyn Fn()) -> Result<NetSegmenter, String> + Send + 'static,
    ) {
        let (here, hung) = (self.clone(), self.clone());
        let stopped = |_: String| -> Result<NetSegmenter, String> {
            Err("the GPU stopped while it got ready".into())
        };
        let work = move || {
            let guarded =
                |goes_on: &(dyn Fn() + Sync)| caught(|| work(goes_on)).unwrap_or_else(stopped);
            let told = move |_: String| hung.give_up("the GPU did not answer while it got ready");
            let found = in_parts(limits, guarded, told);
            WARMING.fetch_sub(1, Ordering::SeqCst);
            match found {
                Ok(found) => here.found(found),
                Err(why) => here.give_up(&why),
            }
        };
        WARMING.fetch_add(1, Ordering::SeqCst);
        let thread = thread::Builder::new().name("sonomark-warm".into()).stack_size(STACK_BYTES);
        if let Err(cause) = thread.spawn(work) {
            WARMING.fetch_sub(1, Ordering::SeqCst);
            self.found(Err(format!("no thread to get the GPU ready ({cause})")));
        }
    }

    /// Nobody waits any longer for the GPU.
    fn give_up(&self, why: &str) {
        let waits = matches!(self.lock().gpu, Gpu::Warming);
        if waits {
            self.found(Err(why.to_owned()));
        }
    }

    /// What became of getting it ready.
    pub(super) fn found(&self, found: Result<NetSegmenter, String>) {
        let mut state = self.lock();
        state.gpu = match found {
            Ok(net) => Gpu::Ready(Box::new(net)),
            Err(why) => Gpu::Useless { why, told: false },
        };
        let wake = state.wake.clone();
        drop(state);
        if let Some(wake) = wake {
            wake();
        }
    }
}

/// The network on the GPU, after it did all that a session asks of it; `goes_on` is told after each part.
fn warmed(wanted: &Wanted, goes_on: &dyn Fn()) -> Result<NetSegmenter, String> {
    let picked = device::pick(DeviceWant::Gpu(None)).map_err(|error| match error {
        DeviceError::NoGpu(why) => why,
        other => other.to_string(),
    })?;
    goes_on();
    let mut net = wanted.on(picked)?;
    goes_on();
    run_through(&mut net, goes_on).map_err(|error| error.to_string())?;
    Ok(net)
}

/// Everything once, on a made-up frame.
fn run_through(net: &mut dyn Segmenter, goes_on: &dyn Fn()) -> Result<(), super::SegmentError> {
    let pixels = (0..SIDE * SIDE).map(|i| (i * 37 % 251) as u8).collect();
    let pixels =
        GrayFrame { width_px: SIDE as u32, height_px: SIDE as u32, pixels, ..GrayFrame::default() };
    let image = |frame| Image { frame, pixels: &pixels };
    net.open_clip(WALK + 1);
    for points in POINTS {
        net.refresh(image(0), &on_a_circle(points))?;
        goes_on();
    }
    net.begin_walk(true);
    net.anchor(image(0), &Anchor::Prompts(on_a_circle(4)))?;
    for frame in 1..=WALK {
        goes_on();
        net.follow(image(frame), Direction::Forward, None)?;
    }
    net.open_clip(1);
    Ok(())
}

fn on_a_circle(points: usize) -> FramePrompts {
    let middle = SIDE as f32 / 2.0;
    let at = |i: usize| {
        let angle = i as f32 / points as f32 * std::f32::consts::TAU;
        PointPx::new(middle + 60.0 * angle.cos(), middle + 50.0 * angle.sin())
    };
    let points = (0..points).map(|i| (PointKind::Boundary, at(i))).collect();
    FramePrompts { points, ..FramePrompts::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted { card: None, features_mib: 64 }
    }

    fn at(gpu: Gpu) -> Meanwhile {
        Meanwhile(Arc::new(Mutex::new(State { gpu, wake: None })))
    }

    fn device_of(gpu: &Meanwhile) -> String {
        gpu.load(&wanted()).expect("the shipped network").info().device
    }

    #[test]
    fn a_gpu_that_is_of_no_use_leaves_the_cpu_with_the_reason() {
        let gpu = at(Gpu::Warming);
        let (told, heard) = std::sync::mpsc::channel();
        gpu.tells(Arc::new(move || told.send(()).unwrap_or_default()));
        assert!(device_of(&gpu).ends_with(": until the GPU is ready") && !gpu.news());
        gpu.found(Err("it failed".into()));
        assert!(heard.try_recv().is_ok() && gpu.news());
        for _ in 0..2 {
            assert!(device_of(&gpu).ends_with(": it failed") && !gpu.news());
        }
    }

    #[test]
    fn the_network_that_is_ready_is_taken_once() {
        let gpu = at(Gpu::Warming);
        gpu.found(wanted().on(device::cpu("stands for a GPU")));
        assert!(gpu.news());
        assert!(device_of(&gpu).ends_with("stands for a GPU"));
        assert!(!gpu.news() && matches!(gpu.lock().gpu, Gpu::Taken));
    }

    #[test]
    fn a_driver_that_hangs_while_it_is_looked_at_holds_up_nobody_else() {
        let gpu = Meanwhile::default();
        let (told, looking) = std::sync::mpsc::channel();
        let (release, hangs) = std::sync::mpsc::channel::<()>();
        let inner = gpu.clone();
        let load = thread::spawn(move || {
            let in_sight = || {
                told.send(()).expect("somebody waits");
                hangs.recv().expect("it is released");
                false
            };
            inner.load_where(&wanted(), in_sight).is_ok()
        });
        looking.recv().expect("it is looked for");
        let (answer, heard) = std::sync::mpsc::channel();
        let other = gpu.clone();
        let news = thread::spawn(move || answer.send(other.news()).unwrap_or_default());
        let heard = heard.recv_timeout(std::time::Duration::from_secs(10));
        release.send(()).expect("it hangs");
        assert!(load.join().expect("it goes on"), "without a GPU the CPU is taken");
        news.join().expect("it ends");
        assert_eq!(heard, Ok(false), "whether there are news is told meanwhile");
    }

    #[test]
    fn a_gpu_that_hangs_while_it_gets_ready_is_given_up_and_never_heard_again() {
        let gpu = at(Gpu::Warming);
        let (told, heard) = std::sync::mpsc::channel();
        gpu.tells(Arc::new(move || told.send(()).unwrap_or_default()));
        let most = std::time::Duration::from_secs(60);
        let short = std::time::Duration::from_millis(200);
        let (release, hangs) = std::sync::mpsc::channel::<()>();
        let before = WARMING.load(Ordering::SeqCst);
        gpu.warm_by(Limits { usual: short, first: short }, move |_| {
            hangs.recv_timeout(most).map_err(|error| error.to_string())?;
            wanted().on(device::cpu("stands for a GPU"))
        });
        assert_eq!(heard.recv_timeout(most), Ok(()), "somebody tells");
        assert!(gpu.news() && gpu_warming(), "its thread is still in the driver");
        let why = ": the GPU did not answer while it got ready";
        assert!(device_of(&gpu).ends_with(why) && !gpu.news());
        release.send(()).expect("it hangs");
        let ended = || WARMING.load(Ordering::SeqCst) <= before;
        (0..1000).take_while(|_| !ended()).for_each(|_| thread::sleep(short / 40));
        assert!(device_of(&gpu).ends_with(why) && !gpu.news(), "it comes too late");
    }

    #[test]
    fn getting_ready_runs_through_the_shipped_network() {
        let mut net = wanted().on(device::cpu("a test")).expect("the shipped network");
        run_through(&mut net, &|| ()).expect("every call answers");
    }
}
