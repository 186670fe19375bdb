//! What every DICOM object that is written here is made of: elements, sequences, codes, identifiers, numbers as text.
//!
//! What decides whether this file is right: values have the lengths of their representations (PS3.5 6.2), and nothing of a
//! patient can come in by a default.

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use sha2::{Digest, Sha256};

use crate::domain::DicomOrigin;

/// Explicit VR little endian.
pub(super) const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";
/// Implicit VR little endian.
const IMPLICIT_LITTLE: &str = "1.2.840.10008.1.2";
/// Bytes of a text of numbers (DS, IS) in an explicit syntax, whose length has 16 bits.
const MAX_EXPLICIT_TEXT: usize = 65_534;

pub(super) type Item = InMemDicomObject;

/// A UID of the root 2.25 from the hash of `parts`.
pub(super) fn uid(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let digest = hasher.finalize();
    let number = digest.iter().take(16).fold(0u128, |all, byte| all << 8 | u128::from(*byte));
    format!("2.25.{number}")
}

/// The transfer syntax in which the elements `vectors` of `set`, which hold a number for each of many frames, have room.
/// Explicit syntaxes end at some nine thousand frames; in implicit little endian, which every reader knows (PS3.5 10.1),
/// every length has 32 bits, and no time has to be given up or made coarser.
pub(super) fn syntax_for(set: &Item, vectors: &[Tag]) -> &'static str {
    let bytes =
        |tag: &Tag| set.get(*tag).and_then(|held| held.to_str().ok()).map_or(0, |t| t.len());
    let fits = vectors.iter().all(|tag| bytes(tag) <= MAX_EXPLICIT_TEXT);
    if fits { EXPLICIT_LITTLE } else { IMPLICIT_LITTLE }
}

pub(super) fn put(set: &mut Item, tag: Tag, vr: VR, value: impl Into<PrimitiveValue>) {
    set.put(DataElement::new(tag, vr, value.into()));
}

pub(super) fn nest(set: &mut Item, tag: Tag, items: Vec<Item>) {
    set.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
}

pub(super) fn code(value: &str, scheme: &str, meaning: &str) -> Item {
    let mut item = Item::new_empty();
    put(&mut item, tags::CODE_VALUE, VR::SH, value);
    put(&mut item, tags::CODING_SCHEME_DESIGNATOR, VR::SH, scheme);
    put(&mut item, tags::CODE_MEANING, VR::LO, meaning);
    item
}

/// What the standard wants of patient and study and lets be empty.
pub(super) fn leave_patient_empty(set: &mut Item) {
    for (tag, vr) in [
        (tags::PATIENT_NAME, VR::PN),
        (tags::PATIENT_ID, VR::LO),
        (tags::PATIENT_BIRTH_DATE, VR::DA),
        (tags::PATIENT_SEX, VR::CS),
        (tags::STUDY_DATE, VR::DA),
        (tags::STUDY_TIME, VR::TM),
        (tags::STUDY_ID, VR::SH),
        (tags::ACCESSION_NUMBER, VR::SH),
        (tags::REFERRING_PHYSICIAN_NAME, VR::PN),
    ] {
        put(set, tag, vr, "");
    }
}

/// What images say of their compressions with loss: by how much and how, as far as they do.
pub(super) fn repeat_losses(set: &mut Item, images: &DicomOrigin) {
    let (ratios, methods) = (&images.lossy_ratios, &images.lossy_methods);
    if !ratios.is_empty() {
        put(set, tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, decimals(ratios));
    }
    if !methods.is_empty() {
        put(set, tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS, methods.join("\\"));
    }
}

/// Numbers as text of at most 16 characters each, as precise as that allows.
pub(super) fn decimals(numbers: &[f64]) -> String {
    let text = |v: &f64| {
        let v = if v.abs() < 1e-12 { 0.0 } else { *v };
        (0..=15)
            .rev()
            .map(|digits| format!("{v:.digits$}"))
            .find(|t| t.len() <= 16)
            .unwrap_or_else(|| format!("{v:.8e}"))
    };
    numbers.iter().map(text).collect::<Vec<String>>().join("\\")
}

/// The time from each frame to the one before it, ms, to a microsecond, as short as that can be written; the first is 0.
/// What rounding takes from one step the next one has: no frame is off by more than half a microsecond.
pub(super) fn frame_steps(times_ms: &[f64]) -> String {
    let mut before_us: Option<u64> = None;
    let mut steps: Vec<String> = Vec::with_capacity(times_ms.len());
    for time in times_ms {
        let at_us = (time * 1e3).round() as u64;
        // A step of 0 is no time between frames.
        let at_us = before_us.map_or(at_us, |before| at_us.max(before.saturating_add(1)));
        let step_us = before_us.map_or(0, |before| at_us - before);
        before_us = Some(at_us);
        let text = format!("{}.{:03}", step_us / 1000, step_us % 1000);
        steps.push(text.trim_end_matches('0').trim_end_matches('.').to_owned());
    }
    steps.join("\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_between_frames_are_short_and_their_rounding_does_not_add_up() {
        assert_eq!(
            frame_steps(&[0.0, 40.0, 73.3667, 100.0, 100.0]),
            "0\\40\\33.367\\26.633\\0.001"
        );
        let times: Vec<f64> = (0..3000).map(|at| f64::from(at) * 100.0 / 3.0).collect();
        let text = frame_steps(&times);
        let mut now = 0.0;
        for (step, time) in text.split('\\').zip(&times) {
            now += step.parse::<f64>().expect("a number");
            assert!((now - time).abs() < 6e-4, "{now} {time}");
        }
        assert_eq!(frame_steps(&[]), "");
    }

    #[test]
    fn numbers_and_identifiers_have_the_lengths_of_the_standard() {
        assert_eq!(
            decimals(&[0.1, -1.0 / 3.0, 0.0]),
            "0.10000000000000\\-0.3333333333333\\0.00000000000000"
        );
        assert!(decimals(&[-123_456.789_012_345, 1e-7]).split('\\').all(|t| t.len() <= 16));
        assert!(uid(&[b"a", b"b"]) != uid(&[b"ab", b""]) && uid(&[b"a"]).len() <= 64);
    }
}
