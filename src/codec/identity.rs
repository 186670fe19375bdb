//! The content hash: what a clip is, whatever it is called.
//!
//! * One file up to 256 MiB: SHA-256 of its bytes, so `sha256sum` agrees.
//! * One larger file: SHA-256 of a label, its size and 64 blocks of 1 MiB spread evenly over it,
//!   first and last included. An edit that keeps the size and misses every block is not seen.
//! * A folder of frames: SHA-256 of a label and, for every frame in order, its name, its size and
//!   its bytes; when the frames add up to more than 64 MiB, of each frame's first, middle and
//!   last 4 KiB instead of all bytes. Compressed frames whose pixels differ practically never agree in size and
//!   in all of these. Names count because they decide the order; the folder's own name does not.
//!
//! * A volume along another axis than stored, or a part of volumes over time: SHA-256 of a label,
//!   the hash of the file and a word for what is shown, so that masks of each are kept apart.
//!
//! The labels keep the kinds apart: two clips with one hash were read by the same rule.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::CodecError;
use super::limits::open_regular;
use crate::domain::ContentHash;

const WHOLE_FILE_BYTES: u64 = 256 << 20;
const WHOLE_FOLDER_BYTES: u64 = 64 << 20;
const FILE_BLOCK: u64 = 1 << 20;
const FILE_BLOCKS: u64 = 64;
const FRAME_BLOCK: u64 = 4 << 10;

/// Hash of a single file.
pub(super) fn of_file(path: &Path) -> Result<ContentHash, CodecError> {
    let mut file = open_regular(path)?;
    hash_file(&mut file).map_err(|e| CodecError::unreadable(path, e))
}

fn hash_file(file: &mut File) -> io::Result<ContentHash> {
    let size = file.metadata()?.len();
    let mut hasher = Sha256::new();
    if size <= WHOLE_FILE_BYTES {
        io::copy(file, &mut hasher)?;
    } else {
        hasher.update(b"sonomark sampled file 1\0");
        hasher.update(size.to_le_bytes());
        for i in 0..FILE_BLOCKS {
            let at = (size - FILE_BLOCK) / (FILE_BLOCKS - 1) * i;
            let at = if i + 1 == FILE_BLOCKS { size - FILE_BLOCK } else { at };
            file.seek(SeekFrom::Start(at))?;
            io::copy(&mut file.by_ref().take(FILE_BLOCK), &mut hasher)?;
        }
    }
    Ok(finished(hasher))
}

/// Hash of a part of a clip that is shown as a clip of its own: along another axis, at a moment.
pub(super) fn of_view(whole: &ContentHash, view: &str) -> ContentHash {
    let mut hasher = Sha256::new();
    hasher.update("sonomark view 1\0");
    hasher.update(&whole.0);
    hasher.update(view);
    finished(hasher)
}

/// Hash of a folder of frames, `frames` in order with their sizes in bytes.
pub(super) fn of_frames(frames: &[(PathBuf, u64)]) -> Result<ContentHash, CodecError> {
    let total: u64 = frames.iter().map(|(_, size)| size).sum();
    let whole = total <= WHOLE_FOLDER_BYTES;
    let digests: Vec<[u8; 32]> = frames
        .par_iter()
        .map(|(path, size)| {
            let mut file = open_regular(path)?;
            frame_digest(&mut file, *size, whole).map_err(|e| CodecError::unreadable(path, e))
        })
        .collect::<Result<_, CodecError>>()?;
    let mut hasher = Sha256::new();
    hasher.update(if whole { "sonomark frames 1\0" } else { "sonomark sampled 1\0" });
    for ((path, size), digest) in frames.iter().zip(digests) {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        hasher.update((name.len() as u64).to_le_bytes());
        hasher.update(name);
        hasher.update(size.to_le_bytes());
        hasher.update(digest);
    }
    Ok(finished(hasher))
}

fn frame_digest(file: &mut File, size: u64, whole: bool) -> io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    if whole || size <= 3 * FRAME_BLOCK {
        io::copy(file, &mut hasher)?;
    } else {
        for at in [0, (size - FRAME_BLOCK) / 2, size - FRAME_BLOCK] {
            file.seek(SeekFrom::Start(at))?;
            io::copy(&mut file.by_ref().take(FRAME_BLOCK), &mut hasher)?;
        }
    }
    Ok(hasher.finalize().into())
}

fn finished(hasher: Sha256) -> ContentHash {
    let digest = hasher.finalize();
    ContentHash(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_has_the_hash_that_sha256sum_prints() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("abc");
        fs::write(&path, "abc").expect("written");
        let hash = of_file(&path).expect("hashed");
        assert_eq!(hash.short(), "ba7816bf8f01");
    }

    #[test]
    fn large_files_are_sampled_and_a_changed_end_is_seen() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("sparse");
        let mut file = File::options().create_new(true).read(true).write(true).open(&path);
        let file = file.as_mut().expect("created");
        file.set_len(WHOLE_FILE_BYTES + 12_345).expect("sized");
        let before = hash_file(file).expect("hashed");
        file.seek(SeekFrom::End(-1)).expect("sought");
        io::Write::write_all(file, b"x").expect("written");
        assert_ne!(hash_file(file).expect("hashed"), before);
    }

    #[test]
    fn folders_differ_by_name_order_and_content() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let hash = |files: &[(&str, &str)]| {
            let frames: Vec<(PathBuf, u64)> = files
                .iter()
                .map(|(name, content)| {
                    let path = dir.path().join(name);
                    fs::write(&path, content).expect("written");
                    (path, content.len() as u64)
                })
                .collect();
            of_frames(&frames).expect("hashed")
        };
        let first = hash(&[("1.png", "one"), ("2.png", "two")]);
        assert_eq!(first, hash(&[("1.png", "one"), ("2.png", "two")]));
        assert_ne!(first, hash(&[("1.png", "one"), ("2.png", "twO")]));
        assert_ne!(first, hash(&[("1.png", "one"), ("3.png", "two")]));
        assert_ne!(first, hash(&[("2.png", "two"), ("1.png", "one")]));
    }
}
