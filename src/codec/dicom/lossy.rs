//! Whether the pixels of an object were compressed with loss: now, or once before.
//!
//! What decides whether this file is right: an object says so of itself (LossyImageCompression, PS3.3 C.7.6.1.1.5), and what
//! lost something once has lost it for ever. Some ways of storing may lose or not. What is stored so counts as lossy
//! unless the object denies it, and its codestream has the last word where it tells: a JPEG-LS by how far its samples may
//! be off, a JPEG 2000 by its wavelets, of which one kind always loses. The other kind proves nothing, since such a stream
//! may have been cut short.

use super::reader::{DataSet, Pixels};
use super::{Parsed, film, foreign, frames, tags};
use crate::codec::jpeg_ls::near_of;

/// JPEG-LS, JPEG 2000 and its High-Throughput kind, each where it may lose.
const NEAR_LOSSLESS: &str = "1.2.840.10008.1.2.4.81";
const JPEG_2000: &str = "1.2.840.10008.1.2.4.91";
const HIGH_THROUGHPUT: &str = "1.2.840.10008.1.2.4.203";
/// First bytes of a frame in which its headers are looked for.
const HEAD_BYTES: usize = 4 << 10;

/// Whether something was lost, or may have been and nothing denies it.
pub(super) fn is_lossy(parsed: &Parsed) -> bool {
    let said = parsed.walked.set.text(tags::LOSSY).unwrap_or_default();
    let always = ["JPEG baseline", "JPEG extended"].contains(&frames::syntax_name(&parsed.syntax));
    if said == "01" || always || film::is_film(&parsed.syntax) {
        return true;
    }
    let denied = said == "00";
    match parsed.syntax.as_str() {
        NEAR_LOSSLESS => near_of(&first_bytes(parsed)).map_or(!denied, |near| near > 0),
        JPEG_2000 | HIGH_THROUGHPUT => !denied || foreign::loses(&first_bytes(parsed)),
        _ => false,
    }
}

/// More often nothing is compressed; what is written of it has to fit the lengths of DICOM.
const MAX_TIMES: usize = 16;
/// Characters of a term (CS, PS3.5 6.2).
const MAX_TERM: usize = 16;

/// By how much the object says that its pixels were compressed with loss, once for each time.
pub(super) fn ratios(set: &DataSet) -> Vec<f64> {
    let mut ratios = set.decimals(tags::LOSSY_RATIO);
    ratios.retain(|&ratio| ratio > 0.0);
    if ratios.len() > MAX_TIMES { Vec::new() } else { ratios }
}

/// How it says that they were. All or none: they stand in the order of the ratios. What is no defined term may be a text of
/// a person, and this goes into exports.
pub(super) fn methods(set: &DataSet) -> Vec<String> {
    let is_term = |term: &str| {
        let number = term.strip_prefix("ISO_").filter(|_| (5..=MAX_TERM).contains(&term.len()));
        number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit() || b == b'_'))
    };
    let text = set.text(tags::LOSSY_METHOD).unwrap_or_default();
    let terms = text.split('\\').map(str::trim);
    let terms: Option<Vec<String>> =
        terms.map(|term| is_term(term).then(|| term.to_owned())).collect();
    terms.filter(|terms| terms.len() <= MAX_TIMES).unwrap_or_default()
}

/// The first bytes of the first frame: one encoder made all of them. None where they cannot be read, which the frames tell.
fn first_bytes(parsed: &Parsed) -> Vec<u8> {
    let Some(Pixels::Fragments(fragments)) = &parsed.walked.pixels else { return Vec::new() };
    // The fragment before it is the table of offsets.
    let Some(&(at, length)) = fragments.get(1) else { return Vec::new() };
    parsed.input.bytes_at(at, HEAD_BYTES.min(length as usize)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::input::Input;
    use super::super::reader::{Encoding, MAX_ELEMENTS, walk};
    use super::*;

    /// An object that says this of its loss, where it says something, and the stream of its one frame.
    fn object(syntax: &str, said: Option<&str>, stream: &[u8]) -> Parsed {
        let mut bytes = Vec::new();
        if let Some(said) = said {
            bytes.extend([0x28, 0, 0x10, 0x21, b'C', b'S', 2, 0]);
            bytes.extend(said.as_bytes());
        }
        bytes.extend([0xe0, 0x7f, 0x10, 0, b'O', b'B', 0, 0, 0xff, 0xff, 0xff, 0xff]);
        for part in [&[][..], stream] {
            bytes.extend([0xfe, 0xff, 0, 0xe0]);
            bytes.extend((part.len() as u32).to_le_bytes());
            bytes.extend(part);
        }
        bytes.extend([0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0]);
        let input = Input::Memory(bytes);
        let encoding = Encoding { explicit: true, big: false };
        let walked = walk(&input, 0, encoding, MAX_ELEMENTS).expect("walked");
        Parsed { input, walked, syntax: syntax.to_owned(), big: false }
    }

    fn jpeg_ls(near: u8) -> Vec<u8> {
        let frame = [0xff, 0xf7, 0, 11, 8, 0, 2, 0, 2, 1, 1, 0x11, 0];
        let scan = [0xff, 0xda, 0, 8, 1, 1, 0, near, 0, 0];
        [&[0xff, 0xd8][..], &frame, &scan, &[9, 9]].concat()
    }

    fn jpeg_2000(wavelets: u8) -> Vec<u8> {
        let size = [&[0xff, 0x51, 0, 41][..], &[0; 39]].concat();
        let coding = [0xff, 0x52, 0, 12, 0, 0, 0, 1, 0, 5, 4, 4, 0, wavelets];
        [&[0xff, 0x4f][..], &size, &coding, &[0xff, 0x90, 0, 10]].concat()
    }

    #[test]
    fn only_what_can_be_written_again_is_told_of_a_loss() {
        let told = |element: u16, vr: &[u8; 2], text: &str| {
            let mut bytes = vec![0x28, 0];
            bytes.extend(element.to_le_bytes());
            bytes.extend(vr);
            bytes.extend((text.len() as u16).to_le_bytes());
            bytes.extend(text.as_bytes());
            let encoding = Encoding { explicit: true, big: false };
            walk(&Input::Memory(bytes), 0, encoding, MAX_ELEMENTS).expect("walked").set
        };
        let ratios_of = |text: &str| ratios(&told(0x2112, b"DS", text));
        let methods_of = |text: &str| methods(&told(0x2114, b"CS", text));
        assert_eq!(ratios_of("10.5\\3 "), [10.5, 3.0]);
        assert_eq!(methods_of("ISO_10918_1\\ISO_15444_15 "), ["ISO_10918_1", "ISO_15444_15"]);
        assert!(ratios_of(&["2"; 17].join("\\")).is_empty());
        for none in ["", "ISO_", "DOE JANE", "ISO_1\\DOE JANE", "ISO_10918_1_19700101"] {
            assert!(methods_of(none).is_empty(), "{none}");
        }
        assert!(methods_of(&["ISO_1"; 17].join("\\")).is_empty());
    }

    #[test]
    fn what_may_be_lossy_is_unless_the_object_or_its_stream_tells_otherwise() {
        let (exact, near) = (jpeg_ls(0), jpeg_ls(2));
        let (reversible, irreversible) = (jpeg_2000(1), jpeg_2000(0));
        let cases = [
            (NEAR_LOSSLESS, None, &near, true),
            (NEAR_LOSSLESS, Some("00"), &near, true),
            (NEAR_LOSSLESS, None, &exact, false),
            (NEAR_LOSSLESS, Some("01"), &exact, true),
            (JPEG_2000, None, &irreversible, true),
            (JPEG_2000, Some("00"), &irreversible, true),
            (JPEG_2000, None, &reversible, true),
            (JPEG_2000, Some("00"), &reversible, false),
            (HIGH_THROUGHPUT, None, &reversible, true),
            (HIGH_THROUGHPUT, Some("00"), &reversible, false),
            // Those that lose nothing, and those that always do.
            ("1.2.840.10008.1.2.4.80", None, &exact, false),
            ("1.2.840.10008.1.2.4.90", None, &reversible, false),
            ("1.2.840.10008.1.2.4.90", Some("01"), &reversible, true),
            ("1.2.840.10008.1.2.4.50", Some("00"), &exact, true),
        ];
        for (syntax, said, stream, lossy) in cases {
            assert_eq!(is_lossy(&object(syntax, said, stream)), lossy, "{syntax} {said:?}");
        }
        // Cut anywhere nothing panics, and what does not tell denies nothing.
        for cut in 0..near.len() - 6 {
            assert!(is_lossy(&object(NEAR_LOSSLESS, None, &near[..cut])), "{cut}");
        }
        for cut in 0..irreversible.len() {
            assert!(is_lossy(&object(JPEG_2000, None, &irreversible[..cut])), "{cut}");
        }
    }
}
