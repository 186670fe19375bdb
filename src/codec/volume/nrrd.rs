//! NRRD: raw, gzip or words, in one file or with its voxels beside it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::voxels::{Number, Packing, Place, Voxels, beside};
use crate::codec::CodecError;
use crate::codec::limits::open_regular;
use crate::domain::Placement;

const MAX_HEADER_BYTES: u64 = 4 << 20;

/// Fields (lower case) and key/value pairs of a header, and the bytes that it takes.
struct Header {
    fields: BTreeMap<String, String>,
    texts: BTreeMap<String, String>,
    bytes: u64,
}

pub(super) fn read(path: &Path) -> Result<Voxels, CodecError> {
    let header = header(path)?;
    let damaged = |cause: &str| CodecError::damaged(path, cause);
    let field = |name: &str| header.fields.get(name).map(String::as_str);
    let sizes: Vec<usize> = field("sizes")
        .unwrap_or_default()
        .split_whitespace()
        .map_while(|word| word.parse().ok())
        .collect();
    if field("dimension").and_then(|d| d.parse().ok()) != Some(sizes.len()) {
        return Err(damaged("its sizes do not match its dimension"));
    }
    let axes = axes(path, &header, &sizes)?;
    let number = number_of(path, field("type").unwrap_or_default())?;
    let place = place(path, &header)?;
    let size = [0, 1, 2].map(|i| axes.spatial.get(i).map_or(1, |&axis| sizes[axis]));
    Voxels {
        what: "NRRD",
        size,
        times: axes.time.map_or(1, |axis| sizes[axis]),
        components: axes.components.map_or(1, |axis| sizes[axis]),
        number,
        big: field("endian") == Some("big"),
        scale: (1.0, 0.0),
        display: None,
        spacing_mm: spacing(&header, &axes),
        placement: placement(&header, &axes),
        time_ms: axes.time.map(|_| 0.0),
        place,
        texts: header.texts,
    }
    .checked(path)
}

fn header(path: &Path) -> Result<Header, CodecError> {
    let mut reader = BufReader::new(open_regular(path)?).take(MAX_HEADER_BYTES);
    let mut header = Header { fields: BTreeMap::new(), texts: BTreeMap::new(), bytes: 0 };
    loop {
        let mut line = Vec::new();
        let read = reader.read_until(b'\n', &mut line);
        let read = read.map_err(|e| CodecError::unreadable(path, e))?;
        if read == 0 && header.fields.contains_key("data file") {
            return Ok(header);
        }
        if line.last() != Some(&b'\n') && !header.fields.contains_key("data file") {
            return Err(CodecError::damaged(path, "its header has no end"));
        }
        let at_start = header.bytes == 0;
        header.bytes += read as u64;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches(['\r', '\n']);
        if line.is_empty() {
            return Ok(header);
        }
        if at_start || line.starts_with('#') {
            continue;
        }
        // A field's name never holds a colon; keys may hold ": ".
        if let Some((key, value)) = line.split_once(":=") {
            header.texts.insert(key.to_owned(), unescaped(value));
        } else if let Some((name, value)) = line.split_once(": ") {
            let name = name.to_ascii_lowercase();
            let name = if name == "datafile" { "data file".to_owned() } else { name };
            header.fields.insert(name, value.trim().to_owned());
        }
    }
}

/// Values of keys write a line feed as `\n` and a backslash as `\\`.
fn unescaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            (c, false) => out.push(c),
        }
    }
    out
}

/// Which stored axis holds the components, which are columns, rows and slices, and which is time.
struct Axes {
    components: Option<usize>,
    spatial: Vec<usize>,
    time: Option<usize>,
}

fn axes(path: &Path, header: &Header, sizes: &[usize]) -> Result<Axes, CodecError> {
    let kinds: Vec<&str> =
        header.fields.get("kinds").map(|k| k.split_whitespace().collect()).unwrap_or_default();
    let is_list = |axis: usize| {
        kinds.get(axis).is_some_and(|kind| {
            let kind = kind.to_ascii_lowercase();
            !matches!(kind.as_str(), "domain" | "space" | "time" | "???" | "none")
        })
    };
    let last = sizes.len().saturating_sub(1);
    let mut lists: Vec<usize> = (0..sizes.len()).filter(|&axis| is_list(axis)).collect();
    // A list after columns, rows and slices is one of volumes.
    let listed = kinds.get(last).is_some_and(|kind| kind.eq_ignore_ascii_case("list"));
    let mut time = lists.pop_if(|axis| listed && last == 3 && *axis == last);
    // Axes of one element carry nothing; what is left must be two or three.
    let mut spatial: Vec<usize> = (0..sizes.len())
        .filter(|&axis| !is_list(axis) && (axis < 3 + lists.len() || sizes[axis] != 1))
        .collect();
    if spatial.len() == 4 && time.is_none() {
        time = spatial.pop();
    }
    let fits = (2..=3).contains(&spatial.len()) && matches!(lists[..], [] | [0]);
    if !fits {
        let cause = format!("its {} axes are not columns, rows and slices", sizes.len());
        return Err(CodecError::unsupported(path, cause, "save it as single volumes first"));
    }
    Ok(Axes { components: lists.first().copied(), spatial, time })
}

fn number_of(path: &Path, name: &str) -> Result<Number, CodecError> {
    Ok(match name {
        "uchar" | "unsigned char" | "uint8" | "uint8_t" => Number::U8,
        "signed char" | "int8" | "int8_t" => Number::I8,
        "ushort" | "unsigned short" | "unsigned short int" | "uint16" | "uint16_t" => Number::U16,
        "short" | "short int" | "signed short" | "signed short int" | "int16" | "int16_t" => {
            Number::I16
        }
        "uint" | "unsigned int" | "uint32" | "uint32_t" => Number::U32,
        "int" | "signed int" | "int32" | "int32_t" => Number::I32,
        "ulonglong" | "unsigned long long" | "unsigned long long int" | "uint64" | "uint64_t" => {
            Number::U64
        }
        "longlong" | "long long" | "long long int" | "signed long long" | "int64" | "int64_t" => {
            Number::I64
        }
        "float" => Number::F32,
        "double" => Number::F64,
        _ => {
            let advice = "convert it to integers or floating point numbers";
            return Err(CodecError::unsupported(path, "its type of voxel is unknown", advice));
        }
    })
}

fn place(path: &Path, header: &Header) -> Result<Place, CodecError> {
    let field = |name: &str| header.fields.get(name).map(String::as_str);
    let packing = match field("encoding").unwrap_or_default() {
        "raw" => Packing::Raw,
        "gz" | "gzip" => Packing::Gzip,
        "txt" | "text" | "ascii" => Packing::Words,
        other => {
            let cause = format!("its voxels are encoded as \"{other}\"");
            return Err(CodecError::unsupported(path, cause, "save it raw or with gzip"));
        }
    };
    let skip = |name: &str| field(name).map_or(Ok(0i64), str::parse).unwrap_or(i64::MIN);
    let (lines, bytes) = (skip("line skip"), skip("byte skip"));
    if lines != 0 || bytes < 0 {
        let cause = "its voxels begin after lines that are to be skipped";
        return Err(CodecError::unsupported(path, cause, "save it without them"));
    }
    let bytes = bytes as u64;
    let (file, start) = match field("data file") {
        Some(name) => (beside(path, name)?, 0),
        None => (path.to_owned(), header.bytes),
    };
    let raw = packing == Packing::Raw;
    let (skip, skip_unpacked) = if raw { (start + bytes, 0) } else { (start, bytes) };
    Ok(Place { file, skip, skip_unpacked, packing })
}

/// "(1,0,0) none (0,1,0)": one entry for every axis.
fn vectors(text: &str) -> Vec<Option<[f64; 3]>> {
    text.split_whitespace()
        .map(|word| {
            let inside = word.strip_prefix('(')?.strip_suffix(')')?;
            let numbers: Vec<f64> =
                inside.split(',').map_while(|part| part.trim().parse().ok()).collect();
            numbers.try_into().ok()
        })
        .collect()
}

/// Directions in LPS, for headers that say in which space they are.
fn placement(header: &Header, axes: &Axes) -> Option<Placement> {
    let space = header.fields.get("space")?.to_ascii_lowercase();
    let flips = match space.as_str() {
        "left-posterior-superior" | "lps" => [1.0, 1.0, 1.0],
        "right-anterior-superior" | "ras" => [-1.0, -1.0, 1.0],
        "left-anterior-superior" | "las" => [1.0, -1.0, 1.0],
        _ => return None,
    };
    let flip = |v: [f64; 3]| [0, 1, 2].map(|i| v[i] * flips[i]);
    let all = vectors(header.fields.get("space directions")?);
    let step = |i: usize| all.get(*axes.spatial.get(i)?).copied().flatten().map(flip);
    let origin = header.fields.get("space origin").map(|text| vectors(text));
    let origin = origin.and_then(|v| v.first().copied().flatten()).unwrap_or_default();
    let (a, b) = (step(0)?, step(1)?);
    let c = match axes.spatial.len() {
        3 => step(2)?,
        _ => return None,
    };
    let placement = Placement { origin_mm: flip(origin), steps_mm: [a, b, c] };
    placement.is_sound().then_some(placement)
}

fn spacing(header: &Header, axes: &Axes) -> Option<[f64; 3]> {
    if let Some(placement) = placement(header, axes) {
        return Some(placement.spacing_mm());
    }
    let text = header.fields.get("spacings")?;
    let all: Vec<f64> = text.split_whitespace().map(|w| w.parse().unwrap_or(f64::NAN)).collect();
    let of = |i: usize| axes.spatial.get(i).map_or(Some(1.0), |&axis| all.get(axis).copied());
    let mm = [of(0)?.abs(), of(1)?.abs(), of(2)?.abs()];
    mm.iter().all(|v| v.is_finite() && *v > 0.0).then_some(mm)
}
