//! One test per rule of the plan.

use super::*;
use crate::domain::{
    Bitmap, FrameMask, PlacedPrompt, PointKind, PointPx, Prompt, PromptId, TrackInfo,
};

const CLIP: usize = 40;

fn track(windows: &[(usize, usize)], prompted: &[usize]) -> Track {
    let mut track = Track::new("nerve", 0);
    track.info = TrackInfo { label: "nerve".into(), colour: 0 };
    track.windows = windows.iter().map(|&(first, last)| Window { first, last }).collect();
    for &frame in prompted {
        let prompt = Prompt::Point { kind: PointKind::Boundary, at: PointPx::new(1.5, 2.5) };
        track.prompts.insert(frame, vec![PlacedPrompt { id: PromptId(frame as u64), prompt }]);
    }
    track
}

fn hold(track: &mut Track, frame: usize, source: MaskSource) {
    let mask = Bitmap::from_fn(4, 4, |x, _| x < 2).to_mask();
    track.masks.insert(frame, FrameMask { mask, source, score: 0.5 });
}

/// The walk as `+5` (towards later) and `-5` (towards earlier frames).
fn order(track: &Track, from: usize, span: Span) -> Vec<String> {
    let plan = plan(track, CLIP, from, span).unwrap();
    assert_eq!(plan.walks.len(), 1);
    let sign = |d: &Direction| if *d == Direction::Forward { '+' } else { '-' };
    plan.walks[0].frames.iter().map(|(f, d)| format!("{}{f}", sign(d))).collect()
}

fn anchors(track: &Track, from: usize, span: Span) -> Vec<usize> {
    plan(track, CLIP, from, span).unwrap().walks[0].anchors.iter().map(|a| a.0).collect()
}

#[test]
fn from_one_anchor_both_ways_and_never_outside_the_window() {
    let track = track(&[(4, 8)], &[6]);
    assert_eq!(order(&track, 6, Span::Both), ["-5", "-4", "+7", "+8"]);
    assert_eq!(order(&track, 6, Span::Forward), ["+7", "+8"]);
    assert_eq!(order(&track, 6, Span::Backward), ["-5", "-4"]);
}

#[test]
fn without_windows_the_whole_clip_is_walked() {
    let track = track(&[], &[0]);
    assert_eq!(plan(&track, 5, 0, Span::Both).unwrap().frames().collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn a_window_beyond_the_clip_is_cut() {
    let track = track(&[(36, 70), (80, 90)], &[37]);
    assert_eq!(order(&track, 37, Span::Both), ["-36", "+38", "+39"]);
}

#[test]
fn two_anchors_meet_in_the_middle_and_are_not_decided_again() {
    let track = track(&[(0, 10)], &[2, 7]);
    let all = order(&track, 2, Span::Both);
    assert_eq!(all, ["-1", "-0", "+3", "+4", "-6", "-5", "+8", "+9", "+10"]);
    assert_eq!(anchors(&track, 2, Span::Both), [2, 7]);
}

#[test]
fn a_direction_asked_for_is_kept_through_the_gap() {
    let track = track(&[(0, 10)], &[2, 7]);
    assert_eq!(order(&track, 2, Span::Forward), ["+3", "+4", "+5", "+6", "+8", "+9", "+10"]);
    assert_eq!(order(&track, 7, Span::Backward), ["-1", "-0", "-6", "-5", "-4", "-3"]);
}

#[test]
fn frames_before_the_first_anchor_are_walked_backwards_even_when_forward_is_asked() {
    let track = track(&[(0, 6)], &[4]);
    assert_eq!(order(&track, 1, Span::Forward), ["-3", "-2", "+5", "+6"]);
}

#[test]
fn accepted_and_prompted_masks_are_barriers_and_tracked_ones_are_not() {
    let mut track = track(&[(0, 6)], &[0]);
    hold(&mut track, 2, MaskSource::Accepted);
    hold(&mut track, 4, MaskSource::Prompted);
    hold(&mut track, 5, MaskSource::Tracked);
    assert_eq!(order(&track, 0, Span::Both), ["+1", "+3", "+5", "+6"]);
    assert_eq!(anchors(&track, 0, Span::Both), [0, 2, 4]);
}

#[test]
fn an_accepted_mask_conditions_instead_of_the_prompts_below_it() {
    let mut track = track(&[(0, 3)], &[1]);
    hold(&mut track, 1, MaskSource::Prompted);
    let of =
        |track: &Track| plan(track, CLIP, 1, Span::Both).unwrap().walks[0].anchors[0].1.clone();
    assert!(matches!(of(&track), Anchor::Prompts(_)));
    hold(&mut track, 1, MaskSource::Accepted);
    assert!(matches!(of(&track), Anchor::Mask(_)));
}

#[test]
fn a_window_without_an_anchor_starts_at_the_end_nearer_to_one() {
    let track = track(&[(0, 3), (10, 13), (30, 33)], &[3, 30]);
    let all = order(&track, 3, Span::Both);
    assert_eq!(all, ["-2", "-1", "-0", "+31", "+32", "+33", "+10", "+11", "+12", "+13"]);
    let later = self::track(&[(10, 13), (18, 20)], &[18]);
    let walked = order(&later, 18, Span::Both);
    assert_eq!(walked, ["+19", "+20", "-13", "-12", "-11", "-10"]);
}

#[test]
fn this_window_leaves_the_others_alone_but_their_anchors_condition_it() {
    let track = track(&[(0, 2), (10, 12)], &[1]);
    assert_eq!(order(&track, 11, Span::ThisWindow), ["+10", "+11", "+12"]);
    assert_eq!(anchors(&track, 11, Span::ThisWindow), [1]);
    let outside = plan(&track, CLIP, 5, Span::ThisWindow).unwrap_err();
    assert_eq!(outside, PlanError::OutsideWindows { frame: 5 });
    assert!(outside.to_string().contains("frame 6 is in no window"));
}

#[test]
fn the_tracked_mask_one_looks_at_conditions_a_one_way_walk() {
    let mut track = track(&[(0, 8)], &[0]);
    hold(&mut track, 5, MaskSource::Tracked);
    assert_eq!(anchors(&track, 5, Span::Forward), [0, 5]);
    assert_eq!(order(&track, 5, Span::Forward), ["+6", "+7", "+8"]);
    assert_eq!(anchors(&track, 5, Span::Both), [0]);
    assert!(order(&track, 5, Span::Both).contains(&"+5".to_owned()));
}

#[test]
fn errors_say_what_to_do() {
    let none = plan(&track(&[(0, 3)], &[]), CLIP, 0, Span::Both).unwrap_err();
    assert_eq!(
        none.to_string(),
        "nothing to start from: put boundary points on one frame of the window first"
    );
    let outside = plan(&track(&[(0, 3)], &[9]), CLIP, 0, Span::Both).unwrap_err();
    assert_eq!(outside, PlanError::AnchorsOutside { frame: 9 });
    assert!(outside.to_string().contains("frame 10"));
    let full = plan(&track(&[(0, 1)], &[0, 1]), CLIP, 0, Span::Both).unwrap_err();
    assert_eq!(full, PlanError::Nothing);
    let last = plan(&track(&[(0, 5)], &[2]), CLIP, 5, Span::Forward).unwrap_err();
    assert_eq!(last, PlanError::Nothing);
}

#[test]
fn every_frame_of_the_windows_is_decided_exactly_once() {
    for seed in 0..200u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut windows = Vec::new();
        for _ in 0..random.usize(1..4) {
            let first = random.usize(0..CLIP);
            let window = Window { first, last: first + random.usize(0..12) };
            windows = crate::domain::insert_window(&windows, window);
        }
        let inside: Vec<usize> =
            (0..CLIP).filter(|&f| windows.iter().any(|w| w.contains(f))).collect();
        let prompted: Vec<usize> =
            (0..random.usize(1..5)).map(|_| inside[random.usize(0..inside.len())]).collect();
        let mut track = track(&[], &prompted);
        track.windows = windows;
        let mut walked: Vec<usize> = match plan(&track, CLIP, inside[0], Span::Both) {
            Ok(plan) => plan.frames().collect(),
            Err(PlanError::Nothing) => Vec::new(),
            Err(other) => panic!("seed {seed}: {other}"),
        };
        walked.sort_unstable();
        let due: Vec<usize> = inside.into_iter().filter(|f| !prompted.contains(f)).collect();
        assert_eq!(walked, due, "seed {seed}");
    }
}

#[test]
fn many_accepted_masks_do_not_all_condition() {
    let mut track = track(&[(0, 39)], &[]);
    for frame in 0..30 {
        hold(&mut track, frame, MaskSource::Accepted);
    }
    assert_eq!(anchors(&track, 29, Span::Forward), [22, 23, 24, 25, 26, 27, 28, 29]);
}

#[test]
fn only_what_is_wanted_is_walked_and_what_lies_on_the_way_to_it() {
    let track = track(&[(0, 20)], &[2, 12]);
    let walked = |wanted: &dyn Fn(usize) -> bool| -> Vec<usize> {
        plan_where(&track, CLIP, Some(2), Span::Both, wanted).unwrap().frames().collect()
    };
    assert_eq!(walked(&|f| f == 5 || f > 18), [3, 4, 5, 13, 14, 15, 16, 17, 18, 19, 20]);
    assert_eq!(walked(&|f| f == 10), [11, 10], "from the nearer anchor");
    assert_eq!(plan_where(&track, CLIP, Some(2), Span::Both, &|_| false), Err(PlanError::Nothing));
}

#[test]
fn both_passes_go_through_every_gap_between_anchors_with_a_memory_each() {
    let mut track = track(&[(0, 20), (30, 35)], &[2, 6]);
    hold(&mut track, 9, MaskSource::Accepted);
    let plan = plan_both_passes(&track, CLIP).unwrap();
    let frames =
        |walk: usize| plan.walks[walk].frames.iter().map(|(frame, _)| *frame).collect::<Vec<_>>();
    assert_eq!((frames(0), frames(1)), (vec![3, 4, 5, 7, 8], vec![5, 4, 3, 8, 7]));
    track.prompts.clear();
    assert_eq!(plan_both_passes(&track, CLIP), Err(PlanError::NothingBetween));
}

#[test]
fn why_nothing_is_planned_fits_on_a_line_of_80_columns() {
    use PlanError as E;
    let frame = 998;
    let outside = [E::AnchorsOutside { frame }, E::OutsideWindows { frame }];
    for why in outside.into_iter().chain([E::NoAnchor, E::NothingBetween, E::Nothing]) {
        assert!(why.to_string().len() <= 80, "{why}");
    }
}
