//! The decoders of other people, as a process of their own (`cage.rs` is the other end).
//!
//! Pictures come in over a pipe, pixels go out; nothing else is open. A decoder that panics, hangs
//! or grows ends this process at most, which has limits of memory and files and no name to read.

use std::borrow::Cow;
use std::io::{self, Cursor, Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use dicom_pixeldata::PixelDecoder;
use image::codecs::webp::WebPDecoder;
use image::{
    AnimationDecoder, DynamicImage, Frames, ImageDecoder, ImageError, ImageReader, Limits, Rgba,
};

use super::gray::{luma, luma16};
use super::jpeg_ls::{JpegLs, JpegLsError};
use super::limits::MAX_SIDE_PX;
use super::tiff;
use crate::domain::{Colours, in_words};

/// What the process says first.
pub(super) const HELLO: &[u8; 8] = b"SONODEC1";
/// Bytes of one picture as it comes in.
pub(super) const MAX_INPUT: u64 = 256 << 20;
/// Bytes that a decoder may take for one picture; with the input they fit into the process.
const MAX_DECODED: u64 = 448 << 20;
/// What is said of a decoder that panicked.
pub(super) const GAVE_UP: &str = "its decoder gave up on the content";
/// What is said of one that takes longer than [`PATIENCE`].
pub(super) const TOO_SLOW: &str = "its decoder takes longer than 5 s";
/// What one picture may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is wanted of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// A still as gray, 8 or 16 bits as it is stored.
    Stored,
    /// A still as gray of 8 bits.
    Eight,
    /// A still as gray of 16 bits.
    Sixteen,
    /// The samples of the one frame of a DICOM object.
    Samples,
    /// The samples of a JPEG-LS stream, as [`JpegLs::samples`] has them.
    JpegLs,
    /// The first moment of an animation, as gray of 8 bits.
    Film,
    /// The moment after the last one; nothing comes with it.
    Next,
}

impl Want {
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Stored => b'N',
            Self::Eight => b'8',
            Self::Sixteen => b'F',
            Self::Samples => b'D',
            Self::JpegLs => b'L',
            Self::Film => b'M',
            Self::Next => b'>',
        }
    }

    fn of(byte: u8) -> Option<Self> {
        let still = [Self::Stored, Self::Eight, Self::Sixteen, Self::Samples, Self::JpegLs];
        still.into_iter().chain([Self::Film, Self::Next]).find(|want| want.byte() == byte)
    }
}

/// A decoded picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decoded {
    /// Columns and rows; of samples their number and 1.
    pub(super) size: (u32, u32),
    /// Whether it was stored in colour.
    pub(super) colour: bool,
    /// Row by row.
    pub(super) pixels: Pixels,
    /// What of it is no gray, as far as it was decoded as colour.
    pub(super) colours: Colours,
}

impl Decoded {
    /// A picture without colours.
    pub(super) fn gray(size: (u32, u32), pixels: Pixels) -> Self {
        Self { size, colour: false, pixels, colours: Colours::default() }
    }
}

/// Values of a picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Pixels {
    Eight(Vec<u8>),
    Sixteen(Vec<u16>),
    /// Numbers with a fraction or a sign.
    Real(Vec<f32>),
}

/// Why a picture does not decode, as the decoder says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its content contradicts itself.
    Damaged(String),
    /// It is of a kind that the decoder does not know.
    Unknown(String),
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self::Damaged(why)
    }
}

impl From<JpegLsError> for Refusal {
    fn from(error: JpegLsError) -> Self {
        match error {
            JpegLsError::Damaged(why) => Self::Damaged(why),
            JpegLsError::Unsupported(why) => Self::Unknown(why),
        }
    }
}

impl From<ImageError> for Refusal {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Unsupported(kind) => Self::Unknown(in_words(&kind.to_string())),
            other => Self::Damaged(in_words(&other.to_string())),
        }
    }
}

/// Decodes one picture.
///
/// # Errors
/// Why not.
pub(super) fn decode(want: Want, bytes: &[u8]) -> Result<Decoded, Refusal> {
    if want == Want::Samples {
        let object = dicom_object::from_reader(bytes).map_err(|e| e.to_string())?;
        let decoded = object
            .decode_pixel_data_frame(0)
            .map_err(|e| format!("a JPEG frame does not decode ({e})"))?;
        return samples(decoded.into_data());
    }
    if want == Want::JpegLs {
        return samples(JpegLs::decode(bytes, MAX_DECODED as usize)?.samples);
    }
    if let Some(decoded) = tiff::rare(bytes, MAX_DECODED)? {
        return Ok(decoded);
    }
    Ok(gray(want, still(bytes)?))
}

fn gray(want: Want, image: DynamicImage) -> Decoded {
    let (size, kind) = ((image.width(), image.height()), image.color());
    let deep = kind.bytes_per_pixel() / kind.channel_count() > 1;
    let sixteen = want == Want::Sixteen || (want == Want::Stored && deep);
    let colours = if kind.has_color() { colours(&image) } else { Colours::default() };
    let pixels = if sixteen { Pixels::Sixteen(gray16(image)) } else { Pixels::Eight(gray8(image)) };
    Decoded { size, colour: kind.has_color(), pixels, colours }
}

/// Samples that are no picture yet.
fn samples(samples: Vec<u8>) -> Result<Decoded, Refusal> {
    let count = u32::try_from(samples.len()).map_err(|e| e.to_string())?;
    Ok(Decoded::gray((count, 1), Pixels::Eight(samples)))
}

/// The moments of an animated WebP, each with what the ones before left.
fn moments(bytes: Vec<u8>) -> Result<Frames<'static>, Refusal> {
    let mut decoder = WebPDecoder::new(Cursor::new(bytes))?;
    if !decoder.has_animation() {
        return Err("it is no animation".to_owned().into());
    }
    // What the file says of its background is for no picture; other readers ignore it, too.
    decoder.set_background_color(Rgba([0; 4]))?;
    Ok(decoder.into_frames())
}

/// A thread that decodes what it is asked for. An animation stays in it, so that its next moment costs no more than one.
pub(super) struct Answering {
    requests: Sender<(Want, Vec<u8>)>,
    answers: Receiver<Result<Decoded, Refusal>>,
}

/// What comes of a request.
pub(super) enum Answer {
    Reply(Result<Decoded, Refusal>),
    /// The decoder panicked, and its thread answers no more.
    GaveUp,
    /// It takes longer than 5 s: its thread is still at it.
    TooSlow,
}

impl Answering {
    pub(super) fn start() -> Self {
        let (requests, asked) = channel();
        let (sender, answers) = channel();
        thread::spawn(move || {
            let mut film = None;
            while let Ok((want, bytes)) = asked.recv()
                && sender.send(answer(&mut film, want, bytes)).is_ok()
            {}
        });
        Self { requests, answers }
    }

    pub(super) fn ask(&self, want: Want, bytes: Vec<u8>) -> Answer {
        if self.requests.send((want, bytes)).is_err() {
            return Answer::GaveUp;
        }
        match self.answers.recv_timeout(PATIENCE) {
            Ok(reply) => Answer::Reply(reply),
            Err(RecvTimeoutError::Disconnected) => Answer::GaveUp,
            Err(RecvTimeoutError::Timeout) => Answer::TooSlow,
        }
    }
}

/// Decodes what is wanted; `film` is the animation of which moments are asked for.
fn answer(
    film: &mut Option<Frames<'static>>,
    want: Want,
    bytes: Vec<u8>,
) -> Result<Decoded, Refusal> {
    match want {
        Want::Film => *film = Some(moments(bytes)?),
        Want::Next => {}
        _ => return decode(want, &bytes),
    }
    let moment = film.as_mut().and_then(Iterator::next);
    let moment = moment.ok_or_else(|| "it has fewer moments than it says".to_owned())?;
    Ok(gray(Want::Eight, moment?.into_buffer().into()))
}

fn still(bytes: &[u8]) -> Result<DynamicImage, Refusal> {
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE_PX);
    limits.max_image_height = Some(MAX_SIDE_PX);
    limits.max_alloc = Some(MAX_DECODED);
    reader.limits(limits);
    let decoder = reader.into_decoder()?;
    if decoder.total_bytes() > MAX_DECODED {
        return Err("its pixels take more than 448 MiB".to_owned().into());
    }
    Ok(DynamicImage::from_decoder(decoder)?)
}

/// What is coloured, of 8 bits whatever it is stored in.
fn colours(image: &DynamicImage) -> Colours {
    match image {
        DynamicImage::ImageRgb8(rgb) => Colours::of(rgb.pixels().map(|p| p.0)),
        DynamicImage::ImageRgba8(rgba) => {
            Colours::of(rgba.pixels().map(|p| [p.0[0], p.0[1], p.0[2]]))
        }
        other => Colours::of(other.to_rgb8().pixels().map(|p| p.0)),
    }
}

/// Alpha is ignored: ultrasound has none, and screenshots have it opaque.
fn gray8(image: DynamicImage) -> Vec<u8> {
    match image {
        DynamicImage::ImageLuma8(gray) => gray.into_raw(),
        DynamicImage::ImageLumaA8(gray) => gray.pixels().map(|p| p.0[0]).collect(),
        image => image.to_rgb8().pixels().map(|p| luma(p.0[0], p.0[1], p.0[2])).collect(),
    }
}

/// Pictures of 8 bits are stretched to 16.
fn gray16(image: DynamicImage) -> Vec<u16> {
    match image {
        DynamicImage::ImageLuma16(gray) => gray.into_raw(),
        DynamicImage::ImageLumaA16(gray) => gray.pixels().map(|p| p.0[0]).collect(),
        other => other.to_rgb16().pixels().map(|p| luma16(p.0[0], p.0[1], p.0[2])).collect(),
    }
}

/// Answers requests on stdin until it is closed. This is the whole of the hidden command
/// `decode-pictures`, which is started with limits and by nobody else.
///
/// # Errors
/// When a pipe breaks: the other end has gone.
pub fn serve_decoder() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    output.write_all(HELLO)?;
    output.flush()?;
    let (mut head, mut answering) = ([0u8; 9], Answering::start());
    while input.read_exact(&mut head).is_ok() {
        let [kind, length @ ..] = head;
        let length = u64::from_le_bytes(length);
        let Some(want) = Want::of(kind).filter(|_| length <= MAX_INPUT) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut bytes = vec![0; length as usize];
        input.read_exact(&mut bytes)?;
        let (reply, ended) = match answering.ask(want, bytes) {
            Answer::Reply(reply) => (reply, false),
            Answer::GaveUp => {
                answering = Answering::start();
                (Err(GAVE_UP.to_owned().into()), false)
            }
            Answer::TooSlow => (Err(TOO_SLOW.to_owned().into()), true),
        };
        write_reply(&mut output, &reply)?;
        if ended {
            return Ok(());
        }
    }
    Ok(())
}

fn write_reply(to: &mut impl Write, reply: &Result<Decoded, Refusal>) -> io::Result<()> {
    match reply {
        Err(refusal) => {
            let (kind, why) = match refusal {
                Refusal::Damaged(why) => (b"-", why),
                Refusal::Unknown(why) => (b"?", why),
            };
            let why: String = why.chars().take(300).collect();
            to.write_all(kind)?;
            to.write_all(&(why.len() as u64).to_le_bytes())?;
            to.write_all(why.as_bytes())?;
        }
        Ok(Decoded { size: (width, height), colour, pixels, colours }) => {
            let (kind, bytes): (u8, Cow<[u8]>) = match pixels {
                Pixels::Eight(values) => (b'8', Cow::Borrowed(values)),
                Pixels::Sixteen(values) => {
                    (b'F', values.iter().flat_map(|v| v.to_le_bytes()).collect())
                }
                Pixels::Real(values) => {
                    (b'R', values.iter().flat_map(|v| v.to_le_bytes()).collect())
                }
            };
            to.write_all(&[b'+', kind, u8::from(*colour)])?;
            to.write_all(&width.to_le_bytes())?;
            to.write_all(&height.to_le_bytes())?;
            to.write_all(&(bytes.len() as u64).to_le_bytes())?;
            to.write_all(&bytes)?;
            to.write_all(&(colours.runs().len() as u64).to_le_bytes())?;
            let ends = colours.runs().iter().flat_map(|&(first, count)| [first, count]);
            to.write_all(&ends.flat_map(u32::to_le_bytes).collect::<Vec<u8>>())?;
            to.write_all(colours.values().as_flattened())?;
        }
    }
    to.flush()
}

/// Reads the coloured ones of so many pixels.
fn read_colours(from: &mut impl Read, pixels: u64) -> io::Result<Colours> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut length = [0; 8];
    from.read_exact(&mut length)?;
    let length = Some(u64::from_le_bytes(length)).filter(|length| *length <= pixels);
    let mut runs = vec![0; length.ok_or_else(invalid)? as usize * 8];
    from.read_exact(&mut runs)?;
    let word = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    let runs: Vec<_> = runs.chunks_exact(8).map(|b| (word(b), word(&b[4..]))).collect();
    let count = runs.iter().map(|&(_, count)| u64::from(count)).sum::<u64>();
    if count > pixels {
        return Err(invalid());
    }
    let mut values = vec![[0; 3]; count as usize];
    from.read_exact(values.as_flattened_mut())?;
    Colours::from_parts(runs, values, pixels as usize).ok_or_else(invalid)
}

/// Reads a reply; pixels of more than `most` bytes, or not as many as the size says, are an error.
pub(super) fn read_reply(from: &mut impl Read, most: u64) -> io::Result<Result<Decoded, Refusal>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let length = |from: &mut dyn Read| -> io::Result<u64> {
        let mut length = [0; 8];
        from.read_exact(&mut length)?;
        Ok(u64::from_le_bytes(length))
    };
    let mut kind = [0];
    from.read_exact(&mut kind)?;
    if kind == *b"-" || kind == *b"?" {
        let mut why = vec![0; length(from)?.min(1200) as usize];
        from.read_exact(&mut why)?;
        let why = String::from_utf8_lossy(&why).into_owned();
        return Ok(Err(if kind == *b"?" { Refusal::Unknown(why) } else { why.into() }));
    }
    let mut head = [0; 10];
    from.read_exact(&mut head)?;
    let [depth, colour, w0, w1, w2, w3, h0, h1, h2, h3] = head;
    let size = (u32::from_le_bytes([w0, w1, w2, w3]), u32::from_le_bytes([h0, h1, h2, h3]));
    let count = u64::from(size.0) * u64::from(size.1);
    let bytes = length(from)?;
    let wide = match depth {
        b'R' => 4,
        b'F' => 2,
        _ => 1,
    };
    if kind != *b"+" || bytes > most || Some(bytes) != count.checked_mul(wide) {
        return Err(invalid());
    }
    let mut values = vec![0; bytes as usize];
    from.read_exact(&mut values)?;
    let pixels = match depth {
        b'8' => Pixels::Eight(values),
        b'F' => {
            let pairs = values.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
            Pixels::Sixteen(pairs.collect())
        }
        b'R' => {
            let fours =
                values.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            Pixels::Real(fours.collect())
        }
        _ => return Err(invalid()),
    };
    let colours = read_colours(from, count)?;
    Ok(Ok(Decoded { size, colour: colour == 1, pixels, colours }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_come_through_the_pipe_as_they_are_and_lies_do_not() {
        let deep = Pixels::Sixteen(vec![1, 256, 65_535, 7, 8, 9]);
        let colours = [[9; 3], [250, 0, 0], [250, 9, 0], [1; 3], [0, 0, 99], [2; 3]];
        let colours = Colours::of(colours.into_iter());
        let decoded = Decoded { size: (3, 2), colour: true, pixels: deep, colours };
        let refused = [Refusal::Damaged("no".to_owned()), Refusal::Unknown("new".to_owned())];
        for reply in [Ok(decoded)].into_iter().chain(refused.map(Err)) {
            let mut bytes = Vec::new();
            write_reply(&mut bytes, &reply).expect("written");
            assert_eq!(read_reply(&mut &bytes[..], 12).expect("read"), reply);
            if reply.is_ok() {
                assert!(read_reply(&mut &bytes[..], 11).is_err(), "more than was agreed");
                bytes[3] = 200;
                assert!(read_reply(&mut &bytes[..], 12).is_err(), "another size");
                bytes[3] = 3;
                let runs = bytes.len() - 3 * 3 - 2 * 8;
                bytes[runs + 8] = 1;
                assert!(read_reply(&mut &bytes[..], 12).is_err(), "colours beside each other");
            }
        }
    }
}
