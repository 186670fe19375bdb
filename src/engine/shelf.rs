//! The network between two clips: who is done with it puts it here, who comes next takes it.
//!
//! Loading a network costs from a tenth of a second to minutes (weights, kernels of a GPU), and
//! two at once may not fit into the memory of the device. So the next clip waits for the network
//! of the one before it, which is free after the frame in hand. A network whose device failed is
//! not passed on.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::domain::FramePrompts;

use super::{Anchor, Decided, Direction, Image, SegmentError, Segmenter, SegmenterInfo};

/// A segmenter that may change threads.
type Movable = Box<dyn Segmenter + Send>;

/// Where the network is between clips. Clones are the same shelf.
#[derive(Clone, Default)]
pub struct Shelf(Arc<(Mutex<Place>, Condvar)>);

#[derive(Default)]
enum Place {
    /// Never loaded, or given up.
    #[default]
    Empty,
    /// At work for a clip.
    Lent,
    /// Free.
    Here(Movable),
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Place> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, place: Place) {
        *self.lock() = place;
        self.0.1.notify_all();
    }

    /// The network that lies here, as soon as nobody has it; the first time, or after a failure,
    /// the one that `load` gives. It comes back when what is returned is dropped.
    ///
    /// # Errors
    /// What `load` says.
    pub fn lend(&self, load: impl FnOnce() -> Result<Movable, String>) -> Result<Lent, String> {
        let mut place = self.lock();
        while matches!(*place, Place::Lent) {
            place = self.0.1.wait(place).unwrap_or_else(PoisonError::into_inner);
        }
        let held = std::mem::replace(&mut *place, Place::Lent);
        drop(place);
        // Also when loading panics, the shelf must not count as lent for ever.
        let mut lent = Lent { inner: None, shelf: self.clone() };
        lent.inner = Some(match held {
            Place::Here(segmenter) => segmenter,
            Place::Empty | Place::Lent => load()?,
        });
        Ok(lent)
    }

    /// Whatever lies here is not to be used again.
    pub fn clear(&self) {
        let mut place = self.lock();
        if matches!(*place, Place::Here(_)) {
            *place = Place::Empty;
        }
    }
}

/// A network at work for one clip; goes back to its shelf when dropped.
pub struct Lent {
    /// Always there but while it is loaded and dropped.
    inner: Option<Movable>,
    shelf: Shelf,
}

impl Lent {
    fn inner(&mut self) -> Result<&mut Movable, SegmentError> {
        self.inner.as_mut().ok_or_else(|| SegmentError::Network("it is gone".into()))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.shelf.put(match self.inner.take() {
            Some(mut segmenter) => {
                // Features of a clip that is left would only take room.
                segmenter.open_clip(1);
                Place::Here(segmenter)
            }
            None => Place::Empty,
        });
    }
}

impl Segmenter for Lent {
    fn info(&self) -> SegmenterInfo {
        let none = || SegmenterInfo { model: String::new(), device: String::new(), bridged: false };
        self.inner.as_ref().map_or_else(none, |inner| inner.info())
    }

    fn open_clip(&mut self, frames: usize) {
        if let Ok(inner) = self.inner() {
            inner.open_clip(frames);
        }
    }

    fn refresh(
        &mut self,
        image: Image<'_>,
        prompts: &FramePrompts,
    ) -> Result<Decided, SegmentError> {
        self.inner()?.refresh(image, prompts)
    }

    fn begin_walk(&mut self, windowed: bool) {
        if let Ok(inner) = self.inner() {
            inner.begin_walk(windowed);
        }
    }

    fn anchor(&mut self, image: Image<'_>, anchor: &Anchor) -> Result<Decided, SegmentError> {
        self.inner()?.anchor(image, anchor)
    }

    fn follow(&mut self, image: Image<'_>, direction: Direction) -> Result<Decided, SegmentError> {
        self.inner()?.follow(image, direction)
    }

    fn encode_ahead(&mut self, image: Image<'_>) -> Result<(), SegmentError> {
        self.inner()?.encode_ahead(image)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// Knows its number and for how many frames it was opened.
    struct Numbered(usize, usize);

    impl Segmenter for Numbered {
        fn info(&self) -> SegmenterInfo {
            let model = format!("number {} for {}", self.0, self.1);
            SegmenterInfo { model, device: "CPU".into(), bridged: false }
        }

        fn open_clip(&mut self, frames: usize) {
            self.1 = frames;
        }

        fn refresh(&mut self, _: Image<'_>, _: &FramePrompts) -> Result<Decided, SegmentError> {
            Err(SegmentError::NothingToFollow(0))
        }

        fn begin_walk(&mut self, _: bool) {}

        fn anchor(&mut self, _: Image<'_>, _: &Anchor) -> Result<Decided, SegmentError> {
            Err(SegmentError::NothingToFollow(0))
        }

        fn follow(&mut self, _: Image<'_>, _: Direction) -> Result<Decided, SegmentError> {
            Err(SegmentError::NothingToFollow(0))
        }

        fn encode_ahead(&mut self, _: Image<'_>) -> Result<(), SegmentError> {
            Ok(())
        }
    }

    #[test]
    fn the_next_clip_waits_for_the_network_and_loads_none() {
        let (shelf, loads) = (Shelf::default(), Arc::new(AtomicUsize::new(0)));
        let lend = |shelf: &Shelf, loads: &AtomicUsize| {
            let number = loads.fetch_add(1, Ordering::SeqCst) + 1;
            shelf.lend(|| Ok(Box::new(Numbered(number, 0))))
        };
        let mut first = lend(&shelf, &loads).expect("loads");
        first.open_clip(700);
        let (other, count) = (shelf.clone(), Arc::clone(&loads));
        let next = thread::spawn(move || {
            let lent = other.lend(|| {
                count.fetch_add(1, Ordering::SeqCst);
                Ok(Box::new(Numbered(99, 0)))
            });
            lent.expect("is handed over").info().model
        });
        thread::sleep(Duration::from_millis(30));
        assert!(!next.is_finished(), "it waits, two networks may not fit");
        drop(first);
        assert_eq!(next.join().expect("ends"), "number 1 for 1");
        assert_eq!(loads.load(Ordering::SeqCst), 1);
        shelf.clear();
        assert_eq!(lend(&shelf, &loads).expect("loads").info().model, "number 2 for 0");
    }

    #[test]
    fn a_network_that_does_not_load_leaves_the_shelf_free() {
        let shelf = Shelf::default();
        assert_eq!(shelf.lend(|| Err("no weights".into())).err().as_deref(), Some("no weights"));
        assert!(shelf.lend(|| Ok(Box::new(Numbered(1, 0)))).is_ok());
    }
}
