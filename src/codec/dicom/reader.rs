//! Walks a DICOM file once, element by element, believing no declared length.
//!
//! Ours, and not a library's, because a file of 396 bytes can make the usual reader allocate
//! gigabytes: here nothing is allocated for a length before it is known to lie inside the file,
//! nesting ends at [`MAX_DEPTH`], elements at [`MAX_ELEMENTS`], and only the values named in
//! `tags.rs` are read at all. Text such as the patient's name is never even loaded.

use std::collections::BTreeMap;

use super::input::Input;
use super::tags::{self, Tag};

const MAX_DEPTH: usize = 64;
/// Elements of an object; what is kept of them takes memory.
pub(super) const MAX_ELEMENTS: usize = 1_000_000;
/// Those of a segmentation, which has some forty for each of its frames. Of other people's only a child with limits on its
/// memory reads that many.
pub(super) const MAX_ELEMENTS_OF_SEGMENTS: usize = 8_000_000;
/// Bytes of the value of an element that is a table or a list.
const MAX_LIST_BYTES: u64 = 1 << 20;
/// Those of others: names, and a few numbers each. What all frames share is read for every one of a hundred thousand.
const MAX_VALUE_BYTES: u64 = 4 << 10;
const MAX_ITEMS: usize = 64;
/// Items of the sequences that have one for every frame, segment or file.
const MAX_FRAME_ITEMS: usize = 100_000;
const MAX_FRAGMENTS: usize = 1_000_000;
const UNDEFINED: u32 = u32::MAX;

/// How elements are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    pub(super) explicit: bool,
    pub(super) big: bool,
}

/// Kept elements of a data set or of an item of a sequence.
#[derive(Debug, Default)]
pub(super) struct DataSet {
    pub(super) big: bool,
    values: BTreeMap<Tag, Vec<u8>>,
    items: BTreeMap<Tag, Vec<DataSet>>,
}

/// Where the pixel data is.
#[derive(Debug)]
pub(super) enum Pixels {
    /// One run of bytes; `words` when stored as 16-bit words (OW).
    Native { offset: u64, length: u64, words: bool },
    /// Offset and length of every fragment; the first is the offset table.
    Fragments(Vec<(u64, u32)>),
}

/// A walked file.
pub(super) struct Walked {
    pub(super) set: DataSet,
    pub(super) pixels: Option<Pixels>,
}

impl DataSet {
    /// A text value without padding.
    pub(super) fn text(&self, tag: Tag) -> Option<String> {
        let text = String::from_utf8_lossy(self.values.get(&tag)?).into_owned();
        let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Numbers written as text (DS, IS), those that are numbers.
    pub(super) fn decimals(&self, tag: Tag) -> Vec<f64> {
        let text = self.text(tag).unwrap_or_default();
        let parsed = text.split('\\').map_while(|part| part.trim().parse().ok());
        parsed.filter(|v: &f64| v.is_finite()).collect()
    }

    /// The first number written as text.
    pub(super) fn decimal(&self, tag: Tag) -> Option<f64> {
        self.decimals(tag).first().copied()
    }

    /// 16-bit numbers (US, SS as their bits, OW).
    pub(super) fn words(&self, tag: Tag) -> Vec<u16> {
        let bytes = self.values.get(&tag).map_or(&[][..], Vec::as_slice);
        let word = |b: &[u8]| {
            let pair = [b[0], b[1]];
            if self.big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
        };
        bytes.chunks_exact(2).map(word).collect()
    }

    /// The first 16-bit number.
    pub(super) fn word(&self, tag: Tag) -> Option<u16> {
        self.words(tag).first().copied()
    }

    /// 32-bit numbers (UL).
    pub(super) fn longs(&self, tag: Tag) -> Vec<u32> {
        let bytes = self.values.get(&tag).map_or(&[][..], Vec::as_slice);
        let long = |b: &[u8]| {
            let four = [b[0], b[1], b[2], b[3]];
            if self.big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
        };
        bytes.chunks_exact(4).map(long).collect()
    }

    /// The first 32-bit number.
    pub(super) fn long(&self, tag: Tag) -> Option<u32> {
        self.longs(tag).first().copied()
    }

    /// 64-bit floating point numbers (FD), those that are numbers.
    pub(super) fn doubles(&self, tag: Tag) -> Vec<f64> {
        let bytes = self.values.get(&tag).map_or(&[][..], Vec::as_slice);
        let double = |b: &[u8]| {
            let eight = [b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]];
            if self.big { f64::from_be_bytes(eight) } else { f64::from_le_bytes(eight) }
        };
        bytes.chunks_exact(8).map(double).filter(|v| v.is_finite()).collect()
    }

    /// The first 64-bit floating point number.
    pub(super) fn double(&self, tag: Tag) -> Option<f64> {
        self.doubles(tag).first().copied()
    }

    /// The raw bytes.
    pub(super) fn bytes(&self, tag: Tag) -> Option<&[u8]> {
        self.values.get(&tag).map(Vec::as_slice)
    }

    /// Items of a sequence (the first 64 are kept, of frames, segments and files all).
    pub(super) fn items(&self, tag: Tag) -> &[DataSet] {
        self.items.get(&tag).map_or(&[], Vec::as_slice)
    }

    /// The first item of a macro in the functional groups, or this set itself (older objects).
    pub(super) fn group(&self, tag: Tag) -> &DataSet {
        let groups = [tags::SHARED_GROUPS, tags::PER_FRAME_GROUPS];
        let found = groups.iter().find_map(|&g| self.items(g).first()?.items(tag).first());
        found.unwrap_or(self)
    }
}

/// Walks the data set of `input` from `start` to its end, which has at most so many elements.
pub(super) fn walk(
    input: &Input,
    start: u64,
    encoding: Encoding,
    most_elements: usize,
) -> Result<Walked, String> {
    let mut walker = Walker { most_elements, ..Walker::new(input, start) };
    let set = walker.data_set(input.len(), false, encoding, 0)?;
    Ok(Walked { set, pixels: walker.pixels })
}

/// Walks the file meta group (always explicit little endian) and gives it and where it ends.
pub(super) fn walk_meta(input: &Input, start: u64) -> Result<(DataSet, u64), String> {
    let mut walker = Walker::new(input, start);
    let encoding = Encoding { explicit: true, big: false };
    let mut set = DataSet::default();
    while input.len() - walker.at >= 8 {
        let before = walker.at;
        if walker.tag(encoding)? >> 16 != 2 {
            return Ok((set, before));
        }
        walker.at = before;
        walker.element(&mut set, input.len(), encoding, 0)?;
    }
    let end = walker.at;
    Ok((set, end))
}

struct Walker<'a> {
    input: &'a Input,
    at: u64,
    elements: usize,
    most_elements: usize,
    pixels: Option<Pixels>,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl<'a> Walker<'a> {
    fn new(input: &'a Input, at: u64) -> Self {
        Self {
            input,
            at,
            elements: 0,
            most_elements: MAX_ELEMENTS,
            pixels: None,
            buffer: Vec::new(),
            buffer_at: 0,
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let inside = |walker: &Self| {
            let from = usize::try_from(walker.at.checked_sub(walker.buffer_at)?).ok()?;
            walker.buffer.get(from..from.checked_add(N)?)?.try_into().ok()
        };
        if let Some(bytes) = inside(self) {
            self.at += N as u64;
            return Ok(bytes);
        }
        let left = self.input.len().saturating_sub(self.at).min(8192) as usize;
        self.buffer_at = self.at;
        self.buffer = self.input.bytes_at(self.at, left).map_err(|e| e.to_string())?;
        let bytes = inside(self).ok_or("it ends in the middle of an element")?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn u16(&mut self, encoding: Encoding) -> Result<u16, String> {
        let bytes = self.take()?;
        Ok(if encoding.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn u32(&mut self, encoding: Encoding) -> Result<u32, String> {
        let bytes = self.take()?;
        Ok(if encoding.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn tag(&mut self, encoding: Encoding) -> Result<Tag, String> {
        Ok(Tag::from(self.u16(encoding)?) << 16 | Tag::from(self.u16(encoding)?))
    }

    /// Elements up to `end`, or up to an end marker when `delimited`.
    fn data_set(
        &mut self,
        end: u64,
        delimited: bool,
        encoding: Encoding,
        depth: usize,
    ) -> Result<DataSet, String> {
        if depth > MAX_DEPTH {
            return Err(format!("its sequences are nested more than {MAX_DEPTH} deep"));
        }
        let mut set = DataSet { big: encoding.big, ..DataSet::default() };
        loop {
            if self.at >= end {
                let open = delimited.then(|| "an item of a sequence has no end".to_owned());
                return open.map_or(Ok(set), Err);
            }
            // Padding after the last element is common and harmless.
            if depth == 0
                && (end - self.at < 8 || self.pixels.is_some() && self.only_padding(end)?)
            {
                return if self.pixels.is_some() {
                    Ok(set)
                } else {
                    Err("it ends in the middle of an element".into())
                };
            }
            let before = self.at;
            if delimited && self.tag(encoding)? == tags::ITEM_END {
                self.u32(encoding)?;
                return Ok(set);
            }
            self.at = before;
            self.element(&mut set, end, encoding, depth)?;
        }
    }

    fn count_element(&mut self) -> Result<(), String> {
        self.elements += 1;
        if self.elements > self.most_elements {
            return Err(format!("it has more than {} elements", self.most_elements));
        }
        Ok(())
    }

    fn only_padding(&mut self, end: u64) -> Result<bool, String> {
        let before = self.at;
        let next: [u8; 8] = self.take()?;
        self.at = before;
        Ok(next == [0; 8] && end == self.input.len())
    }

    fn element(
        &mut self,
        set: &mut DataSet,
        end: u64,
        encoding: Encoding,
        depth: usize,
    ) -> Result<(), String> {
        self.count_element()?;
        let tag = self.tag(encoding)?;
        let (vr, length) = self.vr_and_length(tag, encoding)?;
        let named = |text: &str| format!("element ({:04x},{:04x}) {text}", tag >> 16, tag & 0xffff);
        if length == UNDEFINED && tag == tags::PIXELS && depth == 0 {
            let fragments = self.fragments(encoding)?;
            self.pixels = Some(Pixels::Fragments(fragments));
            return Ok(());
        }
        // An unknown type of undefined length is a sequence in implicit encoding (PS3.5 6.2.2).
        let inner = if &vr == b"UN" { Encoding { explicit: false, big: false } } else { encoding };
        if length == UNDEFINED {
            if tag >> 16 == 0xfffe {
                return Err(named("is a marker where none belongs"));
            }
            let items = self.sequence(tag, end, true, inner, depth)?;
            keep_items(set, tag, items);
            return Ok(());
        }
        let (length, left) = (u64::from(length), end.saturating_sub(self.at));
        if length > left {
            return Err(named(&format!("declares {length} bytes where {left} are left")));
        }
        let value_end = self.at + length;
        if tag == tags::PIXELS && depth == 0 {
            let words = &vr == b"OW" || !encoding.explicit;
            self.pixels = Some(Pixels::Native { offset: self.at, length, words });
        } else if &vr == b"SQ" || (&vr == b"  " && tags::SEQUENCES.contains(&tag)) {
            let items = self.sequence(tag, value_end, false, encoding, depth)?;
            keep_items(set, tag, items);
        } else if tags::KEPT.contains(&tag) && length <= most_bytes(tag) {
            let bytes = self.input.bytes_at(self.at, length as usize).map_err(|e| e.to_string())?;
            set.values.insert(tag, bytes);
        }
        self.at = value_end;
        Ok(())
    }

    /// Type (two blanks where the encoding has none) and length of the element just begun.
    fn vr_and_length(&mut self, tag: Tag, encoding: Encoding) -> Result<([u8; 2], u32), String> {
        if !encoding.explicit || tag >> 16 == 0xfffe {
            return Ok((*b"  ", self.u32(encoding)?));
        }
        let vr: [u8; 2] = self.take()?;
        if !vr.iter().all(u8::is_ascii_uppercase) {
            let (group, element) = (tag >> 16, tag & 0xffff);
            return Err(format!("element ({group:04x},{element:04x}) has no valid type"));
        }
        let long = matches!(
            &vr,
            b"OB"
                | b"OD"
                | b"OF"
                | b"OL"
                | b"OV"
                | b"OW"
                | b"SQ"
                | b"SV"
                | b"UC"
                | b"UN"
                | b"UR"
                | b"UT"
                | b"UV"
        );
        if long {
            self.take::<2>()?;
            return Ok((vr, self.u32(encoding)?));
        }
        Ok((vr, u32::from(self.u16(encoding)?)))
    }

    fn sequence(
        &mut self,
        sequence: Tag,
        end: u64,
        delimited: bool,
        encoding: Encoding,
        depth: usize,
    ) -> Result<Vec<DataSet>, String> {
        let mut items = Vec::new();
        let listed = [tags::PER_FRAME_GROUPS, tags::SEGMENTS, tags::DIRECTORY_RECORDS];
        let each = listed.contains(&sequence);
        let most = if each { MAX_FRAME_ITEMS } else { MAX_ITEMS };
        loop {
            if !delimited && self.at >= end {
                return Ok(items);
            }
            self.count_element()?;
            let tag = self.tag(encoding)?;
            let length = self.u32(encoding)?;
            let item = match tag {
                tags::SEQUENCE_END => return Ok(items),
                tags::ITEM if length == UNDEFINED => {
                    self.data_set(end, true, encoding, depth + 1)?
                }
                tags::ITEM => {
                    let item_end = self.at + u64::from(length);
                    if item_end > end {
                        return Err("an item reaches beyond its sequence".into());
                    }
                    let item = self.data_set(item_end, false, encoding, depth + 1)?;
                    self.at = item_end;
                    item
                }
                _ => return Err("a sequence holds something that is no item".into()),
            };
            if items.len() < most {
                items.push(item);
            }
        }
    }

    fn fragments(&mut self, encoding: Encoding) -> Result<Vec<(u64, u32)>, String> {
        let mut fragments = Vec::new();
        loop {
            let missing = |_| "the end marker of the compressed frames is missing".to_owned();
            let tag = self.tag(encoding).map_err(missing)?;
            let length = self.u32(encoding).map_err(missing)?;
            match tag {
                tags::SEQUENCE_END => return Ok(fragments),
                tags::ITEM if u64::from(length) <= self.input.len() - self.at => {
                    fragments.push((self.at, length));
                    self.at += u64::from(length);
                }
                tags::ITEM => return Err("a compressed frame reaches beyond its end".into()),
                _ => return Err("its compressed frames are followed by something else".into()),
            }
            if fragments.len() > MAX_FRAGMENTS {
                return Err(format!("it has more than {MAX_FRAGMENTS} fragments"));
            }
        }
    }
}

/// Bytes of the value of an element that are kept; a longer one counts as missing.
fn most_bytes(tag: Tag) -> u64 {
    if tags::LISTS.contains(&tag) { MAX_LIST_BYTES } else { MAX_VALUE_BYTES }
}

fn keep_items(set: &mut DataSet, tag: Tag, items: Vec<DataSet>) {
    if tags::SEQUENCES.contains(&tag) {
        set.items.insert(tag, items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tables_and_lists_may_be_long() {
        const BOTH: [Tag; 2] = [tags::ORIENTATION, tags::FRAME_TIME_VECTOR];
        let are_kept = |length: usize| {
            let mut bytes = Vec::new();
            for tag in BOTH {
                bytes.extend(((tag >> 16) as u16).to_le_bytes());
                bytes.extend((tag as u16).to_le_bytes());
                bytes.extend((length as u32).to_le_bytes());
                bytes.resize(bytes.len() + length, b'1');
            }
            let encoding = Encoding { explicit: false, big: false };
            let walked = walk(&Input::Memory(bytes), 0, encoding, MAX_ELEMENTS).expect("walked");
            BOTH.map(|tag| walked.set.bytes(tag).is_some())
        };
        assert_eq!((are_kept(4096), are_kept(4098)), ([true; 2], [false, true]));
        assert_eq!((are_kept(1 << 20), are_kept((1 << 20) + 2)), ([false, true], [false; 2]));
    }
}
