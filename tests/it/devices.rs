//! Devices that fail under the network thread: out of memory, lost, never answering. And what they write to disk.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sonomark::domain::{FramePrompts, GrayFrame, TrackId};
use sonomark::engine::{
    Anchor, Builder, Decided, Direction, Event, Frames, Image, Limits, SegmentError, Segmenter,
    SegmenterInfo, Start, timed,
};

use crate::engine::{
    Asked, FRAMES, Rig, Scripted, finished, forward, of, points, rig_on, rig_within, ticket,
    tracked,
};
use crate::surroundings::{data, files_below, program, software_gpu};

fn info_of(start: Start, inner: &Scripted) -> SegmenterInfo {
    let device = match start {
        Start::Asked => "GPU of the test: fine",
        Start::OnCpu => "CPU (2 cores)",
    };
    SegmenterInfo { device: device.into(), ..inner.info() }
}

/// A network on a GPU that fails with `words` on frame 5 of a walk and on refreshes of frame 9, until it is on the CPU.
struct OnDevice {
    start: Start,
    /// For the status line.
    device: String,
    words: &'static str,
    inner: Scripted,
}

impl Segmenter for OnDevice {
    fn info(&self) -> SegmenterInfo {
        SegmenterInfo { device: self.device.clone(), ..self.inner.info() }
    }
    fn open_clip(&mut self, frames: usize) {
        self.inner.open_clip(frames);
    }
    fn refresh(
        &mut self,
        image: Image<'_>,
        prompts: &FramePrompts,
    ) -> Result<Decided, SegmentError> {
        if image.frame == 9 && self.start == Start::Asked {
            return Err(SegmentError::Network(self.words.into()));
        }
        self.inner.refresh(image, prompts)
    }
    fn turn_to(&mut self, walk: usize) {
        self.inner.turn_to(walk);
    }
    fn end_walk(&mut self, walk: usize) {
        self.inner.end_walk(walk);
    }
    fn begin_walk(&mut self, windowed: bool) {
        self.inner.begin_walk(windowed);
    }
    fn anchor(&mut self, image: Image<'_>, anchor: &Anchor) -> Result<Decided, SegmentError> {
        self.inner.anchor(image, anchor)
    }
    fn follow(
        &mut self,
        image: Image<'_>,
        way: Direction,
        next: Option<Image<'_>>,
    ) -> Result<Decided, SegmentError> {
        if image.frame == 5 && self.start == Start::Asked {
            return Err(SegmentError::Network(self.words.into()));
        }
        self.inner.follow(image, way, next)
    }
    fn encode_ahead(&mut self, image: Image<'_>) -> Result<(), SegmentError> {
        self.inner.encode_ahead(image)
    }
}

/// What such a device says that panics besides where its network is let go.
const GONE: &str = "VK_ERROR_DEVICE_LOST";

impl Drop for OnDevice {
    fn drop(&mut self) {
        assert!(self.start == Start::OnCpu || self.words != GONE, "no queue to wait for");
    }
}

fn on_device(words: &'static str) -> (Rig, Arc<Mutex<Vec<Start>>>) {
    let (build, asked, starts) = builder(words);
    (rig_within(Limits::default(), build, asked), starts)
}

/// What makes such networks, what they are asked, and how they were started.
fn builder(words: &'static str) -> (Arc<dyn Builder>, Asked, Arc<Mutex<Vec<Start>>>) {
    builder_holding(words, None)
}

/// The same; the first call about a frame waits until the other end goes.
fn builder_holding(
    words: &'static str,
    held: Option<(usize, Receiver<()>)>,
) -> (Arc<dyn Builder>, Asked, Arc<Mutex<Vec<Start>>>) {
    let (starts, asked) = (Arc::<Mutex<Vec<Start>>>::default(), Asked::default());
    let (noted, inner, held) = (Arc::clone(&starts), Arc::clone(&asked), Mutex::new(held));
    let build = move |start: Start| -> Result<Box<dyn Segmenter>, String> {
        noted.lock().unwrap().push(start);
        let held = held.lock().unwrap().take();
        let inner = Scripted { asked: Arc::clone(&inner), pace: Duration::ZERO, bad: None, held };
        let device = info_of(start, &inner).device;
        Ok(Box::new(OnDevice { start, device, words, inner }))
    };
    (Arc::new(build), asked, starts)
}

fn failed(events: &[Event]) -> String {
    match events.last() {
        Some(Event::JobFailed { why, .. }) => why.clone(),
        other => panic!("{other:?}"),
    }
}

/// Where the network is, after the next time it is ready.
fn ready(rig: &Rig) -> String {
    match rig.until(|event| matches!(event, Event::Ready(_))).pop() {
        Some(Event::Ready(info)) => info.device,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_full_device_is_tried_once_more_and_then_the_cpu_goes_on() {
    let (rig, starts) = on_device("out of device memory allocating 9 bytes\n0: backtrace");
    assert_eq!(ready(&rig), "GPU of the test: fine");
    for (generation, next, device) in [
        (1, "starts again", "GPU of the test: the device's memory is full"),
        (2, "moves to the CPU", "CPU (2 cores): the device's memory is full"),
    ] {
        rig.worker.propagate(ticket(1, generation), forward(8));
        let events = rig.until(|event| matches!(event, Event::JobFailed { .. }));
        let decided = events.iter().filter(|e| matches!(e, Event::Tracked { .. })).count();
        assert_eq!(decided, 4, "what was decided before stays");
        let why = failed(&events);
        assert!(why.contains("memory is full") && why.contains(next), "{why}");
        assert!(!why.contains("backtrace"), "{why}");
        assert_eq!(ready(&rig), device);
    }
    rig.worker.propagate(ticket(1, 3), forward(8));
    rig.until(finished);
    assert_eq!(*starts.lock().unwrap(), [Start::Asked, Start::Asked, Start::OnCpu]);
}

#[test]
fn a_lost_device_is_not_tried_again() {
    let (rig, starts) = on_device("Validation Error: Parent device is lost");
    rig.worker.propagate(ticket(1, 1), forward(8));
    let why = failed(&rig.until(|event| matches!(event, Event::JobFailed { .. })));
    assert!(why.contains("the device was lost") && why.contains("moves to the CPU"), "{why}");
    assert_eq!(ready(&rig), "CPU (2 cores): the device was lost");
    rig.worker.propagate(ticket(1, 2), forward(8));
    rig.until(finished);
    assert_eq!(*starts.lock().unwrap(), [Start::Asked, Start::OnCpu]);
}

#[test]
fn a_lost_device_that_panics_when_it_is_let_go_leaves_the_clip_to_the_cpu() {
    let (rig, _) = on_device(GONE);
    rig.worker.propagate(ticket(1, 1), forward(8));
    let why = failed(&rig.until(|event| matches!(event, Event::JobFailed { .. })));
    assert!(why.contains("the device was lost") && why.contains("moves to the CPU"), "{why}");
    assert_eq!(ready(&rig), "CPU (2 cores): the device was lost");
}

#[test]
fn those_that_walk_are_told_why_where_a_refresh_loses_the_device() {
    let (open, gate) = channel();
    let (build, asked, _) =
        builder_holding("Validation Error: Parent device is lost", Some((2, gate)));
    let rig = rig_within(Limits::default(), build, asked);
    rig.worker.propagate(ticket(1, 1), forward(4));
    rig.until(|event| matches!(event, Event::Tracked { frame: 1, .. }));
    rig.worker.refresh(ticket(2, 1), 9, points(3));
    drop(open);
    let events = rig.until(|event| matches!(event, Event::Ready(_)));
    for track in [1, 2] {
        let why = failed(&of(&events, track));
        assert!(why.contains("the device was lost") && why.contains("moves to the CPU"), "{why}");
    }
    rig.worker.propagate(ticket(1, 2), forward(4));
    assert!(matches!(rig.until(finished).last(), Some(Event::Finished { cancelled: false, .. })));
}

#[test]
fn without_a_screen_a_driver_that_panics_is_a_failure_with_its_words() {
    let (asked, bad) = (Asked::default(), Some(5));
    let inner = Scripted { asked, pace: Duration::ZERO, bad, held: None };
    let build = || -> Result<Box<dyn Segmenter>, String> { Ok(Box::new(inner)) };
    let mut network = timed(Limits::default(), build, |why| panic!("{why}")).unwrap();
    let pixels = GrayFrame::new(8, 4, vec![0; 32]).unwrap();
    let mut refresh = |frame| network.refresh(Image { frame, pixels: &pixels }, &points(3));
    assert!(refresh(4).is_ok());
    let why = refresh(5).unwrap_err().to_string();
    assert!(why.contains("the network failed: frame 5 is unbearable"), "{why}");
    assert!(why.contains("--device cpu"), "{why}");
    assert!(refresh(6).is_ok(), "the thread goes on");
}

#[test]
fn a_frame_that_cannot_be_decoded_is_no_fault_of_the_device() {
    let (build, asked, starts) = builder("");
    let cause = "device lost.png is damaged (Memory limit exceeded)";
    let frames = Frames::new(FRAMES, move |_| Err(cause.into()));
    let rig = rig_on(frames, Limits::default(), build, asked);
    assert_eq!(ready(&rig), "GPU of the test: fine");
    rig.worker.refresh(ticket(1, 1), 3, points(3));
    let why = failed(&rig.until(|event| matches!(event, Event::JobFailed { .. })));
    assert_eq!(why, cause);
    rig.worker.propagate(ticket(1, 2), forward(4));
    let why = failed(&rig.until(finished));
    assert!(why.contains(cause) && why.contains("put boundary points on another frame"), "{why}");
    assert_eq!(*starts.lock().unwrap(), [Start::Asked], "the same network goes on");
}

/// A CPU that answers until a GPU is ready.
#[derive(Default)]
struct Warming {
    asked: Asked,
    ready: AtomicBool,
    starts: Mutex<Vec<&'static str>>,
    discarded: AtomicBool,
    wake: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

impl Builder for Warming {
    fn build(&self, _: Start) -> Result<Box<dyn Segmenter>, String> {
        let gpu = self.ready.load(Ordering::SeqCst);
        let name = if gpu { "GPU of the test" } else { "CPU (2 cores): until the GPU is ready" };
        self.starts.lock().unwrap().push(name);
        let pace = if gpu { Duration::ZERO } else { Duration::from_millis(20) };
        let inner = Scripted { asked: Arc::clone(&self.asked), pace, bad: None, held: None };
        Ok(Box::new(OnDevice { start: Start::OnCpu, device: name.into(), words: "", inner }))
    }
    fn discard(&self) {
        self.discarded.store(true, Ordering::SeqCst);
    }
    fn news(&self) -> bool {
        self.ready.load(Ordering::SeqCst) && self.starts.lock().unwrap().len() < 2
    }
    fn tells(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        *self.wake.lock().unwrap() = Some(wake);
    }
}

/// A rig on whose CPU a walk can begin.
fn warming() -> (Rig, Arc<Warming>) {
    let build = Arc::<Warming>::default();
    let rig = rig_within(
        Limits::default(),
        Arc::clone(&build) as Arc<dyn Builder>,
        Arc::clone(&build.asked),
    );
    assert_eq!(ready(&rig), "CPU (2 cores): until the GPU is ready");
    assert!(!build.discarded.load(Ordering::SeqCst));
    (rig, build)
}

#[test]
fn a_walk_begins_anew_on_the_device_that_became_ready() {
    let (rig, build) = warming();
    rig.worker.propagate(ticket(1, 1), forward(8));
    rig.until(|event| matches!(event, Event::Tracked { frame: 2, .. }));
    build.ready.store(true, Ordering::SeqCst);
    assert_eq!(ready(&rig), "GPU of the test");
    let events = rig.until(finished);
    assert_eq!(tracked(&events), (1..=8).collect::<Vec<_>>(), "all of it, none left out");
    assert!(matches!(events.last(), Some(Event::Finished { cancelled: false, .. })));
}

#[test]
fn all_that_walk_together_begin_anew_on_the_device_that_became_ready() {
    let (rig, build) = warming();
    rig.worker.propagate(ticket(1, 1), forward(12));
    rig.worker.propagate(ticket(2, 1), forward(11));
    rig.until(|event| matches!(event, Event::Tracked { ticket, .. } if ticket.track == TrackId(2)));
    build.ready.store(true, Ordering::SeqCst);
    assert_eq!(ready(&rig), "GPU of the test");
    let events = [rig.until(finished), rig.until(finished)].concat();
    for (track, last) in [(1, 12), (2, 11)] {
        let own = of(&events, track);
        assert_eq!(tracked(&own), (1..=last).collect::<Vec<_>>(), "all of it, none left out");
        assert!(matches!(own.last(), Some(Event::Finished { cancelled: false, .. })), "{own:?}");
    }
}

#[test]
fn a_device_that_became_ready_is_taken_while_nothing_is_asked() {
    let (rig, build) = warming();
    build.ready.store(true, Ordering::SeqCst);
    build.wake.lock().unwrap().as_ref().expect("who is to be told")();
    assert_eq!(ready(&rig), "GPU of the test");
    assert!(build.discarded.load(Ordering::SeqCst), "nobody gets the CPU's any more");
}

/// A network whose GPU hangs on frame 5 of a walk and on refreshes of frame 9, until `release`d.
struct Hanging {
    start: Start,
    release: Arc<AtomicBool>,
    inner: Scripted,
}

impl Hanging {
    fn hang(&self, bad: bool) {
        while bad && self.start == Start::Asked && !self.release.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Segmenter for Hanging {
    fn info(&self) -> SegmenterInfo {
        info_of(self.start, &self.inner)
    }
    fn open_clip(&mut self, frames: usize) {
        self.inner.open_clip(frames);
    }
    fn refresh(&mut self, image: Image<'_>, p: &FramePrompts) -> Result<Decided, SegmentError> {
        self.hang(image.frame == 9);
        self.inner.refresh(image, p)
    }
    fn turn_to(&mut self, walk: usize) {
        self.inner.turn_to(walk);
    }
    fn end_walk(&mut self, walk: usize) {
        self.inner.end_walk(walk);
    }
    fn begin_walk(&mut self, windowed: bool) {
        self.inner.begin_walk(windowed);
    }
    fn anchor(&mut self, image: Image<'_>, anchor: &Anchor) -> Result<Decided, SegmentError> {
        self.inner.anchor(image, anchor)
    }
    fn follow(
        &mut self,
        image: Image<'_>,
        way: Direction,
        next: Option<Image<'_>>,
    ) -> Result<Decided, SegmentError> {
        self.hang(image.frame == 5);
        self.inner.follow(image, way, next)
    }
    fn encode_ahead(&mut self, image: Image<'_>) -> Result<(), SegmentError> {
        self.inner.encode_ahead(image)
    }
}

/// A worker on such a network, the flag that lets it go on, and how networks were started.
fn hanging(limits: Limits, pace: Duration) -> (Rig, Arc<AtomicBool>, Arc<Mutex<Vec<Start>>>) {
    let (starts, asked) = (Arc::<Mutex<Vec<Start>>>::default(), Asked::default());
    let release = Arc::<AtomicBool>::default();
    let (noted, inner, flag) = (Arc::clone(&starts), Arc::clone(&asked), Arc::clone(&release));
    let build = move |start: Start| -> Result<Box<dyn Segmenter>, String> {
        noted.lock().unwrap().push(start);
        let inner = Scripted { asked: Arc::clone(&inner), pace, bad: None, held: None };
        Ok(Box::new(Hanging { start, release: Arc::clone(&flag), inner }))
    };
    let rig = rig_within(limits, Arc::new(build), asked);
    assert_eq!(ready(&rig), "GPU of the test: fine");
    (rig, release, starts)
}

/// More than a call that answers at once takes on any busy machine.
const SHORT: Duration = Duration::from_millis(500);

#[test]
fn a_device_that_hangs_ends_the_job_with_a_sentence_and_is_never_heard_again() {
    let (rig, release, starts) = hanging(Limits { usual: SHORT, first: SHORT }, Duration::ZERO);
    rig.worker.propagate(ticket(1, 1), forward(8));
    let events = rig.until(finished);
    assert_eq!(tracked(&events), [1, 2, 3, 4], "what was decided before stays");
    let why = failed(&events);
    assert!(
        why.contains("did not answer (for 0.5 s)") && why.contains("moves to the CPU"),
        "{why}"
    );
    assert_eq!(ready(&rig), "CPU (2 cores): the device did not answer");
    // The driver comes back while the next thread is at work: nobody must hear it.
    rig.worker.propagate(ticket(1, 2), forward(8));
    release.store(true, Ordering::Relaxed);
    let events = rig.until(finished);
    assert_eq!(tracked(&events), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(matches!(events.last(), Some(Event::Finished { cancelled: false, .. })));
    std::thread::sleep(SHORT);
    let late: Vec<Event> = rig.events.try_iter().collect();
    assert!(late.is_empty(), "{late:?}");
    assert_eq!(*starts.lock().unwrap(), [Start::Asked, Start::OnCpu]);
}

#[test]
fn all_that_walk_together_are_told_that_the_device_hangs() {
    let (rig, release, _) = hanging(Limits { usual: SHORT, first: SHORT }, SHORT / 5);
    rig.worker.propagate(ticket(1, 1), forward(8));
    rig.worker.propagate(ticket(2, 1), forward(8));
    let events = [rig.until(finished), rig.until(finished)].concat();
    for track in [1, 2] {
        let why = failed(&of(&events, track));
        assert!(why.contains("did not answer") && why.contains("moves to the CPU"), "{why}");
    }
    release.store(true, Ordering::Relaxed);
}

#[test]
fn a_refresh_that_hangs_inside_a_propagation_ends_both() {
    let (rig, _release, _) = hanging(Limits { usual: SHORT, first: SHORT }, SHORT / 10);
    rig.worker.propagate(ticket(1, 1), forward(4));
    rig.worker.refresh(ticket(2, 7), 9, points(3));
    let events = rig.until(|event| matches!(event, Event::Ready(_)));
    let of = |wanted: u64| {
        let ended = |event: &&Event| match event {
            Event::JobFailed { ticket, .. } | Event::Finished { ticket, .. } => {
                ticket.track == TrackId(wanted)
            }
            _ => false,
        };
        events.iter().filter(ended).collect::<Vec<_>>()
    };
    assert!(matches!(of(2)[..], [Event::JobFailed { .. }]), "{events:?}");
    assert!(of(1).len() <= 1, "told once: {events:?}");
    rig.worker.refresh(ticket(2, 8), 9, points(3));
    assert!(
        rig.until(|e| matches!(e, Event::Refreshed { .. }))
            .iter()
            .all(|e| !matches!(e, Event::JobFailed { .. }))
    );
}

#[test]
fn kernels_may_be_compiled_for_longer_than_a_frame_may_take() {
    let (rig, release, starts) =
        hanging(Limits { usual: SHORT, first: Duration::from_secs(60) }, Duration::ZERO);
    rig.worker.propagate(ticket(1, 1), forward(8));
    rig.until(|event| matches!(event, Event::Progress { done: 4, .. }));
    // Frame 5 is the first of its kind.
    std::thread::sleep(2 * SHORT);
    release.store(true, Ordering::Relaxed);
    let events = rig.until(finished);
    assert!(matches!(events.last(), Some(Event::Finished { cancelled: false, .. })), "{events:?}");
    release.store(false, Ordering::Relaxed);
    rig.worker.propagate(ticket(1, 2), forward(8));
    assert!(failed(&rig.until(finished)).contains("did not answer"));
    assert_eq!(ready(&rig), "CPU (2 cores): the device did not answer");
    release.store(true, Ordering::Relaxed);
    assert_eq!(*starts.lock().unwrap(), [Start::Asked, Start::OnCpu]);
}

#[test]
fn what_a_gpu_compiles_lies_in_our_cache_and_a_strangers_project_is_left_alone() {
    let Some(software) = software_gpu() else { return };
    let home = tempfile::tempdir().unwrap();
    let theirs = home.path().join("theirs");
    std::fs::create_dir_all(&theirs).unwrap();
    std::fs::write(theirs.join("Cargo.toml"), "[package]\nname = \"theirs\"\n").unwrap();
    let log = "[autotune.logger]\nlevel = \"full\"\nfile = \"theirs.log\"\n";
    std::fs::write(theirs.join("cubecl.toml"), log).unwrap();
    let output = program(home.path())
        .env("SONOMARK_DEVICE", format!("gpu:{}", software.index))
        .current_dir(&theirs)
        .arg("doctor")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains(&format!("GPU {}", software.name)), "{told}");
    let (ours, elsewhere): (Vec<PathBuf>, Vec<PathBuf>) = files_below(home.path())
        .into_iter()
        .partition(|p| p.starts_with(home.path().join(".cache/sonomark")));
    assert!(!ours.is_empty(), "the driver keeps its kernels");
    let cache = std::fs::metadata(home.path().join(".cache/sonomark")).unwrap();
    assert_eq!(cache.permissions().mode() & 0o777, 0o700);
    assert_eq!(elsewhere.len(), 2, "{elsewhere:?}");
}

/// Kernels that a run compiled and launches it made, as the runtime's own log tells them.
fn kernels_and_launches(log: &str) -> (usize, usize) {
    let launch = |line: &&str| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let took = cells.next().is_some_and(|cell| {
            cell.ends_with('s') && cell.starts_with(|first: char| first.is_ascii_digit())
        });
        took && cells.next().is_some_and(|name| name.contains("Kernel") || name.contains("Unary"))
    };
    (log.matches("[START_KERNEL_COMPILATION]").count(), log.lines().filter(launch).count())
}

#[test]
fn a_gpu_compiles_nothing_in_mid_clip_and_launches_the_same_for_every_frame() {
    let Some(software) = software_gpu() else { return };
    let home = tempfile::tempdir().unwrap();
    let clip = data("clips/ultrabones");
    let counted = [9, 12, 15].map(|last| {
        let at = |what: &str| home.path().join(format!("{what}-{last}"));
        let prompts = format!(
            "tracks:\n  - label: bone\n    windows: [[0, {last}]]\n    prompts:\n      - frame: 0\n        \
             boundary: [[150.5, 180.0], [240.0, 150.5], [300.0, 200.0]]\n"
        );
        std::fs::write(at("prompts"), prompts).unwrap();
        let output = program(home.path())
            .args(["--device", &format!("gpu:{}", software.index), "propagate"])
            .arg(&clip)
            .arg("--prompts")
            .arg(at("prompts"))
            .arg("--out")
            .arg(at("out"))
            .arg("--project")
            .arg(at("project"))
            .env("XDG_CACHE_HOME", home.path().join("cache"))
            .env("CUBECL_DEBUG_LOG", at("log"))
            .env("CUBECL_DEBUG_OPTION", "profile")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        kernels_and_launches(&std::fs::read_to_string(at("log")).unwrap())
    });
    let [(kernels, nine), (later, twelve), (latest, fifteen)] = counted;
    println!("{kernels} kernels, {} launches a frame", (fifteen - twelve) / 3);
    assert!(nine > 1000, "{counted:?}");
    assert_eq!([kernels; 2], [later, latest], "a kernel was made in mid-clip");
    assert_eq!(twelve - nine, fifteen - twelve, "{counted:?}");
}
