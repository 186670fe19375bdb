//! Clips of many frames: what one step costs is counted, so that it stays linear in the frames that
//! change.

use sonomark::domain::review::Doubts;
use sonomark::domain::{Annotation, MaskSource};
use sonomark::engine::Event;
use sonomark::tui::model::Model;

use crate::daily::run;
use crate::update::{decided, model, press, propagation, steps, tell, track, with_a_mask};

const FRAMES: usize = 60;

/// How often masks were judged for the review, and looked at for what they were made from.
fn counted(model: &Model) -> (usize, usize) {
    let id = model.track.unwrap();
    (model.tools.review.doubts[&id].judged(), model.marks.looks(id))
}

/// The same since `before`.
fn since(model: &Model, before: (usize, usize)) -> (usize, usize) {
    let now = counted(model);
    (now.0 - before.0, now.1 - before.1)
}

/// A mask on the first frame, carried to all others.
fn propagated() -> Model {
    let mut m = model(FRAMES);
    with_a_mask(&mut m);
    let (ticket, frames) = propagation(&mut m, "p p");
    let before = counted(&m);
    for frame in frames {
        tell(&mut m, Event::Tracked { ticket, frame, decided: decided(5 + frame as u32 % 3) });
    }
    let (judged, looks) = since(&m, before);
    assert!(judged <= 3 * FRAMES && looks <= FRAMES, "each frame on its own: {judged}, {looks}");
    tell(&mut m, Event::Finished { ticket, cancelled: false });
    m
}

/// What is kept is what is found when everything is judged anew.
fn up_to_date(m: &Model) {
    let (id, anew) = (m.track.unwrap(), Doubts::of(track(m)));
    for frame in 0..FRAMES {
        let kept = m.tools.review.doubt(id, track(m), frame);
        assert_eq!(kept, anew.about(track(m), frame, None), "frame {frame}");
    }
}

#[test]
fn a_line_over_many_frames_looks_at_each_once() {
    let mut m = propagated();
    up_to_date(&m);
    let (masks, before) = (track(&m).masks.clone(), counted(&m));
    let effects = run(&mut m, "% smooth 2");
    assert!(m.message.text.starts_with("60 masks"), "{:?}", m.message);
    let (judged, looks) = since(&m, before);
    assert!(judged <= FRAMES + 2 && looks <= FRAMES, "{judged} judged, {looks} looked at");
    up_to_date(&m);
    assert_eq!(m.marks.stale(m.track.unwrap()).unwrap().len(), 0, "all follow their own prompts");

    // Each frame has its line in the journal, and one key takes them all back.
    let lines = steps(&effects);
    assert_eq!(lines.len(), FRAMES);
    assert!(lines.iter().all(|step| step.group == lines[0].group && step.edits.len() == 2));
    let before = counted(&m);
    let drawn = track(&m).clone();
    press(&mut m, "u");
    assert_eq!(track(&m).masks, masks);
    let (judged, looks) = since(&m, before);
    assert!(judged <= FRAMES + 2 && looks <= FRAMES, "{judged} judged, {looks} looked at");
    up_to_date(&m);
    press(&mut m, "U");
    assert_eq!(track(&m), &drawn);
    up_to_date(&m);
}

#[test]
fn what_a_line_over_many_frames_outdates_is_told_as_by_single_steps() {
    let (mut at_once, mut one_by_one) = (propagated(), propagated());
    run(&mut at_once, "11,20 grow 2");
    for frame in 11..=20 {
        run(&mut one_by_one, &format!("{frame} grow 2"));
    }
    let stale = |m: &Model| m.marks.stale(m.track.unwrap()).cloned();
    assert_eq!(stale(&at_once), stale(&one_by_one));
    assert!(stale(&at_once).is_some_and(|stale| stale.len() == FRAMES - 11));
    let sources = |m: &Model| track(m).masks.values().map(|held| held.source).collect::<Vec<_>>();
    assert_eq!(sources(&at_once), sources(&one_by_one));
    assert_eq!(sources(&at_once)[10], MaskSource::Accepted);
    for m in [&at_once, &one_by_one] {
        up_to_date(m);
    }
    press(&mut at_once, "u u u u");
    assert_eq!(at_once.annotation, Annotation::default());
}
