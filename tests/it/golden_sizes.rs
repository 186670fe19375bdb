//! SAM 2.1 at its published sizes against the reference, stage by stage: `SONOMARK_GOLDEN=DIR cargo test --release golden -- --nocapture`
//! (on the CPU, or on what `SONOMARK_GOLDEN_DEVICE` names as in `--device`).
//!
//! DIR, or folders in it, hold what the recorder wrote for a size (`golden_hiera_t_img.safetensors`, ...). The nano network
//! is always checked (`net_image`, `net_video`); without DIR this file checks nothing. Large tensors are recorded as
//! samples (`NAME#idx`, `NAME#val`). Errors are relative to the largest value of the recorded tensor.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Param;
use burn::tensor::{Device, Tensor};
use sonomark::net::blocks;
use sonomark::net::cards;
use sonomark::net::device::pick;
use sonomark::net::memory_bank::Direction::{self, Forward, Reverse};
use sonomark::net::prompt_encoder::PointLabel::{self, Inside, Outside};
use sonomark::net::sam2::{ImageFeatures, Sam2};
use sonomark::net::tracker::{StepOut, Tracker, TrackerOptions};

use crate::golden_weights::{Golden, SEED, golden_card, seeded_model};
use crate::net_image::{golden_prompt, numbers};
use crate::surroundings::skipped;

/// Up to and with the mask decoder.
const TOLERANCE: f32 = 1e-4;
/// Six frames forward and back, with a correction and an occlusion.
const TOLERANCE_VIDEO: f32 = 1e-3;
/// Share of pixels on which masks agree after the threshold.
const SAME_PIXELS: f64 = 0.9995;
/// Side of the recorded frames before they are enlarged.
const FRAME: usize = 256;
const SIZES: [(&str, &str); 4] = [
    ("hiera_t", "sam2.1-tiny"),
    ("hiera_s", "sam2.1-small"),
    ("hiera_b+", "sam2.1-base-plus"),
    ("hiera_l", "sam2.1-large"),
];

/// What `SONOMARK_GOLDEN_DEVICE` names as in `--device`, else the CPU.
fn chosen_device() -> Device {
    let name = std::env::var("SONOMARK_GOLDEN_DEVICE").unwrap_or_else(|_| "cpu".into());
    let picked = pick(name.parse().expect("a device name")).expect("the device");
    println!("{}", picked.description);
    picked.device
}

/// Folders with recordings of the published sizes.
fn recordings() -> Vec<(PathBuf, &'static str, &'static str)> {
    let Some(root) = std::env::var_os("SONOMARK_GOLDEN").map(PathBuf::from) else {
        skipped("SONOMARK_GOLDEN names no folder of recordings");
        return Vec::new();
    };
    let below = std::fs::read_dir(&root).into_iter().flatten().flatten().map(|e| e.path());
    let mut dirs: Vec<PathBuf> = below.filter(|p| p.is_dir()).collect();
    dirs.push(root);
    dirs.sort();
    let found = dirs.iter().flat_map(|dir| {
        let has = |file: &str| dir.join(format!("golden_{file}_img.safetensors")).is_file();
        let sizes = SIZES.into_iter().filter(move |(file, _)| has(file));
        sizes.map(|(file, card)| (dir.clone(), file, card))
    });
    found.collect()
}

/// The seed of a recording's weights. A memory is made of a mask that is cut at zero: where the recorder's manifest names a
/// logit within some 1e-6 of that, rounding decides, and another seed tells more.
fn seed_of(dir: &Path, file: &str) -> u64 {
    let manifest = std::fs::read(dir.join(format!("manifest_{file}.json"))).ok();
    let manifest = manifest.map(|m| serde_json::from_slice::<serde_json::Value>(&m).expect("JSON"));
    manifest.and_then(|m| m["seed"].as_u64()).unwrap_or(SEED)
}

/// What was compared and how far it is off.
struct Check {
    golden: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    tolerance: f32,
    /// Largest relative error of each kind of tensor.
    worst: BTreeMap<String, f32>,
    /// Agreeing and compared pixels of masks.
    pixels: (u64, u64),
    faults: Vec<String>,
}

impl Check {
    fn open(dir: &Path, file: &str, parts: &[&str], tolerance: f32) -> Self {
        let path = |part: &&str| dir.join(format!("golden_{file}_{part}.safetensors"));
        let parts = parts.iter().map(path).filter(|p| p.is_file());
        let read = |p: PathBuf| Golden::open(&p.display().to_string()).all().clone();
        Self {
            golden: parts.flat_map(read).collect(),
            tolerance,
            worst: BTreeMap::new(),
            pixels: (0, 0),
            faults: Vec::new(),
        }
    }

    fn values(&self, name: &str) -> &[f32] {
        &self.golden.get(name).unwrap_or_else(|| unreachable!("{name} was not recorded")).1
    }

    /// Compares with the tensor of that name, whole or sampled; `kind` is its line in the report.
    fn close(&mut self, kind: &str, name: &str, got: &[f32]) {
        let pick = |values: &[f32], at: &[f32]| -> Vec<f32> {
            at.iter().map(|i| values.get(*i as usize).copied().unwrap_or(f32::NAN)).collect()
        };
        let whole = self.golden.get(name).map(|(_, want)| (want.clone(), got.to_vec()));
        let sampled = || {
            let at = &self.golden.get(&format!("{name}#idx"))?.1;
            Some((self.golden.get(&format!("{name}#val"))?.1.clone(), pick(got, at)))
        };
        let Some((want, got)) = whole.or_else(sampled) else { return };
        if want.len() != got.len() {
            self.faults.push(format!("{name}: {} values, recorded {}", got.len(), want.len()));
            return;
        }
        let scale = want.iter().fold(f32::MIN_POSITIVE, |m, w| m.max(w.abs()));
        let error = want.iter().zip(&got).map(|(w, g)| (w - g).abs() / scale);
        let error = error.fold(0f32, |m, e| if e.is_nan() { f32::INFINITY } else { m.max(e) });
        let worst = self.worst.entry(kind.to_owned()).or_default();
        *worst = worst.max(error);
        if error > self.tolerance {
            self.faults.push(format!("{name}: off by {error:.2e} of {scale:.2e}"));
        }
    }

    /// As [`Check::close`], and counts where both are above 0.
    fn mask(&mut self, kind: &str, name: &str, got: &[f32]) {
        self.close(kind, name, got);
        if let Some((_, want)) = self.golden.get(name).filter(|(_, want)| want.len() == got.len()) {
            let same = want.iter().zip(got).filter(|(w, g)| (**w > 0.0) == (**g > 0.0)).count();
            self.pixels = (self.pixels.0 + same as u64, self.pixels.1 + got.len() as u64);
        }
    }

    fn report(self, title: &str) {
        for (kind, error) in &self.worst {
            println!("{title} | {kind} | {error:.1e}");
        }
        let share = self.pixels.0 as f64 / self.pixels.1.max(1) as f64;
        println!("{title} | equal pixels of masks | {share:.6} of {}", self.pixels.1);
        assert!(self.worst.len() > 5, "{title}: nothing was compared");
        assert!(self.faults.is_empty(), "{title}: {:#?}", self.faults);
        assert!(share >= SAME_PIXELS, "{title}: masks agree on {share} of their pixels");
    }
}

/// A recorded frame, enlarged to the network's input and normalised.
fn input(pixels: &[f32], up: usize, device: &Device) -> Tensor<4> {
    let side = FRAME * up;
    let planes = [0, 1, 2].map(|c| -> Vec<f32> {
        let at = |i: usize| (i / side / up) * FRAME + (i % side) / up;
        (0..side * side).map(|i| pixels[3 * at(i) + c] / 255.0).collect()
    });
    golden_card().preprocess.normalised(&[&planes[0], &planes[1], &planes[2]], side, device)
}

#[test]
fn golden_stills_of_the_published_sizes_match() {
    for (dir, file, card) in recordings() {
        let mut check = Check::open(&dir, file, &["img"], TOLERANCE);
        let up = check.values("img.up")[0] as usize;
        let side = FRAME * up;
        let device = chosen_device();
        let network = cards::known(card).expect("a card").network.at_size(side);
        let sam = seeded_model(&network, &device, seed_of(&dir, file));
        let image = input(check.values("img.input_u8"), up, &device);
        check.close("preprocessing", "img.preproc_bilinear_aa", &numbers(image.clone()));
        let features = encoder_stages(&sam, &mut check, image);
        let golden =
            Golden::open(&dir.join(format!("golden_{file}_img.safetensors")).display().to_string());
        for case in ["p1", "p3", "box", "box_p1", "p2_mask"] {
            prompt_case(&sam, &mut check, &golden, &features, case);
        }
        check.report(&format!("{card} {side} px"));
    }
}

fn encoder_stages(sam: &Sam2, check: &mut Check, image: Tensor<4>) -> ImageFeatures {
    let trunk = &sam.image_encoder.trunk;
    let grid = image.dims()[3] / 4;
    let patches = blocks::nhwc(trunk.patch_embed.proj.forward(image.clone()));
    check.close("patch embedding", "img.hiera.patch_embed", &numbers(patches));
    let position = numbers(trunk.position([grid, grid]));
    check.close("position embedding", "img.hiera.pos_embed_added", &position);
    let stages = trunk.forward(image.clone());
    for (k, stage) in stages.iter().enumerate() {
        check.close(
            &format!("trunk stage {k}"),
            &format!("img.hiera.stage.{k}"),
            &numbers(stage.clone()),
        );
    }
    for (k, level) in sam.image_encoder.neck.forward(stages).into_iter().enumerate() {
        check.close("neck", &format!("img.fpn.{k}"), &numbers(level));
    }
    let features = sam.encode_image(image);
    let embed = sam.without_memory(features.pix_feat.clone());
    check.close("image embedding", "img.image_embed", &numbers(embed));
    for (k, level) in features.high_res.iter().enumerate() {
        check.close("fine features", &format!("img.high_res.{k}"), &numbers(level.clone()));
    }
    features
}

fn prompt_case(
    sam: &Sam2,
    check: &mut Check,
    golden: &Golden,
    features: &ImageFeatures,
    case: &str,
) {
    let device = features.pix_feat.device();
    let [_, d, h, w] = features.pix_feat.dims();
    let name = |part: &str| format!("img.{case}.{part}");
    let prompts = golden_prompt(golden, case, &device);
    let encoder = &sam.sam_prompt_encoder;
    let sparse = encoder.points(&prompts.points, 16 * h);
    check.close("prompt tokens", &name("sparse"), &numbers(sparse.clone()));
    let dense = encoder.dense(prompts.mask.clone(), 16 * h).expand([1, d, h, w]);
    check.close("dense prompt", &name("dense"), &numbers(dense.clone()));
    let decoder = &sam.sam_mask_decoder;
    let src = blocks::to_tokens(sam.without_memory(features.pix_feat.clone()) + dense);
    let pe = blocks::to_tokens(encoder.pe_layer.dense([h, w]));
    let (hs, src) = decoder.transformer.forward(src, pe, decoder.tokens(sparse));
    check.close("two-way tokens", &name("hs"), &numbers(hs));
    check.close("two-way image", &name("src"), &numbers(src));
    for (kind, multimask) in [("multi", true), ("single", false)] {
        let out = sam.decode(features, &prompts, multimask);
        check.close("decoder masks", &name("raw_masks"), &numbers(out.raw.masks.clone()));
        check.close("decoder IoU", &name("raw_iou"), &numbers(out.raw.ious.clone()));
        check.close("mask tokens", &name("tokens"), &numbers(out.raw.tokens.clone()));
        check.close("object score", &name("obj"), &numbers(out.raw.object_score_logits.clone()));
        check.close("answered IoU", &name(&format!("{kind}.iou")), &numbers(out.ious.clone()));
        let low: Vec<f32> =
            numbers(out.low_res_masks).iter().map(|v| v.clamp(-32.0, 32.0)).collect();
        check.mask("answered mask", &name(&format!("{kind}.low_res")), &low);
    }
}

/// The middle of the recorded structure on frame `t`, in network pixels.
fn middle(check: &Check, t: usize, up: usize) -> [f32; 2] {
    let gt = &check.values("vid.gt")[t * FRAME * FRAME..][..FRAME * FRAME];
    let inside: Vec<usize> = (0..gt.len()).filter(|i| gt[*i] > 0.0).collect();
    // The mean over the enlarged frame, rounded down as the recorder does.
    let mean = |of: &dyn Fn(usize) -> usize| {
        let sum: usize = inside.iter().map(|i| of(*i)).sum();
        let small = sum as f64 / inside.len() as f64;
        (small * up as f64 + (up as f64 - 1.0) / 2.0).floor() as f32
    };
    [mean(&|i| i % FRAME), mean(&|i| i / FRAME)]
}

/// The recorded network on its frames, and one object tracked through them.
struct Scene {
    sam: Sam2,
    images: Vec<ImageFeatures>,
    tracker: Tracker,
    check: Check,
}

impl Scene {
    fn compare(&mut self, prefix: &str) {
        for (name, data) in self.tracker.stages() {
            let shape = data.shape().to_vec();
            let mut values: Vec<f32> = data.iter::<f32>().collect();
            if matches!(name, "curr_in" | "memattn_out") {
                // Recorded as [h w, 1, C].
                let (c, n) = (shape[1], shape[2] * shape[3]);
                values = (0..n * c).map(|i| values[(i % c) * n + i / c]).collect();
            }
            self.check.close(name, &format!("{prefix}.{name}"), &values);
        }
    }

    fn click(&mut self, prefix: &str, t: usize, points: &[([f32; 2], PointLabel)]) {
        let out = self.tracker.add_points(&self.sam, t, &self.images[t], points);
        let out = out.expect("a prompt is admitted");
        self.compare(prefix);
        self.answer(prefix, &out);
    }

    fn answer(&mut self, prefix: &str, out: &StepOut) {
        self.check.mask("stored mask", &format!("{prefix}.o0.pred_masks"), &out.low_res_logits);
        let score = format!("{prefix}.o0.object_score_logits");
        self.check.close("object score", &score, &[out.object_score]);
    }

    fn walk(&mut self, prefix: &str, order: &[usize], direction: Direction) {
        for &t in order {
            let out = self.tracker.step(&self.sam, t, &self.images[t], direction);
            let out = out.expect("the walk goes on");
            let prefix = format!("{prefix}.f{t}");
            self.compare(&prefix);
            self.answer(&prefix, &out);
        }
    }

    fn preflight(&mut self, prefix: &str) {
        self.tracker.preflight(&self.sam).expect("a frame conditions");
        self.compare(prefix);
    }

    fn restart(&mut self) {
        self.tracker.reset();
    }
}

#[test]
fn golden_clips_of_the_published_sizes_match() {
    for (dir, file, card) in recordings() {
        let parts = ["vid_common", "vid_f32", "vid_occ"];
        let check = Check::open(&dir, file, &parts, TOLERANCE_VIDEO);
        let up = check.values("vid.up")[0] as usize;
        let side = FRAME * up;
        let device = chosen_device();
        let network = cards::known(card).expect("a card").network.at_size(side);
        let sam = seeded_model(&network, &device, seed_of(&dir, file));
        let frames = check.values("vid.gt").len() / (FRAME * FRAME);
        let pixels = check.values("vid.frames_u8");
        let images = (0..frames).map(|t| {
            let one = 3 * FRAME * FRAME;
            sam.encode_image(input(&pixels[t * one..][..one], up, &device))
        });
        let images = images.collect();
        // As the recorder ran it: corrections are forgotten, nothing is cleared, no hole is filled.
        let options = TrackerOptions {
            corrections_condition: false,
            clear_stale: false,
            fill_hole_area: 0,
            ..TrackerOptions::for_model(&sam)
        };
        let mut tracker = Tracker::new(frames, options.clone());
        tracker.record_stages();
        let mut scene = Scene { sam, images, tracker, check };
        forward_correction_and_reverse(&mut scene, frames, up);
        occlusion(&mut scene, options, up);
        scene.check.report(&format!("{card} {side} px clip"));
    }
}

fn forward_correction_and_reverse(scene: &mut Scene, frames: usize, up: usize) {
    let side = (FRAME * up) as f64;
    let at = |x: f64, y: f64| [(side * x) as f32, (side * y) as f32];
    let all: Vec<usize> = (0..frames).collect();
    let first = (middle(&scene.check, 0, up), Inside);
    scene.click("vid.f32.click0", 0, &[first]);
    scene.click("vid.f32.click1", 0, &[first, (at(0.9, 0.1), Outside)]);
    scene.preflight("vid.f32.fwd.f0");
    scene.walk("vid.f32.fwd", &all, Forward);
    let corrected = 2.min(frames - 1);
    let fix = [(middle(&scene.check, corrected, up), Inside), (at(0.05, 0.9), Outside)];
    scene.click("vid.f32.corr", corrected, &fix);
    scene.preflight("none");
    scene.walk("vid.f32.refwd", &all, Forward);
    scene.restart();
    let last = frames - 1;
    scene.click("none", last, &[(middle(&scene.check, last, up), Inside)]);
    scene.preflight(&format!("vid.f32.rev.f{last}"));
    let back: Vec<usize> = all.iter().rev().copied().collect();
    scene.walk("vid.f32.rev", &back, Reverse);
}

/// The object score pushed far below 0, as the recorder did.
fn occlusion(scene: &mut Scene, options: TrackerOptions, up: usize) {
    if !scene.check.golden.contains_key("vid.occ.fwd.order") {
        return;
    }
    let head = &mut scene.sam.sam_mask_decoder.pred_obj_score_head;
    let last = head.layers.last_mut().expect("the head has layers");
    last.bias = Param::from_tensor(last.bias.val() - 50.0);
    scene.tracker = Tracker::new(3, options);
    scene.tracker.record_stages();
    scene.click("none", 0, &[(middle(&scene.check, 0, up), Inside)]);
    scene.preflight("vid.occ.fwd.f0");
    scene.walk("vid.occ.fwd", &[0, 1, 2], Forward);
}

/// A tensor of the report must not be compared with itself: one wrong value is seen.
#[test]
fn golden_check_sees_a_single_wrong_value() {
    let golden =
        [("a", vec![1.0f32, -2.0, 4.0]), ("b#idx", vec![0.0, 2.0]), ("b#val", vec![1.0, 3.0])];
    let golden = golden.map(|(name, values)| (name.to_owned(), (vec![values.len()], values)));
    let mut check = Check {
        golden: golden.into_iter().collect(),
        tolerance: 1e-4,
        worst: BTreeMap::new(),
        pixels: (0, 0),
        faults: Vec::new(),
    };
    check.mask("a", "a", &[1.0, -2.0, 4.0001]);
    check.close("b", "b", &[1.0, 9.0, 3.0]);
    assert!(check.faults.is_empty(), "{:?}", check.faults);
    check.mask("a", "a", &[1.0, 2.0, 4.0]);
    check.close("b", "b", &[1.0, 9.0, 3.1]);
    assert_eq!((check.faults.len(), check.pixels), (2, (5, 6)));
}
