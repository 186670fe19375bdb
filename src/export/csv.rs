//! Measures as a table: one row for every mask, with a column for every attribute in use. Read,
//! it gives the attributes back, and no masks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use csv_core::ReadRecordResult;

use super::atomic::write_atomic;
use super::content::{Content, Structure};
use super::read::{ReadError, Target};
use super::{ExportError, Job, Report};
use crate::codec;
use crate::domain::{Attributes, FrameIndex, FrameMask, MaskSource, Track, counted};

/// More columns than anybody has attributes.
const MAX_COLUMNS: usize = 4096;
const HEAD: &str = "track,label,frame,time_ms,source,score,area_px,area_mm2,left_px,top_px,\
                    width_px,height_px,centre_x_px,centre_y_px,no_mm,clip,journal_position,screen_frame";

/// Before the name of an attribute that is called like a measure, which would else be two columns of one name.
const ATTRIBUTE: &str = "attribute:";

/// `frame` counts from 0, as in other formats; `screen_frame` from 1, as on the screen. Areas in mm2 are there where the clip tells the scale of the place, else
/// the column `no_mm` says why not.
pub(super) fn write(job: &Job, path: &Path) -> Result<Report, ExportError> {
    let mut text = HEAD.to_owned();
    let tracks = job.annotation.tracks.values();
    let whole = tracks.clone().flat_map(|track| track.attributes.keys());
    let frames =
        tracks.flat_map(|track| track.frame_attributes.values().flat_map(|all| all.keys()));
    let names: BTreeSet<&String> = whole.chain(frames).collect();
    for name in &names {
        text.push_str(&format!(",{}", cell(&column_of(name))));
    }
    text.push_str("\r\n");
    let mut masks = 0;
    for (number, track) in (1..).zip(job.annotation.tracks.values()) {
        for (&frame, held) in &track.masks {
            job.go_on(path)?;
            row(job, &mut text, number, track, frame, held)
                .map_err(|e| ExportError::encode(path, e))?;
            let said = track.attributes_on(frame);
            for name in &names {
                let value = said.get(*name).map_or(String::new(), |value| cell(value));
                text.push_str(&format!(",{value}"));
            }
            text.push_str("\r\n");
            masks += 1;
        }
    }
    write_atomic(path, text.as_bytes())?;
    Ok(Report { files: vec![path.to_owned()], masks, ..Report::default() })
}

fn row(
    job: &Job,
    text: &mut String,
    number: usize,
    track: &Track,
    frame: FrameIndex,
    held: &FrameMask,
) -> std::fmt::Result {
    let info = job.info;
    let area = held.mask.area_px();
    let time = info.time_ms(frame).map(|ms| format!("{ms:.3}"));
    let bitmap = held.mask.to_bitmap();
    let scale = info.scale_of(&bitmap);
    let area_mm2 = scale.map(|[x, y]| format!("{:.4}", area as f64 * x * y));
    let source = match held.source {
        MaskSource::Tracked => "tracked",
        MaskSource::Prompted => "prompted",
        MaskSource::Accepted => "accepted",
    };
    write!(
        text,
        "{number},{},{frame},{},{source},{:.4},{area},{},",
        cell(&track.info.label),
        time.unwrap_or_default(),
        held.score,
        area_mm2.unwrap_or_default(),
    )?;
    match bitmap.bounds() {
        Some(b) => {
            let inside = bitmap.pixels.iter().enumerate().filter(|(_, p)| **p);
            let (x, y) = inside.fold((0u64, 0u64), |(x, y), (i, _)| {
                let width = bitmap.width_px as usize;
                (x + (i % width) as u64, y + (i / width) as u64)
            });
            let centre = |sum: u64| sum as f64 / area as f64 + 0.5;
            write!(
                text,
                "{},{},{},{},{:.2},{:.2}",
                b.min.x,
                b.min.y,
                b.max.x - b.min.x,
                b.max.y - b.min.y,
                centre(x),
                centre(y)
            )?;
        }
        None => text.push_str(",,,,,"),
    }
    let position = job.position.map(|at| at.to_string()).unwrap_or_default();
    let no_mm = scale.err().map(|why| cell(&why.to_string())).unwrap_or_default();
    write!(text, ",{no_mm},{},{position},{}", info.content_hash.short(), frame + 1)
}

/// What programs of tables take for the beginning of a formula.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// A label as a cell: quoted, and never the beginning of a formula.
fn cell(label: &str) -> String {
    let guard = if needs_guard(label) { "'" } else { "" };
    format!("\"{guard}{}\"", label.replace('"', "\"\""))
}

/// Whether a text would begin a formula, or be taken for one that was kept from it.
fn needs_guard(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(FORMULA)
}

/// The text that [`cell`] made a cell of.
fn text_of(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|text| needs_guard(text)).unwrap_or(cell)
}

fn is_measure(column: &str) -> bool {
    HEAD.split(',').any(|name| name.trim() == column)
}

/// Whether the name of an attribute would be taken for a measure, or for the column of such an attribute.
fn needs_word(name: &str) -> bool {
    is_measure(name.trim_start_matches(ATTRIBUTE))
}

/// The column of an attribute.
fn column_of(attribute: &str) -> String {
    let word = if needs_word(attribute) { ATTRIBUTE } else { "" };
    format!("{word}{attribute}")
}

/// The attribute that [`column_of`] made a column of.
fn attribute_of(column: &str) -> &str {
    column.strip_prefix(ATTRIBUTE).filter(|name| needs_word(name)).unwrap_or(column)
}

/// The rows of a table, the head included.
fn records(path: &Path, bytes: &[u8]) -> Result<Vec<Vec<String>>, ReadError> {
    let mut reader = csv_core::Reader::new();
    // No row holds more text than the file.
    let (mut text, mut ends) = (vec![0; bytes.len() + 1], vec![0; MAX_COLUMNS]);
    let (mut input, mut rows) = (bytes, Vec::new());
    loop {
        let (mut written, mut fields) = (0, 0);
        let row = loop {
            let (result, used, more, ended) =
                reader.read_record(input, &mut text[written..], &mut ends[fields..]);
            (input, written, fields) = (&input[used..], written + more, fields + ended);
            match result {
                // Asked again with nothing left, it gives the last row.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record => break &ends[..fields],
                ReadRecordResult::End => return Ok(rows),
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    let cause = format!("row {} has too many columns", rows.len() + 1);
                    return Err(ReadError::malformed(path, cause));
                }
            }
        };
        let starts = std::iter::once(&0).chain(row);
        let cells = starts.zip(row).map(|(&from, &to)| String::from_utf8_lossy(&text[from..to]));
        rows.push(cells.map(std::borrow::Cow::into_owned).collect());
    }
}

/// Reads what a table says of structures: everything in columns that hold no measures. A table
/// with rows of frames that the clip has not is another clip's.
pub(super) fn read(path: &Path, target: &Target) -> Result<Content, ReadError> {
    let bytes = codec::read_file(path)?;
    let mut records = records(path, &bytes)?.into_iter();
    let head: Vec<String> = records.next().unwrap_or_default();
    let head: Vec<String> = head.iter().map(|name| text_of(name).to_owned()).collect();
    let column = |name: &str| head.iter().position(|held| held == name);
    let (Some(track), Some(label), Some(frame)) =
        (column("track"), column("label"), column("frame"))
    else {
        let cause = "it has no columns track, label and frame";
        return Err(ReadError::malformed(path, cause));
    };
    let clip = column("clip");
    // A measure that comes again is an attribute of that name, as older tables have them.
    let is_asked = |at: usize| !is_measure(&head[at]) || head[..at].contains(&head[at]);
    let asked: Vec<(usize, &str)> = (0..head.len())
        .filter(|&at| is_asked(at))
        .map(|at| (at, attribute_of(&head[at])))
        .collect();
    let mut structures: BTreeMap<(u64, String), Structure> = BTreeMap::new();
    let mut clips: BTreeSet<String> = BTreeSet::new();
    for (row, record) in (2..).zip(records) {
        target.go_on(path)?;
        let cell = |at: usize| text_of(record.get(at).map_or("", String::as_str));
        let held = clip.map(cell).filter(|held| !held.is_empty() && !clips.contains(*held));
        clips.extend(held.map(str::to_owned));
        let (Ok(number), Ok(at)) = (cell(track).parse::<u64>(), cell(frame).parse::<FrameIndex>())
        else {
            let cause = format!("row {row} has no number of a track and a frame");
            return Err(ReadError::malformed(path, cause));
        };
        if at >= target.info.frames {
            let cause = format!(
                "frame {at} (from 0) of a clip of {}",
                counted(target.info.frames, "frame")
            );
            return Err(ReadError::other_clip(path, cause));
        }
        let said = asked.iter().map(|&(column, name)| (name.to_owned(), cell(column).to_owned()));
        let said: Attributes = said.filter(|(_, value)| !value.is_empty()).collect();
        let name = cell(label).to_owned();
        let new = || Structure::new(name.clone(), BTreeMap::new());
        // Also rows that say nothing: an attribute of the whole stands in every row.
        structures.entry((number, name.clone())).or_insert_with(new).said.insert(at, said);
    }
    let structures = structures.into_values();
    let structures = structures.filter(|each| each.said.values().any(|said| !said.is_empty()));
    let content = Content { structures: structures.collect(), ..Content::default() };
    content.exported_from(path, clips, target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_attributes_are_no_measures() {
        for name in ["side", "score", "attribute:score", "attribute:attribute:frame", "attribute:a"]
        {
            let column = column_of(name);
            assert!(!is_measure(&column), "{column}");
            assert_eq!(attribute_of(&column), name);
        }
        assert_eq!(
            (column_of("score"), column_of("side")),
            ("attribute:score".into(), "side".into())
        );
    }

    #[test]
    fn labels_are_cells_and_no_formulas() {
        assert_eq!(cell("a, \"b\""), "\"a, \"\"b\"\"\"");
        assert_eq!(cell("=cmd()"), "\"'=cmd()\"");
        assert_eq!((text_of("'=cmd()"), text_of("'quoted'")), ("=cmd()", "'quoted'"));
        // Also what looks like a cell of ours.
        for text in ["=a", "'=a", "''+a", "'a", "a"] {
            assert_eq!(text_of(cell(text).trim_matches('"')), text);
        }
    }
}
