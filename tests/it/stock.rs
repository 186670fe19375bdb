//! Weights as published, which know no boundary point: when the bridge is taken, what a walk remembers, and that frames are
//! encoded once.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use burn::tensor::Device;
use sonomark::domain::{Bitmap, BoxPx, FramePrompts, GrayFrame, PointKind, PointPx};
use sonomark::engine::{
    Anchor, Decided, Direction, Event, Image, Limits, NetSegmenter, Segmenter, Span, Start, plan,
};
use sonomark::net::bridge::{Bridged, bridge};
use sonomark::net::config::ModelCard;
use sonomark::net::device::cpu;
use sonomark::net::follow::{FollowOptions, Follower, Seen};
use sonomark::net::memory_bank::Direction::Forward;
use sonomark::net::predict::{PredictOptions, Predictor, View};
use sonomark::net::sam2::Sam2;

use crate::engine::{Asked, Rig, finished, rig_within, ticket, track, tracked};
use crate::golden_weights::portable_file;
use crate::screen::{resized, screen};
use crate::update::tell;

/// The published layout, tiny.
const STOCK: &str = "
name: stock
network:
  image_size: 64
  trunk: {embed_dim: 8, num_heads: 1, stages: [1, 1, 1, 1], global_att_blocks: [3], window_spec: [8, 4, 4, 2], window_pos_embed_bkg_spatial_size: [4, 4]}
  neck: {d_model: 16}
  prompts: {mask_in_chans: 8, boundary_embedding: false}
  decoder: {depth: 1, num_heads: 2, mlp_dim: 16, iou_head_hidden_dim: 8, dynamic_multimask: true}
  memory: {mem_dim: 8, attention_layers: 1, attention_ffn: 16, fuser_layers: 1, corrections_condition: true, clear_stale: true}
preprocess: {fit: stretch}
tracking: {motion: false}
weights: {file: stock.safetensors, licence: CC0-1.0}
";

/// A card without weights of its own; `boundary` adds the embedding and changes nothing else.
pub(crate) fn card(boundary: bool) -> ModelCard {
    ModelCard::from_yaml(&text(boundary)).unwrap()
}

fn text(boundary: bool) -> String {
    match boundary {
        true => STOCK.replace("embedding: false", "embedding: true"),
        false => STOCK.to_owned(),
    }
}

/// The stock card and its weights in `folder`; the card's path.
pub(crate) fn stock_files(folder: &Path) -> PathBuf {
    let keys = card(false).network.init(&Device::flex()).keys();
    std::fs::write(folder.join("stock.safetensors"), portable_file(&keys, |_| false)).unwrap();
    let path = folder.join("stock.yaml");
    std::fs::write(&path, STOCK).unwrap();
    path
}

fn network(boundary: bool) -> (ModelCard, Sam2) {
    let card = card(boundary);
    let sam = card.network.init(&Device::flex());
    let weights = portable_file(&sam.keys(), |_| false);
    let sam = sam.load_bytes("generated", weights, &card.weights).unwrap();
    (card, sam)
}

fn segmenter(boundary: bool) -> NetSegmenter {
    let (card, sam) = network(boundary);
    NetSegmenter::new(card, sam, cpu("the test"))
}

/// A bright disc on texture, a step further on each frame.
fn frame(t: usize) -> GrayFrame {
    let inside = |x: f32, y: f32| (x - 38.0 - 2.0 * t as f32).hypot(y - 30.0) < 14.0;
    let gray = |i: u32| {
        let (x, y) = (i % 80, i / 80);
        if inside(x as f32, y as f32) { 180 } else { 40 + ((x * 7 + y * 13) % 23) as u8 }
    };
    GrayFrame::new(80, 64, (0..80 * 64).map(gray).collect()).unwrap()
}

fn boundary() -> FramePrompts {
    let spots = [(52.5, 30.5), (24.5, 30.5), (38.5, 16.5), (38.5, 44.5)];
    let points = spots.map(|(x, y)| (PointKind::Boundary, PointPx::new(x, y)));
    FramePrompts { points: points.to_vec(), ..FramePrompts::default() }
}

fn region() -> FramePrompts {
    let points = vec![
        (PointKind::Inside, PointPx::new(38.5, 30.5)),
        (PointKind::Outside, PointPx::new(70.5, 50.5)),
    ];
    let corners = [PointPx::new(22.0, 14.0), PointPx::new(54.0, 46.0)];
    FramePrompts { points, bounding_box: BoxPx::of(corners), ..FramePrompts::default() }
}

#[test]
fn boundary_points_are_bridged_where_the_weights_know_none_and_nowhere_else() {
    let (frame, device) = (frame(0), Device::flex());
    for knows in [false, true] {
        let (card, sam) = network(knows);
        let (input, letterbox) = card.preprocess.frame(&frame, 64, &device);
        let (features, preprocess) = (&sam.encode_image(input), &card.preprocess);
        let view =
            View { frame: &frame, preprocess, device: &device, features, letterbox: &letterbox };
        let options = PredictOptions { snap: false, curve_share: Vec::new(), closer_share: 0.0 };
        let ask = |prompts: &FramePrompts| {
            Predictor::with_options(&sam, options.clone()).predict(view, prompts).unwrap().low_res
        };
        let points = letterbox.network_points(&boundary());
        let Bridged { points: said, mask } = bridge(&points, 64).expect("four points");
        let over = sam.predict(features, &said, mask.as_deref().map(|mask| (mask, 16))).unwrap();
        let straight = sam.predict(features, &points, None).unwrap();
        assert_ne!(over.low_res, straight.low_res);
        let wanted = if knows { straight } else { over };
        assert_eq!(ask(&boundary()), wanted.low_res, "boundary embedding: {knows}");
        // What both understand reaches both as it was said.
        let said = sam.predict(features, &letterbox.network_points(&region()), None).unwrap();
        assert_eq!(ask(&region()), said.low_res, "boundary embedding: {knows}");

        let info = NetSegmenter::new(card, sam, cpu("the test")).info();
        let mut model = resized(150, 50);
        tell(&mut model, Event::Ready(info));
        assert_eq!(screen(&model).contains("stock (points bridged) on"), !knows);
    }
}

#[test]
fn published_weights_remember_the_points_they_understand_and_else_the_mask() {
    let frames = [frame(0), frame(1)];
    let image = |frame: usize| Image { frame, pixels: &frames[frame] };
    for (knows, prompts, by_points) in
        [(false, region(), true), (false, boundary(), false), (true, region(), false)]
    {
        let mut net = segmenter(knows);
        net.open_clip(2);
        net.begin_walk(true);
        let anchored = net.anchor(image(0), &Anchor::Prompts(prompts.clone())).unwrap();
        let found = net.follow(image(1), Direction::Forward, None).unwrap();

        let (card, sam) = network(knows);
        let encoded = frames.each_ref().map(|frame| {
            let (input, letterbox) = card.preprocess.frame(frame, 64, &Device::flex());
            (sam.encode_image(input), letterbox)
        });
        let seen = |frame: usize| {
            let (features, letterbox) = &encoded[frame];
            Seen { frame, pixels: &frames[frame], features, letterbox, tissue: None }
        };
        let walked = |by_points: bool| {
            let options = FollowOptions { motion: false, ..FollowOptions::default() };
            let mut follower = Follower::new(&sam, 2, true, options);
            match by_points {
                true => {
                    drop(follower.prompt(&sam, seen(0), &encoded[0].1.network_points(&prompts)))
                }
                false => follower.anchor(&sam, seen(0), &anchored.bitmap).unwrap(),
            }
            let next = follower.follow(&sam, seen(1), Forward).unwrap();
            (next.bitmap, next.score, next.object_score_logit)
        };
        assert_ne!(walked(true), walked(false));
        let found = (found.bitmap, found.score, found.object_score_logit);
        assert_eq!(found, walked(by_points), "boundary embedding: {knows}, {prompts:?}");
    }
}

#[test]
fn a_frame_that_was_encoded_ahead_is_not_encoded_again() {
    let frames = [frame(0), frame(1), frame(2)];
    let image = |frame: usize| Image { frame, pixels: &frames[frame] };
    let mut net = segmenter(false);
    net.open_clip(3);
    net.encode_ahead(image(1)).unwrap();
    assert!(net.refresh(image(0), &boundary()).unwrap().encode_ms > 0.0);
    assert_eq!(net.refresh(image(1), &boundary()).unwrap().encode_ms, 0.0, "the neighbour");
    net.begin_walk(true);
    assert_eq!(net.anchor(image(0), &Anchor::Prompts(region())).unwrap().encode_ms, 0.0);
    assert_eq!(net.follow(image(1), Direction::Forward, None).unwrap().encode_ms, 0.0);
    assert!(net.follow(image(2), Direction::Forward, None).unwrap().encode_ms > 0.0);
    // Another clip has other frames.
    net.open_clip(3);
    assert!(net.refresh(image(1), &boundary()).unwrap().encode_ms > 0.0);
}

/// The answers of a propagation, and how many of their frames were encoded for them.
fn answers(rig: &Rig) -> (Vec<Decided>, usize) {
    let events = rig.until(finished);
    assert!(matches!(events.last(), Some(Event::Finished { cancelled: false, .. })), "{events:?}");
    assert!(!events.iter().any(|event| matches!(event, Event::Ready(_))), "{events:?}");
    let count = tracked(&events).len();
    let decided = events.into_iter().filter_map(|event| match event {
        Event::Tracked { decided, .. } => Some(decided),
        _ => None,
    });
    let decided: Vec<Decided> = decided.collect();
    assert_eq!(decided.len(), count);
    let encoded = decided.iter().filter(|d| d.encode_ms > 0.0).count();
    (decided, encoded)
}

#[test]
fn a_track_that_joins_in_mid_clip_shares_the_frames_that_are_encoded() {
    let built = Mutex::new(0);
    let build = move |_: Start| -> Result<Box<dyn Segmenter>, String> {
        *built.lock().unwrap() += 1;
        assert_eq!(*built.lock().unwrap(), 1, "the network was started again");
        Ok(Box::new(segmenter(false)))
    };
    let rig = rig_within(Limits::default(), Arc::new(build), Asked::default());
    rig.until(|event| matches!(event, Event::Ready(_)));
    let through = |first, last, prompted| {
        plan(&track(first, last, prompted), 30, prompted, Span::Both).unwrap()
    };
    rig.worker.propagate(ticket(1, 1), through(0, 8, 0));
    let (alone, encoded) = answers(&rig);
    assert_eq!((alone.len(), encoded), (8, 8));
    // The second and third begin in the middle, in both directions; one of them goes a frame further.
    rig.worker.propagate(ticket(2, 1), through(2, 8, 5));
    let (second, encoded) = answers(&rig);
    assert_eq!((second.len(), encoded), (6, 0));
    rig.worker.propagate(ticket(3, 1), through(4, 9, 6));
    let (third, encoded) = answers(&rig);
    assert_eq!((third.len(), encoded), (5, 1));
    // And the first goes on as if they were not there.
    rig.worker.propagate(ticket(1, 2), through(0, 8, 0));
    let (again, encoded) = answers(&rig);
    assert_eq!(encoded, 0);
    let of = |all: &[Decided]| -> Vec<_> {
        all.iter().map(|d| (d.bitmap.clone(), d.score, d.object_score_logit)).collect()
    };
    assert_eq!(of(&again), of(&alone));
}

#[test]
fn an_answer_that_is_no_number_is_a_failure_and_no_empty_mask() {
    let frames = [frame(0), frame(1)];
    let image = |frame: usize| Image { frame, pixels: &frames[frame] };
    let (card, sam) = network(false);
    let mut weights = portable_file(&sam.keys(), |_| false);
    let header = u64::from_le_bytes(*weights.first_chunk().unwrap()) as usize;
    weights[8 + header..].as_chunks_mut::<4>().0.fill(f32::NAN.to_le_bytes());
    let sam = sam.load_bytes("no numbers", weights, &card.weights).unwrap();
    let mut net = NetSegmenter::new(card, sam, cpu("the test"));
    net.open_clip(2);
    net.begin_walk(true);
    let mask = Bitmap::from_fn(80, 64, |x, _| x < 40).to_mask();
    net.anchor(image(0), &Anchor::Mask(mask)).expect("a person's mask stays what it is");
    for answer in [
        net.refresh(image(0), &boundary()),
        net.refresh(image(0), &region()),
        net.follow(image(1), Direction::Forward, None),
        net.anchor(image(1), &Anchor::Prompts(region())),
    ] {
        let why = answer.expect_err("it is no answer").to_string();
        assert!(why.contains("is no number") && why.contains("--device cpu"), "{why}");
    }
}
