//! A walk's frames are read while the network is at work: real clips, and a network that waits for the reader.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use sonomark::codec::{Clip, OpenOptions, open};
use sonomark::domain::{Bitmap, FrameIndex, FramePrompts, GrayFrame};
use sonomark::engine::{
    Anchor, Decided, Direction, Ended, Frames, Image, Plan, Role, SegmentError, Segmenter,
    SegmenterInfo, Span, plan, walk,
};

use crate::codec::has_ffmpeg;
use crate::engine::track;
use crate::surroundings::{PATIENCE, data};

fn opened(path: &Path) -> Arc<Clip> {
    Arc::new(open(path, &OpenOptions::default()).unwrap())
}

/// Both ways from the prompted frame.
fn both_ways(first: usize, last: usize, prompted: usize, frames: usize) -> Plan {
    plan(&track(first, last, prompted), frames, prompted, Span::Both).unwrap()
}

/// Follows a frame only when the reader has begun with the one that it waits for.
#[derive(Default)]
struct Waiting {
    /// Frame to be followed, and the one to wait for.
    waits: Vec<(FrameIndex, FrameIndex)>,
    begun: Option<Receiver<FrameIndex>>,
    seen: Vec<(FrameIndex, Vec<u8>)>,
}

impl Waiting {
    fn decided(&mut self, image: Image<'_>) -> Decided {
        let GrayFrame { width_px, height_px, pixels, .. } = image.pixels;
        self.seen.push((image.frame, pixels.clone()));
        let bitmap = Bitmap::empty(*width_px, *height_px);
        Decided { bitmap, score: 0.5, object_score_logit: 1.0, encode_ms: 0.0, decode_ms: 0.0 }
    }
}

impl Segmenter for Waiting {
    fn info(&self) -> SegmenterInfo {
        SegmenterInfo { model: "waiting".into(), device: "none".into(), bridged: false }
    }
    fn open_clip(&mut self, _: usize) {}
    fn refresh(&mut self, image: Image<'_>, _: &FramePrompts) -> Result<Decided, SegmentError> {
        Ok(self.decided(image))
    }
    fn turn_to(&mut self, _: usize) {}
    fn end_walk(&mut self, _: usize) {}
    fn begin_walk(&mut self, _: bool) {}
    fn anchor(&mut self, image: Image<'_>, _: &Anchor) -> Result<Decided, SegmentError> {
        Ok(self.decided(image))
    }
    fn follow(
        &mut self,
        image: Image<'_>,
        _: Direction,
        _: Option<Image<'_>>,
    ) -> Result<Decided, SegmentError> {
        let wait = self.waits.iter().find(|(frame, _)| *frame == image.frame);
        if let (Some((frame, later)), Some(begun)) = (wait, &self.begun) {
            let next = || begun.recv_timeout(PATIENCE);
            while next().unwrap_or_else(|_| panic!("{later} is not read beside {frame}")) != *later
            {
            }
        }
        Ok(self.decided(image))
    }
    fn encode_ahead(&mut self, _: Image<'_>) -> Result<(), SegmentError> {
        Ok(())
    }
}

type Told = Vec<(FrameIndex, Role, Result<(), String>)>;

/// Walks on until `most` frames are told.
fn walked(
    waiting: &mut Waiting,
    frames: &Frames,
    plan: &Plan,
    most: usize,
) -> (Result<Ended, sonomark::engine::WalkError>, Told) {
    let told = Mutex::new(Told::new());
    let mut between = |_: &mut dyn Segmenter| match told.lock().unwrap().len() < most {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    };
    let mut on_frame = |frame, role, decided: Result<Decided, String>| {
        told.lock().unwrap().push((frame, role, decided.map(drop)));
    };
    let ended = walk(waiting, frames, plan, &mut between, &mut on_frame);
    (ended, told.into_inner().unwrap())
}

#[test]
fn frames_of_a_video_are_read_while_the_network_is_at_work() {
    if !has_ffmpeg() {
        return;
    }
    let path = data("video/sonosite_eye.mp4");
    let (clip, own) = (opened(&path), opened(&path));
    let plan = both_ways(5, 40, 20, clip.info().frames);
    let order: Vec<FrameIndex> = plan.frames().collect();
    assert!(order.contains(&5) && order.contains(&40), "both ways: {order:?}");
    let (tell, begun) = channel();
    let frames = Frames::new(clip.info().frames, move |frame| {
        let _ = tell.send(frame);
        clip.frame(frame).map_err(|error| error.to_string())
    });
    // The walk itself asks for one frame in advance; these are the two after it.
    let waits = order.windows(4).map(|of| (of[0], of[3])).collect();
    let mut waiting = Waiting { waits, begun: Some(begun), seen: Vec::new() };
    let (ended, told) = walked(&mut waiting, &frames, &plan, usize::MAX);
    assert_eq!(ended, Ok(Ended::Complete));
    let expected: Vec<_> = [20].into_iter().chain(order).collect();
    assert_eq!(told.iter().map(|(frame, ..)| *frame).collect::<Vec<_>>(), expected);
    assert!(told.iter().all(|(.., decided)| decided.is_ok()), "{told:?}");
    for ((frame, pixels), wanted) in waiting.seen.iter().zip(expected) {
        assert_eq!(*frame, wanted);
        assert!(own.frame(wanted).unwrap().pixels == *pixels, "other pixels on frame {wanted}");
    }
}

#[test]
fn a_frame_that_cannot_be_decoded_is_told_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..16 {
        let name = format!("{number:05}.jpg");
        let mut bytes = fs::read(data("clips/ultrabones").join(&name)).unwrap();
        if number == 7 || number == 12 {
            // Its head is whole: the clip opens.
            bytes.truncate(700);
        }
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let clip = opened(folder.path());
    let frames = Frames::of(&clip);
    let (ended, told) =
        walked(&mut Waiting::default(), &frames, &both_ways(4, 14, 10, 16), usize::MAX);
    assert_eq!(ended, Ok(Ended::Complete));
    let order: Vec<FrameIndex> = told.iter().map(|(frame, ..)| *frame).collect();
    assert_eq!(order.len(), 11, "each frame once: {order:?}");
    for (frame, role, decided) in &told {
        assert_eq!(*role == Role::Anchor, *frame == 10);
        match frame {
            7 | 12 => {
                let why = decided.as_ref().expect_err("it is cut short");
                assert!(why.contains(&format!("{frame:05}.jpg")), "{why}");
                assert_eq!(Err(why), frames.get(*frame).as_ref().map(drop), "as on the spot");
            }
            _ => assert_eq!(*decided, Ok(()), "{frame}"),
        }
    }
    // Where it is the only anchor, nothing is followed.
    let (ended, told) =
        walked(&mut Waiting::default(), &frames, &both_ways(4, 14, 7, 16), usize::MAX);
    assert!(ended.is_err_and(|why| why.to_string().contains("frame 8 cannot be decoded")));
    assert_eq!(told.len(), 1);
}

/// Processes that read the file at `path`, which they know by a number of this process alone.
fn readers(path: &Path) -> Vec<PathBuf> {
    let own = format!("/proc/{}/fd/", std::process::id());
    let reads = |line: &[u8]| {
        // Behind the word by which ffmpeg takes it for a file.
        let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        words.any(|word| {
            let held = word.find(&own).map(|at| &word[at..]);
            held.is_some_and(|held| fs::read_link(held).is_ok_and(|file| file == path))
        })
    };
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    processes
        .filter(|process| fs::read(process.join("cmdline")).is_ok_and(|line| reads(&line)))
        .collect()
}

#[test]
fn a_cancelled_walk_leaves_no_decoder_behind() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cancelled.mp4");
    fs::copy(data("video/sonosite_eye.mp4"), &path).unwrap();
    let clip = opened(&path);
    let frames = Frames::of(&clip);
    let plan = both_ways(0, 99, 0, clip.info().frames);
    let (ended, told) = walked(&mut Waiting::default(), &frames, &plan, 6);
    assert_eq!(ended, Ok(Ended::Cancelled));
    assert_eq!(told.iter().map(|(frame, ..)| *frame).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    let left = readers(&path.canonicalize().unwrap());
    assert_eq!(left.len(), 1, "the clip is open and goes on from there");
    drop(frames);
    // The reader let go of the clip: this is the last one who holds it.
    drop(Arc::into_inner(clip).expect("nobody else holds the clip"));
    // Who has ended has no words, or no folder.
    let words = fs::read(left[0].join("cmdline")).unwrap_or_default();
    assert!(words.is_empty(), "{}", String::from_utf8_lossy(&words));
}
