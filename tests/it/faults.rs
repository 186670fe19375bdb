//! The program killed at each of its calls of the system, and each of them refused once: what was acknowledged is there.
//! strace stages both.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Output};

use sonomark::cli::script::{Command as Line, Script, clip};
use sonomark::project::load_read_only;

use crate::project::text;
use crate::surroundings::{PROGRAM, program, skipped, told};

/// Calls that change what lies on a disk, or tell of it. No machine has all of them.
const CALLS: [&str; 13] = [
    "openat",
    "write",
    "fsync",
    "fdatasync",
    "mkdir",
    "mkdirat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "chmod",
    "fchmod",
];

const LINES: [&str; 13] = [
    "track nerve",
    "mask 0 10 10 5",
    "boundary 1 5 5",
    "sync",
    "mask 1 12 12 5",
    "undo",
    "redo",
    "mask 2 20 20 7",
    "sync",
    "window 4 8",
    "view 3 5 5",
    "flag 5",
    "mask 6 20 20 7",
];

/// What becomes of [`LINES`] in a new project at `home` under strace, which is told what to do.
fn script(home: &Path, asked: &str) -> io::Result<Output> {
    let lines = home.join("lines");
    fs::write(&lines, LINES.join("\n") + "\n").unwrap();
    let mut command = Command::new("strace");
    command.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap());
    command.args(["-f", "-qq", "-o"]).arg(home.join("trace")).args(["-e", asked, PROGRAM]);
    command.args(["script", "--acks", "--project"]).arg(home.join("p"));
    command.stdin(File::open(lines).unwrap()).output()
}

/// How often each of [`CALLS`] is made where nothing fails; `None` where there is no strace that may watch.
fn calls() -> Option<BTreeMap<&'static str, usize>> {
    let home = tempfile::tempdir().unwrap();
    let asked = format!("trace={}", CALLS.map(|call| format!("?{call}")).join(","));
    script(home.path(), &asked).ok().filter(|output| output.status.success())?;
    let trace = fs::read_to_string(home.path().join("trace")).unwrap();
    let mut calls: BTreeMap<&'static str, usize> = BTreeMap::new();
    for line in trace.lines() {
        let name = line.split_once('(').and_then(|(before, _)| before.split_whitespace().last());
        if let Some(call) = CALLS.into_iter().find(|call| name == Some(*call)) {
            *calls.entry(call).or_default() += 1;
        }
    }
    Some(calls)
}

/// Runs the script with a fault, and looks at what is there when the program has opened the project once more.
fn hit(fault: &str) {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("p");
    let output = script(home.path(), fault).unwrap();
    assert_ne!(output.status.code(), Some(70), "{fault}: {}", told(&output));
    // It brings home what it kept beside its state.
    let again = program(home.path()).args(["script", "--project"]).arg(&root).output().unwrap();
    assert!(again.status.success(), "{fault}: {}", told(&again));
    let found = text(&load_read_only(&root, &clip().content_hash).unwrap().annotation);
    let said = String::from_utf8_lossy(&output.stdout);
    // A last answer without line feed was not given.
    let mut answers = said[..said.rfind('\n').map_or(0, |end| end + 1)].lines();
    let seed = answers.next().and_then(|line| line.strip_prefix("open ")?.parse().ok());
    let mut script = Script::default().with_seed(seed.unwrap_or(0));
    let mut lines = LINES.iter();
    for (answer, line) in answers.zip(lines.by_ref()) {
        let asked = script.command(line).unwrap();
        if let Line::Step(step) = asked
            && !answer.starts_with("none")
        {
            script.done(&step);
        }
    }
    let acknowledged = text(script.annotation());
    // The line after those may have been written before its answer was.
    if let Some(line) = lines.next()
        && let Line::Step(step) = script.command(line).unwrap()
    {
        script.done(&step);
    }
    let wanted = [acknowledged, text(script.annotation())];
    assert!(wanted.contains(&found), "{fault}, after\n{said}{}\n{found}", told(&output));
}

#[test]
fn no_acknowledged_step_is_lost_at_any_call_of_the_system() {
    let Some(calls) = calls() else {
        skipped("there is no strace, or it may not watch programs");
        return;
    };
    let made = |call: &str| calls.get(call).copied().unwrap_or_default();
    assert!(made("write") > LINES.len() && made("fdatasync") > 1, "{calls:?}");
    for (call, count) in calls {
        for nth in 1..=count {
            let refusal = ["EIO", "ENOSPC"][nth % 2];
            for fault in ["signal=KILL".to_owned(), format!("error={refusal}")] {
                hit(&format!("inject={call}:{fault}:when={nth}"));
            }
        }
    }
}
