//! `sonomark bench annotator`: how many keys a mask costs, counted on the real program.
//!
//! A scripted annotator drives the program through a pty on stills whose truth it knows, but uses
//! of it only what a reader would see: where the contour belongs, and by how much the one drawn is
//! off. It reads the program's state from the journal, as a person would from the screen. Three
//! ways of putting boundary points are compared, and the mouse as a model: the same network, given
//! exact points on the true contour.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::config::Settings;
use crate::domain::{
    Annotation, Bitmap, ContentHash, FramePrompts, GrayFrame, HOURS, PointKind, PointPx, Ray,
    centre_of, contour_radius, edges_along, least_certain, overlap,
};
use crate::engine::{Image, NetSegmenter, Segmenter};
use crate::learn::annotator::{EXCLUDE_PX, contour, next_boundary_click};
use crate::learn::dataset::{DataSource, Pick, Still, StillSet};
use crate::project::load_read_only;

use super::headless::{load_network, make_folder, write_gray};
use super::pty::Terminal;
use super::{Failure, tell};

/// The terminal: the picture has 1024 x 768 px.
const CELLS: (u16, u16) = (166, 53);
/// Boundary points before the annotator gives up.
const POINTS_MAX: usize = 12;
/// Keys spent on bringing one point to the contour; one that needs more is deleted.
const FIXES_MAX: usize = 7;
/// Pixels of a large step along a ray.
const FAR_PX: f32 = 4.0;
/// A point this near to the contour is good, px of an image of 256 px.
const GOOD_PX: f32 = 1.5;
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
    /// The hour at which the contour is farthest off, and fixes by the next edge and nudges.
    Rays,
    /// What the tool suggests (`enter`), with the same fixes.
    Suggested,
}

/// Boundary points and mask of the frame on the screen.
type Shown = (Vec<PointPx>, Option<Bitmap>);

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

/// Runs it on the `val` lists below `data`; `limit` structures of each.
pub(super) fn run(
    settings: &Settings,
    data: &Path,
    limit: usize,
    scratch: &Path,
) -> Result<Value, Failure> {
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
    let mut network = load_network(settings)?;
    let mut report = serde_json::Map::new();
    let mut log = Vec::new();
    for (way, name) in Way::ALL {
        let mut costs = Vec::new();
        for (i, still) in stills.iter().enumerate() {
            let folder = scratch.join(format!("{name}-{i}"));
            make_folder(&folder)?;
            let truth = still.objects[0].to_bitmap();
            let cost = Session::start(settings, &folder, still.frame(), truth)?.annotate(way)?;
            tell(&format!(
                "{name} {}: {} points, {} keys for them, IoU {:.3}",
                still.name, cost.points, cost.point_keys, cost.iou
            ));
            log.push(json!({
                "way": name, "still": still.name, "points": cost.points,
                "point_keys": cost.point_keys, "bytes": cost.bytes, "iou": cost.iou,
                "keys_085": cost.goals[0].map(|g| g.0), "keys_090": cost.goals[1].map(|g| g.0),
            }));
            costs.push(cost);
        }
        report.insert(name.to_owned(), summary(&costs));
    }
    let clicks = stills
        .iter()
        .map(|still| mouse(&mut network, still))
        .collect::<Result<Vec<_>, Failure>>()?;
    report.insert("mouse_model".to_owned(), mouse_summary(&clicks));
    let mut all = json!({
        "stills": stills.len(),
        "model_s": {"key": KEY_S, "thought_per_point": THOUGHT_S, "pointing": POINT_S, "click": CLICK_S},
        "ways": report,
        "log": log,
    });
    // The best way stands on top, by the name the issue asks for.
    all["keys_to_iou_085"] = all["ways"]["rays"]["keys_to_iou_085"].clone();
    Ok(all)
}

/// The program on one still.
struct Session {
    terminal: Terminal,
    project: PathBuf,
    frame: GrayFrame,
    truth: Bitmap,
    keys: usize,
    begun: Instant,
    waited: Duration,
}

impl Session {
    fn start(
        settings: &Settings,
        folder: &Path,
        frame: &GrayFrame,
        truth: Bitmap,
    ) -> Result<Self, Failure> {
        let still = folder.join("still.png");
        write_gray(&still, frame.width_px, frame.height_px, frame.pixels.clone())?;
        let project = folder.join("project");
        let mut arguments: Vec<OsString> = vec!["annotate".into(), "--project".into()];
        arguments.extend([project.clone().into(), "--device".into()]);
        arguments.extend([settings.device.value.clone().into(), still.into()]);
        if let Some(card) = &settings.card.value {
            arguments.extend(["--card".into(), card.into()]);
        }
        let program = std::env::current_exe().map_err(Failure::ours)?;
        let terminal = Terminal::start(&program, &arguments, CELLS).map_err(Failure::ours)?;
        let mut session = Self {
            terminal,
            project,
            frame: frame.clone(),
            truth,
            keys: 0,
            begun: Instant::now(),
            waited: Duration::ZERO,
        };
        let rest = session.terminal.settle(Duration::from_millis(700), Duration::from_secs(60));
        if !rest || !session.terminal.running() {
            return Err(Failure::ours("the screen did not come to rest"));
        }
        session.begun = Instant::now();
        Ok(session)
    }

    /// Presses keys; each string is one key.
    fn press(&mut self, keys: &[&str]) -> Result<(), Failure> {
        for key in keys {
            self.terminal.key(key.as_bytes()).map_err(Failure::ours)?;
            // A byte of a sequence must not run into the next key.
            std::thread::sleep(Duration::from_millis(12));
        }
        self.keys += keys.len();
        Ok(())
    }

    /// The annotation as the journal tells it.
    fn annotation(&self) -> Annotation {
        let clips = std::fs::read_dir(self.project.join("clips")).into_iter().flatten().flatten();
        let hash = clips.filter_map(|clip| clip.file_name().into_string().ok()).next();
        hash.and_then(|hash| load_read_only(&self.project, &ContentHash(hash)).ok())
            .map(|loaded| loaded.annotation)
            .unwrap_or_default()
    }

    /// Boundary points in the order of placing, and the mask.
    fn state(&self) -> (Vec<PointPx>, Option<Bitmap>) {
        let annotation = self.annotation();
        let Some(track) = annotation.tracks.values().next() else { return (Vec::new(), None) };
        let mask = track.masks.get(&0).map(|held| held.mask.to_bitmap());
        (track.frame_prompts(0).boundary_points(), mask)
    }

    /// Waits until the mask follows what was just pressed, or the program has long been at rest.
    fn answered(
        &mut self,
        before: &(Vec<PointPx>, Option<Bitmap>),
    ) -> (Vec<PointPx>, Option<Bitmap>) {
        let asked = Instant::now();
        let mut now = self.state();
        while asked.elapsed() < Duration::from_millis(2500) {
            now = self.state();
            // One point alone gives the network nothing to change.
            if now.1 != before.1 {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.waited += asked.elapsed();
        now
    }

    fn annotate(mut self, way: Way) -> Result<Cost, Failure> {
        let Some(centre) = centre_of(&self.truth) else {
            return Err(Failure::ours("an empty truth"));
        };
        let (width, height) = (self.frame.width_px, self.frame.height_px);
        let mut cursor = PointPx::pixel_centre(width / 2, height / 2);
        if way != Way::Cursor {
            self.move_cursor(&mut cursor, centre)?;
            self.press(&["\r"])?;
        }
        let mut cost = Cost { goals: [None; 2], points: 0, point_keys: 0, bytes: 0, iou: 0.0 };
        let mut state = (Vec::new(), None);
        let mut tried: Vec<f32> = Vec::new();
        for number in 0..POINTS_MAX {
            let keys = self.keys;
            let next = match way {
                Way::Cursor => self.by_cursor(&mut cursor, &state)?,
                Way::Rays => self.by_ray(centre, &state, &mut tried)?,
                Way::Suggested => {
                    let after = self.by_suggestion(centre, &state)?;
                    // A suggestion that had to be deleted would come again.
                    match after {
                        Some(after) if after.0.len() > state.0.len() => Some(after),
                        Some(after) => self.by_ray(centre, &after, &mut tried)?,
                        None => self.by_ray(centre, &state, &mut tried)?,
                    }
                }
            };
            let Some(after) = next else { break };
            state = after;
            let tries = number + 1;
            cost.points = state.0.len();
            cost.point_keys += self.keys - keys;
            cost.iou = state.1.as_ref().map_or(0.0, |mask| overlap(mask, &self.truth).iou);
            // The program's answers count as they were; the keys and thoughts as modelled.
            let seconds =
                self.keys as f64 * KEY_S + tries as f64 * THOUGHT_S + self.waited.as_secs_f64();
            for (goal, (_, wanted)) in cost.goals.iter_mut().zip(GOALS) {
                if goal.is_none() && cost.iou >= wanted {
                    *goal = Some((self.keys, seconds));
                }
            }
            if cost.goals[1].is_some() {
                break;
            }
        }
        cost.bytes = self.terminal.bytes();
        Ok(cost)
    }

    /// Moves the cursor with counts.
    fn move_cursor(&mut self, from: &mut PointPx, to: PointPx) -> Result<(), Failure> {
        let steps = [(to.x - from.x, "l", "h"), (to.y - from.y, "j", "k")];
        for (by, forward, back) in steps {
            let n = by.round().abs() as u32;
            let key = if by > 0.0 { forward } else { back };
            let count = if n > 1 { n.to_string() } else { String::new() };
            let mut keys: Vec<String> = count.chars().map(String::from).collect();
            if n > 0 {
                keys.push(key.to_owned());
            }
            self.press(&keys.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        *from = PointPx::new(from.x + (to.x - from.x).round(), from.y + (to.y - from.y).round());
        Ok(())
    }

    fn by_cursor(
        &mut self,
        cursor: &mut PointPx,
        state: &(Vec<PointPx>, Option<Bitmap>),
    ) -> Result<Option<Shown>, Failure> {
        let Some(at) = next_point(&self.truth, state) else { return Ok(None) };
        self.move_cursor(cursor, at)?;
        self.press(&["b"])?;
        Ok(Some(self.answered(state)))
    }

    /// The hour whose contour is farthest from the truth, untried ones first.
    fn by_ray(
        &mut self,
        centre: PointPx,
        state: &(Vec<PointPx>, Option<Bitmap>),
        tried: &mut Vec<f32>,
    ) -> Result<Option<Shown>, Failure> {
        let truth = |hour: f32| contour_radius(&self.truth, Ray { centre, hour }).unwrap_or(0.0);
        let off = |hour: f32| {
            let drawn = state.1.as_ref().and_then(|m| contour_radius(m, Ray { centre, hour }));
            match (drawn, state.0.is_empty()) {
                // The longest way across first, then its other end.
                (_, true) => truth(hour) + truth((hour + 6.0) % HOURS),
                (None, false) => truth(hour),
                (Some(drawn), false) => (drawn - truth(hour)).abs(),
            }
        };
        let hours = (0..HOURS as usize).map(|hour| hour as f32);
        let free = hours.filter(|hour| !tried.contains(hour));
        let best = match state.0.len() {
            1 if tried.len() == 1 => Some((tried[0] + 6.0) % HOURS),
            _ => free.max_by(|a, b| off(*a).total_cmp(&off(*b))),
        };
        let Some(hour) = best else { return Ok(None) };
        tried.push(hour);
        let key = match hour as u32 {
            0 => "=".to_owned(),
            10 => "0".to_owned(),
            11 => "-".to_owned(),
            n => n.to_string(),
        };
        self.press(&[key.as_str()])?;
        let placed = self.answered(state);
        self.fix(centre, placed).map(Some)
    }

    fn by_suggestion(
        &mut self,
        centre: PointPx,
        state: &(Vec<PointPx>, Option<Bitmap>),
    ) -> Result<Option<Shown>, Failure> {
        // Where the tool would go: seen as the dotted ray.
        let ray = least_certain(&self.frame, state.1.as_ref(), centre, &state.0);
        if contour_radius(&self.truth, ray).is_none() {
            return Ok(None);
        }
        self.press(&["\r"])?;
        let placed = self.answered(state);
        self.fix(centre, placed).map(Some)
    }

    /// Brings the newest point to the true contour: by the marked edges, then pixel by pixel.
    fn fix(
        &mut self,
        centre: PointPx,
        placed: (Vec<PointPx>, Option<Bitmap>),
    ) -> Result<(Vec<PointPx>, Option<Bitmap>), Failure> {
        let Some(&at) = placed.0.last() else { return Ok(placed) };
        let ray = Ray::through(centre, at);
        let Some(wanted) = contour_radius(&self.truth, ray) else { return Ok(placed) };
        let scale = self.frame.width_px.min(self.frame.height_px) as f32 / 256.0;
        let good = GOOD_PX * scale;
        let radius = at.distance(centre);
        if (radius - wanted).abs() <= good {
            return Ok(placed);
        }
        let edges = edges_along(&self.frame, ray);
        let nearest = |to: f32| {
            let off = |i: &usize| (edges[*i].radius_px - to).abs();
            (0..edges.len()).min_by(|a, b| off(a).total_cmp(&off(b)))
        };
        let (here, there) = (nearest(radius), nearest(wanted));
        let mut keys: Vec<&str> = Vec::new();
        let mut reached = radius;
        if let (Some(here), Some(there)) = (here, there)
            && (edges[there].radius_px - wanted).abs() < (radius - wanted).abs()
        {
            let key = if there > here { "]" } else { "[" };
            keys.extend(std::iter::repeat_n(key, here.abs_diff(there)));
            reached = edges[there].radius_px;
        }
        let rest = (wanted - reached).abs();
        if rest > good {
            let (far, near) = match wanted > reached {
                true => ("\x1b[5~", "\x1b[A"),
                false => ("\x1b[6~", "\x1b[B"),
            };
            let fars = (rest / FAR_PX).round();
            keys.extend(std::iter::repeat_n(far, fars as usize));
            let left = ((rest - fars * FAR_PX).abs() - good).max(0.0).ceil();
            // Where the large steps went too far, the small ones come back.
            let near = match (rest >= fars * FAR_PX, wanted > reached) {
                (true, _) => near,
                (false, true) => "\x1b[B",
                (false, false) => "\x1b[A",
            };
            keys.extend(std::iter::repeat_n(near, left as usize));
        }
        if keys.len() > FIXES_MAX {
            // Cheaper elsewhere: the point goes.
            keys = vec!["x"];
        }
        self.press(&keys)?;
        Ok(self.answered(&placed))
    }
}

/// Where a reader would put the next point: where the drawn contour is farthest from the true one.
fn next_point(truth: &Bitmap, state: &(Vec<PointPx>, Option<Bitmap>)) -> Option<PointPx> {
    let wanted = contour(truth);
    let first = || wanted.iter().min_by(|a, b| a.x.total_cmp(&b.x)).copied();
    if state.0.is_empty() {
        return first();
    }
    let drawn = state.1.as_ref().map(contour).unwrap_or_default();
    next_boundary_click(&wanted, &drawn, &state.0, EXCLUDE_PX).map(|i| wanted[i])
}

/// Clicks that the mouse needs for each goal: exact points on the true contour.
fn mouse(network: &mut NetSegmenter, still: &Still) -> Result<[Option<usize>; 2], Failure> {
    let truth = still.objects[0].to_bitmap();
    let mut state = (Vec::new(), None);
    let mut goals = [None; 2];
    network.open_clip(1);
    for click in 1..=POINTS_MAX {
        let Some(at) = next_point(&truth, &state) else { break };
        state.0.push(at);
        let points = state.0.iter().map(|at| (PointKind::Boundary, *at)).collect();
        let prompts = FramePrompts { points, ..FramePrompts::default() };
        let image = Image { frame: 0, pixels: still.frame() };
        let mask = network.refresh(image, &prompts).map_err(Failure::ours)?.bitmap;
        let iou = overlap(&mask, &truth).iou;
        state.1 = Some(mask);
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
