//! Clips of many frames: what one step costs is counted, so that it stays linear in the frames that
//! change.

use std::path::PathBuf;
use std::sync::Arc;

use sonomark::domain::review::Doubts;
use sonomark::domain::{Annotation, Edit, FrameMask, GrayFrame, MaskSource, Step, Track, TrackId};
use sonomark::engine::Event;
use sonomark::tui::model::{Effect, Model, Msg};
use sonomark::tui::update;

use crate::daily::run;
use crate::screen::{has, screen};
use crate::update::{decided, model, others, press, propagation, steps, tell, track, with_a_mask};

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
    assert_eq!(m.message.text, "taken back: drawn masks of 60 frames");
    let (judged, looks) = since(&m, before);
    assert!(judged <= FRAMES + 2 && looks <= FRAMES, "{judged} judged, {looks} looked at");
    up_to_date(&m);
    press(&mut m, "U");
    assert_eq!(track(&m), &drawn);
    assert_eq!(m.message.text, "done again: drawn masks of 60 frames");
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

/// A structure with masks on so many frames, made by another session.
fn with_masks(frames: usize) -> Model {
    let mut m = model(frames);
    let mut content = Track::new("lesion", 0);
    for frame in 0..frames {
        let mask = decided(5 + frame as u32 % 3).bitmap.to_mask();
        let held = FrameMask { mask, source: MaskSource::Tracked, score: 0.9 };
        content.masks.insert(frame, held);
    }
    tell(&mut m, others(vec![Edit::AddTrack { track: TrackId(9), content }]));
    m
}

/// What is done while nothing else happens.
fn wait(m: &mut Model) -> Vec<Step> {
    let mut done = Vec::new();
    while m.tools.batch.is_some() {
        assert!(m.wake_at().is_some_and(|at| at <= m.now), "it goes on at once");
        let now = m.now;
        done.extend(steps(&update(m, Msg::Tick(now))));
    }
    done
}

#[test]
fn a_line_over_very_many_frames_leaves_room_for_keys_and_is_one_undo() {
    let frames = 1500;
    let mut m = with_masks(frames);
    let before = track(&m).masks.clone();
    let mut all = steps(&run(&mut m, "% smooth 2"));
    assert!((1..frames).contains(&all.len()), "{} in the first portion", all.len());
    assert!(m.message.text.starts_with("changing 1500 masks"), "{:?}", m.message);
    has(&screen(&m), &[&format!("changing {}/1500", all.len())]);
    press(&mut m, ".");
    assert_eq!(m.frame, 1, "a key in between");
    all.extend(wait(&mut m));
    assert_eq!(all.len(), frames);
    assert!(all.iter().all(|step| step.group == all[0].group));
    assert!(m.message.text.starts_with("1500 masks smoothed"), "{:?}", m.message);
    press(&mut m, "u");
    assert_eq!(track(&m).masks, before);

    // The next line comes behind all of it, as does what is played.
    let first = steps(&run(&mut m, "% grow 1")).len();
    let rest = steps(&run(&mut m, "% accept")).len();
    assert!(m.tools.batch.is_none() && rest > 0);
    assert_eq!(first + rest, frames);
    press(&mut m, "u");
    assert_eq!(track(&m).masks, before);
    let pixels = Arc::new(GrayFrame::new(64, 48, vec![90; 64 * 48]).unwrap());
    tell(&mut m, Event::Frame { frame: 1, pixels });
    run(&mut m, "% grow 1");
    run(&mut m, "keys 9 .");
    assert_eq!(m.frame, 1);
    wait(&mut m);
    assert_eq!(m.frame, 10);
}

#[test]
fn shapes_between_two_frames_far_apart_leave_room_for_keys_and_are_one_undo() {
    let frames = 1500;
    let mut m = with_masks(frames);
    run(&mut m, "700 accept");
    let before = track(&m).masks.clone();
    let mut all = steps(&run(&mut m, "1,1500 interpolate"));
    assert!((1..1497).contains(&all.len()), "{} in the first portion", all.len());
    assert!(m.message.text.starts_with("filling 1497 frames"), "{:?}", m.message);
    press(&mut m, ".");
    assert_eq!(m.frame, 1, "a key in between");
    all.extend(wait(&mut m));
    assert_eq!(all.len(), 1497);
    assert!(m.message.text.starts_with("1497 frames between 1 and 1500"), "{:?}", m.message);
    for frame in [0, 699, 1499] {
        assert_eq!(track(&m).masks[&frame], before[&frame], "{frame}");
    }
    assert_eq!(track(&m).masks[&750].score, 0.0);
    press(&mut m, "u");
    assert_eq!(track(&m).masks, before);
}

#[test]
fn what_goes_on_in_portions_is_stopped_by_its_undo_and_by_a_key_and_finished_by_leaving() {
    let frames = 1500;
    let before = track(&with_masks(frames)).masks.clone();
    for stop in ["u", "esc u"] {
        let mut m = with_masks(frames);
        run(&mut m, "% smooth 2");
        press(&mut m, stop);
        assert!(m.tools.batch.is_none() && wait(&mut m).is_empty());
        assert_eq!(track(&m).masks, before, "{stop}");
    }
    let mut m = with_masks(frames);
    run(&mut m, "% smooth 2");
    press(&mut m, "esc");
    assert!(m.message.text.contains("of 1500 masks changed"), "{:?}", m.message);
    let mut m = with_masks(frames);
    run(&mut m, "1,1500 interpolate");
    press(&mut m, "esc");
    assert!(m.message.text.contains("of 1498 frames changed"), "{:?}", m.message);
    for leave in ["q", "C-n", "E E"] {
        let mut m = with_masks(frames);
        let mut effects = run(&mut m, "% smooth 2");
        effects.extend(press(&mut m, leave));
        assert_eq!(steps(&effects).len(), frames, "{leave}");
        let left = |effect: &Effect| matches!(effect, Effect::Quit | Effect::OpenClip(..));
        assert!(effects.iter().any(left), "{leave}: {:?}", m.message);
        assert_eq!(m.finished, leave == "E E");
    }
}

#[test]
fn keys_find_masks_changed_that_a_line_is_still_changing_and_keep_what_they_do() {
    let frames = 3000;
    let begun = || {
        let mut m = with_masks(frames);
        run(&mut m, "% smooth 2");
        assert!(m.tools.batch.as_ref().is_some_and(|batch| batch.left.contains(&(frames - 10))));
        m
    };
    let before = track(&with_masks(frames)).masks.clone();
    let mut once = begun();
    wait(&mut once);
    let smoothed = track(&once).masks.clone();

    // The mask at hand is changed before a key is done to it.
    let mut m = begun();
    run(&mut m, &(frames - 9).to_string());
    press(&mut m, "s");
    assert_eq!(track(&m).masks[&(frames - 10)], smoothed[&(frames - 10)]);
    press(&mut m, "g");
    wait(&mut m);
    assert!(m.message.text.contains("what you did since, then this"), "{:?}", m.message);
    let grown = track(&m).masks[&(frames - 10)].mask.area_px();
    assert!(grown > smoothed[&(frames - 10)].mask.area_px());
    press(&mut m, "u");
    assert_eq!(track(&m).masks, smoothed);
    press(&mut m, "u");
    assert_eq!(track(&m).masks, before);

    // One that is drawn elsewhere meanwhile stays as it was drawn, and goes by itself.
    let mut m = begun();
    press(&mut m, "y a 2 9 9 0 P a");
    assert_eq!(m.frame, 2990);
    assert!(m.tools.batch.as_ref().is_some_and(|batch| !batch.left.contains(&2990)));
    let pasted = track(&m).masks[&2990].clone();
    wait(&mut m);
    assert_eq!(track(&m).masks[&2990], pasted);
    press(&mut m, "u");
    assert_eq!(track(&m).masks[&2990], before[&2990]);
    press(&mut m, "u");
    assert_eq!(track(&m).masks, before);

    // A structure that is deleted meanwhile comes back as far as it was changed.
    let mut m = begun();
    press(&mut m, "t d");
    assert!(wait(&mut m).is_empty() && m.message.text.contains("deleted"), "{:?}", m.message);
    press(&mut m, "u");
    assert_eq!(track(&m).masks[&0], smoothed[&0]);
    assert_eq!(track(&m).masks[&2990], before[&2990]);
    press(&mut m, "u");
    assert_eq!(track(&m).masks, before);

    // What goes over many masks comes behind all of it.
    let mut m = begun();
    press(&mut m, "A");
    assert!(m.tools.batch.is_none());
    assert_eq!(track(&m).masks, smoothed);
}

#[test]
fn an_undo_before_anything_changed_takes_back_the_line_and_not_what_was_done_before_it() {
    for stop in ["u", "esc"] {
        let mut m = with_masks(3000);
        press(&mut m, "m x");
        run(&mut m, "% fill-holes");
        assert!(m.tools.batch.is_some());
        press(&mut m, stop);
        assert!(m.tools.batch.is_none(), "{stop}");
        assert!(m.message.text.contains("none of 3000 masks changed"), "{:?}", m.message);
        assert_eq!(m.annotation.places.get(&'x'), Some(&0));
        press(&mut m, "u");
        assert!(m.annotation.places.is_empty());
    }
}

#[test]
fn a_line_without_a_number_does_what_the_key_does() {
    let mut m = with_masks(5);
    for (line, told) in [
        ("% grow", "5 masks grown by 1 px"),
        ("2 shrink", "1 mask shrunk by 1 px"),
        ("g/score<2/smooth", "5 masks smoothed over 2 px"),
    ] {
        run(&mut m, line);
        let told = format!("{told} and accepted; ");
        assert!(m.message.text.starts_with(&told), "{line}: {:?}", m.message);
    }
}

#[test]
fn clips_and_refusals_that_come_in_crowds_push_nothing_out_of_the_messages() {
    let mut m = model(FRAMES);
    m.warn("a word from before");
    let path = |i: usize| PathBuf::from(format!("/in/{i:06}.png"));
    for first in (0..20_000).step_by(1000) {
        let paths = (first..first + 1000).map(path).collect();
        tell(&mut m, Event::ClipsArrived { paths });
    }
    assert_eq!(m.queue.len(), 2 + 20_000);
    assert_eq!(m.message.text, "1000 clips arrived; they wait in the queue");

    // Other contents of many, the one at hand among them: that is what stands there.
    let here = m.queue[0].path.clone();
    let paths = [here].into_iter().chain((0..1000).map(path)).collect();
    tell(&mut m, Event::ClipsArrived { paths });
    assert_eq!(m.queue.len(), 2 + 20_000, "they are known");
    assert_eq!(m.queue.iter().filter(|clip| clip.changed).count(), 1001);
    assert!(m.message.text.contains(":clip 1 opens it again"), "{:?}", m.message);

    let refused = (0..1000).map(|i| (path(i), "it is a link".to_owned())).collect();
    tell(&mut m, Event::ClipsRefused { refused });
    assert_eq!(m.message.text, "/in/000004.png refused: it is a link");
    let told = |words: &str| m.log.iter().any(|message| message.text.contains(words));
    for words in ["a word from before", "1000 clips have changed", "995 more files were refused"] {
        assert!(told(words), "{words}: {:?}", m.log);
    }
}
