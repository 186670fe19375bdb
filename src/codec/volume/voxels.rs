//! What the headers of NIfTI, NRRD and MetaImage have in common, and the voxels behind them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::read::{MultiGzDecoder, ZlibDecoder};

use crate::codec::CodecError;
use crate::codec::gray::Ramp;
use crate::codec::limits::{MAX_FRAMES, check_size, open_regular};
use crate::domain::Placement;

/// Numbers of a volume that is shown, which are held; and of one plane.
const MAX_VOXELS: u64 = 1 << 30;
/// Numbers of a volume of labels, which are read plane by plane: 87,000 frames of 1024 x 768.
pub(crate) const MAX_LABELS: u64 = 1 << 36;
/// Numbers written as words are read only from files up to this size.
const MAX_TEXT_BYTES: u64 = 64 << 20;
/// Components of a voxel: layers of a segmentation.
const MAX_COMPONENTS: usize = 256;

/// How a stored number is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

impl Number {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// The number whose lowest bytes are `bits`.
    fn value(self, bits: u64) -> f64 {
        match self {
            Self::I8 => f64::from(bits as i8),
            Self::I16 => f64::from(bits as i16),
            Self::I32 => f64::from(bits as i32),
            Self::I64 => bits as i64 as f64,
            Self::F32 => f64::from(f32::from_bits(bits as u32)),
            Self::F64 => f64::from_bits(bits),
            Self::U8 | Self::U16 | Self::U32 | Self::U64 => bits as f64,
        }
    }
}

/// How the numbers are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Raw,
    Gzip,
    Zlib,
    /// Decimal numbers with white space between.
    Words,
}

/// Where the numbers are.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) file: PathBuf,
    /// Bytes before them as the file is, and after unpacking.
    pub(super) skip: u64,
    pub(super) skip_unpacked: u64,
    pub(super) packing: Packing,
}

/// A volume's header: everything but the numbers.
#[derive(Clone, Debug)]
pub(super) struct Voxels {
    /// "NIfTI", "NRRD", "MetaImage".
    pub(super) what: &'static str,
    /// Along the stored axes, fastest first.
    pub(super) size: [usize; 3],
    /// Such volumes after each other: moments.
    pub(super) times: usize,
    /// Numbers at every voxel, before the first axis.
    pub(super) components: usize,
    pub(super) number: Number,
    pub(super) big: bool,
    /// Stored number times the first plus the second is the value.
    pub(super) scale: (f64, f64),
    /// Range that the header asks to be shown.
    pub(super) display: Option<Ramp>,
    pub(super) spacing_mm: Option<[f64; 3]>,
    pub(super) placement: Option<Placement>,
    /// Set when the third axis is time, or there are several moments: milliseconds from one to the
    /// next, 0 where unknown.
    pub(super) time_ms: Option<f64>,
    pub(super) place: Place,
    /// What the header says besides, by key.
    pub(super) texts: BTreeMap<String, String>,
}

impl Voxels {
    /// Checks the declared size before anything is allocated for it: of what is read plane by plane.
    pub(super) fn checked(mut self, path: &Path) -> Result<Self, CodecError> {
        if self.size[2] == 1 && self.times > 1 {
            // One frame over time: its third axis is time.
            self.size[2] = std::mem::replace(&mut self.times, 1);
            self.placement = None;
        }
        let [x, y, z] = self.size;
        let side = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        if !(1..=MAX_COMPONENTS).contains(&self.components) {
            let cause = format!("its voxels have {} components", self.components);
            return Err(CodecError::unsupported(path, cause, "save it as a volume of numbers"));
        }
        check_size(path, side(x), side(y), z.min(MAX_FRAMES + 1))?;
        check_size(path, 1, 1, self.times.min(MAX_FRAMES + 1))?;
        self.at_most(path, &[x, y], MAX_VOXELS)?;
        self.at_most(path, &[x, y, z, self.times], MAX_LABELS)?;
        if self.placement.is_some_and(|placement| !placement.is_sound()) {
            return Ok(Self { placement: None, ..self });
        }
        Ok(self)
    }

    /// Checks the size of a volume that is held as a whole.
    pub(super) fn fits_memory(&self, path: &Path) -> Result<(), CodecError> {
        let [x, y, z] = self.size;
        self.at_most(path, &[x, y, z, self.times], MAX_VOXELS)
    }

    fn at_most(&self, path: &Path, sides: &[usize], most: u64) -> Result<(), CodecError> {
        let voxels = sides.iter().try_fold(self.components as u64, |all, &n| {
            all.checked_mul(n as u64).filter(|&all| all <= most)
        });
        let cause = || format!("it has more than {most} voxels");
        voxels.map(|_| ()).ok_or_else(|| CodecError::too_large(path, cause()))
    }

    /// Bytes of all numbers, unpacked.
    pub(super) fn bytes(&self) -> u64 {
        let count: usize = self.size.iter().product();
        (count * self.times * self.components * self.number.bytes()) as u64
    }

    /// The unpacked bytes from the first number on.
    pub(super) fn reader(&self) -> Result<Box<dyn Read>, CodecError> {
        let path = &self.place.file;
        let mut file = open_regular(path)?;
        file.seek(SeekFrom::Start(self.place.skip)).map_err(|e| CodecError::unreadable(path, e))?;
        let file = BufReader::new(file);
        let mut reader: Box<dyn Read> = match self.place.packing {
            Packing::Raw => Box::new(file),
            Packing::Gzip => Box::new(BufReader::new(MultiGzDecoder::new(file))),
            Packing::Zlib => Box::new(BufReader::new(ZlibDecoder::new(file))),
            Packing::Words => Box::new(io::Cursor::new(self.words(file)?)),
        };
        let skip = self.place.skip_unpacked;
        let skipped = io::copy(&mut reader.by_ref().take(skip), &mut io::sink())
            .map_err(|e| CodecError::damaged(path, e))?;
        if skipped < skip {
            return Err(CodecError::damaged(path, "it ends before its voxels"));
        }
        Ok(reader)
    }

    /// Numbers written as words, as the bytes of 64-bit floating point numbers.
    fn words(&self, file: BufReader<File>) -> Result<Vec<u8>, CodecError> {
        let path = &self.place.file;
        let mut text = String::new();
        let damaged = |cause: String| CodecError::damaged(path, cause);
        file.take(MAX_TEXT_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(|e| damaged(e.to_string()))?;
        if text.len() as u64 > MAX_TEXT_BYTES {
            return Err(CodecError::too_large(path, "its numbers as text take more than 64 MiB"));
        }
        let numbers = text.split_whitespace().map(str::parse::<f64>);
        let numbers: Vec<f64> = numbers
            .collect::<Result<_, _>>()
            .map_err(|_| damaged("a voxel is no number".to_owned()))?;
        Ok(numbers.iter().flat_map(|v| v.to_ne_bytes()).collect())
    }

    /// Calls `act` with the values of every row of the first axis, components before it: its plane of the first two axes
    /// (planes of all moments count on), its number in that plane, and the values. Row by row, since a plane may have
    /// hundreds of millions of them.
    pub(super) fn each_row(
        &self,
        mut act: impl FnMut(usize, usize, &[f64]),
    ) -> Result<(), CodecError> {
        let path = &self.place.file;
        let mut reader = self.reader()?;
        let [x, y, z] = self.size;
        let mut row = vec![0; x * self.components * self.stored().bytes()];
        for at in 0..y * z * self.times {
            reader.read_exact(&mut row).map_err(|e| match e.kind() {
                io::ErrorKind::UnexpectedEof => {
                    CodecError::damaged(path, "it has fewer voxels than it declares")
                }
                _ => CodecError::damaged(path, e),
            })?;
            act(at / y, at % y, &self.values(&row));
        }
        ends_well(path, &mut reader)
    }

    /// As [`Self::each_row`] with the numbers of a whole plane, made of its values by `made_of`.
    pub(super) fn each_plane<T>(
        &self,
        made_of: impl Fn(f64) -> T,
        mut act: impl FnMut(usize, &[T]),
    ) -> Result<(), CodecError> {
        let mut made = Vec::new();
        self.each_row(|plane, row, values| {
            made.extend(values.iter().map(|&value| made_of(value)));
            if row + 1 == self.size[1] {
                act(plane, &made);
                made.clear();
            }
        })
    }

    /// How the unpacked bytes are to be read.
    fn stored(&self) -> Number {
        if self.place.packing == Packing::Words { Number::F64 } else { self.number }
    }

    fn values(&self, bytes: &[u8]) -> Vec<f64> {
        let number = self.stored();
        let words = self.place.packing == Packing::Words;
        let big = if words { cfg!(target_endian = "big") } else { self.big };
        // Any number as the lowest bytes of eight, little endian.
        let raw = |bytes: &[u8]| {
            let fold = |all: u64, b: &u8| (all << 8) | u64::from(*b);
            if big { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) }
        };
        let (slope, intercept) = self.scale;
        let chunks = bytes.chunks_exact(number.bytes());
        chunks.map(|b| number.value(raw(b)) * slope + intercept).collect()
    }
}

/// Reads a little further: packed data has its check sum only at the end.
pub(super) fn ends_well(path: &Path, reader: &mut dyn Read) -> Result<(), CodecError> {
    let mut rest = reader.take(1 << 16);
    io::copy(&mut rest, &mut io::sink()).map(|_| ()).map_err(|e| CodecError::damaged(path, e))
}

/// The file that a header names for its voxels: beside the header, never anywhere else.
pub(super) fn beside(path: &Path, name: &str) -> Result<PathBuf, CodecError> {
    let plain = !name.is_empty() && Path::new(name).file_name().is_some_and(|n| n == name);
    if !plain {
        let cause = "its header names a file of voxels in another folder";
        return Err(CodecError::unsupported(path, cause, "put both files into one folder"));
    }
    Ok(path.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voxels(number: Number, big: bool, scale: (f64, f64)) -> Voxels {
        Voxels {
            what: "test",
            size: [1, 1, 1],
            times: 1,
            components: 1,
            number,
            big,
            scale,
            display: None,
            spacing_mm: None,
            placement: None,
            time_ms: None,
            place: Place { file: PathBuf::new(), skip: 0, skip_unpacked: 0, packing: Packing::Raw },
            texts: BTreeMap::new(),
        }
    }

    #[test]
    fn voxels_of_every_type_become_numbers() {
        let little = |number| voxels(number, false, (2.0, 1.0));
        assert_eq!(little(Number::I16).values(&[0xfe, 0xff, 3, 0]), [-3.0, 7.0]);
        assert_eq!(little(Number::F32).values(&1.5f32.to_le_bytes()), [4.0]);
        let big = voxels(Number::F64, true, (2.0, 1.0));
        assert_eq!(big.values(&2.5f64.to_be_bytes()), [6.0]);
        assert_eq!(voxels(Number::U16, true, (1.0, 0.0)).values(&[1, 0]), [256.0]);
    }

    #[test]
    fn voxels_lie_beside_their_header() {
        let header = Path::new("/data/a.nhdr");
        assert_eq!(beside(header, "a.raw").expect("plain"), Path::new("/data/a.raw"));
        for name in ["", "..", "../a.raw", "/etc/passwd", "x/a.raw"] {
            assert!(beside(header, name).is_err(), "{name}");
        }
    }
}
