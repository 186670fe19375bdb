//! Masks computed before they are asked for: there at once when they are, gone without a trace
//! when the question changes.

use std::time::Duration;

use sonomark::domain::{FrameIndex, MaskSource};
use sonomark::engine::{Event, SegmenterInfo, Ticket};
use sonomark::tui::model::{Effect, Model, Msg};
use sonomark::tui::update;

use crate::update::{decided, model, press, propagation, steps, tell, track, with_a_mask};

/// A mask on frame 0 of eight, a network, and a person who looks at it for a second.
fn resting() -> (Model, Ticket, Vec<FrameIndex>) {
    let mut m = model(8);
    let info = SegmenterInfo { model: "m".into(), device: "CPU".into(), bridged: false };
    tell(&mut m, Event::Ready(info));
    with_a_mask(&mut m);
    let (ticket, frames) = begun(&rest(&mut m, 1)).expect("begun without being asked");
    (m, ticket, frames)
}

fn rest(m: &mut Model, seconds: u64) -> Vec<Effect> {
    update(m, Msg::Tick(Duration::from_secs(seconds)))
}

fn begun(effects: &[Effect]) -> Option<(Ticket, Vec<FrameIndex>)> {
    effects.iter().find_map(|effect| match effect {
        Effect::PropagateAhead(ticket, plan) => Some((*ticket, plan.frames().collect())),
        _ => None,
    })
}

fn come(m: &mut Model, ticket: Ticket, frames: &[FrameIndex]) -> Vec<Effect> {
    let come =
        |frame: &FrameIndex| tell(m, Event::Tracked { ticket, frame: *frame, decided: decided(5) });
    frames.iter().flat_map(come).collect()
}

#[test]
fn what_was_computed_while_the_person_looked_is_there_at_once() {
    let (mut m, ticket, frames) = resting();
    assert_eq!(frames, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(
        come(&mut m, ticket, &frames[..5]),
        [],
        "nothing is journaled before it is asked for"
    );
    assert_eq!((track(&m).masks.len(), m.propagating()), (1, false));
    assert!(begun(&rest(&mut m, 2)).is_none(), "once is enough");

    let effects = press(&mut m, "p p");
    assert!(!effects.iter().any(|e| matches!(e, Effect::Propagate(..))), "it goes on, not anew");
    assert_eq!(steps(&effects)[0].edits.len(), 5);
    assert!(m.propagating());
    let told = "propagating to 7 frames, 5 there already; go on working, `esc` stops it";
    assert_eq!(m.message.text, told);
    come(&mut m, ticket, &frames[5..]);
    tell(&mut m, Event::Finished { ticket, cancelled: false });
    assert_eq!(track(&m).masks.len(), 8);
    assert_eq!(track(&m).masks[&4].source, MaskSource::Tracked);
    assert!(!m.marks.is_stale(ticket.track, 4));
    press(&mut m, "u");
    assert_eq!(track(&m).masks.len(), 1, "one undo takes all of it back");
}

#[test]
fn a_walk_that_begins_anew_decides_no_frame_twice() {
    let (mut m, ticket, frames) = resting();
    come(&mut m, ticket, &frames[..3]);
    // The graphics card was lost meanwhile, and the engine went on with another device.
    come(&mut m, ticket, &frames[..3]);
    let effects = press(&mut m, "p p");
    assert_eq!(steps(&effects)[0].edits.len(), 3);
    assert!(m.message.text.contains("3 there already"), "{}", m.message.text);
}

#[test]
fn the_frames_between_the_anchors_are_the_next_to_be_encoded() {
    let (mut m, ..) = resting();
    press(&mut m, "5 . b 3 ,");
    let at = m.frame;
    assert!((1..5).contains(&at));
    let pixels =
        std::sync::Arc::new(sonomark::domain::GrayFrame::new(64, 48, vec![9; 64 * 48]).unwrap());
    tell(&mut m, Event::Frame { frame: at, pixels });
    let effects = rest(&mut m, 9);
    assert!(effects.contains(&Effect::EncodeAhead(at, Some((0, 5)))), "{effects:?}");
    m.tools.never_ahead = true;
    assert!(rest(&mut m, 18).contains(&Effect::EncodeAhead(at, None)));
}

#[test]
fn a_program_at_rest_looks_once_for_something_to_do() {
    let (mut m, ticket, frames) = resting();
    come(&mut m, ticket, &frames);
    tell(&mut m, Event::Finished { ticket, cancelled: false });
    press(&mut m, "p p");
    assert_eq!(track(&m).masks.len(), 8);
    assert!(begun(&rest(&mut m, 3)).is_none(), "everything is decided");
    // Behind its back: it would be found if it were looked for every second.
    m.annotation.tracks.get_mut(&ticket.track).unwrap().masks.remove(&4);
    assert!(begun(&rest(&mut m, 4)).is_none());
    update(&mut m, Msg::Nothing);
    assert!(begun(&rest(&mut m, 5)).is_some());
}

#[test]
fn a_change_of_the_points_throws_it_away() {
    for change in ["l b", "X", "w s", "u"] {
        let (mut m, ticket, frames) = resting();
        come(&mut m, ticket, &frames[..2]);
        let effects = press(&mut m, change);
        let cancelled = Effect::Cancel(Some(ticket.track));
        assert!(effects.contains(&cancelled), "{change}: {effects:?}");
        assert_eq!(come(&mut m, ticket, &frames[2..3]), [], "{change}: too late");
        let held = m.annotation.tracks.values().map(|track| track.masks.len()).sum::<usize>();
        assert!(held <= 1, "{change}: nothing of it was kept");
    }
}

#[test]
fn other_questions_and_slow_machines_do_not_meet_it() {
    let (mut m, ticket, frames) = resting();
    tell(&mut m, Event::Tracked { ticket, frame: frames[0], decided: decided(5) });
    // Forward from another frame is another question.
    let effects = press(&mut m, ". . p f");
    let at = |wanted: fn(&Effect) -> bool| effects.iter().position(wanted);
    let cancelled = at(|e| matches!(e, Effect::Cancel(Some(_))));
    assert!(cancelled.is_some() && cancelled < at(|e| matches!(e, Effect::Propagate(..))));

    let (mut m, ticket, frames) = resting();
    let slow = sonomark::engine::Decided { encode_ms: 900.0, ..decided(5) };
    let effects = tell(&mut m, Event::Tracked { ticket, frame: frames[0], decided: slow });
    assert_eq!(effects, [Effect::Cancel(Some(ticket.track))]);
    press(&mut m, "l b");
    m.jobs.asked.clear();
    assert!(begun(&rest(&mut m, 9)).is_none(), "a point would have to wait too long");

    m.tools.slow = false;
    m.tools.never_ahead = true;
    assert!(begun(&rest(&mut m, 12)).is_none(), "the settings say so");
    m.tools.never_ahead = false;
    assert!(begun(&rest(&mut m, 15)).is_some());
}

/// Two anchors, everything between them propagated, and a person who rests: what begins.
fn between_two_anchors() -> (Model, Ticket, Vec<FrameIndex>) {
    let (mut m, ticket, frames) = resting();
    press(&mut m, "G b");
    let asked = m.jobs.asked[0];
    tell(&mut m, Event::Refreshed { ticket: asked.ticket, frame: 7, decided: decided(5) });
    assert!(frames.len() == 7 && m.tools.ahead.as_ref().is_none_or(|a| a.ticket != ticket));
    let (ticket, frames) = propagation(&mut m, "p p");
    come(&mut m, ticket, &frames);
    tell(&mut m, Event::Finished { ticket, cancelled: false });
    let (ticket, frames) = begun(&rest(&mut m, 3)).expect("a comparison nobody asked for");
    (m, ticket, frames)
}

#[test]
fn passes_from_both_sides_are_compared_while_the_person_looks() {
    let (mut m, ticket, frames) = between_two_anchors();
    assert_eq!(frames, [1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1], "each from either side");
    let (id, before) = (ticket.track, track(&m).masks.clone());
    let doubt = |m: &Model| m.tools.review.doubt(id, track(m), 4).unwrap().disagreement;
    assert_eq!(doubt(&m), 0.0);
    for (i, frame) in frames.iter().enumerate() {
        let decided = decided(if *frame == 4 && i > 5 { 40 } else { 5 });
        assert_eq!(tell(&mut m, Event::Tracked { ticket, frame: *frame, decided }), []);
    }
    let end = Msg::Engine(Event::Finished { ticket, cancelled: false });
    assert!(!m.computes_ahead(&end), "the end is drawn");
    update(&mut m, end);
    assert_eq!((&track(&m).masks, doubt(&m) > 0.9), (&before, true));
    assert!(begun(&rest(&mut m, 6)).is_none(), "once is enough");
    press(&mut m, "W");
    assert_eq!(m.frame, 4);
    assert!(m.message.text.contains("disagree"), "{:?}", m.message);

    // Another point: what was compared on its span does not count any more.
    press(&mut m, "b");
    assert_eq!(m.tools.review.agreement[&id].len(), 0);
    assert_eq!(m.tools.review.doubt(id, track(&m), 5).map_or(0.0, |d| d.disagreement), 0.0);
}

#[test]
fn a_comparison_nobody_asked_for_gives_way() {
    for change in ["l b", "w s", "u", "p c"] {
        let (mut m, ticket, frames) = between_two_anchors();
        come(&mut m, ticket, &frames[..2]);
        assert_eq!(m.tools.review.first_pass.len(), 2);
        let effects = press(&mut m, change);
        assert!(effects.contains(&Effect::Cancel(Some(ticket.track))), "{change}: {effects:?}");
        assert!(m.tools.review.first_pass.is_empty() && m.tools.ahead.is_none(), "{change}");
        come(&mut m, ticket, &frames[2..3]);
        assert!(m.tools.review.first_pass.is_empty(), "{change}: too late");
    }
    // A frame that cannot be decoded is left out, and not asked for over and over.
    let (mut m, ticket, _) = between_two_anchors();
    tell(&mut m, Event::Finished { ticket, cancelled: false });
    assert!(begun(&rest(&mut m, 6)).is_none());
    // Where a frame is slow nothing is compared unasked.
    let (mut m, ticket, frames) = between_two_anchors();
    let slow = sonomark::engine::Decided { encode_ms: 900.0, ..decided(5) };
    let effects = tell(&mut m, Event::Tracked { ticket, frame: frames[0], decided: slow });
    assert_eq!(effects, [Effect::Cancel(Some(ticket.track))]);
    assert!(begun(&rest(&mut m, 6)).is_none());
}
