//! Measures as a table: one row for every mask, with a column for every attribute in use.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use super::atomic::write_atomic;
use super::{ExportError, Job, Report};
use crate::domain::{FrameIndex, FrameMask, MaskSource, Track};

const HEAD: &str = "track,label,frame,time_ms,source,score,area_px,area_mm2,left_px,top_px,\
                    width_px,height_px,centre_x_px,centre_y_px,clip,journal_position";

/// Frames count from 0. Lengths in mm are there where the clip tells its spacing.
pub(super) fn write(job: &Job, path: &Path) -> Result<Report, ExportError> {
    let mut text = HEAD.to_owned();
    let tracks = job.annotation.tracks.values();
    let whole = tracks.clone().flat_map(|track| track.attributes.keys());
    let frames =
        tracks.flat_map(|track| track.frame_attributes.values().flat_map(|all| all.keys()));
    let names: BTreeSet<&String> = whole.chain(frames).collect();
    for name in &names {
        text.push_str(&format!(",{}", cell(name)));
    }
    text.push_str("\r\n");
    let mut masks = 0;
    for (number, track) in (1..).zip(job.annotation.tracks.values()) {
        for (&frame, held) in &track.masks {
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
    let time = info.frame_time_ms.map(|ms| format!("{:.3}", ms * frame as f64));
    let area_mm2 = info.pixel_spacing_mm.map(|[x, y]| format!("{:.4}", area as f64 * x * y));
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
    let bitmap = held.mask.to_bitmap();
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
    write!(text, ",{},{position}", info.content_hash.short())
}

/// A label as a cell: quoted, and never the beginning of a formula.
fn cell(label: &str) -> String {
    let guard = if label.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{guard}{}\"", label.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_cells_and_no_formulas() {
        assert_eq!(cell("a, \"b\""), "\"a, \"\"b\"\"\"");
        assert_eq!(cell("=cmd()"), "\"'=cmd()\"");
    }
}
