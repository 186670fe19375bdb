//! The commands without a terminal: files, exit codes, sentences.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::codec::has_ffmpeg;
use crate::pty_harness::{Answers, Harness};
use crate::surroundings::{
    Home, IDLE_S, PATIENCE, PROGRAM, data, files_below, left_half, long_clip, skipped, text, told,
    until,
};

pub(crate) fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("one JSON document and nothing else")
}

pub(crate) fn mask(path: &Path) -> image::GrayImage {
    let image = image::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).to_luma8();
    assert!(image.pixels().all(|p| p.0[0] == 0 || p.0[0] == 255), "only 0 and 255");
    image
}

fn area(mask: &image::GrayImage) -> usize {
    mask.pixels().filter(|p| p.0[0] == 255).count()
}

pub(crate) const PROMPTS: &str = "tracks:\n  - label: bone shadow\n    windows: [[3, 7]]\n    prompts:\n      - frame: 5\n        boundary: [[243, 236], [278, 272], [291, 345], [262, 398], [207, 392], [206, 290]]\n";

#[test]
fn segment_writes_a_mask_whose_contour_holds_the_points() {
    let home = Home::new();
    let out = home.path("mask.png");
    let frame = data("clips/ultrabones/00005.jpg");
    let output = home.run(&[
        "segment",
        text(&frame),
        "--boundary",
        "243,236",
        "278,272",
        "291,345",
        "--boundary",
        "262,398",
        "--boundary",
        "207,392",
        "206,290",
        "--out",
        text(&out),
        "--json",
    ]);
    assert!(output.status.success(), "{}", told(&output));
    let report = json(&output.stdout);
    let mask = mask(&out);
    assert_eq!((mask.width(), mask.height()), (475, 405));
    assert_eq!(report["area_px"].as_u64().unwrap() as usize, area(&mask));
    assert!(
        report["score"].as_f64().is_some() && report["device"].as_str().unwrap().contains("CPU")
    );
    for (x, y) in [(243, 236), (278, 272), (291, 345), (207, 392)] {
        let near = |value: u8| {
            (-6i64..=6).any(|dy| {
                (-6i64..=6).any(|dx| {
                    let at = ((x + dx).clamp(0, 474) as u32, (y + dy).clamp(0, 404) as u32);
                    mask.get_pixel(at.0, at.1).0[0] == value
                })
            })
        };
        assert!(near(0) && near(255), "the contour passes near {x},{y}");
    }
}

/// Foreign files are decoded in a child, which is this program under whatever name its file goes, never one beside it.
#[test]
fn a_program_of_another_name_starts_itself_as_decoder() {
    let home = Home::new();
    let [renamed, beside, mark] =
        ["sonomark-0.1", "sonomark", "started"].map(|name| home.path(name));
    fs::copy(PROGRAM, &renamed).unwrap();
    fs::write(&beside, format!("#!/bin/sh\ntouch {}\n", mark.display())).unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)).unwrap();
    let clip = data("stills/usgra_0162.png");
    let words = ["segment", text(&clip), "--boundary", "60,60", "120,120", "--out"];
    let output = Command::new(&renamed)
        .env_clear()
        .env("HOME", home.0.path())
        .env("SONOMARK_DEVICE", "cpu")
        .args(words)
        .arg(home.path("m.png"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", told(&output));
    assert!(!mark.exists(), "another program was started");
}

#[test]
fn points_outside_the_image_are_refused_with_exit_1() {
    let home = Home::new();
    let frame = data("clips/ultrabones/00005.jpg");
    let out = home.path("mask.png");
    let output =
        home.run(&["segment", text(&frame), "--boundary", "900,20", "5,5", "--out", text(&out)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told(&output).contains("outside the image of 475 x 405 px: 900,20"),
        "{}",
        told(&output)
    );
    assert!(!out.exists());
    let none = home.run(&["segment", text(&frame), "--out", text(&out)]);
    assert_eq!(none.status.code(), Some(1));
    assert!(told(&none).contains("give two or more --boundary"));
}

#[test]
fn propagate_fills_the_window_and_leaves_the_rest_empty() {
    let home = Home::new();
    let (prompts, out) = (home.path("p.yaml"), home.path("out"));
    fs::write(&prompts, PROMPTS).unwrap();
    let clip = data("clips/ultrabones");
    let output = home.run(&[
        "propagate",
        text(&clip),
        "--prompts",
        text(&prompts),
        "--out",
        text(&out),
        "--json",
    ]);
    assert!(output.status.success(), "{}", told(&output));
    for frame in 0..16 {
        let mask = mask(&out.join(format!("bone shadow/{frame:05}.png")));
        assert_eq!((mask.width(), mask.height()), (475, 405));
        let inside = (3..=7).contains(&frame);
        assert_eq!(area(&mask) > 0, inside, "frame {frame}");
    }
    let report = json(&fs::read(out.join("report.json")).unwrap());
    assert_eq!(report, json(&output.stdout));
    let frames = report["tracks"][0]["frames"].as_array().unwrap();
    let kinds: Vec<_> = frames
        .iter()
        .map(|f| (f["frame"].as_u64().unwrap(), f["kind"].as_str().unwrap()))
        .collect();
    assert_eq!(
        kinds,
        [(3, "tracked"), (4, "tracked"), (5, "anchor"), (6, "tracked"), (7, "tracked")]
    );
    assert!(frames.iter().all(|f| f["score"].is_number() && f["ms"].is_number()));
    assert_eq!(report["tracks"][0]["windows"], serde_json::json!([[3, 7]]));
    // Beside its report the folder is one of masks, which a project takes.
    let taken = told(&home.run(&["import", text(&clip), text(&out)]));
    assert!(taken.contains("\"bone shadow\" on 16 frames"), "{taken}");
}

/// Data sets write 1 where others write white: read as black, such a mask led to masks of nothing.
#[test]
fn a_mask_as_prompt_counts_as_white_or_as_a_number() {
    let home = Home::new();
    let (prompts, out, given) = (home.path("p.yaml"), home.path("out"), home.path("given.png"));
    let words = "tracks:\n  - label: a\n    windows: [[5, 5]]\n    prompts:\n      - {frame: 5, mask: given.png}\n";
    fs::write(&prompts, words).unwrap();
    let clip = data("clips/ultrabones");
    let run = |inside: u8, corner: u8| {
        let value = |x: u32, y: u32| match (x, y) {
            (0, 0) => corner,
            (200..300, 240..390) => inside,
            _ => 0,
        };
        let drawn = image::GrayImage::from_fn(475, 405, |x, y| image::Luma([value(x, y)]));
        drawn.save(&given).unwrap();
        home.run(&["propagate", text(&clip), "--prompts", text(&prompts), "--out", text(&out)])
    };
    let masks = [(255, 0), (1, 0)].map(|(inside, corner)| {
        let output = run(inside, corner);
        assert!(output.status.success(), "{}", told(&output));
        assert!(told(&output).contains("1 track, 1 frame; report.json"), "{}", told(&output));
        mask(&out.join("a/00005.png"))
    });
    assert!(area(&masks[0]) > 5000 && masks[0] == masks[1]);
    for (inside, corner, why) in [(1, 2, "2 values besides black"), (0, 0, "black everywhere")] {
        let output = run(inside, corner);
        assert_eq!(output.status.code(), Some(1));
        assert!(told(&output).contains("line 5: `tracks[0].prompts[0].mask`"), "{}", told(&output));
        assert!(told(&output).contains(why), "{}", told(&output));
    }
}

#[test]
fn a_faulty_prompts_file_is_refused_with_all_its_faults() {
    let home = Home::new();
    let (prompts, out) = (home.path("p.yaml"), home.path("out"));
    fs::write(&prompts, "tracks:\n  - lable: a\n    windows: [[3, 99]]\n    prompts:\n      - frame: 5\n        boundry: [[1, 2]]\n").unwrap();
    let output = home.run(&[
        "propagate",
        text(&data("clips/ultrabones")),
        "--prompts",
        text(&prompts),
        "--out",
        text(&out),
    ]);
    assert_eq!(output.status.code(), Some(1));
    let told = told(&output);
    for part in [
        "line 2: `tracks[0].lable` is unknown; did you mean `label`?",
        "frames 0 to 15",
        "did you mean `boundary`?",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    assert!(!out.exists(), "nothing is written");
}

#[test]
fn ctrl_c_leaves_no_half_of_an_export() {
    if !has_ffmpeg() {
        return;
    }
    let home = Home::new();
    let (clip, out) = (home.path("clip"), home.path("out"));
    fs::create_dir_all(&clip).unwrap();
    fs::create_dir_all(&out).unwrap();
    fs::copy(data("clips/ultrabones/00005.jpg"), clip.join("0000.jpg")).unwrap();
    for frame in 1..1500 {
        fs::hard_link(clip.join("0000.jpg"), clip.join(format!("{frame:04}.jpg"))).unwrap();
    }
    fs::write(home.path("script"), "boundary 243 236\nboundary 291 345\n").unwrap();
    let made = home.run(&["run", text(&home.path("script")), text(&clip)]);
    assert!(made.status.success(), "{}", told(&made));
    let movie = out.join("movie.mp4");
    let child = home
        .command(&["export", text(&clip), "--format", "mp4", "--out", text(&movie)])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("an export that is begun", || fs::read_dir(&out).unwrap().count() > 0);
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        assert!(movie.is_file(), "it was faster than the signal");
        return;
    }
    assert_eq!(output.status.code(), Some(130), "{}", told(&output));
    assert!(told(&output).contains("is not complete"), "{}", told(&output));
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "a temporary file is left");
}

#[test]
fn ctrl_c_ends_a_script_and_what_its_lines_did_is_saved() {
    let home = Home::new();
    let script = home.path("script");
    let points = "boundary 243 236\nboundary 291 345\nboundary 207 392\nboundary 206 290\n";
    fs::write(&script, points.to_owned() + &"propagate-anew\n".repeat(500)).unwrap();
    let mut child = home
        .command(&["run", text(&script), text(&data("clips/ultrabones"))])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("propagated")));
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    let last = lines.last();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{last:?}");
    assert!(told(&output).contains("what was done until then is saved"), "{}", told(&output));
    assert_eq!(masks_held(&home), 16);
}

#[test]
fn a_mask_that_cannot_be_written_ends_the_walk_and_is_named() {
    let home = Home::new();
    let (prompts, out) = (home.path("p.yaml"), home.path("out"));
    fs::write(&prompts, PROMPTS.replace("[[3, 7]]", "[[0, 15]]")).unwrap();
    let folder = out.join("bone shadow");
    // The prompted frame is decided first.
    fs::create_dir_all(folder.join("00005.png")).unwrap();
    left_half(&folder);
    let (clip, prompts, out) = (data("clips/ultrabones"), text(&prompts), text(&out));
    let output = home.run(&["propagate", text(&clip), "--prompts", prompts, "--out", out]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("cannot write") && told(&output).contains("00005.png"));
    let held = fs::read_dir(&folder).unwrap().count();
    assert_eq!(held, 1, "it went on for nothing, or what a killed run left is still there");
}

#[test]
fn faulty_settings_are_exit_2_and_doctor_shows_them() {
    let home = Home::new();
    let folder = home.path(".config/sonomark");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.yaml"), "devce: cpu\ngraphics: sixl\n").unwrap();
    for words in [&["keys"][..], &["doctor"]] {
        let output = home.run(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        // Doctor tells every fault once, in its list.
        let told = told(&output) + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(told.matches("line 1: `devce` is unknown; did you mean").count(), 1, "{told}");
        assert!(told.contains("did you mean sixel?"), "{told}");
    }
    assert!(String::from_utf8_lossy(&home.run(&["doctor"]).stdout).contains("ffmpeg"));
    // A name that nobody has, a key that is none, a variable that sets nothing.
    fs::write(folder.join("config.yaml"), "keymap: vmi\n").unwrap();
    let check = home.run(&["keys", "--check"]);
    assert!(check.status.code() == Some(2) && told(&check).contains("did you mean vim?"));
    fs::write(folder.join("config.yaml"), "keymap: mine\n").unwrap();
    fs::create_dir(folder.join("keymaps")).unwrap();
    fs::write(folder.join("keymaps/mine.yaml"), "normal:\n  f9: flag-fame\n").unwrap();
    let doctor = home.command(&["doctor"]).env("SONOMARK_DEVCE", "cpu").output().unwrap();
    assert_eq!(doctor.status.code(), Some(2));
    let printed = String::from_utf8_lossy(&doctor.stdout);
    assert!(printed.contains("flag-fame") && !told(&doctor).contains("flag-fame"), "{printed}");
    assert!(told(&doctor).contains("did you mean $SONOMARK_DEVICE?"), "{}", told(&doctor));
}

#[test]
fn doctor_and_keys_answer() {
    let home = Home::new();
    let doctor = home.run(&["doctor", "--json"]);
    assert!(doctor.status.success(), "{}", told(&doctor));
    assert!(!told(&doctor).contains("are fine"), "{}", told(&doctor));
    // libwayland's words on a machine without a screen.
    assert!(!told(&doctor).contains("XDG_RUNTIME_DIR"), "{}", told(&doctor));
    let report = json(&doctor.stdout);
    let what: Vec<_> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["what"].as_str().unwrap())
        .collect();
    for needed in ["device", "network", "terminal", "ffmpeg", "project", "setting"] {
        assert!(what.contains(&needed), "{needed} is missing in {what:?}");
    }
    // So is where a project could not be made.
    let doctor = home.command(&["doctor"]).env("XDG_DATA_HOME", "/sys/none").output().unwrap();
    assert_eq!(doctor.status.code(), Some(2), "{}", told(&doctor));
    let printed = String::from_utf8_lossy(&doctor.stdout);
    assert!(
        printed.contains("!!  project    /sys/none/sonomark/project cannot be made"),
        "{printed}"
    );
    // A device that was asked for and is not there is no small matter.
    let doctor = home.command(&["doctor"]).env("SONOMARK_DEVICE", "gpu:99").output().unwrap();
    assert_eq!(doctor.status.code(), Some(2), "{}", told(&doctor));
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("!!  device"));
    // A tmux that holds back Esc is asked and told of; one that is not there fails nothing.
    let bin = home.path("bin");
    fs::create_dir(&bin).unwrap();
    let of_tmux = || -> Vec<(bool, String)> {
        let mut doctor = home.command(&["doctor", "--json"]);
        let output = doctor.env("PATH", &bin).env("TMUX", "/nowhere,1,0").output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
        let findings = json(&output.stdout)["findings"].as_array().unwrap().clone();
        let found = findings.iter().filter(|f| f["what"] == "tmux");
        found.map(|f| (f["ok"] == true, f["text"].as_str().unwrap().to_owned())).collect()
    };
    assert_eq!(of_tmux(), []);
    let asked = "[ \"$*\" = 'show-options -gsv escape-time' ] && echo 500";
    fs::write(bin.join("tmux"), format!("#!/bin/sh\n{asked}\n")).unwrap();
    fs::set_permissions(bin.join("tmux"), fs::Permissions::from_mode(0o755)).unwrap();
    let told_of = of_tmux();
    assert!(told_of.len() == 1 && !told_of[0].0, "{told_of:?}");
    assert!(told_of[0].1.contains("`set -sg escape-time 10` into ~/.tmux.conf"), "{told_of:?}");
    let keys = home.run(&["keys"]);
    assert!(keys.status.success());
    assert!(String::from_utf8_lossy(&keys.stdout).contains("| key | action |"));
}

#[test]
fn a_place_for_figures_that_cannot_be_written_is_told_before_they_are_measured() {
    let home = Home::new();
    let (data, json) = (home.path("nowhere"), home.path("none/figures.json"));
    for command in [&["evaluate", "clicks"][..], &["evaluate", "video"], &["bench", "annotator"]] {
        let more = ["--data", text(&data), "--json", text(&json)];
        let output = home.run(&[command, &more].concat());
        assert_eq!(output.status.code(), Some(1));
        let told = told(&output);
        assert!(told.contains("figures.json") && told.contains("is not there"), "{told}");
    }
}

#[test]
fn output_that_nobody_took_is_told_and_a_closed_pipe_is_not() {
    let home = Home::new();
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut keys = home.command(&["keys"]);
    let output = keys.stdout(full()).stderr(Stdio::piped()).spawn().unwrap();
    let output = output.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("standard output could not be written"), "{}", told(&output));
    let mut child = keys.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait_with_output().unwrap().status.success());
}

#[test]
fn missing_clips_and_mistyped_commands_are_exit_1() {
    let home = Home::new();
    let output = home.run(&["segmnt"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("did you mean `sonomark segment`?"), "{}", told(&output));
    let output = home.run(&["propagate", "/no/such.mp4", "--prompts", "p.yaml", "--out", "o"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("/no/such.mp4"));
    let card = home.run(&["--card", "/no/card.yaml", "bench"]);
    assert_eq!(card.status.code(), Some(2));
    assert!(told(&card).contains("/no/card.yaml"));
}

#[test]
fn a_line_of_a_script_that_does_nothing_by_mistake_is_no_success() {
    let home = Home::new();
    let script = home.path("script");
    for (line, part) in [
        ("export", "`export` waits for more to be typed; write the whole line"),
        ("palette", "`palette` waits for more to be typed"),
        ("look vesel", "did you mean vessel?"),
    ] {
        fs::write(&script, line).unwrap();
        let output = home.run(&["run", text(&script), text(&data("clips/ultrabones"))]);
        assert_eq!(output.status.code(), Some(1), "{line}: {}", told(&output));
        assert!(told(&output).contains(part), "{line}: {}", told(&output));
    }
}

#[test]
fn annotations_that_are_not_there_are_told_as_that() {
    let home = Home::new();
    let output = home.run(&["import", text(&data("clips/ultrabones")), "no/such.json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("cannot read no/such.json: No such file"), "{}", told(&output));
}

#[test]
fn without_home_the_folder_of_the_account_is_taken() {
    let home = Home::new();
    // SAFETY: what it points to is copied before anybody asks again.
    let folder = unsafe {
        let account = libc::getpwuid(libc::getuid());
        let name = || std::ffi::CStr::from_ptr((*account).pw_dir).to_string_lossy().into_owned();
        (!account.is_null()).then(name)
    };
    let Some(folder) = folder else { return skipped("this account has no entry") };
    let mut doctor = home.command(&["doctor"]);
    doctor.env_remove("HOME").env("XDG_CONFIG_HOME", home.path("none"));
    let printed = String::from_utf8(doctor.output().unwrap().stdout).unwrap();
    let project = Path::new(&folder).join(".local/share/sonomark/project");
    assert!(printed.contains(&format!("project = {} (default)", text(&project))), "{printed}");
}

fn listing(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()).collect();
    found.sort();
    found.into_iter().map(|p| (p.clone(), fs::read(p).unwrap())).collect()
}

#[test]
fn watch_takes_clips_in_and_export_writes_them_out() {
    let home = Home::new();
    let (inbox, out) = (home.path("inbox"), home.path("out"));
    fs::create_dir(&inbox).unwrap();
    fs::copy(data("clips/ultrabones/00005.jpg"), inbox.join("one.jpg")).unwrap();
    fs::write(inbox.join("one.prompts.yaml"), "tracks:\n  - label: shadow\n    prompts:\n      - frame: 0\n        boundary: [[243, 236], [291, 345], [207, 392], [206, 290]]\n").unwrap();
    fs::write(inbox.join("two.png"), b"\x89PNG\r\n\x1a\nbroken").unwrap();
    let before = listing(&inbox);
    let output = home.run(&[
        "watch",
        text(&inbox),
        "--headless",
        "--out",
        text(&out),
        "--settle",
        "0.3",
        "--idle-exit",
        IDLE_S,
    ]);
    assert_eq!(output.status.code(), Some(3), "the broken image is refused: {}", told(&output));
    assert!(told(&output).contains("two.png: refused"), "{}", told(&output));
    assert_eq!(listing(&inbox), before, "the folder is read only to us");
    let written = fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
    assert!(area(&mask(&written.join("shadow/00000.png"))) > 0);

    let coco = home.path("coco.json");
    let clip = inbox.join("one.jpg");
    let export = home.run(&["export", text(&clip), "--format", "coco", "--out", text(&coco)]);
    assert!(export.status.success(), "{}", told(&export));
    assert_eq!(json(&fs::read(&coco).unwrap())["annotations"].as_array().unwrap().len(), 1);

    let list = json(&home.run(&["project", "--json"]).stdout);
    assert_eq!((&list[0]["labels"][0], &list[0]["masks"]), (&"shadow".into(), &1.into()));

    // What was exported becomes tracks of the same clip in another project.
    let other = home.path("other");
    let import = home.run(&["--project", text(&other), "import", text(&clip), text(&coco)]);
    assert!(import.status.success(), "{}", told(&import));
    assert!(told(&import).contains("\"shadow\" on 1 frame"), "{}", told(&import));
    assert!(!told(&import).contains("1 frames"), "{}", told(&import));
    let again = home.path("again.json");
    let export = home.run(&[
        "--project",
        text(&other),
        "export",
        text(&clip),
        "--format",
        "coco",
        "--out",
        text(&again),
    ]);
    assert!(export.status.success(), "{}", told(&export));
    let runs = |file: &Path| {
        json(&fs::read(file).unwrap())["annotations"][0]["segmentation"]["counts"].clone()
    };
    assert_eq!(runs(&again), runs(&coco));
    let wrong = home.run(&["import", text(&clip), text(&inbox)]);
    assert_eq!(wrong.status.code(), Some(1), "{}", told(&wrong));
    let project = home.project();
    let all = home.path("all");
    let export = home.run(&["export", text(&project), "--format", "png", "--out", text(&all)]);
    assert!(export.status.success(), "{}", told(&export));
    let clips: Vec<_> = fs::read_dir(&all).unwrap().collect();
    assert_eq!(clips.len(), 1);

    // A JPEG lost something, which is told of masks drawn on it also where the clip is not at hand.
    let alone = home.path("alone.dcm");
    for (source, out) in [(&clip, &alone), (&project, &home.path("segmentations"))] {
        let words = ["export", text(source), "--format", "dicom-seg", "--out", text(out)];
        let export = home.run(&words);
        assert!(export.status.success(), "{}", told(&export));
        let file = match out.is_dir() {
            true => fs::read_dir(out).unwrap().next().unwrap().unwrap().path(),
            false => out.clone(),
        };
        let object = dicom_object::open_file(&file).unwrap();
        let lossy = object.element(dicom_dictionary_std::tags::LOSSY_IMAGE_COMPRESSION).unwrap();
        assert_eq!(lossy.to_str().unwrap(), "01", "{}", file.display());
    }
}

#[test]
fn masks_never_take_the_place_of_the_clip() {
    let home = Home::new();
    let (clip, prompts) = (home.path("bone shadow"), home.path("p.yaml"));
    long_clip(&clip, 8);
    fs::write(&prompts, PROMPTS).unwrap();
    let before = files_below(&clip).len();
    let inside = clip.join("00002.png");
    let segment = ["segment", text(&clip), "--boundary", "243,236", "278,272", "--out"];
    // The folder of the structure is that of the clip.
    let propagate = ["propagate", text(&clip), "--prompts", text(&prompts), "--out"];
    for (words, out) in [(&segment[..], text(&inside)), (&propagate[..], text(home.0.path()))] {
        let output = home.run(&[words, &[out]].concat());
        assert_eq!(output.status.code(), Some(1), "{}", told(&output));
        assert!(told(&output).contains("the clip itself lies there"), "{}", told(&output));
        assert_eq!(files_below(&clip).len(), before);
    }
}

#[test]
fn the_project_may_not_lie_in_the_watched_folder() {
    let home = Home::new();
    let output = home.run(&["watch", text(home.0.path()), "--headless", "--idle-exit", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("lies in the watched folder"), "{}", told(&output));
    // Nor may a link to the folder lead there, with parts that are not there yet.
    let (inbox, link) = (home.path("inbox"), home.path("link"));
    fs::create_dir(&inbox).unwrap();
    std::os::unix::fs::symlink(&inbox, &link).unwrap();
    let project = link.join("deep/project");
    let watch = ["watch", text(&inbox), "--headless", "--idle-exit", "1"];
    let output = home.run(&[&["--project", text(&project)], &watch[..]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("lies in the watched folder"), "{}", told(&output));
}

/// `watch --headless` that goes on while the test changes the folder.
struct Watching(std::process::Child, Vec<String>, std::sync::mpsc::Receiver<String>);

impl Watching {
    fn start(home: &Home, inbox: &Path, more: &[&str]) -> Self {
        let words = ["watch", text(inbox), "--headless", "--settle", "0.3"];
        let words = [&words[..], more].concat();
        let mut child = home.command(&words).stderr(Stdio::piped()).spawn().unwrap();
        let told = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            told.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self(child, Vec::new(), lines)
    }

    /// Waits for a new line that holds `part`.
    fn wait_for(&mut self, part: &str) {
        loop {
            let line = self.2.recv_timeout(PATIENCE);
            self.1.push(line.unwrap_or_else(|_| panic!("no {part:?}: {:#?}", self.1)));
            if self.1.last().is_some_and(|line| line.contains(part)) {
                return;
            }
        }
    }

    /// Ends it as Ctrl-C does; its exit code and all that it told.
    fn interrupt(mut self) -> (Option<i32>, String) {
        unsafe { libc::kill(self.0.id() as i32, libc::SIGINT) };
        self.end()
    }

    fn end(&mut self) -> (Option<i32>, String) {
        self.1.extend(self.2.iter());
        (self.0.wait().unwrap().code(), self.1.join("\n"))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

/// A PNG that is whole and whose pixels cannot be decoded.
pub(crate) fn write_undecodable(path: &Path) {
    let still = image::GrayImage::from_fn(96, 96, |x, y| image::Luma([(x * y) as u8]));
    still.save(path).unwrap();
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 20].fill(0xff);
    fs::write(path, bytes).unwrap();
}

fn masks_held(home: &Home) -> u64 {
    json(&home.run(&["project", "--json"]).stdout)[0]["masks"].as_u64().unwrap()
}

#[test]
fn watch_completes_a_track_that_ctrl_c_left_half() {
    let home = Home::new();
    let (inbox, out) = (home.path("inbox"), home.path("out"));
    fs::create_dir_all(inbox.join("scan")).unwrap();
    for frame in fs::read_dir(data("clips/ultrabones")).unwrap().flatten() {
        fs::copy(frame.path(), inbox.join("scan").join(frame.file_name())).unwrap();
    }
    fs::write(inbox.join("scan.prompts.yaml"), PROMPTS.replace("[[3, 7]]", "[[0, 15]]")).unwrap();
    let mut watching = Watching::start(&home, &inbox, &["--out", text(&out)]);
    watching.wait_for("of 16 frames");
    let (code, told_first) = watching.interrupt();
    assert_eq!(code, Some(130), "{told_first}");
    assert!(told_first.contains("clips are taken in as they land; Ctrl-C ends"), "{told_first}");
    assert!((1..16).contains(&masks_held(&home)), "{told_first}");
    let more = ["--idle-exit", IDLE_S];
    let (code, told) = Watching::start(&home, &inbox, &more).end();
    assert!(code == Some(0) && told.contains("1 track, 16 frames"), "{told}");
    assert_eq!(masks_held(&home), 16);
    // What is done is not done again.
    let (code, told) = Watching::start(&home, &inbox, &more).end();
    assert!(code == Some(0) && told.contains("scan: nothing new"), "{told}");
    assert!(told.contains("no clip segmented; 1 was left alone"), "{told}");
}

#[test]
fn watch_leaves_no_earlier_mask_beside_those_of_a_run_that_was_interrupted() {
    let home = Home::new();
    let (inbox, out, other) = (home.path("inbox"), home.path("out"), home.path("other"));
    long_clip(&inbox.join("scan"), 60);
    let prompts = |window: &str| {
        fs::write(inbox.join("scan.prompts.yaml"), PROMPTS.replace("[[3, 7]]", window)).unwrap();
    };
    // Nearly all frames are absent, which costs no network.
    prompts("[[3, 7]]");
    let more = ["--out", text(&out), "--idle-exit", IDLE_S];
    let (code, told) = Watching::start(&home, &inbox, &more).end();
    assert_eq!(code, Some(0), "{told}");
    let masks = || files_below(&out).into_iter().filter(|file| !file.ends_with("report.json"));
    assert_eq!(masks().count(), 60);
    prompts("[[0, 59]]");
    let more = ["--out", text(&out), "--project", text(&other)];
    let mut watching = Watching::start(&home, &inbox, &more);
    watching.wait_for("of 60 frames");
    let (code, told) = watching.interrupt();
    assert_eq!(code, Some(130), "{told}");
    let report = files_below(&out).into_iter().find(|file| file.ends_with("report.json")).unwrap();
    let decided = json(&fs::read(report).unwrap())["tracks"][0]["frames"].as_array().unwrap().len();
    assert!(decided < 60 && masks().count() == decided, "{decided} of {}", masks().count());
}

#[test]
fn watch_takes_corrected_prompts_unless_a_person_would_lose_something() {
    let home = Home::new();
    let inbox = home.path("inbox");
    fs::create_dir(&inbox).unwrap();
    fs::copy(data("clips/ultrabones/00005.jpg"), inbox.join("one.jpg")).unwrap();
    let prompts = |points: &str| {
        let text = format!(
            "tracks:\n  - label: shadow\n    prompts:\n      - frame: 0\n        boundary: {points}\n"
        );
        fs::write(inbox.join("one.prompts.yaml"), text).unwrap();
    };
    let held = || {
        let coco = home.path("coco.json");
        let clip = inbox.join("one.jpg");
        home.run(&["export", text(&clip), "--format", "coco", "--out", text(&coco)]);
        json(&fs::read(&coco).unwrap())["annotations"].clone()
    };
    prompts("[[900, 236]]");
    let mut watching = Watching::start(&home, &inbox, &[]);
    watching.wait_for("lies outside the frame");
    prompts("[[243, 236], [291, 345], [207, 392], [206, 290]]");
    watching.wait_for("1 track, 1 frame");
    let first = held();
    prompts("[[100, 100], [160, 100], [160, 160], [100, 160]]");
    watching.wait_for("1 track, 1 frame");
    let second = held();
    let (_, told) = watching.interrupt();
    assert!(told.contains("1 of 1 clip segmented"), "{told}");
    assert_eq!((first.as_array().unwrap().len(), second.as_array().unwrap().len()), (1, 1));
    assert_ne!(first[0]["segmentation"], second[0]["segmentation"], "the corrected mask counts");
    // A watcher that did not see where the prompts are from cannot tell them from a person's.
    prompts("[[243, 236], [291, 345], [207, 392], [206, 290]]");
    let (code, told) = Watching::start(&home, &inbox, &["--idle-exit", IDLE_S]).end();
    assert!(code == Some(0) && told.contains("\"shadow\" is left alone"), "{told}");
    assert_eq!(held(), second);
}

#[test]
fn watch_counts_clips_with_undecodable_frames_and_those_that_wait() {
    let home = Home::new();
    let inbox = home.path("inbox");
    fs::create_dir_all(inbox.join("scan")).unwrap();
    for frame in 0..2 {
        let still = image::GrayImage::from_fn(96, 96, |x, y| image::Luma([(x * y + frame) as u8]));
        still.save(inbox.join(format!("scan/{frame}.png"))).unwrap();
    }
    write_undecodable(&inbox.join("scan/2.png"));
    fs::write(inbox.join("scan.prompts.yaml"), "tracks:\n  - label: disc\n    prompts:\n      - frame: 0\n        boundary: [[30, 30], [60, 30], [60, 60]]\n").unwrap();
    // A pipe with the name of a prompts file is nobody's prompts: to open it may take for ever.
    fs::copy(inbox.join("scan/0.png"), inbox.join("one.png")).unwrap();
    let pipe = std::ffi::CString::new(text(&inbox.join("one.prompts.yaml"))).unwrap();
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    let (code, told) = Watching::start(&home, &inbox, &["--idle-exit", IDLE_S]).end();
    assert_eq!(code, Some(3), "{told}");
    for part in [
        "scan: \"disc\" frame 2: ",
        "scan: 1 of 3 frames could not be decoded; the others are kept",
        "0 of 2 clips segmented; 1 more waits for its prompts",
    ] {
        assert!(told.contains(part), "{part} is missing in {told}");
    }
    assert_eq!(masks_held(&home), 2);
}

#[test]
fn watch_with_a_screen_waits_for_a_clip_that_opens() {
    let home = Home::new();
    let inbox = home.path("inbox");
    fs::create_dir(&inbox).unwrap();
    let still = data("clips/ultrabones/00005.jpg");
    write_undecodable(&inbox.join("broken.png"));
    let words = [PROGRAM, "watch", text(&inbox), "--settle", "0.3"];
    let env = [("HOME", text(home.0.path())), ("SONOMARK_DEVICE", "cpu")];
    let mut terminal = Harness::start(&words, &env, 120, 40, (8, 16), Answers::foot());
    let told = terminal.wait_for("waiting for the next clip", PATIENCE);
    assert!(told, "{}", terminal.screen_text());
    fs::copy(&still, inbox.join("good.jpg")).unwrap();
    assert!(terminal.wait_for("NORMAL", PATIENCE), "{}", terminal.screen_text());
    terminal.key(b"q");
    assert!(terminal.wait_exit(PATIENCE).is_some_and(|status| status.success()));
}

#[test]
fn the_demo_runs_without_a_terminal() {
    let home = Home::new();
    let out = home.path("demo");
    let output = home.run(&["demo", "--headless", "--out", text(&out)]);
    assert!(output.status.success(), "{}", told(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("propagated") && said.contains("frames/s"), "{said}");
    let overlay = image::open(out.join("overlay.png")).unwrap().to_rgb8();
    let green = overlay.pixels().filter(|p| p.0[1] > p.0[0].saturating_add(40)).count();
    assert!(green > 1000, "masks are drawn: {green} green pixels");
    assert_eq!(fs::read_dir(out.join("masks")).unwrap().count(), 1);
}

#[test]
fn curves_are_judged_without_a_network() {
    let home = Home::new();
    let folder = home.path("stills");
    fs::create_dir(&folder).unwrap();
    let size = 96u32;
    let inside = |x: u32, y: u32| (f64::from(x) - 48.0).hypot(f64::from(y) - 40.0) < 25.0;
    let still = image::GrayImage::from_fn(size, size, |x, y| {
        image::Luma([if inside(x, y) { 40 } else { 160 }])
    });
    let truth = image::GrayImage::from_fn(size, size, |x, y| image::Luma([u8::from(inside(x, y))]));
    still.save(folder.join("disc.png")).unwrap();
    truth.save(folder.join("disc.mask.png")).unwrap();
    fs::write(folder.join("val.txt"), "disc\n").unwrap();
    let table = home.path("table.json");
    let output = home.run(&[
        "evaluate",
        "clicks",
        "--data",
        text(&folder),
        "--split",
        "val.txt",
        "--judge",
        "curve",
        "--clicks",
        "6",
        "--json",
        text(&table),
    ]);
    assert!(output.status.success(), "{}", told(&output));
    let report = json(&fs::read(&table).unwrap());
    let dice = report["sets"]["mean"]["points"]["6"]["dice"].as_f64().unwrap();
    assert!(dice > 0.95, "six points on a disc: {dice}");
}

#[test]
fn a_script_knows_the_persons_schema_and_keys_and_its_keys_wait_for_pictures() {
    let home = Home::new();
    let config = home.path(".config/sonomark");
    fs::create_dir_all(config.join("keymaps")).unwrap();
    let schema = "labels:\n  - {name: shadow, attributes: [quality]}\nattributes:\n  \
                  - {name: quality, of: frame, values: [good, poor]}\n";
    fs::write(config.join("schema.yaml"), schema).unwrap();
    fs::write(config.join("keymaps/mine.yaml"), "normal:\n  f9: flag-frame\n").unwrap();
    fs::write(config.join("config.yaml"), "keymap: mine\n").unwrap();
    let script = |lines: &str| {
        let path = home.path("script");
        fs::write(&path, lines).unwrap();
        home.run(&["run", text(&path), text(&data("clips/ultrabones"))])
    };
    // Rays need the picture of the frame that the keys before them go to.
    let done = script(
        "new shadow\n3,9 attribute quality poor\nkeys . . f9\ncursor 248 310\n\
         keys . enter 3 9\nkeys esc\nframe 3\n",
    );
    assert!(done.status.success(), "{}", told(&done));
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[2].contains("flagged") && lines[4].contains("9 o'clock"), "{said}");
    let project = fs::read_dir(home.project().join("clips")).unwrap();
    let clip = project.map(|entry| entry.unwrap().path()).next().unwrap();
    let journal: String = fs::read_dir(clip.join("ops"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert_eq!(journal.matches("boundary").count(), 2, "two hours, two points: {journal}");

    // What changes nothing is told as that, one way or the other; what only tells is no such line.
    let idle = script(
        "frame 3\nframe 3\nnew other\ndiscard-mask\nkeys .\nkeys v f8\nlast-frame\nkeys .\ncursor 5 5\n\
         toggle-masks\nkeys y a\nredraw\nlink\nwrite\nkeys 2\n",
    );
    assert!(idle.status.success(), "{}", told(&idle));
    let numbers = |text: &str| -> Vec<usize> {
        text.lines().filter_map(|line| line.split(':').nth(1)?.parse().ok()).collect()
    };
    let (unchanged, done) = (told(&idle), String::from_utf8_lossy(&idle.stdout).into_owned());
    assert_eq!(numbers(&unchanged), [2, 4, 6, 8, 11, 12], "{unchanged}{done}");
    assert_eq!(numbers(&done), [1, 3, 5, 7, 9, 10, 13, 14, 15], "{unchanged}{done}");
    assert!(unchanged.contains("script:2: nothing changed: frame 3/"), "{unchanged}");
    assert!(unchanged.contains("script:11: nothing changed: no mask on this frame"), "{unchanged}");

    let away = script("boundary 99999 1\n");
    assert!(!away.status.success() && told(&away).contains("outside the image"), "{}", told(&away));

    // What cannot be kept is no success.
    let format = home.project().join("FORMAT");
    fs::write(&format, "sonomark 2\n").unwrap();
    let unkept = script("new other\n");
    assert_eq!(unkept.status.code(), Some(1), "{}", told(&unkept));
    assert!(told(&unkept).contains("not saved"), "{}", told(&unkept));
    assert!(script("frame 3\n").status.success(), "who only looks may");
    fs::write(&format, "sonomark 1\n").unwrap();

    let refused = script("attribute quality awful\n");
    assert_eq!(refused.status.code(), Some(1), "{}", told(&refused));
    assert!(told(&refused).contains("good"), "{}", told(&refused));
}
