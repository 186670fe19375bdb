//! What one propagation is asked, and several at once.

use std::sync::Mutex;

use super::*;
use crate::domain::{
    FramePrompts, PlacedPrompt, PointKind, PointPx, Prompt, PromptId, Track, Window,
};
use crate::engine::{Anchor, SegmenterInfo, Span, plan, plan_both_passes};

const CLIP: usize = 40;

/// A plan for a track with one window and prompts on some frames, by default from `prompted[0]` both ways.
fn planned(window: (usize, usize), prompted: &[usize]) -> Plan {
    plan(&track(window, prompted), CLIP, prompted[0], Span::Both).unwrap()
}

fn track((first, last): (usize, usize), prompted: &[usize]) -> Track {
    let mut track = Track::new("nerve", 0);
    track.windows = vec![Window { first, last }];
    for &frame in prompted {
        let prompt = Prompt::Point { kind: PointKind::Boundary, at: PointPx::new(1.5, 2.5) };
        track.prompts.insert(frame, vec![PlacedPrompt { id: PromptId(frame as u64), prompt }]);
    }
    track
}

/// Notes what it is asked, and answers with an empty mask.
#[derive(Default)]
struct Noting {
    at: WalkId,
    /// Walk, frame, the frame after it where it is named.
    followed: Vec<(WalkId, FrameIndex, Option<FrameIndex>)>,
    /// In each walk, how many anchors it is to remember.
    anchors: Vec<usize>,
    ended: Vec<WalkId>,
    /// A walk, the frame on which it is refused, and why.
    refuses: Option<(WalkId, FrameIndex, &'static str)>,
    /// Its device panics where a walk ends.
    panics: bool,
}

impl Noting {
    fn decided() -> Decided {
        let bitmap = crate::domain::Bitmap::empty(4, 4);
        Decided { bitmap, score: 0.0, object_score_logit: 0.0, encode_ms: 0.0, decode_ms: 0.0 }
    }

    /// The frames that a walk was asked for.
    fn frames_of(&self, walk: WalkId) -> Vec<FrameIndex> {
        self.followed.iter().filter(|of| of.0 == walk).map(|of| of.1).collect()
    }
}

impl Segmenter for Noting {
    fn info(&self) -> SegmenterInfo {
        unreachable!("nobody asks")
    }

    fn open_clip(&mut self, _: usize) {}

    fn refresh(&mut self, _: Image<'_>, _: &FramePrompts) -> Result<Decided, SegmentError> {
        Ok(Self::decided())
    }

    fn turn_to(&mut self, walk: WalkId) {
        self.at = walk;
    }

    fn end_walk(&mut self, walk: WalkId) {
        assert!(!self.panics, "no queue to wait for");
        self.ended.push(walk);
    }

    fn begin_walk(&mut self, _: bool) {
        self.anchors.push(0);
    }

    fn anchor(&mut self, _: Image<'_>, _: &Anchor) -> Result<Decided, SegmentError> {
        *self.anchors.last_mut().unwrap() += 1;
        Ok(Self::decided())
    }

    fn follow(
        &mut self,
        image: Image<'_>,
        _: Direction,
        next: Option<Image<'_>>,
    ) -> Result<Decided, SegmentError> {
        if let Some((_, _, why)) =
            self.refuses.filter(|(walk, frame, _)| (*walk, *frame) == (self.at, image.frame))
        {
            return Err(SegmentError::Network(why.into()));
        }
        self.followed.push((self.at, image.frame, next.map(|next| next.frame)));
        Ok(Self::decided())
    }

    fn encode_ahead(&mut self, _: Image<'_>) -> Result<(), SegmentError> {
        Ok(())
    }
}

/// A clip of which some frames are damaged, and what was read of it.
fn clip(damaged: &'static [FrameIndex]) -> (Frames, Arc<Mutex<Vec<FrameIndex>>>) {
    let read = Arc::<Mutex<Vec<FrameIndex>>>::default();
    let noted = Arc::clone(&read);
    let frames = Frames::new(CLIP, move |frame| {
        noted.lock().unwrap().push(frame);
        match damaged.contains(&frame) {
            true => Err("damaged".into()),
            false => Ok(Arc::new(GrayFrame::new(4, 4, vec![0; 16]).unwrap())),
        }
    });
    (frames, read)
}

#[test]
fn each_frame_is_asked_for_once_and_the_next_one_is_at_hand() {
    let plan = planned((2, 8), &[4]);
    let (mut noting, mut told) = (Noting::default(), Vec::new());
    let (frames, read) = clip(&[6]);
    let ended = walk(
        &mut noting,
        &frames,
        &plan,
        &mut |_| ControlFlow::Continue(()),
        &mut |frame, _, decided| told.push((frame, decided.is_ok())),
    );
    assert_eq!(ended, Ok(Ended::Complete));
    assert_eq!(*read.lock().unwrap(), [4, 3, 2, 5, 6, 7, 8]);
    let pairs = [(3, Some(2)), (2, Some(5)), (5, None), (7, Some(8)), (8, None)];
    let pairs = pairs.map(|(frame, next)| (0, frame, next));
    assert_eq!(noting.followed, pairs, "a frame that cannot be decoded comes next for nobody");
    let wanted = [(4, true), (3, true), (2, true), (5, true), (6, false), (7, true), (8, true)];
    assert_eq!(told, wanted);
}

#[test]
fn anchors_that_nothing_follows_are_not_remembered_together() {
    let walked = |plan: &Plan| {
        let (mut noting, mut told) = (Noting::default(), Vec::new());
        let ended = walk(
            &mut noting,
            &clip(&[6]).0,
            plan,
            &mut |_| ControlFlow::Continue(()),
            &mut |frame, role, decided| told.push((frame, role, decided.is_ok())),
        );
        assert_eq!(ended, Ok(Ended::Complete));
        (noting.anchors, told)
    };
    let track = track((4, 8), &[4, 5, 6, 7, 8]);
    let (remembered, told) = walked(&Plan::of_anchors(&track, CLIP));
    assert_eq!(told, [4, 5, 6, 7, 8].map(|frame| (frame, Role::Anchor, frame != 6)));
    assert!(remembered.iter().all(|anchors| *anchors <= 1), "{remembered:?}");
    // Those that are followed are.
    let (remembered, _) = walked(&planned((4, 9), &[4, 8]));
    assert_eq!(remembered, [2]);
}

/// What was told of each propagation: its frames, and its end.
#[derive(Default)]
struct Told {
    frames: Vec<(WalkId, FrameIndex)>,
    ends: Vec<(WalkId, Result<(), WalkError>)>,
    /// After so many frames of all: who joins, with which plan.
    joins: Vec<(usize, WalkId, Plan)>,
    /// After so many: who leaves.
    leaves: Vec<(usize, WalkId)>,
}

impl Asker for Told {
    fn between(&mut self, segmenter: &mut dyn Segmenter, walking: &mut Walking) -> ControlFlow<()> {
        let now = self.frames.len();
        for (_, walk, plan) in self.joins.extract_if(.., |join| join.0 <= now) {
            walking.join(walk, Arc::new(plan));
        }
        for (_, walk) in self.leaves.extract_if(.., |leave| leave.0 <= now) {
            walking.leave(walk, segmenter);
        }
        ControlFlow::Continue(())
    }

    fn on_frame(&mut self, walk: WalkId, frame: FrameIndex, _: Role, _: Result<Decided, String>) {
        self.frames.push((walk, frame));
    }

    fn on_end(&mut self, walk: WalkId, ended: Result<(), WalkError>) {
        self.ends.push((walk, ended));
    }
}

fn together(
    plans: &[Plan],
    told: &mut Told,
    frames: &Frames,
) -> (Noting, Result<Ended, SegmentError>) {
    asked_together(Noting::default(), plans, told, frames)
}

fn asked_together(
    mut noting: Noting,
    plans: &[Plan],
    told: &mut Told,
    frames: &Frames,
) -> (Noting, Result<Ended, SegmentError>) {
    let mut walking = Walking::default();
    for (walk, plan) in plans.iter().enumerate() {
        walking.join(walk, Arc::new(plan.clone()));
    }
    let ended = walk_together(&mut noting, frames, walking, told);
    (noting, ended)
}

#[test]
fn two_that_begin_on_the_same_frame_read_each_frame_once() {
    let plans = [planned((0, 39), &[10]), planned((0, 30), &[10])];
    let (frames, read) = clip(&[]);
    let mut told = Told::default();
    let (noting, ended) = together(&plans, &mut told, &frames);
    assert_eq!(ended, Ok(Ended::Complete));
    for (walk, plan) in plans.iter().enumerate() {
        assert_eq!(noting.frames_of(walk), plan.frames().collect::<Vec<_>>(), "in its own order");
    }
    let once: Vec<FrameIndex> = (0..=10).rev().chain(11..40).collect();
    assert_eq!(*read.lock().unwrap(), once);
    assert_eq!(told.ends, [(1, Ok(())), (0, Ok(()))]);
    assert_eq!(noting.ended, [1, 0], "and its memory goes with it");
    // The last one on a frame names the next frame, the others need none.
    assert_eq!(noting.followed[..3], [(0, 9, None), (1, 9, Some(8)), (0, 8, None)]);
}

#[test]
fn the_one_behind_goes_on_until_they_meet() {
    let plans = [planned((5, 39), &[5]), planned((20, 39), &[20])];
    let (frames, read) = clip(&[]);
    let (noting, _) = together(&plans, &mut Told::default(), &frames);
    let order: Vec<WalkId> = noting.followed.iter().map(|of| of.0).collect();
    let alone = (6..=20).map(|_| 0);
    assert_eq!(order, alone.chain((21..40).flat_map(|_| [0, 1])).collect::<Vec<_>>());
    assert_eq!(read.lock().unwrap().len(), 35 + 1, "the anchor of the second was read before");
}

#[test]
fn one_may_join_and_leave_and_the_others_meet_every_frame_once() {
    let plans = [planned((0, 39), &[0])];
    let late = planned((0, 39), &[0]);
    let mut told = Told { joins: vec![(12, 7, late.clone())], ..Told::default() };
    let (frames, _) = clip(&[]);
    let (noting, ended) = together(&plans, &mut told, &frames);
    assert_eq!(ended, Ok(Ended::Complete));
    let all: Vec<FrameIndex> = (1..40).collect();
    assert_eq!((noting.frames_of(0), noting.frames_of(7)), (all.clone(), all.clone()));
    // It catches up; then each frame is decided for both, one after the other.
    let (first, rest) = noting.followed.split_at(11 + 11);
    assert!(first[11..].iter().all(|of| of.0 == 7), "{first:?}");
    assert!(rest.chunks(2).all(|pair| pair[0].1 == pair[1].1), "{rest:?}");

    let mut told = Told { leaves: vec![(20, 1)], ..Told::default() };
    let (noting, ended) = together(&[plans[0].clone(), late], &mut told, &frames);
    assert_eq!(ended, Ok(Ended::Complete));
    assert_eq!(noting.frames_of(0), all);
    assert_eq!(noting.frames_of(1).len(), 9, "anchors count, too");
    assert_eq!(told.ends, [(0, Ok(()))], "who leaves is not told to have ended");
    assert_eq!(noting.ended, [1, 0]);
}

#[test]
fn one_without_a_readable_anchor_ends_alone() {
    let plans = [planned((0, 39), &[3]), planned((0, 39), &[8])];
    let (frames, _) = clip(&[3]);
    let mut told = Told::default();
    let (noting, ended) = together(&plans, &mut told, &frames);
    assert_eq!(ended, Ok(Ended::Complete));
    let lost = WalkError::NoAnchorLeft { frame: 3, why: "damaged".into() };
    assert_eq!(told.ends, [(0, Err(lost)), (1, Ok(()))]);
    assert_eq!(noting.frames_of(0), [0; 0]);
    assert_eq!(noting.frames_of(1).len(), 38, "all but its anchor and the damaged one");
}

#[test]
fn one_that_the_network_refuses_ends_alone_and_a_device_that_gives_up_ends_all() {
    let plans = [planned((0, 39), &[0]), planned((0, 39), &[0])];
    let (frames, read) = clip(&[]);
    let refused = |why: &'static str| {
        let noting = Noting { refuses: Some((0, 20, why)), ..Noting::default() };
        let mut told = Told::default();
        let (noting, ended) = asked_together(noting, &plans, &mut told, &frames);
        assert_eq!(noting.frames_of(0), (1..20).collect::<Vec<_>>());
        (noting, told, ended)
    };
    let odd = "its answer for frame 21 is no number";
    let (noting, told, ended) = refused(odd);
    assert_eq!(ended, Ok(Ended::Complete));
    let why = WalkError::Segment(SegmentError::Network(odd.into()));
    assert_eq!(told.ends, [(0, Err(why)), (1, Ok(()))]);
    assert_eq!(noting.frames_of(1), (1..40).collect::<Vec<_>>());
    assert_eq!(noting.ended, [0, 1]);
    let again = read.lock().unwrap().len();
    assert!((40..=44).contains(&again), "but for those on their way each is read once: {again}");

    let lost = "the device was lost";
    let (noting, told, ended) = refused(lost);
    assert_eq!(ended, Err(SegmentError::Network(lost.into())));
    assert_eq!(noting.frames_of(1), (1..20).collect::<Vec<_>>());
    assert!(told.ends.is_empty() && noting.ended == [0, 1], "nobody ended, and no memory stays");
    // What such a device does to the memories does not hide why it was lost.
    let noting = Noting { refuses: Some((0, 20, lost)), panics: true, ..Noting::default() };
    let (_, ended) = asked_together(noting, &plans, &mut Told::default(), &frames);
    assert_eq!(ended, Err(SegmentError::Network(lost.into())));
}

/// Every frame is read as often as the order says, and never besides: a frame out of order would be read on the spot.
#[test]
fn frames_are_read_in_the_order_in_which_they_are_taken() {
    let both = plan_both_passes(&track((0, 39), &[3, 17, 30]), CLIP).unwrap();
    let plans = [
        planned((0, 39), &[12, 20]),
        both,
        planned((5, 25), &[25]),
        planned((30, 39), &[35]),
        Plan::of_anchors(&track((0, 39), &[7, 9]), CLIP),
    ];
    let (frames, read) = clip(&[20]);
    let (mut told, mut walking) = (Told::default(), Walking::default());
    for (walk, plan) in plans.iter().enumerate() {
        walking.join(walk, Arc::new(plan.clone()));
    }
    let order = walking.order();
    let (noting, ended) = together(&plans, &mut told, &frames);
    assert_eq!(ended, Ok(Ended::Complete));
    assert_eq!(*read.lock().unwrap(), order);
    let mut taken: Vec<FrameIndex> = told.frames.iter().map(|(_, frame)| *frame).collect();
    taken.dedup();
    assert_eq!(taken, order);
    for (walk, plan) in plans.iter().enumerate() {
        let own: Vec<_> = plan.frames().filter(|frame| *frame != 20).collect();
        assert_eq!(noting.frames_of(walk), own);
    }
    assert_eq!(told.ends.len(), plans.len());
}
