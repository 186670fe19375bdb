//! `kill -9` at any moment: every acknowledged step is there, and at most one more.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use sonomark::cli::script::{Command, Script, clip};
use sonomark::domain::Annotation;
use sonomark::project::load_read_only;

use crate::surroundings::program;

const KILLS: usize = 500;

fn text(annotation: &Annotation) -> String {
    serde_json::to_string(annotation).unwrap()
}

fn random_line(rng: &mut fastrand::Rng) -> String {
    let (frame, x, y) = (rng.u32(0..32), rng.u32(0..64), rng.u32(0..48));
    match rng.u32(0..100) {
        0..3 => format!("track t{x}"),
        3..45 => format!("boundary {frame} {x}.25 {y}.5"),
        45..55 => format!("inside {frame} {x} {y}"),
        55..60 => format!("remove {frame} 0"),
        60..65 => format!("window {frame} {}", frame + 4),
        65..80 => format!("mask {frame} {x} {y} {}", rng.u32(2..22)),
        80..88 => "undo".into(),
        88..92 => "redo".into(),
        92..97 => format!("view {frame} {x} {y}"),
        _ => "sync".into(),
    }
}

fn spawn(root: &Path) -> Child {
    program(root.parent().unwrap())
        .args(["script", "--project"])
        .arg(root)
        .arg("--acks")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What the killed process had said.
struct Said {
    seed: Option<u32>,
    answered: usize,
}

/// Feeds `lines`, kills after `delay_us` from the first answer (or from the start), reads what
/// was said.
fn feed_and_kill(root: &Path, lines: &[String], delay_us: u64, from_start: bool) -> Said {
    let mut child = spawn(root);
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    if !from_start {
        output.read_line(&mut said).unwrap();
    }
    let all = lines.join("\n") + "\n";
    // The pipe may be full or closed when the process dies.
    let feeder = thread::spawn(move || drop(input.write_all(all.as_bytes())));
    let reader = thread::spawn(move || {
        let _ = output.read_to_string(&mut said);
        said
    });
    thread::sleep(Duration::from_micros(delay_us));
    child.kill().unwrap();
    child.wait().unwrap();
    feeder.join().unwrap();
    let said = reader.join().unwrap();
    // A last answer without line feed was not given.
    let whole = &said[..said.rfind('\n').map_or(0, |end| end + 1)];
    let seed = whole.lines().next().and_then(|line| line.strip_prefix("open ")?.parse().ok());
    Said { seed, answered: whole.lines().count().saturating_sub(1) }
}

/// The annotator after the first `count` lines.
fn after(start: &Script, lines: &[String], count: usize) -> Script {
    let mut script = start.clone();
    for line in &lines[..count] {
        if let Command::Step(step) = script.command(line).unwrap() {
            script.done(&step);
        }
    }
    script
}

/// Whether this line would be a step.
fn steps(script: &Script, line: &str) -> bool {
    matches!(script.clone().command(line).unwrap(), Command::Step(_))
}

#[test]
fn no_acknowledged_step_is_lost_to_a_kill() {
    let mut rng = fastrand::Rng::with_seed(7);
    let (mut torn, mut unacknowledged, mut acknowledged) = (0, 0, 0);
    let mut dir = tempfile::tempdir().unwrap();
    // More than one where the last step cannot be told from its absence yet: a window within a window changes nothing to be
    // seen, but is what the next undo takes back.
    let mut oracles = vec![Script::default()];
    for kill in 0..KILLS {
        // Every project dies 20 times: recovering twice must not compound.
        if kill % 20 == 0 {
            dir = tempfile::tempdir().unwrap();
            oracles = vec![Script::default()];
        }
        let root = dir.path().join("p");
        let lines: Vec<String> = (0..1500).map(|_| random_line(&mut rng)).collect();
        let from_start = rng.u32(0..8) == 0;
        let delay =
            if rng.u32(0..20) == 0 { rng.u64(16_000..60_000) } else { rng.u64(1000..16_000) };
        let run = feed_and_kill(&root, &lines, delay, from_start);
        acknowledged += run.answered;
        let hash = clip().content_hash;
        let Ok(loaded) = load_read_only(&root, &hash) else {
            assert_eq!(run.answered, 0, "kill {kill}: acknowledged steps without a clip");
            continue;
        };
        torn += loaded.notes.iter().filter(|note| note.contains("cut off")).count();
        let other: Vec<&String> =
            loaded.notes.iter().filter(|note| !note.contains("cut off")).collect();
        assert!(other.is_empty(), "kill {kill}: {other:?}");
        let found = text(&loaded.annotation);
        let (mut fitting, mut whole) = (Vec::new(), false);
        for oracle in oracles {
            let exact = after(&oracle.with_seed(run.seed.unwrap_or(0)), &lines, run.answered);
            let next = lines.get(run.answered).filter(|_| run.seed.is_some());
            if next.is_some_and(|line| steps(&exact, line)) {
                fitting.push(after(&exact, &lines[run.answered..], 1));
            }
            whole |= text(exact.annotation()) == found;
            fitting.push(exact);
        }
        fitting.retain(|script| text(script.annotation()) == found);
        assert!(!fitting.is_empty(), "kill {kill} after {} answers:\n{found}", run.answered);
        unacknowledged += usize::from(!whole);
        oracles = fitting;
    }
    println!(
        "{KILLS} kills: {acknowledged} lines acknowledged, 0 lost, {unacknowledged} states one step ahead, {torn} torn ends seen"
    );
    assert!(acknowledged > KILLS, "the script hardly ran: {acknowledged} answers");
}
