//! MetaImage: `.mha`, or `.mhd` with its voxels beside it; raw or zlib. Sequences of tracked ultrasound, as PLUS writes
//! them, are images over time.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::voxels::{Number, Packing, Place, Voxels, beside};
use crate::codec::CodecError;
use crate::codec::limits::open_regular;
use crate::domain::Placement;

/// PLUS says a kilobyte or two of every image.
const MAX_HEADER_BYTES: u64 = 32 << 20;
/// How the fields begin that say something of one image of a sequence, and how that of its time ends.
const OF_IMAGE: &str = "Seq_Frame";
const TIME: &str = "_Timestamp";

pub(super) fn read(path: &Path) -> Result<Voxels, CodecError> {
    let (fields, header_bytes) = header(path)?;
    let damaged = |cause: &str| CodecError::damaged(path, cause);
    let field = |name: &str| fields.get(name).map(String::as_str);
    let numbers = |name: &str| -> Vec<f64> {
        let words = field(name).unwrap_or_default().split_whitespace();
        words.map_while(|word| word.parse().ok()).filter(|v: &f64| v.is_finite()).collect()
    };
    let yes = |name: &str| field(name).is_some_and(|v| v.eq_ignore_ascii_case("true"));
    let sizes: Vec<usize> = numbers("DimSize").iter().map(|&n| n as usize).collect();
    let rank: usize = field("NDims").and_then(|n| n.parse().ok()).unwrap_or(0);
    if rank != sizes.len() || rank < 2 {
        return Err(damaged("its DimSize does not match its NDims"));
    }
    if rank > 4 && sizes[4..].iter().any(|&n| n != 1) {
        let cause = "it has more dimensions than space and time";
        let advice = "split it into single volumes first";
        return Err(CodecError::unsupported(path, cause, advice));
    }
    let times = sizes.get(3).copied().unwrap_or(1);
    let plays = rank == 3 && is_sequence(&fields);
    let named = field("ElementDataFile").unwrap_or_default();
    let (file, start) = match named {
        "LOCAL" | "Local" | "local" => (path.to_owned(), header_bytes),
        "LIST" => {
            let cause = "its slices are files of their own";
            return Err(CodecError::unsupported(path, cause, "save it as one volume"));
        }
        name => (beside(path, name)?, 0),
    };
    let packing = if yes("CompressedData") { Packing::Zlib } else { Packing::Raw };
    if field("BinaryData").is_some_and(|v| v.eq_ignore_ascii_case("false")) {
        return Err(CodecError::unsupported(path, "its voxels are text", "save it as binary"));
    }
    let mut voxels = Voxels {
        what: "MetaImage",
        size: [sizes[0], sizes[1], sizes.get(2).copied().unwrap_or(1)],
        times,
        components: field("ElementNumberOfChannels").map_or(Ok(1), str::parse).unwrap_or(0),
        number: number_of(path, field("ElementType").unwrap_or_default())?,
        big: yes("BinaryDataByteOrderMSB") || yes("ElementByteOrderMSB"),
        scale: (1.0, 0.0),
        display: None,
        spacing_mm: match plays {
            true => spacing_of_sequence(&numbers("ElementSpacing")),
            false => spacing(&numbers("ElementSpacing"), rank),
        },
        placement: None,
        time_ms: (times > 1 || plays).then(|| step_ms(&fields)),
        place: Place { file, skip: start, skip_unpacked: 0, packing },
        texts: BTreeMap::new(),
    }
    .checked(path)?;
    match field("HeaderSize").map_or(Ok(0), str::parse::<i64>) {
        Ok(0) => {}
        // The voxels are the end of their file.
        Ok(-1) if packing == Packing::Raw => {
            let length = open_regular(&voxels.place.file)?
                .metadata()
                .map_err(|e| CodecError::unreadable(path, e))?
                .len();
            let start = length.checked_sub(voxels.bytes());
            voxels.place.skip = start.ok_or_else(|| damaged("it is too short for its voxels"))?;
        }
        Ok(bytes) if bytes > 0 => voxels.place.skip += bytes as u64,
        _ => return Err(damaged("its HeaderSize is impossible")),
    }
    let turn = ["TransformMatrix", "Rotation", "Orientation"].map(numbers);
    let origin = ["Offset", "Position", "Origin"].map(numbers);
    let spacing = voxels.spacing_mm;
    // One frame over time has no third step in space.
    if voxels.times == times && !plays {
        voxels.placement = placement(spacing, first(turn), first(origin));
    }
    Ok(voxels)
}

/// Whether its third axis counts images instead of slices.
fn is_sequence(fields: &BTreeMap<String, String>) -> bool {
    let kinds = fields.get("Kinds").map_or("", String::as_str);
    let third = kinds.split_whitespace().nth(2).unwrap_or_default();
    let told = ["list", "time"].iter().any(|kind| third.eq_ignore_ascii_case(kind));
    told || fields.keys().any(|name| name.starts_with(OF_IMAGE))
}

/// Mean time from one image of a sequence to the next, ms; 0 where their times are not told, in seconds.
fn step_ms(fields: &BTreeMap<String, String>) -> f64 {
    let timed =
        fields.iter().filter(|(name, _)| name.starts_with(OF_IMAGE) && name.ends_with(TIME));
    let mut times: Vec<f64> = timed.filter_map(|(_, text)| text.parse().ok()).collect();
    times.sort_by(f64::total_cmp);
    let [first, .., last] = times[..] else { return 0.0 };
    let step = 1000.0 * (last - first) / (times.len() - 1) as f64;
    if step.is_finite() { step } else { 0.0 }
}

/// PLUS writes 1 where sizes stand in the transforms of its images, which are not read.
fn spacing_of_sequence(numbers: &[f64]) -> Option<[f64; 3]> {
    spacing(numbers, 2).filter(|mm| mm[..2] != [1.0; 2])
}

fn first(lists: [Vec<f64>; 3]) -> Vec<f64> {
    lists.into_iter().find(|list| !list.is_empty()).unwrap_or_default()
}

fn header(path: &Path) -> Result<(BTreeMap<String, String>, u64), CodecError> {
    let mut reader = BufReader::new(open_regular(path)?).take(MAX_HEADER_BYTES);
    let (mut fields, mut bytes) = (BTreeMap::new(), 0);
    loop {
        let mut line = Vec::new();
        let read = reader.read_until(b'\n', &mut line);
        let read = read.map_err(|e| CodecError::unreadable(path, e))?;
        bytes += read as u64;
        let line = String::from_utf8_lossy(&line);
        let Some((name, value)) = line.split_once('=').filter(|_| read > 0) else {
            return Err(CodecError::damaged(path, "its header names no voxels"));
        };
        let name = name.trim().to_owned();
        // It is the last line: the voxels begin right after it.
        let last = name == "ElementDataFile";
        fields.insert(name, value.trim().to_owned());
        if last {
            return Ok((fields, bytes));
        }
    }
}

fn number_of(path: &Path, name: &str) -> Result<Number, CodecError> {
    Ok(match name {
        "MET_UCHAR" => Number::U8,
        "MET_CHAR" => Number::I8,
        "MET_USHORT" => Number::U16,
        "MET_SHORT" => Number::I16,
        "MET_UINT" | "MET_ULONG" => Number::U32,
        "MET_INT" | "MET_LONG" => Number::I32,
        "MET_ULONG_LONG" => Number::U64,
        "MET_LONG_LONG" => Number::I64,
        "MET_FLOAT" => Number::F32,
        "MET_DOUBLE" => Number::F64,
        _ => {
            let advice = "convert it to integers or floating point numbers";
            return Err(CodecError::unsupported(path, "its type of voxel is unknown", advice));
        }
    })
}

fn spacing(numbers: &[f64], rank: usize) -> Option<[f64; 3]> {
    let of = |i: usize| if i < rank { numbers.get(i).copied() } else { Some(1.0) };
    let mm = [of(0)?.abs(), of(1)?.abs(), of(2)?.abs()];
    mm.iter().all(|v| *v > 0.0).then_some(mm)
}

/// MetaIO keeps the direction of the first axis in the first three numbers, and so on; its
/// patient axes are those of ITK.
fn placement(
    spacing: Option<[f64; 3]>,
    mut turn: Vec<f64>,
    mut origin: Vec<f64>,
) -> Option<Placement> {
    // With time: four rows of four, of which the last of each is that of time.
    if (turn.len(), origin.len()) == (16, 4) {
        turn = turn.chunks(4).take(3).flat_map(|row| row[..3].to_vec()).collect();
        origin.truncate(3);
    }
    let turn: [f64; 9] = turn.try_into().ok()?;
    let (mm, origin_mm) = (spacing?, origin.try_into().ok()?);
    let steps_mm = [0, 1, 2].map(|axis| [0, 1, 2].map(|i| turn[axis * 3 + i] * mm[axis]));
    let placement = Placement { origin_mm, steps_mm };
    placement.is_sound().then_some(placement)
}
