//! What a file says of the sizes of pixels and of the times of frames.

use super::frames::Shape;
use super::reader::DataSet;
use super::tags;
use crate::codec::pace::uneven;
use crate::domain::{Scale, same_scale};

/// How far a frame may be from a constant rate that a vector of times is taken for, ms.
const EVEN_MS: f64 = 1e-3;

/// First column and row, last column and row of a region, clipped to the image; `None` where it
/// lies outside.
pub(super) fn region_px(item: &DataSet, shape: &Shape) -> Option<[u32; 4]> {
    let at = |tag| item.long(tag);
    let (x0, y0) = (at(tags::REGION_X0)?, at(tags::REGION_Y0)?);
    let (x1, y1) = (at(tags::REGION_X1)?, at(tags::REGION_Y1)?);
    let inside = x0 <= x1 && y0 <= y1 && x0 < shape.columns && y0 < shape.rows;
    inside.then(|| [x0, y0, x1.min(shape.columns - 1), y1.min(shape.rows - 1)])
}

/// Whether a region shows what was scanned: in two dimensions, M-mode, spectrum or waveform. Graphics, where names
/// stand, are regions too; what does not say what it is is taken for what most are.
pub(super) fn shows_something(region: &DataSet) -> bool {
    matches!(region.word(tags::REGION_FORMAT), None | Some(1..=4))
}

/// Sizes of pixels as a file tells them.
pub(super) struct Spacing {
    /// Where it is one for all of the tissue (x, y), mm.
    pub(super) whole: Option<[f64; 2]>,
    /// The regions, where they differ.
    pub(super) scales: Vec<Scale>,
}

/// Sizes of pixels: of the two-dimensional regions in cm, else PixelSpacing (row distance first, so
/// y, x).
pub(super) fn spacing_mm(set: &DataSet, shape: &Shape) -> Spacing {
    let usable = |mm: [f64; 2]| mm.iter().all(|v| v.is_finite() && *v > 0.0).then_some(mm);
    let regions = || set.items(tags::REGIONS).iter().filter(|region| shows_something(region));
    let mut sizes = regions().filter_map(tissue_mm);
    let of_regions = sizes.next();
    let differ = sizes.any(|mm| !same_scale(Some(mm), of_regions));
    let scale = |region| Some(Scale { at: region_px(region, shape)?, mm: tissue_mm(region) });
    let mut scales: Vec<Scale> = regions().filter_map(scale).collect();
    if of_regions.is_none() || scales.iter().all(|each| same_scale(each.mm, of_regions)) {
        scales.clear();
    }
    let whole = of_regions.filter(|_| !differ).or_else(|| {
        match set.group(tags::PIXEL_MEASURES).decimals(tags::PIXEL_SPACING)[..] {
            [y, x, ..] if !differ => usable([x, y]),
            _ => None,
        }
    });
    Spacing { whole, scales }
}

/// Size of a pixel (x, y) in a two-dimensional region in cm, mm.
fn tissue_mm(region: &DataSet) -> Option<[f64; 2]> {
    const CENTIMETRES: Option<u16> = Some(3);
    const TWO_DIMENSIONAL: Option<u16> = Some(1);
    let lengths = region.word(tags::REGION_FORMAT) == TWO_DIMENSIONAL
        && region.word(tags::REGION_UNIT_X) == CENTIMETRES
        && region.word(tags::REGION_UNIT_Y) == CENTIMETRES;
    let delta = |tag| region.double(tag).map(|cm| cm.abs() * 10.0);
    let mm = [delta(tags::REGION_DELTA_X)?, delta(tags::REGION_DELTA_Y)?];
    (lengths && mm.iter().all(|v| v.is_finite() && *v > 0.0)).then_some(mm)
}

pub(super) fn frame_time_ms(set: &DataSet) -> Option<f64> {
    // Some devices write 0 where they do not know.
    let known = |tag| set.decimal(tag).filter(|value| value.is_finite() && *value > 0.0);
    let rate = || known(tags::CINE_RATE).or_else(|| known(tags::DISPLAY_RATE));
    known(tags::FRAME_TIME).or_else(|| rate().map(|fps| 1000.0 / fps))
}

/// Time from each frame to the one before it, ms, where the file keeps a vector of them and does
/// not point to a constant time instead.
pub(super) fn frame_steps_ms(set: &DataSet, frames: usize) -> Option<Vec<f64>> {
    const VECTOR: [u16; 2] = [0x0018, 0x1065];
    let constant = set.decimal(tags::FRAME_TIME).filter(|ms| *ms > 0.0);
    let meant = constant.is_none() || set.words(tags::FRAME_POINTER) == VECTOR;
    let steps = set.decimals(tags::FRAME_TIME_VECTOR);
    let usable = frames > 1 && steps.len() == frames && steps[1..].iter().all(|ms| *ms > 0.0);
    (meant && usable).then_some(steps)
}

/// Time between frames, ms (the mean where it varies), and the time of every frame where it varies.
pub(super) fn pace(set: &DataSet, frames: usize) -> (Option<f64>, Vec<f64>) {
    let Some(steps) = frame_steps_ms(set, frames) else { return (frame_time_ms(set), Vec::new()) };
    let mut now = 0.0;
    let mut times = vec![now];
    for step in &steps[1..] {
        now += step;
        times.push(now);
    }
    match uneven(&times, EVEN_MS) {
        Some((times, mean)) => (Some(mean), times),
        None => (Some(now / (frames - 1) as f64), Vec::new()),
    }
}
