//! Files of other programs are read by a child with limits: a few hundred MiB of JSON or XML take
//! gigabytes once they are parsed.
//!
//! The child is this program itself (the hidden command `read-annotations`) with at most 1 GiB of
//! memory. It is told on its standard input what to read, and answers with the structures as
//! runs, which is what an import holds anyway. Every number of the answer is looked at before
//! anything is allocated for it.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde::{Deserialize, Serialize};

use super::ExportFormat;
use super::content::{Content, Structure};
use super::read::{ReadError, Target, read};
use crate::codec::own_program;
use crate::codec::tool::{self, Patient};
use crate::domain::{Attributes, ClipInfo, DicomOrigin, Mask, shown};

/// The hidden command that reads.
const COMMAND: &str = "read-annotations";
/// How an answer begins.
const READ: u8 = b'+';
const REFUSED: u8 = b'-';
/// Bytes of an answer, of one text in it and of what is asked, at most.
const MAX_ANSWER: u64 = 512 << 20;
const MAX_TEXT: usize = 1 << 20;
const MAX_ASKED: u64 = 64 << 20;

/// What is to be read, and for which clip.
#[derive(Serialize, Deserialize)]
struct Asked {
    path: Vec<u8>,
    format: Option<String>,
    info: ClipInfo,
    frame_names: Vec<String>,
    origin: Option<DicomOrigin>,
}

/// Reads the masks of a file or folder as [`read`] does, in a child that may take 1 GiB of memory,
/// 100 s of processor time, few files and no room on the disk.
///
/// # Errors
/// As [`read`], and when the child ends before it is done.
pub fn read_caged(
    path: &Path,
    format: Option<ExportFormat>,
    target: &Target,
) -> Result<Content, ReadError> {
    let Some(program) = own_program() else {
        // Another program that uses the library.
        return read(path, format, target);
    };
    let told = ReadError::Told;
    let name = shown(&path.to_string_lossy());
    let asked = Asked {
        path: path.as_os_str().as_bytes().to_vec(),
        format: format.map(|format| format.row().name.to_owned()),
        info: target.info.clone(),
        frame_names: target.frame_names.to_vec(),
        origin: target.origin.cloned(),
    };
    let mut command = tool::limited(program, tool::READER);
    command.arg(COMMAND).env_clear();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| {
        told(format!(
            "{name} cannot be read: its reader does not start ({error}); free some memory"
        ))
    })?;
    let answer = ask(&mut child, &asked);
    tool::end(&mut child);
    match answer {
        Ok(Ok(content)) => Ok(content),
        Ok(Err(why)) => Err(told(why)),
        Err(_) => Err(told(format!(
            "{name} is not imported: reading it takes more than 1 GiB of memory or 100 s; split it, \
             for example into a file for every clip"
        ))),
    }
}

fn ask(child: &mut Child, asked: &Asked) -> io::Result<Result<Content, String>> {
    let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
    let (to, from) = (child.stdin.take(), child.stdout.take());
    let mut to = BufWriter::new(Patient(to.ok_or_else(broken)?));
    serde_json::to_writer(&mut to, asked)?;
    to.flush()?;
    drop(to);
    let from = Patient(from.ok_or_else(broken)?).take(MAX_ANSWER);
    get_answer(&mut BufReader::new(from), (asked.info.width_px, asked.info.height_px))
}

/// Reads what is asked for on stdin and answers on stdout: the whole of the hidden command
/// `read-annotations`, which is started with limits and by nobody else.
///
/// # Errors
/// When the question is none, or the other end has gone.
pub fn serve_reader() -> io::Result<()> {
    let asked: Asked = serde_json::from_reader(io::stdin().lock().take(MAX_ASKED))?;
    let path = PathBuf::from(std::ffi::OsString::from_vec(asked.path));
    let format = asked.format.as_deref().and_then(ExportFormat::named);
    let target = Target {
        info: &asked.info,
        frame_names: &asked.frame_names,
        origin: asked.origin.as_ref(),
        stop: None,
    };
    let answer = read(&path, format, &target).map_err(|error| error.to_string());
    let mut out = BufWriter::new(io::stdout().lock());
    put_answer(&mut out, &answer)?;
    out.flush()
}

fn put_answer(to: &mut impl Write, answer: &Result<Content, String>) -> io::Result<()> {
    let content = match answer {
        Ok(content) => content,
        Err(why) => {
            to.write_all(&[REFUSED])?;
            return put_text(to, why);
        }
    };
    to.write_all(&[READ])?;
    put_count(to, content.notes.len())?;
    content.notes.iter().try_for_each(|note| put_text(to, note))?;
    put_count(to, content.changeable.len())?;
    content.changeable.iter().try_for_each(|name| put_text(to, name))?;
    put_text(to, content.other_clip.as_deref().unwrap_or_default())?;
    put_count(to, content.structures.len())?;
    for structure in &content.structures {
        put_text(to, &structure.label)?;
        put_count(to, structure.masks.len())?;
        for (&frame, mask) in &structure.masks {
            put_count(to, frame)?;
            put_count(to, mask.runs().len())?;
            for run in mask.runs() {
                to.write_all(&run.to_le_bytes())?;
            }
        }
        put_count(to, structure.said.len())?;
        for (&frame, said) in &structure.said {
            put_count(to, frame)?;
            put_count(to, said.len())?;
            for (name, value) in said {
                put_text(to, name)?;
                put_text(to, value)?;
            }
        }
    }
    Ok(())
}

fn put_count(to: &mut impl Write, count: usize) -> io::Result<()> {
    to.write_all(&(count as u64).to_le_bytes())
}

/// Longer texts are cut: no label is a book.
fn put_text(to: &mut impl Write, text: &str) -> io::Result<()> {
    let text = &text[..text.floor_char_boundary(MAX_TEXT)];
    put_count(to, text.len())?;
    to.write_all(text.as_bytes())
}

/// Reads an answer of masks of this size.
fn get_answer(from: &mut impl Read, size: (u32, u32)) -> io::Result<Result<Content, String>> {
    let mut kind = [0];
    from.read_exact(&mut kind)?;
    if kind == [REFUSED] {
        return get_text(from).map(Err);
    }
    let mut content = Content::default();
    for _ in 0..get_count(from)? {
        content.notes.push(get_text(from)?);
    }
    for _ in 0..get_count(from)? {
        content.changeable.insert(get_text(from)?);
    }
    content.other_clip = Some(get_text(from)?).filter(|clip| !clip.is_empty());
    for _ in 0..get_count(from)? {
        let mut structure = Structure::new(get_text(from)?, Default::default());
        for _ in 0..get_count(from)? {
            let frame = get_count(from)?;
            structure.masks.insert(frame, get_mask(from, size)?);
        }
        for _ in 0..get_count(from)? {
            let frame = get_count(from)?;
            let mut said = Attributes::new();
            for _ in 0..get_count(from)? {
                let name = get_text(from)?;
                said.insert(name, get_text(from)?);
            }
            structure.said.insert(frame, said);
        }
        content.structures.push(structure);
    }
    Ok(Ok(content))
}

fn get_mask(from: &mut impl Read, (width, height): (u32, u32)) -> io::Result<Mask> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let count = get_count(from)?;
    // No mask has more runs than pixels, and one for none in front.
    if count as u64 > u64::from(width) * u64::from(height) + 1 {
        return Err(invalid());
    }
    let mut runs = Vec::new();
    for _ in 0..count {
        let mut run = [0; 4];
        from.read_exact(&mut run)?;
        runs.push(u32::from_le_bytes(run));
    }
    Mask::from_runs(width, height, runs).map_err(|_| invalid())
}

fn get_count(from: &mut impl Read) -> io::Result<usize> {
    let mut count = [0; 8];
    from.read_exact(&mut count)?;
    usize::try_from(u64::from_le_bytes(count)).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn get_text(from: &mut impl Read) -> io::Result<String> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let length = get_count(from)?;
    if length > MAX_TEXT {
        return Err(invalid());
    }
    let mut text = vec![0; length];
    from.read_exact(&mut text)?;
    String::from_utf8(text).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Bitmap;

    #[test]
    fn answers_come_through_the_pipe_as_they_are_and_lies_do_not() {
        let mask = |n: u32| Bitmap::from_fn(9, 7, |x, y| (x * y + n).is_multiple_of(3)).to_mask();
        let mut nerve = Structure::new("ner\u{9b}ve", [(0, mask(0)), (7, mask(1))].into());
        nerve.said.insert(7, [("side".to_owned(), "left".to_owned())].into());
        let content = Content {
            structures: vec![nerve, Structure::new("", Default::default())],
            notes: vec!["one".into(), "two".into()],
            changeable: ["side".to_owned()].into(),
            other_clip: Some("0123456789ab".into()),
        };
        for answer in [Ok(content), Err("no".to_owned())] {
            let mut bytes = Vec::new();
            put_answer(&mut bytes, &answer).expect("written");
            assert_eq!(get_answer(&mut &bytes[..], (9, 7)).expect("read"), answer);
            let cut = &bytes[..bytes.len() - 1];
            assert!(get_answer(&mut &cut[..], (9, 7)).is_err());
            if answer.is_ok() {
                assert!(get_answer(&mut &bytes[..], (9, 6)).is_err(), "masks of another size");
                for at in (1..bytes.len() - 8).step_by(3) {
                    let mut lie = bytes.clone();
                    lie[at..at + 8].fill(0xff);
                    // It may be no lie: what is read then is another answer.
                    let _ = get_answer(&mut &lie[..], (9, 7));
                }
            }
        }
    }
}
