//! ffmpeg, ffprobe and the decoder of stills as child processes with limits: foreign decoders that crash, hang or grow
//! take nothing with them.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Command;

use super::CodecError;
use super::error::name_of;

const INSTALL: &str = "install ffmpeg (for example \"apt install ffmpeg\"), or convert the clip \
                       to a folder of PNG images elsewhere";

/// What a child may take: address space in MiB, seconds of processor time, files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    memory_mib: u32,
    seconds: u32,
    /// May open few files and write none.
    closed: bool,
}

/// For one frame.
pub(super) const FRAME: Limits = Limits { memory_mib: 2048, seconds: 20, closed: false };
/// For a whole video, which may be read for hours.
pub(super) const VIDEO: Limits = Limits { memory_mib: 4096, seconds: 20_000, closed: false };
/// For the stills of a clip, which are decoded one after the other for as long as it is open.
pub(super) const DECODER: Limits = Limits { memory_mib: 1024, seconds: 20_000, closed: true };

/// `program` under limits; arguments are added by the caller. The shell sets the limits and
/// becomes the program; no argument is ever read by it. It leaves no core dumps, which would hold
/// pictures.
pub(super) fn limited(program: impl AsRef<OsStr>, limits: Limits) -> Command {
    let script = format!(
        "ulimit -c 0; ulimit -v {}; ulimit -t {}; {}exec \"$@\"",
        u64::from(limits.memory_mib) * 1024,
        limits.seconds,
        if limits.closed { "ulimit -f 0; ulimit -n 32; " } else { "" }
    );
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script, "sh"]).arg(program);
    command
}

/// Why a tool did not start.
pub(super) fn not_started(path: &Path, tool: &'static str, error: &io::Error) -> CodecError {
    let (cause, advice) = match error.kind() {
        io::ErrorKind::NotFound => (format!("{tool} is not installed"), INSTALL),
        _ => (error.to_string(), "check that it can be started"),
    };
    CodecError::Tool { name: name_of(path), tool, cause, advice }
}
