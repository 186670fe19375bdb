//! The decoders of a video that stand still between two frames.
//!
//! A person looks at one place while the network follows a structure through another, or the whole clip is looked through
//! for its ultrasound region: each thread goes on with a decoder of its own. With one for all each of them would end that of
//! the other, and every frame would cost a start.

use std::sync::{Mutex, PoisonError};
use std::thread::{self, ThreadId};

use super::Stream;
use crate::domain::FrameIndex;

/// Decoders that stand still: of the screen, of the network, and of something aside.
const MOST: usize = 3;

/// Decoders and who used them last, the one that has stood still for longest first.
pub(super) struct Streams(Mutex<Vec<(Option<ThreadId>, Stream)>>);

impl Streams {
    /// With one that is nobody's.
    pub(super) fn of(first: Stream) -> Self {
        Self(Mutex::new(vec![(None, first)]))
    }

    /// Takes out the decoder of this thread, wherever it stands; one that reaches frame `index` soon for a thread that has
    /// none.
    pub(super) fn take(&self, index: FrameIndex) -> Option<Stream> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = Some(thread::current().id());
        let at = held.iter().position(|(owner, _)| *owner == own);
        let at = at.or_else(|| held.iter().position(|(_, stream)| stream.reaches(index)))?;
        Some(held.remove(at).1)
    }

    /// Keeps a decoder as that of this thread; the one that has stood still for longest ends where there are too many.
    pub(super) fn keep(&self, stream: Stream) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.push((Some(thread::current().id()), stream));
        let ended = (held.len() > MOST).then(|| held.remove(0));
        // Nobody waits for its end.
        drop(held);
        drop(ended);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs::File;
    use std::path::Path;
    use std::sync::mpsc::sync_channel;

    use super::super::{Reel, Video, open_reel};
    use super::*;
    use crate::codec::FrameSource;

    /// A video of 100 frames; `None` where there is no ffmpeg.
    fn video() -> Option<Video> {
        if std::process::Command::new("ffmpeg").arg("-version").output().is_err() {
            // Past the capture of the test harness: a skip is seen in every log.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                b"skipped: ffmpeg is not installed\n",
            );
            return None;
        }
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/video/sonosite_eye.mp4");
        let reel = Reel::file(&data, File::open(&data).expect("it opens"));
        Some(open_reel(reel, 0).expect("a video").1)
    }

    fn processes(video: &Video) -> HashSet<u32> {
        let held = video.streams.0.lock().expect("nobody panicked");
        held.iter().map(|(_, stream)| stream.child.id()).collect()
    }

    #[test]
    fn whoever_reads_elsewhere_ends_no_decoder_of_others() {
        let Some(video) = video() else { return };
        let read = |frame| video.read(frame, &mut |_, _| {}).expect("a frame");
        let first = processes(&video);
        read(0);
        assert_eq!(processes(&video), first, "it goes on with that of the opening");
        let (to_other, wanted) = sync_channel(1);
        let (to_here, done) = sync_channel(1);
        thread::scope(|scope| {
            scope.spawn(move || {
                for frame in wanted {
                    read(frame);
                    to_here.send(()).expect("it is heard");
                }
            });
            for (here, there) in [(1, 80), (2, 81), (3, 82)] {
                to_other.send(there).expect("it is heard");
                done.recv().expect("it comes");
                read(here);
            }
            let two = processes(&video);
            assert!(two.len() == 2 && two.is_superset(&first), "{two:?}, at first {first:?}");
            // A jump ends the own one alone.
            to_other.send(5).expect("it is heard");
            done.recv().expect("it comes");
            let after = processes(&video);
            assert!(after.len() == 2 && after.is_superset(&first) && after != two, "{after:?}");
            drop(to_other);
        });
    }

    #[test]
    fn few_decoders_stand_still() {
        let Some(video) = video() else { return };
        for _ in 0..=MOST {
            thread::scope(|scope| {
                scope.spawn(|| video.read(99, &mut |_, _| {}).expect("a frame"));
            });
        }
        assert_eq!(processes(&video).len(), MOST);
    }
}
