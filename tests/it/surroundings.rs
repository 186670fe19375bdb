//! What tests need around them: the program at home in a folder of its own, patience with a busy machine, and a word
//! where something is missing.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use sonomark::domain::{Annotation, ContentHash};
use sonomark::net::device::{Adapter, adapters};
use sonomark::project::load_read_only;

/// The program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_sonomark");
/// How long anything may take before a test fails: no busy machine is to be mistaken for a fault.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Seconds without anything new after which a watch of a folder ends: prompts settle for one, the rest is for a busy
/// machine.
pub(crate) const IDLE_S: &str = "6";

/// The program with `home` as its home folder: nothing of the person's is read or written.
pub(crate) fn program(home: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().env("HOME", home).env("SONOMARK_DEVICE", "cpu").stdin(Stdio::null());
    command.env("PATH", std::env::var_os("PATH").unwrap());
    command
}

/// Words for `env` that start the program at home in `home`, for terminals that hand on what surrounds them.
pub(crate) fn words_for_env(home: &Path, words: &[&OsStr]) -> Vec<OsString> {
    let own =
        ["-i", &format!("HOME={}", text(home)), "TERM=xterm-256color", PROGRAM].map(OsString::from);
    own.into_iter().chain(words.iter().map(OsString::from)).collect()
}

/// An ignored test of this binary, as a process of its own.
pub(crate) fn child_test(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]);
    command.stdin(Stdio::null());
    command
}

/// A home folder for the program.
pub(crate) struct Home(pub(crate) tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Where the program writes when nobody names a project.
    pub(crate) fn project(&self) -> PathBuf {
        self.path(".local/share/sonomark/project")
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = program(self.0.path());
        command.args(words);
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }
}

/// What a command told, on stderr.
pub(crate) fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A file or folder of `tests/data`.
pub(crate) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// A clip of so many frames, for what is to be met at work: those of the shipped clip there and back again.
pub(crate) fn long_clip(at: &Path, frames: usize) {
    fs::create_dir_all(at).unwrap();
    for frame in 0..frames {
        let shown = 15 - (frame % 30).abs_diff(15);
        let from = data(&format!("clips/ultrabones/{shown:05}.jpg"));
        fs::copy(from, at.join(format!("{frame:05}.jpg"))).unwrap();
    }
}

/// The annotation of the only clip of a project, as its journals tell; nothing where there is none yet.
pub(crate) fn annotation_of(project: &Path) -> Annotation {
    let clips = fs::read_dir(project.join("clips")).into_iter().flatten().flatten();
    let names: Vec<String> = clips.map(|clip| clip.file_name().into_string().unwrap()).collect();
    let [name] = &names[..] else {
        assert!(names.is_empty(), "several clips: {names:?}");
        return Annotation::default();
    };
    // Its folder may be there before the rest of it.
    let loaded = load_read_only(project, &ContentHash(name.clone()));
    loaded.map(|loaded| loaded.annotation).unwrap_or_default()
}

/// What a write that was killed long ago, before this machine was started, left in a folder.
pub(crate) fn left_half(folder: &Path) -> PathBuf {
    let left = folder.join(".sonomark-0-7-7-AbC012.part");
    fs::write(&left, "half").unwrap();
    let file = fs::File::options().write(true).open(&left).unwrap();
    let at = file.metadata().unwrap().modified().unwrap();
    file.set_modified(at - Duration::from_secs(2 * 86_400)).unwrap();
    left
}

/// All files below a folder; none where it is not there.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.path() {
            path if path.is_dir() => files_below(&path),
            path => vec![path],
        })
        .collect()
}

/// Waits for what must happen; fails with `what` where it does not.
pub(crate) fn until(what: &str, mut happens: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happens() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Processor time of this thread: that of others, which the clock would count, is not in it.
pub(crate) fn on_cpu() -> Duration {
    // SAFETY: a zeroed rusage is a valid one.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live value.
    let done = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    assert_eq!(done, 0);
    let time = |at: libc::timeval| {
        Duration::from_secs(at.tv_sec as u64) + Duration::from_micros(at.tv_usec as u64)
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Says what is not tested here, past the runner, which keeps what passing tests print. With `SONOMARK_NO_SKIPS`, for
/// machines that are to have everything, the test fails instead.
pub(crate) fn skipped(why: &str) {
    assert!(std::env::var_os("SONOMARK_NO_SKIPS").is_none(), "skipped: {why}");
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr(), "{test} is skipped, in part at least: {why}");
}

/// A GPU; a program that acts as one will do.
#[cfg(feature = "gpu")]
pub(crate) fn gpu() -> Option<Adapter> {
    let first = adapters().into_iter().next();
    if first.is_none() {
        skipped("there is no Vulkan adapter");
    }
    first
}

/// A program that acts as a GPU.
pub(crate) fn software_gpu() -> Option<Adapter> {
    let software = adapters().into_iter().find(|adapter| adapter.software);
    if software.is_none() {
        skipped("no software Vulkan driver is installed");
    }
    software
}
