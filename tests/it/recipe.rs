//! What training computes, held against what it computed when its recipe got its number.
//!
//! After a wanted change of the computation: raise `RECIPE` in src/learn/mod.rs, then
//! `SONOMARK_RECIPE=1 cargo test --release --test it recipe` writes tests/data/recipe.json anew.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use sonomark::learn::{Budget, Progress, RECIPE, TrainOptions, train};

use crate::learn::{discs, tiny};
use crate::surroundings::{child_test, data, told};

/// Of a figure: what other processors round otherwise changes some 1e-5 of it.
const APART: f64 = 2e-3;
/// Of the norm of a gradient, in which small differences add up.
const GRADIENTS_APART: f64 = 1e-2;

/// The figures of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Run {
    /// Of each step.
    loss: Vec<f64>,
    /// Norm of each step's gradient.
    gradient: Vec<f64>,
    /// Norm of all weights before the first step.
    first: f64,
    /// How far the averaged weights are from those after the last one.
    moved: f64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Recorded {
    recipe: u32,
    /// Everything learns: stills, clips, both kinds of points, two sizes of input.
    whole: Run,
    /// The encoder is frozen.
    fine: Run,
}

/// All weights of a file, in the order of their names.
fn weights(file: &Path) -> Vec<f64> {
    let bytes = std::fs::read(file).unwrap();
    let mut tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    let number = |four: &[u8]| f64::from(f32::from_le_bytes(four.try_into().unwrap()));
    tensors.iter().flat_map(|(_, view)| view.data().chunks_exact(4).map(number)).collect()
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

/// Its figures.
fn figures(options: &TrainOptions) -> Run {
    let mut run = Run::default();
    let mut seen = |p: &Progress| {
        if p.encoded.is_some() {
            return;
        }
        // A step is one on stills or one on clips.
        let loss = p.loss.into_iter().find(|loss| !loss.is_nan()).unwrap_or_default();
        run.loss.push(f64::from(loss));
        run.gradient.push(f64::from(p.gradient));
    };
    // Cancelled before the first step: what is written is where it starts.
    let before = TrainOptions { out: options.out.join("before"), ..options.clone() };
    let cpu = [Device::flex()];
    let first = train(&before, &cpu, |_| {}, &AtomicBool::new(true)).unwrap();
    let last = train(options, &cpu, &mut seen, &AtomicBool::new(false)).unwrap();
    let (first, last) = (weights(&first.weights), weights(&last.weights));
    run.moved = norm(first.iter().zip(&last).map(|(a, b)| a - b));
    run.first = norm(first.into_iter());
    run
}

fn computed() -> Recorded {
    let dir = tempfile::tempdir().unwrap();
    let source = discs(dir.path(), 6);
    let planned = |name: &str, steps: u64| {
        let (out, budget) = (dir.path().join(name), Budget::Steps(steps));
        let mut options = TrainOptions::new(vec![source.clone()], tiny(), out, budget);
        (options.threads, options.report_every, options.sides) = (1, 1, [64, 128]);
        (options.batches, options.seed) = ([4, 3], 3);
        options
    };
    let mut whole = planned("whole", 32);
    (whole.clips_from, whole.clip_share, whole.clip_clicks, whole.clip_frames) = (0.2, 0.5, 0.5, 3);
    let of_whole = figures(&whole);
    let mut fine = planned("fine", 8);
    (fine.frozen_views, fine.sides, fine.clip_share) = (Some(2), [64, 64], 0.0);
    fine.start = Some(std::fs::read(whole.out.join("tiny.safetensors")).unwrap());
    Recorded { recipe: RECIPE, whole: of_whole, fine: figures(&fine) }
}

/// What is apart, in words; empty where all is as it was.
fn apart(now: &Run, then: &Run) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: String, now: f64, then: f64, most: f64| {
        if (now - then).abs() > most * then.abs() {
            found.push(format!("{what} was {then}, is {now}"));
        }
    };
    compare("number of steps".into(), now.loss.len() as f64, then.loss.len() as f64, 0.0);
    for (at, (now, then)) in now.loss.iter().zip(&then.loss).enumerate() {
        compare(format!("loss of step {}", at + 1), *now, *then, APART);
    }
    for (at, (now, then)) in now.gradient.iter().zip(&then.gradient).enumerate() {
        compare(format!("gradient of step {}", at + 1), *now, *then, GRADIENTS_APART);
    }
    compare("norm of the first weights".into(), now.first, then.first, APART);
    compare("way of the weights".into(), now.moved, then.moved, APART);
    found
}

/// Weights are drawn from one generator for the whole process, in which no other test may draw.
#[test]
#[ignore = "started by the test below"]
fn child_computes() {
    let out = std::env::var_os("TEST_FIGURES").unwrap();
    std::fs::write(out, serde_json::to_string_pretty(&computed()).unwrap() + "\n").unwrap();
}

#[test]
fn training_computes_what_its_recipe_computed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, figures) = (data("recipe.json"), dir.path().join("figures"));
    let ran = child_test("recipe::child_computes").env("TEST_FIGURES", &figures).output().unwrap();
    assert!(ran.status.success(), "{}", told(&ran));
    let text = std::fs::read_to_string(&figures).unwrap();
    let now: Recorded = serde_json::from_str(&text).unwrap();
    if std::env::var_os("SONOMARK_RECIPE").is_some() {
        println!("{text}");
        std::fs::write(&path, text).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let then: Recorded = serde_json::from_str(&text).unwrap_or_default();
    let found: Vec<String> =
        [apart(&now.whole, &then.whole), apart(&now.fine, &then.fine)].concat();
    let told = found.first().map_or("", String::as_str);
    assert!(
        found.is_empty() && now.recipe == then.recipe,
        "training computes something else ({} figures; the first: {told}; recipe {} recorded, {RECIPE} now): raise RECIPE \
         in src/learn/mod.rs and re-record with SONOMARK_RECIPE=1 cargo test --release --test it recipe",
        found.len(),
        then.recipe,
    );
    // What is compared is there, and a change of one part in a hundred is seen.
    assert_eq!((now.whole.loss.len(), now.fine.loss.len()), (32, 8));
    assert!(now.whole.moved > 0.0 && now.fine.moved > 0.0);
    let other = Run { loss: now.whole.loss.iter().map(|v| 1.01 * v).collect(), ..then.whole };
    assert!(!apart(&now.whole, &other).is_empty());
}
