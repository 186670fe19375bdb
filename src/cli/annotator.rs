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
use crate::domain::{FramePrompts, GrayFrame, PointKind, PointPx, counted};
use crate::engine::{Image, NetSegmenter, Segmenter};
use crate::learn::dataset::{DataSource, Pick, Still, StillSet};
use crate::tui::keymap::VARIANTS;

use super::devices::load_bare;
use super::headless::{make_folder, write_gray};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Way {
    /// The cursor is moved with counts (`12l`) and `b` puts the point.
    Cursor,
    /// The hour at which the contour is farthest off, and the letter of the right place there.
    Rays,
    /// What the tool suggests (`enter`), with the same letters.
    Suggested,
}

impl Way {
    const ALL: [Way; 3] = [Way::Cursor, Way::Rays, Way::Suggested];

    fn name(self) -> &'static str {
        match self {
            Way::Cursor => "cursor",
            Way::Rays => "rays",
            Way::Suggested => "suggested",
        }
    }
}

/// A way in a keymap: what is compared.
#[derive(Clone, Copy, Debug)]
struct Manner {
    way: Way,
    keymap: &'static str,
}

impl Manner {
    /// Every way in the default keymap, then the rays in every other; or the only way, in the
    /// shipped keymap called `keymap`.
    fn all(only: Option<Way>, keymap: &str) -> Vec<Manner> {
        if let Some(way) = only {
            let shipped = VARIANTS.iter().map(|(name, _)| *name).find(|name| *name == keymap);
            return vec![Manner { way, keymap: shipped.unwrap_or(DEFAULT) }];
        }
        let ways = Way::ALL.into_iter().map(|way| Manner { way, keymap: DEFAULT });
        let keymaps = VARIANTS.iter().map(|(keymap, _)| Manner { way: Way::Rays, keymap });
        ways.chain(keymaps).collect()
    }
}

/// Name of the shipped keymap without another over it.
const DEFAULT: &str = "default";

/// What was measured, by way and by keymap.
#[derive(Default)]
struct Table {
    ways: serde_json::Map<String, Value>,
    keymaps: serde_json::Map<String, Value>,
}

impl Table {
    fn insert(&mut self, manner: Manner, row: Value) {
        match manner.keymap {
            DEFAULT => self.ways.insert(manner.way.name().to_owned(), row),
            keymap => self.keymaps.insert(keymap.to_owned(), row),
        };
    }
}

/// What one structure cost.
struct Cost {
    /// Keys and seconds until each goal was met.
    goals: [Option<Spent>; 2],
    /// Keys and seconds until the annotator ended, met or not.
    spent: Spent,
    points: usize,
    point_keys: usize,
    bytes: usize,
    iou: f64,
}

/// Keys and modelled seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    keys: f64,
    seconds: f64,
}

impl Spent {
    /// By the reader so far; the program's answers count as they were, keys and thoughts as modelled.
    fn by(reader: &Reader, thoughts: usize) -> Self {
        let keys = reader.keys as f64;
        let modelled = keys * KEY_S + thoughts as f64 * THOUGHT_S;
        Self { keys, seconds: modelled + reader.waited.as_secs_f64() }
    }

    /// What the first of the goals cost, for people.
    fn told(goal: Option<Self>) -> String {
        goal.map_or_else(
            || ".85 not reached".to_owned(),
            |spent| format!(".85 after {} and {:.1} s", counted(spent.keys, "key"), spent.seconds),
        )
    }
}

/// Runs it on the `val` lists and the clips below `data`; `limit` structures of each. `only`: this
/// way alone.
pub(super) fn run(
    settings: &Settings,
    data: &Path,
    limit: usize,
    only: Option<Way>,
    scratch: &Path,
) -> Result<Value, Failure> {
    let stills = stills(data, limit)?;
    let mut network = load_bare(settings)?;
    let (mut table, mut log) = (Table::default(), Vec::new());
    let manners = Manner::all(only, &settings.keymap.value);
    for &manner in &manners {
        let mut costs = Vec::new();
        for (i, still) in stills.iter().enumerate() {
            let (name, keymap) = (manner.way.name(), manner.keymap);
            let folder = scratch.join(format!("{name}-{keymap}-{i}"));
            let cost = annotate(settings, &folder, still, manner)?;
            tell(&format!(
                "{name}, {keymap}, {}: {}, {} for them, {}, IoU {:.3}",
                still.name,
                counted(cost.points, "point"),
                counted(cost.point_keys, "key"),
                Spent::told(cost.goals[0]),
                cost.iou
            ));
            log.push(json!({
                "way": name, "keymap": keymap, "still": still.name, "points": cost.points,
                "point_keys": cost.point_keys, "bytes": cost.bytes, "iou": cost.iou,
                "keys": cost.spent.keys,
                "keys_085": cost.goals[0].map(|g| g.keys), "keys_090": cost.goals[1].map(|g| g.keys),
            }));
            costs.push(cost);
        }
        table.insert(manner, summary(&costs));
    }
    let clicks = stills
        .iter()
        .map(|still| mouse(&mut network, still))
        .collect::<Result<Vec<_>, Failure>>()?;
    table.ways.insert("mouse_model".to_owned(), mouse_summary(&clicks));
    let folder = data.join("clips_synth");
    let clips = match folder.is_dir() {
        true => clips::run(settings, &folder, limit, &manners, scratch)?,
        false => Value::Null,
    };
    // The way of the clock stands on top, by the name that a reader of the figures looks for.
    let on_top = table.ways.get(only.unwrap_or(Way::Rays).name());
    let on_top = on_top.or_else(|| table.keymaps.values().next());
    Ok(json!({
        "keys_to_iou_085": on_top.map(|row| row["keys_to_iou_085"].clone()),
        "stills": stills.len(),
        "how": HOW,
        "model_s": {"key": KEY_S, "thought_per_point": THOUGHT_S, "pointing": POINT_S, "click": CLICK_S},
        "ways": table.ways,
        "keymaps": table.keymaps,
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
        let source = DataSource { dir, list: Some("val.txt".into()), ..DataSource::default() };
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
    manner: Manner,
) -> Result<Cost, Failure> {
    make_folder(folder)?;
    let (frame, truth) = (still.frame(), still.objects[0].to_bitmap());
    let image = folder.join("still.png");
    write_gray(&image, frame.width_px, frame.height_px, frame.pixels.clone())?;
    let mut reader = Reader::start(settings, folder, &image, manner.keymap)?;
    let sight = Sight { frame: 0, pixels: frame, truth: &truth };
    let mut hand = Hand::new(manner.way, frame);
    hand.open(&mut reader, sight)?;
    let mut cost = Cost {
        goals: [None; 2],
        spent: Spent::default(),
        points: 0,
        point_keys: 0,
        bytes: 0,
        iou: 0.0,
    };
    let mut now = Shown::default();
    for tries in 1..=POINTS_MAX {
        let keys = reader.keys;
        let Some(after) = hand.point(&mut reader, sight, &now)? else { break };
        now = after;
        cost.points = now.points.len();
        cost.point_keys += reader.keys - keys;
        cost.iou = now.iou(&truth);
        cost.spent = Spent::by(&reader, tries);
        for (goal, (_, wanted)) in cost.goals.iter_mut().zip(GOALS) {
            if goal.is_none() && cost.iou >= wanted {
                *goal = Some(cost.spent);
            }
        }
        if cost.goals[1].is_some() {
            break;
        }
    }
    cost.bytes = reader.bytes();
    Ok(cost)
}

/// Puts points in one way; knows where the cursor is and what was tried on the frame at hand.
struct Hand {
    way: Way,
    cursor: PointPx,
    centre: PointPx,
    tried: Vec<usize>,
}

impl Hand {
    /// The cursor begins in the middle of a frame.
    fn new(way: Way, frame: &GrayFrame) -> Self {
        let cursor = PointPx::pixel_centre(frame.width_px / 2, frame.height_px / 2);
        Self { way, cursor, centre: cursor, tried: Vec::new() }
    }

    /// Before the first point on a frame.
    fn open(&mut self, reader: &mut Reader, sight: Sight<'_>) -> Result<(), Failure> {
        self.tried.clear();
        if self.way != Way::Cursor {
            self.centre = reader.open_rays(sight)?;
        }
        Ok(())
    }

    /// The next point; `None` where nothing is left to try.
    fn point(
        &mut self,
        reader: &mut Reader,
        sight: Sight<'_>,
        now: &Shown,
    ) -> Result<Option<Shown>, Failure> {
        if self.way == Way::Cursor {
            let Some(at) = judge::next_point(sight.truth, now) else { return Ok(None) };
            return reader.by_cursor(&mut self.cursor, at, sight.frame, now).map(Some);
        }
        let mut now = now.clone();
        if self.way == Way::Suggested
            && let Some(after) = reader.by_suggestion(sight, self.centre, &now)?
        {
            // A suggestion that had to be deleted would come again.
            if after.points.len() > now.points.len() {
                return Ok(Some(after));
            }
            now = after;
        }
        match judge::worst_hour(sight.truth, self.centre, &now, &self.tried) {
            Some(hour) => {
                self.tried.push(hour);
                reader.by_hour(sight, self.centre, hour, &now).map(Some)
            }
            None if self.way == Way::Suggested => Ok(Some(now)),
            None => Ok(None),
        }
    }
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
        let each = |of: fn(Spent) -> f64| -> Vec<Reached> {
            let reached =
                |cost: &Cost| Reached { met: cost.goals[i].map(of), given_up: of(cost.spent) };
            costs.iter().map(reached).collect()
        };
        out[*name] = statistics(&each(|spent| spent.keys));
        out[name.replace("keys", "seconds")] = statistics(&each(|spent| spent.seconds));
    }
    out
}

fn mouse_summary(clicks: &[[Option<usize>; 2]]) -> Value {
    let mut out = json!({});
    let per_click = POINT_S + CLICK_S + THOUGHT_S;
    for (i, (name, _)) in GOALS.iter().enumerate() {
        let each = |per_click: f64| -> Vec<Reached> {
            let given_up = POINTS_MAX as f64 * per_click;
            let met = |c: &[Option<usize>; 2]| c[i].map(|n| n as f64 * per_click);
            clicks.iter().map(|c| Reached { met: met(c), given_up }).collect()
        };
        out[name.replace("keys", "clicks")] = statistics(&each(1.0));
        out[name.replace("keys", "seconds")] = statistics(&each(per_click));
    }
    out
}

/// What a goal cost, or what was spent without meeting it.
#[derive(Clone, Copy, Debug)]
struct Reached {
    met: Option<f64>,
    given_up: f64,
}

/// How to read the numbers, in the file itself.
const HOW: &str = "median: a goal that is not met counts as endless; mean: it counts as what was \
                   spent until the annotator gave up; mean_of_met: the others alone";

fn statistics(values: &[Reached]) -> Value {
    let met: Vec<f64> = values.iter().filter_map(|value| value.met).collect();
    let mut all: Vec<f64> = values.iter().map(|v| v.met.unwrap_or(f64::INFINITY)).collect();
    all.sort_by(f64::total_cmp);
    let median = all.get(all.len() / 2).copied().filter(|median| median.is_finite());
    let mean = |values: &[f64]| {
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let spent: Vec<f64> = values.iter().map(|v| v.met.unwrap_or(v.given_up)).collect();
    json!({
        "median": median, "mean": mean(&spent), "mean_of_met": mean(&met),
        "met": met.len(), "of": values.len(),
    })
}
