//! Which masks are older than their points: the same in the session that runs, in one that follows it, and after reopening.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sonomark::domain::{Annotation, Edit, FrameIndex, MaskOrigins, TrackId};
use sonomark::engine::{Event, Opened, Ticket};
use sonomark::project::{ClipStore, Loaded, Others, load_read_only};
use sonomark::tui::keymap::Keymap;
use sonomark::tui::marks::Marks;
use sonomark::tui::model::{Effect, Model, Msg};
use sonomark::tui::update;

use crate::project::as_user;
use crate::update::{decided, model_of, opened, press};

const FRAMES: usize = 12;

/// Somebody who works on the clip, at a screen with a journal.
struct Seat {
    user: &'static str,
    model: Model,
    store: ClipStore,
    /// What the last propagation of each structure has still to decide.
    coming: BTreeMap<TrackId, (Ticket, Vec<FrameIndex>)>,
}

impl Seat {
    fn new(root: &Path, user: &'static str) -> Self {
        let info = opened(FRAMES).info;
        let (store, loaded) = ClipStore::open_with(root, &info, 0, &as_user(user)).unwrap();
        let Loaded { annotation, origins, history, session_seed, .. } = loaded;
        let opened = Opened { annotation, origins, history, session_seed, ..opened(FRAMES) };
        let model = model_of(opened, Keymap::shipped());
        Self { user, model, store, coming: BTreeMap::new() }
    }

    fn tell(&mut self, msg: Msg) {
        for effect in update(&mut self.model, msg) {
            match effect {
                Effect::Journal(step) => self.store.append(&step, 0).unwrap(),
                Effect::Propagate(ticket, plan) => {
                    self.coming.insert(ticket.track, (ticket, plan.frames().collect()));
                }
                _ => {}
            }
        }
    }

    fn press(&mut self, keys: &str) {
        for key in keys.split(' ') {
            self.tell(Msg::Key(key.parse().unwrap()));
        }
    }

    fn go(&mut self, line: String) {
        self.tell(Msg::Line(line));
    }

    /// The answer to the oldest question about a frame.
    fn refreshed(&mut self, column: u32) {
        if let Some(asked) = self.model.jobs.asked.first().copied() {
            let (ticket, frame, decided) = (asked.ticket, asked.frame, decided(column));
            self.tell(Msg::Engine(Event::Refreshed { ticket, frame, decided }));
        }
    }

    /// So many frames of a propagation, and its end after the last.
    fn tracked(&mut self, frames: usize, column: u32) {
        let Some((track, (ticket, mut left))) = self.coming.pop_first() else { return };
        for frame in left.drain(..frames.min(left.len())) {
            let decided = decided(column);
            self.tell(Msg::Engine(Event::Tracked { ticket, frame, decided }));
        }
        if left.is_empty() {
            self.tell(Msg::Engine(Event::Finished { ticket, cancelled: false }));
        } else {
            self.coming.insert(track, (ticket, left));
        }
    }

    /// Takes in what the others wrote.
    fn follow(&mut self) {
        self.store.read_others();
        let Others { edits, origins } = self.store.take_others();
        self.tell(Msg::Engine(Event::Others { edits, origins }));
    }

    fn stale(&self) -> BTreeSet<(TrackId, FrameIndex)> {
        stale(&self.model.annotation, &self.model.marks)
    }
}

fn stale(annotation: &Annotation, marks: &Marks) -> BTreeSet<(TrackId, FrameIndex)> {
    let of = |&id: &TrackId| marks.stale(id).into_iter().flatten().map(move |frame| (id, *frame));
    annotation.tracks.keys().flat_map(of).collect::<Vec<_>>().into_iter().collect()
}

/// What a session says that opens the clip now.
fn reopened(root: &Path) -> (Annotation, BTreeSet<(TrackId, FrameIndex)>) {
    let loaded = load_read_only(root, &opened(FRAMES).info.content_hash).unwrap();
    let marks = Marks::of(&loaded.annotation, loaded.origins);
    let stale = stale(&loaded.annotation, &marks);
    (loaded.annotation, stale)
}

/// Something that a person, or the network, does.
fn deed(seat: &mut Seat, rng: &mut fastrand::Rng) {
    // Of few columns, so that a mask computed anew is often the same.
    let column = rng.u32(5..7);
    match rng.u32(0..24) {
        0..=2 => seat.go(format!("{}", rng.usize(1..=FRAMES))),
        3..=5 => {
            seat.go(format!("cursor {} {}", rng.u32(2..60), rng.u32(2..46)));
            seat.press("b");
        }
        6..=8 => seat.refreshed(column),
        9..=10 => seat.press("p p"),
        11 => seat.press("p a"),
        12..=14 => seat.tracked(rng.usize(1..FRAMES), column),
        15 => seat.press("x"),
        16 => seat.press("X"),
        17..=18 => seat.press("u"),
        19 => seat.press("U"),
        20 => seat.press("a"),
        21 => seat.press("s g"),
        22 => seat.press("D"),
        _ => {
            let first = rng.usize(1..=FRAMES);
            seat.go(format!("window {first} {}", rng.usize(first..=FRAMES)));
        }
    }
}

#[test]
fn one_session_says_at_every_moment_what_it_says_after_reopening() {
    let mut older = 0;
    for seed in 0..12 {
        let (root, mut rng) = (tempfile::tempdir().unwrap(), fastrand::Rng::with_seed(seed));
        let mut seat = Seat::new(root.path(), "anna");
        for n in 0..90 {
            deed(&mut seat, &mut rng);
            let (annotation, stale) = reopened(root.path());
            assert_eq!(seat.model.annotation, annotation, "seed {seed}, deed {n}");
            assert_eq!(seat.stale(), stale, "seed {seed}, deed {n}");
            older += stale.len();
            if rng.u32(0..30) == 0 {
                drop(seat);
                seat = Seat::new(root.path(), "anna");
                assert_eq!(seat.stale(), stale, "seed {seed}, deed {n}, opened again");
            }
        }
    }
    assert!(older > 0, "masks were older than their points");
}

#[test]
fn two_sessions_at_once_say_the_same_as_a_third_that_opens_the_clip() {
    let mut older = 0;
    for seed in 0..12 {
        let (root, mut rng) = (tempfile::tempdir().unwrap(), fastrand::Rng::with_seed(seed));
        let mut seats = [Seat::new(root.path(), "anna"), Seat::new(root.path(), "ben")];
        // Both work on one structure.
        seats[0].press("b");
        seats[1].follow();
        for n in 0..120 {
            deed(&mut seats[rng.usize(0..2)], &mut rng);
            if rng.u32(0..8) == 0 {
                seats[rng.usize(0..2)].follow();
            }
            if rng.u32(0..6) == 0 {
                seats.iter_mut().for_each(Seat::follow);
                let (annotation, stale) = reopened(root.path());
                older += stale.len();
                for seat in &seats {
                    let (user, now) = (seat.user, &seat.model.annotation);
                    assert_eq!(*now, annotation, "seed {seed}, deed {n}, {user}");
                    assert_eq!(seat.stale(), stale, "seed {seed}, deed {n}, {user}");
                }
            }
        }
    }
    assert!(older > 0, "masks were older than their points");
}

#[test]
fn late_masks_of_another_session_are_older_at_once() {
    let root = tempfile::tempdir().unwrap();
    let mut anna = Seat::new(root.path(), "anna");
    anna.press("b");
    anna.refreshed(5);
    let mut ben = Seat::new(root.path(), "ben");
    anna.press("p p");
    anna.tracked(2, 6);
    // The rest comes after a second point.
    anna.press("L b");
    anna.tracked(FRAMES, 6);
    let id = anna.model.track.unwrap();
    let all: BTreeSet<_> = (0..FRAMES).map(|frame| (id, frame)).collect();
    assert_eq!(anna.stale(), all);
    ben.follow();
    assert_eq!(ben.stale(), all);
    assert_eq!(reopened(root.path()).1, all);
}

#[test]
fn a_mask_that_is_computed_again_and_is_the_same_is_new_after_reopening() {
    let root = tempfile::tempdir().unwrap();
    let mut anna = Seat::new(root.path(), "anna");
    for column in [5, 7] {
        anna.press("L b");
        anna.refreshed(column);
        anna.press("p p");
        anna.tracked(FRAMES, 6);
        assert_eq!((anna.stale().len(), reopened(root.path()).1.len()), (0, 0));
    }
    // There is nothing to take back of it: the point goes, and its mask with it.
    let id = anna.model.track.unwrap();
    anna.press("u");
    let track = &anna.model.annotation.tracks[&id];
    assert_eq!((track.prompts[&0].len(), track.masks.len()), (1, FRAMES));
    assert_eq!((anna.stale().len(), reopened(root.path()).1.len()), (0, 0));
}

#[test]
fn an_acceptance_taken_back_after_reopening_outdates_nothing() {
    let root = tempfile::tempdir().unwrap();
    let mut anna = Seat::new(root.path(), "anna");
    anna.press("b");
    anna.refreshed(5);
    anna.press("p p");
    anna.tracked(FRAMES, 6);
    anna.go("4".to_owned());
    anna.press("a");
    drop(anna);
    let mut again = Seat::new(root.path(), "anna");
    assert_eq!(again.stale(), BTreeSet::new());
    again.press("u");
    assert_eq!((again.stale(), reopened(root.path()).1), (BTreeSet::new(), BTreeSet::new()));
}

#[test]
fn a_structure_of_which_no_journal_tells_is_as_new_as_its_points() {
    let mut m = model_of(opened(FRAMES), Keymap::shipped());
    let root = tempfile::tempdir().unwrap();
    let mut anna = Seat::new(root.path(), "anna");
    anna.press("b");
    anna.refreshed(5);
    let (track, content) = anna.model.annotation.tracks.pop_first().unwrap();
    let edits = vec![Edit::AddTrack { track, content }];
    update(&mut m, Msg::Engine(Event::Others { edits, origins: MaskOrigins::default() }));
    assert!(!m.marks.is_stale(track, 0));
    press(&mut m, "L b");
    assert!(m.marks.is_stale(track, 0), "and not of those that come later");
}
