//! The network between two clips: who is done with it puts it here, who comes next takes it.
//!
//! Loading a network costs from a tenth of a second to minutes (weights, kernels of a GPU), and
//! two at once may not fit into the memory of the device. So the next clip waits for the network
//! of the one before it, which is free after the frame in hand. A network whose device failed, or
//! for which there is a better one, is discarded: nobody gets it. One whose device hangs never
//! comes back: it is written off, and the next one is loaded onto the CPU, because for this process
//! the device is of no more use.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::domain::FramePrompts;
use crate::net::device::caught;

use super::failing::{Start, Trouble, because};
use super::meanwhile::{Meanwhile, Wake, Wanted};
use super::{
    Anchor, Builder, Decided, Direction, Image, NetSegmenter, SegmentError, Segmenter,
    SegmenterInfo, WalkId,
};

/// A segmenter that may change threads.
pub(super) type Movable = Box<dyn Segmenter + Send>;

/// Where the network is between clips. Clones are the same shelf.
#[derive(Clone, Default)]
pub struct Shelf(Arc<(Mutex<Held>, Condvar)>, Meanwhile);

#[derive(Default)]
struct Held {
    place: Place,
    /// Number of the newest lending, from 1.
    lending: u64,
    /// What that one has is not to be used again.
    discarded: bool,
    /// A device hung: nothing is loaded onto it again.
    hung: bool,
}

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
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The GPU of those who use this shelf.
    pub(super) fn meanwhile(&self) -> &Meanwhile {
        &self.1
    }

    /// The network that lies here, as soon as nobody has it; the first time, or after a failure,
    /// the one that `load` gives, told how to start: as `start` says, or on the CPU where a device
    /// hung. It comes back when what is returned is dropped. `number` becomes the number of this
    /// lending before anything is loaded, for [`Shelf::write_off`].
    ///
    /// # Errors
    /// What `load` says.
    pub fn lend(
        &self,
        start: Start,
        number: &AtomicU64,
        load: impl FnOnce(Start) -> Result<Movable, String>,
    ) -> Result<Lent, String> {
        self.lend_unless(&AtomicBool::new(false), start, number, load)
    }

    /// The same, unless `left` is true or becomes so while it is waited for.
    fn lend_unless(
        &self,
        left: &AtomicBool,
        start: Start,
        number: &AtomicU64,
        load: impl FnOnce(Start) -> Result<Movable, String>,
    ) -> Result<Lent, String> {
        let mut held = self.lock();
        loop {
            if left.load(Ordering::Relaxed) {
                return Err("the clip was left".to_owned());
            }
            if !matches!(held.place, Place::Lent) {
                break;
            }
            held = self.0.1.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        held.lending += 1;
        held.discarded = false;
        number.store(held.lending, Ordering::Relaxed);
        let place = std::mem::replace(&mut held.place, Place::Lent);
        let hung = held.hung;
        let start = if hung { Start::OnCpu } else { start };
        // Also when loading panics, the shelf must not count as lent for ever.
        let mut lent = Lent { inner: None, shelf: self.clone(), number: held.lending, hung };
        drop(held);
        lent.inner = Some(match place {
            Place::Here(segmenter) => segmenter,
            Place::Empty | Place::Lent => load(start)?,
        });
        Ok(lent)
    }

    /// Whether who asks again is lent another network than before, on a better device. Not where a device hung: all further
    /// ones are loaded onto the CPU, and who followed such news would load them for ever.
    pub(super) fn news(&self) -> bool {
        !self.lock().hung && self.1.news()
    }

    /// The network of the lending `number` is not to be used again, also when it comes back later. Of another lending's
    /// network nothing is changed.
    pub fn discard(&self, number: u64) {
        let mut held = self.lock();
        if held.lending == number {
            held.discarded = true;
            if matches!(held.place, Place::Here(_)) {
                held.place = Place::Empty;
            }
        }
    }

    /// The network of the lending `number` hangs and will not come back: who waits for it loads
    /// one of their own, on the CPU. Of another lending's network nothing is changed.
    pub fn write_off(&self, number: u64) {
        let mut held = self.lock();
        if held.lending == number && matches!(held.place, Place::Lent) {
            // Should it come back after all, it is not the newest lending's.
            *held = Held { lending: number + 1, hung: true, ..Held::default() };
            self.0.1.notify_all();
        }
    }
}

/// Makes the segmenter of a clip: the network of a card, from the shelf or loaded.
pub(super) struct FromShelf {
    wanted: Wanted,
    device: String,
    shelf: Shelf,
    /// Of the newest lending.
    number: AtomicU64,
    /// The clip was left.
    left: AtomicBool,
}

impl FromShelf {
    pub(super) fn new(wanted: Wanted, device: String, shelf: Shelf) -> Self {
        Self { wanted, device, shelf, number: AtomicU64::new(0), left: AtomicBool::new(false) }
    }
}

impl Builder for FromShelf {
    fn build(&self, start: Start) -> Result<Box<dyn Segmenter>, String> {
        let Wanted { card, features_mib } = &self.wanted;
        let lent = self.shelf.lend_unless(&self.left, start, &self.number, |start| {
            if start == Start::Asked && self.device == "auto" {
                return self.shelf.meanwhile().load(&self.wanted);
            }
            let device = if start == Start::OnCpu { "cpu" } else { &self.device };
            let mut net = NetSegmenter::load(card.as_deref(), device)?;
            net.set_feature_budget(*features_mib);
            Ok(Box::new(net))
        });
        Ok(Box::new(lent?))
    }

    fn discard(&self) {
        self.shelf.discard(self.number.load(Ordering::Relaxed));
    }

    fn write_off(&self) {
        self.shelf.write_off(self.number.load(Ordering::Relaxed));
    }

    fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
        // Behind the lock: who is about to wait hears it, too.
        let _held = self.shelf.lock();
        self.shelf.0.1.notify_all();
    }

    fn news(&self) -> bool {
        self.shelf.news()
    }

    fn tells(&self, wake: Wake) {
        self.shelf.meanwhile().tells(wake);
    }
}

/// A network at work for one clip; goes back to its shelf when dropped.
pub struct Lent {
    /// Always there but while it is loaded and dropped.
    inner: Option<Movable>,
    shelf: Shelf,
    number: u64,
    /// It was loaded onto the CPU because a device hung.
    hung: bool,
}

impl Lent {
    fn inner(&mut self) -> Result<&mut Movable, SegmentError> {
        self.inner.as_mut().ok_or_else(|| SegmentError::Network("it is gone".into()))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let place = self.inner.take().and_then(cleared).map_or(Place::Empty, Place::Here);
        let mut held = self.shelf.lock();
        if held.lending == self.number {
            held.place = if held.discarded { Place::Empty } else { place };
            self.shelf.0.1.notify_all();
        }
    }
}

/// The segmenter without the features of the clip that is left, which would only take room. None where its device is lost
/// and panics at that: who waits for the shelf must not wait for ever.
fn cleared(mut segmenter: Movable) -> Option<Movable> {
    if caught(|| segmenter.open_clip(1)).is_ok() {
        return Some(segmenter);
    }
    let _ = caught(|| drop(segmenter));
    None
}

impl Segmenter for Lent {
    fn info(&self) -> SegmenterInfo {
        let none = || SegmenterInfo { model: String::new(), device: String::new(), bridged: false };
        let info = self.inner.as_ref().map_or_else(none, |inner| inner.info());
        if self.hung { because(info, Trouble::Hung) } else { info }
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

    fn turn_to(&mut self, walk: WalkId) {
        if let Ok(inner) = self.inner() {
            inner.turn_to(walk);
        }
    }

    fn end_walk(&mut self, walk: WalkId) {
        if let Ok(inner) = self.inner() {
            inner.end_walk(walk);
        }
    }

    fn begin_walk(&mut self, windowed: bool) {
        if let Ok(inner) = self.inner() {
            inner.begin_walk(windowed);
        }
    }

    fn anchor(&mut self, image: Image<'_>, anchor: &Anchor) -> Result<Decided, SegmentError> {
        self.inner()?.anchor(image, anchor)
    }

    fn follow(
        &mut self,
        image: Image<'_>,
        direction: Direction,
        next: Option<Image<'_>>,
    ) -> Result<Decided, SegmentError> {
        self.inner()?.follow(image, direction, next)
    }

    fn encode_ahead(&mut self, image: Image<'_>) -> Result<(), SegmentError> {
        self.inner()?.encode_ahead(image)
    }

    fn has_room(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.has_room())
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

    /// The one whose device is lost.
    const LOST: usize = 13;

    impl Segmenter for Numbered {
        fn info(&self) -> SegmenterInfo {
            let model = format!("number {} for {}", self.0, self.1);
            SegmenterInfo { model, device: "CPU".into(), bridged: false }
        }

        fn open_clip(&mut self, frames: usize) {
            assert!(self.0 != LOST, "the device was lost");
            self.1 = frames;
        }

        fn refresh(&mut self, _: Image<'_>, _: &FramePrompts) -> Result<Decided, SegmentError> {
            Err(SegmentError::NothingToFollow(0))
        }

        fn turn_to(&mut self, _: WalkId) {}

        fn end_walk(&mut self, _: WalkId) {}

        fn begin_walk(&mut self, _: bool) {}

        fn anchor(&mut self, _: Image<'_>, _: &Anchor) -> Result<Decided, SegmentError> {
            Err(SegmentError::NothingToFollow(0))
        }

        fn follow(
            &mut self,
            _: Image<'_>,
            _: Direction,
            _: Option<Image<'_>>,
        ) -> Result<Decided, SegmentError> {
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
            shelf.lend(Start::Asked, &AtomicU64::new(0), |_| Ok(Box::new(Numbered(number, 0))))
        };
        let mut first = lend(&shelf, &loads).expect("loads");
        first.open_clip(700);
        let (other, count) = (shelf.clone(), Arc::clone(&loads));
        let next = thread::spawn(move || {
            let lent = other.lend(Start::Asked, &AtomicU64::new(0), |_| {
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
    }

    #[test]
    fn a_discarded_network_goes_to_nobody_and_another_one_to_who_builds_again() {
        let shelf = Shelf::default();
        let lay = |number: usize| {
            let lent =
                shelf.lend(Start::Asked, &AtomicU64::new(0), |_| Ok(Box::new(Numbered(number, 0))));
            drop(lent.expect("loads"));
        };
        lay(1);
        let wanted = Wanted { card: None, features_mib: 64 };
        let builder = FromShelf::new(wanted, "cpu".into(), shelf.clone());
        let build = || builder.build(Start::Asked).expect("a network");
        // Other frames of the same clip: the same network.
        for _ in 0..2 {
            assert_eq!(build().info().model, "number 1 for 1");
        }
        // It failed at work; who waits for it does not get it.
        let failed = build();
        let other = shelf.clone();
        let next = thread::spawn(move || {
            let lent =
                other.lend(Start::Asked, &AtomicU64::new(0), |_| Ok(Box::new(Numbered(2, 0))));
            lent.expect("loads").info().model
        });
        thread::sleep(Duration::from_millis(30));
        builder.discard();
        drop(failed);
        assert_eq!(next.join().expect("ends"), "number 2 for 0");
        // What is somebody else's by now is not discarded.
        builder.discard();
        assert_eq!(build().info().model, "number 2 for 1");
        builder.discard();
        assert!(!build().info().model.starts_with("number"), "it lay there already");
    }

    #[test]
    fn who_is_left_waits_no_longer_for_a_network_that_another_clip_keeps() {
        let shelf = Shelf::default();
        let kept = shelf.lend(Start::Asked, &AtomicU64::new(0), |_| Ok(Box::new(Numbered(1, 0))));
        let kept = kept.expect("loads");
        let wanted = Wanted { card: None, features_mib: 64 };
        let builder = Arc::new(FromShelf::new(wanted, "cpu".into(), shelf.clone()));
        let waits = Arc::clone(&builder);
        let waiting = thread::spawn(move || waits.build(Start::Asked).err());
        thread::sleep(Duration::from_millis(30));
        assert!(!waiting.is_finished(), "it waits");
        builder.leave();
        for _ in 0..2000 {
            if waiting.is_finished() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        assert!(waiting.is_finished(), "it holds its frames until then");
        assert_eq!(waiting.join().expect("ends").as_deref(), Some("the clip was left"));
        drop(kept);
    }

    #[test]
    fn a_network_that_does_not_load_leaves_the_shelf_free() {
        let shelf = Shelf::default();
        let number = AtomicU64::new(0);
        let lent = shelf.lend(Start::Asked, &number, |_| Err("no weights".into()));
        assert_eq!(lent.err().as_deref(), Some("no weights"));
        assert!(shelf.lend(Start::Asked, &number, |_| Ok(Box::new(Numbered(1, 0)))).is_ok());
    }

    #[test]
    fn a_network_whose_device_panics_when_it_comes_back_leaves_the_shelf_free() {
        let (shelf, number) = (Shelf::default(), AtomicU64::new(0));
        let lost = shelf.lend(Start::Asked, &number, |_| Ok(Box::new(Numbered(LOST, 0))));
        drop(lost.expect("loads"));
        let next = shelf.lend(Start::Asked, &number, |_| Ok(Box::new(Numbered(2, 0))));
        assert_eq!(next.expect("loads").info().model, "number 2 for 0");
    }

    #[test]
    fn who_waits_for_a_network_that_hangs_gets_one_on_the_cpu() {
        let (shelf, number) = (Shelf::default(), AtomicU64::new(0));
        let hung = shelf.lend(Start::Asked, &number, |_| Ok(Box::new(Numbered(1, 0))));
        let hung = hung.expect("loads");
        let other = shelf.clone();
        let next = thread::spawn(move || {
            let lent = other.lend(Start::Asked, &AtomicU64::new(0), |start| {
                assert_eq!(start, Start::OnCpu);
                Ok(Box::new(Numbered(2, 0)))
            });
            lent.expect("loads").info()
        });
        thread::sleep(Duration::from_millis(30));
        shelf.write_off(number.load(Ordering::Relaxed) + 1);
        thread::sleep(Duration::from_millis(10));
        assert!(!next.is_finished(), "another lending is another's business");
        shelf.write_off(number.load(Ordering::Relaxed));
        let info = next.join().expect("ends");
        assert_eq!(
            (&*info.model, &*info.device),
            ("number 2 for 0", "CPU: the device did not answer")
        );
        drop(hung);
        let after = shelf.lend(Start::Asked, &number, |_| Err("it is there".into()));
        assert_eq!(
            after.expect("lies there").info().model,
            "number 2 for 1",
            "the hung one is gone"
        );
    }

    #[test]
    fn where_a_device_hung_what_becomes_of_the_gpu_is_no_news() {
        let (shelf, number) = (Shelf::default(), AtomicU64::new(0));
        let hung = shelf.lend(Start::Asked, &number, |_| Ok(Box::new(Numbered(1, 0))));
        let hung = hung.expect("loads");
        shelf.meanwhile().found(Err("it failed".into()));
        assert!(shelf.news());
        shelf.write_off(number.load(Ordering::Relaxed));
        assert!(!shelf.news());
        drop(hung);
    }
}
