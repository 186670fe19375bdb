//! Decoded frames, shared by the thread that shows them and the one that segments them.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};

use crate::codec::Clip;
use crate::domain::{FrameIndex, GrayFrame, counted};

use super::{Event, Outbox};

type Decode = Box<dyn Fn(FrameIndex) -> Result<Arc<GrayFrame>, String> + Send + Sync>;

/// The frames of one clip for whoever asks, on any thread. Keeping decoded frames is the codec's
/// business.
pub struct Frames {
    count: usize,
    decode: Decode,
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frames({})", self.count)
    }
}

impl Frames {
    /// `count` frames that `decode` gives, or a sentence why it does not.
    pub fn new(
        count: usize,
        decode: impl Fn(FrameIndex) -> Result<Arc<GrayFrame>, String> + Send + Sync + 'static,
    ) -> Self {
        Self { count, decode: Box::new(decode) }
    }

    /// Those of `clip`.
    #[must_use]
    pub fn of(clip: &Arc<Clip>) -> Self {
        let clip = Arc::clone(clip);
        Self::new(clip.info().frames, move |frame| {
            clip.frame(frame).map_err(|error| error.to_string())
        })
    }

    /// How many frames the clip has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The pixels of `frame`.
    ///
    /// # Errors
    /// A sentence that says why the frame cannot be decoded.
    pub fn get(&self, frame: FrameIndex) -> Result<Arc<GrayFrame>, String> {
        if frame >= self.count {
            return Err(format!(
                "the clip has {}, there is no frame {}",
                counted(self.count, "frame"),
                frame + 1
            ));
        }
        // A panic of a decoder costs its frame alone and no thread, whoever asked for it.
        catch_unwind(AssertUnwindSafe(|| (self.decode)(frame)))
            .unwrap_or_else(|_| Err("its decoder gave up on the content".into()))
    }
}

/// The thread that decodes what the screen wants to show; the newest wish wins.
pub(super) struct Reader {
    wishes: Option<Sender<FrameIndex>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    pub(super) fn spawn(frames: Arc<Frames>, outbox: Outbox) -> std::io::Result<Self> {
        let (wishes, wanted) = channel();
        let thread = thread::Builder::new()
            .name("sonomark-frames".into())
            .spawn(move || read_on_demand(&frames, &wanted, &outbox))?;
        Ok(Self { wishes: Some(wishes), thread: Some(thread) })
    }

    pub(super) fn want(&self, frame: FrameIndex) {
        if let Some(wishes) = &self.wishes {
            // The thread ends only when this sender is dropped, so the wish always arrives.
            let _ = wishes.send(frame);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.wishes = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read_on_demand(frames: &Frames, wanted: &Receiver<FrameIndex>, outbox: &Outbox) {
    let mut last = 0;
    while let Ok(first) = wanted.recv() {
        let mut frame = wanted.try_iter().last().unwrap_or(first);
        loop {
            outbox(match frames.get(frame) {
                Ok(pixels) => Event::Frame { frame, pixels },
                Err(why) => Event::FrameFailed { frame, why },
            });
            // While nobody asks, the next frame in the direction of travel is decoded ahead.
            let next = if frame >= last { frame + 1 } else { frame.saturating_sub(1) };
            last = frame;
            match wanted.try_iter().last() {
                Some(newer) => frame = newer,
                None => {
                    if next < frames.count() {
                        // A frame that fails ahead of time fails again, and is told, when wanted.
                        let _ = frames.get(next);
                    }
                    match wanted.try_recv() {
                        Ok(newer) => frame = wanted.try_iter().last().unwrap_or(newer),
                        Err(TryRecvError::Empty) => break,
                        Err(TryRecvError::Disconnected) => return,
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Frames {
        Frames::new(9, |frame| {
            if frame == 7 {
                return Err("it is cut short".into());
            }
            Ok(Arc::new(GrayFrame::new(2, 1, vec![frame as u8; 2]).expect("it fits")))
        })
    }

    #[test]
    fn a_frame_beyond_the_end_is_refused() {
        assert_eq!(frames().get(3).expect("decodes").pixels, [3, 3]);
        assert!(frames().get(9).expect_err("no such frame").contains("no frame 10"));
    }

    #[test]
    fn every_wish_ends_in_an_answer_for_the_newest() {
        let frames = Arc::new(frames());
        let (sender, events) = channel();
        let outbox: Outbox = Box::new(move |event| {
            let _ = sender.send(event);
        });
        let reader = Reader::spawn(frames, outbox).expect("a thread");
        for frame in [0, 1, 2, 7] {
            reader.want(frame);
        }
        loop {
            match events.recv_timeout(std::time::Duration::from_secs(60)).expect("an answer") {
                Event::FrameFailed { frame, why } => {
                    assert_eq!((frame, why.as_str()), (7, "it is cut short"));
                    break;
                }
                Event::Frame { frame, .. } => assert!(frame < 3),
                other => panic!("{other:?}"),
            }
        }
        drop(reader);
        assert!(events.recv().is_err(), "nothing after the newest wish");
    }

    #[test]
    fn a_decoder_that_panics_costs_its_frame_and_not_the_thread() {
        let frames = Frames::new(3, |frame| {
            assert!(frame != 1, "no decoder should");
            Ok(Arc::new(GrayFrame::new(1, 1, vec![0]).expect("it fits")))
        });
        let (sender, events) = channel();
        let outbox: Outbox = Box::new(move |event| {
            let _ = sender.send(event);
        });
        let reader = Reader::spawn(Arc::new(frames), outbox).expect("a thread");
        let next = || events.recv_timeout(std::time::Duration::from_secs(5)).expect("an answer");
        reader.want(1);
        let Event::FrameFailed { frame: 1, why } = next() else { unreachable!("it fails") };
        assert_eq!(why, "its decoder gave up on the content");
        reader.want(2);
        assert!(matches!(next(), Event::Frame { frame: 2, .. }));
    }
}
