//! One open clip: its frames, its journal, its network thread.

mod files;
mod known;
mod outside;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::codec;
use crate::domain::{ClipInfo, Codes, FrameIndex, FramePrompts, Step, TrackId};
use crate::export::Rgb;
use crate::project::{
    ClipStore, Conflict, Loaded, News, Others, ProjectError, Syncer, View, load_read_only, now_ms,
};

use super::frames::Reader;
use super::meanwhile::Wanted;
use super::shelf::FromShelf;
use super::{
    Builder, Event, Frames, Limits, Opened, Outbox, Plan, Segmenter, SegmenterSource, SessionError,
    Start, Ticket, Worker,
};

pub use files::{
    export_clip, export_formats, export_name, format_named, import_format_named, key_for,
};
pub use known::open_known;
pub use outside::decided;

/// Steps of one moment share an `fdatasync`; together with it this stays below 250 ms.
const BATCH: Duration = Duration::from_millis(100);
/// How often other sessions' journals are looked at.
const LOOK_AROUND: Duration = Duration::from_secs(1);

/// A clip opened for a screen or a script. Its events go to the inbox as `M`.
pub struct Session<M> {
    clip: Arc<codec::Clip>,
    project_root: PathBuf,
    store: Result<Arc<Mutex<ClipStore>>, String>,
    /// Conflicts among the notes that have not stood on a screen.
    untold: Vec<Conflict>,
    keeper: Option<Keeper>,
    worker: Worker,
    reader: Reader,
    builder: Arc<dyn Builder>,
    exports: Mutex<Vec<JoinHandle<()>>>,
    /// Number of the M-mode strip that is wanted; 0: none.
    strip: Arc<AtomicU64>,
    /// Codes of labels, for exports.
    codes: Codes,
    colours: [Option<Rgb>; 8],
    /// The clip is being closed: nobody waits any more for what is looked for in it.
    closing: Arc<AtomicBool>,
    events: Sender<M>,
}

impl<M: From<Event> + Send + 'static> Session<M> {
    /// Opens a clip of a project: reads its header, its first frame and its journals. The network
    /// is loaded in the background. A project that cannot be written is opened for viewing, with
    /// a note.
    ///
    /// # Errors
    /// When the clip or the project cannot be read.
    pub fn open(
        path: &Path,
        project_root: &Path,
        segmenter: SegmenterSource,
        events: Sender<M>,
    ) -> Result<(Self, Opened), SessionError> {
        Self::open_with(path, &codec::OpenOptions::default(), project_root, segmenter, events)
    }

    /// The same with options for the clip.
    ///
    /// # Errors
    /// When the clip or the project cannot be read.
    pub fn open_with(
        path: &Path,
        options: &codec::OpenOptions,
        project_root: &Path,
        segmenter: SegmenterSource,
        events: Sender<M>,
    ) -> Result<(Self, Opened), SessionError> {
        let clip = open_known(path, options, project_root)
            .map_err(|error| SessionError::Clip(error.to_string()))?;
        let (store, mut loaded) = open_store(project_root, clip.info())?;
        let (clip, surround) = outside::applied(clip, options, loaded.outside);
        let clip = Arc::new(clip);
        loaded.notes.extend(clip.privacy().badge().map(str::to_owned));
        loaded.notes.extend(clip.notes().iter().cloned());
        let frames = Arc::new(Frames::of(&clip));
        let reader = Reader::spawn(Arc::clone(&frames), outbox(&events));
        let builder = builder(segmenter);
        let worker =
            Worker::spawn(Arc::clone(&builder), frames, outbox(&events), Limits::default());
        let opened = Opened {
            info: clip.info().clone(),
            part: clip.part(options.cut),
            annotation: loaded.annotation,
            origins: loaded.origins,
            history: loaded.history,
            view: loaded.view,
            surround,
            private: clip.privacy().badge().is_some(),
            notes: loaded.notes,
            session_seed: loaded.session_seed,
        };
        let keeper = match &store {
            Ok(store) => {
                let keeper = Keeper::spawn(Arc::clone(store), outbox(&events));
                Some(keeper.map_err(SessionError::Thread)?)
            }
            Err(_) => None,
        };
        let session = Self {
            clip,
            project_root: project_root.to_owned(),
            store,
            untold: loaded.conflicts,
            keeper,
            worker: worker.map_err(SessionError::Thread)?,
            reader: reader.map_err(SessionError::Thread)?,
            builder,
            exports: Mutex::default(),
            strip: Arc::default(),
            codes: Codes::new(),
            colours: [None; 8],
            closing: Arc::default(),
            events,
        };
        Ok((session, opened))
    }

    /// Asks for the pixels of a frame; only the newest wish is sure of an answer.
    pub fn want_frame(&self, frame: FrameIndex) {
        self.reader.want(frame);
    }

    /// Journals a step that was applied; returns after the `write`. [`Event::Saved`] tells when
    /// it is durable.
    ///
    /// # Errors
    /// When the step is not in the journal and never will be: do not keep it. A full disk is no
    /// such error: the step waits in memory and [`Event::SaveFailed`] tells so.
    pub fn journal(&mut self, step: &Step) -> Result<(), SessionError> {
        self.append(|store, now_ms| store.append(step, now_ms))
    }

    /// What other sessions did to the clip since the last call, to be applied before any further own
    /// step ([`ClipStore::take_others`]).
    #[must_use]
    pub fn take_others(&self) -> Others {
        self.store.as_ref().map_or_else(|_| Others::default(), |store| lock(store).take_others())
    }

    /// Says that `note` stands on a screen. What two people decided at the same time is told to each of them until it did,
    /// and not any more.
    pub fn note_seen(&mut self, note: &str) {
        let Ok(store) = &self.store else { return };
        if self.untold.iter().any(|conflict| conflict.note == note) {
            let all = std::mem::take(&mut self.untold).into_iter();
            let (seen, left): (Vec<_>, Vec<_>) = all.partition(|conflict| conflict.note == note);
            self.untold = left;
            lock(store).told(seen.iter().map(|conflict| conflict.id));
        }
    }

    /// Journals where the person is; a failure costs nothing but the place.
    pub fn journal_view(&mut self, view: &View) {
        let _ = self.append(|store, now_ms| store.append_view(view, now_ms));
    }

    fn append(
        &self,
        put: impl FnOnce(&mut ClipStore, u64) -> Result<(), ProjectError>,
    ) -> Result<(), SessionError> {
        let store = self.store.as_ref().map_err(|why| SessionError::Project(why.clone()))?;
        let mut store = lock(store);
        let put = put(&mut store, now_ms());
        let unsynced = store.unsynced();
        drop(store);
        if let Some(keeper) = &self.keeper {
            keeper.wake();
        }
        match put {
            Ok(()) => self.tell(Event::Saved { unsynced }),
            Err(error) if error.step_is_kept() => {
                self.tell(Event::SaveFailed { why: error.to_string() });
            }
            Err(error) => return Err(SessionError::Project(error.to_string())),
        }
        Ok(())
    }

    /// Makes every step durable before it returns.
    ///
    /// # Errors
    /// When the disk refuses some: they wait in memory. A session that only looks has none.
    pub fn sync(&self) -> Result<(), SessionError> {
        let Ok(store) = &self.store else { return Ok(()) };
        lock(store).sync().map_err(|error| SessionError::Project(error.to_string()))
    }

    /// Asks for the mask of a frame from its own prompts; served before and inside propagations.
    pub fn refresh(&self, ticket: Ticket, frame: FrameIndex, prompts: FramePrompts) {
        self.worker.refresh(ticket, frame, prompts);
    }

    /// Queues a propagation; an older one of the same track ends.
    pub fn propagate(&self, ticket: Ticket, plan: Plan) {
        self.worker.propagate(ticket, plan);
    }

    /// The same before anybody asked for it: it yields to everything else.
    pub fn propagate_ahead(&self, ticket: Ticket, plan: Plan) {
        self.worker.propagate_ahead(ticket, plan);
    }

    /// Ends the propagations of a track, or all of them, after the frame in hand.
    pub fn cancel(&self, track: Option<TrackId>) {
        self.worker.cancel(track);
    }

    /// Computes the features of a frame and of its neighbours while there is nothing else to do, then of the frames
    /// between two anchors while there is room.
    pub fn encode_ahead(&self, frame: FrameIndex, between: Option<(FrameIndex, FrameIndex)>) {
        self.worker.encode_ahead(frame, between);
    }

    /// What is known of the clip.
    #[must_use]
    pub fn info(&self) -> &ClipInfo {
        self.clip.info()
    }

    /// Makes everything durable and stops the threads. A running propagation ends after the frame
    /// in hand; a running export is finished.
    pub fn close(self) {
        drop(self);
    }

    fn tell(&self, event: Event) {
        // The inbox is gone only when the program is ending.
        let _ = self.events.send(M::from(event));
    }
}

impl<M> Session<M> {
    /// Makes everything durable; from then on the clip is nobody's, and who opens it goes on where this session was. What
    /// runs ends after the frame in hand. Exports go on: dropping waits for them.
    pub fn leave(&mut self) {
        // The next clip waits for the network, not for the exports of this one.
        self.worker.leave();
        self.builder.leave();
        self.strip.store(0, Ordering::Relaxed);
        self.closing.store(true, Ordering::Relaxed);
        // The keeper syncs once more before it ends.
        self.keeper = None;
        self.store = Err("the clip was left".to_owned());
    }
}

impl<M> Drop for Session<M> {
    fn drop(&mut self) {
        self.leave();
        let exports = self.exports.get_mut().unwrap_or_else(PoisonError::into_inner);
        for export in exports.drain(..) {
            let _ = export.join();
        }
    }
}

fn outbox<M: From<Event> + Send + 'static>(events: &Sender<M>) -> Outbox {
    let events = events.clone();
    Box::new(move |event| {
        let _ = events.send(M::from(event));
    })
}

fn builder(source: SegmenterSource) -> Arc<dyn Builder> {
    match source {
        SegmenterSource::Net { card, device, features_mib, shelf } => {
            Arc::new(FromShelf::new(Wanted { card, features_mib }, device, shelf))
        }
        SegmenterSource::Scripted(double) => {
            let double = Mutex::new(Some(double));
            Arc::new(move |_: Start| {
                match double.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    Some(double) => Ok(double as Box<dyn Segmenter>),
                    None => Err("the script has ended".into()),
                }
            })
        }
        SegmenterSource::None => {
            Arc::new(
                |_: Start| Err("no network was asked for; points and windows go on".to_owned()),
            )
        }
    }
}

/// The project's store of the clip, or the reason why it can only be viewed.
type Store = Result<Arc<Mutex<ClipStore>>, String>;

fn open_store(root: &Path, info: &ClipInfo) -> Result<(Store, Loaded), SessionError> {
    match ClipStore::open(root, info, now_ms()) {
        Ok((store, mut loaded)) => {
            let also = loaded.others.iter().map(|who| format!("also open: {who}"));
            loaded.notes.extend(also);
            Ok((Ok(Arc::new(Mutex::new(store))), loaded))
        }
        Err(error @ (ProjectError::ReadOnly { .. } | ProjectError::Newer { .. })) => {
            let mut loaded = match load_read_only(root, &info.content_hash) {
                Err(ProjectError::NoSuchClip { .. }) => Loaded::default(),
                loaded => loaded.map_err(|error| SessionError::Project(error.to_string()))?,
            };
            loaded.notes.insert(0, error.to_string());
            Ok((Err(error.to_string()), loaded))
        }
        Err(error) => Err(SessionError::Project(error.to_string())),
    }
}

fn lock(store: &Mutex<ClipStore>) -> MutexGuard<'_, ClipStore> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread that makes steps durable and looks at what other sessions wrote.
struct Keeper {
    wake: Option<Sender<()>>,
    waiting: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    fn spawn(store: Arc<Mutex<ClipStore>>, outbox: Outbox) -> std::io::Result<Self> {
        let (wake, woken) = channel();
        let waiting = Arc::<AtomicBool>::default();
        let inner = Arc::clone(&waiting);
        let thread = thread::Builder::new()
            .name("sonomark-journal".into())
            .spawn(move || keep(&store, &woken, &inner, &outbox))?;
        Ok(Self { wake: Some(wake), waiting, thread: Some(thread) })
    }

    /// Something was written: make it durable soon.
    fn wake(&self) {
        if !self.waiting.swap(true, Ordering::AcqRel)
            && let Some(wake) = &self.wake
        {
            let _ = wake.send(());
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn keep(store: &Mutex<ClipStore>, woken: &Receiver<()>, waiting: &AtomicBool, outbox: &Outbox) {
    let syncer = lock(store).syncer();
    let (mut looked, mut synced) = (Instant::now(), Instant::now());
    let mut look: Option<Receiver<News>> = None;
    let mut refused = false;
    loop {
        let pause = match look {
            Some(_) => BATCH,
            None => LOOK_AROUND.saturating_sub(looked.elapsed()),
        };
        let (due, ended) = match woken.recv_timeout(pause) {
            Ok(()) => {
                thread::sleep(BATCH);
                (true, false)
            }
            // What was refused is tried again, but not in every short turn.
            Err(RecvTimeoutError::Timeout) => (synced.elapsed() >= LOOK_AROUND, false),
            Err(RecvTimeoutError::Disconnected) => (true, true),
        };
        if due {
            synced = Instant::now();
            waiting.store(false, Ordering::Release);
            if syncer.unsynced() > 0 || refused {
                refused = !make_durable(store, &syncer, refused, outbox);
            }
        }
        if ended {
            return;
        }
        let read = look.as_ref().map(Receiver::try_recv);
        match read {
            Some(Err(TryRecvError::Empty)) => {}
            Some(came) => {
                (look, looked) = (None, Instant::now());
                if let Ok(news) = came {
                    take_in(store, news, outbox);
                }
            }
            None if looked.elapsed() >= LOOK_AROUND => {
                (look, looked) = (look_around(store), Instant::now());
            }
            None => {}
        }
    }
}

/// Begins to read what other sessions wrote, on a thread of its own: a slow drive holds up neither the keys nor the moment
/// at which own steps are durable, and who leaves the clip does not wait for it.
fn look_around(store: &Mutex<ClipStore>) -> Option<Receiver<News>> {
    let look = lock(store).look();
    let (sender, news) = channel();
    let read = move || {
        // Nobody waits any more where the clip was left meanwhile.
        let _ = sender.send(look.read());
    };
    thread::Builder::new().name("sonomark-look".into()).spawn(read).ok()?;
    Some(news)
}

fn take_in(store: &Mutex<ClipStore>, news: News, outbox: &Outbox) {
    let mut held = lock(store);
    let (others, notes) = (held.take_in(news), held.take_notes());
    drop(held);
    if others {
        outbox(Event::OthersWrote);
    }
    if !notes.is_empty() {
        outbox(Event::JournalNotes { notes });
    }
}

/// True when everything is durable. The usual sync does not hold up the keys; after a refusal, and where lines are in
/// memory alone, the store itself writes everything again.
fn make_durable(store: &Mutex<ClipStore>, syncer: &Syncer, refused: bool, outbox: &Outbox) -> bool {
    let usual = !refused && syncer.sync().is_ok() && syncer.unwritten() == 0;
    let synced = if usual { Ok(()) } else { lock(store).sync() };
    match synced {
        Ok(()) => {
            outbox(Event::Saved { unsynced: syncer.unsynced() });
            true
        }
        Err(error) => {
            outbox(Event::SaveFailed { why: error.to_string() });
            false
        }
    }
}
