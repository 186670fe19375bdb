//! `sonomark demo`: a real clip that ships inside the program, with the shipped network.
//!
//! On a terminal it opens the screen on that clip, in a project that is thrown away. Without one,
//! or with `--headless`, it does what a person would do, by the same calls as the screen: points,
//! a window, a mask, a propagation, exports, and a picture of the result.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use clap::Args;

use crate::codec;
use crate::config::Settings;
use crate::domain::{
    Annotation, Edit, FrameIndex, FrameMask, Mark, MaskSource, PlacedPrompt, PointKind, PointPx,
    Prompt, PromptId, Step, Track, TrackId, TrackOrder, Window,
};
use crate::engine::{
    Decided, Event, Opened, SegmenterSource, Session, Shelf, Span, Ticket, export_clip, plan,
};
use crate::export::{
    ExportFormat, Job, RgbImage, contact_sheet, draw_mask, png_bytes, write_atomic,
};
use crate::tui::terminal::last_words;

use super::annotate::shipped;
use super::headless::make_folder;
use super::{Done, Failure, path_shown, print};

/// Sixteen frames of a tracked lower-leg sweep (UltraBones100k, CC BY 4.0; tests/data/README.md).
pub(super) const CLIP: [&[u8]; 16] = [
    include_bytes!("../../tests/data/clips/ultrabones/00000.jpg"),
    include_bytes!("../../tests/data/clips/ultrabones/00001.jpg"),
    include_bytes!("../../tests/data/clips/ultrabones/00002.jpg"),
    include_bytes!("../../tests/data/clips/ultrabones/00003.jpg"),
    include_bytes!("../../tests/data/clips/ultrabones/00004.jpg"),
    include_bytes!("../../tests/data/clips/ultrabones/00005.jpg"),
    include_bytes!("../../tests/data/clips/ultrabones/00006.jpg"),
    include_bytes!("../../tests/data/clips/ultrabones/00007.jpg"),
    include_bytes!("../../tests/data/clips/ultrabones/00008.jpg"),
    include_bytes!("../../tests/data/clips/ultrabones/00009.jpg"),
    include_bytes!("../../tests/data/clips/ultrabones/00010.jpg"),
    include_bytes!("../../tests/data/clips/ultrabones/00011.jpg"),
    include_bytes!("../../tests/data/clips/ultrabones/00012.jpg"),
    include_bytes!("../../tests/data/clips/ultrabones/00013.jpg"),
    include_bytes!("../../tests/data/clips/ultrabones/00014.jpg"),
    include_bytes!("../../tests/data/clips/ultrabones/00015.jpg"),
];
/// The frame on which the points are put.
const ANCHOR: FrameIndex = 5;
/// The frames in which the structure is taken to be visible.
const WINDOW: Window = Window { first: 1, last: 8 };
/// Round the shadow that the bone casts, px.
pub(super) const POINTS: [(f32, f32); 6] = [
    (243.0, 236.0),
    (278.0, 272.0),
    (291.0, 345.0),
    (262.0, 398.0),
    (207.0, 392.0),
    (206.0, 290.0),
];
/// No single answer takes longer, also on a slow CPU.
const PATIENCE: Duration = Duration::from_secs(300);
const GREEN: [u8; 3] = [90, 220, 120];

/// Arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Do everything without a screen
    #[arg(long)]
    headless: bool,
    /// Where the headless demo writes
    #[arg(long, value_name = "DIR", default_value = "sonomark-demo")]
    out: PathBuf,
}

/// Runs it.
pub(super) fn run(settings: &Settings, options: &Options) -> Done {
    let scratch = tempfile::tempdir().map_err(Failure::input)?;
    let clip = scratch.path().join("lower-leg sweep");
    write_clip(&clip)?;
    let on_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if options.headless || !on_terminal {
        return headless(settings, &clip, &options.out);
    }
    let mut settings = settings.clone();
    settings.project.value = scratch.path().join("project");
    shipped(&settings, clip, false)?;
    last_words("the demo's project is thrown away; annotate a clip of yours with `sonomark CLIP`");
    Ok(())
}

/// The lesson on the shipped clip, in a project that is thrown away.
pub(super) fn tutor(settings: &Settings) -> Done {
    let scratch = tempfile::tempdir().map_err(Failure::input)?;
    let clip = scratch.path().join("lower-leg sweep");
    write_clip(&clip)?;
    let mut settings = settings.clone();
    settings.project.value = scratch.path().join("project");
    shipped(&settings, clip, true)?;
    last_words(
        "the lesson's project is thrown away; annotate a clip of yours with `sonomark CLIP`",
    );
    Ok(())
}

/// Unpacks the shipped clip.
pub(super) fn write_clip(folder: &Path) -> Result<(), Failure> {
    make_folder(folder)?;
    for (i, bytes) in CLIP.iter().enumerate() {
        std::fs::write(folder.join(format!("{i:05}.jpg")), bytes).map_err(Failure::input)?;
    }
    Ok(())
}

fn headless(settings: &Settings, clip: &Path, out: &Path) -> Done {
    make_folder(out)?;
    let begun = Instant::now();
    let net = SegmenterSource::Net {
        card: settings.card.value.clone(),
        device: settings.device.value.clone(),
        features_mib: settings.features_mib.value,
        shelf: Shelf::default(),
    };
    let (events, inbox) = channel::<Event>();
    let project = out.join("project");
    let (session, opened) = Session::open(clip, &project, net, events).map_err(Failure::input)?;
    print(&format!(
        "opened {} ({} frames, {} x {} px)",
        path_shown(clip),
        opened.info.frames,
        opened.info.width_px,
        opened.info.height_px
    ));
    let mut hand = Hand::new(session, inbox, &opened);
    hand.session.want_frame(ANCHOR);
    hand.wait("the first picture", |event| matches!(event, Event::Frame { .. }).then_some(()))?;
    print(&format!("first picture after {:.0} ms", begun.elapsed().as_secs_f64() * 1e3));
    let who = hand.wait("the network", |event| match event {
        Event::Ready(info) => Some(info),
        _ => None,
    })?;
    print(&format!("network {} on {}", who.model, who.device));
    let track = hand.mark()?;
    hand.refresh(track)?;
    hand.propagate(track)?;
    hand.write(clip, out)?;
    hand.session.close();
    print(&format!("everything is in {}", path_shown(out)));
    Ok(())
}

/// A person's hands: what the screen does with the session.
struct Hand {
    session: Session<Event>,
    inbox: Receiver<Event>,
    annotation: Annotation,
    next: u64,
}

impl Hand {
    fn new(session: Session<Event>, inbox: Receiver<Event>, opened: &Opened) -> Self {
        let next = u64::from(opened.session_seed) << 32;
        Self { session, inbox, annotation: opened.annotation.clone(), next }
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Applies and journals, as every key does.
    fn step(&mut self, group: u64, edits: Vec<Edit>) -> Result<(), Failure> {
        self.annotation.apply_all(&edits).map_err(Failure::ours)?;
        self.session
            .journal(&Step { group, mark: Mark::Do, edits, made_from: None })
            .map_err(Failure::input)
    }

    /// The first event that `wanted` takes; troubles of the engine end the wait.
    fn wait<T>(&self, what: &str, wanted: impl Fn(Event) -> Option<T>) -> Result<T, Failure> {
        loop {
            let event = self.inbox.recv_timeout(PATIENCE).map_err(|_| {
                Failure::Ours(format!("{what} did not come within {} s", PATIENCE.as_secs()))
            })?;
            match event {
                Event::EngineFailed { why } => return Err(Failure::Configuration(why)),
                Event::JobFailed { why, .. } | Event::FrameFailed { why, .. } => {
                    return Err(Failure::Ours(why));
                }
                other => {
                    if let Some(found) = wanted(other) {
                        return Ok(found);
                    }
                }
            }
        }
    }

    /// A structure, its window and its points.
    fn mark(&mut self) -> Result<TrackId, Failure> {
        let unique = self.fresh();
        let track = TrackOrder::default().next(&self.annotation, unique);
        let group = self.fresh();
        let windows = vec![WINDOW];
        self.step(
            group,
            vec![
                Edit::AddTrack { track, content: Track::new("bone shadow", 0) },
                Edit::SetWindows { track, before: Vec::new(), after: windows },
            ],
        )?;
        for (at, (x, y)) in POINTS.into_iter().enumerate() {
            let group = self.fresh();
            let prompt = Prompt::Point { kind: PointKind::Boundary, at: PointPx::new(x, y) };
            let placed = PlacedPrompt { id: PromptId(group), prompt };
            self.step(group, vec![Edit::AddPrompt { track, frame: ANCHOR, at, placed }])?;
        }
        print(&format!(
            "{} boundary points on frame {}, window frames {} to {}",
            POINTS.len(),
            ANCHOR + 1,
            WINDOW.first + 1,
            WINDOW.last + 1
        ));
        Ok(track)
    }

    fn set_mask(
        &mut self,
        track: TrackId,
        frame: FrameIndex,
        decided: &Decided,
        source: MaskSource,
    ) -> Result<(), Failure> {
        let group = self.fresh();
        let after = FrameMask { mask: decided.bitmap.to_mask(), source, score: decided.score };
        let before = self.annotation.tracks.get(&track).and_then(|t| t.masks.get(&frame)).cloned();
        self.step(group, vec![Edit::SetMask { track, frame, before, after: Some(after) }])
    }

    fn refresh(&mut self, track: TrackId) -> Result<(), Failure> {
        let prompts = self.annotation.tracks[&track].frame_prompts(ANCHOR);
        self.session.refresh(Ticket { track, generation: 1 }, ANCHOR, prompts);
        let decided = self.wait("the mask", |event| match event {
            Event::Refreshed { decided, .. } => Some(decided),
            _ => None,
        })?;
        print(&format!(
            "mask of frame {}: {} px, score {:.2}, encoder {:.0} ms, decoder {:.0} ms",
            ANCHOR + 1,
            decided.bitmap.area_px(),
            decided.score,
            decided.encode_ms,
            decided.decode_ms
        ));
        self.set_mask(track, ANCHOR, &decided, MaskSource::Prompted)
    }

    fn propagate(&mut self, track: TrackId) -> Result<(), Failure> {
        let plan = plan(&self.annotation.tracks[&track], CLIP.len(), ANCHOR, Span::Both)
            .map_err(Failure::ours)?;
        let begun = Instant::now();
        let total = plan.len();
        self.session.propagate(Ticket { track, generation: 2 }, plan);
        for _ in 0..total {
            let (frame, decided) = self.wait("a tracked frame", |event| match event {
                Event::Tracked { frame, decided, .. } => Some((frame, decided)),
                _ => None,
            })?;
            self.set_mask(track, frame, &decided, MaskSource::Tracked)?;
        }
        self.wait("the end", |event| matches!(event, Event::Finished { .. }).then_some(()))?;
        let seconds = begun.elapsed().as_secs_f64();
        print(&format!(
            "propagated {total} frames in {seconds:.1} s, {:.1} frames/s",
            total as f64 / seconds
        ));
        Ok(())
    }

    /// Masks, COCO, and one picture of it all.
    fn write(&self, clip: &Path, out: &Path) -> Result<(), Failure> {
        let info = self.session.info();
        for (format, name) in [(ExportFormat::Png, "masks"), (ExportFormat::Coco, "coco.json")] {
            let what = export_clip(&Job::new(&self.annotation, info), format, &out.join(name))
                .map_err(Failure::input)?;
            print(&format!("{name}: {what}"));
        }
        let clip = codec::open(clip, &codec::OpenOptions::default()).map_err(Failure::input)?;
        let masks: BTreeMap<FrameIndex, &FrameMask> = self
            .annotation
            .tracks
            .values()
            .flat_map(|track| track.masks.iter().map(|(frame, held)| (*frame, held)))
            .collect();
        let mut pictures = Vec::with_capacity(info.frames);
        for frame in 0..info.frames {
            let mut picture = RgbImage::of_frame(&*clip.frame(frame).map_err(Failure::input)?);
            if let Some(held) = masks.get(&frame) {
                draw_mask(&mut picture, &held.mask.to_bitmap(), GREEN);
            }
            pictures.push(picture);
        }
        let sheet = png_bytes(&contact_sheet(&pictures, 4, 320)).map_err(Failure::ours)?;
        write_atomic(&out.join("overlay.png"), &sheet).map_err(Failure::input)?;
        print("overlay.png: all frames with their masks");
        Ok(())
    }
}
