//! Decoders of other people at work in processes with limits (`decoder.rs` is the other end).
//!
//! A file of a few hundred bytes can make a decoder take gigabytes, hang or abort; here that ends a
//! child and becomes a sentence. The child is this program itself, so nothing has to be installed; it
//! may take 1 GiB of memory, no file but its pipes, and 5 s for a picture. One child serves picture
//! after picture, further ones are started when threads ask at the same time.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::decoder::{
    Answer, Answering, Decoded, GAVE_UP, HELLO, MAX_INPUT, Refusal, TOO_SLOW, Want, decode,
    read_reply,
};
use super::limits::guarded;
use super::{CodecError, tool};

/// Children that wait for the next picture.
const IDLE: usize = 4;
/// The hidden command that serves.
const COMMAND: &str = "decode-pictures";
const NAME: &str = "sonomark";
/// Set where this process is the program, under whatever name its file goes.
static IS_THE_PROGRAM: AtomicBool = AtomicBool::new(false);

/// Says that this process is the program itself, so that it starts children from its own file.
pub(crate) fn this_is_the_program() {
    IS_THE_PROGRAM.store(true, Ordering::Relaxed);
}

/// Children that decode.
pub(super) struct Cage {
    idle: Mutex<Vec<Worker>>,
    /// How many may wait.
    keep: usize,
}

/// A child at work.
pub(super) struct Worker {
    child: Child,
    requests: ChildStdin,
    replies: ChildStdout,
}

impl Cage {
    /// For a clip of so many pictures: children wait for the next one if there can be one.
    pub(super) fn new(pictures: usize) -> Self {
        Self { idle: Mutex::default(), keep: if pictures > 1 { IDLE } else { 0 } }
    }

    /// Decodes a picture of at most `most` bytes of pixels.
    pub(super) fn decode(
        &self,
        path: &Path,
        want: Want,
        bytes: &[u8],
        most: u64,
    ) -> Result<Decoded, CodecError> {
        small_enough(path, bytes)?;
        let waiting = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // One that waited may have ended meanwhile, of another picture or of itself: this picture is asked of a new one then.
        if let Some(mut worker) = waiting
            && let Ok(reply) = worker.ask(want, bytes, most)
        {
            return self.replied(path, worker, reply);
        }
        let mut worker = match Worker::start() {
            Ok(Some(worker)) => worker,
            // Another program that uses the library: its own process decodes.
            Ok(None) => {
                return guarded(path, || decode(want, bytes).map_err(|why| refused(path, why)));
            }
            Err(error) => return Err(not_started(path, &error)),
        };
        match worker.ask(want, bytes, most) {
            Ok(reply) => self.replied(path, worker, reply),
            Err(_) => Err(ended(path)),
        }
    }

    /// Lets a child that has answered wait for the next picture.
    fn replied(
        &self,
        path: &Path,
        worker: Worker,
        reply: Result<Decoded, Refusal>,
    ) -> Result<Decoded, CodecError> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.keep {
            idle.push(worker);
        }
        reply.map_err(|why| refused(path, why))
    }
}

/// A decoder that goes through an animation moment by moment.
pub(super) enum Film {
    Child(Box<Worker>),
    /// In this process, which is another program's that uses the library.
    Here(Answering),
}

impl Film {
    /// Starts the decoder; `path` is for messages.
    pub(super) fn start(path: &Path) -> Result<Self, CodecError> {
        match Worker::start() {
            Ok(Some(worker)) => Ok(Self::Child(Box::new(worker))),
            Ok(None) => Ok(Self::Here(Answering::start())),
            Err(error) => Err(not_started(path, &error)),
        }
    }

    /// The first moment of an animation, of at most `most` pixels. After an error only an animation may be asked for.
    pub(super) fn first(
        &mut self,
        path: &Path,
        bytes: Vec<u8>,
        most: u64,
    ) -> Result<Decoded, CodecError> {
        small_enough(path, &bytes)?;
        self.ask(path, Want::Film, bytes, most)
    }

    /// The moment after the last one.
    pub(super) fn next(&mut self, path: &Path, most: u64) -> Result<Decoded, CodecError> {
        self.ask(path, Want::Next, Vec::new(), most)
    }

    fn ask(
        &mut self,
        path: &Path,
        want: Want,
        bytes: Vec<u8>,
        most: u64,
    ) -> Result<Decoded, CodecError> {
        let reply = match self {
            Self::Child(worker) => worker.ask(want, &bytes, most).map_err(|_| ended(path))?,
            Self::Here(answering) => match answering.ask(want, bytes) {
                Answer::Reply(reply) => reply,
                Answer::GaveUp => Err(GAVE_UP.to_owned().into()),
                Answer::TooSlow => Err(TOO_SLOW.to_owned().into()),
            },
        };
        reply.map_err(|why| refused(path, why))
    }
}

fn small_enough(path: &Path, bytes: &[u8]) -> Result<(), CodecError> {
    if bytes.len() as u64 > MAX_INPUT {
        let cause = "one of its pictures comes in a file of more than 256 MiB";
        return Err(CodecError::too_large(path, cause));
    }
    Ok(())
}

fn not_started(path: &Path, error: &io::Error) -> CodecError {
    let cause = format!("its decoder cannot be started ({error})");
    let advice = "free some memory or processes and open it again";
    CodecError::unsupported(path, cause, advice)
}

fn ended(path: &Path) -> CodecError {
    let cause = "its decoder ended: it needs more than 1 GiB of memory, or its content is made to break \
                 decoders";
    CodecError::unsupported(path, cause, "save it anew with the program that it is from")
}

fn refused(path: &Path, refusal: Refusal) -> CodecError {
    match refusal {
        Refusal::Damaged(why) => CodecError::damaged(path, why),
        Refusal::Unknown(why) => {
            let cause = format!("its way of storing pixels is not known ({why})");
            CodecError::unsupported(path, cause, "save it as gray or RGB of 8 or 16 bits")
        }
    }
}

impl Worker {
    /// A child that has said hello; `None` where there is no program to start.
    fn start() -> io::Result<Option<Self>> {
        let (program, own) = match program() {
            Some(found) => found,
            None => return Ok(None),
        };
        match Self::spawn(&program) {
            Ok(worker) => Ok(Some(worker)),
            // What lies beside another program may be older than this library.
            Err(_) if !own => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn spawn(program: &Path) -> io::Result<Self> {
        let mut command = tool::limited(program, tool::DECODER);
        command.arg(COMMAND).env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let (Some(requests), Some(replies)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let mut worker = Self { child, requests, replies };
        let mut hello = [0; HELLO.len()];
        worker.replies.read_exact(&mut hello)?;
        if &hello != HELLO {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(worker)
    }

    fn ask(&mut self, want: Want, bytes: &[u8], most: u64) -> io::Result<Result<Decoded, Refusal>> {
        self.requests.write_all(&[want.byte()])?;
        self.requests.write_all(&(bytes.len() as u64).to_le_bytes())?;
        self.requests.write_all(bytes)?;
        self.requests.flush()?;
        read_reply(&mut self.replies, most)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // A child that has already ended cannot be killed, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This program, to be started as a child; `None` where another program uses the library.
pub(crate) fn own_program() -> Option<PathBuf> {
    program().map(|(path, _)| path)
}

/// This program, and whether it is this very process's: else (tests) the one that was built beside.
fn program() -> Option<(PathBuf, bool)> {
    let own = std::env::current_exe().ok()?;
    if IS_THE_PROGRAM.load(Ordering::Relaxed) {
        // By the process: the file may have been replaced by an update meanwhile.
        let link = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
        return Some((if link.exists() { link } else { own }, true));
    }
    let folders = [own.parent(), own.parent().and_then(Path::parent)];
    let beside = folders.into_iter().flatten().map(|folder| folder.join(NAME));
    beside.into_iter().find(|path| path.is_file()).map(|path| (path, false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::decoder::Pixels;

    #[test]
    fn a_picture_is_not_blamed_for_a_child_that_ended_before_it() {
        let mut command = std::process::Command::new("true");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("started");
        let (requests, replies) = (child.stdin.take(), child.stdout.take());
        let (requests, replies) = (requests.expect("in"), replies.expect("out"));
        let cage = Cage::new(2);
        cage.idle.lock().expect("idle").push(Worker { child, requests, replies });
        let mut png = io::Cursor::new(Vec::new());
        let picture = image::GrayImage::from_pixel(2, 1, image::Luma([7]));
        picture.write_to(&mut png, image::ImageFormat::Png).expect("written");
        let decoded = cage.decode(Path::new("a.png"), Want::Eight, png.get_ref(), 8);
        assert_eq!(decoded.expect("decoded").pixels, Pixels::Eight(vec![7, 7]));
    }
}
