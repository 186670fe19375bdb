//! Archives as PyTorch writes them, for a reader of archives that stumbles over some of them.
//!
//! PyTorch always puts the 76 bytes of zip64's end records between the directory and the ordinary end record. The reader
//! (zip 9) takes the last `size` bytes before the end record for the directory where they begin like an entry, and they
//! do whenever the first entry is itself 76 bytes long: a checkpoint saved under a name of 21 letters. What decides
//! whether this file is right: only archives of exactly that form are copied, and the copy holds every byte but those 76.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use tempfile::NamedTempFile;

/// Length of the ordinary end record without a comment.
const END: u64 = 22;
/// Length of zip64's end record and its locator.
const END_64: u64 = 56 + 20;

/// A copy of the archive without zip64's end records; `None` where there are none, or where they are needed.
///
/// # Errors
/// The file cannot be read, or the copy (in the folder of temporary files) not written.
pub(super) fn without_zip64(path: &Path) -> io::Result<Option<NamedTempFile>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let Some(directory_end) = length.checked_sub(END + END_64) else { return Ok(None) };
    file.seek(SeekFrom::Start(directory_end))?;
    let mut tail = Vec::new();
    (&mut file).take(END + END_64).read_to_end(&mut tail)?;
    if !is_redundant(&tail, directory_end) {
        return Ok(None);
    }
    let mut copy = NamedTempFile::new()?;
    file.seek(SeekFrom::Start(0))?;
    io::copy(&mut (&mut file).take(directory_end), &mut copy)?;
    copy.write_all(&tail[END_64 as usize..])?;
    copy.flush()?;
    Ok(Some(copy))
}

/// Whether `tail` is zip64's records and an ordinary end record that says all by itself: a directory that ends where the
/// tail begins.
fn is_redundant(tail: &[u8], directory_end: u64) -> bool {
    let at = |offset: usize, bytes: &[u8]| tail.get(offset..offset + bytes.len()) == Some(bytes);
    let number = |offset: usize| {
        let bytes =
            tail.get(offset..offset + 4).and_then(|b| b.try_into().ok()).unwrap_or([0xff; 4]);
        u64::from(u32::from_le_bytes(bytes))
    };
    let end = END_64 as usize;
    let records = at(0, b"PK\x06\x06") && at(56, b"PK\x06\x07") && at(end, b"PK\x05\x06");
    let (size, start) = (number(end + 12), number(end + 16));
    let full = u64::from(u32::MAX);
    records && size < full && start < full && size + start == directory_end
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two entries, their directory of 9 bytes, and the end records.
    fn archive(size: u32) -> Vec<u8> {
        let mut bytes = b"entry one entry two DIRECTORY".to_vec();
        bytes.extend(b"PK\x06\x06");
        bytes.extend([7; 52]);
        bytes.extend(b"PK\x06\x07");
        bytes.extend([8; 16]);
        bytes.extend(b"PK\x05\x06\0\0\0\0\x02\0\x02\0");
        bytes.extend(size.to_le_bytes());
        bytes.extend(20u32.to_le_bytes());
        bytes.extend([0, 0]);
        bytes
    }

    fn copied(bytes: &[u8]) -> Option<Vec<u8>> {
        let file = NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), bytes).expect("written");
        let copy = without_zip64(file.path()).expect("read and written");
        copy.map(|copy| std::fs::read(copy.path()).expect("read"))
    }

    #[test]
    fn only_redundant_records_are_left_out() {
        let whole = archive(9);
        let expected = [&whole[..29], &whole[29 + 76..]].concat();
        assert_eq!(copied(&whole), Some(expected));
        // A directory that ends elsewhere, a size that only zip64 can say, no records at all, next to nothing.
        for other in [archive(8), archive(u32::MAX), whole[..29].to_vec(), b"PK".to_vec()] {
            assert_eq!(copied(&other), None);
        }
    }
}
