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
        time_ms: (axes.time.is_some() || axes.plays).then_some(0.0),
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
    /// The slices are moments: a plane over time.
    plays: bool,
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
    let is_time = |axis: &usize| kinds.get(*axis).is_some_and(|k| k.eq_ignore_ascii_case("time"));
    if spatial.iter().rev().skip(1).any(is_time) {
        let cause = "an axis before its last one is time";
        return Err(CodecError::unsupported(path, cause, "save it with time as its last axis"));
    }
    if spatial.len() == 4 && time.is_none() {
        time = spatial.pop();
    }
    let plays = spatial.last().is_some_and(is_time);
    let fits = (2..=3).contains(&spatial.len()) && matches!(lists[..], [] | [0]);
    if !fits {
        let cause = format!("its {} axes are not columns, rows and slices", sizes.len());
        return Err(CodecError::unsupported(path, cause, "save it as single volumes first"));
    }
    Ok(Axes { components: lists.first().copied(), spatial, time, plays })
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

/// "(1,0,0) none (0,1,0)": one entry for every axis, with as many numbers as space has dimensions.
fn vectors(text: &str) -> Vec<Option<Vec<f64>>> {
    let numbers = |word: &str| -> Option<Vec<f64>> {
        let inside = word.strip_prefix('(')?.strip_suffix(')')?;
        inside.split(',').map(|part| part.trim().parse().ok()).collect()
    };
    text.split_whitespace().map(numbers).collect()
}

/// Millimetres in each of the units of a field; no number where one is no length that is known.
fn millimetres(header: &Header, field: &str) -> Vec<f64> {
    let text = header.fields.get(field).map_or("", String::as_str);
    let unit = |word: &str| match word.trim() {
        "" | "mm" | "millimeter" | "millimetre" => 1.0,
        "cm" | "centimeter" | "centimetre" => 10.0,
        "m" | "meter" | "metre" => 1e3,
        "um" | "\u{b5}m" | "\u{3bc}m" | "micron" | "micrometer" | "micrometre" => 1e-3,
        _ => f64::NAN,
    };
    match text.contains('"') {
        true => text.split('"').skip(1).step_by(2).map(unit).collect(),
        false => text.split_whitespace().map(unit).collect(),
    }
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
    let units = millimetres(header, "space units");
    let in_mm = |v: Vec<f64>| -> Option<[f64; 3]> {
        let [x, y, z] = v.try_into().ok()?;
        let of = |i: usize, v: f64| v * flips[i] * units.get(i).copied().unwrap_or(1.0);
        Some([of(0, x), of(1, y), of(2, z)])
    };
    let all = vectors(header.fields.get("space directions")?);
    let step = |i: usize| in_mm(all.get(*axes.spatial.get(i)?)?.clone()?);
    let origin = header.fields.get("space origin").map(|text| vectors(text));
    let origin = origin.and_then(|v| in_mm(v.into_iter().next()??)).unwrap_or_default();
    let (a, b) = (step(0)?, step(1)?);
    let c = match axes.spatial.len() {
        3 => step(2)?,
        _ => return None,
    };
    let placement = Placement { origin_mm: origin, steps_mm: [a, b, c] };
    placement.is_sound().then_some(placement)
}

/// Of the placement; else the lengths of the directions, in whatever space they are; else as the
/// field says. A plane has 1 mm between its slices, and so have moments.
fn spacing(header: &Header, axes: &Axes) -> Option<[f64; 3]> {
    if let Some(placement) = placement(header, axes) {
        return Some(placement.spacing_mm());
    }
    let told = lengths(header).or_else(|| spacings(header))?;
    let of = |i: usize| match axes.spatial.get(i) {
        Some(_) if i == 2 && axes.plays => Some(1.0),
        Some(&axis) => told.get(axis).copied(),
        None => Some(1.0),
    };
    let mm = [of(0)?.abs(), of(1)?.abs(), of(2)?.abs()];
    mm.iter().all(|v| v.is_finite() && *v > 0.0).then_some(mm)
}

/// Lengths of the directions of all axes, mm; those of axes without one are no numbers.
fn lengths(header: &Header) -> Option<Vec<f64>> {
    let units = millimetres(header, "space units");
    let length = |v: Vec<f64>| -> f64 {
        let part = |(i, v): (usize, f64)| (v * units.get(i).copied().unwrap_or(1.0)).powi(2);
        v.into_iter().enumerate().filter(|(_, v)| *v != 0.0).map(part).sum::<f64>().sqrt()
    };
    let all = vectors(header.fields.get("space directions")?).into_iter();
    Some(all.map(|v| v.map_or(f64::NAN, length)).collect())
}

/// Distances along all axes, mm.
fn spacings(header: &Header) -> Option<Vec<f64>> {
    let units = millimetres(header, "units");
    let words = header.fields.get("spacings")?.split_whitespace().enumerate();
    let of = |(i, word): (usize, &str)| {
        word.parse().unwrap_or(f64::NAN) * units.get(i).copied().unwrap_or(1.0)
    };
    Some(words.map(of).collect())
}
