//! The frames of a walk are read on a thread of their own, while the network is at work on those before.
//!
//! Without it the network waited for pixels for 15 % (video of 800 x 600 px) to 20 % (DICOM with JPEG of 1024 x 768 px) of
//! a frame's time: shipped network, two cores. What decides whether this file is right: what is taken is what a read on
//! the spot gives, errors among it; no more than [`AHEAD`] frames wait to be taken; and the thread has ended when
//! [`read_ahead`] returns, however it does. Nobody waits for longer than for the frame that is being read.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use crate::domain::{FrameIndex, GrayFrame};

use super::Frames;

/// Frames that wait at most: one may take twice as long as the network, as where a video is entered anew.
const AHEAD: usize = 2;

type Pixels = Result<Arc<GrayFrame>, String>;

/// Frames that are read or about to be.
pub(super) struct Coming<'a> {
    frames: &'a Frames,
    read: Receiver<(FrameIndex, Pixels)>,
}

impl Coming<'_> {
    /// The pixels of `frame`, which is the next one of the order; any other is read now.
    ///
    /// # Errors
    /// A sentence that says why the frame cannot be decoded.
    pub(super) fn take(&self, frame: FrameIndex) -> Pixels {
        match self.read.recv() {
            Ok((read, pixels)) if read == frame => pixels,
            // Also where the machine gave no thread.
            _ => self.frames.get(frame),
        }
    }
}

/// Does `work` while the frames of `order` are read ahead of it.
pub(super) fn read_ahead<R>(
    frames: &Frames,
    order: impl Iterator<Item = FrameIndex> + Send,
    work: impl FnOnce(&Coming<'_>) -> R,
) -> R {
    thread::scope(|scope| {
        // One more waits in the hands of the thread.
        let (ready, read) = sync_channel(AHEAD - 1);
        let reader = move || {
            for frame in order {
                if ready.send((frame, frames.get(frame))).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("sonomark-ahead".into());
        // Without a thread each frame is read when it is taken.
        let _ = thread.spawn_scoped(scope, reader);
        // The receiver goes with the end of `work`, or with its panic, and that ends the thread.
        work(&Coming { frames, read })
    })
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;

    use super::*;

    fn pixels(frame: FrameIndex) -> Pixels {
        match frame {
            3 => Err("it is cut short".into()),
            5 => panic!("no decoder should"),
            _ => Ok(Arc::new(GrayFrame::new(2, 1, vec![frame as u8; 2]).expect("it fits"))),
        }
    }

    #[test]
    fn frames_come_in_order_with_their_errors_and_no_more_than_two_wait() {
        let (taken, begun) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
        let seen = Arc::clone(&taken);
        let frames = Frames::new(40, move |frame| {
            let nth = begun.fetch_add(1, Ordering::SeqCst) + 1;
            assert!(nth <= seen.load(Ordering::SeqCst) + AHEAD, "the {nth}th is read too early");
            pixels(frame)
        });
        let order = [9, 8, 7, 3, 4, 5, 6, 2, 8, 39];
        read_ahead(&frames, order.into_iter(), |coming| {
            for frame in order {
                taken.fetch_add(1, Ordering::SeqCst);
                match (frame, coming.take(frame)) {
                    (3, Err(why)) => assert_eq!(why, "it is cut short"),
                    (5, Err(why)) => assert_eq!(why, "its decoder gave up on the content"),
                    (_, Ok(pixels)) => assert_eq!(pixels.pixels, [frame as u8; 2]),
                    (_, Err(why)) => panic!("{why}"),
                }
            }
            taken.fetch_add(1, Ordering::SeqCst);
            assert!(coming.take(40).is_err(), "beyond the end, as on the spot");
            assert_eq!(coming.take(1).expect("read now").pixels, [1, 1]);
        });
    }

    #[test]
    fn frames_are_read_while_nobody_takes_them_and_the_thread_ends_with_the_work() {
        let (tell, told) = channel();
        let frames = Frames::new(40, move |frame| {
            let _ = tell.send(frame);
            pixels(frame)
        });
        // Two are there before the first is taken, which makes room for one more; and no fourth.
        read_ahead(&frames, 10..40, |coming| {
            assert_eq!([told.recv(), told.recv()], [Ok(10), Ok(11)]);
            assert!(coming.take(10).is_ok());
            assert_eq!(told.recv(), Ok(12));
        });
        assert!(told.try_recv().is_err(), "nothing is read when the work has ended");
        let lost = catch_unwind(AssertUnwindSafe(|| {
            read_ahead(&frames, 10..40, |_| panic!("the network stopped"))
        }));
        let cause = lost.expect_err("it comes through");
        assert_eq!(cause.downcast_ref(), Some(&"the network stopped"));
    }
}
