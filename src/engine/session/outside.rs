//! What lies outside the ultrasound of a clip, as its file says or as it is found in the pixels:
//! shown for confirmation, black once a person said so.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::codec::{Clip, OpenOptions};
use crate::domain::{OutsideChoice, Region};
use crate::engine::frames::Reader;
use crate::engine::{Event, Frames, Limits, Session, SessionError, Surround, Worker};
use crate::project::load_read_only;

use super::files::not_exported;
use super::outbox;

/// The clip as it was decided to be shown, where the options leave that to the project.
pub(super) fn applied(
    clip: Clip,
    options: &OpenOptions,
    choice: Option<OutsideChoice>,
) -> (Clip, Surround) {
    if !options.ask || !clip.may_be_asked() {
        return (clip, Surround::Given);
    }
    let surround = match choice {
        None => Surround::Open,
        Some(OutsideChoice::Show) => Surround::Shown,
        Some(OutsideChoice::HideAllBut(region)) => Surround::Black(region),
    };
    (clip.as_decided(options, choice), surround)
}

/// The clip as somebody decided in the project that it is to be shown; for commands without a
/// screen.
#[must_use]
pub fn decided(clip: Clip, options: &OpenOptions, project_root: &Path) -> Clip {
    let choice = || load_read_only(project_root, &clip.info().content_hash).ok()?.outside;
    let choice = if options.ask { choice() } else { None };
    clip.as_decided(options, choice)
}

impl<M: From<Event> + Send + 'static> Session<M> {
    /// Looks for the ultrasound region, in the file or in the pixels; the answer is [`Event::RegionFound`].
    pub fn find_region(&self) {
        let (clip, closing) = (Arc::clone(&self.clip), Arc::clone(&self.closing));
        let outbox = outbox(&self.events);
        self.aside(not_exported, move || {
            let named = !clip.privacy().regions.is_empty();
            let region = clip.region_to_confirm(&|| closing.load(Ordering::Relaxed));
            outbox(Event::RegionFound { region, named });
        });
    }

    /// Makes everything outside `region` black, or shows everything again: for the screen, the
    /// network and exports. What runs is stopped after the frame in hand. This waits for the frame that is being decoded:
    /// [`Event::OutsideChanged`] comes after the last frame of before.
    ///
    /// # Errors
    /// When the system gives no thread: then the clip has to be opened again.
    pub fn set_outside(&mut self, region: Option<Region>) -> Result<(), SessionError> {
        let clip = Arc::new(self.clip.with_outside(region));
        let frames = Arc::new(Frames::of(&clip));
        // A strip in the making is of the old pixels.
        self.strip.store(0, Ordering::Relaxed);
        let reader = Reader::spawn(Arc::clone(&frames), outbox(&self.events));
        // The old one ends here, and its last frame is on its way.
        self.reader = reader.map_err(SessionError::Thread)?;
        self.clip = clip;
        let (builder, outbox) = (Arc::clone(&self.builder), outbox(&self.events));
        let worker = Worker::spawn(builder, frames, outbox, Limits::default());
        let old = std::mem::replace(&mut self.worker, worker.map_err(SessionError::Thread)?);
        // The frame in hand may take seconds: what is still said of it answers nobody's question.
        old.leave();
        self.aside(not_exported, move || drop(old));
        self.tell(Event::OutsideChanged { region });
        Ok(())
    }
}
