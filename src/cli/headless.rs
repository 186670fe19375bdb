//! Segmenting without a screen: what `propagate`, `watch` and `demo` share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::codec::Clip;
use crate::domain::{Bitmap, FrameIndex, FrameMask, Mask, MaskSource, PointPx, Track};
use crate::engine::{Decided, Ended, Role, Segmenter};
use crate::export::{check_writable, mask_png, spare, write_atomic};

use super::{Failure, path_shown};

/// The file beside the folders of masks that tells how they came about.
pub(super) const REPORT: &str = "report.json";

/// One frame of one track, decided. The mask is kept as runs: the pixels of a long clip take gigabytes.
pub(super) struct FrameReport {
    pub(super) frame: FrameIndex,
    pub(super) role: Role,
    pub(super) outcome: Result<Outcome, String>,
    pub(super) ms: f64,
}

/// What stays of a [`Decided`] frame.
pub(super) struct Outcome {
    mask: Mask,
    score: f32,
    object_score_logit: f32,
    encode_ms: f32,
    decode_ms: f32,
}

impl Outcome {
    pub(super) fn of(decided: &Decided) -> Self {
        Self {
            mask: decided.bitmap.to_mask(),
            score: decided.score,
            object_score_logit: decided.object_score_logit,
            encode_ms: decided.encode_ms,
            decode_ms: decided.decode_ms,
        }
    }
}

/// What became of a track.
pub(super) struct TrackReport {
    pub(super) frames: Vec<FrameReport>,
    pub(super) ended: Ended,
}

impl TrackReport {
    /// Sentences for frames that could not be decoded.
    pub(super) fn failures(&self) -> impl Iterator<Item = (FrameIndex, &str)> {
        self.frames
            .iter()
            .filter_map(|f| f.outcome.as_ref().err().map(|why| (f.frame, why.as_str())))
    }
}

/// `track` with the masks of `report`, as the screen would have left it.
pub(super) fn with_masks(track: &Track, report: &TrackReport) -> Track {
    let mut track = track.clone();
    for each in &report.frames {
        if let Ok(outcome) = &each.outcome {
            let source = match each.role {
                Role::Anchor => MaskSource::Prompted,
                Role::Tracked => MaskSource::Tracked,
            };
            let mask = outcome.mask.clone();
            track.masks.insert(each.frame, FrameMask { mask, source, score: outcome.score });
        }
    }
    track
}

/// `FOLDER/00012.png`
pub(super) fn mask_path(folder: &Path, frame: FrameIndex) -> PathBuf {
    folder.join(format!("{frame:05}.png"))
}

/// Whether a file is called as [`mask_path`] calls it.
pub(super) fn is_mask_path(path: &Path) -> bool {
    let number = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let is_number = number.len() >= 5 && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number && path.extension().is_some_and(|ending| ending == "png")
}

/// Writes a mask as 8-bit PNG, 0 outside and 255 inside, whole or not at all.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn write_mask(path: &Path, bitmap: &Bitmap) -> Result<(), Failure> {
    let gray = bitmap.pixels.iter().map(|&inside| if inside { 255 } else { 0 }).collect();
    write_gray(path, bitmap.width_px, bitmap.height_px, gray)
}

/// The same for a frame of a clip, of which it says that it is.
///
/// # Errors
/// When the file cannot be written, or would be one of the clip's.
pub(super) fn write_mask_of(clip: &Clip, path: &Path, bitmap: &Bitmap) -> Result<(), Failure> {
    spare(clip, path).map_err(Failure::input)?;
    let bytes = mask_png(path, bitmap, &clip.info().content_hash).map_err(Failure::ours)?;
    write_atomic(path, &bytes).map_err(Failure::input)
}

/// Writes an 8-bit gray picture, whole or not at all.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn write_gray(
    path: &Path,
    width: u32,
    height: u32,
    gray: Vec<u8>,
) -> Result<(), Failure> {
    let image = image::GrayImage::from_raw(width, height, gray)
        .ok_or_else(|| Failure::ours("a mask has another size than its image"))?;
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).map_err(Failure::ours)?;
    write_atomic(path, bytes.get_ref()).map_err(Failure::input)
}

/// Writes a JSON document, whole or not at all.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn write_json(path: &Path, value: &Value) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(value).map_err(Failure::ours)?;
    text.push('\n');
    write_atomic(path, text.as_bytes()).map_err(Failure::input)
}

/// Refuses a place for a JSON document that cannot be written, before the work is done whose figures go there.
///
/// # Errors
/// Why it cannot.
pub(super) fn check_json(path: Option<&Path>) -> Result<(), Failure> {
    path.map_or(Ok(()), |path| check_writable(path).map_err(Failure::input))
}

/// Does `work` with the folder `path`, which is made where it is not there. Where the work fails, none that was made for it
/// stays behind empty.
///
/// # Errors
/// When it cannot be created, and what the work says.
pub(super) fn with_folder<T>(
    path: &Path,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let absent = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let made: Vec<&Path> = path.ancestors().take_while(absent).collect();
    let done = make_folder(path).and_then(|()| work());
    if done.is_err() {
        // Those that hold something stay.
        made.iter().for_each(|folder| drop(std::fs::remove_dir(folder)));
    }
    done
}

/// Creates a folder and those above it.
///
/// # Errors
/// When it cannot be created.
pub(super) fn make_folder(path: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(path).map_err(|cause| {
        Failure::Input(format!("cannot create {}: {cause}; choose another --out", path_shown(path)))
    })
}

/// Writes empty masks for every frame outside the windows: there the structure is absent by
/// definition.
///
/// # Errors
/// When a file cannot be written.
pub(super) fn write_absent(folder: &Path, clip: &Clip, track: &Track) -> Result<(), Failure> {
    let info = clip.info();
    let empty = Bitmap::empty(info.width_px, info.height_px);
    for frame in (0..info.frames).filter(|frame| !track.visible(*frame)) {
        write_mask_of(clip, &mask_path(folder, frame), &empty)?;
    }
    Ok(())
}

/// The report of a run as JSON. It lies beside the masks and goes where they go, so clips and their files have no
/// names in it, which may be those of patients.
pub(super) fn report_json(
    clip: &Clip,
    segmenter: &dyn Segmenter,
    tracks: &[(Track, TrackReport)],
) -> Value {
    let info = clip.info();
    let who = segmenter.info();
    let list: Vec<Value> = tracks.iter().map(|(track, report)| track_json(track, report)).collect();
    json!({
        "clip": info.content_hash.short(),
        "content_hash": info.content_hash.0,
        "width_px": info.width_px,
        "height_px": info.height_px,
        "frames": info.frames,
        "model": who.model,
        "device": who.device,
        "bridged": who.bridged,
        "cancelled": tracks.iter().any(|(_, report)| report.ended == Ended::Cancelled),
        "tracks": list,
    })
}

/// Whether a JSON document is such a report.
pub(super) fn is_own_report(value: &Value) -> bool {
    value["content_hash"].is_string() && value["bridged"].is_boolean() && value["tracks"].is_array()
}

fn track_json(track: &Track, report: &TrackReport) -> Value {
    // In time order, whatever order they were walked in.
    let by_frame: BTreeMap<FrameIndex, &FrameReport> =
        report.frames.iter().map(|each| (each.frame, each)).collect();
    let frames: Vec<Value> = by_frame.values().map(|each| frame_json(each)).collect();
    let windows: Vec<[usize; 2]> = track.windows.iter().map(|w| [w.first, w.last]).collect();
    let ms: f64 = report.frames.iter().map(|each| each.ms).sum();
    let fps = if ms > 0.0 { report.frames.len() as f64 / ms * 1e3 } else { 0.0 };
    json!({
        "label": track.info.label,
        "windows": windows,
        "cancelled": report.ended == Ended::Cancelled,
        "frames_per_s": fps,
        "frames": frames,
    })
}

fn frame_json(each: &FrameReport) -> Value {
    let kind = match each.role {
        Role::Anchor => "anchor",
        Role::Tracked => "tracked",
    };
    match &each.outcome {
        Ok(outcome) => json!({
            "frame": each.frame,
            "kind": kind,
            "score": outcome.score,
            "object_score_logit": outcome.object_score_logit,
            "area_px": outcome.mask.area_px(),
            "ms": each.ms,
            "encode_ms": outcome.encode_ms,
            "decode_ms": outcome.decode_ms,
        }),
        // The sentence names the file; people are told it by the command.
        Err(_) => {
            let failed = "the frame cannot be decoded; the command said why";
            json!({ "frame": each.frame, "kind": kind, "failed": failed, "ms": each.ms })
        }
    }
}

/// `X,Y` in px of the original image.
///
/// # Errors
/// A sentence for the command line.
pub(super) fn point(text: &str) -> Result<PointPx, String> {
    let [x, y] = numbers(text, "X,Y")?;
    Ok(PointPx::new(x, y))
}

/// `N` numbers with commas between.
///
/// # Errors
/// A sentence for the command line.
pub(super) fn numbers<const N: usize>(text: &str, form: &str) -> Result<[f32; N], String> {
    let read: Result<Vec<f32>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    let read = read.unwrap_or_default();
    match <[f32; N]>::try_from(read) {
        Ok(values) if values.iter().all(|v| v.is_finite()) => Ok(values),
        _ => Err(format!("it must be {form}, numbers in pixels with commas between")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Done;

    #[test]
    fn of_work_that_is_refused_no_empty_folder_stays() {
        let home = tempfile::tempdir().expect("a folder");
        let (above, out) = (home.path().join("a"), home.path().join("a/b"));
        let refused = || -> Done { Err(Failure::input("no")) };
        assert!(with_folder(&out, refused).is_err() && !above.exists());
        let partly = || std::fs::write(above.join("b/c"), "c").map_err(Failure::input);
        assert!(with_folder(&out, || partly().and_then(|()| refused())).is_err());
        assert!(out.join("c").is_file(), "what was written stays");
        std::fs::remove_file(out.join("c")).expect("it is there");
        assert!(with_folder(&out, refused).is_err() && out.is_dir(), "it was there before");
        assert!(with_folder(&out.join("d"), || Ok(())).is_ok() && out.join("d").is_dir());
    }
}
