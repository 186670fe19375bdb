//! The scripted reader: hands on the keys of the real program, eyes on its screen and journal.
//!
//! Keys are looked up in the keymap, so that every keymap can be counted; a chord counts as one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::Settings;
use crate::domain::{
    Annotation, Bitmap, BoxPx, ContentHash, FrameIndex, GrayFrame, PointPx, Ray, Track, centre_of,
    contour_radius, edges_along, least_certain, marks_along, overlap,
};
use crate::project::{Loaded, load_read_only};
use crate::tui::action::Action;
use crate::tui::key::{Code, Key};
use crate::tui::keymap::{KeyMode, Keymap, shipped_layer};

use super::super::Failure;
use super::super::pty::Terminal;
use super::judge;

/// The terminal: the picture has 1024 x 768 px.
const CELLS: (u16, u16) = (166, 53);
/// Letters spent on one point, and how far off it may stay, px of an image of 256 px: a point
/// farther off is deleted.
const LETTERS_MAX: usize = 2;
const TOLERABLE_PX: f32 = 4.0;
/// A point this near to the contour is good, px of an image of 256 px.
const GOOD_PX: f32 = 1.5;
/// Leaps until the centre of the rays must be inside.
const LEAPS_MAX: usize = 4;
/// A mask that has not changed for this long is the answer to the newest point.
const QUIET: Duration = Duration::from_millis(200);
/// A program at rest has noted where it is after this.
const NOTED: Duration = Duration::from_millis(1300);
/// No mask changes after this.
const PATIENCE: Duration = Duration::from_millis(2500);

/// Boundary points in the order of placing, and the mask, of one frame.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    pub(super) points: Vec<PointPx>,
    pub(super) mask: Option<Bitmap>,
}

impl Shown {
    /// Overlap with the truth; 0 without a mask.
    pub(super) fn iou(&self, truth: &Bitmap) -> f64 {
        self.mask.as_ref().map_or(0.0, |mask| overlap(mask, truth).iou)
    }
}

/// What the reader looks at.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    pub(super) frame: FrameIndex,
    pub(super) pixels: &'a GrayFrame,
    pub(super) truth: &'a Bitmap,
}

impl Sight<'_> {
    /// Image px for a pixel of an image of 256 px.
    fn unit(&self) -> f32 {
        self.pixels.width_px.min(self.pixels.height_px) as f32 / 256.0
    }
}

/// Longer than the program waits behind an escape.
const ESCAPE_MS: u64 = 120;

/// The program on one clip, and who sits before it.
pub(super) struct Reader {
    terminal: Terminal,
    project: PathBuf,
    keymap: Keymap,
    letters: Vec<char>,
    mode: KeyMode,
    pub(super) keys: usize,
    pub(super) waited: Duration,
}

impl Reader {
    /// Starts the program on `clip` with the shipped keymap of this name.
    pub(super) fn start(
        settings: &Settings,
        folder: &Path,
        clip: &Path,
        keymap: &str,
    ) -> Result<Self, Failure> {
        let project = folder.join("project");
        let mut arguments: Vec<OsString> = vec!["annotate".into(), "--project".into()];
        arguments.extend([project.clone().into(), "--device".into()]);
        arguments.extend([settings.device.value.clone().into(), "--keymap".into(), keymap.into()]);
        if let Some(card) = &settings.card.value {
            arguments.extend(["--card".into(), card.into()]);
        }
        // Masks are counted here, not what hides names.
        arguments.extend(["--outside".into(), "show".into()]);
        arguments.push(clip.into());
        let program = std::env::current_exe().map_err(Failure::ours)?;
        let mut terminal = Terminal::start(&program, &arguments, CELLS).map_err(Failure::ours)?;
        let drawn = terminal.picture(Duration::from_millis(700), Duration::from_secs(60));
        if !drawn || !terminal.running() {
            return Err(Failure::ours("no picture came, or the screen did not come to rest"));
        }
        let layer = shipped_layer(keymap);
        let (keymap, _) = Keymap::layered(layer.as_slice());
        let letters = keymap.mark_letters();
        let (mode, keys, waited) = (KeyMode::Normal, 0, Duration::ZERO);
        Ok(Self { terminal, project, keymap, letters, mode, keys, waited })
    }

    /// Does what shows another picture and waits for it: rays need the pixels of the frame.
    pub(super) fn see(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.terminal.mark();
        act(self)?;
        // Nothing is drawn where the picture is there already.
        self.terminal.picture(Duration::from_millis(100), Duration::from_secs(2));
        Ok(())
    }

    /// Bytes that the program sent so far.
    pub(super) fn bytes(&self) -> usize {
        self.terminal.bytes()
    }

    fn press(&mut self, key: Key) -> Result<(), Failure> {
        self.terminal.key(&bytes_of(key)).map_err(Failure::ours)?;
        // A byte of a sequence must not run into the next key, nor an escape: the program waits a moment for what it may
        // begin, and no hand is as fast.
        let pause = if key.code == Code::Named("esc") { ESCAPE_MS } else { 12 };
        std::thread::sleep(Duration::from_millis(pause));
        self.keys += 1;
        Ok(())
    }

    fn type_char(&mut self, c: char) -> Result<(), Failure> {
        self.press(Key { code: Code::Char(c), ctrl: false, alt: false, shift: false })
    }

    /// Presses the keys of an action, after its count where there is one.
    pub(super) fn act(&mut self, action: Action, count: Option<usize>) -> Result<(), Failure> {
        let Some(keys) = self.keymap.sequence(self.mode, action) else {
            let name = action.name();
            return Err(Failure::ours(format!("no key of the keymap reaches `{name}` here")));
        };
        for digit in count.map(|count| count.to_string()).unwrap_or_default().chars() {
            self.type_char(digit)?;
        }
        keys.into_iter().try_for_each(|key| self.press(key))
    }

    /// The keys have this meaning from now on: the reader knows the mode from the status line.
    pub(super) fn now_in(&mut self, mode: KeyMode) {
        self.mode = mode;
    }

    /// Leaves the rays, where they are in use.
    pub(super) fn leave_rays(&mut self) -> Result<(), Failure> {
        if matches!(self.mode, KeyMode::Rays | KeyMode::Leap) {
            self.act(Action::Close, None)?;
            self.mode = KeyMode::Normal;
        }
        Ok(())
    }

    /// The structure as the journal tells it.
    pub(super) fn track(&self) -> Option<Track> {
        self.annotation().tracks.into_values().next()
    }

    fn annotation(&self) -> Annotation {
        self.loaded().map(|loaded| loaded.annotation).unwrap_or_default()
    }

    /// The frame at hand, once the program has rested and noted it.
    pub(super) fn frame(&self) -> Option<FrameIndex> {
        std::thread::sleep(NOTED);
        self.loaded()?.view.map(|view| view.frame)
    }

    fn loaded(&self) -> Option<Loaded> {
        let clips = std::fs::read_dir(self.project.join("clips")).into_iter().flatten().flatten();
        let hash = clips.filter_map(|clip| clip.file_name().into_string().ok()).next();
        hash.and_then(|hash| load_read_only(&self.project, &ContentHash(hash)).ok())
    }

    /// What a frame shows.
    pub(super) fn shown(&self, frame: FrameIndex) -> Shown {
        let Some(track) = self.track() else { return Shown::default() };
        let mask = track.masks.get(&frame).map(|held| held.mask.to_bitmap());
        Shown { points: track.frame_prompts(frame).boundary_points(), mask }
    }

    /// Waits until the points are others than `before`.
    fn placed(&mut self, frame: FrameIndex, before: &Shown) -> Shown {
        let asked = Instant::now();
        loop {
            let now = self.shown(frame);
            if now.points != before.points || asked.elapsed() > PATIENCE {
                return now;
            }
            std::thread::sleep(Duration::from_millis(15));
        }
    }

    /// Waits until the mask follows what was just pressed, or the program has long been at rest.
    fn answered(&mut self, frame: FrameIndex, before: &Shown) -> Shown {
        let asked = Instant::now();
        let mut last = (self.shown(frame), Instant::now());
        while asked.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
            let now = self.shown(frame);
            if now.mask != last.0.mask || now.points != last.0.points {
                last = (now, Instant::now());
            }
            if last.0.mask != before.mask && last.1.elapsed() > QUIET {
                break;
            }
        }
        // Looking whether more would come is the script's own time.
        self.waited += last.1.saturating_duration_since(asked);
        last.0
    }

    /// Moves the cursor with counts.
    pub(super) fn move_cursor(&mut self, from: &mut PointPx, to: PointPx) -> Result<(), Failure> {
        use Action as A;
        let steps = [
            (to.x - from.x, A::CursorRight, A::CursorLeft),
            (to.y - from.y, A::CursorDown, A::CursorUp),
        ];
        for (by, forward, back) in steps {
            let n = by.round().abs() as usize;
            if n > 0 {
                self.act(if by > 0.0 { forward } else { back }, (n > 1).then_some(n))?;
            }
        }
        *from = PointPx::new(from.x + (to.x - from.x).round(), from.y + (to.y - from.y).round());
        Ok(())
    }

    /// A boundary point under the cursor, moved there with counts.
    pub(super) fn by_cursor(
        &mut self,
        cursor: &mut PointPx,
        at: PointPx,
        frame: FrameIndex,
        before: &Shown,
    ) -> Result<Shown, Failure> {
        self.move_cursor(cursor, at)?;
        self.act(Action::AddBoundary, None)?;
        Ok(self.answered(frame, before))
    }

    /// Opens the rays and leaps until their centre is well inside; where a mask is, they start in
    /// it. Returns the centre.
    pub(super) fn open_rays(&mut self, sight: Sight<'_>) -> Result<PointPx, Failure> {
        let before = self.shown(sight.frame);
        let natural = before.mask.as_ref().and_then(centre_of);
        if !matches!(self.mode, KeyMode::Rays | KeyMode::Leap) {
            self.act(Action::ClockRays, None)?;
        }
        self.mode = KeyMode::Rays;
        if let Some(centre) = natural {
            if judge::depth(sight.truth, centre) > 0.0 {
                return Ok(centre);
            }
            self.act(Action::Leap, None)?;
        }
        self.mode = KeyMode::Leap;
        self.leap(sight)
    }

    fn leap(&mut self, sight: Sight<'_>) -> Result<PointPx, Failure> {
        let Some(wanted) = centre_of(sight.truth) else {
            return Err(Failure::ours("nothing is visible where a point is wanted"));
        };
        let (width, height) = (sight.pixels.width_px, sight.pixels.height_px);
        let all = PointPx::new(width as f32, height as f32);
        let mut region = BoxPx::from_corners(PointPx::default(), all);
        let enough = judge::depth(sight.truth, wanted) / 2.0;
        let mut centre = PointPx::pixel_centre(width / 2, height / 2);
        for _ in 0..LEAPS_MAX {
            if judge::depth(sight.truth, centre) >= enough {
                break;
            }
            let third = |at: f32, low: f32, high: f32| (3.0 * (at - low) / (high - low)) as u8;
            let column = third(wanted.x, region.min.x, region.max.x).min(2);
            let row = third(wanted.y, region.min.y, region.max.y).min(2);
            self.act(Action::LEAPS[usize::from(row * 3 + column)], None)?;
            region = region.ninth(column, row);
            let middle = |low: f32, high: f32| ((low + high) / 2.0).floor() + 0.5;
            centre = PointPx::new(
                middle(region.min.x, region.max.x),
                middle(region.min.y, region.max.y),
            );
        }
        Ok(centre)
    }

    /// A boundary point towards an hour, 0..12.
    pub(super) fn by_hour(
        &mut self,
        sight: Sight<'_>,
        centre: PointPx,
        hour: usize,
        before: &Shown,
    ) -> Result<Shown, Failure> {
        self.act(HOURS[hour % HOURS.len()], None)?;
        self.mode = KeyMode::Rays;
        self.fix(sight, centre, before)
    }

    /// The point that the tool suggests; `None` where the structure does not lie towards there.
    pub(super) fn by_suggestion(
        &mut self,
        sight: Sight<'_>,
        centre: PointPx,
        before: &Shown,
    ) -> Result<Option<Shown>, Failure> {
        // Where the tool would go: seen as the dotted ray.
        let ray = least_certain(sight.pixels, before.mask.as_ref(), centre, &before.points);
        if contour_radius(sight.truth, ray).is_none() {
            return Ok(None);
        }
        self.mode = KeyMode::Rays;
        self.act(Action::RaySuggested, None)?;
        self.fix(sight, centre, before).map(Some)
    }

    /// Brings the newest point to the true contour by the letters along its ray.
    fn fix(&mut self, sight: Sight<'_>, centre: PointPx, before: &Shown) -> Result<Shown, Failure> {
        let (frame, unit) = (sight.frame, sight.unit());
        let mut now = self.placed(frame, before);
        for letter in 0..=LETTERS_MAX {
            let Some(&at) = now.points.last() else { return Ok(now) };
            let ray = Ray::through(centre, at);
            let Some(wanted) = contour_radius(sight.truth, ray) else { break };
            let radius = at.distance(centre);
            let off = (radius - wanted).abs();
            if off <= GOOD_PX * unit {
                break;
            }
            let edges = edges_along(sight.pixels, ray);
            let (width, height) = (sight.pixels.width_px, sight.pixels.height_px);
            let (side, reach) = (width.min(height), ray.reach(width, height));
            let marks = marks_along(&edges, radius, side, reach, self.letters.len() / 2);
            let best = marks.iter().min_by(|a, b| {
                let off = |radius: f32| (radius - wanted).abs();
                off(a.radius_px).total_cmp(&off(b.radius_px))
            });
            let better = best.filter(|mark| (mark.radius_px - wanted).abs() < 0.7 * off);
            match better.filter(|_| letter < LETTERS_MAX) {
                Some(mark) => self.type_char(self.letters[mark.slot])?,
                None if off <= TOLERABLE_PX * unit => break,
                None => {
                    // Cheaper elsewhere: the point goes.
                    self.act(Action::DeletePoint, None)?;
                    return Ok(self.answered(frame, &now));
                }
            }
            now = self.placed(frame, &now);
        }
        Ok(self.answered(frame, before))
    }
}

/// Hours in their order, 12 first.
const HOURS: [Action; 12] = [
    Action::Ray12,
    Action::Ray1,
    Action::Ray2,
    Action::Ray3,
    Action::Ray4,
    Action::Ray5,
    Action::Ray6,
    Action::Ray7,
    Action::Ray8,
    Action::Ray9,
    Action::Ray10,
    Action::Ray11,
];

/// What a terminal sends for a key.
fn bytes_of(key: Key) -> Vec<u8> {
    let mut bytes = if key.alt { vec![0x1b] } else { Vec::new() };
    match key.code {
        Code::Char(c) if key.ctrl => bytes.push(c as u8 & 0x1f),
        Code::Char(c) => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        Code::Named(name) => bytes.extend_from_slice(match name {
            "enter" => b"\r",
            "esc" => b"\x1b",
            "tab" => b"\t",
            "space" => b" ",
            "backspace" => b"\x7f",
            "up" => b"\x1b[A",
            "down" => b"\x1b[B",
            "right" => b"\x1b[C",
            "left" => b"\x1b[D",
            _ => b"",
        }),
    }
    bytes
}
