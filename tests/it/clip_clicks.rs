//! Clip steps that are prompted by clicks: what stays as it was without them, and a run with them from start to card.

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use sonomark::learn::dataset::{DataSource, Pick, StillSet};
use sonomark::learn::lessons::{ClipPrompt, Desk, Plan, Subject};
use sonomark::learn::loss::LossWeights;
use sonomark::learn::{Budget, TrainOptions};
use sonomark::net::config::ModelCard;

use crate::commands::run;
use crate::learn::{discs, tiny};
use crate::surroundings::{text, told};

/// Losses of steps on masks (seeds from 1) before clips had clicks, from the shipped weights on a still of tests/data:
/// another draw anywhere gives other numbers.
const BEFORE: [f32; 4] = [0.415225, 0.7068827, 0.87450004, 0.25510526];

#[test]
fn clip_steps_without_clicks_are_what_they_were() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let card = ModelCard::read_file(&folder.join("models/samusa-nano.yaml")).unwrap();
    let device = Device::flex().autodiff();
    let weights = folder.join("models/samusa-nano.safetensors");
    let net = card.network.init(&device).load_file(&weights, &card.weights).unwrap();
    let stills = DataSource::parse(folder.join("tests/data/stills").to_str().unwrap());
    let sets = [StillSet::load(&stills, Some(96), Pick::AllComponents).unwrap()];
    let mut desk = Desk::new(card.preprocess.clone(), LossWeights::default(), &device);
    let found = std::array::from_fn::<f32, 4, _>(|i| {
        let subject = Subject::Clip { frames: 4, prompt: ClipPrompt::Masks };
        let seed = 1 + i as u64;
        let plan = Plan { subject, side: 64, batch: 2, focal: 20.0, boundary: 2.0, seed };
        desk.teach(&net, &plan, &plan.render(&sets)).unwrap().1.loss
    });
    // Other processors round otherwise.
    let same = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-3 * b;
    assert!(found.iter().zip(&BEFORE).all(same), "{found:?}");
}

#[test]
fn the_share_of_clicks_changes_the_prompts_of_clips_and_nothing_else() {
    let plans = |clip_clicks| {
        let (sources, out) = (Vec::new(), "out".into());
        let mut options = TrainOptions::new(sources, tiny(), out, Budget::Steps(400));
        (options.clips_from, options.clip_share, options.clip_clicks) = (0.0, 0.5, clip_clicks);
        (0..400).map(|step| options.plan(step, 0.5)).collect::<Vec<Plan>>()
    };
    let masked = |plan: &Plan| match plan.subject {
        Subject::Clip { frames, .. } => {
            let subject = Subject::Clip { frames, prompt: ClipPrompt::Masks };
            Plan { subject, ..*plan }
        }
        _ => *plan,
    };
    let count = |plans: &[Plan], wanted: ClipPrompt| {
        let is =
            |plan: &&Plan| matches!(plan.subject, Subject::Clip { prompt, .. } if prompt == wanted);
        plans.iter().filter(is).count()
    };
    let [none, half, all] = [0.0, 0.5, 1.0].map(plans);
    let counts = [&none, &half, &all].map(|plans| {
        [ClipPrompt::Masks, ClipPrompt::Boundary, ClipPrompt::Region].map(|p| count(plans, p))
    });
    let clips: usize = counts[0].iter().sum();
    assert!((160..240).contains(&clips) && counts[0] == [clips, 0, 0], "{counts:?}");
    assert!(counts[1].iter().all(|n| *n > 10) && counts[2][0] == 0, "{counts:?}");
    // A fifth of the clicks are inside and outside, as on stills.
    assert!(counts[2][1] > 2 * counts[2][2] && counts[2][2] > 20, "{counts:?}");
    for plans in [&half, &all] {
        assert!(plans.iter().map(masked).eq(none.iter().copied()));
    }
}

#[test]
fn a_run_on_clicked_clips_resumes_and_its_card_says_so() {
    let home = tempfile::tempdir().unwrap();
    let (folder, card) = (home.path().join("discs"), home.path().join("tiny.yaml"));
    fs::create_dir(&folder).unwrap();
    discs(&folder, 3);
    fs::rename(folder.join("all.txt"), folder.join("train.txt")).unwrap();
    fs::write(&card, tiny().to_yaml()).unwrap();
    let out = home.path().join("out");
    let train = |more: &[&str]| {
        let words = ["train", "--data", text(&folder), "--out", text(&out), "--card", text(&card)];
        let clips = ["--clip-share", "1", "--clips-from", "0", "--clip-frames", "3"];
        run(home.path(), &[&words[..], &clips, &["--threads", "1"], more].concat())
    };
    let first = train(&["--clip-clicks", "1", "--steps", "3"]);
    assert!(first.status.success(), "{}", told(&first));
    let said = || ModelCard::read_file(&out.join("tiny.yaml")).unwrap().weights;
    assert!(said().command.contains(" --clip-clicks 1 "), "{}", said().command);
    let before = said().sha256;
    // With other prompts it would be another run.
    let refused = train(&["--steps", "5", "--resume"]);
    let words =
        "its clips: 1 of 3 frames from 0, 1 by clicks, not 1 of 3 frames from 0, 0 by clicks;";
    assert!(!refused.status.success() && told(&refused).contains(words), "{}", told(&refused));
    let on = train(&["--clip-clicks", "1", "--steps", "5", "--resume"]);
    assert!(on.status.success() && told(&on).contains("5 steps, "), "{}", told(&on));
    assert_ne!(said().sha256, before);
    let refused = train(&["--clip-clicks", "1.5", "--steps", "5", "--overwrite"]);
    assert!(told(&refused).contains("--clip-clicks must be from 0 to 1"), "{}", told(&refused));
}
