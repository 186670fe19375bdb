//! Clips on their way to the screen. Reading one takes as long as its file is large and its disk slow, so a thread does
//! that; the loop goes on and hears of it by its inbox.
//!
//! What decides whether this file is right: one clip is read at a time, unless a reading hangs; who was given up is not
//! heard again and holds up nobody; and no word of a clip is lost between its opening and its place on the screen.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::domain::Cut;
use crate::engine::{Opened, Session, SessionError};
use crate::tui::model::Msg;

/// Opens a clip, of a volume this part; its events go to the sender. May take long: it is called on threads.
pub type OpenClip = Arc<
    dyn Fn(&Path, Cut, Sender<Msg>) -> Result<(Session<Msg>, Opened), SessionError> + Send + Sync,
>;

/// A reading that was given up is waited for no longer than this: it may hang.
const PATIENCE: Duration = Duration::from_secs(5);

/// A clip that is open and not yet on the screen.
pub(super) struct Arrived {
    pub(super) session: Session<Msg>,
    pub(super) opened: Opened,
    /// What it tells, from the beginning.
    pub(super) events: Receiver<Msg>,
}

/// Opens a clip here and now.
///
/// # Errors
/// Why it does not open.
pub(super) fn read(open: &OpenClip, path: &Path, cut: Cut) -> Result<Arrived, SessionError> {
    let (sender, events) = channel();
    let (session, opened) = open(path, cut, sender)?;
    Ok(Arrived { session, opened, events })
}

/// From now on the messages of a clip reach `inbox` with its number: what an old clip still has to say must never be taken
/// for the new one's.
pub(super) fn listen(number: u64, events: Receiver<Msg>, inbox: Sender<Msg>) {
    let forward = move || {
        for message in events {
            if inbox.send(Msg::OfClip(number, Box::new(message))).is_err() {
                return;
            }
        }
    };
    // Without the thread the clip is silent: pictures stay away, and the session tells nothing
    // wrong.
    let _ = thread::Builder::new().name("clip-events".to_owned()).spawn(forward);
}

/// Closes a clip that was left where nobody waits for it. `journal` is dropped as soon as the clip is nobody's, which may
/// be long before its exports are finished. `None` where the system gives no thread: it is closed here.
pub(super) fn close(mut session: Session<Msg>, journal: Sender<()>) -> Option<JoinHandle<()>> {
    let close = move || {
        session.leave();
        drop(journal);
        session.close();
    };
    thread::Builder::new().name("clip-closes".to_owned()).spawn(close).ok()
}

/// Who opens clips for the loop.
pub(super) struct Opener {
    open: OpenClip,
    inbox: Sender<Msg>,
    /// Number of the newest clip; the one opened at the start has 0.
    newest: u64,
    coming: Option<Coming>,
    /// Closed when the newest thread reads no more.
    reading: Option<Receiver<()>>,
    /// Clips that were left; each is closed when the journal of its clip is.
    leaving: HashMap<PathBuf, Receiver<()>>,
}

/// The clip that is being opened.
struct Coming {
    number: u64,
    at: usize,
    answer: Receiver<Result<Arrived, SessionError>>,
    given_up: Arc<AtomicBool>,
}

impl Opener {
    pub(super) fn new(open: OpenClip, inbox: Sender<Msg>) -> Self {
        Self { open, inbox, newest: 0, coming: None, reading: None, leaving: HashMap::new() }
    }

    /// The clip at `path` was left. Who opens it again waits until `journal` is closed: else its place and what can be
    /// taken back would still be another's.
    pub(super) fn leaves(&mut self, path: PathBuf, journal: Receiver<()>) {
        self.leaving.retain(|_, journal| journal.try_recv() == Err(TryRecvError::Empty));
        self.leaving.insert(path, journal);
    }

    /// Begins to open the clip at `at` of the queue in the place of another one on its way;
    /// [`Msg::OpenAnswered`] tells when there is an [`Opener::answer`].
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn begin(&mut self, at: usize, path: PathBuf, cut: Cut) -> Result<(), SessionError> {
        self.give_up();
        self.newest += 1;
        let number = self.newest;
        let (tell, answer) = channel();
        let (reads, reading) = channel::<()>();
        let before = self.reading.replace(reading);
        let journal = self.leaving.remove(&path);
        let given_up = Arc::<AtomicBool>::default();
        let unwanted = Arc::clone(&given_up);
        let (open, inbox) = (Arc::clone(&self.open), self.inbox.clone());
        let work = move || {
            // Two at a time would take twice the memory, and each other's disk.
            for over in [before, journal].into_iter().flatten() {
                let _ = over.recv_timeout(PATIENCE);
            }
            if unwanted.load(Ordering::Relaxed) {
                return;
            }
            let read = catch_unwind(AssertUnwindSafe(|| read(&open, &path, cut)));
            let answer = read.unwrap_or_else(|_| {
                let why = "its reader gave up on the content; check it with another program";
                Err(SessionError::Clip(why.to_owned()))
            });
            drop(reads);
            // Where nobody waits any more, it is closed here.
            if !unwanted.load(Ordering::Relaxed) && tell.send(answer).is_ok() {
                let _ = inbox.send(Msg::OpenAnswered(number));
            }
        };
        let thread = thread::Builder::new().name("clip-opens".to_owned()).spawn(work);
        thread.map_err(SessionError::Thread)?;
        self.coming = Some(Coming { number, at, answer, given_up });
        Ok(())
    }

    /// The clip of this number, or why it does not open, with its place in the queue; `None` where it was given up.
    pub(super) fn answer(&mut self, number: u64) -> Option<(usize, Result<Arrived, SessionError>)> {
        let coming = self.coming.take_if(|coming| coming.number == number)?;
        // It was sent before the message that told so.
        Some((coming.at, coming.answer.try_recv().ok()?))
    }

    /// The clip that is being opened is not wanted any more.
    pub(super) fn give_up(&mut self) {
        if let Some(coming) = self.coming.take() {
            coming.given_up.store(true, Ordering::Relaxed);
            // It may have come already, and closing it takes a moment. Without a thread it is closed here.
            let close = move || drop(coming);
            let _ = thread::Builder::new().name("clip-closes".to_owned()).spawn(close);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With readers that tell what they are given, wait to go on, and find no clip.
    fn opener() -> (Opener, Receiver<Msg>, Receiver<PathBuf>, Sender<()>) {
        let (inbox, messages) = channel();
        let (tells, begun) = channel();
        let (go, waits) = channel::<()>();
        let (tells, waits) = (std::sync::Mutex::new(tells), std::sync::Mutex::new(waits));
        let open: OpenClip = Arc::new(move |path: &Path, _, _| {
            let _ = tells.lock().expect("whole").send(path.to_owned());
            let _ = waits.lock().expect("whole").recv();
            assert!(!path.ends_with("panics"), "no reader should");
            Err(SessionError::Clip(format!("{} is no clip", path.display())))
        });
        (Opener::new(open, inbox), messages, begun, go)
    }

    const LONG: Duration = Duration::from_secs(60);

    fn answered(messages: &Receiver<Msg>) -> u64 {
        match messages.recv_timeout(LONG) {
            Ok(Msg::OpenAnswered(number)) => number,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_the_newest_clip_is_heard_of_and_those_between_are_not_read() {
        let (mut opener, messages, begun, go) = opener();
        for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
            opener.begin(at, name.into(), Cut::default()).expect("a thread");
            if at == 0 {
                assert_eq!(begun.recv_timeout(LONG).expect("it is read"), Path::new("a"));
            }
        }
        go.send(()).expect("it waits");
        assert_eq!(begun.recv_timeout(LONG).expect("read when a is"), Path::new("c"));
        go.send(()).expect("it waits");
        let number = answered(&messages);
        assert!(opener.answer(number - 1).is_none(), "given up");
        let (at, answer) = opener.answer(number).expect("it came");
        assert_eq!((at, answer.err().map(|why| why.to_string())), (2, Some("c is no clip".into())));
        assert!(opener.answer(number).is_none() && messages.try_recv().is_err());
    }

    #[test]
    fn a_clip_that_was_just_left_is_read_when_its_journal_is_closed() {
        let (mut opener, messages, begun, go) = opener();
        let (journal, closes) = channel();
        opener.leaves("left".into(), closes);
        opener.begin(1, "other".into(), Cut::default()).expect("a thread");
        assert_eq!(begun.recv_timeout(LONG).expect("others do not wait"), Path::new("other"));
        go.send(()).expect("it waits");
        answered(&messages);
        opener.begin(0, "left".into(), Cut::default()).expect("a thread");
        assert!(begun.recv_timeout(Duration::from_millis(50)).is_err(), "it is another's still");
        drop(journal);
        assert_eq!(begun.recv_timeout(LONG).expect("read now"), Path::new("left"));
        drop(go);
    }

    #[test]
    fn a_reader_that_panics_is_an_answer_and_one_given_up_is_none() {
        let (mut opener, messages, begun, go) = opener();
        opener.begin(0, "panics".into(), Cut::default()).expect("a thread");
        go.send(()).expect("it waits");
        let number = answered(&messages);
        let why = opener.answer(number).and_then(|(_, answer)| answer.err()).expect("a reason");
        assert!(why.to_string().contains("gave up on the content"), "{why}");

        opener.begin(1, "late".into(), Cut::default()).expect("a thread");
        assert_eq!(begun.recv_timeout(LONG).expect("panics"), Path::new("panics"));
        assert_eq!(begun.recv_timeout(LONG).expect("late"), Path::new("late"));
        opener.give_up();
        drop(go);
        opener.begin(2, "next".into(), Cut::default()).expect("a thread");
        assert_eq!(begun.recv_timeout(LONG).expect("next"), Path::new("next"));
        let number = answered(&messages);
        assert_eq!(opener.answer(number).map(|(at, _)| at), Some(2));
        assert!(messages.try_recv().is_err());
    }
}
