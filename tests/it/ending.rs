//! However a command ends (asked to, killed, without room, where it may write nothing): every file is the earlier one
//! or the whole new one, and the project opens.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sonomark::domain::{Annotation, ContentHash};
use sonomark::project::load_read_only;

use crate::codec::has_ffmpeg;
use crate::headless::{PROMPTS, json, mask};
use crate::surroundings::{
    Home, IDLE_S, PATIENCE, annotation_of, data, files_below, long_clip, text, told, until,
};

/// A folder in which nobody can make a file, whatever their rights.
const NOWHERE: &str = "/sys";

fn clip() -> PathBuf {
    data("clips/ultrabones")
}

/// The files below a folder that are there for people: without those that are being written.
fn masks(folder: &Path) -> Vec<PathBuf> {
    let png = Some(OsStr::new("png"));
    files_below(folder).into_iter().filter(|file| file.extension() == png).collect()
}

/// What another program made of every frame: squares, with so many edges that they are not written in a moment.
fn foreign_masks(at: &Path) {
    fs::create_dir_all(at).unwrap();
    for frame in 0..16u32 {
        let label = |x: u32, y: u32| image::Luma([((x / 4 + y / 4 + frame) % 2) as u8]);
        let file = at.join(format!("{frame:05}.png"));
        image::GrayImage::from_fn(475, 405, label).save(file).unwrap();
    }
}

/// A home whose project holds masks of the shipped clip.
fn with_masks() -> Home {
    let home = Home::new();
    foreign_masks(&home.path("foreign"));
    let foreign = home.path("foreign");
    let done = home.run(&["import", text(&clip()), text(&foreign), "--format", "davis"]);
    assert!(done.status.success(), "{}", told(&done));
    home
}

/// Looks again and again without a rest, until it is so or the program has ended.
fn at_once(child: &mut Child, so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !so() && child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < PATIENCE, "nothing happens");
        thread::yield_now();
    }
}

/// Kills it after up to `ms`.
fn kill_within(child: &mut Child, ms: u64) {
    thread::sleep(Duration::from_micros(fastrand::u64(0..ms * 1000)));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// `propagate` on a clip of so many frames, with masks written, to which a hang-up is what `hang_up` says.
fn at_work(home: &Home, frames: usize, hang_up: libc::sighandler_t) -> Child {
    let (clip, prompts, out) = (home.path("clip"), home.path("p.yaml"), home.path("out"));
    long_clip(&clip, frames);
    fs::write(&prompts, PROMPTS.replace("[[3, 7]]", &format!("[[0, {}]]", frames - 1))).unwrap();
    let words = ["propagate", text(&clip), "--prompts", text(&prompts), "--out", text(&out)];
    let mut command = home.command(&words);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    // SAFETY: one call of the system between fork and exec, which takes nothing of ours.
    unsafe {
        command.pre_exec(move || {
            libc::signal(libc::SIGHUP, hang_up);
            Ok(())
        });
    }
    let child = command.spawn().unwrap();
    until("the first masks", || masks(&out).len() > 1);
    child
}

fn send(child: &Child, signal: i32) {
    // SAFETY: a signal to our own child.
    unsafe { libc::kill(child.id() as libc::pid_t, signal) };
}

#[test]
fn a_signal_ends_a_propagation_after_the_frame_in_hand() {
    // The end of a login sends both of the last.
    let both = [libc::SIGTERM, libc::SIGHUP];
    for signals in [&[libc::SIGINT][..], &both[..1], &both[1..], &both] {
        let home = Home::new();
        let child = at_work(&home, 150, libc::SIG_DFL);
        signals.iter().for_each(|signal| send(&child, *signal));
        let output = child.wait_with_output().unwrap();
        let told = told(&output);
        assert_eq!(output.status.code(), Some(130), "signals {signals:?}: {told}");
        assert!(told.contains("interrupted; the finished frames are in"), "{told}");
        let out = home.path("out");
        let kept = masks(&out);
        assert!((2..150).contains(&kept.len()), "signals {signals:?}: {} masks", kept.len());
        kept.iter().for_each(|file| drop(mask(file)));
        assert_eq!(files_below(&out).len(), kept.len() + 1, "masks, and the report");
        let report = json(&fs::read(out.join("report.json")).unwrap());
        assert_eq!(report["cancelled"], true);
        assert_eq!(report["tracks"][0]["frames"].as_array().unwrap().len(), kept.len());
    }
}

/// A home with a clip of so many frames, `clip`, and masks of it in its project.
fn with_a_long_clip(frames: usize) -> Home {
    let home = Home::new();
    let (clip, foreign) = (home.path("clip"), home.path("foreign"));
    long_clip(&clip, frames);
    fs::create_dir_all(&foreign).unwrap();
    let corner = |x: u32, y: u32| image::Luma([u8::from(x > 90 && y > 90)]);
    let first = foreign.join("00000.png");
    image::GrayImage::from_fn(475, 405, corner).save(&first).unwrap();
    for frame in 1..frames {
        fs::copy(&first, foreign.join(format!("{frame:05}.png"))).unwrap();
    }
    let done = home.run(&["import", text(&clip), text(&foreign), "--format", "davis"]);
    assert!(done.status.success(), "{}", told(&done));
    home
}

#[test]
fn what_an_export_left_that_was_killed_goes_with_the_next_one() {
    if !has_ffmpeg() {
        return;
    }
    let home = with_a_long_clip(200);
    let (clip, out) = (home.path("clip"), home.path("out"));
    fs::create_dir(&out).unwrap();
    let parts = || {
        let files = files_below(&out);
        files.iter().filter(|file| file.extension() == Some(OsStr::new("part"))).count()
    };
    let export = |format: &str, name: &str| {
        let out = out.join(name);
        let words = ["export", text(&clip), "--format", format, "--out", text(&out)];
        let mut command = home.command(&words);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let mut child = export("mp4", "a.mp4").spawn().unwrap();
    at_once(&mut child, || parts() == 1);
    // It stands still, and lives.
    send(&child, libc::SIGSTOP);
    let done = export("coco", "a.json").output().unwrap();
    assert!(done.status.success(), "{}", told(&done));
    assert_eq!(parts(), 1, "somebody writes it");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(parts(), 1, "it was left");
    let done = export("coco", "b.json").output().unwrap();
    assert!(done.status.success(), "{}", told(&done));
    assert_eq!(parts(), 0);
}

#[test]
fn a_signal_ends_the_export_of_a_project_within_a_clip() {
    let home = with_a_long_clip(400);
    let out = home.path("out");
    let project = home.project();
    let mut command =
        home.command(&["export", text(&project), "--format", "png", "--out", text(&out)]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    until("the first masks", || masks(&out).len() > 1);
    send(&child, libc::SIGINT);
    let output = child.wait_with_output().unwrap();
    let told = told(&output);
    assert_eq!(output.status.code(), Some(130), "{told}");
    assert!(told.contains("interrupted;") && told.contains("is not complete"), "{told}");
    let kept = masks(&out);
    assert!((2..400).contains(&kept.len()), "{} masks", kept.len());
    kept.iter().for_each(|file| drop(mask(file)));
    assert_eq!(files_below(&out).len(), kept.len(), "masks, and nothing else");
}

#[test]
fn under_nohup_a_terminal_that_goes_ends_nothing() {
    let home = Home::new();
    let child = at_work(&home, 30, libc::SIG_IGN);
    send(&child, libc::SIGHUP);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(masks(&home.path("out")).len(), 30);
}

#[test]
fn a_killed_propagation_leaves_whole_masks() {
    for _ in 0..3 {
        let home = Home::new();
        let mut child = at_work(&home, 150, libc::SIG_DFL);
        kill_within(&mut child, 400);
        let kept = masks(&home.path("out"));
        assert!(kept.len() > 1);
        kept.iter().for_each(|file| assert_eq!(mask(file).dimensions(), (475, 405)));
        assert!(!home.path("out/report.json").exists(), "a report of what was not finished");
    }
}

#[test]
fn masks_of_an_earlier_propagation_are_never_beside_those_of_the_last() {
    let home = Home::new();
    let (clip, prompts, out) = (home.path("clip"), home.path("p.yaml"), home.path("out"));
    long_clip(&clip, 100);
    let other = PROMPTS.replace("tracks:\n", "").replace("bone shadow", "other");
    fs::write(&prompts, PROMPTS.to_owned() + &other).unwrap();
    let words = ["propagate", text(&clip), "--prompts", text(&prompts), "--out", text(&out)];
    let done = home.run(&words);
    assert!(done.status.success() && masks(&out).len() == 200, "{}", told(&done));
    fs::write(out.join("bone shadow/notes.txt"), "a person's").unwrap();
    // What others made is not touched, and then nothing is.
    fs::write(&prompts, PROMPTS.replace("[[3, 7]]", "[[0, 99]]")).unwrap();
    let (foreign, before) = (out.join("bone shadow/00100.png"), contents(&out));
    fs::copy(
        clip.join(fs::read_dir(&clip).unwrap().next().unwrap().unwrap().file_name()),
        &foreign,
    )
    .unwrap();
    let refused = home.run(&words);
    assert_eq!(refused.status.code(), Some(1), "{}", told(&refused));
    assert!(told(&refused).contains("00100.png is not from this program"), "{}", told(&refused));
    fs::remove_file(&foreign).unwrap();
    assert!(contents(&out) == before);
    let mut child = home.command(&words).stderr(Stdio::piped()).spawn().unwrap();
    at_once(&mut child, || masks(&out).len() < 100);
    until("the first masks", || masks(&out).len() > 1);
    send(&child, libc::SIGINT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", told(&output));
    let report = json(&fs::read(out.join("report.json")).unwrap());
    let decided = report["tracks"][0]["frames"].as_array().unwrap().len();
    assert!(decided < 100 && masks(&out).len() == decided, "{decided} of {}", masks(&out).len());
    assert!(out.join("bone shadow/notes.txt").is_file());
    // What an unfinished run left is an earlier run, too.
    let whole = home.run(&words);
    assert!(told(&whole).contains("taking away"), "{}", told(&whole));
    assert!(whole.status.success() && masks(&out).len() == 100, "{}", told(&whole));
}

/// Every file of a folder with its bytes.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = files_below(folder);
    files.sort();
    files.into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

#[test]
fn a_killed_watch_leaves_whole_masks_and_the_next_one_completes_them() {
    let home = Home::new();
    let (inbox, out) = (home.path("inbox"), home.path("out"));
    long_clip(&inbox.join("scan"), 40);
    let prompts = PROMPTS.replace("[[3, 7]]", "[[0, 39]]");
    fs::write(inbox.join("scan.prompts.yaml"), prompts).unwrap();
    let before = contents(&inbox);
    let words = ["watch", text(&inbox), "--headless", "--out", text(&out), "--settle", "0.3"];
    let mut watch = home.command(&words);
    // What a killed process leaves in there goes with the test.
    let mut child = watch.env("TMPDIR", home.0.path()).stderr(Stdio::null()).spawn().unwrap();
    until("the first masks", || masks(&out).len() > 1);
    kill_within(&mut child, 100);
    masks(&out).iter().for_each(|file| drop(mask(file)));
    let again = home.run(&[&words[..], &["--idle-exit", IDLE_S]].concat());
    assert!(again.status.success(), "{}", told(&again));
    assert!(told(&again).contains("1 track, 40 frames"), "{}", told(&again));
    assert_eq!(masks(&out).len(), 40);
    masks(&out).iter().for_each(|file| drop(mask(file)));
    let kept = annotation_of(&home.project());
    assert_eq!(kept.tracks.values().map(|track| track.masks.len()).collect::<Vec<_>>(), [40]);
    assert!(contents(&inbox) == before, "clips are never written to");
}

#[test]
fn a_killed_import_leaves_its_beginning_which_one_undo_takes_back() {
    let home = Home::new();
    let (clip, foreign, undo) = (clip(), home.path("foreign"), home.path("undo"));
    foreign_masks(&foreign);
    fs::write(&undo, "undo\n").unwrap();
    let mut left = Vec::new();
    for attempt in 0..5 {
        let project = home.path(&format!("p{attempt}"));
        let with =
            |words: &[&str]| home.command(&[&["--project", text(&project)][..], words].concat());
        let import = || with(&["import", text(&clip), text(&foreign), "--format", "davis"]);
        let mut child = import().stderr(Stdio::null()).spawn().unwrap();
        let journal = |file: &PathBuf| file.extension() == Some(OsStr::new("jsonl"));
        at_once(&mut child, || files_below(&project).iter().any(journal));
        kill_within(&mut child, 20);

        let kept = annotation_of(&project);
        let masks: Vec<_> = kept.tracks.values().map(|track| track.masks.clone()).collect();
        assert!(masks.len() <= 1, "{attempt}: {} structures", masks.len());
        for masks in &masks {
            assert!(masks.keys().copied().eq(0..masks.len()), "{attempt}: its beginning");
            // What the session that died was writing is named, and nothing else is.
            assert!(notes(&project).iter().all(|note| note.contains("cut off")), "{attempt}");
            let undone = with(&["run", text(&undo), text(&clip)]).output().unwrap();
            assert!(undone.status.success(), "{}", told(&undone));
            assert_eq!(annotation_of(&project), Annotation::default());
        }
        left.push(masks.first().map(|masks| masks.len()));
        let again = import().output().unwrap();
        assert!(again.status.success(), "{}", told(&again));
        let kept = annotation_of(&project);
        assert_eq!(kept.tracks.values().map(|track| track.masks.len()).collect::<Vec<_>>(), [16]);
    }
    println!("masks that were left: {left:?}");
}

#[test]
fn an_import_that_ctrl_c_ends_says_how_its_beginning_is_taken_back() {
    let home = Home::new();
    let (clip, foreign) = (clip(), home.path("foreign"));
    foreign_masks(&foreign);
    let mut import = home.command(&["import", text(&clip), text(&foreign), "--format", "davis"]);
    let mut child = import.stderr(Stdio::piped()).spawn().unwrap();
    let journal = |file: &PathBuf| file.extension() == Some(OsStr::new("jsonl"));
    at_once(&mut child, || files_below(&home.project()).iter().any(journal));
    send(&child, libc::SIGINT);
    let output = child.wait_with_output().unwrap();
    let kept = annotation_of(&home.project());
    let masks: usize = kept.tracks.values().map(|track| track.masks.len()).sum();
    if output.status.success() {
        return assert_eq!(masks, 16, "it was faster than the signal");
    }
    assert_eq!(output.status.code(), Some(130), "{}", told(&output));
    assert!(masks < 16 && told(&output).contains("echo undo | sonomark run - CLIP"));
}

/// What opening the only clip of a project tells.
fn notes(project: &Path) -> Vec<String> {
    let name = fs::read_dir(project.join("clips")).unwrap().next().unwrap().unwrap().file_name();
    load_read_only(project, &ContentHash(name.into_string().unwrap())).unwrap().notes
}

#[test]
fn a_killed_export_leaves_the_earlier_file_or_the_whole_new_one() {
    let home = with_masks();
    let (clip, folder, whole) = (clip(), home.path("exports"), home.path("whole.json"));
    fs::create_dir(&folder).unwrap();
    let export =
        |to: &Path| home.command(&["export", text(&clip), "--format", "coco", "--out", text(to)]);
    assert!(export(&whole).output().unwrap().status.success());
    let (whole, file) = (fs::read(&whole).unwrap(), folder.join("a.json"));
    let mut replaced = 0;
    for _ in 0..12 {
        fs::write(&file, b"earlier").unwrap();
        let before = files_below(&folder).len();
        let mut child = export(&file).stderr(Stdio::null()).spawn().unwrap();
        at_once(&mut child, || files_below(&folder).len() > before);
        kill_within(&mut child, 8);
        let found = fs::read(&file).unwrap();
        assert!(found == b"earlier" || found == whole, "{} bytes", found.len());
        replaced += usize::from(found == whole);
    }
    println!("{replaced} of 12 had written it");
    // What the killed ones left beside it is in nobody's way.
    assert!(export(&file).output().unwrap().status.success());
    assert!(fs::read(&file).unwrap() == whole);
}

/// Files that a command writes hold so many bytes at most, as under `ulimit -f`: a write beyond sends a signal that ends
/// who does not ignore it.
fn held_to(command: &mut Command, bytes: u64) {
    let limits = [(libc::RLIMIT_FSIZE, bytes), (libc::RLIMIT_CORE, 0)];
    // SAFETY: calls of the system between fork and exec, which take nothing of ours.
    unsafe {
        command.pre_exec(move || {
            libc::signal(libc::SIGXFSZ, libc::SIG_DFL);
            for (what, most) in limits {
                let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
                if libc::setrlimit(what, &limit) != 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
}

#[test]
fn an_export_without_room_is_told_and_leaves_the_earlier_file() {
    let home = with_masks();
    let (clip, folder) = (clip(), home.path("exports"));
    for (format, name) in [
        ("coco", "a.json"),
        ("cvat", "a.xml"),
        ("csv", "a.csv"),
        ("nifti", "a.nii.gz"),
        ("nrrd", "a.nrrd"),
        ("seg.nrrd", "a.seg.nrrd"),
        ("dicom-seg", "a.seg.dcm"),
    ] {
        let file = folder.join(name);
        let export =
            || home.command(&["export", text(&clip), "--format", format, "--out", text(&file)]);
        fs::create_dir(&folder).unwrap();
        let done = export().output().unwrap();
        assert!(done.status.success(), "{format}: {}", told(&done));
        let bytes = fs::metadata(&file).unwrap().len();
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(&file, b"earlier").unwrap();
        for room in [0, bytes / 2, bytes * 9 / 10] {
            let mut command = export();
            held_to(&mut command, room);
            let output = command.output().unwrap();
            let told = told(&output);
            assert_eq!(output.status.code(), Some(1), "{format} in {room} bytes: {told}");
            assert!(told.contains("cannot write") && told.contains(name), "{format}: {told}");
            assert!(!told.contains(".part"), "a name that nobody gave: {told}");
            assert_eq!(contents(&folder), [(file.clone(), b"earlier".to_vec())], "{format}");
        }
        assert!(export().output().unwrap().status.success(), "{format}");
        assert!(fs::read(&file).unwrap() != b"earlier", "{format}");
        fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn where_nothing_can_be_written_is_named_and_to_look_needs_no_writing() {
    let home = with_masks();
    let (clip, prompts, script) = (clip(), home.path("p.yaml"), home.path("lines"));
    fs::write(&prompts, PROMPTS).unwrap();
    let [project, mask, out, table] = ["p", "m.png", "out", "a.csv"]
        .map(|name| Path::new(NOWHERE).join(format!("sonomark-{name}")));
    let foreign = home.path("foreign");
    let still = clip.join("00005.jpg");
    let refused: [(&[&str], &Path, &str); 4] = [
        (
            &["segment", text(&still), "--boundary", "243,236", "291,345", "--out", text(&mask)],
            &mask,
            "choose a place where you may write",
        ),
        (
            &["propagate", text(&clip), "--prompts", text(&prompts), "--out", text(&out)],
            &out,
            "choose another --out",
        ),
        (
            &["export", text(&clip), "--format", "csv", "--out", text(&table)],
            &table,
            "choose a place where you may write",
        ),
        (
            &["--project", text(&project), "import", text(&clip), text(&foreign)],
            &project,
            "it can be viewed, copy it to a folder of yours",
        ),
    ];
    for (words, place, advice) in refused {
        let output = home.run(words);
        let told = told(&output);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {told}");
        assert!(told.contains(text(place)) && told.contains(advice), "{words:?}: {told}");
    }
    let lines = |lines: &str| {
        fs::write(&script, lines).unwrap();
        home.run(&["--project", text(&project), "run", text(&script), text(&clip)])
    };
    let looked = lines("frame 3\n");
    assert!(looked.status.success(), "{}", told(&looked));
    let changed = lines("frame 3\nnew shadow\nframe 4\n");
    assert_eq!(changed.status.code(), Some(1), "{}", told(&changed));
    let told = told(&changed);
    assert!(told.contains("lines:2: not saved: ") && told.contains(text(&project)), "{told}");
}

#[test]
fn the_folder_that_a_command_is_started_in_stays_empty() {
    let home = Home::new();
    let [here, foreign, script, prompts, mask, out, table] =
        ["here", "foreign", "lines", "p.yaml", "m.png", "out", "a.csv"].map(|name| home.path(name));
    fs::create_dir(&here).unwrap();
    foreign_masks(&foreign);
    fs::write(&script, "frame 3\nexport csv\n").unwrap();
    fs::write(&prompts, PROMPTS).unwrap();
    let (clip, still) = (clip(), clip().join("00005.jpg"));
    let commands: [&[&str]; 8] = [
        &["import", text(&clip), text(&foreign), "--format", "davis"],
        &["run", text(&script), text(&clip)],
        &["segment", text(&still), "--boundary", "243,236", "291,345", "--out", text(&mask)],
        &["propagate", text(&clip), "--prompts", text(&prompts), "--out", text(&out)],
        &["export", text(&clip), "--format", "csv", "--out", text(&table)],
        &["project"],
        &["doctor"],
        &["keys"],
    ];
    for words in commands {
        let output = home.command(words).current_dir(&here).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", told(&output));
        assert_eq!(fs::read_dir(&here).unwrap().count(), 0, "{words:?}");
    }
}

#[test]
fn a_report_that_others_wrote_is_not_taken_away() {
    let home = Home::new();
    let (clip, prompts, out) = (clip(), home.path("p.yaml"), home.path("out"));
    fs::write(&prompts, PROMPTS).unwrap();
    fs::create_dir(&out).unwrap();
    let words = ["propagate", text(&clip), "--prompts", text(&prompts), "--out", text(&out)];
    for theirs in ["{\"tracks\": [{\"label\": \"bone shadow\"}]}", "findings of the day"] {
        fs::write(out.join("report.json"), theirs).unwrap();
        let before = contents(&out);
        let refused = home.run(&words);
        assert_eq!(refused.status.code(), Some(1), "{}", told(&refused));
        assert!(
            told(&refused).contains("report.json is not from this program"),
            "{}",
            told(&refused)
        );
        assert!(contents(&out) == before, "nothing is touched");
    }
}
