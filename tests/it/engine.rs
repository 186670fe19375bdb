//! The network thread with a scripted segmenter: who is served first, what a cancel and a panic
//! leave behind.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sonomark::domain::{
    Bitmap, FrameIndex, FramePrompts, GrayFrame, PlacedPrompt, PointKind, PointPx, Prompt,
    PromptId, Track, TrackId, Window,
};
use sonomark::engine::{
    Anchor, Builder, Decided, Direction, Event, Frames, Image, Limits, SegmentError, Segmenter,
    SegmenterInfo, Span, Start, TOGETHER_MAX, Ticket, Worker, plan,
};

use crate::surroundings::{PATIENCE, child_test, until};

pub(crate) const FRAMES: usize = 30;
/// Frames whose features the double keeps.
const ROOM: usize = 12;

/// What the double was asked, in order.
pub(crate) type Asked = Arc<Mutex<Vec<String>>>;

/// A segmenter that notes every call, takes `pace` for each and panics on `bad`.
pub(crate) struct Scripted {
    pub(crate) asked: Asked,
    pub(crate) pace: Duration,
    pub(crate) bad: Option<FrameIndex>,
    /// A frame, and what its first call waits for: that the other end goes.
    pub(crate) held: Option<(FrameIndex, Receiver<()>)>,
}

impl Scripted {
    fn answer(&self, what: &str, frame: FrameIndex) -> Decided {
        self.asked.lock().unwrap().push(format!("{what} {frame}"));
        if let Some((_, gate)) = self.held.as_ref().filter(|(held, _)| *held == frame) {
            let _ = gate.recv();
        }
        std::thread::sleep(self.pace);
        assert!(self.bad != Some(frame), "frame {frame} is unbearable");
        let bitmap = Bitmap::from_fn(8, 4, |x, _| x as usize == frame % 8);
        Decided { bitmap, score: 0.5, object_score_logit: 1.0, encode_ms: 0.0, decode_ms: 0.0 }
    }
}

impl Segmenter for Scripted {
    fn info(&self) -> SegmenterInfo {
        SegmenterInfo { model: "scripted".into(), device: "none".into(), bridged: false }
    }
    fn open_clip(&mut self, frames: usize) {
        assert_eq!(frames, FRAMES);
    }
    fn refresh(
        &mut self,
        image: Image<'_>,
        prompts: &FramePrompts,
    ) -> Result<Decided, SegmentError> {
        if prompts.is_empty() {
            return Err(SegmentError::NothingToFollow(image.frame));
        }
        let mut decided = self.answer("refresh", image.frame);
        decided.score = prompts.points.len() as f32 / 10.0;
        Ok(decided)
    }
    fn turn_to(&mut self, _: usize) {}
    fn end_walk(&mut self, walk: usize) {
        // Where a test makes it fail.
        if self.bad.is_some() {
            self.asked.lock().unwrap().push(format!("end {walk}"));
        }
    }
    fn begin_walk(&mut self, windowed: bool) {
        assert!(windowed, "every track of these tests has a window");
        self.asked.lock().unwrap().push("begin".into());
    }
    fn anchor(&mut self, image: Image<'_>, _: &Anchor) -> Result<Decided, SegmentError> {
        Ok(self.answer("anchor", image.frame))
    }
    fn follow(
        &mut self,
        image: Image<'_>,
        _: Direction,
        _: Option<Image<'_>>,
    ) -> Result<Decided, SegmentError> {
        Ok(self.answer("follow", image.frame))
    }
    fn encode_ahead(&mut self, image: Image<'_>) -> Result<(), SegmentError> {
        self.answer("encode", image.frame);
        Ok(())
    }
    fn has_room(&self) -> bool {
        let encoded = |call: &&String| call.starts_with("encode");
        self.asked.lock().unwrap().iter().filter(encoded).count() < ROOM
    }
}

pub(crate) struct Rig {
    pub(crate) worker: Worker,
    pub(crate) events: Receiver<Event>,
    asked: Asked,
}

fn rig(pace_ms: u64, bad: Option<FrameIndex>) -> Rig {
    let (asked, pace) = (Asked::default(), Duration::from_millis(pace_ms));
    rig_with(Scripted { asked, pace, bad, held: None })
}

/// A rig in which the first call about a frame waits until the sender is dropped: what a test does meanwhile is done
/// while the network is at work, however slow the machine is.
fn rig_holding(frame: FrameIndex, bad: Option<FrameIndex>) -> (Rig, Sender<()>) {
    let (open, gate) = channel();
    let (asked, pace, held) = (Asked::default(), Duration::ZERO, Some((frame, gate)));
    (rig_with(Scripted { asked, pace, bad, held }), open)
}

fn rig_with(scripted: Scripted) -> Rig {
    let asked = Arc::clone(&scripted.asked);
    let scripted = Mutex::new(Some(scripted));
    let build = move |_: Start| -> Result<Box<dyn Segmenter>, String> {
        Ok(Box::new(scripted.lock().unwrap().take().expect("built once")))
    };
    rig_of(Arc::new(build), asked)
}

fn rig_of(build: Arc<dyn Builder>, asked: Asked) -> Rig {
    rig_within(Limits::default(), build, asked)
}

pub(crate) fn rig_within(limits: Limits, build: Arc<dyn Builder>, asked: Asked) -> Rig {
    let frames = Frames::new(FRAMES, |frame| {
        if frame == 13 {
            return Err("the file ends in the middle of the frame".into());
        }
        Ok(Arc::new(GrayFrame::new(8, 4, vec![frame as u8; 32]).unwrap()))
    });
    rig_on(frames, limits, build, asked)
}

pub(crate) fn rig_on(frames: Frames, limits: Limits, build: Arc<dyn Builder>, asked: Asked) -> Rig {
    let (sender, events): (Sender<Event>, _) = channel();
    let outbox = Box::new(move |event| drop(sender.send(event)));
    let worker = Worker::spawn(build, Arc::new(frames), outbox, limits).unwrap();
    Rig { worker, events, asked }
}

impl Rig {
    fn next(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("an event")
    }

    /// Events up to and with the first that `wanted` accepts.
    pub(crate) fn until(&self, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut seen = Vec::new();
        while !seen.last().is_some_and(&wanted) {
            seen.push(self.next());
        }
        seen
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits for a call.
    fn until_asked(&self, call: &str) {
        until(call, || self.asked().iter().any(|asked| asked == call));
    }
}

pub(crate) fn ticket(track: u64, generation: u64) -> Ticket {
    Ticket { track: TrackId(track), generation }
}

pub(crate) fn points(n: usize) -> FramePrompts {
    let points = (0..n).map(|i| (PointKind::Boundary, PointPx::new(i as f32, 1.0))).collect();
    FramePrompts { points, ..FramePrompts::default() }
}

pub(crate) fn track(first: usize, last: usize, prompted: usize) -> Track {
    let mut track = Track::new("nerve", 0);
    track.windows = vec![Window { first, last }];
    let prompt = Prompt::Point { kind: PointKind::Boundary, at: PointPx::new(1.0, 1.0) };
    track.prompts.insert(prompted, vec![PlacedPrompt { id: PromptId(1), prompt }]);
    track
}

pub(crate) fn forward(last: usize) -> sonomark::engine::Plan {
    plan(&track(0, last, 0), FRAMES, 0, Span::Both).unwrap()
}

pub(crate) fn finished(event: &Event) -> bool {
    matches!(event, Event::Finished { .. } | Event::JobFailed { .. })
}

pub(crate) fn tracked(events: &[Event]) -> Vec<FrameIndex> {
    let frame = |event: &Event| match event {
        Event::Tracked { frame, .. } => Some(*frame),
        _ => None,
    };
    events.iter().filter_map(frame).collect()
}

#[test]
fn a_propagation_tells_every_frame_once_and_its_end() {
    let rig = rig(0, None);
    assert!(matches!(rig.next(), Event::Ready(info) if info.model == "scripted"));
    rig.worker.propagate(ticket(1, 4), forward(5));
    let events = rig.until(finished);
    assert_eq!(tracked(&events), [1, 2, 3, 4, 5]);
    let last = &events[events.len() - 2..];
    assert!(matches!(last[0], Event::Progress { done: 5, total: 5, .. }));
    assert!(
        matches!(last[1], Event::Finished { ticket: t, cancelled: false } if t == ticket(1, 4))
    );
    assert_eq!(rig.asked()[..3], ["begin", "anchor 0", "follow 1"]);
}

#[test]
fn the_newest_refresh_of_a_frame_wins_and_another_frame_is_not_lost() {
    let (rig, open) = rig_holding(9, None);
    rig.next();
    rig.worker.encode_ahead(9, None);
    rig.until_asked("encode 9");
    // The thread is busy: these wait.
    rig.worker.refresh(ticket(1, 1), 7, points(5));
    for generation in 2..6 {
        rig.worker.refresh(ticket(1, generation), 3, points(generation as usize));
    }
    drop(open);
    let (mut generations, mut frames) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        if let Event::Refreshed { ticket, frame, .. } = rig.next() {
            generations.push(ticket.generation);
            frames.push(frame);
        }
    }
    assert_eq!((frames, generations), (vec![3, 7], vec![5, 1]));
    // Only then do the frames around the cursor have their turn.
    assert_eq!(rig.asked()[..3], ["encode 9", "refresh 3", "refresh 7"]);
}

#[test]
fn the_frames_between_two_anchors_are_encoded_while_there_is_room() {
    let rig = rig(0, None);
    rig.next();
    let encoded = |count: usize| {
        until("so many calls", || rig.asked().len() >= count);
        rig.asked()
    };
    let frames =
        |frames: &[usize]| frames.iter().map(|f| format!("encode {f}")).collect::<Vec<_>>();
    // Frame 13 cannot be decoded.
    let near = [15, 16, 14, 17, 18, 12, 19, 11];
    rig.worker.encode_ahead(15, Some((10, 20)));
    assert_eq!(
        encoded(10),
        frames(&[&near[..], &[20, 10]].concat()),
        "no farther than the anchors"
    );
    // The neighbours are encoded whatever has to go for them; then there is no room for more.
    rig.worker.encode_ahead(15, Some((0, 29)));
    encoded(18);
    rig.worker.refresh(ticket(1, 1), 3, points(4));
    assert!(matches!(rig.next(), Event::Refreshed { .. }));
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(rig.asked()[10..], [frames(&near), vec!["refresh 3".to_owned()]].concat());
}

#[test]
fn a_propagation_yields_to_a_refresh_between_two_frames() {
    let (rig, open) = rig_holding(3, None);
    rig.next();
    rig.worker.propagate(ticket(1, 1), forward(9));
    rig.until_asked("follow 3");
    rig.worker.refresh(ticket(2, 1), 20, points(4));
    drop(open);
    let events = rig.until(finished);
    let at = events.iter().position(|e| matches!(e, Event::Refreshed { .. })).unwrap();
    assert_eq!(tracked(&events[..at]), [1, 2, 3], "behind the frame in hand: {events:?}");
    assert_eq!(tracked(&events), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let asked = rig.asked();
    let begun = asked.iter().filter(|call| *call == "begin").count();
    assert_eq!(begun, 1, "the walk goes on, it does not start again");
}

#[test]
fn a_cancel_ends_within_a_frame_and_keeps_what_is_done() {
    let (rig, open) = rig_holding(4, None);
    rig.next();
    rig.worker.propagate(ticket(1, 1), forward(29));
    rig.worker.propagate(ticket(2, 1), forward(3));
    rig.until_asked("follow 4");
    rig.worker.cancel(Some(TrackId(1)));
    drop(open);
    let events = [rig.until(finished), rig.until(finished)].concat();
    let (first, other) = (of(&events, 1), of(&events, 2));
    assert_eq!(tracked(&first), [1, 2, 3, 4], "up to the frame in hand");
    assert!(matches!(first.last(), Some(Event::Finished { cancelled: true, .. })));
    // The other track's propagation is untouched.
    assert_eq!(tracked(&other), [1, 2, 3]);
    assert!(matches!(other.last(), Some(Event::Finished { cancelled: false, .. })));
}

/// The events that answer questions about a track.
pub(crate) fn of(events: &[Event], track: u64) -> Vec<Event> {
    let concerns = |event: &&Event| match event {
        Event::Tracked { ticket, .. }
        | Event::Progress { ticket, .. }
        | Event::Finished { ticket, .. }
        | Event::JobFailed { ticket, .. } => ticket.track == TrackId(track),
        _ => false,
    };
    events.iter().filter(concerns).cloned().collect()
}

#[test]
fn propagations_of_several_tracks_walk_together() {
    let (rig, open) = rig_holding(5, None);
    rig.next();
    rig.worker.propagate(ticket(1, 1), forward(8));
    rig.until_asked("follow 5");
    rig.worker.propagate(ticket(2, 1), forward(7));
    rig.worker.propagate(ticket(3, 1), forward(29));
    drop(open);
    let events = [(); 3].map(|()| rig.until(finished)).concat();
    for (track, last) in [(1, 8), (2, 7), (3, 29)] {
        let own = of(&events, track);
        let all: Vec<FrameIndex> = (1..=last).filter(|frame| *frame != 13).collect();
        assert_eq!(tracked(&own), all, "track {track}");
        let ended = own.last();
        assert!(matches!(ended, Some(Event::Finished { cancelled: false, .. })), "{ended:?}");
        let whole = (last, last);
        let told = own.iter().rev().find_map(|event| match event {
            Event::Progress { done, total, .. } => Some((*done, *total)),
            _ => None,
        });
        assert_eq!(told, Some(whole), "its own progress");
    }
    // Those that came later catch up, then each frame is decided for all.
    let asked = rig.asked();
    let from = asked.iter().position(|call| call == "follow 6").expect("goes on");
    assert_eq!(asked[from..from + 6].concat(), "follow 6follow 6follow 6follow 7follow 7follow 7");
}

#[test]
fn more_than_can_walk_together_wait_for_their_turn_and_each_ends_once() {
    let (rig, open) = rig_holding(1, None);
    rig.next();
    let all = TOGETHER_MAX as u64 + 2;
    rig.worker.propagate(ticket(1, 1), forward(4));
    rig.until_asked("follow 1");
    (2..=all).for_each(|track| rig.worker.propagate(ticket(track, 1), forward(4)));
    drop(open);
    let events = (1..=all).map(|_| rig.until(finished)).collect::<Vec<_>>().concat();
    for track in 1..=all {
        let own = of(&events, track);
        assert_eq!(tracked(&own), [1, 2, 3, 4], "track {track}");
        assert_eq!(own.iter().filter(|event| finished(event)).count(), 1);
        assert!(matches!(own.last(), Some(Event::Finished { cancelled: false, .. })));
    }
    let asked = rig.asked();
    let on = asked.iter().position(|call| call == "follow 2").expect("they go on");
    let begun = asked[..on].iter().filter(|call| *call == "begin").count();
    assert_eq!(begun, TOGETHER_MAX, "{asked:?}");
}

#[test]
fn a_point_does_not_wait_for_a_frame_that_nobody_asked_for_after_one_that_is_encoded() {
    let (rig, open) = rig_holding(2, None);
    rig.next();
    rig.worker.propagate_ahead(ticket(1, 1), forward(9));
    rig.until_asked("follow 2");
    // Each message lets one call about frame 2 go on: first the walk, then the encoding between two of its frames.
    rig.worker.encode_ahead(2, None);
    open.send(()).unwrap();
    rig.until_asked("encode 2");
    rig.worker.refresh(ticket(2, 1), 20, points(4));
    drop(open);
    rig.until(finished);
    let asked = rig.asked();
    let at = asked.iter().position(|call| call == "encode 2").expect("it was waited for");
    assert_eq!(asked[at + 1..at + 3], ["refresh 20", "follow 3"]);
}

#[test]
fn what_is_asked_for_does_not_wait_for_the_end_of_what_was_begun_before_anybody_asked() {
    let (rig, open) = rig_holding(2, None);
    rig.next();
    rig.worker.propagate_ahead(ticket(1, 1), forward(9));
    rig.until_asked("follow 2");
    rig.worker.propagate(ticket(2, 1), forward(4));
    drop(open);
    let first = rig.until(finished);
    assert!(
        matches!(first.last(), Some(Event::Finished { ticket: t, cancelled: false }) if t.track == TrackId(2))
    );
    let events = [first, rig.until(finished)].concat();
    assert_eq!(tracked(&of(&events, 2)), [1, 2, 3, 4]);
    assert_eq!(tracked(&of(&events, 1)), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_failing_network_ends_all_that_walk_together_and_each_is_told() {
    let (rig, open) = rig_holding(2, Some(6));
    rig.next();
    rig.worker.propagate(ticket(1, 1), forward(9));
    rig.until_asked("follow 2");
    rig.worker.propagate(ticket(2, 1), forward(9));
    drop(open);
    let events = [rig.until(finished), rig.until(finished)].concat();
    for track in [1, 2] {
        let own = of(&events, track);
        assert_eq!(tracked(&own), [1, 2, 3, 4, 5]);
        assert!(
            matches!(own.last(), Some(Event::JobFailed { why, .. }) if why.contains("unbearable"))
        );
    }
    let ends: Vec<String> =
        rig.asked().into_iter().filter(|call| call.starts_with("end")).collect();
    assert_eq!(ends, ["end 0", "end 1"], "no memory of theirs stays");
    rig.worker.refresh(ticket(1, 2), 3, points(4));
    assert!(matches!(rig.next(), Event::Refreshed { .. }), "and the thread goes on");
}

#[test]
fn a_newer_propagation_of_a_track_ends_the_older_one() {
    let (rig, open) = rig_holding(3, None);
    rig.next();
    rig.worker.propagate(ticket(1, 1), forward(29));
    rig.until_asked("follow 3");
    rig.worker.propagate(ticket(1, 2), forward(4));
    drop(open);
    let older = rig.until(finished);
    assert!(
        matches!(older.last(), Some(Event::Finished { ticket: t, cancelled: true }) if t.generation == 1)
    );
    let newer = rig.until(finished);
    assert!(
        matches!(newer.last(), Some(Event::Finished { ticket: t, cancelled: false }) if t.generation == 2)
    );
    for event in &newer {
        if let Event::Tracked { ticket, .. } = event {
            assert_eq!(ticket.generation, 2, "every answer says which question it belongs to");
        }
    }
}

#[test]
fn a_panic_ends_the_job_and_not_the_thread() {
    let rig = rig(0, Some(4));
    rig.next();
    rig.worker.propagate(ticket(1, 1), forward(9));
    let events = rig.until(finished);
    assert_eq!(tracked(&events), [1, 2, 3]);
    let Some(Event::JobFailed { why, .. }) = events.last() else { panic!("{events:?}") };
    assert!(why.contains("frame 4 is unbearable"), "{why}");
    rig.worker.refresh(ticket(1, 2), 4, points(3));
    assert!(matches!(rig.next(), Event::JobFailed { .. }));
    rig.worker.refresh(ticket(1, 3), 5, points(3));
    assert!(matches!(rig.next(), Event::Refreshed { frame: 5, .. }));
}

#[test]
fn a_panicking_refresh_does_not_end_the_propagation_around_it() {
    let (rig, open) = rig_holding(2, Some(25));
    rig.next();
    rig.worker.propagate(ticket(1, 1), forward(6));
    rig.until_asked("follow 2");
    rig.worker.refresh(ticket(2, 1), 25, points(3));
    drop(open);
    let failed = rig.until(|event| matches!(event, Event::JobFailed { .. }));
    assert!(
        matches!(failed.last(), Some(Event::JobFailed { ticket: t, .. }) if t.track == TrackId(2))
    );
    let events = rig.until(|event| matches!(event, Event::Finished { .. }));
    assert_eq!(tracked(&events).last(), Some(&6));
}

#[test]
fn an_undecodable_frame_is_told_and_left_out() {
    let rig = rig(0, None);
    rig.next();
    let plan = plan(&track(11, 16, 11), FRAMES, 11, Span::Both).unwrap();
    rig.worker.propagate(ticket(1, 1), plan);
    let events = rig.until(finished);
    assert_eq!(tracked(&events), [12, 14, 15, 16]);
    assert!(events.iter().any(
        |e| matches!(e, Event::FrameFailed { frame: 13, why } if why.contains("ends in the middle"))
    ));
    assert!(matches!(events.last(), Some(Event::Finished { cancelled: false, .. })));
    rig.worker.refresh(ticket(1, 1), 13, points(3));
    assert!(
        matches!(rig.next(), Event::JobFailed { why, .. } if why.contains("ends in the middle"))
    );
}

#[test]
fn no_prompts_is_a_sentence() {
    let rig = rig(0, None);
    rig.next();
    rig.worker.refresh(ticket(1, 1), 2, FramePrompts::default());
    assert!(
        matches!(rig.next(), Event::JobFailed { why, .. } if why.contains("put a boundary point"))
    );
}

#[test]
fn without_a_network_every_question_is_answered() {
    let broken: Arc<dyn Builder> = Arc::new(|_: Start| Err("no such card".to_owned()));
    let panicking: Arc<dyn Builder> = Arc::new(|_: Start| panic!("no driver"));
    for (build, word) in [(broken, "no such card"), (panicking, "no driver")] {
        let rig = rig_of(build, Asked::default());
        assert!(matches!(rig.next(), Event::EngineFailed { why } if why.contains(word)));
        rig.worker.refresh(ticket(1, 1), 0, points(2));
        assert!(matches!(rig.next(), Event::JobFailed { why, .. } if why.contains(word)));
        rig.worker.propagate(ticket(1, 1), forward(3));
        assert!(matches!(rig.next(), Event::JobFailed { why, .. } if why.contains(word)));
    }
}

#[test]
fn a_thread_that_ends_outside_of_a_job_leaves_no_question_unanswered() {
    let scripted =
        Scripted { asked: Asked::default(), pace: Duration::ZERO, bad: None, held: None };
    let held = Mutex::new(Some(scripted));
    let build = move |_: Start| -> Result<Box<dyn Segmenter>, String> {
        Ok(Box::new(held.lock().unwrap().take().expect("built once")))
    };
    // The double panics where a clip of another length is opened.
    let frames = Frames::new(FRAMES + 1, |_| Err("nobody asks".into()));
    let rig = rig_on(frames, Limits::default(), Arc::new(build), Asked::default());
    rig.worker.refresh(ticket(1, 1), 0, points(2));
    let Event::EngineFailed { why } = rig.next() else { panic!("it was not told") };
    assert!(why.contains("open the clip again"), "{why}");
    assert!(matches!(rig.next(), Event::JobFailed { ticket: t, .. } if t == ticket(1, 1)));
}

#[test]
fn closing_does_not_wait_for_the_whole_propagation() {
    let rig = rig(100, None);
    rig.next();
    rig.worker.propagate(ticket(1, 1), forward(29));
    rig.until(|event| matches!(event, Event::Tracked { .. }));
    drop(rig.worker);
    let asked = rig.asked.lock().unwrap();
    let followed = asked.iter().filter(|call| call.starts_with("follow")).count();
    assert!(followed < 20, "{followed} of 29 frames");
}

/// A session on the shipped clip with the double, in a project of its own.
fn session(
    project: &std::path::Path,
) -> (sonomark::engine::Session<Event>, sonomark::engine::Opened, Receiver<Event>) {
    let clip = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/clips/ultrabones");
    let (sender, events) = channel();
    let source = sonomark::engine::SegmenterSource::None;
    let (session, opened) =
        sonomark::engine::Session::open(&clip, project, source, sender).unwrap();
    (session, opened, events)
}

fn add_track(seed: u32, label: &str) -> sonomark::domain::Step {
    let id = (u64::from(seed) << 32) + 1;
    let content = Track::new(label, 0);
    let edits = vec![sonomark::domain::Edit::AddTrack { track: TrackId(id), content }];
    let mark = sonomark::domain::Mark::Do;
    sonomark::domain::Step { group: id, mark, edits, made_from: None }
}

fn wait_for(events: &Receiver<Event>, wanted: impl Fn(&Event) -> bool) -> Event {
    let deadline = Instant::now() + PATIENCE;
    while let Ok(event) = events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if wanted(&event) {
            return event;
        }
    }
    panic!("the event did not come")
}

/// Where a person is who finished the clip.
fn place() -> sonomark::engine::View {
    let cursor = PointPx::new(3.0, 4.0);
    let (frame, track, finished, keys) = (7, None, true, 9);
    sonomark::engine::View { frame, cursor, track, finished, keys, outside: None, look: None }
}

#[test]
fn who_comes_back_while_a_clip_that_was_left_still_closes_finds_the_place_and_what_to_undo() {
    let project = tempfile::tempdir().unwrap();
    let (mut first, opened, _events) = session(project.path());
    first.journal(&add_track(opened.session_seed, "nerve")).unwrap();
    first.journal_view(&place());
    // An export may take minutes until it is closed.
    first.leave();
    let (second, opened, _more) = session(project.path());
    assert_eq!(opened.view, Some(place()));
    assert!(opened.history.undo(&opened.annotation).is_some());
    first.close();
    second.close();
}

#[test]
fn a_step_becomes_durable_and_is_there_again_after_reopening() {
    let project = tempfile::tempdir().unwrap();
    let (mut first, opened, events) = session(project.path());
    assert!(opened.private, "a folder of frames says nothing of patients");
    assert_eq!((opened.info.frames, opened.annotation.tracks.len()), (16, 0));
    let step = add_track(opened.session_seed, "nerve");
    first.journal(&step).unwrap();
    // By itself: nobody asks for it.
    wait_for(&events, |event| matches!(event, Event::Saved { unsynced: 0 }));
    let view = place();
    first.journal_view(&view);
    first.close();
    let (second, opened, _events) = session(project.path());
    let labels: Vec<_> = opened.annotation.tracks.values().map(|t| t.info.label.clone()).collect();
    assert_eq!(labels, ["nerve"]);
    assert_eq!(opened.view, Some(view));
    assert!(opened.history.undo(&opened.annotation).is_some(), "undo survives a restart");
    second.close();
}

#[test]
fn a_refused_step_is_told_until_it_is_kept_and_has_a_copy_meanwhile() {
    // A process of its own: the copy belongs to a home, and that is not to be the person's.
    let home = tempfile::tempdir().unwrap();
    let mut child = child_test("engine::child_refused_step");
    let output = child.env("HOME", home.path()).env_remove("XDG_STATE_HOME").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let copies =
        crate::surroundings::files_below(&home.path().join(".local/state/sonomark/rescue"));
    assert_eq!(copies.len(), 1, "{copies:?}");
    assert!(std::fs::read_to_string(&copies[0]).unwrap().contains("nerve"));
}

/// A session whose journal cannot be written for a while.
#[test]
#[ignore = "started by the test above"]
fn child_refused_step() {
    let project = tempfile::tempdir().unwrap();
    let (mut held, opened, events) = session(project.path());
    let clips = std::fs::read_dir(project.path().join("clips")).unwrap().flatten();
    let clip = clips.map(|clip| clip.path()).next().unwrap();
    // A file where the folder of journals is to be: nothing can be written, whoever asks.
    let (ops, aside) = (clip.join("ops"), clip.join("aside"));
    let _ = std::fs::rename(&ops, &aside);
    std::fs::write(&ops, "in the way").unwrap();
    held.journal(&add_track(opened.session_seed, "nerve")).unwrap();
    let saving = |event: &Event| matches!(event, Event::Saved { .. } | Event::SaveFailed { .. });
    for attempt in 0..3 {
        let event = wait_for(&events, saving);
        assert!(matches!(event, Event::SaveFailed { .. }), "attempt {attempt}: {event:?}");
    }
    std::fs::remove_file(&ops).unwrap();
    wait_for(&events, |event| matches!(event, Event::Saved { unsynced: 0 }));
    held.close();
    let (again, opened, _events) = session(project.path());
    assert_eq!(opened.annotation.tracks.len(), 1);
    again.close();
}

#[test]
fn what_two_people_decided_at_the_same_time_is_told_until_it_stood_on_a_screen() {
    let project = tempfile::tempdir().unwrap();
    let (first, opened, _events) = session(project.path());
    first.close();
    crate::project::at_the_same_time(project.path(), &opened.info);
    let told = |opened: &sonomark::engine::Opened| {
        opened.notes.iter().find(|note| note.contains("at the same time")).cloned()
    };
    for (label, on_screen) in [("nerve", false), ("vessel", true)] {
        let (mut session, opened, _events) = session(project.path());
        let note = told(&opened).expect("nobody has seen it");
        session.note_seen("something else");
        if on_screen {
            session.note_seen(&note);
        }
        session.journal(&add_track(opened.session_seed, label)).unwrap();
        session.close();
    }
    let (last, opened, _events) = session(project.path());
    assert_eq!(told(&opened), None);
    last.close();
}

#[test]
fn two_sessions_on_one_clip_see_each_other() {
    let project = tempfile::tempdir().unwrap();
    let (mut first, one, _first_events) = session(project.path());
    let (second, two, second_events) = session(project.path());
    assert_ne!(one.session_seed, two.session_seed);
    first.journal(&add_track(one.session_seed, "vessel")).unwrap();
    wait_for(&second_events, |event| matches!(event, Event::OthersWrote));
    let mut annotation = two.annotation;
    annotation.apply_all(&second.take_others().edits).unwrap();
    assert_eq!(annotation.tracks.values().next().unwrap().info.label, "vessel");
    // A journal that breaks while the clip is open is named at once, not at the next opening.
    let clips = std::fs::read_dir(project.path().join("clips")).unwrap().flatten();
    let ops = clips.map(|clip| clip.path().join("ops")).next().unwrap();
    std::fs::write(ops.join("stranger-000000ff.jsonl"), b"{\"v\":1 torn\n").unwrap();
    let event = wait_for(&second_events, |event| matches!(event, Event::JournalNotes { .. }));
    let Event::JournalNotes { notes } = event else { unreachable!() };
    assert!(notes[0].contains("stranger-000000ff.jsonl line 1: damaged"), "{notes:?}");
    first.close();
    second.close();
}

#[test]
fn pictures_come_without_a_network_and_exports_land_in_the_project() {
    let project = tempfile::tempdir().unwrap();
    let (session, opened, events) = session(project.path());
    session.want_frame(3);
    let event = wait_for(&events, |event| matches!(event, Event::Frame { .. }));
    assert!(matches!(event, Event::Frame { frame: 3, pixels } if pixels.width_px == 475));
    session.export_named(&opened.annotation, "coco", None);
    let event = wait_for(&events, |event| {
        matches!(event, Event::Exported { .. } | Event::ExportFailed { .. })
    });
    let Event::Exported { path, .. } = event else { panic!("{event:?}") };
    assert!(path.starts_with(project.path().join("exports")) && path.is_file());
    // Masks of other frames make room for themselves in their own place, and keep what lies there.
    let mut annotation = opened.annotation.clone();
    let said = |event: Event| match event {
        Event::Exported { path, what } => (path, what),
        other => panic!("{other:?}"),
    };
    let done = |event: &Event| matches!(event, Event::Exported { .. } | Event::ExportFailed { .. });
    for (frames, kept) in [(&[1, 4][..], false), (&[1, 2, 4], false), (&[1], true)] {
        let mut nerve = sonomark::domain::Track::new("nerve", 0);
        for frame in frames {
            let mask = decided_mask(&opened.info);
            nerve.masks.insert(*frame, mask);
        }
        annotation.tracks.insert(TrackId(1), nerve);
        session.export_named(&annotation, "png", None);
        let (path, what) = said(wait_for(&events, done));
        assert_eq!(std::fs::read_dir(path.join("nerve")).unwrap().count(), frames.len());
        assert_eq!(what.contains("the earlier export is kept as"), kept, "{what}");
        let aside = path
            .with_file_name(format!("{}.earlier-1", path.file_name().unwrap().to_string_lossy()));
        assert_eq!(aside.join("nerve/00004.png").is_file(), kept);
    }
    // No format lies in the folder, or in place of the file, of another.
    let formats = ["png", "yolo", "coco", "coco-polygons"];
    let places = formats.map(|format| {
        session.export_named(&annotation, format, None);
        let (path, what) = said(wait_for(&events, done));
        assert!(path.exists() && !what.contains("earlier export"), "{what}");
        path
    });
    assert_eq!(places.iter().collect::<std::collections::BTreeSet<_>>().len(), formats.len());
    session.export_named(&opened.annotation, "xyz", None);
    let event = wait_for(&events, |event| matches!(event, Event::ExportFailed { .. }));
    assert!(matches!(event, Event::ExportFailed { why } if why.contains("choose png, coco")));
    session.close();
}

fn decided_mask(info: &sonomark::domain::ClipInfo) -> sonomark::domain::FrameMask {
    let inside = |x: u32, y: u32| x < 9 && y < 9;
    let mask = sonomark::domain::Bitmap::from_fn(info.width_px, info.height_px, inside).to_mask();
    sonomark::domain::FrameMask { mask, source: sonomark::domain::MaskSource::Tracked, score: 0.5 }
}

#[test]
fn masks_older_than_their_points_are_so_after_reopening() {
    use sonomark::domain::{
        Edit, FrameMask, MaskSource, PlacedPrompt, PointKind, Prompt, PromptId, Step,
    };
    use sonomark::tui::marks::Marks;
    let project = tempfile::tempdir().unwrap();
    let (mut held, opened, _events) = session(project.path());
    let step = add_track(opened.session_seed, "nerve");
    let track = TrackId(step.group);
    held.journal(&step).unwrap();
    let (width, height) = (opened.info.width_px, opened.info.height_px);
    let mask = sonomark::domain::Bitmap::from_fn(width, height, |x, y| x < 9 && y < 9).to_mask();
    let mut group = step.group;
    let mut edit = |edit: Edit| {
        group += 1;
        held.journal(&Step {
            group,
            mark: sonomark::domain::Mark::Do,
            edits: vec![edit],
            made_from: None,
        })
        .unwrap();
    };
    let point = |id: u64, x: f32| {
        let at = PointPx::new(x, 5.0);
        PlacedPrompt { id: PromptId(id), prompt: Prompt::Point { kind: PointKind::Boundary, at } }
    };
    let put = |frame, source| Edit::SetMask {
        track,
        frame,
        before: None,
        after: Some(FrameMask { mask: mask.clone(), source, score: 0.9 }),
    };
    edit(Edit::AddPrompt { track, frame: 0, at: 0, placed: point(1, 5.0) });
    edit(put(0, MaskSource::Prompted));
    edit(put(3, MaskSource::Tracked));
    let add = Edit::AddPrompt { track, frame: 0, at: 1, placed: point(2, 8.0) };
    edit(add.clone());
    edit(put(5, MaskSource::Tracked));
    held.close();
    let stale = |opened: &sonomark::engine::Opened| {
        let marks = Marks::of(&opened.annotation, opened.origins.clone());
        marks.stale(track).unwrap().iter().copied().collect::<Vec<_>>()
    };
    let (mut again, opened, _events) = session(project.path());
    assert_eq!(stale(&opened), [0, 3], "5 was computed from both points");
    // Without the second point the first two are right again, and the third is not.
    let undone = Step {
        group: 99,
        mark: sonomark::domain::Mark::Do,
        edits: vec![add.inverse()],
        made_from: None,
    };
    again.journal(&undone).unwrap();
    again.close();
    let (mut last, opened, _events) = session(project.path());
    assert_eq!(stale(&opened), [5]);
    // A point taken back with its mask, the mask first, leaves the mask before it as new as its points.
    let before = opened.annotation.tracks[&track].masks[&0].clone();
    let mask = sonomark::domain::Bitmap::from_fn(width, height, |x, y| x < 5 && y < 9).to_mask();
    let after = FrameMask { mask, ..before.clone() };
    let edits = vec![
        Edit::AddPrompt { track, frame: 0, at: 1, placed: point(3, 2.0) },
        Edit::SetMask { track, frame: 0, before: Some(before), after: Some(after) },
    ];
    let back: Vec<Edit> = edits.iter().rev().map(Edit::inverse).collect();
    let mark = sonomark::domain::Mark::Do;
    last.journal(&Step { group: 200, mark, edits, made_from: None }).unwrap();
    let mark = sonomark::domain::Mark::Undo;
    last.journal(&Step { group: 200, mark, edits: back, made_from: None }).unwrap();
    last.close();
    let (reopened, opened, _events) = session(project.path());
    assert_eq!(stale(&opened), [5]);
    reopened.close();
}
