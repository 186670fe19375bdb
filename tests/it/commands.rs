//! Commands from their words to what they leave behind, on a network of the published layout that is small enough.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use burn::tensor::Device;
use serde_json::Value;
use sonomark::codec::{OpenOptions, open};
use sonomark::net::config::ModelCard;
use sonomark::net::stages::Stage;
use sonomark::net::weights::{sha256_hex, sha256_of_file};

use crate::data::{SIZE, miniature, save};
use crate::learn::{own_project, tiny};
use crate::stock::stock_files;
use crate::study::set;
use crate::surroundings::{PROGRAM, data, program, text, told};

pub(crate) fn run(home: &Path, words: &[&str]) -> Output {
    program(home).args(words).output().unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", told(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn still() -> PathBuf {
    data("clips/ultrabones/00005.jpg")
}

#[test]
fn a_warm_up_runs_every_part_and_says_how_far_it_is() {
    let home = tempfile::tempdir().unwrap();
    let card = stock_files(home.path());
    let told = printed(&run(home.path(), &["warmup", "--card", text(&card)]));
    let lines: Vec<&str> = told.lines().collect();
    let count = Stage::ALL.len() + 1;
    assert_eq!(lines.len(), count + 2, "{told}");
    assert!(lines[0].starts_with("stock at 64 px on CPU"), "{told}");
    for (at, stage) in Stage::ALL.into_iter().enumerate() {
        let wanted = format!("{}/{count} {}: ", at + 2, stage.name().replace('_', " "));
        assert!(lines[at + 2].starts_with(&wanted), "{wanted} in {told}");
    }
    assert!(lines[count + 1].starts_with("ready after"), "{told}");
}

#[test]
fn measurements_have_the_numbers_they_promise() {
    let home = tempfile::tempdir().unwrap();
    let card = stock_files(home.path());
    let out = home.path().join("out.json");
    let bench = |words: &[&str]| -> Value {
        let always = ["--card", text(&card), "--json", text(&out)];
        printed(&run(home.path(), &[&["bench"], words, &always].concat()));
        serde_json::from_slice(&fs::read(&out).unwrap()).unwrap()
    };
    let positive = |found: &Value, name: &str| {
        assert!(found[name].as_f64().is_some_and(|n| n > 0.0), "{name}: {found}");
    };
    let found = bench(&["network"]);
    assert_eq!(found["model"], "stock");
    for name in ["encode_ms", "refresh_ms", "propagate_ms", "propagate_fps", "first_picture_ms"] {
        positive(&found, name);
    }
    let found = bench(&["stages"]);
    assert_eq!((found["model"].as_str(), found["pixels"].as_u64()), (Some("stock"), Some(64)));
    for stage in Stage::ALL {
        positive(&found[stage.name()], "wall_s");
        positive(&found[stage.name()], "cpu_s");
    }
    positive(&found, "second_track_share");
    let found = bench(&["memory", "--frames", "502"]);
    for name in ["rss_mib_500", "rss_mib_502", "ms_per_frame"] {
        positive(&found, name);
    }
    assert_eq!(found["frames"], 502);
    // Two frames more are no reason to grow.
    assert!(found["growth"].as_f64().is_some_and(|part| part.abs() < 0.05), "{found}");
    let output = run(home.path(), &["bench", "--card", text(&card), "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).expect("one document, nothing else");
    positive(&found, "encode_ms");
    let refused = run(home.path(), &["bench", "--json", "screen"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).contains("`sonomark bench screen --json`"), "{}", told(&refused));
    let refused = run(home.path(), &["bench", "memory", "--frames", "500", "--card", text(&card)]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).contains("--frames must be more than 500"), "{}", told(&refused));
}

#[test]
fn a_network_that_does_not_fit_into_memory_is_refused_with_a_way_out() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("mask.png");
    let limited = |words: &[&str]| {
        let mut limited = Command::new("sh");
        limited.env_clear().env("HOME", home.path()).env("SONOMARK_DEVICE", "cpu");
        // 1.5 GiB of address space, the program's own included.
        limited.args(["-c", "ulimit -v 1572864; exec \"$0\" \"$@\"", PROGRAM]);
        limited.args(words).output().unwrap()
    };
    let still = still();
    let segment = ["segment", "--inside", "250,300", "--out", text(&out), text(&still)];
    let large = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/sam2.1-large.yaml");
    let evaluate = ["evaluate", "clicks", "--data", text(home.path())];
    for command in [&segment[..], &evaluate, &["warmup"]] {
        let refused = limited(&[command, &["--card", text(&large)]].concat());
        let told = told(&refused);
        assert_eq!(refused.status.code(), Some(2), "{command:?}: {told}");
        let words = ["sam2.1-large at 1024 pixels needs ", " GiB of memory, ", " GiB are free: "];
        assert!(words.iter().all(|part| told.contains(part)), "{command:?}: {told}");
        assert!(told.contains("would fit") || told.contains("use 512 pixels"), "{told}");
    }
    assert!(!out.exists());
    // The shipped network finds room there.
    printed(&limited(&segment));
    assert!(out.is_file());
}

#[test]
fn own_annotations_become_a_network_with_its_lineage() {
    let home = tempfile::tempdir().unwrap();
    let (project, clips) = own_project(home.path());
    let weights = tiny().network.init(&Device::flex()).to_safetensors().unwrap();
    fs::write(home.path().join("tiny.safetensors"), &weights).unwrap();
    let mut parent = tiny();
    parent.weights.file = "tiny.safetensors".into();
    parent.weights.lineage = "drawn at random".into();
    parent.scores.insert("mean".into(), 0.5.into());
    let card = home.path().join("tiny.yaml");
    fs::write(&card, parent.to_yaml()).unwrap();
    let out = home.path().join("out");
    let train = |more: &[&str]| {
        let words = ["train", "--from", text(&card), "--project", text(&project)];
        let rest = ["--clips", text(&clips), "--out", text(&out), "--views", "1", "--seed", "5"];
        run(home.path(), &[&words[..], &rest, more].concat())
    };
    let said = train(&["--steps", "3", "--threads", "1"]);
    assert!(said.status.success(), "{}", told(&said));
    assert!(told(&said).contains("3 accepted masks on 3 frames of 3 clips"), "{}", told(&said));
    let own = ModelCard::read_file(&out.join("tiny-own.yaml")).unwrap();
    let wanted = format!("tiny, SHA-256 {}; that one: drawn at random", sha256_hex(&weights));
    assert_eq!((own.name.as_str(), own.weights.lineage), ("tiny-own", wanted));
    assert_eq!(own.weights.sha256, sha256_of_file(&out.join("tiny-own.safetensors")).unwrap());
    assert_ne!(own.weights.sha256, sha256_hex(&weights));
    assert_eq!((own.weights.seed, own.weights.data.len()), (5, 1));
    assert!(own.weights.command.starts_with("sonomark train --from "), "{}", own.weights.command);
    assert!(own.scores.is_empty(), "what the parent scored says nothing of its child");
    // It is a network like any other.
    let (mask, own) = (home.path().join("mask.png"), out.join("tiny-own.yaml"));
    let words = ["segment", "--boundary", "200,300", "--boundary", "300,300", "--card", text(&own)];
    printed(&run(home.path(), &[&words[..], &["--out", text(&mask), text(&still())]].concat()));

    // Two devices take a share each; one that is not there ends the run before it begins.
    let both = train(&["--steps", "2", "--devices", "cpu,cpu", "--name", "both"]);
    assert!(both.status.success(), "{}", told(&both));
    assert_eq!(told(&both).matches("device: CPU").count(), 2, "{}", told(&both));
    assert!(out.join("both.safetensors").is_file());
    for (devices, word) in [("cpu,99", "99"), ("cpu,gpu:98", "98"), ("cpu,gpx", "gpx")] {
        let refused = train(&["--steps", "2", "--devices", devices, "--name", "never"]);
        assert_eq!(refused.status.code(), Some(2), "{devices}: {}", told(&refused));
        assert!(told(&refused).contains(word), "{devices}: {}", told(&refused));
    }
    // What was accepted cannot be held back too.
    save(&clips.join("c1.mask.png"), (96, 80), |x, y| {
        u8::from(x.abs_diff(46) + y.abs_diff(38) < 15)
    });
    let refused = train(&["--steps", "1", "--val", text(&clips), "--name", "never"]);
    let words = "c1.png is learned from and held back by clips; name lists";
    assert!(told(&refused).contains(words), "{}", told(&refused));
    assert!(!out.join("never.yaml").exists());
}

#[test]
fn a_trained_network_says_what_it_is_and_is_judged_on_what_was_held_back() {
    let home = tempfile::tempdir().unwrap();
    let (folder, card) = (home.path().join("round"), home.path().join("tiny.yaml"));
    set(&folder, 1.0);
    let mut other = tiny();
    other.description = "another network".into();
    other.scores.insert("mean".into(), 0.5.into());
    fs::write(&card, other.to_yaml()).unwrap();
    let train = |out: &str, more: &[&str]| {
        let out = home.path().join(out);
        let words = ["train", "--data", text(&folder), "--out", text(&out), "--steps", "1"];
        printed(&run(home.path(), &[&words[..], &["--threads", "1"], more].concat()));
        out
    };
    let about = |card: &Path| {
        let card = ModelCard::read_file(card).unwrap();
        (card.description, card.weights.lineage, card.scores.len())
    };
    let first = train("first", &["--card", text(&card)]);
    let (weights, trained) = (first.join("tiny.safetensors"), first.join("tiny.yaml"));
    assert_eq!(about(&trained), ("trained on round/train".into(), "random weights".into(), 0));
    let more = train("more", &["--card", text(&card), "--start-from", text(&weights)]);
    let begun = format!("tiny.safetensors, SHA-256 {}", sha256_of_file(&weights).unwrap());
    assert_eq!(about(&more.join("tiny.yaml")).1, begun);
    let fine = train("fine", &["--from", text(&trained), "--views", "1"]);
    assert_eq!(about(&fine.join("tiny-own.yaml")).0, "fine-tuned on round/train");
    let judge = ["evaluate", "clicks", "--judge", "polygon", "--data", text(&folder)];
    let said = printed(&run(home.path(), &judge));
    assert!(said.contains("round/val (2 structures)"), "{said}");
    // The best weights are not chosen by what is learned from.
    let (out, all) = (home.path().join("both"), format!("{}:train.txt", text(&folder)));
    let words = ["train", "--data", text(&folder), "--val", &all, "--out", text(&out), "--steps"];
    let refused = run(home.path(), &[&words[..], &["1", "--card", text(&card)]].concat());
    assert!(told(&refused).contains("held back by round/train"), "{}", told(&refused));
    assert!(!out.join("tiny.yaml").exists());
}

#[test]
fn a_data_set_is_imported_checked_and_its_faults_are_counted() {
    let home = tempfile::tempdir().unwrap();
    let (set, out) = (home.path().join("set"), home.path().join("out"));
    miniature("busi", &set);
    let import = ["data", "import", "busi", text(&set), "--out", text(&out)];
    let said = printed(&run(home.path(), &import));
    let manifest = out.join("busi.yaml");
    assert!(said.contains("busi.yaml") && manifest.is_file(), "{said}");
    let check = || run(home.path(), &["data", "check", text(&manifest), "--json"]);
    let found: Value = serde_json::from_str(&printed(&check())).unwrap();
    assert_eq!((found["name"].as_str(), found["across"].as_u64()), (Some("busi"), Some(0)));
    assert_eq!(found["report"]["faults"], Value::Array(Vec::new()));
    let plain = printed(&run(home.path(), &["data", "check", text(&manifest)]));
    assert!(plain.contains(" structures, "), "{plain}");

    // One image is another than it was.
    let one = set.join("Dataset_BUSI_with_GT/benign/benign (1).png");
    save(&one, SIZE, |_, _| 7);
    let refused = check();
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).contains("busi.yaml has 1 fault\n"), "{}", told(&refused));
    // What cannot be read is left out, and the exit status says that something was.
    fs::write(&one, b"no picture").unwrap();
    let partly = run(home.path(), &import);
    assert_eq!(partly.status.code(), Some(3), "{}", told(&partly));
    let unknown = run(home.path(), &["data", "import", "busy", text(&set), "--out", text(&out)]);
    assert!(told(&unknown).contains("'busi'"), "{}", told(&unknown));
}

#[test]
fn formats_that_are_imported_are_named_and_the_others_are_not() {
    let home = tempfile::tempdir().unwrap();
    let (clip, file) = (still(), home.path().join("what"));
    fs::write(&file, "?").unwrap();
    for format in ["mp4", "dicom", "nothing"] {
        let import = ["import", text(&clip), text(&file), "--format", format];
        let refused = told(&run(home.path(), &import));
        let list = refused.split("choose ").nth(1).unwrap_or_else(|| panic!("{refused}"));
        let names: Vec<&str> = list.lines().next().unwrap().split(", ").collect();
        assert!(names.contains(&"csv") && names.contains(&"nnunet"), "{refused}");
        for not in ["mp4", "gif", "dicom", "frames"] {
            assert!(!names.contains(&not), "{refused}");
        }
    }
    let unknown = told(&run(home.path(), &["import", text(&clip), text(&file)]));
    assert!(unknown.contains("--format") && unknown.contains("csv"), "{unknown}");
}

#[test]
fn a_mask_is_not_written_under_the_name_of_another_kind_of_picture() {
    let home = tempfile::tempdir().unwrap();
    let (clip, out) = (still(), home.path().join("m.jpg"));
    let points = ["--boundary", "243,236", "291,345", "207,392", "--out", text(&out)];
    let refused = run(home.path(), &[&["segment", text(&clip)][..], &points].concat());
    assert_eq!(refused.status.code(), Some(1), "{}", told(&refused));
    assert!(told(&refused).contains("m.jpg: masks are written as PNG"), "{}", told(&refused));
    assert!(!out.exists());
}

#[test]
fn a_number_of_a_clip_is_refused_where_there_is_one_clip() {
    let clip = still();
    let folder = clip.parent().unwrap();
    let opened = |path: &Path, number| {
        let options = OpenOptions { series: Some(number), ..OpenOptions::default() };
        open(path, &options).map(|_| ()).map_err(|error| error.to_string())
    };
    for path in [&clip, folder] {
        assert_eq!(opened(path, 1), Ok(()));
        let why = opened(path, 3).unwrap_err();
        assert!(why.contains("it holds one clip, so there is no clip 3"), "{why}");
        assert!(why.contains("open it without --series"), "{why}");
    }
}

#[test]
fn what_is_read_and_wrong_is_not_called_unreadable() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    fs::create_dir(at("set")).unwrap();
    fs::copy(still(), at("set/a.png")).unwrap();
    fs::write(at("set/a.mask.png"), b"no picture").unwrap();
    let project = at("other");
    fs::create_dir(&project).unwrap();
    fs::write(project.join("notes.txt"), b"a folder of something else").unwrap();
    let (set, project, out) = (at("set"), text(&project).to_owned(), text(&at("out")).to_owned());
    for (words, wanted) in [
        (
            vec!["evaluate", "clicks", "--data", text(&set)],
            "a.mask.png cannot be used: it is no picture",
        ),
        (vec!["--project", &project, "project"], "other is no sonomark project"),
        (
            vec!["study", "analyse", &project, "--out", &out],
            "other cannot be used: it holds no finished session",
        ),
    ] {
        let refused = told(&run(home.path(), &words));
        assert!(refused.contains(wanted), "{wanted}: {refused}");
        assert!(!refused.contains("rights"), "{refused}");
    }
}

#[test]
fn one_of_a_thing_is_told_without_an_s() {
    let home = tempfile::tempdir().unwrap();
    let script = home.path().join("s");
    fs::write(&script, "new nerve\nboundary 243 236\nwindow 1 1\n").unwrap();
    let clip = still();
    let ran = run(home.path(), &["run", text(&script), text(&clip)]);
    let said = told(&ran) + &printed(&ran) + &printed(&run(home.path(), &["project"]));
    let words: Vec<&str> = said.split_whitespace().collect();
    assert!(said.contains("1 frame "), "{said}");
    let wrong = words.windows(2).find(|pair| pair[0] == "1" && pair[1].ends_with('s'));
    assert_eq!(wrong, None, "{said}");
}

#[test]
fn wrong_arguments_are_told_in_sentences() {
    let home = tempfile::tempdir().unwrap();
    let clip = still();
    let nowhere = home.path().join("nowhere");
    let (clip, mask) = (text(&clip), nowhere.join("m.png"));
    let points = ["--boundary", "243,236", "291,345", "207,392"];
    for (words, wanted, not) in [
        (vec!["watch", text(&nowhere)], "nowhere is no folder", "permissions"),
        (vec!["--series", "x", "keys"], "--series <NUMBER> is \"x\"", "digit"),
        (vec!["--schema", text(&nowhere), "keys"], "has 1 fault", "2 faults"),
        (vec!["--outside", "foo", "keys"], "show, hide, or give box:LEFT", "1 faults"),
        (
            [&["segment", clip, "--out", text(&mask)][..], &points].concat(),
            "m.png: its folder is not there",
            ".part",
        ),
    ] {
        let output = run(home.path(), &words);
        assert!(!output.status.success());
        let told = told(&output);
        assert!(told.contains(wanted) && !told.contains(not), "{wanted}, not {not}: {told}");
    }
}
