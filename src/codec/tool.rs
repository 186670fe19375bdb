//! ffmpeg, ffprobe and this program's own readers as child processes with limits: foreign decoders
//! that crash, hang or grow take nothing with them.
//!
//! Every child has limits of address space, processor time, open files and the size of files that
//! it writes, and is ended where it gives or takes nothing for two minutes. Where the machine runs
//! out of memory it is ended before this program is. Measured with ffmpeg 5.1 on two threads: H.264
//! of 3840 x 2160 px and H.265 of 1920 x 1080 decode in 512 MiB.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use super::CodecError;
use super::error::name_of;

const INSTALL: &str = "install ffmpeg (for example \"apt install ffmpeg\"), or convert the clip \
                       to a folder of PNG images elsewhere";
/// Longest time in which a child may give or take nothing while this program waits for it.
const SILENCE: Duration = Duration::from_secs(120);
/// Bytes that a pipe with room takes at once without waiting (POSIX has at least 512, Linux this).
const PIPE_BYTES: usize = 4096;
/// Answer of a tool that is read as a whole, bytes.
const MAX_OUTPUT: u64 = 16 << 20;

/// What a child may take: address space in MiB, seconds of processor time, size of a file that it
/// writes in MiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    memory_mib: u32,
    seconds: u32,
    writes_mib: u32,
}

/// For one frame.
pub(crate) const FRAME: Limits = Limits { memory_mib: 1024, seconds: 20, writes_mib: 0 };
/// For a whole video, which may be read for hours.
pub(crate) const VIDEO: Limits = Limits { memory_mib: 1024, seconds: 20_000, writes_mib: 0 };
/// For the stills of a clip, which are decoded one after the other for as long as it is open.
pub(crate) const DECODER: Limits = Limits { memory_mib: 1024, seconds: 20_000, writes_mib: 0 };
/// For a video that is made.
pub(crate) const MOVIE: Limits = Limits { memory_mib: 1024, seconds: 20_000, writes_mib: 16_384 };
/// For annotations that are read.
pub(crate) const READER: Limits = Limits { memory_mib: 1024, seconds: 100, writes_mib: 0 };

/// `program` under limits; arguments are added by the caller. The shell sets the limits and
/// becomes the program; no argument is ever read by it. It leaves no core dumps, which would hold
/// pictures; a limit by which there are none stays as [`stay_small`] has set it. What the terminal
/// does to this program (a hang-up, Ctrl-C) it does not do to a child: this program decides what
/// goes on, and a decoder that ended by itself would cost it the frames at hand. A child ends with
/// its pipes.
pub(crate) fn limited(program: impl AsRef<OsStr>, limits: Limits) -> Command {
    // Memory is counted in KiB, files in blocks of 512 bytes. The kernel ends processes by their memory: these 500 count as
    // half of the machine's. Where it refuses them the child is as good as before.
    let script = format!(
        "{{ echo 500 >/proc/self/oom_score_adj; }} 2>/dev/null; \
         [ \"$(ulimit -c)\" = 0 ] || ulimit -c 0; ulimit -v {}; ulimit -t {}; \
         ulimit -f {}; ulimit -n 32; exec \"$@\"",
        u64::from(limits.memory_mib) * 1024,
        limits.seconds,
        u64::from(limits.writes_mib) * 2048,
    );
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script, "sh"]).arg(program).process_group(0);
    command
}

/// A file as an argument that ffmpeg and ffprobe cannot take for an option or another protocol.
pub(crate) fn file_argument(path: &Path) -> OsString {
    let mut argument = OsString::from("file:");
    argument.push(path);
    argument
}

/// The way of a child to a file that this process holds open. It is not told the name: arguments can be read by every
/// account of the machine, and names of files and folders are often names of patients.
pub(crate) fn held_path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()))
}

/// Limits what this process and its children may take of a resource.
///
/// # Errors
/// What the system says.
pub(crate) fn limit(resource: libc::__rlimit_resource_t, most: u64) -> io::Result<()> {
    let wanted = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the call reads one struct that lives until it returns.
    match unsafe { libc::setrlimit(resource, &raw const wanted) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// For this process and its children: no core, which would hold pictures and names, and no program that gets rights of
/// another user by its file.
pub(crate) fn stay_small() {
    // Neither can fail on a system that has them, and without them the program is as good as before. One byte is too little
    // for a file, and the one limit that is kept where another program takes cores in: with 0 it would be given all of it.
    let _ = limit(libc::RLIMIT_CORE, 1);
    // SAFETY: the call takes numbers alone.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
}

/// A pipe to or from a child: an error where nothing moves in it for two minutes.
pub(crate) struct Patient<P>(pub(crate) P);

impl<P: AsFd> Patient<P> {
    fn wait(&self, events: libc::c_short) -> io::Result<()> {
        let mut pipe = libc::pollfd { fd: self.0.as_fd().as_raw_fd(), events, revents: 0 };
        let most = libc::c_int::try_from(SILENCE.as_millis()).unwrap_or(libc::c_int::MAX);
        // SAFETY: the pointer is to one live pollfd, and the descriptor is open as long as `self`.
        match unsafe { libc::poll(&raw mut pipe, 1, most) } {
            0 => Err(io::Error::new(io::ErrorKind::TimedOut, "nothing came for two minutes")),
            found if found < 0 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

impl<P: AsFd + Read> Read for Patient<P> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.wait(libc::POLLIN)?;
        self.0.read(to)
    }
}

impl<P: AsFd + Write> Write for Patient<P> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.wait(libc::POLLOUT)?;
        // More would wait for room, however long that takes.
        self.0.write(&from[..from.len().min(PIPE_BYTES)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Ends a child and waits for it. One that has already ended cannot be killed, which is as well.
pub(crate) fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Runs a child to its end and keeps the first 16 MiB of what it writes.
///
/// # Errors
/// When it does not start, or is silent for two minutes; then it is ended.
pub(crate) fn output(mut command: Command) -> io::Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let (out, messages) = (child.stdout.take(), child.stderr.take());
    let messages = messages.map(|mut pipe| thread::spawn(move || first_messages(&mut pipe)));
    let mut stdout = Vec::new();
    let read = out.map_or(Ok(0), |pipe| Patient(pipe).take(MAX_OUTPUT).read_to_end(&mut stdout));
    if read.is_err() {
        end(&mut child);
    }
    let status = child.wait()?;
    read?;
    let said = messages.and_then(|thread| thread.join().ok()).unwrap_or_default();
    Ok(Output { status, stdout, stderr: said.into_bytes() })
}

/// The first 4 KiB of what a child says; the rest is read and dropped so that it never blocks.
pub(crate) fn first_messages(pipe: &mut impl Read) -> String {
    let mut kept = Vec::new();
    let _ = pipe.by_ref().take(4096).read_to_end(&mut kept);
    let _ = io::copy(pipe, &mut io::sink());
    String::from_utf8_lossy(&kept).into_owned()
}

/// Both at the same time, as children are waited for; one after the other where the machine gives no thread.
pub(super) fn both<A: Send, B>(aside: impl Fn() -> A + Sync, here: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, &aside);
        let second = here();
        let first = match thread.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(first)) => first,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => aside(),
        };
        (first, second)
    })
}

/// Why a tool did not start.
pub(super) fn not_started(path: &Path, tool: &'static str, error: &io::Error) -> CodecError {
    let (cause, advice) = match error.kind() {
        io::ErrorKind::NotFound => (format!("{tool} is not installed"), INSTALL),
        _ => (error.to_string(), "check that it can be started"),
    };
    CodecError::Tool { name: name_of(path), tool, cause, advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_never_options() {
        assert_eq!(file_argument(Path::new("-y.mp4")), "file:-y.mp4");
    }

    #[test]
    fn two_are_done_at_the_same_time() {
        // Each waits for a word of the other, so that one after the other would never end.
        let (to_here, from_aside) = std::sync::mpsc::sync_channel(1);
        let (to_aside, from_here) = std::sync::mpsc::sync_channel(1);
        let from_here = std::sync::Mutex::new(from_here);
        let most = Duration::from_secs(60);
        let aside = || {
            to_here.send(1).expect("it is heard");
            from_here.lock().expect("one asks").recv_timeout(most)
        };
        let here = || {
            to_aside.send(2).expect("it is heard");
            from_aside.recv_timeout(most)
        };
        assert_eq!(both(aside, here), (Ok(2), Ok(1)));
    }

    #[test]
    fn children_have_every_limit() {
        let words =
            "ulimit -c; ulimit -v; ulimit -t; ulimit -f; ulimit -n; cat /proc/self/oom_score_adj";
        let mut command = limited("/bin/sh", MOVIE);
        command.args(["-c", words]);
        let said = output(command).expect("a shell");
        let told = String::from_utf8_lossy(&said.stdout).into_owned();
        let told: Vec<&str> = told.split_whitespace().collect();
        assert_eq!(told[..5], ["0", "1048576", "20000", "33554432", "32"]);
        // Where this process has more than 500 itself, as in some containers, the child may have to keep them.
        assert!(told[5].parse::<u32>().is_ok_and(|score| score >= 500), "{told:?}");
        for limits in [FRAME, VIDEO, DECODER, READER] {
            assert!(limits.memory_mib <= 1024 && limits.writes_mib == 0, "{limits:?}");
        }
    }

    #[test]
    fn a_pipe_takes_and_gives_more_than_it_holds() {
        let mut command = limited("cat", FRAME);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cat");
        // Signals of the terminal go to groups; this child is not in ours.
        let number = libc::pid_t::try_from(child.id()).expect("a number");
        // SAFETY: the call takes a number alone.
        assert_eq!(unsafe { libc::getpgid(number) }, number);
        let (mut to, from) = (child.stdin.take().expect("in"), child.stdout.take().expect("out"));
        let sent: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
        let copy = sent.clone();
        let writer = thread::spawn(move || Patient(&mut to).write_all(&copy));
        let mut found = Vec::new();
        Patient(from).read_to_end(&mut found).expect("read");
        writer.join().expect("no panic").expect("written");
        assert!(found == sent && child.wait().expect("ended").success());
    }
}
