//! Tests of steps on clips.

use burn::optim::GradientsParams;

use super::*;
use crate::learn::loss::LossWeights;
use crate::learn::optimise::{AdamW, Optimiser};
use crate::net::config::ModelCard;
use crate::net::device::cpu;

const SIDE: usize = 64;
const FRAMES: usize = 5;

/// A bright disc that drifts; out of plane on frame `gone`.
fn drifting(gone: usize) -> ClipLesson {
    let disc = |f: usize| {
        let inside = |x: u32, y: u32| {
            f != gone && (x as f32 - 24.0 - 3.0 * f as f32).hypot(y as f32 - 30.0) < 13.0
        };
        Bitmap::from_fn(SIDE as u32, SIDE as u32, inside)
    };
    let masks: Vec<Bitmap> = (0..FRAMES).map(disc).collect();
    let gray = |(i, inside): (usize, &bool)| {
        0.3 + 0.01 * (i * 7 % 13) as f32 + if *inside { 0.4 } else { 0.0 }
    };
    let frames = masks.iter().map(|m| m.pixels.iter().enumerate().map(gray).collect()).collect();
    ClipLesson { frames, masks, carried: vec![None; FRAMES] }
}

struct Lab {
    net: Sam2,
    desk: Desk,
    optimiser: Optimiser,
    clips: Vec<ClipLesson>,
}

impl Lab {
    fn new() -> Self {
        let card = ModelCard::from_yaml(include_str!("../../../models/samusa-nano.yaml"));
        let card = card.expect("the shipped card");
        let device = cpu("a test").device.autodiff();
        let net = card.network.init(&device);
        let desk = Desk::new(card.preprocess, LossWeights::default(), &device);
        let optimiser = Optimiser::new(&net, AdamW::default());
        Self { net, desk, optimiser, clips: vec![drifting(FRAMES), drifting(4)] }
    }

    /// What a walk along `course` leaves in the bank, and its loss.
    fn walk(&mut self, plan: &Plan, course: &[(usize, Told)]) -> (Bank, Tensor<1>) {
        let Self { net, desk, clips, .. } = self;
        let frames: Vec<&[f32]> =
            (0..FRAMES).flat_map(|f| clips.iter().map(move |c| &c.frames[f][..])).collect();
        let features = net.encode_image(desk.images(&frames, SIDE));
        let reel = Reel { net, plan, clips, features };
        let mut bank = Bank::new(net);
        let user = SimulatedUser::new(plan.seed);
        let (total, _) = desk.walk(&reel, course, user, &mut bank);
        (bank, total.expect("something was judged"))
    }

    /// Names of parameters whose gradient is not zero; all are finite.
    fn reached(&self, loss: &Tensor<1>) -> Vec<String> {
        let grads = GradientsParams::from_grads(loss.backward(), &self.net);
        let grads = self.optimiser.gather(&self.net, grads);
        let named = self.optimiser.slots.iter().zip(&grads);
        let found = named.filter_map(|(slot, grad)| Some((&slot.name, grad.as_ref()?)));
        let mut reached = Vec::new();
        for (name, grad) in found {
            assert!(grad.iter().all(|g| g.is_finite()), "{name}");
            reached.extend(grad.iter().any(|g| *g != 0.0).then(|| name.clone()));
        }
        reached
    }
}

fn plan(prompt: ClipPrompt, seed: u64) -> Plan {
    let subject = Subject::Clip { frames: FRAMES, prompt };
    Plan { subject, side: SIDE, batch: 2, focal: 20.0, boundary: 2.0, seed }
}

const COURSE: [(usize, Told); FRAMES] = [
    (0, Told::Clicks),
    (3, Told::Clicks),
    (1, Told::Nothing),
    (2, Told::Corrections),
    (4, Told::Nothing),
];

#[test]
fn gradients_of_clicked_clips_are_finite_and_reach_prompts_and_memory() {
    let mut lab = Lab::new();
    for (prompt, label) in [(ClipPrompt::Boundary, 4), (ClipPrompt::Region, 1)] {
        let (_, loss) = lab.walk(&plan(prompt, 3), &COURSE);
        let reached = lab.reached(&loss);
        let label = format!("sam_prompt_encoder.point_embeddings.{label}.");
        let parts = [&label, "sam_prompt_encoder.mask_downscaling", "no_mem_embed"];
        for part in parts.into_iter().chain(["memory_encoder", "memory_attention", "image_en"]) {
            let found = reached.iter().filter(|name| name.starts_with(part)).count();
            assert!(found > 0, "{prompt:?}: nothing of {part} in {reached:?}");
        }
    }
}

/// The clicks of a frame learn from what later frames make of its memory.
#[test]
fn the_memory_of_a_clicked_frame_carries_gradient_to_its_clicks() {
    let mut lab = Lab::new();
    let prompts = |reached: &[String]| {
        reached.iter().filter(|name| name.starts_with("sam_prompt_encoder.point")).count()
    };
    let mut reached = |told, prompt, of: fn(&Remembered) -> Tensor<1>| {
        let (bank, _) = lab.walk(&plan(prompt, 3), &[(0, told), (1, Told::Nothing)]);
        prompts(&lab.reached(&of(&bank.kept[&0])))
    };
    let parts: [fn(&Remembered) -> Tensor<1>; 2] = [
        |kept| kept.features.clone().powi_scalar(2).sum(),
        |kept| kept.pointer.clone().powi_scalar(2).sum(),
    ];
    for part in parts {
        assert!(reached(Told::Clicks, ClipPrompt::Boundary, part) > 0);
        // A mask owes nothing to boundary points.
        assert_eq!(reached(Told::Mask, ClipPrompt::Masks, part), 0);
    }
}

#[test]
fn clicked_and_corrected_frames_condition_the_others() {
    let mut lab = Lab::new();
    let (bank, corrected) = lab.walk(&plan(ClipPrompt::Boundary, 3), &COURSE);
    assert_eq!(bank.conditioning, [0, 3, 2]);
    let (masks, pointers) = bank.recall(4);
    let rows = lab.net.config().memory.num_maskmem;
    let places: Vec<usize> = masks.iter().map(|m| m.t_pos).collect();
    assert_eq!(places, [0, 0, 0, rows - 3]);
    let steps: Vec<i64> = pointers.iter().map(|p| p.distance).collect();
    assert_eq!(steps, [4, 1, 2, 3]);
    // Frame 1 reads the masks of frames 2 and 3, which lie ahead, and no pointer of them.
    let (masks, pointers) = bank.recall(1);
    assert_eq!((masks.len(), pointers.len()), (3, 1));
    // A correction changes what is remembered, and is judged.
    let followed = COURSE.map(|(f, told)| if f == 2 { (f, Told::Nothing) } else { (f, told) });
    let (without, loss) = lab.walk(&plan(ClipPrompt::Boundary, 3), &followed);
    assert_eq!(without.conditioning, [0, 3]);
    let kept = |bank: &Bank| numbers(bank.kept[&2].features.clone());
    assert_ne!(kept(&bank), kept(&without));
    assert_ne!(numbers(corrected), numbers(loss));
}

#[test]
fn the_boundary_loss_sees_boundary_clicks_of_clips_alone() {
    let mut lab = Lab::new();
    for (prompt, seen) in
        [(ClipPrompt::Boundary, true), (ClipPrompt::Region, false), (ClipPrompt::Masks, false)]
    {
        let loss = [0.0, 2.0].map(|boundary| {
            let plan = Plan { boundary, ..plan(prompt, 5) };
            numbers(lab.desk.clips(&lab.net, &plan, &lab.clips).0)[0]
        });
        assert_eq!(loss[0] != loss[1], seen, "{prompt:?}: {loss:?}");
    }
}

#[test]
fn a_course_prompts_the_first_frame_and_corrects_what_is_seen() {
    let clips = [drifting(FRAMES), drifting(2)];
    let (mut seconds, mut corrected) = (0, [0; 3]);
    for seed in 0..400 {
        let (found, _) = course(&plan(ClipPrompt::Boundary, seed), &clips);
        let told = |wanted| -> Vec<usize> {
            found.iter().filter(|(_, told)| *told == wanted).map(|(f, _)| *f).collect()
        };
        let (clicks, mended) = (told(Told::Clicks), told(Told::Corrections));
        assert!(clicks[0] == 0 && !clicks.contains(&2) && !mended.contains(&2), "{found:?}");
        // Prompted frames first, then the others in the order of time; each once.
        let others: Vec<usize> = found[clicks.len()..].iter().map(|(f, _)| *f).collect();
        assert!(found[..clicks.len()].iter().all(|(_, t)| *t == Told::Clicks));
        assert!(others.is_sorted() && others.len() + clicks.len() == FRAMES, "{found:?}");
        assert!(told(Told::Mask).is_empty());
        seconds += clicks.len() - 1;
        corrected[mended.len()] += 1;

        let (found, _) = course(&plan(ClipPrompt::Masks, seed), &clips);
        let frames: Vec<usize> = found.iter().map(|(f, _)| *f).collect();
        assert_eq!((frames, found[0].1), ((0..FRAMES).collect(), Told::Mask));
        let plain = |(_, told): &(usize, Told)| matches!(told, Told::Mask | Told::Nothing);
        assert!(found.iter().all(plain) && found[2].1 == Told::Nothing, "{found:?}");
    }
    assert!((80..160).contains(&seconds), "{seconds} of 400");
    assert!(corrected[0] > 160 && corrected[1] > 100 && corrected[2] > 30, "{corrected:?}");
}
