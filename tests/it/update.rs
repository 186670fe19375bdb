//! Keys to edits, answers of the network to masks: all through the pure `update`.

use std::sync::Arc;
use std::time::Duration;

use sonomark::domain::{
    Annotation, Axis, Bitmap, BoxPx, ClipInfo, ClipKind, ContentHash, Cut, Edit, FrameIndex,
    GrayFrame, History, Mark, MaskOrigins, MaskSource, Placement, PointKind, PointPx, Prompt, Step,
    Track, TrackId, Window,
};
use sonomark::engine::{Decided, Event, Opened, SegmenterInfo, Surround, Ticket};
use sonomark::tui::action::Action;
use sonomark::tui::graphics::{Grid, Link, Protocol};
use sonomark::tui::keymap::Keymap;
use sonomark::tui::model::{Effect, Mode, Model, Msg, Queued, Saved, Weight};
use sonomark::tui::{begin, update};

use crate::screen::{has, screen};

const FRAMES: usize = 40;

pub(crate) fn opened(frames: usize) -> Opened {
    let kind = if frames > 1 { ClipKind::Cine } else { ClipKind::Still };
    Opened {
        info: ClipInfo {
            name: "cine.dcm".into(),
            pixel_spacing_mm: Some([0.5, 0.5]),
            frame_time_ms: Some(50.0),
            format: "test".into(),
            ..ClipInfo::new(ContentHash("ab".repeat(32)), kind, (64, 48), frames)
        },
        part: Cut::default(),
        annotation: Annotation::default(),
        origins: Default::default(),
        history: History::default(),
        view: None,
        surround: Surround::default(),
        private: false,
        notes: Vec::new(),
        session_seed: 7,
    }
}

pub(crate) fn model(frames: usize) -> Model {
    model_with(frames, Keymap::shipped())
}

/// Reading the keymap takes longer than everything else here.
pub(crate) fn model_with(frames: usize, keymap: Keymap) -> Model {
    model_of(opened(frames), keymap)
}

/// The model of a clip just opened.
pub(crate) fn model_of(opened: Opened, keymap: Keymap) -> Model {
    let grid = Grid { columns: 80, rows: 24, cell_px: (8, 16) };
    let queued = |name: &str| Queued {
        path: name.into(),
        cut: Cut::default(),
        name: name.into(),
        finished: false,
        changed: false,
    };
    let queue = ["cine.dcm", "other.dcm"].map(queued).to_vec();
    Model::new(opened, queue, 0, keymap, grid)
}

/// Presses keys written as in a keymap; single characters may be glued: "12l".
pub(crate) fn press(model: &mut Model, keys: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    for key in keys.split(' ') {
        effects.extend(update(model, Msg::Key(key.parse().unwrap())));
    }
    effects
}

/// Types characters one by one.
pub(crate) fn kind(model: &mut Model, text: &str) -> Vec<Effect> {
    text.chars()
        .flat_map(|c| {
            let key = if c == ' ' { "space".parse() } else { c.to_string().parse() };
            update(model, Msg::Key(key.unwrap()))
        })
        .collect()
}

pub(crate) fn tell(model: &mut Model, event: Event) -> Vec<Effect> {
    update(model, Msg::Engine(event))
}

/// What another session did, of which no journal tells more.
pub(crate) fn others(edits: Vec<Edit>) -> Event {
    Event::Others { edits, origins: MaskOrigins::default() }
}

pub(crate) fn decided(column: u32) -> Decided {
    let bitmap = Bitmap::from_fn(64, 48, |x, y| x >= column && x < column + 9 && y > 10 && y < 30);
    Decided { bitmap, score: 0.9, object_score_logit: 5.0, encode_ms: 0.0, decode_ms: 1.0 }
}

pub(crate) fn refresh_of(effects: &[Effect]) -> Option<(Ticket, FrameIndex)> {
    effects.iter().find_map(|effect| match effect {
        Effect::Refresh(ticket, frame, prompts) => {
            assert!(!prompts.is_empty());
            Some((*ticket, *frame))
        }
        _ => None,
    })
}

pub(crate) fn steps(effects: &[Effect]) -> Vec<Step> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Journal(step) => Some(step.clone()),
            _ => None,
        })
        .collect()
}

pub(crate) fn track(model: &Model) -> &Track {
    model.current().expect("a structure").1
}

pub(crate) fn propagation(model: &mut Model, keys: &str) -> (Ticket, Vec<FrameIndex>) {
    let effects = press(model, keys);
    effects
        .iter()
        .find_map(|effect| match effect {
            Effect::Propagate(ticket, plan) => Some((*ticket, plan.frames().collect())),
            _ => None,
        })
        .unwrap_or_else(|| panic!("no propagation: {:?}", model.message))
}

/// A point on frame 0, answered.
pub(crate) fn with_a_mask(model: &mut Model) -> TrackId {
    let effects = press(model, "b");
    let (ticket, frame) = refresh_of(&effects).expect("asked at once");
    tell(model, Event::Refreshed { ticket, frame, decided: decided(5) });
    ticket.track
}

#[test]
fn a_point_is_journaled_drawn_at_once_and_followed_by_its_mask() {
    let mut m = model(FRAMES);
    let effects = press(&mut m, "b");
    let journaled = steps(&effects);
    assert_eq!(journaled.len(), 1);
    assert_eq!(journaled[0].mark, Mark::Do);
    assert!(matches!(journaled[0].edits[..], [Edit::AddTrack { .. }, Edit::AddPrompt { .. }]));
    let journal_at = effects.iter().position(|e| matches!(e, Effect::Journal(_)));
    let refresh_at = effects.iter().position(|e| matches!(e, Effect::Refresh(..)));
    assert!(journal_at < refresh_at, "written before anything else");
    assert_eq!(track(&m).prompts[&0].len(), 1);
    assert!(track(&m).masks.is_empty());

    let (ticket, frame) = refresh_of(&effects).unwrap();
    let answer = tell(&mut m, Event::Refreshed { ticket, frame, decided: decided(5) });
    let mask = &track(&m).masks[&0];
    assert_eq!((mask.source, mask.score), (MaskSource::Prompted, 0.9));
    assert_eq!(steps(&answer)[0].group, journaled[0].group, "one undo for both");

    press(&mut m, "u");
    assert_eq!(m.annotation, Annotation::default(), "one `u` takes back point, mask and structure");
    press(&mut m, "U");
    assert_eq!((track(&m).prompts.len(), track(&m).masks.len()), (1, 1));
}

#[test]
fn numbers_are_unique_to_the_session() {
    let mut m = model(FRAMES);
    press(&mut m, "b l b");
    let (id, held) = m.current().unwrap();
    // Of tracks the lower half: the upper one is their order.
    assert_eq!(id.0 & u64::from(u32::MAX), 7);
    let ids: Vec<u64> = held.prompts[&0].iter().map(|placed| placed.id.0).collect();
    assert!(ids.iter().all(|id| id >> 32 == 7) && ids[0] != ids[1]);
}

#[test]
fn answers_of_older_generations_are_dropped() {
    let mut m = model(FRAMES);
    let (old, frame) = refresh_of(&press(&mut m, "b")).unwrap();
    let (new, _) = refresh_of(&press(&mut m, "L b")).unwrap();
    assert!(new.generation > old.generation);
    assert_eq!(tell(&mut m, Event::Refreshed { ticket: old, frame, decided: decided(1) }), []);
    assert!(track(&m).masks.is_empty());
    tell(&mut m, Event::Refreshed { ticket: new, frame, decided: decided(2) });
    assert!(track(&m).masks[&0].mask.to_bitmap().get(2, 20));
    assert_eq!(tell(&mut m, Event::Refreshed { ticket: new, frame, decided: decided(3) }), []);
}

#[test]
fn undo_before_the_answer_drops_it_and_asks_again_for_what_is_left() {
    let mut m = model(FRAMES);
    let first = steps(&press(&mut m, "b"))[0].group;
    let (lost, _) = refresh_of(&press(&mut m, "L b")).unwrap();
    let effects = press(&mut m, "u");
    let (again, frame) = refresh_of(&effects).expect("the first point still has no mask");
    assert_eq!(tell(&mut m, Event::Refreshed { ticket: lost, frame, decided: decided(1) }), []);
    let answer = tell(&mut m, Event::Refreshed { ticket: again, frame, decided: decided(2) });
    assert_eq!(steps(&answer)[0].group, first, "it joins the point it belongs to");
    // The late mask has not thrown away what can be done again.
    press(&mut m, "U");
    assert_eq!(track(&m).prompts[&0].len(), 2);
}

#[test]
fn what_a_redo_asked_is_dropped_when_the_next_brings_the_mask_of_more_points() {
    let mut m = model(FRAMES);
    // The second point came before the answer about the first.
    press(&mut m, "b");
    let (ticket, frame) = refresh_of(&press(&mut m, "L b")).unwrap();
    tell(&mut m, Event::Refreshed { ticket, frame, decided: decided(6) });
    press(&mut m, "u u");
    let (late, _) = refresh_of(&press(&mut m, "C-r")).expect("the first point has no mask");
    press(&mut m, "C-r");
    assert_eq!(tell(&mut m, Event::Refreshed { ticket: late, frame, decided: decided(20) }), []);
    let (id, track) = m.current().expect("a structure");
    assert!(track.masks[&0].mask.to_bitmap().get(6, 20), "the mask of both points");
    assert!(!m.marks.is_stale(id, 0));
}

#[test]
fn the_old_mask_is_stale_until_the_new_one_comes_and_fresh_again_after_undo() {
    let mut m = model(FRAMES);
    let id = with_a_mask(&mut m);
    assert!(!m.marks.is_stale(id, 0));
    let (ticket, frame) = refresh_of(&press(&mut m, "L b")).unwrap();
    assert!(m.marks.is_stale(id, 0), "the old mask, in the stale colour");
    press(&mut m, "g s");
    assert!(m.message.text.starts_with("no other mask"), "{:?}", m.message);
    tell(&mut m, Event::Refreshed { ticket, frame, decided: decided(6) });
    assert!(!m.marks.is_stale(id, 0));
    press(&mut m, "u");
    assert!(!m.marks.is_stale(id, 0), "the first mask with the first point");
    assert!(track(&m).masks[&0].mask.to_bitmap().get(5, 20));
}

#[test]
fn propagation_streams_and_never_replaces_what_a_person_decided() {
    let mut m = model(FRAMES);
    let id = with_a_mask(&mut m);
    kind(&mut m, ":window 1 10");
    press(&mut m, "enter");
    let (ticket, frames) = propagation(&mut m, "p p");
    assert_eq!(frames, (1..10).collect::<Vec<_>>());
    tell(&mut m, Event::Tracked { ticket, frame: 1, decided: decided(6) });
    tell(&mut m, Event::Progress { ticket, done: 1, total: 9 });
    assert_eq!(track(&m).masks[&1].source, MaskSource::Tracked);
    // The person goes on meanwhile: a point on frame 3, an accepted mask on frame 1.
    press(&mut m, ". a");
    assert_eq!(track(&m).masks[&1].source, MaskSource::Accepted);
    press(&mut m, ". . b");
    for frame in [1, 3, 4] {
        tell(&mut m, Event::Tracked { ticket, frame, decided: decided(20) });
    }
    assert!(track(&m).masks[&1].mask.to_bitmap().get(6, 20), "accepted stays");
    assert!(!track(&m).masks.contains_key(&3), "a frame with points waits for its own mask");
    assert!(m.marks.is_stale(id, 4), "propagated from points that have changed meanwhile");
    assert_eq!(tell(&mut m, Event::Tracked { ticket, frame: 30, decided: decided(9) }), []);
    tell(&mut m, Event::Finished { ticket, cancelled: false });
    assert!(m.message.text.contains("changed meanwhile"), "{:?}", m.message);
    assert!(!m.propagating());
}

#[test]
fn all_structures_are_propagated_with_one_key_and_taken_back_with_one() {
    let mut m = model(FRAMES);
    let first = with_a_mask(&mut m);
    press(&mut m, "t n");
    let second = with_a_mask(&mut m);
    // A third one without any point is named and left out.
    press(&mut m, "t n");
    let effects = press(&mut m, "p s");
    let asked: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Propagate(ticket, plan) => Some((*ticket, plan.frames().collect::<Vec<_>>())),
            _ => None,
        })
        .collect();
    let frames: Vec<FrameIndex> = (1..FRAMES).collect();
    assert_eq!(asked.iter().map(|(ticket, _)| ticket.track).collect::<Vec<_>>(), [first, second]);
    assert!(asked.iter().all(|(_, of)| *of == frames), "{asked:?}");
    let said = m.message.text.clone();
    assert!(said.starts_with("propagating 2 structures to "), "{said}");
    assert!(said.contains("; without points in a window: \""), "{said}");
    for (ticket, _) in &asked {
        tell(&mut m, Event::Tracked { ticket: *ticket, frame: 1, decided: decided(6) });
    }
    tell(&mut m, Event::Finished { ticket: asked[0].0, cancelled: false });
    assert_eq!(m.message.text, said, "the last one speaks for all");
    tell(&mut m, Event::Finished { ticket: asked[1].0, cancelled: false });
    assert_eq!(m.message.text, "propagated 2 structures");
    let held =
        |m: &Model| [first, second].map(|id| m.annotation.tracks[&id].masks.contains_key(&1));
    assert_eq!(held(&m), [true; 2]);
    press(&mut m, "u");
    assert_eq!(held(&m), [false; 2], "one key, one step back");
    // Points that change while they are carried are told, whichever structure ends last.
    press(&mut m, "p s");
    let tickets: Vec<_> = m.jobs.running.iter().map(|run| run.ticket).collect();
    m.track = Some(first);
    press(&mut m, ". b");
    for ticket in tickets {
        tell(&mut m, Event::Finished { ticket, cancelled: false });
    }
    assert_eq!(
        m.message.text,
        "propagated 2 structures; the points changed meanwhile, `p s` again"
    );
    // One that is deleted meanwhile is not counted.
    press(&mut m, "p s");
    let mut tickets = m.jobs.running.iter().map(|run| run.ticket);
    let ticket = tickets.find(|ticket| ticket.track == second).unwrap();
    m.track = Some(first);
    press(&mut m, "t d");
    tell(&mut m, Event::Finished { ticket, cancelled: false });
    assert_eq!(m.message.text, format!("propagated {} frames", FRAMES - 1));
    // With one structure it is the usual propagation.
    let mut m = model(FRAMES);
    with_a_mask(&mut m);
    propagation(&mut m, "p s");
    assert!(m.message.text.starts_with("propagating to "), "{:?}", m.message);
}

#[test]
fn a_propagation_is_one_undo_and_undoing_it_stops_it() {
    let mut m = model(FRAMES);
    with_a_mask(&mut m);
    let (ticket, _) = propagation(&mut m, "p f");
    for frame in 1..5 {
        tell(&mut m, Event::Tracked { ticket, frame, decided: decided(6) });
    }
    let effects = press(&mut m, "u");
    assert!(effects.contains(&Effect::Cancel(Some(ticket.track))));
    assert_eq!(track(&m).masks.len(), 1);
    assert_eq!(tell(&mut m, Event::Tracked { ticket, frame: 5, decided: decided(6) }), []);
    press(&mut m, "C-r");
    assert_eq!(track(&m).masks.len(), 5);
}

#[test]
fn esc_stops_and_keeps_what_is_decided() {
    let mut m = model(FRAMES);
    with_a_mask(&mut m);
    let (ticket, _) = propagation(&mut m, "p p");
    tell(&mut m, Event::Tracked { ticket, frame: 1, decided: decided(6) });
    assert_eq!(press(&mut m, "esc"), [Effect::Cancel(None)]);
    // The frame in hand still comes.
    tell(&mut m, Event::Tracked { ticket, frame: 2, decided: decided(6) });
    tell(&mut m, Event::Finished { ticket, cancelled: true });
    assert_eq!(track(&m).masks.len(), 3);
    assert!(m.message.text.contains("stopped"));
}

#[test]
fn ctrl_c_with_nothing_to_stop_tells_how_to_leave() {
    let mut m = model(FRAMES);
    press(&mut m, "C-c");
    assert!(m.message.text.contains("`q` leaves"), "{:?}", m.message);
}

#[test]
fn frames_without_a_mask_are_gone_to_one_after_the_other() {
    let mut m = model(FRAMES);
    press(&mut m, "g w");
    assert!(m.message.text.starts_with("no structure yet"), "{:?}", m.message);
    with_a_mask(&mut m);
    press(&mut m, "g w");
    assert!(m.message.text.starts_with("no mask is missing; `w s` and `w e`"), "{:?}", m.message);
    let (ticket, _) = propagation(&mut m, "p p");
    for frame in (1..FRAMES).filter(|frame| ![3, 7].contains(frame)) {
        tell(&mut m, Event::Tracked { ticket, frame, decided: decided(6) });
    }
    tell(&mut m, Event::Finished { ticket, cancelled: true });
    for wanted in [3, 7, 3] {
        press(&mut m, "g w");
        assert_eq!(m.frame, wanted);
    }
    press(&mut m, "E");
    assert!(m.message.text.contains("2 frames without a mask (`g w`)"), "{:?}", m.message);
    // The key looks at the structure at hand.
    press(&mut m, "t n E");
    let elsewhere = "2 frames of structure 1 without a mask (`g w`)";
    assert!(m.message.text.contains(elsewhere), "{:?}", m.message);
    press(&mut m, "N L b");
    press(&mut m, "n E");
    let elsewhere = "masks of structure 1 older than the points (`g s`)";
    assert!(m.message.text.contains(elsewhere), "{:?}", m.message);
    press(&mut m, "N");
    for (window, told) in [(":window 5 6", "every frame on which"), (":window 3 4", "on no other")]
    {
        kind(&mut m, window);
        press(&mut m, "enter g w");
        assert!(m.frame == 3 && m.message.text.starts_with(told), "{window}: {:?}", m.message);
    }
}

#[test]
fn new_points_make_propagated_frames_stale_until_propagated_again() {
    let mut m = model(FRAMES);
    let id = with_a_mask(&mut m);
    let (ticket, _) = propagation(&mut m, "p p");
    for frame in 1..4 {
        tell(&mut m, Event::Tracked { ticket, frame, decided: decided(6) });
    }
    tell(&mut m, Event::Finished { ticket, cancelled: true });
    press(&mut m, "L b");
    let stale: Vec<_> = m.marks.stale(id).unwrap().iter().copied().collect();
    assert_eq!(stale, [0, 1, 2, 3]);
    press(&mut m, "g s");
    assert_eq!(m.frame, 1);
    press(&mut m, "u");
    assert!(m.marks.stale(id).unwrap().is_empty(), "the points are again those of the masks");
    press(&mut m, "U");
    let (ticket, _) = propagation(&mut m, "p p");
    for frame in 1..4 {
        tell(&mut m, Event::Tracked { ticket, frame, decided: decided(6) });
    }
    assert!(!m.marks.is_stale(id, 2), "the same mask, now right for the new points");
}

#[test]
fn correcting_a_propagated_mask_keeps_it_as_a_prompt_and_deleting_gives_it_back() {
    let mut m = model(FRAMES);
    with_a_mask(&mut m);
    let (ticket, _) = propagation(&mut m, "p p");
    tell(&mut m, Event::Tracked { ticket, frame: 1, decided: decided(6) });
    press(&mut m, ".");
    let effects = press(&mut m, "b");
    let Some(Effect::Refresh(ticket, 1, prompts)) =
        effects.iter().find(|e| matches!(e, Effect::Refresh(..)))
    else {
        panic!("asked");
    };
    assert_eq!(prompts.points.len(), 1);
    assert!(prompts.mask.as_ref().is_some_and(|mask| mask.to_bitmap().get(6, 20)));
    tell(&mut m, Event::Refreshed { ticket: *ticket, frame: 1, decided: decided(7) });
    press(&mut m, "x");
    assert!(!track(&m).prompts.contains_key(&1));
    let mask = &track(&m).masks[&1];
    assert!(mask.source == MaskSource::Tracked && mask.mask.to_bitmap().get(6, 20));
    assert_eq!(mask.score, 0.9, "the network judged it");
    // A mask that a person drew is a person's again.
    press(&mut m, "s g");
    let drawn = (track(&m).masks[&1].clone(), track(&m).prompts[&1].clone());
    assert_eq!(drawn.0.source, MaskSource::Accepted);
    let (ticket, frame) = refresh_of(&press(&mut m, "L b")).expect("asked");
    press(&mut m, "X");
    assert_eq!(track(&m).prompts[&1], drawn.1, "before there is an answer");
    press(&mut m, "u");
    let again = m.jobs.asked.first().map_or(ticket, |asked| asked.ticket);
    tell(&mut m, Event::Refreshed { ticket: again, frame, decided: decided(20) });
    assert_eq!(track(&m).masks[&1].source, MaskSource::Prompted);
    press(&mut m, "X");
    assert_eq!((&track(&m).masks[&1], &track(&m).prompts[&1]), (&drawn.0, &drawn.1));
    assert!(!m.marks.is_stale(m.track.unwrap(), 1));
}

#[test]
fn points_outside_the_windows_stretch_the_nearest() {
    let mut m = model(FRAMES);
    with_a_mask(&mut m);
    kind(&mut m, ":window 1 5");
    press(&mut m, "enter");
    kind(&mut m, ":window 20 30");
    press(&mut m, "enter");
    kind(&mut m, ":18");
    press(&mut m, "enter b");
    assert_eq!(track(&m).windows, [Window { first: 0, last: 4 }, Window { first: 17, last: 29 }]);
    assert!(m.message.text.contains("window now reaches here"), "{:?}", m.message);
    press(&mut m, "u");
    assert_eq!(track(&m).windows[1], Window { first: 19, last: 29 }, "undone with the point");
}

#[test]
fn windows_by_keys() {
    let w = |first, last| Window { first, last };
    let table: [(&str, &[Window]); 7] = [
        ("5 G w s", &[w(4, 39)]),
        ("5 G w s 1 0 G w e", &[w(4, 9)]),
        ("1 0 G w e", &[w(0, 9)]),
        ("5 G w s 1 0 G w e 2 0 G w n 2 5 G w e", &[w(4, 9), w(19, 24)]),
        ("5 G w s 1 0 G w e 2 0 G w n 1 8 G w s", &[w(4, 9), w(17, 19)]),
        ("5 G w s 1 0 G w e 8 G w c", &[]),
        ("5 G w s 1 0 G w e 2 0 G w n w x", &[]),
    ];
    for (keys, windows) in table {
        let mut m = model(FRAMES);
        press(&mut m, keys);
        assert_eq!(track(&m).windows, windows, "{keys}");
    }
}

#[test]
fn keys_to_edits() {
    let point = |x: f32, y: f32| PointPx::new(x, y);
    // The cursor starts in the middle, at pixel (32, 24).
    type Check = fn(&Model) -> bool;
    let table: [(&str, Check); 16] = [
        ("b", |m| prompts(m) == [(PointKind::Boundary, PointPx::new(32.5, 24.5))]),
        ("i", |m| prompts(m)[0].0 == PointKind::Inside),
        ("o", |m| prompts(m)[0].0 == PointKind::Outside),
        ("b b", |m| prompts(m).len() == 1),
        ("1 2 l b", |m| prompts(m)[0].1 == PointPx::new(44.5, 24.5)),
        ("L J b", |m| prompts(m)[0].1 == PointPx::new(40.5, 32.5)),
        ("S-left up b", |m| prompts(m)[0].1 == PointPx::new(24.5, 23.5)),
        ("9 9 h b", |m| prompts(m)[0].1 == PointPx::new(0.5, 24.5)),
        ("b L b tab 3 A-l", |m| prompts(m)[0].1 == PointPx::new(35.5, 24.5)),
        ("b L b backtab A-up", |m| prompts(m)[1].1 == PointPx::new(40.5, 23.5)),
        ("b L b tab x", |m| prompts(m).len() == 1 && prompts(m)[0].1.x == 40.5),
        ("b L b x", |m| prompts(m).len() == 1 && prompts(m)[0].1.x == 32.5),
        ("b L b X", |m| prompts(m).is_empty()),
        ("t n b t n", |m| m.annotation.tracks.len() == 2 && prompts(m).is_empty()),
        ("t n t n t d", |m| m.annotation.tracks.len() == 1),
        ("t n t c t c", |m| m.current().unwrap().1.info.colour == 2),
    ];
    for (keys, right) in table {
        let mut m = model(FRAMES);
        press(&mut m, keys);
        assert!(right(&m), "{keys}: {:?}", m.annotation);
        // Whatever the keys did, `u` takes all of it back.
        press(&mut m, "5 0 u");
        assert_eq!(m.annotation, Annotation::default(), "{keys}");
    }
    let mut m = model(FRAMES);
    press(&mut m, "r L J r");
    let area = BoxPx { min: point(32.5, 24.5), max: point(40.5, 32.5) };
    assert_eq!(track(&m).prompts[&0][0].prompt, Prompt::Box(area));
    press(&mut m, "r K r");
    assert_eq!(track(&m).prompts[&0].len(), 1, "corners must differ in both directions");
    press(&mut m, "H r");
    assert_eq!(track(&m).prompts[&0].len(), 1, "a frame has one box");
}

fn prompts(model: &Model) -> Vec<(PointKind, PointPx)> {
    model.current().map(|(_, t)| t.frame_prompts(model.frame).points).unwrap_or_default()
}

#[test]
fn a_run_of_nudges_is_one_undo() {
    let mut m = model(FRAMES);
    press(&mut m, "b L b tab A-l A-l A-j");
    assert_eq!(prompts(&m)[0].1, PointPx::new(34.5, 25.5));
    press(&mut m, "u");
    assert_eq!(prompts(&m)[0].1, PointPx::new(32.5, 24.5));
    assert_eq!(prompts(&m).len(), 2);
}

#[test]
fn a_box_nudged_against_the_border_keeps_its_size() {
    let mut m = model(FRAMES);
    press(&mut m, "r L J r tab 9 9 A-l");
    let at = |x: f32| {
        Prompt::Box(BoxPx { min: PointPx::new(x, 24.5), max: PointPx::new(x + 8.0, 32.5) })
    };
    assert_eq!(track(&m).prompts[&0][0].prompt, at(55.5));
    press(&mut m, "A-l");
    assert!(m.message.text.contains("edge of the picture"), "{:?}", m.message);
    press(&mut m, "A-h");
    assert_eq!(track(&m).prompts[&0][0].prompt, at(54.5));
    press(&mut m, "u");
    assert_eq!(track(&m).prompts[&0][0].prompt, at(32.5));
}

#[test]
fn frames_by_keys() {
    let table = [
        (".", 1),
        ("7 .", 7),
        (". . ,", 1),
        (">", 10),
        ("2 5 >", 25),
        ("> <", 0),
        ("G", 39),
        ("1 2 G", 11),
        ("G g g", 0),
        ("end", 39),
        ("1 0 0 .", 39),
        ("b 1 1 G b 6 G g p", 0),
        ("b 1 1 G b 6 G ]", 10),
        ("b 1 1 G b g g . g m", 5),
    ];
    for (keys, frame) in table {
        let mut m = model(FRAMES);
        press(&mut m, keys);
        assert_eq!(m.frame, frame, "{keys}");
    }
}

#[test]
fn an_unseen_frame_is_asked_for_and_its_neighbour_after_it() {
    let mut m = model(FRAMES);
    assert_eq!(begin(&m), [Effect::WantFrame(0)]);
    let pixels = Arc::new(GrayFrame::new(64, 48, vec![9; 64 * 48]).unwrap());
    let effects = tell(&mut m, Event::Frame { frame: 0, pixels: pixels.clone() });
    assert_eq!(effects, [Effect::WantFrame(1)]);
    tell(&mut m, Event::Frame { frame: 1, pixels });
    assert_eq!(press(&mut m, "."), [], "already there");
    assert_eq!(press(&mut m, "."), [Effect::WantFrame(2)]);
}

#[test]
fn a_playing_clip_waits_for_pixels_and_goes_round() {
    let mut m = model(3);
    let pixels = Arc::new(GrayFrame::new(64, 48, vec![9; 64 * 48]).unwrap());
    for frame in 0..3 {
        tell(&mut m, Event::Frame { frame, pixels: pixels.clone() });
    }
    press(&mut m, "space");
    let seen: Vec<_> = (0..200)
        .step_by(25)
        .map(|ms| {
            update(&mut m, Msg::Tick(Duration::from_millis(ms)));
            m.frame
        })
        .collect();
    assert_eq!(seen, [0, 0, 1, 1, 2, 2, 0, 0], "a frame lasts 50 ms");
    press(&mut m, "} space");
    assert!(!m.cine.playing && m.cine.speed > 1.0);
    let mut still = model(1);
    press(&mut still, "space");
    assert!(!still.cine.playing);
}

#[test]
fn resting_notes_the_place_and_encodes_ahead_once() {
    let mut m = model(FRAMES);
    let pixels = Arc::new(GrayFrame::new(64, 48, vec![9; 64 * 48]).unwrap());
    tell(&mut m, Event::Frame { frame: 0, pixels });
    press(&mut m, "l");
    assert!(m.wake_at().is_some());
    let effects = update(&mut m, Msg::Tick(Duration::from_secs(2)));
    assert!(
        matches!(effects[..], [Effect::JournalView(_), Effect::EncodeAhead(0, None)]),
        "{effects:?}"
    );
    assert_eq!(update(&mut m, Msg::Tick(Duration::from_secs(3))), []);
    assert_eq!(m.wake_at(), None, "nothing to wake up for");
}

#[test]
fn without_a_network_points_and_windows_go_on() {
    let mut m = model(FRAMES);
    tell(&mut m, Event::EngineFailed { why: "no card".into() });
    let effects = press(&mut m, "b w s");
    assert_eq!(refresh_of(&effects), None);
    assert_eq!(steps(&effects).len(), 2);
    assert!(press(&mut m, "p p").is_empty());
    assert!(m.message.text.contains("no card"));
    tell(
        &mut m,
        Event::Ready(SegmenterInfo { model: "nano".into(), device: "cpu".into(), bridged: false }),
    );
    let (ticket, frame) = refresh_of(&press(&mut m, "R")).unwrap();
    assert_eq!(m.message.text, "computing the mask");
    tell(&mut m, Event::Refreshed { ticket, frame, decided: decided(5) });
    assert_eq!(m.message.text, "the mask of frame 1 is computed");
}

#[test]
fn a_failed_job_is_a_sentence() {
    let mut m = model(FRAMES);
    let (ticket, _) = refresh_of(&press(&mut m, "b")).unwrap();
    tell(&mut m, Event::JobFailed { ticket, why: "out of memory".into() });
    assert_eq!(m.message.weight, Weight::Warning);
    assert!(m.message.text.contains("out of memory"));
    assert!(m.jobs.asked.is_empty());
    press(&mut m, "p p");
    let (ticket, _) = (m.jobs.running[0].ticket, ());
    tell(&mut m, Event::JobFailed { ticket, why: "device lost".into() });
    assert!(!m.propagating() && m.message.text.contains("device lost"));
}

#[test]
fn save_failures_stay_in_sight_and_leaving_asks_twice() {
    let mut m = model(FRAMES);
    tell(&mut m, Event::SaveFailed { why: "disk full".into() });
    let effects = press(&mut m, "b");
    assert_eq!(steps(&effects).len(), 1, "editing goes on");
    assert!(matches!(&m.saved, Saved::Failed(why) if why == "disk full"));
    assert!(!press(&mut m, "q").contains(&Effect::Quit));
    press(&mut m, "l");
    assert!(!press(&mut m, "q").contains(&Effect::Quit), "another key in between starts over");
    assert!(press(&mut m, "q").contains(&Effect::Quit));
    tell(&mut m, Event::Saved { unsynced: 2 });
    tell(&mut m, Event::Saved { unsynced: 0 });
    assert_eq!(m.saved, Saved::Solid);
    let mut m = model(FRAMES);
    let effects = press(&mut m, "q");
    assert!(matches!(effects[..], [Effect::JournalView(_), Effect::Quit]), "{effects:?}");
}

#[test]
fn another_sessions_edits_appear_and_are_not_journaled_again() {
    let mut m = model(FRAMES);
    let id = TrackId(99);
    let add = Edit::AddTrack { track: id, content: Track::new("theirs", 3) };
    assert_eq!(tell(&mut m, others(vec![add.clone(), add])), []);
    assert_eq!(m.track, Some(id));
    let content = m.annotation.tracks[&id].clone();
    tell(&mut m, others(vec![Edit::RemoveTrack { track: id, content }]));
    assert_eq!(m.track, None);
    press(&mut m, "u");
    assert!(m.message.text.contains("nothing to take back"), "theirs is not ours to undo");
}

#[test]
fn the_brush_goes_with_the_structure_that_another_session_deletes() {
    let mut m = model(FRAMES);
    let first = with_a_mask(&mut m);
    press(&mut m, "t n");
    let second = with_a_mask(&mut m);
    press(&mut m, "s b");
    assert!(m.tools.brush.is_some());
    let kept = m.annotation.tracks[&first].clone();
    let content = m.annotation.tracks[&second].clone();
    tell(&mut m, others(vec![Edit::RemoveTrack { track: second, content }]));
    assert_eq!((m.track, m.tools.brush), (Some(first), None));
    assert_eq!(m.message.text, "another session made 1 change here, the structure at hand is gone");
    press(&mut m, "L");
    assert_eq!(m.annotation.tracks[&first], kept);
}

#[test]
fn who_changes_a_hidden_mask_by_hand_sees_it() {
    let mut m = model(FRAMES);
    let id = with_a_mask(&mut m);
    press(&mut m, "t h");
    assert!(m.hidden.contains(&id));
    press(&mut m, "s g");
    assert!(m.hidden.is_empty(), "{:?}", m.message);
}

#[test]
fn the_command_line_and_the_palette_do_what_keys_do() {
    let mut m = model(FRAMES);
    kind(&mut m, ":new lymph node");
    press(&mut m, "enter");
    assert_eq!(track(&m).info.label, "lymph node");
    press(&mut m, "t r");
    let Mode::Command(line) = &m.mode else { panic!("the line is open") };
    assert_eq!(line.text, "rename ");
    assert!(m.message.text.contains("lymph node"), "{:?}", m.message);
    kind(&mut m, "vessel");
    press(&mut m, "enter");
    assert_eq!(track(&m).info.label, "vessel");
    // q types here, it does not leave.
    kind(&mut m, ":q");
    press(&mut m, "esc");
    assert_eq!(m.mode, Mode::Normal);
    press(&mut m, "f2");
    kind(&mut m, "later frames");
    let effects = press(&mut m, "enter");
    assert!(effects.is_empty() && m.message.text.contains("boundary points"), "{:?}", m.message);
    kind(&mut m, ":export nift");
    let effects = press(&mut m, "enter");
    assert_eq!(effects, [Effect::Export { format: "nift".into(), path: None }]);
    kind(&mut m, ":xyzzy");
    press(&mut m, "enter");
    assert!(m.message.text.contains("`:palette` searches them"), "{:?}", m.message);
    update(&mut m, Msg::Pasted("b b b\u{1b}[2J".into()));
    assert!(track(&m).prompts.is_empty(), "pasted text presses no keys");
    assert!(m.message.text.contains("`:` opens it"), "{:?}", m.message);
    press(&mut m, "? /");
    update(&mut m, Msg::Pasted("take\r\nback\r\n".into()));
    let Mode::Help(page) = &m.mode else { panic!("{:?}", m.mode) };
    assert_eq!(page.find, "take back");
    press(&mut m, "esc esc :");
    update(&mut m, Msg::Pasted("export png\n".into()));
    let Mode::Command(line) = &m.mode else { panic!("{:?}", m.mode) };
    assert_eq!(line.text, "export png");
}

#[test]
fn counts_and_unfinished_sequences_can_be_given_up() {
    let mut m = model(FRAMES);
    press(&mut m, "1 2 w");
    assert_eq!((m.pending.count, m.pending.keys.len()), (Some(12), 1));
    press(&mut m, "esc");
    assert_eq!((m.pending.count, m.pending.keys.len()), (None, 0));
    press(&mut m, "9 9 9 9 9 9 9 9 9 9 l");
    assert_eq!(m.cursor.x, 63.5);
    press(&mut m, "w Q");
    assert!(m.message.text.contains("`w Q` does nothing"), "{:?}", m.message);
}

#[test]
fn the_next_clip_takes_the_place_and_late_answers_find_nothing() {
    let mut m = model(FRAMES);
    let (ticket, frame) = refresh_of(&press(&mut m, "b")).unwrap();
    let effects = press(&mut m, "C-n");
    assert!(effects.contains(&Effect::OpenClip(1, Cut::default())), "{effects:?}");
    let mut next = opened(5);
    next.info.name = "other.dcm".into();
    let effects = update(&mut m, Msg::Opened(Box::new(next)));
    assert!(effects.contains(&Effect::WantFrame(0)));
    assert_eq!((m.at, m.clip.frames, m.annotation.tracks.len()), (1, 5, 0));
    assert_eq!(tell(&mut m, Event::Refreshed { ticket, frame, decided: decided(3) }), []);
    press(&mut m, "C-n");
    assert!(m.message.text.contains("last clip"));
    tell(&mut m, Event::ClipsArrived { paths: vec!["new.dcm".into()] });
    assert!(press(&mut m, "C-n").contains(&Effect::OpenClip(2, Cut::default())));
    update(&mut m, Msg::NotOpened { at: 2, why: "it is empty".into() });
    assert_eq!(m.at, 1);
    assert!(m.message.text.contains("it is empty"));
    // Another content of the clip at hand: its number opens it again.
    let path = m.queue[1].path.clone();
    update(&mut m, Msg::Line("clip 2".into()));
    assert!(m.message.text.contains("this is clip 2"), "{}", m.message.text);
    tell(&mut m, Event::ClipsArrived { paths: vec![path] });
    assert!(m.message.text.contains(":clip 2 opens it again"), "{}", m.message.text);
    let effects = update(&mut m, Msg::Line("clip 2".into()));
    assert!(effects.contains(&Effect::OpenClip(1, Cut::default())), "{effects:?}");
    update(&mut m, Msg::Opened(Box::new(opened(6))));
    assert_eq!((m.clip.frames, m.queue.len(), m.queue[1].changed), (6, 3, false));
}

#[test]
fn without_a_structure_there_are_no_windows_to_forget() {
    let mut m = model(FRAMES);
    assert_eq!(steps(&press(&mut m, "w x")), []);
    assert!(m.message.text.starts_with("no structure yet"), "{:?}", m.message);
}

#[test]
fn a_clip_that_does_not_open_is_named_once() {
    let mut m = model(FRAMES);
    m.queue[1].path = "/study/other.dcm".into();
    for (why, told) in [
        ("/study/other.dcm is damaged; copy it again", "it is damaged; copy it again"),
        ("/study/other.dcm.bak is damaged", "/study/other.dcm.bak is damaged"),
        ("ffmpeg is not there", "ffmpeg is not there"),
    ] {
        update(&mut m, Msg::NotOpened { at: 1, why: why.into() });
        assert_eq!(m.message.text, format!("other.dcm does not open: {told}"));
    }
    let refused = vec![("/in/half.dcm".into(), "/in/half.dcm is damaged".into())];
    tell(&mut m, Event::ClipsRefused { refused });
    assert_eq!(m.message.text, "/in/half.dcm refused: it is damaged");
}

#[test]
fn a_hang_up_notes_the_place() {
    let mut m = model(FRAMES);
    press(&mut m, "> l");
    let effects = update(&mut m, Msg::HungUp);
    assert!(matches!(effects[..], [Effect::JournalView(view)] if view.frame == 10));
    assert!(m.leaving);
}

#[test]
fn zoom_and_steps_of_a_cell_follow_each_other() {
    let mut m = model(FRAMES);
    let fit = m.picture.viewport.unwrap();
    let before = m.cursor.x;
    press(&mut m, "C-right");
    let step = m.cursor.x - before;
    assert!((step - (8.0 / fit.scale).round().max(1.0)).abs() < 1e-3, "{step}");
    press(&mut m, "+ + + +");
    assert!(m.picture.viewport.unwrap().scale > fit.scale * 4.0);
    press(&mut m, "9 9 h");
    let (x, _) = m.picture.viewport.unwrap().to_screen(m.cursor);
    assert!(x >= 0.0, "the cursor stays in sight: {x}");
    press(&mut m, "=");
    assert_eq!(m.picture.viewport.unwrap(), fit);
    press(&mut m, "v l v k");
    let tone = m.picture.tone();
    assert!(tone.window < 255.0 && tone.level < 127.5);
}

#[test]
fn every_action_can_be_done_in_every_state_without_a_panic() {
    let keymap = Keymap::shipped();
    for frames in [1, FRAMES] {
        for prelude in ["l", "b", "b L b tab", "t n", "w s", "r", "p p b w e p p"] {
            for action in Action::ALL {
                let mut m = model_with(frames, keymap.clone());
                press(&mut m, prelude);
                kind(&mut m, &format!(":{} 3", action.name()));
                press(&mut m, "enter esc 9 9 u");
                assert_eq!(m.annotation, Annotation::default(), "{prelude} {}", action.name());
                press(&mut m, "9 9 U");
            }
        }
    }
}

#[test]
fn the_line_is_told_and_set_by_hand() {
    let mut m = model(FRAMES);
    let mut told = |line: &str| {
        update(&mut m, Msg::Line(line.into()));
        m.message.text.clone()
    };
    assert!(told("link").contains("32 grays, scale 1/1"));
    assert!(told("link levels 101").contains("101 grays (set by hand), scale 1/1"));
    assert!(told("link scale 2").contains("scale 1/2 (set by hand)"));
    assert!(told("link levels auto").contains("32 grays, scale 1/2 (set by hand)"));
    assert!(told("link levels 7").contains("link levels 16"));
    // Sixels have no more than 101; images in PNG have.
    assert!(told("link levels 161").contains("sixels show 101 grays at most"));
    m.link = Link::by(Protocol::Kitty);
    let mut told = |line: &str| {
        update(&mut m, Msg::Line(line.into()));
        m.message.text.clone()
    };
    assert!(told("link levels 161").contains("161 grays (set by hand)"));
}

#[test]
fn another_axis_of_a_volume_opens_at_the_place_of_the_cursor() {
    // A slanted volume of 64 x 48 x 40 voxels.
    let stored = Placement {
        origin_mm: [-30.0, 12.0, 100.0],
        steps_mm: [[0.4, 0.3, 0.0], [-0.3, 0.4, 0.0], [0.0, 0.0, -2.0]],
    };
    let part = |frames: usize, kind, placement| {
        let mut opened = opened(frames);
        opened.info = ClipInfo { kind, placement: Some(placement), ..opened.info };
        opened
    };
    let mut m = model(FRAMES);
    m.clip = part(FRAMES, ClipKind::Volume, stored).info;
    update(&mut m, Msg::Line("frame 12".into()));
    update(&mut m, Msg::Line("cursor 30.5 40.5".into()));
    let effects = update(&mut m, Msg::Line("axis x".into()));
    let along_x = Cut { axis: Some(Axis::X), ..Cut::default() };
    assert!(effects.contains(&Effect::OpenClip(0, along_x)), "{effects:?}");

    // Along x the columns are y, the rows z.
    let mut along = part(64, ClipKind::Volume, stored.with_axes([1, 2, 0]));
    (along.info.width_px, along.info.height_px) = (48, 40);
    update(&mut m, Msg::Opened(Box::new(along)));
    assert_eq!((m.frame, m.cursor), (30, PointPx::new(40.5, 11.5)));
    assert_eq!((m.at, m.queue[0].cut, m.queue[1].cut), (0, along_x, Cut::default()));

    has(&screen(&m), &["48 x 40 px along x"]);

    // What is shown already is not opened again, by whichever name: x leads left and right here.
    for line in ["axis x", "axis sagittal"] {
        let effects = update(&mut m, Msg::Line(line.into()));
        assert!(!effects.iter().any(|e| matches!(e, Effect::OpenClip(..))), "{line}: {effects:?}");
        assert!(
            m.message.text.contains(&format!("the {line} is shown already")),
            "{:?}",
            m.message
        );
    }

    // A moment keeps the axis; what does not open leaves everything as it was.
    let effects = update(&mut m, Msg::Line("time 3".into()));
    let moment = Cut { time: Some(3), ..along_x };
    assert!(effects.contains(&Effect::OpenClip(0, moment)), "{effects:?}");
    update(&mut m, Msg::NotOpened { at: 0, why: "it holds one volume".into() });
    assert_eq!((m.queue[0].cut, m.frame), (along_x, 30));
    assert!(m.message.text.contains("stays as it is: it holds one volume"), "{:?}", m.message);

    // The slice at row 11 over time: all frames lie in one place, so the frame is not carried over.
    update(&mut m, Msg::Line("slice 12".into()));
    let mut plane = stored.with_axes([1, 0, 2]);
    plane.origin_mm[2] += -2.0 * 11.0;
    let mut slice = part(9, ClipKind::Cine, plane);
    slice.part.slice = Some(12);
    update(&mut m, Msg::Opened(Box::new(slice)));
    assert_eq!((m.frame, m.cursor), (0, PointPx::new(40.5, 30.5)));

    // A slice or a moment that is shown is not opened again, also where nobody named it.
    m.queue[0].cut = Cut::default();
    let mut opens = |line: &str| -> (bool, String) {
        let effects = update(&mut m, Msg::Line(line.into()));
        m.opening = None;
        (effects.iter().any(|e| matches!(e, Effect::OpenClip(..))), m.message.text.clone())
    };
    assert_eq!(opens("slice 12"), (false, "the slice 12 is shown already".into()));
    assert!(opens("slice 11").0 && opens("time 12").0);
    m.part = Cut { time: Some(3), ..Cut::default() };
    let mut opens = |line: &str| {
        let effects = update(&mut m, Msg::Line(line.into()));
        m.opening = None;
        effects.iter().any(|e| matches!(e, Effect::OpenClip(..)))
    };
    assert!(!opens("time 3") && opens("time 2") && opens("slice 3"));
    assert!(m.log.iter().any(|said| said.text == "the time 3 is shown already"), "{:?}", m.log);

    for (line, told) in [("axis up", "an axis is x, y, z"), ("slice 0", "no number from 1 on")] {
        update(&mut m, Msg::Line(line.into()));
        assert!(m.message.text.contains(told), "{:?}", m.message);
    }
    m.queue.clear();
    let scripts = [
        ("axis y", "a script keeps its clip"),
        ("clip", "clip 1 of 1"),
        ("clip 1", "this is clip 1 of 1"),
        ("clip 2", "there is no clip 2: this is clip 1 of 1"),
    ];
    for (line, told) in scripts {
        update(&mut m, Msg::Line(line.into()));
        assert!(m.message.text.contains(told), "{:?}", m.message);
    }
}
