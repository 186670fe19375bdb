//! `sonomark bench annotator`: how many keys a mask costs, counted on the real program.
//!
//! A scripted annotator drives the program through a pty on stills and clips whose truth it knows,
//! but uses of it only what a reader would see: where the contour belongs, and by how much the one
//! drawn is off. It reads the program's state from the journal, as a person would from the screen.
//! Three ways of putting boundary points are compared, every shipped keymap, and the mouse as a
//! model: the same network, given exact points on the true contour.

mod clips;
mod judge;
mod reader;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::config::Settings;
use crate::domain::{FramePrompts, PointKind, PointPx};
use crate::engine::{Image, NetSegmenter, Segmenter};
use crate::learn::dataset::{DataSource, Pick, Still, StillSet};
use crate::tui::keymap::VARIANTS;

use super::headless::{load_network, make_folder, write_gray};
use super::{Failure, tell};
use reader::{Reader, Shown, Sight};

/// Boundary points before the annotator gives up.
const POINTS_MAX: usize = 12;
/// Keystroke-level model (Card, Moran and Newell 1980), s: a key, pointing with a mouse, a click,
/// and the thought before each point.
const KEY_S: f64 = 0.28;
const POINT_S: f64 = 1.1;
const CLICK_S: f64 = 0.2;
const THOUGHT_S: f64 = 1.35;
const GOALS: [(&str, f64); 2] = [("keys_to_iou_085", 0.85), ("keys_to_iou_090", 0.90)];

/// How points are put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The cursor is moved with counts (`12l`) and `b` puts the point.
    Cursor,
    /// The hour at which the contour is farthest off, and the letter of the right place there.
    Rays,
    /// What the tool suggests (`enter`), with the same letters.
    Suggested,
}

impl Way {
    const ALL: [(Way, &'static str); 3] =
        [(Way::Cursor, "cursor"), (Way::Rays, "rays"), (Way::Suggested, "suggested")];
}

/// What one structure cost.
struct Cost {
    /// Keys and seconds until each goal was met.
    goals: [Option<(usize, f64)>; 2],
    points: usize,
    point_keys: usize,
    bytes: usize,
    iou: f64,
}

/// Runs it on the `val` lists and the clips below `data`; `limit` structures of each.
pub(super) fn run(
    settings: &Settings,
    data: &Path,
    limit: usize,
    scratch: &Path,
) -> Result<Value, Failure> {
    let stills = stills(data, limit)?;
    let mut network = load_network(settings)?;
    let (mut ways, mut keymaps) = (serde_json::Map::new(), serde_json::Map::new());
    let mut log = Vec::new();
    let mut each = |way: Way, name: &str, keymap: &str| -> Result<Value, Failure> {
        let mut costs = Vec::new();
        for (i, still) in stills.iter().enumerate() {
            let folder = scratch.join(format!("{name}-{keymap}-{i}"));
            let cost = annotate(settings, &folder, still, way, keymap)?;
            tell(&format!(
                "{name}, {keymap}, {}: {} points, {} keys for them, {:?} to .85, IoU {:.3}",
                still.name, cost.points, cost.point_keys, cost.goals[0], cost.iou
            ));
            log.push(json!({
                "way": name, "keymap": keymap, "still": still.name, "points": cost.points,
                "point_keys": cost.point_keys, "bytes": cost.bytes, "iou": cost.iou,
                "keys_085": cost.goals[0].map(|g| g.0), "keys_090": cost.goals[1].map(|g| g.0),
            }));
            costs.push(cost);
        }
        Ok(summary(&costs))
    };
    for (way, name) in Way::ALL {
        ways.insert(name.to_owned(), each(way, name, "default")?);
    }
    for (keymap, _) in VARIANTS {
        keymaps.insert(keymap.to_owned(), each(Way::Rays, "rays", keymap)?);
    }
    let clicks = stills
        .iter()
        .map(|still| mouse(&mut network, still))
        .collect::<Result<Vec<_>, Failure>>()?;
    ways.insert("mouse_model".to_owned(), mouse_summary(&clicks));
    let folder = data.join("clips_synth");
    let clips = match folder.is_dir() {
        true => clips::run(settings, &folder, limit, scratch)?,
        false => Value::Null,
    };
    // The best way stands on top, by the name that a reader of the figures looks for.
    Ok(json!({
        "keys_to_iou_085": ways["rays"]["keys_to_iou_085"],
        "stills": stills.len(),
        "model_s": {"key": KEY_S, "thought_per_point": THOUGHT_S, "pointing": POINT_S, "click": CLICK_S},
        "ways": ways,
        "keymaps": keymaps,
        "clips_synth": clips,
        "log": log,
    }))
}

/// `limit` stills of each list.
fn stills(data: &Path, limit: usize) -> Result<Vec<Still>, Failure> {
    let sources = ["usgra", "busi"].map(|name| data.join("images").join(name));
    let sources: Vec<PathBuf> = sources.into_iter().filter(|dir| dir.is_dir()).collect();
    if sources.is_empty() {
        return Err(Failure::Input(format!(
            "no images/usgra or images/busi in {}; give the folder that holds them",
            super::path_shown(data)
        )));
    }
    let mut stills: Vec<Still> = Vec::new();
    for dir in sources {
        let source = DataSource { dir, list: Some("val.txt".into()) };
        let set = StillSet::load(&source, None, Pick::LargestOfLabel).map_err(Failure::input)?;
        stills.extend(set.stills.into_iter().take(limit));
    }
    Ok(stills)
}

/// One still, until both goals are met or the annotator gives up.
fn annotate(
    settings: &Settings,
    folder: &Path,
    still: &Still,
    way: Way,
    keymap: &str,
) -> Result<Cost, Failure> {
    make_folder(folder)?;
    let (frame, truth) = (still.frame(), still.objects[0].to_bitmap());
    let image = folder.join("still.png");
    write_gray(&image, frame.width_px, frame.height_px, frame.pixels.clone())?;
    let mut reader = Reader::start(settings, folder, &image, keymap)?;
    let sight = Sight { frame: 0, pixels: frame, truth: &truth };
    let mut cursor = PointPx::pixel_centre(frame.width_px / 2, frame.height_px / 2);
    let centre = match way {
        Way::Cursor => cursor,
        Way::Rays | Way::Suggested => reader.open_rays(sight)?,
    };
    let mut cost = Cost { goals: [None; 2], points: 0, point_keys: 0, bytes: 0, iou: 0.0 };
    let (mut now, mut tried) = (Shown::default(), Vec::new());
    for tries in 1..=POINTS_MAX {
        let keys = reader.keys;
        if way == Way::Suggested
            && let Some(after) = reader.by_suggestion(sight, centre, &now)?
        {
            // A suggestion that had to be deleted would come again.
            let kept = after.points.len() > now.points.len();
            now = match (kept, judge::worst_hour(&truth, centre, &after, &tried)) {
                (false, Some(hour)) => {
                    tried.push(hour);
                    reader.by_hour(sight, centre, hour, &after)?
                }
                _ => after,
            };
        } else if way == Way::Cursor {
            let Some(at) = judge::next_point(&truth, &now) else { break };
            now = reader.by_cursor(&mut cursor, at, 0, &now)?;
        } else {
            let Some(hour) = judge::worst_hour(&truth, centre, &now, &tried) else { break };
            tried.push(hour);
            now = reader.by_hour(sight, centre, hour, &now)?;
        }
        cost.points = now.points.len();
        cost.point_keys += reader.keys - keys;
        cost.iou = now.iou(&truth);
        // The program's answers count as they were; the keys and thoughts as modelled.
        let seconds =
            reader.keys as f64 * KEY_S + tries as f64 * THOUGHT_S + reader.waited.as_secs_f64();
        for (goal, (_, wanted)) in cost.goals.iter_mut().zip(GOALS) {
            if goal.is_none() && cost.iou >= wanted {
                *goal = Some((reader.keys, seconds));
            }
        }
        if cost.goals[1].is_some() {
            break;
        }
    }
    cost.bytes = reader.bytes();
    Ok(cost)
}

/// Clicks that the mouse needs for each goal: exact points on the true contour.
fn mouse(network: &mut NetSegmenter, still: &Still) -> Result<[Option<usize>; 2], Failure> {
    let truth = still.objects[0].to_bitmap();
    let mut shown = Shown::default();
    let mut goals = [None; 2];
    network.open_clip(1);
    for click in 1..=POINTS_MAX {
        let Some(at) = judge::next_point(&truth, &shown) else { break };
        shown.points.push(at);
        let points = shown.points.iter().map(|at| (PointKind::Boundary, *at)).collect();
        let prompts = FramePrompts { points, ..FramePrompts::default() };
        let image = Image { frame: 0, pixels: still.frame() };
        shown.mask = Some(network.refresh(image, &prompts).map_err(Failure::ours)?.bitmap);
        let iou = shown.iou(&truth);
        for (goal, (_, wanted)) in goals.iter_mut().zip(GOALS) {
            if goal.is_none() && iou >= wanted {
                *goal = Some(click);
            }
        }
    }
    Ok(goals)
}
fn summary(costs: &[Cost]) -> Value {
    let points: usize = costs.iter().map(|cost| cost.points).sum();
    let keys: usize = costs.iter().map(|cost| cost.point_keys).sum();
    let mut out = json!({
        "keys_per_point": keys as f64 / points.max(1) as f64,
        "mean_bytes": costs.iter().map(|c| c.bytes as f64).sum::<f64>() / costs.len().max(1) as f64,
    });
    for (i, (name, _)) in GOALS.iter().enumerate() {
        let keys: Vec<Option<f64>> =
            costs.iter().map(|cost| cost.goals[i].map(|goal| goal.0 as f64)).collect();
        let seconds: Vec<Option<f64>> =
            costs.iter().map(|cost| cost.goals[i].map(|goal| goal.1)).collect();
        out[*name] = statistics(&keys);
        out[name.replace("keys", "seconds")] = statistics(&seconds);
    }
    out
}

fn mouse_summary(clicks: &[[Option<usize>; 2]]) -> Value {
    let mut out = json!({});
    for (i, (name, _)) in GOALS.iter().enumerate() {
        let each: Vec<Option<f64>> = clicks.iter().map(|c| c[i].map(|n| n as f64)).collect();
        let per_click = POINT_S + CLICK_S + THOUGHT_S;
        let seconds: Vec<Option<f64>> = each.iter().map(|n| n.map(|n| n * per_click)).collect();
        out[name.replace("keys", "clicks")] = statistics(&each);
        out[name.replace("keys", "seconds")] = statistics(&seconds);
    }
    out
}

/// Median over all (a goal not met counts as infinite), mean over those that met it.
fn statistics(values: &[Option<f64>]) -> Value {
    let mut all: Vec<f64> = values.iter().map(|v| v.unwrap_or(f64::INFINITY)).collect();
    all.sort_by(f64::total_cmp);
    let met: Vec<f64> = values.iter().copied().flatten().collect();
    let median = all.get(all.len() / 2).copied().filter(|median| median.is_finite());
    let mean = (!met.is_empty()).then(|| met.iter().sum::<f64>() / met.len() as f64);
    json!({ "median": median, "mean": mean, "met": met.len(), "of": values.len() })
}
