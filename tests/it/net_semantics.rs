//! What the published video predictor does, one rule per test, on the recorded nano network.
//!
//! Which frames are recalled, in which order and with which distances is tested without tensors in `net::memory_bank`;
//! that the tensors agree with the reference, in `net_video`. Here every rule is seen at work in the tracker.

use burn::tensor::{Device, Tensor, TensorData};
use sonomark::net::mask_decoder::Candidates;
use sonomark::net::memory_bank::{BankRules, Direction, Direction::Forward, Direction::Reverse};
use sonomark::net::prompt_encoder::{PointBatch, PointLabel};
use sonomark::net::sam2::{Prompts, wants_multimask};
use sonomark::net::tracker::{StepOut, Tracker, TrackerOptions};

use crate::golden_weights::{Golden, TOLERANCE, golden_card};
use crate::net_image::numbers;
use crate::net_video::{FRAMES, Scene, gt_point, never_present, toy_mask, video_point};

type Point = ([f32; 2], PointLabel);

fn inside(t: usize) -> Point {
    (video_point(gt_point(t)), PointLabel::Inside)
}

fn outside() -> Point {
    (video_point([108.0, 10.0]), PointLabel::Outside)
}

/// A tracker with one click on each of `frames`.
fn clicked(scene: &Scene, options: TrackerOptions, frames: &[usize], clip: usize) -> Tracker {
    let mut tracker = Tracker::new(clip, options);
    for &t in frames {
        tracker.add_points(&scene.sam, t, &scene.images[t], &[inside(t)]).expect("admitted");
    }
    tracker.preflight(&scene.sam).expect("a frame conditions");
    tracker
}

fn step(scene: &Scene, tracker: &mut Tracker, t: usize, direction: Direction) -> StepOut {
    tracker.step(&scene.sam, t, &scene.images[t % FRAMES], direction).expect("walks")
}

/// Memory tokens and pointer tokens that the last step read.
fn tokens_read(tracker: &mut Tracker) -> (usize, usize) {
    let stages = tracker.stages();
    let all = stages["memory"].shape().to_vec()[1];
    (all, stages["n_ptr"].iter::<f32>().next().expect("a number") as usize)
}

/// Of the nano network: an 8 x 8 map per memory, four pieces per pointer.
const MAP: usize = 64;
const PIECES: usize = 4;

#[test]
fn semantics_all_conditioning_frames_are_read_or_as_many_as_the_card_caps() {
    let scene = Scene::new();
    for (cap, maps) in [(None, 3), (Some(2), 2)] {
        let rules = BankRules { max_cond_frames_in_attn: cap, ..scene.options().rules };
        let options = TrackerOptions { rules, ..scene.options() };
        let mut tracker = clicked(&scene, options, &[0, 2, 5], FRAMES);
        tracker.record_stages();
        step(&scene, &mut tracker, 4, Forward);
        let (all, pointers) = tokens_read(&mut tracker);
        // Capped, the nearest before (2) and after (5) stay; 0 lies in no slot of frame 4's recent memories.
        assert_eq!(all - pointers, maps * MAP, "cap {cap:?}");
        assert_eq!(pointers % PIECES, 0);
    }
}

#[test]
fn semantics_a_walk_between_anchors_of_a_person_reads_the_eight_that_matter() {
    for (card, walks) in [(0, 8), (4, 4), (20, 8)] {
        let mut config = golden_card().network;
        config.memory.max_cond_frames = card;
        let sam = config.init(&Device::flex());
        let read = TrackerOptions::for_walks(&sam).rules.max_cond_frames_in_attn;
        assert_eq!(read, Some(walks), "a card that says {card}");
    }
}

#[test]
fn semantics_memories_of_the_walk_lie_behind_it_in_both_directions() {
    let scene = Scene::new();
    for (anchor, order, direction) in [(0, [0, 1, 2, 3, 4], Forward), (5, [5, 4, 3, 2, 1], Reverse)]
    {
        let mut tracker = clicked(&scene, scene.options(), &[anchor], FRAMES);
        tracker.record_stages();
        let read: Vec<usize> = order
            .iter()
            .map(|&t| {
                step(&scene, &mut tracker, t, direction);
                tracker.stages().get("memory").map_or(0, |m| m.shape().to_vec()[1])
            })
            .collect();
        // One map and one pointer from the anchor; then one more of each per walked frame, three maps at most.
        let expected = |walked: usize| (1 + walked.min(3)) * MAP + (1 + walked) * PIECES;
        assert_eq!(read, [0, expected(0), expected(1), expected(2), expected(3)], "{direction:?}");
    }
}

#[test]
fn semantics_pointers_are_counted_and_placed_by_the_length_of_the_clip() {
    let scene = Scene::new();
    let pos = |clip: usize| {
        let mut tracker = clicked(&scene, scene.options(), &[0], clip);
        tracker.record_stages();
        step(&scene, &mut tracker, 1, Forward);
        let stages = tracker.stages();
        let all: Vec<f32> = stages["memory_pos"].iter().collect();
        all[all.len() - PIECES * 8..].to_vec()
    };
    // The distance of one frame is 1/5 of a short clip and 1/15 of any clip of sixteen frames or more.
    assert_ne!(pos(6), pos(16));
    assert_eq!(pos(16), pos(400));
    // All pieces of a pointer stand at the same time.
    let one = pos(16);
    assert!(one.chunks(8).all(|piece| piece == &one[..8]));
}

#[test]
fn semantics_a_given_mask_is_the_answer_and_conditions() {
    let scene = Scene::new();
    let mut tracker = Tracker::new(FRAMES, scene.options());
    let out = tracker
        .add_mask(&scene.sam, 0, &scene.images[0], &toy_mask(0), [96, 120])
        .expect("a mask is admitted");
    assert_eq!((out.iou, out.object_score, out.conditioning), (1.0, 10.0, true));
    let back = out.logits_at([96, 120]);
    let differ = back.iter().zip(toy_mask(0)).filter(|(l, m)| (**l > 0.0) != (*m > 0.5)).count();
    assert!(differ < 200, "{differ} of {} pixels", back.len());
    let empty = tracker.add_mask(&scene.sam, 1, &scene.images[1], &[0.0; 64], [8, 8]);
    assert_eq!(empty.expect("an empty mask says: absent").object_score, -10.0);
}

#[test]
fn semantics_a_second_prompt_refines_the_previous_logits() {
    let scene = Scene::new();
    let (sam, image) = (&scene.sam, &scene.images[0]);
    let mut tracker = Tracker::new(FRAMES, scene.options());
    let first = tracker.add_points(sam, 0, image, &[inside(0)]).expect("admitted");
    let both = [inside(0), outside()];
    let second = tracker.add_points(sam, 0, image, &both).expect("admitted");
    let decoded = |mask: Option<Vec<f32>>| {
        let mask = mask.map(|m| {
            Tensor::from_data(TensorData::new(m, [1, 1, first.side, first.side]), &Device::flex())
        });
        let prompts = Prompts { points: PointBatch::new(&[both.to_vec()]), mask };
        numbers(sam.decode(image, &prompts, false).low_res_masks)
    };
    let clamped = first.low_res_logits.iter().map(|l| l.clamp(-32.0, 32.0)).collect();
    let apart =
        |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart(&second.low_res_logits, &decoded(Some(clamped))) < TOLERANCE);
    assert!(apart(&second.low_res_logits, &decoded(None)) > 1e-2, "they make a difference");
}

#[test]
fn semantics_at_most_one_click_asks_for_three_candidates() {
    assert_eq!([0, 1, 2, 3].map(wants_multimask), [true, true, false, false]);
    let scene = Scene::new();
    let corners = [([10.0, 10.0], PointLabel::BoxMin), ([70.0, 80.0], PointLabel::BoxMax)];
    for (points, masks) in
        [(vec![inside(0)], 3), (vec![inside(0), outside()], 1), (corners.to_vec(), 1)]
    {
        let mut tracker = Tracker::new(FRAMES, scene.options());
        tracker.record_stages();
        tracker.add_points(&scene.sam, 0, &scene.images[0], &points).expect("admitted");
        assert_eq!(tracker.stages()["low_multi"].shape().to_vec()[1], masks, "{points:?}");
    }
}

#[test]
fn semantics_an_unstable_single_mask_gives_way_to_the_best_candidate() {
    let device = Device::flex();
    let candidates = |single: [f32; 4]| Candidates {
        masks: Tensor::from_data(
            TensorData::new([single, [1.0; 4], [2.0; 4], [3.0; 4]].concat(), [1, 4, 2, 2]),
            &device,
        ),
        ious: Tensor::from_data([[0.9, 0.3, 0.8, 0.5]], &device),
        tokens: Tensor::from_data([[[0.0], [1.0], [2.0], [3.0]]], &device),
        object_score_logits: Tensor::from_data([[1.0]], &device),
    };
    let chosen = |single, multimask, replace| {
        let out = candidates(single).select(multimask, replace);
        let (mask, iou, token) = out.best();
        (numbers(mask)[0], numbers(iou)[0], numbers(token)[0])
    };
    let (stable, unstable) = ([5.0, 5.0, -5.0, -5.0], [5.0, 0.01, -0.01, -5.0]);
    assert_eq!(chosen(stable, false, true), (5.0, 0.9, 0.0));
    // The mask changes, the token of the pointer does not.
    assert_eq!(chosen(unstable, false, true), (2.0, 0.8, 0.0));
    assert_eq!(chosen(unstable, false, false), (5.0, 0.9, 0.0));
    assert_eq!(chosen(unstable, true, true), (2.0, 0.8, 2.0));
    // An empty mask is stable.
    assert_eq!(chosen([-5.0; 4], false, true).0, -5.0);
}

#[test]
fn semantics_objects_share_features_and_nothing_else() {
    let scene = Scene::new();
    let second = [([100.0, 30.0], PointLabel::Inside)];
    let walk = |together: bool| {
        let mut trackers = [0, 1].map(|_| Tracker::new(FRAMES, scene.options()));
        let prompts = [vec![inside(0)], second.to_vec()];
        let mut outs = vec![Vec::new(), Vec::new()];
        let mut one = |k: usize, t: usize, trackers: &mut [Tracker; 2]| {
            if t == 0 {
                trackers[k]
                    .add_points(&scene.sam, 0, &scene.images[0], &prompts[k])
                    .expect("admitted");
            }
            outs[k].push(step(&scene, &mut trackers[k], t, Forward).low_res_logits);
        };
        if together {
            (0..4).for_each(|t| (0..2).for_each(|k| one(k, t, &mut trackers)));
        } else {
            (0..2).for_each(|k| (0..4).for_each(|t| one(k, t, &mut trackers)));
        }
        outs
    };
    let together = walk(true);
    assert_eq!(together, walk(false));
    assert_ne!(together[0], together[1]);
}

#[test]
fn semantics_a_correction_conditions_unless_the_card_says_otherwise() {
    let scene = Scene::new();
    for corrections_condition in [true, false] {
        let options = TrackerOptions { corrections_condition, ..scene.options() };
        let mut tracker = clicked(&scene, options, &[0], FRAMES);
        (0..4).for_each(|t| drop(step(&scene, &mut tracker, t, Forward)));
        let fix = [inside(2), outside()];
        let fixed = tracker.add_points(&scene.sam, 2, &scene.images[2], &fix).expect("admitted");
        assert_eq!(fixed.conditioning, corrections_condition);
        let again = step(&scene, &mut tracker, 2, Forward);
        assert_eq!(again.low_res_logits == fixed.low_res_logits, corrections_condition);
    }
}

#[test]
fn semantics_stale_memories_around_a_correction_are_cleared_by_default() {
    let scene = Scene::new();
    // The recorded network's card turns it off, as upstream; a card that says nothing has it on.
    assert!(!TrackerOptions::for_model(&scene.sam).clear_stale);
    let mut card = crate::golden_weights::golden_card();
    assert!(!card.network.memory.clear_stale);
    let yaml = card.to_yaml().replace("    clear_stale: false\n", "");
    card = sonomark::net::config::ModelCard::from_yaml(&yaml).expect("a good card");
    assert!(card.network.memory.clear_stale);
    // Four frames (the nano network's memories) to either side of frame 3 are cleared; those beyond frame 7 stay.
    let all = [1, 2].into_iter().chain(4..13).collect();
    for (clear_stale, left) in [(true, (8..13).collect::<Vec<_>>()), (false, all)] {
        let options =
            TrackerOptions { corrections_condition: true, clear_stale, ..scene.options() };
        let mut tracker = clicked(&scene, options, &[0], 20);
        (0..13).for_each(|t| drop(step(&scene, &mut tracker, t, Forward)));
        tracker.add_points(&scene.sam, 3, &scene.images[3], &[inside(3)]).expect("admitted");
        tracker.preflight(&scene.sam).expect("frames condition");
        assert_eq!(tracker.remembered_frames(), left, "clear_stale {clear_stale}");
    }
}

#[test]
fn semantics_an_absent_object_leaves_its_own_embedding_and_pointer() {
    let mut scene = Scene::new();
    let record = |scene: &Scene| {
        let mut tracker = clicked(scene, scene.options(), &[0], FRAMES);
        tracker.record_stages();
        let out = step(scene, &mut tracker, 1, Forward);
        (out, tracker.stages())
    };
    let (present, _) = record(&scene);
    never_present(&mut scene.sam);
    let (out, stages) = record(&scene);
    assert!(present.present && !out.present);
    assert!(out.low_res_logits.iter().all(|l| *l == -1024.0));
    let values = |name: &str| stages[name].iter::<f32>().collect::<Vec<f32>>();
    assert_eq!(values("ptr"), numbers(scene.sam.no_obj_ptr.val()));
    let embed = numbers(scene.sam.no_obj_embed_spatial.val());
    let (raw, kept) = (values("memenc_raw"), values("maskmem_features"));
    for (i, (raw, kept)) in raw.iter().zip(&kept).enumerate() {
        assert!((kept - raw - embed[i / MAP]).abs() < 1e-5, "{i}");
    }
}

#[test]
fn semantics_small_holes_of_an_answer_are_filled_as_upstream_fills_them() {
    let golden = Golden::open("golden_nano_unit.safetensors");
    let (given, filled) = (golden.values("unit.holes.in"), golden.values("unit.holes.out"));
    for (given, filled) in given.chunks(576).zip(filled.chunks(576)) {
        let mask = sonomark::domain::Bitmap::from_logits(24, 24, given);
        let holes = mask.inverted().specks(8);
        let changed: Vec<bool> = given.iter().zip(filled).map(|(a, b)| a != b).collect();
        assert!(changed.contains(&true) && changed == holes.pixels);
    }
    // At work: with a generous area every hole of the answer goes, with none nothing changes.
    let scene = Scene::new();
    let decide = |fill_hole_area| {
        let options = TrackerOptions { fill_hole_area, ..scene.options() };
        let mut tracker = Tracker::new(FRAMES, options);
        let out =
            tracker.add_points(&scene.sam, 0, &scene.images[0], &[inside(0)]).expect("admitted");
        out.low_res_logits
    };
    let (raw, all) = (decide(0), decide(32 * 32));
    let holes = sonomark::domain::Bitmap::from_logits(32, 32, &raw).inverted().specks(32 * 32);
    assert!(holes.area_px() > 0, "the recorded mask has background");
    for ((raw, all), hole) in raw.iter().zip(&all).zip(&holes.pixels) {
        assert_eq!(*all, if *hole { 0.1 } else { *raw });
    }
}
