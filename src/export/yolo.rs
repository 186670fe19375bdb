//! YOLO segmentation: `labels/00003.txt`, a line for every part, and `data.yaml`.
//!
//! A line is the number of the class (tracks of one label are one class) and the corners of a
//! polygon as shares of width and height. Corners are centres of the outermost pixels, which is
//! where Ultralytics puts them and from which its reader colours exactly the pixels of the mask;
//! holes are joined to their outline by a line walked there and back. With the clip at hand the
//! frames are written as `images/00003.png`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::atomic::ensure_folder;
use super::content::{Content, Gather, expected};
use super::frames::Frames;
use super::identity::clip_in;
use super::raster::{Rule, fill};
use super::read::{ReadError, Target, list, list_ending, stem};
use super::{ExportError, ExportFormat, Job, Report, overlay, trace};
use crate::codec;
use crate::domain::{Bitmap, FrameIndex};

/// Bytes of `data.yaml`, at most.
const MAX_YAML_BYTES: usize = 1 << 20;

pub(super) fn write(job: &Job, folder: &Path) -> Result<Report, ExportError> {
    let info = job.info;
    let mut report = Report::default();
    let classes = expected(job.annotation, ExportFormat::Yolo.row().keeps).structures;
    let labels = folder.join("labels");
    ensure_folder(&labels)?;
    // A frame on which everything was found absent is a picture of background.
    let tracks = job.annotation.tracks.values();
    let mut lines: BTreeMap<FrameIndex, String> =
        tracks.flat_map(|t| t.masks.keys()).map(|&frame| (frame, String::new())).collect();
    for (class, structure) in classes.iter().enumerate() {
        for (&frame, mask) in &structure.masks {
            job.go_on(folder)?;
            let text = lines.entry(frame).or_default();
            for polygon in trace::centres(&mask.to_bitmap()) {
                put_line(text, class, &polygon, (info.width_px, info.height_px))
                    .map_err(|e| ExportError::encode(folder, e))?;
            }
            report.masks += 1;
        }
    }
    for (frame, text) in &lines {
        job.put(&mut report, &labels.join(format!("{frame:05}.txt")), text.as_bytes())?;
        overlay::put_frame(job, &mut report, &folder.join("images"), *frame)?;
    }
    let mut yaml = format!("# {}\npath: .\ntrain: images\nval: images\nnames:\n", job.about());
    for (class, structure) in classes.iter().enumerate() {
        yaml += &format!("  {class}: {}\n", quoted(&structure.label));
    }
    if classes.is_empty() {
        yaml += "  {}\n";
    }
    job.put(&mut report, &folder.join("data.yaml"), yaml.as_bytes())?;
    Ok(report)
}

/// A string of YAML: one of JSON, in which what YAML forbids or takes for the end of a line is
/// escaped as well (YAML 1.1 and 1.2, 5.1 and 5.4).
fn quoted(text: &str) -> String {
    let barred = |c: char| {
        let end = matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
        end || c.is_control()
    };
    let json = serde_json::Value::String(text.to_owned()).to_string();
    let one = |c: char| {
        if barred(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }
    };
    json.chars().map(one).collect()
}

fn put_line(
    text: &mut String,
    class: usize,
    polygon: &[(i32, i32)],
    (width, height): (u32, u32),
) -> std::fmt::Result {
    write!(text, "{class}")?;
    // A polygon has three corners at least: a pixel or a line walks back.
    let corners = polygon.iter().cycle().take(polygon.len().max(3));
    for (x, y) in corners {
        let share = |v: i32, all: u32| (f64::from(v) + 0.5) / f64::from(all);
        write!(text, " {:.8} {:.8}", share(*x, width), share(*y, height))?;
    }
    writeln!(text)
}

/// Reads one text file, a folder of them, or a data set with `labels` and `data.yaml`.
pub(super) fn read(path: &Path, target: &Target) -> Result<Content, ReadError> {
    let files = if path.is_dir() { labels(path)? } else { vec![path.to_owned()] };
    let files: Vec<PathBuf> = files.into_iter().filter(|file| !is_for_people(file)).collect();
    // Beside the folder of labels, or above where it is one of several.
    let above = |name: &'static str| path.ancestors().take(4).map(move |at| at.join(name));
    let (mut names, about) = names(above("data.yaml"))?;
    if names.is_empty() && about.is_none() {
        names = listed(above("classes.txt"));
    }
    let stems: Vec<String> = files.iter().map(|file| stem(file)).collect();
    let frames = Frames::of(target, &stems, about.is_some());
    frames.check_still(path, files.len())?;
    let mut gather = Gather::default();
    let mut boxes = 0;
    for (file, stem) in files.iter().zip(&stems) {
        target.go_on(file)?;
        let Some(frame) = frames.index(file, stem)? else { continue };
        let bytes = codec::read_file(file)?;
        let text = String::from_utf8_lossy(&bytes);
        for (row, line) in text.lines().enumerate() {
            let malformed = |what: String| {
                let cause = format!("line {} is no class with a polygon: {what}", row + 1);
                ReadError::malformed(file, cause)
            };
            let mut words = line.split_whitespace();
            let Some(class) = words.next() else { continue };
            let no_class = |_| malformed(format!("'{}' is no class number", brief(class)));
            let class: u32 = class.parse().map_err(no_class)?;
            let number = |word: &str| {
                word.parse::<f64>()
                    .map_err(|_| malformed(format!("'{}' is no number", brief(word))))
            };
            let numbers = words.map(number).collect::<Result<Vec<f64>, _>>()?;
            if numbers.len() == 4 {
                boxes += 1;
                continue;
            }
            if numbers.len() < 6 || numbers.len() % 2 != 0 {
                let what =
                    format!("{} numbers are no pairs of at least three points", numbers.len());
                return Err(malformed(what));
            }
            let label = names.get(&class).cloned().unwrap_or_else(|| format!("class {class}"));
            gather.put(&label, u64::from(class), frame, &filled(&numbers, target));
        }
    }
    let without = format!("{boxes} boxes without outline were left out");
    let mut notes = frames.notes();
    notes.extend((boxes > 0).then_some(without));
    let clip = about.as_deref().and_then(clip_in);
    gather.content(notes).exported_from(path, clip, target)
}

/// Whether a text is one of labels, by its first line; one of a picture without any is empty.
pub(super) fn is_label(file: &Path) -> bool {
    let bytes = codec::read_file(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let Some(line) = text.lines().find(|line| !line.trim().is_empty()) else {
        return file.with_extension("png").is_file();
    };
    let mut words = line.split_whitespace();
    let is_class = words.next().is_some_and(|word| word.parse::<u32>().is_ok());
    let numbers: Option<Vec<f64>> = words.map(|word| word.parse().ok()).collect();
    // A class with a box, or with three corners and more.
    is_class && numbers.is_some_and(|numbers| numbers.len() >= 4)
}

/// Texts that lie beside labels and are none.
fn is_for_people(file: &Path) -> bool {
    let name = stem(file).to_lowercase();
    name == "classes" || name.starts_with("readme")
}

/// The beginning of a word, long enough to find it.
fn brief(word: &str) -> String {
    word.chars().take(24).collect()
}

/// The text files of a folder, of its `labels`, or of the parts of that (`labels/train`, `train/labels`, ...).
fn labels(path: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let folder = path.join("labels");
    let folder = if folder.is_dir() { folder } else { path.to_owned() };
    let files = list_ending(&folder, "txt")?;
    if !files.iter().all(|file| is_for_people(file)) {
        return Ok(files);
    }
    let parts = list(&folder)?.into_iter().flat_map(|part| [part.join("labels"), part]);
    let parts = parts.filter(|entry| entry.is_dir());
    let files: Result<Vec<_>, _> = parts.map(|part| list_ending(&part, "txt")).collect();
    Ok(files?.concat())
}

fn filled(shares: &[f64], target: &Target) -> Bitmap {
    let (width, height) = (target.info.width_px, target.info.height_px);
    let points: Vec<[f64; 2]> = shares
        .chunks_exact(2)
        .map(|p| [p[0] * f64::from(width), p[1] * f64::from(height)])
        .collect();
    let mut bitmap = Bitmap::empty(width, height);
    fill(&mut bitmap, &points, Rule::CentresAndOutline);
    bitmap
}

#[derive(Deserialize)]
struct Data {
    names: Option<ClassNames>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ClassNames {
    List(Vec<String>),
    Numbered(BTreeMap<u32, String>),
}

/// Names of the classes, and the comment that this program wrote in front of them, of the first of
/// `files` that is there; nothing where none is.
fn names(
    mut files: impl Iterator<Item = PathBuf>,
) -> Result<(BTreeMap<u32, String>, Option<String>), ReadError> {
    let Some(path) = files.find(|file| file.is_file()) else {
        return Ok((BTreeMap::new(), None));
    };
    let bytes = codec::read_file(&path)?;
    if bytes.len() > MAX_YAML_BYTES {
        return Err(ReadError::malformed(&path, "it has more than 1 MiB"));
    }
    let data: Data = serde_yaml::from_slice(&bytes).map_err(|e| ReadError::malformed(&path, e))?;
    let names = match data.names {
        Some(ClassNames::List(list)) => (0..).zip(list).collect(),
        Some(ClassNames::Numbered(names)) => names,
        None => BTreeMap::new(),
    };
    let first = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let about = String::from_utf8_lossy(first);
    let about = about.strip_prefix("# ").filter(|text| text.starts_with("sonomark"));
    Ok((names, about.map(str::to_owned)))
}

/// Names of the classes, one in a line, as Label Studio and labelImg write them, of the first of `files` that is there.
fn listed(mut files: impl Iterator<Item = PathBuf>) -> BTreeMap<u32, String> {
    let bytes = files.find(|file| file.is_file()).and_then(|file| codec::read_file(&file).ok());
    let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
    let lines = (0..).zip(text.lines().map(str::trim));
    let named = lines.filter(|(_, name)| !name.is_empty());
    named.map(|(class, name)| (class, name.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_is_a_string_of_yaml() {
        let low = (0..0x300u32).chain(0x2000..0x2070).chain(0xfdd0..0x1_0020);
        for c in low.filter_map(char::from_u32).chain(['\u{1f9e0}', '\u{10ffff}']) {
            let label = format!("a{c} b\"\\");
            let yaml = format!("names:\n  0: {}\n", quoted(&label));
            let data: Data = serde_yaml::from_str(&yaml).unwrap_or_else(|e| panic!("{c:?}: {e}"));
            let Some(ClassNames::Numbered(names)) = data.names else { panic!("{c:?}") };
            assert_eq!(names[&0], label, "{c:?}");
        }
    }
}
