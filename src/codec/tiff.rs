//! The pages of a TIFF: where their directories lie, and their sizes.

use std::collections::BTreeSet;

use super::limits::MAX_FRAMES;

const SUBFILE_TYPE: u32 = 254;
const WIDTH: u32 = 256;
const HEIGHT: u32 = 257;
/// Bits of the subfile type: a reduced copy of another page, a mask of one.
const REDUCED_OR_MASK: u32 = 0b101;

/// One page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Where its directory lies, bytes from the start.
    pub(super) directory: u32,
    /// Columns and rows.
    pub(super) size: (u32, u32),
}

/// Whether the bytes begin like a TIFF.
pub(super) fn is_tiff(bytes: &[u8]) -> bool {
    bytes.starts_with(b"II*\0") || bytes.starts_with(b"MM\0*")
}

/// The bytes with the directory of a page in the place of the first: decoders read that page then.
pub(super) fn turned_to(mut bytes: Vec<u8>, directory: u32) -> Vec<u8> {
    let little = bytes.starts_with(b"II");
    if let Some(first) = bytes.get_mut(4..8) {
        let offset = if little { directory.to_le_bytes() } else { directory.to_be_bytes() };
        first.copy_from_slice(&offset);
    }
    bytes
}

/// The pages in order, without reduced copies and masks of others.
///
/// # Errors
/// What contradicts itself.
pub(super) fn pages(bytes: &[u8]) -> Result<Vec<Page>, String> {
    let little = bytes.starts_with(b"II");
    let number = |at: usize, length: usize| -> Option<u32> {
        let raw = bytes.get(at..at.checked_add(length)?)?;
        let fold = |all: u32, byte: &u8| all << 8 | u32::from(*byte);
        Some(if little { raw.iter().rev().fold(0, fold) } else { raw.iter().fold(0, fold) })
    };
    let (mut pages, mut seen) = (Vec::new(), BTreeSet::new());
    let mut directory = number(4, 4).ok_or("its header is cut off")?;
    while directory != 0 {
        if !seen.insert(directory) {
            return Err("its pages follow each other in a circle".to_owned());
        }
        if seen.len() > MAX_FRAMES {
            return Err(format!("it has more than {MAX_FRAMES} pages"));
        }
        let at = directory as usize;
        let read = || -> Option<(Page, u32, u32)> {
            let entries = number(at, 2)? as usize;
            let value = |tag: u32| {
                let entry = (0..entries).map(|i| at + 2 + i * 12);
                let entry = entry.into_iter().find(|&entry| number(entry, 2) == Some(tag))?;
                // A short stands in the first half of the field.
                number(entry + 8, if number(entry + 2, 2)? == 3 { 2 } else { 4 })
            };
            let next = number(at + 2 + entries * 12, 4)?;
            let size = (value(WIDTH).unwrap_or(0), value(HEIGHT).unwrap_or(0));
            Some((Page { directory, size }, value(SUBFILE_TYPE).unwrap_or(0), next))
        };
        let (page, kind, next) = read().ok_or("its page directory lies beyond its end")?;
        if kind & REDUCED_OR_MASK == 0 {
            pages.push(page);
        }
        directory = next;
    }
    if pages.is_empty() { Err("it has no page".to_owned()) } else { Ok(pages) }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn pages_are_listed_without_thumbnails_and_circles_end() {
        let mut bytes = b"MM\0*\0\0\0\0".to_vec();
        let link = add(&mut bytes, 4, &[(256, 30), (257, 20)]);
        let link = add(&mut bytes, link, &[(254, 1), (256, 3), (257, 2)]);
        let third = bytes.len() as u32;
        let link = add(&mut bytes, link, &[(256, 30), (257, 20)]);
        let found = pages(&bytes).expect("pages");
        assert_eq!(found.iter().map(|p| p.directory).collect::<Vec<_>>(), [8, third]);
        assert!(found.iter().all(|page| page.size == (30, 20)));
        assert_eq!(turned_to(bytes.clone(), third)[4..8], third.to_be_bytes());
        bytes[link..link + 4].copy_from_slice(&8u32.to_be_bytes());
        assert!(pages(&bytes).is_err_and(|why| why.contains("circle")));
        assert!(pages(&bytes[..40]).is_err() && pages(b"II*\0").is_err());
    }
}
