//! Random access to the bytes of a DICOM file, or of a deflated one after inflating.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use flate2::read::DeflateDecoder;

/// Bytes an inflated data set may take; with a frame decoded from it it stays below 1 GiB.
const MAX_INFLATED_BYTES: u64 = 768 << 20;

/// Where the bytes are. Reading needs no position of its own, so threads do not disturb another.
pub(super) enum Input {
    /// In the file, with its length.
    File(File, u64),
    /// In memory.
    Memory(Vec<u8>),
}

impl Input {
    pub(super) fn of_file(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self::File(file, length))
    }

    /// Inflates everything from `start` on.
    pub(super) fn inflated(&self, start: u64) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let tail = Tail { input: self, at: start };
        let mut decoder = DeflateDecoder::new(tail).take(MAX_INFLATED_BYTES + 1);
        decoder.read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_INFLATED_BYTES {
            return Err(io::Error::other("it inflates to more than 768 MiB"));
        }
        Ok(Self::Memory(bytes))
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Self::File(_, length) => *length,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Reads up to `buffer.len()` bytes at `offset`; fewer at the end.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::File(file, _) => file.read_at(buffer, offset),
            Self::Memory(bytes) => {
                let rest = bytes.get(offset as usize..).unwrap_or_default();
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
        }
    }

    /// The `length` bytes at `offset`. Call it only with lengths checked against [`Self::len`].
    pub(super) fn bytes_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let mut done = 0;
        while done < length {
            match self.read_at(&mut bytes[done..], offset + done as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => done += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(bytes)
    }
}

struct Tail<'a> {
    input: &'a Input,
    at: u64,
}

impl Read for Tail<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
