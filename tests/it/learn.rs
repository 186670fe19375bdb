//! Learning: the boundary loss and the click rules against the reference, training that resumes bit for bit, and
//! evaluation on data whose answer is known.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use sonomark::codec::{self, OpenOptions};
use sonomark::domain::{
    Bitmap, BoxPx, Edit, FrameMask, FramePrompts, GrayFrame, Mark, MaskSource, PointKind, PointPx,
    Step, Track, TrackId, overlap, tidied,
};
use sonomark::engine::{Image, NetSegmenter, Segmenter, load_network};
use sonomark::learn::annotator::{contour, next_boundary_click, region_click};
use sonomark::learn::baselines::Baseline;
use sonomark::learn::checkpoint::{Checkpoint, CheckpointError};
use sonomark::learn::dataset::{
    DataError, DataSource, LabelledClip, LabelledClips, Pick, Still, StillSet, Veil,
};
use sonomark::learn::evaluate::{ClickOptions, Judged, Placing, evaluate_clicks, trace_set};
use sonomark::learn::evaluate_video::{Tracking, VideoOptions, evaluate_video};
use sonomark::learn::lessons::{Batch, ClipPrompt, Desk, Plan, Subject};
use sonomark::learn::loss::{BoundaryLoss, BoundaryLossConfig, ClickMass, LossWeights, Reading};
use sonomark::learn::own::accepted_stills;
use sonomark::learn::{Budget, Progress, RECIPE, TrainError, TrainOptions, train, train_on};
use sonomark::net::closer::closer_box;
use sonomark::net::config::ModelCard;
use sonomark::net::device::{DeviceWant, pick};
use sonomark::net::follow::FollowOptions;
use sonomark::net::predict::{Answer, PredictOptions, Predictor, Shown, View};
use sonomark::net::sam2::Sam2;
use sonomark::project::{ClipStore, StoreOptions};

const TINY: &str = "
name: tiny
network:
  image_size: 64
  trunk: {embed_dim: 8, num_heads: 1, stages: [1, 1, 1, 1], global_att_blocks: [3], window_spec: [8, 4, 4, 2], window_pos_embed_bkg_spatial_size: [4, 4]}
  neck: {d_model: 16}
  prompts: {mask_in_chans: 8, boundary_embedding: true, curve_prior: true, click_heat: true, closer_look: true}
  decoder: {depth: 1, num_heads: 2, mlp_dim: 16, iou_head_hidden_dim: 8, dynamic_multimask: false}
  memory: {mem_dim: 8, attention_layers: 1, attention_ffn: 16, fuser_layers: 1}
preprocess: {fit: letterbox}
weights: {licence: CC0-1.0}
";

/// What the reference says of Eq. 1 and of the clicks (`tests/data/golden/README.md`).
struct Golden(Vec<u8>);

impl Golden {
    fn open() -> Self {
        Self(std::fs::read(crate::golden_weights::fixture("golden_samusa.safetensors")).unwrap())
    }

    fn bytes(&self, name: &str) -> (Vec<usize>, Vec<u8>) {
        let all = SafeTensors::deserialize(&self.0).unwrap();
        let view = all.tensor(name).unwrap();
        (view.shape().to_vec(), view.data().to_vec())
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.bytes(name)
            .1
            .chunks_exact(4)
            .map(|c| f32::from_le_bytes(c.try_into().unwrap()))
            .collect()
    }

    fn ints(&self, name: &str) -> Vec<i32> {
        self.bytes(name)
            .1
            .chunks_exact(4)
            .map(|c| i32::from_le_bytes(c.try_into().unwrap()))
            .collect()
    }

    /// The clicks of the boundary-loss case; the reference counts from pixel centres.
    fn clicks(&self) -> Vec<Vec<PointPx>> {
        vec![
            self.floats("bl.points")
                .chunks(2)
                .map(|p| PointPx::new(p[0] + 0.5, p[1] + 0.5))
                .collect(),
        ]
    }
}

/// The logits of the reference's case, 64 rows of 80: an ellipse with a ripple, so that nothing is symmetric.
fn rippled_ellipse() -> Vec<f32> {
    let logit = |i: usize| {
        let (x, y) = ((i % 80) as f64, (i / 80) as f64);
        let r = ((y - 30.0) / 17.0).powi(2) + ((x - 41.0) / 23.0).powi(2);
        (12.0 * (1.0 - r.sqrt()) + 0.7 * (0.31 * x + 0.17 * y).sin()) as f32
    };
    (0..64 * 80).map(logit).collect()
}

/// The values of which the fixture keeps a plane.
fn sampled(plane: &[f32]) -> Vec<f32> {
    plane.iter().step_by(31).copied().collect()
}

fn ellipse(middle: (f64, f64), half_axes: (f64, f64)) -> Bitmap {
    Bitmap::from_fn(64, 48, |x, y| {
        let (dx, dy) = (f64::from(x) - middle.0, f64::from(y) - middle.1);
        (dx / half_axes.0).powi(2) + (dy / half_axes.1).powi(2) <= 1.0
    })
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_into_vec_as::<f32>().unwrap()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn the_boundary_loss_and_its_gradient_are_the_references_in_every_reading() {
    let golden = Golden::open();
    let device = Device::flex().autodiff();
    let logits = rippled_ellipse();
    for (reading, name) in [
        (Reading::Literal, "literal"),
        (Reading::LiteralMax, "literal_max"),
        (Reading::Ridge, "ridge"),
        (Reading::Edge, "edge"),
    ] {
        for (mass, tag) in [(ClickMass::Unit, "unit"), (ClickMass::Amp1, "amp1")] {
            let config = BoundaryLossConfig { reading, mass, ..BoundaryLossConfig::default() };
            let loss = BoundaryLoss::new(config, [64, 80], &device);
            let data = TensorData::new(logits.clone(), [1, 64, 80]);
            let x = Tensor::<3>::from_data(data, &device).require_grad();
            let exponent = values(loss.exponent(x.clone(), &golden.clicks()))[0];
            let wanted = golden.floats(&format!("bl.{name}.{tag}.exponent"))[0];
            assert!(
                (exponent - wanted).abs() < 1e-4 * wanted.abs().max(1.0),
                "{name} {tag}: {exponent} {wanted}"
            );
            let out = loss.forward(x.clone(), &golden.clicks());
            let wanted = golden.floats(&format!("bl.{name}.{tag}.loss"))[0];
            let found = values(out.clone())[0];
            assert!(
                (found - wanted).abs() <= 1e-3 * wanted.abs() + 1e-12,
                "{name} {tag}: {found} {wanted}"
            );
            let grads = out.backward();
            let gradient = sampled(&values(x.grad(&grads).unwrap()));
            let wanted = golden.floats(&format!("bl.{name}.{tag}.grad_logits"));
            let scale = wanted.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            let off = largest_difference(&gradient, &wanted);
            assert!(off <= 2e-3 * scale + 1e-9, "{name} {tag}: {off} of {scale}");
        }
    }
    let smooth = BoundaryLoss::new(BoundaryLossConfig::default(), [64, 80], &device);
    let x = Tensor::<3>::from_data(TensorData::new(logits, [1, 64, 80]), &device);
    let smooth = sampled(&values(smooth.smooth(x)));
    assert!(largest_difference(&smooth, &golden.floats("bl.smooth")) < 1e-5);
}

#[test]
fn the_simulated_annotator_clicks_where_the_reference_does() {
    let golden = Golden::open();
    let truth = ellipse((30.0, 24.0), (18.0, 13.0));
    let predicted = ellipse((34.0, 21.0), (15.0, 11.0));
    let line = contour(&truth);
    let wanted: Vec<PointPx> = golden
        .ints("fp.gt_boundary_yx")
        .chunks(2)
        .map(|p| PointPx::pixel_centre(p[1] as u32, p[0] as u32))
        .collect();
    assert_eq!(line, wanted);
    let sequence = golden.ints("fp.sequence_first17_exclude5");
    let mut clicks = vec![line[17]];
    let mut found = vec![17];
    for step in 1..sequence.len() {
        let (seen, exclude) =
            if step == 1 { (Vec::new(), 0.0) } else { (contour(&predicted), 5.0) };
        let at = next_boundary_click(&line, &seen, &clicks, exclude).unwrap();
        found.push(at as i32);
        clicks.push(line[at]);
    }
    assert_eq!(found, sequence);
}

/// Bright discs on textured ground, with their masks, as a data folder.
pub(crate) fn discs(dir: &Path, count: usize) -> DataSource {
    let mut list = String::new();
    for i in 0..count {
        let (cx, cy, r) = (40.0 + 3.0 * i as f32, 36.0, 14.0 + i as f32);
        let inside = |x: u32, y: u32| (x as f32 + 0.5 - cx).hypot(y as f32 + 0.5 - cy) <= r;
        let gray =
            |x: u32, y: u32| if inside(x, y) { 180 } else { 60 } + ((x * 7 + y * 13) % 23) as u8;
        let image = image::GrayImage::from_fn(96, 80, |x, y| image::Luma([gray(x, y)]));
        let mask = image::GrayImage::from_fn(96, 80, |x, y| image::Luma([u8::from(inside(x, y))]));
        image.save(dir.join(format!("d{i}.png"))).unwrap();
        mask.save(dir.join(format!("d{i}.mask.png"))).unwrap();
        list += &format!("d{i}\n");
    }
    std::fs::write(dir.join("all.txt"), list).unwrap();
    DataSource { dir: dir.to_owned(), list: Some("all.txt".into()), ..DataSource::default() }
}

pub(crate) fn tiny() -> ModelCard {
    ModelCard::from_yaml(TINY).unwrap()
}

#[test]
fn data_folders_say_what_is_wrong_and_what_they_hold() {
    let dir = tempfile::tempdir().unwrap();
    let source = discs(dir.path(), 3);
    let set = StillSet::load(&source, None, Pick::AllComponents).unwrap();
    assert_eq!((set.stills.len(), set.objects(), set.stills[0].frame().width_px), (3, 3, 96));
    let small = StillSet::load(&source, Some(48), Pick::LargestOfLabel).unwrap();
    assert_eq!((small.stills[0].frame().width_px, small.stills[0].frame().height_px), (48, 40));
    let ratio =
        small.stills[0].objects[0].area_px() as f32 / set.stills[0].objects[0].area_px() as f32;
    assert!((ratio - 0.25).abs() < 0.02, "{ratio}");
    assert_eq!(set.sha256, small.sha256);
    std::fs::write(dir.path().join("all.txt"), "d0\nd1\n").unwrap();
    assert_ne!(StillSet::load(&source, None, Pick::AllComponents).unwrap().sha256, set.sha256);
    image::GrayImage::new(5, 5).save(dir.path().join("d1.mask.png")).unwrap();
    let refused = StillSet::load(&source, None, Pick::AllComponents);
    assert!(
        matches!(&refused, Err(DataError::Size { file, .. }) if file.contains("d1.mask.png")),
        "{refused:?}"
    );
    std::fs::write(dir.path().join("all.txt"), "../d0\n").unwrap();
    assert!(matches!(
        StillSet::load(&source, None, Pick::AllComponents),
        Err(DataError::Nothing { .. })
    ));
    assert_eq!(DataSource::parse("a/b:train.txt").name(), "b/train");
}

#[test]
fn a_lesson_is_a_function_of_its_seed_and_its_masks_stay_exact() {
    let dir = tempfile::tempdir().unwrap();
    let sets = vec![StillSet::load(&discs(dir.path(), 3), None, Pick::AllComponents).unwrap()];
    let plan =
        |subject, seed| Plan { subject, side: 64, batch: 3, focal: 20.0, boundary: 2.0, seed };
    let stills = |seed| match plan(Subject::Boundary, seed).render(&sets) {
        Batch::Stills(lessons) => lessons,
        _ => panic!("stills were asked for"),
    };
    let (first, again, other) = (stills(5), stills(5), stills(6));
    assert_eq!(first[0].image, again[0].image);
    assert_ne!(first[0].image, other[0].image);
    // The discs are brighter than their ground whatever gamma, gain and speckle did.
    let mut brighter = 0;
    for lesson in first.iter().chain(&other) {
        let mean = |inside: bool| {
            let picked = lesson
                .image
                .iter()
                .zip(&lesson.masks[0].pixels)
                .filter(|(v, m)| **m == inside && **v > 0.0);
            let (sum, n) = picked.fold((0.0, 0), |(s, n), (v, _)| (s + v, n + 1));
            sum / n.max(1) as f32
        };
        brighter += usize::from(mean(true) > mean(false));
    }
    assert_eq!(brighter, 6);
    let subject = Subject::Clip { frames: 5, prompt: ClipPrompt::Masks };
    let Batch::Clips(clips) = plan(subject, 9).render(&sets) else { panic!("clips") };
    assert_eq!(clips.len(), 3);
    for clip in &clips {
        assert_eq!((clip.frames.len(), clip.masks.len(), clip.carried.len()), (5, 5, 5));
        assert!(clip.masks[0].area_px() > 0 && clip.carried[0].is_none());
        for (mask, carried) in clip.masks.iter().zip(&clip.carried) {
            let Some(carried) = carried else { continue };
            assert!(mask.area_px() > 0 && carried.len() == 256);
            assert!(carried.iter().all(|l| l.abs() <= 6.0));
        }
    }
}

fn options(source: DataSource, out: &Path, start: &Path) -> TrainOptions {
    let mut options = TrainOptions::new(vec![source], tiny(), out.to_owned(), Budget::Steps(8));
    options.sides = [64, 64];
    options.batches = [4, 4];
    options.clips_from = 0.2;
    options.clip_share = 0.5;
    options.clip_clicks = 0.5;
    options.clip_frames = 3;
    options.threads = 1;
    options.report_every = 1;
    options.start_from = Some(start.to_owned());
    options
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let source = discs(dir.path(), 3);
    let device = Device::flex();
    let start = dir.path().join("start.safetensors");
    std::fs::write(&start, tiny().network.init(&device).to_safetensors().unwrap()).unwrap();
    let never = AtomicBool::new(false);

    let mut steps = Vec::new();
    let mut looks = Vec::new();
    let picked = pick(DeviceWant::Cpu).unwrap();
    let mut whole = options(source.clone(), &dir.path().join("whole"), &start);
    whole.held_back = vec![source.clone()];
    whole.validate_every = 2;
    let seen = |p: &Progress| {
        steps.push((p.step, p.loss));
        if p.step == 5 {
            // Were it killed now, there would be a network that loads and a checkpoint.
            load_network(Some(&dir.path().join("whole/tiny.yaml")), &picked).unwrap();
            assert!(dir.path().join("whole/tiny.checkpoint").is_file());
        }
        looks.push((p.validation_dice, p.best_dice));
    };
    let report = train(&whole, std::slice::from_ref(&device), seen, &never).unwrap();
    assert_eq!((report.steps, report.cancelled, steps.len()), (8, false, 8));
    assert!(steps.iter().any(|(_, loss)| loss[1].is_finite()), "no clip was shown: {steps:?}");

    // The best of all looks is what was kept.
    let best = looks.iter().filter_map(|(now, _)| *now).fold(0.0, f64::max);
    assert_eq!((looks[0], looks[7].1), ((None, None), Some(best)));
    assert_eq!(report.validation_dice, Some(best));

    let mut parts = options(source, &dir.path().join("parts"), &start);
    (parts.held_back, parts.validate_every) = (whole.held_back.clone(), 2);
    let stop = AtomicBool::new(false);
    let stopped = train(
        &parts,
        std::slice::from_ref(&device),
        |p| stop.store(p.step == 3, Ordering::Relaxed),
        &stop,
    )
    .unwrap();
    assert_eq!((stopped.steps, stopped.cancelled), (3, true));
    assert_eq!(stopped.validation_dice, looks[1].1, "a cancelled run keeps the best so far");
    parts.resume = true;
    let resumed = train(&parts, std::slice::from_ref(&device), |_| {}, &never).unwrap();
    assert_eq!((resumed.steps, resumed.images), (8, report.images));
    assert_eq!((&resumed.sha256, resumed.validation_dice), (&report.sha256, Some(best)));
    let checkpoint = |o: &TrainOptions| Checkpoint::read(&o.out.join("tiny.checkpoint")).unwrap();
    let (mut a, b) = (checkpoint(&whole), checkpoint(&parts));
    assert_ne!(a.head.seconds, b.head.seconds);
    a.head.seconds = b.head.seconds;
    assert!(a == b, "weights are equal but the optimiser's state is not");

    let card = ModelCard::from_yaml(&std::fs::read_to_string(parts.out.join("tiny.yaml")).unwrap())
        .unwrap();
    assert_eq!((card.weights.sha256, card.weights.data.len()), (resumed.sha256, 1));
    let program = format!("sonomark {}, recipe {RECIPE}", env!("CARGO_PKG_VERSION"));
    assert_eq!(card.weights.program, program);
    // Nobody goes over a run by mistake, nor on with another one.
    let refused = train(&whole, std::slice::from_ref(&device), |_| {}, &never).unwrap_err();
    assert!(refused.to_string().contains("--resume, begin anew with --overwrite"), "{refused}");
    parts.weights.boundary += 1.0;
    let refused = train(&parts, std::slice::from_ref(&device), |_| {}, &never).unwrap_err();
    assert!(refused.to_string().contains("its losses: "), "{refused}");
    parts.weights.boundary -= 1.0;
    // Nor with other first weights, another preprocessing or other stills to choose the best by.
    let refused = |parts: &TrainOptions| {
        train(parts, std::slice::from_ref(&device), |_| {}, &never).unwrap_err().to_string()
    };
    parts.start_from = None;
    assert!(refused(&parts).contains("its first weights: "), "{}", refused(&parts));
    parts.start_from = Some(start);
    let before = std::mem::take(&mut parts.held_back);
    assert!(refused(&parts).ends_with(
        "not nothing; use the same version, card, data, seed and options, or another output folder"
    ));
    assert!(refused(&parts).contains("its data held back: "), "{}", refused(&parts));
    parts.held_back = before;
    parts.card.preprocess.mean[0] += 0.1;
    assert!(refused(&parts).contains("its preprocessing: "), "{}", refused(&parts));
    parts.card.preprocess = tiny().preprocess;
    parts.seed = 99;
    let refused =
        train(&parts, std::slice::from_ref(&device), |_| {}, &never).unwrap_err().to_string();
    assert!(refused.contains("seed is 0, not 99"), "{refused}");
    let file = parts.out.join("tiny.checkpoint");
    let bytes = std::fs::read(&file).unwrap();
    // Nor by a version that computes otherwise.
    let recipe = format!("\"recipe\":\"{RECIPE}\"");
    let at = String::from_utf8_lossy(&bytes).find(&recipe).unwrap() + recipe.len() - 2;
    std::fs::write(&file, [&bytes[..at], b"x", &bytes[at + 1..]].concat()).unwrap();
    parts.seed = 0;
    let refused =
        train(&parts, std::slice::from_ref(&device), |_| {}, &never).unwrap_err().to_string();
    assert!(refused.contains("its recipe: x, not "), "{refused}");
    std::fs::write(&file, &bytes[..bytes.len() - 5]).unwrap();
    assert!(matches!(Checkpoint::read(&file), Err(CheckpointError::Damaged { .. })));
    let older = String::from_utf8_lossy(&bytes).find("checkpoint-2").unwrap();
    let bytes = [&bytes[..older], b"checkpoint-1", &bytes[older + 12..]].concat();
    std::fs::write(&file, bytes).unwrap();
    assert!(matches!(Checkpoint::read(&file), Err(CheckpointError::Older(_))));
}

/// In a process of its own: the generator of the CPU is one for all threads, and other tests draw from it.
#[cfg(feature = "gpu")]
#[test]
fn the_first_weights_are_the_same_on_a_gpu() {
    let ran = crate::surroundings::child_test("learn::child_first_weights").output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}

/// The matrix of positions is drawn, never trained and in no checkpoint. A software GPU will do.
#[cfg(feature = "gpu")]
#[test]
#[ignore = "the process of the test above"]
fn child_first_weights() {
    let Some(first) = crate::surroundings::gpu() else { return };
    let gpu = pick(DeviceWant::Gpu(Some(first.index))).expect("the self-test");
    let dir = tempfile::tempdir().unwrap();
    let source = discs(dir.path(), 3);
    let sha256 = [Device::flex(), gpu.device].map(|device| {
        let out = dir.path().join(format!("{device:?}").replace(['/', ' '], ""));
        let mut options = options(source.clone(), &out, Path::new(""));
        options.start_from = None;
        // Cancelled before the first step: what is written is where it starts.
        train(&options, &[device], |_| {}, &AtomicBool::new(true)).unwrap().sha256
    });
    assert_eq!(sha256[0], sha256[1]);
}

#[test]
fn the_weight_of_dice_weighs_dice_alone() {
    let dir = tempfile::tempdir().unwrap();
    let set = StillSet::load(&discs(dir.path(), 3), None, Pick::AllComponents).unwrap();
    let (device, card) = (Device::flex().autodiff(), tiny());
    let net = card.network.init(&device);
    let loss = |dice: f64, focal: f64| {
        let weights = LossWeights { dice, iou: 0.0, object: 0.0, ..LossWeights::default() };
        let mut desk = Desk::new(card.preprocess.clone(), weights, &device);
        let subject = Subject::Boundary;
        let plan = Plan { subject, side: 64, batch: 2, focal, boundary: 0.0, seed: 7 };
        let batch = plan.render(std::slice::from_ref(&set));
        desk.teach(&net, &plan, &batch).unwrap().1.loss
    };
    assert!(loss(0.0, 20.0) > 0.0 && loss(1.0, 0.0) > 0.0);
    assert_eq!(loss(0.0, 0.0), 0.0);
}

/// Also where every line of progress is one of a single step.
#[test]
fn a_run_that_is_lost_ends_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let source = discs(dir.path(), 3);
    let device = Device::flex();
    let mut options = options(source, &dir.path().join("out"), Path::new(""));
    options.start_from = None;
    (options.rate, options.budget) = (1e30, Budget::Steps(60));
    let lost = train(&options, std::slice::from_ref(&device), |_| {}, &AtomicBool::new(false));
    let lost = lost.unwrap_err();
    assert!(matches!(lost, TrainError::Diverged(_)), "{lost}");
    assert!(
        lost.to_string().ends_with("smaller learning rate: --rate NUMBER --overwrite"),
        "{lost}"
    );
}

#[test]
fn training_lowers_the_loss() {
    let dir = tempfile::tempdir().unwrap();
    let source = discs(dir.path(), 3);
    let device = Device::flex();
    let start = dir.path().join("start.safetensors");
    std::fs::write(&start, tiny().network.init(&device).to_safetensors().unwrap()).unwrap();
    let sets = vec![StillSet::load(&source, None, Pick::AllComponents).unwrap()];
    let mut options = options(source, &dir.path().join("out"), &start);
    options.budget = Budget::Steps(160);
    let report =
        train(&options, std::slice::from_ref(&device), |_| {}, &AtomicBool::new(false)).unwrap();
    // The same fixed lessons before and after; stills and clips, both kinds of points.
    let device = device.autodiff();
    let card = tiny();
    let clip = |prompt| Subject::Clip { frames: 3, prompt };
    let clips = [ClipPrompt::Masks, ClipPrompt::Boundary, ClipPrompt::Region].map(clip);
    for subject in [Subject::Boundary, Subject::Region].into_iter().chain(clips) {
        let plan = Plan { subject, side: 64, batch: 4, focal: 20.0, boundary: 2.0, seed: 77 };
        let batch = plan.render(&sets);
        let loss = |file: &Path| {
            let net = card.network.init(&device).load_file(file, &card.weights).unwrap();
            let mut desk = Desk::new(card.preprocess.clone(), LossWeights::default(), &device);
            desk.teach(&net, &plan, &batch).unwrap().1.loss
        };
        let (before, after) = (loss(&start), loss(&report.weights));
        assert!(after < 0.95 * before, "{subject:?}: {before} -> {after}");
    }
}

#[test]
fn the_curve_finds_discs_and_the_report_has_its_shape() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = ClickOptions::new(vec![discs(dir.path(), 3)]);
    options.points = 6;
    let cancel = AtomicBool::new(false);
    let reports = evaluate_clicks(&Judged::Baseline(Baseline::Curve), &options, &cancel).unwrap();
    let mean = &reports["mean"];
    assert_eq!((mean.objects, mean.points.len()), (3, 6));
    assert!(mean.points[&1].dice < 0.2 && mean.points[&6].dice > 0.95, "{mean:?}");
    assert!(mean.noc90 <= 4.0 && mean.fail90 == 0.0);
    let json = serde_json::to_value(mean).unwrap();
    assert!(json["points"]["6"]["iou"].as_f64().unwrap() > 0.9 && json["noc85"].is_number());
    let spline = evaluate_clicks(&Judged::Baseline(Baseline::Spline), &options, &cancel).unwrap();
    // A circle through two opposite points of a disc is the disc.
    assert!(spline["mean"].points[&2].dice > 0.95);
    // Two folders of one name are two sets.
    let again = tempfile::tempdir().unwrap();
    let name = dir.path().file_name().unwrap();
    std::fs::create_dir(again.path().join(name)).unwrap();
    let mut two = options.clone();
    two.sources.push(discs(&again.path().join(name), 2));
    let both = evaluate_clicks(&Judged::Baseline(Baseline::Curve), &two, &cancel).unwrap();
    assert_eq!((both.len(), both["mean"].objects), (3, 5));
    options.noise_px = 3.5;
    let shaky = evaluate_clicks(&Judged::Baseline(Baseline::Curve), &options, &cancel).unwrap();
    assert!(shaky["mean"].points[&6].dice < mean.points[&6].dice);
    options.placing = Placing::Region;
    let blind = evaluate_clicks(&Judged::Baseline(Baseline::Curve), &options, &cancel).unwrap();
    assert_eq!(blind["mean"].points[&6].dice, 0.0);
    cancel.store(true, Ordering::Relaxed);
    assert!(evaluate_clicks(&Judged::Baseline(Baseline::Curve), &options, &cancel).is_err());
}

/// A disc that drifts over texture for eight frames, gone on frames 3 and 4.
pub(crate) fn drifting_clip(dir: &Path) {
    let clip = dir.join("drift");
    std::fs::create_dir_all(&clip).unwrap();
    for f in 0..8u32 {
        let cx = 40.0 + 1.5 * f as f32;
        let gone = f == 3 || f == 4;
        let inside =
            |x: u32, y: u32| !gone && (x as f32 + 0.5 - cx).hypot(y as f32 + 0.5 - 48.0) <= 16.0;
        let gray = |x: u32, y: u32| {
            let (u, v) = (x as f32 - 1.5 * f as f32, y as f32);
            let texture =
                (0.31 * u).sin() + (0.23 * v + 0.1 * u).sin() + (0.17 * u - 0.37 * v).cos();
            (110.0 + 20.0 * texture + if inside(x, y) { 40.0 } else { 0.0 }) as u8
        };
        image::GrayImage::from_fn(96, 96, |x, y| image::Luma([gray(x, y)]))
            .save(clip.join(format!("{f:05}.png")))
            .unwrap();
        let mask = image::GrayImage::from_fn(96, 96, |x, y| image::Luma([u8::from(inside(x, y))]));
        mask.save(clip.join(format!("{f:05}.mask.png"))).unwrap();
    }
    std::fs::write(
        dir.join("windows.yaml"),
        "drift:\n  objects:\n    1:\n      windows:\n      - [0, 2]\n      - [5, 7]\n",
    )
    .unwrap();
}

/// All of them at once; a test has few.
pub(crate) fn labelled_clips(dir: &Path, veil: &Veil) -> Result<Vec<LabelledClip>, DataError> {
    LabelledClips::open(dir, veil, &mut |_| {})?.iter().collect()
}

#[test]
fn clips_are_decoded_one_at_a_time_and_must_stay_what_they_were() {
    let dir = tempfile::tempdir().unwrap();
    drifting_clip(dir.path());
    let later = dir.path().join("later");
    std::fs::create_dir(&later).unwrap();
    for entry in std::fs::read_dir(dir.path().join("drift")).unwrap() {
        let file = entry.unwrap();
        std::fs::copy(file.path(), later.join(file.file_name())).unwrap();
    }
    // The second structure is never visible.
    let described = "drift: {objects: {1: {windows: [[0, 2]]}}}\nlater: {objects: {1: {}}}\n";
    std::fs::write(dir.path().join("windows.yaml"), described).unwrap();
    let mut seen = Vec::new();
    let clips = LabelledClips::open(dir.path(), &Veil::default(), &mut |clip| {
        seen.push(clip.name.clone());
    });
    let clips = clips.unwrap();
    assert_eq!(seen, ["drift", "later"]);
    assert_eq!((clips.structures(), clips.sha256().len()), (1, 64));
    assert!(clips.iter().all(|clip| clip.is_ok()));
    // What was opened is not held: a frame that is overwritten before its turn is told.
    let mut one_by_one = clips.iter();
    assert_eq!(one_by_one.next().unwrap().unwrap().frames.len(), 8);
    image::GrayImage::new(96, 96).save(later.join("00003.png")).unwrap();
    let told = one_by_one.next().unwrap().unwrap_err().to_string();
    assert!(told.contains("later cannot be used: it is not what it was"), "{told}");
    assert!(one_by_one.next().is_none());
}

#[test]
fn a_clip_is_judged_inside_its_windows_and_without_prompted_frames() {
    let dir = tempfile::tempdir().unwrap();
    drifting_clip(dir.path());
    let clips = labelled_clips(dir.path(), &Veil::default()).unwrap();
    assert_eq!((clips.len(), clips[0].frames.len(), clips[0].objects[0].windows.len()), (1, 8, 2));
    let device = Device::flex();
    let card = tiny();
    let sam = card.network.init(&device);
    let tracking = Tracking { sam: &sam, preprocess: &card.preprocess, device: &device };
    let mut options = VideoOptions::new(dir.path());
    // An untrained network must not spoil what motion knows.
    options.follow = FollowOptions { correction: 0.0, ..FollowOptions::default() };
    let cancel = AtomicBool::new(false);
    let report = evaluate_video(tracking, &options, &cancel).unwrap();
    assert_eq!((report.objects, report.rounds.len()), (1, 8));
    assert!(report.rounds[0].iou > 0.75, "{report:?}");
    assert!(report.rounds[7].iou >= report.rounds[0].iou - 1e-9 && report.prompted_frames >= 1.0);
    let json = serde_json::to_value(&report).unwrap();
    assert!(json["rounds"][0]["dice"].is_number() && json["prompted_frames"].is_number());
    std::fs::write(dir.path().join("windows.yaml"), "../drift: {}\n").unwrap();
    assert!(labelled_clips(dir.path(), &Veil::default()).is_err());
    // A window beyond the clip is told; a structure that is never visible is no evidence.
    let described = |windows: &str| {
        let text = format!("drift:\n  objects:\n    1: {{windows: [{windows}]}}\n");
        std::fs::write(dir.path().join("windows.yaml"), text).unwrap();
    };
    described("[0, 2], [9, 12]");
    let refused = labelled_clips(dir.path(), &Veil::default()).unwrap_err().to_string();
    assert!(refused.contains("[9, 12] of label 1") && refused.contains("8 frames"), "{refused}");
    described("");
    let tracking = Tracking { sam: &sam, preprocess: &card.preprocess, device: &device };
    assert_eq!(evaluate_video(tracking, &options, &cancel).unwrap().objects, 0);
}

#[test]
fn boundary_points_end_on_the_contour_of_the_answer_of_any_weights() {
    let device = Device::flex();
    let frame = GrayFrame::new(120, 90, (0..120 * 90).map(|i| (i % 251) as u8).collect()).unwrap();
    let spots = [(30.5, 40.5), (80.5, 40.5), (55.5, 15.5), (55.5, 70.5), (75.5, 60.5)];
    let points = spots.iter().map(|(x, y)| (PointKind::Boundary, PointPx::new(*x, *y))).collect();
    let prompts = FramePrompts { points, ..FramePrompts::default() };
    // Weights that learned of boundary points, and weights as published.
    for card in [tiny(), crate::stock::card(false)] {
        let sam = card.network.init(&device);
        let (input, letterbox) = card.preprocess.frame(&frame, 64, &device);
        let (features, preprocess) = (&sam.encode_image(input), &card.preprocess);
        let view =
            View { frame: &frame, preprocess, device: &device, features, letterbox: &letterbox };
        let answer = Predictor::new(&sam).predict(view, &prompts).unwrap();
        assert_eq!(
            (answer.bitmap.width_px, answer.bitmap.height_px, answer.logits.len()),
            (120, 90, 120 * 90)
        );
        let line = contour(&answer.bitmap);
        for (x, y) in spots {
            let off = line.iter().map(|p| p.distance(PointPx::new(x, y)));
            let off = off.fold(f32::INFINITY, f32::min);
            assert!(off <= 2.0, "{}: ({x}, {y}) is {off} px from the contour", card.name);
        }
        assert!((0.0..=1.0).contains(&answer.score) && answer.object_score_logit.is_finite());
    }
}

/// Curve and snap are off, which would hide where a change comes from. What the look is worth is a matter of many stills:
/// see the model card.
#[test]
fn the_closer_look_changes_its_box_alone() {
    let picked = pick(DeviceWant::Cpu).unwrap();
    let (card, sam) = load_network(None, &picked).unwrap();
    assert!(card.network.prompts.closer_look);
    let set = StillSet::load(&stills(), None, Pick::LargestOfLabel).unwrap();
    let (still, truth) = (&set.stills[0], set.stills[0].objects[0].to_bitmap());
    let line = contour(&truth);
    let points = [0, line.len() / 3, 2 * line.len() / 3].map(|i| (PointKind::Boundary, line[i]));
    let prompts = FramePrompts { points: points.to_vec(), ..FramePrompts::default() };
    let (frame, device) = (still.frame(), &picked.device);
    let (input, letterbox) = card.preprocess.frame(frame, card.network.image_size, device);
    let features = sam.encode_image(input);
    let (preprocess, features, letterbox) = (&card.preprocess, &features, &letterbox);
    let view = View { frame, preprocess, device, features, letterbox };
    let ask = |closer_share| {
        let options = PredictOptions { snap: false, curve_share: Vec::new(), closer_share };
        Predictor::with_options(&sam, options).predict(view, &prompts).unwrap()
    };
    let (once, twice) = (ask(0.0), ask(0.6));
    let shown = once.bitmap.bounds().unwrap();
    let extent = points.map(|(_, at)| at).into_iter().chain([shown.min, shown.max]);
    let look = closer_box(BoxPx::of(extent).unwrap(), frame).expect("room to look closer");
    let width = frame.width_px as usize;
    for (i, (a, b)) in once.logits.iter().zip(&twice.logits).enumerate() {
        let (x, y) = (i % width, i / width);
        let inside = (look.left..look.left + look.width).contains(&x)
            && (look.top..look.top + look.height).contains(&y);
        assert!(inside || a == b, "({x}, {y}) is outside and changed");
    }
    let changed = once.logits.iter().zip(&twice.logits).filter(|(a, b)| a != b).count();
    assert!(changed > look.width * look.height / 2, "{changed} pixels changed");
}

/// What it takes to ask the shipped network about one still.
struct Asked {
    card: ModelCard,
    sam: Sam2,
    device: Device,
    set: StillSet,
}

impl Asked {
    fn shipped() -> Self {
        let picked = pick(DeviceWant::Cpu).unwrap();
        let (card, sam) = load_network(None, &picked).unwrap();
        let set = StillSet::load(&stills(), None, Pick::LargestOfLabel).unwrap();
        Self { card, sam, device: picked.device, set }
    }

    fn truth(&self) -> Bitmap {
        self.set.stills[0].objects[0].to_bitmap()
    }

    fn answer(&self, points: &[(PointKind, PointPx)], shown: Option<Shown<'_>>) -> Answer {
        let frame = self.set.stills[0].frame();
        let (preprocess, device) = (&self.card.preprocess, &self.device);
        let (input, letterbox) = preprocess.frame(frame, self.card.network.image_size, device);
        let features = &self.sam.encode_image(input);
        let view = View { frame, preprocess, device, features, letterbox: &letterbox };
        let prompts = FramePrompts { points: points.to_vec(), ..FramePrompts::default() };
        let options = PredictOptions { snap: false, ..PredictOptions::default() };
        Predictor::with_options(&self.sam, options).correct(view, &prompts, shown).unwrap()
    }
}

fn stills() -> DataSource {
    DataSource::parse(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/stills"))
}

#[test]
fn stills_judged_side_by_side_give_what_each_gives_alone() {
    let mut asked = Asked::shipped();
    // Clicks are drawn anew for each structure, so equal stills are judged differently.
    let first = asked.set.stills[0].clone();
    asked.set.stills.extend(["b", "c"].map(|name| Still { name: name.into(), ..first.clone() }));
    let (sam, preprocess, device) = (&asked.sam, &asked.card.preprocess, &asked.device);
    let judged = Judged::Network { sam, preprocess, device, options: PredictOptions::default() };
    let mut options = ClickOptions::new(vec![stills()]);
    (options.points, options.clicks_to_goal) = (2, false);
    let cancel = AtomicBool::new(false);
    let traced = |limit: Option<usize>| {
        let options = ClickOptions { limit, ..options.clone() };
        let mut told = Vec::new();
        let traces =
            trace_set(&judged, &asked.set, &options, &cancel, &mut |done| told.push(done)).unwrap();
        assert_eq!(told, (1..=traces.len()).collect::<Vec<_>>());
        traces
    };
    let all = traced(None);
    assert_eq!(all.len(), asked.set.objects());
    assert!(all.len() > 2, "several stills");
    let names: Vec<_> = all.iter().map(|trace| (&trace.still, trace.object)).collect();
    let order = asked.set.stills.iter();
    let order = order.flat_map(|still| (0..still.objects.len()).map(|i| (&still.name, i)));
    assert_eq!(names, order.collect::<Vec<_>>());
    // A limit cuts the list and changes nothing before the cut.
    assert_eq!(traced(Some(1)), all[..1]);
    assert_eq!(traced(Some(all.len() - 1)), all[..all.len() - 1]);
    cancel.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(trace_set(&judged, &asked.set, &options, &cancel, &mut |_| {}).is_err());
}

#[test]
fn region_clicks_are_judged_with_the_answer_that_they_correct() {
    let asked = Asked::shipped();
    let truth = asked.truth();
    let mut points = vec![region_click(&truth, None).unwrap()];
    let first = asked.answer(&points, None);
    points.push(region_click(&truth, Some(&first.bitmap)).unwrap());
    let (with, without) =
        (asked.answer(&points, Some(Shown::Answer(&first))), asked.answer(&points, None));
    assert_ne!(with.low_res, without.low_res);
    let mut options = ClickOptions::new(vec![stills()]);
    options.placing = Placing::Region;
    (options.points, options.clicks_to_goal, options.limit) = (2, false, Some(1));
    let predict = PredictOptions { snap: false, ..PredictOptions::default() };
    let (sam, preprocess, device) = (&asked.sam, &asked.card.preprocess, &asked.device);
    let judged = Judged::Network { sam, preprocess, device, options: predict };
    let traces =
        trace_set(&judged, &asked.set, &options, &AtomicBool::new(false), &mut |_| {}).unwrap();
    let wanted = [&first, &with].map(|answer| overlap(&answer.bitmap, &truth).dice);
    assert_eq!(traces[0].dice, wanted);
    // So does the workstation, whether the points come one by one or are read from a project.
    let mut net = NetSegmenter::load(None, "cpu").unwrap();
    net.open_clip(1);
    let image = Image { frame: 0, pixels: asked.set.stills[0].frame() };
    let prompts =
        |count: usize| FramePrompts { points: points[..count].to_vec(), ..FramePrompts::default() };
    let wanted = tidied(with.bitmap.clone(), &prompts(2));
    assert_eq!(net.refresh(image, &prompts(2)).unwrap().bitmap, wanted);
    net.refresh(image, &prompts(1)).unwrap();
    assert_eq!(net.refresh(image, &prompts(2)).unwrap().bitmap, wanted);
    // Boundary points learned without it.
    let line = contour(&truth);
    let points = [0, line.len() / 2].map(|i| (PointKind::Boundary, line[i]));
    assert_eq!(asked.answer(&points, Some(Shown::Answer(&first))), asked.answer(&points, None));
}

#[test]
fn a_lone_outside_click_corrects_the_mask_that_was_shown() {
    let asked = Asked::shipped();
    let truth = asked.truth();
    let bounds = truth.bounds().unwrap();
    // A blob too much, beside the structure.
    let (x, y) = (bounds.max.x + 20.0, (bounds.min.y + bounds.max.y) / 2.0);
    let shown = Bitmap::from_fn(truth.width_px, truth.height_px, |u, v| {
        truth.get(i64::from(u), i64::from(v)) || (u as f32 - x).hypot(v as f32 - y) < 15.0
    });
    let click = region_click(&truth, Some(&shown)).unwrap();
    assert_eq!(click.0, PointKind::Outside);
    let with = overlap(&asked.answer(&[click], Some(Shown::Mask(&shown))).bitmap, &truth).iou;
    let without = overlap(&asked.answer(&[click], None).bitmap, &truth).iou;
    assert!(with > 0.6 && without < 0.3, "{with} {without}");
}

/// A project of four stills with an accepted disc each, made as the screen makes one, and the folder of the stills.
pub(crate) fn own_project(dir: &Path) -> (PathBuf, PathBuf) {
    let (project, clips) = (dir.join("project"), dir.join("clips"));
    std::fs::create_dir_all(&clips).unwrap();
    for i in 0..4u64 {
        let (cx, cy, r) = (44.0 + 2.0 * i as f32, 38.0, 15.0 + i as f32);
        let inside = |x: u32, y: u32| (x as f32 + 0.5 - cx).hypot(y as f32 + 0.5 - cy) <= r;
        let gray = |x: u32, y: u32| {
            if inside(x, y) { 170 } else { 50 + ((x * 5 + y * (9 + i as u32)) % 31) as u8 }
        };
        let file = clips.join(format!("c{i}.png"));
        image::GrayImage::from_fn(96, 80, |x, y| image::Luma([gray(x, y)])).save(&file).unwrap();
        // What the network decided is not a person's word.
        let source = if i == 3 { MaskSource::Prompted } else { MaskSource::Accepted };
        let mask = Bitmap::from_fn(96, 80, inside).to_mask();
        journal_disc(&project, &file, &[0], &FrameMask { mask, source, score: 1.0 });
    }
    (project, clips)
}

/// Journals the same mask on `frames` of the clip in `path`.
fn journal_disc(project: &Path, path: &Path, frames: &[usize], mask: &FrameMask) {
    let clip = codec::open(path, &OpenOptions::default()).unwrap();
    let options = StoreOptions { user: "anna".into(), rescue: None };
    let (mut store, loaded) = ClipStore::open_with(project, clip.info(), 0, &options).unwrap();
    let mut content = Track::new("disc", 0);
    content.masks.extend(frames.iter().map(|frame| (*frame, mask.clone())));
    let group = u64::from(loaded.session_seed) << 32 | 1;
    let edits = vec![Edit::AddTrack { track: TrackId(group), content }];
    store.append(&Step { group, mark: Mark::Do, edits, made_from: None }, 0).unwrap();
}

#[test]
fn an_accepted_frame_that_cannot_be_decoded_costs_its_own_lesson_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (project, clips) = own_project(dir.path());
    let scan = clips.join("scan");
    std::fs::create_dir(&scan).unwrap();
    for name in ["c0.png", "c1.png"] {
        std::fs::copy(clips.join(name), scan.join(name)).unwrap();
    }
    let cut = std::fs::read(scan.join("c1.png")).unwrap();
    std::fs::write(scan.join("c1.png"), &cut[..cut.len() / 2]).unwrap();
    let mask = Bitmap::from_fn(96, 80, |x, y| x < 30 && y < 30).to_mask();
    let held = FrameMask { mask, source: MaskSource::Accepted, score: 1.0 };
    journal_disc(&project, &scan, &[0, 1], &held);
    let stills = |project: &Path| {
        accepted_stills(project, std::slice::from_ref(&clips), &OpenOptions::default())
    };
    let own = stills(&project).unwrap();
    assert_eq!((own.set.stills.len(), own.clips, own.notes.len()), (4, 4, 1), "{:?}", own.notes);
    assert!(own.notes[0].contains("frame 2 of scan"), "{:?}", own.notes);
    // Where nothing is left the reason is that.
    let other = dir.path().join("other");
    journal_disc(&other, &scan, &[1], &held);
    let why = stills(&other).unwrap_err().to_string();
    assert!(why.contains("c1.png"), "{why}");
}

#[test]
fn a_network_goes_on_from_own_accepted_frames_with_a_frozen_encoder() {
    let dir = tempfile::tempdir().unwrap();
    let (project, clips) = own_project(dir.path());
    let own =
        accepted_stills(&project, std::slice::from_ref(&clips), &OpenOptions::default()).unwrap();
    assert_eq!((own.set.stills.len(), own.clips, own.notes.len()), (3, 3, 0));
    let missing =
        accepted_stills(&project, &[dir.path().join("elsewhere")], &OpenOptions::default());
    assert!(
        missing.unwrap_err().to_string().contains("no accepted frame whose clip is among --clips")
    );

    let device = Device::flex();
    let before = tiny().network.init(&device).to_safetensors().unwrap();
    let mut options =
        options(DataSource::parse("unused"), &dir.path().join("out"), Path::new("unused"));
    options.start_from = None;
    options.start = Some(before.clone());
    options.frozen_views = Some(3);
    options.clip_share = 0.0;
    options.budget = Budget::Steps(120);
    options.rate = 3e-3;
    let sets = [own.set];
    let report =
        train_on(&sets, &options, std::slice::from_ref(&device), |_| {}, &AtomicBool::new(false))
            .unwrap();
    // What is encoded ahead does not count as time to learn, and can be cancelled.
    let run = |minutes: f64, cancelled: bool| {
        let mut options = options.clone();
        options.out = dir.path().join(format!("{minutes} {cancelled}"));
        options.budget = Budget::Minutes(minutes);
        options.frozen_views = Some(100);
        train_on(
            &sets,
            &options,
            std::slice::from_ref(&device),
            |_| {},
            &AtomicBool::new(cancelled),
        )
    };
    assert!(run(0.004, false).unwrap().steps > 0);
    assert_eq!(run(0.004, true).map(|r| (r.steps, r.cancelled)).unwrap(), (0, true));
    let cut = TrainOptions {
        frozen_views: Some(5000),
        out: dir.path().join("cut"),
        budget: Budget::Minutes(60.0),
        ..options.clone()
    };
    let cancel = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let run = || train_on(&sets, &cut, std::slice::from_ref(&device), |_| {}, &cancel).unwrap();
        let run = scope.spawn(run);
        std::thread::sleep(std::time::Duration::from_millis(600));
        cancel.store(true, Ordering::Relaxed);
        assert_eq!(run.join().unwrap().steps, 0, "it was still encoding");
    });
    let kept = Checkpoint::read(&cut.out.join("tiny.checkpoint")).unwrap();
    assert!(kept.head.seconds < 0.3, "{} s of its budget are gone", kept.head.seconds);
    // More than memory holds is refused before it is begun.
    let many = TrainOptions { frozen_views: Some(1 << 40), overwrite: true, ..options.clone() };
    let refused =
        train_on(&sets, &many, std::slice::from_ref(&device), |_| {}, &AtomicBool::new(false));
    let refused = refused.unwrap_err();
    assert!(matches!(refused, TrainError::Views { .. }), "{refused}");
    let autodiff = device.autodiff();
    let (subject, card) = (Subject::Boundary, tiny());
    let plan = Plan { subject, side: 64, batch: 4, focal: 20.0, boundary: 2.0, seed: 77 };
    let batch = plan.render(&sets);
    let loss = |weights: Vec<u8>| {
        let net = card.network.init(&autodiff).load_bytes("one", weights, &card.weights).unwrap();
        let mut desk = Desk::new(card.preprocess.clone(), LossWeights::default(), &autodiff);
        desk.teach(&net, &plan, &batch).unwrap().1.loss
    };
    let losses = [loss(before.clone()), loss(std::fs::read(&report.weights).unwrap())];
    assert!(losses[1] < 0.95 * losses[0], "{losses:?}");
    // The encoder is what it was, bit for bit; the decoder is not.
    let after = std::fs::read(&report.weights).unwrap();
    let [before, after] = [&before, &after].map(|bytes| SafeTensors::deserialize(bytes).unwrap());
    let mut changed = 0;
    for (name, tensor) in before.iter() {
        let same = tensor.data() == after.tensor(name).unwrap().data();
        assert!(same || !name.starts_with("image_encoder"), "{name} is frozen");
        changed += usize::from(!same && name.starts_with("sam_mask_decoder"));
    }
    assert!(changed > 10);
}
