//! `sonomark segment`: one image, points, a mask.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::config::Settings;
use crate::domain::{BoxPx, ClipInfo, FramePrompts, PointKind, PointPx};
use crate::engine::{Image, Segmenter};
use crate::export::spare;

use super::devices::{load_on_cpu, load_timed, or_on_the_cpu};
use super::headless::{numbers, point, write_mask};
use super::{Done, Failure, open_clip, path_shown, print_json, tell};

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Image, or clip of which one frame is segmented
    image: PathBuf,
    /// Points on the contour, px of the image from its top left corner
    #[arg(long, value_name = "X,Y", num_args = 1.., value_parser = point)]
    boundary: Vec<PointPx>,
    /// Points in the structure
    #[arg(long, value_name = "X,Y", num_args = 1.., value_parser = point)]
    inside: Vec<PointPx>,
    /// Points beside the structure (--outside X,Y means the same; with other values it is the option below)
    #[arg(long, value_name = "X,Y", num_args = 1.., value_parser = point)]
    beside: Vec<PointPx>,
    /// Box around the structure
    #[arg(long = "box", value_name = "X0,Y0,X1,Y1", value_parser = bounding_box)]
    bounding_box: Option<BoxPx>,
    /// Frame of a clip, from 0
    #[arg(long, default_value_t = 0)]
    frame: usize,
    /// Where the mask goes: 8-bit PNG, 0 or 255, size of the image
    #[arg(long, value_name = "MASK.png")]
    out: PathBuf,
    /// Print score, area and times as JSON
    #[arg(long)]
    json: bool,
}

fn bounding_box(text: &str) -> Result<BoxPx, String> {
    let [x0, y0, x1, y1] = numbers(text, "X0,Y0,X1,Y1")?;
    let found = BoxPx::from_corners(PointPx::new(x0, y0), PointPx::new(x1, y1));
    let has_area = found.min.x < found.max.x && found.min.y < found.max.y;
    has_area.then_some(found).ok_or_else(|| "the box has no area".to_owned())
}

/// Runs it.
pub(super) fn run(settings: &Settings, options: &Options) -> Done {
    is_png(&options.out)?;
    let clip = open_clip(settings, &options.image)?;
    spare(&clip, &options.out).map_err(Failure::input)?;
    let prompts = prompts_of(options, clip.info())?;
    let pixels = clip.frame(options.frame).map_err(Failure::input)?;
    let mut network = load_timed(settings)?;
    let image = Image { frame: options.frame, pixels: &pixels };
    let work = |network: &mut dyn Segmenter| {
        network.open_clip(clip.info().frames);
        network.refresh(image, &prompts).map_err(Failure::ours)
    };
    let decided = or_on_the_cpu(&mut network, || load_on_cpu(settings), work)?;
    write_mask(&options.out, &decided.bitmap)?;
    let area = decided.bitmap.area_px();
    if options.json {
        let bounds = decided.bitmap.bounds().map(|b| [b.min.x, b.min.y, b.max.x, b.max.y]);
        let info = network.info();
        print_json(&json!({
            "image": path_shown(&options.image),
            "frame": options.frame,
            "out": path_shown(&options.out),
            "width_px": pixels.width_px,
            "height_px": pixels.height_px,
            "area_px": area,
            "box_px": bounds,
            "score": decided.score,
            "object_score_logit": decided.object_score_logit,
            "encode_ms": decided.encode_ms,
            "decode_ms": decided.decode_ms,
            "model": info.model,
            "device": info.device,
            "bridged": info.bridged,
        }));
    } else {
        tell(&format!(
            "{}: {area} px, score {:.2}, {:.0} ms",
            path_shown(&options.out),
            decided.score,
            decided.encode_ms + decided.decode_ms
        ));
    }
    Ok(())
}

/// A mask is written as PNG: under the name of another kind of file other programs would not read it.
fn is_png(out: &Path) -> Done {
    match out.extension() {
        Some(other) if !other.eq_ignore_ascii_case("png") => Err(Failure::Input(format!(
            "--out {}: masks are written as PNG, without loss; give a name that ends in .png",
            path_shown(out)
        ))),
        _ => Ok(()),
    }
}

/// The prompts, all inside the image.
fn prompts_of(options: &Options, info: &ClipInfo) -> Result<FramePrompts, Failure> {
    let kinds = [
        (PointKind::Boundary, &options.boundary),
        (PointKind::Inside, &options.inside),
        (PointKind::Outside, &options.beside),
    ];
    let points: Vec<_> =
        kinds.iter().flat_map(|(kind, points)| points.iter().map(|at| (*kind, *at))).collect();
    let corners = options.bounding_box.iter().flat_map(|b| [b.min, b.max]);
    let (w, h) = (info.width_px as f32, info.height_px as f32);
    let beyond: Vec<String> = points
        .iter()
        .map(|(_, at)| *at)
        .chain(corners)
        .filter(|at| !(0.0..=w).contains(&at.x) || !(0.0..=h).contains(&at.y))
        .map(|at| format!("{},{}", at.x, at.y))
        .collect();
    if !beyond.is_empty() {
        return Err(Failure::Input(format!(
            "outside the image of {w} x {h} px: {}; give coordinates from its top left corner",
            beyond.join(" ")
        )));
    }
    let prompts = FramePrompts { points, bounding_box: options.bounding_box, mask: None };
    if prompts.is_empty() {
        return Err(Failure::Input("no prompt: give two or more --boundary X,Y".into()));
    }
    Ok(prompts)
}
