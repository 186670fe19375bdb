//! The pages of a TIFF or BigTIFF: where they lie in the file, and each as a TIFF of its own.
//!
//! The directories are read once, when a file is opened, and of a page that is asked for nothing but its own directory and
//! pixels: a stack opens in the time of its directories, and a page costs no more than a page, wherever it lies in however
//! long a file. Decoders are given what `tiff.rs` and `image` take: a small file with offsets of 32 bits, whatever the
//! offsets of the whole one have. Of a stack of more than 4 GiB ImageJ writes one directory for all; its images are pages,
//! too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::CodecError;
use super::decoder::MAX_INPUT;
use super::limits::{MAX_FRAMES, open_regular};
use super::tiff::{
    BITS, COLOUR_MAP, COMPRESSION, JPEG, ORIENTATION, PHOTOMETRIC, PLANAR, SAMPLE_FORMAT, SAMPLES,
    TURNS,
};

const SUBFILE_TYPE: u32 = 254;
/// As old writers say the same.
const OLD_SUBFILE_TYPE: u32 = 255;
const DESCRIPTION: u32 = 270;
const WIDTH: u32 = 256;
const HEIGHT: u32 = 257;
const ROWS_PER_STRIP: u32 = 278;
const TILE_WIDTH: u32 = 322;
const TILE_HEIGHT: u32 = 323;
/// Where the pieces of the pixels lie and how long they are: of strips, of tiles.
const PIECES: [[u32; 2]; 2] = [[273, 279], [324, 325]];
/// What says how pixels are stored and what they mean. Those from 266 on: order of bits, fax, predictor, extra samples,
/// tables of JPEG, chroma, black and white. Decoders that come to heed one of them must find it.
const COPIED: [u32; 22] = [
    WIDTH,
    HEIGHT,
    BITS,
    COMPRESSION,
    PHOTOMETRIC,
    SAMPLES,
    ROWS_PER_STRIP,
    PLANAR,
    COLOUR_MAP,
    TILE_WIDTH,
    TILE_HEIGHT,
    SAMPLE_FORMAT,
    266,
    292,
    293,
    317,
    338,
    347,
    529,
    530,
    531,
    532,
];
/// First bytes of the description of an image in which ImageJ is looked for.
const DESCRIPTION_BYTES: u64 = 1024;
/// The compression of what is not compressed.
const NONE: u64 = 1;
/// Bits of the subfile type: a reduced copy of another page, a mask of one.
const REDUCED_OR_MASK: u64 = 0b101;
/// The old subfile type of a reduced copy.
const OLD_REDUCED: u64 = 2;
/// Entries of a directory; real ones have a few dozen.
const MAX_ENTRIES: u64 = 1024;
/// Bytes of the value of one entry: the places of a quarter of a million pieces.
const MAX_VALUE_BYTES: u64 = 1 << 20;

/// One page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Where its directory lies, bytes from the start.
    directory: u64,
    /// How many bytes behind the place that its directory names its pixels lie.
    behind: u64,
    /// Columns and rows.
    pub(super) size: (u32, u32),
    /// It is compressed with loss.
    pub(super) lossy: bool,
    /// It says that it is to be turned.
    pub(super) turned: bool,
}

/// Whether the bytes begin like a TIFF or BigTIFF.
pub(super) fn is_tiff(bytes: &[u8]) -> bool {
    [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"].iter().any(|magic| bytes.starts_with(&magic[..]))
}

/// A TIFF that is read piece by piece.
pub(super) struct Tiff<'a> {
    path: &'a Path,
    file: File,
    length: u64,
    little: bool,
    /// BigTIFF: its offsets have 64 bits.
    wide: bool,
}

/// What is said of a page, and where the directory of the next one lies; 0 is nowhere.
struct Directory {
    entries: Vec<Entry>,
    next: u64,
}

struct Entry {
    tag: u32,
    kind: u64,
    count: u64,
    /// Its value where that fits, else where that lies; in the order of the file, 4 bytes or in BigTIFF 8.
    field: [u8; 8],
}

/// The value of an entry, in the order of the file.
struct Value {
    kind: u64,
    count: u64,
    bytes: Vec<u8>,
}

/// The pieces that the pixels of a page lie in.
#[derive(Default)]
struct Pieces {
    /// The tags of the lists of their places and lengths; none where the page names no pixels.
    tags: Option<[u32; 2]>,
    /// Where each lies and its length, as far as the file has it.
    ranges: Vec<(u64, u64)>,
}

impl Directory {
    fn entry(&self, tag: u32) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }
}

/// Bytes of one value of a type; `None` of types that nobody knows.
fn bytes_of(kind: u64) -> Option<u64> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 | 16..=18 => Some(8),
        _ => None,
    }
}

impl<'a> Tiff<'a> {
    /// The TIFF at `path`; `None` where something else lies there.
    pub(super) fn of(path: &'a Path) -> Result<Option<Self>, CodecError> {
        let file = open_regular(path)?;
        let length = file.metadata().map_err(|e| CodecError::unreadable(path, e))?.len();
        let mut head = [0; 4];
        if length < head.len() as u64 {
            return Ok(None);
        }
        file.read_exact_at(&mut head, 0).map_err(|e| CodecError::unreadable(path, e))?;
        let (little, wide) = (head[0] == b'I', head.contains(&b'+'));
        Ok(is_tiff(&head).then_some(Self { path, file, length, little, wide }))
    }

    /// The pages in order, at least one, without reduced copies and masks of others.
    ///
    /// # Errors
    /// When the file cannot be read, or its directories contradict themselves.
    pub(super) fn pages(&self) -> Result<Vec<Page>, CodecError> {
        let damaged = |cause: String| Err(CodecError::damaged(self.path, cause));
        let (mut pages, mut seen) = (Vec::new(), BTreeSet::new());
        let link = self.offset_bytes();
        // It follows the magic number, which in BigTIFF is followed by the length of offsets.
        let mut next = self.number(&self.bytes_at(link, link)?);
        while next != 0 {
            if !seen.insert(next) {
                return damaged("its pages follow each other in a circle".to_owned());
            }
            if seen.len() > MAX_FRAMES {
                return damaged(format!("it has more than {MAX_FRAMES} pages"));
            }
            let directory = self.directory(next)?;
            let held = |tag| self.held(&directory, tag).unwrap_or(0);
            let side = |tag| u32::try_from(held(tag)).unwrap_or(u32::MAX);
            let copies =
                held(SUBFILE_TYPE) & REDUCED_OR_MASK != 0 || held(OLD_SUBFILE_TYPE) == OLD_REDUCED;
            if !copies {
                let size = (side(WIDTH), side(HEIGHT));
                let lossy = JPEG.iter().any(|kind| u64::from(*kind) == held(COMPRESSION));
                let turned = TURNS.contains(&held(ORIENTATION));
                pages.push(Page { directory: next, behind: 0, size, lossy, turned });
            }
            next = directory.next;
        }
        if let ([only], 1) = (&pages[..], seen.len()) {
            return self.stacked(*only);
        }
        if pages.is_empty() { damaged("it has no page".to_owned()) } else { Ok(pages) }
    }

    /// All images of a stack of ImageJ that has one directory, whose pixels follow each other; of other files the page
    /// itself.
    fn stacked(&self, page: Page) -> Result<Vec<Page>, CodecError> {
        let directory = self.directory(page.directory)?;
        let Some(images) = self.images_of_imagej(&directory).filter(|images| *images > 1) else {
            return Ok(vec![page]);
        };
        let ranges = self.pieces(&directory, 0)?.ranges;
        let bytes = self.plain_bytes(&directory)?;
        let ([(at, _)], 1..) = (&ranges[..], bytes) else { return Ok(vec![page]) };
        // A copy of one image may keep the words that were said of all.
        let held = self.length.saturating_sub(*at) / bytes;
        if held < 2 {
            return Ok(vec![page]);
        }
        if held < images || images > MAX_FRAMES as u64 {
            let cause = format!("it says that it holds {images} images, and it has {held}");
            return Err(CodecError::damaged(self.path, cause));
        }
        Ok((0..images).map(|image| Page { behind: image * bytes, ..page }).collect())
    }

    /// How many images the description says that a stack of ImageJ holds.
    fn images_of_imagej(&self, directory: &Directory) -> Option<u64> {
        let entry = directory.entry(DESCRIPTION).filter(|entry| entry.count > 8)?;
        let at = self.number(&entry.field[..self.offset_bytes() as usize]);
        let text = self.bytes_at(at, entry.count.min(DESCRIPTION_BYTES)).ok()?;
        let text = String::from_utf8_lossy(&text);
        let mut lines = text.strip_prefix("ImageJ=")?.lines();
        lines.find_map(|line| line.strip_prefix("images=")?.trim().parse().ok())
    }

    /// A page as a file of its own: what says how its pixels are stored, and the pixels as they are stored. What is cut off
    /// is left out, and missed by the decoder.
    ///
    /// # Errors
    /// When the file cannot be read, its directory lies beyond its end, or the page takes more than a decoder is given.
    pub(super) fn page(&self, page: &Page) -> Result<Vec<u8>, CodecError> {
        let directory = self.directory(page.directory)?;
        let mut values = BTreeMap::new();
        for entry in directory.entries.iter().filter(|entry| COPIED.contains(&entry.tag)) {
            if let Some(bytes) = self.value(entry)? {
                values.insert(entry.tag, Value { kind: entry.kind, count: entry.count, bytes });
            }
        }
        let Pieces { tags, ranges } = self.pieces(&directory, page.behind)?;
        let bytes = ranges.iter().fold(0u64, |all, (_, length)| all.saturating_add(*length));
        if bytes > MAX_INPUT {
            let cause = "one of its pages takes more than 256 MiB";
            return Err(CodecError::too_large(self.path, cause));
        }
        // As they follow each other in the file: one that is cut off comes last, and nothing is taken for the rest of it.
        let mut order: Vec<usize> = (0..ranges.len()).collect();
        order.sort_by_key(|&piece| ranges[piece].0);
        if let Some([places, lengths]) = tags {
            values.insert(lengths, self.longs(ranges.iter().map(|(_, length)| *length)));
            // How much room they take is known before what they say.
            values.insert(places, self.longs(ranges.iter().map(|_| 0)));
            let (mut next, mut told) = (self.header(&values).len() as u64, vec![0; ranges.len()]);
            for &piece in &order {
                told[piece] = next;
                next += ranges[piece].1;
            }
            values.insert(places, self.longs(told.into_iter()));
        }
        let mut out = self.header(&values);
        for (at, length) in order.into_iter().map(|piece| ranges[piece]) {
            let start = out.len();
            out.resize(start + length as usize, 0);
            let read = self.file.read_exact_at(&mut out[start..], at);
            read.map_err(|e| CodecError::unreadable(self.path, e))?;
        }
        Ok(out)
    }

    /// A TIFF of one directory with these values, up to its pixels.
    fn header(&self, values: &BTreeMap<u32, Value>) -> Vec<u8> {
        let mut out = if self.little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
        out.extend(self.raw(8, 4));
        out.extend(self.raw(values.len() as u64, 2));
        // The values that do not fit follow the directory, each from an even place on.
        let mut outside: Vec<u8> = Vec::new();
        let begin = out.len() + values.len() * 12 + 4;
        for (tag, Value { kind, count, bytes }) in values {
            out.extend(self.raw(u64::from(*tag), 2));
            out.extend(self.raw(*kind, 2));
            out.extend(self.raw(*count, 4));
            if bytes.len() <= 4 {
                out.extend(bytes);
                out.resize(out.len() + 4 - bytes.len(), 0);
            } else {
                out.extend(self.raw((begin + outside.len()) as u64, 4));
                outside.extend(bytes);
                outside.resize(outside.len().next_multiple_of(2), 0);
            }
        }
        out.extend([0; 4]);
        out.extend(outside);
        out
    }

    /// Those of a page whose pixels lie so many bytes behind the places that its directory names.
    fn pieces(&self, directory: &Directory, behind: u64) -> Result<Pieces, CodecError> {
        let whole = |tags: &[u32; 2]| tags.iter().all(|tag| directory.entry(*tag).is_some());
        let Some(tags) = PIECES.into_iter().find(whole) else { return Ok(Pieces::default()) };
        let [places, lengths] = tags.map(|tag| self.numbers(directory, tag));
        let (places, lengths) = (places?, lengths?);
        if places.len() != lengths.len() {
            let cause = "its lists of the pieces of a page differ in length";
            return Err(CodecError::damaged(self.path, cause));
        }
        let least = self.plain_bytes(directory)?;
        let range = |(at, length): (u64, u64)| {
            let at = at.saturating_add(behind);
            (at, length.max(least).min(self.length.saturating_sub(at)))
        };
        let ranges = places.into_iter().zip(lengths).map(range).collect();
        Ok(Pieces { tags: Some(tags), ranges })
    }

    /// Bytes of a piece of pixels that are not compressed, 0 of others: decoders read so many, and some writers say
    /// another number.
    fn plain_bytes(&self, directory: &Directory) -> Result<u64, CodecError> {
        let first = |tag, or: u64| -> Result<u64, CodecError> {
            Ok(self.numbers(directory, tag)?.first().copied().unwrap_or(or))
        };
        if first(COMPRESSION, NONE)? != NONE {
            return Ok(0);
        }
        let samples = if first(PLANAR, 1)? == 1 { first(SAMPLES, 1)? } else { 1 };
        let (width, height) = (first(WIDTH, 0)?, first(HEIGHT, 0)?);
        let columns = first(TILE_WIDTH, width)?;
        let rows = first(TILE_HEIGHT, first(ROWS_PER_STRIP, height)?.min(height))?;
        let bits = columns.saturating_mul(samples).saturating_mul(first(BITS, 1)?);
        Ok(bits.div_ceil(8).saturating_mul(rows))
    }

    fn directory(&self, at: u64) -> Result<Directory, CodecError> {
        let (counts, each) = if self.wide { (8, 20) } else { (2, 12) };
        let count = self.number(&self.bytes_at(at, counts)?);
        if count > MAX_ENTRIES {
            let cause = format!("one of its pages has more than {MAX_ENTRIES} entries");
            return Err(CodecError::damaged(self.path, cause));
        }
        let held = self.bytes_at(at + counts, count * each + self.offset_bytes())?;
        let (entries, next) = held.split_at((count * each) as usize);
        let entries = entries.chunks_exact(each as usize).map(|raw| self.entry(raw)).collect();
        Ok(Directory { entries, next: self.number(next) })
    }

    fn entry(&self, raw: &[u8]) -> Entry {
        let (count, held) = raw[4..].split_at(self.offset_bytes() as usize);
        let mut field = [0; 8];
        field[..held.len()].copy_from_slice(held);
        let [tag, kind] = [&raw[..2], &raw[2..4]].map(|part| self.number(part));
        Entry { tag: tag as u32, kind, count: self.number(count), field }
    }

    /// The number that the entry of this tag holds in itself.
    fn held(&self, directory: &Directory, tag: u32) -> Option<u64> {
        let entry = directory.entry(tag)?;
        let each = bytes_of(entry.kind).filter(|each| *each <= self.offset_bytes())?;
        (entry.count == 1).then(|| self.number(&entry.field[..each as usize]))
    }

    /// The whole numbers of the entry of this tag; nothing where there is none.
    fn numbers(&self, directory: &Directory, tag: u32) -> Result<Vec<u64>, CodecError> {
        let Some(entry) = directory.entry(tag) else { return Ok(Vec::new()) };
        let (bytes, each) = (self.value(entry)?.unwrap_or_default(), bytes_of(entry.kind));
        let numbers = bytes.chunks_exact(each.unwrap_or(1) as usize).map(|raw| self.number(raw));
        Ok(numbers.collect())
    }

    /// The value of an entry; `None` where its type is not known.
    fn value(&self, entry: &Entry) -> Result<Option<Vec<u8>>, CodecError> {
        let Some(each) = bytes_of(entry.kind) else { return Ok(None) };
        let length = entry.count.saturating_mul(each);
        if length <= self.offset_bytes() {
            return Ok(Some(entry.field[..length as usize].to_vec()));
        }
        if length > MAX_VALUE_BYTES {
            let cause = "the directory of one of its pages has a value of more than 1 MiB";
            return Err(CodecError::damaged(self.path, cause));
        }
        let at = self.number(&entry.field[..self.offset_bytes() as usize]);
        self.bytes_at(at, length).map(Some)
    }

    /// Bytes of an offset, and of a count.
    fn offset_bytes(&self) -> u64 {
        if self.wide { 8 } else { 4 }
    }

    fn bytes_at(&self, at: u64, length: u64) -> Result<Vec<u8>, CodecError> {
        if at.checked_add(length).is_none_or(|end| end > self.length) {
            return Err(CodecError::damaged(self.path, "its page directory lies beyond its end"));
        }
        let mut bytes = vec![0; length as usize];
        let read = self.file.read_exact_at(&mut bytes, at);
        read.map_err(|e| CodecError::unreadable(self.path, e))?;
        Ok(bytes)
    }

    /// A number in the order of the file.
    fn number(&self, raw: &[u8]) -> u64 {
        let fold = |all: u64, byte: &u8| all << 8 | u64::from(*byte);
        if self.little { raw.iter().rev().fold(0, fold) } else { raw.iter().fold(0, fold) }
    }

    /// The lowest bytes of a number in the order of the file.
    fn raw(&self, number: u64, length: usize) -> Vec<u8> {
        match self.little {
            true => number.to_le_bytes()[..length].to_vec(),
            false => number.to_be_bytes()[8 - length..].to_vec(),
        }
    }

    /// A value of numbers of 32 bits.
    fn longs(&self, numbers: impl Iterator<Item = u64>) -> Value {
        let bytes: Vec<u8> = numbers.flat_map(|number| self.raw(number, 4)).collect();
        Value { kind: 4, count: bytes.len() as u64 / 4, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A directory of short entries at the end of `bytes`; the offset of its link to the next.
    fn add(bytes: &mut Vec<u8>, link: usize, entries: &[(u16, u16)]) -> usize {
        let here = bytes.len() as u32;
        bytes[link..link + 4].copy_from_slice(&here.to_be_bytes());
        bytes.extend((entries.len() as u16).to_be_bytes());
        for (tag, value) in entries {
            bytes.extend(tag.to_be_bytes());
            bytes.extend([0, 3, 0, 0, 0, 1]);
            bytes.extend(value.to_be_bytes());
            bytes.extend([0, 0]);
        }
        bytes.extend([0; 4]);
        bytes.len() - 4
    }

    fn pages(path: &Path, bytes: &[u8]) -> Result<Vec<Page>, String> {
        fs::write(path, bytes).expect("written");
        let tiff = Tiff::of(path).expect("read").expect("a TIFF");
        tiff.pages().map_err(|error| error.to_string())
    }

    #[test]
    fn pages_are_listed_without_thumbnails_and_circles_end() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.tif");
        let mut bytes = b"MM\0*\0\0\0\0".to_vec();
        let link = add(&mut bytes, 4, &[(256, 30), (257, 20)]);
        let link = add(&mut bytes, link, &[(254, 1), (256, 3), (257, 2)]);
        let third = bytes.len() as u64;
        let link = add(&mut bytes, link, &[(256, 30), (257, 20), (259, 7), (274, 4)]);
        let found = pages(&path, &bytes).expect("pages");
        let page = |directory, is| Page { directory, lossy: is, turned: is, ..found[0] };
        assert_eq!(found[0].size, (30, 20));
        assert_eq!(found, [page(8, false), page(third, true)]);
        bytes[link..link + 4].copy_from_slice(&8u32.to_be_bytes());
        assert!(pages(&path, &bytes).is_err_and(|why| why.contains("circle")));
        assert!(pages(&path, &bytes[..40]).is_err() && pages(&path, b"II*\0").is_err());
        // As many entries as the count can say.
        bytes[8..10].fill(0xff);
        bytes.resize(1 << 20, 0);
        assert!(pages(&path, &bytes).is_err_and(|why| why.contains("more than 1024 entries")));
    }

    #[test]
    fn a_page_is_given_alone_however_many_lie_beside_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.tif");
        let (mut bytes, mut link) = (b"MM\0*\0\0\0\0".to_vec(), 4);
        for page in 0..200u8 {
            // A row of 200 bytes, which says of itself that it has none.
            let at = bytes.len() as u16;
            bytes.extend([page; 200]);
            let stored = [(256, 200), (257, 1), (258, 8), (259, 1), (262, 1), (273, at), (279, 0)];
            link = add(&mut bytes, link, &stored);
        }
        fs::write(&path, &bytes).expect("written");
        let tiff = Tiff::of(&path).expect("read").expect("a TIFF");
        let listed = tiff.pages().expect("pages");
        assert_eq!(listed.len(), 200);
        let copied = folder.path().join("b.tif");
        for (number, page) in listed.iter().enumerate() {
            let alone = tiff.page(page).expect("a page");
            assert_eq!(alone.len(), 8 + 2 + 7 * 12 + 4 + 200);
            assert_eq!(alone[alone.len() - 200..], [number as u8; 200]);
            fs::write(&copied, &alone).expect("written");
            let copy = Tiff::of(&copied).expect("read").expect("a TIFF");
            let pages = copy.pages().expect("pages");
            assert_eq!(pages, [Page { directory: 8, ..listed[0] }]);
            assert_eq!(copy.page(&pages[0]).expect("a page"), alone, "it is its own page");
        }
    }
}
