//! Studies end to end, on stills made here and networks of three steps.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest, Sha256};
use sonomark::cli::script::clip;
use sonomark::codec::OpenOptions;
use sonomark::domain::{
    Bitmap, ClipInfo, ContentHash, Edit, FrameMask, Mark, MaskSource, PointPx, Step, Track, TrackId,
};
use sonomark::learn::RECIPE;
use sonomark::learn::dataset::Veil;
use sonomark::net::device::{Picked, pick};
use sonomark::net::library::Library;
use sonomark::project::{ClipStore, StoreOptions, View};
use sonomark::study::simulate::{Place, Setting, simulate};
use sonomark::study::{StudyError, config};

use crate::commands::run;
use crate::learn::drifting_clip;
use crate::pty_harness::{Answers, Harness};
use crate::stock::stock_files;
use crate::surroundings::{PATIENCE, PROGRAM, program};

const CARD: &str = "
name: tiny
network:
  image_size: 64
  trunk: {embed_dim: 8, num_heads: 1, stages: [1, 1, 1, 1], global_att_blocks: [3], window_spec: [8, 4, 4, 2], window_pos_embed_bkg_spatial_size: [4, 4]}
  neck: {d_model: 16}
  prompts: {mask_in_chans: 8, boundary_embedding: true, curve_prior: true, click_heat: true}
  decoder: {depth: 1, num_heads: 2, mlp_dim: 16, iou_head_hidden_dim: 8, dynamic_multimask: false}
  memory: {mem_dim: 8, attention_layers: 1, attention_ffn: 16, fuser_layers: 1}
preprocess: {fit: letterbox}
weights: {licence: CC0-1.0}
";
const CONFIG: &str = "
data:
  - {name: round, train: 'round:train.txt', test: 'round:val.txt'}
  - {name: long, train: 'long:train.txt', test: 'long:val.txt'}
training: {card: tiny.yaml, steps: 3, threads: 1}
points: 3
bootstrap: 50
arms:
  - {name: polygon, baseline: polygon}
  - {name: SAMUSA, prompt: boundary, train: true}
  - {name: no step, prompt: boundary, train: true, contour_step: false, curve: false}
  - {name: SAM2-US, prompt: region, train: true}
  - {name: stock, prompt: boundary, card: stock.yaml, trained_on: []}
clips:
  - {name: drift, path: clips}
clip_arms:
  - {name: ours, prompt: boundary, train: true}
  - {name: plain, prompt: region, windows: false, train: true}
  - {name: told, prompt: region, train: true}
  - {name: copy, baseline: copy}
  - {name: motion, baseline: motion}
  - {name: stock, prompt: boundary, card: stock.yaml, motion: false}
";

/// A set of bright ellipses `long` times as wide as high: two to learn from, two to judge on.
pub(crate) fn set(folder: &Path, long: f32) {
    fs::create_dir_all(folder).unwrap();
    for i in 0..4u32 {
        let inside = |x: u32, y: u32| {
            let (dx, dy) = (x as f32 - 38.0 - i as f32, y as f32 - 30.0);
            (dx / long).hypot(dy) <= 12.0 + i as f32
        };
        let shade = |x, y| if inside(x, y) { 180 } else { 40 + ((x * 7 + y * 13) % 23) as u8 };
        let image = image::GrayImage::from_fn(80, 64, |x, y| image::Luma([shade(x, y)]));
        let mask = image::GrayImage::from_fn(80, 64, |x, y| image::Luma([u8::from(inside(x, y))]));
        image.save(folder.join(format!("s{i}.png"))).unwrap();
        mask.save(folder.join(format!("s{i}.mask.png"))).unwrap();
    }
    fs::write(folder.join("train.txt"), "s0\ns1\n").unwrap();
    fs::write(folder.join("val.txt"), "s2\ns3\n").unwrap();
}

fn rows(path: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

#[test]
fn a_simulated_study_resumes_and_writes_report_tables_and_figures() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("study.yaml");
    fs::write(&file, CONFIG).unwrap();
    fs::write(home.path().join("tiny.yaml"), CARD).unwrap();
    stock_files(home.path());
    set(&home.path().join("round"), 1.0);
    set(&home.path().join("long"), 1.8);
    let clips = home.path().join("clips");
    fs::create_dir_all(&clips).unwrap();
    drifting_clip(&clips);
    let described = fs::read_to_string(clips.join("windows.yaml")).unwrap();
    let described = described.replace("drift:\n", "drift:\n  source: s1.png\n");
    fs::write(clips.join("windows.yaml"), described).unwrap();

    // Interrupted when the first network is about to be judged.
    let (out, cancel) = (home.path().join("out"), AtomicBool::new(false));
    fs::create_dir_all(out.join("kept")).unwrap();
    let (library, picked) =
        (Library::new(home.path().join("none")), pick("cpu".parse().unwrap()).unwrap());
    let place = Place { picked: &picked, library: &library, out: &out };
    let study = config::read(&file).unwrap();
    let mut heard = |line: &str| {
        if line.starts_with("SAMUSA on round") {
            cancel.store(true, Ordering::Relaxed);
        }
    };
    let stopped = simulate(&study, &place, &mut heard, &cancel);
    assert!(matches!(stopped, Err(StudyError::Cancelled)), "{stopped:?}");

    let simulated = || {
        let (file, out) = (file.to_str().unwrap(), out.to_str().unwrap());
        let done = run(
            home.path(),
            &["study", "simulate", "--config", file, "--out", out, "--device", "cpu"],
        );
        let told = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.success(), "{told}");
        told
    };
    let told = simulated();
    assert!(!told.contains("polygon on"), "what was finished is kept: {told}");
    assert!(!told.contains("SAMUSA on round") || told.contains("SAMUSA on long"), "{told}");
    // One network on both sets and one without each, for two ways to prompt.
    assert_eq!(fs::read_dir(out.join("networks")).unwrap().count(), 6);

    let report = fs::read_to_string(out.join("report.md")).unwrap();
    let first = report.split("\n\n").nth(1).unwrap();
    assert!(first.contains("of the paper"), "{first}");
    assert!(first.contains("what 1 of 1 clip of drift show (such as drift: s1)"), "{first}");
    assert!(first.contains("difference at") && first.contains("zero-shot"), "{first}");
    let trained = format!("sonomark {}, recipe {RECIPE}", env!("CARGO_PKG_VERSION"));
    let network = format!("- SAMUSA: network boundary on round, long, trained by {trained}\n");
    assert!(report.contains(&network), "{report}");
    // Four arms, three numbers of points and their mean, two sets and their mean, two settings; weights that never saw a set
    // are a fifth arm of one of them.
    assert_eq!(rows(&out.join("overlap.csv")).len(), 1 + (4 + 5) * 4 * 3);
    assert_eq!(rows(&out.join("tests.csv")).len(), 1 + (6 + 10) * 4 * 3);
    // Two structures of each set: once for the polygon, in both settings for the networks.
    let objects = rows(&out.join("objects.csv"));
    let of = |arm: &str| objects.iter().filter(|r| r[2] == arm && r[5] == "1").count();
    let counts = ["polygon", "SAMUSA", "no step", "SAM2-US", "stock"].map(of);
    assert_eq!(counts, [4, 8, 8, 8, 4]);
    // Boundary points reach published weights by the bridge, and the contour goes through them.
    let stock: Vec<f64> = objects
        .iter()
        .filter(|r| r[2] == "stock" && r[5] == "3")
        .map(|r| r[7].parse().unwrap())
        .collect();
    assert!(stock.len() == 4 && stock.iter().all(|iou| *iou > 0.4), "{stock:?}");
    for setting in Setting::ALL {
        let png = fs::read(out.join(format!("iou-{}.png", setting.name()))).unwrap();
        assert!(image::load_from_memory(&png).unwrap().width() > 1000);
        let svg = fs::read_to_string(out.join(format!("dice-{}.svg", setting.name()))).unwrap();
        assert!(svg.contains("SAM2-US"));
    }

    // One structure, eight propagations; what moves with the tissue is ahead of what stays, and only a network without
    // windows decides frames outside them.
    let clips = rows(&out.join("clips.csv"));
    assert_eq!(clips.len(), 1 + 6 * 8);
    let last = |arm: &str, column: usize| -> f64 {
        let row = clips.iter().rfind(|r| r[1] == arm).unwrap();
        row[column].parse().unwrap()
    };
    assert!(last("motion", 6) > 0.75 && last("motion", 7) <= last("copy", 7), "{clips:?}");
    assert!(last("plain", 8) > last("told", 8) && last("told", 9) == 0.0, "{clips:?}");
    assert!(report.contains("## Clips: drift") && first.contains("windows help region points"));
    assert!(last("stock", 7) > 0.0, "{clips:?}");
    // One clip says nothing of how clips differ.
    let on_clips = report.split("## Clips: drift").nth(1).unwrap();
    let compared = on_clips.lines().find(|line| line.starts_with("| ours - copy |")).unwrap();
    assert!(compared.ends_with("(one clip: no interval) | no test |"), "{compared}");
    let table = on_clips.lines().find(|line| line.starts_with("| ours |")).unwrap();
    assert_eq!(table.matches("(one clip: no interval)").count(), 2, "{table}");
    assert!(first.contains("(one clip: no interval)"), "{first}");
    assert!(fs::read_to_string(out.join("clips-1.svg")).unwrap().contains("motion"));

    // Nothing is computed twice, and one damaged file is computed again.
    let kept: Vec<PathBuf> =
        fs::read_dir(out.join("kept")).unwrap().map(|e| e.unwrap().path()).collect();
    // One of stills: clips keep their seconds, which are never the same.
    let of_stills =
        kept.iter().find(|file| fs::read_to_string(file).unwrap().contains("still")).unwrap();
    fs::write(of_stills, "[{").unwrap();
    let told = simulated();
    assert_eq!(told.lines().filter(|line| line.contains("structures")).count(), 1, "{told}");
    assert!(!told.contains("training"), "{told}");
    assert_eq!(fs::read_to_string(out.join("report.md")).unwrap(), report);

    // A fault of the file is told with its line and changes nothing.
    fs::write(&file, CONFIG.replace("prompt: region", "prompt: regoin")).unwrap();
    let (file, out) = (file.to_str().unwrap(), out.to_str().unwrap());
    let done = run(home.path(), &["study", "simulate", "--config", file, "--out", out]);
    let told = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(2), "{told}");
    assert!(told.contains("line 12: `arms[3].prompt` is \"regoin\""), "{told}");
}

/// What a study of one arm did on stills and clips: the weights that it trained, the IoU of every structure, and the hashes
/// of its sets.
type Judged = (Vec<u8>, Vec<Vec<f64>>, [String; 2]);

/// Judges the study in `home`, of which `out` holds what was kept; with how many networks are there afterwards.
fn judged(home: &Path, veil: &Veil) -> (Judged, usize) {
    let out = home.join("out");
    fs::create_dir_all(out.join("kept")).unwrap();
    let networks = || -> Vec<PathBuf> {
        let folders = fs::read_dir(out.join("networks")).into_iter().flatten();
        folders.map(|entry| entry.unwrap().path()).collect()
    };
    let before = networks();
    let (library, picked) =
        (Library::new(home.join("none")), pick("cpu".parse().unwrap()).unwrap());
    let place = Place { picked: &picked, library: &library, out: &out };
    let study = config::read(&home.join("study.yaml")).unwrap().behind(veil);
    let done = simulate(&study, &place, &mut |_| {}, &AtomicBool::new(false)).unwrap();
    let new: Vec<PathBuf> = networks().into_iter().filter(|path| !before.contains(path)).collect();
    let weights = new.iter().flat_map(|path| fs::read(path.join("network.safetensors")).unwrap());
    let stills = done.cells[0].traces.iter().map(|t| t.iou.clone());
    let clips = done.clips[0].traces.iter().map(|t| t.rounds.iter().map(|r| r.iou).collect());
    let hashes = [done.hashes[0].clone(), done.clip_hashes[0].clone()];
    ((weights.collect(), stills.chain(clips).collect(), hashes), networks().len())
}

#[test]
fn a_study_neither_learns_from_nor_judges_on_what_is_hidden() {
    // The same images twice, with writing at their lower edge and without.
    let homes = [false, true].map(|written| {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs::write(path("tiny.yaml"), CARD).unwrap();
        let text = "data: [{name: round, train: 'round:train.txt', test: 'round:val.txt'}]\n\
                    training: {card: tiny.yaml, steps: 2, threads: 1}\npoints: 3\nbootstrap: 50\n\
                    arms: [{name: ours, prompt: boundary, train: true, contour_step: false, curve: false}]\n\
                    clips: [{name: drift, path: clips}]\n\
                    clip_arms: [{name: ours, prompt: boundary, train: true}]\nzero_shot: false\n";
        fs::write(path("study.yaml"), text).unwrap();
        set(&path("round"), 1.0);
        drifting_clip(&path("clips"));
        let folders = [(path("round"), 50), (path("clips/drift"), 70)];
        for (folder, from) in folders.iter().filter(|_| written) {
            for entry in fs::read_dir(folder).unwrap() {
                let file = entry.unwrap().path();
                let name = file.to_string_lossy().into_owned();
                if name.ends_with(".png") && !name.ends_with(".mask.png") {
                    let mut image = image::open(&file).unwrap().into_luma8();
                    for (x, _, pixel) in image.enumerate_pixels_mut().filter(|at| at.1 >= *from) {
                        pixel.0 = [255 * u8::from(x / 3 % 2 == 0)];
                    }
                    image.save(&file).unwrap();
                }
            }
        }
        home
    });
    let region = "box:0,0,95,49";
    let hide =
        OpenOptions { hide_outside: true, region: region.parse().ok(), ..OpenOptions::default() };
    let veils = [Veil::default(), Veil::of(&hide, &homes[0].path().join("nowhere"))];
    let [shown, hidden] =
        veils.each_ref().map(|veil| homes.each_ref().map(|h| judged(h.path(), veil)));
    let weights = |[plain, written]: &[(Judged, usize); 2]| plain.0.0 == written.0.0;
    let ious = |[plain, written]: &[(Judged, usize); 2]| {
        // Two stills, then the clip.
        [0..2, 2..3].map(|of| plain.0.1[of.clone()] == written.0.1[of])
    };
    assert_eq!((weights(&shown), ious(&shown)), (false, [false; 2]), "what is seen counts");
    assert_eq!((weights(&hidden), ious(&hidden)), (true, [true; 2]));
    assert!(!hidden[0].0.0.is_empty() && hidden[0].0.1.len() == 3);
    // A veil is another study; the hash of what is seen as it is is that of the files' bytes, as it always was.
    assert_eq!((shown[0].1, hidden[0].1), (1, 2));
    assert!(shown[0].0.2.iter().zip(&hidden[0].0.2).all(|(shown, hidden)| shown != hidden));
    let bytes = |name: &str| fs::read(homes[0].path().join("round").join(name)).unwrap();
    let mut hash = Sha256::new();
    ["s2.png", "s2.mask.png", "s3.png", "s3.mask.png"]
        .iter()
        .for_each(|name| hash.update(bytes(name)));
    let hash: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(shown[0].0.2[0], hash);

    // The command does as the flag says: what was kept of both is found again, another region is trained for.
    let home = homes[0].path();
    let [file, out] = ["study.yaml", "out"].map(|name| home.join(name).display().to_string());
    for (outside, trains) in [("show", false), (region, false), ("box:0,0,95,59", true)] {
        let words = ["study", "simulate", "--config", &file, "--out", &out, "--outside", outside];
        let done = run(home, &[&words[..], &["--device", "cpu"]].concat());
        let told = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.success() && told.contains("training") == trains, "{outside}: {told}");
    }
}

#[test]
fn threads_tell_networks_of_minutes_apart_and_a_gpu_is_compared_once() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    fs::write(path("tiny.yaml"), CARD).unwrap();
    set(&path("round"), 1.0);
    fs::create_dir_all(path("out/kept")).unwrap();
    let (library, out) = (Library::new(path("none")), path("out"));
    let studied = |training: &str, picked: &Picked| {
        let text = format!(
            "data: [{{name: round, train: 'round:train.txt', test: 'round:val.txt'}}]\n\
             training: {{card: tiny.yaml, {training}}}\npoints: 2\nbootstrap: 10\nzero_shot: false\n\
             arms: [{{name: a, prompt: boundary, train: true}}, {{name: b, prompt: region, train: true}}]\n"
        );
        let study = config::from_text("study", &text, home.path()).unwrap();
        let place = Place { picked, library: &library, out: &out };
        let mut compared = 0;
        let mut tell = |line: &str| compared += usize::from(line.starts_with("gradients of"));
        simulate(&study, &place, &mut tell, &AtomicBool::new(false)).unwrap();
        (fs::read_dir(out.join("networks")).unwrap().count(), compared)
    };
    let cpu = pick("cpu".parse().unwrap()).unwrap();
    assert_eq!(studied("minutes: 0.01, threads: 1", &cpu), (2, 0));
    assert_eq!(studied("minutes: 0.01, threads: 2", &cpu), (4, 0), "more steps in that time");
    assert_eq!(studied("minutes: 0.01, threads: 1", &cpu), (4, 0), "found again");
    assert_eq!(studied("steps: 2, threads: 1", &cpu), (6, 0));
    assert_eq!(studied("steps: 2, threads: 2", &cpu), (6, 0), "steps are as many on any number");
    // Two networks are trained on what says it is a GPU.
    let gpu = Picked { gpu: true, ..cpu };
    assert_eq!(studied("steps: 3", &gpu), (8, 1));
    assert_eq!(studied("steps: 3", &gpu), (8, 0), "nothing is trained");
}

/// One clip annotated by one rater: opened at `t`, a square of `side` px, done after `seconds` and eight keys.
fn annotate(project: &Path, user: &str, image: usize, t: u64, seconds: f64, side: u32) {
    let hash = ContentHash(format!("{image:064x}"));
    let info = ClipInfo { content_hash: hash, name: format!("{image}.png"), frames: 1, ..clip() };
    let options = StoreOptions { user: user.into(), rescue: None };
    let (mut store, loaded) = ClipStore::open_with(project, &info, t, &options).unwrap();
    let group = u64::from(loaded.session_seed) << 32;
    let track = TrackId(group);
    let mut step = |by: u64, after_ms: u64, edit| {
        let step = Step { group: group + by, mark: Mark::Do, edits: vec![edit], made_from: None };
        store.append(&step, t + after_ms).unwrap();
    };
    step(1, 1000, Edit::AddTrack { track, content: Track::new("mass", 0) });
    let mask = Bitmap::from_fn(64, 48, |x, y| x < side && y < side).to_mask();
    let after = Some(FrameMask { mask, source: MaskSource::Accepted, score: 1.0 });
    step(2, 2500, Edit::SetMask { track, frame: 0, before: None, after });
    let view = View {
        frame: 0,
        cursor: PointPx::new(1.0, 1.0),
        track: None,
        finished: true,
        keys: 8,
        outside: None,
        look: None,
    };
    let done = t + (1000.0 * seconds) as u64;
    store.append_view(&view, done).unwrap();
    store.append_view(&view, done + 30_000).unwrap();
}

/// A clip of which the first mask was accepted, no more.
fn begin(project: &Path, user: &str, image: usize, t: u64) {
    let hash = ContentHash(format!("{image:064x}"));
    let info = ClipInfo { content_hash: hash, name: format!("{image}.png"), frames: 9, ..clip() };
    let options = StoreOptions { user: user.into(), rescue: None };
    let (mut store, loaded) = ClipStore::open_with(project, &info, t, &options).unwrap();
    let group = u64::from(loaded.session_seed) << 32;
    let mut content = Track::new("mass", 0);
    let mask = Bitmap::from_fn(64, 48, |x, y| x < 20 && y < 20).to_mask();
    content.masks.insert(0, FrameMask { mask, source: MaskSource::Accepted, score: 1.0 });
    let edits = vec![Edit::AddTrack { track: TrackId(group), content }];
    store
        .append(&Step { group: group + 1, mark: Mark::Do, edits, made_from: None }, t + 1000)
        .unwrap();
}

/// A clip that was opened and left again at once.
fn look(project: &Path, user: &str, image: usize, t: u64) {
    let hash = ContentHash(format!("{image:064x}"));
    let info = ClipInfo { content_hash: hash, name: format!("{image}.png"), frames: 1, ..clip() };
    let options = StoreOptions { user: user.into(), rescue: None };
    let (mut store, _) = ClipStore::open_with(project, &info, t, &options).unwrap();
    let cursor = PointPx::new(1.0, 1.0);
    let view =
        View { frame: 0, cursor, track: None, finished: false, keys: 0, outside: None, look: None };
    store.append_view(&view, t).unwrap();
}

#[test]
fn real_sessions_become_the_tables_of_the_paper() {
    let home = tempfile::tempdir().unwrap();
    let study = home.path().join("study");
    for (r, rater) in ["ann", "bob", "cyd"].into_iter().enumerate() {
        for (m, model) in ["samusa", "sam2"].into_iter().enumerate() {
            let project = study.join("raters").join(rater).join(model);
            for image in 0..6 {
                // The second model takes 4 + i (1 + r / 2) s longer, and cyd draws larger with it.
                let more = 4.0 + image as f64 * (1.0 + 0.5 * r as f64);
                let seconds = 10.0 + image as f64 + m as f64 * more;
                let side = 20 + image as u32 + if r == 2 && m == 1 { 2 } else { 0 };
                let t = 1_790_000_000_000 + 100_000 * (image + 10 * m) as u64;
                annotate(&project, rater, image, t, seconds, side);
            }
        }
    }
    let raters = study.join("raters");
    // A clip that was only opened does not count, and nothing after it was called finished.
    look(&raters.join("ann/samusa"), "ann", 7, 1_790_002_000_000);
    look(&raters.join("bob/samusa"), "bob", 0, 1_790_020_000_000);
    begin(&raters.join("cyd/samusa"), "cyd", 8, 1_790_003_000_000);
    annotate(&raters.join("ann/samusa.repeat"), "ann", 3, 1_790_009_000_000, 9.0, 22);
    annotate(&raters.join("ann/samusa.warm-up"), "ann", 9, 1_789_000_000_000, 500.0, 40);
    let asked = "questions: [rating]\nanswers:\n  - {rater: ann, model: samusa, values: [5]}\n  - {rater: bob, model: samusa, \
                 values: [4]}\n";
    fs::write(study.join("questionnaire.yaml"), asked).unwrap();

    let out = home.path().join("out");
    let (from, to) = (study.to_str().unwrap(), out.to_str().unwrap());
    let done = run(home.path(), &["study", "analyse", from, "--out", to]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let raters = rows(&out.join("raters.csv"));
    let of = |rater: &str, model: &str| {
        raters.iter().find(|r| r[0] == rater && r[1] == model).unwrap()[2..].to_vec()
    };
    // Six clips of 12.5 s on average, one step and eight keys on a frame; 2 * 22^2 / (22^2 + 23^2) for the repeat.
    let wanted = ["6", "12.500", "1.000000", "1.0000", "8.000000", "0.955577"];
    assert_eq!(of("ann", "samusa"), wanted);
    assert_eq!(of("bob", "sam2")[1], "20.250");
    assert!(of("cyd", "sam2")[2].parse::<f64>().unwrap() < 0.96, "{:?}", of("cyd", "sam2"));
    assert_eq!(rows(&out.join("clips.csv")).len(), 1 + 36 + 1);
    let report = fs::read_to_string(out.join("report.md")).unwrap();
    // scipy.stats.wilcoxon of six differences of one sign: 0.03125; ttest_rel of the means 6.5, 7.75 and 9: 0.00856.
    for part in [
        "With samusa raters took 38.3 % less time than with sam2",
        "p = 0.009 for time",
        "| ann | sam2 - samusa | 6 | 6.5 | 0.031 | - | - |",
        "| between raters | sam2 - samusa | 3 | 7.8 | 0.009 |",
        "| samusa | 4.50 |",
    ] {
        assert!(report.contains(part), "{part} is missing in\n{report}");
    }
}

#[test]
fn a_study_of_people_is_set_up_and_names_its_raters() {
    let home = tempfile::tempdir().unwrap();
    set(&home.path().join("clips"), 1.0);
    let clips: Vec<String> =
        (0..4).map(|i| home.path().join(format!("clips/s{i}.png")).display().to_string()).collect();
    let out = home.path().join("study").display().to_string();
    let card = stock_files(home.path());
    let model = format!("sam2={}", card.display());
    let new = |model: &str| {
        let mut words = vec!["study", "new", "--rater", "ann", "--rater", "bob", "--out", &out];
        words.extend(["--model", "samusa=shipped", "--model", model, "--warm-up", "1"]);
        words.extend(clips.iter().map(String::as_str));
        program(home.path()).current_dir(home.path()).args(words).output().unwrap()
    };
    // A model that is not there is told before there is a study.
    let refused = new("sam2=./none.yaml");
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
    assert!(!Path::new(&out).exists());
    let done = new("sam2=stock.yaml");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let told = String::from_utf8(done.stdout).unwrap();
    assert!(told.contains("study lead") && told.contains("--rater bob"), "{told}");
    let plan = fs::read_to_string(Path::new(&out).join("plan.yaml")).unwrap();
    assert!(plan.contains(card.to_str().unwrap()), "the card is found from anywhere: {plan}");
    let done = run(home.path(), &["study", "lead", &out, "--rater", "cyd"]);
    let told = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{told}");
    assert!(told.contains("the plan has no rater cyd; it has ann, bob"), "{told}");
    // A second study does not go over the first.
    assert_eq!(new(&model).status.code(), Some(1));
    // Nobody is led without the network of the block: bob begins with the second model.
    fs::remove_file(&card).unwrap();
    let done = run(home.path(), &["study", "lead", &out, "--rater", "bob"]);
    let told = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.code() == Some(2) && told.contains("stock.yaml"), "{told}");
}

#[test]
fn a_rater_is_led_from_clip_to_clip_and_the_analysis_reads_what_was_left() {
    let home = tempfile::tempdir().unwrap();
    set(&home.path().join("clips"), 1.0);
    let clips: Vec<String> =
        (0..4).map(|i| home.path().join(format!("clips/s{i}.png")).display().to_string()).collect();
    let study = home.path().join("study").display().to_string();
    let mut words = vec!["study", "new", "--rater", "ann", "--warm-up", "0", "--out", &study];
    words.extend(["--model", "one=shipped", "--model", "two=shipped"]);
    words.extend(clips.iter().map(String::as_str));
    assert!(run(home.path(), &words).status.success());

    let folder = home.path().to_str().unwrap();
    let command = [PROGRAM, "--device", "cpu", "study", "lead", &study];
    let command = [&command[..], &["--rater", "ann"]].concat();
    let mut terminal =
        Harness::start(&command, &[("HOME", folder)], 100, 30, (8, 16), Answers::xterm());
    // Four clips: a block of two with each model, then the other halves. In the order of the plan.
    for (at, name) in [(1, "001.png"), (2, "002.png")] {
        let here = format!("clip {at}/2");
        terminal.until(name, |text| {
            text.contains(name) && text.contains(&here) && !text.contains("opening")
        });
        terminal.key(b":boundary 27 30\r:boundary 51 30\r");
        terminal.until("the mask", |text| {
            text.contains("2 boundary")
                && text.contains("mask from points")
                && !text.contains("STALE")
                && !text.contains("computing")
        });
        terminal.key(b"a");
        terminal.until("accepted", |text| text.contains("mask accepted"));
        terminal.key(b"E");
    }
    terminal.until("the block", |text| text.contains("clip 2/2 finished"));
    terminal.key(b"q");
    terminal.until("the break", |text| text.contains("Enter begins the next one"));
    terminal.key(b"\r");
    terminal.until("the next block", |text| text.contains("003.png"));
    terminal.key(b"q");
    assert!(terminal.wait_exit(PATIENCE).unwrap().success());
    terminal.until("the farewell", |text| text.contains("not annotated yet in this block: 2"));

    let out = home.path().join("out").display().to_string();
    let done = run(home.path(), &["study", "analyse", &study, "--out", &out]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let clips = rows(&Path::new(&out).join("clips.csv"));
    let mut told: Vec<_> = clips[1..].iter().map(|r| (&*r[0], &*r[1], &*r[3], &*r[4])).collect();
    told.sort_unstable();
    assert_eq!(told, [("ann", "one", "001.png", "1"), ("ann", "one", "002.png", "1")]);
    // Two points and the mask accepted, by as many keys as were pressed; nobody else did these clips.
    let keys = |row: &Vec<String>| row[8].parse::<u32>().unwrap();
    assert!(clips[1..].iter().all(|row| row[7] == "3" && keys(row) > 30), "{clips:?}");
    assert!(clips[1..].iter().all(|row| row[9].is_empty()), "{clips:?}");
}
